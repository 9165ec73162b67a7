//! `httpreq`: a server of the user's own sets the record. lego's protocol: `POST /present` and `POST /cleanup` with
//! `{"fqdn", "value"}`.

use async_trait::async_trait;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use config::secret::Secret;
use http::{HeaderMap, HeaderValue, Method, Uri, header};
use serde_json::json;

use super::http::Http;
use super::settings::Scrubber;
use super::{DnsError, DnsProvider, TxtRecord};

/// Its code.
pub(super) const CODE: &str = "httpreq";

#[derive(Debug)]
pub(super) struct HttpHook {
    http: Http,
    endpoint: Uri,
    authorization: Option<Secret<HeaderValue>>,
    scrubber: Scrubber,
}

impl HttpHook {
    pub(super) fn new(http: Http, endpoint: Uri, account: Option<(&str, &str)>, scrubber: Scrubber) -> Self {
        let authorization = account.map(|(name, password)| {
            let token = STANDARD.encode(format!("{name}:{password}"));
            let mut value =
                HeaderValue::from_str(&format!("Basic {token}")).expect("base64 has no control characters");
            value.set_sensitive(true);
            Secret::new(value)
        });
        Self { http, endpoint, authorization, scrubber }
    }

    async fn call(&self, action: &'static str, record: &TxtRecord) -> Result<(), DnsError> {
        let failed = |reason: String| DnsError::Provider {
            provider: CODE,
            action,
            reason: self.scrubber.clean(&reason),
        };
        let mut headers = HeaderMap::new();
        if let Some(authorization) = &self.authorization {
            headers.insert(header::AUTHORIZATION, authorization.expose().clone());
        }
        let path = format!("{}/{action}", self.endpoint.path().trim_end_matches('/'));
        let mut parts = self.endpoint.clone().into_parts();
        parts.path_and_query =
            Some(path.parse().map_err(|_| failed("HTTPREQ_ENDPOINT is not a URL".to_owned()))?);
        let uri = Uri::from_parts(parts).map_err(|error| failed(error.to_string()))?;
        let body = json!({ "fqdn": record.fqdn(), "value": record.value });
        let (status, answer) =
            self.http.ask(Method::POST, &uri, headers, Some(&body)).await.map_err(failed)?;
        if status.is_success() {
            return Ok(());
        }
        Err(failed(format!("{} answers {status}: {}", uri.path(), String::from_utf8_lossy(&answer))))
    }
}

#[async_trait]
impl DnsProvider for HttpHook {
    async fn present(&self, record: &TxtRecord) -> Result<(), DnsError> {
        self.call("present", record).await
    }

    async fn clean_up(&self, record: &TxtRecord) -> Result<(), DnsError> {
        self.call("cleanup", record).await
    }
}
