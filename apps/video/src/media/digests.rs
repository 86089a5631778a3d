//! SHA-256 of every film, computed once per version, beside the serving threads.

use std::collections::HashMap;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use parking_lot::Mutex;
use tokio::sync::oneshot;

use super::film::{Film, Version};
use crate::http::digest::{Digest, Hasher};
use crate::pool::Pool;

/// Most digests that are remembered; when there are more, all are forgotten and computed again as they
/// are asked for.
const MOST_DIGESTS: usize = 65_536;
const READ_BYTES: usize = 1 << 20;

/// The digests of all versions that were asked for.
#[derive(Debug)]
pub struct Digests {
    shared: Arc<Shared>,
    pool: Pool,
}

#[derive(Debug, Default)]
struct Shared {
    entries: Mutex<HashMap<Version, Entry>>,
    closed: AtomicBool,
}

#[derive(Debug)]
enum Entry {
    Known(Digest),
    /// Being computed; these wait for it.
    Pending(Vec<oneshot::Sender<Digest>>),
}

impl Digests {
    /// Starts with none, on two threads: a request need not wait for the one that goes through the
    /// folder ahead of time.
    ///
    /// # Errors
    /// When the operating system gives no thread.
    pub fn start() -> io::Result<Self> {
        Ok(Self {
            shared: Arc::default(),
            pool: Pool::start("digest", 2)?,
        })
    }

    /// The digest of `film`; nothing if it changed while it was read, or could not be read.
    pub async fn digest(&self, film: &Arc<Film>) -> Option<Digest> {
        let receiver = {
            let mut entries = self.shared.entries.lock();
            match entries.get_mut(film.version()) {
                Some(Entry::Known(digest)) => return Some(*digest),
                Some(Entry::Pending(waiters)) => {
                    let (sender, receiver) = oneshot::channel();
                    waiters.push(sender);
                    receiver
                }
                None => {
                    let (sender, receiver) = oneshot::channel();
                    entries.insert(*film.version(), Entry::Pending(vec![sender]));
                    self.submit(Arc::clone(film));
                    receiver
                }
            }
        };
        receiver.await.ok()
    }

    /// Computes the digests of `films` one after the other when there is time, so that the first request
    /// need not wait.
    pub fn prepare(&self, films: impl Iterator<Item = Arc<Film>> + Send + 'static) {
        let shared = Arc::clone(&self.shared);
        self.pool.submit(move || {
            for film in films {
                if shared.closed.load(Ordering::Relaxed) {
                    return;
                }
                let mut entries = shared.entries.lock();
                if entries.len() < MOST_DIGESTS && !entries.contains_key(film.version()) {
                    entries.insert(*film.version(), Entry::Pending(Vec::new()));
                    drop(entries);
                    shared.complete(&film);
                }
            }
        });
    }

    fn submit(&self, film: Arc<Film>) {
        let shared = Arc::clone(&self.shared);
        self.pool.submit(move || shared.complete(&film));
    }
}

impl Drop for Digests {
    fn drop(&mut self) {
        self.shared.closed.store(true, Ordering::Relaxed);
    }
}

impl Shared {
    fn complete(&self, film: &Film) {
        let digest = self.compute(film);
        let mut entries = self.entries.lock();
        let pending = entries.remove(film.version());
        let Some(digest) = digest else {
            return; // the waiters find their channel closed
        };
        if entries.len() >= MOST_DIGESTS {
            entries.retain(|_, entry| matches!(entry, Entry::Pending(_)));
        }
        entries.insert(*film.version(), Entry::Known(digest));
        drop(entries);
        if let Some(Entry::Pending(waiters)) = pending {
            for waiter in waiters {
                let _ = waiter.send(digest);
            }
        }
    }

    fn compute(&self, film: &Film) -> Option<Digest> {
        let mut hasher = Hasher::new();
        let mut buffer = vec![0; READ_BYTES];
        let mut offset = 0;
        while !self.closed.load(Ordering::Relaxed) {
            match film.read_at(&mut buffer, offset) {
                Ok(0) => {
                    let complete = offset == film.version().size() && film.is_unchanged();
                    return complete.then(|| hasher.finish());
                }
                Ok(length) => {
                    hasher.update(&buffer[..length]);
                    offset += length as u64;
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => {
                    tracing::warn!(%error, "cannot read a film");
                    return None;
                }
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use std::fs::File;
    use std::io::Write;

    use super::*;
    use crate::http::digest::hex;

    #[tokio::test]
    async fn the_digest_is_that_of_the_content_and_is_computed_once() {
        let mut file = tempfile::NamedTempFile::new().expect("a file");
        file.write_all(b"abc").expect("written");
        let film = Arc::new(Film::new(File::open(file.path()).expect("opened")).expect("mapped"));
        let digests = Digests::start().expect("digests");
        digests.prepare([Arc::clone(&film)].into_iter());
        let (first, second) = tokio::join!(digests.digest(&film), digests.digest(&film));
        assert_eq!(first, second);
        let expected = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        assert_eq!(hex(&first.expect("a digest")), expected);
        file.write_all(b"d").expect("written");
        assert_eq!(
            digests.digest(&film).await,
            first,
            "remembered for the old version"
        );
        let changed =
            Arc::new(Film::new(File::open(file.path()).expect("opened")).expect("mapped"));
        assert_ne!(digests.digest(&changed).await, first);
    }

    #[tokio::test]
    async fn a_film_that_changed_since_it_was_opened_has_no_digest() {
        let mut file = tempfile::NamedTempFile::new().expect("a file");
        file.write_all(b"abc").expect("written");
        let film = Arc::new(Film::new(File::open(file.path()).expect("opened")).expect("mapped"));
        file.write_all(b"d").expect("written");
        let digests = Digests::start().expect("digests");
        assert_eq!(digests.digest(&film).await, None);
    }
}
