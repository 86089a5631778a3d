//! The stack, on a wire that ends here: packets are raw IP datagrams.

use std::collections::VecDeque;

use bytes::Bytes;
use outlive::engine::{Config, StartError, Stepped};
use outlive::ip::{Cidr, Route};
use outlive::socket::Direct;
use outlive::time::Instant;
use outlive_driver::{Capabilities, Medium, RxFrame, TxFrame, memory, segment};

use crate::flags::Flags;
use crate::offloads;
use crate::sysctl::Sysctls;

/// Largest datagram that TSO hands over in one piece, and that a caller has room for.
const MAX_SEGMENTED_BYTES: usize = 65_535;

/// A stack in virtual time.
pub(crate) struct Network {
    stepped: Stepped,
    pub(crate) direct: Direct,
    /// What leaves in one piece is cut at the end of our way, as Linux does where the device cannot.
    cuts: bool,
}

impl Network {
    /// A stack with the addresses of `flags`, configured by the sysctls as they are now.
    pub(crate) fn new(flags: &Flags, sysctls: &Sysctls, now: Instant) -> Result<Self, StartError> {
        let capabilities = Capabilities {
            medium: Medium::Ip,
            mtu: flags.mtu,
            mac: None,
            tx_checksum: true,
            tso4: flags.tso,
            tso6: flags.tso,
            uso: false,
            max_segmented_bytes: if flags.tso {
                MAX_SEGMENTED_BYTES
            } else {
                flags.mtu
            },
        };
        let mut config = Config {
            tcp: sysctls.config(),
            seed: Some(flags.seed),
            ..Config::default()
        };
        let cidr = |&(address, length)| Cidr::new(address, length).ok();
        config.ip.addresses = flags.local.iter().filter_map(cidr).collect();
        // Everything else is on the wire, too.
        config.ip.routes = ["0.0.0.0/0", "::/0"]
            .into_iter()
            .filter_map(|network| network.parse().ok())
            .map(|destination| Route {
                destination,
                gateway: None,
                metric: 0,
            })
            .collect();
        let stepped = Stepped::new(&capabilities, config, now)?;
        let direct = Direct::new(stepped.stack());
        Ok(Self {
            stepped,
            direct,
            cuts: !offloads::in_pieces(),
        })
    }

    /// A packet from the wire.
    pub(crate) fn receive(&self, now: Instant, packet: &[u8]) {
        let frame = RxFrame {
            data: Bytes::copy_from_slice(packet),
            ..RxFrame::default()
        };
        self.stepped.receive(now, &mut vec![frame]);
    }

    /// Does what is due, and gives the packets that leave.
    pub(crate) fn poll(&self, now: Instant) -> impl Iterator<Item = Vec<u8>> + use<> {
        let mut frames = VecDeque::<TxFrame>::new();
        self.stepped.poll(now, &mut frames);
        let cuts = self.cuts;
        frames.into_iter().flat_map(move |frame| {
            if !cuts {
                return vec![memory::completed(&frame)];
            }
            let mut packets = Vec::new();
            segment::cut_transmitted(&frame, Medium::Ip, &mut packets);
            packets.into_iter().map(Vec::from).collect()
        })
    }

    pub(crate) fn next_deadline(&self) -> Option<Instant> {
        self.stepped.next_deadline()
    }
}
