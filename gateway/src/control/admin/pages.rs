//! `/dashboard/`: one plain page of routers, services and problems, made from a snapshot.

use std::fmt::Write;

use http::{HeaderMap, HeaderValue, Response, StatusCode, header};

use super::answer::{Answer, text};
use crate::snapshot::Snapshot;

/// The page, or the way to it; `None` for any other path.
pub(super) fn answer(path: &str, headers: &HeaderMap, snapshot: &Snapshot, base: &str) -> Option<Answer> {
    match path {
        "/" | "/dashboard" => Some(redirect(headers, base)),
        "/dashboard/" => Some(page(snapshot)),
        _ => None,
    }
}

fn redirect(headers: &HeaderMap, base: &str) -> Answer {
    // Behind a router that strips a prefix, the visitor has to ask for the path with it.
    let prefix = headers
        .get("x-forwarded-prefix")
        .and_then(|prefix| prefix.to_str().ok())
        .filter(|prefix| is_path(prefix))
        .unwrap_or("");
    let location = format!("{}{base}/dashboard/", prefix.trim_end_matches('/'));
    let mut answer = Response::new(bytes::Bytes::new());
    *answer.status_mut() = StatusCode::FOUND;
    let location = HeaderValue::from_str(&location).unwrap_or(HeaderValue::from_static("/dashboard/"));
    answer.headers_mut().insert(header::LOCATION, location);
    answer
}

/// A path of this site: `//elsewhere` and `/\elsewhere` lead to another.
fn is_path(prefix: &str) -> bool {
    prefix.starts_with('/')
        && !prefix.contains("//")
        && prefix.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"/-._~".contains(&byte))
}

fn page(snapshot: &Snapshot) -> Answer {
    let listing = &snapshot.routing.listing;
    let mut page = String::from(
        "<!DOCTYPE html><html lang=\"en\"><head><meta charset=\"utf-8\"><title>Hearthgate</title><style>\
         body{font-family:system-ui,sans-serif;margin:2rem;color-scheme:light dark}\
         table{border-collapse:collapse;margin-bottom:2rem}\
         th,td{text-align:left;padding:.25rem .75rem;border-bottom:1px solid #8886;vertical-align:top}\
         </style></head><body><h1>Hearthgate</h1>",
    );
    let count = snapshot.problems.len();
    section(&mut page, &format!("Problems ({count})"), &["Where", "What"], {
        snapshot.problems.iter().map(|problem| {
            let mut what = String::new();
            if !problem.subject.is_empty() {
                let _ = write!(what, "{}: ", problem.subject);
            }
            what.push_str(&problem.message);
            if let Some(hint) = &problem.hint {
                let _ = write!(what, "; {hint}");
            }
            vec![problem.origin.to_string(), what]
        })
    });
    section(&mut page, "Routers", &["Name", "Rule", "Entry points", "Service", "Priority", "Status"], {
        listing.routers.iter().map(|(name, listed)| {
            vec![
                name.to_string(),
                listed.item.value.rule.clone(),
                listed.used_by.join(", "),
                listed.item.value.service.clone(),
                listed.priority.to_string(),
                state(listed.status.as_str(), &listed.errors),
            ]
        })
    });
    section(&mut page, "Services", &["Name", "Servers", "Used by", "Status"], {
        listing.services.iter().map(|(name, listed)| {
            let servers = snapshot.routing.services.get(name).map_or_else(String::new, |service| {
                let mut urls: Vec<&str> = service.servers.iter().map(|server| &*server.url).collect();
                urls.extend(service.down.as_deref());
                urls.join(", ")
            });
            vec![
                name.to_string(),
                servers,
                listed.used_by.join(", "),
                state(listed.status.as_str(), &listed.errors),
            ]
        })
    });
    page.push_str("</body></html>\n");
    let mut answer = text(StatusCode::OK, "text/html; charset=utf-8", page);
    answer.headers_mut().insert(
        header::CONTENT_SECURITY_POLICY,
        HeaderValue::from_static("default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'"),
    );
    answer
}

fn state(status: &str, errors: &[String]) -> String {
    if errors.is_empty() { status.to_owned() } else { format!("{status}: {}", errors.join("; ")) }
}

fn section(page: &mut String, title: &str, columns: &[&str], rows: impl Iterator<Item = Vec<String>>) {
    let _ = write!(page, "<h2>{}</h2><table><tr>", escaped(title));
    for column in columns {
        let _ = write!(page, "<th>{}</th>", escaped(column));
    }
    page.push_str("</tr>");
    for row in rows {
        page.push_str("<tr>");
        for cell in row {
            let _ = write!(page, "<td>{}</td>", escaped(&cell));
        }
        page.push_str("</tr>");
    }
    page.push_str("</table>");
}

/// Names and rules come from labels, and labels from anyone's image.
fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            other => out.push(other),
        }
    }
    out
}
