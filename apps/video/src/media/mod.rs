//! The folder of media: files by name, safely; their bytes without a copy; their digests.

pub mod digests;
pub mod fault;
pub mod film;
pub mod library;
pub mod listing;
pub mod map;
pub mod twin;
pub mod types;

pub use digests::Digests;
pub use film::{Film, Slice, Version};
pub use library::{Library, Missing};
pub use twin::{Catalogue, Twin};
