//! Everything that connections share, and how it ends.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use thiserror::Error;
use tokio::sync::watch;

use crate::http::Limits;
use crate::http::date::{DateSource, SystemDate};
use crate::media::library::FolderError;
use crate::media::twin::{Content, path_of};
use crate::media::{Catalogue, Digests, Library, Twin};
use crate::pool::Pool;
use crate::statistics::Statistics;
use crate::uploads::Uploads;

/// Threads that wait for the disk.
const DISK_THREADS: usize = 4;

/// How a server is set up.
pub struct Config {
    /// The folder of media.
    pub media: PathBuf,
    /// Where uploads go; without it they can only go to the sink.
    pub uploads: Option<PathBuf>,
    /// What a client may ask.
    pub limits: Limits,
    /// Most connections at a time; further ones are reset.
    pub connections: usize,
    /// Tells the date.
    pub dates: Arc<dyn DateSource>,
}

impl Config {
    /// Serves `media` with the usual limits.
    #[must_use]
    pub fn new(media: PathBuf) -> Self {
        Self {
            media,
            uploads: None,
            limits: Limits::default(),
            connections: 16_384,
            dates: Arc::new(SystemDate),
        }
    }
}

/// Why a server does not start.
#[derive(Debug, Error)]
pub enum StartError {
    /// The media folder.
    #[error("media folder {0}")]
    Media(FolderError),
    /// The folder for uploads.
    #[error("folder for uploads {0}")]
    Uploads(FolderError),
    /// No threads.
    #[error("the operating system gives no thread: {0}; close other programs or raise `ulimit -u`")]
    Threads(#[from] io::Error),
}

/// How far the end has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Phase {
    /// Not at all.
    Serving,
    /// Idle connections are closed, responses go on.
    Draining,
    /// Responses are cut short.
    Cutting,
}

/// Everything that connections share.
pub struct Server {
    /// The films.
    pub library: Library,
    /// The uploaded ones.
    pub uploads: Option<Uploads>,
    /// Their digests.
    pub digests: Digests,
    /// What the other host has of all that, where there is one.
    pub twin: Twin,
    /// Threads that wait for the disk.
    pub disk: Arc<Pool>,
    /// What a client may ask.
    pub limits: Limits,
    /// Tells the date.
    pub dates: Arc<dyn DateSource>,
    /// What was done.
    pub statistics: Statistics,
    most_connections: usize,
    connections: watch::Sender<usize>,
    phase: watch::Sender<Phase>,
}

impl Server {
    /// Opens the folders and begins to compute digests in the background.
    ///
    /// # Errors
    /// One line that says what to do.
    pub fn start(config: Config) -> Result<Arc<Self>, StartError> {
        let disk = Arc::new(Pool::start("disk", DISK_THREADS)?);
        let library = Library::open(&config.media, Arc::clone(&disk)).map_err(StartError::Media)?;
        let uploads = match &config.uploads {
            Some(path) => {
                Some(Uploads::open(path, Arc::clone(&disk)).map_err(StartError::Uploads)?)
            }
            None => None,
        };
        let digests = Digests::start()?;
        digests.prepare(library.all());
        Ok(Arc::new(Self {
            library,
            uploads,
            digests,
            twin: Twin::default(),
            disk,
            limits: config.limits,
            dates: config.dates,
            statistics: Statistics::default(),
            most_connections: config.connections,
            connections: watch::Sender::new(0),
            phase: watch::Sender::new(Phase::Serving),
        }))
    }

    /// Everything that is served, with the digest of its content: for another host to compare with what it
    /// has ([`Server::compare`]). Waits until all digests are known.
    pub async fn catalogue(&self) -> Catalogue {
        let mut catalogue = Catalogue::default();
        self.add_to(&mut catalogue, &self.library, "").await;
        if let Some(uploads) = &self.uploads {
            let prefix = format!("{}/", crate::service::UPLOADS);
            self.add_to(&mut catalogue, &uploads.library, &prefix).await;
        }
        catalogue
    }

    async fn add_to(&self, catalogue: &mut Catalogue, library: &Library, prefix: &str) {
        for entry in library.list().await {
            let Ok(film) = library.find(&entry.names).await else {
                continue;
            };
            if let Some(digest) = self.digests.digest(&film).await {
                let size = film.version().size();
                let path = format!("{prefix}{}", path_of(&entry.names));
                catalogue.add(path, Content { size, digest });
            }
        }
    }

    /// The other host serves `theirs`: from now on, connections that are sent a file that it lacks or has
    /// otherwise count as unprotected. `None` when there is no other host any more. Returns how many
    /// files differ; each is named in the log.
    pub async fn compare(&self, theirs: Option<Catalogue>) -> usize {
        let mut differing = 0;
        if let Some(theirs) = &theirs {
            let ours = self.catalogue().await;
            let differences = ours.differences(theirs);
            differing = differences.len();
            for (path, difference) in differences {
                tracing::warn!(
                    path,
                    ?difference,
                    "the other host does not have this file as it is here"
                );
            }
        }
        self.twin.set(theirs);
        differing
    }

    /// Begins or hastens the end. It cannot be taken back.
    pub fn stop(&self, phase: Phase) {
        self.phase.send_if_modified(|now| {
            let later = phase > *now;
            *now = phase.max(*now);
            later
        });
    }

    /// How far the end has come.
    #[must_use]
    pub fn phase(&self) -> Phase {
        *self.phase.borrow()
    }

    /// Waits until the end begins.
    pub async fn stopping(&self) {
        self.reached(Phase::Draining).await;
    }

    /// Waits until the end has come as far as `phase`.
    pub async fn reached(&self, phase: Phase) {
        // The sender lives as long as this server, so there is no error.
        let _ = self.phase.subscribe().wait_for(|now| *now >= phase).await;
    }

    /// A place for one more connection, given back when it is dropped.
    #[must_use]
    pub fn admit(self: &Arc<Self>) -> Option<Place> {
        let most = self.most_connections;
        let admitted = self.connections.send_if_modified(|open| {
            let free = *open < most;
            *open += usize::from(free);
            free
        });
        admitted.then(|| Place {
            server: Arc::clone(self),
        })
    }

    /// As [`Server::admit`], however many there are.
    #[must_use]
    pub fn take_place(self: &Arc<Self>) -> Place {
        self.connections.send_modify(|open| *open += 1);
        Place {
            server: Arc::clone(self),
        }
    }

    /// Connections that are open.
    #[must_use]
    pub fn connections(&self) -> usize {
        *self.connections.borrow()
    }

    /// Waits until no connection is open.
    pub async fn drained(&self) {
        let _ = self
            .connections
            .subscribe()
            .wait_for(|open| *open == 0)
            .await;
    }
}

/// The place of a connection.
pub struct Place {
    server: Arc<Server>,
}

impl Drop for Place {
    fn drop(&mut self) {
        self.server.connections.send_modify(|open| *open -= 1);
    }
}
