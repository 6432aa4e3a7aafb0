//! Fakes of the ports, all in memory.

use std::collections::{BTreeMap, HashMap};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use futures_util::stream;
use hushpad_domain::change::Change;
use hushpad_domain::client::ApiClient;
use hushpad_domain::credentials::{AgentLogin, ClientProof, SigningKeyNumber, Spent};
use hushpad_domain::event::Event;
use hushpad_domain::ids::{AccountId, AgentId, CallGuid, ClientId, ProviderSessionGuid, SessionGuid};
use hushpad_domain::link::{LINK_LIFE_MAX, LinkState, PaymentLinkUrl};
use hushpad_domain::listing::{Place, SessionQuery};
use hushpad_domain::page::{AgentAction, EndView, LinkView, PageState, Phase};
use hushpad_domain::ports::{
    ActError, BindError, Calls, ChangeSigns, Changes, Clients, CommitError, Credentials, Launch, LaunchError,
    LinkCode, LiveCall, NoLiveCall, PageStream, SecureSide, Sessions, StoreUnavailable, World,
};
use hushpad_domain::session::Session;
use hushpad_domain::time::Timestamp;
use hushpad_web::Observer;
use tokio::sync::watch;
use uuid::Uuid;

use super::page_state;

/// Sessions in a map, with the version check and the one-session-per-call rule of the real store.
#[derive(Default)]
pub(crate) struct FakeStore {
    sessions: Mutex<HashMap<SessionGuid, (Session, Vec<Event>)>>,
    broken: Mutex<bool>,
    commits: watch::Sender<()>,
}

impl FakeStore {
    pub(crate) fn break_down(&self) {
        *self.broken.lock().unwrap() = true;
    }

    pub(crate) fn all(&self) -> Vec<Session> {
        self.sessions.lock().unwrap().values().map(|(session, _)| session.clone()).collect()
    }

    fn works(&self) -> Result<(), StoreUnavailable> {
        let broken = *self.broken.lock().unwrap();
        if broken { Err(StoreUnavailable("disk full at /var/lib/secret-path".to_owned())) } else { Ok(()) }
    }
}

#[async_trait]
impl Sessions for FakeStore {
    async fn commit(&self, change: Change) -> Result<(), CommitError> {
        self.works()?;
        let mut sessions = self.sessions.lock().unwrap();
        let stored = sessions.get(&change.after.guid).map(|(session, _)| session.version);
        if stored != change.before {
            return Err(CommitError::Conflict);
        }
        let call = change.after.call;
        let taken =
            |other: &Session| other.call == call && other.guid != change.after.guid && !other.has_ended();
        if call.is_some() && sessions.values().any(|(other, _)| taken(other)) {
            return Err(CommitError::CallTaken);
        }
        let entry = sessions.entry(change.after.guid).or_insert_with(|| (change.after.clone(), Vec::new()));
        entry.0 = change.after;
        entry.1.extend(change.events);
        self.commits.send_replace(());
        Ok(())
    }

    async fn session(
        &self,
        account: &AccountId,
        guid: SessionGuid,
    ) -> Result<Option<Session>, StoreUnavailable> {
        self.works()?;
        let sessions = self.sessions.lock().unwrap();
        Ok(sessions.get(&guid).map(|(session, _)| session.clone()).filter(|found| found.account == *account))
    }

    async fn provider_session(&self, guid: ProviderSessionGuid) -> Result<Option<Session>, StoreUnavailable> {
        self.works()?;
        Ok(self.all().into_iter().find(|session| session.provider == guid))
    }

    async fn unsettled(&self, _: Timestamp) -> Result<Vec<Session>, StoreUnavailable> {
        Ok(Vec::new())
    }

    async fn unfinished(&self) -> Result<Vec<Session>, StoreUnavailable> {
        Ok(self.all().into_iter().filter(|session| !session.has_ended()).collect())
    }

    async fn events(
        &self,
        account: &AccountId,
        guid: SessionGuid,
        after: u32,
    ) -> Result<Vec<Event>, StoreUnavailable> {
        self.works()?;
        let sessions = self.sessions.lock().unwrap();
        let found = sessions.get(&guid).filter(|(session, _)| session.account == *account);
        let events = found.map(|(_, events)| events.clone()).unwrap_or_default();
        Ok(events.into_iter().filter(|event| event.seq > after).collect())
    }

    async fn list(
        &self,
        account: &AccountId,
        query: &SessionQuery,
    ) -> Result<Vec<Session>, StoreUnavailable> {
        self.works()?;
        let mut all = self.all();
        all.retain(|session| {
            session.account == *account
                && query.agent.as_ref().is_none_or(|agent| *agent == session.agent)
                && query.call.is_none_or(|call| session.call == Some(call))
                && query.state.is_none_or(|state| state.name() == session.state_name())
                && query.outcome.is_none_or(|outcome| outcome == session.outcome())
                && query.from.is_none_or(|from| session.created_on >= from)
                && query.until.is_none_or(|until| session.created_on < until)
                && query.after.is_none_or(|after| Place::of(session) < after)
                && query.reference.as_deref().is_none_or(|reference| {
                    session.payment_data.reference() == Some(reference) && session.result_is_kept(query.now)
                })
        });
        all.sort_by_key(|session| std::cmp::Reverse(Place::of(session)));
        all.truncate(query.limit as usize);
        Ok(all)
    }

    async fn purge(&self, _: Timestamp) -> Result<u64, StoreUnavailable> {
        Ok(0)
    }
}

impl Changes for FakeStore {
    fn signs(&self, _: SessionGuid) -> ChangeSigns {
        Box::pin(stream::unfold(self.commits.subscribe(), async |mut commits| {
            commits.changed().await.ok()?;
            Some(((), commits))
        }))
    }
}

#[derive(Default)]
pub(crate) struct FakeClients(
    Mutex<BTreeMap<ClientId, ApiClient>>,
    Mutex<Vec<[u8; 32]>>,
    Mutex<Vec<SigningKeyNumber>>,
    Mutex<BTreeMap<(AccountId, AgentId), AgentLogin>>,
);

#[async_trait]
impl Credentials for FakeClients {
    async fn prove(&self, proof: ClientProof) -> Result<bool, StoreUnavailable> {
        let mut clients = self.0.lock().unwrap();
        let (ClientProof::NewSecret(id, _)
        | ClientProof::DropOldSecret(id)
        | ClientProof::PublicKey(id, _)
        | ClientProof::Certificate(id, _)) = &proof;
        let Some(client) = clients.get_mut(id) else { return Ok(false) };
        match proof {
            ClientProof::NewSecret(_, hash) => {
                client.old_secret_hash = Some(std::mem::replace(&mut client.secret_hash, hash));
            }
            ClientProof::DropOldSecret(_) => client.old_secret_hash = None,
            ClientProof::PublicKey(_, key) => client.public_key = key,
            ClientProof::Certificate(_, certificate) => client.certificate = certificate,
        }
        Ok(true)
    }

    async fn spend(&self, spent: Spent) -> Result<bool, StoreUnavailable> {
        let mut all = self.1.lock().unwrap();
        let new = !all.contains(&spent.hash);
        all.push(spent.hash);
        Ok(new)
    }

    async fn is_spent(&self, hash: [u8; 32]) -> Result<bool, StoreUnavailable> {
        Ok(self.1.lock().unwrap().contains(&hash))
    }

    async fn signing_keys(&self) -> Result<Vec<SigningKeyNumber>, StoreUnavailable> {
        Ok(self.2.lock().unwrap().clone())
    }

    async fn add_signing_key(&self, key: SigningKeyNumber) -> Result<bool, StoreUnavailable> {
        self.2.lock().unwrap().push(key);
        Ok(true)
    }

    async fn put_login(&self, login: AgentLogin) -> Result<(), StoreUnavailable> {
        self.3.lock().unwrap().insert((login.account.clone(), login.agent.clone()), login);
        Ok(())
    }

    async fn login(
        &self,
        account: &AccountId,
        agent: &AgentId,
    ) -> Result<Option<AgentLogin>, StoreUnavailable> {
        Ok(self.3.lock().unwrap().get(&(account.clone(), agent.clone())).cloned())
    }

    async fn logins(&self) -> Result<Vec<AgentLogin>, StoreUnavailable> {
        Ok(self.3.lock().unwrap().values().cloned().collect())
    }
}

impl FakeClients {
    pub(crate) fn put(&self, client: ApiClient) {
        self.0.lock().unwrap().insert(client.id.clone(), client);
    }
}

#[async_trait]
impl Clients for FakeClients {
    async fn add(&self, client: ApiClient) -> Result<(), StoreUnavailable> {
        self.put(client);
        Ok(())
    }

    async fn list(&self) -> Result<Vec<ApiClient>, StoreUnavailable> {
        Ok(self.0.lock().unwrap().values().cloned().collect())
    }

    async fn revoke(&self, id: &ClientId, at: Timestamp) -> Result<bool, StoreUnavailable> {
        let mut clients = self.0.lock().unwrap();
        let client = clients.get_mut(id).filter(|client| client.revoked_on.is_none());
        Ok(client.map(|client| client.revoked_on = Some(at)).is_some())
    }

    async fn client(&self, id: &ClientId) -> Result<Option<ApiClient>, StoreUnavailable> {
        Ok(self.0.lock().unwrap().get(id).cloned())
    }
}

/// `busy` always has two calls; others have what they were given.
#[derive(Default)]
pub(crate) struct FakeCalls(
    Mutex<HashMap<(String, String), CallGuid>>,
    Mutex<Vec<(String, LiveCall)>>,
    Mutex<Vec<watch::Sender<Option<CallGuid>>>>,
);

impl FakeCalls {
    pub(crate) fn call_of(&self, account: &str, agent: &str) {
        let mut calls = self.0.lock().unwrap();
        let guid = CallGuid(Uuid::from_u128(0xca11 + calls.len() as u128));
        calls.insert((account.to_owned(), agent.to_owned()), guid);
    }

    /// The newest link code is keyed in this call.
    pub(crate) fn code_is_keyed_in(&self, guid: u128) {
        self.2.lock().unwrap().last().unwrap().send_replace(Some(CallGuid(Uuid::from_u128(guid))));
    }

    /// A call that is nobody's yet.
    pub(crate) fn trunk_call(&self, account: &str, guid: u128, answered: bool) {
        let guid = CallGuid(Uuid::from_u128(guid));
        let caller = answered.then(|| "+4930123".to_owned());
        let call = LiveCall { guid, agent: None, answered, since: Timestamp::from_micros(0), caller };
        self.1.lock().unwrap().push((account.to_owned(), call));
    }
}

#[async_trait]
impl Calls for FakeCalls {
    fn calls(&self, account: &AccountId) -> Vec<LiveCall> {
        let all = self.1.lock().unwrap();
        all.iter().filter(|(of, _)| *of == account.0).map(|(_, call)| call.clone()).collect()
    }

    async fn bind(
        &self,
        account: &AccountId,
        call: CallGuid,
        agent: &AgentId,
        only_if_free: bool,
    ) -> Result<(), BindError> {
        let mut all = self.1.lock().unwrap();
        let found = all.iter_mut().find(|(of, live)| *of == account.0 && live.guid == call);
        let (_, live) = found.ok_or(BindError::NoSuchCall)?;
        if !live.answered {
            return Err(BindError::NotAnswered);
        }
        if only_if_free && live.agent.as_ref().is_some_and(|has| has != agent) {
            return Err(BindError::OtherAgents);
        }
        live.agent = Some(agent.clone());
        Ok(())
    }

    fn link_code(&self, _: &AccountId, agent: &AgentId) -> Option<LinkCode> {
        if agent.as_str() == "busy" {
            return None;
        }
        let (told, mut linked) = watch::channel(None);
        let mut codes = self.2.lock().unwrap();
        let code = format!("*{:06}", 42 + codes.len());
        // The one before ends.
        if let Some(before) = codes.last_mut() {
            *before = watch::Sender::new(None);
        }
        codes.push(told);
        let linked =
            Box::pin(async move { linked.wait_for(Option::is_some).await.ok().and_then(|call| *call) });
        let expires_on = FakeWorld::default().now().plus(Duration::from_secs(300 * codes.len() as u64));
        Some(LinkCode { code, expires_on, linked })
    }

    fn live_call(&self, account: &AccountId, agent: &AgentId) -> Result<CallGuid, NoLiveCall> {
        if agent.as_str() == "busy" {
            return Err(NoLiveCall::Several);
        }
        let key = (account.0.clone(), agent.0.clone());
        self.0.lock().unwrap().get(&key).copied().ok_or(NoLiveCall::None)
    }
}

/// Keeps one page per launched session, and what was asked of it.
pub(crate) struct FakeSecureSide {
    store: std::sync::Arc<FakeStore>,
    launch_fails: Mutex<Option<LaunchError>>,
    act_fails: Mutex<Option<ActError>>,
    pages: Mutex<HashMap<ProviderSessionGuid, watch::Sender<PageState>>>,
    acts: Mutex<Vec<AgentAction>>,
    /// Held for writing: launches wait.
    pub(crate) gate: tokio::sync::RwLock<()>,
    pub(crate) launch_panics: AtomicBool,
}

impl FakeSecureSide {
    pub(crate) fn new(store: std::sync::Arc<FakeStore>) -> Self {
        Self {
            store,
            launch_fails: Mutex::default(),
            act_fails: Mutex::default(),
            pages: Mutex::default(),
            acts: Mutex::default(),
            gate: tokio::sync::RwLock::default(),
            launch_panics: AtomicBool::new(false),
        }
    }

    pub(crate) fn fail_launches(&self, error: LaunchError) {
        *self.launch_fails.lock().unwrap() = Some(error);
    }

    pub(crate) fn launch_again(&self) {
        *self.launch_fails.lock().unwrap() = None;
        self.launch_panics.store(false, Ordering::Relaxed);
    }

    pub(crate) fn fail_acts(&self, error: ActError) {
        *self.act_fails.lock().unwrap() = Some(error);
    }

    /// Every action that was done.
    pub(crate) fn done(&self) -> Vec<AgentAction> {
        self.acts.lock().unwrap().clone()
    }

    /// Changes a page and tells its readers.
    pub(crate) fn change(&self, session: &str, change: impl FnOnce(&mut PageState)) {
        let session = ProviderSessionGuid(session.parse().unwrap());
        self.pages.lock().unwrap()[&session].send_modify(|page| {
            page.revision += 1;
            change(page);
        });
    }

    pub(crate) fn end(&self, session: &str, end: EndView) {
        self.change(session, |page| page.phase = Phase::Ended(end));
    }

    /// Forgets every session, as a restart does.
    pub(crate) fn forget_all(&self) {
        self.pages.lock().unwrap().clear();
    }

    /// Forgets the session, as a restart does.
    pub(crate) fn forget(&self, session: &str) {
        self.pages.lock().unwrap().remove(&ProviderSessionGuid(session.parse().unwrap()));
    }
}

#[async_trait]
impl SecureSide for FakeSecureSide {
    async fn launch(&self, launch: Launch) -> Result<(), LaunchError> {
        let _open = self.gate.read().await;
        assert!(!self.launch_panics.load(Ordering::Relaxed), "a panic that the test asked for");
        if let Some(error) = self.launch_fails.lock().unwrap().clone() {
            return Err(error);
        }
        let mut page = page_state();
        page.reference = launch.session.payment_data.reference().map(str::to_owned);
        page.test_keypad = launch.session.call.is_none() && launch.session.link().is_none();
        page.link = launch.session.link().map(|link| LinkView {
            url: self.payment_link(&launch.session),
            state: link.state,
            expires_on: link.expires_on,
        });
        self.pages.lock().unwrap().insert(launch.session.provider, watch::Sender::new(page));
        Ok(())
    }

    async fn act(&self, session: ProviderSessionGuid, action: AgentAction) -> Result<(), ActError> {
        if let Some(error) = *self.act_fails.lock().unwrap() {
            return Err(error);
        }
        self.acts.lock().unwrap().push(action.clone());
        let now = FakeWorld::default().now();
        let found = self.store.provider_session(session).await.unwrap().ok_or(ActError::Gone)?;
        let change = match action {
            AgentAction::Cancel => found.cancel(now),
            AgentAction::IssueLink => found.issue_link(now.plus(LINK_LIFE_MAX), now),
            AgentAction::RevokeLink => found.revoke_link(now),
            AgentAction::TakeByKeypad(agent) => {
                let agent = agent.unwrap_or_else(|| found.agent.clone());
                let call = CallGuid(Uuid::from_u128(0xca11));
                found.take_by_keypad(agent, Some(call), now)
            }
            AgentAction::Start(_) | AgentAction::Redo(_) | AgentAction::Pay | AgentAction::TestKey(_) => {
                return Ok(());
            }
        };
        let change = change.map_err(|_| ActError::NotNow)?;
        self.store.commit(change).await.map_err(|error| match error {
            CommitError::CallTaken => ActError::CallTaken,
            _ => ActError::NotNow,
        })
    }

    fn payment_link(&self, session: &Session) -> Option<PaymentLinkUrl> {
        let link = session.link().filter(|link| link.state != LinkState::Revoked)?;
        Some(PaymentLinkUrl(format!("https://payer.example/pay/{}-{}", session.provider, link.no)))
    }

    async fn watch(&self, session: ProviderSessionGuid) -> Option<PageStream> {
        let mut page = self.pages.lock().unwrap().get(&session)?.subscribe();
        page.mark_changed();
        Some(Box::pin(stream::unfold(page, async |mut page| {
            page.changed().await.ok()?;
            let state = page.borrow_and_update().clone();
            Some((state, page))
        })))
    }
}

/// A clock that stands until it is moved, and chance that counts.
pub(crate) struct FakeWorld {
    now_us: AtomicI64,
    chance: AtomicU64,
}

impl Default for FakeWorld {
    fn default() -> Self {
        Self { now_us: AtomicI64::new(1_790_000_000_123_456), chance: AtomicU64::new(1) }
    }
}

impl FakeWorld {
    pub(crate) fn pass(&self, length: Duration) {
        self.now_us.fetch_add(i64::try_from(length.as_micros()).unwrap(), Ordering::Relaxed);
    }
}

impl World for FakeWorld {
    fn now(&self) -> Timestamp {
        Timestamp::from_micros(self.now_us.load(Ordering::Relaxed))
    }

    fn guid(&self) -> Uuid {
        let count = self.chance.fetch_add(1, Ordering::Relaxed);
        Uuid::from_u128(0xabcd_0000_0000_4000_8000_0000_0000_0000 | u128::from(count))
    }

    fn secret(&self) -> [u8; 32] {
        let count = self.chance.fetch_add(1, Ordering::Relaxed);
        let mut secret = [0xa5; 32];
        secret[..8].copy_from_slice(&count.to_be_bytes());
        secret
    }
}

#[derive(Default)]
pub(crate) struct Recorder {
    pub(crate) requests: Mutex<Vec<(String, u16)>>,
    pub(crate) live: Mutex<Vec<usize>>,
}

impl Observer for Recorder {
    fn request_begins(&self) -> u64 {
        77
    }

    fn request_done(&self, route: &str, status: u16, begun: u64) {
        assert_eq!(begun, 77);
        self.requests.lock().unwrap().push((route.to_owned(), status));
    }

    fn pages_live(&self, count: usize) {
        self.live.lock().unwrap().push(count);
    }
}
