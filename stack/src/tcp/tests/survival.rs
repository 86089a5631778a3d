//! Does an application go on where the client stands, on a host that has nothing but its journal?

use std::collections::VecDeque;
use std::task::{Context, Waker};
use std::time::Duration;

use bytes::{Buf, Bytes};
use proptest::prelude::*;

use super::kept::{Link, decide};
use super::pair::{CLIENT, Pair, SERVER, defaults, rough};
use crate::random::Random;
use crate::replication::digest::Identity;
use crate::replication::{Protection, Reason};
use crate::tcp::gate::Terms;
use crate::tcp::{Error, Flags, Parameters, State, Tcb, TxSegment};

/// A server that answers each line with a token, a length, and as many bytes that follow from both.
struct Handler {
    kind: Kind,
    random: Random,
    line: Vec<u8>,
    out: VecDeque<(Bytes, Option<(Identity, u64)>)>,
    answered: u64,
    rests: bool,
    ended: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    /// Logs its tokens, and says when it is quiescent.
    Replay,
    /// The same, and its token counts answers: kept in checkpoints.
    Checkpoint,
    /// Makes tokens that nobody logs, and mirrors.
    Mirror,
    /// Makes tokens that nobody logs, and does not say so.
    Careless,
}

fn body_byte(token: u64, at: u64) -> u8 {
    (token.wrapping_mul(31) ^ at ^ (at >> 8)) as u8
}

fn body(token: u64, len: u64) -> Bytes {
    (0..len).map(|at| body_byte(token, at)).collect()
}

impl Handler {
    fn new(kind: Kind, seed: u64, tcb: Option<&Tcb>) -> Self {
        let continuation = tcb.and_then(Tcb::continuation);
        let state = continuation.and_then(|it| it.checkpoint.clone());
        Self {
            kind,
            random: Random::from_seed(seed),
            line: Vec::new(),
            out: VecDeque::new(),
            answered: state.map_or(0, |mut state| state.get_u64()),
            rests: true,
            ended: false,
        }
    }

    fn step(&mut self, tcb: &mut Tcb) -> Result<(), Error> {
        loop {
            while let Some((bytes, named)) = self.out.front_mut() {
                if let &mut Some((identity, ref mut offset)) = named {
                    let all = *offset..*offset + bytes.len() as u64;
                    let skipped = tcb.skip_static(identity, all)?;
                    bytes.advance(skipped as usize);
                    *offset += skipped;
                    let taken = tcb.send_static(bytes.clone(), identity, *offset)?;
                    bytes.advance(taken);
                    *offset += taken as u64;
                } else {
                    let taken = tcb.send(bytes.clone())?;
                    bytes.advance(taken);
                }
                if !bytes.is_empty() {
                    return Ok(());
                }
                self.out.pop_front();
            }
            if self.line.is_empty() && !self.rests {
                self.rests = true;
                match self.kind {
                    Kind::Replay | Kind::Careless => tcb.quiescent(),
                    Kind::Checkpoint => tcb.checkpoint(self.state()),
                    Kind::Mirror => {}
                }
            }
            // Read in odd pieces, never beyond one line.
            let mut byte = [0; 1];
            match tcb.recv(&mut byte)? {
                Some(1) if byte == *b"\n" => self.answer(tcb),
                Some(1) => self.line.push(byte[0]),
                None => return Ok(()),
                _ => {
                    if !self.ended {
                        self.ended = true;
                        tcb.shutdown_write()?;
                    }
                    return Ok(());
                }
            }
        }
    }

    fn state(&self) -> Bytes {
        Bytes::copy_from_slice(&self.answered.to_be_bytes())
    }

    fn answer(&mut self, tcb: &mut Tcb) {
        let len: u64 = String::from_utf8(std::mem::take(&mut self.line))
            .unwrap()
            .parse()
            .unwrap();
        let fresh = self.random.next_u64() & 0x00ff_ffff;
        let token = match self.kind {
            Kind::Replay => {
                let mut value = decide(tcb, || Bytes::copy_from_slice(&fresh.to_be_bytes()));
                value.get_u64()
            }
            Kind::Checkpoint => self.answered,
            Kind::Mirror | Kind::Careless => fresh,
        };
        self.answered += 1;
        self.rests = false;
        let head = format!("{token:08x} {len:08x}\n");
        if self.kind == Kind::Mirror {
            tcb.checkpoint(self.state());
            let whole = [head.as_bytes(), &body(token, len)].concat();
            self.out.push_back((whole.into(), None));
        } else {
            self.out.push_back((head.into(), None));
            let named = len
                .is_multiple_of(2)
                .then_some((Identity([token as u8; 32]), 0));
            self.out.push_back((body(token, len), named));
        }
    }
}

/// How many whole answers the client has, as far as their heads tell.
fn whole_answers(received: &[u8]) -> usize {
    let (mut at, mut whole) = (0, 0);
    while let Some(len) = received.get(at + 9..at + 17) {
        let len = u64::from_str_radix(std::str::from_utf8(len).unwrap(), 16).unwrap();
        at += 18 + len as usize;
        whole += usize::from(at <= received.len());
    }
    whole
}

/// The client's stream is whole answers, the last perhaps in part; returns how many are whole.
fn answers(received: &[u8], lens: &[u64]) -> usize {
    let mut rest = received;
    for (done, len) in lens.iter().enumerate() {
        if rest.len() < 18 {
            return done;
        }
        let head = std::str::from_utf8(&rest[..17]).expect("a head");
        let token = u64::from_str_radix(&head[..8], 16).expect("a token");
        assert_eq!(u64::from_str_radix(&head[9..], 16).expect("a length"), *len);
        let there = (rest.len() - 18).min(*len as usize);
        for at in 0..there {
            let byte = rest[18 + at];
            assert_eq!(
                byte,
                body_byte(token, at as u64),
                "byte {at} of answer {done}"
            );
        }
        if (there as u64) < *len {
            return done;
        }
        rest = &rest[18 + there..];
    }
    assert!(rest.is_empty(), "more than was asked for");
    lens.len()
}

fn gated(mirror: bool) -> Parameters {
    Parameters {
        gated: true,
        terms: Terms {
            mirror,
            ..Terms::default()
        },
        ..defaults()
    }
}

struct World {
    pair: Pair,
    link: Link,
    handler: Handler,
    kind: Kind,
    lens: Vec<u64>,
    requests: Vec<u8>,
    written: usize,
    result: Result<(), Error>,
}

impl World {
    fn new(kind: Kind, seed: u64, lens: &[u64]) -> Self {
        let mut pair = Pair::new(defaults(), gated(kind == Kind::Mirror));
        pair.open();
        pair.filter = rough(seed, 2, 2, 5);
        pair.ends[SERVER].reads = false;
        let requests: String = lens.iter().map(|len| format!("{len}\n")).collect();
        Self {
            pair,
            link: Link::new(seed, Duration::from_micros(seed % 3000)),
            handler: Handler::new(kind, seed, None),
            kind,
            lens: lens.to_vec(),
            requests: requests.into(),
            written: 0,
            result: Ok(()),
        }
    }

    /// The client sends a request whenever the last one was answered, or all at once.
    fn step(&mut self, pipelined: bool) {
        let pair = &mut self.pair;
        if let Some(tcb) = &mut pair.ends[SERVER].tcb
            && tcb.state().is_synchronized()
            && self.result.is_ok()
        {
            self.result = self.handler.step(tcb);
        }
        self.link.work(pair);
        let done = whole_answers(&pair.ends[CLIENT].received);
        let lines = |upto: usize| {
            self.requests[..upto]
                .iter()
                .filter(|&&it| it == b'\n')
                .count()
        };
        if pair.states()[CLIENT].accepts_writes()
            && self.written < self.requests.len()
            && (pipelined || lines(self.written) <= done)
        {
            let end = self.requests[self.written..]
                .iter()
                .position(|&it| it == b'\n')
                .unwrap();
            let line = self.requests[self.written..self.written + end + 1].to_vec();
            self.written += pair.write(CLIENT, &line);
            if self.written == self.requests.len() {
                pair.tcb(CLIENT).shutdown_write().unwrap();
            }
        }
        let tick = pair.now + Duration::from_millis(1);
        pair.run_until(tick, |_| false);
        pair.now = tick;
    }

    fn take_over(&mut self, seed: u64) {
        self.link.take_over(&mut self.pair);
        self.handler = Handler::new(self.kind, seed, self.pair.ends[SERVER].tcb.as_ref());
    }

    fn established(&self) -> bool {
        self.pair.states()[SERVER].is_synchronized()
    }
}

fn survives(kind: Kind, seed: u64, lens: &[u64], pipelined: bool, kills: &[u16]) {
    let mut world = World::new(kind, seed, lens);
    let mut kills = kills.iter().copied().peekable();
    let mut since = 0u64;
    for tick in 0u64.. {
        assert!(
            tick < 200_000,
            "not done: {:?} {:?} {:?}",
            world.pair.states(),
            world.pair.error(CLIENT),
            world.pair.error(SERVER)
        );
        world.step(pipelined);
        since += 1;
        if world.established() && kills.peek().is_some_and(|&after| since > u64::from(after)) {
            kills.next();
            since = 0;
            world.take_over(seed ^ tick);
        }
        assert_eq!(world.result, Ok(()));
        if whole_answers(&world.pair.ends[CLIENT].received) == lens.len()
            && world.pair.at_end(CLIENT)
        {
            break;
        }
    }
    assert_eq!(answers(&world.pair.ends[CLIENT].received, lens), lens.len());
    assert_eq!(world.pair.error(CLIENT), None);
}

fn lens() -> impl Strategy<Value = Vec<u64>> {
    prop::collection::vec(
        prop_oneof![3 => 0u64..300, 2 => 0u64..30_000, 1 => 0u64..400_000],
        1..6,
    )
}

fn kills() -> impl Strategy<Value = Vec<u16>> {
    prop::collection::vec(prop_oneof![1u16..60, 1u16..600], 0..4)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(60))]
    #[test]
    fn by_replay(seed: u64, lens in lens(), pipelined: bool, kills in kills()) {
        survives(Kind::Replay, seed, &lens, pipelined, &kills);
    }

    #[test]
    fn from_checkpoints(seed: u64, lens in lens(), pipelined: bool, kills in kills()) {
        survives(Kind::Checkpoint, seed, &lens, pipelined, &kills);
    }

    #[test]
    fn by_a_mirror_though_it_cannot_repeat_itself(
        seed: u64, lens in lens(), pipelined: bool, kills in kills(),
    ) {
        // Writes of up to 64 KiB are mirrored whole.
        let lens: Vec<u64> = lens.iter().map(|len| len % 65_000).collect();
        survives(Kind::Mirror, seed, &lens, pipelined, &kills);
    }
}

/// A server in the middle of an answer, with a hint on the other host of how far the client is.
fn in_the_middle(kind: Kind) -> World {
    let mut world = World::new(kind, 7, &[3_000_001]);
    world.pair.filter = rough(7, 0, 0, 0);
    while world.pair.ends[CLIENT].received.len() < 1_000_000 {
        world.step(false);
    }
    world.take_over(8);
    world
}

#[test]
fn a_handler_that_does_not_repeat_itself_is_found_and_its_connection_aborted() {
    let mut world = in_the_middle(Kind::Careless);
    let before = world.pair.ends[CLIENT].received.clone();
    world.pair.sent.clear();
    for _ in 0..500 {
        world.step(false);
    }
    assert_eq!(world.result, Err(Error::Diverged));
    let tcb = world.pair.tcb(SERVER);
    assert_eq!(tcb.error(), Some(Error::Diverged));
    assert_eq!(tcb.protection(), Protection::Unprotected(Reason::Diverged));
    assert!(world.link.kept.aborted, "its RST is a decision like others");
    assert_eq!(world.pair.error(CLIENT), Some(Error::Reset));
    let wrong = world.pair.sent_by(SERVER);
    assert!(
        wrong.iter().all(|sent| sent.len() == 0),
        "a byte of the wrong output left"
    );
    assert!(world.pair.ends[CLIENT].received.starts_with(&before));
    assert_eq!(
        answers(&world.pair.ends[CLIENT].received, &world.lens),
        0,
        "still the old answer"
    );
}

#[test]
fn a_handler_that_does_goes_on_in_the_middle() {
    let mut world = in_the_middle(Kind::Replay);
    while !world.pair.at_end(CLIENT) {
        world.step(false);
    }
    assert_eq!(world.pair.tcb(SERVER).protection(), Protection::Protected);
}

#[test]
fn a_gigabyte_that_the_client_has_is_skipped_in_one_call() {
    let gigabytes = 3 << 30;
    let mut pair = Pair::new(defaults(), gated(false));
    let mut link = Link::new(1, Duration::ZERO);
    pair.open();
    for _ in 0..100 {
        link.work(&mut pair);
        pair.run_for(Duration::from_millis(1));
    }
    assert_eq!(pair.states(), [State::Established; 2]);
    link.take_over(&mut pair);
    let film = Identity([9; 32]);
    // The client, by its ACK, says that it has as much as can be told apart from nothing.
    let has = (1 << 31) - 2;
    let mut segment = pair.forged(SERVER);
    segment.ack = segment.ack.wrapping_add(has as u32);
    pair.deliver(SERVER, segment);
    let tcb = pair.tcb(SERVER);
    assert_eq!(tcb.skippable(), has);
    assert_eq!(tcb.skip_static(film, 0..gigabytes), Ok(has));
    assert_eq!((tcb.skippable(), tcb.write_position()), (0, 1 + has));
    assert_eq!(tcb.skip_static(film, has..gigabytes), Ok(0));
    assert_eq!(tcb.send_static(body(1, 1000), film, has), Ok(1000));
    tcb.check();
}

#[test]
fn a_decision_between_two_inputs_comes_there_again() {
    let mut pair = Pair::new(defaults(), gated(false));
    let mut link = Link::new(1, Duration::ZERO);
    pair.ends[SERVER].reads = false;
    pair.open();
    let run = |pair: &mut Pair, link: &mut Link| {
        for _ in 0..100 {
            link.work(pair);
            pair.run_for(Duration::from_millis(1));
        }
    };
    run(&mut pair, &mut link);
    pair.write(CLIENT, b"half a req");
    run(&mut pair, &mut link);
    let read = |tcb: &mut Tcb| {
        let mut bytes = [0; 100];
        tcb.recv(&mut bytes)
            .unwrap()
            .map(|len| bytes[..len].to_vec())
    };
    assert_eq!(read(pair.tcb(SERVER)).unwrap(), b"half a req");
    decide(pair.tcb(SERVER), || Bytes::from_static(b"timed out"));
    pair.write(CLIENT, b"uest\n");
    run(&mut pair, &mut link);
    assert_eq!(link.kept.input, b"half a request\n");
    link.take_over(&mut pair);
    let tcb = pair.tcb(SERVER);
    let mut cx = Context::from_waker(Waker::noop());
    assert!(tcb.poll_decided(&cx).is_pending(), "input comes first");
    assert_eq!(read(tcb).unwrap(), b"half a req");
    assert_eq!(read(tcb), None);
    assert!(tcb.poll_readable(&mut cx).is_pending());
    assert!(tcb.poll_decided(&cx).is_ready());
    assert_eq!(decide(tcb, || unreachable!()), "timed out");
    assert_eq!(read(tcb).unwrap(), b"uest\n");
}

#[test]
fn a_stream_that_was_to_end_ends_there_and_nowhere_else() {
    for early in [false, true] {
        let mut world = World::new(Kind::Replay, 3, &[200_001]);
        world.pair.filter = rough(3, 0, 0, 0);
        // The client stops reading: everything is written, and the FIN decided, long before it has all.
        world.pair.ends[CLIENT].reads = false;
        while world.link.kept.fin.is_none() {
            world.step(false);
        }
        world.take_over(9);
        if early {
            // A handler that closes at once is not the one that wrote all this.
            let tcb = world.pair.tcb(SERVER);
            assert_eq!(tcb.shutdown_write(), Err(Error::Diverged));
            continue;
        }
        world.pair.ends[CLIENT].reads = true;
        while !world.pair.at_end(CLIENT) {
            world.step(false);
            world.pair.read(CLIENT);
        }
        assert_eq!(answers(&world.pair.ends[CLIENT].received, &world.lens), 1);
        let fins = world.pair.sent_by(SERVER);
        assert!(fins.iter().any(|sent| sent.has(Flags::FIN)));
        // What a handler still writes after the end that was decided goes nowhere.
        let tcb = world.pair.tcb(SERVER);
        if tcb.error().is_none() && tcb.state() != State::Closed {
            assert_eq!(tcb.send_copy(b"late"), Ok(4));
        }
    }
}

#[test]
fn a_handler_may_skip_what_is_static_in_a_stream_that_was_to_end() {
    let mut world = World::new(Kind::Replay, 3, &[200_000]);
    world.pair.filter = rough(3, 0, 0, 0);
    world.pair.ends[CLIENT].reads = false;
    while world.link.kept.fin.is_none() {
        world.step(false);
    }
    let fin = world.link.kept.fin.expect("just seen");
    world.take_over(9);
    // The client has everything but the FIN, which was lost with the server.
    let World { pair, handler, .. } = &mut world;
    let mut segment = pair.forged(SERVER);
    segment.ack = pair.tcb(SERVER).our_wire(fin);
    pair.deliver(SERVER, segment);
    let now = pair.now;
    let tcb = pair.tcb(SERVER);
    assert_eq!(handler.step(tcb), Ok(()));
    assert_eq!(tcb.error(), None);
    let sent = std::iter::from_fn(|| tcb.poll_transmit(now));
    let ends = |segment: &TxSegment| segment.flags.contains(Flags::FIN);
    assert!(sent.into_iter().any(|segment| ends(&segment)));
}
