//! Joins two devices in memory through two impaired links, in virtual time.

use bytes::Bytes;

use crate::device::Medium;
use crate::frame::RxFrame;
use crate::impairment::{Impairment, Link};
use crate::memory::Port;
use crate::segment::cut_transmitted;
use crate::time::Instant;

/// A cable between two ports. What a stack left to the device is done here: the links carry frames that
/// are cut and complete, as a real wire does.
pub struct Wire {
    medium: Medium,
    ports: [Port; 2],
    /// From the first port to the second, and back.
    links: [Link; 2],
    frames: Vec<Bytes>,
}

impl Wire {
    /// Joins `a` and `b`; the links draw from independent streams of `seed`.
    #[must_use]
    pub fn join(
        a: Port,
        b: Port,
        medium: Medium,
        a_to_b: Impairment,
        b_to_a: Impairment,
        seed: u64,
    ) -> Self {
        let mut random = crate::random::Random::from_seed(seed);
        let links =
            [a_to_b, b_to_a].map(|impairment| Link::new(impairment, medium, random.next_u64()));
        Self {
            medium,
            ports: [a, b],
            links,
            frames: Vec::new(),
        }
    }

    /// The links, to change or to ask: from the first port to the second, and back.
    pub const fn links(&mut self) -> &mut [Link; 2] {
        &mut self.links
    }

    /// Takes what the devices transmitted and delivers what has arrived by `now`. Returns how many frames
    /// were delivered.
    pub fn poll(&mut self, now: Instant) -> usize {
        for (port, link) in self.ports.iter().zip(&mut self.links) {
            while let Some(frame) = port.take() {
                cut_transmitted(&frame, self.medium, &mut self.frames);
                for wire_frame in self.frames.drain(..) {
                    link.offer(now, wire_frame);
                }
            }
        }
        let mut delivered = 0;
        for (link, port) in self.links.iter_mut().zip(self.ports.iter().rev()) {
            link.poll(now, &mut self.frames);
            for data in self.frames.drain(..) {
                let frame = RxFrame {
                    data,
                    ..RxFrame::default()
                };
                // A receiver that does not fetch its frames loses them, as a full ring does.
                delivered += usize::from(port.deliver(frame).is_ok());
            }
        }
        delivered
    }

    /// When the next frame arrives at either end.
    #[must_use]
    pub fn next_deadline(&self) -> Option<Instant> {
        self.links.iter().filter_map(Link::next_deadline).min()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::device::Capabilities;
    use crate::frame::TxFrame;
    use crate::memory::Options;
    use std::collections::VecDeque;
    use std::time::Duration;

    #[test]
    fn frames_cross_in_both_directions_after_their_delay() {
        let open = |last| {
            Options::new(Capabilities::plain_ethernet([2, 0, 0, 0, 0, last], 1500))
                .open()
                .unwrap()
        };
        let ((mut a, port_a), (mut b, port_b)) = (open(1), open(2));
        let slow = |ms| Impairment {
            delay: Duration::from_millis(ms),
            ..Impairment::default()
        };
        let mut wire = Wire::join(port_a, port_b, Medium::Ethernet, slow(5), slow(7), 0);
        let frame = |text: &'static [u8]| {
            let mut frame = TxFrame::default();
            frame.payload.push(Bytes::from_static(text));
            VecDeque::from([frame])
        };
        a.queues[0]
            .transmit
            .transmit(&mut frame(b"from a"))
            .unwrap();
        b.queues[0]
            .transmit
            .transmit(&mut frame(b"from b"))
            .unwrap();
        assert_eq!(wire.poll(Instant::ZERO), 0);
        assert_eq!(wire.next_deadline(), Some(Instant::from_millis(5)));
        assert_eq!(wire.poll(Instant::from_millis(5)), 1);
        assert_eq!(wire.next_deadline(), Some(Instant::from_millis(7)));
        assert_eq!(wire.poll(Instant::from_millis(7)), 1);
        let mut into = Vec::new();
        b.queues[0].receive.receive(&mut into, 9).unwrap();
        a.queues[0].receive.receive(&mut into, 9).unwrap();
        assert_eq!(
            (&into[0].data[..], &into[1].data[..]),
            (&b"from a"[..], &b"from b"[..])
        );
    }
}
