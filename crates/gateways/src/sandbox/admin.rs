//! The doors of the simulator itself: the ledger, and what shall go wrong. HTTP Basic, as for the generic gateway.

use std::time::Duration;

use ::http::Response;
use serde::Deserialize;
use serde_json::json;

use super::faults::{Chaos, Rule};
use super::http::{Ask, Content, Reply};
use super::ledger::Ledger;
use super::{PASSWORD, USER, page};

pub(super) fn answer(ledger: &Ledger, ask: &Ask) -> Response<Content> {
    if !ask.is_basic(USER, PASSWORD) {
        let refused = problem(401, "unauthorized", "user or password is wrong");
        return refused.with("www-authenticate", "Basic realm=\"gateway simulator\"").into_response();
    }
    let parts = ask.parts();
    if ask.is_get() && parts == ["ledger", "events"] {
        return page::events(ledger);
    }
    let reply = match (ask.method.as_str(), parts.as_slice()) {
        ("GET", ["ledger"]) if ask.header("accept").contains("text/html") => page::page(ledger),
        ("GET", ["ledger"]) => Reply::json(200, &json!({ "charges": ledger.charges() })),
        ("GET", ["ledger", name @ ("page.css" | "page.js")]) => page::asset(name).unwrap_or_else(missing),
        ("GET", ["ledger", reference]) => {
            ledger.find(reference).map_or_else(missing, |charge| Reply::json(200, &json!(charge)))
        }
        ("GET", ["admin", "faults"]) => Reply::json(200, &json!({ "rules": ledger.faults() })),
        ("DELETE", ["admin", "faults"]) => {
            ledger.clear_faults();
            done()
        }
        ("GET", ["admin", "notifications"]) => Reply::json(200, &json!({ "sent": ledger.sent() })),
        ("POST", ["admin", what]) => set(ledger, ask, what),
        ("GET", _) => missing(),
        (_, ["ledger", ..] | ["admin", ..]) => problem(405, "method_not_allowed", "GET, POST or DELETE"),
        _ => missing(),
    };
    reply.into_response()
}

fn set(ledger: &Ledger, ask: &Ask, what: &str) -> Reply {
    #[derive(Deserialize)]
    struct Resets {
        connections: u32,
    }
    #[derive(Deserialize)]
    struct Refusal {
        for_ms: u32,
    }
    #[derive(Deserialize)]
    struct Target {
        url: Option<String>,
    }
    fn read<'a, T: Deserialize<'a>>(ask: &'a Ask) -> Result<T, Reply> {
        serde_json::from_slice(&ask.body).map_err(|error| problem(400, "malformed", &error.to_string()))
    }
    let set = || -> Result<bool, Reply> {
        match what {
            "faults" => return Ok(ledger.add_fault(read::<Rule>(ask)?)),
            "chaos" => ledger.set_chaos(read::<Option<Chaos>>(ask)?),
            "resets" => ledger.reset_next(read::<Resets>(ask)?.connections),
            "refusal" => {
                ledger.refuse_for(Duration::from_millis(u64::from(read::<Refusal>(ask)?.for_ms)));
            }
            "notifications" => return Ok(ledger.notify(read::<Target>(ask)?.url.as_deref())),
            _ => return Err(missing()),
        }
        Ok(true)
    };
    match set() {
        Ok(true) => done(),
        Ok(false) => problem(400, "refused", "too many rules, or no such address"),
        Err(reply) => reply,
    }
}

fn done() -> Reply {
    Reply::json(200, &json!({ "done": true }))
}

fn missing() -> Reply {
    problem(404, "no_such_path", "try /ledger or /admin/faults")
}

fn problem(status: u16, code: &str, message: &str) -> Reply {
    Reply::json(status, &json!({ "error_code": code, "error_message": message }))
}
