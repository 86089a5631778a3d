//! The server's application: reads a script and does what it says. It looks at no address, no clock and no
//! random number for what it writes. It goes on on another host by doing everything again, or from what it noted
//! (`progress.rs`), as its listener has it.

use std::cell::{Cell, RefCell};
use std::future::Future;
use std::io;
use std::net::Shutdown;
use std::pin::pin;
use std::rc::Rc;
use std::task::Poll;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use outlive::replication::Survival;
use outlive::socket::asynchronous::{TcpListener, TcpStream};

use super::progress::Progress;
use super::script::{Script, Step, greeting};
use super::stream::Piece;
use crate::simulation::tasks::{Clock, Spawner};

/// Most bytes of film that are given to the stack at once.
const FILM_BYTES: usize = 1 << 20;

/// What was wrong with what servers read.
pub type Complaints = Rc<RefCell<Vec<String>>>;

/// What servers do besides their scripts.
#[derive(Clone, Copy, Debug)]
pub struct Service {
    /// Bytes with which they begin, before the client has said anything.
    pub greeting: u64,
    /// How they go on elsewhere.
    pub survival: Survival,
    /// How long they take before every step.
    pub pause: Duration,
}

/// Accepts connections for ever and runs their scripts.
pub async fn serve(
    clock: Clock,
    spawner: Spawner,
    listener: TcpListener,
    complaints: Complaints,
    service: Service,
) {
    while let Ok((stream, peer)) = listener.accept().await {
        let (clock, complaints) = (clock.clone(), Rc::clone(&complaints));
        spawner.spawn(async move {
            let server = Server::new(stream, clock, service);
            // An error is the client's business, or this host's end.
            let _ = server.run().await;
            if let Some(at) = server.wrong.get() {
                let what = format!("the server read a wrong byte of {peer} at {at}");
                complaints.borrow_mut().push(what);
            }
        });
    }
}

/// One connection at the server.
struct Server {
    stream: TcpStream,
    clock: Clock,
    service: Service,
    progress: RefCell<Progress>,
    /// A write is on its way; what a mirrored connection has noted is the state after it.
    writing: Cell<bool>,
    wrong: Cell<Option<u64>>,
}

impl Server {
    fn new(stream: TcpStream, clock: Clock, service: Service) -> Self {
        let noted = stream.continuation().and_then(|it| it.checkpoint);
        let progress = noted.map(Progress::decode).unwrap_or_default();
        Self {
            stream,
            clock,
            service,
            progress: RefCell::new(progress),
            writing: Cell::new(false),
            wrong: Cell::new(None),
        }
    }

    async fn run(&self) -> io::Result<()> {
        self.greet().await?;
        let Some(script) = self.script().await? else {
            return Ok(());
        };
        loop {
            let at = self.progress.borrow().step as usize;
            let Some(&step) = script.steps.get(at) else {
                return Ok(());
            };
            if !self.service.pause.is_zero() {
                self.clock.sleep(self.service.pause).await;
            }
            self.step(&script, step).await?;
            if step == Step::Abort {
                return Ok(());
            }
            self.progress.borrow_mut().next_step();
            self.note_between_writes();
        }
    }

    async fn step(&self, script: &Script, step: Step) -> io::Result<()> {
        match step {
            Step::Read(n) => self.read(script, n).await,
            Step::ReadToEnd => self.read(script, u64::MAX).await,
            Step::Write(n) => self.write_pattern(script, n).await,
            Step::Film(n) => self.write_step(&Piece::Film(n), FILM_BYTES).await,
            Step::Both(reads, writes) => {
                let writing = self.write_pattern(script, writes);
                let (read, written) = join(self.read(script, reads), writing).await;
                read.and(written)
            }
            Step::Digest => {
                let digest = self.progress.borrow().digest.bytes();
                self.write_step(&Piece::Literal(digest), usize::MAX).await
            }
            Step::Wait(ms) => {
                self.clock.sleep(Duration::from_millis(ms)).await;
                Ok(())
            }
            Step::Close => self.stream.shutdown(Shutdown::Write),
            Step::Abort => {
                self.stream.set_reset_on_drop(true);
                Ok(())
            }
        }
    }

    async fn greet(&self) -> io::Result<()> {
        let piece = greeting(self.service.greeting);
        let greeted = self.progress.borrow().greeted;
        let wrote = |progress: &mut Progress, len| progress.greeted += len;
        self.write(&piece, greeted, usize::MAX, wrote).await
    }

    async fn write_step(&self, piece: &Piece, most: usize) -> io::Result<()> {
        let written = self.progress.borrow().step_written;
        let wrote = |progress: &mut Progress, len| progress.step_written += len;
        self.write(piece, written, most, wrote).await
    }

    async fn write_pattern(&self, script: &Script, n: u64) -> io::Result<()> {
        let (begin, written) = {
            let progress = self.progress.borrow();
            (
                progress.written - progress.step_written,
                progress.step_written,
            )
        };
        let piece = Piece::Pattern(script.downloaded(), begin, n);
        self.write(&piece, written, script.writes as usize, |progress, len| {
            progress.step_written += len;
            progress.written += len;
        })
        .await
    }

    /// The script that the stream begins with; none if it ends before.
    async fn script(&self) -> io::Result<Option<Script>> {
        let known = Script::decode(&self.progress.borrow().script);
        if known.is_some() {
            return Ok(known);
        }
        let mut bytes = BytesMut::new();
        loop {
            if let Some(script) = Script::decode(&bytes) {
                let mut unread = bytes.freeze();
                let len = Script::encoded_bytes(&unread).unwrap_or(0);
                let mut progress = self.progress.borrow_mut();
                progress.script = unread.split_to(len);
                progress.unread = unread;
                return Ok(Some(script));
            }
            let data = self.stream.recv_bytes(1000).await?;
            if data.is_empty() {
                return Ok(None);
            }
            bytes.extend_from_slice(&data);
        }
    }

    async fn read(&self, script: &Script, n: u64) -> io::Result<()> {
        loop {
            let left = n - self.progress.borrow().step_read;
            let most = left.min(u64::from(script.reads)) as usize;
            if most == 0 {
                return Ok(());
            }
            let unread = self.progress.borrow_mut().take_unread(most);
            let data = if unread.is_empty() {
                self.stream.recv_bytes(most).await?
            } else {
                unread
            };
            if data.is_empty() {
                return Ok(());
            }
            let from = self.progress.borrow_mut().add_read(&data);
            let wrong = self.wrong.get();
            let wrong = wrong.or(script.uploaded().mismatch(from, &data));
            self.wrong.set(wrong);
            self.note_between_writes();
            if script.read_pause_ms > 0 {
                let pause = Duration::from_millis(script.read_pause_ms.into());
                self.clock.sleep(pause).await;
            }
        }
    }

    /// Writes what is left of a piece of which so much was `written`; `wrote` counts it.
    async fn write(
        &self,
        piece: &Piece,
        written: u64,
        most: usize,
        wrote: impl Fn(&mut Progress, u64),
    ) -> io::Result<()> {
        let mut at = written;
        while at < piece.len() {
            let bytes = piece.bytes(at, most);
            at += bytes.len() as u64;
            self.put(bytes, &wrote).await?;
        }
        Ok(())
    }

    async fn put(&self, bytes: Bytes, wrote: &impl Fn(&mut Progress, u64)) -> io::Result<()> {
        let len = bytes.len() as u64;
        let mirrored = self.service.survival == Survival::Mirror;
        self.writing.set(true);
        if mirrored {
            wrote(&mut self.progress.borrow_mut(), len);
            self.stream.checkpoint(self.progress.borrow().encode());
        }
        let sent = self.stream.send(bytes).await;
        self.writing.set(false);
        sent?;
        if !mirrored {
            wrote(&mut self.progress.borrow_mut(), len);
            self.note_between_writes();
        }
        Ok(())
    }

    /// Notes where the application is: of a mirrored connection while it writes, of another while it does not.
    fn note_between_writes(&self) {
        let wanted = match self.service.survival {
            Survival::Checkpoint => !self.writing.get() && self.progress.borrow().has_script(),
            Survival::Mirror => self.writing.get(),
            Survival::Unprotected | Survival::Replay(_) => false,
        };
        if wanted {
            self.stream.checkpoint(self.progress.borrow().encode());
        }
    }
}

/// Runs both to their ends.
pub(super) async fn join<A, B>(a: impl Future<Output = A>, b: impl Future<Output = B>) -> (A, B) {
    let (mut a, mut b) = (pin!(a), pin!(b));
    let (mut of_a, mut of_b) = (None, None);
    std::future::poll_fn(move |context| {
        if of_a.is_none()
            && let Poll::Ready(value) = a.as_mut().poll(context)
        {
            of_a = Some(value);
        }
        if of_b.is_none()
            && let Poll::Ready(value) = b.as_mut().poll(context)
        {
            of_b = Some(value);
        }
        match (of_a.take(), of_b.take()) {
            (Some(a), Some(b)) => Poll::Ready((a, b)),
            (one, other) => {
                (of_a, of_b) = (one, other);
                Poll::Pending
            }
        }
    })
    .await
}
