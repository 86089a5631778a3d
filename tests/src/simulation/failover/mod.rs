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
//! | [`machine`], [`server`], [`replica`], [`witness`] | what a host is |
//! | [`stream`], [`script`] | what a connection carries, and what its server does |
//! | [`serving`], `progress`, [`calling`] | the applications at both ends |
//! | [`oracle`] | what judges every frame |
//! | [`cluster`] | all of it put together |
//! | [`exchange`] | one connection and one disturbance, for every turn of a host |
//! | [`life`] | random connections and random troubles |

mod build;
pub mod calling;
pub mod channels;
pub mod cluster;
mod commits;
pub mod exchange;
pub mod fault;
pub mod life;
pub mod local_clock;
pub mod machine;
pub mod oracle;
mod progress;
pub mod replica;
pub mod script;
pub mod server;
pub mod serving;
pub mod stream;
pub mod switch;
mod wire;
pub mod witness;
pub mod world;
