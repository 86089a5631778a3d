//! What a handler cannot derive from its input: values that were decided once and are logged
//! (FAILOVER §5, "logged non-determinism").
//!
//! A decision carries how much input the handler had been shown when it decided. A handler that repeats
//! is shown no more than that before it has asked for the decision again. So a decision that came *between*
//! two pieces of input, a time-out for example, comes there again, although both pieces are present now.

use std::collections::VecDeque;

use bytes::Bytes;

/// One logged value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Logged {
    /// First position of the peer's stream that the handler had not been shown; its FIN counts one.
    pub seen: u64,
    /// What was decided.
    pub value: Bytes,
}

/// Decisions that a repeating handler has not asked for yet.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Decisions {
    logged: VecDeque<Logged>,
    /// Decisions that the handler asked for since the connection began, on whatever host.
    asked: u64,
}

impl Decisions {
    /// Those `logged` by the former owner, of which the first has the number `asked`.
    #[must_use]
    pub fn repeat(asked: u64, logged: impl IntoIterator<Item = Logged>) -> Self {
        Self {
            logged: logged.into_iter().collect(),
            asked,
        }
    }

    /// One more was logged by the owner.
    pub fn push(&mut self, decision: Logged) {
        self.logged.push_back(decision);
    }

    /// The handler asks: the next logged one, if there is one.
    pub fn next_logged(&mut self) -> Option<Bytes> {
        let decision = self.logged.pop_front()?;
        self.asked += 1;
        Some(decision.value)
    }

    /// The handler decided anew.
    pub const fn decided(&mut self) {
        self.asked += 1;
    }

    /// How many the handler asked for.
    #[must_use]
    pub const fn asked(&self) -> u64 {
        self.asked
    }

    /// The handler is shown nothing from this position on until it has asked for the next decision.
    #[must_use]
    pub fn horizon(&self) -> Option<u64> {
        self.logged.front().map(|decision| decision.seen)
    }

    /// True when nothing is left to be repeated.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.logged.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn decisions_are_repeated_in_order_with_their_horizons_and_then_made_anew() {
        let logged = [(5, "a"), (5, "b"), (9, "c")].map(|(seen, value)| Logged {
            seen,
            value: Bytes::from_static(value.as_bytes()),
        });
        let mut decisions = Decisions::repeat(7, logged);
        let mut repeated = Vec::new();
        while let Some(horizon) = decisions.horizon() {
            repeated.push((horizon, decisions.next_logged().expect("logged")));
        }
        assert_eq!(
            repeated,
            [(5, "a".into()), (5, "b".into()), (9, "c".into())]
        );
        assert_eq!((decisions.next_logged(), decisions.asked()), (None, 10));
        decisions.decided();
        assert_eq!(decisions.asked(), 11);
    }
}
