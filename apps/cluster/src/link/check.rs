//! What must hold for any bytes at all, whoever sent them: one body for the property tests and for the fuzzer
//! (`apps/cluster/fuzz`).

use std::sync::{Arc, OnceLock};

use bytes::Bytes;
use outlive::random::Random;
use outlive::time::Instant;
use snow::StatelessTransportState;

use super::association::{Association, Reply};
use super::datagram::Datagram;
use super::greeting::parse_header;
use super::noise::{Parties, Purpose, finish};
use super::record::{Opening, Sealing};
use crate::id::{HostId, PathId};
use crate::key::Key;

const PATH: PathId = PathId(0);
const NOW: Instant = Instant::from_millis(1000);

/// A datagram of anything but the key's owners gives no message, in any state of a session, and the session
/// goes on.
///
/// # Panics
/// When that does not hold.
pub fn datagram(bytes: &[u8]) {
    // What is no datagram of ours meets no state at all: handshakes for it would be all that a fuzzer does.
    if Datagram::parse(bytes).is_err() {
        return;
    }
    let mut hosts = [(0, 1), (1, 0)].map(|(me, peer)| {
        let key = Key::from_bytes([7; 32]);
        Association::new(key, HostId(me), HostId(peer), Random::from_seed(me.into()))
    });
    foreign(&mut hosts, bytes);
    let mut on_the_way = Vec::from_iter(hosts[0].poll(NOW).map(|reply| (1, reply)));
    while let Some((to, Reply::Here(sent) | Reply::Everywhere(sent))) = on_the_way.pop() {
        let mut replies = Vec::new();
        let genuine = Datagram::parse(&sent).expect("ours");
        let message = hosts[to].receive(NOW, PATH, genuine, &mut replies);
        assert_eq!(message, Ok(None));
        on_the_way.extend(replies.into_iter().map(|reply| (1 - to, reply)));
        foreign(&mut hosts, bytes);
    }
    for from in [0, 1] {
        let sealer = hosts[from].sealer();
        let sealed = sealer
            .load()
            .as_ref()
            .and_then(|sealer| sealer.seal(PATH, b"genuine"));
        let sealed = sealed.expect("a session");
        let genuine = Datagram::parse(&sealed).expect("ours");
        let message = hosts[1 - from].receive(NOW, PATH, genuine, &mut Vec::new());
        assert_eq!(message, Ok(Some(Bytes::from_static(b"genuine"))));
    }
}

fn foreign(hosts: &mut [Association; 2], bytes: &[u8]) {
    let Ok(datagram) = Datagram::parse(bytes) else {
        return;
    };
    assert_eq!(datagram.emit(), bytes);
    for host in hosts {
        let message = host.receive(NOW, PATH, datagram, &mut Vec::new());
        assert!(!matches!(message, Ok(Some(_))), "a message out of nowhere");
    }
}

/// Bytes on an ordered channel give no message unless the key's owners sent them; what comes after them is
/// refused. As the plain content of records, from an owner that lies, they take no more memory than they are.
///
/// # Panics
/// When that does not hold.
pub fn stream(bytes: &[u8]) {
    if let Some(header) = bytes.first_chunk() {
        let _ = parse_header(*header, HostId(1));
    }
    let (mut sealing, mut opening) = pair();
    opening.wire().extend_from_slice(bytes);
    assert!(
        !matches!(opening.next(), Ok(Some(_))),
        "a message out of nowhere"
    );

    let (_, mut believing) = pair();
    let mut wire = bytes::BytesMut::new();
    sealing.push_raw(bytes, &mut wire);
    believing.wire().extend_from_slice(&wire);
    let mut total = 0;
    while let Ok(Some(message)) = believing.next() {
        total += 4 + message.len();
    }
    assert!(total <= bytes.len());
}

/// Both ends of a channel at its start. The handshake, which costs a thousand times what follows, is made once.
fn pair() -> (Sealing, Opening) {
    static ENDS: OnceLock<[Arc<StatelessTransportState>; 2]> = OnceLock::new();
    let [sender, receiver] = ENDS.get_or_init(shake_hands);
    (
        Sealing::new(Arc::clone(sender), usize::MAX),
        Opening::new(Arc::clone(receiver)),
    )
}

fn shake_hands() -> [Arc<StatelessTransportState>; 2] {
    let parties = Parties {
        initiator: HostId(0),
        responder: HostId(1),
        purpose: Purpose::Commit,
    };
    let key = Key::from_bytes([7; 32]);
    let (mut initiator, first) = parties.initiate(&key).expect("randomness");
    let (responder, second) = parties.respond(&key, &first).expect("the same key");
    finish(&mut initiator, &second).expect("the same key");
    [initiator, responder].map(|end| {
        let end = end.into_stateless_transport_mode();
        Arc::new(end.expect("finished"))
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(200))]

        #[test]
        fn any_datagram_does_no_harm(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
            super::datagram(&bytes);
        }

        #[test]
        fn any_datagram_with_a_good_header_does_no_harm(
            kind in 0u8..4,
            hosts in prop::sample::select(vec![[0, 1], [1, 0]]),
            length in prop::sample::select(vec![0usize, 12, 52, 56, 29, 30, 100]),
            fill in prop::collection::vec(any::<u8>(), 100),
        ) {
            let mut bytes = b"OL\x01".to_vec();
            bytes.push(kind);
            bytes.extend(hosts);
            bytes.extend(&fill[..length]);
            super::datagram(&bytes);
        }

        #[test]
        fn any_stream_does_no_harm(bytes in prop::collection::vec(any::<u8>(), 0..2000)) {
            super::stream(&bytes);
        }
    }
}
