//! A real DNS server: BIND, on a free port, with two zones that are changed by signed updates (RFC 2136).

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;

use tempfile::TempDir;
use tokio::io::AsyncWriteExt;
use tokio::net::UdpSocket;
use tokio::process::{Child, Command};
use tokio::task::JoinHandle;
use tokio::time::timeout;

use crate::wait::free_port;

const START_LIMIT: Duration = Duration::from_secs(30);

/// The zone of the names that are asked for. Each name in it has the address 127.0.0.1.
pub const ZONE: &str = "test";

/// A zone apart, with a key of its own, for challenges that are delegated with a CNAME.
pub const DELEGATED_ZONE: &str = "challenges.example";

/// A key that may change a zone (TSIG, HMAC-SHA-256).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Key {
    /// Its name.
    pub name: &'static str,
    /// Itself, in base64.
    pub secret: &'static str,
}

/// The key of [`ZONE`].
pub const ZONE_KEY: Key =
    Key { name: "zone-key", secret: "Zmlyc3Qga2V5IG9mIHRoZSB0ZXN0cywgMzIgYnl0ZXMgISE=" };

/// The key of [`DELEGATED_ZONE`].
pub const DELEGATED_KEY: Key =
    Key { name: "delegated-key", secret: "c2Vjb25kIGtleSBvZiB0aGUgdGVzdHMsIDMyIGJ5dGVzICE=" };

/// A BIND that runs. Killed on drop.
#[derive(Debug)]
pub struct NameServer {
    // Killed on drop, before its folder goes.
    #[expect(dead_code, reason = "a guard is held, not read")]
    child: Child,
    folder: TempDir,
    address: SocketAddr,
    relay: Option<JoinHandle<()>>,
}

impl Drop for NameServer {
    fn drop(&mut self) {
        if let Some(relay) = &self.relay {
            relay.abort();
        }
    }
}

impl NameServer {
    /// Starts it on 127.0.0.1, which is also the address of the only server that its zones name.
    pub async fn start() -> Self {
        Self::start_at(Ipv4Addr::LOCALHOST, &[Ipv4Addr::LOCALHOST]).await
    }

    /// Starts it on an address of the loopback network; its zones name servers at these addresses. Two of them know
    /// nothing of each other: a change to one reaches the other when the test makes it there.
    pub async fn start_at(address: Ipv4Addr, servers: &[Ipv4Addr]) -> Self {
        let folder =
            tempfile::Builder::new().prefix("hgt-dns-").tempdir().expect("there is a temporary folder");
        let program = program(folder.path());
        // It answers as a resolver too, which follows a CNAME from one zone into the other; with a root of its own, it asks
        // nobody else.
        for zone in [ZONE, DELEGATED_ZONE, "root"] {
            write(&folder.path().join(zone), &zone_file(servers));
        }
        for _ in 0..5 {
            let listen = SocketAddr::from((Ipv4Addr::LOCALHOST, free_port()));
            let config = folder.path().join("named.conf");
            write(&config, &configuration(folder.path(), listen));
            let log = std::fs::File::create(folder.path().join("log"))
                .expect("the temporary folder can be written to");
            let child = Command::new(&program)
                .args(["-g", "-n", "1", "-c"])
                .arg(&config)
                .env_clear()
                .stdin(Stdio::null())
                .stdout(Stdio::null())
                .stderr(log)
                .kill_on_drop(true)
                .spawn()
                .unwrap_or_else(|error| panic!("named: {error} (tests/prepare.sh puts it there)"));
            let mut child = child;
            if is_ready(&mut child, folder.path()).await {
                // It listens on addresses of interfaces only, and the loopback interface has one.
                let (address, relay) = match address {
                    Ipv4Addr::LOCALHOST => (listen, None),
                    other => relay(other, listen).await,
                };
                return Self { child, folder, address, relay };
            }
        }
        panic!("named found no free port five times in a row");
    }

    /// Where it listens, for UDP and TCP.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Makes a change as `nsupdate` takes it: `add app.test 60 CNAME other.test.`.
    pub async fn change(&self, key: Key, change: &str) {
        let script = format!(
            "server {} {}\nkey hmac-sha256:{} {}\nupdate {change}\nsend\n",
            self.address.ip(),
            self.address.port(),
            key.name,
            key.secret
        );
        let mut nsupdate = Command::new("nsupdate")
            .env_clear()
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .unwrap_or_else(|error| panic!("nsupdate: {error} (tests/prepare.sh puts it there)"));
        let mut stdin = nsupdate.stdin.take().expect("it is a pipe");
        stdin.write_all(script.as_bytes()).await.expect("nsupdate reads its script");
        drop(stdin);
        let done =
            timeout(START_LIMIT, nsupdate.wait_with_output()).await.expect("nsupdate ends").expect("it ran");
        assert!(done.status.success(), "{change}: {}", String::from_utf8_lossy(&done.stderr));
    }

    /// What it answers for a name, as `dig +short` prints it, sorted.
    pub async fn ask(&self, name: &str, kind: &str) -> Vec<String> {
        let mut dig = Command::new("dig");
        dig.args(["+short", "+tries=1", "+time=10", "-p", &self.address.port().to_string()])
            .arg(format!("@{}", self.address.ip()))
            .args([name, kind])
            .env_clear()
            .stdin(Stdio::null())
            .kill_on_drop(true);
        let done = timeout(START_LIMIT, dig.output()).await.expect("dig ends");
        let done = done.unwrap_or_else(|error| panic!("dig: {error} (tests/prepare.sh puts it there)"));
        let answer = String::from_utf8_lossy(&done.stdout).into_owned();
        assert!(done.status.success(), "{name} {kind}: {answer}");
        let mut lines: Vec<_> = answer.lines().map(str::to_owned).collect();
        lines.sort();
        lines
    }

    /// The TXT values of a name, without quotes, sorted.
    pub async fn texts(&self, name: &str) -> Vec<String> {
        let lines = self.ask(name, "TXT").await;
        lines.iter().filter_map(|line| Some(line.strip_prefix('"')?.strip_suffix('"')?.to_owned())).collect()
    }

    /// All that it wrote: each question, each change.
    pub fn log(&self) -> String {
        std::fs::read_to_string(self.folder.path().join("log")).unwrap_or_default()
    }

    /// Lines of its log with this text in them.
    pub fn logged(&self, text: &str) -> usize {
        self.log().lines().filter(|line| line.contains(text)).count()
    }
}

/// False if its port was taken.
async fn is_ready(child: &mut Child, folder: &Path) -> bool {
    let mut ticks = tokio::time::interval(Duration::from_millis(10));
    let read = || std::fs::read_to_string(folder.join("log")).unwrap_or_default();
    let waited = timeout(START_LIMIT, async {
        loop {
            ticks.tick().await;
            let log = read();
            if log.contains("address in use") {
                return false;
            }
            if log.lines().any(|line| line.ends_with(" running")) {
                return true;
            }
            if let Ok(Some(status)) = child.try_wait() {
                panic!("named ended with {status}:\n{log}");
            }
        }
    });
    waited.await.unwrap_or_else(|_elapsed| panic!("named was not ready in time:\n{}", read()))
}

/// Carries questions over UDP from another address of the loopback network to the server, and its answers back.
async fn relay(from: Ipv4Addr, server: SocketAddr) -> (SocketAddr, Option<JoinHandle<()>>) {
    let socket = Arc::new(UdpSocket::bind((from, 0)).await.expect("the loopback network has a free port"));
    let address = socket.local_addr().expect("a bound socket has an address");
    let carrying = tokio::spawn(async move {
        let mut question = [0; 4096];
        while let Ok((length, client)) = socket.recv_from(&mut question).await {
            let (socket, question) = (Arc::clone(&socket), question[..length].to_vec());
            tokio::spawn(async move {
                let mut answer = [0; 4096];
                let asked = async {
                    let own = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).await?;
                    own.send_to(&question, server).await?;
                    let (length, _) = own.recv_from(&mut answer).await?;
                    socket.send_to(&answer[..length], client).await
                };
                // Whoever gets no answer asks again.
                let _ = timeout(START_LIMIT, asked).await;
            });
        }
    });
    (address, Some(carrying))
}

/// AppArmor keeps `named` to its own folders, by the path of the program. A copy has another path.
fn program(folder: &Path) -> PathBuf {
    let copy = folder.join("named");
    std::fs::copy("/usr/sbin/named", &copy)
        .unwrap_or_else(|error| panic!("/usr/sbin/named: {error} (tests/prepare.sh puts it there)"));
    copy
}

fn write(path: &Path, text: &str) {
    std::fs::write(path, text).expect("the temporary folder can be written to");
}

fn configuration(folder: &Path, listen: SocketAddr) -> String {
    let IpAddr::V4(address) = listen.ip() else { panic!("it listens on IPv4") };
    let keys: String = [ZONE_KEY, DELEGATED_KEY]
        .iter()
        .map(|key| format!("key \"{}\" {{ algorithm hmac-sha256; secret \"{}\"; }};\n", key.name, key.secret))
        .collect();
    let zones: String = [(ZONE, ZONE_KEY), (DELEGATED_ZONE, DELEGATED_KEY)]
        .iter()
        .map(|(zone, key)| {
            format!(
                "zone \"{zone}\" {{ type primary; file \"{zone}\"; allow-update {{ key \"{}\"; }}; }};\n",
                key.name
            )
        })
        .collect();
    format!(
        "options {{
    directory \"{folder}\";
    listen-on port {port} {{ {address}; }};
    listen-on-v6 {{ none; }};
    pid-file none;
    session-keyfile \"{folder}/session.key\";
    recursion yes;
    dnssec-validation no;
    querylog yes;
    minimal-responses yes;
}};
controls {{ }};
zone \".\" {{ type primary; file \"root\"; }};
{keys}{zones}",
        folder = folder.display(),
        port = listen.port(),
    )
}

fn zone_file(servers: &[Ipv4Addr]) -> String {
    let mut zone = String::from("$TTL 1\n@ SOA ns1 hostmaster 1 3600 600 86400 1\n");
    for (number, address) in (1..).zip(servers) {
        zone.push_str(&format!("@ NS ns{number}\nns{number} A {address}\n"));
    }
    zone.push_str("@ A 127.0.0.1\n* A 127.0.0.1\n");
    zone
}
