//! Certificates of clients: Traefik's five modes.

use std::sync::Arc;

use config::routing::tls::ClientAuth;
use rustls::client::danger::HandshakeSignatureValid;
use rustls::crypto::{
    CryptoProvider, WebPkiSupportedAlgorithms, verify_tls12_signature, verify_tls13_signature,
};
use rustls::pki_types::{CertificateDer, UnixTime};
use rustls::server::WebPkiClientVerifier;
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::{
    CertificateError, DigitallySignedStruct, DistinguishedName, Error, RootCertStore, SignatureScheme,
};
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::{FromDer, X509Certificate};

/// Asks for a certificate, and judges the one that comes. That the client has its key is checked in every mode.
#[derive(Debug)]
struct ClientVerifier {
    mandatory: bool,
    /// Judges chain, time and purpose, where anybody does.
    chain: Option<Arc<dyn ClientCertVerifier>>,
    algorithms: WebPkiSupportedAlgorithms,
}

/// The verifier of a mode; none where no certificate is asked for. An error: what is trusted cannot be used, and so
/// nobody is.
pub(super) fn verifier(
    mode: &ClientAuth,
    roots: &[Arc<[u8]>],
    provider: &Arc<CryptoProvider>,
) -> Result<Option<Arc<dyn ClientCertVerifier>>, String> {
    let (mandatory, verified) = match mode {
        ClientAuth::None => return Ok(None),
        ClientAuth::Request => (false, false),
        ClientAuth::RequireAny => (true, false),
        ClientAuth::VerifyIfGiven(_) => (false, true),
        ClientAuth::RequireAndVerify(_) => (true, true),
    };
    let chain = if verified { Some(chain_verifier(roots, provider)?) } else { None };
    let algorithms = provider.signature_verification_algorithms;
    Ok(Some(Arc::new(ClientVerifier { mandatory, chain, algorithms })))
}

fn chain_verifier(
    roots: &[Arc<[u8]>],
    provider: &Arc<CryptoProvider>,
) -> Result<Arc<dyn ClientCertVerifier>, String> {
    let mut store = RootCertStore::empty();
    for root in roots {
        store
            .add(CertificateDer::from(root.to_vec()))
            .map_err(|error| format!("a certificate authority for clients cannot be used: {error}"))?;
    }
    WebPkiClientVerifier::builder_with_provider(Arc::new(store), Arc::clone(provider))
        .allow_unauthenticated()
        .build()
        .map_err(|error| format!("certificates of clients cannot be verified: {error}"))
}

impl ClientCertVerifier for ClientVerifier {
    fn client_auth_mandatory(&self) -> bool {
        self.mandatory
    }

    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        self.chain.as_ref().map_or(&[], |chain| chain.root_hint_subjects())
    }

    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        let (_, parsed) = X509Certificate::from_der(end_entity)
            .map_err(|_| Error::InvalidCertificate(CertificateError::BadEncoding))?;
        if has_name_with_nul(&parsed) {
            return Err(Error::InvalidCertificate(CertificateError::BadEncoding));
        }
        match &self.chain {
            Some(chain) => chain.verify_client_cert(end_entity, intermediates, now),
            None => Ok(ClientCertVerified::assertion()),
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(message, certificate, signature, &self.algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, certificate, signature, &self.algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}

/// A name that is cut at a NUL by whoever reads it next would be another name.
fn has_name_with_nul(certificate: &X509Certificate<'_>) -> bool {
    let Ok(extension) = certificate.subject_alternative_name() else {
        return true;
    };
    extension.is_some_and(|extension| {
        extension.value.general_names.iter().any(|name| match name {
            GeneralName::DNSName(name) | GeneralName::RFC822Name(name) | GeneralName::URI(name) => {
                name.contains('\0')
            }
            GeneralName::OtherName(..)
            | GeneralName::X400Address(_)
            | GeneralName::DirectoryName(_)
            | GeneralName::EDIPartyName(_)
            | GeneralName::IPAddress(_)
            | GeneralName::RegisteredID(_)
            | GeneralName::Invalid(..) => false,
        })
    })
}

/// The subject as Traefik's log writes it (RFC 2253): `CN=client,O=Example`.
pub(super) fn subject(certificate: &CertificateDer<'_>) -> Option<Box<str>> {
    let (_, parsed) = X509Certificate::from_der(certificate).ok()?;
    let parts: Vec<_> = parsed.subject().iter_rdn().collect();
    let parts = parts.into_iter().rev().map(|part| {
        let attributes = part.iter().map(|attribute| {
            let kind = attribute.attr_type().to_id_string();
            let value = escaped(attribute.as_str().unwrap_or_default());
            format!("{}={value}", short_name(&kind))
        });
        attributes.collect::<Vec<_>>().join("+")
    });
    Some(parts.collect::<Vec<_>>().join(",").into())
}

/// The short name of an attribute, where it has one.
fn short_name(kind: &str) -> &str {
    match kind {
        "2.5.4.3" => "CN",
        "2.5.4.5" => "SERIALNUMBER",
        "2.5.4.6" => "C",
        "2.5.4.7" => "L",
        "2.5.4.8" => "ST",
        "2.5.4.9" => "STREET",
        "2.5.4.10" => "O",
        "2.5.4.11" => "OU",
        "2.5.4.17" => "POSTALCODE",
        other => other,
    }
}

fn escaped(value: &str) -> String {
    let mut text = String::with_capacity(value.len());
    for (position, letter) in value.char_indices() {
        let at_an_end = position == 0 || position + letter.len_utf8() == value.len();
        let escapes = matches!(letter, ',' | '+' | '"' | '\\' | '<' | '>' | ';')
            || (letter == '#' && position == 0)
            || (letter == ' ' && at_an_end);
        if escapes {
            text.push('\\');
        }
        text.push(letter);
    }
    text
}
