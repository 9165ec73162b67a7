//! Traefik's read API: its paths, its search, filters, sorting and paging, its error texts.

use std::borrow::Cow;
use std::cmp::Ordering;

use http::{HeaderMap, HeaderValue, StatusCode, Uri};
use serde_json::{Map, Value, json};

use super::AdminState;
use super::answer::{Answer, json as json_answer, traefik_error};
use super::pages;
use super::views::{self, Element, Kind};
use crate::snapshot::Snapshot;

/// Elements on a page where none is asked for.
const PER_PAGE: usize = 100;

impl AdminState {
    /// The answer to a path of Traefik's API or dashboard; `None` if it has no such path.
    pub(super) fn read_api(&self, uri: &Uri, headers: &HeaderMap) -> Option<Answer> {
        let base = self.install.api.as_ref().map_or("", |api| api.base_path.as_str());
        let path = uri.path();
        // With `api.basePath` the admin listener goes on answering at the root too.
        let path = path.strip_prefix(base).filter(|rest| rest.starts_with('/')).unwrap_or(path);
        let query = Query::parse(uri.query().unwrap_or(""));
        let snapshot = self.snapshot.load();
        let Some(path) = path.strip_prefix("/api/") else {
            return pages::answer(path, headers, &snapshot, base);
        };
        match path {
            "version" => Some(json_answer(
                StatusCode::OK,
                &json!({
                    "Version": env!("CARGO_PKG_VERSION"),
                    "Codename": "hearthgate",
                    "startDate": self.start_date(),
                    "disableDashboardAd": true,
                }),
            )),
            "overview" => Some(json_answer(StatusCode::OK, &views::overview(&snapshot, &self.install))),
            "rawdata" => Some(json_answer(StatusCode::OK, &self.raw_data(&snapshot))),
            "entrypoints" => Some(self.entry_points(&query)),
            _ => match path.strip_prefix("entrypoints/") {
                Some(name) => Some(self.entry_point(&decode(name))),
                None => self.items(path, &query, &snapshot),
            },
        }
    }

    fn raw_data(&self, snapshot: &Snapshot) -> Value {
        let mut data = Map::new();
        for kind in Kind::ALL {
            let elements = kind.elements(snapshot, &self.install);
            if !elements.is_empty() {
                let elements: Map<String, Value> = elements
                    .into_iter()
                    .map(|element| (element.name, Value::Object(element.fields)))
                    .collect();
                data.insert(kind.raw_key().to_owned(), Value::Object(elements));
            }
        }
        Value::Object(data)
    }

    fn entry_points(&self, query: &Query<'_>) -> Answer {
        let mut entry_points: Vec<_> = self.install.entry_points.iter().collect();
        entry_points.sort_by(|a, b| a.name.cmp(&b.name));
        let views = entry_points.into_iter().map(views::entry_point).collect();
        page(views, query)
    }

    fn entry_point(&self, name: &str) -> Answer {
        match self.install.entry_points.iter().find(|entry_point| entry_point.name.as_str() == name) {
            Some(entry_point) => json_answer(StatusCode::OK, &views::entry_point(entry_point)),
            None => traefik_error(StatusCode::NOT_FOUND, &format!("entry point not found: {name}")),
        }
    }

    /// `http/routers` and the seven others, as a list or one element.
    fn items(&self, path: &str, query: &Query<'_>, snapshot: &Snapshot) -> Option<Answer> {
        let (kind, name) = Kind::ALL.into_iter().find_map(|kind| {
            let rest = path.strip_prefix(kind.path())?;
            if rest.is_empty() { Some((kind, None)) } else { Some((kind, Some(rest.strip_prefix('/')?))) }
        })?;
        let elements = kind.elements(snapshot, &self.install);
        let Some(name) = name else {
            let mut found: Vec<Element> =
                elements.into_iter().map(Element::named).filter(|element| query.keeps(element)).collect();
            query.sort(&mut found);
            return Some(page(
                found.into_iter().map(|element| Value::Object(element.fields)).collect(),
                query,
            ));
        };
        // As Traefik asks for it, `%2F` is a slash; a name may hold one.
        let name = decode(name);
        Some(match elements.into_iter().find(|element| element.name == name) {
            Some(element) => json_answer(StatusCode::OK, &Value::Object(element.named().fields)),
            None => traefik_error(StatusCode::NOT_FOUND, &format!("{} not found: {name}", kind.noun())),
        })
    }
}

/// One page of a list, and the number of the next.
fn page(items: Vec<Value>, query: &Query<'_>) -> Answer {
    let number = |key: &str, default: usize| match query.get(key) {
        None | Some("") => Ok(default),
        Some(text) => match text.parse::<usize>() {
            Ok(number) if number > 0 => Ok(number),
            Ok(_) | Err(_) => Err(format!("invalid request: {key}: {text}")),
        },
    };
    let (page, per_page) = match (number("page", 1), number("per_page", PER_PAGE)) {
        (Ok(page), Ok(per_page)) => (page, per_page),
        (Err(message), _) | (_, Err(message)) => return traefik_error(StatusCode::BAD_REQUEST, &message),
    };
    let start = (page - 1).saturating_mul(per_page);
    if start > 0 && start >= items.len() {
        let message = format!("invalid request: page: {page}, per_page: {per_page}");
        return traefik_error(StatusCode::BAD_REQUEST, &message);
    }
    let next = if start.saturating_add(per_page) < items.len() { page + 1 } else { 1 };
    let shown: Vec<Value> = items.into_iter().skip(start).take(per_page).collect();
    let mut answer = json_answer(StatusCode::OK, &shown);
    answer.headers_mut().insert("x-next-page", HeaderValue::from(next));
    answer
}

/// Parameters of a list.
#[derive(Debug)]
struct Query<'a>(Vec<(Cow<'a, str>, Cow<'a, str>)>);

impl<'a> Query<'a> {
    fn parse(query: &'a str) -> Self {
        Self(parse_query(query))
    }

    fn get(&self, key: &str) -> Option<&str> {
        self.0.iter().find(|(name, _)| name == key).map(|(_, value)| &**value)
    }

    fn keeps(&self, element: &Element) -> bool {
        let given = |key: &str| self.get(key).filter(|value| !value.is_empty());
        if given("status").is_some_and(|status| !element.status.eq_ignore_ascii_case(status)) {
            return false;
        }
        if let Some(search) = given("search") {
            let search = search.to_lowercase();
            let found = ["name", "rule", "provider", "service"]
                .into_iter()
                .any(|key| element.text(key).to_lowercase().contains(&search));
            if !found {
                return false;
            }
        }
        if given("serviceName")
            .is_some_and(|service| !is_reference(element, element.text("service"), service))
        {
            return false;
        }
        if let Some(middleware) = given("middlewareName") {
            let bare = middleware.rsplit_once('@').map_or(middleware, |(name, _)| name);
            return element.lists("middlewares", middleware)
                || (element.lists("middlewares", bare) && is_reference(element, bare, middleware));
        }
        true
    }

    fn sort(&self, elements: &mut [Element]) {
        let by = self.get("sortBy").unwrap_or("name");
        let compare = |a: &Element, b: &Element| -> Ordering {
            match by {
                "provider" | "status" | "rule" | "service" | "type" => a.text(by).cmp(b.text(by)),
                "priority" => a.number(by).cmp(&b.number(by)),
                "entryPoints" => a.count(by).cmp(&b.count(by)),
                "servers" => servers(a).cmp(&servers(b)),
                _ => Ordering::Equal,
            }
            .then_with(|| a.name.cmp(&b.name))
        };
        elements.sort_by(compare);
        if self.get("direction") == Some("desc") {
            elements.reverse();
        }
    }
}

/// How many servers a service has.
fn servers(element: &Element) -> usize {
    element.fields.get("loadBalancer").and_then(|balancer| balancer["servers"].as_array()).map_or(0, Vec::len)
}

/// Whether `reference`, written in `element`, means the item `qualified`: a bare name is one of its own provider.
fn is_reference(element: &Element, reference: &str, qualified: &str) -> bool {
    reference == qualified || format!("{reference}@{}", element.text("provider")) == qualified
}

/// Decoded name-value pairs of a query.
pub(super) fn parse_query(query: &str) -> Vec<(Cow<'_, str>, Cow<'_, str>)> {
    query
        .split('&')
        .filter(|pair| !pair.is_empty())
        .map(|pair| {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            (decode_form(name), decode_form(value))
        })
        .collect()
}

fn decode_form(text: &str) -> Cow<'_, str> {
    if text.contains('+') { Cow::Owned(decode(&text.replace('+', " ")).into_owned()) } else { decode(text) }
}

/// Percent-decoded; bytes outside UTF-8 are replaced, which then names nothing.
fn decode(text: &str) -> Cow<'_, str> {
    if !text.contains('%') {
        return Cow::Borrowed(text);
    }
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((byte, after)) = rest.split_first() {
        let hex = |at: usize| after.get(at).and_then(|digit| char::from(*digit).to_digit(16));
        match (byte, hex(0), hex(1)) {
            (b'%', Some(high), Some(low)) => {
                bytes.push(u8::try_from(high * 16 + low).expect("two hexadecimal digits are one byte"));
                rest = &after[2..];
            }
            _ => {
                bytes.push(*byte);
                rest = after;
            }
        }
    }
    Cow::Owned(String::from_utf8_lossy(&bytes).into_owned())
}
