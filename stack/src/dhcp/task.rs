//! The client on a stack: a task that speaks on port 68, takes the address and the routes, and gives them up.

use std::future::Future;
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::pin::{Pin, pin};
use std::task::Poll;
use std::time::Duration;

use bytes::Bytes;

use super::message::{CLIENT_PORT, SERVER_PORT};
use super::{Action, Client, Config, Lease};
use crate::engine::{Stack, Task};
use crate::ethernet::Claim;
use crate::ip::Cidr;
use crate::socket::asynchronous::UdpSocket;
use crate::time::Instant;

/// How often to look whether a new address turned out to be free.
const LOOK_EVERY: Duration = Duration::from_millis(100);

/// Asks for an address and keeps it, until the task is dropped. `tell` hears of every lease from when it can be used, and
/// of its loss. With [`crate::ethernet::ConflictTimes::probe`] the link is asked first whether somebody has the
/// address, and the server told if so; without it the address is announced and defended.
///
/// # Errors
/// When port 68 is taken.
pub fn start(
    stack: &Stack,
    config: Config,
    tell: impl FnMut(Option<&Lease>) + Send + 'static,
) -> io::Result<Task<()>> {
    let socket = UdpSocket::bind(stack, (Ipv4Addr::UNSPECIFIED, CLIENT_PORT))?;
    socket.set_broadcast(true);
    let link = &stack.core().link;
    let client = Client::new(link.station(), config, link.fork_random(), stack.now());
    let task = Leasing {
        stack: stack.clone(),
        socket,
        client,
        held: None,
        usable: false,
        sleep: None,
        tell: Box::new(tell),
    };
    Ok(stack.spawn(task.run()))
}

type Tell = Box<dyn FnMut(Option<&Lease>) + Send>;
type Sleep = Pin<Box<dyn Future<Output = ()> + Send>>;

struct Leasing {
    stack: Stack,
    socket: UdpSocket,
    client: Client,
    /// The address that was taken.
    held: Option<Lease>,
    /// It is known to be free.
    usable: bool,
    /// Kept while messages for others come in: each sleep costs a timer.
    sleep: Option<(Instant, Sleep)>,
    tell: Tell,
}

impl Leasing {
    async fn run(mut self) {
        let mut actions = Vec::new();
        loop {
            self.client.poll(self.stack.now(), &mut actions);
            self.watch(&mut actions);
            for action in actions.drain(..) {
                self.carry_out(action).await;
            }
            let message = match self.next().await {
                Some(Ok((message, _))) => message,
                // What ICMP says of a server that does not answer is no news.
                Some(Err(error)) if error.kind() != io::ErrorKind::NotConnected => continue,
                Some(Err(_)) => return,
                None => continue,
            };
            self.client
                .receive(self.stack.now(), &message, &mut actions);
        }
    }

    /// The next message, or none when something is due.
    async fn next(&mut self) -> Option<io::Result<(Bytes, SocketAddr)>> {
        let now = self.stack.now();
        let mut due = self.client.next_deadline();
        if self.held.is_some() && !self.usable {
            due = due.min(now + LOOK_EVERY);
        }
        if self.sleep.as_ref().is_none_or(|(until, _)| *until != due) {
            let stack = self.stack.clone();
            let sleep = async move { stack.sleep(due.since(now)).await };
            self.sleep = Some((due, Box::pin(sleep)));
        }
        let mut message = pin!(self.socket.recv_bytes());
        let sleep = &mut self.sleep;
        std::future::poll_fn(|cx| {
            if let Poll::Ready(message) = message.as_mut().poll(cx) {
                return Poll::Ready(Some(message));
            }
            let slept = sleep
                .as_mut()
                .is_none_or(|(_, it)| it.as_mut().poll(cx).is_ready());
            if slept {
                *sleep = None;
                return Poll::Ready(None);
            }
            Poll::Pending
        })
        .await
    }

    /// Whether the address turned out to be free, or somebody else's.
    fn watch(&mut self, actions: &mut Vec<Action>) {
        let Some(lease) = &self.held else {
            return;
        };
        match self.stack.core().link.claim(lease.address.address()) {
            Some(Claim::Held) if !self.usable => {
                self.usable = true;
                self.stack.core().ip.add_address(lease.address);
                (self.tell)(Some(lease));
            }
            Some(Claim::Lost) => {
                tracing::warn!(address = %lease.address, "leased, and in use by another station");
                self.client.decline(self.stack.now(), actions);
            }
            _ => {}
        }
    }

    async fn carry_out(&mut self, action: Action) {
        match action {
            Action::Send { to, message } => {
                let to = SocketAddr::new(to.into(), SERVER_PORT);
                if let Err(error) = self.socket.send_bytes(message.into(), Some(to)).await {
                    tracing::debug!(%to, %error, "a message to a DHCP server was not sent");
                }
            }
            Action::Bound(lease) => self.take(lease),
            Action::Lost => self.give_up(),
        }
    }

    fn take(&mut self, lease: Lease) {
        let core = self.stack.core();
        core.ip.lease_routes(lease.routes.clone());
        let address = |lease: &Lease| -> Cidr { lease.address };
        if self.held.as_ref().map(address) == Some(lease.address) {
            self.held = Some(lease);
            return;
        }
        core.link.add_address(self.stack.now(), lease.address);
        self.stack.runtime().look_at_neighbours();
        self.held = Some(lease);
        self.usable = false;
        self.watch(&mut Vec::new());
    }

    fn give_up(&mut self) {
        let Some(lease) = self.held.take() else {
            return;
        };
        let core = self.stack.core();
        let address: IpAddr = lease.address.address();
        core.link.remove_address(address);
        core.ip.remove_address(address);
        core.ip.lease_routes(Vec::new());
        if self.usable {
            (self.tell)(None);
        }
        self.usable = false;
    }
}
