//! What the server needs of a connection, whoever's TCP it is.

use std::future::Future;
use std::io;
use std::time::Duration;

use bytes::Bytes;

pub mod kernel;
pub mod outlive;

/// A TCP connection. Futures may be dropped before they are ready (a time-out): nothing is lost of what
/// was not yet read; after a dropped send the connection can only be aborted.
pub trait Transport: Send {
    /// The next received bytes; empty once the client has closed its side.
    fn read(&mut self) -> impl Future<Output = io::Result<Bytes>> + Send;

    /// Queues `bytes`, in order, not copied where the stack can hold on to them; ready when the stack
    /// has taken them all.
    fn send(&mut self, bytes: Bytes) -> impl Future<Output = io::Result<()>> + Send;

    /// Closes our side in order: what was sent is delivered, then FIN.
    fn shutdown(&mut self) -> impl Future<Output = io::Result<()>> + Send;

    /// Closes at once with a reset; what is queued is lost. The client knows then that what it has is
    /// not the whole.
    fn abort(&mut self);

    /// Ready after `duration`, by the clock of whoever runs the connection.
    fn sleep(&self, duration: Duration) -> impl Future<Output = ()> + Send + 'static;
}
