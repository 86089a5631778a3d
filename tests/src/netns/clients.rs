//! Many connections at once, of the kernel's TCP or of another, which go as far as the test says (`src/bin/clients`).

use std::fs::File;
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Stdio};

use super::command::describe;
use super::sandbox::Netns;
use super::topology::SERVER;

/// Longest life of a client, so that a stuck test ends.
const LIFE_S: u32 = 600;

/// A running program of many connections.
pub struct Clients {
    child: Child,
    stdin: ChildStdin,
    stdout: BufReader<ChildStdout>,
    stderr: PathBuf,
    line: String,
}

impl Clients {
    /// Connects from `netns`: so many downloads and uploads of `file`, which the server serves too.
    /// Nothing of it passes yet. `program` is `env!("CARGO_BIN_EXE_clients")`, further `options` are its own.
    ///
    /// # Panics
    /// When it cannot be started.
    #[must_use]
    pub fn start(
        netns: &Netns<'_>,
        program: &str,
        file: &Path,
        [downloads, uploads]: [usize; 2],
        options: &[&str],
    ) -> Self {
        let name = format!("clients-{}.stderr", super::count());
        let stderr = netns.folder().join(name);
        let mut command = netns.command(LIFE_S, program);
        command
            .arg(format!("{SERVER}:80"))
            .arg(file)
            .args(["--downloads", &downloads.to_string()])
            .args(["--uploads", &uploads.to_string()])
            .args(options)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(File::create(&stderr).expect("a file can be made"));
        let line = describe(&command);
        let mut child = command.spawn().expect("nsenter can be started");
        Self {
            stdin: child.stdin.take().expect("stdin is piped"),
            stdout: BufReader::new(child.stdout.take().expect("stdout is piped")),
            child,
            stderr,
            line,
        }
    }

    /// Lets the first `bytes` of each body pass.
    pub fn allow(&mut self, bytes: u64) {
        // If it has ended, whoever waits for it hears why.
        let _ = writeln!(self.stdin, "{bytes}");
    }

    /// Waits until half of what is newly allowed has passed.
    ///
    /// # Errors
    /// What the connections complained about.
    pub fn half(&mut self) -> Result<(), String> {
        self.wait("half").map(|_| ())
    }

    /// Waits until every connection is as far as it may go.
    ///
    /// # Errors
    /// What the connections complained about.
    pub fn all(&mut self) -> Result<(), String> {
        self.wait("all").map(|_| ())
    }

    fn wait(&mut self, word: &str) -> Result<String, String> {
        let mut line = String::new();
        while self.stdout.read_line(&mut line).unwrap_or(0) > 0 {
            if line.starts_with(word) {
                return Ok(line);
            }
            line.clear();
        }
        let complaints = std::fs::read_to_string(&self.stderr).unwrap_or_default();
        Err(format!(
            "{} ended without \"{word}\"\n{complaints}",
            self.line
        ))
    }

    /// Lets everything pass and waits for the end of each connection: how many were whole.
    ///
    /// # Errors
    /// What the connections complained about.
    pub fn finish(mut self) -> Result<usize, String> {
        self.allow(u64::MAX >> 32);
        let line = self.wait("whole")?;
        let complaints = std::fs::read_to_string(&self.stderr).unwrap_or_default();
        let status = self.child.wait().map_err(|error| error.to_string())?;
        let whole = line.trim_start_matches("whole").trim().parse();
        match whole {
            Ok(whole) if status.success() => Ok(whole),
            _ => Err(format!("{} ended with {status}\n{complaints}", self.line)),
        }
    }
}
