//! The sandbox of the namespace tests itself: it isolates, bounds and leaves nothing behind.

use std::time::{Duration, Instant};

use outlive_tests::netns::{Finished, Sandbox};

#[test]
fn a_sandbox_has_no_network_but_its_own() {
    let sandbox = Sandbox::new();
    assert_eq!(
        sandbox
            .shell("ls /sys/class/net | wc -l; ip -o link | wc -l")
            .lines()
            .last(),
        Some("1")
    );
}

#[test]
fn a_program_that_hangs_is_ended() {
    #[expect(clippy::disallowed_methods, reason = "the test measures real time")]
    let start = Instant::now();
    let sandbox = Sandbox::new();
    let mut hang = sandbox.command(1, "sleep");
    hang.arg("1000");
    assert_eq!(Finished::of(hang).status.code(), Some(124));
    assert!(start.elapsed() < Duration::from_secs(20));
}

#[test]
fn nothing_is_left_when_a_test_panics() {
    // Tests of another tree may run beside.
    let seconds = format!("98765.{}", std::process::id());
    let result = std::panic::catch_unwind(|| {
        let sandbox = Sandbox::new();
        let netns = sandbox.netns("client");
        let folder = sandbox.folder().to_owned();
        netns.shell(&format!("sleep {seconds} > /dev/null 2>&1 &"));
        std::panic::resume_unwind(Box::new(folder));
    });
    let folder = result.expect_err("it panics");
    let folder = folder.downcast::<std::path::PathBuf>().expect("the folder");
    assert!(!folder.exists(), "{} is left", folder.display());
    // The kernel has ended every process of the sandbox when its first one could be waited for.
    let processes = std::fs::read_dir("/proc").expect("/proc is readable");
    let left = processes.flatten().filter(|process| {
        std::fs::read(process.path().join("cmdline"))
            .is_ok_and(|line| String::from_utf8_lossy(&line).contains(&seconds))
    });
    assert_eq!(left.count(), 0);
}
