//! ICMP errors: believed only about segments in flight (RFC 5927).

use super::*;
use crate::ip::ErrorKind;

/// An error about `sent`, with another sequence number if one is given.
fn about(sent: &TxDatagram, kind: ErrorKind, seq: Option<u32>) -> IcmpError {
    let mut quoted = sent.frame.to_vec();
    if let Some(seq) = seq {
        quoted[4..8].copy_from_slice(&seq.to_be_bytes());
    }
    IcmpError {
        kind,
        reporter: "10.0.0.99".parse().unwrap(),
        source: sent.source,
        destination: sent.destination,
        protocol: 6,
        quoted: Bytes::from(quoted).slice(..8),
    }
}

#[test]
fn a_hard_error_ends_a_connection_that_does_not_stand_yet() {
    let mut net = Net::new();
    let client = net.client.connect(net.now);
    let syn = net.client.out.remove(0);
    let seq = header(&syn).seq;
    let forged = about(&syn, ErrorKind::PortUnreachable, Some(seq.wrapping_add(1)));
    net.client.receive_error(net.now, forged);
    assert_eq!(state(&client), State::SynSent);
    assert_eq!(net.client.count(Counter::IcmpDropIgnored), 1);
    let real = about(&syn, ErrorKind::PortUnreachable, None);
    net.client.receive_error(net.now, real);
    assert_eq!(error(&client), Some(Error::Refused));
    assert!(net.client.tcp.is_empty());
}

#[test]
fn no_error_ends_a_connection_that_stands() {
    let mut net = Net::new();
    let (client, _server) = net.establish();
    net.client.send(net.now, &client, b"data");
    let sent = net.client.out[0].clone();
    for kind in [
        ErrorKind::PortUnreachable,
        ErrorKind::ProtocolUnreachable,
        ErrorKind::Unreachable { code: 0 },
        ErrorKind::Unreachable { code: 1 },
        ErrorKind::Unreachable { code: 5 },
        ErrorKind::TimeExceeded,
        ErrorKind::ParameterProblem,
        ErrorKind::SourceQuench,
    ] {
        net.client.receive_error(net.now, about(&sent, kind, None));
    }
    assert_eq!(state(&client), State::Established);
}

#[test]
fn a_smaller_path_mtu_is_believed_about_data_in_flight_and_sent_again_at_once() {
    let mut net = Net::new();
    let (client, server) = net.establish();
    let data: Vec<u8> = (0..10_000u32).map(|n| n as u8).collect();
    net.client.send(net.now, &client, &data);
    let sent = std::mem::take(&mut net.client.out);
    assert_eq!(sent[0].frame.len(), 1480);

    let beyond = header(&sent[sent.len() - 1]).seq.wrapping_add(100_000);
    let forged = about(&sent[0], ErrorKind::TooBig { mtu: 600 }, Some(beyond));
    net.client.receive_error(net.now, forged);
    assert_eq!(net.client.tcp.ip.mtu(SERVER.parse().unwrap()), 1500);

    let real = about(&sent[0], ErrorKind::TooBig { mtu: 1000 }, None);
    net.client.receive_error(net.now, real);
    assert_eq!(net.client.tcp.ip.mtu(SERVER.parse().unwrap()), 1000);
    assert!(!net.client.out.is_empty());
    assert!(net.client.out.iter().all(|it| it.frame.len() <= 980));
    net.settle();
    assert_eq!(read_all(&server), data);
}

#[test]
fn errors_about_nothing_are_counted_and_those_of_others_left_alone() {
    let mut net = Net::new();
    net.client.connect(net.now);
    let syn = net.client.out.remove(0);
    let kind = ErrorKind::PortUnreachable;
    let mut unknown = about(&syn, kind, None);
    unknown.destination = "10.0.0.50".parse().unwrap();
    net.client.receive_error(net.now, unknown);
    assert_eq!(net.client.count(Counter::IcmpDropIgnored), 1);
    let mut short = about(&syn, kind, None);
    short.quoted.truncate(7);
    net.client.receive_error(net.now, short);
    assert_eq!(net.client.count(Counter::IcmpDropMalformed), 1);

    let udp = IcmpError {
        protocol: 17,
        ..about(&syn, kind, None)
    };
    let mut errors = vec![udp];
    net.client.reader.process(
        net.now,
        &mut Vec::new(),
        &mut errors,
        &mut Outcome::default(),
    );
    assert_eq!(errors.len(), 1);
}
