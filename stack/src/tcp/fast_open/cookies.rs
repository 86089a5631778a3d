//! Fast Open cookies given, and what is known of the servers that gave some (RFC 7413 §4.1.2, §4.1.3).
//!
//! A cookie is a keyed hash of both addresses, the one that Linux uses, so that hosts that share a service may share a key.
//! With the cookie of a server goes the MSS of its last SYN-ACK, which says how much a SYN may carry, and whether it understands
//! the option under its number or as the experiment that it was (§4.1.1).

use std::collections::{HashMap, VecDeque};
use std::hash::Hasher;
use std::net::IpAddr;
use std::time::Duration;

use parking_lot::Mutex;
use siphasher::sip::SipHasher24;

use super::{Lesson, Offer, SynData};
use crate::keyed::Keyed;
use crate::tcp::FourTuple;
use crate::tcp::config::Secret;
use crate::time::Instant;
use crate::wire::tcp::FastOpen;

/// Servers of which something is known.
const MOST_SERVERS: usize = 1024;
/// After SYNs with data seem to have been lost twice in a row, for so long none is sent to that server (§4.1.3.1); twice as long with
/// each that follows.
const FIRST_PAUSE: Duration = Duration::from_secs(60);
const MOST_DOUBLINGS: u32 = 10;

/// Cookies given and taken.
#[derive(Debug)]
pub(in crate::tcp) struct FastOpenCookies {
    secret: Secret,
    taken: Mutex<Taken>,
}

#[derive(Debug)]
struct Taken {
    servers: HashMap<IpAddr, Server, Keyed>,
    /// The same in the order of arrival.
    order: VecDeque<IpAddr>,
}

/// What is known of a server.
#[derive(Clone, Debug, Default)]
struct Server {
    /// Empty while there is none.
    cookie: FastOpen,
    mss: Option<u16>,
    /// The cookie came in the experiment's form.
    experiment: bool,
    tried: Tried,
    /// SYNs with data that seem to have been lost in a row.
    losses: u32,
    /// Until then nothing of it is tried.
    paused_until: Instant,
}

/// In which forms a cookie was asked for in vain.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
enum Tried {
    #[default]
    Neither,
    /// As RFC 7413 has it: the next time it is asked for as the experiment.
    Standard,
    /// As RFC 7413 has it from now on.
    Both,
}

impl FastOpenCookies {
    pub(in crate::tcp) fn new(keyed: &Keyed, secret: Option<Secret>) -> Self {
        Self {
            secret: secret.unwrap_or(Secret(*keyed.secret())),
            taken: Mutex::new(Taken {
                servers: HashMap::with_hasher(keyed.derive(1)),
                order: VecDeque::new(),
            }),
        }
    }

    /// The cookie for the client of a connection, to be shown to our address in it; with a listener's own key, if it has one.
    pub(in crate::tcp) fn give(&self, id: &FourTuple, key: Option<Secret>) -> FastOpen {
        let mut hasher = SipHasher24::new_with_key(&key.unwrap_or(self.secret).0);
        for address in [id.remote, id.local] {
            match address {
                IpAddr::V4(address) => hasher.write(&address.octets()),
                IpAddr::V6(address) => hasher.write(&address.octets()),
            }
        }
        hasher.finish().to_le_bytes().into_iter().collect()
    }

    /// True if `cookie` is the one for that client.
    pub(in crate::tcp) fn is_good(
        &self,
        id: &FourTuple,
        key: Option<Secret>,
        cookie: &FastOpen,
    ) -> bool {
        !cookie.is_empty() && *cookie == self.give(id, key)
    }

    /// What a SYN to `server` may say; none while Fast Open does not seem to get through.
    pub(in crate::tcp) fn offer_for(&self, now: Instant, server: IpAddr) -> Option<Offer> {
        let taken = self.taken.lock();
        let Some(known) = taken.servers.get(&server) else {
            return Some(Offer::default());
        };
        (known.paused_until <= now).then(|| Offer {
            cookie: known.cookie.clone(),
            experiment: if known.cookie.is_empty() {
                known.tried == Tried::Standard
            } else {
                known.experiment
            },
            mss: known.mss,
        })
    }

    /// What the SYN-ACK of `server` said.
    pub(in crate::tcp) fn learn(&self, now: Instant, server: IpAddr, lesson: Lesson) {
        let Taken { servers, order } = &mut *self.taken.lock();
        if !servers.contains_key(&server) {
            order.push_back(server);
        }
        servers.entry(server).or_default().learn(now, lesson);
        if servers.len() > MOST_SERVERS
            && let Some(oldest) = order.pop_front()
        {
            servers.remove(&oldest);
        }
    }
}

impl Server {
    fn learn(&mut self, now: Instant, lesson: Lesson) {
        self.mss = Some(lesson.mss);
        if let Some(cookie) = lesson.cookie {
            self.cookie = cookie;
            self.experiment = lesson.experiment;
        } else if let Some(experiment) = lesson.asked_in_vain
            && self.cookie.is_empty()
        {
            let tried = if experiment {
                Tried::Both
            } else {
                Tried::Standard
            };
            self.tried = self.tried.max(tried);
        }
        match lesson.data {
            SynData::None => {}
            SynData::Taken => self.losses = 0,
            SynData::Lost => {
                // It begins anew, and does not trust its luck for ever.
                self.cookie.clear();
                self.losses += 1;
                if let Some(again) = self.losses.checked_sub(2) {
                    self.paused_until = now + FIRST_PAUSE * (1 << again.min(MOST_DOUBLINGS));
                }
            }
        }
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

    fn cookie(n: u32) -> FastOpen {
        n.to_be_bytes().into_iter().collect()
    }

    /// A SYN-ACK with `cookie` to a SYN that asked for one.
    fn given(cookie: Option<FastOpen>, experiment: bool) -> Lesson {
        Lesson {
            asked_in_vain: cookie.is_none().then_some(experiment),
            cookie,
            experiment,
            mss: 1460,
            data: SynData::None,
        }
    }

    const NOW: Instant = Instant::from_millis(1000);

    fn cookies() -> FastOpenCookies {
        FastOpenCookies::new(&Keyed::new([1; 16]), None)
    }

    #[test]
    fn a_cookie_is_good_for_one_address_and_one_secret() {
        let [a, b] = [1, 2].map(|key| FastOpenCookies::new(&Keyed::new([key; 16]), None));
        let cookie = a.give(&from("192.0.2.1"), None);
        assert_eq!(cookie.len(), 8);
        assert!(a.is_good(&from("192.0.2.1"), None, &cookie));
        assert!(!a.is_good(&from("192.0.2.2"), None, &cookie));
        assert!(!b.is_good(&from("192.0.2.1"), None, &cookie));
        assert!(!a.is_good(&from("192.0.2.1"), Some(Secret([9; 16])), &cookie));
        assert!(
            !a.is_good(&from("192.0.2.1"), None, &FastOpen::new()),
            "a wish for one"
        );
    }

    #[test]
    fn with_the_same_key_it_is_that_of_linux() {
        // tcp_fastopen_key=a1a1a1a1-b2b2b2b2-c3c3c3c3-d4d4d4d4
        let key = Secret(std::array::from_fn(|at| [0xa1, 0xb2, 0xc3, 0xd4][at / 4]));
        let cookies = FastOpenCookies::new(&Keyed::new([0; 16]), Some(key));
        let given = cookies.give(&from("192.0.2.1"), None);
        assert_eq!(
            u64::from_be_bytes(given[..].try_into().unwrap()),
            0x3021_b9d8_8901_7eeb
        );
        assert_eq!(self::cookies().give(&from("192.0.2.1"), Some(key)), given);
    }

    #[test]
    fn cookies_of_many_servers_are_kept_within_bounds() {
        let cookies = cookies();
        for n in 0..3000 {
            cookies.learn(NOW, address(n), given(Some(cookie(n)), false));
        }
        let offered = |n| cookies.offer_for(NOW, address(n)).unwrap().cookie;
        assert_eq!(offered(2999), cookie(2999));
        assert!(offered(0).is_empty());
        let taken = cookies.taken.lock();
        assert_eq!(
            (taken.servers.len(), taken.order.len()),
            (MOST_SERVERS, MOST_SERVERS)
        );
    }

    #[test]
    fn a_cookie_is_asked_for_as_the_experiment_once() {
        let cookies = cookies();
        let asks_so = || cookies.offer_for(NOW, address(1)).unwrap().experiment;
        for experiment in [false, true, false, false] {
            assert_eq!(asks_so(), experiment);
            cookies.learn(NOW, address(1), given(None, experiment));
        }
        cookies.learn(NOW, address(1), given(Some(cookie(1)), true));
        assert!(asks_so(), "shown in the form that it came in");
    }

    #[test]
    fn where_data_is_lost_again_and_again_there_is_a_pause_that_grows() {
        let cookies = cookies();
        let lose = |now| {
            let data = SynData::Lost;
            cookies.learn(
                now,
                address(1),
                Lesson {
                    data,
                    ..given(None, false)
                },
            );
        };
        let mut now = NOW;
        cookies.learn(now, address(1), given(Some(cookie(1)), false));
        lose(now);
        let offer = cookies.offer_for(now, address(1)).expect("begins anew");
        assert!(offer.cookie.is_empty());
        for pause in [FIRST_PAUSE, 2 * FIRST_PAUSE] {
            lose(now);
            assert!(cookies.offer_for(now, address(1)).is_none());
            assert!(cookies.offer_for(now, address(2)).is_some());
            now += pause;
            assert!(cookies.offer_for(now, address(1)).is_some());
        }
        let data = SynData::Taken;
        cookies.learn(
            now,
            address(1),
            Lesson {
                data,
                ..given(None, false)
            },
        );
        lose(now);
        assert!(cookies.offer_for(now, address(1)).is_some());
    }
}
