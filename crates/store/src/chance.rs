//! Chance, as it is handed in: only the program reads the system's entropy.

use std::fmt;
use std::sync::Arc;

/// Gives 256 random bits at a time, for the keys that results are sealed with. Whoever can foresee them reads what is
/// sealed. It is asked when a store is opened as its owner, and by the purge every few minutes; never with a commit.
#[derive(Clone)]
pub struct Chance(Arc<dyn Fn() -> [u8; 32] + Send + Sync>);

impl Chance {
    /// Chance from here.
    pub fn new(draw: impl Fn() -> [u8; 32] + Send + Sync + 'static) -> Self {
        Self(Arc::new(draw))
    }

    pub(crate) fn draw(&self) -> [u8; 32] {
        (self.0)()
    }
}

impl fmt::Debug for Chance {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Chance").finish_non_exhaustive()
    }
}
