//! Sockets of our stack for a script: a line of the input is a call, a line of the output its answer. For recordings of a
//! kernel with us (`scripts/record-pcaps`).
//!
//! The stack is on a TAP interface without offloads, so that captures show what a wire would carry. Numbers stand for
//! sockets, hexadecimal digits for bytes; an answer is `ok` with what the call gives, or `error` with its kind.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{IpAddr, Shutdown, SocketAddr};
use std::time::Duration;

use anyhow::Context;
use bytes::Bytes;
use clap::Parser;
use outlive::engine::{Config, Stack};
use outlive::ip::{Cidr, Route};
use outlive::socket::{TcpListener, TcpStream, UdpSocket};
use outlive::tcp::{KeepAlive, SocketOptions};
use outlive_driver::tuntap;

/// Our stack as an end of a recorded network.
#[derive(Parser)]
struct Options {
    /// The TAP interface, which is made
    interface: String,
    /// Our station address, as aa:bb:cc:dd:ee:ff
    mac: String,
    /// Our address, with the prefix length of the network
    address: Cidr,
    /// The router for everything outside of that
    router: Option<IpAddr>,
}

/// What a number stands for.
enum Socket {
    Listener(TcpListener),
    Stream(TcpStream),
    Datagrams(UdpSocket),
}

/// The stack and its sockets, in the order in which they were opened.
struct Calls {
    stack: Stack,
    address: IpAddr,
    sockets: Vec<Option<Socket>>,
}

fn main() -> anyhow::Result<()> {
    let options = Options::parse();
    let mac: Vec<u8> = options
        .mac
        .split(':')
        .map(|byte| u8::from_str_radix(byte, 16))
        .collect::<Result<_, _>>()
        .context("the station address")?;
    let device = tuntap::Options {
        offload: false,
        mac: Some(mac.try_into().ok().context("six bytes")?),
        ..tuntap::Options::tap(options.interface)
    };
    let device = device.open()?;
    let mut config = Config::default();
    config.ip.addresses = vec![options.address];
    config.ip.routes.extend(options.router.map(|gateway| Route {
        destination: Cidr::new(IpAddr::from([0, 0, 0, 0]), 0).expect("no bits are possible"),
        metric: 0,
        gateway: Some(gateway),
    }));
    answer("ok");
    let mut lines = io::stdin().lines();
    // The first line says when the stack is to announce itself.
    let Some(_) = lines.next().transpose()? else {
        return Ok(());
    };
    let mut calls = Calls {
        stack: Stack::start(device, config)?,
        address: options.address.address(),
        sockets: Vec::new(),
    };
    answer("ok");
    for line in lines {
        match calls.call(&line?) {
            Ok(said) => answer(&format!("ok {said}")),
            Err(error) => answer(&format!("error {:?} {error}", error.kind())),
        }
    }
    Ok(())
}

/// Standard output is a pipe, which would hold back lines.
fn answer(line: &str) {
    println!("{line}");
    let _ = io::stdout().flush();
}

fn wrong(what: &str) -> io::Error {
    io::Error::new(ErrorKind::InvalidInput, what.to_owned())
}

fn number<T: std::str::FromStr>(word: Option<&str>) -> io::Result<T> {
    word.and_then(|word| word.parse().ok())
        .ok_or_else(|| wrong("a number or an address is missing"))
}

fn from_hex(word: Option<&str>) -> io::Result<Bytes> {
    let digits = word.unwrap_or_default().as_bytes();
    let byte = |pair: &[u8]| {
        let text = std::str::from_utf8(pair).ok()?;
        u8::from_str_radix(text, 16).ok()
    };
    let bytes: Option<Vec<u8>> = digits.chunks(2).map(byte).collect();
    bytes
        .map(Bytes::from)
        .ok_or_else(|| wrong("no hexadecimal digits"))
}

fn to_hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

impl Calls {
    fn call(&mut self, line: &str) -> io::Result<String> {
        let mut words = line.split_whitespace();
        let call = words.next().unwrap_or_default();
        if let Some(socket) = self.open(call, &mut words).transpose()? {
            self.sockets.push(Some(socket));
            return Ok((self.sockets.len() - 1).to_string());
        }
        let index: usize = number(words.next())?;
        let slot = self.sockets.get_mut(index);
        let slot = slot.ok_or_else(|| wrong("there is no such socket"))?;
        match (call, &*slot) {
            ("close", _) => *slot = None,
            (_, Some(Socket::Stream(stream))) => return on_stream(stream, call, &mut words),
            (_, Some(Socket::Datagrams(socket))) => return on_datagrams(socket, call, &mut words),
            _ => return Err(wrong("no call for this socket")),
        }
        Ok(String::new())
    }

    /// The calls that give a socket; `None` for the others.
    fn open<'a>(
        &self,
        call: &str,
        words: &mut impl Iterator<Item = &'a str>,
    ) -> Option<io::Result<Socket>> {
        Some(match call {
            "listen" => self.listen(words.next()).map(Socket::Listener),
            "accept" => self.accept(words.next()).map(Socket::Stream),
            "connect" => self.connect(words).map(Socket::Stream),
            "datagrams" => number(words.next())
                .and_then(|port| UdpSocket::bind(&self.stack, SocketAddr::new(self.address, port)))
                .map(Socket::Datagrams),
            _ => return None,
        })
    }

    fn listen(&self, port: Option<&str>) -> io::Result<TcpListener> {
        TcpListener::bind(&self.stack, SocketAddr::new(self.address, number(port)?))
    }

    fn accept(&self, index: Option<&str>) -> io::Result<TcpStream> {
        match self.sockets.get(number::<usize>(index)?) {
            Some(Some(Socket::Listener(listener))) => listener.accept().map(|(stream, _)| stream),
            _ => Err(wrong("nobody listens there")),
        }
    }

    /// `connect REMOTE LOCAL-PORT RECEIVE-BUFFER`, with 0 for what is not chosen.
    fn connect<'a>(&self, words: &mut impl Iterator<Item = &'a str>) -> io::Result<TcpStream> {
        let remote = number(words.next())?;
        let (port, buffer) = (number(words.next())?, number(words.next())?);
        let local = SocketAddr::new(self.address, port);
        let options = SocketOptions {
            receive_buffer_bytes: Some(buffer),
            ..SocketOptions::default()
        };
        let options = Some(options).filter(|_| buffer > 0);
        TcpStream::connect_with(
            &self.stack,
            Some(local).filter(|_| port > 0),
            remote,
            options,
            None,
        )
    }
}

fn on_stream<'a>(
    mut stream: &TcpStream,
    call: &str,
    words: &mut impl Iterator<Item = &'a str>,
) -> io::Result<String> {
    match call {
        "send" => stream.send(from_hex(words.next())?)?,
        "receive" => {
            let mut into = vec![0; number(words.next())?];
            let length = stream.read(&mut into)?;
            return Ok(to_hex(&into[..length]));
        }
        "shutdown" => stream.shutdown(Shutdown::Write)?,
        "reset-on-close" => stream.set_linger(Some(Duration::ZERO)),
        "keep-alive" => {
            let every = Duration::from_secs(number(words.next())?);
            stream.set_keepalive(Some(KeepAlive {
                idle: every,
                interval: every,
                ..KeepAlive::default()
            }));
        }
        _ => return Err(wrong("no call of a stream")),
    }
    Ok(String::new())
}

fn on_datagrams<'a>(
    socket: &UdpSocket,
    call: &str,
    words: &mut impl Iterator<Item = &'a str>,
) -> io::Result<String> {
    match call {
        "peer" => socket.connect(number(words.next())?)?,
        "send" => drop(socket.send(&from_hex(words.next())?)?),
        "receive" => return Ok(to_hex(&socket.recv_bytes()?.0)),
        "send-to" => {
            let to = number(words.next())?;
            let _ = socket.send_to(&from_hex(words.next())?, to)?;
        }
        "receive-from" => {
            let (data, from) = socket.recv_bytes()?;
            return Ok(format!("{from} {}", to_hex(&data)));
        }
        _ => return Err(wrong("no call of a datagram socket")),
    }
    Ok(String::new())
}
