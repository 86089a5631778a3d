//! A large file down and up, on every device, with and without offloads: the same bytes, and a clean wire.

use outlive_tests::netns::{
    Capture, Device, Findings, Finished, Link, Media, SERVER, Sandbox, counted, require,
    transfer_bytes,
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
    let (server_had, client_had) = duplicates(&link);
    let summary = server.stop();
    let server_had = server_had + counted(&summary, "tcp_drop_window");
    assert!(findings.segments > 100, "{findings:?}");
    let clean = Findings {
        bad_checksums: 0,
        resets: 0,
        ..findings
    };
    assert_eq!(findings, clean, "\n{summary}");
    // Who hears nothing for some milliseconds, as on a busy machine, sends a segment again that the other one has. One that it
    // does not have was lost, and who else is there to have lost it?
    assert!(
        findings.client_retransmissions as u64 <= server_had
            && findings.server_retransmissions as u64 <= client_had,
        "{findings:?}, but the server had {server_had} of those and the client {client_had}\n{summary}"
    );
}

/// Segments that came although they were there, as the client's kernel counted: at the server, which told it so (RFC 2883),
/// and at the client.
fn duplicates(link: &Link<'_>) -> (u64, u64) {
    let [server, client] = ["Recv", "Sent"].map(|way| {
        let line = format!(
            "nstat -asz 'TcpExtTCPDSACK*{way}' | awk '/DSACK/ {{ n += $2 }} END {{ print n + 0 }}'"
        );
        link.client.shell(&line).parse().expect("a number")
    });
    (server, client)
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
