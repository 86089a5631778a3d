//! Frames out: one `sendmmsg` for a batch, each frame gathered from its slices.

use std::collections::VecDeque;
use std::io;
use std::os::fd::BorrowedFd;
use std::sync::Arc;

use smallvec::SmallVec;

use super::socket::PacketSocket;
use crate::counters::DeviceCounters;
use crate::device::Transmit;
use crate::frame::TxFrame;
use crate::gather::{gather, limit_slices};
use crate::tuntap::{Refusal, classify};
use crate::vnet::{self, VNET_HEADER_BYTES};

/// Frames per call: enough to make the call's own cost small, few enough for the stack.
const BATCH: usize = 32;

pub(super) struct PacketTransmit {
    socket: Arc<PacketSocket>,
    counters: Arc<DeviceCounters>,
}

impl PacketTransmit {
    pub(super) const fn new(socket: Arc<PacketSocket>, counters: Arc<DeviceCounters>) -> Self {
        Self { socket, counters }
    }

    /// Sends frames from the front; returns how many the kernel took.
    fn send(&self, batch: &VecDeque<TxFrame>) -> io::Result<usize> {
        let mut headers = [[0; VNET_HEADER_BYTES]; BATCH];
        for (header, frame) in headers.iter_mut().zip(batch) {
            *header = vnet::encode(frame);
        }
        let mut slices: SmallVec<[libc::iovec; BATCH * 4]> = SmallVec::new();
        let mut ends: SmallVec<[usize; BATCH]> = SmallVec::new();
        for (header, frame) in headers.iter().zip(batch) {
            slices.extend(gather(Some(header), frame).iter().map(|slice| libc::iovec {
                iov_base: slice.as_ptr().cast_mut().cast(),
                iov_len: slice.len(),
            }));
            ends.push(slices.len());
        }
        let mut begin = 0;
        let mut messages: SmallVec<[libc::mmsghdr; BATCH]> = SmallVec::new();
        for end in ends {
            // SAFETY: all-zero is a valid `mmsghdr`: null pointers with zero lengths.
            let mut message: libc::mmsghdr = unsafe { std::mem::zeroed() };
            message.msg_hdr.msg_iov = &raw mut slices[begin];
            message.msg_hdr.msg_iovlen = (end - begin) as _;
            messages.push(message);
            begin = end;
        }
        let count = messages.len() as libc::c_uint;
        // SAFETY: the messages point to slices of headers and frames that outlive the call, and the
        // kernel only reads them.
        let sent = unsafe { libc::sendmmsg(self.socket.raw(), messages.as_mut_ptr(), count, 0) };
        usize::try_from(sent).map_err(|_| io::Error::last_os_error())
    }
}

impl Transmit for PacketTransmit {
    fn transmit(&mut self, batch: &mut VecDeque<TxFrame>) -> io::Result<()> {
        let (mut frames, mut bytes) = (0, 0);
        let result = loop {
            if batch.is_empty() {
                break Ok(());
            }
            batch.iter_mut().take(BATCH).for_each(limit_slices);
            match self.send(batch) {
                Ok(sent) => {
                    frames += sent;
                    bytes += batch.drain(..sent).map(|frame| frame.len()).sum::<usize>();
                }
                Err(error) => match classify(&error) {
                    Refusal::Retry => {}
                    Refusal::Full => break Ok(()),
                    Refusal::Gone => break Err(error),
                    Refusal::Frame => {
                        let len = batch.pop_front().map_or(0, |frame| frame.len());
                        self.counters.refused(&self.socket.name, len, &error);
                    }
                },
            }
        };
        self.counters.transmitted(frames, bytes);
        result
    }

    fn wait_fd(&self) -> Option<BorrowedFd<'_>> {
        Some(self.socket.as_fd())
    }
}
