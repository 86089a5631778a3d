//! A server on a port of the loopback interface, and a client that sees every byte.

#![allow(dead_code, unreachable_pub, missing_docs)]

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, UNIX_EPOCH};

use outlive_video::http::Limits;
use outlive_video::http::date::FixedDate;
use outlive_video::server::{Config, Phase, Server};
use outlive_video::transport::kernel;
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinHandle;

/// Tue, 15 Nov 1994 08:12:31 GMT
pub const DATE: Duration = Duration::from_secs(784_887_151);

pub struct Site {
    pub folder: TempDir,
    pub server: Arc<Server>,
    pub address: String,
    serving: JoinHandle<()>,
}

/// A configuration with a fixed date, and uploads into `uploads` beside `media`.
pub fn config(folder: &Path) -> Config {
    let (media, uploads) = (folder.join("media"), folder.join("uploads"));
    std::fs::create_dir_all(&media).expect("a folder");
    std::fs::create_dir_all(&uploads).expect("a folder");
    Config {
        uploads: Some(uploads),
        dates: Arc::new(FixedDate(UNIX_EPOCH + DATE)),
        ..Config::new(media)
    }
}

impl Site {
    pub async fn start() -> Self {
        Self::with(Limits::default()).await
    }

    pub async fn with(limits: Limits) -> Self {
        // Not in /tmp, which may be in memory: pages must be able to leave it.
        let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("a folder");
        let server = Server::start(Config {
            limits,
            ..config(folder.path())
        })
        .expect("a server");
        let listener = kernel::bind(([127, 0, 0, 1], 0).into())
            .await
            .expect("a port");
        let address = listener.local_addr().expect("an address").to_string();
        let serving = tokio::spawn(kernel::serve(Arc::clone(&server), listener));
        Self {
            folder,
            server,
            address,
            serving,
        }
    }

    /// Puts a file into the folder; the same length gives the same bytes.
    pub fn film(&self, name: &str, length: usize) -> Vec<u8> {
        let content = content(length);
        std::fs::write(self.path(name), &content).expect("written");
        content
    }

    pub fn path(&self, name: &str) -> std::path::PathBuf {
        self.folder.path().join("media").join(name)
    }

    pub async fn client(&self) -> Client {
        let stream = TcpStream::connect(&self.address).await.expect("connected");
        Client {
            stream,
            received: Vec::new(),
        }
    }

    /// One request on a connection of its own.
    pub async fn ask(&self, request: &str) -> Reply {
        let mut client = self.client().await;
        client.send(request).await;
        client.reply(request.starts_with("HEAD")).await
    }

    /// A GET with further header lines, each ending with `\r\n`.
    pub async fn get(&self, path: &str, lines: &str) -> Reply {
        self.ask(&format!("GET {path} HTTP/1.1\r\nHost: test\r\n{lines}\r\n"))
            .await
    }

    /// Stops the server and waits until it has ended.
    pub async fn stop(self) -> Arc<Server> {
        self.server.stop(Phase::Cutting);
        self.serving.await.expect("ended");
        self.server
    }
}

/// Bytes in which no position looks like its neighbours.
pub fn content(length: usize) -> Vec<u8> {
    let mut random = outlive::random::Random::from_seed(length as u64);
    let mut content = Vec::with_capacity(length + 8);
    while content.len() < length {
        content.extend_from_slice(&random.next_u64().to_le_bytes());
    }
    content.truncate(length);
    content
}

#[derive(Debug)]
pub struct Reply {
    pub status: u16,
    pub head: String,
    pub body: Vec<u8>,
}

impl Reply {
    pub fn field(&self, name: &str) -> Option<&str> {
        let mut lines = self.head.lines();
        lines.find_map(|line| line.strip_prefix(name)?.strip_prefix(": "))
    }

    pub fn text(&self) -> &str {
        std::str::from_utf8(&self.body).expect("text")
    }

    /// Everything, as it was received.
    pub fn bytes(&self) -> Vec<u8> {
        [self.head.as_bytes(), &self.body].concat()
    }
}

pub struct Client {
    pub stream: TcpStream,
    received: Vec<u8>,
}

impl Client {
    pub async fn send(&mut self, bytes: impl AsRef<[u8]>) {
        self.stream.write_all(bytes.as_ref()).await.expect("sent");
    }

    /// The next response; a broken connection is an error.
    pub async fn try_reply(&mut self, head_only: bool) -> std::io::Result<Reply> {
        let head_end = loop {
            if let Some(at) = self
                .received
                .windows(4)
                .position(|window| window == b"\r\n\r\n")
            {
                break at + 4;
            }
            self.receive().await?;
        };
        let rest = self.received.split_off(head_end);
        let head = String::from_utf8(std::mem::replace(&mut self.received, rest)).expect("text");
        let status = head[9..12].parse().expect("a status");
        let mut reply = Reply {
            status,
            head,
            body: Vec::new(),
        };
        let length = reply
            .field("content-length")
            .map_or(0, |length| length.parse().expect("a length"));
        if !head_only && status != 304 && status != 204 && status >= 200 {
            while self.received.len() < length {
                self.receive().await?;
            }
            let rest = self.received.split_off(length);
            reply.body = std::mem::replace(&mut self.received, rest);
        }
        Ok(reply)
    }

    pub async fn reply(&mut self, head_only: bool) -> Reply {
        let reply = tokio::time::timeout(Duration::from_secs(20), self.try_reply(head_only)).await;
        reply.expect("in time").expect("a reply")
    }

    async fn receive(&mut self) -> std::io::Result<()> {
        match self.stream.read_buf(&mut self.received).await? {
            0 => Err(std::io::ErrorKind::UnexpectedEof.into()),
            _ => Ok(()),
        }
    }

    /// Waits until the server closes; what it still sent, and whether it closed in order.
    pub async fn rest(&mut self) -> (Vec<u8>, std::io::Result<()>) {
        let result = self.stream.read_to_end(&mut self.received).await;
        (std::mem::take(&mut self.received), result.map(drop))
    }
}
