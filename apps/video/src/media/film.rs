//! One version of one file, open and mapped.

use std::fs::{File, Metadata};
use std::io;
use std::ops::Range;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use tokio::sync::Notify;

use super::map::Map;

/// Which content a file had: any write changes it. Same version, same bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Version {
    device: u64,
    inode: u64,
    size: u64,
    modified: (i64, i64),
    // A file whose modification time was set back by hand still differs in this.
    changed: (i64, i64),
}

impl Version {
    /// The version that `metadata` tells of.
    #[must_use]
    pub fn of(metadata: &Metadata) -> Self {
        Self {
            device: metadata.dev(),
            inode: metadata.ino(),
            size: metadata.size(),
            modified: (metadata.mtime(), metadata.mtime_nsec()),
            changed: (metadata.ctime(), metadata.ctime_nsec()),
        }
    }

    /// Bytes of the file.
    #[must_use]
    pub fn size(&self) -> u64 {
        self.size
    }

    /// When it was modified, in whole seconds as HTTP tells it; times before 1970 count as 1970.
    #[must_use]
    pub fn last_modified(&self) -> SystemTime {
        UNIX_EPOCH + Duration::from_secs(u64::try_from(self.modified.0).unwrap_or_default())
    }

    /// True if `later`, seen on the same open file, has the same content. The inode's change time is
    /// left aside: it moves too when a file is replaced by renaming another over it, which leaves the
    /// open one as it was.
    fn same_content(&self, later: &Self) -> bool {
        self.size == later.size && self.modified == later.modified
    }
}

/// One version of one file, open and mapped. Shared by all connections that play it.
#[derive(Debug)]
pub struct Film {
    file: File,
    version: Version,
    map: Option<Map>,
    residency_is_told: bool,
}

impl Film {
    /// Maps an open regular file.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub fn new(file: File) -> io::Result<Self> {
        let metadata = file.metadata()?;
        let version = Version::of(&metadata);
        let map = if version.size == 0 {
            None
        } else {
            Some(Map::new(&file)?)
        };
        let residency_is_told = is_ours(&metadata);
        Ok(Self {
            file,
            version,
            map,
            residency_is_told,
        })
    }

    /// Which version this is.
    #[must_use]
    pub fn version(&self) -> &Version {
        &self.version
    }

    /// True while the file still has the content it was opened with.
    #[must_use]
    pub fn is_unchanged(&self) -> bool {
        let unchanged = || {
            self.file
                .metadata()
                .is_ok_and(|now| self.version.same_content(&Version::of(&now)))
        };
        !self.has_faulted() && unchanged()
    }

    /// True once a page was missing or could not be read: the map is spoilt.
    #[must_use]
    pub fn has_faulted(&self) -> bool {
        self.map.as_ref().is_some_and(Map::has_faulted)
    }

    /// True if no name leads to the file any more.
    #[must_use]
    pub fn is_deleted(&self) -> bool {
        self.file.metadata().is_ok_and(|now| now.nlink() == 0)
    }

    /// True if reading the range does not wait for the disk.
    #[must_use]
    pub fn is_resident(&self, range: Range<u64>) -> bool {
        self.residency_is_told
            && self
                .map
                .as_ref()
                .is_none_or(|map| map.is_resident(as_usize(range)))
    }

    /// Brings the range into memory; may wait for the disk.
    ///
    /// # Errors
    /// When it is no longer there, or cannot be read.
    pub fn populate(&self, range: Range<u64>) -> io::Result<()> {
        self.map
            .as_ref()
            .map_or(Ok(()), |map| map.populate(as_usize(range)))
    }

    /// A copy of the range.
    ///
    /// # Errors
    /// When it is no longer there, or cannot be read.
    pub fn read(&self, range: Range<u64>) -> io::Result<Bytes> {
        let mut bytes = vec![0; (range.end - range.start) as usize];
        self.file.read_exact_at(&mut bytes, range.start)?;
        Ok(bytes.into())
    }

    /// Reads some bytes at `offset`; 0 at the end.
    ///
    /// # Errors
    /// When they cannot be read.
    pub fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        self.file.read_at(buffer, offset)
    }

    /// The range itself, not copied; `held` knows of it until nobody needs it any more. An empty slice if the range
    /// is not in the file.
    #[must_use]
    pub fn slice(self: &Arc<Self>, range: Range<u64>, held: &Arc<Held>) -> Bytes {
        held.count.fetch_add(1, Ordering::Relaxed);
        Bytes::from_owner(Slice {
            film: Arc::clone(self),
            range: as_usize(range),
            held: Arc::clone(held),
        })
    }
}

/// The kernel tells residency truly only to the owner, to those with his power, and to those who may
/// write (mincore(2)). Root of a user namespace has no power over owners from outside of it, who appear
/// there as the overflow user.
fn is_ours(metadata: &Metadata) -> bool {
    const OVERFLOW_USER: u32 = 65_534;
    let user = nix::unistd::geteuid();
    metadata.uid() == user.as_raw() || (user.is_root() && metadata.uid() != OVERFLOW_USER)
}

fn as_usize(range: Range<u64>) -> Range<usize> {
    range.start as usize..range.end as usize
}

/// How many slices of mapped files are still needed by the stack below: to be sent, or sent and not
/// acknowledged.
#[derive(Debug, Default)]
pub struct Held {
    count: AtomicUsize,
    released: Notify,
}

impl Held {
    /// Slices that are still needed.
    #[must_use]
    pub fn count(&self) -> usize {
        self.count.load(Ordering::Acquire)
    }

    /// Waits until fewer than `before` slices are needed. For one waiter.
    pub async fn fewer_than(&self, before: usize) {
        while self.count() >= before {
            self.released.notified().await;
        }
    }
}

/// The owner of a piece of a mapped file on its way to a client.
#[derive(Debug)]
pub struct Slice {
    film: Arc<Film>,
    range: Range<usize>,
    held: Arc<Held>,
}

impl AsRef<[u8]> for Slice {
    fn as_ref(&self) -> &[u8] {
        let map = self.film.map.as_ref();
        map.and_then(|map| map.bytes().get(self.range.clone()))
            .unwrap_or_default()
    }
}

impl Drop for Slice {
    fn drop(&mut self) {
        self.held.count.fetch_sub(1, Ordering::Release);
        self.held.released.notify_one();
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    fn film(content: &[u8]) -> (tempfile::NamedTempFile, Arc<Film>) {
        let mut file = tempfile::NamedTempFile::new().expect("a file");
        file.write_all(content).expect("written");
        let film = Film::new(File::open(file.path()).expect("opened")).expect("mapped");
        (file, Arc::new(film))
    }

    #[tokio::test]
    async fn slices_are_the_file_and_are_counted_until_nobody_needs_them() {
        let (_file, film) = film(b"0123456789");
        let held = Arc::new(Held::default());
        let slice = film.slice(2..6, &held);
        assert_eq!(slice, "2345");
        let sent_again = slice.slice(1..2);
        drop(slice);
        assert_eq!(held.count(), 1);
        drop(sent_again);
        held.fewer_than(1).await;
        assert_eq!(film.read(8..10).expect("read"), "89");
        assert!(film.read(8..11).is_err());
    }

    #[test]
    fn writes_are_noticed_and_replacement_by_renaming_is_none() {
        let (mut file, film) = film(b"0123456789");
        assert!(film.is_unchanged());
        let (other, _) = super::tests::film(b"another");
        std::fs::rename(other.path(), file.path()).expect("replaced");
        assert!(film.is_unchanged());
        file.as_file().set_len(5).expect("truncated");
        assert!(!film.is_unchanged());
        file.write_all(b"56789").expect("written");
        assert!(!film.is_unchanged());
    }

    #[test]
    fn an_empty_file_is_a_film_too() {
        let (_file, film) = film(b"");
        assert!(film.is_unchanged() && film.is_resident(0..0));
        assert_eq!(film.slice(0..0, &Arc::default()), "");
    }
}
