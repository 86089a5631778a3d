//! How server and client are joined: a TAP device, a virtual cable, or an impaired link.

use super::command::require;
use super::outlive::Server;
use super::sandbox::{Netns, Sandbox};

/// The address of the client's kernel.
pub const CLIENT: &str = "10.77.0.1";
/// The address of the server.
pub const SERVER: &str = "10.77.0.2";

/// The IPv6 address of the client's kernel.
pub const CLIENT6: &str = "fd77::1";
/// The IPv6 address of the server.
pub const SERVER6: &str = "fd77::2";

/// Which Internet protocol a link speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Family {
    /// IPv4.
    V4,
    /// IPv6.
    V6,
}

impl Family {
    /// The client's address with the size of its network.
    fn client(self) -> String {
        match self {
            Self::V4 => format!("{CLIENT}/24"),
            Self::V6 => format!("{CLIENT6}/64"),
        }
    }

    /// The server's address.
    #[must_use]
    pub const fn server(self) -> &'static str {
        match self {
            Self::V4 => SERVER,
            Self::V6 => SERVER6,
        }
    }

    /// The server as a URL has it.
    #[must_use]
    pub fn url(self) -> String {
        match self {
            Self::V4 => format!("http://{SERVER}"),
            Self::V6 => format!("http://[{SERVER6}]"),
        }
    }
}

/// What the server's stack stands on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Device {
    /// A TAP device in the client's namespace: the client's kernel is the other end.
    Tap,
    /// A TUN device in the client's namespace.
    Tun,
    /// AF_PACKET on one end of a veth pair, the client's kernel on the other.
    Veth,
}

/// A prepared link: where the clients run, and how the server is told to use it.
pub struct Link<'a> {
    /// Where the clients run.
    pub client: Netns<'a>,
    /// Where the server runs.
    pub server: Netns<'a>,
    /// The client's interface.
    pub client_interface: &'static str,
    family: Family,
    arguments: Vec<String>,
}

impl<'a> Link<'a> {
    /// Joins a client and a server in `sandbox` by a clean link.
    #[must_use]
    pub fn new(sandbox: &'a Sandbox, device: Device) -> Self {
        Self::of(sandbox, device, Family::V4)
    }

    /// The same with addresses of that family.
    #[must_use]
    pub fn of(sandbox: &'a Sandbox, device: Device, family: Family) -> Self {
        match device {
            Device::Tap => Self::tap(sandbox, "tap", family),
            Device::Tun => Self::tap(sandbox, "tun", family),
            Device::Veth => Self::veth(sandbox, family),
        }
    }

    fn tap(sandbox: &'a Sandbox, kind: &'static str, family: Family) -> Self {
        let client = sandbox.netns("client");
        let interface = if kind == "tap" { "tap0" } else { "tun0" };
        let arguments = ["--device", kind, "--interface", interface, "--host-address"];
        let mut arguments: Vec<String> = arguments.map(String::from).to_vec();
        arguments.push(family.client());
        Self {
            server: client.clone(),
            client,
            client_interface: interface,
            family,
            arguments,
        }
    }

    fn veth(sandbox: &'a Sandbox, family: Family) -> Self {
        let (client, server) = (sandbox.netns("client"), sandbox.netns("server"));
        // Nobody else is there whom the kernel would have to ask for its address.
        let at_once = if family == Family::V6 { "nodad" } else { "" };
        let address = family.client();
        sandbox.shell(&format!(
            "ip link add veth0 netns client type veth peer name veth1 netns server
             ip -n client addr add {address} dev veth0 {at_once}
             ip -n client link set veth0 up
             ip -n server link set veth1 up",
        ));
        Self {
            client,
            server,
            client_interface: "veth0",
            family,
            arguments: ["--device", "packet", "--interface", "veth1"]
                .map(String::from)
                .to_vec(),
        }
    }

    /// Joins a client and a server in `sandbox` by a relay that impairs what it carries as `impairment`
    /// (options of `outlive relay`) says. The server stands on AF_PACKET, so that the kernel's stack can
    /// take the same place.
    #[must_use]
    pub fn impaired(sandbox: &'a Sandbox, mtu: u32, impairment: &[&str]) -> (Self, Server<'a>) {
        let (client, server) = (sandbox.netns("client"), sandbox.netns("server"));
        let mtu_text = mtu.to_string();
        let mut arguments = vec!["relay", "--left", "left0", "--right", "right0"];
        arguments.extend(["--mtu", &mtu_text]);
        arguments.extend(impairment);
        let relay = Server::start(sandbox.first_netns(), "relay", "relaying", &arguments);
        sandbox.shell(&format!(
            "ip link set left0 netns client
             ip link set right0 netns server
             ip -n client link set left0 mtu {mtu} up
             ip -n client addr add {CLIENT}/24 dev left0
             ip -n server link set right0 mtu {mtu} up"
        ));
        let link = Self {
            client,
            server,
            client_interface: "left0",
            family: Family::V4,
            arguments: ["--device", "packet", "--interface", "right0"]
                .map(String::from)
                .to_vec(),
        };
        (link, relay)
    }

    /// Has the client's kernel finish checksums and cut segments itself, as for a real wire.
    pub fn without_client_offloads(&self) {
        require(&["ethtool"]);
        let interface = self.client_interface;
        let _ = self.client.shell(&format!(
            "ethtool -K {interface} tx off tso off gso off gro off"
        ));
    }

    /// Whether somebody tells the client's kernel that nobody listens there, within ten seconds: a datagram is sent now and
    /// then until one fails.
    #[must_use]
    pub fn udp_is_refused(&self, address: &str, port: u16) -> bool {
        let line = format!(
            "exec 3<> /dev/udp/{address}/{port}
             for _ in $(seq 100); do echo hello >&3 2>/dev/null || {{ echo refused; exit; }}; sleep 0.1; done"
        );
        self.client.shell(&line).contains("refused")
    }

    /// Starts `outlive video` on this link, serving `media`.
    #[must_use]
    pub fn serve_video(&self, media: &super::Media, options: &[&str]) -> Server<'a> {
        let folder = media.folder().display().to_string();
        let address = match self.family {
            Family::V4 => format!("{SERVER}/24"),
            Family::V6 => format!("{SERVER6}/64"),
        };
        let mut arguments = vec!["video", &folder, "--address", &address, "--port", "80"];
        arguments.extend(self.arguments.iter().map(String::as_str));
        arguments.extend(options);
        Server::start(self.server.clone(), "video", "serving", &arguments)
    }
}
