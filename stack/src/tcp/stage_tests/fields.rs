//! What of a socket is seen in its datagrams: addresses, TTL, DSCP (RFC 9293 §3.9.1, §3.9.2).

use super::*;

#[test]
fn ttl_and_dscp_are_what_the_application_asked_for() {
    let mut net = Net::new();
    let options = SocketOptions {
        ttl: 9,
        tos: 0xb8,
        ..SocketOptions::default()
    };
    let listener = net.server.listen(ListenOptions {
        socket: options.clone(),
        ..ListenOptions::default()
    });
    let client = net
        .client
        .tcp
        .connect(net.now, None, server_addr(), options)
        .unwrap();
    net.client.output(&client);
    net.client.write(net.now);
    let seen = |sent: &[TxDatagram]| {
        sent.iter()
            .map(|it| (it.ttl, it.tos & !3))
            .collect::<Vec<_>>()
    };
    assert_eq!(seen(&net.client.out), [(9, 0xb8)], "the SYN");
    net.server.receive(net.now, arrivals(&net.client.out));
    assert_eq!(seen(&net.server.out), [(9, 0xb8)], "the SYN-ACK");
    net.client.out.clear();
    net.settle();
    assert!(net.accept(&listener).is_some());
    // MUST-48, SHLD-21, SHLD-22: later too.
    client.tcb.lock().set_ttl(3);
    client.tcb.lock().set_tos(0x28);
    net.client.send(net.now, &client, b"text");
    assert_eq!(seen(&net.client.out), [(3, 0x28)]);
}

#[test]
fn listening_again_disturbs_no_connection() {
    // MUST-41, MUST-42.
    let mut net = Net::new();
    let (client, server) = net.establish();
    let again = net.server.listen(ListenOptions::default());
    assert!(net.accept(&again).is_none());
    let second = net.client.connect(net.now);
    net.settle();
    let accepted = net.accept(&again).unwrap();
    assert_eq!(accepted.id.remote_port, second.id.local_port);
    net.client.send(net.now, &client, b"still the same");
    net.settle();
    assert_eq!(read_all(&server), b"still the same");
    assert!(read_all(&accepted).is_empty());
}

#[test]
fn the_answer_comes_from_the_address_that_was_asked() {
    // MUST-45, RFC 1122 §3.3.4.2.
    let mut net = Net::new();
    let second: IpAddr = "10.0.0.22".parse().unwrap();
    assert!(
        net.server
            .tcp
            .ip
            .add_address("10.0.0.22/24".parse().unwrap())
    );
    let everywhere = SocketAddr::new("0.0.0.0".parse().unwrap(), 80);
    let listener = net
        .server
        .tcp
        .listen(everywhere, ListenOptions::default())
        .unwrap();
    let to = SocketAddr::new(second, 80);
    let client = net
        .client
        .tcp
        .connect(net.now, None, to, SocketOptions::default())
        .unwrap();
    net.client.output(&client);
    net.client.write(net.now);
    net.server.receive(net.now, arrivals(&net.client.out));
    assert_eq!(net.server.out[0].source, second);
    net.client.out.clear();
    net.settle();
    assert_eq!(net.accept(&listener).unwrap().id.local, second);
}
