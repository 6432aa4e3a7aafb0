//! The writing connection to PostgreSQL: each group in one transaction, one commit for all.
//!
//! Every statement is conditional and raises no error for a refused job, so a group needs no savepoints. Should
//! a job's values be refused by the database all the same, the group is taken back and each job is
//! written alone.

use std::sync::Arc;
use std::time::Duration;

use hushpad_domain::ports::{CommitError, StoreUnavailable};
use hushpad_domain::time::Timestamp;
use sqlx::postgres::PgConnectOptions;
use sqlx::{ConnectOptions, Connection, PgConnection};
use tracing::{info, warn};

use super::retry::{Retries, is_own_fault};
use super::{changes, clients, credentials, notifications, purge, replays, settlements, webhooks};
use crate::deliveries::DeliveryRow;
use crate::keys::Keys;
use crate::queue::{Failure, Job};
use crate::writer::{Batch, Engine, Role};

/// How long one try of a transaction may take. A network that swallows packets is told by nothing else.
const TRANSACTION_MAX: Duration = Duration::from_secs(10);

/// Owns the writing connection.
pub(super) struct PostgresEngine {
    options: PgConnectOptions,
    /// `None` after a failure: opened anew with the next group.
    connection: Option<PgConnection>,
    role: Role,
    /// Wiped rows have not been vacuumed.
    to_vacuum: bool,
    keys: Arc<Keys>,
}

/// An error that ends a transaction.
pub(super) enum GroupError {
    Fenced,
    TooSlow,
    Postgres(sqlx::Error),
}

/// What one transaction is to do.
enum Work<'a> {
    Group(&'a mut [Job]),
    Purge(Timestamp, &'a mut Batch),
}

impl Engine for PostgresEngine {
    async fn write(&mut self, mut group: Vec<Job>) {
        match self.transact(Work::Group(&mut group)).await {
            Ok(()) => group.into_iter().for_each(Job::done),
            Err(GroupError::Postgres(error)) if is_own_fault(&error) && group.len() > 1 => {
                for mut job in group {
                    match self.transact(Work::Group(std::slice::from_mut(&mut job))).await {
                        Ok(()) => job.done(),
                        Err(error) => job.failed(&failure(error)),
                    }
                }
            }
            Err(error) => {
                let failure = failure(error);
                group.into_iter().for_each(|job| job.failed(&failure));
            }
        }
    }

    async fn purge(&mut self, now: Timestamp) -> Result<Batch, Failure> {
        let mut batch = Batch::default();
        self.transact(Work::Purge(now, &mut batch)).await.map_err(failure)?;
        self.to_vacuum |= batch.sessions > 0;
        Ok(batch)
    }

    async fn purged(&mut self) -> Result<(), StoreUnavailable> {
        if !self.to_vacuum {
            return Ok(());
        }
        let connection = self.connected().await.map_err(crate::unavailable)?;
        match tokio::time::timeout(TRANSACTION_MAX, purge::vacuum(connection)).await {
            Ok(Ok(())) => self.to_vacuum = false,
            // What is wiped is wiped; the database's own vacuum comes round too.
            Ok(Err(error)) => warn!(%error, "the table held was not vacuumed"),
            Err(_) => {
                self.connection = None;
                warn!("the table held was not vacuumed in time");
            }
        }
        Ok(())
    }

    async fn close(mut self) {
        if let Some(connection) = self.connection.take()
            && let Err(error) = connection.close().await
        {
            warn!(%error, "the connection to the database was not closed in order");
        }
    }
}

impl PostgresEngine {
    pub(super) fn new(
        options: PgConnectOptions,
        connection: PgConnection,
        role: Role,
        keys: Arc<Keys>,
    ) -> Self {
        Self { options, connection: Some(connection), role, to_vacuum: true, keys }
    }

    /// Does the work in one transaction, again and again while the database takes it back for another's sake.
    async fn transact(&mut self, mut work: Work<'_>) -> Result<(), GroupError> {
        let mut retries = Retries::default();
        loop {
            let error = match tokio::time::timeout(TRANSACTION_MAX, self.try_once(&mut work)).await {
                Ok(Ok(())) => return Ok(()),
                Ok(Err(error)) => error,
                Err(_) => GroupError::TooSlow,
            };
            self.roll_back(&error).await;
            match &error {
                GroupError::Postgres(database) if retries.again(database).await => {}
                GroupError::Fenced | GroupError::TooSlow | GroupError::Postgres(_) => return Err(error),
            }
        }
    }

    async fn try_once(&mut self, work: &mut Work<'_>) -> Result<(), GroupError> {
        let role = self.role;
        let keys = Arc::clone(&self.keys);
        let connection = self.connected().await?;
        match work {
            // One statement is a transaction already.
            Work::Group([job]) => apply(connection, job, role, &keys).await,
            Work::Group(group) => {
                run(connection, "BEGIN").await?;
                for job in &mut **group {
                    apply(connection, job, role, &keys).await?;
                }
                Ok(run(connection, "COMMIT").await?)
            }
            Work::Purge(now, batch) => {
                let Role::Owner { epoch } = role else { return Err(GroupError::Fenced) };
                run(connection, "BEGIN").await?;
                **batch = purge::batch(connection, *now, epoch, &keys).await?;
                Ok(run(connection, "COMMIT").await?)
            }
        }
    }

    async fn connected(&mut self) -> Result<&mut PgConnection, sqlx::Error> {
        let connection = match self.connection.take() {
            Some(connection) => connection,
            None => {
                let connection = self.options.connect().await?;
                info!("the store writes again");
                connection
            }
        };
        Ok(self.connection.insert(connection))
    }

    /// Leaves nothing half written: rolled back, or else the connection goes.
    async fn roll_back(&mut self, error: &GroupError) {
        let Some(mut connection) = self.connection.take() else { return };
        let usable = match error {
            GroupError::Fenced => true,
            GroupError::TooSlow => false,
            GroupError::Postgres(error) => error.as_database_error().is_some(),
        };
        // Outside of a transaction this is only a warning.
        let rolled_back = tokio::time::timeout(TRANSACTION_MAX, run(&mut connection, "ROLLBACK"));
        if usable && matches!(rolled_back.await, Ok(Ok(()))) {
            self.connection = Some(connection);
        }
    }
}

/// Does one job and leaves its own answer in it, not to be given before the commit.
async fn apply(
    connection: &mut PgConnection,
    job: &mut Job,
    role: Role,
    keys: &Keys,
) -> Result<(), GroupError> {
    match job {
        Job::Commit(ask) => {
            ask.answer = Some(match role {
                Role::Owner { epoch } => changes::apply(connection, &ask.question, epoch, keys).await?,
                Role::Guest => Err(CommitError::Fenced),
            });
        }
        Job::AddClient(ask) => {
            let added = clients::add(connection, &ask.question).await?;
            ask.answer = Some(if added {
                Ok(())
            } else {
                Err(StoreUnavailable("there is a client with this id already".to_owned()))
            });
        }
        Job::RevokeClient(ask) => {
            let (id, at) = &ask.question;
            ask.answer = Some(Ok(clients::revoke(connection, id, *at).await?));
        }
        Job::Settle(ask) => {
            settlements::settle(connection, &ask.question).await?;
            ask.answer = Some(Ok(()));
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
                Role::Owner { epoch } => Ok(replays::end(connection, key, answer.as_ref(), epoch).await?),
                Role::Guest => Err(Failure::Fenced.into()),
            });
        }
        Job::SettleDeliveries(ask) => {
            ask.answer = Some(match role {
                Role::Owner { epoch } => webhooks::settle(connection, &ask.question, epoch).await?,
                Role::Guest => Err(Failure::Fenced.into()),
            });
        }
        Job::ReplayDelivery(ask) => {
            let (account, id, now) = &*ask.question;
            let row = webhooks::replay(connection, account, *id, *now).await?;
            ask.answer = Some(row.map(DeliveryRow::read).transpose());
        }
        Job::KeepNotifications(ask) => {
            ask.answer = Some(match role {
                Role::Owner { epoch } => notifications::keep(connection, &ask.question, epoch, keys).await?,
                Role::Guest => Err(Failure::Fenced.into()),
            });
        }
        Job::NotificationTakenUp(ask) => {
            ask.answer = Some(match role {
                Role::Owner { epoch } => Ok(notifications::taken_up(connection, ask.question, epoch).await?),
                Role::Guest => Err(Failure::Fenced.into()),
            });
        }
        // Set aside before.
        Job::Purge(_) | Job::Close(_) => {}
    }
    Ok(())
}

async fn run(connection: &mut PgConnection, sql: &'static str) -> Result<(), sqlx::Error> {
    sqlx::raw_sql(sql).execute(connection).await.map(|_| ())
}

fn failure(error: GroupError) -> Failure {
    match error {
        GroupError::Fenced => {
            warn!("another process owns the store: nothing is written any more");
            Failure::Fenced
        }
        GroupError::TooSlow => {
            warn!(limit_ms = TRANSACTION_MAX.as_millis(), "the database does not answer in time");
            Failure::Unavailable("the database does not answer in time".to_owned())
        }
        GroupError::Postgres(error) => {
            warn!(%error, "the store cannot write");
            Failure::Unavailable(error.to_string())
        }
    }
}

impl From<sqlx::Error> for GroupError {
    fn from(error: sqlx::Error) -> Self {
        Self::Postgres(error)
    }
}
