//! Renders the page, whole at its opening and in fragments while it lives.

use askama::Template;
use hushpad_domain::page::{FieldStatus, FieldView, PageState, Phase};
use serde_json::{Value, json};

use super::assets::Assets;
use super::words;

/// More dots than any field has keys.
const DOTS_MAX: u8 = 32;

/// The whole page.
pub(super) fn page(page: &PageState, handle: &str, assets: &Assets) -> Option<String> {
    let html = Fragments::of(page);
    let whole = WholePage {
        style_url: &assets.style.url,
        style_integrity: &assets.style.integrity,
        script_url: &assets.script.url,
        script_integrity: &assets.script.integrity,
        handle,
        amount: page.amount.decimal(),
        currency: page.amount.currency().code(),
        reference: page.reference.as_deref(),
        agent: page.agent.as_str(),
        test_keypad: page.test_keypad,
        keys: ["1", "2", "3", "4", "5", "6", "7", "8", "9", "*", "0", "#"],
        html: &html,
    };
    whole.render().ok()
}

/// One line of JSON: the page's state and its fragments.
pub(super) fn live_data(page: &PageState) -> String {
    let html = Fragments::of(page);
    let fields: Vec<Value> = page.fields.iter().map(field_data).collect();
    json!({
        "revision": page.revision,
        "phase": phase_word(page.phase),
        "announce": format!("{} {}", html.headline, html.notice),
        "html": { "status": html.status, "fields": html.fields, "actions": html.actions },
        "fields": fields,
    })
    .to_string()
}

#[derive(Template)]
#[template(path = "page.html")]
struct WholePage<'a> {
    style_url: &'a str,
    style_integrity: &'a str,
    script_url: &'a str,
    script_integrity: &'a str,
    handle: &'a str,
    amount: String,
    currency: &'static str,
    reference: Option<&'a str>,
    agent: &'a str,
    test_keypad: bool,
    keys: [&'static str; 12],
    html: &'a Fragments,
}

/// The parts of the page that change, as HTML, by the id of the element they fill.
struct Fragments {
    status: String,
    fields: String,
    actions: String,
    headline: String,
    notice: &'static str,
}

impl Fragments {
    fn of(page: &PageState) -> Self {
        let standing = words::standing(page);
        let notice = page.notice.map_or("", words::notice);
        let keyable = match page.phase {
            Phase::Entry { .. } | Phase::ReadyToPay | Phase::Declined { .. } => true,
            Phase::Paying | Phase::Unknown | Phase::Ended(_) => false,
        };
        let status = StatusFragment {
            tone: standing.tone.class(),
            headline: &standing.headline,
            advice: &standing.advice,
            notice,
        };
        let fields = FieldsFragment { fields: page.fields.iter().map(|view| row(view, keyable)).collect() };
        let actions = ActionsFragment {
            pay: keyable,
            pay_ready: matches!(page.phase, Phase::ReadyToPay),
            cancel: keyable,
            amount: page.amount.to_string(),
        };
        // Templates of texts cannot fail; an empty fragment would be the mildest harm.
        Self {
            status: status.render().unwrap_or_default(),
            fields: fields.render().unwrap_or_default(),
            actions: actions.render().unwrap_or_default(),
            headline: standing.headline,
            notice,
        }
    }
}

#[derive(Template)]
#[template(path = "status.html")]
struct StatusFragment<'a> {
    tone: &'static str,
    headline: &'a str,
    advice: &'a str,
    notice: &'a str,
}

#[derive(Template)]
#[template(path = "fields.html")]
struct FieldsFragment {
    fields: Vec<Row>,
}

#[derive(Template)]
#[template(path = "actions.html")]
struct ActionsFragment {
    pay: bool,
    pay_ready: bool,
    cancel: bool,
    amount: String,
}

struct Row {
    name: &'static str,
    title: &'static str,
    class: &'static str,
    dots: String,
    count: String,
    brand: &'static str,
    words: &'static str,
    button: Option<Button>,
}

struct Button {
    action: &'static str,
    text: String,
}

fn row(view: &FieldView, keyable: bool) -> Row {
    let asked = words::field_name(view.field);
    let button = match view.status {
        FieldStatus::Waiting => Button { action: "start", text: format!("Ask for {asked}") },
        FieldStatus::Typing | FieldStatus::Valid | FieldStatus::Invalid(_) | FieldStatus::TimedOut => {
            Button { action: "redo", text: format!("Redo {asked}") }
        }
    };
    Row {
        name: view.field.name(),
        title: words::field_title(view.field),
        class: status_word(view.status),
        dots: "●".repeat(usize::from(view.typed.min(DOTS_MAX))),
        count: count(view),
        brand: view.brand.map_or("", |brand| brand.title()),
        words: words::field_status(view),
        button: keyable.then_some(button),
    }
}

fn count(view: &FieldView) -> String {
    match (view.typed, view.length) {
        (0, _) => String::new(),
        (typed, Some(length)) => format!("{typed} of {length} typed"),
        (typed, None) => format!("{typed} typed"),
    }
}

fn field_data(view: &FieldView) -> Value {
    let brand = view.brand.map(|brand| format!(", {}", brand.title())).unwrap_or_default();
    json!({
        "field": view.field.name(),
        "status": status_word(view.status),
        "typed": view.typed,
        "length": view.length,
        "words": format!("{}: {}{brand}.", words::field_title(view.field), words::field_status(view)),
    })
}

fn status_word(status: FieldStatus) -> &'static str {
    match status {
        FieldStatus::Waiting => "waiting",
        FieldStatus::Typing => "typing",
        FieldStatus::Valid => "valid",
        FieldStatus::Invalid(_) => "invalid",
        FieldStatus::TimedOut => "timed_out",
    }
}

fn phase_word(phase: Phase) -> &'static str {
    match phase {
        Phase::Entry { .. } => "entry",
        Phase::ReadyToPay => "ready_to_pay",
        Phase::Paying => "paying",
        Phase::Unknown => "unknown",
        Phase::Declined { .. } => "declined",
        Phase::Ended(_) => "ended",
    }
}
