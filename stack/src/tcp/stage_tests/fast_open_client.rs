//! What a client of Fast Open (RFC 7413 §4.1.3, §4.2.1) remembers of servers, and how much its SYN carries.

use super::fast_open::{acquainted, connect, cookie_len, fast, payload_len, to_server};
use super::*;
use crate::tcp::config::Secret;

/// A SYN is left this room for options.
const OPTIONS_BYTES: usize = 40;

fn all(length: usize) -> Vec<u8> {
    (0..length).map(|n| n as u8).collect()
}

#[test]
fn as_much_goes_along_as_the_servers_segments_hold_and_the_rest_follows() {
    let mut net = Net::new();
    let listener = net.server.listen(ListenOptions {
        socket: SocketOptions {
            max_segment_size: Some(700),
            ..SocketOptions::default()
        },
        ..fast()
    });
    acquainted(&mut net, &listener);
    connect(&mut net, &all(2000));
    assert_eq!(payload_len(&net.client.out[0]), 700 - OPTIONS_BYTES);
    to_server(&mut net);
    let server = net.accept(&listener).expect("at once");
    assert_eq!(read_all(&server), all(2000)[..660]);
    net.settle();
    assert_eq!(read_all(&server), all(2000)[660..]);
    assert_eq!(net.client.count(Counter::TcpRetransmittedSegments), 0);
}

#[test]
fn where_none_is_needed_data_goes_without_a_cookie() {
    let mut net = Net::new();
    let listener = net.server.listen(ListenOptions {
        fast_open_to_all: true,
        ..fast()
    });
    let options = SocketOptions {
        fast_open: true,
        fast_open_without_cookie: true,
        ..SocketOptions::default()
    };
    let client = net
        .client
        .tcp
        .connect(net.now, None, server_addr(), options);
    let client = client.unwrap();
    client.tcb.lock().send_copy(b"question").unwrap();
    net.client.output(&client);
    net.client.write(net.now);
    let syn = &net.client.out[0];
    assert_eq!((cookie_len(syn), payload_len(syn)), (None, 8));
    to_server(&mut net);
    assert_eq!(read_all(&net.accept(&listener).unwrap()), b"question");
    net.settle();
    assert!(client.tcb.lock().info().syn_data);
}

#[test]
fn a_syn_that_is_held_waits_for_what_may_go_along() {
    let mut net = Net::new();
    let listener = net.server.listen(fast());
    acquainted(&mut net, &listener);
    let options = SocketOptions {
        fast_open: true,
        ..SocketOptions::default()
    };
    let client = net
        .client
        .tcp
        .connect(net.now, None, server_addr(), options);
    let client = client.unwrap();
    client.tcb.lock().hold_syn();
    net.client.output(&client);
    net.client.write(net.now);
    net.advance(Duration::from_secs(10));
    assert!(client.tcb.lock().holds_syn());
    assert_eq!(net.server.count(Counter::TcpPassiveOpens), 1, "silence");
    {
        let mut tcb = client.tcb.lock();
        assert_eq!(tcb.syn_room(), 1460 - OPTIONS_BYTES);
        tcb.send_copy(b"question").unwrap();
        tcb.release_syn(net.now);
    }
    net.client.output(&client);
    net.client.write(net.now);
    assert_eq!(payload_len(&net.client.out[0]), 8);
    net.settle();
    assert_eq!(read_all(&net.accept(&listener).unwrap()), b"question");
}

#[test]
fn a_listener_may_have_a_key_of_its_own() {
    let mut net = Net::new();
    let key = |key| ListenOptions {
        fast_open_secret: Some(Secret([key; 16])),
        ..fast()
    };
    let listener = net.server.listen(key(1));
    acquainted(&mut net, &listener);
    for (now, taken) in [(2, false), (1, true)] {
        listener.set_fast_open_secret(Some(Secret([now; 16])));
        connect(&mut net, b"question");
        to_server(&mut net);
        assert_eq!(net.accept(&listener).is_some(), taken, "{now}");
        // Nothing of the answer arrives: the cookie stays what it was.
        net.server.out.clear();
    }
}
