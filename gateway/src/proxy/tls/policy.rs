//! A policy, prepared: what the TLS library needs for its handshakes. Made once and kept in the policy's slot, so that
//! its session tickets live as long as it does. Nothing is shared between policies: a session that began under one
//! is never resumed under another.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::SystemTime;

use config::routing::tls::{CipherSuite, ClientAuth, Curve, TlsVersion};
use rustls::crypto::{CryptoProvider, SupportedKxGroup, aws_lc_rs};
use rustls::pki_types::UnixTime;
use rustls::server::danger::ClientCertVerifier;
use rustls::server::{NoServerSessionStorage, ProducesTickets};
use rustls::sign::CertifiedKey;
use rustls::{
    HandshakeKind, ServerConfig, ServerConnection, SupportedCipherSuite, SupportedProtocolVersion, version,
};

use super::certificates::{self, CurrentCertificates, NoCertificate, OneCertificate};
use super::{ACME_TLS, client_auth};
use crate::snapshot::tls::{PolicySettings, TlsPolicy};
use crate::snapshot::{Snapshot, WeakSnapshotReader};

/// One, as Traefik sends: each connection that resumes gets the next.
const TICKETS: usize = 1;

/// A policy at work.
#[derive(Debug)]
pub(super) struct Prepared {
    config: Arc<ServerConfig>,
    strict: bool,
    /// Judges certificates of clients, where somebody must have signed them.
    verifier: Option<Arc<dyn ClientCertVerifier>>,
}

impl Prepared {
    /// Prepares a policy. The error says why its handshakes are refused.
    pub(super) fn new(policy: &TlsPolicy, snapshot: WeakSnapshotReader) -> Result<Self, Arc<str>> {
        let settings = policy.settings.as_ref().map_err(Arc::clone)?;
        let prepared = Self::of(settings, snapshot);
        prepared.map_err(|reason| {
            tracing::warn!(policy = %policy.name, reason, "TLS options cannot be used: handshakes are refused");
            Arc::from(reason)
        })
    }

    fn of(settings: &PolicySettings, snapshot: WeakSnapshotReader) -> Result<Self, String> {
        let options = &settings.options;
        let strict = options.sni_strict;
        let provider = Arc::new(provider(&options.cipher_suites, &options.curves)?);
        let versions = versions(options.min_version, options.max_version)?;
        let builder = ServerConfig::builder_with_provider(Arc::clone(&provider))
            .with_protocol_versions(versions)
            .map_err(|error| error.to_string())?;
        let verifier = client_auth::verifier(&options.client_auth, &settings.client_roots, &provider)?;
        let builder = match &verifier {
            Some(verifier) => builder.with_client_cert_verifier(Arc::clone(verifier)),
            None => builder.with_no_client_auth(),
        };
        let mut config = builder.with_cert_resolver(Arc::new(CurrentCertificates { snapshot, strict }));
        let protocols = options.alpn.iter().map(|protocol| protocol.as_bytes().to_vec());
        config.alpn_protocols = protocols.filter(|protocol| protocol != ACME_TLS).collect();
        // The order of the suites is the operator's, as in Traefik, and not what a client happens to list first.
        config.ignore_client_order = true;
        config.session_storage = Arc::new(NoServerSessionStorage {});
        if options.session_tickets {
            config.ticketer = ticketer()?;
            config.send_tls13_tickets = TICKETS;
        } else {
            config.send_tls13_tickets = 0;
        }
        let verified =
            matches!(options.client_auth, ClientAuth::VerifyIfGiven(_) | ClientAuth::RequireAndVerify(_));
        Ok(Self { config: Arc::new(config), strict, verifier: verifier.filter(|_| verified) })
    }

    /// What to shake hands with, for this server name at this address of ours.
    pub(super) fn config_for(
        &self,
        snapshot: &Snapshot,
        name: Option<&str>,
        local: Option<IpAddr>,
    ) -> Result<Arc<ServerConfig>, NoCertificate> {
        if name.is_none()
            && let Some(local) = local
            && let Some(certificate) = snapshot.certificates.find_address(local)
        {
            let mut config = ServerConfig::clone(&self.config);
            config.cert_resolver = Arc::new(OneCertificate(Arc::clone(&certificate.key)));
            return Ok(Arc::new(config));
        }
        certificates::find(&snapshot.certificates, name, self.strict)?;
        Ok(Arc::clone(&self.config))
    }

    /// Judges the certificate that a resumed session came with, as it is today: it may have run out since.
    #[expect(
        clippy::disallowed_methods,
        reason = "the edge where the validity of a certificate meets the clock"
    )]
    pub(super) fn check_resumed(&self, session: &ServerConnection) -> Result<(), rustls::Error> {
        let (Some(verifier), Some(HandshakeKind::Resumed)) = (&self.verifier, session.handshake_kind())
        else {
            return Ok(());
        };
        let Some((leaf, intermediates)) = session.peer_certificates().and_then(<[_]>::split_first) else {
            return Ok(());
        };
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        verifier.verify_client_cert(leaf, intermediates, UnixTime::since_unix_epoch(now)).map(|_| ())
    }
}

/// What answers a TLS-ALPN-01 challenge: its certificate, and that protocol alone.
pub(super) fn challenge_config(certificate: &Arc<CertifiedKey>) -> Option<Arc<ServerConfig>> {
    let builder = ServerConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()));
    let builder = builder.with_safe_default_protocol_versions().ok()?.with_no_client_auth();
    let mut config = builder.with_cert_resolver(Arc::new(OneCertificate(Arc::clone(certificate))));
    config.alpn_protocols = vec![ACME_TLS.to_vec()];
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.send_tls13_tickets = 0;
    Some(Arc::new(config))
}

/// Keys in memory, made anew every six hours and forgotten after twelve.
fn ticketer() -> Result<Arc<dyn ProducesTickets>, String> {
    aws_lc_rs::Ticketer::new().map_err(|error| error.to_string())
}

fn versions(
    lowest: TlsVersion,
    highest: TlsVersion,
) -> Result<&'static [&'static SupportedProtocolVersion], String> {
    static BOTH: [&SupportedProtocolVersion; 2] = [&version::TLS13, &version::TLS12];
    match (lowest, highest) {
        (TlsVersion::Tls12, TlsVersion::Tls13) => Ok(&BOTH),
        (TlsVersion::Tls13, TlsVersion::Tls13) => Ok(&BOTH[..1]),
        (TlsVersion::Tls12, TlsVersion::Tls12) => Ok(&BOTH[1..]),
        (TlsVersion::Tls13, TlsVersion::Tls12) => {
            Err("its lowest version is above its highest one".to_owned())
        }
    }
}

/// The crypto of a policy: its suites of TLS 1.2 (all of TLS 1.3), its groups; ours where it names none.
fn provider(suites: &[CipherSuite], curves: &[Curve]) -> Result<CryptoProvider, String> {
    let mut provider = aws_lc_rs::default_provider();
    if !suites.is_empty() {
        provider.cipher_suites.retain(|suite| suite.tls13().is_some());
        provider.cipher_suites.extend(suites.iter().map(|suite| tls12_suite(*suite)));
    }
    if !curves.is_empty() {
        provider.kx_groups = curves.iter().filter_map(|curve| group(*curve)).collect();
        if provider.kx_groups.is_empty() {
            return Err("none of its curves is supported".to_owned());
        }
    }
    Ok(provider)
}

fn tls12_suite(suite: CipherSuite) -> SupportedCipherSuite {
    use aws_lc_rs::cipher_suite as suites;
    match suite {
        CipherSuite::EcdsaAes128 => suites::TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256,
        CipherSuite::EcdsaAes256 => suites::TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384,
        CipherSuite::EcdsaChaCha20 => suites::TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256,
        CipherSuite::RsaAes128 => suites::TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256,
        CipherSuite::RsaAes256 => suites::TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384,
        CipherSuite::RsaChaCha20 => suites::TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256,
    }
}

/// The library does not speak P-521.
fn group(curve: Curve) -> Option<&'static dyn SupportedKxGroup> {
    match curve {
        Curve::X25519MlKem768 => Some(aws_lc_rs::kx_group::X25519MLKEM768),
        Curve::X25519 => Some(aws_lc_rs::kx_group::X25519),
        Curve::P256 => Some(aws_lc_rs::kx_group::SECP256R1),
        Curve::P384 => Some(aws_lc_rs::kx_group::SECP384R1),
        Curve::P521 => None,
    }
}

/// The name of a suite as Traefik logs it.
pub(super) fn suite_name(suite: SupportedCipherSuite) -> &'static str {
    use rustls::CipherSuite as Id;
    match suite.suite() {
        Id::TLS13_AES_128_GCM_SHA256 => "TLS_AES_128_GCM_SHA256",
        Id::TLS13_AES_256_GCM_SHA384 => "TLS_AES_256_GCM_SHA384",
        Id::TLS13_CHACHA20_POLY1305_SHA256 => "TLS_CHACHA20_POLY1305_SHA256",
        other => other.as_str().unwrap_or_default(),
    }
}
