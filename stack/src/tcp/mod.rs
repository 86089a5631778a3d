//! TCP (RFC 9293), one idea a file.
//!
//! Positions in a stream are 64-bit inside and become 32-bit sequence numbers only on the wire: position
//! 0 is the SYN, 1 the first byte of data, and position `p` is sequence number `iss + p` (mod 2^32).

mod accurate_ecn;
mod acknowledge;
mod adopt;
pub mod arrival;
mod arrival_syn_sent;
mod aside;
mod burst;
mod calls;
mod challenge_limit;
mod close;
pub mod config;
pub mod congestion;
pub mod connection;
mod cookies;
mod cuts;
pub mod delivery_rate;
mod detection;
mod dormant;
mod ecn;
mod emit;
pub mod error;
mod fast_open;
pub mod flight;
pub mod four_tuple;
pub mod gate;
pub mod info;
mod invariants;
pub mod islands;
pub mod isn;
mod keepalive;
pub mod landmarks;
pub mod limits;
pub mod listener;
mod listeners;
mod lost_flight;
mod memory;
mod mtu_probe;
mod mtu_search;
mod pacing;
pub mod parting;
mod persist;
mod ports;
mod pressure;
mod prr;
pub mod reader;
mod readiness;
mod receive;
pub mod receive_queue;
pub mod record;
mod recovery;
mod redeemed;
pub mod resume;
pub mod rtt;
mod send_buffer;
pub mod send_queue;
pub mod sequence;
pub mod settings;
pub mod shared;
pub mod snapshot;
#[cfg(test)]
mod stage_tests;
mod stamp;
pub mod state;
pub mod survival;
mod table;
mod tail_probe;
pub mod tcb;
#[cfg(test)]
mod tests;
mod time_wait;
mod timers;
mod transit;
mod transmit;
mod undo;
pub mod urgent;
mod user_timeout;
mod window_usage;
pub mod writer;

use std::sync::Arc;
use std::task::Waker;

use bytes::Bytes;
use smallvec::SmallVec;

pub use self::adopt::Adoption;
pub use self::arrival::Arrival;
pub use self::config::{Algorithm, Config, KeepAlive, ListenOptions, Secret, SocketOptions};
pub use self::connection::Connection;
pub use self::error::Error;
pub use self::four_tuple::FourTuple;
pub use self::info::Info;
pub use self::listener::Listener;
pub use self::reader::TcpReader;
pub use self::readiness::Readiness;
pub use self::settings::Parameters;
pub use self::shared::Tcp;
pub use self::state::State;
pub use self::tcb::{Hints, Tcb};
pub use self::writer::TcpWriter;
use crate::ip::TxDatagram;
use crate::time::Instant;
pub use crate::wire::tcp::{Flags, Options};

/// A received segment: header parsed, checksum verified. Several wire segments if they were merged.
#[derive(Clone, Debug, Default)]
pub struct Segment {
    /// Sequence number of the first octet (of the SYN, if set).
    pub seq: u32,
    /// Acknowledgement number; meaningful with [`Flags::ACK`].
    pub ack: u32,
    /// The flags.
    pub flags: Flags,
    /// AE, the ninth flag (RFC 9768 §3.1).
    pub ae: bool,
    /// The window field, unscaled.
    pub window: u16,
    /// The urgent pointer; meaningful with [`Flags::URG`].
    pub urgent: u16,
    /// The options understood.
    pub options: Options,
    /// The data.
    pub payload: Bytes,
    /// The two ECN bits of the IP header.
    pub ecn: u8,
    /// Data bytes per wire segment, if several were merged.
    pub segment_bytes: Option<u16>,
}

/// A segment to be sent; [`crate::packet`] puts it on the wire.
#[derive(Clone, Debug, Default)]
pub struct TxSegment {
    /// Sequence number.
    pub seq: u32,
    /// Acknowledgement number.
    pub ack: u32,
    /// The flags.
    pub flags: Flags,
    /// AE, the ninth flag.
    pub ae: bool,
    /// The window field, already scaled.
    pub window: u16,
    /// The urgent pointer.
    pub urgent: u16,
    /// Options to write.
    pub options: Options,
    /// The data, referred to and not copied.
    pub payload: SmallVec<[Bytes; 3]>,
    /// Data bytes per wire segment if the device is to cut this one.
    pub segment_bytes: Option<u16>,
    /// True for data (or SYN, FIN) that was sent before.
    pub retransmission: bool,
    /// The two ECN bits of the IP header (RFC 3168 §5): 0 for not-ECT, as control segments and
    /// retransmissions want it (§6.1.1, §6.1.5).
    pub ecn: u8,
}

/// What a reader or writer stage leaves for the engine to do, in this order: run the writers over
/// `output`, send `datagrams`, start `timers`, wake `wakers`.
#[derive(Debug)]
pub struct Outcome<Connection> {
    /// Datagrams ready for the IP writer.
    pub datagrams: Vec<TxDatagram>,
    /// Connections for which the TCP writer has to look for something to send.
    pub output: Vec<Arc<Connection>>,
    /// When the TCP writer has to look at a connection again.
    pub timers: Vec<(Instant, Arc<Connection>)>,
    /// Tasks that can go on; woken after all locks are released.
    pub wakers: Vec<Waker>,
}

impl<Connection> Default for Outcome<Connection> {
    fn default() -> Self {
        Self {
            datagrams: Vec::new(),
            output: Vec::new(),
            timers: Vec::new(),
            wakers: Vec::new(),
        }
    }
}
