//! `hushpad bench`: measures this build on this machine, each figure beside its peer in the same run.

mod keys;
mod load;
mod payments;
mod sessions;
mod webhooks;

use std::io::Write;
use std::time::Duration;

use anyhow::bail;

use crate::cli::BenchArgs;
use crate::log::Redactor;

/// Runs what was asked for and prints tables.
///
/// # Errors
/// When something could not be measured.
pub async fn run(arguments: &BenchArgs, redactor: Redactor, out: &mut dyn Write) -> anyhow::Result<()> {
    match arguments.what.as_str() {
        "sessions" => sessions::run(redactor, out).await,
        "keys" => keys::run(redactor, out).await,
        "webhooks" => webhooks::run(redactor, out).await,
        "payments" => payments::run(out).await,
        "all" => {
            sessions::run(redactor.clone(), out).await?;
            keys::run(redactor.clone(), out).await?;
            webhooks::run(redactor, out).await?;
            payments::run(out).await
        }
        other => bail!("there is no bench `{other}`: sessions, keys, webhooks, payments or all"),
    }
}

/// Names an empty PostgreSQL database to measure beside SQLite. Beside it there is another, of the same name with `_raw`
/// at its end, for the peer.
fn postgres_url() -> Option<String> {
    #[expect(clippy::disallowed_methods, reason = "a bench of the command line")]
    std::env::var("HUSHPAD_BENCH_POSTGRES_URL").ok()
}

/// Durations of one run, for percentiles.
struct Durations(Vec<u64>);

impl Durations {
    fn new(mut micros: Vec<u64>) -> Self {
        micros.sort_unstable();
        Self(micros)
    }

    /// The duration that `share` of all stay below, in milliseconds.
    fn quantile_ms(&self, share: f64) -> f64 {
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            clippy::cast_precision_loss,
            reason = "an index into a list that fits memory"
        )]
        let index = ((self.0.len() as f64 * share) as usize).min(self.0.len().saturating_sub(1));
        #[expect(clippy::cast_precision_loss, reason = "microseconds of a bench run")]
        let micros = self.0.get(index).copied().unwrap_or(0) as f64;
        micros / 1_000.0
    }
}

fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}

#[expect(clippy::cast_precision_loss, reason = "counts of a bench run")]
fn per_second(count: usize, elapsed_us: u64) -> f64 {
    count as f64 * 1e6 / elapsed_us.max(1) as f64
}
