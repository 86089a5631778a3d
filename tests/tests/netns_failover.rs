//! Connections that outlive their server: two hosts, a witness, unmodified clients, and `kill -9`.

use std::path::Path;
use std::process::Child;

use outlive_tests::netns::{Cluster, Finished, Media, SERVER, Sandbox, require};

/// Slow enough that a kill falls into the transfer, fast enough not to bore.
const RATE: &str = "10M";
const BYTES: u64 = 40_000_000;

/// A curl that runs beside the test.
struct Transfer {
    child: Child,
    line: String,
}

impl Transfer {
    /// GET of `name` into `file`.
    fn download(cluster: &Cluster<'_>, name: &str, file: &Path) -> Self {
        let mut command = cluster.client.command(120, "curl");
        command.args(["-sS", "--fail", "--limit-rate", RATE, "-o"]);
        command.arg(file).arg(format!("http://{SERVER}/{name}"));
        Self::start(command)
    }

    /// PUT of `file`; what the server says of it goes to `answer`.
    fn upload(cluster: &Cluster<'_>, file: &Path, answer: &Path) -> Self {
        let mut command = cluster.client.command(120, "curl");
        command.args(["-sS", "--fail", "--limit-rate", RATE, "-o"]);
        command.arg(answer).arg("-T").arg(file);
        command.arg(format!("http://{SERVER}/sink/upload.bin"));
        Self::start(command)
    }

    fn start(mut command: std::process::Command) -> Self {
        let line = format!("{command:?}");
        let child = command.spawn().expect("curl can be started");
        Self { child, line }
    }

    fn finish(mut self, cluster: &Cluster<'_>) {
        let status = self.child.wait().expect("it is our child");
        assert!(
            status.success(),
            "{} ended with {status}\n{}",
            self.line,
            cluster.complaints()
        );
    }
}

fn sum(cluster: &Cluster<'_>, file: &Path) -> String {
    cluster
        .client
        .shell(&format!("sha256sum < {}", file.display()))
}

/// Waits until a file has so many bytes.
fn grown(cluster: &Cluster<'_>, file: &Path, bytes: u64) {
    cluster.wait_for("progress of the download", |_| {
        file.metadata()
            .is_ok_and(|metadata| metadata.len() >= bytes)
    });
}

#[test]
fn a_download_survives_the_death_of_either_host() {
    require(&["curl", "sha256sum", "jq"]);
    let sandbox = Sandbox::new();
    let media = Media::new(&sandbox);
    let file = media.random_file("random.bin", BYTES);
    let mut cluster = Cluster::new(&sandbox, &media, &[], &[]);
    cluster.start();
    cluster.wait_for("comparison of what is served", |cluster| {
        let compared = "compared with the other host files=1 differing=0";
        cluster.complaints().matches(compared).count() == 2
    });
    let received = sandbox.folder().join("received.bin");
    let download = Transfer::download(&cluster, "random.bin", &received);
    for part in [1, 2] {
        grown(&cluster, &received, BYTES / 4 * part);
        let primary = cluster.primary();
        cluster.kill(primary);
        cluster.wait_for("takeover", |cluster| {
            cluster.status(1 - primary, ".role").as_deref() == Some("primary")
        });
        cluster.start_host(primary);
        cluster.wait_until_protected();
    }
    download.finish(&cluster);
    assert_eq!(sum(&cluster, &received), sum(&cluster, &file));
}

#[test]
fn an_upload_survives_the_death_of_its_host() {
    require(&["curl", "sha256sum", "jq"]);
    let sandbox = Sandbox::new();
    let media = Media::new(&sandbox);
    let file = media.random_file("random.bin", BYTES);
    let mut cluster = Cluster::new(&sandbox, &media, &[], &[]);
    cluster.start();
    let answer = sandbox.folder().join("answer");
    let primary = cluster.primary();
    let before = entries(&cluster, primary);
    let upload = Transfer::upload(&cluster, &file, &answer);
    cluster.wait_for("progress of the upload", |cluster| {
        entries(cluster, primary) > before + 100
    });
    cluster.kill(primary);
    upload.finish(&cluster);
    let answer = std::fs::read_to_string(&answer).expect("an answer");
    let sum = sum(&cluster, &file);
    let hex = sum.split(' ').next().expect("a sum");
    assert!(
        answer.contains(hex),
        "{answer} does not contain {hex}\n{}",
        cluster.complaints()
    );
}

#[test]
fn a_handover_is_not_noticed() {
    require(&["curl", "sha256sum", "jq"]);
    let sandbox = Sandbox::new();
    let media = Media::new(&sandbox);
    let file = media.random_file("random.bin", BYTES);
    let mut cluster = Cluster::new(&sandbox, &media, &[], &[]);
    cluster.start();
    let received = sandbox.folder().join("received.bin");
    let download = Transfer::download(&cluster, "random.bin", &received);
    grown(&cluster, &received, BYTES / 4);
    let primary = cluster.primary();
    let said = cluster.outlive(primary, "handover").success().text();
    assert!(
        said.contains(&format!("host {} serves", 1 - primary)),
        "{said}"
    );
    assert_eq!(cluster.primary(), 1 - primary);
    download.finish(&cluster);
    assert_eq!(sum(&cluster, &received), sum(&cluster, &file));
}

#[test]
fn without_a_majority_nobody_serves_and_nobody_is_served_wrongly() {
    require(&["curl", "sha256sum", "jq"]);
    let sandbox = Sandbox::new();
    let media = Media::new(&sandbox);
    let file = media.random_file("random.bin", BYTES);
    let mut cluster = Cluster::new(&sandbox, &media, &[], &[]);
    cluster.start();
    let received = sandbox.folder().join("received.bin");
    let download = Transfer::download(&cluster, "random.bin", &received);
    grown(&cluster, &received, BYTES / 4);
    let primary = cluster.primary();
    cluster.kill(2);
    cluster.kill(1 - primary);
    cluster.wait_for("silence", |cluster| {
        cluster.status(primary, ".lease_ms").as_deref() == Some("null")
    });
    // The witness comes back, and with it the majority.
    cluster.start_host(2);
    download.finish(&cluster);
    assert_eq!(sum(&cluster, &received), sum(&cluster, &file));
}

/// Entries that a host has written so far.
fn entries(cluster: &Cluster<'_>, host: usize) -> u64 {
    let expression = r#"[.replication.counters[] | select(.[0] == "entries") | .[1]] | add // 0"#;
    let count = cluster.status(host, expression);
    count.and_then(|count| count.parse().ok()).unwrap_or(0)
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
