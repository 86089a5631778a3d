//! The socket of one queue, and its options.

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};

use super::filter::Instruction;
use crate::error::OpenError;
use crate::netdev::check;

/// A receive buffer that holds a hundred merged frames: what a reader may fall behind by.
const ENOUGH_BYTES: usize = 8 << 20;

pub(super) struct PacketSocket {
    fd: OwnedFd,
    pub(super) name: String,
    link: u32,
}

impl PacketSocket {
    /// A socket that receives nothing until it is bound.
    pub(super) fn open(name: &str, link: u32) -> Result<Self, OpenError> {
        let kind = libc::SOCK_RAW | libc::SOCK_CLOEXEC | libc::SOCK_NONBLOCK;
        // SAFETY: no memory is passed.
        let fd = unsafe { libc::socket(libc::AF_PACKET, kind, 0) };
        check(fd).map_err(|error| match error.raw_os_error() {
            Some(libc::EPERM | libc::EACCES) => OpenError::Permission {
                what: format!("raw frames on {name}"),
                instead: "give the program the capability: setcap cap_net_raw+ep PROGRAM".into(),
            },
            _ => OpenError::system("opening an AF_PACKET socket", error),
        })?;
        // SAFETY: a descriptor just made, owned by nobody else.
        let fd = unsafe { OwnedFd::from_raw_fd(fd) };
        let socket = Self {
            fd,
            name: name.into(),
            link,
        };
        socket.set(libc::PACKET_VNET_HDR, &1i32, "asking for offload facts")?;
        socket.set(libc::PACKET_AUXDATA, &1i32, "asking for VLAN tags")?;
        // Without it, every frame that we send comes back to us.
        socket.set(
            libc::PACKET_IGNORE_OUTGOING,
            &1i32,
            "asking for incoming frames only",
        )?;
        let membership = libc::packet_mreq {
            mr_ifindex: link as libc::c_int,
            mr_type: libc::PACKET_MR_PROMISC as libc::c_ushort,
            mr_alen: 0,
            mr_address: [0; 8],
        };
        socket.set(
            libc::PACKET_ADD_MEMBERSHIP,
            &membership,
            "making it promiscuous",
        )?;
        Ok(socket)
    }

    /// Attaches a program that decides which frames are received.
    pub(super) fn filter(&self, program: &[Instruction]) -> Result<(), OpenError> {
        let program = libc::sock_fprog {
            len: program.len() as libc::c_ushort,
            filter: program.as_ptr().cast_mut(),
        };
        set_option(
            self.raw(),
            libc::SOL_SOCKET,
            libc::SO_ATTACH_FILTER,
            &program,
        )
        .map_err(|error| self.error("filtering frames", error))
    }

    /// From here on, frames are received.
    pub(super) fn bind(&self) -> Result<(), OpenError> {
        // SAFETY: all-zero is a valid `sockaddr_ll`.
        let mut address: libc::sockaddr_ll = unsafe { std::mem::zeroed() };
        address.sll_family = libc::AF_PACKET as libc::c_ushort;
        address.sll_protocol = (libc::ETH_P_ALL as u16).to_be();
        address.sll_ifindex = self.link as libc::c_int;
        let len = size_of::<libc::sockaddr_ll>() as libc::socklen_t;
        // SAFETY: a `sockaddr_ll` of that length, which outlives the call.
        let result = unsafe { libc::bind(self.raw(), (&raw const address).cast(), len) };
        check(result).map_err(|error| self.error("binding to it", error))
    }

    /// Shares the interface's flows with the other sockets of the group, a new one if `None`; returns the
    /// group. Flows are told apart by a hash that is the same in both directions.
    pub(super) fn join_fanout(&self, group: Option<u16>) -> Result<u16, OpenError> {
        let doing = "sharing flows between queues";
        let flags = if group.is_none() {
            libc::PACKET_FANOUT_FLAG_UNIQUEID
        } else {
            0
        };
        let kind = (libc::PACKET_FANOUT_HASH | flags) << 16;
        let argument = u32::from(group.unwrap_or(0)) | kind;
        self.set(libc::PACKET_FANOUT, &argument, doing)?;
        let mut joined = 0u32;
        self.get(libc::PACKET_FANOUT, &mut joined)
            .map_err(|error| self.error(doing, error))?;
        Ok(joined as u16)
    }

    /// Frames that the kernel dropped for want of room since the last call.
    pub(super) fn dropped(&self) -> u64 {
        let mut statistics = libc::tpacket_stats {
            tp_packets: 0,
            tp_drops: 0,
        };
        match self.get(libc::PACKET_STATISTICS, &mut statistics) {
            Ok(()) => u64::from(statistics.tp_drops),
            Err(_) => 0,
        }
    }

    /// Whether the interface was deleted: the socket then hangs on nothing.
    pub(super) fn is_gone(&self) -> bool {
        // SAFETY: all-zero is a valid `sockaddr_ll`.
        let mut address: libc::sockaddr_ll = unsafe { std::mem::zeroed() };
        let mut len = size_of::<libc::sockaddr_ll>() as libc::socklen_t;
        // SAFETY: the kernel writes at most `len` bytes to `address`; both outlive the call.
        let result =
            unsafe { libc::getsockname(self.raw(), (&raw mut address).cast(), &raw mut len) };
        result == 0 && address.sll_ifindex != self.link as libc::c_int
    }

    pub(super) fn raw(&self) -> RawFd {
        self.fd.as_raw_fd()
    }

    pub(super) fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }

    /// Asks for buffers of `bytes` in both directions; false if what the kernel gives for receiving is not
    /// enough. Root may exceed the system's limit, others get what it allows.
    pub(super) fn set_buffers(&self, bytes: usize) -> bool {
        // The kernel doubles what it is told.
        let half = libc::c_int::try_from(bytes / 2).unwrap_or(libc::c_int::MAX / 2);
        let set = |option| set_option(self.raw(), libc::SOL_SOCKET, option, &half);
        let enlarged = [
            set(libc::SO_RCVBUFFORCE).or_else(|_| set(libc::SO_RCVBUF)),
            set(libc::SO_SNDBUFFORCE).or_else(|_| set(libc::SO_SNDBUF)),
        ];
        let mut given = 0 as libc::c_int;
        let told = get_option(self.raw(), libc::SOL_SOCKET, libc::SO_RCVBUF, &mut given);
        tracing::debug!(
            interface = self.name,
            wanted = bytes,
            given,
            ?enlarged,
            "buffers"
        );
        told.is_ok() && usize::try_from(given).is_ok_and(|given| given >= bytes.min(ENOUGH_BYTES))
    }

    /// The error that waits on the socket, if one does: the ring does not tell.
    pub(super) fn take_error(&self) -> io::Result<()> {
        let mut error = 0 as libc::c_int;
        get_option(self.raw(), libc::SOL_SOCKET, libc::SO_ERROR, &mut error)?;
        if error == 0 {
            Ok(())
        } else {
            Err(io::Error::from_raw_os_error(error))
        }
    }

    pub(super) fn set<T>(
        &self,
        option: libc::c_int,
        value: &T,
        doing: &str,
    ) -> Result<(), OpenError> {
        set_option(self.raw(), libc::SOL_PACKET, option, value)
            .map_err(|error| self.error(doing, error))
    }

    fn get<T>(&self, option: libc::c_int, value: &mut T) -> io::Result<()> {
        get_option(self.raw(), libc::SOL_PACKET, option, value)
    }

    pub(super) fn error(&self, doing: &str, error: io::Error) -> OpenError {
        OpenError::system(format!("interface {}, {doing}", self.name), error)
    }
}

fn set_option<T>(fd: RawFd, level: libc::c_int, option: libc::c_int, value: &T) -> io::Result<()> {
    let len = size_of::<T>() as libc::socklen_t;
    // SAFETY: the kernel reads `len` bytes of `value`, which outlives the call.
    check(unsafe { libc::setsockopt(fd, level, option, (&raw const *value).cast(), len) })
}

/// For types of integers only: any bytes that the kernel writes are valid for them.
fn get_option<T>(
    fd: RawFd,
    level: libc::c_int,
    option: libc::c_int,
    value: &mut T,
) -> io::Result<()> {
    let mut len = size_of::<T>() as libc::socklen_t;
    // SAFETY: the kernel writes at most `len` bytes to `value`, see above.
    check(unsafe { libc::getsockopt(fd, level, option, (&raw mut *value).cast(), &raw mut len) })
}
