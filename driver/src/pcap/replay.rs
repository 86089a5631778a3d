//! A device that receives what a capture file holds.
//!
//! Frames come as fast as they are asked for, in the order of the file: who wants their times as well
//! reads with [`FileReader`]. What the stack sends goes to a [`Port`] for the test to judge.

use std::io;
use std::path::Path;
use std::sync::Arc;

use super::file::{Direction, FileReader};
use crate::counters::DeviceCounters;
use crate::device::{Capabilities, Interface, Receive};
use crate::frame::RxFrame;
use crate::memory::{self, Port};

/// Opens a pcap or pcapng file as a device. Frames that this stack had sent itself, by the file's word or
/// by their source address, are passed over; truncated ones are counted as malformed.
///
/// # Errors
/// When the file is not there, or holds no Ethernet or IP as `capabilities` want it.
pub fn replay(path: &Path, capabilities: Capabilities) -> io::Result<(Interface, Port)> {
    let file = FileReader::open(path)?;
    let (mut interface, port) = memory::Options::new(capabilities.clone()).open()?;
    interface.name = path.display().to_string();
    interface.queues[0].receive = Box::new(Replay {
        file,
        capabilities,
        name: interface.name.clone(),
        counters: Arc::clone(&interface.counters),
    });
    Ok((interface, port))
}

struct Replay {
    file: FileReader,
    capabilities: Capabilities,
    name: String,
    counters: Arc<DeviceCounters>,
}

impl Replay {
    fn is_own(&self, frame: &[u8]) -> bool {
        self.capabilities
            .mac
            .is_some_and(|mac| frame.get(6..12) == Some(&mac))
    }
}

impl Receive for Replay {
    fn receive(&mut self, into: &mut Vec<RxFrame>, limit: usize) -> io::Result<usize> {
        let (mut frames, mut bytes) = (0, 0);
        while frames < limit
            && let Some(recorded) = self.file.next_frame()?
        {
            if recorded.direction == Some(Direction::Out) || self.is_own(&recorded.data) {
                continue;
            }
            if recorded.medium != self.capabilities.medium {
                return Err(io::Error::new(
                    io::ErrorKind::InvalidData,
                    "frames of another medium",
                ));
            }
            if recorded.data.len() < recorded.original_len {
                self.counters.malformed(&self.name, "not captured whole");
                continue;
            }
            frames += 1;
            bytes += recorded.data.len();
            into.push(RxFrame {
                data: recorded.data,
                ..RxFrame::default()
            });
        }
        self.counters.received(frames, bytes);
        Ok(frames)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::device::Medium;
    use crate::frame::TxFrame;
    use crate::pcap::file::FileWriter;
    use std::collections::VecDeque;
    use std::time::Duration;

    const MAC: [u8; 6] = [2, 0, 0, 0, 0, 1];

    #[test]
    fn frames_for_the_stack_come_out_and_its_own_do_not() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.pcapng");
        let mut writer = FileWriter::create(&path, Medium::Ethernet, "tap0", 60).unwrap();
        let frame = |source: [u8; 6], n: u8| [&[0xff; 6][..], &source, &[8, 0, n]].concat();
        writer
            .write(Duration::ZERO, Direction::In, &frame([2; 6], 1))
            .unwrap();
        writer
            .write(Duration::ZERO, Direction::Out, &frame([3; 6], 2))
            .unwrap();
        writer
            .write(Duration::ZERO, Direction::In, &frame(MAC, 3))
            .unwrap();
        writer
            .write(Duration::ZERO, Direction::In, &[2; 100])
            .unwrap();
        writer
            .write(Duration::ZERO, Direction::In, &frame([2; 6], 4))
            .unwrap();
        drop(writer);
        let (mut interface, port) = replay(&path, Capabilities::plain_ethernet(MAC, 1500)).unwrap();
        let queue = &mut interface.queues[0];
        let mut into = Vec::new();
        assert_eq!(queue.receive.receive(&mut into, 1).unwrap(), 1);
        assert_eq!(queue.receive.receive(&mut into, 10).unwrap(), 1);
        assert_eq!(queue.receive.receive(&mut into, 10).unwrap(), 0);
        assert_eq!((into[0].data[14], into[1].data[14]), (1, 4));
        assert_eq!(interface.counters.totals().rx_malformed, 1);
        let queue = &mut interface.queues[0];
        queue
            .transmit
            .transmit(&mut VecDeque::from([TxFrame::default()]))
            .unwrap();
        assert!(port.take().is_some());
    }

    #[test]
    fn a_capture_of_another_medium_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.pcapng");
        let mut writer = FileWriter::create(&path, Medium::Ip, "tun0", 60).unwrap();
        writer
            .write(Duration::ZERO, Direction::In, &[0x45; 20])
            .unwrap();
        drop(writer);
        let (mut interface, _) = replay(&path, Capabilities::plain_ethernet(MAC, 1500)).unwrap();
        assert!(
            interface.queues[0]
                .receive
                .receive(&mut Vec::new(), 1)
                .is_err()
        );
    }
}
