//! After a submission the card is nowhere in the process that sent it, without any help of the allocator
//! (G5). Over TLS the TLS library has buffers of its own, which only a zeroising allocator wipes.
#![expect(clippy::unwrap_used, reason = "a test stops at the first surprise")]

use std::collections::BTreeMap;
use std::fs::File;
use std::hint::black_box;
use std::io::{Read, Write};
use std::os::unix::fs::FileExt;
use std::time::Duration;

use hushpad_card::{Capture, Card, Rules};
use hushpad_domain::attempt::{Attempt, AttemptState, Purpose};
use hushpad_domain::field::Field;
use hushpad_domain::ids::{AttemptId, AttemptNo, GatewayName};
use hushpad_domain::masked_card::Brand;
use hushpad_domain::payment_data::PaymentData;
use hushpad_domain::time::{Tick, Timestamp};
use hushpad_gateways::{GatewayConfig, GatewayKind, Gateways, Order, Source, Submission};
use uuid::Uuid;

const DIGITS: usize = 16;

/// A digit of the published test card 5555 5555 5555 4444, which is in no text and no constant here: only ever
/// one digit at a time.
fn digit(index: usize) -> u8 {
    b'0' + if black_box(index) < 12 { 5 } else { 4 }
}

/// Looks through this process's writable memory. Its own buffers are made before there is a card, so that a
/// search does not overwrite freed memory that still holds one.
struct Search {
    maps: String,
    piece: Vec<u8>,
}

impl Search {
    fn new() -> Self {
        Self { maps: String::with_capacity(1 << 20), piece: vec![0; 1 << 20] }
    }

    /// How often the number is there.
    fn copies(&mut self) -> usize {
        let memory = File::open("/proc/self/mem").unwrap();
        self.maps.clear();
        File::open("/proc/self/maps").unwrap().read_to_string(&mut self.maps).unwrap();
        let mut found = 0;
        for line in self.maps.lines() {
            let mut words = line.split(' ');
            let (from, to) = words.next().unwrap().split_once('-').unwrap();
            if !words.next().unwrap().starts_with("rw") {
                continue;
            }
            let to = u64::from_str_radix(to, 16).unwrap();
            let mut from = u64::from_str_radix(from, 16).unwrap();
            while from < to {
                let length = self.piece.len().min(usize::try_from(to - from).unwrap());
                // Pages that cannot be read hold nothing that anybody else could read either.
                let read = memory.read_at(&mut self.piece[..length], from).unwrap_or(0);
                found += self.piece[..read].windows(DIGITS).filter(|window| is_number(window)).count();
                self.piece.fill(0);
                // Pieces overlap, so that no number is cut in two.
                from +=
                    u64::try_from(if length == self.piece.len() { length - DIGITS } else { length }).unwrap();
            }
        }
        found
    }
}

fn is_number(window: &[u8]) -> bool {
    window[0] == b'5' && window.iter().enumerate().all(|(index, byte)| *byte == digit(index))
}

fn card() -> Card {
    let rules = Rules {
        fields: vec![Field::CardNumber, Field::Expiry],
        brands: Brand::ALL.to_vec(),
        first_key_time_out: Duration::from_secs(30),
        between_keys_time_out: Duration::from_secs(30),
    };
    let mut capture = Capture::new(rules);
    capture.start(Field::CardNumber, Tick(0)).unwrap();
    for key in (0..DIGITS).map(digit).chain(*b"1230") {
        capture.key(key, Tick(0), (2026, 11));
    }
    capture.take().unwrap()
}

/// Takes one request byte by byte, keeping nothing, and gives this reply.
fn forgetful_gateway(reply: &'static str) -> String {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/charges", listener.local_addr().unwrap());
    std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let mut last = [0_u8; 2];
        while last != *b"}}" {
            let mut byte = [0_u8];
            stream.read_exact(&mut byte).unwrap();
            last = [last[1], byte[0]];
        }
        stream.write_all(reply.as_bytes()).unwrap();
    });
    url
}

async fn submit(search: &mut Search, reply: &'static str) -> Submission {
    let (user, password) = ("u".to_owned(), "p".to_owned());
    let kind = GatewayKind::Generic {
        url: forgetful_gateway(reply),
        operations_url: None,
        query_url: None,
        user,
        password,
    };
    let name = GatewayName("main".to_owned());
    let gateways = Gateways::new(vec![GatewayConfig::new(name.clone(), kind)]).unwrap();
    let data = [("Amount", "12.40"), ("Currency", "GBP")];
    let data: BTreeMap<_, _> = data.map(|(name, value)| (name.to_owned(), value.to_owned())).into();
    let payment_data = PaymentData::new(data).unwrap();
    let attempt = Attempt {
        id: AttemptId(Uuid::from_u128(1)),
        no: AttemptNo(1),
        amount: payment_data.amount(),
        purpose: Purpose::Sale,
        gateway: name.clone(),
        intended_on: Timestamp::from_micros(0),
        updated_on: Timestamp::from_micros(0),
        state: AttemptState::Intent,
        operations: Vec::new(),
    };
    let order = Order::by_phone(&attempt, &payment_data);
    let card = card();
    assert_ne!(search.copies(), 0, "the search must find what is there");
    gateways.submit(&name, &order, &Source::Keyed(&card)).await
}

#[tokio::test]
async fn no_copy_is_left_after_a_submission() {
    let mut search = Search::new();
    let approved = "HTTP/1.1 200 OK\r\ncontent-length: 20\r\n\r\n{\"charge_id\":\"ch_9\"}";
    assert!(matches!(submit(&mut search, approved).await, Submission::Answered(_)));
    assert_eq!(search.copies(), 0, "after an answer");
    assert!(matches!(submit(&mut search, "no HTTP at all\r\n\r\n").await, Submission::Unknown(_)));
    assert_eq!(search.copies(), 0, "after garbage");
}
