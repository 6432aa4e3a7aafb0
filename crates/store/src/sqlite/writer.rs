//! The one writer: takes all jobs that wait, writes them in one transaction, commits once, answers each.

use std::collections::VecDeque;
use std::fs::File;

use hushpad_domain::ports::{CommitError, StoreUnavailable};
use hushpad_domain::time::Timestamp;
use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{AssertSqlSafe, ConnectOptions, Connection, SqliteConnection};
use tokio::sync::mpsc;
use tracing::{info, warn};

use super::purge::{self, Batch};
use super::queue::{Ask, Failure, Job};
use super::{PAGE_BYTES, changes, clients, replays};

/// Jobs in one transaction. Past this the shared `fsync` is already cheap beside the rows themselves, and a
/// larger group would only make its first job wait.
const GROUP_MAX: usize = 128;

/// Owns the writing connection, and the lock of the file for as long as it may write.
pub(super) struct Writer {
    options: SqliteConnectOptions,
    /// The file's bound, kept here and not in the options, as it holds for new sessions only.
    size_max_bytes: Option<u64>,
    /// `None` after a failure: opened anew with the next group.
    connection: Option<SqliteConnection>,
    role: Role,
    jobs: mpsc::Receiver<Job>,
    purges: VecDeque<Purge>,
    /// Wiped data may still lie in the write-ahead log.
    log_to_empty: bool,
    /// Callers that wait for the end.
    closing: Vec<Job>,
    lock: Option<File>,
}

/// What the writer may write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Role {
    /// Everything, while the epoch in the file is this one.
    Owner { epoch: i64 },
    /// API clients only.
    Guest,
}

/// A purge under way: done batch by batch between the groups.
struct Purge {
    ask: Ask<Timestamp, u64, StoreUnavailable>,
    sessions: u64,
}

/// An error that ends a group.
enum GroupError {
    Fenced,
    Sqlite(sqlx::Error),
}

impl Writer {
    pub(super) fn new(
        options: SqliteConnectOptions,
        size_max_bytes: Option<u64>,
        connection: SqliteConnection,
        role: Role,
        jobs: mpsc::Receiver<Job>,
        lock: Option<File>,
    ) -> Self {
        Self {
            options,
            size_max_bytes,
            connection: Some(connection),
            role,
            jobs,
            purges: VecDeque::new(),
            // What the last process wiped may not have left the log.
            log_to_empty: true,
            closing: Vec::new(),
            lock,
        }
    }

    /// Writes until every sender is gone, or one asks to close.
    pub(super) async fn run(mut self) {
        let mut waiting = Vec::with_capacity(GROUP_MAX);
        loop {
            if self.purges.is_empty() {
                if self.jobs.recv_many(&mut waiting, GROUP_MAX).await == 0 {
                    break;
                }
                // Those that the last group has answered are about to ask again: once round, and they join.
                tokio::task::yield_now().await;
            }
            while waiting.len() < GROUP_MAX
                && let Ok(job) = self.jobs.try_recv()
            {
                waiting.push(job);
            }
            let group = self.sort(&mut waiting);
            if !group.is_empty() {
                self.write(group).await;
            }
            self.purge_on().await;
        }
        if let Some(connection) = self.connection.take()
            && let Err(error) = connection.close().await
        {
            warn!(%error, "the store's file was not closed in order");
        }
        // Whoever hears that the store is closed may open it at once.
        drop(self.lock.take());
        self.closing.drain(..).for_each(Job::done);
    }

    /// Sets purges and the closing aside; the rest is the group.
    fn sort(&mut self, waiting: &mut Vec<Job>) -> Vec<Job> {
        let mut group = Vec::with_capacity(waiting.len());
        for job in waiting.drain(..) {
            match job {
                Job::Commit(_)
                | Job::AddClient(_)
                | Job::RevokeClient(_)
                | Job::BeginReplay(_)
                | Job::EndReplay(_) => group.push(job),
                Job::Purge(ask) => self.purges.push_back(Purge { ask, sessions: 0 }),
                Job::Close(mut ask) => {
                    // What waits already is still written.
                    self.jobs.close();
                    ask.answer = Some(Ok(()));
                    self.closing.push(Job::Close(ask));
                }
            }
        }
        group
    }

    async fn write(&mut self, mut group: Vec<Job>) {
        let Err(error) = self.try_write(&mut group).await else {
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

    /// The bound of the file's size that holds for this group.
    fn bound(&self, group: &[Job]) -> Option<u64> {
        self.size_max_bytes.filter(|_| group.iter().any(Job::opens))
    }

    async fn try_write(&mut self, group: &mut [Job]) -> Result<(), GroupError> {
        let role = self.role;
        let bound = self.bound(group);
        if let ([Job::Commit(ask)], Role::Owner { epoch }) = (&mut *group, role) {
            let connection = self.connected(bound).await?;
            ask.answer = Some(changes::apply_alone(connection, &ask.question, epoch).await?);
            return Ok(());
        }
        let connection = self.begin(bound).await?;
        for job in group {
            match job {
                Job::Commit(ask) => {
                    ask.answer = Some(match role {
                        Role::Owner { .. } => changes::apply(connection, &ask.question).await?,
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
                // Set aside before.
                Job::Purge(_) | Job::Close(_) => {}
            }
        }
        commit(connection).await?;
        Ok(())
    }

    /// Does one batch of the purge that is under way.
    async fn purge_on(&mut self) {
        let Some(mut purge) = self.purges.pop_front() else { return };
        let now = purge.ask.question;
        match self.try_purge(now).await {
            Ok(batch) => {
                purge.sessions += batch.sessions;
                self.log_to_empty |= batch.sessions > 0;
                if batch.more {
                    self.purges.push_front(purge);
                } else {
                    let emptied = self.empty_log().await;
                    purge.ask.give(emptied.map(|()| purge.sessions));
                }
            }
            Err(error) => {
                let failure = self.give_up(error).await;
                purge.ask.give(Err(failure.into()));
            }
        }
    }

    async fn try_purge(&mut self, now: Timestamp) -> Result<Batch, GroupError> {
        if self.role == Role::Guest {
            return Err(GroupError::Fenced);
        }
        let connection = self.begin(None).await?;
        let batch = purge::batch(connection, now).await?;
        commit(connection).await?;
        Ok(batch)
    }

    /// What was wiped must leave the log too.
    async fn empty_log(&mut self) -> Result<(), StoreUnavailable> {
        if !self.log_to_empty {
            return Ok(());
        }
        let connection = self.connected(None).await.map_err(super::unavailable)?;
        if purge::empty_log(connection).await.map_err(super::unavailable)? {
            self.log_to_empty = false;
            Ok(())
        } else {
            Err(StoreUnavailable("wiped data is still in the write-ahead log: a reader holds it".to_owned()))
        }
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
