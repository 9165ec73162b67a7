//! A real Docker Engine: the machine's own, or one that a test may kill. No image registry is asked: the one image is
//! made here, of a static busybox.

use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use parking_lot::Mutex;
use serde_json::Value;
use tempfile::TempDir;
use tokio::sync::{RwLock, RwLockReadGuard, RwLockWriteGuard};

use crate::wait::{eventually, holds};

/// Where the machine's own engine listens.
pub const MACHINE_SOCKET: &str = "/var/run/docker.sock";

/// The image of all containers: a small web server on port 80 that answers `/` with the name of its host.
pub const SERVER_IMAGE: &str = "hearthgate-tests-server:1";

/// Carried by all that tests create, with the process that created it.
const OWNER_LABEL: &str = "hearthgate-tests.owner";

/// What the server's container runs. A shell as first process would ignore SIGTERM, and a stop would take ten seconds.
const SERVE: &str = "mkdir -p /www/cgi-bin; hostname > /www/index.html; \
    printf '#!/bin/sh\\nprintf \"Content-Type: text/plain\\\\r\\\\n\\\\r\\\\n\"; env\\n' > /www/cgi-bin/env; \
    chmod +x /www/cgi-bin/env; trap 'exit 0' TERM; httpd -f -p ${PORT:-80} -h /www & wait";

/// An engine, and what a test has created on it. All of that is removed on drop.
#[derive(Debug)]
pub struct Docker {
    socket: PathBuf,
    prefix: String,
    created: Mutex<Vec<Created>>,
    // Given back last, when nothing is left on the engine.
    _turn: Turn,
}

/// Who may use the machine's engine: many at once, or one that measures time.
static TURNS: RwLock<()> = RwLock::const_new(());

/// A place among those who use the engine; held, never read.
#[derive(Debug)]
#[expect(dead_code, reason = "a guard is held, not read")]
enum Turn {
    Shared(RwLockReadGuard<'static, ()>),
    Alone(RwLockWriteGuard<'static, ()>),
    Own,
}

#[derive(Debug)]
enum Created {
    Container(String),
    Network(String),
    Project { name: String, file: PathBuf },
}

impl Docker {
    /// The machine's own engine. Left as it was found.
    pub async fn machine() -> Self {
        Self::join(PathBuf::from(MACHINE_SOCKET), Turn::Shared(TURNS.read().await)).await
    }

    /// The machine's own engine, with no other test on it: for those that measure time, or take all of it.
    pub async fn machine_alone() -> Self {
        Self::join(PathBuf::from(MACHINE_SOCKET), Turn::Alone(TURNS.write().await)).await
    }

    /// The engine behind a socket.
    pub async fn at(socket: PathBuf) -> Self {
        Self::join(socket, Turn::Own).await
    }

    async fn join(socket: PathBuf, turn: Turn) -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let prefix = format!("hgt{}x{number}", std::process::id());
        let docker = Self { socket, prefix, created: Mutex::new(Vec::new()), _turn: turn };
        docker.remove_leftovers().await;
        docker.make_server_image().await;
        docker
    }

    /// Its endpoint, as a setting.
    pub fn endpoint(&self) -> String {
        format!("unix://{}", self.socket.display())
    }

    /// A name that nobody else on this engine uses.
    pub fn name(&self, part: &str) -> String {
        format!("{}-{part}", self.prefix)
    }

    /// The constraint that keeps a gateway to the containers of this test, and their label.
    pub fn constraint(&self) -> String {
        format!("Label(`hearthgate-tests.group`,`{}`)", self.prefix)
    }

    /// The label that [`Self::constraint`] looks for, for Compose files.
    pub fn group_label(&self) -> String {
        format!("hearthgate-tests.group={}", self.prefix)
    }

    /// Creates a container of the server image that does not run yet; `arguments` are those of `docker create`.
    pub async fn create(&self, part: &str, labels: &[(&str, &str)], arguments: &[&str]) -> Container<'_> {
        let container = self.create_with(part, labels, arguments, SERVER_IMAGE, &[]).await;
        Container { docker: self, name: container }
    }

    /// Creates and starts one.
    pub async fn start(&self, part: &str, labels: &[(&str, &str)], arguments: &[&str]) -> Container<'_> {
        let container = self.create(part, labels, arguments).await;
        container.start().await;
        container
    }

    /// Creates a container of any image; gives its name.
    pub async fn create_with(
        &self,
        part: &str,
        labels: &[(&str, &str)],
        arguments: &[&str],
        image: &str,
        command: &[&str],
    ) -> String {
        let name = self.adopt(part);
        let owner = format!("{OWNER_LABEL}={}", std::process::id());
        let group = self.group_label();
        let mut all =
            vec!["create", "--name", &name, "--hostname", part, "--label", &owner, "--label", &group];
        let labels: Vec<_> = labels.iter().map(|(key, value)| format!("{key}={value}")).collect();
        for label in &labels {
            all.extend(["--label", label]);
        }
        all.extend(arguments);
        all.push(image);
        all.extend(command);
        self.run(&all).await;
        name
    }

    /// The name of a container that a test creates by itself; it is removed like the others.
    pub fn adopt(&self, part: &str) -> String {
        let name = self.name(part);
        self.created.lock().push(Created::Container(name.clone()));
        name
    }

    /// A network of its own; gives its name.
    pub async fn network(&self, part: &str) -> String {
        let name = self.name(part);
        self.created.lock().push(Created::Network(name.clone()));
        let owner = format!("{OWNER_LABEL}={}", std::process::id());
        self.run(&["network", "create", "--label", &owner, &name]).await;
        name
    }

    /// Brings a Compose project up; it goes down on drop.
    pub async fn compose_up(&self, part: &str, file: &Path) -> String {
        let name = self.name(part);
        self.created.lock().push(Created::Project { name: name.clone(), file: file.to_path_buf() });
        self.compose(&name, file, &["up", "-d", "--no-build"]).await;
        name
    }

    /// Any `docker-compose` command on a project.
    pub async fn compose(&self, project: &str, file: &Path, arguments: &[&str]) {
        let mut command = self.compose_command(project, file);
        command.args(arguments);
        succeed(command).await;
    }

    fn compose_command(&self, project: &str, file: &Path) -> Command {
        let mut command = Command::new("docker-compose");
        command.env("DOCKER_HOST", self.endpoint()).env("COMPOSE_INTERACTIVE_NO_CLI", "1");
        command.arg("-p").arg(project).arg("-f").arg(file).stdin(Stdio::null());
        command
    }

    /// Runs a `docker` command that must succeed; gives its output.
    pub async fn run(&self, arguments: &[&str]) -> String {
        succeed(self.command(arguments)).await
    }

    /// Runs a `docker` command that may fail.
    pub async fn attempt(&self, arguments: &[&str]) -> Result<String, String> {
        finish(self.command(arguments)).await
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new("docker");
        command.arg("-H").arg(self.endpoint()).args(arguments).stdin(Stdio::null());
        command
    }

    /// Removes what tests left behind whose process is gone.
    async fn remove_leftovers(&self) {
        let filter = format!("label={OWNER_LABEL}");
        let format = format!("{{{{.ID}}}} {{{{.Label \"{OWNER_LABEL}\"}}}}");
        for (list, remove) in [(["ps", "-a"], ["rm", "-f"]), (["network", "ls"], ["network", "rm"])] {
            let listed = self.run(&[list[0], list[1], "--filter", &filter, "--format", &format]).await;
            for (id, owner) in listed.lines().filter_map(|line| line.split_once(' ')) {
                if !Path::new("/proc").join(owner.trim()).exists() {
                    // Another test may have been faster.
                    let _ = self.attempt(&[remove[0], remove[1], id]).await;
                }
            }
        }
    }

    async fn make_server_image(&self) {
        // Two tests that make it at the same time make it twice; the later one keeps the name.
        static MAKING: tokio::sync::Mutex<()> = tokio::sync::Mutex::const_new(());
        let _one_at_a_time = MAKING.lock().await;
        if self.attempt(&["image", "inspect", SERVER_IMAGE]).await.is_ok() {
            return;
        }
        let folder = tempfile::tempdir().expect("there is a temporary folder");
        let bin = folder.path().join("bin");
        std::fs::create_dir(&bin).expect("the temporary folder can be written to");
        std::fs::copy("/bin/busybox", bin.join("busybox")).expect("busybox-static is installed");
        for tool in [
            "cat", "chmod", "env", "hostname", "httpd", "mkdir", "nc", "printf", "rm", "sh", "sleep", "test",
            "touch", "wget",
        ] {
            std::os::unix::fs::symlink("busybox", bin.join(tool))
                .expect("the temporary folder can be written to");
        }
        let archive = folder.path().join("root.tar");
        let mut tar = Command::new("tar");
        tar.arg("-C").arg(folder.path()).arg("-cf").arg(&archive).arg("bin");
        succeed(tar).await;
        let serve = serde_json::json!(["sh", "-c", SERVE]).to_string();
        let command = format!("CMD {serve}");
        let archive = archive.to_str().expect("temporary paths are text");
        self.run(&[
            "import",
            "-c",
            &command,
            "-c",
            "EXPOSE 80",
            "-c",
            "ENV PATH=/bin",
            archive,
            SERVER_IMAGE,
        ])
        .await;
    }
}

impl Drop for Docker {
    fn drop(&mut self) {
        let mut created = self.created.lock();
        let mut containers = vec!["rm".to_owned(), "-fv".to_owned()];
        let mut networks = vec!["network".to_owned(), "rm".to_owned()];
        for item in created.drain(..) {
            match item {
                Created::Container(name) => containers.push(name),
                Created::Network(name) => networks.push(name),
                Created::Project { name, file } => {
                    let mut down = self.compose_command(&name, &file);
                    let _ = down.args(["down", "-v", "--timeout", "1"]).output();
                }
            }
        }
        for removal in [containers, networks] {
            if removal.len() > 2 {
                let arguments: Vec<_> = removal.iter().map(String::as_str).collect();
                let _ = self.command(&arguments).output();
            }
        }
    }
}

/// A container of a test.
#[derive(Debug)]
pub struct Container<'a> {
    docker: &'a Docker,
    name: String,
}

impl Container<'_> {
    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Starts it; returns when the engine says that it runs.
    pub async fn start(&self) {
        self.docker.run(&["start", &self.name]).await;
    }

    /// Stops it; returns when the engine says that it has ended.
    pub async fn stop(&self) {
        self.docker.run(&["stop", "--time", "5", &self.name]).await;
    }

    /// Removes it.
    pub async fn remove(&self) {
        self.docker.run(&["rm", "-f", &self.name]).await;
    }

    /// Runs a shell command in it.
    pub async fn shell(&self, script: &str) -> String {
        self.docker.run(&["exec", &self.name, "sh", "-c", script]).await
    }

    /// What the engine knows of it.
    pub async fn inspect(&self) -> Value {
        let text = self.docker.run(&["inspect", &self.name]).await;
        let mut all: Vec<Value> = serde_json::from_str(&text).expect("`docker inspect` prints JSON");
        all.pop().unwrap_or_default()
    }
}

/// An engine of one's own, with `live-restore`, on a bridge of its own: it may be killed. Root only.
#[derive(Debug)]
pub struct Engine {
    folder: TempDir,
    bridge: String,
    process: Mutex<Option<std::process::Child>>,
}

impl Engine {
    /// Makes the bridge and starts the engine.
    pub async fn start() -> Self {
        let folder = tempfile::Builder::new().prefix("hgt-").tempdir().expect("there is a temporary folder");
        std::fs::write(folder.path().join("empty.json"), "{}")
            .expect("the temporary folder can be written to");
        // Interface names have at most 15 characters; the subnet is one of a range that Docker does not hand out itself.
        let bridge = format!("hgt{}", std::process::id() % 1_000_000_000);
        let subnet = format!("172.31.{}.1/24", std::process::id() % 200);
        for arguments in [
            ["link", "add", "name", &bridge, "type", "bridge"].as_slice(),
            &["addr", "add", &subnet, "dev", &bridge],
            &["link", "set", &bridge, "up"],
        ] {
            let mut ip = Command::new("ip");
            ip.args(arguments);
            succeed(ip).await;
        }
        let engine = Self { folder, bridge, process: Mutex::new(None) };
        engine.resume().await;
        engine
    }

    /// Its socket.
    pub fn socket(&self) -> PathBuf {
        self.folder.path().join("docker.sock")
    }

    /// Starts it again after [`Self::kill`], with what it had.
    pub async fn resume(&self) {
        self.spawn();
        let socket = self.socket();
        eventually("the engine answers", Duration::from_secs(60), || async {
            let mut version = Command::new("docker");
            version.arg("-H").arg(format!("unix://{}", socket.display())).arg("version").stdin(Stdio::null());
            finish(version).await
        })
        .await;
    }

    fn spawn(&self) {
        let path = |name: &str| self.folder.path().join(name).display().to_string();
        let log =
            std::fs::File::create(self.folder.path().join("log")).expect("the folder can be written to");
        let errors = log.try_clone().expect("a file can be opened twice");
        let child = Command::new("dockerd")
            .args(["--config-file", &path("empty.json"), "--data-root", &path("data")])
            .args(["--exec-root", &path("exec"), "--pidfile", &path("pid")])
            .args(["-H", &format!("unix://{}", path("docker.sock")), "--bridge", &self.bridge])
            .args(["--iptables=false", "--ip6tables=false", "--ip-masq=false", "--live-restore"])
            .stdin(Stdio::null())
            .stdout(log)
            .stderr(errors)
            .spawn()
            .expect("dockerd is installed");
        *self.process.lock() = Some(child);
    }

    /// SIGKILL: it says no good-bye, its containers go on.
    pub async fn kill(&self) {
        self.signal(Signal::SIGKILL).await;
    }

    /// SIGTERM: it says good-bye; its containers go on, because it runs with `live-restore`.
    pub async fn terminate(&self) {
        self.signal(Signal::SIGTERM).await;
    }

    async fn signal(&self, signal: Signal) {
        let child = self.process.lock().take();
        let mut child = child.expect("the engine runs");
        let pid = Pid::from_raw(i32::try_from(child.id()).expect("a process id is a positive i32"));
        kill(pid, signal).expect("the engine has not been waited for");
        eventually("the engine ends", Duration::from_secs(30), || {
            let ended = child.try_wait();
            async move { holds(ended.is_ok_and(|status| status.is_some()), "it still runs") }
        })
        .await;
        // A killed engine leaves these behind, and the next one would wait for the processes that they name: they may
        // still be seen (nobody has waited for them), or their numbers be somebody else's by now.
        for stale in ["pid", "exec/containerd/containerd.pid"] {
            let _ = std::fs::remove_file(self.folder.path().join(stale));
        }
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        if self.process.lock().is_none() {
            self.spawn();
        }
        let host = format!("unix://{}", self.socket().display());
        // Containers outlive the engine: without this they would run for ever.
        let remove = "for i in $(seq 100); do docker -H \"$0\" version && break; sleep 0.2; done >/dev/null 2>&1; \
            docker -H \"$0\" ps -aq | xargs -r docker -H \"$0\" rm -fv";
        let _ = Command::new("sh").args(["-c", remove, &host]).stdin(Stdio::null()).output();
        if let Some(mut child) = self.process.lock().take() {
            if let Ok(pid) = i32::try_from(child.id()) {
                let _ = kill(Pid::from_raw(pid), Signal::SIGTERM);
            }
            let _ = child.wait();
        }
        let _ = Command::new("ip").args(["link", "del", &self.bridge]).output();
        // With `live-restore` an engine leaves its mounts behind.
        let mounts = std::fs::read_to_string("/proc/self/mounts").unwrap_or_default();
        let ours = mounts.lines().filter_map(|line| line.split(' ').nth(1));
        let mut ours: Vec<_> =
            ours.filter(|place| Path::new(place).starts_with(self.folder.path())).collect();
        ours.sort_unstable();
        for place in ours.iter().rev() {
            let _ = Command::new("umount").args(["-l", place]).output();
        }
    }
}

/// Runs a command on a thread for such work, and gives its output if it succeeds.
async fn finish(mut command: Command) -> Result<String, String> {
    let what = format!("{command:?}");
    let output = tokio::task::spawn_blocking(move || command.output())
        .await
        .map_err(|error| format!("{what}: {error}"))?
        .map_err(|error| format!("{what}: {error}"))?;
    let Output { status, stdout, stderr } = output;
    if status.success() {
        Ok(String::from_utf8_lossy(&stdout).into_owned())
    } else {
        Err(format!("{what}: {status}: {}", String::from_utf8_lossy(&stderr)))
    }
}

async fn succeed(command: Command) -> String {
    finish(command).await.unwrap_or_else(|error| panic!("{error}"))
}
