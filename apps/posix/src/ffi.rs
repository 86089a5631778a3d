//! The functions of `include/outlive.h`: each is a system call with the process's [`Sockets`] in front. -1 and
//! `errno` tell of an error, as always.
//!
//! # Safety
//! What holds for the system call of the same name holds here: pointers point to what the call says, for as
//! long as it takes. `sockets` is what [`outlive_open_tap`] gave, or a pointer to a [`Sockets`].

mod calls;
mod start;
mod transfer;

pub use calls::*;
pub use start::*;
pub use transfer::*;

use crate::errno::Errno;
use crate::sockets::Sockets;

/// The sockets behind a pointer that C holds.
///
/// # Safety
/// It is null, or points to a [`Sockets`] that lives as long as the result.
unsafe fn of<'a>(sockets: *const Sockets) -> Result<&'a Sockets, Errno> {
    // SAFETY: as the caller promises.
    unsafe { sockets.as_ref() }.ok_or(Errno(libc::EFAULT))
}

/// Sets `errno` and gives -1, or the number.
fn number<T: TryInto<libc::c_int>>(result: Result<T, Errno>) -> libc::c_int {
    match result {
        Ok(value) => value.try_into().unwrap_or(libc::c_int::MAX),
        Err(error) => fail(error) as libc::c_int,
    }
}

/// The same for calls that give a size.
fn size(result: Result<usize, Errno>) -> libc::ssize_t {
    match result {
        Ok(value) => value as libc::ssize_t,
        Err(error) => fail(error),
    }
}

/// The same for calls that give 0.
fn done(result: Result<(), Errno>) -> libc::c_int {
    number(result.map(|()| 0))
}

fn fail(error: Errno) -> libc::ssize_t {
    // SAFETY: the location of this thread's errno is always valid.
    unsafe { *libc::__errno_location() = error.0 };
    -1
}
