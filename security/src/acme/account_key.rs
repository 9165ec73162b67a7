//! The key of an account, as Traefik keeps it: RSA, PKCS#1. Signs every request to the ACME server.
//!
//! The ACME library signs with keys of its own kind (P-256) only. So that an account of Traefik's stays in use, and ours
//! can be used by Traefik, each request is signed anew with this key on its way out (see [`super::client`]).

use aws_lc_rs::encoding::{AsDer, Pkcs8V1Der};
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::{KeyPair, KeySize};
use aws_lc_rs::signature::{KeyPair as _, RSA_PKCS1_SHA256};
use aws_lc_rs::{digest, hmac};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use config::install::acme::ExternalAccount;
use serde_json::{Map, Value, json};
use zeroize::Zeroizing;

/// The key of an account.
pub(super) struct AccountKey {
    pair: KeyPair,
    pkcs1: Zeroizing<Vec<u8>>,
    public: Value,
    thumbprint: String,
}

/// Why a key cannot be had.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum AccountKeyError {
    /// It is not an RSA key in PKCS#1.
    #[error("the account's private key cannot be read: an RSA key (PKCS#1) is expected")]
    Unreadable,
    /// The cryptographic library refused.
    #[error("the cryptographic library failed")]
    Library,
}

impl std::fmt::Debug for AccountKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "AccountKey({})", self.thumbprint)
    }
}

impl AccountKey {
    /// A new one, of Traefik's size. Takes a moment: not for a thread that others wait for.
    pub(super) fn generate() -> Result<Self, AccountKeyError> {
        let pair = KeyPair::generate(KeySize::Rsa4096).map_err(|_| AccountKeyError::Library)?;
        let pkcs8 = AsDer::<Pkcs8V1Der<'_>>::as_der(&pair).map_err(|_| AccountKeyError::Library)?;
        let pkcs1 = inside_pkcs8(pkcs8.as_ref()).ok_or(AccountKeyError::Library)?;
        Self::from_pkcs1(pkcs1)
    }

    /// The one that a storage file holds.
    pub(super) fn from_pkcs1(der: &[u8]) -> Result<Self, AccountKeyError> {
        let pair = KeyPair::from_der(der).map_err(|_| AccountKeyError::Unreadable)?;
        let number = |bytes: &[u8]| URL_SAFE_NO_PAD.encode(bytes);
        let modulus = number(pair.public_key().modulus().big_endian_without_leading_zero());
        let exponent = number(pair.public_key().exponent().big_endian_without_leading_zero());
        // RFC 7638: the members in this order and nothing between them.
        let canonical = format!(r#"{{"e":"{exponent}","kty":"RSA","n":"{modulus}"}}"#);
        let thumbprint = URL_SAFE_NO_PAD.encode(digest::digest(&digest::SHA256, canonical.as_bytes()));
        let public = json!({ "e": exponent, "kty": "RSA", "n": modulus });
        Ok(Self { pair, pkcs1: Zeroizing::new(der.to_vec()), public, thumbprint })
    }

    /// As a storage file holds it.
    pub(super) fn pkcs1(&self) -> &[u8] {
        &self.pkcs1
    }

    /// What proves control of a name for a token (RFC 8555 section 8.1).
    pub(super) fn key_authorization(&self, token: &str) -> String {
        format!("{token}.{}", self.thumbprint)
    }

    /// A signed request body (RFC 7515, flattened JSON). A key in the header becomes this one.
    pub(super) fn sign(
        &self,
        mut header: Map<String, Value>,
        payload: &str,
    ) -> Result<Vec<u8>, AccountKeyError> {
        header.insert("alg".to_owned(), Value::from("RS256"));
        if let Some(key) = header.get_mut("jwk") {
            key.clone_from(&self.public);
        }
        let header = URL_SAFE_NO_PAD.encode(Value::Object(header).to_string());
        let signed = format!("{header}.{payload}");
        let mut signature = vec![0; self.pair.public_modulus_len()];
        self.pair
            .sign(&RSA_PKCS1_SHA256, &SystemRandom::new(), signed.as_bytes(), &mut signature)
            .map_err(|_| AccountKeyError::Library)?;
        let signature = URL_SAFE_NO_PAD.encode(signature);
        Ok(json!({ "protected": header, "payload": payload, "signature": signature })
            .to_string()
            .into_bytes())
    }

    /// The proof that the holder of an external account wants this key (RFC 8555 section 7.3.4).
    pub(super) fn bind(&self, account: &ExternalAccount, new_account_url: &str) -> Value {
        let header = json!({ "alg": "HS256", "kid": account.kid, "url": new_account_url });
        let header = URL_SAFE_NO_PAD.encode(header.to_string());
        let payload = URL_SAFE_NO_PAD.encode(self.public.to_string());
        let key = hmac::Key::new(hmac::HMAC_SHA256, account.hmac.expose());
        let signature = URL_SAFE_NO_PAD.encode(hmac::sign(&key, format!("{header}.{payload}").as_bytes()));
        json!({ "protected": header, "payload": payload, "signature": signature })
    }
}

/// The PKCS#1 key within a PKCS#8 one: version, algorithm, and then the key as an octet string.
fn inside_pkcs8(der: &[u8]) -> Option<&[u8]> {
    let (inner, _) = element(der, 0x30)?;
    let (_, rest) = element(inner, 0x02)?;
    let (_, rest) = element(rest, 0x30)?;
    let (key, _) = element(rest, 0x04)?;
    Some(key)
}

/// Splits an element of this tag off: its content, and what follows.
fn element(der: &[u8], tag: u8) -> Option<(&[u8], &[u8])> {
    let (&first, rest) = der.split_first()?;
    let (&length, rest) = rest.split_first()?;
    if first != tag {
        return None;
    }
    let (length, rest) = if length < 0x80 {
        (usize::from(length), rest)
    } else {
        let (bytes, rest) = rest.split_at_checked(usize::from(length & 0x7f))?;
        let length =
            bytes.iter().try_fold(0usize, |sum, byte| Some(sum.checked_mul(256)? + usize::from(*byte)))?;
        (length, rest)
    };
    rest.split_at_checked(length)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_new_key_is_read_back_from_what_a_storage_file_holds() {
        let key = AccountKey::generate().unwrap();
        let again = AccountKey::from_pkcs1(key.pkcs1()).unwrap();
        assert_eq!(again.thumbprint, key.thumbprint);
        assert_eq!(key.pair.public_modulus_len(), 512);
        assert!(!format!("{key:?}").contains("pkcs1"));
    }

    #[test]
    fn what_is_no_rsa_key_is_refused() {
        for broken in [&b""[..], b"\x30\x03\x02\x01\x00", &[0x30; 64]] {
            assert_eq!(AccountKey::from_pkcs1(broken).unwrap_err(), AccountKeyError::Unreadable);
        }
    }
}
