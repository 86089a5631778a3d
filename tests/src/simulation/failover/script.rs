//! What a connection does. The client tells the server in its first bytes, so that the server's output is a
//! function of its input and of nothing else.

use bytes::{Buf, BufMut, Bytes, BytesMut};
use outlive_driver::Random;

use super::stream::{Piece, Stream};
use crate::simulation::pattern::Pattern;

/// What the server does next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// Reads so many bytes.
    Read(u64),
    /// Reads to the end of the stream.
    ReadToEnd,
    /// Writes so many bytes.
    Write(u64),
    /// Writes so many bytes of the film, which cost nothing to make.
    Film(u64),
    /// Reads and writes so many bytes at once.
    Both(u64, u64),
    /// Writes the digest of everything read so far.
    Digest,
    /// Waits for so many milliseconds.
    Wait(u64),
    /// Closes its half.
    Close,
    /// Resets the connection.
    Abort,
}

/// A connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Script {
    /// What tells the bytes of this connection from those of others.
    pub salt: u64,
    /// Bytes that the server reads at once, at most.
    pub reads: u32,
    /// Milliseconds that it waits after each of these.
    pub read_pause_ms: u32,
    /// Bytes that it writes at once.
    pub writes: u32,
    /// What the server does.
    pub steps: Vec<Step>,
    /// Bytes with which the server begins without having been asked; it knows that itself.
    pub greeting: u64,
}

/// With these bytes a server begins.
#[must_use]
pub fn greeting(len: u64) -> Piece {
    Piece::Literal(Pattern::new(1 << 40, 7).bytes(0, len as usize))
}

/// Bytes of a digest.
pub const DIGEST_BYTES: u64 = 8;
/// Bytes of a script before its steps.
const FIXED_BYTES: usize = 4 + 8 + 4 + 4 + 4;
/// Bytes of a step.
const STEP_BYTES: usize = 1 + 8 + 8;

impl Script {
    /// These steps as fast as they go.
    #[must_use]
    pub const fn new(salt: u64, steps: Vec<Step>) -> Self {
        Self {
            salt,
            reads: 65_536,
            read_pause_ms: 0,
            writes: 16_384,
            steps,
            greeting: 0,
        }
    }

    /// The bytes that begin the client's stream.
    #[must_use]
    pub fn encode(&self) -> Bytes {
        let mut bytes = BytesMut::new();
        bytes.put_u32((FIXED_BYTES + STEP_BYTES * self.steps.len()) as u32);
        bytes.put_u64(self.salt);
        bytes.put_u32(self.reads);
        bytes.put_u32(self.read_pause_ms);
        bytes.put_u32(self.writes);
        for &step in &self.steps {
            let (tag, a, b) = match step {
                Step::Read(n) => (0, n, 0),
                Step::ReadToEnd => (1, 0, 0),
                Step::Write(n) => (2, n, 0),
                Step::Film(n) => (3, n, 0),
                Step::Both(a, b) => (4, a, b),
                Step::Digest => (5, 0, 0),
                Step::Wait(ms) => (6, ms, 0),
                Step::Close => (7, 0, 0),
                Step::Abort => (8, 0, 0),
            };
            bytes.put_u8(tag);
            bytes.put_u64(a);
            bytes.put_u64(b);
        }
        bytes.freeze()
    }

    /// The script at the beginning of a stream; none while it is incomplete.
    #[must_use]
    pub fn decode(stream: &[u8]) -> Option<Self> {
        let mut rest = stream;
        let len = rest.try_get_u32().ok()? as usize;
        if stream.len() < len {
            return None;
        }
        let mut script = Self {
            salt: rest.get_u64(),
            reads: rest.get_u32(),
            read_pause_ms: rest.get_u32(),
            writes: rest.get_u32(),
            steps: Vec::new(),
            greeting: 0,
        };
        for _ in 0..(len - FIXED_BYTES) / STEP_BYTES {
            let (tag, a, b) = (rest.get_u8(), rest.get_u64(), rest.get_u64());
            script.steps.push(match tag {
                0 => Step::Read(a),
                1 => Step::ReadToEnd,
                2 => Step::Write(a),
                3 => Step::Film(a),
                4 => Step::Both(a, b),
                5 => Step::Digest,
                6 => Step::Wait(a),
                7 => Step::Close,
                _ => Step::Abort,
            });
        }
        Some(script)
    }

    /// Bytes of the encoded script whose first bytes are `stream`; none before they tell.
    #[must_use]
    pub fn encoded_bytes(mut stream: &[u8]) -> Option<usize> {
        stream.try_get_u32().ok().map(|len| len as usize)
    }

    /// What the client sends after the script.
    #[must_use]
    pub const fn uploaded(&self) -> Pattern {
        Pattern::new(self.salt, 0)
    }

    /// What the server sends, but for digests and film.
    #[must_use]
    pub const fn downloaded(&self) -> Pattern {
        Pattern::new(self.salt, 1)
    }

    /// Both streams: what the client sends, given the bytes that [`Step::ReadToEnd`] finds, and what the server
    /// answers.
    #[must_use]
    pub fn streams(&self, to_end: u64) -> (Stream, Stream) {
        let (mut up, mut down) = (Stream::default(), Stream::default());
        up.push(Piece::Literal(self.encode()));
        down.push(greeting(self.greeting));
        let reads: u64 = self.steps.iter().map(|step| step.reads(to_end)).sum();
        up.push(Piece::Pattern(self.uploaded(), 0, reads));
        let (mut read, mut digest) = (0, Digest::default());
        let mut written = 0;
        for step in &self.steps {
            let more = step.reads(to_end);
            digest.add(&self.uploaded().bytes(read, more as usize));
            read += more;
            match *step {
                Step::Write(n) | Step::Both(_, n) => {
                    down.push(Piece::Pattern(self.downloaded(), written, n));
                    written += n;
                }
                Step::Film(n) => down.push(Piece::Film(n)),
                Step::Digest => down.push(Piece::Literal(digest.bytes())),
                Step::Abort => break,
                _ => {}
            }
        }
        (up, down)
    }

    /// True when the server resets the connection.
    #[must_use]
    pub fn aborts(&self) -> bool {
        self.steps.contains(&Step::Abort)
    }
}

impl Step {
    /// Bytes that this step reads.
    #[must_use]
    pub const fn reads(&self, to_end: u64) -> u64 {
        match self {
            Self::Read(n) | Self::Both(n, _) => *n,
            Self::ReadToEnd => to_end,
            _ => 0,
        }
    }

    /// Bytes that this step writes.
    #[must_use]
    pub const fn writes(&self) -> u64 {
        match self {
            Self::Write(n) | Self::Film(n) | Self::Both(_, n) => *n,
            Self::Digest => DIGEST_BYTES,
            _ => 0,
        }
    }
}

/// A digest of a stream, whatever the pieces it comes in (FNV-1a).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Digest(u64);

impl Default for Digest {
    fn default() -> Self {
        Self(0xCBF2_9CE4_8422_2325)
    }
}

impl Digest {
    /// The digest whose bytes are this number.
    #[must_use]
    pub const fn resume(number: u64) -> Self {
        Self(number)
    }

    /// Adds the next bytes.
    pub fn add(&mut self, data: &[u8]) {
        for &byte in data {
            self.0 = (self.0 ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01B3);
        }
    }

    /// The digest so far.
    #[must_use]
    pub fn bytes(self) -> Bytes {
        Bytes::copy_from_slice(&self.0.to_be_bytes())
    }
}

/// A random script and the bytes that [`Step::ReadToEnd`] finds.
#[must_use]
pub fn draw(random: &mut Random, salt: u64) -> (Script, u64) {
    let size = |random: &mut Random| match random.below(8) {
        0 => 0,
        1..4 => random.below(2_000),
        4..7 => random.below(40_000),
        _ => random.below(200_000),
    };
    let mut steps = Vec::new();
    for _ in 0..random.below(6) {
        steps.push(match random.below(8) {
            0 | 1 => Step::Read(size(random)),
            2 | 3 => Step::Write(size(random)),
            4 => Step::Both(size(random), size(random)),
            5 => Step::Wait(random.below(120)),
            6 => Step::Film(size(random) * 4),
            _ => Step::Digest,
        });
    }
    let to_end = size(random);
    match random.below(6) {
        0 => steps.extend([Step::Close, Step::ReadToEnd]),
        1 => steps.extend([Step::ReadToEnd, Step::Write(size(random)), Step::Digest]),
        2 => steps.extend([Step::Write(size(random)), Step::Close, Step::ReadToEnd]),
        _ => steps.extend([Step::ReadToEnd, Step::Digest]),
    }
    if random.chance(1, 16) {
        steps.push(Step::Abort);
    }
    let slow = random.chance(1, 5);
    let script = Script {
        salt,
        reads: if slow {
            500 + random.below(4_000) as u32
        } else {
            65_536
        },
        read_pause_ms: if slow { random.below(20) as u32 } else { 0 },
        writes: [600, 1460, 16_384, 100_000][random.below(4) as usize],
        steps,
        greeting: 0,
    };
    (script, to_end)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_script_survives_its_encoding() {
        for seed in 0..50 {
            let (script, _) = draw(&mut Random::from_seed(seed), seed);
            let bytes = script.encode();
            assert_eq!(Script::encoded_bytes(&bytes), Some(bytes.len()));
            assert_eq!(Script::decode(&bytes), Some(script));
            assert_eq!(Script::decode(&bytes[..bytes.len() - 1]), None);
        }
    }

    #[test]
    fn the_answer_is_what_the_steps_say() {
        let steps = vec![Step::Read(3), Step::Digest, Step::Write(5), Step::Digest];
        let script = Script::new(9, steps);
        let (up, down) = script.streams(0);
        assert_eq!(
            (up.len(), down.len()),
            (script.encode().len() as u64 + 3, 21)
        );
        assert_eq!(down.bytes(8, 5), script.downloaded().bytes(0, 5));
        assert_eq!(down.bytes(0, 8), down.bytes(13, 8));
    }
}
