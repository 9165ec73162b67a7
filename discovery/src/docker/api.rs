//! The few engine calls in use and their wire types, private to this file: version, events, list.
//!
//! Every call has a deadline of its own, because the client's covers the response head only.

use std::collections::{BTreeMap, HashMap};
use std::io::ErrorKind;
use std::net::IpAddr;
use std::path::Path;
use std::time::Duration;

use bollard::errors::Error as ClientError;
use bollard::models::{ContainerSummary, EventMessage, EventMessageTypeEnum};
use bollard::query_parameters::{EventsOptionsBuilder, ListContainersOptionsBuilder};
use bollard::{API_DEFAULT_VERSION, BollardRequest, Docker};
use config::install::DockerEndpoint;
use futures_util::future::ready;
use futures_util::{Stream, StreamExt};

use super::container::{Container, Health, Network, NetworkMode, Port, State, health_from_status};

/// The API version we ask for where the engine has it: the oldest that current engines still serve, so the shape
/// of an answer is the same on old and new ones.
const OUR_VERSION: Version = Version { major: 1, minor: 44 };

/// The oldest API version we ask for (Docker 19.03, 2019): below it an engine's list does not hold what routing
/// needs, and Traefik refuses it too.
const OLDEST_VERSION: Version = Version { major: 1, minor: 40 };

/// Longest time to a whole answer. A list of 200 containers takes 70 ms.
pub(super) const CALL_TIMEOUT: Duration = Duration::from_secs(10);

/// The states that are known to all engines. Asked for by name, because one container in a state that the client
/// does not know makes the whole list undecodable.
const STATES: [&str; 7] = ["running", "created", "paused", "restarting", "removing", "exited", "dead"];

/// Engines that are not Docker refuse names they do not know: then only these are asked for.
const COMMON_STATES: [&str; 4] = ["running", "created", "paused", "exited"];

/// A connection to one engine.
#[derive(Clone)]
pub(super) struct Api {
    docker: Docker,
    /// Where the engine is, for texts.
    place: String,
    socket: Option<String>,
    call_timeout: Duration,
}

/// What the engine tells about itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Version {
    major: u32,
    minor: u32,
}

impl std::fmt::Display for Version {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}.{}", self.major, self.minor)
    }
}

/// Something happened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Event {
    /// A container's process ended.
    Died(String),
    /// A container was removed.
    Removed(String),
    /// A container started.
    Started(String),
    /// Anything else that can change what a list says.
    Other,
}

/// All containers, as far as they could be read.
#[derive(Debug, Clone)]
pub(super) struct Listed {
    pub(super) containers: Vec<Container>,
    /// What could not be read: containers that were known before and are not in `containers` may still be there.
    pub(super) unreadable: Vec<String>,
}

/// Why the engine could not be asked.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub(super) struct EngineError {
    /// What is wrong, for people.
    pub(super) message: String,
    /// What to do about it.
    pub(super) hint: Option<String>,
    /// The engine (or a filter in front of it) refused this very call with this status, and may serve others.
    pub(super) refused: Option<u16>,
    /// The answer came and was not understood.
    pub(super) nonsense: bool,
}

impl EngineError {
    fn new(message: impl Into<String>) -> Self {
        Self { message: message.into(), hint: None, refused: None, nonsense: false }
    }

    /// A fault of our own.
    pub(super) fn internal(message: &str) -> Self {
        Self::new(format!("internal error: {message}"))
    }

    /// Asking again, or in other words, will not help.
    pub(super) fn is_forbidden(&self) -> bool {
        matches!(self.refused, Some(401 | 403))
    }

    fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }
}

impl Api {
    /// Makes a client. Fails at once where the socket file is absent or a certificate cannot be read.
    pub(super) fn connect(endpoint: &DockerEndpoint, call_timeout: Duration) -> Result<Self, EngineError> {
        let seconds = call_timeout.as_secs().max(1);
        // An empty file: no certificate of that kind.
        let nothing = Path::new("/dev/null");
        let (docker, place, socket) = match endpoint {
            DockerEndpoint::Unix(path) => {
                let path = path.to_string_lossy().into_owned();
                let docker = Docker::connect_with_unix(&path, seconds, API_DEFAULT_VERSION);
                (docker, format!("unix://{path}"), Some(path))
            }
            DockerEndpoint::Http(address) => {
                let docker = Docker::connect_with_http(address, seconds, API_DEFAULT_VERSION);
                (docker, format!("tcp://{address}"), None)
            }
            DockerEndpoint::Https { address, ca, cert, key } => {
                let docker = Docker::connect_with_ssl(
                    address,
                    key.as_deref().unwrap_or(nothing),
                    cert.as_deref().unwrap_or(nothing),
                    ca.as_deref().unwrap_or(nothing),
                    seconds,
                    API_DEFAULT_VERSION,
                );
                (docker, format!("https://{address}"), None)
            }
        };
        match docker {
            Ok(docker) => Ok(Self { docker, place, socket, call_timeout }),
            Err(error) => Err(explain(&error, &place, socket.as_deref())),
        }
    }

    /// Asks for the engine's versions and pins all later calls to one that both sides speak. An engine (or a
    /// filter before it) that does not tell is asked without a version.
    pub(super) async fn pin_version(self) -> Result<Self, EngineError> {
        let answer = match self.within(self.docker.version()).await {
            Ok(answer) => answer,
            Err(error) if error.refused.is_some() || error.nonsense => {
                tracing::debug!(engine = %self.place, %error, "the engine does not tell its version");
                return Ok(self);
            }
            Err(error) => return Err(error),
        };
        let Some(theirs) = answer.api_version.as_deref().and_then(parse_version) else {
            tracing::debug!(engine = %self.place, "the engine does not tell its version");
            return Ok(self);
        };
        let oldest = answer.min_api_version.as_deref().and_then(parse_version);
        let version = choose_version(theirs, oldest).map_err(|message| {
            EngineError::new(format!("the engine at {}: {message}", self.place))
                .hint("update Docker to 19.03 or newer")
        })?;
        let prefix = format!("/v{version}");
        let docker = self.docker.with_request_modifier(move |request| pinned(request, &prefix));
        Ok(Self { docker, ..self })
    }

    /// Subscribes to what happens. The subscription begins with the first poll. Filtered by type only: other
    /// engines name their actions differently, and a filter by action would lose them.
    pub(super) fn events(&self) -> impl Stream<Item = Result<Event, EngineError>> + Send + Unpin + use<> {
        let filters = HashMap::from([("type", vec!["container", "network"])]);
        let options = EventsOptionsBuilder::default().filters(&filters).build();
        let (place, socket) = (self.place.clone(), self.socket.clone());
        let read = move |item| {
            ready(match item {
                Ok(message) => event(message).map(Ok),
                Err(error) => Some(Err(explain(&error, &place, socket.as_deref()))),
            })
        };
        self.docker.events(Some(options)).filter_map(read)
    }

    /// All containers, running or not.
    pub(super) async fn list(&self) -> Result<Listed, EngineError> {
        let error = match self.list_states(&STATES).await {
            Ok(containers) => return Ok(Listed { containers, unreadable: Vec::new() }),
            // Engines that are not Docker refuse names of states that they do not know.
            Err(error) if error.refused.is_some() && !error.is_forbidden() => {
                match self.list_states(&COMMON_STATES).await {
                    Ok(containers) => return Ok(Listed { containers, unreadable: Vec::new() }),
                    Err(error) => error,
                }
            }
            Err(error) => error,
        };
        if !error.nonsense {
            return Err(error);
        }
        // One odd container spoils the whole answer: ask state by state, and lose only its own.
        let mut listed = Listed { containers: Vec::new(), unreadable: Vec::new() };
        let mut read = 0;
        for state in STATES {
            match self.list_states(&[state]).await {
                Ok(containers) => {
                    read += 1;
                    listed.containers.extend(containers);
                }
                Err(error) if error.nonsense => {
                    listed.unreadable.push(format!("containers in state `{state}`: {error}"));
                }
                // A state that this engine does not have.
                Err(error) if error.refused.is_some() => {}
                Err(error) => return Err(error),
            }
        }
        if read == 0 {
            return Err(error);
        }
        listed.containers.sort_by(|a, b| a.id.cmp(&b.id));
        listed.containers.dedup_by(|a, b| a.id == b.id);
        if listed.unreadable.is_empty() {
            listed.unreadable.push(error.message);
        }
        Ok(listed)
    }

    async fn list_states(&self, states: &[&str]) -> Result<Vec<Container>, EngineError> {
        let filters = HashMap::from([("status", states.to_vec())]);
        let options = ListContainersOptionsBuilder::default().all(true).filters(&filters).build();
        let summaries = self.within(self.docker.list_containers(Some(options))).await?;
        let mut containers: Vec<Container> = summaries.into_iter().filter_map(container).collect();
        containers.sort_by(|a, b| a.id.cmp(&b.id));
        Ok(containers)
    }

    async fn within<T>(&self, call: impl Future<Output = Result<T, ClientError>>) -> Result<T, EngineError> {
        match tokio::time::timeout(self.call_timeout, call).await {
            Ok(Ok(answer)) => Ok(answer),
            Ok(Err(error)) => Err(explain(&error, &self.place, self.socket.as_deref())),
            Err(_) => Err(explain(&ClientError::RequestTimeoutError, &self.place, self.socket.as_deref())),
        }
    }
}

fn parse_version(text: &str) -> Option<Version> {
    let (major, minor) = text.trim().split_once('.')?;
    Some(Version { major: major.parse().ok()?, minor: minor.parse().ok()? })
}

/// The version to ask for: ours, or the engine's newest where that is older, or its oldest where that is newer.
fn choose_version(theirs: Version, their_oldest: Option<Version>) -> Result<Version, String> {
    if theirs < OLDEST_VERSION {
        return Err(format!(
            "speaks API {theirs} at most, and {OLDEST_VERSION} is the oldest that is read here"
        ));
    }
    Ok(OUR_VERSION.min(theirs).max(their_oldest.unwrap_or(OLDEST_VERSION)))
}

/// The client joins its own version prefix away, so each request is put under the pinned one here.
fn pinned(mut request: BollardRequest, prefix: &str) -> BollardRequest {
    let mut parts = request.uri().clone().into_parts();
    let path = parts.path_and_query.as_ref().map_or("/", |path| path.as_str());
    if let Ok(path) = format!("{prefix}{path}").parse() {
        parts.path_and_query = Some(path);
        if let Ok(uri) = http::Uri::from_parts(parts) {
            *request.uri_mut() = uri;
        }
    }
    request
}

/// What an event means; none if it changes nothing that a list shows. Health checks alone make three `exec_…`
/// events a run, and must not make a list each.
fn event(message: EventMessage) -> Option<Event> {
    const PASSED_OVER: [&str; 13] = [
        "archive-path",
        "attach",
        "checkpoint",
        "cleanup",
        "commit",
        "copy",
        "detach",
        "exec",
        "export",
        "extract-to-dir",
        "init",
        "resize",
        "top",
    ];
    let of_container = message.typ == Some(EventMessageTypeEnum::CONTAINER);
    let id = message.actor.and_then(|actor| actor.id).filter(|id| !id.is_empty());
    match (of_container, message.action.as_deref(), id) {
        (true, Some("die" | "died"), Some(id)) => Some(Event::Died(id)),
        (true, Some("destroy" | "remove"), Some(id)) => Some(Event::Removed(id)),
        (true, Some("start"), Some(id)) => Some(Event::Started(id)),
        // Some carry their detail behind a colon: `exec_start: test -f /ok`.
        (true, Some(action), _)
            if PASSED_OVER.contains(&action.split([':', '_']).next().unwrap_or(action).trim()) =>
        {
            None
        }
        (_, _, _) => Some(Event::Other),
    }
}

/// What we keep of a list entry. One without an identifier is none.
fn container(summary: ContainerSummary) -> Option<Container> {
    let id = summary.id.filter(|id| !id.is_empty())?;
    let names = summary.names.unwrap_or_default();
    // A legacy link adds names of the form `/other/alias`, and may put them first.
    let name = names
        .iter()
        .find(|name| name.trim_start_matches('/').split('/').count() == 1)
        .or_else(|| names.first())
        .map_or_else(|| id.chars().take(12).collect(), |name| name.trim_start_matches('/').to_owned());
    let state = match summary.state.map(|state| state.to_string()) {
        Some(state) if state == "running" => State::Running,
        Some(state) if !state.is_empty() => State::Not(state),
        // An engine that leaves the state out says it in the status text.
        _ if summary.status.as_deref().is_some_and(|status| status.starts_with("Up")) => State::Running,
        _ => State::Not("exited".to_owned()),
    };
    let health = summary.status.as_deref().map_or(Health::Unchecked, health_from_status);
    let mode = match summary.host_config.and_then(|host| host.network_mode).as_deref() {
        Some("host") => NetworkMode::Host,
        Some(mode) => match mode.strip_prefix("container:") {
            Some(other) => NetworkMode::Container(other.to_owned()),
            None => NetworkMode::Own,
        },
        None => NetworkMode::Own,
    };
    let networks: BTreeMap<String, Network> = summary
        .network_settings
        .and_then(|settings| settings.networks)
        .unwrap_or_default()
        .into_iter()
        .map(|(name, endpoint)| {
            let network = Network {
                ipv4: endpoint.ip_address.as_deref().and_then(|ip| ip.parse().ok()),
                ipv6: endpoint.global_ipv6_address.as_deref().and_then(|ip| ip.parse().ok()),
                gateway: endpoint.gateway.as_deref().and_then(|ip| ip.parse().ok()),
            };
            (name, network)
        })
        .collect();
    let mut ports: Vec<Port> = summary
        .ports
        .unwrap_or_default()
        .into_iter()
        .filter(|port| port.private_port != 0)
        .map(|port| Port {
            private: port.private_port,
            published: port
                .public_port
                .filter(|public| *public != 0)
                .and_then(|public| Some((port.ip.as_deref()?.parse::<IpAddr>().ok()?, public))),
        })
        .collect();
    ports.sort_unstable();
    ports.dedup();
    Some(Container {
        id,
        name,
        labels: summary.labels.unwrap_or_default().into_iter().collect(),
        created: summary.created.unwrap_or(0),
        state,
        health,
        mode,
        networks,
        ports,
    })
}

/// Turns a client error into what the operator can act on.
fn explain(error: &ClientError, place: &str, socket: Option<&str>) -> EngineError {
    if let ClientError::SocketNotFoundError(path) = error {
        return EngineError::new(format!(
            "socket `{path}` does not exist: the engine is stopped, or its socket is not mounted here"
        ))
        .hint("start Docker, mount its socket, or set `providers.docker.endpoint`");
    }
    if let ClientError::RequestTimeoutError = error {
        return EngineError::new(format!(
            "the engine at {place} took the request and did not answer in time"
        ));
    }
    if let ClientError::DockerResponseServerError { status_code, message } = error {
        let refused = EngineError { refused: Some(*status_code), ..EngineError::new("") };
        return match status_code {
            // A socket filter answers 403 with a page; the page says nothing.
            401 | 403 => EngineError { message: format!("{place} refuses the call ({status_code})"), ..refused }
                .hint("a socket proxy has to allow GET on /version, /events and /containers/json (`EVENTS=1`, `CONTAINERS=1`)"),
            status => EngineError { message: format!("{place} answered {status}: {}", one_line(message)), ..refused },
        };
    }
    if let Some(kind) = io_kind(error) {
        match (kind, socket) {
            (ErrorKind::NotFound, Some(path)) => {
                return EngineError::new(format!(
                    "socket `{path}` does not exist: the engine is stopped, or its socket is not mounted here"
                ))
                .hint("start Docker, mount its socket, or set `providers.docker.endpoint`");
            }
            (ErrorKind::ConnectionRefused, Some(path)) => {
                return EngineError::new(format!(
                    "socket `{path}` is there and nobody answers: the engine is stopped, or the file is a stale bind mount of a socket that the engine has made anew"
                ))
                .hint("in a container mount the folder `/var/run` instead of the socket file, or use a socket proxy; until then restart this container");
            }
            (ErrorKind::PermissionDenied, Some(path)) => {
                return EngineError::new(format!("socket `{path}` may not be opened: permission denied"))
                    .hint("add the group that owns the socket (`group_add`), or use a socket proxy");
            }
            (ErrorKind::ConnectionRefused, None) => {
                return EngineError::new(format!("nobody listens at {place}: connection refused"));
            }
            // Whatever else broke is told in its own words below.
            (_, _) => {}
        }
    }
    let text = one_line(&innermost(error));
    let nonsense = matches!(
        error,
        ClientError::JsonDataError { .. }
            | ClientError::JsonSerdeError { .. }
            | ClientError::StrParseError { .. }
    );
    if nonsense {
        return EngineError {
            nonsense,
            ..EngineError::new(format!("the answer of {place} is not understood: {text}"))
        };
    }
    let explained = EngineError::new(format!("the engine at {place}: {text}"));
    if text.contains("CertificateRequired") {
        return explained.hint("set `providers.docker.tls.cert` and `.key`");
    }
    if text.contains("UnknownIssuer") {
        return explained.hint("set `providers.docker.tls.ca` to the authority of the engine's certificate");
    }
    explained
}

/// The text of the cause at the bottom: what is above it only says that a call failed.
fn innermost(error: &ClientError) -> String {
    let mut cause: &dyn std::error::Error = error;
    while let Some(inner) = cause.source() {
        cause = inner;
    }
    cause.to_string()
}

/// The kind of the innermost I/O error.
fn io_kind(error: &ClientError) -> Option<ErrorKind> {
    let mut found = None;
    let mut cause: Option<&(dyn std::error::Error + 'static)> = Some(error);
    while let Some(inner) = cause {
        if let Some(io) = inner.downcast_ref::<std::io::Error>() {
            found = Some(io.kind());
        }
        cause = inner.source();
    }
    found
}

/// A foreign text on one line and of bounded length.
fn one_line(text: &str) -> String {
    const LONGEST: usize = 300;
    let line = text.split(|c: char| c.is_control() || c.is_whitespace()).filter(|word| !word.is_empty());
    let line = line.collect::<Vec<_>>().join(" ");
    match line.char_indices().nth(LONGEST) {
        Some((end, _)) => format!("{}…", &line[..end]),
        None => line,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn version(text: &str) -> Version {
        parse_version(text).unwrap()
    }

    #[test]
    fn the_pinned_version_is_one_that_both_sides_speak() {
        for (theirs, oldest, expected) in [
            ("1.41", Some("1.12"), Ok("1.41")),
            ("1.44", Some("1.24"), Ok("1.44")),
            ("1.56", Some("1.40"), Ok("1.44")),
            ("1.60", Some("1.50"), Ok("1.50")),
            ("1.52", None, Ok("1.44")),
            ("1.39", None, Err("speaks API 1.39 at most, and 1.40 is the oldest that is read here")),
        ] {
            let chosen =
                choose_version(version(theirs), oldest.map(version)).map(|chosen| chosen.to_string());
            assert_eq!(chosen, expected.map(str::to_owned).map_err(str::to_owned), "{theirs} {oldest:?}");
        }
    }

    #[test]
    fn a_list_entry_is_read_without_the_parts_that_trap() {
        let json = r#"{"Id":"abc","Names":["/other/alias","/blog"],"Created":7,"State":"running",
            "Status":"Up 2 seconds (healthy)","Labels":{"a":"b"},"HostConfig":{"NetworkMode":"container:xyz"},
            "Ports":[{"PrivatePort":443,"Type":"tcp"},{"IP":"0.0.0.0","PrivatePort":80,"PublicPort":8080,"Type":"tcp"},
                     {"IP":"::","PrivatePort":80,"PublicPort":8080,"Type":"tcp"}],
            "NetworkSettings":{"Networks":{"web":{"IPAddress":"172.18.0.2","GlobalIPv6Address":"","Gateway":"172.18.0.1"},
                     "off":{"IPAddress":""}}}}"#;
        let read = container(serde_json::from_str(json).unwrap()).unwrap();
        assert_eq!((read.name.as_str(), read.created, read.state.clone()), ("blog", 7, State::Running));
        assert_eq!(
            (read.health, read.mode.clone()),
            (Health::Healthy, NetworkMode::Container("xyz".to_owned()))
        );
        assert_eq!(read.networks["web"].address(), Some("172.18.0.2".parse().unwrap()));
        assert_eq!(read.networks["off"].address(), None);
        assert_eq!(read.ports.iter().map(|port| port.private).collect::<Vec<_>>(), [80, 80, 443]);
    }

    #[test]
    fn events_wake_only_where_a_list_could_differ() {
        let read = |kind: &str, action: &str| {
            let event_json = format!(r#"{{"Type":"{kind}","Action":"{action}","Actor":{{"ID":"x"}}}}"#);
            event(serde_json::from_str(&event_json).unwrap())
        };
        let id = || "x".to_owned();
        for (kind, action, expected) in [
            ("container", "die", Some(Event::Died(id()))),
            ("container", "died", Some(Event::Died(id()))),
            ("container", "destroy", Some(Event::Removed(id()))),
            ("container", "remove", Some(Event::Removed(id()))),
            ("container", "start", Some(Event::Started(id()))),
            ("container", "kill", Some(Event::Other)),
            ("container", "rename", Some(Event::Other)),
            ("container", "health_status: healthy", Some(Event::Other)),
            ("container", "exec_create: sh -c true", None),
            ("container", "exec_start: sh -c true", None),
            ("container", "exec_die", None),
            ("container", "exec", None),
            ("container", "top", None),
            ("network", "connect", Some(Event::Other)),
            ("network", "remove", Some(Event::Other)),
        ] {
            assert_eq!(read(kind, action), expected, "{kind} {action}");
        }
    }

    #[test]
    fn foreign_texts_are_cut_to_one_line() {
        assert_eq!(one_line("<html>\n  <b>403\u{7}</b>"), "<html> <b>403 </b>");
        assert_eq!(one_line(&"x".repeat(1000)).chars().count(), 301);
    }
}
