//! How much memory does an idle connection cost?

use super::pair::{CLIENT, Pair, SERVER, defaults};
use crate::tcp::Tcb;

#[test]
fn a_tcb_is_small() {
    assert!(size_of::<Tcb>() <= 512, "{} bytes", size_of::<Tcb>());
}

#[test]
fn an_idle_connection_owns_no_heap() {
    let mut pair = Pair::established(defaults(), defaults());
    pair.write(CLIENT, &[1; 100_000]);
    pair.run_for(std::time::Duration::from_secs(1));
    for side in [CLIENT, SERVER] {
        let tcb = pair.tcb(side);
        assert!(tcb.recovery.is_none() && tcb.transit.is_none());
        assert!(tcb.gating.is_none() && tcb.urgent.is_none());
        assert_eq!(tcb.send_queue.heap_bytes(), 0);
        assert_eq!(tcb.receive_queue.buffered(), 0);
    }
}
