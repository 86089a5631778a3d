//! Recording what passes the client's interface, and asking tshark what is wrong with it.

use std::path::PathBuf;
use std::process::{Child, Command};

use super::command::{Finished, require};
use super::sandbox::Netns;

/// A running recorder.
pub struct Capture<'a> {
    netns: Netns<'a>,
    file: PathBuf,
    child: Child,
}

/// What tshark finds in a capture, in numbers of frames.
#[derive(Debug, PartialEq, Eq)]
pub struct Findings {
    /// TCP segments in all.
    pub segments: usize,
    /// Frames whose IPv4, TCP or UDP checksum is wrong.
    pub bad_checksums: usize,
    /// Segments with RST.
    pub resets: usize,
    /// Segments sent again, for whatever reason.
    pub retransmissions: usize,
}

impl<'a> Capture<'a> {
    /// Starts to record `interface`.
    ///
    /// # Panics
    /// When the recorder cannot be started.
    #[must_use]
    pub fn start(netns: Netns<'a>, interface: &str) -> Self {
        require(&["dumpcap", "tshark"]);
        let file = netns.folder().join("capture.pcapng");
        let mut command = netns.command(600, "bash");
        command
            .args(["-c", "echo $$ > \"$0\"; exec \"$@\""])
            .arg(netns.folder().join("capture.pid"))
            .args(["dumpcap", "-q", "-i", interface, "-B", "256", "-w"])
            .arg(&file)
            .stderr(std::process::Stdio::null());
        let child = command.spawn().expect("nsenter can be started");
        let file_is_there = format!(
            "for _ in $(seq 100); do [ -s {0} ] && exit; sleep 0.05; done; exit 1",
            file.display()
        );
        let _ = netns.shell(&file_is_there);
        Self { netns, file, child }
    }

    /// Ends the recording and reads it. Checksums are judged only where no device completes them later,
    /// that is, without offloads.
    ///
    /// # Panics
    /// When tshark fails.
    pub fn findings(mut self, check_checksums: bool) -> Findings {
        // What the last frames left in the recorder's buffer is written within its second.
        let pid_file = self.netns.folder().join("capture.pid");
        let stop = format!("sleep 1.2; kill -INT $(cat {})", pid_file.display());
        let _ = self.netns.shell(&stop);
        let _ = self.child.wait();
        let bad = "ip.checksum.status == 0 || tcp.checksum.status == 0 || udp.checksum.status == 0";
        Findings {
            segments: self.count("tcp"),
            bad_checksums: if check_checksums { self.count(bad) } else { 0 },
            resets: self.count("tcp.flags.reset == 1"),
            retransmissions: self.count("tcp.analysis.retransmission"),
        }
    }

    fn count(&self, filter: &str) -> usize {
        let mut tshark: Command = self.netns.command(300, "tshark");
        tshark
            .args(["-o", "ip.check_checksum:TRUE"])
            .args(["-o", "tcp.check_checksum:TRUE"])
            .args(["-o", "udp.check_checksum:TRUE"])
            .args(["-n", "-T", "fields", "-e", "frame.number"])
            .args(["-Y", filter, "-r"])
            .arg(&self.file);
        Finished::of(tshark).success().text().lines().count()
    }
}
