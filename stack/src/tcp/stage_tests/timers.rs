//! Turns of the writer, and entries in the timer wheel.

use super::*;

#[test]
fn a_connection_waits_for_the_writer_once() {
    let mut net = Net::new();
    let (client, _server) = net.establish();
    assert!(client.schedule());
    assert!(!client.schedule());
    let (mut work, mut outcome) = (vec![Arc::clone(&client)], Outcome::default());
    net.client.writer.process(net.now, &mut work, &mut outcome);
    assert!(client.schedule());
}

#[test]
fn a_turn_is_bounded_and_the_rest_waits_for_the_next() {
    let mut net = Net::new();
    let (client, server) = net.establish();
    // Opens both windows.
    for _ in 0..20 {
        net.server.send(net.now, &server, &[1; 100_000]);
        net.client_reads(&client, Duration::from_millis(10));
    }
    let queued = server.tcb.lock().send_copy(&[1; 200_000]).unwrap();
    assert!(queued > 64 * 1460);
    assert!(server.schedule());
    let (mut work, mut outcome) = (vec![Arc::clone(&server)], Outcome::default());
    net.server.writer.process(net.now, &mut work, &mut outcome);
    assert_eq!(outcome.datagrams.len(), 64);
    assert_eq!(outcome.output.len(), 1);
    assert!(!server.schedule(), "it is scheduled already");
}

#[test]
fn what_is_lost_comes_again_when_its_timer_expires() {
    let mut net = Net::new();
    let (client, server) = net.establish();
    net.client.send(net.now, &client, b"lost once");
    net.client.out.clear();
    net.settle();
    assert!(read_all(&server).is_empty());
    net.advance(Duration::from_secs(2));
    assert_eq!(read_all(&server), b"lost once");
    assert_eq!(net.client.count(Counter::TcpTailLossProbes), 1);
    assert_eq!(net.client.count(Counter::TcpTimeouts), 0);
    assert_eq!(net.client.count(Counter::TcpRetransmittedBytes), 9);
}

#[test]
fn timer_entries_do_not_pile_up() {
    let mut net = Net::new();
    let (client, server) = net.establish();
    for connection in [&client, &server] {
        let mut tcb = connection.tcb.lock();
        tcb.set_keep_alive(net.now, Some(super::super::KeepAlive::default()));
    }
    for round in 0..2000u64 {
        net.client.send(net.now, &client, b"request");
        if round % 10 == 0 {
            // The answer comes after a delayed ACK or a time-out.
            net.advance(Duration::from_millis(round % 300));
        }
        net.settle();
        read_all(&server);
        net.server.send(net.now, &server, b"reply");
        net.settle();
        read_all(&client);
        net.advance(Duration::from_millis(3 + round % 50));
        assert!(net.client.timers.len() <= 8, "{}", net.client.timers.len());
        assert!(net.server.timers.len() <= 8, "{}", net.server.timers.len());
    }
}

#[test]
fn a_deadline_needs_a_new_entry_only_if_it_is_earlier_than_all() {
    let mut net = Net::new();
    let (connection, _server) = net.establish();
    let at = |ms| net.now + Duration::from_secs(10_000) + Duration::from_millis(ms);
    for timer in std::mem::take(&mut net.client.timers) {
        connection.disarm(timer.0);
    }
    assert!(connection.arm(at(200)));
    assert!(!connection.arm(at(200)));
    assert!(!connection.arm(at(300)));
    assert!(connection.arm(at(40)));
    assert!(connection.disarm(at(40)));
    assert!(!connection.disarm(at(40)));
    assert!(!connection.arm(at(250)), "the entry for 200 is still there");
    for ms in [100, 90, 80] {
        assert!(connection.arm(at(ms)));
    }
    // Three are remembered: the latest, which takes longest to go away, always is.
    assert!(connection.disarm(at(80)) && connection.disarm(at(200)));
}
