//! Holds answers against `openapi.json`: the part of JSON Schema that our document uses, and nothing more.

use std::sync::LazyLock;

use http::{HeaderMap, Method};
use serde_json::Value;

static DOCUMENT: LazyLock<Value> =
    LazyLock::new(|| serde_json::from_str(&hushpad_web::openapi_document()).unwrap());

/// Panics when an answer of the Payment API is not as its document says. Paths that it does not name are for
/// others.
pub(crate) fn check_answer(method: &Method, path: &str, status: u16, headers: &HeaderMap, body: &str) {
    let Some(operation) = operation(method, path) else { return };
    let place = format!("{method} {path} {status}");
    let reply = resolve(&operation["responses"][status.to_string()]);
    assert!(!reply.is_null(), "{place} is not in openapi.json: {body}");
    let content_type = headers.get("content-type").map_or("", |value| value.to_str().unwrap());
    let content = &reply["content"][content_type];
    assert!(content.is_object(), "{place} is {content_type}, which is not in openapi.json");
    if content_type.ends_with("json") {
        check(&content["schema"], &serde_json::from_str(body).unwrap(), &place);
    }
}

/// The operation that the document has for a request.
pub(crate) fn operation(method: &Method, path: &str) -> Option<&'static Value> {
    let path = ["/globalpci", "/api"].iter().find_map(|prefix| path.strip_prefix(prefix)).unwrap_or(path);
    let paths = DOCUMENT["paths"].as_object().unwrap();
    let (_, methods) = paths.iter().find(|(pattern, _)| fits(pattern, path))?;
    methods.get(method.as_str().to_lowercase())
}

fn fits(pattern: &str, path: &str) -> bool {
    let (mut pattern, mut path) = (pattern.split('/'), path.split('/'));
    loop {
        match (pattern.next(), path.next()) {
            (None, None) => return true,
            (Some(expected), Some(part)) if expected == part || expected.starts_with('{') => {}
            _ => return false,
        }
    }
}

/// What a `$ref` stands for.
pub(crate) fn resolve(value: &'static Value) -> &'static Value {
    match value["$ref"].as_str() {
        Some(reference) => DOCUMENT.pointer(reference.strip_prefix('#').unwrap()).unwrap(),
        None => value,
    }
}

/// Panics when `value` is not as `schema` says.
pub(crate) fn check(schema: &'static Value, value: &Value, place: &str) {
    let schema = resolve(schema);
    for (keyword, rule) in schema.as_object().unwrap() {
        match keyword.as_str() {
            "type" => assert!(has_type(rule, value), "{place}: {value} is not of type {rule}"),
            "const" => assert_eq!(value, rule, "{place}"),
            "enum" => assert!(rule.as_array().unwrap().contains(value), "{place}: {value} is not in {rule}"),
            "required" => {
                for name in rule.as_array().unwrap() {
                    assert!(value.get(name.as_str().unwrap()).is_some(), "{place}: no {name} in {value}");
                }
            }
            "properties" => {
                for (name, of) in rule.as_object().unwrap() {
                    if let Some(member) = value.get(name) {
                        check(of, member, &format!("{place}/{name}"));
                    }
                }
                if schema.get("additionalProperties").is_none() {
                    for name in value.as_object().unwrap().keys() {
                        assert!(rule.get(name).is_some(), "{place}: {name} is not described");
                    }
                }
            }
            "additionalProperties" => {
                for (name, member) in value.as_object().unwrap() {
                    if schema["properties"].get(name).is_none() {
                        check(rule, member, &format!("{place}/{name}"));
                    }
                }
            }
            "items" => {
                for item in value.as_array().unwrap() {
                    check(rule, item, &format!("{place}/[]"));
                }
            }
            "minimum" => assert!(value.as_f64() >= rule.as_f64(), "{place}: {value} is too small"),
            "maximum" => assert!(value.as_f64() <= rule.as_f64(), "{place}: {value} is too large"),
            "maxLength" => {
                let length = value.as_str().map_or(0, |text| text.chars().count());
                assert!(length as u64 <= rule.as_u64().unwrap(), "{place}");
            }
            "maxProperties" => {
                assert!(value.as_object().unwrap().len() as u64 <= rule.as_u64().unwrap(), "{place}");
            }
            "maxItems" => {
                assert!(value.as_array().unwrap().len() as u64 <= rule.as_u64().unwrap(), "{place}")
            }
            "format" => {
                let Some(text) = value.as_str() else { continue };
                match rule.as_str().unwrap() {
                    "uuid" => assert!(uuid::Uuid::try_parse(text).is_ok(), "{place}: {text}"),
                    "uri" => assert!(text.contains("://"), "{place}: {text}"),
                    "date-time" => assert!(text.len() == 27 && text.ends_with('Z'), "{place}: {text}"),
                    other => panic!("{place}: nobody knows the format {other}"),
                }
            }
            "description" | "examples" | "default" | "pattern" => {}
            other => panic!("{place}: nobody knows the keyword {other}"),
        }
    }
}

fn has_type(rule: &Value, value: &Value) -> bool {
    match rule {
        Value::Array(any) => any.iter().any(|one| has_type(one, value)),
        Value::String(name) => match name.as_str() {
            "object" => value.is_object(),
            "array" => value.is_array(),
            "string" => value.is_string(),
            "boolean" => value.is_boolean(),
            "null" => value.is_null(),
            "integer" => value.is_i64() || value.is_u64(),
            "number" => value.is_number(),
            other => panic!("nobody knows the type {other}"),
        },
        _ => panic!("{rule} is no type"),
    }
}
