//! `hearthgate status`: what the running gateway says of itself.

use serde_json::Value;

use super::arguments::{Opt, parse};
use super::check::counted;
use super::client::{Client, admin_option};
use super::{Call, FAILED, OK, UNREACHABLE, USAGE, complain, print};

const USAGE_TEXT: &str = "\
usage: hearthgate status [--admin ADDRESS] [flags of the install configuration]

Shows the state of every part of the running gateway, what it routes, and how many problems it has.
exit status: 0 ready, 1 not ready or refused, 2 wrong call, 3 not reachable
";

const OPTIONS: &[Opt] = &[Opt { names: &["-h", "--help"], takes_value: false }, admin_option()];

/// Asks; returns the exit code.
pub(super) fn status(call: &Call) -> u8 {
    match try_status(call) {
        Ok((text, code)) => {
            print(&text);
            code
        }
        Err((wrong, code)) => {
            complain(&format!("hearthgate status: {wrong}"));
            code
        }
    }
}

fn try_status(call: &Call) -> Result<(String, u8), (String, u8)> {
    let arguments = parse(call, OPTIONS, 0).map_err(|wrong| (wrong, USAGE))?;
    if arguments.has("-h") {
        return Ok((USAGE_TEXT.to_owned(), OK));
    }
    let client = Client::of(&arguments).map_err(|wrong| (wrong, USAGE))?;
    let get = |path: &str| client.get(path).map_err(|unreachable| (unreachable.to_string(), UNREACHABLE));
    let ready = get("/ready")?;
    if ready.status != 200 && ready.status != 503 {
        return Err((ready.complaint(), FAILED));
    }
    let (version, overview) = (get("/api/version")?.json(), get("/api/overview")?.json());
    Ok((report(&version, &ready.json(), &overview), if ready.status == 200 { OK } else { FAILED }))
}

fn report(version: &Value, ready: &Value, overview: &Value) -> String {
    let word = |value: &Value| value.as_str().unwrap_or("?").to_owned();
    let mut lines = vec![
        (
            "hearthgate".to_owned(),
            format!("{}, since {}", word(&version["Version"]), word(&version["startDate"])),
        ),
        ("state".to_owned(), word(&ready["state"])),
    ];
    for part in ready["parts"].as_array().into_iter().flatten() {
        let state = match part["reason"].as_str() {
            Some(reason) => format!("{}: {reason}", word(&part["state"])),
            None => word(&part["state"]),
        };
        lines.push((word(&part["name"]), state));
    }
    let number = |value: &Value| value.as_u64().and_then(|count| usize::try_from(count).ok()).unwrap_or(0);
    for kind in ["routers", "services", "middlewares"] {
        let section = &overview["http"][kind];
        let (errors, warnings) = (number(&section["errors"]), number(&section["warnings"]));
        let mut text = number(&section["total"]).to_string();
        if errors + warnings > 0 {
            text.push_str(&format!(" ({}, {})", counted(errors, "error"), counted(warnings, "warning")));
        }
        lines.push((kind.to_owned(), text));
    }
    let problems = &overview["problems"];
    lines.push((
        "problems".to_owned(),
        format!(
            "{}, {}",
            counted(number(&problems["errors"]), "error"),
            counted(number(&problems["warnings"]), "warning")
        ),
    ));
    let width = lines.iter().map(|(name, _)| name.len()).max().unwrap_or(0);
    lines.into_iter().map(|(name, text)| format!("{name:width$}  {text}\n")).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn every_part_has_its_line() {
        let version = json!({ "Version": "1.2.3", "startDate": "2026-11-21T16:00:00Z" });
        let ready = json!({ "state": "degraded", "parts": [
            { "name": "gateway", "state": "ready" },
            { "name": "provider docker", "state": "degraded", "reason": "connection refused" },
        ]});
        let section = |total, errors| json!({ "total": total, "errors": errors, "warnings": 0 });
        let overview = json!({
            "http": { "routers": section(3, 1), "services": section(2, 0), "middlewares": section(0, 0) },
            "problems": { "errors": 1, "warnings": 2 },
        });
        assert_eq!(
            report(&version, &ready, &overview),
            "hearthgate       1.2.3, since 2026-11-21T16:00:00Z\n\
             state            degraded\n\
             gateway          ready\n\
             provider docker  degraded: connection refused\n\
             routers          3 (1 error, 0 warnings)\n\
             services         2\n\
             middlewares      0\n\
             problems         1 error, 2 warnings\n"
        );
    }
}
