//! What only some connections have, in one allocation: the pacer while something is paced, the counters of accurate
//! ECN, what is watched of writes, what is agreed about the user time-out, the search for a larger path
//! MTU, and what held sending up. Every pointer in the Tcb is paid for by every
//! connection.

use super::accurate_ecn::Accurate;
use super::landmarks::Landmarks;
use super::limits::LimitAccount;
use super::mtu_search::MtuSearch;
use super::pacing::Pacer;
use super::tcb::Tcb;
use super::user_timeout::UserTimeouts;

/// Exists while one of them does.
#[derive(Clone, Debug, Default)]
pub(super) struct Aside {
    pub pacer: Option<Pacer>,
    pub accurate: Option<Accurate>,
    pub landmarks: Option<Landmarks>,
    pub user_timeouts: Option<UserTimeouts>,
    pub mtu_search: Option<Box<MtuSearch>>,
    pub limits: Option<Box<LimitAccount>>,
}

impl Tcb {
    pub(super) fn pacer(&self) -> Option<&Pacer> {
        self.aside.as_ref()?.pacer.as_ref()
    }

    pub(super) fn pacer_mut(&mut self) -> Option<&mut Pacer> {
        self.aside.as_mut()?.pacer.as_mut()
    }

    /// The pacer, which begins to be needed.
    pub(super) fn make_pacer(&mut self) -> &mut Pacer {
        let aside = self.aside.get_or_insert_default();
        aside.pacer.get_or_insert_default()
    }

    pub(super) fn drop_pacer(&mut self) {
        if let Some(aside) = &mut self.aside {
            aside.pacer = None;
            self.tidy_aside();
        }
    }

    /// Gives it back if nothing is in it.
    pub(super) fn tidy_aside(&mut self) {
        if let Some(aside) = &self.aside {
            let Aside {
                pacer,
                accurate,
                landmarks,
                user_timeouts,
                mtu_search,
                limits,
            } = &**aside;
            if pacer.is_none()
                && accurate.is_none()
                && landmarks.is_none()
                && user_timeouts.is_none()
                && mtu_search.is_none()
                && limits.is_none()
            {
                self.aside = None;
            }
        }
    }

    pub(super) fn accurate(&self) -> Option<&Accurate> {
        self.aside.as_ref()?.accurate.as_ref()
    }

    pub(super) fn accurate_mut(&mut self) -> Option<&mut Accurate> {
        self.aside.as_mut()?.accurate.as_mut()
    }

    /// Both sides use accurate feedback.
    pub(super) fn set_accurate(&mut self, accurate: Accurate) {
        self.marking.accurate = true;
        self.aside.get_or_insert_default().accurate = Some(accurate);
    }
}
