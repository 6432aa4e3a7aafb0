//! The ports that a call's copies for a recorder come from.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use hushpad_telephony::relay::{Channel, Fork, Side, StreamSeed};

use super::ports::{LegSockets, PortPool};

/// Two pairs of ports; a recorded call holds them beside those of its legs.
pub struct ForkPorts {
    customer: LegSockets,
    agent: LegSockets,
    advertised: IpAddr,
}

impl ForkPorts {
    pub(super) fn open(pool: &Arc<PortPool>, bind: IpAddr, advertised: IpAddr) -> io::Result<Self> {
        let (customer, agent) = (pool.open(bind)?, pool.open(bind)?);
        for leg in [&customer, &agent] {
            leg.is_not_read();
        }
        Ok(Self { customer, agent, advertised })
    }

    /// Where the copies come from, as the recorder sees it, what the customer says first.
    #[must_use]
    pub fn addresses(&self) -> [SocketAddr; 2] {
        [&self.customer, &self.agent].map(|leg| SocketAddr::new(self.advertised, leg.lease.port()))
    }

    /// The fork that sends from them. They are free again when it is dropped.
    pub(super) fn into_fork(self, seeds: [StreamSeed; 2]) -> Fork {
        let Self { customer, agent, .. } = self;
        let sink = move |speaker, channel, to: SocketAddr, bytes: &[u8]| {
            let leg = match speaker {
                Side::Customer => &customer,
                Side::Agent => &agent,
            };
            let socket = match channel {
                Channel::Rtp => &leg.rtp,
                Channel::Rtcp => &leg.rtcp,
            };
            // They never wait: what a recorder cannot take is lost to it.
            let _lost = socket.send_to(bytes, to);
        };
        Fork::new(seeds, Box::new(sink))
    }
}
