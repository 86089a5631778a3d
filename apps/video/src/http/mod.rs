//! HTTP/1.1 without I/O (RFC 9110, RFC 9112): bytes in, requests out; a response in, pieces out.
//!
//! Everything here is a function of its arguments, so that the same request on the same content gives
//! the same bytes again, on this host or on another. The only other input, the date, is an argument.
//!
//! Left out: trailers (read and ignored), upgrades, CONNECT, TRACE, compression.

pub mod body;
pub mod conditional;
pub mod date;
pub mod decoder;
pub mod digest;
pub mod entity_tag;
pub mod head;
pub mod limits;
pub mod plan;
pub mod range;
pub mod refusal;
pub mod request;
pub mod target;

pub use decoder::{Decoder, Event};
pub use entity_tag::EntityTag;
pub use head::Head;
pub use limits::Limits;
pub use plan::{Part, Plan};
pub use refusal::Refusal;
pub use request::{Framing, Request};
pub use target::Target;
