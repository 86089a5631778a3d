//! Adds up the numbers that a client sends, a line each, and answers each with the sum so far. What it has
//! to know to go on is in its checkpoints: the sum, and what it has read and not yet used.

use std::io;
use std::net::Shutdown;

use bytes::Bytes;
use outlive::socket::asynchronous::TcpStream;

#[derive(Default)]
struct Counter {
    sum: u64,
    unused: Vec<u8>,
}

impl Counter {
    fn from_state(state: &[u8]) -> Option<Self> {
        let (sum, unused) = state.split_first_chunk()?;
        Some(Self {
            sum: u64::from_be_bytes(*sum),
            unused: unused.to_vec(),
        })
    }

    fn state(&self) -> Bytes {
        [&self.sum.to_be_bytes()[..], &self.unused].concat().into()
    }

    /// Takes a line, if there is a whole one.
    fn line(&mut self) -> Option<String> {
        let end = self.unused.iter().position(|&byte| byte == b'\n')?;
        let line: Vec<u8> = self.unused.drain(..=end).collect();
        Some(String::from_utf8_lossy(&line).trim().to_owned())
    }
}

/// Serves a connection until the client closes it, from its beginning or from where another host was.
pub(crate) async fn serve(stream: TcpStream) -> io::Result<()> {
    let state = stream.continuation().and_then(|it| it.checkpoint);
    let mut counter = state
        .and_then(|state| Counter::from_state(&state))
        .unwrap_or_default();
    loop {
        while let Some(line) = counter.line() {
            let number: u64 = line.parse().unwrap_or(0);
            counter.sum = counter.sum.wrapping_add(number);
            let answer = format!("{}\n", counter.sum);
            stream.write_all(answer.as_bytes()).await?;
            stream.checkpoint(counter.state());
        }
        let bytes = stream.recv_bytes(64 << 10).await?;
        if bytes.is_empty() {
            return stream.shutdown(Shutdown::Write);
        }
        counter.unused.extend_from_slice(&bytes);
    }
}
