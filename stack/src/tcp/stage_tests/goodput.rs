//! What a long transfer reaches on a path with random loss, against the response function of its
//! congestion control (RFC 9438 §5.1; RFC 5681's is sqrt(3/2p)).

use std::collections::VecDeque;

use super::super::Algorithm;
use super::*;

/// A path with a fixed delay each way that loses wire-sized frames at random.
struct LossyPath {
    random: Random,
    delay: Duration,
    loss_per_10_000: u64,
    up: VecDeque<(Instant, Datagram)>,
    down: VecDeque<(Instant, Datagram)>,
}

impl LossyPath {
    fn carry(&mut self, now: Instant, sent: Vec<TxDatagram>, up: bool) {
        for datagram in sent {
            assert!(datagram.frame.len() <= 1480, "wire-sized");
            if self.random.chance(self.loss_per_10_000, 10_000) {
                continue;
            }
            let queue = if up { &mut self.up } else { &mut self.down };
            queue.push_back((now + self.delay, arrival(&datagram)));
        }
    }

    fn due(&mut self, now: Instant, up: bool) -> Vec<Datagram> {
        let queue = if up { &mut self.up } else { &mut self.down };
        let mut due = Vec::new();
        while queue.front().is_some_and(|front| front.0 <= now) {
            due.extend(queue.pop_front().map(|front| front.1));
        }
        due
    }

    fn next(&self) -> Option<Instant> {
        let fronts = self.up.front().into_iter().chain(self.down.front());
        fronts.map(|front| front.0).min()
    }
}

/// Bytes that the client receives in `duration`.
fn transfer(algorithm: Algorithm, rtt_ms: u64, loss: u64, seed: u64, duration: Duration) -> u64 {
    let mut net = Net::new();
    let listener = net.server.listen(ListenOptions {
        socket: SocketOptions {
            algorithm,
            ..SocketOptions::default()
        },
        ..ListenOptions::default()
    });
    let client = net.client.connect(net.now);
    net.settle();
    let server = net.accept(&listener).unwrap();
    let mut path = LossyPath {
        random: Random::from_seed(seed),
        delay: Duration::from_micros(rtt_ms * 500),
        loss_per_10_000: loss,
        up: VecDeque::new(),
        down: VecDeque::new(),
    };
    let end = net.now + duration;
    let chunk = Bytes::from(vec![0; 64 << 10]);
    let mut received = 0;
    while net.now < end {
        while matches!(server.tcb.lock().send(chunk.clone()), Ok(1..)) {}
        net.server.output(&server);
        net.server.write(net.now);
        path.carry(net.now, std::mem::take(&mut net.server.out), false);
        path.carry(net.now, std::mem::take(&mut net.client.out), true);
        let timers = net.client.timers.iter().chain(&net.server.timers);
        let next = timers.map(|timer| timer.0).chain(path.next()).min();
        net.now = next.unwrap_or(end).max(net.now);
        net.client.fire_timers(net.now);
        net.server.fire_timers(net.now);
        for datagram in path.due(net.now, true) {
            net.server.receive(net.now, vec![datagram]);
        }
        for datagram in path.due(net.now, false) {
            net.client.receive(net.now, vec![datagram]);
        }
        received += read_all(&client).len() as u64;
        net.client.output(&client);
        net.client.write(net.now);
    }
    received
}

/// Average window, in segments, of transfers of 20 s over several seeds.
fn average_window(algorithm: Algorithm, rtt_ms: u64, loss: u64) -> f64 {
    const SEEDS: u64 = 4;
    let duration = Duration::from_secs(20);
    let bytes: u64 = (0..SEEDS)
        .map(|seed| transfer(algorithm, rtt_ms, loss, seed, duration))
        .sum();
    let round_trips = (SEEDS * 20_000 / rtt_ms) as f64;
    bytes as f64 / 1448.0 / round_trips
}

#[test]
fn one_percent_of_loss_leaves_what_the_response_function_says() {
    let expected = (1.5f64 / 0.01).sqrt();
    for algorithm in [Algorithm::Cubic, Algorithm::NewReno] {
        let window = average_window(algorithm, 20, 100);
        assert!(
            window > 0.9 * expected,
            "{algorithm:?}: {window:.1} of {expected:.1}"
        );
    }
}

#[test]
fn five_percent_of_loss_is_survived_without_waiting_most_of_the_time() {
    let expected = (1.5f64 / 0.05).sqrt();
    let window = average_window(Algorithm::Cubic, 20, 500);
    assert!(window > 0.7 * expected, "{window:.1} of {expected:.1}");
}
