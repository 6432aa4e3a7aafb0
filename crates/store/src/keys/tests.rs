use super::*;

/// The keys of one test differ; what they are does not matter.
fn chance() -> Chance {
    let drawn = AtomicU64::new(0);
    let test = uuid::Uuid::new_v4();
    Chance::new(move || {
        let number = drawn.fetch_add(1, Ordering::Relaxed);
        let digest = ring::digest::digest(&ring::digest::SHA256, format!("{test} {number}").as_bytes());
        digest.as_ref().try_into().unwrap()
    })
}

fn account() -> AccountId {
    AccountId("acme".to_owned())
}

fn minute(minutes: i64) -> Timestamp {
    Timestamp::from_micros(1_800_000_000_000_000 + minutes * 60_000_000)
}

/// The key that seals now.
fn sealing(keys: &Keys) -> Vec<u8> {
    keys.seal(b"{}".to_vec()).unwrap()[..PREFIX_BYTES].to_vec()
}

#[test]
fn what_is_sealed_opens_whole_and_under_its_key_only() {
    let keys = Keys::of_this_process(chance());
    let sealed = keys.seal(b"{\"a\":1}".to_vec()).unwrap();
    assert_eq!(keys.open_sealed(&sealed).as_deref(), Some(b"{\"a\":1}".as_slice()));
    assert_ne!(keys.seal(b"{\"a\":1}".to_vec()).unwrap(), sealed, "no number seals twice");
    assert_eq!(Keys::of_this_process(chance()).open_sealed(&sealed), None);
    for length in 0..sealed.len() {
        assert_eq!(keys.open_sealed(&sealed[..length]), None);
    }
    for index in 0..sealed.len() {
        let mut changed = sealed.clone();
        changed[index] ^= 2;
        assert_eq!(keys.open_sealed(&changed), None, "byte {index}");
    }
    // What was wiped, and what was stored before there were keys.
    assert_eq!(keys.open_sealed(&vec![0; sealed.len()]), None);
    assert_eq!(keys.open_sealed(b"{\"a\":1}").as_deref(), Some(b"{\"a\":1}".as_slice()));
}

#[test]
fn a_guest_neither_seals_nor_reads() {
    let keys = Keys::of_this_process(chance());
    let guest = Keys::none();
    assert!(guest.seal(b"{}".to_vec()).is_err());
    assert_eq!(guest.open_sealed(&keys.seal(b"{}".to_vec()).unwrap()), None);
}

#[test]
fn a_key_seals_for_five_minutes_and_is_in_the_file_before() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("keys");
    let keys = Keys::open(&path, chance()).unwrap();
    let first = sealing(&keys);
    keys.rotate(minute(0));
    keys.rotate(minute(4));
    assert_eq!(sealing(&keys), first);
    keys.rotate(minute(5));
    let second = sealing(&keys);
    assert_ne!(second, first);
    for prefix in [&first, &second] {
        let bytes = std::fs::read(&path).unwrap();
        assert!(bytes.windows(ID_BYTES).any(|window| window == &prefix[1..]));
    }
}

#[test]
fn only_keys_at_rest_without_rows_are_destroyed_and_then_their_bytes_are_gone() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("keys");
    let keys = Keys::open(&path, chance()).unwrap();
    let sealed = keys.seal(b"{}".to_vec()).unwrap();
    let prefix = sealed[..PREFIX_BYTES].to_vec();
    let secret = std::fs::read(&path).unwrap()[12..44].to_vec();
    let is_in_file = || std::fs::read(&path).unwrap().windows(32).any(|window| window == secret);
    keys.rotate(minute(0));
    keys.rotate(minute(5));
    // It may still be in a commit under way.
    keys.destroy_unused(&[], minute(5));
    assert!(is_in_file());
    keys.destroy_unused(std::slice::from_ref(&prefix), minute(7));
    assert!(is_in_file() && keys.open_sealed(&sealed).is_some());
    keys.destroy_unused(&[], minute(7));
    assert!(!is_in_file());
    assert_eq!(keys.open_sealed(&sealed), None);
    assert_eq!(Keys::open(&path, chance()).unwrap().open_sealed(&sealed), None);
}

#[test]
fn the_key_that_seals_is_never_destroyed() {
    let folder = tempfile::tempdir().unwrap();
    let keys = Keys::open(&folder.path().join("keys"), chance()).unwrap();
    let sealed = keys.seal(b"{}".to_vec()).unwrap();
    keys.rotate(minute(0));
    keys.destroy_unused(&[], minute(1_000));
    assert!(keys.open_sealed(&sealed).is_some());
}

#[test]
fn a_half_written_slot_is_free_and_the_others_are_read() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("keys");
    let sealed = Keys::open(&path, chance()).unwrap().seal(b"{}".to_vec()).unwrap();
    let mut bytes = std::fs::read(&path).unwrap();
    let mut torn = bytes[..40].to_vec();
    torn[5] ^= 0xFF;
    bytes.extend(torn);
    std::fs::write(&path, bytes).unwrap();
    let keys = Keys::open(&path, chance()).unwrap();
    assert!(keys.open_sealed(&sealed).is_some());
    assert_eq!(std::fs::metadata(&path).unwrap().len(), 128, "the torn slot was used again");
}

#[test]
fn a_file_that_was_taken_away_is_written_again() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("keys");
    let keys = Keys::open(&path, chance()).unwrap();
    let sealed = keys.seal(b"{}".to_vec()).unwrap();
    std::fs::remove_file(&path).unwrap();
    keys.rotate(minute(0));
    assert!(Keys::open(&path, chance()).unwrap().open_sealed(&sealed).is_some());
}

#[test]
fn without_a_place_for_the_next_key_the_one_before_goes_on() {
    let folder = tempfile::tempdir().unwrap();
    let inner = folder.path().join("inner");
    std::fs::create_dir(&inner).unwrap();
    let keys = Keys::open(&inner.join("keys"), chance()).unwrap();
    let sealed = keys.seal(b"{}".to_vec()).unwrap();
    keys.rotate(minute(0));
    std::fs::remove_dir_all(&inner).unwrap();
    keys.rotate(minute(10));
    assert!(keys.open_sealed(&sealed).is_some() && keys.seal(b"{}".to_vec()).is_ok());
}

#[test]
fn the_file_never_holds_more_keys_than_it_has_room_for() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("keys");
    let keys = Keys::open(&path, chance()).unwrap();
    let first = keys.seal(b"{}".to_vec()).unwrap();
    for round in 0..100 {
        keys.rotate(minute(round * 5));
    }
    assert_eq!(std::fs::metadata(&path).unwrap().len(), (KEYS_MAX * 64) as u64);
    assert!(keys.open_sealed(&first).is_some(), "nothing was destroyed for want of room");
}

#[test]
fn a_reference_is_found_under_every_key_and_in_its_account_only() {
    let folder = tempfile::tempdir().unwrap();
    let keys = Keys::open(&folder.path().join("keys"), chance()).unwrap();
    let old = keys.reference_tag(&account(), "order 1").unwrap();
    keys.rotate(minute(0));
    keys.rotate(minute(5));
    let new = keys.reference_tag(&account(), "order 1").unwrap();
    assert_ne!(old, new);
    let tags = keys.reference_tags(&account(), "order 1");
    assert!(tags.contains(&old) && tags.contains(&new));
    let other = AccountId("other".to_owned());
    assert!(keys.reference_tags(&other, "order 1").iter().all(|tag| !tags.contains(tag)));
}
