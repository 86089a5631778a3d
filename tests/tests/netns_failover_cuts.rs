//! Networks that are cut in every way, and a witness that is gone: every byte of every client is right, and whoever can
//! be reached and may serve does.

use outlive_tests::netns::{Clients, Conversations, Cut, Network, with_cluster};

const CLIENTS: &str = env!("CARGO_BIN_EXE_clients");
/// So much of each transfer passes between two disturbances.
const STEP: u64 = 192 << 10;
const BUFFER: [&str; 2] = ["--buffer", "65536"];
/// Transfers.
const EACH: usize = 20;

/// What is cut, and who may serve meanwhile.
struct Disturbance {
    name: &'static str,
    cuts: &'static [(Who, Network, Cut)],
    served: Served,
}

#[derive(Clone, Copy)]
enum Who {
    Primary,
    Backup,
    Witness,
}

/// What the clients can expect while the cut lasts.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Served {
    /// Somebody serves, and clients can reach it.
    Yes,
    /// Nobody who may serve can be reached.
    AfterMending,
}

const DISTURBANCES: [Disturbance; 8] = [
    Disturbance {
        name: "the primary's replication path",
        cuts: &[(Who::Primary, Network::Replication, Cut::Both)],
        served: Served::Yes,
    },
    Disturbance {
        name: "what the primary says on the replication path",
        cuts: &[(Who::Primary, Network::Replication, Cut::FromHost)],
        served: Served::Yes,
    },
    Disturbance {
        name: "what the primary hears on the replication path",
        cuts: &[(Who::Primary, Network::Replication, Cut::ToHost)],
        served: Served::Yes,
    },
    Disturbance {
        name: "both paths of the backup",
        cuts: &[
            (Who::Backup, Network::Replication, Cut::Both),
            (Who::Backup, Network::Service, Cut::Both),
        ],
        served: Served::Yes,
    },
    Disturbance {
        name: "both paths of the primary",
        cuts: &[
            (Who::Primary, Network::Replication, Cut::Both),
            (Who::Primary, Network::Service, Cut::Both),
        ],
        served: Served::Yes,
    },
    Disturbance {
        name: "what the primary says, on both paths",
        cuts: &[
            (Who::Primary, Network::Replication, Cut::FromHost),
            (Who::Primary, Network::Service, Cut::FromHost),
        ],
        served: Served::Yes,
    },
    Disturbance {
        name: "the primary's service path",
        cuts: &[(Who::Primary, Network::Service, Cut::Both)],
        // Its heartbeats still pass on the other path, so it goes on owning an address that nobody reaches.
        served: Served::AfterMending,
    },
    Disturbance {
        name: "the witness",
        cuts: &[
            (Who::Witness, Network::Replication, Cut::Both),
            (Who::Witness, Network::Service, Cut::Both),
        ],
        served: Served::Yes,
    },
];

#[test]
fn whatever_is_cut_no_byte_is_wrong_and_who_can_be_reached_serves() {
    let len = STEP * (2 * DISTURBANCES.len() as u64 + 1);
    with_cluster(len, &[], &[], |cluster, file| {
        let conversations = Conversations::record(&cluster.client, "eth0");
        let mut clients = Clients::start(&cluster.client, CLIENTS, file, [EACH / 2; 2], &BUFFER);
        let mut allowed = 0;
        for disturbance in &DISTURBANCES {
            println!("cut: {}", disturbance.name);
            allowed += STEP;
            clients.allow(allowed);
            cluster.insist(clients.half());
            let primary = cluster.primary();
            for (who, network, cut) in disturbance.cuts {
                let host = match who {
                    Who::Primary => primary,
                    Who::Backup => 1 - primary,
                    Who::Witness => 2,
                };
                cluster.cut(host, *network, *cut);
            }
            if disturbance.served == Served::Yes {
                cluster.insist(clients.all());
                // It is no matter of what was under way when it began either.
                allowed += STEP;
                clients.allow(allowed);
                cluster.insist(clients.all());
                cluster.mend();
            } else {
                cluster.mend();
                cluster.insist(clients.all());
            }
            cluster.wait_until_protected();
        }
        let whole = cluster.insist(clients.finish());
        assert_eq!(whole, EACH);
        let seen = Conversations::of(conversations);
        assert_eq!(
            (seen.resets, seen.tuples),
            (0, EACH),
            "{}",
            cluster.complaints()
        );
    });
}

/// The witness is gone for good: a primary and its backup are two of three.
#[test]
fn without_the_witness_the_pair_goes_on_and_changes_places() {
    with_cluster(STEP * 4, &[], &[], |cluster, file| {
        let mut clients = Clients::start(&cluster.client, CLIENTS, file, [EACH / 2; 2], &BUFFER);
        clients.allow(STEP);
        cluster.insist(clients.half());
        cluster.kill(2);
        clients.allow(STEP * 2);
        cluster.insist(clients.all());
        let (primary, _) = cluster.hand_over();
        cluster.wait_until_serves(1 - primary);
        clients.allow(STEP * 3);
        cluster.insist(clients.all());
        assert_eq!(cluster.insist(clients.finish()), EACH);
    });
}
