//! Real databases: PostgreSQL and Redis, each on a free port and in a folder of its own.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::{Output, Stdio};
use std::time::Duration;

use tempfile::TempDir;
use tokio::net::TcpStream;
use tokio::process::{Child, Command};

use crate::eventually;
use crate::tls::Pair;
use crate::wait::{free_port, holds};

const START_LIMIT: Duration = Duration::from_secs(60);
const ANSWER_LIMIT: Duration = Duration::from_secs(20);

/// The user and group `nobody`: PostgreSQL does not run as root.
const NOBODY: u32 = 65_534;

/// A PostgreSQL that runs, with TLS for whoever asks for it. Killed on drop.
#[derive(Debug)]
pub struct Postgres {
    // Ends before its folder goes.
    _child: Child,
    _folder: TempDir,
    address: SocketAddr,
}

impl Postgres {
    /// Starts it with this certificate.
    pub async fn start(pair: &Pair) -> Self {
        let folder = folder();
        let data = folder.path().join("data");
        let mut initdb = Command::new(postgres_program("initdb"));
        initdb.arg("--pgdata").arg(&data).args([
            "--username=postgres",
            "--auth=trust",
            "--no-sync",
            "--locale=C",
        ]);
        let made = output(as_nobody(&mut initdb)).await;
        assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
        let (certificate, key) = pair.write(folder.path(), "server");
        give_to_nobody(&certificate);
        give_to_nobody(&key);
        let port = free_port();
        let mut server = Command::new(postgres_program("postgres"));
        server.arg("-D").arg(&data);
        for setting in [
            "listen_addresses=127.0.0.1".to_owned(),
            format!("port={port}"),
            "unix_socket_directories=".to_owned(),
            "fsync=off".to_owned(),
            "ssl=on".to_owned(),
            format!("ssl_cert_file={}", certificate.display()),
            format!("ssl_key_file={}", key.display()),
        ] {
            server.args(["-c", &setting]);
        }
        let child = spawn(as_nobody(&mut server), folder.path());
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        let postgres = Self { _child: child, _folder: folder, address };
        eventually("PostgreSQL answers", START_LIMIT, || async {
            query(address, "sslmode=disable", "select 1").await.map(drop)
        })
        .await;
        postgres
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }
}

/// Asks a PostgreSQL with `psql`: `options` as in a connection string, `host` among them where a name is to be sent.
/// The error is what `psql` says.
pub async fn query(address: SocketAddr, options: &str, sql: &str) -> Result<String, String> {
    let target = format!(
        "hostaddr={} port={} user=postgres dbname=postgres connect_timeout=10 gssencmode=disable {options}",
        address.ip(),
        address.port()
    );
    answer(Command::new("psql").args(["-X", "-t", "-A", "-c", sql, &target])).await
}

/// A Redis that runs, with a port for TLS beside its plain one. Killed on drop.
#[derive(Debug)]
pub struct Redis {
    // Ends before its folder goes.
    _child: Child,
    _folder: TempDir,
    plain: SocketAddr,
    tls: SocketAddr,
}

impl Redis {
    /// Starts it with this certificate.
    pub async fn start(pair: &Pair) -> Self {
        let folder = folder();
        let (certificate, key) = pair.write(folder.path(), "server");
        give_to_nobody(&certificate);
        give_to_nobody(&key);
        let [plain, tls] = [(); 2].map(|()| SocketAddr::from((Ipv4Addr::LOCALHOST, free_port())));
        let mut server = Command::new("redis-server");
        server
            .args(["--bind", "127.0.0.1", "--save", "", "--appendonly", "no", "--tls-auth-clients", "no"])
            .args(["--port", &plain.port().to_string(), "--tls-port", &tls.port().to_string()])
            .arg("--dir")
            .arg(folder.path())
            .arg("--tls-cert-file")
            .arg(&certificate)
            .arg("--tls-key-file")
            .arg(&key)
            .arg("--tls-ca-cert-file")
            .arg(&certificate);
        let child = spawn(as_nobody(&mut server), folder.path());
        eventually("Redis answers", START_LIMIT, || async {
            for address in [plain, tls] {
                TcpStream::connect(address).await.map_err(|error| error.to_string())?;
            }
            holds(redis(plain, &["ping"]).await.as_deref() == Ok("PONG"), "no pong")
        })
        .await;
        Self { _child: child, _folder: folder, plain, tls }
    }

    /// Where it listens without TLS.
    pub fn plain(&self) -> SocketAddr {
        self.plain
    }

    /// Where it listens with TLS.
    pub fn tls(&self) -> SocketAddr {
        self.tls
    }
}

/// Asks a Redis with `redis-cli`. The error is what that says.
pub async fn redis(address: SocketAddr, arguments: &[&str]) -> Result<String, String> {
    let mut client = Command::new("redis-cli");
    client.args(["-h", &address.ip().to_string(), "-p", &address.port().to_string()]).args(arguments);
    answer(&mut client).await
}

fn folder() -> TempDir {
    let folder = tempfile::Builder::new().prefix("hgt-db-").tempdir().expect("there is a temporary folder");
    give_to_nobody(folder.path());
    folder
}

fn is_root() -> bool {
    nix::unistd::geteuid().is_root()
}

fn give_to_nobody(path: &Path) {
    if is_root() {
        std::os::unix::fs::chown(path, Some(NOBODY), Some(NOBODY)).expect("root may give files away");
    }
    if path.extension().is_some_and(|extension| extension == "key") {
        let private = std::os::unix::fs::PermissionsExt::from_mode(0o600);
        std::fs::set_permissions(path, private).expect("the file is ours");
    }
}

fn as_nobody(command: &mut Command) -> &mut Command {
    if is_root() { command.uid(NOBODY).gid(NOBODY).current_dir("/") } else { command }
}

/// A program of PostgreSQL's server: Debian keeps it out of the search path.
fn postgres_program(name: &str) -> PathBuf {
    let versions = std::fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten();
    let found = versions.map(|version| version.path().join("bin").join(name)).filter(|path| path.exists());
    found.max().unwrap_or_else(|| PathBuf::from(name))
}

fn spawn(command: &mut Command, folder: &Path) -> Child {
    let log = std::fs::File::create(folder.join("log")).expect("the temporary folder can be written to");
    command
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(log)
        .kill_on_drop(true)
        .spawn()
        .expect("`tests/prepare.sh` has installed it")
}

async fn output(command: &mut Command) -> Output {
    let running = command.stdin(Stdio::null()).kill_on_drop(true).output();
    let ended = tokio::time::timeout(START_LIMIT, running).await.expect("it ends in time");
    ended.expect("`tests/prepare.sh` has installed it")
}

async fn answer(command: &mut Command) -> Result<String, String> {
    let running = command.stdin(Stdio::null()).kill_on_drop(true).output();
    let Ok(ended) = tokio::time::timeout(ANSWER_LIMIT, running).await else {
        return Err("no answer in time".to_owned());
    };
    let ended = ended.expect("`tests/prepare.sh` has installed it");
    if ended.status.success() {
        Ok(String::from_utf8_lossy(&ended.stdout).trim().to_owned())
    } else {
        Err(String::from_utf8_lossy(&ended.stderr).trim().to_owned())
    }
}
