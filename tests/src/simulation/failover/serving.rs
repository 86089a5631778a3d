//! The server's application: reads a script and does what it says. It looks at no address, no clock and no
//! random number for what it writes.

use std::cell::RefCell;
use std::future::Future;
use std::io;
use std::net::Shutdown;
use std::pin::pin;
use std::rc::Rc;
use std::task::Poll;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use outlive::socket::asynchronous::{TcpListener, TcpStream};

use super::script::{Digest, Script, Step};
use super::stream::Piece;
use crate::simulation::tasks::{Clock, Spawner};

/// Most bytes of film that are given to the stack at once.
const FILM_BYTES: usize = 1 << 20;

/// What was wrong with what servers read.
pub type Complaints = Rc<RefCell<Vec<String>>>;

/// Accepts connections for ever and runs their scripts.
pub async fn serve(clock: Clock, spawner: Spawner, listener: TcpListener, complaints: Complaints) {
    while let Ok((stream, peer)) = listener.accept().await {
        let (clock, complaints) = (clock.clone(), Rc::clone(&complaints));
        spawner.spawn(async move {
            let mut server = Server {
                stream,
                clock,
                unread: Bytes::new(),
                read: 0,
                written: 0,
                digest: Digest::default(),
                wrong: None,
            };
            // An error is the client's business, or this host's end.
            let _ = server.run().await;
            if let Some(at) = server.wrong {
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
    /// What was read with the script, and is behind it.
    unread: Bytes,
    read: u64,
    written: u64,
    digest: Digest,
    wrong: Option<u64>,
}

impl Server {
    async fn run(&mut self) -> io::Result<()> {
        let Some(script) = self.script().await? else {
            return Ok(());
        };
        for step in script.steps.clone() {
            match step {
                Step::Read(n) => self.read(&script, n).await?,
                Step::ReadToEnd => self.read(&script, u64::MAX).await?,
                Step::Write(n) => {
                    let piece = Piece::Pattern(script.downloaded(), self.written, n);
                    write(&self.stream, &piece, script.writes as usize).await?;
                    self.written += n;
                }
                Step::Film(n) => write(&self.stream, &Piece::Film(n), FILM_BYTES).await?,
                Step::Both(reads, writes) => self.both(&script, reads, writes).await?,
                Step::Digest => self.stream.send(self.digest.bytes()).await?,
                Step::Wait(ms) => self.clock.sleep(Duration::from_millis(ms)).await,
                Step::Close => self.stream.shutdown(Shutdown::Write)?,
                Step::Abort => {
                    self.stream.set_reset_on_drop(true);
                    return Ok(());
                }
            }
        }
        Ok(())
    }

    /// The script that the stream begins with; none if it ends before.
    async fn script(&mut self) -> io::Result<Option<Script>> {
        let mut bytes = BytesMut::new();
        loop {
            if let Some(script) = Script::decode(&bytes) {
                let len = Script::encoded_bytes(&bytes).unwrap_or(0);
                self.unread = bytes.freeze().slice(len..);
                return Ok(Some(script));
            }
            let data = self.stream.recv_bytes(1000).await?;
            if data.is_empty() {
                return Ok(None);
            }
            bytes.extend_from_slice(&data);
        }
    }

    async fn both(&mut self, script: &Script, reads: u64, writes: u64) -> io::Result<()> {
        let piece = Piece::Pattern(script.downloaded(), self.written, writes);
        self.written += writes;
        let stream = self.stream.clone();
        let writing = write(&stream, &piece, script.writes as usize);
        let (read, written) = join(self.read(script, reads), writing).await;
        read.and(written)
    }

    async fn read(&mut self, script: &Script, n: u64) -> io::Result<()> {
        let end = self.read.saturating_add(n);
        while self.read < end {
            let most = (end - self.read).min(u64::from(script.reads)) as usize;
            let data = if self.unread.is_empty() {
                self.stream.recv_bytes(most).await?
            } else {
                self.unread.split_to(most.min(self.unread.len()))
            };
            if data.is_empty() {
                return Ok(());
            }
            self.wrong = self.wrong.or(script.uploaded().mismatch(self.read, &data));
            self.digest.add(&data);
            self.read += data.len() as u64;
            if script.read_pause_ms > 0 {
                let pause = Duration::from_millis(script.read_pause_ms.into());
                self.clock.sleep(pause).await;
            }
        }
        Ok(())
    }
}

async fn write(stream: &TcpStream, piece: &Piece, most: usize) -> io::Result<()> {
    let mut at = 0;
    while at < piece.len() {
        let bytes = piece.bytes(at, most);
        at += bytes.len() as u64;
        stream.send(bytes).await?;
    }
    Ok(())
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
