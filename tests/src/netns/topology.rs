//! How server and client are joined: a TAP device, a virtual cable, or an impaired link.

use super::command::require;
use super::outlive::Server;
use super::sandbox::{Netns, Sandbox};

/// The address of the client's kernel.
pub const CLIENT: &str = "10.77.0.1";
/// The address of the server.
pub const SERVER: &str = "10.77.0.2";

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
    arguments: Vec<String>,
}

impl<'a> Link<'a> {
    /// Joins a client and a server in `sandbox` by a clean link.
    #[must_use]
    pub fn new(sandbox: &'a Sandbox, device: Device) -> Self {
        match device {
            Device::Tap => Self::tap(sandbox, "tap"),
            Device::Tun => Self::tap(sandbox, "tun"),
            Device::Veth => Self::veth(sandbox),
        }
    }

    fn tap(sandbox: &'a Sandbox, kind: &'static str) -> Self {
        let client = sandbox.netns("client");
        let interface = if kind == "tap" { "tap0" } else { "tun0" };
        let arguments = ["--device", kind, "--interface", interface, "--host-address"];
        let mut arguments: Vec<String> = arguments.map(String::from).to_vec();
        arguments.push(format!("{CLIENT}/24"));
        Self {
            server: client.clone(),
            client,
            client_interface: interface,
            arguments,
        }
    }

    fn veth(sandbox: &'a Sandbox) -> Self {
        let (client, server) = (sandbox.netns("client"), sandbox.netns("server"));
        sandbox.shell(
            "ip link add veth0 netns client type veth peer name veth1 netns server
             ip -n client addr add 10.77.0.1/24 dev veth0
             ip -n client link set veth0 up
             ip -n server link set veth1 up",
        );
        Self {
            client,
            server,
            client_interface: "veth0",
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

    /// Starts `outlive video` on this link, serving `media`.
    #[must_use]
    pub fn serve_video(&self, media: &super::Media, options: &[&str]) -> Server<'a> {
        let folder = media.folder().display().to_string();
        let address = format!("{SERVER}/24");
        let mut arguments = vec!["video", &folder, "--address", &address, "--port", "80"];
        arguments.extend(self.arguments.iter().map(String::as_str));
        arguments.extend(options);
        Server::start(self.server.clone(), "video", "serving", &arguments)
    }
}
