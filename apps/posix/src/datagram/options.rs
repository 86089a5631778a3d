//! `getsockopt` and `setsockopt` of datagram sockets.

use super::{Datagrams, Inner, Stamps};
use crate::address::Family;
use crate::errno::{Errno, Result};
use crate::options::{Value, int, timeval, timeval_bytes};
use crate::sockets::Sockets;

/// Least that the buffers become (Linux).
const MIN_BUFFER: u32 = 2304;
/// Largest value of `IP_MTU_DISCOVER`: `IP_PMTUDISC_OMIT`.
const MAX_MTU_DISCOVER: i32 = 5;

impl Sockets {
    pub(crate) fn get_datagram_option(socket: &Datagrams, level: i32, name: i32) -> Result<Value> {
        let mut inner = socket.inner.lock();
        match level {
            libc::SOL_SOCKET => get_socket(&mut inner, name),
            libc::IPPROTO_IP | libc::IPPROTO_IPV6 => get_ip(&inner, level, name),
            _ => Err(Errno(libc::ENOPROTOOPT)),
        }
    }

    pub(crate) fn set_datagram_option(
        &self,
        socket: &Datagrams,
        (level, name): (i32, i32),
        value: &[u8],
    ) -> Result<()> {
        let mut inner = socket.inner.lock();
        match level {
            libc::SOL_SOCKET => {
                let most = (self.defaults)().max_buffers;
                set_socket(&mut inner, name, value, most)?;
            }
            libc::IPPROTO_IP | libc::IPPROTO_IPV6 => set_ip(&mut inner, level, name, value)?,
            _ => return Err(Errno(libc::ENOPROTOOPT)),
        }
        inner.apply();
        Ok(())
    }
}

fn get_socket(inner: &mut Inner, name: i32) -> Result<Value> {
    if name == libc::SO_ERROR {
        let error = inner.take_error();
        return Ok(Value::Int(error.map_or(0, |error| error.0)));
    }
    let choices = &inner.choices;
    Ok(match name {
        libc::SO_TYPE => Value::Int(libc::SOCK_DGRAM),
        libc::SO_PROTOCOL => Value::Int(libc::IPPROTO_UDP),
        libc::SO_DOMAIN => Value::Int(match inner.family {
            Family::V4 => libc::AF_INET,
            Family::V6 => libc::AF_INET6,
        }),
        libc::SO_ACCEPTCONN => Value::Int(0),
        libc::SO_REUSEADDR => Value::flag(choices.reuse_address),
        libc::SO_BROADCAST => Value::flag(choices.broadcast),
        libc::SO_SNDBUF => Value::Int(choices.send_buffer as i32),
        libc::SO_RCVBUF => Value::Int(choices.receive_buffer as i32),
        libc::SO_RCVTIMEO => Value::Bytes(timeval_bytes(choices.receive_timeout)),
        libc::SO_SNDTIMEO => Value::Bytes(timeval_bytes(choices.send_timeout)),
        libc::SO_TIMESTAMP => Value::flag(choices.stamps == Stamps::Micros),
        libc::SO_TIMESTAMPNS => Value::flag(choices.stamps == Stamps::Nanos),
        _ => return Err(Errno(libc::ENOPROTOOPT)),
    })
}

fn set_socket(inner: &mut Inner, name: i32, value: &[u8], most: (u32, u32)) -> Result<()> {
    let choices = &mut inner.choices;
    let doubled = |value: &[u8], most: u32| {
        let asked = int(value)?.max(0) as u32;
        Ok::<_, Errno>(asked.min(most).saturating_mul(2).max(MIN_BUFFER))
    };
    let stamps = |kind| move |on: i32| if on != 0 { kind } else { Stamps::None };
    match name {
        libc::SO_REUSEADDR => choices.reuse_address = int(value)? != 0,
        libc::SO_BROADCAST => choices.broadcast = int(value)? != 0,
        libc::SO_SNDBUF => choices.send_buffer = doubled(value, most.0)?,
        libc::SO_RCVBUF => choices.receive_buffer = doubled(value, most.1)?,
        libc::SO_RCVTIMEO => choices.receive_timeout = timeval(value)?,
        libc::SO_SNDTIMEO => choices.send_timeout = timeval(value)?,
        libc::SO_TIMESTAMP => choices.stamps = stamps(Stamps::Micros)(int(value)?),
        libc::SO_TIMESTAMPNS => choices.stamps = stamps(Stamps::Nanos)(int(value)?),
        _ => return Err(Errno(libc::ENOPROTOOPT)),
    }
    Ok(())
}

fn get_ip(inner: &Inner, level: i32, name: i32) -> Result<Value> {
    let choices = &inner.choices;
    Ok(Value::Int(match (level, name) {
        (libc::IPPROTO_IP, libc::IP_TTL) | (libc::IPPROTO_IPV6, libc::IPV6_UNICAST_HOPS) => {
            choices.ttl.into()
        }
        (libc::IPPROTO_IP, libc::IP_TOS) | (libc::IPPROTO_IPV6, libc::IPV6_TCLASS) => {
            choices.tos.into()
        }
        (libc::IPPROTO_IP, libc::IP_MTU_DISCOVER)
        | (libc::IPPROTO_IPV6, libc::IPV6_MTU_DISCOVER) => choices.mtu_discover,
        (libc::IPPROTO_IP, libc::IP_RECVERR) | (libc::IPPROTO_IPV6, libc::IPV6_RECVERR) => {
            choices.report_errors.into()
        }
        _ => return Err(Errno(libc::ENOPROTOOPT)),
    }))
}

fn set_ip(inner: &mut Inner, level: i32, name: i32, value: &[u8]) -> Result<()> {
    let value = match value {
        // Linux takes a single octet too.
        &[octet] => i32::from(octet),
        value => int(value)?,
    };
    let choices = &mut inner.choices;
    match (level, name) {
        (libc::IPPROTO_IP, libc::IP_TTL) | (libc::IPPROTO_IPV6, libc::IPV6_UNICAST_HOPS) => {
            choices.ttl = match value {
                -1 => 64,
                1..=255 => value as u8,
                _ => return Err(Errno(libc::EINVAL)),
            };
        }
        (libc::IPPROTO_IP, libc::IP_TOS) | (libc::IPPROTO_IPV6, libc::IPV6_TCLASS) => {
            choices.tos = value as u8;
        }
        (libc::IPPROTO_IP, libc::IP_MTU_DISCOVER)
        | (libc::IPPROTO_IPV6, libc::IPV6_MTU_DISCOVER) => {
            if !(0..=MAX_MTU_DISCOVER).contains(&value) {
                return Err(Errno(libc::EINVAL));
            }
            choices.mtu_discover = value;
        }
        (libc::IPPROTO_IP, libc::IP_RECVERR) | (libc::IPPROTO_IPV6, libc::IPV6_RECVERR) => {
            choices.report_errors = value != 0;
        }
        _ => return Err(Errno(libc::ENOPROTOOPT)),
    }
    Ok(())
}
