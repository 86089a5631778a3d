//! The simulation of a pair of servers, without its replicas: what it finds fault with has to be theirs.

use std::time::Duration;

use outlive_driver::Random;
use outlive_driver::impairment::Impairment;
use outlive_tests::simulation::failover::calling::Manner;
use outlive_tests::simulation::failover::cluster::{Cluster, Setting};
use outlive_tests::simulation::failover::fault::{Fault, Keep, When};
use outlive_tests::simulation::failover::script::draw;

const LIMIT: Duration = Duration::from_secs(900);

fn cluster(seed: u64, cables: Impairment) -> Cluster {
    let setting = Setting {
        seed,
        cables,
        clients: 2,
        ..Setting::default()
    };
    let mut cluster = Cluster::alone(&setting);
    let mut random = Random::from_seed(seed);
    for salt in 0..6 {
        let (script, to_end) = draw(&mut random, salt);
        let manner = Manner::draw(&mut random, &script, to_end);
        cluster.call(salt as usize % 2, script, manner);
    }
    cluster
}

#[test]
fn scripts_run_to_their_ends_on_good_and_bad_cables() {
    for seed in 0..60 {
        let cables = Impairment {
            loss: [0.0, 0.02][seed as usize % 2],
            delay: Duration::from_micros(400),
            ..Impairment::default()
        };
        let mut cluster = cluster(seed, cables);
        let result = cluster.finish(LIMIT).and_then(|()| cluster.judge());
        assert_eq!(result, Ok(()), "seed {seed}");
    }
}

#[test]
fn without_a_second_host_a_kill_is_seen() {
    let mut seen = 0;
    for seed in 0..10 {
        let mut cluster = cluster(seed, Impairment::default());
        cluster
            .world
            .schedule(When::Turn(0, 12), Fault::Kill(0, Keep::All));
        let result = cluster
            .finish(Duration::from_secs(30))
            .and_then(|()| cluster.judge());
        seen += usize::from(result.is_err());
    }
    assert_eq!(seen, 10);
}

#[test]
fn a_pause_of_the_only_host_is_survived_by_its_connections() {
    for turn in 1..40 {
        let mut cluster = cluster(turn, Impairment::default());
        let pause = Fault::Pause {
            host: 0,
            time: Duration::from_millis(700),
            late: true,
        };
        cluster.world.schedule(When::Turn(0, turn), pause);
        let result = cluster.finish(LIMIT).and_then(|()| cluster.judge());
        assert_eq!(result, Ok(()), "turn {turn}");
    }
}
