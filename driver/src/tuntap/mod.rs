//! TAP and TUN (`Documentation/networking/tuntap.rst`): Ethernet frames, or IP datagrams without a link
//! layer, to and from the kernel of this host.
//!
//! Left out: `IFF_NAPI`, eBPF steering, `UFO`.

mod queue;
mod steering;

use std::fs::{File, OpenOptions};
use std::io;
use std::net::IpAddr;
use std::os::fd::AsRawFd;
use std::os::unix::fs::OpenOptionsExt;
use std::sync::Arc;

use crate::counters::DeviceCounters;
use crate::device::{Capabilities, Interface, Medium};
use crate::error::OpenError;
use crate::netdev::{self, NetDev, check, check_mac, derive_mac};

use queue::Port;
pub(crate) use queue::{Refusal, classify};
use steering::Steering;

const TUN_DEVICE: &str = "/dev/net/tun";

/// What the kernel may hand over unfinished, the best first. Kernels before 6.2 refuse USO, and
/// TUNSETOFFLOAD takes all or nothing.
const OFFLOADS: [libc::c_uint; 3] = [
    TSO | libc::TUN_F_USO4 | libc::TUN_F_USO6,
    TSO,
    libc::TUN_F_CSUM,
];
const TSO: libc::c_uint =
    libc::TUN_F_CSUM | libc::TUN_F_TSO4 | libc::TUN_F_TSO6 | libc::TUN_F_TSO_ECN;

/// Frames that the kernel holds for us before it drops. Its default of 1000 is less than an 8 MB window
/// of MTU 1500 (5,600 frames), and overflowing it collapses the throughput.
pub const QUEUE_LEN: u32 = 10_000;

/// The largest datagram that is handed to this host's own TCP, which takes larger ones than the 16 bits of
/// IPv4's total length can say, with a zero there (Linux's BIG TCP). Three times 64 KiB: each write costs a
/// system call, a wake-up and the kernel's receiving, whatever its size; still larger ones keep the
/// receiver waiting.
const BIG_BYTES: usize = 3 << 16;

/// The first kernel that takes such datagrams over IPv4.
const BIG_SINCE: (u32, u32) = (6, 3);

/// How to open a TAP or TUN interface. What does not exist yet is created, and goes away with the last
/// descriptor; an existing (persistent) one is attached to, by an ordinary user too if root gave it to
/// him (`ip tuntap add ... user`).
#[derive(Clone, Debug)]
pub struct Options {
    /// What frames begin with: Ethernet on a TAP interface, IP on a TUN interface.
    pub medium: Medium,
    /// The interface; `tap%d` lets the kernel choose a number.
    pub name: String,
    /// Largest IP datagram; left as it is (1500 on a new interface) if `None`.
    pub mtu: Option<usize>,
    /// Exchange unfinished checksums and merged segments with the kernel. Without it, every frame is as
    /// on a real wire.
    pub offload: bool,
    /// Queues, 1 to 256. More than one needs an interface that is new or was made with `multi_queue`.
    pub queues: usize,
    /// The stack's address on the link; derived from the interface if `None`. Never the kernel's there.
    /// Without meaning on a TUN interface.
    pub mac: Option<[u8; 6]>,
    /// An address for the kernel's side with its prefix length, so that this host can reach the stack.
    pub host_address: Option<(IpAddr, u8)>,
    /// Frames that the kernel holds for us before it drops.
    pub queue_len: u32,
    /// On an interface that is new and has offloads: while we send more than we receive, let the kernel's receiving
    /// of it run on processors that this process leaves to others, not inside our calls.
    pub steer: bool,
}

impl Options {
    /// One queue with all offloads on the TAP interface `name`.
    #[must_use]
    pub fn tap(name: impl Into<String>) -> Self {
        Self {
            medium: Medium::Ethernet,
            name: name.into(),
            mtu: None,
            offload: true,
            queues: 1,
            mac: None,
            host_address: None,
            queue_len: QUEUE_LEN,
            steer: true,
        }
    }

    /// One queue with all offloads on the TUN interface `name`.
    #[must_use]
    pub fn tun(name: impl Into<String>) -> Self {
        Self {
            medium: Medium::Ip,
            ..Self::tap(name)
        }
    }

    /// Opens the interface and brings it up.
    ///
    /// # Errors
    /// One line that says what to do, see [`OpenError`].
    pub fn open(&self) -> Result<Interface, OpenError> {
        netdev::check_name(&self.name)?;
        if !(1..=256).contains(&self.queues) {
            return Err(OpenError::BadOption(format!(
                "{} queues: use 1 to 256",
                self.queues
            )));
        }
        let is_new = NetDev::new(&self.name)?.index().is_err();
        let (first, name) = self.attach(&self.name)?;
        let mut files = vec![first];
        while files.len() < self.queues {
            files.push(self.attach(&name)?.0);
        }
        let offloads = self.set_offloads(&files)?;
        let netdev = NetDev::new(&name)?;
        self.configure(&netdev)?;
        let steers = is_new && self.offload && self.steer;
        let steering = if steers {
            Steering::new(&name, self.queues).map(Arc::new)
        } else {
            None
        };
        let capabilities = self.capabilities(&netdev, &name, offloads)?;
        let counters = Arc::new(DeviceCounters::default());
        let queues = files
            .into_iter()
            .map(|file| {
                queue::queue(Port {
                    file: Arc::new(file),
                    name: name.as_str().into(),
                    vnet: self.offload,
                    counters: Arc::clone(&counters),
                    steering: steering.clone(),
                })
            })
            .collect();
        tracing::debug!(interface = name, ?capabilities, "opened");
        Ok(Interface {
            name,
            capabilities,
            queues,
            counters,
        })
    }

    fn capabilities(
        &self,
        netdev: &NetDev,
        name: &str,
        offloads: libc::c_uint,
    ) -> Result<Capabilities, OpenError> {
        let mac = match self.medium {
            Medium::Ip => None,
            Medium::Ethernet => {
                let (_, kernel_side) = netdev.hardware()?;
                let mac = self.mac.unwrap_or_else(|| derive_mac(name, kernel_side));
                check_mac(mac, kernel_side)?;
                Some(mac)
            }
        };
        let mtu = netdev.mtu()?;
        Ok(Capabilities {
            medium: self.medium,
            mtu,
            mac,
            tx_checksum: self.offload,
            // What we may write does not depend on what the kernel hands over: it cuts anything.
            tso4: self.offload,
            tso6: self.offload,
            uso: offloads & libc::TUN_F_USO4 != 0,
            max_segmented_bytes: if self.offload {
                self.max_segmented_bytes()
            } else {
                mtu
            },
        })
    }

    /// Without an address the interface is likely to be a port of a bridge, behind which hardware cuts no
    /// more than 64 KiB.
    fn max_segmented_bytes(&self) -> usize {
        if self.host_address.is_some() && netdev::kernel_version() >= BIG_SINCE {
            BIG_BYTES
        } else {
            65_535
        }
    }

    fn mode(&self) -> (&'static str, libc::c_int) {
        match self.medium {
            Medium::Ethernet => ("tap", libc::IFF_TAP),
            Medium::Ip => ("tun", libc::IFF_TUN),
        }
    }

    /// One queue of the interface, which is created if need be.
    fn attach(&self, name: &str) -> Result<(File, String), OpenError> {
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .custom_flags(libc::O_NONBLOCK)
            .open(TUN_DEVICE)
            .map_err(|error| self.open_error(error))?;
        let (_, mode) = self.mode();
        let mut flags = mode | libc::IFF_NO_PI;
        if self.offload {
            flags |= libc::IFF_VNET_HDR;
        }
        if self.queues > 1 {
            flags |= libc::IFF_MULTI_QUEUE;
        }
        let mut result = set_interface(&file, name, flags);
        if self.queues == 1 && matches!(&result, Err(e) if e.raw_os_error() == Some(libc::EINVAL)) {
            // An existing interface that was made for several queues takes only such openers.
            result = set_interface(&file, name, flags | libc::IFF_MULTI_QUEUE);
        }
        let name = result.map_err(|error| self.attach_error(name, error))?;
        Ok((file, name))
    }

    fn set_offloads(&self, files: &[File]) -> Result<libc::c_uint, OpenError> {
        let wanted: &[libc::c_uint] = if self.offload { &OFFLOADS } else { &[] };
        let mut accepted = None;
        for &offloads in wanted.iter().chain(&[0]) {
            // SAFETY: TUNSETOFFLOAD takes its argument by value.
            let result = unsafe {
                libc::ioctl(
                    files[0].as_raw_fd(),
                    libc::TUNSETOFFLOAD as _,
                    libc::c_ulong::from(offloads),
                )
            };
            if check(result).is_ok() {
                accepted = Some(offloads);
                break;
            }
        }
        accepted.ok_or_else(|| {
            OpenError::system(
                "telling the kernel which offloads we take",
                io::Error::last_os_error(),
            )
        })
    }

    fn configure(&self, netdev: &NetDev) -> Result<(), OpenError> {
        if let Some(mtu) = self.mtu {
            netdev.set_mtu(mtu)?;
        }
        if let Err(error) = netdev.set_queue_len(self.queue_len) {
            // An ordinary user on an interface made by root: it works, with that queue.
            tracing::debug!(%error, "left the queue length as it is");
        }
        if let Some((address, prefix_len)) = self.host_address {
            netdev.add_address(address, prefix_len)?;
        }
        netdev.bring_up()
    }

    fn open_error(&self, error: io::Error) -> OpenError {
        match error.raw_os_error() {
            Some(libc::ENOENT | libc::ENODEV | libc::ENXIO) => OpenError::NoTunDevice,
            Some(libc::EACCES | libc::EPERM) => OpenError::Permission {
                what: TUN_DEVICE.into(),
                instead: format!("have root open it to all: chmod 666 {TUN_DEVICE}"),
            },
            _ => OpenError::system(TUN_DEVICE, error),
        }
    }

    fn attach_error(&self, name: &str, error: io::Error) -> OpenError {
        let name = name.to_owned();
        let (mode, _) = self.mode();
        match error.raw_os_error() {
            Some(libc::EPERM | libc::EACCES) => self.permission(format!("interface {name}")),
            Some(libc::EBUSY) => OpenError::Busy { name },
            Some(libc::EINVAL) => OpenError::WrongKind {
                name,
                wanted: mode,
                why: if self.queues > 1 {
                    "it is of another kind, or was made without multi_queue".into()
                } else {
                    "it is of another kind".into()
                },
            },
            Some(libc::E2BIG) => OpenError::BadOption(format!(
                "interface {name} takes fewer than {} queues",
                self.queues
            )),
            _ => OpenError::system(format!("attaching to interface {name}"), error),
        }
    }

    fn permission(&self, what: String) -> OpenError {
        let (mode, _) = self.mode();
        let queues = if self.queues > 1 { " multi_queue" } else { "" };
        let instead = format!(
            "have root make the interface for you: ip tuntap add dev {} mode {mode}{queues} user $USER",
            self.name
        );
        OpenError::Permission { what, instead }
    }
}

/// TUNSETIFF; returns the name that the kernel chose (`tap%d` becomes `tap0`).
fn set_interface(file: &File, name: &str, flags: libc::c_int) -> io::Result<String> {
    let mut request = netdev::request(name);
    request.ifr_ifru.ifru_flags = flags as libc::c_short;
    // SAFETY: TUNSETIFF reads and writes one `ifreq`, which outlives the call.
    check(unsafe { libc::ioctl(file.as_raw_fd(), libc::TUNSETIFF as _, &raw mut request) })?;
    let name = request
        .ifr_name
        .iter()
        .take_while(|c| **c != 0)
        .map(|c| *c as u8);
    Ok(String::from_utf8_lossy(&name.collect::<Vec<_>>()).into_owned())
}
