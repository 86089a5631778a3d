//! Recording what passes the client's interface, and asking tshark what is wrong with it.

use std::path::PathBuf;
use std::process::{Child, Command};

use super::command::{Finished, require};
use super::sandbox::Netns;
use super::topology::{CLIENT, CLIENT6, SERVER};

/// Bytes of a frame that are kept where only headers are looked at.
const HEADERS: &str = "128";

/// A running recorder.
pub struct Capture<'a> {
    netns: Netns<'a>,
    file: PathBuf,
    pid_file: PathBuf,
    child: Child,
}

/// What tshark finds in a capture, in numbers of frames.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Findings {
    /// TCP segments in all.
    pub segments: usize,
    /// Frames whose IPv4, TCP or UDP checksum is wrong.
    pub bad_checksums: usize,
    /// Segments with RST.
    pub resets: usize,
    /// Segments that the server sent again, for whatever reason.
    pub server_retransmissions: usize,
    /// Segments that the client sent again, likewise.
    pub client_retransmissions: usize,
}

impl<'a> Capture<'a> {
    /// Starts to record `interface`.
    ///
    /// # Panics
    /// When the recorder cannot be started.
    #[must_use]
    pub fn start(netns: Netns<'a>, interface: &str) -> Self {
        Self::with(netns, &["-i", interface])
    }

    /// Starts to record the headers of what passes `interface` and `filter`, in the language of pcap-filter(7).
    ///
    /// # Panics
    /// When the recorder cannot be started.
    #[must_use]
    pub fn filtered(netns: Netns<'a>, interface: &str, filter: &str) -> Self {
        Self::with(netns, &["-i", interface, "-s", HEADERS, "-f", filter])
    }

    fn with(netns: Netns<'a>, options: &[&str]) -> Self {
        require(&["dumpcap", "tshark"]);
        let name = format!("capture-{}", super::count());
        let file = netns.folder().join(format!("{name}.pcapng"));
        let pid_file = netns.folder().join(format!("{name}.pid"));
        let mut command = netns.command(600, "bash");
        command
            .args(["-c", "echo $$ > \"$0\"; exec \"$@\""])
            .arg(&pid_file)
            .args(["dumpcap", "-q", "-B", "256"])
            .args(options)
            .arg("-w")
            .arg(&file)
            .stderr(std::process::Stdio::null());
        let child = command.spawn().expect("nsenter can be started");
        let file_is_there = format!(
            "for _ in $(seq 1000); do [ -s {0} ] && exit; sleep 0.05; done; exit 1",
            file.display()
        );
        let _ = netns.shell(&file_is_there);
        Self {
            netns,
            file,
            pid_file,
            child,
        }
    }

    /// Ends the recording and reads it. Checksums are judged only where no device completes them later,
    /// that is, without offloads.
    ///
    /// # Panics
    /// When tshark fails.
    pub fn findings(self, check_checksums: bool) -> Findings {
        let frames = self.read(&FIELDS);
        let count = |wanted: &dyn Fn(&Frame<'_>) -> bool| {
            frames.lines().filter(|line| wanted(&Frame(line))).count()
        };
        Findings {
            segments: count(&|frame| frame.has(TCP)),
            bad_checksums: count(&|frame| check_checksums && frame.has_bad_checksum()),
            resets: count(&|frame| frame.says(RESET)),
            server_retransmissions: count(&|frame| {
                frame.has(RETRANSMISSION) && frame.is_from(SERVER)
            }),
            client_retransmissions: count(&|frame| {
                frame.has(RETRANSMISSION) && frame.is_from(CLIENT)
            }),
        }
    }

    /// Ends the recording and reads it: one line a frame with these fields of it, separated by tabs.
    ///
    /// # Panics
    /// When tshark fails.
    pub fn read(mut self, fields: &[&str]) -> String {
        // What the last frames left in the recorder's buffer is written within its second; on a busy machine it may be
        // behind by more.
        let stop = format!(
            "size=; until [ \"$size\" = \"$(stat -c %s {0})\" ]; do size=$(stat -c %s {0}); sleep 1.2; done
             kill -INT $(cat {1})",
            self.file.display(),
            self.pid_file.display()
        );
        let _ = self.netns.shell(&stop);
        let _ = self.child.wait();
        self.fields(fields)
    }

    /// One pass over the recording, as tshark is slow.
    fn fields(&self, fields: &[&str]) -> String {
        let mut tshark: Command = self.netns.command(300, "tshark");
        for protocol in ["ip", "tcp", "udp"] {
            tshark.args(["-o", &format!("{protocol}.check_checksum:TRUE")]);
        }
        // Of TCP only the segments count here; putting the stream together takes most of the time.
        tshark.args([
            "-o",
            "tcp.desegment_tcp_streams:FALSE",
            "--disable-protocol",
            "http",
        ]);
        tshark.args(["-n", "-T", "fields"]);
        for field in fields {
            tshark.args(["-e", field]);
        }
        tshark.arg("-r").arg(&self.file);
        String::from_utf8_lossy(&Finished::of(tshark).success().stdout).into_owned()
    }
}

/// What is asked about every frame, and where in the line the answer stands.
const FIELDS: [&str; 10] = [
    "tcp.len",
    "tcp.flags.reset",
    "tcp.analysis.retransmission",
    "ip.checksum.status",
    "tcp.checksum.status",
    "udp.checksum.status",
    "icmpv6.checksum.status",
    "ip.src",
    "ipv6.src",
    "tcp.checksum.ffff",
];
const TCP: usize = 0;
const RESET: usize = 1;
const RETRANSMISSION: usize = 2;
const SOURCES: std::ops::Range<usize> = 7..9;
const CHECKSUMS: std::ops::Range<usize> = 3..7;
/// The checksum of TCP is 0xffff where it should be zero, which is the same number (RFC 1624 §3). tshark takes it for a bad one, and
/// Linux writes it whenever it computes the checksum of a whole segment: every 65,536th.
const OTHER_ZERO: usize = 9;

/// tshark's line about a frame.
struct Frame<'a>(&'a str);

impl Frame<'_> {
    fn field(&self, index: usize) -> &str {
        self.0.split('\t').nth(index).unwrap_or_default()
    }

    /// The frame has such a field, whatever it says.
    fn has(&self, index: usize) -> bool {
        !self.field(index).is_empty()
    }

    fn is_from(&self, address: &str) -> bool {
        SOURCES
            .into_iter()
            .any(|index| self.field(index).split(',').next() == Some(address))
    }

    /// A flag is set; versions of tshark differ in how they say so.
    fn says(&self, index: usize) -> bool {
        matches!(self.field(index), "1" | "True")
    }

    /// Of several in one frame (an ICMP error quotes a header) each is judged.
    fn has_bad_checksum(&self) -> bool {
        let bad = |status: &str| matches!(status, "0" | "Bad");
        let of_client = self.is_from(CLIENT) || self.is_from(CLIENT6);
        CHECKSUMS
            .into_iter()
            .any(|index| self.field(index).split(',').any(bad))
            && !(of_client && self.has(OTHER_ZERO))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_linux_may_write_zero_as_its_complement() {
        let bad = |line: &str| Frame(line).has_bad_checksum();
        assert!(!bad("0\t0\t\t1\t1\t\t\t10.77.0.1\t\t"));
        for client in ["10.77.0.1\t", "\tfd77::1"] {
            assert!(!bad(&format!("0\t0\t\t1\t0\t\t\t{client}\t1")));
            assert!(bad(&format!("0\t0\t\t1\t0\t\t\t{client}\t")));
        }
        for server in ["10.77.0.2\t", "\tfd77::2"] {
            assert!(bad(&format!("0\t0\t\t1\t0\t\t\t{server}\t1")));
        }
    }
}
