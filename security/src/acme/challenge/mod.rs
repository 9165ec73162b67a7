//! How control of a name is proved: what is answered over HTTP and TLS, and what is written into DNS.

pub mod dns;

use std::net::IpAddr;
use std::sync::Arc;

use aws_lc_rs::digest;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use config::install::acme::Challenges as Configured;
use instant_acme::ChallengeType;
use rcgen::{CertificateParams, CustomExtension, KeyPair};
use rustls::crypto::aws_lc_rs::sign::any_supported_type;
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use rustls::sign::CertifiedKey;

use super::Challenges;

/// Which challenge is taken: the first that is offered of those that the resolver has, in Traefik's order. A wildcard
/// is proved by DNS alone.
pub(super) fn choose(
    configured: &Configured,
    wildcard: bool,
    offered: impl Fn(&ChallengeType) -> bool,
) -> Option<ChallengeType> {
    let tls = (configured.tls.is_some() && !wildcard).then_some(ChallengeType::TlsAlpn01);
    let http = (configured.http.is_some() && !wildcard).then_some(ChallengeType::Http01);
    let dns = configured.dns.is_some().then_some(ChallengeType::Dns01);
    [tls, http, dns].into_iter().flatten().find(offered)
}

/// What a TXT record holds.
pub(super) fn dns_value(key_authorization: &str) -> String {
    URL_SAFE_NO_PAD.encode(digest::digest(&digest::SHA256, key_authorization.as_bytes()))
}

/// Adds the certificate that answers a TLS-ALPN challenge (RFC 8737).
pub(super) fn answer_tls(
    challenges: &mut Challenges,
    name: &str,
    key_authorization: &str,
) -> Result<(), String> {
    let made = (|| -> Result<CertifiedKey, rcgen::Error> {
        let mut parameters = CertificateParams::new(vec![name.to_owned()])?;
        let digest = digest::digest(&digest::SHA256, key_authorization.as_bytes());
        parameters.custom_extensions = vec![CustomExtension::new_acme_identifier(digest.as_ref())];
        let key = KeyPair::generate()?;
        let certificate = parameters.self_signed(&key)?;
        let der = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der()));
        let key = any_supported_type(&der).map_err(|_| rcgen::Error::RemoteKeyError)?;
        Ok(CertifiedKey::new(vec![certificate.der().clone()], key))
    })();
    let made = made.map_err(|error| format!("make the certificate of a TLS challenge: {error}"))?;
    challenges.tls.insert(server_name(name), Arc::new(made));
    Ok(())
}

/// The server name that the ACME server sends for a name: an address is asked for in reverse (RFC 8738).
fn server_name(name: &str) -> Arc<str> {
    match name.parse::<IpAddr>() {
        Ok(IpAddr::V4(address)) => {
            let [a, b, c, d] = address.octets();
            format!("{d}.{c}.{b}.{a}.in-addr.arpa").into()
        }
        Ok(IpAddr::V6(address)) => {
            let nibbles = address.octets().into_iter().rev();
            let reversed: String = nibbles.map(|byte| format!("{:x}.{:x}.", byte & 0xf, byte >> 4)).collect();
            format!("{reversed}ip6.arpa").into()
        }
        Err(_) => name.to_ascii_lowercase().into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use config::install::acme::TlsChallenge;

    #[test]
    fn the_server_name_of_an_address_is_its_reverse() {
        assert_eq!(&*server_name("Blog.Test"), "blog.test");
        assert_eq!(&*server_name("192.0.2.7"), "7.2.0.192.in-addr.arpa");
        let six = server_name("2001:db8::567:89ab");
        assert_eq!(&*six, "b.a.9.8.7.6.5.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.8.b.d.0.1.0.0.2.ip6.arpa");
    }

    #[test]
    fn the_first_challenge_that_is_offered_is_taken_and_a_wildcard_is_proved_by_dns_alone() {
        let tls = Configured { tls: Some(TlsChallenge::default()), http: None, dns: None };
        assert_eq!(choose(&tls, false, |_| true), Some(ChallengeType::TlsAlpn01));
        assert_eq!(choose(&tls, true, |_| true), None);
        assert_eq!(choose(&tls, false, |kind| *kind == ChallengeType::Http01), None);
    }
}
