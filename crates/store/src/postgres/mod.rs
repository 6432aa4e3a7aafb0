//! The store over PostgreSQL: one writer, a few readers, as over SQLite.
//!
//! Nothing here needs more than the common ground of databases that speak PostgreSQL: no advisory locks, no
//! serial columns, no extensions, and each transaction is done again when the database takes it back for
//! another's sake (SQLSTATE 40001 and 40P01). So CockroachDB and YugabyteDB stay possible; neither is tested.
//!
//! One owner at a time, the newest that opened the store: its epoch is checked, and its row locked against a
//! next owner, in every statement that writes. There is no lock of a file here, so an owner that opens the store
//! always replaces the one before.

mod changes;
mod clients;
mod credentials;
mod kept_cards;
mod logins;
pub(crate) mod migrate;
mod notifications;
mod purge;
mod replays;
mod retry;
mod sessions;
mod settlements;
mod webhooks;
mod writer;

use std::net::IpAddr;
use std::path::Path;
use std::str::FromStr;
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
use sqlx::postgres::{PgConnectOptions, PgPoolOptions, PgSslMode};
use sqlx::{ConnectOptions, PgConnection, PgPool};
use uuid::Uuid;

use crate::Ownership;
use crate::chance::Chance;
use crate::error::OpenError;
use crate::keys::{self, Keys};
use crate::queue::{Credential, Job, Queue, ToldBy};
use crate::schema::SchemaVersions;
use crate::writer::{Role, Writer};
use migrate::Schema;
use retry::Retries;
use writer::PostgresEngine;

/// Reading connections. Each is a process of the server; a read takes a millisecond or two.
const READERS_MAX: u32 = 8;
/// How long opening waits for the database, and a read for a free connection.
const PATIENCE: Duration = Duration::from_secs(5);
/// What the server gives up by itself, in milliseconds: a statement, the wait for a lock, and a transaction whose
/// owner went silent. The last frees the owner's row for the next owner.
const SERVER_LIMITS_MS: [(&str, &str); 3] = [
    ("statement_timeout", "10000"),
    ("lock_timeout", "5000"),
    ("idle_in_transaction_session_timeout", "10000"),
];

/// Sessions and API clients in one PostgreSQL database.
///
/// Writes need a running tokio runtime. Dropping the store stops its writer after what waits; `close`
/// waits for that.
pub struct PostgresStore {
    queue: Queue,
    keys: Arc<Keys>,
    readers: PgPool,
}

impl PostgresStore {
    /// Opens the store in the database at `url` (`postgres://user:password@host:port/database`), which must
    /// exist, and brings its schema up to date.
    ///
    /// A database on another machine is spoken to by verified TLS (`sslmode=verify-full`) unless the URL
    /// says otherwise; `sslrootcert` names a CA of one's own. Parts that the URL leaves out are taken from
    /// the environment variables of libpq (`PGUSER`, `PGPASSWORD`, …).
    ///
    /// [`Ownership::Exclusive`] is the same as [`Ownership::TakeOver`] here.
    ///
    /// The keys of results end with this process: for tests and measurements.
    ///
    /// # Errors
    /// [`OpenError`]: what the operator must mend.
    pub async fn open(url: &str, ownership: Ownership) -> Result<Self, OpenError> {
        Self::open_with_keys(url, ownership, None).await
    }

    /// The same with the keys of results in this file.
    ///
    /// # Errors
    /// [`OpenError`]: what the operator must mend.
    pub async fn open_with_keys(
        url: &str,
        ownership: Ownership,
        keys: Option<&Path>,
    ) -> Result<Self, OpenError> {
        let options = connect_options(url)?;
        let store = name(&options);
        let broken = |source| OpenError::Postgres { store: store.clone(), source };
        let mut connection = connect(&options, &store).await?;
        check_durable(&mut connection, &store).await?;
        let schema = match ownership {
            Ownership::Guest => Schema::Check,
            Ownership::Exclusive(_) | Ownership::TakeOver(_) => Schema::Upgrade,
        };
        migrate::migrate(&mut connection, &store, schema).await?;
        let (role, keys) = match ownership {
            Ownership::Guest => (Role::Guest, Keys::none()),
            Ownership::Exclusive(chance) | Ownership::TakeOver(chance) => {
                let epoch = next_epoch(&mut connection).await.map_err(broken)?;
                // Read after the epoch: an earlier owner writes under no other key any more.
                (Role::Owner { epoch }, open_keys(keys, chance)?)
            }
        };
        let keys = Arc::new(keys);
        let readers = PgPoolOptions::new()
            .max_connections(READERS_MAX)
            .min_connections(1)
            .acquire_timeout(PATIENCE)
            .connect_with(options.clone())
            .await
            .map_err(broken)?;
        let (queue, jobs) = Queue::new();
        tokio::spawn(
            Writer::new(PostgresEngine::new(options, connection, role, Arc::clone(&keys)), jobs).run(),
        );
        Ok(Self { queue, keys, readers })
    }

    /// Writes what waits, then lets go of the database. Later calls are unavailable.
    pub async fn close(&self) {
        self.queue.close().await;
        self.readers.close().await;
    }

    /// Writes that wait now, of at most 1,024.
    #[must_use]
    pub fn queue_depth(&self) -> usize {
        self.queue.depth()
    }
}

/// Looks which schema the database has.
///
/// # Errors
/// [`OpenError`]: what the operator must mend.
pub(crate) async fn schema_versions(url: &str) -> Result<SchemaVersions, OpenError> {
    let options = connect_options(url)?;
    let store = name(&options);
    let mut connection = connect(&options, &store).await?;
    migrate::versions(&mut connection, &store).await
}

/// Brings the database's schema up to date.
///
/// # Errors
/// [`OpenError`]: what the operator must mend.
pub(crate) async fn migrate_alone(url: &str) -> Result<SchemaVersions, OpenError> {
    let options = connect_options(url)?;
    let store = name(&options);
    let mut connection = connect(&options, &store).await?;
    let versions = migrate::versions(&mut connection, &store).await?;
    migrate::migrate(&mut connection, &store, Schema::Upgrade).await?;
    Ok(versions)
}

async fn connect(options: &PgConnectOptions, store: &str) -> Result<PgConnection, OpenError> {
    tokio::time::timeout(PATIENCE, options.connect())
        .await
        .unwrap_or(Err(sqlx::Error::PoolTimedOut))
        .map_err(|source| OpenError::Postgres { store: store.to_owned(), source })
}

#[async_trait]
impl Sessions for PostgresStore {
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
impl Clients for PostgresStore {
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
impl Settlements for PostgresStore {
    async fn settle(&self, settlement: Settlement) -> Result<(), StoreUnavailable> {
        self.queue.ask(Box::new(settlement), Job::Settle).await
    }

    async fn settlement(&self, attempt: AttemptId) -> Result<Option<Settlement>, StoreUnavailable> {
        settlements::find(&self.readers, attempt).await
    }
}

#[async_trait]
impl KeptCards for PostgresStore {
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
impl Notifications for PostgresStore {
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
impl Credentials for PostgresStore {
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
impl Replays for PostgresStore {
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
impl Webhooks for PostgresStore {
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

fn open_keys(path: Option<&Path>, chance: Chance) -> Result<Keys, OpenError> {
    let Some(path) = path.filter(|path| !path.as_os_str().is_empty()) else {
        return Ok(Keys::of_this_process(chance));
    };
    Keys::open(path, chance).map_err(|source| OpenError::ResultKeys { path: path.to_owned(), source })
}

fn connect_options(url: &str) -> Result<PgConnectOptions, OpenError> {
    // The parser's own words may quote the URL, and with it a password.
    let options = PgConnectOptions::from_str(url).map_err(|_| OpenError::NotAUrl)?;
    let options = options.application_name("hushpad").options(SERVER_LIMITS_MS).disable_statement_logging();
    let here = options.get_socket().is_some()
        || options.get_host().starts_with('/')
        || options.get_host() == "localhost"
        || options.get_host().trim_matches(['[', ']']).parse::<IpAddr>().is_ok_and(|host| host.is_loopback());
    if here || url.contains("sslmode=") || url.contains("ssl-mode=") {
        Ok(options)
    } else {
        Ok(options.ssl_mode(PgSslMode::VerifyFull))
    }
}

/// What the operator calls the store: without user and password.
fn name(options: &PgConnectOptions) -> String {
    let database = options.get_database().unwrap_or_else(|| options.get_username());
    match options.get_socket() {
        Some(socket) => format!("postgres://{}/{database}", socket.display()),
        None => format!("postgres://{}:{}/{database}", options.get_host(), options.get_port()),
    }
}

/// An answer means that the change is on the disk: a database that is set up to promise less is refused.
async fn check_durable(connection: &mut PgConnection, store: &str) -> Result<(), OpenError> {
    // A setting that the database does not know is NULL.
    let settings: (Option<String>, Option<String>) =
        sqlx::query_as("SELECT current_setting('fsync', true), current_setting('synchronous_commit', true)")
            .fetch_one(connection)
            .await
            .map_err(|source| OpenError::Postgres { store: store.to_owned(), source })?;
    let off = |setting: &Option<String>| setting.as_deref() == Some("off");
    match settings {
        (fsync, _) if off(&fsync) => Err(OpenError::NotDurable { store: store.to_owned(), setting: "fsync" }),
        (_, commit) if off(&commit) => {
            Err(OpenError::NotDurable { store: store.to_owned(), setting: "synchronous_commit" })
        }
        (_, _) => Ok(()),
    }
}

async fn next_epoch(connection: &mut PgConnection) -> Result<i64, sqlx::Error> {
    let mut retries = Retries::default();
    loop {
        let next = sqlx::query_as("UPDATE owner SET epoch = epoch + 1 WHERE id = 1 RETURNING epoch");
        match next.fetch_one(&mut *connection).await {
            Ok((epoch,)) => return Ok(epoch),
            Err(error) if retries.again(&error).await => {}
            Err(error) => return Err(error),
        }
    }
}

#[cfg(test)]
mod tests {
    use sqlx::postgres::PgSslMode;

    use super::{connect_options, name};

    #[test]
    fn another_machine_is_verified_unless_the_url_says_otherwise() {
        let mode = |url: &str| format!("{:?}", connect_options(url).unwrap().get_ssl_mode());
        let verified = format!("{:?}", PgSslMode::VerifyFull);
        assert_eq!(mode("postgres://hushpad@db.example/hushpad"), verified);
        assert_eq!(mode("postgres://hushpad@192.0.2.1/hushpad"), verified);
        assert_ne!(mode("postgres://hushpad@db.example/hushpad?sslmode=disable"), verified);
        for here in ["localhost", "127.0.0.1", "[::1]", "%2Frun%2Fpostgresql"] {
            assert_ne!(mode(&format!("postgres://hushpad@{here}/hushpad")), verified, "{here}");
        }
    }

    #[test]
    fn neither_a_name_nor_an_error_tells_the_password() {
        let options = connect_options("postgres://hushpad:hunter2@db.example:5433/pay").unwrap();
        assert_eq!(name(&options), "postgres://db.example:5433/pay");
        let error = connect_options("postgres://hushpad:hunter2@db.example:port/pay").unwrap_err();
        assert!(!format!("{error:?} {error}").contains("hunter2"));
    }
}
