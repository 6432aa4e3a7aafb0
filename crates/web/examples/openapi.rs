//! Writes `docs/api/openapi.json` anew: `cargo run -p hushpad-web --example openapi`.

use std::io;

fn main() -> io::Result<()> {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/api/openapi.json");
    std::fs::write(path, hushpad_web::openapi_document())
}
