//! Random lives of a pair of servers: every seed a small world with one trouble after the other.
//!
//! `OUTLIVE_LIVES=5000 cargo test --release -p outlive-tests --test failover_lives -- many` lives as many;
//! `OUTLIVE_FIRST_SEED` says where to begin. A seed that fails prints the command that replays it; with
//! `OUTLIVE_TRACE=1` that prints every frame.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use outlive_tests::simulation::failover::life::{Stats, live};

const DEFAULT_LIVES: u64 = 100;

fn from_environment(name: &str, default: u64) -> u64 {
    match std::env::var(name) {
        Ok(text) => text
            .parse()
            .unwrap_or_else(|_| panic!("{name} is not a number: {text}")),
        Err(_) => default,
    }
}

/// A life, or what went wrong in it and how to see it again.
fn attempt(seed: u64) -> Result<Stats, String> {
    let replay = format!(
        "OUTLIVE_SEED={seed} cargo test -p outlive-tests --test failover_lives -- one_seed --nocapture"
    );
    match catch_unwind(AssertUnwindSafe(|| live(seed))) {
        Ok(Ok(stats)) => Ok(stats),
        Ok(Err(violation)) => Err(format!("seed {seed}: {violation}\n  replay: {replay}")),
        Err(panic) => {
            let what = panic
                .downcast_ref::<String>()
                .map(String::as_str)
                .or_else(|| panic.downcast_ref::<&str>().copied())
                .unwrap_or("?");
            Err(format!("seed {seed}: panic: {what}\n  replay: {replay}"))
        }
    }
}

#[test]
fn many() {
    let lives = from_environment("OUTLIVE_LIVES", DEFAULT_LIVES);
    let tolerated = from_environment("OUTLIVE_FAILURES", 1) as usize;
    let first = from_environment("OUTLIVE_FIRST_SEED", 0);
    let next = AtomicU64::new(first);
    let (total, failures) = (Mutex::new(Stats::default()), Mutex::new(Vec::new()));
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                loop {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    let failed = failures.lock().expect("no panic under the lock").len();
                    if seed >= first + lives || failed >= tolerated {
                        return;
                    }
                    match attempt(seed) {
                        Ok(stats) => total.lock().expect("no panic under the lock").add(&stats),
                        Err(failure) => {
                            eprintln!("{failure}");
                            failures
                                .lock()
                                .expect("no panic under the lock")
                                .push(failure);
                        }
                    }
                }
            });
        }
    });
    let stats = total.into_inner().expect("no panic under the lock");
    let failures = failures.into_inner().expect("no panic under the lock");
    println!("{stats:?}");
    assert!(failures.is_empty(), "{}", failures.join("\n"));
    // Lives in which nothing happens to anybody would prove little.
    assert!(stats.takeovers * 3 > lives && stats.disturbed > lives);
    assert!(stats.acks_checked > lives * 10);
}

#[test]
fn one_seed() {
    let seed = from_environment("OUTLIVE_SEED", 1);
    match attempt(seed) {
        Ok(stats) => println!("{stats:?}"),
        Err(failure) => panic!("{failure}"),
    }
}

#[test]
fn the_same_seed_gives_the_same_life() {
    for seed in 1..4 {
        assert_eq!(live(seed), live(seed), "seed {seed}");
    }
}
