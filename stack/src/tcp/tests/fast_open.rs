//! What may a server answer to a SYN with data (RFC 7413 §4.2.1), and what follows from it?

use super::pair::{parameters, path};
use crate::ip::ErrorKind;
use crate::tcp::fast_open::{Offer, SynData};
use crate::tcp::{Arrival, Flags, Segment, State, Tcb, TxSegment};
use crate::time::Instant;

const ISS: u32 = 5000;
const IRS: u32 = 9000;
const NOW: Instant = Instant::from_millis(50_000);
const LATER: Instant = Instant::from_millis(50_020);

/// A client whose SYN has left with 1000 bytes; 500 more are written.
fn client() -> (Tcb, TxSegment) {
    let parameters = parameters(|config, options| {
        config.timestamps = false;
        options.fast_open = true;
    });
    let options = parameters.options.clone();
    let mut tcb = Tcb::connect(parameters, NOW, ISS);
    let offer = Offer {
        cookie: [7; 8].into_iter().collect(),
        mss: Some(1040),
        ..Offer::default()
    };
    tcb.open_actively_fast(offer, &options);
    assert_eq!(tcb.send_copy(&[1; 1500]), Ok(1500));
    let syn = tcb.poll_transmit(NOW).unwrap();
    assert!(tcb.poll_transmit(NOW).is_none());
    assert_eq!((syn.seq, syn.flags, data(&syn)), (ISS, Flags::SYN, 1000));
    (tcb, syn)
}

fn data(segment: &TxSegment) -> usize {
    segment.payload.iter().map(bytes::Bytes::len).sum()
}

/// The server's SYN-ACK for the SYN and so many bytes.
fn syn_ack(bytes: u32) -> Segment {
    let mut segment = Segment {
        seq: IRS,
        ack: ISS + 1 + bytes,
        flags: Flags::SYN.with(Flags::ACK),
        window: 20_000,
        ..Segment::default()
    };
    segment.options.mss = Some(1040);
    segment.options.sack_permitted = true;
    segment
}

/// Sequence number relative to the first byte, and length, of everything that leaves.
fn sent(tcb: &mut Tcb, now: Instant) -> Vec<(u32, usize)> {
    std::iter::from_fn(|| tcb.poll_transmit(now))
        .map(|it| (it.seq.wrapping_sub(ISS + 1), data(&it)))
        .collect()
}

#[test]
fn what_is_not_taken_is_sent_again_at_once_and_only_that() {
    for (taken, expected) in [
        (1000, vec![(1000, 500)]),
        (0, vec![(0, 1000), (1000, 500)]),
        (400, vec![(400, 600), (1000, 500)]),
    ] {
        let (mut tcb, _) = client();
        assert_eq!(tcb.on_segment(LATER, syn_ack(taken)), Arrival::Established);
        assert_eq!(tcb.info().syn_data, taken == 1000);
        assert_eq!(sent(&mut tcb, LATER), expected, "{taken}");
        assert_eq!(
            tcb.info().retransmitted_segments,
            u32::from(taken < 1000),
            "{taken}"
        );
        let lesson = tcb.take_lesson().unwrap();
        let fate = if taken == 1000 {
            SynData::Taken
        } else {
            SynData::None
        };
        assert_eq!((lesson.data, lesson.mss), (fate, 1040));
    }
}

#[test]
fn an_ack_of_more_than_was_sent_is_refused() {
    let (mut tcb, _) = client();
    assert!(matches!(
        tcb.on_segment(LATER, syn_ack(1001)),
        Arrival::Dropped(_)
    ));
    let refusal = tcb.poll_transmit(LATER).unwrap();
    assert_eq!((refusal.flags, refusal.seq), (Flags::RST, ISS + 1 + 1001));
    assert_eq!(tcb.state(), State::SynSent);
}

#[test]
fn after_a_timeout_the_syn_goes_alone_and_whether_data_was_lost_shows() {
    for (taken, fate) in [(0, SynData::Lost), (1000, SynData::Taken)] {
        let (mut tcb, _) = client();
        let due = tcb.next_deadline().unwrap();
        tcb.on_timer(due);
        let again = tcb.poll_transmit(due).unwrap();
        assert_eq!((again.seq, data(&again)), (ISS, 0));
        assert_eq!(again.options.fast_open, None);
        tcb.on_segment(due, syn_ack(taken));
        assert_eq!(tcb.take_lesson().unwrap().data, fate);
    }
}

#[test]
fn a_syn_that_is_too_large_for_the_path_goes_again_without_data_at_once() {
    let (mut tcb, syn) = client();
    let narrow = path(840, 840);
    assert!(tcb.on_icmp_error(LATER, ErrorKind::TooBig { mtu: 840 }, syn.seq, &narrow));
    let again = tcb.poll_transmit(LATER).unwrap();
    assert_eq!((again.flags, data(&again)), (Flags::SYN, 0));
    assert_eq!(again.options.mss, Some(800));
}

#[test]
fn data_and_fin_of_a_syn_ack_count() {
    let (mut tcb, _) = client();
    let mut segment = syn_ack(1000);
    segment.payload = bytes::Bytes::from_static(b"answer");
    segment.flags = segment.flags.with(Flags::FIN);
    assert_eq!(tcb.on_segment(LATER, segment), Arrival::Established);
    assert_eq!(tcb.state(), State::CloseWait);
    let mut bytes = [0; 10];
    assert_eq!(tcb.recv(&mut bytes), Ok(Some(6)));
    assert_eq!(&bytes[..6], b"answer");
    assert_eq!(tcb.recv(&mut bytes), Ok(Some(0)));
    let ack = tcb.poll_transmit(LATER).unwrap().ack;
    assert_eq!(ack, IRS + 1 + 6 + 1);
}

#[test]
fn what_echoes_a_time_at_which_no_syn_left_is_refused() {
    let parameters = parameters(|_, _| {});
    let first = parameters.timestamp_offset.wrapping_add(50_000);
    let mut tcb = Tcb::connect(parameters, NOW, ISS);
    let syn = tcb.poll_transmit(NOW).unwrap();
    assert_eq!(syn.options.timestamps, Some((first, 0)));
    for (echo, state) in [
        (first.wrapping_sub(1), State::SynSent),
        (first.wrapping_add(21), State::SynSent),
        (first.wrapping_add(20), State::Established),
    ] {
        let mut segment = syn_ack(0);
        segment.options.timestamps = Some((1, echo));
        tcb.on_segment(LATER, segment);
        assert_eq!(tcb.state(), state);
        if state == State::SynSent {
            let refusal = tcb.poll_transmit(LATER).unwrap();
            assert_eq!((refusal.flags, refusal.seq), (Flags::RST, ISS + 1));
        }
    }
}
