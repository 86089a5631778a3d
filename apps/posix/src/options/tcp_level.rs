//! `IPPROTO_TCP`.

use std::time::Duration;

use outlive::socket::Direct;
use outlive::tcp::State;
use zerocopy::IntoBytes;

use super::fast_open::{self, TCP_FASTOPEN_CONNECT, TCP_FASTOPEN_KEY, TCP_FASTOPEN_NO_COOKIE};
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
/// Longest `TCP_LINGER2`, and longest time between SYN-ACKs, in seconds.
const MAX_LINGER2_SECONDS: i32 = 120;
const MAX_RTO_SECONDS: i32 = 120;
/// Least that `TCP_WINDOW_CLAMP` becomes: half of the least receive buffer.
const MIN_WINDOW_CLAMP: u32 = 1152;
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
            libc::TCP_FASTOPEN
            | TCP_FASTOPEN_CONNECT
            | TCP_FASTOPEN_KEY
            | TCP_FASTOPEN_NO_COOKIE => fast_open::get(self, inner, name),
            libc::TCP_DEFER_ACCEPT => Value::Int(seconds_of(choices.defer_accept_retries)),
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
        if name == TCP_FASTOPEN_KEY {
            return fast_open::set_key(inner, value);
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
            _ => return self.set_rarely(inner, name, value),
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

impl Sockets {
    fn set_rarely(&self, inner: &mut Inner, name: i32, value: i32) -> Result<()> {
        let direct = self.direct();
        match name {
            libc::TCP_SYNCNT => {
                if !(1..=MAX_SYN_COUNT).contains(&value) {
                    return Err(Errno(libc::EINVAL));
                }
                inner.choices.syn_count = value;
                let retries = Some(value as u8);
                inner.choices.tcp.syn_retries = retries;
                inner.change(direct, |tcb| tcb.set_syn_retries(retries));
            }
            libc::TCP_LINGER2 => {
                let (default, seconds) = (
                    direct.tcp().config().fin_wait_2.as_secs() as i32,
                    value.clamp(-1, MAX_LINGER2_SECONDS),
                );
                inner.choices.linger2 = if seconds == 0 { default } else { seconds };
                let wait = (seconds != 0).then(|| Duration::from_secs(seconds.max(0) as u64));
                inner.choices.tcp.fin_wait_2 = wait;
                inner.change(direct, |tcb| tcb.set_fin_wait_2(wait));
            }
            libc::TCP_DEFER_ACCEPT => {
                let retries = retries_within(value);
                inner.choices.defer_accept_retries = retries;
                if let Phase::Listening(listener) = &inner.phase {
                    listener.set_defer_accept(retries);
                }
            }
            libc::TCP_FASTOPEN => fast_open::set_queue(inner, value)?,
            TCP_FASTOPEN_CONNECT => fast_open::set_connect(self, inner, value)?,
            TCP_FASTOPEN_NO_COOKIE => fast_open::set_without_cookie(inner, value)?,
            libc::TCP_WINDOW_CLAMP => set_window_clamp(direct, inner, value)?,
            TCP_INQ => {
                if !(0..=1).contains(&value) {
                    return Err(Errno(libc::EINVAL));
                }
                inner.choices.tell_queued = value == 1;
            }
            _ => return Err(Errno(libc::ENOPROTOOPT)),
        }
        Ok(())
    }
}

fn set_window_clamp(direct: &Direct, inner: &mut Inner, value: i32) -> Result<()> {
    let fresh = matches!(inner.phase, Phase::Fresh);
    if value == 0 && !fresh {
        return Err(Errno(libc::EINVAL));
    }
    let clamp = match value.max(0) as u32 {
        0 => 0,
        bytes => bytes.max(MIN_WINDOW_CLAMP),
    };
    inner.choices.window_clamp = clamp;
    let bytes = (clamp > 0).then_some(clamp as usize);
    inner.choices.tcp.window_clamp_bytes = bytes;
    inner.change(direct, |tcb| tcb.set_window_clamp(bytes));
    Ok(())
}

/// How often a SYN-ACK is sent again within so many seconds, as Linux reckons: after one, two, four seconds.
fn retries_within(seconds: i32) -> u8 {
    (0..u8::MAX)
        .find(|&retries| seconds_of(retries) >= seconds)
        .unwrap_or(u8::MAX)
}

/// Seconds until a SYN-ACK was sent again so often.
fn seconds_of(retries: u8) -> i32 {
    (0..retries)
        .map(|n| (1 << n.min(30)).min(MAX_RTO_SECONDS))
        .sum()
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
