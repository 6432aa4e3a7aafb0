//! stub
use std::future::Future;
/// u
pub const USER: &str = "s";
/// p
pub const PASSWORD: &str = "s";
/// l
#[derive(Clone)]
pub struct Ledger;
impl Ledger {
    /// o
    pub fn open(_: &std::path::Path) -> std::io::Result<Self> {
        Ok(Self)
    }
    /// m
    pub fn in_memory() -> Self {
        Self
    }
}
/// s
pub async fn serve(_: tokio::net::TcpListener, _: Ledger, stop: impl Future) {
    let _ = stop.await;
}
