//! Documents in, values and complaints out.

use std::collections::BTreeMap;
use std::path::Path;

use proptest::prelude::*;
use serde::Deserialize;

use super::*;

#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Sample {
    rule: Option<String>,
    priority: Option<i64>,
    small: Option<u8>,
    ratio: Option<f64>,
    pass_host_header: Option<bool>,
    wait: Option<GoDuration>,
    entry_points: Vec<String>,
    #[serde(deserialize_with = "stand_alone")]
    tls: Option<Tls>,
    buffering: Option<Tls>,
    headers: TextMap,
    routers: BTreeMap<String, Tls>,
    plugin: BTreeMap<String, Node>,
    located: Option<u16>,
    word: Option<Word>,
}

#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Tls {
    cert_resolver: Option<String>,
    domains: Vec<Domain>,
}

#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Domain {
    main: String,
    sans: Vec<String>,
}

#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase")]
enum Word {
    Minimal,
    Detailed,
}

fn yaml(text: &str) -> Decoded<Sample> {
    decode(&parse_yaml(text, Path::new("a.yml")).unwrap(), Style::File)
}

fn toml(text: &str) -> Decoded<Sample> {
    decode(&parse_toml(text, Path::new("a.toml")).unwrap(), Style::File)
}

fn labels(pairs: &[(&str, &str)]) -> Decoded<Sample> {
    let (node, errors) =
        tree_from_paths(pairs.iter().map(|(path, value)| (*path, *value, Origin::container("c", ""))));
    if errors.is_empty() { decode(&node, Style::Text) } else { Err(errors) }
}

fn lines(result: Decoded<Sample>) -> Vec<String> {
    result
        .unwrap_err()
        .into_iter()
        .map(|error| {
            let hint = error.hint.map(|hint| format!("; {hint}")).unwrap_or_default();
            format!("{}: {}: {}{hint}", error.origin, error.path, error.message)
        })
        .collect()
}

fn tls(resolver: Option<&str>) -> Tls {
    Tls { cert_resolver: resolver.map(str::to_owned), ..Tls::default() }
}

#[test]
fn one_setting_reads_alike_in_yaml_toml_and_labels() {
    let expected = Sample {
        rule: Some("Host(`a`)".to_owned()),
        priority: Some(10),
        ratio: Some(0.5),
        pass_host_header: Some(false),
        wait: Some(GoDuration::from_nanoseconds(1_500_000_000)),
        entry_points: vec!["web".to_owned(), "lan".to_owned()],
        tls: Some(Tls {
            cert_resolver: Some("le".to_owned()),
            domains: vec![Domain { main: "a.b".to_owned(), sans: vec!["c.d".to_owned()] }],
        }),
        headers: TextMap(BTreeMap::from([("X-A.b".to_owned(), "1,2".to_owned())])),
        word: Some(Word::Detailed),
        ..Sample::default()
    };
    let text = "rule: Host(`a`)\nPRIORITY: 10\nratio: 0.5\npassHostHeader: false\nwait: 1.5s\nEntryPoints: [web, lan]\ntls:\n  certresolver: le\n  domains:\n  - main: a.b\n    sans: [c.d]\nheaders: {X-A.b: '1,2'}\nword: detailed\n";
    assert_eq!(yaml(text).unwrap(), expected);
    let text = "rule = \"Host(`a`)\"\nPriority = 10\nratio = 0.5\npassHostHeader = false\nwait = '1.5s'\nentryPoints = ['web', 'lan']\nword = 'detailed'\n[tls]\ncertResolver = 'le'\n[[tls.domains]]\nmain = 'a.b'\nsans = ['c.d']\n[headers]\n'X-A.b' = '1,2'\n";
    assert_eq!(toml(text).unwrap(), expected);
    let pairs = [
        ("rule", "Host(`a`)"),
        ("priority", "10"),
        ("RATIO", "0.5"),
        ("passhostheader", "F"),
        ("wait", "1.5s"),
        ("entrypoints", "web , lan"),
        ("tls.certresolver", "le"),
        ("tls.domains[0].main", "a.b"),
        ("tls.domains[0].sans", "c.d"),
        ("headers.X-A.b", "1,2"),
        ("word", "detailed"),
    ];
    assert_eq!(labels(&pairs).unwrap(), expected);
}

#[test]
fn values_are_read_as_traefik_reads_them() {
    for (pair, expected) in [
        (("passhostheader", "t"), true),
        (("passhostheader", "yes"), false),
        (("passhostheader", ""), false),
        (("passhostheader", "tRUE"), false),
        (("priority", "-3"), true),
        (("priority", "+3"), true),
        (("priority", "3.5"), false),
        (("priority", ""), false),
        (("small", "255"), true),
        (("small", "256"), false),
        (("wait", "10"), true),
        (("wait", "-1"), true),
        (("wait", "10 s"), false),
        (("word", "minimal"), true),
        (("word", "Minimal"), false),
        (("buffering", "true"), false),
        (("headers", "true"), false),
        (("routers.a", "x"), false),
        (("entrypoints[0]", "web"), false),
        (("rule.x", "web"), false),
    ] {
        assert_eq!(labels(&[pair]).is_ok(), expected, "{pair:?}");
    }
    assert_eq!(yaml("rule: 80\n").unwrap().rule.as_deref(), Some("80"));
    assert_eq!(yaml("priority: '7'\nsmall: 0x1f\n").unwrap().small, Some(31));
    assert_eq!(yaml("entryPoints: web, lan\n").unwrap().entry_points, ["web", "lan"]);
    assert_eq!(labels(&[("entrypoints", "a,,b,")]).unwrap().entry_points, ["a", "", "b", ""]);
    assert_eq!(labels(&[("entrypoints", "")]).unwrap().entry_points, Vec::<String>::new());
    assert_eq!(labels(&[("rule", "  x ")]).unwrap().rule.as_deref(), Some("  x "));
}

#[test]
fn a_block_that_may_stand_alone_is_on_when_empty_or_true_and_off_for_any_other_value() {
    for (pairs, expected) in [
        (&[("tls", "true")][..], Some(tls(None))),
        (&[("tls", "TRUE")], Some(tls(None))),
        (&[("tls", "")], Some(tls(None))),
        (&[("tls", "false")], None),
        (&[("tls", "yes")], None),
        (&[("tls", "false"), ("tls.certresolver", "le"), ("tls.nonsense", "x")], None),
        (&[("tls", "true"), ("tls.certresolver", "le")], Some(tls(Some("le")))),
        (&[("tls.certresolver", "le")], Some(tls(Some("le")))),
    ] {
        assert_eq!(labels(pairs).unwrap().tls, expected, "{pairs:?}");
    }
    for (text, expected) in
        [("tls: {}", Some(tls(None))), ("tls:", None), ("tls: true", Some(tls(None))), ("tls: false", None)]
    {
        assert_eq!(yaml(text).unwrap().tls, expected, "{text}");
    }
    assert_eq!(toml("[tls]\n").unwrap().tls, Some(tls(None)));
    assert_eq!(toml("[entryPoints]\n").unwrap().entry_points, Vec::<String>::new());
}

#[test]
fn names_keep_the_spelling_that_is_first_in_byte_order_and_the_last_value() {
    let sample = labels(&[("routers.a.certresolver", "low"), ("ROUTERS.A.certresolver", "high")]).unwrap();
    assert_eq!(sample.routers, BTreeMap::from([("A".to_owned(), tls(Some("low")))]));
}

#[test]
fn list_entries_stand_in_byte_order_of_their_paths() {
    let sample = labels(&[
        ("tls.domains[2].main", "two"),
        ("tls.domains[10].main", "ten"),
        ("tls.domains[1].main", "one"),
    ])
    .unwrap();
    let mains: Vec<_> = sample.tls.unwrap().domains.into_iter().map(|domain| domain.main).collect();
    assert_eq!(mains, ["ten", "one", "two"]);
}

#[test]
fn of_two_text_keys_the_longer_one_stays() {
    let sample = labels(&[("headers.x-b", "1"), ("headers.x-b.c", "2"), ("headers.X-D", "3")]).unwrap();
    let expected = [("X-D", "3"), ("x-b.c", "2")].map(|(name, text)| (name.to_owned(), text.to_owned()));
    assert_eq!(sample.headers.0, BTreeMap::from(expected));
}

#[test]
fn everything_that_is_wrong_is_said_at_once_with_its_place() {
    let text = "rul: x\npriority: high\ntls:\n  certResolvr: le\n  domains:\n  - mian: a\n  - sans: {a: b}\nlocated: 99999\npassHostHeader: maybe\nrule: [a]\nRule: b\nword: nothing\nwait: soon\n";
    insta::assert_snapshot!(lines(yaml(text)).join("\n"), @r"
    a.yml:1:1: rul: unknown key `rul`; did you mean `rule`?
    a.yml:2:11: priority: expected a whole number, found `high`
    a.yml:4:3: tls.certResolvr: unknown key `certResolvr`; did you mean `certResolver`?
    a.yml:6:5: tls.domains[0].mian: unknown key `mian`; did you mean `main`?
    a.yml:7:11: tls.domains[1].sans: expected a list, found a block with `a`
    a.yml:8:10: located: `99999` is out of range
    a.yml:9:17: passHostHeader: expected `true` or `false`, found `maybe`
    a.yml:10:7: rule: expected text, found a list
    a.yml:11:1: Rule: `rule` is set twice, in different spelling
    a.yml:12:7: word: expected `minimal` or `detailed`, found `nothing`
    a.yml:13:7: wait: `soon` is not a duration; write seconds, or as in `1h30m`, `10s`, `500ms`
    ");
    let pairs = [
        ("entrypoints[0]", "web"),
        ("tls.nonsense", "1"),
        ("buffering", "true"),
        ("headers", "x"),
        ("priority", "ten"),
        ("Unknown.deep.key", "1"),
    ];
    insta::assert_snapshot!(lines(labels(&pairs)).join("\n"), @r"
    container `c`: Unknown: unknown key `Unknown`
    container `c`: buffering: `buffering` cannot be a standalone element; set a key of it, such as `buffering.certResolver`
    container `c`: entryPoints[0]: an index on a list of plain values, which Traefik reads as an empty list; write a comma separated list, without an index
    container `c`: headers: `headers` cannot be a standalone element; set a key of it: `headers.name`
    container `c`: priority: expected a whole number, found `ten`
    container `c`: tls.nonsense: unknown key `nonsense`
    ");
}

#[test]
fn paths_that_cannot_be_read_are_named() {
    let pairs = [
        ("routers.a.", "1"),
        ("routers..a", "1"),
        ("routers.[0]", "1"),
        ("routers.a[x]", "1"),
        ("", "1"),
        ("tls.domains[0].main", "a"),
        ("tls.domains.main", "a"),
    ];
    insta::assert_snapshot!(lines(labels(&pairs)).join("\n"), @r"
    container `c`: : invalid element: an empty name between two dots
    container `c`: routers..a: invalid element: an empty name between two dots
    container `c`: routers.[0]: invalid leading character `[`: an index follows a name; write the index behind the name, as in `domains[0].main`
    container `c`: routers.a.: invalid element: an empty name between two dots
    container `c`: routers.a[x]: `[x]` is not an index; write a number, as in `domains[0].main`
    container `c`: tls.domains[0].main: `domains` is written as a list and as a block
    ");
}

#[test]
fn values_carry_their_place() {
    let sample = yaml("rule: x\nlocated:   8080\nplugin:\n  geo:\n    a: [1, {b: 2}]\n").unwrap();
    let plugin = &sample.plugin["geo"];
    assert_eq!(plugin.get("A").unwrap().origin, Origin::file("a.yml", 5, 8));
    let sample = toml("located = 8080\nplugin.geo = 'ä'\n[plugin.other]\nx = [1,\n  2]\n").unwrap();
    assert_eq!(sample.plugin["geo"].origin, Origin::file("a.toml", 2, 14));
    let Value::List(items) = &sample.plugin["other"].get("x").unwrap().value else { panic!() };
    assert_eq!(items[1].origin, Origin::file("a.toml", 5, 3));
}

#[test]
fn anchors_and_merge_keys_are_resolved() {
    let text = "routers:\n  base: &base\n    certResolver: le\n    domains: &domains [{main: a}]\n  b:\n    <<: *base\n    certResolver: other\n  c:\n    domains: *domains\n  d:\n    <<: [*base, {certResolver: never}]\n";
    let sample = yaml(text).unwrap();
    let resolvers: Vec<_> =
        sample.routers.values().map(|tls| (tls.cert_resolver.as_deref(), tls.domains.len())).collect();
    assert_eq!(resolvers, [(Some("other"), 1), (Some("le"), 1), (None, 1), (Some("le"), 1)]);
}

#[test]
fn documents_that_cannot_be_read_say_where() {
    let mut bomb = String::from("a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n");
    for level in 1..9 {
        let below = level - 1;
        let aliases = vec![format!("*a{below}"); 10].join(", ");
        bomb += &format!("a{level}: &a{level} [{aliases}]\n");
    }
    let deep = "[".repeat(5_000);
    let mut problems = Vec::new();
    for text in [
        "a: 1\na: 2\n",
        "a:\n\tb: 1\n",
        "a: 1\n---\nb: 1\n",
        "a: [1, 2\n",
        "a: *nobody\n",
        "a: &a [*a]\n",
        "? [1]\n: 2\n",
        "a: !vault x\n",
        "<<: 1\n",
        "a: 'x\n",
        &bomb,
        &deep,
    ] {
        problems.push(parse_yaml(text, Path::new("a.yml")).unwrap_err().to_string());
    }
    let deep = format!("a = {}", deep);
    for text in ["a = 1\na = 2\n", "a = \n", "[a\n", "a = 1\n[a]\n", &deep] {
        problems.push(parse_toml(text, Path::new("a.toml")).unwrap_err().to_string());
    }
    insta::assert_snapshot!(problems.join("\n"), @r"
    a.yml:2:1: error: key `a` is set twice, first in line 1
    a.yml:2:2: error: tabs disallowed within this context (block indentation); indent with spaces: YAML takes no tabs there
    a.yml:2:1: error: the file holds more than one YAML document; keep one document a file, and remove the `---` between them
    a.yml:2:1: error: while parsing a flow sequence, expected ',' or ']'
    a.yml:1:4: error: while parsing node, found unknown anchor
    a.yml:1:8: error: an alias stands inside what it refers to
    a.yml:1:5: error: a key must be text
    a.yml:1:4: error: unknown YAML tag `!vault`
    a.yml:1:5: error: `<<` needs a map or a list of maps; write `<<: *name`
    a.yml:1:4: error: while scanning a quoted scalar, found unexpected end of stream
    a.yml:5:40: error: the aliases of this file expand to too much
    a.yml:1:256: error: recursion limit exceeded
    a.toml:2:1: error: duplicate key
    a.toml:1:5: error: string values must be quoted, expected literal string
    a.toml:1:3: error: unclosed table, expected `]`
    a.toml:2:2: error: duplicate key
    a.toml:1:85: error: cannot recurse further; max recursion depth met
    ");
}

#[test]
fn an_empty_document_is_nothing() {
    for text in ["", "\n", "# only a comment\n", "---\n", "~", "\u{feff}"] {
        assert_eq!(parse_yaml(text, Path::new("a.yml")).unwrap().value, Value::Null, "{text:?}");
        assert_eq!(yaml(text).unwrap(), Sample::default());
    }
    assert_eq!(toml("").unwrap(), Sample::default());
}

#[test]
fn a_value_of_a_megabyte_is_read_in_a_blink() {
    let long = "x,".repeat(500_000);
    assert_eq!(labels(&[("entrypoints", &long)]).unwrap().entry_points.len(), 500_001);
    assert!(labels(&[("priority", &long)]).is_err());
    assert!(labels(&[(&long, "1")]).is_err());
    assert!(labels(&[(&"a.".repeat(500_000), "1")]).is_err());
    let text = format!("entryPoints = [{}]", "'x',".repeat(250_000));
    assert_eq!(toml(&text).unwrap().entry_points.len(), 250_000);
    let text = format!("entryPoints: [{}]", "x,".repeat(250_000));
    assert_eq!(yaml(&text).unwrap().entry_points.len(), 250_000);
}

proptest! {
    #[test]
    fn no_text_makes_the_readers_panic(text in "\\PC*|[-a-c:\\[\\]{}&*#|>!'\", \\n\\t<?%@`=.]{0,80}") {
        if let Ok(node) = parse_yaml(&text, Path::new("a.yml")) {
            let _ = decode::<Sample>(&node, Style::File);
        }
        if let Ok(node) = parse_toml(&text, Path::new("a.toml")) {
            let _ = decode::<Sample>(&node, Style::File);
        }
        let _ = labels(&[(&text, &text)]);
    }

    #[test]
    fn no_paths_make_the_decoder_panic(
        paths in proptest::collection::vec(
            ("(rule|tls|routers|headers|entrypoints|plugin|word|located)(\\[[0-9x]?\\])?(\\.(domains|main|a|A|certresolver)(\\[[0-9]\\])?){0,3}", "(true|false|x|1,2||-5)"),
            0..8,
        )
    ) {
        let pairs: Vec<_> = paths.iter().map(|(path, value)| (path.as_str(), value.as_str())).collect();
        let _ = labels(&pairs);
    }
}
