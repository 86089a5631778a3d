//! Many transfers at once through many deaths of their hosts, alternating; `OUTLIVE_TEST_KILLS=20` for all of it,
//! `OUTLIVE_TEST_CONNECTIONS` each way.

use outlive_cluster::report::Role;
use outlive_tests::netns::{Clients, Conversations, number_from, with_cluster};

const CLIENTS: &str = env!("CARGO_BIN_EXE_clients");
/// So much of each transfer passes between two kills; several windows.
const STEP: u64 = 192 << 10;
/// Small enough that what is held back is held back by the server.
const BUFFER: &str = "65536";

#[test]
fn a_hundred_transfers_each_way_survive_kills_of_alternating_hosts() {
    let kills = number_from("OUTLIVE_TEST_KILLS", 5_u64);
    let each = number_from("OUTLIVE_TEST_CONNECTIONS", 100_usize);
    with_cluster(STEP * (kills + 1), &[], &[], |cluster, file| {
        let capture = Conversations::record(&cluster.client, "eth0");
        let options = ["--buffer", BUFFER];
        let mut clients = Clients::start(&cluster.client, CLIENTS, file, [each; 2], &options);
        let mut served = Vec::new();
        for kill in 0..kills {
            clients.allow(STEP * (kill + 1));
            cluster.insist(clients.half());
            let killed = cluster.kill_primary();
            served.push(killed);
            cluster.start_host(killed);
            // All of them went on, and the copy was made meanwhile.
            cluster.insist(clients.all());
            cluster.wait_until_protected();
        }
        let whole = cluster.insist(clients.finish());
        assert_eq!(whole, 2 * each);
        // In turn, but for a machine so busy that the service moved by itself: both died, and both took over.
        let both = (0..2).all(|host| served.contains(&host));
        assert!(both || kills < 2, "{served:?}");
        let seen = Conversations::of(capture);
        let expected = Conversations::undisturbed(2 * each);
        assert_eq!(seen, expected, "\n{}", cluster.complaints());
    });
}

/// The copy is made while everything flows: nobody waits longer for it than for a dead host.
#[test]
fn the_backup_is_lost_and_returns_under_load() {
    let each = number_from("OUTLIVE_TEST_CONNECTIONS", 40_usize);
    with_cluster(STEP * 8, &[], &[], |cluster, file| {
        let capture = Conversations::record(&cluster.client, "eth0");
        let mut clients = Clients::start(&cluster.client, CLIENTS, file, [each; 2], &[]);
        clients.allow(STEP * 2);
        cluster.insist(clients.half());
        let primary = cluster.primary();
        cluster.kill(1 - primary);
        clients.allow(STEP * 4);
        cluster.insist(clients.half());
        cluster.start_host(1 - primary);
        clients.allow(STEP * 6);
        cluster.insist(clients.all());
        cluster.wait_until_protected();
        assert!(cluster.is(primary, Role::Primary), "the service moved");
        // The copy is a whole one.
        clients.allow(STEP * 7);
        cluster.insist(clients.half());
        cluster.kill_primary();
        let whole = cluster.insist(clients.finish());
        assert_eq!(whole, 2 * each);
        assert_eq!(Conversations::of(capture).resets, 0);
    });
}

/// More than the channel that brings the copy may hold at once.
#[test]
fn a_host_that_joins_in_the_middle_of_a_long_upload_can_finish_it() {
    const KEPT: u64 = 300 << 20;
    with_cluster(KEPT + STEP, &[], &[], |cluster, file| {
        let mut clients = Clients::start(&cluster.client, CLIENTS, file, [0, 1], &[]);
        clients.allow(KEPT);
        cluster.insist(clients.all());
        let backup = 1 - cluster.primary();
        cluster.kill(backup);
        cluster.start_host(backup);
        cluster.wait_until_protected();
        cluster.kill_primary();
        assert_eq!(cluster.insist(clients.finish()), 1);
    });
}
