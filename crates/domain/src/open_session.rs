//! The steps of `POST /v1/session`, in their order:
//! configuration, the agent's live call, session stored, provider session launched, call secured.
//! `POST /v1/charge` opens a session too, in which nothing is keyed: [`open_charge`].

use std::collections::BTreeMap;

use thiserror::Error;

use crate::account::{Account, AccountConfiguration, Directory};
use crate::client::Principal;
use crate::ids::{AgentId, CallGuid, ConfigurationId, ProviderSessionGuid, SessionGuid};
use crate::payment_data::{PaymentData, PaymentDataError};
use crate::ports::{
    Calls, CommitError, Launch, LaunchError, NoLiveCall, SecureSide, Sessions, StoreUnavailable, World,
};
use crate::session::{NewSession, Session};

/// What the caller asks for, as it came.
#[derive(Clone, Debug)]
pub struct OpenRequest {
    /// The guid that the session will have: new, and known before anything is stored.
    pub session: SessionGuid,
    /// `agentId`; needed unless the principal is bound to an agent.
    pub agent: Option<AgentId>,
    /// `accountConfigurationId`; else the account's default.
    pub configuration: Option<ConfigurationId>,
    /// `paymentData`.
    pub payment_data: BTreeMap<String, String>,
    /// `skipCallTransfer`: no call, keys from the test keypad.
    pub skip_call_transfer: bool,
}

/// A session whose call is ready for capture.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Opened {
    /// `sessionGuid`.
    pub session: SessionGuid,
    /// `providerSessionGuid`.
    pub provider: ProviderSessionGuid,
    /// `callGuid`; `None` with the test keypad.
    pub call: Option<CallGuid>,
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
    /// `skipCallTransfer` where it is not allowed.
    #[error("skipCallTransfer is allowed only on configurations marked as test")]
    NotATestConfiguration,
    /// No call, or too many.
    #[error(transparent)]
    NoLiveCall(#[from] NoLiveCall),
    /// The call has a session.
    #[error("the call already has an open session")]
    CallTaken,
    /// The secure side did not start.
    #[error(transparent)]
    Launch(LaunchError),
    /// Nothing can be written now.
    #[error(transparent)]
    Store(#[from] StoreUnavailable),
}

/// Opens a session for `principal`.
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
    let configuration = configuration?;
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
    let change = Session::open(
        NewSession {
            guid: request.session,
            provider: ProviderSessionGuid(doors.world.guid()),
            account: principal.account.clone(),
            configuration: configuration.id,
            agent,
            call,
            payment_data,
            webhook: configuration.webhook,
        },
        doors.world.now(),
    );
    let session = change.after.clone();
    doors.sessions.commit(change).await.map_err(|error| match error {
        CommitError::CallTaken => OpenError::CallTaken,
        CommitError::Unavailable(unavailable) => OpenError::Store(unavailable),
        CommitError::Conflict | CommitError::Fenced => OpenError::Store(StoreUnavailable(error.to_string())),
    })?;
    let opened = Opened { session: session.guid, provider: session.provider, call };
    let launch = Launch { session: session.clone(), configuration: configuration.clone() };
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

/// What a session without a call and without keys is opened with.
#[derive(Clone, Debug)]
pub struct ChargeRequest {
    /// The guid that the session will have.
    pub session: SessionGuid,
    /// `agentId`; without one, and where the token is no agent's, the API client stands in its place.
    pub agent: Option<AgentId>,
    /// `accountConfigurationId`; else the account's default.
    pub configuration: Option<ConfigurationId>,
    /// `paymentData`.
    pub payment_data: BTreeMap<String, String>,
}

/// Opens a session that is paid with a stored card. It has no call and no secure side.
///
/// # Errors
/// [`OpenError`]; nothing is stored.
pub async fn open_charge(
    doors: (&Directory, &dyn Sessions, &dyn World),
    principal: &Principal,
    request: ChargeRequest,
) -> Result<Session, OpenError> {
    let (directory, sessions, world) = doors;
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
        Ok(()) => Ok(session),
        Err(CommitError::Unavailable(unavailable)) => Err(OpenError::Store(unavailable)),
        Err(error @ (CommitError::Conflict | CommitError::CallTaken | CommitError::Fenced)) => {
            Err(OpenError::Store(StoreUnavailable(error.to_string())))
        }
    }
}

/// All mistakes at once: those that any flow would find, and those of this one.
fn payment_data(
    values: BTreeMap<String, String>,
    configuration: Option<&AccountConfiguration>,
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
) -> Result<&'a AccountConfiguration, OpenError> {
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
