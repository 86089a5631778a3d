//! `iovec` and `msghdr` as they lie in the caller's memory.

use crate::errno::{Errno, Result};

/// Most pieces of one call (`IOV_MAX`).
const MAX_PIECES: usize = 1024;

/// The pieces to send from.
///
/// # Safety
/// `pieces` points to `count` pieces, each of which points to as many readable bytes as it says, for as long
/// as the result lives.
///
/// # Errors
/// `EINVAL`, `EFAULT`.
pub unsafe fn to_read<'a>(pieces: *const libc::iovec, count: usize) -> Result<Vec<&'a [u8]>> {
    // SAFETY: as the caller promises.
    let pieces = unsafe { all(pieces, count) }?;
    let slices = pieces.iter().map(|piece| {
        // SAFETY: as the caller promises.
        unsafe { bytes(piece.iov_base.cast(), piece.iov_len) }
    });
    slices.collect()
}

/// The pieces to receive into.
///
/// # Safety
/// `pieces` points to `count` pieces, each of which points to as many writable bytes as it says, which nobody
/// else uses for as long as the result lives.
///
/// # Errors
/// `EINVAL`, `EFAULT`.
pub unsafe fn to_write<'a>(pieces: *const libc::iovec, count: usize) -> Result<Vec<&'a mut [u8]>> {
    // SAFETY: as the caller promises.
    let pieces = unsafe { all(pieces, count) }?;
    let slices = pieces.iter().map(|piece| {
        // SAFETY: as the caller promises.
        unsafe { bytes_mut(piece.iov_base.cast(), piece.iov_len) }
    });
    slices.collect()
}

unsafe fn all<'a>(pieces: *const libc::iovec, count: usize) -> Result<&'a [libc::iovec]> {
    if count > MAX_PIECES {
        return Err(Errno(libc::EINVAL));
    }
    if count == 0 {
        return Ok(&[]);
    }
    if pieces.is_null() {
        return Err(Errno(libc::EFAULT));
    }
    // SAFETY: not null, and as the caller promises.
    Ok(unsafe { std::slice::from_raw_parts(pieces, count) })
}

/// Bytes to read.
///
/// # Safety
/// `start` points to `len` readable bytes, or is null, for as long as the result lives.
///
/// # Errors
/// `EFAULT` when it is null and bytes are wanted.
pub unsafe fn bytes<'a>(start: *const u8, len: usize) -> Result<&'a [u8]> {
    match (start.is_null(), len) {
        (_, 0) => Ok(&[]),
        (true, _) => Err(Errno(libc::EFAULT)),
        // SAFETY: not null, and as the caller promises.
        (false, _) => Ok(unsafe { std::slice::from_raw_parts(start, len) }),
    }
}

/// Bytes to write.
///
/// # Safety
/// `start` points to `len` writable bytes that nobody else uses, or is null, for as long as the result lives.
///
/// # Errors
/// `EFAULT` when it is null and bytes are wanted.
pub unsafe fn bytes_mut<'a>(start: *mut u8, len: usize) -> Result<&'a mut [u8]> {
    match (start.is_null(), len) {
        (_, 0) => Ok(&mut []),
        (true, _) => Err(Errno(libc::EFAULT)),
        // SAFETY: not null, and as the caller promises.
        (false, _) => Ok(unsafe { std::slice::from_raw_parts_mut(start, len) }),
    }
}
