//! Active opens and local ports.

use super::*;

fn connect(net: &Net, local: Option<&str>, remote: &str) -> Result<Arc<Connection>, Error> {
    let local = local.map(|local| local.parse().unwrap());
    let options = SocketOptions::default();
    net.client
        .tcp
        .connect(net.now, local, remote.parse().unwrap(), options)
}

#[test]
fn impossible_destinations_and_sources_are_refused_with_the_reason() {
    let net = Net::new();
    for remote in ["0.0.0.0:1", "224.0.0.1:1", "10.0.0.255:1", "10.0.0.2:0"] {
        assert_eq!(
            connect(&net, None, remote).err(),
            Some(Error::InvalidAddress)
        );
    }
    let error = connect(&net, None, "192.0.2.1:1").err();
    assert_eq!(error, Some(Error::NoRoute));
    let error = connect(&net, Some("10.0.0.77:0"), "10.0.0.2:1").err();
    assert_eq!(error, Some(Error::AddressNotAvailable));
    assert!(net.client.tcp.is_empty());
}

#[test]
fn a_name_is_given_once() {
    let net = Net::new();
    let first = connect(&net, Some("10.0.0.1:5000"), "10.0.0.2:80").unwrap();
    assert_eq!(first.id.local_addr().to_string(), "10.0.0.1:5000");
    let error = connect(&net, Some("0.0.0.0:5000"), "10.0.0.2:80").err();
    assert_eq!(error, Some(Error::AddressInUse));
    connect(&net, Some("10.0.0.1:5000"), "10.0.0.2:81").unwrap();
}

#[test]
fn ephemeral_ports_avoid_listeners_and_run_out() {
    let mut net = Net::new();
    net.client = Host::new(
        CLIENT,
        Config {
            ephemeral_ports: 50_000..=50_009,
            ..Config::default()
        },
    );
    let local = "10.0.0.1:50003".parse().unwrap();
    net.client
        .tcp
        .listen(local, ListenOptions::default())
        .unwrap();
    let mut ports: Vec<u16> = (0..9)
        .map(|_| connect(&net, None, "10.0.0.2:80").unwrap().id.local_port)
        .collect();
    ports.sort_unstable();
    ports.dedup();
    assert_eq!(ports.len(), 9);
    assert!(!ports.contains(&50_003));
    assert_eq!(
        connect(&net, None, "10.0.0.2:80").err(),
        Some(Error::PortsExhausted)
    );
    connect(&net, None, "10.0.0.2:81").unwrap();
}

#[test]
fn listening_on_port_0_takes_a_free_one() {
    let net = Net::new();
    let any = SocketAddr::new(SERVER.parse().unwrap(), 0);
    let listen = || {
        net.server
            .tcp
            .listen(any, ListenOptions::default())
            .unwrap()
    };
    let (a, b) = (listen(), listen());
    assert_ne!(a.local_addr().port(), b.local_addr().port());
    let again = net
        .server
        .tcp
        .listen(a.local_addr(), ListenOptions::default());
    assert_eq!(again.err(), Some(Error::AddressInUse));
    let foreign = "10.9.9.9:80".parse().unwrap();
    let error = net
        .server
        .tcp
        .listen(foreign, ListenOptions::default())
        .err();
    assert_eq!(error, Some(Error::AddressNotAvailable));
}

#[test]
fn a_host_talks_to_itself() {
    let mut net = Net::new();
    let listener = net.server.listen(ListenOptions::default());
    let client = net.server.connect(net.now);
    for _ in 0..4 {
        let loopback = arrivals(&std::mem::take(&mut net.server.out));
        net.server.receive(net.now, loopback);
    }
    assert_eq!(state(&client), State::Established);
    assert_eq!(
        net.accept(&listener).unwrap().id.remote_port,
        client.id.local_port
    );
}

#[test]
fn two_hosts_that_open_at_once_get_one_connection() {
    let mut net = Net::new();
    let (there, back) = ("10.0.0.2:80", "10.0.0.1:5000");
    let client = connect(&net, Some(back), there).unwrap();
    let (local, remote) = (there.parse().unwrap(), back.parse().unwrap());
    let options = SocketOptions::default();
    let server = net
        .server
        .tcp
        .connect(net.now, Some(local), remote, options)
        .unwrap();
    net.client.output(&client);
    net.server.output(&server);
    net.client.write(net.now);
    net.server.write(net.now);
    net.settle();
    assert_eq!(state(&client), State::Established);
    assert_eq!(state(&server), State::Established);
}
