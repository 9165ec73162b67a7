//! What was written becomes what can be routed: [`validate`] leaves a bad item out, keeps its neighbours, and
//! says why.
//!
//! A router whose own settings are wrong is left out. A router whose middleware or service is bad, missing or
//! not served yet stays and answers 503, so that nothing passes by what was to be in front of it.

mod internal;
mod middlewares;
mod routers;
mod scope;
mod services;
mod stream;
mod tls;
mod transports;

use std::collections::HashMap;
use std::sync::Arc;

use foldhash::fast::RandomState;

use super::merge::Merged;
use super::raw::{Defined, RawRouting, Scope};
use super::stream::TcpTransport;
use super::transport::Transport;
use super::{Listed, Routing, Status};
use crate::install::{Api, EntryPoint, Install, Metrics, Ping};
use crate::name::{EntryPointName, MiddlewareName, ProviderName, RouterName, ServiceName, split_reference};
use crate::problem::{Origin, Problem, did_you_mean};

/// Largest priority that a user may give; those above are the gateway's own.
pub const MAX_USER_PRIORITY: i64 = i64::MAX - 1000;

/// What routers have to know of a certificate resolver.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Resolver {
    /// Its name.
    pub name: Arc<str>,
    /// It can prove wildcards: it has a DNS challenge.
    pub dns: bool,
    /// Where it has its HTTP challenge.
    pub http: Option<EntryPointName>,
}

/// What the install configuration says about routing.
#[derive(Debug, Clone)]
pub struct Context {
    /// Listeners with their defaults.
    pub entry_points: Vec<EntryPoint>,
    /// Traefik's `api`.
    pub api: Option<Api>,
    /// Traefik's `ping`.
    pub ping: Option<Ping>,
    /// Traefik's `metrics`.
    pub metrics: Metrics,
    /// Certificate resolvers.
    pub certificate_resolvers: Vec<Resolver>,
    /// How HTTP servers are reached by services that name no transport.
    pub servers_transport: Arc<Transport>,
    /// The same for TCP servers.
    pub tcp_servers_transport: Arc<TcpTransport>,
    /// Order in which equal priorities are broken.
    pub precedence: Vec<ProviderName>,
    /// Nothing was configured: `whoami@internal` is routed.
    pub is_default: bool,
}

impl Context {
    /// Takes what matters from the install configuration.
    pub fn new(install: &Install) -> Self {
        Self {
            entry_points: install.entry_points.clone(),
            api: install.api.clone(),
            ping: install.ping.clone(),
            metrics: install.metrics.clone(),
            certificate_resolvers: install
                .certificate_resolvers
                .iter()
                .map(|resolver| Resolver {
                    name: Arc::clone(&resolver.name),
                    dns: resolver.challenges.dns.is_some(),
                    http: resolver.challenges.http.as_ref().map(|challenge| challenge.entry_point.clone()),
                })
                .collect(),
            servers_transport: Arc::clone(&install.servers_transport),
            tcp_servers_transport: Arc::clone(&install.tcp_servers_transport),
            precedence: install.providers.precedence.clone(),
            is_default: install.is_default,
        }
    }

    /// The entry point of that name, if it serves HTTP.
    fn entry_point(&self, name: &str) -> Option<&EntryPoint> {
        let fits = |entry_point: &&EntryPoint| entry_point.udp.is_none() && entry_point.name.as_str() == name;
        self.entry_points.iter().find(fits)
    }

    /// Where a provider stands where equal priorities are broken.
    fn rank(&self, provider: &str) -> usize {
        let position = self.precedence.iter().position(|known| known.as_str() == provider);
        position.unwrap_or(self.precedence.len())
    }

    /// The certificate resolver of that name.
    fn resolver(&self, name: &str) -> Result<&Resolver, Fault> {
        let known = self.certificate_resolvers.iter().find(|resolver| &*resolver.name == name);
        known.ok_or_else(|| {
            let names = self.certificate_resolvers.iter().map(|resolver| &*resolver.name);
            Fault {
                text: format!("nonexistent certificate resolver: `{name}`"),
                hint: Some(did_you_mean(name, names).map_or_else(
                    || "name it under `certificatesResolvers` in the install configuration".to_owned(),
                    |near| format!("did you mean `{near}`?"),
                )),
            }
        })
    }
}

/// All in one step: providers brought together and validated. Every problem is returned, sorted.
pub fn route(providers: Vec<(ProviderName, RawRouting)>, context: &Context) -> (Routing, Vec<Problem>) {
    let (merged, mut problems) = super::merge::qualify(providers);
    let (routing, more) = validate(merged, context);
    problems.extend(more);
    problems.sort();
    problems.dedup();
    (routing, problems)
}

/// Makes a [`Routing`] of what the providers sent. Every problem is returned, sorted.
pub fn validate(merged: Merged, context: &Context) -> (Routing, Vec<Problem>) {
    validate_after(&Routing::default(), merged, context)
}

/// The same; rules that `previous` holds already are not parsed (nor their expressions compiled) once more.
pub fn validate_after(previous: &Routing, merged: Merged, context: &Context) -> (Routing, Vec<Problem>) {
    let mut problems = Vec::new();
    let mut routing = Routing::default();
    let (effects, served) = middlewares::judge(&merged, context, &mut problems);
    routing.middlewares = served;
    let states = services::judge(&merged, context, &effects, &mut problems);
    routing.tls = tls::build(&merged, context, &mut problems);
    tls::router::entry_points(context, &mut problems);
    let users = routers::build(previous, &merged, context, &effects, &states, &mut routing, &mut problems);
    middlewares::list(&merged, context, &effects, &users, &mut routing.listing);
    services::list(&merged, context, states, &users, &mut routing);
    stream::build(previous, &merged, context, &mut routing, &mut problems);
    problems.sort();
    problems.dedup();
    (routing, problems)
}

/// Which routers use what; in no order, and more than once where they name it more than once.
#[derive(Debug, Default)]
struct Users {
    services: HashMap<ServiceName, Vec<RouterName>, RandomState>,
    middlewares: HashMap<MiddlewareName, Vec<RouterName>, RandomState>,
}

/// Their names, sorted.
fn names(users: Option<&Vec<RouterName>>) -> Vec<String> {
    let mut names: Vec<String> = users.into_iter().flatten().map(ToString::to_string).collect();
    names.sort();
    names.dedup();
    names
}

/// What is wrong with an item, in words: Traefik's first, then what to do.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Fault {
    text: String,
    hint: Option<String>,
}

impl Fault {
    fn new(text: impl Into<String>, hint: impl Into<String>) -> Self {
        Self { text: text.into(), hint: Some(hint.into()) }
    }

    /// As the read API shows it.
    fn listed(&self) -> String {
        match &self.hint {
            Some(hint) => format!("{}; {hint}", self.text),
            None => self.text.clone(),
        }
    }

    fn error(&self, origin: &Origin, subject: &str) -> Problem {
        let problem = Problem::error(origin.clone(), subject, &*self.text);
        Problem { hint: self.hint.clone(), ..problem }
    }

    fn warning(&self, origin: &Origin, subject: &str) -> Problem {
        let problem = Problem::warning(origin.clone(), subject, &*self.text);
        Problem { hint: self.hint.clone(), ..problem }
    }
}

/// Who refers to something.
#[derive(Debug, Clone, Copy)]
struct Referrer<'a> {
    /// `docker`, `file`, …; without the container of a scoped name.
    provider: &'a str,
    scope: &'a Scope,
}

impl<'a> Referrer<'a> {
    fn new(provider: &'a str, scope: &'a Scope) -> Self {
        Self { provider: provider.split(':').next().unwrap_or_default(), scope }
    }

    /// The qualified name of what `reference` means, among what `known` finds: its scope, and whether it says
    /// `export`.
    fn resolve<'k>(
        &self,
        what: &str,
        reference: &str,
        known: impl Fn(&str) -> Option<(&'k Scope, bool)>,
        all: impl Iterator<Item = &'k str>,
    ) -> Result<String, Fault> {
        let (name, provider) = split_reference(reference);
        let provider = provider.unwrap_or(self.provider);
        let qualified = format!("{name}@{provider}");
        if let Scope::Container { id } = self.scope {
            let own = format!("{name}@docker:{id}");
            if provider == self.provider && known(&own).is_some() {
                return Ok(own);
            }
        }
        match (known(&qualified), self.scope) {
            (Some(_), Scope::Shared) => return Ok(qualified),
            (Some((scope, exported)), Scope::Container { .. }) => {
                if exported || scope == self.scope {
                    return Ok(qualified);
                }
                return Err(Fault::new(
                    format!("{what} \"{qualified}\" is out of reach with `labelScope: container`"),
                    "set `export: true` where it is defined",
                ));
            }
            (None, Scope::Shared | Scope::Container { .. }) => {}
        }
        let text = format!("{what} \"{qualified}\" does not exist");
        let mut near = None;
        let mut same_name = None;
        // Bounded: suggestions are not worth time that grows with the square of the configuration.
        for candidate in all.take(500) {
            if same_name.is_none() && split_reference(candidate).0 == name {
                same_name = Some(candidate);
            } else if near.is_none() {
                near = did_you_mean(&qualified, [candidate]);
            }
        }
        Err(match same_name.or(near) {
            Some(candidate) => Fault::new(text, format!("did you mean `{candidate}`?")),
            None if provider == "docker" => Fault::new(text, "no container that runs defines it"),
            None => Fault::new(text, format!("define it where provider `{provider}` reads")),
        })
    }
}

fn listed<T>(item: Defined<T>, status: Status, errors: Vec<String>, used_by: Vec<String>) -> Listed<T> {
    Listed { item, status, errors, used_by, priority: 0 }
}

#[cfg(test)]
mod tests;
