//! A real ACME server: Debian's pebble, or a newer one with renewal information, profiles and `Retry-After`
//! (`tests/prepare.sh` builds it). Its state dies with it.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use http::HeaderValue;
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::net::TcpStream;
use tokio::process::{Child, Command};
use tokio::time::timeout;

use crate::client::{Answer, request};
use crate::gateway::env;
use crate::relay::Relay;
use crate::tls::{Client, ClientPlan};
use crate::wait::free_port;

/// Its start takes a tenth of a second, more where eight tests start one at once.
const START_LIMIT: Duration = Duration::from_secs(30);

/// Which one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PebbleVersion {
    /// Debian's package: no renewal information, no profiles, no `Retry-After`.
    Packaged,
    /// 2.10.1.
    Current,
}

impl PebbleVersion {
    fn program(self) -> PathBuf {
        match self {
            Self::Packaged => PathBuf::from("/usr/bin/pebble"),
            Self::Current => {
                let cache = env("XDG_CACHE_HOME").filter(|path| !path.is_empty()).map_or_else(
                    || PathBuf::from(env("HOME").unwrap_or_default()).join(".cache"),
                    PathBuf::from,
                );
                cache.join("hearthgate/pebble-2.10.1/bin/pebble")
            }
        }
    }
}

/// How it behaves. The default is the one for exact tests: no bad nonces, no pauses, no authorisation used twice.
#[derive(Debug, Clone)]
pub struct PebbleOptions {
    /// The DNS server that it asks for every name (`dns::NameServer::address`).
    pub dns: SocketAddr,
    /// Percentage of requests that it refuses with `badNonce`.
    pub bad_nonces: u8,
    /// Percentage of authorisations that it uses again.
    pub reused_authorizations: u8,
    /// Believes every challenge without a look.
    pub always_valid: bool,
    /// Longest pause, in seconds, before a validation. None without.
    pub validation_pause: Option<u8>,
    /// Accounts need one of these: key by identifier, base64url.
    pub external_accounts: BTreeMap<String, String>,
    /// Lifetime of certificates.
    pub validity: Option<Duration>,
    /// Further chains that it offers.
    pub alternate_roots: u8,
    /// Intermediates in a chain.
    pub chain_length: u8,
    /// Names that it refuses (`rejectedIdentifier`).
    pub blocked: Vec<String>,
    /// Current only: seconds in `Retry-After` of authorisations and orders.
    pub retry_after: Option<(u32, u32)>,
    /// Current only: profiles and their lifetimes.
    pub profiles: BTreeMap<String, Duration>,
}

impl PebbleOptions {
    /// The default, with this DNS server.
    pub fn new(dns: SocketAddr) -> Self {
        Self {
            dns,
            bad_nonces: 0,
            reused_authorizations: 0,
            always_valid: false,
            validation_pause: None,
            external_accounts: BTreeMap::new(),
            validity: None,
            alternate_roots: 0,
            chain_length: 1,
            blocked: Vec::new(),
            retry_after: None,
            profiles: BTreeMap::new(),
        }
    }
}

/// A pebble that runs. Killed on drop.
///
/// It connects to one port for HTTP-01 and to one for TLS-ALPN-01, whatever the name. Those two belong to the test and
/// carry the bytes on to where [`Pebble::validate_at`] says: a gateway may be started after it, on any free port.
#[derive(Debug)]
pub struct Pebble {
    // Ends before its folder goes.
    child: Child,
    folder: TempDir,
    directory: SocketAddr,
    management: SocketAddr,
    http: Relay,
    tls: Relay,
}

impl Pebble {
    /// Starts it, and waits until it is ready.
    pub async fn start(version: PebbleVersion, options: PebbleOptions) -> Self {
        let mut folder =
            tempfile::Builder::new().prefix("hgt-pebble-").tempdir().expect("there is a temporary folder");
        write_own_certificate(folder.path());
        let mut http = Relay::start().await;
        let mut tls = Relay::start().await;
        // Somebody else may take a free port before it does.
        for _ in 0..5 {
            let directory = SocketAddr::from(([127, 0, 0, 1], free_port()));
            let management = SocketAddr::from(([127, 0, 0, 1], free_port()));
            let config = options.config(
                folder.path(),
                directory,
                management,
                http.address().port(),
                tls.address().port(),
            );
            std::fs::write(folder.path().join("config.json"), config.to_string())
                .expect("the temporary folder can be written to");
            let child = options.command(version, folder.path()).spawn().unwrap_or_else(|error| {
                panic!("{}: {error} (tests/prepare.sh puts it there)", version.program().display())
            });
            let mut pebble = Self { child, folder, directory, management, http, tls };
            if pebble.is_ready().await {
                return pebble;
            }
            Self { folder, http, tls, .. } = pebble;
        }
        panic!("pebble found no free port five times in a row");
    }

    /// False if its port was taken.
    async fn is_ready(&mut self) -> bool {
        let mut ticks = tokio::time::interval(Duration::from_millis(10));
        let waited = timeout(START_LIMIT, async {
            loop {
                ticks.tick().await;
                // Said before it listens: only a connection proves it.
                if TcpStream::connect(self.directory).await.is_ok()
                    && TcpStream::connect(self.management).await.is_ok()
                    && self.log().contains("ACME directory available at")
                {
                    return true;
                }
                if let Ok(Some(status)) = self.child.try_wait() {
                    let log = self.log();
                    assert!(log.contains("address already in use"), "pebble ended with {status}:\n{log}");
                    return false;
                }
            }
        });
        waited.await.unwrap_or_else(|_elapsed| panic!("pebble was not ready in time:\n{}", self.log()))
    }

    /// Where its API listens.
    pub fn address(&self) -> SocketAddr {
        self.directory
    }

    /// URL of its directory.
    pub fn directory(&self) -> String {
        format!("https://localhost:{}/dir", self.directory.port())
    }

    /// The certificate (PEM file) that makes its API believed: `caCertificates`.
    pub fn ca_file(&self) -> PathBuf {
        self.folder.path().join("api-ca.pem")
    }

    /// Where it finds the listeners for its challenges. It waits for this before its first validation.
    pub fn validate_at(&self, http: SocketAddr, tls: SocketAddr) {
        self.http.lead_to(http);
        self.tls.lead_to(tls);
    }

    /// Connections that it has opened for HTTP-01 and for TLS-ALPN-01.
    pub fn validations(&self) -> (usize, usize) {
        (self.http.connections(), self.tls.connections())
    }

    /// Root of the certificates that it issues; `chain` 0 is the default one.
    pub async fn root(&self, chain: u8) -> CertificateDer<'static> {
        let answer = self.manage("GET", &format!("/roots/{chain}"), String::new()).await;
        assert_eq!(answer.status, 200, "{}", answer.text());
        CertificateDer::from_pem_slice(&answer.body).expect("it is a certificate")
    }

    /// A client that believes what it issues.
    pub async fn client(&self) -> Client {
        ClientPlan::trusting(self.root(0).await).build()
    }

    /// Intermediate (PEM) of a chain.
    pub async fn intermediate(&self, chain: u8) -> String {
        let answer = self.manage("GET", &format!("/intermediates/{chain}"), String::new()).await;
        assert_eq!(answer.status, 200, "{}", answer.text());
        answer.text()
    }

    /// `Valid` or `Revoked`, as it says itself, of the certificate with this serial number (hexadecimal).
    pub async fn status_of(&self, serial: &str) -> Value {
        self.manage("GET", &format!("/cert-status-by-serial/{serial}"), String::new()).await.json()
    }

    /// Current only: what it answers to a question for the renewal information of a certificate (PEM), word for word.
    pub async fn set_renewal_info(&self, certificate: &str, answer: &str) {
        let body = json!({ "certificate": certificate, "ariResponse": answer }).to_string();
        let answer = self.manage("POST", "/set-renewal-info/", body).await;
        assert_eq!(answer.status, 200, "{}", answer.text());
    }

    /// A question to its API, which nobody signed: the directory, a nonce.
    pub async fn ask(&self, method: &str, path: &str) -> Answer {
        self.https(self.directory, method, path, String::new()).await
    }

    async fn manage(&self, method: &str, path: &str, body: String) -> Answer {
        self.https(self.management, method, path, body).await
    }

    async fn https(&self, address: SocketAddr, method: &str, path: &str, body: String) -> Answer {
        let ca =
            CertificateDer::from_pem_file(self.ca_file()).expect("the file is there as long as pebble is");
        let mut request = request(method, &format!("localhost:{}", address.port()), path, body);
        request.headers_mut().insert("user-agent", HeaderValue::from_static("hearthgate-tests"));
        let answer = ClientPlan::trusting(ca).build().ask(address, request).await;
        answer.unwrap_or_else(|error| panic!("pebble answers {method} {path}: {error}\n{}", self.log()))
    }

    /// All that it wrote.
    pub fn log(&self) -> String {
        std::fs::read_to_string(self.folder.path().join("log")).unwrap_or_default()
    }

    /// Lines of its log with this text in them.
    pub fn logged(&self, text: &str) -> usize {
        self.log().lines().filter(|line| line.contains(text)).count()
    }
}

impl PebbleOptions {
    fn config(
        &self,
        folder: &Path,
        directory: SocketAddr,
        management: SocketAddr,
        http_port: u16,
        tls_port: u16,
    ) -> Value {
        let mut config = json!({
            "listenAddress": directory.to_string(),
            "managementListenAddress": management.to_string(),
            "certificate": folder.join("api.pem"),
            "privateKey": folder.join("api.key"),
            "httpPort": http_port,
            "tlsPort": tls_port,
            "ocspResponderURL": "",
            "externalAccountBindingRequired": !self.external_accounts.is_empty(),
            "externalAccountMACKeys": self.external_accounts,
            "domainBlocklist": self.blocked,
            "keyAlgorithm": "ecdsa",
        });
        if let Some(validity) = self.validity {
            config["certificateValidityPeriod"] = json!(validity.as_secs());
        }
        if let Some((authorization, order)) = self.retry_after {
            config["retryAfter"] = json!({ "authz": authorization, "order": order });
        }
        for (name, lifetime) in &self.profiles {
            config["profiles"][name] = json!({ "description": name, "validityPeriod": lifetime.as_secs() });
        }
        json!({ "pebble": config })
    }

    fn command(&self, version: PebbleVersion, folder: &Path) -> Command {
        let log = std::fs::File::create(folder.join("log")).expect("the temporary folder can be written to");
        let errors = log.try_clone().expect("a file can be shared");
        let mut command = Command::new(version.program());
        command
            .arg("-config")
            .arg(folder.join("config.json"))
            .args(["-dnsserver", &self.dns.to_string()])
            .env_clear()
            .env("PEBBLE_WFE_NONCEREJECT", self.bad_nonces.to_string())
            .env("PEBBLE_AUTHZREUSE", self.reused_authorizations.to_string())
            .env("PEBBLE_ALTERNATE_ROOTS", self.alternate_roots.to_string())
            .env("PEBBLE_CHAIN_LENGTH", self.chain_length.to_string())
            .stdin(Stdio::null())
            .stdout(log)
            .stderr(errors)
            .kill_on_drop(true);
        match self.validation_pause {
            Some(seconds) => command.env("PEBBLE_VA_SLEEPTIME", seconds.to_string()),
            None => command.env("PEBBLE_VA_NOSLEEP", "1"),
        };
        if self.always_valid {
            command.env("PEBBLE_VA_ALWAYS_VALID", "1");
        }
        command
    }
}

/// The certificate of its own API, and who signed it.
fn write_own_certificate(folder: &Path) {
    let ca_key = KeyPair::generate().expect("keys can be made");
    let mut ca = CertificateParams::default();
    ca.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let signed = ca.self_signed(&ca_key).expect("it is well formed");
    let issuer = Issuer::new(ca, ca_key);
    let key = KeyPair::generate().expect("keys can be made");
    let leaf = CertificateParams::new(["localhost".to_owned(), "127.0.0.1".to_owned()])
        .expect("these are names")
        .signed_by(&key, &issuer)
        .expect("it is well formed");
    for (name, text) in
        [("api-ca.pem", signed.pem()), ("api.pem", leaf.pem()), ("api.key", key.serialize_pem())]
    {
        std::fs::write(folder.join(name), text).expect("the temporary folder can be written to");
    }
}
