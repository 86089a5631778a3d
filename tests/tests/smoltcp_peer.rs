//! A foreign stack as peer: the `smoltcp` crate, in virtual time, as server and as client, over clean and
//! bad links. Both directions carry data at once; every byte is checked at its position.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;

use bytes::Bytes;
use outlive_driver::impairment::Impairment;
use outlive_driver::{Instant, Random, RxFrame, TxFrame};
use outlive_tests::simulation::application::{End, Plan, Record, connect, run};
use outlive_tests::simulation::host::{Host, address, mac};
use outlive_tests::simulation::node::Node;
use outlive_tests::simulation::pattern::Pattern;
use outlive_tests::simulation::world::World;
use smoltcp::iface::{Config, Interface, SocketHandle, SocketSet};
use smoltcp::phy::{self, ChecksumCapabilities, DeviceCapabilities, Medium};
use smoltcp::socket::tcp;
use smoltcp::wire::{EthernetAddress, HardwareAddress, IpAddress, IpCidr, IpEndpoint, Ipv4Address};

const PORT: u16 = 80;
const MTU: usize = 1500;

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

/// What the application on smoltcp has seen.
#[derive(Default)]
struct Seen {
    sent: u64,
    received: u64,
    mismatch: Option<u64>,
    end_of_stream: bool,
    finished: bool,
}

/// A host that runs smoltcp with one TCP socket and an application that sends a pattern, reads a pattern
/// and closes when it has sent all.
struct Smoltcp {
    card: Card,
    interface: Interface,
    sockets: SocketSet<'static>,
    handle: SocketHandle,
    sends: Pattern,
    expects: Pattern,
    total: u64,
    seen: Rc<RefCell<Seen>>,
    mac: [u8; 6],
    poll_again: bool,
}

fn time(now: Instant) -> smoltcp::time::Instant {
    smoltcp::time::Instant::from_micros(now.as_micros() as i64)
}

impl Smoltcp {
    fn new(number: u8, seed: u64, patterns: (Pattern, Pattern), total: u64, buffer: usize) -> Self {
        let mac = mac(number);
        let mut card = Card::default();
        let hardware = HardwareAddress::Ethernet(EthernetAddress(mac));
        let mut config = Config::new(hardware);
        config.random_seed = seed;
        let mut interface = Interface::new(config, &mut card, time(Instant::ZERO));
        let [a, b, c, d] = address(number).octets();
        interface.update_ip_addrs(|addresses| {
            let address = IpCidr::new(IpAddress::v4(a, b, c, d), 24);
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
            sends: patterns.0,
            expects: patterns.1,
            total,
            seen: Rc::default(),
            mac,
            poll_again: false,
        }
    }

    fn listen(&mut self) {
        let socket = self.sockets.get_mut::<tcp::Socket<'_>>(self.handle);
        socket.listen(PORT).expect("a closed socket listens");
    }

    fn connect(&mut self, number: u8) {
        let [a, b, c, d] = address(number).octets();
        let remote = IpEndpoint::new(IpAddress::Ipv4(Ipv4Address::new(a, b, c, d)), PORT);
        let socket = self.sockets.get_mut::<tcp::Socket<'_>>(self.handle);
        socket
            .connect(self.interface.context(), remote, 49_999)
            .expect("a closed socket connects");
    }

    /// The application: as much as the socket takes and gives.
    fn run_application(&mut self) {
        let socket = self.sockets.get_mut::<tcp::Socket<'_>>(self.handle);
        let mut seen = self.seen.borrow_mut();
        while socket.can_send() && seen.sent < self.total {
            let len = (self.total - seen.sent).min(3000) as usize;
            let data = self.sends.bytes(seen.sent, len);
            let Ok(taken @ 1..) = socket.send_slice(&data) else {
                break;
            };
            seen.sent += taken as u64;
        }
        if seen.sent == self.total && socket.may_send() {
            socket.close();
        }
        while socket.can_recv() {
            let received = seen.received;
            let (count, wrong) = socket
                .recv(|data| {
                    (
                        data.len(),
                        (data.len(), self.expects.mismatch(received, data)),
                    )
                })
                .expect("there is data");
            seen.mismatch = seen.mismatch.or(wrong);
            seen.received += count as u64;
        }
        let state = socket.state();
        seen.end_of_stream |= matches!(
            state,
            tcp::State::CloseWait
                | tcp::State::LastAck
                | tcp::State::Closing
                | tcp::State::TimeWait
        );
        seen.finished = seen.sent > 0 && matches!(state, tcp::State::Closed | tcp::State::TimeWait);
    }
}

impl Node for Smoltcp {
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
        self.interface
            .poll(time(now), &mut self.card, &mut self.sockets);
        self.run_application();
        self.interface
            .poll(time(now), &mut self.card, &mut self.sockets);
        self.poll_again = !self.card.outbox.is_empty();
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

/// Link conditions that a seed stands for.
fn links(random: &mut Random, bad: bool) -> Impairment {
    let delay = Duration::from_micros(random.below(40_000));
    if !bad {
        return Impairment {
            delay,
            ..Impairment::default()
        };
    }
    Impairment {
        loss: random.below(8) as f64 / 100.0,
        duplicate: random.below(4) as f64 / 100.0,
        reorder: random.below(5) as f64 / 100.0,
        reorder_delay: Duration::from_millis(1 + random.below(20)),
        corrupt: random.below(3) as f64 / 100.0,
        delay,
        jitter: Duration::from_micros(random.below(5_000)),
        ..Impairment::default()
    }
}

/// One exchange with smoltcp; panics with the seed if anything is wrong.
fn exchange(seed: u64, we_serve: bool, bad: bool) {
    let mut random = Random::from_seed(seed);
    let mut world = World::new(seed);
    let (ours, theirs) = (random.below(150_000) + 1, random.below(150_000) + 1);
    let (our_pattern, their_pattern) = (Pattern::new(seed, 0), Pattern::new(seed, 1));
    let buffer = [2048, 8192, 65_535, 300_000][random.below(4) as usize];
    world.set_links(&links(&mut random, bad));
    let host = Host::add(&mut world, 1, MTU, seed);
    let mut peer = Smoltcp::new(2, seed, (their_pattern, our_pattern), theirs, buffer);
    let plan = Plan::simple(our_pattern, ours, their_pattern);
    let record = Record::default();
    let (clock, written) = (world.clock(), record.clone());
    if we_serve {
        peer.connect(1);
        let listener = host.listen(PORT);
        world.spawn(host.id, async move {
            let (stream, _) = listener.accept().await.expect("smoltcp connects");
            run(clock, stream, plan, written).await;
        });
    } else {
        peer.listen();
        let remote = SocketAddr::new(address(2).into(), PORT);
        world.spawn(
            host.id,
            connect(clock, host.stack.clone(), remote, plan, written, |_| ()),
        );
    }
    let seen = Rc::clone(&peer.seen);
    world.add(peer);
    let done = world.run_until_done(Duration::from_secs(600));
    let role = if we_serve { "server" } else { "client" };
    let context = format!("seed {seed}, we are the {role}, bad link: {bad}");
    assert_eq!(done, Ok(true), "{context}");
    world.run_for(Duration::from_secs(150)).expect(&context);
    let (seen, record) = (seen.borrow(), record.borrow());
    assert_eq!(
        (record.mismatch, record.received),
        (None, theirs),
        "{context}"
    );
    assert_eq!(
        (&record.reading, &record.writing),
        (&End::Complete, &End::Complete),
        "{context}"
    );
    assert_eq!((seen.mismatch, seen.received), (None, ours), "{context}");
    assert!(seen.end_of_stream && seen.finished, "{context}");
    assert_eq!(host.stack.connections(), 0, "{context}");
}

#[test]
fn we_serve_smoltcp_on_clean_links() {
    (0..40).for_each(|seed| exchange(seed, true, false));
}

#[test]
fn we_serve_smoltcp_on_bad_links() {
    (100..160).for_each(|seed| exchange(seed, true, true));
}

#[test]
fn smoltcp_serves_us_on_clean_links() {
    (200..240).for_each(|seed| exchange(seed, false, false));
}

#[test]
fn smoltcp_serves_us_on_bad_links() {
    (300..360).for_each(|seed| exchange(seed, false, true));
}
