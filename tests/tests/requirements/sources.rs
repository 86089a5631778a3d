//! Which tests there are, by a look into the sources.

use std::cell::RefCell;
use std::collections::HashMap;
use std::fs;

use super::table;

/// Files that were read.
#[derive(Default)]
pub(crate) struct Sources {
    files: RefCell<HashMap<String, Option<String>>>,
}

impl Sources {
    /// True if `test`, written `file::name`, is a test.
    pub(crate) fn has_test(&self, test: &str) -> bool {
        let Some((file, name)) = test.split_once("::") else {
            return false;
        };
        let mut files = self.files.borrow_mut();
        let text = files
            .entry(file.to_owned())
            .or_insert_with(|| fs::read_to_string(table::root().join(file)).ok());
        text.as_ref().is_some_and(|text| is_test(text, name))
    }
}

/// True if `text` has a function `name` right under a `#[test]`, other attributes and comments aside.
fn is_test(text: &str, name: &str) -> bool {
    let lines: Vec<&str> = text.lines().map(str::trim).collect();
    let start = format!("fn {name}(");
    lines.iter().enumerate().any(|(index, line)| {
        let above = lines[..index].iter().rev();
        line.starts_with(&start)
            && above
                .take_while(|line| line.starts_with("#[") || line.starts_with("//"))
                .any(|line| *line == "#[test]" || line.starts_with("#[test_case("))
    })
}

#[test]
fn only_tests_count_as_tests() {
    let text = "#[test]\n#[ignore]\n// why\nfn one() {}\n\nfn two() {}\n    #[test_case(1)]\n    fn three(n: u8) {}";
    assert!(is_test(text, "one") && is_test(text, "three"));
    assert!(!is_test(text, "two") && !is_test(text, "on"));
    assert!(!Sources::default().has_test("tests/no_such_file.rs::one"));
}
