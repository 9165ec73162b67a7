//! `acme-dns`: a small DNS server for challenges only. One CNAME leads to it, made once; after that nobody needs the
//! right to change the zone. Accounts are kept in lego's file format.

use std::collections::BTreeMap;
use std::path::PathBuf;

use async_trait::async_trait;
use config::secret::Secret;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Uri};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::http::Http;
use super::{DnsError, DnsProvider, TxtRecord};
use crate::acme::atomic::replace;

/// Its code.
pub(super) const CODE: &str = "acme-dns";

/// An account, as the file has it.
#[derive(Debug, Clone, Deserialize)]
struct Account {
    fulldomain: String,
    subdomain: String,
    username: Secret<String>,
    password: Secret<String>,
    #[serde(default)]
    server_url: String,
}

/// The same, on its way into the file.
#[derive(Serialize)]
struct StoredAccount<'a> {
    fulldomain: &'a str,
    subdomain: &'a str,
    username: &'a str,
    password: &'a str,
    server_url: &'a str,
}

#[derive(Debug)]
pub(super) struct AcmeDns {
    pub(super) http: Http,
    /// Without a slash at its end.
    pub(super) base: String,
    pub(super) storage: PathBuf,
    /// Networks that may use a new account.
    pub(super) allow: Vec<String>,
}

impl AcmeDns {
    async fn read(&self) -> Result<BTreeMap<String, Value>, String> {
        let path = self.storage.display();
        match tokio::fs::read(&self.storage).await {
            Ok(bytes) if bytes.is_empty() => Ok(BTreeMap::new()),
            Ok(bytes) => {
                serde_json::from_slice(&bytes).map_err(|_| format!("{path} is not a file of accounts"))
            }
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(BTreeMap::new()),
            Err(error) => Err(format!("cannot read {path}: {error}")),
        }
    }

    async fn call(&self, base: &str, path: &str, headers: HeaderMap, body: &Value) -> Result<Value, String> {
        let uri: Uri = format!("{base}/{path}")
            .parse()
            .map_err(|_| format!("ACME_DNS_API_BASE: {base:?} is not a URL"))?;
        let (status, bytes) = self.http.ask(Method::POST, &uri, headers, Some(body)).await?;
        if !status.is_success() {
            // The body may repeat what was sent.
            let error = serde_json::from_slice::<Value>(&bytes).unwrap_or_default();
            return Err(format!("/{path} answers {status} {}", error["error"].as_str().unwrap_or_default()));
        }
        serde_json::from_slice(&bytes).map_err(|_| format!("/{path} does not answer in JSON"))
    }

    async fn register(&self, domain: &str, mut accounts: BTreeMap<String, Value>) -> Result<Account, String> {
        let body = if self.allow.is_empty() { json!({}) } else { json!({ "allowfrom": self.allow }) };
        let answer = self.call(&self.base, "register", HeaderMap::new(), &body).await?;
        let account: Account = serde_json::from_value(answer)
            .map_err(|_| "/register does not answer with an account".to_owned())?;
        let stored = StoredAccount {
            fulldomain: &account.fulldomain,
            subdomain: &account.subdomain,
            username: account.username.expose(),
            password: account.password.expose(),
            server_url: &self.base,
        };
        let stored = serde_json::to_value(stored).expect("texts are JSON");
        accounts.insert(domain.to_owned(), stored);
        let bytes = serde_json::to_vec(&accounts).expect("texts are JSON");
        let file = self.storage.clone();
        let saved = tokio::task::spawn_blocking(move || replace(&file, &bytes)).await;
        match saved {
            Ok(Ok(())) => Ok(account),
            Ok(Err(error)) => Err(format!("cannot write {}: {error}", self.storage.display())),
            Err(error) => Err(error.to_string()),
        }
    }

    async fn set(&self, record: &TxtRecord) -> Result<Option<DnsError>, String> {
        let accounts = self.read().await?;
        let Some(account) = accounts.get(&record.domain) else {
            let account = self.register(&record.domain, accounts).await?;
            return Ok(Some(DnsError::AliasNeeded {
                domain: record.domain.clone(),
                name: record.name.clone(),
                target: account.fulldomain.trim_end_matches('.').to_owned(),
            }));
        };
        let account = serde_json::from_value::<Account>(account.clone()).map_err(|_| {
            format!("the account of {} in {} is broken", record.domain, self.storage.display())
        })?;
        let mut headers = HeaderMap::new();
        for (name, value) in [("x-api-user", &account.username), ("x-api-key", &account.password)] {
            let mut value = HeaderValue::from_str(value.expose())
                .map_err(|_| format!("the account of {} is broken", record.domain))?;
            value.set_sensitive(true);
            headers.insert(HeaderName::from_static(name), value);
        }
        let body = json!({ "subdomain": account.subdomain, "txt": record.value });
        let base = if account.server_url.is_empty() {
            self.base.as_str()
        } else {
            account.server_url.trim_end_matches('/')
        };
        self.call(base, "update", headers, &body).await?;
        Ok(None)
    }
}

#[async_trait]
impl DnsProvider for AcmeDns {
    async fn present(&self, record: &TxtRecord) -> Result<(), DnsError> {
        match self.set(record).await {
            Ok(None) => Ok(()),
            Ok(Some(needed)) => Err(needed),
            Err(reason) => Err(DnsError::Provider { provider: CODE, action: "present", reason }),
        }
    }

    /// It keeps the last two values and forgets them by itself.
    async fn clean_up(&self, _: &TxtRecord) -> Result<(), DnsError> {
        Ok(())
    }

    async fn alias(&self, record: &TxtRecord) -> Option<String> {
        let account = self.read().await.ok()?.remove(&record.domain)?;
        let account = serde_json::from_value::<Account>(account).ok()?;
        Some(account.fulldomain.trim_end_matches('.').to_ascii_lowercase())
    }
}
