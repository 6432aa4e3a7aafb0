//! Live calls: one task per call, and the table that finds them.
