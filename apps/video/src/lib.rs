//! HTTP/1.1 server for a folder of media, on the Outlive stack or on the kernel's.
pub mod http;
pub mod media;
pub mod pool;
