//! What the link does to frames, as options of the command.

use clap::Args;
use outlive_driver::impairment::{Impairment, Rate};

use crate::quantity::{BitsPerSecond, Chance, Span};

/// Options of `outlive relay`.
#[derive(Args, Debug)]
pub struct RelayOptions {
    /// One TAP interface; created if it does not exist
    #[arg(long, value_name = "NAME")]
    pub(crate) left: String,

    /// The other
    #[arg(long, value_name = "NAME")]
    pub(crate) right: String,

    /// Largest IP datagram, in bytes; larger ones are dropped in silence [default: the interfaces']
    #[arg(long, value_name = "BYTES", value_parser = clap::value_parser!(u16).range(68..))]
    pub(crate) mtu: Option<u16>,

    /// Frames that are lost, each way
    #[arg(long, value_name = "PERCENT", default_value = "0%")]
    loss: Chance,

    /// Frames that arrive twice
    #[arg(long, value_name = "PERCENT", default_value = "0%")]
    duplicate: Chance,

    /// Frames that are held back, so that later ones overtake them
    #[arg(long, value_name = "PERCENT", default_value = "0%")]
    reorder: Chance,

    /// How long they are held back
    #[arg(long, value_name = "TIME", default_value = "1ms")]
    reorder_delay: Span,

    /// Frames in which a bit is flipped
    #[arg(long, value_name = "PERCENT", default_value = "0%")]
    corrupt: Chance,

    /// How long every frame takes, one way
    #[arg(long, value_name = "TIME", default_value = "0ms")]
    delay: Span,

    /// Up to this much longer, drifting at random
    #[arg(long, value_name = "TIME", default_value = "0ms")]
    jitter: Span,

    /// Speed of the bottleneck [default: none]
    #[arg(long, value_name = "BITS_PER_SECOND")]
    rate: Option<BitsPerSecond>,

    /// Frames that wait in front of the bottleneck
    #[arg(long, value_name = "FRAMES", default_value_t = 100)]
    queue: usize,

    /// Impair only what goes from left to right
    #[arg(long)]
    pub(crate) one_way: bool,

    /// The same seed and the same frames meet the same fate
    #[arg(long, value_name = "NUMBER", default_value_t = 1)]
    pub(crate) seed: u64,
}

impl RelayOptions {
    /// One direction of the link.
    pub(crate) fn impairment(&self) -> Impairment {
        Impairment {
            loss: self.loss.0,
            duplicate: self.duplicate.0,
            reorder: self.reorder.0,
            reorder_delay: self.reorder_delay.0,
            corrupt: self.corrupt.0,
            delay: self.delay.0,
            jitter: self.jitter.0,
            rate: self.rate.map(|rate| Rate {
                bits_per_second: rate.0,
                queue_frames: self.queue,
                queue_bytes: usize::MAX,
            }),
            mtu: self.mtu.map(usize::from),
            burst: None,
        }
    }
}
