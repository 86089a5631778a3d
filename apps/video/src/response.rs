//! A response before it is sent: head, plan, and the film that the plan speaks of.

use std::time::SystemTime;

use bytes::Bytes;
use http::{StatusCode, header};

use crate::facts::Found;
use crate::http::{Head, Plan, Refusal};

/// A response.
#[derive(Debug)]
pub(crate) struct Response {
    /// Status and fields.
    pub(crate) head: Head,
    /// The body.
    pub(crate) plan: Plan,
    /// Where the ranges of the plan lie.
    pub(crate) film: Option<Found>,
    /// The connection cannot carry another request after it.
    pub(crate) closes: bool,
}

impl Response {
    /// A response without a body that never has one (304, 204).
    #[must_use]
    pub(crate) fn bodiless(head: Head) -> Self {
        Self {
            head,
            plan: Plan::empty(),
            film: None,
            closes: false,
        }
    }

    /// A response with a generated body.
    #[must_use]
    pub(crate) fn generated(head: Head, content_type: &str, body: impl Into<Bytes>) -> Self {
        let plan = Plan::generated(body.into());
        let head = head
            .field(&header::CONTENT_TYPE, content_type)
            .field(&header::X_CONTENT_TYPE_OPTIONS, "nosniff")
            .field(&header::CONTENT_LENGTH, plan.len());
        Self {
            head,
            plan,
            film: None,
            closes: false,
        }
    }

    /// A line of text.
    #[must_use]
    pub(crate) fn text(head: Head, line: &str) -> Self {
        Self::generated(head, "text/plain; charset=utf-8", format!("{line}\n"))
    }

    /// An error, with one line for the person who reads it.
    #[must_use]
    pub(crate) fn refusal(refusal: Refusal, date: SystemTime) -> Self {
        Self::refusal_with(refusal, Head::new(refusal.status, date))
    }

    /// An error whose head says more.
    #[must_use]
    pub(crate) fn refusal_with(refusal: Refusal, head: Head) -> Self {
        Self::text(head, &format!("{}: {}", refusal.status, refusal.reason))
    }

    /// The same, but the connection ends with it.
    #[must_use]
    pub(crate) fn closing(self) -> Self {
        Self {
            closes: true,
            ..self
        }
    }

    /// Its status.
    #[must_use]
    pub(crate) fn status(&self) -> StatusCode {
        self.head.status()
    }
}
