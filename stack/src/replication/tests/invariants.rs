//! What the wire shows of FAILOVER's invariants, whatever happens to the hosts.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;

use super::applications::{ask, replay, serve};
use super::world::{CLIENT, World};
use crate::wire::tcp::{self, Flags};

/// What a server promised on one connection.
#[derive(Debug, Default)]
struct Promised {
    edge: u64,
    value: Option<(u64, u32)>,
}

/// The furthest a sequence number can mean, near what is known.
fn widen(near: u64, number: u32) -> u64 {
    near.saturating_add_signed(i64::from(number.wrapping_sub(near as u32) as i32))
}

#[test]
fn edges_never_move_left_acks_are_applied_first_and_timestamps_grow() {
    let mut world = World::new();
    for host in 0..2 {
        serve(&world.stack(host), replay(64 << 10));
    }
    world.connect(true);
    world.decide(2, 0, &[0, 1]);
    let backup = Arc::clone(&world.servers[1].service);
    let synced = Arc::new(Mutex::new(true));
    let before = Arc::clone(&synced);
    let promised: Mutex<HashMap<u16, Promised>> = Mutex::default();
    let seen = Arc::new(Mutex::new([0_u32; 2]));
    let count = Arc::clone(&seen);
    world.tap = Box::new(move |host, frame| {
        if host == CLIENT || frame.len() < 54 || frame[12..14] != [8, 0] {
            return true;
        }
        let header = tcp::parse(&frame[34..]).expect("our own segment");
        let mut promised = promised.lock();
        let mine = promised.entry(header.destination_port).or_default();
        count.lock()[host] += 1;
        if header.flags.contains(Flags::SYN) {
            mine.edge = u64::from(header.ack) + u64::from(header.window);
        } else {
            let scale = 7;
            let ack = widen(mine.edge, header.ack);
            let edge = ack + (u64::from(header.window) << scale);
            assert!(
                edge >= mine.edge,
                "invariant 12: from {} to {edge}",
                mine.edge
            );
            mine.edge = edge;
        }
        if let Some((value, _)) = header.options.timestamps {
            if let Some((epoch, last)) = mine.value {
                let grown = value.wrapping_sub(last) as i32;
                let other = epoch != host as u64;
                assert!(
                    grown >= 0 && (grown > 0 || !other),
                    "invariant 7: {value} after {last}"
                );
            }
            mine.value = Some((host as u64, value));
        }
        if host == 0 && *before.lock() {
            let replica = backup.replica.lock();
            let port = header.destination_port;
            let of_port = |it: &&super::super::journals::Kept| it.journal.id.remote_port == port;
            let journal = replica.journals.iter().map(|(_, kept)| kept).find(of_port);
            let journal = journal.expect("invariant 3: recorded before anything leaves");
            let (irs, committed) = (journal.journal.record.irs, journal.journal.committed);
            let acknowledged = u64::from(header.ack.wrapping_sub(irs));
            assert!(acknowledged <= committed, "invariant 1");
        }
        true
    });
    let download = ask(&world.stack(CLIENT), vec![(10, 3_000_000); 2]);
    let upload = ask(&world.stack(CLIENT), vec![(3_000_000, 10); 2]);
    world.run_for(Duration::from_millis(100));
    *synced.lock() = false;
    world.kill(0);
    world.run_for(Duration::from_millis(30));
    world.decide(3, 1, &[1]);
    for got in [download, upload] {
        world.run_until(Duration::from_secs(100), |_| got.lock().done);
        assert_eq!(got.lock().wrong, None);
    }
    assert!(seen.lock().iter().all(|&frames| frames > 20));
}
