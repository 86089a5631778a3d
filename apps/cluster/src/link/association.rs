//! Datagrams with one other host: how a session is agreed on, kept and replaced. Sans-I/O.
//!
//! The host with the lower number initiates; what was lost is tried again, with back-off. The responder uses
//! a session once the first sealed datagram in it shows that the initiator lives now: a replayed first message
//! gets nowhere. A host that is started again has forgotten its sessions: the initiator just makes a new one,
//! the responder says hello, and the initiator heeds that if it has heard nothing genuine for a while. So
//! who cannot seal cannot end a session.
//!
//! Left out: new keys within a session (2^64 datagrams are enough).

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwapOption;
use bytes::Bytes;
use snow::HandshakeState;

use super::datagram::{Datagram, Kind};
use super::noise::{HANDSHAKE_BYTES, Parties, Purpose, finish};
use super::refusal::Refusal;
use super::session::{Opener, Sealer, session};
use crate::id::{HostId, PathId};
use crate::key::Key;
use outlive::random::Random;
use outlive::time::Instant;

/// Wait before the second attempt; doubled for each further one.
const FIRST_RETRY: Duration = Duration::from_millis(20);
const LAST_RETRY: Duration = Duration::from_millis(500);
/// A session in which something genuine arrived so recently is not given up because of a hello.
const ALIVE: Duration = Duration::from_millis(50);
/// Hellos are not sent more often.
const HELLO_PAUSE: Duration = Duration::from_millis(20);
/// A host without a session asks for one so often.
const ASK_PAUSE: Duration = Duration::from_millis(100);
/// Answered first messages that wait for the proof that their sender lives.
const MOST_PENDING: usize = 4;

/// What has to be sent for the session's sake.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Reply {
    /// On the path that the cause arrived on.
    Here(Vec<u8>),
    /// On every path.
    Everywhere(Vec<u8>),
}

/// A session that the responder has offered.
struct Pending {
    /// The first message that it answers, to know it again when it comes on another path too.
    first: [u8; HANDSHAKE_BYTES],
    answer: Vec<u8>,
    sealer: Sealer,
    opener: Opener,
}

/// A handshake that we began.
struct Attempt {
    index: u32,
    state: HandshakeState,
}

/// Datagrams with one other host.
pub(crate) struct Association {
    key: Key,
    me: HostId,
    peer: HostId,
    random: Random,
    /// What senders use; empty until there is a session.
    sealer: Arc<ArcSwapOption<Sealer>>,
    current: Option<Opener>,
    /// The initiator's last session, until the responder uses the new one.
    previous: Option<Opener>,
    pending: VecDeque<Pending>,
    attempt: Option<Attempt>,
    attempt_at: Instant,
    retry: Duration,
    heard_at: Instant,
    /// Something genuine arrived since it was last said that nobody listens there.
    heard: bool,
    hello_at: Instant,
}

impl Association {
    pub(crate) fn new(key: Key, me: HostId, peer: HostId, random: Random) -> Self {
        Self {
            key,
            me,
            peer,
            random,
            sealer: Arc::default(),
            current: None,
            previous: None,
            pending: VecDeque::new(),
            attempt: None,
            attempt_at: Instant::ZERO,
            retry: FIRST_RETRY,
            heard_at: Instant::ZERO,
            heard: false,
            hello_at: Instant::ZERO,
        }
    }

    /// What senders use, on any thread.
    pub(crate) fn sealer(&self) -> Arc<ArcSwapOption<Sealer>> {
        Arc::clone(&self.sealer)
    }

    /// True while there is a session to receive in.
    pub(crate) const fn has_session(&self) -> bool {
        self.current.is_some()
    }

    /// The peer's kernel says that nobody listens there: true if that is news.
    pub(crate) const fn unreachable(&mut self) -> bool {
        std::mem::replace(&mut self.heard, false)
    }

    fn initiates(&self) -> bool {
        self.me < self.peer
    }

    /// When [`Self::poll`] has something to do.
    pub(crate) fn next_deadline(&self) -> Option<Instant> {
        let wanted = self.current.is_none() || self.attempt.is_some();
        let at = if self.initiates() {
            self.attempt_at
        } else {
            self.hello_at
        };
        wanted.then_some(at)
    }

    /// Begins a handshake, or begins again, or asks for one, when it is time.
    pub(crate) fn poll(&mut self, now: Instant) -> Option<Reply> {
        if self.next_deadline()? > now {
            return None;
        }
        if !self.initiates() {
            self.hello_at = now + ASK_PAUSE;
            return Some(Reply::Everywhere(self.emit(Kind::Hello)));
        }
        self.attempt_at = now + self.retry;
        self.retry = (self.retry * 2).min(LAST_RETRY);
        let (state, first) = self.parties(self.me, self.peer).initiate(&self.key).ok()?;
        let index = self.new_index();
        self.attempt = Some(Attempt { index, state });
        Some(Reply::Everywhere(self.emit(Kind::Initiate {
            sender: index,
            noise: &first,
        })))
    }

    /// Takes in a datagram that arrived on `path`: a message, if there is one in it, and what has to be sent.
    ///
    /// # Errors
    /// Why it is refused; there may be a reply nevertheless.
    pub(crate) fn receive(
        &mut self,
        now: Instant,
        path: PathId,
        datagram: Datagram<'_>,
        replies: &mut Vec<Reply>,
    ) -> Result<Option<Bytes>, Refusal> {
        if datagram.from != self.peer || datagram.to != self.me {
            return Err(Refusal::Host);
        }
        match datagram.kind {
            Kind::Hello => self.hello(now, replies).map(|()| None),
            Kind::Initiate { sender, noise } => {
                self.initiated(sender, noise, replies).map(|()| None)
            }
            Kind::Respond {
                sender,
                receiver,
                noise,
            } => self
                .responded(path, sender, receiver, noise, replies)
                .map(|()| None),
            Kind::Sealed {
                receiver,
                counter,
                sealed,
            } => {
                let opened = self.sealed(path, receiver, counter, sealed);
                match opened {
                    Ok(_) => {
                        self.heard_at = now;
                        self.heard = true;
                    }
                    Err(Refusal::Session) => self.say_hello(now, replies),
                    Err(_) => {}
                }
                // An empty message only shows that the sender lives.
                opened.map(|message| Some(message).filter(|message| !message.is_empty()))
            }
        }
    }

    /// The peer says that it has no session: true if it was started again.
    fn hello(&mut self, now: Instant, replies: &mut Vec<Reply>) -> Result<(), Refusal> {
        if !self.initiates() {
            return Err(Refusal::Session);
        }
        let given_up = self.attempt.is_none() && now.since(self.heard_at) > ALIVE;
        if given_up && self.current.is_some() && now >= self.attempt_at {
            self.retry = FIRST_RETRY;
            self.previous = self.current.take();
            replies.extend(self.poll(now));
        }
        Ok(())
    }

    fn say_hello(&mut self, now: Instant, replies: &mut Vec<Reply>) {
        if !self.initiates() && now >= self.hello_at {
            self.hello_at = now + HELLO_PAUSE;
            replies.push(Reply::Here(self.emit(Kind::Hello)));
        }
    }

    fn initiated(
        &mut self,
        sender: u32,
        noise: &[u8],
        replies: &mut Vec<Reply>,
    ) -> Result<(), Refusal> {
        if self.initiates() {
            return Err(Refusal::Session);
        }
        if let Some(known) = self.pending.iter().find(|known| known.first == noise) {
            replies.push(Reply::Here(known.answer.clone()));
            return Ok(());
        }
        let first: [u8; HANDSHAKE_BYTES] = noise.try_into().map_err(|_| Refusal::Malformed)?;
        let parties = self.parties(self.peer, self.me);
        let (state, second) = parties
            .respond(&self.key, noise)
            .map_err(|_| Refusal::Key)?;
        let index = self.new_index();
        let (sealer, opener) = session(state, (self.me, self.peer), (index, sender))?;
        let answer = self.emit(Kind::Respond {
            sender: index,
            receiver: sender,
            noise: &second,
        });
        replies.push(Reply::Here(answer.clone()));
        if self.pending.len() == MOST_PENDING {
            self.pending.pop_front();
        }
        self.pending.push_back(Pending {
            first,
            answer,
            sealer,
            opener,
        });
        Ok(())
    }

    fn responded(
        &mut self,
        path: PathId,
        sender: u32,
        receiver: u32,
        noise: &[u8],
        replies: &mut Vec<Reply>,
    ) -> Result<(), Refusal> {
        if self
            .current
            .as_ref()
            .is_some_and(|current| current.index == receiver)
        {
            // The same answer again, by another path.
            return Ok(());
        }
        let attempt = self.attempt.as_mut().filter(|it| it.index == receiver);
        // A spoilt answer costs nothing: the genuine one may still come.
        let finished = finish(&mut attempt.ok_or(Refusal::Session)?.state, noise);
        finished.map_err(|_| Refusal::Key)?;
        let attempt = self.attempt.take().ok_or(Refusal::Session)?;
        let (sealer, opener) = session(attempt.state, (self.me, self.peer), (receiver, sender))?;
        // The responder uses the session once it has heard something in it.
        replies.extend(sealer.seal(path, &[]).map(Reply::Here));
        self.sealer.store(Some(Arc::new(sealer)));
        if let Some(current) = self.current.replace(opener) {
            self.previous = Some(current);
        }
        self.retry = FIRST_RETRY;
        Ok(())
    }

    fn sealed(
        &mut self,
        path: PathId,
        receiver: u32,
        counter: u64,
        sealed: &[u8],
    ) -> Result<Bytes, Refusal> {
        if let Some(current) = self.current.as_mut().filter(|it| it.index == receiver) {
            let message = current.open(path, counter, sealed)?;
            self.previous = None;
            return Ok(message);
        }
        if let Some(previous) = self.previous.as_mut().filter(|it| it.index == receiver) {
            return previous.open(path, counter, sealed);
        }
        let offered = |it: &Pending| it.opener.index == receiver;
        let position = self.pending.iter().position(offered);
        let position = position.ok_or(Refusal::Session)?;
        let message = self.pending[position].opener.open(path, counter, sealed)?;
        if let Some(agreed) = self.pending.swap_remove_back(position) {
            self.sealer.store(Some(Arc::new(agreed.sealer)));
            self.current = Some(agreed.opener);
        }
        self.pending.clear();
        Ok(message)
    }

    fn parties(&self, initiator: HostId, responder: HostId) -> Parties {
        Parties {
            initiator,
            responder,
            purpose: Purpose::Datagrams,
        }
    }

    fn emit(&self, kind: Kind<'_>) -> Vec<u8> {
        let datagram = Datagram {
            from: self.me,
            to: self.peer,
            kind,
        };
        datagram.emit()
    }

    /// A name for a session that none of ours has.
    fn new_index(&mut self) -> u32 {
        loop {
            let index = self.random.next_u32();
            let open = self.current.iter().chain(&self.previous);
            let open = open.chain(self.pending.iter().map(|pending| &pending.opener));
            if open.into_iter().all(|opener| opener.index != index) {
                return index;
            }
        }
    }
}
