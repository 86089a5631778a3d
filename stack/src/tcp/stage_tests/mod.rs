//! Readers, writers, table and listeners at work: two hosts joined by a wire that the test holds in its
//! hands, in virtual time.

mod accepting;
mod addresses;
mod connecting;
mod cookies;
mod errors;
mod fast_open;
mod fast_open_client;
mod fields;
mod goodput;
mod memory;
mod options;
mod path_mtu;
mod sharing;
mod timers;

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll, Wake, Waker};
use std::time::Duration;

use bytes::Bytes;
use outlive_driver::Capabilities;

use super::gate::Gate;
use super::{
    Config, Connection, Error, Flags, FourTuple, ListenOptions, Listener, Outcome, SocketOptions,
    State, Tcp, TcpReader, TcpWriter,
};
use crate::checksum;
use crate::counters::{Counter, Counters};
use crate::ip::{self, Cast, Datagram, IcmpError, Ip, TxDatagram};
use crate::random::Random;
use crate::time::Instant;
use crate::wire::tcp::{self, CHECKSUM_OFFSET, Header};

const CLIENT: &str = "10.0.0.1";
const SERVER: &str = "10.0.0.2";

fn server_addr() -> SocketAddr {
    SocketAddr::new(SERVER.parse().unwrap(), 80)
}

/// One host: the shared TCP, both stages, and a timer "wheel" that is a list.
struct Host {
    tcp: Arc<Tcp>,
    counters: Arc<Counters>,
    address: IpAddr,
    reader: TcpReader,
    writer: TcpWriter,
    timers: Vec<(Instant, Arc<Connection>)>,
    work: Vec<Arc<Connection>>,
    out: Vec<TxDatagram>,
}

impl Host {
    fn new(address: &str, config: Config) -> Self {
        Self::gated(address, config, None)
    }

    fn gated(address: &str, config: Config, gate: Option<Arc<dyn Gate>>) -> Self {
        Self::seeded(address, config, gate, 1)
    }

    fn seeded(address: &str, config: Config, gate: Option<Arc<dyn Gate>>, seed: u64) -> Self {
        let counters = Arc::new(Counters::default());
        let ip = Ip::new(
            ip::Config {
                addresses: vec![format!("{address}/24").parse().unwrap()],
                ..ip::Config::default()
            },
            &Capabilities::plain_ethernet([2, 0, 0, 0, 0, 1], 1500),
            Arc::clone(&counters),
            [7; 16],
        );
        let random = Random::from_seed(seed);
        let mut tcp = Tcp::new(config, [7; 16], random, Arc::new(ip), Arc::clone(&counters));
        if let Some(gate) = gate {
            tcp = tcp.with_gate(gate);
        }
        let tcp = Arc::new(tcp);
        Self {
            reader: TcpReader::new(Arc::clone(&tcp)),
            writer: TcpWriter::new(Arc::clone(&tcp)),
            address: address.parse().unwrap(),
            tcp,
            counters,
            timers: Vec::new(),
            work: Vec::new(),
            out: Vec::new(),
        }
    }

    fn count(&self, counter: Counter) -> u64 {
        self.counters.get(counter)
    }

    fn take(&mut self, mut outcome: Outcome<Connection>) {
        self.work.append(&mut outcome.output);
        self.out.append(&mut outcome.datagrams);
        for (deadline, connection) in outcome.timers {
            if connection.arm(deadline) {
                self.timers.push((deadline, connection));
            }
        }
        outcome.wakers.into_iter().for_each(Waker::wake);
    }

    fn output(&mut self, connection: &Arc<Connection>) {
        if connection.schedule() {
            self.work.push(Arc::clone(connection));
        }
    }

    fn write(&mut self, now: Instant) {
        while !self.work.is_empty() {
            let mut outcome = Outcome::default();
            self.writer.process(now, &mut self.work, &mut outcome);
            assert!(self.work.is_empty());
            self.take(outcome);
        }
    }

    fn receive(&mut self, now: Instant, mut datagrams: Vec<Datagram>) {
        let mut outcome = Outcome::default();
        self.reader
            .process(now, &mut datagrams, &mut Vec::new(), &mut outcome);
        assert!(datagrams.is_empty());
        self.take(outcome);
        self.write(now);
    }

    fn receive_error(&mut self, now: Instant, error: IcmpError) {
        let (mut errors, mut outcome) = (vec![error], Outcome::default());
        self.reader
            .process(now, &mut Vec::new(), &mut errors, &mut outcome);
        self.take(outcome);
        self.write(now);
    }

    fn fire_timers(&mut self, now: Instant) {
        let due: Vec<_> = self.timers.extract_if(.., |timer| timer.0 <= now).collect();
        for (deadline, connection) in due {
            if connection.disarm(deadline) {
                self.output(&connection);
            }
        }
        self.write(now);
    }

    fn listen(&self, options: ListenOptions) -> Arc<Listener> {
        self.tcp.listen(server_addr(), options).unwrap()
    }

    /// Starts a connection to the server; its SYN is in `out` then.
    fn connect(&mut self, now: Instant) -> Arc<Connection> {
        let options = SocketOptions::default();
        let connection = self.tcp.connect(now, None, server_addr(), options).unwrap();
        self.output(&connection);
        self.write(now);
        connection
    }

    fn send(&mut self, now: Instant, connection: &Arc<Connection>, bytes: &[u8]) {
        let taken = connection.tcb.lock().send_copy(bytes).unwrap();
        assert_eq!(taken, bytes.len());
        self.output(connection);
        self.write(now);
    }

    fn close(&mut self, now: Instant, connection: &Arc<Connection>) {
        connection.tcb.lock().close(now);
        self.output(connection);
        self.write(now);
    }
}

/// What arrives when `sent` crosses a wire without loss.
fn arrival(sent: &TxDatagram) -> Datagram {
    let mut bytes = sent.frame.to_vec();
    let sum = checksum::checksum(&bytes);
    bytes[CHECKSUM_OFFSET..CHECKSUM_OFFSET + 2].copy_from_slice(&sum.to_be_bytes());
    Datagram {
        source: sent.source,
        destination: sent.destination,
        protocol: sent.protocol,
        tos: sent.tos,
        ttl: sent.ttl,
        cast: Cast::Unicast,
        payload: Bytes::from(bytes),
        checksum_ok: false,
        segment_bytes: None,
        original: Bytes::new(),
    }
}

fn arrivals(sent: &[TxDatagram]) -> Vec<Datagram> {
    sent.iter().map(arrival).collect()
}

fn header(sent: &TxDatagram) -> Header {
    tcp::parse(&sent.frame.to_vec()).unwrap()
}

/// A segment that no stack of ours made.
fn forged(header: &Header) -> Datagram {
    let mut frame = crate::packet::TxFrame::default();
    header.emit(frame.head.prepend(header.emitted_len()));
    let (source, destination): (IpAddr, IpAddr) =
        (CLIENT.parse().unwrap(), SERVER.parse().unwrap());
    let pseudo = checksum::pseudo_header(source, destination, 6, frame.len());
    frame.head.as_mut_slice()[16..18].copy_from_slice(&pseudo.to_be_bytes());
    arrival(&TxDatagram {
        frame,
        source,
        destination,
        protocol: 6,
        tos: 0,
        ttl: 64,
        may_fragment: false,
        options: None,
    })
}

fn syn_from(source_port: u16) -> Datagram {
    forged(&Header {
        source_port,
        destination_port: 80,
        seq: 1000,
        flags: Flags::SYN,
        window: 65_535,
        ..Header::default()
    })
}

struct Net {
    now: Instant,
    client: Host,
    server: Host,
}

impl Net {
    fn new() -> Self {
        Self::with(Config::default())
    }

    fn with(server: Config) -> Self {
        Self {
            now: Instant::from_millis(10_000),
            client: Host::new(CLIENT, Config::default()),
            server: Host::new(SERVER, server),
        }
    }

    /// Carries everything to the other side until nobody says anything more.
    fn settle(&mut self) {
        for _ in 0..10_000 {
            let up = arrivals(&std::mem::take(&mut self.client.out));
            let down = arrivals(&std::mem::take(&mut self.server.out));
            if up.is_empty() && down.is_empty() {
                return;
            }
            self.server.receive(self.now, up);
            self.client.receive(self.now, down);
        }
        panic!("two hosts talk for ever");
    }

    /// Lets time pass, from timer to timer, and carries what they cause.
    fn advance(&mut self, duration: Duration) {
        let end = self.now + duration;
        loop {
            let timers = self.client.timers.iter().chain(&self.server.timers);
            let next = timers.map(|timer| timer.0).min();
            match next.filter(|&next| next <= end) {
                Some(next) => self.now = next.max(self.now),
                None => break,
            }
            self.client.fire_timers(self.now);
            self.server.fire_timers(self.now);
            self.settle();
        }
        self.now = end;
    }

    /// Settles, and has the client read whatever arrives, for `duration`.
    fn client_reads(&mut self, client: &Arc<Connection>, duration: Duration) -> Vec<u8> {
        let mut bytes = Vec::new();
        let end = self.now + duration;
        while self.now < end {
            self.settle();
            bytes.extend(read_all(client));
            self.client.output(client);
            self.client.write(self.now);
            self.advance(Duration::from_millis(1));
        }
        bytes
    }

    fn accept(&mut self, listener: &Listener) -> Option<Arc<Connection>> {
        match listener.poll_accept(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(connection) => Some(connection.unwrap()),
            Poll::Pending => None,
        }
    }

    /// A connection, both of its ends.
    fn establish(&mut self) -> (Arc<Connection>, Arc<Connection>) {
        let listener = self.server.listen(ListenOptions::default());
        let client = self.client.connect(self.now);
        self.settle();
        let server = self.accept(&listener).unwrap();
        assert_eq!(state(&client), State::Established);
        assert_eq!(state(&server), State::Established);
        self.server.tcp.close_listener(&listener);
        (client, server)
    }
}

fn state(connection: &Connection) -> State {
    connection.tcb.lock().state()
}

fn error(connection: &Connection) -> Option<Error> {
    connection.tcb.lock().error()
}

fn read_all(connection: &Connection) -> Vec<u8> {
    let (mut bytes, mut tcb) = (Vec::new(), connection.tcb.lock());
    while let Ok(Some(more)) = tcb.recv_bytes(usize::MAX)
        && !more.is_empty()
    {
        bytes.extend_from_slice(&more);
    }
    bytes
}

/// Counts its wake-ups.
#[derive(Default)]
struct Bell(AtomicUsize);

impl Bell {
    fn rings(&self) -> usize {
        self.0.load(Ordering::Relaxed)
    }
}

impl Wake for Bell {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}
