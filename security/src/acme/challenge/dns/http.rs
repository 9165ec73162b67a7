//! Requests to APIs and hooks: bounded in time and size, with errors that name the host and nothing secret.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, Method, Request, StatusCode, Uri};
use http_body_util::{BodyExt, Full, Limited};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use rustls::RootCertStore;
use tokio::time::timeout;

/// No answer of such an API is larger.
const ANSWER_LIMIT: usize = 1024 * 1024;

/// A client that believes the system's roots.
pub(super) struct Http {
    client: Client<HttpsConnector<HttpConnector>, Full<Bytes>>,
    limit: Duration,
}

impl fmt::Debug for Http {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Http").field("limit", &self.limit).finish_non_exhaustive()
    }
}

impl Http {
    pub(super) fn new(limit: Duration) -> Self {
        let mut roots = RootCertStore::empty();
        roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let tls = rustls::ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .expect("the provider has the default versions")
            .with_root_certificates(roots)
            .with_no_client_auth();
        let connector = HttpsConnectorBuilder::new()
            .with_tls_config(tls)
            .https_or_http()
            .enable_http1()
            .enable_http2()
            .build();
        Self { client: Client::builder(TokioExecutor::new()).build(connector), limit }
    }

    /// Sends a request with a JSON body, if there is one; gives status and body, or words.
    pub(super) async fn ask(
        &self,
        method: Method,
        uri: &Uri,
        mut headers: HeaderMap,
        body: Option<&serde_json::Value>,
    ) -> Result<(StatusCode, Bytes), String> {
        let host = uri.authority().map_or_else(String::new, |authority| authority.host().to_owned());
        headers.insert(http::header::USER_AGENT, http::HeaderValue::from_static("hearthgate"));
        let bytes = body.map_or_else(Bytes::new, |body| Bytes::from(body.to_string()));
        if body.is_some() {
            headers.insert(http::header::CONTENT_TYPE, http::HeaderValue::from_static("application/json"));
        }
        let mut request = Request::new(Full::new(bytes));
        *request.method_mut() = method;
        *request.uri_mut() = uri.clone();
        *request.headers_mut() = headers;
        let asked = async {
            let response = self.client.request(request).await.map_err(|error| words(&error))?;
            let status = response.status();
            let body = Limited::new(response.into_body(), ANSWER_LIMIT);
            let body = body.collect().await.map_err(|error| words(error.as_ref()))?;
            Ok::<_, String>((status, body.to_bytes()))
        };
        match timeout(self.limit, asked).await {
            Ok(Ok(answer)) => Ok(answer),
            Ok(Err(reason)) => Err(format!("{host}: {reason}")),
            Err(_elapsed) => Err(format!("{host}: no answer within {} s", self.limit.as_secs())),
        }
    }
}

/// An error with its causes: the outermost alone says "client error (Connect)".
fn words(error: &(dyn std::error::Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(": ");
        text.push_str(&error.to_string());
        cause = error.source();
    }
    text
}
