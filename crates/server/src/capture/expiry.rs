//! Ends sessions whose payment link has expired. One task for all links: most of them nobody looks at.

use std::collections::BTreeSet;
use std::time::Duration;

use hushpad_domain::ids::ProviderSessionGuid;
use hushpad_domain::link::Way;
use hushpad_domain::ports::{StoreUnavailable, World};
use hushpad_domain::session::Session;
use hushpad_domain::time::Timestamp;
use tokio::sync::mpsc;
use tracing::{info, warn};

use super::SecureDesk;

/// Links whose time is waited for: 24 bytes each. Those that do not find a place expire when they are opened, or at
/// the next start.
const LINKS_MAX: usize = 1_000_000;
/// New links that wait to be noted. The task only notes them.
const NEW_LINKS_MAX: usize = 1_024;
/// The longest sleep: the wall clock may have been set meanwhile. Also how late a link expires at worst.
const SLEEP_MAX: Duration = Duration::from_secs(30);
/// How long an attempt that is under way at the end of its link is left in peace before the next look.
const LOOK_AGAIN: Duration = Duration::from_secs(30);

/// Where new links are noted.
#[derive(Clone)]
pub(super) struct Expiry(mpsc::Sender<(Timestamp, ProviderSessionGuid)>);

/// The other end of it.
pub(super) type NewLinks = mpsc::Receiver<(Timestamp, ProviderSessionGuid)>;

impl Expiry {
    pub(super) fn new() -> (Self, NewLinks) {
        let (sender, receiver) = mpsc::channel(NEW_LINKS_MAX);
        (Self(sender), receiver)
    }

    /// Notes when the link of this session expires.
    pub(super) fn note(&self, session: &Session) {
        if let Way::Link(link) = session.way
            && self.0.try_send((link.expires_on, session.provider)).is_err()
        {
            warn!(session.id = %session.guid, "the end of a payment link was not noted: it ends when it is opened");
        }
    }
}

impl SecureDesk {
    /// Waits for the end of every payment link: those in the store, and new ones. Called once, at start.
    ///
    /// # Errors
    /// The store cannot be read.
    pub async fn watch_links(&self) -> Result<(), StoreUnavailable> {
        let Some(new) = self.shared.new_links.lock().ok().and_then(|mut new| new.take()) else {
            return Ok(());
        };
        let stored = self.shared.payments.books.store().unfinished().await?;
        let due = stored.iter().filter_map(|session| Some((session.link()?.expires_on, session.provider)));
        let due: BTreeSet<_> = due.take(LINKS_MAX).collect();
        if !due.is_empty() {
            info!(links = due.len(), "payment links from before the restart");
        }
        tokio::spawn(expire(self.clone(), due, new));
        Ok(())
    }

    /// Ends the session if its link has expired; says when to look again, if at all.
    async fn expire(&self, provider: ProviderSessionGuid) -> Option<Timestamp> {
        let now = self.shared.world.now();
        let again = Some(now.plus(LOOK_AGAIN));
        let Ok(session) = self.shared.payments.books.store().provider_session(provider).await else {
            return again;
        };
        let session = session.filter(|session| !session.has_ended())?;
        let link = session.link()?;
        if link.expires_on > now {
            return Some(link.expires_on);
        }
        if self.tell_expired(provider).await {
            return again;
        }
        let written = self.shared.payments.books.write(session, Session::time_out).await.ok()?;
        self.shared.payments.give_back_parts(&written);
        (!written.has_ended()).then_some(again).flatten()
    }
}

/// Sleeps until the next is due. Ends with the desk.
async fn expire(desk: SecureDesk, mut due: BTreeSet<(Timestamp, ProviderSessionGuid)>, mut new: NewLinks) {
    loop {
        let now = desk.shared.world.now();
        while let Some(&(at, provider)) = due.first().filter(|(at, _)| *at <= now) {
            due.remove(&(at, provider));
            if let Some(again) = desk.expire(provider).await {
                due.insert((again, provider));
            }
        }
        let left_us = due.first().map_or(i64::MAX, |(at, _)| at.as_micros() - now.as_micros());
        let left = Duration::from_micros(u64::try_from(left_us).unwrap_or(0)).min(SLEEP_MAX);
        tokio::select! {
            link = new.recv() => match link {
                Some(link) if due.len() < LINKS_MAX => drop(due.insert(link)),
                Some(_) => warn!("too many payment links are open: one ends only when it is opened"),
                None => return,
            },
            () = tokio::time::sleep(left) => {}
        }
    }
}
