//! Log lines: one JSON object or one line of text each, and a last check that none holds a card number.

use std::io::{self, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use hushpad_domain::text::mask_card_numbers;
use tracing::{Level, Metadata};
use tracing_subscriber::filter::{EnvFilter, FilterExt, filter_fn};
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::layer::{Layer, SubscriberExt};
use tracing_subscriber::util::SubscriberInitExt;

/// The SIP stack logs message bodies, which may hold digits, at INFO and below. A directive for it could be
/// overruled by a narrower one (`rsipstack::transport=trace`), so it is held here, beside the operator's filter.
const SIP_STACK: &str = "rsipstack";

/// How log lines are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum LogFormat {
    /// For people.
    Text,
    /// For machines.
    Json,
}

/// Starts logging to standard error. `filter` is a level or `tracing` directives, such as `info`.
///
/// # Errors
/// When the filter cannot be read.
pub fn start(filter: &str, format: LogFormat, redactor: &Redactor) -> anyhow::Result<()> {
    let filter = EnvFilter::try_new(filter)?.and(filter_fn(may_be_logged));
    let lines = tracing_subscriber::fmt::layer().with_writer(redactor.clone());
    let lines = match format {
        LogFormat::Text => lines.with_target(false).with_ansi(false).boxed(),
        LogFormat::Json => lines.json().flatten_event(true).with_current_span(false).boxed(),
    };
    tracing_subscriber::registry().with(lines.with_filter(filter)).init();
    Ok(())
}

/// Whatever the operator asks for: no message of the SIP stack below ERROR.
fn may_be_logged(metadata: &Metadata<'_>) -> bool {
    !metadata.target().starts_with(SIP_STACK) || *metadata.level() == Level::ERROR
}

/// Hides card numbers in log lines and counts them. The count must stay 0: a hit is a bug elsewhere.
#[derive(Clone, Default)]
pub struct Redactor {
    hits: Arc<AtomicU64>,
}

impl Redactor {
    /// How many lines held a card number.
    #[must_use]
    pub fn hits(&self) -> u64 {
        self.hits.load(Ordering::Relaxed)
    }

    fn write_line(&self, line: &[u8], out: &mut dyn Write) -> io::Result<()> {
        match std::str::from_utf8(line).ok().and_then(mask_card_numbers) {
            Some(masked) => {
                self.hits.fetch_add(1, Ordering::Relaxed);
                out.write_all(masked.as_bytes())
            }
            None => out.write_all(line),
        }
    }
}

impl<'a> MakeWriter<'a> for Redactor {
    type Writer = LineWriter;

    fn make_writer(&'a self) -> Self::Writer {
        LineWriter { redactor: self.clone(), line: Vec::new() }
    }
}

/// Gathers one log line and writes it whole.
pub struct LineWriter {
    redactor: Redactor,
    line: Vec<u8>,
}

impl Write for LineWriter {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.line.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Drop for LineWriter {
    fn drop(&mut self) {
        // A log that cannot be written must not stop a call.
        let _ = self.redactor.write_line(&self.line, &mut io::stderr().lock());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_card_number_in_a_log_line_is_hidden_and_counted() {
        let redactor = Redactor::default();
        let mut out = Vec::new();
        redactor.write_line(b"INFO key 4111 1111 1111 1111\n", &mut out).unwrap();
        redactor.write_line(b"INFO nothing here\n", &mut out).unwrap();
        insta::assert_snapshot!(String::from_utf8(out).unwrap(), @r"
        INFO key *******************
        INFO nothing here
        ");
        assert_eq!(redactor.hits(), 1);
    }
}
