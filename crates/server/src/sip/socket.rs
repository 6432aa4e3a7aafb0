//! The UDP socket as the stack sees it: strangers and giants never reach it.

use std::net::SocketAddr;
use std::sync::Arc;

use async_trait::async_trait;
use rsipstack::platform::net::UdpSocket as StackSocket;

use super::{Counters, MAX_MESSAGE_BYTES, SipConfig};

/// A socket that hears peers only.
pub(super) struct PeersOnly {
    pub(super) socket: tokio::net::UdpSocket,
    pub(super) config: Arc<SipConfig>,
    pub(super) counters: Arc<Counters>,
}

#[async_trait]
impl StackSocket for PeersOnly {
    async fn recv_from(&self, buf: &mut [u8]) -> rsipstack::Result<(usize, SocketAddr)> {
        loop {
            let (len, source) = self.socket.recv_from(buf).await?;
            if self.config.peer_of(source.ip()).is_none() {
                self.counters.count_unknown_source();
            } else if len > MAX_MESSAGE_BYTES || len >= buf.len() {
                // A full buffer means that the kernel cut the rest off. The stack's has 8 KiB: whoever needs
                // more has to use a stream (RFC 3261 section 18.1.1 says so from 1,300 bytes on).
                self.counters.count_oversize();
            } else {
                return Ok((len, source));
            }
        }
    }

    async fn send_to(&self, buf: &[u8], destination: SocketAddr) -> rsipstack::Result<usize> {
        Ok(self.socket.send_to(buf, destination).await?)
    }

    fn local_addr(&self) -> rsipstack::Result<SocketAddr> {
        Ok(self.socket.local_addr()?)
    }
}
