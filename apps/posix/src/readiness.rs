//! What is ready about a descriptor, in the bits of `poll` and `epoll`, as Linux's `tcp_poll` decides it.

use std::task::Context;

use outlive::socket::Direct;
use outlive::tcp::State;

use crate::descriptor::Object;
use crate::socket::{Inner, Phase, Socket};

pub(crate) const READ: u32 = (libc::EPOLLIN | libc::EPOLLRDNORM) as u32;
pub(crate) const WRITE: u32 = (libc::EPOLLOUT | libc::EPOLLWRNORM) as u32;
pub(crate) const HUP: u32 = libc::EPOLLHUP as u32;
pub(crate) const READ_HUP: u32 = libc::EPOLLRDHUP as u32;
pub(crate) const ERROR: u32 = libc::EPOLLERR as u32;

/// What a descriptor is ready for, and what tells whether there is news since it was last looked at.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Ready {
    pub(crate) events: u32,
    pub(crate) news: News,
}

/// Changes with everything that would wake an edge-triggered waiter.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct News {
    arrived: u64,
    room_came: u64,
    ended: u32,
    notices: u64,
}

impl News {
    /// Of a datagram socket: what arrived, and which ways are shut.
    pub(crate) fn of_datagrams(arrived: u64, ended: u32) -> Self {
        Self {
            arrived,
            ended,
            ..Self::default()
        }
    }
}

impl Object {
    /// What it is ready for; has `cx` woken when that may change.
    pub(crate) fn ready(&self, direct: &Direct, cx: &mut Context<'_>) -> Ready {
        match self {
            Self::Socket(socket) => socket.ready(direct, cx),
            Self::Datagrams(socket) => socket.ready(cx),
            Self::Pipe(end) => Ready {
                events: end.events(),
                news: News {
                    arrived: end.len() as u64,
                    ..News::default()
                },
            },
            Self::Epoll(_) => Ready::default(),
        }
    }
}

impl Socket {
    fn ready(&self, direct: &Direct, cx: &mut Context<'_>) -> Ready {
        let mut inner = self.inner.lock();
        match &inner.phase {
            Phase::Fresh => Ready {
                events: WRITE | HUP,
                news: News::default(),
            },
            Phase::Listening(listener) => {
                let ready = listener.poll_ready(cx).is_ready();
                Ready {
                    events: if ready { READ } else { 0 },
                    news: News {
                        arrived: listener.completed(),
                        ..News::default()
                    },
                }
            }
            Phase::Connected(_) => inner.connected_ready(direct, cx),
        }
    }
}

impl Inner {
    fn connected_ready(&mut self, direct: &Direct, cx: &mut Context<'_>) -> Ready {
        let Phase::Connected(connection) = &self.phase else {
            return Ready::default();
        };
        let (readiness, held) = direct.act(connection, |tcb, _| {
            let _ = tcb.poll_readable(cx);
            let _ = tcb.poll_writable(cx);
            (tcb.readiness(), tcb.holds_syn())
        });
        let over = matches!(readiness.state, State::Closed | State::TimeWait);
        let (read_closed, write_closed) = (readiness.read_closed || over, readiness.write_closed);
        let mut events = 0;
        if over || (read_closed && write_closed) {
            events |= HUP;
        }
        if read_closed {
            events |= READ | READ_HUP;
        }
        if held {
            // A write is what opens it.
            events |= WRITE;
        } else if readiness.state != State::SynSent {
            let wanted = self.choices.receive_low_water.max(1) as usize;
            if readiness.readable_bytes >= wanted {
                events |= READ;
            }
            if write_closed || readiness.writable {
                events |= WRITE;
                if std::mem::take(&mut self.wants_room) {
                    self.room_came += 1;
                }
            } else {
                self.wants_room = true;
            }
        }
        let ended = events & (HUP | READ_HUP);
        let failed = self.pending_error().is_some();
        let ended = ended | if failed { ERROR } else { 0 };
        self.collect_times();
        if failed || !self.errors.is_empty() {
            events |= ERROR;
        }
        Ready {
            events,
            news: News {
                arrived: readiness.received,
                room_came: self.room_came,
                ended: ended | u32::from(readiness.state != State::SynSent),
                notices: self.errors.count(),
            },
        }
    }
}
