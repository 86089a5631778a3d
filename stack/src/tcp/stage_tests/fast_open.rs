//! TCP Fast Open (RFC 7413): data in the SYN of a peer that was here before.

use super::*;
use crate::replication::Survival;

pub(super) fn fast() -> ListenOptions {
    ListenOptions {
        fast_open: true,
        ..ListenOptions::default()
    }
}

/// Starts a connection that has written `data` before its SYN leaves, which is in the client's `out` then.
pub(super) fn connect(net: &mut Net, data: &[u8]) -> Arc<Connection> {
    let options = SocketOptions {
        fast_open: true,
        ..SocketOptions::default()
    };
    let connection = net
        .client
        .tcp
        .connect(net.now, None, server_addr(), options)
        .unwrap();
    assert_eq!(connection.tcb.lock().send_copy(data), Ok(data.len()));
    net.client.output(&connection);
    net.client.write(net.now);
    connection
}

/// The client has a cookie of the server.
pub(super) fn acquainted(net: &mut Net, listener: &Listener) {
    connect(net, b"first");
    net.settle();
    assert_eq!(read_all(&net.accept(listener).unwrap()), b"first");
}

pub(super) fn payload_len(sent: &TxDatagram) -> usize {
    sent.frame.payload.iter().map(Bytes::len).sum()
}

pub(super) fn cookie_len(sent: &TxDatagram) -> Option<usize> {
    header(sent).options.fast_open.map(|cookie| cookie.len())
}

/// Hands the client's frames to the server, and what it answers stays there.
pub(super) fn to_server(net: &mut Net) {
    let up = arrivals(&std::mem::take(&mut net.client.out));
    net.server.receive(net.now, up);
}

#[test]
fn a_cookie_is_asked_for_given_and_used() {
    let mut net = Net::new();
    let listener = net.server.listen(fast());
    connect(&mut net, b"first");
    assert_eq!(cookie_len(&net.client.out[0]), Some(0), "the wish for one");
    assert_eq!(payload_len(&net.client.out[0]), 0);
    to_server(&mut net);
    assert_eq!(cookie_len(&net.server.out[0]), Some(8));
    net.settle();
    assert_eq!(read_all(&net.accept(&listener).unwrap()), b"first");

    let client = connect(&mut net, b"question");
    let syn = &net.client.out[0];
    assert_eq!((cookie_len(syn), payload_len(syn)), (Some(8), 8));
    let first = header(syn).seq;
    to_server(&mut net);
    // Before the client has heard anything: the question is read, and its answer on its way.
    let server = net.accept(&listener).expect("at once");
    assert_eq!(state(&server), State::SynReceived);
    assert_eq!(read_all(&server), b"question");
    net.server.send(net.now, &server, b"answer");
    net.server.close(net.now, &server);
    let sent = &net.server.out;
    assert_eq!(header(&sent[0]).flags, Flags::SYN.with(Flags::ACK));
    assert_eq!(header(&sent[0]).ack, first.wrapping_add(1 + 8));
    assert_eq!(payload_len(&sent[1]), 6);
    assert!(sent.iter().all(|it| !header(it).flags.contains(Flags::FIN)));
    net.settle();
    assert_eq!(read_all(&client), b"answer");
    assert_eq!(state(&client), State::CloseWait);
    for side in [&client, &server] {
        assert!(side.tcb.lock().info().syn_data);
    }
    assert_eq!(net.client.count(Counter::TcpRetransmittedSegments), 0);
    assert_eq!(net.server.tcp.early.load(Ordering::Relaxed), 0);
}

#[test]
fn a_server_that_does_not_know_the_cookie_gives_another_and_the_data_arrives_once() {
    let mut net = Net::new();
    let listener = net.server.listen(fast());
    acquainted(&mut net, &listener);
    net.server = Host::seeded(SERVER, Config::default(), None, 99);
    let listener = net.server.listen(fast());
    let client = connect(&mut net, b"question");
    to_server(&mut net);
    assert!(net.accept(&listener).is_none());
    assert_eq!(cookie_len(&net.server.out[0]), Some(8));
    net.settle();
    assert_eq!(read_all(&net.accept(&listener).unwrap()), b"question");
    assert_eq!(state(&client), State::Established);
    // The new one is good.
    connect(&mut net, b"again");
    to_server(&mut net);
    assert_eq!(read_all(&net.accept(&listener).unwrap()), b"again");
}

#[test]
fn without_being_asked_for_there_is_none_of_it() {
    let mut net = Net::new();
    let listener = net.server.listen(ListenOptions::default());
    connect(&mut net, b"question");
    to_server(&mut net);
    assert_eq!(cookie_len(&net.server.out[0]), None);
    net.settle();
    assert_eq!(read_all(&net.accept(&listener).unwrap()), b"question");
    net.client.connect(net.now);
    assert_eq!(cookie_len(&net.client.out[0]), None);
}

#[test]
fn a_connection_that_outlives_its_host_does_without() {
    let mut net = Net::new();
    let listener = net.server.listen(ListenOptions {
        survival: Survival::Checkpoint,
        ..fast()
    });
    connect(&mut net, b"question");
    to_server(&mut net);
    assert_eq!(cookie_len(&net.server.out[0]), None);
    net.settle();
    assert_eq!(read_all(&net.accept(&listener).unwrap()), b"question");
}

#[test]
fn where_syns_with_data_vanish_it_is_given_up() {
    let mut net = Net::new();
    let listener = net.server.listen(fast());
    acquainted(&mut net, &listener);
    let client = connect(&mut net, b"question");
    net.client.out.clear();
    net.now += Duration::from_millis(1100);
    net.client.fire_timers(net.now);
    let syn = &net.client.out[0];
    assert_eq!((cookie_len(syn), payload_len(syn)), (None, 0));
    net.settle();
    assert_eq!(read_all(&net.accept(&listener).unwrap()), b"question");
    assert_eq!(state(&client), State::Established);
    connect(&mut net, b"next");
    assert_eq!(cookie_len(&net.client.out[0]), Some(0), "begins anew");
}

#[test]
fn a_syn_that_comes_twice_hands_its_data_over_once() {
    let mut net = Net::new();
    let listener = net.server.listen(fast());
    acquainted(&mut net, &listener);
    let client = connect(&mut net, b"question");
    let syn = arrivals(&net.client.out);
    net.server.receive(net.now, syn);
    net.server.out.clear();
    to_server(&mut net);
    net.settle();
    let server = net.accept(&listener).unwrap();
    assert!(net.accept(&listener).is_none());
    assert_eq!(read_all(&server), b"question");
    assert_eq!(
        (state(&client), state(&server)),
        (State::Established, State::Established)
    );
}

#[test]
fn only_so_many_are_taken_before_their_handshake_is_over() {
    let mut net = Net::with(Config {
        max_fast_open: 2,
        ..Config::default()
    });
    let listener = net.server.listen(fast());
    acquainted(&mut net, &listener);
    let clients: Vec<_> = (0..4).map(|_| connect(&mut net, b"question")).collect();
    to_server(&mut net);
    assert_eq!(net.server.count(Counter::TcpFastOpens), 2);
    net.settle();
    for _ in &clients {
        assert_eq!(read_all(&net.accept(&listener).unwrap()), b"question");
    }
    assert_eq!(net.server.tcp.early.load(Ordering::Relaxed), 0);
    // Those that are never heard of again make room, too.
    (0..2).for_each(|_| drop(connect(&mut net, b"question")));
    to_server(&mut net);
    net.server.out.clear();
    net.client.tcp.surrender(&mut Vec::new());
    assert_eq!(net.server.tcp.early.load(Ordering::Relaxed), 2);
    net.advance(Duration::from_secs(200));
    assert_eq!(net.server.tcp.early.load(Ordering::Relaxed), 0);
}
