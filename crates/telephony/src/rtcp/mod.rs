//! RTCP (RFC 3550 section 6) of one leg: reports of our own, and what the peer's reports tell.
//!
//! Nothing is passed on: a report speaks of one leg's streams, and a canonical name of who uses them. [`Reporter`]
//! writes a compound of a sender or receiver report and our name; [`read`] takes what a peer reports apart.

mod reception;

pub use reception::{Reception, ReceptionStats};

/// Longest compound we write: a sender report with one block (52), our name (8 + 2 + 16, filled up to 28) and a
/// goodbye (8).
pub const MAX_REPORT_BYTES: usize = 88;

/// Characters of our name: random, so that it tells nothing (RFC 7022 section 4.2).
pub const NAME_CHARS: usize = 16;

const SENDER_REPORT: u8 = 200;
const RECEIVER_REPORT: u8 = 201;
const DESCRIPTION: u8 = 202;
const GOODBYE: u8 = 203;
/// The item of a description that holds the canonical name.
const CANONICAL_NAME: u8 = 1;
/// Between 1900, from where RTCP counts, and 1970, in seconds.
const NTP_OFFSET_S: u64 = 2_208_988_800;
/// A packet's blocks that are looked at; a phone reports on one stream.
const MAX_BLOCKS: usize = 4;

/// What we have sent, for a sender report.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sent {
    /// RTP timestamp that belongs to the moment of the report.
    pub timestamp: u32,
    /// Packets since the stream began.
    pub packets: u32,
    /// Bytes of payload since the stream began.
    pub bytes: u32,
}

/// One block about what we received.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Block {
    /// Whose stream.
    pub ssrc: u32,
    /// Lost since the last report, in 256ths.
    pub fraction_lost: u8,
    /// Lost in all; negative when more came than expected. 24 bits on the wire.
    pub lost: i32,
    /// The highest sequence number with its roll-overs.
    pub highest: u32,
    /// Jitter in timestamp units.
    pub jitter: u32,
    /// The middle of the time stamp of their last sender report; 0 if there was none.
    pub last_report: u32,
    /// Since then, in 65,536ths of a second.
    pub since_last_report: u32,
}

/// The wall clock as RTCP writes it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ntp(u64);

impl Ntp {
    /// From microseconds since 1970.
    #[must_use]
    pub fn from_unix_us(unix_us: u64) -> Self {
        let seconds = (unix_us / 1_000_000 + NTP_OFFSET_S) & 0xffff_ffff;
        let fraction = ((unix_us % 1_000_000) << 32) / 1_000_000;
        Self(seconds << 32 | fraction)
    }

    /// The middle 32 bits.
    #[must_use]
    pub fn middle(self) -> u32 {
        u32::try_from(self.0 >> 16 & 0xffff_ffff).unwrap_or(0)
    }
}

/// Who we are on a leg.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reporter {
    /// The name of our stream.
    pub ssrc: u32,
    /// Our canonical name, letters and digits.
    pub name: [u8; NAME_CHARS],
}

impl Reporter {
    /// Writes a compound into the buffer and gives its length; nothing when there is no room of
    /// [`MAX_REPORT_BYTES`].
    #[must_use]
    pub fn write(
        &self,
        buffer: &mut [u8],
        now: Ntp,
        sent: Option<Sent>,
        block: Option<Block>,
        goodbye: bool,
    ) -> Option<usize> {
        let mut writer = Writer { buffer: buffer.get_mut(..MAX_REPORT_BYTES)?, at: 0 };
        let blocks = u8::from(block.is_some());
        let begins = writer.begin(blocks, if sent.is_some() { SENDER_REPORT } else { RECEIVER_REPORT });
        writer.word(self.ssrc);
        if let Some(sent) = sent {
            writer.put(&now.0.to_be_bytes());
            [sent.timestamp, sent.packets, sent.bytes].into_iter().for_each(|word| writer.word(word));
        }
        if let Some(block) = block {
            writer.word(block.ssrc);
            let lost = block.lost.clamp(-0x80_0000, 0x7f_ffff).cast_unsigned() & 0xff_ffff;
            writer.word(u32::from(block.fraction_lost) << 24 | lost);
            let rest = [block.highest, block.jitter, block.last_report, block.since_last_report];
            rest.into_iter().for_each(|word| writer.word(word));
        }
        writer.end(begins);
        let begins = writer.begin(1, DESCRIPTION);
        writer.word(self.ssrc);
        writer.put(&[CANONICAL_NAME, NAME_CHARS as u8]);
        writer.put(&self.name);
        writer.put(&[0; 2]);
        writer.end(begins);
        if goodbye {
            let begins = writer.begin(1, GOODBYE);
            writer.word(self.ssrc);
            writer.end(begins);
        }
        Some(writer.at)
    }
}

/// Writes into a buffer that is large enough.
struct Writer<'a> {
    buffer: &'a mut [u8],
    at: usize,
}

impl Writer<'_> {
    fn put(&mut self, bytes: &[u8]) {
        if let Some(place) = self.buffer.get_mut(self.at..self.at + bytes.len()) {
            place.copy_from_slice(bytes);
            self.at += bytes.len();
        }
    }

    fn word(&mut self, word: u32) {
        self.put(&word.to_be_bytes());
    }

    fn begin(&mut self, count: u8, kind: u8) -> usize {
        let begins = self.at;
        self.put(&[0x80 | count, kind, 0, 0]);
        begins
    }

    /// Fills the length in (in words, less one).
    fn end(&mut self, begins: usize) {
        while !(self.at - begins).is_multiple_of(4) {
            self.put(&[0]);
        }
        let words = u16::try_from((self.at - begins) / 4 - 1).unwrap_or(0);
        if let Some(place) = self.buffer.get_mut(begins + 2..begins + 4) {
            place.copy_from_slice(&words.to_be_bytes());
        }
    }
}

/// What a peer told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Told {
    /// It sends, and this is its time.
    Sends {
        /// Whose report.
        ssrc: u32,
        /// The middle of its time stamp.
        ntp_middle: u32,
    },
    /// How it receives.
    Receives(Block),
    /// It leaves.
    Leaves {
        /// Who.
        ssrc: u32,
    },
}

/// Takes a compound apart, as far as it is one; what is cut or strange ends it.
pub fn read(bytes: &[u8], told: &mut dyn FnMut(Told)) {
    let mut rest = bytes;
    while let Some((head, _)) = rest.split_first_chunk::<4>() {
        let length = 4 * (usize::from(u16::from_be_bytes([head[2], head[3]])) + 1);
        let Some(packet) = rest.get(..length).filter(|_| head[0] >> 6 == 2) else { return };
        let word =
            |at: usize| -> Option<u32> { packet.get(at..at + 4)?.try_into().ok().map(u32::from_be_bytes) };
        let blocks_at = match head[1] {
            SENDER_REPORT => {
                if let (Some(ssrc), Some(high), Some(low)) = (word(4), word(8), word(12)) {
                    told(Told::Sends { ssrc, ntp_middle: high << 16 | low >> 16 });
                }
                Some(28)
            }
            RECEIVER_REPORT => Some(8),
            GOODBYE => {
                if let Some(ssrc) = word(4) {
                    told(Told::Leaves { ssrc });
                }
                None
            }
            _ => None,
        };
        if let Some(begin) = blocks_at {
            for n in 0..usize::from(head[0] & 0x1f).min(MAX_BLOCKS) {
                if let Some(block) = block(&word, begin + n * 24) {
                    told(Told::Receives(block));
                }
            }
        }
        rest = &rest[length..];
    }
}

fn block(word: &dyn Fn(usize) -> Option<u32>, at: usize) -> Option<Block> {
    let second = word(at + 4)?;
    let [fraction_lost, ..] = second.to_be_bytes();
    Some(Block {
        ssrc: word(at)?,
        fraction_lost,
        // From 24 bits with a sign.
        lost: (second << 8).cast_signed() >> 8,
        highest: word(at + 8)?,
        jitter: word(at + 12)?,
        last_report: word(at + 16)?,
        since_last_report: word(at + 20)?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const REPORTER: Reporter = Reporter { ssrc: 0x0bad_cafe, name: *b"abcdefghijklmnop" };
    const BLOCK: Block = Block {
        ssrc: 7,
        fraction_lost: 64,
        lost: -3,
        highest: 0x1_0005,
        jitter: 12,
        last_report: 0x1234_5678,
        since_last_report: 65_536,
    };

    fn written(sent: Option<Sent>, block: Option<Block>, goodbye: bool) -> Vec<u8> {
        let mut buffer = [0xff; MAX_REPORT_BYTES];
        let now = Ntp::from_unix_us(1_500_000);
        let length = REPORTER.write(&mut buffer, now, sent, block, goodbye).unwrap();
        buffer[..length].to_vec()
    }

    fn all_told(bytes: &[u8]) -> Vec<Told> {
        let mut all = Vec::new();
        read(bytes, &mut |told| all.push(told));
        all
    }

    #[test]
    fn what_is_written_is_read_back() {
        let sent = Sent { timestamp: 5, packets: 6, bytes: 7 };
        let bytes = written(Some(sent), Some(BLOCK), true);
        assert_eq!(bytes.len(), MAX_REPORT_BYTES);
        let ntp_middle = Ntp::from_unix_us(1_500_000).middle();
        assert_eq!(
            all_told(&bytes),
            [
                Told::Sends { ssrc: 0x0bad_cafe, ntp_middle },
                Told::Receives(BLOCK),
                Told::Leaves { ssrc: 0x0bad_cafe }
            ]
        );
        assert_eq!(all_told(&written(None, Some(BLOCK), false)), [Told::Receives(BLOCK)]);
        assert_eq!(all_told(&written(None, None, false)), []);
        assert!(bytes.windows(16).any(|window| window == b"abcdefghijklmnop"));
    }

    #[test]
    fn the_clock_counts_from_1900() {
        // 1970-01-01 00:00:01.5
        assert_eq!(Ntp::from_unix_us(1_500_000).0, (2_208_988_801 << 32) | 1 << 31);
        assert_eq!(Ntp::from_unix_us(1_500_000).middle(), 0x7e81_8000);
    }

    #[test]
    fn a_report_that_is_cut_ends_there() {
        let bytes = written(None, Some(BLOCK), true);
        for length in 0..32 {
            assert_eq!(all_told(&bytes[..length]), []);
        }
        assert_eq!(REPORTER.write(&mut [0; 40], Ntp::from_unix_us(0), None, None, false), None);
    }

    proptest! {
        #[test]
        fn no_bytes_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            read(&bytes, &mut |_| {});
        }
    }
}
