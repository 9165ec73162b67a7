//! `GET /api/openapi.json`: what the admin listener offers, and nothing that it does not.

use serde_json::{Map, Value, json};

use super::views::Kind;

/// The document.
pub(super) fn document() -> Value {
    let mut paths = Map::new();
    let mut read = |path: &str, summary: &str, parameters: Value, content: &str| {
        paths.insert(
            path.to_owned(),
            json!({ "get": {
                "summary": summary,
                "parameters": parameters,
                "responses": {
                    "200": { "description": "OK", "content": { content: {} } },
                    "401": { "$ref": "#/components/responses/Refused" },
                    "403": { "$ref": "#/components/responses/Refused" },
                },
            }}),
        );
    };
    const JSON: &str = "application/json";
    const TEXT: &str = "text/plain";
    read("/ping", "Liveness; needs no token anywhere. 503 while draining.", json!([]), TEXT);
    read("/ready", "Readiness, with a reason for each part. 503 while not ready.", json!([]), JSON);
    read("/metrics", "Prometheus or OpenMetrics text, as asked for by Accept.", json!([]), TEXT);
    read("/api/version", "The running version.", json!([]), JSON);
    read(
        "/api/overview",
        "Counts of routers, services and middlewares; features; providers.",
        json!([]),
        JSON,
    );
    read("/api/rawdata", "Every item, by kind and qualified name.", json!([]), JSON);
    let paging = json!([query("page"), query("per_page")]);
    read("/api/entrypoints", "All entry points.", paging, JSON);
    read("/api/entrypoints/{name}", "One entry point.", json!([path("name")]), JSON);
    for kind in Kind::ALL {
        let (plural, noun) = (format!("/api/{}", kind.path()), kind.noun());
        let parameters: Vec<Value> =
            ["page", "per_page", "search", "status", "serviceName", "middlewareName", "sortBy", "direction"]
                .into_iter()
                .map(query)
                .collect();
        read(
            &plural,
            &format!("All items of the kind {noun}; X-Next-Page names the next page."),
            json!(parameters),
            JSON,
        );
        read(
            &format!("{plural}/{{name}}"),
            &format!("One {noun}, by its qualified name."),
            json!([path("name")]),
            JSON,
        );
    }
    read("/api/problems", "Everything that is left out or not as it may seem, and why.", json!([]), JSON);
    let mut url = query("url");
    url["required"] = json!(true);
    let question = json!([url, query("method"), query("header"), query("from"), query("entryPoint")]);
    read("/api/explain", "What would happen to a request, and why.", question, JSON);
    read(
        "/api/certificates",
        "Every certificate, and every one that is wanted: names, expiry, where it comes from, and how it stands.",
        json!([]),
        JSON,
    );
    read(
        "/api/certificates/{id}",
        "One certificate, by the SHA-256 of its leaf in hexadecimal.",
        json!([path("id")]),
        JSON,
    );
    read("/api/openapi.json", "This document.", json!([]), JSON);
    paths.insert(
        "/api/reload".to_owned(),
        json!({ "post": {
            "summary": "Reads files and labels again and says what changed. Bad input changes nothing.",
            "security": [{ "token": [] }],
            "requestBody": { "required": false, "content": { JSON: {} } },
            "responses": {
                "200": { "description": "Version, changes and problems", "content": { JSON: {} } },
                "401": { "$ref": "#/components/responses/Refused" },
                "403": { "$ref": "#/components/responses/Refused" },
                "413": { "$ref": "#/components/responses/Refused" },
                "415": { "$ref": "#/components/responses/Refused" },
            },
        }}),
    );
    let domain = json!({ "type": "object", "properties": { "domain": { "type": "string" } } });
    let mut write = |path: &str, summary: &str, is_required: bool, success: (&str, &str)| {
        paths.insert(
            path.to_owned(),
            json!({ "post": {
                "summary": summary,
                "security": [{ "token": [] }],
                "requestBody": { "required": is_required, "content": { JSON: { "schema": domain } } },
                "responses": {
                    success.0: { "description": success.1, "content": { JSON: {} } },
                    "401": { "$ref": "#/components/responses/Refused" },
                    "403": { "$ref": "#/components/responses/Refused" },
                    "404": { "$ref": "#/components/responses/Refused" },
                    "409": { "$ref": "#/components/responses/Refused" },
                    "413": { "$ref": "#/components/responses/Refused" },
                    "415": { "$ref": "#/components/responses/Refused" },
                },
            }}),
        );
    };
    write(
        "/api/certificates/renew",
        "Renews the certificates of certificate resolvers that cover a name (all without one) before their time.",
        false,
        ("202", "How many are being renewed"),
    );
    write(
        "/api/certificates/export",
        "The certificate that a name gets: its chain and its private key, as PEM.",
        true,
        ("200", "Chain and key"),
    );
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "Hearthgate admin API",
            "version": env!("CARGO_PKG_VERSION"),
            "description": "Reading is open on loopback and on the Unix socket and needs the token elsewhere. \
                            Calls that change something always need it.",
        },
        "paths": paths,
        "components": {
            "securitySchemes": { "token": { "type": "http", "scheme": "bearer" } },
            "responses": { "Refused": {
                "description": "Refused, with the reason",
                "content": { "application/problem+json": {} },
            }},
        },
    })
}

fn query(name: &str) -> Value {
    json!({ "name": name, "in": "query", "schema": { "type": "string" } })
}

fn path(name: &str) -> Value {
    json!({ "name": name, "in": "path", "required": true, "schema": { "type": "string" } })
}
