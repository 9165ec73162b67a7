//! A certificate with its key: chain, names, expiry. Parsed once, when it is loaded.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use rustls::crypto::aws_lc_rs;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::CertifiedKey;
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::{FromDer, X509Certificate};

/// A certificate that can be served.
#[derive(Debug)]
pub struct Certificate {
    /// DNS names, lower case, wildcards with their `*`, and addresses as text; sorted, none twice.
    pub names: Box<[Box<str>]>,
    /// Common name of the subject; empty if it has none.
    pub common_name: Box<str>,
    /// Common name and organisation of the issuer.
    pub issuer: Box<str>,
    /// Serial number, hexadecimal in lower case.
    pub serial: Box<str>,
    /// Valid from.
    pub not_before: SystemTime,
    /// Valid to.
    pub not_after: SystemTime,
    /// SHA-256 of the leaf (DER).
    pub fingerprint: [u8; 32],
    /// Chain and key as the TLS library wants them.
    pub key: Arc<CertifiedKey>,
    /// Where it comes from.
    pub source: CertificateSource,
}

/// Where a certificate comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CertificateSource {
    /// A pair of a routing file.
    File(PathBuf),
    /// PEM text in a routing file.
    Text,
    /// A certificate resolver.
    Resolver(Arc<str>),
    /// Made at the start, signed by itself.
    Generated,
}

/// Why a pair cannot be served.
#[derive(Debug, thiserror::Error)]
pub enum CertificateError {
    /// No certificate in the PEM text.
    #[error("there is no certificate in it")]
    NoCertificate,
    /// No private key in the PEM text.
    #[error("there is no private key in it")]
    NoKey,
    /// PEM that cannot be read.
    #[error("it is not valid PEM")]
    Pem(#[source] rustls::pki_types::pem::Error),
    /// A leaf that cannot be parsed.
    #[error("its first certificate cannot be parsed")]
    Parse,
    /// A key of a kind that is not supported, or broken.
    #[error("its key cannot be used")]
    Key(#[source] rustls::Error),
    /// The key belongs to another certificate.
    #[error("certificate and key do not belong together")]
    Mismatch,
}

impl Certificate {
    /// Parses a chain (leaf first) and its key, and checks that they belong together.
    pub fn from_pem(chain: &[u8], key: &[u8], source: CertificateSource) -> Result<Self, CertificateError> {
        let chain: Vec<CertificateDer<'static>> =
            CertificateDer::pem_slice_iter(chain).collect::<Result<_, _>>().map_err(CertificateError::Pem)?;
        let key = PrivateKeyDer::from_pem_slice(key).map_err(|error| match error {
            rustls::pki_types::pem::Error::NoItemsFound => CertificateError::NoKey,
            other => CertificateError::Pem(other),
        })?;
        Self::new(chain, key, source)
    }

    /// The same from DER.
    pub fn new(
        chain: Vec<CertificateDer<'static>>,
        key: PrivateKeyDer<'static>,
        source: CertificateSource,
    ) -> Result<Self, CertificateError> {
        let leaf = chain.first().ok_or(CertificateError::NoCertificate)?.clone();
        let key = aws_lc_rs::sign::any_supported_type(&key).map_err(CertificateError::Key)?;
        let key = CertifiedKey::new(chain, key);
        match key.keys_match() {
            Ok(()) => {}
            Err(rustls::Error::InconsistentKeys(rustls::InconsistentKeys::KeyMismatch)) => {
                return Err(CertificateError::Mismatch);
            }
            Err(error) => return Err(CertificateError::Key(error)),
        }
        let (_, parsed) = X509Certificate::from_der(&leaf).map_err(|_| CertificateError::Parse)?;
        let validity = parsed.validity();
        let fingerprint = aws_lc_digest(&leaf);
        Ok(Self {
            names: names(&parsed),
            common_name: common_name(parsed.subject()),
            issuer: common_name(parsed.issuer()),
            serial: parsed.serial.to_str_radix(16).into(),
            not_before: time(validity.not_before.timestamp()),
            not_after: time(validity.not_after.timestamp()),
            fingerprint,
            key: Arc::new(key),
            source,
        })
    }
}

fn aws_lc_digest(bytes: &[u8]) -> [u8; 32] {
    let digest = ::aws_lc_rs::digest::digest(&::aws_lc_rs::digest::SHA256, bytes);
    digest.as_ref().try_into().expect("SHA-256 has 32 bytes")
}

fn time(seconds: i64) -> SystemTime {
    match u64::try_from(seconds) {
        Ok(seconds) => SystemTime::UNIX_EPOCH + Duration::from_secs(seconds),
        Err(_) => SystemTime::UNIX_EPOCH,
    }
}

fn common_name(name: &x509_parser::x509::X509Name<'_>) -> Box<str> {
    name.iter_common_name().next().and_then(|name| name.as_str().ok()).unwrap_or_default().into()
}

fn names(certificate: &X509Certificate<'_>) -> Box<[Box<str>]> {
    let mut names: Vec<Box<str>> = Vec::new();
    if let Ok(Some(extension)) = certificate.subject_alternative_name() {
        for name in &extension.value.general_names {
            match name {
                GeneralName::DNSName(name) => names.push(name.to_ascii_lowercase().into()),
                GeneralName::IPAddress(bytes) => {
                    let address = match bytes.len() {
                        4 => <[u8; 4]>::try_from(*bytes).ok().map(std::net::IpAddr::from),
                        16 => <[u8; 16]>::try_from(*bytes).ok().map(std::net::IpAddr::from),
                        _ => None,
                    };
                    names.extend(address.map(|address| address.to_string().into()));
                }
                _ => {}
            }
        }
    }
    names.sort();
    names.dedup();
    names.into()
}
