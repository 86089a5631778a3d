//! What the RFCs ask for, and which test proves it.
//!
//! The tables are in `tests/requirements/*.toml`. Here it is checked that none of the numbered requirements is missing,
//! that every MUST names a test or a reason, that the tests named exist, and that `COMPLIANCE.md` is what the
//! tables say. After a change of the tables:
//!
//! ```text
//! OUTLIVE_WRITE=1 cargo test -p outlive-tests --test requirements
//! ```

mod document;
mod sources;
mod table;

use std::collections::BTreeSet;
use std::fs;

use sources::Sources;
use table::{Level, Table};

#[test]
fn every_numbered_requirement_is_in_the_table() {
    let numbered =
        |prefix: &'static str, last: u32| (1..=last).map(move |n| format!("{prefix}-{n}"));
    let expected: BTreeSet<String> = numbered("MUST", 69)
        .chain(numbered("SHLD", 31))
        .chain(numbered("MAY", 18))
        .chain(numbered("REC", 1))
        .collect();
    assert_eq!(expected.len(), 119);
    let table = Table::load();
    let found: BTreeSet<String> = table.rfc9293.iter().map(|row| row.id.clone()).collect();
    assert_eq!(found, expected);
}

#[test]
fn no_requirement_is_there_twice() {
    let table = Table::load();
    for rows in [&table.rfc9293, &table.rfc1122] {
        let names: BTreeSet<_> = rows.iter().map(|row| (&row.id, &row.part)).collect();
        assert_eq!(names.len(), rows.len());
    }
}

#[test]
fn every_must_has_a_test_or_a_reason() {
    let table = Table::load();
    let open: Vec<&str> = table
        .rows()
        .filter(|row| matches!(row.level, Level::Must | Level::MustNot))
        .filter(|row| row.tests.is_empty() && row.reason().is_none())
        .map(|row| row.id.as_str())
        .collect();
    assert!(open.is_empty(), "neither a test nor a reason: {open:?}");
}

#[test]
fn no_row_says_two_things_at_once() {
    let table = Table::load();
    for row in table.rows() {
        let reasons =
            usize::from(row.not_kept.is_some()) + usize::from(row.not_applicable.is_some());
        assert!(reasons <= 1, "{}: two reasons", row.id);
        assert!(
            reasons == 0 || row.tests.is_empty(),
            "{}: a test and a reason",
            row.id
        );
        assert!(
            row.partly.is_none() || !row.tests.is_empty(),
            "{}: partly, without a test",
            row.id
        );
        assert!(
            reasons == 1 || !row.tests.is_empty(),
            "{}: says nothing",
            row.id
        );
    }
}

#[test]
fn the_tests_named_exist() {
    let (table, sources) = (Table::load(), Sources::default());
    let missing: BTreeSet<&str> = table
        .rows()
        .flat_map(|row| &row.tests)
        .filter(|test| !sources.has_test(test))
        .map(String::as_str)
        .collect();
    assert!(missing.is_empty(), "no such test: {missing:#?}");
}

#[test]
fn compliance_md_is_what_the_tables_say() {
    let (path, text) = (
        table::root().join("COMPLIANCE.md"),
        document::compliance(&Table::load()),
    );
    if std::env::var_os("OUTLIVE_WRITE").is_some() {
        fs::write(&path, &text).expect("COMPLIANCE.md can be written");
    }
    let there = fs::read_to_string(&path).unwrap_or_default();
    let command = "OUTLIVE_WRITE=1 cargo test -p outlive-tests --test requirements";
    assert!(there == text, "COMPLIANCE.md is stale: run {command}");
}
