//! The two halves of a queue of a TAP or TUN device: a `writev` per frame gathers vnet header, headers and
//! payload; a `read` per frame writes behind the previous frame in a block (see `block.rs`).

use std::collections::VecDeque;
use std::fs::File;
use std::io::{self, ErrorKind, Write};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::sync::Arc;

use bytes::{Buf, Bytes};

use super::steering::Steering;
use crate::block::Blocks;
use crate::counters::DeviceCounters;
use crate::device::{Queue, Receive, Transmit};
use crate::frame::{RxFrame, TxFrame};
use crate::gather::{gather, limit_slices};
use crate::vnet::{self, VNET_HEADER_BYTES};

/// The halves of one queue.
pub(super) fn queue(port: Port) -> Queue {
    Queue {
        receive: Box::new(Reader {
            port: port.clone(),
            blocks: Blocks::new(),
        }),
        transmit: Box::new(Writer { port }),
    }
}

/// One queue of an interface.
#[derive(Clone)]
pub(super) struct Port {
    pub(super) file: Arc<File>,
    pub(super) name: Arc<str>,
    /// A vnet header stands in front of each frame.
    pub(super) vnet: bool,
    pub(super) counters: Arc<DeviceCounters>,
    pub(super) steering: Option<Arc<Steering>>,
}

impl Port {
    fn received(&self, frames: usize, bytes: usize) {
        self.counters.received(frames, bytes);
        if let Some(steering) = &self.steering {
            steering.note(0, bytes);
        }
    }

    fn transmitted(&self, frames: usize, bytes: usize) {
        self.counters.transmitted(frames, bytes);
        if let Some(steering) = &self.steering {
            steering.note(bytes, 0);
        }
    }
}

struct Reader {
    port: Port,
    blocks: Blocks,
}

impl Reader {
    /// The next frame with whatever stands in front of it; `None` when there is none.
    fn read(&mut self) -> io::Result<Option<Bytes>> {
        let room = self.blocks.room();
        // SAFETY: the kernel writes at most `room.len()` bytes to memory that is ours.
        let n = unsafe {
            libc::read(
                self.port.file.as_raw_fd(),
                room.as_mut_ptr().cast(),
                room.len(),
            )
        };
        let Ok(n) = usize::try_from(n) else {
            let error = io::Error::last_os_error();
            return if error.kind() == ErrorKind::WouldBlock {
                Ok(None)
            } else {
                Err(error)
            };
        };
        // SAFETY: the kernel wrote the first `n` bytes of the room.
        Ok(Some(unsafe { self.blocks.take(n) }))
    }

    fn decode(&self, mut bytes: Bytes) -> Option<RxFrame> {
        if !self.port.vnet {
            return Some(RxFrame {
                data: bytes,
                ..RxFrame::default()
            });
        }
        let header = *bytes.first_chunk::<VNET_HEADER_BYTES>()?;
        bytes.advance(VNET_HEADER_BYTES);
        vnet::receive(&header, bytes, None)
    }
}

impl Receive for Reader {
    fn receive(&mut self, into: &mut Vec<RxFrame>, limit: usize) -> io::Result<usize> {
        let (mut frames, mut bytes) = (0, 0);
        let result = loop {
            if frames == limit {
                break Ok(());
            }
            match self.read() {
                Ok(None) => break Ok(()),
                Ok(Some(read)) => match self.decode(read) {
                    Some(frame) => {
                        frames += 1;
                        bytes += frame.data.len();
                        into.push(frame);
                    }
                    None => self.port.counters.malformed(&self.port.name, "vnet header"),
                },
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                // The kernel had a frame that it could not describe in a vnet header, and dropped it.
                Err(error) if error.raw_os_error() == Some(libc::EINVAL) => {
                    self.port
                        .counters
                        .malformed(&self.port.name, "no vnet header for it");
                }
                Err(error) => break Err(error),
            }
        };
        self.port.received(frames, bytes);
        result.map(|()| frames)
    }

    fn wait_fd(&self) -> Option<BorrowedFd<'_>> {
        Some(self.port.file.as_fd())
    }
}

struct Writer {
    port: Port,
}

impl Writer {
    fn write(&self, frame: &mut TxFrame) -> io::Result<usize> {
        limit_slices(frame);
        let vnet = self.port.vnet.then(|| vnet::encode(frame));
        (&*self.port.file).write_vectored(&gather(vnet.as_ref(), frame))
    }
}

impl Transmit for Writer {
    fn transmit(&mut self, batch: &mut VecDeque<TxFrame>) -> io::Result<()> {
        let (mut frames, mut bytes) = (0, 0);
        let result = loop {
            let Some(frame) = batch.front_mut() else {
                break Ok(());
            };
            match self.write(frame) {
                Ok(_) => {
                    frames += 1;
                    bytes += frame.len();
                }
                Err(error) => match classify(&error) {
                    Refusal::Retry => continue,
                    Refusal::Full => break Ok(()),
                    Refusal::Gone => break Err(error),
                    Refusal::Frame => {
                        self.port
                            .counters
                            .refused(&self.port.name, frame.len(), &error);
                    }
                },
            }
            batch.pop_front();
        };
        self.port.transmitted(frames, bytes);
        result
    }

    fn wait_fd(&self) -> Option<BorrowedFd<'_>> {
        Some(self.port.file.as_fd())
    }
}

/// What a failed write means.
pub(crate) enum Refusal {
    /// Interrupted: again.
    Retry,
    /// No room now.
    Full,
    /// The device no longer exists.
    Gone,
    /// This frame, and only this one: too long, a payload page that is gone, a down interface.
    Frame,
}

pub(crate) fn classify(error: &io::Error) -> Refusal {
    match error.raw_os_error() {
        Some(libc::EINTR) => Refusal::Retry,
        Some(libc::EAGAIN) => Refusal::Full,
        Some(libc::EBADFD | libc::EBADF | libc::ENODEV | libc::ENXIO) => Refusal::Gone,
        _ => Refusal::Frame,
    }
}
