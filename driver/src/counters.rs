//! What a device counts about itself.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// Counters of one device, shared by its queues. Batches add to them, not frames, so that queues on
/// different processors do not fight for the cache line.
#[derive(Debug, Default)]
pub struct DeviceCounters {
    /// Frames handed up.
    pub rx_frames: AtomicU64,
    /// Bytes in them.
    pub rx_bytes: AtomicU64,
    /// Frames that the kernel handed over mutilated: shorter than their headers, cut off at the end.
    pub rx_malformed: AtomicU64,
    /// Frames that the kernel dropped because nobody fetched them in time, where it tells.
    pub rx_overflow: AtomicU64,
    /// Frames that the device took.
    pub tx_frames: AtomicU64,
    /// Bytes in them.
    pub tx_bytes: AtomicU64,
    /// Frames that the device refused for good: too long, or the interface is down.
    pub tx_refused: AtomicU64,
}

/// The counters of a device at one moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[expect(missing_docs, reason = "see DeviceCounters")]
pub struct DeviceTotals {
    pub rx_frames: u64,
    pub rx_bytes: u64,
    pub rx_malformed: u64,
    pub rx_overflow: u64,
    pub tx_frames: u64,
    pub tx_bytes: u64,
    pub tx_refused: u64,
}

impl DeviceCounters {
    /// The totals so far.
    #[must_use]
    pub fn totals(&self) -> DeviceTotals {
        DeviceTotals {
            rx_frames: self.rx_frames.load(Relaxed),
            rx_bytes: self.rx_bytes.load(Relaxed),
            rx_malformed: self.rx_malformed.load(Relaxed),
            rx_overflow: self.rx_overflow.load(Relaxed),
            tx_frames: self.tx_frames.load(Relaxed),
            tx_bytes: self.tx_bytes.load(Relaxed),
            tx_refused: self.tx_refused.load(Relaxed),
        }
    }

    pub(crate) fn received(&self, frames: usize, bytes: usize) {
        if frames > 0 {
            self.rx_frames.fetch_add(frames as u64, Relaxed);
            self.rx_bytes.fetch_add(bytes as u64, Relaxed);
        }
    }

    pub(crate) fn transmitted(&self, frames: usize, bytes: usize) {
        if frames > 0 {
            self.tx_frames.fetch_add(frames as u64, Relaxed);
            self.tx_bytes.fetch_add(bytes as u64, Relaxed);
        }
    }

    pub(crate) fn malformed(&self, device: &str, why: &str) {
        self.rx_malformed.fetch_add(1, Relaxed);
        tracing::debug!(device, why, "dropped a frame on receipt");
    }

    pub(crate) fn overflowed(&self, device: &str, frames: u64) {
        self.rx_overflow.fetch_add(frames, Relaxed);
        tracing::debug!(
            device,
            frames,
            "the kernel dropped frames before they were fetched"
        );
    }

    pub(crate) fn refused(&self, device: &str, bytes: usize, error: &std::io::Error) {
        self.tx_refused.fetch_add(1, Relaxed);
        tracing::debug!(device, bytes, %error, "the device refused a frame");
    }
}
