//! The store over one SQLite file, in write-ahead mode: one writer, a few readers.

mod changes;
mod checkpoints;
mod clients;
mod credentials;
mod kept_cards;
mod logins;
mod migrate;
mod notifications;
mod openings;
mod purge;
mod replays;
mod sessions;
mod settlements;
mod webhooks;
mod writer;

use std::fs::{File, OpenOptions, TryLockError};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

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
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous};
use sqlx::{ConnectOptions, Connection, SqliteConnection, SqlitePool};
use uuid::Uuid;

use crate::Ownership;
use crate::error::OpenError;
use crate::keys::{self, Keys};
use crate::queue::{Credential, Job, Queue, ToldBy};
use crate::schema::SchemaVersions;
use crate::writer::{Role, Writer};
use checkpoints::LOG_PAGES_MAX;
use migrate::Schema;
use writer::SqliteEngine;

/// Reading connections. A read takes well under a millisecond, and each connection is a thread.
const READERS_MAX: u32 = 4;
/// How long a read waits for a free connection, and any statement for a lock, before it is unavailable.
const PATIENCE: Duration = Duration::from_secs(5);
/// The write-ahead log is cut to this when it begins anew: a reader that hinders that for long leaves no large file. Below it, pages
/// are written over in place, which needs no change of the file's length.
const LOG_BYTES_KEPT: u32 = LOG_PAGES_MAX * PAGE_BYTES;
/// SQLite's page, which `size_max_bytes` is counted in.
const PAGE_BYTES: u32 = 4_096;

/// Sessions and API clients in one SQLite file.
///
/// Writes need a running tokio runtime. Dropping the store stops its writer after what waits; `close`
/// waits for that.
pub struct SqliteStore {
    path: PathBuf,
    queue: Queue,
    keys: Arc<Keys>,
    readers: SqlitePool,
}

/// How to open a store.
#[derive(Clone, Debug)]
pub struct SqliteOptions {
    /// As what.
    pub ownership: Ownership,
    /// The size in bytes at which the file takes no new session; `None` for what the disk has. Open sessions
    /// are written on, and a purge makes room.
    pub size_max_bytes: Option<u64>,
}

impl SqliteOptions {
    /// Opens as this, and takes what the disk has.
    #[must_use]
    pub fn new(ownership: Ownership) -> Self {
        Self { ownership, size_max_bytes: None }
    }
}

/// Sizes for metrics, in bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FileSizes {
    /// The database file.
    pub database: u64,
    /// Its write-ahead log.
    pub log: u64,
}

impl SqliteStore {
    /// Opens the store in the file at `path`, creates it if need be, and brings its schema up to date.
    ///
    /// The keys of results are in `PATH-keys` beside it.
    ///
    /// # Errors
    /// [`OpenError`]: what the operator must mend.
    pub async fn open(path: &Path, options: SqliteOptions) -> Result<Self, OpenError> {
        Self::open_with_keys(path, options, &beside(path, "-keys")).await
    }

    /// The same with the keys of results in a file elsewhere.
    ///
    /// # Errors
    /// [`OpenError`]: what the operator must mend.
    pub async fn open_with_keys(path: &Path, options: SqliteOptions, keys: &Path) -> Result<Self, OpenError> {
        let broken = |source| OpenError::Sqlite { path: path.to_owned(), source };
        create_private(path).map_err(|source| OpenError::NotWritable { path: path.to_owned(), source })?;
        let mut lock = try_lock(path)?;
        match (&options.ownership, &lock) {
            (Ownership::Exclusive(_), None) => return Err(OpenError::Owned { path: path.to_owned() }),
            (Ownership::Exclusive(_), Some(_)) | (Ownership::TakeOver(_) | Ownership::Guest, _) => {}
        }
        let connect = connect_options(path);
        let mut connection = connect.connect().await.map_err(broken)?;
        // A guest may set up a store that nobody runs: `client add` before the first start.
        let schema = match options.ownership {
            Ownership::Guest if lock.is_none() => Schema::Check,
            Ownership::Guest | Ownership::Exclusive(_) | Ownership::TakeOver(_) => Schema::Upgrade,
        };
        migrate::migrate(&mut connection, path, schema).await?;
        let (role, keys) = match options.ownership {
            Ownership::Guest => {
                lock = None;
                (Role::Guest, Keys::none())
            }
            Ownership::Exclusive(chance) | Ownership::TakeOver(chance) => {
                let epoch = next_epoch(&mut connection).await.map_err(broken)?;
                let unreadable = |source| OpenError::ResultKeys { path: keys.to_owned(), source };
                // Read after the epoch: an earlier owner writes under no other key any more.
                (Role::Owner { epoch }, Keys::open(keys, chance).map_err(unreadable)?)
            }
        };
        let keys = Arc::new(keys);
        let readers = SqlitePoolOptions::new()
            .max_connections(READERS_MAX)
            .min_connections(1)
            .acquire_timeout(PATIENCE)
            // A connection to a file does not go stale: asking it first would double each read's hops.
            .test_before_acquire(false)
            .connect_with(connect_options(path).read_only(true))
            .await
            .map_err(broken)?;
        let (queue, jobs) = Queue::new();
        let engine =
            SqliteEngine::new(connect, options.size_max_bytes, connection, role, lock, Arc::clone(&keys));
        tokio::spawn(Writer::new(engine, jobs).run());
        Ok(Self { path: path.to_owned(), queue, keys, readers })
    }

    /// Writes what waits, then closes the file. Later calls are unavailable.
    pub async fn close(&self) {
        // Readers first: the last connection to close folds the log into the file, and must be able to write.
        self.readers.close().await;
        self.queue.close().await;
    }

    /// Writes that wait now, of at most 1,024.
    #[must_use]
    pub fn queue_depth(&self) -> usize {
        self.queue.depth()
    }

    /// The sizes of the database file and its log.
    ///
    /// # Errors
    /// The database file is gone or cannot be looked at.
    pub fn file_sizes(&self) -> io::Result<FileSizes> {
        let database = self.path.metadata()?.len();
        // No log: nothing was written since the last close.
        let log = beside(&self.path, "-wal").metadata().map_or(0, |file| file.len());
        Ok(FileSizes { database, log })
    }
}

/// Looks which schema the file has.
///
/// # Errors
/// [`OpenError`]: what the operator must mend.
pub(crate) async fn schema_versions(path: &Path) -> Result<SchemaVersions, OpenError> {
    if !path.exists() {
        return SchemaVersions::of(path.display().to_string(), 0, migrate::known());
    }
    let connection = connect_options(path).read_only(true).connect().await;
    let mut connection = connection.map_err(|source| OpenError::Sqlite { path: path.to_owned(), source })?;
    migrate::versions(&mut connection, path).await
}

/// Brings the file's schema up to date; nobody may have it open as its owner.
///
/// # Errors
/// [`OpenError`]: what the operator must mend.
pub(crate) async fn migrate_alone(path: &Path) -> Result<SchemaVersions, OpenError> {
    create_private(path).map_err(|source| OpenError::NotWritable { path: path.to_owned(), source })?;
    let Some(lock) = try_lock(path)? else { return Err(OpenError::Owned { path: path.to_owned() }) };
    let broken = |source| OpenError::Sqlite { path: path.to_owned(), source };
    let mut connection = connect_options(path).connect().await.map_err(broken)?;
    let versions = migrate::versions(&mut connection, path).await?;
    migrate::migrate(&mut connection, path, Schema::Upgrade).await?;
    connection.close().await.map_err(broken)?;
    drop(lock);
    Ok(versions)
}

#[async_trait]
impl Sessions for SqliteStore {
    async fn commit(&self, change: Change) -> Result<(), CommitError> {
        self.queue.ask(Box::new(change), Job::Commit).await
    }

    async fn session(
        &self,
        account: &AccountId,
        guid: SessionGuid,
    ) -> Result<Option<Session>, StoreUnavailable> {
        sessions::by_guid(&self.readers, &self.keys, account, guid).await
    }

    async fn provider_session(&self, guid: ProviderSessionGuid) -> Result<Option<Session>, StoreUnavailable> {
        sessions::by_provider(&self.readers, &self.keys, guid).await
    }

    async fn unfinished(&self) -> Result<Vec<Session>, StoreUnavailable> {
        sessions::unfinished(&self.readers, &self.keys).await
    }

    async fn unsettled(&self, not_charged_after: Timestamp) -> Result<Vec<Session>, StoreUnavailable> {
        sessions::unsettled(&self.readers, &self.keys, not_charged_after).await
    }

    async fn events(
        &self,
        account: &AccountId,
        guid: SessionGuid,
        after: u32,
    ) -> Result<Vec<Event>, StoreUnavailable> {
        sessions::events(&self.readers, account, guid, after).await
    }

    async fn list(
        &self,
        account: &AccountId,
        query: &SessionQuery,
    ) -> Result<Vec<Session>, StoreUnavailable> {
        sessions::list(&self.readers, &self.keys, account, query).await
    }

    async fn purge(&self, now: Timestamp) -> Result<u64, StoreUnavailable> {
        // In this order: nothing under way when it is read seals under a key that is then unused.
        keys::rotate(&self.keys, now).await;
        let lost = self.queue.ask(now, Job::Purge).await?;
        let used = sessions::key_prefixes(&self.readers).await?;
        keys::destroy_unused(&self.keys, used, now).await;
        Ok(lost)
    }
}

#[async_trait]
impl Clients for SqliteStore {
    async fn add(&self, client: ApiClient) -> Result<(), StoreUnavailable> {
        self.queue.ask(Box::new(client), Job::AddClient).await
    }

    async fn list(&self) -> Result<Vec<ApiClient>, StoreUnavailable> {
        clients::list(&self.readers).await
    }

    async fn revoke(&self, id: &ClientId, at: Timestamp) -> Result<bool, StoreUnavailable> {
        self.queue.ask((id.clone(), at), Job::RevokeClient).await
    }

    async fn client(&self, id: &ClientId) -> Result<Option<ApiClient>, StoreUnavailable> {
        clients::find(&self.readers, id).await
    }
}

#[async_trait]
impl Settlements for SqliteStore {
    async fn settle(&self, settlement: Settlement) -> Result<(), StoreUnavailable> {
        self.queue.ask(Box::new(settlement), Job::Settle).await
    }

    async fn settlement(&self, attempt: AttemptId) -> Result<Option<Settlement>, StoreUnavailable> {
        settlements::find(&self.readers, attempt).await
    }
}

#[async_trait]
impl KeptCards for SqliteStore {
    async fn kept_card(
        &self,
        account: &AccountId,
        gateways: &[GatewayName],
        token: TokenHash,
    ) -> Result<Option<KeptCard>, StoreUnavailable> {
        kept_cards::find(&self.readers, account, gateways, token).await
    }
}

#[async_trait]
impl Notifications for SqliteStore {
    async fn keep(
        &self,
        gateway: &GatewayName,
        told: Vec<Notification>,
        now: Timestamp,
    ) -> Result<usize, StoreUnavailable> {
        let told_by = ToldBy { gateway: gateway.clone(), told, now };
        self.queue.ask(Box::new(told_by), Job::KeepNotifications).await
    }

    async fn waiting(&self, after: i64, limit: u32) -> Result<Vec<Waiting>, StoreUnavailable> {
        notifications::waiting(&self.readers, &self.keys, after, limit).await
    }

    async fn taken_up(&self, number: i64) -> Result<(), StoreUnavailable> {
        self.queue.ask(number, Job::NotificationTakenUp).await
    }

    async fn session_of(&self, reference: Uuid) -> Result<Option<Session>, StoreUnavailable> {
        sessions::by_reference(&self.readers, &self.keys, reference).await
    }
}

#[async_trait]
impl Credentials for SqliteStore {
    async fn prove(&self, proof: ClientProof) -> Result<bool, StoreUnavailable> {
        self.queue.ask(Box::new(Credential::Prove(proof)), Job::Credential).await
    }

    async fn spend(&self, spent: Spent) -> Result<bool, StoreUnavailable> {
        self.queue.ask(Box::new(Credential::Spend(spent)), Job::Credential).await
    }

    async fn is_spent(&self, hash: [u8; 32]) -> Result<bool, StoreUnavailable> {
        credentials::is_spent(&self.readers, hash).await
    }

    async fn signing_keys(&self) -> Result<Vec<SigningKeyNumber>, StoreUnavailable> {
        credentials::signing_keys(&self.readers).await
    }

    async fn add_signing_key(&self, key: SigningKeyNumber) -> Result<bool, StoreUnavailable> {
        self.queue.ask(Box::new(Credential::AddSigningKey(key)), Job::Credential).await
    }

    async fn put_login(&self, login: AgentLogin) -> Result<(), StoreUnavailable> {
        self.queue.ask(Box::new(Credential::PutLogin(login)), Job::Credential).await.map(|_| ())
    }

    async fn login(
        &self,
        account: &AccountId,
        agent: &AgentId,
    ) -> Result<Option<AgentLogin>, StoreUnavailable> {
        logins::find(&self.readers, account, agent).await
    }

    async fn logins(&self) -> Result<Vec<AgentLogin>, StoreUnavailable> {
        logins::list(&self.readers).await
    }
}

#[async_trait]
impl Replays for SqliteStore {
    async fn begin(&self, request: FirstRequest, now: Timestamp) -> Result<Begun, StoreUnavailable> {
        self.queue.ask(Box::new((request, now)), Job::BeginReplay).await
    }

    async fn finish(&self, key: ReplayKey, answer: StoredAnswer) -> Result<(), StoreUnavailable> {
        self.queue.ask(Box::new((key, Some(answer))), Job::EndReplay).await
    }

    async fn abandon(&self, key: ReplayKey) -> Result<(), StoreUnavailable> {
        self.queue.ask(Box::new((key, None)), Job::EndReplay).await
    }
}

#[async_trait]
impl Webhooks for SqliteStore {
    async fn due(
        &self,
        receiver: &Receiver,
        now: Timestamp,
        except: &[SessionGuid],
        limit: u32,
    ) -> Result<Vec<(Delivery, Session)>, StoreUnavailable> {
        webhooks::due(&self.readers, &self.keys, receiver, now, except, limit).await
    }

    async fn next_due(
        &self,
        receiver: &Receiver,
        except: &[SessionGuid],
    ) -> Result<Option<Timestamp>, StoreUnavailable> {
        webhooks::next_due(&self.readers, receiver, except).await
    }

    async fn receivers(&self) -> Result<Vec<Receiver>, StoreUnavailable> {
        webhooks::receivers(&self.readers).await
    }

    async fn settle(&self, tried: Vec<Tried>) -> Result<(), StoreUnavailable> {
        self.queue.ask(tried, Job::SettleDeliveries).await
    }

    async fn backlog(&self) -> Result<Backlog, StoreUnavailable> {
        webhooks::backlog(&self.readers).await
    }

    async fn deliveries(&self, list: DeliveryList) -> Result<Vec<Delivery>, StoreUnavailable> {
        webhooks::list(&self.readers, &list).await
    }

    async fn replay(
        &self,
        account: &AccountId,
        id: DeliveryId,
        now: Timestamp,
    ) -> Result<Option<Delivery>, StoreUnavailable> {
        self.queue.ask(Box::new((account.clone(), id, now)), Job::ReplayDelivery).await
    }
}

/// Creates the file for its owner's eyes only; SQLite gives the log the same mode.
fn create_private(path: &Path) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.read(true).append(true).create(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options.open(path)
}

/// The lock that says "this store has an owner"; `None` when another process holds it. The system frees it
/// when its process ends, however it ends.
fn try_lock(path: &Path) -> Result<Option<File>, OpenError> {
    let path = beside(path, ".lock");
    let not_writable = |source| OpenError::NotWritable { path: path.clone(), source };
    let file = create_private(&path).map_err(not_writable)?;
    match file.try_lock() {
        Ok(()) => Ok(Some(file)),
        Err(TryLockError::WouldBlock) => Ok(None),
        Err(TryLockError::Error(source)) => Err(not_writable(source)),
    }
}

fn connect_options(path: &Path) -> SqliteConnectOptions {
    SqliteConnectOptions::new()
        .filename(path)
        .page_size(PAGE_BYTES)
        .journal_mode(SqliteJournalMode::Wal)
        .synchronous(SqliteSynchronous::Full)
        .foreign_keys(true)
        .busy_timeout(PATIENCE)
        .pragma("secure_delete", "ON")
        // What is held must not pass through a file in /tmp.
        .pragma("temp_store", "MEMORY")
        .pragma("wal_autocheckpoint", LOG_PAGES_MAX.to_string())
        .pragma("journal_size_limit", LOG_BYTES_KEPT.to_string())
        .disable_statement_logging()
}

async fn next_epoch(connection: &mut SqliteConnection) -> Result<i64, sqlx::Error> {
    let (epoch,): (i64,) = sqlx::query_as("UPDATE owner SET epoch = epoch + 1 WHERE id = 1 RETURNING epoch")
        .fetch_one(connection)
        .await?;
    Ok(epoch)
}

fn beside(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    PathBuf::from(name)
}
