//! The `outlive` command, as a person starts it.

use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::sync::OnceLock;

use super::command::describe;
use super::sandbox::Netns;

/// Longest life of a server under test, so that a stuck test ends.
const LIFE_S: u32 = 600;
/// Between two looks at the others while a server stands still.
const MEANWHILE_S: f64 = 5.0;

/// The program: `$OUTLIVE` if set, otherwise built by cargo as it is released.
///
/// # Panics
/// When it cannot be built.
pub fn outlive_command() -> &'static Path {
    static PROGRAM: OnceLock<PathBuf> = OnceLock::new();
    PROGRAM.get_or_init(|| match std::env::var_os("OUTLIVE") {
        Some(program) => program.into(),
        None => build(),
    })
}

fn build() -> PathBuf {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let status = Command::new(cargo)
        .args(["build", "--quiet", "--release", "--package", "outlive-cli"])
        .current_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/.."))
        .status()
        .expect("cargo can be started");
    assert!(status.success(), "the outlive command does not build");
    // A test program lies in target/PROFILE/deps.
    let test_program = std::env::current_exe().expect("this program has a path");
    let target = test_program.ancestors().nth(3).expect("target");
    target.join("release/outlive")
}

/// A running server. Dropping it leaves its end to the sandbox.
pub struct Server<'a> {
    netns: Netns<'a>,
    child: Child,
    stdout: BufReader<ChildStdout>,
    stderr: PathBuf,
    pid_file: PathBuf,
    line: String,
}

impl<'a> Server<'a> {
    /// Starts `outlive` with `arguments` in `netns` and waits until it prints a line that begins with
    /// `ready`.
    ///
    /// # Panics
    /// When it ends before that.
    #[must_use]
    pub fn start(netns: Netns<'a>, name: &str, ready: &str, arguments: &[&str]) -> Self {
        let folder = netns.folder();
        let (stderr, pid_file) = (
            folder.join(format!("{name}.stderr")),
            folder.join(format!("{name}.pid")),
        );
        let mut command = netns.command(LIFE_S, "bash");
        command
            .args(["-c", "echo $$ > \"$0\"; exec \"$@\""])
            .arg(&pid_file)
            .arg(outlive_command())
            .args(arguments)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(File::create(&stderr).expect("a file can be made"));
        let line = describe(&command);
        let mut child = command.spawn().expect("nsenter can be started");
        let stdout = BufReader::new(child.stdout.take().expect("stdout is piped"));
        let mut server = Self {
            netns,
            child,
            stdout,
            stderr,
            pid_file,
            line,
        };
        server.wait_until(ready);
        server
    }

    fn wait_until(&mut self, ready: &str) {
        let mut seen = String::new();
        loop {
            let start = seen.len();
            let read = self.stdout.read_line(&mut seen).unwrap_or(0);
            if read > 0 && seen[start..].starts_with(ready) {
                return;
            }
            assert!(
                read > 0,
                "{} ended before it said \"{ready}\"\n{seen}\n{}",
                self.line,
                self.complaints()
            );
        }
    }

    /// What it has written to standard error so far.
    #[must_use]
    pub fn complaints(&self) -> String {
        std::fs::read_to_string(&self.stderr).unwrap_or_default()
    }

    /// Presses Ctrl-C, waits for the end, and returns what it printed since it was ready, both outputs.
    ///
    /// # Panics
    /// When it fails to end well.
    pub fn stop(mut self) -> String {
        self.netns
            .shell(&format!("kill -INT $(cat {})", self.pid_file.display()));
        let mut printed = String::new();
        let _ = self.stdout.read_to_string(&mut printed);
        let status = self.child.wait().expect("it is our child");
        printed += &self.complaints();
        assert!(
            status.success(),
            "{} ended with {status} after Ctrl-C\n{printed}",
            self.line
        );
        printed
    }

    /// Ends it by `kill -9`.
    ///
    /// # Panics
    /// When it does not run any more.
    pub fn kill(mut self) {
        self.signal("KILL");
        let _ = self.child.wait();
    }

    /// Waits until it has ended, for whatever reason.
    pub fn wait_for_end(mut self) {
        let _ = self.child.wait();
    }

    /// Sends it a signal.
    ///
    /// # Panics
    /// When it does not run any more.
    pub fn signal(&self, signal: &str) {
        let pid_file = self.pid_file.display();
        self.netns
            .shell(&format!("kill -{signal} $(cat {pid_file})"));
    }

    /// Stops it for so many seconds, in which `meanwhile` is called every five with those that are left;
    /// when it went on, in seconds of Unix time.
    ///
    /// # Panics
    /// When it does not run any more.
    #[must_use]
    pub fn pause(&self, seconds: f64, mut meanwhile: impl FnMut(f64)) -> f64 {
        let pid_file = self.pid_file.display();
        let (mut left, mut first) = (seconds, "kill -STOP $pid;");
        loop {
            let part = left.min(MEANWHILE_S);
            left -= part;
            let last = if left > 0.0 {
                ""
            } else {
                "date +%s.%N; kill -CONT $pid"
            };
            let line = format!("pid=$(cat {pid_file}); {first} sleep {part}; {last}");
            let text = self.netns.shell(&line);
            if left <= 0.0 {
                return text.trim().parse().expect("a time");
            }
            first = "";
            meanwhile(left);
        }
    }

    /// Its resident memory in kB.
    ///
    /// # Panics
    /// When it does not run any more.
    #[must_use]
    pub fn resident_kb(&self) -> u64 {
        let pid_file = self.pid_file.display();
        let line = format!("awk '/^VmRSS/ {{ print $2 }}' /proc/$(cat {pid_file})/status");
        self.netns.shell(&line).parse().expect("a number of kB")
    }
}

/// What a server that has ended says that it counted under that name: nothing is not mentioned.
#[must_use]
pub fn counted(summary: &str, name: &str) -> u64 {
    let line = summary
        .lines()
        .find(|line| line.split_whitespace().next() == Some(name));
    line.and_then(|line| line.split_whitespace().nth(1)?.parse().ok())
        .unwrap_or(0)
}
