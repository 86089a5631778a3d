//! Stable storage for what a voter must not forget: small files that are replaced whole.
//!
//! A file is written under another name, synchronised, renamed, and its folder synchronised: after a crash at any
//! moment it is the old one or the new one. What takes the place of as many bytes, in one sector, is written over them
//! instead, because a disk writes a sector whole or not at all: a vote is part of every takeover, and a rename makes the
//! file system write its journal twice. A checksum tells a file that was damaged, by a disk that does otherwise or
//! in any other way; it is refused, because a voter that continues with a wrong memory is worse than one that does not start.

use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use nix::fcntl::{Flock, FlockArg};
use sha2::{Digest, Sha256};
use thiserror::Error;

const MAGIC: &[u8; 16] = b"outlive state 1\n";
const DIGEST_BYTES: usize = 32;
/// What every disk writes whole or not at all.
const SECTOR_BYTES: u64 = 512;
/// What is stored is small; more is something else.
const MOST_BYTES: u64 = 64 << 10;

/// Why something is not stored, or cannot be read again. Each is one line that says what to do.
#[derive(Debug, Error)]
pub enum StorageError {
    /// The folder cannot be made or opened.
    #[error("state folder {0}: {1}; choose another with `state_dir`, or make it writable")]
    Folder(PathBuf, #[source] io::Error),
    /// Another process has it.
    #[error(
        "state folder {0} is in use by another outlive process; stop that one, or choose another `state_dir`"
    )]
    InUse(PathBuf),
    /// A file cannot be read or written.
    #[error("state file {0}: {1}")]
    File(PathBuf, #[source] io::Error),
    /// A file is not what was written.
    #[error(
        "state file {0} is damaged; check the disk, then remove the file: this host then waits one lease before it votes"
    )]
    Damaged(PathBuf),
}

/// A folder that belongs to this process.
#[derive(Debug)]
pub struct StateFolder {
    path: PathBuf,
    /// For synchronising renames; holds the lock.
    folder: Flock<File>,
}

impl StateFolder {
    /// Opens the folder, made if it is missing, for this process alone.
    ///
    /// # Errors
    /// One line that says what to do.
    pub fn open(path: &Path) -> Result<Self, StorageError> {
        let failed = |error| StorageError::Folder(path.into(), error);
        let mut builder = DirBuilder::new();
        builder.recursive(true).mode(0o700);
        builder.create(path).map_err(failed)?;
        let folder = File::open(path).map_err(failed)?;
        let folder = Flock::lock(folder, FlockArg::LockExclusiveNonblock);
        Ok(Self {
            path: path.into(),
            folder: folder.map_err(|_| StorageError::InUse(path.into()))?,
        })
    }

    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Replaces the content of `name`. On return it survives a crash of the host.
    ///
    /// # Errors
    /// When the file cannot be written; then the old content is there, or the new one.
    pub fn store(&self, name: &str, content: &[u8]) -> Result<(), StorageError> {
        let path = self.path.join(name);
        let bytes = [&MAGIC[..], &Sha256::digest(content), content].concat();
        let stored = match overwrite(&path, &bytes) {
            Ok(false) => self.replace(&path, &bytes),
            other => other.map(|_| ()),
        };
        stored.map_err(|error| StorageError::File(path, error))
    }

    fn replace(&self, path: &Path, bytes: &[u8]) -> io::Result<()> {
        let temporary = path.with_extension("new");
        let mut file = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(true)
            .mode(0o600)
            .open(&temporary)?;
        file.write_all(bytes)?;
        file.sync_all()?;
        std::fs::rename(&temporary, path)?;
        self.folder.sync_all()
    }

    /// The content of `name`; none if it was never stored.
    ///
    /// # Errors
    /// When the file cannot be read, or is damaged.
    pub fn load(&self, name: &str) -> Result<Option<Vec<u8>>, StorageError> {
        let path = self.path.join(name);
        let failed = |error| StorageError::File(path.clone(), error);
        let file = match File::open(&path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(failed(error)),
        };
        let mut bytes = Vec::new();
        let mut file = file.take(MOST_BYTES);
        file.read_to_end(&mut bytes).map_err(failed)?;
        match parse(&bytes) {
            Some(content) => Ok(Some(content.to_vec())),
            None => Err(StorageError::Damaged(path)),
        }
    }
}

/// Writes `bytes` over as many, if they are in one sector; false if the file is another one.
fn overwrite(path: &Path, bytes: &[u8]) -> io::Result<bool> {
    let length = bytes.len() as u64;
    if length > SECTOR_BYTES {
        return Ok(false);
    }
    let mut file = match OpenOptions::new().write(true).open(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
        file => file?,
    };
    if file.metadata()?.len() != length {
        return Ok(false);
    }
    file.write_all(bytes)?;
    file.sync_data()?;
    Ok(true)
}

fn parse(bytes: &[u8]) -> Option<&[u8]> {
    let rest = bytes.strip_prefix(MAGIC)?;
    let (digest, content) = rest.split_first_chunk::<DIGEST_BYTES>()?;
    (Sha256::digest(content)[..] == digest[..]).then_some(content)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_stored_is_there_for_the_next_process() {
        let place = tempfile::tempdir().unwrap();
        let path = place.path().join("a/b");
        let folder = StateFolder::open(&path).unwrap();
        assert_eq!(folder.load("vote").unwrap(), None);
        folder.store("vote", b"one").unwrap();
        folder.store("vote", b"two").unwrap();
        drop(folder);
        let folder = StateFolder::open(&path).unwrap();
        assert_eq!(folder.load("vote").unwrap().as_deref(), Some(&b"two"[..]));
    }

    #[test]
    fn a_crash_before_the_rename_leaves_the_old_content() {
        let place = tempfile::tempdir().unwrap();
        let folder = StateFolder::open(place.path()).unwrap();
        folder.store("vote", b"old").unwrap();
        std::fs::write(place.path().join("vote.new"), b"half of the n").unwrap();
        assert_eq!(folder.load("vote").unwrap().as_deref(), Some(&b"old"[..]));
        folder.store("vote", b"new").unwrap();
        assert_eq!(folder.load("vote").unwrap().as_deref(), Some(&b"new"[..]));
    }

    #[test]
    fn a_vote_takes_the_place_of_another_without_a_change_of_the_file_system() {
        use std::os::unix::fs::MetadataExt;
        let place = tempfile::tempdir().unwrap();
        let folder = StateFolder::open(place.path()).unwrap();
        let path = place.path().join("vote");
        let inode = || std::fs::metadata(&path).unwrap().ino();
        folder.store("vote", b"epoch 7").unwrap();
        let before = inode();
        folder.store("vote", b"epoch 8").unwrap();
        assert_eq!(inode(), before);
        // Another length, or more than a sector, is another file.
        for content in [&b"epoch 10"[..], &[7; 500], &[8; 500]] {
            let before = inode();
            folder.store("vote", content).unwrap();
            assert_ne!(inode(), before);
            assert_eq!(folder.load("vote").unwrap().as_deref(), Some(content));
        }
    }

    #[test]
    fn a_sector_that_was_written_in_part_is_refused() {
        let place = tempfile::tempdir().unwrap();
        let folder = StateFolder::open(place.path()).unwrap();
        let path = place.path().join("vote");
        let [old, new] = [b"epoch 7", b"epoch 8"].map(|content| {
            folder.store("vote", content).unwrap();
            std::fs::read(&path).unwrap()
        });
        for written in 0..=old.len() {
            std::fs::write(&path, [&new[..written], &old[written..]].concat()).unwrap();
            match folder.load("vote") {
                Ok(content) => assert!([&b"epoch 7"[..], b"epoch 8"].contains(&&*content.unwrap())),
                Err(refusal) => assert!(refusal.to_string().contains("damaged"), "{refusal}"),
            }
        }
    }

    #[test]
    fn a_damaged_file_is_refused_wherever_the_damage_is() {
        let place = tempfile::tempdir().unwrap();
        let folder = StateFolder::open(place.path()).unwrap();
        folder.store("vote", b"epoch 7").unwrap();
        let path = place.path().join("vote");
        let good = std::fs::read(&path).unwrap();
        for position in 0..good.len() {
            let mut bad = good.clone();
            bad[position] ^= 1;
            for bad in [bad, good[..position].to_vec()] {
                std::fs::write(&path, bad).unwrap();
                let refusal = folder.load("vote").unwrap_err().to_string();
                assert!(refusal.contains("damaged"), "{refusal}");
            }
        }
    }

    #[test]
    fn a_second_process_is_told_that_the_folder_is_taken() {
        let place = tempfile::tempdir().unwrap();
        let _first = StateFolder::open(place.path()).unwrap();
        let refusal = StateFolder::open(place.path()).unwrap_err().to_string();
        assert!(refusal.contains("another outlive process"), "{refusal}");
    }

    #[test]
    fn a_folder_that_cannot_be_is_named() {
        let refusal = StateFolder::open(Path::new("/proc/outlive")).unwrap_err();
        assert!(refusal.to_string().contains("state_dir"), "{refusal}");
    }
}
