//! `service.flooded`: the switch never learns where the service is, both hosts hear the clients, and transfers survive a handover
//! and a death as they do elsewhere.

use outlive_tests::netns::{
    Capture, Clients, Cluster, Conversations, Network, SERVICE_MAC, require, with_cluster,
};

const CLIENTS: &str = env!("CARGO_BIN_EXE_clients");
const STEP: u64 = 192 << 10;
/// Transfers each way.
const EACH: usize = 10;

/// Whether the switch knows a port for the service.
fn is_learned(cluster: &Cluster<'_>) -> bool {
    let known = cluster.switch().shell("bridge fdb show br service");
    known.contains(SERVICE_MAC)
}

/// Segments with data that reached the host that does not serve, during a handover and a death.
fn heard_by_the_backup() -> usize {
    require(&["bridge"]);
    let flooded = [("flooded = false", "flooded = true")];
    let mut heard = 0;
    with_cluster(STEP * 4, &flooded, &[], |cluster, file| {
        let conversations = Conversations::record(&cluster.client, "eth0");
        let backup = cluster.port(1 - cluster.primary(), Network::Service);
        let filter = format!("ether dst {SERVICE_MAC} and tcp and len > 500");
        let capture = Capture::filtered(cluster.switch().clone(), &backup, &filter);
        // The memory that a recorder takes may keep the processors for longer than a primary is waited for.
        cluster.wait_until_protected();
        let mut clients = Clients::start(&cluster.client, CLIENTS, file, [EACH; 2], &[]);
        clients.allow(STEP);
        cluster.insist(clients.all());
        heard = capture.read(&["tcp.len"]).lines().count();
        clients.allow(STEP * 2);
        cluster.insist(clients.half());
        let _ = cluster.hand_over();
        cluster.insist(clients.all());
        assert!(!is_learned(cluster));
        clients.allow(STEP * 3);
        cluster.insist(clients.half());
        let _ = cluster.kill_primary();
        assert_eq!(cluster.insist(clients.finish()), 2 * EACH);
        assert!(!is_learned(cluster));
        let seen = Conversations::of(conversations);
        assert_eq!((seen.resets, seen.tuples), (0, 2 * EACH));
    });
    heard
}

#[test]
fn a_flooded_service_is_heard_by_both_hosts_and_survives() {
    let uploaded = EACH as u64 * STEP;
    // The kernel hands segments on in pieces of 64 kB at most.
    let least = usize::try_from(uploaded >> 16).unwrap_or(usize::MAX);
    let heard = heard_by_the_backup();
    assert!(heard >= least, "{heard} segments of at least {least}");
}
