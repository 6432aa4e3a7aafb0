//! Moves the write-ahead log into the file beside the writer, which else would stop for it: a thousand pages written to
//! scattered places and a sync of the file, again and again under load.
//!
//! SQLite's own check-point at [`LOG_PAGES_MAX`] stays: it starts the log anew, finds most of the work done, and bounds the
//! log should this one fail.

use std::sync::Arc;

use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{ConnectOptions, Connection, SqliteConnection};
use tokio::sync::{Mutex, OwnedMutexGuard, mpsc};
use tokio::task::JoinHandle;
use tracing::warn;

/// Pages in the log at which the writer itself moves it: 16 MiB.
pub(super) const LOG_PAGES_MAX: u32 = 4_096;
/// Jobs after which the log is moved. Each writes about five pages, so there are three or four turns until
/// [`LOG_PAGES_MAX`].
const JOBS_BETWEEN: usize = 256;

/// The writer's end.
pub(super) struct Checkpoints {
    nudge: mpsc::Sender<()>,
    task: JoinHandle<()>,
    /// Held while the log is moved.
    moving: Arc<Mutex<()>>,
    /// Jobs written since the last nudge.
    written: usize,
}

impl Checkpoints {
    /// Beside the writer of the file that these options open.
    pub(super) fn beside_writer(options: SqliteConnectOptions) -> Self {
        // One that waits stands for all.
        let (nudge, nudges) = mpsc::channel(1);
        let moving = Arc::new(Mutex::new(()));
        let task = tokio::spawn(run(options, nudges, Arc::clone(&moving)));
        Self { nudge, task, moving, written: 0 }
    }

    /// So many jobs are in the log.
    pub(super) fn written(&mut self, jobs: usize) {
        self.written += jobs;
        if self.written >= JOBS_BETWEEN && self.nudge.try_send(()).is_ok() {
            self.written = 0;
        }
    }

    /// Waits until the log is not being moved, and keeps it so. Of two check-points at once SQLite refuses one, and does not
    /// let it wait (`sqlite3_wal_checkpoint_v2`).
    pub(super) async fn pause(&self) -> OwnedMutexGuard<()> {
        Arc::clone(&self.moving).lock_owned().await
    }

    /// Lets go of the file.
    pub(super) async fn close(self) {
        drop(self.nudge);
        if self.task.await.is_err() {
            warn!("the store's check-points had ended before it");
        }
    }
}

async fn run(options: SqliteConnectOptions, mut nudges: mpsc::Receiver<()>, moving: Arc<Mutex<()>>) {
    let mut connection = None;
    while nudges.recv().await.is_some() {
        let _moving = moving.lock().await;
        if let Err(error) = move_log(&mut connection, &options).await {
            warn!(%error, "the log could not be moved into the store's file beside the writer");
            connection = None;
        }
    }
    if let Some(connection) = connection {
        // The file is whole with or without it.
        let _ = connection.close().await;
    }
}

/// As far as no reader needs the log. Nobody waits for it, neither writer nor reader.
async fn move_log(
    connection: &mut Option<SqliteConnection>,
    options: &SqliteConnectOptions,
) -> Result<(), sqlx::Error> {
    let connection = match connection {
        Some(connection) => connection,
        None => connection.insert(options.connect().await?),
    };
    sqlx::query("PRAGMA wal_checkpoint(PASSIVE)").execute(connection).await.map(|_| ())
}
