//! The topology with one thread per device queue: {receive, reader stages, tasks, due timers, writer
//! stages, transmit; look again for a moment, then sleep}. See [`super::queue`] and [`super::leader`].
//!
//! A connection belongs to the queue that its four-tuple hashes to: its frames leave there. Where they
//! arrive is the device's choice, and does not matter.

use std::hash::{BuildHasher, RandomState};
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::{Context, Waker};
use std::thread::{self, JoinHandle};

use parking_lot::Mutex;

use super::clock;
use super::executor::Executor;
use super::queue::Queue;
use crate::ip::{RxPacket, TxDatagram};
use crate::socket::{Runtime, WaitError};
use crate::tcp::{Connection, FourTuple};
use crate::time::Instant;

/// All queues with their threads.
pub(crate) struct RunToCompletion {
    queues: Vec<Arc<Queue>>,
    threads: Mutex<Vec<JoinHandle<()>>>,
    hasher: RandomState,
}

impl RunToCompletion {
    /// Starts a thread for each queue.
    ///
    /// # Errors
    /// When the system gives no thread.
    pub(crate) fn start(queues: Vec<Arc<Queue>>) -> io::Result<Self> {
        let mut threads = Vec::new();
        for (index, queue) in queues.iter().enumerate() {
            let queue = Arc::clone(queue);
            let thread = thread::Builder::new()
                .name(format!("outlive-{index}"))
                .spawn(move || run(&queue))?;
            threads.push(thread);
        }
        Ok(Self {
            queues,
            threads: Mutex::new(threads),
            hasher: RandomState::new(),
        })
    }

    fn queue(&self, flow: Option<&FourTuple>) -> &Queue {
        match (flow, self.queues.as_slice()) {
            (_, [only]) => only,
            (None, queues) => &queues[0],
            (Some(flow), queues) => &queues[self.hasher.hash_one(flow) as usize % queues.len()],
        }
    }
}

/// A queue whose thread panicked is out of order: whoever waits for it is told, instead of waiting for
/// ever.
fn run(queue: &Queue) {
    if catch_unwind(AssertUnwindSafe(|| queue.run_background())).is_err() {
        queue.fail(&io::Error::other("the thread of the queue panicked"));
    }
}

impl Runtime for RunToCompletion {
    fn now(&self) -> Instant {
        clock::now()
    }

    fn output(&self, connection: &Arc<Connection>) {
        self.queue(Some(&connection.id)).output(connection);
    }

    fn output_all(&self, connections: &[Arc<Connection>]) {
        for connection in connections {
            if connection.schedule() {
                let queue = self.queue(Some(&connection.id));
                queue.outbox.lock().push(Arc::clone(connection));
            }
        }
        // Who has so many at once brings commits, or takes over, and has more of that to do.
        self.queues
            .iter()
            .for_each(|queue| queue.kick_briefly_unless_in_turn());
    }

    fn send(&self, datagram: TxDatagram) -> bool {
        self.queue(None).send(datagram)
    }

    fn wait(
        &self,
        flow: Option<&FourTuple>,
        may_drive: bool,
        deadline: Option<Instant>,
        poll: &mut dyn FnMut(&mut Context<'_>) -> bool,
    ) -> Result<(), WaitError> {
        self.queue(flow).wait(may_drive, deadline, poll)
    }

    fn executor(&self, flow: Option<&FourTuple>) -> &Executor {
        &self.queue(flow).executor
    }

    fn wake_at(&self, deadline: Instant, waker: Waker) {
        let queue = self.queue(None);
        if queue.timers.lock().wake_at(deadline, waker) {
            queue.ring_leader();
        }
    }

    fn inject(&self, packets: Vec<RxPacket>) {
        self.queue(None).inject(packets);
    }

    fn look_at_neighbours(&self) {
        let queue = self.queue(None);
        queue.outbox.lock().look_at_neighbours();
        queue.kick_unless_in_turn();
    }

    fn is_flushed(&self) -> bool {
        self.queues.iter().all(|queue| queue.is_flushed())
    }

    fn turns(&self) -> Vec<u64> {
        let turns = self.queues.iter().map(|queue| &queue.turns);
        turns.map(|turns| turns.load(Ordering::SeqCst)).collect()
    }

    fn is_past(&self, turns: &[u64]) -> bool {
        let mut queues = self.queues.iter().zip(turns);
        queues.all(|(queue, &turn)| queue.is_past(turn))
    }

    fn stop(&self) {
        for queue in &self.queues {
            queue.stopping.store(true, Ordering::Release);
            queue.end_waits();
        }
        let own = thread::current().id();
        for thread in std::mem::take(&mut *self.threads.lock()) {
            // The last handle may be dropped by a task, on the very thread that is to end.
            if thread.thread().id() != own && thread.join().is_err() {
                tracing::error!("a thread of the stack panicked");
            }
        }
        for queue in &self.queues {
            queue.executor.clear();
        }
    }

    fn sleeps_and_rings(&self) -> (u64, u64) {
        self.queues.iter().fold((0, 0), |(sleeps, rings), queue| {
            (
                sleeps + queue.background.sleeps() + queue.driver.sleeps(),
                rings + queue.background.rings() + queue.driver.rings(),
            )
        })
    }
}
