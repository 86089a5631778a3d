//! A bad link between two TAP devices, for tests and measurements where the kernel has no netem.
//!
//! Both devices are opened without offloads, so what passes is wire-sized. The kernel's ends of the devices may be moved
//! into network namespaces of their own once this says that it relays.

mod options;
mod quantity;

use anyhow::Context;
use outlive_app::{StopSignals, print_summary};
use outlive_driver::impairment::{Impairment, LinkTotals};
use outlive_driver::relay::Relay;
use outlive_driver::tuntap;

pub use options::RelayOptions;

/// Relays until interrupted, then prints what became of the frames.
///
/// # Errors
/// When a device cannot be opened.
pub fn run(options: &RelayOptions) -> anyhow::Result<()> {
    let signals = StopSignals::new()?;
    let [left, right] = [&options.left, &options.right].map(|name| {
        let mut tap = tuntap::Options::tap(name);
        tap.offload = false;
        tap.mtu = options.mtu.map(usize::from);
        tap.open()
    });
    let to_right = options.impairment();
    let to_left = if options.one_way {
        Impairment::default()
    } else {
        to_right.clone()
    };
    let relay =
        Relay::start(left?, right?, to_right, to_left, options.seed).context("cannot relay")?;
    println!("relaying between {} and {}", options.left, options.right);
    signals.wait();
    let totals = relay.stop().context("the relay ended early")?;
    let to = |name| format!("frames to {name}");
    print_summary(&to(&options.right), rows(&totals.to_b))?;
    print_summary(&to(&options.left), rows(&totals.to_a))?;
    Ok(())
}

fn rows(totals: &LinkTotals) -> [(&'static str, u64); 8] {
    [
        ("offered", totals.offered),
        ("delivered", totals.delivered),
        ("dropped_too_long", totals.too_long),
        ("dropped_queue_full", totals.overflowed),
        ("dropped_by_chance", totals.lost),
        ("corrupted", totals.corrupted),
        ("duplicated", totals.duplicated),
        ("reordered", totals.reordered),
    ]
}
