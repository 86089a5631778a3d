//! Kills in every part of a connection's life but the middle: while it opens, with a closed window, half-closed, and while
//! it ends; with frames lost so that the server stands in the state that is meant.

use outlive_tests::netns::{Clients, Cluster, Conversations, with_cluster};

const CLIENTS: &str = env!("CARGO_BIN_EXE_clients");
const BYTES: u64 = 300_000;
/// Transfers each way.
const EACH: usize = 10;
const FIN: &str = "tcp flags & fin == fin";

/// Every connection once, and no reset, when none is left at the client.
fn all_was_well(cluster: &Cluster<'_>, capture: outlive_tests::netns::Capture<'_>) {
    cluster.wait_for("end of all connections", |cluster| {
        let open = "ss -Htan | grep -vc TIME-WAIT || true";
        cluster.client.shell(open) == "0"
    });
    let seen = Conversations::of(capture);
    let expected = Conversations::undisturbed(2 * EACH);
    assert_eq!(seen, expected, "\n{}", cluster.complaints());
}

/// Some transfers of which frames like `lost` are lost (the client's or the server's) until the server was killed.
fn killed_while_lost(options: &[&str], of_client: bool, lost: &str) {
    with_cluster(BYTES, &[], &[], |cluster, file| {
        let capture = Conversations::record(&cluster.client, "eth0");
        cluster.lose(of_client, lost);
        let mut clients = Clients::start(&cluster.client, CLIENTS, file, [EACH; 2], options);
        // A FIN may carry the last bytes.
        clients.allow(BYTES);
        cluster.insist(clients.half());
        cluster.wait_for("every connection's end", |cluster| {
            cluster.frames_lost() >= 2 * EACH
        });
        cluster.kill_primary();
        cluster.mend();
        assert_eq!(cluster.insist(clients.finish()), 2 * EACH);
        all_was_well(cluster, capture);
    });
}

#[test]
fn killed_before_a_handshake() {
    with_cluster(BYTES, &[], &[], |cluster, file| {
        let capture = Conversations::record(&cluster.client, "eth0");
        let primary = cluster.primary();
        cluster.kill(primary);
        let clients = Clients::start(&cluster.client, CLIENTS, file, [EACH; 2], &[]);
        assert_eq!(cluster.insist(clients.finish()), 2 * EACH);
        all_was_well(cluster, capture);
    });
}

/// SYN-RECEIVED: the client believes in the connection, the server has not heard so.
#[test]
fn killed_in_the_middle_of_a_handshake() {
    with_cluster(BYTES, &[], &[], |cluster, file| {
        let capture = Conversations::record(&cluster.client, "eth0");
        cluster.lose(true, "tcp flags & (syn | ack) == ack");
        let mut clients = Clients::start(&cluster.client, CLIENTS, file, [EACH; 2], &[]);
        cluster.wait_for("half of all handshakes", |cluster| {
            let established = "ss -Htan state established | wc -l";
            cluster.client.shell(established) == (2 * EACH).to_string()
        });
        cluster.kill_primary();
        cluster.mend();
        clients.allow(BYTES);
        cluster.insist(clients.all());
        assert_eq!(cluster.insist(clients.finish()), 2 * EACH);
        all_was_well(cluster, capture);
    });
}

/// Nothing is read, and nothing more to be written, until the server was killed and came back.
#[test]
fn killed_with_closed_windows() {
    with_cluster(BYTES * 2, &[], &[], |cluster, file| {
        let capture = Conversations::record(&cluster.client, "eth0");
        let options = ["--buffer", "16384"];
        let mut clients = Clients::start(&cluster.client, CLIENTS, file, [EACH; 2], &options);
        clients.allow(BYTES);
        cluster.insist(clients.all());
        let killed = cluster.kill_primary();
        cluster.start_host(killed);
        cluster.kill_primary();
        assert_eq!(cluster.insist(clients.finish()), 2 * EACH);
        all_was_well(cluster, capture);
    });
}

/// CLOSE-WAIT: clients have said everything and ended their direction, and the answer is on its way.
#[test]
fn killed_while_the_client_has_ended_its_direction() {
    with_cluster(BYTES * 2, &[], &[], |cluster, file| {
        let capture = Conversations::record(&cluster.client, "eth0");
        let options = ["--buffer", "65536", "--half-close"];
        let mut clients = Clients::start(&cluster.client, CLIENTS, file, [EACH; 2], &options);
        clients.allow(BYTES);
        cluster.insist(clients.all());
        cluster.kill_primary();
        assert_eq!(cluster.insist(clients.finish()), 2 * EACH);
        all_was_well(cluster, capture);
    });
}

/// FIN-WAIT-1: the server has ended the connection, and the client has not heard of it.
#[test]
fn killed_while_its_fin_is_lost() {
    killed_while_lost(&[], false, FIN);
}

/// LAST-ACK: the same, after the client.
#[test]
fn killed_while_its_fin_after_the_clients_is_lost() {
    killed_while_lost(&["--half-close"], false, FIN);
}

/// FIN-WAIT-2: the client's FIN does not come.
#[test]
fn killed_while_the_clients_fin_is_lost() {
    with_cluster(BYTES, &[], &[], |cluster, file| {
        let capture = Conversations::record(&cluster.client, "eth0");
        cluster.lose(true, FIN);
        let clients = Clients::start(&cluster.client, CLIENTS, file, [EACH; 2], &[]);
        assert_eq!(cluster.insist(clients.finish()), 2 * EACH);
        cluster.kill_primary();
        cluster.mend();
        all_was_well(cluster, capture);
    });
}
