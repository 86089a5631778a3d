//! Receive packet steering (`Documentation/networking/scaling.rst`): which processors run the kernel's
//! receiving of what we write.
//!
//! By default that is the writing thread itself: each write runs the receiver's IP and TCP up to the socket
//! and wakes whoever reads there. On another processor it costs ours only an interrupt to that one, and
//! the next segment is copied meanwhile. Frames of one flow stay on one processor, in order.
//!
//! What waits for the other processor is bounded by frames (`net.core.netdev_max_backlog`, 1000 for the whole
//! host), beyond which the kernel drops. So this is for devices that cut segments: of wire-sized frames as
//! many wait in a fraction of a window.

use std::collections::BTreeSet;
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, OwnedFd};

use rustix::fs::{Mode, OFlags, openat};
use rustix::mount::{FsMountFlags, FsOpenFlags, MountAttrFlags, fsconfig_create, fsmount, fsopen};
use rustix::thread::{CpuSet, sched_getaffinity};

/// Has the kernel receive on processors that this process may not use; on all, if it may use all. Without
/// privilege over the whole machine, which the kernel asks for here, everything works as before.
pub(super) fn to_other_processors(interface: &str, queues: usize) {
    if let Err(error) = steer(interface, queues) {
        tracing::debug!(%error, interface, "left receive steering as it is");
    }
}

fn steer(interface: &str, queues: usize) -> io::Result<()> {
    let sysfs = sysfs()?;
    let online = parse_list(&read(&sysfs, "devices/system/cpu/online")?);
    if online.len() < 2 {
        return Ok(());
    }
    let ours = sched_getaffinity(None)?;
    let mask = mask(&choose(&online, |cpu| {
        cpu < CpuSet::MAX_CPU && ours.is_set(cpu)
    }));
    for queue in 0..queues {
        let path = format!("class/net/{interface}/queues/rx-{queue}/rps_cpus");
        let file = openat(
            &sysfs,
            path,
            OFlags::WRONLY | OFlags::CLOEXEC,
            Mode::empty(),
        )?;
        std::fs::File::from(file).write_all(mask.as_bytes())?;
    }
    Ok(())
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
    std::fs::File::from(file).read_to_string(&mut text)?;
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
    fn the_processors_that_we_leave_to_others_are_chosen() {
        let online = parse_list("0-3,33\n");
        assert_eq!(online.len(), 5);
        let chosen = choose(&online, |cpu| cpu < 2);
        assert_eq!(mask(&chosen), "00000002,0000000c");
        assert_eq!(choose(&online, |_| true), online);
        assert_eq!(mask(&parse_list("0-1")), "00000003");
    }
}
