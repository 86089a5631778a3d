//! How far the transfers may go, as standard input says.

use std::io::Read;
use std::time::Instant;

use anyhow::Context;

use crate::transfer::Transfer;

/// An upload that may go no further says a byte so often.
pub(crate) const STIR_MS: u16 = 5000;

/// What was said so far.
#[derive(Default)]
pub(crate) struct Gate {
    stirred: Option<Instant>,
    line: Vec<u8>,
    ended: bool,
    limit: usize,
    /// At so many bytes in all the half is said.
    half: Option<usize>,
    /// Whether the whole is still to be said.
    all: bool,
}

impl Gate {
    /// More may be said.
    pub(crate) const fn is_open(&self) -> bool {
        !self.ended
    }

    /// So many bytes of each body may pass.
    pub(crate) const fn limit(&self) -> usize {
        if self.ended { usize::MAX } else { self.limit }
    }

    /// Whether uploads are to be kept alive now.
    #[expect(clippy::disallowed_methods, reason = "the server measures real time")]
    pub(crate) fn is_time_to_stir(&mut self) -> bool {
        let now = Instant::now();
        let last = *self.stirred.get_or_insert(now);
        let is_time = now.duration_since(last).as_millis() >= u128::from(STIR_MS);
        if is_time {
            self.stirred = Some(now);
        }
        is_time
    }

    /// Reads what is there.
    pub(crate) fn read(&mut self, transfers: &[Transfer<'_>]) -> anyhow::Result<()> {
        let mut buffer = [0; 256];
        let read = std::io::stdin().read(&mut buffer)?;
        self.ended = read == 0;
        for byte in &buffer[..read] {
            if *byte != b'\n' {
                self.line.push(*byte);
                continue;
            }
            let line = std::str::from_utf8(&self.line)?;
            self.limit = line.trim().parse().context("no number on standard input")?;
            self.line.clear();
            let moved: usize = transfers.iter().map(Transfer::moved).sum();
            let target: usize = transfers.iter().map(|it| it.len().min(self.limit)).sum();
            self.half = Some(moved + target.saturating_sub(moved) / 2);
            self.all = true;
        }
        Ok(())
    }

    /// What is to be said now that `moved` bytes have passed, which are `all` or not.
    pub(crate) fn news(&mut self, moved: usize, all: bool) -> impl Iterator<Item = &'static str> {
        let half = self.half.take_if(|half| *half <= moved).map(|_| "half");
        let all = self.all && all;
        self.all &= !all;
        half.into_iter().chain(all.then_some("all"))
    }
}
