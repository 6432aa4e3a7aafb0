//! The store, whichever engine the configuration names.

use std::path::Path;

use async_trait::async_trait;
use hushpad_domain::change::Change;
use hushpad_domain::client::ApiClient;
use hushpad_domain::credentials::{AgentLogin, ClientProof, SigningKeyNumber, Spent};
use hushpad_domain::event::Event;
use hushpad_domain::ids::{
    AccountId, AgentId, AttemptId, ClientId, DeliveryId, GatewayName, ProviderSessionGuid, SessionGuid,
};
use hushpad_domain::kept_card::{KeptCard, TokenHash};
use hushpad_domain::listing::SessionQuery;
use hushpad_domain::notification::{Notification, Waiting};
use hushpad_domain::operation::Settlement;
use hushpad_domain::ports::{
    Clients, CommitError, Credentials, KeptCards, Notifications, Replays, Sessions, Settlements,
    StoreUnavailable, Webhooks,
};
use hushpad_domain::replay::{Begun, FirstRequest, ReplayKey, StoredAnswer};
use hushpad_domain::session::Session;
use hushpad_domain::time::Timestamp;
use hushpad_domain::webhook::{Backlog, Delivery, DeliveryList, Receiver, Tried};
use uuid::Uuid;

use crate::{OpenError, Ownership, PostgresStore, SqliteOptions, SqliteStore};

/// A store of either engine.
pub enum Store {
    /// In a file.
    Sqlite(SqliteStore),
    /// In a PostgreSQL database.
    Postgres(PostgresStore),
}

/// Opens the store at `url`: `sqlite:PATH` for a file, `postgres://…` for a database.
///
/// The keys of results are beside a file, and end with the process over a database: see [`open_with_keys`].
///
/// # Errors
/// [`OpenError`]: what the operator must mend.
pub async fn open(url: &str, ownership: Ownership) -> Result<Store, OpenError> {
    open_at(url, ownership, None).await
}

/// The same with the keys of results in the file `keys`, which no backup may take.
///
/// # Errors
/// [`OpenError`]: what the operator must mend.
pub async fn open_with_keys(url: &str, ownership: Ownership, keys: &Path) -> Result<Store, OpenError> {
    open_at(url, ownership, Some(keys)).await
}

async fn open_at(url: &str, ownership: Ownership, keys: Option<&Path>) -> Result<Store, OpenError> {
    if let Some(path) = url.strip_prefix("sqlite:").filter(|path| !path.is_empty()) {
        let options = SqliteOptions::new(ownership);
        let path = Path::new(path);
        match keys {
            Some(keys) => SqliteStore::open_with_keys(path, options, keys).await,
            None => SqliteStore::open(path, options).await,
        }
        .map(Store::Sqlite)
    } else if url.starts_with("postgres://") || url.starts_with("postgresql://") {
        PostgresStore::open_with_keys(url, ownership, keys).await.map(Store::Postgres)
    } else {
        Err(OpenError::NotAUrl)
    }
}

impl Store {
    /// Writes what waits, then lets go of file or database. Later calls are unavailable.
    pub async fn close(&self) {
        match self {
            Self::Sqlite(store) => store.close().await,
            Self::Postgres(store) => store.close().await,
        }
    }

    /// Writes that wait now, of at most 1,024.
    #[must_use]
    pub fn queue_depth(&self) -> usize {
        match self {
            Self::Sqlite(store) => store.queue_depth(),
            Self::Postgres(store) => store.queue_depth(),
        }
    }

    fn sessions(&self) -> &dyn Sessions {
        match self {
            Self::Sqlite(store) => store,
            Self::Postgres(store) => store,
        }
    }

    fn clients(&self) -> &dyn Clients {
        match self {
            Self::Sqlite(store) => store,
            Self::Postgres(store) => store,
        }
    }

    fn settlements(&self) -> &dyn Settlements {
        match self {
            Self::Sqlite(store) => store,
            Self::Postgres(store) => store,
        }
    }

    fn webhooks(&self) -> &dyn Webhooks {
        match self {
            Self::Sqlite(store) => store,
            Self::Postgres(store) => store,
        }
    }

    fn credentials(&self) -> &dyn Credentials {
        match self {
            Self::Sqlite(store) => store,
            Self::Postgres(store) => store,
        }
    }

    fn kept_cards(&self) -> &dyn KeptCards {
        match self {
            Self::Sqlite(store) => store,
            Self::Postgres(store) => store,
        }
    }

    fn notifications(&self) -> &dyn Notifications {
        match self {
            Self::Sqlite(store) => store,
            Self::Postgres(store) => store,
        }
    }

    fn replays(&self) -> &dyn Replays {
        match self {
            Self::Sqlite(store) => store,
            Self::Postgres(store) => store,
        }
    }
}

#[async_trait]
impl Sessions for Store {
    async fn commit(&self, change: Change) -> Result<(), CommitError> {
        self.sessions().commit(change).await
    }

    async fn session(
        &self,
        account: &AccountId,
        guid: SessionGuid,
    ) -> Result<Option<Session>, StoreUnavailable> {
        self.sessions().session(account, guid).await
    }

    async fn provider_session(&self, guid: ProviderSessionGuid) -> Result<Option<Session>, StoreUnavailable> {
        self.sessions().provider_session(guid).await
    }

    async fn unfinished(&self) -> Result<Vec<Session>, StoreUnavailable> {
        self.sessions().unfinished().await
    }

    async fn unsettled(&self, not_charged_after: Timestamp) -> Result<Vec<Session>, StoreUnavailable> {
        self.sessions().unsettled(not_charged_after).await
    }

    async fn events(
        &self,
        account: &AccountId,
        guid: SessionGuid,
        after: u32,
    ) -> Result<Vec<Event>, StoreUnavailable> {
        self.sessions().events(account, guid, after).await
    }

    async fn list(
        &self,
        account: &AccountId,
        query: &SessionQuery,
    ) -> Result<Vec<Session>, StoreUnavailable> {
        self.sessions().list(account, query).await
    }

    async fn purge(&self, now: Timestamp) -> Result<u64, StoreUnavailable> {
        self.sessions().purge(now).await
    }
}

#[async_trait]
impl Clients for Store {
    async fn add(&self, client: ApiClient) -> Result<(), StoreUnavailable> {
        self.clients().add(client).await
    }

    async fn list(&self) -> Result<Vec<ApiClient>, StoreUnavailable> {
        self.clients().list().await
    }

    async fn revoke(&self, id: &ClientId, at: Timestamp) -> Result<bool, StoreUnavailable> {
        self.clients().revoke(id, at).await
    }

    async fn client(&self, id: &ClientId) -> Result<Option<ApiClient>, StoreUnavailable> {
        self.clients().client(id).await
    }
}

#[async_trait]
impl Settlements for Store {
    async fn settle(&self, settlement: Settlement) -> Result<(), StoreUnavailable> {
        self.settlements().settle(settlement).await
    }

    async fn settlement(&self, attempt: AttemptId) -> Result<Option<Settlement>, StoreUnavailable> {
        self.settlements().settlement(attempt).await
    }
}

#[async_trait]
impl KeptCards for Store {
    async fn kept_card(
        &self,
        account: &AccountId,
        gateways: &[GatewayName],
        token: TokenHash,
    ) -> Result<Option<KeptCard>, StoreUnavailable> {
        self.kept_cards().kept_card(account, gateways, token).await
    }
}

#[async_trait]
impl Notifications for Store {
    async fn keep(
        &self,
        gateway: &GatewayName,
        told: Vec<Notification>,
        now: Timestamp,
    ) -> Result<usize, StoreUnavailable> {
        self.notifications().keep(gateway, told, now).await
    }

    async fn waiting(&self, after: i64, limit: u32) -> Result<Vec<Waiting>, StoreUnavailable> {
        self.notifications().waiting(after, limit).await
    }

    async fn taken_up(&self, number: i64) -> Result<(), StoreUnavailable> {
        self.notifications().taken_up(number).await
    }

    async fn session_of(&self, reference: Uuid) -> Result<Option<Session>, StoreUnavailable> {
        self.notifications().session_of(reference).await
    }
}

#[async_trait]
impl Credentials for Store {
    async fn prove(&self, proof: ClientProof) -> Result<bool, StoreUnavailable> {
        self.credentials().prove(proof).await
    }

    async fn spend(&self, spent: Spent) -> Result<bool, StoreUnavailable> {
        self.credentials().spend(spent).await
    }

    async fn is_spent(&self, hash: [u8; 32]) -> Result<bool, StoreUnavailable> {
        self.credentials().is_spent(hash).await
    }

    async fn signing_keys(&self) -> Result<Vec<SigningKeyNumber>, StoreUnavailable> {
        self.credentials().signing_keys().await
    }

    async fn add_signing_key(&self, key: SigningKeyNumber) -> Result<bool, StoreUnavailable> {
        self.credentials().add_signing_key(key).await
    }

    async fn put_login(&self, login: AgentLogin) -> Result<(), StoreUnavailable> {
        self.credentials().put_login(login).await
    }

    async fn login(
        &self,
        account: &AccountId,
        agent: &AgentId,
    ) -> Result<Option<AgentLogin>, StoreUnavailable> {
        self.credentials().login(account, agent).await
    }

    async fn logins(&self) -> Result<Vec<AgentLogin>, StoreUnavailable> {
        self.credentials().logins().await
    }
}

#[async_trait]
impl Replays for Store {
    async fn begin(&self, request: FirstRequest, now: Timestamp) -> Result<Begun, StoreUnavailable> {
        self.replays().begin(request, now).await
    }

    async fn finish(&self, key: ReplayKey, answer: StoredAnswer) -> Result<(), StoreUnavailable> {
        self.replays().finish(key, answer).await
    }

    async fn abandon(&self, key: ReplayKey) -> Result<(), StoreUnavailable> {
        self.replays().abandon(key).await
    }
}

#[async_trait]
impl Webhooks for Store {
    async fn due(
        &self,
        receiver: &Receiver,
        now: Timestamp,
        except: &[SessionGuid],
        limit: u32,
    ) -> Result<Vec<(Delivery, Session)>, StoreUnavailable> {
        self.webhooks().due(receiver, now, except, limit).await
    }

    async fn next_due(
        &self,
        receiver: &Receiver,
        except: &[SessionGuid],
    ) -> Result<Option<Timestamp>, StoreUnavailable> {
        self.webhooks().next_due(receiver, except).await
    }

    async fn receivers(&self) -> Result<Vec<Receiver>, StoreUnavailable> {
        self.webhooks().receivers().await
    }

    async fn settle(&self, tried: Vec<Tried>) -> Result<(), StoreUnavailable> {
        self.webhooks().settle(tried).await
    }

    async fn backlog(&self) -> Result<Backlog, StoreUnavailable> {
        self.webhooks().backlog().await
    }

    async fn deliveries(&self, list: DeliveryList) -> Result<Vec<Delivery>, StoreUnavailable> {
        self.webhooks().deliveries(list).await
    }

    async fn replay(
        &self,
        account: &AccountId,
        id: DeliveryId,
        now: Timestamp,
    ) -> Result<Option<Delivery>, StoreUnavailable> {
        self.webhooks().replay(account, id, now).await
    }
}
