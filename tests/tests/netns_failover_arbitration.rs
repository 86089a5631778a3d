//! Pairs without a witness: with a command that switches the other host off, and with nobody (which is unsafe); and a host
//! with another key.

use outlive_cluster::report::Role;
use outlive_tests::netns::{Clients, Cluster, Conversations, Cut, Media, Network, Sandbox};

const CLIENTS: &str = env!("CARGO_BIN_EXE_clients");
const STEP: u64 = 192 << 10;
const EACH: usize = 5;

/// The witness' entry in the example.
const WITNESS: &str = "[[hosts]]
id = 2
paths = [\"10.88.0.3:7700\", \"10.77.0.13:7700\"]
";
const EXAMPLE_COMMAND: &str =
    "# fence_command = [\"ipmitool\", \"-H\", \"10.99.0.2\", \"chassis\", \"power\", \"off\"]";
const EXAMPLE_PROBE: &str = "# service_probe = [\"10.77.0.254:53\"]";

/// Two hosts that nobody stands between: each takes the other for dead, and has it killed, when the machine is busy for
/// longer than this.
const MORE_PATIENT: [(&str, &str); 2] = [
    ("multiplier = 6\n", "multiplier = 50\n"),
    ("duration_ms = 240\n", "duration_ms = 2000\n"),
];

/// Runs `test` with two hosts and no witness, configured by `changes`.
fn with_pair(changes: &[(&str, &str)], test: impl FnOnce(&mut Cluster<'_>, &std::path::Path)) {
    let sandbox = Sandbox::new();
    let media = Media::new(&sandbox);
    let file = media.random_file("random.bin", STEP * 4);
    let changes = [&MORE_PATIENT, changes].concat();
    let mut cluster = Cluster::new(&sandbox, &media, &changes, &[]);
    cluster.start_pair();
    test(&mut cluster, &file);
}

/// With a command that kills the other host's processes, and says so in a file.
fn with_fence(test: impl FnOnce(&mut Cluster<'_>, &std::path::Path, &std::path::Path)) {
    let tools = tempfile::tempdir().expect("a folder");
    let (script, said) = (tools.path().join("fence"), tools.path().join("said"));
    // The configurations and the files with process numbers lie in one folder; the state folder, where a host
    // runs, is in it as well.
    let text = format!(
        "echo $OUTLIVE_FENCE_HOST >> {said}
         for file in \"$1\"/host$OUTLIVE_FENCE_HOST-*.pid; do kill -KILL $(cat $file) 2>/dev/null; done
         true\n",
        said = said.display()
    );
    std::fs::write(&script, text).expect("a file can be made");
    let command = format!(
        "fence_command = [\"bash\", \"{}\", \"FOLDER\"]",
        script.display()
    );
    let changes = [
        (WITNESS, ""),
        ("method = \"witness\"", "method = \"fence\""),
        (EXAMPLE_COMMAND, &command),
    ];
    with_pair(&changes, |cluster, file| test(cluster, file, &said));
}

/// Whom the command was run for.
fn fenced(said: &std::path::Path) -> String {
    std::fs::read_to_string(said).unwrap_or_default()
}

#[test]
fn a_backup_fences_a_primary_that_stands_still_before_it_serves() {
    with_fence(|cluster, file, said| {
        let conversations = Conversations::record(&cluster.client, "eth0");
        let mut clients = Clients::start(&cluster.client, CLIENTS, file, [EACH; 2], &[]);
        clients.allow(STEP);
        cluster.insist(clients.half());
        let primary = cluster.primary();
        cluster.signal(primary, "STOP");
        cluster.wait_until_serves(1 - primary);
        assert!(
            fenced(said).contains(&primary.to_string()),
            "{}",
            fenced(said)
        );
        // It will never wake: it was killed.
        cluster.wait_for_end(primary);
        clients.allow(STEP * 2);
        cluster.insist(clients.all());
        cluster.start_host(primary);
        cluster.wait_until_protected();
        assert_eq!(cluster.insist(clients.finish()), 2 * EACH);
        assert_eq!(Conversations::of(conversations).resets, 0);
    });
}

#[test]
fn a_primary_fences_a_backup_that_is_cut_off_before_it_goes_on_alone() {
    with_fence(|cluster, file, said| {
        let mut clients = Clients::start(&cluster.client, CLIENTS, file, [EACH; 2], &[]);
        clients.allow(STEP);
        cluster.insist(clients.half());
        let primary = cluster.primary();
        cluster.cut(1 - primary, Network::Replication, Cut::Both);
        cluster.cut(1 - primary, Network::Service, Cut::Both);
        cluster.wait_for_end(1 - primary);
        clients.allow(STEP * 2);
        cluster.insist(clients.all());
        cluster.wait_until_serves(primary);
        assert_eq!(fenced(said).trim(), (1 - primary).to_string());
        cluster.mend();
        cluster.start_host(1 - primary);
        cluster.wait_until_protected();
        assert_eq!(cluster.insist(clients.finish()), 2 * EACH);
    });
}

#[test]
fn a_pair_with_nobody_to_ask_serves_on_and_says_what_it_is() {
    let changes = [
        (WITNESS, ""),
        ("method = \"witness\"", "method = \"unsafe pair\""),
        ("unsafe_pair = false", "unsafe_pair = true"),
        // The client's kernel refuses, which is an answer.
        (EXAMPLE_PROBE, "service_probe = [\"10.77.0.1:9\"]"),
    ];
    with_pair(&changes, |cluster, file| {
        for host in 0..2 {
            let status = cluster.outlive(host, "status").success().text();
            assert!(
                status.contains("WARNING") && status.contains("no guarantee"),
                "{status}"
            );
        }
        assert!(
            cluster.complaints().contains("unsafe pair"),
            "the log says so too"
        );
        let mut clients = Clients::start(&cluster.client, CLIENTS, file, [EACH; 2], &[]);
        clients.allow(STEP);
        cluster.insist(clients.half());
        let killed = cluster.kill_primary();
        clients.allow(STEP * 2);
        cluster.insist(clients.all());
        cluster.start_host(killed);
        cluster.wait_until_protected();
        assert_eq!(cluster.insist(clients.finish()), 2 * EACH);
    });
}

#[test]
fn a_host_with_another_key_is_refused_and_the_service_is_unharmed() {
    let sandbox = Sandbox::new();
    let media = Media::new(&sandbox);
    let file = media.random_file("random.bin", STEP * 4);
    let mut cluster = Cluster::new(&sandbox, &media, &[], &[]);
    cluster.start();
    let mut clients = Clients::start(&cluster.client, CLIENTS, &file, [EACH; 2], &[]);
    clients.allow(STEP);
    cluster.insist(clients.half());
    let backup = 1 - cluster.primary();
    cluster.kill(backup);
    cluster.take_another_key(backup);
    cluster.start_host(backup);
    let refused = |cluster: &Cluster<'_>, host: usize| {
        let report = cluster.report(host)?;
        let counter = report
            .links
            .iter()
            .find(|(name, _)| name == "link refused key");
        counter.map(|(_, count)| *count)
    };
    cluster.wait_for("refusal", |cluster| {
        (0..2).any(|host| refused(cluster, host) > Some(2))
    });
    clients.allow(STEP * 2);
    cluster.insist(clients.all());
    // It has lost its backup, and may have to ask the witness again when the machine is busy.
    cluster.wait_until_serves(1 - backup);
    assert!(
        cluster.is(backup, Role::Joining),
        "{}",
        cluster.complaints()
    );
    // Once on each host that refused anything, however often it did.
    for host in 0..2 {
        let said = cluster.complaints_of(host);
        let lines = said.lines().filter(|line| line.contains("wrong key"));
        let expected = usize::from(refused(&cluster, host).is_some());
        assert_eq!(lines.count(), expected, "{said}");
    }
    assert_eq!(cluster.insist(clients.finish()), 2 * EACH);
}
