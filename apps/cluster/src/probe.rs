//! Whether the service network answers this host: what a bare pair goes by when its peer is silent.
//!
//! A TCP connection to some port of a host there is tried; a refusal is an answer as good as any. **It proves
//! little**: hosts that are cut from each other can both be answered. That is why a bare pair is called unsafe.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use socket2::{Domain, Protocol, Socket, Type};

/// How long an answer may take, and the pause between two questions.
pub(crate) const PATIENCE: Duration = Duration::from_millis(100);

/// Asks one host after the other, from our address on their network if it is known; true at the first answer.
pub(crate) fn answers(probes: &[SocketAddr], from: Option<IpAddr>) -> bool {
    probes.iter().any(|to| match ask(*to, from) {
        Ok(()) => true,
        Err(error) => error.kind() == io::ErrorKind::ConnectionRefused,
    })
}

fn ask(to: SocketAddr, from: Option<IpAddr>) -> io::Result<()> {
    let socket = Socket::new(Domain::for_address(to), Type::STREAM, Some(Protocol::TCP))?;
    if let Some(from) = from.filter(|from| from.is_ipv4() == to.is_ipv4()) {
        socket.bind(&SocketAddr::new(from, 0).into())?;
    }
    // Nothing is to be said, and nothing kept.
    socket.set_linger(Some(Duration::ZERO))?;
    socket.connect_timeout(&to.into(), PATIENCE)
}

#[cfg(test)]
#[allow(clippy::disallowed_types, reason = "a listener to ask")]
mod tests {
    use std::net::TcpListener;

    use super::*;

    #[test]
    fn an_open_and_a_closed_port_answer_and_nobody_does_not() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        assert!(answers(&[address], Some([127, 0, 0, 1].into())));
        drop(listener);
        assert!(answers(&[address], None));
        // RFC 5737 addresses are nobody's; from loopback there is not even a way.
        let nobody = SocketAddr::from(([192, 0, 2, 1], 9));
        assert!(!answers(&[nobody], Some([127, 0, 0, 1].into())));
        assert!(answers(&[nobody, address], None));
        assert!(!answers(&[], None));
    }
}
