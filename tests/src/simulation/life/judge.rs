//! The oracles of a life: byte streams, orderly ends, nothing left over, and nothing sent in vain.

use std::io::ErrorKind;

use outlive::counters::Counter;

use super::draw::Weather;
use super::{AFTERMATH, Connection, Life, Stats};
use crate::decode::name_of;
use crate::simulation::application::{End, Ending, Plan, Seen};
use crate::simulation::world::Violation;

/// Transmissions of one segment without an answer after which a host may give up: the SYN and its 6
/// retransmissions are the fewest, but for a SYN-ACK and its 5, which no application hears of.
const GIVING_UP: u32 = 7;

impl Life {
    /// Judges the whole life; adds to `stats`.
    pub(super) fn judge(&self, stats: &mut Stats) -> Result<(), Violation> {
        for host in [&self.client, &self.server] {
            let left = host.stack.connections();
            if self.world.is_alive(host.id) && left != 0 {
                let what = format!(
                    "host {} still has {left} connections after {AFTERMATH:?}",
                    host.number
                );
                return Err(Violation(what));
            }
        }
        let orderly = self.connections.iter().all(Connection::is_orderly);
        let undisturbed = self.fault.is_none() && !self.circumstances.disturb();
        if self.weather == Weather::Fair && undisturbed && orderly {
            self.nothing_in_vain()?;
        }
        for (index, connection) in self.connections.iter().enumerate() {
            self.judge_connection(connection, stats).map_err(|what| {
                let (client, server) = (connection.client.1.borrow(), connection.server.1.borrow());
                let endings = (connection.client.0.ending, connection.server.0.ending);
                Violation(format!("connection {index}: {what}: {endings:?}; client saw {client:?}; server saw {server:?}"))
            })?;
        }
        Ok(())
    }

    /// On links that lose nothing and keep the order, nothing may be sent twice, and nothing dropped but
    /// the probes of closed windows.
    fn nothing_in_vain(&self) -> Result<(), Violation> {
        let (again, probes) = (
            self.world.watcher.retransmissions,
            self.world.watcher.probes,
        );
        let wasted = |(name, _): &(&str, u64)| {
            name.contains("_drop_") || ["tcp_timeouts", "tcp_retransmitted_segments"].contains(name)
        };
        let hosts = [&self.client, &self.server].into_iter();
        let counted = hosts.flat_map(|host| host.stack.counters().non_zero());
        let counted: Vec<_> = counted.filter(wasted).collect();
        let total: u64 = counted.iter().map(|&(_, value)| value).sum();
        if again > 0 || total > probes {
            let what = format!(
                "on perfect links: {again} segments sent twice, {probes} probes, {counted:?}"
            );
            return Err(Violation(what));
        }
        Ok(())
    }

    /// The byte-stream and liveness oracle for one connection.
    fn judge_connection(&self, connection: &Connection, stats: &mut Stats) -> Result<(), String> {
        let (client, server) = (connection.client.1.borrow(), connection.server.1.borrow());
        let killed = self.is_killed();
        direction(&connection.client.0, killed, &client, &server)?;
        direction(&connection.server.0, killed, &server, &client)?;
        stats.bytes += client.received + server.received;
        let orderly = !killed && connection.is_orderly();
        let complete = |seen: &Seen| seen.reading == End::Complete && seen.writing == End::Complete;
        stats.broken_off += u64::from(!orderly);
        if !orderly || (complete(&client) && complete(&server)) {
            return Ok(());
        }
        let no_port = End::Failed(ErrorKind::AddrNotAvailable);
        if self.circumstances.few_ports && client.reading == no_port {
            stats.without_port += 1;
            return Ok(());
        }
        let watcher = &self.world.watcher;
        let unanswered = match client.address {
            Some(address) => watcher.most_unanswered(name_of(address)),
            None => watcher.most_unanswered_of_all(),
        };
        // A black hole has used up part of a closed socket's retransmissions before losses come; a full accept queue
        // part of a SYN-ACK's.
        let counters = self.server.stack.counters();
        let full = counters.get(Counter::TcpDropAcceptQueue) > 0;
        let enough = if self.circumstances.black_hole || full {
            GIVING_UP / 2
        } else {
            GIVING_UP
        };
        if unanswered < enough {
            return Err(format!(
                "no orderly close, though at most {unanswered} segments in a row went unanswered"
            ));
        }
        stats.lost_to_links += 1;
        Ok(())
    }
}

/// What the reader got must be what the writer gave, and an end of stream must mean all of it.
fn direction(writer: &Plan, killed: bool, wrote: &Seen, read: &Seen) -> Result<(), String> {
    if let Some(at) = read.mismatch {
        return Err(format!("wrong byte at {at}"));
    }
    if read.received > writer.total {
        return Err(format!(
            "{} bytes read, {} were to be sent",
            read.received, writer.total
        ));
    }
    let ended = read.reading == End::Complete;
    if ended
        && (wrote.writing != End::Complete || read.received != writer.total)
        && !matches!(writer.ending, Ending::Leave(_))
    {
        return Err(format!("end of stream after {} bytes", read.received));
    }
    let unfinished = writer.ending == Ending::Orderly && wrote.writing == End::Open;
    if read.reading == End::Silent && unfinished && !killed {
        return Err("silence".into());
    }
    Ok(())
}
