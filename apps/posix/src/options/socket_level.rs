//! `SOL_SOCKET`.

use std::time::Duration;

use super::{Value, int};
use crate::address::Family;
use crate::errno::{Errno, Result};
use crate::error_queue::OPT_ID;
use crate::socket::{Inner, Phase};
use crate::sockets::Sockets;

/// Least that `SO_SNDBUF` and `SO_RCVBUF` become (Linux: two segments, and a packet's bookkeeping).
const MIN_SEND_BUFFER: u32 = 4608;
const MIN_RECEIVE_BUFFER: u32 = 2304;
/// Number of fields of `SO_MEMINFO`.
const MEMINFO_FIELDS: usize = 9;
/// Bytes per second, of 32 or 64 bits; all ones for none. Not in the libc crate for every C library.
const SO_MAX_PACING_RATE: i32 = 47;

impl Sockets {
    pub(super) fn get_socket_option(&self, inner: &mut Inner, name: i32) -> Result<Value> {
        let choices = &inner.choices;
        Ok(match name {
            libc::SO_ERROR => Value::Int(inner.take_error().map_or(0, |error| error.0)),
            libc::SO_TYPE => Value::Int(libc::SOCK_STREAM),
            libc::SO_PROTOCOL => Value::Int(libc::IPPROTO_TCP),
            libc::SO_DOMAIN => Value::Int(match inner.family {
                Family::V4 => libc::AF_INET,
                Family::V6 => libc::AF_INET6,
            }),
            libc::SO_ACCEPTCONN => Value::flag(matches!(inner.phase, Phase::Listening(_))),
            libc::SO_REUSEADDR => Value::flag(choices.reuse_address),
            libc::SO_REUSEPORT => Value::flag(choices.reuse_port),
            libc::SO_KEEPALIVE => Value::flag(choices.keep_alive),
            libc::SO_SNDBUF => Value::Int(choices.send_buffer as i32),
            libc::SO_RCVBUF => Value::Int(choices.receive_buffer as i32),
            libc::SO_RCVLOWAT => Value::Int(choices.receive_low_water as i32),
            libc::SO_SNDLOWAT => Value::Int(1),
            libc::SO_PRIORITY => Value::Int(choices.priority),
            libc::SO_MARK => Value::Int(choices.mark as i32),
            libc::SO_LINGER => Value::Bytes(linger_bytes(choices.linger)),
            libc::SO_RCVTIMEO => Value::Bytes(timeval_bytes(choices.receive_timeout)),
            libc::SO_SNDTIMEO => Value::Bytes(timeval_bytes(choices.send_timeout)),
            SO_MAX_PACING_RATE => Value::Bytes(pacing_rate_bytes(choices.tcp.max_pacing_rate)),
            libc::SO_ZEROCOPY => Value::flag(choices.zero_copy),
            libc::SO_TIMESTAMPING => Value::Int(choices.timestamping.flags as i32),
            libc::SO_MEMINFO => Value::Bytes(memory_bytes(inner)),
            libc::SO_OOBINLINE
            | libc::SO_BROADCAST
            | libc::SO_DONTROUTE
            | libc::SO_DEBUG
            | libc::SO_TIMESTAMP => Value::Int(0),
            _ => return Err(Errno(libc::ENOPROTOOPT)),
        })
    }

    pub(super) fn set_socket_option(
        &self,
        inner: &mut Inner,
        name: i32,
        value: &[u8],
    ) -> Result<()> {
        match name {
            libc::SO_LINGER => {
                let on = int(value)?;
                let seconds = int(value.get(4..).unwrap_or_default())?;
                let seconds = u16::try_from(seconds).unwrap_or(u16::MAX);
                inner.choices.linger = (on != 0).then_some(seconds);
                return Ok(());
            }
            libc::SO_RCVTIMEO => {
                inner.choices.receive_timeout = timeval(value)?;
                return Ok(());
            }
            libc::SO_SNDTIMEO => {
                inner.choices.send_timeout = timeval(value)?;
                return Ok(());
            }
            SO_MAX_PACING_RATE => {
                let rate = pacing_rate(value)?;
                inner.choices.tcp.max_pacing_rate = rate;
                inner.change(self.direct(), |tcb| {
                    tcb.set_pacing(tcb.options().pacing, rate);
                });
                return Ok(());
            }
            _ => {}
        }
        let value = int(value)?;
        let on = value != 0;
        let choices = &mut inner.choices;
        match name {
            libc::SO_REUSEADDR => choices.reuse_address = on,
            libc::SO_REUSEPORT => choices.reuse_port = on,
            libc::SO_KEEPALIVE => {
                choices.keep_alive = on;
                self.apply_keep_alive(inner);
            }
            libc::SO_SNDBUF => self.set_send_buffer(inner, value),
            libc::SO_RCVBUF => self.set_receive_buffer(inner, value),
            libc::SO_RCVLOWAT => {
                // As Linux: none means one, and a negative number everything that fits.
                choices.receive_low_water = match value {
                    ..0 => i32::MAX as u32,
                    value => (value as u32).max(1),
                };
            }
            libc::SO_ZEROCOPY => {
                if !(0..=1).contains(&value) {
                    return Err(Errno(libc::EINVAL));
                }
                choices.zero_copy = on;
            }
            libc::SO_TIMESTAMPING => set_timestamping(inner, value as u32)?,
            libc::SO_PRIORITY => choices.priority = value,
            libc::SO_MARK => choices.mark = value as u32,
            libc::SO_OOBINLINE
            | libc::SO_BROADCAST
            | libc::SO_DONTROUTE
            | libc::SO_DEBUG
            | libc::SO_TIMESTAMP => {}
            _ => return Err(Errno(libc::ENOPROTOOPT)),
        }
        Ok(())
    }

    pub(super) fn apply_keep_alive(&self, inner: &mut Inner) {
        let keep_alive = inner.choices.effective_keep_alive();
        inner.choices.tcp.keep_alive = keep_alive;
        if let Some(connection) = inner.connection() {
            self.direct().change(connection, |tcb, now| {
                tcb.set_keep_alive(now, keep_alive);
            });
        }
    }

    /// Linux doubles what is asked for, to have room for its own bookkeeping; so half of it is for data.
    fn set_send_buffer(&self, inner: &mut Inner, value: i32) {
        let most = (self.defaults)().max_buffers.0;
        let size = (value.max(0) as u32).min(most).saturating_mul(2);
        inner.choices.send_buffer = size.max(MIN_SEND_BUFFER);
        let bytes = Some(inner.choices.send_buffer as usize);
        inner.choices.tcp.send_buffer_bytes = bytes;
        inner.change(self.direct(), |tcb| tcb.set_send_buffer(bytes));
    }

    fn set_receive_buffer(&self, inner: &mut Inner, value: i32) {
        let most = (self.defaults)().max_buffers.1;
        let size = (value.max(0) as u32).min(most).saturating_mul(2);
        inner.choices.receive_buffer = size.max(MIN_RECEIVE_BUFFER);
        let bytes = Some(inner.choices.receive_buffer as usize / 2);
        inner.choices.tcp.receive_buffer_bytes = bytes;
        inner.change(self.direct(), |tcb| tcb.set_receive_buffer(bytes));
    }
}

/// Bytes are numbered from what is acknowledged when numbers are first asked for, as Linux has it.
fn set_timestamping(inner: &mut Inner, flags: u32) -> Result<()> {
    if flags & OPT_ID & !inner.choices.timestamping.flags != 0 {
        let connection = inner.connection().ok_or(Errno(libc::EINVAL))?;
        let base = connection.tcb.lock().info().bytes_acked;
        inner.choices.timestamping.base = base;
    }
    inner.choices.timestamping.flags = flags;
    Ok(())
}

/// The value of `SO_MAX_PACING_RATE` in the caller's memory.
fn pacing_rate(value: &[u8]) -> Result<Option<u64>> {
    if let Some(wide) = value.first_chunk() {
        let rate = u64::from_ne_bytes(*wide);
        return Ok((rate != u64::MAX).then_some(rate));
    }
    let rate = int(value)? as u32;
    Ok((rate != u32::MAX).then_some(rate.into()))
}

fn pacing_rate_bytes(rate: Option<u64>) -> Vec<u8> {
    rate.unwrap_or(u64::MAX).to_ne_bytes().to_vec()
}

fn linger_bytes(linger: Option<u16>) -> Vec<u8> {
    let fields = [
        i32::from(linger.is_some()),
        i32::from(linger.unwrap_or_default()),
    ];
    fields
        .iter()
        .flat_map(|field| field.to_ne_bytes())
        .collect()
}

pub(crate) fn timeval(value: &[u8]) -> Result<Option<Duration>> {
    let (fields, _) = value.as_chunks::<8>();
    let &[seconds, micros] = fields else {
        return Err(Errno(libc::EINVAL));
    };
    let [seconds, micros] = [seconds, micros].map(i64::from_ne_bytes);
    if !(0..1_000_000).contains(&micros) {
        return Err(Errno(libc::EDOM));
    }
    // A time of zero means no limit, and so does, on Linux, one before the beginning of time.
    let total = Duration::from_secs(seconds.max(0) as u64) + Duration::from_micros(micros as u64);
    Ok((total > Duration::ZERO).then_some(total))
}

pub(crate) fn timeval_bytes(timeout: Option<Duration>) -> Vec<u8> {
    let timeout = timeout.unwrap_or_default();
    let fields = [timeout.as_secs() as i64, i64::from(timeout.subsec_micros())];
    fields
        .iter()
        .flat_map(|field| field.to_ne_bytes())
        .collect()
}

/// `struct sk_meminfo`: what of it we know. Payload is counted, not bookkeeping.
fn memory_bytes(inner: &Inner) -> Vec<u8> {
    let mut fields = [0_u32; MEMINFO_FIELDS];
    if let Some(connection) = inner.connection() {
        let info = connection.tcb.lock().info();
        fields[0] = info.receive_queue_bytes as u32;
        fields[5] = info.send_queue_bytes as u32;
    }
    fields[1] = inner.choices.receive_buffer;
    fields[3] = inner.choices.send_buffer;
    fields
        .iter()
        .flat_map(|field| field.to_ne_bytes())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pacing_rate_has_32_or_64_bits_and_all_ones_are_none() {
        assert_eq!(pacing_rate(&5_u32.to_ne_bytes()), Ok(Some(5)));
        assert_eq!(pacing_rate(&u32::MAX.to_ne_bytes()), Ok(None));
        assert_eq!(pacing_rate(&(1_u64 << 40).to_ne_bytes()), Ok(Some(1 << 40)));
        assert_eq!(pacing_rate(&u64::MAX.to_ne_bytes()), Ok(None));
        assert!(pacing_rate(&[1]).is_err());
        assert_eq!(pacing_rate_bytes(None), u64::MAX.to_ne_bytes());
    }
}
