//! The key of a certificate, and the request for it.

use aws_lc_rs::encoding::{AsDer, Pkcs8V1Der};
use aws_lc_rs::rsa::{KeyPair as RsaKeyPair, KeySize};
use config::install::acme::KeyType;
use config::routing::tls::Domain;
use rcgen::{CertificateParams, DistinguishedName, DnType, KeyPair};

/// A common name is not longer (RFC 5280).
const COMMON_NAME_LIMIT: usize = 64;

/// Why there is no key or no request.
#[derive(Debug, thiserror::Error)]
#[error("make the key and the request of a certificate: {0}")]
pub(super) struct LeafKeyError(String);

fn failed(error: impl ToString) -> LeafKeyError {
    LeafKeyError(error.to_string())
}

/// A new key, PEM (PKCS#8). RSA takes a moment: not for a thread that others wait for.
pub(super) fn generate(kind: KeyType) -> Result<String, LeafKeyError> {
    let rsa = |size| -> Result<KeyPair, LeafKeyError> {
        let pair = RsaKeyPair::generate(size).map_err(failed)?;
        let der = AsDer::<Pkcs8V1Der<'_>>::as_der(&pair).map_err(failed)?;
        KeyPair::try_from(der.as_ref()).map_err(failed)
    };
    let pair = match kind {
        KeyType::Ec256 => KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256).map_err(failed)?,
        KeyType::Ec384 => KeyPair::generate_for(&rcgen::PKCS_ECDSA_P384_SHA384).map_err(failed)?,
        KeyType::Rsa2048 => rsa(KeySize::Rsa2048)?,
        KeyType::Rsa4096 => rsa(KeySize::Rsa4096)?,
        KeyType::Rsa8192 => rsa(KeySize::Rsa8192)?,
    };
    Ok(pair.serialize_pem())
}

/// The request (DER) for a certificate of these names.
pub(super) fn request(key: &str, domain: &Domain, common_name: bool) -> Result<Vec<u8>, LeafKeyError> {
    let pair = KeyPair::from_pem(key).map_err(failed)?;
    let names: Vec<String> = domain.names().map(ToString::to_string).collect();
    let mut parameters = CertificateParams::new(names).map_err(failed)?;
    parameters.distinguished_name = DistinguishedName::new();
    let main = &*domain.main;
    if common_name && main.len() <= COMMON_NAME_LIMIT && main.parse::<std::net::IpAddr>().is_err() {
        parameters.distinguished_name.push(DnType::CommonName, main);
    }
    let request = parameters.serialize_request(&pair).map_err(failed)?;
    Ok(request.der().to_vec())
}
