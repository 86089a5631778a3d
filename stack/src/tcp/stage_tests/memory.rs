//! What is given up when all queues together hold too much.

use super::*;

const LIMIT: usize = 400_000;

/// Both ends of each connection.
type Ends = Vec<(Arc<Connection>, Arc<Connection>)>;

/// `count` connections to a server that holds no more than the limit.
fn connections(count: usize) -> (Net, Ends) {
    let mut net = Net::with(Config {
        max_queue_bytes: Some(LIMIT),
        ..Config::default()
    });
    let listener = net.server.listen(ListenOptions::default());
    let ends = (0..count)
        .map(|_| {
            let client = net.client.connect(net.now);
            net.settle();
            (client, net.accept(&listener).unwrap())
        })
        .collect();
    (net, ends)
}

/// The server writes what nobody acknowledges.
fn hold(net: &mut Net, server: &Arc<Connection>, bytes: usize) {
    net.now += Duration::from_millis(200);
    net.server.send(net.now, server, &vec![1; bytes]);
    net.server.out.clear();
}

#[test]
fn what_is_out_of_order_is_forgotten_first() {
    let (mut net, ends) = connections(3);
    let (client, server) = &ends[0];
    net.client.send(net.now, client, &[7; 14_000]);
    // The first is lost, and so is what the server says of it.
    net.client.out.remove(0);
    let up = arrivals(&std::mem::take(&mut net.client.out));
    net.server.receive(net.now, up);
    net.server.out.clear();
    let held = || server.tcb.lock().receive_queue.out_of_order_bytes();
    assert!(held() > 10_000);
    // Just too much: what is out of order is enough to give back.
    hold(&mut net, &ends[1].1, 200_000);
    assert!(held() > 10_000);
    hold(&mut net, &ends[2].1, LIMIT - 205_000);
    assert_eq!(held(), 0);
    assert!(net.server.count(Counter::TcpMemoryForgotten) > 10_000);
    assert_eq!(error(server), None);
    // Before more has to be given up.
    net.advance(Duration::from_millis(300));
    assert_eq!(read_all(server), [7; 14_000], "it came again");
}

#[test]
fn then_go_connections_that_nobody_holds_and_those_that_have_stood_still_longest() {
    let (mut net, ends) = connections(4);
    let server = |n: usize| &ends[n].1;
    for n in [2, 0, 1, 3] {
        hold(&mut net, server(n), 90_000);
    }
    // The last but one to have moved, and its application has left it.
    net.server.close(net.now, server(1));
    net.server.out.clear();
    assert_eq!(net.server.count(Counter::TcpMemoryShed), 0);
    hold(&mut net, server(3), 70_000);
    assert_eq!(error(server(1)), Some(Error::Aborted), "nobody held it");
    for n in [0, 2, 3] {
        assert_eq!(error(server(n)), None, "{n}");
    }
    hold(&mut net, server(3), 70_000);
    assert_eq!(
        error(server(2)),
        Some(Error::Aborted),
        "stood still longest"
    );
    assert_eq!((error(server(0)), error(server(3))), (None, None));
    assert_eq!(net.server.count(Counter::TcpMemoryShed), 2);
    assert!(net.server.tcp.memory.held() <= LIMIT);
}

#[test]
fn what_ends_gives_back_what_it_held() {
    let (mut net, ends) = connections(3);
    for (_, server) in &ends {
        hold(&mut net, server, 50_000);
    }
    assert!(net.server.tcp.memory.held() >= 150_000);
    net.advance(Duration::from_secs(5));
    for (client, server) in &ends {
        assert_eq!(read_all(client).len(), 50_000);
        net.client.close(net.now, client);
        net.server.close(net.now, server);
    }
    net.advance(Duration::from_secs(100));
    assert!(net.server.tcp.is_empty());
    assert_eq!(net.server.tcp.memory.held(), 0);
}
