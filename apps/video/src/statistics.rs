//! What the server did, counted, for the summary at the end.

use std::sync::atomic::{AtomicU64, Ordering};

macro_rules! statistics {
    ($($(#[$doc:meta])* $name:ident,)*) => {
        /// Counts since the server started.
        #[derive(Debug, Default)]
        pub struct Statistics {
            $($(#[$doc])* pub $name: AtomicU64,)*
        }

        impl Statistics {
            /// Name and value of every count that is not zero.
            #[must_use]
            pub fn non_zero(&self) -> Vec<(&'static str, u64)> {
                let all = [$((concat!("http_", stringify!($name)), self.$name.load(Ordering::Relaxed)),)*];
                all.into_iter().filter(|&(_, count)| count > 0).collect()
            }
        }
    };
}

statistics! {
    /// Connections accepted.
    connections,
    /// Connections aborted because there were too many.
    connections_refused,
    /// Requests understood.
    requests,
    /// Responses 2xx.
    responses_success,
    /// Responses 3xx.
    responses_redirection,
    /// Responses 4xx.
    responses_client_error,
    /// Responses 5xx.
    responses_server_error,
    /// Bytes handed to the stack.
    bytes_sent,
    /// Bytes of uploads.
    bytes_received,
    /// Uploads completed.
    uploads,
    /// Pieces of films that were read from the disk before they were sent.
    cold_pieces,
    /// Responses cut short because the file changed.
    aborted_changed_file,
    /// Connections aborted because another host began them with content that is not here.
    aborted_other_content,
    /// Connections aborted because the client took nothing for too long.
    aborted_stalled,
    /// Responses cut short because the server stopped.
    cut_by_stop,
    /// Connections closed because no request came.
    idle_timeouts,
    /// Requests that were not completed in time.
    request_timeouts,
    /// Connections that broke.
    connections_broken,
}

/// Counts one.
pub fn count(counter: &AtomicU64) {
    add(counter, 1);
}

/// Counts `amount`.
pub fn add(counter: &AtomicU64, amount: u64) {
    counter.fetch_add(amount, Ordering::Relaxed);
}
