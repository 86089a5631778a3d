//! `IPPROTO_IP` and `IPPROTO_IPV6`, as far as they matter to TCP.

use outlive::socket::Direct;

use super::{Value, int};
use crate::errno::{Errno, Result};
use crate::socket::Inner;

/// The bits of a TOS octet that belong to ECN and not to sockets (RFC 3168 §5).
const ECN_BITS: u8 = 3;

pub(super) fn get(inner: &Inner, level: i32, name: i32) -> Result<Value> {
    let tcp = &inner.choices.tcp;
    Ok(match (level, name) {
        (libc::IPPROTO_IP, libc::IP_TTL) | (libc::IPPROTO_IPV6, libc::IPV6_UNICAST_HOPS) => {
            Value::Int(tcp.ttl.into())
        }
        (libc::IPPROTO_IP, libc::IP_TOS) | (libc::IPPROTO_IPV6, libc::IPV6_TCLASS) => {
            Value::Int(tcp.tos.into())
        }
        (libc::IPPROTO_IPV6, libc::IPV6_V6ONLY) => Value::flag(inner.choices.only_v6),
        (libc::IPPROTO_IP, libc::IP_MTU_DISCOVER)
        | (libc::IPPROTO_IPV6, libc::IPV6_MTU_DISCOVER) => Value::Int(inner.choices.mtu_discover),
        (libc::IPPROTO_IP, libc::IP_MTU) | (libc::IPPROTO_IPV6, libc::IPV6_MTU) => {
            let connection = inner.connection().ok_or(Errno(libc::ENOTCONN))?;
            Value::Int(connection.tcb.lock().info().path_mtu as i32)
        }
        (libc::IPPROTO_IP, libc::IP_RECVERR | libc::IP_FREEBIND) => Value::Int(0),
        _ => return Err(Errno(libc::ENOPROTOOPT)),
    })
}

pub(super) fn set(
    inner: &mut Inner,
    direct: &Direct,
    level: i32,
    name: i32,
    value: &[u8],
) -> Result<()> {
    let value = match value {
        // Linux takes a single octet too.
        &[octet] => i32::from(octet),
        value => int(value)?,
    };
    match (level, name) {
        (libc::IPPROTO_IP, libc::IP_TTL) | (libc::IPPROTO_IPV6, libc::IPV6_UNICAST_HOPS) => {
            let ttl = match value {
                -1 => 64,
                1..=255 => value as u8,
                _ => return Err(Errno(libc::EINVAL)),
            };
            inner.choices.tcp.ttl = ttl;
            inner.change(direct, |tcb| tcb.set_ttl(ttl));
        }
        (libc::IPPROTO_IP, libc::IP_TOS) | (libc::IPPROTO_IPV6, libc::IPV6_TCLASS) => {
            let ecn = inner.choices.tcp.tos & ECN_BITS;
            let tos = value as u8 & !ECN_BITS | ecn;
            inner.choices.tcp.tos = tos;
            inner.change(direct, |tcb| tcb.set_tos(tos));
        }
        (libc::IPPROTO_IPV6, libc::IPV6_V6ONLY) => {
            if inner.local.is_some() {
                return Err(Errno(libc::EINVAL));
            }
            inner.choices.only_v6 = value != 0;
        }
        (libc::IPPROTO_IP, libc::IP_MTU_DISCOVER)
        | (libc::IPPROTO_IPV6, libc::IPV6_MTU_DISCOVER) => inner.choices.mtu_discover = value,
        (
            libc::IPPROTO_IP,
            libc::IP_RECVERR | libc::IP_FREEBIND | libc::IP_RECVTOS | libc::IP_RECVTTL,
        )
        | (libc::IPPROTO_IPV6, libc::IPV6_RECVERR | libc::IPV6_RECVTCLASS) => {}
        _ => return Err(Errno(libc::ENOPROTOOPT)),
    }
    Ok(())
}
