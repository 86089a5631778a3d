//! The tables as they are in their files.

use std::fs;
use std::path::PathBuf;

use serde::Deserialize;
use serde::de::DeserializeOwned;

/// All that is known.
pub(crate) struct Table {
    pub rfc9293: Vec<Requirement>,
    pub rfc1122: Vec<Requirement>,
    pub documents: Documents,
}

/// One requirement.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Requirement {
    pub id: String,
    /// Which part of it, where one number says several things.
    pub part: Option<String>,
    pub level: Level,
    pub section: String,
    pub text: String,
    /// What proves it: `file::test`.
    #[serde(default)]
    pub tests: Vec<String>,
    /// What is missing although there are tests.
    pub partly: Option<String>,
    /// Why it is not kept.
    pub not_kept: Option<String>,
    /// Why it does not apply.
    pub not_applicable: Option<String>,
}

/// RFC 2119.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq)]
pub(crate) enum Level {
    #[serde(rename = "MUST")]
    Must,
    #[serde(rename = "MUST NOT")]
    MustNot,
    #[serde(rename = "SHOULD")]
    Should,
    #[serde(rename = "SHOULD NOT")]
    ShouldNot,
    #[serde(rename = "MAY")]
    May,
}

/// RFCs and deviations.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Documents {
    pub rfcs: Vec<Rfc>,
    pub deviations: Vec<Deviation>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Rfc {
    pub number: u32,
    pub title: String,
    pub kept: Kept,
    pub note: Option<String>,
}

#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq)]
pub(crate) enum Kept {
    #[serde(rename = "kept")]
    Yes,
    #[serde(rename = "partly")]
    Partly,
    #[serde(rename = "not")]
    No,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Deviation {
    pub what: String,
    pub why: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    requirement: Vec<Requirement>,
}

impl Table {
    pub(crate) fn load() -> Self {
        Self {
            rfc9293: read::<File>("rfc9293.toml").requirement,
            rfc1122: read::<File>("rfc1122.toml").requirement,
            documents: read("rfcs.toml"),
        }
    }

    pub(crate) fn rows(&self) -> impl Iterator<Item = &Requirement> {
        self.rfc9293.iter().chain(&self.rfc1122)
    }
}

impl Requirement {
    /// Why there is no test.
    pub(crate) fn reason(&self) -> Option<&str> {
        self.not_kept.as_deref().or(self.not_applicable.as_deref())
    }
}

impl Level {
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Must => "MUST",
            Self::MustNot => "MUST NOT",
            Self::Should => "SHOULD",
            Self::ShouldNot => "SHOULD NOT",
            Self::May => "MAY",
        }
    }
}

/// The folder of the repository.
pub(crate) fn root() -> PathBuf {
    PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/.."))
}

fn read<T: DeserializeOwned>(name: &str) -> T {
    let path = root().join("tests/requirements").join(name);
    let text = fs::read_to_string(&path).unwrap_or_else(|error| panic!("{name}: {error}"));
    toml::from_str(&text).unwrap_or_else(|error| panic!("{name}: {error}"))
}
