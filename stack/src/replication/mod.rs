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
//! | `message` | what the hosts say to each other, and its bytes |

pub mod entry;
pub mod membership;
pub mod message;
pub mod view;

pub use self::entry::{Change, Entry, Opening, Reason};
pub use crate::tcp::gate::{Hot, Mark, Point, Terms};
