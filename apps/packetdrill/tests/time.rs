//! Virtual time, and calls that block in it.

#[macro_use]
mod support;

use std::cell::Cell;
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use outlive::wire::tcp::Flags;
use support::{Host, PEER_PORT, Peer, connected, errno};

/// Runs `call` on a thread of its own, which asks for the time when it returns, and `event` once that thread waits;
/// gives the call's result and the time. `event` is given a way to ask whether the call is over.
fn while_blocked<R: Send>(
    host: &Host,
    call: impl FnOnce() -> R + Send,
    event: impl FnOnce(&dyn Fn() -> bool),
) -> (R, i64) {
    thread::scope(|scope| {
        let (tell, told) = mpsc::channel();
        let (begin, begun) = mpsc::channel();
        let thread = scope.spawn(move || {
            // SAFETY: it takes nothing and cannot fail.
            begin.send(unsafe { libc::gettid() }).unwrap();
            let result = call();
            tell.send(host.now_us()).unwrap();
            result
        });
        let number = begun.recv().unwrap();
        while !is_asleep(number) {
            thread::yield_now();
        }
        let over = Cell::new(None);
        event(&|| {
            if over.get().is_none() {
                over.set(told.try_recv().ok());
            }
            over.get().is_some()
        });
        let at = over.get().unwrap_or_else(|| {
            let told = told.recv_timeout(Duration::from_secs(10));
            told.expect("the call returns")
        });
        (thread.join().unwrap(), at)
    })
}

/// A call has no way to say that it waits but to be asleep; packetdrill looks in the same place.
fn is_asleep(thread: i32) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/self/task/{thread}/stat")).unwrap();
    stat.rsplit(") ").next().unwrap().starts_with('S')
}

#[test]
fn time_moves_with_every_look_and_as_told() {
    let host = Host::new();
    let looks: Vec<_> = (0..100).map(|_| host.now_us()).collect();
    assert!(looks.windows(2).all(|pair| pair[0] < pair[1]));
    let before = host.now_us();
    host.sleep_ms(3_600_000);
    let slept = host.now_us() - before;
    assert!((3_600_000_000..3_600_000_010).contains(&slept), "{slept}");
}

#[test]
fn a_packet_is_received_when_the_stack_sends_it() {
    let host = Host::new();
    let (fd, _peer) = connected(&host);
    let before = host.now_us();
    assert_eq!(host.write(fd, b"hello"), 5);
    let first = host.next().unwrap();
    assert_eq!(first.payload, b"hello");
    assert!((first.at_us - before).abs() < 10);
    // Nobody acknowledges it: time goes to the moment at which it is sent again.
    let again = host.next().unwrap();
    assert_eq!(again.payload, b"hello");
    assert!(again.at_us - first.at_us >= 200_000, "the least RTO");
    assert!(host.now_us() >= again.at_us);
}

#[test]
fn nothing_is_received_when_nothing_will_come() {
    let host = Host::new();
    host.listening();
    assert!(host.next().is_none());
}

#[test]
fn a_call_that_would_wait_for_ever_gives_up_on_the_main_thread() {
    let host = Host::new();
    let listener = host.listening();
    assert_eq!(host.accept(listener), -1);
    assert_eq!(errno(), libc::EAGAIN);
}

#[test]
fn a_connection_wakes_an_accept_that_waits() {
    let host = Host::new();
    let listener = host.listening();
    let (accepted, at_us) = while_blocked(
        &host,
        || host.accept(listener),
        |over| {
            host.sleep_ms(100);
            assert!(!over());
            let mut peer = Peer::half_open(&host, PEER_PORT);
            host.sleep_ms(100);
            assert!(!over(), "not before the handshake is over");
            peer.send(&host, Flags::ACK, &[]);
        },
    );
    assert!(accepted >= 0);
    // Time stood still until the thread had asked for it.
    assert!(host.now_us() - at_us < 1000);
    host.close(accepted);
}

#[test]
fn a_syn_ack_wakes_a_connect_that_waits() {
    let host = Host::new();
    let fd = host.socket();
    let (connected, _) = while_blocked(
        &host,
        || host.connect(fd),
        |over| {
            let syn = host.next().unwrap().header;
            assert_eq!(syn.flags, Flags::SYN);
            host.sleep_ms(50);
            assert!(!over());
            let mut peer = Peer {
                port: PEER_PORT,
                local_port: syn.source_port,
                seq: 5000,
                ack: syn.seq + 1,
            };
            peer.send(&host, Flags::SYN.with(Flags::ACK), &[]);
        },
    );
    assert_eq!(connected, 0);
}

#[test]
fn data_wakes_a_read_and_acknowledgements_a_write() {
    let host = Host::new();
    let (fd, mut peer) = connected(&host);
    let (read, _) = while_blocked(
        &host,
        || host.read(fd, 100),
        |_| peer.send(&host, Flags::ACK, b"some data"),
    );
    assert_eq!(read.unwrap(), b"some data");
    assert_eq!(host.set_int(fd, libc::SOL_SOCKET, libc::SO_SNDBUF, 8000), 0);
    let (written, _) = while_blocked(
        &host,
        || host.write(fd, &[7; 60_000]),
        |over| {
            while !over() {
                let Some(out) = host.next() else { break };
                let end = out.header.seq.wrapping_add(out.payload.len() as u32);
                peer.ack = peer.ack.max(end);
                peer.send(&host, Flags::ACK, &[]);
            }
        },
    );
    assert_eq!(written, 60_000);
}

#[test]
fn a_time_out_ends_a_wait_to_the_microsecond() {
    let host = Host::new();
    let (fd, _peer) = connected(&host);
    let before = host.now_us();
    let mut asked = libc::pollfd {
        fd,
        events: libc::POLLIN,
        revents: 0,
    };
    assert_eq!(call!(host, poll, &raw mut asked, 1, 250), 0);
    let waited = host.now_us() - before;
    assert!((250_000..250_010).contains(&waited), "{waited}");
}
