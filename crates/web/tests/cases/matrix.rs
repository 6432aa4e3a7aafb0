//! Who may call what: every endpoint, every kind of caller, own and other account. The rows come from the router's own
//! list, so a new endpoint without a column here fails.

use http::Method;
use hushpad_web::{Access, EndpointInfo, endpoint_list};

use uuid::Uuid;

use crate::fakes::{Answer, Desk, good_body};

/// Who calls.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Caller {
    /// Without a token.
    Nobody,
    /// With a page token in place of an access token.
    Page,
    /// An agent's own client of the account.
    Agent,
    /// A back end of the account.
    BackEnd,
    /// A back end of another account.
    OtherAccount,
}

const CALLERS: [Caller; 5] =
    [Caller::Nobody, Caller::Page, Caller::Agent, Caller::BackEnd, Caller::OtherAccount];

/// What must come of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Expected {
    /// It is let through: whatever it answers, it is not about who asks.
    Through,
    /// 401.
    Unauthorized,
    /// 404: what is another account's is not there.
    NotThere,
    /// 403: not for an agent's own client.
    Forbidden,
    /// Let through, and shows nothing of acme's.
    Empty,
}

/// How an endpoint treats an account that the session does not belong to; `None` for an endpoint that nobody has
/// thought about.
fn of_others(endpoint: &EndpointInfo) -> Option<Expected> {
    Some(match (endpoint.access, endpoint.method.as_str(), endpoint.path) {
        (Access::Public | Access::ClientSecret, _, _) => Expected::Through,
        // Its own agents and configurations are meant.
        (Access::Token, "POST", "/v1/session" | "/v1/digitalsession" | "/v1/charge") => Expected::Empty,
        (Access::Token, "GET", "/v1/session/{guid}" | "/v1/session/{guid}/events") => Expected::NotThere,
        (
            Access::Token,
            "POST",
            "/v1/session/{guid}/cancel"
            | "/v1/session/{guid}/refund"
            | "/v1/session/{guid}/void"
            | "/v1/session/{guid}/capture"
            | "/v1/session/{guid}/link"
            | "/v1/session/{guid}/link/revoke"
            | "/v1/session/{guid}/keypad",
        ) => Expected::NotThere,
        (Access::Token, "GET", "/v1/calls" | "/v1/session" | "/v1/webhooks") => Expected::Empty,
        // Its own agent of the same name is meant.
        (Access::Token, "POST", "/v1/calls/link-code") => Expected::Empty,
        (Access::Token, "PUT", "/v1/calls/{guid}/agent") => Expected::NotThere,
        (Access::Token, "POST", "/v1/webhooks/{id}/replay") => Expected::NotThere,
        (Access::Token, _, _) => return None,
    })
}

fn expected(endpoint: &EndpointInfo, caller: Caller) -> Option<Expected> {
    let of_others = of_others(endpoint)?;
    Some(match (endpoint.access, caller) {
        (Access::Token, Caller::Agent) if endpoint.path.starts_with("/v1/webhooks") => Expected::Forbidden,
        (Access::Public | Access::ClientSecret, _) | (Access::Token, Caller::Agent | Caller::BackEnd) => {
            Expected::Through
        }
        (Access::Token, Caller::Nobody | Caller::Page) => Expected::Unauthorized,
        (Access::Token, Caller::OtherAccount) => of_others,
    })
}

#[tokio::test]
async fn the_whole_matrix_of_callers_and_endpoints_holds() {
    let mut cells = 0;
    for endpoint in endpoint_list() {
        for caller in CALLERS {
            let expected = expected(&endpoint, caller);
            let expected = expected
                .unwrap_or_else(|| panic!("{} {} has no row in this matrix", endpoint.method, endpoint.path));
            let prefixes =
                if endpoint.access == Access::Token { &["", "/api", "/globalpci"][..] } else { &[""] };
            for prefix in prefixes {
                check(&endpoint, prefix, caller, expected).await;
                cells += 1;
            }
        }
    }
    assert!(cells >= 60, "{cells}");
}

async fn check(endpoint: &EndpointInfo, prefix: &str, caller: Caller, expected: Expected) {
    let desk = Desk::start();
    let opened = desk.open_session().await;
    let before = desk.store.all();
    let guid = match endpoint.path.starts_with("/v1/calls") {
        true => {
            desk.calls.trunk_call("acme", 42, true);
            Uuid::from_u128(42).to_string()
        }
        false => opened.guid.clone(),
    };
    let webhook = desk.webhooks.dead_letter("acme", 9).to_string();
    let path = endpoint.path.replace("{guid}", &guid).replace("{id}", &webhook);
    let path = format!("{prefix}{path}");
    let token = match caller {
        Caller::Nobody => String::new(),
        Caller::Page => opened.access.clone(),
        Caller::Agent => desk.token_of("browser").await,
        Caller::BackEnd => desk.token_of("backend").await,
        Caller::OtherAccount => desk.token_of("other").await,
    };
    let body = (endpoint.method != Method::GET).then(|| good_body().to_string());
    let answer = desk.call_api(endpoint.method.clone(), &path, &token, body.as_deref()).await;
    let place = format!("{caller:?} {} {path}: {} {}", endpoint.method, answer.status, answer.body);
    match expected {
        Expected::Through => assert!(!about_who_asks(endpoint, &answer), "{place}"),
        Expected::Unauthorized => assert_eq!(answer.status, 401, "{place}"),
        Expected::NotThere => {
            let problem = answer.problem();
            assert!(
                ["404 no_such_session", "404 no_such_call", "404 no_such_webhook"]
                    .contains(&problem.as_str()),
                "{place}"
            );
        }
        Expected::Forbidden => assert_eq!(answer.problem(), "403 back_end_only", "{place}"),
        Expected::Empty => {
            let acmes = [&opened.guid, &opened.provider, &webhook];
            assert!(acmes.iter().all(|id| !answer.body.contains(*id)), "{place}");
        }
    }
    if expected != Expected::Through {
        assert_eq!(desk.store.all(), before, "{place}");
    }
}

/// Whether an answer is a refusal of the caller. An endpoint for clients refuses everybody who brings no secret.
fn about_who_asks(endpoint: &EndpointInfo, answer: &Answer) -> bool {
    endpoint.access == Access::Token && [401, 403, 404].contains(&answer.status.as_u16())
}

#[tokio::test]
async fn what_is_not_in_the_list_is_not_served() {
    let desk = Desk::start();
    let token = desk.token_of("backend").await;
    for path in
        ["/", "/v1", "/v1/session/", "/v1/sessions", "/v2/session", "/v1/session/x/y", "/admin", "/metrics"]
    {
        let answer = desk.call_api(Method::GET, path, &token, None).await;
        assert_eq!(answer.problem(), "404 no_such_path", "{path}");
    }
}
