//! How sessions and clients look in their rows, the same in every engine.

use std::collections::BTreeMap;

use hushpad_domain::attempt::{Attempt, AttemptState, GatewayAnswer, Purpose, StoredCard};
use hushpad_domain::change::Change;
use hushpad_domain::event::EventKind;
use hushpad_domain::ids::{
    AccountId, AgentId, AttemptId, AttemptNo, CallGuid, ConfigurationId, GatewayName, OperationId,
    ProviderSessionGuid, SessionGuid,
};
use hushpad_domain::kept_card::{KeptCard, TokenHash};
use hushpad_domain::link::{Link, LinkNo, LinkState, Way};
use hushpad_domain::listing::StateName;
use hushpad_domain::masked_card::MaskedCard;
use hushpad_domain::money::{Currency, Money};
use hushpad_domain::operation::{Operation, OperationNo, Settlement};
use hushpad_domain::payment_data::PaymentData;
use hushpad_domain::ports::StoreUnavailable;
use hushpad_domain::replay::{Begun, FirstRequest, StoredAnswer as KeptAnswer};
use hushpad_domain::session::{Ending, Outcome, Session, SessionState};
use hushpad_domain::time::Timestamp;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use sqlx::FromRow;
use uuid::Uuid;

use crate::keys::{Keys, hex};

/// A session as it is read: one row, with its attempts as JSON. Numbers are of the width that every engine has.
#[derive(FromRow)]
pub(super) struct SessionRow {
    guid: Uuid,
    provider: Uuid,
    account: String,
    configuration: i64,
    agent: String,
    call: Option<Uuid>,
    links: i64,
    link: Option<i64>,
    link_state: Option<String>,
    link_expires_on: Option<i64>,
    amount_minor: i64,
    currency: String,
    state: String,
    attempt: Option<i64>,
    ended_on: Option<i64>,
    ending: Option<String>,
    kept_until: Option<i64>,
    webhook: bool,
    created_on: i64,
    updated_on: i64,
    version: i64,
    events: i64,
    payment_data: Option<Vec<u8>>,
    attempts: String,
}

impl SessionRow {
    /// The session that the row means. What is sealed under a key that is gone is as what was wiped.
    ///
    /// # Errors
    /// The row was not written by us; the text names the column, never a value.
    pub(super) fn read(self, keys: &Keys) -> Result<Session, StoreUnavailable> {
        let amount = money(self.amount_minor, &self.currency)?;
        // Wiped after its retention: then only the amount is known, which has its own columns.
        let values = match self.payment_data.and_then(|data| keys.open_sealed(&data)) {
            Some(data) => json("payment data", &data)?,
            None => BTreeMap::new(),
        };
        let attempts: Vec<AttemptRow> = json("the attempts", self.attempts.as_bytes())?;
        let mut attempts =
            attempts.into_iter().map(|attempt| attempt.read(keys)).collect::<Result<Vec<_>, _>>()?;
        attempts.sort_by_key(|attempt| attempt.no);
        let attempt = self.attempt.map(|no| number("an attempt", no)).transpose()?;
        Ok(Session {
            guid: SessionGuid(self.guid),
            provider: ProviderSessionGuid(self.provider),
            account: AccountId(self.account),
            configuration: ConfigurationId(number("a configuration", self.configuration)?),
            agent: AgentId(self.agent),
            call: self.call.map(CallGuid),
            way: read_way(self.link, self.link_state.as_deref(), self.link_expires_on)?,
            links: number("the links", self.links)?,
            payment_data: PaymentData::from_stored(values, amount),
            webhook: self.webhook,
            attempts,
            state: read_state(
                &self.state,
                attempt,
                self.ended_on.zip(self.kept_until),
                self.ending.as_deref(),
            )?,
            created_on: Timestamp::from_micros(self.created_on),
            updated_on: Timestamp::from_micros(self.updated_on),
            version: self.version.cast_unsigned(),
            events: number("the events", self.events)?,
        })
    }
}

/// A kept answer as it is read.
#[derive(FromRow)]
pub(super) struct ReplayRow {
    fingerprint: Vec<u8>,
    session: Uuid,
    epoch: i64,
    status: Option<i64>,
    sealed_body: Option<Vec<u8>>,
}

impl ReplayRow {
    /// What `request` finds in this row.
    pub(super) fn read(self, request: &FirstRequest, epoch: i64) -> Result<Begun, sqlx::Error> {
        let status = self.status.map(u16::try_from).transpose();
        let status = status.map_err(|error| sqlx::Error::Decode(error.into()))?;
        Ok(match (status, self.sealed_body) {
            _ if self.fingerprint != request.fingerprint => Begun::Mismatch,
            (Some(status), Some(sealed_body)) => Begun::Answered(KeptAnswer { status, sealed_body }),
            // The guid is new with each request: a row that has it is its own.
            _ if self.session == request.session.0 => Begun::First,
            _ if self.epoch == epoch => Begun::InFlight,
            _ => Begun::Interrupted(SessionGuid(self.session)),
        })
    }
}

/// A state in its columns.
pub(super) struct StateColumns {
    pub(super) state: &'static str,
    pub(super) attempt: Option<u16>,
    pub(super) ended_on: Option<i64>,
    pub(super) ending: Option<&'static str>,
    pub(super) kept_until: Option<i64>,
}

impl StateColumns {
    pub(super) fn of(state: &SessionState) -> Self {
        let plain = |state| Self { state, attempt: None, ended_on: None, ending: None, kept_until: None };
        match state {
            SessionState::Created => plain("created"),
            SessionState::InProgress => plain("in_progress"),
            SessionState::Processing { attempt } => Self { attempt: Some(attempt.0), ..plain("processing") },
            SessionState::Ended { at, ending, kept_until } => Self {
                ended_on: Some(at.as_micros()),
                ending: Some(ending_word(*ending)),
                kept_until: Some(kept_until.as_micros()),
                ..plain("ended")
            },
        }
    }
}

/// How the payer gives the card, in its columns.
pub(super) struct WayColumns {
    pub(super) link: Option<u16>,
    pub(super) state: Option<&'static str>,
    pub(super) expires_on: Option<i64>,
}

impl WayColumns {
    pub(super) fn of(session: &Session) -> Self {
        let link = session.link();
        Self {
            link: link.map(|link| link.no.0),
            state: link.map(|link| link.state.word()),
            expires_on: link.map(|link| link.expires_on.as_micros()),
        }
    }
}

/// Whether a change writes how the payer gives the card. It touches no attempt and no operation then.
pub(super) fn changes_way(change: &Change) -> bool {
    change.events.iter().any(|event| event.kind.changed_way())
}

fn read_way(
    link: Option<i64>,
    state: Option<&str>,
    expires_on: Option<i64>,
) -> Result<Way, StoreUnavailable> {
    let (no, state, expires_on) = match (link, state, expires_on) {
        (None, None, None) => return Ok(Way::Keypad),
        (Some(no), Some(state), Some(expires_on)) => (no, state, expires_on),
        _ => return Err(unreadable("a payment link")),
    };
    let states = [LinkState::Issued, LinkState::Opened, LinkState::Revoked];
    let state = states.into_iter().find(|known| known.word() == state);
    Ok(Way::Link(Link {
        no: LinkNo(number("a payment link", no)?),
        state: state.ok_or_else(|| unreadable("a payment link"))?,
        expires_on: Timestamp::from_micros(expires_on),
    }))
}

/// A `sessionState` in the words of a list's statement.
pub(super) fn state_word(state: StateName) -> &'static str {
    match state {
        StateName::Created => "created",
        StateName::InProgress => "in_progress",
        StateName::Processing => "processing",
        StateName::Finished => "finished",
        StateName::Error => "error",
        StateName::TimeOut => "time_out",
        StateName::ExpiredOnProviderSide => "expired",
    }
}

/// What a gateway answered that must be gone after its retention.
#[derive(Serialize, Deserialize)]
pub(super) struct StoredAnswer {
    result: BTreeMap<String, String>,
    card: Option<MaskedCard>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    stored: Option<StoredCard>,
}

impl StoredAnswer {
    /// What is to be kept of this answer; `None` when there is nothing.
    pub(super) fn of(answer: &GatewayAnswer) -> Option<Self> {
        let nothing = answer.result.is_empty() && answer.card.is_none() && answer.stored.is_none();
        let GatewayAnswer { result, card, stored, .. } = answer.clone();
        (!nothing).then_some(Self { result, card, stored })
    }

    pub(super) fn sealed(&self, keys: &Keys) -> Result<Vec<u8>, StoreUnavailable> {
        keys.seal(text("a gateway's result", self)?.into_bytes())
    }
}

/// The state of an attempt without what [`StoredAnswer`] holds.
pub(super) fn attempt_state_text(state: &AttemptState) -> Result<String, StoreUnavailable> {
    match state {
        AttemptState::Answered { answer, resolved } => {
            let answer =
                GatewayAnswer { result: BTreeMap::new(), card: None, stored: None, ..answer.clone() };
            text("an attempt", &AttemptState::Answered { answer, resolved: *resolved })
        }
        AttemptState::Intent
        | AttemptState::Challenged { .. }
        | AttemptState::Confirming { .. }
        | AttemptState::NotSent { .. }
        | AttemptState::Unknown { .. }
        | AttemptState::NotCharged { .. } => text("an attempt", state),
    }
}

/// Payment data as it is stored.
pub(super) fn sealed_payment_data(data: &PaymentData, keys: &Keys) -> Result<Vec<u8>, StoreUnavailable> {
    keys.seal(text("payment data", data.values())?.into_bytes())
}

/// By what a session is found that was opened with a reference.
pub(super) fn reference_tag(session: &Session, keys: &Keys) -> Result<Option<Vec<u8>>, StoreUnavailable> {
    let reference = session.payment_data.reference();
    reference.map(|reference| keys.reference_tag(&session.account, reference)).transpose()
}

/// The attempt that a change touches: the one that its events name. A transition touches at most one.
pub(super) fn changed_attempt(change: &Change) -> Result<Option<&Attempt>, StoreUnavailable> {
    let mut named: Option<AttemptNo> = None;
    for no in change.events.iter().filter_map(|event| event.kind.changed_attempt()) {
        if named.is_some_and(|named| named != no) {
            return Err(StoreUnavailable("a change names two attempts".to_owned()));
        }
        named = Some(no);
    }
    let Some(no) = named else { return Ok(None) };
    let attempt = change.after.attempts.iter().find(|attempt| attempt.no == no);
    attempt
        .map(Some)
        .ok_or_else(|| StoreUnavailable("a change names an attempt that is not there".to_owned()))
}

/// An operation that a change touches, as it is stored.
pub(super) struct OperationColumns {
    pub(super) attempt: AttemptNo,
    pub(super) no: OperationNo,
    pub(super) id: Uuid,
    pub(super) kind: String,
    pub(super) amount_minor: i64,
    pub(super) currency: &'static str,
    pub(super) intended_on: i64,
    pub(super) updated_on: i64,
    pub(super) state: String,
    pub(super) awaited: bool,
}

/// The operations that a change touches: those that its events name, each once, as they are after it.
pub(super) fn changed_operations(change: &Change) -> Result<Vec<OperationColumns>, StoreUnavailable> {
    let mut named: Vec<_> = change.events.iter().filter_map(|event| event.kind.changed_operation()).collect();
    named.sort_unstable();
    named.dedup();
    let columns = named.into_iter().map(|(of, no)| {
        let attempt = change.after.attempts.iter().find(|attempt| attempt.no == of);
        let operation = attempt.and_then(|attempt| Some((attempt, attempt.operation(no)?)));
        let (attempt, operation) = operation
            .ok_or_else(|| StoreUnavailable("a change names an operation that is not there".to_owned()))?;
        Ok(OperationColumns {
            attempt: of,
            no,
            id: operation.id.0,
            kind: text("an operation", &operation.kind)?,
            amount_minor: operation.amount.minor(),
            currency: operation.amount.currency().code(),
            intended_on: operation.intended_on.as_micros(),
            updated_on: operation.updated_on.as_micros(),
            state: text("an operation", &operation.state)?,
            awaited: attempt.awaits(operation),
        })
    });
    columns.collect()
}

/// How the row of a changed attempt is written.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Rewrite {
    /// It has had no answer before this change.
    First,
    /// It may have had one, of which nothing must stay.
    Again,
}

impl Rewrite {
    /// What an attempt needs. An answer that came by asking again may follow another.
    pub(super) fn of(attempt: &Attempt) -> Self {
        match &attempt.state {
            AttemptState::Answered { resolved: true, .. } | AttemptState::NotCharged { .. } => Self::Again,
            AttemptState::Answered { resolved: false, .. }
            | AttemptState::Intent
            | AttemptState::Challenged { .. }
            | AttemptState::Confirming { .. }
            | AttemptState::NotSent { .. }
            | AttemptState::Unknown { .. } => Self::First,
        }
    }
}

/// The purpose as it is stored.
pub(super) fn purpose_word(purpose: Purpose) -> &'static str {
    match purpose {
        Purpose::Sale => "sale",
        Purpose::Authorise => "authorise",
        Purpose::Tokenise => "tokenise",
    }
}

/// A settlement as it is read.
#[derive(FromRow)]
pub(super) struct SettlementRow {
    attempt: Uuid,
    charged: bool,
    reference: String,
    settled_on: i64,
}

impl SettlementRow {
    pub(super) fn read(self) -> Settlement {
        Settlement {
            attempt: AttemptId(self.attempt),
            charged: self.charged,
            reference: self.reference,
            settled_on: Timestamp::from_micros(self.settled_on),
        }
    }
}

/// A stored card of an account, as it is read.
#[derive(FromRow)]
pub(super) struct KeptCardRow {
    gateway: String,
    network_transaction_id: Option<String>,
}

impl KeptCardRow {
    /// The first of these that is at one of these gateways.
    pub(super) fn among(rows: Vec<Self>, gateways: &[GatewayName], token: TokenHash) -> Option<KeptCard> {
        rows.into_iter().find_map(|Self { gateway, network_transaction_id }| {
            let gateway = gateways.iter().find(|known| known.as_str() == gateway)?.clone();
            Some(KeptCard { gateway, token, network_transaction_id })
        })
    }
}

/// An event's kind as it is stored.
pub(super) fn event_kind_text(kind: &EventKind) -> Result<String, StoreUnavailable> {
    text("an event", kind)
}

/// Reads stored JSON. `what` names it in the error.
pub(super) fn json<T: DeserializeOwned>(what: &str, bytes: &[u8]) -> Result<T, StoreUnavailable> {
    // serde's own text may quote the value: only its place is told.
    serde_json::from_slice(bytes).map_err(|error| {
        StoreUnavailable(format!("{what} cannot be read (line {}, column {})", error.line(), error.column()))
    })
}

#[derive(Deserialize)]
struct AttemptRow {
    id: Uuid,
    no: AttemptNo,
    amount_minor: i64,
    currency: String,
    purpose: Purpose,
    gateway: GatewayName,
    intended_on: Timestamp,
    updated_on: Timestamp,
    /// JSON within JSON: no engine looks into it.
    state: String,
    /// A [`StoredAnswer`], sealed, in hexadecimal digits.
    held: Option<String>,
    operations: Vec<OperationRow>,
}

#[derive(Deserialize)]
struct OperationRow {
    id: Uuid,
    no: OperationNo,
    kind: String,
    amount_minor: i64,
    currency: String,
    intended_on: Timestamp,
    updated_on: Timestamp,
    state: String,
}

impl OperationRow {
    fn read(self) -> Result<Operation, StoreUnavailable> {
        Ok(Operation {
            id: OperationId(self.id),
            no: self.no,
            kind: json("an operation", self.kind.as_bytes())?,
            amount: money(self.amount_minor, &self.currency)?,
            state: json("an operation", self.state.as_bytes())?,
            intended_on: self.intended_on,
            updated_on: self.updated_on,
        })
    }
}

impl AttemptRow {
    fn read(self, keys: &Keys) -> Result<Attempt, StoreUnavailable> {
        let mut state = json("an attempt", self.state.as_bytes())?;
        let held = self.held.as_deref().map(bytes_of).transpose()?;
        let held = held.and_then(|held| keys.open_sealed(&held));
        if let (AttemptState::Answered { answer, .. }, Some(held)) = (&mut state, held) {
            let held: StoredAnswer = json("a gateway's result", &held)?;
            answer.result = held.result;
            answer.card = held.card;
            answer.stored = held.stored;
        }
        let mut operations =
            self.operations.into_iter().map(OperationRow::read).collect::<Result<Vec<_>, _>>()?;
        operations.sort_by_key(|operation| operation.no);
        Ok(Attempt {
            id: AttemptId(self.id),
            no: self.no,
            amount: money(self.amount_minor, &self.currency)?,
            purpose: self.purpose,
            gateway: self.gateway,
            intended_on: self.intended_on,
            updated_on: self.updated_on,
            state,
            operations,
        })
    }
}

fn ending_word(ending: Ending) -> &'static str {
    match ending {
        Ending::Finished(Outcome::Approved) => "approved",
        Ending::Finished(Outcome::Declined) => "declined",
        Ending::Finished(Outcome::Review) => "review",
        Ending::Finished(Outcome::Cancelled) => "cancelled",
        Ending::Finished(Outcome::Unknown) => "unknown",
        Ending::Finished(Outcome::None) => "none",
        Ending::Error => "error",
        Ending::TimeOut => "time_out",
        Ending::ExpiredOnProviderSide => "expired",
    }
}

fn read_state(
    state: &str,
    attempt: Option<u16>,
    ended: Option<(i64, i64)>,
    ending: Option<&str>,
) -> Result<SessionState, StoreUnavailable> {
    match (state, attempt, ended, ending) {
        ("created", None, None, None) => Ok(SessionState::Created),
        ("in_progress", None, None, None) => Ok(SessionState::InProgress),
        ("processing", Some(no), None, None) => Ok(SessionState::Processing { attempt: AttemptNo(no) }),
        ("ended", None, Some((at, kept_until)), Some(word)) => Ok(SessionState::Ended {
            at: Timestamp::from_micros(at),
            ending: read_ending(word)?,
            kept_until: Timestamp::from_micros(kept_until),
        }),
        _ => Err(unreadable("a session's state")),
    }
}

fn read_ending(word: &str) -> Result<Ending, StoreUnavailable> {
    Ok(match word {
        "approved" => Ending::Finished(Outcome::Approved),
        "declined" => Ending::Finished(Outcome::Declined),
        "review" => Ending::Finished(Outcome::Review),
        "cancelled" => Ending::Finished(Outcome::Cancelled),
        "unknown" => Ending::Finished(Outcome::Unknown),
        "none" => Ending::Finished(Outcome::None),
        "error" => Ending::Error,
        "time_out" => Ending::TimeOut,
        "expired" => Ending::ExpiredOnProviderSide,
        _ => return Err(unreadable("a session's ending")),
    })
}

fn money(minor: i64, currency: &str) -> Result<Money, StoreUnavailable> {
    let currency = Currency::from_code(currency).map_err(|_| unreadable("a currency"))?;
    Money::from_minor(minor, currency).map_err(|_| unreadable("an amount"))
}

/// A stored number in the width that it has here.
pub(super) fn number<T: TryFrom<i64>>(what: &str, stored: i64) -> Result<T, StoreUnavailable> {
    T::try_from(stored).map_err(|_| unreadable(what))
}

/// Byte strings as a JSON list of hexadecimal digits, for SQLite, which has no lists.
pub(super) fn hex_list<B: AsRef<[u8]>>(list: &[B]) -> String {
    let items: Vec<String> = list.iter().map(|bytes| format!("\"{}\"", hex(bytes.as_ref()))).collect();
    format!("[{}]", items.join(","))
}

/// The bytes of hexadecimal digits.
pub(super) fn bytes_of(digits: &str) -> Result<Vec<u8>, StoreUnavailable> {
    let digit = |ascii: u8| char::from(ascii).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
    let (pairs, rest) = digits.as_bytes().as_chunks::<2>();
    let bytes: Option<Vec<u8>> =
        pairs.iter().map(|[high, low]| Some(digit(*high)? << 4 | digit(*low)?)).collect();
    bytes.filter(|_| rest.is_empty()).ok_or_else(|| unreadable("a gateway's result"))
}

/// As JSON. `what` names it in the error.
pub(super) fn text<T: Serialize>(what: &str, value: &T) -> Result<String, StoreUnavailable> {
    serde_json::to_string(value).map_err(|error| StoreUnavailable(format!("{what}: {error}")))
}

pub(super) fn unreadable(what: &str) -> StoreUnavailable {
    StoreUnavailable(format!("{what} cannot be read: it was changed by another program"))
}
