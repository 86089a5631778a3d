//! An upload on its way in: read here, hashed and written on a thread that may wait.

use std::ffi::OsString;
use std::io;
use std::pin::Pin;

use bytes::Bytes;
use http::{StatusCode, header};

use super::{Broken, Connection};
use crate::http::conditional::{Verdict, evaluate};
use crate::http::entity_tag::hex;
use crate::http::{EntityTag, Event, Framing, Head, Refusal, Request};
use crate::response::Response;
use crate::service::{self, SINK, UPLOADS};
use crate::statistics::{add, count};
use crate::transport::Transport;
use crate::uploads::{Intake, Received, Uploads};

/// Bytes that are gathered before they are handed over. While one batch is written the next one is
/// read, so at most two are held.
const BATCH_BYTES: usize = 512 << 10;

const INTERIM: &[u8] = b"HTTP/1.1 100 Continue\r\n\r\n";

/// Where a `PUT` goes.
enum Destination {
    Sink,
    Folder(OsString),
}

impl<T: Transport> Connection<T> {
    /// Receives the body of a `PUT` and says what came of it.
    pub(super) async fn receive_upload(&mut self, request: &Request) -> Result<Response, Broken> {
        let outcome = match self.begin_upload(request).await {
            Ok(intake) => {
                if request.expects_continue && request.framing != Framing::None {
                    self.send(Bytes::from_static(INTERIM)).await?;
                }
                self.receive_body(intake).await?
            }
            Err(refusal) => Err(refusal),
        };
        let date = self.server.dates.date();
        let received = match outcome {
            Ok(received) => received,
            Err(refusal) if refusal.status == StatusCode::METHOD_NOT_ALLOWED => {
                return Ok(service::respond(&self.server, request).await.closing());
            }
            // Some of the body is perhaps still on its way.
            Err(refusal) => return Ok(Response::refusal(refusal, date).closing()),
        };
        count(&self.server.statistics.uploads);
        let status = if received.created {
            StatusCode::CREATED
        } else {
            StatusCode::OK
        };
        let mut head = Head::new(status, date);
        if matches!(
            destination(&request.target.names),
            Some(Destination::Folder(_))
        ) {
            head = head.field(&header::ETAG, EntityTag::from_digest(&received.digest));
        }
        Ok(Response::text(head, &hex(&received.digest)))
    }

    /// Everything that can be refused before the body is read.
    async fn begin_upload(&mut self, request: &Request) -> Result<Intake, Refusal> {
        if request.headers.contains_key(header::CONTENT_RANGE) {
            return Err(Refusal::malformed(
                "a PUT replaces the whole file; Content-Range is not for it",
            ));
        }
        if matches!(request.framing, Framing::Length(length) if length > self.limits.upload_bytes) {
            return Err(too_large());
        }
        let not_here = Refusal::new(StatusCode::METHOD_NOT_ALLOWED, "uploads are not taken here");
        match destination(&request.target.names).ok_or(not_here)? {
            Destination::Sink => Ok(Intake::sink()),
            Destination::Folder(name) => {
                let uploads = self.server.uploads.as_ref().ok_or(not_here)?;
                if request.target.folder || !Uploads::accepts(&name) {
                    return Err(Refusal::malformed(
                        "give the upload a name that is not hidden: PUT /uploads/NAME",
                    ));
                }
                if request.headers.contains_key(header::IF_MATCH)
                    || request.headers.contains_key(header::IF_NONE_MATCH)
                    || request.headers.contains_key(header::IF_UNMODIFIED_SINCE)
                {
                    let current = service::current_upload(&self.server, &name).await;
                    if evaluate(&request.method, &request.headers, current.as_ref())
                        != Verdict::Proceed
                    {
                        return Err(Refusal::new(
                            StatusCode::PRECONDITION_FAILED,
                            "the file is another version",
                        ));
                    }
                }
                let begun = self.server.disk.run(uploads.begin(name)).await;
                begun
                    .unwrap_or(Err(io::ErrorKind::Other.into()))
                    .map_err(|error| refusal_for(&error))
            }
        }
    }

    async fn receive_body(&mut self, intake: Intake) -> Result<Result<Received, Refusal>, Broken> {
        let mut writer = Writer {
            idle: Some(intake),
            busy: None,
        };
        let mut batch = Vec::new();
        let (mut batched, mut total) = (0, 0);
        loop {
            match self.next_body_event().await? {
                Ok(Event::Data(data)) => {
                    add(&self.server.statistics.bytes_received, data.len() as u64);
                    batched += data.len();
                    total += data.len() as u64;
                    batch.push(data);
                    if total > self.limits.upload_bytes {
                        return Ok(Err(too_large()));
                    }
                    if batched < BATCH_BYTES {
                        continue;
                    }
                    batched = 0;
                    if let Err(error) = writer
                        .write(&self.server.disk, std::mem::take(&mut batch))
                        .await
                    {
                        return Ok(Err(refusal_for(&error)));
                    }
                }
                Ok(Event::End | Event::Head(_)) => break,
                Err(refusal) => return Ok(Err(refusal)),
            }
        }
        Ok(writer
            .finish(&self.server.disk, batch)
            .await
            .map_err(|error| refusal_for(&error)))
    }
}

type Writing = Pin<Box<dyn Future<Output = Option<io::Result<Intake>>> + Send>>;

/// Writes one batch while the next is read.
struct Writer {
    idle: Option<Intake>,
    busy: Option<Writing>,
}

impl Writer {
    async fn intake(&mut self) -> io::Result<Intake> {
        if let Some(busy) = self.busy.take() {
            return busy.await.unwrap_or(Err(io::ErrorKind::Other.into()));
        }
        self.idle.take().ok_or(io::ErrorKind::Other.into())
    }

    async fn write(&mut self, disk: &crate::pool::Pool, batch: Vec<Bytes>) -> io::Result<()> {
        let mut intake = self.intake().await?;
        self.busy = Some(Box::pin(disk.run(move || {
            intake.absorb(&batch)?;
            Ok(intake)
        })));
        Ok(())
    }

    async fn finish(mut self, disk: &crate::pool::Pool, batch: Vec<Bytes>) -> io::Result<Received> {
        let mut intake = self.intake().await?;
        let finished = disk.run(move || {
            intake.absorb(&batch)?;
            intake.finish()
        });
        finished.await.unwrap_or(Err(io::ErrorKind::Other.into()))
    }
}

fn destination(names: &[OsString]) -> Option<Destination> {
    match names {
        [first, ..] if first == SINK => Some(Destination::Sink),
        [first, name] if first == UPLOADS => Some(Destination::Folder(name.clone())),
        _ => None,
    }
}

fn too_large() -> Refusal {
    Refusal::new(
        StatusCode::PAYLOAD_TOO_LARGE,
        "the upload is larger than this server takes",
    )
}

fn refusal_for(error: &io::Error) -> Refusal {
    tracing::warn!(%error, "an upload failed");
    match error.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
            Refusal::new(StatusCode::INSUFFICIENT_STORAGE, "the disk is full")
        }
        io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem => Refusal::new(
            StatusCode::FORBIDDEN,
            "the server may not write into its folder for uploads",
        ),
        io::ErrorKind::IsADirectory | io::ErrorKind::DirectoryNotEmpty => {
            Refusal::new(StatusCode::CONFLICT, "a folder has that name")
        }
        _ => Refusal::new(
            StatusCode::INTERNAL_SERVER_ERROR,
            "the upload could not be written",
        ),
    }
}
