//! `hearthgate explain URL`: what would happen to a request, and why; from the configuration, or asked of the
//! running gateway.

use serde_json::Value;

use super::arguments::{Arguments, Opt, parse};
use super::client::{Client, admin_option};
use super::offline::{block_on, load};
use super::{Call, FAILED, OK, UNREACHABLE, USAGE, complain, print};
use crate::control::admin::explain::{Explanation, Question, explain as ask};

const USAGE_TEXT: &str = "\
usage: hearthgate explain URL [-X METHOD] [-H 'Name: value']... [--from ADDRESS] [--entry-point NAME]
                          [--docker | --admin ADDRESS|auto] [--format text|json] [flags of the install configuration]

Names the entry point, the client and why it is believed, the router and the near misses, the middlewares in order,
and the servers.
  --docker   asks the Docker Engine too, for the labels of the running containers
  --admin    asks the running gateway instead of reading the configuration: its address, or `auto`
exit status: 0 a router serves it, 1 no router does, 2 wrong call or configuration, 3 the gateway is not reachable
";

const OPTIONS: &[Opt] = &[
    Opt { names: &["-h", "--help"], takes_value: false },
    Opt { names: &["-X", "--request", "--method"], takes_value: true },
    Opt { names: &["-H", "--header"], takes_value: true },
    Opt { names: &["--from"], takes_value: true },
    Opt { names: &["--entry-point", "--entryPoint"], takes_value: true },
    Opt { names: &["--docker"], takes_value: false },
    Opt { names: &["--format"], takes_value: true },
    admin_option(),
];

/// Explains; returns the exit code.
pub(super) fn explain(call: &Call) -> u8 {
    match try_explain(call) {
        Ok((text, code)) => {
            print(&text);
            code
        }
        Err((wrong, code)) => {
            complain(&format!("hearthgate explain: {wrong}"));
            code
        }
    }
}

fn try_explain(call: &Call) -> Result<(String, u8), (String, u8)> {
    let usage = |wrong: String| (wrong, USAGE);
    let arguments = parse(call, OPTIONS, 1).map_err(usage)?;
    if arguments.has("-h") {
        return Ok((USAGE_TEXT.to_owned(), OK));
    }
    let as_json = match arguments.value("--format") {
        None | Some("text") => false,
        Some("json") => true,
        Some(other) => return Err(usage(format!("there is no format `{other}`; write `text` or `json`"))),
    };
    let question = question(&arguments).map_err(usage)?;
    let explanation = match arguments.value("--admin") {
        Some(_) => remote(&arguments, &question)?,
        None => offline(&arguments, &question).map_err(usage)?,
    };
    let code = if explanation.has_route() { OK } else { FAILED };
    let text = if as_json {
        let value = serde_json::to_value(&explanation).map_err(|error| usage(error.to_string()))?;
        format!("{value:#}\n")
    } else {
        explanation.to_string()
    };
    Ok((text, code))
}

fn question(arguments: &Arguments) -> Result<Question, String> {
    let url = arguments.positional.first().ok_or("which URL?")?;
    let mut question = Question::new(url.clone());
    let fill = |question: &mut Question| {
        if let Some(method) = arguments.value("-X") {
            question.set_method(method)?;
        }
        for field in arguments.values("-H") {
            question.add_header(field)?;
        }
        if let Some(address) = arguments.value("--from") {
            question.set_from(address)?;
        }
        Ok(())
    };
    fill(&mut question).map_err(|error: crate::control::admin::explain::AskError| error.to_string())?;
    question.entry_point = arguments.value("--entry-point").map(ToOwned::to_owned);
    Ok(question)
}

fn offline(arguments: &Arguments, question: &Question) -> Result<Explanation, String> {
    let loaded = block_on(load(&arguments.install, arguments.has("--docker")))?;
    let offline = loaded.map_err(|problems| {
        let lines: Vec<String> = problems.iter().map(ToString::to_string).collect();
        format!("the install configuration cannot be used\n{}", lines.join("\n"))
    })?;
    ask(&offline.install, &offline.snapshot, question).map_err(|error| error.to_string())
}

fn remote(arguments: &Arguments, question: &Question) -> Result<Explanation, (String, u8)> {
    let client = Client::of(arguments).map_err(|wrong| (wrong, USAGE))?;
    let path = format!("/api/explain?{}", question.to_query());
    let answer = client.get(&path).map_err(|error| (error.to_string(), UNREACHABLE))?;
    if answer.status != 200 {
        return Err((answer.complaint(), USAGE));
    }
    let value: Value = serde_json::from_slice(&answer.body)
        .map_err(|error| (format!("the gateway's answer cannot be read: {error}"), UNREACHABLE))?;
    serde_json::from_value(value)
        .map_err(|error| (format!("the gateway's answer cannot be read: {error}"), UNREACHABLE))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    /// Over the examples of `hearthgate check`.
    fn explained(arguments: &[&str]) -> Result<(String, u8), (String, u8)> {
        let mut all = vec!["--configFile=../tests/data/check/hearthgate.yml".to_owned()];
        all.extend(arguments.iter().map(|argument| (*argument).to_owned()));
        try_explain(&Call { arguments: all, variables: Arc::default() })
    }

    fn check(arguments: &[&str], expected: &str, code: u8) {
        let (text, found) = explained(arguments).unwrap();
        assert_eq!(text, expected, "{arguments:?}");
        assert_eq!(found, code, "{arguments:?}");
    }

    #[test]
    fn the_winner_and_the_nearest_miss_are_named() {
        check(
            &["http://blog.example.com/api/x", "--from", "192.0.2.7"],
            "request      GET http://blog.example.com/api/x\n\
             entry point  web (plain; it listens on the URL's port)\n\
             client       192.0.2.7 (the address of the connection; this entry point asks no forwarding header)\n\
             router       blog@file (priority 43)\n             \
             Host(`blog.example.com`) && PathPrefix(`/`)\n\
             near miss    blog-api@file: Method(`POST`) fails\n\
             middlewares  none\n\
             service      blog@file\n\
             server       http://10.0.0.1:8080 (weight 1)\n\
             server       http://10.0.0.2:8080 (weight 1)\n",
            OK,
        );
        let (text, _) = explained(&["http://blog.example.com/api", "-X", "POST"]).unwrap();
        assert!(text.contains("router       blog-api@file"), "{text}");
        assert!(text.contains("matches too  blog@file"), "{text}");
        let (text, code) =
            explained(&["http://blog.example.com/", "-H", "Host: nobody.example.com"]).unwrap();
        assert!(text.contains("answer       404 (no router matches)"), "{text}");
        assert_eq!(code, FAILED);
    }

    #[test]
    fn a_guest_and_a_router_without_its_service_say_what_they_answer() {
        let (text, code) = explained(&["http://jellyfin.lan/"]).unwrap();
        assert!(text.contains("@table") && text.contains("http://10.30.0.11:8096"), "{text}");
        assert_eq!(code, OK);
        let (text, code) = explained(&["http://f.example.com/"]).unwrap();
        assert!(
            text.contains("router       no-such-service@file") && text.contains("answer       503"),
            "{text}"
        );
        assert_eq!(code, OK);
    }

    #[test]
    fn what_tls_and_tcp_do_before_a_request_is_said() {
        for (arguments, lines) in [
            (
                &["https://strict.example.com/"][..],
                &[
                    "TLS options  strict@file (for strict.example.com)",
                    "router       strict@file (priority 26)",
                ][..],
            ),
            (
                &["https://blog.example.com/", "-H", "Host: strict.example.com"],
                &[
                    "TLS options  default (for blog.example.com)",
                    "answer       421 (its host asks for TLS options `strict@file`, the name for others)",
                ],
            ),
            (
                &["https://locked.example.com/"],
                &[
                    "TLS options  locked@file (for locked.example.com)",
                    "answer       none (the TLS handshake is refused: invalid clientAuthType: \
                     RequireAndVerifyClientCert, CAFiles is required)",
                ],
            ),
            (
                &["https://db.example.com/"],
                &["TCP router   db@file (priority 25; TLS: passthrough)", "service      db@file"],
            ),
            (&["https://10.0.0.9/"], &["TLS options  default (for no name)"]),
        ] {
            let (text, _) = explained(arguments).unwrap();
            for line in lines {
                assert!(text.lines().any(|found| found == *line), "{arguments:?}: {line}\n{text}");
            }
        }
    }

    #[test]
    fn a_wrong_question_is_refused() {
        for (arguments, expected) in [
            (&[][..], "which URL?"),
            (&["http://a/", "--from", "here"], "`here` is not an IP address"),
            (&["http://a/", "--format", "xml"], "there is no format `xml`; write `text` or `json`"),
            (&["http://a/", "--entry-point", "wbe"], "there is no entry point `wbe`"),
        ] {
            assert_eq!(explained(arguments).unwrap_err(), (expected.to_owned(), USAGE), "{arguments:?}");
        }
        let (wrong, code) = explained(&["http://a/", "--admin", "127.0.0.1:1"]).unwrap_err();
        assert!(wrong.starts_with("the gateway is not reachable: 127.0.0.1:1: "), "{wrong}");
        assert_eq!(code, UNREACHABLE);
    }
}
