//! The one thing in a response that is not a function of the request and the content.

use std::time::SystemTime;

/// Tells the date. A backup that has to repeat a response asks a log instead of the clock.
pub trait DateSource: Send + Sync {
    /// The date for the response that is about to be built.
    fn date(&self) -> SystemTime;
}

/// The operating system's clock.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemDate;

impl DateSource for SystemDate {
    #[expect(
        clippy::disallowed_methods,
        reason = "the Date field is the one logged input"
    )]
    fn date(&self) -> SystemTime {
        SystemTime::now()
    }
}

/// Always the same date: for tests and for replay.
#[derive(Clone, Copy, Debug)]
pub struct FixedDate(pub SystemTime);

impl DateSource for FixedDate {
    fn date(&self) -> SystemTime {
        self.0
    }
}
