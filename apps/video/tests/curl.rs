//! The client that everybody has.

mod support;

use std::process::Stdio;

use support::Site;
use tokio::process::Command;

async fn curl(site: &Site, arguments: &[&str], path: &str) -> Vec<u8> {
    let url = format!("http://{}{path}", site.address);
    let output = Command::new("curl")
        .args(["-sS", "--fail", "--max-time", "60"])
        .args(arguments)
        .arg(url)
        .stdin(Stdio::null())
        .output()
        .await
        .expect("curl is needed for this test: apt-get install curl");
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    output.stdout
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn curl_downloads_resumes_and_uploads() {
    let site = Site::start().await;
    let film = site.film("film.mp4", 5_000_000);
    assert!(curl(&site, &[], "/film.mp4").await == film);
    assert!(
        curl(&site, &["-r", "1000000-1999999"], "/film.mp4").await == film[1_000_000..2_000_000]
    );
    assert!(curl(&site, &["-C", "4999000"], "/film.mp4").await == film[4_999_000..]);
    assert!(curl(&site, &["--http1.0"], "/film.mp4").await == film);
    let source = site.path("film.mp4");
    let source = source.to_str().expect("text");
    let sum = curl(&site, &["-T", source], "/sink/").await;
    let chunked = curl(
        &site,
        &["-T", source, "-H", "Transfer-Encoding: chunked"],
        "/uploads/",
    )
    .await;
    assert_eq!(sum, chunked);
    assert!(curl(&site, &[], "/uploads/film.mp4").await == film);
}
