//! Long transfers through one bottleneck in virtual time: what each gets, and how long the queue in front of it is.

use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;

use outlive::engine::Config;
use outlive::socket::asynchronous::{TcpListener, TcpStream};
use outlive::tcp::{Algorithm, ListenOptions, SocketOptions};
use outlive_driver::Capabilities;
use outlive_driver::impairment::{Impairment, Rate};

use super::host::{Host, mac};
use super::tasks::Clock;
use super::world::World;

const PORT: u16 = 80;
const MTU: usize = 1500;
/// Bytes of a full frame, and of data in it: timestamps are on.
const FRAME_BYTES: u64 = 1514;
const DATA_BYTES: u64 = 1448;
/// How often round trips are looked at, and from when on: the beginning of a connection is something else.
const LOOK_EVERY: Duration = Duration::from_millis(50);
const LOOK_FROM: Duration = Duration::from_secs(2);

/// A path, and who uses it.
#[derive(Clone, Debug)]
pub struct Bottleneck {
    /// What it carries, in Mbit/s.
    pub megabits: u64,
    /// Its round trip without a queue.
    pub rtt_ms: u64,
    /// Losses at random of what is sent, in percent.
    pub loss_percent: f64,
    /// The buffer in parts of what the path holds; four frames at least.
    pub buffer: f64,
    /// Congestion control of each transfer.
    pub flows: Vec<Algorithm>,
    /// Chosen for all of them.
    pub pacing: bool,
    /// The server's device cuts large segments, and so takes many at a time.
    pub cuts: bool,
    /// How long they go on.
    pub seconds: u64,
    /// They begin so long after one another.
    pub apart: Duration,
}

impl Bottleneck {
    /// 10 Mbit/s, 20 ms, a buffer of what the path holds, 10 s.
    #[must_use]
    pub fn new(flows: &[Algorithm]) -> Self {
        Self {
            megabits: 10,
            rtt_ms: 20,
            loss_percent: 0.0,
            buffer: 1.0,
            flows: flows.to_vec(),
            pacing: false,
            cuts: false,
            seconds: 10,
            apart: Duration::from_millis(37),
        }
    }
}

/// What one transfer got.
#[derive(Clone, Copy, Debug, Default)]
pub struct Transfer {
    /// Bytes that the receiver read.
    pub bytes: u64,
    /// As a part of what the path can carry.
    pub share: f64,
    /// The mean of its smoothed round-trip time.
    pub rtt: Duration,
    looks: u32,
}

type Shared = Rc<RefCell<Vec<Transfer>>>;

impl Bottleneck {
    fn down(&self) -> Impairment {
        let path_bytes = self.megabits * 1_000_000 / 8 * self.rtt_ms / 1000;
        let queue_bytes = (path_bytes as f64 * self.buffer).max(4.0 * FRAME_BYTES as f64);
        Impairment {
            loss: self.loss_percent / 100.0,
            delay: Duration::from_micros(self.rtt_ms * 500),
            rate: Some(Rate {
                bits_per_second: self.megabits * 1_000_000,
                queue_frames: usize::MAX,
                queue_bytes: queue_bytes as usize,
            }),
            ..Impairment::default()
        }
    }

    /// Runs all transfers.
    ///
    /// # Panics
    /// When an invariant is violated.
    #[must_use]
    pub fn run(&self, seed: u64) -> Vec<Transfer> {
        let mut world = World::new(seed);
        world.watch(false);
        let mut host = |number, cuts| {
            let plain = Capabilities::plain_ethernet(mac(number), MTU);
            let capabilities = Capabilities {
                tx_checksum: cuts,
                tso4: cuts,
                max_segmented_bytes: if cuts { 65_535 } else { MTU },
                ..plain
            };
            Host::add_with(&mut world, number, &capabilities, seed, Config::default())
        };
        let (server, client) = (host(1, self.cuts), host(2, false));
        world.set_links(&Impairment {
            delay: Duration::from_micros(self.rtt_ms * 500),
            ..Impairment::default()
        });
        world.set_link(server.id, client.id, self.down());
        let told: Shared = Rc::new(RefCell::new(vec![Transfer::default(); self.flows.len()]));
        for (index, &algorithm) in self.flows.iter().enumerate() {
            let socket = SocketOptions {
                algorithm,
                pacing: self.pacing,
                ..SocketOptions::default()
            };
            serve(&mut world, &server, index, socket, &told);
            let begins = self.apart * index as u32;
            fetch(&mut world, (&server, &client), index, begins, &told);
        }
        world
            .run_for(Duration::from_secs(self.seconds))
            .expect("no violation");
        let capacity = self.megabits * 1_000_000 / 8 * self.seconds;
        let most = (capacity * DATA_BYTES / FRAME_BYTES) as f64;
        let mut transfers = told.borrow().clone();
        for transfer in &mut transfers {
            transfer.share = transfer.bytes as f64 / most;
            transfer.rtt /= transfer.looks.max(1);
        }
        transfers
    }
}

const fn port(index: usize) -> u16 {
    PORT + index as u16
}

fn serve(world: &mut World, server: &Host, index: usize, socket: SocketOptions, told: &Shared) {
    let options = ListenOptions {
        socket,
        ..ListenOptions::default()
    };
    let listener = TcpListener::bind_with(&server.stack, server.at(port(index)), options)
        .expect("the port is free");
    let (spawner, clock, told) = (world.spawner(server.id), world.clock(), Rc::clone(told));
    world.spawn_service(server.id, async move {
        while let Ok((stream, _)) = listener.accept().await {
            spawner.spawn(look(stream.clone(), clock.clone(), index, Rc::clone(&told)));
            spawner.spawn(async move {
                let piece = vec![0; 16 << 10];
                while stream.write_all(&piece).await.is_ok() {}
            });
        }
    });
}

async fn look(stream: TcpStream, clock: Clock, index: usize, told: Shared) {
    clock.sleep(LOOK_FROM).await;
    loop {
        clock.sleep(LOOK_EVERY).await;
        let rtt = stream.info().rtt.unwrap_or_default();
        let transfer = &mut told.borrow_mut()[index];
        transfer.rtt += rtt;
        transfer.looks += 1;
    }
}

fn fetch(
    world: &mut World,
    (server, client): (&Host, &Host),
    index: usize,
    begins: Duration,
    told: &Shared,
) {
    let (stack, remote) = (client.stack.clone(), server.at(port(index)));
    let (clock, told) = (world.clock(), Rc::clone(told));
    world.spawn_service(client.id, async move {
        clock.sleep(begins).await;
        let Ok(stream) = TcpStream::connect(&stack, remote).await else {
            return;
        };
        while let Ok(bytes) = stream.recv_bytes(usize::MAX).await
            && !bytes.is_empty()
        {
            told.borrow_mut()[index].bytes += bytes.len() as u64;
        }
    });
}

/// Jain's index of what they got: 1 if all got the same.
#[must_use]
pub fn fairness(transfers: &[Transfer]) -> f64 {
    let sum: f64 = transfers.iter().map(|it| it.share).sum();
    let squares: f64 = transfers.iter().map(|it| it.share.powi(2)).sum();
    if squares == 0.0 {
        return 0.0;
    }
    sum * sum / (transfers.len() as f64 * squares)
}
