//! What a folder holds.

use std::ffi::OsString;
use std::fs::{DirEntry, FileType};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use super::types::{Kind, kind};

/// Most files that are listed, and how deep folders are followed.
const MOST_ENTRIES: usize = 5_000;
const DEEPEST: usize = 8;

/// A file of a folder.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// The names on the way from the folder.
    pub names: Vec<OsString>,
    /// Bytes.
    pub size: u64,
    /// What a browser does with it.
    pub kind: Kind,
}

impl Entry {
    /// The way to the file as text.
    #[must_use]
    pub fn title(&self) -> String {
        let names: Vec<_> = self
            .names
            .iter()
            .map(|name| name.to_string_lossy())
            .collect();
        names.join("/")
    }
}

/// The files of a folder and of the folders in it, in alphabetical order. What cannot be read is left
/// out. Links to folders are not followed, so there are no circles.
#[must_use]
pub fn list(folder: &Path) -> Vec<Entry> {
    let mut entries = Vec::new();
    let root = folder.canonicalize().unwrap_or_else(|_| folder.into());
    descend(&root, &root, &mut Vec::new(), &mut entries);
    entries.sort_by(|a, b| a.names.cmp(&b.names));
    entries
}

fn descend(root: &Path, folder: &Path, names: &mut Vec<OsString>, entries: &mut Vec<Entry>) {
    let Ok(contents) = std::fs::read_dir(folder) else {
        return;
    };
    for item in contents.flatten() {
        if entries.len() >= MOST_ENTRIES {
            return;
        }
        let name = item.file_name();
        let Ok(file_type) = item.file_type() else {
            continue;
        };
        if name.as_bytes().starts_with(b".") {
            continue;
        }
        names.push(name.clone());
        if file_type.is_dir() && names.len() < DEEPEST {
            descend(root, &item.path(), names, entries);
        } else if let Some(size) = file_size(root, &item, file_type) {
            entries.push(Entry {
                names: names.clone(),
                size,
                kind: kind(&name),
            });
        }
        names.pop();
    }
}

/// The size of a regular file, or of one that a link leads to within the folder.
fn file_size(root: &Path, item: &DirEntry, file_type: FileType) -> Option<u64> {
    if file_type.is_symlink() && !item.path().canonicalize().ok()?.starts_with(root) {
        return None;
    }
    let metadata = std::fs::metadata(item.path()).ok()?;
    metadata.is_file().then_some(metadata.len())
}
