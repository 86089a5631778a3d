//! Files to serve.

use std::fs::File;
use std::io::{BufWriter, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use outlive_driver::Random;

use super::command::Finished;
use super::sandbox::Sandbox;

/// A folder of media inside the sandbox's folder.
pub struct Media {
    folder: PathBuf,
}

impl Media {
    /// An empty folder.
    ///
    /// # Panics
    /// When it cannot be made.
    #[must_use]
    pub fn new(sandbox: &Sandbox) -> Self {
        let folder = sandbox.folder().join("media");
        std::fs::create_dir_all(&folder).expect("a folder can be made");
        Self { folder }
    }

    /// The folder.
    #[must_use]
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// A file of `len` bytes that no two places of resemble each other.
    ///
    /// # Panics
    /// When it cannot be written.
    #[must_use]
    pub fn random_file(&self, name: &str, len: u64) -> PathBuf {
        let path = self.folder.join(name);
        let mut file = BufWriter::new(File::create(&path).expect("a file can be made"));
        let mut random = Random::from_seed(len);
        for _ in 0..len / 8 {
            let word = random.next_u64().to_le_bytes();
            file.write_all(&word).expect("the disk has room");
        }
        let rest = &random.next_u64().to_le_bytes()[..(len % 8) as usize];
        file.write_all(rest).expect("the disk has room");
        file.flush().expect("the disk has room");
        path
    }

    /// A file of `len` bytes for which the disk need not have the room: each MiB begins with 4 KiB that no other place
    /// resembles, and is empty otherwise.
    ///
    /// # Panics
    /// When it cannot be written.
    #[must_use]
    pub fn sparse_file(&self, name: &str, len: u64) -> PathBuf {
        let path = self.folder.join(name);
        let mut file = File::create(&path).expect("a file can be made");
        file.set_len(len).expect("the file system has sparse files");
        let mut random = Random::from_seed(len);
        for at in (0..len.saturating_sub(4096)).step_by(1 << 20) {
            let words = std::iter::repeat_with(|| random.next_u64().to_le_bytes());
            let page: Vec<u8> = words.take(512).flatten().collect();
            file.seek(SeekFrom::Start(at)).expect("it is a file");
            file.write_all(&page).expect("the disk has room");
        }
        path
    }

    /// A film of `seconds` with picture and sound (H.264 and AAC in MP4, its index in front), made by
    /// ffmpeg.
    ///
    /// # Panics
    /// When ffmpeg fails.
    #[must_use]
    pub fn film(&self, sandbox: &Sandbox, name: &str, seconds: u32) -> PathBuf {
        let path = self.folder.join(name);
        let mut ffmpeg = sandbox.command(300, "ffmpeg");
        ffmpeg
            .args(["-nostdin", "-v", "error", "-y"])
            .args(["-f", "lavfi", "-i", "testsrc=size=640x360:rate=25"])
            .args(["-f", "lavfi", "-i", "sine=frequency=440"])
            .args(["-t", &seconds.to_string(), "-shortest"])
            .args(["-c:v", "libx264", "-preset", "ultrafast", "-g", "50"])
            .args(["-pix_fmt", "yuv420p", "-c:a", "aac"])
            .args(["-movflags", "+faststart"])
            .arg(&path);
        let _ = Finished::of(ffmpeg).success();
        path
    }
}

/// How much the transfers of a test move: `$OUTLIVE_TEST_BYTES`, by default 64 MB.
///
/// # Panics
/// When the variable is no number.
#[must_use]
pub fn transfer_bytes() -> u64 {
    std::env::var("OUTLIVE_TEST_BYTES").map_or(64_000_000, |bytes| {
        bytes.parse().expect("OUTLIVE_TEST_BYTES is a number")
    })
}

/// The numbers on the lines of `text`.
///
/// # Panics
/// When a line is no number.
#[must_use]
pub fn numbers(text: &str) -> Vec<f64> {
    text.split_whitespace()
        .map(|word| word.parse().unwrap_or_else(|_| panic!("no number: {word}")))
        .collect()
}
