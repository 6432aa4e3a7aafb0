//! The guard: nothing of a tone passes. Pure.
