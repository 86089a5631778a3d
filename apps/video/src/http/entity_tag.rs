//! Entity tags (RFC 9110 §8.8.3): strong, made from the content.

use std::fmt;

use super::digest::{Digest, hex};

/// A strong entity tag, with its quotation marks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EntityTag(String);

impl EntityTag {
    /// The tag of the content with this SHA-256 digest. Half of the digest is plenty.
    #[must_use]
    pub fn from_digest(digest: &Digest) -> Self {
        Self(format!("\"{}\"", hex(&digest[..16])))
    }

    /// The tag as it stands in a header field.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Compares with a field's tag by the strong function (RFC 9110 §8.8.3.2): weak tags never match.
    #[must_use]
    pub fn matches_strongly(&self, field: &[u8]) -> bool {
        self.0.as_bytes() == field.trim_ascii()
    }

    /// True if a list of tags (`If-Match`, `If-None-Match`) names this one. `weakly` also accepts tags
    /// that are marked weak. A malformed rest of the list matches nothing.
    #[must_use]
    pub fn is_in(&self, list: &[u8], weakly: bool) -> bool {
        Tags(list).any(|(weak, tag)| (weakly || !weak) && tag == self.0.as_bytes())
    }
}

impl fmt::Display for EntityTag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The tags of a list; tags may contain commas, so the quotation marks decide.
struct Tags<'a>(&'a [u8]);

impl<'a> Iterator for Tags<'a> {
    /// Whether it is marked weak, and the tag with its quotation marks.
    type Item = (bool, &'a [u8]);

    fn next(&mut self) -> Option<Self::Item> {
        let skipped = self
            .0
            .iter()
            .position(|byte| !matches!(byte, b' ' | b'\t' | b','))?;
        let rest = &self.0[skipped..];
        let (weak, rest) = match rest.strip_prefix(b"W/") {
            Some(rest) => (true, rest),
            None => (false, rest),
        };
        let inner = rest.strip_prefix(b"\"")?;
        let length = inner.iter().position(|&byte| byte == b'"')? + 2;
        let (tag, rest) = rest.split_at(length);
        self.0 = rest;
        Some((weak, tag))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_are_read_by_their_quotation_marks() {
        let tag = EntityTag("\"a\"".into());
        assert!(tag.is_in(b"\"x,\", \"a\"", false));
        assert!(tag.is_in(b"W/\"a\"", true));
        assert!(!tag.is_in(b"W/\"a\"", false));
        assert!(!tag.is_in(b"\"x, \"a", true));
        assert!(!tag.is_in(b"a", true));
        assert!(!tag.is_in(b"", true));
        assert!(!tag.matches_strongly(b"W/\"a\""));
        assert!(tag.matches_strongly(b" \"a\" "));
    }
}
