//! The gateway as a process of its own: for signals, exit codes and commands, and wherever it should be just what the
//! user runs.

use std::ffi::OsStr;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Output, Stdio};
use std::sync::OnceLock;
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;
use tempfile::TempDir;
use tokio::process::{Child, Command};
use tokio::time::{Instant, timeout};

use crate::client::{Address, Answer, ask, ask_for, request};
use crate::wait::{eventually, holds};

/// How long a debug build may take to start on a busy machine.
const START_LIMIT: Duration = Duration::from_secs(20);

/// The program under test. `make test` names it; a bare `cargo test` builds it once.
pub fn binary() -> &'static Path {
    static BINARY: OnceLock<PathBuf> = OnceLock::new();
    BINARY.get_or_init(|| match env("PROGRAM_UNDER_TEST") {
        Some(path) => path.into(),
        None => build(),
    })
}

/// Builds the program with the profile and for the target that this test was built with, where it then lies beside it.
fn build() -> PathBuf {
    let exe = std::env::current_exe().expect("a process knows its program");
    let profile = exe.parent().and_then(Path::parent).expect("tests lie in `<profile>/deps`");
    let mut cargo = std::process::Command::new(env("CARGO").unwrap_or_else(|| "cargo".into()));
    cargo.args(["build", "--quiet", "--package", "gateway", "--bin", "hearthgate"]);
    let target = profile.parent().and_then(Path::file_name).and_then(OsStr::to_str).unwrap_or_default();
    if target.contains("-linux-") {
        cargo.args(["--target", target]);
    }
    let built = cargo.status().expect("cargo runs");
    assert!(built.success(), "the program does not build");
    profile.join("hearthgate")
}

/// The environment of the test run: this file is the one edge that reads it.
#[expect(
    clippy::disallowed_methods,
    reason = "tests are told by variables which program to test, and how long"
)]
pub(crate) fn env(name: &str) -> Option<String> {
    std::env::var(name).ok()
}

/// True in `make test-long`.
pub fn long() -> bool {
    env("LONG_TESTS").is_some()
}

/// A command to be run to its end: `check`, `explain`, …
pub fn command(arguments: &[&str]) -> Command {
    let mut command = Command::new(binary());
    // What the machine has set must not reach a test.
    command.args(arguments).env_clear().stdin(Stdio::null()).kill_on_drop(true);
    command
}

/// Runs a command to its end.
pub async fn run(arguments: &[&str]) -> Output {
    finish(command(arguments)).await
}

/// Runs a prepared command to its end.
pub async fn finish(mut command: Command) -> Output {
    timeout(START_LIMIT, command.output()).await.expect("a command ends").expect("the program runs")
}

/// All that a command wrote.
pub fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr)
}

/// A folder with the gateway's files, and what it is started with.
#[derive(Debug)]
pub struct GatewayPlan {
    folder: TempDir,
    arguments: Vec<String>,
    variables: Vec<(String, String)>,
    entry_points: Vec<String>,
}

impl Default for GatewayPlan {
    fn default() -> Self {
        Self::new()
    }
}

impl GatewayPlan {
    /// Entry point `web` on a free port of 127.0.0.1, the admin listener on a socket in a folder of its own, no provider.
    pub fn new() -> Self {
        let folder = tempfile::Builder::new().prefix("hgt-").tempdir().expect("there is a temporary folder");
        // Apart from the routing files: whoever writes beside a watched file wakes the watcher.
        std::fs::create_dir(folder.path().join("log")).expect("the temporary folder can be written to");
        let plan = Self { folder, arguments: Vec::new(), variables: Vec::new(), entry_points: Vec::new() };
        let admin = plan.admin_socket();
        let state = plan.path("state");
        plan.argument(format!("--admin.address=unix:{}", admin.display()))
            .argument(format!("--stateDir={}", state.display()))
            .argument("--log.level=DEBUG")
            .entry_point("web")
    }

    /// One more entry point, on a free port of 127.0.0.1.
    #[must_use]
    pub fn entry_point(mut self, name: &str) -> Self {
        self.entry_points.push(name.into());
        self.argument(format!("--entryPoints.{name}.address=127.0.0.1:0"))
    }

    /// One more argument.
    #[must_use]
    pub fn argument(mut self, argument: impl Into<String>) -> Self {
        self.arguments.push(argument.into());
        self
    }

    /// One more variable.
    #[must_use]
    pub fn variable(mut self, name: &str, value: impl Into<String>) -> Self {
        self.variables.push((name.into(), value.into()));
        self
    }

    /// Routing settings from a file, watched: `routes.yml` in the folder.
    #[must_use]
    pub fn routes(self, routes: &str) -> Self {
        self.write("routes.yml", routes);
        let path = self.path("routes.yml");
        self.argument(format!("--providers.file.filename={}", path.display()))
    }

    /// `app.test` is routed to this server.
    #[must_use]
    pub fn app(self, server: &str) -> Self {
        self.routes(&format!(
            "http:
  routers:
    app: {{ rule: Host(`app.test`), service: app }}
  services:
    app: {{ loadBalancer: {{ servers: [ {{ url: '{server}' }} ] }} }}
"
        ))
    }

    /// Containers of an engine whose labels match `constraint`.
    #[must_use]
    pub fn docker(self, endpoint: &str, constraint: &str) -> Self {
        self.argument(format!("--providers.docker.endpoint={endpoint}"))
            .argument("--providers.docker.exposedByDefault=false")
            .argument(format!("--providers.docker.constraints={constraint}"))
    }

    /// A path in the folder.
    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Writes a file in the folder.
    pub fn write(&self, name: &str, text: &str) {
        std::fs::write(self.path(name), text).expect("the temporary folder can be written to");
    }

    /// The socket of the admin listener.
    pub fn admin_socket(&self) -> PathBuf {
        self.path("admin.sock")
    }

    /// The command that starts it.
    pub fn command(&self) -> Command {
        let mut command = command(&[]);
        let log =
            |name| std::fs::File::create(self.path(name)).expect("the temporary folder can be written to");
        command
            .args(&self.arguments)
            .envs(self.variables.iter().map(|(name, value)| (name, value)))
            .current_dir(self.folder.path())
            .stdout(log("log/stdout"))
            .stderr(log("log/stderr"));
        command
    }

    /// Starts it, and waits until it is ready.
    pub async fn start(self) -> GatewayProcess {
        let mut gateway = self.spawn();
        gateway.ready().await;
        gateway
    }

    /// Starts it, and does not wait.
    pub fn spawn(self) -> GatewayProcess {
        let child = self.command().spawn().expect("the program runs");
        GatewayProcess { child, plan: self }
    }
}

/// A gateway that runs. Killed on drop.
#[derive(Debug)]
pub struct GatewayProcess {
    // Ends before its folder goes.
    child: Child,
    plan: GatewayPlan,
}

impl GatewayProcess {
    /// Its folder, its files.
    pub fn plan(&self) -> &GatewayPlan {
        &self.plan
    }

    /// Waits until `/ready` says 200.
    pub async fn ready(&mut self) {
        let admin = self.admin();
        let deadline = Instant::now() + START_LIMIT;
        while Instant::now() < deadline {
            if let Ok(Some(status)) = self.child.try_wait() {
                panic!("the gateway ended with {status} before it was ready:\n{}", self.log());
            }
            let attempt = timeout(Duration::from_secs(1), ask_for(&admin, "localhost", "/ready"));
            if attempt.await.is_ok_and(|answer| answer.is_ok_and(|answer| answer.status == 200)) {
                return;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        panic!("the gateway was not ready in time:\n{}", self.log());
    }

    /// Its process.
    pub fn pid(&self) -> Pid {
        let pid = self.child.id().expect("it has not been waited for");
        Pid::from_raw(i32::try_from(pid).expect("a process id is a positive i32"))
    }

    /// Its admin listener.
    pub fn admin(&self) -> Address {
        Address::Unix(self.plan.admin_socket())
    }

    /// Entry point `web`.
    pub fn web(&self) -> SocketAddr {
        self.address("web")
    }

    /// Entry point `web`, if it listens already.
    pub fn try_web(&self) -> Result<SocketAddr, String> {
        self.try_address("web")
    }

    /// An entry point, by name.
    pub fn address(&self, entry_point: &str) -> SocketAddr {
        self.try_address(entry_point).expect("a gateway that is ready listens")
    }

    fn try_address(&self, entry_point: &str) -> Result<SocketAddr, String> {
        let mut names = self.plan.entry_points.clone();
        // The gateway binds them in the order of their names.
        names.sort();
        let position =
            names.iter().position(|name| name == entry_point).expect("the plan has this entry point");
        let ports = listening_ports(self.pid());
        let port = ports.get(position).ok_or("it does not listen yet")?;
        Ok(SocketAddr::from((Ipv4Addr::LOCALHOST, *port)))
    }

    /// Reads from the admin listener.
    pub async fn admin_get(&self, path: &str) -> Answer {
        ask_for(self.admin(), "localhost", path).await.expect("the admin listener answers")
    }

    /// Reads JSON from the admin listener.
    pub async fn admin_json(&self, path: &str) -> Value {
        self.admin_get(path).await.json()
    }

    /// `POST /api/reload`, with the token that it made at its first start.
    pub async fn reload(&self) -> Answer {
        let token = std::fs::read_to_string(self.plan.path("state/admin.token")).unwrap_or_default();
        let mut reload = request("POST", "localhost", "/api/reload", "{}");
        let headers = reload.headers_mut();
        headers.insert("content-type", http::HeaderValue::from_static("application/json"));
        let bearer = format!("Bearer {}", token.trim());
        headers
            .insert("authorization", http::HeaderValue::from_str(&bearer).expect("a token is a field value"));
        ask(self.admin(), reload).await.expect("the admin listener answers")
    }

    /// Runs a command that talks to it, with the token that it made at its first start.
    pub async fn run(&self, arguments: &[&str]) -> Output {
        let admin = format!("--admin=unix:{}", self.plan.admin_socket().display());
        let state = format!("--stateDir={}", self.plan.path("state").display());
        run(&[arguments, &[admin.as_str(), state.as_str()]].concat()).await
    }

    /// Asks `web` for a page until it answers with this status.
    pub async fn answers(&self, host: &str, target: &str, status: u16, limit: Duration) -> Answer {
        let web = self.web();
        eventually(&format!("{host}{target} answers {status}"), limit, || async {
            let answer = ask_for(web, host, target).await?;
            holds(answer.status == status, (answer.status, answer.text()))?;
            Ok(answer)
        })
        .await
    }

    /// Sends a signal.
    pub fn signal(&self, signal: Signal) {
        kill(self.pid(), signal).expect("it has not been waited for");
    }

    /// Kills it where it stands (SIGKILL), and gives back what it was started with: the same folder, the same state.
    pub async fn kill(mut self) -> GatewayPlan {
        self.child.kill().await.expect("it can be killed");
        self.plan
    }

    /// Waits for its end.
    pub async fn exit(&mut self, limit: Duration) -> ExitStatus {
        match timeout(limit, self.child.wait()).await {
            Ok(status) => status.expect("a child can be waited for"),
            Err(_elapsed) => panic!("it still runs after {limit:?}:\n{}", self.log()),
        }
    }

    /// What it wrote on standard output: the access log.
    pub fn stdout(&self) -> String {
        std::fs::read_to_string(self.plan.path("log/stdout")).unwrap_or_default()
    }

    /// All that it wrote.
    pub fn log(&self) -> String {
        let stderr = std::fs::read_to_string(self.plan.path("log/stderr")).unwrap_or_default();
        format!("{}{stderr}", self.stdout())
    }
}

/// TCP ports on which a process listens, in the order in which it opened them.
fn listening_ports(pid: Pid) -> Vec<u16> {
    let listening: Vec<(String, u16)> = ["tcp", "tcp6"]
        .iter()
        .filter_map(|table| std::fs::read_to_string(format!("/proc/{pid}/net/{table}")).ok())
        .flat_map(|table| table.lines().skip(1).filter_map(listening_socket).collect::<Vec<_>>())
        .collect();
    let mut descriptors: Vec<(u32, String)> = std::fs::read_dir(format!("/proc/{pid}/fd"))
        .into_iter()
        .flatten()
        .flatten()
        .filter_map(|entry| {
            let number = entry.file_name().to_str()?.parse().ok()?;
            let socket = std::fs::read_link(entry.path()).ok()?;
            Some((number, socket.to_str()?.strip_prefix("socket:[")?.strip_suffix(']')?.to_owned()))
        })
        .collect();
    descriptors.sort_unstable();
    descriptors
        .iter()
        .filter_map(|(_, inode)| listening.iter().find(|(other, _)| other == inode))
        .map(|(_, port)| *port)
        .collect()
}

/// Inode and port of a line of `/proc/net/tcp`, if it listens (state 0A).
fn listening_socket(line: &str) -> Option<(String, u16)> {
    let fields: Vec<_> = line.split_whitespace().collect();
    let port = fields.get(1)?.rsplit_once(':')?.1;
    (*fields.get(3)? == "0A").then_some(())?;
    Some(((*fields.get(9)?).to_owned(), u16::from_str_radix(port, 16).ok()?))
}
