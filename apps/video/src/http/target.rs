//! The request target (RFC 9112 §3.2): path and query, decoded (RFC 3986 §2.1, §3.3).
//!
//! A path that could mean anything but a descent from the root is refused here: dot segments, encoded
//! slashes, NUL. So no later stage has to think of them.

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;

use http::StatusCode;

use super::refusal::Refusal;

/// A decoded request target.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Target {
    /// The names on the way from the root, none of them empty, `.` or `..`, none with a slash.
    pub names: Vec<OsString>,
    /// The path ends with a slash: a folder is meant.
    pub folder: bool,
    /// What follows the question mark, not decoded.
    pub query: Option<String>,
    /// `OPTIONS *`: the server as a whole.
    pub server_wide: bool,
}

impl Target {
    /// Reads origin-form, absolute-form (RFC 9112 §3.2.2: to be accepted from everyone) and `*`.
    ///
    /// # Errors
    /// 400 for what is none of them or would leave the root.
    pub fn parse(text: &str) -> Result<Self, Refusal> {
        if text == "*" {
            return Ok(Self {
                server_wide: true,
                ..Self::default()
            });
        }
        let text = strip_authority(text)?;
        let text = text.split('#').next().unwrap_or_default();
        let (path, query) = match text.split_once('?') {
            Some((path, query)) => (path, Some(query.to_owned())),
            None => (text, None),
        };
        let mut names = Vec::new();
        let mut segments = path.split('/').skip(1).peekable();
        while let Some(segment) = segments.next() {
            if segment.is_empty() && segments.peek().is_none() {
                break; // the slash at the end
            }
            names.push(decode_name(segment)?);
        }
        Ok(Self {
            names,
            folder: path.ends_with('/'),
            query,
            server_wide: false,
        })
    }

    /// The decoded value of `key` in the query.
    #[must_use]
    pub fn query_value(&self, key: &str) -> Option<Vec<u8>> {
        let query = self.query.as_deref()?;
        let value = query
            .split('&')
            .find_map(|pair| pair.strip_prefix(key)?.strip_prefix('='))?;
        percent_decode(&value.replace('+', "%20"))
    }
}

/// `http://host/path` becomes `/path`.
fn strip_authority(text: &str) -> Result<&str, Refusal> {
    if text.starts_with('/') {
        return Ok(text);
    }
    let scheme_end = text.find("://").ok_or(Refusal::malformed(
        "the request target must begin with a slash",
    ))?;
    if !matches!(
        text[..scheme_end].to_ascii_lowercase().as_str(),
        "http" | "https"
    ) {
        return Err(Refusal::malformed("only http targets are served"));
    }
    let rest = &text[scheme_end + 3..];
    match rest.find(['/', '?']) {
        Some(at) if rest.as_bytes()[at] == b'/' => Ok(&rest[at..]),
        _ => Ok("/"),
    }
}

fn decode_name(segment: &str) -> Result<OsString, Refusal> {
    let name =
        percent_decode(segment).ok_or(Refusal::malformed("bad percent-encoding in the path"))?;
    match name.as_slice() {
        b"" => Err(Refusal::new(
            StatusCode::NOT_FOUND,
            "empty names do not exist",
        )),
        b"." | b".." => Err(Refusal::malformed("dot segments are not followed")),
        name if name.iter().any(|byte| matches!(byte, 0 | b'/')) => {
            Err(Refusal::malformed("a name cannot contain a slash or NUL"))
        }
        _ => Ok(OsString::from_vec(name)),
    }
}

fn percent_decode(text: &str) -> Option<Vec<u8>> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&first, tail)) = rest.split_first() {
        if first != b'%' {
            bytes.push(first);
            rest = tail;
            continue;
        }
        let digits = tail.get(..2)?;
        let [high, low] = [hex_digit(digits[0])?, hex_digit(digits[1])?];
        bytes.push(high << 4 | low);
        rest = &tail[2..];
    }
    Some(bytes)
}

fn hex_digit(digit: u8) -> Option<u8> {
    char::from(digit).to_digit(16).map(|value| value as u8)
}

/// Encodes a name so that it stands in a path or a query as one unit (RFC 3986 §2.3).
#[must_use]
pub fn percent_encode(name: &[u8]) -> String {
    let mut text = String::with_capacity(name.len());
    for &byte in name {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            text.push(char::from(byte));
        } else {
            text.push_str(&format!("%{byte:02X}"));
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn names(text: &str) -> Vec<String> {
        let target = Target::parse(text).expect("a target");
        target
            .names
            .into_iter()
            .map(|name| name.into_string().expect("text"))
            .collect()
    }

    #[test]
    fn origin_and_absolute_form_mean_the_same() {
        assert_eq!(names("/a/b%20c.mp4?x=1#y"), ["a", "b c.mp4"]);
        assert_eq!(names("http://host:80/a/b%20c.mp4"), ["a", "b c.mp4"]);
        assert_eq!(names("http://host"), [""; 0]);
        assert!(Target::parse("/").expect("the root").folder);
        assert!(Target::parse("/a/").expect("a folder").folder);
        assert!(!Target::parse("/a").expect("a file").folder);
    }

    #[test]
    fn what_could_leave_the_root_is_refused() {
        for text in [
            "/..",
            "/a/../b",
            "/%2e%2e/etc",
            "/a%2fb",
            "/a%00",
            "/.",
            "/%",
            "/%4",
            "/%zz",
            "a",
            "",
            "ftp://h/a",
        ] {
            let refusal = Target::parse(text).expect_err(text);
            assert_eq!(refusal.status, StatusCode::BAD_REQUEST, "{text}");
        }
        assert_eq!(
            Target::parse("//etc/passwd")
                .expect_err("empty name")
                .status,
            StatusCode::NOT_FOUND
        );
    }

    #[test]
    fn query_values_are_decoded() {
        let target = Target::parse("/?a=1&film=x%26y+z.mp4").expect("a target");
        assert_eq!(
            target.query_value("film").as_deref(),
            Some(&b"x&y z.mp4"[..])
        );
        assert_eq!(target.query_value("fil"), None);
    }

    proptest! {
        #[test]
        fn an_encoded_name_comes_back(name in proptest::collection::vec(any::<u8>(), 1..40)) {
            prop_assume!(!name.contains(&0) && !name.contains(&b'/') && name != b"." && name != b"..");
            let target = Target::parse(&format!("/{}", percent_encode(&name))).expect("a target");
            prop_assert_eq!(&target.names, &[OsString::from_vec(name)]);
        }

        #[test]
        fn no_text_panics_or_leaves_the_root(text in ".{0,60}") {
            if let Ok(target) = Target::parse(&text) {
                for name in target.names {
                    let name = name.into_vec();
                    prop_assert!(!name.is_empty() && name != b"." && name != b".." && !name.contains(&b'/'));
                }
            }
        }
    }
}
