//! The control socket of a running host: `outlive status` and `outlive handover` ask here.
//!
//! A Unix socket in the state folder, which only its owner can enter. A request is one line, the answer
//! is one line of JSON: `{"report": ...}`, `{"done": "..."}` or `{"refused": "..."}`.

#![allow(
    clippy::disallowed_methods,
    reason = "the shell: a thread that answers on a socket"
)]

use std::io::{self, BufRead, BufReader, Read, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::report::Report;

const NAME: &str = "control";
/// A request is a word.
const MOST_REQUEST_BYTES: u64 = 64;
const MOST_ANSWER_BYTES: u64 = 1 << 20;
/// A host that takes longer for its state stands still.
const STATUS_WITHIN: Duration = Duration::from_secs(2);
/// The same for a handover, which has its own limit.
const HANDOVER_WITHIN: Duration = Duration::from_secs(20);
/// Who connects and says nothing does not keep a thread for longer.
const PATIENCE: Duration = Duration::from_secs(2);
/// Requests at a time: `outlive status` is answered while a handover runs. Others wait in the socket's queue.
const MOST_AT_ONCE: usize = 4;

/// What can be asked of a running host.
pub trait Controlled: Send + Sync + 'static {
    /// How it is.
    fn report(&self) -> Report;

    /// Hands the service over to the other server.
    ///
    /// # Errors
    /// Why that cannot be done now, in one line.
    fn handover(&self) -> Result<String, String>;
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Answer {
    Report(Box<Report>),
    Done(String),
    Refused(String),
}

/// Why a request was not answered as wished. Each is one line that says what to do.
#[derive(Debug, Error)]
pub enum ControlError {
    /// Nobody listens.
    #[error(
        "no outlive process answers at {0} ({1}); is it running on this host, with the same configuration?"
    )]
    NotRunning(PathBuf, #[source] io::Error),
    /// It broke off.
    #[error("the outlive process at {0} gave no answer: {1}")]
    NoAnswer(PathBuf, #[source] io::Error),
    /// It says no.
    #[error("{0}")]
    Refused(String),
    /// The socket cannot be made.
    #[error("cannot listen for `outlive status` at {0}: {1}")]
    Listen(PathBuf, #[source] io::Error),
}

/// Where a host with this state folder listens.
fn socket_path(state_dir: &Path) -> PathBuf {
    state_dir.join(NAME)
}

/// Answers requests from now on, on threads of its own.
///
/// # Errors
/// When the socket cannot be made. The state folder's lock is held by the caller, so an old socket is nobody's.
pub fn listen(state_dir: &Path, host: Arc<dyn Controlled>) -> Result<(), ControlError> {
    let path = socket_path(state_dir);
    let _ = std::fs::remove_file(&path);
    let failed = |error| ControlError::Listen(path.clone(), error);
    let listener = UnixListener::bind(&path).map_err(failed)?;
    let serve = move |listener: UnixListener| {
        for stream in listener.incoming() {
            if let Err(error) = stream.and_then(|stream| answer(&stream, &*host)) {
                tracing::debug!(%error, "a request on the control socket broke off");
            }
        }
    };
    // Each of them accepts.
    for _ in 0..MOST_AT_ONCE {
        let (listener, serve) = (listener.try_clone().map_err(failed)?, serve.clone());
        let thread = std::thread::Builder::new().name("control".into());
        thread.spawn(move || serve(listener)).map_err(failed)?;
    }
    Ok(())
}

fn answer(stream: &UnixStream, host: &dyn Controlled) -> io::Result<()> {
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    let mut request = String::new();
    BufReader::new(stream.take(MOST_REQUEST_BYTES)).read_line(&mut request)?;
    let answer = match request.trim_end() {
        "status" => Answer::Report(Box::new(host.report())),
        "handover" => match host.handover() {
            Ok(done) => Answer::Done(done),
            Err(why) => Answer::Refused(why),
        },
        _ => Answer::Refused("a request that this version does not know".into()),
    };
    let mut line = serde_json::to_string(&answer)?;
    line.push('\n');
    (&mut &*stream).write_all(line.as_bytes())
}

/// A process that stands still accepts connections, and says nothing.
fn ask(state_dir: &Path, request: &str, within: Duration) -> Result<Answer, ControlError> {
    let path = socket_path(state_dir);
    let stream = UnixStream::connect(&path);
    let stream = stream.map_err(|error| ControlError::NotRunning(path.clone(), error))?;
    let exchange = || -> io::Result<Answer> {
        stream.set_read_timeout(Some(within))?;
        stream.set_write_timeout(Some(within))?;
        (&mut &stream).write_all(format!("{request}\n").as_bytes())?;
        let mut line = String::new();
        BufReader::new((&stream).take(MOST_ANSWER_BYTES)).read_line(&mut line)?;
        Ok(serde_json::from_str(&line)?)
    };
    exchange().map_err(|error| ControlError::NoAnswer(path, error))
}

/// The state of the host that runs with this state folder.
///
/// # Errors
/// One line that says what to do.
pub fn status(state_dir: &Path) -> Result<Report, ControlError> {
    match ask(state_dir, "status", STATUS_WITHIN)? {
        Answer::Report(report) => Ok(*report),
        Answer::Done(text) | Answer::Refused(text) => Err(ControlError::Refused(text)),
    }
}

/// Has the host that runs with this state folder hand the service over: what was done.
///
/// # Errors
/// One line that says why not.
pub fn handover(state_dir: &Path) -> Result<String, ControlError> {
    match ask(state_dir, "handover", HANDOVER_WITHIN)? {
        Answer::Done(text) => Ok(text),
        Answer::Refused(text) => Err(ControlError::Refused(text)),
        Answer::Report(report) => Ok(report.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Barrier;

    use super::*;
    use crate::report::tests::example;

    struct Host;

    impl Controlled for Host {
        fn report(&self) -> Report {
            example()
        }

        fn handover(&self) -> Result<String, String> {
            Err("host 1 has no complete copy yet; try again when `outlive status` says so".into())
        }
    }

    #[test]
    fn a_process_that_stands_still_is_not_waited_for() {
        let folder = tempfile::tempdir().expect("a folder");
        let _silent = UnixListener::bind(socket_path(folder.path())).expect("a socket");
        let answer = ask(folder.path(), "status", Duration::from_millis(10));
        assert!(matches!(answer, Err(ControlError::NoAnswer(..))));
    }

    #[test]
    fn a_running_host_answers_and_refuses() {
        let folder = tempfile::tempdir().unwrap();
        listen(folder.path(), Arc::new(Host)).unwrap();
        assert_eq!(status(folder.path()).unwrap(), example());
        let refusal = handover(folder.path()).unwrap_err().to_string();
        assert!(
            refusal.starts_with("host 1 has no complete copy"),
            "{refusal}"
        );
    }

    /// Its handover begins and ends when somebody else says so.
    struct Busy(Barrier);

    impl Controlled for Busy {
        fn report(&self) -> Report {
            example()
        }

        fn handover(&self) -> Result<String, String> {
            self.0.wait();
            self.0.wait();
            Ok("done".into())
        }
    }

    #[test]
    fn a_request_that_takes_long_keeps_nobody_waiting() {
        let folder = tempfile::tempdir().unwrap();
        let host = Arc::new(Busy(Barrier::new(2)));
        listen(folder.path(), Arc::clone(&host) as Arc<dyn Controlled>).unwrap();
        std::thread::scope(|scope| {
            let waiting = scope.spawn(|| handover(folder.path()));
            host.0.wait();
            assert_eq!(status(folder.path()).unwrap(), example());
            host.0.wait();
            assert_eq!(waiting.join().unwrap().unwrap(), "done");
        });
    }

    #[test]
    fn what_is_no_request_is_refused_and_the_next_one_answered() {
        let folder = tempfile::tempdir().unwrap();
        listen(folder.path(), Arc::new(Host)).unwrap();
        for request in ["", "stat", &"x".repeat(1000), "status now"] {
            assert!(
                matches!(
                    ask(folder.path(), request, STATUS_WITHIN),
                    Ok(Answer::Refused(_)) | Err(_)
                ),
                "{request}"
            );
        }
        assert!(status(folder.path()).is_ok());
    }

    #[test]
    fn without_a_process_the_line_says_so() {
        let folder = tempfile::tempdir().unwrap();
        let refusal = status(folder.path()).unwrap_err().to_string();
        assert!(refusal.contains("is it running"), "{refusal}");
    }
}
