//! Ctrl-C and SIGTERM: the first asks for an orderly end, the second ends at once.

use std::io;

use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

/// Waits for the signals that end a server. Make it before anything that must be closed properly.
pub struct StopSignals {
    signals: Signals,
}

impl StopSignals {
    /// Takes the signals over from their default, which ends the process at once.
    ///
    /// # Errors
    /// When the operating system refuses.
    pub fn new() -> io::Result<Self> {
        Ok(Self {
            signals: Signals::new([SIGINT, SIGTERM])?,
        })
    }

    /// Blocks until the first signal. From then on the next one exits the process with code 130.
    pub fn wait(mut self) {
        self.signals.forever().next();
        #[expect(
            clippy::disallowed_methods,
            reason = "waits for a signal while the server closes"
        )]
        std::thread::spawn(move || {
            self.signals.forever().next();
            std::process::exit(130);
        });
    }
}
