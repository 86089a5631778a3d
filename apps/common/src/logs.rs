//! Logs on standard error: `-v` for more, `RUST_LOG` for exactly what is asked.
//!
//! They are written by a thread of their own. Whoever has something to say never waits for a terminal, a disk, or another
//! thread that is writing: a heartbeat that is late because of its own log looks like a dead host.

use std::io::{IsTerminal, Write};

use tracing_appender::non_blocking::{NonBlocking, NonBlockingBuilder, WorkerGuard};
use tracing_subscriber::EnvFilter;

/// Lines that may wait to be written; what comes beyond is left out.
const MOST_WAITING_LINES: usize = 1 << 16;

/// As long as this is there, logs are written; what waits is written when it goes.
#[must_use = "logs end with it"]
pub struct Logs {
    _writer: WorkerGuard,
}

/// Starts logging: warnings by default, one level more for each `-v`. `RUST_LOG` overrides.
pub fn start_logs(verbosity: u8) -> Logs {
    let level = match verbosity {
        0 => "warn",
        1 => "info",
        2 => "debug",
        _ => "trace",
    };
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new(level));
    let colours = std::io::stderr().is_terminal();
    let (lines, written) = write_to(std::io::stderr());
    let logs = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_ansi(colours)
        .with_writer(lines);
    // Fails only if a subscriber is set already, as in tests: then that one is wanted.
    let _ = logs.try_init();
    written
}

/// What takes lines without waiting, and the thread that writes them to `end`.
fn write_to(end: impl Write + Send + 'static) -> (NonBlocking, Logs) {
    let (lines, writer) = NonBlockingBuilder::default()
        .buffered_lines_limit(MOST_WAITING_LINES)
        .lossy(true)
        .thread_name("logs")
        .finish(end);
    (lines, Logs { _writer: writer })
}

#[cfg(test)]
mod tests {
    use std::io;
    use std::sync::mpsc::{Receiver, SyncSender, sync_channel};

    use super::*;

    /// Writes nothing until it is allowed to, and says what it wrote.
    struct Disk {
        may_write: Receiver<()>,
        allowed: bool,
        wrote: SyncSender<Vec<u8>>,
    }

    impl Write for Disk {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            if !self.allowed {
                self.may_write.recv().map_err(io::Error::other)?;
                self.allowed = true;
            }
            self.wrote.send(bytes.to_vec()).map_err(io::Error::other)?;
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn who_logs_does_not_wait_for_a_disk_and_what_fits_is_written_in_order() {
        let (allow, may_write) = sync_channel(1);
        let (wrote, written) = sync_channel(2 * MOST_WAITING_LINES);
        let disk = Disk {
            may_write,
            allowed: false,
            wrote,
        };
        let (mut lines, logs) = write_to(disk);
        // Far more than may wait, and nobody writes: this returns all the same.
        let sent = MOST_WAITING_LINES + 1000;
        for line in 0..sent {
            lines.write_all(&line.to_be_bytes()).unwrap();
        }
        allow.send(()).unwrap();
        for line in 0..MOST_WAITING_LINES {
            assert_eq!(written.recv().unwrap(), line.to_be_bytes());
        }
        drop(logs);
        assert!(written.try_iter().count() < sent - MOST_WAITING_LINES);
    }
}
