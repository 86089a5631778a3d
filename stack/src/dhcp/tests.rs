//! The client against a server made of its messages; and on a stack against a server on another one.

use std::collections::VecDeque;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::time::Duration;

use outlive_driver::{Capabilities, memory};
use parking_lot::Mutex;

use super::message::{CLIENT_PORT, Kind, SERVER_PORT, option};
use super::{Action, Client, Config, Lease, start};
use crate::checksum;
use crate::engine::{self, Stack, Stepped};
use crate::ip::Cidr;
use crate::packet::RxFrame;
use crate::random::Random;
use crate::socket::asynchronous::UdpSocket;
use crate::time::Instant;
use crate::wire::ethernet::MacAddr;

const STATION: MacAddr = MacAddr([2, 0, 0, 0, 0, 1]);
const SERVER: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 1);
const LEASED: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 7);
const SECOND: Duration = Duration::from_secs(1);

/// The answer to `request` of a server that lets an address for `seconds`.
fn answer(request: &[u8], kind: Kind, server: Ipv4Addr, seconds: u32) -> Vec<u8> {
    let mut reply = request[..240].to_vec();
    reply[0] = 2;
    reply[16..20].copy_from_slice(&LEASED.octets());
    let mut put = |number: u8, value: &[u8]| {
        reply.extend_from_slice(&[number, value.len() as u8]);
        reply.extend_from_slice(value);
    };
    put(option::MESSAGE_TYPE, &[kind as u8]);
    put(option::SERVER, &server.octets());
    put(option::SUBNET_MASK, &[255, 255, 255, 0]);
    put(option::ROUTER, &server.octets());
    put(option::LEASE_TIME, &seconds.to_be_bytes());
    reply.push(255);
    reply
}

/// The kind of a request, by the first option.
fn kind_of(request: &[u8]) -> u8 {
    assert_eq!(request[240..242], [option::MESSAGE_TYPE, 1]);
    request[242]
}

struct Exchange {
    now: Instant,
    client: Client,
    actions: Vec<Action>,
}

impl Exchange {
    fn new() -> Self {
        let now = Instant::from_millis(5000);
        let client = Client::new(STATION, Config::default(), Random::from_seed(1), now);
        Self {
            now,
            client,
            actions: Vec::new(),
        }
    }

    /// Waits for what the client says next, and to whom.
    fn next(&mut self) -> (Ipv4Addr, Vec<u8>) {
        loop {
            let sent = self
                .actions
                .iter()
                .position(|it| matches!(it, Action::Send { .. }));
            if let Some(at) = sent
                && let Action::Send { to, message } = self.actions.remove(at)
            {
                return (to, message);
            }
            self.now = self.now.max(self.client.next_deadline());
            self.client.poll(self.now, &mut self.actions);
        }
    }

    fn hear(&mut self, message: &[u8]) {
        self.client.receive(self.now, message, &mut self.actions);
    }

    /// A client with a lease for `seconds`.
    fn bound(seconds: u32) -> Self {
        let mut exchange = Self::new();
        let (_, discover) = exchange.next();
        exchange.hear(&answer(&discover, Kind::Offer, SERVER, seconds));
        let (_, request) = exchange.next();
        exchange.hear(&answer(&request, Kind::Ack, SERVER, seconds));
        let taken = exchange.actions.pop();
        assert!(matches!(taken, Some(Action::Bound(_))), "{taken:?}");
        exchange
    }
}

#[test]
fn an_address_is_offered_asked_for_and_given() {
    let mut exchange = Exchange::new();
    let (to, discover) = exchange.next();
    assert_eq!(
        (to, kind_of(&discover)),
        (Ipv4Addr::BROADCAST, Kind::Discover as u8)
    );
    exchange.hear(&answer(&discover, Kind::Offer, SERVER, 3600));
    let (to, request) = exchange.next();
    assert_eq!(
        (to, kind_of(&request)),
        (Ipv4Addr::BROADCAST, Kind::Request as u8)
    );
    let names = |value: [u8; 4], number: u8| {
        let option = [&[number, 4], &value[..]].concat();
        request.windows(6).any(|it| it == option)
    };
    assert!(names(LEASED.octets(), option::REQUESTED_ADDRESS));
    assert!(names(SERVER.octets(), option::SERVER));
    // Another server's word, and another exchange's, count for nothing.
    exchange.hear(&answer(
        &request,
        Kind::Ack,
        Ipv4Addr::new(10, 0, 0, 9),
        3600,
    ));
    let mut other = request.clone();
    other[4] ^= 1;
    exchange.hear(&answer(&other, Kind::Ack, SERVER, 3600));
    assert_eq!(exchange.actions, []);
    exchange.hear(&answer(&request, Kind::Ack, SERVER, 3600));
    let Some(Action::Bound(lease)) = exchange.actions.pop() else {
        panic!("no lease");
    };
    assert_eq!(lease.address.to_string(), "10.0.0.7/24");
    assert_eq!(lease.routes[0].gateway, Some(SERVER.into()));
    assert_eq!(
        (lease.renew_after, lease.rebind_after),
        (1800 * SECOND, 3150 * SECOND)
    );
}

#[test]
fn nobody_answers_and_is_asked_ever_more_rarely() {
    let mut exchange = Exchange::new();
    let mut last = exchange.now;
    for expected in [0, 4, 8, 16, 32, 64, 64] {
        exchange.next();
        let waited = exchange.now.since(last);
        let expected = expected * SECOND;
        assert!(
            waited + SECOND >= expected && waited <= expected + SECOND,
            "{waited:?}"
        );
        last = exchange.now;
    }
}

#[test]
fn a_server_that_offered_and_falls_silent_is_not_waited_for() {
    let mut exchange = Exchange::new();
    let (_, discover) = exchange.next();
    exchange.hear(&answer(&discover, Kind::Offer, SERVER, 3600));
    let mut requests = 0;
    while kind_of(&exchange.next().1) == Kind::Request as u8 {
        requests += 1;
    }
    assert_eq!(requests, 4, "then it begins anew");
}

#[test]
fn the_server_is_asked_to_go_on_then_every_server_then_it_is_over() {
    let mut exchange = Exchange::bound(3600);
    let start = exchange.now;
    let (to, request) = exchange.next();
    assert_eq!((to, exchange.now.since(start)), (SERVER, 1800 * SECOND));
    assert_eq!(request[12..16], LEASED.octets(), "it answers there");
    assert_eq!(request[10..12], [0, 0], "no broadcast is needed");
    let mut to_all = 0;
    while exchange.actions.is_empty() {
        let (to, request) = exchange.next();
        if kind_of(&request) == Kind::Discover as u8 {
            break;
        }
        let late = exchange.now.since(start) >= 3150 * SECOND;
        assert_eq!(to == Ipv4Addr::BROADCAST, late);
        to_all += u32::from(late);
    }
    assert!((1..=8).contains(&to_all), "{to_all}");
    assert_eq!(exchange.now.since(start), 3600 * SECOND);
    assert_eq!(exchange.actions, [Action::Lost]);
}

#[test]
fn a_renewed_lease_counts_from_then_on_and_another_server_may_renew_it_late() {
    let mut exchange = Exchange::bound(3600);
    let (_, request) = exchange.next();
    let other = Ipv4Addr::new(10, 0, 0, 9);
    exchange.hear(&answer(&request, Kind::Ack, other, 3600));
    assert_eq!(exchange.actions, [], "it was not asked");
    exchange.hear(&answer(&request, Kind::Ack, SERVER, 3600));
    assert!(matches!(exchange.actions.pop(), Some(Action::Bound(_))));
    let renewed = exchange.now;
    loop {
        let (to, request) = exchange.next();
        if to == Ipv4Addr::BROADCAST {
            exchange.hear(&answer(&request, Kind::Ack, other, 3600));
            break;
        }
    }
    assert_eq!(exchange.now.since(renewed), 3150 * SECOND);
    let Some(Action::Bound(lease)) = exchange.actions.pop() else {
        panic!("not renewed");
    };
    assert_eq!(lease.server, other);
}

#[test]
fn a_refusal_and_a_conflict_end_it() {
    let mut exchange = Exchange::bound(3600);
    let (_, request) = exchange.next();
    exchange.hear(&answer(&request, Kind::Nak, SERVER, 0));
    assert_eq!(exchange.actions, [Action::Lost]);
    assert_eq!(exchange.client.lease(), None);

    let mut exchange = Exchange::bound(3600);
    exchange.client.decline(exchange.now, &mut exchange.actions);
    let (_, decline) = exchange.next();
    assert_eq!(kind_of(&decline), Kind::Decline as u8);
    assert_eq!(exchange.actions, [Action::Lost]);
    let declined = exchange.now;
    assert_eq!(kind_of(&exchange.next().1), Kind::Discover as u8);
    assert_eq!(exchange.now.since(declined), 10 * SECOND);
}

#[test]
fn a_lease_for_ever_is_not_renewed_and_one_of_seconds_is_not_taken() {
    let exchange = Exchange::bound(u32::MAX);
    assert_eq!(exchange.client.next_deadline(), Instant::FAR_FUTURE);
    let mut exchange = Exchange::new();
    let (_, discover) = exchange.next();
    exchange.hear(&answer(&discover, Kind::Offer, SERVER, 9));
    assert_eq!(exchange.actions, []);
    exchange.hear(&answer(&discover, Kind::Offer, SERVER, 10));
    assert_eq!(kind_of(&exchange.next().1), Kind::Request as u8);
}

/// A stack, and a server of which only broadcasts are made by hand: a stack takes nothing from nobody.
struct Wire {
    now: Instant,
    hosts: [Stepped; 2],
    /// Kinds of requests, in order.
    asked: Arc<Mutex<Vec<u8>>>,
}

impl Wire {
    fn run_for(&mut self, duration: Duration) {
        let until = self.now + duration;
        loop {
            let mut quiet = true;
            for at in 0..2 {
                let mut out = VecDeque::new();
                self.hosts[at].poll(self.now, &mut out);
                quiet &= out.is_empty();
                for frame in &out {
                    let frame = memory::received(frame);
                    let (to, frame) = match self.answer_from_nobody(&frame.data) {
                        Some(answer) => (at, answer),
                        None => (1 - at, frame),
                    };
                    self.hosts[to].receive(self.now, &mut vec![frame]);
                }
            }
            let next = self.hosts.iter().filter_map(Stepped::next_deadline).min();
            match next.filter(|&next| next <= until) {
                Some(next) => self.now = self.now.max(next),
                None if quiet => break,
                None => {}
            }
        }
        self.now = until;
    }

    /// The server's broadcast, if `frame` is a request of somebody without an address.
    fn answer_from_nobody(&self, frame: &[u8]) -> Option<RxFrame> {
        let datagram = frame.len() > 282 && frame[12..14] == [8, 0] && frame[23] == 17;
        if !datagram || frame[26..30] != [0; 4] || frame[36..38] != SERVER_PORT.to_be_bytes() {
            return None;
        }
        let request = &frame[42..];
        self.asked.lock().push(kind_of(request));
        let reply = answer(request, kind_for(request), SERVER, 60);
        let udp_len = (8 + reply.len()) as u16;
        let mut header = [
            0x45, 0, 0, 0, 0, 0, 0, 0, 64, 17, 0, 0, 10, 0, 0, 1, 255, 255, 255, 255,
        ];
        header[2..4].copy_from_slice(&(20 + udp_len).to_be_bytes());
        let sum = !checksum::sum(&header);
        header[10..12].copy_from_slice(&sum.to_be_bytes());
        let mut data = [[255; 6], [2, 0, 0, 0, 0, 2]].concat();
        data.extend_from_slice(&[8, 0]);
        data.extend_from_slice(&header);
        for field in [SERVER_PORT, CLIENT_PORT, udp_len, 0] {
            data.extend_from_slice(&field.to_be_bytes());
        }
        data.extend_from_slice(&reply);
        Some(RxFrame {
            data: data.into(),
            ..RxFrame::default()
        })
    }
}

fn kind_for(request: &[u8]) -> Kind {
    if kind_of(request) == Kind::Discover as u8 {
        Kind::Offer
    } else {
        Kind::Ack
    }
}

fn host(now: Instant, last: u8, address: Option<&str>) -> Stepped {
    let mut config = engine::Config {
        seed: Some(last.into()),
        ..engine::Config::default()
    };
    config.ip.addresses = address
        .iter()
        .map(|it| it.parse().expect("an address"))
        .collect();
    let capabilities = Capabilities::plain_ethernet([2, 0, 0, 0, 0, last], 1500);
    Stepped::new(&capabilities, config, now).expect("a stack")
}

/// Answers renewals.
fn serve(stack: &Stack, asked: Arc<Mutex<Vec<u8>>>) {
    let socket = UdpSocket::bind(stack, (SERVER, SERVER_PORT)).expect("port 67");
    let serve = async move {
        while let Ok((request, from)) = socket.recv_bytes().await {
            asked.lock().push(kind_of(&request));
            let reply = answer(&request, kind_for(&request), SERVER, 60).into();
            let _ = socket.send_bytes(reply, Some(from)).await;
        }
    };
    stack.spawn(serve).detach();
}

#[test]
fn a_stack_without_an_address_gets_one_uses_it_and_keeps_it() {
    let now = Instant::from_millis(5000);
    let hosts = [host(now, 1, None), host(now, 2, Some("10.0.0.1/24"))];
    let asked = Arc::default();
    let mut wire = Wire { now, hosts, asked };
    serve(&wire.hosts[1].stack(), Arc::clone(&wire.asked));
    let stack = wire.hosts[0].stack();
    let told: Arc<Mutex<Vec<Option<Lease>>>> = Arc::default();
    let hears = Arc::clone(&told);
    let tell = move |lease: Option<&Lease>| hears.lock().push(lease.cloned());
    start(&stack, Config::default(), tell)
        .expect("port 68")
        .detach();
    wire.run_for(SECOND);
    assert_eq!(told.lock().len(), 1);
    let ours: Vec<_> = stack
        .core()
        .ip
        .addresses()
        .iter()
        .map(Cidr::address)
        .collect();
    assert_eq!(ours, [IpAddr::V4(LEASED)]);
    let elsewhere = stack.core().ip.path(IpAddr::from([192, 0, 2, 1]), None);
    assert_eq!(elsewhere.expect("by the router").source, IpAddr::V4(LEASED));
    // The lease is for a minute: unicast renewals keep it.
    wire.run_for(300 * SECOND);
    assert_eq!(told.lock().len(), 1, "never lost");
    let asked = wire.asked.lock();
    assert_eq!(asked[..2], [Kind::Discover as u8, Kind::Request as u8]);
    assert!(asked.len() >= 10 && asked[2..].iter().all(|&kind| kind == Kind::Request as u8));
}
