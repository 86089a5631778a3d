//! Several listeners on one port (like `SO_REUSEPORT`), and one for both families.

use super::*;

fn shared() -> ListenOptions {
    ListenOptions {
        reuse_port: true,
        ..ListenOptions::default()
    }
}

fn accepted(net: &mut Net, listener: &Listener) -> Vec<Arc<Connection>> {
    std::iter::from_fn(|| net.accept(listener)).collect()
}

#[test]
fn connections_are_spread_over_listeners_that_share_a_port() {
    let mut net = Net::new();
    let listeners: Vec<_> = (0..4).map(|_| net.server.listen(shared())).collect();
    for _ in 0..400 {
        net.client.connect(net.now);
    }
    net.settle();
    let counts: Vec<_> = listeners
        .iter()
        .map(|listener| accepted(&mut net, listener).len())
        .collect();
    assert_eq!(counts.iter().sum::<usize>(), 400);
    assert!(counts.iter().all(|&count| count > 60), "{counts:?}");
}

#[test]
fn a_port_is_shared_only_if_all_agree() {
    let net = Net::new();
    let listen = |options| net.server.tcp.listen(server_addr(), options).err();
    assert_eq!(listen(shared()), None);
    assert_eq!(listen(ListenOptions::default()), Some(Error::AddressInUse));
    assert_eq!(listen(shared()), None);
    net.server.tcp.close_listeners();
    assert_eq!(listen(ListenOptions::default()), None);
    assert_eq!(listen(shared()), Some(Error::AddressInUse));
}

#[test]
fn when_one_goes_the_others_keep_theirs() {
    let mut net = Net::new();
    let (first, second) = (net.server.listen(shared()), net.server.listen(shared()));
    let tcp = Arc::clone(&net.server.tcp);
    let ids: Vec<_> = (1000..1200)
        .map(|port| FourTuple::new(server_addr(), ([10, 0, 0, 1], port).into()))
        .collect();
    let of = |listener: &Arc<Listener>| -> Vec<FourTuple> {
        let found = |id: &&FourTuple| {
            let found = tcp.listeners.find(id);
            found.is_some_and(|it| Arc::ptr_eq(&it, listener))
        };
        ids.iter().filter(found).copied().collect()
    };
    let before = of(&second);
    assert!(!before.is_empty() && before.len() < ids.len());
    // A third takes from both, and gives back what it took.
    let third = net.server.listen(shared());
    assert!(of(&second).iter().all(|id| before.contains(id)));
    tcp.close_listener(&third);
    assert_eq!(of(&second), before);
    tcp.close_listener(&first);
    assert_eq!(of(&second), ids);
    net.client.connect(net.now);
    net.settle();
    assert_eq!(accepted(&mut net, &second).len(), 1);
}

#[test]
fn a_listener_on_all_addresses_of_ipv6_takes_ipv4_too_unless_it_says_otherwise() {
    let everywhere = |text: &str| SocketAddr::new(text.parse().unwrap(), 80);
    let only = ListenOptions {
        only_v6: true,
        ..ListenOptions::default()
    };
    let mut net = Net::new();
    let listen = |net: &Net, at, options: &ListenOptions| {
        net.server.tcp.listen(everywhere(at), options.clone())
    };
    let both = listen(&net, "::", &ListenOptions::default()).unwrap();
    net.client.connect(net.now);
    net.settle();
    assert_eq!(accepted(&mut net, &both).len(), 1);

    let mut net = Net::new();
    let ipv6 = listen(&net, "::", &only).unwrap();
    let client = net.client.connect(net.now);
    net.settle();
    assert_eq!(error(&client), Some(Error::Refused));
    let ipv4 = listen(&net, "0.0.0.0", &ListenOptions::default()).unwrap();
    net.client.connect(net.now);
    net.settle();
    assert_eq!(accepted(&mut net, &ipv4).len(), 1);
    assert!(accepted(&mut net, &ipv6).is_empty());
}
