//! A host that listens to a kernel's router (radvd): it makes an address for itself, sends what is for other networks through
//! the router, stops when that retires, and tells a switch (the kernel's bridge) which groups it listens to.

use std::io::{BufRead, BufReader, Write};
use std::process::{Child, Command, Stdio};

use outlive_tests::netns::{Finished, Netns, Sandbox, require};

const GROUP: &str = "ff05::6f75:746c";
const RADVD: &str = "
interface r0 {
  AdvSendAdvert on; MinRtrAdvInterval 3; MaxRtrAdvInterval 4; AdvDefaultLifetime 60;
  prefix 2001:db8:1::/64 { AdvOnLink on; AdvAutonomous on; AdvValidLifetime 3600; AdvPreferredLifetime 1800; };
};";

/// A router and a host on a bridge that watches reports of groups.
struct Scene<'a> {
    sandbox: &'a Sandbox,
    router: Netns<'a>,
    host: Netns<'a>,
}

impl<'a> Scene<'a> {
    fn new(sandbox: &'a Sandbox) -> Self {
        require(&["radvd", "bridge", "ping", "sysctl"]);
        let (router, host) = (sandbox.netns("router"), sandbox.netns("host"));
        // Nobody else answers queries for the host, and nobody has to wait for a querier.
        let _ = sandbox.shell(
            "ip link add br0 type bridge forward_delay 0 mcast_snooping 1 mcast_querier 1 mcast_mld_version 2
             ip link set br0 up
             ip link add r0 netns router type veth peer name to-router
             ip link add h0 netns host type veth peer name to-host
             ip link set to-router master br0 up
             ip link set to-host master br0 up
             bridge link set dev to-host fastleave on",
        );
        let _ = host.shell("sysctl -qw net.ipv6.conf.h0.disable_ipv6=1; ip link set h0 up");
        let _ = router.shell(
            "sysctl -qw net.ipv6.conf.all.forwarding=1
             ip link set r0 up
             ip -6 addr add 2001:db8:1::1/64 dev r0 nodad
             ip -6 addr add 2001:db8:2::1/128 dev lo",
        );
        Self {
            sandbox,
            router,
            host,
        }
    }

    fn start_router(&self) {
        let folder = self.sandbox.folder().display();
        let _ = self.router.shell(&format!(
            "cat > {folder}/radvd.conf <<'END'{RADVD}\nEND
             radvd -C {folder}/radvd.conf -p {folder}/radvd.pid -d 1 -m logfile -l {folder}/radvd.log"
        ));
    }

    /// It says that it is a router no longer, and ends.
    fn retire_router(&self) {
        let folder = self.sandbox.folder().display();
        let _ = self
            .router
            .shell(&format!("kill $(cat {folder}/radvd.pid)"));
    }

    /// Whether the host answers there what is sent from `source`.
    fn answers(&self, source: &str, address: &str) -> bool {
        let mut ping = self.router.command(20, "ping");
        ping.args([
            "-6", "-n", "-c", "2", "-i", "0.2", "-W", "4", "-I", source, address,
        ]);
        Finished::of(ping).status.success()
    }

    /// Waits, within bounds, until the switch sends the group to the host's port, or no longer does.
    fn wait_for_switch(&self, has: bool) {
        let negation = if has { "" } else { "!" };
        let _ = self.sandbox.shell(&format!(
            "for _ in $(seq 500); do
               {negation} bridge mdb show dev br0 | grep -q 'port to-host grp {GROUP}' && exit
               sleep 0.1
             done
             bridge mdb show dev br0 >&2; exit 1"
        ));
    }
}

/// The host, as a program of its own.
struct Host {
    child: Child,
    router_log: std::path::PathBuf,
    lines: std::io::Lines<BufReader<std::process::ChildStdout>>,
}

impl Host {
    fn start(scene: &Scene<'_>, secret: u8) -> Self {
        let program = env!("CARGO_BIN_EXE_autoconfigured");
        let mut command: Command = scene.host.command(300, program);
        command.args(["h0", GROUP, &secret.to_string()]);
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn().expect("nsenter can be started");
        let stdout = child.stdout.take().expect("stdout is piped");
        Self {
            child,
            router_log: scene.sandbox.folder().join("radvd.log"),
            lines: BufReader::new(stdout).lines(),
        }
    }

    /// The rest of the next line that begins so.
    fn says(&mut self, start: &str) -> String {
        let mut seen = Vec::new();
        for line in self.lines.by_ref().map_while(Result::ok) {
            if let Some(rest) = line.strip_prefix(start) {
                return rest.to_owned();
            }
            seen.push(line);
        }
        let log = std::fs::read_to_string(&self.router_log).unwrap_or_default();
        panic!("the host ended before it said \"{start}\": {seen:?}\n{log}");
    }

    /// The address that it makes for itself in the router's network.
    fn address(&mut self) -> String {
        let rest = self.says("address 2001:db8:1:");
        let rest = rest
            .strip_suffix("/128")
            .expect("an address alone: what is on the link is said apart");
        format!("2001:db8:1:{rest}")
    }

    fn leave(&mut self) {
        let stdin = self.child.stdin.as_mut().expect("stdin is piped");
        stdin.write_all(b"leave\n").expect("it listens");
        let _ = self.says("left");
    }

    fn end(mut self) {
        drop(self.child.stdin.take());
        let status = self.child.wait().expect("it is our child");
        assert!(status.success(), "{status}");
    }
}

#[test]
fn a_host_lives_by_what_routers_say() {
    let sandbox = Sandbox::new();
    let scene = Scene::new(&sandbox);
    scene.start_router();
    let mut host = Host::start(&scene, 1);
    let address = host.address();
    // RFC 7217: nothing of the station shows in it.
    assert!(!address.contains("ff:fe"), "{address}");
    assert!(scene.answers("2001:db8:1::1", &address), "on the link");
    assert!(
        scene.answers("2001:db8:2::1", &address),
        "through the router"
    );
    scene.wait_for_switch(true);
    host.leave();
    scene.wait_for_switch(false);
    host.end();

    // It stays the same from start to start, and is another with another secret.
    let mut again = Host::start(&scene, 1);
    assert_eq!(again.address(), address);
    again.end();
    let mut other = Host::start(&scene, 2);
    let others = other.address();
    assert_ne!(others, address);

    // A router that retires says so (RFC 4861 §6.2.5): nothing goes through it any more, and the address remains.
    assert!(
        scene.answers("2001:db8:2::1", &others),
        "through the router"
    );
    scene.retire_router();
    let gone = (0..50).any(|_| !scene.answers("2001:db8:2::1", &others));
    assert!(gone, "a router that retired is still used");
    assert!(
        scene.answers("2001:db8:1::1", &others),
        "the link is still there"
    );
    other.end();
}
