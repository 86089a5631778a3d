//! What the applications of the two servers tell each other when they meet: one message each, for example what
//! each has to serve. It travels on the bulk channel, so that it delays no commit.

#![allow(
    clippy::disallowed_methods,
    reason = "the shell: a thread for what may take long"
)]

use std::io;
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::sync::{Arc, OnceLock};

use bytes::Bytes;

use crate::id::{Channel, HostId};
use crate::link::{Links, MOST_MESSAGE_BYTES};

/// Begins a message of an application; no message of the replication begins so.
const APPLICATION: u8 = 0x80;
/// News that may wait; the hosts meet seldom.
const MOST_WAITING: usize = 16;

/// An application that has something to say to its other half.
pub trait Companion: Send + Sync + 'static {
    /// What the other half is told when they meet. May take long.
    fn message(&self) -> Bytes;

    /// What the other half said, or `None` when it is gone.
    fn told(&self, theirs: Option<Bytes>);
}

enum News {
    Met,
    Parted,
    Told(Bytes),
}

/// The application's end of it, if there is one.
#[derive(Default)]
pub(crate) struct Companionship(OnceLock<SyncSender<News>>);

impl Companionship {
    /// Lets `companion` speak with the application of `peer`.
    pub(crate) fn start(
        &self,
        companion: Arc<dyn Companion>,
        links: &Arc<Links>,
        peer: HostId,
    ) -> io::Result<()> {
        let (sender, news) = sync_channel(MOST_WAITING);
        if self.0.set(sender).is_ok() {
            let links = Arc::clone(links);
            let thread = std::thread::Builder::new().name("companion".into());
            thread.spawn(move || speak(&*companion, &links, peer, &news))?;
        }
        Ok(())
    }

    /// The ordered channels came up or broke.
    pub(crate) fn connected(&self, up: bool) {
        self.tell(if up { News::Met } else { News::Parted });
    }

    /// Takes a message that is for the application, and gives others back.
    pub(crate) fn take(&self, channel: Channel, message: Bytes) -> Option<Bytes> {
        if channel != Channel::Bulk || message.first() != Some(&APPLICATION) {
            return Some(message);
        }
        self.tell(News::Told(message.slice(1..)));
        None
    }

    fn tell(&self, news: News) {
        let told = self.0.get().map(|sender| sender.try_send(news));
        if let Some(Err(TrySendError::Full(_))) = told {
            tracing::warn!("the application is too slow to hear of its other half");
        }
    }
}

fn speak(companion: &dyn Companion, links: &Links, peer: HostId, news: &Receiver<News>) {
    while let Ok(news) = news.recv() {
        match news {
            News::Met => {
                let message = [&[APPLICATION][..], &companion.message()].concat();
                if message.len() <= MOST_MESSAGE_BYTES {
                    links.send(peer, Channel::Bulk, message.into());
                } else {
                    tracing::warn!(
                        bytes = message.len(),
                        "the application has more to say to its other half than one message holds"
                    );
                }
            }
            News::Parted => companion.told(None),
            News::Told(message) => companion.told(Some(message)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use outlive::replication::message::Message;

    #[test]
    fn messages_of_the_replication_pass_by() {
        let companionship = Companionship::default();
        let entry = Bytes::from_static(&[1, 2, 3]);
        let passed = companionship.take(Channel::Bulk, entry.clone());
        assert_eq!(passed, Some(entry));
        let ours = Bytes::from_static(&[APPLICATION, 5]);
        assert_eq!(companionship.take(Channel::Bulk, ours.clone()), None);
        assert_eq!(
            companionship.take(Channel::Commit, ours.clone()),
            Some(ours.clone())
        );
        assert!(Message::decode(ours).is_err());
    }
}
