//! The ordered channels with one other host: a pair that comes up together and breaks together, again and again.
//!
//! One thread per host pair serves the commit channel and makes the next pair after a break; a second one lives
//! as long as a pair and serves the bulk channel. No message of a broken pair is delivered after its end
//! was reported.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use arc_swap::ArcSwapOption;
use bytes::Bytes;
use parking_lot::{Condvar, Mutex};

use super::channel::{Broken, Channel, manner};
use super::counters::{Counters, Event};
use super::greeting::Half;
use super::handler::Handler;
use super::noise::Purpose;
use super::record::Opening;
use crate::id::{self, HostId};
use crate::realtime;

/// Halves that wait for their other half. A host connects once at a time, so more are of no use.
const MOST_HALVES: usize = 4;
/// Wait after a pair that could not be made; doubled up to the last.
const FIRST_PAUSE: Duration = Duration::from_millis(10);
const LAST_PAUSE: Duration = Duration::from_millis(500);

/// Both channels.
pub(crate) struct Pair {
    commit: Channel,
    bulk: Channel,
}

impl Pair {
    fn end(&self, reason: Broken) {
        self.bulk.end_with(Broken::Partner);
        self.commit.end_with(reason);
    }
}

/// Two halves of the same generation, ready to be served.
pub(crate) struct Made {
    pair: Pair,
    commit: Opening,
    bulk: Opening,
}

impl Made {
    /// # Errors
    /// When the operating system gives no more descriptors.
    pub(crate) fn new(commit: Half, bulk: Half) -> std::io::Result<Self> {
        let channel = |half: Half| {
            let channel = Channel::new(half.socket, half.sealing, manner(half.purpose));
            channel.map(|channel| (channel, half.opening))
        };
        let (commit, commit_opening) = channel(commit)?;
        let (bulk, bulk_opening) = channel(bulk)?;
        Ok(Self {
            pair: Pair { commit, bulk },
            commit: commit_opening,
            bulk: bulk_opening,
        })
    }
}

/// Makes pairs by connecting; a host that is connected to has none.
pub(crate) trait Dial: Send + Sync {
    /// One attempt.
    fn dial(&self) -> Option<Made>;
}

/// The ordered channels with one other host.
pub(crate) struct PeerLink {
    peer: HostId,
    counters: Arc<Counters>,
    pair: ArcSwapOption<Pair>,
    halves: Mutex<VecDeque<Half>>,
    changed: Condvar,
    stopped: AtomicBool,
}

impl PeerLink {
    pub(crate) fn new(peer: HostId, counters: Arc<Counters>) -> Self {
        Self {
            peer,
            counters,
            pair: ArcSwapOption::empty(),
            halves: Mutex::default(),
            changed: Condvar::new(),
            stopped: AtomicBool::new(false),
        }
    }

    pub(crate) const fn peer(&self) -> HostId {
        self.peer
    }

    /// Sends on an ordered channel, if there is one. Never waits.
    pub(crate) fn send(&self, bulk: bool, message: Bytes) {
        match &*self.pair.load() {
            Some(pair) => {
                self.counters.count(Event::MessagesSent);
                self.counters
                    .add(Event::MessageBytesSent, message.len() as u64);
                let channel = if bulk { &pair.bulk } else { &pair.commit };
                channel.send(message);
            }
            None => self.counters.count(Event::MessagesUnsent),
        }
    }

    /// True while both channels are up.
    pub(crate) fn is_connected(&self) -> bool {
        self.pair.load().is_some()
    }

    /// A half that the other host has made by connecting to us.
    pub(crate) fn offer(&self, half: Half) {
        let mut halves = self.halves.lock();
        if halves.len() == MOST_HALVES {
            halves.pop_front();
        }
        halves.push_back(half);
        if find_pair(&halves).is_some() {
            self.changed.notify_all();
            // The other host would not connect if it believed in the old pair.
            if let Some(pair) = &*self.pair.load() {
                pair.end(Broken::Superseded);
            }
        }
    }

    /// Ends the link for good.
    pub(crate) fn stop(&self) {
        self.stopped.store(true, Ordering::Release);
        let _halves = self.halves.lock();
        self.changed.notify_all();
        if let Some(pair) = &*self.pair.load() {
            pair.end(Broken::Stopped);
        }
    }

    /// The thread of this host pair.
    pub(crate) fn run(&self, dial: Option<&dyn Dial>, handler: &dyn Handler) {
        // Every commit waits for this thread, here and on the other host.
        realtime::prefer();
        let mut pause = FIRST_PAUSE;
        while !self.stopped.load(Ordering::Acquire) {
            let made = match dial {
                Some(dial) => dial.dial(),
                None => self.wait_for_offer(),
            };
            match made {
                Some(made) => {
                    self.serve(made, handler);
                    pause = FIRST_PAUSE;
                }
                None => pause = (pause * 2).min(LAST_PAUSE),
            }
            if dial.is_some() {
                self.pause(pause);
            }
        }
    }

    fn pause(&self, pause: Duration) {
        let mut halves = self.halves.lock();
        if !self.stopped.load(Ordering::Acquire) {
            self.changed.wait_for(&mut halves, pause);
        }
    }

    fn wait_for_offer(&self) -> Option<Made> {
        let mut halves = self.halves.lock();
        loop {
            if self.stopped.load(Ordering::Acquire) {
                return None;
            }
            if let Some((commit, bulk)) = take_pair(&mut halves) {
                return Made::new(commit, bulk).ok();
            }
            self.changed.wait(&mut halves);
        }
    }

    fn serve(&self, made: Made, handler: &dyn Handler) {
        let pair = Arc::new(made.pair);
        self.pair.store(Some(Arc::clone(&pair)));
        self.counters.count(Event::Connected);
        tracing::info!(peer = %self.peer, "connected");
        handler.connected(self.peer, true);
        if self.stopped.load(Ordering::Acquire) {
            pair.end(Broken::Stopped);
        }
        std::thread::scope(|scope| {
            scope.spawn(|| {
                realtime::be_ordinary();
                self.run_channel(&pair.bulk, made.bulk, id::Channel::Bulk, handler);
                pair.commit.end_with(Broken::Partner);
            });
            self.run_channel(&pair.commit, made.commit, id::Channel::Commit, handler);
            pair.bulk.end_with(Broken::Partner);
        });
        self.pair.store(None);
        self.report(&pair);
        handler.connected(self.peer, false);
    }

    fn run_channel(
        &self,
        channel: &Channel,
        opening: Opening,
        name: id::Channel,
        handler: &dyn Handler,
    ) {
        channel.run(opening, &|message| {
            self.counters.count(Event::MessagesReceived);
            self.counters
                .add(Event::MessageBytesReceived, message.len() as u64);
            handler.received(self.peer, name, message);
        });
    }

    fn report(&self, pair: &Pair) {
        self.counters.count(Event::Broken);
        for channel in [&pair.commit, &pair.bulk] {
            match channel.end() {
                Some(Broken::Refused(refusal)) => self.counters.count(refusal.event()),
                Some(Broken::Overflow) => self.counters.count(Event::Overflows),
                _ => {}
            }
        }
        let reason = match (pair.commit.end(), pair.bulk.end()) {
            (Some(Broken::Partner) | None, Some(reason)) | (Some(reason), _) => reason.to_string(),
            (None, None) => String::new(),
        };
        tracing::info!(peer = %self.peer, reason, "connection broken");
    }
}

/// The positions of two halves that belong together: commit, then bulk.
fn find_pair(halves: &VecDeque<Half>) -> Option<(usize, usize)> {
    let last = halves.len().checked_sub(1)?;
    let newest = &halves[last];
    let fits = |half: &Half| half.generation == newest.generation && half.purpose != newest.purpose;
    let other = halves.iter().position(fits)?;
    match newest.purpose {
        Purpose::Bulk => Some((other, last)),
        Purpose::Commit | Purpose::Datagrams => Some((last, other)),
    }
}

/// Takes the newest pair out, and drops what is older.
fn take_pair(halves: &mut VecDeque<Half>) -> Option<(Half, Half)> {
    let (commit, bulk) = find_pair(halves)?;
    let mut taken: Vec<_> = halves.drain(..).map(Some).collect();
    Some((taken[commit].take()?, taken[bulk].take()?))
}
