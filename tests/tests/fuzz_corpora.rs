//! The fuzz targets as ordinary tests: what ever found something (`corpora/<target>/`), and random inputs of every length.

use std::fs;
use std::path::Path;

use outlive::random::Random;
use outlive_tests::fuzz::TARGETS;
use test_case::test_case;

/// Random inputs of one target.
const INPUTS: u64 = 2000;
const MOST_BYTES: u64 = 3000;

fn target(name: &str) -> fn(&[u8]) {
    let found = TARGETS.iter().find(|target| target.0 == name);
    found.expect("a target").1
}

#[test_case("parsers")]
#[test_case("frames")]
#[test_case("reassembly")]
#[test_case("receive_queue")]
#[test_case("connection")]
#[test_case("pair")]
#[test_case("host")]
fn random_inputs_find_nothing(name: &str) {
    let run = target(name);
    for seed in 0..INPUTS {
        let mut random = Random::from_seed(seed);
        let input: Vec<u8> = (0..random.below(MOST_BYTES))
            .map(|_| random.next_u32() as u8)
            .collect();
        let found = std::panic::catch_unwind(|| run(&input));
        assert!(found.is_ok(), "{name}: seed {seed}");
    }
}

#[test]
fn what_found_something_once_does_so_no_more() {
    let corpora = Path::new(env!("CARGO_MANIFEST_DIR")).join("corpora");
    for (name, run) in TARGETS {
        let Ok(folder) = fs::read_dir(corpora.join(name)) else {
            continue;
        };
        for entry in folder {
            let path = entry.expect("an entry").path();
            let input = fs::read(&path).expect("an input");
            let found = std::panic::catch_unwind(|| run(&input));
            assert!(found.is_ok(), "{}", path.display());
        }
    }
}
