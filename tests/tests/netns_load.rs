//! A thousand clients at once: each gets its own bytes, and none starves.

use std::fmt::Write;

use outlive_tests::netns::{Device, Finished, Link, Media, SERVER, Sandbox, numbers, require};

const CLIENTS: u64 = 1_000;
/// curl runs 300 transfers at once and no more, so there are several of it.
const PROGRAMS: u64 = 4;
const PIECE_BYTES: u64 = 300_000;

/// A thousand downloads of a thousand different pieces of a file, each compared byte by byte.
fn each_gets_its_own(device: Device) {
    require(&["curl"]);
    let sandbox = Sandbox::new();
    let link = Link::new(&sandbox, device);
    let media = Media::new(&sandbox);
    let file = media.random_file("random.bin", 64_000_000);
    let server = link.serve_video(&media, &[]);
    let offset = |client: u64| client * 60_013;

    let per_program = CLIENTS / PROGRAMS;
    let mut line = String::new();
    for program in 0..PROGRAMS {
        let config = sandbox.folder().join(format!("curl{program}"));
        let mut text = String::new();
        for client in program * per_program..(program + 1) * per_program {
            let (from, to) = (offset(client), offset(client) + PIECE_BYTES - 1);
            let output = sandbox.folder().join(format!("piece{client}"));
            if !text.is_empty() {
                text.push_str("next\n");
            }
            writeln!(
                text,
                "url = http://{SERVER}/random.bin\nrange = {from}-{to}\noutput = {}\nfail",
                output.display()
            )
            .expect("memory");
        }
        std::fs::write(&config, text).expect("the disk has room");
        let config = config.display();
        write!(
            line,
            "curl -sS --parallel --parallel-immediate --parallel-max 250 -K {config} & "
        )
        .expect("memory");
    }
    line += "for job in $(jobs -p); do wait $job; done";
    let mut all = link.client.command(240, "bash");
    all.args(["-e", "-c", &line]);
    let _ = Finished::of(all).success();

    let whole = std::fs::read(file).expect("the file is there");
    for client in 0..CLIENTS {
        let piece = std::fs::read(sandbox.folder().join(format!("piece{client}")));
        let piece = piece.unwrap_or_else(|error| panic!("client {client} got nothing: {error}"));
        let from = offset(client) as usize;
        assert!(
            piece == whole[from..from + PIECE_BYTES as usize],
            "client {client} got {} bytes, not its own",
            piece.len()
        );
    }
    let _ = server.stop();
}

/// A thousand downloads that are too large to end: after some seconds the slowest has at least a quarter of its fair share.
fn none_starves(device: Device) {
    require(&["sysctl"]);
    let sandbox = Sandbox::new();
    let link = Link::new(&sandbox, device);
    // Who offers a larger window gets more; Linux lets windows grow apart, so here they are equal.
    let _ = link
        .client
        .shell("sysctl -qw net.ipv4.tcp_rmem='4096 131072 131072'");
    download_for_some_seconds(&sandbox, &link);

    // How the programs share the processors is up to the scheduler; how the clients within one share what
    // it gets is up to the server.
    for program in 1..=PROGRAMS {
        let received = received_by(&sandbox, program);
        let fair_share = received.iter().sum::<f64>() / received.len() as f64;
        let slowest = received.iter().copied().fold(f64::INFINITY, f64::min);
        assert!(fair_share > 100_000.0, "only {fair_share} bytes each");
        assert!(
            slowest >= fair_share / 4.0,
            "slowest {slowest} of a fair share of {fair_share} bytes"
        );
    }
}

/// With windows as Linux tunes them there are gigabytes to be sent at once. The server still fetches the
/// acknowledgements meanwhile: the device's queue does not overflow.
fn acknowledgements_are_fetched(device: Device) {
    let sandbox = Sandbox::new();
    let link = Link::new(&sandbox, device);
    download_for_some_seconds(&sandbox, &link);
    for program in 1..=PROGRAMS {
        assert!(
            received_by(&sandbox, program)
                .iter()
                .all(|bytes| *bytes > 0.0)
        );
    }
}

fn received_by(sandbox: &Sandbox, program: u64) -> Vec<f64> {
    let sizes = sandbox.folder().join(format!("{program}.sizes"));
    let received = numbers(&std::fs::read_to_string(sizes).expect("curl has reported"));
    assert_eq!(
        received.len() as u64,
        CLIENTS / PROGRAMS,
        "every client reports"
    );
    received
}

/// A thousand endless downloads by several programs, ended by a time limit; nothing that the client's kernel
/// sends is dropped in front of the server.
fn download_for_some_seconds(sandbox: &Sandbox, link: &Link<'_>) {
    require(&["curl", "truncate", "jq"]);
    let media = Media::new(sandbox);
    let endless = media.folder().join("endless");
    let _ = sandbox.shell(&format!("truncate -s 2G {}", endless.display()));
    let server = link.serve_video(&media, &[]);
    // The first request for a file computes its ETag.
    let head = format!("curl -sS --fail --head -o /dev/null http://{SERVER}/endless");
    let _ = link.client.shell(&head);

    let per_program = CLIENTS / PROGRAMS;
    let one = format!("url = http://{SERVER}/endless\noutput = /dev/null\n");
    let config = sandbox.folder().join("curl");
    std::fs::write(&config, one.repeat(per_program as usize)).expect("the disk has room");
    let config = config.display();
    let curl = format!(
        "curl -s --parallel --parallel-immediate --parallel-max 250 --max-time 12 \
         -w '%{{size_download}}\\n' -K {config} > $program.sizes"
    );
    // Each transfer ends by its time limit, which curl calls an error.
    let folder = sandbox.folder().display();
    let line = format!(
        "cd {folder}; for program in $(seq {PROGRAMS}); do {{ {curl} || true; }} & done; wait"
    );
    let _ = link.client.shell(&line);
    let dropped = link.client.shell(&format!(
        "ip -s -j link show {} | jq .[0].stats64.tx.dropped",
        link.client_interface
    ));
    let counted = server.stop();
    assert_eq!(dropped, "0", "the device's queue overflowed\n{counted}");
}

#[test]
fn a_thousand_downloads_over_tap_get_their_own_bytes() {
    each_gets_its_own(Device::Tap);
}

#[test]
fn a_thousand_downloads_over_veth_get_their_own_bytes() {
    each_gets_its_own(Device::Veth);
}

#[test]
fn none_of_a_thousand_starves_over_tap() {
    none_starves(Device::Tap);
}

#[test]
fn a_thousand_tuned_windows_do_not_overflow_the_queue_of_a_tap() {
    acknowledgements_are_fetched(Device::Tap);
}
