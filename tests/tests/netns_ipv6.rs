//! IPv6 as the real kernel sees it: echoes whole and in fragments, neighbours, ICMP errors, transfers on every
//! device, and connections that outlive their server.

use std::path::Path;
use std::process::Child;

use outlive_tests::netns::{
    CLIENT6, Capture, Cluster, Device, Family, Finished, Link, Media, SERVER6, SERVICE_MAC,
    Sandbox, require,
};

fn serve<T>(device: Device, options: &[&str], test: impl FnOnce(&Media, &Link<'_>) -> T) -> T {
    let sandbox = Sandbox::new();
    let link = Link::of(&sandbox, device, Family::V6);
    let media = Media::new(&sandbox);
    let _ = media.random_file("random.bin", 20_000_000);
    let server = link.serve_video(&media, options);
    let result = test(&media, &link);
    let _ = server.stop();
    result
}

#[test]
fn ping_is_answered_whole_and_in_fragments() {
    require(&["ping"]);
    for device in [Device::Tap, Device::Tun, Device::Veth] {
        serve(device, &[], |_, link| {
            // 5000 bytes do not fit into a frame: fragments there and back.
            for bytes in ["0", "56", "1452", "1453", "5000"] {
                let mut ping = link.client.command(20, "ping");
                ping.args(["-6", "-n", "-c", "3", "-i", "0.05", "-W", "10", "-s", bytes]);
                ping.arg(SERVER6);
                let text = Finished::of(ping).success().text();
                let whole = text.contains(" 0% packet loss");
                assert!(whole, "{device:?}, {bytes} bytes: {text}");
            }
        });
    }
}

/// GET and PUT of one file by curl.
fn transfer(device: Device, options: &[&str]) {
    require(&["curl", "sha256sum"]);
    serve(device, options, |media, link| {
        if options.contains(&"--no-offload") {
            link.without_client_offloads();
        }
        let file = media.folder().join("random.bin").display().to_string();
        let sum = link.client.shell(&format!("sha256sum < {file}"));
        let url = Family::V6.url();
        let get = format!("curl -6 -sS --max-time 60 {url}/random.bin | sha256sum");
        assert_eq!(link.client.shell(&get), sum, "GET");
        let put = format!("curl -6 -sS --fail --max-time 60 -T {file} {url}/sink/random.bin");
        let answer = link.client.shell(&put);
        let hex = sum.split(' ').next().expect("a sum");
        assert!(answer.contains(hex), "PUT: {answer} does not contain {hex}");
    });
}

#[test]
fn tap_carries_a_file_both_ways() {
    transfer(Device::Tap, &[]);
}

#[test]
fn tap_without_offloads_carries_a_file_both_ways() {
    transfer(Device::Tap, &["--no-offload"]);
}

#[test]
fn tun_carries_a_file_both_ways() {
    transfer(Device::Tun, &[]);
}

#[test]
fn veth_carries_a_file_both_ways() {
    transfer(Device::Veth, &[]);
}

#[test]
fn veth_without_offloads_carries_a_file_both_ways() {
    transfer(Device::Veth, &["--no-offload", "--topology", "pipeline"]);
}

#[test]
fn what_leaves_on_a_real_wire_has_right_checksums() {
    require(&["curl", "tshark"]);
    serve(Device::Veth, &["--no-offload"], |_, link| {
        link.without_client_offloads();
        let capture = Capture::start(link.client.clone(), "veth0");
        let get = format!("curl -6 -sS -o /dev/null {}/random.bin", Family::V6.url());
        let _ = link.client.shell(&get);
        let findings = capture.findings(true);
        assert!(findings.segments > 100, "{findings:?}");
        assert_eq!((findings.bad_checksums, findings.resets), (0, 0));
    });
}

#[test]
fn a_closed_port_refuses_at_once() {
    require(&["curl"]);
    serve(Device::Veth, &[], |_, link| {
        let mut curl = link.client.command(20, "curl");
        let url = format!("{}:81/", Family::V6.url());
        curl.args(["-6", "-sS", "--max-time", "10", &url]);
        let finished = Finished::of(curl);
        // 7: the connection was refused, which takes a RST; a time-out would be 28.
        assert_eq!(finished.status.code(), Some(7), "{}", finished.stderr);
        // The kernel hands an ICMPv6 port unreachable to a connected socket as ECONNREFUSED.
        assert!(link.udp_is_refused(SERVER6, 9999));
    });
}

#[test]
fn the_kernel_finds_us_reachable_and_its_neighbours_too() {
    require(&["ping"]);
    serve(Device::Veth, &[], |_, link| {
        let ping = |to: &str| {
            let line = format!("ping -6 -n -c 1 -W 10 {to}");
            assert!(link.client.shell(&line).contains(" 0% packet loss"), "{to}");
        };
        ping(SERVER6);
        let neighbours = link.client.shell("ip -6 neigh show dev veth0");
        let line = neighbours.lines().find(|line| line.starts_with(SERVER6));
        let station = line
            .and_then(|line| {
                line.split_whitespace()
                    .skip_while(|word| *word != "lladdr")
                    .nth(1)
            })
            .unwrap_or_else(|| panic!("{neighbours}"));
        // We have a link-local address, made from our station, and answer to all.
        let [a, b, c, d, e, f] = [0, 1, 2, 3, 4, 5]
            .map(|at| u8::from_str_radix(&station[3 * at..3 * at + 2], 16).expect("a byte"));
        let a = a ^ 2;
        ping(&format!(
            "fe80::{a:02x}{b:02x}:{c:02x}ff:fe{d:02x}:{e:02x}{f:02x}%veth0"
        ));
        ping("ff02::1%veth0");
    });
}

#[test]
fn an_address_that_is_taken_is_refused() {
    let sandbox = Sandbox::new();
    let link = Link::of(&sandbox, Device::Veth, Family::V6);
    let mut command = link
        .server
        .command(20, outlive_tests::netns::outlive_command());
    let folder = sandbox.folder().display().to_string();
    command.args([
        "video",
        &folder,
        "--device",
        "packet",
        "--interface",
        "veth1",
    ]);
    command.args(["--address", &format!("{CLIENT6}/64")]);
    let finished = Finished::of(command);
    assert!(!finished.status.success());
    assert!(
        finished.stderr.contains("is in use by"),
        "{}",
        finished.stderr
    );
}

/// Slow enough that a kill falls into the transfer, fast enough not to bore.
const RATE: &str = "10M";
const BYTES: u64 = 40_000_000;

/// Two hosts that share an IPv6 service address, and a client that can reach it.
fn cluster<'a>(sandbox: &'a Sandbox, media: &Media) -> Cluster<'a> {
    let service = format!("{SERVER6}/64");
    let mut cluster = Cluster::new(sandbox, media, &[("10.77.0.2/24", &service)], &[]);
    let give = format!("ip addr add {CLIENT6}/64 dev eth0 nodad");
    let _ = cluster.client.shell(&give);
    cluster.start();
    cluster
}

fn curl(cluster: &Cluster<'_>, arguments: &[&str]) -> Child {
    let mut command = cluster.client.command(120, "curl");
    command.args(["-6", "-sS", "--fail", "--limit-rate", RATE]);
    command.args(arguments);
    command.spawn().expect("curl can be started")
}

fn sum(cluster: &Cluster<'_>, file: &Path) -> String {
    let line = format!("sha256sum < {}", file.display());
    cluster.client.shell(&line)
}

fn grown(cluster: &Cluster<'_>, file: &Path, bytes: u64) {
    cluster.wait_for("progress of the download", |_| {
        let metadata = file.metadata();
        metadata.is_ok_and(|metadata| metadata.len() >= bytes)
    });
}

#[test]
fn a_download_survives_the_death_of_either_host() {
    require(&["curl", "sha256sum"]);
    let sandbox = Sandbox::new();
    let media = Media::new(&sandbox);
    let file = media.random_file("random.bin", BYTES);
    let mut cluster = cluster(&sandbox, &media);
    // Each says so once, or again when a busy machine had them lose each other.
    cluster.wait_for("comparison of what is served", |cluster| {
        let compared = "compared with the other host files=1 differing=0";
        (0..2).all(|host| cluster.complaints_of(host).contains(compared))
    });
    let received = sandbox.folder().join("received.bin");
    let to = received.display().to_string();
    let url = format!("{}/random.bin", Family::V6.url());
    let mut download = curl(&cluster, &["-o", &to, &url]);
    for part in [1, 2] {
        grown(&cluster, &received, BYTES / 4 * part);
        let primary = cluster.primary();
        cluster.kill(primary);
        cluster.wait_until_serves(1 - primary);
        cluster.start_host(primary);
        cluster.wait_until_protected();
    }
    let status = download.wait().expect("it is our child");
    assert!(status.success(), "{status}\n{}", cluster.complaints());
    assert_eq!(sum(&cluster, &received), sum(&cluster, &file));
    let neighbours = cluster.client.shell("ip -6 neigh show dev eth0");
    let service = neighbours.lines().find(|line| line.starts_with(SERVER6));
    assert!(
        service.is_some_and(|line| line.contains(SERVICE_MAC)),
        "{neighbours}"
    );
}

#[test]
fn a_handover_is_not_noticed() {
    require(&["curl", "sha256sum"]);
    let sandbox = Sandbox::new();
    let media = Media::new(&sandbox);
    let file = media.random_file("random.bin", BYTES);
    let cluster = cluster(&sandbox, &media);
    let received = sandbox.folder().join("received.bin");
    let to = received.display().to_string();
    let url = format!("{}/random.bin", Family::V6.url());
    let mut download = curl(&cluster, &["-o", &to, &url]);
    grown(&cluster, &received, BYTES / 4);
    let (primary, said) = cluster.hand_over();
    let expected = format!("host {} serves", 1 - primary);
    assert!(said.contains(&expected), "{said}");
    let status = download.wait().expect("it is our child");
    assert!(status.success(), "{status}\n{}", cluster.complaints());
    assert_eq!(sum(&cluster, &received), sum(&cluster, &file));
}
