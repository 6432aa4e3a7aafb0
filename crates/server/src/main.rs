//! The program `hushpad`.
fn main() {}
