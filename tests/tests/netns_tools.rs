//! What the kernel's own tools see of us: ping, ARP, ICMP errors, resets, capture.

use outlive_tests::netns::{CLIENT, Device, Finished, Link, Media, SERVER, Sandbox, require};

fn serve<T>(device: Device, test: impl FnOnce(&Sandbox, &Link<'_>) -> T) -> T {
    let sandbox = Sandbox::new();
    let link = Link::new(&sandbox, device);
    let media = Media::new(&sandbox);
    let _ = media.random_file("random.bin", 100_000);
    let server = link.serve_video(&media, &[]);
    let result = test(&sandbox, &link);
    let _ = server.stop();
    result
}

#[test]
fn ping_is_answered_whole_and_in_fragments() {
    require(&["ping"]);
    for device in [Device::Tap, Device::Tun, Device::Veth] {
        serve(device, |_, link| {
            // 5000 bytes do not fit into a frame: fragments there and back.
            for bytes in ["0", "56", "1472", "1473", "5000"] {
                let mut ping = link.client.command(20, "ping");
                ping.args([
                    "-n", "-c", "3", "-i", "0.05", "-W", "10", "-s", bytes, SERVER,
                ]);
                let text = Finished::of(ping).success().text();
                assert!(
                    text.contains(" 0% packet loss"),
                    "{device:?}, {bytes} bytes: {text}"
                );
            }
        });
    }
}

#[test]
fn a_closed_port_refuses_at_once() {
    require(&["curl"]);
    serve(Device::Veth, |_, link| {
        let mut curl = link.client.command(20, "curl");
        curl.args(["-sS", "--max-time", "10", &format!("http://{SERVER}:81/")]);
        let finished = Finished::of(curl);
        // 7: the connection was refused, which takes a RST; a time-out would be 28.
        assert_eq!(finished.status.code(), Some(7), "{}", finished.stderr);
    });
}

#[test]
fn a_closed_udp_port_is_unreachable() {
    serve(Device::Veth, |_, link| {
        // The kernel hands an ICMP port unreachable to a connected socket as ECONNREFUSED.
        assert!(link.udp_is_refused(SERVER, 9999));
    });
}

#[test]
fn the_neighbour_is_resolved_and_announced() {
    require(&["ping"]);
    serve(Device::Veth, |_, link| {
        let _ = link.client.shell(&format!("ping -n -c 1 -W 10 {SERVER}"));
        let neighbours = link.client.shell("ip neigh show dev veth0");
        assert!(
            neighbours.contains(SERVER) && neighbours.contains("lladdr"),
            "{neighbours}"
        );
        // Our station address is our own, not the interface's.
        let own = link
            .server
            .shell("cat /sys/class/net/veth1/address 2>/dev/null || ip -o link show veth1");
        let ours = neighbours
            .split_whitespace()
            .skip_while(|word| *word != "lladdr")
            .nth(1);
        assert!(
            !own.contains(ours.expect("an address")),
            "{own} {neighbours}"
        );
    });
}

#[test]
fn the_kernel_beside_us_stays_silent() {
    require(&["tshark"]);
    let sandbox = Sandbox::new();
    let link = Link::new(&sandbox, Device::Veth);
    let media = Media::new(&sandbox);
    let _ = media.random_file("random.bin", 100_000);
    let server = link.serve_video(&media, &[]);
    let capture = outlive_tests::netns::Capture::start(link.client.clone(), "veth0");
    let _ = link
        .client
        .shell(&format!("curl -sS -o /dev/null http://{SERVER}/random.bin"));
    // The kernel of the server's namespace knows nothing of the connection and would reset it.
    let findings = capture.findings(false);
    let _ = server.stop();
    assert!(
        findings.segments > 10 && findings.resets == 0,
        "{findings:?}"
    );
}

#[test]
fn a_capture_can_be_read_by_tshark() {
    require(&["tshark", "curl"]);
    let sandbox = Sandbox::new();
    let link = Link::new(&sandbox, Device::Tap);
    let media = Media::new(&sandbox);
    let _ = media.random_file("random.bin", 100_000);
    let file = sandbox.folder().join("ours.pcapng").display().to_string();
    let server = link.serve_video(&media, &["--capture", &file]);
    let _ = link
        .client
        .shell(&format!("curl -sS -o /dev/null http://{SERVER}/random.bin"));
    let _ = server.stop();
    let line =
        format!("tshark -n -r {file} -Y http.response -T fields -e http.response.code -e ip.dst");
    let found = link.client.shell(&line);
    assert_eq!(
        found.split_whitespace().collect::<Vec<_>>(),
        ["200", CLIENT]
    );
}
