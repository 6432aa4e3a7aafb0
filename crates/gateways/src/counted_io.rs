//! A stream that knows whether anything was written to it.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// Whether a byte of a request may have left. Shared with whoever outlives the stream.
#[derive(Clone, Default)]
pub(crate) struct Written(Arc<AtomicBool>);

impl Written {
    pub(crate) fn any(&self) -> bool {
        self.0.load(Ordering::Acquire)
    }

    /// Before the next request.
    pub(crate) fn forget(&self) {
        self.0.store(false, Ordering::Release);
    }

    /// Zero bytes are none; bytes are some; an error may have come after some (a TLS layer sends earlier
    /// records before it fails), so it counts as written.
    fn note(&self, result: &io::Result<usize>) {
        if !matches!(result, Ok(0)) {
            self.0.store(true, Ordering::Release);
        }
    }
}

/// Sits right under the HTTP client: above TLS, so that a handshake does not count as the request.
pub(crate) struct CountedIo<T> {
    inner: T,
    written: Written,
}

impl<T> CountedIo<T> {
    pub(crate) fn new(inner: T, written: Written) -> Self {
        Self { inner, written }
    }
}

impl<T: AsyncRead + Unpin> AsyncRead for CountedIo<T> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_read(context, buffer)
    }
}

impl<T: AsyncWrite + Unpin> AsyncWrite for CountedIo<T> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let result = ready!(Pin::new(&mut self.inner).poll_write(context, bytes));
        self.written.note(&result);
        Poll::Ready(result)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        parts: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let result = ready!(Pin::new(&mut self.inner).poll_write_vectored(context, parts));
        self.written.note(&result);
        Poll::Ready(result)
    }

    fn is_write_vectored(&self) -> bool {
        self.inner.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_shutdown(context)
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::AsyncWriteExt;

    use super::*;

    #[tokio::test]
    async fn the_first_byte_counts() {
        let (near, _far) = tokio::io::duplex(1);
        let written = Written::default();
        let mut io = CountedIo::new(near, written.clone());
        io.flush().await.unwrap();
        assert!(!written.any());
        io.write_all(b"P").await.unwrap();
        assert!(written.any());
    }

    #[tokio::test]
    async fn a_failed_write_counts() {
        let (near, far) = tokio::io::duplex(1);
        drop(far);
        let written = Written::default();
        CountedIo::new(near, written.clone()).write_all(b"P").await.unwrap_err();
        assert!(written.any());
    }
}
