//! Which page tokens were spent, over restarts: a session that is paid by a link outlives the process, and so must the
//! memory of its tokens. In the process, `opening.rs` knows.

use hushpad_domain::credentials::Spent;
use hushpad_domain::ports::StoreUnavailable;
use hushpad_domain::time::Timestamp;

use super::PageHost;
use super::opening::Tokens;
use super::refusal::PageRefusal;
use crate::tokens::{PageId, PageTokenFault};

/// The two tokens of an opening, as they came.
pub(super) struct Came<'a> {
    pub(super) access: &'a str,
    pub(super) refresh: &'a str,
}

/// What the tokens are worth where this process has not seen the page before: what was spent before a restart is spent.
pub(super) async fn before(
    host: &PageHost,
    page: PageId,
    tokens: Tokens,
    came: &Came<'_>,
) -> Result<Tokens, PageRefusal> {
    if host.pages.knows(page) || tokens.access == Err(PageTokenFault::Invalid) {
        return Ok(tokens);
    }
    let credentials = &host.parts.credentials;
    if credentials.is_spent(hash(host, came.refresh)).await.map_err(unavailable)? {
        return Err(PageRefusal::UsedUp);
    }
    let access_spent = credentials.is_spent(hash(host, came.access)).await.map_err(unavailable)?;
    let access = if access_spent { Err(PageTokenFault::Expired) } else { tokens.access };
    Ok(Tokens { access, ..tokens })
}

/// Writes down what this opening has spent. `again`: the page was open before.
pub(super) async fn note(
    host: &PageHost,
    tokens: &Tokens,
    came: &Came<'_>,
    again: bool,
    until: Timestamp,
) -> Result<(), PageRefusal> {
    let spent = if again || tokens.access.is_err() { came.refresh } else { came.access };
    let spent = Spent { hash: hash(host, spent), expires_on: until };
    host.parts.credentials.spend(spent).await.map(drop).map_err(unavailable)
}

fn hash(host: &PageHost, token: &str) -> [u8; 32] {
    host.parts.keys.hash_spent(&[b"page token", token.as_bytes()])
}

fn unavailable(error: StoreUnavailable) -> PageRefusal {
    tracing::error!(%error, "a page token could not be checked");
    PageRefusal::Unavailable
}
