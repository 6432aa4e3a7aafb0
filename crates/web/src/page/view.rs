//! Renders the page, whole at its opening and in fragments while it lives.

use askama::Template;
use hushpad_domain::ids::SessionGuid;
use hushpad_domain::link::PaymentLinkUrl;
use hushpad_domain::page::{EndView, FieldStatus, FieldView, PageState, Phase};
use hushpad_domain::session::Outcome;
use serde_json::{Map, Value, json};

use super::assets::Assets;
use super::words;

/// The test keypad, row by row.
const KEYS: [&str; 12] = ["1", "2", "3", "4", "5", "6", "7", "8", "9", "*", "0", "#"];
/// What nobody must take for a payment.
const TEST_BANNER: &str =
    r#"<p class="test-banner"><strong>TEST</strong> No call, no real card: use the keypad.</p>"#;
/// More dots than any field has keys.
const DOTS_MAX: u8 = 32;

/// What a page is given at its opening, beside the payment.
pub(super) struct Opening<'a> {
    pub(super) handle: &'a str,
    /// The origins that hear where the payment stands: a JSON array.
    pub(super) origins: &'a str,
    /// By what they know it.
    pub(super) session: SessionGuid,
}

/// The whole page.
pub(super) fn page(page: &PageState, opening: &Opening<'_>, assets: &Assets) -> Option<String> {
    let html = Fragments::of(page);
    let whole = WholePage {
        style_url: &assets.style.url,
        style_integrity: &assets.style.integrity,
        script_url: &assets.script.url,
        script_integrity: &assets.script.integrity,
        handle: opening.handle,
        origins: opening.origins,
        session: opening.session.to_string(),
        amount: page.amount.decimal(),
        currency: page.amount.currency().code(),
        reference: page.reference.as_deref(),
        agent: page.agent.as_str(),
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
        "outcome": outcome(page.phase).map(Outcome::word),
        "link": page.link.as_ref().map(|link| link.state.word()),
        "announce": format!("{} {}", html.headline, html.notice),
        "html": html.by_id(),
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
    origins: &'a str,
    session: String,
    amount: String,
    currency: &'static str,
    reference: Option<&'a str>,
    agent: &'a str,
    html: &'a Fragments,
}

/// The parts of the page that change, as HTML.
///
/// A button is a part of its own: it must not be drawn anew under the agent's finger at each key.
struct Fragments {
    banner: &'static str,
    status: String,
    link: String,
    rows: Vec<RowFragments>,
    actions: String,
    keypad: String,
    headline: String,
    notice: &'static str,
}

/// A field's two parts.
struct RowFragments {
    field: &'static str,
    /// What is typed, and how it stands.
    view: String,
    /// The button that asks for it.
    ask: String,
}

impl Fragments {
    fn of(page: &PageState) -> Self {
        let standing = words::standing(page);
        let notice = page.notice.map_or("", words::notice);
        let open = match page.phase {
            Phase::Entry { .. } | Phase::ReadyToPay | Phase::Declined { .. } | Phase::ByLink { .. } => true,
            Phase::Paying
            | Phase::Unknown
            | Phase::Pending
            | Phase::AtTheBank
            | Phase::GivingBack { .. }
            | Phase::Ended(_) => false,
        };
        let keyable = open && page.link.is_none();
        let status = StatusFragment {
            tone: standing.tone.class(),
            headline: &standing.headline,
            advice: &standing.advice,
            notice,
        };
        let actions = ActionsFragment {
            shown: open,
            keyable,
            pay_ready: matches!(page.phase, Phase::ReadyToPay),
            amount: page.amount.to_string(),
            link: page.may_move && page.link.is_none(),
        };
        let link = page.link.as_ref().filter(|_| open).map(|link| LinkFragment {
            url: link.url.as_ref().map(PaymentLinkUrl::reveal),
            expires_on: link.expires_on.to_string(),
            expires: words::moment(link.expires_on),
            keypad: page.may_move,
        });
        let keypad = if page.test_keypad && !matches!(page.phase, Phase::Ended(_)) {
            KeypadFragment { keys: KEYS }.render().unwrap_or_default()
        } else {
            String::new()
        };
        // Templates of texts cannot fail; an empty fragment would be the mildest harm.
        Self {
            banner: if page.test_keypad { TEST_BANNER } else { "" },
            status: status.render().unwrap_or_default(),
            link: link.map(|link| link.render().unwrap_or_default()).unwrap_or_default(),
            keypad,
            rows: page.fields.iter().map(|view| RowFragments::of(view, keyable)).collect(),
            actions: actions.render().unwrap_or_default(),
            headline: standing.headline,
            notice,
        }
    }

    /// By the id of the element that each fills.
    fn by_id(&self) -> Map<String, Value> {
        let mut all = Map::new();
        all.insert("banner".to_owned(), json!(self.banner));
        all.insert("status".to_owned(), json!(self.status));
        all.insert("link".to_owned(), json!(self.link));
        all.insert("keys".to_owned(), json!(self.keypad));
        all.insert("actions".to_owned(), json!(self.actions));
        for row in &self.rows {
            all.insert(format!("view-{}", row.field), json!(row.view));
            all.insert(format!("ask-{}", row.field), json!(row.ask));
        }
        all
    }
}

impl RowFragments {
    fn of(view: &FieldView, keyable: bool) -> Self {
        let field = view.field.name();
        let (action, verb) = match view.status {
            FieldStatus::Waiting => ("start", "Ask for"),
            FieldStatus::Typing
            | FieldStatus::Typed
            | FieldStatus::Valid
            | FieldStatus::Invalid(_)
            | FieldStatus::TimedOut => ("redo", "Redo"),
        };
        let shown = ViewFragment {
            field,
            title: words::field_title(view.field),
            class: status_word(view.status),
            dots: "●".repeat(usize::from(view.typed.min(DOTS_MAX))),
            count: count(view),
            brand: view.brand.map_or("", |brand| brand.title()),
            words: words::field_status(view),
        };
        let ask = AskFragment { shown: keyable, field, action, verb, name: words::field_name(view.field) };
        Self { field, view: shown.render().unwrap_or_default(), ask: ask.render().unwrap_or_default() }
    }
}

#[derive(Template)]
#[template(path = "status.html")]
pub(super) struct StatusFragment<'a> {
    pub(super) tone: &'static str,
    pub(super) headline: &'a str,
    pub(super) advice: &'a str,
    pub(super) notice: &'a str,
}

#[derive(Template)]
#[template(path = "view.html")]
struct ViewFragment {
    field: &'static str,
    title: &'static str,
    class: &'static str,
    dots: String,
    count: String,
    brand: &'static str,
    words: &'static str,
}

#[derive(Template)]
#[template(path = "ask.html")]
struct AskFragment {
    shown: bool,
    field: &'static str,
    action: &'static str,
    verb: &'static str,
    name: &'static str,
}

#[derive(Template)]
#[template(path = "actions.html")]
struct ActionsFragment {
    shown: bool,
    /// The agent asks for the fields, and pays.
    keyable: bool,
    pay_ready: bool,
    amount: String,
    /// A payment link can take its place.
    link: bool,
}

#[derive(Template)]
#[template(path = "link.html")]
struct LinkFragment<'a> {
    url: Option<&'a str>,
    expires_on: String,
    expires: String,
    /// The agent's call can take its place.
    keypad: bool,
}

#[derive(Template)]
#[template(path = "keypad.html")]
struct KeypadFragment {
    keys: [&'static str; 12],
}

fn count(view: &FieldView) -> String {
    match (view.typed, view.length) {
        (0, _) => String::new(),
        (typed, Some(length)) => format!("{typed} of {length} keys"),
        (1, None) => "1 key".to_owned(),
        (typed, None) => format!("{typed} keys"),
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
        FieldStatus::Typed => "typed",
    }
}

/// As the API tells it, once the payment is over.
fn outcome(phase: Phase) -> Option<Outcome> {
    let Phase::Ended(end) = phase else { return None };
    Some(match end {
        EndView::Approved => Outcome::Approved,
        EndView::Review => Outcome::Review,
        EndView::Declined => Outcome::Declined,
        EndView::Cancelled | EndView::CallEnded => Outcome::Cancelled,
        EndView::TimedOut | EndView::Failed => Outcome::None,
    })
}

fn phase_word(phase: Phase) -> &'static str {
    match phase {
        Phase::Entry { .. } => "entry",
        Phase::ByLink { .. } => "by_link",
        Phase::ReadyToPay => "ready_to_pay",
        Phase::Paying => "paying",
        Phase::Unknown => "unknown",
        Phase::Pending => "pending",
        Phase::AtTheBank => "at_the_bank",
        Phase::GivingBack { .. } => "giving_back",
        Phase::Declined { .. } => "declined",
        Phase::Ended(_) => "ended",
    }
}
