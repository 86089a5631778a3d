//! Fixtures on disk.

use std::fs::File;
use std::io::BufReader;
use std::path::PathBuf;
use std::time::Duration;

use pcap_file::pcap::PcapReader;

/// A captured frame.
#[derive(Clone, Debug)]
pub struct Captured {
    /// When, since the first frame of the capture.
    pub at: Duration,
    /// From the Ethernet header on.
    pub data: Vec<u8>,
}

/// The frames of the fixture `name` (without `.pcap`).
///
/// # Panics
/// When it is not there or not a capture: a mistake in the test.
#[must_use]
pub fn load(name: &str) -> Vec<Captured> {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../pcaps");
    let path = folder.join(format!("{name}.pcap"));
    let file = File::open(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let mut reader = PcapReader::new(BufReader::new(file)).expect("a pcap file");
    let mut frames = Vec::new();
    let mut first = None;
    while let Some(packet) = reader.next_packet() {
        let packet = packet.expect("a whole packet");
        let first = *first.get_or_insert(packet.timestamp);
        frames.push(Captured {
            at: packet.timestamp.saturating_sub(first),
            data: packet.data.into_owned(),
        });
    }
    frames
}
