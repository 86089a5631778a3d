//! The life of a connection: request, response, request, response (RFC 9112 §9), over any transport.
//!
//! One request is served at a time; what is pipelined waits in the transport. Nothing is read while a
//! response is sent, so a client that does not read cannot make us hold its requests.

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http::{Method, Version};
use outlive::replication::Identity;

use crate::facts::{self, Elsewhere, Facts, Sight};
use crate::http::{Decoder, Event, Framing, Limits, Refusal, Request};
use crate::response::Response;
use crate::server::{Phase, Server};
use crate::service;
use crate::statistics::count;
use crate::transport::Transport;

mod receiving;
mod sending;

/// Why a connection ended before its time.
#[derive(Debug)]
enum Broken {
    /// The transport failed.
    Transport(#[expect(dead_code, reason = "for the log")] io::Error),
    /// The client closed in the middle of a request.
    Incomplete,
    /// The client took no byte for too long.
    Stalled,
    /// The file is no longer what the response began with.
    FileChanged,
    /// The server stops: the rest of the response is not sent.
    Cut,
    /// Another host began the response, from content that is not here.
    Elsewhere,
}

impl From<Elsewhere> for Broken {
    fn from(Elsewhere: Elsewhere) -> Self {
        Self::Elsewhere
    }
}

impl From<io::Error> for Broken {
    fn from(error: io::Error) -> Self {
        Self::Transport(error)
    }
}

/// What a client did between two requests.
enum Next {
    Request(Box<Request>),
    Refused(Refusal),
    /// Nothing more will come.
    Over,
}

/// A request of which only the connection's future matters any more.
struct Exchange {
    version: Version,
    head_only: bool,
    keep_alive: bool,
}

struct Connection<T> {
    transport: T,
    decoder: Decoder,
    server: Arc<Server>,
    limits: Limits,
}

/// Serves a connection until its end.
pub async fn serve<T: Transport>(mut transport: T, server: Arc<Server>, peer: SocketAddr) {
    // Whose connection was admitted on another host has its place here.
    let place = if transport.is_continued() {
        Some(server.take_place())
    } else {
        server.admit()
    };
    let Some(_place) = place else {
        count(&server.statistics.connections_refused);
        transport.abort();
        return;
    };
    count(&server.statistics.connections);
    let limits = server.limits.clone();
    let decoder = Decoder::new(limits.clone());
    let mut connection = Connection {
        transport,
        decoder,
        server,
        limits,
    };
    match connection.run().await {
        Ok(()) => tracing::debug!(%peer, "connection closed"),
        Err(broken) => Box::pin(connection.end_broken(&broken, peer)).await,
    }
}

/// The future's output, or nothing once `timer` is ready.
async fn before<F: Future>(timer: impl Future<Output = ()>, future: F) -> Option<F::Output> {
    tokio::select! {
        biased;
        output = future => Some(output),
        () = timer => None,
    }
}

impl<T: Transport> Connection<T> {
    async fn run(&mut self) -> Result<(), Broken> {
        loop {
            match self.next_request().await? {
                Next::Request(request) => {
                    // It takes far more room than a connection that waits for a request, and most wait.
                    if !Box::pin(self.exchange(&request)).await? {
                        break;
                    }
                    if self.decoder.is_idle() {
                        self.transport.quiescent();
                    }
                }
                Next::Refused(refusal) => {
                    Box::pin(self.refuse(refusal)).await?;
                    break;
                }
                Next::Over => break,
            }
        }
        Box::pin(self.close()).await
    }

    /// Answers what is no request.
    async fn refuse(&mut self, refusal: Refusal) -> Result<(), Broken> {
        let exchange = Exchange {
            version: Version::HTTP_11,
            head_only: false,
            keep_alive: false,
        };
        let facts = self.facts(Sight::Nothing).await?;
        let response = Response::refusal(refusal, facts.date);
        self.send_response(response, &exchange).await
    }

    /// Waits for the next request's head: long while the connection is idle, not long once it began.
    async fn next_request(&mut self) -> Result<Next, Broken> {
        let server = Arc::clone(&self.server);
        let mut stopping = pin!(server.stopping());
        let mut idle_timer = pin!(self.transport.patience(self.limits.idle_timeout));
        // Runs from the first byte, so that a client that drips bytes does not prolong it.
        let mut head_timer: Option<std::pin::Pin<Box<dyn Future<Output = ()> + Send>>> = None;
        loop {
            match self.decoder.next_event() {
                Ok(Some(Event::Head(request))) => return Ok(Next::Request(request)),
                Ok(Some(Event::Data(_) | Event::End)) => continue,
                Ok(None) => {}
                Err(refusal) => return Ok(Next::Refused(refusal)),
            }
            let bytes = if self.decoder.is_idle() {
                head_timer = None;
                tokio::select! {
                    biased;
                    bytes = self.transport.read() => bytes?,
                    () = &mut stopping => return Ok(Next::Over),
                    () = &mut idle_timer => {
                        count(&self.server.statistics.idle_timeouts);
                        return Ok(Next::Over);
                    }
                }
            } else {
                let timer = head_timer.get_or_insert_with(|| {
                    Box::pin(self.transport.input_timeout(self.limits.head_timeout))
                });
                tokio::select! {
                    biased;
                    bytes = self.transport.read() => bytes?,
                    () = server.reached(Phase::Cutting) => return Err(Broken::Cut),
                    () = timer => {
                        return Ok(Next::Refused(Box::pin(self.timed_out()).await?));
                    }
                }
            };
            if bytes.is_empty() {
                return if self.decoder.is_idle() {
                    Ok(Next::Over)
                } else {
                    Err(Broken::Incomplete)
                };
            }
            self.decoder.push(bytes);
        }
    }

    /// The client took too long, here or on the host whose log says so.
    async fn timed_out(&mut self) -> Result<Refusal, Broken> {
        count(&self.server.statistics.request_timeouts);
        let mut value = BytesMut::new();
        facts::put_refusal(Refusal::TIMED_OUT, &mut value);
        let mut logged = self.transport.decide(value.freeze()).await;
        let refusal = facts::get_refusal(&mut logged)?;
        // The facts of a response are longer: then the other host waited on.
        if !logged.is_empty() {
            return Err(Broken::Elsewhere);
        }
        Ok(refusal)
    }

    /// The facts for a response: the date, and what was seen; or what they were on the host that made the
    /// response first.
    async fn facts(&mut self, sight: Sight) -> Result<Facts, Broken> {
        let facts = Facts {
            date: self.server.dates.date(),
            sight,
        };
        let logged = self.transport.decide(facts.encode()).await;
        Ok(Facts::decode(logged, facts.sight)?)
    }

    async fn respond(&mut self, request: &Request) -> Result<Response, Broken> {
        let sight = service::look(&self.server, request).await;
        let facts = self.facts(sight).await.inspect_err(|_| {
            tracing::error!(
                names = ?request.target.names,
                "another host answered from a file that is not the same here"
            );
        })?;
        if let Sight::Film(found) = &facts.sight
            && !self.server.twin.has(&request.target.names, &found.digest)
        {
            tracing::warn!(
                names = ?request.target.names,
                "the other host lacks this file or has another: it could not go on with this connection"
            );
            self.transport.unprotect();
        }
        Ok(service::respond(&self.server, request, facts))
    }

    /// Serves one request; false if the connection ends with it.
    async fn exchange(&mut self, request: &Request) -> Result<bool, Broken> {
        count(&self.server.statistics.requests);
        let mut exchange = Exchange {
            version: request.version,
            head_only: request.method == Method::HEAD,
            keep_alive: request.keep_alive,
        };
        let response = if request.method == Method::PUT {
            self.receive_upload(request).await?
        } else {
            let response = self.respond(request).await?;
            // A client that waits for 100 may or may not send its body now: the next request's
            // beginning cannot be known.
            if request.expects_continue && request.framing != Framing::None {
                response.closing()
            } else {
                response
            }
        };
        exchange.keep_alive &= !response.closes;
        tracing::info!(
            method = %request.method, names = ?request.target.names, status = response.status().as_u16(), "request"
        );
        self.send_response(response, &exchange).await?;
        Ok(
            exchange.keep_alive
                && self.server.phase() == Phase::Serving
                && self.skip_body().await?,
        )
    }

    /// Reads what the client still sends of a body that nobody wants; false if it is too much.
    async fn skip_body(&mut self) -> Result<bool, Broken> {
        let mut left = self.limits.drain_bytes;
        while !self.decoder.is_between_requests() {
            match self.next_body_event().await? {
                Ok(Event::End | Event::Head(_)) => {}
                Ok(Event::Data(data)) => match left.checked_sub(data.len() as u64) {
                    Some(rest) => left = rest,
                    None => return Ok(false),
                },
                Err(_) => return Ok(false),
            }
        }
        Ok(true)
    }

    /// The next event within a request's body; the inner error is the refusal to answer with.
    async fn next_body_event(&mut self) -> Result<Result<Event, Refusal>, Broken> {
        loop {
            match self.decoder.next_event() {
                Ok(Some(event)) => return Ok(Ok(event)),
                Ok(None) => {}
                Err(refusal) => return Ok(Err(refusal)),
            }
            let timer = self.transport.input_timeout(self.limits.body_timeout);
            let bytes = tokio::select! {
                biased;
                bytes = self.transport.read() => bytes?,
                () = self.server.reached(Phase::Cutting) => return Err(Broken::Cut),
                () = timer => return Ok(Err(self.timed_out().await?)),
            };
            if bytes.is_empty() {
                return Err(Broken::Incomplete);
            }
            self.decoder.push(bytes);
        }
    }

    /// Closes in order: our FIN first, then what the client still sends is read and thrown away, so
    /// that no reset destroys the response on its way (RFC 9112 §9.6).
    async fn close(&mut self) -> Result<(), Broken> {
        if self.transport.shutdown().await.is_err() {
            return Ok(()); // the client was faster, and has all it wanted
        }
        let timer = self.transport.patience(self.limits.linger_timeout);
        let transport = &mut self.transport;
        let read_rest = async move {
            while let Ok(bytes) = transport.read().await {
                if bytes.is_empty() {
                    break;
                }
            }
        };
        let _ = before(timer, read_rest).await;
        Ok(())
    }

    async fn end_broken(&mut self, broken: &Broken, peer: SocketAddr) {
        tracing::debug!(%peer, ?broken, "connection ended early");
        let statistics = &self.server.statistics;
        match broken {
            Broken::Cut => {
                count(&statistics.cut_by_stop);
                let _ = before(
                    self.transport.sleep(Duration::from_secs(1)),
                    self.transport.shutdown(),
                )
                .await;
                return;
            }
            Broken::FileChanged => {
                count(&statistics.aborted_changed_file);
                tracing::warn!(%peer, "a file changed while it was sent; the connection is aborted");
            }
            Broken::Elsewhere => {
                count(&statistics.aborted_other_content);
                self.transport.unprotect();
            }
            Broken::Stalled => count(&statistics.aborted_stalled),
            Broken::Transport(_) | Broken::Incomplete => count(&statistics.connections_broken),
        }
        self.transport.abort();
    }

    /// Hands bytes to the transport, but not to a client that takes none, nor beyond the end.
    async fn send(&mut self, bytes: Bytes) -> Result<(), Broken> {
        self.send_named(bytes, None).await
    }

    /// As [`Connection::send`], of bytes that may be those at an offset of a film.
    async fn send_named(
        &mut self,
        bytes: Bytes,
        named: Option<(Identity, u64)>,
    ) -> Result<(), Broken> {
        let length = bytes.len() as u64;
        let timer = self.transport.patience(self.limits.stall_timeout);
        let transport = &mut self.transport;
        let sending = async move {
            match named {
                Some((identity, offset)) => transport.send_static(bytes, identity, offset).await,
                None => transport.send(bytes).await,
            }
        };
        tokio::select! {
            biased;
            sent = sending => sent?,
            () = self.server.reached(Phase::Cutting) => return Err(Broken::Cut),
            () = timer => return Err(Broken::Stalled),
        }
        crate::statistics::add(&self.server.statistics.bytes_sent, length);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::transport::outlive::OutliveTransport;

    fn bytes_of_a_task<A, B, C, F: Future>(_: impl FnOnce(A, B, C) -> F) -> usize {
        size_of::<F>()
    }

    #[test]
    fn a_connection_that_waits_for_a_request_is_small() {
        let bytes = bytes_of_a_task(serve::<OutliveTransport>);
        // What a request and its response need comes on top while they last.
        assert!(bytes < 1792, "{bytes}");
    }
}
