//! A certificate with its key: chain, names, expiry. Parsed once, when it is loaded.

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use rcgen::{
    CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, KeyPair, KeyUsagePurpose,
};
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::CertifiedKey;
use x509_parser::der_parser::Oid;
use x509_parser::extensions::GeneralName;
use x509_parser::oid_registry as oid;
use x509_parser::prelude::{FromDer, X509Certificate};
use x509_parser::public_key::PublicKey;
use zeroize::Zeroizing;

/// Common name of the certificate that is made at the start.
pub const GENERATED_NAME: &str = "HEARTHGATE DEFAULT CERT";

/// How long a certificate that is made at the start is valid.
const GENERATED_LIFE: Duration = Duration::from_secs(365 * 86_400);

/// A certificate that can be served.
#[derive(Debug)]
pub struct Certificate {
    /// DNS names, lower case, wildcards with their `*`, and addresses as text; sorted, none twice. Those of the
    /// alternative names; the common name where there are none.
    pub names: Box<[Box<str>]>,
    /// Common name of the subject; empty if it has none.
    pub common_name: Box<str>,
    /// Common name of the issuer; empty if it has none.
    pub issuer: Box<str>,
    /// Organisation of the issuer; empty if it has none.
    pub issuer_organisation: Box<str>,
    /// Serial number, hexadecimal in lower case.
    pub serial: Box<str>,
    /// Serial number, decimal: what Traefik's metric shows.
    pub serial_decimal: Box<str>,
    /// Valid from.
    pub not_before: SystemTime,
    /// Valid to.
    pub not_after: SystemTime,
    /// SHA-256 of the leaf (DER).
    pub fingerprint: [u8; 32],
    /// Kind of the key: `RSA`, `ECDSA`, `Ed25519`.
    pub key_type: &'static str,
    /// Its size in bits.
    pub key_bits: usize,
    /// How the issuer signed it: `ECDSA-SHA256`; an object identifier where it has no usual name.
    pub signature_algorithm: Box<str>,
    /// Chain and key as the TLS library wants them.
    pub key: Arc<CertifiedKey>,
    /// The key as PEM text.
    pub key_pem: KeyPem,
    /// Where it comes from.
    pub source: CertificateSource,
}

/// A private key as PEM text. It never prints, and its memory is overwritten at the end.
pub struct KeyPem(Zeroizing<String>);

impl KeyPem {
    /// The text. The caller answers for where it goes.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for KeyPem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
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
    /// The same of a private key.
    #[error("it is not valid PEM")]
    KeyPem(#[source] rustls::pki_types::pem::Error),
    /// A leaf that cannot be parsed.
    #[error("its first certificate cannot be parsed")]
    Parse,
    /// A key of a kind that is not supported, or broken.
    #[error("its key cannot be used")]
    Key(#[source] rustls::Error),
    /// The key belongs to another certificate.
    #[error("certificate and key do not belong together")]
    Mismatch,
    /// A name that reads differently to different readers.
    #[error("one of its names contains a NUL character")]
    Name,
    /// A certificate of our own could not be made.
    #[error("it could not be made")]
    Generate(#[source] rcgen::Error),
}

impl Certificate {
    /// Parses a chain (leaf first) and its key, and checks that they belong together.
    pub fn from_pem(chain: &[u8], key: &[u8], source: CertificateSource) -> Result<Self, CertificateError> {
        let chain: Vec<CertificateDer<'static>> =
            CertificateDer::pem_slice_iter(chain).collect::<Result<_, _>>().map_err(CertificateError::Pem)?;
        let key = PrivateKeyDer::from_pem_slice(key).map_err(|error| match error {
            rustls::pki_types::pem::Error::NoItemsFound => CertificateError::NoKey,
            other => CertificateError::KeyPem(other),
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
        let (_, parsed) = X509Certificate::from_der(&leaf).map_err(|_| CertificateError::Parse)?;
        let key_pem = KeyPem(encode_key(&key));
        let key = aws_lc_rs::sign::any_supported_type(&key).map_err(CertificateError::Key)?;
        let key = CertifiedKey::new(chain, key);
        match key.keys_match() {
            Ok(()) => {}
            Err(rustls::Error::InconsistentKeys(rustls::InconsistentKeys::KeyMismatch)) => {
                return Err(CertificateError::Mismatch);
            }
            Err(error) => return Err(CertificateError::Key(error)),
        }
        let validity = parsed.validity();
        let (key_type, key_bits) = key_kind(&parsed);
        Ok(Self {
            names: names(&parsed)?,
            common_name: text(parsed.subject().iter_common_name()),
            issuer: text(parsed.issuer().iter_common_name()),
            issuer_organisation: text(parsed.issuer().iter_organization()),
            serial: parsed.serial.to_str_radix(16).into(),
            serial_decimal: parsed.serial.to_str_radix(10).into(),
            not_before: time(validity.not_before.timestamp()),
            not_after: time(validity.not_after.timestamp()),
            fingerprint: aws_lc_digest(&leaf),
            key_type,
            key_bits,
            signature_algorithm: signature_algorithm(&parsed.signature_algorithm.algorithm),
            key: Arc::new(key),
            key_pem,
            source,
        })
    }

    /// One that is signed by itself, on P-256, for a year: what is served where there is nothing better.
    pub fn generate(now: SystemTime) -> Result<Self, CertificateError> {
        let key = KeyPair::generate().map_err(CertificateError::Generate)?;
        let digest = aws_lc_digest(key.public_key_raw());
        let label: String = digest.iter().take(16).map(|byte| format!("{byte:02x}")).collect();
        let mut params = CertificateParams::new(vec![format!("{label}.hearthgate.default")])
            .map_err(CertificateError::Generate)?;
        params.distinguished_name = DistinguishedName::new();
        params.distinguished_name.push(DnType::CommonName, GENERATED_NAME);
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        params.not_before = now.into();
        params.not_after = (now + GENERATED_LIFE).into();
        let certificate = params.self_signed(&key).map_err(CertificateError::Generate)?;
        let key = PrivateKeyDer::try_from(key.serialize_der())
            .expect("a key that was just made is written in a form that can be read");
        Self::new(vec![certificate.der().clone()], key, CertificateSource::Generated)
    }

    /// The chain as PEM text, leaf first.
    pub fn chain_pem(&self) -> String {
        let mut text = String::new();
        for certificate in &self.key.cert {
            encode("CERTIFICATE", certificate, &mut text);
        }
        text
    }

    /// Whether it is valid at this moment.
    pub fn is_valid(&self, now: SystemTime) -> bool {
        self.not_before <= now && now < self.not_after
    }

    /// Whether one of its names is this one (lower case), or a wildcard for it. A wildcard covers itself and what has
    /// one label in its place.
    pub fn covers(&self, name: &str) -> bool {
        let has = |wanted: &str| self.names.binary_search_by(|known| (**known).cmp(wanted)).is_ok();
        has(name)
            || (!name.starts_with('*')
                && name.find('.').is_some_and(|dot| has(&format!("*{}", &name[dot..]))))
    }
}

/// PEM text of a key, by the form that it is written in.
fn encode_key(key: &PrivateKeyDer<'_>) -> Zeroizing<String> {
    let label = match key {
        PrivateKeyDer::Pkcs1(_) => "RSA PRIVATE KEY",
        PrivateKeyDer::Sec1(_) => "EC PRIVATE KEY",
        // Every other form is PKCS#8.
        _ => "PRIVATE KEY",
    };
    let der = key.secret_der();
    // Large enough from the start: growing would leave copies behind.
    let mut text = Zeroizing::new(String::with_capacity(der.len() * 3 / 2 + 128));
    encode(label, der, &mut text);
    text
}

fn encode(label: &str, der: &[u8], text: &mut String) {
    let frame = |text: &mut String, word: &str| {
        for part in ["-----", word, " ", label, "-----\n"] {
            text.push_str(part);
        }
    };
    frame(text, "BEGIN");
    // 48 bytes are a line of 64 characters.
    for line in der.chunks(48) {
        STANDARD.encode_string(line, text);
        text.push('\n');
    }
    frame(text, "END");
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

fn text<'a>(mut values: impl Iterator<Item = &'a x509_parser::x509::AttributeTypeAndValue<'a>>) -> Box<str> {
    values.next().and_then(|value| value.as_str().ok()).unwrap_or_default().into()
}

fn key_kind(certificate: &X509Certificate<'_>) -> (&'static str, usize) {
    match certificate.public_key().parsed() {
        Ok(PublicKey::RSA(key)) => ("RSA", key.key_size()),
        // The size counts whole bytes; P-521 has a bit in its last one.
        Ok(PublicKey::EC(point)) => ("ECDSA", if point.key_size() > 512 { 521 } else { point.key_size() }),
        Ok(_) | Err(_) => {
            if certificate.public_key().algorithm.algorithm == oid::OID_SIG_ED25519 {
                ("Ed25519", 256)
            } else {
                ("unknown", 0)
            }
        }
    }
}

fn signature_algorithm(algorithm: &Oid<'_>) -> Box<str> {
    let known = [
        (oid::OID_SIG_ECDSA_WITH_SHA256, "ECDSA-SHA256"),
        (oid::OID_SIG_ECDSA_WITH_SHA384, "ECDSA-SHA384"),
        (oid::OID_SIG_ECDSA_WITH_SHA512, "ECDSA-SHA512"),
        (oid::OID_PKCS1_SHA256WITHRSA, "SHA256-RSA"),
        (oid::OID_PKCS1_SHA384WITHRSA, "SHA384-RSA"),
        (oid::OID_PKCS1_SHA512WITHRSA, "SHA512-RSA"),
        (oid::OID_PKCS1_RSASSAPSS, "RSA-PSS"),
        (oid::OID_PKCS1_SHA1WITHRSA, "SHA1-RSA"),
        (oid::OID_SIG_ED25519, "Ed25519"),
    ];
    match known.into_iter().find(|(known, _)| known == algorithm) {
        Some((_, name)) => name.into(),
        None => algorithm.to_id_string().into(),
    }
}

fn names(certificate: &X509Certificate<'_>) -> Result<Box<[Box<str>]>, CertificateError> {
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
                    names.extend(address.map(|address| address.to_canonical().to_string().into()));
                }
                _ => {}
            }
        }
    }
    if names.is_empty() {
        let common_name = text(certificate.subject().iter_common_name());
        names.extend((!common_name.is_empty()).then(|| common_name.to_ascii_lowercase().into()));
    }
    // A reader that stops at it sees another name than one that does not.
    if names.iter().any(|name| name.contains('\0')) {
        return Err(CertificateError::Name);
    }
    names.sort();
    names.dedup();
    Ok(names.into())
}

#[cfg(test)]
#[path = "certificate_tests.rs"]
pub(crate) mod tests;
