//! A pair of servers and their witness in virtual time: a switched service network with clients, a network
//! between the replicas, and hosts that die, stand still, are cut off and come back.
//!
//! | module | job |
//! |---|---|
//! | [`world`] | the hosts, the networks, the order of events |
//! | [`fault`] | what may happen, and when |
//! | [`switch`] | the service network: a learning bridge |
//! | [`channels`] | the network between the replicas |
//! | [`local_clock`] | every host's own time |
//! | [`machine`], [`server`] | what a host is |
//! | [`stream`], [`script`] | what a connection carries, and what its server does |
//! | [`serving`], [`calling`] | the applications at both ends |
//! | [`oracle`] | what judges every frame |
//! | [`cluster`] | all of it put together |

pub mod calling;
pub mod channels;
pub mod cluster;
pub mod fault;
pub mod local_clock;
pub mod machine;
pub mod oracle;
pub mod script;
pub mod server;
pub mod serving;
pub mod stream;
pub mod switch;
mod wire;
pub mod world;
