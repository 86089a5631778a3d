//! `IPPROTO_TCP`.

use std::time::Duration;

use outlive::tcp::State;
use zerocopy::IntoBytes;

use super::{Value, int};
use crate::choices::{algorithm_named, name_of};
use crate::errno::{Errno, Result};
use crate::socket::{Inner, Phase};
use crate::sockets::Sockets;
use crate::tcp_info::TcpInfo;

/// What Linux allows for the times of keep-alive, in seconds, and for the number of probes.
const MAX_KEEP_SECONDS: i32 = 32_767;
const MAX_KEEP_PROBES: i32 = 127;
/// Bounds of `TCP_MAXSEG`.
const MIN_USER_MSS: i32 = 88;
const MAX_USER_MSS: i32 = 32_767;
const MAX_SYN_COUNT: i32 = 127;
/// Longest name of a congestion control algorithm, with its end.
const NAME_BYTES: usize = 16;
/// The segment size that is told before there is a connection (RFC 9293 §3.7.1).
const DEFAULT_MSS: u16 = 536;
const TCP_INQ: i32 = 36;
const TCP_CC_INFO: i32 = 26;

impl Sockets {
    pub(super) fn get_tcp_option(&self, inner: &Inner, name: i32) -> Result<Value> {
        let choices = &inner.choices;
        let seconds = |time: Duration| Value::Int(time.as_secs() as i32);
        Ok(match name {
            libc::TCP_INFO => {
                Value::Bytes(TcpInfo::of(inner, self.driver.now()).as_bytes().to_vec())
            }
            libc::TCP_NODELAY => Value::flag(choices.tcp.no_delay),
            libc::TCP_CORK => Value::flag(choices.cork),
            libc::TCP_MAXSEG => Value::Int(segment_size(inner).into()),
            libc::TCP_KEEPIDLE => seconds(choices.keep_alive_times.idle),
            libc::TCP_KEEPINTVL => seconds(choices.keep_alive_times.interval),
            libc::TCP_KEEPCNT => Value::Int(choices.keep_alive_times.probes.into()),
            libc::TCP_USER_TIMEOUT => Value::Int(choices.user_timeout_ms as i32),
            libc::TCP_SYNCNT => Value::Int(if choices.syn_count == 0 {
                self.direct().tcp().config().syn_retries.into()
            } else {
                choices.syn_count
            }),
            libc::TCP_LINGER2 => Value::Int(choices.linger2),
            libc::TCP_DEFER_ACCEPT => Value::Int(choices.defer_accept as i32),
            libc::TCP_WINDOW_CLAMP => Value::Int(choices.window_clamp as i32),
            libc::TCP_QUICKACK => Value::flag(choices.quick_ack),
            libc::TCP_NOTSENT_LOWAT => Value::Int(choices.unsent_low_water as i32),
            libc::TCP_CONGESTION => {
                let mut name = name_of(choices.tcp.algorithm).as_bytes().to_vec();
                name.resize(NAME_BYTES, 0);
                Value::Bytes(name)
            }
            TCP_CC_INFO => Value::Bytes(Vec::new()),
            TCP_INQ => Value::flag(choices.tell_queued),
            _ => return Err(Errno(libc::ENOPROTOOPT)),
        })
    }

    pub(super) fn set_tcp_option(&self, inner: &mut Inner, name: i32, value: &[u8]) -> Result<()> {
        if name == libc::TCP_CONGESTION {
            return set_congestion(inner, value);
        }
        let value = int(value)?;
        let on = value != 0;
        let direct = self.direct();
        match name {
            libc::TCP_NODELAY => {
                inner.choices.tcp.no_delay = on;
                inner.change(direct, |tcb| tcb.set_no_delay(on));
            }
            libc::TCP_CORK => {
                inner.choices.cork = on;
                inner.change(direct, |tcb| tcb.set_cork(on));
            }
            libc::TCP_MAXSEG => {
                if value != 0 && !(MIN_USER_MSS..=MAX_USER_MSS).contains(&value) {
                    return Err(Errno(libc::EINVAL));
                }
                inner.choices.tcp.max_segment_size = (value != 0).then_some(value as u16);
            }
            libc::TCP_USER_TIMEOUT => {
                let millis = u32::try_from(value).map_err(|_| Errno(libc::EINVAL))?;
                inner.choices.user_timeout_ms = millis;
                let timeout = (millis > 0).then(|| Duration::from_millis(millis.into()));
                inner.choices.tcp.user_timeout = timeout;
                inner.change(direct, |tcb| tcb.set_user_timeout(timeout));
            }
            libc::TCP_KEEPIDLE | libc::TCP_KEEPINTVL | libc::TCP_KEEPCNT => {
                return self.set_keep_alive_times(inner, name, value);
            }
            libc::TCP_QUICKACK => {
                inner.choices.quick_ack = on;
                inner.change(direct, |tcb| tcb.set_quick_ack(on));
            }
            libc::TCP_NOTSENT_LOWAT => {
                inner.choices.unsent_low_water = value as u32;
                let bytes = (value != 0).then_some(value as u32 as usize);
                inner.choices.tcp.not_sent_low_water_bytes = bytes;
                inner.change(direct, |tcb| tcb.set_not_sent_low_water(bytes));
            }
            _ => return set_rarely(inner, name, value),
        }
        Ok(())
    }

    fn set_keep_alive_times(&self, inner: &mut Inner, name: i32, value: i32) -> Result<()> {
        let most = if name == libc::TCP_KEEPCNT {
            MAX_KEEP_PROBES
        } else {
            MAX_KEEP_SECONDS
        };
        if !(1..=most).contains(&value) {
            return Err(Errno(libc::EINVAL));
        }
        let times = &mut inner.choices.keep_alive_times;
        let time = Duration::from_secs(value as u64);
        match name {
            libc::TCP_KEEPIDLE => times.idle = time,
            libc::TCP_KEEPINTVL => times.interval = time,
            _ => times.probes = value as u8,
        }
        if inner.choices.keep_alive {
            self.apply_keep_alive(inner);
        }
        Ok(())
    }
}

fn set_rarely(inner: &mut Inner, name: i32, value: i32) -> Result<()> {
    let choices = &mut inner.choices;
    match name {
        libc::TCP_SYNCNT => {
            if !(1..=MAX_SYN_COUNT).contains(&value) {
                return Err(Errno(libc::EINVAL));
            }
            choices.syn_count = value;
            choices.tcp.syn_retries = Some(value as u8);
        }
        libc::TCP_LINGER2 => choices.linger2 = value.clamp(-1, 120),
        libc::TCP_DEFER_ACCEPT => choices.defer_accept = value.max(0) as u32,
        libc::TCP_WINDOW_CLAMP => {
            let closed = matches!(inner.phase, Phase::Fresh);
            if value == 0 && !closed {
                return Err(Errno(libc::EINVAL));
            }
            choices.window_clamp = value.max(0) as u32;
        }
        TCP_INQ => {
            if !(0..=1).contains(&value) {
                return Err(Errno(libc::EINVAL));
            }
            choices.tell_queued = value == 1;
        }
        _ => return Err(Errno(libc::ENOPROTOOPT)),
    }
    Ok(())
}

fn set_congestion(inner: &mut Inner, value: &[u8]) -> Result<()> {
    let end = value.iter().position(|&byte| byte == 0);
    let name = std::str::from_utf8(&value[..end.unwrap_or(value.len())]);
    let algorithm = name.ok().and_then(algorithm_named);
    let algorithm = algorithm.ok_or(Errno(libc::ENOENT))?;
    inner.choices.tcp.algorithm = algorithm;
    if let Some(connection) = inner.connection() {
        connection.tcb.lock().set_algorithm(algorithm);
    }
    Ok(())
}

/// `TCP_MAXSEG`: what was asked for while there is no connection, what is used afterwards.
fn segment_size(inner: &Inner) -> u16 {
    let asked = inner.choices.tcp.max_segment_size;
    match inner.connection() {
        Some(connection) if inner.state() != State::Closed => connection.tcb.lock().info().snd_mss,
        _ => asked.unwrap_or(DEFAULT_MSS),
    }
}
