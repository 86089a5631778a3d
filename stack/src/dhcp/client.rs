//! The exchange with servers, without I/O (RFC 2131 §4.4): messages and the time come in, [`Action`]s go out.

use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use super::message::{self, Kind, Reply, Request, option};
use super::{Config, Lease};
use crate::random::Random;
use crate::time::Instant;
use crate::wire::ethernet::MacAddr;

/// The first repetition; each further one waits twice as long (§4.1).
const FIRST_REPEAT: Duration = Duration::from_secs(4);
const LONGEST_REPEAT: Duration = Duration::from_secs(64);
/// Who does not answer so many requests does not answer.
const REQUESTS: u32 = 4;
/// After an address turned out to be in use (§3.1).
const AFTER_DECLINE: Duration = Duration::from_secs(10);
/// While a lease lasts, nobody is asked more often (§4.4.5), unless so little is left.
const RENEW_EVERY: Duration = Duration::from_secs(60);
/// Largest message that we take: what fits one Ethernet frame.
const MAX_MESSAGE: u16 = 1472;

/// What is to be done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// Send this from port 68 to port 67: to everybody, or to the server of the lease.
    Send {
        /// 255.255.255.255, or one server.
        to: Ipv4Addr,
        /// The message.
        message: Vec<u8>,
    },
    /// This may be used from now on: a new address, or other terms for the present one.
    Bound(Lease),
    /// The address may not be used any more.
    Lost,
}

#[derive(Clone, Debug)]
enum State {
    /// Nobody has been asked, until then.
    Waiting(Instant),
    /// Who has an address?
    Selecting,
    /// That one has been asked for.
    Requesting(Lease),
    /// It is ours.
    Bound(Bound),
}

#[derive(Clone, Debug)]
struct Bound {
    lease: Lease,
    since: Instant,
}

impl Bound {
    fn renew_at(&self) -> Instant {
        self.at(self.lease.renew_after)
    }

    fn rebind_at(&self) -> Instant {
        self.at(self.lease.rebind_after)
    }

    fn ends_at(&self) -> Instant {
        self.lease
            .duration
            .map_or(Instant::FAR_FUTURE, |it| self.since + it)
    }

    fn at(&self, after: Duration) -> Instant {
        if self.lease.duration.is_some() {
            self.since + after
        } else {
            Instant::FAR_FUTURE
        }
    }

    /// When to ask once more: half of what is left until every server is asked, or until the end.
    fn repeat_at(&self, now: Instant) -> Instant {
        let next = if now < self.rebind_at() {
            self.rebind_at()
        } else {
            self.ends_at()
        };
        let left = next.since(now);
        now + (left / 2).max(RENEW_EVERY.min(left))
    }
}

/// A client.
#[derive(Debug)]
pub struct Client {
    station: MacAddr,
    config: Config,
    random: Random,
    state: State,
    transaction: u32,
    /// When the client began to ask.
    since: Instant,
    /// What was asked last is asked again then.
    repeat_at: Instant,
    repeats: u32,
}

impl Client {
    /// A client without a lease. Follow with [`Self::poll`].
    #[must_use]
    pub fn new(station: MacAddr, config: Config, random: Random, now: Instant) -> Self {
        Self {
            station,
            config,
            random,
            state: State::Waiting(now),
            transaction: 0,
            since: now,
            repeat_at: now,
            repeats: 0,
        }
    }

    /// The lease that is held.
    #[must_use]
    pub const fn lease(&self) -> Option<&Lease> {
        match &self.state {
            State::Bound(bound) => Some(&bound.lease),
            _ => None,
        }
    }

    /// When [`Self::poll`] has something to do.
    #[must_use]
    pub fn next_deadline(&self) -> Instant {
        match &self.state {
            State::Waiting(until) => *until,
            State::Selecting | State::Requesting(_) => self.repeat_at,
            State::Bound(bound) => self.repeat_at.min(bound.ends_at()),
        }
    }

    /// Does what is due.
    pub fn poll(&mut self, now: Instant, actions: &mut Vec<Action>) {
        if now < self.next_deadline() {
            return;
        }
        match &self.state {
            State::Waiting(_) => {
                self.begin(now);
                self.state = State::Selecting;
            }
            State::Requesting(_) if self.repeats >= REQUESTS => {
                self.begin(now);
                self.state = State::Selecting;
            }
            State::Selecting | State::Requesting(_) => {}
            State::Bound(bound) if now >= bound.ends_at() => {
                actions.push(Action::Lost);
                self.begin(now);
                self.state = State::Selecting;
            }
            State::Bound(bound) => {
                let bound = bound.clone();
                return self.renew(now, &bound, actions);
            }
        }
        self.ask(now, actions);
    }

    /// A new exchange.
    fn begin(&mut self, now: Instant) {
        self.transaction = self.random.next_u32();
        self.since = now;
        self.repeats = 0;
    }

    fn ask(&mut self, now: Instant, actions: &mut Vec<Action>) {
        let request = match &self.state {
            State::Requesting(lease) => {
                let wanted = vec![
                    (option::REQUESTED_ADDRESS, octets(lease)),
                    (option::SERVER, lease.server.octets().to_vec()),
                ];
                self.request(now, Kind::Request, Ipv4Addr::UNSPECIFIED, wanted)
            }
            _ => self.request(now, Kind::Discover, Ipv4Addr::UNSPECIFIED, Vec::new()),
        };
        actions.push(Action::Send {
            to: Ipv4Addr::BROADCAST,
            message: request.to_bytes(),
        });
        let wait = FIRST_REPEAT * (1 << self.repeats.min(4));
        // A second more or less, so that many clients do not keep in step (§4.1).
        let jitter = Duration::from_millis(self.random.below(2000));
        self.repeat_at = now + wait.min(LONGEST_REPEAT) + jitter - Duration::from_secs(1);
        self.repeats += 1;
    }

    /// The server of the lease is asked to go on; later every server.
    fn renew(&mut self, now: Instant, bound: &Bound, actions: &mut Vec<Action>) {
        if self.repeats == 0 {
            self.begin(now);
        }
        self.repeats += 1;
        let to = if now < bound.rebind_at() {
            bound.lease.server
        } else {
            Ipv4Addr::BROADCAST
        };
        let request = self.request(now, Kind::Request, address(&bound.lease), Vec::new());
        actions.push(Action::Send {
            to,
            message: request.to_bytes(),
        });
        self.repeat_at = bound.repeat_at(now);
    }

    fn request(
        &self,
        now: Instant,
        kind: Kind,
        client: Ipv4Addr,
        mut options: Vec<(u8, Vec<u8>)>,
    ) -> Request {
        let identity = [&[1], &self.station.0[..]].concat();
        options.insert(0, (option::CLIENT, identity));
        if kind != Kind::Decline {
            let wanted = [
                option::SUBNET_MASK,
                option::CLASSLESS_ROUTES,
                option::ROUTER,
                option::NAME_SERVER,
                option::LEASE_TIME,
                option::RENEWAL_TIME,
                option::REBINDING_TIME,
            ];
            options.push((option::PARAMETERS, wanted.to_vec()));
            options.push((option::MAX_MESSAGE, MAX_MESSAGE.to_be_bytes().to_vec()));
            if let Some(name) = self
                .config
                .host_name
                .as_deref()
                .filter(|name| !name.is_empty())
            {
                let name = name.as_bytes();
                options.push((option::HOST_NAME, name[..name.len().min(255)].to_vec()));
            }
        }
        Request {
            kind,
            transaction: self.transaction,
            seconds: now.since(self.since).as_secs().min(u16::MAX.into()) as u16,
            // Before it has an address the stack takes what is for everybody, and nothing else.
            broadcast: client.is_unspecified(),
            client,
            station: self.station,
            options,
        }
    }

    /// Something came to port 68.
    pub fn receive(&mut self, now: Instant, message: &[u8], actions: &mut Vec<Action>) {
        let reply = match message::parse(message) {
            Ok(reply) => reply,
            Err(error) => return tracing::debug!(%error, "dropped: no message of a DHCP server"),
        };
        if reply.station != self.station || reply.transaction != self.transaction {
            return tracing::debug!(?reply.kind, "dropped: an answer to somebody else");
        }
        match (reply.kind, &self.state) {
            (Kind::Offer, State::Selecting) => self.offered(now, &reply, actions),
            (Kind::Ack, State::Requesting(wanted)) => {
                let wanted = (wanted.address.address(), wanted.server);
                self.acknowledged(now, &reply, wanted, actions);
            }
            (Kind::Ack, State::Bound(bound)) if self.repeats > 0 => {
                let (present, asked_all) = (bound.lease.clone(), now >= bound.rebind_at());
                let server = reply.addresses(option::SERVER).next();
                let server = server.filter(|_| asked_all).unwrap_or(present.server);
                let wanted = (present.address.address(), server);
                self.acknowledged(now, &reply, wanted, actions);
            }
            (Kind::Nak, State::Requesting(_)) => self.refused(now),
            (Kind::Nak, State::Bound(_)) if self.repeats > 0 => {
                actions.push(Action::Lost);
                self.refused(now);
            }
            _ => tracing::debug!(?reply.kind, "dropped: nothing of that kind was asked for"),
        }
    }

    /// The first offer that can be used is taken.
    fn offered(&mut self, now: Instant, reply: &Reply, actions: &mut Vec<Action>) {
        let Some(lease) = Lease::from_reply(reply) else {
            return tracing::debug!(address = %reply.yours, "dropped: an offer of no use");
        };
        self.state = State::Requesting(lease);
        self.repeats = 0;
        self.ask(now, actions);
    }

    fn acknowledged(
        &mut self,
        now: Instant,
        reply: &Reply,
        wanted: (IpAddr, Ipv4Addr),
        actions: &mut Vec<Action>,
    ) {
        let lease = Lease::from_reply(reply);
        let asked_for = |lease: &Lease| (lease.address.address(), lease.server) == wanted;
        let Some(lease) = lease.filter(asked_for) else {
            return tracing::debug!(address = %reply.yours, "dropped: not what was asked for");
        };
        tracing::info!(address = %lease.address, server = %lease.server, "leased");
        actions.push(Action::Bound(lease.clone()));
        let bound = Bound { lease, since: now };
        self.repeat_at = bound.renew_at();
        self.repeats = 0;
        self.state = State::Bound(bound);
    }

    /// The address is not ours. Whoever refuses at once is not asked at once again.
    fn refused(&mut self, now: Instant) {
        tracing::info!("the address was refused");
        self.state = State::Waiting(now + Duration::from_secs(1));
    }

    /// The address that was leased is in use by somebody else: the server is told, and the client begins anew.
    pub fn decline(&mut self, now: Instant, actions: &mut Vec<Action>) {
        let State::Bound(bound) = &self.state else {
            return;
        };
        let used = vec![
            (option::REQUESTED_ADDRESS, octets(&bound.lease)),
            (option::SERVER, bound.lease.server.octets().to_vec()),
        ];
        let decline = self.request(now, Kind::Decline, Ipv4Addr::UNSPECIFIED, used);
        actions.push(Action::Send {
            to: Ipv4Addr::BROADCAST,
            message: decline.to_bytes(),
        });
        actions.push(Action::Lost);
        self.state = State::Waiting(now + AFTER_DECLINE);
    }
}

fn address(lease: &Lease) -> Ipv4Addr {
    match lease.address.address() {
        IpAddr::V4(address) => address,
        IpAddr::V6(_) => Ipv4Addr::UNSPECIFIED,
    }
}

fn octets(lease: &Lease) -> Vec<u8> {
    address(lease).octets().to_vec()
}
