//! The provider against an engine that misbehaves: one that speaks the real protocol on a Unix socket and can
//! stall, talk nonsense, lag, cut streams and refuse. What a sound engine does is tested with a real one.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use config::install::LabelScope;
use config::routing::Standing;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::{broadcast, mpsc};
use tokio::task::JoinHandle;
use tokio::time::timeout;

use super::*;

/// How a call is answered.
#[derive(Debug, Clone)]
enum Answer {
    /// As a sound engine does.
    Sound,
    /// With this status and a page.
    Page(u16),
    /// With 200 and this text.
    Text(&'static str),
    /// Never.
    Stall,
}

#[derive(Debug, Clone)]
struct Script {
    version: Answer,
    list: Answer,
    events: Answer,
    containers: Vec<Value>,
    requests: Vec<String>,
}

/// What is sent on an event stream.
#[derive(Debug, Clone)]
enum Feed {
    Text(String),
    Cut,
}

struct Engine {
    _folder: TempDir,
    socket: PathBuf,
    script: Arc<Mutex<Script>>,
    feed: broadcast::Sender<Feed>,
    task: Option<JoinHandle<()>>,
}

fn container(id: &str, state: &str) -> Value {
    json!({
        "Id": id.repeat(64), "Names": [format!("/{id}")], "Created": 1, "State": state,
        "Status": if state == "running" { "Up 1 second" } else { "Exited (0)" },
        "Labels": { "traefik.enable": "true" }, "HostConfig": { "NetworkMode": "web" },
        "Ports": [{ "PrivatePort": 80, "Type": "tcp" }],
        "NetworkSettings": { "Networks": { "web": { "IPAddress": if state == "running" { "172.18.0.2" } else { "" } } } },
    })
}

impl Engine {
    fn start(containers: Vec<Value>) -> Self {
        let folder = TempDir::new().unwrap();
        let script = Script {
            version: Answer::Sound,
            list: Answer::Sound,
            events: Answer::Sound,
            containers,
            requests: Vec::new(),
        };
        let mut engine = Self {
            socket: folder.path().join("docker.sock"),
            _folder: folder,
            script: Arc::new(Mutex::new(script)),
            feed: broadcast::channel(64).0,
            task: None,
        };
        engine.listen();
        engine
    }

    fn listen(&mut self) {
        let _ = std::fs::remove_file(&self.socket);
        let listener = UnixListener::bind(&self.socket).unwrap();
        let (script, feed) = (Arc::clone(&self.script), self.feed.clone());
        self.task = Some(tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(serve(stream, Arc::clone(&script), feed.clone()));
            }
        }));
    }

    /// Ends as SIGKILL does: streams break, the socket file stays.
    fn kill(&mut self) {
        self.task.take().unwrap().abort();
        self.tell(Feed::Cut);
    }

    fn set(&self, change: impl FnOnce(&mut Script)) {
        change(&mut self.script.lock().unwrap());
    }

    fn tell(&self, feed: Feed) {
        let _ = self.feed.send(feed);
    }

    fn event(&self, action: &str, id: &str) {
        let event =
            json!({ "Type": "container", "Action": action, "Actor": { "ID": id.repeat(64) }, "time": 1 });
        self.tell(Feed::Text(format!("{event}\n")));
    }

    fn requests(&self) -> Vec<String> {
        self.script.lock().unwrap().requests.clone()
    }

    /// Until somebody listens to events.
    async fn heard(&self) {
        wait_for(|| self.feed.receiver_count() > 0).await;
    }
}

async fn wait_for(condition: impl Fn() -> bool) {
    let wait = async {
        while !condition() {
            tokio::task::yield_now().await;
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    };
    timeout(Duration::from_secs(20), wait).await.expect("the condition comes true");
}

async fn serve(mut stream: UnixStream, script: Arc<Mutex<Script>>, feed: broadcast::Sender<Feed>) {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        if stream.read_exact(&mut byte).await.is_err() {
            return;
        }
        head.push(byte[0]);
    }
    let head = String::from_utf8(head).unwrap();
    let target = head.split(' ').nth(1).unwrap().to_owned();
    let known = {
        let mut script = script.lock().unwrap();
        script.requests.push(target.clone());
        script.clone()
    };
    let (answer, body) = if target.contains("/version") {
        (known.version, json!({ "ApiVersion": "1.41", "MinAPIVersion": "1.12" }).to_string())
    } else if target.contains("/containers/json") {
        // A container in a state without a name of its own is found under `paused`.
        let asked = |state: &str| target.contains(&format!("%22{state}%22"));
        let found: Vec<Value> = known
            .containers
            .into_iter()
            .filter(|container| match container["State"].as_str().unwrap() {
                "initialized" => asked("paused"),
                state => asked(state),
            })
            .collect();
        (known.list, json!(found).to_string())
    } else {
        let mut feed = feed.subscribe();
        if let Answer::Sound = known.events {
            let head =
                "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n";
            if stream.write_all(head.as_bytes()).await.is_err() {
                return;
            }
            while let Ok(Feed::Text(text)) = feed.recv().await {
                let chunk = format!("{:x}\r\n{text}\r\n", text.len());
                if stream.write_all(chunk.as_bytes()).await.is_err() {
                    return;
                }
            }
            // Cut: no last chunk.
            return;
        }
        (known.events, String::new())
    };
    let (status, body) = match answer {
        Answer::Sound => (200, body),
        Answer::Page(status) => (status, "<html><body><h1>Request forbidden</h1></body></html>".to_owned()),
        Answer::Text(text) => (200, text.to_owned()),
        Answer::Stall => {
            std::future::pending::<()>().await;
            return;
        }
    };
    let answer =
        format!("HTTP/1.1 {status} X\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}", body.len());
    let _ = stream.write_all(answer.as_bytes()).await;
}

fn settings(socket: &Path) -> install::DockerProvider {
    install::DockerProvider {
        endpoint: DockerEndpoint::Unix(socket.to_owned()),
        exposed_by_default: true,
        network: None,
        default_rule: "Host(`{{ normalize .Name }}`)".to_owned(),
        constraints: None,
        allow_empty_services: false,
        use_bind_port_ip: false,
        watch: true,
        label_prefixes: vec!["traefik.".to_owned()],
        label_scope: LabelScope::Shared,
        implied: false,
    }
}

fn provider(socket: &Path) -> DockerProvider {
    let mut provider = DockerProvider::new(settings(socket), Arc::new(|_| None));
    provider.call_timeout = Duration::from_millis(400);
    provider
}

struct Running {
    updates: mpsc::Receiver<Update>,
    reloads: mpsc::Sender<oneshot::Sender<()>>,
}

fn run(socket: &Path) -> Running {
    let (sender, updates) = mpsc::channel(64);
    let (reloads, receiver) = mpsc::channel(4);
    tokio::spawn(Box::new(provider(socket)).run(ProviderChannels { updates: sender, reloads: receiver }));
    Running { updates, reloads }
}

/// Routers in short: `a` runs, `-a` does not.
fn routers(update: &Update) -> Vec<String> {
    let name = |(name, router): (&String, &config::routing::raw::Defined<_>)| match router.standing {
        Standing::Up => name.clone(),
        Standing::Down(_) => format!("-{name}"),
    };
    update.routing.http.routers.iter().map(name).collect()
}

impl Running {
    async fn until(&mut self, expected: &[&str], stale: Option<&str>) -> Update {
        let mut last = String::new();
        let wait = async {
            loop {
                let update = self.updates.recv().await.expect("the provider runs");
                let fresh = match (&update.freshness, stale) {
                    (Freshness::Current, None) => true,
                    (Freshness::Stale(reason), Some(text)) => reason.contains(text),
                    (Freshness::Current, Some(_)) | (Freshness::Stale(_), None) => false,
                };
                if routers(&update) == expected && fresh {
                    return update;
                }
                last = format!("{:?} {:?} {:?}", routers(&update), update.freshness, update.problems);
            }
        };
        let found = timeout(Duration::from_secs(20), wait).await;
        found.unwrap_or_else(|_| panic!("wanted {expected:?} {stale:?}, last was {last}"))
    }
}

#[tokio::test]
async fn a_death_counts_at_once_although_the_list_lags_and_a_start_is_seen_within_a_second() {
    let engine = Engine::start(vec![container("a", "running"), container("b", "running")]);
    let mut running = run(&engine.socket);
    running.until(&["a", "b"], None).await;
    engine.heard().await;
    let died = Instant::now();
    engine.event("die", "a");
    let update = running.until(&["-a", "b"], None).await;
    assert!(died.elapsed() < Duration::from_secs(1), "{:?}", died.elapsed());
    let service = &update.routing.http.services["a"];
    assert!(service.value.load_balancer.as_ref().unwrap().servers.is_empty());
    // The list goes on to say that it runs: it must have been asked and not been believed.
    let asked = engine.requests().len();
    wait_for(|| engine.requests().len() > asked).await;
    assert!(running.updates.try_recv().is_err());
    engine.set(|script| {
        script.containers =
            vec![container("a", "running"), container("b", "running"), container("c", "running")]
    });
    let started = Instant::now();
    engine.event("start", "a");
    engine.event("start", "c");
    running.until(&["a", "b", "c"], None).await;
    assert!(started.elapsed() < Duration::from_secs(1), "{:?}", started.elapsed());
}

#[tokio::test]
async fn a_removed_container_is_gone_at_once_and_other_engines_words_are_understood() {
    let engine = Engine::start(vec![container("a", "running"), container("b", "running")]);
    let mut running = run(&engine.socket);
    running.until(&["a", "b"], None).await;
    engine.heard().await;
    engine.event("died", "a");
    running.until(&["-a", "b"], None).await;
    engine.event("remove", "a");
    running.until(&["b"], None).await;
}

#[tokio::test]
async fn calls_are_pinned_to_a_version_that_the_engine_speaks() {
    let engine = Engine::start(vec![container("a", "running")]);
    let mut running = run(&engine.socket);
    running.until(&["a"], None).await;
    engine.heard().await;
    let requests = engine.requests();
    assert_eq!(requests[0], "/version");
    assert!(requests[1..].iter().all(|request| request.starts_with("/v1.41/")), "{requests:?}");
    assert!(requests[1].starts_with("/v1.41/events"), "subscribed before listing: {requests:?}");
    assert!(!requests[1].contains("event%22"), "filtered by type only: {requests:?}");
}

#[tokio::test]
async fn one_odd_container_does_not_blind_us() {
    let engine = Engine::start(vec![
        container("a", "running"),
        container("b", "initialized"),
        container("c", "exited"),
    ]);
    let mut running = run(&engine.socket);
    let update = running.until(&["a", "-c"], None).await;
    let text = update.problems.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n");
    assert!(text.contains("state `paused`") && text.contains("unknown variant `initialized`"), "{text}");
}

#[tokio::test]
async fn nonsense_keeps_the_last_routes_and_says_what_was_not_understood() {
    let engine = Engine::start(vec![container("a", "running")]);
    let mut running = run(&engine.socket);
    running.until(&["a"], None).await;
    engine.heard().await;
    engine.set(|script| script.list = Answer::Text("{\"what\": \"is this\"}"));
    engine.event("rename", "a");
    let update = running.until(&["a"], Some("is not understood")).await;
    assert!(update.problems[0].message.contains("the last known routes stay"), "{:?}", update.problems);
    engine.set(|script| script.list = Answer::Text("<html>"));
    engine.set(|script| {
        script.list = Answer::Sound;
        script.containers.push(container("b", "running"));
    });
    running.until(&["a", "b"], None).await;
}

#[tokio::test]
async fn nonsense_on_the_event_stream_costs_a_reconnect_and_nothing_else() {
    let engine = Engine::start(vec![container("a", "running")]);
    let mut running = run(&engine.socket);
    running.until(&["a"], None).await;
    for nonsense in ["]]\n", "{\"Type\": 7}\n", "{\"Type\": \"container\", \"Act"] {
        engine.heard().await;
        engine.tell(Feed::Text(nonsense.to_owned()));
        engine.tell(Feed::Cut);
        wait_for(|| engine.feed.receiver_count() == 0).await;
    }
    engine.heard().await;
    engine.set(|script| script.containers.push(container("b", "running")));
    engine.event("start", "b");
    let update = running.until(&["a", "b"], None).await;
    assert_eq!(update.problems, []);
}

#[tokio::test]
async fn what_happened_while_the_stream_was_cut_is_seen_after_it() {
    let engine = Engine::start(vec![container("a", "running")]);
    let mut running = run(&engine.socket);
    running.until(&["a"], None).await;
    engine.heard().await;
    engine.set(|script| script.containers = vec![container("b", "running")]);
    engine.tell(Feed::Cut);
    running.until(&["b"], None).await;
}

#[tokio::test]
async fn an_engine_that_stalls_is_survived() {
    let engine = Engine::start(vec![container("a", "running")]);
    let mut running = run(&engine.socket);
    running.until(&["a"], None).await;
    engine.heard().await;
    engine.set(|script| script.list = Answer::Stall);
    engine.event("rename", "a");
    running.until(&["a"], Some("did not answer in time")).await;
    // Deaths count even then.
    engine.event("die", "a");
    running.until(&["-a"], Some("did not answer in time")).await;
    engine.set(|script| {
        script.list = Answer::Sound;
        script.containers = vec![container("a", "exited"), container("b", "running")];
    });
    running.until(&["-a", "b"], None).await;
}

#[tokio::test]
async fn an_engine_that_stalls_from_the_start_is_told_and_awaited() {
    let engine = Engine::start(vec![container("a", "running")]);
    engine.set(|script| script.version = Answer::Stall);
    let mut running = run(&engine.socket);
    running.until(&[], Some("did not answer in time")).await;
    engine.set(|script| script.version = Answer::Sound);
    running.until(&["a"], None).await;
}

#[tokio::test]
async fn a_killed_engine_clears_nothing_and_its_stale_socket_is_explained() {
    let mut engine = Engine::start(vec![container("a", "running")]);
    let mut running = run(&engine.socket);
    running.until(&["a"], None).await;
    engine.heard().await;
    engine.kill();
    let update = running.until(&["a"], Some("is there and nobody answers")).await;
    assert!(update.problems[0].to_string().contains("stale bind mount"), "{:?}", update.problems);
    engine.set(|script| script.containers.push(container("b", "running")));
    engine.listen();
    running.until(&["a", "b"], None).await;
}

#[tokio::test]
async fn a_socket_that_is_not_there_is_told_and_awaited() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("docker.sock");
    let mut running = run(&path);
    running.until(&[], Some("does not exist")).await;
    let mut engine = Engine::start(vec![container("a", "running")]);
    engine.socket = path;
    engine.listen();
    running.until(&["a"], None).await;
}

#[tokio::test]
async fn a_filter_that_refuses_version_and_events_costs_speed_alone() {
    let engine = Engine::start(vec![container("a", "running")]);
    engine.set(|script| {
        script.version = Answer::Page(403);
        script.events = Answer::Page(403);
    });
    let mut running = run(&engine.socket);
    let update = running.until(&["a"], None).await;
    let update = if update.problems.is_empty() { running.until(&["a"], None).await } else { update };
    assert!(update.problems[0].to_string().contains("EVENTS=1"), "{:?}", update.problems);
    assert!(!update.problems[0].to_string().contains("html"), "{:?}", update.problems);
    engine.set(|script| script.containers.push(container("b", "running")));
    running.until(&["a", "b"], None).await;
}

#[tokio::test]
async fn a_filter_that_refuses_the_list_is_explained() {
    let engine = Engine::start(vec![container("a", "running")]);
    engine.set(|script| script.list = Answer::Page(403));
    let update = provider(&engine.socket).load().await;
    assert!(
        matches!(&update.freshness, Freshness::Stale(reason) if reason.contains("refuses the call (403)"))
    );
    assert!(update.problems[0].to_string().contains("CONTAINERS=1"), "{:?}", update.problems);
}

#[tokio::test]
async fn a_reload_is_acknowledged_after_its_update_even_while_the_engine_is_away() {
    let mut engine = Engine::start(vec![container("a", "running")]);
    let mut running = run(&engine.socket);
    running.until(&["a"], None).await;
    let (sender, done) = oneshot::channel();
    running.reloads.send(sender).await.unwrap();
    timeout(Duration::from_secs(20), done).await.unwrap().unwrap();
    assert_eq!(routers(&running.updates.try_recv().unwrap()), ["a"]);
    engine.heard().await;
    engine.kill();
    running.until(&["a"], Some("nobody answers")).await;
    let (sender, done) = oneshot::channel();
    running.reloads.send(sender).await.unwrap();
    timeout(Duration::from_secs(20), done).await.unwrap().unwrap();
    assert_eq!(routers(&running.updates.try_recv().unwrap()), ["a"]);
}

#[tokio::test]
async fn the_provider_ends_when_nobody_listens() {
    let engine = Engine::start(vec![container("a", "running")]);
    let (sender, mut updates) = mpsc::channel(4);
    let (_reloads, receiver) = mpsc::channel(4);
    let task = tokio::spawn(
        Box::new(provider(&engine.socket)).run(ProviderChannels { updates: sender, reloads: receiver }),
    );
    updates.recv().await.unwrap();
    drop(updates);
    timeout(Duration::from_secs(20), task).await.unwrap().unwrap();
}
