//! The install file exactly as written: every key of Traefik v3 and ours, with its type. What is not served yet
//! or not at all is here too, so that a wrong key or value in it is found; [`super::notices`] says which.

use std::collections::BTreeMap;

use serde::Deserialize;

use crate::document::{GoDuration, Node, TextMap, stand_alone};
use crate::routing::raw::RawRouterTls;
use crate::secret::Secret;

macro_rules! raw {
    ($($(#[$meta:meta])* $name:ident { $($(#[$field_meta:meta])* $field:ident: $type:ty,)* })*) => {$(
        $(#[$meta])*
        #[derive(Debug, Clone, Default, Deserialize)]
        #[serde(rename_all = "camelCase", default)]
        pub(super) struct $name {
            $($(#[$field_meta])* pub(super) $field: $type,)*
        }
    )*};
}

/// Addresses and ranges, and any other list: nothing written is not an empty list.
type List = Option<Vec<String>>;
type Text = Option<String>;
type Flag = Option<bool>;
type Time = Option<GoDuration>;
type Number = Option<i64>;

raw! {
    RawInstall {
        global: RawGlobal,
        entry_points: BTreeMap<String, RawEntryPoint>,
        providers: RawProviders,
        certificates_resolvers: BTreeMap<String, RawCertificateResolver>,
        #[serde(deserialize_with = "stand_alone")]
        api: Option<RawApi>,
        #[serde(deserialize_with = "stand_alone")]
        ping: Option<RawPing>,
        #[serde(deserialize_with = "stand_alone")]
        log: Option<RawLog>,
        #[serde(deserialize_with = "stand_alone")]
        access_log: Option<RawAccessLog>,
        metrics: RawMetrics,
        #[serde(deserialize_with = "stand_alone")]
        tracing: Option<RawTracing>,
        servers_transport: RawServersTransport,
        #[serde(rename = "tcpServersTransport")]
        tcp_servers_transport: RawTcpServersTransport,
        #[serde(deserialize_with = "stand_alone")]
        host_resolver: Option<RawHostResolver>,
        #[serde(deserialize_with = "stand_alone")]
        ocsp: Option<RawOcsp>,
        spiffe: RawSpiffe,
        core: RawCore,
        experimental: RawExperimental,
        // Hearthgate's.
        crowdsec: Option<RawCrowdsec>,
        geoip: Option<RawGeoip>,
        redis: Option<RawRedis>,
        user: Text,
        state_dir: Text,
        admin: RawAdmin,
    }

    RawGlobal {
        check_new_version: Flag,
        send_anonymous_usage: Flag,
        #[serde(rename = "notAppendXForwardedFor")]
        not_append_forwarded_for: Flag,
    }

    RawEntryPoint {
        address: Text,
        as_default: bool,
        #[serde(rename = "allowACMEByPass")]
        allow_acme_by_pass: Flag,
        reuse_port: bool,
        http: RawEntryPointHttp,
        http2: RawHttp2,
        #[serde(deserialize_with = "stand_alone")]
        http3: Option<RawHttp3>,
        forwarded_headers: RawForwardedHeaders,
        #[serde(deserialize_with = "stand_alone")]
        proxy_protocol: Option<RawProxyProtocol>,
        transport: RawTransport,
        udp: RawUdp,
        observability: RawObservability,
        // Hearthgate's.
        #[serde(rename = "clientIP")]
        client_ip: Option<Node>,
        limits: RawLimits,
        security: Option<RawSecurity>,
    }

    RawEntryPointHttp {
        redirections: RawRedirections,
        middlewares: Vec<String>,
        #[serde(deserialize_with = "stand_alone")]
        tls: Option<RawRouterTls>,
        encode_query_semicolons: bool,
        sanitize_path: Flag,
        encoded_characters: RawEncodedCharacters,
        underscore_headers_strategy: Text,
        max_header_bytes: Number,
    }

    RawRedirections { entry_point: RawRedirectEntryPoint, }
    RawRedirectEntryPoint { to: Text, scheme: Text, permanent: Flag, priority: Number, }

    RawEncodedCharacters {
        allow_encoded_slash: Flag,
        allow_encoded_back_slash: Flag,
        allow_encoded_null_character: Flag,
        allow_encoded_semicolon: Flag,
        allow_encoded_percent: Flag,
        allow_encoded_question_mark: Flag,
        allow_encoded_hash: Flag,
    }

    RawHttp2 {
        max_concurrent_streams: Number,
        max_decoder_header_table_size: Number,
        max_encoder_header_table_size: Number,
        // Hearthgate's.
        h2c: Flag,
    }

    RawHttp3 { advertised_port: Option<u16>, }

    RawForwardedHeaders {
        insecure: bool,
        #[serde(rename = "trustedIPs")]
        trusted_ips: List,
        connection: List,
        #[serde(rename = "notAppendXForwardedFor")]
        not_append_forwarded_for: Flag,
    }

    RawProxyProtocol {
        insecure: bool,
        #[serde(rename = "trustedIPs")]
        trusted_ips: List,
    }

    RawTransport {
        responding_timeouts: RawRespondingTimeouts,
        life_cycle: RawLifeCycle,
        keep_alive_max_time: Time,
        keep_alive_max_requests: Number,
    }
    RawRespondingTimeouts { read_timeout: Time, write_timeout: Time, idle_timeout: Time, }
    RawLifeCycle { request_accept_grace_timeout: Time, grace_time_out: Time, }
    RawUdp { timeout: Time, }
    RawObservability { access_logs: Flag, metrics: Flag, tracing: Flag, trace_verbosity: Text, }

    /// The long form of `clientIP`; the short form is a word.
    RawClientIp {
        mode: Text,
        #[serde(rename = "trustedIPs")]
        trusted_ips: List,
        depth: Option<usize>,
    }

    RawLimits {
        head_timeout: Time,
        head_bytes: Number,
        head_fields: Number,
        target_bytes: Number,
        connections: Number,
        connections_per_client: Number,
        requests_per_connection: Number,
        streams_per_connection: Number,
        body_idle: Time,
        body_rate: Number,
        write_idle: Time,
    }

    RawSecurity {
        crowdsec: Flag,
        appsec: Flag,
        rate_limit: Option<Node>,
        geo: Option<Node>,
        allow: List,
        drop_banned: Flag,
    }

    RawProviders {
        providers_throttle_duration: Time,
        precedence: List,
        #[serde(deserialize_with = "stand_alone")]
        docker: Option<RawDocker>,
        file: Option<RawFile>,
        table: Option<Node>,
        // Traefik's others. Nothing of them is served: what is in them is not looked at.
        swarm: Option<Node>,
        http: Option<Node>,
        rest: Option<Node>,
        #[serde(rename = "kubernetesIngress")]
        kubernetes_ingress: Option<Node>,
        #[serde(rename = "kubernetesIngressNGINX")]
        kubernetes_ingress_nginx: Option<Node>,
        #[serde(rename = "kubernetesCRD")]
        kubernetes_crd: Option<Node>,
        kubernetes_gateway: Option<Node>,
        knative: Option<Node>,
        consul_catalog: Option<Node>,
        consul: Option<Node>,
        nomad: Option<Node>,
        ecs: Option<Node>,
        etcd: Option<Node>,
        zoo_keeper: Option<Node>,
        redis: Option<Node>,
        plugin: Option<Node>,
    }

    RawDocker {
        endpoint: Text,
        username: Text,
        password: Option<Secret<String>>,
        password_file: Text,
        tls: Option<RawClientTls>,
        http_client_timeout: Time,
        exposed_by_default: Flag,
        network: Text,
        #[serde(rename = "useBindPortIP")]
        use_bind_port_ip: bool,
        default_rule: Text,
        constraints: Text,
        allow_empty_services: bool,
        watch: Flag,
        // Hearthgate's.
        label_prefix: List,
        label_scope: Text,
    }

    RawClientTls { ca: Text, cert: Text, key: Text, insecure_skip_verify: bool, ca_optional: Flag, }

    RawFile { filename: Text, directory: Text, watch: Flag, debug_log_generated_template: Flag, }

    RawCertificateResolver {
        acme: Option<RawAcme>,
        #[serde(deserialize_with = "stand_alone")]
        tailscale: Option<RawNothing>,
    }

    RawNothing {}

    RawAcme {
        email: Text,
        email_addresses: List,
        #[serde(rename = "caServer")]
        ca_server: Text,
        storage: Text,
        key_type: Text,
        certificates_duration: Number,
        preferred_chain: Text,
        profile: Text,
        disable_common_name: Flag,
        eab: RawEab,
        ca_certificates: List,
        ca_server_name: Text,
        ca_system_cert_pool: Flag,
        client_timeout: Time,
        client_response_header_timeout: Time,
        certificate_timeout: Time,
        #[serde(deserialize_with = "stand_alone")]
        http_challenge: Option<RawHttpChallenge>,
        #[serde(deserialize_with = "stand_alone")]
        tls_challenge: Option<RawTlsChallenge>,
        #[serde(deserialize_with = "stand_alone")]
        dns_challenge: Option<RawDnsChallenge>,
    }
    RawEab { kid: Text, hmac_encoded: Option<Secret<String>>, hmac_encoded_file: Text, }
    RawHttpChallenge { entry_point: Text, delay: Time, }
    RawTlsChallenge { delay: Time, }
    RawDnsChallenge {
        provider: Text,
        resolvers: List,
        propagation: RawPropagation,
        delay_before_check: Time,
        disable_propagation_check: Flag,
        // Hearthgate's.
        credentials: BTreeMap<String, Secret<String>>,
    }
    RawPropagation {
        delay_before_checks: Time,
        disable_checks: Flag,
        #[serde(rename = "disableANSChecks")]
        disable_ans_checks: Flag,
        #[serde(rename = "requireAllRNS")]
        require_all_rns: Flag,
    }

    RawApi {
        insecure: bool,
        dashboard: Flag,
        debug: Flag,
        base_path: Text,
        disable_dashboard_ad: Flag,
        dashboard_name: Text,
    }

    RawPing { entry_point: Text, manual_routing: bool, terminating_status_code: Option<u16>, }

    RawLog {
        level: Text,
        format: Text,
        file_path: Text,
        no_color: bool,
        max_size: Number,
        max_age: Number,
        max_backups: Number,
        compress: Flag,
        otlp: Option<Node>,
    }

    RawAccessLog {
        file_path: Text,
        format: Text,
        buffering_size: Number,
        filters: RawAccessLogFilters,
        fields: RawAccessLogFields,
        add_internals: bool,
        dual_output: Flag,
        otlp: Option<Node>,
    }
    RawAccessLogFilters { status_codes: Vec<String>, retry_attempts: bool, min_duration: Time, }
    RawAccessLogFields {
        default_mode: Text,
        names: TextMap,
        headers: RawAccessLogHeaders,
        query_parameters: RawAccessLogQuery,
    }
    RawAccessLogHeaders { default_mode: Text, names: TextMap, }
    RawAccessLogQuery { default_mode: Text, }

    RawMetrics {
        add_internals: bool,
        #[serde(deserialize_with = "stand_alone")]
        prometheus: Option<RawPrometheus>,
        datadog: Option<Node>,
        #[serde(rename = "statsD")]
        statsd: Option<Node>,
        #[serde(rename = "influxDB2")]
        influxdb2: Option<Node>,
        otlp: Option<Node>,
    }
    RawPrometheus {
        buckets: Option<Vec<f64>>,
        #[serde(rename = "addEntryPointsLabels")]
        add_entry_points_labels: Flag,
        add_routers_labels: Flag,
        add_services_labels: Flag,
        entry_point: Text,
        manual_routing: bool,
        header_labels: TextMap,
    }

    RawTracing {
        service_name: Text,
        resource_attributes: TextMap,
        global_attributes: TextMap,
        captured_request_headers: List,
        captured_response_headers: List,
        safe_query_params: List,
        sample_rate: Option<f64>,
        add_internals: Flag,
        otlp: Option<Node>,
    }

    RawServersTransport {
        insecure_skip_verify: Flag,
        #[serde(rename = "rootCAs")]
        root_cas: List,
        max_idle_conns_per_host: Number,
        forwarding_timeouts: RawForwardingTimeouts,
        spiffe: Option<Node>,
    }
    RawForwardingTimeouts { dial_timeout: Time, response_header_timeout: Time, idle_conn_timeout: Time, }

    RawTcpServersTransport {
        dial_keep_alive: Time,
        dial_timeout: Time,
        termination_delay: Time,
        tls: RawTcpServersTls,
    }
    RawTcpServersTls {
        insecure_skip_verify: Flag,
        #[serde(rename = "rootCAs")]
        root_cas: List,
        spiffe: Option<Node>,
    }

    RawHostResolver { cname_flattening: Flag, resolv_config: Text, resolv_depth: Number, }
    RawOcsp { responder_overrides: TextMap, }
    RawSpiffe { workload_api_addr: Text, }
    RawCore { default_rule_syntax: Text, }

    RawExperimental {
        plugins: BTreeMap<String, RawPlugin>,
        local_plugins: BTreeMap<String, RawPlugin>,
        abort_on_plugin_failure: Flag,
        #[serde(deserialize_with = "stand_alone")]
        fast_proxy: Option<RawFastProxy>,
        otlp_logs: Flag,
        knative: Flag,
        kubernetes_gateway: Flag,
        #[serde(rename = "kubernetesIngressNGINX")]
        kubernetes_ingress_nginx: Flag,
    }
    RawPlugin { module_name: Text, version: Text, hash: Text, settings: RawPluginSettings, }
    RawPluginSettings { envs: List, mounts: List, use_unsafe: Flag, }
    RawFastProxy { debug: Flag, }

    RawCrowdsec {
        lapi_url: List,
        api_key: Option<Secret<String>>,
        api_key_file: Text,
        client_cert: Option<RawClientCert>,
        ca_file: Text,
        update_interval: Time,
        resync_interval: Time,
        scopes: List,
        origins: List,
        scenarios_containing: List,
        #[serde(rename = "trustedIPs")]
        trusted_ips: List,
        on_unavailable: Text,
        remediations: RawRemediations,
        ban_page: RawBanPage,
        captcha: Option<RawCaptcha>,
        appsec: Option<RawAppsec>,
        metrics: Flag,
    }
    RawClientCert { cert_file: Text, key_file: Text, }
    RawRemediations { fallback: Text, types: TextMap, origins: TextMap, }
    RawBanPage { status: Option<u16>, file: Text, }
    RawCaptcha {
        provider: Text,
        site_key: Text,
        secret_key: Option<Secret<String>>,
        secret_key_file: Text,
        grace: Time,
        status: Option<u16>,
        js_url: Text,
        key: Text,
        response: Text,
        validate_url: Text,
    }
    RawAppsec {
        url: Text,
        api_key: Option<Secret<String>>,
        api_key_file: Text,
        on_unavailable: Text,
        body_limit: Number,
        timeout: Time,
    }

    RawGeoip { country: Text, asn: Text, }
    /// As the `redis` block of Traefik's `rateLimit` middleware.
    RawRedis {
        endpoints: List,
        username: Text,
        password: Option<Secret<String>>,
        password_file: Text,
        db: Number,
        tls: Option<RawClientTls>,
        pool_size: Number,
        min_idle_conns: Number,
        max_active_conns: Number,
        read_timeout: Time,
        write_timeout: Time,
        dial_timeout: Time,
    }

    RawAdmin {
        address: Text,
        token: Option<Secret<String>>,
        token_file: Text,
        allowed_hosts: List,
    }
}
