//! The bridge, by script.
