//! Hosts, paths and queries: tables of what is canonical and what is refused, and what holds for any bytes.

use proptest::prelude::*;

use super::*;

#[track_caller]
fn check_host(field: &str, expected: Result<(&str, &str, Option<u16>), HostRefusal>) {
    let found = host(field.as_bytes());
    let found = found.as_ref().map(|host| (host.name(), host.name_with_dot(), host.port()));
    assert_eq!(found, expected.as_ref().copied(), "{field}");
}

#[test]
fn a_host_is_lower_cased_and_loses_port_brackets_and_one_dot() {
    check_host("example.com", Ok(("example.com", "example.com", None)));
    check_host("EXAMPLE.com.", Ok(("example.com", "example.com.", None)));
    check_host(" a_b-c.test:8080\t", Ok(("a_b-c.test", "a_b-c.test", Some(8080))));
    check_host("a.:1", Ok(("a", "a.", Some(1))));
    check_host("127.0.0.1:65535", Ok(("127.0.0.1", "127.0.0.1", Some(65535))));
    check_host("[2001:DB8::1]:443", Ok(("2001:db8::1", "2001:db8::1", Some(443))));
    check_host("[::1]", Ok(("::1", "::1", None)));
    check_host(
        &format!("{}.test", "a".repeat(63)),
        Ok((&format!("{}.test", "a".repeat(63)), &format!("{}.test", "a".repeat(63)), None)),
    );
}

#[test]
fn a_host_that_no_name_has_is_refused() {
    for (field, refusal) in [
        ("", HostRefusal::Empty),
        (" ", HostRefusal::Empty),
        (".", HostRefusal::Empty),
        (":80", HostRefusal::Empty),
        ("example.test/../x", HostRefusal::Character),
        ("u@example.test", HostRefusal::Character),
        ("u:p@example.test", HostRefusal::Port),
        ("a, b", HostRefusal::Character),
        ("a%41", HostRefusal::Character),
        ("bücher.example", HostRefusal::Character),
        ("*.example.com", HostRefusal::Character),
        ("example.test:80x", HostRefusal::Port),
        ("example.test:", HostRefusal::Port),
        ("example.test:0", HostRefusal::Port),
        ("example.test:65536", HostRefusal::Port),
        ("example.test:000080", HostRefusal::Port),
        ("example.test:+80", HostRefusal::Port),
        ("a..b", HostRefusal::Label),
        (".a", HostRefusal::Label),
        ("a..", HostRefusal::Label),
        ("::1", HostRefusal::Port),
        ("[::1", HostRefusal::Ipv6),
        ("[::1]x", HostRefusal::Ipv6),
        ("[127.0.0.1]", HostRefusal::Ipv6),
        ("[fe80::1%25eth0]", HostRefusal::Ipv6),
        ("[]", HostRefusal::Ipv6),
    ] {
        check_host(field, Err(refusal));
    }
    check_host(&"a".repeat(64), Err(HostRefusal::Label));
    check_host(&"a.".repeat(150), Err(HostRefusal::TooLong));
}

#[track_caller]
fn check_path(raw: &str, forwarded: &str, routing: &str) {
    let found = path(raw.as_bytes(), PathOptions::default());
    let found = found.as_ref().map(|path| (path.forwarded(), path.routing()));
    assert_eq!(found, Ok((forwarded, routing)), "{raw}");
}

#[test]
fn a_path_has_one_form() {
    check_path("/", "/", "/");
    check_path("/a/b.html", "/a/b.html", "/a/b.html");
    check_path("/%61dmin/%2d%5F%7e", "/admin/-_~", "/admin/-_~");
    check_path("/a%2fb%3a%c3%a9", "/a%2Fb%3A%C3%A9", "/a%2Fb%3Aé");
    check_path("/foo%20bar", "/foo%20bar", "/foo bar");
    check_path("/100%25", "/100%25", "/100%25");
    check_path("/%2561", "/%2561", "/%2561");
    check_path("/a%5Cb", "/a%5Cb", "/a%5Cb");
    check_path("/caf%E9/%C3%A9", "/caf%E9/%C3%A9", "/caf%E9/é");
    check_path("/%7Bid%7D", "/%7Bid%7D", "/{id}");
    check_path("/{id}|\"<>^`", "/%7Bid%7D%7C%22%3C%3E%5E%60", "/{id}|\"<>^`");
    check_path("/a;b=c,d@e:f+g!$&'()*", "/a;b=c,d@e:f+g!$&'()*", "/a;b=c,d@e:f+g!$&'()*");
}

#[test]
fn dot_segments_and_repeated_slashes_are_resolved_and_never_climb_above_the_root() {
    for (raw, clean) in [
        ("//", "/"),
        ("//a///b", "/a/b"),
        ("/a/b//", "/a/b/"),
        ("/a/../b", "/b"),
        ("/a/%2e%2E/b", "/b"),
        ("/../../b", "/b"),
        ("/..", "/"),
        ("/.", "/"),
        ("/a/.", "/a"),
        ("/a/./", "/a/"),
        ("/a/b/..", "/a"),
        ("/a/b/../", "/a/"),
        ("/a/..", "/"),
        ("/a/..%2Fb", "/a/..%2Fb"),
        ("/.well-known/x", "/.well-known/x"),
        ("/...", "/..."),
        ("/a..b/.c", "/a..b/.c"),
        ("/a/..;/b", "/a/..;/b"),
    ] {
        check_path(raw, clean, clean);
    }
    let raw = PathOptions { sanitize: false, ..PathOptions::default() };
    for (given, kept) in [("/a//b", "/a//b"), ("/a/../b", "/a/../b"), ("/%61/%2e%2e//", "/a/..//")] {
        assert_eq!(path(given.as_bytes(), raw).unwrap().forwarded(), kept);
    }
}

#[test]
fn a_path_that_two_readers_could_read_differently_is_refused() {
    for (raw, refusal) in [
        ("foo", PathRefusal::NotAbsolute),
        ("", PathRefusal::NotAbsolute),
        ("/a#/../admin", PathRefusal::Fragment),
        ("/a\u{1}", PathRefusal::Character),
        ("/a b", PathRefusal::Character),
        ("/a\\b", PathRefusal::Character),
        ("/a\u{7f}", PathRefusal::Character),
        ("/é", PathRefusal::Character),
        ("/a%00b", PathRefusal::Nul),
        ("/a%zz", PathRefusal::Escape),
        ("/a%", PathRefusal::Escape),
        ("/a%4", PathRefusal::Escape),
        ("/a%+1", PathRefusal::Escape),
    ] {
        assert_eq!(path(raw.as_bytes(), PathOptions::default()), Err(refusal), "{raw}");
    }
    let strict = PathOptions { refused_encoded: b"/\\", ..PathOptions::default() };
    for (raw, refused) in [("/a%2fb", true), ("/a%5Cb", true), ("/a%3Bb", false), ("/a%61", false)] {
        let expected = if refused { Err(PathRefusal::EncodedCharacter) } else { Ok(()) };
        assert_eq!(path(raw.as_bytes(), strict).map(|_| ()), expected, "{raw}");
    }
}

#[test]
fn a_canonical_path_is_not_copied() {
    for raw in ["/", "/a/b/c.html", "/.well-known/acme", "/a%20b"] {
        assert!(path(raw.as_bytes(), PathOptions::default()).unwrap().is_as_sent(), "{raw}");
    }
    assert!(!path(b"//a", PathOptions::default()).unwrap().is_as_sent());
}

#[test]
fn a_target_is_a_path_or_a_url() {
    for (target, expected) in [
        ("/a?b?c", Ok((None, "/a", Some("b?c")))),
        ("/?", Ok((None, "/", Some("")))),
        ("http://a.test", Ok((Some("a.test"), "/", None))),
        ("HTTPS://a.test:1/x?y", Ok((Some("a.test:1"), "/x", Some("y")))),
        ("http://a.test?y", Ok((Some("a.test"), "/", Some("y")))),
        ("http:///x", Ok((Some(""), "/x", None))),
        ("//a.test/x", Ok((None, "//a.test/x", None))),
        ("foo", Err(TargetRefusal::Form)),
        ("*", Err(TargetRefusal::Form)),
        ("", Err(TargetRefusal::Form)),
        ("ftp://a/", Err(TargetRefusal::Form)),
        ("/?a b", Err(TargetRefusal::Query)),
        ("/?a#b", Err(TargetRefusal::Query)),
        ("/?é", Err(TargetRefusal::Query)),
    ] {
        let text = |bytes| std::str::from_utf8(bytes).unwrap();
        let found = split_target(target.as_bytes())
            .map(|found| (found.authority.map(text), text(found.path), found.query));
        assert_eq!(found, expected, "{target}");
    }
}

#[test]
fn a_semicolon_in_a_query_separates_or_is_data() {
    assert_eq!(query("a=1;b=2", false), "a=1&b=2");
    assert_eq!(query("a=1;b=2", true), "a=1%3Bb=2");
    assert_eq!(query("a=1&b=2%3B", false), "a=1&b=2%3B");
}

fn pathlike() -> impl Strategy<Value = String> {
    let parts = vec![
        "/", "/", "//", ".", "..", "a", "%2e", "%2F", "%61", "%25", "%c3%a9", "%E9", "%", "{", ";", "%20",
        "%5c", "é", "?",
    ];
    prop::collection::vec(prop::sample::select(parts), 0..16).prop_map(|parts| format!("/{}", parts.concat()))
}

proptest! {
    #[test]
    fn no_bytes_make_it_panic(bytes in prop::collection::vec(any::<u8>(), 0..64)) {
        let _ = host(&bytes);
        let _ = path(&bytes, PathOptions::default());
        let _ = path(&bytes, PathOptions { sanitize: false, refused_encoded: b"/" });
        let _ = split_target(&bytes);
    }

    #[test]
    fn a_canonical_path_is_its_own_canonical_form(raw in pathlike(), sanitize in any::<bool>()) {
        let options = PathOptions { sanitize, ..PathOptions::default() };
        if let Ok(first) = path(raw.as_bytes(), options) {
            let second = path(first.forwarded().as_bytes(), options).unwrap();
            prop_assert_eq!(second.forwarded(), first.forwarded());
            prop_assert_eq!(second.routing(), first.routing());
            prop_assert!(second.is_as_sent());
        }
    }

    #[test]
    fn a_sanitised_path_has_no_way_up_and_no_empty_segment(raw in pathlike()) {
        if let Ok(clean) = path(raw.as_bytes(), PathOptions::default()) {
            prop_assert!(clean.forwarded().starts_with('/'));
            prop_assert!(!clean.forwarded().contains("//"));
            prop_assert!(clean.forwarded().split('/').all(|segment| segment != "." && segment != ".."));
            prop_assert!(clean.routing().split('/').all(|segment| segment != "." && segment != ".."));
            prop_assert_eq!(clean.routing().matches('/').count(), clean.forwarded().matches('/').count());
        }
    }

    /// What a server sees after decoding once more begins with a guarded prefix only if the rules saw it begin so:
    /// `/x` can be guarded by `PathPrefix`, whatever the client escapes.
    #[test]
    fn an_escaped_spelling_does_not_slip_past_a_prefix(raw in pathlike()) {
        if let Ok(clean) = path(raw.as_bytes(), PathOptions::default()) {
            let decoded = clean.forwarded().replace("%C3%A9", "é").replace("%20", " ").replace("%7B", "{");
            prop_assert_eq!(decoded.starts_with("/a"), clean.routing().starts_with("/a"));
        }
    }

    #[test]
    fn a_canonical_host_is_its_own_canonical_form(field in "[A-Za-z0-9._-]{0,20}(:[0-9]{1,5})?") {
        if let Ok(first) = host(field.as_bytes()) {
            let second = host(first.name_with_dot().as_bytes()).unwrap();
            prop_assert_eq!(second.name(), first.name());
        }
    }
}
