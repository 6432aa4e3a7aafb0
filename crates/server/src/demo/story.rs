//! stub
use super::{DemoParts, Phones};
/// s
pub struct Verdict;
impl Verdict {
    /// s
    pub fn passed(&self) -> bool {
        true
    }
}
/// s
pub async fn play_once(_: DemoParts, _: Phones, _: &mut dyn std::io::Write) -> anyhow::Result<Verdict> {
    Ok(Verdict)
}
