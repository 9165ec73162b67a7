//! The one place where all parts are built and joined. A gateway is a value: a process (or a test) may hold many.
//!
//! Requests run on one runtime, everything else (providers, compiling, admin API) on another with threads of its
//! own, so that the hot path never waits for the control plane.

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use config::install::{Install, ListenAddress};
use config::name::EntryPointName;
use config::{Origin, Problem};
use discovery::{DockerProvider, FileProvider, Provider, TableProvider};
use tokio::runtime::{Builder, Runtime};

use crate::control::admin::{self, AdminAddress, AdminListener, AdminParts, AdminServices, AdminState};
use crate::control::certificates::{CertificateHandle, Certificates, CertificatesParts};
use crate::control::health;
use crate::control::reconciler::{Reconciler, ReloadError, ReloadHandle, ReloadReport};
use crate::control::{Clock, Readiness, ReadinessReport};
use crate::lifecycle::{Lifecycle, LifecycleReader, Phase};
use crate::proxy::entry_point::{BindError, Listener, ListeningSocket, SocketFile, listen};
use crate::proxy::{Proxy, ProxyConfig};
use crate::snapshot::{EntryPointId, ProviderState, SnapshotReader};
use crate::telemetry::Telemetry;

/// How long connections that come at the very start wait for the providers' first word.
const FIRST_WORD: Duration = Duration::from_millis(500);

/// Mode of a Unix socket whose mode nobody wrote.
const SOCKET_MODE: u32 = 0o660;

/// What a gateway takes from its surroundings. `main` reads it from the process, a test makes it up.
pub struct Environment {
    /// Looks a variable up, for templates in routing files.
    pub variables: discovery::Environment,
    /// Sources of routing settings beyond those of the install configuration.
    pub providers: Vec<Box<dyn Provider>>,
    /// Name of this machine, for `X-Forwarded-Server`.
    pub server_name: String,
    /// Threads that serve requests; 0 = one for each processor.
    pub worker_threads: usize,
}

impl Default for Environment {
    /// No variables, no further sources, one thread for each processor.
    fn default() -> Self {
        Self {
            variables: Arc::new(|_| None),
            providers: Vec::new(),
            server_name: "hearthgate".to_owned(),
            worker_threads: 0,
        }
    }
}

impl fmt::Debug for Environment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Environment").field("server_name", &self.server_name).finish_non_exhaustive()
    }
}

/// Where a listener really listens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum BoundAddress {
    /// TCP, with the port that the system chose for port 0.
    Tcp(SocketAddr),
    /// UDP, likewise.
    Udp(SocketAddr),
    /// A Unix socket.
    Unix(PathBuf),
}

impl fmt::Display for BoundAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(address) | Self::Udp(address) => address.fmt(f),
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

/// Why a gateway cannot start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// An entry point cannot listen.
    #[error(transparent)]
    Bind(#[from] BindError),
    /// The admin listener's address was set and cannot be had.
    #[error("admin listener: listen on {address}")]
    Admin {
        /// As written.
        address: String,
        /// Why.
        source: io::Error,
    },
    /// No threads.
    #[error("start the threads of the {part}")]
    Threads {
        /// `hot path` or `control plane`.
        part: &'static str,
        /// Why.
        source: io::Error,
    },
}

/// Builds gateways.
#[derive(Debug)]
pub enum Gateway {}

/// A gateway at work. Dropping it stops it at once; [`RunningGateway::shutdown`] lets open requests end.
#[derive(Debug)]
pub struct RunningGateway {
    entry_points: Vec<(EntryPointName, BoundAddress)>,
    admin: BoundAddress,
    snapshot: SnapshotReader,
    reload: ReloadHandle,
    readiness: Readiness,
    lifecycle: Lifecycle,
    telemetry: Arc<Telemetry>,
    proxy: Arc<Proxy>,
    hot_path: Option<Runtime>,
    control_plane: Option<Runtime>,
    /// Removes the file of the admin listener's Unix socket at the end.
    _admin_socket_file: Option<SocketFile>,
}

impl RunningGateway {
    /// Where an entry point listens; `None` if there is none of this name.
    pub fn address(&self, entry_point: &str) -> Option<&BoundAddress> {
        self.entry_points.iter().find(|(name, _)| name.as_str() == entry_point).map(|(_, address)| address)
    }

    /// Where every entry point listens, in the order of the install configuration.
    pub fn entry_points(&self) -> &[(EntryPointName, BoundAddress)] {
        &self.entry_points
    }

    /// Where the admin API listens.
    pub fn admin(&self) -> &BoundAddress {
        &self.admin
    }

    /// What is published.
    pub fn snapshot(&self) -> &SnapshotReader {
        &self.snapshot
    }

    /// The state of every part now.
    pub fn readiness(&self) -> ReadinessReport {
        self.readiness.report()
    }

    /// Waits until every provider has answered (or had its time), so that what it knows is served. `false` if
    /// the gateway drains.
    pub async fn ready(&self) -> bool {
        self.readiness.ready().await
    }

    /// Access log and metrics.
    pub fn telemetry(&self) -> Arc<Telemetry> {
        Arc::clone(&self.telemetry)
    }

    /// For whoever asks for a reload while the gateway is borrowed.
    pub fn reload_handle(&self) -> ReloadHandle {
        self.reload.clone()
    }

    /// Asks all providers to read again and says what changed.
    pub async fn reload(&self) -> Result<ReloadReport, ReloadError> {
        self.reload.reload().await
    }
}

impl Gateway {
    /// Binds every listener, starts every part, and returns while the providers are still being asked for the
    /// first time. Needs no runtime of the caller's. `problems` are those of the install configuration: they stay
    /// among the current ones for good.
    pub fn start(
        install: Install,
        problems: Vec<Problem>,
        environment: Environment,
    ) -> Result<RunningGateway, StartError> {
        start(install, problems, environment)
    }
}

fn start(
    mut install: Install,
    mut problems: Vec<Problem>,
    environment: Environment,
) -> Result<RunningGateway, StartError> {
    let listeners = bind_entry_points(&mut install, &mut problems)?;
    let admin_socket = bind_admin(&install, &mut problems)?;
    problems.extend(state_dir_problem(&install));
    let entry_points: Vec<_> =
        listeners.iter().map(|listener| (listener.name().clone(), bound(listener, &install))).collect();
    // What is shown from here on is what is in force.
    for (listener, (_, address)) in listeners.iter().zip(&entry_points) {
        let entry_point = &mut install.entry_points[listener.id().0];
        entry_point.address = in_force(&entry_point.address, address);
    }
    redirect_to_bound_ports(&mut install);
    install.admin.address = in_force(&install.admin.address, &admin_socket.address);
    let (telemetry, found) = Telemetry::new(&install);
    problems.extend(found);
    let install = Arc::new(install);

    let worker_threads = match environment.worker_threads {
        0 => std::thread::available_parallelism().map_or(1, std::num::NonZero::get),
        threads => threads,
    };
    let hot_path = Builder::new_multi_thread()
        .worker_threads(worker_threads)
        .thread_name("hot-path")
        .enable_all()
        .build()
        .map_err(|source| StartError::Threads { part: "hot path", source })?;
    let control_plane = Builder::new_multi_thread()
        .worker_threads(1)
        .thread_name("control-plane")
        .enable_all()
        .build()
        .map_err(|source| StartError::Threads { part: "control plane", source })?;

    let lifecycle = Lifecycle::default();
    let clock = Clock::new(now);
    let mut providers = providers(&install, &environment.variables);
    providers.extend(environment.providers);
    let (reconciler, snapshot, reload) =
        Reconciler::new(Arc::clone(&install), problems, providers, clock.clone());
    let (certificates, certificate_handle) = Certificates::new(CertificatesParts {
        install: Arc::clone(&install),
        snapshot: snapshot.clone(),
        updates: reconciler.certificates(),
        variables: Arc::clone(&environment.variables),
        clock,
    });
    let readiness = Readiness::new(snapshot.clone(), lifecycle.reader(), tokio::time::Instant::now())
        .with_certificates(certificate_handle.clone());

    let AdminSocket { listener: admin_listener, file: admin_socket_file, address: admin } = admin_socket;
    let (admin_state, found) = AdminState::new(AdminParts {
        install: Arc::clone(&install),
        snapshot: snapshot.clone(),
        telemetry: Arc::clone(&telemetry),
        readiness: readiness.clone(),
        reload: reload.clone(),
        certificates: certificate_handle.clone(),
        bound: match &admin {
            BoundAddress::Tcp(address) | BoundAddress::Udp(address) => AdminAddress::Tcp(*address),
            BoundAddress::Unix(_) => AdminAddress::Unix,
        },
        started: now(),
    });
    control_plane.spawn(reconciler.with_problems(found).run());
    control_plane.spawn(certificates.run());
    control_plane.spawn(health::run(snapshot.clone()));
    control_plane.spawn(serve_admin(admin_listener, Arc::clone(&admin_state), lifecycle.reader()));

    let proxy = Proxy::new(ProxyConfig {
        entry_points: install.entry_points.clone(),
        challenge_entry_points: install
            .certificate_resolvers
            .iter()
            .filter_map(|resolver| Some(resolver.challenges.http.as_ref()?.entry_point.clone()))
            .collect(),
        snapshot: snapshot.clone(),
        telemetry: Arc::clone(&telemetry) as _,
        internal: Arc::new(AdminServices::new(admin_state)),
        server_name: environment.server_name,
        worker_threads,
    });
    hot_path.spawn(serve_when_known(Arc::clone(&proxy), listeners, snapshot.clone(), certificate_handle));
    Ok(RunningGateway {
        entry_points,
        admin,
        snapshot,
        reload,
        readiness,
        lifecycle,
        telemetry,
        proxy,
        hot_path: Some(hot_path),
        control_plane: Some(control_plane),
        _admin_socket_file: admin_socket_file,
    })
}

/// Starts to accept once every provider has said something, or had its moment. The sockets listen already, so that
/// who comes in between waits instead of being told 404, or being shown a certificate of our own making: a restart is no
/// interruption.
async fn serve_when_known(
    proxy: Arc<Proxy>,
    listeners: Vec<Listener>,
    snapshot: SnapshotReader,
    certificates: CertificateHandle,
) {
    let said = |provider: &ProviderState| provider.answered || provider.stale.is_some();
    let known = snapshot.wait_for(|snapshot| snapshot.providers.iter().all(said));
    let _ = tokio::time::timeout(FIRST_WORD, async { tokio::join!(known, certificates.loaded()) }).await;
    proxy.serve(listeners);
}

async fn serve_admin(listener: AdminListener, state: Arc<AdminState>, mut lifecycle: LifecycleReader) {
    // While it drains, it says so.
    let end = async move { lifecycle.reached(Phase::Stopped).await };
    if let Err(error) = admin::serve(listener, state, end).await {
        tracing::error!("serve the admin listener: {error}");
    }
}

/// The wall clock, for what people read.
#[expect(clippy::disallowed_methods, reason = "the edge where a gateway learns when it was started")]
fn now() -> SystemTime {
    SystemTime::now()
}

/// The providers that the install configuration names.
fn providers(install: &Install, variables: &discovery::Environment) -> Vec<Box<dyn Provider>> {
    let mut providers: Vec<Box<dyn Provider>> = Vec::new();
    if let Some(settings) = &install.providers.docker {
        providers.push(Box::new(DockerProvider::new(settings.clone(), Arc::clone(variables))));
    }
    if let Some(settings) = &install.providers.file {
        providers.push(Box::new(FileProvider::new(settings.clone(), Arc::clone(variables))));
    }
    if let Some(settings) = &install.providers.table {
        providers.push(Box::new(TableProvider::new(settings.clone(), Arc::clone(variables))));
    }
    providers
}

/// Binds all entry points, or none. Where nothing was configured, a port that cannot be had gives way to another.
fn bind_entry_points(install: &mut Install, problems: &mut Vec<Problem>) -> Result<Vec<Listener>, BindError> {
    let mut listeners = Vec::with_capacity(install.entry_points.len());
    for (index, entry_point) in install.entry_points.iter_mut().enumerate() {
        let id = EntryPointId(index);
        let listener = match (Listener::bind(id, entry_point), entry_point.fallback_port) {
            (Ok(listener), _) => listener,
            (Err(error), None) => return Err(error),
            (Err(error), Some(port)) => {
                entry_point.address = ListenAddress::AnyAddress { port };
                let listener = Listener::bind(id, entry_point)?;
                problems.push(
                    Problem::warning(
                        Origin::Gateway,
                        format!("entry point `{}`", entry_point.name),
                        format!(
                            "cannot listen on {} ({}): listens on :{port} instead",
                            error.address, error.source
                        ),
                    )
                    .with_hint(format!("write `entryPoints.{}.address` to choose a port", entry_point.name)),
                );
                listener
            }
        };
        listeners.push(listener);
    }
    Ok(listeners)
}

/// A redirection to an entry point leads to the port that it was really given.
fn redirect_to_bound_ports(install: &mut Install) {
    let ports: Vec<_> = install
        .entry_points
        .iter()
        .filter(|entry_point| entry_point.udp.is_none())
        .map(|entry_point| (entry_point.name.clone(), entry_point.address.port()))
        .collect();
    for redirection in install.entry_points.iter_mut().filter_map(|from| from.redirection.as_mut()) {
        if let Some((_, port)) = ports.iter().find(|(name, _)| name.as_str() == &*redirection.to) {
            redirection.port = *port;
        }
    }
}

fn bound(listener: &Listener, install: &Install) -> BoundAddress {
    match (listener.local_addr(), &install.entry_points[listener.id().0].address) {
        (Some(address), _) if install.entry_points[listener.id().0].udp.is_some() => {
            BoundAddress::Udp(address)
        }
        (Some(address), _) => BoundAddress::Tcp(address),
        (None, ListenAddress::Unix { path, .. }) => BoundAddress::Unix(path.clone()),
        (None, other) => unreachable!("a TCP listener knows its address: {other:?}"),
    }
}

/// `written`, with the port or the socket that was really bound.
fn in_force(written: &ListenAddress, bound: &BoundAddress) -> ListenAddress {
    match (written, bound) {
        (ListenAddress::AnyAddress { .. }, BoundAddress::Tcp(bound) | BoundAddress::Udp(bound)) => {
            ListenAddress::AnyAddress { port: bound.port() }
        }
        (ListenAddress::Address(_), BoundAddress::Tcp(bound) | BoundAddress::Udp(bound)) => {
            ListenAddress::Address(*bound)
        }
        (ListenAddress::Unix { .. }, _) => written.clone(),
        (_, BoundAddress::Unix(path)) => ListenAddress::Unix { path: path.clone(), mode: SOCKET_MODE },
    }
}

/// The admin listener, bound.
struct AdminSocket {
    listener: AdminListener,
    file: Option<SocketFile>,
    address: BoundAddress,
}

impl AdminSocket {
    fn bind(address: &ListenAddress) -> io::Result<Self> {
        Ok(match (listen(address, false)?, address) {
            (ListeningSocket::Tcp(socket), _) => Self {
                address: BoundAddress::Tcp(socket.local_addr()?),
                listener: AdminListener::Tcp(socket),
                file: None,
            },
            (ListeningSocket::Unix(socket, file), ListenAddress::Unix { path, .. }) => Self {
                address: BoundAddress::Unix(path.clone()),
                listener: AdminListener::Unix(socket),
                file: Some(file),
            },
            (ListeningSocket::Unix(..) | ListeningSocket::Udp(..), other) => {
                unreachable!("another kind of socket was bound for {other:?}")
            }
        })
    }
}

/// Binds the admin listener. Where its default port is taken, by an entry point or another program, it moves to
/// the Unix socket `admin.sock` in the state directory; an address that was set is kept to.
fn bind_admin(install: &Install, problems: &mut Vec<Problem>) -> Result<AdminSocket, StartError> {
    let wanted = &install.admin.address;
    let refused = match AdminSocket::bind(wanted) {
        Ok(socket) => return Ok(socket),
        Err(source) => StartError::Admin { address: written(wanted), source },
    };
    if install.admin.address_was_set {
        return Err(refused);
    }
    let path = install.state_dir.join("admin.sock");
    let substitute = ListenAddress::Unix { path, mode: SOCKET_MODE };
    // The state directory may not exist yet; whether it can be written to shows in a moment.
    let _ = std::fs::create_dir_all(&install.state_dir);
    match AdminSocket::bind(&substitute) {
        Ok(socket) => {
            problems.push(
                Problem::warning(
                    Origin::Gateway,
                    "admin listener",
                    format!("{} is taken: listens on {} instead", written(wanted), written(&substitute)),
                )
                .with_hint("write `admin.address` to choose another place"),
            );
            Ok(socket)
        }
        Err(source) => Err(StartError::Admin { address: written(&substitute), source }),
    }
}

fn written(address: &ListenAddress) -> String {
    match address {
        ListenAddress::AnyAddress { port } => format!(":{port}"),
        ListenAddress::Address(address) => address.to_string(),
        ListenAddress::Unix { path, .. } => format!("unix:{}", path.display()),
    }
}

/// The state directory, if it cannot be written to.
fn state_dir_problem(install: &Install) -> Option<Problem> {
    let dir = &install.state_dir;
    let probe = dir.join(".writable");
    let tried = std::fs::create_dir_all(dir)
        .and_then(|()| std::fs::write(&probe, b""))
        .and_then(|()| std::fs::remove_file(&probe));
    let error = tried.err()?;
    Some(
        Problem::warning(
            Origin::Gateway,
            format!("state directory `{}`", dir.display()),
            format!("cannot be written to ({error}): state lives in memory and is lost at the next start"),
        )
        .with_hint("mount a volume there, or write another `stateDir`"),
    )
}

impl RunningGateway {
    /// Ends in good order: not ready at once; each entry point goes on accepting for its
    /// `requestAcceptGraceTimeout`; then open requests may end within its `graceTimeOut`. Returns how many
    /// connections had to be cut. Cancelling it stops at once.
    pub async fn shutdown(mut self) -> usize {
        self.lifecycle.enter(Phase::Draining);
        let proxy = Arc::clone(&self.proxy);
        // On the hot path's runtime, whose timers and sockets the proxy uses.
        let drained = match &self.hot_path {
            Some(runtime) => runtime.spawn(async move { proxy.drain().await }).await,
            None => Ok(0),
        };
        self.stop();
        drained.unwrap_or(0)
    }

    /// Closes everything now.
    pub fn stop(&mut self) {
        self.lifecycle.enter(Phase::Stopped);
        self.proxy.stop();
        // `shutdown_background`, since this may run inside the caller's runtime, where waiting is not allowed.
        for runtime in [self.hot_path.take(), self.control_plane.take()].into_iter().flatten() {
            runtime.shutdown_background();
        }
    }
}

impl Drop for RunningGateway {
    fn drop(&mut self) {
        self.stop();
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::net::{TcpListener, TcpStream};
    use std::os::unix::net::UnixStream;

    use super::*;
    use crate::test_support;

    fn start(install: Install) -> RunningGateway {
        Gateway::start(install, Vec::new(), Environment { worker_threads: 1, ..Environment::default() })
            .unwrap()
    }

    fn status(mut stream: impl Read + Write, path: &str) -> String {
        write!(stream, "GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n").unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        answer.lines().next().unwrap_or_default().to_owned()
    }

    fn tcp(address: &BoundAddress) -> SocketAddr {
        match address {
            BoundAddress::Tcp(address) => *address,
            BoundAddress::Udp(address) => panic!("UDP: {address}"),
            BoundAddress::Unix(path) => panic!("a Unix socket: {}", path.display()),
        }
    }

    #[tokio::test]
    async fn a_gateway_starts_answers_and_ends_in_one_process_with_others() {
        let folder = tempfile::tempdir().unwrap();
        let gateways = [(); 2].map(|()| start(test_support::install(&["web", "other"], folder.path())));
        for gateway in &gateways {
            assert!(gateway.ready().await);
            assert!(gateway.address("none").is_none());
            assert!(gateway.snapshot().load().version >= 1);
            let admin = TcpStream::connect(tcp(gateway.admin())).unwrap();
            assert_eq!(status(admin, "/ready"), "HTTP/1.1 200 OK");
            let report = gateway.reload().await.unwrap();
            assert_eq!(report.changes, []);
        }
        for gateway in gateways {
            let web = tcp(gateway.address("web").unwrap());
            assert_eq!(gateway.shutdown().await, 0);
            let closed = async {
                while TcpStream::connect(web).is_ok() {
                    tokio::task::yield_now().await;
                }
            };
            tokio::time::timeout(Duration::from_secs(10), closed).await.expect("the listener closes");
        }
    }

    #[test]
    fn the_admin_listener_makes_way_where_its_default_port_is_taken() {
        let folder = tempfile::tempdir().unwrap();
        let taken = TcpListener::bind("127.0.0.1:0").unwrap();
        let mut install = test_support::install(&["web"], folder.path());
        install.admin.address = ListenAddress::Address(taken.local_addr().unwrap());
        let gateway = start(install);
        let path = folder.path().join("admin.sock");
        assert_eq!(gateway.admin(), &BoundAddress::Unix(path.clone()));
        assert_eq!(status(UnixStream::connect(&path).unwrap(), "/ping"), "HTTP/1.1 200 OK");
        let problems = gateway.snapshot().load().problems.clone();
        assert!(problems.iter().any(|problem| problem.subject == "admin listener"), "{problems:?}");
        drop(gateway);
        assert!(!path.exists());
    }

    #[test]
    fn an_admin_address_that_was_set_and_is_taken_is_an_error() {
        let folder = tempfile::tempdir().unwrap();
        let taken = TcpListener::bind("127.0.0.1:0").unwrap();
        let mut install = test_support::install(&["web"], folder.path());
        install.admin.address = ListenAddress::Address(taken.local_addr().unwrap());
        install.admin.address_was_set = true;
        let error = Gateway::start(install, Vec::new(), Environment::default()).unwrap_err();
        let expected = format!("admin listener: listen on {}: ", taken.local_addr().unwrap());
        assert!(crate::cli::chain(&error).starts_with(&expected), "{}", crate::cli::chain(&error));
    }

    #[test]
    fn an_entry_point_that_cannot_listen_is_an_error() {
        let folder = tempfile::tempdir().unwrap();
        let taken = TcpListener::bind("127.0.0.1:0").unwrap();
        let mut install = test_support::install(&["web"], folder.path());
        install.entry_points[0].address = ListenAddress::Address(taken.local_addr().unwrap());
        let error = Gateway::start(install, Vec::new(), Environment::default()).unwrap_err();
        assert!(crate::cli::chain(&error).starts_with("entry point `web`: listen on 127.0.0.1:"));
    }

    #[test]
    fn a_state_directory_that_cannot_be_written_to_is_a_problem_and_no_more() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("file");
        std::fs::write(&file, "").unwrap();
        let gateway = start(test_support::install(&["web"], &file));
        let problems = gateway.snapshot().load().problems.clone();
        let subject = format!("state directory `{}`", file.display());
        assert!(problems.iter().any(|problem| problem.subject == subject), "{problems:?}");
    }
}
