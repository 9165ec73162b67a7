//! `hearthgate reload`: has the running gateway read everything again, and shows what changed.

use serde_json::Value;

use super::arguments::{Opt, parse};
use super::client::{Client, admin_option};
use super::{Call, FAILED, OK, UNREACHABLE, USAGE, complain, print};

const USAGE_TEXT: &str = "\
usage: hearthgate reload [--admin ADDRESS] [flags of the install configuration]

Has the running gateway read files and labels again and lists what changed. Bad input changes nothing.
exit status: 0 done, 1 refused, 2 wrong call, 3 not reachable
";

const OPTIONS: &[Opt] = &[Opt { names: &["-h", "--help"], takes_value: false }, admin_option()];

/// Asks; returns the exit code.
pub(super) fn reload(call: &Call) -> u8 {
    match try_reload(call) {
        Ok(text) => {
            print(&text);
            OK
        }
        Err((wrong, code)) => {
            complain(&format!("hearthgate reload: {wrong}"));
            code
        }
    }
}

fn try_reload(call: &Call) -> Result<String, (String, u8)> {
    let arguments = parse(call, OPTIONS, 0).map_err(|wrong| (wrong, USAGE))?;
    if arguments.has("-h") {
        return Ok(USAGE_TEXT.to_owned());
    }
    let client = Client::of(&arguments).map_err(|wrong| (wrong, USAGE))?;
    let answer = client.post("/api/reload").map_err(|unreachable| (unreachable.to_string(), UNREACHABLE))?;
    if answer.status != 200 {
        return Err((answer.complaint(), FAILED));
    }
    Ok(report(&answer.json()))
}

fn report(answer: &Value) -> String {
    let mut text = format!("version {}\n", answer["version"]);
    let changes = answer["changes"].as_array().map_or(&[][..], Vec::as_slice);
    for change in changes {
        let word = |key: &str| change[key].as_str().unwrap_or("?").to_owned();
        text.push_str(&format!("{} {}\n", word("kind"), word("subject")));
    }
    if changes.is_empty() {
        text.push_str("nothing changed\n");
    }
    for problem in answer["problems"].as_array().into_iter().flatten() {
        text.push_str(&format!("{}\n", problem["text"].as_str().unwrap_or("?")));
    }
    text
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn changes_come_before_problems() {
        let answer = json!({
            "version": 7,
            "changes": [{ "kind": "added", "subject": "router `blog@docker`" }],
            "problems": [{ "text": "a.yml:1:1: error: bad" }],
        });
        assert_eq!(report(&answer), "version 7\nadded router `blog@docker`\na.yml:1:1: error: bad\n");
        assert_eq!(
            report(&json!({ "version": 8, "changes": [], "problems": [] })),
            "version 8\nnothing changed\n"
        );
    }
}
