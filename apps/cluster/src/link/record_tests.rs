use std::sync::Arc;

use bytes::BytesMut;
use proptest::prelude::*;

use super::noise::{Parties, Purpose, finish};
use super::record::{MOST_MESSAGE_BYTES, Opening, Sealing};
use super::refusal::Refusal;
use crate::id::HostId;
use crate::key::Key;

/// A sender and a receiver that have agreed on keys.
fn pair(record_bytes: usize) -> (Sealing, Opening) {
    let parties = Parties {
        initiator: HostId(0),
        responder: HostId(1),
        purpose: Purpose::Commit,
    };
    let key = Key::from_bytes([7; 32]);
    let (mut initiator, first) = parties.initiate(&key).unwrap();
    let (responder, second) = parties.respond(&key, &first).unwrap();
    finish(&mut initiator, &second).unwrap();
    let sender = initiator.into_stateless_transport_mode().unwrap();
    let receiver = responder.into_stateless_transport_mode().unwrap();
    (
        Sealing::new(Arc::new(sender), record_bytes),
        Opening::new(Arc::new(receiver)),
    )
}

fn sealed(sealing: &mut Sealing, messages: &[Vec<u8>]) -> BytesMut {
    let mut wire = BytesMut::new();
    for message in messages {
        sealing.push(message, &mut wire).unwrap();
    }
    sealing.flush(&mut wire).unwrap();
    wire
}

/// Everything that can be opened, and how it ended.
fn drain(opening: &mut Opening) -> (Vec<Vec<u8>>, Result<(), Refusal>) {
    let mut messages = Vec::new();
    loop {
        match opening.next() {
            Ok(Some(message)) => messages.push(message.to_vec()),
            Ok(None) => return (messages, Ok(())),
            Err(refusal) => return (messages, Err(refusal)),
        }
    }
}

#[test]
fn a_message_larger_than_a_record_arrives_whole() {
    let (mut sealing, mut opening) = pair(usize::MAX);
    let message: Vec<u8> = (0..300_000u32).map(|i| i as u8).collect();
    let wire = sealed(&mut sealing, std::slice::from_ref(&message));
    opening.wire().extend_from_slice(&wire);
    assert_eq!(drain(&mut opening), (vec![message], Ok(())));
}

#[test]
fn a_message_beyond_the_limit_is_neither_sent_nor_believed() {
    let (mut sealing, _) = pair(usize::MAX);
    let too_long = vec![0; MOST_MESSAGE_BYTES + 1];
    let refusal = sealing.push(&too_long, &mut BytesMut::new());
    assert_eq!(refusal, Err(Refusal::Length));
    // A host that has the key and yet claims 4 GB: a message whose bytes are taken for a length.
    let (mut lying, mut opening) = pair(usize::MAX);
    let mut wire = BytesMut::new();
    lying.push_raw(&u32::MAX.to_be_bytes(), &mut wire);
    opening.wire().extend_from_slice(&wire);
    assert_eq!(opening.next(), Err(Refusal::Length));
}

#[test]
fn a_record_too_short_for_a_seal_is_refused() {
    for length in 0..=16u16 {
        let (_, mut opening) = pair(usize::MAX);
        opening.wire().extend_from_slice(&length.to_be_bytes());
        opening.wire().extend_from_slice(&[0; 64]);
        assert_eq!(opening.next(), Err(Refusal::Malformed));
    }
}

#[test]
fn a_record_that_comes_twice_or_out_of_its_place_is_refused() {
    let (mut sealing, mut opening) = pair(usize::MAX);
    let first = sealed(&mut sealing, &[b"one".to_vec()]);
    let second = sealed(&mut sealing, &[b"two".to_vec()]);
    opening.wire().extend_from_slice(&first);
    opening.wire().extend_from_slice(&first);
    assert_eq!(
        drain(&mut opening),
        (vec![b"one".to_vec()], Err(Refusal::Seal))
    );
    let (_, mut later) = pair(usize::MAX);
    later.wire().extend_from_slice(&second);
    assert_eq!(later.next(), Err(Refusal::Seal));
}

#[test]
fn a_record_of_another_session_is_refused() {
    let (mut old, _) = pair(usize::MAX);
    let (_, mut opening) = pair(usize::MAX);
    let wire = sealed(&mut old, &[b"old".to_vec()]);
    opening.wire().extend_from_slice(&wire);
    assert_eq!(opening.next(), Err(Refusal::Seal));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn any_messages_in_any_pieces_arrive_in_order(
        messages in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..5000), 0..20),
        record_bytes in 1usize..6000,
        piece in 1usize..4000,
    ) {
        let (mut sealing, mut opening) = pair(record_bytes);
        let wire = sealed(&mut sealing, &messages);
        let mut arrived = Vec::new();
        for piece in wire.chunks(piece) {
            opening.wire().extend_from_slice(piece);
            let (more, result) = drain(&mut opening);
            prop_assert_eq!(result, Ok(()));
            arrived.extend(more);
        }
        prop_assert_eq!(arrived, messages);
    }

    #[test]
    fn a_changed_byte_never_gives_another_message(
        messages in prop::collection::vec(prop::collection::vec(any::<u8>(), 1..500), 1..10),
        place in any::<prop::sample::Index>(),
        flip in 1u8..=255,
    ) {
        let (mut sealing, mut opening) = pair(700);
        let mut wire = sealed(&mut sealing, &messages);
        let place = place.index(wire.len());
        wire[place] ^= flip;
        opening.wire().extend_from_slice(&wire);
        let (arrived, _) = drain(&mut opening);
        prop_assert!(arrived.len() < messages.len());
        prop_assert_eq!(&arrived[..], &messages[..arrived.len()]);
    }

    #[test]
    fn any_bytes_do_no_harm(bytes in prop::collection::vec(any::<u8>(), 0..2000)) {
        let (_, mut opening) = pair(usize::MAX);
        opening.wire().extend_from_slice(&bytes);
        prop_assert_eq!(drain(&mut opening).0.len(), 0);
    }
}
