//! Cloudflare. Not through the library, which knows one token only: here the right to read zones may belong to another
//! token, and the old global key works too.

use async_trait::async_trait;
use config::secret::Secret;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Uri, header};
use serde_json::{Value, json};

use super::http::Http;
use super::settings::Scrubber;
use super::{DnsError, DnsProvider, TxtRecord};

/// Its code.
pub(super) const CODE: &str = "cloudflare";

/// "An identical record already exists."
const SAME_RECORD: i64 = 81058;

/// How it knows us.
#[derive(Debug)]
pub(super) enum Account {
    /// A token for records, and one for reading zones (the same, where there is one only).
    Tokens { records: Secret<String>, zones: Secret<String> },
    /// The global key.
    Key { email: String, key: Secret<String> },
}

#[derive(Debug)]
pub(super) struct Cloudflare {
    pub(super) http: Http,
    pub(super) base: String,
    pub(super) account: Account,
    pub(super) ttl: u32,
    pub(super) scrubber: Scrubber,
}

impl Cloudflare {
    fn headers(&self, zones: bool) -> Result<HeaderMap, String> {
        let mut headers = HeaderMap::new();
        let mut set = |name: HeaderName, value: &str| {
            let mut value = HeaderValue::from_str(value).map_err(|_| format!("{name}: not a field value"))?;
            value.set_sensitive(true);
            headers.insert(name, value);
            Ok::<_, String>(())
        };
        match &self.account {
            Account::Tokens { records, zones: reader } => {
                let token = if zones { reader } else { records };
                set(header::AUTHORIZATION, &format!("Bearer {}", token.expose()))?;
            }
            Account::Key { email, key } => {
                set(HeaderName::from_static("x-auth-email"), email)?;
                set(HeaderName::from_static("x-auth-key"), key.expose())?;
            }
        }
        Ok(headers)
    }

    /// `result` of an answer, or code and words of its first error.
    async fn call(
        &self,
        method: Method,
        path: &str,
        zones: bool,
        body: Option<&Value>,
    ) -> Result<Value, (i64, String)> {
        let other = |reason: String| (0, reason);
        let uri: Uri =
            format!("{}{path}", self.base).parse().map_err(|_| other(format!("not a URL: {path}")))?;
        let headers = self.headers(zones).map_err(other)?;
        let (status, bytes) = self.http.ask(method, &uri, headers, body).await.map_err(other)?;
        let mut answer: Value = serde_json::from_slice(&bytes).unwrap_or_default();
        if status.is_success() && answer["success"] != Value::Bool(false) {
            return Ok(answer["result"].take());
        }
        let first = &answer["errors"][0];
        let code = first["code"].as_i64().unwrap_or_default();
        let message = first["message"].as_str().unwrap_or("no reason given");
        Err((code, format!("{status}: {message} ({code})")))
    }

    async fn zone_id(&self, zone: &str) -> Result<String, String> {
        let zones = self.call(Method::GET, &format!("/zones?name={zone}"), true, None).await;
        let zones = zones.map_err(|(_, reason)| format!("cannot read the zone {zone}: {reason}"))?;
        let id = zones[0]["id"].as_str().ok_or_else(|| {
            format!("the account has no zone {zone}, or the token may not read it (permission Zone:Read)")
        })?;
        Ok(id.to_owned())
    }

    async fn set(&self, record: &TxtRecord) -> Result<(), String> {
        let id = self.zone_id(&record.zone).await?;
        let body = json!({
            "type": "TXT",
            "name": record.name,
            "content": format!("\"{}\"", record.value),
            "ttl": self.ttl,
        });
        match self.call(Method::POST, &format!("/zones/{id}/dns_records"), false, Some(&body)).await {
            Ok(_) | Err((SAME_RECORD, _)) => Ok(()),
            Err((_, reason)) => Err(reason),
        }
    }

    async fn remove(&self, record: &TxtRecord) -> Result<(), String> {
        let id = self.zone_id(&record.zone).await?;
        let list = format!("/zones/{id}/dns_records?type=TXT&per_page=100&name={}", record.name);
        let records = self.call(Method::GET, &list, false, None).await.map_err(|(_, reason)| reason)?;
        for found in records.as_array().into_iter().flatten() {
            let content = found["content"].as_str().unwrap_or_default();
            if content.trim_matches('"') == record.value
                && let Some(number) = found["id"].as_str()
            {
                let one = format!("/zones/{id}/dns_records/{number}");
                self.call(Method::DELETE, &one, false, None).await.map_err(|(_, reason)| reason)?;
            }
        }
        Ok(())
    }

    fn failed(&self, action: &'static str, reason: &str) -> DnsError {
        DnsError::Provider { provider: CODE, action, reason: self.scrubber.clean(reason) }
    }
}

#[async_trait]
impl DnsProvider for Cloudflare {
    async fn present(&self, record: &TxtRecord) -> Result<(), DnsError> {
        self.set(record).await.map_err(|reason| self.failed("present", &reason))
    }

    async fn clean_up(&self, record: &TxtRecord) -> Result<(), DnsError> {
        self.remove(record).await.map_err(|reason| self.failed("clean_up", &reason))
    }
}
