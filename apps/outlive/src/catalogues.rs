//! The two hosts of a cluster compare what they have to serve, by content, whenever they meet: a connection that
//! is sent a file which the other host lacks would not survive, and says so.

use std::sync::Arc;

use anyhow::Context;
use bytes::Bytes;
use outlive_cluster::companion::Companion;
use outlive_video::media::Catalogue;
use outlive_video::server::Server;
use tokio::runtime::{Builder, Runtime};

/// What this host serves, for the other one.
pub(crate) struct Catalogues {
    server: Arc<Server>,
    runtime: Runtime,
}

impl Catalogues {
    pub(crate) fn new(server: &Arc<Server>) -> anyhow::Result<Self> {
        let runtime = Builder::new_current_thread().enable_all().build();
        Ok(Self {
            server: Arc::clone(server),
            runtime: runtime.context("cannot start a timer")?,
        })
    }
}

impl Companion for Catalogues {
    fn message(&self) -> Bytes {
        let catalogue = self.runtime.block_on(self.server.catalogue());
        catalogue.encode().into()
    }

    fn told(&self, theirs: Option<Bytes>) {
        let theirs = theirs.map(|theirs| Catalogue::decode(&String::from_utf8_lossy(&theirs)));
        match theirs.transpose() {
            Ok(theirs) => {
                let (met, known) = (theirs.is_some(), theirs.as_ref().map_or(0, Catalogue::len));
                let differing = self.runtime.block_on(self.server.compare(theirs));
                if met {
                    tracing::info!(files = known, differing, "compared with the other host");
                }
            }
            Err(error) => tracing::warn!(%error, "the other host's catalogue cannot be read"),
        }
    }
}
