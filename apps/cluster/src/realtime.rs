//! Asking the kernel to run a thread before others: heartbeats that wait for a processor look like a dead host, and
//! commits that wait for one hold up everything that the other host has to say.

/// Above all ordinary threads, below the kernel's own real-time threads.
const PRIORITY: i32 = 10;
/// About ten times the share of an ordinary thread, and a processor at once.
const PREFERRED: i32 = -10;

/// Gives this thread real-time priority (SCHED_FIFO), if that is allowed: root, CAP_SYS_NICE or RLIMIT_RTPRIO.
/// Its children do not inherit it.
pub fn raise() -> bool {
    let parameters = libc::sched_param {
        sched_priority: PRIORITY,
    };
    let policy = libc::SCHED_FIFO | libc::SCHED_RESET_ON_FORK;
    // SAFETY: 0 is the calling thread, and the parameters live during the call.
    let allowed = unsafe { libc::sched_setscheduler(0, policy, &raw const parameters) } == 0;
    if !allowed {
        tracing::info!(
            "no real-time priority for heartbeats: a busy machine may look dead; run as root or with CAP_SYS_NICE"
        );
    }
    allowed
}

/// Lets this thread go before ordinary ones, if that is allowed, and not instead of them: what it does may take long. Its
/// children inherit it.
pub fn prefer() -> bool {
    set_nice(PREFERRED)
}

/// Makes this thread an ordinary one again.
pub fn be_ordinary() -> bool {
    set_nice(0)
}

fn set_nice(nice: i32) -> bool {
    // SAFETY: takes numbers only; 0 is the calling thread, as Linux counts niceness by thread.
    unsafe { libc::setpriority(libc::PRIO_PROCESS, 0, nice) == 0 }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn nice() -> i32 {
        // SAFETY: takes numbers only.
        unsafe { libc::getpriority(libc::PRIO_PROCESS, 0) }
    }

    #[test]
    fn a_preferred_thread_is_alone_in_it_and_can_be_ordinary_again() {
        let before = nice();
        #[expect(
            clippy::disallowed_methods,
            reason = "what is tested is a thread's own"
        )]
        let thread = std::thread::spawn(|| {
            let allowed = prefer();
            let preferred = nice();
            (allowed, preferred, be_ordinary(), nice())
        });
        let (allowed, preferred, _, after) = thread.join().unwrap();
        assert_eq!(nice(), before);
        if allowed {
            assert_eq!((preferred, after), (PREFERRED, 0));
        }
    }
}
