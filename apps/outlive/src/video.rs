//! `outlive video`: options, start, and an orderly end.

use std::io::Write;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use clap::Args;
use outlive::engine::Stack;
use outlive::socket::ReplayOptions;
use outlive_app::{NetworkOptions, StackKind, StopSignals, print_summary};
use outlive_cluster::server::{Retirement, Server as ClusterServer};
use outlive_video::server::{Config, Phase, Server};
use outlive_video::transport::{kernel, outlive as outlive_transport};
use tokio::runtime::{Builder, Runtime};

use crate::catalogues::Catalogues;
use crate::member::{ClusterOptions, Member};

/// How long responses may go on after Ctrl-C, and how long connections may take to close after that.
const GRACE: Duration = Duration::from_secs(2);
const CLOSING: Duration = Duration::from_secs(3);

/// Options of `outlive video`.
#[derive(Args, Clone, Debug)]
#[command(after_help = EXAMPLES)]
pub(crate) struct VideoOptions {
    /// The folder of films; folders in it are served too, hidden files are not
    #[arg(value_name = "MEDIA_DIR")]
    media: PathBuf,

    /// Port to listen on
    #[arg(long, short, value_name = "PORT", default_value_t = 80)]
    port: u16,

    /// Take uploads into this folder (PUT /uploads/NAME); without it they can only be thrown away
    /// (PUT /sink/NAME), which answers with their SHA-256, or only with their length if the request
    /// has the field "Want-Repr-Digest: sha-256=0"
    #[arg(long, value_name = "DIR")]
    uploads: Option<PathBuf>,

    /// Send each client at most so many bits of film per second
    #[arg(long, value_name = "BITS", value_parser = clap::value_parser!(u64).range(1..))]
    pace: Option<u64>,

    #[command(flatten)]
    cluster: ClusterOptions,

    #[command(flatten)]
    network: NetworkOptions,
}

const EXAMPLES: &str = "\
Examples:
  On a TAP interface that is made for it; the kernel's side becomes 10.0.0.1:
    sudo outlive video ~/films
    mpv http://10.0.0.2/film.mp4        or open http://10.0.0.2/ in a browser
  The same without root, in a namespace of your own:
    unshare -Urn bash
    outlive video ~/films &
    curl -r 0-999 http://10.0.0.2/film.mp4 | sha256sum
  To the whole network, beside the kernel on an existing interface:
    sudo outlive video ~/films --device packet --interface eth0 --address 192.168.1.80/24 --gateway 192.168.1.1
  On the kernel's own sockets, to compare:
    outlive video ~/films --stack kernel --port 8080
  So that connections outlive this host (`outlive key --help` shows how to set a cluster up):
    outlive video ~/films --cluster cluster.toml --me 0
  With a recording of every frame, for Wireshark:
    sudo outlive video ~/films --capture film.pcapng
Ctrl-C (or SIGTERM) closes connections properly and prints what was counted; a second one ends at once. In a
cluster it hands the service over instead, if the other host is ready or becomes so within 3 s: then no
connection ends.";

impl VideoOptions {
    /// The same, ready to take over instead of serving first.
    pub(crate) fn as_backup(&self) -> Self {
        Self {
            cluster: self.cluster.as_backup(),
            ..self.clone()
        }
    }
}

/// Serves until interrupted.
pub(crate) fn run(options: &VideoOptions) -> anyhow::Result<()> {
    let member = options.cluster.join(&options.network)?;
    let stop = StopSignals::new().context("cannot wait for signals")?;
    let mut config = Config::new(options.media.clone());
    config.uploads.clone_from(&options.uploads);
    config.limits.rate_bits_per_s = options.pace;
    let server = Server::start(config)?;
    match (member, options.network.stack) {
        (Some(member), _) => serve_in_cluster(options, member, &server, stop),
        (None, StackKind::Kernel) => serve_on_kernel(options, &server, stop),
        (None, StackKind::Outlive) => serve_on_outlive(options, &server, stop),
    }
}

fn serve_on_kernel(
    options: &VideoOptions,
    server: &Arc<Server>,
    stop: StopSignals,
) -> anyhow::Result<()> {
    let runtime = Runtime::new().context("cannot start threads")?;
    let given = options.network.address.map(|cidr| cidr.address);
    let address = SocketAddr::new(
        given.unwrap_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED)),
        options.port,
    );
    let listener = runtime
        .block_on(kernel::bind(address))
        .with_context(|| advice_for(address))?;
    announce(options, address, "the kernel's stack")?;
    let serving = runtime.spawn(kernel::serve(Arc::clone(server), listener));
    stop.wait();
    runtime.block_on(drain(server));
    serving.abort();
    runtime.shutdown_timeout(Duration::from_millis(100));
    print_summary("outlive video", server.statistics.non_zero())?;
    Ok(())
}

fn serve_on_outlive(
    options: &VideoOptions,
    server: &Arc<Server>,
    stop: StopSignals,
) -> anyhow::Result<()> {
    let network = outlive_app::open(&options.network)?;
    let stack = network.stack;
    let listen = SocketAddr::new(network.listen, options.port);
    outlive_transport::start(server, &stack, listen, ReplayOptions::default())
        .with_context(|| format!("cannot listen on {listen}"))?;
    let address = SocketAddr::new(network.address, options.port);
    announce(options, address, options.network.interface_name()?)?;
    stop.wait();
    finish(server, &stack, Vec::new())
}

/// As one of two hosts, which serves or is ready to take over.
fn serve_in_cluster(
    options: &VideoOptions,
    member: Member,
    server: &Arc<Server>,
    stop: StopSignals,
) -> anyhow::Result<()> {
    let Member { config, network } = member;
    let (me, replay) = (config.me, config.survival.replay);
    let host = ClusterServer::open(config)?;
    let stack = outlive_app::open_shared(&network, |engine| host.configure(engine))?;
    let address = SocketAddr::new(network.address().address, options.port);
    outlive_transport::start(server, &stack, address, replay)
        .with_context(|| format!("cannot listen on {address}"))?;
    host.accompany(Arc::new(Catalogues::new(server)?))?;
    host.start(&stack)?;
    announce(options, address, &format!("the cluster, as {me}"))?;
    stop.wait();
    // If the other host can go on, nobody has to notice that this one ends.
    match host.retire() {
        Retirement::Free => {
            host.stop();
            print_summary("outlive video", host.counters())?;
            Ok(())
        }
        Retirement::Serves => {
            let finished = finish(server, &stack, host.counters());
            host.stop();
            finished
        }
    }
}

/// Closes what is open, in order, and says what was counted.
fn finish(
    server: &Arc<Server>,
    stack: &Stack,
    counted: Vec<(&'static str, u64)>,
) -> anyhow::Result<()> {
    // The stack's threads go on serving; this one only waits.
    Builder::new_current_thread()
        .enable_time()
        .build()
        .context("cannot start a timer")?
        .block_on(drain(server));
    let proper = stack.shutdown(CLOSING);
    print_summary(
        "outlive video",
        server
            .statistics
            .non_zero()
            .into_iter()
            .chain(stack.counters().non_zero())
            .chain(counted),
    )?;
    if !proper {
        tracing::warn!("some connections did not close in time and were reset");
    }
    Ok(())
}

/// What is likely to be wrong when an address cannot be listened on.
fn advice_for(address: SocketAddr) -> String {
    let port = address.port();
    let low = if port < 1024 {
        "; ports below 1024 need root, or choose one with --port 8080"
    } else {
        ""
    };
    format!(
        "cannot listen on {address}: in use, or not an address of this host? choose another with --port{low}"
    )
}

/// The line that says that clients may come.
fn announce(options: &VideoOptions, address: SocketAddr, on: &str) -> anyhow::Result<()> {
    let host = match address.port() {
        80 if address.is_ipv4() => address.ip().to_string(),
        80 => format!("[{}]", address.ip()),
        _ => address.to_string(),
    };
    let mut stdout = std::io::stdout();
    writeln!(
        stdout,
        "serving {} at http://{host}/ on {on}",
        options.media.display()
    )?;
    stdout.flush()?;
    Ok(())
}

/// Lets responses go on for a while, then cuts them short, and waits until all connections are closed.
async fn drain(server: &Server) {
    server.stop(Phase::Draining);
    if tokio::time::timeout(GRACE, server.drained()).await.is_ok() {
        return;
    }
    server.stop(Phase::Cutting);
    let _ = tokio::time::timeout(CLOSING, server.drained()).await;
}
