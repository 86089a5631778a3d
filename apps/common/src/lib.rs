//! What the servers of the Outlive stack share: the network options of the command line, opening a
//! device and starting a stack on it, logs, signals, and the summary of counters at the end.

mod conflict;
mod host;
mod lease;
mod logs;
mod open;
mod options;
mod parse;
mod signals;
mod summary;

pub use logs::{Logs, start_logs};
pub use open::{Network, open, open_shared};
pub use options::{Congestion, Device, NetworkOptions, StackKind, Topology};
pub use parse::{Cidr, Mac};
pub use signals::StopSignals;
pub use summary::print_summary;
