//! A foreign stack as peer: the `smoltcp` crate, in virtual time, as server and as client, over clean and
//! bad links. Both directions carry data at once; every byte is checked at its position.

#[path = "support/smoltcp_host.rs"]
mod smoltcp_host;

use std::cell::RefCell;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;

use outlive_driver::impairment::Impairment;
use outlive_driver::{Instant, Random};
use outlive_tests::simulation::application::{End, Plan, Record, connect, run};
use outlive_tests::simulation::host::{Host, address};
use outlive_tests::simulation::pattern::Pattern;
use outlive_tests::simulation::world::World;
use smoltcp::socket::tcp;
use smoltcp_host::{MTU, SmoltcpHost};

const PORT: u16 = 80;

/// What the application on smoltcp has seen.
#[derive(Default)]
struct Seen {
    sent: u64,
    received: u64,
    mismatch: Option<u64>,
    end_of_stream: bool,
    finished: bool,
}

/// A host whose application sends a pattern, reads a pattern and closes when it has sent all.
fn smoltcp_host(
    seed: u64,
    patterns: (Pattern, Pattern),
    total: u64,
    buffer: usize,
) -> (SmoltcpHost, Rc<RefCell<Seen>>) {
    let seen: Rc<RefCell<Seen>> = Rc::default();
    let noted = Rc::clone(&seen);
    let application = move |_: Instant, socket: &mut tcp::Socket<'static>| {
        run_application(socket, &mut noted.borrow_mut(), patterns, total);
    };
    let host = SmoltcpHost::new(2, seed, buffer, Instant::ZERO, Box::new(application));
    (host, seen)
}

/// As much as the socket takes and gives.
fn run_application(
    socket: &mut tcp::Socket<'static>,
    seen: &mut Seen,
    (sends, expects): (Pattern, Pattern),
    total: u64,
) {
    while socket.can_send() && seen.sent < total {
        let len = (total - seen.sent).min(3000) as usize;
        let data = sends.bytes(seen.sent, len);
        let Ok(taken @ 1..) = socket.send_slice(&data) else {
            break;
        };
        seen.sent += taken as u64;
    }
    if seen.sent == total && socket.may_send() {
        socket.close();
    }
    while socket.can_recv() {
        let received = seen.received;
        let (count, wrong) = socket
            .recv(|data| (data.len(), (data.len(), expects.mismatch(received, data))))
            .expect("there is data");
        seen.mismatch = seen.mismatch.or(wrong);
        seen.received += count as u64;
    }
    let state = socket.state();
    seen.end_of_stream |= matches!(
        state,
        tcp::State::CloseWait | tcp::State::LastAck | tcp::State::Closing | tcp::State::TimeWait
    );
    seen.finished = seen.sent > 0 && matches!(state, tcp::State::Closed | tcp::State::TimeWait);
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
    let (mut peer, seen) = smoltcp_host(seed, (their_pattern, our_pattern), theirs, buffer);
    let plan = Plan::simple(our_pattern, ours, their_pattern);
    let record = Record::default();
    let (clock, written) = (world.clock(), record.clone());
    if we_serve {
        peer.connect(address(1), PORT);
        let listener = host.listen(PORT);
        world.spawn(host.id, async move {
            let (stream, _) = listener.accept().await.expect("smoltcp connects");
            run(clock, stream, plan, written).await;
        });
    } else {
        peer.listen(PORT);
        let remote = SocketAddr::new(address(2).into(), PORT);
        world.spawn(
            host.id,
            connect(clock, host.stack.clone(), remote, plan, written, |_| ()),
        );
    }
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
