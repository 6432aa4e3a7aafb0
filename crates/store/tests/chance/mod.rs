//! Chance for the tests, which are a program of their own.

use hushpad_store::Chance;
use uuid::Uuid;

pub(crate) fn chance() -> Chance {
    Chance::new(|| {
        let mut bits = [0; 32];
        bits[..16].copy_from_slice(Uuid::new_v4().as_bytes());
        bits[16..].copy_from_slice(Uuid::new_v4().as_bytes());
        bits
    })
}
