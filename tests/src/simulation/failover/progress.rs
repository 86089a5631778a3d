//! How far a server has come with a script: all that it needs to go on elsewhere without doing it again.

use bytes::{Buf, BufMut, Bytes, BytesMut};

use super::script::Digest;

/// Where a server is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Progress {
    /// Bytes of the greeting that were written.
    pub(super) greeted: u64,
    /// The script, once it was read.
    pub(super) script: Bytes,
    /// What was read with the script, and is behind it.
    pub(super) unread: Bytes,
    /// The step that it is in.
    pub(super) step: u32,
    /// Bytes read in this step.
    pub(super) step_read: u64,
    /// Bytes written in this step.
    pub(super) step_written: u64,
    /// Bytes read in all steps.
    pub(super) read: u64,
    /// Bytes of the pattern that were written.
    pub(super) written: u64,
    /// Of all that was read.
    pub(super) digest: Digest,
}

impl Progress {
    pub(super) const fn has_script(&self) -> bool {
        !self.script.is_empty()
    }

    pub(super) const fn next_step(&mut self) {
        self.step += 1;
        self.step_read = 0;
        self.step_written = 0;
    }

    /// Up to `most` bytes that were read with the script.
    pub(super) fn take_unread(&mut self, most: usize) -> Bytes {
        self.unread.split_to(most.min(self.unread.len()))
    }

    /// Bytes were read; where they begin.
    pub(super) fn add_read(&mut self, data: &[u8]) -> u64 {
        let from = self.read;
        self.digest.add(data);
        self.read += data.len() as u64;
        self.step_read += data.len() as u64;
        from
    }

    pub(super) fn encode(&self) -> Bytes {
        let mut bytes = BytesMut::new();
        for part in [&self.script, &self.unread] {
            bytes.put_u32(part.len() as u32);
            bytes.put_slice(part);
        }
        bytes.put_u32(self.step);
        for number in [
            self.greeted,
            self.step_read,
            self.step_written,
            self.read,
            self.written,
        ] {
            bytes.put_u64(number);
        }
        bytes.put_slice(&self.digest.bytes());
        bytes.freeze()
    }

    /// What [`Progress::encode`] gave.
    pub(super) fn decode(mut bytes: Bytes) -> Self {
        let mut part = || {
            let len = bytes.get_u32() as usize;
            bytes.split_to(len)
        };
        let (script, unread) = (part(), part());
        Self {
            script,
            unread,
            step: bytes.get_u32(),
            greeted: bytes.get_u64(),
            step_read: bytes.get_u64(),
            step_written: bytes.get_u64(),
            read: bytes.get_u64(),
            written: bytes.get_u64(),
            digest: Digest::resume(bytes.get_u64()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn progress_survives_its_encoding() {
        let mut progress = Progress {
            greeted: 1,
            script: Bytes::from_static(b"script"),
            unread: Bytes::from_static(b"rest"),
            step: 2,
            written: 3,
            ..Progress::default()
        };
        progress.add_read(b"data");
        assert_eq!(Progress::decode(progress.encode()), progress);
    }
}
