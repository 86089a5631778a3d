//! The client's application: one connection by a script, every byte of the answer checked at its position.

use std::cell::RefCell;
use std::io::ErrorKind;
use std::net::{Shutdown, SocketAddr};
use std::rc::Rc;
use std::time::Duration;

use outlive::engine::Stack;
use outlive::socket::asynchronous::TcpStream;
use outlive_driver::{Instant, Random};

use super::script::{Script, Step};
use super::serving::join;
use super::stream::Stream;
use crate::simulation::application::End;
use crate::simulation::tasks::Clock;

/// How a client goes about a script.
#[derive(Clone, Debug)]
pub struct Manner {
    /// Bytes that [`Step::ReadToEnd`] finds.
    pub to_end: u64,
    /// Waits for the answer to what it sent before it sends on.
    pub in_turns: bool,
    /// Closes its half only when the server has closed.
    pub closes_last: bool,
    /// Bytes per call.
    pub writes: usize,
    /// Bytes per call.
    pub reads: usize,
    /// Of a thousand reads so many are followed by a pause of up to this.
    pub pauses: (u64, Duration),
    /// When it connects.
    pub begins: Duration,
    /// For how long it reads nothing after it has connected.
    pub deaf: Duration,
    /// Of the pauses.
    pub seed: u64,
}

impl Manner {
    /// As fast as it goes.
    #[must_use]
    pub const fn plain(to_end: u64) -> Self {
        Self {
            to_end,
            in_turns: false,
            closes_last: false,
            writes: 16_384,
            reads: 65_536,
            pauses: (0, Duration::ZERO),
            begins: Duration::ZERO,
            deaf: Duration::ZERO,
            seed: 0,
        }
    }

    /// A random one that fits to `script`.
    #[must_use]
    pub fn draw(random: &mut Random, script: &Script, to_end: u64) -> Self {
        let (writes, reads) = [
            (100, 1460),
            (1460, 20_000),
            (16_384, 65_536),
            (200_000, 400_000),
        ][random.below(4) as usize];
        Self {
            to_end,
            in_turns: random.chance(1, 3),
            closes_last: closes_first(script) && random.chance(1, 2),
            writes,
            reads,
            pauses: match random.below(4) {
                0 => (100, Duration::from_millis(1 + random.below(200))),
                _ => (0, Duration::ZERO),
            },
            begins: Duration::from_micros(random.below(2) * random.below(400_000)),
            deaf: Duration::from_millis((random.below(6) / 5) * random.below(500)),
            seed: random.next_u64(),
        }
    }
}

/// True when the server closes its half without having seen the end of the client's.
fn closes_first(script: &Script) -> bool {
    let end = script
        .steps
        .iter()
        .position(|&step| step == Step::ReadToEnd);
    let close = script.steps.iter().position(|&step| step == Step::Close);
    match (close, end) {
        (Some(close), Some(end)) => close < end,
        (_, None) => true,
        (None, Some(_)) => false,
    }
}

/// What a client saw.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seen {
    /// Bytes that its stack took.
    pub sent: u64,
    /// How writing ended.
    pub writing: End,
    /// Bytes that it read.
    pub received: u64,
    /// How reading ended.
    pub reading: End,
    /// The first byte that was not what the script says.
    pub mismatch: Option<u64>,
    /// Its address, once connected.
    pub address: Option<SocketAddr>,
    /// When it last read something.
    pub last_read: Option<Instant>,
    /// The longest time between two reads.
    pub gap: Duration,
    /// When its stack last took something, and the longest time between two such moments.
    pub last_write: Option<Instant>,
    /// As above.
    pub stall: Duration,
    /// It is done, whatever became of it.
    pub done: bool,
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
            last_read: None,
            gap: Duration::ZERO,
            last_write: None,
            stall: Duration::ZERO,
            done: false,
        }
    }
}

impl Seen {
    /// Notes bytes read.
    pub fn take(&mut self, now: Instant, expected: &Stream, data: &[u8]) {
        self.mismatch = self.mismatch.or(expected.mismatch(self.received, data));
        self.received += data.len() as u64;
        if let Some(last) = self.last_read {
            self.gap = self.gap.max(now.since(last));
        }
        self.last_read = Some(now);
    }

    /// What is wrong with how a connection by `script` went.
    ///
    /// # Errors
    /// Says what the client saw.
    pub fn judge(&self, script: &Script, to_end: u64) -> Result<(), String> {
        let (_, down) = script.streams(to_end);
        if let Some(at) = self.mismatch {
            return Err(format!("a wrong byte at {at}: {self:?}"));
        }
        let reset = End::Failed(ErrorKind::ConnectionReset);
        let was_reset = [&self.reading, &self.writing].contains(&&reset);
        // Who aborts when both halves are closed resets nothing.
        if script.aborts() && was_reset {
            return Ok(());
        }
        let complete = self.reading == End::Complete && self.writing == End::Complete;
        if complete && self.received == down.len() {
            return Ok(());
        }
        Err(format!("{} bytes were to come: {self:?}", down.len()))
    }
}

/// Filled in as the client goes on.
pub type Record = Rc<RefCell<Seen>>;

/// Connects to `remote` and does what `script` says.
pub async fn call(
    clock: Clock,
    stack: Stack,
    remote: SocketAddr,
    script: Script,
    manner: Manner,
    record: Record,
) {
    clock.sleep(manner.begins).await;
    match TcpStream::connect(&stack, remote).await {
        Ok(stream) => {
            record.borrow_mut().address = Some(stream.local_addr());
            let client = Client {
                clock,
                stream,
                streams: script.streams(manner.to_end),
                script,
                manner,
                record,
            };
            client.run().await;
        }
        Err(error) => {
            let mut seen = record.borrow_mut();
            (seen.writing, seen.reading) = (End::Failed(error.kind()), End::Failed(error.kind()));
            seen.done = true;
        }
    }
}

struct Client {
    clock: Clock,
    stream: TcpStream,
    streams: (Stream, Stream),
    script: Script,
    manner: Manner,
    record: Record,
}

impl Client {
    async fn run(&self) {
        let writing = async {
            let end = self.write().await;
            self.record.borrow_mut().writing = end;
        };
        let reading = async {
            let end = self.read().await;
            self.record.borrow_mut().reading = end;
        };
        join(writing, reading).await;
        self.record.borrow_mut().done = true;
    }

    async fn write(&self) -> End {
        let (up, _) = &self.streams;
        let header = self.script.encode().len() as u64;
        let (mut at, mut may_send, mut answered) = (0, header, self.script.greeting);
        for step in &self.script.steps {
            may_send += step.reads(self.manner.to_end);
            answered += step.writes();
            let end = if self.manner.in_turns {
                may_send
            } else {
                up.len()
            };
            if let Err(end) = self.write_upto(&mut at, end).await {
                return end;
            }
            if *step == Step::ReadToEnd && !self.manner.closes_last {
                break;
            }
            if self.manner.in_turns {
                self.wait_for(answered).await;
            }
        }
        if let Err(end) = self.write_upto(&mut at, up.len()).await {
            return end;
        }
        if self.manner.closes_last {
            self.wait_for(u64::MAX).await;
        }
        match self.stream.shutdown(Shutdown::Write) {
            Ok(()) => End::Complete,
            Err(error) => End::Failed(error.kind()),
        }
    }

    async fn write_upto(&self, at: &mut u64, end: u64) -> Result<(), End> {
        while *at < end {
            let most = (end - *at).min(self.manner.writes as u64) as usize;
            let data = self.streams.0.bytes(*at, most);
            *at += data.len() as u64;
            let sent = self.stream.send(data).await;
            sent.map_err(|error| End::Failed(error.kind()))?;
            let now = self.clock.now();
            let mut seen = self.record.borrow_mut();
            seen.sent = *at;
            if let Some(last) = seen.last_write.replace(now) {
                seen.stall = seen.stall.max(now.since(last));
            }
        }
        Ok(())
    }

    /// Waits until so many bytes were read, or no more come.
    async fn wait_for(&self, received: u64) {
        let come = || {
            let seen = self.record.borrow();
            seen.received >= received || seen.reading != End::Open
        };
        let mut pause = Duration::from_micros(200);
        while !come() {
            self.clock.sleep(pause).await;
            pause = (pause * 2).min(Duration::from_millis(50));
        }
    }

    async fn read(&self) -> End {
        let mut random = Random::from_seed(self.manner.seed);
        self.clock.sleep(self.manner.deaf).await;
        loop {
            let data = match self.stream.recv_bytes(self.manner.reads).await {
                Err(error) => return End::Failed(error.kind()),
                Ok(data) if data.is_empty() => return End::Complete,
                Ok(data) => data,
            };
            let now = self.clock.now();
            self.record.borrow_mut().take(now, &self.streams.1, &data);
            let (often, longest) = self.manner.pauses;
            if random.chance(often, 1000) {
                let pause = random.below(longest.as_micros() as u64) + 1;
                self.clock.sleep(Duration::from_micros(pause)).await;
            }
        }
    }
}
