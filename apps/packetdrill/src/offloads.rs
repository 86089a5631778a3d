//! What a script switched off on the placeholder `tun0` (`ethtool -K tun0 tso off gso off`): then the kernel's stack makes
//! segments in one piece as ever, and what leaves is cut; so it is here. One of both is enough to have them leave in one piece.

use std::os::fd::AsRawFd;
use std::os::unix::net::UnixDatagram;

/// The interface that scripts configure.
const INTERFACE: &[u8] = b"tun0";
/// include/uapi/linux/sockios.h, ethtool.h
const SIOCETHTOOL: libc::Ioctl = 0x8946;
const ETHTOOL_GTSO: u32 = 0x1e;
const ETHTOOL_GGSO: u32 = 0x23;

/// `struct ethtool_value`
#[repr(C)]
struct EthtoolValue {
    command: u32,
    value: u32,
}

/// False if segments are to leave one by one; true, too, where there is no such interface, or none of its features can be asked for.
pub(crate) fn in_pieces() -> bool {
    match (ask(ETHTOOL_GTSO), ask(ETHTOOL_GGSO)) {
        (Some(tso), Some(gso)) => tso || gso,
        _ => true,
    }
}

fn ask(command: u32) -> Option<bool> {
    // Requests about interfaces may come from any socket.
    let socket = UnixDatagram::unbound().ok()?;
    let mut feature = EthtoolValue { command, value: 0 };
    // SAFETY: all zeros are a valid request.
    let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
    for (to, from) in request.ifr_name.iter_mut().zip(INTERFACE) {
        *to = *from as libc::c_char;
    }
    request.ifr_ifru.ifru_data = std::ptr::from_mut(&mut feature).cast();
    // SAFETY: the request names an interface and points to a value that lives as long as the call takes.
    let result = unsafe { libc::ioctl(socket.as_raw_fd(), SIOCETHTOOL, &raw mut request) };
    (result == 0).then_some(feature.value != 0)
}
