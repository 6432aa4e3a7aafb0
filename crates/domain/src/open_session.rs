//! The steps of `POST /v1/session`, in their order:
//! configuration, the agent's live call, session stored, provider session launched, call secured.
//! Those of `POST /v1/digitalsession` are the same without a call: the payer gets a link.
//! `POST /v1/charge` opens a session too, in which nothing is keyed: [`open_charge`].

use std::collections::BTreeMap;
use std::sync::Arc;

use thiserror::Error;

use crate::account::{Account, AccountConfiguration, Directory, Kind};
use crate::attempt::StoredCard;
use crate::change::Change;
use crate::client::Principal;
use crate::field_map::DataFormat;
use crate::ids::{AgentId, CallGuid, ConfigurationId, ProviderSessionGuid, SessionGuid};
use crate::link::PaymentLinkUrl;
use crate::message::{EmailAddress, PhoneNumber};
use crate::payment_data::{PaymentData, PaymentDataError};
use crate::ports::{
    Calls, CommitError, Launch, LaunchError, NoLiveCall, NotItsCard, SecureSide, Sessions, StoreUnavailable,
    StoredCards, World,
};
use crate::session::{NewSession, Session};

/// The name in `paymentData` of the phone number that a link is sent to (E.164).
pub const PHONE_NUMBER: &str = "CustomerPhoneNumber";
/// The name of the e-mail address that a link is sent to.
pub const EMAIL: &str = "Email";

/// What the caller asks for, as it came.
#[derive(Clone, Debug)]
pub struct OpenRequest {
    /// The guid that the session will have: new, and known before anything is stored.
    pub session: SessionGuid,
    /// `agentId`; for an agent assist session needed unless the principal is bound to an agent.
    pub agent: Option<AgentId>,
    /// `accountConfigurationId`; else the account's default.
    pub configuration: Option<ConfigurationId>,
    /// `paymentData`.
    pub payment_data: BTreeMap<String, String>,
    /// `skipCallTransfer`: no call, keys from the test keypad.
    pub skip_call_transfer: bool,
}

/// A session whose call is ready for capture, or whose link can be opened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Opened {
    /// `sessionGuid`.
    pub session: SessionGuid,
    /// `providerSessionGuid`.
    pub provider: ProviderSessionGuid,
    /// `callGuid`; `None` with the test keypad, and by a payment link.
    pub call: Option<CallGuid>,
    /// `paymentLinkUrl` of a digital session.
    pub link: Option<PaymentLinkUrl>,
}

/// The doors that the steps go through.
#[derive(Clone, Copy)]
#[expect(missing_docs, reason = "the fields are the ports")]
pub struct Doors<'a> {
    pub directory: &'a Directory,
    pub sessions: &'a dyn Sessions,
    pub calls: &'a dyn Calls,
    pub secure_side: &'a dyn SecureSide,
    pub world: &'a dyn World,
}

/// Why no session was opened. Nothing is left behind.
#[derive(Debug, Error)]
pub enum OpenError {
    /// The caller's mistakes in `paymentData`.
    #[error("paymentData is not valid")]
    PaymentData(Vec<PaymentDataError>),
    /// A back end must say which agent.
    #[error("agentId is missing: a back-end token must name the agent")]
    AgentMissing,
    /// The token is another agent's.
    #[error("the token belongs to another agent")]
    OtherAgent,
    /// The account has no such agent.
    #[error("the account has no such agent")]
    AgentUnknown,
    /// The published text.
    #[error("Account configuration does not exists for account: {account}, configuration Id: {id}")]
    NoConfiguration {
        /// The account.
        account: String,
        /// The number asked for.
        id: ConfigurationId,
    },
    /// The configuration is for the other kind of session.
    #[error("account configuration {id} is not one for {}", named(*.wanted))]
    WrongKind {
        /// The number asked for.
        id: ConfigurationId,
        /// The kind that it would have to be.
        wanted: Kind,
    },
    /// `skipCallTransfer` where it is not allowed.
    #[error("skipCallTransfer is allowed only on configurations marked as test")]
    NotATestConfiguration,
    /// No call, or too many.
    #[error(transparent)]
    NoLiveCall(#[from] NoLiveCall),
    /// The call has a session.
    #[error("the call already has an open session")]
    CallTaken,
    /// The account has no such stored card. Nothing is said of other accounts.
    #[error("the account has no such stored card")]
    NoSuchCard,
    /// The secure side did not start.
    #[error(transparent)]
    Launch(LaunchError),
    /// Nothing can be written now.
    #[error(transparent)]
    Store(#[from] StoreUnavailable),
}

/// Opens an agent assist session for `principal`.
///
/// # Errors
/// [`OpenError`]; the steps that were done are undone.
pub async fn open_session(
    doors: Doors<'_>,
    principal: &Principal,
    request: OpenRequest,
) -> Result<Opened, OpenError> {
    let agent = agent_of(principal, request.agent)?;
    let account = doors.directory.account(&principal.account);
    let configuration = configuration_of(account, principal, request.configuration);
    let payment_data = payment_data(request.payment_data, configuration.as_ref().ok().copied())?;
    let configuration = of_kind(configuration?, Kind::AgentAssist)?;
    if !account.is_some_and(|account| account.knows(&agent)) {
        return Err(OpenError::AgentUnknown);
    }
    if request.skip_call_transfer && !configuration.test {
        return Err(OpenError::NotATestConfiguration);
    }
    let call = if request.skip_call_transfer {
        None
    } else {
        Some(doors.calls.live_call(&principal.account, &agent)?)
    };
    let new = NewSession {
        guid: request.session,
        provider: ProviderSessionGuid(doors.world.guid()),
        account: principal.account.clone(),
        configuration: configuration.id,
        agent,
        call,
        payment_data,
        webhook: configuration.webhook,
    };
    store_and_launch(doors, Session::open(new, doors.world.now()), configuration).await
}

/// Opens a digital session for `principal`: its payer gets a link. `agentId` only says who created it; without one,
/// the API client did.
///
/// # Errors
/// [`OpenError`]; the steps that were done are undone.
pub async fn open_digital_session(
    doors: Doors<'_>,
    principal: &Principal,
    request: OpenRequest,
) -> Result<Opened, OpenError> {
    let agent = match agent_of(principal, request.agent) {
        Err(OpenError::AgentMissing) => AgentId(principal.client.to_string()),
        agent => agent?,
    };
    let account = doors.directory.account(&principal.account);
    let configuration = configuration_of(account, principal, request.configuration);
    let mut contacts = contact_mistakes(&request.payment_data);
    let payment_data = payment_data(request.payment_data, configuration.as_ref().ok().copied());
    let payment_data = match payment_data {
        Ok(data) if contacts.is_empty() => data,
        Ok(_) => return Err(OpenError::PaymentData(contacts)),
        Err(OpenError::PaymentData(mistakes)) => {
            contacts.retain(|contact| mistakes.iter().all(|known| known.name() != contact.name()));
            return Err(OpenError::PaymentData(mistakes.into_iter().chain(contacts).collect()));
        }
        Err(other) => return Err(other),
    };
    let configuration = of_kind(configuration?, Kind::Digital)?;
    let new = NewSession {
        guid: request.session,
        provider: ProviderSessionGuid(doors.world.guid()),
        account: principal.account.clone(),
        configuration: configuration.id,
        agent,
        call: None,
        payment_data,
        webhook: configuration.webhook,
    };
    let now = doors.world.now();
    let opening = Session::open_by_link(new, now.plus(configuration.link_life), now);
    store_and_launch(doors, opening, configuration).await
}

async fn store_and_launch(
    doors: Doors<'_>,
    opening: Change,
    configuration: &Arc<AccountConfiguration>,
) -> Result<Opened, OpenError> {
    let session = opening.after.clone();
    doors.sessions.commit(opening).await.map_err(|error| match error {
        CommitError::CallTaken => OpenError::CallTaken,
        CommitError::Unavailable(unavailable) => OpenError::Store(unavailable),
        CommitError::Conflict | CommitError::Fenced => OpenError::Store(StoreUnavailable(error.to_string())),
    })?;
    let opened = Opened {
        session: session.guid,
        provider: session.provider,
        call: session.call,
        link: doors.secure_side.payment_link(&session),
    };
    let launch = Launch { session: session.clone(), configuration: Arc::clone(configuration) };
    match doors.secure_side.launch(launch).await {
        Ok(()) => Ok(opened),
        Err(error) => {
            undo(doors, session).await;
            Err(match error {
                LaunchError::CallGone => OpenError::NoLiveCall(NoLiveCall::None),
                other => OpenError::Launch(other),
            })
        }
    }
}

fn of_kind(
    configuration: &Arc<AccountConfiguration>,
    wanted: Kind,
) -> Result<&Arc<AccountConfiguration>, OpenError> {
    let id = configuration.id;
    if configuration.kind == wanted { Ok(configuration) } else { Err(OpenError::WrongKind { id, wanted }) }
}

fn named(kind: Kind) -> &'static str {
    match kind {
        Kind::AgentAssist => "agent assist: POST /v1/digitalsession opens its sessions",
        Kind::Digital => "digital sessions: name one that is by accountConfigurationId",
    }
}

/// What a link could not be sent to.
fn contact_mistakes(values: &BTreeMap<String, String>) -> Vec<PaymentDataError> {
    type IsGood = fn(&str) -> bool;
    let is_phone: IsGood = |text| PhoneNumber::parse(text).is_some();
    let is_email: IsGood = |text| EmailAddress::parse(text).is_some();
    let contacts = [(PHONE_NUMBER, is_phone, DataFormat::Phone), (EMAIL, is_email, DataFormat::Email)];
    let wrong = contacts.into_iter().filter_map(|(wanted, is_good, format)| {
        let (name, value) = values.iter().find(|(name, _)| name.eq_ignore_ascii_case(wanted))?;
        let mistaken = !value.is_empty() && !is_good(value);
        mistaken.then(|| PaymentDataError::Format(name.clone(), format.wanted()))
    });
    wrong.collect()
}

/// What a session without a call and without keys is opened with.
#[derive(Clone, Debug)]
pub struct ChargeRequest {
    /// The guid that the session will have.
    pub session: SessionGuid,
    /// `agentId`; without one, and where the token is no agent's, the API client stands in its place.
    pub agent: Option<AgentId>,
    /// `accountConfigurationId`; else the account's default.
    pub configuration: Option<ConfigurationId>,
    /// What is to be charged.
    pub card: StoredCard,
    /// `paymentData`.
    pub payment_data: BTreeMap<String, String>,
}

/// The doors that a charge goes through.
#[derive(Clone, Copy)]
#[expect(missing_docs, reason = "the fields are the ports")]
pub struct ChargeDoors<'a> {
    pub directory: &'a Directory,
    pub sessions: &'a dyn Sessions,
    pub stored_cards: &'a dyn StoredCards,
    pub world: &'a dyn World,
}

/// Opens a session that is paid with a stored card, and gives the card with all that is known of it. It has no call and no
/// secure side.
///
/// # Errors
/// [`OpenError`]; nothing is stored.
pub async fn open_charge(
    doors: ChargeDoors<'_>,
    principal: &Principal,
    request: ChargeRequest,
) -> Result<(Session, StoredCard), OpenError> {
    let ChargeDoors { directory, sessions, stored_cards, world } = doors;
    let named = request.agent.is_some() || principal.agent.is_some();
    let agent = if named {
        agent_of(principal, request.agent)?
    } else {
        AgentId(principal.client.as_str().to_owned())
    };
    let account = directory.account(&principal.account);
    let configuration = configuration_of(account, principal, request.configuration);
    let payment_data = payment_data(request.payment_data, configuration.as_ref().ok().copied())?;
    let configuration = configuration?;
    if named && !account.is_some_and(|account| account.knows(&agent)) {
        return Err(OpenError::AgentUnknown);
    }
    let own = stored_cards.own(&principal.account, &configuration.gateway, request.card);
    let card = own.await.map_err(|error| match error {
        NotItsCard::NotThere => OpenError::NoSuchCard,
        NotItsCard::Store(unavailable) => OpenError::Store(unavailable),
    })?;
    let change = Session::open(
        NewSession {
            guid: request.session,
            provider: ProviderSessionGuid(world.guid()),
            account: principal.account.clone(),
            configuration: configuration.id,
            agent,
            call: None,
            payment_data,
            webhook: configuration.webhook,
        },
        world.now(),
    );
    let session = change.after.clone();
    match sessions.commit(change).await {
        Ok(()) => Ok((session, card)),
        Err(CommitError::Unavailable(unavailable)) => Err(OpenError::Store(unavailable)),
        Err(error @ (CommitError::Conflict | CommitError::CallTaken | CommitError::Fenced)) => {
            Err(OpenError::Store(StoreUnavailable(error.to_string())))
        }
    }
}

/// All mistakes at once: those that any flow would find, and those of this one.
fn payment_data(
    values: BTreeMap<String, String>,
    configuration: Option<&Arc<AccountConfiguration>>,
) -> Result<PaymentData, OpenError> {
    let of_the_flow = configuration.map(|found| found.flow.data.check(&values)).unwrap_or_default();
    match PaymentData::new(values) {
        Ok(data) if of_the_flow.is_empty() => Ok(data),
        Ok(_) => Err(OpenError::PaymentData(of_the_flow)),
        Err(mut mistakes) => {
            let known = |mistake: &PaymentDataError| mistakes.iter().any(|one| one.name() == mistake.name());
            let more: Vec<_> = of_the_flow.into_iter().filter(|mistake| !known(mistake)).collect();
            mistakes.extend(more);
            Err(OpenError::PaymentData(mistakes))
        }
    }
}

fn agent_of(principal: &Principal, asked: Option<AgentId>) -> Result<AgentId, OpenError> {
    match (&principal.agent, asked) {
        (None, None) => Err(OpenError::AgentMissing),
        (None, Some(agent)) => Ok(agent),
        (Some(own), None) => Ok(own.clone()),
        (Some(own), Some(agent)) if *own == agent => Ok(agent),
        (Some(_), Some(_)) => Err(OpenError::OtherAgent),
    }
}

fn configuration_of<'a>(
    account: Option<&'a Account>,
    principal: &Principal,
    asked: Option<ConfigurationId>,
) -> Result<&'a Arc<AccountConfiguration>, OpenError> {
    let id = asked.or(account.map(|account| account.default_configuration)).unwrap_or(ConfigurationId(0));
    account
        .and_then(|account| account.configuration(id))
        .ok_or_else(|| OpenError::NoConfiguration { account: principal.account.to_string(), id })
}

/// The session row stays, ended, so that its guid and the reason can be found.
async fn undo(doors: Doors<'_>, session: Session) {
    if let Ok(change) = session.fail(doors.world.now()) {
        // When even this cannot be written, recovery at the next start ends the session.
        let _ = doors.sessions.commit(change).await;
    }
}
