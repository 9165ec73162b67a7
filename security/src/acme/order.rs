//! One order, from its names to the certificate: taken up where the process died, proved, finalised, downloaded.

use std::sync::Arc;
use std::time::Duration;

use config::install::CertificateResolver;
use config::routing::tls::Domain;
use instant_acme::{
    AuthorizationStatus, CertificateIdentifier, ChallengeStatus, ChallengeType, Identifier, NewOrder, Order,
    OrderStatus,
};
use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, sleep};
use zeroize::Zeroizing;

use super::challenge::dns::DnsSolver;
use super::challenge::{answer_tls, choose, dns_value};
use super::client::{AcmeHttp, CaError, printable};
use super::resolver::{News, Output};
use super::session::{OrderError, Session, blocking};
use super::state::{PendingOrder, StateFile};
use super::storage::StoredCertificate;
use super::{Challenges, leaf_key};
use crate::certificate::{Certificate, CertificateSource};

/// How long a server may take to look at all challenges of an order.
const VALIDATION_LIMIT: Duration = Duration::from_secs(180);
const LOOKING: &str = "validation by the ACME server";

/// Between two looks at an order: at first, and at most.
const FIRST_LOOK: Duration = Duration::from_millis(250);
const LONGEST_LOOK: Duration = Duration::from_secs(10);

/// What an order needs beside an account.
pub(super) struct Clerk<'a> {
    pub(super) settings: &'a CertificateResolver,
    pub(super) state: &'a Arc<StateFile>,
    pub(super) dns: Option<&'a DnsSolver>,
    /// Where challenges over HTTP and TLS are hung out.
    pub(super) outputs: &'a mpsc::Sender<Output>,
}

/// A challenge that is to be answered.
struct Proof {
    kind: ChallengeType,
    /// The name without its `*.`.
    name: String,
    authorization: String,
    key_authorization: String,
    /// Nobody has told the server that it may look.
    fresh: bool,
}

/// Names as one word: what failures and unfinished orders are kept by.
pub(super) fn name_set(domain: &Domain) -> String {
    domain.names().map(|name| &**name).collect::<Vec<_>>().join(",")
}

impl Clerk<'_> {
    /// Gets a certificate for these names.
    pub(super) async fn obtain(
        &self,
        session: &Session,
        domain: &Domain,
        replaces: Option<&Certificate>,
    ) -> Result<StoredCertificate, OrderError> {
        let names = name_set(domain);
        let (mut order, key) = match self.resume(session, &names).await? {
            Some(resumed) => resumed,
            None => self.begin(session, domain, &names, replaces).await?,
        };
        let result = self.carry_through(session, &mut order, domain, &key).await;
        if let Err(error) = &result {
            let finalised = matches!(order.state().status, OrderStatus::Processing | OrderStatus::Valid);
            // An order that may still give a certificate is kept; a dead one makes room for the next.
            let dead = match error {
                OrderError::Validation(_) => true,
                OrderError::Ca(CaError::Refused { kind, status, .. }) => {
                    *status < 500 && !matches!(&**kind, "rateLimited" | "badNonce" | "serverInternal")
                }
                OrderError::TimedOut { .. } => !finalised,
                OrderError::Ca(_)
                | OrderError::Account(_)
                | OrderError::Dns(_)
                | OrderError::Local(_)
                | OrderError::Storage(_) => false,
            };
            if dead {
                self.forget(&names).await?;
            }
        }
        let chain = result?;
        Ok(StoredCertificate {
            domain: domain.clone(),
            chain: chain.into_bytes(),
            key: Zeroizing::new(key.into_bytes()),
        })
    }

    /// The order that was under way when the process ended, if its server still has it.
    async fn resume(&self, session: &Session, names: &str) -> Result<Option<(Order, String)>, OrderError> {
        let Some(pending) = self.state.order(&self.settings.name, names) else { return Ok(None) };
        if pending.account == session.account.id() {
            match session.account.order(pending.url.clone()).await.map_err(CaError::from) {
                Ok(mut order) => {
                    if order.state().status != OrderStatus::Invalid {
                        tracing::info!(
                            resolver = &*self.settings.name,
                            "the order for {names} that was not finished is taken up again"
                        );
                        return Ok(Some((order, pending.key)));
                    }
                }
                Err(CaError::Refused { kind, .. })
                    if kind != "accountDoesNotExist" && kind != "rateLimited" => {}
                Err(error) => return Err(error.into()),
            }
        }
        self.forget(names).await?;
        Ok(None)
    }

    /// A new order. Its place and the key of its certificate are kept before anything else happens.
    async fn begin(
        &self,
        session: &Session,
        domain: &Domain,
        names: &str,
        replaces: Option<&Certificate>,
    ) -> Result<(Order, String), OrderError> {
        let kind = self.settings.key_type;
        let key = blocking(move || leaf_key::generate(kind)).await?;
        let key = key.map_err(|error| OrderError::Local(error.to_string()))?;
        let identifiers: Vec<Identifier> = domain
            .names()
            .map(|name| match name.parse() {
                Ok(address) => Identifier::Ip(address),
                Err(_) => Identifier::Dns(name.to_string()),
            })
            .collect();
        let wanted = || {
            let order = NewOrder::new(&identifiers);
            match &self.settings.profile {
                Some(profile) => order.profile(profile),
                None => order,
            }
        };
        let replaced = replaces.and_then(|certificate| certificate.key.cert.first());
        let replaced = replaced.and_then(|leaf| CertificateIdentifier::try_from(leaf).ok());
        let order = match replaced {
            Some(replaced) => {
                match session.account.new_order(&wanted().replaces(replaced)).await.map_err(CaError::from) {
                    // It was replaced already, or belongs to another account: the order is wanted all the same.
                    Err(CaError::Refused { kind, .. })
                        if matches!(
                            &*kind,
                            "alreadyReplaced" | "malformed" | "unauthorized" | "conflict"
                        ) =>
                    {
                        session.account.new_order(&wanted()).await?
                    }
                    other => other?,
                }
            }
            None => session.account.new_order(&wanted()).await?,
        };
        let pending = PendingOrder {
            url: order.url().to_owned(),
            account: session.account.id().to_owned(),
            key: key.clone(),
        };
        self.keep(names, Some(pending)).await?;
        Ok((order, key))
    }

    async fn carry_through(
        &self,
        session: &Session,
        order: &mut Order,
        domain: &Domain,
        key: &str,
    ) -> Result<String, OrderError> {
        let mut status = order.state().status;
        if status == OrderStatus::Pending {
            status = self.prove(session, order).await?;
        }
        if status == OrderStatus::Ready {
            let common_name = !self.settings.disable_common_name;
            let request = leaf_key::request(key, domain, common_name)
                .map_err(|error| OrderError::Local(error.to_string()))?;
            order.finalize_csr(&request).await?;
            status = order.state().status;
        }
        if !matches!(status, OrderStatus::Valid | OrderStatus::Invalid) {
            let limit = self.settings.certificate_timeout;
            let done = |status| matches!(status, OrderStatus::Valid | OrderStatus::Invalid);
            status = poll(&session.http, order, "issuing the certificate", limit, done).await?;
        }
        if status == OrderStatus::Invalid {
            return Err(OrderError::Validation(self.why_invalid(order).await));
        }
        session.http.take_alternates();
        let chain = order.certificate().await?;
        let chain = chain.ok_or_else(|| CaError::Unusable("it has no certificate".to_owned()))?;
        let chain = self.preferred(session, chain).await;
        self.check(&chain, key, domain)?;
        Ok(chain)
    }

    /// Answers the challenges of an order until its server has decided. Whatever happens, nothing stays hung out.
    async fn prove(&self, session: &Session, order: &mut Order) -> Result<OrderStatus, OrderError> {
        let proofs = self.proofs(session, order).await?;
        let mut written = Vec::new();
        let result = self.answer(session, order, &proofs, &mut written).await;
        self.hang_out(Challenges::default()).await;
        if let Some(dns) = self.dns {
            for proof in written {
                let value = dns_value(&proof.key_authorization);
                if let Err(error) = dns.clean_up(&proof.name, &value).await {
                    tracing::warn!(
                        resolver = &*self.settings.name,
                        "the DNS record of the challenge for {} could not be removed: {}",
                        proof.name,
                        super::in_words(&error)
                    );
                }
            }
        }
        result
    }

    async fn proofs(&self, session: &Session, order: &mut Order) -> Result<Vec<Proof>, OrderError> {
        let mut proofs = Vec::new();
        let mut authorizations = order.authorizations();
        while let Some(authorization) = authorizations.next().await {
            let authorization = authorization?;
            match authorization.status {
                AuthorizationStatus::Valid => continue,
                AuthorizationStatus::Pending => {}
                status @ (AuthorizationStatus::Invalid
                | AuthorizationStatus::Revoked
                | AuthorizationStatus::Expired
                | AuthorizationStatus::Deactivated) => {
                    let name = printable(&authorization.identifier().to_string());
                    return Err(OrderError::Validation(format!("{name}: the authorisation is {status:?}")));
                }
            }
            let identifier = authorization.identifier();
            let name = match identifier.identifier {
                Identifier::Dns(name) => name.clone(),
                Identifier::Ip(address) => address.to_string(),
                other => return Err(CaError::Unusable(format!("an order for {other:?}")).into()),
            };
            let offered =
                |kind: &ChallengeType| authorization.challenges.iter().find(|offer| offer.r#type == *kind);
            let kind =
                choose(&self.settings.challenges, authorization.wildcard, |kind| offered(kind).is_some());
            let Some((kind, challenge)) = kind.and_then(|kind| Some((kind.clone(), offered(&kind)?))) else {
                return Err(OrderError::Validation(format!(
                    "{}: the ACME server offers none of the challenges that are configured{}",
                    printable(&identifier.to_string()),
                    if authorization.wildcard { " (a wildcard needs `dnsChallenge`)" } else { "" }
                )));
            };
            proofs.push(Proof {
                kind,
                name,
                authorization: authorization.url().to_owned(),
                key_authorization: session.key.key_authorization(&challenge.token),
                fresh: challenge.status == ChallengeStatus::Pending,
            });
        }
        Ok(proofs)
    }

    async fn answer<'p>(
        &self,
        session: &Session,
        order: &mut Order,
        proofs: &'p [Proof],
        written: &mut Vec<&'p Proof>,
    ) -> Result<OrderStatus, OrderError> {
        let mut challenges = Challenges::default();
        let mut delay = Duration::ZERO;
        let configured = &self.settings.challenges;
        for proof in proofs {
            match proof.kind {
                ChallengeType::Http01 => {
                    delay = delay.max(configured.http.as_ref().map_or(Duration::ZERO, |http| http.delay));
                    let token = proof.key_authorization.split('.').next().unwrap_or_default();
                    challenges.http.insert(token.into(), proof.key_authorization.as_str().into());
                }
                ChallengeType::TlsAlpn01 => {
                    delay = delay.max(configured.tls.as_ref().map_or(Duration::ZERO, |tls| tls.delay));
                    answer_tls(&mut challenges, &proof.name, &proof.key_authorization)
                        .map_err(OrderError::Local)?;
                }
                _ => {}
            }
        }
        if !challenges.http.is_empty() || !challenges.tls.is_empty() {
            self.hang_out(challenges).await;
        }
        let by_dns = || proofs.iter().filter(|proof| proof.kind == ChallengeType::Dns01);
        if let Some(dns) = self.dns {
            let failed = |name: &str, error: &dyn std::error::Error| {
                OrderError::Dns(format!("{name}: {}", super::in_words(error)))
            };
            for proof in by_dns() {
                // Even a failed attempt may have left something.
                written.push(proof);
                let value = dns_value(&proof.key_authorization);
                dns.present(&proof.name, &value).await.map_err(|error| failed(&proof.name, &error))?;
                if dns.one_at_a_time() {
                    // A name and its wildcard share a record that holds one value: the next waits for this one.
                    dns.wait_until_visible(&proof.name, &value)
                        .await
                        .map_err(|error| failed(&proof.name, &error))?;
                    self.let_it_look(order, std::slice::from_ref(proof)).await?;
                    self.wait_for_authorization(session, order, proof).await?;
                    dns.clean_up(&proof.name, &value).await.map_err(|error| failed(&proof.name, &error))?;
                }
            }
            for proof in by_dns().filter(|_| !dns.one_at_a_time()) {
                let value = dns_value(&proof.key_authorization);
                dns.wait_until_visible(&proof.name, &value)
                    .await
                    .map_err(|error| failed(&proof.name, &error))?;
            }
        } else if let Some(proof) = by_dns().next() {
            return Err(OrderError::Dns(format!("{}: there is no DNS provider", proof.name)));
        }
        sleep(delay).await;
        self.let_it_look(order, proofs).await?;
        let done = |status| status != OrderStatus::Pending;
        poll(&session.http, order, LOOKING, VALIDATION_LIMIT, done).await
    }

    /// Waits until the server has decided about one name.
    async fn wait_for_authorization(
        &self,
        session: &Session,
        order: &mut Order,
        proof: &Proof,
    ) -> Result<(), OrderError> {
        let deadline = Instant::now() + VALIDATION_LIMIT;
        let mut authorizations = order.authorizations();
        while let Some(authorization) = authorizations.next().await {
            let mut authorization = authorization?;
            if authorization.url() != proof.authorization {
                continue;
            }
            while authorization.refresh().await?.status == AuthorizationStatus::Pending {
                let wait = session.http.retry_after().unwrap_or(Duration::ZERO).max(Duration::from_secs(1));
                if Instant::now() + wait > deadline {
                    return Err(OrderError::TimedOut { what: LOOKING, limit: VALIDATION_LIMIT });
                }
                sleep(wait).await;
            }
        }
        Ok(())
    }

    /// Tells the server that it may look.
    async fn let_it_look(&self, order: &mut Order, proofs: &[Proof]) -> Result<(), OrderError> {
        let mut authorizations = order.authorizations();
        while let Some(authorization) = authorizations.next().await {
            let mut authorization = authorization?;
            let proof = proofs.iter().find(|proof| proof.authorization == authorization.url());
            let Some(proof) = proof.filter(|proof| proof.fresh) else { continue };
            let Some(mut challenge) = authorization.challenge(proof.kind.clone()) else { continue };
            match challenge.set_ready().await.map_err(CaError::from) {
                Ok(()) => {}
                // It was told before the process died, and looks already.
                Err(CaError::Refused { kind, .. }) if kind == "malformed" => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }

    /// Hangs challenges out and waits until they are answered everywhere. Fails only when the gateway ends.
    async fn hang_out(&self, challenges: Challenges) {
        let (served, wait) = oneshot::channel();
        let output = Output {
            resolver: Arc::clone(&self.settings.name),
            news: News::Challenges(Arc::new(challenges)),
            published: Some(served),
        };
        if self.outputs.send(output).await.is_ok() {
            let _ = wait.await;
        }
    }

    /// What the server says of an order that it has refused.
    async fn why_invalid(&self, order: &mut Order) -> String {
        let in_words = |problem: instant_acme::Problem| match CaError::from(instant_acme::Error::Api(problem))
        {
            CaError::Refused { words, .. } => words,
            other => other.to_string(),
        };
        let of_order = order.state().error.clone();
        let mut reasons = Vec::new();
        let mut authorizations = order.authorizations();
        while let Some(Ok(mut authorization)) = authorizations.next().await {
            let _ = authorization.refresh().await;
            let name = printable(&authorization.identifier().to_string());
            for challenge in &authorization.challenges {
                if let Some(problem) = challenge.error.clone() {
                    reasons.push(format!("{name}: {}", in_words(problem)));
                }
            }
        }
        if reasons.is_empty() {
            reasons.push(of_order.map_or_else(|| "it gives no reason".to_owned(), in_words));
        }
        format!("the ACME server refuses: {}", reasons.join("; "))
    }

    /// The chain that is preferred, if the server has it; else the one that it gave.
    async fn preferred(&self, session: &Session, chain: String) -> String {
        let Some(wanted) = &self.settings.preferred_chain else { return chain };
        if top_issuer(&chain).as_deref() == Some(wanted) {
            return chain;
        }
        let alternates = session.http.take_alternates();
        for url in alternates {
            session.http.take_chain();
            // The library knows no such request; the one for an order is the same, and its answer is not an order.
            let _ = session.account.order(url).await;
            let other = session.http.take_chain().and_then(|chain| String::from_utf8(chain.to_vec()).ok());
            if let Some(other) = other
                && top_issuer(&other).as_deref() == Some(wanted)
            {
                return other;
            }
        }
        tracing::warn!(
            resolver = &*self.settings.name,
            "the ACME server has no chain whose topmost issuer is `{wanted}`: its default one is taken"
        );
        chain
    }

    /// A certificate that cannot be served is an error of the server.
    fn check(&self, chain: &str, key: &str, domain: &Domain) -> Result<(), OrderError> {
        let source = CertificateSource::Resolver(Arc::clone(&self.settings.name));
        let certificate = Certificate::from_pem(chain.as_bytes(), key.as_bytes(), source)
            .map_err(|error| CaError::Unusable(format!("the certificate cannot be used: {error}")))?;
        let missing = domain.names().find(|name| !certificate.names.iter().any(|has| **has == ***name));
        match missing {
            Some(name) => Err(CaError::Unusable(format!("the certificate lacks the name {name}")).into()),
            None => Ok(()),
        }
    }

    async fn keep(&self, names: &str, order: Option<PendingOrder>) -> Result<(), OrderError> {
        let (state, resolver, names) =
            (Arc::clone(self.state), Arc::clone(&self.settings.name), names.to_owned());
        blocking(move || state.set_order(&resolver, &names, order)).await?;
        Ok(())
    }

    async fn forget(&self, names: &str) -> Result<(), OrderError> {
        self.keep(names, None).await
    }
}

/// Looks at an order again and again until it is `done`.
async fn poll(
    http: &AcmeHttp,
    order: &mut Order,
    what: &'static str,
    limit: Duration,
    done: impl Fn(OrderStatus) -> bool,
) -> Result<OrderStatus, OrderError> {
    let deadline = Instant::now() + limit;
    let mut delay = FIRST_LOOK;
    loop {
        let looked = match order.refresh().await {
            Ok(state) if done(state.status) => return Ok(state.status),
            Ok(_) => Ok(http.retry_after()),
            Err(error) => Err(OrderError::from(error)),
        };
        let advised = match looked {
            Ok(advised) => advised,
            // A moment of silence is not the end of an order.
            Err(error) if error.is_server_away() && Instant::now() + delay < deadline => None,
            Err(error) => return Err(error),
        };
        let wait = advised.filter(|advised| !advised.is_zero()).unwrap_or(delay);
        if Instant::now() + wait > deadline {
            return Err(OrderError::TimedOut { what, limit });
        }
        sleep(wait).await;
        delay = delay.mul_f64(1.5).min(LONGEST_LOOK);
    }
}

/// Common name of the issuer of the last certificate in a chain.
fn top_issuer(chain: &str) -> Option<String> {
    use rustls::pki_types::CertificateDer;
    use rustls::pki_types::pem::PemObject as _;
    use x509_parser::prelude::{FromDer as _, X509Certificate};
    let last = CertificateDer::pem_slice_iter(chain.as_bytes()).filter_map(Result::ok).last()?;
    let (_, parsed) = X509Certificate::from_der(&last).ok()?;
    let name = parsed.issuer().iter_common_name().next()?.as_str().ok()?.to_owned();
    Some(name)
}
