//! What is published about the API is true: `docs/api/openapi.json`, its examples, and `docs/api/hushpad.http`.

use axum::body::Body;
use http::{Method, Request};
use hushpad_domain::attempt::{Purpose, Verdict};
use serde_json::Value;

use crate::fakes::{Desk, schema, secret_of, send};

#[tokio::test]
async fn the_file_the_endpoint_and_the_code_say_the_same() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/api/openapi.json");
    let file = std::fs::read_to_string(path).unwrap();
    assert!(
        file == hushpad_web::openapi_document(),
        "docs/api/openapi.json is out of date: cargo run -p hushpad-web --example openapi"
    );
    let desk = Desk::start();
    let answer = send(&desk.api, Request::get("/openapi.json").body(Body::empty()).unwrap()).await;
    assert_eq!(answer.body, file);
    assert_eq!(answer.json()["openapi"], "3.1.0");
}

#[test]
fn every_endpoint_is_described_once_and_every_reference_is_there() {
    let document: Value = serde_json::from_str(&hushpad_web::openapi_document()).unwrap();
    let mut ids = Vec::new();
    for endpoint in hushpad_web::endpoint_list() {
        let operation = &document["paths"][endpoint.path][endpoint.method.as_str().to_lowercase()];
        ids.push(operation["operationId"].as_str().unwrap().to_owned());
    }
    let described = document["paths"].as_object().unwrap().values();
    assert_eq!(described.map(|methods| methods.as_object().unwrap().len()).sum::<usize>(), ids.len());
    ids.sort();
    assert!(ids.windows(2).all(|pair| pair[0] != pair[1]), "{ids:?}");
    let text = document.to_string();
    for part in text.split(r##""$ref":"#"##).skip(1) {
        let pointer = part.split('"').next().unwrap();
        assert!(document.pointer(pointer).is_some(), "{pointer}");
    }
}

#[tokio::test]
async fn the_examples_of_the_document_work() {
    let document: Value = serde_json::from_str(&hushpad_web::openapi_document()).unwrap();
    let call = uuid::Uuid::from_u128(42).to_string();
    let mut done = 0;
    for endpoint in hushpad_web::endpoint_list() {
        let operation = &document["paths"][endpoint.path][endpoint.method.as_str().to_lowercase()];
        let Some(content) = operation["requestBody"]["content"].as_object() else { continue };
        let (content_type, content) = content.iter().next().unwrap();
        let example = &content["example"];
        // A desk for each, so that none finds what another left.
        let desk = Desk::start();
        let token = desk.token_of("backend").await;
        desk.calls.trunk_call("acme", 42, true);
        assert!(example.is_object(), "{} {} has no example", endpoint.method, endpoint.path);
        check_request(&content["schema"], example, endpoint.path);
        let body = match content_type.as_str() {
            "application/json" => example.to_string(),
            "application/x-www-form-urlencoded" => {
                let fields: Vec<(&str, String)> = example.as_object().unwrap().iter().map(filled).collect();
                serde_urlencoded::to_string(fields).unwrap()
            }
            other => panic!("{other}"),
        };
        let guid = match endpoint.path.strip_prefix("/v1/session/{guid}/") {
            Some("keypad") => by_link(&desk).await,
            Some(what) => paid(&desk, what).await,
            None => call.clone(),
        };
        let path = endpoint.path.replace("{guid}", &guid);
        let request = Request::builder()
            .method(endpoint.method.clone())
            .uri(&path)
            .header("idempotency-key", "example-1")
            .header("content-type", content_type)
            .header("authorization", format!("Bearer {token}"));
        let request = match endpoint.access {
            hushpad_web::Access::Token => request,
            _ => Request::builder()
                .method(endpoint.method)
                .uri(endpoint.path)
                .header("content-type", content_type),
        };
        let answer = send(&desk.api, request.body(Body::from(body)).unwrap()).await;
        assert_eq!(answer.status, 200, "{}: {}", endpoint.path, answer.body);
        done += 1;
    }
    assert!(done >= 2);
}

/// A session that is paid by a link.
async fn by_link(desk: &Desk) -> String {
    let token = desk.token_of("backend").await;
    let body = crate::fakes::digital_body().to_string();
    let answer = desk.call_api(Method::POST, "/v1/digitalsession", &token, Some(&body)).await;
    answer.json()["sessionGuid"].as_str().unwrap().to_owned()
}

/// A session that can be refunded, voided or captured.
async fn paid(desk: &Desk, what: &str) -> String {
    // The agent's call takes one open session at a time.
    for session in desk.store.all().into_iter().filter(|session| !session.has_ended()) {
        let ended = session.time_out(hushpad_domain::ports::World::now(&*desk.world)).unwrap();
        hushpad_domain::ports::Sessions::commit(&*desk.store, ended).await.unwrap();
    }
    let opened = desk.open_session().await;
    let purpose = if what == "capture" { Purpose::Authorise } else { Purpose::Sale };
    desk.attempt_for(purpose, &opened.guid, Verdict::Approved).await;
    opened.guid
}

fn check_request(schema: &Value, example: &Value, place: &str) {
    // Leaked: the checker keeps references for as long as a test runs.
    schema::check(Box::leak(Box::new(schema.clone())), example, place);
}

/// Examples name what each caller has for itself.
fn filled<'a>((name, value): (&'a String, &Value)) -> (&'a str, String) {
    let value = match value.as_str().unwrap() {
        "the client's id" => "backend".to_owned(),
        "an access token" => "x".to_owned(),
        "the client's secret" => secret_of("backend"),
        other => other.to_owned(),
    };
    (name, value)
}

#[tokio::test]
async fn the_page_of_the_document_names_every_endpoint_and_loads_nothing_from_elsewhere() {
    let desk = Desk::start();
    let get = async |path: &str| send(&desk.api, Request::get(path).body(Body::empty()).unwrap()).await;
    let page = get("/docs").await;
    assert_eq!((page.status.as_u16(), page.header("content-type")), (200, "text/html; charset=utf-8"));
    assert!(page.header("content-security-policy").starts_with("default-src 'none'; style-src 'self';"));
    for endpoint in hushpad_web::endpoint_list() {
        assert!(page.body.contains(&format!("{} {}", endpoint.method, endpoint.path)), "{}", endpoint.path);
    }
    assert!(!page.body.contains("<script") && !page.body.contains("://"), "{}", page.body);
    assert_eq!(get("/docs/style.css").await.header("content-type"), "text/css; charset=utf-8");
}

/// A request of the HTTP file, and what it says will come.
struct Step {
    name: Option<String>,
    expect: u16,
    head: String,
    body: String,
}

#[tokio::test]
async fn the_story_of_the_http_file_works() {
    let text = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/api/hushpad.http"));
    let text = text.unwrap();
    let desk = Desk::start();
    let mut known: Vec<(String, Value)> = Vec::new();
    let steps: Vec<Step> = text.split("\n###").skip(1).map(step).collect();
    assert!(steps.len() > 4, "{}", steps.len());
    for step in steps {
        let fill = |text: &str| fill(text, &known);
        let head = fill(&step.head);
        let mut lines = head.lines();
        let (method, url) = lines.next().unwrap().split_once(' ').unwrap();
        let path = url.strip_prefix("https://api.example").unwrap();
        let mut request = Request::builder().method(method.parse::<Method>().unwrap()).uri(path);
        for (name, value) in lines.filter_map(|line| line.split_once(": ")) {
            request = request.header(name, value);
        }
        let answer = send(&desk.api, request.body(Body::from(fill(&step.body))).unwrap()).await;
        assert_eq!(answer.status.as_u16(), step.expect, "{head}\n{}", answer.body);
        if let Some(name) = step.name {
            known.push((name, answer.json()));
        }
    }
}

fn step(text: &str) -> Step {
    let (head, body) = text.split_once("\n\n").unwrap();
    let comment = |name: &str| {
        head.lines()
            .find_map(|line| line.strip_prefix(&format!("# {name} ")))
            .map(|rest| rest.trim().to_owned())
    };
    let lines = head.lines().skip(1).filter(|line| !line.starts_with('#'));
    Step {
        name: comment("@name"),
        expect: comment("Answer:").expect("each request says what comes")[..3].parse().unwrap(),
        head: lines.collect::<Vec<_>>().join("\n"),
        body: body.trim().to_owned(),
    }
}

/// `{{name}}`, and `{{name.response.body.$.member}}` of an earlier answer.
fn fill(text: &str, known: &[(String, Value)]) -> String {
    let mut parts = text.split("{{");
    let mut filled = parts.next().unwrap().to_owned();
    for part in parts {
        let (name, rest) = part.split_once("}}").unwrap();
        let value = match name {
            "api" => "https://api.example".to_owned(),
            "client_id" => "backend".to_owned(),
            "client_secret" => secret_of("backend"),
            "agent_id" => "agent1234".to_owned(),
            _ => {
                let (step, member) = name.split_once(".response.body.$.").unwrap();
                let (_, answer) = known.iter().rev().find(|(name, _)| name == step).unwrap();
                answer[member].as_str().unwrap().to_owned()
            }
        };
        filled.push_str(&value);
        filled.push_str(rest);
    }
    filled
}
