//! A keep-alive request through the gateway and back over loopback, next to the same request without the gateway: the
//! difference is what a client waits longer.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::PathBuf;

use config::install::load::{Disk, load};
use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use gateway::app::{BoundAddress, Environment, Gateway, RunningGateway};

/// Bytes of an answer's body.
const BODY: usize = 1024;

const REQUEST: &[u8] = b"GET /page HTTP/1.1\r\nHost: bench.test\r\nUser-Agent: bench\r\nAccept: */*\r\n\r\n";

/// Answers every head with the same bytes, on a thread for each connection.
fn origin() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").expect("loopback has a free port");
    let address = listener.local_addr().expect("a bound socket has an address");
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            std::thread::spawn(move || answer_all(stream));
        }
    });
    address
}

fn answer_all(mut stream: TcpStream) {
    let mut answer = format!("HTTP/1.1 200 OK\r\nContent-Length: {BODY}\r\n\r\n").into_bytes();
    answer.resize(answer.len() + BODY, b'x');
    let _ = stream.set_nodelay(true);
    let mut read = Vec::new();
    let mut piece = [0; 4096];
    while let Ok(count) = stream.read(&mut piece) {
        read.extend_from_slice(&piece[..count]);
        let end = read.windows(4).position(|window| window == b"\r\n\r\n");
        match end {
            Some(end) => drop(read.drain(..end + 4)),
            None if count == 0 => return,
            None => continue,
        }
        if stream.write_all(&answer).is_err() {
            return;
        }
    }
}

/// A gateway in this process with one route, and the folder of its files.
fn gateway(origin: SocketAddr) -> (RunningGateway, SocketAddr, PathBuf) {
    let folder = std::env::temp_dir().join(format!("hearthgate-bench-{}", std::process::id()));
    std::fs::create_dir_all(&folder).expect("there is a temporary folder");
    let routes = folder.join("routes.yml");
    let text = format!(
        "http:
  routers:
    bench: {{ rule: Host(`bench.test`), service: bench }}
  services:
    bench: {{ loadBalancer: {{ servers: [ {{ url: 'http://{origin}' }} ] }} }}
"
    );
    std::fs::write(&routes, text).expect("the folder can be written to");
    let arguments = [
        "--entryPoints.web.address=127.0.0.1:0".to_owned(),
        "--entryPoints.web.limits.requestsPerConnection=0".to_owned(),
        format!("--admin.address=unix:{}", folder.join("admin.sock").display()),
        format!("--stateDir={}", folder.display()),
        format!("--providers.file.filename={}", routes.display()),
    ];
    let loaded = load(&arguments, [], &Disk).expect("the arguments are right");
    let running =
        Gateway::start(loaded.install, loaded.problems, Environment::default()).expect("it can listen");
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_time().build().expect("a runtime of one thread");
    assert!(runtime.block_on(running.ready()));
    let Some(BoundAddress::Tcp(address)) = running.address("web") else { panic!("web is a TCP listener") };
    let address = *address;
    (running, address, folder)
}

/// One request and its whole answer.
fn round_trip(stream: &mut TcpStream, buffer: &mut [u8]) -> usize {
    stream.write_all(REQUEST).expect("the connection is open");
    let mut read = 0;
    loop {
        let count = stream.read(&mut buffer[read..]).expect("the connection is open");
        assert!(count > 0, "the connection ended");
        read += count;
        if let Some(end) = buffer[..read].windows(4).position(|window| window == b"\r\n\r\n")
            && read >= end + 4 + BODY
        {
            return read;
        }
    }
}

fn benches(criterion: &mut Criterion) {
    let origin = origin();
    let (running, gateway, folder) = gateway(origin);
    let mut group = criterion.benchmark_group("round_trip");
    group.throughput(Throughput::Elements(1));
    for (name, address) in [("without", origin), ("gateway", gateway)] {
        let mut stream = TcpStream::connect(address).expect("it listens");
        stream.set_nodelay(true).expect("a TCP socket");
        let mut buffer = vec![0; 16 * 1024];
        group.bench_function(name, |bencher| bencher.iter(|| round_trip(&mut stream, &mut buffer)));
    }
    group.finish();
    drop(running);
    // What is left behind is a few files in a temporary folder.
    let _ = std::fs::remove_dir_all(folder);
}

criterion_group!(round_trips, benches);
criterion_main!(round_trips);
