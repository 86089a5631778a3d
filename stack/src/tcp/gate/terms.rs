//! What is kept of a connection elsewhere.

/// What is kept of a connection elsewhere, the same on all hosts; follows from the listener's choice.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Terms {
    /// Most input that is kept since the last point, in bytes.
    pub log_bytes: u32,
    /// When that is full, the application on the other host takes the input as it comes.
    pub hot: Hot,
    /// Output is kept too, until it is acknowledged.
    pub mirror: bool,
}

/// When the application on the other host follows along.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Hot {
    /// Never: a connection whose log is full is unprotected until its next point.
    Never,
    /// Once the log is full.
    #[default]
    WhenFull,
    /// From the start.
    Always,
}

impl Default for Terms {
    fn default() -> Self {
        Self {
            log_bytes: 64 << 10,
            hot: Hot::default(),
            mirror: false,
        }
    }
}
