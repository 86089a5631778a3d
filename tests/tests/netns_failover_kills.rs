//! Many transfers at once through many deaths of their hosts, alternating; `OUTLIVE_TEST_KILLS=20` for all of it,
//! `OUTLIVE_TEST_CONNECTIONS` each way.

use outlive_tests::netns::{Clients, Cluster, Conversations, PATIENT, number_from, with_cluster};

const CLIENTS: &str = env!("CARGO_BIN_EXE_clients");
/// So much of each transfer passes between two kills; several windows.
const STEP: u64 = 192 << 10;
/// Small enough that what is held back is held back by the server.
const BUFFER: &str = "65536";

/// Kills whoever serves, waits until the other one does, and brings the first one back.
fn kill_and_return(cluster: &mut Cluster<'_>) {
    let primary = cluster.primary();
    cluster.kill(primary);
    cluster.wait_until_serves(1 - primary);
    cluster.start_host(primary);
}

#[test]
fn a_hundred_transfers_each_way_survive_kills_of_alternating_hosts() {
    let kills = number_from("OUTLIVE_TEST_KILLS", 5_u64);
    let each = number_from("OUTLIVE_TEST_CONNECTIONS", 100_usize);
    with_cluster(STEP * (kills + 1), &PATIENT, &[], |cluster, file| {
        let capture = Conversations::record(&cluster.client, "eth0");
        let options = ["--buffer", BUFFER];
        let mut clients = Clients::start(&cluster.client, CLIENTS, file, [each; 2], &options);
        let mut served = Vec::new();
        for kill in 0..kills {
            clients.allow(STEP * (kill + 1));
            cluster.insist(clients.half());
            served.push(cluster.primary());
            kill_and_return(cluster);
            // All of them went on, and the copy was made meanwhile.
            cluster.insist(clients.all());
            cluster.wait_until_protected();
        }
        let whole = cluster.insist(clients.finish());
        assert_eq!(whole, 2 * each);
        assert!(served.windows(2).all(|two| two[0] != two[1]), "{served:?}");
        let seen = Conversations::of(capture);
        let expected = Conversations {
            tuples: 2 * each,
            ..Conversations::default()
        };
        assert_eq!(seen, expected, "\n{}", cluster.complaints());
    });
}
