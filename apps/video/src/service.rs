//! From a request to a response: which film, which version of it, which part.

use std::ffi::OsString;
use std::time::SystemTime;

use bytes::Bytes;
use http::{HeaderName, Method, StatusCode, header};

use crate::facts::{Facts, Found, Sight};
use crate::http::conditional::{Validators, Verdict, evaluate, range_applies};
use crate::http::digest::digest_of;
use crate::http::plan::content_range;
use crate::http::range::{Selection, select};
use crate::http::{EntityTag, Head, Plan, Refusal, Request};
use crate::media::types::content_type;
use crate::media::{Library, Missing};
use crate::page;
use crate::response::Response;
use crate::server::Server;

/// The folder name that uploads are found under.
pub(crate) const UPLOADS: &str = "uploads";
/// The folder name under which uploads are counted, hashed and forgotten.
pub(crate) const SINK: &str = "sink";

/// Looks at the disk for what the answer to `request` depends on.
pub(crate) async fn look(server: &Server, request: &Request) -> Sight {
    if !matches!(request.method, Method::GET | Method::HEAD) {
        return Sight::Nothing;
    }
    if request.target.names.is_empty() {
        return Sight::Page(page(server, request).await);
    }
    if request.target.folder {
        return Sight::Refused(Refusal::not_found());
    }
    let (library, names) = locate(server, &request.target.names);
    match find(server, library, names).await {
        Ok(found) => Sight::Film(found),
        Err(refusal) => Sight::Refused(refusal),
    }
}

async fn find(server: &Server, library: &Library, names: &[OsString]) -> Result<Found, Refusal> {
    let film = library.find(names).await.map_err(refusal_for)?;
    let digest = server.digests.digest(&film).await;
    let digest = digest.ok_or(Refusal::CHANGING)?;
    let last_modified = film.version().last_modified();
    Ok(Found {
        film,
        digest,
        last_modified,
    })
}

/// Answers everything but uploads.
pub(crate) fn respond(server: &Server, request: &Request, facts: Facts) -> Response {
    let Facts { date, sight } = facts;
    match request.method {
        Method::GET | Method::HEAD => match sight {
            Sight::Film(found) => {
                selected(request, found).respond(request, date, server.limits.ranges)
            }
            Sight::Page(body) => index(request, body, date),
            Sight::Refused(refusal) => Response::refusal(refusal, date),
            Sight::Nothing | Sight::Stored { .. } => Response::refusal(Refusal::not_found(), date),
        },
        Method::OPTIONS => {
            let head = Head::new(StatusCode::NO_CONTENT, date);
            Response::bodiless(head.field(&header::ALLOW, allowed(server, request)))
        }
        Method::PUT | Method::POST | Method::DELETE | Method::PATCH => {
            let refusal = Refusal::new(
                StatusCode::METHOD_NOT_ALLOWED,
                "this cannot be done to what is here",
            );
            let head =
                Head::new(refusal.status, date).field(&header::ALLOW, allowed(server, request));
            Response::refusal_with(refusal, head)
        }
        _ => {
            let refusal = Refusal::new(
                StatusCode::NOT_IMPLEMENTED,
                "this server knows GET, HEAD, PUT and OPTIONS",
            );
            Response::refusal(refusal, date)
        }
    }
}

fn selected(request: &Request, found: Found) -> Selected {
    let name = request.target.names.last().map(OsString::as_os_str);
    Selected {
        validators: Validators {
            entity_tag: EntityTag::from_digest(&found.digest),
            last_modified: found.last_modified,
        },
        found,
        content_type: content_type(name.unwrap_or_default()),
    }
}

fn allowed(server: &Server, request: &Request) -> &'static str {
    let takes_uploads = request
        .target
        .names
        .first()
        .is_some_and(|first| first == SINK || (first == UPLOADS && server.uploads.is_some()));
    if takes_uploads || request.target.server_wide {
        "GET, HEAD, PUT, OPTIONS"
    } else {
        "GET, HEAD, OPTIONS"
    }
}

/// The library that a path leads into, and the way in it.
fn locate<'a>(server: &'a Server, names: &'a [OsString]) -> (&'a Library, &'a [OsString]) {
    match (&server.uploads, names) {
        (Some(uploads), [first, rest @ ..]) if first == UPLOADS && !rest.is_empty() => {
            (&uploads.library, rest)
        }
        _ => (&server.library, names),
    }
}

fn refusal_for(missing: Missing) -> Refusal {
    match missing {
        Missing::NotFound | Missing::IsFolder => Refusal::not_found(),
        Missing::Forbidden => Refusal::UNREADABLE,
        Missing::Unavailable => Refusal::UNAVAILABLE,
    }
}

/// What is known of the present version of an upload's name, for its preconditions.
pub(crate) async fn current_upload(server: &Server, name: &OsString) -> Option<Validators> {
    let film = server
        .uploads
        .as_ref()?
        .library
        .find(std::slice::from_ref(name))
        .await
        .ok()?;
    let digest = server.digests.digest(&film).await?;
    Some(Validators {
        entity_tag: EntityTag::from_digest(&digest),
        last_modified: film.version().last_modified(),
    })
}

/// The representation that a request is about.
struct Selected {
    found: Found,
    validators: Validators,
    content_type: &'static str,
}

impl Selected {
    fn respond(self, request: &Request, date: SystemTime, most_ranges: usize) -> Response {
        match evaluate(&request.method, &request.headers, Some(&self.validators)) {
            Verdict::NotModified => {
                return Response::bodiless(self.head(StatusCode::NOT_MODIFIED, date));
            }
            Verdict::Failed => {
                return Response::refusal(Refusal::OTHER_VERSION, date);
            }
            Verdict::Proceed => {}
        }
        let length = self.found.film.version().size();
        // RFC 9110 §14.2: ranges are for GET.
        let ranged =
            request.method == Method::GET && range_applies(&request.headers, &self.validators);
        let selection = if ranged {
            select(&request.headers, length, most_ranges)
        } else {
            Selection::Whole
        };
        match selection {
            Selection::Whole => self.finish(StatusCode::OK, date, Plan::range(0..length), None),
            Selection::Parts(ranges) => match &ranges[..] {
                [range] => {
                    let field = (header::CONTENT_RANGE, content_range(range, length));
                    self.finish(
                        StatusCode::PARTIAL_CONTENT,
                        date,
                        Plan::range(range.clone()),
                        Some(field),
                    )
                }
                ranges => self.multipart(ranges, length, date),
            },
            Selection::Unsatisfiable => {
                let refusal = Refusal::new(
                    StatusCode::RANGE_NOT_SATISFIABLE,
                    "no such range in this file",
                );
                let head = Head::new(refusal.status, date);
                Response::refusal_with(
                    refusal,
                    head.field(&header::CONTENT_RANGE, format!("bytes */{length}")),
                )
            }
        }
    }

    fn multipart(
        mut self,
        ranges: &[std::ops::Range<u64>],
        length: u64,
        date: SystemTime,
    ) -> Response {
        let (plan, boundary) = Plan::multipart(
            ranges,
            length,
            self.content_type,
            &self.validators.entity_tag,
        );
        self.content_type = "multipart/byteranges";
        let head = self.head(StatusCode::PARTIAL_CONTENT, date);
        let head = head.field(
            &header::CONTENT_TYPE,
            format!("multipart/byteranges; boundary={boundary}"),
        );
        let head = head.field(&header::CONTENT_LENGTH, plan.len());
        Response {
            head,
            plan,
            film: Some(self.found),
            closes: false,
        }
    }

    fn finish(
        self,
        status: StatusCode,
        date: SystemTime,
        plan: Plan,
        field: Option<(HeaderName, String)>,
    ) -> Response {
        let mut head = self
            .head(status, date)
            .field(&header::CONTENT_TYPE, self.content_type)
            .field(&header::X_CONTENT_TYPE_OPTIONS, "nosniff")
            .field(&header::CONTENT_LENGTH, plan.len());
        if let Some((name, value)) = field {
            head = head.field(&name, value);
        }
        Response {
            head,
            plan,
            film: Some(self.found),
            closes: false,
        }
    }

    /// The fields that every answer about this version has, 304 too (RFC 9110 §15.4.5).
    fn head(&self, status: StatusCode, date: SystemTime) -> Head {
        Head::new(status, date)
            .field(&header::ETAG, &self.validators.entity_tag)
            .field(
                &header::LAST_MODIFIED,
                httpdate::fmt_http_date(self.validators.last_modified),
            )
            .field(&header::ACCEPT_RANGES, "bytes")
    }
}

/// The page at `/`, as the folders are now.
async fn page(server: &Server, request: &Request) -> Bytes {
    let films = server.library.list().await;
    let uploads = match &server.uploads {
        Some(uploads) => uploads.library.list().await,
        None => Vec::new(),
    };
    let playing = request.target.query_value("film");
    Bytes::from(page::render(&films, &uploads, playing.as_deref()))
}

/// The answer with the page. Its tag is made from its bytes, like a film's.
fn index(request: &Request, body: Bytes, date: SystemTime) -> Response {
    let entity_tag = EntityTag::from_digest(&digest_of(&body));
    let validators = Validators {
        entity_tag,
        last_modified: SystemTime::UNIX_EPOCH,
    };
    let about = |status| {
        Head::new(status, date)
            .field(&header::ETAG, &validators.entity_tag)
            .field(&header::CACHE_CONTROL, "no-cache")
    };
    let mut conditions = request.headers.clone();
    // The page has no date of its own: only its tag is compared.
    conditions.remove(header::IF_MODIFIED_SINCE);
    conditions.remove(header::IF_UNMODIFIED_SINCE);
    match evaluate(&request.method, &conditions, Some(&validators)) {
        Verdict::NotModified => Response::bodiless(about(StatusCode::NOT_MODIFIED)),
        Verdict::Failed => Response::refusal(
            Refusal::new(
                StatusCode::PRECONDITION_FAILED,
                "the page is another version",
            ),
            date,
        ),
        Verdict::Proceed => {
            let head = about(StatusCode::OK).field(&header::CONTENT_SECURITY_POLICY, page::POLICY);
            Response::generated(head, "text/html; charset=utf-8", body)
        }
    }
}
