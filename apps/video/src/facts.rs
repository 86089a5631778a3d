//! What a response depends on besides the request: the date, and what was found on the disk.
//!
//! The host that serves a connection logs its facts ([`crate::transport::Transport::decide`]); a host that
//! repeats the connection is given the same ones, compares them with what it finds itself, and so makes the
//! same response, byte by byte, or knows that it cannot. Of a film the content counts, by its digest, and
//! not what the disk says about it: its time of modification, which the response tells, is a fact too.

use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bytes::{Buf, BufMut, Bytes, BytesMut};

use crate::http::Refusal;
use crate::http::digest::Digest;
use crate::media::Film;

/// A film, its content's digest, and when it was modified on the host that answered.
#[derive(Clone, Debug)]
pub(crate) struct Found {
    /// The film.
    pub(crate) film: Arc<Film>,
    /// Its digest.
    pub(crate) digest: Digest,
    /// As the response tells it.
    pub(crate) last_modified: SystemTime,
}

/// What a look at the disk brought.
#[derive(Clone, Debug)]
pub(crate) enum Sight {
    /// There was no need to look.
    Nothing,
    /// A film.
    Film(Found),
    /// A page, made from what the folders hold.
    Page(Bytes),
    /// An upload was stored; `created`: there was none of its name before.
    Stored {
        /// That.
        created: bool,
    },
    /// Why there is no film, or an upload was not stored.
    Refused(Refusal),
}

/// Facts of one response.
#[derive(Clone, Debug)]
pub(crate) struct Facts {
    /// When it was made, in whole seconds.
    pub(crate) date: SystemTime,
    /// What was found for it.
    pub(crate) sight: Sight,
}

/// The facts say that the response was made from content that is not here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Elsewhere;

const NOTHING: u8 = 0;
const FILM: u8 = 1;
const PAGE: u8 = 2;
const REFUSED: u8 = 3;
const STORED: u8 = 4;

impl Facts {
    /// As they are logged.
    pub(crate) fn encode(&self) -> Bytes {
        let mut bytes = BytesMut::with_capacity(64);
        put_time(self.date, &mut bytes);
        match &self.sight {
            Sight::Nothing => bytes.put_u8(NOTHING),
            Sight::Film(found) => {
                bytes.put_u8(FILM);
                bytes.put_slice(&found.digest);
                put_time(found.last_modified, &mut bytes);
            }
            Sight::Page(page) => {
                bytes.put_u8(PAGE);
                bytes.put_slice(page);
            }
            Sight::Stored { created } => {
                bytes.put_u8(STORED);
                bytes.put_u8(u8::from(*created));
            }
            Sight::Refused(refusal) => {
                bytes.put_u8(REFUSED);
                put_refusal(*refusal, &mut bytes);
            }
        }
        bytes.freeze()
    }

    /// The logged facts, with what was found here where that is the same content.
    ///
    /// # Errors
    /// When it is not, or what was logged is not of a response.
    pub(crate) fn decode(mut logged: Bytes, here: Sight) -> Result<Self, Elsewhere> {
        let bytes = &mut logged;
        let date = get_time(bytes)?;
        let sight = match bytes.try_get_u8().map_err(|_| Elsewhere)? {
            NOTHING => Sight::Nothing,
            FILM => {
                let mut digest = Digest::default();
                bytes
                    .try_copy_to_slice(&mut digest)
                    .map_err(|_| Elsewhere)?;
                let last_modified = get_time(bytes)?;
                match here {
                    Sight::Film(found) if found.digest == digest => Sight::Film(Found {
                        last_modified,
                        ..found
                    }),
                    _ => return Err(Elsewhere),
                }
            }
            PAGE => Sight::Page(std::mem::take(bytes)),
            STORED => Sight::Stored {
                created: bytes.try_get_u8().map_err(|_| Elsewhere)? == 1,
            },
            REFUSED => Sight::Refused(get_refusal(bytes)?),
            _ => return Err(Elsewhere),
        };
        Ok(Self { date, sight })
    }
}

fn put_time(time: SystemTime, into: &mut BytesMut) {
    let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    into.put_u64(since.as_secs());
}

fn get_time(from: &mut Bytes) -> Result<SystemTime, Elsewhere> {
    let seconds = from.try_get_u64().map_err(|_| Elsewhere)?;
    UNIX_EPOCH
        .checked_add(Duration::from_secs(seconds))
        .ok_or(Elsewhere)
}

/// A refusal as it is logged: its number.
pub(crate) fn put_refusal(refusal: Refusal, into: &mut BytesMut) {
    let number = Refusal::LOGGED.iter().position(|it| *it == refusal);
    debug_assert!(
        number.is_some(),
        "not a refusal that depends on the disk or the clock"
    );
    into.put_u8(number.unwrap_or(0) as u8);
}

/// The refusal of that number.
pub(crate) fn get_refusal(from: &mut Bytes) -> Result<Refusal, Elsewhere> {
    let number = from.try_get_u8().map_err(|_| Elsewhere)?;
    let refusal = Refusal::LOGGED.get(usize::from(number));
    refusal.copied().ok_or(Elsewhere)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn film(content: &[u8]) -> Found {
        let mut file = tempfile::NamedTempFile::new().expect("a file");
        std::io::Write::write_all(&mut file, content).expect("written");
        let film = Film::new(file.reopen().expect("opened")).expect("mapped");
        Found {
            film: Arc::new(film),
            digest: [content[0]; 32],
            last_modified: UNIX_EPOCH + Duration::from_secs(content.len() as u64),
        }
    }

    #[test]
    fn the_same_content_gives_the_same_facts_whatever_its_date() {
        let facts = Facts {
            date: UNIX_EPOCH + Duration::from_secs(7),
            sight: Sight::Film(film(b"abc")),
        };
        let same = Found {
            last_modified: UNIX_EPOCH,
            ..film(b"abc")
        };
        let repeated = Facts::decode(facts.encode(), Sight::Film(same)).expect("the same");
        assert_eq!(repeated.encode(), facts.encode());
        for here in [Sight::Film(film(b"xbc")), Sight::Nothing] {
            assert!(Facts::decode(facts.encode(), here).is_err());
        }
    }

    #[test]
    fn what_was_refused_or_listed_is_so_again_whatever_is_here() {
        for sight in [
            Sight::Page("page".into()),
            Sight::Nothing,
            Sight::Stored { created: true },
            Sight::Refused(Refusal::not_found()),
        ] {
            let date = UNIX_EPOCH;
            let facts = Facts { date, sight };
            let here = Sight::Film(film(b"abc"));
            let repeated = Facts::decode(facts.encode(), here).expect("repeated");
            assert_eq!(repeated.encode(), facts.encode());
        }
        assert!(Refusal::LOGGED.len() < 256);
        for cut in 0..8 {
            assert!(Facts::decode(Bytes::from(vec![0; cut]), Sight::Nothing).is_err());
        }
    }
}
