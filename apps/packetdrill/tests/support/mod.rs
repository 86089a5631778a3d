//! The far side of the interface: a caller with the function pointers, and a peer made of raw packets.
#![allow(dead_code, reason = "not every test uses all of it")]

use std::mem::MaybeUninit;
use std::net::Ipv4Addr;
use std::ptr;

use libc::{c_int, c_void, sockaddr, sockaddr_in, socklen_t, timeval};
use outlive::checksum;
use outlive::wire::ipv4;
use outlive::wire::tcp::{self, Flags, Header, Options};
use outlive_packetdrill::{Interface, packetdrill_interface_init};

pub(crate) const LOCAL: Ipv4Addr = Ipv4Addr::new(192, 168, 0, 1);
pub(crate) const REMOTE: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 1);
pub(crate) const PORT: u16 = 8080;
pub(crate) const PEER_PORT: u16 = 40_000;
/// The peer's initial sequence number.
pub(crate) const PEER_ISS: u32 = 1000;

/// A packet that left.
#[derive(Clone, Debug)]
pub(crate) struct Out {
    /// Microseconds on the interface's clock.
    pub(crate) at_us: i64,
    pub(crate) header: Header,
    pub(crate) payload: Vec<u8>,
}

/// One instance of the library.
pub(crate) struct Host {
    interface: Interface,
}

// SAFETY: the interface is made to be called from several threads.
unsafe impl Send for Host {}
// SAFETY: the same.
unsafe impl Sync for Host {}

/// Calls a function of the interface; what it wants of its arguments holds in these tests.
macro_rules! call {
    ($host:expr, $name:ident $(, $argument:expr)*) => {{
        let interface = $host.interface();
        // SAFETY: the arguments are what the call of that name wants.
        unsafe { (interface.$name)(interface.userdata $(, $argument)*) }
    }};
}

pub(crate) fn errno() -> i32 {
    std::io::Error::last_os_error().raw_os_error().unwrap()
}

/// The name of an IPv4 socket address.
pub(crate) fn name(address: Ipv4Addr, port: u16) -> sockaddr_in {
    sockaddr_in {
        sin_family: libc::AF_INET as u16,
        sin_port: port.to_be(),
        sin_addr: libc::in_addr {
            s_addr: u32::from(address).to_be(),
        },
        sin_zero: [0; 8],
    }
}

impl Host {
    pub(crate) fn new() -> Self {
        Self::with("seed=7")
    }

    /// With those flags.
    pub(crate) fn with(flags: &str) -> Self {
        let flags = std::ffi::CString::new(flags).unwrap();
        let mut interface = MaybeUninit::uninit();
        // SAFETY: there is room for the struct, and the flags end with a zero.
        let interface = unsafe {
            packetdrill_interface_init(flags.as_ptr(), interface.as_mut_ptr());
            interface.assume_init()
        };
        Self { interface }
    }

    pub(crate) fn interface(&self) -> &Interface {
        &self.interface
    }

    pub(crate) fn socket(&self) -> c_int {
        let fd = call!(self, socket, libc::AF_INET, libc::SOCK_STREAM, 0);
        assert!(fd >= 0);
        fd
    }

    pub(crate) fn bind(&self, fd: c_int) -> c_int {
        let name = name(LOCAL, PORT);
        call!(self, bind, fd, (&raw const name).cast::<sockaddr>(), 16)
    }

    pub(crate) fn listening(&self) -> c_int {
        let fd = self.socket();
        assert_eq!(self.bind(fd), 0);
        assert_eq!(call!(self, listen, fd, 4), 0);
        fd
    }

    pub(crate) fn accept(&self, fd: c_int) -> c_int {
        call!(self, accept, fd, ptr::null_mut(), ptr::null_mut())
    }

    pub(crate) fn connect(&self, fd: c_int) -> c_int {
        let name = name(REMOTE, PEER_PORT);
        call!(self, connect, fd, (&raw const name).cast::<sockaddr>(), 16)
    }

    pub(crate) fn set_nonblocking(&self, fd: c_int) {
        assert_eq!(call!(self, fcntl, fd, libc::F_SETFL, libc::O_NONBLOCK), 0);
    }

    pub(crate) fn set_int(&self, fd: c_int, level: c_int, name: c_int, value: c_int) -> c_int {
        let value = (&raw const value).cast::<c_void>();
        call!(self, setsockopt, fd, level, name, value, 4)
    }

    pub(crate) fn get_int(&self, fd: c_int, level: c_int, name: c_int) -> c_int {
        let mut value: c_int = -1;
        let mut length: socklen_t = 4;
        let place = (&raw mut value).cast::<c_void>();
        assert_eq!(
            call!(self, getsockopt, fd, level, name, place, &raw mut length),
            0
        );
        assert_eq!(length, 4);
        value
    }

    pub(crate) fn write(&self, fd: c_int, bytes: &[u8]) -> isize {
        call!(self, write, fd, bytes.as_ptr().cast(), bytes.len())
    }

    pub(crate) fn read(&self, fd: c_int, room: usize) -> Result<Vec<u8>, i32> {
        let mut buffer = vec![0; room];
        let read = call!(self, read, fd, buffer.as_mut_ptr().cast(), room);
        if read < 0 {
            return Err(errno());
        }
        buffer.truncate(read as usize);
        Ok(buffer)
    }

    pub(crate) fn close(&self, fd: c_int) {
        assert_eq!(call!(self, close, fd), 0);
    }

    pub(crate) fn now_us(&self) -> i64 {
        let mut now = timeval {
            tv_sec: 0,
            tv_usec: 0,
        };
        assert_eq!(call!(self, gettimeofday, &raw mut now, ptr::null_mut()), 0);
        now.tv_sec * 1_000_000 + now.tv_usec
    }

    pub(crate) fn sleep_ms(&self, millis: u32) {
        assert_eq!(call!(self, usleep, millis * 1000), 0);
    }

    /// The next IP packet that leaves, and when; none when none will come.
    pub(crate) fn next_packet(&self) -> Option<(i64, Vec<u8>)> {
        let mut buffer = vec![0_u8; 65_536];
        let mut count = buffer.len();
        let mut at_us = 0;
        let received = call!(
            self,
            netdev_receive,
            buffer.as_mut_ptr().cast(),
            &raw mut count,
            &raw mut at_us
        );
        assert_eq!(received, 0);
        buffer.truncate(count);
        (count > 0).then_some((at_us, buffer))
    }

    /// The next segment that leaves; none when none will come.
    pub(crate) fn next(&self) -> Option<Out> {
        let (at_us, packet) = self.next_packet()?;
        let packet = &packet[..];
        let ip = ipv4::parse(packet).unwrap();
        assert_eq!(usize::from(ip.total_len), packet.len());
        assert_eq!((ip.source, ip.destination), (LOCAL, REMOTE));
        let segment = &packet[usize::from(ip.header_len)..];
        let pseudo =
            checksum::pseudo_header(ip.source.into(), ip.destination.into(), 6, segment.len());
        let sum = checksum::combine(pseudo, checksum::sum(segment), false);
        assert_eq!(sum, 0xffff, "the checksum is right");
        let header = tcp::parse(segment).unwrap();
        let payload = segment[usize::from(header.header_len)..].to_vec();
        Some(Out {
            at_us,
            header,
            payload,
        })
    }

    /// A segment of the peer.
    pub(crate) fn inject(&self, peer_port: u16, header: Header, payload: &[u8]) {
        let header = Header {
            source_port: peer_port,
            destination_port: if header.destination_port == 0 {
                PORT
            } else {
                header.destination_port
            },
            window: 32_000,
            ..header
        };
        let tcp_len = header.emitted_len() + payload.len();
        let mut packet = ip_packet(6, tcp_len);
        let header_end = 20 + header.emitted_len();
        header.emit(&mut packet[20..header_end]);
        packet[header_end..].copy_from_slice(payload);
        let pseudo = checksum::pseudo_header(REMOTE.into(), LOCAL.into(), 6, tcp_len);
        let sum = checksum::combine(pseudo, checksum::sum(&packet[20..]), false);
        packet[36..38].copy_from_slice(&(!sum).to_be_bytes());
        self.inject_packet(&packet);
    }

    pub(crate) fn inject_packet(&self, packet: &[u8]) {
        let (start, count) = (packet.as_ptr().cast(), packet.len());
        assert_eq!(call!(self, netdev_send, start, count), 0);
    }
}

/// An IP packet of the peer, with room for that much.
pub(crate) fn ip_packet(protocol: u8, len: usize) -> Vec<u8> {
    let mut packet = vec![0; 20 + len];
    let ip = ipv4::Header {
        header_len: 20,
        tos: 0,
        total_len: packet.len() as u16,
        identification: 1,
        dont_fragment: true,
        more_fragments: false,
        fragment_offset: 0,
        ttl: 64,
        protocol,
        checksum: 0,
        source: REMOTE,
        destination: LOCAL,
    };
    ip.emit(&[], &mut packet[..20]);
    let sum = checksum::checksum(&packet[..20]);
    packet[10..12].copy_from_slice(&sum.to_be_bytes());
    packet
}

/// A connection from the peer's side.
pub(crate) struct Peer {
    pub(crate) port: u16,
    pub(crate) local_port: u16,
    pub(crate) seq: u32,
    pub(crate) ack: u32,
}

impl Peer {
    pub(crate) fn send(&mut self, host: &Host, flags: Flags, payload: &[u8]) {
        let header = Header {
            destination_port: self.local_port,
            seq: self.seq,
            ack: self.ack,
            flags,
            ..Header::default()
        };
        host.inject(self.port, header, payload);
        let octets = u32::from(flags.contains(Flags::SYN)) + u32::from(flags.contains(Flags::FIN));
        self.seq = self.seq.wrapping_add(payload.len() as u32 + octets);
    }

    /// A connection to the listening port: SYN, SYN-ACK, ACK.
    pub(crate) fn open(host: &Host, port: u16) -> Self {
        let mut peer = Self::half_open(host, port);
        peer.send(host, Flags::ACK, &[]);
        peer
    }

    /// The same without its last ACK.
    pub(crate) fn half_open(host: &Host, port: u16) -> Self {
        let syn = Header {
            seq: PEER_ISS,
            flags: Flags::SYN,
            options: Options {
                mss: Some(1000),
                ..Options::default()
            },
            ..Header::default()
        };
        host.inject(port, syn, &[]);
        let syn_ack = host.next().expect("a SYN-ACK");
        assert!(syn_ack.header.flags.contains(Flags::SYN.with(Flags::ACK)));
        Self {
            port,
            local_port: PORT,
            seq: PEER_ISS + 1,
            ack: syn_ack.header.seq + 1,
        }
    }
}

/// An accepted connection, and its peer.
pub(crate) fn connected(host: &Host) -> (c_int, Peer) {
    let listener = host.listening();
    let peer = Peer::open(host, PEER_PORT);
    let fd = host.accept(listener);
    assert!(fd >= 0);
    (fd, peer)
}
