//! What two hosts serve, compared by content: only a file that both have can be sent on by the other
//! (FAILOVER §5).
//!
//! Each host lists what it has ([`Catalogue`]); the lists are exchanged when the hosts find each other. Names
//! and digests are compared, and neither times nor owners.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fmt::Write as _;

use parking_lot::RwLock;
use thiserror::Error;

use crate::http::digest::{Digest, hex};

/// Most files that a list may have.
const MOST_FILES: usize = 65_536;

/// A file as it is compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Content {
    /// Bytes.
    pub size: u64,
    /// Its SHA-256.
    pub digest: Digest,
}

/// The files of a host by their paths.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Catalogue {
    files: BTreeMap<String, Content>,
}

/// A list that no host makes.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
#[error("line {line} of the other host's list of files is malformed")]
pub struct Malformed {
    /// Where, counted from 1.
    pub line: usize,
}

/// How the other host differs in a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Difference {
    /// It has none of that name.
    Missing,
    /// It has another.
    Other,
}

impl Catalogue {
    /// Adds a file.
    pub fn add(&mut self, path: String, content: Content) {
        self.files.insert(path, content);
    }

    /// Files in it.
    #[must_use]
    pub fn len(&self) -> usize {
        self.files.len()
    }

    /// True if there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.files.is_empty()
    }

    /// What of this list the `other` lacks or has otherwise.
    #[must_use]
    pub fn differences(&self, other: &Self) -> Vec<(&str, Difference)> {
        let differs = |(path, content)| match other.files.get(path) {
            None => Some((path, Difference::Missing)),
            Some(there) if there != content => Some((path, Difference::Other)),
            Some(_) => None,
        };
        let all = self.files.iter().filter_map(differs);
        all.map(|(path, difference): (&String, _)| (path.as_str(), difference))
            .collect()
    }

    /// As text: a line for each file with digest, size and path.
    #[must_use]
    pub fn encode(&self) -> String {
        let mut text = String::new();
        for (path, Content { size, digest }) in &self.files {
            let _ = writeln!(text, "{} {size} {}", hex(digest), path.escape_default());
        }
        text
    }

    /// What [`Catalogue::encode`] wrote.
    ///
    /// # Errors
    /// The first line that it did not.
    pub fn decode(text: &str) -> Result<Self, Malformed> {
        let mut catalogue = Self::default();
        for (index, line) in text.lines().enumerate() {
            let malformed = Malformed { line: index + 1 };
            let (path, content) = decode_line(line).ok_or(malformed)?;
            if index >= MOST_FILES {
                return Err(malformed);
            }
            catalogue.files.insert(path, content);
        }
        Ok(catalogue)
    }
}

fn decode_line(line: &str) -> Option<(String, Content)> {
    let mut fields = line.splitn(3, ' ');
    let (digits, size, path) = (fields.next()?, fields.next()?, fields.next()?);
    let mut digest = Digest::default();
    if digits.len() != 2 * digest.len() || !digits.is_ascii() {
        return None;
    }
    for (byte, at) in digest.iter_mut().zip((0..).step_by(2)) {
        *byte = u8::from_str_radix(&digits[at..at + 2], 16).ok()?;
    }
    let content = Content {
        size: size.parse().ok()?,
        digest,
    };
    Some((unescape(path)?, content))
}

/// Undoes `escape_default`.
fn unescape(text: &str) -> Option<String> {
    let mut plain = String::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('\\') {
        plain.push_str(before);
        let mut tail = after.chars();
        let (character, left) = match tail.next()? {
            't' => ('\t', tail.as_str()),
            'r' => ('\r', tail.as_str()),
            'n' => ('\n', tail.as_str()),
            it @ ('\'' | '"' | '\\') => (it, tail.as_str()),
            'u' => {
                let (digits, left) = tail.as_str().strip_prefix('{')?.split_once('}')?;
                (char::from_u32(u32::from_str_radix(digits, 16).ok()?)?, left)
            }
            _ => return None,
        };
        plain.push(character);
        rest = left;
    }
    plain.push_str(rest);
    Some(plain)
}

/// The path of a request as it stands in a catalogue.
#[must_use]
pub fn path_of(names: &[OsString]) -> String {
    let names: Vec<_> = names.iter().map(|name| name.to_string_lossy()).collect();
    names.join("/")
}

/// What the other host has, as far as it is known.
#[derive(Debug, Default)]
pub struct Twin {
    catalogue: RwLock<Option<Catalogue>>,
}

impl Twin {
    /// The other host has this; or nothing is known of it, and then nothing is held against it.
    pub fn set(&self, catalogue: Option<Catalogue>) {
        *self.catalogue.write() = catalogue;
    }

    /// True unless the other host is known to lack the file, or to have another.
    #[must_use]
    pub fn has(&self, names: &[OsString], digest: &Digest) -> bool {
        let catalogue = self.catalogue.read();
        catalogue.as_ref().is_none_or(|catalogue| {
            let there = catalogue.files.get(&path_of(names));
            there.is_some_and(|there| there.digest == *digest)
        })
    }

    /// Both hosts have received an upload.
    pub fn note(&self, names: &[OsString], digest: Digest) {
        if let Some(catalogue) = self.catalogue.write().as_mut() {
            catalogue.add(path_of(names), Content { size: 0, digest });
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn catalogue() -> impl Strategy<Value = Catalogue> {
        let content = (any::<u64>(), any::<[u8; 32]>());
        prop::collection::btree_map("\\PC{1,9}|[ \n\r\t/'\"\\\\a]{1,9}", content, 0..9).prop_map(
            |files| {
                let content = |(size, digest)| Content { size, digest };
                Catalogue {
                    files: files
                        .into_iter()
                        .map(|(path, it)| (path, content(it)))
                        .collect(),
                }
            },
        )
    }

    proptest! {
        #[test]
        fn a_list_is_read_as_it_was_written(catalogue in catalogue()) {
            let text = catalogue.encode();
            prop_assert_eq!(text.lines().count(), catalogue.len());
            prop_assert_eq!(Catalogue::decode(&text), Ok(catalogue));
        }

        #[test]
        fn no_list_does_harm(text in "[0-9a-f]{64} [0-9]{1,30} \\PC*\n?|\\PC*") {
            let _ = Catalogue::decode(&text);
        }
    }

    #[test]
    fn a_file_that_is_missing_or_other_is_named_and_an_upload_is_on_both() {
        let content = |byte| Content {
            size: 3,
            digest: [byte; 32],
        };
        let list = |files: &[(&str, u8)]| {
            let mut catalogue = Catalogue::default();
            for &(path, byte) in files {
                catalogue.add(path.into(), content(byte));
            }
            catalogue
        };
        let ours = list(&[("a/b.mp4", 1), ("c.mp4", 2), ("d.mp4", 3)]);
        let theirs = list(&[("a/b.mp4", 1), ("c.mp4", 9), ("e.mp4", 3)]);
        assert_eq!(
            ours.differences(&theirs),
            [("c.mp4", Difference::Other), ("d.mp4", Difference::Missing)]
        );
        let twin = Twin::default();
        let names = |path: &str| -> Vec<OsString> { path.split('/').map(OsString::from).collect() };
        assert!(twin.has(&names("d.mp4"), &[3; 32]), "nothing is known yet");
        twin.set(Some(theirs));
        assert!(twin.has(&names("a/b.mp4"), &[1; 32]));
        assert!(!twin.has(&names("c.mp4"), &[2; 32]));
        assert!(!twin.has(&names("d.mp4"), &[3; 32]));
        twin.note(&names("d.mp4"), [3; 32]);
        assert!(twin.has(&names("d.mp4"), &[3; 32]));
    }
}
