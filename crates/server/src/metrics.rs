//! What the operator can measure, as OpenMetrics text.

use std::sync::atomic::AtomicU64;

use hushpad_domain::webhook::{DeliveryState, TryAnswer};
use hushpad_gateways::Submission;
use hushpad_telephony::key_queue::Alarm;
use prometheus_client::encoding::text::encode;
use prometheus_client::encoding::{EncodeLabelSet, EncodeLabelValue};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;

/// Request durations in seconds: from a memory read to a stuck disk.
const DURATION_BUCKETS_S: [f64; 10] = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.5, 2.0, 10.0];

/// Every metric of the process. Counting takes no lock.
pub struct Metrics {
    registry: Registry,
    requests: Family<RequestLabels, Counter>,
    request_seconds: Histogram,
    attempts: Family<AttemptLabels, Counter>,
    keys: Counter,
    webhooks: Family<WebhookLabels, Counter>,
    recorders: Family<RecorderLabels, Counter>,
    alarms: Family<AlarmLabels, Counter>,
    live: Gauges,
}

/// Numbers that are read when they are asked for.
#[derive(Clone, Default)]
#[expect(missing_docs, reason = "the help texts in `Metrics::new` say it")]
pub struct Gauges {
    pub calls: Gauge,
    pub sessions: Gauge,
    pub pages: Gauge,
    pub redacted_lines: Gauge<u64, AtomicU64>,
    rtp: Family<LegLabels, Gauge<u64, AtomicU64>>,
    pub webhooks_due: Gauge,
    pub webhooks_oldest_s: Gauge,
    pub webhooks_dead: Gauge,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct RequestLabels {
    route: String,
    status: u16,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct AttemptLabels {
    result: AttemptResult,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelValue)]
enum AttemptResult {
    Answered,
    Challenged,
    NotSent,
    Unknown,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct LegLabels {
    leg: String,
    what: String,
}

impl Gauges {
    /// Sets one of the sums about the RTP of calls that ended.
    pub fn set_rtp(&self, leg: &str, what: &str, sum: u64) {
        self.rtp.get_or_create(&LegLabels { leg: leg.to_owned(), what: what.to_owned() }).set(sum);
    }
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct WebhookLabels {
    answer: String,
    state: &'static str,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct RecorderLabels {
    signal: &'static str,
    answer: &'static str,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct AlarmLabels {
    alarm: String,
}

impl Metrics {
    /// Every metric at zero.
    #[must_use]
    pub fn new() -> Self {
        let mut registry = Registry::with_prefix("hushpad");
        let metrics = (
            Family::<RequestLabels, Counter>::default(),
            Histogram::new(DURATION_BUCKETS_S),
            Family::<AttemptLabels, Counter>::default(),
            Counter::default(),
            Family::<AlarmLabels, Counter>::default(),
            Gauges::default(),
        );
        let (requests, request_seconds, attempts, keys, alarms, live) = metrics;
        let webhooks = Family::<WebhookLabels, Counter>::default();
        let recorders = Family::<RecorderLabels, Counter>::default();
        registry.register("recorder_signals", "Signals to recorders, by answer", recorders.clone());
        registry.register("http_requests", "HTTP requests by route and status", requests.clone());
        registry.register("http_request_seconds", "Time to answer a request", request_seconds.clone());
        registry.register("attempts", "Attempts by what came of the request", attempts.clone());
        registry.register("keys", "Keys taken for entry", keys.clone());
        registry.register("entry_alarms", "Entries stopped, by reason", alarms.clone());
        registry.register("webhook_tries", "Tries of webhooks, by answer and what follows", webhooks.clone());
        registry.register("webhooks_due", "Webhooks that wait", live.webhooks_due.clone());
        registry.register(
            "webhooks_oldest_seconds",
            "Age of the oldest webhook that waits",
            live.webhooks_oldest_s.clone(),
        );
        registry.register("webhooks_dead", "Dead letters", live.webhooks_dead.clone());
        registry.register("calls", "Live calls", live.calls.clone());
        registry.register(
            "rtp_of_ended_calls",
            "RTP packets by leg: expected, lost, rejected",
            live.rtp.clone(),
        );
        registry.register("sessions", "Provider sessions with a task", live.sessions.clone());
        registry.register("pages", "Live agent pages", live.pages.clone());
        registry.register(
            "log_lines_redacted",
            "Log lines that held a card number: must stay 0",
            live.redacted_lines.clone(),
        );
        Self { registry, requests, request_seconds, attempts, keys, webhooks, recorders, alarms, live }
    }

    /// A request was answered.
    pub fn request_done(&self, route: &str, status: u16, seconds: f64) {
        self.requests.get_or_create(&RequestLabels { route: route.to_owned(), status }).inc();
        self.request_seconds.observe(seconds);
    }

    /// An attempt's request came to its end.
    pub fn attempt_ended(&self, submission: &Submission) {
        let result = match submission {
            Submission::Answered(_) => AttemptResult::Answered,
            Submission::Challenged(_) => AttemptResult::Challenged,
            Submission::NotSent(_) => AttemptResult::NotSent,
            Submission::Unknown(_) => AttemptResult::Unknown,
        };
        self.attempts.get_or_create(&AttemptLabels { result }).inc();
    }

    /// A webhook was tried.
    pub fn webhook_tried(&self, answer: TryAnswer, state: DeliveryState) {
        let answer = match answer {
            // A receiver must not make a series of each status it can think of.
            TryAnswer::Status(status) => format!("{}xx", status / 100),
            word => word.word(),
        };
        self.webhooks.get_or_create(&WebhookLabels { answer, state: state.name().word() }).inc();
    }

    /// A key was taken for entry. How many, never which.
    pub fn key_taken(&self) {
        self.keys.inc();
    }

    /// A recorder was told to pause or to resume, and answered so.
    pub fn recorder_told(&self, signal: &'static str, answer: &'static str) {
        self.recorders.get_or_create(&RecorderLabels { signal, answer }).inc();
    }

    /// An entry was stopped.
    pub fn entry_alarm(&self, alarm: Alarm) {
        self.alarms.get_or_create(&AlarmLabels { alarm: format!("{alarm:?}") }).inc();
    }

    /// The numbers that are set just before the text is made.
    #[must_use]
    pub fn live(&self) -> &Gauges {
        &self.live
    }

    /// All metrics as OpenMetrics text.
    #[must_use]
    pub fn text(&self) -> String {
        let mut text = String::new();
        // Writing to a `String` does not fail.
        let _ = encode(&mut text, &self.registry);
        text
    }
}

impl Default for Metrics {
    fn default() -> Self {
        Self::new()
    }
}
