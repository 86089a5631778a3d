//! What a person sees who sets up a cluster: help to act on, and errors of one line that say what to do.

use std::fs::{File, Permissions};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;
use std::process::{Command, Output, Stdio};

fn outlive(folder: &Path, arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_outlive"));
    command
        .args(arguments)
        .current_dir(folder)
        .env_remove("RUST_LOG");
    command.output().expect("the command starts")
}

/// Runs a command that must fail, with one line that has all of `parts`.
fn refused(folder: &Path, arguments: &[&str], parts: &[&str]) {
    let output = outlive(folder, arguments);
    let text = String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success(), "{arguments:?} succeeded");
    assert_eq!(text.trim_end().lines().count(), 1, "{text}");
    for part in parts {
        assert!(text.contains(part), "\"{part}\" is not in: {text}");
    }
}

/// A folder with the example and a key.
fn cluster() -> tempfile::TempDir {
    let folder = tempfile::tempdir().expect("a folder");
    let example = outlive(folder.path(), &["key", "--example"]).stdout;
    let example = String::from_utf8(example).expect("text");
    let example = example.replace("/var/lib/outlive", "state");
    std::fs::write(folder.path().join("cluster.toml"), example).expect("written");
    let key = outlive(folder.path(), &["key"]).stdout;
    std::fs::write(folder.path().join("cluster.key"), key).expect("written");
    let mode = Permissions::from_mode(0o600);
    std::fs::set_permissions(folder.path().join("cluster.key"), mode).expect("owned");
    folder
}

#[test]
fn a_key_in_a_file_is_for_its_owner_alone() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("cluster.key");
    let file = File::create(&path).expect("made");
    file.set_permissions(Permissions::from_mode(0o644))
        .expect("owned");
    let mut command = Command::new(env!("CARGO_BIN_EXE_outlive"));
    let status = command.arg("key").stdout(Stdio::from(file)).status();
    assert!(status.expect("started").success());
    let metadata = path.metadata().expect("there");
    assert_eq!((metadata.mode() & 0o777, metadata.len()), (0o600, 65));
}

#[test]
fn help_shows_how_to_begin() {
    let folder = tempfile::tempdir().expect("a folder");
    let help = outlive(folder.path(), &["key", "--help"]).stdout;
    let help = String::from_utf8_lossy(&help).into_owned();
    for part in [
        "outlive key >",
        "--example",
        "outlive witness",
        "--cluster",
        "outlive status",
    ] {
        assert!(help.contains(part), "\"{part}\" is not in:\n{help}");
    }
}

#[test]
fn status_and_handover_say_that_nothing_runs() {
    let folder = cluster();
    for command in ["status", "handover"] {
        refused(
            folder.path(),
            &[command, "--config", "cluster.toml"],
            &["is it running", "state/control"],
        );
    }
}

#[test]
fn a_wrong_configuration_is_one_line_with_its_place() {
    let folder = cluster();
    refused(
        folder.path(),
        &["status", "--config", "missing.toml"],
        &["missing.toml"],
    );
    std::fs::write(folder.path().join("bad.toml"), "me = 0\nstate = 1\n").expect("written");
    refused(
        folder.path(),
        &["status", "--config", "bad.toml"],
        &["bad.toml, line 2", "state_dir"],
    );
}

#[test]
fn a_server_that_cannot_take_part_says_why() {
    let folder = cluster();
    let video = |more: &[&'static str]| [&["video", "."], more].concat();
    refused(
        folder.path(),
        &["backup", "."],
        &["a backup needs its cluster", "--cluster"],
    );
    refused(
        folder.path(),
        &video(&["--cluster", "cluster.toml", "--address", "10.0.0.2/24"]),
        &["[service]", "cluster.toml", "leave them out"],
    );
    refused(
        folder.path(),
        &video(&["--cluster", "cluster.toml", "--stack", "kernel"]),
        &["do not outlive their host"],
    );
    refused(
        folder.path(),
        &video(&["--cluster", "cluster.toml", "--me", "2"]),
        &["is the witness", "outlive witness"],
    );
    refused(
        folder.path(),
        &["witness", "--config", "cluster.toml", "--me", "1"],
        &["is a server", "--me 2"],
    );
    let key = folder.path().join("cluster.key");
    std::fs::set_permissions(&key, Permissions::from_mode(0o644)).expect("owned");
    refused(
        folder.path(),
        &["witness", "--config", "cluster.toml", "--me", "2"],
        &["chmod 600"],
    );
}
