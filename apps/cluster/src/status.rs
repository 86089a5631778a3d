//! From the state of a host to a [`Report`]: what servers and witness have in common.

use crate::config::{Arbitration, Config};
use crate::id::{HostId, PathId};
use crate::link::Links;
use crate::report::{Path, Peer, Report, Role};
use outlive::replication::view::View;

/// A report with what does not depend on the kind of host.
pub(crate) fn report(config: &Config, links: &Links, role: Role, view: &View) -> Report {
    let counted = links.counters().non_zero().into_iter();
    Report {
        me: config.me.0,
        role,
        epoch: view.epoch.0,
        primary: (!view.is_none()).then_some(view.primary.0),
        in_sync: view.in_sync.iter().map(|host| host.0).collect(),
        lease_ms: None,
        arbitration: match &config.arbitration {
            Arbitration::Witness => "witness".into(),
            Arbitration::Fence(fence) => format!("fence: {}", fence.command.join(" ")),
            Arbitration::UnsafePair(_) => "unsafe pair".into(),
        },
        guarantee: !matches!(config.arbitration, Arbitration::UnsafePair(_)),
        peers: Vec::new(),
        replication: None,
        last_takeover: None,
        links: counted
            .map(|(name, amount)| (name.to_owned(), amount))
            .collect(),
    }
}

/// The other hosts; `is_up` says whether heartbeats pass on a path.
pub(crate) fn peers(
    config: &Config,
    links: &Links,
    is_up: impl Fn(HostId, PathId) -> bool,
) -> Vec<Peer> {
    let peer = |host: &crate::config::Host| {
        let paths = (0..).map(PathId).zip(&host.paths);
        let paths = paths.map(|(path, address)| Path {
            address: address.to_string(),
            up: is_up(host.id, path),
        });
        let paths: Vec<_> = paths.collect();
        let ordered = host.id.is_server() && config.me.is_server();
        Peer {
            host: host.id.0,
            up: paths.iter().any(|path| path.up),
            connected: ordered.then(|| links.is_connected(host.id)),
            paths,
        }
    };
    config.others().map(peer).collect()
}
