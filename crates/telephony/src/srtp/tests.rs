//! Against the vectors of RFC 3711 and libsrtp, and against whoever forges.

use super::*;
use proptest::prelude::*;

/// The key of libsrtp's own test.
fn key() -> MasterKey {
    let hex = "e1f97a0d3e018be0d64fa32c06de41390ec675ad498afeebb6960b3aabe6";
    MasterKey::new(bytes(hex).try_into().unwrap())
}

fn bytes(hex: &str) -> Vec<u8> {
    hex.as_bytes()
        .chunks(2)
        .map(|two| u8::from_str_radix(std::str::from_utf8(two).unwrap(), 16).unwrap())
        .collect()
}

fn rtp(sequence: u16, payload: &[u8]) -> Vec<u8> {
    let mut packet = bytes("800f1234decafbadcafebabe");
    packet[2..4].copy_from_slice(&sequence.to_be_bytes());
    packet.extend(payload);
    packet
}

fn sealed(sealer: &mut Sealer, sequence: u16, payload: &[u8]) -> Vec<u8> {
    let mut packet = rtp(sequence, payload);
    let length = packet.len();
    packet.resize(length + OVERHEAD_BYTES, 0);
    let length = sealer.seal(&mut packet, length).unwrap();
    packet.truncate(length);
    packet
}

fn opens(opener: &mut Opener, packet: &[u8]) -> Option<Vec<u8>> {
    let mut packet = packet.to_vec();
    let length = opener.open(&mut packet).ok()?;
    packet.truncate(length);
    Some(packet)
}

#[test]
fn packets_are_those_of_libsrtp() {
    let mut sealer = Sealer::new(Suite::Sha1_80, key());
    let packet = sealed(&mut sealer, 0x1234, &[0xab; 16]);
    let theirs = "800f1234decafbadcafebabe4e55dc4ce79978d88ca4d215949d2402b78d6acc99ea179b8dbb";
    assert_eq!(packet, bytes(theirs));
    assert_eq!(opens(&mut Opener::new(Suite::Sha1_80, key()), &packet), Some(rtp(0x1234, &[0xab; 16])));

    let plain = [bytes("81c8000bcafebabe"), vec![0xab; 16]].concat();
    let mut report = [plain.clone(), vec![0; OVERHEAD_BYTES]].concat();
    sealer.next_rtcp = 1;
    assert_eq!(sealer.seal_rtcp(&mut report, 24), Some(38));
    assert_eq!(report, bytes("81c8000bcafebabe7128035be487b9bdbef89041f977a5a880000001993e08cd54d6c1230798"));
    let mut opener = Opener::new(Suite::Sha1_32, key());
    assert_eq!(opener.open_rtcp(&mut report.clone()), Ok(24));
    assert_eq!(opener.open_rtcp(&mut report), Err(Refused), "it was there before");
}

#[test]
fn the_short_tag_is_the_beginning_of_the_long_one() {
    let long = sealed(&mut Sealer::new(Suite::Sha1_80, key()), 7, b"sound");
    let short = sealed(&mut Sealer::new(Suite::Sha1_32, key()), 7, b"sound");
    assert_eq!(short, long[..long.len() - 6]);
    assert_eq!(opens(&mut Opener::new(Suite::Sha1_32, key()), &short), Some(rtp(7, b"sound")));
}

#[test]
fn contributing_sources_and_extensions_stay_readable() {
    let mut packet = rtp(1, &[&[9; 4][..], &[0xbe, 0xde, 0, 1, 1, 2, 3, 4], b"sound"].concat());
    packet[0] |= 0x11;
    let plain = packet.clone();
    packet.resize(plain.len() + OVERHEAD_BYTES, 0);
    let length = Sealer::new(Suite::Sha1_80, key()).seal(&mut packet, plain.len()).unwrap();
    assert_eq!(packet[..24], plain[..24]);
    assert_ne!(packet[24..29], plain[24..]);
    assert_eq!(opens(&mut Opener::new(Suite::Sha1_80, key()), &packet[..length]), Some(plain));
}

#[test]
fn the_counter_rolls_over_on_both_ends_and_late_packets_find_their_place() {
    let (mut sealer, mut opener) = (Sealer::new(Suite::Sha1_80, key()), Opener::new(Suite::Sha1_80, key()));
    let mut late = None;
    // Most of the way in strides, every packet around the roll-overs.
    let near = |n: u32| n % 65_536 > 65_500 || n % 65_536 < 36;
    for n in (65_000..200_000_u32).filter(|n| n % 500 == 0 || near(*n)) {
        let sequence = u16::try_from(n % 65_536).unwrap();
        let packet = sealed(&mut sealer, sequence, b"x");
        if n % 65_536 == 65_535 {
            // It comes after the roll-over.
            late = Some((n, packet));
            continue;
        }
        assert!(opens(&mut opener, &packet).is_some(), "{n}");
        if let Some((_, packet)) = late.take_if(|(at, _)| n == *at + 5) {
            assert!(opens(&mut opener, &packet).is_some(), "late, {n}");
        }
    }
}

#[test]
fn no_key_stream_is_used_twice() {
    let mut sealer = Sealer::new(Suite::Sha1_80, key());
    let mut seal = |sequence| {
        let mut packet = rtp(sequence, b"sound");
        packet.resize(17 + OVERHEAD_BYTES, 0);
        sealer.seal(&mut packet, 17).is_some()
    };
    assert!([65_535, 1, 0].into_iter().all(&mut seal));
    assert!(![0, 1, 65_535].into_iter().any(&mut seal));
    assert!(seal(500));
    assert!(!seal(300), "too old to know");
}

#[test]
fn what_is_forged_changes_nothing() {
    let (mut sealer, mut opener) = (Sealer::new(Suite::Sha1_80, key()), Opener::new(Suite::Sha1_80, key()));
    let good = sealed(&mut sealer, 10, b"sound");
    let other = KeySource::new([1; 32]).next_key();
    let mut forger = Sealer::new(Suite::Sha1_80, other);
    let mut second = Sealer::new(Suite::Sha1_80, other);
    // Far ahead, of many names, cut short: none makes the next good packet look old or unknown.
    for n in 0..200_u16 {
        let mut bad = sealed(&mut forger, 40_000 + n, b"noise");
        bad[8..12].copy_from_slice(&u32::from(n).to_be_bytes());
        assert_eq!(opens(&mut opener, &bad), None);
        let mut bad = sealed(&mut second, 20_000 + n, b"noise");
        assert_eq!(opens(&mut opener, &bad), None);
        bad.truncate(usize::from(n) % bad.len());
        assert_eq!(opens(&mut opener, &bad), None);
    }
    for at in 0..good.len() {
        let mut bad = good.clone();
        bad[at] ^= 4;
        assert_eq!(opens(&mut opener, &bad), None, "{at}");
    }
    assert!(opener.streams.iter().all(Option::is_none));
    assert!(opens(&mut opener, &good).is_some());
    assert_eq!(opens(&mut opener, &good), None, "replayed");
    for sequence in 11..300 {
        assert!(opens(&mut opener, &sealed(&mut sealer, sequence, b"sound")).is_some());
    }
    assert_eq!(opens(&mut opener, &good), None, "replayed much later");
}

#[test]
fn keys_differ_and_are_not_shown() {
    let mut source = KeySource::new([7; 32]);
    let (first, second) = (source.next_key(), source.next_key());
    assert!(first != second && first != KeySource::new([8; 32]).next_key());
    let crypto = Crypto { suite: Suite::Sha1_80, ours: first, theirs: second };
    assert_eq!(format!("{crypto:?}"), "Crypto { suite: Sha1_80, ours: MasterKey(•), theirs: MasterKey(•) }");
}

proptest! {
    #[test]
    fn no_bytes_panic_and_none_are_taken(mut bytes in proptest::collection::vec(any::<u8>(), 0..120)) {
        let mut opener = Opener::new(Suite::Sha1_80, key());
        prop_assert_eq!(opener.open(&mut bytes.clone()), Err(Refused));
        prop_assert_eq!(opener.open_rtcp(&mut bytes), Err(Refused));
        let mut sealer = Sealer::new(Suite::Sha1_32, key());
        let length = bytes.len();
        let _ = sealer.seal(&mut bytes, length);
        let _ = sealer.seal_rtcp(&mut bytes, length);
    }
}
