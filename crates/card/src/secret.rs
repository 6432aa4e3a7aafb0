//! The one type for captured digits.

use thiserror::Error;

use crate::locked::Slot;

/// Digits of a card, in ASCII, in locked memory.
///
/// It cannot be cloned, compared, printed or serialised, and it is wiped when dropped (PCI DSS 3.3, 3.5).
pub struct Secret {
    slot: Slot,
    digits: u8,
}

impl Secret {
    /// As many digits as the longest card number has (ISO/IEC 7812-1).
    pub const CAPACITY: u8 = 19;

    /// An empty one; `None` when there is no locked memory left.
    #[must_use]
    pub fn new() -> Option<Self> {
        Some(Self { slot: Slot::take()?, digits: 0 })
    }

    /// Adds a key.
    ///
    /// # Errors
    /// [`Full`] at [`Self::CAPACITY`] digits; the digits stay as they are.
    pub fn push(&mut self, digit: u8) -> Result<(), Full> {
        if self.digits >= Self::CAPACITY {
            return Err(Full);
        }
        self.slot.bytes_mut()[usize::from(self.digits)] = digit;
        self.digits += 1;
        Ok(())
    }

    /// Shows the digits, in ASCII, to `reader` and to nobody else.
    pub fn read<R>(&self, reader: impl FnOnce(&[u8]) -> R) -> R {
        reader(&self.slot.bytes()[..usize::from(self.digits)])
    }

    /// How many digits there are.
    #[must_use]
    pub fn len(&self) -> u8 {
        self.digits
    }

    /// Whether there is no digit.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.digits == 0
    }
}

/// There is no room for another digit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("there is no room for another digit")]
pub struct Full;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digits_are_kept_up_to_the_capacity() {
        let mut secret = Secret::new().unwrap();
        for index in 0..Secret::CAPACITY {
            assert_eq!(secret.push(b'0' + index % 10), Ok(()));
        }
        assert_eq!(secret.push(b'9'), Err(Full));
        assert!(secret.read(|digits| digits == b"0123456789012345678"));
    }
}
