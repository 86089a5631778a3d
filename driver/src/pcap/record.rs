//! A layer over any device that records every frame that passes.
//!
//! Merged frames are recorded as they are; a checksum that was left to the device is completed in the
//! record, on a copy, so that a reader of the file does not see errors that are none. Sending happens
//! under the recorder's lock, so that an answer never stands before its question.

use std::collections::VecDeque;
use std::io;
use std::os::fd::BorrowedFd;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use parking_lot::Mutex;

use super::file::{Direction, FileWriter};
use crate::complete::complete;
use crate::device::{Interface, Queue, Receive, Transmit};
use crate::error::OpenError;
use crate::frame::{Checksum, RxChecksum, RxFrame, TxFrame};
use crate::segment::insert_tag;

/// Once an idle device has been quiet, what is buffered is handed to the file system this often.
const FLUSH_EVERY: Duration = Duration::from_millis(50);

/// Where to record, and how much.
#[derive(Clone, Debug)]
pub struct Options {
    /// The pcapng file to create.
    pub path: PathBuf,
    /// Bytes kept of each frame.
    pub snap_len: usize,
    /// Recording ends when the file has this many bytes.
    pub max_bytes: u64,
}

impl Options {
    /// Whole frames, 8 GiB of them at most.
    #[must_use]
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self {
            path: path.into(),
            snap_len: usize::MAX,
            max_bytes: 8 << 30,
        }
    }
}

/// The same device, recorded.
///
/// # Errors
/// When the file cannot be created.
pub fn record(interface: Interface, options: &Options) -> Result<Interface, OpenError> {
    let medium = interface.capabilities.medium;
    let file = FileWriter::create(&options.path, medium, &interface.name, options.snap_len)
        .map_err(|error| {
            OpenError::system(format!("capture file {}", options.path.display()), error)
        })?;
    let recorder = Arc::new(Mutex::new(Recorder {
        file: Some(file),
        max_bytes: options.max_bytes,
        flushed_at: now(),
        dirty: false,
    }));
    let wrap = |queue: Queue| Queue {
        receive: Box::new(RecordReceive {
            inner: queue.receive,
            recorder: Arc::clone(&recorder),
        }),
        transmit: Box::new(RecordTransmit {
            inner: queue.transmit,
            recorder: Arc::clone(&recorder),
            offered: Vec::new(),
        }),
    };
    let queues = interface.queues.into_iter().map(wrap).collect();
    Ok(Interface {
        queues,
        ..interface
    })
}

#[expect(
    clippy::disallowed_methods,
    reason = "a record tells when frames really passed"
)]
fn now() -> Duration {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default()
}

struct Recorder {
    /// None once recording has ended.
    file: Option<FileWriter>,
    max_bytes: u64,
    flushed_at: Duration,
    dirty: bool,
}

impl Recorder {
    /// A record that fails ends, with a warning; the device goes on.
    fn write(&mut self, at: Duration, direction: Direction, bytes: &[u8]) {
        let Some(file) = &mut self.file else {
            return;
        };
        self.dirty = true;
        let end = match file.write(at, direction, bytes) {
            Ok(()) if file.written_bytes() < self.max_bytes => return,
            Ok(()) => file.flush().err(),
            Err(error) => Some(error),
        };
        match end {
            None => tracing::warn!(
                bytes = self.max_bytes,
                "the capture has its largest size and ends"
            ),
            Some(error) => tracing::warn!(%error, "the capture ends"),
        }
        self.file = None;
    }

    fn received(&mut self, at: Duration, frame: &RxFrame) {
        match (frame.checksum, frame.vlan_tci) {
            (RxChecksum::Unknown | RxChecksum::Verified, None) => {
                self.write(at, Direction::In, &frame.data);
            }
            (checksum, tci) => {
                let mut copy = frame.data.to_vec();
                if let RxChecksum::Partial(partial) = checksum {
                    complete(&mut copy, partial);
                }
                if let Some(tci) = tci {
                    copy = insert_tag(&copy, tci);
                }
                self.write(at, Direction::In, &copy);
            }
        }
    }

    fn transmitted(&mut self, at: Duration, frame: &TxFrame) {
        let mut copy = frame.to_vec();
        if let Checksum::Partial(partial) = frame.checksum {
            complete(&mut copy, partial);
        }
        self.write(at, Direction::Out, &copy);
    }

    fn idle(&mut self) {
        if !self.dirty {
            return;
        }
        let now = now();
        if now.saturating_sub(self.flushed_at) >= FLUSH_EVERY {
            self.flushed_at = now;
            self.dirty = false;
            if let Some(Err(error)) = self.file.as_mut().map(FileWriter::flush) {
                tracing::warn!(%error, "the capture ends");
                self.file = None;
            }
        }
    }
}

struct RecordReceive {
    inner: Box<dyn Receive>,
    recorder: Arc<Mutex<Recorder>>,
}

impl Receive for RecordReceive {
    fn receive(&mut self, into: &mut Vec<RxFrame>, limit: usize) -> io::Result<usize> {
        let before = into.len();
        let result = self.inner.receive(into, limit);
        let mut recorder = self.recorder.lock();
        if into.len() == before {
            recorder.idle();
        } else {
            let at = now();
            for frame in &into[before..] {
                recorder.received(at, frame);
            }
        }
        result
    }

    fn wait_fd(&self) -> Option<BorrowedFd<'_>> {
        self.inner.wait_fd()
    }
}

struct RecordTransmit {
    inner: Box<dyn Transmit>,
    recorder: Arc<Mutex<Recorder>>,
    /// What the device was offered: references, since it takes the frames away.
    offered: Vec<TxFrame>,
}

impl Transmit for RecordTransmit {
    fn transmit(&mut self, batch: &mut VecDeque<TxFrame>) -> io::Result<()> {
        let mut recorder = self.recorder.lock();
        if recorder.file.is_none() {
            drop(recorder);
            return self.inner.transmit(batch);
        }
        self.offered.extend(batch.iter().cloned());
        let at = now();
        let result = self.inner.transmit(batch);
        let taken = self.offered.len() - batch.len();
        for frame in &self.offered[..taken] {
            recorder.transmitted(at, frame);
        }
        self.offered.clear();
        result
    }

    fn wait_fd(&self) -> Option<BorrowedFd<'_>> {
        self.inner.wait_fd()
    }
}

#[cfg(test)]
#[path = "record_tests.rs"]
mod tests;
