//! Do the examples go on on another host, and is an application that does not repeat itself found?

use std::net::Shutdown;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use parking_lot::Mutex;

use super::applications::replay;
use super::world::{CLIENT, World, service_address};
use crate::counters::Counter;
use crate::engine::Stack;
use crate::random::Random;
use crate::replication::Survival;
use crate::socket::asynchronous::{TcpListener, TcpStream};
use crate::tcp::ListenOptions;

#[path = "../../../examples/counter/handler.rs"]
mod counter;
#[path = "../../../examples/dice/handler.rs"]
mod dice;

const LINES: u64 = 40;

/// Runs `serve` for every connection of a host.
pub(super) fn listen<F>(
    stack: &Stack,
    survival: Survival,
    serve: impl Fn(TcpStream) -> F + Send + 'static,
) where
    F: Future<Output = std::io::Result<()>> + Send + 'static,
{
    let options = ListenOptions {
        survival,
        ..ListenOptions::default()
    };
    let listener = TcpListener::bind_with(stack, service_address(), options).unwrap();
    let on = stack.clone();
    stack
        .spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                on.spawn(serve(stream)).detach();
            }
        })
        .detach();
}

#[derive(Debug, Default)]
struct Told {
    text: String,
    result: Option<Result<(), std::io::ErrorKind>>,
}

/// Sends lines, a few at a time and one of them in two halves, and collects the answers.
fn ask(stack: &Stack) -> Arc<Mutex<Told>> {
    let told = Arc::new(Mutex::new(Told::default()));
    let (into, on) = (Arc::clone(&told), stack.clone());
    stack
        .spawn(async move {
            let result = exchange(&on, &into).await;
            into.lock().result = Some(result.map_err(|error| error.kind()));
        })
        .detach();
    told
}

async fn exchange(stack: &Stack, told: &Mutex<Told>) -> std::io::Result<()> {
    let stream = TcpStream::connect(stack, service_address()).await?;
    let mut asked = 0;
    while asked < LINES {
        // Half a line is left over each time.
        let text: String = (asked + 1..=asked + 4)
            .map(|it| format!("{it}\n"))
            .collect();
        let (whole, half) = text.split_at(text.len() - 2);
        stream.write_all(whole.as_bytes()).await?;
        asked += 4;
        receive(&stream, told, asked - 1).await?;
        stream.write_all(half.as_bytes()).await?;
        receive(&stream, told, asked).await?;
    }
    stream.shutdown(Shutdown::Write)?;
    receive(&stream, told, u64::MAX).await
}

/// Waits for that many lines in all, or for the end.
async fn receive(stream: &TcpStream, told: &Mutex<Told>, lines: u64) -> std::io::Result<()> {
    while (told.lock().text.lines().count() as u64) < lines || !told.lock().text.ends_with('\n') {
        let bytes = stream.recv_bytes(1 << 16).await?;
        if bytes.is_empty() {
            return Ok(());
        }
        told.lock()
            .text
            .push_str(std::str::from_utf8(&bytes).unwrap());
    }
    Ok(())
}

pub(super) fn world(start: impl Fn(&Stack, usize)) -> World {
    let mut world = World::new();
    for host in 0..2 {
        start(&world.stack(host), host);
    }
    world.connect(true);
    world.decide(2, 0, &[0, 1]);
    world
}

/// Host 0 is killed after that time; returns everything that the client was told.
fn told_through_a_takeover(start: impl Fn(&Stack, usize), after: Duration) -> String {
    let mut world = world(start);
    let told = ask(&world.stack(CLIENT));
    world.run_for(after);
    world.kill(0);
    world.run_for(Duration::from_millis(30));
    world.decide(3, 1, &[1]);
    world.run_until(Duration::from_secs(200), |_| told.lock().result.is_some());
    assert_eq!(told.lock().result, Some(Ok(())), "killed after {after:?}");
    std::mem::take(&mut told.lock().text)
}

#[test]
fn the_counter_goes_on_from_its_checkpoints() {
    let start = |stack: &Stack, _: usize| listen(stack, Survival::Checkpoint, counter::serve);
    let expected: String = (1..=LINES)
        .map(|n| format!("{}\n", n * (n + 1) / 2))
        .collect();
    for millis in (0..220).step_by(3) {
        let text = told_through_a_takeover(start, Duration::from_millis(millis));
        assert_eq!(text, expected, "killed after {millis} ms");
    }
}

#[test]
fn no_roll_of_the_dice_is_lost_or_rolled_again() {
    let start = |stack: &Stack, host: usize| {
        listen(stack, Survival::Mirror, move |stream| {
            dice::serve(stream, Random::from_seed(host as u64))
        });
    };
    for millis in (0..260).step_by(3) {
        let text = told_through_a_takeover(start, Duration::from_millis(millis));
        let numbers = text.lines().map(|line| {
            let (number, roll) = line
                .strip_prefix("roll ")
                .unwrap()
                .split_once(": ")
                .unwrap();
            assert!((1..=6).contains(&roll.parse::<u64>().unwrap()));
            number.parse::<u64>().unwrap()
        });
        assert!(numbers.eq(1..=LINES), "killed after {millis} ms: {text}");
    }
}

/// Answers with bytes that depend on the host, and tells nobody.
async fn careless(stream: TcpStream, host: usize) -> std::io::Result<()> {
    let _ = stream.recv_bytes(1 << 16).await?;
    for number in 0..400u32 {
        let line = format!("host {host}, line {number:05}\n").repeat(400);
        stream.send(Bytes::from(line)).await?;
    }
    stream.shutdown(Shutdown::Write)
}

#[test]
fn an_application_that_does_not_repeat_itself_is_cut_off_rather_than_believed() {
    let mut world = world(|stack, host| {
        listen(stack, replay(64 << 10), move |stream| {
            careless(stream, host)
        });
    });
    let told = ask(&world.stack(CLIENT));
    world.run_until(Duration::from_secs(20), |_| {
        told.lock().text.len() > 1_000_000
    });
    let before = told.lock().text.clone();
    // Long enough for a hint.
    world.kill(0);
    world.run_for(Duration::from_millis(30));
    world.decide(3, 1, &[1]);
    world.run_until(Duration::from_secs(200), |_| told.lock().result.is_some());
    let told = told.lock();
    assert_eq!(told.result, Some(Err(std::io::ErrorKind::ConnectionReset)));
    assert!(told.text.starts_with(&before) && !told.text.contains("host 1"));
    let counters = Arc::clone(world.stack(1).counters());
    assert_eq!(counters.get(Counter::ReplicationDiverged), 1);
}
