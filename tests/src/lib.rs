//! What crosses crates: whole networks of hosts in virtual time, replayed captures, the decoder that
//! watches over both, and network namespaces with real peers.
//!
//! | module | job |
//! |---|---|
//! | [`decode`] | an independent look at a frame (`etherparse`): checksums, lengths, options |
//! | [`netns`] | sandboxes of network namespaces with real peers |
//! | [`simulation`] | hosts, links, applications and oracles in virtual time |

pub mod decode;
pub mod netns;
pub mod simulation;
