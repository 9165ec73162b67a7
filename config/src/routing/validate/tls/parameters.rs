//! Versions, cipher suites and key exchange groups by their names, for both sides of the gateway.

use crate::problem::did_you_mean;
use crate::routing::tls::{CipherSuite, Curve, TlsVersion};

use super::super::Fault;

const VERSIONS: [(&str, Option<TlsVersion>); 4] = [
    ("VersionTLS10", None),
    ("VersionTLS11", None),
    ("VersionTLS12", Some(TlsVersion::Tls12)),
    ("VersionTLS13", Some(TlsVersion::Tls13)),
];

const SUITES: [(&str, CipherSuite); 8] = [
    ("TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256", CipherSuite::EcdsaAes128),
    ("TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384", CipherSuite::EcdsaAes256),
    ("TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256", CipherSuite::EcdsaChaCha20),
    ("TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305", CipherSuite::EcdsaChaCha20),
    ("TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256", CipherSuite::RsaAes128),
    ("TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384", CipherSuite::RsaAes256),
    ("TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256", CipherSuite::RsaChaCha20),
    ("TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305", CipherSuite::RsaChaCha20),
];

const SUITES_OF_TLS13: [&str; 3] =
    ["TLS_AES_128_GCM_SHA256", "TLS_AES_256_GCM_SHA384", "TLS_CHACHA20_POLY1305_SHA256"];

/// Known to Traefik and never spoken here: no forward secrecy, or no authenticated encryption.
const OLD_SUITES: [&str; 17] = [
    "TLS_RSA_WITH_RC4_128_SHA",
    "TLS_RSA_WITH_3DES_EDE_CBC_SHA",
    "TLS_RSA_WITH_AES_128_CBC_SHA",
    "TLS_RSA_WITH_AES_256_CBC_SHA",
    "TLS_RSA_WITH_AES_128_CBC_SHA256",
    "TLS_RSA_WITH_AES_128_GCM_SHA256",
    "TLS_RSA_WITH_AES_256_GCM_SHA384",
    "TLS_ECDHE_ECDSA_WITH_RC4_128_SHA",
    "TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA",
    "TLS_ECDHE_ECDSA_WITH_AES_256_CBC_SHA",
    "TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA256",
    "TLS_ECDHE_RSA_WITH_RC4_128_SHA",
    "TLS_ECDHE_RSA_WITH_3DES_EDE_CBC_SHA",
    "TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA",
    "TLS_ECDHE_RSA_WITH_AES_256_CBC_SHA",
    "TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA256",
    "TLS_FALLBACK_SCSV",
];

const CURVES: [(&str, Curve); 8] = [
    ("X25519MLKEM768", Curve::X25519MlKem768),
    ("X25519", Curve::X25519),
    ("CurveP256", Curve::P256),
    ("CurveP384", Curve::P384),
    ("CurveP521", Curve::P521),
    ("secp256r1", Curve::P256),
    ("secp384r1", Curve::P384),
    ("secp521r1", Curve::P521),
];

/// Lowest and highest version; none where nothing is written.
pub(in super::super) fn versions(
    min: &str,
    max: &str,
    warnings: &mut Vec<Fault>,
) -> Result<(Option<TlsVersion>, Option<TlsVersion>), Fault> {
    let mut version = |key: &str, written: &str| {
        if written.is_empty() {
            return Ok(None);
        }
        match VERSIONS.into_iter().find(|(name, _)| *name == written) {
            Some((_, Some(version))) => Ok(Some(version)),
            Some((_, None)) => {
                let text = format!("`{key}: {written}` is not spoken, `VersionTLS12` is used");
                warnings.push(Fault::new(text, "TLS 1.0 and 1.1 are broken: raise it, or take it away"));
                Ok(Some(TlsVersion::Tls12))
            }
            None => {
                let hint = match did_you_mean(written, VERSIONS.map(|(name, _)| name)) {
                    Some(near) => format!("did you mean `{near}`?"),
                    None => "write `VersionTLS12` or `VersionTLS13`".to_owned(),
                };
                Err(Fault::new(format!("unknown TLS version: `{key}: {written}`"), hint))
            }
        }
    };
    let versions = (version("minVersion", min)?, version("maxVersion", max)?);
    match versions {
        (Some(min), Some(max)) if min > max => {
            Err(Fault::new("`minVersion` is above `maxVersion`", "swap them, or take one away"))
        }
        versions => Ok(versions),
    }
}

/// What a list of cipher suites comes to.
#[derive(Debug, Default, PartialEq, Eq)]
pub(in super::super) struct Suites {
    /// Those of TLS 1.2, in order; empty: all of ours, unless `only_tls13`.
    pub(in super::super) chosen: Vec<CipherSuite>,
    /// Only suites of TLS 1.3 were written, and so TLS 1.2 has none to offer.
    pub(in super::super) only_tls13: bool,
}

/// The suites of these names.
pub(in super::super) fn cipher_suites(
    written: &[String],
    warnings: &mut Vec<Fault>,
) -> Result<Suites, Fault> {
    let mut chosen = Vec::with_capacity(written.len());
    let mut old = Vec::new();
    let mut tls13 = Vec::new();
    for name in written.iter().map(String::as_str) {
        if let Some((_, suite)) = SUITES.into_iter().find(|(known, _)| *known == name) {
            if !chosen.contains(&suite) {
                chosen.push(suite);
            }
        } else if SUITES_OF_TLS13.contains(&name) {
            tls13.push(name);
        } else if OLD_SUITES.contains(&name) {
            old.push(name);
        } else {
            let hint = match did_you_mean(name, SUITES.map(|(name, _)| name)) {
                Some(near) => format!("did you mean `{near}`?"),
                None => "write the IANA name of a suite with ECDHE and GCM or ChaCha20".to_owned(),
            };
            return Err(Fault::new(format!("invalid CipherSuite: {name}"), hint));
        }
    }
    if chosen.is_empty() && tls13.is_empty() && !old.is_empty() {
        return Err(Fault::new(
            format!("invalid CipherSuite: {}", old.join(", ")),
            "none of these is spoken: write suites with ECDHE and GCM or ChaCha20, or take `cipherSuites` away",
        ));
    }
    if !old.is_empty() {
        let text =
            format!("cipher suites without forward secrecy or with CBC are not spoken: {}", old.join(", "));
        warnings.push(Fault::new(text, "take them away"));
    }
    let only_tls13 = chosen.is_empty() && !tls13.is_empty();
    if !tls13.is_empty() {
        let text =
            format!("cipher suites of TLS 1.3 cannot be chosen, all are offered: {}", tls13.join(", "));
        let hint = match only_tls13 {
            true => {
                "TLS 1.2 is not spoken, since no suite of it is written; `minVersion: VersionTLS13` says so"
            }
            false => "take them away",
        };
        warnings.push(Fault::new(text, hint));
    }
    Ok(Suites { chosen, only_tls13 })
}

/// The groups of these names, in any case of letters.
pub(super) fn curves(written: &[String]) -> Result<Vec<Curve>, Fault> {
    let mut curves = Vec::with_capacity(written.len());
    for name in written {
        match CURVES.into_iter().find(|(known, _)| known.eq_ignore_ascii_case(name)) {
            Some((_, curve)) if curves.contains(&curve) => {}
            Some((_, curve)) => curves.push(curve),
            None => {
                let hint = match did_you_mean(name, CURVES.map(|(name, _)| name)) {
                    Some(near) => format!("did you mean `{near}`?"),
                    None => format!(
                        "there are `{}`",
                        CURVES[..5].iter().map(|(name, _)| *name).collect::<Vec<_>>().join("`, `")
                    ),
                };
                return Err(Fault::new(format!("invalid CurveID in curvePreferences: {name}"), hint));
            }
        }
    }
    Ok(curves)
}
