//! What TAP and TUN share: opening `/dev/net/tun`, offloads, and the two halves of a queue
//! (`Documentation/networking/tuntap.rst`).
//!
//! One `writev` per frame gathers vnet header, headers and payload; one `read` per frame writes behind
//! the previous frame in a block (see `block.rs`). Left out: `IFF_NAPI_FRAGS`, eBPF steering, `UFO`.

use std::collections::VecDeque;
use std::fs::{File, OpenOptions};
use std::io::{self, ErrorKind, Write};
use std::net::IpAddr;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::os::unix::fs::OpenOptionsExt;
use std::sync::Arc;

use bytes::{Buf, Bytes};

use crate::block::Blocks;
use crate::counters::DeviceCounters;
use crate::device::{Capabilities, Interface, Medium, Queue, Receive, Transmit};
use crate::error::OpenError;
use crate::frame::{RxFrame, TxFrame};
use crate::gather::{gather, limit_slices};
use crate::netdev::{self, NetDev, check};
use crate::vnet::{self, VNET_HEADER_BYTES};

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

/// What to open.
pub(crate) struct Setup<'a> {
    pub(crate) name: &'a str,
    pub(crate) medium: Medium,
    pub(crate) mtu: Option<usize>,
    pub(crate) offload: bool,
    pub(crate) queues: usize,
    pub(crate) host_address: Option<(IpAddr, u8)>,
    pub(crate) queue_len: u32,
}

impl Setup<'_> {
    fn mode(&self) -> (&'static str, libc::c_int) {
        match self.medium {
            Medium::Ethernet => ("tap", libc::IFF_TAP),
            Medium::Ip => ("tun", libc::IFF_TUN),
        }
    }

    /// Opens the queues and sets the interface up; also tells the interface's handle, for its address.
    pub(crate) fn open(&self) -> Result<(Interface, NetDev), OpenError> {
        netdev::check_name(self.name)?;
        if !(1..=256).contains(&self.queues) {
            return Err(OpenError::BadOption(format!(
                "{} queues: use 1 to 256",
                self.queues
            )));
        }
        let (first, name) = self.attach(self.name)?;
        let mut files = vec![first];
        while files.len() < self.queues {
            files.push(self.attach(&name)?.0);
        }
        let offloads = self.set_offloads(&files)?;
        let netdev = NetDev::new(&name)?;
        self.configure(&netdev)?;
        let mtu = netdev.mtu()?;
        let capabilities = Capabilities {
            medium: self.medium,
            mtu,
            mac: None,
            tx_checksum: self.offload,
            // What we may write does not depend on what the kernel hands over: it cuts anything.
            tso4: self.offload,
            tso6: self.offload,
            uso: offloads & libc::TUN_F_USO4 != 0,
            max_segmented_bytes: if self.offload { 65_535 } else { mtu },
        };
        let counters = Arc::new(DeviceCounters::default());
        let queues = files
            .into_iter()
            .map(|file| queue(file, &name, self.offload, &counters))
            .collect();
        tracing::debug!(interface = name, ?capabilities, "opened");
        Ok((
            Interface {
                name,
                capabilities,
                queues,
                counters,
            },
            netdev,
        ))
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

fn queue(file: File, name: &str, vnet: bool, counters: &Arc<DeviceCounters>) -> Queue {
    let port = Port {
        file: Arc::new(file),
        name: name.into(),
        vnet,
        counters: Arc::clone(counters),
    };
    Queue {
        receive: Box::new(Reader {
            port: port.clone(),
            blocks: Blocks::new(),
        }),
        transmit: Box::new(Writer { port }),
    }
}

#[derive(Clone)]
struct Port {
    file: Arc<File>,
    name: Arc<str>,
    vnet: bool,
    counters: Arc<DeviceCounters>,
}

struct Reader {
    port: Port,
    blocks: Blocks,
}

impl Reader {
    /// The next frame with whatever stands in front of it; `None` when there is none.
    fn read(&mut self) -> io::Result<Option<Bytes>> {
        let room = self.blocks.room();
        // SAFETY: the kernel writes at most `room.len()` bytes to memory that is ours.
        let n = unsafe {
            libc::read(
                self.port.file.as_raw_fd(),
                room.as_mut_ptr().cast(),
                room.len(),
            )
        };
        let Ok(n) = usize::try_from(n) else {
            let error = io::Error::last_os_error();
            return if error.kind() == ErrorKind::WouldBlock {
                Ok(None)
            } else {
                Err(error)
            };
        };
        // SAFETY: the kernel wrote the first `n` bytes of the room.
        Ok(Some(unsafe { self.blocks.take(n) }))
    }

    fn decode(&self, mut bytes: Bytes) -> Option<RxFrame> {
        if !self.port.vnet {
            return Some(RxFrame {
                data: bytes,
                ..RxFrame::default()
            });
        }
        let header = *bytes.first_chunk::<VNET_HEADER_BYTES>()?;
        bytes.advance(VNET_HEADER_BYTES);
        vnet::receive(&header, bytes, None)
    }
}

impl Receive for Reader {
    fn receive(&mut self, into: &mut Vec<RxFrame>, limit: usize) -> io::Result<usize> {
        let (mut frames, mut bytes) = (0, 0);
        let result = loop {
            if frames == limit {
                break Ok(());
            }
            match self.read() {
                Ok(None) => break Ok(()),
                Ok(Some(read)) => match self.decode(read) {
                    Some(frame) => {
                        frames += 1;
                        bytes += frame.data.len();
                        into.push(frame);
                    }
                    None => self.port.counters.malformed(&self.port.name, "vnet header"),
                },
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                // The kernel had a frame that it could not describe in a vnet header, and dropped it.
                Err(error) if error.raw_os_error() == Some(libc::EINVAL) => {
                    self.port
                        .counters
                        .malformed(&self.port.name, "no vnet header for it");
                }
                Err(error) => break Err(error),
            }
        };
        self.port.counters.received(frames, bytes);
        result.map(|()| frames)
    }

    fn wait_fd(&self) -> Option<BorrowedFd<'_>> {
        Some(self.port.file.as_fd())
    }
}

struct Writer {
    port: Port,
}

impl Writer {
    fn write(&self, frame: &mut TxFrame) -> io::Result<usize> {
        limit_slices(frame);
        let vnet = self.port.vnet.then(|| vnet::encode(frame));
        (&*self.port.file).write_vectored(&gather(vnet.as_ref(), frame))
    }
}

impl Transmit for Writer {
    fn transmit(&mut self, batch: &mut VecDeque<TxFrame>) -> io::Result<()> {
        let (mut frames, mut bytes) = (0, 0);
        let result = loop {
            let Some(frame) = batch.front_mut() else {
                break Ok(());
            };
            match self.write(frame) {
                Ok(_) => {
                    frames += 1;
                    bytes += frame.len();
                }
                Err(error) => match classify(&error) {
                    Refusal::Retry => continue,
                    Refusal::Full => break Ok(()),
                    Refusal::Gone => break Err(error),
                    Refusal::Frame => {
                        self.port
                            .counters
                            .refused(&self.port.name, frame.len(), &error);
                    }
                },
            }
            batch.pop_front();
        };
        self.port.counters.transmitted(frames, bytes);
        result
    }

    fn wait_fd(&self) -> Option<BorrowedFd<'_>> {
        Some(self.port.file.as_fd())
    }
}

/// What a failed write means.
pub(crate) enum Refusal {
    /// Interrupted: again.
    Retry,
    /// No room now.
    Full,
    /// The device no longer exists.
    Gone,
    /// This frame, and only this one: too long, a payload page that is gone, a down interface.
    Frame,
}

pub(crate) fn classify(error: &io::Error) -> Refusal {
    match error.raw_os_error() {
        Some(libc::EINTR) => Refusal::Retry,
        Some(libc::EAGAIN) => Refusal::Full,
        Some(libc::EBADFD | libc::EBADF | libc::ENODEV | libc::ENXIO) => Refusal::Gone,
        _ => Refusal::Frame,
    }
}
