//! The one way to the writer: a bounded queue of jobs, each with a place for its answer.

use hushpad_domain::change::Change;
use hushpad_domain::client::ApiClient;
use hushpad_domain::credentials::{AgentLogin, ClientProof, SigningKeyNumber, Spent};
use hushpad_domain::ids::{AccountId, ClientId, DeliveryId, GatewayName};
use hushpad_domain::notification::Notification;
use hushpad_domain::operation::Settlement;
use hushpad_domain::ports::{CommitError, StoreUnavailable};
use hushpad_domain::replay::{Begun, FirstRequest, ReplayKey, StoredAnswer};
use hushpad_domain::time::Timestamp;
use hushpad_domain::webhook::{Delivery, Tried};
use tokio::sync::{mpsc, oneshot};

/// Jobs that may wait. At a slow disk's 100 groups a second this is under a tenth of a second of work; a
/// caller is better told "unavailable" than made to wait longer.
pub(super) const QUEUE_MAX: usize = 1_024;

/// Where callers put their jobs.
#[derive(Clone)]
pub(super) struct Queue(mpsc::Sender<Job>);

/// A job for the writer.
pub(super) enum Job {
    Commit(Ask<Box<Change>, (), CommitError>),
    AddClient(Ask<Box<ApiClient>, (), StoreUnavailable>),
    RevokeClient(Ask<(ClientId, Timestamp), bool, StoreUnavailable>),
    Credential(Ask<Box<Credential>, bool, StoreUnavailable>),
    Settle(Ask<Box<Settlement>, (), StoreUnavailable>),
    BeginReplay(Ask<Box<(FirstRequest, Timestamp)>, Begun, StoreUnavailable>),
    /// With the answer to keep; without, the key is freed.
    EndReplay(Ask<Box<(ReplayKey, Option<StoredAnswer>)>, (), StoreUnavailable>),
    SettleDeliveries(Ask<Vec<Tried>, (), StoreUnavailable>),
    ReplayDelivery(Ask<Box<(AccountId, DeliveryId, Timestamp)>, Option<Delivery>, StoreUnavailable>),
    KeepNotifications(Ask<Box<ToldBy>, usize, StoreUnavailable>),
    NotificationTakenUp(Ask<i64, (), StoreUnavailable>),
    Purge(Ask<Timestamp, u64, StoreUnavailable>),
    Close(Ask<(), (), StoreUnavailable>),
}

/// What a gateway has told, and when.
pub(super) struct ToldBy {
    pub(super) gateway: GatewayName,
    pub(super) told: Vec<Notification>,
    pub(super) now: Timestamp,
}

/// A change of credentials. True when it changed something.
pub(super) enum Credential {
    Prove(ClientProof),
    Spend(Spent),
    AddSigningKey(SigningKeyNumber),
    PutLogin(AgentLogin),
}

/// A question, and the way back for its answer.
pub(super) struct Ask<Q, A, E> {
    pub(super) question: Q,
    /// The answer, not to be given before the group is committed.
    pub(super) answer: Option<Result<A, E>>,
    reply: oneshot::Sender<Result<A, E>>,
}

/// Why a whole group was not written.
#[derive(Clone, Debug)]
pub(super) enum Failure {
    /// Another process owns the store.
    Fenced,
    /// The database cannot write.
    Unavailable(String),
}

impl Queue {
    /// The queue's two ends.
    pub(super) fn new() -> (Self, mpsc::Receiver<Job>) {
        let (sender, receiver) = mpsc::channel(QUEUE_MAX);
        (Self(sender), receiver)
    }

    /// Puts a job and waits for its answer. A full queue is an answer too: unavailable, at once.
    pub(super) async fn ask<Q, A, E>(
        &self,
        question: Q,
        job: impl FnOnce(Ask<Q, A, E>) -> Job,
    ) -> Result<A, E>
    where
        E: From<Failure>,
    {
        let (reply, answer) = oneshot::channel();
        self.0.try_send(job(Ask { question, answer: None, reply })).map_err(|error| match error {
            mpsc::error::TrySendError::Full(_) => {
                Failure::Unavailable(format!("{QUEUE_MAX} writes are waiting already"))
            }
            mpsc::error::TrySendError::Closed(_) => stopped(),
        })?;
        answer.await.unwrap_or_else(|_| Err(stopped().into()))
    }

    /// Asks the writer to finish what waits and stop; returns when it has.
    pub(super) async fn close(&self) {
        let (reply, answer) = oneshot::channel();
        let close = Job::Close(Ask { question: (), answer: None, reply });
        if self.0.send(close).await.is_ok() {
            // An error means that the writer is gone, which is what was asked for.
            let _ = answer.await;
        }
    }

    /// Jobs that wait now.
    pub(super) fn depth(&self) -> usize {
        QUEUE_MAX - self.0.capacity()
    }
}

impl Job {
    /// Whether this is a new session, or the key of a request that may open one: what a full file refuses.
    pub(super) fn opens(&self) -> bool {
        match self {
            Self::Commit(ask) => ask.question.before.is_none(),
            Self::BeginReplay(_) => true,
            Self::AddClient(_)
            | Self::RevokeClient(_)
            | Self::Credential(_)
            | Self::Settle(_)
            | Self::EndReplay(_)
            | Self::SettleDeliveries(_)
            | Self::ReplayDelivery(_)
            | Self::KeepNotifications(_)
            | Self::NotificationTakenUp(_)
            | Self::Purge(_)
            | Self::Close(_) => false,
        }
    }

    /// Gives the answer that the group's commit made true.
    pub(super) fn done(self) {
        match self {
            Self::Commit(ask) => ask.done(),
            Self::AddClient(ask) => ask.done(),
            Self::RevokeClient(ask) => ask.done(),
            Self::Credential(ask) => ask.done(),
            Self::Settle(ask) => ask.done(),
            Self::BeginReplay(ask) => ask.done(),
            Self::EndReplay(ask) => ask.done(),
            Self::SettleDeliveries(ask) => ask.done(),
            Self::ReplayDelivery(ask) => ask.done(),
            Self::KeepNotifications(ask) => ask.done(),
            Self::NotificationTakenUp(ask) => ask.done(),
            Self::Purge(ask) => ask.done(),
            Self::Close(ask) => ask.done(),
        }
    }

    /// Says that nothing was written.
    pub(super) fn failed(self, failure: &Failure) {
        match self {
            Self::Commit(ask) => ask.give(Err(failure.clone().into())),
            Self::AddClient(ask) => ask.give(Err(failure.clone().into())),
            Self::RevokeClient(ask) => ask.give(Err(failure.clone().into())),
            Self::Credential(ask) => ask.give(Err(failure.clone().into())),
            Self::Settle(ask) => ask.give(Err(failure.clone().into())),
            Self::BeginReplay(ask) => ask.give(Err(failure.clone().into())),
            Self::EndReplay(ask) => ask.give(Err(failure.clone().into())),
            Self::SettleDeliveries(ask) => ask.give(Err(failure.clone().into())),
            Self::ReplayDelivery(ask) => ask.give(Err(failure.clone().into())),
            Self::KeepNotifications(ask) => ask.give(Err(failure.clone().into())),
            Self::NotificationTakenUp(ask) => ask.give(Err(failure.clone().into())),
            Self::Purge(ask) => ask.give(Err(failure.clone().into())),
            Self::Close(ask) => ask.give(Err(failure.clone().into())),
        }
    }
}

impl<Q, A, E: From<Failure>> Ask<Q, A, E> {
    /// Answers now.
    pub(super) fn give(self, answer: Result<A, E>) {
        // A caller that no longer listens has given up on the answer, not on the write.
        let _ = self.reply.send(answer);
    }

    fn done(mut self) {
        let answer = self.answer.take();
        self.give(answer.unwrap_or_else(|| Err(stopped().into())));
    }
}

fn stopped() -> Failure {
    Failure::Unavailable("the store is closed".to_owned())
}

impl From<Failure> for StoreUnavailable {
    fn from(failure: Failure) -> Self {
        match failure {
            Failure::Fenced => Self(CommitError::Fenced.to_string()),
            Failure::Unavailable(why) => Self(why),
        }
    }
}

impl From<Failure> for CommitError {
    fn from(failure: Failure) -> Self {
        match failure {
            Failure::Fenced => Self::Fenced,
            Failure::Unavailable(why) => Self::Unavailable(StoreUnavailable(why)),
        }
    }
}

#[cfg(test)]
mod tests {
    use hushpad_domain::time::Timestamp;

    use super::{Job, QUEUE_MAX, Queue};

    #[tokio::test]
    async fn a_full_queue_is_unavailable_at_once() {
        let (queue, jobs) = Queue::new();
        let waiting: Vec<_> = (0..QUEUE_MAX)
            .map(|_| {
                let queue = queue.clone();
                tokio::spawn(async move { queue.ask(Timestamp::from_micros(0), Job::Purge).await })
            })
            .collect();
        while queue.depth() < QUEUE_MAX {
            tokio::task::yield_now().await;
        }
        assert!(queue.ask(Timestamp::from_micros(0), Job::Purge).await.is_err());
        // The writer dies: those that wait hear of it.
        drop(jobs);
        for asked in waiting {
            assert!(asked.await.unwrap().is_err());
        }
    }

    #[tokio::test]
    async fn a_dead_writer_is_told_not_waited_for() {
        let (queue, jobs) = Queue::new();
        drop(jobs);
        let answer = queue.ask(Timestamp::from_micros(0), Job::Purge).await;
        assert_eq!(answer.unwrap_err().to_string(), "the store is unavailable: the store is closed");
        queue.close().await;
    }
}
