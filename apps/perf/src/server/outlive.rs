//! The measuring server on our stack.

use std::io;
use std::net::SocketAddr;
use std::thread;
use std::time::Duration;

use ::outlive::engine::Stack;
use ::outlive::socket::{TcpListener, TcpStream, asynchronous};
use anyhow::Context;
use bytes::Bytes;
use outlive_app::{StopSignals, print_summary};

use super::{ServeOptions, Style, blocking, tasks};

/// How long connections may take to close after Ctrl-C.
const CLOSING: Duration = Duration::from_secs(2);

/// Serves until interrupted, then prints what the stack counted.
pub(super) fn serve(options: &ServeOptions) -> anyhow::Result<()> {
    let signals = StopSignals::new().context("cannot wait for signals")?;
    let network = outlive_app::open(&options.network)?;
    let stack = network.stack;
    let address = SocketAddr::new(network.listen, options.port);
    let cannot_listen = || format!("cannot listen on {address}");
    match options.style {
        Style::Blocking => {
            let listener = TcpListener::bind(&stack, address).with_context(cannot_listen)?;
            spawn(move || accept(&listener))?;
        }
        Style::Tasks => {
            let listener =
                asynchronous::TcpListener::bind(&stack, address).with_context(cannot_listen)?;
            stack.spawn(accept_tasks(listener)).detach();
        }
    }
    println!("serving on {address}, the stack of Outlive");
    signals.wait();
    end(&stack)
}

fn end(stack: &Stack) -> anyhow::Result<()> {
    let proper = stack.shutdown(CLOSING);
    print_summary("outlive perf", stack.counters().non_zero())?;
    if !proper {
        eprintln!("some connections did not close in time and were reset");
    }
    Ok(())
}

/// Serves every connection on a thread of its own until the stack is shut down.
fn accept(listener: &TcpListener) {
    while let Ok((mut stream, _)) = listener.accept() {
        let serve = move || {
            // A connection that breaks concerns its client, which says so.
            let _ = stream.set_nodelay(true);
            let _ = blocking::session(&mut stream);
        };
        if let Err(error) = spawn(serve) {
            eprintln!("a connection is refused: {error}");
        }
    }
}

#[expect(
    clippy::disallowed_methods,
    reason = "blocking calls need a thread for each connection"
)]
fn spawn(work: impl FnOnce() + Send + 'static) -> io::Result<()> {
    thread::Builder::new().spawn(work).map(drop)
}

/// Serves every connection as a task, on the thread that its frames leave from.
async fn accept_tasks(listener: asynchronous::TcpListener) {
    while let Ok((mut stream, _)) = listener.accept().await {
        stream.set_nodelay(true);
        let home = stream.stack().clone();
        let session = async move { drop(tasks::session(&mut stream).await) };
        home.spawn(session).detach();
    }
}

/// Pieces are handed over and taken as they lie in memory, as the video server does it.
impl blocking::Bulk for TcpStream {
    fn give(&mut self, piece: &Bytes) -> io::Result<()> {
        self.send(piece.clone())
    }

    fn take(&mut self, room: &mut [u8]) -> io::Result<usize> {
        self.recv_bytes(room.len()).map(|bytes| bytes.len())
    }
}

impl tasks::Bulk for asynchronous::TcpStream {
    async fn give(&mut self, piece: &Bytes) -> io::Result<()> {
        self.send(piece.clone()).await
    }

    async fn take(&mut self, room: &mut [u8]) -> io::Result<usize> {
        Ok(self.recv_bytes(room.len()).await?.len())
    }
}
