//! What the server needs of a connection, whoever's TCP it is.

use std::future::Future;
use std::io;
use std::ops::Range;
use std::time::Duration;

use ::outlive::replication::Identity;
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

    // What follows matters to connections that outlive their host, and does nothing on others.

    /// As [`Transport::sleep`], for a time-out after which the connection is ended: only whoever serves the client
    /// loses patience, and not a host that repeats what that one does.
    fn patience(&self, duration: Duration) -> impl Future<Output = ()> + Send + 'static {
        self.sleep(duration)
    }

    /// True when the connection is another host's, or was: it has been admitted there.
    fn is_continued(&self) -> bool {
        false
    }

    /// What was decided and does not follow from the input and the content of the films: `value`, or what
    /// the host decided that this one repeats.
    fn decide(&mut self, value: Bytes) -> impl Future<Output = Bytes> + Send {
        std::future::ready(value)
    }

    /// As [`Transport::patience`], for a time-out while waiting for input that is then told to
    /// [`Transport::decide`]: where it is repeated it comes between the same two bytes of input.
    fn input_timeout(&self, duration: Duration) -> impl Future<Output = ()> + Send + 'static {
        self.patience(duration)
    }

    /// A fresh handler could go on from here.
    fn quiescent(&mut self) {}

    /// How many bytes of the range, from its start, the client has already from another host: they count as
    /// sent.
    fn skip(
        &mut self,
        identity: Identity,
        range: Range<u64>,
    ) -> impl Future<Output = io::Result<u64>> + Send {
        let _ = (identity, range);
        std::future::ready(Ok(0))
    }

    /// As [`Transport::send`], of the bytes at `offset` of the content that `identity` names.
    fn send_static(
        &mut self,
        bytes: Bytes,
        identity: Identity,
        offset: u64,
    ) -> impl Future<Output = io::Result<()>> + Send {
        let _ = (identity, offset);
        self.send(bytes)
    }

    /// The other host could not go on from here, because its files are not the same.
    fn unprotect(&mut self) {}
}
