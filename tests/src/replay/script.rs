//! What the application at the recorded end did, read off what its kernel sent, and the same again over our
//! sockets.

use std::cell::RefCell;
use std::io::{self, ErrorKind};
use std::net::Shutdown;
use std::rc::Rc;
use std::time::Duration;

use bytes::Bytes;
use outlive::socket::asynchronous::TcpStream;
use outlive::tcp::{KeepAlive, State};

use super::exchange::{Exchange, offset};

/// One act of an application.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// Reads until this many bytes have come.
    Receive(u64),
    /// Reads until the end of the stream.
    EndOfStream,
    /// Writes.
    Send(Bytes),
    /// Closes its half.
    Shutdown,
    /// Lets the stack probe a silent peer after so long, and says nothing for a while.
    KeepAlive {
        /// Silence before a probe, and between two.
        idle: Duration,
        /// How long all of it lasts.
        silence: Duration,
    },
    /// Does nothing, so that what arrives fills the window.
    Rest(Duration),
    /// Resets the connection.
    Abort,
    /// Keeps the connection as it is until it is gone.
    Broken,
}

/// What the application saw.
#[derive(Clone, Debug, Default)]
pub struct Witness {
    /// All bytes read.
    pub received: Vec<u8>,
    /// The end of the stream was seen.
    pub end_of_stream: bool,
    /// A call failed.
    pub error: Option<ErrorKind>,
    /// All steps are done, or one failed.
    pub finished: bool,
}

/// The acts of the local application.
#[must_use]
pub fn steps(exchange: &Exchange) -> Vec<Step> {
    let (Some(iss), Some(peer_iss)) = exchange.iss else {
        return Vec::new();
    };
    let arriving = exchange.stream(false).len() as i64;
    let (mut steps, mut sent) = (Vec::new(), 1);
    let mut closed = false;
    steps.extend(rest(exchange).map(Step::Rest));
    let mut keep_alive = keep_alive(exchange, iss);
    for event in exchange.events.iter().filter(|event| event.local) {
        let Some(segment) = event.segment().filter(|segment| !segment.syn) else {
            continue;
        };
        let data = event.data();
        let start = offset(segment.seq, iss);
        let fresh = usize::try_from(sent - start)
            .ok()
            .and_then(|known| data.get(known..))
            .filter(|data| !data.is_empty());
        if let Some((at, step)) = keep_alive.take() {
            if event.at >= at {
                steps.push(step);
            } else {
                keep_alive = Some((at, step));
            }
        }
        let acts =
            fresh.is_some() || (segment.fin && !closed) || (segment.rst && segment.ack.is_some());
        if !acts {
            continue;
        }
        let known = segment.ack.map_or(0, |ack| offset(ack, peer_iss) - 1);
        if known > arriving {
            steps.push(Step::EndOfStream);
        } else if known > 0 {
            steps.push(Step::Receive(known as u64));
        }
        if let Some(data) = fresh {
            steps.push(Step::Send(Bytes::copy_from_slice(data)));
            sent += data.len() as i64;
        }
        if segment.rst {
            steps.push(Step::Abort);
        } else if segment.fin {
            closed = true;
            steps.push(Step::Shutdown);
        }
    }
    let leaves_early = exchange.any(true, |segment| segment.rst);
    if !leaves_early && exchange.any(false, |segment| segment.fin || segment.rst) {
        steps.push(Step::EndOfStream);
    }
    if !closed && !leaves_early && exchange.any(false, |segment| segment.rst) {
        steps.push(Step::Broken);
    }
    steps
}

/// How long the application read nothing, if that closed its window.
fn rest(exchange: &Exchange) -> Option<Duration> {
    let ours = exchange.events.iter().filter(|event| event.local);
    let mut windows = ours.filter_map(|event| {
        let segment = event.segment().filter(|segment| !segment.rst)?;
        Some((event.at, segment.window))
    });
    windows.find(|&(_, window)| window == 0)?;
    let (reopened, _) = windows.find(|&(_, window)| window > 0)?;
    // A little less: the peer goes on when it went on then, which must not be before there is room.
    Some(reopened * 9 / 10)
}

/// When the first probe of a silent peer left: nothing, from one octet before what comes next. With it what the application
/// had chosen.
fn keep_alive(exchange: &Exchange, iss: u32) -> Option<(Duration, Step)> {
    let (mut next, mut before, mut probes) = (1, Duration::ZERO, Vec::new());
    for event in &exchange.events {
        if let Some(segment) = event.segment().filter(|_| event.local) {
            let start = offset(segment.seq, iss);
            if start == next - 1 && segment.sequence_len() == 0 && !segment.rst {
                probes.push((before, event.at));
            }
            next = next.max(start + i64::from(segment.sequence_len()));
        }
        before = event.at;
    }
    let (&(silent_since, first), &(_, last)) = (probes.first()?, probes.last()?);
    // A little less: the peer answers when it answered then, which must not be before we ask.
    let idle = (first - silent_since) * 9 / 10;
    let silence = last - silent_since + idle / 10;
    Some((first, Step::KeepAlive { idle, silence }))
}

/// Does it all again.
pub async fn perform(stream: TcpStream, steps: Vec<Step>, witness: Rc<RefCell<Witness>>) {
    let mut result = Ok(());
    for step in steps {
        result = act(&stream, step, &witness).await;
        if result.is_err() {
            break;
        }
    }
    let mut witness = witness.borrow_mut();
    witness.error = result.err().map(|error| error.kind());
    witness.finished = true;
}

async fn act(stream: &TcpStream, step: Step, witness: &RefCell<Witness>) -> io::Result<()> {
    match step {
        Step::Send(data) => stream.send(data).await,
        Step::Shutdown => stream.shutdown(Shutdown::Write),
        Step::KeepAlive { idle, silence } => {
            stream.set_keepalive(Some(KeepAlive {
                idle,
                interval: idle,
                ..KeepAlive::default()
            }));
            stream.stack().sleep(silence).await;
            Ok(())
        }
        Step::Rest(duration) => {
            stream.stack().sleep(duration).await;
            Ok(())
        }
        Step::Abort => {
            // An abort throws away what is still to be sent; then it had been acknowledged.
            stream.stack().sleep(Duration::from_millis(100)).await;
            stream.set_reset_on_drop(true);
            Ok(())
        }
        Step::Broken => {
            while stream.info().state != State::Closed {
                stream.stack().sleep(Duration::from_millis(1)).await;
            }
            Ok(())
        }
        Step::Receive(total) => receive(stream, total, witness).await,
        Step::EndOfStream => receive(stream, u64::MAX, witness).await,
    }
}

async fn receive(stream: &TcpStream, total: u64, witness: &RefCell<Witness>) -> io::Result<()> {
    loop {
        let (known, ended) = {
            let witness = witness.borrow();
            (witness.received.len() as u64, witness.end_of_stream)
        };
        if known >= total || ended {
            return Ok(());
        }
        let data = stream.recv_bytes(65_536).await?;
        let mut witness = witness.borrow_mut();
        witness.end_of_stream |= data.is_empty();
        witness.received.extend_from_slice(&data);
    }
}
