//! An address from the network's own server, before anything is served.

use std::net::IpAddr;
use std::sync::mpsc;
use std::time::Duration;

use anyhow::Context;
use outlive::dhcp::{self, Lease};
use outlive::engine::Stack;

/// Three questions, each waited for longer than the one before.
const PATIENCE: Duration = Duration::from_secs(30);

/// Waits for an address, which is kept from then on.
///
/// # Errors
/// When no server gives one.
pub(crate) fn wait(stack: &Stack, interface: &str) -> anyhow::Result<IpAddr> {
    let (tell, told) = mpsc::channel();
    let tell = move |lease: Option<&Lease>| match lease {
        // Nobody waits any more after the first.
        Some(lease) => drop(tell.send(lease.address.address())),
        None => tracing::warn!("the lease is over: there is no address until a server gives one"),
    };
    let task =
        dhcp::start(stack, dhcp::Config::default(), tell).context("cannot ask for an address")?;
    task.detach();
    told.recv_timeout(PATIENCE).with_context(|| {
        format!(
            "no DHCP server on {interface} gave an address; give one with --address ADDRESS/PREFIX"
        )
    })
}
