//! Network namespaces for tests, and the least of a peer for the kernel's stack.
#![allow(dead_code, reason = "each test program uses a part of it")]

pub(crate) mod peer;

use std::process::Command;

use nix::sched::{CloneFlags, unshare};

const INSIDE: &str = "OUTLIVE_TEST_INSIDE_NAMESPACE";

/// Runs `body` in a network namespace of its own, which vanishes with it: on a thread with its own
/// namespace for root, else by running this one test again inside `unshare -Urnm`.
pub(crate) fn in_namespace(test: &str, body: fn()) {
    if std::env::var_os(INSIDE).is_some() {
        return body();
    }
    #[expect(clippy::disallowed_methods, reason = "a namespace belongs to a thread")]
    let thread = std::thread::spawn(move || unshare(CloneFlags::CLONE_NEWNET).map(|()| body()));
    match thread.join() {
        Ok(Ok(())) => {}
        Ok(Err(nix::Error::EPERM)) => again_as_root_of_a_namespace(test),
        Ok(Err(error)) => panic!("no network namespace: {error}"),
        Err(panic) => std::panic::resume_unwind(panic),
    }
}

/// True where [`in_namespace`] had to make a user namespace.
pub(crate) fn is_in_user_namespace() -> bool {
    std::env::var_os(INSIDE).is_some()
}

fn again_as_root_of_a_namespace(test: &str) {
    let program = std::env::current_exe().expect("the test program has a path");
    let status = Command::new("unshare")
        .args(["-Urnm", "--"])
        .arg(program)
        .args(["--exact", test, "--nocapture", "--test-threads=1"])
        .env(INSIDE, "1")
        .status()
        .expect("unshare(1) is installed");
    assert!(
        status.success(),
        "needs root, or user namespaces and access to /dev/net/tun"
    );
}

/// Runs ip(8) with arguments separated by blanks.
pub(crate) fn ip(arguments: &str) {
    let status = Command::new("ip")
        .args(arguments.split(' '))
        .status()
        .expect("ip(8) is installed");
    assert!(status.success(), "ip {arguments}");
}
