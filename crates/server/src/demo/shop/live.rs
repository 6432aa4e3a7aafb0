//! The page's event stream: the picture of both ends of the call, each key press and whether the agent could hear
//! it, the call's state, the log of the API, the payment's status.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use futures_util::{StreamExt, stream};
use serde::Serialize;
use serde_json::json;
use tokio::sync::OwnedSemaphorePermit;

use super::Shop;
use super::payment::Book;
use crate::demo::Phones;
use crate::demo::ear;
use crate::demo::phone::{CallState, KeyCarrier, PRESS_MS, Press, Record, SAMPLE_RATE_HZ, Track};

/// Pages at once: one person's tabs.
pub(super) const MAX_VIEWERS: usize = 8;
/// How much of the call the picture shows.
const PICTURE_MS: u64 = 15_000;
/// The picture's columns.
const COLUMN_MS: u64 = 20;
/// The picture stops this far short of now, so that packets under way are in it.
const UNDER_WAY_MS: u64 = 120;
/// How often the page is told news.
const NEWS_EVERY: Duration = Duration::from_millis(100);
/// A press is judged this long after its end: the guard's look-back and the network's delay have passed by then.
const JUDGE_AFTER_MS: u64 = 300;
/// Judgements remembered; each is told to the pages within a second.
const MAX_JUDGEMENTS: usize = 256;

/// `GET /live`.
pub(super) async fn stream(State(shop): State<Arc<Shop>>) -> Response {
    let Ok(place) = shop.live.clone().try_acquire_owned() else {
        return (StatusCode::SERVICE_UNAVAILABLE, "too many pages are open").into_response();
    };
    let viewer = Viewer::new(shop, place);
    let news = stream::unfold(viewer, |mut viewer| async {
        viewer.ticks.tick().await;
        Some((stream::iter(viewer.news()), viewer))
    });
    Sse::new(news.flatten()).keep_alive(KeepAlive::default()).into_response()
}

/// Judges key presses as they come, for as long as the shop is open.
pub(super) async fn judge(shop: Arc<Shop>) {
    let mut ticks = tokio::time::interval(NEWS_EVERY);
    loop {
        ticks.tick().await;
        shop.judge.look(shop.till.read(Book::is_paying));
    }
}

/// Says of each key press whether the agent could hear it.
pub(super) struct Judge {
    phones: Arc<Phones>,
    book: Mutex<Judgements>,
}

#[derive(Default)]
struct Judgements {
    latest: VecDeque<Judgement>,
    /// Presses judged ever: they are judged in order.
    judged: u64,
    tally: Tally,
}

/// How the latest payment's key presses were judged.
#[derive(Clone, Copy, Default, Serialize)]
struct Tally {
    /// Whether that payment was open when the latest press was judged.
    paying: bool,
    pressed: u64,
    heard: u64,
}

/// The independent ear's word on one key press.
#[derive(Clone, Debug, Serialize)]
struct Judgement {
    number: u64,
    /// Whether a tone, a telephone-event or an INFO reached the agent's phone.
    heard: bool,
    /// The loudest the agent's ear got at any DTMF frequency meanwhile.
    residue_dbm0: f64,
}

impl Judge {
    pub(super) fn new(phones: Arc<Phones>) -> Self {
        Self { phones, book: Mutex::new(Judgements::default()) }
    }

    /// A payment was opened: the count begins anew.
    pub(super) fn begin_payment(&self) {
        self.book.lock().unwrap_or_else(PoisonError::into_inner).tally = Tally::default();
    }

    fn look(&self, paying: bool) {
        let now_ms = self.phones.clock.now_ms();
        let judged = self.read(|book| book.judged);
        let due: Vec<Press> = self.phones.customer.line().read(|record| {
            let due =
                |press: &&Press| press.number >= judged && press.at_ms + PRESS_MS + JUDGE_AFTER_MS <= now_ms;
            record.presses.iter().filter(due).copied().collect()
        });
        for press in due {
            let judgement = self.phones.agent.line().read(|record| judgement(record, &press));
            let mut book = self.book.lock().unwrap_or_else(PoisonError::into_inner);
            if book.latest.len() == MAX_JUDGEMENTS {
                book.latest.pop_front();
            }
            book.judged = press.number + 1;
            book.tally.paying = paying;
            if paying {
                book.tally.pressed += 1;
                book.tally.heard += u64::from(judgement.heard);
            }
            book.latest.push_back(judgement);
        }
    }

    fn read<T>(&self, look: impl FnOnce(&Judgements) -> T) -> T {
        look(&self.book.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// Judges one press by what the agent's phone got from its start to well after its end.
fn judgement(agent: &Record, press: &Press) -> Judgement {
    let until_ms = press.at_ms + PRESS_MS + 60;
    let audio = agent.heard.span(press.at_ms, until_ms);
    Judgement {
        number: press.number,
        heard: !ear::tones(&audio).is_empty() || agent.strange_between(press.at_ms, until_ms),
        residue_dbm0: ear::loudest_in_tone_bands_dbm0(&audio).round(),
    }
}

/// A press as the page draws it.
#[derive(Serialize)]
struct ShownPress {
    number: u64,
    key: char,
    carrier: KeyCarrier,
    at_ms: u64,
    length_ms: u64,
}

/// One open page, and what it has been told.
struct Viewer {
    shop: Arc<Shop>,
    ticks: tokio::time::Interval,
    picture_until_ms: u64,
    presses: u64,
    judgements: u64,
    exchanges: u64,
    payment: u64,
    call: Option<CallState>,
    _place: OwnedSemaphorePermit,
}

impl Viewer {
    fn new(shop: Arc<Shop>, place: OwnedSemaphorePermit) -> Self {
        let from_ms = shop.phones.clock.now_ms().saturating_sub(PICTURE_MS);
        Self {
            ticks: tokio::time::interval(NEWS_EVERY),
            picture_until_ms: from_ms / COLUMN_MS * COLUMN_MS,
            presses: 0,
            judgements: 0,
            exchanges: 0,
            payment: 0,
            call: None,
            shop,
            _place: place,
        }
    }

    fn news(&mut self) -> Vec<Result<Event, Infallible>> {
        let mut news = Vec::new();
        self.tell_call(&mut news);
        self.tell_presses(&mut news);
        self.tell_picture(&mut news);
        self.tell_till(&mut news);
        news.into_iter().map(Ok).collect()
    }

    fn tell_call(&mut self, news: &mut Vec<Event>) {
        let call = self.shop.phones.customer.line().state().borrow().clone();
        if self.call.as_ref() == Some(&call) {
            return;
        }
        let (state, why) = match &call {
            CallState::Idle => ("idle", ""),
            CallState::Calling => ("calling", ""),
            CallState::InCall => ("in_call", ""),
            CallState::Ended(why) => ("ended", why.as_str()),
        };
        news.extend(event(
            "call",
            &json!({ "state": state, "why": why, "agent": self.shop.parts.agent_user }),
        ));
        self.call = Some(call);
    }

    fn tell_presses(&mut self, news: &mut Vec<Event>) {
        let seen = self.presses;
        let presses: Vec<Press> = self
            .shop
            .phones
            .customer
            .line()
            .read(|record| record.presses.iter().filter(|press| press.number >= seen).copied().collect());
        for press in presses {
            self.presses = press.number + 1;
            let Press { number, key, carrier, at_ms } = press;
            news.extend(event("press", &ShownPress { number, key, carrier, at_ms, length_ms: PRESS_MS }));
        }
        let seen = self.judgements;
        let (judgements, tally) = self.shop.judge.read(|book| {
            let new = book.latest.iter().filter(|judgement| judgement.number >= seen).cloned();
            (new.collect::<Vec<_>>(), book.tally)
        });
        for judgement in judgements {
            self.judgements = judgement.number + 1;
            news.extend(event("judgement", &json!({ "press": judgement, "tally": tally })));
        }
    }

    fn tell_picture(&mut self, news: &mut Vec<Event>) {
        let now_ms = self.shop.phones.clock.now_ms().saturating_sub(UNDER_WAY_MS);
        let (from_ms, until_ms) = (self.picture_until_ms, now_ms / COLUMN_MS * COLUMN_MS);
        if until_ms <= from_ms {
            return;
        }
        let phones = &self.shop.phones;
        let sent = phones.customer.line().read(|record| columns(&record.sent, from_ms, until_ms));
        let heard = phones.agent.line().read(|record| columns(&record.heard, from_ms, until_ms));
        news.extend(event("picture", &json!({ "fromMs": from_ms, "sent": sent, "heard": heard })));
        self.picture_until_ms = until_ms;
    }

    fn tell_till(&mut self, news: &mut Vec<Event>) {
        let (exchanges, payment) = self.shop.till.read(|book| {
            let payment = (book.version != self.payment).then(|| (book.version, book.payment().cloned()));
            (book.exchanges_after(self.exchanges), payment)
        });
        let (new, seen) = exchanges;
        self.exchanges = seen;
        news.extend(new.iter().flat_map(|exchange| event("exchange", exchange)));
        if let Some((version, payment)) = payment {
            self.payment = version;
            news.extend(event("payment", &payment));
        }
    }
}

/// Lowest and highest sample of every 20 ms, each from −128 to 127, one pair after the other.
fn columns(track: &Track, from_ms: u64, until_ms: u64) -> Vec<i16> {
    let column = (COLUMN_MS * u64::from(SAMPLE_RATE_HZ) / 1000) as usize;
    let extremes = |samples: &[i16]| {
        let low = samples.iter().min().copied().unwrap_or(0) >> 8;
        let high = samples.iter().max().copied().unwrap_or(0) >> 8;
        [low, high]
    };
    track.span(from_ms, until_ms).chunks(column).flat_map(extremes).collect()
}

/// None only for data that is no JSON, which these types cannot be.
fn event(name: &str, data: &impl Serialize) -> Option<Event> {
    Event::default().event(name).json_data(data).ok()
}
