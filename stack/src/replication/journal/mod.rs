//! What is kept of a connection: everything from which another host can go on with it. A fold over the
//! connection's entries, the same on both hosts, so that the entries that rebuild it are its snapshot.
//!
//! Input is kept from the last point on, up to the connection's terms. A connection that needs more is then
//! *hot*, if it may: the application on the backup follows along, and its input may be shed. Otherwise it is
//! not kept until its next point at which nothing is unread; nor is one whose entries make no sense.

mod rebuild;
mod stretch;
#[cfg(test)]
pub(crate) mod tests;

use std::collections::VecDeque;

use bytes::Bytes;
use thiserror::Error;

pub(crate) use self::rebuild::Head;
pub(crate) use self::stretch::Stretch;
use super::decisions::Logged;
use super::entry::{Change, Opening, Reason};
use crate::tcp::FourTuple;
use crate::tcp::gate::{Hot, Mark, Note, Point, Terms};
use crate::tcp::record::Record;

/// Position of the first byte of data; position 0 is the SYN.
pub(crate) const FIRST_BYTE: u64 = 1;
/// Most bytes of mirrored output that the peer has not acknowledged.
const MOST_OUTPUT_BYTES: usize = 16 << 20;
/// Most bytes of decisions since the last point.
const MOST_DECISION_BYTES: usize = 1 << 20;

/// An entry that does not fit what came before it.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
pub enum Misfit {
    /// The stream has a gap or goes backwards.
    #[error("input at {from} follows {committed}")]
    Input {
        /// Where it says that it begins.
        from: u64,
        /// Where it should.
        committed: u64,
    },
    /// A position that cannot be.
    #[error("a position out of order")]
    Position,
    /// It is open already.
    #[error("opened twice")]
    Open,
}

/// What is kept of one connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Journal {
    /// Its name.
    pub id: FourTuple,
    /// What was fixed at set-up.
    pub record: Record,
    /// What is kept.
    pub terms: Terms,
    /// Committed input from the point on, without the FIN.
    pub(crate) input: Stretch,
    /// How much of the peer's stream is committed, its FIN included.
    pub committed: u64,
    /// Position of the peer's FIN.
    pub peer_fin: Option<u64>,
    /// The furthest right edge that may have been advertised.
    pub right_edge: u64,
    /// Position of our FIN.
    pub fin: Option<u64>,
    /// Our FIN was decided before the peer's was committed.
    pub closed_first: bool,
    /// A RST was decided.
    pub abort: bool,
    /// Both FINs are acknowledged.
    pub time_wait: bool,
    /// The peer has acknowledged our stream up to here, without the FIN.
    pub anchor: u64,
    /// The last digest of our stream.
    pub mark: Option<Mark>,
    /// From where the application can continue.
    pub point: Point,
    /// What it decided since then.
    pub decisions: VecDeque<Logged>,
    decision_bytes: usize,
    /// Mirrored output that the peer may not have.
    pub(crate) output: Stretch,
    /// The application on the backup follows along.
    pub hot: bool,
    /// Its input is not kept any more.
    pub(crate) shed: bool,
    /// Why nobody could go on with it; none while somebody could.
    pub lost: Option<Reason>,
}

impl Journal {
    /// A connection that was just set up.
    #[must_use]
    pub fn new(opening: &Opening) -> Self {
        let Opening { id, record, terms } = *opening;
        Self {
            id,
            record,
            terms,
            input: Stretch::new(FIRST_BYTE),
            committed: FIRST_BYTE,
            peer_fin: None,
            right_edge: record.right_edge(),
            fin: None,
            closed_first: false,
            abort: false,
            time_wait: false,
            anchor: FIRST_BYTE,
            mark: None,
            point: Point {
                input: FIRST_BYTE,
                output: FIRST_BYTE,
                ..Point::default()
            },
            decisions: VecDeque::new(),
            decision_bytes: 0,
            output: Stretch::new(FIRST_BYTE),
            hot: false,
            shed: false,
            lost: None,
        }
    }

    /// The peer has our stream up to `position`; who has not heard of it loses nothing. Our FIN is not counted: whoever
    /// goes on, or follows along, may have to come to that end yet.
    pub(crate) fn acknowledge(&mut self, position: u64) {
        let position = self.fin.map_or(position, |fin| position.min(fin));
        self.anchor = self.anchor.max(position);
        self.output.drop_before(self.anchor);
    }

    /// From here on another host has what [`Self::rebuild`] gave: what it makes of it is what this is.
    pub(crate) fn share(&mut self) {
        if self.time_wait || self.lost.is_some() {
            return;
        }
        if self.shed {
            self.lose(Reason::LogFull);
            return;
        }
        self.hot = self.is_long();
    }

    /// More input is kept than an application should have to repeat at once.
    fn is_long(&self) -> bool {
        match self.terms.hot {
            // Such an application continues, and does not repeat itself.
            _ if self.terms.mirror => false,
            Hot::Never => false,
            Hot::WhenFull => self.input.len() > self.terms.log_bytes as usize,
            Hot::Always => self.input.len() > 0,
        }
    }

    /// Bytes that are kept.
    #[must_use]
    pub fn bytes(&self) -> usize {
        let state = self.point.state.as_ref().map_or(0, Bytes::len);
        self.input.len() + self.output.len() + self.decision_bytes + state
    }

    /// True while nothing is known but that the SYN-ACK may have left.
    #[must_use]
    pub fn is_half_open(&self) -> bool {
        self.committed == FIRST_BYTE
            && self.anchor == FIRST_BYTE
            && self.fin.is_none()
            && self.output.end() == FIRST_BYTE
            && self.point.output == FIRST_BYTE
    }

    /// End of the peer's data, as far as it is committed.
    #[must_use]
    pub fn data_end(&self) -> u64 {
        self.peer_fin
            .map_or(self.committed, |fin| fin.min(self.committed))
    }

    /// Takes the next entry of this connection.
    ///
    /// # Errors
    /// When it does not fit; then nothing has changed.
    pub fn apply(&mut self, change: &Change) -> Result<(), Misfit> {
        if self.time_wait {
            return Ok(());
        }
        match change {
            Change::Open(_) => return Err(Misfit::Open),
            Change::Received {
                from,
                bytes,
                fin,
                right_edge,
            } => {
                let len: usize = bytes.iter().map(Bytes::len).sum();
                self.advance(Some(*from), len as u64, *fin, *right_edge)?;
                if self.lost.is_none() {
                    bytes.iter().for_each(|piece| self.input.push(piece));
                    self.limit();
                }
                self.skip_shed();
            }
            &Change::Skipped {
                upto,
                fin,
                right_edge,
            } => {
                let known = self.committed - u64::from(self.peer_fin.is_some());
                let data = upto.checked_sub(u64::from(fin)).ok_or(Misfit::Position)?;
                let new = data.checked_sub(known).ok_or(Misfit::Position)?;
                self.advance(None, new, fin, right_edge)?;
                if new > 0 {
                    self.lose(Reason::LogFull);
                }
            }
            &Change::Fin { position, mark } => {
                if self.fin.is_none() {
                    self.closed_first = self.peer_fin.is_none();
                    self.fin = Some(position);
                }
                self.mark = mark.or(self.mark);
            }
            Change::Abort => self.abort = true,
            Change::Note(note) => self.take_note(note)?,
            Change::Shed if self.hot && self.lost.is_none() => {
                self.shed = true;
                self.skip_shed();
            }
            Change::Shed => self.lose(Reason::MemoryFull),
            Change::Closed => {}
        }
        Ok(())
    }

    fn take_note(&mut self, note: &Note) -> Result<(), Misfit> {
        match note {
            &Note::Anchor { position, mark } => {
                self.acknowledge(position);
                self.mark = mark.or(self.mark);
            }
            Note::Point(point) => self.take_point(point)?,
            Note::Decision(decision) => {
                if self.lost.is_none() {
                    self.decision_bytes += decision.value.len();
                    self.decisions.push_back(decision.clone());
                    self.limit();
                }
            }
            Note::Output {
                from,
                input,
                bytes,
                state,
            } => self.mirror(*from, *input, bytes, state.as_ref())?,
            &Note::Unprotected(reason) => self.lose(reason),
            &Note::UserTimeout(said) => self.record.peer_user_timeout = said,
            Note::TimeWait => self.begin_time_wait(),
        }
        Ok(())
    }

    fn advance(
        &mut self,
        from: Option<u64>,
        len: u64,
        fin: bool,
        right_edge: u64,
    ) -> Result<(), Misfit> {
        let known = self.peer_fin.is_some();
        let committed = self.committed;
        let from = from.unwrap_or(committed - u64::from(known));
        // After the FIN only the edge can change.
        let begins = from == committed || (known && len == 0 && from + 1 == committed);
        if !begins || (known && (len > 0 || !fin)) {
            return Err(Misfit::Input { from, committed });
        }
        let end = from.checked_add(len).filter(|&end| end < u64::MAX);
        let end = end.ok_or(Misfit::Position)?;
        if fin && !known {
            self.peer_fin = Some(end);
        }
        if !known {
            self.committed = end + u64::from(fin);
        }
        self.right_edge = self.right_edge.max(right_edge).max(self.committed);
        Ok(())
    }

    fn take_point(&mut self, point: &Point) -> Result<(), Misfit> {
        let all_read = point.input >= self.data_end();
        // The end of the stream may have been read too.
        if point.input > self.committed {
            return Err(Misfit::Position);
        }
        if point.input < self.point.input {
            // An application that repeats itself comes by again.
            return Ok(());
        }
        self.acknowledge(point.output);
        if self.lost.is_some() && !all_read {
            return Ok(());
        }
        let dropped = point.decisions.saturating_sub(self.point.decisions) as usize;
        for decision in self.decisions.drain(..dropped.min(self.decisions.len())) {
            self.decision_bytes -= decision.value.len();
        }
        if all_read {
            self.input = Stretch::new(self.data_end());
            self.lost = None;
            self.shed = false;
        } else {
            self.input.drop_before(point.input);
        }
        self.point = point.clone();
        self.point.input = point.input.min(self.data_end());
        Ok(())
    }

    /// Such an application continues from its last write.
    fn mirror(
        &mut self,
        from: u64,
        input: u64,
        bytes: &[u8],
        state: Option<&Bytes>,
    ) -> Result<(), Misfit> {
        // The FIN may be consumed too.
        if input > self.committed || input < self.point.input {
            return Err(Misfit::Position);
        }
        if self.lost.is_some() {
            return Ok(());
        }
        if from != self.output.end() {
            // Written while the connection was not kept.
            self.lose(Reason::LogFull);
            return Ok(());
        }
        self.output.push(bytes);
        self.input.drop_before(input.min(self.data_end()));
        // Whoever takes over reads the end once more, and may write before.
        self.point.input = input.min(self.data_end());
        if state.is_some() {
            self.point.state = state.cloned();
        }
        if self.output.len() > MOST_OUTPUT_BYTES {
            self.lose(Reason::LogFull);
        }
        Ok(())
    }

    /// Drops what is beyond the terms.
    fn limit(&mut self) {
        let full = self.input.len() > self.terms.log_bytes as usize;
        self.hot |= self.is_long();
        if (full && !self.hot) || self.decision_bytes > MOST_DECISION_BYTES {
            self.lose(Reason::LogFull);
        }
    }

    fn skip_shed(&mut self) {
        if self.shed {
            self.input = Stretch::new(self.data_end());
        }
    }

    fn lose(&mut self, reason: Reason) {
        self.lost = Some(reason);
        self.hot = false;
        self.shed = false;
        self.input = Stretch::new(self.data_end());
        self.decisions = VecDeque::new();
        self.decision_bytes = 0;
        self.output = Stretch::new(self.anchor);
        self.point.state = None;
    }

    /// Nobody has to continue: what is left answers a FIN that comes again.
    fn begin_time_wait(&mut self) {
        self.time_wait = true;
        self.lost = None;
        self.hot = false;
        self.shed = false;
        self.input = Stretch::new(self.data_end());
        self.decisions = VecDeque::new();
        self.decision_bytes = 0;
        self.output = Stretch::new(self.anchor);
        self.point.state = None;
    }
}
