//! Transfers on a TCP that is not the kernel's: the `smoltcp` crate on a TAP interface. It has neither
//! timestamps nor SACK blocks to send, and answers a probe once a second at most.

use std::net::Ipv4Addr;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};

use anyhow::{Context, anyhow};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use smoltcp::iface::{Config, Interface, SocketHandle, SocketSet};
use smoltcp::phy::{Medium, TunTapInterface};
use smoltcp::socket::tcp::{Socket, SocketBuffer, State};
use smoltcp::time::Instant;
use smoltcp::wire::{EthernetAddress, HardwareAddress, IpAddress, IpCidr};

use crate::Options;
use crate::gate::Gate;
use crate::transfer::{PIECE_BYTES, Transfer};

const MAC: [u8; 6] = [0x02, 0, 0, 0, 0, 0x20];
const BUFFER_BYTES: usize = 64 << 10;
/// The first local port.
const FIRST_PORT: u16 = 40_000;

/// Until every transfer has ended.
pub(crate) fn run(
    options: &Options,
    tap: &str,
    address: Ipv4Addr,
    transfers: &mut [Transfer<'_>],
) -> anyhow::Result<()> {
    let mut device = TunTapInterface::new(tap, Medium::Ethernet);
    let device = device.as_mut().map_err(|error| anyhow!("{tap}: {error}"))?;
    let hardware = HardwareAddress::Ethernet(EthernetAddress(MAC));
    let mut interface = Interface::new(Config::new(hardware), device, Instant::now());
    interface.update_ip_addrs(|addresses| {
        let address = IpCidr::new(IpAddress::Ipv4(address), 24);
        addresses.push(address).expect("room for one address");
    });
    let mut sockets = SocketSet::new(Vec::new());
    let handles = (0..transfers.len()).map(|number| {
        let bytes = options.buffer.unwrap_or(BUFFER_BYTES);
        let buffer = || SocketBuffer::new(vec![0; bytes]);
        let mut socket = Socket::new(buffer(), buffer());
        let server = (IpAddress::Ipv4(*options.server.ip()), options.server.port());
        let port = FIRST_PORT + u16::try_from(number)?;
        let opened = socket.connect(interface.context(), server, port);
        opened.map_err(|error| anyhow!("cannot connect: {error}"))?;
        Ok(sockets.add(socket))
    });
    let handles = handles.collect::<anyhow::Result<Vec<_>>>()?;
    let mut gate = Gate::default();
    while transfers.iter().any(Transfer::is_open) {
        interface.poll(Instant::now(), device, &mut sockets);
        for (transfer, handle) in transfers.iter_mut().zip(&handles) {
            go_on(transfer, &mut sockets, *handle, gate.limit());
        }
        interface.poll(Instant::now(), device, &mut sockets);
        crate::tell(&mut gate, transfers)?;
        // SAFETY: the descriptor belongs to `device`, which outlives this turn of the loop.
        let fd = unsafe { BorrowedFd::borrow_raw(device.as_raw_fd()) };
        let delay = interface.poll_delay(Instant::now(), &sockets);
        let delay = delay.map_or(1000, |delay| delay.total_millis().min(1000));
        wait(fd, &mut gate, transfers, delay as u16)?;
    }
    // The last acknowledgements.
    interface.poll(Instant::now(), device, &mut sockets);
    Ok(())
}

/// Until a frame arrives, something is said, or so many milliseconds have passed.
fn wait(
    device: BorrowedFd<'_>,
    gate: &mut Gate,
    transfers: &[Transfer<'_>],
    delay_ms: u16,
) -> anyhow::Result<()> {
    let stdin = std::io::stdin();
    let mut fds = vec![PollFd::new(device, PollFlags::POLLIN)];
    if gate.is_open() {
        fds.push(PollFd::new(stdin.as_fd(), PollFlags::POLLIN));
    }
    poll(&mut fds, PollTimeout::from(delay_ms)).context("cannot wait")?;
    if fds.get(1).is_some_and(|fd| fd.any().unwrap_or(true)) {
        gate.read(transfers)?;
    }
    Ok(())
}

fn go_on(
    transfer: &mut Transfer<'_>,
    sockets: &mut SocketSet<'_>,
    handle: SocketHandle,
    limit: usize,
) {
    if transfer.is_open()
        && let Err(error) = exchange(transfer, sockets.get_mut::<Socket<'_>>(handle), limit)
    {
        transfer.broke(&error);
    }
}

/// Moves what can be moved.
fn exchange(
    transfer: &mut Transfer<'_>,
    socket: &mut Socket<'_>,
    limit: usize,
) -> anyhow::Result<()> {
    let piece = transfer.outgoing(limit);
    if socket.can_send() && !piece.is_empty() {
        let sent = socket.send_slice(piece);
        transfer.sent(sent.map_err(|error| anyhow!("cannot send: {error}"))?);
    }
    let room = transfer.room(limit).min(PIECE_BYTES);
    if socket.can_recv() && room > 0 {
        let mut buffer = vec![0; room];
        let read = socket.recv_slice(&mut buffer);
        let read = read.map_err(|error| anyhow!("cannot receive: {error}"))?;
        return transfer.received(&buffer[..read]);
    }
    match socket.state() {
        State::Closed => Err(anyhow!("it was reset")),
        State::CloseWait if !socket.can_recv() => {
            socket.close();
            transfer.ended()
        }
        _ => Ok(()),
    }
}
