//! A host with listeners, and segments and ICMP errors from few peers in any order: readers, table, SYN queue, cookies,
//! TIME-WAIT. Nothing panics, limits hold, and nobody is answered more than he sent.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use arbitrary::Unstructured;
use bytes::Bytes;
use outlive::checksum;
use outlive::counters::Counters;
use outlive::ip::{self, Cast, Datagram, ErrorKind, IcmpError, Ip, TxDatagram};
use outlive::random::Random;
use outlive::tcp::{
    Config, Connection, ListenOptions, Listener, Outcome, Tcp, TcpReader, TcpWriter,
};
use outlive::time::Instant;
use outlive::wire::tcp::{Flags, Header, Options};
use outlive_driver::Capabilities;

const OURS: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 1);
const MOST_STEPS: usize = 400;
const MOST_CONNECTIONS: usize = 12;
const HEADER_LEN: usize = 20;

/// Runs one input.
pub fn run(bytes: &[u8]) {
    let _ = steps(&mut Unstructured::new(bytes));
}

struct Host {
    now: Instant,
    tcp: Arc<Tcp>,
    reader: TcpReader,
    writer: TcpWriter,
    listeners: Vec<Arc<Listener>>,
    accepted: Vec<Arc<Connection>>,
    timers: Vec<(Instant, Arc<Connection>)>,
    /// What was sent last, to be answered or quoted.
    last: Option<TxDatagram>,
}

impl Host {
    fn new() -> Self {
        let config = ip::Config {
            addresses: vec!["10.0.0.1/24".parse().expect("an address")],
            ..ip::Config::default()
        };
        let (capabilities, counters) = (
            Capabilities::plain_ethernet([2, 0, 0, 0, 0, 1], 1500),
            Arc::new(Counters::default()),
        );
        let ip = Arc::new(Ip::new(
            config,
            &capabilities,
            Arc::clone(&counters),
            [7; 16],
        ));
        let config = Config {
            max_connections: MOST_CONNECTIONS,
            max_half_open: 6,
            max_time_wait: 3,
            ..Config::default()
        };
        let tcp = Arc::new(Tcp::new(
            config,
            [7; 16],
            Random::from_seed(1),
            ip,
            counters,
        ));
        let listen = |port: u16, half_open| {
            let options = ListenOptions {
                backlog: 2,
                max_half_open: half_open,
                syn_cookies: port == 80,
                ..ListenOptions::default()
            };
            tcp.listen((OURS, port).into(), options)
                .expect("a free port")
        };
        Self {
            now: Instant::from_millis(1_000_000),
            listeners: vec![listen(80, 2), listen(81, 2)],
            reader: TcpReader::new(Arc::clone(&tcp)),
            writer: TcpWriter::new(Arc::clone(&tcp)),
            tcp,
            accepted: Vec::new(),
            timers: Vec::new(),
            last: None,
        }
    }

    /// Hands in segments and errors; what comes of it, bounded.
    fn receive(&mut self, datagrams: Vec<Datagram>, errors: Vec<IcmpError>) {
        let (mut datagrams, mut errors, mut outcome) = (datagrams, errors, Outcome::default());
        self.reader
            .process(self.now, &mut datagrams, &mut errors, &mut outcome);
        self.settle(outcome);
        assert!(self.tcp.len() <= MOST_CONNECTIONS);
    }

    fn settle(&mut self, mut outcome: Outcome<Connection>) {
        for _ in 0..1000 {
            for (deadline, connection) in outcome.timers.drain(..) {
                if connection.arm(deadline) {
                    self.timers.push((deadline, connection));
                }
            }
            self.last = outcome.datagrams.pop().or(self.last.take());
            let mut work = std::mem::take(&mut outcome.output);
            if work.is_empty() {
                return;
            }
            outcome = Outcome::default();
            self.writer.process(self.now, &mut work, &mut outcome);
        }
        panic!("a connection that always has something to send");
    }

    fn look_at(&mut self, connection: Arc<Connection>) {
        if connection.schedule() {
            let mut outcome = Outcome::default();
            outcome.output.push(connection);
            self.settle(outcome);
        }
    }

    fn wait(&mut self, time: Duration) {
        self.now += time;
        let now = self.now;
        let due: Vec<_> = self.timers.extract_if(.., |timer| timer.0 <= now).collect();
        for (deadline, connection) in due {
            if connection.disarm(deadline) {
                self.look_at(connection);
            }
        }
    }

    fn accept(&mut self) {
        let cx = &mut Context::from_waker(Waker::noop());
        for listener in &self.listeners {
            if let Poll::Ready(Ok(connection)) = listener.poll_accept(cx) {
                self.accepted.push(connection);
            }
        }
    }
}

fn steps(input: &mut Unstructured<'_>) -> arbitrary::Result<()> {
    let mut host = Host::new();
    for _ in 0..MOST_STEPS {
        if input.is_empty() {
            break;
        }
        match input.int_in_range(0..=15_u8)? {
            0..=7 => {
                let datagram = segment(input, host.last.as_ref())?;
                host.receive(vec![datagram], Vec::new());
            }
            8 => {
                let errors = error(input, host.last.as_ref())?;
                host.receive(Vec::new(), errors);
            }
            9 => host.accept(),
            10 => {
                if let Some(connection) = host.accepted.last().map(Arc::clone) {
                    let _ = connection.tcb.lock().send_copy(&[1; 3000]);
                    host.look_at(connection);
                }
            }
            11 => {
                if let Some(connection) = host.accepted.last().map(Arc::clone) {
                    let _ = connection.tcb.lock().recv(&mut [0; 3000]);
                    host.look_at(connection);
                }
            }
            12 => {
                if let Some(connection) = host.accepted.pop() {
                    connection.tcb.lock().close(host.now);
                    host.look_at(connection);
                }
            }
            13 => host.wait(Duration::from_millis(u64::from(input.arbitrary::<u16>()?))),
            14 => host.wait(Duration::from_micros(u64::from(input.arbitrary::<u16>()?))),
            _ => {
                let to = (Ipv4Addr::new(10, 0, 0, 2), 7).into();
                let opened = host.tcp.connect(host.now, None, to, Default::default());
                if let Ok(connection) = opened {
                    host.look_at(Arc::clone(&connection));
                    host.accepted.push(connection);
                }
            }
        }
    }
    // All of it ends: whoever is left hears nothing more.
    for connection in std::mem::take(&mut host.accepted) {
        connection.tcb.lock().abort();
        host.look_at(connection);
    }
    Ok(())
}

/// A segment of one of few peers: an answer to what we sent last, or anything.
fn segment(input: &mut Unstructured<'_>, last: Option<&TxDatagram>) -> arbitrary::Result<Datagram> {
    let quoted = last.map(|it| it.frame.to_vec());
    let parsed = quoted.and_then(|bytes| outlive::wire::tcp::parse(&bytes).ok());
    let mut header = Header {
        source_port: 1000 + u16::from(input.int_in_range(0..=7_u8)?),
        destination_port: 80 + u16::from(input.int_in_range(0..=2_u8)?),
        seq: 77,
        flags: Flags::SYN,
        window: input.arbitrary()?,
        ..Header::default()
    };
    let mut source = Ipv4Addr::new(10, 0, 0, 2 + input.int_in_range(0..=2_u8)?);
    if let Some(sent) = parsed
        && input.ratio(3, 4)?
    {
        (header.source_port, header.destination_port) = (sent.destination_port, sent.source_port);
        let octets = u32::from(sent.flags.contains(Flags::SYN) || sent.flags.contains(Flags::FIN));
        (header.seq, header.ack) = (sent.ack, sent.seq.wrapping_add(octets));
        header.flags = Flags::ACK;
        header.options.timestamps = sent.options.timestamps.map(|(value, echo)| (echo, value));
        if let Some(IpAddr::V4(to)) = last.map(|it| it.destination) {
            source = to;
        }
    }
    match input.int_in_range(0..=7_u8)? {
        0 => header.flags = Flags(input.arbitrary()?),
        1 => header.seq = header.seq.wrapping_add(u32::from(input.arbitrary::<u8>()?)),
        2 => header.flags = header.flags.with(Flags::FIN),
        3 => header.options = Options::parse(input.bytes(input.len().min(12))?, true),
        _ => {}
    }
    let payload = vec![5; usize::from(input.arbitrary::<u8>()?) * usize::from(input.ratio(1, 2)?)];
    let mut bytes = vec![0; header.emitted_len()];
    header.emit(&mut bytes);
    bytes.extend(payload);
    if input.ratio(1, 16)? {
        let at = input.choose_index(bytes.len())?;
        bytes[at] = input.arbitrary()?;
    }
    let cast = if input.ratio(1, 32)? {
        Cast::Broadcast
    } else {
        Cast::Unicast
    };
    Ok(datagram(source, bytes, cast))
}

fn datagram(source: Ipv4Addr, mut bytes: Vec<u8>, cast: Cast) -> Datagram {
    if bytes.len() >= HEADER_LEN {
        bytes[16..18].fill(0);
        let pseudo = checksum::pseudo_header(source.into(), OURS.into(), 6, bytes.len());
        let sum = !checksum::combine(pseudo, checksum::sum(&bytes), false);
        bytes[16..18].copy_from_slice(&sum.to_be_bytes());
    }
    Datagram {
        source: source.into(),
        destination: OURS.into(),
        protocol: 6,
        tos: 0,
        ttl: 64,
        cast,
        payload: Bytes::from(bytes),
        checksum_ok: false,
        segment_bytes: None,
        original: Bytes::new(),
    }
}

/// An error about what we sent last, whole or cut.
fn error(
    input: &mut Unstructured<'_>,
    last: Option<&TxDatagram>,
) -> arbitrary::Result<Vec<IcmpError>> {
    let Some(sent) = last else {
        return Ok(Vec::new());
    };
    let kind = match input.int_in_range(0..=5_u8)? {
        0 => ErrorKind::TooBig {
            mtu: u32::from(input.arbitrary::<u16>()?),
        },
        1 => ErrorKind::PortUnreachable,
        2 => ErrorKind::Unreachable {
            code: input.arbitrary()?,
        },
        3 => ErrorKind::SourceQuench,
        4 => ErrorKind::ParameterProblem,
        _ => ErrorKind::TimeExceeded,
    };
    let mut quoted = sent.frame.to_vec();
    quoted.truncate(usize::from(input.int_in_range(0..=40_u8)?));
    Ok(vec![IcmpError {
        kind,
        reporter: "10.0.0.99".parse().expect("an address"),
        source: sent.source,
        destination: sent.destination,
        protocol: 6,
        quoted: Bytes::from(quoted),
    }])
}
