//! A host without a configuration: what addresses it makes for itself from what routers say (RFC 4862), and which groups it
//! tells switches of (MLD). For namespace tests.
//!
//! It prints `address A` and `no address A` as they come and go, takes datagrams to a group, and leaves that when its
//! input says `leave`. It ends with its input, and says what it counted.

use std::net::{IpAddr, Ipv6Addr};
use std::time::Duration;

use anyhow::Context;
use clap::Parser;
use outlive::engine::{Config, Stack};
use outlive_driver::packet_socket;

/// How often it looks whether its addresses changed.
const LOOK: Duration = Duration::from_millis(20);

/// A host that listens to routers.
#[derive(Parser)]
struct Options {
    /// An existing interface
    interface: String,
    /// A group to listen to
    group: Ipv6Addr,
    /// What its addresses are made with
    secret: u8,
}

fn main() -> anyhow::Result<()> {
    let options = Options::parse();
    let mut config = Config::default();
    config.ethernet.autoconfigure = true;
    config.ethernet.stable_secret = Some([options.secret; 16]);
    let device = packet_socket::Options::new(options.interface).open()?;
    let stack = Stack::start(device, config)?;
    let group = IpAddr::V6(options.group);
    stack.join(group);
    let watched = stack.clone();
    stack.spawn(async move { watch(&watched).await }).detach();
    for line in std::io::stdin().lines() {
        if line.context("standard input")? == "leave" {
            stack.leave(group);
            println!("left");
        }
    }
    for (name, value) in stack.counters().non_zero() {
        println!("{name} {value}");
    }
    Ok(())
}

async fn watch(stack: &Stack) {
    let mut known = Vec::new();
    loop {
        let addresses = stack.addresses();
        for gone in known.iter().filter(|known| !addresses.contains(known)) {
            println!("no address {gone}");
        }
        for new in addresses.iter().filter(|new| !known.contains(new)) {
            println!("address {new}");
        }
        known = addresses;
        stack.sleep(LOOK).await;
    }
}
