//! The demultiplexer: from a four-tuple to its connection.
//!
//! Sharded, so that queues and application threads rarely meet at a lock; hashed with a secret, so that no
//! peer can choose four-tuples that collide. An entry is one pointer: the key is in the connection.

use std::borrow::Borrow;
use std::collections::HashSet;
use std::hash::{Hash, Hasher};
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use parking_lot::RwLock;

use super::{Connection, FourTuple};
use crate::keyed::Keyed;

const SHARDS: usize = 64;

/// A connection, found by its name.
#[derive(Clone, Debug)]
pub(super) struct ById(pub(super) Arc<Connection>);

impl Borrow<FourTuple> for ById {
    fn borrow(&self) -> &FourTuple {
        &self.0.id
    }
}

impl Hash for ById {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.0.id.hash(state);
    }
}

impl PartialEq for ById {
    fn eq(&self, other: &Self) -> bool {
        self.0.id == other.0.id
    }
}

impl Eq for ById {}

type Shard = RwLock<HashSet<ById, Keyed>>;

/// All connections of a stack.
#[derive(Debug)]
pub(super) struct Table {
    shards: Vec<Shard>,
    len: AtomicUsize,
}

impl Table {
    pub(super) fn new(keyed: &Keyed) -> Self {
        Self {
            shards: (0..SHARDS)
                .map(|_| RwLock::new(HashSet::with_hasher(keyed.clone())))
                .collect(),
            len: AtomicUsize::new(0),
        }
    }

    /// Spreads lock traffic only, so that it needs no secret: whoever fills one shard gains nothing but
    /// waiting.
    fn shard(&self, id: &FourTuple) -> &Shard {
        let low = |address: IpAddr| match address {
            IpAddr::V4(v4) => v4.to_bits(),
            IpAddr::V6(v6) => v6.to_bits() as u32,
        };
        let ports = u32::from(id.local_port) << 16 | u32::from(id.remote_port);
        let mixed =
            (ports ^ low(id.remote) ^ low(id.local).rotate_left(7)).wrapping_mul(0x9E37_79B1);
        &self.shards[mixed as usize >> 26]
    }

    pub(super) fn get(&self, id: &FourTuple) -> Option<Arc<Connection>> {
        let shard = self.shard(id).read();
        shard.get(id).map(|entry| Arc::clone(&entry.0))
    }

    pub(super) fn contains(&self, id: &FourTuple) -> bool {
        self.shard(id).read().contains(id)
    }

    /// False, and nothing changes, if there is a connection of that name.
    pub(super) fn insert(&self, connection: &Arc<Connection>) -> bool {
        let new = ById(Arc::clone(connection));
        let inserted = self.shard(&connection.id).write().insert(new);
        if inserted {
            self.len.fetch_add(1, Ordering::Relaxed);
        }
        inserted
    }

    /// Removes this very connection; false if it is not there, or another one has its name by now.
    pub(super) fn remove(&self, connection: &Arc<Connection>) -> bool {
        let removed = {
            let mut shard = self.shard(&connection.id).write();
            let same = shard
                .get(&connection.id)
                .is_some_and(|entry| Arc::ptr_eq(&entry.0, connection));
            let removed = same.then(|| shard.take(&connection.id)).flatten();
            if shard.capacity() > 64 && shard.len() < shard.capacity() / 8 {
                let room = shard.len() * 2;
                shard.shrink_to(room);
            }
            removed
        };
        if removed.is_some() {
            self.len.fetch_sub(1, Ordering::Relaxed);
        }
        removed.is_some()
    }

    pub(super) fn len(&self) -> usize {
        self.len.load(Ordering::Relaxed)
    }

    /// All connections there are, shard by shard.
    pub(super) fn snapshot(&self) -> Vec<Arc<Connection>> {
        let mut all = Vec::with_capacity(self.len());
        for shard in &self.shards {
            all.extend(shard.read().iter().map(|entry| Arc::clone(&entry.0)));
        }
        all
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The `Arc`'s two counts, and a pointer and a control byte in a hash table that is at worst 7/16 full.
    const ENTRY_BYTES: usize = 16 + (size_of::<ById>() + 1) * 16 / 7 + 1;

    #[test]
    fn an_idle_connection_with_its_table_entry_is_small() {
        let bytes = size_of::<Connection>() + ENTRY_BYTES;
        assert!(bytes < 640, "{bytes}");
    }
}
