//! Sockets of the Outlive stack: a task per connection, on the thread of the stack that this
//! connection's frames leave from, so that a request crosses no thread.

use std::future::Future;
use std::io;
use std::net::{Shutdown, SocketAddr};
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use outlive::engine::Stack;
use outlive::replication::{Identity, Reason, ReplayOptions, Survival};
use outlive::socket::asynchronous::{TcpListener, TcpStream};

use super::Transport;
use crate::connection;
use crate::server::Server;
use crate::timers::Timers;

/// Most bytes that are taken at once.
const READ_BYTES: usize = 256 << 10;

/// A socket of the Outlive stack.
#[derive(Debug)]
pub struct OutliveTransport {
    /// None once aborted.
    stream: Option<TcpStream>,
    timers: Arc<Timers>,
}

impl OutliveTransport {
    /// Serves a connection. Responses leave at once, as in [`super::kernel`].
    #[must_use]
    pub fn new(stream: TcpStream, timers: Arc<Timers>) -> Self {
        stream.set_nodelay(true);
        Self {
            stream: Some(stream),
            timers,
        }
    }

    fn stream(&self) -> io::Result<&TcpStream> {
        self.stream
            .as_ref()
            .ok_or_else(|| io::ErrorKind::ConnectionAborted.into())
    }
}

impl Transport for OutliveTransport {
    async fn read(&mut self) -> io::Result<Bytes> {
        self.stream()?.recv_bytes(READ_BYTES).await
    }

    async fn send(&mut self, bytes: Bytes) -> io::Result<()> {
        self.stream()?.send(bytes).await
    }

    async fn shutdown(&mut self) -> io::Result<()> {
        self.stream()?.shutdown(Shutdown::Write)
    }

    fn abort(&mut self) {
        if let Some(stream) = self.stream.take() {
            stream.set_reset_on_drop(true);
        }
    }

    fn sleep(&self, duration: Duration) -> impl Future<Output = ()> + Send + 'static {
        self.timers.sleep(duration)
    }

    async fn decide(&mut self, value: Bytes) -> Bytes {
        match &self.stream {
            Some(stream) => stream.decide(|| value).await,
            None => value,
        }
    }

    fn patience(&self, duration: Duration) -> impl Future<Output = ()> + Send + 'static {
        let (stream, timers) = (self.stream.clone(), Arc::clone(&self.timers));
        async move {
            // Asked for when it begins to run.
            let timer = async { timers.sleep(duration).await };
            match stream {
                Some(stream) => stream.patience(timer).await,
                None => timer.await,
            }
        }
    }

    fn input_timeout(&self, duration: Duration) -> impl Future<Output = ()> + Send + 'static {
        let (stream, timers) = (self.stream.clone(), Arc::clone(&self.timers));
        async move {
            let timer = async { timers.sleep(duration).await };
            match stream {
                Some(stream) => stream.input_timeout(timer).await,
                None => timer.await,
            }
        }
    }

    fn is_continued(&self) -> bool {
        let stream = self.stream.as_ref();
        stream.is_some_and(|stream| stream.continuation().is_some())
    }

    fn quiescent(&mut self) {
        if let Some(stream) = &self.stream {
            stream.quiescent();
        }
    }

    async fn skip(&mut self, identity: Identity, range: Range<u64>) -> io::Result<u64> {
        self.stream()?.skip_static(identity, range).await
    }

    async fn send_static(
        &mut self,
        bytes: Bytes,
        identity: Identity,
        offset: u64,
    ) -> io::Result<()> {
        self.stream()?.send_static(bytes, identity, offset).await
    }

    fn unprotect(&mut self) {
        if let Some(stream) = &self.stream {
            stream.unprotect(Reason::ContentDiffers);
        }
    }
}

/// Listens on `address` and serves connections, on the stack's threads, until the server stops. Where the
/// stack has another host to rely on, connections outlive this one by `replay`.
///
/// # Errors
/// When the port is in use on this stack, or the operating system gives no thread.
pub fn start(
    server: &Arc<Server>,
    stack: &Stack,
    address: SocketAddr,
    replay: ReplayOptions,
) -> io::Result<()> {
    let listener = TcpListener::bind_surviving(stack, address, Survival::Replay(replay))?;
    let timers = Arc::new(Timers::start()?);
    stack
        .spawn(accept(Arc::clone(server), listener, timers))
        .detach();
    Ok(())
}

async fn accept(server: Arc<Server>, listener: TcpListener, timers: Arc<Timers>) {
    loop {
        let accepted = tokio::select! {
            // First: a stack that shuts down closes its listeners too, and that is no error.
            biased;
            () = server.stopping() => return,
            accepted = listener.accept() => accepted,
        };
        let (stream, peer) = match accepted {
            Ok(accepted) => accepted,
            Err(error) => {
                tracing::warn!(%error, "cannot accept connections any more");
                return;
            }
        };
        let transport = OutliveTransport::new(stream.clone(), Arc::clone(&timers));
        stream
            .spawn(connection::serve(transport, Arc::clone(&server), peer))
            .detach();
    }
}
