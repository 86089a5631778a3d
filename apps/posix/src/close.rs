//! How a connection ends: `close`, `shutdown`.

use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use outlive::tcp::{Connection, State};

use crate::descriptor::{Descriptor, Object};
use crate::driver::Limit;
use crate::errno::{Errno, Result};
use crate::socket::{Inner, Phase, Socket};
use crate::sockets::Sockets;

impl Inner {
    /// True when the peer need not hear of it.
    pub(crate) fn is_quiet_to_drop(&self) -> bool {
        matches!(self.state(), State::Closed | State::SynSent)
    }
}

impl Sockets {
    /// `close(2)`. With data left unread, or a linger time of zero, the peer gets a RST; otherwise FIN
    /// follows what was written, and this waits as long as `SO_LINGER` says.
    ///
    /// # Errors
    /// `EBADF`.
    pub fn close(&self, descriptor: Descriptor) -> Result<()> {
        match self.remove(descriptor)? {
            Object::Socket(socket) => self.close_socket(&socket),
            Object::Datagrams(socket) => self.close_datagrams(&socket),
            other => self.abandon(other),
        }
        Ok(())
    }

    fn close_socket(&self, socket: &Arc<Socket>) {
        let (phase, linger, nonblocking) = {
            let mut inner = socket.inner.lock();
            let phase = std::mem::replace(&mut inner.phase, Phase::Fresh);
            (phase, inner.choices.linger, inner.nonblocking)
        };
        let connection = match &phase {
            Phase::Connected(connection) => Some(Arc::clone(connection)),
            _ => None,
        };
        self.at_once(|| self.drop_phase_lingering(phase, linger));
        if let (Some(connection), Some(seconds @ 1..), false) = (connection, linger, nonblocking) {
            let limit = Limit::Until(self.driver.now() + Duration::from_secs(seconds.into()));
            let _ = self.until(limit, |_| is_delivered(&connection));
        }
    }

    fn drop_phase_lingering(&self, phase: Phase, linger: Option<u16>) {
        match phase {
            Phase::Connected(connection) if linger == Some(0) => {
                self.direct().change(&connection, |tcb, _| tcb.abort());
            }
            phase => self.drop_phase(phase, true),
        }
    }

    /// Lets go of a listener or a connection: in order, or with a RST.
    pub(crate) fn drop_phase(&self, phase: Phase, in_order: bool) {
        match phase {
            Phase::Fresh => {}
            Phase::Listening(listener) => self.direct().close_listener(&listener),
            Phase::Connected(connection) => self.direct().change(&connection, |tcb, now| {
                if in_order {
                    tcb.close(now);
                } else {
                    tcb.abort();
                }
            }),
        }
    }

    /// What the kernel closed behind our back.
    pub(crate) fn abandon(&self, object: Object) {
        match object {
            Object::Socket(socket) => {
                let phase = std::mem::replace(&mut socket.inner.lock().phase, Phase::Fresh);
                self.at_once(|| self.drop_phase(phase, true));
            }
            Object::Datagrams(socket) => self.close_datagrams(&socket),
            Object::Pipe(end) => self.at_once(|| end.close()),
            Object::Epoll(_) => {}
        }
        self.driver.ring();
    }

    /// `shutdown(2)`.
    ///
    /// # Errors
    /// `EBADF`, `ENOTSOCK`, `EINVAL`, `ENOTCONN`.
    pub fn shutdown(&self, descriptor: Descriptor, how: i32) -> Result<()> {
        let object = self.object(descriptor)?;
        let (read, write) = match how {
            libc::SHUT_RD => (true, false),
            libc::SHUT_WR => (false, true),
            libc::SHUT_RDWR => (true, true),
            _ => return Err(Errno(libc::EINVAL)),
        };
        let socket = match object {
            Object::Socket(socket) => socket,
            Object::Datagrams(socket) => return self.shutdown_datagrams(&socket, (read, write)),
            Object::Pipe(_) | Object::Epoll(_) => return Err(Errno(libc::ENOTSOCK)),
        };
        self.at_once(|| {
            let mut inner = socket.inner.lock();
            match &inner.phase {
                Phase::Fresh => return Err(Errno(libc::ENOTCONN)),
                // Reading ends by ceasing to listen.
                Phase::Listening(_) if read => {
                    let phase = std::mem::replace(&mut inner.phase, Phase::Fresh);
                    self.drop_phase(phase, true);
                    return Ok(());
                }
                Phase::Listening(_) => return Ok(()),
                Phase::Connected(_) => {}
            }
            match inner.state() {
                State::Closed => return Err(Errno(libc::ENOTCONN)),
                // As Linux: the attempt is given up.
                State::SynSent => {
                    let phase = std::mem::replace(&mut inner.phase, Phase::Fresh);
                    self.drop_phase(phase, true);
                    return Ok(());
                }
                _ => {}
            }
            inner.change(self.direct(), |tcb| {
                if read {
                    tcb.shutdown_read();
                }
                if write {
                    // Closed already: that is what was wanted.
                    let _ = tcb.shutdown_write();
                }
            });
            Ok(())
        })
    }
}

fn is_delivered(connection: &Connection) -> Poll<()> {
    let info = connection.tcb.lock().info();
    let closing = matches!(
        info.state,
        State::FinWait1 | State::Closing | State::LastAck
    );
    if info.send_queue_bytes == 0 && !closing {
        Poll::Ready(())
    } else {
        Poll::Pending
    }
}
