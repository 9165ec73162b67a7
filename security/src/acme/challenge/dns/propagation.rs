//! Questions to DNS: where a record belongs, and whether it is seen.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use config::install::acme::{self, DnsChallenge};
use hickory_resolver::TokioResolver;
use hickory_resolver::config::{ConnectionConfig, NameServerConfig, ResolveHosts, ResolverConfig};
use hickory_resolver::net::NetError;
use hickory_resolver::net::runtime::TokioRuntimeProvider;
use hickory_resolver::proto::rr::{Name, RData, Record, RecordType};
use tokio::time::{Instant, sleep, timeout_at};

use super::{DnsError, Timing, TxtRecord};

/// Aliases that are followed.
const ALIAS_LIMIT: usize = 10;

/// One question to one server; asked twice.
const QUESTION_LIMIT: Duration = Duration::from_secs(5);

/// Where the system's DNS servers are written down.
const SYSTEM_SERVERS: &str = "/etc/resolv.conf";

/// Which servers are asked, and for what.
#[derive(Debug)]
pub(super) struct Propagation {
    // Empty: the system's.
    servers: Vec<SocketAddr>,
    settings: acme::Propagation,
}

impl Propagation {
    /// The entry of `resolvers` that is no address is the error.
    pub(super) fn new(settings: &DnsChallenge) -> Result<Self, String> {
        let servers = settings.resolvers.iter().map(|entry| parse_server(entry).ok_or_else(|| entry.clone()));
        Ok(Self { servers: servers.collect::<Result<_, _>>()?, settings: settings.propagation.clone() })
    }

    /// The name at the end of the CNAME records of a name: itself if there are none.
    pub(super) async fn end_of_aliases(&self, name: &str) -> Result<String, DnsError> {
        let resolver = resolver(&self.recursive().await, true)?;
        let mut end = parse(name)?;
        for _ in 0..ALIAS_LIMIT {
            let answers = ask(&resolver, &end, RecordType::CNAME)
                .await
                .map_err(|error| failed(&end, "CNAME", &error))?;
            let alias =
                answers.iter().find(|record| record.name == end).and_then(|record| match &record.data {
                    RData::CNAME(target) => Some(target.0.clone()),
                    _ => None,
                });
            match alias {
                Some(target) => end = target,
                None => return Ok(text(&end)),
            }
        }
        Err(DnsError::Aliases { name: name.to_owned(), limit: ALIAS_LIMIT })
    }

    /// The zone that holds a name.
    pub(super) async fn zone(&self, name: &str) -> Result<String, DnsError> {
        let resolver = resolver(&self.recursive().await, true)?;
        let mut candidate = parse(name)?;
        while !candidate.is_root() {
            let answers = ask(&resolver, &candidate, RecordType::SOA)
                .await
                .map_err(|error| failed(&candidate, "SOA", &error))?;
            // The SOA record of another name is the answer where this one is an alias.
            if answers.iter().any(|record| record.name == candidate && matches!(record.data, RData::SOA(_))) {
                return Ok(text(&candidate));
            }
            candidate = candidate.base_name();
        }
        Err(DnsError::NoZone { name: name.to_owned() })
    }

    /// Waits until the record is seen by all who are to see it.
    pub(super) async fn wait(
        &self,
        record: &TxtRecord,
        timing: Timing,
        aliases: bool,
    ) -> Result<(), DnsError> {
        sleep(self.settings.delay_before_checks).await;
        if self.settings.disable_checks {
            return Ok(());
        }
        let deadline = Instant::now() + timing.limit;
        let mut missing = vec!["no server was asked in time".to_owned()];
        loop {
            // Asked last when the time is over: what was seen before is then what is told.
            match timeout_at(deadline, self.missing(record, aliases)).await {
                Ok(Ok(none)) if none.is_empty() => return Ok(()),
                Ok(Ok(some)) => missing = some,
                Ok(Err(error)) => missing = vec![error.to_string()],
                Err(_elapsed) => {}
            }
            if Instant::now() + timing.interval >= deadline {
                return Err(DnsError::NotVisible { name: record.name.clone(), limit: timing.limit, missing });
            }
            sleep(timing.interval).await;
        }
    }

    /// Servers that do not have the record.
    async fn missing(&self, record: &TxtRecord, aliases: bool) -> Result<Vec<String>, DnsError> {
        let recursive = self.recursive().await;
        // A provider that did not follow aliases, as a hook or `acme-dns`, leaves it to the servers.
        let start = format!("_acme-challenge.{}", record.domain);
        let name = if aliases { self.end_of_aliases(&start).await? } else { record.name.clone() };
        let name = parse(&name)?;
        let mut missing = Vec::new();
        if !self.settings.disable_authoritative {
            let zone = self.zone(&text(&name)).await?;
            for (server, addresses) in self.authoritative(&zone, &recursive).await? {
                if let Some(seen) = look(&addresses, false, &name, &record.value).await {
                    missing.push(format!("{server} {seen}"));
                }
            }
        }
        if self.settings.require_all_recursive {
            for server in recursive {
                if let Some(seen) = look(&[server], true, &name, &record.value).await {
                    missing.push(format!("{server} {seen}"));
                }
            }
        }
        Ok(missing)
    }

    /// The servers of a zone, by name, with their addresses.
    async fn authoritative(
        &self,
        zone: &str,
        recursive: &[SocketAddr],
    ) -> Result<Vec<(String, Vec<SocketAddr>)>, DnsError> {
        let resolver = resolver(recursive, true)?;
        let zone = parse(zone)?;
        let answers =
            ask(&resolver, &zone, RecordType::NS).await.map_err(|error| failed(&zone, "NS", &error))?;
        let names: Vec<Name> = answers
            .into_iter()
            .filter_map(|record| match record.data {
                RData::NS(server) => Some(server.0),
                _ => None,
            })
            .collect();
        if names.is_empty() {
            return Err(DnsError::NoZone { name: text(&zone) });
        }
        let mut servers = Vec::new();
        for name in names {
            let mut addresses = Vec::new();
            for kind in [RecordType::A, RecordType::AAAA] {
                let answers =
                    ask(&resolver, &name, kind).await.map_err(|error| failed(&name, "address", &error))?;
                addresses.extend(answers.into_iter().filter_map(|record| match record.data {
                    RData::A(address) => Some(IpAddr::V4(address.0)),
                    RData::AAAA(address) => Some(IpAddr::V6(address.0)),
                    _ => None,
                }));
            }
            let addresses = addresses.into_iter().map(|address| self.server_at(address)).collect();
            servers.push((text(&name), addresses));
        }
        Ok(servers)
    }

    /// A server of a zone listens on port 53, but for one that `resolvers` names with another: a server of one's own
    /// that serves the zone and answers questions.
    fn server_at(&self, address: IpAddr) -> SocketAddr {
        let named = self.servers.iter().find(|server| server.ip() == address);
        named.copied().unwrap_or_else(|| SocketAddr::new(address, 53))
    }

    /// The recursive servers. The system's are read each time: they change with the network.
    async fn recursive(&self) -> Vec<SocketAddr> {
        if !self.servers.is_empty() {
            return self.servers.clone();
        }
        let listed = tokio::fs::read_to_string(SYSTEM_SERVERS).await.unwrap_or_default();
        let listed = system_servers(&listed);
        if listed.is_empty() { vec![SocketAddr::from(([127, 0, 0, 1], 53))] } else { listed }
    }
}

fn system_servers(listed: &str) -> Vec<SocketAddr> {
    listed
        .lines()
        .filter_map(|line| line.trim().strip_prefix("nameserver"))
        .filter_map(|rest| parse_server(rest.trim()))
        .collect()
}

/// `host`, `host:port`, `[host]:port`.
fn parse_server(text: &str) -> Option<SocketAddr> {
    if let Ok(address) = text.parse::<SocketAddr>() {
        return Some(address);
    }
    // A link-local address has a zone that the socket does not need on a machine with one network.
    let address = text.split_once('%').map_or(text, |(address, _)| address);
    address.trim_matches(['[', ']']).parse::<IpAddr>().ok().map(|address| SocketAddr::new(address, 53))
}

/// One that remembers nothing, and asks nobody but these.
fn resolver(servers: &[SocketAddr], recursive: bool) -> Result<TokioResolver, DnsError> {
    let servers = servers.iter().map(|server| {
        let connections = [ConnectionConfig::udp(), ConnectionConfig::tcp()].map(|mut connection| {
            connection.port = server.port();
            connection
        });
        let mut config = NameServerConfig::udp_and_tcp(server.ip());
        config.connections = connections.into();
        config
    });
    let config = ResolverConfig::from_parts(None, Vec::new(), servers.collect());
    let mut builder = TokioResolver::builder_with_config(config, TokioRuntimeProvider::default());
    let options = builder.options_mut();
    options.cache_size = 0;
    options.timeout = QUESTION_LIMIT;
    options.attempts = 2;
    options.use_hosts_file = ResolveHosts::Never;
    options.try_tcp_on_error = true;
    options.recursion_desired = recursive;
    builder.build().map_err(|error| DnsError::Lookup {
        name: ".".to_owned(),
        kind: "servers",
        reason: error.to_string(),
    })
}

/// The records of a name; none is no error.
async fn ask(resolver: &TokioResolver, name: &Name, kind: RecordType) -> Result<Vec<Record>, NetError> {
    match resolver.lookup(name.clone(), kind).await {
        Ok(found) => Ok(found.answers().to_vec()),
        Err(error) if error.is_no_records_found() || error.is_nx_domain() => Ok(Vec::new()),
        Err(error) => Err(error),
    }
}

/// What a server says in place of the value; none if it has it.
async fn look(server: &[SocketAddr], recursive: bool, name: &Name, value: &str) -> Option<String> {
    if server.is_empty() {
        return Some("has no address".to_owned());
    }
    let resolver = match resolver(server, recursive) {
        Ok(resolver) => resolver,
        Err(error) => return Some(error.to_string()),
    };
    match ask(&resolver, name, RecordType::TXT).await {
        Ok(answers) => {
            let there = answers.iter().any(|record| match &record.data {
                RData::TXT(text) => text.txt_data.concat() == value.as_bytes(),
                _ => false,
            });
            (!there).then(|| "does not have it".to_owned())
        }
        Err(error) => Some(format!("does not answer: {error}")),
    }
}

fn parse(name: &str) -> Result<Name, DnsError> {
    let mut parsed = Name::from_utf8(name).map_err(|error| DnsError::Lookup {
        name: name.to_owned(),
        kind: "name",
        reason: error.to_string(),
    })?;
    // Whatever the system's search list is, it has no say here.
    parsed.set_fqdn(true);
    Ok(parsed)
}

fn text(name: &Name) -> String {
    name.to_ascii().trim_end_matches('.').to_ascii_lowercase()
}

fn failed(name: &Name, kind: &'static str, error: &NetError) -> DnsError {
    DnsError::Lookup { name: text(name), kind, reason: error.to_string() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn servers_are_read_in_all_spellings() {
        let check = |text: &str, expected: Option<&str>| {
            assert_eq!(parse_server(text).map(|server| server.to_string()).as_deref(), expected, "{text}");
        };
        check("1.1.1.1", Some("1.1.1.1:53"));
        check("1.1.1.1:5353", Some("1.1.1.1:5353"));
        check("2606:4700::1111", Some("[2606:4700::1111]:53"));
        check("[2606:4700::1111]:5353", Some("[2606:4700::1111]:5353"));
        check("[2606:4700::1111]", Some("[2606:4700::1111]:53"));
        check("fe80::1%eth0", Some("[fe80::1]:53"));
        check("dns.example", None);
        let listed =
            "# made by hand\nnameserver 10.0.0.1\nsearch example\n nameserver 127.0.0.11 \noptions ndots:0\n";
        let servers: Vec<_> = system_servers(listed).iter().map(ToString::to_string).collect();
        assert_eq!(servers, ["10.0.0.1:53", "127.0.0.11:53"]);
    }
}
