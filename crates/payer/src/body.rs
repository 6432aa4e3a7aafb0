//! How a body that may hold a card is read: into one buffer that never moves and is wiped.

use axum::body::Body;
use http_body_util::BodyExt;
use tokio::time::{Duration, timeout};
use zeroize::Zeroizing;

/// For a body of a few KB, over any line.
const BODY_TIME_OUT: Duration = Duration::from_secs(10);

/// Why a body was not read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum BadBody {
    /// Longer than anything that is meant for us.
    TooLarge,
    /// It came too slowly, or ended early.
    Incomplete,
}

/// Reads a whole body of at most so many bytes.
pub(crate) async fn read_wiped(body: Body, bytes_max: usize) -> Result<Zeroizing<Vec<u8>>, BadBody> {
    timeout(BODY_TIME_OUT, collect(body, bytes_max)).await.unwrap_or(Err(BadBody::Incomplete))
}

async fn collect(mut body: Body, bytes_max: usize) -> Result<Zeroizing<Vec<u8>>, BadBody> {
    let mut bytes = Zeroizing::new(Vec::with_capacity(bytes_max));
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|_| BadBody::Incomplete)?;
        let Some(data) = frame.data_ref() else { continue };
        // A buffer that grew would leave a copy behind.
        if data.len() > bytes_max - bytes.len() {
            return Err(BadBody::TooLarge);
        }
        bytes.extend_from_slice(data);
    }
    Ok(bytes)
}
