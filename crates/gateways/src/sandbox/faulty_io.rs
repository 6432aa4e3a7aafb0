//! A stream that spoils what the server writes, when the plan says so.

use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

/// What is wrong with a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub(super) enum Spoil {
    /// Nothing.
    #[default]
    Nothing,
    /// It ends by a reset, not by an orderly close.
    Reset,
    /// In place of the answer come bytes that are no HTTP.
    Garbage,
    /// Half of the answer comes.
    Half,
    /// The answer comes twice.
    Twice,
    /// The rest of the answer is swallowed.
    Swallow,
}

/// What is wrong with one connection, set by the service, read by the stream.
#[derive(Clone, Default)]
pub(super) struct WireFault(Arc<Mutex<Spoil>>);

impl WireFault {
    pub(super) fn set(&self, spoil: Spoil) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = spoil;
    }

    fn get(&self) -> Spoil {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

pub(super) struct FaultyIo {
    inner: TcpStream,
    fault: WireFault,
}

impl FaultyIo {
    pub(super) fn new(inner: TcpStream, fault: WireFault) -> Self {
        Self { inner, fault }
    }
}

impl Drop for FaultyIo {
    fn drop(&mut self) {
        if self.fault.get() == Spoil::Reset {
            // Where it fails, the client sees an early close: as good for its purpose.
            let _ = self.inner.set_zero_linger();
        }
    }
}

impl AsyncRead for FaultyIo {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_read(context, buffer)
    }
}

impl AsyncWrite for FaultyIo {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let doubled;
        let spoiled: &[u8] = match self.fault.get() {
            Spoil::Nothing => return Pin::new(&mut self.inner).poll_write(context, bytes),
            Spoil::Garbage => b"\x00\xff\x16 this is no HTTP \x01\x02\r\n\r\n",
            Spoil::Half => &bytes[..bytes.len() / 2],
            Spoil::Twice => {
                doubled = [bytes, bytes].concat();
                &doubled
            }
            Spoil::Reset | Spoil::Swallow => return Poll::Ready(Ok(bytes.len())),
        };
        ready!(Pin::new(&mut self.inner).poll_write(context, spoiled))?;
        self.fault.set(Spoil::Swallow);
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.fault.get() == Spoil::Reset {
            return Poll::Ready(Ok(()));
        }
        Pin::new(&mut self.inner).poll_shutdown(context)
    }
}
