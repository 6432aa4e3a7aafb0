//! One end of the audio: speaks a little, and keeps what it hears apart.

use std::f64::consts::TAU;
use std::net::SocketAddr;

use hushpad_telephony::g711::Law;
use tokio::net::UdpSocket;

use crate::desk::PATIENCE;
use crate::phone::Message;

/// Payload types of the phones' descriptions.
const ULAW: u8 = 0;
const EVENT: u8 = 101;

pub(crate) struct Audio {
    socket: UdpSocket,
    to: Option<SocketAddr>,
    sequence: u16,
    timestamp: u32,
    events: usize,
}

impl Audio {
    pub(crate) async fn open() -> Self {
        let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        Self { socket, to: None, sequence: 1, timestamp: 1, events: 0 }
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.socket.local_addr().unwrap()
    }

    /// Sends to where this description of ours says.
    pub(crate) fn reaches(&mut self, answer: &Message) {
        let line = answer.0.lines().find(|line| line.starts_with("m=audio")).unwrap();
        let port = line.split(' ').nth(1).unwrap();
        self.to = Some(format!("127.0.0.1:{port}").parse().unwrap());
    }

    /// One packet of silence.
    pub(crate) async fn says(&mut self) {
        self.sounds(&[0xff; 160]).await;
    }

    /// One packet of this sound.
    pub(crate) async fn sounds(&mut self, sound: &[u8]) {
        self.timestamp += 160;
        self.send(ULAW, false, sound).await;
    }

    /// One key as telephone-events: begun, and ended three times.
    pub(crate) async fn keys(&mut self, event: u8) {
        self.says().await;
        self.timestamp += 160;
        for (n, end) in [(1u16, 0x00), (2, 0x80), (2, 0x80), (2, 0x80)] {
            let [high, low] = (n * 400).to_be_bytes();
            self.send(EVENT, n == 1, &[event, end | 10, high, low]).await;
        }
        self.timestamp += 1600;
    }

    pub(crate) async fn hears_event(&mut self) {
        let before = self.events;
        while self.events == before {
            self.next().await;
        }
    }

    pub(crate) async fn hears_audio(&mut self) {
        while self.next().await != ULAW {}
    }

    /// The payload of the next packet of audio.
    pub(crate) async fn hears_sound(&mut self) -> Vec<u8> {
        loop {
            let packet = self.next_packet().await;
            if packet[1] & 0x7f == ULAW {
                return packet[12..].to_vec();
            }
        }
    }

    /// What was heard so far does not count.
    pub(crate) fn forget(&mut self) {
        while self.socket.try_recv_from(&mut [0; 2048]).is_ok() {}
        self.events = 0;
    }

    /// Nothing waits to be heard.
    pub(crate) fn heard_nothing(&self) -> bool {
        self.socket.try_recv_from(&mut [0; 16]).is_err()
    }

    pub(crate) fn events(&self) -> usize {
        self.events
    }

    async fn next(&mut self) -> u8 {
        self.next_packet().await[1] & 0x7f
    }

    async fn next_packet(&mut self) -> Vec<u8> {
        let mut bytes = vec![0; 2048];
        let heard = tokio::time::timeout(PATIENCE, self.socket.recv_from(&mut bytes)).await;
        let (length, _) = heard.expect("audio is heard").unwrap();
        bytes.truncate(length);
        self.events += usize::from(bytes[1] & 0x7f == EVENT);
        bytes
    }

    async fn send(&mut self, payload_type: u8, marker: bool, payload: &[u8]) {
        self.sequence += 1;
        let mut packet = vec![0x80, payload_type | u8::from(marker) << 7];
        packet.extend(self.sequence.to_be_bytes());
        packet.extend(self.timestamp.to_be_bytes());
        packet.extend(7u32.to_be_bytes());
        packet.extend(payload);
        self.socket.send_to(&packet, self.to.expect("the call is answered")).await.unwrap();
    }
}

/// So many packets of the tone of `1` (ITU-T Q.23).
pub(crate) fn tone(packets: u32) -> Vec<Vec<u8>> {
    let sample = |n: u32| {
        let at = f64::from(n) / 8000.0 * TAU;
        Law::Mu.encode((((697.0 * at).sin() + (1209.0 * at).sin()) * 6000.0) as i16)
    };
    (0..packets).map(|packet| (packet * 160..(packet + 1) * 160).map(sample).collect()).collect()
}
