//! The options of `IPPROTO_TCP` that are about Fast Open (RFC 7413).

use outlive::tcp::config::Secret;

use super::Value;
use crate::errno::{Errno, Result};
use crate::socket::{Inner, Phase};
use crate::sockets::Sockets;

/// Not in the libc crate for every C library.
pub(super) const TCP_FASTOPEN_CONNECT: i32 = 30;
pub(super) const TCP_FASTOPEN_KEY: i32 = 33;
pub(super) const TCP_FASTOPEN_NO_COOKIE: i32 = 34;

pub(super) fn get(sockets: &Sockets, inner: &Inner, name: i32) -> Value {
    let choices = &inner.choices;
    match name {
        TCP_FASTOPEN_CONNECT => Value::flag(choices.fast_open_connect),
        TCP_FASTOPEN_NO_COOKIE => Value::flag(choices.fast_open_without_cookie),
        TCP_FASTOPEN_KEY => {
            let of_all = sockets.direct().tcp().config().fast_open_secret;
            let key = choices.fast_open_secret.or(of_all);
            Value::Bytes(key.map_or_else(Vec::new, |key| key.0.to_vec()))
        }
        _ => Value::Int(choices.fast_open_queue as i32),
    }
}

/// `TCP_FASTOPEN`: how many may be open before their handshake is over; what counts is whether it is any.
pub(super) fn set_queue(inner: &mut Inner, value: i32) -> Result<()> {
    let queue = u32::try_from(value).map_err(|_| Errno(libc::EINVAL))?;
    if matches!(inner.phase, Phase::Connected(_)) {
        return Err(Errno(libc::EINVAL));
    }
    inner.choices.fast_open_queue = queue;
    if let Phase::Listening(listener) = &inner.phase {
        listener.set_fast_open(inner.choices.opens_fast());
    }
    Ok(())
}

/// `TCP_FASTOPEN_CONNECT`.
pub(super) fn set_connect(sockets: &Sockets, inner: &mut Inner, value: i32) -> Result<()> {
    if !(0..=1).contains(&value) {
        return Err(Errno(libc::EINVAL));
    }
    if !(sockets.defaults)().fast_open.client {
        return Err(Errno(libc::EOPNOTSUPP));
    }
    if !matches!(inner.phase, Phase::Fresh) {
        return Err(Errno(libc::EINVAL));
    }
    inner.choices.fast_open_connect = value == 1;
    Ok(())
}

/// `TCP_FASTOPEN_NO_COOKIE`.
pub(super) fn set_without_cookie(inner: &mut Inner, value: i32) -> Result<()> {
    if !(0..=1).contains(&value) || matches!(inner.phase, Phase::Connected(_)) {
        return Err(Errno(libc::EINVAL));
    }
    inner.choices.fast_open_without_cookie = value == 1;
    if let Phase::Listening(listener) = &inner.phase {
        listener.set_fast_open_to_all(inner.choices.opens_fast_to_all());
    }
    Ok(())
}

/// `TCP_FASTOPEN_KEY`: 16 octets. A second key, that of before, is not taken.
pub(super) fn set_key(inner: &mut Inner, value: &[u8]) -> Result<()> {
    let key = value.try_into().map_err(|_| Errno(libc::EINVAL))?;
    inner.choices.fast_open_secret = Some(Secret(key));
    if let Phase::Listening(listener) = &inner.phase {
        listener.set_fast_open_secret(inner.choices.fast_open_secret);
    }
    Ok(())
}
