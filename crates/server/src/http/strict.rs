//! What stands between the socket and hyper: one strict reading of where each request begins and ends.
//!
//! Proxies and servers that read the same bytes as different requests let a stranger put a request of his into somebody
//! else's connection ("smuggling", RFC 9112, 11.2). hyper reads some doubtful forms kindly: it takes a bare LF as an end of line, and forgets
//! a `Content-Length` beside `Transfer-Encoding`. Here they are no requests at all. The offending byte is handed on
//! as NUL, which nothing may contain, and nothing after it: so hyper answers 400, or the reader of the body does, and
//! the connection ends.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::Sleep;

/// A request's line and headers, at most. Our clients send under 2 KiB; some tokens and cookies of proxies come on top.
pub(super) const HEAD_BYTES_MAX: usize = 32 * 1024;
/// The line before a chunk: eight digits, and an extension that nobody uses.
const CHUNK_LINE_BYTES_MAX: usize = 256;
/// Digits of a chunk's size: 4 GiB, far over what any body may have.
const CHUNK_DIGITS_MAX: usize = 8;
/// A client that takes nothing of its answer for so long is gone, or means to keep its place.
const WRITE_STALL_MAX: Duration = Duration::from_secs(30);

/// A stream whose requests begin and end where everybody says they do.
pub(super) struct Strict<S> {
    stream: S,
    framing: Framing,
    stalled: Option<Pin<Box<Sleep>>>,
}

impl<S> Strict<S> {
    pub(super) fn new(stream: S) -> Self {
        Self { stream, framing: Framing::default(), stalled: None }
    }
}

/// Where in a request the next byte is.
#[derive(Debug)]
enum Place {
    /// In its line or its headers.
    Head(Head),
    /// In a body of known length.
    Body { left: u64 },
    /// In the line before a chunk.
    ChunkLine(Line),
    /// In a chunk.
    Chunk { left: u64 },
    /// In the end of line after a chunk.
    ChunkEnd(Line),
    /// In what follows the last chunk.
    Trailer { bytes: usize, line: Line },
    /// Nowhere: it was no request.
    Broken,
}

#[derive(Debug, Default)]
struct Head {
    bytes: usize,
    /// Whether the request's line has been read.
    begun: bool,
    line: Line,
    length: Option<u64>,
    chunked: bool,
}

/// A line under way.
#[derive(Debug, Default)]
struct Line {
    text: Vec<u8>,
    /// CR has come, and only LF may follow.
    ending: bool,
}

/// A byte that may not be where it is.
struct NotHere;

#[derive(Debug)]
struct Framing(Place);

impl Default for Framing {
    fn default() -> Self {
        Self(Place::Head(Head::default()))
    }
}

impl Framing {
    /// Reads on. Gives how many of the bytes may be handed on; the last of them is NUL when it had no place.
    fn read(&mut self, bytes: &mut [u8]) -> usize {
        let mut at = 0;
        while at < bytes.len() {
            match &mut self.0 {
                Place::Broken => return at,
                Place::Body { left } | Place::Chunk { left } => {
                    let rest = bytes.len() - at;
                    let taken = usize::try_from(*left).unwrap_or(usize::MAX).min(rest);
                    *left -= taken as u64;
                    at += taken;
                    if *left == 0 {
                        self.0 = match self.0 {
                            Place::Chunk { .. } => Place::ChunkEnd(Line::default()),
                            _ => Place::Head(Head::default()),
                        };
                    }
                }
                _ => {
                    at += self.take_text(&bytes[at..]);
                    let Some(byte) = bytes.get(at) else { return at };
                    if self.step(*byte).is_err() {
                        self.0 = Place::Broken;
                        bytes[at] = 0;
                        return at + 1;
                    }
                    at += 1;
                }
            }
        }
        at
    }

    /// Takes what is plain text of a header's line in one go, all of which [`step`](Self::step) would take byte by byte.
    /// Gives how many bytes that were.
    fn take_text(&mut self, bytes: &[u8]) -> usize {
        let Place::Head(head) = &mut self.0 else { return 0 };
        // How a line may begin, and how it ends, is looked at closely.
        if head.line.text.is_empty() || head.line.ending {
            return 0;
        }
        // Each byte counts for the line and for the head. Near the largest size `step` counts, and nothing is looked through twice.
        let room = HEAD_BYTES_MAX.saturating_sub(head.line.text.len() + head.bytes) / 2;
        let bytes = &bytes[..room.min(bytes.len())];
        let text = bytes.iter().position(|byte| matches!(byte, b'\r' | b'\n' | 0)).unwrap_or(bytes.len());
        head.bytes += text;
        head.line.text.extend_from_slice(&bytes[..text]);
        text
    }

    fn step(&mut self, byte: u8) -> Result<(), NotHere> {
        let next = match &mut self.0 {
            Place::Head(head) => head.step(byte)?,
            Place::ChunkLine(line) => {
                line.step(byte, CHUNK_LINE_BYTES_MAX)?.map(|line| chunk_of(&line)).transpose()?
            }
            Place::ChunkEnd(line) => line.step(byte, 0)?.map(|_| Place::ChunkLine(Line::default())),
            Place::Trailer { bytes, line } => {
                *bytes += 1;
                match line.step(byte, HEAD_BYTES_MAX.saturating_sub(*bytes))? {
                    Some(text) if text.is_empty() => Some(Place::Head(Head::default())),
                    Some(_) | None => None,
                }
            }
            Place::Body { .. } | Place::Chunk { .. } | Place::Broken => None,
        };
        if let Some(next) = next {
            self.0 = next;
        }
        Ok(())
    }
}

impl Head {
    fn step(&mut self, byte: u8) -> Result<Option<Place>, NotHere> {
        self.bytes += 1;
        // A line that goes on from the one before (RFC 9112, 5.2): nobody may send it, some read it as two headers.
        if self.begun && self.line.is_new() && (byte == b' ' || byte == b'\t') {
            return Err(NotHere);
        }
        let Some(line) = self.line.step(byte, HEAD_BYTES_MAX.saturating_sub(self.bytes))? else {
            return Ok(None);
        };
        if !self.begun {
            // An empty line before a request is no part of it (RFC 9112, 2.2).
            self.begun = !line.is_empty();
            return Ok(None);
        }
        if line.is_empty() {
            return self.end().map(Some);
        }
        self.header(&line)?;
        Ok(None)
    }

    fn header(&mut self, line: &[u8]) -> Result<(), NotHere> {
        let colon = line.iter().position(|byte| *byte == b':').ok_or(NotHere)?;
        let (name, value) = (&line[..colon], line[colon + 1..].trim_ascii());
        if name.is_empty() || name.iter().any(u8::is_ascii_whitespace) {
            return Err(NotHere);
        }
        if name.eq_ignore_ascii_case(b"content-length") {
            if self.length.is_some() || !(1..=18).contains(&value.len()) {
                return Err(NotHere);
            }
            self.length = Some(digits(value, 10)?);
        } else if name.eq_ignore_ascii_case(b"transfer-encoding") {
            if self.chunked || !value.eq_ignore_ascii_case(b"chunked") {
                return Err(NotHere);
            }
            self.chunked = true;
        }
        Ok(())
    }

    fn end(&self) -> Result<Place, NotHere> {
        match (self.length, self.chunked) {
            (Some(_), true) => Err(NotHere),
            (None, true) => Ok(Place::ChunkLine(Line::default())),
            (Some(left), false) if left > 0 => Ok(Place::Body { left }),
            (Some(_) | None, false) => Ok(Place::Head(Head::default())),
        }
    }
}

impl Line {
    fn is_new(&self) -> bool {
        self.text.is_empty() && !self.ending
    }

    /// The line, once it has ended with CR and LF. Neither stands alone.
    fn step(&mut self, byte: u8, bytes_max: usize) -> Result<Option<Vec<u8>>, NotHere> {
        match (byte, self.ending) {
            (b'\n', true) => {
                self.ending = false;
                Ok(Some(std::mem::take(&mut self.text)))
            }
            (b'\n', false) | (_, true) => Err(NotHere),
            (b'\r', false) => {
                self.ending = true;
                Ok(None)
            }
            (0, false) => Err(NotHere),
            (byte, false) if self.text.len() < bytes_max => {
                self.text.push(byte);
                Ok(None)
            }
            (_, false) => Err(NotHere),
        }
    }
}

/// The size, and an extension after it that is not looked at.
fn chunk_of(line: &[u8]) -> Result<Place, NotHere> {
    let size = line.split(|byte| *byte == b';').next().unwrap_or_default();
    if !(1..=CHUNK_DIGITS_MAX).contains(&size.len()) {
        return Err(NotHere);
    }
    Ok(match digits(size, 16)? {
        0 => Place::Trailer { bytes: 0, line: Line::default() },
        left => Place::Chunk { left },
    })
}

fn digits(text: &[u8], radix: u32) -> Result<u64, NotHere> {
    text.iter().try_fold(0_u64, |number, byte| {
        let digit = char::from(*byte).to_digit(radix).ok_or(NotHere)?;
        number
            .checked_mul(u64::from(radix))
            .and_then(|number| number.checked_add(u64::from(digit)))
            .ok_or(NotHere)
    })
}

impl<S: AsyncRead + Unpin> AsyncRead for Strict<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if matches!(self.framing.0, Place::Broken) {
            return Poll::Ready(Ok(()));
        }
        let before = buf.filled().len();
        std::task::ready!(Pin::new(&mut self.stream).poll_read(context, buf))?;
        let good = self.framing.read(&mut buf.filled_mut()[before..]);
        buf.set_filled(before + good);
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncWrite + Unpin> Strict<S> {
    /// Counts how long the other side has taken nothing.
    fn watch<T>(&mut self, context: &mut Context<'_>, written: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        if written.is_ready() {
            self.stalled = None;
            return written;
        }
        let until = || Box::pin(tokio::time::sleep(WRITE_STALL_MAX));
        let stalled = self.stalled.get_or_insert_with(until);
        std::task::ready!(stalled.as_mut().poll(context));
        Poll::Ready(Err(io::ErrorKind::TimedOut.into()))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Strict<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write(context, bytes);
        self.watch(context, written)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write_vectored(context, bytes);
        self.watch(context, written)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let flushed = Pin::new(&mut self.stream).poll_flush(context);
        self.watch(context, flushed)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}

#[cfg(test)]
mod tests;
