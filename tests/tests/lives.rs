//! Connection lives with faults: every seed a small world, every life held against the oracles.
//!
//! `OUTLIVE_LIVES=100000 cargo test --release -p outlive-tests --test lives -- many` runs as many
//! connections; `OUTLIVE_FIRST_SEED` says where to begin. A seed that fails prints the command that
//! replays it; with `OUTLIVE_TRACE=1` that prints every frame.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use outlive_tests::simulation::life::{Stats, live};

const DEFAULT_LIVES: u64 = 2_000;

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
        "OUTLIVE_SEED={seed} cargo test -p outlive-tests --test lives -- one_seed --nocapture"
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
    let wanted = from_environment("OUTLIVE_LIVES", DEFAULT_LIVES);
    let tolerated = from_environment("OUTLIVE_FAILURES", 1);
    let next = AtomicU64::new(from_environment("OUTLIVE_FIRST_SEED", 0));
    let (total, failures) = (Mutex::new(Stats::default()), Mutex::new(Vec::new()));
    let enough = AtomicBool::new(false);
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                while !enough.load(Ordering::Relaxed) {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    match attempt(seed) {
                        Ok(stats) => {
                            let mut total = total.lock().expect("no panic under the lock");
                            total.add(&stats);
                            enough.fetch_or(total.lives >= wanted, Ordering::Relaxed);
                        }
                        Err(failure) => {
                            let mut failures = failures.lock().expect("no panic under the lock");
                            eprintln!("{failure}");
                            failures.push(failure);
                            enough.fetch_or(failures.len() as u64 >= tolerated, Ordering::Relaxed);
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
    assert!(stats.lives >= wanted);
    // Lives without faults would prove little.
    assert!(stats.retransmissions > 0 && stats.broken_off > 0);
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
    for seed in 1..6 {
        assert_eq!(live(seed), live(seed), "seed {seed}");
    }
}
