//! Clients of every kind at once through two deaths of their server: what Linux can do without, small and huge buffers,
//! each congestion control that the kernel has; and the same with lost frames.

use std::path::Path;

use outlive_tests::netns::{Clients, Cluster, Conversations, SERVER, require, with_cluster};

const CLIENTS: &str = env!("CARGO_BIN_EXE_clients");
/// So much of each transfer passes between two kills.
const STEP: u64 = 192 << 10;
/// What passes while the next kind is not yet there.
const BEGINNING: u64 = 4 << 10;
/// Transfers of each kind, each way.
const EACH: usize = 2;

/// What a kind of client has instead of the usual.
#[derive(Clone, Copy)]
enum Kind {
    /// Settings for sysctl(8).
    Set(&'static [&'static str]),
    /// A congestion control.
    Congestion(&'static str),
    /// Bytes of its buffers.
    Buffers(&'static str),
}

const KINDS: [(&str, Kind); 11] = [
    ("usual", Kind::Set(&[])),
    ("no timestamps", Kind::Set(&["tcp_timestamps=0"])),
    ("no SACK", Kind::Set(&["tcp_sack=0"])),
    ("no window scaling", Kind::Set(&["tcp_window_scaling=0"])),
    (
        "none of the three",
        Kind::Set(&["tcp_timestamps=0", "tcp_sack=0", "tcp_window_scaling=0"]),
    ),
    ("ECN", Kind::Set(&["tcp_ecn=1"])),
    ("reno", Kind::Congestion("reno")),
    ("bbr", Kind::Congestion("bbr")),
    ("tiny buffers", Kind::Buffers("2048")),
    ("small buffers", Kind::Buffers("16384")),
    ("huge buffers", Kind::Buffers("16777216")),
];

/// What every kind begins with, so that it differs in one thing.
const USUAL: [&str; 4] = [
    "tcp_timestamps=1",
    "tcp_sack=1",
    "tcp_window_scaling=1",
    "tcp_ecn=0",
];

/// Starts the clients of one kind; they are connected on return.
fn start(cluster: &Cluster<'_>, file: &Path, kind: Kind) -> Clients {
    let (mut settings, mut congestion, mut options) = (USUAL.to_vec(), "cubic", Vec::new());
    match kind {
        Kind::Set(further) => settings.extend(further),
        Kind::Congestion(other) => congestion = other,
        Kind::Buffers(bytes) => options.extend(["--buffer", bytes]),
    }
    let words: Vec<_> = settings.iter().map(|it| format!("net.ipv4.{it}")).collect();
    cluster.client.shell(&format!(
        "sysctl -qw {}
         ip route replace {SERVER}/32 dev eth0 congctl {congestion}",
        words.join(" ")
    ));
    let mut clients = Clients::start(&cluster.client, CLIENTS, file, [EACH; 2], &options);
    clients.allow(BEGINNING);
    cluster.insist(clients.all());
    clients
}

/// Whether the kernel here has what a kind needs: only congestion control is a matter of its configuration.
fn is_possible(there: &str, kind: Kind) -> bool {
    match kind {
        Kind::Congestion(name) => there.split_whitespace().any(|it| it == name),
        Kind::Set(_) | Kind::Buffers(_) => true,
    }
}

fn all_kinds_survive(percent_lost: u32) {
    require(&["sysctl"]);
    with_cluster(STEP * 4, &[], &[], |cluster, file| {
        let conversations = Conversations::record(&cluster.client, "eth0");
        let there = "sysctl -n net.ipv4.tcp_available_congestion_control";
        let there = cluster.client.shell(there);
        let kinds = KINDS.iter().filter(|(_, kind)| is_possible(&there, *kind));
        let mut clients: Vec<(_, Clients)> = kinds
            .map(|(name, kind)| (name, start(cluster, file, *kind)))
            .collect();
        if percent_lost > 0 {
            cluster.lose_percent(percent_lost);
        }
        for kill in 1..=2 {
            for (_, clients) in &mut clients {
                clients.allow(STEP * kill);
                cluster.insist(clients.half());
            }
            let killed = cluster.kill_primary();
            cluster.start_host(killed);
            for (name, clients) in &mut clients {
                cluster.insist(clients.all().map_err(|why| format!("{name}: {why}")));
            }
        }
        let tuples = 2 * EACH * clients.len();
        for (name, clients) in clients {
            let whole = clients.finish();
            let whole = whole.map_err(|why| format!("{name}: {why}"));
            assert_eq!(cluster.insist(whole), 2 * EACH, "{name}");
        }
        let seen = Conversations::of(conversations);
        let expected = Conversations::undisturbed(tuples);
        assert_eq!(seen, expected, "\n{}", cluster.complaints());
    });
}

#[test]
fn clients_of_every_kind_survive() {
    all_kinds_survive(0);
}

#[test]
fn clients_of_every_kind_that_lose_one_frame_of_a_hundred_survive() {
    all_kinds_survive(1);
}
