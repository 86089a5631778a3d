//! What the servers serve and the clients ask for.

use std::net::Shutdown;
use std::sync::Arc;

use bytes::Bytes;
use parking_lot::Mutex;

use super::world::service_address;
use crate::engine::Stack;
use crate::random::Random;
use crate::replication::{ReplayOptions, Survival};
use crate::socket::asynchronous::{TcpListener, TcpStream};
use crate::tcp::ListenOptions;

/// The byte at a position of everything that is ever sent.
pub(super) fn pattern(seed: u64, len: usize) -> Vec<u8> {
    let mut random = Random::from_seed(seed);
    let mut bytes = Vec::with_capacity(len + 8);
    while bytes.len() < len {
        bytes.extend_from_slice(&random.next_u64().to_le_bytes());
    }
    bytes.truncate(len);
    bytes
}

pub(super) fn replay(log_bytes: u32) -> Survival {
    Survival::Replay(ReplayOptions {
        log_bytes,
        ..ReplayOptions::default()
    })
}

/// A request is 16 bytes: how much is sent up behind it, and how much is wanted back. The answer begins
/// with a digest of what came up.
pub(super) fn serve(stack: &Stack, survival: Survival) {
    let options = ListenOptions {
        survival,
        ..ListenOptions::default()
    };
    let listener = TcpListener::bind_with(stack, service_address(), options).unwrap();
    let on = stack.clone();
    stack
        .spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                on.spawn(answer(stream)).detach();
            }
        })
        .detach();
}

async fn answer(stream: TcpStream) {
    let mut request = Vec::new();
    loop {
        let Ok(bytes) = stream.recv_bytes(1 << 16).await else {
            return;
        };
        if bytes.is_empty() {
            break;
        }
        request.extend_from_slice(&bytes);
        while request.len() >= 16 {
            let up = u64::from_be_bytes(request[..8].try_into().unwrap()) as usize;
            let down = u64::from_be_bytes(request[8..16].try_into().unwrap()) as usize;
            if request.len() < 16 + up {
                break;
            }
            let body: Vec<u8> = request.drain(..16 + up).skip(16).collect();
            if stream.write_all(&sum(&body).to_be_bytes()).await.is_err() {
                return;
            }
            let body = Bytes::from(pattern(down as u64, down));
            if stream.send(body).await.is_err() {
                return;
            }
            stream.quiescent();
        }
    }
    let _ = stream.shutdown(Shutdown::Write);
}

fn sum(bytes: &[u8]) -> u64 {
    bytes.iter().fold(bytes.len() as u64, |sum, &byte| {
        sum.wrapping_mul(31).wrapping_add(u64::from(byte))
    })
}

/// What a client has got.
#[derive(Debug, Default)]
pub(super) struct Got {
    pub(super) bytes: usize,
    pub(super) done: bool,
    pub(super) wrong: Option<String>,
}

pub(super) type Shared = Arc<Mutex<Got>>;

/// Sends requests one after the other, each `(up, down)`, and compares the answers; closes at the end.
pub(super) fn ask(client: &Stack, requests: Vec<(usize, usize)>) -> Shared {
    let got = Shared::default();
    let (into, stack) = (Arc::clone(&got), client.clone());
    client
        .spawn(async move {
            let result = exchange(&stack, &requests, &into).await;
            let mut got = into.lock();
            got.done = true;
            got.wrong = result.err();
        })
        .detach();
    got
}

async fn exchange(stack: &Stack, requests: &[(usize, usize)], got: &Shared) -> Result<(), String> {
    let text = |error: std::io::Error| error.to_string();
    let stream = TcpStream::connect(stack, service_address())
        .await
        .map_err(text)?;
    for &(up, down) in requests {
        let body = pattern(up as u64 + 1, up);
        let mut request = Vec::new();
        request.extend_from_slice(&(up as u64).to_be_bytes());
        request.extend_from_slice(&(down as u64).to_be_bytes());
        request.extend_from_slice(&body);
        stream.send(request.into()).await.map_err(text)?;
        let mut expected = sum(&body).to_be_bytes().to_vec();
        expected.extend(pattern(down as u64, down));
        let mut at = 0;
        while at < expected.len() {
            let bytes = stream.recv_bytes(1 << 16).await.map_err(text)?;
            if bytes.is_empty() {
                return Err(format!("ended after {at}"));
            }
            if expected.get(at..at + bytes.len()) != Some(&bytes[..]) {
                return Err(format!("other bytes at {at}"));
            }
            at += bytes.len();
            got.lock().bytes += bytes.len();
        }
    }
    stream.shutdown(Shutdown::Write).map_err(text)?;
    let rest = stream.recv_bytes(100).await.map_err(text)?;
    if rest.is_empty() {
        Ok(())
    } else {
        Err("more than asked for".into())
    }
}
