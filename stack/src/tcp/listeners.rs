//! Which listener a connection is for (RFC 9293 §3.10.7.2): one on its very address before one on all addresses of its
//! family, and that before one on `[::]`, which takes connections over IPv4 too unless it says otherwise (RFC 3493 §5.3).
//!
//! Several may listen on one address and port if all of them say so (like `SO_REUSEPORT`). Connections are spread over
//! them by a keyed hash, each listener having its own: when one comes or goes, only its own connections move.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::RwLock;
use smallvec::{SmallVec, smallvec};

use super::config::ListenOptions;
use super::listener::Listener;
use super::{Error, FourTuple};
use crate::keyed::Keyed;

/// Those on one address and port.
type Group = SmallVec<[Arc<Listener>; 1]>;

/// All listeners of a stack.
#[derive(Debug)]
pub(super) struct Listeners {
    keyed: Keyed,
    numbers: AtomicU64,
    groups: RwLock<HashMap<SocketAddr, Group, Keyed>>,
}

impl Listeners {
    pub(super) fn new(keyed: Keyed) -> Self {
        Self {
            groups: RwLock::new(HashMap::with_hasher(keyed.clone())),
            numbers: AtomicU64::new(0),
            keyed,
        }
    }

    /// The listener for the connection of that name.
    pub(super) fn find(&self, id: &FourTuple) -> Option<Arc<Listener>> {
        let groups = self.groups.read();
        let group = places(id.local, id.local_port).find_map(|place| {
            let group = groups.get(&place)?;
            takes(group, id.local).then_some(group)
        })?;
        match &group[..] {
            [only] => Some(Arc::clone(only)),
            several => several
                .iter()
                .max_by_key(|it| self.keyed.hash((it.number, id.to_bytes())))
                .map(Arc::clone),
        }
    }

    /// True if somebody listens there.
    pub(super) fn listens(&self, address: IpAddr, port: u16) -> bool {
        let groups = self.groups.read();
        places(address, port).any(|place| {
            let group = groups.get(&place);
            group.is_some_and(|group| takes(group, address))
        })
    }

    /// A half-open connection ended, whoever has it.
    pub(super) fn forget(&self, id: &FourTuple) {
        let groups = self.groups.read();
        for place in places(id.local, id.local_port) {
            for listener in groups.get(&place).into_iter().flatten() {
                listener.forget(id);
            }
        }
    }

    pub(super) fn add(
        &self,
        local: SocketAddr,
        options: ListenOptions,
    ) -> Result<Arc<Listener>, Error> {
        let mut groups = self.groups.write();
        let shared = options.reuse_port;
        let group = groups.get_mut(&local);
        if let Some(group) = &group
            && !(shared && group.iter().all(|it| it.shared))
        {
            return Err(Error::AddressInUse);
        }
        let number = self.numbers.fetch_add(1, Ordering::Relaxed);
        let listener = Arc::new(Listener::new(local, options, number, self.keyed.clone()));
        match group {
            Some(group) => group.push(Arc::clone(&listener)),
            None => drop(groups.insert(local, smallvec![Arc::clone(&listener)])),
        }
        Ok(listener)
    }

    /// Removes this very listener.
    pub(super) fn remove(&self, listener: &Arc<Listener>) {
        let mut groups = self.groups.write();
        if let Some(group) = groups.get_mut(&listener.local) {
            group.retain(|it| !Arc::ptr_eq(it, listener));
            if group.is_empty() {
                groups.remove(&listener.local);
            }
        }
    }

    pub(super) fn all(&self) -> Vec<Arc<Listener>> {
        let groups = self.groups.read();
        groups.values().flatten().map(Arc::clone).collect()
    }
}

/// Where a listener for `port` of `address` may be, the nearest first: on that address, on all of its family,
/// on all of both. The unspecified IPv6 address stands for IPv4 too, as it does for the sockets of most
/// systems (RFC 3493 §3.7).
fn places(address: IpAddr, port: u16) -> impl Iterator<Item = SocketAddr> {
    let both = address
        .is_ipv4()
        .then_some(IpAddr::V6(Ipv6Addr::UNSPECIFIED));
    [address, unspecified(address)]
        .into_iter()
        .chain(both)
        .map(move |address| SocketAddr::new(address, port))
}

/// True if `group` takes connections to `address`, given where it is.
fn takes(group: &Group, address: IpAddr) -> bool {
    group
        .iter()
        .all(|it| it.local.is_ipv4() == address.is_ipv4() || !it.only_v6)
}

const fn unspecified(family_of: IpAddr) -> IpAddr {
    match family_of {
        IpAddr::V4(_) => IpAddr::V4(Ipv4Addr::UNSPECIFIED),
        IpAddr::V6(_) => IpAddr::V6(Ipv6Addr::UNSPECIFIED),
    }
}
