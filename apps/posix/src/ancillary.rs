//! Ancillary data of `recvmsg` and `sendto` with an address.

use crate::descriptor::Descriptor;
use crate::errno::Result;
use crate::sockets::Sockets;

/// `SCM_INQ`: the bytes that can still be read.
const TCP_CM_INQ: i32 = 36;
/// Length, level and kind in front of the value (`struct cmsghdr` on 64 bits).
const HEADER_BYTES: usize = 16;

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
        let length = HEADER_BYTES + 4;
        let aligned = length.next_multiple_of(8);
        let Some(room) = control.get_mut(..aligned) else {
            return Ok(0);
        };
        room.fill(0);
        room[..8].copy_from_slice(&length.to_ne_bytes());
        room[8..12].copy_from_slice(&libc::SOL_TCP.to_ne_bytes());
        room[12..16].copy_from_slice(&TCP_CM_INQ.to_ne_bytes());
        room[16..20].copy_from_slice(&queued.to_ne_bytes());
        Ok(aligned)
    }

    /// As [`Sockets::send`], to a named peer: a connection has one already, so that only Fast Open
    /// (`MSG_FASTOPEN`), which is not there yet, would use the name.
    ///
    /// # Errors
    /// As [`Sockets::send`].
    pub fn send_to(
        &self,
        descriptor: Descriptor,
        parts: &[&[u8]],
        flags: i32,
        _name: &[u8],
    ) -> Result<usize> {
        self.send(descriptor, parts, flags)
    }
}
