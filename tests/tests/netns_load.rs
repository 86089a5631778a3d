//! A thousand clients at once: each gets its own bytes, and none starves.

use std::fmt::Write;

use outlive_tests::netns::{
    Device, Finished, Link, Media, SERVER, Sandbox, Server, numbers, require,
};

const CLIENTS: u64 = 1_000;
/// curl runs 300 transfers at once and no more, so there are several of it.
const PROGRAMS: u64 = 4;
const PIECE_BYTES: u64 = 300_000;

fn serve<'a>(link: &Link<'a>, media: &Media) -> Server<'a> {
    // curl closes what it aborts; more ports and backlog than by default are not needed.
    link.serve_video(media, &[])
}

/// A thousand downloads of a thousand different pieces of a file, each compared byte by byte.
fn each_gets_its_own(device: Device) {
    require(&["curl"]);
    let sandbox = Sandbox::new();
    let link = Link::new(&sandbox, device);
    let media = Media::new(&sandbox);
    let file = media.random_file("random.bin", 64_000_000);
    let server = serve(&link, &media);
    let offset = |client: u64| client * 60_013;

    let per_program = CLIENTS / PROGRAMS;
    let mut line = String::new();
    for program in 0..PROGRAMS {
        let config = sandbox.folder().join(format!("curl{program}"));
        let mut text = String::new();
        for client in program * per_program..(program + 1) * per_program {
            let (from, to) = (offset(client), offset(client) + PIECE_BYTES - 1);
            let output = sandbox.folder().join(format!("piece{client}"));
            writeln!(
                text,
                "url = http://{SERVER}/random.bin\nrange = {from}-{to}\noutput = {}",
                output.display()
            )
            .expect("memory");
        }
        std::fs::write(&config, text).expect("the disk has room");
        let config = config.display();
        write!(
            line,
            "curl -sS --fail --parallel --parallel-immediate --parallel-max 250 -K {config} & "
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

/// A thousand endless downloads: after some seconds the slowest has at least a quarter of its fair share.
fn none_starves(device: Device) {
    require(&["curl", "truncate"]);
    let sandbox = Sandbox::new();
    let link = Link::new(&sandbox, device);
    let media = Media::new(&sandbox);
    let endless = media.folder().join("endless");
    let _ = sandbox.shell(&format!("truncate -s 100G {}", endless.display()));
    let server = serve(&link, &media);

    let per_program = CLIENTS / PROGRAMS;
    let one = format!("url = http://{SERVER}/endless\noutput = /dev/null\n");
    let config = sandbox.folder().join("curl");
    std::fs::write(&config, one.repeat(per_program as usize)).expect("the disk has room");
    let config = config.display();
    let curl = format!(
        "curl -s --parallel --parallel-immediate --parallel-max 250 --max-time 12 \
         -w '%{{size_download}}\\n' -K {config}"
    );
    // Each transfer ends by its time limit, which curl calls an error.
    let line = format!("for _ in $(seq {PROGRAMS}); do {{ {curl} || true; }} & done; wait");
    let received = numbers(&link.client.shell(&line));
    let _ = server.stop();

    assert_eq!(received.len() as u64, CLIENTS, "every client reports");
    let fair_share = received.iter().sum::<f64>() / received.len() as f64;
    let slowest = received.iter().copied().fold(f64::INFINITY, f64::min);
    assert!(fair_share > 100_000.0, "only {fair_share} bytes each");
    assert!(
        slowest >= fair_share / 4.0,
        "slowest {slowest} of a fair share of {fair_share} bytes"
    );
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
