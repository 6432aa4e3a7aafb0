//! The agent's page, without a browser: its form, its events, its buttons.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use serde_json::Value;

use crate::cards::TestCard;
use crate::desk::{Call, Desk, Session};
use crate::http::{self, FORM, Reply, Seen};
use crate::until;

/// An open agent page.
pub(crate) struct Page {
    seen: Seen,
    server: SocketAddr,
    provider_guid: String,
    handle: String,
    state: Arc<Mutex<Value>>,
}

impl Page {
    /// Posts the form that the shop's page would, and listens to the page's events.
    pub(crate) fn open(seen: &Seen, server: SocketAddr, session: &Session) -> Self {
        let reply = Self::post(seen, server, session).expect(200);
        let handle = reply.body.split("data-handle=\"").nth(1).and_then(|rest| rest.split('"').next());
        let handle = handle.expect("the page has a handle").to_owned();
        let provider_guid = session.reply["providerSessionGuid"].as_str().unwrap().to_owned();
        let state = Arc::<Mutex<Value>>::default();
        let (path, kept) = (format!("/view/{provider_guid}/live"), state.clone());
        let (live_seen, live_handle) = (seen.clone(), handle.clone());
        std::thread::spawn(move || {
            http::events(&live_seen, server, &path, &[("X-Page-Handle", &live_handle)], |name, data| {
                if name == "state" {
                    *kept.lock().unwrap() = serde_json::from_str(data).unwrap();
                }
                true
            });
        });
        let page = Self { seen: seen.clone(), server, provider_guid, handle, state };
        until("the page shows something", || (!page.state().is_null()).then_some(()));
        page
    }

    /// Posts the form, whatever the answer.
    pub(crate) fn post(seen: &Seen, server: SocketAddr, session: &Session) -> Reply {
        let token = |name: &str| session.reply[name].as_str().unwrap().to_owned();
        let (access, refresh) = (token("agentAccessToken"), token("agentRefreshToken"));
        let fields = [("X-BEARER-TOKEN", access.as_str()), ("X-REFRESH-TOKEN", refresh.as_str())];
        let url = token("iframeUrl");
        let path = url.split_once("://").and_then(|(_, rest)| rest.split_once('/')).unwrap().1;
        http::send(seen, server, &format!("POST /{path}"), &[FORM], &http::form(&fields))
    }

    /// What it shows now.
    pub(crate) fn state(&self) -> Value {
        self.state.lock().unwrap().clone()
    }

    /// Waits until it shows what is asked for.
    pub(crate) fn shows(&self, what: &str, is_it: impl Fn(&Value) -> bool) -> Value {
        let looked = || {
            let state = self.state();
            is_it(&state).then_some(state)
        };
        // The state itself says most when this fails.
        let shown = self.state.clone();
        let _told = OnFailure(move || println!("the page shows {}", shown.lock().unwrap()));
        until(&format!("the page shows {what}"), looked)
    }

    pub(crate) fn shows_phase(&self, phase: &str) -> Value {
        self.shows(phase, |state| state["phase"] == phase)
    }

    pub(crate) fn shows_field(&self, field: &str, status: &str) -> Value {
        self.shows(&format!("{field} {status}"), |state| self::field(state, field)["status"] == status)
    }

    pub(crate) fn shows_typed(&self, field: &str, count: u64) {
        self.shows(&format!("{count} keys of {field}"), |state| self::field(state, field)["typed"] == count);
    }

    pub(crate) fn start(&self, field: &str) {
        self.acts(&[("action", "start"), ("field", field)]);
        self.shows_field(field, "typing");
    }

    pub(crate) fn redo(&self, field: &str) {
        self.acts(&[("action", "redo"), ("field", field)]);
        self.shows_field(field, "typing");
    }

    pub(crate) fn pay(&self) {
        self.acts(&[("action", "pay")]);
    }

    pub(crate) fn cancel(&self) {
        self.acts(&[("action", "cancel")]);
    }

    /// Does something that must succeed.
    pub(crate) fn acts(&self, fields: &[(&str, &str)]) {
        let reply = self.act(fields);
        assert!((200..300).contains(&reply.status), "{fields:?}: {reply:?}");
    }

    /// Does something, whatever the answer.
    pub(crate) fn act(&self, fields: &[(&str, &str)]) -> Reply {
        let request = format!("POST /view/{}/act", self.provider_guid);
        let headers = [("X-Page-Handle", self.handle.as_str()), FORM];
        http::send(&self.seen, self.server, &request, &headers, &http::form(fields))
    }
}

/// The customer types one field, the agent sees it become valid, and both go on talking.
pub(crate) fn customer_types(desk: &Desk, call: &mut Call, page: &Page, field: &str, keys: &str) {
    page.start(field);
    call.customer.keys(keys);
    page.shows_field(field, "valid");
    desk.both_hear_speech(call);
}

/// The same for a field that was typed before.
pub(crate) fn customer_types_again(desk: &Desk, call: &mut Call, page: &Page, field: &str, keys: &str) {
    page.redo(field);
    call.customer.keys(keys);
    page.shows_field(field, "valid");
    desk.both_hear_speech(call);
}

/// The customer types a whole card.
pub(crate) fn customer_types_card(desk: &mut Desk, call: &mut Call, page: &Page, card: TestCard) {
    desk.expects_card(card);
    customer_types(desk, call, page, "card_number", card.number);
    customer_types(desk, call, page, "expiry", card.expiry);
    customer_types(desk, call, page, "security_code", card.security_code);
}

/// One field of what the page shows.
pub(crate) fn field<'a>(state: &'a Value, name: &str) -> &'a Value {
    let fields = state["fields"].as_array();
    fields.and_then(|fields| fields.iter().find(|field| field["field"] == name)).unwrap_or(&Value::Null)
}

/// Says something while a test is failing.
struct OnFailure<F: Fn()>(F);

impl<F: Fn()> Drop for OnFailure<F> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            (self.0)();
        }
    }
}
