//! The key that all hosts of a cluster share: 32 random bytes in a file that only its owner can read.
//!
//! The file has one line of 64 hexadecimal digits, so that it can be copied by any means and compared by eye.
//! Who has it can speak for every host of the cluster: it is the only secret of the links.

use std::fmt::Write as _;
use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::AsFd;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};
use thiserror::Error;

/// Bytes of a key.
pub const KEY_BYTES: usize = 32;
/// A key file has 64 digits and a line end; more than this is something else.
const MOST_FILE_BYTES: u64 = 256;

/// The shared key. It is never printed by `Debug`.
#[derive(Clone, PartialEq, Eq)]
pub struct Key([u8; KEY_BYTES]);

/// Why a key cannot be had. Each is one line that says what to do.
#[derive(Debug, Error)]
pub enum KeyError {
    /// The file cannot be read.
    #[error("key file {0}: {1}; make one with: outlive key > {0}, and copy it to every host")]
    Read(PathBuf, #[source] io::Error),
    /// Others than the owner have access.
    #[error("key file {0} is open to others (mode {1:04o}); run: chmod 600 {0}")]
    Mode(PathBuf, u32),
    /// It is not a key.
    #[error(
        "key file {0} has no key: it must be one line of 64 hexadecimal digits, as `outlive key` prints it"
    )]
    Malformed(PathBuf),
    /// No randomness, or no place to write to.
    #[error("cannot make a key: {0}")]
    Generate(io::Error),
}

impl Key {
    /// A key of given bytes, for tests.
    #[must_use]
    pub const fn from_bytes(bytes: [u8; KEY_BYTES]) -> Self {
        Self(bytes)
    }

    /// A new key from the operating system's randomness.
    ///
    /// # Errors
    /// When there is none.
    pub fn generate() -> Result<Self, KeyError> {
        let mut bytes = [0; KEY_BYTES];
        getrandom::fill(&mut bytes).map_err(|error| KeyError::Generate(io::Error::from(error)))?;
        Ok(Self(bytes))
    }

    /// Another key for `purpose`, which tells nothing of this one.
    #[must_use]
    pub fn derive(&self, purpose: &str) -> [u8; 16] {
        let digest = Sha256::new()
            .chain_update(self.0)
            .chain_update(purpose)
            .finalize();
        let mut derived = [0; 16];
        derived.copy_from_slice(&digest[..16]);
        derived
    }

    /// Reads a key file, and refuses one that others can read.
    ///
    /// # Errors
    /// One line that says what is wrong with the file and what to do.
    pub fn read(path: &Path) -> Result<Self, KeyError> {
        let failed = |error| KeyError::Read(path.into(), error);
        let file = File::open(path).map_err(failed)?;
        let metadata = file.metadata().map_err(failed)?;
        let mode = metadata.mode() & 0o7777;
        if mode & 0o077 != 0 {
            return Err(KeyError::Mode(path.into(), mode));
        }
        let mut text = Vec::new();
        file.take(MOST_FILE_BYTES)
            .read_to_end(&mut text)
            .map_err(failed)?;
        Self::parse(text.trim_ascii()).ok_or_else(|| KeyError::Malformed(path.into()))
    }

    fn parse(digits: &[u8]) -> Option<Self> {
        let mut bytes = [0; KEY_BYTES];
        if digits.len() != 2 * KEY_BYTES {
            return None;
        }
        for (byte, pair) in bytes.iter_mut().zip(digits.chunks_exact(2)) {
            let (high, low) = (digit(pair[0])?, digit(pair[1])?);
            *byte = high << 4 | low;
        }
        Some(Self(bytes))
    }

    /// Writes the line of a key file to standard output; if that is a regular file, nobody else may read it
    /// from then on.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn print(&self) -> Result<(), KeyError> {
        let mut stdout = io::stdout().lock();
        protect(&stdout)
            .and_then(|()| writeln!(stdout, "{}", self.hex()))
            .and_then(|()| stdout.flush())
            .map_err(KeyError::Generate)
    }

    /// The key as the digits of a key file.
    #[must_use]
    pub fn hex(&self) -> String {
        let mut text = String::new();
        for byte in self.0 {
            // Writing to a string cannot fail.
            let _ = write!(text, "{byte:02x}");
        }
        text
    }

    pub(crate) const fn bytes(&self) -> &[u8; KEY_BYTES] {
        &self.0
    }
}

fn digit(character: u8) -> Option<u8> {
    char::from(character)
        .to_digit(16)
        .and_then(|value| u8::try_from(value).ok())
}

/// Takes access away from everybody but the owner, before there is a secret in the file.
fn protect(output: &impl AsFd) -> io::Result<()> {
    let file = File::from(output.as_fd().try_clone_to_owned()?);
    if file.metadata()?.is_file() {
        file.set_permissions(std::fs::Permissions::from_mode(0o600))?;
    }
    Ok(())
}

impl std::fmt::Debug for Key {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Key(..)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file_with(text: &str, mode: u32) -> (tempfile::TempDir, PathBuf) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("key");
        std::fs::write(&path, text).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
        (folder, path)
    }

    #[test]
    fn a_key_comes_back_from_its_file() {
        let key = Key::generate().unwrap();
        let (_folder, path) = file_with(&format!("{}\n", key.hex()), 0o600);
        assert_eq!(Key::read(&path).unwrap(), key);
        assert_ne!(Key::generate().unwrap(), key);
    }

    #[test]
    fn a_file_that_others_can_read_is_refused_with_advice() {
        let key = Key::generate().unwrap();
        let (_folder, path) = file_with(&key.hex(), 0o640);
        let refusal = Key::read(&path).unwrap_err().to_string();
        assert!(refusal.contains("chmod 600"), "{refusal}");
        assert!(!refusal.contains(&key.hex()));
    }

    #[test]
    fn what_is_no_key_is_refused_with_advice() {
        for text in [
            "",
            "abc",
            &"g".repeat(64),
            &"a".repeat(65),
            &"a".repeat(1000),
        ] {
            let (_folder, path) = file_with(text, 0o600);
            let refusal = Key::read(&path).unwrap_err().to_string();
            assert!(refusal.contains("64 hexadecimal digits"), "{refusal}");
        }
        let refusal = Key::read(Path::new("/nonexistent/key")).unwrap_err();
        assert!(refusal.to_string().contains("outlive key >"), "{refusal}");
    }

    #[test]
    fn a_key_does_not_show_in_logs() {
        let key = Key::from_bytes([0xAB; KEY_BYTES]);
        assert!(!format!("{key:?}").to_lowercase().contains("ab"));
    }

    #[test]
    fn derived_keys_are_the_same_on_every_host_and_for_one_purpose_only() {
        let key = Key::from_bytes([7; KEY_BYTES]);
        assert_eq!(key.derive("a"), Key::from_bytes([7; KEY_BYTES]).derive("a"));
        assert_ne!(key.derive("a"), key.derive("b"));
        assert_ne!(key.derive("a"), Key::from_bytes([8; KEY_BYTES]).derive("a"));
    }
}
