//! `GET /openapi.json`: OpenAPI 3.1, made of the list of endpoints.

use serde_json::{Map, Value, json};

use super::endpoint::{Access, Endpoint};
use super::{PREFIXES, endpoints, schemas};

/// An endpoint as the outside sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EndpointInfo {
    /// The HTTP method.
    pub method: http::Method,
    /// The path's pattern, such as `/v1/session/{guid}`. Those that need a token are also served below
    /// `/globalpci` and `/api`.
    pub path: &'static str,
    /// Who may call it.
    pub access: Access,
}

/// Every endpoint of the Payment API's router.
#[must_use]
pub fn endpoint_list() -> Vec<EndpointInfo> {
    let info = |endpoint: &Endpoint| EndpointInfo {
        method: endpoint.method.clone(),
        path: endpoint.path,
        access: endpoint.access,
    };
    endpoints().iter().map(info).collect()
}

/// The OpenAPI document of the Payment API, laid out for reading.
#[must_use]
pub fn openapi_document() -> String {
    let mut text = serde_json::to_string_pretty(&document()).unwrap_or_default();
    text.push('\n');
    text
}

/// The document.
pub(super) fn document() -> Value {
    let mut paths: Map<String, Value> = Map::new();
    for endpoint in endpoints() {
        let path = paths.entry(endpoint.path).or_insert_with(|| json!({}));
        if let Some(path) = path.as_object_mut() {
            path.insert(endpoint.method.as_str().to_lowercase(), endpoint.document());
        }
    }
    let prefixes: Vec<Value> =
        PREFIXES.iter().map(|prefix| json!({"url": if prefix.is_empty() { "/" } else { prefix }})).collect();
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "Hushpad Payment API",
            "version": "1",
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
            "description": DESCRIPTION,
        },
        "servers": [prefixes[0]],
        "security": [{"token": []}],
        "paths": paths,
        "components": {
            "securitySchemes": {
                "token": {"type": "http", "scheme": "bearer", "bearerFormat": "JWT"},
                "basic": {"type": "http", "scheme": "basic"},
            },
            "headers": schemas::headers(),
            "parameters": schemas::parameters(),
            "responses": schemas::responses(),
            "schemas": schemas::schemas(),
        },
    })
}

const DESCRIPTION: &str = "Card payments during a phone call. Every path below /v1 is also served below \
    /globalpci/v1 and /api/v1. Names in request bodies are matched without regard to case. Every answer has an \
    X-Request-Id; one that comes with the request is taken over. Answers to requests with a token have RateLimit \
    and RateLimit-Policy.";
