//! Which segments are listened to, and what is said to those of no connection.

use super::*;

#[test]
fn what_is_malformed_or_damaged_is_dropped() {
    let mut net = Net::new();
    let _listener = net.server.listen(ListenOptions::default());
    let good = syn_from(9);
    for len in 0..good.payload.len() {
        let mut cut = good.clone();
        cut.payload.truncate(len);
        net.server.receive(net.now, vec![cut]);
    }
    assert_eq!(net.server.count(Counter::TcpDropMalformed), 20);
    for bit in 0..8 * good.payload.len() {
        let mut bytes = good.payload.to_vec();
        bytes[bit / 8] ^= 1 << (bit % 8);
        let damaged = Datagram {
            payload: bytes.into(),
            ..good.clone()
        };
        net.server.receive(net.now, vec![damaged]);
    }
    let dropped =
        net.server.count(Counter::TcpDropChecksum) + net.server.count(Counter::TcpDropMalformed);
    assert_eq!(dropped, 20 + 160);
    assert!(net.server.tcp.is_empty() && net.server.out.is_empty());
}

#[test]
fn a_checksum_that_the_device_checked_is_not_summed_again() {
    let mut net = Net::new();
    let _listener = net.server.listen(ListenOptions::default());
    let mut bytes = syn_from(9).payload.to_vec();
    bytes[17] ^= 1;
    let datagram = Datagram {
        payload: bytes.into(),
        checksum_ok: true,
        ..syn_from(9)
    };
    net.server.receive(net.now, vec![datagram]);
    assert_eq!(net.server.tcp.len(), 1);
}

#[test]
fn nobody_talks_to_groups_or_to_himself() {
    let mut net = Net::new();
    let _listener = net.server.listen(ListenOptions::default());
    let mut bad = Vec::new();
    for cast in [Cast::Multicast, Cast::Broadcast] {
        bad.push(Datagram {
            cast,
            ..syn_from(9)
        });
    }
    for source in ["0.0.0.0", "224.0.0.1", "255.255.255.255", "10.0.0.255"] {
        bad.push(Datagram {
            source: source.parse().unwrap(),
            ..syn_from(9)
        });
    }
    // The land attack.
    bad.push(Datagram {
        source: SERVER.parse().unwrap(),
        ..syn_from(80)
    });
    let count = bad.len() as u64;
    let checked = bad.into_iter().map(|datagram| Datagram {
        checksum_ok: true,
        ..datagram
    });
    net.server.receive(net.now, checked.collect());
    assert_eq!(net.server.count(Counter::TcpDropAddress), count);
    assert!(net.server.tcp.is_empty() && net.server.out.is_empty());
}

#[test]
fn a_segment_of_no_connection_is_refused_a_limited_number_of_times() {
    let mut net = Net::new();
    let client = net.client.connect(net.now);
    net.settle();
    assert_eq!(error(&client), Some(Error::Refused));
    assert!(net.client.tcp.is_empty());

    (1..20_000).for_each(|port| net.server.receive(net.now, vec![syn_from(port)]));
    assert_eq!(net.server.count(Counter::TcpResetsSent), 100);
    assert_eq!(net.server.count(Counter::TcpDropNoConnection), 20_000);
    net.now += Duration::from_millis(10);
    net.server.out.clear();
    (1..50).for_each(|port| net.server.receive(net.now, vec![syn_from(port)]));
    assert_eq!(net.server.out.len(), 10);
}

#[test]
fn a_reset_is_never_answered() {
    let mut net = Net::new();
    let _listener = net.server.listen(ListenOptions::default());
    for (port, flags) in [
        (80, Flags::RST),
        (81, Flags::RST),
        (81, Flags::RST.with(Flags::ACK)),
    ] {
        let rst = forged(&Header {
            source_port: 9,
            destination_port: port,
            flags,
            ..Header::default()
        });
        net.server.receive(net.now, vec![rst]);
    }
    assert!(net.server.out.is_empty() && net.server.tcp.is_empty());
}

#[test]
fn a_listener_takes_nothing_but_a_syn() {
    let mut net = Net::new();
    let _listener = net.server.listen(ListenOptions::default());
    let mut send = |flags| {
        let segment = forged(&Header {
            source_port: 9,
            destination_port: 80,
            ack: 77,
            flags,
            ..Header::default()
        });
        net.server.receive(net.now, vec![segment]);
        assert!(net.server.tcp.is_empty());
        std::mem::take(&mut net.server.out)
    };
    for flags in [Flags::ACK, Flags::SYN.with(Flags::ACK)] {
        let answers = send(flags);
        assert_eq!(
            (header(&answers[0]).seq, header(&answers[0]).flags),
            (77, Flags::RST)
        );
    }
    for flags in [Flags(0), Flags::FIN, Flags::SYN.with(Flags::FIN)] {
        assert!(send(flags).is_empty());
    }
}

#[test]
fn a_listener_on_all_ipv6_addresses_accepts_ipv4_unless_another_does() {
    let net = Net::new();
    let tcp = &net.server.tcp;
    let listen = |at: &str| tcp.listen(at.parse().unwrap(), ListenOptions::default());
    let found = |address: &str| {
        let local = SocketAddr::new(address.parse().unwrap(), 80);
        tcp.listeners
            .find(&FourTuple::new(local, "[2001:db8::9]:1".parse().unwrap()))
    };
    let both = listen("[::]:80").unwrap();
    assert!(Arc::ptr_eq(&found(SERVER).unwrap(), &both));
    assert!(Arc::ptr_eq(&found("2001:db8::1").unwrap(), &both));
    let ipv4 = listen("0.0.0.0:80").unwrap();
    assert!(Arc::ptr_eq(&found(SERVER).unwrap(), &ipv4));
    assert!(Arc::ptr_eq(&found("2001:db8::1").unwrap(), &both));
    tcp.close_listener(&both);
    assert!(
        found("2001:db8::1").is_none(),
        "IPv4 stands for itself alone"
    );
}

#[test]
fn a_listener_on_one_address_comes_before_one_on_all() {
    let net = Net::new();
    let tcp = &net.server.tcp;
    let all = tcp.listen("0.0.0.0:80".parse().unwrap(), ListenOptions::default());
    let one = net.server.listen(ListenOptions::default());
    let id = FourTuple::new(server_addr(), "10.0.0.1:1".parse().unwrap());
    let found = tcp.listeners.find(&id).unwrap();
    assert!(Arc::ptr_eq(&found, &one));
    tcp.close_listener(&one);
    let found = tcp.listeners.find(&id).unwrap();
    assert!(Arc::ptr_eq(&found, &all.unwrap()));
}

#[test]
fn one_host_gets_so_many_challenges_whatever_its_connections() {
    // RFC 5961 §7.
    let mut net = Net::with(Config {
        challenges_per_second_per_host: 5,
        ..Config::default()
    });
    let listener = net.server.listen(ListenOptions::default());
    let clients: Vec<_> = (0..20).map(|_| net.client.connect(net.now)).collect();
    net.settle();
    while net.accept(&listener).is_some() {}
    for client in &clients {
        // A SYN in the middle of a connection (RFC 5961 §4).
        let syn = syn_from(client.id.local_port);
        net.server.receive(net.now, vec![syn]);
    }
    assert_eq!(net.server.out.len(), 5);
    assert_eq!(net.server.count(Counter::TcpChallengeAcks), 5);
    assert_eq!(net.server.count(Counter::TcpChallengesWithheld), 15);
}
