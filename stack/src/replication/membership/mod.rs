//! Who may send (FAILOVER §6): failure detection, votes on views, and leases.
//!
//! | module | job |
//! |---|---|
//! | [`config`] | what a membership is told when it starts |
//! | [`ballot`] | a view as it is voted on |
//! | [`message`] | what hosts tell each other, and its bytes |
//! | [`durable`] | what a voter must not forget |
//! | [`lease`] | permission to send for a short time |
//! | [`output`] | what a membership wants done |

pub mod ballot;
pub mod config;
pub mod durable;
pub mod lease;
pub mod message;
pub mod output;

pub use ballot::{Ballot, Incarnation};
pub use config::{Arbitration, Config, PathId};
pub use durable::Durable;
pub use lease::{Lease, Term};
pub use message::{Malformed, Message};
pub use output::Output;
