//! What a membership counts.

use super::message::Refusal;

/// Counters since the start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Statistics {
    /// Messages on a path that is not configured, or from this host itself.
    pub drop_unknown_path: u64,
    /// Messages of a life that a newer one of the same host has replaced.
    pub drop_old_life: u64,
    /// Grants for an epoch in which this host is not primary, or for a request of an earlier life.
    pub drop_stale_grant: u64,
    /// Renewals and releases for another view than the newest.
    pub drop_old_epoch: u64,
    /// What this voter refused, by [`Refusal`], in its order.
    pub refused: [u64; 6],
    /// Views that were decided while this host watched.
    pub views: u64,
    /// How often this host became primary.
    pub promotions: u64,
    /// How often its lease ran out while it was primary.
    pub lapses: u64,
    /// How often it asked for a fence.
    pub fences: u64,
    /// Messages and terms that waited for stable storage in vain: it took too long.
    pub drop_waiting: u64,
}

impl Statistics {
    pub(super) fn refused(&mut self, reason: Refusal) {
        if let Some(count) = self.refused.get_mut(reason as usize - 1) {
            *count += 1;
        }
    }
}
