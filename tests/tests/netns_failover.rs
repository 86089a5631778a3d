//! Connections that outlive their server: two hosts, a witness, unmodified clients, and `kill -9`.

use outlive_tests::netns::{Cluster, Curl, Finished, Media, Sandbox, with_cluster};

/// Slow enough that a kill falls into the transfer, fast enough not to bore.
const RATE: &str = "10M";
const BYTES: u64 = 40_000_000;

#[test]
fn a_download_survives_the_death_of_either_host() {
    with_cluster(BYTES, &[], &[], |cluster, file| {
        let curl = Curl::start(&cluster.client, file, [1, 0], RATE);
        for part in [1, 2] {
            cluster.wait_for("progress", |_| curl.has(BYTES / 4 * part));
            let killed = cluster.kill_primary();
            cluster.start_host(killed);
            cluster.wait_until_protected();
        }
        cluster.insist(curl.finish(file));
    });
}

#[test]
fn an_upload_survives_the_death_of_its_host() {
    with_cluster(BYTES, &[], &[], |cluster, file| {
        let before = [0, 1].map(|host| entries(cluster, host));
        let curl = Curl::start(&cluster.client, file, [0, 1], RATE);
        // Whichever host serves: on a busy machine another one than at the beginning.
        cluster.wait_for("progress", |cluster| {
            (0..2).any(|host| entries(cluster, host) > before[host] + 100)
        });
        cluster.kill_primary();
        cluster.insist(curl.finish(file));
    });
}

#[test]
fn a_handover_is_not_noticed() {
    with_cluster(BYTES, &[], &[], |cluster, file| {
        let curl = Curl::start(&cluster.client, file, [1, 1], RATE);
        cluster.wait_for("progress", |_| curl.has(BYTES / 4));
        let (primary, said) = cluster.hand_over();
        assert!(
            said.contains(&format!("host {} serves", 1 - primary)),
            "{said}"
        );
        cluster.wait_for("service by the other host", |cluster| {
            let status = cluster.outlive(1 - primary, "status --json");
            status.text().contains("\"role\":\"primary\"")
        });
        cluster.insist(curl.finish(file));
    });
}

#[test]
fn without_a_majority_nobody_serves_and_nobody_is_served_wrongly() {
    with_cluster(BYTES, &[], &[], |cluster, file| {
        let curl = Curl::start(&cluster.client, file, [1, 0], RATE);
        cluster.wait_for("progress", |_| curl.has(BYTES / 4));
        let primary = cluster.primary();
        cluster.kill(2);
        cluster.kill(1 - primary);
        cluster.wait_for("silence", |cluster| {
            let report = cluster.report(primary);
            report.is_some_and(|report| report.lease_ms.is_none())
        });
        // The witness comes back, and with it the majority.
        cluster.start_host(2);
        cluster.insist(curl.finish(file));
    });
}

/// Entries that a host has written so far.
fn entries(cluster: &Cluster<'_>, host: usize) -> u64 {
    let replication = cluster.report(host).and_then(|it| it.replication);
    let counters = replication.unwrap_or_default().counters;
    let entries = counters.iter().find(|(name, _)| name == "entries");
    entries.map_or(0, |(_, count)| *count)
}

#[test]
fn the_commands_say_what_is_wrong_in_one_line() {
    let sandbox = Sandbox::new();
    let media = Media::new(&sandbox);
    let cluster = Cluster::new(&sandbox, &media, &[], &[]);
    let refused = |finished: Finished, part: &str| {
        assert!(!finished.status.success(), "{}", finished.line);
        assert_eq!(
            finished.stderr.trim_end().lines().count(),
            1,
            "{}",
            finished.stderr
        );
        assert!(
            finished.stderr.contains(part),
            "\"{part}\" is not in {}",
            finished.stderr
        );
    };
    refused(cluster.outlive(0, "status"), "is it running");
    refused(cluster.outlive(1, "witness"), "is a server");
    refused(cluster.outlive(1, "handover"), "is it running");
}
