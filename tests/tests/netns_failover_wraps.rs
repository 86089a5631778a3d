//! One response that is longer than sequence numbers reach, to an unmodified curl, with its server killed after each wrap:
//! `OUTLIVE_TEST_WRAPS=2` for one beyond 8 GiB. Without that it is a short one, killed once.

use outlive_tests::netns::{Cluster, Media, Reader, Sandbox, number_from};

const WRAP: u64 = 1 << 32;
/// The kill comes after so much beyond the wrap,
const BEYOND: u64 = 8 << 20;
/// while so much more flows,
const FLOWS: u64 = 64 << 20;
/// and so much is left after the last one.
const TAIL: u64 = 32 << 20;
/// Bytes that pass within a minute on any machine.
const STRIDE: usize = 512 << 20;

#[test]
fn a_response_survives_a_kill_after_each_wrap() {
    let wraps = number_from("OUTLIVE_TEST_WRAPS", 0_u64);
    let len = wraps * WRAP + BEYOND + FLOWS + TAIL;
    let sandbox = Sandbox::new();
    let media = Media::new(&sandbox);
    let file = media.sparse_file("long.bin", len);
    let mut cluster = Cluster::new(&sandbox, &media, &[], &[]);
    cluster.start();
    let reader = Reader::start(&cluster.client, &file);
    for wrap in 0..=wraps {
        let at = wrap * WRAP + BEYOND;
        for step in (at.saturating_sub(WRAP)..at).step_by(STRIDE) {
            reader.allow(step);
            cluster.wait_for("progress", |_| reader.has(step));
        }
        reader.allow(at);
        cluster.wait_for("a wrap", |_| reader.has(at));
        cluster.wait_until_protected();
        reader.allow(at + FLOWS);
        cluster.wait_for("a flow", |_| reader.has(at + BEYOND));
        let killed = cluster.kill_primary();
        cluster.start_host(killed);
        cluster.wait_for("what flows", |_| reader.has(at + FLOWS));
    }
    assert_eq!(cluster.insist(reader.finish()), len);
}
