//! What can be asked about a host's part in replication.

use super::primary::Standing;
use super::replica::{Refusals, Replica, Role};
use super::service::Takeover;
use super::view::View;

/// How well connections are protected by the other host.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Backing {
    /// Not at all, and no effect waits for it.
    #[default]
    Alone,
    /// It is being brought up.
    Joining,
    /// It has everything, and soon the view will say so.
    CatchingUp,
    /// It has everything that was ever acknowledged.
    Synced,
}

/// A host's part in replication at one moment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Status {
    /// What it is.
    pub role: Role,
    /// In this view.
    pub view: View,
    /// A primary: whether the other host could go on. A backup: whether this one could.
    pub backing: Backing,
    /// The ordered channels to the other host are up.
    pub connected: bool,
    /// Connections that are known here.
    pub connections: usize,
    /// Those of them that could be gone on with from what is kept.
    pub protected: usize,
    /// Bytes that are kept of all.
    pub journal_bytes: usize,
    /// Entries that the backup has not applied.
    pub lag_entries: u64,
    /// Their bytes, as far as they have left.
    pub lag_bytes: usize,
    /// Entries written, or applied.
    pub entries: u64,
    /// Entries that did not fit what came before them: always 0, or something is wrong.
    pub misfits: u64,
    /// Messages that were refused.
    pub refusals: Refusals,
    /// The last takeover by this host.
    pub takeover: Option<Takeover>,
}

impl Replica {
    /// What is known now.
    pub(crate) fn status(&self) -> Status {
        let backing = match (self.role, &self.standing) {
            (Role::Backup, _) if self.backup.is_joining() => Backing::Joining,
            (Role::Backup, _) if self.goes_on_following() => Backing::Synced,
            (Role::Primary, Standing::Joining(_) | Standing::Parted(_)) => Backing::Joining,
            (Role::Primary, Standing::CatchingUp { .. }) => Backing::CatchingUp,
            (Role::Primary, Standing::Synced) => Backing::Synced,
            _ => Backing::Alone,
        };
        let protected = match backing {
            Backing::Synced => self.journals.whole(),
            _ => 0,
        };
        Status {
            role: self.role,
            view: self.view,
            backing,
            connected: self.is_connected(),
            connections: self.journals.len(),
            protected,
            journal_bytes: self.journals.bytes(),
            lag_entries: self.log.lag(),
            lag_bytes: self.log.sent_bytes(),
            entries: match self.role {
                Role::Backup => self.backup.next().index,
                _ => self.log.next().index,
            },
            misfits: self.backup.misfits,
            refusals: self.refusals,
            takeover: None,
        }
    }
}
