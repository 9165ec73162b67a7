//! Changes while it serves: files, SIGHUP, the API; what is bad changes nothing.

use std::time::Duration;

use http_body_util::BodyExt;
use nix::sys::signal::Signal;
use tests::client::{Connection, ask_for, get};
use tests::eventually;
use tests::gateway::GatewayPlan;
use tests::in_process::TestGateway;
use tests::origin::Origin;
use tests::wait::holds;

const SOON: Duration = Duration::from_secs(6);

fn route(host: &str, origin: &Origin) -> String {
    format!(
        "http:
  routers:
    app: {{ rule: Host(`{host}`), service: app }}
  services:
    app: {{ loadBalancer: {{ servers: [ {{ url: '{}' }} ] }} }}
",
        origin.url()
    )
}

#[tokio::test]
async fn a_changed_file_is_picked_up_however_it_was_written() {
    let origin = Origin::start("app").await;
    let gateway = GatewayPlan::new().routes(&route("one.test", &origin)).start().await;
    gateway.answers("one.test", "/", 200, SOON).await;

    // In place.
    gateway.plan().write("routes.yml", &route("two.test", &origin));
    gateway.answers("two.test", "/", 200, SOON).await;
    gateway.answers("one.test", "/", 404, SOON).await;

    // As an editor does: a new file in place of the old one.
    gateway.plan().write("routes.yml.new", &route("three.test", &origin));
    let path = |name| gateway.plan().path(name);
    std::fs::rename(path("routes.yml.new"), path("routes.yml")).expect("one folder");
    gateway.answers("three.test", "/", 200, SOON).await;

    // Gone and back.
    std::fs::remove_file(path("routes.yml")).expect("it was there");
    gateway.plan().write("routes.yml", &route("four.test", &origin));
    gateway.answers("four.test", "/", 200, SOON).await;
}

#[tokio::test]
async fn a_file_that_comes_later_is_picked_up() {
    let origin = Origin::start("app").await;
    let plan = GatewayPlan::new();
    let path = plan.path("later.yml");
    let gateway = plan.argument(format!("--providers.file.filename={}", path.display())).start().await;
    gateway.answers("app.test", "/", 404, SOON).await;
    gateway.plan().write("later.yml", &route("app.test", &origin));
    gateway.answers("app.test", "/", 200, SOON).await;
}

#[tokio::test]
async fn a_bad_file_changes_nothing_and_is_a_problem_with_its_place() {
    let origin = Origin::start("app").await;
    let gateway = GatewayPlan::new().routes(&route("app.test", &origin)).start().await;
    gateway.answers("app.test", "/", 200, SOON).await;

    gateway.plan().write("routes.yml", "http:\n  routers:\n    app: { rule: Host(`other.test`)\n");
    let problem = eventually("the problem is shown", SOON, || async {
        let problems = gateway.admin_json("/api/problems").await.to_string();
        holds(problems.contains("routes.yml"), &problems)?;
        Ok(problems)
    })
    .await;
    assert!(problem.contains("routes.yml"), "{problem}");
    gateway.answers("app.test", "/", 200, SOON).await;
    gateway.answers("other.test", "/", 404, SOON).await;

    gateway.plan().write("routes.yml", &route("other.test", &origin));
    gateway.answers("other.test", "/", 200, SOON).await;
    let problems = gateway.admin_json("/api/problems").await.to_string();
    assert!(!problems.contains("routes.yml"), "{problems}");
}

#[tokio::test]
async fn one_broken_file_of_a_folder_costs_only_itself() {
    let origin = Origin::start("app").await;
    let plan = GatewayPlan::new();
    std::fs::create_dir(plan.path("routes")).expect("the folder can be written to");
    plan.write("routes/a.yml", &route("a.test", &origin).replace("app", "a"));
    plan.write("routes/b.yml", "http: [");
    plan.write("routes/c.toml", &format!(
        "[http.routers.c]\nrule = 'Host(`c.test`)'\nservice = 'c'\n[[http.services.c.loadBalancer.servers]]\nurl = '{}'\n",
        origin.url()
    ));
    let folder = plan.path("routes");
    let gateway = plan.argument(format!("--providers.file.directory={}", folder.display())).start().await;
    gateway.answers("a.test", "/", 200, SOON).await;
    gateway.answers("c.test", "/", 200, SOON).await;
    let problems = gateway.admin_json("/api/problems").await.to_string();
    assert!(problems.contains("b.yml"), "{problems}");

    // It keeps its last good version once it had one.
    gateway.plan().write("routes/b.yml", &route("b.test", &origin).replace("app", "b"));
    gateway.answers("b.test", "/", 200, SOON).await;
    gateway.plan().write("routes/b.yml", "http: [");
    gateway.plan().write("routes/d.yml", &route("d.test", &origin).replace("app", "d"));
    gateway.answers("d.test", "/", 200, SOON).await;
    gateway.answers("b.test", "/", 200, SOON).await;
}

#[tokio::test]
async fn sighup_and_the_api_read_files_again_that_are_not_watched() {
    let origin = Origin::start("app").await;
    let gateway = GatewayPlan::new()
        .routes(&route("one.test", &origin))
        .argument("--providers.file.watch=false")
        .start()
        .await;
    gateway.answers("one.test", "/", 200, SOON).await;

    gateway.plan().write("routes.yml", &route("two.test", &origin));
    gateway.signal(Signal::SIGHUP);
    gateway.answers("two.test", "/", 200, SOON).await;

    gateway.plan().write("routes.yml", &route("three.test", &origin));
    let report = gateway.reload().await;
    assert_eq!(report.status, 200, "{}", report.text());
    // The answer says what is in force: no waiting.
    let answer = ask_for(gateway.web(), "three.test", "/").await.expect("an answer");
    assert_eq!(answer.status, 200);

    gateway.plan().write("routes.yml", "http: [");
    let report = gateway.reload().await;
    assert!(report.text().contains("routes.yml"), "{}", report.text());
    gateway.answers("three.test", "/", 200, SOON).await;
}

#[tokio::test]
async fn a_write_without_the_token_changes_nothing() {
    let gateway = GatewayPlan::new().start().await;
    let mut request = tests::client::request("POST", "localhost", "/api/reload", "{}");
    request.headers_mut().insert("content-type", http::HeaderValue::from_static("application/json"));
    let answer = tests::client::ask(gateway.admin(), request).await.expect("an answer");
    assert_eq!(answer.status, 401);
    let foreign = ask_for(gateway.admin(), "evil.test", "/api/rawdata").await.expect("an answer");
    assert_eq!(foreign.status, 403);
}

#[tokio::test]
async fn a_change_of_one_route_keeps_the_connections_of_all() {
    let (one, two) = (Origin::start("one").await, Origin::start("two").await);
    let gateway = TestGateway::start(&route("app.test", &one), &[]).await;
    let mut connection = Connection::open(gateway.web()).await.expect("a connection");
    let mut open = Connection::open(gateway.web()).await.expect("a connection");
    let body = open.send(get("app.test", "/hold")).await.expect("a head").into_body();
    let mut server =
        async |host| connection.ask(get(host, "/")).await.expect("an answer").json()["server"].clone();
    assert_eq!(server("app.test").await, "one");
    gateway.say(&route("app.test", &two)).await;
    assert_eq!(server("app.test").await, "two");
    gateway.say(&route("other.test", &two)).await;
    assert_eq!(server("other.test").await, "two");
    // What was open when its server left ends by itself.
    one.release();
    assert_eq!(body.collect().await.expect("a whole answer").to_bytes(), "begin end");
    assert_eq!(gateway.shutdown().await, 0);
}
