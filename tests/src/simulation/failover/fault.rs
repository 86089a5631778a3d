//! What may happen to hosts and networks, and when.

use std::time::Duration;

use outlive_driver::Instant;

/// Which part of what a host sent in its last turn still leaves when it dies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Keep {
    /// It dies before its last turn's output leaves.
    Nothing,
    /// Only frames to clients.
    Frames,
    /// Only messages to the replicas.
    Messages,
    /// All.
    All,
}

impl Keep {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Nothing, Self::Frames, Self::Messages, Self::All];
}

/// One thing that happens. Hosts are given by their number in the world.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// The process ends (`kill -9`): its state is gone, its kernel closes its channels.
    Kill(usize, Keep),
    /// The power fails: the same, but nobody says so.
    PowerOff(usize, Keep),
    /// A process begins with nothing but its stable storage.
    Start(usize),
    /// The process stands still (`SIGSTOP`), for so long.
    Stop(usize, Duration),
    /// The whole host stands still, its kernel as well. With `late`, a batch of frames had passed the check for
    /// permission and leaves when the host goes on.
    Pause {
        /// The host.
        host: usize,
        /// How long.
        time: Duration,
        /// A batch leaves late.
        late: bool,
    },
    /// Cuts (or mends) one direction of a path between two replicas: 0 is the replication network.
    Path {
        /// The host that sends.
        from: usize,
        /// The host that receives.
        to: usize,
        /// The path.
        path: u8,
        /// True to cut.
        cut: bool,
    },
    /// Cuts what a host sends to the service network, what it gets from there, or mends it.
    Service {
        /// The host.
        host: usize,
        /// What it sends is lost.
        up: bool,
        /// What it is sent is lost.
        down: bool,
    },
    /// An operator asks for a planned handover.
    HandOver(usize),
}

/// When.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum When {
    /// In the turn of that number of that host; only turns with frames or ordered messages count.
    Turn(usize, u64),
    /// At that time of the world.
    At(Instant),
}
