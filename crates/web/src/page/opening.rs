//! Which pages are open, and how their one-time tokens are spent.
//!
//! A page has one family of two tokens. The first opening spends the access token. A second one
//! (the agent reloaded, or the frame was built anew) spends the refresh token and takes the page away from
//! the first. A third means that somebody else holds the tokens: the family ends, and no page is left.
//!
//! This is memory of one process. A restart forgets it together with the secure side's sessions; for those that go on
//! all the same, because they are paid by a link, `spent.rs` remembers.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hushpad_domain::time::Timestamp;
use subtle::ConstantTimeEq;
use tokio::sync::watch;

use super::refusal::PageRefusal;
use crate::tokens::{PageId, PageTokenFault};

/// 256 random bits that an open page proves itself with. No `Debug`: nothing prints it.
#[derive(Clone, Copy)]
pub(super) struct Handle([u8; 32]);

/// What checking the two tokens of an opening gave.
pub(super) struct Tokens {
    pub(super) access: Result<(), PageTokenFault>,
    pub(super) refresh: Result<(), PageTokenFault>,
}

/// Every page that is open or was used up, until its time is over.
pub(super) struct Pages {
    max: usize,
    by_id: Mutex<HashMap<PageId, Page>>,
}

struct Page {
    family: Family,
    /// After this the entry is forgotten.
    until: Timestamp,
    /// The number of the seat that may read the live page; a new number ends the reader before.
    seat: watch::Sender<u64>,
}

#[derive(Clone, Copy)]
enum Family {
    /// The access token is spent; the refresh token may be used once.
    OpenedOnce(Handle),
    /// Both tokens are spent.
    OpenedTwice(Handle),
    /// A spent token came again: nothing opens any more.
    Ended,
}

/// A live reader's right to read: at most one per page.
pub(super) struct Seat {
    number: u64,
    current: watch::Receiver<u64>,
}

impl Pages {
    /// Room for `max` pages.
    pub(super) fn new(max: usize) -> Self {
        Self { max, by_id: Mutex::new(HashMap::new()) }
    }

    /// Whether this process has opened the page before.
    pub(super) fn knows(&self, page: PageId) -> bool {
        self.lock().contains_key(&page)
    }

    /// Spends a token of the page's family and gives the page to `handle`.
    pub(super) fn open(
        &self,
        page: PageId,
        tokens: &Tokens,
        handle: Handle,
        now: Timestamp,
        until: Timestamp,
    ) -> Result<(), PageRefusal> {
        authentic(tokens)?;
        let mut pages = self.lock();
        let family = next_family(pages.get(&page).map(|page| page.family), tokens, handle)?;
        if let Some(page) = pages.get_mut(&page) {
            page.family = family;
            page.seat.send_modify(|number| *number += 1);
        } else {
            if pages.len() >= self.max {
                pages.retain(|_, page| page.until > now);
            }
            if pages.len() >= self.max {
                return Err(PageRefusal::Unavailable);
            }
            pages.insert(page, Page { family, until, seat: watch::Sender::new(0) });
        }
        match family {
            Family::OpenedOnce(_) | Family::OpenedTwice(_) => Ok(()),
            Family::Ended => Err(PageRefusal::UsedUp),
        }
    }

    /// Whether the handle is the one that the page was opened with last.
    pub(super) fn check(&self, page: PageId, handle: Handle, now: Timestamp) -> Result<(), PageRefusal> {
        self.with_page(page, handle, now, |_| ())
    }

    /// The right to read the live page. It ends when somebody else gets it.
    pub(super) fn take_seat(
        &self,
        page: PageId,
        handle: Handle,
        now: Timestamp,
    ) -> Result<Seat, PageRefusal> {
        self.with_page(page, handle, now, |page| {
            page.seat.send_modify(|number| *number += 1);
            let mut current = page.seat.subscribe();
            let number = *current.borrow_and_update();
            Seat { number, current }
        })
    }

    fn with_page<T>(
        &self,
        page: PageId,
        handle: Handle,
        now: Timestamp,
        then: impl FnOnce(&Page) -> T,
    ) -> Result<T, PageRefusal> {
        let pages = self.lock();
        let page = pages.get(&page).filter(|page| page.until > now).ok_or(PageRefusal::Gone)?;
        match page.family {
            Family::OpenedOnce(own) | Family::OpenedTwice(own) if own.is(handle) => Ok(then(page)),
            Family::OpenedOnce(_) | Family::OpenedTwice(_) => Err(PageRefusal::Forbidden),
            Family::Ended => Err(PageRefusal::Gone),
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<PageId, Page>> {
        // No code under this lock can leave the map half changed.
        self.by_id.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Handle {
    /// A handle of these random bits.
    pub(super) fn new(bits: [u8; 32]) -> Self {
        Self(bits)
    }

    /// As the page carries it.
    pub(super) fn text(self) -> String {
        URL_SAFE_NO_PAD.encode(self.0)
    }

    /// As the page sends it back.
    pub(super) fn from_text(text: &str) -> Option<Self> {
        URL_SAFE_NO_PAD.decode(text).ok()?.try_into().ok().map(Self)
    }

    fn is(self, other: Self) -> bool {
        self.0.ct_eq(&other.0).into()
    }
}

impl Seat {
    /// Waits until somebody else has the page.
    pub(super) async fn lost(&mut self) {
        // An error means that the page's entry is gone, and the right with it.
        let _ = self.current.wait_for(|number| *number != self.number).await;
    }
}

/// Both tokens must be ours and this page's, so that nobody else can spend or end the family.
fn authentic(tokens: &Tokens) -> Result<(), PageRefusal> {
    for checked in [tokens.access, tokens.refresh] {
        match checked {
            Ok(()) | Err(PageTokenFault::Expired) => {}
            Err(PageTokenFault::Invalid) => return Err(PageRefusal::Forbidden),
        }
    }
    Ok(())
}

fn next_family(now: Option<Family>, tokens: &Tokens, handle: Handle) -> Result<Family, PageRefusal> {
    match (now, tokens.access.is_ok(), tokens.refresh.is_ok()) {
        (None, true, _) => Ok(Family::OpenedOnce(handle)),
        (None | Some(Family::OpenedOnce(_)), _, true) => Ok(Family::OpenedTwice(handle)),
        (None | Some(Family::OpenedOnce(_)), _, false) => Err(PageRefusal::TokensExpired),
        (Some(Family::OpenedTwice(_) | Family::Ended), _, _) => Ok(Family::Ended),
    }
}
