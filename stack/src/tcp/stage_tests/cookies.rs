//! SYN cookies (RFC 4987 §3.6): nobody is kept out, nothing is kept.

use parking_lot::Mutex;

use super::*;
use crate::replication::Survival;
use crate::tcp::Secret;
use crate::tcp::gate::{Commit, Decision, Gate};

/// Room for `half_open`, then cookies.
fn crowded(half_open: usize) -> ListenOptions {
    ListenOptions {
        max_half_open: half_open,
        ..ListenOptions::default()
    }
}

/// A SYN of somebody who never hears its answer.
fn spoofed(number: u32) -> Datagram {
    let syn = syn_from(1 + (number % 60_000) as u16);
    Datagram {
        source: IpAddr::from([10, 0, 0, 100 + (number / 60_000) as u8]),
        // The sum is that of another source.
        checksum_ok: true,
        ..syn
    }
}

/// Fills the SYN queue.
fn flood(net: &mut Net, syns: std::ops::Range<u32>) {
    for number in syns {
        net.server.receive(net.now, vec![spoofed(number)]);
        net.server.out.clear();
    }
}

/// Opens a connection of which the server keeps nothing before its last ACK.
fn connect(net: &mut Net, listener: &Listener) -> (Arc<Connection>, Arc<Connection>) {
    let given = net.server.count(Counter::TcpCookiesSent);
    let client = net.client.connect(net.now);
    net.settle();
    assert_eq!(net.server.count(Counter::TcpCookiesSent), given + 1);
    let server = net.accept(listener).expect("let in");
    assert_eq!(state(&client), State::Established);
    (client, server)
}

/// The client's answer to a cookie, which has not arrived yet.
fn answer_to_cookie(net: &mut Net) -> (Arc<Connection>, Vec<Datagram>) {
    let client = net.client.connect(net.now);
    let syn = arrivals(&std::mem::take(&mut net.client.out));
    net.server.receive(net.now, syn);
    let syn_ack = arrivals(&std::mem::take(&mut net.server.out));
    net.client.receive(net.now, syn_ack);
    let ack = arrivals(&std::mem::take(&mut net.client.out));
    assert_eq!(ack.len(), 1);
    (client, ack)
}

#[test]
fn a_flood_of_100_000_syns_keeps_nobody_out() {
    let mut net = Net::new();
    let listener = net.server.listen(crowded(16));
    for round in 0..10 {
        flood(&mut net, round * 10_000..(round + 1) * 10_000);
        let open = round as usize;
        assert!(
            net.server.tcp.len() <= 16 + open,
            "{}",
            net.server.tcp.len()
        );
        let (client, server) = connect(&mut net, &listener);
        net.client.send(net.now, &client, b"question");
        net.settle();
        assert_eq!(read_all(&server), b"question");
        net.server.send(net.now, &server, &[round as u8; 100_000]);
        let read = net.client_reads(&client, Duration::from_millis(100));
        assert!(read == [round as u8; 100_000], "{} bytes", read.len());
    }
    assert_eq!(net.server.count(Counter::TcpCookiesAccepted), 10);
    net.advance(Duration::from_secs(200));
    assert_eq!(net.server.tcp.len(), 10, "of the flood nothing is left");
}

#[test]
fn with_timestamps_every_option_is_as_without_a_flood() {
    let mut net = Net::new();
    let listener = net.server.listen(crowded(1));
    let before = net.client.connect(net.now);
    net.settle();
    let usual = net.accept(&listener).unwrap();
    flood(&mut net, 0..10);
    let (client, server) = connect(&mut net, &listener);
    for (usual, now) in [(&before, &client), (&usual, &server)] {
        let facts = |it: &Arc<Connection>| {
            let info = it.tcb.lock().info();
            (info.sack, info.timestamps, info.window_scales, info.snd_mss)
        };
        assert_eq!(facts(usual), facts(now));
    }
    let record = server.tcb.lock().record().unwrap();
    assert_eq!(record.first_window, 65_535);
}

#[test]
fn without_timestamps_there_is_neither_scaling_nor_sack() {
    let mut net = Net::new();
    net.client = Host::new(
        CLIENT,
        Config {
            timestamps: false,
            ..Config::default()
        },
    );
    let listener = net.server.listen(crowded(1));
    flood(&mut net, 0..10);
    let (client, server) = connect(&mut net, &listener);
    for side in [&client, &server] {
        let info = side.tcb.lock().info();
        assert!(!info.sack && !info.timestamps);
        assert_eq!((info.window_scales, info.snd_mss), ((0, 0), 1460));
    }
    net.server.send(net.now, &server, &[3; 100_000]);
    let read = net.client_reads(&client, Duration::from_millis(500));
    assert!(read == [3; 100_000], "{} bytes", read.len());
}

#[test]
fn data_behind_a_lost_ack_opens_the_connection_too() {
    let mut net = Net::new();
    let listener = net.server.listen(crowded(1));
    flood(&mut net, 0..10);
    let (client, _lost) = answer_to_cookie(&mut net);
    net.client.send(net.now, &client, b"early");
    net.settle();
    assert_eq!(read_all(&net.accept(&listener).unwrap()), b"early");
}

#[test]
fn a_cookie_is_good_for_one_connection() {
    let mut net = Net::new();
    let listener = net.server.listen(crowded(1));
    flood(&mut net, 0..10);
    let (client, ack) = answer_to_cookie(&mut net);
    net.server.receive(net.now, ack.clone());
    let server = net.accept(&listener).unwrap();
    // The client closes first, so that no TIME-WAIT at the server guards what was.
    net.client.close(net.now, &client);
    net.settle();
    net.server.close(net.now, &server);
    net.settle();
    let held = net.server.tcp.len();
    net.server.receive(net.now, ack);
    assert_eq!(header(&net.server.out[0]).flags, Flags::RST);
    assert_eq!(net.server.tcp.len(), held);
    assert!(net.accept(&listener).is_none());
    assert_eq!(net.server.count(Counter::TcpCookiesRefused), 1);
}

#[test]
fn a_cookie_expires() {
    let mut net = Net::new();
    let listener = net.server.listen(crowded(1));
    flood(&mut net, 0..10);
    let (_client, ack) = answer_to_cookie(&mut net);
    net.now += Duration::from_secs(2 * 64);
    // Somebody else's cookie is fresh.
    flood(&mut net, 10..11);
    net.server.receive(net.now, ack);
    assert!(net.accept(&listener).is_none());
    assert_eq!(net.server.count(Counter::TcpCookiesAccepted), 0);
}

#[test]
fn without_pressure_no_ack_opens_anything() {
    let secret = Some(Secret([9; 16]));
    let config = || Config {
        cookie_secret: secret,
        ..Config::default()
    };
    let mut net = Net::with(config());
    net.server.listen(crowded(1));
    flood(&mut net, 0..10);
    let (_client, ack) = answer_to_cookie(&mut net);
    // The same secret, but a listener that gave no cookies.
    net.server = Host::new(SERVER, config());
    let listener = net.server.listen(crowded(1));
    net.server.receive(net.now, ack);
    assert!(net.accept(&listener).is_none());
    assert_eq!(header(&net.server.out[0]).flags, Flags::RST);
}

#[test]
fn with_a_full_accept_queue_the_ack_waits_for_room() {
    let mut net = Net::new();
    let listener = net.server.listen(ListenOptions {
        backlog: 0,
        ..crowded(1)
    });
    flood(&mut net, 0..10);
    let (_first, first_ack) = answer_to_cookie(&mut net);
    let (second, second_ack) = answer_to_cookie(&mut net);
    net.server.receive(net.now, first_ack);
    net.server.receive(net.now, second_ack);
    assert!(net.server.out.is_empty(), "silence");
    assert!(net.accept(&listener).is_some() && net.accept(&listener).is_none());
    net.client.send(net.now, &second, b"again");
    net.settle();
    assert_eq!(read_all(&net.accept(&listener).unwrap()), b"again");
}

#[test]
fn a_host_that_takes_over_accepts_what_the_other_one_gave() {
    let config = || Config {
        cookie_secret: Some(Secret([9; 16])),
        ..Config::default()
    };
    let mut net = Net::with(config());
    net.server.listen(crowded(1));
    flood(&mut net, 0..10);
    let (client, ack) = answer_to_cookie(&mut net);

    // The other host was started later; its clock is behind by as much.
    let behind = Duration::from_secs(5);
    net.server = Host::new(SERVER, config());
    net.server.tcp.share_cookie_clock(behind.as_millis() as i64);
    let listener = net.server.listen(crowded(1));
    let now = Instant::ZERO + net.now.since(Instant::ZERO + behind);
    net.server.tcp.hush(now, Duration::from_secs(60));
    net.server.receive(now, ack);
    let server = net.accept(&listener).expect("let in");
    assert_eq!(server.tcb.lock().info().window_scales, (7, 7));
    server.tcb.lock().send_copy(b"hello").unwrap();
    net.server.output(&server);
    net.server.write(now);
    let sent = arrivals(&std::mem::take(&mut net.server.out));
    net.client.receive(net.now, sent);
    assert_eq!(
        read_all(&client),
        b"hello",
        "the clock in its timestamps goes on"
    );
}

/// Commits when it is told to.
#[derive(Default)]
struct Slow(Mutex<Vec<Commit>>);

impl Gate for Slow {
    fn request(&self, _: &crate::tcp::FourTuple, _: u64, commit: &Commit) -> Decision {
        self.0.lock().push(commit.clone());
        Decision::Hold
    }
}

#[test]
fn nothing_of_it_leaves_before_its_record_is_committed() {
    let mut net = Net::new();
    let gate = Arc::new(Slow::default());
    net.server = Host::gated(SERVER, Config::default(), Some(Arc::clone(&gate) as _));
    let listener = net.server.listen(ListenOptions {
        survival: Survival::Checkpoint,
        ..crowded(1)
    });
    flood(&mut net, 0..10);
    gate.0.lock().clear();
    let (client, ack) = answer_to_cookie(&mut net);
    assert!(gate.0.lock().is_empty(), "a cookie needs no record");
    net.server.receive(net.now, ack);
    let server = net.accept(&listener).unwrap();
    net.client.send(net.now, &client, b"question");
    let question = arrivals(&std::mem::take(&mut net.client.out));
    net.server.receive(net.now, question);
    net.server.send(net.now, &server, b"answer");
    assert!(net.server.out.is_empty());
    assert!(read_all(&server).is_empty());
    let commits = std::mem::take(&mut *gate.0.lock());
    assert!(matches!(commits[0], Commit::Record { .. }), "{commits:?}");
    server.tcb.lock().commit(&commits[0]);
    net.server.output(&server);
    net.server.write(net.now);
    assert!(!net.server.out.is_empty());
}
