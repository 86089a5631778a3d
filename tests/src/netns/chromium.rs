//! A headless Chromium, driven through its debugging pipe: messages of JSON that end with a zero byte.

use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Stdio};

use super::sandbox::Netns;

/// A running browser with one page. It ends with the sandbox at the latest.
pub struct Chromium {
    child: Child,
    to: ChildStdin,
    from: BufReader<ChildStdout>,
    session: String,
    last_id: u32,
}

impl Chromium {
    /// Starts the browser in `netns` with a fresh profile, for five minutes at most.
    ///
    /// # Panics
    /// When it cannot be started.
    #[must_use]
    pub fn start(netns: &Netns<'_>, profile: &Path) -> Self {
        let mut command = netns.command(300, "bash");
        command
            .arg("-c")
            .arg(
                "exec chromium --headless=new --no-sandbox --disable-gpu --disable-dev-shm-usage \
                 --no-first-run --disable-background-networking --autoplay-policy=no-user-gesture-required \
                 --remote-debugging-pipe --user-data-dir=\"$0\" about:blank 3<&0 4>&1 >/dev/null 2>\"$0.log\"",
            )
            .arg(profile)
            .env("HOME", profile)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped());
        let mut child = command.spawn().expect("nsenter can be started");
        let to = child.stdin.take().expect("stdin is piped");
        let from = BufReader::new(child.stdout.take().expect("stdout is piped"));
        let mut browser = Self {
            child,
            to,
            from,
            session: String::new(),
            last_id: 0,
        };
        let target = browser.ask("Target.createTarget", r#"{"url":"about:blank"}"#);
        let target = text_after(&target, "\"targetId\":\"").to_owned();
        let attach = format!(r#"{{"targetId":"{target}","flatten":true}}"#);
        let session = browser.ask("Target.attachToTarget", &attach);
        browser.session = text_after(&session, "\"sessionId\":\"").to_owned();
        browser
    }

    /// Opens a page and waits until it is there.
    ///
    /// # Panics
    /// When the page cannot be reached.
    pub fn open(&mut self, url: &str) {
        let answer = self.ask("Page.navigate", &format!(r#"{{"url":"{url}"}}"#));
        assert!(!answer.contains("errorText"), "{answer}");
        let state =
            self.evaluate("await until(() => document.readyState == 'complete'); return 'ok';");
        assert_eq!(state, "ok");
    }

    /// Runs the body of an asynchronous function in the page and returns the text that it returns. The body
    /// may `await wait(ms)` and `await until(condition)`, which gives up after a minute.
    ///
    /// # Panics
    /// When the script throws.
    pub fn evaluate(&mut self, body: &str) -> String {
        let tools = "const wait = ms => new Promise(done => setTimeout(done, ms));
             const until = async condition => {
                 for (let i = 0; i < 600; i++) { if (condition()) return; await wait(100); }
                 throw new Error('waited in vain for ' + condition);
             };";
        let script = format!("(async () => {{ {tools} {body} }})()");
        let parameters = format!(
            r#"{{"expression":{},"awaitPromise":true,"returnByValue":true}}"#,
            json_text(&script)
        );
        let answer = self.ask("Runtime.evaluate", &parameters);
        assert!(!answer.contains("exceptionDetails"), "{answer}");
        text_after(&answer, "\"value\":\"").to_owned()
    }

    /// Sends a command and waits for its answer.
    fn ask(&mut self, method: &str, parameters: &str) -> String {
        self.last_id += 1;
        let id = self.last_id;
        let session = match &self.session[..] {
            "" => String::new(),
            session => format!(r#","sessionId":"{session}""#),
        };
        let message =
            format!(r#"{{"id":{id},"method":"{method}","params":{parameters}{session}}}"#);
        let sent = self.to.write_all(message.as_bytes());
        sent.and_then(|()| self.to.write_all(&[0]))
            .expect("chromium listens");
        loop {
            let mut answer = Vec::new();
            let read = self.from.read_until(0, &mut answer).unwrap_or(0);
            assert!(read > 0, "chromium ended before it answered {method}");
            let answer = String::from_utf8_lossy(&answer).into_owned();
            if answer.starts_with(&format!("{{\"id\":{id},")) {
                return answer;
            }
        }
    }
}

impl Drop for Chromium {
    fn drop(&mut self) {
        // It ends when its pipe closes, at the latest with the sandbox.
        let _ = self
            .to
            .write_all(b"{\"id\":0,\"method\":\"Browser.close\"}\0");
        let _ = self.child.wait();
    }
}

/// The text between `start` and the next quotation mark.
fn text_after<'a>(json: &'a str, start: &str) -> &'a str {
    let rest = json.split_once(start).map(|(_, rest)| rest);
    let text = rest.and_then(|rest| rest.split_once('"'));
    text.unwrap_or_else(|| panic!("no {start} in {json}")).0
}

/// A JSON string.
fn json_text(text: &str) -> String {
    let mut json = String::from("\"");
    for character in text.chars() {
        match character {
            '"' | '\\' => json.extend(['\\', character]),
            '\n' => json += "\\n",
            other => json.push(other),
        }
    }
    json + "\""
}
