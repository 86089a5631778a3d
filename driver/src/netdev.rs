//! Asking and telling the kernel about an interface: `ioctl` on a socket that serves only as a handle
//! (netdevice(7)).

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};

use crate::error::OpenError;
use crate::netlink;

/// An interface of this network namespace, by name.
pub(crate) struct NetDev {
    name: String,
    handle: OwnedFd,
}

/// Checks a name as the kernel would (`dev_valid_name`).
pub(crate) fn check_name(name: &str) -> Result<(), OpenError> {
    let possible = (1..libc::IFNAMSIZ).contains(&name.len())
        && name != "."
        && name != ".."
        && !name
            .bytes()
            .any(|b| b == b'/' || b == b':' || b == 0 || b.is_ascii_whitespace());
    if possible {
        Ok(())
    } else {
        Err(OpenError::BadName { name: name.into() })
    }
}

/// An empty request about an interface.
pub(crate) fn request(name: &str) -> libc::ifreq {
    // SAFETY: all-zero is a valid `ifreq`: integers, and addresses of family 0.
    let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
    for (to, from) in request
        .ifr_name
        .iter_mut()
        .zip(name.bytes().take(libc::IFNAMSIZ - 1))
    {
        *to = from as libc::c_char;
    }
    request
}

/// The stack needs a unicast address that is not the kernel's on the same link.
pub(crate) fn check_mac(mac: [u8; 6], kernel_side: [u8; 6]) -> Result<(), OpenError> {
    let why = if mac[0] & 1 != 0 || mac == [0; 6] {
        "not a unicast address"
    } else if mac == kernel_side {
        "the kernel has it on this link"
    } else {
        return Ok(());
    };
    let text = mac.map(|byte| format!("{byte:02x}")).join(":");
    Err(OpenError::BadOption(format!(
        "MAC address {text}: {why}; choose another"
    )))
}

/// Version of the running kernel: the first two numbers; zeros if it does not say.
pub(crate) fn kernel_version() -> (u32, u32) {
    let system = rustix::system::uname();
    let mut numbers = system
        .release()
        .to_str()
        .unwrap_or_default()
        .split(|c: char| !c.is_ascii_digit())
        .map(|number| number.parse().unwrap_or(0));
    (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0))
}

/// The interfaces that exist here, for messages.
pub(crate) fn existing() -> String {
    let names: Vec<_> = pnet::datalink::interfaces()
        .into_iter()
        .map(|interface| interface.name)
        .collect();
    names.join(", ")
}

impl NetDev {
    /// A handle on the interface `name`, which need not exist yet.
    pub(crate) fn new(name: &str) -> Result<Self, OpenError> {
        let handle = datagram_socket(libc::AF_INET).map_err(|error| {
            OpenError::system("opening a socket to configure interfaces", error)
        })?;
        Ok(Self {
            name: name.into(),
            handle,
        })
    }

    /// The kernel's number of the interface.
    pub(crate) fn index(&self) -> Result<i32, OpenError> {
        let mut request = request(&self.name);
        self.ask(libc::SIOCGIFINDEX, &mut request, "finding it")?;
        // SAFETY: SIOCGIFINDEX filled this member.
        Ok(unsafe { request.ifr_ifru.ifru_ifindex })
    }

    pub(crate) fn mtu(&self) -> Result<usize, OpenError> {
        let mut request = request(&self.name);
        self.ask(libc::SIOCGIFMTU, &mut request, "reading its MTU")?;
        // SAFETY: SIOCGIFMTU filled this member.
        Ok(unsafe { request.ifr_ifru.ifru_mtu } as usize)
    }

    /// The kernel's own link-layer address there, with its hardware type (`ARPHRD_*`).
    pub(crate) fn hardware(&self) -> Result<(u16, [u8; 6]), OpenError> {
        let mut request = request(&self.name);
        self.ask(
            libc::SIOCGIFHWADDR,
            &mut request,
            "reading its link-layer address",
        )?;
        // SAFETY: SIOCGIFHWADDR filled this member.
        let address = unsafe { request.ifr_ifru.ifru_hwaddr };
        let mut mac = [0; 6];
        for (to, from) in mac.iter_mut().zip(address.sa_data) {
            *to = from as u8;
        }
        Ok((address.sa_family, mac))
    }

    fn flags(&self) -> Result<i32, OpenError> {
        let mut request = request(&self.name);
        self.ask(libc::SIOCGIFFLAGS, &mut request, "reading its state")?;
        // SAFETY: SIOCGIFFLAGS filled this member.
        Ok(i32::from(unsafe { request.ifr_ifru.ifru_flags }))
    }

    /// Brings the interface up; nothing to do, and no privilege needed, if it is.
    pub(crate) fn bring_up(&self) -> Result<(), OpenError> {
        let flags = self.flags()?;
        if flags & libc::IFF_UP != 0 {
            return Ok(());
        }
        let mut request = request(&self.name);
        request.ifr_ifru.ifru_flags = (flags | libc::IFF_UP) as libc::c_short;
        self.ask(libc::SIOCSIFFLAGS, &mut request, "bringing it up")
    }

    /// Sets the MTU; nothing to do, and no privilege needed, if it is that already.
    pub(crate) fn set_mtu(&self, mtu: usize) -> Result<(), OpenError> {
        const LEAST: usize = 68; // RFC 791 §3.2
        const MOST: usize = 65_535;
        let bad = || OpenError::BadMtu {
            name: self.name.clone(),
            mtu,
            least: LEAST,
            most: MOST,
        };
        if !(LEAST..=MOST).contains(&mtu) {
            return Err(bad());
        }
        if self.mtu()? == mtu {
            return Ok(());
        }
        let mut request = request(&self.name);
        request.ifr_ifru.ifru_mtu = mtu as libc::c_int;
        match self.ask(libc::SIOCSIFMTU, &mut request, "setting its MTU") {
            Err(OpenError::System { source, .. })
                if source.raw_os_error() == Some(libc::EINVAL) =>
            {
                Err(bad())
            }
            other => other,
        }
    }

    /// How many frames the kernel queues for us before it drops. A TAP resizes its ring with it.
    pub(crate) fn set_queue_len(&self, frames: u32) -> Result<(), OpenError> {
        netlink::set_queue_len(self.index()?, frames)
            .map_err(|error| self.error("setting its queue length", error))
    }

    /// Gives the kernel an address on the interface, with the route to its network; nothing to do, and no
    /// privilege needed, if it has that already.
    pub(crate) fn add_address(&self, address: IpAddr, prefix_len: u8) -> Result<(), OpenError> {
        let most = if address.is_ipv4() { 32 } else { 128 };
        if prefix_len > most {
            let text = format!("{address}/{prefix_len}: a prefix has at most {most} bits");
            return Err(OpenError::BadOption(text));
        }
        let all = pnet::datalink::interfaces();
        let networks = all
            .iter()
            .filter(|interface| interface.name == self.name)
            .flat_map(|i| &i.ips);
        if networks
            .into_iter()
            .any(|network| network.ip() == address && network.prefix() == prefix_len)
        {
            return Ok(());
        }
        match address {
            IpAddr::V4(address) => self.add_v4(address, prefix_len),
            IpAddr::V6(address) => self.add_v6(address, prefix_len),
        }
    }

    fn add_v4(&self, address: Ipv4Addr, prefix_len: u8) -> Result<(), OpenError> {
        let mask = u32::MAX
            .checked_shl(32 - u32::from(prefix_len))
            .unwrap_or(0);
        let mut request = request(&self.name);
        request.ifr_ifru.ifru_addr = socket_address(address);
        self.ask(
            libc::SIOCSIFADDR,
            &mut request,
            "giving the host an address on it",
        )?;
        request.ifr_ifru.ifru_netmask = socket_address(Ipv4Addr::from(mask));
        self.ask(
            libc::SIOCSIFNETMASK,
            &mut request,
            "giving the host a netmask on it",
        )
    }

    fn add_v6(&self, address: Ipv6Addr, prefix_len: u8) -> Result<(), OpenError> {
        let doing = "giving the host an IPv6 address on it";
        // Nobody is on this link but the two of us: the kernel need not ask for seconds whether its address
        // is free. If it may not be told so, it asks.
        let setting = format!("/proc/sys/net/ipv6/conf/{}/accept_dad", self.name);
        let _ = std::fs::write(setting, "0");
        let handle = datagram_socket(libc::AF_INET6).map_err(|error| self.error(doing, error))?;
        let request = libc::in6_ifreq {
            ifr6_addr: libc::in6_addr {
                s6_addr: address.octets(),
            },
            ifr6_prefixlen: u32::from(prefix_len),
            ifr6_ifindex: self.index()?,
        };
        // SAFETY: SIOCSIFADDR on an IPv6 socket reads an `in6_ifreq`, which outlives the call.
        let result = unsafe {
            libc::ioctl(
                handle.as_raw_fd(),
                libc::SIOCSIFADDR as _,
                &raw const request,
            )
        };
        check(result).map_err(|error| self.error(doing, error))
    }

    fn ask(
        &self,
        code: libc::c_ulong,
        request: &mut libc::ifreq,
        doing: &str,
    ) -> Result<(), OpenError> {
        // SAFETY: every request used here reads and writes one `ifreq`, which outlives the call.
        let result = unsafe { libc::ioctl(self.handle.as_raw_fd(), code as _, &raw mut *request) };
        check(result).map_err(|error| self.error(doing, error))
    }

    fn error(&self, doing: &str, error: io::Error) -> OpenError {
        let name = self.name.clone();
        match error.raw_os_error() {
            Some(libc::ENODEV) => OpenError::NoSuchInterface {
                name,
                existing: existing(),
            },
            Some(libc::EPERM | libc::EACCES) => OpenError::Permission {
                what: format!("interface {name}, {doing}"),
                instead: "have root set it up and ask for no change".into(),
            },
            _ => OpenError::system(format!("interface {name}, {doing}"), error),
        }
    }
}

/// A link-layer address for the stack: locally administered, the same for the same interface, and not
/// the kernel's own there.
pub(crate) fn derive_mac(name: &str, kernel_side: [u8; 6]) -> [u8; 6] {
    // FNV-1a: nobody gains by choosing the inputs, and the address should not change between builds.
    let mut hash = 0xcbf2_9ce4_8422_2325_u64;
    for byte in kernel_side.into_iter().chain(name.bytes()) {
        hash = (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3);
    }
    let h = hash.to_be_bytes();
    let mac = [
        0x02,
        0x4f,
        h[3] ^ h[0],
        h[4] ^ h[1],
        h[5] ^ h[2],
        h[6] ^ h[7],
    ];
    if mac == kernel_side {
        [0x02, 0x50, mac[2], mac[3], mac[4], mac[5]]
    } else {
        mac
    }
}

fn socket_address(address: Ipv4Addr) -> libc::sockaddr {
    let mut data = [0 as libc::c_char; 14];
    for (to, from) in data[2..6].iter_mut().zip(address.octets()) {
        *to = from as libc::c_char;
    }
    libc::sockaddr {
        sa_family: libc::AF_INET as libc::sa_family_t,
        sa_data: data,
    }
}

fn datagram_socket(family: libc::c_int) -> io::Result<OwnedFd> {
    // SAFETY: no memory is passed.
    let fd = unsafe { libc::socket(family, libc::SOCK_DGRAM | libc::SOCK_CLOEXEC, 0) };
    check(fd)?;
    // SAFETY: a descriptor just made, owned by nobody else.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// The result of a system call that says -1 and leaves the reason in `errno`.
pub(crate) fn check(result: libc::c_int) -> io::Result<()> {
    if result < 0 {
        Err(io::Error::last_os_error())
    } else {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_as_the_kernel_allows_them() {
        assert!(check_name("tap0").is_ok() && check_name("tap%d").is_ok());
        assert!(check_name("exactly15bytes_").is_ok());
        for name in ["", "sixteen_bytes_xx", "a/b", "a b", "a:b", ".", ".."] {
            assert!(
                matches!(check_name(name), Err(OpenError::BadName { .. })),
                "{name:?}"
            );
        }
    }

    #[test]
    fn the_derived_address_is_local_unicast_and_not_the_kernels() {
        let kernel_side = [0x02, 0, 0, 0, 0, 1];
        let mac = derive_mac("tap0", kernel_side);
        assert_eq!(mac[0] & 0b11, 0b10);
        assert_ne!(mac, kernel_side);
        assert_eq!(mac, derive_mac("tap0", kernel_side));
        assert_ne!(mac, derive_mac("tap1", kernel_side));
        assert_ne!(mac, derive_mac("tap0", mac));
    }

    #[test]
    fn an_interface_that_does_not_exist_is_named_with_those_that_do() {
        let error = NetDev::new("nosuch0").unwrap().index().unwrap_err();
        let OpenError::NoSuchInterface { name, existing } = error else {
            panic!("{error}");
        };
        assert_eq!(name, "nosuch0");
        assert!(existing.contains("lo"), "{existing}");
    }
}
