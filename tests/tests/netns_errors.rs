//! What a person can do wrong: one clear line each that says what to do, and an exit code that is not zero.

use std::os::unix::fs::PermissionsExt;

use outlive_tests::netns::{
    Device, Finished, Link, Media, Netns, SERVER, Sandbox, outlive_command, require,
};

/// Runs `outlive video`, insists on one line that contains all of `expected`, and returns it.
fn refusal(netns: &Netns<'_>, prefix: &[&str], arguments: &[&str], expected: &[&str]) -> String {
    let mut words = prefix.to_vec();
    let program = outlive_command().display().to_string();
    words.push(&program);
    words.push("video");
    words.extend(arguments);
    let mut command = netns.command(30, words[0]);
    command.args(&words[1..]);
    let finished = Finished::of(command);
    let code = finished.status.code();
    assert!(
        matches!(code, Some(1..124)),
        "{} ended with {code:?}: {}",
        finished.line,
        finished.stderr
    );
    let lines: Vec<_> = finished
        .stderr
        .lines()
        .filter(|line| !line.is_empty())
        .collect();
    assert!(
        matches!(lines[..], [line] if expected.iter().all(|part| line.contains(part))),
        "expected one line with {expected:?}, got: {}",
        finished.stderr
    );
    lines[0].to_owned()
}

/// A sandbox with an empty media folder; its path.
fn prepare() -> (Sandbox, String) {
    let sandbox = Sandbox::new();
    let folder = Media::new(&sandbox).folder().display().to_string();
    (sandbox, folder)
}

const ADDRESS: [&str; 2] = ["--address", "10.77.0.2/24"];

#[test]
fn there_is_no_tun_device() {
    let (sandbox, folder) = prepare();
    let netns = sandbox.first_netns();
    let _ = sandbox.shell("mount -t tmpfs tmpfs /dev/net");
    let arguments = [&folder[..], ADDRESS[0], ADDRESS[1]];
    let _ = refusal(&netns, &[], &arguments, &["/dev/net/tun", "modprobe tun"]);
}

#[test]
fn permission_is_lacking() {
    require(&["setpriv"]);
    let (sandbox, folder) = prepare();
    let netns = sandbox.first_netns();
    let powerless = ["setpriv", "--bounding-set=-all", "--inh-caps=-all", "--"];
    let arguments = [&folder[..], ADDRESS[0], ADDRESS[1]];
    let _ = refusal(
        &netns,
        &powerless,
        &arguments,
        &["permission", "root", "unshare"],
    );
    let _ = sandbox.shell("ip link add veth0 type veth peer name veth1; ip link set veth0 up");
    let arguments = [
        &arguments[..],
        &["--device", "packet", "--interface", "veth0"],
    ]
    .concat();
    let _ = refusal(&netns, &powerless, &arguments, &["permission", "root"]);
}

#[test]
fn the_interface_does_not_exist() {
    let (sandbox, folder) = prepare();
    let packet = ["--device", "packet", "--interface", "nowhere0"];
    let arguments = [&[&folder[..]], &ADDRESS[..], &packet[..]].concat();
    let _ = refusal(
        &sandbox.first_netns(),
        &[],
        &arguments,
        &["nowhere0", "ip link"],
    );
}

#[test]
fn the_address_is_in_use() {
    let sandbox = Sandbox::new();
    let link = Link::new(&sandbox, Device::Veth);
    let media = Media::new(&sandbox);
    // The client's kernel has this very address: RFC 5227 tells us.
    let _ = link
        .client
        .shell(&format!("ip addr add {SERVER}/24 dev veth0"));
    let folder = media.folder().display().to_string();
    let packet = ["--device", "packet", "--interface", "veth1"];
    let arguments = [&[&folder[..]], &ADDRESS[..], &packet[..]].concat();
    let _ = refusal(&link.server, &[], &arguments, &[SERVER, "in use"]);
}

#[test]
fn the_port_is_in_use_on_the_kernels_stack() {
    let (sandbox, folder) = prepare();
    let netns = sandbox.first_netns();
    let arguments = ["video", &folder, "--stack", "kernel", "--port", "8080"];
    let _first = outlive_tests::netns::Server::start(netns.clone(), "first", "serving", &arguments);
    let _ = refusal(&netns, &[], &arguments[1..], &["8080", "in use"]);
}

#[test]
fn the_cidr_is_wrong() {
    let (sandbox, folder) = prepare();
    for wrong in [
        "10.77.0.2",
        "10.77.0.300/24",
        "10.77.0.2/33",
        "10.77.0.0/24",
        "10.77.0.255/24",
    ] {
        let netns = sandbox.first_netns();
        let mut command = netns.command(30, outlive_command());
        command.args(["video", &folder, "--address", wrong]);
        let finished = Finished::of(command);
        assert_eq!(finished.status.code(), Some(2), "{wrong}");
        let first = finished.stderr.lines().next().unwrap_or_default();
        assert!(
            first.contains("--address") && first.contains(wrong),
            "{first}"
        );
        assert!(
            first.contains("for example") || first.contains("write"),
            "{first}"
        );
    }
}

#[test]
fn the_media_folder_is_unreadable() {
    let (sandbox, folder) = prepare();
    let netns = sandbox.first_netns();
    let missing = format!("{folder}/missing");
    let arguments = [&missing[..], ADDRESS[0], ADDRESS[1]];
    let _ = refusal(&netns, &[], &arguments, &[&missing, "No such file"]);
    // Root reads everything, unless it has given up the capability to.
    std::fs::set_permissions(&folder, std::fs::Permissions::from_mode(0o000)).expect("it is ours");
    let blind = [
        "setpriv",
        "--bounding-set=-dac_override,-dac_read_search",
        "--inh-caps=-all",
        "--",
    ];
    let arguments = [&folder[..], ADDRESS[0], ADDRESS[1]];
    let _ = refusal(&netns, &blind, &arguments, &[&folder, "ermission denied"]);
    std::fs::set_permissions(&folder, std::fs::Permissions::from_mode(0o700)).expect("it is ours");
}
