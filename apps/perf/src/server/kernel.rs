//! The measuring server on the kernel's sockets.
#![expect(
    clippy::disallowed_types,
    clippy::disallowed_methods,
    reason = "this is the kernel's stack, to compare with ours"
)]

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::fd::AsFd;
use std::thread;

use anyhow::Context;
use bytes::Bytes;
use outlive_app::Congestion;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::{Style, blocking, tasks};
use crate::sockets;

/// Serves until the process is ended.
pub(super) fn serve(
    address: SocketAddr,
    style: Style,
    congestion: Congestion,
) -> anyhow::Result<()> {
    serve_on(listen(address, congestion)?, style)
}

fn listen(address: SocketAddr, congestion: Congestion) -> anyhow::Result<TcpListener> {
    let listener =
        TcpListener::bind(address).with_context(|| format!("cannot listen on {address}"))?;
    let name = match congestion {
        Congestion::Cubic => "cubic",
        Congestion::NewReno => "reno",
        Congestion::Bbr => "bbr",
    };
    sockets::set_congestion(listener.as_fd(), name)
        .with_context(|| format!("the kernel does not let us choose {name}"))?;
    Ok(listener)
}

fn serve_on(listener: TcpListener, style: Style) -> anyhow::Result<()> {
    println!("serving on {}, the kernel's stack", listener.local_addr()?);
    match style {
        Style::Blocking => serve_blocking(&listener),
        Style::Tasks => serve_tasks(listener),
    }
}

fn serve_blocking(listener: &TcpListener) -> anyhow::Result<()> {
    loop {
        let (mut stream, _) = listener.accept()?;
        stream.set_nodelay(true)?;
        // A connection that breaks concerns its client, which says so.
        thread::spawn(move || drop(blocking::session(&mut stream)));
    }
}

fn serve_tasks(listener: TcpListener) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_io()
        .build()?;
    runtime.block_on(async {
        listener.set_nonblocking(true)?;
        let listener = tokio::net::TcpListener::from_std(listener)?;
        loop {
            let (mut stream, _) = listener.accept().await?;
            stream.set_nodelay(true)?;
            tokio::spawn(async move { drop(tasks::session(&mut stream).await) });
        }
    })
}

impl blocking::Bulk for TcpStream {
    fn give(&mut self, piece: &Bytes) -> io::Result<()> {
        self.write_all(piece)
    }

    fn take(&mut self, room: &mut [u8]) -> io::Result<usize> {
        self.read(room)
    }
}

impl tasks::Bulk for tokio::net::TcpStream {
    async fn give(&mut self, piece: &Bytes) -> io::Result<()> {
        self.write_all(piece).await
    }

    async fn take(&mut self, room: &mut [u8]) -> io::Result<usize> {
        self.read(room).await
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;
    use crate::client;

    #[derive(Parser)]
    struct Client {
        #[command(flatten)]
        options: crate::ClientOptions,
    }

    /// Measures both styles of server over loopback, and returns what the client reports.
    fn measure(arguments: &str) -> Vec<String> {
        [Style::Blocking, Style::Tasks]
            .map(|style| report(style, arguments))
            .to_vec()
    }

    fn report(style: Style, arguments: &str) -> String {
        let any_port = SocketAddr::from(([127, 0, 0, 1], 0));
        let listener = listen(any_port, Congestion::Cubic).expect("loopback");
        let to = listener.local_addr().expect("bound");
        thread::spawn(move || serve_on(listener, style));
        let line = format!("client {arguments} --seconds 0.05 --to {to}");
        let client = Client::parse_from(line.split_whitespace());
        client::measure(&client.options)
            .expect("measured")
            .to_string()
    }

    #[test]
    fn bulk_arrives_both_ways_on_every_connection() {
        for way in ["bulk-send", "bulk-receive"] {
            for line in measure(&format!("{way} --connections 3 --write-size 10000")) {
                assert!(
                    line.contains(r#""connections":3,"write_bytes":10000"#),
                    "{line}"
                );
                assert!(!line.contains(r#""slowest_of_fair_share":0.000"#), "{line}");
            }
        }
    }

    #[test]
    fn a_byte_comes_back() {
        for line in measure("latency")
            .into_iter()
            .chain(measure("latency --spin"))
        {
            assert!(!line.contains(r#""exchanges":0"#), "{line}");
        }
    }

    #[test]
    fn connections_are_counted() {
        for line in measure("connections --connections 2") {
            assert!(!line.contains(r#""opened":0"#), "{line}");
        }
    }
}
