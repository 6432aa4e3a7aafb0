//! From the key press to the agent page's event.

use std::io::Write;

use crate::log::Redactor;

pub(super) async fn run(_redactor: Redactor, _out: &mut dyn Write) -> anyhow::Result<()> {
    Ok(())
}
