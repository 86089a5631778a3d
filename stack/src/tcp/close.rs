//! How connections end: half-close, close, abort (RFC 9293 §3.6, §3.10.4, §3.10.5), and ICMP errors
//! (§3.9.2.2, RFC 5461, RFC 5927).

use super::send_queue::SendQueue;
use super::stamp::Draft;
use super::state::State;
use super::tcb::Tcb;
use super::{Error, Flags, TxSegment};
use crate::ip::{ErrorKind, Path};
use crate::time::Instant;

impl Tcb {
    /// Half-close: FIN follows what was written. The peer's data is still read.
    ///
    /// # Errors
    /// When there is no connection (any more).
    pub fn shutdown_write(&mut self) -> Result<(), Error> {
        if let Some(error) = self.error {
            return Err(error);
        }
        if self.snd.fin {
            return Ok(());
        }
        if let Some(resumed) = &self.resumed
            && let end = resumed.fin.unwrap_or(self.send_queue.end())
            && self.write_position() < end
        {
            // The former owner wrote more before it closed.
            self.diverge(end);
            return Err(Error::Diverged);
        }
        match self.state {
            State::Established => self.enter(State::FinWait1),
            State::CloseWait => self.enter(State::LastAck),
            // Queued until the connection stands (§3.10.4).
            State::SynSent | State::SynReceived => {}
            _ => return Err(Error::NotConnected),
        }
        self.snd.fin = true;
        self.check();
        Ok(())
    }

    /// No more reading: what has arrived can still be read, then there is an end. The peer is not told.
    pub fn shutdown_read(&mut self) {
        self.shut = true;
    }

    /// Nobody holds the connection any more. What was written is still delivered, followed by FIN; but if
    /// data was left unread, RST tells the peer so (SHLD-3, RFC 2525 §2.17).
    pub fn close(&mut self, now: Instant) {
        self.released = true;
        self.reader = None;
        self.writer = None;
        let unread = self.receive_queue.buffered() > 0;
        match self.state {
            State::Closed | State::TimeWait => self.receive_queue.discard(),
            State::SynSent => self.finish(Some(Error::Aborted)),
            State::SynReceived if !self.is_early() => self.reset_and_finish(Error::Aborted),
            _ if unread => {
                self.reset_and_finish(Error::Aborted);
                self.receive_queue.discard();
            }
            _ => {
                let _ = self.shutdown_write();
                self.wait_for_fin(now);
            }
        }
        self.check();
    }

    /// Ends the connection at once with a RST (§3.10.5). Queued data is lost on both sides.
    pub fn abort(&mut self) {
        match self.state {
            State::Closed => {}
            State::SynSent | State::TimeWait => self.finish(Some(Error::Aborted)),
            // The RFC means these once the FIN was sent; we enter them when it is queued.
            State::Closing | State::LastAck if self.snd.nxt == self.send_end() => {
                self.finish(Some(Error::Aborted));
            }
            _ => self.reset_and_finish(Error::Aborted),
        }
        self.receive_queue.discard();
        self.check();
    }

    /// CLOSED, with a RST to the peer.
    pub(super) fn reset_and_finish(&mut self, error: Error) {
        if self.state.is_synchronized()
            && let Some(resumed) = self.resumed.as_mut().filter(|it| !it.heard)
        {
            // A RST counts only where the peer stands, which is not known yet.
            resumed.abort = true;
            self.error = self.error.or(Some(error));
            return;
        }
        self.finish(Some(error));
        self.pending.reset = true;
    }

    /// CLOSED, because of a segment that acknowledges `ack` and has data for nobody. The RST stands where the peer does
    /// (as Linux): it need not have our FIN, and would doubt one that stands behind it (RFC 5961 §3.2).
    pub(super) fn refuse_text(&mut self, ack: u32) {
        if self.gating.is_some() {
            return self.reset_and_finish(Error::Aborted);
        }
        self.pending.refusal = Some(ack);
        self.finish(Some(Error::Aborted));
    }

    /// CLOSED. What was received can still be read; what was to be sent is given up.
    pub(super) fn finish(&mut self, error: Option<Error>) {
        self.enter(State::Closed);
        self.error = self.error.or(error);
        self.timers.stop_all();
        self.recovery = None;
        self.transit = None;
        self.urgent = None;
        let refusal = self.pending.refusal;
        self.pending = super::tcb::Pending {
            refusal,
            ..Default::default()
        };
        self.send_queue = SendQueue::new(self.send_queue.end());
        self.snd.tail_probe_end = 0;
    }

    /// True while a RST that ends the connection has not left.
    pub(super) const fn abort_due(&self) -> bool {
        self.pending.reset
    }

    /// A RST: in answer to one segment, or the last thing that this connection sends.
    pub(super) fn reset_segment(&mut self, now: Instant) -> Option<TxSegment> {
        if let Some(seq) = self.pending.refusal.take() {
            // <SEQ=SEG.ACK><CTL=RST>
            return Some(TxSegment {
                seq,
                flags: Flags::RST,
                ..TxSegment::default()
            });
        }
        if !self.pending.reset || !self.abort_committed() {
            return None;
        }
        self.pending.reset = false;
        self.stamp(
            now,
            Draft {
                from: self.snd.nxt,
                flags: Flags::RST,
                ..Draft::default()
            },
        )
    }

    /// An ICMP error about a segment of ours whose sequence number was `seq`. `path` is what is known
    /// about the way now that the error was taken into account. False: ignored, because `seq` is not
    /// in flight (RFC 5927 §4.1: so it may be forged).
    pub fn on_icmp_error(&mut self, now: Instant, kind: ErrorKind, seq: u32, path: &Path) -> bool {
        let ours = self
            .our_position(seq)
            .is_some_and(|position| position >= self.snd.una && position < self.snd.nxt);
        if !ours || self.state == State::Closed {
            return false;
        }
        let error = match kind {
            ErrorKind::SourceQuench => return false,
            ErrorKind::TooBig { mtu } => {
                if let Some(position) = self.our_position(seq) {
                    self.refuse_mtu_probe(now, position, mtu);
                }
                self.follow_path(now, path, true);
                return true;
            }
            ErrorKind::PortUnreachable | ErrorKind::ProtocolUnreachable => Error::Refused,
            ErrorKind::Unreachable {
                code: 0 | 6 | 9 | 11,
            } => Error::NetworkUnreachable,
            ErrorKind::Unreachable { .. }
            | ErrorKind::TimeExceeded
            | ErrorKind::ParameterProblem => Error::HostUnreachable,
        };
        // Whoever forbids it does not change his mind soon (RFC 1122 §3.2.2.1 and RFC 1812 §5.2.7.1; as Linux and FreeBSD).
        let forbidden = matches!(kind, ErrorKind::Unreachable { code: 9 | 10 | 13 });
        let hard = error == Error::Refused || forbidden;
        if hard && !self.state.is_synchronized() {
            // Before the connection stands a hard error ends it; afterwards none does (RFC 5461 §4.1).
            self.finish(Some(error));
        } else {
            self.soft_error = Some(error);
        }
        self.check();
        true
    }

    /// The path's MTU or the device's ability changed; what is in flight and too large is sent again in
    /// smaller segments (RFC 1191 §6.4).
    pub fn on_path_change(&mut self, now: Instant, path: &Path) {
        self.follow_path(now, path, false);
    }

    /// `told`: by a router, or because what is larger vanishes.
    fn follow_path(&mut self, now: Instant, path: &Path, told: bool) {
        let (before, usable) = (self.effective_mss(), self.usable_mtu());
        self.path = super::tcb::PathFacts::new(path);
        self.narrow_mtu_search(now, usable, path, told);
        self.apply_mss();
        let after = self.effective_mss();
        if after < before && self.state.is_synchronized() {
            tracing::debug!(?now, before, after, "smaller segments from here on");
            self.resegment(now);
        }
        if self.awaits_syn_data() {
            // A SYN that was too large goes again without what made it so (as Linux).
            self.pending.syn = true;
        }
        self.check();
    }
}
