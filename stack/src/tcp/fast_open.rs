//! TCP Fast Open (RFC 7413): data in the SYN of a peer that has shown before that it is where it says.
//!
//! A cookie is a keyed hash of both addresses (§4.1.2), the one that Linux uses, so that hosts that share a service may share a
//! key; the client keeps the one that it was given by each server
//! (§4.1.3). Off unless a listener, or a socket that connects, asks for it: a SYN that comes twice hands its data over
//! twice (§2.1), and not every application can take that.

use std::collections::{HashMap, VecDeque};
use std::hash::Hasher;
use std::net::IpAddr;

use arrayvec::ArrayVec;
use parking_lot::Mutex;
use siphasher::sip::SipHasher24;

use super::config::Secret;
use super::state::State;
use super::tcb::{FIRST_BYTE, Tcb};
use super::{FourTuple, Segment};
use crate::keyed::Keyed;
use crate::wire::tcp::FastOpen;

/// Servers whose cookies are kept.
const MOST_SERVERS: usize = 1024;

/// Cookies given and taken.
#[derive(Debug)]
pub(super) struct FastOpenCookies {
    secret: [u8; 16],
    taken: Mutex<Taken>,
}

#[derive(Debug)]
struct Taken {
    cookies: HashMap<IpAddr, FastOpen, Keyed>,
    /// The same in the order of arrival.
    order: VecDeque<IpAddr>,
}

/// What a connection has to do with it; only those that have.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct FastOpening {
    /// The option on our SYN or SYN-ACK: a cookie, or empty to ask for one.
    pub(super) option: Option<FastOpen>,
    /// In the form that it had as an experiment, because the peer's is.
    pub(super) experiment: bool,
    /// A cookie that the server gave us, not yet taken from here.
    pub(super) learned: Option<FastOpen>,
    /// The application has the connection before the handshake is over.
    pub(super) early: bool,
    /// Data went with the SYN, and was taken.
    pub(super) syn_data: bool,
}

impl FastOpenCookies {
    pub(super) fn new(keyed: &Keyed, secret: Option<Secret>) -> Self {
        Self {
            secret: secret.map_or(*keyed.secret(), |it| it.0),
            taken: Mutex::new(Taken {
                cookies: HashMap::with_hasher(keyed.derive(1)),
                order: VecDeque::new(),
            }),
        }
    }

    /// The cookie for the client of a connection, to be shown to our address in it.
    pub(super) fn give(&self, id: &FourTuple) -> FastOpen {
        let mut hasher = SipHasher24::new_with_key(&self.secret);
        for address in [id.remote, id.local] {
            match address {
                IpAddr::V4(address) => hasher.write(&address.octets()),
                IpAddr::V6(address) => hasher.write(&address.octets()),
            }
        }
        hasher.finish().to_le_bytes().into_iter().collect()
    }

    /// True if `cookie` is the one for that client.
    pub(super) fn is_good(&self, id: &FourTuple, cookie: &FastOpen) -> bool {
        !cookie.is_empty() && *cookie == self.give(id)
    }

    /// What our SYN to `server` says: the cookie that it gave us, or the wish for one.
    pub(super) fn option_for(&self, server: IpAddr) -> FastOpen {
        let taken = self.taken.lock();
        taken.cookies.get(&server).cloned().unwrap_or_default()
    }

    /// `server` gave us a cookie; an empty one: it is to be forgotten.
    pub(super) fn take(&self, server: IpAddr, cookie: FastOpen) {
        let Taken { cookies, order } = &mut *self.taken.lock();
        if cookie.is_empty() {
            cookies.remove(&server);
            order.retain(|it| *it != server);
            return;
        }
        if cookies.insert(server, cookie).is_none() {
            order.push_back(server);
        }
        if cookies.len() > MOST_SERVERS
            && let Some(oldest) = order.pop_front()
        {
            cookies.remove(&oldest);
        }
    }
}

impl Tcb {
    /// True when data may be exchanged although the handshake is not over (§4.2.2).
    pub(super) fn is_early(&self) -> bool {
        self.state == State::SynReceived && self.fast_opening.as_ref().is_some_and(|it| it.early)
    }

    /// A cookie that the server gave us, once; an empty one if it seems that SYNs with data do not reach it (§4.1.3.1).
    pub(super) fn take_learned_cookie(&mut self) -> Option<FastOpen> {
        if !self.state.is_synchronized() {
            return None;
        }
        let learned = self.fast_opening.as_mut()?.learned.take();
        // Only what can still be asked for is kept.
        self.fast_opening.take_if(|it| !it.syn_data);
        learned
    }

    /// Our SYN is acknowledged up to `acked`: with all the data that went along?
    pub(super) fn note_syn_data(&mut self, acked: u64) {
        let all = acked > FIRST_BYTE && acked == self.snd.nxt;
        if let Some(opening) = &mut self.fast_opening {
            opening.syn_data = all;
        }
    }

    /// Data went with the SYN of whoever opened, and was taken.
    pub(super) fn had_syn_data(&self) -> bool {
        self.fast_opening.as_ref().is_some_and(|it| it.syn_data)
    }

    /// Bytes of data that our SYN takes along.
    pub(super) fn syn_data_bytes(&self) -> usize {
        let cookie = self.fast_opening.as_ref().and_then(|it| it.option.as_ref());
        if cookie.is_none_or(ArrayVec::is_empty) || self.snd.nxt > 0 || self.passive {
            return 0;
        }
        // What the path takes, with all options there may be (§4.1.3: the MSS of the last time is not kept).
        let room =
            usize::from(self.path.default_mss().min(self.announced_mss())).saturating_sub(40);
        self.send_queue.len().min(room)
    }

    /// Our SYN asks for a cookie, or has one.
    pub(super) fn ask_for_fast_open(&mut self, option: FastOpen) {
        self.fast_opening = Some(Box::new(FastOpening {
            option: Some(option),
            ..FastOpening::default()
        }));
    }

    /// The SYN has to be sent again: a client leaves Fast Open (§4.1.3.1), a server repeats itself.
    pub(super) fn forget_fast_open(&mut self) {
        if !self.passive
            && let Some(opening) = &mut self.fast_opening
            && opening
                .option
                .take()
                .is_some_and(|cookie| !cookie.is_empty())
        {
            // What has a cookie and data in it may not pass.
            opening.learned = Some(FastOpen::new());
        }
    }

    pub(super) fn fast_open_option(&self) -> Option<FastOpen> {
        self.fast_opening.as_ref().and_then(|it| it.option.clone())
    }

    pub(super) fn fast_open_is_experiment(&self) -> bool {
        self.fast_opening.as_ref().is_some_and(|it| it.experiment)
    }

    /// The server's SYN-ACK may have a cookie for us.
    pub(super) fn learn_fast_open(&mut self, syn: &Segment) {
        if let Some(opening) = &mut self.fast_opening
            && let Some(cookie) = syn.options.fast_open.clone()
            && !cookie.is_empty()
        {
            opening.learned = Some(cookie);
        }
    }

    /// Data that went with our SYN, and is not acknowledged with it, is sent again as if it had never been.
    pub(super) fn send_again_as_new(&mut self) {
        if self.snd.nxt > self.snd.una {
            self.snd.nxt = self.snd.una;
            self.transit = None;
        }
    }

    /// The peer's SYN had a cookie, or asked for one.
    pub(super) fn open_fast(&mut self, mut opening: FastOpening, syn: &Segment) {
        if opening.early {
            let edge = self.rcv.edge;
            let inserted = self
                .receive_queue
                .insert(FIRST_BYTE, syn.payload.clone(), edge);
            self.rcv.nxt += inserted.advanced;
            self.rcv.committed = self.rcv.nxt;
            opening.syn_data = inserted.advanced > 0;
        }
        self.fast_opening = Some(Box::new(opening));
        self.check();
    }
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;

    use super::*;

    fn address(n: u32) -> IpAddr {
        IpAddr::V4(n.into())
    }

    fn from(client: &str) -> FourTuple {
        let local = "192.168.0.1:8080".parse().unwrap();
        FourTuple::new(local, SocketAddr::new(client.parse().unwrap(), 40_000))
    }

    #[test]
    fn a_cookie_is_good_for_one_address_and_one_secret() {
        let [a, b] = [1, 2].map(|key| FastOpenCookies::new(&Keyed::new([key; 16]), None));
        let cookie = a.give(&from("192.0.2.1"));
        assert_eq!(cookie.len(), 8);
        assert!(a.is_good(&from("192.0.2.1"), &cookie));
        assert!(!a.is_good(&from("192.0.2.2"), &cookie));
        assert!(!b.is_good(&from("192.0.2.1"), &cookie));
        assert!(
            !a.is_good(&from("192.0.2.1"), &FastOpen::new()),
            "a wish for one"
        );
    }

    #[test]
    fn with_the_same_key_it_is_that_of_linux() {
        // tcp_fastopen_key=a1a1a1a1-b2b2b2b2-c3c3c3c3-d4d4d4d4
        let key = std::array::from_fn(|at| [0xa1, 0xb2, 0xc3, 0xd4][at / 4]);
        let cookies = FastOpenCookies::new(&Keyed::new([0; 16]), Some(Secret(key)));
        let cookie = u64::from_be_bytes(cookies.give(&from("192.0.2.1"))[..].try_into().unwrap());
        assert_eq!(cookie, 0x3021_b9d8_8901_7eeb);
    }

    #[test]
    fn cookies_of_many_servers_are_kept_within_bounds() {
        let cookies = FastOpenCookies::new(&Keyed::new([1; 16]), None);
        let of = |n: u32| n.to_be_bytes().into_iter().collect::<FastOpen>();
        for n in 0..3000 {
            cookies.take(address(n), of(n));
        }
        assert_eq!(cookies.taken.lock().cookies.len(), MOST_SERVERS);
        assert_eq!(cookies.option_for(address(2999)), of(2999));
        assert!(cookies.option_for(address(0)).is_empty());
        cookies.take(address(2999), FastOpen::new());
        assert!(cookies.option_for(address(2999)).is_empty());
        assert_eq!(cookies.taken.lock().order.len(), MOST_SERVERS - 1);
    }
}
