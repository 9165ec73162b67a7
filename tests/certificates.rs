//! Certificates for people: the admin API's list, renewals and exports, and the command that asks for them.

use std::os::unix::fs::PermissionsExt;
use std::time::Duration;

use tests::client::{ask, request};
use tests::gateway::{GatewayPlan, run, said};
use tests::tls::Authority;
use tests::wait::eventually;

#[tokio::test]
async fn certificates_are_listed_and_handed_out_to_other_programs() {
    let plan = GatewayPlan::new();
    let pair = Authority::new("test authority").server(&["app.test", "*.app.test"]);
    let pair = pair.written(&plan.path(""), "app");
    let gateway = plan.routes(&format!("tls: {{ certificates: [ {pair} ] }}")).start().await;
    let listed = eventually("the certificate is listed", Duration::from_secs(60), async || {
        let listed = gateway.admin_json("/api/certificates").await;
        let found =
            listed.as_array().and_then(|all| all.iter().find(|one| one["sans"][0] == "*.app.test").cloned());
        found.ok_or_else(|| listed.to_string())
    })
    .await;
    assert_eq!(listed["status"], "enabled");
    let id = listed["id"].as_str().expect("it has an identifier");
    assert_eq!(gateway.admin_json(&format!("/api/certificates/{id}")).await, listed);
    assert_eq!(gateway.admin_get("/api/certificates/00").await.status, 404);

    // Reading is open on the socket; a key is not handed out without the token.
    let body = r#"{"domain":"x.app.test"}"#;
    let mut refused = request("POST", "localhost", "/api/certificates/export", body);
    refused.headers_mut().insert("content-type", http::HeaderValue::from_static("application/json"));
    assert_eq!(ask(gateway.admin(), refused).await.expect("an answer").status, 401);

    let list = gateway.run(&["certificates", "list"]).await;
    assert!(said(&list).contains("*.app.test, app.test  until "), "{}", said(&list));

    let dir = gateway.plan().path("out");
    let hook = format!("cp \"$HEARTHGATE_CERTIFICATE\" {0}/hooked && echo run >> {0}/runs", dir.display());
    let export = [
        "certificates",
        "export",
        "x.app.test",
        "--dir",
        dir.to_str().expect("a path"),
        "--post-hook",
        hook.as_str(),
    ];
    for attempt in ["first", "second"] {
        let output = gateway.run(&export).await;
        assert_eq!(output.status.code(), Some(0), "{attempt}: {}", said(&output));
    }
    let read = |name: &str| {
        std::fs::read_to_string(dir.join(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
    };
    assert!(read("x.app.test.key").contains("PRIVATE KEY"));
    assert_eq!(read("hooked"), read("x.app.test.pem"));
    assert_eq!(read("runs"), "run\n", "the hook runs only where something changed");
    let mode = std::fs::metadata(dir.join("x.app.test.key")).expect("it is there").permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    assert!(!gateway.log().contains("PRIVATE KEY"));

    let unknown = gateway.run(&["certificates", "export", "other.test", "--dir", "out"]).await;
    assert_eq!(unknown.status.code(), Some(1));
    assert!(said(&unknown).contains("there is no certificate for other.test"), "{}", said(&unknown));
    let renew = gateway.run(&["certificates", "renew"]).await;
    assert_eq!(renew.status.code(), Some(1));
    assert!(said(&renew).contains("no certificate resolver is configured"), "{}", said(&renew));
    let nobody = run(&["certificates", "list", "--admin=unix:/nowhere/admin.sock"]).await;
    assert_eq!(nobody.status.code(), Some(3));
}
