//! Rolls dice: an answer to each line, numbered, and never the same again. Such a server cannot repeat
//! itself, so its output is mirrored: another host has every answer before the client sees it, and with it
//! what is needed to go on behind it.

use std::io;
use std::net::Shutdown;

use bytes::Bytes;
use outlive::random::Random;
use outlive::socket::asynchronous::TcpStream;

#[derive(Default)]
struct Table {
    rolls: u64,
    /// Read, and not yet used.
    unused: Vec<u8>,
}

impl Table {
    fn from_state(state: &[u8]) -> Option<Self> {
        let (rolls, unused) = state.split_first_chunk()?;
        Some(Self {
            rolls: u64::from_be_bytes(*rolls),
            unused: unused.to_vec(),
        })
    }

    fn state(&self) -> Bytes {
        [&self.rolls.to_be_bytes()[..], &self.unused]
            .concat()
            .into()
    }

    /// Takes a line, if there is a whole one.
    fn take_line(&mut self) -> bool {
        let Some(end) = self.unused.iter().position(|&byte| byte == b'\n') else {
            return false;
        };
        self.unused.drain(..=end);
        true
    }
}

/// Serves a connection until the client closes it, from its beginning or from where another host was.
pub(crate) async fn serve(stream: TcpStream, mut random: Random) -> io::Result<()> {
    let state = stream.continuation().and_then(|it| it.checkpoint);
    let mut table = state
        .and_then(|state| Table::from_state(&state))
        .unwrap_or_default();
    loop {
        while table.take_line() {
            table.rolls += 1;
            let roll = 1 + random.below(6);
            // The state after the write that follows, committed together with it.
            stream.checkpoint(table.state());
            let answer = format!("roll {}: {roll}\n", table.rolls);
            stream.send(answer.into()).await?;
        }
        let bytes = stream.recv_bytes(64 << 10).await?;
        if bytes.is_empty() {
            return stream.shutdown(Shutdown::Write);
        }
        table.unused.extend_from_slice(&bytes);
    }
}
