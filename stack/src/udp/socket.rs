//! One socket: a bounded queue of received datagrams, a peer if connected, and what was said by ICMP.

use std::collections::VecDeque;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use parking_lot::Mutex;

use super::Error;
use super::table::Table;
use super::writer::{MAX_DATA_LEN, Service, datagram};
use crate::ip::{ErrorKind, Ip, TxDatagram};
use crate::time::Instant;

/// What a waiting datagram costs beside its bytes, roughly.
const OVERHEAD_BYTES: usize = 128;
/// ICMP errors kept until somebody asks; the oldest makes room.
const MAX_ERRORS: usize = 16;

/// A received datagram.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Received {
    /// Its data, as received.
    pub data: Bytes,
    /// Who sent it.
    pub from: SocketAddr,
    /// Which of our addresses it came to.
    pub to: IpAddr,
    /// Hops left.
    pub ttl: u8,
    /// DSCP and ECN.
    pub tos: u8,
    /// When it arrived.
    pub at: Instant,
}

/// What a call would meet now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Readiness {
    /// Bytes of the next datagram, if there is one.
    pub next_bytes: Option<usize>,
    /// An error waits to be told.
    pub failed: bool,
    /// Datagrams received, and errors heard of, since the beginning: grows with every arrival.
    pub arrived: u64,
}

/// A UDP socket. All methods may be called from any thread.
#[derive(Debug)]
pub struct Socket {
    local: SocketAddr,
    ip: Arc<Ip>,
    table: Arc<Table>,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    peer: Option<SocketAddr>,
    queue: VecDeque<Received>,
    queued_bytes: usize,
    receive_bytes: usize,
    errors: VecDeque<Error>,
    /// Datagrams and errors there ever were.
    arrived: u64,
    wakers: Vec<Waker>,
    closed: bool,
    service: Service,
    allow_broadcast: bool,
    report_errors: bool,
}

impl Socket {
    pub(super) fn new(
        local: SocketAddr,
        ip: Arc<Ip>,
        table: Arc<Table>,
        receive_bytes: usize,
    ) -> Self {
        let service = Service {
            ttl: ip.default_ttl(),
            tos: 0,
            may_fragment: true,
        };
        Self {
            local,
            ip,
            table,
            state: Mutex::new(State {
                peer: None,
                queue: VecDeque::new(),
                queued_bytes: 0,
                receive_bytes,
                errors: VecDeque::new(),
                arrived: 0,
                wakers: Vec::new(),
                closed: false,
                service,
                allow_broadcast: false,
                report_errors: false,
            }),
        }
    }

    /// Where it is bound; the address of the way to the peer once it is connected.
    #[must_use]
    pub fn local_addr(&self) -> SocketAddr {
        let towards_peer = || {
            let peer = self.peer()?;
            let path = self.ip.path(peer.ip(), None).ok()?;
            Some(SocketAddr::new(path.source, self.local.port()))
        };
        if self.local.ip().is_unspecified() {
            towards_peer().unwrap_or(self.local)
        } else {
            self.local
        }
    }

    /// The peer it is connected to.
    #[must_use]
    pub fn peer(&self) -> Option<SocketAddr> {
        self.state.lock().peer
    }

    /// From now on sends to `peer` and receives from nobody else; what others sent before is dropped.
    ///
    /// # Errors
    /// [`Error::BadDestination`], [`Error::NoRoute`] or [`Error::BroadcastNotAllowed`].
    pub fn connect(&self, peer: SocketAddr) -> Result<(), Error> {
        self.way(peer)?;
        let mut state = self.state.lock();
        state.peer = Some(peer);
        state.queue.retain(|received| received.from == peer);
        state.queued_bytes = state.queue.iter().map(cost).sum();
        Ok(())
    }

    /// Receives from everybody again.
    pub fn disconnect(&self) {
        self.state.lock().peer = None;
    }

    /// Builds a datagram for `destination`, for the IP writer.
    ///
    /// # Errors
    /// Any [`Error`] but those of binding.
    pub fn send_to(&self, data: Bytes, destination: SocketAddr) -> Result<TxDatagram, Error> {
        if data.len() > MAX_DATA_LEN {
            return Err(Error::TooLarge {
                len: data.len(),
                max: MAX_DATA_LEN,
            });
        }
        let source = self.way(destination)?;
        let service = self.state.lock().service;
        Ok(datagram(source, destination, data, service))
    }

    /// Builds a datagram for the peer, for the IP writer. What was said by ICMP about an earlier one is
    /// reported first.
    ///
    /// # Errors
    /// Any [`Error`] but those of binding.
    pub fn send(&self, data: Bytes) -> Result<TxDatagram, Error> {
        let peer = self.peer().ok_or(Error::NotConnected)?;
        match self.take_error() {
            Some(error) => Err(error),
            None => self.send_to(data, peer),
        }
    }

    /// Our end of the way to `destination`.
    fn way(&self, destination: SocketAddr) -> Result<SocketAddr, Error> {
        let (allow_broadcast, closed) = {
            let state = self.state.lock();
            (state.allow_broadcast, state.closed)
        };
        if closed {
            return Err(Error::Closed);
        }
        let of_both = self.local.ip() == Ipv6Addr::UNSPECIFIED;
        let family = of_both || destination.is_ipv4() == self.local.is_ipv4();
        if destination.port() == 0 || destination.ip().is_unspecified() || !family {
            return Err(Error::BadDestination(destination));
        }
        if !allow_broadcast && self.ip.is_broadcast(destination.ip()) {
            return Err(Error::BroadcastNotAllowed(destination.ip()));
        }
        // A socket that is bound to a group or a broadcast address speaks as one of us.
        let ours = Some(self.local.ip()).filter(|&address| self.ip.is_local(address));
        let path = self.ip.path(destination.ip(), ours)?;
        Ok(SocketAddr::new(path.source, self.local.port()))
    }

    /// The next datagram, or what was said by ICMP about one of ours.
    ///
    /// # Errors
    /// [`Error::Icmp`], and [`Error::Closed`] once the socket is closed and empty.
    pub fn try_recv_from(&self) -> Option<Result<Received, Error>> {
        self.state.lock().take()
    }

    /// The same, and wakes the task later if there is nothing now.
    pub fn poll_recv_from(&self, cx: &mut Context<'_>) -> Poll<Result<Received, Error>> {
        let mut state = self.state.lock();
        match state.take() {
            Some(result) => Poll::Ready(result),
            None => {
                state.register(cx.waker());
                Poll::Pending
            }
        }
    }

    /// The next datagram, which stays; and wakes the task later if there is none now.
    pub fn poll_peek_from(&self, cx: &mut Context<'_>) -> Poll<Result<Received, Error>> {
        let mut state = self.state.lock();
        if let Some(error) = state.errors.pop_front() {
            return Poll::Ready(Err(error));
        }
        match state.queue.front() {
            Some(received) => Poll::Ready(Ok(received.clone())),
            None if state.closed => Poll::Ready(Err(Error::Closed)),
            None => {
                state.register(cx.waker());
                Poll::Pending
            }
        }
    }

    /// What a call would meet now; wakes the task when that may have changed.
    pub fn poll_ready(&self, cx: &mut Context<'_>) -> Readiness {
        let mut state = self.state.lock();
        state.register(cx.waker());
        Readiness {
            next_bytes: state.queue.front().map(|received| received.data.len()),
            failed: !state.errors.is_empty(),
            arrived: state.arrived,
        }
    }

    /// What was said by ICMP, oldest first.
    pub fn take_error(&self) -> Option<Error> {
        self.state.lock().errors.pop_front()
    }

    /// Ends it: what waits can still be received, then there is [`Error::Closed`].
    pub fn close(&self) {
        self.table.remove(self.local);
        let wakers = {
            let mut state = self.state.lock();
            state.closed = true;
            std::mem::take(&mut state.wakers)
        };
        wakers.into_iter().for_each(Waker::wake);
    }

    /// Whether datagrams may go to broadcast addresses; at first not.
    pub fn set_broadcast(&self, allow: bool) {
        self.state.lock().allow_broadcast = allow;
    }

    /// Whether ICMP errors are reported while not connected; at first not, since they would concern any
    /// of many peers.
    pub fn set_report_errors(&self, report: bool) {
        self.state.lock().report_errors = report;
    }

    /// Hops that datagrams may take.
    pub fn set_ttl(&self, ttl: u8) {
        self.state.lock().service.ttl = ttl;
    }

    /// DSCP and ECN of datagrams.
    pub fn set_tos(&self, tos: u8) {
        self.state.lock().service.tos = tos;
    }

    /// Whether datagrams may be cut on their way; at first they may. Those that may not and do not fit are
    /// lost, and the path MTU is reported as [`Error::Icmp`].
    pub fn set_may_fragment(&self, may: bool) {
        self.state.lock().service.may_fragment = may;
    }

    /// How many bytes may wait to be received.
    pub fn set_receive_bytes(&self, bytes: usize) {
        self.state.lock().receive_bytes = bytes;
    }

    /// Puts a datagram in the queue, if there is room; wakers of those who wait go to `wakers`.
    pub(super) fn deliver(&self, received: Received, wakers: &mut Vec<Waker>) -> bool {
        let mut state = self.state.lock();
        let bytes = cost(&received);
        if state.closed || state.queued_bytes + bytes > state.receive_bytes {
            return false;
        }
        state.queued_bytes += bytes;
        state.arrived += 1;
        state.queue.push_back(received);
        wakers.append(&mut state.wakers);
        true
    }

    /// Takes what was said about a datagram of ours; true if anybody wants to know.
    pub(super) fn report(
        &self,
        kind: ErrorKind,
        destination: SocketAddr,
        wakers: &mut Vec<Waker>,
    ) -> bool {
        let mut state = self.state.lock();
        let wanted = state.report_errors || state.peer == Some(destination);
        // A datagram that may be cut will be, from now on: nothing the application need know.
        let handled = matches!(kind, ErrorKind::TooBig { .. }) && state.service.may_fragment;
        if !wanted || handled {
            return handled;
        }
        if state.errors.len() == MAX_ERRORS {
            state.errors.pop_front();
        }
        state.errors.push_back(Error::Icmp { kind, destination });
        state.arrived += 1;
        wakers.append(&mut state.wakers);
        true
    }
}

impl State {
    fn take(&mut self) -> Option<Result<Received, Error>> {
        if let Some(error) = self.errors.pop_front() {
            return Some(Err(error));
        }
        match self.queue.pop_front() {
            Some(received) => {
                self.queued_bytes -= cost(&received);
                Some(Ok(received))
            }
            None => self.closed.then_some(Err(Error::Closed)),
        }
    }

    fn register(&mut self, waker: &Waker) {
        if !self.wakers.iter().any(|known| known.will_wake(waker)) {
            self.wakers.push(waker.clone());
        }
    }
}

impl Drop for Socket {
    fn drop(&mut self) {
        if !self.state.get_mut().closed {
            self.table.remove(self.local);
        }
    }
}

fn cost(received: &Received) -> usize {
    received.data.len() + OVERHEAD_BYTES
}
