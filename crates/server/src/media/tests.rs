//! The media plane over loopback: real sockets, real threads.

use super::*;
use hushpad_telephony::g711::Law;
use hushpad_telephony::key::{Carrier, Key};
use hushpad_telephony::rtcp::Told;
use hushpad_telephony::rtp::{HEADER_BYTES, Header, Packet};
use std::f64::consts::TAU;
use std::net::{Ipv4Addr, UdpSocket};
use std::time::Duration;

const LOOPBACK: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

/// Nothing here takes this long; a test that waits for it fails.
const PATIENCE: Duration = Duration::from_secs(10);

fn plane(port_min: u16, port_max: u16) -> MediaPlane {
    let guard = GuardConfig::default();
    let (bind_address, advertised_address) = (LOOPBACK, LOOPBACK);
    let config = MediaConfig { bind_address, advertised_address, port_min, port_max, workers: 1, guard };
    MediaPlane::start(config).unwrap()
}

/// A phone that sends G.711 to one of our ports.
struct Phone {
    socket: UdpSocket,
    next: Header,
}

impl Phone {
    fn new(session: &MediaSession, side: Side) -> Self {
        let socket = UdpSocket::bind((LOOPBACK, 0)).unwrap();
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
        session.set_leg(side, LegParams::pcmu(Some(socket.local_addr().unwrap())));
        socket.connect(session.local(side)).unwrap();
        let next = Header { marker: false, payload_type: 0, sequence: 1, timestamp: 1, ssrc: 1 };
        Self { socket, next }
    }

    fn send(&mut self, payload_type: u8, timestamp: u32, payload: &[u8]) {
        let header = Header { payload_type, timestamp, ..self.next };
        self.next.sequence += 1;
        self.socket.send(&[&header.to_bytes(), payload].concat()).unwrap();
    }

    fn says(&mut self, payload: &[u8]) {
        self.send(0, self.next.timestamp, payload);
        self.next.timestamp += payload.len() as u32;
    }

    fn presses(&mut self, key: u8) {
        let (code, start) = (Key::from_ascii(key).unwrap().event_code(), self.next.timestamp);
        for (flags, duration) in [(10, 160_u16), (10, 320), (138, 480), (138, 480), (138, 480)] {
            let [high, low] = duration.to_be_bytes();
            self.send(101, start, &[code, flags, high, low]);
        }
        self.next.timestamp += 5 * 160;
    }

    /// The payload type and the payload of the next packet.
    fn hears(&self) -> (u8, Vec<u8>) {
        let mut buffer = [0; 2000];
        let length = self.socket.recv(&mut buffer).unwrap();
        let packet = Packet::parse(&buffer[..length]).unwrap();
        (packet.header.payload_type, packet.payload.to_vec())
    }

    /// Everything up to a packet that was sent as a mark.
    fn hears_until(&self, mark: &[u8]) -> Vec<(u8, Vec<u8>)> {
        std::iter::from_fn(|| Some(self.hears()).filter(|(_, payload)| payload != mark)).collect()
    }
}

async fn keys(queue: &KeyQueue, number: usize) -> Vec<(char, Carrier)> {
    let mut keys = Vec::new();
    while keys.len() < number {
        tokio::time::timeout(PATIENCE, queue.ready()).await.unwrap();
        while let Some(report) = queue.pop() {
            keys.push((char::from(report.key.ascii()), report.carrier));
        }
    }
    keys
}

fn tone(packet: u32) -> Vec<u8> {
    let sample = |n: u32| {
        let at = f64::from(n) / 8000.0 * TAU;
        Law::Mu.encode((((770.0 * at).sin() + (1336.0 * at).sin()) * 6000.0) as i16)
    };
    (packet * 160..(packet + 1) * 160).map(sample).collect()
}

#[tokio::test]
async fn sound_and_events_go_both_ways_unchanged() {
    let plane = plane(22_000, 22_099);
    let session = plane.open().unwrap();
    let mut customer = Phone::new(&session, Side::Customer);
    let mut agent = Phone::new(&session, Side::Agent);
    customer.says(b"hello");
    assert_eq!(agent.hears(), (0, b"hello".to_vec()));
    agent.says(b"good morning");
    assert_eq!(customer.hears(), (0, b"good morning".to_vec()));
    customer.presses(b'5');
    assert_eq!(agent.hears(), (101, vec![5, 10, 0, 160]));
    (0..4).for_each(|_| assert_eq!(agent.hears().0, 101));
    let stats = session.stats().await.unwrap();
    assert_eq!((stats.customer.received, stats.agent.received, stats.agent.sent), (6, 1, 6));
    assert!(stats.customer.quiet_for_us(now_us()).is_some());
}

#[tokio::test]
async fn the_end_of_a_call_is_told_by_rtcp_from_the_right_port() {
    let plane = plane(22_600, 22_699);
    let session = plane.open().unwrap();
    let mut customer = Phone::new(&session, Side::Customer);
    let reports = UdpSocket::bind((LOOPBACK, 0)).unwrap();
    reports.set_read_timeout(Some(PATIENCE)).unwrap();
    let params = LegParams::pcmu(Some(customer.socket.local_addr().unwrap()));
    session.set_leg(Side::Customer, LegParams { rtcp: Some(reports.local_addr().unwrap()), ..params });
    customer.says(b"hello");
    // A report of reception is for who has been heard.
    while session.stats().await.unwrap().customer.received == 0 {}
    let port = session.local(Side::Customer).port() + 1;
    drop(session);
    let mut buffer = [0; 200];
    let (length, from) = reports.recv_from(&mut buffer).unwrap();
    assert_eq!(from.port(), port);
    let mut told = Vec::new();
    hushpad_telephony::rtcp::read(&buffer[..length], &mut |one| told.push(one));
    assert!(matches!(told[..], [Told::Receives(_), Told::Leaves { .. }]), "{told:?}");
}

#[tokio::test]
async fn keys_of_a_secured_call_reach_their_reader_in_order_and_not_the_agent() {
    let plane = plane(22_100, 22_199);
    let session = plane.open().unwrap();
    let mut customer = Phone::new(&session, Side::Customer);
    let mut agent = Phone::new(&session, Side::Agent);
    let queue = Arc::new(KeyQueue::new());
    session.secure(queue.clone()).await.unwrap();
    for key in b"4111#" {
        customer.presses(*key);
    }
    let expected = ['4', '1', '1', '1', '#'].map(|key| (key, Carrier::Event));
    assert_eq!(keys(&queue, 5).await, expected);
    // The end of the last key is still on its way: it must not be heard either.
    agent.says(b"thank you");
    assert_eq!(customer.hears().1, b"thank you");
    session.release().await.unwrap();
    customer.says(b"mark");
    let heard = agent.hears_until(b"mark");
    assert!(!heard.is_empty(), "the agent's stream went on");
    assert!(heard.iter().all(|(payload_type, sound)| {
        *payload_type == 0 && sound.iter().all(|byte| *byte == Law::Mu.silence())
    }));
    customer.presses(b'6');
    assert_eq!(agent.hears().0, 101, "after secure mode events pass again");
    assert!(queue.pop().is_none());
}

#[tokio::test]
async fn tones_of_a_secured_call_are_keys_too() {
    let plane = plane(22_200, 22_299);
    let session = plane.open().unwrap();
    let mut customer = Phone::new(&session, Side::Customer);
    let agent = Phone::new(&session, Side::Agent);
    let queue = Arc::new(KeyQueue::new());
    session.secure(queue.clone()).await.unwrap();
    let pause = [Law::Mu.silence(); 160];
    for packet in 0..5 {
        customer.says(&tone(packet));
    }
    (0..5).for_each(|_| customer.says(&pause));
    assert_eq!(keys(&queue, 1).await, [('5', Carrier::InBand)]);
    session.release().await.unwrap();
    customer.says(b"mark");
    let heard = agent.hears_until(b"mark");
    assert!(heard.len() >= 5);
    let loudest = heard.iter().flat_map(|(_, sound)| sound).map(|byte| Law::Mu.decode(*byte).unsigned_abs());
    assert_eq!(loudest.max(), Some(0));
}

#[tokio::test]
async fn held_sound_leaves_by_the_clock_when_no_packet_follows() {
    let plane = plane(22_300, 22_399);
    let session = plane.open().unwrap();
    let mut customer = Phone::new(&session, Side::Customer);
    let agent = Phone::new(&session, Side::Agent);
    session.secure(Arc::new(KeyQueue::new())).await.unwrap();
    customer.says(&[Law::Mu.silence(); 160]);
    assert_eq!(agent.hears(), (0, vec![Law::Mu.silence(); 160]));
}

#[tokio::test]
async fn ports_are_bounded_and_come_back_when_the_worker_let_go() {
    let plane = plane(22_400, 22_411);
    let other = plane.open().unwrap();
    let sessions: Vec<_> = std::iter::from_fn(|| plane.open().ok()).collect();
    assert_eq!((sessions.len(), plane.free_legs()), (2, 0));
    assert!(plane.open().is_err());
    drop(sessions);
    // The worker obeys in order: when it answers this, the calls are closed.
    other.stats().await.unwrap();
    assert_eq!(plane.free_legs(), 4);
    let session = plane.open().unwrap();
    assert!(session.local(Side::Customer).port().is_multiple_of(2));
    UdpSocket::bind((LOOPBACK, session.local(Side::Customer).port())).unwrap_err();
}

#[tokio::test]
async fn rtcp_and_strangers_are_counted_and_not_passed_on() {
    let plane = plane(22_500, 22_599);
    let session = plane.open().unwrap();
    let mut customer = Phone::new(&session, Side::Customer);
    let agent = Phone::new(&session, Side::Agent);
    let to = session.local(Side::Customer);
    let stranger = UdpSocket::bind((LOOPBACK, 0)).unwrap();
    stranger.send_to(&[0x80; 2 * HEADER_BYTES], to).unwrap();
    stranger.send_to(&[0x80, 200, 0, 1], SocketAddr::new(to.ip(), to.port() + 1)).unwrap();
    stranger.send_to(&[0; 1501], to).unwrap();
    customer.says(b"hello");
    assert_eq!(agent.hears().1, b"hello");
    let customer = session.stats().await.unwrap().customer;
    assert_eq!((customer.dropped.foreign, customer.dropped.malformed, customer.rtcp), (1, 1, 1));
}

#[tokio::test]
async fn two_workers_share_the_calls() {
    let config = plane(22_600, 22_699).0.config;
    let plane = MediaPlane::start(MediaConfig { workers: 2, ..config }).unwrap();
    let sessions: Vec<_> = (0..4).map(|_| plane.open().unwrap()).collect();
    for session in &sessions {
        let mut customer = Phone::new(session, Side::Customer);
        let agent = Phone::new(session, Side::Agent);
        customer.says(b"hello");
        assert_eq!(agent.hears().1, b"hello");
    }
    assert_eq!(sessions.iter().filter(|session| session.worker == 1).count(), 2);
}
