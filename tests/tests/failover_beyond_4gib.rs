//! One response that is longer than sequence numbers reach, with the server killed after each wrap. The new
//! server has to know which of the wraps the client is in, and skip what it has without making it.

use std::time::Duration;

use outlive_tests::netns::number_from;
use outlive_tests::simulation::failover::calling::Manner;
use outlive_tests::simulation::failover::cluster::{Cluster, Setting};
use outlive_tests::simulation::failover::fault::{Fault, Keep};
use outlive_tests::simulation::failover::script::{Script, Step};

const WRAP: u64 = 1 << 32;
const LIMIT: Duration = Duration::from_secs(900);

/// Downloads `bytes`, and kills whoever serves each time that the client has come to one of `kills`.
fn download(bytes: u64, kills: &[u64]) {
    let mut setting = Setting {
        fused: true,
        ..Setting::default()
    };
    setting.client.tcp.socket.receive_buffer_bytes = Some(16 << 20);
    setting.server.tcp.max_send_buffer_bytes = 16 << 20;
    setting.server.tcp.max_unsent_bytes = 4 << 20;
    let mut cluster = Cluster::pair(&setting);
    cluster.settle(LIMIT).expect("a pair");
    let script = Script::new(1, vec![Step::Film(bytes), Step::ReadToEnd, Step::Digest]);
    cluster.call(0, script, Manner::plain(100));
    for &at in kills {
        let record = cluster.connections[0].record.clone();
        let reached = cluster
            .world
            .run_until(LIMIT, move |_| record.borrow().received >= at);
        assert_eq!(reached, Ok(true), "{at} bytes");
        let owner = cluster.owner().expect("somebody serves");
        cluster.world.apply(Fault::Kill(owner, Keep::Nothing));
        cluster
            .world
            .run_for(Duration::from_millis(100))
            .expect("no violation");
        cluster.world.apply(Fault::Start(owner));
        cluster.settle(LIMIT).expect("a pair again");
    }
    cluster.finish(LIMIT).expect("all bytes arrive");
    assert_eq!(cluster.judge(), Ok(()));
    assert!(cluster.world.takeovers as usize > kills.len());
}

#[test]
fn a_response_beyond_4_gib_survives_a_kill_after_each_wrap() {
    let wraps = number_from("OUTLIVE_TEST_WRAPS", 1_u64);
    let mut kills = vec![1 << 20];
    kills.extend((1..=wraps).map(|wrap| wrap * WRAP + (10 << 20)));
    download(wraps * WRAP + (300 << 20), &kills);
}
