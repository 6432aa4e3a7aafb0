//! `GET /view/{guid}/live`: the page as it changes, as server-sent events.
//!
//! Each event holds the whole page, so a lost one does no harm: the newest wins.
//! Names: `state` (the page), `end` (the payment is over; nothing follows), `closed` (the page is open
//! elsewhere now). Between them a comment line every heartbeat.

use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use axum::body::Body;
use axum::extract::{Request, State};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use futures_util::{Stream, StreamExt, stream};
use http::header::CONTENT_TYPE;
use hushpad_domain::page::Phase;
use tokio::time::{Interval, MissedTickBehavior};

use super::opening::Seat;
use super::refusal::PageRefusal;
use super::{PageHost, PagePath, page_handle, view};
use crate::tokens::PageId;

/// A faster heartbeat would only cost.
const HEARTBEAT_MIN: Duration = Duration::from_millis(100);

/// A page as it is now.
pub(super) struct LivePage {
    /// One line of JSON.
    pub(super) data: String,
    /// Whether it stays so.
    pub(super) is_last: bool,
}

/// A page as it changes.
pub(super) type LivePages = Pin<Box<dyn Stream<Item = LivePage> + Send>>;

/// Streams the page until the payment is over, the page is opened elsewhere, or the browser leaves.
pub(super) async fn live(
    State(host): State<Arc<PageHost>>,
    PagePath(guid): PagePath,
    request: Request,
) -> Result<Response, PageRefusal> {
    let handle = page_handle(&host, request.headers())?;
    let seat = host.pages.take_seat(PageId::Payment(guid), handle, host.parts.world.now())?;
    let pages = host.parts.secure_side.watch(guid).await.ok_or(PageRefusal::Gone)?;
    let pages = pages.map(|page| LivePage {
        data: view::live_data(&page),
        is_last: matches!(page.phase, Phase::Ended(_)),
    });
    Ok(tell(host, seat, Box::pin(pages)))
}

/// Tells the page's reader until it has heard the last, has lost its seat, or leaves.
pub(super) fn tell(host: Arc<PageHost>, seat: Seat, pages: LivePages) -> Response {
    let mut beat = tokio::time::interval(host.parts.settings.limits.heartbeat.max(HEARTBEAT_MIN));
    beat.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let reader = Reader { stage: Stage::Running, pages, seat, beat, _counted: Counted::new(host) };
    let events = stream::unfold(reader, async |mut reader| {
        let event = reader.next_event().await?;
        Some((Ok::<_, Infallible>(event), reader))
    });
    let headers = [(CONTENT_TYPE.as_str(), "text/event-stream"), ("x-accel-buffering", "no")];
    (headers, Body::from_stream(events)).into_response()
}

struct Reader {
    stage: Stage,
    pages: LivePages,
    seat: Seat,
    beat: Interval,
    _counted: Counted,
}

enum Stage {
    Running,
    /// The last page was sent; its `end` follows.
    Ending,
    Over,
}

impl Reader {
    /// The next event, or `None` after the last.
    async fn next_event(&mut self) -> Option<Bytes> {
        match self.stage {
            Stage::Running => {}
            Stage::Ending => {
                self.stage = Stage::Over;
                return Some(Bytes::from_static(b"event: end\ndata: {}\n\n"));
            }
            Stage::Over => return None,
        }
        tokio::select! {
            biased;
            () = self.seat.lost() => {
                self.stage = Stage::Over;
                Some(Bytes::from_static(b"event: closed\ndata: {}\n\n"))
            }
            // When the stream ends before the last page, the browser asks again and is told why.
            page = self.pages.next() => Some(self.tell(&page?)),
            _ = self.beat.tick() => Some(Bytes::from_static(b": beat\n\n")),
        }
    }

    fn tell(&mut self, page: &LivePage) -> Bytes {
        if page.is_last {
            self.stage = Stage::Ending;
        }
        Bytes::from(format!("event: state\ndata: {}\n\n", page.data))
    }
}

/// Counts a live page as long as it is there.
struct Counted(Arc<PageHost>);

impl Counted {
    fn new(host: Arc<PageHost>) -> Self {
        let count = host.live_pages.fetch_add(1, Ordering::Relaxed) + 1;
        host.parts.observer.pages_live(count);
        Self(host)
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        let count = self.0.live_pages.fetch_sub(1, Ordering::Relaxed) - 1;
        self.0.parts.observer.pages_live(count);
    }
}
