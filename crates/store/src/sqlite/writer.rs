//! The writing connection to the file: each group in one transaction, one `fsync` for all.

use std::fs::File;
use std::sync::Arc;

use hushpad_domain::ports::{CommitError, StoreUnavailable};
use hushpad_domain::time::Timestamp;
use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{AssertSqlSafe, ConnectOptions, Connection, SqliteConnection};
use tracing::{info, warn};

use super::checkpoints::Checkpoints;
use super::{
    PAGE_BYTES, changes, clients, credentials, notifications, openings, purge, replays, settlements, webhooks,
};
use crate::deliveries::DeliveryRow;
use crate::keys::Keys;
use crate::queue::{Failure, Job};
use crate::unavailable;
use crate::writer::{Batch, Engine, Role};

/// Owns the writing connection, and the lock of the file for as long as it may write.
pub(super) struct SqliteEngine {
    options: SqliteConnectOptions,
    /// The file's bound, kept here and not in the options, as it holds for new sessions only.
    size_max_bytes: Option<u64>,
    /// `None` after a failure: opened anew with the next group.
    connection: Option<SqliteConnection>,
    role: Role,
    /// Wiped data may still lie in the write-ahead log.
    log_to_empty: bool,
    lock: Option<File>,
    keys: Arc<Keys>,
    checkpoints: Checkpoints,
}

/// An error that ends a group.
enum GroupError {
    Fenced,
    Sqlite(sqlx::Error),
}

impl Engine for SqliteEngine {
    async fn write(&mut self, mut group: Vec<Job>) {
        let Err(error) = self.try_write(&mut group).await else {
            self.checkpoints.written(group.len());
            return group.into_iter().for_each(Job::done);
        };
        let mut failure = self.give_up(error).await;
        if self.bound(&group).is_some() && matches!(failure, Failure::Unavailable(_)) {
            // Only new sessions are bound: what becomes of the open ones must still be written.
            let (opening, rest): (Vec<Job>, Vec<Job>) = group.into_iter().partition(Job::opens);
            opening.into_iter().for_each(|job| job.failed(&failure));
            group = rest;
            if group.is_empty() {
                return;
            }
            match self.try_write(&mut group).await {
                Ok(()) => return group.into_iter().for_each(Job::done),
                Err(error) => failure = self.give_up(error).await,
            }
        }
        group.into_iter().for_each(|job| job.failed(&failure));
    }

    async fn purge(&mut self, now: Timestamp) -> Result<Batch, Failure> {
        match self.try_purge(now).await {
            Ok(batch) => {
                self.log_to_empty |= batch.sessions > 0;
                Ok(batch)
            }
            Err(error) => Err(self.give_up(error).await),
        }
    }

    /// What was wiped must leave the log too.
    async fn purged(&mut self) -> Result<(), StoreUnavailable> {
        if !self.log_to_empty {
            return Ok(());
        }
        let _paused = self.checkpoints.pause().await;
        let connection = self.connected(None).await.map_err(unavailable)?;
        if purge::empty_log(connection).await.map_err(unavailable)? {
            self.log_to_empty = false;
            Ok(())
        } else {
            Err(StoreUnavailable("wiped data is still in the write-ahead log: a reader holds it".to_owned()))
        }
    }

    async fn close(mut self) {
        // Before the writer's connection: the last one to close folds the log into the file.
        self.checkpoints.close().await;
        if let Some(connection) = self.connection.take()
            && let Err(error) = connection.close().await
        {
            warn!(%error, "the store's file was not closed in order");
        }
        // Whoever hears that the store is closed may open it at once.
        drop(self.lock.take());
    }
}

impl SqliteEngine {
    pub(super) fn new(
        options: SqliteConnectOptions,
        size_max_bytes: Option<u64>,
        connection: SqliteConnection,
        role: Role,
        lock: Option<File>,
        keys: Arc<Keys>,
    ) -> Self {
        // What the last process wiped may not have left the log.
        let checkpoints = Checkpoints::beside_writer(options.clone());
        Self {
            options,
            size_max_bytes,
            connection: Some(connection),
            role,
            log_to_empty: true,
            lock,
            keys,
            checkpoints,
        }
    }

    /// The bound of the file's size that holds for this group.
    fn bound(&self, group: &[Job]) -> Option<u64> {
        self.size_max_bytes.filter(|_| group.iter().any(Job::opens))
    }

    async fn try_write(&mut self, group: &mut [Job]) -> Result<(), GroupError> {
        let role = self.role;
        let bound = self.bound(group);
        let keys = Arc::clone(&self.keys);
        if let ([Job::Commit(ask)], Role::Owner { epoch }) = (&mut *group, role) {
            let connection = self.connected(bound).await?;
            ask.answer = Some(changes::apply_alone(connection, &ask.question, epoch, &keys).await?);
            return Ok(());
        }
        let connection = self.begin(bound).await?;
        let opened = matches!(role, Role::Owner { .. }) && openings::write(connection, group, &keys).await?;
        for job in group {
            match job {
                Job::Commit(ask) => {
                    ask.answer = Some(match role {
                        Role::Owner { .. } if opened && openings::is_plain(&ask.question) => Ok(()),
                        Role::Owner { .. } => changes::apply(connection, &ask.question, &keys).await?,
                        Role::Guest => Err(CommitError::Fenced),
                    });
                }
                Job::AddClient(ask) => {
                    let added = clients::add(connection, &ask.question).await;
                    ask.answer = Some(own_fault(added)?);
                }
                Job::RevokeClient(ask) => {
                    let (id, at) = &ask.question;
                    ask.answer = Some(Ok(clients::revoke(connection, id, *at).await?));
                }
                Job::Settle(ask) => {
                    ask.answer = Some(Ok(settlements::settle(connection, &ask.question).await?));
                }
                Job::Credential(ask) => {
                    ask.answer = Some(Ok(credentials::apply(connection, &ask.question).await?));
                }
                Job::BeginReplay(ask) => {
                    let (request, now) = &*ask.question;
                    ask.answer = Some(match role {
                        Role::Owner { epoch } => Ok(replays::begin(connection, request, *now, epoch).await?),
                        Role::Guest => Err(Failure::Fenced.into()),
                    });
                }
                Job::EndReplay(ask) => {
                    let (key, answer) = &*ask.question;
                    ask.answer = Some(match role {
                        Role::Owner { .. } => Ok(replays::end(connection, key, answer.as_ref()).await?),
                        Role::Guest => Err(Failure::Fenced.into()),
                    });
                }
                Job::SettleDeliveries(ask) => {
                    ask.answer = Some(match (role, webhooks::tried_text(&ask.question)) {
                        (Role::Owner { .. }, Ok(tried)) => Ok(webhooks::settle(connection, &tried).await?),
                        (Role::Owner { .. }, Err(error)) => Err(error),
                        (Role::Guest, _) => Err(Failure::Fenced.into()),
                    });
                }
                Job::ReplayDelivery(ask) => {
                    let (account, id, now) = &*ask.question;
                    let row = webhooks::replay(connection, account, *id, *now).await?;
                    ask.answer = Some(row.map(DeliveryRow::read).transpose());
                }
                Job::KeepNotifications(_) | Job::NotificationTakenUp(_) => {
                    notifications::apply(connection, job, role, &keys).await?;
                }
                // Set aside before.
                Job::Purge(_) | Job::Close(_) => {}
            }
        }
        commit(connection).await?;
        Ok(())
    }

    async fn try_purge(&mut self, now: Timestamp) -> Result<Batch, GroupError> {
        if self.role == Role::Guest {
            return Err(GroupError::Fenced);
        }
        let keys = Arc::clone(&self.keys);
        let connection = self.begin(None).await?;
        let batch = purge::batch(connection, now, &keys).await?;
        commit(connection).await?;
        Ok(batch)
    }

    /// Opens a transaction that is the only writer, and checks in it that the store is still ours.
    async fn begin(&mut self, size_max_bytes: Option<u64>) -> Result<&mut SqliteConnection, GroupError> {
        let role = self.role;
        let connection = self.connected(size_max_bytes).await?;
        let (epoch,): (i64,) = sqlx::query_as("BEGIN IMMEDIATE; SELECT epoch FROM owner WHERE id = 1")
            .fetch_one(&mut *connection)
            .await?;
        match role {
            Role::Owner { epoch: ours } if ours != epoch => Err(GroupError::Fenced),
            Role::Owner { .. } | Role::Guest => Ok(connection),
        }
    }

    /// The connection, new after a failure, with this bound: `None` for what may pass it. Wiping needs a little
    /// room before it makes room.
    async fn connected(&mut self, size_max_bytes: Option<u64>) -> Result<&mut SqliteConnection, sqlx::Error> {
        let mut connection = match self.connection.take() {
            Some(connection) => connection,
            None => {
                let connection = self.options.connect().await?;
                info!("the store writes again");
                connection
            }
        };
        if self.size_max_bytes.is_some() {
            let bound = format!("PRAGMA max_page_count = {}", pages(size_max_bytes));
            sqlx::raw_sql(AssertSqlSafe(bound)).execute(&mut connection).await?;
        }
        Ok(self.connection.insert(connection))
    }

    /// Leaves nothing half written: the connection goes, and with it its open transaction.
    async fn give_up(&mut self, error: GroupError) -> Failure {
        if let Some(connection) = self.connection.take() {
            // Its transaction is rolled back either way; an error here adds nothing to the first one.
            let _ = connection.close().await;
        }
        match error {
            GroupError::Fenced => {
                warn!("another process owns the store: nothing is written any more");
                Failure::Fenced
            }
            GroupError::Sqlite(error) => {
                warn!(%error, "the store cannot write");
                Failure::Unavailable(error.to_string())
            }
        }
    }
}

/// The bound in pages; SQLite's own where there is none.
fn pages(size_max_bytes: Option<u64>) -> u64 {
    const SQLITE_PAGES_MAX: u64 = 4_294_967_294;
    size_max_bytes
        .map_or(SQLITE_PAGES_MAX, |bytes| (bytes / u64::from(PAGE_BYTES)).clamp(1, SQLITE_PAGES_MAX))
}

async fn commit(connection: &mut SqliteConnection) -> Result<(), sqlx::Error> {
    sqlx::query("COMMIT").execute(connection).await.map(|_| ())
}

/// Parts an error that concerns one row from one that concerns the store.
fn own_fault<T>(result: Result<T, sqlx::Error>) -> Result<Result<T, StoreUnavailable>, sqlx::Error> {
    match result {
        Ok(value) => Ok(Ok(value)),
        Err(error) if error.as_database_error().is_some_and(|error| error.is_unique_violation()) => {
            Ok(Err(StoreUnavailable("there is a client with this id already".to_owned())))
        }
        Err(error) => Err(error),
    }
}

impl From<sqlx::Error> for GroupError {
    fn from(error: sqlx::Error) -> Self {
        Self::Sqlite(error)
    }
}
