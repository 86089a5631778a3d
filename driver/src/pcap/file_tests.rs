//! What is written is read again, and other programs' files are understood.

use super::*;
use proptest::prelude::*;

fn all(path: &Path) -> Vec<Recorded> {
    let mut reader = FileReader::open(path).unwrap();
    std::iter::from_fn(|| reader.next_frame().unwrap()).collect()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 32, ..ProptestConfig::default() })]

    #[test]
    fn frames_are_read_as_they_were_written(
        frames in proptest::collection::vec((any::<u64>(), any::<bool>(), 0usize..70_000), 0..20), ip: bool
    ) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("capture.pcapng");
        let medium = if ip { Medium::Ip } else { Medium::Ethernet };
        let recorded: Vec<_> = frames.into_iter().map(|(nanos, out, len)| Recorded {
            at: Duration::from_nanos(nanos),
            direction: Some(if out { Direction::Out } else { Direction::In }),
            medium,
            data: Bytes::from((0..len).map(|i| (i * 7) as u8).collect::<Vec<_>>()),
            original_len: len,
        }).collect();
        let mut writer = FileWriter::create(&path, medium, "tap0", usize::MAX).unwrap();
        for frame in &recorded {
            writer.write(frame.at, frame.direction.unwrap(), &frame.data).unwrap();
        }
        drop(writer);
        prop_assert_eq!(all(&path), recorded);
    }
}

#[test]
fn no_more_than_was_asked_for_is_kept_of_a_frame() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("capture.pcapng");
    let mut writer = FileWriter::create(&path, Medium::Ethernet, "tap0", 10).unwrap();
    writer
        .write(Duration::ZERO, Direction::In, &[1; 50])
        .unwrap();
    drop(writer);
    let frames = all(&path);
    assert_eq!((frames[0].data.len(), frames[0].original_len), (10, 50));
}

#[test]
fn classic_files_are_read_too() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("capture.pcap");
    let mut file = Vec::new();
    for word in [0xa1b2_c3d4u32, 0x0004_0002, 0, 0, 65_535, 1] {
        file.extend_from_slice(&word.to_le_bytes());
    }
    for word in [7u32, 42, 3, 3] {
        file.extend_from_slice(&word.to_le_bytes());
    }
    file.extend_from_slice(b"abc");
    std::fs::write(&path, &file).unwrap();
    let frames = all(&path);
    assert_eq!(frames.len(), 1);
    assert_eq!(frames[0].at, Duration::new(7, 42_000));
    assert_eq!(
        (&frames[0].data[..], frames[0].medium),
        (&b"abc"[..], Medium::Ethernet)
    );
}

#[test]
fn microseconds_are_what_a_file_means_that_does_not_say() {
    let description = |options| InterfaceDescriptionBlock {
        linktype: DataLink::ETHERNET,
        snaplen: 0,
        options,
    };
    let packet = EnhancedPacketBlock {
        interface_id: 0,
        timestamp: Duration::from_nanos(3_000_000),
        original_len: 0,
        data: Cow::Borrowed(&[]),
        options: vec![],
    };
    let resolution = |r| vec![InterfaceDescriptionOption::IfTsResol(r)];
    let read = |options| time(&packet, &description(options));
    assert_eq!(read(vec![]).unwrap(), Duration::from_secs(3));
    assert_eq!(read(resolution(9)).unwrap(), Duration::from_millis(3));
    assert_eq!(
        read(resolution(0x80)).unwrap(),
        Duration::from_secs(3_000_000)
    );
    assert!(read(resolution(0x7f)).is_err());
}

#[test]
fn what_is_no_capture_is_an_error() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("text");
    for content in [&b""[..], b"hello, this is no capture", &PCAPNG_MAGIC] {
        std::fs::write(&path, content).unwrap();
        assert!(FileReader::open(&path).is_err());
    }
}
