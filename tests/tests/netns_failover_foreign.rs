//! A client whose stack is not the kernel's: the smoltcp crate on a TAP interface, through two deaths of its server.

use outlive_tests::netns::{Clients, with_cluster};

const CLIENTS: &str = env!("CARGO_BIN_EXE_clients");
/// So much of each transfer passes between two kills.
const STEP: u64 = 192 << 10;
/// Transfers each way.
const EACH: usize = 4;

#[test]
fn clients_with_a_stack_that_is_not_the_kernels_survive() {
    with_cluster(STEP * 4, &[], &[], |cluster, file| {
        cluster.switch().shell(
            "ip tuntap add foreign0 mode tap
             ip link set foreign0 master service up",
        );
        let options = ["--tap", "foreign0", "--address", "10.77.0.20"];
        let mut clients = Clients::start(cluster.switch(), CLIENTS, file, [EACH; 2], &options);
        for kill in 1..=2 {
            clients.allow(STEP * kill);
            cluster.insist(clients.half());
            let killed = cluster.kill_primary();
            cluster.start_host(killed);
            cluster.insist(clients.all());
            cluster.wait_until_protected();
        }
        assert_eq!(cluster.insist(clients.finish()), 2 * EACH);
    });
}
