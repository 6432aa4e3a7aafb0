//! After an entry is over, its digits are nowhere in the process: not on the heap, not on a stack, not in the
//! locked pages (G5). The process reads its own memory to see it.
#![expect(clippy::unwrap_used, reason = "a test stops at the first surprise")]

use std::fs::File;
use std::hint::black_box;
use std::io::Read;
use std::os::unix::fs::FileExt;
use std::time::Duration;

use hushpad_card::{Capture, Rules};
use hushpad_domain::field::Field;
use hushpad_domain::masked_card::Brand;
use hushpad_domain::page::FieldStatus;
use hushpad_domain::time::Tick;

const DIGITS: usize = 16;
const TODAY: (i32, u8) = (2026, 11);

/// A digit of the published test card 5555 5555 5555 4444, which is in no text and no constant here: only ever
/// one digit at a time.
fn digit(index: usize) -> u8 {
    if black_box(index) < 12 { 5 } else { 4 }
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

    /// How often the number is there, as ASCII or as plain values.
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
    let is = |offset: u8| window.iter().enumerate().all(|(index, byte)| *byte == digit(index) + offset);
    // The first byte decides almost always.
    matches!(window[0], 5 | b'5') && (is(0) || is(b'0'))
}

fn keyed() -> Capture {
    let rules = Rules {
        fields: vec![Field::CardNumber, Field::Expiry],
        brands: Brand::ALL.to_vec(),
        first_key_time_out: Duration::from_secs(30),
        between_keys_time_out: Duration::from_secs(10),
    };
    let mut capture = Capture::new(rules);
    capture.start(Field::CardNumber, Tick(0)).unwrap();
    for index in 0..DIGITS {
        capture.key(b'0' + digit(index), Tick(0), TODAY);
    }
    for key in *b"1230" {
        capture.key(key, Tick(0), TODAY);
    }
    assert!(capture.views().iter().all(|view| view.status == FieldStatus::Valid));
    capture
}

#[test]
fn no_copy_is_left_when_an_entry_is_over() {
    let mut search = Search::new();
    let mut capture = keyed();
    assert_ne!(search.copies(), 0, "the search must find what is there");
    capture.wipe();
    assert_eq!(search.copies(), 0, "after a wipe");

    let mut capture = keyed();
    let card = capture.take().unwrap();
    assert_eq!(card.masked().brand(), Some(Brand::Mastercard));
    drop(card);
    assert_eq!(search.copies(), 0, "after an attempt");

    let mut capture = keyed();
    capture.redo(Field::CardNumber, Tick(0)).unwrap();
    assert_eq!(search.copies(), 0, "after a redo");

    let mut capture = keyed();
    let card = capture.take().unwrap();
    capture.give_back(card, &[Field::CardNumber]);
    assert_eq!(search.copies(), 0, "after a blamed number");

    let panicked = std::thread::spawn(|| {
        let _capture = keyed();
        std::panic::resume_unwind(Box::new(()));
    });
    assert!(panicked.join().is_err());
    assert_eq!(search.copies(), 0, "after a panic");
}
