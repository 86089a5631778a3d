//! One path, both ends.

use super::*;

const MS: Duration = Duration::from_millis(1);

fn timing() -> Timing {
    Timing {
        interval: MS * 10,
        multiplier: 3,
        hold_down: MS * 30,
        hold_down_max: MS * 1_000,
    }
}

struct Pair {
    now: Instant,
    ends: [Detector; 2],
    /// Whether what end 0 and end 1 send arrives.
    passes: [bool; 2],
}

impl Pair {
    fn new() -> Self {
        let now = Instant::from_millis(1_000);
        Self {
            now,
            ends: [Detector::new(now, timing()), Detector::new(now, timing())],
            passes: [true; 2],
        }
    }

    fn run(&mut self, time: Duration) {
        let end = self.now + time;
        while self.now < end {
            for me in 0..2 {
                if let Some(heartbeat) = self.ends[me].heartbeat(self.now)
                    && self.passes[me]
                {
                    self.ends[1 - me].heard(self.now, &heartbeat);
                }
            }
            self.now += MS;
            self.ends.iter_mut().for_each(|end| end.expire(self.now));
        }
    }

    fn up(&self) -> [bool; 2] {
        [self.ends[0].is_up(), self.ends[1].is_up()]
    }

    /// A failure, and how long it takes until both are up again.
    fn flap(&mut self) -> Duration {
        self.passes = [false; 2];
        self.run(MS * 40);
        assert_eq!(self.up(), [false; 2]);
        self.passes = [true; 2];
        let start = self.now;
        while self.up() != [true; 2] {
            self.run(MS);
            assert!(self.now.since(start) < MS * 5_000);
        }
        self.now.since(start)
    }
}

#[test]
fn up_when_both_hear_each_other() {
    let mut pair = Pair::new();
    pair.run(MS * 35);
    assert_eq!(pair.up(), [true; 2]);
    let mut deaf = Pair::new();
    deaf.passes = [true, false];
    deaf.run(MS * 200);
    assert_eq!(deaf.up(), [false; 2]);
}

#[test]
fn down_after_three_missing_heartbeats_and_not_before() {
    let mut pair = Pair::new();
    pair.run(MS * 100);
    pair.passes = [false; 2];
    // The last one was 10 ms ago.
    pair.run(MS * 19);
    assert_eq!(pair.up(), [true; 2]);
    pair.run(MS);
    assert_eq!(pair.up(), [false; 2]);
}

#[test]
fn one_direction_lost_takes_both_ends_down() {
    let mut pair = Pair::new();
    pair.run(MS * 100);
    pair.passes = [true, false];
    pair.run(MS * 45);
    assert_eq!(pair.up(), [false; 2]);
}

#[test]
fn the_slower_end_sets_the_time() {
    let mut detector = Detector::new(Instant::ZERO, timing());
    let slow = Heartbeat {
        sent: Instant::ZERO,
        interval_us: 50_000,
        multiplier: 4,
        session: Session::Init,
        echo: None,
    };
    detector.heard(Instant::ZERO, &slow);
    for ms in 0..=200 {
        let now = Instant::from_millis(ms);
        detector.heartbeat(now);
        detector.expire(now);
        assert_eq!(detector.is_up(), ms < 200, "after {ms} ms");
    }
}

#[test]
fn each_failure_holds_down_longer_until_it_worked_for_long() {
    let mut pair = Pair::new();
    pair.run(MS * 100);
    let (first, second, third) = (pair.flap(), pair.flap(), pair.flap());
    assert!(
        first < second && second < third,
        "{first:?} {second:?} {third:?}"
    );
    pair.run(MS * 10_000);
    assert!(pair.flap() <= first + MS * 20);
}

#[test]
fn an_overtaken_heartbeat_does_not_turn_the_session_back() {
    let mut pair = Pair::new();
    let old = pair.ends[1].heartbeat(pair.now).unwrap();
    assert_eq!(old.session, Session::Down);
    pair.run(MS * 100);
    pair.ends[0].heard(pair.now, &old);
    assert!(pair.ends[0].is_up());
}

#[test]
fn an_echo_that_makes_no_sense_gives_no_sample() {
    let now = Instant::from_millis(100);
    let echo = |sent, held| Echo {
        sent: Instant::from_millis(sent),
        held: MS * held,
    };
    assert!(
        clock_sample(now, now, echo(101, 0)).is_none(),
        "sent in the future"
    );
    assert!(
        clock_sample(now, now, echo(90, 11)).is_none(),
        "held for longer than it was away"
    );
    assert!(clock_sample(now, Instant::FAR_FUTURE, echo(90, 4)).is_none());
    let sample = clock_sample(now, Instant::from_millis(597), echo(90, 4)).unwrap();
    assert_eq!(sample.offset_ns, 500_000_000);
    assert_eq!(sample.round_trip, MS * 6);
}

#[test]
fn who_stood_still_listens_before_it_takes_others_for_dead() {
    for silent in [false, true] {
        let mut pair = Pair::new();
        pair.run(MS * 35);
        pair.passes[1] = !silent;
        // Both, as on a machine that carries both: nobody said anything meanwhile.
        pair.now += MS * 300;
        pair.ends.iter_mut().for_each(|end| end.expire(pair.now));
        assert_eq!(pair.up(), [true; 2]);
        pair.run(MS * 35);
        assert_eq!(pair.ends[0].is_up(), !silent, "no longer than otherwise");
    }
}
