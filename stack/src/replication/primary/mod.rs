//! The primary's side of replication: what connections ask to have committed becomes entries, entries
//! leave in batches, and what waited for them goes on once the backup has applied them (FAILOVER §4).
//!
//! | file | job |
//! |---|---|
//! | `log` | entries in order, batches, what is not applied, who waits for it |
//! | `changes` | a commit, as entries |
//! | `standing` | whether there is a backup |
//! | `snapshot` | bringing one up while service goes on |

mod changes;
mod log;
mod snapshot;
mod standing;

pub(crate) use self::changes::changes;
pub(crate) use self::log::{Held, Log};
pub(crate) use self::snapshot::Snapshot;
pub(crate) use self::standing::{Parting, Standing};
