//! What nmap, hping3 and scapy find: every probe is answered as the RFCs have it, nothing falls over, and transfers
//! beside it arrive whole.

use std::process::{Child, Command, Stdio};

use outlive_tests::netns::{
    CLIENT, Device, Family, Finished, Link, Media, SERVER, Sandbox, Server, counted, require,
};

/// Bytes of each transfer beside the probes.
const BYTES: u64 = 8_000_000;
/// The addresses that scapy sends from: errors are limited per host that they go to.
const SCAPY: &str = "10.77.0.3";
/// Where each hping3 has an address of its own, as it takes what is for another for its own.
const HPING: &str = "10.77.0";
const SCAPY6: &str = "fd77::3";
/// Longer than any prober takes on a busy machine.
const PATIENCE_S: u32 = 240;
/// The transfers beside it end with the last one.
const TRANSFERS_S: u32 = 540;
/// What the server may hold more after all of it, in kB.
const MOST_GROWTH_KB: u64 = 32_000;

/// A server on a virtual cable, transfers that go on without end, and what to run against it.
struct Scene<'a> {
    link: &'a Link<'a>,
    server: Server<'a>,
    transfers: Child,
}

impl<'a> Scene<'a> {
    fn new(link: &'a Link<'a>, media: &Media, family: Family) -> Self {
        require(&["curl", "nft", "sha256sum", "nmap", "hping3", "scapy"]);
        let file = media.random_file("random.bin", BYTES);
        let _ = media.random_file("small.bin", 100);
        // The kernel resets connections that it knows nothing of; those of scapy it shall leave alone.
        let _ = link.client.shell(&format!(
            "nft add table inet probes
             nft 'add chain inet probes out {{ type filter hook output priority 0; }}'
             nft 'add rule inet probes out tcp sport 20000-20999 tcp flags rst drop'
             ip addr add {SCAPY}/24 dev veth0
             for host in $(seq 10 29); do ip addr add {HPING}.$host/24 dev veth0; done
             ip -6 addr add {SCAPY6}/64 dev veth0 nodad"
        ));
        let server = link.serve_video(media, &[]);
        let url = family.url();
        // Slow enough that there is always something on its way, both ways.
        let line = format!(
            "sum=$(sha256sum < {file} | cut -d' ' -f1)
             until [ -e {folder}/stop ]; do
               curl -sS --fail --max-time 60 --limit-rate 8M {url}/random.bin | sha256sum | grep -q $sum || echo bad GET
               curl -sS --fail --max-time 60 --limit-rate 8M -T {file} {url}/sink/x | grep -q $sum || echo bad PUT
               echo round
             done",
            file = file.display(),
            folder = link.client.folder().display(),
        );
        let mut command = link.client.command(TRANSFERS_S, "bash");
        command
            .args(["-c", &line])
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let transfers = command.spawn().expect("bash can be started");
        Self {
            link,
            server,
            transfers,
        }
    }

    fn nmap(&self, arguments: &[&str]) -> Command {
        let mut nmap = self.link.client.command(PATIENCE_S, "nmap");
        // An answer may be late on a busy machine; without a word of ours nmap gives up after a tenth of a second.
        nmap.args(["-n", "-Pn", "-T4", "--disable-arp-ping", "-oG", "-"])
            .args(["--min-rtt-timeout", "700ms", "--max-rtt-timeout", "2s"])
            .args(arguments);
        nmap
    }

    /// Python's scapy, as Debian installs it.
    fn scapy(&self, program: &str, arguments: &[&str]) -> Command {
        let mut python = self.link.client.command(PATIENCE_S, "/usr/bin/python3");
        let path = format!("{}/tests/probers/{program}", env!("CARGO_MANIFEST_DIR"));
        python
            .env("HOME", self.link.client.folder())
            .args(["-B", &path])
            .args(arguments);
        python
    }

    /// Every transfer was whole, and the server ends as it should; what it counted.
    fn finish(self, before_kb: u64) -> String {
        let _ = self.link.client.shell(&format!(
            "touch {}/stop",
            self.link.client.folder().display()
        ));
        let output = self.transfers.wait_with_output().expect("it is our child");
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        let complaints = String::from_utf8_lossy(&output.stderr).into_owned();
        let grown_kb = self.server.resident_kb().saturating_sub(before_kb);
        let counted = self.server.stop();
        assert!(
            said.lines().all(|line| line == "round") && said.contains("round"),
            "transfers beside the probes: {said}\n{complaints}\n{counted}"
        );
        assert!(grown_kb < MOST_GROWTH_KB, "{grown_kb} kB more than before");
        counted
    }
}

/// Runs them at once and insists on the end of each: what they printed.
fn run<const N: usize>(commands: [Command; N]) -> [String; N] {
    std::thread::scope(|scope| {
        let running = commands.map(|command| scope.spawn(|| Finished::of(command)));
        running.map(|thread| {
            let finished = thread.join().expect("it can be started");
            finished.success().text()
        })
    })
}

/// What nmap's line says of the ports, in its words.
fn assert_ports(said: &str, expected: &[&str]) {
    let ports = said.lines().find_map(|line| line.split("Ports: ").nth(1));
    let ports = ports.or_else(|| {
        said.lines()
            .find_map(|line| line.split("Protocols: ").nth(1))
    });
    let ports: Vec<_> = ports
        .unwrap_or_default()
        .split(['\t', ','])
        .map(str::trim)
        .collect();
    for expected in expected {
        assert!(
            ports.iter().any(|port| port.starts_with(expected)),
            "{expected} is not in {said}"
        );
    }
}

/// Each of the first ten that hping3 sent has its answer, which it shows with these words and a number.
fn assert_answered(said: &str, words: &str) {
    for number in 0..10 {
        assert!(
            said.contains(&format!("{words}{number} ")),
            "{number}: {said}"
        );
    }
}

#[test]
fn nmap_finds_what_is_there() {
    let sandbox = Sandbox::new();
    let link = Link::new(&sandbox, Device::Veth);
    let media = Media::new(&sandbox);
    let scene = Scene::new(&link, &media, Family::V4);
    let before_kb = scene.server.resident_kb();
    let scan = |kind: &str| scene.nmap(&[kind, "-p", "80,81", SERVER]);
    let [connect, syn, ack, null, fin, xmas, maimon, window] =
        run(["-sT", "-sS", "-sA", "-sN", "-sF", "-sX", "-sM", "-sW"].map(scan));
    assert_ports(&connect, &["80/open/", "81/closed/"]);
    assert_ports(&syn, &["80/open/", "81/closed/"]);
    assert_ports(&ack, &["80/unfiltered/", "81/unfiltered/"]);
    for stealthy in [null, fin, xmas] {
        // RFC 9293 §3.10.7: a RST where nobody listens, nothing where somebody does.
        assert_ports(&stealthy, &["80/open|filtered/", "81/closed/"]);
    }
    // An ACK gets its RST from either, with a window of nothing.
    assert_ports(&maimon, &["80/closed/", "81/closed/"]);
    assert_ports(&window, &["80/closed/", "81/closed/"]);
    let [udp, protocols, pieces, wrong, version, system, alive] = run([
        scene.nmap(&["-sU", "-p", "53,9999", SERVER]),
        scene.nmap(&["-sO", "-p", "1,6,17,132,200", SERVER]),
        scene.nmap(&["-sS", "-f", "-p", "80,81", SERVER]),
        scene.nmap(&[
            "-sS",
            "--badsum",
            "--max-retries",
            "1",
            "-p",
            "80,81",
            SERVER,
        ]),
        scene.nmap(&["-sV", "--version-intensity", "0", "-p", "80,81", SERVER]),
        scene.nmap(&["-O", "--max-os-tries", "2", "-p", "80,81", SERVER]),
        scene.nmap(&["-sT", "-p", "1-2000", SERVER]),
    ]);
    assert_ports(&udp, &["53/closed/", "9999/closed/"]);
    assert_ports(
        &protocols,
        &[
            "1/open/",
            "6/open/",
            "17/open/",
            "132/closed/",
            "200/closed/",
        ],
    );
    assert_ports(&pieces, &["80/open/", "81/closed/"]);
    assert_ports(&wrong, &["80/filtered/", "81/filtered/"]);
    assert_ports(&version, &["80/open/tcp//http", "81/closed/"]);
    assert_ports(&system, &["80/open/", "81/closed/"]);
    assert!(alive.contains("Ignored State: closed (1999)"), "{alive}");
    let summary = scene.finish(before_kb);
    assert!(counted(&summary, "tcp_drop_checksum") >= 2, "{summary}");
    assert!(
        counted(&summary, "tcp_drop_no_connection") >= 1999,
        "{summary}"
    );
    assert!(counted(&summary, "ip_drop_protocol") >= 2, "{summary}");
}

#[test]
fn hping3_gets_right_answers() {
    let sandbox = Sandbox::new();
    let link = Link::new(&sandbox, Device::Veth);
    let media = Media::new(&sandbox);
    let scene = Scene::new(&link, &media, Family::V4);
    let before_kb = scene.server.resident_kb();
    // It fails when nothing comes back, which is often right.
    let mut host = 9;
    let mut hping = |arguments: &str| {
        host += 1;
        let line =
            format!("hping3 -n -c 5 -i u2000 -a {HPING}.{host} {arguments} {SERVER} 2>&1 || true");
        let mut command = scene.link.client.command(PATIENCE_S, "bash");
        command.args(["-c", &line]);
        command
    };
    // It ends a second after it has sent the last one, whatever is still to come: a busy machine has until then.
    let until_answered = "-c 15 -i u200000";
    let [open, closed, nothing, xmas, ack, echo] = run([
        "-S -p 80",
        "-S -p 81",
        "-p 81",
        "-F -S -P -A -U -X -Y -p 81",
        "-A -p 80",
        "--icmp -d 3000",
    ]
    .map(|probe| hping(&format!("{until_answered} {probe}"))));
    assert_answered(&open, " flags=SA seq=");
    assert_answered(&closed, " flags=RA seq=");
    assert_answered(&nothing, " flags=RA seq=");
    assert_answered(&xmas, " flags=R seq=");
    assert_answered(&ack, " flags=R seq=");
    assert_answered(&echo, " icmp_seq=");
    let silent = run([
        hping("-F -P -U -p 80"),
        hping("-S -b -p 80"),
        hping("-S -O 1 -p 80"),
        hping("-S -O 15 -p 80"),
        hping("-S -R -p 80"),
        hping("--udp -b -p 9999"),
        hping("--icmp -C 17"),
        hping("-S -x -g 65528 -d 100 -p 80"),
    ]);
    for said in silent {
        assert!(said.contains(" 0 packets received"), "{said}");
    }
    // Ten thousand SYNs from anywhere, and pieces of datagrams that are never whole.
    let _ = run([
        hping("-S -p 80 --rand-source -c 10000 -i u50"),
        hping("--udp -x -d 1000 --rand-source -c 10000 -i u50"),
        hping("-A -p 80 --rand-source -c 10000 -i u50"),
    ]);
    let summary = scene.finish(before_kb);
    for (name, least) in [
        ("tcp_drop_checksum", 5),
        ("tcp_drop_malformed", 10),
        ("tcp_drop_no_connection", 1000),
        ("udp_drop_checksum", 5),
    ] {
        assert!(counted(&summary, name) >= least, "{name}: {summary}");
    }
}

#[test]
fn scapy_is_answered_as_the_rfcs_have_it() {
    let sandbox = Sandbox::new();
    let link = Link::new(&sandbox, Device::Veth);
    let media = Media::new(&sandbox);
    let scene = Scene::new(&link, &media, Family::V4);
    let before_kb = scene.server.resident_kb();
    let [said] = run([scene.scapy("probe4.py", &["veth0", SCAPY, SERVER, CLIENT])]);
    assert!(said.ends_with("probes, 0 answered wrongly"), "{said}");
    let summary = scene.finish(before_kb);
    // What was dropped has been counted, each under its own name.
    for (name, least) in [
        ("ip_drop_malformed", 5),
        ("ip_drop_checksum", 1),
        ("ip_drop_source", 5),
        ("ip_drop_fragment", 5),
        ("ip_drop_protocol", 1),
        ("icmp_drop_malformed", 1),
        ("udp_drop_malformed", 2),
        ("udp_drop_checksum", 1),
        ("tcp_drop_malformed", 2),
        ("tcp_drop_checksum", 3),
        ("tcp_drop_paws", 1),
        ("tcp_drop_window", 200),
        ("tcp_drop_state", 5),
        ("tcp_challenge_acks", 10),
    ] {
        assert!(counted(&summary, name) >= least, "{name}: {summary}");
    }
}

#[test]
fn probes_over_ipv6_are_answered_as_the_rfcs_have_it() {
    let sandbox = Sandbox::new();
    let link = Link::of(&sandbox, Device::Veth, Family::V6);
    let media = Media::new(&sandbox);
    let scene = Scene::new(&link, &media, Family::V6);
    let before_kb = scene.server.resident_kb();
    let [said] = run([scene.scapy("probe6.py", &["veth0", SCAPY6, Family::V6.server()])]);
    assert!(said.ends_with("probes, 0 answered wrongly"), "{said}");
    let scan = |kind: &str| scene.nmap(&["-6", kind, "-p", "80,81", Family::V6.server()]);
    let [connect, syn, null, ack, udp, system] =
        run(["-sT", "-sS", "-sN", "-sA", "-sU", "-O"].map(scan));
    assert_ports(&connect, &["80/open/", "81/closed/"]);
    assert_ports(&syn, &["80/open/", "81/closed/"]);
    assert_ports(&null, &["80/open|filtered/", "81/closed/"]);
    assert_ports(&ack, &["80/unfiltered/", "81/unfiltered/"]);
    assert_ports(&udp, &["80/closed/", "81/closed/"]);
    assert_ports(&system, &["80/open/", "81/closed/"]);
    let summary = scene.finish(before_kb);
    for name in [
        "ndp_drop_malformed",
        "ndp_drop_bogus",
        "ip_drop_extension",
        "ip_drop_fragment",
        "udp_drop_checksum",
        "tcp_challenge_acks",
    ] {
        assert!(counted(&summary, name) >= 1, "{name}: {summary}");
    }
}
