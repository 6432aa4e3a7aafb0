//! The file that the data keys are in: slots of 64 bytes, written and wiped in place.
//!
//! In place, so that a destroyed key leaves no old copy of the file behind. A disk that moves blocks about
//! (flash, copy-on-write) may keep one all the same: encrypt it.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use ring::digest;

use super::KeyId;

/// Keys that the file holds, at most: one is made every five minutes and lives for half an hour, so this is ten
/// times what is needed, and one page of the disk.
pub(super) const KEYS_MAX: usize = 64;

const SLOT_BYTES: usize = 64;
const MARK: [u8; 4] = *b"HPK1";
const ID: std::ops::Range<usize> = 4..12;
const KEY: std::ops::Range<usize> = 12..44;
const CHECKED_BYTES: usize = 56;

/// A key as it is in the file.
pub(super) struct StoredKey {
    pub(super) id: KeyId,
    pub(super) bytes: [u8; 32],
}

/// The open file. Each use of it takes the file's lock, as an owner that was replaced may still have it open.
pub(super) struct KeyFile {
    path: PathBuf,
    file: File,
}

impl KeyFile {
    /// Opens it, and creates it for its owner's eyes only.
    pub(super) fn open(path: &Path) -> io::Result<Self> {
        let file = create_private(path)?;
        sync_folder(path)?;
        Ok(Self { path: path.to_owned(), file })
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Every key that is whole.
    pub(super) fn read(&mut self) -> io::Result<Vec<StoredKey>> {
        self.locked(|file| Ok(read_slots(file)?.iter().filter_map(read_slot).collect()))
    }

    /// Adds a key; it is on the disk when this returns.
    pub(super) fn add(&mut self, key: &StoredKey) -> io::Result<()> {
        self.locked(|file| {
            let slots = read_slots(file)?;
            let free = slots.iter().position(|slot| read_slot(slot).is_none());
            let index = free.unwrap_or(slots.len());
            if index >= KEYS_MAX {
                return Err(io::Error::other("the file has no room for another key"));
            }
            write_slot(file, index, &slot_of(key))?;
            file.sync_all()
        })
    }

    /// Overwrites keys.
    pub(super) fn destroy(&mut self, ids: &[KeyId]) -> io::Result<()> {
        self.locked(|file| {
            for (index, slot) in read_slots(file)?.iter().enumerate() {
                if read_slot(slot).is_some_and(|key| ids.contains(&key.id)) {
                    write_slot(file, index, &[0; SLOT_BYTES])?;
                }
            }
            file.sync_all()
        })
    }

    /// Whether the path still leads to this file.
    pub(super) fn is_in_place(&self) -> bool {
        match (fs::metadata(&self.path), self.file.metadata()) {
            (Ok(there), Ok(ours)) => same_file(&there, &ours),
            (Err(_), _) | (_, Err(_)) => false,
        }
    }

    /// Makes the file anew with these keys.
    pub(super) fn replace(&mut self, keys: &[StoredKey]) -> io::Result<()> {
        self.file = create_private(&self.path)?;
        sync_folder(&self.path)?;
        keys.iter().try_for_each(|key| self.add(key))
    }

    fn locked<T>(&mut self, work: impl FnOnce(&mut File) -> io::Result<T>) -> io::Result<T> {
        self.file.lock()?;
        let done = work(&mut self.file);
        self.file.unlock()?;
        done
    }
}

fn read_slots(file: &mut File) -> io::Result<Vec<[u8; SLOT_BYTES]>> {
    let mut bytes = Vec::with_capacity(KEYS_MAX * SLOT_BYTES);
    file.seek(SeekFrom::Start(0))?;
    file.take((KEYS_MAX * SLOT_BYTES) as u64).read_to_end(&mut bytes)?;
    // A slot that was cut off by a crash is free.
    bytes.resize(bytes.len().next_multiple_of(SLOT_BYTES), 0);
    let (slots, _) = bytes.as_chunks::<SLOT_BYTES>();
    Ok(slots.to_vec())
}

fn write_slot(file: &mut File, index: usize, slot: &[u8; SLOT_BYTES]) -> io::Result<()> {
    file.seek(SeekFrom::Start((index * SLOT_BYTES) as u64))?;
    file.write_all(slot)
}

fn slot_of(key: &StoredKey) -> [u8; SLOT_BYTES] {
    let mut slot = [0; SLOT_BYTES];
    slot[..MARK.len()].copy_from_slice(&MARK);
    slot[ID].copy_from_slice(&key.id);
    slot[KEY].copy_from_slice(&key.bytes);
    let check = check(&slot);
    slot[CHECKED_BYTES..].copy_from_slice(&check);
    slot
}

/// The key in a slot; `None` when it is free, or was only written by half.
fn read_slot(slot: &[u8; SLOT_BYTES]) -> Option<StoredKey> {
    if !slot.starts_with(&MARK) || slot[CHECKED_BYTES..] != check(slot) {
        return None;
    }
    Some(StoredKey { id: slot[ID].try_into().ok()?, bytes: slot[KEY].try_into().ok()? })
}

fn check(slot: &[u8; SLOT_BYTES]) -> [u8; SLOT_BYTES - CHECKED_BYTES] {
    let digest = digest::digest(&digest::SHA256, &slot[..CHECKED_BYTES]);
    let mut check = [0; SLOT_BYTES - CHECKED_BYTES];
    check.copy_from_slice(&digest.as_ref()[..SLOT_BYTES - CHECKED_BYTES]);
    check
}

fn create_private(path: &Path) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.read(true).write(true).create(true).truncate(false);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options.open(path)
}

/// A new file's name must be on the disk too.
fn sync_folder(path: &Path) -> io::Result<()> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
    File::open(folder.unwrap_or(Path::new(".")))?.sync_all()
}

#[cfg(unix)]
fn same_file(one: &fs::Metadata, other: &fs::Metadata) -> bool {
    use std::os::unix::fs::MetadataExt;
    (one.dev(), one.ino()) == (other.dev(), other.ino())
}

#[cfg(not(unix))]
fn same_file(_: &fs::Metadata, _: &fs::Metadata) -> bool {
    true
}
