//! Survival by checkpoints: a server that adds up what its clients send. On a stack with another
//! host to rely on its connections outlive it; on this one, which has none, the same code just serves.
//! The library's tests run the handler through takeovers in virtual time.
//!
//! ```sh
//! unshare -Urn sh -c 'cargo run --example counter & sleep 2; nc 10.0.0.2 7001'
//! ```

mod handler;

use std::error::Error;
use std::net::IpAddr;

use outlive::engine::{Config, Stack};
use outlive::replication::Survival;
use outlive::socket::TcpListener;
use outlive_driver::tuntap;

fn main() -> Result<(), Box<dyn Error>> {
    let mut device = tuntap::Options::tap("tap0".to_owned());
    device.host_address = Some(("10.0.0.1".parse::<IpAddr>()?, 24));
    let mut config = Config::default();
    config.ip.addresses = vec!["10.0.0.2/24".parse()?];
    let stack = Stack::start(device.open()?, config)?;
    let address = "0.0.0.0:7001".parse()?;
    let listener = TcpListener::bind_surviving(&stack, address, Survival::Checkpoint)?;
    println!("serving on 10.0.0.2, port 7001");
    for stream in listener.incoming() {
        let stream = stream?.into_asynchronous();
        stream
            .clone()
            .spawn(async move {
                if let Err(error) = handler::serve(stream).await {
                    eprintln!("a connection ended: {error}");
                }
            })
            .detach();
    }
    Ok(())
}
