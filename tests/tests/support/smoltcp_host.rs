//! A host that runs the `smoltcp` crate with one TCP socket, for simulated networks.

use std::collections::VecDeque;
use std::net::Ipv4Addr;
use std::time::Duration;

use bytes::Bytes;
use outlive_driver::{Instant, RxFrame, TxFrame};
use outlive_tests::simulation::host::{address, mac};
use outlive_tests::simulation::node::Node;
use smoltcp::iface::{Config, Interface, SocketHandle, SocketSet};
use smoltcp::phy::{self, ChecksumCapabilities, DeviceCapabilities, Medium};
use smoltcp::socket::tcp;
use smoltcp::wire::{EthernetAddress, HardwareAddress, IpAddress, IpCidr, IpEndpoint, Ipv4Address};

/// Largest IP datagram.
pub(crate) const MTU: usize = 1500;

/// What smoltcp sees as its device: a queue either way.
#[derive(Default)]
struct Card {
    inbox: VecDeque<Bytes>,
    outbox: Vec<Vec<u8>>,
}

struct Inbound(Bytes);
struct Outbound<'a>(&'a mut Vec<Vec<u8>>);

impl phy::RxToken for Inbound {
    fn consume<R, F: FnOnce(&[u8]) -> R>(self, f: F) -> R {
        f(&self.0)
    }
}

impl phy::TxToken for Outbound<'_> {
    fn consume<R, F: FnOnce(&mut [u8]) -> R>(self, len: usize, f: F) -> R {
        let mut frame = vec![0; len];
        let result = f(&mut frame);
        self.0.push(frame);
        result
    }
}

impl phy::Device for Card {
    type RxToken<'a> = Inbound;
    type TxToken<'a> = Outbound<'a>;

    fn receive(&mut self, _: smoltcp::time::Instant) -> Option<(Inbound, Outbound<'_>)> {
        let frame = self.inbox.pop_front()?;
        Some((Inbound(frame), Outbound(&mut self.outbox)))
    }

    fn transmit(&mut self, _: smoltcp::time::Instant) -> Option<Outbound<'_>> {
        Some(Outbound(&mut self.outbox))
    }

    fn capabilities(&self) -> DeviceCapabilities {
        let mut capabilities = DeviceCapabilities::default();
        capabilities.medium = Medium::Ethernet;
        capabilities.max_transmission_unit = MTU + 14;
        capabilities.checksum = ChecksumCapabilities::default();
        capabilities
    }
}

/// What uses the socket, whenever the host is polled.
pub(crate) type Application = Box<dyn FnMut(Instant, &mut tcp::Socket<'static>)>;

/// The host.
pub(crate) struct SmoltcpHost {
    card: Card,
    interface: Interface,
    sockets: SocketSet<'static>,
    handle: SocketHandle,
    mac: [u8; 6],
    application: Application,
}

fn time(now: Instant) -> smoltcp::time::Instant {
    smoltcp::time::Instant::from_micros(now.as_micros() as i64)
}

impl SmoltcpHost {
    /// Host number `number` with a socket of `buffer` bytes each way.
    pub(crate) fn new(
        number: u8,
        seed: u64,
        buffer: usize,
        now: Instant,
        application: Application,
    ) -> Self {
        let mac = mac(number);
        let mut card = Card::default();
        let hardware = HardwareAddress::Ethernet(EthernetAddress(mac));
        let mut config = Config::new(hardware);
        config.random_seed = seed;
        let mut interface = Interface::new(config, &mut card, time(now));
        interface.update_ip_addrs(|addresses| {
            let address = IpCidr::new(ip(address(number)), 24);
            addresses.push(address).expect("room for one address");
        });
        let buffers = || tcp::SocketBuffer::new(vec![0; buffer]);
        let mut sockets = SocketSet::new(Vec::new());
        let handle = sockets.add(tcp::Socket::new(buffers(), buffers()));
        Self {
            card,
            interface,
            sockets,
            handle,
            mac,
            application,
        }
    }

    /// Waits for a connection.
    #[allow(dead_code, reason = "not every test binary has it listen")]
    pub(crate) fn listen(&mut self, port: u16) {
        let socket = self.sockets.get_mut::<tcp::Socket<'_>>(self.handle);
        socket.listen(port).expect("a closed socket listens");
    }

    /// Opens a connection.
    pub(crate) fn connect(&mut self, remote: Ipv4Addr, port: u16) {
        let remote = IpEndpoint::new(ip(remote), port);
        let socket = self.sockets.get_mut::<tcp::Socket<'_>>(self.handle);
        socket
            .connect(self.interface.context(), remote, 49_999)
            .expect("a closed socket connects");
    }
}

fn ip(address: Ipv4Addr) -> IpAddress {
    let [a, b, c, d] = address.octets();
    IpAddress::Ipv4(Ipv4Address::new(a, b, c, d))
}

impl Node for SmoltcpHost {
    fn mac(&self) -> [u8; 6] {
        self.mac
    }

    fn mtu(&self) -> usize {
        MTU
    }

    fn strict(&self) -> bool {
        false
    }

    fn receive(&mut self, _: Instant, frames: &mut Vec<RxFrame>) {
        self.card
            .inbox
            .extend(frames.drain(..).map(|frame| frame.data));
    }

    fn poll(&mut self, now: Instant, out: &mut VecDeque<TxFrame>) {
        let at = time(now);
        self.interface.poll(at, &mut self.card, &mut self.sockets);
        let socket = self.sockets.get_mut::<tcp::Socket<'_>>(self.handle);
        (self.application)(now, socket);
        self.interface.poll(at, &mut self.card, &mut self.sockets);
        for bytes in self.card.outbox.drain(..) {
            let mut frame = TxFrame::default();
            frame.payload.push(Bytes::from(bytes));
            out.push_back(frame);
        }
    }

    fn next_deadline(&mut self, now: Instant) -> Option<Instant> {
        let at = self.interface.poll_at(time(now), &self.sockets)?;
        // smoltcp may name a moment that has passed; a microsecond later it has moved on.
        let at = Instant::from_micros(u64::try_from(at.total_micros()).unwrap_or(0));
        Some(at.max(now + Duration::from_micros(1)))
    }
}
