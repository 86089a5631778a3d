//! Connections that outlive their server: what two hosts keep of a connection, who of them may send, and
//! how one takes over from the other (FAILOVER).
//!
//! | file | job |
//! |---|---|
//! | `entry`, `journal` | what is replicated; what it adds up to |
//! | `message` | what the hosts say to each other, and its bytes |

pub mod entry;
pub mod message;

pub use self::entry::{Change, Entry, Opening, Reason};
pub use crate::tcp::gate::{Hot, Mark, Point, Terms};
