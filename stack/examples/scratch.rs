#![allow(
    missing_docs,
    clippy::all,
    clippy::disallowed_methods,
    clippy::disallowed_types
)]
use outlive::engine::{Config, Stack, Topology};
use outlive::socket::TcpListener;
use outlive_driver::tap;
use std::io::{Read, Write};
use std::time::{Duration, Instant};
fn main() {
    let args: Vec<String> = std::env::args().collect();
    let topology = if args[1] == "p" {
        Topology::Pipeline
    } else {
        Topology::RunToCompletion
    };
    let offload = args.get(2).map_or(true, |a| a == "o");
    let mut device = tap::Options::new("tap0");
    device.offload = offload;
    device.host_address = Some(("10.0.0.1".parse().unwrap(), 24));
    let mut config = Config::default();
    config.topology = topology;
    config.ip.addresses = vec!["10.0.0.2/24".parse().unwrap()];
    let stack = Stack::start(device.open().unwrap(), config).unwrap();
    let listener = TcpListener::bind(&stack, "0.0.0.0:7").unwrap();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut s = stream.unwrap();
            std::thread::spawn(move || {
                s.set_nodelay(true).unwrap();
                let mut mode = [0u8; 1];
                if s.read_exact(&mut mode).is_err() {
                    return;
                }
                match mode[0] {
                    b'e' => {
                        let mut b = vec![0; 65536];
                        loop {
                            let n = s.read(&mut b).unwrap();
                            if n == 0 {
                                return;
                            }
                            s.write_all(&b[..n]).unwrap();
                        }
                    }
                    b's' => {
                        let mut b = vec![0; 1 << 20];
                        while s.read(&mut b).unwrap() > 0 {}
                        s.write_all(b"k").unwrap();
                    }
                    b'c' => {
                        let b = vec![7u8; 1 << 20];
                        while s.write_all(&b).is_ok() {}
                    }
                    b'z' => {
                        let b = bytes::Bytes::from(vec![7u8; 1 << 20]);
                        let mut n = 0;
                        while s.send(b.clone()).is_ok() {
                            n += 1;
                            if n % 2000 == 1999 {
                                eprintln!("{:?}", s.info());
                            }
                        }
                    }
                    _ => {}
                }
            });
        }
    });
    let l = outlive::socket::asynchronous::TcpListener::bind(&stack, "0.0.0.0:8").unwrap();
    if args.get(3).is_some() {
        stack
            .spawn(async move {
                loop {
                    let (s, _) = l.accept().await.unwrap();
                    s.set_nodelay(true);
                    let t = s.clone();
                    t.spawn(async move {
                        let mut b = [0u8; 4096];
                        loop {
                            let n = s.read(&mut b).await.unwrap();
                            if n == 0 {
                                return;
                            }
                            s.write_all(&b[..n]).await.unwrap();
                        }
                    })
                    .detach();
                }
            })
            .detach();
    }
    let connect = |mode: &[u8]| {
        let mut c = std::net::TcpStream::connect("10.0.0.2:7").unwrap();
        c.set_nodelay(true).unwrap();
        c.write_all(mode).unwrap();
        c
    };
    let secs = Duration::from_secs(2);
    for (mode, name) in [
        (b"s", "to us"),
        (b"c", "from us (copy)"),
        (b"z", "from us (zero copy)"),
    ] {
        let mut c = connect(mode);
        let mut buf = vec![1u8; 1 << 20];
        let start = Instant::now();
        let mut total = 0u64;
        if mode == b"s" {
            while start.elapsed() < secs {
                c.write_all(&buf).unwrap();
                total += buf.len() as u64;
            }
            c.shutdown(std::net::Shutdown::Write).unwrap();
            c.read_exact(&mut buf[..1]).unwrap();
        } else {
            while start.elapsed() < secs {
                total += c.read(&mut buf).unwrap() as u64;
            }
        }
        println!(
            "{name}: {:.1} Gbit/s",
            total as f64 * 8.0 / start.elapsed().as_secs_f64() / 1e9
        );
        drop(c);
    }
    for port in [7, 8] {
        if port == 8 && args.get(3).is_none() {
            continue;
        }
        let mut c = std::net::TcpStream::connect(("10.0.0.2", port)).unwrap();
        c.set_nodelay(true).unwrap();
        if port == 7 {
            c.write_all(b"e").unwrap();
        }
        for pause in [0u64, 5] {
            let mut times = Vec::new();
            for _ in 0..(if pause == 0 { 20000 } else { 200 }) {
                if pause > 0 {
                    std::thread::sleep(Duration::from_millis(pause));
                }
                let t = Instant::now();
                c.write_all(b"x").unwrap();
                c.read_exact(&mut [0]).unwrap();
                times.push(t.elapsed());
            }
            times.sort();
            println!(
                "port {port} pause {pause} ms: p50 {:?} p99 {:?}",
                times[times.len() / 2],
                times[times.len() * 99 / 100]
            );
        }
    }
    println!("{:?}", stack.counters().non_zero().collect::<Vec<_>>());
    println!("{:?}", stack.sleeps_and_rings());
    std::process::exit(0);
}
