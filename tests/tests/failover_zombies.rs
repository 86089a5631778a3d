//! A primary that stands still while the other host takes over, and wakes with frames in its hands: what it says
//! changes no stream, and clients find the owner again.

use std::time::Duration;

use outlive_tests::simulation::failover::calling::Manner;
use outlive_tests::simulation::failover::cluster::{Cluster, Setting};
use outlive_tests::simulation::failover::fault::{Fault, When};
use outlive_tests::simulation::failover::script::{Script, Step};
use outlive_tests::simulation::failover::server::SERVICE_MAC;

const LIMIT: Duration = Duration::from_secs(120);
/// In this time after a stray frame the service address has to lead to its owner again.
const BACK_AFTER: Duration = Duration::from_millis(10);

fn pair(clients: u8) -> Cluster {
    let mut cluster = Cluster::pair(&Setting {
        clients,
        ..Setting::default()
    });
    cluster.settle(LIMIT).expect("a pair");
    cluster
}

/// Paced downloads and uploads that last for about three seconds.
fn begin(cluster: &mut Cluster, count: u64) {
    for salt in 0..count {
        let paced = [Step::Wait(20), Step::Write(5_000), Step::Read(3_000)];
        let mut steps: Vec<_> = paced.iter().copied().cycle().take(3 * 60).collect();
        steps.extend([Step::ReadToEnd, Step::Digest]);
        let manner = Manner {
            in_turns: salt % 2 == 0,
            ..Manner::plain(700)
        };
        let client = salt as usize % cluster.clients();
        cluster.call(client, Script::new(salt, steps), manner);
    }
}

#[test]
fn whatever_a_zombie_says_no_stream_changes_and_clients_reach_the_owner_again() {
    for ms in [35, 50, 80, 200, 1_000, 2_000] {
        for turn in [3, 20, 21, 22, 40] {
            let mut cluster = pair(2);
            begin(&mut cluster, 6);
            let zombie = cluster.owner().expect("somebody serves");
            let turn = cluster.world.turns(zombie) + turn;
            let time = Duration::from_millis(ms);
            let pause = Fault::Pause {
                host: zombie,
                time,
                late: true,
            };
            cluster.world.schedule(When::Turn(zombie, turn), pause);
            let context = format!("{ms} ms from turn {turn} on");
            let moved = cluster.world.run_until(time, |world| world.takeovers > 1);
            let woken = cluster
                .world
                .run_until(LIMIT, |world| world.is_running(zombie));
            assert_eq!(woken, Ok(true), "{context}");
            if moved == Ok(true) {
                cluster.world.run_for(BACK_AFTER).expect(&context);
                let station = cluster.world.switch.station(SERVICE_MAC);
                assert_eq!(station, cluster.owner(), "{context}");
            }
            let result = cluster.finish(LIMIT).and_then(|()| cluster.judge());
            assert_eq!(result, Ok(()), "{context}");
        }
    }
}

#[test]
fn an_idle_owner_gets_its_address_back_from_a_zombie() {
    for ms in [50, 500, 5_000] {
        let mut cluster = pair(1);
        let steps = vec![Step::Read(10), Step::Write(10), Step::ReadToEnd];
        cluster.call(0, Script::new(1, steps), Manner::plain(0));
        cluster.finish(LIMIT).expect("a first connection");
        let zombie = cluster.owner().expect("somebody serves");
        let turn = When::Turn(zombie, cluster.world.turns(zombie) + 3);
        let time = Duration::from_millis(ms);
        let pause = Fault::Pause {
            host: zombie,
            time,
            late: true,
        };
        cluster.world.schedule(turn, pause);
        let steps = vec![Step::Read(10), Step::Write(10), Step::ReadToEnd];
        cluster.call(0, Script::new(2, steps), Manner::plain(0));
        cluster
            .world
            .run_for(time + BACK_AFTER + Duration::from_millis(5))
            .expect("no violation");
        assert_eq!(
            cluster.world.switch.station(SERVICE_MAC),
            cluster.owner(),
            "{ms} ms"
        );
        let result = cluster.finish(LIMIT).and_then(|()| cluster.judge());
        assert_eq!(result, Ok(()), "{ms} ms");
    }
}
