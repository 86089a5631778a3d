//! The page at `/`: the films, and the one that plays. No script, nothing from elsewhere.

use std::fmt::Write;

use crate::http::target::percent_encode;
use crate::media::listing::Entry;
use crate::media::types::Kind;
use crate::service::UPLOADS;

/// What the page may load: films of this server and its own style.
pub(crate) const POLICY: &str =
    "default-src 'none'; media-src 'self'; img-src data:; style-src 'unsafe-inline'";

const STYLE: &str = include_str!("page.css");

/// Renders the page; `playing` is the path of the film to play, as the links on the page give it.
#[must_use]
pub(crate) fn render(films: &[Entry], uploads: &[Entry], playing: Option<&[u8]>) -> String {
    let all = films.iter().map(|entry| (path(entry, None), entry));
    let all: Vec<_> = all
        .chain(
            uploads
                .iter()
                .map(|entry| (path(entry, Some(UPLOADS)), entry)),
        )
        .collect();
    let chosen =
        playing.and_then(|playing| all.iter().find(|(path, _)| path.as_bytes() == playing));

    let title = chosen.map_or_else(
        || "Outlive video".into(),
        |(_, entry)| escape(&display_title(entry)),
    );
    let mut page = format!(
        "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <title>{title}</title>\n<link rel=\"icon\" href=\"data:,\">\n<style>\n{STYLE}</style>\n</head>\n<body>\n\
         <header><a href=\"/\">Outlive <b>video</b></a></header>\n<main>\n"
    );
    if let Some((path, entry)) = chosen {
        player(&mut page, path, entry, &all);
    }
    section(
        &mut page,
        "Films",
        &all,
        Kind::Video,
        chosen.map(|(path, _)| path.as_str()),
    );
    section(
        &mut page,
        "Sound",
        &all,
        Kind::Audio,
        chosen.map(|(path, _)| path.as_str()),
    );
    section(&mut page, "Other files", &all, Kind::Other, None);
    if all.is_empty() {
        page.push_str("<p class=\"empty\">The folder is empty. Put a film into it and load this page again.</p>\n");
    }
    page.push_str("</main>\n</body>\n</html>\n");
    page
}

fn player(page: &mut String, path: &str, entry: &Entry, all: &[(String, &Entry)]) {
    let element = if entry.kind == Kind::Audio {
        "audio"
    } else {
        "video"
    };
    let _ = write!(
        page,
        "<figure>\n<{element} controls autoplay preload=\"metadata\" src=\"{path}\">\n"
    );
    // Subtitles lie beside the film under the same name.
    let stem = path.rsplit_once('.').map_or(path, |(stem, _)| stem);
    let subtitles = format!("{stem}.vtt");
    if all.iter().any(|(other, _)| *other == subtitles) {
        let _ = writeln!(
            page,
            "<track kind=\"subtitles\" label=\"Subtitles\" src=\"{subtitles}\" default>"
        );
    }
    let _ = write!(
        page,
        "</{element}>\n<figcaption>{} <a href=\"{path}\" download>Download</a></figcaption>\n</figure>\n",
        escape(&display_title(entry))
    );
}

fn section(
    page: &mut String,
    heading: &str,
    all: &[(String, &Entry)],
    kind: Kind,
    chosen: Option<&str>,
) {
    let mut entries = all
        .iter()
        .filter(|(_, entry)| entry.kind == kind)
        .peekable();
    if entries.peek().is_none() {
        return;
    }
    let _ = write!(page, "<h2>{heading}</h2>\n<ul>\n");
    for (path, entry) in entries {
        let href = match kind {
            Kind::Other => path.clone(),
            _ => format!("/?film={}", percent_encode(path.as_bytes())),
        };
        let current = if chosen == Some(path.as_str()) {
            " aria-current=\"true\""
        } else {
            ""
        };
        let _ = writeln!(
            page,
            "<li><a href=\"{href}\"{current}><span>{}</span><small>{}</small></a></li>",
            escape(&display_title(entry)),
            human_size(entry.size)
        );
    }
    page.push_str("</ul>\n");
}

/// The path of a file on this server.
fn path(entry: &Entry, folder: Option<&str>) -> String {
    use std::os::unix::ffi::OsStrExt;
    let mut path = folder
        .map(|folder| format!("/{folder}"))
        .unwrap_or_default();
    for name in &entry.names {
        path.push('/');
        path.push_str(&percent_encode(name.as_bytes()));
    }
    path
}

fn display_title(entry: &Entry) -> String {
    entry.title().replace('/', " / ")
}

fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\'' => escaped.push_str("&#39;"),
            _ => escaped.push(character),
        }
    }
    escaped
}

fn human_size(bytes: u64) -> String {
    let mut value = bytes as f64;
    for unit in ["B", "kB", "MB", "GB"] {
        if value < 1000.0 {
            let digits = usize::from(unit != "B" && value < 10.0);
            return format!("{value:.digits$} {unit}");
        }
        value /= 1000.0;
    }
    format!("{value:.1} TB")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::media::types::kind;

    fn entry(name: &str) -> Entry {
        let names: Vec<std::ffi::OsString> = name.split('/').map(Into::into).collect();
        Entry {
            kind: kind(names.last().expect("a name")),
            names,
            size: 1_234_567,
        }
    }

    #[test]
    fn names_are_escaped_wherever_they_stand() {
        let films = [entry("<script>alert(1)&\"'.mp4"), entry("a b/c#d?.webm")];
        let page = render(&films, &[], Some(b"/%3Cscript%3Ealert%281%29%26%22%27.mp4"));
        assert!(page.contains("&lt;script&gt;alert(1)&amp;&quot;&#39;.mp4"));
        assert!(!page.contains("<script"));
        assert!(page.contains("src=\"/%3Cscript%3Ealert%281%29%26%22%27.mp4\""));
        assert!(page.contains("href=\"/?film=%2Fa%2520b%2Fc%2523d%253F.webm\""));
        assert!(page.contains("1.2 MB"));
    }

    #[test]
    fn only_a_film_that_exists_is_played() {
        let films = [entry("a.mp4"), entry("a.vtt"), entry("b.mp3")];
        let plays = |path: Option<&[u8]>| render(&films, &[entry("c.mp4")], path);
        assert!(!plays(None).contains("<video"));
        assert!(!plays(Some(b"http://evil/")).contains("<video"));
        assert!(
            plays(Some(b"/a.mp4"))
                .contains("<track kind=\"subtitles\" label=\"Subtitles\" src=\"/a.vtt\"")
        );
        assert!(plays(Some(b"/b.mp3")).contains("<audio"));
        assert!(plays(Some(b"/uploads/c.mp4")).contains("<video"));
    }

    #[test]
    fn sizes_are_readable() {
        assert_eq!(human_size(0), "0 B");
        assert_eq!(human_size(999), "999 B");
        assert_eq!(human_size(1500), "1.5 kB");
        assert_eq!(human_size(734_003_200), "734 MB");
        assert_eq!(human_size(5_000_000_000_000), "5.0 TB");
    }
}
