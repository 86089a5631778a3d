//! From received bytes to requests and their bodies, in whatever pieces the bytes come.

use bytes::{Buf, Bytes, BytesMut};

use super::body::{Body, BodyEvent};
use super::limits::Limits;
use super::refusal::Refusal;
use super::request::Request;

/// What came next on a connection.
#[derive(Debug)]
pub enum Event {
    /// A request's head. [`Event::End`] follows it, after its body if it has one.
    Head(Box<Request>),
    /// Part of the request's body.
    Data(Bytes),
    /// The request is complete.
    End,
}

/// Holds what was received and not yet understood: never more than one partial head or chunk line and
/// one read.
#[derive(Debug)]
pub struct Decoder {
    limits: Limits,
    input: Bytes,
    state: State,
}

#[derive(Debug)]
enum State {
    Head,
    /// None when the request has no body.
    Body(Option<Body>),
    /// After a refusal nobody knows where the next request begins.
    Refused(Refusal),
}

impl Decoder {
    /// A decoder at the start of a connection.
    #[must_use]
    pub fn new(limits: Limits) -> Self {
        Self {
            limits,
            input: Bytes::new(),
            state: State::Head,
        }
    }

    /// Takes received bytes. Call [`Decoder::next_event`] until it wants more before the next push, so that
    /// what is held stays bounded.
    pub fn push(&mut self, bytes: Bytes) {
        if self.input.is_empty() {
            self.input = bytes;
            return;
        }
        let mut joined = BytesMut::with_capacity(self.input.len() + bytes.len());
        joined.extend_from_slice(&self.input);
        joined.extend_from_slice(&bytes);
        self.input = joined.freeze();
    }

    /// True between two requests with no byte of the next one here: the connection is idle.
    #[must_use]
    pub fn is_idle(&self) -> bool {
        self.is_between_requests() && self.input.is_empty()
    }

    /// True when the last request is complete, and the next one's head has not been handed out.
    #[must_use]
    pub fn is_between_requests(&self) -> bool {
        matches!(self.state, State::Head)
    }

    /// The next event, or nothing until more bytes are pushed.
    ///
    /// # Errors
    /// The refusal to answer with. It is final: every later call returns it again.
    pub fn next_event(&mut self) -> Result<Option<Event>, Refusal> {
        let event = match &mut self.state {
            State::Head => self.next_head(),
            State::Body(None) => Ok(Some(Event::End)),
            State::Body(Some(body)) => body.next(&mut self.input).map(|event| match event {
                BodyEvent::Data(data) => Some(Event::Data(data)),
                BodyEvent::End => Some(Event::End),
                BodyEvent::NeedMore => None,
            }),
            State::Refused(refusal) => return Err(*refusal),
        };
        match event {
            Ok(Some(Event::End)) => self.state = State::Head,
            Err(refusal) => {
                self.state = State::Refused(refusal);
                self.input = Bytes::new();
            }
            _ => {}
        }
        event
    }

    fn next_head(&mut self) -> Result<Option<Event>, Refusal> {
        // RFC 9112 §2.2: a server should ignore empty lines before a request. They are dropped at once,
        // so that a client that sends nothing else counts as idle.
        while let Some(b'\r' | b'\n') = self.input.first() {
            self.input.advance(1);
        }
        if self.input.is_empty() {
            return Ok(None);
        }
        let Some((request, length)) = Request::parse(&self.input, &self.limits)? else {
            return Ok(None);
        };
        self.input.advance(length);
        self.state = State::Body(Body::begin(request.framing));
        Ok(Some(Event::Head(Box::new(request))))
    }
}

#[cfg(test)]
mod tests;
