//! Two connections joined by a wire that does whatever the input says: what is read is what was written, in order, and
//! once the wire behaves all of it arrives.

use std::collections::VecDeque;
use std::time::Duration;

use arbitrary::Unstructured;
use bytes::Bytes;
use outlive::tcp::{Flags, Segment, State, Tcb, TxSegment};
use outlive::time::Instant;

use super::connection::parameters;

const MOST_STEPS: usize = 300;
/// Long enough for every time-out to have had its turn.
const PATIENCE: Duration = Duration::from_secs(4000);

/// Runs one input.
pub fn run(bytes: &[u8]) {
    let _ = steps(&mut Unstructured::new(bytes));
}

struct End {
    tcb: Option<Tcb>,
    written: u64,
    read: u64,
    /// On their way here.
    arriving: VecDeque<Segment>,
}

struct Pair {
    now: Instant,
    ends: [End; 2],
}

/// What stands at a position of either stream.
const fn byte(at: u64) -> u8 {
    (at ^ (at >> 8) ^ (at >> 16)) as u8
}

fn steps(input: &mut Unstructured<'_>) -> arbitrary::Result<()> {
    let now = Instant::from_millis(100_000);
    let (client, server) = (parameters(input)?, parameters(input)?);
    let end = |tcb| End {
        tcb,
        written: 0,
        read: 0,
        arriving: VecDeque::new(),
    };
    let opened = Tcb::connect(client, now, input.arbitrary()?);
    let iss = input.arbitrary()?;
    let mut pair = Pair {
        now,
        ends: [end(Some(opened)), end(None)],
    };
    // The first SYN gets through; without it there is nothing to see.
    pair.transmit(0);
    let syn = pair.ends[1].arriving.pop_front().expect("a SYN");
    pair.ends[1].tcb = Some(Tcb::accept(server, now, iss, &syn));
    for _ in 0..MOST_STEPS {
        if input.is_empty() {
            break;
        }
        pair.step(input)?;
    }
    pair.finish();
    Ok(())
}

impl Pair {
    fn step(&mut self, input: &mut Unstructured<'_>) -> arbitrary::Result<()> {
        let side = usize::from(input.arbitrary::<bool>()?);
        match input.int_in_range(0..=11_u8)? {
            0..=3 => self.deliver(side),
            4 => drop(self.ends[side].arriving.pop_front()),
            5 => {
                // The second overtakes the first.
                if self.ends[side].arriving.len() > 1 {
                    self.ends[side].arriving.swap(0, 1);
                }
            }
            6 => {
                if let Some(twice) = self.ends[side].arriving.front().cloned() {
                    self.ends[side].arriving.push_back(twice);
                }
            }
            7 | 8 => self.write(side, usize::from(input.arbitrary::<u16>()?)),
            9 => self.read(side, usize::from(input.arbitrary::<u16>()?)),
            10 => self.wait(Duration::from_millis(u64::from(input.arbitrary::<u16>()?))),
            _ => self.wait(Duration::from_millis(1)),
        }
        self.transmit(0);
        self.transmit(1);
        Ok(())
    }

    fn write(&mut self, side: usize, len: usize) {
        let end = &mut self.ends[side];
        let bytes: Vec<u8> = (end.written..end.written + len as u64).map(byte).collect();
        if let Some(Ok(taken)) = end.tcb.as_mut().map(|tcb| tcb.send_copy(&bytes)) {
            end.written += taken as u64;
        }
    }

    fn read(&mut self, side: usize, len: usize) {
        let (end, mut into) = (&mut self.ends[side], vec![0; len]);
        if let Some(Ok(Some(taken))) = end.tcb.as_mut().map(|tcb| tcb.recv(&mut into)) {
            for &seen in &into[..taken] {
                assert_eq!(seen, byte(end.read), "at {}", end.read);
                end.read += 1;
            }
        }
    }

    fn deliver(&mut self, side: usize) {
        let (now, end) = (self.now, &mut self.ends[side]);
        if let Some(tcb) = &mut end.tcb
            && let Some(segment) = end.arriving.pop_front()
        {
            tcb.on_segment(now, segment);
        }
    }

    fn transmit(&mut self, side: usize) {
        let now = self.now;
        let Some(tcb) = &mut self.ends[side].tcb else {
            return;
        };
        let mut sent = Vec::new();
        while let Some(segment) = tcb.poll_transmit(now) {
            sent.push(on_the_wire(&segment));
            assert!(sent.len() < 10_000, "talks for ever");
        }
        self.ends[1 - side].arriving.extend(sent);
    }

    fn wait(&mut self, time: Duration) {
        self.now += time;
        for end in &mut self.ends {
            if let Some(tcb) = &mut end.tcb {
                tcb.on_timer(self.now);
            }
        }
    }

    /// From here on nothing is lost; everything that was written arrives.
    fn finish(&mut self) {
        let end = self.now + PATIENCE;
        while self.now < end && !self.is_over() {
            for side in [0, 1] {
                while !self.ends[side].arriving.is_empty() {
                    self.deliver(side);
                }
                self.read(side, 1 << 16);
            }
            self.transmit(0);
            self.transmit(1);
            if self.ends.iter().all(|end| end.arriving.is_empty()) {
                let next = self
                    .ends
                    .iter()
                    .filter_map(|end| end.tcb.as_ref()?.next_deadline());
                let Some(next) = next.min() else { break };
                self.now = next.max(self.now);
                self.wait(Duration::ZERO);
                self.transmit(0);
                self.transmit(1);
            }
        }
        let gave_up = self
            .ends
            .iter()
            .any(|end| end.tcb.as_ref().is_some_and(|it| it.error().is_some()));
        for side in [0, 1] {
            let (wrote, read) = (self.ends[side].written, self.ends[1 - side].read);
            assert!(read <= wrote);
            assert!(gave_up || read == wrote, "{read} of {wrote} bytes arrived");
        }
    }

    fn is_over(&self) -> bool {
        let [client, server] = &self.ends;
        let stands = |end: &End| {
            end.tcb
                .as_ref()
                .is_some_and(|it| it.state() == State::Established)
        };
        stands(client)
            && stands(server)
            && client.written == server.read
            && server.written == client.read
    }
}

/// A segment as it arrives; the path is such that none is cut by a device.
fn on_the_wire(sent: &TxSegment) -> Segment {
    assert!(sent.segment_bytes.is_none() || sent.payload.concat().is_empty());
    assert!(!sent.flags.contains(Flags::URG));
    Segment {
        seq: sent.seq,
        ack: sent.ack,
        flags: sent.flags,
        ae: sent.ae,
        window: sent.window,
        options: sent.options.clone(),
        payload: Bytes::from(sent.payload.concat()),
        ..Segment::default()
    }
}
