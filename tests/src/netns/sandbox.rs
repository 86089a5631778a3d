//! A sandbox of namespaces, held open by one process and removed by the kernel with it.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use tempfile::TempDir;

use super::command::{Finished, require};

/// Says its process number as seen from outside, prepares the namespaces, and waits for its standard
/// input to close: that happens when the test drops the sandbox, panics, or is killed.
const HOLDER: &str = r#"
set -e
read -r pid _ < /proc/self/stat
mount -t proc proc /proc 2>/dev/null || true
mount -t tmpfs tmpfs /run
ip link set lo up
echo "$pid"
read -r _ || true
"#;

/// Namespaces for one test, and a folder for its files.
pub struct Sandbox {
    holder: Child,
    pid: String,
    folder: TempDir,
}

impl Sandbox {
    /// Makes the namespaces: as root directly, otherwise inside a user namespace.
    ///
    /// # Panics
    /// When namespaces are not allowed here.
    #[must_use]
    pub fn new() -> Self {
        require(&["unshare", "nsenter", "ip", "mount", "timeout", "bash"]);
        let mut command = Command::new("unshare");
        if !is_root() {
            command.args(["--user", "--map-root-user"]);
        }
        command
            .args(["--net", "--mount", "--pid", "--fork", "--kill-child"])
            .args(["--propagation", "private", "bash", "-c", HOLDER])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped());
        let mut holder = command.spawn().expect("unshare can be started");
        let mut pid = String::new();
        let stdout = holder.stdout.take().expect("stdout is piped");
        let read = BufReader::new(stdout).read_line(&mut pid);
        assert!(
            read.is_ok() && !pid.trim().is_empty(),
            "namespaces are not allowed here; run scripts/test, which says what to do"
        );
        Self {
            holder,
            pid: pid.trim().to_owned(),
            folder: TempDir::new().expect("a folder can be made"),
        }
    }

    /// A folder for the files of this test, removed with the sandbox.
    #[must_use]
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// A command that runs `program` in the sandbox's first network namespace for `limit_s` seconds at most.
    #[must_use]
    pub fn command(&self, limit_s: u32, program: impl AsRef<std::ffi::OsStr>) -> Command {
        let mut command = self.enter();
        command.args(["timeout", "--kill-after=5"]);
        command.arg(limit_s.to_string()).arg(program);
        command
    }

    /// Makes a network namespace named `name` inside the sandbox, its loopback up.
    #[must_use]
    pub fn netns(&self, name: &str) -> Netns<'_> {
        self.shell(&format!("ip netns add {name}"));
        let netns = Netns {
            sandbox: self,
            name: Some(name.to_owned()),
        };
        netns.shell("ip link set lo up");
        netns
    }

    /// The first network namespace of the sandbox.
    #[must_use]
    pub const fn first_netns(&self) -> Netns<'_> {
        Netns {
            sandbox: self,
            name: None,
        }
    }

    /// Runs a line of shell in the first network namespace and returns what it printed.
    ///
    /// # Panics
    /// When it fails.
    pub fn shell(&self, line: &str) -> String {
        self.first_netns().shell(line)
    }

    fn enter(&self) -> Command {
        let mut command = Command::new("nsenter");
        if !is_root() {
            command.args(["--user", "--preserve-credentials"]);
        }
        command
            .args(["--target", &self.pid, "--net", "--mount", "--pid"])
            .env("PATH", path())
            .arg("--");
        command
    }
}

impl Default for Sandbox {
    fn default() -> Self {
        Self::new()
    }
}

impl Drop for Sandbox {
    fn drop(&mut self) {
        // The holder ends with its input; the kernel first ends every process of its namespace.
        drop(self.holder.stdin.take());
        let _ = self.holder.wait();
    }
}

/// A network namespace of a sandbox.
#[derive(Clone)]
pub struct Netns<'a> {
    sandbox: &'a Sandbox,
    name: Option<String>,
}

impl Netns<'_> {
    /// A command that runs `program` here for `limit_s` seconds at most.
    #[must_use]
    pub fn command(&self, limit_s: u32, program: impl AsRef<std::ffi::OsStr>) -> Command {
        let Some(name) = &self.name else {
            return self.sandbox.command(limit_s, program);
        };
        let mut command = self.sandbox.command(limit_s, "nsenter");
        command.arg(format!("--net=/run/netns/{name}"));
        command.arg("--").arg(program);
        command
    }

    /// A folder for the files of this test, removed with the sandbox.
    #[must_use]
    pub fn folder(&self) -> &Path {
        self.sandbox.folder()
    }

    /// Runs a line of shell here, for a minute at most, and returns what it printed.
    ///
    /// # Panics
    /// When it fails.
    pub fn shell(&self, line: &str) -> String {
        let mut command = self.command(60, "bash");
        command.args(["-e", "-o", "pipefail", "-c", line]);
        Finished::of(command).success().text()
    }
}

/// Whether this is root of the machine (or of the container).
pub(super) fn is_root() -> bool {
    use std::os::unix::fs::MetadataExt;
    std::fs::metadata("/proc/self").is_ok_and(|own| own.uid() == 0)
}

fn path() -> String {
    std::env::var("PATH").unwrap_or_default() + ":/usr/sbin:/sbin"
}
