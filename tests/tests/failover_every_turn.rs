//! Short exchanges with a pair of servers, disturbed in every turn of a host: the handshake, transfer both ways,
//! closed windows, halves closed, every closing state. The client must not notice.
//!
//! A failure prints the command that repeats it: `OUTLIVE_CASE` and `OUTLIVE_TURN` choose one exchange and one turn,
//! `OUTLIVE_TRACE=1` prints every frame.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;

use outlive_tests::simulation::failover::calling::Manner;
use outlive_tests::simulation::failover::cluster::Setting;
use outlive_tests::simulation::failover::exchange::{Blow, Exchange, Part};
use outlive_tests::simulation::failover::fault::Keep;
use outlive_tests::simulation::failover::script::{Script, Step};

/// An exchange with a name.
type Case = (String, Exchange);

fn exchange(steps: Vec<Step>, to_end: u64) -> Exchange {
    Exchange {
        setting: Setting::default(),
        script: Script::new(1, steps),
        manner: Manner::plain(to_end),
    }
}

fn small_server_buffers(mut exchange: Exchange) -> Exchange {
    exchange.setting.server.tcp.socket.receive_buffer_bytes = Some(4096);
    exchange.script.reads = 2000;
    exchange.script.read_pause_ms = 15;
    exchange
}

fn deaf_client(mut exchange: Exchange) -> Exchange {
    exchange.setting.client.tcp.socket.receive_buffer_bytes = Some(4096);
    exchange.manner.deaf = Duration::from_millis(150);
    exchange.manner.reads = 1000;
    exchange
}

fn closes_last(mut exchange: Exchange) -> Exchange {
    exchange.manner.closes_last = true;
    exchange
}

fn in_turns(mut exchange: Exchange) -> Exchange {
    exchange.manner.in_turns = true;
    exchange
}

/// What is disturbed.
fn cases() -> Vec<Case> {
    let request = [Step::Read(400), Step::Write(700), Step::Digest];
    let requests: Vec<_> = [&request[..], &request, &request, &[Step::ReadToEnd]].concat();
    let both = vec![Step::Both(12_000, 15_000), Step::ReadToEnd, Step::Digest];
    let half = vec![Step::ReadToEnd, Step::Write(20_000), Step::Digest];
    let server_half = vec![Step::Write(2_000), Step::Close, Step::ReadToEnd];
    let download = vec![Step::Write(25_000), Step::ReadToEnd, Step::Digest];
    let upload = vec![Step::ReadToEnd, Step::Digest];
    let cases = [
        ("requests", in_turns(exchange(requests, 0))),
        ("both ways", exchange(both, 300)),
        ("client closes its half", exchange(half, 300)),
        (
            "server closes its half",
            exchange(server_half.clone(), 15_000),
        ),
        ("server closes first", closes_last(exchange(server_half, 0))),
        (
            "both close at once",
            exchange(vec![Step::Close, Step::ReadToEnd], 0),
        ),
        (
            "server's window closes",
            small_server_buffers(exchange(upload, 16_000)),
        ),
        ("client's window closes", deaf_client(exchange(download, 0))),
        (
            "abort",
            exchange(vec![Step::Write(3_000), Step::Read(50), Step::Abort], 0),
        ),
    ];
    let named = |(name, exchange): (&str, _)| (name.to_owned(), exchange);
    cases.into_iter().map(named).collect()
}

/// A client that lacks something.
type Lack = (&'static str, fn(&mut Setting));

const LACKS: [Lack; 7] = [
    ("no timestamps", |it| it.client.tcp.timestamps = false),
    ("no SACK", |it| it.client.tcp.sack = false),
    ("no window scaling", |it| {
        it.client.tcp.window_scaling = false;
    }),
    ("nothing", |it| {
        it.client.tcp.timestamps = false;
        it.client.tcp.sack = false;
        it.client.tcp.window_scaling = false;
    }),
    ("tiny buffers", |it| {
        it.client.tcp.socket.receive_buffer_bytes = Some(1_100);
        it.client.tcp.socket.send_buffer_bytes = Some(1_100);
    }),
    ("huge buffers", |it| {
        it.client.tcp.socket.receive_buffer_bytes = Some(64 << 20);
        it.client.tcp.socket.send_buffer_bytes = Some(64 << 20);
    }),
    ("lossy cables", |it| it.cables.loss = 0.01),
];

/// A few exchanges with each kind of client.
fn lacking() -> Vec<Case> {
    let mut all = Vec::new();
    for (lack, apply) in LACKS {
        let few = cases().into_iter().filter(|(name, _)| {
            ["requests", "both ways", "server closes its half"].contains(&name.as_str())
        });
        for (name, mut exchange) in few {
            apply(&mut exchange.setting);
            all.push((format!("{name}, {lack}"), exchange));
        }
    }
    all
}

/// Exchanges that last long enough for a server to come back.
fn long() -> Vec<Case> {
    let round = [Step::Wait(15), Step::Write(2_000), Step::Read(1_500)];
    let mut steps: Vec<_> = round.iter().copied().cycle().take(3 * 40).collect();
    steps.extend([Step::ReadToEnd, Step::Digest]);
    let plain = exchange(steps, 900);
    let pairs = [
        ("paced", plain.clone()),
        ("paced, in turns", in_turns(plain)),
    ];
    let named = |(name, exchange): (&str, _)| (name.to_owned(), exchange);
    pairs.into_iter().map(named).collect()
}

fn wanted<T: std::str::FromStr>(name: &str) -> Option<T> {
    std::env::var(name).ok()?.parse().ok()
}

/// Strikes in every `step`th turn of `part` in each of `cases`; the blow may depend on the turn.
fn strike(cases: Vec<Case>, part: Part, step: usize, blow: impl Fn(u64) -> Blow) {
    let only: Option<String> = wanted("OUTLIVE_CASE");
    let test = std::thread::current().name().unwrap_or("").to_owned();
    for (name, exchange) in cases {
        if only.as_ref().is_some_and(|only| *only != name) {
            continue;
        }
        let turns = match exchange.turns(part) {
            Ok(turns) => turns,
            Err(violation) => panic!("{name}, undisturbed: {violation}"),
        };
        let turns = match wanted("OUTLIVE_TURN") {
            Some(turn) => turn..=turn,
            None => 0..=turns,
        };
        for turn in turns.step_by(step) {
            let blow = blow(turn);
            let run = AssertUnwindSafe(|| exchange.disturbed(part, turn, blow));
            let what = match catch_unwind(run) {
                Ok(Ok(())) => continue,
                Ok(Err(violation)) => violation.to_string(),
                Err(_) => "a panic, see above".to_owned(),
            };
            panic!(
                "{name}, turn {turn}, {blow:?}: {what}\n  replay: OUTLIVE_CASE='{name}' OUTLIVE_TURN={turn} \
                     cargo test -p outlive-tests --test failover_every_turn -- {test} --nocapture"
            );
        }
    }
}

fn keep(turn: u64) -> Keep {
    Keep::ALL[turn as usize % 4]
}

#[test]
fn the_primary_is_killed_before_its_output_leaves() {
    strike(cases(), Part::Primary, 1, |_| {
        Blow::Kill(Part::Primary, Keep::Nothing)
    });
}

#[test]
fn the_primary_is_killed_after_its_output_left() {
    strike(cases(), Part::Primary, 1, |_| {
        Blow::Kill(Part::Primary, Keep::All)
    });
}

#[test]
fn the_primary_is_killed_when_half_of_its_output_left() {
    strike(cases(), Part::Primary, 1, |turn| {
        let keep = [Keep::Frames, Keep::Messages][turn as usize % 2];
        Blow::Kill(Part::Primary, keep)
    });
}

#[test]
fn the_primary_loses_power() {
    strike(cases(), Part::Primary, 2, |turn| {
        Blow::PowerOff(Part::Primary, keep(turn))
    });
}

#[test]
fn the_primary_stands_still_and_wakes_as_a_zombie() {
    strike(cases(), Part::Primary, 1, |turn| {
        let time = Duration::from_millis([5, 40, 70, 300, 2_000][turn as usize % 5]);
        match turn % 2 {
            0 => Blow::Stop(Part::Primary, time),
            _ => Blow::Pause(Part::Primary, time),
        }
    });
}

#[test]
fn the_backup_is_killed() {
    strike(cases(), Part::Backup, 1, |turn| {
        Blow::Kill(Part::Backup, keep(turn))
    });
}

#[test]
fn the_backup_stands_still() {
    strike(cases(), Part::Backup, 2, |turn| {
        let time = Duration::from_millis([5, 40, 70, 300, 2_000][turn as usize % 5]);
        Blow::Stop(Part::Backup, time)
    });
}

#[test]
fn the_witness_is_killed() {
    strike(cases(), Part::Primary, 3, |turn| {
        Blow::Kill(Part::Witness, keep(turn))
    });
}

#[test]
fn the_service_is_handed_over() {
    strike(cases(), Part::Primary, 1, |_| Blow::HandOver);
}

#[test]
fn the_primary_is_killed_under_clients_that_lack_something() {
    strike(lacking(), Part::Primary, 3, |turn| {
        Blow::Kill(Part::Primary, keep(turn))
    });
}

#[test]
fn both_servers_are_killed_one_after_the_other() {
    strike(long(), Part::Primary, 9, |turn| Blow::KillBoth(keep(turn)));
}
