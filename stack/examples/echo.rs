//! Blocking sockets: an echo server on a TAP device, a thread per connection.
//!
//! ```sh
//! unshare -Urn sh -c 'cargo run --example echo & sleep 2; nc 10.0.0.2 7'
//! ```

use std::error::Error;
use std::io::{Read, Write};
use std::net::IpAddr;

use outlive::engine::{Config, Stack};
use outlive::socket::{TcpListener, TcpStream};
use outlive_driver::tuntap;

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let mut next = |or: &str| arguments.next().unwrap_or_else(|| or.to_owned());
    let (name, address, host) = (next("tap0"), next("10.0.0.2/24"), next("10.0.0.1"));
    let mut device = tuntap::Options::tap(name);
    device.host_address = Some((host.parse::<IpAddr>()?, 24));
    let mut config = Config::default();
    config.ip.addresses = vec![address.parse()?];
    let stack = Stack::start(device.open()?, config)?;
    let listener = TcpListener::bind(&stack, "0.0.0.0:7")?;
    println!("echo on {address}, port 7");
    for stream in listener.incoming() {
        let stream = stream?;
        #[expect(clippy::disallowed_methods, reason = "an application may have threads")]
        std::thread::spawn(move || {
            if let Err(error) = echo(&stream) {
                eprintln!("{:?}: {error}", stream.peer_addr());
            }
        });
    }
    Ok(())
}

fn echo(mut stream: &TcpStream) -> std::io::Result<()> {
    let mut buffer = vec![0; 64 << 10];
    loop {
        let taken = stream.read(&mut buffer)?;
        if taken == 0 {
            return Ok(());
        }
        stream.write_all(&buffer[..taken])?;
    }
}
