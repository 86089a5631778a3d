//! One long response, compared with the file that is served while it arrives, and kept nowhere.

use std::fs::File;
use std::io::Read;
use std::path::Path;
use std::process::{Child, ChildStdout, Stdio};
use std::sync::{Arc, Condvar, Mutex};
use std::thread::{self, JoinHandle};

use super::command::{describe, require};
use super::sandbox::Netns;
use super::topology::SERVER;

/// Bytes compared at a time.
const BLOCK: usize = 1 << 20;
/// Longest life of a curl, so that a stuck test ends.
const LIFE_S: u32 = 1800;

/// How far a reader is, and how far it may go.
#[derive(Default)]
struct Progress {
    at: u64,
    allowed: u64,
    over: bool,
}

/// A curl that downloads a file, and what reads from it.
pub struct Reader {
    child: Child,
    line: String,
    thread: JoinHandle<Result<u64, String>>,
    progress: Arc<(Mutex<Progress>, Condvar)>,
}

impl Reader {
    /// Downloads `file`, which the server serves. Nothing of it is read yet.
    ///
    /// # Panics
    /// When it cannot be started.
    #[must_use]
    #[expect(
        clippy::disallowed_methods,
        reason = "curl must not wait for what else the test does"
    )]
    pub fn start(netns: &Netns<'_>, file: &Path) -> Self {
        require(&["curl"]);
        let mut command = netns.command(LIFE_S, "curl");
        let name = file.file_name().unwrap_or_default().to_string_lossy();
        command
            .args(["-sS", "--fail", "--no-buffer"])
            .arg(format!("http://{SERVER}/{name}"))
            .stdin(Stdio::null())
            .stdout(Stdio::piped());
        let line = describe(&command);
        let mut child = command.spawn().expect("nsenter can be started");
        let stdout = child.stdout.take().expect("stdout is piped");
        let file = File::open(file).expect("it was made");
        let progress = Arc::default();
        let shared = Arc::clone(&progress);
        let thread = thread::spawn(move || {
            let result = compare(stdout, file, &shared);
            shared.0.lock().expect("nobody panics with it").over = true;
            result
        });
        Self {
            child,
            line,
            thread,
            progress,
        }
    }

    /// Lets the first `bytes` pass.
    ///
    /// # Panics
    /// When its thread did.
    pub fn allow(&self, bytes: u64) {
        let (progress, more) = &*self.progress;
        progress.lock().expect("nobody panics with it").allowed = bytes;
        more.notify_all();
    }

    /// Whether it has read the first `bytes`, or is over.
    ///
    /// # Panics
    /// When its thread did.
    #[must_use]
    pub fn has(&self, bytes: u64) -> bool {
        let progress = self.progress.0.lock().expect("nobody panics with it");
        progress.at >= bytes || progress.over
    }

    /// Lets the rest pass and waits for the end: how many bytes came, every one of them as it is in the file.
    ///
    /// # Errors
    /// What is wrong.
    ///
    /// # Panics
    /// When its thread did.
    pub fn finish(mut self) -> Result<u64, String> {
        self.allow(u64::MAX);
        let bytes = self.thread.join().expect("it does not panic")?;
        let status = self.child.wait().map_err(|error| error.to_string())?;
        if status.success() {
            Ok(bytes)
        } else {
            Err(format!("{} ended with {status} at {bytes}", self.line))
        }
    }
}

fn compare(
    mut from: ChildStdout,
    mut file: File,
    progress: &(Mutex<Progress>, Condvar),
) -> Result<u64, String> {
    let (mut got, mut right) = (vec![0; BLOCK], vec![0; BLOCK]);
    let mut at = 0;
    loop {
        let room = {
            let waiting = progress.0.lock().expect("nobody panics with it");
            let waits = |it: &mut Progress| it.allowed <= at;
            let may = progress.1.wait_while(waiting, waits);
            may.expect("nobody panics with it").allowed - at
        };
        let most = usize::try_from(room).map_or(BLOCK, |room| room.min(BLOCK));
        let len = from
            .read(&mut got[..most])
            .map_err(|error| error.to_string())?;
        if len == 0 {
            return Ok(at);
        }
        let same = file.read_exact(&mut right[..len]).is_ok() && got[..len] == right[..len];
        if !same {
            return Err(format!("what came is not the file, after {at} bytes"));
        }
        at += len as u64;
        progress.0.lock().expect("nobody panics with it").at = at;
    }
}
