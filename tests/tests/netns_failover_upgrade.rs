//! An upgrade of the program on one host: a second process beside the first one takes the service over, on the same
//! interface, and no connection is lost.

use outlive_tests::netns::{Clients, Cluster, Conversations, Media, Sandbox};

const CLIENTS: &str = env!("CARGO_BIN_EXE_clients");
const STEP: u64 = 192 << 10;
/// Transfers each way.
const EACH: usize = 20;

/// The second process has the first one's addresses and ports of its own.
const ONE_HOST: [(&str, &str); 2] = [
    ("10.88.0.2:7700", "10.88.0.1:7701"),
    ("10.77.0.12:7700", "10.77.0.11:7701"),
];

#[test]
fn a_process_hands_over_to_another_one_on_the_same_host_and_back() {
    let sandbox = Sandbox::new();
    let media = Media::new(&sandbox);
    let file = media.random_file("random.bin", STEP * 8);
    let mut cluster = Cluster::new(&sandbox, &media, &ONE_HOST, &[]).on_one_host();
    cluster.start();
    let conversations = Conversations::record(&cluster.client, "eth0");
    let options = ["--buffer", "65536"];
    let mut clients = Clients::start(&cluster.client, CLIENTS, &file, [EACH; 2], &options);
    for round in 0..3 {
        clients.allow(STEP * 2 * (round + 1));
        cluster.insist(clients.half());
        let (old, _) = cluster.hand_over();
        cluster.wait_until_serves(1 - old);
        cluster.wait_until_protected();
        // On a busy machine the service may have come back by itself, and who ends while it serves ends its connections.
        while cluster.primary() == old {
            let _ = cluster.hand_over();
            cluster.wait_until_protected();
        }
        // The old program ends, and the next one is started in its place.
        let said = cluster.stop(old);
        // It does not wait for what is not its own any more: it could be made to serve again, and would end all of it.
        assert!(!said.contains("did not close in time"), "{said}");
        cluster.insist(clients.all());
        cluster.start_host(old);
        cluster.wait_until_protected();
    }
    assert_eq!(cluster.insist(clients.finish()), 2 * EACH);
    let seen = Conversations::of(conversations);
    assert_eq!(
        seen,
        Conversations::undisturbed(2 * EACH),
        "\n{}",
        cluster.complaints()
    );
}
