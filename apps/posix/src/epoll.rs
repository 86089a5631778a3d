//! `epoll(7)`: level-triggered, edge-triggered and one-shot.
//!
//! An edge is a change of [`News`] since the entry was last told, so that nothing has to be recorded while
//! nobody looks.

use std::collections::BTreeMap;
use std::sync::{Arc, Weak};
use std::task::{Context, Poll};

use parking_lot::Mutex;

use crate::datagram::Datagrams;
use crate::descriptor::{Descriptor, Object};
use crate::errno::{Errno, Result};
use crate::pipe::PipeEnd;
use crate::readiness::News;
use crate::socket::Socket;
use crate::sockets::Sockets;

/// Always told, asked for or not.
const ALWAYS: u32 = (libc::EPOLLERR | libc::EPOLLHUP) as u32;
const EDGE: u32 = libc::EPOLLET as u32;
const ONE_SHOT: u32 = libc::EPOLLONESHOT as u32;
/// What says how to tell, not what.
const MANNER: u32 = EDGE | ONE_SHOT | (libc::EPOLLEXCLUSIVE | libc::EPOLLWAKEUP) as u32;

/// One event that `epoll_wait` tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Event {
    /// What is ready.
    pub events: u32,
    /// What the caller gave with the entry.
    pub data: u64,
}

/// An epoll descriptor.
#[derive(Default)]
pub(crate) struct Epoll {
    entries: Mutex<BTreeMap<Descriptor, Entry>>,
}

struct Entry {
    object: Watched,
    events: u32,
    data: u64,
    /// What was last told; none when the next look tells whatever is ready.
    told: Option<News>,
    /// One-shot, and told.
    spent: bool,
}

/// Held weakly: what is closed is watched no more.
enum Watched {
    Socket(Weak<Socket>),
    Datagrams(Weak<Datagrams>),
    Pipe(Weak<PipeEnd>),
}

impl Watched {
    fn new(object: &Object) -> Result<Self> {
        match object {
            Object::Socket(socket) => Ok(Self::Socket(Arc::downgrade(socket))),
            Object::Datagrams(socket) => Ok(Self::Datagrams(Arc::downgrade(socket))),
            Object::Pipe(end) => Ok(Self::Pipe(Arc::downgrade(end))),
            Object::Epoll(_) => Err(Errno(libc::EINVAL)),
        }
    }

    fn object(&self) -> Option<Object> {
        match self {
            Self::Socket(socket) => socket.upgrade().map(Object::Socket),
            Self::Datagrams(socket) => socket.upgrade().map(Object::Datagrams),
            Self::Pipe(end) => end.upgrade().map(Object::Pipe),
        }
    }
}

impl Sockets {
    /// `epoll_create1(2)`.
    ///
    /// # Errors
    /// `EMFILE`.
    pub fn epoll_create(&self) -> Result<Descriptor> {
        self.insert(Object::Epoll(Arc::default()))
    }

    fn epoll(&self, descriptor: Descriptor) -> Result<Arc<Epoll>> {
        match self.object(descriptor)? {
            Object::Epoll(epoll) => Ok(epoll),
            _ => Err(Errno(libc::EINVAL)),
        }
    }

    /// `epoll_ctl(2)`.
    ///
    /// # Errors
    /// `EBADF`, `EINVAL`, `EEXIST`, `ENOENT`, `EFAULT` when `event` is missing.
    pub fn epoll_ctl(
        &self,
        epoll: Descriptor,
        operation: i32,
        descriptor: Descriptor,
        event: Option<Event>,
    ) -> Result<()> {
        let object = self.object(descriptor)?;
        let epoll = self.epoll(epoll)?;
        let mut entries = epoll.entries.lock();
        entries.retain(|_, entry| entry.object.object().is_some());
        let entry = |event: Event| -> Result<Entry> {
            Ok(Entry {
                object: Watched::new(&object)?,
                events: event.events,
                data: event.data,
                told: None,
                spent: false,
            })
        };
        match operation {
            libc::EPOLL_CTL_ADD => {
                let entry = entry(event.ok_or(Errno(libc::EFAULT))?)?;
                if entries.contains_key(&descriptor) {
                    return Err(Errno(libc::EEXIST));
                }
                entries.insert(descriptor, entry);
            }
            libc::EPOLL_CTL_MOD => {
                let entry = entry(event.ok_or(Errno(libc::EFAULT))?)?;
                *entries.get_mut(&descriptor).ok_or(Errno(libc::ENOENT))? = entry;
            }
            libc::EPOLL_CTL_DEL => {
                entries.remove(&descriptor).ok_or(Errno(libc::ENOENT))?;
            }
            _ => return Err(Errno(libc::EINVAL)),
        }
        drop(entries);
        self.driver.ring();
        Ok(())
    }

    /// `epoll_wait(2)`: up to `most` events.
    ///
    /// # Errors
    /// `EBADF`, `EINVAL`.
    pub fn epoll_wait(
        &self,
        epoll: Descriptor,
        most: usize,
        timeout_ms: i32,
    ) -> Result<Vec<Event>> {
        let epoll = self.epoll(epoll)?;
        if most == 0 {
            return Err(Errno(libc::EINVAL));
        }
        let limit = self.limit_of_ms(timeout_ms);
        let events = self.until(limit, |cx| {
            let events = self.collect(&epoll, most, cx);
            if events.is_empty() {
                Poll::Pending
            } else {
                Poll::Ready(events)
            }
        });
        Ok(events.unwrap_or_default())
    }

    fn collect(&self, epoll: &Epoll, most: usize, cx: &mut Context<'_>) -> Vec<Event> {
        let mut told = Vec::new();
        for entry in epoll.entries.lock().values_mut() {
            let Some(object) = entry.object.object() else {
                continue;
            };
            let ready = object.ready(self.direct(), cx);
            let events = ready.events & (entry.events & !MANNER | ALWAYS);
            let edge = entry.events & EDGE == 0 || entry.told != Some(ready.news);
            if entry.spent || events == 0 || !edge || told.len() >= most {
                continue;
            }
            entry.told = Some(ready.news);
            entry.spent = entry.events & ONE_SHOT != 0;
            told.push(Event {
                events,
                data: entry.data,
            });
        }
        told
    }
}
