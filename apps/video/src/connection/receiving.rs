//! An upload on its way in: read here, hashed and written on a thread that may wait.

use std::ffi::OsString;
use std::io;
use std::pin::Pin;
use std::time::SystemTime;

use bytes::Bytes;
use http::{StatusCode, header};

use super::{Broken, Connection};
use crate::facts::Sight;
use crate::http::conditional::{Verdict, evaluate};
use crate::http::digest::{self, hex};
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
        let outcome = match self.begin_upload(request).await? {
            Ok(intake) => {
                if request.expects_continue && request.framing != Framing::None {
                    self.send(Bytes::from_static(INTERIM)).await?;
                }
                self.receive_body(intake).await?
            }
            Err(refusal) => Err(refusal),
        };
        let received = match outcome {
            Ok(received) => received,
            Err(refusal) if refusal.status == StatusCode::METHOD_NOT_ALLOWED => {
                return Ok(self.respond(request).await?.closing());
            }
            // Some of the body is perhaps still on its way.
            Err(refusal) => {
                let facts = self.facts(Sight::Nothing).await?;
                return Ok(Response::refusal(refusal, facts.date).closing());
            }
        };
        let Received { digest, bytes, .. } = received;
        let (date, created) = self.conclude_upload(received.created).await?;
        let status = match created {
            Ok(true) => StatusCode::CREATED,
            Ok(false) => StatusCode::OK,
            Err(refusal) => return Ok(Response::refusal(refusal, date)),
        };
        count(&self.server.statistics.uploads);
        let mut head = Head::new(status, date);
        if let (Some(digest), Some(Destination::Folder(_))) =
            (digest, destination(&request.target.names))
        {
            self.server.twin.note(&request.target.names, digest);
            head = head.field(&header::ETAG, EntityTag::from_digest(&digest));
        }
        let said = digest.map_or_else(|| bytes.to_string(), |digest| hex(&digest));
        Ok(Response::text(head, &said))
    }

    /// What is said of an upload: what became of it here, or on the host that said so first.
    async fn conclude_upload(
        &mut self,
        created: io::Result<bool>,
    ) -> Result<(SystemTime, Result<bool, Refusal>), Broken> {
        let here = created.map_err(|error| refusal_for(&error));
        let sight = match here {
            Ok(created) => Sight::Stored { created },
            Err(refusal) => Sight::Refused(refusal),
        };
        let facts = self.facts(sight).await?;
        let there = match facts.sight {
            Sight::Stored { created } => Ok(created),
            Sight::Refused(refusal) => Err(refusal),
            _ => return Err(Broken::Elsewhere),
        };
        if here.is_ok() != there.is_ok() {
            tracing::error!(
                ?here,
                ?there,
                "the other host stored an upload and this one did not, or the reverse"
            );
        }
        Ok((facts.date, there))
    }

    /// Everything that can be refused before the body is read.
    async fn begin_upload(&mut self, request: &Request) -> Result<Result<Intake, Refusal>, Broken> {
        if request.headers.contains_key(header::CONTENT_RANGE) {
            return Ok(Err(Refusal::malformed(
                "a PUT replaces the whole file; Content-Range is not for it",
            )));
        }
        if matches!(request.framing, Framing::Length(length) if length > self.limits.upload_bytes) {
            return Ok(Err(too_large()));
        }
        let not_here = Refusal::new(StatusCode::METHOD_NOT_ALLOWED, "uploads are not taken here");
        let name = match destination(&request.target.names) {
            None => return Ok(Err(not_here)),
            Some(Destination::Sink) => return Ok(Ok(Intake::sink(!declines_digest(request)))),
            Some(Destination::Folder(_)) if self.server.uploads.is_none() => {
                return Ok(Err(not_here));
            }
            Some(Destination::Folder(name)) => name,
        };
        if request.target.folder || !Uploads::accepts(&name) {
            return Ok(Err(Refusal::malformed(
                "give the upload a name that is not hidden: PUT /uploads/NAME",
            )));
        }
        let here = self.open_upload(request, name).await;
        let sight = match &here {
            Ok(_) => Sight::Nothing,
            Err(refusal) => Sight::Refused(*refusal),
        };
        // From here on it depends on the disk.
        match (self.facts(sight).await?.sight, here) {
            (Sight::Refused(refusal), _) => Ok(Err(refusal)),
            (_, Ok(intake)) => Ok(Ok(intake)),
            // The other host could.
            (_, Err(_)) => Ok(Ok(Intake::failed(io::ErrorKind::Other.into()))),
        }
    }

    async fn open_upload(&self, request: &Request, name: OsString) -> Result<Intake, Refusal> {
        if request.headers.contains_key(header::IF_MATCH)
            || request.headers.contains_key(header::IF_NONE_MATCH)
            || request.headers.contains_key(header::IF_UNMODIFIED_SINCE)
        {
            let current = service::current_upload(&self.server, &name).await;
            if evaluate(&request.method, &request.headers, current.as_ref()) != Verdict::Proceed {
                return Err(Refusal::OTHER_VERSION);
            }
        }
        let uploads = self.server.uploads.as_ref().ok_or(Refusal::UNWRITABLE)?;
        let begun = self.server.disk.run(uploads.begin(name)).await;
        begun
            .unwrap_or(Err(io::ErrorKind::Other.into()))
            .map_err(|error| refusal_for(&error))
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
                    writer
                        .write(&self.server.disk, std::mem::take(&mut batch))
                        .await?;
                }
                Ok(Event::End | Event::Head(_)) => break,
                Err(refusal) => return Ok(Err(refusal)),
            }
        }
        Ok(Ok(writer.finish(&self.server.disk, batch).await?))
    }
}

type Writing = Pin<Box<dyn Future<Output = Option<Intake>> + Send>>;

/// Writes one batch while the next is read.
struct Writer {
    idle: Option<Intake>,
    busy: Option<Writing>,
}

impl Writer {
    /// Fails only when the server's threads have ended.
    async fn intake(&mut self) -> Result<Intake, Broken> {
        let intake = match self.busy.take() {
            Some(busy) => busy.await,
            None => self.idle.take(),
        };
        intake.ok_or(Broken::Cut)
    }

    async fn write(&mut self, disk: &crate::pool::Pool, batch: Vec<Bytes>) -> Result<(), Broken> {
        let mut intake = self.intake().await?;
        self.busy = Some(Box::pin(disk.run(move || {
            intake.absorb(&batch);
            intake
        })));
        Ok(())
    }

    async fn finish(
        mut self,
        disk: &crate::pool::Pool,
        batch: Vec<Bytes>,
    ) -> Result<Received, Broken> {
        let mut intake = self.intake().await?;
        let finished = disk.run(move || {
            intake.absorb(&batch);
            intake.finish()
        });
        finished.await.ok_or(Broken::Cut)
    }
}

fn destination(names: &[OsString]) -> Option<Destination> {
    match names {
        [first, ..] if first == SINK => Some(Destination::Sink),
        [first, name] if first == UPLOADS => Some(Destination::Folder(name.clone())),
        _ => None,
    }
}

/// Whether the client says that it wants no digest.
fn declines_digest(request: &Request) -> bool {
    let mut lists = request.headers.get_all("want-repr-digest").iter();
    lists.any(|list| digest::is_declined(list.as_bytes()))
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
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => Refusal::DISK_FULL,
        io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem => {
            Refusal::MAY_NOT_WRITE
        }
        io::ErrorKind::IsADirectory | io::ErrorKind::DirectoryNotEmpty => Refusal::IS_FOLDER,
        _ => Refusal::UNWRITABLE,
    }
}
