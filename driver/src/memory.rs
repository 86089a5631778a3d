//! A device in memory: what it transmits goes to a queue, what it receives comes from one, and a
//! [`Port`] holds the other ends. Joins stacks in virtual time, or feeds one by hand.

use std::collections::VecDeque;
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::Arc;

use bytes::Bytes;
use nix::sys::eventfd::{EfdFlags, EventFd};
use parking_lot::Mutex;

use crate::complete::complete;
use crate::counters::DeviceCounters;
use crate::device::{Capabilities, Interface, Queue, Receive, Transmit};
use crate::frame::{Checksum, RxChecksum, RxFrame, TxFrame};

/// Frames that a device accepts before it is full.
pub const DEFAULT_LIMIT: usize = 4096;

/// How to make a device in memory.
#[derive(Clone, Debug)]
pub struct Options {
    /// What the stack is told.
    pub capabilities: Capabilities,
    /// Frames that wait in each direction at most: a transmitter then sees a full device, a deliverer a
    /// refusal.
    pub limit: usize,
    /// Make descriptors, so that threads can wait for it. A stepped stack needs none.
    pub waitable: bool,
}

impl Options {
    /// A stepped device with these capabilities.
    #[must_use]
    pub const fn new(capabilities: Capabilities) -> Self {
        Self {
            capabilities,
            limit: DEFAULT_LIMIT,
            waitable: false,
        }
    }

    /// Makes the device, and the port where its frames come out.
    ///
    /// # Errors
    /// When it is to be waitable and the process has no descriptor left.
    pub fn open(&self) -> io::Result<(Interface, Port)> {
        let (out, back) = (Lane::new(self)?, Lane::new(self)?);
        let counters = Arc::new(DeviceCounters::default());
        let queue = Queue {
            receive: Box::new(MemoryReceive {
                lane: Arc::clone(&back),
                counters: Arc::clone(&counters),
            }),
            transmit: Box::new(MemoryTransmit {
                lane: Arc::clone(&out),
                counters: Arc::clone(&counters),
            }),
        };
        let interface = Interface {
            name: "memory".into(),
            capabilities: self.capabilities.clone(),
            queues: vec![queue],
            counters,
        };
        Ok((
            interface,
            Port {
                from_device: out,
                to_device: back,
            },
        ))
    }
}

/// Two waitable devices joined back to back: what one transmits the other receives, unfinished checksums
/// and merged segments included, as over veth.
///
/// # Errors
/// When the process has no descriptor left.
pub fn pair(a: &Capabilities, b: &Capabilities) -> io::Result<(Interface, Interface)> {
    let options = |capabilities: &Capabilities| Options {
        waitable: true,
        ..Options::new(capabilities.clone())
    };
    let (options_a, options_b) = (options(a), options(b));
    let (ab, ba) = (Lane::new(&options_a)?, Lane::new(&options_b)?);
    let end = |options: Options, out: &Arc<Lane<RxFrame>>, back: &Arc<Lane<RxFrame>>| {
        let counters = Arc::new(DeviceCounters::default());
        let queue = Queue {
            receive: Box::new(MemoryReceive {
                lane: Arc::clone(back),
                counters: Arc::clone(&counters),
            }),
            transmit: Box::new(MemoryTransmit {
                lane: Arc::clone(out),
                counters: Arc::clone(&counters),
            }),
        };
        Interface {
            name: "memory".into(),
            capabilities: options.capabilities,
            queues: vec![queue],
            counters,
        }
    };
    Ok((end(options_a, &ab, &ba), end(options_b, &ba, &ab)))
}

/// The world's side of a device in memory.
pub struct Port {
    from_device: Arc<Lane<TxFrame>>,
    to_device: Arc<Lane<RxFrame>>,
}

impl Port {
    /// The next frame that the device transmitted.
    #[must_use]
    pub fn take(&self) -> Option<TxFrame> {
        self.from_device.pop()
    }

    /// Hands the device a frame to receive; gives it back if too many wait already.
    ///
    /// # Errors
    /// The frame, when the device's queue is full.
    pub fn deliver(&self, frame: RxFrame) -> Result<(), RxFrame> {
        self.to_device.push(frame)
    }
}

/// The frame as whoever is at the other end of a cable without hardware receives it: in one piece, with
/// the checksum and the segments left as unfinished as they were.
#[must_use]
pub fn received(frame: &TxFrame) -> RxFrame {
    RxFrame {
        data: Bytes::from(frame.to_vec()),
        checksum: match frame.checksum {
            Checksum::Complete => RxChecksum::Unknown,
            Checksum::Partial(partial) => RxChecksum::Partial(partial),
        },
        segmentation: frame.segmentation,
        vlan_tci: None,
    }
}

/// The bytes of a frame with its checksum complete; one that was to be cut stays whole.
#[must_use]
pub fn completed(frame: &TxFrame) -> Vec<u8> {
    let mut bytes = frame.to_vec();
    if let Checksum::Partial(partial) = frame.checksum {
        complete(&mut bytes, partial);
    }
    bytes
}

/// One direction.
struct Lane<T> {
    frames: Mutex<VecDeque<T>>,
    limit: usize,
    /// Readable while there are frames; the other one writable while there is room.
    filled: Option<EventFd>,
    drained: Option<EventFd>,
}

impl<T> Lane<T> {
    fn new(options: &Options) -> io::Result<Arc<Self>> {
        let event = |value| -> io::Result<Option<EventFd>> {
            let flags = EfdFlags::EFD_NONBLOCK | EfdFlags::EFD_CLOEXEC;
            let make = || EventFd::from_value_and_flags(value, flags);
            Ok(options.waitable.then(make).transpose()?)
        };
        Ok(Arc::new(Self {
            frames: Mutex::default(),
            limit: options.limit,
            filled: event(0)?,
            drained: event(0)?,
        }))
    }

    fn has_room(&self) -> bool {
        let frames = self.frames.lock();
        let room = frames.len() < self.limit;
        if !room {
            fill(self.drained.as_ref());
        }
        room
    }

    fn push(&self, frame: T) -> Result<(), T> {
        let mut frames = self.frames.lock();
        if frames.len() >= self.limit {
            return Err(frame);
        }
        frames.push_back(frame);
        raise(self.filled.as_ref());
        Ok(())
    }

    fn pop(&self) -> Option<T> {
        let mut frames = self.frames.lock();
        let frame = frames.pop_front();
        if frames.is_empty() {
            lower(self.filled.as_ref());
        }
        if frames.len() < self.limit {
            lower(self.drained.as_ref());
        }
        frame
    }
}

/// Makes the descriptor readable.
fn raise(event: Option<&EventFd>) {
    if let Some(event) = event {
        // Fails only when it is raised 2^64 times over: it is readable then as well.
        let _ = event.write(1);
    }
}

/// Makes the descriptor unreadable, and writable.
fn lower(event: Option<&EventFd>) {
    if let Some(event) = event {
        // Fails when it was not raised: then it is what it should be.
        let _ = event.read();
    }
}

/// Makes the descriptor unwritable: an eventfd is writable unless its counter is at the maximum.
fn fill(event: Option<&EventFd>) {
    if let Some(event) = event {
        // Fails when it is full already.
        let _ = event.write(u64::MAX - 1);
    }
}

struct MemoryReceive {
    lane: Arc<Lane<RxFrame>>,
    counters: Arc<DeviceCounters>,
}

impl Receive for MemoryReceive {
    fn receive(&mut self, into: &mut Vec<RxFrame>, limit: usize) -> io::Result<usize> {
        let before = into.len();
        into.extend(std::iter::from_fn(|| self.lane.pop()).take(limit));
        let bytes = into[before..].iter().map(|frame| frame.data.len()).sum();
        self.counters.received(into.len() - before, bytes);
        Ok(into.len() - before)
    }

    fn wait_fd(&self) -> Option<BorrowedFd<'_>> {
        self.lane.filled.as_ref().map(AsFd::as_fd)
    }
}

struct MemoryTransmit<T> {
    lane: Arc<Lane<T>>,
    counters: Arc<DeviceCounters>,
}

/// How a transmitted frame travels: as it is to a port, in one piece to another device.
trait Carried: Send + Sized {
    fn carry(frame: TxFrame) -> Self;
}

impl Carried for TxFrame {
    fn carry(frame: TxFrame) -> Self {
        frame
    }
}

impl Carried for RxFrame {
    fn carry(frame: TxFrame) -> Self {
        received(&frame)
    }
}

impl<T: Carried> Transmit for MemoryTransmit<T> {
    fn transmit(&mut self, batch: &mut VecDeque<TxFrame>) -> io::Result<()> {
        let (mut frames, mut bytes) = (0, 0);
        while self.lane.has_room()
            && let Some(frame) = batch.pop_front()
        {
            frames += 1;
            bytes += frame.len();
            // There is room, and this half is the only one that fills it.
            let _ = self.lane.push(T::carry(frame));
        }
        self.counters.transmitted(frames, bytes);
        Ok(())
    }

    fn wait_fd(&self) -> Option<BorrowedFd<'_>> {
        self.lane.drained.as_ref().map(AsFd::as_fd)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

    const MAC: [u8; 6] = [2, 0, 0, 0, 0, 1];

    fn frame(payload: &'static [u8]) -> TxFrame {
        let mut frame = TxFrame::default();
        frame.payload.push(Bytes::from_static(payload));
        frame
    }

    fn ready(fd: BorrowedFd<'_>, flags: PollFlags) -> bool {
        poll(&mut [PollFd::new(fd, flags)], PollTimeout::ZERO).unwrap() == 1
    }

    #[test]
    fn a_full_device_takes_no_more_and_keeps_the_order() {
        let mut options = Options::new(Capabilities::plain_ethernet(MAC, 1500));
        options.limit = 2;
        let (mut interface, port) = options.open().unwrap();
        let transmit = &mut interface.queues[0].transmit;
        let mut batch = VecDeque::from([frame(b"a"), frame(b"b"), frame(b"c")]);
        transmit.transmit(&mut batch).unwrap();
        assert_eq!(batch.len(), 1);
        assert_eq!(port.take().unwrap().to_vec(), b"a");
        transmit.transmit(&mut batch).unwrap();
        assert!(batch.is_empty());
        assert_eq!(port.take().unwrap().to_vec(), b"b");
        assert_eq!(port.take().unwrap().to_vec(), b"c");
        assert!(port.take().is_none());
        assert_eq!(interface.counters.totals().tx_frames, 3);
    }

    #[test]
    fn delivered_frames_are_received_up_to_the_limit() {
        let (mut interface, port) = Options::new(Capabilities::plain_ethernet(MAC, 1500))
            .open()
            .unwrap();
        for _ in 0..3 {
            port.deliver(received(&frame(b"x"))).unwrap();
        }
        let mut into = Vec::new();
        assert_eq!(
            interface.queues[0].receive.receive(&mut into, 2).unwrap(),
            2
        );
        assert_eq!(
            interface.queues[0].receive.receive(&mut into, 2).unwrap(),
            1
        );
        assert_eq!(into.len(), 3);
    }

    #[test]
    fn descriptors_tell_when_to_try_again() {
        let capabilities = Capabilities::plain_ethernet(MAC, 1500);
        let (mut a, mut b) = pair(&capabilities, &capabilities).unwrap();
        let (a, b) = (&mut a.queues[0], &mut b.queues[0]);
        assert!(!ready(b.receive.wait_fd().unwrap(), PollFlags::POLLIN));
        let mut batch: VecDeque<_> = (0..=DEFAULT_LIMIT).map(|_| frame(b"x")).collect();
        a.transmit.transmit(&mut batch).unwrap();
        assert_eq!(batch.len(), 1);
        assert!(ready(b.receive.wait_fd().unwrap(), PollFlags::POLLIN));
        assert!(!ready(a.transmit.wait_fd().unwrap(), PollFlags::POLLOUT));
        let mut into = Vec::new();
        b.receive.receive(&mut into, 1).unwrap();
        assert!(ready(a.transmit.wait_fd().unwrap(), PollFlags::POLLOUT));
        b.receive.receive(&mut into, usize::MAX).unwrap();
        assert!(!ready(b.receive.wait_fd().unwrap(), PollFlags::POLLIN));
        assert_eq!(into.len(), DEFAULT_LIMIT);
    }
}
