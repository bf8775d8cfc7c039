//! One synchronisation as the worker's `fetch` carries it: the session commands, this turns commands into requests and what comes back into events.
//!
//! In: how a request went, and the answer's bytes as they come. Out: a [`Step`] for the worker. Decides nothing: the session does.

use std::time::Duration;

use lianka_client_core::{
    link::{Call, JSON_BYTES_MAX, LinkError, SignedIn},
    session::{Backoff, Command, Event, Session, Surroundings},
};
use lianka_client_local::local_store::LocalStore;
use lianka_sync_core::codec::wire::{Encoding, ItemReader};
use serde::Serialize;

use crate::{failure::Failure, phone::Around};

/// Name and version told to the server.
pub const CLIENT: &str = concat!("lianka-web/", env!("CARGO_PKG_VERSION"));
/// Somebody stands and waits: a few tries, and then a sentence. The next moment tries again.
const BACKOFF: Backoff = Backoff {
    tries_max: 3,
    base: Duration::from_millis(500),
    cap: Duration::from_secs(4),
};

/// What the worker does next.
#[derive(Debug, Serialize)]
#[serde(tag = "step", rename_all = "snake_case")]
pub enum Step {
    /// `POST` the body ([`Exchange::take_body`]) there.
    Send {
        /// Below the origin.
        path: String,
        /// Of the body, and asked for.
        media_type: &'static str,
        /// For the Authorization header.
        token: Option<String>,
        /// Whether the answer is items, to be given on as they come; else it is one JSON text.
        items: bool,
        /// Changes in it.
        changes: usize,
    },
    /// Read on.
    Read {
        /// Whole records stored so far.
        records: u32,
        /// Changes stored so far.
        changes: u32,
    },
    /// Wait so long, then [`Exchange::begin`].
    Wait {
        /// Milliseconds.
        ms: u64,
        /// Which failure in a row this is.
        failures: u32,
    },
    /// It is over.
    Done {
        /// What became of it.
        report: Box<lianka_client_core::session::SyncReport>,
    },
    /// It came to nothing, or not to its end; what was stored stands.
    Failed {
        /// Why.
        failure: Failure,
    },
}

/// A synchronisation under way.
pub struct Exchange {
    session: Session,
    reader: ItemReader,
    body: Vec<u8>,
}

impl Exchange {
    /// Sends what is unsent and fetches what is new.
    pub fn synchronise() -> Self {
        Self::over(Session::new(CLIENT, BACKOFF))
    }

    /// Tells the office that this phone has cleared itself.
    pub fn tell_of_wipe() -> Self {
        Self::over(Session::tell_of_wipe(CLIENT))
    }

    fn over(session: Session) -> Self {
        Self {
            session,
            reader: ItemReader::new(Encoding::CborSeq),
            body: Vec::new(),
        }
    }

    /// The body of the request that was last told.
    pub fn take_body(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.body)
    }

    /// Begins, or goes on after a wait.
    pub fn begin(&mut self, store: &mut LocalStore, around: &mut Around<'_>) -> Step {
        self.event(Event::Begin, store, around)
    }

    /// The office takes the request; items follow.
    pub fn answering(
        &mut self,
        media_type: &str,
        store: &mut LocalStore,
        around: &mut Around<'_>,
    ) -> Step {
        match Encoding::from_media_type(media_type) {
            Some(encoding) => {
                self.reader = ItemReader::new(encoding);
                self.event(Event::Answering, store, around)
            }
            None => self.broke(
                LinkError::Answer("it is of another media type".into()),
                store,
                around,
            ),
        }
    }

    /// Bytes of the answer.
    pub fn chunk(&mut self, bytes: &[u8], store: &mut LocalStore, around: &mut Around<'_>) -> Step {
        self.reader.push(bytes);
        loop {
            match self.reader.next_item() {
                Ok(Some(item)) => {
                    if self.session.gather(item) {
                        match self.event(Event::Gathered, store, around) {
                            Step::Read { .. } => {}
                            step => return step,
                        }
                    }
                }
                Ok(None) => return self.read(),
                Err(error) => return self.broke(error.into(), store, around),
            }
        }
    }

    /// The answer's body ended.
    pub fn over_now(&mut self, store: &mut LocalStore, around: &mut Around<'_>) -> Step {
        self.event(Event::Over, store, around)
    }

    /// The answer is a JSON text: tokens.
    pub fn signed_in(
        &mut self,
        text: &str,
        store: &mut LocalStore,
        around: &mut Around<'_>,
    ) -> Step {
        match signed_in(text) {
            Ok(signed) => self.event(Event::SignedIn(Box::new(signed)), store, around),
            Err(error) => self.broke(error, store, around),
        }
    }

    /// The request failed, or its answer broke.
    pub fn broke(
        &mut self,
        error: LinkError,
        store: &mut LocalStore,
        around: &mut Around<'_>,
    ) -> Step {
        self.event(Event::Failed(error), store, around)
    }

    fn read(&self) -> Step {
        let tally = self.session.tally();
        Step::Read {
            records: tally.snapshots,
            changes: tally.changes,
        }
    }

    fn event(&mut self, event: Event, store: &mut LocalStore, around: &mut Around<'_>) -> Step {
        let mut surroundings = Surroundings {
            now: around.now,
            lang: around.lang,
            entropy: &mut *around.entropy,
        };
        match self.session.handle(event, store, &mut surroundings) {
            Ok(Command::Send(call)) => self.send(&call),
            Ok(Command::Read) => self.read(),
            Ok(Command::Wait { wait, failures }) => Step::Wait {
                ms: wait.as_millis() as u64,
                failures,
            },
            Ok(Command::Done) => Step::Done {
                report: Box::new(self.session.report()),
            },
            Err(error) => Step::Failed {
                failure: error.into(),
            },
        }
    }

    fn send(&mut self, call: &Call) -> Step {
        match call.body() {
            Ok(body) => self.body = body,
            Err(error) => {
                return Step::Failed {
                    failure: Failure::of(error.code()),
                };
            }
        }
        let changes = match call {
            Call::Synchronise { request, .. } => request.items.len().saturating_sub(1),
            _ => 0,
        };
        Step::Send {
            path: call.path(),
            media_type: call.media_type(),
            token: call.access_token().map(str::to_owned),
            items: matches!(call, Call::Synchronise { .. }),
            changes,
        }
    }
}

/// Tokens from the text of an answer.
pub fn signed_in(text: &str) -> Result<SignedIn, LinkError> {
    if text.len() > JSON_BYTES_MAX {
        return Err(LinkError::Answer("it is too long".into()));
    }
    SignedIn::read(text.as_bytes())
}
