//! What sends by each algorithm of congestion control, against Linux as the receiver, which negotiates ECN (RFC 3168), over a link
//! that loses and marks: the right bytes, and every mark answered. Nothing here is about time.

use outlive_tests::netns::{Capture, Link, Media, SERVER, Sandbox, require};
use test_case::test_case;

const BYTES: u64 = 1_000_000;

/// What is asked about every frame.
const FIELDS: [&str; 6] = [
    "ip.src",
    "ip.dsfield.ecn",
    "tcp.flags.syn",
    "tcp.flags.ece",
    "tcp.flags.cwr",
    "tcp.len",
];

/// One frame of a connection.
struct Frame {
    from_server: bool,
    ecn: u8,
    syn: bool,
    ece: bool,
    cwr: bool,
    len: usize,
}

impl Frame {
    fn read(line: &str) -> Option<Self> {
        let fields: Vec<&str> = line.split('\t').collect();
        let &[source, ecn, syn, ece, cwr, len] = &fields[..] else {
            return None;
        };
        // Versions of tshark differ in how they say that a flag is set.
        let set = |flag: &str| matches!(flag, "1" | "True");
        Some(Self {
            from_server: source == SERVER,
            ecn: ecn.parse().ok()?,
            syn: set(syn),
            ece: set(ece),
            cwr: set(cwr),
            len: len.parse().ok()?,
        })
    }
}

#[test_case("cubic")]
#[test_case("new-reno")]
#[test_case("bbr")]
fn linux_receives_and_marks_are_answered(algorithm: &str) {
    require(&["curl", "nft", "sha256sum"]);
    let sandbox = Sandbox::new();
    let impairment = ["--loss", "0.5%", "--delay", "5ms"];
    let (link, _relay) = Link::impaired(&sandbox, 1500, &impairment);
    let media = Media::new(&sandbox);
    let file = media.random_file("random.bin", BYTES);
    let _ = link.client.shell(
        "sysctl -qw net.ipv4.tcp_ecn=1
         nft add table ip marks
         nft 'add chain ip marks in { type filter hook prerouting priority mangle; }'
         nft add rule ip marks in ip ecn ect0 numgen inc mod 50 0 ip ecn set ce",
    );
    let server = link.serve_video(&media, &["--congestion", algorithm]);
    let capture = Capture::start(link.client.clone(), link.client_interface);

    let sum = link
        .client
        .shell(&format!("sha256sum < {}", file.display()));
    let get = format!("curl -sS --max-time 50 http://{SERVER}/random.bin | sha256sum");
    assert_eq!(link.client.shell(&get), sum);

    let text = capture.read(&FIELDS);
    let _ = server.stop();
    let frames: Vec<Frame> = text.lines().filter_map(Frame::read).collect();
    let any = |wanted: &dyn Fn(&Frame) -> bool| frames.iter().any(wanted);
    assert!(
        any(&|it| it.syn && !it.from_server && it.ece && it.cwr),
        "asked"
    );
    assert!(
        any(&|it| it.syn && it.from_server && it.ece && !it.cwr),
        "agreed"
    );
    let data = |it: &Frame| it.from_server && !it.syn && it.len > 0;
    // What is sent again is not ECN-capable (RFC 3168 §6.1.5).
    assert!(any(&|it| data(it) && it.ecn == 2), "ECT(0)");
    assert!(
        any(&|it| !it.from_server && !it.syn && it.ece),
        "Linux saw marks"
    );
    assert!(
        any(&|it| data(it) && it.cwr),
        "and is told that they were heard"
    );
}
