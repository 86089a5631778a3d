//! A file mapped into memory for reading, with two answers that a server needs before it touches a
//! page: is it in memory, and if not, please read it (on a thread that may wait).

use std::fs::File;
use std::io;
use std::ops::Range;

use memmap2::{Advice, Mmap};

use super::fault::{Guarded, page_bytes};

/// A whole file, mapped.
#[derive(Debug)]
pub struct Map {
    // Dropped in this order: the guard must not outlive the mapping.
    guard: Guarded,
    bytes: Mmap,
}

impl Map {
    /// Maps `file`, which must not be empty.
    ///
    /// # Errors
    /// When the kernel refuses, or too many files are mapped.
    pub fn new(file: &File) -> io::Result<Self> {
        // SAFETY: others may change or truncate the file. Nothing is derived from its bytes but the
        // bytes that are sent; missing pages are replaced by the guard; and what is sent is claimed
        // complete only after the file was found unchanged.
        let bytes = unsafe { Mmap::map(file)? };
        let guard = Guarded::new(&bytes)?;
        Ok(Self { guard, bytes })
    }

    /// The bytes, those of missing pages zero.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// True once a page was missing: the file was truncated.
    #[must_use]
    pub fn has_faulted(&self) -> bool {
        self.guard.has_faulted()
    }

    /// True if every page of the range is in memory, as far as the kernel says: of files that this
    /// process could not write it always says so (mincore(2)).
    #[must_use]
    pub fn is_resident(&self, range: Range<usize>) -> bool {
        let start = range.start - range.start % page_bytes();
        let Some(pages) = self.bytes.get(start..range.end) else {
            return false;
        };
        let mut residency = vec![0u8; pages.len().div_ceil(page_bytes())];
        // SAFETY: the range is mapped and begins at a page; the vector has a byte for each of its pages.
        let result = unsafe {
            libc::mincore(
                pages.as_ptr().cast_mut().cast(),
                pages.len(),
                residency.as_mut_ptr(),
            )
        };
        result == 0 && residency.iter().all(|page| page & 1 == 1)
    }

    /// Brings the range into memory and into this process's page table; waits for the disk if need be.
    ///
    /// # Errors
    /// When part of the range is no longer in the file, or the disk fails.
    pub fn populate(&self, range: Range<usize>) -> io::Result<()> {
        let start = range.start - range.start % page_bytes();
        match self
            .bytes
            .advise_range(Advice::PopulateRead, start, range.end - start)
        {
            // Kernels before 5.14 do not know the advice: then pages come when they are touched.
            Err(error) if error.raw_os_error() == Some(libc::EINVAL) => Ok(()),
            other => other,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    fn mapped(length: usize) -> (File, Map) {
        let mut file = tempfile::tempfile().expect("a file");
        file.write_all(&vec![7; length]).expect("written");
        let map = Map::new(&file).expect("mapped");
        (file, map)
    }

    #[test]
    fn a_truncated_file_reads_as_zeros_and_is_flagged() {
        let page = page_bytes();
        let (file, map) = mapped(4 * page);
        let (_other_file, other) = mapped(page);
        assert_eq!(map.bytes()[2 * page], 7);
        file.set_len(page as u64).expect("truncated");
        assert!(!map.has_faulted());
        assert_eq!(map.bytes()[3 * page], 0);
        assert_eq!(map.bytes()[2 * page + 5], 0);
        assert_eq!(map.bytes()[0], 7);
        assert!(map.has_faulted());
        assert!(!other.has_faulted());
        assert!(map.populate(0..page).is_ok());
    }

    #[test]
    fn populating_what_is_gone_is_an_error_not_a_signal() {
        let page = page_bytes();
        let (file, map) = mapped(4 * page);
        file.set_len(page as u64).expect("truncated");
        assert!(map.populate(page..4 * page).is_err());
    }

    #[test]
    fn what_was_just_written_is_resident() {
        let (_file, map) = mapped(3 * page_bytes() + 5);
        assert!(map.is_resident(5..3 * page_bytes() + 5));
        map.populate(5..3 * page_bytes() + 5).expect("populated");
    }

    #[test]
    fn guards_are_given_back() {
        for _ in 0..2 * super::super::fault::MOST_RANGES {
            let _ = mapped(1);
        }
    }
}
