//! Is an application that follows along told nothing that it cannot bear, however late it comes?

use std::net::Shutdown;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use parking_lot::Mutex;

use super::continuing::{listen, world};
use super::world::{CLIENT, World, service_address};
use crate::counters::Counter;
use crate::engine::Stack;
use crate::replication::{ReplayOptions, Survival};
use crate::socket::asynchronous::TcpStream;
use crate::tcp::gate::Hot;

const SECOND: Duration = Duration::from_secs(1);
/// How long the client keeps its direction open after the server has ended its own.
const OPEN_FOR: Duration = Duration::from_secs(10);

/// Answers what comes after `pause`, and ends.
async fn answer(stream: TcpStream, on: Stack, pause: Duration) -> std::io::Result<()> {
    let _ = stream.recv_bytes(1 << 16).await?;
    on.sleep(pause).await;
    stream.send(Bytes::from_static(b"answer")).await?;
    stream.shutdown(Shutdown::Write)?;
    while !stream.recv_bytes(1 << 16).await?.is_empty() {}
    Ok(())
}

/// Has heard the end of the answer, and says so, long before it ends its own direction.
async fn ask(stack: Stack, heard: Arc<Mutex<bool>>) -> std::io::Result<()> {
    let stream = TcpStream::connect(&stack, service_address()).await?;
    stream.send(Bytes::from_static(b"question")).await?;
    while !stream.recv_bytes(1 << 16).await?.is_empty() {}
    *heard.lock() = true;
    stack.sleep(OPEN_FOR).await;
    stream.shutdown(Shutdown::Write)
}

/// Both hosts follow along from the first byte on; the backup's application takes `late` longer.
fn pair(late: Duration) -> World {
    let survival = Survival::Replay(ReplayOptions {
        hot: Hot::Always,
        ..ReplayOptions::default()
    });
    world(|stack, host| {
        let on = stack.clone();
        listen(stack, survival, move |stream| {
            answer(stream, on.clone(), late * host as u32)
        });
    })
}

/// The first acknowledgment of the answer is lost: the next one is of its end, too.
fn acknowledge_all_at_once(world: &mut World) {
    let (mut answered, mut lost) = (false, false);
    world.tap = Box::new(move |from, frame| {
        // Ethernet, IPv4 and TCP without options or with ours.
        let is_tcp = frame.len() > 47 && frame[23] == 6;
        let header = 34 + usize::from(frame.get(46).unwrap_or(&0) >> 4) * 4;
        answered |= is_tcp && from == 0 && frame.len() > header;
        let drop = is_tcp && from == CLIENT && answered && !lost;
        lost |= drop;
        !drop
    });
}

/// The client has acknowledged the end by the time at which the backup's application comes to it.
#[test]
fn an_application_that_is_later_than_the_client_comes_to_the_same_end() {
    for killed_after in [SECOND, 5 * SECOND] {
        let mut world = pair(3 * SECOND);
        acknowledge_all_at_once(&mut world);
        let client = world.stack(CLIENT);
        let heard = Arc::default();
        let asking = ask(client.clone(), Arc::clone(&heard));
        client.spawn(asking).detach();
        world.run_for(killed_after);
        assert!(*heard.lock());
        world.kill(0);
        world.run_for(Duration::from_millis(30));
        world.decide(3, 1, &[1]);
        world.run_for(20 * OPEN_FOR);
        let counters = Arc::clone(world.stack(1).counters());
        assert_eq!(counters.get(Counter::ReplicationDiverged), 0);
        assert_eq!(counters.get(Counter::TcpResetsSent), 0);
        assert_eq!(counters.get(Counter::TcpAdopted), 0, "it was followed");
        assert_eq!(world.stack(1).connections(), 0, "it ended");
    }
}
