//! The table of providers: lego's code, lego's variables, how long it takes, and what is built from it.

use std::collections::BTreeMap;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use config::install::acme::DnsChallenge;
use config::secret::Secret;
use dns_update::DnsUpdater;
use dns_update::providers::azuredns::{AzureDnsConfig, AzureEnvironment};
use dns_update::providers::google_cloud_dns::GoogleCloudDnsConfig;
use dns_update::providers::joker::JokerAuth;
use dns_update::providers::rfc2136::DnsAddress;
use dns_update::providers::route53::Route53Config;

use super::acme_dns::{self, AcmeDns};
use super::cloudflare::{self, Account, Cloudflare};
use super::exec::{self, Exec};
use super::http::Http;
use super::http_hook::{self, HttpHook};
use super::library::{Library, Rfc2136};
use super::settings::{Scrubber, Sources, Values, read};
use super::{BuildDnsError, CALL_LIMIT, DnsProvider, Lookup, Timing, Traits};

type Built = Result<Box<dyn DnsProvider>, BuildDnsError>;

/// A row.
pub(super) struct Provider {
    /// lego's code.
    pub(super) code: &'static str,
    /// How people call it.
    pub(super) name: &'static str,
    pub(super) variables: &'static [Variable],
    pub(super) unsupported: &'static [Unsupported],
    /// What `TTL`, `PROPAGATION_TIMEOUT`, `POLLING_INTERVAL` and `HTTP_TIMEOUT` begin with.
    pub(super) prefix: &'static str,
    /// Seconds: until a record has to be seen, and between two looks.
    pub(super) timing: (u64, u64),
    pub(super) ttl: u32,
    pub(super) zone: bool,
    pub(super) aliases: bool,
    pub(super) one_value: bool,
    pub(super) build: fn(&Values<'_>) -> Built,
}

/// A variable.
pub(super) struct Variable {
    /// The first is its name, the others are as good.
    pub(super) names: &'static [&'static str],
    /// Nothing works without it.
    pub(super) required: bool,
    /// Its value is kept out of all texts.
    pub(super) secret: bool,
}

/// A variable that lego knows and this program does not serve.
pub(super) struct Unsupported {
    pub(super) name: &'static str,
    pub(super) hint: &'static str,
    /// A problem although all that is required is there.
    pub(super) always: bool,
}

const fn secret(names: &'static [&'static str]) -> Variable {
    Variable { names, required: true, secret: true }
}

const fn optional_secret(names: &'static [&'static str]) -> Variable {
    Variable { names, required: false, secret: true }
}

const fn plain(names: &'static [&'static str]) -> Variable {
    Variable { names, required: true, secret: false }
}

const fn optional(names: &'static [&'static str]) -> Variable {
    Variable { names, required: false, secret: false }
}

/// Most of them: what differs is written in the row.
const ROW: Provider = Provider {
    code: "",
    name: "",
    variables: &[],
    unsupported: &[],
    prefix: "",
    timing: (60, 2),
    ttl: 120,
    zone: true,
    aliases: true,
    one_value: false,
    build: |values| Err(values.missing(&[])),
};

/// A row of the library's: `library!(values, new_desec("DESEC_TOKEN"))`.
macro_rules! library {
    ($constructor:ident($($variable:literal),+)) => {
        |values| library(values, DnsUpdater::$constructor($(values.get($variable)),+, Some(values.http_timeout)))
    };
}

/// All of them, by code.
pub(super) static PROVIDERS: &[Provider] = &[
    Provider {
        code: acme_dns::CODE,
        name: "acme-dns",
        variables: &[
            plain(&["ACME_DNS_API_BASE"]),
            plain(&["ACME_DNS_STORAGE_PATH"]),
            optional(&["ACME_DNS_ALLOWLIST"]),
        ],
        unsupported: &[Unsupported {
            name: "ACME_DNS_STORAGE_BASE_URL",
            hint: "accounts are kept in a file: set ACME_DNS_STORAGE_PATH",
            always: true,
        }],
        prefix: "ACME_DNS_",
        zone: false,
        aliases: false,
        build: build_acme_dns,
        ..ROW
    },
    Provider {
        code: "alidns",
        name: "Alibaba Cloud DNS",
        variables: &[
            secret(&["ALICLOUD_ACCESS_KEY"]),
            secret(&["ALICLOUD_SECRET_KEY"]),
            optional_secret(&["ALICLOUD_SECURITY_TOKEN"]),
            optional(&["ALICLOUD_REGION_ID"]),
        ],
        unsupported: &[Unsupported {
            name: "ALICLOUD_RAM_ROLE",
            hint: "set ALICLOUD_ACCESS_KEY and ALICLOUD_SECRET_KEY",
            always: false,
        }],
        prefix: "ALICLOUD_",
        ttl: 600,
        build: |values| {
            library(
                values,
                DnsUpdater::new_alidns(
                    values.get("ALICLOUD_ACCESS_KEY"),
                    values.get("ALICLOUD_SECRET_KEY"),
                    values.optional("ALICLOUD_REGION_ID"),
                    values.optional("ALICLOUD_SECURITY_TOKEN"),
                    None::<&str>,
                    Some(values.http_timeout),
                ),
            )
        },
        ..ROW
    },
    Provider {
        code: "arvancloud",
        name: "ArvanCloud",
        variables: &[secret(&["ARVANCLOUD_API_KEY"])],
        prefix: "ARVANCLOUD_",
        timing: (120, 2),
        ttl: 600,
        build: library!(new_arvancloud("ARVANCLOUD_API_KEY")),
        ..ROW
    },
    Provider {
        code: "autodns",
        name: "AutoDNS",
        variables: &[
            plain(&["AUTODNS_API_USER"]),
            secret(&["AUTODNS_API_PASSWORD"]),
            optional(&["AUTODNS_CONTEXT"]),
        ],
        prefix: "AUTODNS_",
        timing: (120, 2),
        ttl: 600,
        build: |values| {
            let context = values.optional("AUTODNS_CONTEXT").map(str::parse::<u32>).transpose();
            let context = context.map_err(|_| values.wrong("AUTODNS_CONTEXT", "not a number"))?;
            library(
                values,
                DnsUpdater::new_autodns(
                    values.get("AUTODNS_API_USER"),
                    values.get("AUTODNS_API_PASSWORD"),
                    context,
                    Some(values.http_timeout),
                ),
            )
        },
        ..ROW
    },
    Provider {
        code: "azuredns",
        name: "Azure DNS",
        variables: &[
            plain(&["AZURE_TENANT_ID"]),
            plain(&["AZURE_CLIENT_ID"]),
            secret(&["AZURE_CLIENT_SECRET"]),
            plain(&["AZURE_SUBSCRIPTION_ID"]),
            plain(&["AZURE_RESOURCE_GROUP"]),
            optional(&["AZURE_ENVIRONMENT"]),
        ],
        unsupported: &[
            Unsupported { name: "AZURE_AUTH_METHOD", hint: "only a client secret is served", always: false },
            Unsupported {
                name: "AZURE_PRIVATE_ZONE",
                hint: "an ACME server cannot look into private zones",
                always: true,
            },
        ],
        prefix: "AZURE_",
        timing: (120, 2),
        ttl: 60,
        build: build_azure,
        ..ROW
    },
    Provider {
        code: "baiducloud",
        name: "Baidu Cloud",
        variables: &[secret(&["BAIDUCLOUD_ACCESS_KEY_ID"]), secret(&["BAIDUCLOUD_SECRET_ACCESS_KEY"])],
        prefix: "BAIDUCLOUD_",
        ttl: 300,
        build: library!(new_baiducloud("BAIDUCLOUD_ACCESS_KEY_ID", "BAIDUCLOUD_SECRET_ACCESS_KEY")),
        ..ROW
    },
    Provider {
        code: "bunny",
        name: "Bunny",
        variables: &[secret(&["BUNNY_API_KEY"])],
        prefix: "BUNNY_",
        timing: (120, 2),
        ttl: 60,
        build: library!(new_bunny("BUNNY_API_KEY")),
        ..ROW
    },
    Provider {
        code: cloudflare::CODE,
        name: "Cloudflare",
        variables: &[
            optional_secret(&["CF_DNS_API_TOKEN", "CLOUDFLARE_DNS_API_TOKEN"]),
            optional_secret(&["CF_ZONE_API_TOKEN", "CLOUDFLARE_ZONE_API_TOKEN"]),
            optional(&["CF_API_EMAIL", "CLOUDFLARE_EMAIL"]),
            optional_secret(&["CF_API_KEY", "CLOUDFLARE_API_KEY"]),
            optional(&["CLOUDFLARE_BASE_URL"]),
        ],
        prefix: "CLOUDFLARE_",
        timing: (120, 2),
        build: build_cloudflare,
        ..ROW
    },
    Provider {
        code: "cloudns",
        name: "ClouDNS",
        variables: &[
            optional(&["CLOUDNS_AUTH_ID"]),
            optional(&["CLOUDNS_SUB_AUTH_ID"]),
            secret(&["CLOUDNS_AUTH_PASSWORD"]),
        ],
        prefix: "CLOUDNS_",
        timing: (180, 10),
        ttl: 60,
        build: |values| {
            let (id, sub) = (values.optional("CLOUDNS_AUTH_ID"), values.optional("CLOUDNS_SUB_AUTH_ID"));
            if id.or(sub).is_none() {
                return Err(values.missing(&["CLOUDNS_AUTH_ID (or CLOUDNS_SUB_AUTH_ID)"]));
            }
            let password = values.get("CLOUDNS_AUTH_PASSWORD");
            library(values, DnsUpdater::new_cloudns(id, sub, password, Some(values.http_timeout)))
        },
        ..ROW
    },
    Provider {
        code: "constellix",
        name: "Constellix",
        variables: &[secret(&["CONSTELLIX_API_KEY"]), secret(&["CONSTELLIX_SECRET_KEY"])],
        prefix: "CONSTELLIX_",
        timing: (60, 10),
        ttl: 60,
        build: library!(new_constellix("CONSTELLIX_API_KEY", "CONSTELLIX_SECRET_KEY")),
        ..ROW
    },
    Provider {
        code: "cpanel",
        name: "cPanel",
        variables: &[plain(&["CPANEL_BASE_URL"]), plain(&["CPANEL_USERNAME"]), secret(&["CPANEL_TOKEN"])],
        unsupported: &[Unsupported {
            name: "CPANEL_MODE",
            hint: "cPanel's own API is served, WHM's is not",
            always: true,
        }],
        prefix: "CPANEL_",
        ttl: 300,
        build: library!(new_cpanel("CPANEL_BASE_URL", "CPANEL_USERNAME", "CPANEL_TOKEN")),
        ..ROW
    },
    Provider {
        code: "desec",
        name: "deSEC",
        variables: &[secret(&["DESEC_TOKEN"])],
        prefix: "DESEC_",
        timing: (120, 4),
        ttl: 3600,
        build: library!(new_desec("DESEC_TOKEN")),
        ..ROW
    },
    Provider {
        code: "digitalocean",
        name: "DigitalOcean",
        variables: &[secret(&["DO_AUTH_TOKEN"])],
        prefix: "DO_",
        timing: (60, 5),
        ttl: 30,
        build: library!(new_digitalocean("DO_AUTH_TOKEN")),
        ..ROW
    },
    Provider {
        code: "dnsimple",
        name: "DNSimple",
        variables: &[secret(&["DNSIMPLE_OAUTH_TOKEN"]), plain(&["DNSIMPLE_ACCOUNT_ID"])],
        prefix: "DNSIMPLE_",
        build: library!(new_dnsimple("DNSIMPLE_OAUTH_TOKEN", "DNSIMPLE_ACCOUNT_ID")),
        ..ROW
    },
    Provider {
        code: "dnsmadeeasy",
        name: "DNS Made Easy",
        variables: &[secret(&["DNSMADEEASY_API_KEY"]), secret(&["DNSMADEEASY_API_SECRET"])],
        unsupported: &[Unsupported {
            name: "DNSMADEEASY_SANDBOX",
            hint: "its sandbox has no zones that an ACME server can see",
            always: true,
        }],
        prefix: "DNSMADEEASY_",
        build: library!(new_dnsmadeeasy("DNSMADEEASY_API_KEY", "DNSMADEEASY_API_SECRET")),
        ..ROW
    },
    Provider {
        code: "domeneshop",
        name: "Domeneshop",
        variables: &[secret(&["DOMENESHOP_API_TOKEN"]), secret(&["DOMENESHOP_API_SECRET"])],
        prefix: "DOMENESHOP_",
        timing: (300, 20),
        build: library!(new_domeneshop("DOMENESHOP_API_TOKEN", "DOMENESHOP_API_SECRET")),
        ..ROW
    },
    Provider {
        code: "dreamhost",
        name: "DreamHost",
        variables: &[secret(&["DREAMHOST_API_KEY"])],
        prefix: "DREAMHOST_",
        timing: (3600, 60),
        build: library!(new_dreamhost("DREAMHOST_API_KEY")),
        ..ROW
    },
    Provider {
        code: "duckdns",
        name: "Duck DNS",
        variables: &[secret(&["DUCKDNS_TOKEN"])],
        prefix: "DUCKDNS_",
        zone: false,
        one_value: true,
        build: library!(new_duckdns("DUCKDNS_TOKEN")),
        ..ROW
    },
    Provider {
        code: "dynu",
        name: "Dynu",
        variables: &[secret(&["DYNU_API_KEY"])],
        prefix: "DYNU_",
        timing: (180, 10),
        ttl: 300,
        build: library!(new_dynu("DYNU_API_KEY")),
        ..ROW
    },
    Provider {
        code: "easydns",
        name: "easyDNS",
        variables: &[secret(&["EASYDNS_TOKEN"]), secret(&["EASYDNS_KEY"])],
        unsupported: &[Unsupported {
            name: "EASYDNS_ENDPOINT",
            hint: "the endpoint is easyDNS' own",
            always: true,
        }],
        prefix: "EASYDNS_",
        build: library!(new_easydns("EASYDNS_TOKEN", "EASYDNS_KEY")),
        ..ROW
    },
    Provider {
        code: exec::CODE,
        name: "a program of yours",
        variables: &[plain(&["EXEC_PATH"])],
        unsupported: &[Unsupported {
            name: "EXEC_MODE",
            hint: "the program gets the record (\"present _acme-challenge.name. value\"), never the raw challenge",
            always: true,
        }],
        prefix: "EXEC_",
        zone: false,
        build: build_exec,
        ..ROW
    },
    Provider {
        code: "exoscale",
        name: "Exoscale",
        variables: &[secret(&["EXOSCALE_API_KEY"]), secret(&["EXOSCALE_API_SECRET"])],
        unsupported: &[Unsupported {
            name: "EXOSCALE_ENDPOINT",
            hint: "the endpoint is Exoscale's own",
            always: true,
        }],
        prefix: "EXOSCALE_",
        build: library!(new_exoscale("EXOSCALE_API_KEY", "EXOSCALE_API_SECRET")),
        ..ROW
    },
    Provider {
        code: "freemyip",
        name: "freemyip.com",
        variables: &[secret(&["FREEMYIP_TOKEN"])],
        prefix: "FREEMYIP_",
        zone: false,
        one_value: true,
        build: library!(new_freemyip("FREEMYIP_TOKEN")),
        ..ROW
    },
    Provider {
        code: "gandiv5",
        name: "Gandi LiveDNS",
        variables: &[secret(&["GANDIV5_PERSONAL_ACCESS_TOKEN"])],
        unsupported: &[Unsupported {
            name: "GANDIV5_API_KEY",
            hint: "Gandi ended API keys: make a personal access token and set GANDIV5_PERSONAL_ACCESS_TOKEN",
            always: false,
        }],
        prefix: "GANDIV5_",
        timing: (1200, 20),
        ttl: 300,
        build: library!(new_gandiv5("GANDIV5_PERSONAL_ACCESS_TOKEN")),
        ..ROW
    },
    Provider {
        code: "gcloud",
        name: "Google Cloud DNS",
        variables: &[
            secret(&["GCE_SERVICE_ACCOUNT"]),
            optional(&["GCE_PROJECT"]),
            optional(&["GCE_ZONE_ID"]),
            optional(&["GCE_IMPERSONATE_SERVICE_ACCOUNT"]),
        ],
        unsupported: &[Unsupported {
            name: "GCE_ALLOW_PRIVATE_ZONE",
            hint: "an ACME server cannot look into private zones",
            always: true,
        }],
        prefix: "GCE_",
        timing: (180, 5),
        build: build_gcloud,
        ..ROW
    },
    Provider {
        code: "gcore",
        name: "Gcore",
        variables: &[secret(&["GCORE_PERMANENT_API_TOKEN"])],
        prefix: "GCORE_",
        timing: (360, 20),
        build: library!(new_gcore("GCORE_PERMANENT_API_TOKEN")),
        ..ROW
    },
    Provider {
        code: "glesys",
        name: "Glesys",
        variables: &[plain(&["GLESYS_API_USER"]), secret(&["GLESYS_API_KEY"])],
        prefix: "GLESYS_",
        timing: (1200, 20),
        ttl: 60,
        build: library!(new_glesys("GLESYS_API_USER", "GLESYS_API_KEY")),
        ..ROW
    },
    Provider {
        code: "godaddy",
        name: "GoDaddy",
        variables: &[secret(&["GODADDY_API_KEY"]), secret(&["GODADDY_API_SECRET"])],
        prefix: "GODADDY_",
        timing: (120, 2),
        ttl: 600,
        build: library!(new_godaddy("GODADDY_API_KEY", "GODADDY_API_SECRET")),
        ..ROW
    },
    Provider {
        code: "hetzner",
        name: "Hetzner",
        variables: &[secret(&["HETZNER_API_TOKEN"])],
        unsupported: &[Unsupported {
            name: "HETZNER_API_KEY",
            hint: "it belongs to the old DNS console; move the zone to the Hetzner Console, make an API token there and \
                   set HETZNER_API_TOKEN",
            always: false,
        }],
        prefix: "HETZNER_",
        timing: (120, 2),
        ttl: 60,
        build: library!(new_hetzner("HETZNER_API_TOKEN")),
        ..ROW
    },
    Provider {
        code: "hostingde",
        name: "hosting.de",
        variables: &[secret(&["HOSTINGDE_API_KEY"])],
        unsupported: &[Unsupported {
            name: "HOSTINGDE_ZONE_NAME",
            hint: "the zone is found by itself",
            always: false,
        }],
        prefix: "HOSTINGDE_",
        timing: (120, 2),
        build: library!(new_hostingde("HOSTINGDE_API_KEY")),
        ..ROW
    },
    Provider {
        code: "hostinger",
        name: "Hostinger",
        variables: &[secret(&["HOSTINGER_API_TOKEN"])],
        prefix: "HOSTINGER_",
        build: library!(new_hostinger("HOSTINGER_API_TOKEN")),
        ..ROW
    },
    Provider {
        code: http_hook::CODE,
        name: "a server of yours",
        variables: &[
            plain(&["HTTPREQ_ENDPOINT"]),
            optional(&["HTTPREQ_USERNAME"]),
            optional_secret(&["HTTPREQ_PASSWORD"]),
        ],
        unsupported: &[Unsupported {
            name: "HTTPREQ_MODE",
            hint: "the server gets the record ({\"fqdn\", \"value\"}), never the raw challenge",
            always: true,
        }],
        prefix: "HTTPREQ_",
        zone: false,
        build: build_http_hook,
        ..ROW
    },
    Provider {
        code: "huaweicloud",
        name: "Huawei Cloud",
        variables: &[
            secret(&["HUAWEICLOUD_ACCESS_KEY_ID"]),
            secret(&["HUAWEICLOUD_SECRET_ACCESS_KEY"]),
            plain(&["HUAWEICLOUD_REGION"]),
        ],
        prefix: "HUAWEICLOUD_",
        ttl: 300,
        build: library!(new_huaweicloud(
            "HUAWEICLOUD_ACCESS_KEY_ID",
            "HUAWEICLOUD_SECRET_ACCESS_KEY",
            "HUAWEICLOUD_REGION"
        )),
        ..ROW
    },
    Provider {
        code: "hurricane",
        name: "Hurricane Electric",
        variables: &[secret(&["HURRICANE_TOKENS"])],
        prefix: "HURRICANE_",
        timing: (300, 2),
        one_value: true,
        build: build_hurricane,
        ..ROW
    },
    Provider {
        code: "infomaniak",
        name: "Infomaniak",
        variables: &[secret(&["INFOMANIAK_ACCESS_TOKEN"])],
        unsupported: &[Unsupported {
            name: "INFOMANIAK_ENDPOINT",
            hint: "the endpoint is Infomaniak's own",
            always: true,
        }],
        prefix: "INFOMANIAK_",
        timing: (120, 2),
        ttl: 7200,
        build: library!(new_infomaniak("INFOMANIAK_ACCESS_TOKEN")),
        ..ROW
    },
    Provider {
        code: "inwx",
        name: "INWX",
        variables: &[plain(&["INWX_USERNAME"]), secret(&["INWX_PASSWORD"])],
        unsupported: &[
            Unsupported {
                name: "INWX_SHARED_SECRET",
                hint: "a second factor is not served: use an account of its own without one",
                always: true,
            },
            Unsupported {
                name: "INWX_SANDBOX",
                hint: "its sandbox has no zones that an ACME server can see",
                always: true,
            },
        ],
        prefix: "INWX_",
        timing: (360, 2),
        ttl: 300,
        build: |values| {
            let (name, password) = (values.get("INWX_USERNAME"), values.get("INWX_PASSWORD"));
            library(values, DnsUpdater::new_inwx(name, password, false, Some(values.http_timeout)))
        },
        ..ROW
    },
    Provider {
        code: "ionos",
        name: "IONOS",
        variables: &[secret(&["IONOS_API_KEY"])],
        prefix: "IONOS_",
        timing: (900, 10),
        ttl: 300,
        build: library!(new_ionos("IONOS_API_KEY")),
        ..ROW
    },
    Provider {
        code: "ipv64",
        name: "IPv64",
        variables: &[secret(&["IPV64_API_KEY"])],
        prefix: "IPV64_",
        build: library!(new_ipv64("IPV64_API_KEY")),
        ..ROW
    },
    Provider {
        code: "joker",
        name: "Joker",
        variables: &[
            optional_secret(&["JOKER_API_KEY"]),
            optional(&["JOKER_USERNAME"]),
            optional_secret(&["JOKER_PASSWORD"]),
        ],
        unsupported: &[Unsupported {
            name: "JOKER_API_MODE",
            hint: "the API is DMAPI; its SVC mode is not served",
            always: true,
        }],
        prefix: "JOKER_",
        timing: (120, 2),
        build: |values| {
            let account = (values.optional("JOKER_USERNAME"), values.optional("JOKER_PASSWORD"));
            let auth = match (values.optional("JOKER_API_KEY"), account) {
                (Some(key), _) => JokerAuth::ApiKey(key.to_owned()),
                (None, (Some(name), Some(password))) => {
                    JokerAuth::UsernamePassword { username: name.to_owned(), password: password.to_owned() }
                }
                (None, _) => {
                    return Err(values.missing(&["JOKER_API_KEY (or JOKER_USERNAME and JOKER_PASSWORD)"]));
                }
            };
            library(values, DnsUpdater::new_joker(auth, Some(values.http_timeout)))
        },
        ..ROW
    },
    Provider {
        code: "linode",
        name: "Linode",
        variables: &[secret(&["LINODE_TOKEN"])],
        prefix: "LINODE_",
        timing: (120, 15),
        ttl: 300,
        build: library!(new_linode("LINODE_TOKEN")),
        ..ROW
    },
    Provider {
        code: "luadns",
        name: "LuaDNS",
        variables: &[plain(&["LUADNS_API_USERNAME"]), secret(&["LUADNS_API_TOKEN"])],
        prefix: "LUADNS_",
        timing: (120, 2),
        ttl: 300,
        build: library!(new_luadns("LUADNS_API_USERNAME", "LUADNS_API_TOKEN")),
        ..ROW
    },
    Provider {
        code: "mythicbeasts",
        name: "Mythic Beasts",
        variables: &[plain(&["MYTHICBEASTS_USERNAME"]), secret(&["MYTHICBEASTS_PASSWORD"])],
        prefix: "MYTHICBEASTS_",
        build: library!(new_mythicbeasts("MYTHICBEASTS_USERNAME", "MYTHICBEASTS_PASSWORD")),
        ..ROW
    },
    Provider {
        code: "namedotcom",
        name: "Name.com",
        variables: &[plain(&["NAMECOM_USERNAME"]), secret(&["NAMECOM_API_TOKEN"])],
        prefix: "NAMECOM_",
        timing: (900, 20),
        ttl: 300,
        build: library!(new_namedotcom("NAMECOM_USERNAME", "NAMECOM_API_TOKEN")),
        ..ROW
    },
    Provider {
        code: "namesilo",
        name: "NameSilo",
        variables: &[secret(&["NAMESILO_API_KEY"])],
        prefix: "NAMESILO_",
        timing: (1800, 15),
        ttl: 3600,
        build: library!(new_namesilo("NAMESILO_API_KEY")),
        ..ROW
    },
    Provider {
        code: "netcup",
        name: "netcup",
        variables: &[
            plain(&["NETCUP_CUSTOMER_NUMBER"]),
            secret(&["NETCUP_API_KEY"]),
            secret(&["NETCUP_API_PASSWORD"]),
        ],
        prefix: "NETCUP_",
        timing: (900, 30),
        build: library!(new_netcup("NETCUP_CUSTOMER_NUMBER", "NETCUP_API_KEY", "NETCUP_API_PASSWORD")),
        ..ROW
    },
    Provider {
        code: "netlify",
        name: "Netlify",
        variables: &[secret(&["NETLIFY_TOKEN"])],
        prefix: "NETLIFY_",
        ttl: 300,
        build: library!(new_netlify("NETLIFY_TOKEN")),
        ..ROW
    },
    Provider {
        code: "ns1",
        name: "NS1",
        variables: &[secret(&["NS1_API_KEY"])],
        prefix: "NS1_",
        build: library!(new_ns1("NS1_API_KEY")),
        ..ROW
    },
    Provider {
        code: "ovh",
        name: "OVH",
        variables: &[
            plain(&["OVH_ENDPOINT"]),
            secret(&["OVH_APPLICATION_KEY"]),
            secret(&["OVH_APPLICATION_SECRET"]),
            secret(&["OVH_CONSUMER_KEY"]),
        ],
        unsupported: &[
            Unsupported {
                name: "OVH_CLIENT_ID",
                hint: "OAuth2 is not served: set OVH_APPLICATION_KEY, OVH_APPLICATION_SECRET and OVH_CONSUMER_KEY",
                always: false,
            },
            Unsupported {
                name: "OVH_ACCESS_TOKEN",
                hint: "it lasts an hour: set OVH_APPLICATION_KEY, OVH_APPLICATION_SECRET and OVH_CONSUMER_KEY",
                always: false,
            },
        ],
        prefix: "OVH_",
        build: build_ovh,
        ..ROW
    },
    Provider {
        code: "pdns",
        name: "PowerDNS",
        variables: &[secret(&["PDNS_API_KEY"]), plain(&["PDNS_API_URL"]), optional(&["PDNS_SERVER_NAME"])],
        unsupported: &[Unsupported { name: "PDNS_API_VERSION", hint: "the version is 1", always: false }],
        prefix: "PDNS_",
        timing: (120, 2),
        build: |values| {
            library(
                values,
                DnsUpdater::new_pdns(
                    values.get("PDNS_API_KEY"),
                    values.optional("PDNS_API_URL"),
                    values.optional("PDNS_SERVER_NAME"),
                    Some(values.http_timeout),
                ),
            )
        },
        ..ROW
    },
    Provider {
        code: "porkbun",
        name: "Porkbun",
        variables: &[secret(&["PORKBUN_API_KEY"]), secret(&["PORKBUN_SECRET_API_KEY"])],
        prefix: "PORKBUN_",
        timing: (600, 10),
        ttl: 300,
        build: library!(new_porkbun("PORKBUN_API_KEY", "PORKBUN_SECRET_API_KEY")),
        ..ROW
    },
    Provider {
        code: "rfc2136",
        name: "dynamic updates (RFC 2136)",
        variables: &[
            plain(&["RFC2136_NAMESERVER"]),
            plain(&["RFC2136_TSIG_KEY"]),
            secret(&["RFC2136_TSIG_SECRET"]),
            plain(&["RFC2136_TSIG_ALGORITHM"]),
        ],
        unsupported: &[Unsupported {
            name: "RFC2136_TSIG_FILE",
            hint: "set RFC2136_TSIG_KEY, RFC2136_TSIG_SECRET and RFC2136_TSIG_ALGORITHM to what is in it",
            always: true,
        }],
        prefix: "RFC2136_",
        build: build_rfc2136,
        ..ROW
    },
    Provider {
        code: "route53",
        name: "Amazon Route 53",
        variables: &[
            secret(&["AWS_ACCESS_KEY_ID"]),
            secret(&["AWS_SECRET_ACCESS_KEY"]),
            optional_secret(&["AWS_SESSION_TOKEN"]),
            optional(&["AWS_REGION"]),
            optional(&["AWS_HOSTED_ZONE_ID"]),
            optional(&["AWS_ENDPOINT_URL_ROUTE_53", "AWS_ENDPOINT_URL"]),
        ],
        unsupported: &[
            Unsupported {
                name: "AWS_ASSUME_ROLE_ARN",
                hint: "roles are not assumed: give a user of its own the right to change the zone",
                always: true,
            },
            Unsupported {
                name: "AWS_PROFILE",
                hint: "profiles are not read: set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY",
                always: false,
            },
        ],
        prefix: "AWS_",
        timing: (120, 4),
        ttl: 10,
        build: |values| {
            let text = |name| values.optional(name).map(str::to_owned);
            library(
                values,
                DnsUpdater::new_route53(Route53Config {
                    access_key_id: values.get("AWS_ACCESS_KEY_ID").to_owned(),
                    secret_access_key: values.get("AWS_SECRET_ACCESS_KEY").to_owned(),
                    session_token: text("AWS_SESSION_TOKEN"),
                    region: text("AWS_REGION"),
                    hosted_zone_id: text("AWS_HOSTED_ZONE_ID"),
                    private_zone_only: Some(false),
                    endpoint: text("AWS_ENDPOINT_URL_ROUTE_53"),
                }),
            )
        },
        ..ROW
    },
    Provider {
        code: "safedns",
        name: "UKFast SafeDNS",
        variables: &[secret(&["SAFEDNS_AUTH_TOKEN"])],
        prefix: "SAFEDNS_",
        build: library!(new_safedns("SAFEDNS_AUTH_TOKEN")),
        ..ROW
    },
    Provider {
        code: "scaleway",
        name: "Scaleway",
        variables: &[
            secret(&["SCW_SECRET_KEY", "SCW_API_TOKEN", "SCALEWAY_API_TOKEN"]),
            // lego wants it, the API does not.
            optional(&["SCW_PROJECT_ID", "SCALEWAY_PROJECT_ID"]),
        ],
        prefix: "SCW_",
        timing: (120, 10),
        ttl: 60,
        build: library!(new_scaleway("SCW_SECRET_KEY")),
        ..ROW
    },
    Provider {
        code: "selectelv2",
        name: "Selectel v2",
        variables: &[
            plain(&["SELECTELV2_USERNAME"]),
            secret(&["SELECTELV2_PASSWORD"]),
            plain(&["SELECTELV2_ACCOUNT_ID"]),
            plain(&["SELECTELV2_PROJECT_ID"]),
        ],
        prefix: "SELECTELV2_",
        timing: (120, 5),
        ttl: 60,
        build: library!(new_selectel(
            "SELECTELV2_USERNAME",
            "SELECTELV2_PASSWORD",
            "SELECTELV2_ACCOUNT_ID",
            "SELECTELV2_PROJECT_ID"
        )),
        ..ROW
    },
    Provider {
        code: "simply",
        name: "Simply.com",
        variables: &[plain(&["SIMPLY_ACCOUNT_NAME"]), secret(&["SIMPLY_API_KEY"])],
        prefix: "SIMPLY_",
        timing: (300, 10),
        build: library!(new_simplycom("SIMPLY_ACCOUNT_NAME", "SIMPLY_API_KEY")),
        ..ROW
    },
    Provider {
        code: "spaceship",
        name: "Spaceship",
        variables: &[secret(&["SPACESHIP_API_KEY"]), secret(&["SPACESHIP_API_SECRET"])],
        prefix: "SPACESHIP_",
        build: library!(new_spaceship("SPACESHIP_API_KEY", "SPACESHIP_API_SECRET")),
        ..ROW
    },
    Provider {
        code: "tencentcloud",
        name: "Tencent Cloud DNS",
        variables: &[
            secret(&["TENCENTCLOUD_SECRET_ID"]),
            secret(&["TENCENTCLOUD_SECRET_KEY"]),
            optional(&["TENCENTCLOUD_REGION"]),
            optional_secret(&["TENCENTCLOUD_SESSION_TOKEN"]),
        ],
        prefix: "TENCENTCLOUD_",
        ttl: 600,
        build: |values| {
            library(
                values,
                DnsUpdater::new_tencentcloud(
                    values.get("TENCENTCLOUD_SECRET_ID"),
                    values.get("TENCENTCLOUD_SECRET_KEY"),
                    values.optional("TENCENTCLOUD_REGION"),
                    values.optional("TENCENTCLOUD_SESSION_TOKEN"),
                    Some(values.http_timeout),
                ),
            )
        },
        ..ROW
    },
    Provider {
        code: "transip",
        name: "TransIP",
        variables: &[plain(&["TRANSIP_ACCOUNT_NAME"]), plain(&["TRANSIP_PRIVATE_KEY_PATH"])],
        prefix: "TRANSIP_",
        timing: (600, 10),
        ttl: 10,
        build: |values| {
            const PATH: &str = "TRANSIP_PRIVATE_KEY_PATH";
            let key = read(PATH, &values.path(PATH))?;
            // The address of a gateway may change; keys that are bound to one would end with it.
            let name = values.get("TRANSIP_ACCOUNT_NAME");
            library(values, DnsUpdater::new_transip(name, key, true, Some(values.http_timeout)))
        },
        ..ROW
    },
    Provider {
        code: "vercel",
        name: "Vercel",
        variables: &[secret(&["VERCEL_API_TOKEN"]), optional(&["VERCEL_TEAM_ID"])],
        prefix: "VERCEL_",
        timing: (60, 5),
        ttl: 60,
        build: |values| {
            let team = values.optional("VERCEL_TEAM_ID");
            library(
                values,
                DnsUpdater::new_vercel(values.get("VERCEL_API_TOKEN"), team, Some(values.http_timeout)),
            )
        },
        ..ROW
    },
    Provider {
        code: "vultr",
        name: "Vultr",
        variables: &[secret(&["VULTR_API_KEY"])],
        prefix: "VULTR_",
        build: library!(new_vultr("VULTR_API_KEY")),
        ..ROW
    },
    Provider {
        code: "websupport",
        name: "Websupport",
        variables: &[secret(&["WEBSUPPORT_API_KEY"]), secret(&["WEBSUPPORT_SECRET"])],
        prefix: "WEBSUPPORT_",
        ttl: 600,
        build: library!(new_websupport("WEBSUPPORT_API_KEY", "WEBSUPPORT_SECRET")),
        ..ROW
    },
    Provider {
        code: "zoneee",
        name: "Zone.ee",
        variables: &[plain(&["ZONEEE_API_USER"]), secret(&["ZONEEE_API_KEY"])],
        unsupported: &[Unsupported {
            name: "ZONEEE_ENDPOINT",
            hint: "the endpoint is Zone.ee's own",
            always: true,
        }],
        prefix: "ZONEEE_",
        timing: (300, 5),
        build: library!(new_zoneeu("ZONEEE_API_USER", "ZONEEE_API_KEY")),
        ..ROW
    },
];

/// Codes of all providers.
pub fn codes() -> impl Iterator<Item = &'static str> {
    PROVIDERS.iter().map(|provider| provider.code)
}

/// A provider with what is known of it.
pub(super) struct Ready {
    pub(super) provider: Box<dyn DnsProvider>,
    pub(super) traits: Traits,
    pub(super) timing: Timing,
    pub(super) follow_aliases: bool,
}

/// Aliases are not followed: lego's variable.
const NO_ALIASES: &str = "LEGO_DISABLE_CNAME_SUPPORT";

const GENERIC: [&str; 4] = ["TTL", "PROPAGATION_TIMEOUT", "POLLING_INTERVAL", "HTTP_TIMEOUT"];

pub(super) fn build(settings: &DnsChallenge, environment: Lookup<'_>) -> Result<Ready, BuildDnsError> {
    if settings.provider == "manual" {
        return Err(BuildDnsError::Manual);
    }
    let provider = PROVIDERS.iter().find(|provider| provider.code == settings.provider).ok_or_else(|| {
        BuildDnsError::UnknownProvider {
            provider: settings.provider.clone(),
            suggestion: closest(&settings.provider, codes()),
            known: codes().collect(),
        }
    })?;
    provider.check_names(&settings.credentials)?;
    let sources = Sources { credentials: &settings.credentials, environment };
    let mut values = BTreeMap::new();
    let mut scrubber = Scrubber::default();
    let mut missing = Vec::new();
    for variable in provider.variables {
        match sources.first(variable.names)? {
            Some(value) => {
                if variable.secret {
                    scrubber.add(&value);
                }
                values.insert(variable.names[0], value);
            }
            None if variable.required => missing.push(variable.names.join(" or ")),
            None => {}
        }
    }
    for unsupported in provider.unsupported {
        if (unsupported.always || !missing.is_empty()) && sources.value(unsupported.name)?.is_some() {
            return Err(BuildDnsError::Unsupported { variable: unsupported.name, hint: unsupported.hint });
        }
    }
    if !missing.is_empty() {
        return Err(BuildDnsError::Missing {
            provider: provider.code,
            name: provider.name,
            variables: missing,
        });
    }
    let number = |name: &str, default: u64| sources.number(&format!("{}{name}", provider.prefix), default);
    let (limit, interval) = provider.timing;
    let limit = Duration::from_secs(number("PROPAGATION_TIMEOUT", limit)?);
    let interval = Duration::from_secs(number("POLLING_INTERVAL", interval)?.max(1));
    let ttl = u32::try_from(number("TTL", provider.ttl.into())?).unwrap_or(u32::MAX);
    let http_timeout = Duration::from_secs(number("HTTP_TIMEOUT", 30)?.max(1));
    let follow_aliases = !sources.flag(NO_ALIASES)?;
    let values = Values { provider, values, ttl, http_timeout, scrubber, sources };
    Ok(Ready {
        provider: (provider.build)(&values)?,
        traits: Traits {
            code: provider.code,
            zone: provider.zone,
            aliases: provider.aliases,
            one_value: provider.one_value,
        },
        timing: Timing { limit, interval },
        follow_aliases,
    })
}

impl Provider {
    /// All names of variables that have a meaning.
    pub(super) fn names(&self) -> impl Iterator<Item = String> {
        let own = self.variables.iter().flat_map(|variable| variable.names).map(|&name| name.to_owned());
        let unsupported = self.unsupported.iter().map(|variable| variable.name.to_owned());
        let generic = GENERIC.iter().map(|name| format!("{}{name}", self.prefix));
        own.chain(unsupported).chain(generic).chain([NO_ALIASES.to_owned()])
    }

    /// A misspelled name in the settings of a resolver would else be passed over.
    fn check_names(&self, credentials: &BTreeMap<String, Secret<String>>) -> Result<(), BuildDnsError> {
        // The program of `exec` may want any.
        if self.code == exec::CODE {
            return Ok(());
        }
        for written in credentials.keys() {
            let name = written.strip_suffix("_FILE").unwrap_or(written);
            if !self.names().any(|known| known == name || known == *written) {
                let known: Vec<String> = self.names().collect();
                let suggestion = closest(name, known.iter().map(String::as_str)).map(str::to_owned);
                let variable = written.clone();
                return Err(BuildDnsError::UnknownCredential { provider: self.code, variable, suggestion });
            }
        }
        Ok(())
    }
}

/// What may have been meant.
fn closest<'a>(written: &str, known: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    known
        .map(|name| (strsim::damerau_levenshtein(written, name), name))
        .filter(|(distance, name)| *distance <= name.len() / 3)
        .min()
        .map(|(_, name)| name)
}

fn library(values: &Values<'_>, updater: dns_update::Result<DnsUpdater>) -> Built {
    let updater = updater.map_err(|error| {
        // The library does not say which value it means, but for one.
        let region = matches!(error, dns_update::Error::InvalidRegion);
        let mut names = values.provider.variables.iter().map(|variable| variable.names[0]);
        let variable = names.find(|name| !region || name.contains("REGION")).unwrap_or_default();
        values.wrong(variable, error.to_string())
    })?;
    Ok(Box::new(Library {
        code: values.provider.code,
        updater,
        ttl: values.ttl,
        one_value: values.provider.one_value,
        scrubber: values.scrubber.clone(),
    }))
}

fn base_url(values: &Values<'_>, name: &str) -> Result<String, BuildDnsError> {
    let text = values.get(name).trim_end_matches('/');
    match text.parse::<http::Uri>() {
        Ok(uri) if matches!(uri.scheme_str(), Some("http" | "https")) && uri.authority().is_some() => {
            Ok(text.to_owned())
        }
        _ => Err(values.wrong(name, "not a URL that begins with http:// or https://")),
    }
}

fn build_acme_dns(values: &Values<'_>) -> Built {
    let allow = values.optional("ACME_DNS_ALLOWLIST").unwrap_or_default();
    Ok(Box::new(AcmeDns {
        http: Http::new(values.http_timeout),
        base: base_url(values, "ACME_DNS_API_BASE")?,
        storage: values.path("ACME_DNS_STORAGE_PATH"),
        allow: allow.split(',').map(str::trim).filter(|net| !net.is_empty()).map(str::to_owned).collect(),
    }))
}

fn build_azure(values: &Values<'_>) -> Built {
    let environment =
        match values.optional("AZURE_ENVIRONMENT").unwrap_or("public").to_ascii_lowercase().as_str() {
            "public" => AzureEnvironment::Public,
            "china" => AzureEnvironment::China,
            "usgovernment" => AzureEnvironment::UsGovernment,
            other => {
                let reason = format!("{other:?} is none of public, china, usgovernment");
                return Err(values.wrong("AZURE_ENVIRONMENT", reason));
            }
        };
    let text = |name| values.get(name).to_owned();
    library(
        values,
        DnsUpdater::new_azuredns(AzureDnsConfig {
            tenant_id: text("AZURE_TENANT_ID"),
            client_id: text("AZURE_CLIENT_ID"),
            client_secret: text("AZURE_CLIENT_SECRET"),
            subscription_id: text("AZURE_SUBSCRIPTION_ID"),
            resource_group: text("AZURE_RESOURCE_GROUP"),
            environment,
            request_timeout: Some(values.http_timeout),
        }),
    )
}

fn build_cloudflare(values: &Values<'_>) -> Built {
    let secret = |name| values.optional(name).map(|value| Secret::new(value.to_owned()));
    let token = secret("CF_DNS_API_TOKEN");
    let account = match (token, values.optional("CF_API_EMAIL"), secret("CF_API_KEY")) {
        (Some(records), _, _) => {
            let zones = secret("CF_ZONE_API_TOKEN").unwrap_or_else(|| records.clone());
            Account::Tokens { records, zones }
        }
        (None, Some(email), Some(key)) => Account::Key { email: email.to_owned(), key },
        (None, Some(_), None) => return Err(values.missing(&["CF_API_KEY or CLOUDFLARE_API_KEY"])),
        (None, None, Some(_)) => return Err(values.missing(&["CF_API_EMAIL or CLOUDFLARE_EMAIL"])),
        (None, None, None) => return Err(values.missing(&["CF_DNS_API_TOKEN or CLOUDFLARE_DNS_API_TOKEN"])),
    };
    let base = match values.optional("CLOUDFLARE_BASE_URL") {
        Some(_) => base_url(values, "CLOUDFLARE_BASE_URL")?,
        None => "https://api.cloudflare.com/client/v4".to_owned(),
    };
    let (ttl, scrubber) = (values.ttl, values.scrubber.clone());
    Ok(Box::new(Cloudflare { http: Http::new(values.http_timeout), base, account, ttl, scrubber }))
}

fn build_exec(values: &Values<'_>) -> Built {
    let sources = &values.sources;
    let inherited =
        exec::PASSED_ON.iter().filter_map(|&name| Some((name.to_owned(), (sources.environment)(name)?)));
    let own = sources.credentials.iter().map(|(name, value)| (name.clone(), value.clone()));
    let environment: BTreeMap<String, Secret<String>> =
        inherited.chain(own).filter(|(name, _)| !name.starts_with("EXEC_")).collect();
    let mut scrubber = values.scrubber.clone();
    for (name, value) in sources.credentials {
        if !name.starts_with("EXEC_") {
            scrubber.add(value.expose());
        }
    }
    Ok(Box::new(Exec {
        program: values.path("EXEC_PATH"),
        environment: environment.into_iter().collect(),
        // Ends before the caller gives up, so that it ends with words of its own.
        limit: CALL_LIMIT.saturating_sub(Duration::from_secs(5)),
        scrubber,
    }))
}

fn build_gcloud(values: &Values<'_>) -> Built {
    const ACCOUNT: &str = "GCE_SERVICE_ACCOUNT";
    let account = values.get(ACCOUNT);
    let parsed: serde_json::Value = serde_json::from_str(account)
        .map_err(|_| values.wrong(ACCOUNT, "not the JSON of a service account"))?;
    let project = values.optional("GCE_PROJECT").or_else(|| parsed["project_id"].as_str());
    let project = project.ok_or_else(|| values.missing(&["GCE_PROJECT"]))?;
    let text = |name| values.optional(name).map(str::to_owned);
    library(
        values,
        DnsUpdater::new_google_cloud_dns(GoogleCloudDnsConfig {
            service_account_json: account.to_owned(),
            project_id: project.to_owned(),
            managed_zone: text("GCE_ZONE_ID"),
            private_zone: false,
            impersonate_service_account: text("GCE_IMPERSONATE_SERVICE_ACCOUNT"),
            request_timeout: Some(values.http_timeout),
        }),
    )
}

fn build_http_hook(values: &Values<'_>) -> Built {
    const ENDPOINT: &str = "HTTPREQ_ENDPOINT";
    let endpoint = base_url(values, ENDPOINT)?.parse().map_err(|_| values.wrong(ENDPOINT, "not a URL"))?;
    let account = match (values.optional("HTTPREQ_USERNAME"), values.optional("HTTPREQ_PASSWORD")) {
        (Some(name), Some(password)) => Some((name, password)),
        (None, None) => None,
        (Some(_), None) => return Err(values.missing(&["HTTPREQ_PASSWORD"])),
        (None, Some(_)) => return Err(values.missing(&["HTTPREQ_USERNAME"])),
    };
    let http = Http::new(values.http_timeout);
    Ok(Box::new(HttpHook::new(http, endpoint, account, values.scrubber.clone())))
}

/// `name:token,name:token`.
fn build_hurricane(values: &Values<'_>) -> Built {
    const TOKENS: &str = "HURRICANE_TOKENS";
    let mut tokens = std::collections::HashMap::new();
    let mut scrubber = values.scrubber.clone();
    for pair in values.get(TOKENS).split(',').map(str::trim).filter(|pair| !pair.is_empty()) {
        let (name, token) =
            pair.split_once(':').ok_or_else(|| values.wrong(TOKENS, "not of the form name:token"))?;
        scrubber.add(token);
        tokens.insert(name.to_owned(), token.to_owned());
    }
    let updater = DnsUpdater::new_hurricane(tokens, Some(values.http_timeout));
    let updater = updater.map_err(|error| values.wrong(TOKENS, scrubber.clean(&error.to_string())))?;
    let (code, ttl) = (values.provider.code, values.ttl);
    Ok(Box::new(Library { code, updater, ttl, one_value: true, scrubber }))
}

fn build_ovh(values: &Values<'_>) -> Built {
    let endpoint = values.get("OVH_ENDPOINT").parse().map_err(|_| {
        let known = "ovh-eu, ovh-us, ovh-ca, kimsufi-eu, kimsufi-ca, soyoustart-eu, soyoustart-ca";
        values.wrong("OVH_ENDPOINT", format!("none of {known}"))
    })?;
    library(
        values,
        DnsUpdater::new_ovh(
            values.get("OVH_APPLICATION_KEY"),
            values.get("OVH_APPLICATION_SECRET"),
            values.get("OVH_CONSUMER_KEY"),
            endpoint,
            Some(values.http_timeout),
        ),
    )
}

fn build_rfc2136(values: &Values<'_>) -> Built {
    const SECRET: &str = "RFC2136_TSIG_SECRET";
    let written = values.get("RFC2136_NAMESERVER");
    let (host, tcp) = match written.split_once("://") {
        Some(("tcp", host)) => (host, true),
        Some(("udp", host)) => (host, false),
        Some(_) => return Err(values.wrong("RFC2136_NAMESERVER", "neither udp:// nor tcp://")),
        None => (written, false),
    };
    // `::1`, `[::1]` and `dns.example` have no port.
    let bare_v6 = host.parse::<std::net::Ipv6Addr>().is_ok();
    let has_port = !bare_v6 && host.rsplit_once(':').is_some_and(|(_, port)| port.parse::<u16>().is_ok());
    let server = match (has_port, bare_v6) {
        (true, _) => host.to_owned(),
        (false, true) => format!("[{host}]:53"),
        (false, false) => format!("{host}:53"),
    };
    let key = STANDARD.decode(values.get(SECRET)).map_err(|_| values.wrong(SECRET, "not base64"))?;
    // lego takes HMAC-SHA1 where none is named. It is not spoken here, and guessing another would only fail later.
    const ALGORITHM: &str = "RFC2136_TSIG_ALGORITHM";
    let algorithm = values.get(ALGORITHM).trim_end_matches('.').to_ascii_lowercase();
    if !["hmac-sha256", "hmac-sha384", "hmac-sha512"].contains(&&*algorithm) {
        return Err(values.wrong(ALGORITHM, "not hmac-sha256, hmac-sha384 or hmac-sha512"));
    }
    let provider = Rfc2136 {
        server,
        tcp,
        key_name: values.get("RFC2136_TSIG_KEY").to_owned(),
        key: Secret::new(key),
        algorithm,
        ttl: values.ttl,
        scrubber: values.scrubber.clone(),
    };
    let anywhere = DnsAddress::Udp(([127, 0, 0, 1], 53).into());
    provider.build(anywhere).map_err(|error| values.wrong("RFC2136_TSIG_KEY", error.to_string()))?;
    Ok(Box::new(provider))
}
