//! What applications say and hear of outliving their host, for both faces of a stream
//! ([`crate::replication`], FAILOVER §5). On a connection that is not protected all of it does nothing.

use std::ops::Range;
use std::task::{Context, Poll};

use bytes::Bytes;

use super::handle::Handle;
use crate::replication::{Continuation, Identity, Reason};
use crate::tcp::Error;
use crate::tcp::tcb::Tcb;

impl Handle {
    pub(super) fn continuation(&self) -> Option<Continuation> {
        self.with(|tcb| tcb.continuation().cloned())
    }

    pub(super) fn skippable(&self) -> u64 {
        self.with(|tcb| tcb.skippable())
    }

    /// Ready when the peer has told where it stands, with how much of the range was skipped.
    pub(super) fn poll_skip_static(
        &self,
        cx: &Context<'_>,
        identity: Identity,
        range: Range<u64>,
    ) -> Poll<std::io::Result<u64>> {
        self.with(|tcb| {
            let len = range.end.saturating_sub(range.start);
            if tcb.poll_peer_known(cx, len).is_pending() {
                return Poll::Pending;
            }
            Poll::Ready(tcb.skip_static(identity, range).map_err(Into::into))
        })
    }

    /// Ready with the next decision. `value` is taken when it is made here, and called without a lock.
    pub(super) fn poll_decide(
        &self,
        cx: &Context<'_>,
        value: &mut Option<impl FnOnce() -> Bytes>,
    ) -> Poll<Bytes> {
        match self.with(|tcb| tcb.poll_logged_decision(cx)) {
            Poll::Pending => Poll::Pending,
            Poll::Ready(Some(logged)) => Poll::Ready(logged),
            Poll::Ready(None) => {
                let value = value.take().expect("not polled again once it is ready")();
                self.with(|tcb| tcb.log_decision(value.clone()));
                Poll::Ready(value)
            }
        }
    }

    pub(super) fn poll_decided(&self, cx: &Context<'_>) -> Poll<()> {
        self.with(|tcb| tcb.poll_decided(cx))
    }

    pub(super) fn poll_leads(&self, cx: &Context<'_>) -> Poll<()> {
        self.with(|tcb| tcb.poll_leads(cx))
    }

    pub(super) fn quiescent(&self) {
        self.with(Tcb::quiescent);
    }

    pub(super) fn checkpoint(&self, state: Bytes) {
        self.with(|tcb| tcb.checkpoint(state));
    }

    pub(super) fn unprotect(&self, reason: Reason) {
        tracing::warn!(peer = %self.connection.id.remote_addr(), %reason, "connection no longer protected");
        self.with(|tcb| tcb.unprotect(reason));
    }
}

/// Takes as much of a static piece as there is room for, and leaves the rest in it.
pub(super) fn send_static_part(
    tcb: &mut Tcb,
    bytes: &mut Bytes,
    identity: Identity,
    offset: &mut u64,
) -> Result<Option<usize>, Error> {
    let taken = tcb.send_static(bytes.clone(), identity, *offset)?;
    bytes::Buf::advance(bytes, taken);
    *offset += taken as u64;
    Ok((taken > 0).then_some(taken))
}
