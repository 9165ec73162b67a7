//! The TCP cases of the reference table, and what the rule language promises beyond the tables: places and
//! texts of errors, bounds, hosts. The HTTP cases run through the whole path of a request, beside the route table.

use std::collections::BTreeSet;

use proptest::prelude::*;
use serde::Deserialize;

use super::{ParseRuleError, RequiredHost, Rule, TcpConnection, TcpRule, parse, parse_tcp};

#[derive(Deserialize)]
struct TcpCase {
    id: String,
    rules: Vec<TcpCaseRule>,
    server_name: String,
    protocols: Vec<String>,
    peer: String,
    expect: String,
}

#[derive(Deserialize)]
struct TcpCaseRule {
    name: String,
    rule: String,
    priority: Option<i64>,
}

#[test]
fn every_tcp_case_of_the_reference_holds() {
    let cases: Vec<TcpCase> = serde_json::from_str(include_str!("tcp_cases.json")).unwrap();
    assert_eq!(cases.len(), 29);
    for case in cases {
        assert_eq!(tcp_outcome(&case), case.expect, "{}: {}", case.id, case.rules[0].rule);
    }
}

/// In the words of the table: `yes`, `no`, `rule invalid` or the winner, and whether it catches all.
fn tcp_outcome(case: &TcpCase) -> String {
    let mut rules: Vec<(i64, &str, TcpRule)> = Vec::new();
    for written in &case.rules {
        let Ok(rule) = parse_tcp(&written.rule) else { return "rule invalid".to_owned() };
        rules.push((written.priority.unwrap_or_else(|| rule.default_priority()), &written.name, rule));
    }
    rules.sort_by_key(|(priority, ..)| std::cmp::Reverse(*priority));
    let protocols: Vec<&str> = case.protocols.iter().map(String::as_str).collect();
    let connection = TcpConnection {
        server_name: &case.server_name,
        protocols: &protocols,
        client: case.peer.parse().unwrap(),
    };
    match rules.iter().find(|(_, _, rule)| rule.matches(&connection)) {
        None => "no".to_owned(),
        Some((_, name, rule)) => {
            let winner = if rules.len() == 1 { "yes" } else { name };
            format!("{winner}{}", if rule.is_catch_all() { " (catch-all)" } else { "" })
        }
    }
}

#[track_caller]
fn error(rule: &str) -> ParseRuleError {
    parse(rule).expect_err(rule)
}

#[test]
fn an_error_has_traefiks_text_its_column_and_a_hint() {
    for (rule, column, message, hint) in [
        ("X(`a`)", 1, "parsing rule X(`a`): unsupported function: X", "the matchers are Host, HostRegexp"),
        (
            "Path(`/é`) && pathPrefix(`/x`)",
            15,
            "parsing rule Path(`/é`) && pathPrefix(`/x`): unsupported function: pathPrefix",
            "did you mean `PathPrefix`?",
        ),
        (
            "PathPrefix(`/a`, `/b`)",
            1,
            "adding rule PathPrefix: unexpected number of parameters; got 2, expected one of [1]",
            "use || between alternatives: PathPrefix(`/a`) || PathPrefix(`/b`)",
        ),
        (
            "Header(`X-Env`)",
            1,
            "adding rule Header: unexpected number of parameters; got 1, expected one of [2]",
            "write Header(`name`, `value`)",
        ),
        (
            "Query(`a`, `b`, `c`)",
            1,
            "adding rule Query: unexpected number of parameters; got 3, expected one of [1 2]",
            "write Query(`name`) or Query(`name`, `value`)",
        ),
        ("Query(`q`, ``)", 12, "adding rule Query: empty args for matcher Query", "leave the value out"),
        ("Headers(`a`, `b`)", 1, "unsupported function: Headers", "write Header"),
        ("HostHeader(`a`)", 1, "unsupported function: HostHeader", "write Host"),
        ("Country(`DE`)", 1, "unsupported function: Country", "not served yet"),
        ("ASN(`64496`)", 1, "unsupported function: ASN", "not served yet"),
        ("Path(`api`)", 6, "adding rule Path: path \"api\" does not start with a '/'", "write Path(`/api`)"),
        ("Host(`bücher.example`)", 6, "non-ASCII characters are not allowed", "punycode"),
        ("HostRegexp(`(?=a)`)", 12, "look-around", "RE2 has no look-around"),
        (r"PathRegexp(`(a)\1`)", 12, "back-reference", "RE2 has no back-references"),
        (r#"HostRegexp("^a\.b$")"#, 15, "unknown escape sequence", "a backslash is written twice"),
        ("ClientIP(`192.168.1.0/33`)", 10, "invalid CIDR address", "write an address"),
        ("Host('a.com')", 6, "found '", "strings stand in back-quotes"),
        ("Host(a.com)", 6, "found a", "arguments stand in back-quotes"),
        ("Host(`a`) and Path(`/`)", 11, "found and", "write && instead"),
        ("Host(`a`), Path(`/`)", 10, "found ,", "a comma does not join matchers"),
        ("Host(`a`) & Path(`/`)", 11, "found &", "write && instead"),
        ("Host(`a`)\n&& Path(`/`)", 10, "unexpected line break", "end of the line above"),
        ("Host(`a`", 9, "expected `)`, found the end", "close every parenthesis"),
        ("Host(`a", 6, "the string is not closed", "back-quote"),
        ("Host(`a`) /* b", 11, "the comment is not closed", "*/"),
        ("Host(`a`);", 10, "found ;", "one expression"),
        ("(Host(`a`)\n)", 11, "found a line break", "move the operator"),
        ("", 1, "parsing rule : empty rule", "Host("),
        ("Host", 5, "expected `(` behind Host, found the end", ""),
        ("!", 2, "expected a matcher, found the end", ""),
    ] {
        let error = error(rule);
        assert_eq!(error.column, column, "column of {rule}: {error:?}");
        assert!(error.message.contains(message), "message of {rule}: {error:?}");
        assert!(error.hint.as_deref().unwrap_or_default().contains(hint), "hint of {rule}: {error:?}");
    }
}

#[test]
fn blanks_comments_and_line_breaks_are_gos() {
    for rule in [
        " \t\n Host(`a`) \n\n ",
        "Host(`a`) // the end",
        "Host(`a`) // the end\n",
        "Host(`a`) /* before */ && /* behind\n */ Path(`/x`)",
        "/* first */ Host (`a`)",
        "Host(\n`a`,\n)",
        "!\nHost(`a`) &&\n(\nHost(`b`) ||\nPath(`/x`))",
        "Host(\"a\\x2ecom\\u002e\\101\")",
    ] {
        assert!(parse(rule).is_ok(), "{rule}: {:?}", parse(rule));
    }
    for rule in [
        "Host\n(`a`)",
        "Host(`a`\n)",
        "Host(`a`) /* \n */ && Path(`/x`)",
        "Host(`a`) // x\n && Path(`/x`)",
        "Host(`a`)\n;",
        "Host(`a`)(`b`)",
        "Host(,)",
        "Host(\"a\nb\")",
        "Host(\"\\xff\")",
        "Host(\"\\'\")",
        "Host(((`a`)))",
        "!(Host(`a`)",
        "Host(`a`) != Host(`b`)",
    ] {
        assert!(parse(rule).is_err(), "{rule}");
    }
}

#[test]
fn a_hostile_rule_is_refused_quickly() {
    let megabyte = 1024 * 1024;
    for rule in [
        "(".repeat(megabyte),
        "!".repeat(megabyte),
        "(".repeat(60_000),
        format!("{}Host(`a`){}", "(".repeat(65), ")".repeat(65)),
        "Host(`a`) || ".repeat(100_000),
        "PathRegexp(`a`) || ".repeat(3_000),
        format!("PathRegexp(`{}`)", "(".repeat(60_000)),
        format!("PathRegexp(`{}a{}`)", "(".repeat(2_000), "){9}".repeat(2_000)),
        "/*".repeat(30_000),
    ] {
        let error = error(&rule);
        assert!(error.message.len() < 1_000, "the message repeats the rule: {}", error.message.len());
    }
    assert!(parse(&format!("{}Host(`a`){}", "(".repeat(64), ")".repeat(64))).is_ok());
    assert!(parse(&format!("{}Host(`a`)", "!".repeat(60_000))).is_ok());
    let many = vec!["Host(`a`)"; 5_000].join(" || ");
    assert_eq!(parse(&many).unwrap().hosts(), ["a"]);
}

#[test]
fn the_hosts_of_a_rule_are_those_it_names() {
    for (rule, hosts) in [
        ("Host(`B.com.`) || Host(`*.a.com`) && Path(`/x`) || Host(`b.com`)", vec!["b.com", "*.a.com"]),
        ("!Host(`a`) && !(Host(`b`) || !Host(`c`))", vec!["c"]),
        ("Host(`*`) || HostRegexp(`^a$`)", vec![]),
    ] {
        assert_eq!(parse(rule).unwrap().hosts(), hosts, "{rule}");
    }
}

#[track_caller]
fn check_required(rule: &str, expected: Option<&[&str]>) {
    let required = parse(rule).unwrap().required_hosts().map(|hosts| {
        hosts
            .iter()
            .map(|host| match host {
                RequiredHost::Exact(host) => host.to_string(),
                RequiredHost::Wildcard(suffix) => format!("*{suffix}"),
            })
            .collect::<BTreeSet<_>>()
    });
    let expected = expected.map(|hosts| hosts.iter().map(ToString::to_string).collect());
    assert_eq!(required, expected, "{rule}");
}

#[test]
fn a_rule_requires_a_host_only_if_no_other_can_match() {
    check_required("Host(`a`)", Some(&["a"]));
    check_required("Host(`a`) && Path(`/x`)", Some(&["a"]));
    check_required("Host(`a`) || Host(`*.b`)", Some(&["a", "*.b"]));
    check_required("Host(`a`) || Path(`/x`)", None);
    check_required("Host(`a`) || Host(`*`)", None);
    check_required("(Host(`a`) || Host(`b`)) && Host(`a`)", Some(&["a"]));
    check_required("!Host(`a`)", None);
    check_required("!!Host(`a`)", Some(&["a"]));
    check_required("!(!Host(`a`) || Path(`/x`))", Some(&["a"]));
    check_required("!(!Host(`a`) && !Host(`b`))", Some(&["a", "b"]));
    check_required("!(!Host(`a`) && Path(`/x`))", None);
    check_required("HostRegexp(`^a$`)", None);
}

#[test]
fn what_can_never_match_is_suspicious() {
    for (rule, expected) in [
        ("HostRegexp(`{sub:[a-z]+}.example.com`)", Some("a placeholder of version 2")),
        ("PathRegexp(`^/{id:[0-9]+}$`)", Some("a placeholder of version 2")),
        ("Path(`/users/{id}`)", Some("a placeholder of version 2")),
        ("Host(`{sub:[a-z]+}.example.com`)", Some("a placeholder of version 2")),
        ("Host(`[::1]`)", Some("never matches")),
        ("Host(`a.com:8080`)", Some("never matches")),
        ("Host(`https://a.com`)", Some("never matches")),
        ("Host(`a*.example.com`)", Some("stands for itself")),
        ("HostRegexp(`^[A-Z]+$`)", Some("asks for capitals")),
        ("Path(`/foo%20bar`)", Some("never matches")),
        ("Path(`/a%2fb`)", Some("never matches")),
        ("PathPrefix(`/a?b`)", Some("never matches")),
        ("PathPrefix(`/a//b`)", Some("sanitizePath: false")),
        ("Header(`Host`, `a`)", Some("never matches")),
        ("Header(`X Env`, `a`)", Some("never matches")),
        ("Host(`::1`) && Path(`/a%2Fb`) && PathRegexp(`^/[a-z]{2,3}\\p{L}$`)", None),
        ("HostRegexp(`(?i)^APP\\.`) || HostRegexp(`^\\S+\\Da$`)", None),
        ("Host(`_a.example.com.`) || Host(`*.example.com`) || Host(`*`)", None),
    ] {
        let rule = parse(rule).unwrap();
        let found: Vec<&str> = rule.suspicions().iter().map(|suspicion| &*suspicion.message).collect();
        match expected {
            Some(part) => assert!(found.len() == 1 && found[0].contains(part), "{}: {found:?}", rule.text()),
            None => assert!(found.is_empty(), "{}: {found:?}", rule.text()),
        }
    }
}

#[test]
fn the_default_priority_counts_every_byte_as_written() {
    let priority = |rule: &str| parse(rule).map(|rule: Rule| rule.default_priority()).unwrap();
    assert_eq!(priority("Host(`a.com`)"), 13);
    assert_eq!(priority("Host( `a.com` )"), 15);
    assert_eq!(priority("Path(`/é`)"), 11);
}

#[test]
fn a_rule_is_shown_as_it_would_be_written() {
    for (rule, shown) in [
        ("HOST( `A.com` )||Path(`/`)", "Host(`a.com`) || Path(`/`)"),
        (
            "(host(`a`) || host(`*.b`)) && !(method(`get`) && query(`q`))",
            "(Host(`a`) || Host(`*.b`)) && !(Method(`GET`) && Query(`q`))",
        ),
        ("(Host(`a`) && !!Host(`*`)) || Path(`/`)", "Host(`a`) && Host(`*`) || Path(`/`)"),
        (
            "PathRegexp(`^/{id}\\d`) && Header(\"X-A\", \"a`\\\"\\\\\")",
            "PathRegexp(`^/{id}\\d`) && Header(`x-a`, \"a`\\\"\\\\\")",
        ),
        (
            "ClientIP(`::ffff:192.0.2.7/120`) || ClientIP(`::1`)",
            "ClientIP(`192.0.2.0/24`) || ClientIP(`::1`)",
        ),
    ] {
        let once = parse(rule).unwrap().expression().to_string();
        assert_eq!(once, shown);
        assert_eq!(parse(&once).unwrap().expression().to_string(), shown);
    }
}

proptest! {
    #[test]
    fn no_text_makes_the_parser_panic(text in ".{0,80}") {
        let _ = parse(&text);
        let _ = parse_tcp(&text);
    }

    #[test]
    fn no_mixture_of_its_words_makes_the_parser_panic(
        words in prop::collection::vec(
            prop::sample::select(vec![
                "Host", "PathRegexp", "(", ")", "`a`", "`[`", "\"\\x41\"", "`é{2`", "&&", "||", "!", ",", "\n", "//", "/*",
                "*/", " ",
            ]),
            0..24,
        )
    ) {
        let text = words.concat();
        if let Err(error) = parse(&text) {
            prop_assert!(error.column >= 1 && error.column <= text.chars().count() + 1);
        }
    }

    #[test]
    fn a_regular_expression_of_any_kind_compiles_or_is_refused(pattern in r"[\[\]{}()\\a-cQE0-9,^$.|?*+&~:-]{0,24}") {
        let _ = super::re2::compile(&pattern);
    }
}
