//! Running a program to its end within a time limit, and saying clearly what went wrong.

use std::process::{Command, ExitStatus, Output};

/// What a program left behind.
pub struct Finished {
    /// The command line, for messages.
    pub line: String,
    /// How it ended.
    pub status: ExitStatus,
    /// All that it printed.
    pub stdout: Vec<u8>,
    /// All that it complained about.
    pub stderr: String,
}

impl Finished {
    /// Runs `command` to its end.
    ///
    /// # Panics
    /// When it cannot be started.
    #[must_use]
    pub fn of(mut command: Command) -> Self {
        let line = describe(&command);
        match command.output() {
            Ok(output) => Self::from_output(line, output),
            Err(error) => panic!("cannot start {line}: {error}"),
        }
    }

    fn from_output(line: String, output: Output) -> Self {
        Self {
            line,
            status: output.status,
            stdout: output.stdout,
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }

    /// Insists on success.
    ///
    /// # Panics
    /// When the program failed or ran out of time.
    #[must_use]
    pub fn success(self) -> Self {
        let hint = match self.status.code() {
            Some(124 | 137) => " (out of time)",
            _ => "",
        };
        assert!(
            self.status.success(),
            "{} ended with {}{hint}\n{}\n{}",
            self.line,
            self.status,
            self.text(),
            self.stderr
        );
        self
    }

    /// What it printed, as text without the last line end.
    #[must_use]
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.stdout).trim_end().to_owned()
    }
}

/// Insists that the tools are installed.
///
/// # Panics
/// When one is missing.
pub fn require(tools: &[&str]) {
    let path = std::env::var("PATH").unwrap_or_default() + ":/usr/sbin:/sbin";
    let found = |tool: &str| std::env::split_paths(&path).any(|folder| folder.join(tool).exists());
    for tool in tools {
        assert!(
            found(tool),
            "{tool} is missing; run scripts/test, which installs it"
        );
    }
}

/// The command line as one would type it, nearly.
pub(super) fn describe(command: &Command) -> String {
    let words = std::iter::once(command.get_program()).chain(command.get_args());
    words
        .map(|word| word.to_string_lossy())
        .collect::<Vec<_>>()
        .join(" ")
}
