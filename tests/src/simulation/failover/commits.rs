//! What the backup has of every client's stream, read from the messages that reach it.

use std::collections::BTreeMap;
use std::net::SocketAddrV4;

use outlive::replication::entry::Change;
use outlive::replication::message::Message;

use super::channels::{Arrival, Lane};
use super::oracle::Oracle;
use crate::decode::name_of;

/// Connections by the number that the replicas give them: the client, and its initial sequence number.
#[derive(Default)]
pub(super) struct Commits {
    names: BTreeMap<u64, (SocketAddrV4, u32)>,
    /// Snapshots that were begun.
    pub(super) snapshots: u64,
}

impl Commits {
    /// A server is about to see this.
    pub(super) fn note(&mut self, arrival: &Arrival, oracle: &mut Oracle) {
        let Arrival::Message(_, Lane::Commit | Lane::Bulk, bytes) = arrival else {
            return;
        };
        match Message::decode(bytes.clone()) {
            Ok(Message::Entries { entries, .. }) => {
                for entry in &entries {
                    self.apply(entry.connection, &entry.change, oracle);
                }
            }
            Ok(Message::Begin { .. }) => {
                self.snapshots += 1;
                oracle.forget_commits();
            }
            _ => {}
        }
    }

    fn apply(&mut self, connection: u64, change: &Change, oracle: &mut Oracle) {
        let upto = match change {
            Change::Open(opening) => {
                let client = name_of(opening.id.remote_addr());
                let name = (client, opening.record.irs);
                // Entries may come twice.
                if self.names.insert(connection, name) != Some(name) {
                    oracle.opened(client, opening.record.irs.wrapping_add(1));
                }
                return;
            }
            Change::Received {
                from, bytes, fin, ..
            } => {
                let len: usize = bytes.iter().map(bytes::Bytes::len).sum();
                from + len as u64 + u64::from(*fin)
            }
            Change::Skipped { upto, .. } => *upto,
            _ => return,
        };
        if let Some(&(client, irs)) = self.names.get(&connection) {
            oracle.committed(client, irs.wrapping_add(upto as u32));
        }
    }
}
