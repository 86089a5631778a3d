//! `COMPLIANCE.md`.

use std::fmt::Write;

use super::table::{Kept, Level, Requirement, Table};

/// The whole document.
pub(crate) fn compliance(table: &Table) -> String {
    let mut out = String::from(HEAD);
    summary(&mut out, table);
    out.push_str("\n## RFCs\n\n| RFC | what | kept | |\n|---|---|---|---|\n");
    for rfc in &table.documents.rfcs {
        let kept = match rfc.kept {
            Kept::Yes => "yes",
            Kept::Partly => "partly",
            Kept::No => "**no**",
        };
        let note = rfc.note.as_deref().unwrap_or_default();
        line(&mut out, &[&rfc.number.to_string(), &rfc.title, kept, note]);
    }
    out.push_str("\n## Deliberate deviations\n\n");
    for deviation in &table.documents.deviations {
        let _ = writeln!(out, "- **{}**: {}.", deviation.what, deviation.why);
    }
    requirements(&mut out, "RFC 9293, TCP", &table.rfc9293);
    requirements(&mut out, "RFC 1122, links, IP and UDP", &table.rfc1122);
    out
}

const HEAD: &str = "# Compliance

Generated from `tests/requirements/*.toml` by `OUTLIVE_WRITE=1 cargo test -p outlive-tests --test requirements`; the same test fails
when this file is stale, when a MUST has neither a test nor a reason, or when a test that is named does not exist.

";

fn summary(out: &mut String, table: &Table) {
    out.push_str("| | kept | partly | not kept | does not apply |\n|---|---|---|---|---|\n");
    let levels = [
        Level::Must,
        Level::MustNot,
        Level::Should,
        Level::ShouldNot,
        Level::May,
    ];
    for (name, rows) in [("RFC 9293", &table.rfc9293), ("RFC 1122", &table.rfc1122)] {
        for level in levels {
            let of_level = || rows.iter().filter(|row| row.level == level);
            let count = |wanted: Status| of_level().filter(|row| status(row) == wanted).count();
            let title = format!("{name} {}", level.name());
            let counts = [
                Status::Kept,
                Status::Partly,
                Status::NotKept,
                Status::NotApplicable,
            ];
            let [kept, partly, not, none] = counts.map(|wanted| count(wanted).to_string());
            line(out, &[&title, &kept, &partly, &not, &none]);
        }
    }
}

fn requirements(out: &mut String, title: &str, rows: &[Requirement]) {
    let _ = writeln!(
        out,
        "\n## {title}\n\n| id | level | § | what | |\n|---|---|---|---|---|"
    );
    for row in rows {
        let part = row
            .part
            .as_ref()
            .map_or(String::new(), |part| format!(" ({part})"));
        let id = format!("{}{part}", row.id);
        line(
            out,
            &[&id, row.level.name(), &row.section, &row.text, &answer(row)],
        );
    }
}

/// What there is to say of a requirement.
fn answer(row: &Requirement) -> String {
    if let Some(reason) = &row.not_kept {
        return format!("**not kept**: {reason}");
    }
    if let Some(reason) = &row.not_applicable {
        return format!("does not apply: {reason}");
    }
    let tests: Vec<String> = row.tests.iter().map(|test| link(test)).collect();
    let partly = row
        .partly
        .as_ref()
        .map_or(String::new(), |what| format!("; **partly**: {what}"));
    tests.join(", ") + &partly
}

/// A test, with its file behind it.
fn link(test: &str) -> String {
    let (file, name) = test.split_once("::").unwrap_or((test, test));
    format!("[{}]({file})", name.replace('_', " "))
}

fn line(out: &mut String, cells: &[&str]) {
    let _ = writeln!(out, "| {} |", cells.join(" | "));
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Status {
    Kept,
    Partly,
    NotKept,
    NotApplicable,
}

const fn status(row: &Requirement) -> Status {
    if row.not_kept.is_some() {
        Status::NotKept
    } else if row.not_applicable.is_some() {
        Status::NotApplicable
    } else if row.partly.is_some() {
        Status::Partly
    } else {
        Status::Kept
    }
}
