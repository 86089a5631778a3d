//! What passes a recorded device is in the file, and passes unchanged.

use super::*;
use crate::device::Capabilities;
use crate::frame::PartialChecksum;
use crate::memory;
use crate::pcap::file::{FileReader, Recorded};
use bytes::Bytes;

const MAC: [u8; 6] = [2, 0, 0, 0, 0, 1];

fn device(options: &Options) -> (Interface, memory::Port) {
    let (interface, port) = memory::Options::new(Capabilities::plain_ethernet(MAC, 1500))
        .open()
        .unwrap();
    (record(interface, options).unwrap(), port)
}

fn frame(bytes: &[u8]) -> TxFrame {
    let mut frame = TxFrame::default();
    frame.payload.push(Bytes::copy_from_slice(bytes));
    frame
}

fn all(options: &Options) -> Vec<Recorded> {
    let mut reader = FileReader::open(&options.path).unwrap();
    std::iter::from_fn(|| reader.next_frame().unwrap()).collect()
}

#[test]
fn both_directions_are_recorded_in_order_and_pass_unchanged() {
    let folder = tempfile::tempdir().unwrap();
    let options = Options::new(folder.path().join("a.pcapng"));
    let (mut interface, port) = device(&options);
    let queue = &mut interface.queues[0];
    queue
        .transmit
        .transmit(&mut VecDeque::from([frame(b"question")]))
        .unwrap();
    assert_eq!(port.take().unwrap().to_vec(), b"question");
    port.deliver(memory::received(&frame(b"answer"))).unwrap();
    let mut into = Vec::new();
    assert_eq!(queue.receive.receive(&mut into, 5).unwrap(), 1);
    assert_eq!(into[0].data, b"answer"[..]);
    drop(interface);
    let seen: Vec<_> = all(&options)
        .into_iter()
        .map(|r| (r.direction.unwrap(), r.data))
        .collect();
    let expected = [(Direction::Out, "question"), (Direction::In, "answer")];
    assert_eq!(seen, expected.map(|(d, text)| (d, Bytes::from(text))));
}

#[test]
fn what_the_device_does_not_take_is_recorded_when_it_does() {
    let folder = tempfile::tempdir().unwrap();
    let options = Options::new(folder.path().join("a.pcapng"));
    let full = memory::Options {
        limit: 1,
        ..memory::Options::new(Capabilities::plain_ethernet(MAC, 1500))
    };
    let (interface, port) = full.open().unwrap();
    let mut interface = record(interface, &options).unwrap();
    let mut batch = VecDeque::from([frame(b"a"), frame(b"b")]);
    interface.queues[0].transmit.transmit(&mut batch).unwrap();
    assert_eq!(batch.len(), 1);
    port.take().unwrap();
    interface.queues[0].transmit.transmit(&mut batch).unwrap();
    drop(interface);
    let seen: Vec<_> = all(&options)
        .into_iter()
        .map(|recorded| recorded.data)
        .collect();
    assert_eq!(seen, ["a", "b"].map(Bytes::from));
}

#[test]
fn an_open_checksum_is_complete_in_the_record_only() {
    let folder = tempfile::tempdir().unwrap();
    let options = Options::new(folder.path().join("a.pcapng"));
    let (mut interface, port) = device(&options);
    let partial = PartialChecksum {
        start: 2,
        offset: 0,
    };
    let mut open = frame(&[9, 9, 0, 1, 0, 2]);
    open.checksum = Checksum::Partial(partial);
    let queue = &mut interface.queues[0];
    queue
        .transmit
        .transmit(&mut VecDeque::from([open.clone()]))
        .unwrap();
    assert_eq!(port.take().unwrap().to_vec(), [9, 9, 0, 1, 0, 2]);
    let mut received = memory::received(&open);
    received.data = Bytes::from([&[7; 12][..], &[8, 0], &[0, 1, 0, 2]].concat());
    received.checksum = RxChecksum::Partial(PartialChecksum {
        start: 14,
        offset: 0,
    });
    received.vlan_tci = Some(5);
    port.deliver(received.clone()).unwrap();
    let mut into = Vec::new();
    queue.receive.receive(&mut into, 1).unwrap();
    assert_eq!(into[0], received);
    drop(interface);
    let seen = all(&options);
    assert_eq!(seen[0].data[..], [9, 9, 0xff, 0xfc, 0, 2]);
    assert_eq!(seen[1].data[12..], [0x81, 0, 0, 5, 8, 0, 0xff, 0xfc, 0, 2]);
}

#[test]
fn a_record_has_an_end_and_the_device_has_none() {
    let folder = tempfile::tempdir().unwrap();
    let options = Options {
        max_bytes: 10_000,
        ..Options::new(folder.path().join("a.pcapng"))
    };
    let (mut interface, port) = device(&options);
    for _ in 0..100 {
        let mut batch = VecDeque::from([frame(&[1; 1000])]);
        interface.queues[0].transmit.transmit(&mut batch).unwrap();
        assert!(batch.is_empty() && port.take().is_some());
    }
    assert!(std::fs::metadata(&options.path).unwrap().len() < 11_100);
    assert_eq!(all(&options).len(), 10);
}

#[test]
fn a_file_that_cannot_be_created_is_named() {
    let options = Options::new("/nonexistent/a.pcapng");
    let (interface, _) = memory::Options::new(Capabilities::plain_ethernet(MAC, 1500))
        .open()
        .unwrap();
    let error = record(interface, &options).err().unwrap().to_string();
    assert!(error.contains("/nonexistent/a.pcapng"), "{error}");
}
