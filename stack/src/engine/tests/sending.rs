//! Who sends what others have to say, and for how long.

use std::collections::{HashMap, VecDeque};
use std::io;
use std::os::fd::BorrowedFd;
use std::sync::Arc;
use std::thread::{self, ThreadId};
use std::time::Duration;

use outlive_driver::{Transmit, memory};
use parking_lot::Mutex;

use super::{at, capabilities, config};
use crate::engine::sending::CONNECTIONS_PER_RUN;
use crate::engine::work::{Outbox, Work};
use crate::engine::{Stack, Stepped, Topology};
use crate::socket::{TcpListener, TcpStream};
use crate::tcp::{Connection, SocketOptions, State};
use crate::time::Instant;

type Senders = Arc<Mutex<HashMap<ThreadId, usize>>>;

/// Counts the frames of each thread that sends.
struct Watched {
    device: Box<dyn Transmit>,
    senders: Senders,
}

impl Transmit for Watched {
    fn transmit(&mut self, batch: &mut VecDeque<outlive_driver::TxFrame>) -> io::Result<()> {
        *self
            .senders
            .lock()
            .entry(thread::current().id())
            .or_default() += batch.len();
        self.device.transmit(batch)
    }

    fn wait_fd(&self) -> Option<BorrowedFd<'_>> {
        self.device.wait_fd()
    }
}

/// So many connections that are about to say SYN, and have not been given a turn.
fn about_to_connect(stack: &Stack, count: usize) -> Vec<Arc<Connection>> {
    let tcp = &stack.core().tcp;
    let connect = |_| tcp.connect(stack.now(), None, at(2, 80), SocketOptions::default());
    (0..count).map(connect).map(Result::unwrap).collect()
}

/// A thread that brings commits for many connections must go on to the next ones, however much there is to send: only a
/// little of it leaves on that thread, and all of it leaves.
#[test]
fn who_has_many_connections_look_sends_a_little_and_the_leader_the_rest() {
    const CONNECTIONS: usize = 100 * CONNECTIONS_PER_RUN;
    let (mut device, other) = memory::pair(&capabilities(1, true), &capabilities(2, true)).unwrap();
    let senders = Senders::default();
    let queue = device.queues.pop().unwrap();
    let transmit = Box::new(Watched {
        device: queue.transmit,
        senders: Arc::clone(&senders),
    });
    device
        .queues
        .push(outlive_driver::Queue { transmit, ..queue });
    let a = Stack::start(device, config(1, Topology::RunToCompletion)).unwrap();
    let b = Stack::start(other, config(2, Topology::RunToCompletion)).unwrap();
    let listener = TcpListener::bind(&b, at(2, 80)).unwrap();
    // From here on the neighbours know each other.
    let _first = TcpStream::connect(&a, at(2, 80)).unwrap();
    let connections = about_to_connect(&a, CONNECTIONS);
    senders.lock().clear();
    a.runtime().output_all(&connections);
    let own = senders.lock().get(&thread::current().id()).copied();
    assert!(own.unwrap_or(0) <= CONNECTIONS_PER_RUN, "{own:?}");
    listener.set_nonblocking(true).unwrap();
    let opened = || {
        while listener.accept().is_ok() {}
        let is_open = |it: &&Arc<Connection>| it.tcb.lock().state() != State::SynSent;
        connections.iter().filter(is_open).count()
    };
    let patience = a.now() + Duration::from_secs(20);
    let all = a.wait_until(patience, || opened() == CONNECTIONS);
    assert!(all, "{} of {CONNECTIONS}", opened());
}

/// Whoever has more to say is behind everybody who waited.
#[test]
fn everybody_in_the_line_has_a_turn_before_anybody_has_two() {
    let stepped = Stepped::new(
        &capabilities(1, false),
        config(1, Topology::default()),
        Instant::from_millis(1),
    )
    .unwrap();
    let all = about_to_connect(&stepped.stack(), 40);
    let (mut outbox, mut work) = (Outbox::default(), Work::default());
    all.iter().for_each(|it| outbox.push(Arc::clone(it)));
    let mut turns = Vec::new();
    while turns.len() < 2 * all.len() {
        assert_eq!(outbox.take(CONNECTIONS_PER_RUN, &mut work), 0);
        assert!(work.connections.len() <= CONNECTIONS_PER_RUN);
        turns.extend(work.connections.iter().map(|it| it.id));
        assert_eq!(outbox.append(&mut work), 0);
    }
    turns.truncate(2 * all.len());
    let order = all.iter().map(|it| it.id);
    assert!(turns.into_iter().eq(order.clone().chain(order)));
}
