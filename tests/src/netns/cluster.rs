//! Two hosts that share a service address, a witness, and a client, on two switches.
//!
//! ```text
//!   client ── service network 10.77.0.0/24 ─┬── host0 ──┬─ replication network 10.88.0.0/24
//!                    (bridge `service`)     ├── host1 ──┤     (bridge `replication`)
//!                                           └── witness ┘
//! ```
//! Every host is a network namespace with a kernel of its own on both networks; the service address
//! belongs to whichever `outlive video` serves.

use std::cell::Cell;
use std::path::{Path, PathBuf};
use std::time::Duration;

use outlive_cluster::control;
use outlive_cluster::report::{Report, Role};

use super::command::Finished;
use super::cuts::Network;
use super::media::Media;
use super::outlive::{Server, outlive_command};
use super::sandbox::{Netns, Sandbox};
use super::topology::{CLIENT, SERVER};

/// The service MAC address.
pub const SERVICE_MAC: &str = "02:00:5e:77:00:02";
const NAMES: [&str; 3] = ["host0", "host1", "witness"];
/// Between two questions to another process.
const PAUSE: Duration = Duration::from_millis(5);

/// Changes of the example's configuration. Tests are of what is right; how fast it is, benchmarks tell: a machine that is
/// busy with other work takes no host for dead, and leaves no backup behind between a test's question and the kill.
const PATIENT: [(&str, &str); 4] = [
    ("interval_ms = 10\n", "interval_ms = 40\n"),
    ("multiplier = 3\n", "multiplier = 6\n"),
    ("duration_ms = 30\n", "duration_ms = 240\n"),
    ("commit_timeout_ms = 200 ", "commit_timeout_ms = 2000 "),
];

/// The hosts and what runs on them.
pub struct Cluster<'a> {
    /// Where the clients run; their interface is `eth0`.
    pub client: Netns<'a>,
    switch: Netns<'a>,
    hosts: [Netns<'a>; 3],
    configs: [PathBuf; 3],
    media: PathBuf,
    options: Vec<String>,
    /// What runs on host 0, on host 1, and the witness.
    pub running: [Option<Server<'a>>; 3],
}

impl<'a> Cluster<'a> {
    /// Lays the networks and writes the configurations: the example's, more patient, with `changes` of text made in it.
    /// Nothing runs yet.
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
            switch,
            hosts,
            configs: configure(sandbox, changes),
            media: media.folder().to_owned(),
            options: options.iter().map(|&option| option.to_owned()).collect(),
            running: [const { None }; 3],
        }
    }

    /// Both servers run on one host, as two processes; `changes` have given them different ports.
    #[must_use]
    pub fn on_one_host(mut self) -> Self {
        self.hosts[1] = self.hosts[0].clone();
        self
    }

    /// Starts all three and waits until one serves and the other is ready to take over.
    pub fn start(&mut self) {
        for host in [2, 0, 1] {
            self.start_host(host);
        }
        self.wait_until_protected();
    }

    /// The same without a witness.
    pub fn start_pair(&mut self) {
        for host in [0, 1] {
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
        let name = format!("{}-{}", NAMES[host], super::count());
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

    /// `kill -9` of whoever serves, once the other host is ready; on return that one serves. Returns who was killed.
    pub fn kill_primary(&mut self) -> usize {
        self.wait_until_protected();
        let primary = self.primary();
        self.kill(primary);
        self.wait_until_serves(1 - primary);
        primary
    }

    /// Ends what runs on a host as Ctrl-C does, and waits until it has: what it said since its start.
    pub fn stop(&mut self, host: usize) -> String {
        let server = self.running[host].take();
        server.map(Server::stop).unwrap_or_default()
    }

    /// Waits until what runs on a host has ended, for whatever reason.
    pub fn wait_for_end(&mut self, host: usize) {
        if let Some(server) = self.running[host].take() {
            server.wait_for_end();
        }
    }

    /// From its next start on, a host has a key that no other host has.
    ///
    /// # Panics
    /// When its configuration cannot be written.
    pub fn take_another_key(&self, host: usize) {
        let config = &self.configs[host];
        let key = config.with_file_name("other.key");
        let outlive = outlive_command().display();
        self.switch
            .shell(&format!("(umask 077; {outlive} key > {})", key.display()));
        let text = std::fs::read_to_string(config).expect("it was written");
        let text = text.replace("\"cluster.key\"", "\"other.key\"");
        std::fs::write(config, text).expect("it can be written again");
    }

    /// What a host says of itself; none if it does not answer.
    #[must_use]
    pub fn report(&self, host: usize) -> Option<Report> {
        // A Unix socket is reached from every network namespace.
        let folder = self.configs[host].with_file_name(format!("state-{host}"));
        control::status(&folder).ok()
    }

    /// Whether a host is in this role, by its own account.
    #[must_use]
    pub fn is(&self, host: usize, role: Role) -> bool {
        self.report(host).is_some_and(|report| report.role == role)
    }

    /// The host that serves; while there is none, a busy machine is given time to have one.
    ///
    /// # Panics
    /// When there is none within a minute.
    #[must_use]
    pub fn primary(&self) -> usize {
        let serves = |host: &usize| self.running[*host].is_some() && self.is(*host, Role::Primary);
        let found = Cell::new(None);
        self.wait_for("host that serves", |_| {
            found.set((0..2).find(serves));
            found.get().is_some()
        });
        found.get().expect("it was waited for")
    }

    /// Waits until one host serves and the other has a complete copy of every connection.
    pub fn wait_until_protected(&self) {
        self.wait_for("a complete backup", |cluster| {
            (0..2).any(|host| cluster.is_protected(host) && cluster.is(1 - host, Role::Backup))
        });
    }

    fn is_protected(&self, host: usize) -> bool {
        self.report(host).is_some_and(|report| {
            let unprotected = report.replication.map_or(0, |it| it.unprotected);
            report.role == Role::Primary && report.in_sync.len() == 2 && unprotected == 0
        })
    }

    /// Waits until `host` serves.
    pub fn wait_until_serves(&self, host: usize) {
        self.wait_for("takeover", |cluster| cluster.is(host, Role::Primary));
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
            std::thread::sleep(PAUSE);
        }
    }

    /// Insists that nothing is wrong with the clients; if it is, says what all that runs complained about.
    ///
    /// # Panics
    /// When something is wrong.
    pub fn insist<T>(&self, result: Result<T, String>) -> T {
        result.unwrap_or_else(|what| panic!("{what}\n{}", self.complaints()))
    }

    /// Sends a signal to what runs on a host.
    ///
    /// # Panics
    /// When nothing runs there.
    pub fn signal(&self, host: usize, signal: &str) {
        let server = self.running[host].as_ref();
        server.expect("it runs").signal(signal);
    }

    /// Stops what runs on a host for so many seconds, in which `meanwhile` is called now and then with those that are left;
    /// when it went on, in seconds of Unix time.
    ///
    /// # Panics
    /// When nothing runs there.
    pub fn pause(&self, host: usize, seconds: f64, meanwhile: impl FnMut(f64)) -> f64 {
        let server = self.running[host].as_ref();
        server.expect("it runs").pause(seconds, meanwhile)
    }

    /// Runs `outlive` on a host, with its configuration.
    #[must_use]
    pub fn outlive(&self, host: usize, command: &str) -> Finished {
        let mut finished = self.hosts[host].command(60, outlive_command());
        finished
            .args(command.split(' '))
            .arg("--config")
            .arg(&self.configs[host]);
        Finished::of(finished)
    }

    /// Has the service handed over by the host that has it: which one that was, and what the command said. A machine that is
    /// busy with other work may be too slow for one; then the host goes on, or the other one has taken over, the command says
    /// so, and whoever serves then is asked.
    #[must_use]
    pub fn hand_over(&self) -> (usize, String) {
        let done = Cell::new(None);
        self.wait_for("handover", |cluster| {
            let primary = cluster.primary();
            let finished = cluster.outlive(primary, "handover");
            let succeeded = finished.status.success();
            done.set(succeeded.then(|| (primary, finished.text())));
            succeeded
        });
        done.take().expect("it was waited for")
    }

    /// A host's namespace.
    #[must_use]
    pub fn host(&self, host: usize) -> &Netns<'a> {
        &self.hosts[host]
    }

    /// Where the cables of both networks come together.
    #[must_use]
    pub const fn switch(&self) -> &Netns<'a> {
        &self.switch
    }

    /// The port of the switch that a host's cable is in.
    #[must_use]
    pub fn port(&self, host: usize, network: Network) -> String {
        let initial = match network {
            Network::Service => 's',
            Network::Replication => 'r',
        };
        format!("{initial}-{}", NAMES[host])
    }

    /// The configuration of a host.
    #[must_use]
    pub fn config(&self, host: usize) -> &Path {
        &self.configs[host]
    }

    /// What a host has complained about.
    #[must_use]
    pub fn complaints_of(&self, host: usize) -> String {
        let server = self.running[host].as_ref();
        server.map(Server::complaints).unwrap_or_default()
    }

    /// What all that runs has complained about, and how it is.
    #[must_use]
    pub fn complaints(&self) -> String {
        let running = NAMES.iter().zip(&self.running);
        let texts = running.filter_map(|(name, server)| {
            let server = server.as_ref()?;
            Some(format!("--- {name}\n{}", server.complaints()))
        });
        let states = (0..2).filter_map(|host| self.report(host));
        let states = states.map(|report| format!("---\n{report}"));
        texts.chain(states).collect()
    }
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
        "(umask 077; {outlive} key > {})",
        folder.join("cluster.key").display()
    ));
    let mut text = sandbox.shell(&format!("{outlive} key --example"));
    let usual = [("\"eth1\"", "\"svc\""), ("gateway = ", "# gateway = ")];
    for (from, to) in usual.iter().chain(&PATIENT).chain(changes) {
        assert!(text.contains(from), "\"{from}\" is not in the example");
        text = text.replace(from, to);
    }
    assert!(text.contains(SERVICE_MAC));
    assert!(!changes.is_empty() || text.contains(SERVER));
    std::array::from_fn(|host| {
        let config = folder.join(format!("host{host}.toml"));
        let text = text
            .replace("me = 0 ", &format!("me = {host} "))
            .replace("/var/lib/outlive", &format!("state-{host}"))
            .replace("FOLDER", &folder.display().to_string());
        std::fs::write(&config, text).expect("a file can be made");
        config
    })
}
