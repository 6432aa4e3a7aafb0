//! The one writer, whatever the engine: takes all jobs that wait, has them written together, and purges
//! between the groups.

use std::collections::VecDeque;

use hushpad_domain::ports::StoreUnavailable;
use hushpad_domain::time::Timestamp;
use tokio::sync::mpsc;

use crate::queue::{Ask, Failure, Job};

/// Jobs in one transaction. Past this the shared `fsync` is already cheap beside the rows themselves, and a
/// larger group would only make its first job wait.
const GROUP_MAX: usize = 128;

/// What an engine does for its writer. It owns the writing connection.
pub(super) trait Engine: Send {
    /// Writes these jobs in one transaction, and answers each once it is durable. A job that is refused
    /// fails alone.
    fn write(&mut self, group: Vec<Job>) -> impl Future<Output = ()> + Send;

    /// Forgets one batch of what is past its retention, in a transaction of its own.
    fn purge(&mut self, now: Timestamp) -> impl Future<Output = Result<Batch, Failure>> + Send;

    /// After the last batch: takes what was wiped out of wherever the engine still keeps it.
    fn purged(&mut self) -> impl Future<Output = Result<(), StoreUnavailable>> + Send;

    /// Lets go of the connection.
    fn close(self) -> impl Future<Output = ()> + Send;
}

/// What a writer may write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Role {
    /// Everything, while the epoch in the store is this one.
    Owner { epoch: i64 },
    /// API clients, settlements, and replays of dead letters.
    Guest,
}

/// What one batch of a purge did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Batch {
    /// Sessions that lost data.
    pub(super) sessions: u64,
    /// Whether there may be more to do.
    pub(super) more: bool,
}

/// Runs an engine.
pub(super) struct Writer<E> {
    engine: E,
    jobs: mpsc::Receiver<Job>,
    purges: VecDeque<Purge>,
    /// Callers that wait for the end.
    closing: Vec<Job>,
}

/// A purge under way: done batch by batch between the groups.
struct Purge {
    ask: Ask<Timestamp, u64, StoreUnavailable>,
    sessions: u64,
}

impl<E: Engine> Writer<E> {
    pub(super) fn new(engine: E, jobs: mpsc::Receiver<Job>) -> Self {
        Self { engine, jobs, purges: VecDeque::new(), closing: Vec::new() }
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
                self.engine.write(group).await;
            }
            self.purge_on().await;
        }
        self.engine.close().await;
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
                | Job::Credential(_)
                | Job::Settle(_)
                | Job::BeginReplay(_)
                | Job::EndReplay(_)
                | Job::SettleDeliveries(_)
                | Job::ReplayDelivery(_)
                | Job::KeepNotifications(_)
                | Job::NotificationTakenUp(_) => group.push(job),
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

    /// Does one batch of the purge that is under way.
    async fn purge_on(&mut self) {
        let Some(mut purge) = self.purges.pop_front() else { return };
        match self.engine.purge(purge.ask.question).await {
            Ok(batch) => {
                purge.sessions += batch.sessions;
                if batch.more {
                    self.purges.push_front(purge);
                } else {
                    let purged = self.engine.purged().await;
                    purge.ask.give(purged.map(|()| purge.sessions));
                }
            }
            Err(failure) => purge.ask.give(Err(failure.into())),
        }
    }
}
