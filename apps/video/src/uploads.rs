//! Where uploads go: nowhere (the sink) or into a folder, under a temporary name until they are
//! complete. Either way their bytes are counted, and hashed unless the client wants no digest of what goes nowhere.
//!
//! Whoever writes a temporary file holds its lock (flock(2)), and the kernel lets go of it when that process dies,
//! however it dies. So a temporary file that can be locked is nobody's: the next process to open the folder removes it.

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::{self, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use nix::errno::Errno;
use nix::fcntl::{AtFlags, Flock, FlockArg, OFlag, openat, renameat};
use nix::sys::stat::{Mode, fstatat};
use nix::unistd::{UnlinkatFlags, unlinkat};

use crate::http::digest::{Digest, Hasher};
use crate::media::Library;
use crate::media::library::FolderError;
use crate::pool::Pool;

/// What temporary names begin and end with.
const PREFIX: &str = ".upload-";
const SUFFIX: &str = ".part";

/// The folder that uploads go to.
#[derive(Debug)]
pub struct Uploads {
    /// What was uploaded.
    pub library: Library,
    folder: Arc<OwnedFd>,
}

impl Uploads {
    /// Opens the folder, and removes what processes that were killed left in it.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn open(path: &Path, disk: Arc<Pool>) -> Result<Self, FolderError> {
        let library = Library::open(path, disk)?;
        let folder = File::open(path).map_err(|error| FolderError::Io(path.into(), error))?;
        match remove_leftovers(path, &folder) {
            Ok(0) => {}
            Ok(count) => tracing::info!(count, "removed uploads of a process that was killed"),
            // They are in nobody's way.
            Err(error) => tracing::warn!(%error, "cannot look for uploads that broke off"),
        }
        Ok(Self {
            library,
            folder: Arc::new(folder.into()),
        })
    }

    /// True if `name` may be given to an upload.
    #[must_use]
    pub fn accepts(name: &OsStr) -> bool {
        !name.as_bytes().starts_with(b".") && name.len() <= 255
    }

    /// Begins an upload that will be called `name`; waits for the disk.
    ///
    /// # Errors
    /// When the folder cannot be written.
    pub fn begin(&self, name: OsString) -> impl FnOnce() -> io::Result<Intake> + Send + 'static {
        let folder = Arc::clone(&self.folder);
        move || {
            let temporary = Temporary::create(folder, name)?;
            Ok(Intake {
                temporary: Some(temporary),
                ..Intake::sink(true)
            })
        }
    }
}

/// An upload on its way in.
#[derive(Debug)]
pub struct Intake {
    hasher: Option<Hasher>,
    bytes: u64,
    temporary: Option<Temporary>,
    failed: Option<io::Error>,
}

/// An upload of which everything came.
#[derive(Debug)]
pub struct Received {
    /// Its SHA-256, unless nobody wants it.
    pub digest: Option<Digest>,
    /// Its length.
    pub bytes: u64,
    /// There was no file of that name before; or why it could not be stored, and then nothing is left of it.
    pub created: io::Result<bool>,
}

impl Intake {
    /// An upload that is counted, perhaps `hashed`, and forgotten.
    #[must_use]
    pub fn sink(hashed: bool) -> Self {
        Self {
            hasher: hashed.then(Hasher::new),
            bytes: 0,
            temporary: None,
            failed: None,
        }
    }

    /// One that cannot be stored, because of `error`.
    #[must_use]
    pub fn failed(error: io::Error) -> Self {
        Self {
            failed: Some(error),
            ..Self::sink(true)
        }
    }

    /// Takes the next bytes; may wait for the disk. When they cannot be written the rest is counted and
    /// hashed all the same, and the end says so: where in the stream a disk fails is nothing that another
    /// host could repeat.
    pub fn absorb(&mut self, batch: &[Bytes]) {
        for bytes in batch {
            if let Some(hasher) = &mut self.hasher {
                hasher.update(bytes);
            }
            self.bytes += bytes.len() as u64;
            if let Some(temporary) = &mut self.temporary
                && let Err(error) = temporary.file.write_all(bytes)
            {
                self.failed = Some(error);
                self.temporary = None;
            }
        }
    }

    /// Completes the upload: on the disk, then under its name.
    #[must_use]
    pub fn finish(self) -> Received {
        let created = match (self.failed, self.temporary) {
            (Some(error), _) => Err(error),
            (None, Some(temporary)) => temporary.publish(),
            (None, None) => Ok(false),
        };
        Received {
            digest: self.hasher.map(Hasher::finish),
            bytes: self.bytes,
            created,
        }
    }
}

/// Removes the temporary files that nobody writes: how many.
fn remove_leftovers(path: &Path, folder: &File) -> io::Result<usize> {
    let mut count = 0;
    for entry in std::fs::read_dir(path)? {
        let name = entry?.file_name();
        let is_temporary = name.as_bytes().starts_with(PREFIX.as_bytes())
            && name.as_bytes().ends_with(SUFFIX.as_bytes());
        if !is_temporary {
            continue;
        }
        let flags = OFlag::O_RDONLY | OFlag::O_CLOEXEC | OFlag::O_NOFOLLOW | OFlag::O_NONBLOCK;
        let Ok(file) = openat(folder, name.as_os_str(), flags, Mode::empty()) else {
            continue;
        };
        if Flock::lock(File::from(file), FlockArg::LockExclusiveNonblock).is_ok() {
            unlinkat(folder, name.as_os_str(), UnlinkatFlags::NoRemoveDir)?;
            count += 1;
        }
    }
    Ok(count)
}

/// A file that is removed again unless it is published.
#[derive(Debug)]
struct Temporary {
    folder: Arc<OwnedFd>,
    file: Flock<File>,
    temporary_name: String,
    name: OsString,
    published: bool,
}

impl Temporary {
    fn create(folder: Arc<OwnedFd>, name: OsString) -> io::Result<Self> {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        loop {
            let number = NEXT.fetch_add(1, Ordering::Relaxed);
            let temporary_name = format!("{PREFIX}{}-{number}{SUFFIX}", std::process::id());
            let flags = OFlag::O_WRONLY
                | OFlag::O_CREAT
                | OFlag::O_EXCL
                | OFlag::O_CLOEXEC
                | OFlag::O_NOFOLLOW;
            let file = match openat(
                folder.as_fd(),
                temporary_name.as_str(),
                flags,
                Mode::from_bits_truncate(0o644),
            ) {
                Ok(file) => File::from(file),
                Err(Errno::EEXIST) => continue,
                Err(error) => return Err(error.into()),
            };
            // Between the two lines, who cleans up may have locked it and removed it.
            let locked = Flock::lock(file, FlockArg::LockExclusiveNonblock);
            if let Ok(file) = locked
                && file.metadata()?.nlink() > 0
            {
                return Ok(Self {
                    folder,
                    file,
                    temporary_name,
                    name,
                    published: false,
                });
            }
        }
    }

    fn publish(mut self) -> io::Result<bool> {
        self.file.sync_data()?;
        let folder = self.folder.as_fd();
        let existed = fstatat(folder, self.name.as_os_str(), AtFlags::AT_SYMLINK_NOFOLLOW).is_ok();
        renameat(
            folder,
            self.temporary_name.as_str(),
            folder,
            self.name.as_os_str(),
        )?;
        self.published = true;
        Ok(!existed)
    }
}

impl Drop for Temporary {
    fn drop(&mut self) {
        if !self.published {
            let _ = unlinkat(
                self.folder.as_fd(),
                self.temporary_name.as_str(),
                UnlinkatFlags::NoRemoveDir,
            );
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(folder: &Path) -> Vec<OsString> {
        let entries = std::fs::read_dir(folder).expect("a folder");
        entries
            .map(|entry| entry.expect("an entry").file_name())
            .collect()
    }

    #[test]
    fn an_upload_appears_whole_or_not_at_all() {
        let folder = tempfile::tempdir().expect("a folder");
        let disk = Arc::new(Pool::start("disk", 0).expect("a pool"));
        let uploads = Uploads::open(folder.path(), disk).expect("uploads");
        let begin = || uploads.begin("film.mp4".into())().expect("begun");

        let mut broken = begin();
        broken.absorb(&[Bytes::from_static(b"half")]);
        assert!(names(folder.path()).iter().all(|name| name != "film.mp4"));
        drop(broken);
        assert!(names(folder.path()).is_empty());

        for created in [true, false] {
            let mut whole = begin();
            whole.absorb(&[Bytes::from_static(b"a"), Bytes::from_static(b"bc")]);
            let received = whole.finish();
            assert_eq!(received.bytes, 3);
            assert_eq!(received.created.expect("published"), created);
            assert_eq!(
                received.digest.expect("a digest")[..4],
                [0xba, 0x78, 0x16, 0xbf]
            );
            assert_eq!(names(folder.path()), ["film.mp4"]);
        }
        assert_eq!(
            std::fs::read(folder.path().join("film.mp4")).expect("read"),
            b"abc"
        );
    }

    #[test]
    fn what_a_killed_process_left_is_removed_and_what_is_written_is_not() {
        let folder = tempfile::tempdir().expect("a folder");
        let open = || {
            let disk = Arc::new(Pool::start("disk", 0).expect("a pool"));
            Uploads::open(folder.path(), disk).expect("uploads")
        };
        for name in [".upload-1-0.part", ".upload-other", "film.part"] {
            std::fs::write(folder.path().join(name), b"half").expect("written");
        }
        let uploads = open();
        let mut intake = uploads.begin("film.mp4".into())().expect("begun");
        // Another process of the same folder starts meanwhile.
        let _other = open();
        intake.absorb(&[Bytes::from_static(b"abc")]);
        assert!(intake.finish().created.expect("published"));
        let mut names = names(folder.path());
        names.sort();
        assert_eq!(names, [".upload-other", "film.mp4", "film.part"]);
    }

    #[test]
    fn hidden_and_endless_names_are_not_accepted() {
        assert!(Uploads::accepts(OsStr::new("a film.mp4")));
        assert!(!Uploads::accepts(OsStr::new(".upload-1-1.part")));
        assert!(!Uploads::accepts(OsStr::new(&"x".repeat(256))));
    }
}
