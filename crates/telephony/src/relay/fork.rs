//! A copy of both directions for a recorder (RFC 7866), taken where sound leaves toward the other side: what
//! the customer says is copied behind the guard, as the agent hears it, and as long as the agent hears it.
//!
//! Keys as telephone-events are not copied, in secure mode or out of it. Nothing here slows or changes what it
//! copies; a call without a recorder has no [`Fork`].

use std::net::SocketAddr;

use super::outgoing::{Outgoing, StreamSeed};
use super::report::{Channel, Reporting};
use super::{HEADER_BYTES, SCRATCH_BYTES, Side, write};
use crate::g711::Law;
use crate::rtp::Header;
use crate::srtp::{MasterKey, Sealer, Suite};

/// Where one copy goes, and in what form.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ForkTo {
    /// Where the recorder takes it.
    pub remote: SocketAddr,
    /// Where the recorder takes reports on it.
    pub rtcp: Option<SocketAddr>,
    /// In which law.
    pub law: Law,
    /// Under which payload type.
    pub payload_type: u8,
    /// How it is sealed; plain where nothing is said.
    pub srtp: Option<Sealing>,
}

/// How a copy is sealed.
pub type Sealing = (Suite, MasterKey);

/// Where both copies go, what the customer says first; nowhere while a recorder pauses or does not take it.
pub type ForkFlow = [Option<ForkTo>; 2];

/// Takes a packet that is ready to be sent: what this side says, over the port of RTP or RTCP, to that address.
/// It must not wait.
pub type ForkSink = Box<dyn FnMut(Side, Channel, SocketAddr, &[u8]) + Send>;

/// Both copies of one call. Made before it is installed, so that the media thread allocates nothing.
pub struct Fork {
    customer: Stream,
    agent: Stream,
    sink: ForkSink,
    scratch: Box<[u8; SCRATCH_BYTES]>,
}

struct Stream {
    outgoing: Outgoing,
    to: Option<ForkTo>,
    /// With the key it was made of.
    sealer: Option<(Sealing, Sealer)>,
    reporting: Reporting,
}

impl Fork {
    /// A fork that copies nothing yet; the seeds are for the streams, what the customer says first.
    #[must_use]
    pub fn new(seeds: [StreamSeed; 2], sink: ForkSink) -> Self {
        let [customer, agent] = seeds.map(Stream::new);
        Self { customer, agent, sink, scratch: Box::new([0; SCRATCH_BYTES]) }
    }

    /// Copies go here from now on.
    pub fn flow(&mut self, to: ForkFlow) {
        for (stream, to) in [&mut self.customer, &mut self.agent].into_iter().zip(to) {
            stream.flow(to);
        }
    }

    /// A packet goes out to whoever is across from the speaker: sound in this law, or anything else.
    pub(super) fn sent(
        &mut self,
        now_us: u64,
        speaker: Side,
        header: &Header,
        law: Option<Law>,
        payload: &[u8],
    ) {
        let stream = match speaker {
            Side::Customer => &mut self.customer,
            Side::Agent => &mut self.agent,
        };
        let Some(to) = stream.to else { return };
        let Some(law) = law else { return stream.outgoing.skipped(header) };
        let Some(header) = stream.outgoing.passed(now_us, header, to.payload_type) else { return };
        let written = write(&mut self.scratch, header, payload, Some((law, to.law)));
        let Some(mut length) = written.map(|bytes| bytes.len()) else { return };
        stream.reporting.sent(length - HEADER_BYTES);
        if let Some((_, sealer)) = &mut stream.sealer {
            let Some(sealed) = sealer.seal(self.scratch.as_mut_slice(), length) else { return };
            length = sealed;
        }
        if let Some(bytes) = self.scratch.get(..length) {
            (self.sink)(speaker, Channel::Rtp, to.remote, bytes);
        }
    }

    /// Sends the reports whose time has come, or the last ones.
    pub(super) fn report(&mut self, now_us: u64, unix_us: u64, goodbye: bool) {
        for (speaker, stream) in [(Side::Customer, &mut self.customer), (Side::Agent, &mut self.agent)] {
            let due = stream.reporting.is_due(now_us) || goodbye;
            let Some(rtcp) = stream.to.and_then(|to| to.rtcp).filter(|_| due) else { continue };
            let stands = stream.outgoing.now(now_us);
            let written = stream.reporting.write(self.scratch.as_mut_slice(), stands, unix_us, goodbye);
            let length = match (written, &mut stream.sealer) {
                (Some(length), Some((_, sealer))) => sealer.seal_rtcp(self.scratch.as_mut_slice(), length),
                (written, _) => written,
            };
            if let Some(bytes) = length.and_then(|length| self.scratch.get(..length)) {
                (self.sink)(speaker, Channel::Rtcp, rtcp, bytes);
            }
        }
    }
}

impl Stream {
    fn new(seed: StreamSeed) -> Self {
        Self { outgoing: Outgoing::new(seed), to: None, sealer: None, reporting: Reporting::new(seed) }
    }

    fn flow(&mut self, to: Option<ForkTo>) {
        // What was left out is no loss: the numbers go on, and the timestamps with the clock.
        self.outgoing.begin_stream();
        self.to = to;
        let Some(to) = to else { return };
        // A key that stays keeps its counters.
        let known = self.sealer.as_ref().map(|(sealing, _)| *sealing);
        if known != to.srtp {
            self.sealer = to.srtp.map(|sealing| (sealing, Sealer::new(sealing.0, sealing.1)));
        }
    }
}
