//! A primary that stands still (SIGSTOP) while the other host takes over, and wakes: what the wire shows of it, and that
//! every byte of every client is right. `OUTLIVE_TEST_PAUSE_S=60` adds a long pause, in which all transfers go on little by
//! little: the server waits 30 s for an upload that stands still.

use outlive_cluster::report::Role;
use outlive_tests::netns::{
    Capture, Clients, Cluster, Conversations, Network, SERVICE_MAC, number_from, with_cluster,
};

const CLIENTS: &str = env!("CARGO_BIN_EXE_clients");
/// So much of each transfer passes around a pause.
const STEP: u64 = 384 << 10;
const BUFFER: [&str; 2] = ["--buffer", "65536"];
/// Transfers each way.
const EACH: usize = 20;
/// What one batch may hold: the frames that the stack has in its hands when it asks for permission.
const BATCH_FRAMES: usize = 256;
/// A host that was woken, on a machine with other work, has put its batch on the wire by then; and by then its owner has
/// said where the service address is. On a quiet machine both are a matter of few milliseconds, but it may stand still.
const BATCH_S: f64 = 2.0;

/// Times at which `host` sent to clients with the service MAC address, in seconds of Unix time.
struct Sent<'a>(Capture<'a>);

impl<'a> Sent<'a> {
    fn record(cluster: &Cluster<'a>, host: usize) -> Self {
        // What passes the switch's port to one receiver was sent by the host in it: the switch knows where clients are.
        let filter = format!("ether src {SERVICE_MAC} and not ether multicast");
        let port = cluster.port(host, Network::Service);
        Self(Capture::filtered(cluster.switch().clone(), &port, &filter))
    }

    fn times(self) -> Vec<f64> {
        let text = self.0.read(&["frame.time_epoch"]);
        let times = text.lines().filter_map(|line| line.parse().ok());
        times.collect()
    }
}

/// Stops the primary in the middle of all transfers, for so long that the other host takes over, or for less. They go on
/// from `from` by a [`STEP`]. Returns how many frames each host was seen to send.
fn pause(cluster: &Cluster<'_>, clients: &mut Clients, from: u64, seconds: f64) -> [usize; 2] {
    // Some of it passes later in a long pause.
    let kept_back = if seconds > 10.0 { STEP / 2 } else { 0 };
    let recorders = [0, 1].map(|host| Sent::record(cluster, host));
    // The memory that a recorder takes may keep the processors for longer than a primary is waited for.
    cluster.wait_until_protected();
    clients.allow(from + STEP - kept_back);
    cluster.insist(clients.half());
    let zombie = cluster.primary();
    let owner = 1 - zombie;
    let woken_s = cluster.pause(zombie, seconds, |left_s| {
        let still = kept_back as f64 * left_s / seconds;
        clients.allow(from + STEP - still as u64);
        cluster.insist(clients.all());
    });
    clients.allow(from + STEP);
    if seconds >= 1.0 {
        // By now at the latest, or never: then the other one goes on as if nothing had been.
        cluster.wait_until_serves(owner);
    }
    let moved = seconds >= 1.0 || cluster.is(owner, Role::Primary);
    // Service continues, on whichever host.
    cluster.insist(clients.all());
    cluster.wait_until_protected();
    let kept = cluster.is(owner, Role::Primary);
    let [first, second] = recorders.map(Sent::times);
    let seen = [first.len(), second.len()];
    let (stray, owned) = if zombie == 0 {
        (first, second)
    } else {
        (second, first)
    };
    if !moved {
        return seen;
    }
    assert!(kept, "it took the service back");
    let late: Vec<_> = stray.into_iter().filter(|at| *at > woken_s).collect();
    assert!(late.len() <= BATCH_FRAMES, "{} frames", late.len());
    let after = late.iter().map(|at| at - woken_s).fold(0.0, f64::max);
    assert!(after < BATCH_S, "a stray frame {after} s after it woke");
    let back = late.iter().map(|stray| {
        let next = owned.iter().find(|owned| *owned > stray);
        next.map_or(f64::INFINITY, |owned| owned - stray)
    });
    let back = back.fold(0.0, f64::max);
    assert!(
        back < BATCH_S,
        "its owner was heard {back} s after a stray frame"
    );
    println!(
        "{seconds} s: {} frames until {after:.4} s after it woke, the owner heard {back:.4} s after each",
        late.len()
    );
    seen
}

#[test]
fn whatever_a_host_says_that_stood_still_no_stream_changes() {
    let long = number_from("OUTLIVE_TEST_PAUSE_S", 0_u32);
    let mut pauses = vec![0.05, 0.5, 2.0];
    pauses.extend((long > 0).then(|| f64::from(long)));
    let len = STEP * (pauses.len() as u64 + 1);
    with_cluster(len, &[], &[], |cluster, file| {
        let conversations = Conversations::record(&cluster.client, "eth0");
        let mut clients = Clients::start(&cluster.client, CLIENTS, file, [EACH; 2], &BUFFER);
        let mut seen = [0; 2];
        for (from, seconds) in (0..).map(|n| STEP * n).zip(pauses) {
            let sent = pause(cluster, &mut clients, from, seconds);
            seen = [seen[0] + sent[0], seen[1] + sent[1]];
        }
        // Each served for a while: what a recorder does not see was not sent.
        assert!(seen.iter().all(|frames| *frames > 10), "{seen:?}");
        assert_eq!(cluster.insist(clients.finish()), 2 * EACH);
        let seen = Conversations::of(conversations);
        let expected = Conversations::undisturbed(2 * EACH);
        assert_eq!(seen, expected, "\n{}", cluster.complaints());
    });
}
