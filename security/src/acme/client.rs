//! The HTTP client below the ACME library, and where what the library leaves out is done: time limits, signing with the
//! account's real key, nonces that are refused, `Retry-After`, other chains, answers that are not ACME at all.

use std::pin::Pin;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use bytes::Bytes;
use config::install::CertificateResolver;
use config::install::acme::{CaTrust, ExternalAccount};
use config::routing::tls::Pem;
use http::header::{CONTENT_TYPE, LINK, RETRY_AFTER, USER_AGENT};
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode};
use http_body_util::{BodyExt, Full, Limited};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use instant_acme::{BodyWrapper, BytesResponse, HttpClient};
use parking_lot::Mutex;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use serde_json::{Map, Value};
use tokio::time::timeout;

use super::Clock;
use super::account_key::AccountKey;

/// An answer of an ACME server is never longer.
const ANSWER_LIMIT: usize = 1024 * 1024;

/// How often a request is signed anew because its nonce was refused.
const NONCE_ATTEMPTS: usize = 20;

/// How much of somebody else's text we repeat.
const WORDS: usize = 400;

/// Why the ACME server gave us nothing.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum CaError {
    /// No connection, or one that broke.
    #[error("the ACME server cannot be reached: {0}")]
    Unreachable(String),
    /// It took the request and said nothing.
    #[error("the ACME server did not answer within {0:?}")]
    Silent(Duration),
    /// It answers, and not as an ACME server does.
    #[error("the ACME server answers with status {status}, and not as an ACME server does: {words}")]
    NotAcme {
        /// Its status.
        status: u16,
        /// The beginning of what it said.
        words: String,
        /// When it wants to be asked again.
        retry_after: Option<Duration>,
    },
    /// It says no.
    #[error("the ACME server refuses: {words}")]
    Refused {
        /// Type of the problem, without `urn:ietf:params:acme:error:`.
        kind: String,
        /// What it says.
        words: String,
        /// When it wants to be asked again.
        retry_after: Option<Duration>,
        /// Status of its answer.
        status: u16,
    },
    /// Something in its answer is missing or cannot be understood.
    #[error("the ACME server's answer cannot be used: {0}")]
    Unusable(String),
}

/// Why no client can be made.
#[derive(Debug, thiserror::Error)]
pub(super) enum TrustError {
    /// A CA file that cannot be read, or holds no certificate.
    #[error("read the CA certificates of the ACME server ({0}): {1}")]
    Roots(String, String),
    /// A server name that is none.
    #[error("`caServerName` is not a server name")]
    ServerName,
    /// The library refused.
    #[error("TLS towards the ACME server")]
    Tls(#[source] rustls::Error),
}

/// The client of one account.
#[derive(Clone)]
pub(super) struct AcmeHttp(Arc<Shared>);

struct Shared {
    client: Client<HttpsConnector<HttpConnector>, Full<Bytes>>,
    key: Arc<AccountKey>,
    external: Option<ExternalAccount>,
    limits: Limits,
    clock: Clock,
    last: Mutex<LastAnswer>,
}

#[derive(Clone, Copy)]
struct Limits {
    whole: Duration,
    head: Duration,
}

/// What the library does not tell of the last answer.
#[derive(Default)]
struct LastAnswer {
    retry_after: Option<Duration>,
    alternates: Vec<String>,
    chain: Option<Bytes>,
}

impl std::fmt::Debug for AcmeHttp {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("AcmeHttp").field("key", &self.0.key).finish_non_exhaustive()
    }
}

impl AcmeHttp {
    /// A client with the trust and the time limits of a resolver, that signs with `key`. Reads files.
    pub(super) fn new(
        settings: &CertificateResolver,
        key: Arc<AccountKey>,
        clock: Clock,
    ) -> Result<Self, TrustError> {
        let mut tcp = HttpConnector::new();
        tcp.set_nodelay(true);
        tcp.enforce_http(false);
        tcp.set_connect_timeout(Some(settings.response_header_timeout));
        // A private CA may well be asked in plain text: Traefik allows it, and the protocol signs every request.
        let mut https = HttpsConnectorBuilder::new().with_tls_config(tls(&settings.trust)?).https_or_http();
        if let Some(name) = &settings.trust.server_name {
            let name = ServerName::try_from(name.clone()).map_err(|_| TrustError::ServerName)?;
            https = https.with_server_name_resolver(hyper_rustls::FixedServerNameResolver::new(name));
        }
        let connector = https.enable_http1().enable_http2().wrap_connector(tcp);
        let client = Client::builder(TokioExecutor::new())
            .pool_idle_timeout(Duration::from_secs(30))
            .pool_timer(hyper_util::rt::TokioTimer::new())
            .build(connector);
        Ok(Self(Arc::new(Shared {
            client,
            key,
            external: settings.external_account.clone(),
            limits: Limits { whole: settings.client_timeout, head: settings.response_header_timeout },
            clock,
            last: Mutex::default(),
        })))
    }

    /// How long the last answer wants us to wait.
    pub(super) fn retry_after(&self) -> Option<Duration> {
        self.0.last.lock().retry_after
    }

    /// Where the last certificate has other chains, forgotten once told.
    pub(super) fn take_alternates(&self) -> Vec<String> {
        std::mem::take(&mut self.0.last.lock().alternates)
    }

    /// The last chain that was downloaded, forgotten once told.
    pub(super) fn take_chain(&self) -> Option<Bytes> {
        self.0.last.lock().chain.take()
    }
}

impl HttpClient for AcmeHttp {
    fn request(
        &self,
        request: Request<BodyWrapper<Bytes>>,
    ) -> Pin<Box<dyn Future<Output = Result<BytesResponse, instant_acme::Error>> + Send>> {
        let shared = Arc::clone(&self.0);
        Box::pin(async move {
            shared.perform(request).await.map_err(|error| instant_acme::Error::Other(Box::new(error)))
        })
    }
}

/// An answer, read to its end.
struct Answer {
    parts: http::response::Parts,
    body: Bytes,
}

impl Shared {
    async fn perform(&self, request: Request<BodyWrapper<Bytes>>) -> Result<BytesResponse, CaError> {
        let (parts, body) = request.into_parts();
        let body = match body.collect().await {
            Ok(body) => body.to_bytes(),
            Err(never) => match never {},
        };
        let mut signed = match parts.method {
            Method::POST => Some(Signed::parse(&body, &self.key, self.external.as_ref())?),
            _ => None,
        };
        let mut attempts = NONCE_ATTEMPTS;
        loop {
            attempts -= 1;
            let bytes = match &signed {
                Some(signed) => self
                    .key
                    .sign(signed.header.clone(), &signed.payload)
                    .map_err(|error| CaError::Unusable(error.to_string()))?
                    .into(),
                None => body.clone(),
            };
            let answer = self.exchange(&parts, bytes).await?;
            match answer.into_result(self.clock.now()) {
                Ok(answer) => return Ok(self.accepted(&parts.method, signed.as_ref(), answer)),
                Err((error, headers)) => {
                    let again = match (&error, &mut signed) {
                        (CaError::Refused { kind, .. }, Some(signed)) if kind == "badNonce" => {
                            signed.renew_nonce(&headers)
                        }
                        _ => false,
                    };
                    if !again || attempts == 0 {
                        return Err(error);
                    }
                }
            }
        }
    }

    async fn exchange(&self, parts: &http::request::Parts, body: Bytes) -> Result<Answer, CaError> {
        let mut request = Request::new(Full::new(body));
        *request.method_mut() = parts.method.clone();
        *request.uri_mut() = parts.uri.clone();
        *request.headers_mut() = parts.headers.clone();
        request.headers_mut().insert(
            USER_AGENT,
            HeaderValue::from_static(concat!("hearthgate/", env!("CARGO_PKG_VERSION"), " instant-acme/0.8")),
        );
        let unreachable = |error: &dyn std::error::Error| CaError::Unreachable(chain(error));
        let whole = async {
            let response = timeout(self.limits.head, self.client.request(request))
                .await
                .map_err(|_elapsed| CaError::Silent(self.limits.head))?
                .map_err(|error| unreachable(&error))?;
            let (parts, body) = response.into_parts();
            let body = Limited::new(body, ANSWER_LIMIT)
                .collect()
                .await
                .map_err(|error| unreachable(error.as_ref()))?
                .to_bytes();
            Ok(Answer { parts, body })
        };
        timeout(self.limits.whole, whole).await.map_err(|_elapsed| CaError::Silent(self.limits.whole))?
    }

    /// Notes what the library passes over, and hands the answer on.
    fn accepted(&self, method: &Method, signed: Option<&Signed>, mut answer: Answer) -> BytesResponse {
        let headers = &answer.parts.headers;
        let is_chain = content_type(headers) == "application/pem-certificate-chain";
        {
            let mut last = self.last.lock();
            last.retry_after = retry_after(headers, self.clock.now());
            if is_chain {
                last.alternates = alternates(headers);
                last.chain = Some(answer.body.clone());
            }
        }
        if *method == Method::HEAD {
            // Some servers answer the request for a nonce with 204; the library wants 200.
            answer.parts.status = StatusCode::OK;
        } else if *method == Method::GET && !headers.contains_key(RETRY_AFTER) {
            // Renewal information without a hint is as good as one with it.
            answer.parts.headers.insert(RETRY_AFTER, HeaderValue::from_static("21600"));
        }
        if let Some(replaced) = signed.and_then(|signed| signed.replaces.as_ref()) {
            answer.body = with_member(&answer.body, "replaces", replaced);
        }
        Response::from_parts(answer.parts, Full::new(answer.body)).into()
    }
}

impl Answer {
    /// What the library shall see, or why it shall see nothing (with the headers, for the next nonce).
    fn into_result(self, now: SystemTime) -> Result<Self, (CaError, HeaderMap)> {
        let status = self.parts.status;
        let kind = content_type(&self.parts.headers);
        if status.is_success() && kind != "text/html" {
            return Ok(self);
        }
        let retry_after = retry_after(&self.parts.headers, now);
        let problem = serde_json::from_slice::<instant_acme::Problem>(&self.body).ok();
        let error = match problem {
            Some(problem)
                if !status.is_success() && (problem.r#type.is_some() || problem.detail.is_some()) =>
            {
                refused(&problem, status.as_u16(), retry_after)
            }
            Some(_) | None => CaError::NotAcme {
                status: status.as_u16(),
                words: readable(&String::from_utf8_lossy(&self.body)),
                retry_after,
            },
        };
        Err((error, self.parts.headers))
    }
}

/// A problem document in words.
fn refused(problem: &instant_acme::Problem, status: u16, retry_after: Option<Duration>) -> CaError {
    let kind = problem.r#type.as_deref().unwrap_or_default();
    let kind = kind.strip_prefix("urn:ietf:params:acme:error:").unwrap_or(kind);
    let mut words = problem.detail.clone().unwrap_or_default();
    for part in &problem.subproblems {
        let name = match &part.identifier {
            Some(instant_acme::Identifier::Dns(name)) => name.clone(),
            Some(instant_acme::Identifier::Ip(address)) => address.to_string(),
            _ => String::new(),
        };
        words = format!("{words}; {name}: {}", part.detail.as_deref().unwrap_or_default());
    }
    if words.is_empty() {
        words = "it gives no reason".to_owned();
    }
    CaError::Refused {
        words: format!("{} ({})", printable(&words), printable(kind)),
        kind: kind.to_owned(),
        retry_after,
        status,
    }
}

impl From<instant_acme::Error> for CaError {
    fn from(error: instant_acme::Error) -> Self {
        match error {
            instant_acme::Error::Other(error) => match error.downcast::<Self>() {
                Ok(ours) => *ours,
                Err(other) => Self::Unusable(printable(&chain(other.as_ref()))),
            },
            instant_acme::Error::Api(problem) => refused(&problem, problem.status.unwrap_or_default(), None),
            other => Self::Unusable(printable(&chain(&other))),
        }
    }
}

/// A request of the library's, taken apart so that it can be signed with the account's key.
struct Signed {
    header: Map<String, Value>,
    /// As it is signed: base64url.
    payload: String,
    /// A certificate that a new order replaces. Servers that do not repeat it make the library forget the order.
    replaces: Option<Value>,
}

impl Signed {
    fn parse(body: &[u8], key: &AccountKey, external: Option<&ExternalAccount>) -> Result<Self, CaError> {
        let unusable = || CaError::Unusable("a request could not be signed".to_owned());
        let body: Map<String, Value> = serde_json::from_slice(body).map_err(|_| unusable())?;
        let text = |name: &str| body.get(name).and_then(Value::as_str).ok_or_else(unusable);
        let decoded = |text: &str| -> Result<Map<String, Value>, CaError> {
            let bytes = URL_SAFE_NO_PAD.decode(text).map_err(|_| unusable())?;
            serde_json::from_slice(&bytes).map_err(|_| unusable())
        };
        let header = decoded(text("protected")?)?;
        let payload = text("payload")?;
        let mut signed = Self { header, payload: payload.to_owned(), replaces: None };
        if payload.is_empty() {
            return Ok(signed);
        }
        let mut content = decoded(payload)?;
        signed.replaces = content.get("replaces").cloned();
        if let (Some(binding), Some(external)) = (content.get_mut("externalAccountBinding"), external) {
            let url = signed.header.get("url").and_then(Value::as_str).unwrap_or_default();
            *binding = key.bind(external, url);
            signed.payload = URL_SAFE_NO_PAD.encode(Value::Object(content).to_string());
        }
        Ok(signed)
    }

    /// Takes the nonce that came with a refusal. False if there is none.
    fn renew_nonce(&mut self, headers: &HeaderMap) -> bool {
        let nonce = headers.get("replay-nonce").and_then(|value| value.to_str().ok());
        if let Some(nonce) = nonce {
            self.header.insert("nonce".to_owned(), Value::from(nonce));
        }
        nonce.is_some()
    }
}

/// A JSON object with a member that it may lack.
fn with_member(body: &Bytes, name: &str, value: &Value) -> Bytes {
    match serde_json::from_slice::<Map<String, Value>>(body) {
        Ok(mut object) if !object.contains_key(name) => {
            object.insert(name.to_owned(), value.clone());
            Value::Object(object).to_string().into()
        }
        Ok(_) | Err(_) => body.clone(),
    }
}

fn content_type(headers: &HeaderMap) -> String {
    let value = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    value.split(';').next().unwrap_or_default().trim().to_ascii_lowercase()
}

/// Targets of `Link: <…>;rel="alternate"`.
fn alternates(headers: &HeaderMap) -> Vec<String> {
    let links = headers.get_all(LINK).iter().filter_map(|value| value.to_str().ok());
    links
        // Several may share a line, and no target has a `<` in it.
        .flat_map(|value| value.split('<').skip(1))
        .filter_map(|link| {
            let (target, parameters) = link.split_once('>')?;
            let alternate = parameters.split(';').any(|parameter| {
                parameter.trim().split_once('=').is_some_and(|(name, value)| {
                    name.trim().eq_ignore_ascii_case("rel")
                        && value.trim().trim_end_matches([',', ' ']).trim_matches('"') == "alternate"
                })
            });
            alternate.then(|| target.to_owned())
        })
        .collect()
}

/// `Retry-After`: seconds, or a date.
fn retry_after(headers: &HeaderMap, now: SystemTime) -> Option<Duration> {
    let value = headers.get(RETRY_AFTER)?.to_str().ok()?.trim();
    if let Ok(seconds) = value.parse() {
        return Some(Duration::from_secs(seconds));
    }
    let format = time::macros::format_description!(
        "[weekday repr:short], [day] [month repr:short] [year] [hour]:[minute]:[second] GMT"
    );
    let date = time::PrimitiveDateTime::parse(value, &format).ok()?.assume_utc();
    Some(SystemTime::from(date).duration_since(now).unwrap_or_default())
}

/// Somebody else's text in one line, without control characters, and not too much of it: it may quote what an attacker
/// has written.
pub(super) fn printable(text: &str) -> String {
    let mut line = String::new();
    for character in text.trim().chars() {
        if line.len() >= WORDS {
            line.push('…');
            break;
        }
        match character {
            '\n' | '\t' | '\r' => line.push(' '),
            character if character.is_control() => line.extend(character.escape_default()),
            // Bidirectional controls turn a log line around.
            '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' => {
                line.extend(character.escape_unicode());
            }
            character => line.push(character),
        }
    }
    line
}

/// The text of a page, without its tags.
fn readable(page: &str) -> String {
    let mut text = String::new();
    let mut inside = false;
    for character in page.chars().take(4 * WORDS) {
        match character {
            '<' => inside = true,
            '>' if inside => {
                inside = false;
                text.push(' ');
            }
            character if !inside => text.push(character),
            _ => {}
        }
    }
    let words: Vec<&str> = text.split_whitespace().collect();
    match words.is_empty() {
        true => "(nothing)".to_owned(),
        false => printable(&words.join(" ")),
    }
}

/// An error with its causes.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let words = error.to_string();
        if !text.contains(&words) {
            text = format!("{text}: {words}");
        }
        cause = error.source();
    }
    printable(&text)
}

fn tls(trust: &CaTrust) -> Result<ClientConfig, TrustError> {
    let mut roots = RootCertStore::empty();
    for pem in &trust.roots {
        let (place, read) = match pem {
            Pem::Text(text) => (
                "text".to_owned(),
                CertificateDer::pem_slice_iter(text.as_bytes()).collect::<Result<Vec<_>, _>>(),
            ),
            Pem::File(path) => (
                path.display().to_string(),
                CertificateDer::pem_file_iter(path).and_then(Iterator::collect::<Result<Vec<_>, _>>),
            ),
        };
        let broken = |reason: String| TrustError::Roots(place.clone(), reason);
        let certificates = read.map_err(|error| broken(error.to_string()))?;
        let (added, _) = roots.add_parsable_certificates(certificates);
        if added == 0 {
            return Err(broken("there is no certificate in it".to_owned()));
        }
    }
    if trust.system_roots || trust.roots.is_empty() {
        // What cannot be read shows as a certificate that nobody knows.
        roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    }
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let versions = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(TrustError::Tls)?;
    Ok(versions.with_root_certificates(roots).with_no_client_auth())
}

#[cfg(test)]
#[path = "client_tests.rs"]
mod tests;
