//! The pages that show agents their link codes, between the request that asks for one and the browser that opens it.
//!
//! Memory of one process, as the codes and the calls are. An agent has one page at a time, as it has one code.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::Shared;
use hushpad_domain::ids::{AccountId, AgentId, ConfigurationId, LinkPageGuid};
use hushpad_domain::ports::{LinkCode, LinkedCall};
use hushpad_domain::time::Timestamp;
use tokio::sync::watch;

/// How long a page may be open: a call and the codes that it takes. Each new request makes a new page.
pub(crate) const LINK_PAGE_LIFE: Duration = Duration::from_secs(3600);
/// As many as agent pages by default: one per agent at work in an hour, some hundred bytes each.
const LINK_PAGES_MAX: usize = 10_000;

/// The pages that may be opened.
#[derive(Default)]
pub struct LinkPages(Mutex<HashMap<LinkPageGuid, Entry>>);

struct Entry {
    owner: Owner,
    until: Timestamp,
    code: watch::Sender<Code>,
}

/// Whose page it is, and whose configuration says who may frame it.
#[derive(Clone)]
pub(crate) struct Owner {
    pub(crate) account: AccountId,
    pub(crate) agent: AgentId,
    pub(crate) configuration: ConfigurationId,
}

/// The code that a page shows.
#[derive(Clone)]
pub(crate) struct Code {
    pub(crate) code: String,
    pub(crate) expires_on: Timestamp,
    pub(crate) linked: Shared<LinkedCall>,
}

/// A page that is there.
pub(crate) struct LinkPage {
    pub(crate) owner: Owner,
    pub(crate) until: Timestamp,
    /// Closes when another page takes this one's place.
    pub(crate) code: watch::Receiver<Code>,
}

impl LinkPages {
    /// A page for this code, in the place of the agent's page before. False when there is no room.
    pub(crate) fn open(&self, guid: LinkPageGuid, owner: Owner, code: LinkCode, now: Timestamp) -> bool {
        let mut pages = self.lock();
        let other = |of: &Owner| of.account != owner.account || of.agent != owner.agent;
        pages.retain(|_, page| page.until > now && other(&page.owner));
        if pages.len() >= LINK_PAGES_MAX {
            return false;
        }
        let code = watch::Sender::new(Code::from(code));
        pages.insert(guid, Entry { owner, until: now.plus(LINK_PAGE_LIFE), code });
        true
    }

    /// The page, if its time is not over.
    pub(crate) fn find(&self, guid: LinkPageGuid, now: Timestamp) -> Option<LinkPage> {
        let pages = self.lock();
        let page = pages.get(&guid).filter(|page| page.until > now)?;
        Some(LinkPage { owner: page.owner.clone(), until: page.until, code: page.code.subscribe() })
    }

    /// Shows another code on the page, if it is still there.
    pub(crate) fn renew(&self, guid: LinkPageGuid, code: LinkCode) {
        if let Some(page) = self.lock().get(&guid) {
            page.code.send_replace(Code::from(code));
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<LinkPageGuid, Entry>> {
        // No code under this lock can leave the map half changed.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl From<LinkCode> for Code {
    fn from(code: LinkCode) -> Self {
        Self { code: code.code, expires_on: code.expires_on, linked: code.linked.shared() }
    }
}
