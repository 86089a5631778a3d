//! Any bytes as every header: nothing panics, and what is understood is written the same way again.

use outlive::dhcp::message;
use outlive::wire::{arp, ethernet, icmpv4, icmpv6, ipv4, ipv6, ipv6_extension, ndp, tcp, udp};

/// Runs one input.
pub fn run(bytes: &[u8]) {
    link(bytes);
    internet(bytes);
    ipv6(bytes);
    transport(bytes);
}

fn link(bytes: &[u8]) {
    if let Ok(header) = ethernet::parse(bytes) {
        let mut again = vec![0; header.len()];
        header.emit(&mut again);
        assert_eq!(ethernet::parse(&again).map(|it| it.len()), Ok(header.len()));
    }
    if let Ok(packet) = arp::parse(bytes) {
        let mut again = [0; arp::LEN];
        packet.emit(&mut again);
        assert_eq!(arp::parse(&again), Ok(packet));
    }
}

fn internet(bytes: &[u8]) {
    if let Ok(header) = ipv4::parse(bytes) {
        let (header_len, total) = (
            usize::from(header.header_len),
            usize::from(header.total_len),
        );
        assert!(header_len <= total && total <= bytes.len());
        assert!(header_len >= 20 && header_len.is_multiple_of(4));
    }
    let _ = ipv4::parse_quoted(bytes);
    for (_, range) in ipv4::options(bytes).flatten() {
        assert!(range.len() >= 2 && range.end <= bytes.len());
    }
    if let Ok(message) = icmpv4::parse(bytes) {
        let mut again = [0; icmpv4::HEADER_LEN];
        message.emit(&mut again);
        assert_eq!(icmpv4::parse(&again), Ok(message));
    }
}

fn ipv6(bytes: &[u8]) {
    if let Ok(header) = ipv6::parse(bytes) {
        assert!(ipv6::HEADER_LEN + usize::from(header.payload_len) <= bytes.len());
    }
    let _ = ipv6_extension::parse(bytes);
    let _ = ipv6_extension::routing(bytes);
    // Each option takes something: this ends.
    let _ = ipv6_extension::options(bytes)
        .take_while(Result::is_ok)
        .count();
    let _ = ipv6_extension::parse_fragment(bytes);
    let _ = icmpv6::parse(bytes);
    if let Ok((message, options)) = ndp::parse(bytes) {
        let mut again = vec![0; message.emitted_len(&options)];
        message.emit(&options, &mut again);
        assert_eq!(ndp::parse(&again), Ok((message, options)));
    }
}

fn transport(bytes: &[u8]) {
    let _ = udp::parse(bytes);
    if let Ok(reply) = message::parse(bytes) {
        let routes = reply.classless_routes().unwrap_or_default();
        assert!(routes.iter().all(|(_, prefix_len, _)| *prefix_len <= 32));
        assert!(reply.addresses(message::option::ROUTER).count() * 4 <= bytes.len());
    }
    let _ = tcp::parse_quoted(bytes);
    if let Ok(header) = tcp::parse(bytes) {
        assert!(usize::from(header.header_len) <= bytes.len());
        let mut again = vec![0; header.emitted_len()];
        header.emit(&mut again);
        let parsed = tcp::parse(&again).expect("we understand ourselves");
        // SACK blocks that do not fit beside the other options are left out.
        let fits = parsed.options.sack.len();
        assert_eq!(parsed.options.sack[..], header.options.sack[..fits]);
        assert_eq!(parsed.options.timestamps, header.options.timestamps);
        assert_eq!(
            (parsed.seq, parsed.ack, parsed.flags),
            (header.seq, header.ack, header.flags)
        );
    }
    for syn in [false, true] {
        let options = tcp::Options::parse(bytes, syn);
        let mut again = vec![0; tcp::options_len(&options)];
        options.emit(&mut again);
        assert!(again.len() <= 40 && again.len().is_multiple_of(4));
    }
}
