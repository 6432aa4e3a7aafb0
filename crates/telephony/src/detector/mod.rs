//! The tone detector.

/// The two ends of a key press.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// The key went down.
    Begin,
    /// The key came up.
    End,
}
