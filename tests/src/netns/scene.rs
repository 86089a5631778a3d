//! What every test of failover begins with.

use std::path::Path;

use super::cluster::Cluster;
use super::media::Media;
use super::sandbox::Sandbox;

/// Runs `test` with a cluster that serves one file of `len` bytes, `random.bin`, and is ready for the death of a host. `changes` are
/// made in the example's configuration, `options` are those of `outlive video`.
///
/// # Panics
/// When no host is ready within a minute.
pub fn with_cluster(
    len: u64,
    changes: &[(&str, &str)],
    options: &[&str],
    test: impl FnOnce(&mut Cluster<'_>, &Path),
) {
    let sandbox = Sandbox::new();
    let media = Media::new(&sandbox);
    let file = media.random_file("random.bin", len);
    let mut cluster = Cluster::new(&sandbox, &media, changes, options);
    cluster.start();
    test(&mut cluster, &file);
}

/// The number in an environment variable, or the usual one.
///
/// # Panics
/// When it is no number.
#[must_use]
pub fn number_from<T: std::str::FromStr>(variable: &str, usual: T) -> T {
    let Ok(text) = std::env::var(variable) else {
        return usual;
    };
    let number = text.parse().ok();
    number.unwrap_or_else(|| panic!("{variable}={text} is no number"))
}
