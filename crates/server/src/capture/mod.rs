//! The secure side: one task per provider session.
