//! How many connections may sit out their TIME-WAIT at once.
//!
//! A server that closes first keeps every connection for a minute more (RFC 9293 §3.4.2), which at tens of
//! thousands a second is more memory than the live ones need. Beyond the limit the oldest goes early, as
//! in Linux; the danger (RFC 1337) is small by then, and timestamps and the ISN clock guard against it.

use std::collections::VecDeque;
use std::sync::{Arc, Weak};

use parking_lot::Mutex;

use super::Connection;

/// Connections in TIME-WAIT, oldest first, with some that are gone.
#[derive(Debug)]
pub(super) struct TimeWaitQueue {
    limit: usize,
    queue: Mutex<VecDeque<Weak<Connection>>>,
}

impl TimeWaitQueue {
    pub(super) const fn new(limit: usize) -> Self {
        Self {
            limit,
            queue: Mutex::new(VecDeque::new()),
        }
    }

    /// Adds a connection that entered TIME-WAIT; returns one that has to go for it.
    pub(super) fn add(&self, connection: &Arc<Connection>) -> Option<Arc<Connection>> {
        let mut queue = self.queue.lock();
        queue.push_back(Arc::downgrade(connection));
        while queue
            .front()
            .is_some_and(|oldest| oldest.strong_count() == 0)
        {
            queue.pop_front();
        }
        if queue.len() <= self.limit {
            return None;
        }
        queue.pop_front().and_then(|oldest| oldest.upgrade())
    }
}
