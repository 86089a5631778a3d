//! The error queue of a socket (`MSG_ERRQUEUE`): notices that are no errors.
//!
//! `MSG_ZEROCOPY` tells when the memory of a write may be used again. Ours is copied while it is written, so that this is at once,
//! and the notice says so (`SO_EE_CODE_ZEROCOPY_COPIED`). `SO_TIMESTAMPING` tells when the last byte of a write left and when it was
//! acknowledged; the segment itself, which Linux gives back unless `SOF_TIMESTAMPING_OPT_TSONLY` is set, counts as cut off. Left out: times of
//! what is received, and of hardware.

use std::collections::VecDeque;

use outlive::tcp::landmarks::{Passage, Passed};
use outlive::time::Instant;

use crate::address::Family;
use crate::ancillary::Control;
use crate::descriptor::Descriptor;
use crate::errno::{Errno, Result};
use crate::socket::Inner;
use crate::sockets::Sockets;

/// Notices kept; what comes beyond that is lost, as where a receive buffer is full.
const MOST_NOTICES: usize = 1024;

/// Bits of `SO_TIMESTAMPING` (include/uapi/linux/net_tstamp.h).
const TX_SOFTWARE: u32 = 1 << 1;
const SOFTWARE: u32 = 1 << 4;
pub(crate) const OPT_ID: u32 = 1 << 7;
const TX_SCHED: u32 = 1 << 8;
const TX_ACK: u32 = 1 << 9;
const OPT_TSONLY: u32 = 1 << 11;

/// `SCM_TSTAMP_...`: what a time is of.
const SENT: u32 = 0;
const SCHEDULED: u32 = 1;
const ACKNOWLEDGED: u32 = 2;

/// `SO_EE_ORIGIN_...` and `SO_EE_CODE_ZEROCOPY_COPIED` (include/uapi/linux/errqueue.h).
const ORIGIN_TIMESTAMPING: u8 = 4;
const ORIGIN_ZERO_COPY: u8 = 5;
const COPIED: u8 = 1;

const SCM_TIMESTAMPING: i32 = 37;

/// Notices that wait to be read.
#[derive(Debug, Default)]
pub(crate) struct ErrorQueue {
    notices: VecDeque<Notice>,
    /// Number of the next zero-copy write.
    zero_copies: u32,
    /// Notices that there ever were.
    count: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Notice {
    /// The memory of these zero-copy writes may be used again.
    Copied { first: u32, last: u32 },
    /// When something became of the byte with this number.
    Time { at: Instant, what: u32, byte: u32 },
}

/// Which times are told of a socket.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Timestamping {
    pub(crate) flags: u32,
    /// Bytes are numbered from here on.
    pub(crate) base: u64,
}

impl Timestamping {
    /// True if the end of a write has to be watched.
    pub(crate) const fn watches(self) -> bool {
        self.flags & SOFTWARE != 0 && self.flags & (TX_SOFTWARE | TX_SCHED | TX_ACK) != 0
    }
}

impl ErrorQueue {
    pub(crate) fn is_empty(&self) -> bool {
        self.notices.is_empty()
    }

    pub(crate) const fn count(&self) -> u64 {
        self.count
    }

    fn push(&mut self, notice: Notice) {
        if self.notices.len() < MOST_NOTICES {
            self.notices.push_back(notice);
            self.count += 1;
        }
    }

    /// A zero-copy write is done with; what follows the last notice joins it.
    pub(crate) fn add_copied(&mut self) {
        let number = self.zero_copies;
        self.zero_copies = number.wrapping_add(1);
        if let Some(Notice::Copied { last, .. }) = self.notices.back_mut() {
            *last = number;
            self.count += 1;
        } else {
            self.push(Notice::Copied {
                first: number,
                last: number,
            });
        }
    }

    fn add_times(&mut self, stamps: Timestamping, passed: Passed) {
        let kinds: &[(u32, u32)] = match passed.passage {
            Passage::Sent => &[(TX_SCHED, SCHEDULED), (TX_SOFTWARE, SENT)],
            Passage::Acknowledged => &[(TX_ACK, ACKNOWLEDGED)],
        };
        let byte = if stamps.flags & OPT_ID == 0 {
            0
        } else {
            (passed.bytes - 1).wrapping_sub(stamps.base) as u32
        };
        for &(bit, what) in kinds {
            if stamps.flags & bit != 0 {
                let at = passed.at;
                self.push(Notice::Time { at, what, byte });
            }
        }
    }
}

impl Inner {
    /// Takes over what became of the ends of writes.
    pub(crate) fn collect_times(&mut self) {
        let Some(connection) = self.connection() else {
            return;
        };
        let passed = connection.tcb.lock().take_passages();
        let stamps = self.choices.timestamping;
        for passed in passed {
            self.errors.add_times(stamps, passed);
        }
    }
}

impl Sockets {
    /// `recvmsg(2)` with `MSG_ERRQUEUE`: puts the oldest notice into `control`; the flags for the caller, and how much was put.
    ///
    /// # Errors
    /// `EBADF`, `ENOTSOCK`, `EAGAIN` when there is none.
    pub(crate) fn take_notice(
        &self,
        descriptor: Descriptor,
        control: &mut [u8],
    ) -> Result<(i32, usize)> {
        let socket = self.find(descriptor)?;
        let (notice, family, timestamping) = self.at_once(|| {
            let mut inner = socket.inner.lock();
            inner.collect_times();
            let notice = inner.errors.notices.pop_front();
            (notice, inner.family, inner.choices.timestamping)
        });
        let mut control = Control::new(control);
        let mut flags = libc::MSG_ERRQUEUE;
        match notice.ok_or(Errno(libc::EAGAIN))? {
            Notice::Copied { first, last } => {
                let error = extended_error(family, (0, ORIGIN_ZERO_COPY, COPIED), first, last);
                control.put(received_error(family), &error);
            }
            Notice::Time { at, what, byte } => {
                // Of software, transformed and of hardware: seconds and nanoseconds each.
                let wall = self.driver.wall_clock(at);
                let mut times = [0_i64; 6];
                times[0] = wall.as_secs() as i64;
                times[1] = i64::from(wall.subsec_nanos());
                let times: Vec<u8> = times.iter().flat_map(|it| it.to_ne_bytes()).collect();
                control.put((libc::SOL_SOCKET, SCM_TIMESTAMPING), &times);
                let kind = (libc::ENOMSG as u32, ORIGIN_TIMESTAMPING, 0);
                let error = extended_error(family, kind, what, byte);
                control.put(received_error(family), &error);
                if timestamping.flags & OPT_TSONLY == 0 {
                    flags |= libc::MSG_TRUNC;
                }
            }
        }
        if control.is_cut() {
            flags |= libc::MSG_CTRUNC;
        }
        Ok((flags, control.filled()))
    }
}

/// Level and kind of what tells of errors.
const fn received_error(family: Family) -> (i32, i32) {
    match family {
        Family::V4 => (libc::SOL_IP, libc::IP_RECVERR),
        Family::V6 => (libc::SOL_IPV6, libc::IPV6_RECVERR),
    }
}

/// `struct sock_extended_err`, with room for the address of who was to blame: nobody.
fn extended_error(
    family: Family,
    (errno, origin, code): (u32, u8, u8),
    info: u32,
    data: u32,
) -> Vec<u8> {
    let mut bytes = errno.to_ne_bytes().to_vec();
    bytes.extend([origin, 0, code, 0]);
    bytes.extend(info.to_ne_bytes());
    bytes.extend(data.to_ne_bytes());
    let offender = match family {
        Family::V4 => size_of::<libc::sockaddr_in>(),
        Family::V6 => size_of::<libc::sockaddr_in6>(),
    };
    bytes.resize(bytes.len() + offender, 0);
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn zero_copy_writes_are_numbered_and_told_as_ranges() {
        let mut queue = ErrorQueue::default();
        queue.add_copied();
        queue.add_copied();
        assert_eq!(queue.notices, [Notice::Copied { first: 0, last: 1 }]);
        assert_eq!(queue.count(), 2);
        queue.notices.clear();
        queue.add_copied();
        assert_eq!(queue.notices, [Notice::Copied { first: 2, last: 2 }]);
    }

    #[test]
    fn times_are_told_of_what_was_asked_for_and_bounded() {
        let mut queue = ErrorQueue::default();
        let stamps = Timestamping {
            flags: SOFTWARE | OPT_ID | TX_SCHED | TX_ACK,
            base: 100,
        };
        assert!(stamps.watches());
        let at = Instant::from_millis(7);
        let passed = |passage| Passed {
            at,
            bytes: 2100,
            passage,
        };
        queue.add_times(stamps, passed(Passage::Sent));
        queue.add_times(stamps, passed(Passage::Acknowledged));
        let told = |what| Notice::Time {
            at,
            what,
            byte: 1999,
        };
        assert_eq!(queue.notices, [told(SCHEDULED), told(ACKNOWLEDGED)]);
        for _ in 0..2 * MOST_NOTICES {
            queue.add_times(stamps, passed(Passage::Sent));
        }
        assert_eq!(queue.notices.len(), MOST_NOTICES);
    }
}
