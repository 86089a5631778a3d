//! TCP options as bytes, in any segment (RFC 9293 §3.1, §3.2).

use bytes::{BufMut, Bytes, BytesMut};

use super::*;

/// `segment` with other options, and its data behind them.
fn with_options(segment: &Datagram, options: &[u8]) -> Datagram {
    assert!(options.len().is_multiple_of(4) && options.len() <= 40);
    let header_len = usize::from(segment.payload[12] >> 4) * 4;
    let mut bytes = BytesMut::from(&segment.payload[..20]);
    bytes[12] = (((20 + options.len()) / 4) << 4) as u8;
    bytes.put_slice(options);
    bytes.put_slice(&segment.payload[header_len..]);
    Datagram {
        payload: bytes.freeze(),
        // The sum is not what this is about.
        checksum_ok: true,
        ..segment.clone()
    }
}

#[test]
fn options_of_all_kinds_do_no_harm_in_any_segment() {
    let lists: [&[u8]; 6] = [
        // Unknown ones with a length, beginning at odd octets (MUST-5, MUST-6, MUST-64, MUST-68).
        &[1, 253, 5, 9, 9, 9, 30, 2, 254, 4, 1, 1],
        // The end of the list, and what is no option behind it.
        &[1, 1, 1, 0, 8, 0, 255, 255],
        // What belongs on a SYN only.
        &[2, 4, 0, 48, 4, 2, 3, 3],
        // Lengths that are too small, too large, cut off (MUST-7).
        &[253, 0, 1, 1],
        &[253, 1, 1, 1],
        &[1, 1, 253, 40],
    ];
    for options in lists {
        let mut net = Net::with(Config {
            timestamps: false,
            ..Config::default()
        });
        let (client, server) = net.establish();
        net.client.send(net.now, &client, b"text");
        let mut sent = arrivals(&std::mem::take(&mut net.client.out));
        net.client.close(net.now, &client);
        sent.extend(arrivals(&std::mem::take(&mut net.client.out)));
        assert_eq!(sent.len(), 2, "text and FIN");
        let mss = server.tcb.lock().info().snd_mss;
        for segment in &sent {
            net.server
                .receive(net.now, vec![with_options(segment, options)]);
        }
        assert_eq!(
            read_all(&server),
            Bytes::from_static(b"text"),
            "{options:?}"
        );
        assert_eq!(state(&server), State::CloseWait, "{options:?}");
        assert_eq!(server.tcb.lock().info().snd_mss, mss);
    }
}
