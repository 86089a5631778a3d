//! Logs on standard error: `-v` for more, `RUST_LOG` for exactly what is asked.

use std::io::IsTerminal;

use tracing_subscriber::EnvFilter;

/// Starts logging: warnings by default, one level more for each `-v`. `RUST_LOG` overrides.
pub fn start_logs(verbosity: u8) {
    let level = match verbosity {
        0 => "warn",
        1 => "info",
        2 => "debug",
        _ => "trace",
    };
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new(level));
    let colours = std::io::stderr().is_terminal();
    let logs = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_ansi(colours)
        .with_writer(std::io::stderr);
    // Fails only if a subscriber is set already, as in tests: then that one is wanted.
    let _ = logs.try_init();
}
