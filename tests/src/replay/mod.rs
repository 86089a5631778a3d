//! Recorded exchanges between real kernels, with our stack in the place of one of them.
//!
//! A fixture `NAME.END.pcap` was captured at `END` (client or server): what that end received is played to
//! our stack, with sequence numbers, ports and timestamps translated; what that end sent says what the
//! application does, and what is expected of us. Not compared byte by byte: two good stacks differ in when
//! they acknowledge and how they cut.

pub mod capture;
pub mod exchange;
pub mod peer;
pub mod replayed;
pub mod rewrite;
pub mod script;
