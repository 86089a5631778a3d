//! The witness: a voter that keeps nothing else.

use outlive::replication::membership::{Membership, Output as Wish, PathId};
use outlive::replication::message::Message;
use outlive::replication::view::HostId;
use outlive_driver::Instant;

use super::channels::{Arrival, Lane};
use super::machine::{Input, Machine, Output};
use super::replica::Disk;

/// The third voter.
pub struct Witness {
    membership: Membership,
    disk: Disk,
    wishes: Vec<Wish>,
}

impl Witness {
    /// With what its disk remembers.
    #[must_use]
    pub fn new(membership: Membership, disk: &Disk) -> Self {
        Self {
            membership,
            disk: disk.clone(),
            wishes: Vec::new(),
        }
    }

    /// Does what the membership wants, in its order.
    fn fulfil(&mut self, out: &mut Output) {
        for wish in self.wishes.drain(..) {
            match wish {
                Wish::Persist(durable) => self.disk.write(&durable),
                Wish::Send { to, path, message } => {
                    let bytes = Message::Membership(message).to_bytes();
                    let message = (usize::from(to.0), Lane::Heartbeat(path.0), bytes);
                    out.messages.push(message);
                }
                _ => {}
            }
        }
    }
}

impl Machine for Witness {
    fn mtu(&self) -> usize {
        1500
    }

    fn strict(&self) -> bool {
        true
    }

    fn turn(&mut self, now: Instant, input: &mut Input, out: &mut Output) {
        input.frames.clear();
        for arrival in input.arrivals.drain(..) {
            let Arrival::Message(from, Lane::Heartbeat(path), bytes) = arrival else {
                continue;
            };
            if let Ok(Message::Membership(message)) = Message::decode(bytes) {
                let from = HostId(from as u8);
                self.membership.receive(now, from, PathId(path), &message);
            }
        }
        self.membership.poll(now, &mut self.wishes);
        self.fulfil(out);
    }

    fn next_deadline(&mut self, now: Instant) -> Option<Instant> {
        Some(self.membership.next_deadline(now))
    }
}
