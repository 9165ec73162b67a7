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
                          [--docker | --admin [ADDRESS]] [--format text|json] [flags of the install configuration]

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
