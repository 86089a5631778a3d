//! Ancillary data of `recvmsg`: `struct cmsghdr` and what follows it, as it lies in the caller's memory on 64 bits.

use crate::descriptor::Descriptor;
use crate::errno::Result;
use crate::sockets::Sockets;

/// `SCM_INQ`: the bytes that can still be read.
const TCP_CM_INQ: i32 = 36;
/// Length, level and kind in front of the value.
const HEADER_BYTES: usize = 16;

/// The caller's room for it.
pub(crate) struct Control<'a> {
    room: &'a mut [u8],
    filled: usize,
    cut: bool,
}

impl<'a> Control<'a> {
    pub(crate) const fn new(room: &'a mut [u8]) -> Self {
        Self {
            room,
            filled: 0,
            cut: false,
        }
    }

    /// Adds a value of that level and kind, if it fits.
    pub(crate) fn put(&mut self, (level, kind): (i32, i32), value: &[u8]) {
        let length = HEADER_BYTES + value.len();
        let aligned = length.next_multiple_of(8);
        let Some(place) = self.room.get_mut(self.filled..self.filled + aligned) else {
            self.cut = true;
            return;
        };
        place.fill(0);
        place[..8].copy_from_slice(&length.to_ne_bytes());
        place[8..12].copy_from_slice(&level.to_ne_bytes());
        place[12..HEADER_BYTES].copy_from_slice(&kind.to_ne_bytes());
        place[HEADER_BYTES..length].copy_from_slice(value);
        self.filled += aligned;
    }

    /// How many bytes are filled.
    pub(crate) const fn filled(&self) -> usize {
        self.filled
    }

    /// Something did not fit.
    pub(crate) const fn is_cut(&self) -> bool {
        self.cut
    }
}

impl Sockets {
    /// Fills in what was asked for to be told with received bytes; returns how many bytes that takes.
    ///
    /// # Errors
    /// `EBADF`, `ENOTSOCK`.
    pub(crate) fn ancillary(&self, descriptor: Descriptor, control: &mut [u8]) -> Result<usize> {
        let socket = self.find(descriptor)?;
        let inner = socket.inner.lock();
        let Some(connection) = inner.connection().filter(|_| inner.choices.tell_queued) else {
            return Ok(0);
        };
        let readiness = connection.tcb.lock().readiness();
        // As Linux: one more when the end of the stream is next.
        let queued = match readiness.readable_bytes {
            0 if readiness.read_closed => 1,
            bytes => i32::try_from(bytes).unwrap_or(i32::MAX),
        };
        let mut control = Control::new(control);
        control.put((libc::SOL_TCP, TCP_CM_INQ), &queued.to_ne_bytes());
        Ok(control.filled())
    }
}
