//! What waits to be sent on an ordered channel. Any thread may send, and none ever waits.
//!
//! A sender leaves its message in the queue. Whoever gets the writer then seals and sends for all that wait,
//! and looks again after letting go, so that nothing stays behind (as the stack's own writers do). What a full
//! socket does not take is left to the channel's thread, and the queue has a bound in bytes: beyond it, the
//! other host is too slow and the channel breaks.

use std::collections::VecDeque;
use std::io;
use std::sync::atomic::{AtomicBool, Ordering};

use bytes::{Buf, Bytes, BytesMut};
use parking_lot::Mutex;

use super::record::{MOST_MESSAGE_BYTES, Sealing};

/// Sealed at a time: what is sealed and not sent cannot be taken back, and costs memory twice.
const BATCH_BYTES: usize = 256 << 10;
/// A message occupies more than its bytes; so many empty ones have a bound as well.
const MESSAGE_COST_BYTES: usize = 64;

/// Where sealed bytes go; never waits.
pub(crate) trait Sink: Send + Sync {
    /// Sends some of `bytes`, or says [`io::ErrorKind::WouldBlock`].
    fn write(&self, bytes: &[u8]) -> io::Result<usize>;
}

#[derive(Default)]
struct Waiting {
    messages: VecDeque<Bytes>,
    bytes: usize,
}

struct Writer {
    sealing: Sealing,
    /// Sealed and not yet sent.
    wire: BytesMut,
}

/// How far an attempt to send came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Progress {
    /// Everything is sent, or another thread does it.
    Done,
    /// The socket is full: try again when it is writable.
    Blocked,
    /// The channel is broken.
    Failed,
}

/// The queue and the writer of one channel.
pub(crate) struct Outbox {
    waiting: Mutex<Waiting>,
    writer: Mutex<Writer>,
    blocked: AtomicBool,
    most_bytes: usize,
}

impl Outbox {
    pub(crate) fn new(sealing: Sealing, most_bytes: usize) -> Self {
        Self {
            waiting: Mutex::default(),
            writer: Mutex::new(Writer {
                sealing,
                wire: BytesMut::new(),
            }),
            blocked: AtomicBool::new(false),
            most_bytes,
        }
    }

    /// Queues a message; false if there is no room for it, or if it is too long for any channel.
    pub(crate) fn push(&self, message: Bytes) -> bool {
        let mut waiting = self.waiting.lock();
        let bytes = waiting.bytes + message.len() + MESSAGE_COST_BYTES;
        if bytes > self.most_bytes || message.len() > MOST_MESSAGE_BYTES {
            return false;
        }
        waiting.bytes = bytes;
        waiting.messages.push_back(message);
        true
    }

    /// True while the socket takes nothing.
    pub(crate) fn is_blocked(&self) -> bool {
        self.blocked.load(Ordering::Acquire)
    }

    /// Says that the socket may take something again. For the channel's thread, which sends next.
    pub(crate) fn unblock(&self) {
        self.blocked.store(false, Ordering::Release);
    }

    /// Sends what waits, unless another thread does or the socket is known to be full.
    pub(crate) fn send(&self, sink: &dyn Sink) -> Progress {
        while !self.is_blocked() {
            let Some(mut writer) = self.writer.try_lock() else {
                return Progress::Done;
            };
            match self.drain(&mut writer, sink) {
                Ok(()) => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    self.blocked.store(true, Ordering::Release);
                    return Progress::Blocked;
                }
                Err(_) => return Progress::Failed,
            }
            drop(writer);
            // Who queued something meanwhile saw the writer taken, and went away.
            if self.waiting.lock().messages.is_empty() {
                return Progress::Done;
            }
        }
        Progress::Done
    }

    fn drain(&self, writer: &mut Writer, sink: &dyn Sink) -> io::Result<()> {
        loop {
            while !writer.wire.is_empty() {
                match sink.write(&writer.wire) {
                    Ok(sent) => writer.wire.advance(sent),
                    Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                    Err(error) => return Err(error),
                }
            }
            if !self.seal_batch(writer)? {
                return Ok(());
            }
        }
    }

    /// Seals some of what waits; false if nothing does.
    fn seal_batch(&self, writer: &mut Writer) -> io::Result<bool> {
        let failed = |refusal| io::Error::new(io::ErrorKind::InvalidData, refusal);
        let mut taken = 0;
        while taken < BATCH_BYTES {
            let Some(message) = self.pop() else { break };
            taken += message.len() + MESSAGE_COST_BYTES;
            writer
                .sealing
                .push(&message, &mut writer.wire)
                .map_err(failed)?;
        }
        writer.sealing.flush(&mut writer.wire).map_err(failed)?;
        Ok(taken > 0)
    }

    fn pop(&self) -> Option<Bytes> {
        let mut waiting = self.waiting.lock();
        let message = waiting.messages.pop_front()?;
        waiting.bytes -= message.len() + MESSAGE_COST_BYTES;
        Some(message)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::super::noise::{Parties, Purpose, finish};
    use super::super::record::Opening;
    use super::*;
    use crate::id::HostId;
    use crate::key::Key;

    /// Takes as many bytes as it has room for.
    struct Pipe {
        taken: Mutex<Vec<u8>>,
        room: Mutex<usize>,
    }

    impl Sink for Pipe {
        fn write(&self, bytes: &[u8]) -> io::Result<usize> {
            let mut room = self.room.lock();
            let n = bytes.len().min(*room);
            if n == 0 {
                return Err(io::ErrorKind::WouldBlock.into());
            }
            *room -= n;
            self.taken.lock().extend_from_slice(&bytes[..n]);
            Ok(n)
        }
    }

    fn outbox(most_bytes: usize) -> (Outbox, Opening) {
        let parties = Parties {
            initiator: HostId(0),
            responder: HostId(1),
            purpose: Purpose::Commit,
        };
        let key = Key::from_bytes([7; 32]);
        let (mut initiator, first) = parties.initiate(&key).unwrap();
        let (responder, second) = parties.respond(&key, &first).unwrap();
        finish(&mut initiator, &second).unwrap();
        let sender = Arc::new(initiator.into_stateless_transport_mode().unwrap());
        let receiver = Arc::new(responder.into_stateless_transport_mode().unwrap());
        (
            Outbox::new(Sealing::new(sender, usize::MAX), most_bytes),
            Opening::new(receiver),
        )
    }

    fn pipe(room: usize) -> Pipe {
        Pipe {
            taken: Mutex::default(),
            room: Mutex::new(room),
        }
    }

    fn received(opening: &mut Opening, pipe: &Pipe) -> Vec<Bytes> {
        opening.wire().extend_from_slice(&pipe.taken.lock());
        std::iter::from_fn(|| opening.next().unwrap()).collect()
    }

    #[test]
    fn a_full_socket_holds_nobody_up_and_loses_nothing() {
        let (outbox, mut opening) = outbox(1 << 20);
        let pipe = pipe(10);
        assert!(outbox.push(Bytes::from_static(b"first")));
        assert_eq!(outbox.send(&pipe), Progress::Blocked);
        assert!(outbox.push(Bytes::from_static(b"second")));
        assert_eq!(
            outbox.send(&pipe),
            Progress::Done,
            "left to the channel's thread"
        );
        *pipe.room.lock() = 1000;
        outbox.unblock();
        assert_eq!(outbox.send(&pipe), Progress::Done);
        assert_eq!(received(&mut opening, &pipe), ["first", "second"]);
    }

    #[test]
    fn beyond_its_bound_nothing_is_queued() {
        let (outbox, _) = outbox(1000);
        assert!(outbox.push(Bytes::from(vec![0; 500])));
        assert!(!outbox.push(Bytes::from(vec![0; 500])));
        let pushed = (0..100).take_while(|_| outbox.push(Bytes::new())).count();
        assert!(pushed < 10, "empty messages have a bound too, not {pushed}");
    }

    #[test]
    fn messages_of_many_threads_each_arrive_once_and_in_their_threads_order() {
        let (outbox, mut opening) = outbox(1 << 30);
        let pipe = pipe(usize::MAX);
        std::thread::scope(|scope| {
            for thread in 0..4u32 {
                let (outbox, pipe) = (&outbox, &pipe);
                scope.spawn(move || {
                    for i in 0..1000u32 {
                        let message = [thread.to_be_bytes(), i.to_be_bytes()].concat();
                        assert!(outbox.push(message.into()));
                        assert_eq!(outbox.send(pipe), Progress::Done);
                    }
                });
            }
        });
        let mut next = [0u32; 4];
        for message in received(&mut opening, &pipe) {
            let (thread, i) = message.split_at(4);
            let thread = usize::from(thread[3]);
            assert_eq!(i, next[thread].to_be_bytes());
            next[thread] += 1;
        }
        assert_eq!(next, [1000; 4]);
    }
}
