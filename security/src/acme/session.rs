//! An account at an ACME server, ready for orders: taken from the storage file, or registered.

use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use config::install::CertificateResolver;
use http::Uri;
use instant_acme::{Account, ExternalAccountKey, NewAccount};
use tokio::task::spawn_blocking;
use zeroize::Zeroizing;

use super::Clock;
use super::account_key::{AccountKey, AccountKeyError};
use super::client::{AcmeHttp, CaError};
use super::renewal::Advice;
use super::state::StateFile;
use super::storage::{Storage, StorageError, StoredAccount};

/// An account, ready for orders.
pub(super) struct Session {
    pub(super) account: Account,
    pub(super) http: AcmeHttp,
    pub(super) key: Arc<AccountKey>,
}

/// Why a step towards a certificate failed.
#[derive(Debug, thiserror::Error)]
pub(super) enum OrderError {
    /// The server.
    #[error(transparent)]
    Ca(#[from] CaError),
    /// The account cannot be had: nothing of this resolver can be ordered.
    #[error("the account cannot be registered: {0}")]
    Account(CaError),
    /// A name could not be proved.
    #[error("{0}")]
    Validation(String),
    /// It took too long.
    #[error("{what} took longer than {limit:?}")]
    TimedOut {
        /// What was waited for.
        what: &'static str,
        /// For how long.
        limit: Duration,
    },
    /// A DNS record could not be written, or is not seen.
    #[error("DNS challenge: {0}")]
    Dns(String),
    /// Something of ours.
    #[error("{0}")]
    Local(String),
    /// The storage file.
    #[error(transparent)]
    Storage(#[from] StorageError),
}

impl From<instant_acme::Error> for OrderError {
    fn from(error: instant_acme::Error) -> Self {
        Self::Ca(error.into())
    }
}

impl OrderError {
    /// No name is at fault: the server is away, or does not want us at all now.
    pub(super) fn is_server_away(&self) -> bool {
        match self {
            Self::Ca(error) | Self::Account(error) => match error {
                CaError::Unreachable(_) | CaError::Silent(_) | CaError::NotAcme { .. } => true,
                CaError::Refused { .. } | CaError::Unusable(_) => false,
            },
            Self::Validation(_)
            | Self::TimedOut { .. }
            | Self::Dns(_)
            | Self::Local(_)
            | Self::Storage(_) => false,
        }
    }

    /// The account is not known to the server (any more).
    pub(super) fn is_account_gone(&self) -> bool {
        matches!(self, Self::Ca(CaError::Refused { kind, .. }) if kind == "accountDoesNotExist")
    }

    /// What the server said about when to come back.
    pub(super) fn advice(&self) -> Advice {
        match self {
            Self::Ca(error) | Self::Account(error) => match error {
                CaError::Refused { kind, status, retry_after, .. }
                    if kind == "rateLimited" || *status == 429 =>
                {
                    Advice::TooMany(*retry_after)
                }
                CaError::NotAcme { status: 429, retry_after, .. } => Advice::TooMany(*retry_after),
                CaError::Refused { retry_after: Some(advised), .. }
                | CaError::NotAcme { retry_after: Some(advised), .. } => Advice::Wait(*advised),
                CaError::Refused { .. }
                | CaError::NotAcme { .. }
                | CaError::Unreachable(_)
                | CaError::Silent(_)
                | CaError::Unusable(_) => Advice::None,
            },
            Self::Validation(_)
            | Self::TimedOut { .. }
            | Self::Dns(_)
            | Self::Local(_)
            | Self::Storage(_) => Advice::None,
        }
    }
}

/// Where accounts are kept.
#[derive(Debug, Clone)]
pub(super) struct Desk {
    pub(super) settings: Arc<CertificateResolver>,
    pub(super) storage: Arc<Storage>,
    pub(super) state: Arc<StateFile>,
    pub(super) clock: Clock,
}

impl Desk {
    /// Opens the account in `stored`, or registers one and puts it there.
    pub(super) async fn open(&self, stored: &mut Option<StoredAccount>) -> Result<Session, OrderError> {
        let name = &*self.settings.name;
        if let Some(account) = stored
            && !account.uri.is_empty()
            && host(&account.uri) != host(&self.settings.ca_server)
        {
            tracing::info!(
                resolver = name,
                "the account in {} belongs to {}, and the ACME server is {}: a new account is registered, the \
                 certificates stay",
                self.storage.path().display(),
                host(&account.uri).unwrap_or_default(),
                self.settings.ca_server,
            );
            *stored = None;
        }
        let key = self.key(stored.as_ref()).await?;
        let settings = Arc::clone(&self.settings);
        let (signer, clock) = (Arc::clone(&key), self.clock.clone());
        let http = blocking(move || AcmeHttp::new(&settings, signer, clock))
            .await?
            .map_err(|error| OrderError::Local(super::in_words(&error)))?;
        let directory = self.settings.ca_server.clone();
        let builder = Account::builder_with_http(Box::new(http.clone()));
        if let Some(account) = stored
            && !account.uri.is_empty()
        {
            // The library wants a key of its own kind. It signs nothing that leaves: the client signs anew.
            let (_, own) = instant_acme::Key::generate_pkcs8()?;
            let account = builder.from_parts(account.uri.clone(), own, directory).await?;
            return Ok(Session { account, http, key });
        }
        let account = self.register(builder, directory).await?;
        tracing::info!(
            resolver = name,
            account = account.id(),
            "an account is registered at the ACME server"
        );
        let registered = StoredAccount {
            email: self.settings.email.clone().unwrap_or_default(),
            uri: account.id().to_owned(),
            key: Zeroizing::new(key.pkcs1().to_vec()),
        };
        *stored = Some(registered.clone());
        self.keep(registered).await?;
        Ok(Session { account, http, key })
    }

    async fn register(
        &self,
        builder: instant_acme::AccountBuilder,
        directory: String,
    ) -> Result<Account, OrderError> {
        let contact = self.settings.email.as_ref().map(|email| format!("mailto:{email}"));
        let contact: Vec<&str> = contact.iter().map(String::as_str).collect();
        let wanted =
            NewAccount { contact: &contact, terms_of_service_agreed: true, only_return_existing: false };
        let external = self.settings.external_account.as_ref();
        let external =
            external.map(|external| ExternalAccountKey::new(external.kid.clone(), external.hmac.expose()));
        let created = builder.create(&wanted, directory, external.as_ref()).await;
        let (account, _) = created.map_err(|error| OrderError::Account(error.into()))?;
        Ok(account)
    }

    /// Keeps a registered account. Registering once more with the same key gives the same account: nothing is lost
    /// where this fails.
    async fn keep(&self, account: StoredAccount) -> Result<(), OrderError> {
        let desk = self.clone();
        blocking(move || {
            desk.storage.set_account(&desk.settings.name, Some(&account))?;
            desk.state.set_account_key(&desk.settings.name, None);
            Ok(())
        })
        .await?
    }

    /// The account is not known to its server any more: the same key is registered again.
    pub(super) async fn forget(&self, stored: &mut Option<StoredAccount>) -> Result<(), OrderError> {
        let Some(account) = stored else { return Ok(()) };
        tracing::warn!(
            resolver = &*self.settings.name,
            account = account.uri,
            "the ACME server does not know the account any more: it is registered again",
        );
        account.uri.clear();
        let (desk, account) = (self.clone(), account.clone());
        blocking(move || desk.storage.set_account(&desk.settings.name, Some(&account))).await??;
        Ok(())
    }

    /// The account's key: the stored one, the one that is being registered, or a new one, which is kept before anybody
    /// sees it.
    async fn key(&self, stored: Option<&StoredAccount>) -> Result<Arc<AccountKey>, OrderError> {
        let stored = stored.map(|account| account.key.clone());
        let desk = self.clone();
        let made = blocking(move || -> Result<AccountKey, AccountKeyError> {
            if let Some(der) = stored {
                return AccountKey::from_pkcs1(&der);
            }
            let name = &*desk.settings.name;
            let begun =
                desk.state.account_key(name).and_then(|key| STANDARD.decode(key).ok()).map(Zeroizing::new);
            if let Some(Ok(key)) = begun.map(|der| AccountKey::from_pkcs1(&der)) {
                return Ok(key);
            }
            let key = AccountKey::generate()?;
            desk.state.set_account_key(name, Some(STANDARD.encode(key.pkcs1())));
            Ok(key)
        });
        let key = made.await?.map_err(|error| OrderError::Local(error.to_string()))?;
        Ok(Arc::new(key))
    }
}

fn host(url: &str) -> Option<String> {
    url.parse::<Uri>().ok()?.host().map(str::to_ascii_lowercase)
}

/// Runs what blocks where nobody waits.
pub(super) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, OrderError> {
    spawn_blocking(work).await.map_err(|error| OrderError::Local(format!("internal error: {error}")))
}
