//! What crosses crates: whole networks of hosts in virtual time, replayed captures, the decoder that
//! watches over both, and network namespaces with real peers.
//!
//! | module | job |
//! |---|---|
//! | [`decode`] | an independent look at a frame (`etherparse`): checksums, lengths, options |
//! | [`frames`] | frames as strangers build them |
//! | [`fuzz`] | what the fuzz targets do with an input |
//! | [`memory`] | the heap in use, for tests of limits |
//! | [`netns`] | sandboxes of network namespaces with real peers |
//! | [`replay`] | recorded exchanges with our stack in the place of one end |
//! | [`simulation`] | hosts, links, applications and oracles in virtual time |

pub mod decode;
pub mod frames;
pub mod fuzz;
pub mod memory;
pub mod netns;
pub mod replay;
pub mod simulation;
