//! How fast keys come.

/// Keys in a second that a person's finger, or a phone's memory key, can send.
const KEYS_PER_SECOND: usize = 12;

const SECOND_US: u64 = 1_000_000;

/// Watches the keys of one carrier. The relay watches those in the audio; whoever takes keys from signalling
/// watches them with one of his own.
#[derive(Default)]
pub struct KeyRate {
    onsets_us: [Option<u64>; KEYS_PER_SECOND],
    oldest: usize,
}

impl KeyRate {
    /// Notes a key that began at `onset_us` (microseconds of any clock) and tells whether it is one too many
    /// within a second.
    pub fn is_too_fast(&mut self, onset_us: u64) -> bool {
        let oldest = self.onsets_us[self.oldest].replace(onset_us);
        self.oldest = (self.oldest + 1) % KEYS_PER_SECOND;
        oldest.is_some_and(|oldest| onset_us.abs_diff(oldest) < SECOND_US)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn too_fast(keys: u64, spacing_us: u64) -> usize {
        let mut rate = KeyRate::default();
        (0..keys).filter(|n| rate.is_too_fast(n * spacing_us)).count()
    }

    #[test]
    fn twelve_a_second_pass_and_thirteen_do_not() {
        assert_eq!(too_fast(100, SECOND_US / 12 + 1), 0);
        assert_eq!(too_fast(12, 1000), 0);
        assert_eq!(too_fast(13, SECOND_US / 13), 1);
    }
}
