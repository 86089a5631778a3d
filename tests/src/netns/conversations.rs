//! How connections began and ended, as the client's side saw it: every one once, and none by RST.

use std::collections::HashMap;

use super::capture::Capture;
use super::sandbox::Netns;
use super::topology::{CLIENT, SERVER};

/// What connections opened and ended with, from a recording of all SYN, FIN and RST.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Conversations {
    /// 4-tuples.
    pub tuples: usize,
    /// 4-tuples on which a side opened with more than one initial sequence number.
    pub reopened: usize,
    /// Segments with RST, of either side.
    pub resets: usize,
}

const FIELDS: [&str; 8] = [
    "ip.src",
    "tcp.srcport",
    "ip.dst",
    "tcp.dstport",
    "tcp.seq_raw",
    "tcp.flags.syn",
    "tcp.flags.reset",
    "frame.time_relative",
];

impl Conversations {
    /// What is seen of so many connections of which none was disturbed.
    #[must_use]
    pub fn undisturbed(tuples: usize) -> Self {
        Self {
            tuples,
            ..Self::default()
        }
    }

    /// Begins to record them at the clients' interface.
    #[must_use]
    pub fn record<'a>(client: &Netns<'a>, interface: &str) -> Capture<'a> {
        let filter = format!("tcp[13] & 7 != 0 and host {SERVER}");
        Capture::filtered(client.clone(), interface, &filter)
    }

    /// Ends the recording and counts.
    ///
    /// # Panics
    /// When tshark fails.
    #[must_use]
    pub fn of(capture: Capture<'_>) -> Self {
        let text = capture.read(&FIELDS);
        let mut found = Self::default();
        // By the client's port and the side: with which number it opened.
        let mut opened: HashMap<(&str, bool), Vec<&str>> = HashMap::new();
        for line in text.lines() {
            let fields: Vec<_> = line.split('\t').collect();
            let [source, from, destination, to, number, syn, reset, at] = fields[..] else {
                continue;
            };
            let is_client = (source, destination) == (CLIENT, SERVER);
            assert!(
                is_client || (source, destination) == (SERVER, CLIENT),
                "{line}"
            );
            let port = if is_client { from } else { to };
            if is_set(reset) {
                println!("RST {source}:{from} > {destination}:{to} seq {number} after {at} s");
                found.resets += 1;
            }
            let numbers = opened.entry((port, is_client)).or_default();
            if is_set(syn) && !numbers.contains(&number) {
                numbers.push(number);
            }
        }
        found.tuples = opened.keys().filter(|(_, is_client)| *is_client).count();
        found.reopened = opened.values().filter(|numbers| numbers.len() > 1).count();
        found
    }
}

/// Versions of tshark differ in how they say it.
fn is_set(flag: &str) -> bool {
    matches!(flag, "1" | "True")
}
