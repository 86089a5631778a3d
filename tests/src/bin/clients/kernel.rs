//! Transfers on sockets of the kernel.
#![expect(
    clippy::disallowed_types,
    reason = "the kernel's sockets are the point"
)]

use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::os::fd::AsFd;

use anyhow::Context;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use socket2::{Domain, Socket, Type};

use crate::Options;
use crate::gate::{self, Gate};
use crate::transfer::{PIECE_BYTES, Transfer};

/// Until every transfer has ended.
pub(crate) fn run(options: &Options, transfers: &mut [Transfer<'_>]) -> anyhow::Result<()> {
    let streams = (0..transfers.len()).map(|_| connect(options));
    let streams = streams.collect::<anyhow::Result<Vec<_>>>()?;
    let stdin = std::io::stdin();
    let mut gate = Gate::default();
    while transfers.iter().any(Transfer::is_open) {
        let limit = gate.limit();
        let mut fds: Vec<_> = streams
            .iter()
            .zip(&*transfers)
            .filter(|(_, transfer)| transfer.is_open())
            .map(|(stream, transfer)| PollFd::new(stream.as_fd(), interest(transfer, limit)))
            .collect();
        let sockets = fds.len();
        if gate.is_open() {
            fds.push(PollFd::new(stdin.as_fd(), PollFlags::POLLIN));
        }
        poll(&mut fds, PollTimeout::from(gate::STIR_MS))?;
        let mut ready = fds.iter().map(|fd| fd.any().unwrap_or(true));
        let open = transfers.iter_mut().zip(&streams);
        let open = open.filter(|(transfer, _)| transfer.is_open());
        for (transfer, stream) in open {
            if ready.next() == Some(true) {
                go_on(transfer, stream, limit);
                if options.half_close && transfer.has_said_all() {
                    // Again and again is no harm; an error is one of reading as well.
                    let _ = stream.shutdown(std::net::Shutdown::Write);
                }
            }
        }
        if fds.get(sockets).is_some_and(|fd| fd.any().unwrap_or(true)) {
            gate.read(transfers)?;
        }
        crate::tell(&mut gate, transfers)?;
    }
    Ok(())
}

fn connect(options: &Options) -> anyhow::Result<TcpStream> {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None)?;
    if let Some(bytes) = options.buffer {
        socket.set_recv_buffer_size(bytes)?;
        socket.set_send_buffer_size(bytes)?;
    }
    let server = std::net::SocketAddr::from(options.server).into();
    socket.connect(&server).context("cannot connect")?;
    socket.set_nonblocking(true)?;
    Ok(socket.into())
}

fn interest(transfer: &Transfer<'_>, limit: usize) -> PollFlags {
    let mut flags = PollFlags::empty();
    flags.set(PollFlags::POLLOUT, !transfer.outgoing(limit).is_empty());
    flags.set(PollFlags::POLLIN, transfer.room(limit) > 0);
    flags
}

/// Moves what can be moved.
fn go_on(transfer: &mut Transfer<'_>, stream: &TcpStream, limit: usize) {
    let outcome = send(transfer, stream, limit).and_then(|()| receive(transfer, stream, limit));
    if let Err(error) = outcome {
        transfer.broke(&error);
    }
}

fn send(transfer: &mut Transfer<'_>, mut stream: &TcpStream, limit: usize) -> anyhow::Result<()> {
    let piece = transfer.outgoing(limit);
    if piece.is_empty() {
        return Ok(());
    }
    match stream.write(piece) {
        Ok(sent) => transfer.sent(sent),
        Err(error) if is_nothing(error.kind()) => {}
        Err(error) => return Err(error.into()),
    }
    Ok(())
}

fn receive(
    transfer: &mut Transfer<'_>,
    mut stream: &TcpStream,
    limit: usize,
) -> anyhow::Result<()> {
    let mut buffer = vec![0; transfer.room(limit).min(PIECE_BYTES)];
    if buffer.is_empty() {
        return Ok(());
    }
    match stream.read(&mut buffer) {
        Ok(0) => transfer.ended(),
        Ok(read) => transfer.received(&buffer[..read]),
        Err(error) if is_nothing(error.kind()) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

fn is_nothing(kind: ErrorKind) -> bool {
    matches!(kind, ErrorKind::WouldBlock | ErrorKind::Interrupted)
}
