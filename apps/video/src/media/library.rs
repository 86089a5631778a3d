//! A folder, and its files by name. Nothing outside of it can be reached: names come checked
//! ([`crate::http::Target`]), and the kernel resolves them beneath the folder (openat2(2)), so that no
//! symbolic link leads out either. Hidden files are not served.

use std::collections::HashMap;
use std::ffi::OsString;
use std::fs::File;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use nix::errno::Errno;
use nix::fcntl::{OFlag, OpenHow, ResolveFlag, openat2};
use parking_lot::Mutex;
use thiserror::Error;

use super::film::{Film, Version};
use super::listing::{self, Entry};
use crate::pool::Pool;

/// Films that stay open while nobody plays them.
const MOST_IDLE_FILMS: usize = 128;
/// RESOLVE_CACHED: do not wait for the disk, fail with EAGAIN (Linux 5.12).
const RESOLVE_CACHED: u64 = 0x20;

/// Why a folder cannot be served.
#[derive(Debug, Error)]
pub enum FolderError {
    /// It does not exist.
    #[error("{0}: No such file or directory; give the path of an existing folder")]
    NotFound(PathBuf),
    /// It is something else.
    #[error("{0}: not a folder; give the folder that the files lie in")]
    NotAFolder(PathBuf),
    /// No permission.
    #[error(
        "{0}: Permission denied; make it readable for this user (chmod u+rx) or run as its owner"
    )]
    Denied(PathBuf),
    /// Anything else.
    #[error("{0}: cannot be read: {1}")]
    Io(PathBuf, io::Error),
}

/// Why a file cannot be served.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Missing {
    /// No such file, or a hidden one, or a way out of the folder.
    NotFound,
    /// A folder has that name.
    IsFolder,
    /// No permission.
    Forbidden,
    /// Too many open files, or the disk fails.
    Unavailable,
}

/// A folder of media.
#[derive(Debug)]
pub struct Library {
    folder: Arc<Folder>,
    films: Mutex<HashMap<Version, Arc<Film>>>,
    disk: Arc<Pool>,
}

#[derive(Debug)]
struct Folder {
    path: PathBuf,
    descriptor: OwnedFd,
}

impl Library {
    /// Opens the folder; `disk` waits for the disk where need be.
    ///
    /// # Errors
    /// One line that says what to do.
    pub fn open(path: &Path, disk: Arc<Pool>) -> Result<Self, FolderError> {
        let told = |error: io::Error| match error.kind() {
            io::ErrorKind::NotFound => FolderError::NotFound(path.into()),
            io::ErrorKind::NotADirectory => FolderError::NotAFolder(path.into()),
            io::ErrorKind::PermissionDenied => FolderError::Denied(path.into()),
            _ => FolderError::Io(path.into(), error),
        };
        // Reads one entry: a folder may be opened and still not be searched or read.
        std::fs::read_dir(path)
            .map_err(told)?
            .next()
            .transpose()
            .map_err(told)?;
        let descriptor = OwnedFd::from(File::open(path).map_err(told)?);
        std::fs::metadata(path.join(".")).map_err(told)?;
        let folder = Arc::new(Folder {
            path: path.into(),
            descriptor,
        });
        Ok(Self {
            folder,
            films: Mutex::default(),
            disk,
        })
    }

    /// Where the folder is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.folder.path
    }

    /// The file that `names` lead to, open and mapped.
    ///
    /// # Errors
    /// Why there is none.
    pub async fn find(&self, names: &[OsString]) -> Result<Arc<Film>, Missing> {
        let file = match self.folder.open(names, RESOLVE_CACHED) {
            Err(Errno::EAGAIN | Errno::EINVAL) => {
                let (folder, names) = (Arc::clone(&self.folder), names.to_vec());
                let opened = self.disk.run(move || folder.open(&names, 0)).await;
                opened.ok_or(Missing::Unavailable)?
            }
            other => other,
        };
        self.film(file.map_err(missing)?)
    }

    fn film(&self, file: File) -> Result<Arc<Film>, Missing> {
        let metadata = file.metadata().map_err(|_| Missing::Unavailable)?;
        if metadata.is_dir() {
            return Err(Missing::IsFolder);
        }
        if !metadata.is_file() {
            return Err(Missing::NotFound);
        }
        let version = Version::of(&metadata);
        let mut films = self.films.lock();
        if let Some(film) = films.get(&version)
            && !film.has_faulted()
        {
            return Ok(Arc::clone(film));
        }
        films.retain(|_, film| {
            Arc::strong_count(film) > 1 || !(film.is_deleted() || film.has_faulted())
        });
        if films.len() >= MOST_IDLE_FILMS {
            films.retain(|_, film| Arc::strong_count(film) > 1);
        }
        let film = Film::new(file).map(Arc::new).map_err(|error| {
            tracing::warn!(%error, "cannot map a film");
            Missing::Unavailable
        })?;
        // The file may have changed between the two looks at it.
        films.insert(*film.version(), Arc::clone(&film));
        Ok(film)
    }

    /// What the folder holds, in alphabetical order.
    pub async fn list(&self) -> Vec<Entry> {
        let folder = Arc::clone(&self.folder);
        self.disk
            .run(move || listing::list(&folder.path))
            .await
            .unwrap_or_default()
    }

    /// Opens every film of the folder, one after the other as they are asked for; waits for the disk.
    pub fn all(&self) -> impl Iterator<Item = Arc<Film>> + Send + 'static {
        let folder = Arc::clone(&self.folder);
        let names = std::iter::once_with({
            let folder = Arc::clone(&folder);
            move || listing::list(&folder.path)
        });
        names.flatten().filter_map(move |entry| {
            let file = folder.open(&entry.names, 0).ok()?;
            Film::new(file).ok().map(Arc::new)
        })
    }
}

impl Folder {
    fn open(&self, names: &[OsString], resolve: u64) -> Result<File, Errno> {
        if names.iter().any(|name| name.as_bytes().starts_with(b".")) {
            return Err(Errno::ENOENT);
        }
        let path: PathBuf = if names.is_empty() {
            ".".into()
        } else {
            names.iter().collect()
        };
        // Without O_NONBLOCK a FIFO in the folder would hold the thread until somebody writes to it.
        let flags = OFlag::O_RDONLY | OFlag::O_CLOEXEC | OFlag::O_NONBLOCK | OFlag::O_NOCTTY;
        let resolve = ResolveFlag::RESOLVE_BENEATH
            | ResolveFlag::RESOLVE_NO_MAGICLINKS
            | ResolveFlag::from_bits_retain(resolve);
        openat2(
            &self.descriptor,
            &path,
            OpenHow::new().flags(flags).resolve(resolve),
        )
        .map(File::from)
    }
}

fn missing(error: Errno) -> Missing {
    match error {
        Errno::ENOENT
        | Errno::ENOTDIR
        | Errno::ELOOP
        | Errno::EXDEV
        | Errno::ENAMETOOLONG
        | Errno::ENXIO => Missing::NotFound,
        Errno::EACCES | Errno::EPERM => Missing::Forbidden,
        error => {
            tracing::warn!(%error, "cannot open a film");
            Missing::Unavailable
        }
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    struct Fixture {
        outside: tempfile::TempDir,
        library: Library,
    }

    fn fixture() -> Fixture {
        let outside = tempfile::tempdir().expect("a folder");
        let root = outside.path().join("media");
        std::fs::create_dir_all(root.join("series/.hidden")).expect("folders");
        std::fs::write(outside.path().join("secret.mp4"), "secret").expect("written");
        std::fs::write(root.join("a.mp4"), "film a").expect("written");
        std::fs::write(root.join("series/b.mkv"), "film b").expect("written");
        std::fs::write(root.join(".upload.part"), "hidden").expect("written");
        std::fs::write(root.join("series/.hidden/c.mp4"), "hidden").expect("written");
        symlink("../secret.mp4", root.join("relative.mp4")).expect("linked");
        symlink(outside.path().join("secret.mp4"), root.join("absolute.mp4")).expect("linked");
        symlink("..", root.join("up")).expect("linked");
        symlink("series/b.mkv", root.join("within.mkv")).expect("linked");
        nix::unistd::mkfifo(&root.join("fifo.mp4"), nix::sys::stat::Mode::S_IRWXU).expect("a FIFO");
        let disk = Arc::new(Pool::start("disk", 1).expect("a pool"));
        let library = Library::open(&root, disk).expect("a library");
        Fixture { outside, library }
    }

    async fn content(library: &Library, path: &str) -> Result<String, Missing> {
        let names: Vec<OsString> = path.split('/').map(OsString::from).collect();
        let film = library.find(&names).await?;
        let bytes = film.read(0..film.version().size()).expect("read");
        Ok(String::from_utf8(bytes.to_vec()).expect("text"))
    }

    #[tokio::test]
    async fn files_within_are_found_and_nothing_else() {
        let Fixture {
            library,
            outside: _outside,
        } = fixture();
        assert_eq!(content(&library, "a.mp4").await.as_deref(), Ok("film a"));
        assert_eq!(
            content(&library, "series/b.mkv").await.as_deref(),
            Ok("film b")
        );
        assert_eq!(
            content(&library, "within.mkv").await.as_deref(),
            Ok("film b")
        );
        assert_eq!(content(&library, "series").await, Err(Missing::IsFolder));
        for path in [
            "relative.mp4",
            "absolute.mp4",
            "up/secret.mp4",
            "../secret.mp4",
            "fifo.mp4",
            "none.mp4",
            "a.mp4/x",
            ".upload.part",
            "series/.hidden/c.mp4",
        ] {
            assert_eq!(
                content(&library, path).await,
                Err(Missing::NotFound),
                "{path}"
            );
        }
    }

    #[tokio::test]
    async fn the_listing_shows_what_can_be_found() {
        let Fixture {
            library,
            outside: _outside,
        } = fixture();
        let listed: Vec<String> = library.list().await.iter().map(Entry::title).collect();
        assert_eq!(listed, ["a.mp4", "series/b.mkv", "within.mkv"]);
        assert_eq!(library.all().count(), 3);
    }

    #[tokio::test]
    async fn connections_share_a_film_until_it_changes() {
        let Fixture {
            library,
            outside: _outside,
        } = fixture();
        let names = [OsString::from("a.mp4")];
        let first = library.find(&names).await.expect("a film");
        assert!(Arc::ptr_eq(
            &first,
            &library.find(&names).await.expect("a film")
        ));
        std::fs::write(library.path().join("a.mp4"), "changed").expect("written");
        let second = library.find(&names).await.expect("a film");
        assert!(!Arc::ptr_eq(&first, &second));
        assert!(!first.is_unchanged() && second.is_unchanged());
    }

    #[test]
    fn a_folder_that_cannot_be_served_is_told_in_one_line() {
        let Fixture {
            outside,
            library: _,
        } = fixture();
        let refusal = |path: &str| {
            let disk = Arc::new(Pool::start("disk", 0).expect("a pool"));
            Library::open(&outside.path().join(path), disk)
                .expect_err("no library")
                .to_string()
        };
        assert!(refusal("nowhere").contains("No such file or directory"));
        assert!(refusal("media/a.mp4").contains("not a folder"));
    }
}
