//! Running the command that switches the other host off.
//!
//! Exit status 0 is the confirmation; everything else, and no end in time, is none. The command learns from its
//! environment whom it is about: `OUTLIVE_FENCE_HOST` is the number, `OUTLIVE_FENCE_ADDRESS` the first path's
//! address.

#![allow(
    clippy::disallowed_methods,
    reason = "waits for a process, on a thread of its own"
)]

use std::net::SocketAddr;
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};
use std::sync::mpsc::channel;

use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;

use crate::config::Fence;
use crate::id::HostId;

/// Runs the command for `host` to its end; true if the host is off.
#[must_use]
pub fn run(fence: &Fence, host: HostId, address: SocketAddr) -> bool {
    let Some((program, arguments)) = fence.command.split_first() else {
        return false;
    };
    let mut command = Command::new(program);
    command
        .args(arguments)
        .env("OUTLIVE_FENCE_HOST", host.0.to_string())
        .env("OUTLIVE_FENCE_ADDRESS", address.ip().to_string())
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        // With its children, so that all of it ends at the time-out.
        .process_group(0);
    let mut child = match command.spawn() {
        Ok(child) => child,
        Err(error) => {
            tracing::error!(%host, program, %error, "the fence command cannot be started: check arbitration.fence_command");
            return false;
        }
    };
    let group = i32::try_from(child.id()).map(Pid::from_raw);
    let (ended, end) = channel();
    std::thread::spawn(move || {
        let _ = ended.send(child.wait());
    });
    match end.recv_timeout(fence.timeout) {
        Ok(Ok(status)) if status.success() => {
            tracing::warn!(%host, "fenced: the host is switched off");
            true
        }
        Ok(Ok(status)) => {
            tracing::error!(%host, %status, "the fence command failed: the host may be alive");
            false
        }
        Ok(Err(error)) => {
            tracing::error!(%host, %error, "the fence command is lost");
            false
        }
        Err(_) => {
            tracing::error!(%host, timeout = ?fence.timeout, "the fence command takes too long: the host may be alive");
            if let Ok(group) = group {
                let _ = killpg(group, Signal::SIGKILL);
            }
            false
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use super::*;

    fn fence(script: &str, timeout_ms: u64) -> bool {
        let fence = Fence {
            command: ["bash", "-c", script].map(String::from).to_vec(),
            timeout: Duration::from_millis(timeout_ms),
            delay: Duration::ZERO,
            retry: Duration::from_secs(1),
        };
        run(&fence, HostId(1), ([10, 88, 0, 2], 7700).into())
    }

    #[test]
    fn only_exit_status_0_is_a_confirmation() {
        assert!(fence("exit 0", 10_000));
        assert!(!fence("exit 1", 10_000));
        assert!(!fence("kill -9 $$", 10_000));
    }

    #[test]
    fn the_command_knows_whom_it_is_about() {
        let script = "[ $OUTLIVE_FENCE_HOST = 1 ] && [ $OUTLIVE_FENCE_ADDRESS = 10.88.0.2 ]";
        assert!(fence(script, 10_000));
    }

    #[test]
    fn a_command_that_does_not_end_is_no_confirmation_and_is_ended() {
        let folder = tempfile::tempdir().unwrap();
        let alive = folder.path().join("alive");
        let script = format!("sleep 30; echo > {}", alive.display());
        let start = Instant::now();
        assert!(!fence(&script, 100));
        assert!(start.elapsed() < Duration::from_secs(20));
        assert!(!alive.exists());
    }

    #[test]
    fn a_command_that_is_not_there_is_no_confirmation() {
        let fence = Fence {
            command: vec!["/nonexistent/fence".into()],
            timeout: Duration::from_secs(10),
            delay: Duration::ZERO,
            retry: Duration::from_secs(1),
        };
        assert!(!run(&fence, HostId(1), ([10, 88, 0, 2], 7700).into()));
    }
}
