//! Asking the kernel to run a thread before everything else: heartbeats that wait for a processor look like a
//! dead host.

/// Above all ordinary threads, below the kernel's own real-time threads.
const PRIORITY: i32 = 10;

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
