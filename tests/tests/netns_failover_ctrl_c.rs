//! Ctrl-C on the host that serves: the other one goes on with its connections, and no client notices.

use outlive_tests::netns::{Clients, Cluster, Conversations, Media, Sandbox};

const CLIENTS: &str = env!("CARGO_BIN_EXE_clients");
const STEP: u64 = 192 << 10;
/// Transfers each way.
const EACH: usize = 10;

#[test]
fn transfers_survive_ctrl_c_and_sigterm_of_their_server() {
    let sandbox = Sandbox::new();
    let media = Media::new(&sandbox);
    let file = media.random_file("random.bin", STEP * 6);
    let mut cluster = Cluster::new(&sandbox, &media, &[], &[]);
    cluster.start();
    let conversations = Conversations::record(&cluster.client, "eth0");
    let mut clients = Clients::start(
        &cluster.client,
        CLIENTS,
        &file,
        [EACH; 2],
        &["--buffer", "65536"],
    );
    for (round, signal) in (0..).zip(["INT", "TERM"]) {
        clients.allow(STEP * 2 * (round + 1));
        cluster.insist(clients.half());
        cluster.wait_until_protected();
        let primary = cluster.primary();
        cluster.signal(primary, signal);
        cluster.wait_for_end(primary);
        cluster.insist(clients.all());
        assert_eq!(cluster.primary(), 1 - primary);
        cluster.start_host(primary);
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
