//! Content types by file extension (IANA media types; RFC 8216 for playlists).

use std::ffi::OsStr;
use std::path::Path;

/// What a browser does with a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Plays in a `<video>` element.
    Video,
    /// Plays in an `<audio>` element.
    Audio,
    /// Belongs to another file, or is none of the above.
    Other,
}

const TYPES: &[(&str, Kind, &str)] = &[
    ("mp4", Kind::Video, "video/mp4"),
    ("m4v", Kind::Video, "video/mp4"),
    ("mov", Kind::Video, "video/quicktime"),
    ("webm", Kind::Video, "video/webm"),
    ("mkv", Kind::Video, "video/x-matroska"),
    ("ogv", Kind::Video, "video/ogg"),
    ("avi", Kind::Video, "video/x-msvideo"),
    ("mpg", Kind::Video, "video/mpeg"),
    ("mpeg", Kind::Video, "video/mpeg"),
    ("m3u8", Kind::Video, "application/vnd.apple.mpegurl"),
    ("mpd", Kind::Video, "application/dash+xml"),
    ("ts", Kind::Other, "video/mp2t"),
    ("m4s", Kind::Other, "video/iso.segment"),
    ("mp3", Kind::Audio, "audio/mpeg"),
    ("m4a", Kind::Audio, "audio/mp4"),
    ("aac", Kind::Audio, "audio/aac"),
    ("ogg", Kind::Audio, "audio/ogg"),
    ("opus", Kind::Audio, "audio/ogg"),
    ("flac", Kind::Audio, "audio/flac"),
    ("wav", Kind::Audio, "audio/wav"),
    ("vtt", Kind::Other, "text/vtt; charset=utf-8"),
    ("srt", Kind::Other, "application/x-subrip"),
    ("jpg", Kind::Other, "image/jpeg"),
    ("jpeg", Kind::Other, "image/jpeg"),
    ("png", Kind::Other, "image/png"),
    ("webp", Kind::Other, "image/webp"),
    ("txt", Kind::Other, "text/plain; charset=utf-8"),
    ("json", Kind::Other, "application/json"),
];

fn entry(name: &OsStr) -> Option<&'static (&'static str, Kind, &'static str)> {
    let extension = Path::new(name).extension()?.to_str()?;
    TYPES
        .iter()
        .find(|(known, ..)| known.eq_ignore_ascii_case(extension))
}

/// The content type of a file of that name. HTML and SVG are not among them: what lies in a media
/// folder must not become a script of this origin.
#[must_use]
pub fn content_type(name: &OsStr) -> &'static str {
    entry(name).map_or("application/octet-stream", |entry| entry.2)
}

/// What a browser does with a file of that name.
#[must_use]
pub fn kind(name: &OsStr) -> Kind {
    entry(name).map_or(Kind::Other, |entry| entry.1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn types_follow_the_extension() {
        let of = |name: &str| content_type(OsStr::new(name));
        assert_eq!(of("a.mp4"), "video/mp4");
        assert_eq!(of("A.B.WebM"), "video/webm");
        assert_eq!(of("a.mkv"), "video/x-matroska");
        assert_eq!(of("a.m3u8"), "application/vnd.apple.mpegurl");
        assert_eq!(of("a.ts"), "video/mp2t");
        assert_eq!(of("a.mp3"), "audio/mpeg");
        assert_eq!(of("a.vtt"), "text/vtt; charset=utf-8");
        assert_eq!(of("a.html"), "application/octet-stream");
        assert_eq!(of("mp4"), "application/octet-stream");
    }
}
