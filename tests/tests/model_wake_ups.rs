//! Every order in which the accesses of a wake-up can happen, and every value that a processor may show to a thread: no
//! wake-up is lost, and no queue is left without a leader.
//!
//! The shipped files are taken by their path, with the `loom` crate's atomics in the place of the standard library's. A
//! bell is modelled by a lock: a thread that sleeps while there is work and nobody rings is a deadlock, which loom
//! reports. It also shows what processors rarely do; the tests in `engine/poller.rs` show what this one does.

use loom::sync::{Arc, Condvar, Mutex};
use loom::thread;

use atomic::{AtomicU32, Ordering};
use drives::Drives;
use notice::Notice;
use sleeper::Sleeper;

mod atomic {
    pub(super) use loom::sync::atomic::{
        AtomicBool, AtomicU32, AtomicU64, AtomicUsize, Ordering, fence,
    };
}
#[path = "../../stack/src/engine/drives.rs"]
#[allow(dead_code, reason = "what counts drives is not part of the wake-up")]
mod drives;
#[path = "../../stack/src/engine/notice.rs"]
mod notice;
#[path = "../../stack/src/engine/sleeper.rs"]
mod sleeper;

/// Runs what can happen when threads are stopped in the middle of something up to three times, which is where mistakes of this kind
/// show; all of it would take minutes.
fn model(run: impl Fn() + Sync + Send + 'static) {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound.get_or_insert(3);
    builder.check(run);
}

/// An eventfd, a timer, or the token of a parked thread: it stays rung until it is silenced.
#[derive(Default)]
struct Bell {
    rung: Mutex<bool>,
    changed: Condvar,
}

impl Bell {
    fn ring(&self) {
        *self.rung.lock().unwrap() = true;
        self.changed.notify_one();
    }

    /// Waits until it rings, and silences it.
    fn hear(&self) {
        let mut rung = self.rung.lock().unwrap();
        while !*rung {
            rung = self.changed.wait(rung).unwrap();
        }
        *rung = false;
    }

    fn silence(&self) {
        *self.rung.lock().unwrap() = false;
    }
}

/// `engine/wake.rs` over a bell of the model.
struct Wake {
    sleeper: Sleeper,
    bell: Bell,
}

impl Wake {
    fn new() -> Self {
        Self {
            sleeper: Sleeper::new(),
            bell: Bell::default(),
        }
    }

    fn wake(&self) {
        if self.sleeper.must_be_woken() {
            self.bell.ring();
        }
    }

    fn sleep_unless(&self, has_work: impl FnOnce() -> bool) {
        self.sleeper.begin();
        if !has_work() {
            self.bell.hear();
        }
        self.sleeper.end();
    }
}

/// Threads that publish one piece of work each, and one that sleeps until it has seen all of them.
fn work_is_seen(wakers: u32) {
    let work = Arc::new(AtomicU32::new(0));
    let wake = Arc::new(Wake::new());
    let threads: Vec<_> = (0..wakers)
        .map(|_| {
            let (work, wake) = (Arc::clone(&work), Arc::clone(&wake));
            thread::spawn(move || {
                work.fetch_add(1, Ordering::Relaxed);
                wake.wake();
            })
        })
        .collect();
    let mut seen = 0;
    while seen < wakers {
        wake.sleep_unless(|| work.load(Ordering::Relaxed) > seen);
        seen = work.load(Ordering::Relaxed);
    }
    for thread in threads {
        thread.join().unwrap();
    }
}

#[test]
fn a_thread_never_sleeps_on_work() {
    model(|| work_is_seen(1));
}

#[test]
fn a_thread_never_sleeps_on_work_of_two() {
    model(|| work_is_seen(2));
}

/// Two pieces of work from one thread: the second may come while the bell of the first is still to ring. A bell that nobody
/// silences would keep the thread from sleeping, which the model takes for a loop without an end.
#[test]
fn a_ring_that_comes_late_costs_a_short_sleep_only() {
    model(|| {
        let work = Arc::new(AtomicU32::new(0));
        let wake = Arc::new(Wake::new());
        let (published, ringer) = (Arc::clone(&work), Arc::clone(&wake));
        let waker = thread::spawn(move || {
            for piece in 1..=2 {
                published.store(piece, Ordering::Relaxed);
                ringer.wake();
            }
        });
        let mut seen = 0;
        while seen < 2 {
            wake.sleep_unless(|| work.load(Ordering::Relaxed) > seen);
            seen = work.load(Ordering::Relaxed);
        }
        waker.join().unwrap();
    });
}

/// `Parker::look_first` and `Parking::wait`: an application's thread that parks until two others did their part.
#[test]
fn a_parked_thread_sees_what_it_was_told_of() {
    model(|| {
        let parts = Arc::new(AtomicU32::new(0));
        let notice = Arc::new(Notice::new());
        let token = Arc::new(Bell::default());
        let threads: Vec<_> = (0..2)
            .map(|_| {
                let parts = Arc::clone(&parts);
                let (notice, token) = (Arc::clone(&notice), Arc::clone(&token));
                thread::spawn(move || {
                    parts.fetch_add(1, Ordering::Relaxed);
                    if notice.give() {
                        token.ring();
                    }
                })
            })
            .collect();
        loop {
            notice.take();
            if parts.load(Ordering::Relaxed) == 2 {
                break;
            }
            while !notice.is_given() {
                token.hear();
            }
        }
        for thread in threads {
            thread.join().unwrap();
        }
    });
}

/// `Queue::drive`: the thread puts its bell out, then sleeps in poll(2) instead of parking.
#[test]
fn a_driver_is_woken_by_its_bell() {
    model(|| {
        let done = Arc::new(AtomicU32::new(0));
        let notice = Arc::new(Notice::new());
        let wake = Arc::new(Wake::new());
        let bell = Arc::new(Mutex::new(None::<Arc<Wake>>));
        let waker = {
            let (done, notice, bell) = (Arc::clone(&done), Arc::clone(&notice), Arc::clone(&bell));
            thread::spawn(move || {
                done.store(1, Ordering::Relaxed);
                if notice.give()
                    && let Some(wake) = &*bell.lock().unwrap()
                {
                    wake.wake();
                }
            })
        };
        notice.take();
        if done.load(Ordering::Relaxed) == 0 {
            *bell.lock().unwrap() = Some(Arc::clone(&wake));
            loop {
                if notice.is_given() {
                    notice.take();
                    if done.load(Ordering::Relaxed) == 1 {
                        break;
                    }
                }
                wake.sleep_unless(|| notice.is_given());
            }
            *bell.lock().unwrap() = None;
        }
        waker.join().unwrap();
    });
}

/// A queue in which a run of the writers sends one thing.
struct Sending {
    outbox: Mutex<u32>,
    writer: Mutex<()>,
    left_over: Notice,
    leader: Wake,
    sent: AtomicU32,
    /// What there is to send in all, and the bell for when it is sent.
    all: u32,
    over: Notice,
    end: Bell,
}

impl Sending {
    fn new(all: u32) -> Self {
        Self {
            outbox: Mutex::new(0),
            writer: Mutex::new(()),
            left_over: Notice::new(),
            leader: Wake::new(),
            sent: AtomicU32::new(0),
            all,
            over: Notice::new(),
            end: Bell::default(),
        }
    }

    fn kick_once(&self) -> bool {
        let Ok(writer) = self.writer.try_lock() else {
            return false;
        };
        let taken = {
            let mut outbox = self.outbox.lock().unwrap();
            let taken = (*outbox).min(1);
            *outbox -= taken;
            taken
        };
        let sent = self.sent.fetch_add(taken, Ordering::Relaxed) + taken;
        drop(writer);
        if taken > 0 && sent == self.all {
            self.over.give();
            self.leader.wake();
            self.end.ring();
        }
        *self.outbox.lock().unwrap() > 0
    }

    /// `Queue::kick_briefly`, by a thread that brings commits.
    fn bring(&self, things: u32) {
        *self.outbox.lock().unwrap() += things;
        if self.kick_once() {
            self.left_over.give();
            self.leader.wake();
        }
    }

    /// `Queue::turn` and `Queue::sleep_as_leader`.
    fn lead(&self) {
        while !self.over.is_given() {
            let told = self.left_over.is_given();
            if told {
                self.left_over.take();
            }
            if (told || *self.outbox.lock().unwrap() > 0) && self.kick_once() {
                continue;
            }
            self.leader
                .sleep_unless(|| self.left_over.is_given() || self.over.is_given());
        }
    }
}

/// `engine/sending.rs`: threads that bring commits send one thing each, and leave the rest to a leader that may be asleep.
#[test]
fn what_is_left_to_the_leader_is_sent() {
    model(|| {
        let sending = Arc::new(Sending::new(3));
        let leader = {
            let sending = Arc::clone(&sending);
            thread::spawn(move || sending.lead())
        };
        let other = {
            let sending = Arc::clone(&sending);
            thread::spawn(move || sending.bring(1))
        };
        sending.bring(2);
        sending.end.hear();
        leader.join().unwrap();
        other.join().unwrap();
    });
}

/// `Queue::stand_behind`: the background thread sleeps without a limit while one drive goes on, and leads when it is over.
#[test]
fn a_queue_that_is_left_is_led_again() {
    model(|| {
        let drives = Arc::new(Drives::new());
        let handback = Arc::new(Bell::default());
        drives.announce();
        drives.begin();
        let driver = {
            let (drives, handback) = (Arc::clone(&drives), Arc::clone(&handback));
            thread::spawn(move || {
                if drives.end() {
                    handback.ring();
                }
            })
        };
        while drives.is_driven() {
            if drives.want_handback() {
                handback.hear();
            }
            drives.need_no_handback();
            handback.silence();
        }
        driver.join().unwrap();
    });
}
