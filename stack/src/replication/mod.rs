//! Connections that outlive their server: what two hosts keep of a connection, who of them may send, and
//! how one takes over from the other (FAILOVER).
//!
//! Sans-I/O like the rest of the stack: messages, `now` and calls go in, messages and decisions come out.
//!
//! | file | job |
//! |---|---|
//! | `view` | hosts, epochs, views: who is primary, and whose copy is complete |
//! | `membership` | who may send: heartbeats, votes, leases, arbitration |
//! | `entry`, `journal` | what is replicated; what it adds up to |
//! | `primary` | what connections ask for becomes entries; who waits for them |
//! | `backup` | entries are taken in |
//! | `replica` | one host's part in all that, without I/O |
//! | `takeover`, `service` | journals become connections; the stack's gate and permit |
//! | `node` | that and the membership, tied together; `carrier`: what it needs of the world |
//! | `message` | what the hosts say to each other, and its bytes |
//! | `survival` | how a listener's connections continue, and how well one is protected |
//! | `continuation` | from where an application goes on |
//! | `decisions` | what a handler cannot derive from its input, logged |
//! | `digest` | of the output, to find a handler that does not repeat itself |

mod backup;
mod carrier;
pub mod clock_offset;
pub mod continuation;
pub mod decisions;
pub mod digest;
mod door;
pub mod entry;
pub mod forward;
pub mod journal;
mod journals;
pub mod membership;
pub mod message;
pub mod node;
mod overheard;
mod primary;
mod replica;
mod service;
mod status;
pub mod survival;
mod takeover;
#[cfg(test)]
mod tests;
pub mod view;

pub use self::carrier::{Carrier, Channel, Fence, NoFence, Storage};
pub use self::continuation::Continuation;
pub use self::digest::Identity;
pub use self::entry::{Change, Entry, Opening, Reason};
pub use self::journal::Journal;
pub use self::node::{HandoverError, Node, NodeConfig, NodeStatus};
pub use self::replica::{Refusals, Role};
pub use self::service::{Service, Takeover};
pub use self::status::{Backing, Status};
pub use self::survival::{Protection, ReplayOptions, Survival};
pub use crate::tcp::gate::{Hot, Mark, Point, Terms};
