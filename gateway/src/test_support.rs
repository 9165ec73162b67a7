//! Values for unit tests.

use std::time::Duration;

use config::install::{
    Admin, ClientIp, ClientIpMode, EntryPoint, EntryPointHttp, Install, Limits, ListenAddress, Log, Metrics,
    Providers, Transport, UnderscoreHeaders,
};

/// An install configuration with these entry points on free ports of 127.0.0.1, no provider, and nothing written to
/// disk outside `state_dir`.
pub(crate) fn install(entry_points: &[&str], state_dir: &std::path::Path) -> Install {
    let local = ListenAddress::Address(([127, 0, 0, 1], 0).into());
    Install {
        entry_points: entry_points.iter().map(|name| entry_point(name, local.clone())).collect(),
        providers: Providers { throttle: Duration::from_millis(100), ..Providers::default() },
        admin: Admin {
            address: local,
            address_was_set: false,
            token: None,
            allowed_hosts: vec!["localhost".to_owned()],
        },
        api: None,
        ping: None,
        metrics: Metrics::default(),
        access_log: None,
        log: Log { level: "error".to_owned(), json: false, file_path: None, no_color: true },
        certificate_resolvers: Vec::new(),
        state_dir: state_dir.to_path_buf(),
        user: None,
        file: None,
        is_default: false,
    }
}

fn entry_point(name: &str, address: ListenAddress) -> EntryPoint {
    EntryPoint {
        name: name.into(),
        address,
        fallback_port: None,
        is_default: true,
        client_ip: ClientIp {
            mode: ClientIpMode::Peer,
            trusted: Vec::new(),
            trust_everyone: false,
            append_forwarded_for: false,
        },
        limits: Limits {
            head_timeout: Some(Duration::from_secs(10)),
            head_bytes: Some(32 * 1024),
            requests_per_connection: Some(1000),
        },
        h2c: true,
        max_concurrent_streams: 250,
        transport: Transport {
            read_idle: Some(Duration::from_secs(60)),
            write_idle: Some(Duration::from_secs(60)),
            keep_alive: Some(Duration::from_secs(120)),
            accept_grace: Duration::ZERO,
            grace: Duration::from_secs(9),
        },
        http: EntryPointHttp {
            middlewares: Vec::new(),
            tls: None,
            sanitize_path: true,
            encode_query_semicolons: false,
            refused_encoded_characters: Vec::new(),
            underscore_headers: UnderscoreHeaders::Delete,
        },
        observability: config::routing::Observability::default(),
        reuse_port: false,
    }
}
