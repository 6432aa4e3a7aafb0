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
mod tests {
    use super::*;

    const END: &str = "\r\n\r\n";

    /// Whether all of it is handed on, whatever pieces it comes in, and whether a next request could begin after it.
    fn read(text: &str) -> (bool, bool) {
        let mut outcomes = Vec::new();
        for piece in [1, 2, 3, 7, text.len()] {
            let mut framing = Framing::default();
            let mut good = 0;
            for piece in text.as_bytes().chunks(piece.max(1)) {
                good += framing.read(&mut piece.to_vec());
            }
            let broken = matches!(framing.0, Place::Broken);
            let at_a_head = matches!(&framing.0, Place::Head(head) if head.bytes == 0);
            assert!(broken || good == text.len());
            outcomes.push((!broken, at_a_head));
        }
        outcomes.dedup();
        assert_eq!(outcomes.len(), 1, "{text:?} is read in two ways");
        outcomes[0]
    }

    #[test]
    fn requests_end_where_they_say() {
        for text in [
            format!("GET / HTTP/1.1\r\nhost: x{END}"),
            format!("\r\nGET / HTTP/1.1\r\nhost: x{END}"),
            format!("POST / HTTP/1.1\r\nContent-Length: 5{END}abcde"),
            format!("POST / HTTP/1.1\r\nContent-Length:   0  {END}"),
            format!("POST / HTTP/1.1\r\ntransfer-encoding: Chunked{END}5\r\nab\r\nc\r\n0{END}"),
            format!(
                "POST / HTTP/1.1\r\ntransfer-encoding: chunked{END}A;x=\"y\"\r\n0123456789\r\n00\r\nt: 1{END}"
            ),
            format!("GET / HTTP/1.1\r\nhost: x{END}POST / HTTP/1.1\r\ncontent-length: 1{END}x"),
        ] {
            assert_eq!(read(&text), (true, true), "{text:?}");
        }
        assert_eq!(read(&format!("POST / HTTP/1.1\r\ncontent-length: 5{END}abcd")), (true, false));
    }

    #[test]
    fn what_could_be_read_in_two_ways_is_no_request() {
        for head in [
            "content-length: 5\r\ntransfer-encoding: chunked",
            "transfer-encoding: chunked\r\ncontent-length: 5",
            "content-length: 5\r\ncontent-length: 5",
            "content-length: 5\r\ncontent-length: 6",
            "content-length: 5, 5",
            "content-length: +5",
            "content-length: 0x5",
            "content-length: ",
            "content-length: 99999999999999999999",
            "transfer-encoding: chunked\r\ntransfer-encoding: chunked",
            "transfer-encoding: gzip, chunked",
            "transfer-encoding: xchunked",
            "transfer-encoding: identity",
            "transfer-encoding : chunked",
            "x: 1\r\n transfer-encoding: chunked",
            "x: 1\r\n\tfolded",
            "x: 1\ntransfer-encoding: chunked",
            "x: 1\rtransfer-encoding: chunked",
            "no colon",
            ": no name",
            "x: \0",
        ] {
            let text = format!("POST / HTTP/1.1\r\nhost: x\r\n{head}{END}");
            assert!(!read(&text).0, "{text:?}");
        }
        assert!(!read("GET / HTTP/1.1\nhost: x\n\n").0);
        assert!(!read("GET / HTTP/1.1\r\n host: x\r\n\r\n").0);
        for body in [
            "5\nabcde\r\n0\r\n\r\n",
            "5\r\nabcde\n0\r\n\r\n",
            "5\r\nabcdeX\r\n0\r\n\r\n",
            "5 \r\nabcde\r\n0\r\n\r\n",
            "-1\r\nabcde\r\n0\r\n\r\n",
            "0x5\r\nabcde\r\n0\r\n\r\n",
            "100000000\r\n",
            "\r\nabcde",
            "5;x\ny\r\nabcde\r\n0\r\n\r\n",
            "0\r\nt: 1\n\r\n",
        ] {
            let text = format!("POST / HTTP/1.1\r\ntransfer-encoding: chunked{END}{body}");
            assert!(!read(&text).0, "{text:?}");
        }
    }

    #[test]
    fn heads_and_chunk_lines_have_an_end() {
        let long = "x".repeat(HEAD_BYTES_MAX);
        assert!(!read(&format!("GET / HTTP/1.1\r\nx: {long}{END}")).0);
        let many = "x: 1\r\n".repeat(HEAD_BYTES_MAX / 6 + 1);
        assert!(!read(&format!("GET / HTTP/1.1\r\n{many}\r\n")).0);
        let extended = format!("POST / HTTP/1.1\r\ntransfer-encoding: chunked{END}5;{long}");
        assert!(!read(&extended).0);
    }

    /// What is handed on of these bytes, by `read`, in pieces of at most `piece` bytes each.
    fn handed_on(text: &[u8], mut piece: impl FnMut() -> usize) -> (Vec<u8>, String) {
        let (mut framing, mut good, mut rest) = (Framing::default(), Vec::new(), text);
        while !rest.is_empty() {
            let (now, later) = rest.split_at(piece().clamp(1, rest.len()));
            let mut bytes = now.to_vec();
            let taken = framing.read(&mut bytes);
            good.extend_from_slice(&bytes[..taken]);
            rest = later;
        }
        (good, format!("{:?}", framing.0))
    }

    /// The same with no byte taken but by `step`.
    fn stepped(text: &[u8]) -> (Vec<u8>, String) {
        let (mut framing, mut good) = (Framing::default(), Vec::new());
        for byte in text {
            if matches!(framing.0, Place::Broken) {
                break;
            }
            if matches!(framing.0, Place::Body { .. } | Place::Chunk { .. }) {
                framing.read(&mut [*byte]);
                good.push(*byte);
            } else if framing.step(*byte).is_ok() {
                good.push(*byte);
            } else {
                framing.0 = Place::Broken;
                good.push(0);
            }
        }
        (good, format!("{:?}", framing.0))
    }

    /// Numbers below `end`, the same in each run (xorshift).
    struct Numbers(u64);

    impl Numbers {
        fn below(&mut self, end: usize) -> usize {
            self.0 ^= self.0 << 13;
            self.0 ^= self.0 >> 7;
            self.0 ^= self.0 << 17;
            usize::try_from(self.0 >> 1).unwrap() % end
        }
    }

    #[test]
    fn text_taken_in_one_go_is_read_as_it_is_byte_by_byte() {
        const WORDS: [&str; 16] = [
            "GET / HTTP/1.1\r\n",
            "POST / HTTP/1.1\r\n",
            "host: x\r\n",
            "content-length: 3\r\n",
            "transfer-encoding: chunked\r\n",
            "\r\n",
            "\r\n\r\n",
            "\n",
            "\r",
            "\0",
            " ",
            ":",
            "3\r\nabc\r\n",
            "0\r\n\r\n",
            "xyz",
            "\t;",
        ];
        let mut numbers = Numbers(0x9E37_79B9_7F4A_7C15);
        let (mut whole, mut broken) = (0, 0);
        for _ in 0..20_000 {
            let mut text = Vec::new();
            if numbers.below(2) == 0 {
                text.extend_from_slice(b"POST / HTTP/1.1\r\nhost: x\r\n");
            }
            for _ in 0..numbers.below(12) {
                match numbers.below(8) {
                    0 => text.push(u8::try_from(numbers.below(256)).unwrap()),
                    _ => text.extend_from_slice(WORDS[numbers.below(WORDS.len())].as_bytes()),
                }
            }
            let expected = stepped(&text);
            let largest = 1 + numbers.below(20);
            let found = handed_on(&text, || 1 + numbers.below(largest));
            assert_eq!(found, expected, "{:?}", String::from_utf8_lossy(&text));
            if expected.1 == "Broken" { broken += 1 } else { whole += 1 }
        }
        assert!(whole > 1_000 && broken > 1_000, "{whole} {broken}");
    }

    #[test]
    fn a_head_near_its_largest_size_is_read_as_it_is_byte_by_byte() {
        let mut numbers = Numbers(0xD1B5_4A32_D192_ED03);
        let (mut whole, mut broken) = (0, 0);
        // A line counts twice, by itself and as a part of its head: one long line ends at half of the size.
        for before in [0, 1, 100, HEAD_BYTES_MAX / 2, HEAD_BYTES_MAX - 200] {
            let limit = (HEAD_BYTES_MAX - before) / 2;
            for length in limit.saturating_sub(16)..limit + 8 {
                let start = "GET / HTTP/1.1\r\n";
                let lines = format!("x: {}\r\n", "y".repeat(98)).repeat(before / 103);
                let text = format!("{start}{lines}z: {}{END}", "z".repeat(length));
                let expected = stepped(text.as_bytes());
                if expected.1 == "Broken" {
                    broken += 1;
                } else {
                    whole += 1;
                }
                assert_eq!(handed_on(text.as_bytes(), || usize::MAX), expected, "{before} {length}");
                let largest = 1 + numbers.below(3_000);
                let found = handed_on(text.as_bytes(), || 1 + numbers.below(largest));
                assert_eq!(found, expected, "{before} {length} in pieces of up to {largest}");
            }
        }
        assert!(whole > 20 && broken > 20, "{whole} {broken}");
    }

    #[test]
    fn nothing_is_handed_on_after_the_first_bad_byte() {
        let mut bytes = b"GET / HTTP/1.1\r\nx: 1\nGET /second HTTP/1.1\r\n\r\n".to_vec();
        let mut framing = Framing::default();
        let good = framing.read(&mut bytes);
        assert_eq!(&bytes[..good], b"GET / HTTP/1.1\r\nx: 1\0");
        assert_eq!(framing.read(&mut b"GET / HTTP/1.1\r\n\r\n".to_vec()), 0);
    }
}
