//! Ports and peers of datagram sockets.

use std::net::SocketAddr;
use std::sync::Arc;

use outlive::udp;

use super::{Datagrams, Inner};
use crate::address::{Name, decode, family_of};
use crate::errno::{Errno, Result};
use crate::sockets::Sockets;

impl Sockets {
    pub(crate) fn bind_datagrams(&self, socket: &Datagrams, name: &[u8]) -> Result<()> {
        let mut inner = socket.inner.lock();
        let address = inner.admit(decode(name)?)?;
        if inner.bound.is_some() {
            return Err(Errno(libc::EINVAL));
        }
        self.take_port(&mut inner, address).map(drop)
    }

    fn take_port(&self, inner: &mut Inner, address: SocketAddr) -> Result<Arc<udp::Socket>> {
        let bound = self.direct().bind_datagrams(address)?;
        inner.bound = Some(Arc::clone(&bound));
        inner.apply();
        Ok(bound)
    }

    /// The stack's socket; on a port of its choice if none was asked for.
    pub(super) fn with_port(&self, inner: &mut Inner) -> Result<Arc<udp::Socket>> {
        match &inner.bound {
            Some(bound) => Ok(Arc::clone(bound)),
            None => {
                let any = SocketAddr::new(inner.any(), 0);
                self.take_port(inner, any)
            }
        }
    }

    /// `connect(2)`: from now on there is one peer; to no address (`AF_UNSPEC`), there is none again.
    pub(crate) fn connect_datagrams(&self, socket: &Datagrams, name: &[u8]) -> Result<()> {
        let mut inner = socket.inner.lock();
        if family_of(name)? == libc::AF_UNSPEC {
            if let Some(bound) = &inner.bound {
                bound.disconnect();
            }
            return Ok(());
        }
        let peer = inner.admit(decode(name)?)?;
        let bound = self.with_port(&mut inner)?;
        Ok(bound.connect(peer)?)
    }

    pub(crate) fn name_of_datagrams(socket: &Datagrams) -> Name {
        let inner = socket.inner.lock();
        let any = SocketAddr::new(inner.any(), 0);
        let local = inner.bound.as_ref().map_or(any, |it| it.local_addr());
        inner.family.encode(local)
    }

    pub(crate) fn peer_of_datagrams(socket: &Datagrams) -> Result<Name> {
        let inner = socket.inner.lock();
        let peer = inner.bound.as_ref().and_then(|bound| bound.peer());
        let peer = peer.ok_or(Errno(libc::ENOTCONN))?;
        Ok(inner.family.encode(peer))
    }

    /// `shutdown(2)`: as Linux, it counts even where there is no peer, which is told.
    pub(crate) fn shutdown_datagrams(
        &self,
        socket: &Datagrams,
        (read, write): (bool, bool),
    ) -> Result<()> {
        let connected = {
            let mut inner = socket.inner.lock();
            inner.read_shut |= read;
            inner.write_shut |= write;
            inner.bound.as_ref().is_some_and(|it| it.peer().is_some())
        };
        self.driver.ring();
        connected.then_some(()).ok_or(Errno(libc::ENOTCONN))
    }

    pub(crate) fn close_datagrams(&self, socket: &Datagrams) {
        let bound = socket.inner.lock().bound.take();
        self.at_once(|| {
            if let Some(bound) = bound {
                bound.close();
            }
        });
    }
}
