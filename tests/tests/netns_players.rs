//! Unmodified players: ffmpeg decodes every frame, Chromium plays and seeks.

use outlive_tests::netns::{
    Chromium, Device, Finished, Link, Media, Netns, SERVER, Sandbox, require,
};

/// Decodes `source` to its end, any error being fatal, and returns a hash of every frame.
fn frame_hashes(netns: &Netns<'_>, source: &str) -> String {
    let mut ffmpeg = netns.command(300, "ffmpeg");
    ffmpeg
        .args(["-nostdin", "-v", "error", "-xerror", "-i", source])
        .args(["-map", "0:v", "-map", "0:a", "-f", "framehash", "-"]);
    Finished::of(ffmpeg).success().text()
}

#[test]
fn ffmpeg_decodes_every_frame() {
    require(&["ffmpeg"]);
    for device in [Device::Tap, Device::Veth] {
        let sandbox = Sandbox::new();
        let link = Link::new(&sandbox, device);
        let media = Media::new(&sandbox);
        let seconds: u32 = std::env::var("OUTLIVE_TEST_FILM_SECONDS")
            .map_or(60, |seconds| seconds.parse().expect("a number of seconds"));
        let film = media.film(&sandbox, "film.mp4", seconds);
        let server = link.serve_video(&media, &[]);
        let expected = frame_hashes(&link.client, &film.display().to_string());
        let got = frame_hashes(&link.client, &format!("http://{SERVER}/film.mp4"));
        assert!(expected.lines().count() > 25 * seconds as usize);
        assert!(got == expected, "frames differ over {device:?}");
        let _ = server.stop();
    }
}

#[test]
fn a_browser_plays_and_seeks() {
    require(&["chromium", "ffmpeg"]);
    let sandbox = Sandbox::new();
    let link = Link::new(&sandbox, Device::Tap);
    let media = Media::new(&sandbox);
    let _ = media.film(&sandbox, "film.mp4", 120);
    let server = link.serve_video(&media, &[]);

    let mut browser = Chromium::start(&link.client, &sandbox.folder().join("profile"));
    browser.open(&format!("http://{SERVER}/"));
    let film = browser.evaluate("return document.querySelector('a[href^=\"/?film=\"]').href;");
    browser.open(&film);
    let played = browser.evaluate(
        "const video = document.querySelector('video');
         video.muted = true;
         await video.play();
         await until(() => video.currentTime > 1);
         video.currentTime = 100;
         await until(() => !video.seeking && video.currentTime > 101);
         video.currentTime = 10;
         await until(() => !video.seeking && video.currentTime > 11 && video.currentTime < 90);
         return [video.videoWidth, Math.round(video.duration), video.error].join(' ');",
    );
    assert_eq!(played, "640 120 ");
    drop(browser);
    let _ = server.stop();
}
