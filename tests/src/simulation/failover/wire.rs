//! One direction of a cable between a host and the switch.

use std::collections::VecDeque;
use std::time::Duration;

use outlive_driver::impairment::{Impairment, Link};
use outlive_driver::{Instant, Medium, RxFrame};

/// What a frame meets on its way.
pub(super) enum Wire {
    /// Everything that a bad link does, to whole frames.
    Impaired { link: Box<Link>, cut: bool },
    /// A delay and nothing else: large segments and unfinished checksums stay as they are, as over veth.
    Fused {
        delay: Duration,
        queue: VecDeque<(Instant, RxFrame)>,
        cut: bool,
    },
}

impl Wire {
    pub(super) fn impaired(impairment: &Impairment, seed: u64) -> Self {
        let link = Link::new(impairment.clone(), Medium::Ethernet, seed);
        Self::Impaired {
            link: Box::new(link),
            cut: false,
        }
    }

    pub(super) const fn fused(delay: Duration) -> Self {
        Self::Fused {
            delay,
            queue: VecDeque::new(),
            cut: false,
        }
    }

    /// Nothing enters it any more, or everything does again.
    pub(super) fn set_cut(&mut self, on: bool) {
        match self {
            Self::Impaired { cut, .. } | Self::Fused { cut, .. } => *cut = on,
        }
    }

    pub(super) fn set_impairment(&mut self, impairment: &Impairment) {
        match self {
            Self::Impaired { link, .. } => link.set(impairment.clone()),
            Self::Fused { .. } => {}
        }
    }

    pub(super) fn offer(&mut self, now: Instant, frame: RxFrame) {
        match self {
            Self::Impaired { cut: true, .. } | Self::Fused { cut: true, .. } => {}
            Self::Impaired { link, .. } => link.offer(now, frame.data),
            Self::Fused { delay, queue, .. } => queue.push_back((now + *delay, frame)),
        }
    }

    pub(super) fn poll(&mut self, now: Instant, out: &mut Vec<RxFrame>) {
        match self {
            Self::Impaired { link, .. } => {
                let mut arrived = Vec::new();
                link.poll(now, &mut arrived);
                out.extend(arrived.into_iter().map(|data| RxFrame {
                    data,
                    ..RxFrame::default()
                }));
            }
            Self::Fused { queue, .. } => {
                while queue.front().is_some_and(|&(at, _)| at <= now) {
                    out.extend(queue.pop_front().map(|(_, frame)| frame));
                }
            }
        }
    }

    pub(super) fn next_deadline(&self) -> Option<Instant> {
        match self {
            Self::Impaired { link, .. } => link.next_deadline(),
            Self::Fused { queue, .. } => queue.front().map(|&(at, _)| at),
        }
    }
}
