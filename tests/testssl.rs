//! What `testssl.sh` finds on a default entry point: nothing above `LOW` in protocols, ciphers, key exchange and
//! vulnerabilities. Trust, revocation and DNS are those of a test's own authority, and left out.

use std::process::Stdio;
use std::time::Duration;

use serde_json::Value;
use tests::gateway::GatewayPlan;
use tests::origin::Origin;
use tests::tls::Authority;
use tokio::process::Command;
use tokio::time::timeout;

/// It asks for everything that was ever broken, one after the other.
const LIMIT: Duration = Duration::from_secs(900);

#[tokio::test]
async fn testssl_finds_no_weakness_on_a_default_entry_point() {
    let origin = Origin::start("app").await;
    let authority = Authority::new("servers");
    let plan = GatewayPlan::new();
    let pair = authority.server(&["lax.test"]).written(&plan.path("log"), "lax");
    let routes = format!(
        "http:
  routers: {{ app: {{ rule: Host(`lax.test`), service: app, tls: {{}} }} }}
  services: {{ app: {{ loadBalancer: {{ servers: [ {{ url: '{}' }} ] }} }} }}
tls:
  certificates: [ {pair} ]
",
        origin.url(),
    );
    let gateway = plan.routes(&routes).start().await;
    let report = gateway.plan().path("testssl.json");
    let mut command = Command::new("testssl");
    command
        .args(["--quiet", "--color", "0", "--warnings", "off", "--nodns", "none", "--fast"])
        .args(["--ip", "127.0.0.1", "--protocols", "--std", "--pfs", "--server-preference", "--vulnerable"])
        .arg("--jsonfile")
        .arg(&report)
        .arg(format!("lax.test:{}", gateway.web().port()))
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true);
    let output = timeout(LIMIT, command.output()).await.expect("it ends").expect("it is installed");
    let said = String::from_utf8_lossy(&output.stdout);
    let findings = std::fs::read_to_string(&report).unwrap_or_else(|error| panic!("{error}: {said}"));
    let findings: Vec<Value> =
        serde_json::from_str(&findings).unwrap_or_else(|error| panic!("{error}: {said}"));
    let is_there = |id: &str| findings.iter().any(|finding| finding["id"] == id);
    for id in ["TLS1_2", "TLS1_3", "PFS", "heartbleed", "ROBOT", "secure_renego", "POODLE_SSL", "LUCKY13"] {
        assert!(is_there(id), "{id} was looked at: {said}");
    }
    let weak: Vec<_> = findings
        .iter()
        .filter(|finding| match finding["severity"].as_str() {
            Some("OK" | "INFO" | "LOW") => false,
            // What the machine's own OpenSSL is too new to try.
            Some("WARN") => !finding["finding"].as_str().is_some_and(|finding| finding.contains("openssl")),
            _ => true,
        })
        .collect();
    assert!(weak.is_empty(), "{weak:#?}");
}
