//! Through a link that loses, doubles, reorders, spoils and delays, at any MTU: always the right bytes.

use outlive_tests::netns::{Link, Media, SERVER, Sandbox, require};

/// Bytes that go each way; at 5% loss and 20 ms a connection carries some 200 kB a second.
const BYTES: u64 = 1_000_000;

/// GET and PUT of one file through a relay with these options.
fn transfer(mtu: u32, impairment: &[&str]) {
    transfer_bytes(mtu, impairment, BYTES);
}

fn transfer_bytes(mtu: u32, impairment: &[&str], bytes: u64) {
    require(&["curl", "sha256sum"]);
    let sandbox = Sandbox::new();
    let (link, _relay) = Link::impaired(&sandbox, mtu, impairment);
    let media = Media::new(&sandbox);
    let file = media.random_file("random.bin", bytes);
    let server = link.serve_video(&media, &[]);

    let sum = link
        .client
        .shell(&format!("sha256sum < {}", file.display()));
    let get = format!("curl -sS --max-time 50 http://{SERVER}/random.bin | sha256sum");
    assert_eq!(link.client.shell(&get), sum, "GET");

    let file = file.display();
    let put = format!("curl -sS --fail --max-time 50 -T {file} http://{SERVER}/sink/random.bin");
    let answer = link.client.shell(&put);
    let hex = sum.split(' ').next().expect("a sum");
    assert!(answer.contains(hex), "PUT: {answer} does not contain {hex}");
    let _ = server.stop();
}

#[test]
fn a_thousandth_is_lost() {
    transfer(1500, &["--loss", "0.1%", "--delay", "5ms"]);
}

#[test]
fn a_hundredth_is_lost() {
    transfer(1500, &["--loss", "1%", "--delay", "20ms"]);
}

#[test]
fn a_twentieth_is_lost() {
    transfer(1500, &["--loss", "5%", "--delay", "5ms"]);
}

#[test]
fn frames_come_twice() {
    transfer(1500, &["--duplicate", "10%", "--delay", "2ms"]);
}

#[test]
fn frames_overtake_each_other() {
    transfer(1500, &["--reorder", "10%", "--delay", "2ms"]);
}

#[test]
fn frames_are_spoilt() {
    transfer(1500, &["--corrupt", "1%", "--delay", "2ms"]);
}

#[test]
fn frames_are_delayed_by_more_and_less() {
    transfer(1500, &["--delay", "10ms", "--jitter", "10ms"]);
}

#[test]
fn a_long_way() {
    transfer(1500, &["--delay", "200ms"]);
}

#[test]
fn everything_at_once() {
    let all = [
        ["--loss", "1%"],
        ["--duplicate", "1%"],
        ["--reorder", "1%"],
        ["--corrupt", "1%"],
        ["--delay", "5ms"],
        ["--jitter", "2ms"],
    ];
    transfer(1500, &all.concat());
}

#[test]
fn small_frames() {
    transfer(576, &["--loss", "0.1%", "--delay", "1ms"]);
}

#[test]
fn jumbo_frames() {
    transfer_bytes(9000, &["--loss", "0.1%", "--delay", "1ms"], 8 * BYTES);
}
