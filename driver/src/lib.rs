//! Frames in and out of Linux.
//!
//! One file per kind of device behind two small traits, [`Receive`] and [`Transmit`], that move
//! *batches* of frames. The frame types carry what the hardware or the kernel knows or is to do about
//! them (checksum state, segment size); nothing here knows a protocol above Ethernet.
//!
//! Lowest of all live what the stack re-exports: [`Instant`] and [`Random`], which it takes as arguments
//! everywhere, and the Internet [`checksum`], which captures and wires in memory need as well.

mod block;
pub mod checksum;
mod complete;
mod counters;
pub mod device;
mod error;
pub mod frame;
mod gather;
pub mod impairment;
pub mod memory;
mod netdev;
mod netlink;
pub mod packet_socket;
pub mod pcap;
pub mod random;
pub mod relay;
pub mod segment;
pub mod time;
pub mod tuntap;
pub mod vnet;
pub mod wire;

pub use counters::{DeviceCounters, DeviceTotals};
pub use device::{Capabilities, Interface, Medium, Queue, Receive, Transmit};
pub use error::OpenError;
pub use frame::{
    Checksum, Head, PartialChecksum, RxChecksum, RxFrame, Segmentation, SegmentationKind, TxFrame,
};
pub use random::Random;
pub use time::Instant;
