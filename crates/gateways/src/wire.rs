//! What goes over the wire, and is wiped after.

use std::io;

use http::{HeaderName, HeaderValue, Method};
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use crate::connector::BuildError;
use crate::endpoint::Endpoint;

/// No request or reply of a gateway comes near this; more is a mistake or an attack.
pub const BODY_BYTES_MAX: usize = 64 * 1024;

/// A request on its way to the wire.
pub struct WireRequest {
    /// Where to.
    pub endpoint: Endpoint,
    /// The method.
    pub method: Method,
    /// Headers but `Host`, `Content-Length` and `Connection`.
    pub headers: Vec<(HeaderName, HeaderValue)>,
    /// The body; holds card data, is wiped.
    pub body: WireBody,
}

/// A body of at most [`BODY_BYTES_MAX`] that never moves while it grows, so that it leaves no copy, and is
/// wiped when dropped.
pub struct WireBody(Zeroizing<Vec<u8>>);

impl WireBody {
    /// No body.
    #[must_use]
    pub fn empty() -> Self {
        Self(Zeroizing::new(Vec::new()))
    }

    /// Room for a whole body.
    #[must_use]
    pub fn room() -> Self {
        Self(Zeroizing::new(Vec::with_capacity(BODY_BYTES_MAX)))
    }

    /// A value as JSON. Made for requests without a card: the value itself is not wiped.
    ///
    /// # Errors
    /// [`BuildError::TooLong`] above [`BODY_BYTES_MAX`].
    pub fn json(value: &impl Serialize) -> Result<Self, BuildError> {
        let mut body = Self::room();
        serde_json::to_writer(&mut body, value).map_err(|_| BuildError::TooLong)?;
        Ok(body)
    }

    /// How many bytes there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there is no byte.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl AsRef<[u8]> for WireBody {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}

impl io::Write for WireBody {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.0.capacity() - self.0.len() < bytes.len() {
            return Err(io::ErrorKind::StorageFull.into());
        }
        self.0.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// A whole reply. Not printed anywhere: a gateway may echo what it was sent.
pub struct Reply {
    /// The HTTP status.
    pub status: u16,
    /// The body, wiped when dropped.
    pub body: Zeroizing<Vec<u8>>,
}

impl Reply {
    /// The body as JSON; `None` when it is not of this shape.
    #[must_use]
    pub fn json<'a, T: Deserialize<'a>>(&'a self) -> Option<T> {
        serde_json::from_slice(&self.body).ok()
    }
}
