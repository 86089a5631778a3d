//! `pipe` and `splice`: bytes that wait in this process, so that they can go from one socket to another.

use std::collections::VecDeque;
use std::sync::Arc;
use std::task::Poll;

use parking_lot::Mutex;

use crate::descriptor::{Descriptor, Object};
use crate::errno::{Errno, Result};
use crate::sockets::Sockets;

/// What a pipe holds, as on Linux.
const CAPACITY_BYTES: usize = 65_536;

#[derive(Default)]
struct Shared {
    bytes: VecDeque<u8>,
    reader_gone: bool,
    writer_gone: bool,
}

/// One end of a pipe.
pub(crate) struct PipeEnd {
    shared: Arc<Mutex<Shared>>,
    reads: bool,
    nonblocking: Mutex<bool>,
}

impl PipeEnd {
    fn pair() -> (Arc<Self>, Arc<Self>) {
        let shared = Arc::new(Mutex::new(Shared::default()));
        let end = |reads| {
            Arc::new(Self {
                shared: Arc::clone(&shared),
                reads,
                nonblocking: Mutex::new(false),
            })
        };
        (end(true), end(false))
    }

    pub(crate) fn is_nonblocking(&self) -> bool {
        *self.nonblocking.lock()
    }

    pub(crate) fn set_nonblocking(&self, on: bool) {
        *self.nonblocking.lock() = on;
    }

    pub(crate) fn close(&self) {
        let mut shared = self.shared.lock();
        if self.reads {
            shared.reader_gone = true;
        } else {
            shared.writer_gone = true;
        }
    }

    /// Bytes that can be read.
    pub(crate) fn len(&self) -> usize {
        self.shared.lock().bytes.len()
    }

    /// What `poll` says of it.
    pub(crate) fn events(&self) -> u32 {
        let shared = self.shared.lock();
        let mut events = 0;
        if self.reads {
            if !shared.bytes.is_empty() {
                events |= libc::EPOLLIN | libc::EPOLLRDNORM;
            }
            if shared.writer_gone {
                events |= libc::EPOLLHUP;
            }
        } else {
            if shared.bytes.len() < CAPACITY_BYTES {
                events |= libc::EPOLLOUT | libc::EPOLLWRNORM;
            }
            if shared.reader_gone {
                events |= libc::EPOLLERR;
            }
        }
        events as u32
    }

    pub(crate) fn read(&self, parts: &mut [&mut [u8]]) -> Poll<Result<usize>> {
        if !self.reads {
            return Poll::Ready(Err(Errno(libc::EBADF)));
        }
        let mut shared = self.shared.lock();
        if shared.bytes.is_empty() {
            return if shared.writer_gone {
                Poll::Ready(Ok(0))
            } else {
                Poll::Pending
            };
        }
        let mut done = 0;
        for part in parts {
            let taken = part.len().min(shared.bytes.len());
            for (slot, byte) in part.iter_mut().zip(shared.bytes.drain(..taken)) {
                *slot = byte;
            }
            done += taken;
        }
        Poll::Ready(Ok(done))
    }

    pub(crate) fn write(&self, parts: &[&[u8]]) -> Poll<Result<usize>> {
        if self.reads {
            return Poll::Ready(Err(Errno(libc::EBADF)));
        }
        let mut shared = self.shared.lock();
        if shared.reader_gone {
            return Poll::Ready(Err(Errno(libc::EPIPE)));
        }
        let room = CAPACITY_BYTES - shared.bytes.len();
        if room == 0 {
            return Poll::Pending;
        }
        let bytes = parts.iter().copied().flatten().copied().take(room);
        let before = shared.bytes.len();
        shared.bytes.extend(bytes);
        Poll::Ready(Ok(shared.bytes.len() - before))
    }
}

impl Sockets {
    /// `pipe(2)`: the end to read from, and the end to write to.
    ///
    /// # Errors
    /// `EMFILE`.
    pub fn pipe(&self) -> Result<[Descriptor; 2]> {
        let (reader, writer) = PipeEnd::pair();
        let reader = self.insert(Object::Pipe(reader))?;
        let writer = self.insert(Object::Pipe(writer)).inspect_err(|_| {
            let _ = self.remove(reader);
        })?;
        Ok([reader, writer])
    }

    /// `splice(2)` between a socket and a pipe: up to `length` bytes; 0 at the end.
    ///
    /// # Errors
    /// `EBADF`, `EINVAL` when neither is a pipe, and those of reading and writing.
    pub fn splice(
        &self,
        from: Descriptor,
        to: Descriptor,
        length: usize,
        flags: u32,
    ) -> Result<usize> {
        let nonblocking = flags & libc::SPLICE_F_NONBLOCK != 0;
        let dontwait = if nonblocking { libc::MSG_DONTWAIT } else { 0 };
        match (self.object(from)?, self.object(to)?) {
            (Object::Socket(_), Object::Pipe(end)) => {
                let room = CAPACITY_BYTES - end.len().min(CAPACITY_BYTES);
                if room == 0 {
                    return Err(Errno(libc::EAGAIN));
                }
                let mut buffer = vec![0; length.min(room)];
                let taken = self.recv(from, &mut [&mut buffer], dontwait)?;
                self.write(to, &[&buffer[..taken]])
            }
            (Object::Pipe(end), Object::Socket(_)) => {
                let mut buffer = vec![0; length.min(end.len())];
                if buffer.is_empty() {
                    let nothing = end.read(&mut []);
                    return match nothing {
                        Poll::Ready(result) => result,
                        Poll::Pending => Err(Errno(libc::EAGAIN)),
                    };
                }
                let taken = self.read(from, &mut [&mut buffer])?;
                let more = if flags & libc::SPLICE_F_MORE != 0 {
                    libc::MSG_MORE
                } else {
                    0
                };
                self.send(to, &[&buffer[..taken]], dontwait | more)
            }
            _ => Err(Errno(libc::EINVAL)),
        }
    }
}
