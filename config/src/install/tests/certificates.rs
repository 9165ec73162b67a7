//! `certificatesResolvers`.

use super::*;
use crate::install::acme::{CaTrust, Challenges, KeyType};
use crate::routing::tls::Pem;

fn resolvers(text: &str) -> Given {
    yml(&format!("entryPoints: {{web: {{address: ':80'}}, dns: {{address: ':53/udp'}}}}\n{text}"))
}

fn one(given: Given) -> CertificateResolver {
    let mut all = given.install().certificate_resolvers;
    assert_eq!(all.len(), 1);
    all.remove(0)
}

#[test]
fn a_resolver_has_traefiks_defaults() {
    let le = one(resolvers("certificatesResolvers: {le: {acme: {tlsChallenge: {}}}}"));
    assert_eq!((&*le.name, le.storage.to_str().unwrap()), ("le", "acme.json"));
    assert_eq!(le.ca_server, "https://acme-v02.api.letsencrypt.org/directory");
    assert_eq!((le.key_type, le.email, le.external_account), (KeyType::Rsa4096, None, None));
    assert_eq!(le.certificates_duration, Duration::from_secs(90 * 24 * 3600));
    let times = [le.client_timeout, le.response_header_timeout, le.certificate_timeout];
    assert_eq!(times.map(|time| time.as_secs()), [120, 30, 30]);
    assert!(le.challenges.http.is_none() && le.challenges.dns.is_none());
    assert_eq!(le.challenges.tls.unwrap().delay, Duration::ZERO);
}

#[test]
fn every_key_of_a_resolver_is_read() {
    let text = r"
certificatesResolvers:
  all:
    acme:
      email: me@example.com
      caServer: https://ca.test/dir
      storage: /acme/acme.json
      keyType: ec384
      certificatesDuration: 24
      preferredChain: Root X2
      profile: shortlived
      disableCommonName: true
      eab: {kid: kid-1, hmacEncoded: 'aGVsbG8='}
      caCertificates: [/ca.pem]
      caServerName: ca.internal
      caSystemCertPool: true
      clientTimeout: 10s
      clientResponseHeaderTimeout: 5
      certificateTimeout: 1m
      httpChallenge: {entryPoint: web, delay: 2s}
      tlsChallenge: {delay: 1s}
      dnsChallenge:
        provider: cloudflare
        resolvers: [1.1.1.1, 'dns.test:5353', '2606:4700::1111', '[::1]:54']
        propagation: {delayBeforeChecks: 3s, disableChecks: true, disableANSChecks: true, requireAllRNS: true}
        credentials: {CF_DNS_API_TOKEN: token-1, cf_zone_api_token: 12}
";
    // What is written wins over the variables.
    let given = resolvers(text).variable("LEGO_CA_CERTIFICATES", "/other.pem");
    let all = one(given);
    assert_eq!(
        (all.email.as_deref(), all.ca_server.as_str()),
        (Some("me@example.com"), "https://ca.test/dir")
    );
    assert_eq!((all.storage.to_str().unwrap(), all.key_type), ("/acme/acme.json", KeyType::Ec384));
    assert_eq!(all.certificates_duration, Duration::from_secs(24 * 3600));
    assert_eq!(
        (all.preferred_chain.as_deref(), all.profile.as_deref()),
        (Some("Root X2"), Some("shortlived"))
    );
    assert!(all.disable_common_name);
    let account = all.external_account.clone().unwrap();
    assert_eq!((account.kid.as_str(), account.hmac.expose().as_slice()), ("kid-1", b"hello".as_slice()));
    assert_eq!(all.trust.roots, [Pem::File("/ca.pem".into())]);
    assert_eq!((all.trust.server_name.as_deref(), all.trust.system_roots), (Some("ca.internal"), true));
    let times = [all.client_timeout, all.response_header_timeout, all.certificate_timeout];
    assert_eq!(times.map(|time| time.as_secs()), [10, 5, 60]);
    let Challenges { tls, http, dns } = all.challenges.clone();
    assert_eq!(tls.unwrap().delay, Duration::from_secs(1));
    let http = http.unwrap();
    assert_eq!((http.entry_point.as_str(), http.delay), ("web", Duration::from_secs(2)));
    let dns = dns.unwrap();
    assert_eq!(dns.provider, "cloudflare");
    assert_eq!(dns.resolvers, ["1.1.1.1:53", "dns.test:5353", "[2606:4700::1111]:53", "[::1]:54"]);
    assert_eq!(dns.propagation.delay_before_checks, Duration::from_secs(3));
    let propagation = dns.propagation;
    assert!(propagation.disable_checks && propagation.disable_authoritative);
    assert!(propagation.require_all_recursive);
    let credentials: Vec<_> =
        dns.credentials.iter().map(|(name, value)| format!("{name}={}", value.expose())).collect();
    assert_eq!(credentials, ["CF_DNS_API_TOKEN=token-1", "CF_ZONE_API_TOKEN=12"]);
    let printed = format!("{all:?}");
    assert!(!printed.contains("token-1") && !printed.contains("hello"), "{printed}");
}

#[test]
fn the_library_s_variables_say_who_the_authority_is() {
    let trust = |given: Given| one(given).trust;
    let given = || resolvers("certificatesResolvers: {le: {acme: {tlsChallenge: {}}}}");
    let found = trust(
        given()
            .variable("LEGO_CA_CERTIFICATES", "/a.pem:/b.pem")
            .variable("LEGO_CA_SERVER_NAME", "pebble")
            .variable("LEGO_CA_SYSTEM_CERT_POOL", "true"),
    );
    assert_eq!(found.roots, [Pem::File("/a.pem".into()), Pem::File("/b.pem".into())]);
    assert_eq!((found.server_name.as_deref(), found.system_roots), (Some("pebble"), true));
    let pem = "-----BEGIN CERTIFICATE-----\nAA==\n-----END CERTIFICATE-----\n";
    assert_eq!(trust(given().variable("LEGO_CA_CERTIFICATES", pem)).roots, [Pem::Text(pem.into())]);
    assert_eq!(trust(given()), CaTrust::default());
}

#[test]
fn credentials_and_keys_come_from_flags_variables_and_files() {
    let given = given()
        .file("/run/key", "_-8\n")
        .flag("--entrypoints.web.address=:80")
        .flag("--certificatesresolvers.le.acme.dnschallenge.provider=cloudflare")
        .flag("--certificatesresolvers.le.acme.dnschallenge.delaybeforecheck=7")
        .flag("--certificatesresolvers.le.acme.dnschallenge.credentials.CF_DNS_API_TOKEN=from-flag")
        .flag("--certificatesresolvers.le.acme.eab.kid=k")
        .flag("--certificatesresolvers.le.acme.eab.hmacencodedfile=/run/key")
        .variable(
            "HEARTHGATE_CERTIFICATESRESOLVERS_LE_ACME_DNSCHALLENGE_CREDENTIALS_CF_ZONE_API_TOKEN",
            "from-variable",
        );
    let le = one(given);
    assert_eq!(le.external_account.unwrap().hmac.expose(), &[0xff, 0xef]);
    let dns = le.challenges.dns.unwrap();
    assert_eq!(dns.propagation.delay_before_checks, Duration::from_secs(7));
    let credentials: Vec<_> =
        dns.credentials.iter().map(|(name, value)| format!("{name}={}", value.expose())).collect();
    assert_eq!(credentials, ["CF_DNS_API_TOKEN=from-flag", "CF_ZONE_API_TOKEN=from-variable"]);
}

#[test]
fn a_resolver_that_is_wrong_is_left_out_and_the_others_stay() {
    let text = r"
certificatesResolvers:
  bare: {}
  none: {acme: {email: a@b.test}}
  ts: {tailscale: {}}
  http: {acme: {httpChallenge: {entryPoint: wbe}}}
  nowhere: {acme: {httpChallenge: {}}}
  udp: {acme: {httpChallenge: {entryPoint: dns}}}
  dns: {acme: {dnsChallenge: {resolvers: [x y]}}}
  eab: {acme: {tlsChallenge: {}, eab: {kid: x}}}
  eab2: {acme: {tlsChallenge: {}, eab: {hmacEncoded: x}}}
  eab3: {acme: {tlsChallenge: {}, eab: {kid: x, hmacEncoded: 'se cret'}}}
  eab4: {acme: {tlsChallenge: {}, eab: {kid: x, hmacEncodedFile: /none}}}
  ca: {acme: {tlsChallenge: {}, caServer: letsencrypt}}
  hours: {acme: {tlsChallenge: {}, certificatesDuration: 0}}
  good:
    acme:
      keyType: RSA1
      emailAddresses: [a@b.test]
      clientTimeout: 0
      tlsChallenge: true
      dnsChallenge: {provider: exec, disablePropagationCheck: true}
";
    insta::assert_snapshot!(resolvers(text).problems(), @r#"
    hearthgate.yml:4:9: error: option `certificatesResolvers.bare`: has no `acme`
    hearthgate.yml:5:16: error: option `certificatesResolvers.none.acme`: has no challenge: the resolver is left out; set `tlsChallenge`, `httpChallenge` or `dnsChallenge`
    hearthgate.yml:6:8: error: option `certificatesResolvers.ts.tailscale`: is not served; use `acme` with a DNS challenge
    hearthgate.yml:7:45: error: option `certificatesResolvers.http.acme.httpChallenge.entryPoint`: entryPoint "wbe" doesn't exist; did you mean `web`?
    hearthgate.yml:8:35: error: option `certificatesResolvers.nowhere.acme.httpChallenge`: names no entry point; set `entryPoint` to the one on port 80
    hearthgate.yml:9:44: error: option `certificatesResolvers.udp.acme.httpChallenge.entryPoint`: entry point `dns` is for UDP; name the one on port 80
    hearthgate.yml:10:30: error: option `certificatesResolvers.dns.acme.dnsChallenge`: names no provider; set `provider`, as in `cloudflare` or `rfc2136`
    hearthgate.yml:10:42: error: option `certificatesResolvers.dns.acme.dnsChallenge.resolvers`: `x y` is no DNS server: it is left out; write it as `1.1.1.1:53` or `[2606:4700::1111]:53`
    hearthgate.yml:11:39: error: option `certificatesResolvers.eab.acme.eab`: `kid` stands alone: the resolver is left out; set `hmacEncoded` too
    hearthgate.yml:12:40: error: option `certificatesResolvers.eab2.acme.eab`: `hmacEncoded` stands alone: the resolver is left out; set `kid` too
    hearthgate.yml:13:62: error: option `certificatesResolvers.eab3.acme.eab.hmacEncoded`: the key is no base64url: the resolver is left out; copy it as the authority gave it
    hearthgate.yml:14:66: error: the file `/none` cannot be read: entity not found
    hearthgate.yml:15:43: error: option `certificatesResolvers.ca.acme.caServer`: `letsencrypt` is no URL: the resolver is left out; write it as `https://acme-v02.api.letsencrypt.org/directory`
    hearthgate.yml:16:58: error: option `certificatesResolvers.hours.acme.certificatesDuration`: `0` is out of range: the resolver is left out; write the hours that a certificate lives
    hearthgate.yml:19:16: warning: option `certificatesResolvers.good.acme.keyType`: `RSA1` is not known: keys are RSA4096; write one of `EC256`, `EC384`, `RSA2048`, `RSA4096`, `RSA8192`
    hearthgate.yml:20:23: warning: option `certificatesResolvers.good.acme.emailAddresses`: is for certificates of mail: it is ignored; remove it
    hearthgate.yml:21:22: warning: option `certificatesResolvers.good.acme.clientTimeout`: every call has a time limit: 120s holds; write how long it may take
    hearthgate.yml:23:63: warning: option `certificatesResolvers.good.acme.dnsChallenge.disablePropagationCheck`: is an older spelling; write `propagation.disableChecks`
    "#);
    assert_eq!(&*one(resolvers(text)).name, "good");
}
