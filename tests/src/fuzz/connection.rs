//! One connection and whatever a peer, or somebody who guesses its numbers, can send; timers and calls between. Nothing
//! panics, what the stack asserts about itself holds, and memory stays within what was configured.

use std::sync::Arc;
use std::time::Duration;

use arbitrary::Unstructured;
use bytes::Bytes;
use outlive::ip::{ErrorKind, Path};
use outlive::tcp::{
    Config, Flags, KeepAlive, Parameters, Segment, SocketOptions, State, Tcb, TxSegment,
};
use outlive::time::Instant;

const ISS: u32 = u32::MAX - 5_000;
const IRS: u32 = 0x7fff_f000;
const MOST_STEPS: usize = 400;
const BUFFER_BYTES: usize = 32 << 10;

/// Runs one input.
pub fn run(bytes: &[u8]) {
    let _ = steps(&mut Unstructured::new(bytes));
}

pub(super) fn path(mtu: usize) -> Path {
    Path {
        source: "10.0.0.1".parse().expect("an address"),
        mtu,
        link_mtu: 1500.max(mtu),
        max_segmented_bytes: mtu,
    }
}

/// Parameters with some choices of the input.
pub(super) fn parameters(input: &mut Unstructured<'_>) -> arbitrary::Result<Parameters> {
    let config = Config {
        sack: input.arbitrary()?,
        timestamps: input.arbitrary()?,
        window_scaling: input.arbitrary()?,
        ..Config::default()
    };
    let options = SocketOptions {
        no_delay: input.arbitrary()?,
        keep_alive: input.arbitrary::<bool>()?.then(KeepAlive::default),
        send_buffer_bytes: Some(BUFFER_BYTES),
        receive_buffer_bytes: Some(BUFFER_BYTES),
        ..SocketOptions::default()
    };
    Ok(Parameters {
        config: Arc::new(config),
        options: Arc::new(options),
        path: path(input.int_in_range(100..=9000)?),
        timestamp_offset: input.arbitrary()?,
        gated: false,
        terms: outlive::tcp::gate::Terms::default(),
    })
}

/// What the hostile peer can have seen.
#[derive(Default)]
struct Seen {
    seq: u32,
    ack: u32,
    timestamp: u32,
}

impl Seen {
    fn note(&mut self, sent: &TxSegment) {
        let len: usize = sent.payload.iter().map(Bytes::len).sum();
        self.seq = sent.seq.wrapping_add(len as u32);
        self.ack = sent.ack;
        self.timestamp = sent.options.timestamps.map_or(self.timestamp, |it| it.0);
    }
}

fn steps(input: &mut Unstructured<'_>) -> arbitrary::Result<()> {
    let mut now = Instant::from_millis(100_000);
    let parameters = parameters(input)?;
    let mut tcb = if input.arbitrary()? {
        Tcb::connect(parameters, now, ISS)
    } else {
        let mut syn = segment(input, &Seen::default())?;
        (syn.seq, syn.flags) = (IRS, Flags::SYN);
        Tcb::accept(parameters, now, ISS, &syn)
    };
    let mut seen = Seen {
        seq: ISS,
        ack: IRS.wrapping_add(1),
        timestamp: 0,
    };
    for _ in 0..MOST_STEPS {
        if input.is_empty() {
            break;
        }
        step(input, &mut now, &mut tcb, &seen)?;
        let mut sent = 0;
        while let Some(segment) = tcb.poll_transmit(now) {
            seen.note(&segment);
            sent += 1;
            assert!(sent < 10_000, "talks for ever");
        }
        let info = tcb.info();
        assert!(
            info.receive_queue_bytes <= 2 * BUFFER_BYTES,
            "{}",
            info.receive_queue_bytes
        );
        assert!(
            info.send_queue_bytes <= BUFFER_BYTES,
            "{}",
            info.send_queue_bytes
        );
        if tcb.state() == State::Closed {
            assert!(tcb.next_deadline().is_none(), "a timer of nothing");
        }
    }
    Ok(())
}

/// One thing that may happen.
fn step(
    input: &mut Unstructured<'_>,
    now: &mut Instant,
    tcb: &mut Tcb,
    seen: &Seen,
) -> arbitrary::Result<()> {
    match input.int_in_range(0..=24_u8)? {
        0..=13 => drop(tcb.on_segment(*now, segment(input, seen)?)),
        14 => drop(tcb.send_copy(&vec![1; usize::from(input.arbitrary::<u16>()?)])),
        15 => drop(tcb.send(Bytes::from(vec![2; usize::from(input.arbitrary::<u16>()?)]))),
        16 => drop(tcb.recv(&mut vec![0; usize::from(input.arbitrary::<u16>()?)])),
        17 => drop(tcb.recv_bytes(usize::from(input.arbitrary::<u16>()?))),
        18 => {
            *now += Duration::from_micros(u64::from(input.arbitrary::<u32>()?) / 8);
            tcb.on_timer(*now);
        }
        19 => {
            if let Some(deadline) = tcb.next_deadline() {
                *now = deadline.max(*now);
                tcb.on_timer(*now);
            }
        }
        20 => drop(tcb.send_urgent(b"urgent")),
        21 => tcb.set_cork(input.arbitrary()?),
        22 => {
            let mtu = usize::from(input.int_in_range(68..=9000_u16)?);
            let kind = ErrorKind::TooBig { mtu: mtu as u32 };
            tcb.on_icmp_error(*now, kind, seen.seq.wrapping_sub(1), &path(mtu));
        }
        23 if input.ratio(1, 4)? => drop(tcb.shutdown_write()),
        24 if input.ratio(1, 8)? => tcb.close(*now),
        _ => {}
    }
    Ok(())
}

/// A number near `mark`, or anywhere.
fn near(input: &mut Unstructured<'_>, mark: u32) -> arbitrary::Result<u32> {
    Ok(match input.int_in_range(0..=7_u8)? {
        0..=3 => mark,
        4 => mark.wrapping_add(u32::from(input.arbitrary::<u16>()?)),
        5 => mark.wrapping_sub(u32::from(input.arbitrary::<u16>()?)),
        6 => mark
            .wrapping_add(u32::from(input.arbitrary::<u8>()?) % 3)
            .wrapping_sub(1),
        _ => input.arbitrary()?,
    })
}

fn segment(input: &mut Unstructured<'_>, seen: &Seen) -> arbitrary::Result<Segment> {
    const USUAL: [u8; 8] = [0x10, 0x10, 0x10, 0x18, 0x11, 0x30, 0x12, 0x02];
    let flags = match input.int_in_range(0..=31_u8)? {
        31 => Flags(input.arbitrary()?),
        choice => Flags(USUAL[usize::from(choice) % USUAL.len()]),
    };
    let len = usize::from(input.arbitrary::<u8>()?) * usize::from(input.int_in_range(0..=30_u8)?);
    let mut segment = Segment {
        seq: near(input, seen.ack)?,
        ack: near(input, seen.seq)?,
        flags,
        window: input.arbitrary()?,
        urgent: input.arbitrary()?,
        payload: Bytes::from(vec![7; len]),
        ecn: input.arbitrary::<u8>()? & 3,
        segment_bytes: input.arbitrary::<bool>()?.then_some(536),
        ..Segment::default()
    };
    if input.ratio(7, 8)? {
        segment.options.timestamps = Some((near(input, 1000)?, near(input, seen.timestamp)?));
    }
    for _ in 0..input.int_in_range(0..=4_u8)? {
        let start = near(input, seen.seq)?;
        let end = near(input, start)?;
        if segment.options.sack.len() < 4 {
            segment.options.sack.push((start, end));
        }
    }
    if segment.flags.contains(Flags::SYN) {
        segment.options.mss = input.arbitrary()?;
        segment.options.window_scale = input.arbitrary()?;
        segment.options.sack_permitted = input.arbitrary()?;
    }
    Ok(segment)
}
