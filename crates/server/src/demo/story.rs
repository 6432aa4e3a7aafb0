//! `hushpad demo --once`: the whole story without a browser, told in the terminal, and judged.

use std::fmt;
use std::io::Write;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context, bail};

use super::agent_page::{AgentPage, DOT, Shown};
use super::api::{Exchange, Order, PaymentApi, SessionStatus};
use super::ear::{self, HeardTone};
use super::phone::{KeyCarrier, Line, PRESS_MS, Press};
use super::{DemoParts, Phones};

/// How long both talk before and after the payment, so that the ear has something to judge.
const TALK: Duration = Duration::from_secs(3);
/// How long the page may take to show what a key press or a button did.
const SHOWN_WITHIN: Duration = Duration::from_secs(15);
/// How often, and how many times, the shop asks for the result: longer than the server asks the gateway.
const POLL_EVERY: Duration = Duration::from_millis(500);
const POLLS: u32 = 120;
/// How long after the end of a press something of it may still arrive: the guard's look-back, and the loopback's delay.
const ARRIVES_WITHIN_MS: u64 = 60;
/// What is left in the tone bands during a press must be quieter than this: the guard's bar.
const RESIDUE_DBM0: f64 = -55.0;

/// What is typed into one field, and how it travels.
struct Entry {
    field: &'static str,
    keys: &'static str,
    carrier: KeyCarrier,
    /// As the agent calls it.
    name: &'static str,
}

/// A published test card, and each of the three carriers once.
const ENTRIES: [Entry; 3] = [
    Entry {
        field: "card_number",
        keys: "4111 1111 1111 1111#",
        carrier: KeyCarrier::InBand,
        name: "the card number, then the hash key",
    },
    Entry { field: "expiry", keys: "12 30", carrier: KeyCarrier::Info, name: "the expiry date" },
    Entry { field: "security_code", keys: "123", carrier: KeyCarrier::Event, name: "the security code" },
];

/// How the story ended, and what an independent ear says about it.
#[derive(Clone, Debug)]
pub struct Verdict {
    /// What the API says became of the payment.
    pub outcome: Option<String>,
    /// How many keys the customer pressed.
    pub keys_pressed: usize,
    /// Tones in the agent's ear from the opening of the session to the end of the call.
    pub tones_heard: Vec<HeardTone>,
    /// RTP packets other than speech, and SIP INFO requests, that reached the agent's phone in all.
    pub events_heard: u64,
    /// The loudest the agent's ear got at any DTMF frequency during a press.
    pub residue_dbm0: f64,
    /// Loudest speech in the agent's ear.
    pub agent_heard: SpeechHeard,
    /// Loudest speech in the customer's ear.
    pub customer_heard: SpeechHeard,
}

/// The loudest 200 ms of speech in one ear, in three parts of the call.
#[derive(Clone, Copy, Debug)]
pub struct SpeechHeard {
    /// Before the session was opened.
    pub before_dbm0: f64,
    /// From the first key press to the last.
    pub during_dbm0: f64,
    /// After the payment.
    pub after_dbm0: f64,
}

impl Verdict {
    /// Whether all is as promised.
    #[must_use]
    pub fn passed(&self) -> bool {
        self.checks().iter().all(|(_, holds)| *holds)
    }

    fn checks(&self) -> [(String, bool); 6] {
        let heard = |who: &str, speech: &SpeechHeard| {
            let SpeechHeard { before_dbm0, during_dbm0, after_dbm0 } = speech;
            let text = format!(
                "{who} heard speech before, during and after: {before_dbm0:.0}, {during_dbm0:.0}, {after_dbm0:.0} dBm0"
            );
            (text, [before_dbm0, during_dbm0, after_dbm0].iter().all(|level| **level > ear::SPEECH_DBM0))
        };
        let outcome = self.outcome.as_deref().unwrap_or("none");
        [
            (format!("the payment is {outcome}"), outcome == "approved"),
            (
                format!("of {} keys, the agent could hear {}", self.keys_pressed, self.tones_heard.len()),
                self.keys_pressed > 0 && self.tones_heard.is_empty(),
            ),
            (
                format!("telephone-events and INFOs that reached the agent: {}", self.events_heard),
                self.events_heard == 0,
            ),
            (
                format!("loudest residue in the tone bands during a press: {:.0} dBm0", self.residue_dbm0),
                self.residue_dbm0 <= RESIDUE_DBM0,
            ),
            heard("the agent", &self.agent_heard),
            heard("the customer", &self.customer_heard),
        ]
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (text, holds) in self.checks() {
            writeln!(f, "   {} {text}", if holds { "ok  " } else { "FAIL" })?;
        }
        Ok(())
    }
}

/// Plays the story: a call, a payment session, three fields keyed, a payment, and the same call going on. Everything
/// that happens is written to `out`; tokens and secrets are cut short.
///
/// # Errors
/// When a step could not be done. A payment that is declined, or a tone that is heard, is no error but a [`Verdict`].
pub async fn play_once(
    parts: DemoParts,
    phones: Phones,
    out: &mut (dyn Write + Send),
) -> anyhow::Result<Verdict> {
    let exchanges = Arc::new(Mutex::new(Vec::new()));
    let noting = exchanges.clone();
    let note = move |exchange| noting.lock().unwrap_or_else(PoisonError::into_inner).push(exchange);
    let api = PaymentApi::new(&parts, Arc::new(note));
    Story { parts, phones, api, exchanges, out, shown: None }.play().await
}

struct Story<'a> {
    parts: DemoParts,
    phones: Phones,
    api: PaymentApi,
    exchanges: Arc<Mutex<Vec<Exchange>>>,
    out: &'a mut (dyn Write + Send),
    /// What the page showed last.
    shown: Option<Shown>,
}

/// Of a field that is being typed, every fourth key: a card number would fill the screen.
fn is_worth_telling(line: &str) -> bool {
    line.matches(DOT).count().is_multiple_of(4) || !line.contains("typed")
}

/// Times on the phones' clock.
struct Moments {
    call_ms: u64,
    session_ms: u64,
    paid_ms: u64,
    end_ms: u64,
}

impl Story<'_> {
    async fn play(mut self) -> anyhow::Result<Verdict> {
        self.say("The customer calls the agent")?;
        let agent = self.parts.agent_user.clone();
        self.phones.customer.call(self.parts.sip, &agent).await.context("the call")?;
        let call_ms = self.phones.clock.now_ms();
        self.tell(&format!("{agent} answers; both talk"))?;
        tokio::time::sleep(TALK).await;

        self.say("The shop's back end opens a payment session")?;
        let session_ms = self.phones.clock.now_ms();
        let order = Order { amount: "12.40".into(), currency: "GBP".into(), reference: "ORDER-1001".into() };
        let token = self.api.token().await;
        self.tell_exchanges()?;
        let token = token.context("the token")?;
        let session = self.api.open_session(&token, &order).await;
        self.tell_exchanges()?;
        let session = session.context("the session")?;

        self.say("The agent's page opens in the shop's frame")?;
        self.tell(&format!("POST {}", session.iframe_url))?;
        let mut page = AgentPage::open(&session).await.context("the agent page")?;
        self.see(&mut page, |_| true).await?;

        for entry in &ENTRIES {
            self.enter(&mut page, entry).await.with_context(|| format!("entry of {}", entry.name))?;
        }

        self.say("The agent presses Pay")?;
        page.act(&[("action", "pay")]).await?;
        let status = self.result(&token, &session.session_guid).await?;
        let paid_ms = self.phones.clock.now_ms();
        self.see(&mut page, |shown| shown.phase == "ended").await.context("the result on the page")?;

        self.say("The call goes on, then the customer hangs up")?;
        tokio::time::sleep(TALK).await;
        let end_ms = self.phones.clock.now_ms();
        self.phones.customer.line().hang_up().await?;

        self.say("What each side heard")?;
        let verdict = self.judge(&status, &Moments { call_ms, session_ms, paid_ms, end_ms });
        write!(self.out, "{verdict}")?;
        let word = if verdict.passed() { "paid, and the agent heard no key" } else { "NOT as promised" };
        self.say(&format!("Result: {word}"))?;
        Ok(verdict)
    }

    /// The agent starts a field, the customer types it, the page shows that it is valid.
    async fn enter(&mut self, page: &mut AgentPage, entry: &Entry) -> anyhow::Result<()> {
        let Entry { field, keys, carrier, name } = *entry;
        self.say(&format!("The agent asks for {name}; the keys travel as {}", carrier.name()))?;
        let is_open = |shown: &Shown| shown.field(field) == Some("typing");
        // The page goes on to the next field by itself when one is complete.
        if !self.shown.as_ref().is_some_and(is_open) {
            page.act(&[("action", "start"), ("field", field)]).await?;
            self.see(page, is_open).await?;
        }
        self.phones.customer.press(keys, carrier).await?;
        self.see(page, |shown| !matches!(shown.field(field), Some("typing" | "waiting"))).await?;
        self.phones.customer.keys_done().await;
        Ok(())
    }

    /// Follows the page until it shows what is waited for, telling what is new on it.
    async fn see(&mut self, page: &mut AgentPage, enough: impl Fn(&Shown) -> bool) -> anyhow::Result<()> {
        loop {
            let shown = match tokio::time::timeout(SHOWN_WITHIN, page.next()).await {
                Ok(shown) => shown?,
                Err(_) => bail!("the page did not show it"),
            };
            let before = self.shown.as_ref().map(Shown::lines).unwrap_or_default();
            for line in shown.lines().iter().filter(|line| !before.contains(line) && is_worth_telling(line)) {
                self.tell(&format!("page: {line}"))?;
            }
            self.shown = Some(shown.clone());
            if enough(&shown) {
                return Ok(());
            }
        }
    }

    /// Asks the API until the session is over.
    async fn result(&mut self, token: &str, session_guid: &str) -> anyhow::Result<SessionStatus> {
        for _ in 0..POLLS {
            let status = self.api.status(token, session_guid).await;
            self.tell_exchanges()?;
            let status = status.context("the status")?;
            if status.is_terminal() {
                return Ok(status);
            }
            tokio::time::sleep(POLL_EVERY).await;
        }
        bail!("the session did not end")
    }

    fn judge(&self, status: &SessionStatus, at: &Moments) -> Verdict {
        let presses: Vec<Press> = self.phones.customer.line().read(|record| {
            record.presses.iter().filter(|press| press.at_ms >= at.session_ms).copied().collect()
        });
        let first_ms = presses.first().map_or(at.session_ms, |press| press.at_ms);
        let last_ms = presses.last().map_or(at.paid_ms, |press| press.at_ms);
        let speech = |line: &Line| {
            let loudest = |from_ms, until_ms| {
                ear::loudest_speech_dbm0(&line.read(|record| record.heard.span(from_ms, until_ms)))
            };
            SpeechHeard {
                before_dbm0: loudest(at.call_ms, at.session_ms),
                during_dbm0: loudest(first_ms, last_ms),
                after_dbm0: loudest(at.paid_ms, at.end_ms),
            }
        };
        let agent = self.phones.agent.line();
        let (audio, pressed, events_heard) = agent.read(|record| {
            let during =
                |press: &Press| record.heard.span(press.at_ms, press.at_ms + PRESS_MS + ARRIVES_WITHIN_MS);
            let pressed: Vec<Vec<i16>> = presses.iter().map(during).collect();
            let events_heard = record.events_heard() + record.infos_heard;
            (record.heard.span(at.session_ms, at.end_ms), pressed, events_heard)
        });
        let residues = pressed.iter().map(|audio| ear::loudest_in_tone_bands_dbm0(audio));
        Verdict {
            outcome: status.outcome.clone(),
            keys_pressed: presses.len(),
            tones_heard: ear::tones(&audio),
            events_heard,
            residue_dbm0: residues.fold(ear::SILENCE_DBM0, f64::max),
            agent_heard: speech(agent),
            customer_heard: speech(self.phones.customer.line()),
        }
    }

    fn say(&mut self, title: &str) -> anyhow::Result<()> {
        Ok(writeln!(self.out, "\n── {title}")?)
    }

    fn tell(&mut self, line: &str) -> anyhow::Result<()> {
        Ok(writeln!(self.out, "   {line}")?)
    }

    fn tell_exchanges(&mut self) -> anyhow::Result<()> {
        let new = std::mem::take(&mut *self.exchanges.lock().unwrap_or_else(PoisonError::into_inner));
        for exchange in new {
            self.tell(&format!("→ {}", exchange.request))?;
            self.tell_indented(&exchange.request_body)?;
            let status = exchange.status.map_or("no reply".to_owned(), |status| status.to_string());
            self.tell(&format!("← {status}"))?;
            self.tell_indented(&exchange.reply_body)?;
        }
        Ok(())
    }

    fn tell_indented(&mut self, text: &str) -> anyhow::Result<()> {
        for line in text.lines() {
            self.tell(&format!("    {line}"))?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn as_promised() -> Verdict {
        let speech = SpeechHeard { before_dbm0: -15.0, during_dbm0: -16.0, after_dbm0: -14.0 };
        Verdict {
            outcome: Some("approved".into()),
            keys_pressed: 24,
            tones_heard: Vec::new(),
            events_heard: 0,
            residue_dbm0: -70.0,
            agent_heard: speech,
            customer_heard: speech,
        }
    }

    #[test]
    fn one_broken_promise_is_enough_to_fail() {
        assert!(as_promised().passed());
        let tone = HeardTone { key: '4', at_ms: 0, length_ms: 40, level_dbm0: -30.0 };
        let silence = SpeechHeard { before_dbm0: -15.0, during_dbm0: -60.0, after_dbm0: -14.0 };
        let broken = [
            Verdict { outcome: Some("declined".into()), ..as_promised() },
            Verdict { outcome: None, ..as_promised() },
            Verdict { keys_pressed: 0, ..as_promised() },
            Verdict { tones_heard: vec![tone], ..as_promised() },
            Verdict { events_heard: 1, ..as_promised() },
            Verdict { residue_dbm0: -54.0, ..as_promised() },
            Verdict { agent_heard: silence, ..as_promised() },
            Verdict { customer_heard: silence, ..as_promised() },
        ];
        for verdict in broken {
            assert!(!verdict.passed(), "{verdict}");
            assert_eq!(verdict.to_string().matches("FAIL").count(), 1, "{verdict}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn with_nothing_between_the_phones_the_ear_hears_every_key() {
        let loopback = "127.0.0.1:0".parse().unwrap();
        let phones = Phones::start(loopback, loopback).await.unwrap();
        let parts = DemoParts {
            api_base: String::new(),
            page_base: String::new(),
            sip: phones.agent.line().sip(),
            agent_user: "agent1234".into(),
            client_id: String::new(),
            client_secret: String::new(),
            account_configuration: 0,
        };
        phones.customer.call(parts.sip, &parts.agent_user).await.unwrap();
        let call_ms = phones.clock.now_ms();
        tokio::time::sleep(TALK).await;
        let session_ms = phones.clock.now_ms();
        for (keys, carrier) in
            [("41 1", KeyCarrier::InBand), ("12", KeyCarrier::Info), ("3", KeyCarrier::Event)]
        {
            phones.customer.press(keys, carrier).await.unwrap();
            tokio::time::sleep(TALK).await;
        }
        let paid_ms = phones.clock.now_ms();
        tokio::time::sleep(TALK).await;
        let moments = Moments { call_ms, session_ms, paid_ms, end_ms: phones.clock.now_ms() };
        let api = PaymentApi::new(&parts, Arc::new(|_| ()));
        let mut out = std::io::sink();
        let story = Story { parts, phones, api, exchanges: Arc::default(), out: &mut out, shown: None };
        let status = SessionStatus {
            session_state: "Finished".into(),
            outcome: Some("approved".into()),
            payment_result_data: std::collections::BTreeMap::new(),
        };
        let verdict = story.judge(&status, &moments);
        assert_eq!(verdict.keys_pressed, 6);
        assert_eq!(verdict.tones_heard.iter().map(|tone| tone.key).collect::<String>(), "411");
        assert_eq!(verdict.events_heard, 8 + 2, "the packets of one event, and two INFOs");
        assert!(verdict.residue_dbm0 > -12.0, "{verdict}");
        assert_eq!(verdict.to_string().matches("FAIL").count(), 3, "{verdict}");
    }

    #[test]
    fn of_a_number_being_typed_every_fourth_key_is_told() {
        let told = |typed| is_worth_telling(&format!("Card number: Being typed. {}", "●".repeat(typed)));
        assert_eq!([1, 3, 4, 15, 16].map(told), [false, false, true, false, true]);
        assert!(is_worth_telling("Security code: Complete. ●●●"));
    }
}
