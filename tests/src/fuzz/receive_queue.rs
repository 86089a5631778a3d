//! Differential: our receive queue against one that keeps a list per byte. Segments overlap and disagree; what came first
//! counts, and what was dropped for want of memory may come again.

use arbitrary::Unstructured;
use bytes::Bytes;
use outlive::tcp::receive_queue::ReceiveQueue;

const START: u64 = 1 << 33;
const MOST_STEPS: usize = 300;
/// The stream is no longer than this.
const MOST_BYTES: usize = 64 << 10;

/// Runs one input.
pub fn run(bytes: &[u8]) {
    let _ = steps(&mut Unstructured::new(bytes));
}

/// What may stand at a position.
#[derive(Clone, Debug, Default)]
struct Cell {
    /// In the order of arrival.
    candidates: Vec<u8>,
    /// One of them was surely kept.
    kept: bool,
}

struct Model {
    cells: Vec<Cell>,
    consumed: usize,
}

impl Model {
    fn insert(&mut self, from: usize, until: usize, value: u8, dropped: bool) {
        let end = until.min(MOST_BYTES);
        for cell in &mut self.cells[from.min(end)..end] {
            if !cell.kept {
                cell.candidates.push(value);
                cell.kept = !dropped;
            }
        }
    }

    fn read(&mut self, bytes: &[u8]) {
        for &byte in bytes {
            let cell = &self.cells[self.consumed];
            assert!(
                cell.candidates.contains(&byte),
                "{byte} at {}: {cell:?}",
                self.consumed
            );
            self.consumed += 1;
        }
    }

    /// How far the stream is complete at least, and at most.
    fn next(&self) -> (usize, usize) {
        let until = |missing: &dyn Fn(&Cell) -> bool| {
            let found = self.cells[self.consumed..].iter().position(missing);
            found.map_or(MOST_BYTES, |at| self.consumed + at)
        };
        (
            until(&|cell| !cell.kept),
            until(&|cell| cell.candidates.is_empty()),
        )
    }
}

fn steps(input: &mut Unstructured<'_>) -> arbitrary::Result<()> {
    let window = usize::from(input.int_in_range(1..=8192_u16)?);
    let mut queue = ReceiveQueue::new(START);
    let mut model = Model {
        cells: vec![Cell::default(); MOST_BYTES],
        consumed: 0,
    };
    for step in 0..MOST_STEPS {
        if input.is_empty() {
            break;
        }
        let next = (queue.next() - START) as usize;
        match input.int_in_range(0..=9_u8)? {
            0..=6 => {
                let back = usize::from(input.int_in_range(0..=255_u8)?);
                let at = (next + usize::from(input.int_in_range(0..=4095_u16)?) % (2 * window))
                    .saturating_sub(back);
                let len = usize::from(input.int_in_range(0..=3000_u16)?);
                let (edge, value) = ((next + window).min(MOST_BYTES), step as u8);
                let payload = Bytes::from(vec![value; len]);
                let result = queue.insert(START + at as u64, payload, START + edge as u64);
                model.insert(
                    at.max(next),
                    (at + len).min(edge),
                    value,
                    result.dropped > 0,
                );
                assert_eq!(queue.next() - START, next as u64 + result.advanced);
                // What is kept out of order is bounded by the window.
                assert!(
                    queue.out_of_order_bytes() <= window,
                    "more than was offered"
                );
            }
            7 => {
                let mut into = vec![0; usize::from(input.arbitrary::<u16>()?) % 5000];
                let read = queue.read(&mut into, u64::MAX);
                model.read(&into[..read]);
            }
            8 => {
                let max = usize::from(input.arbitrary::<u16>()?) % 5000;
                model.read(&queue.read_bytes(max, u64::MAX).unwrap_or_default());
            }
            _ => {
                for (start, end) in queue.sack_blocks() {
                    assert!(queue.next() < start && start < end);
                }
            }
        }
        let (least, most) = model.next();
        let next = (queue.next() - START) as usize;
        assert!(least <= next && next <= most, "{least} {next} {most}");
        assert_eq!((queue.consumed() - START) as usize, model.consumed);
    }
    Ok(())
}
