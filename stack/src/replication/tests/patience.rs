//! Who loses patience with a client? Only the host that serves it: not one that follows along, however fast its
//! clock is or however late it hears.

use std::future::poll_fn;
use std::net::Shutdown;
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use bytes::Bytes;
use parking_lot::Mutex;

use super::continuing::{listen, world};
use super::world::{CLIENT, World, service_address};
use crate::counters::Counter;
use crate::engine::Stack;
use crate::replication::message::Message;
use crate::replication::{Change, Entry, ReplayOptions, Survival};
use crate::socket::asynchronous::TcpStream;
use crate::tcp::gate::{Hot, Note};

const SECOND: Duration = Duration::from_secs(1);
/// How long a server waits for the next byte of an upload.
const PATIENCE: Duration = Duration::from_secs(30);
/// One piece of an upload, and how many make it complete.
const PIECE: usize = 1000;
const PIECES: usize = 4;

const COMPLETE: &[u8] = b"complete\n";
const TOO_SLOW: &[u8] = b"too slow\n";
/// What is decided at the end, as it is logged: not the same as that of a time-out.
const STORED: &[u8] = b"stored";

fn sleep(on: &Stack, duration: Duration) -> impl Future<Output = ()> + Send + 'static {
    let on = on.clone();
    async move { on.sleep(duration).await }
}

/// What is read, or nothing if `timer` is ready and there is nothing to read.
async fn read_before(
    stream: &TcpStream,
    timer: impl Future<Output = ()>,
) -> std::io::Result<Option<Bytes>> {
    let (mut read, mut timer) = (pin!(stream.recv_bytes(1 << 16)), pin!(timer));
    poll_fn(|cx| match read.as_mut().poll(cx) {
        Poll::Ready(bytes) => Poll::Ready(bytes.map(Some)),
        Poll::Pending => timer.as_mut().poll(cx).map(|()| Ok(None)),
    })
    .await
}

/// Takes an upload and says what came of it. `patience` is this host's own idea of [`PATIENCE`].
async fn take(stream: TcpStream, on: Stack, patience: Duration) -> std::io::Result<()> {
    let mut left = PIECE * PIECES;
    while left > 0 {
        let timer = stream.input_timeout(sleep(&on, patience));
        let read = read_before(&stream, timer).await?;
        match read {
            Some(bytes) if bytes.is_empty() => return Ok(()),
            Some(bytes) => left -= bytes.len(),
            None => {
                let logged = stream.decide(|| Bytes::from_static(TOO_SLOW)).await;
                assert_eq!(logged, TOO_SLOW, "another decision taken for a time-out");
                return end(&stream, TOO_SLOW).await;
            }
        }
    }
    let logged = stream.decide(|| Bytes::from_static(STORED)).await;
    assert_eq!(logged, STORED);
    end(&stream, COMPLETE).await
}

async fn end(stream: &TcpStream, answer: &'static [u8]) -> std::io::Result<()> {
    stream.send(Bytes::from_static(answer)).await?;
    stream.shutdown(Shutdown::Write)?;
    while !stream.recv_bytes(1 << 16).await?.is_empty() {}
    Ok(())
}

/// What an uploading client was answered.
type Answer = Arc<Mutex<Option<Result<Vec<u8>, std::io::ErrorKind>>>>;

/// Uploads piece by piece, after these pauses; a missing one is never sent.
fn upload(client: &Stack, pauses: &'static [Duration]) -> Answer {
    let answer = Answer::default();
    let (into, on) = (Arc::clone(&answer), client.clone());
    let client = client.clone();
    client
        .clone()
        .spawn(async move {
            let answer = exchange(&client, &on, pauses).await;
            *into.lock() = Some(answer.map_err(|error| error.kind()));
        })
        .detach();
    answer
}

async fn exchange(stack: &Stack, on: &Stack, pauses: &[Duration]) -> std::io::Result<Vec<u8>> {
    let stream = TcpStream::connect(stack, service_address()).await?;
    for &pause in pauses {
        on.sleep(pause).await;
        stream.send(Bytes::from(vec![7; PIECE])).await?;
    }
    let mut answer = Vec::new();
    loop {
        let bytes = stream.recv_bytes(1 << 16).await?;
        if bytes.is_empty() {
            return Ok(answer);
        }
        answer.extend_from_slice(&bytes);
    }
}

/// Both hosts follow along from the first byte on; that of the backup has a clock of its own.
fn pair(patience_of_backup: Duration) -> World {
    let survival = Survival::Replay(ReplayOptions {
        hot: Hot::Always,
        ..ReplayOptions::default()
    });
    world(|stack, host| {
        let patience = [PATIENCE, patience_of_backup][host];
        let on = stack.clone();
        listen(stack, survival, move |stream| {
            take(stream, on.clone(), patience)
        });
    })
}

fn answered(world: &mut World, answer: &Answer) -> Vec<u8> {
    world.run_until(200 * SECOND, |_| answer.lock().is_some());
    answer.lock().clone().unwrap().unwrap()
}

fn fail_over(world: &mut World) {
    world.kill(0);
    world.run_for(Duration::from_millis(30));
    world.decide(3, 1, &[1]);
}

fn diverged(world: &World, host: usize) -> u64 {
    world
        .stack(host)
        .counters()
        .get(Counter::ReplicationDiverged)
}

/// Pauses that the primary bears.
const SLOW: [Duration; PIECES] = [
    SECOND,
    Duration::from_secs(20),
    Duration::from_secs(25),
    SECOND,
];

#[test]
fn a_follower_with_a_fast_clock_decides_nothing() {
    let mut world = pair(3 * SECOND);
    let answer = upload(&world.stack(CLIENT), &SLOW);
    assert_eq!(answered(&mut world, &answer), COMPLETE);
    world.run_for(10 * SECOND);
    assert_eq!(diverged(&world, 1), 0);
}

#[test]
fn who_takes_over_in_the_middle_of_the_patience_waits_on() {
    // The follower's own time is up long before, and so it would be with the primary's when the byte comes.
    for patience in [3 * SECOND, PATIENCE] {
        let mut world = pair(patience);
        let answer = upload(&world.stack(CLIENT), &SLOW);
        // In the second pause, after 19 of its 20 seconds.
        world.run_for(20 * SECOND);
        fail_over(&mut world);
        if patience < PATIENCE {
            // It has all its own time from now on: the rest of the pause is within that.
            world.run_for(2 * SECOND);
            assert_eq!(*answer.lock(), None);
            continue;
        }
        assert_eq!(answered(&mut world, &answer), COMPLETE);
    }
}

#[test]
fn who_took_over_loses_patience_in_the_end() {
    let mut world = pair(PATIENCE);
    let answer = upload(&world.stack(CLIENT), &SLOW[..1]);
    world.run_for(20 * SECOND);
    fail_over(&mut world);
    world.run_for(PATIENCE - SECOND);
    assert_eq!(
        *answer.lock(),
        None,
        "a whole patience from the takeover on"
    );
    assert_eq!(answered(&mut world, &answer), TOO_SLOW);
}

#[test]
fn a_time_out_of_the_primary_is_that_of_a_follower_whose_clock_is_slow() {
    let mut world = pair(1000 * SECOND);
    let decided = Arc::new(Mutex::new(false));
    let seen = Arc::clone(&decided);
    world.censor = Box::new(move |_, message| {
        if let Message::Entries { entries, .. } = message {
            let is_decision =
                |entry: &Entry| matches!(entry.change, Change::Note(Note::Decision(_)));
            *seen.lock() |= entries.iter().any(is_decision);
        }
        true
    });
    let answer = upload(&world.stack(CLIENT), &SLOW[..1]);
    // The primary dies before it has heard that its decision is committed, and has said nothing.
    world.run_until(60 * SECOND, |_| *decided.lock());
    assert_eq!(*answer.lock(), None);
    fail_over(&mut world);
    assert_eq!(answered(&mut world, &answer), TOO_SLOW);
    assert_eq!(diverged(&world, 1), 0);
}

/// Says nothing, and closes when its patience is over.
async fn close_when_idle(stream: TcpStream, on: Stack) -> std::io::Result<()> {
    let mut idle = pin!(stream.patience(sleep(&on, PATIENCE)));
    while let Some(bytes) = read_before(&stream, &mut idle).await? {
        if bytes.is_empty() {
            break;
        }
    }
    stream.shutdown(Shutdown::Write)?;
    while !stream.recv_bytes(1 << 16).await?.is_empty() {}
    Ok(())
}

#[test]
fn an_end_that_was_decided_is_said_by_who_takes_over_before_its_application_knows() {
    let survival = Survival::Replay(ReplayOptions {
        hot: Hot::Always,
        ..ReplayOptions::default()
    });
    let mut world = world(|stack, _| {
        let on = stack.clone();
        listen(stack, survival, move |stream| {
            close_when_idle(stream, on.clone())
        });
    });
    // No FIN of the primary arrives.
    world.tap = Box::new(|host, frame| {
        let fin = frame.len() > 47 && frame[23] == 6 && frame[47] & 1 == 1;
        host != 0 || !fin
    });
    let answer = upload(&world.stack(CLIENT), &SLOW[..1]);
    world.run_for(PATIENCE + 2 * SECOND);
    assert_eq!(*answer.lock(), None);
    fail_over(&mut world);
    world.run_for(SECOND);
    assert_eq!(*answer.lock(), Some(Ok(Vec::new())));
}
