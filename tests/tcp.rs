//! TCP routers on the wire, in front of real databases and of servers that say who they are.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tests::client::{Address, RawClient, ask_for, get};
use tests::database::{Postgres, Redis, query, redis};
use tests::eventually;
use tests::in_process::TestGateway;
use tests::origin::Origin;
use tests::tls::{Authority, Client, ClientPlan, Pair};
use tests::wait::holds;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

const LIMIT: Duration = Duration::from_secs(60);

/// A server that says its name first and then repeats what it hears, in capitals, to the client's end.
struct Speaker {
    address: SocketAddr,
    task: JoinHandle<()>,
}

impl Speaker {
    async fn start(name: &str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("loopback has a free port");
        let address = listener.local_addr().expect("a bound socket has an address");
        let banner: Arc<str> = format!("{name}\n").into();
        let task = tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                let banner = Arc::clone(&banner);
                tokio::spawn(async move {
                    let mut heard = [0; 1024];
                    stream.write_all(banner.as_bytes()).await?;
                    loop {
                        match stream.read(&mut heard).await? {
                            0 => return stream.write_all(b"bye\n").await,
                            length => stream.write_all(&heard[..length].to_ascii_uppercase()).await?,
                        }
                    }
                });
            }
        });
        Self { address, task }
    }
}

impl Drop for Speaker {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// The first line that comes from a connection; empty when it is closed before.
async fn first_line(stream: &mut (impl tokio::io::AsyncRead + Unpin)) -> String {
    let mut line = Vec::new();
    let read = async {
        loop {
            match stream.read_u8().await {
                Ok(b'\n') | Err(_) => return,
                Ok(byte) => line.push(byte),
            }
        }
    };
    tokio::time::timeout(LIMIT, read).await.expect("it speaks or closes in time");
    String::from_utf8(line).expect("the server speaks UTF-8")
}

async fn speaks(address: SocketAddr) -> String {
    first_line(&mut TcpStream::connect(address).await.expect("it listens")).await
}

/// One router and its service, in YAML's flow form.
fn tcp(routers: &str, services: &str) -> String {
    format!("tcp:\n  routers: {{{routers}}}\n  services: {{{services}}}\n")
}

fn certificates(pair: &Pair) -> String {
    let (chain, key) = (serde_json::json!(pair.chain_pem), serde_json::json!(pair.key_pem));
    format!("tls: {{certificates: [{{certFile: {chain}, keyFile: {key}}}]}}\n")
}

fn servers(addresses: &[SocketAddr]) -> String {
    let servers: Vec<_> = addresses.iter().map(|address| format!("{{address: '{address}'}}")).collect();
    format!("loadBalancer: {{servers: [{}]}}", servers.join(", "))
}

#[tokio::test]
async fn postgresql_is_served_with_tls_that_ends_here_or_at_the_server() {
    let (ours, theirs) = (Authority::new("ours"), Authority::new("theirs"));
    let server = Postgres::start(&theirs.server(&["through.test"])).await;
    let routes = tcp(
        "ends: {rule: 'HostSNI(`ends.test`)', service: pg, tls: {}},
         through: {rule: 'HostSNI(`through.test`)', service: pg, tls: {passthrough: true}}",
        &format!("pg: {{{}}}", servers(&[server.address()])),
    );
    let gateway =
        TestGateway::start(&format!("{routes}{}", certificates(&ours.server(&["ends.test"]))), &[]).await;
    let folder = tempfile::tempdir().unwrap();
    let roots = [("ours", ours.pem()), ("theirs", theirs.pem())].map(|(name, pem)| {
        let path = folder.path().join(name);
        std::fs::write(&path, pem).unwrap();
        path
    });
    let sql = "select 40 + 2, ssl from pg_stat_ssl where pid = pg_backend_pid()";
    let ask = |host: &'static str, root: &std::path::Path| {
        let options = format!("host={host} sslmode=verify-full sslrootcert={}", root.display());
        let web = gateway.web();
        async move { query(web, &options, sql).await }
    };
    assert_eq!(ask("ends.test", &roots[0]).await.as_deref(), Ok("42|f"), "TLS ends here");
    assert_eq!(ask("through.test", &roots[1]).await.as_deref(), Ok("42|t"), "TLS ends at the server");
    let refused = ask("through.test", &roots[0]).await.unwrap_err();
    assert!(refused.contains("certificate verify failed"), "{refused}");
    let refused = ask("nobody.test", &roots[0]).await.unwrap_err();
    assert!(refused.contains("unrecognized name"), "{refused}");
    // Many at once, with answers of some size.
    let rows = "select sum(length(md5(i::text))) from generate_series(1, 20000) i; \
                select repeat('x', 300000)";
    let options = format!("host=ends.test sslmode=verify-full sslrootcert={}", roots[0].display());
    let web = gateway.web();
    let asked = (0..4).map(|_| query(web, &options, rows));
    for answer in futures_util::future::join_all(asked).await {
        assert_eq!(answer.map(|answer| answer.len()), Ok("640000\n".len() + 300_000));
    }
}

#[tokio::test]
async fn redis_is_served_plain_with_tls_that_ends_here_passed_through_and_towards_it() {
    let (ours, theirs) = (Authority::new("ours"), Authority::new("theirs"));
    let server = Redis::start(&theirs.server(&["through.test"])).await;
    let (plain, tls) = (server.plain(), server.tls());
    let root = serde_json::json!(theirs.pem());
    let routes = tcp(
        "ends: {rule: 'HostSNI(`ends.test`)', service: plain, tls: {}},
         through: {rule: 'HostSNI(`through.test`)', service: tls, tls: {passthrough: true}},
         again: {rule: 'HostSNI(`again.test`)', service: again, tls: {}},
         wrong: {rule: 'HostSNI(`wrong.test`)', service: wrong, tls: {}},
         plain: {rule: 'HostSNI(`*`)', service: plain}",
        &format!(
            "plain: {{{}}}, tls: {{{}}},
             again: {{loadBalancer: {{servers: [{{address: '{tls}', tls: true}}], serversTransport: theirs}}}},
             wrong: {{loadBalancer: {{servers: [{{address: '{tls}', tls: true}}]}}}}",
            servers(&[plain]),
            servers(&[tls])
        ),
    );
    let routes = format!(
        "{routes}  serversTransports: {{theirs: {{tls: {{serverName: through.test, rootCAs: [{root}]}}}}}}\n{}",
        certificates(&ours.server(&["ends.test", "again.test", "wrong.test"]))
    );
    let gateway = TestGateway::start(&routes, &[]).await;
    let folder = tempfile::tempdir().unwrap();
    let ask = |name: &'static str, root: &Authority| {
        let path = folder.path().join(name);
        std::fs::write(&path, root.pem()).unwrap();
        let web = gateway.web();
        async move {
            let path = path.to_str().unwrap();
            redis(web, &["--tls", "--sni", name, "--cacert", path, "incr", "counter"]).await
        }
    };
    assert_eq!(redis(gateway.web(), &["incr", "counter"]).await.as_deref(), Ok("1"));
    assert_eq!(ask("ends.test", &ours).await.as_deref(), Ok("2"));
    assert_eq!(ask("through.test", &theirs).await.as_deref(), Ok("3"));
    assert_eq!(ask("again.test", &ours).await.as_deref(), Ok("4"), "TLS ends here and begins anew");
    let refused = ask("wrong.test", &ours).await;
    assert_ne!(refused.as_deref(), Ok("5"), "a server that is not trusted is not spoken to");
    assert_eq!(redis(gateway.web(), &["get", "counter"]).await.as_deref(), Ok("4"));
}

#[tokio::test]
async fn one_port_serves_http_https_and_every_kind_of_tcp() {
    let authority = Authority::new("tests");
    let origin = Origin::start("page").await;
    let (inner, behind) = (Speaker::start("inner").await, Speaker::start("catch-all").await);
    // A gateway of its own is the server that TLS is passed through to.
    let passed = TestGateway::start(
        &format!(
            "{}{}",
            tcp(
                "r: {rule: 'HostSNI(`*`)', service: s, tls: {}}",
                &format!("s: {{{}}}", servers(&[inner.address]))
            ),
            certificates(&authority.server(&["pass.test"]))
        ),
        &[],
    )
    .await;
    let http = format!(
        "http:
  routers:
    page: {{rule: 'Host(`page.test`)', service: page, tls: {{}}}}
    plain: {{rule: 'Host(`page.test`)', service: page}}
  services: {{page: {{loadBalancer: {{servers: [{{url: '{}'}}]}}}}}}\n",
        origin.url()
    );
    let tls = "pass: {rule: 'HostSNI(`pass.test`)', service: passed, tls: {passthrough: true}},
         lost: {rule: 'HostSNI(`page.test`)', service: catch, tls: {passthrough: true}},
         catch: {rule: 'HostSNI(`*`)', service: catch, tls: {}}";
    let services =
        format!("passed: {{{}}}, catch: {{{}}}", servers(&[passed.web()]), servers(&[behind.address]));
    let pair = certificates(&authority.server(&["page.test", "other.test"]));
    let gateway = TestGateway::start(&format!("{http}{}{pair}", tcp(tls, &services)), &[]).await;
    let client = ClientPlan::new(&authority).build();
    let over_tls = |client: Client, name: &'static str| {
        let web = gateway.web();
        async move {
            let connection = client.connect(web, name).await.unwrap_or_else(|refused| panic!("{refused:?}"));
            first_line(&mut connection.stream()).await
        }
    };
    let page = |web: SocketAddr| async move { ask_for(web, "page.test", "/").await };
    assert_eq!(page(gateway.web()).await.unwrap().status, 200);
    let asked = client.ask(gateway.web(), get("page.test", "/")).await.unwrap();
    assert_eq!(asked.status, 200, "an HTTPS router with a host is asked before TCP routers");
    assert_eq!(over_tls(client.clone(), "pass.test").await, "inner");
    assert_eq!(over_tls(client.clone(), "other.test").await, "catch-all");
    // With a plain router for everything, HTTP in plain text is its own too; TLS is as before.
    let tls_and_plain = format!("{tls}, plain: {{rule: 'HostSNI(`*`)', service: catch}}");
    gateway.say(&format!("{http}{}{pair}", tcp(&tls_and_plain, &services))).await;
    let mut raw = RawClient::connect(gateway.web()).await;
    raw.send("get / http/1.1\n").await;
    assert_eq!(raw.read_exactly(25).await.unwrap(), b"catch-all\nGET / HTTP/1.1\n");
    assert_eq!(client.ask(gateway.web(), get("page.test", "/")).await.unwrap().status, 200);
    assert_eq!(over_tls(client.clone(), "pass.test").await, "inner");
    // An HTTPS router without a host is asked after the TCP routers with names, and before the one for everything.
    let any = http.replace("Host(`page.test`)', service: page, tls", "PathPrefix(`/`)', service: page, tls");
    gateway.say(&format!("{any}{}{pair}", tcp(tls, &services))).await;
    assert_eq!(client.ask(gateway.web(), get("other.test", "/")).await.unwrap().status, 200);
    assert_eq!(over_tls(client, "pass.test").await, "inner");
}

#[tokio::test]
async fn a_server_that_speaks_first_is_heard_and_halves_close_one_by_one() {
    let server = Speaker::start("smtp").await;
    let routes = |delay: &str| {
        format!(
            "{}  serversTransports: {{t: {{terminationDelay: {delay}}}}}\n",
            tcp(
                "r: {rule: 'HostSNI(`*`)', service: s}",
                &format!(
                    "s: {{loadBalancer: {{servers: [{{address: '{}'}}], serversTransport: t}}}}",
                    server.address
                )
            )
        )
    };
    let gateway = TestGateway::start(&routes("10s"), &[]).await;
    let mut client = TcpStream::connect(gateway.web()).await.unwrap();
    assert_eq!(first_line(&mut client).await, "smtp");
    client.write_all(b"helo\n").await.unwrap();
    assert_eq!(first_line(&mut client).await, "HELO");
    client.shutdown().await.unwrap();
    assert_eq!(first_line(&mut client).await, "bye", "the server's half is open still");
    assert_eq!(first_line(&mut client).await, "");
    // Draining cuts what does not end by itself.
    let mut client = TcpStream::connect(gateway.web()).await.unwrap();
    assert_eq!(first_line(&mut client).await, "smtp");
    let metrics = ask_for(gateway.admin(), "localhost", "/metrics").await.unwrap().text();
    for line in [
        r#"hearthgate_tcp_connections_total{entrypoint="web",router="r@test",result="served"} 2"#,
        r#"hearthgate_open_tcp_connections{entrypoint="web",router="r@test"} 1"#,
    ] {
        assert!(metrics.contains(line), "{line} in {metrics}");
    }
}

#[tokio::test]
async fn weights_are_exact_and_a_server_that_is_away_costs_no_connection() {
    let (one, three) = (Speaker::start("one").await, Speaker::start("three").await);
    let away = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let gateway = TestGateway::start(
        &tcp(
            "r: {rule: 'HostSNI(`*`)', service: w}",
            &format!(
                "w: {{weighted: {{services: [{{name: one, weight: 1}}, {{name: three, weight: 3}}]}}}},
                 one: {{{}}}, three: {{{}}}",
                servers(&[one.address]),
                servers(&[three.address])
            ),
        ),
        &[],
    )
    .await;
    for _ in 0..3 {
        let mut seen = Vec::new();
        for _ in 0..4 {
            seen.push(speaks(gateway.web()).await);
        }
        seen.sort_unstable();
        assert_eq!(seen, ["one", "three", "three", "three"]);
    }
    gateway
        .say(&tcp(
            "r: {rule: 'HostSNI(`*`)', service: s}",
            &format!("s: {{{}}}", servers(&[away, one.address])),
        ))
        .await;
    for _ in 0..4 {
        assert_eq!(speaks(gateway.web()).await, "one");
    }
    gateway.say(&tcp("r: {rule: 'HostSNI(`*`)', service: s}", &format!("s: {{{}}}", servers(&[away])))).await;
    assert_eq!(speaks(gateway.web()).await, "");
    let metrics = ask_for(gateway.admin(), "localhost", "/metrics").await.unwrap().text();
    let line = r#"router="r@test",result="unreachable"} 1"#;
    assert!(metrics.contains(line), "{metrics}");
}

#[tokio::test]
async fn servers_learn_of_the_client_by_proxy_protocol() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let routes = |version| {
        format!(
            "{}  serversTransports: {{t: {{proxyProtocol: {{version: {version}}}}}}}\n",
            tcp(
                "r: {rule: 'HostSNI(`*`)', service: s}",
                &format!("s: {{loadBalancer: {{servers: [{{address: '{address}'}}], serversTransport: t}}}}")
            )
        )
    };
    let gateway = TestGateway::start(&routes(1), &[]).await;
    let heard = |length: usize| {
        let listener = &listener;
        async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut heard = vec![0; length];
            stream.read_exact(&mut heard).await.unwrap();
            heard
        }
    };
    let mut client = TcpStream::connect(gateway.web()).await.unwrap();
    client.write_all(b"hello").await.unwrap();
    let (ours, theirs) = (client.local_addr().unwrap().port(), gateway.web().port());
    let line = format!("PROXY TCP4 127.0.0.1 127.0.0.1 {ours} {theirs}\r\nhello");
    assert_eq!(String::from_utf8(heard(line.len()).await).unwrap(), line);
    gateway.say(&routes(2)).await;
    let mut client = TcpStream::connect(gateway.web()).await.unwrap();
    client.write_all(b"hello").await.unwrap();
    let mut block = b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c\x7f\0\0\x01\x7f\0\0\x01".to_vec();
    block.extend(client.local_addr().unwrap().port().to_be_bytes());
    block.extend(theirs.to_be_bytes());
    block.extend(b"hello");
    assert_eq!(heard(block.len()).await, block);
}

#[tokio::test]
async fn the_client_that_a_trusted_load_balancer_names_is_the_one_that_the_server_hears_of() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let gateway = TestGateway::start(
        &format!(
            "{}  serversTransports: {{t: {{proxyProtocol: {{version: 2}}}}}}\n",
            tcp(
                "r: {rule: 'HostSNI(`*`) && ClientIP(`192.0.2.0/24`)', service: s}",
                &format!("s: {{loadBalancer: {{servers: [{{address: '{address}'}}], serversTransport: t}}}}")
            )
        ),
        &["--entryPoints.web.proxyProtocol.trustedIPs=127.0.0.1"],
    )
    .await;
    // A block of version 2 and the first word behind it: 192.0.2.7:4711 came to this address and port.
    let block = |address: [u8; 4], port: u16| {
        let (signature, client) = (b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c", [192, 0, 2, 7]);
        let ports = [4711_u16.to_be_bytes(), port.to_be_bytes()].concat();
        [&signature[..], &client, &address, &ports, b"hello"].concat()
    };
    let said = block([198, 51, 100, 1], 443);
    let mut client = TcpStream::connect(gateway.web()).await.unwrap();
    client.write_all(&said).await.unwrap();
    let mut heard = vec![0; said.len()];
    let (mut server, _) = tokio::time::timeout(LIMIT, listener.accept()).await.unwrap().unwrap();
    tokio::time::timeout(LIMIT, server.read_exact(&mut heard)).await.unwrap().unwrap();
    assert_eq!(heard, block([127, 0, 0, 1], gateway.web().port()));
}

#[tokio::test]
async fn middlewares_say_who_may_pass_and_how_often_at_a_time() {
    let server = Speaker::start("in").await;
    let routes = |middlewares: &str, names: &str| {
        format!(
            "{}  middlewares: {{{middlewares}}}\n",
            tcp(
                &format!("r: {{rule: 'HostSNI(`*`)', service: s, middlewares: [{names}]}}"),
                &format!("s: {{{}}}", servers(&[server.address]))
            )
        )
    };
    let known = "lan: {ipAllowList: {sourceRange: ['127.0.0.0/8']}},
                 far: {ipAllowList: {sourceRange: ['192.0.2.0/24']}}, few: {inFlightConn: {amount: 2}}";
    let gateway = TestGateway::start(&routes(known, "far"), &[]).await;
    assert_eq!(speaks(gateway.web()).await, "");
    gateway.say(&routes(known, "lan, few")).await;
    let mut open = Vec::new();
    for _ in 0..2 {
        let mut client = TcpStream::connect(gateway.web()).await.unwrap();
        assert_eq!(first_line(&mut client).await, "in");
        open.push(client);
    }
    assert_eq!(speaks(gateway.web()).await, "", "the third at a time");
    open.pop();
    eventually("there is room again", LIMIT, || async {
        let line = speaks(gateway.web()).await;
        holds(line == "in", line)
    })
    .await;
    gateway.say(&routes(known, "lan, missing")).await;
    assert_eq!(speaks(gateway.web()).await, "", "never unprotected");
}

#[tokio::test]
async fn a_server_that_fails_its_health_check_gets_no_connections_until_it_is_back() {
    let (well, ill) = (Speaker::start("well").await, Speaker::start("ill").await);
    let ill_address = ill.address;
    let gateway = TestGateway::start(
        &tcp(
            "r: {rule: 'HostSNI(`*`)', service: s}",
            &format!(
                "s: {{loadBalancer: {{servers: [{{address: '{}'}}, {{address: '{ill_address}'}}],
                  healthCheck: {{expect: \"well\", interval: 30ms, unhealthyInterval: 30ms, timeout: 5s}}}}}}",
                well.address
            ),
        ),
        &[],
    )
    .await;
    let api = gateway.admin();
    let status = |api: Address| async move {
        let service = ask_for(api, "localhost", "/api/tcp/services/s@test").await?.json();
        Ok::<_, String>(service["serverStatus"].clone())
    };
    eventually("the one that answers wrong is down", LIMIT, || async {
        let status = status(api.clone()).await?;
        let down = status[ill_address.to_string()] == "DOWN" && status[well.address.to_string()] == "UP";
        holds(down, status)
    })
    .await;
    for _ in 0..4 {
        assert_eq!(speaks(gateway.web()).await, "well");
    }
}
