//! `hearthgate check`: every problem of the configuration, with its place and what to write instead.

use config::{Problem, Severity};
use serde_json::json;

use super::arguments::{Opt, parse};
use super::offline::{block_on, load};
use super::{Call, FAILED, OK, USAGE, complain, print};
use crate::control::admin::problem_view;

const USAGE_TEXT: &str = "\
usage: hearthgate check [--docker] [--format text|json] [flags of the install configuration]

Loads the install configuration, the routing files and the static table, and lists every problem.
  --docker   asks the Docker Engine too, for the labels of the running containers
  --format   text (one problem a line) or json
exit status: 0 no problem, 1 problems, 2 the install configuration cannot be used
";

const OPTIONS: &[Opt] = &[
    Opt { names: &["-h", "--help"], takes_value: false },
    Opt { names: &["--docker"], takes_value: false },
    Opt { names: &["--format"], takes_value: true },
];

/// Checks; returns the exit code.
pub(super) fn check(call: &Call) -> u8 {
    match try_check(call) {
        Ok((text, code)) => {
            print(&text);
            code
        }
        Err(wrong) => {
            complain(&format!("hearthgate check: {wrong}"));
            USAGE
        }
    }
}

/// What is printed, and the exit code; or what is wrong with the call.
fn try_check(call: &Call) -> Result<(String, u8), String> {
    let arguments = parse(call, OPTIONS, 0)?;
    if arguments.has("-h") {
        return Ok((USAGE_TEXT.to_owned(), OK));
    }
    let as_json = match arguments.value("--format") {
        None | Some("text") => false,
        Some("json") => true,
        Some(other) => return Err(format!("there is no format `{other}`; write `text` or `json`")),
    };
    let (mut problems, code) = match block_on(load(&arguments.install, arguments.has("--docker")))? {
        Ok(offline) => {
            let problems = offline.snapshot.problems.to_vec();
            let code = if problems.is_empty() { OK } else { FAILED };
            (problems, code)
        }
        Err(problems) => (problems, USAGE),
    };
    // By place: the problems of one file stand together, in its order.
    problems.sort_by(|a, b| (&a.origin, &a.subject, a).cmp(&(&b.origin, &b.subject, b)));
    Ok((if as_json { json_report(&problems) } else { text_report(&problems) }, code))
}

fn text_report(problems: &[Problem]) -> String {
    let mut text = String::new();
    for problem in problems {
        // A name in a label may hold anything; a problem is one line all the same.
        text.extend(problem.to_string().chars().map(|c| if c.is_control() { '\u{fffd}' } else { c }));
        text.push('\n');
    }
    let count = |severity| problems.iter().filter(|problem| problem.severity == severity).count();
    let (errors, warnings) = (count(Severity::Error), count(Severity::Warning));
    text.push_str(&match (errors, warnings) {
        (0, 0) => "no problems\n".to_owned(),
        _ => format!("{}, {}\n", counted(errors, "error"), counted(warnings, "warning")),
    });
    text
}

fn json_report(problems: &[Problem]) -> String {
    let problems: Vec<_> = problems.iter().map(problem_view).collect();
    format!("{:#}\n", json!({ "problems": problems }))
}

/// `1 error`, `2 errors`.
pub(super) fn counted(count: usize, noun: &str) -> String {
    format!("{count} {noun}{}", if count == 1 { "" } else { "s" })
}
