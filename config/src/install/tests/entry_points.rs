//! What entry points serve beyond plain HTTP: the PROXY protocol, UDP, redirections; and the transports.

use super::*;

fn entry_points(text: &str) -> Given {
    yml(&format!("entryPoints:\n{text}"))
}

#[test]
fn the_proxy_protocol_is_taken_from_those_that_are_named() {
    let client_ip = |text: &str| {
        let loaded = entry_points(&format!("  web: {{address: ':80', {text}}}")).load().unwrap();
        let ClientIp { mode, trusted, trust_everyone, .. } = &loaded.install.entry_points[0].client_ip;
        let problems: Vec<_> = loaded.problems.iter().map(|problem| &*problem.message).collect();
        format!("{mode:?} {trusted:?} {trust_everyone} {}", problems.join("; "))
    };
    for (text, expected) in [
        ("proxyProtocol: {trustedIPs: [10.0.0.0/8]}", "ProxyProtocol [Range(10.0.0.0/8)] false "),
        (
            "clientIP: {mode: proxyProtocol, trustedIPs: [haproxy]}",
            "ProxyProtocol [Host(\"haproxy\")] false ",
        ),
        (
            "proxyProtocol: {insecure: true}",
            "ProxyProtocol [] true whoever reaches this entry point can claim any client address",
        ),
        (
            "proxyProtocol: {}",
            "ProxyProtocol [] false nobody is trusted: a connection that opens with the PROXY protocol is refused",
        ),
        (
            "clientIP: proxyProtocol",
            "ProxyProtocol [] false nobody is trusted: a connection that opens with the PROXY protocol is refused",
        ),
        (
            "proxyProtocol: {trustedIPs: [10.0.0.1]}, forwardedHeaders: {trustedIPs: [10.0.0.1]}",
            "ProxyProtocol [Range(10.0.0.1/32)] false has no effect beside `proxyProtocol`: the client is the one that it names",
        ),
        (
            "proxyProtocol: {trustedIPs: [10.0.0.1]}, clientIP: peer",
            "Peer [] false has no effect beside `clientIP`",
        ),
    ] {
        assert_eq!(client_ip(text), expected, "{text}");
    }
}

#[test]
fn tcp_and_udp_may_have_one_number() {
    let given = || {
        entry_points(
            "  dns: {address: ':53'}\n  dns-udp: {address: ':53/udp', asDefault: true, http: {tls: {}}, udp: {timeout: 10s}}\n  other: {address: '127.0.0.1:54/udp'}\n  web: {address: ':80', udp: {timeout: 1s}}",
        )
    };
    let install = given().install();
    let seen: Vec<_> = install
        .entry_points
        .iter()
        .map(|entry_point| {
            let timeout = entry_point.udp.as_ref().map(|udp| udp.timeout.as_secs());
            (entry_point.name.as_str(), timeout, entry_point.is_default)
        })
        .collect();
    assert_eq!(
        seen,
        [("dns", None, true), ("dns-udp", Some(10), false), ("other", Some(3), false), ("web", None, true)]
    );
    insta::assert_snapshot!(given().problems(), @r"
    hearthgate.yml:3:44: warning: option `entryPoints.dns-udp.asDefault`: has no effect: the address is for UDP; remove it
    hearthgate.yml:3:56: warning: option `entryPoints.dns-udp.http`: has no effect: the address is for UDP; remove it
    hearthgate.yml:5:40: warning: option `entryPoints.web.udp.timeout`: has no effect: the address is not for UDP; write the address as `:53/udp`
    ");
    let wrong = entry_points(
        "  a: {address: ':53/udp'}\n  b: {address: ':53/udp'}\n  c: {address: ':54/udp', udp: {timeout: 0}}",
    );
    insta::assert_snapshot!(wrong.refusal(), @r"
    hearthgate.yml:3:16: error: option `entryPoints.b.address`: entry point `a` listens on the same address; give each an address of its own
    hearthgate.yml:4:42: error: option `entryPoints.c.udp.timeout`: a flow that is never idle never ends; write a time above zero, as in `3s`
    ");
}

#[test]
fn an_entry_point_redirects_to_another_or_to_a_port() {
    let redirection = |text: &str| {
        let loaded = entry_points(&format!(
            "  websecure: {{address: ':8443'}}\n  socket: {{address: 'unix:/run/x'}}\n  udp: {{address: ':53/udp'}}\n  web: {{address: ':80', http: {{redirections: {{entryPoint: {{{text}}}}}}}}}"
        ))
        .load()
        .unwrap();
        let web = loaded.install.entry_points.into_iter().find(|known| known.name.as_str() == "web").unwrap();
        let shown = web.redirection.map_or_else(
            || "none".to_owned(),
            |redirection| {
                let Redirection { port, scheme, permanent, to, priority } = redirection;
                format!("{scheme} {to} {port:?} {permanent} {}", i64::MAX - priority)
            },
        );
        let problems: Vec<_> = loaded.problems.iter().map(|problem| &*problem.message).collect();
        format!("{shown}; {}", problems.join("; "))
    };
    for (text, expected) in [
        ("", "none; "),
        ("to: websecure", "https websecure Some(8443) true 1; "),
        ("to: ':443', permanent: false, scheme: HTTPS", "https :443 Some(443) false 1; "),
        ("to: socket", "https socket None true 1; "),
        ("to: websecure, priority: 10", "https websecure Some(8443) true 9223372036854775797; "),
        (
            "to: websecur",
            "none; 'to' entry point field references a non-existing entry point: websecur: nothing is redirected",
        ),
        (
            "to: udp",
            "none; 'to' entry point field references a non-existing entry point: udp: nothing is redirected",
        ),
        ("to: ':https'", "none; `:https` is no port: nothing is redirected"),
        ("to: websecure, scheme: ftp", "none; `ftp` is no scheme of web pages: nothing is redirected"),
        ("scheme: https", "none; names no target: nothing is redirected"),
    ] {
        assert_eq!(redirection(text), expected, "{text}");
    }
}

#[test]
fn servers_are_reached_as_the_install_configuration_says() {
    let plain = given().flag("--ping").install();
    assert_eq!((plain.servers_transport.max_idle, plain.servers_transport.dial_timeout.as_secs()), (None, 5));
    let install = yml(
        "serversTransport: {insecureSkipVerify: true, rootCAs: [/ca.pem], forwardingTimeouts: {dialTimeout: 2s, responseHeaderTimeout: 0, idleConnTimeout: 0}}\ntcpServersTransport: {dialKeepAlive: -1, dialTimeout: 1s, terminationDelay: 2, tls: {rootCAs: '/a.pem,/b.pem'}}\nping: {}",
    )
    .install();
    let http = install.servers_transport;
    assert_eq!((http.max_idle, http.dial_timeout.as_secs()), (Some(200), 2));
    assert_eq!((http.response_header_timeout, http.idle_timeout), (None, None));
    assert!(http.tls.skip_verify && http.tls.roots.len() == 1);
    let tcp = install.tcp_servers_transport;
    assert_eq!((tcp.keep_alive, tcp.dial_timeout.as_secs()), (None, 1));
    assert_eq!((tcp.termination_delay, tcp.tls.roots.len()), (Some(Duration::from_secs(2)), 2));
    let wrong = yml(
        "serversTransport: {insecureSkipVerify: true, spiffe: {ids: [a]}, forwardingTimeouts: {dialTimeout: 0}}\nping: {}\ntcpServersTransport: {tls: {spiffe: {}}}",
    );
    insta::assert_snapshot!(wrong.problems(), @r"
    hearthgate.yml:1:40: warning: option `serversTransport.insecureSkipVerify`: any certificate of any server is taken: whoever is in between can read and change all; name the roots of your servers in `rootCAs`
    hearthgate.yml:1:46: error: option `serversTransport.spiffe`: is not served; name the roots of servers in `rootCAs`
    hearthgate.yml:1:100: warning: option `serversTransport.forwardingTimeouts.dialTimeout`: every connect has a time limit: 5s holds; write how long it may take
    hearthgate.yml:3:29: error: option `tcpServersTransport.tls.spiffe`: is not served; name the roots of servers in `rootCAs`
    ");
}
