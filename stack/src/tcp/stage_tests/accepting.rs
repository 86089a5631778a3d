//! SYN queue, accept queue and backlog.

use super::*;

fn backlog(backlog: usize) -> ListenOptions {
    ListenOptions {
        backlog,
        ..ListenOptions::default()
    }
}

#[test]
fn a_connection_is_opened_used_and_closed() {
    let mut net = Net::new();
    let (client, server) = net.establish();
    net.client.send(net.now, &client, b"question");
    net.settle();
    assert_eq!(read_all(&server), b"question");
    net.server.send(net.now, &server, &[9; 100_000]);
    let read = net.client_reads(&client, Duration::from_millis(100));
    assert!(read == [9; 100_000], "{} bytes", read.len());
    net.client.close(net.now, &client);
    net.settle();
    net.server.close(net.now, &server);
    net.settle();
    assert_eq!(state(&client), State::TimeWait);
    assert!(net.server.tcp.is_empty() && net.client.tcp.is_quiet());
    net.advance(Duration::from_secs(61));
    assert!(net.client.tcp.is_empty());
    assert_eq!(net.server.count(Counter::TcpPassiveOpens), 1);
    assert_eq!(net.server.count(Counter::TcpEstablished), 1);
}

#[test]
fn accept_wakes_every_task_that_waits() {
    let mut net = Net::new();
    let listener = net.server.listen(ListenOptions::default());
    let bells = [Arc::new(Bell::default()), Arc::new(Bell::default())];
    for bell in &bells {
        let waker = Waker::from(Arc::clone(bell));
        for _ in 0..2 {
            assert!(
                listener
                    .poll_accept(&mut Context::from_waker(&waker))
                    .is_pending()
            );
        }
    }
    net.client.connect(net.now);
    net.settle();
    assert_eq!([bells[0].rings(), bells[1].rings()], [1, 1]);
}

#[test]
fn with_a_full_accept_queue_the_last_ack_is_dropped_and_comes_again() {
    let mut net = Net::new();
    let listener = net.server.listen(backlog(0));
    // One more than the backlog fits. The others' SYNs arrive before it is established.
    let clients: Vec<_> = (0..3).map(|_| net.client.connect(net.now)).collect();
    net.settle();
    assert!(
        clients
            .iter()
            .all(|client| state(client) == State::Established)
    );
    assert_eq!(net.server.count(Counter::TcpEstablished), 1);
    assert!(net.server.count(Counter::TcpDropAcceptQueue) >= 2);
    net.client.send(net.now, &clients[2], b"early");
    net.settle();

    let mut accepted = Vec::new();
    for _ in 0..20 {
        accepted.extend(net.accept(&listener));
        net.advance(Duration::from_secs(1));
    }
    assert_eq!(accepted.len(), 3);
    let last = accepted
        .iter()
        .find(|it| it.id.remote_port == clients[2].id.local_port);
    assert_eq!(read_all(last.unwrap()), b"early");
}

#[test]
fn with_a_full_accept_queue_new_syns_are_dropped() {
    let mut net = Net::new();
    let _listener = net.server.listen(backlog(0));
    net.client.connect(net.now);
    net.settle();
    let second = net.client.connect(net.now);
    net.settle();
    assert_eq!(state(&second), State::SynSent);
    assert_eq!(net.server.count(Counter::TcpDropAcceptQueue), 1);
    assert_eq!(net.server.tcp.len(), 1);
}

#[test]
fn a_flood_of_syns_is_bounded_and_lets_an_honest_peer_through() {
    let mut net = Net::new();
    let listener = net.server.listen(ListenOptions {
        max_half_open: 16,
        syn_cookies: false,
        ..ListenOptions::default()
    });
    for port in 1..10_000 {
        net.server.receive(net.now, vec![syn_from(port)]);
        net.server.out.clear();
        assert!(net.server.tcp.len() <= 16);
    }
    assert_eq!(net.server.count(Counter::TcpDropSynQueue), 9_999 - 16);
    net.client.connect(net.now);
    net.settle();
    assert!(net.accept(&listener).is_some());
    net.advance(Duration::from_secs(200));
    assert_eq!(net.server.tcp.len(), 1);
}

#[test]
fn all_listeners_together_have_a_limit() {
    let mut net = Net::with(Config {
        max_half_open: 8,
        ..Config::default()
    });
    let _listener = net.server.listen(ListenOptions {
        syn_cookies: false,
        ..ListenOptions::default()
    });
    (1..100).for_each(|port| net.server.receive(net.now, vec![syn_from(port)]));
    assert_eq!(net.server.tcp.len(), 8);
    net.server.out.clear();
    net.advance(Duration::from_secs(200));
    assert!(net.server.tcp.is_empty(), "half-open connections time out");
    net.server.receive(net.now, vec![syn_from(500)]);
    assert_eq!(net.server.tcp.len(), 1, "and leave their place to others");
}

#[test]
fn connections_have_a_limit() {
    let mut net = Net::with(Config {
        max_connections: 3,
        ..Config::default()
    });
    let _listener = net.server.listen(ListenOptions::default());
    (1..10).for_each(|port| net.server.receive(net.now, vec![syn_from(port)]));
    assert_eq!(net.server.tcp.len(), 3);
    assert_eq!(net.server.count(Counter::TcpDropMemory), 6);
}

#[test]
fn a_reset_takes_a_half_open_connection_away() {
    let mut net = Net::new();
    let _listener = net.server.listen(ListenOptions::default());
    net.server.receive(net.now, vec![syn_from(5)]);
    assert_eq!(net.server.tcp.len(), 1);
    let rst = forged(&Header {
        source_port: 5,
        destination_port: 80,
        seq: 1001,
        flags: Flags::RST,
        ..Header::default()
    });
    net.server.receive(net.now, vec![rst]);
    assert!(net.server.tcp.is_empty());
    assert_eq!(net.server.tcp.half_open.load(Ordering::Relaxed), 0);
}

#[test]
fn closing_a_listener_resets_what_nobody_accepted() {
    let mut net = Net::new();
    let listener = net.server.listen(ListenOptions::default());
    let waiting = net.client.connect(net.now);
    net.settle();
    let half_open = net.client.connect(net.now);
    let up = arrivals(&std::mem::take(&mut net.client.out));
    net.server.receive(net.now, up);

    for connection in net.server.tcp.close_listener(&listener) {
        net.server.output(&connection);
    }
    net.server.write(net.now);
    net.settle();
    assert_eq!(error(&waiting), Some(Error::Reset));
    assert_eq!(state(&half_open), State::Closed);
    assert!(net.server.tcp.is_empty());
    assert_eq!(net.server.tcp.half_open.load(Ordering::Relaxed), 0);
    let accept = listener.poll_accept(&mut Context::from_waker(Waker::noop()));
    assert!(matches!(accept, Poll::Ready(Err(Error::ListenerClosed))));
    net.server.listen(ListenOptions::default());
}

#[test]
fn closing_a_listener_wakes_who_waits_for_it() {
    let net = Net::new();
    let listener = net.server.listen(ListenOptions::default());
    let bell = Arc::new(Bell::default());
    let waker = Waker::from(Arc::clone(&bell));
    assert!(
        listener
            .poll_accept(&mut Context::from_waker(&waker))
            .is_pending()
    );
    net.server.tcp.close_listeners();
    assert_eq!(bell.rings(), 1);
}

#[test]
fn many_connections_at_once_are_all_accepted() {
    let mut net = Net::new();
    let listener = net.server.listen(ListenOptions::default());
    let clients: Vec<_> = (0..1000).map(|_| net.client.connect(net.now)).collect();
    net.settle();
    let accepted: Vec<_> = std::iter::from_fn(|| net.accept(&listener)).collect();
    assert_eq!(accepted.len(), clients.len());
    assert!(
        clients
            .iter()
            .all(|client| state(client) == State::Established)
    );
}

#[test]
fn a_syn_reopens_a_connection_in_time_wait() {
    let mut net = Net::new();
    let listener = net.server.listen(ListenOptions::default());
    let local = SocketAddr::new(net.client.address, 4000);
    for round in 0..3 {
        let options = SocketOptions::default();
        let client = net.client.tcp;
        let opened = client
            .connect(net.now, Some(local), server_addr(), options)
            .unwrap();
        net.client.tcp = client;
        net.client.output(&opened);
        net.client.write(net.now);
        net.settle();
        let server = net.accept(&listener).expect("accepted again");
        // The server closes first, and has the TIME-WAIT.
        net.server.close(net.now, &server);
        net.settle();
        net.client.close(net.now, &opened);
        net.settle();
        assert_eq!(state(&server), State::TimeWait, "round {round}");
        assert!(net.client.tcp.is_empty());
        net.now += Duration::from_millis(50);
    }
    assert_eq!(net.server.tcp.len(), 1);
}

#[test]
fn beyond_the_limit_the_oldest_leaves_time_wait() {
    let mut net = Net::with(Config {
        max_time_wait: 10,
        ..Config::default()
    });
    let listener = net.server.listen(ListenOptions::default());
    for _ in 0..50 {
        let client = net.client.connect(net.now);
        net.settle();
        let server = net.accept(&listener).unwrap();
        net.server.close(net.now, &server);
        net.settle();
        net.client.close(net.now, &client);
        net.settle();
        assert_eq!(state(&server), State::TimeWait);
        assert!(net.server.tcp.len() <= 10);
    }
    assert_eq!(net.server.count(Counter::TcpTimeWaitEvicted), 40);
    net.advance(Duration::from_secs(61));
    assert!(net.server.tcp.is_empty());
}

#[test]
fn a_syn_right_behind_the_end_of_a_connection_opens_the_next() {
    let mut net = Net::new();
    let _listener = net.server.listen(ListenOptions::default());
    let rst = forged(&Header {
        source_port: 5,
        destination_port: 80,
        seq: 1001,
        flags: Flags::RST,
        ..Header::default()
    });
    net.server
        .receive(net.now, vec![syn_from(5), rst, syn_from(5)]);
    assert_eq!(net.server.tcp.len(), 1);
    assert_eq!(net.server.count(Counter::TcpPassiveOpens), 2);
    assert_eq!(net.server.tcp.half_open.load(Ordering::Relaxed), 1);
}

#[test]
fn a_listener_that_waits_for_data_accepts_with_the_first_or_when_none_comes() {
    let mut net = Net::new();
    let listener = net.server.listen(ListenOptions {
        defer_accept_retries: 2,
        ..ListenOptions::default()
    });
    let client = net.client.connect(net.now);
    net.settle();
    assert_eq!(state(&client), State::Established);
    assert!(net.accept(&listener).is_none());
    assert_eq!(net.server.count(Counter::TcpDropDeferred), 1);
    net.client.send(net.now, &client, b"request");
    net.settle();
    assert_eq!(
        read_all(&net.accept(&listener).expect("at once")),
        b"request"
    );

    net.client.connect(net.now);
    net.settle();
    net.advance(Duration::from_secs(2));
    assert!(net.accept(&listener).is_none());
    net.advance(Duration::from_secs(2));
    assert!(
        net.accept(&listener).is_some(),
        "after the second SYN-ACK that came again"
    );

    listener.set_defer_accept(0);
    net.client.connect(net.now);
    net.settle();
    assert!(net.accept(&listener).is_some());
}
