//! Two hosts that share a service address, a witness, and a client, on two switches.
//!
//! ```text
//!   client ── service network 10.77.0.0/24 ─┬── host0 ──┬─ replication network 10.88.0.0/24
//!                    (bridge `service`)     ├── host1 ──┤     (bridge `replication`)
//!                                           └── witness ┘
//! ```
//! Every host is a network namespace with a kernel of its own on both networks; the service address
//! belongs to whichever `outlive video` serves.

use std::path::PathBuf;

use super::command::Finished;
use super::media::Media;
use super::outlive::{Server, outlive_command};
use super::sandbox::{Netns, Sandbox};
use super::topology::{CLIENT, SERVER};

/// The service MAC address.
pub const SERVICE_MAC: &str = "02:00:5e:77:00:02";
const NAMES: [&str; 3] = ["host0", "host1", "witness"];

/// The hosts and what runs on them.
pub struct Cluster<'a> {
    /// Where the clients run; their interface is `eth0`.
    pub client: Netns<'a>,
    hosts: [Netns<'a>; 3],
    configs: [PathBuf; 3],
    media: PathBuf,
    options: Vec<String>,
    /// What runs on host 0, on host 1, and the witness.
    pub running: [Option<Server<'a>>; 3],
}

impl<'a> Cluster<'a> {
    /// Lays the networks and writes the configurations: the example's, with `changes` of text made in it. Nothing
    /// runs yet.
    ///
    /// # Panics
    /// When a text to change is not in the example.
    #[must_use]
    pub fn new(
        sandbox: &'a Sandbox,
        media: &Media,
        changes: &[(&str, &str)],
        options: &[&str],
    ) -> Self {
        let switch = sandbox.first_netns();
        for bridge in ["service", "replication"] {
            switch.shell(&format!(
                "ip link add {bridge} type bridge forward_delay 0 stp_state 0 mcast_snooping 0
                 ip link set {bridge} up"
            ));
        }
        let client = sandbox.netns("client");
        let hosts = NAMES.map(|name| sandbox.netns(name));
        plug(sandbox, "client", "eth0", "service", CLIENT);
        for (number, name) in (1..).zip(NAMES) {
            plug(
                sandbox,
                name,
                "repl",
                "replication",
                &format!("10.88.0.{number}"),
            );
            plug(
                sandbox,
                name,
                "svc",
                "service",
                &format!("10.77.0.1{number}"),
            );
        }
        Self {
            client,
            hosts,
            configs: configure(sandbox, changes),
            media: media.folder().to_owned(),
            options: options.iter().map(|&option| option.to_owned()).collect(),
            running: [const { None }; 3],
        }
    }

    /// Starts all three and waits until one serves and the other is ready to take over.
    pub fn start(&mut self) {
        for host in [2, 0, 1] {
            self.start_host(host);
        }
        self.wait_until_protected();
    }

    /// Starts what belongs on a host.
    pub fn start_host(&mut self, host: usize) {
        let (config, media) = (
            self.configs[host].display().to_string(),
            self.media.display().to_string(),
        );
        let name = format!("{}-{}", NAMES[host], count());
        let mut arguments = match host {
            2 => vec!["-v", "witness", "--config", &config],
            _ => vec!["-v", "video", &media, "--cluster", &config],
        };
        if host < 2 {
            arguments.extend(self.options.iter().map(String::as_str));
        }
        let ready = if host == 2 { "witness" } else { "serving" };
        self.running[host] = Some(Server::start(
            self.hosts[host].clone(),
            &name,
            ready,
            &arguments,
        ));
    }

    /// `kill -9`.
    pub fn kill(&mut self, host: usize) {
        if let Some(server) = self.running[host].take() {
            server.kill();
        }
    }

    /// One value of a host's `outlive status --json`, by its `jq` expression; none if it does not answer.
    #[must_use]
    pub fn status(&self, host: usize, expression: &str) -> Option<String> {
        let mut command = self.hosts[host].command(20, outlive_command());
        command
            .args(["status", "--json", "--config"])
            .arg(&self.configs[host]);
        let finished = Finished::of(command);
        let value = finished.status.success().then(|| finished.text())?;
        let mut jq = self.client.command(20, "jq");
        jq.args(["-n", "-r", "--argjson", "status", &value]);
        jq.arg(format!("$status | {expression}"));
        Some(Finished::of(jq).success().text())
    }

    /// The host that serves.
    ///
    /// # Panics
    /// When there is none.
    #[must_use]
    pub fn primary(&self) -> usize {
        let is_primary = |host: &usize| {
            self.running[*host].is_some()
                && self.status(*host, ".role").as_deref() == Some("primary")
        };
        let primary = (0..2).find(is_primary);
        primary.unwrap_or_else(|| panic!("nobody serves\n{}", self.complaints()))
    }

    /// Waits until one host serves and the other has a complete copy.
    pub fn wait_until_protected(&self) {
        self.wait_for("a complete backup", |cluster| {
            let is = |host, role: &str| cluster.status(host, ".role").as_deref() == Some(role);
            (is(0, "primary") && is(1, "backup")) || (is(1, "primary") && is(0, "backup"))
        });
    }

    /// Asks again and again until `reached`.
    ///
    /// # Panics
    /// When a minute was not enough.
    #[expect(
        clippy::disallowed_methods,
        reason = "the limit of a wait for other processes"
    )]
    pub fn wait_for(&self, what: &str, reached: impl Fn(&Self) -> bool) {
        let start = std::time::Instant::now();
        while !reached(self) {
            assert!(
                start.elapsed().as_secs() < 60,
                "no {what} within a minute\n{}",
                self.complaints()
            );
        }
    }

    /// Runs `outlive` on a host, with its configuration.
    #[must_use]
    pub fn outlive(&self, host: usize, command: &str) -> Finished {
        let mut finished = self.hosts[host].command(60, outlive_command());
        finished
            .args([command, "--config"])
            .arg(&self.configs[host]);
        Finished::of(finished)
    }

    /// A host's namespace.
    #[must_use]
    pub fn host(&self, host: usize) -> &Netns<'a> {
        &self.hosts[host]
    }

    /// What all that runs has complained about, and how it is.
    #[must_use]
    pub fn complaints(&self) -> String {
        let running = NAMES.iter().zip(&self.running);
        let texts = running.filter_map(|(name, server)| {
            let server = server.as_ref()?;
            Some(format!("--- {name}\n{}", server.complaints()))
        });
        let states = (0..2).filter_map(|host| self.status(host, "."));
        texts.chain(states).collect()
    }
}

/// A number that no other process of this test has.
fn count() -> usize {
    use std::sync::atomic::{AtomicUsize, Ordering};
    static COUNT: AtomicUsize = AtomicUsize::new(0);
    COUNT.fetch_add(1, Ordering::Relaxed)
}

/// Joins a namespace to a switch by a virtual cable.
fn plug(sandbox: &Sandbox, netns: &str, interface: &str, bridge: &str, address: &str) {
    let port = format!("{}-{netns}", &bridge[..1]);
    sandbox.shell(&format!(
        "ip link add {interface} netns {netns} type veth peer name {port}
         ip link set {port} master {bridge} up
         ip -n {netns} addr add {address}/24 dev {interface}
         ip -n {netns} link set {interface} up"
    ));
}

/// Writes the key, and a configuration for each host, which has a state folder of its own.
fn configure(sandbox: &Sandbox, changes: &[(&str, &str)]) -> [PathBuf; 3] {
    let folder = sandbox.folder();
    let outlive = outlive_command().display();
    sandbox.shell(&format!(
        "{outlive} key > {}",
        folder.join("cluster.key").display()
    ));
    let mut text = sandbox.shell(&format!("{outlive} key --example"));
    let usual = [("\"eth1\"", "\"svc\""), ("gateway = ", "# gateway = ")];
    for (from, to) in usual.iter().chain(changes) {
        assert!(text.contains(from), "\"{from}\" is not in the example");
        text = text.replace(from, to);
    }
    assert!(text.contains(SERVICE_MAC));
    assert!(!changes.is_empty() || text.contains(SERVER));
    std::array::from_fn(|host| {
        let config = folder.join(format!("host{host}.toml"));
        let text = text
            .replace("me = 0 ", &format!("me = {host} "))
            .replace("/var/lib/outlive", &format!("state-{host}"));
        std::fs::write(&config, text).expect("a file can be made");
        config
    })
}
