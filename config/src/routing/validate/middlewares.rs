//! Middlewares: what each does, and what follows from its not being served yet. One that restricts, authenticates, redirects, rewrites, limits or changes headers cannot be left out: what uses it answers 503.

use std::collections::BTreeMap;

use super::{Context, Fault, Referrer, Users, internal, listed, names};
use crate::name::MiddlewareName;
use crate::problem::{Origin, Problem};
use crate::routing::merge::Merged;
use crate::routing::middleware::{Middleware, RedirectScheme, WebScheme};
use crate::routing::raw::{Defined, RawBuffering, RawHeaders, RawMiddleware, RawRedirectScheme};
use crate::routing::{Listing, Status};

/// Deepest nesting of chains.
const DEPTH: usize = 32;

/// What using a middleware comes to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Effect {
    /// It can be used.
    Usable(Usable),
    /// What uses it answers 503: why.
    Unavailable(Fault),
}

/// What is done where a middleware is named that can be used.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Usable {
    /// In order, chains taken apart; none where nothing would change.
    pub(super) served: Vec<MiddlewareName>,
    /// Something is left out, which lets nothing more through: what, and why.
    pub(super) left_out: Option<Fault>,
}

impl Effect {
    fn nothing() -> Self {
        Self::Usable(Usable::default())
    }

    fn left_out(fault: Fault) -> Self {
        Self::Usable(Usable { served: Vec::new(), left_out: Some(fault) })
    }
}

/// Middlewares that are served.
pub(super) type Served = BTreeMap<MiddlewareName, Middleware>;

/// By qualified name.
pub(super) type Effects = BTreeMap<MiddlewareName, Effect>;

/// Judges every middleware; each that does not work as written is a problem.
pub(super) fn judge(merged: &Merged, context: &Context, problems: &mut Vec<Problem>) -> (Effects, Served) {
    let mut effects = Effects::new();
    let mut served: Served = internal::redirections(context)
        .map(|(name, redirect)| (name, Middleware::RedirectScheme(redirect)))
        .collect();
    for name in merged.middlewares.keys() {
        effect(merged, name, &mut Vec::new(), &mut effects, &mut served);
    }
    for (name, effect) in &effects {
        let Some(item) = merged.middlewares.get(name) else { continue };
        let subject = format!("middleware `{}`", name.name());
        match effect {
            Effect::Usable(usable) => {
                problems.extend(usable.left_out.iter().map(|fault| fault.warning(&item.origin, &subject)));
            }
            Effect::Unavailable(fault) => problems.push(fault.error(&item.origin, &subject)),
        }
    }
    (effects, served)
}

/// What using the middleware comes to, chains followed.
fn effect(
    merged: &Merged,
    name: &MiddlewareName,
    path: &mut Vec<MiddlewareName>,
    done: &mut Effects,
    served: &mut Served,
) -> Effect {
    if let Some(effect) = done.get(name) {
        return effect.clone();
    }
    let Some(item) = merged.middlewares.get(name) else {
        return Effect::Unavailable(Fault {
            text: format!("middleware \"{name}\" does not exist"),
            hint: None,
        });
    };
    if path.len() >= DEPTH {
        let text = format!("chains are nested more than {DEPTH} deep at {name}");
        return Effect::Unavailable(Fault::new(text, "write the middlewares into one chain"));
    }
    if path.contains(name) {
        let route: Vec<_> = path.iter().chain([name]).map(MiddlewareName::as_str).collect();
        let text =
            format!("could not instantiate middleware {name}: recursion detected in {}", route.join("->"));
        return Effect::Unavailable(Fault::new(text, "a chain must not contain itself"));
    }
    let effect = match alone(&item.value) {
        Alone::Is(effect) => effect,
        Alone::Serves(middleware) => {
            served.insert(name.clone(), middleware);
            Effect::Usable(Usable { served: vec![name.clone()], left_out: None })
        }
        Alone::Chain(references) => {
            path.push(name.clone());
            let referrer = Referrer::new(name.provider(), &item.scope);
            let all = references.iter().map(|reference| match find(merged, referrer, reference) {
                Ok(name) => effect(merged, &name, path, done, served),
                Err(fault) => Effect::Unavailable(fault),
            });
            let joined = join(all);
            path.pop();
            joined
        }
    };
    done.insert(name.clone(), effect.clone());
    effect
}

/// The middleware that a reference means.
pub(super) fn find(
    merged: &Merged,
    referrer: Referrer<'_>,
    reference: &str,
) -> Result<MiddlewareName, Fault> {
    let known = |name: &str| merged.middlewares.get(name).map(|item| (&item.scope, item.value.export));
    let all = merged.middlewares.keys().map(MiddlewareName::as_str);
    referrer.resolve("middleware", reference, known, all).map(MiddlewareName::from)
}

/// What several come to: the first that is unavailable, or else all that is served, and the first that is left out.
pub(super) fn join(effects: impl Iterator<Item = Effect>) -> Effect {
    let mut joined = Usable::default();
    for effect in effects {
        match effect {
            Effect::Unavailable(_) => return effect,
            Effect::Usable(Usable { served, left_out }) => {
                joined.served.extend(served);
                joined.left_out = joined.left_out.or(left_out);
            }
        }
    }
    Effect::Usable(joined)
}

enum Alone<'a> {
    Is(Effect),
    Serves(Middleware),
    Chain(&'a [String]),
}

const WITHOUT: &str = "routers that use it are served without it";
const REFUSED: &str =
    "routers that use it answer 503 meanwhile: take it out of their list where that is safe";

fn left_out(kind: &str) -> Effect {
    Effect::left_out(Fault::new(format!("`{kind}` is not served yet"), WITHOUT))
}

fn refused(kind: &str) -> Effect {
    Effect::Unavailable(Fault::new(format!("`{kind}` is not served yet"), REFUSED))
}

/// What one middleware comes to, without those that it refers to.
fn alone(middleware: &RawMiddleware) -> Alone<'_> {
    // Every type is named here, so that a new one cannot be forgotten.
    let RawMiddleware {
        add_prefix,
        strip_prefix,
        strip_prefix_regex,
        replace_path,
        replace_path_regex,
        chain,
        ip_white_list,
        ip_allow_list,
        headers,
        encoded_characters,
        errors,
        rate_limit,
        redirect_regex,
        redirect_scheme,
        basic_auth,
        digest_auth,
        forward_auth,
        in_flight_req,
        buffering,
        circuit_breaker,
        compress,
        pass_tls_client_cert,
        retry,
        content_type,
        grpc_web,
        plugin,
        geo,
        export: _,
    } = middleware;

    let mut found = Vec::new();
    let mut refuse = |there: bool, kind: &str| {
        if there {
            found.push(Alone::Is(refused(kind)));
        }
    };
    refuse(add_prefix.is_some(), "addPrefix");
    refuse(strip_prefix.is_some(), "stripPrefix");
    refuse(strip_prefix_regex.is_some(), "stripPrefixRegex");
    refuse(replace_path.is_some(), "replacePath");
    refuse(replace_path_regex.is_some(), "replacePathRegex");
    refuse(ip_white_list.is_some(), "ipWhiteList");
    refuse(ip_allow_list.is_some(), "ipAllowList");
    refuse(encoded_characters.is_some(), "encodedCharacters");
    refuse(rate_limit.is_some(), "rateLimit");
    refuse(redirect_regex.is_some(), "redirectRegex");
    refuse(basic_auth.is_some(), "basicAuth");
    refuse(digest_auth.is_some(), "digestAuth");
    refuse(forward_auth.is_some(), "forwardAuth");
    refuse(in_flight_req.is_some(), "inFlightReq");
    refuse(pass_tls_client_cert.is_some(), "passTLSClientCert");
    refuse(geo.is_some(), "geo");
    let mut leave = |there: bool, kind: &str| {
        if there {
            found.push(Alone::Is(left_out(kind)));
        }
    };
    leave(errors.is_some(), "errors");
    leave(circuit_breaker.is_some(), "circuitBreaker");
    leave(compress.is_some(), "compress");
    leave(retry.is_some(), "retry");
    leave(content_type.is_some(), "contentType");
    leave(grpc_web.is_some(), "grpcWeb");
    found.extend(redirect_scheme.as_ref().map(of_redirect_scheme));
    found.extend(headers.as_ref().map(|headers| Alone::Is(of_headers(headers))));
    found.extend(buffering.as_ref().map(|buffering| Alone::Is(of_buffering(buffering))));
    found.extend(chain.as_ref().map(|chain| Alone::Chain(&chain.middlewares)));
    found.extend((!plugin.is_empty()).then(|| Alone::Is(of_plugin(plugin))));

    let mut found = found.into_iter();
    match (found.next(), found.next()) {
        (Some(only), None) => only,
        (None, _) => Alone::Is(Effect::Unavailable(Fault::new(
            "invalid middleware type or middleware does not exist",
            "give it one type, such as `headers`; routers that use it answer 503",
        ))),
        (Some(_), Some(_)) => Alone::Is(Effect::Unavailable(Fault::new(
            "cannot create middleware: multi-types middleware not supported, consider declaring two different \
             pieces of middleware instead",
            "routers that use it answer 503",
        ))),
    }
}

fn of_redirect_scheme(redirect: &RawRedirectScheme) -> Alone<'static> {
    let refuse = |text: &str, hint: &str| {
        let hint = format!("{hint}; routers that use it answer 503");
        Alone::Is(Effect::Unavailable(Fault::new(text, hint)))
    };
    if redirect.scheme.is_empty() {
        return refuse("you must provide a target scheme", "write `scheme: https`");
    }
    let Some(scheme) = WebScheme::parse(&redirect.scheme) else {
        let text = format!("`{}` is no scheme of web pages", redirect.scheme);
        return refuse(&text, "write `scheme: https`");
    };
    let port = match redirect.port.as_str() {
        "" => None,
        text => match text.parse::<u16>() {
            Ok(port) if port > 0 => Some(port),
            _ => return refuse(&format!("`{text}` is no port"), "write it as `port: 8443`"),
        },
    };
    Alone::Serves(Middleware::RedirectScheme(RedirectScheme {
        scheme,
        port: port.filter(|port| *port != scheme.default_port()),
        permanent: redirect.permanent,
    }))
}

/// Options that do nothing in Traefik 3 may be all there is.
fn of_headers(headers: &RawHeaders) -> Effect {
    let effective = RawHeaders {
        ssl_redirect: None,
        ssl_temporary_redirect: None,
        ssl_host: None,
        ssl_force_host: None,
        feature_policy: None,
        ..headers.clone()
    };
    if effective != RawHeaders::default() {
        return refused("headers");
    }
    if *headers == effective {
        return Effect::Unavailable(Fault::new(
            "headers configuration not valid",
            "set an option of `headers`",
        ));
    }
    Effect::left_out(Fault::new(
        "`sslRedirect`, `sslTemporaryRedirect`, `sslHost`, `sslForceHost` and `featurePolicy` have no effect",
        "use `redirectScheme` or `permissionsPolicy`",
    ))
}

fn of_buffering(buffering: &RawBuffering) -> Effect {
    if buffering.max_request_body_bytes > 0 || buffering.max_response_body_bytes > 0 {
        refused("buffering")
    } else {
        left_out("buffering")
    }
}

/// Plug-ins are not run. Those that ours replaces are known by name or options.
fn of_plugin(plugin: &BTreeMap<String, serde_json::Value>) -> Effect {
    let mut plugins = plugin.iter();
    let (Some((alias, options)), None) = (plugins.next(), plugins.next()) else {
        return Effect::Unavailable(Fault::new(
            "plugin: a middleware holds exactly one plug-in",
            "declare two different middlewares; routers that use it answer 503",
        ));
    };
    let alias = alias.to_lowercase();
    let options: Vec<(String, &serde_json::Value)> =
        options.as_object().into_iter().flatten().map(|(name, value)| (name.to_lowercase(), value)).collect();
    let has = |part: &str| alias.contains(part) || options.iter().any(|(name, _)| name.contains(part));
    if has("crowdsec") || alias == "bouncer" {
        let enabled = options.iter().find(|(name, _)| name == "enabled").is_none_or(|(_, value)| {
            let text = value.as_str().map_or_else(|| value.to_string(), str::to_lowercase);
            !["false", "f", "0"].contains(&text.as_str())
        });
        if !enabled {
            return Effect::nothing();
        }
        return Effect::Unavailable(Fault::new(
            "the CrowdSec bouncer is not served yet",
            "routers that use it answer 503 meanwhile: keep Traefik in front of them until it is",
        ));
    }
    let text = format!("unknown plugin type: `{alias}`; plug-ins are not run");
    let hint = if has("geo") || has("countries") {
        "use the middleware `geo` instead, once it is served; routers that use it answer 503"
    } else if has("realip") || has("real-ip") || has("real_ip") || has("cloudflarewarp") {
        "set `clientIP` on the entry point instead and take this middleware away; routers that use it answer 503"
    } else {
        "take this middleware out of the routers that use it, where that is safe; they answer 503"
    };
    Effect::Unavailable(Fault::new(text, hint))
}

/// Lists every middleware.
pub(super) fn list(
    merged: &Merged,
    context: &Context,
    effects: &Effects,
    users: &Users,
    listing: &mut Listing,
) {
    for (name, item) in &merged.middlewares {
        let (status, errors) = match effects.get(name) {
            Some(Effect::Usable(Usable { left_out: None, .. })) | None => (Status::Enabled, Vec::new()),
            Some(Effect::Usable(Usable { left_out: Some(fault), .. })) => {
                (Status::Warning, vec![fault.listed()])
            }
            Some(Effect::Unavailable(fault)) => (Status::Disabled, vec![fault.listed()]),
        };
        let used_by = names(users.middlewares.get(name));
        let entry = listed(item.clone(), status, errors, used_by);
        listing.middlewares.insert(name.clone(), entry);
    }
    for (name, raw) in internal::middlewares(context) {
        let used_by = names(users.middlewares.get(&name));
        let item = Defined::new(raw, Origin::Gateway);
        let entry = listed(item, Status::Enabled, Vec::new(), used_by);
        listing.middlewares.insert(name, entry);
    }
}
