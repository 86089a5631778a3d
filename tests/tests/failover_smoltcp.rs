//! A foreign stack as the client of a pair: the `smoltcp` crate, with the primary killed in every turn. It
//! answers probes at most once a second, and has no timestamps.

#[path = "support/smoltcp_host.rs"]
mod smoltcp_host;

use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;

use outlive_driver::Instant;
use outlive_tests::simulation::failover::calling::Seen;
use outlive_tests::simulation::failover::cluster::{Cluster, Setting};
use outlive_tests::simulation::failover::fault::{Fault, Keep, When};
use outlive_tests::simulation::failover::local_clock::LocalClock;
use outlive_tests::simulation::failover::machine::Client;
use outlive_tests::simulation::failover::script::{Script, Step};
use outlive_tests::simulation::failover::server::{PORT, SERVICE};
use outlive_tests::simulation::failover::stream::Stream;
use outlive_tests::simulation::world::Violation;
use smoltcp::socket::tcp;
use smoltcp_host::SmoltcpHost;

const NUMBER: u8 = 50;
const LIMIT: Duration = Duration::from_secs(120);

/// What the client's host has seen, and whether the connection ended in order.
#[derive(Default)]
struct Told {
    seen: Seen,
    ended: bool,
}

/// Sends and reads as much as the socket takes and gives, and closes when all is sent.
fn application(
    now: Instant,
    socket: &mut tcp::Socket<'static>,
    told: &mut Told,
    (up, down): &(Stream, Stream),
) {
    let seen = &mut told.seen;
    while socket.can_send() && seen.sent < up.len() {
        match socket.send_slice(&up.bytes(seen.sent, 3000)) {
            Ok(taken @ 1..) => seen.sent += taken as u64,
            _ => break,
        }
    }
    if seen.sent == up.len() && socket.may_send() {
        socket.close();
    }
    while socket.can_recv() {
        let taken = socket.recv(|data| {
            seen.take(now, down, data);
            (data.len(), ())
        });
        taken.expect("there is data");
    }
    told.ended |= seen.sent == up.len() && socket.state() == tcp::State::TimeWait;
    told.ended |= seen.sent == up.len() && socket.state() == tcp::State::Closed;
}

/// One exchange; the turns that the primary took, from the beginning of the exchange on.
fn exchange(script: &Script, to_end: u64, fault: Option<(u64, Keep)>) -> Result<u64, Violation> {
    let setting = Setting {
        clients: 0,
        ..Setting::default()
    };
    let mut cluster = Cluster::pair(&setting);
    cluster.settle(LIMIT)?;
    let told: Rc<RefCell<Told>> = Rc::default();
    let (noted, streams) = (Rc::clone(&told), script.streams(to_end));
    let expected = streams.1.len();
    let boot = move |now: Instant, _: &mut _| {
        let (noted, streams) = (Rc::clone(&noted), streams.clone());
        let run = move |now: Instant, socket: &mut tcp::Socket<'static>| {
            application(now, socket, &mut noted.borrow_mut(), &streams);
        };
        let mut host = SmoltcpHost::new(NUMBER, 7, 16_384, now, Box::new(run));
        host.connect(SERVICE, PORT);
        Box::new(Client(host)) as Box<_>
    };
    let owner = cluster.owner().unwrap_or(0);
    let begin = cluster.world.turns(owner);
    if let Some((turn, keep)) = fault {
        let kill = Fault::Kill(owner, keep);
        cluster
            .world
            .schedule(When::Turn(owner, begin + turn), kill);
    }
    let world = &mut cluster.world;
    world.add(LocalClock::default(), &setting.cables, Box::new(boot));
    let ended = Rc::clone(&told);
    let done = world.run_until(LIMIT, move |_| ended.borrow().ended)?;
    let seen = &told.borrow().seen;
    if !done || seen.mismatch.is_some() || seen.received != expected {
        let what = format!("done: {done}, {expected} bytes were to come: {seen:?}");
        return Err(world.violation(&what));
    }
    Ok(world.turns(owner) - begin)
}

/// Kills the primary in every turn of an exchange.
fn in_every_turn(script: &Script, to_end: u64) {
    let turns = exchange(script, to_end, None).expect("nothing disturbs it");
    assert!(turns > 5, "{turns} turns are an exchange");
    for turn in 0..=turns {
        let keep = Keep::ALL[turn as usize % 4];
        let result = exchange(script, to_end, Some((turn, keep)));
        if let Err(violation) = result {
            panic!("turn {turn}, {keep:?}: {violation}");
        }
    }
}

#[test]
fn a_request_and_its_response() {
    let steps = vec![
        Step::Read(300),
        Step::Write(9_000),
        Step::ReadToEnd,
        Step::Digest,
    ];
    in_every_turn(&Script::new(1, steps), 500);
}

#[test]
fn an_upload_and_its_digest() {
    in_every_turn(&Script::new(2, vec![Step::ReadToEnd, Step::Digest]), 60_000);
}

#[test]
fn a_download_that_the_server_ends() {
    let steps = vec![Step::Write(60_000), Step::Close, Step::ReadToEnd];
    in_every_turn(&Script::new(3, steps), 0);
}
