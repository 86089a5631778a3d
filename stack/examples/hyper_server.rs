//! hyper, unchanged, over the asynchronous sockets: no tokio runtime, its tasks run on the stack's own
//! thread.
//!
//! ```sh
//! unshare -Urn sh -c 'cargo run --example hyper_server & sleep 2; curl http://10.0.0.2:8080/'
//! ```

use std::convert::Infallible;
use std::error::Error;
use std::net::IpAddr;

use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use outlive::engine::{Config, Stack};
use outlive::socket::asynchronous::TcpListener;
use outlive_driver::tuntap;

async fn answer(request: Request<Incoming>) -> Result<Response<String>, Infallible> {
    let text = format!("{} {}\n", request.method(), request.uri().path());
    Ok(Response::new(text))
}

async fn serve(stack: Stack) -> std::io::Result<()> {
    let listener = TcpListener::bind(&stack, "0.0.0.0:8080")?;
    loop {
        let (stream, peer) = listener.accept().await?;
        let near = stream.clone();
        let connection = async move {
            let service = service_fn(answer);
            let served = http1::Builder::new().serve_connection(TokioIo::new(stream), service);
            if let Err(error) = served.await {
                eprintln!("{peer}: {error}");
            }
        };
        near.spawn(connection).detach();
    }
}

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let mut next = |or: &str| arguments.next().unwrap_or_else(|| or.to_owned());
    let (name, address, host) = (next("tap0"), next("10.0.0.2/24"), next("10.0.0.1"));
    let mut device = tuntap::Options::tap(name);
    device.host_address = Some((host.parse::<IpAddr>()?, 24));
    let mut config = Config::default();
    config.ip.addresses = vec![address.parse()?];
    let stack = Stack::start(device.open()?, config)?;
    println!("http on {address}, port 8080");
    stack.spawn(serve(stack.clone())).detach();
    loop {
        std::thread::park();
    }
}
