//! Directed scenarios in virtual time: many clients, hosts that freeze and die, a network that parts, and
//! what idle connections cost.

use std::cell::RefCell;
use std::future::Future;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use bytes::Bytes;
use outlive::engine::Config;
use outlive::socket::asynchronous::TcpStream;
use outlive_driver::impairment::Impairment;
use outlive_tests::memory::{Counting, live_bytes};
use outlive_tests::simulation::application::End;
use outlive_tests::simulation::service::{Service, assert_complete};
use outlive_tests::simulation::world::Fault;

#[global_allocator]
static HEAP: Counting = Counting;

fn lossy() -> Impairment {
    Impairment {
        loss: 0.01,
        reorder: 0.01,
        duplicate: 0.01,
        delay: Duration::from_millis(10),
        ..Impairment::default()
    }
}

#[test]
fn twenty_clients_with_five_connections_each_get_every_byte() {
    let mut net = Service::new(20, &Config::default(), &lossy());
    let begin = |index: usize| net.begin(index % 20, 20_000 + index as u64 * 100);
    let records: Vec<_> = (0..100).map(begin).collect();
    net.finish();
    for (index, records) in records.iter().enumerate() {
        assert_complete(records, 20_000 + index as u64 * 100);
    }
}

#[test]
fn a_server_that_freezes_for_a_while_loses_nothing() {
    for event in (10..500).step_by(30) {
        let mut net = Service::new(2, &Config::default(), &lossy());
        let records = [net.begin(0, 300_000), net.begin(1, 300_000)];
        let frozen = Fault::Freeze(net.server.id, Duration::from_secs(8));
        net.world.at_event(event, frozen);
        net.finish();
        assert!(net.world.now().as_millis() > 8_000, "it was frozen");
        records
            .iter()
            .for_each(|records| assert_complete(records, 300_000));
    }
}

#[test]
fn a_server_that_dies_is_given_up_and_forgotten() {
    for event in (10..400).step_by(40) {
        let mut net = Service::new(2, &Config::default(), &lossy());
        let records = [net.begin(0, 300_000), net.begin(1, 300_000)];
        net.world.at_event(event, Fault::Kill(net.server.id));
        net.finish();
        for (client, _) in &records {
            let seen = client.borrow();
            assert_eq!(seen.mismatch, None);
            assert!(
                seen.received < 300_000 && seen.reading != End::Complete,
                "{seen:?}"
            );
        }
        net.step(Duration::from_secs(2000));
        for client in &net.clients {
            assert_eq!(client.stack.connections(), 0, "event {event}");
        }
    }
}

#[test]
fn a_network_that_parts_and_joins_again_loses_nothing() {
    let mut net = Service::new(2, &Config::default(), &lossy());
    let records = [net.begin(0, 2_000_000), net.begin(1, 2_000_000)];
    net.step(Duration::from_millis(60));
    let (server, clients) = (net.server.id, [net.clients[0].id, net.clients[1].id]);
    net.world.cut(server, clients[0]);
    net.step(Duration::from_secs(30));
    assert_complete(&records[1], 2_000_000);
    assert_ne!(records[0].0.borrow().reading, End::Complete);
    net.world.set_link(server, clients[0], lossy());
    net.world.set_link(clients[0], server, lossy());
    net.finish();
    assert_complete(&records[0], 2_000_000);
}

/// Only one direction works: data arrives, acknowledgements do not.
#[test]
fn a_link_that_is_deaf_on_one_side_heals() {
    let mut net = Service::new(1, &Config::default(), &lossy());
    let records = net.begin(0, 2_000_000);
    net.step(Duration::from_millis(60));
    let (server, client) = (net.server.id, net.clients[0].id);
    let deaf = Impairment {
        loss: 1.0,
        ..Impairment::default()
    };
    net.world.set_link(client, server, deaf);
    net.step(Duration::from_secs(20));
    net.world.set_link(client, server, lossy());
    net.finish();
    assert_complete(&records, 2_000_000);
}

/// An idle connection costs under 1 KiB at each end, table and timers included (DESIGN §5).
#[test]
fn idle_connections_cost_less_than_a_kibibyte() {
    const CONNECTIONS: usize = 4_000;
    const IDLE_PORT: u16 = 81;
    let mut net = Service::pair(&Config::default());
    net.assert_works();
    net.step(Duration::from_secs(120));
    net.world.watch(false);
    let held: Rc<RefCell<Vec<TcpStream>>> = Rc::default();
    held.borrow_mut().reserve(2 * CONNECTIONS);
    let before = live_bytes();
    let (listener, accepted) = (net.server.listen(IDLE_PORT), Rc::clone(&held));
    net.world.spawn_service(net.server.id, async move {
        while let Ok((stream, _)) = listener.accept().await {
            accepted.borrow_mut().push(stream);
        }
    });
    let (stack, remote, opened) = (
        net.clients[0].stack.clone(),
        net.server.at(IDLE_PORT),
        Rc::clone(&held),
    );
    net.world.spawn(net.clients[0].id, async move {
        for _ in 0..CONNECTIONS {
            let stream = TcpStream::connect(&stack, remote)
                .await
                .expect("the server listens");
            stream
                .send(Bytes::from_static(b"hello"))
                .await
                .expect("there is room");
            opened.borrow_mut().push(stream);
        }
    });
    net.finish();
    for stream in held.borrow().iter() {
        let mut greeting = [0; 8];
        let read = std::pin::pin!(stream.read(&mut greeting))
            .poll(&mut Context::from_waker(Waker::noop()));
        assert!(stream.local_addr().port() != IDLE_PORT || matches!(read, Poll::Ready(Ok(5))));
    }
    net.step(Duration::from_secs(600));
    assert_eq!(net.server.stack.connections(), CONNECTIONS);
    assert_eq!(held.borrow().len(), 2 * CONNECTIONS);
    let per_end = (live_bytes() - before) / (2 * CONNECTIONS as isize);
    assert!(per_end < 1024, "{per_end} bytes per idle connection");
}
