//! Applications on simulated hosts: what one end of a connection sends and reads, how fast, in which
//! pieces, and how it ends.

use std::cell::RefCell;
use std::collections::HashMap;
use std::future::Future;
use std::io::ErrorKind;
use std::net::{Shutdown, SocketAddr};
use std::pin::Pin;
use std::rc::Rc;
use std::task::Poll;
use std::time::Duration;

use outlive::engine::Stack;
use outlive::socket::asynchronous::{TcpListener, TcpStream};
use outlive_driver::Random;

use super::pattern::Pattern;
use super::tasks::{Clock, Spawner};

/// An application that hears nothing for this long gives its connection up.
pub const PATIENCE: Duration = Duration::from_secs(900);

/// How an application reads or writes.
#[derive(Clone, Debug)]
pub struct Pace {
    /// Bytes per call: at least, at most.
    pub sizes: (usize, usize),
    /// Of a thousand calls so many are followed by a pause of up to this long.
    pub pauses: (u64, Duration),
    /// Wait before the first call.
    pub start: Duration,
    seed: u64,
}

impl Pace {
    /// As fast as it goes, in pieces of up to `size` bytes.
    #[must_use]
    pub const fn steady(size: usize) -> Self {
        Self {
            sizes: (size, size),
            pauses: (0, Duration::ZERO),
            start: Duration::ZERO,
            seed: 0,
        }
    }

    /// Something between one byte at a time and everything at once, with and without pauses.
    #[must_use]
    pub fn draw(random: &mut Random) -> Self {
        let sizes = match random.below(5) {
            0 => (1, 20),
            1 => (1, 1500),
            2 => (1460, 1460),
            3 => (4000, 70_000),
            _ => (100_000, 1_000_000),
        };
        let pauses = match random.below(4) {
            0 => (50, Duration::from_millis(1 + random.below(2_000))),
            1 => (300, Duration::from_millis(1 + random.below(30))),
            _ => (0, Duration::ZERO),
        };
        let start = match random.below(6) {
            0 => Duration::from_millis(random.below(3_000)),
            _ => Duration::ZERO,
        };
        Self {
            sizes,
            pauses,
            start,
            seed: random.next_u64(),
        }
    }

    fn size(&self, random: &mut Random) -> usize {
        let (low, high) = self.sizes;
        low + random.below((high - low) as u64 + 1) as usize
    }

    async fn pause(&self, clock: &Clock, random: &mut Random) {
        let (often, longest) = self.pauses;
        if random.chance(often, 1000) {
            let longest = longest.as_micros() as u64;
            clock
                .sleep(Duration::from_micros(random.below(longest) + 1))
                .await;
        }
    }
}

/// How an end of a connection ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// Sends all, closes its half, reads until the end of the stream.
    Orderly,
    /// Aborts after sending this many bytes.
    Abort(u64),
    /// Drops the socket after reading this many bytes, whatever comes after.
    Leave(u64),
}

/// One end of one connection.
#[derive(Clone, Debug)]
pub struct Plan {
    /// What it sends.
    pub sends: Pattern,
    /// How many bytes of it.
    pub total: u64,
    /// What the other end sends.
    pub expects: Pattern,
    /// How it writes.
    pub write: Pace,
    /// How it reads.
    pub read: Pace,
    /// How it ends.
    pub ending: Ending,
    /// Writes slices, which are copied, and not `Bytes`.
    pub copies: bool,
    /// Switches Nagle's algorithm off.
    pub no_delay: bool,
}

impl Plan {
    /// Sends and reads at full speed and closes in order.
    #[must_use]
    pub const fn simple(sends: Pattern, total: u64, expects: Pattern) -> Self {
        Self {
            sends,
            total,
            expects,
            write: Pace::steady(16_384),
            read: Pace::steady(65_536),
            ending: Ending::Orderly,
            copies: false,
            no_delay: false,
        }
    }
}

/// How one direction came to its end, as its reader or writer saw it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum End {
    /// Nothing yet.
    Open,
    /// All sent and closed, or read to the end of the stream.
    Complete,
    /// This end gave up by plan.
    Left,
    /// The call failed.
    Failed(ErrorKind),
    /// Nothing happened for [`PATIENCE`].
    Silent,
}

/// What one end of a connection saw.
#[derive(Clone, Debug)]
pub struct Seen {
    /// Bytes that the stack took.
    pub sent: u64,
    /// How writing ended.
    pub writing: End,
    /// Bytes that the stack gave.
    pub received: u64,
    /// How reading ended.
    pub reading: End,
    /// The first byte that was not what the other end sent.
    pub mismatch: Option<u64>,
    /// This end's address, once connected.
    pub address: Option<SocketAddr>,
}

impl Default for Seen {
    fn default() -> Self {
        Self {
            sent: 0,
            writing: End::Open,
            received: 0,
            reading: End::Open,
            mismatch: None,
            address: None,
        }
    }
}

impl Seen {
    /// Notes data read; the first wrong byte is remembered.
    fn take(&mut self, expects: Pattern, data: &[u8]) {
        self.mismatch = self.mismatch.or(expects.mismatch(self.received, data));
        self.received += data.len() as u64;
    }
}

/// Filled in as the application goes on.
pub type Record = Rc<RefCell<Seen>>;

/// Which plan belongs to a connection that a server accepts, by the client's address.
#[derive(Clone, Default)]
pub struct Directory {
    plans: Rc<RefCell<HashMap<SocketAddr, (Plan, Record)>>>,
}

impl Directory {
    /// Says what the server does with the connection from `client`.
    pub fn insert(&self, client: SocketAddr, plan: Plan, record: Record) {
        self.plans.borrow_mut().insert(client, (plan, record));
    }
}

/// Accepts connections for ever and runs their plans; looks for the next one after `pause`.
pub async fn serve(
    clock: Clock,
    spawner: Spawner,
    listener: TcpListener,
    directory: Directory,
    pause: Duration,
) {
    while let Ok((stream, client)) = listener.accept().await {
        let known = directory.plans.borrow_mut().remove(&client);
        if let Some((plan, record)) = known {
            spawner.spawn(run(clock.clone(), stream, plan, record));
        }
        if pause > Duration::ZERO {
            clock.sleep(pause).await;
        }
    }
}

/// Connects and runs a plan; `connected` is called in between, with this end's address.
pub async fn connect(
    clock: Clock,
    stack: Stack,
    remote: SocketAddr,
    plan: Plan,
    record: Record,
    connected: impl FnOnce(SocketAddr),
) {
    match TcpStream::connect(&stack, remote).await {
        Ok(stream) => {
            connected(stream.local_addr());
            run(clock, stream, plan, record).await;
        }
        Err(error) => {
            let mut seen = record.borrow_mut();
            (seen.writing, seen.reading) = (End::Failed(error.kind()), End::Failed(error.kind()));
        }
    }
}

/// Runs one end of a connection.
pub async fn run(clock: Clock, stream: TcpStream, plan: Plan, record: Record) {
    stream.set_nodelay(plan.no_delay);
    record.borrow_mut().address = Some(stream.local_addr());
    let writing = async {
        let end = write_all(&clock, &stream, &plan, &record).await;
        record.borrow_mut().writing = end.clone();
        end
    };
    let reading = async {
        let end = read_all(&clock, &stream, &plan, &record).await;
        record.borrow_mut().reading = end.clone();
        end
    };
    both(writing, reading).await;
    let mut seen = record.borrow_mut();
    let Seen {
        writing, reading, ..
    } = &mut *seen;
    for end in [writing, reading] {
        // Whoever leaves does not wait for the other half.
        if *end == End::Open {
            *end = End::Left;
        }
    }
    let aborts = matches!(plan.ending, Ending::Abort(_)) || seen.reading == End::Silent;
    stream.set_reset_on_drop(aborts);
}

async fn write_all(clock: &Clock, stream: &TcpStream, plan: &Plan, record: &Record) -> End {
    let mut random = Random::from_seed(plan.write.seed);
    clock.sleep(plan.write.start).await;
    let limit = match plan.ending {
        Ending::Abort(at) => at.min(plan.total),
        _ => plan.total,
    };
    let mut sent = 0;
    while sent < limit {
        let len = (plan.write.size(&mut random) as u64).min(limit - sent);
        let data = plan.sends.bytes(sent, len as usize);
        let result = if plan.copies {
            stream.write_all(&data).await
        } else {
            stream.send(data).await
        };
        if let Err(error) = result {
            return End::Failed(error.kind());
        }
        sent += len;
        record.borrow_mut().sent = sent;
        plan.write.pause(clock, &mut random).await;
    }
    if let Ending::Abort(_) = plan.ending {
        return End::Left;
    }
    match stream.shutdown(Shutdown::Write) {
        Ok(()) => End::Complete,
        Err(error) => End::Failed(error.kind()),
    }
}

async fn read_all(clock: &Clock, stream: &TcpStream, plan: &Plan, record: &Record) -> End {
    let mut random = Random::from_seed(plan.read.seed ^ 1);
    clock.sleep(plan.read.start).await;
    loop {
        let received = record.borrow().received;
        if matches!(plan.ending, Ending::Leave(at) if received >= at) {
            return End::Left;
        }
        let size = plan.read.size(&mut random);
        let data = match clock.timeout(PATIENCE, stream.recv_bytes(size)).await {
            None => return End::Silent,
            Some(Err(error)) => return End::Failed(error.kind()),
            Some(Ok(data)) if data.is_empty() => return End::Complete,
            Some(Ok(data)) => data,
        };
        record.borrow_mut().take(plan.expects, &data);
        plan.read.pause(clock, &mut random).await;
    }
}

/// Runs both halves until both have ended, or one of them gives up.
async fn both(writing: impl Future<Output = End>, reading: impl Future<Output = End>) {
    let (mut writing, mut reading) = (std::pin::pin!(writing), std::pin::pin!(reading));
    let (mut written, mut read) = (false, false);
    std::future::poll_fn(|context| {
        for (done, half) in [
            (
                &mut written,
                writing.as_mut() as Pin<&mut dyn Future<Output = End>>,
            ),
            (&mut read, reading.as_mut()),
        ] {
            if *done {
                continue;
            }
            match half.poll(context) {
                Poll::Ready(End::Left | End::Silent) => return Poll::Ready(()),
                Poll::Ready(_) => *done = true,
                Poll::Pending => {}
            }
        }
        if written && read {
            Poll::Ready(())
        } else {
            Poll::Pending
        }
    })
    .await;
}
