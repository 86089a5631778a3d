//! TCP Fast Open (RFC 7413): data in the SYN of a peer that has shown before that it is where it says.
//!
//! Off unless a listener, or a socket that connects, asks for it: a SYN that comes twice hands its data over
//! twice (§2.1), and not every application can take that. What cannot go with the SYN follows behind the handshake, and so does what
//! the server did not take (§4.2.1). `cookies` keeps what is known of servers.

mod cookies;

pub(super) use cookies::FastOpenCookies;

use super::Segment;
use super::config::SocketOptions;
use super::state::State;
use super::tcb::{FIRST_BYTE, Tcb};
use crate::time::Instant;
use crate::wire::tcp::FastOpen;

/// Bytes of options that are left room for: boxes on the way may add some (as Linux).
const OPTIONS_BYTES: u16 = 40;

/// What a connection has to do with it; only those that have.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct FastOpening {
    /// The option on our first SYN or on our SYN-ACK: a cookie, or empty to ask for one.
    pub(super) option: Option<FastOpen>,
    /// In the form that it had as an experiment.
    pub(super) experiment: bool,
    /// The application has the connection before the handshake is over.
    pub(super) early: bool,
    /// Data went with the SYN, and was taken.
    pub(super) syn_data: bool,
    /// Our SYN may carry data, of so large a segment if that is known.
    pub(super) carries: bool,
    pub(super) mss: Option<u16>,
    /// Position after the data that our SYN carried; 0 without.
    pub(super) data_end: u64,
    /// A SYN was sent again, which says nothing of all this (§4.1.3.1).
    pub(super) given_up: bool,
    /// What the server's SYN-ACK said, not yet taken from here.
    pub(super) lesson: Option<Lesson>,
}

/// What our SYN may say to a server.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Offer {
    /// Empty: the wish for one.
    pub(super) cookie: FastOpen,
    pub(super) experiment: bool,
    /// What it takes in one segment.
    pub(super) mss: Option<u16>,
}

/// What became of the data of a SYN.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum SynData {
    /// There was none, or it was heard and not wanted.
    None,
    /// It was taken.
    Taken,
    /// It seems that no SYN with data reaches the server: one without had to be sent.
    Lost,
}

/// What a SYN-ACK taught about its server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Lesson {
    pub(super) cookie: Option<FastOpen>,
    pub(super) experiment: bool,
    /// A cookie was asked for and not given; whether as the experiment.
    pub(super) asked_in_vain: Option<bool>,
    pub(super) mss: u16,
    pub(super) data: SynData,
}

impl Tcb {
    /// True when data may be exchanged although the handshake is not over (§4.2.2).
    pub(super) fn is_early(&self) -> bool {
        self.state == State::SynReceived && self.fast_opening.as_ref().is_some_and(|it| it.early)
    }

    /// What the server's SYN-ACK said, once.
    pub(super) fn take_lesson(&mut self) -> Option<Lesson> {
        self.fast_opening.as_mut()?.lesson.take()
    }

    /// Data went with the SYN of whoever opened, and was taken.
    pub(super) fn had_syn_data(&self) -> bool {
        self.fast_opening.as_ref().is_some_and(|it| it.syn_data)
    }

    /// Bytes of data that went with our SYN and were taken.
    pub(super) fn syn_data_taken(&self) -> u64 {
        let opening = self.fast_opening.as_ref().filter(|it| it.syn_data);
        opening.map_or(0, |it| it.data_end.saturating_sub(FIRST_BYTE))
    }

    /// Our SYN says what `offer` has, and carries what is written before it leaves: with a cookie, or without where none is
    /// needed.
    pub(super) fn open_actively_fast(&mut self, offer: Offer, options: &SocketOptions) {
        let bare = options.fast_open_without_cookie;
        self.fast_opening = Some(Box::new(FastOpening {
            carries: bare || !offer.cookie.is_empty(),
            option: (!bare).then_some(offer.cookie),
            experiment: offer.experiment,
            mss: offer.mss,
            ..FastOpening::default()
        }));
    }

    /// Most bytes that our SYN takes along: none without a cookie, or once it has left.
    #[must_use]
    pub fn syn_room(&self) -> usize {
        let Some(opening) = self.fast_opening.as_ref().filter(|it| it.carries) else {
            return 0;
        };
        if self.state != State::SynSent || self.snd.nxt > 0 {
            return 0;
        }
        let mss = opening.mss.unwrap_or(u16::MAX).min(self.announced_mss());
        mss.saturating_sub(OPTIONS_BYTES).into()
    }

    /// Bytes of data that our SYN takes along.
    pub(super) fn syn_data_bytes(&self) -> usize {
        self.send_queue.len().min(self.syn_room())
    }

    /// The SYN, with so many bytes of data behind it, leaves for the first time.
    pub(super) fn note_syn_sent(&mut self, now: Instant, data_bytes: usize) {
        self.note_sent(now, FIRST_BYTE, false);
        if data_bytes == 0 {
            return;
        }
        let end = FIRST_BYTE + data_bytes as u64;
        self.note_sent(now, end, false);
        if let Some(opening) = &mut self.fast_opening {
            opening.data_end = end;
        }
    }

    /// What went with our SYN ended there: it is pushed if it has to be sent again.
    pub(super) fn ends_syn_data(&self, position: u64) -> bool {
        let opening = self.fast_opening.as_ref();
        opening.is_some_and(|it| it.data_end == position && position > 0)
    }

    /// Data went with our SYN, which is not answered yet.
    pub(super) fn awaits_syn_data(&self) -> bool {
        let opening = self.fast_opening.as_ref();
        self.state == State::SynSent && opening.is_some_and(|it| it.data_end > 0 && !it.given_up)
    }

    /// The SYN has to be sent again: a client leaves Fast Open (§4.1.3.1), a server repeats itself.
    pub(super) fn forget_fast_open(&mut self) {
        if !self.passive
            && let Some(opening) = &mut self.fast_opening
        {
            opening.given_up = true;
        }
    }

    pub(super) fn fast_open_option(&self) -> Option<FastOpen> {
        let opening = self.fast_opening.as_ref().filter(|it| !it.given_up);
        opening.and_then(|it| it.option.clone())
    }

    pub(super) fn fast_open_is_experiment(&self) -> bool {
        self.fast_opening.as_ref().is_some_and(|it| it.experiment)
    }

    /// The server's SYN-ACK acknowledges our SYN up to `acked`, and may have a cookie for us.
    pub(super) fn learn_fast_open(&mut self, syn: &Segment, acked: u64) {
        let (resent, nxt) = (self.statistics.retries > 0, self.snd.nxt);
        let mss = syn.options.mss.unwrap_or(self.path.default_mss());
        let Some(opening) = &mut self.fast_opening else {
            return;
        };
        let (asked, sent) = (opening.option.is_some(), opening.data_end > 0);
        // What was not asked for is not believed.
        let given = syn.options.fast_open.clone().filter(|_| asked);
        let cookie = given.filter(|cookie| !cookie.is_empty());
        opening.syn_data = sent && acked == nxt;
        opening.lesson = (asked || sent).then(|| Lesson {
            asked_in_vain: (asked && !sent && !resent && cookie.is_none())
                .then_some(opening.experiment),
            data: match (sent, opening.syn_data) {
                (true, true) => SynData::Taken,
                (true, false) if resent && cookie.is_none() => SynData::Lost,
                _ => SynData::None,
            },
            cookie,
            experiment: syn.options.fast_open_experiment,
            mss,
        });
    }

    /// The peer's SYN had a cookie, or asked for one.
    pub(super) fn open_fast(&mut self, mut opening: FastOpening, syn: &Segment) {
        if opening.early {
            let edge = self.rcv.edge;
            let inserted = self
                .receive_queue
                .insert(FIRST_BYTE, syn.payload.clone(), edge);
            self.rcv.nxt += inserted.advanced;
            self.rcv.committed = self.rcv.nxt;
            opening.syn_data = inserted.advanced > 0;
            self.begin_congestion_control(false);
        }
        self.fast_opening = Some(Box::new(opening));
        self.check();
    }

    /// Nothing leaves until [`Tcb::release_syn`]: the SYN waits for data that may go along.
    pub fn hold_syn(&mut self) {
        if self.state == State::SynSent && self.snd.nxt == 0 {
            self.pending.syn = false;
        }
    }

    /// The SYN that was held leaves.
    pub fn release_syn(&mut self, now: Instant) {
        if self.holds_syn() {
            self.pending.syn = true;
            self.statistics.progress_at = now;
        }
    }

    /// True while the SYN waits for [`Tcb::release_syn`].
    #[must_use]
    pub fn holds_syn(&self) -> bool {
        self.state == State::SynSent && self.snd.nxt == 0 && !self.pending.syn
    }
}
