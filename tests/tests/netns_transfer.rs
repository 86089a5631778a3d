//! A large file down and up, on every device, with and without offloads: the same bytes, and a clean wire.

use outlive_tests::netns::{
    Capture, Device, Findings, Finished, Link, Media, SERVER, Sandbox, require, transfer_bytes,
};

/// GET and PUT of one file by curl, recorded and judged by tshark.
fn transfer(device: Device, options: &[&str]) {
    require(&["curl", "sha256sum"]);
    let sandbox = Sandbox::new();
    let link = Link::new(&sandbox, device);
    let media = Media::new(&sandbox);
    let wire_sized = options.contains(&"--no-offload");
    // As many frames take far longer to record and to judge.
    let bytes = transfer_bytes() / if wire_sized { 4 } else { 1 };
    let file = media.random_file("random.bin", bytes);
    let server = link.serve_video(&media, options);
    if wire_sized {
        link.without_client_offloads();
    }
    let capture = Capture::start(link.client.clone(), link.client_interface);

    let sum = link
        .client
        .shell(&format!("sha256sum < {}", file.display()));
    let get = format!("curl -sS --max-time 300 http://{SERVER}/random.bin | sha256sum");
    assert_eq!(link.client.shell(&get), sum, "GET");

    let mut put = link.client.command(300, "curl");
    put.args(["-sS", "--fail", "-T"])
        .arg(&file)
        .arg(format!("http://{SERVER}/sink/random.bin"));
    let answer = Finished::of(put).success().text();
    let hex = sum.split(' ').next().expect("a sum");
    assert!(answer.contains(hex), "PUT: {answer} does not contain {hex}");

    // With offloads the devices' other ends complete checksums, and what is recorded here is unfinished.
    let findings = capture.findings(wire_sized);
    let counted = server.stop();
    assert!(findings.segments > 100, "{findings:?}");
    let clean = Findings {
        bad_checksums: 0,
        resets: 0,
        server_retransmissions: 0,
        client_retransmissions: 0,
        ..findings
    };
    assert_eq!(findings, clean, "\n{counted}");
}

#[test]
fn tap_with_offloads() {
    transfer(Device::Tap, &[]);
}

#[test]
fn tap_without_offloads() {
    transfer(Device::Tap, &["--no-offload"]);
}

#[test]
fn tun_with_offloads() {
    transfer(Device::Tun, &[]);
}

#[test]
fn veth_with_offloads() {
    transfer(Device::Veth, &[]);
}

#[test]
fn veth_without_offloads() {
    transfer(Device::Veth, &["--no-offload"]);
}

#[test]
fn tap_in_the_pipeline_topology() {
    transfer(Device::Tap, &["--topology", "pipeline"]);
}

#[test]
fn veth_in_the_pipeline_topology() {
    transfer(Device::Veth, &["--topology", "pipeline"]);
}
