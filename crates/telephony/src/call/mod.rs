//! The two-party call: a dialog per leg, joined. Pure.
