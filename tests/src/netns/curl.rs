//! curl, as anybody runs it: one process, several transfers, each on a connection of its own.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};

use super::command::{describe, require};
use super::sandbox::Netns;
use super::topology::SERVER;

/// A running curl.
pub struct Curl<'a> {
    netns: Netns<'a>,
    child: Child,
    pid_file: PathBuf,
    stderr: PathBuf,
    line: String,
    downloads: Vec<PathBuf>,
    answers: Vec<PathBuf>,
}

impl<'a> Curl<'a> {
    /// So many downloads and uploads of `file`, which the server serves too, at most at `rate` each (as
    /// curl's `--limit-rate`).
    ///
    /// # Panics
    /// When it cannot be started.
    #[must_use]
    pub fn start(
        netns: &Netns<'a>,
        file: &Path,
        [downloads, uploads]: [usize; 2],
        rate: &str,
    ) -> Self {
        require(&["curl", "sha256sum"]);
        let name = format!("curl-{}", super::count());
        let place = |what: &str| netns.folder().join(format!("{name}-{what}"));
        let files =
            |count, what| -> Vec<_> { (0..count).map(|n| place(&format!("{what}-{n}"))).collect() };
        let (received, answers) = (files(downloads, "received"), files(uploads, "answer"));
        let served = file.file_name().unwrap_or_default().to_string_lossy();
        let stored = |n| format!("http://{SERVER}/sink/{name}-{n}");
        let mut command = netns.command(300, "bash");
        let (pid_file, stderr) = (place("pid"), place("stderr"));
        command
            .args(["-c", "echo $$ > \"$0\"; exec \"$@\""])
            .arg(&pid_file)
            .args(["curl", "-sS", "--fail", "--limit-rate", rate])
            .args([
                "--parallel",
                "--parallel-immediate",
                "--parallel-max",
                "300",
            ])
            .stdin(Stdio::null())
            .stderr(File::create(&stderr).expect("a file can be made"));
        // Uploads first: curl sends the first file to the first URL, wherever the words stand.
        for (n, answer) in answers.iter().enumerate() {
            command.arg("-T").arg(file);
            command.arg("-o").arg(answer).arg(stored(n));
        }
        for to in &received {
            let url = format!("http://{SERVER}/{served}");
            command.arg("-o").arg(to).arg(url);
        }
        let line = describe(&command);
        let child = command.spawn().expect("nsenter can be started");
        Self {
            netns: netns.clone(),
            child,
            pid_file,
            stderr,
            line,
            downloads: received,
            answers,
        }
    }

    /// Whether every download has more than `bytes`.
    #[must_use]
    pub fn has(&self, bytes: u64) -> bool {
        let has = |file: &PathBuf| file.metadata().is_ok_and(|it| it.len() > bytes);
        self.downloads.iter().all(has)
    }

    /// Sends it a signal: stopped, it reads nothing, and its windows close.
    pub fn signal(&self, signal: &str) {
        let pid_file = self.pid_file.display();
        self.netns
            .shell(&format!("kill -{signal} $(cat {pid_file})"));
    }

    /// Waits for its end: every download is `file`, and the server had the same of every upload.
    ///
    /// # Errors
    /// What is wrong.
    pub fn finish(mut self, file: &Path) -> Result<(), String> {
        let status = self.child.wait().map_err(|error| error.to_string())?;
        let complaints = std::fs::read_to_string(&self.stderr).unwrap_or_default();
        if !status.success() {
            return Err(format!("{} ended with {status}\n{complaints}", self.line));
        }
        let sum = |file: &Path| {
            let sum = self.netns.shell(&format!("sha256sum < {}", file.display()));
            sum.split(' ').next().unwrap_or_default().to_owned()
        };
        let right = sum(file);
        for received in &self.downloads {
            if sum(received) != right {
                return Err(format!("{} is not what was served", received.display()));
            }
            let _ = std::fs::remove_file(received);
        }
        for answer in &self.answers {
            let text = std::fs::read_to_string(answer).unwrap_or_default();
            if !text.contains(&right) {
                return Err(format!("an upload was answered with \"{text}\""));
            }
        }
        Ok(())
    }
}
