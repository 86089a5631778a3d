//! Noticing at once that a cable is out: the kernel tells of it (rtnetlink(7), `RTMGRP_LINK`), and a path over
//! that interface need not wait for missing heartbeats.
//!
//! Left out: a switch between the hosts that dies with its ports up; that is what heartbeats are for.

use std::io;
use std::net::IpAddr;
use std::os::fd::{AsRawFd, OwnedFd};

use nix::ifaddrs::getifaddrs;
use nix::net::if_::if_nametoindex;
use nix::sys::socket::{
    AddressFamily, MsgFlags, NetlinkAddr, SockFlag, SockProtocol, SockType, bind, recv, socket,
};
use outlive::wire::ethernet::MacAddr;

/// `RTMGRP_LINK`.
const GROUP_LINK: u32 = 1;
const HEADER_BYTES: usize = 16;
/// Where `struct ifinfomsg` has the interface's number and its flags, from the start of the message.
const INDEX_AT: usize = HEADER_BYTES + 4;
const FLAGS_AT: usize = HEADER_BYTES + 8;
/// The interface is up and its cable carries a signal.
const RUNNING: u32 = libc::IFF_RUNNING as u32;

/// What the kernel says of interfaces.
pub(crate) struct Interfaces {
    socket: OwnedFd,
    buffer: Vec<u8>,
}

impl Interfaces {
    /// Listens to the kernel.
    ///
    /// # Errors
    /// When it does not let us.
    pub(crate) fn watch() -> io::Result<Self> {
        let flags = SockFlag::SOCK_CLOEXEC;
        let protocol = SockProtocol::NetlinkRoute;
        let socket = socket(AddressFamily::Netlink, SockType::Raw, flags, protocol)?;
        bind(socket.as_raw_fd(), &NetlinkAddr::new(0, GROUP_LINK))?;
        Ok(Self {
            socket,
            buffer: vec![0; 64 << 10],
        })
    }

    /// Waits for news: the numbers of interfaces that carry nothing now.
    ///
    /// # Errors
    /// When the kernel says no more. Lost news are no error.
    pub(crate) fn wait(&mut self) -> io::Result<Vec<u32>> {
        match recv(self.socket.as_raw_fd(), &mut self.buffer, MsgFlags::empty()) {
            Ok(length) => Ok(lost(&self.buffer[..length])),
            Err(nix::errno::Errno::ENOBUFS | nix::errno::Errno::EINTR) => Ok(Vec::new()),
            Err(error) => Err(error.into()),
        }
    }
}

/// The interfaces that a datagram of netlink messages says have gone.
fn lost(mut bytes: &[u8]) -> Vec<u32> {
    let mut lost = Vec::new();
    while let Some(length) = number(bytes, 0) {
        let length = length as usize;
        if length < HEADER_BYTES || length > bytes.len() {
            break;
        }
        let message = &bytes[..length];
        let kind = message
            .get(4..6)
            .map(|kind| u16::from_ne_bytes([kind[0], kind[1]]));
        let (index, flags) = (number(message, INDEX_AT), number(message, FLAGS_AT));
        let gone = match kind {
            Some(libc::RTM_NEWLINK) => flags.is_some_and(|flags| flags & RUNNING == 0),
            Some(libc::RTM_DELLINK) => true,
            _ => false,
        };
        lost.extend(index.filter(|_| gone));
        // Messages begin at multiples of four.
        bytes = bytes.get(length.next_multiple_of(4)..).unwrap_or_default();
    }
    lost
}

fn number(bytes: &[u8], at: usize) -> Option<u32> {
    let bytes = bytes.get(at..)?.first_chunk()?;
    Some(u32::from_ne_bytes(*bytes))
}

/// The number of the interface that has an address; none if the host has no such address.
pub(crate) fn index_of(address: IpAddr) -> Option<u32> {
    let mut all = getifaddrs().ok()?;
    let found = all.find(|interface| {
        let own = interface.address.as_ref();
        own.is_some_and(|own| {
            let v4 = own.as_sockaddr_in().map(|it| IpAddr::V4(it.ip()));
            let v6 = own.as_sockaddr_in6().map(|it| IpAddr::V6(it.ip()));
            v4.or(v6) == Some(address)
        })
    })?;
    if_nametoindex(found.interface_name.as_str()).ok()
}

/// The MAC address of an interface.
///
/// # Errors
/// When there is no such interface, or it has none.
pub(crate) fn station_of(interface: &str) -> io::Result<MacAddr> {
    let stations = getifaddrs()?.filter(|it| it.interface_name == interface);
    let mut stations = stations.filter_map(|it| it.address?.as_link_addr()?.addr());
    let station = stations.find(|station| *station != [0; 6]);
    let nobody = || io::Error::other(format!("interface {interface} has no MAC address"));
    station.map(MacAddr).ok_or_else(nobody)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(kind: u16, index: u32, flags: u32) -> Vec<u8> {
        let mut bytes = 32u32.to_ne_bytes().to_vec();
        bytes.extend(kind.to_ne_bytes());
        bytes.resize(INDEX_AT, 0);
        bytes.extend(index.to_ne_bytes());
        bytes.extend(flags.to_ne_bytes());
        bytes.resize(32, 0);
        bytes
    }

    #[test]
    fn only_interfaces_that_went_are_told() {
        let up = message(libc::RTM_NEWLINK, 3, RUNNING | 1);
        let out = message(libc::RTM_NEWLINK, 4, 1);
        let removed = message(libc::RTM_DELLINK, 5, RUNNING);
        let address = message(libc::RTM_NEWADDR, 6, 0);
        assert_eq!(lost(&[up, out, removed, address].concat()), [4, 5]);
    }

    #[test]
    fn what_is_cut_short_is_no_news() {
        let whole = message(libc::RTM_NEWLINK, 4, 1);
        for length in 0..whole.len() {
            assert_eq!(lost(&whole[..length]), Vec::<u32>::new());
        }
        assert_eq!(lost(&[0; 64]), Vec::<u32>::new());
    }

    #[test]
    fn the_interface_of_an_address_is_found() {
        assert_eq!(index_of([127, 0, 0, 1].into()), if_nametoindex("lo").ok());
        assert_eq!(index_of([192, 0, 2, 1].into()), None);
    }

    #[test]
    fn an_interface_without_a_station_is_named() {
        for name in ["lo", "outlive-none"] {
            let refusal = station_of(name).unwrap_err().to_string();
            assert!(refusal.contains(name), "{refusal}");
        }
    }
}
