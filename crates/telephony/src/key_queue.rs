//! Keys on their way to the one task that may read them; merged over carriers, wiped when read.
//!
//! The media thread must neither wait nor allocate, and a key that was read must not stay in memory. So
//! the queue is two short rings of atomic words: one written by the media thread, one by signalling (SIP
//! INFO). Reading a word puts zero in its place.

use crate::key::{Carrier, Key, KeyReport};
use atomic_waker::AtomicWaker;
use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Mutex, TryLockError};
use std::task::{Context, Poll};

/// Reports a lane holds: five seconds of keys at the fastest rate that is accepted. A reader that is
/// further behind is not reading any more.
pub const LANE_REPORTS: usize = 64;

/// The same key on two carriers within this time is one press.
pub const MERGE_WINDOW_MS: u64 = 400;

/// Who writes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lane {
    /// The media thread: telephone-events and tones in the audio.
    Media,
    /// Signalling: SIP INFO.
    Signalling,
}

/// Something about the keys is not as it should be: the entry must not go on as if nothing were.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Alarm {
    /// Somebody else sends RTP to the customer's port.
    ForeignSource = 1,
    /// More than twelve keys in a second.
    TooFast = 2,
    /// Keys were lost because nobody read them.
    QueueFull = 4,
    /// The customer's stream was replaced by another one; its keys do not count until secure mode is
    /// entered again.
    StreamChanged = 8,
}

/// Something the agent could do better with, though the entry goes on. It says nothing of which keys came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Hint {
    /// Much of the customer's sound is lost or comes unevenly: keys may be missing.
    PoorLine = 1,
    /// Two keys began so shortly one after the other that a finger bounced, or hurries.
    HastyKeys = 2,
}

const HINTS: [Hint; 2] = [Hint::PoorLine, Hint::HastyKeys];

/// Two presses closer than this are no careful typing: people need 150 ms at their fastest.
const HASTY_MS: u64 = 120;

const ALARMS: [Alarm; 4] = [Alarm::ForeignSource, Alarm::TooFast, Alarm::QueueFull, Alarm::StreamChanged];

/// The queue of one session, shared by `Arc` between the writers and the one reader.
///
/// Every lane has one writer. When any side calls [`close`](Self::close), nothing more goes in, and the
/// relay lets no more of the customer's sound through to the agent.
#[derive(Default)]
pub struct KeyQueue {
    media: Ring,
    signalling: Ring,
    alarms: AtomicU8,
    hints: AtomicU8,
    closed: AtomicBool,
    waker: AtomicWaker,
    /// Touched by the reader alone, so it is never waited for.
    merger: Mutex<Merger>,
}

impl KeyQueue {
    /// An empty queue.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Puts a report in and wakes the reader. `false` when it was not taken: the lane is full, which also
    /// raises [`Alarm::QueueFull`], or the queue is closed.
    pub fn push(&self, lane: Lane, report: KeyReport) -> bool {
        if self.is_closed() {
            return false;
        }
        let taken = self.ring(lane).push(encode(report));
        if taken {
            self.waker.wake();
        } else {
            self.raise(Alarm::QueueFull);
        }
        taken
    }

    /// The next press, each one once, whatever number of carriers reported it. Only the session's owner
    /// may call this; a second reader at the same moment gets nothing.
    pub fn pop(&self) -> Option<KeyReport> {
        let mut merger = match self.merger.try_lock() {
            Ok(merger) => merger,
            Err(TryLockError::Poisoned(poisoned)) => poisoned.into_inner(),
            Err(TryLockError::WouldBlock) => return None,
        };
        while let Some(report) = self.next_report() {
            if merger.is_new(report) {
                if merger.is_hasty(report.at_ms) {
                    self.raise_hint(Hint::HastyKeys);
                }
                return Some(report);
            }
        }
        None
    }

    /// Tells the reader that something is wrong.
    pub fn raise(&self, alarm: Alarm) {
        self.alarms.fetch_or(alarm as u8, Ordering::AcqRel);
        self.waker.wake();
    }

    /// An alarm that was raised since it was last taken.
    pub fn take_alarm(&self) -> Option<Alarm> {
        let raised = self.alarms.load(Ordering::Acquire);
        let alarm = ALARMS.into_iter().find(|alarm| raised & *alarm as u8 != 0)?;
        self.alarms.fetch_and(!(alarm as u8), Ordering::AcqRel);
        Some(alarm)
    }

    /// Tells the reader something the agent may want to know.
    pub fn raise_hint(&self, hint: Hint) {
        self.hints.fetch_or(hint as u8, Ordering::AcqRel);
        self.waker.wake();
    }

    /// A hint that was raised since it was last taken.
    pub fn take_hint(&self) -> Option<Hint> {
        let raised = self.hints.load(Ordering::Acquire);
        let hint = HINTS.into_iter().find(|hint| raised & *hint as u8 != 0)?;
        self.hints.fetch_and(!(hint as u8), Ordering::AcqRel);
        Some(hint)
    }

    /// Ends the queue, for writers and reader. What is in it can still be read.
    pub fn close(&self) {
        self.closed.store(true, Ordering::Release);
        self.waker.wake();
    }

    /// Whether [`close`](Self::close) was called.
    pub fn is_closed(&self) -> bool {
        self.closed.load(Ordering::Acquire)
    }

    /// Ready when there may be a key, an alarm, or the end. One task at a time can wait.
    pub fn poll_ready(&self, context: &mut Context<'_>) -> Poll<()> {
        self.waker.register(context.waker());
        let waiting = self.media.peek().is_none() && self.signalling.peek().is_none();
        let told = self.alarms.load(Ordering::Acquire) | self.hints.load(Ordering::Acquire);
        if waiting && told == 0 && !self.is_closed() { Poll::Pending } else { Poll::Ready(()) }
    }

    /// Waits as [`poll_ready`](Self::poll_ready) does.
    pub async fn ready(&self) {
        std::future::poll_fn(|context| self.poll_ready(context)).await;
    }

    /// The older of the two lanes' first reports.
    fn next_report(&self) -> Option<KeyReport> {
        let at = |ring: &Ring| ring.peek().map_or(u64::MAX, at_ms);
        if at(&self.signalling) < at(&self.media) {
            self.signalling.pop().and_then(decode)
        } else {
            self.media.pop().and_then(decode)
        }
    }

    fn ring(&self, lane: Lane) -> &Ring {
        match lane {
            Lane::Media => &self.media,
            Lane::Signalling => &self.signalling,
        }
    }
}

impl fmt::Debug for KeyQueue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KeyQueue").field("closed", &self.is_closed()).finish_non_exhaustive()
    }
}

/// Finds the reports that tell of the same press. Pure.
///
/// A report is the press that was accepted first of those with its key, within [`MERGE_WINDOW_MS`], that
/// its carrier has not reported yet. The same carrier twice is always two presses.
#[derive(Default)]
pub struct Merger {
    accepted: [Option<Accepted>; Self::REMEMBERED],
    next: usize,
    last_ms: Option<u64>,
}

#[derive(Clone, Copy)]
struct Accepted {
    report: KeyReport,
    seen_by: u8,
}

impl Merger {
    /// Presses within the window at the fastest rate, twice over.
    const REMEMBERED: usize = 16;

    /// Whether a press that is new began too soon after the one before it. By time alone: what is told must not
    /// depend on which keys they were.
    fn is_hasty(&mut self, at_ms: u64) -> bool {
        let last_ms = self.last_ms.replace(at_ms);
        last_ms.is_some_and(|last_ms| at_ms.abs_diff(last_ms) < HASTY_MS)
    }

    /// Whether this is a press not heard of before.
    pub fn is_new(&mut self, report: KeyReport) -> bool {
        let carrier = carrier_bit(report.carrier);
        let same = |press: &&mut Accepted| {
            press.report.key == report.key
                && press.report.at_ms.abs_diff(report.at_ms) <= MERGE_WINDOW_MS
                && press.seen_by & carrier == 0
        };
        // Oldest first: `next` is the place of the oldest one.
        let (newer, older) = self.accepted.split_at_mut(self.next);
        if let Some(press) = older.iter_mut().chain(newer).flatten().find(same) {
            press.seen_by |= carrier;
            return false;
        }
        self.accepted[self.next] = Some(Accepted { report, seen_by: carrier });
        self.next = (self.next + 1) % Self::REMEMBERED;
        true
    }
}

impl Drop for Merger {
    fn drop(&mut self) {
        self.accepted.fill(None);
        std::hint::black_box(&self.accepted);
    }
}

/// One writer, one reader; zero is an empty place.
struct Ring {
    slots: [AtomicU64; LANE_REPORTS],
    write: AtomicUsize,
    read: AtomicUsize,
}

impl Default for Ring {
    fn default() -> Self {
        let slots = std::array::from_fn(|_| AtomicU64::new(0));
        Self { slots, write: AtomicUsize::new(0), read: AtomicUsize::new(0) }
    }
}

impl Ring {
    fn push(&self, word: u64) -> bool {
        let place = self.write.load(Ordering::Relaxed);
        // Never over a report that was not read, even if there were two writers by mistake.
        let free =
            self.slots[place % LANE_REPORTS].compare_exchange(0, word, Ordering::Release, Ordering::Relaxed);
        if free.is_ok() {
            self.write.store(place.wrapping_add(1), Ordering::Relaxed);
        }
        free.is_ok()
    }

    fn peek(&self) -> Option<u64> {
        let word = self.slots[self.read.load(Ordering::Relaxed) % LANE_REPORTS].load(Ordering::Acquire);
        (word != 0).then_some(word)
    }

    fn pop(&self) -> Option<u64> {
        let place = self.read.load(Ordering::Relaxed);
        let word = self.slots[place % LANE_REPORTS].swap(0, Ordering::AcqRel);
        if word == 0 {
            return None;
        }
        self.read.store(place.wrapping_add(1), Ordering::Relaxed);
        Some(word)
    }
}

impl Drop for Ring {
    fn drop(&mut self) {
        for slot in &self.slots {
            slot.store(0, Ordering::SeqCst);
        }
        std::hint::black_box(&self.slots);
    }
}

/// A report in one word: `at_ms` in the high 56 bits, then carrier and key; bit 7 keeps it from being zero.
fn encode(report: KeyReport) -> u64 {
    let carrier = match report.carrier {
        Carrier::Event => 0,
        Carrier::InBand => 1,
        Carrier::Info => 2,
    };
    report.at_ms << 8 | 0x80 | carrier << 4 | u64::from(report.key.event_code())
}

fn at_ms(word: u64) -> u64 {
    word >> 8
}

fn decode(word: u64) -> Option<KeyReport> {
    let low = word.to_le_bytes()[0];
    let carrier = match low >> 4 & 3 {
        0 => Carrier::Event,
        1 => Carrier::InBand,
        _ => Carrier::Info,
    };
    Some(KeyReport { key: Key::from_event_code(low & 0x0f)?, carrier, at_ms: at_ms(word) })
}

fn carrier_bit(carrier: Carrier) -> u8 {
    match carrier {
        Carrier::Event => 1,
        Carrier::InBand => 2,
        Carrier::Info => 4,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;
    use std::sync::atomic::AtomicU32;
    use std::task::{Wake, Waker};

    fn report(ascii: u8, carrier: Carrier, at_ms: u64) -> KeyReport {
        KeyReport { key: Key::from_ascii(ascii).unwrap(), carrier, at_ms }
    }

    fn keys(queue: &KeyQueue) -> String {
        std::iter::from_fn(|| queue.pop()).map(|report| char::from(report.key.ascii())).collect()
    }

    fn merged(reports: &[(u8, Carrier, u64)]) -> String {
        let mut merger = Merger::default();
        let new = reports.iter().filter(|(key, carrier, at)| merger.is_new(report(*key, *carrier, *at)));
        new.map(|(key, ..)| char::from(*key)).collect()
    }

    #[test]
    fn a_report_goes_through_unchanged() {
        let queue = KeyQueue::new();
        for ascii in Key::ALL {
            for carrier in [Carrier::Event, Carrier::InBand, Carrier::Info] {
                let sent = report(*ascii, carrier, 1_000_000_000_000 + u64::from(*ascii) * 10_000);
                assert!(queue.push(Lane::Media, sent));
                let read = queue.next_report().unwrap();
                assert!((read.key, read.carrier, read.at_ms) == (sent.key, sent.carrier, sent.at_ms));
            }
        }
    }

    #[test]
    fn lanes_are_read_in_the_order_of_time() {
        let queue = KeyQueue::new();
        queue.push(Lane::Media, report(b'1', Carrier::Event, 1000));
        queue.push(Lane::Media, report(b'3', Carrier::Event, 3000));
        queue.push(Lane::Signalling, report(b'2', Carrier::Info, 2000));
        assert_eq!(keys(&queue), "123");
    }

    #[test]
    fn a_full_lane_refuses_and_raises_the_alarm() {
        let queue = KeyQueue::new();
        for n in 0..LANE_REPORTS as u64 {
            assert!(queue.push(Lane::Media, report(b'1', Carrier::Event, n * 1000)));
        }
        assert_eq!(queue.take_alarm(), None);
        assert!(!queue.push(Lane::Media, report(b'2', Carrier::Event, 99_000)));
        assert_eq!(queue.take_alarm(), Some(Alarm::QueueFull));
        assert_eq!(queue.take_alarm(), None);
        assert_eq!(keys(&queue), "1".repeat(LANE_REPORTS));
        assert!(queue.push(Lane::Media, report(b'3', Carrier::Event, 99_000)));
        assert_eq!(keys(&queue), "3");
    }

    #[test]
    fn what_was_read_is_wiped() {
        let queue = KeyQueue::new();
        queue.push(Lane::Media, report(b'7', Carrier::Event, 5));
        queue.pop().unwrap();
        assert!(queue.media.slots.iter().all(|slot| slot.load(Ordering::SeqCst) == 0));
    }

    #[test]
    fn every_alarm_is_taken_once() {
        let queue = KeyQueue::new();
        for alarm in ALARMS {
            queue.raise(alarm);
            queue.raise(alarm);
        }
        let taken: Vec<_> = std::iter::from_fn(|| queue.take_alarm()).collect();
        assert_eq!(taken, ALARMS);
    }

    #[test]
    fn a_closed_queue_takes_nothing_and_still_gives_what_it_has() {
        let queue = KeyQueue::new();
        queue.push(Lane::Media, report(b'1', Carrier::Event, 1));
        queue.close();
        assert!(!queue.push(Lane::Media, report(b'2', Carrier::Event, 1000)));
        assert_eq!(keys(&queue), "1");
    }

    struct Woken(AtomicU32);

    impl Wake for Woken {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::SeqCst);
        }
    }

    #[test]
    fn keys_alarms_and_the_end_wake_the_reader() {
        let events: [fn(&KeyQueue); 4] = [
            |queue| queue.raise(Alarm::TooFast),
            |queue| queue.close(),
            |queue| assert!(queue.push(Lane::Media, report(b'1', Carrier::Event, 1))),
            |queue| assert!(queue.push(Lane::Signalling, report(b'1', Carrier::Info, 1))),
        ];
        for event in events {
            let queue = KeyQueue::new();
            let woken = Arc::new(Woken(AtomicU32::new(0)));
            let waker = Waker::from(woken.clone());
            let mut context = Context::from_waker(&waker);
            assert!(queue.poll_ready(&mut context).is_pending());
            event(&queue);
            assert_eq!(woken.0.load(Ordering::SeqCst), 1);
            assert!(queue.poll_ready(&mut context).is_ready());
        }
    }

    #[test]
    fn one_press_on_three_carriers_is_one_key() {
        use Carrier::{Event, InBand, Info};
        assert_eq!(merged(&[(b'1', Event, 0), (b'1', InBand, 35), (b'1', Info, 300)]), "1");
    }

    #[test]
    fn fast_repeats_on_two_carriers_keep_their_number() {
        use Carrier::{Event, InBand};
        let in_turn = [(b'1', Event, 0), (b'1', InBand, 30), (b'1', Event, 200), (b'1', InBand, 230)];
        assert_eq!(merged(&in_turn), "11");
        let one_behind = [(b'1', Event, 0), (b'1', Event, 200), (b'1', InBand, 30), (b'1', InBand, 230)];
        assert_eq!(merged(&one_behind), "11");
        let one_missed = [(b'1', InBand, 30), (b'1', Event, 200), (b'1', InBand, 230)];
        assert_eq!(merged(&one_missed), "11");
    }

    #[test]
    fn different_keys_and_distant_repeats_are_not_merged() {
        use Carrier::{Event, InBand};
        assert_eq!(merged(&[(b'1', Event, 0), (b'2', InBand, 10)]), "12");
        assert_eq!(merged(&[(b'1', Event, 0), (b'1', InBand, MERGE_WINDOW_MS + 1)]), "11");
    }

    #[test]
    fn debug_shows_no_key() {
        let queue = KeyQueue::new();
        queue.push(Lane::Media, report(b'7', Carrier::Event, 5));
        assert_eq!(format!("{queue:?}"), "KeyQueue { closed: false, .. }");
    }
}
