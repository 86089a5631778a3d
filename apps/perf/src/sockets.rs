//! Options of the kernel's sockets that `std` does not offer.

use std::io;
use std::mem;
use std::os::fd::{AsRawFd, BorrowedFd};

use nix::sys::resource::{Resource, getrlimit, setrlimit};

/// Chooses the congestion control of a socket; of a listener, for all that it accepts.
///
/// # Errors
/// When the kernel has no such algorithm or does not let us choose it.
pub(crate) fn set_congestion(socket: BorrowedFd<'_>, name: &str) -> io::Result<()> {
    let len = name.len() as libc::socklen_t;
    // SAFETY: the pointer and the length describe `name`, which lives until the call returns.
    let result = unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            libc::IPPROTO_TCP,
            libc::TCP_CONGESTION,
            name.as_ptr().cast(),
            len,
        )
    };
    if result == 0 {
        Ok(())
    } else {
        Err(io::Error::last_os_error())
    }
}

/// Segments that the kernel has sent again on this connection.
///
/// # Errors
/// When the socket is no TCP socket.
pub(crate) fn retransmitted_segments(socket: BorrowedFd<'_>) -> io::Result<u64> {
    Ok(tcp_info(socket)?.tcpi_total_retrans.into())
}

/// Lets this process have so many descriptors.
///
/// # Errors
/// When it may not.
pub(crate) fn allow_descriptors(needed: u64) -> anyhow::Result<()> {
    let (soft, hard) = getrlimit(Resource::RLIMIT_NOFILE)?;
    anyhow::ensure!(
        needed <= hard,
        "{needed} descriptors are needed and {hard} allowed (ulimit -Hn): take fewer connections"
    );
    if soft < needed {
        setrlimit(Resource::RLIMIT_NOFILE, hard, hard)?;
    }
    Ok(())
}

fn tcp_info(socket: BorrowedFd<'_>) -> io::Result<libc::tcp_info> {
    // SAFETY: `tcp_info` is made of integers, for which all bits zero is a value.
    let mut info: libc::tcp_info = unsafe { mem::zeroed() };
    let mut len = mem::size_of::<libc::tcp_info>() as libc::socklen_t;
    // SAFETY: the pointer and the length describe `info`, which lives until the call returns.
    let result = unsafe {
        libc::getsockopt(
            socket.as_raw_fd(),
            libc::IPPROTO_TCP,
            libc::TCP_INFO,
            (&raw mut info).cast(),
            &raw mut len,
        )
    };
    if result == 0 {
        Ok(info)
    } else {
        Err(io::Error::last_os_error())
    }
}
