//! What is known of one other host: its paths, and its life.

use super::ballot::Incarnation;
use super::config::PathId;
use super::detector::Detector;
use crate::replication::view::HostId;
use crate::time::Instant;

/// Whose message it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Life {
    /// The first that is heard.
    First,
    /// The same as before.
    Same,
    /// A new process; what the old one had is gone.
    New,
    /// The process before the present one.
    Old,
}

/// One other host.
#[derive(Clone, Debug)]
pub(super) struct Host {
    pub(super) id: HostId,
    pub(super) paths: Vec<(PathId, Detector)>,
    pub(super) incarnation: Option<Incarnation>,
    previous: Option<Incarnation>,
    /// What was last reported of it, and since when.
    pub(super) up: bool,
    pub(super) since: Instant,
}

impl Host {
    pub(super) fn new(now: Instant, id: HostId) -> Self {
        Self {
            id,
            paths: Vec::new(),
            incarnation: None,
            previous: None,
            up: false,
            since: now,
        }
    }

    pub(super) fn path(&mut self, path: PathId) -> Option<&mut Detector> {
        self.paths
            .iter_mut()
            .find_map(|(id, detector)| (*id == path).then_some(detector))
    }

    /// Any path works.
    pub(super) fn hears(&self) -> bool {
        self.paths.iter().any(|(_, path)| path.is_up())
    }

    /// A message of that life came.
    pub(super) fn lives(&mut self, now: Instant, incarnation: Incarnation) -> Life {
        if self.incarnation == Some(incarnation) {
            return Life::Same;
        }
        if self.previous == Some(incarnation) {
            return Life::Old;
        }
        self.previous = self.incarnation.replace(incarnation);
        if self.previous.is_none() {
            return Life::First;
        }
        for (_, path) in &mut self.paths {
            path.restarted(now);
        }
        Life::New
    }
}
