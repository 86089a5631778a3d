//! An address from dnsmasq: asked for, used, and kept by renewals.

use outlive_tests::netns::{CLIENT, Device, Finished, Link, Media, Sandbox, Server, require};

/// Leases for two minutes, the shortest that dnsmasq gives: they are renewed after one. As a daemon it would want to change
/// its groups, which nobody may who is root only of a user namespace.
fn start_dnsmasq(link: &Link<'_>) {
    let folder = link.client.folder().display();
    let _ = link.client.shell(&format!(
        "dnsmasq --no-daemon --conf-file=/dev/null --port=0 --no-ping --log-dhcp \
         --interface={} --bind-interfaces --dhcp-range=10.77.0.50,10.77.0.59,2m \
         --dhcp-leasefile={folder}/leases --log-facility={folder}/dnsmasq.log >{folder}/dnsmasq.out 2>&1 &
         grep -q 'DHCP, IP range' < <(timeout 50 tail -n +1 -F {folder}/dnsmasq.log 2>/dev/null)",
        link.client_interface
    ));
}

#[test]
fn a_leased_address_serves_and_is_renewed() {
    require(&["dnsmasq", "curl"]);
    let sandbox = Sandbox::new();
    let link = Link::new(&sandbox, Device::Veth);
    let media = Media::new(&sandbox);
    let _ = media.random_file("random.bin", 100_000);
    start_dnsmasq(&link);
    let (folder, shared) = (
        link.client.folder().display(),
        media.folder().display().to_string(),
    );
    let arguments = [
        "video",
        &shared,
        "--dhcp",
        "--device",
        "packet",
        "--interface",
        "veth1",
    ];
    let arguments = [&arguments[..], &["--port", "80"]].concat();
    let server = Server::start(link.server.clone(), "video", "serving", &arguments);

    let leased = link
        .client
        .shell(&format!("awk '{{ print $3 }}' {folder}/leases"));
    let leased = leased.trim();
    assert!(leased.starts_with("10.77.0.5"), "{leased:?} was leased");
    assert_ne!(leased, CLIENT);
    let sum = link
        .client
        .shell(&format!("sha256sum < {shared}/random.bin"));
    let get = format!("curl -sS --max-time 30 http://{leased}/random.bin | sha256sum");
    assert_eq!(link.client.shell(&get), sum);

    // It is granted once more, the same, and still serves.
    let log = format!("{folder}/dnsmasq.log");
    let mut granted = link.client.command(120, "bash");
    granted.arg("-c").arg(format!(
        "grep -m 2 'DHCPACK.* {leased} ' < <(timeout 110 tail -n +1 -F {log} 2>/dev/null)"
    ));
    let granted = Finished::of(granted).success().text();
    assert_eq!(granted.lines().count(), 2, "{granted}");
    let discovers = link.client.shell(&format!("grep -c DHCPDISCOVER {log}"));
    assert_eq!(discovers.trim(), "1", "it was never lost");
    assert_eq!(link.client.shell(&get), sum);
    let _ = server.stop();
}
