//! `GET /api/certificates`: what is served, what is ordered, and why something is not there. `POST …/renew` and
//! `POST …/export` change or hand out something, and so they need the token wherever they come from.

use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use axum::body::Body;
use axum::extract::{Path, Request, State};
use axum::response::Response;
use http::{Method, StatusCode, header};
use security::acme::{OrderState, Phase};
use security::certificate::{Certificate, CertificateSource};
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::answer::{Answer, json as json_answer, problem};
use super::{AdminState, now, read_body, reading, views};
use crate::control::certificates::RenewError;
use crate::snapshot::Snapshot;

/// With less than this left of a certificate its status is a warning.
const WARN_DAYS: u64 = 21;

/// What a call names.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct Wanted {
    domain: Option<String>,
}

/// All of them, and all that are wanted.
pub(super) async fn list(State(state): State<Arc<AdminState>>, method: Method) -> Response {
    reading(&method, || json_answer(StatusCode::OK, &all(&state.snapshot.load(), now())))
}

/// One, by the SHA-256 of its leaf.
pub(super) async fn one(
    State(state): State<Arc<AdminState>>,
    Path(id): Path<String>,
    method: Method,
) -> Response {
    reading(&method, || {
        let id = id.to_ascii_lowercase();
        match all(&state.snapshot.load(), now()).into_iter().find(|certificate| certificate["id"] == *id) {
            Some(certificate) => json_answer(StatusCode::OK, &certificate),
            None => problem(StatusCode::NOT_FOUND, "there is no certificate with this identifier"),
        }
    })
}

/// Has certificates renewed before their time.
pub(super) async fn renew(State(state): State<Arc<AdminState>>, request: Request) -> Response {
    let wanted = match wanted(request).await {
        Ok(wanted) => wanted,
        Err(refusal) => return refusal.map(Body::from),
    };
    let answer = match state.certificates.renew(wanted.domain.as_deref()) {
        Ok(count) => json_answer(StatusCode::ACCEPTED, &json!({ "renewing": count })),
        Err(error @ (RenewError::NoResolver | RenewError::Unknown(_))) => {
            problem(StatusCode::NOT_FOUND, &error.to_string())
        }
        Err(error @ RenewError::Halted { .. }) => problem(StatusCode::CONFLICT, &error.to_string()),
    };
    answer.map(Body::from)
}

/// Hands out the certificate that a name gets, with its key.
pub(super) async fn export(State(state): State<Arc<AdminState>>, request: Request) -> Response {
    let wanted = match wanted(request).await {
        Ok(wanted) => wanted,
        Err(refusal) => return refusal.map(Body::from),
    };
    let Some(domain) = wanted.domain else {
        return problem(StatusCode::BAD_REQUEST, "`domain` is missing").map(Body::from);
    };
    let domain = domain.trim_end_matches('.').to_ascii_lowercase();
    let snapshot = state.snapshot.load();
    let answer = match find(&snapshot, &domain) {
        None => problem(StatusCode::NOT_FOUND, &format!("there is no certificate for {domain}")),
        Some(certificate) => json_answer(
            StatusCode::OK,
            &json!({
                "domain": domain,
                "id": id(certificate),
                "notAfter": time(certificate.not_after),
                "certificate": certificate.chain_pem(),
                "key": certificate.key_pem.expose(),
            }),
        ),
    };
    answer.map(Body::from)
}

/// The body of a call, which may be empty.
async fn wanted(request: Request) -> Result<Wanted, Box<Answer>> {
    if *request.method() != Method::POST {
        let mut refusal = problem(StatusCode::METHOD_NOT_ALLOWED, "this call is a POST");
        refusal.headers_mut().insert(header::ALLOW, http::HeaderValue::from_static("POST"));
        return Err(Box::new(refusal));
    }
    let body = read_body(request).await?;
    if body.is_empty() {
        return Ok(Wanted::default());
    }
    serde_json::from_slice(&body).map_err(|_| {
        Box::new(problem(
            StatusCode::BAD_REQUEST,
            "the body is not of the form {\"domain\": \"app.example.com\"}",
        ))
    })
}

/// The certificate for a name, or for a wildcard as written. Never the default one.
fn find<'a>(snapshot: &'a Snapshot, domain: &str) -> Option<&'a Arc<Certificate>> {
    let store = &snapshot.certificates;
    if domain.starts_with('*') {
        return store
            .all()
            .find(|known| store.serves(known) && known.names.iter().any(|name| **name == *domain));
    }
    let by_address = || store.find_address(domain.parse().ok()?);
    store.find(domain).or_else(by_address)
}

/// Every certificate that can be served, then what is wanted and not there yet.
pub(super) fn all(snapshot: &Snapshot, now: SystemTime) -> Vec<Value> {
    let store = &snapshot.certificates;
    let mut orders: Vec<&OrderState> = snapshot.orders.iter().collect();
    let default = store.default_certificate();
    let mut certificates: Vec<&Arc<Certificate>> = store.all().collect();
    certificates.extend(default.filter(|default| !store.all().any(|other| Arc::ptr_eq(other, default))));
    certificates.sort_by(|a, b| (&a.names, a.not_after).cmp(&(&b.names, b.not_after)));
    let mut views: Vec<Value> = certificates
        .into_iter()
        .map(|certificate| {
            let order = orders.iter().position(|order| is_of(order, certificate)).map(|at| orders.remove(at));
            let mut view = view(certificate, now);
            view.insert("served".to_owned(), json!(store.serves(certificate)));
            view.insert(
                "default".to_owned(),
                json!(default.is_some_and(|default| Arc::ptr_eq(default, certificate))),
            );
            add_order(&mut view, order);
            Value::Object(view)
        })
        .collect();
    views.extend(orders.into_iter().map(|order| {
        let names: Vec<&str> = order.domain.names().map(|name| &**name).collect();
        let mut view = Map::new();
        view.insert("commonName".to_owned(), json!(&*order.domain.main));
        view.insert("sans".to_owned(), json!(names));
        view.insert("status".to_owned(), json!("disabled"));
        view.insert("resolver".to_owned(), json!(&*order.resolver));
        add_order(&mut view, Some(order));
        Value::Object(view)
    }));
    views
}

/// Whether this is the order of that certificate.
fn is_of(order: &OrderState, certificate: &Certificate) -> bool {
    let CertificateSource::Resolver(resolver) = &certificate.source else { return false };
    let mut names: Vec<&str> = order.domain.names().map(|name| &**name).collect();
    names.sort_unstable();
    names.dedup();
    *resolver == order.resolver && names.iter().copied().eq(certificate.names.iter().map(|name| &**name))
}

/// What Traefik shows of a certificate, under its keys, and where it comes from.
fn view(certificate: &Certificate, now: SystemTime) -> Map<String, Value> {
    let left = certificate.not_after.duration_since(now).map_or(0, |left| left.as_secs());
    let status = match left {
        _ if !certificate.is_valid(now) => "disabled",
        left if left < WARN_DAYS * 86_400 => "warning",
        _ => "enabled",
    };
    let names: Vec<&str> = certificate.names.iter().map(|name| &**name).collect();
    let mut view = Map::new();
    let mut put = |key: &str, value: Value| view.insert(key.to_owned(), value);
    put("id", json!(id(certificate)));
    put("commonName", json!(certificate.common_name));
    put("sans", json!(names));
    put("notBefore", json!(time(certificate.not_before)));
    put("notAfter", json!(time(certificate.not_after)));
    put("serialNumber", json!(certificate.serial));
    put("issuerOrg", json!(certificate.issuer_organisation));
    put("issuerCN", json!(certificate.issuer));
    put("keyType", json!(certificate.key_type));
    put("keySize", json!(certificate.key_bits));
    put("signatureAlgorithm", json!(certificate.signature_algorithm));
    put("status", json!(status));
    match &certificate.source {
        CertificateSource::Resolver(resolver) => put("resolver", json!(&**resolver)),
        CertificateSource::File(path) => put("file", json!(path.display().to_string())),
        CertificateSource::Text => put("file", json!("(text in a routing file)")),
        CertificateSource::Generated => put("file", json!("(made at the start)")),
    };
    view
}

/// How it stands with it at its resolver.
fn add_order(view: &mut Map<String, Value>, order: Option<&OrderState>) {
    let Some(order) = order else { return };
    let state = match order.phase {
        Phase::Valid => "valid",
        Phase::Waiting => "waiting",
        Phase::Ordering => "ordering",
        Phase::BackingOff => "backingOff",
        Phase::Halted => "halted",
    };
    view.insert("state".to_owned(), json!(state));
    if let Some(next) = order.next {
        view.insert("nextTry".to_owned(), json!(time(next)));
    }
    if let Some(failure) = &order.failure {
        view.insert("reason".to_owned(), json!(&*failure.reason));
        view.insert("failedAt".to_owned(), json!(time(failure.at)));
        view.insert("attempts".to_owned(), json!(failure.attempts));
    }
}

/// For `/api/overview`.
pub(super) fn counts(snapshot: &Snapshot) -> Value {
    let all = all(snapshot, now());
    let count = |status: &str| all.iter().filter(|certificate| certificate["status"] == *status).count();
    json!({ "errors": count("disabled"), "total": all.len(), "warnings": count("warning") })
}

fn id(certificate: &Certificate) -> String {
    certificate.fingerprint.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn time(time: SystemTime) -> String {
    views::rfc3339(time.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs()))
}

#[cfg(test)]
#[path = "certificates_tests.rs"]
mod tests;
