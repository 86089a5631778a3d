//! A path that swallows what is too large and says nothing: found, lived with, and left again (RFC 2923, RFC 4821).

use super::*;

/// Carries everything both ways, but for datagrams to the server larger than `mtu`; true if anything was carried.
fn carry(net: &mut Net, mtu: usize) -> bool {
    let mut up = std::mem::take(&mut net.client.out);
    let down = std::mem::take(&mut net.server.out);
    let any = !up.is_empty() || !down.is_empty();
    up.retain(|sent| sent.frame.len() + 20 <= mtu);
    net.server.receive(net.now, arrivals(&up));
    net.client.receive(net.now, arrivals(&down));
    any
}

/// The client sends, the server reads, on a path of `mtu` bytes.
fn transfer(
    net: &mut Net,
    ends: &(Arc<Connection>, Arc<Connection>),
    mtu: usize,
    time: Duration,
) -> usize {
    let (end, mut received) = (net.now + time, 0);
    while net.now < end {
        let _ = ends.0.tcb.lock().send_copy(&[1; 65_536]);
        net.client.output(&ends.0);
        net.client.write(net.now);
        for _ in 0..10 {
            net.now += Duration::from_millis(1);
            carry(net, mtu);
            received += read_all(&ends.1).len();
            net.server.output(&ends.1);
            net.server.write(net.now);
        }
        // Then it pauses, but timers go on.
        net.now += Duration::from_millis(190);
        net.client.fire_timers(net.now);
        net.server.fire_timers(net.now);
    }
    received
}

#[test]
fn a_black_hole_is_found_and_left_again() {
    let mut net = Net::new();
    let ends = net.establish();
    let server: IpAddr = SERVER.parse().unwrap();
    assert!(transfer(&mut net, &ends, 1500, Duration::from_secs(1)) > 0);
    // Time-outs in a row tell, and each step takes some of them.
    transfer(&mut net, &ends, 1000, Duration::from_secs(500));
    let known = net.client.tcp.ip.mtu(server);
    assert!((993..=1000).contains(&known), "{known}");
    assert!(transfer(&mut net, &ends, 1000, Duration::from_secs(5)) > 500_000);
    transfer(&mut net, &ends, 1500, Duration::from_secs(610));
    assert_eq!(net.client.tcp.ip.mtu(server), 1500);
    assert_eq!(ends.0.tcb.lock().info().snd_mss, 1448);
    assert!(transfer(&mut net, &ends, 1500, Duration::from_secs(5)) > 500_000);
}
