//! `poll(2)`.

use std::task::Poll;
use std::time::Duration;

use crate::driver::Limit;
use crate::errno::Result;
use crate::sockets::Sockets;

impl Sockets {
    /// The limit that a time-out in milliseconds stands for; below zero there is none.
    pub(crate) fn limit_of_ms(&self, timeout_ms: i32) -> Limit {
        match u64::try_from(timeout_ms) {
            Ok(0) => Limit::Now,
            Ok(millis) => Limit::Until(self.driver.now() + Duration::from_millis(millis)),
            Err(_) => Limit::Never,
        }
    }

    /// `poll(2)`: how many of `asked` have something to tell, which is in their `revents`.
    ///
    /// # Errors
    /// None so far.
    pub fn poll(&self, asked: &mut [libc::pollfd], timeout_ms: i32) -> Result<usize> {
        let limit = self.limit_of_ms(timeout_ms);
        let ready = self.until(limit, |cx| {
            let mut count = 0;
            for entry in asked.iter_mut() {
                entry.revents = 0;
                if entry.fd < 0 {
                    continue;
                }
                entry.revents = match self.object(entry.fd) {
                    Ok(object) => {
                        let always = libc::POLLERR | libc::POLLHUP;
                        object.ready(self.direct(), cx).events as i16 & (entry.events | always)
                    }
                    Err(_) => libc::POLLNVAL,
                };
                count += usize::from(entry.revents != 0);
            }
            if count > 0 {
                Poll::Ready(count)
            } else {
                Poll::Pending
            }
        });
        Ok(ready.unwrap_or(0))
    }
}
