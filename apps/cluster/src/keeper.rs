//! The thread that stores votes: a disk takes its time, and heartbeats do not wait for it.
//!
//! One vote at a time, as [`outlive::replication::Storage`] has it; whoever asked is told when it is stored.

#![allow(
    clippy::disallowed_methods,
    reason = "the shell: a thread that waits for a disk"
)]

use std::io;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, OnceLock};
use std::task::Poll;

use outlive::replication::Storage;
use outlive::replication::membership::Durable;

type Told = Box<dyn Fn(io::Result<()>) + Send + Sync>;

/// Stores votes on a thread of its own, which ends with it.
pub(crate) struct Keeper {
    votes: SyncSender<Durable>,
    told: Arc<OnceLock<Told>>,
}

impl Keeper {
    /// Starts the thread. `store` returns once a vote is on stable storage.
    pub(crate) fn start(
        store: impl Fn(&Durable) -> io::Result<()> + Send + 'static,
    ) -> io::Result<Self> {
        let (votes, waiting) = sync_channel(1);
        let told = Arc::<OnceLock<Told>>::default();
        let tell = Arc::clone(&told);
        let thread = std::thread::Builder::new().name("votes".into());
        thread.spawn(move || keep(&waiting, store, &tell))?;
        Ok(Self { votes, told })
    }

    /// Who is told of outcomes; before the first vote.
    pub(crate) fn tell(&self, told: impl Fn(io::Result<()>) + Send + Sync + 'static) {
        let _ = self.told.set(Box::new(told));
    }
}

fn keep(
    votes: &Receiver<Durable>,
    store: impl Fn(&Durable) -> io::Result<()>,
    told: &OnceLock<Told>,
) {
    while let Ok(durable) = votes.recv() {
        let outcome = store(&durable);
        if let Some(told) = told.get() {
            told(outcome);
        }
    }
}

impl Storage for Keeper {
    fn store(&self, durable: &Durable) -> Poll<io::Result<()>> {
        match self.votes.try_send(*durable) {
            Ok(()) => Poll::Pending,
            Err(_) => Poll::Ready(Err(io::Error::other(
                "the thread that stores votes is gone",
            ))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::mpsc::channel;

    #[test]
    fn who_stores_a_vote_does_not_wait_and_is_told() {
        let (disk, slow) = channel::<io::Result<()>>();
        let slow = parking_lot::Mutex::new(slow);
        let keeper = Keeper::start(move |_| slow.lock().recv().expect("the test goes on")).unwrap();
        let (teller, heard) = channel();
        let teller = parking_lot::Mutex::new(teller);
        keeper.tell(move |outcome: io::Result<()>| {
            let _ = teller.lock().send(outcome.is_ok());
        });
        for outcome in [true, false] {
            // It returns although nothing is stored.
            assert!(keeper.store(&Durable::default()).is_pending());
            assert!(heard.try_recv().is_err(), "told before it is stored");
            let stored = if outcome {
                Ok(())
            } else {
                Err(io::ErrorKind::StorageFull.into())
            };
            disk.send(stored).unwrap();
            assert_eq!(heard.recv(), Ok(outcome));
        }
    }
}
