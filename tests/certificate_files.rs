//! Certificates of routing files: served, replaced at any moment, and kept through a renewal that goes wrong.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use tests::client::{ask_for, get};
use tests::eventually;
use tests::in_process::TestGateway;
use tests::origin::Origin;
use tests::tls::{Authority, Client, ClientPlan, Pair};
use tests::wait::holds;

const SOON: Duration = Duration::from_secs(20);

/// Routes of these hosts to one server, each with the pair `<name>.crt` and `<name>.key` of a folder.
struct Stage {
    folder: tempfile::TempDir,
    authority: Authority,
    origin: Origin,
}

impl Stage {
    async fn new() -> Self {
        let folder = tempfile::tempdir().expect("there is a temporary folder");
        Self { folder, authority: Authority::new("Tests"), origin: Origin::start("app").await }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// A new pair for `<name>.test` in the place of the old one, as careful tools do it.
    fn renew(&self, name: &str) -> Pair {
        let pair = self.authority.server(&[&format!("{name}.test")]);
        replace(&self.path(&format!("{name}.key")), &pair.key_pem);
        replace(&self.path(&format!("{name}.crt")), &pair.chain_pem);
        pair
    }

    fn routes(&self, names: &[&str], certified: &[&str]) -> String {
        let mut text = String::from("http:\n  routers:\n");
        for name in names {
            let _ = writeln!(text, "    {name}: {{ rule: Host(`{name}.test`), service: app, tls: {{}} }}");
        }
        let _ = writeln!(
            text,
            "  services:\n    app:\n      loadBalancer:\n        servers: [{{ url: \"{}\" }}]",
            self.origin.url()
        );
        if !certified.is_empty() {
            text.push_str("tls:\n  certificates:\n");
        }
        for name in certified {
            let (chain, key) = (self.path(&format!("{name}.crt")), self.path(&format!("{name}.key")));
            let _ = writeln!(
                text,
                "    - {{ certFile: \"{}\", keyFile: \"{}\" }}",
                chain.display(),
                key.display()
            );
        }
        text
    }

    fn client(&self) -> Client {
        ClientPlan::new(&self.authority).alpn(&["http/1.1"]).build()
    }
}

/// Readers see the old file or the new one.
fn replace(path: &Path, text: &str) {
    let new = path.with_extension("new");
    std::fs::write(&new, text).expect("the folder can be written to");
    std::fs::rename(&new, path).expect("the folder can be written to");
}

/// Waits until a handshake for this name shows this certificate.
async fn shows(gateway: &TestGateway, client: &Client, name: &str, pair: &Pair) {
    eventually("the certificate is served", SOON, || async {
        let connection =
            client.connect(gateway.web(), name).await.map_err(|refused| format!("{refused:?}"))?;
        holds(connection.certificate() == pair.chain[0], "another certificate")
    })
    .await;
}

/// Waits until a problem says this, or none does.
async fn problem(gateway: &TestGateway, text: &str, there: bool) {
    eventually("what is said of the pair", SOON, || async {
        let problems = ask_for(gateway.admin(), "localhost", "/api/problems").await?.text();
        holds(problems.contains(text) == there, problems)
    })
    .await;
}

#[tokio::test]
async fn a_replaced_pair_is_served_without_a_restart_and_open_connections_stay() {
    let stage = Stage::new().await;
    let (first, other) = (stage.renew("a"), stage.renew("b"));
    let gateway = TestGateway::start(&stage.routes(&["a", "b"], &["a", "b"]), &[]).await;
    let client = stage.client();
    shows(&gateway, &client, "a.test", &first).await;
    shows(&gateway, &client, "b.test", &other).await;
    let mut open =
        client.connect(gateway.web(), "a.test").await.expect("a handshake").http().await.expect("HTTP");
    assert_eq!(open.ask(get("a.test", "/")).await.expect("an answer").status, 200);

    let renewed = stage.renew("a");
    shows(&gateway, &client, "a.test", &renewed).await;
    shows(&gateway, &client, "b.test", &other).await;
    assert_eq!(open.ask(get("a.test", "/")).await.expect("an answer").status, 200, "it was not touched");

    // Torn, then with the key of another: the last good one stays, and it is said why.
    std::fs::write(stage.path("a.crt"), &renewed.chain_pem[..200]).expect("the folder can be written to");
    problem(&gateway, "it is not valid PEM", true).await;
    shows(&gateway, &client, "a.test", &renewed).await;
    let latest = stage.authority.server(&["a.test"]);
    replace(&stage.path("a.crt"), &latest.chain_pem);
    problem(&gateway, "certificate and key do not belong together; its last good version is served", true)
        .await;
    shows(&gateway, &client, "a.test", &renewed).await;
    replace(&stage.path("a.key"), &latest.key_pem);
    shows(&gateway, &client, "a.test", &latest).await;
    problem(&gateway, "TLS certificate", false).await;

    // A reload reads what has changed, and answers when it is served.
    let renewed = stage.renew("b");
    gateway.running().reload().await.expect("the control plane answers");
    let connection = client.connect(gateway.web(), "b.test").await.expect("a handshake");
    assert_eq!(connection.certificate(), renewed.chain[0]);
}

#[tokio::test]
async fn a_pair_that_was_never_good_is_a_problem_and_one_that_left_is_not_served() {
    let stage = Stage::new().await;
    let (a, b) = (stage.renew("a"), stage.renew("b"));
    replace(&stage.path("b.key"), &a.key_pem);
    let gateway = TestGateway::start(&stage.routes(&["a", "b"], &["a", "b"]), &[]).await;
    let client = stage.client();
    shows(&gateway, &client, "a.test", &a).await;
    problem(&gateway, "certificate and key do not belong together; it is not served", true).await;
    assert!(client.connect(gateway.web(), "b.test").await.is_err(), "the default certificate is nobody's");

    replace(&stage.path("b.key"), &b.key_pem);
    shows(&gateway, &client, "b.test", &b).await;
    problem(&gateway, "do not belong together", false).await;

    gateway.say(&stage.routes(&["a", "b"], &["b"])).await;
    assert!(client.connect(gateway.web(), "a.test").await.is_err(), "it has left the file");
    shows(&gateway, &client, "b.test", &b).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn five_hundred_swaps_under_a_storm_of_handshakes_fail_none() {
    let stage = Arc::new(Stage::new().await);
    // One file for both, so that a swap is one step for whoever reads it.
    let pairs = [(); 4].map(|()| stage.authority.server(&["a.test"]));
    let whole = |pair: &Pair| format!("{}{}", pair.chain_pem, pair.key_pem);
    let path = stage.path("a.pem");
    replace(&path, &whole(&pairs[0]));
    let routes = format!(
        "{}tls:\n  certificates:\n    - {{ certFile: \"{path}\", keyFile: \"{path}\" }}\n",
        stage.routes(&["a"], &[]),
        path = path.display()
    );
    let gateway = Arc::new(TestGateway::start(&routes, &[]).await);
    shows(&gateway, &stage.client(), "a.test", &pairs[0]).await;

    let (over, shaken) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
    let storm: Vec<_> = (0..4)
        .map(|_| {
            let (stage, gateway) = (Arc::clone(&stage), Arc::clone(&gateway));
            let (over, shaken) = (Arc::clone(&over), Arc::clone(&shaken));
            tokio::spawn(async move {
                while !over.load(Ordering::SeqCst) {
                    // A client of its own for each: nothing is resumed.
                    let connection = stage.client().connect(gateway.web(), "a.test").await?;
                    assert!(!connection.is_resumed());
                    shaken.fetch_add(1, Ordering::SeqCst);
                }
                Ok::<_, tests::tls::Refused>(())
            })
        })
        .collect();
    for swap in 1..=500_usize {
        replace(&path, &whole(&pairs[swap % pairs.len()]));
        gateway.running().reload().await.expect("the control plane answers");
    }
    over.store(true, Ordering::SeqCst);
    for client in storm {
        client.await.expect("it has not panicked").expect("no handshake fails");
    }
    let shaken = shaken.load(Ordering::SeqCst);
    assert!(shaken > 100, "it was a storm: {shaken} handshakes");
    let client = stage.client();
    let connection = client.connect(gateway.web(), "a.test").await.expect("a handshake");
    assert_eq!(connection.certificate(), pairs[0].chain[0], "the last swap is served");
}
