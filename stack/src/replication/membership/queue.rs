//! What waits for stable storage (FAILOVER §6).
//!
//! A disk may take longer for a vote than a lease has left, or than it takes to be thought dead. Meanwhile messages come and
//! time passes, and the membership is called on. What it wants done then stands in line behind the vote; only what promises
//! nothing goes ahead: heartbeats, and news for this host itself. A heartbeat names the newest ballot of its sender, so
//! while a vote is being stored it names the one before: to others, such a host is a slow one.
//!
//! A line that gets too long loses datagrams and terms of the lease, as a network would; it loses no vote and no view.

use std::collections::VecDeque;

use super::ballot::Ballot;
use super::durable::Durable;
use super::message::Body;
use super::output::Output;

/// Most outputs that wait before datagrams are dropped: some seconds of renewals and refusals.
const MOST_WAITING: usize = 1024;

/// Outputs in order, around a vote that is being stored.
#[derive(Debug)]
pub struct Queue {
    /// A vote is being stored; nothing waits otherwise.
    storing: bool,
    waiting: VecDeque<Output>,
    /// The newest ballot that others may hear of, and whether it is known to be decided.
    told: (Ballot, bool),
    dropped: u64,
}

impl Queue {
    /// Nothing waits. `durable` is what the host starts with.
    #[must_use]
    pub fn new(durable: &Durable) -> Self {
        Self {
            storing: false,
            waiting: VecDeque::new(),
            told: (durable.newest, false),
            dropped: 0,
        }
    }

    /// Takes the next output, and gives back what is to be done at once.
    #[must_use]
    pub fn admit(&mut self, output: Output) -> Option<Output> {
        if !self.storing {
            return Some(self.note(output));
        }
        let output = match self.ahead(output) {
            Ok(ahead) => return Some(ahead),
            Err(waits) => waits,
        };
        let may_be_lost = matches!(output, Output::Send { .. } | Output::Lease(_));
        if may_be_lost && self.waiting.len() >= MOST_WAITING {
            self.dropped += 1;
            tracing::debug!("dropped: stable storage takes too long");
        } else {
            self.waiting.push_back(output);
        }
        None
    }

    /// An [`Output::Persist`] was begun and takes a while.
    pub fn storing(&mut self) {
        self.storing = true;
    }

    /// It has ended. Follow with [`Self::due`].
    pub fn stored(&mut self) {
        self.storing = false;
    }

    /// What is to be done next of what waited, unless the next vote is being stored.
    #[must_use]
    pub fn due(&mut self) -> Option<Output> {
        if self.storing {
            return None;
        }
        let output = self.waiting.pop_front()?;
        Some(self.note(output))
    }

    /// Outputs that waited in vain.
    #[must_use]
    pub const fn dropped(&self) -> u64 {
        self.dropped
    }

    fn note(&mut self, output: Output) -> Output {
        if let Output::Send { message, .. } = &output {
            self.told = (message.newest, message.decided);
        }
        output
    }

    /// What promises nothing goes ahead; anything else comes back.
    fn ahead(&self, output: Output) -> Result<Output, Output> {
        match output {
            Output::Send {
                to,
                path,
                mut message,
            } if matches!(message.body, Body::Heartbeat(_)) => {
                (message.newest, message.decided) = self.told;
                Ok(Output::Send { to, path, message })
            }
            Output::Up(_)
            | Output::Down(_)
            | Output::Path { .. }
            | Output::Restarted(_)
            | Output::Clock { .. } => Ok(output),
            Output::Persist(_)
            | Output::Send { .. }
            | Output::Lease(_)
            | Output::View(_)
            | Output::Fence(_) => Err(output),
        }
    }
}
