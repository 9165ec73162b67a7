//! `hearthgate check`: every problem of the configuration, with its place and what to write instead.

use config::{Problem, Severity};
use serde_json::json;

use super::arguments::{Opt, parse};
use super::offline::{block_on, load};
use super::{Call, FAILED, OK, USAGE, complain, print};
use crate::control::admin::problem_view;

const USAGE_TEXT: &str = "\
usage: hearthgate check [--docker] [--format text|json] [flags of the install configuration]

Loads the install configuration, the routing files and the static table, and lists every problem; also what DNS
providers of certificate resolvers lack in this environment. Nothing is sent to them.
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

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use serde_json::Value;

    use super::*;

    /// Tests run in the folder of their package; the examples name each other from there.
    const EXAMPLES: &str = "../tests/data/check";

    fn checked(file: &str, further: &[&str]) -> (String, u8) {
        let mut arguments = vec![format!("--configFile={EXAMPLES}/{file}")];
        arguments.extend(further.iter().map(|argument| (*argument).to_owned()));
        try_check(&Call { arguments, variables: Arc::default() }).unwrap()
    }

    /// What is printed stands beside the examples.
    fn check_golden(name: &str, text: &str) {
        insta::with_settings!(
            { snapshot_path => "../../../tests/data/check", prepend_module_to_snapshot => false, omit_expression => true },
            { insta::assert_snapshot!(name, text); }
        );
    }

    #[test]
    fn every_fault_of_the_examples_is_told_with_its_place() {
        let (text, code) = checked("hearthgate.yml", &[]);
        assert_eq!(code, FAILED);
        check_golden("check", &text);
        for good in ["good.yml", "router `neighbour`", "guest `jellyfin`", "guest `vaultwarden`"] {
            assert!(!text.contains(good), "{good} is good: {text}");
        }
    }

    #[test]
    fn an_install_configuration_that_cannot_be_used_is_told_whole() {
        let (text, code) = checked("broken-install.yml", &[]);
        assert_eq!(code, USAGE);
        check_golden("broken_install", &text);
        let values =
            ["--entryPoints.web.address=:99999", "--accessLog.format=fancy", "--providers.fiel.filename=x"];
        for value in values {
            let call = Call { arguments: vec![value.to_owned()], variables: Arc::default() };
            let (text, code) = try_check(&call).unwrap();
            assert_eq!(code, USAGE, "{text}");
            let flag = value.split('=').next().unwrap();
            assert!(text.contains(flag), "{text}");
        }
    }

    #[test]
    fn json_says_what_text_says() {
        let (text, _) = checked("hearthgate.yml", &[]);
        let (report, code) = checked("hearthgate.yml", &["--format", "json"]);
        assert_eq!(code, FAILED);
        let report: Value = serde_json::from_str(&report).unwrap();
        let texts: Vec<&str> = report["problems"]
            .as_array()
            .unwrap()
            .iter()
            .map(|problem| problem["text"].as_str().unwrap())
            .collect();
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(texts, lines[..lines.len() - 1]);
    }

    #[test]
    fn good_files_have_no_problem() {
        let folder = format!("--providers.file.filename={EXAMPLES}/routes/good.yml");
        let arguments = vec!["--entryPoints.web.address=:80".to_owned(), folder];
        let (text, code) = try_check(&Call { arguments, variables: Arc::default() }).unwrap();
        assert_eq!((text.as_str(), code), ("no problems\n", OK));
    }

    #[test]
    fn a_dns_provider_that_cannot_be_built_is_told_without_asking_anybody() {
        let check = |provider: &str, variables: &[(&str, &str)], expected: Option<&str>| {
            let arguments = vec![
                "--entryPoints.websecure.address=:443".to_owned(),
                format!("--certificatesResolvers.le.acme.dnsChallenge.provider={provider}"),
            ];
            let variables = variables.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
            let (text, code) =
                try_check(&Call { arguments, variables: Arc::new(variables.collect()) }).unwrap();
            match expected {
                None => assert_eq!((text.as_str(), code), ("no problems\n", OK)),
                Some(expected) => {
                    assert_eq!(code, FAILED, "{text}");
                    assert!(text.contains("certificate resolver `le`") && text.contains(expected), "{text}");
                    assert!(!text.contains("hidden-token"), "{text}");
                }
            }
        };
        check("cloudflare", &[("CF_DNS_API_TOKEN", "hidden-token")], None);
        check("cloudflare", &[], Some("needs CF_DNS_API_TOKEN"));
        check("cloudflare", &[("CF_DNS_API_TOKN", "hidden-token")], Some("needs CF_DNS_API_TOKEN"));
        check("clouflare", &[("CF_DNS_API_TOKEN", "hidden-token")], Some("did you mean \"cloudflare\"?"));
        let both = [("DESEC_TOKEN", "hidden-token"), ("DESEC_TOKEN_FILE", "/run/secrets/token")];
        check("desec", &both, Some("DESEC_TOKEN and DESEC_TOKEN_FILE are both set"));
    }

    #[test]
    fn a_wrong_call_is_not_a_check() {
        for arguments in [&["--format", "xml"][..], &["there"], &["--format"]] {
            let arguments = arguments.iter().map(|argument| (*argument).to_owned()).collect();
            assert!(try_check(&Call { arguments, variables: Arc::default() }).is_err());
        }
    }

    #[test]
    fn a_problem_is_one_line_whatever_a_label_holds() {
        let problem = Problem::error(config::Origin::container("a\nb", "1"), "router `x\r\n`", "bad\x1b[2J");
        assert_eq!(text_report(&[problem]).lines().count(), 2);
    }
}
