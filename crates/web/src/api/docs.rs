//! `GET /openapi.json`, and `GET /docs`: the same as a page, without a script and without anybody else's host.

use std::sync::LazyLock;

use askama::Template;
use axum::response::{Html, IntoResponse, Response};
use http::HeaderValue;
use http::header::{CONTENT_SECURITY_POLICY, CONTENT_TYPE};
use serde_json::{Map, Value, json};

use super::endpoint::{Access, Endpoint, Operation};
use super::openapi::{document, openapi_document};
use crate::error::ApiError;

/// Its own style sheet and nothing else.
const POLICY: &str =
    "default-src 'none'; style-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";
const STYLE: &str = include_str!("../../assets/docs.css");

static OPENAPI: LazyLock<String> = LazyLock::new(openapi_document);
static PAGE: LazyLock<Option<String>> = LazyLock::new(|| page(&document()));

/// This file's endpoints.
pub(super) fn endpoints() -> Vec<Endpoint> {
    let anything = json!({});
    let text = json!({"type": "string"});
    let openapi = Operation::new("openapi", "This description, for programs.").reply(
        200,
        "OpenAPI 3.1",
        "application/json",
        &anything,
    );
    let docs = Operation::new("docs", "This description, for people.").reply(
        200,
        "A page",
        "text/html; charset=utf-8",
        &text,
    );
    let style = Operation::new("docsStyle", "The page's style sheet.").reply(
        200,
        "CSS",
        "text/css; charset=utf-8",
        &text,
    );
    vec![
        Endpoint::get("/openapi.json", openapi_json, openapi).open_to(Access::Public),
        Endpoint::get("/docs", docs_page, docs).open_to(Access::Public),
        Endpoint::get("/docs/style.css", docs_style, style).open_to(Access::Public),
    ]
}

async fn openapi_json() -> Response {
    ([(CONTENT_TYPE, "application/json")], OPENAPI.as_str()).into_response()
}

async fn docs_page() -> Response {
    let Some(page) = PAGE.as_deref() else { return ApiError::Internal.into_response() };
    let mut response = Html(page).into_response();
    response.headers_mut().insert(CONTENT_SECURITY_POLICY, HeaderValue::from_static(POLICY));
    response
}

async fn docs_style() -> Response {
    ([(CONTENT_TYPE, "text/css; charset=utf-8")], STYLE).into_response()
}

#[derive(Template)]
#[template(path = "docs.html")]
struct DocsPage<'a> {
    title: &'a str,
    about: &'a str,
    operations: Vec<OperationView<'a>>,
    schemas: Vec<SchemaView<'a>>,
}

struct OperationView<'a> {
    id: &'a str,
    method: String,
    path: &'a str,
    summary: &'a str,
    access: &'static str,
    parameters: Vec<ParameterView<'a>>,
    example: String,
    answers: Vec<AnswerView<'a>>,
}

struct ParameterView<'a> {
    name: &'a str,
    place: &'a str,
    about: &'a str,
}

struct AnswerView<'a> {
    status: &'a str,
    about: &'a str,
    schema: &'a str,
}

struct SchemaView<'a> {
    name: &'a str,
    text: String,
}

/// The page of a document.
fn page(document: &Value) -> Option<String> {
    let paths = document["paths"].as_object()?;
    let operations = paths.iter().flat_map(|(path, methods)| {
        let methods = methods.as_object().into_iter().flatten();
        methods.map(move |(method, operation)| operation_view(document, method, path, operation))
    });
    let schemas = document["components"]["schemas"].as_object().into_iter().flatten();
    let schemas = schemas.map(|(name, schema)| SchemaView { name, text: pretty(schema) });
    let page = DocsPage {
        title: text(&document["info"]["title"]),
        about: text(&document["info"]["description"]),
        operations: operations.collect(),
        schemas: schemas.collect(),
    };
    page.render().ok()
}

fn operation_view<'a>(
    document: &'a Value,
    method: &str,
    path: &'a str,
    operation: &'a Value,
) -> OperationView<'a> {
    let parameters = operation["parameters"].as_array().into_iter().flatten();
    let parameters =
        parameters.map(|parameter| resolved(document, parameter)).map(|parameter| ParameterView {
            name: text(&parameter["name"]),
            place: text(&parameter["in"]),
            about: text(&parameter["description"]),
        });
    let contents = operation["requestBody"]["content"].as_object().and_then(|all| all.values().next());
    let answers = operation["responses"].as_object().into_iter().flatten();
    let answers = answers.map(|(status, answer)| {
        let answer = resolved(document, answer);
        let contents: Option<&Map<String, Value>> = answer["content"].as_object();
        let schema = contents
            .and_then(|all| all.values().next())
            .map_or("", |content| text(&content["schema"]["$ref"]).rsplit('/').next().unwrap_or(""));
        AnswerView { status, about: text(&answer["description"]), schema }
    });
    OperationView {
        id: text(&operation["operationId"]),
        method: method.to_uppercase(),
        path,
        summary: text(&operation["summary"]),
        access: match operation.get("security").and_then(Value::as_array).map(Vec::len) {
            None => "a token with the scope globalpci",
            Some(0) => "anybody",
            Some(_) => "an API client",
        },
        parameters: parameters.collect(),
        example: contents.map(|content| pretty(&content["example"])).unwrap_or_default(),
        answers: answers.collect(),
    }
}

/// What a `$ref` stands for.
fn resolved<'a>(document: &'a Value, value: &'a Value) -> &'a Value {
    let pointer = value["$ref"].as_str().and_then(|reference| reference.strip_prefix('#'));
    pointer.and_then(|pointer| document.pointer(pointer)).unwrap_or(value)
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or("")
}

fn pretty(value: &Value) -> String {
    serde_json::to_string_pretty(value).unwrap_or_default()
}
