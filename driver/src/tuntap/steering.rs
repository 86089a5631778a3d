//! Receive packet steering (`Documentation/networking/scaling.rst`): which processors run the kernel's
//! receiving of what we write.
//!
//! By default that is the writing thread itself: each write runs the receiver's IP and TCP up to the socket
//! and wakes whoever reads there. On another processor it costs ours only an interrupt to that one, and
//! the next segment is copied meanwhile. Frames of one flow stay on one processor, in order.
//!
//! That is worth its interrupts while we send more than we receive. Otherwise what we write is mostly
//! acknowledgments, and the processor that they would interrupt is the one that sends to us; so the kernel's default
//! stays until there was much to send, and comes back when that is over.
//!
//! What waits for the other processor is bounded by frames (`net.core.netdev_max_backlog`, 1000 for the whole
//! host), beyond which the kernel drops. So this is for devices that cut segments: of wire-sized frames as
//! many wait in a fraction of a window.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::{self, Read};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::FileExt;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use rustix::fs::{Mode, OFlags, openat};
use rustix::mount::{FsMountFlags, FsOpenFlags, MountAttrFlags, fsconfig_create, fsmount, fsopen};
use rustix::thread::{CpuSet, sched_getaffinity};

/// So many bytes are looked at, of both directions together, before steering is decided again: milliseconds when it
/// matters. A change may put a few frames of a flow out of order.
const WINDOW_BYTES: u64 = 16 << 20;

/// Where the kernel receives what we send.
pub(super) struct Steering {
    /// `rps_cpus` of each queue.
    files: Vec<File>,
    /// The processors that this process may not use; all, if it may use all.
    others: String,
    /// They were told to the kernel.
    steered: AtomicBool,
    sent_bytes: AtomicU64,
    received_bytes: AtomicU64,
}

impl Steering {
    /// None without privilege over the whole machine, which the kernel asks for here, and on a single processor:
    /// everything works as it did before.
    pub(super) fn new(interface: &str, queues: usize) -> Option<Self> {
        match Self::open(interface, queues) {
            Ok(steering) => steering,
            Err(error) => {
                tracing::debug!(%error, interface, "left receive steering as it is");
                None
            }
        }
    }

    fn open(interface: &str, queues: usize) -> io::Result<Option<Self>> {
        let sysfs = sysfs()?;
        let online = parse_list(&read(&sysfs, "devices/system/cpu/online")?);
        if online.len() < 2 {
            return Ok(None);
        }
        let ours = sched_getaffinity(None)?;
        let others = choose(&online, |cpu| cpu < CpuSet::MAX_CPU && ours.is_set(cpu));
        let file = |queue| {
            let path = format!("class/net/{interface}/queues/rx-{queue}/rps_cpus");
            let flags = OFlags::WRONLY | OFlags::CLOEXEC;
            Ok(File::from(openat(&sysfs, path, flags, Mode::empty())?))
        };
        let steering = Self {
            files: (0..queues).map(file).collect::<io::Result<_>>()?,
            others: mask(&others),
            steered: AtomicBool::new(false),
            sent_bytes: AtomicU64::new(0),
            received_bytes: AtomicU64::new(0),
        };
        // Opening is allowed to more users than writing.
        steering.steer(false)?;
        Ok(Some(steering))
    }

    /// Counts what was sent and received, and steers by it.
    pub(super) fn note(&self, sent_bytes: usize, received_bytes: usize) {
        if sent_bytes + received_bytes == 0 {
            return;
        }
        let add = |count: &AtomicU64, bytes| {
            let bytes = bytes as u64;
            count.fetch_add(bytes, Ordering::Relaxed) + bytes
        };
        let sent = add(&self.sent_bytes, sent_bytes);
        let received = add(&self.received_bytes, received_bytes);
        if sent + received < WINDOW_BYTES {
            return;
        }
        self.sent_bytes.store(0, Ordering::Relaxed);
        self.received_bytes.store(0, Ordering::Relaxed);
        let Some(steer) = decide(sent, received) else {
            return;
        };
        if self.steered.swap(steer, Ordering::Relaxed) != steer
            && let Err(error) = self.steer(steer)
        {
            tracing::debug!(%error, "left receive steering as it is");
        }
    }

    fn steer(&self, steer: bool) -> io::Result<()> {
        let mask = if steer { &self.others } else { "0" };
        for file in &self.files {
            file.write_all_at(mask.as_bytes(), 0)?;
        }
        Ok(())
    }
}

/// Whether to steer; none when neither direction clearly prevails.
fn decide(sent_bytes: u64, received_bytes: u64) -> Option<bool> {
    if sent_bytes > 2 * received_bytes {
        Some(true)
    } else if received_bytes > 2 * sent_bytes {
        Some(false)
    } else {
        None
    }
}

/// A sysfs of the network namespace that we are in now, which the one at `/sys` need not be; not in the file
/// tree, and gone with its descriptor.
fn sysfs() -> io::Result<OwnedFd> {
    let context = fsopen("sysfs", FsOpenFlags::FSOPEN_CLOEXEC)?;
    fsconfig_create(context.as_fd())?;
    let mount = fsmount(
        context.as_fd(),
        FsMountFlags::FSMOUNT_CLOEXEC,
        MountAttrFlags::empty(),
    )?;
    Ok(mount)
}

fn read(sysfs: &OwnedFd, path: &str) -> io::Result<String> {
    let file = openat(sysfs, path, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())?;
    let mut text = String::new();
    File::from(file).read_to_string(&mut text)?;
    Ok(text)
}

/// The processors of a list like `0-3,8`.
fn parse_list(text: &str) -> BTreeSet<usize> {
    let ranges = text.trim().split(',').filter_map(|range| {
        let (first, last) = range.split_once('-').unwrap_or((range, range));
        Some(first.parse().ok()?..=last.parse().ok()?)
    });
    ranges.flatten().collect()
}

/// Those that are not ours, or all if all are.
fn choose(online: &BTreeSet<usize>, is_ours: impl Fn(usize) -> bool) -> BTreeSet<usize> {
    let others: BTreeSet<_> = online
        .iter()
        .copied()
        .filter(|&cpu| !is_ours(cpu))
        .collect();
    if others.is_empty() {
        online.clone()
    } else {
        others
    }
}

/// The set as the kernel writes it: words of 32 bits in hexadecimal, the highest first.
fn mask(processors: &BTreeSet<usize>) -> String {
    let last = processors.last().copied().unwrap_or(0);
    let words = (0..=last / 32).rev().map(|word| {
        let bits = processors
            .range(word * 32..(word + 1) * 32)
            .fold(0_u32, |bits, cpu| bits | 1 << (cpu % 32));
        format!("{bits:08x}")
    });
    words.collect::<Vec<_>>().join(",")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_clearly_prevails_decides() {
        assert_eq!(decide(10, 1), Some(true));
        assert_eq!(decide(1, 10), Some(false));
        assert_eq!(decide(10, 9), None);
    }

    #[test]
    fn the_processors_that_we_leave_to_others_are_chosen() {
        let online = parse_list("0-3,33\n");
        assert_eq!(online.len(), 5);
        let chosen = choose(&online, |cpu| cpu < 2);
        assert_eq!(mask(&chosen), "00000002,0000000c");
        assert_eq!(choose(&online, |_| true), online);
        assert_eq!(mask(&parse_list("0-1")), "00000003");
    }
}
