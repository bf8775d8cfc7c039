//! One synchronisation from its first request to its report: tokens, batches, failures, back-off, lease and wipe.
//!
//! A state machine. In: an [`Event`], and the store it may write to. Out: one [`Command`] for whoever carries requests. The driver loops:
//!
//! 1. [`Session::handle`] with [`Event::Begin`];
//! 2. [`Command::Send`]: the call goes out; then [`Event::Answering`], [`Event::SignedIn`] or [`Event::Failed`];
//! 3. [`Command::Read`]: items go into [`Session::gather`] until it is true, then [`Event::Gathered`]; [`Event::Over`] where the body ended,
//!    [`Event::Failed`] where it broke;
//! 4. [`Command::Wait`]: afterwards [`Event::Begin`];
//! 5. [`Command::Done`]: [`Session::report`] says what became of it.
//!
//! Whatever a step stores is one transaction. A session that is dropped at any step leaves a store from which the next one goes on.

use std::{collections::HashMap, sync::Arc, time::Duration};

use lianka_sync_core::{
    codec::{
        block::{self, Block},
        wire::{Hello, Report, RequestItem, ResponseItem},
    },
    id::{ChangeHash, RecordId, StreetCode},
    lang::Lang,
    time::DeviceTime,
};
use serde::Serialize;

use crate::{
    Author, Effect, Holdings, Identity, Moment, ProtocolError, Request, Synchronisation, Tally,
    lease::Lease,
    link::{Call, LinkError, Problem, SignedIn},
    store::{Credentials, LastSync, RecordStore, Records, WipeReport},
};

/// Items stored in one transaction while a download goes on.
const BATCH_ITEMS_MAX: usize = 1_000;
/// So many of them a block counts for.
const BLOCK_ITEMS: usize = 250;
/// An access token that expires within this is exchanged before it is used.
const EXPIRY_MARGIN_MS: i64 = 30_000;

/// Why a synchronisation did not come to its end. What was stored before stands.
#[derive(Debug, thiserror::Error)]
pub enum SessionError<E> {
    /// The store.
    #[error(transparent)]
    Store(E),
    /// The link.
    #[error(transparent)]
    Link(LinkError),
    /// The office's answer.
    #[error(transparent)]
    Protocol(ProtocolError),
    /// The tokens are not accepted any more: enrol again. Unsent edits are kept.
    #[error("signed out: {}", .0.title)]
    SignedOut(Box<Problem>),
    /// The user has no street, or not the one asked for.
    #[error("the account does not work in that street")]
    NoStreet(Vec<StreetCode>),
    /// What is stored is another user's, or of another street.
    #[error("the file belongs to {0}")]
    OtherUser(String),
    /// The driver told of something that was not asked for.
    #[error("an event out of turn")]
    OutOfTurn,
}

impl<E> From<E> for SessionError<E> {
    fn from(error: E) -> Self {
        Self::Store(error)
    }
}

/// How hard to try, when the network is bad.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Backoff {
    /// Requests in a row that may fail without progress before the synchronisation gives up; 1: no second try.
    pub tries_max: u32,
    /// The first wait lies between 0 and this; each further one doubles the bound (full jitter).
    pub base: Duration,
    /// The bound grows no further.
    pub cap: Duration,
}

impl Default for Backoff {
    fn default() -> Self {
        Self {
            tries_max: 6,
            base: Duration::from_millis(500),
            cap: Duration::from_secs(30),
        }
    }
}

impl Backoff {
    fn wait(&self, failures: u32, asked: Option<Duration>, entropy: [u8; 16]) -> Duration {
        let bound = self
            .base
            .saturating_mul(1 << failures.saturating_sub(1).min(16))
            .min(self.cap);
        let mut half = [0; 8];
        half.copy_from_slice(&entropy[..8]);
        let draw = u64::from_be_bytes(half);
        asked.unwrap_or_default() + Duration::from_millis(draw % (bound.as_millis() as u64 + 1))
    }
}

/// What a synchronisation did.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize)]
pub struct SyncReport {
    /// Verdicts by status, and what came down.
    #[serde(flatten)]
    pub tally: Tally,
    /// Requests that were answered at least in part.
    pub requests: u32,
    /// Requests repeated because the connection failed.
    pub retries: u32,
    /// Bytes of request bodies as sent (compressed).
    pub bytes_up: u64,
    /// Bytes of answer bodies as received (compressed).
    pub bytes_down: u64,
    /// How long it took.
    #[serde(rename = "duration_ms", serialize_with = "as_ms")]
    pub duration: Duration,
    /// Changes still to be sent.
    pub unsent: u64,
    /// Changes that wait for a reviewer, those of former synchronisations included.
    #[serde(rename = "waiting")]
    pub held: u64,
    /// Drafts on this phone.
    pub drafts: u64,
    /// Notices that the user has not looked at.
    pub notices: u64,
    /// The office wiped this phone.
    pub wiped: bool,
}

fn as_ms<S: serde::Serializer>(duration: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_u64(duration.as_millis() as u64)
}

/// What happened.
#[derive(Debug)]
pub enum Event {
    /// Begin, or go on after a wait.
    Begin,
    /// The office takes the request and answers; items follow.
    Answering,
    /// The office gave new tokens.
    SignedIn(Box<SignedIn>),
    /// Enough items were gathered to store them.
    Gathered,
    /// The answer's body ended.
    Over,
    /// The request failed, or its answer broke.
    Failed(LinkError),
}

/// What to do next.
#[derive(Debug)]
pub enum Command {
    /// Send this.
    Send(Call),
    /// Read on in the answer.
    Read,
    /// Wait, then begin again.
    Wait {
        /// How long.
        wait: Duration,
        /// Which failure in a row this is.
        failures: u32,
    },
    /// It is over.
    Done,
}

/// What an event brings along from outside.
pub struct Surroundings<'s> {
    /// The phone's clock.
    pub now: DeviceTime,
    /// Language of messages that are kept.
    pub lang: Lang,
    /// Fresh bytes for whoever asks.
    pub entropy: &'s mut dyn FnMut() -> [u8; 16],
}

impl Surroundings<'_> {
    fn moment(&mut self) -> Moment {
        Moment {
            now: self.now,
            // What is written anew was checked when it was written.
            office: None,
            entropy: (self.entropy)(),
            lang: self.lang,
        }
    }
}

/// Where the session is.
#[derive(Debug)]
enum Step {
    /// Before a request.
    Idle,
    /// The tokens are being exchanged for this request.
    Renewing(Asking),
    /// The request is out. `fresh`: its token was exchanged for it.
    Asked { asking: Asking, fresh: bool },
    /// The answer comes.
    Reading,
}

/// A request and the street it goes to.
#[derive(Clone, Debug)]
struct Asking {
    street: StreetCode,
    request: Arc<Request>,
}

/// What the session is for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Purpose {
    /// To send what is unsent and fetch what is new.
    Synchronise,
    /// To tell the office that this phone has cleared itself. Failing is no failure where a synchronisation led here.
    TellOfWipe { insists: bool },
}

/// A synchronisation under way.
#[derive(Debug)]
pub struct Session {
    client: &'static str,
    backoff: Backoff,
    purpose: Purpose,
    step: Step,
    sync: Synchronisation,
    batch: Vec<ResponseItem>,
    /// How many items that is, a block counting for several.
    batch_items: usize,
    /// Something durable came of the request.
    advanced: bool,
    failures: u32,
    report: SyncReport,
}

impl Session {
    /// A synchronisation. `client`: name and version of the program, for example `lianka-phone/0.1.0`.
    pub fn new(client: &'static str, backoff: Backoff) -> Self {
        Self {
            client,
            backoff,
            purpose: Purpose::Synchronise,
            step: Step::Idle,
            sync: Synchronisation::new(client),
            batch: Vec::new(),
            batch_items: 0,
            advanced: false,
            failures: 0,
            report: SyncReport::default(),
        }
    }

    /// Tells the office that this phone has cleared itself, where it could not be told at once, and then forgets how to. Nothing where that was
    /// done, or the phone was not wiped.
    pub fn tell_of_wipe(client: &'static str) -> Self {
        Self {
            purpose: Purpose::TellOfWipe { insists: true },
            ..Self::new(client, Backoff::default())
        }
    }

    /// What was done so far.
    pub fn tally(&self) -> Tally {
        self.sync.tally()
    }

    /// Whether the office wiped this phone.
    pub fn wiped(&self) -> bool {
        self.sync.wiped()
    }

    /// What was done, once it is over; bytes and duration are the driver's to know.
    pub fn report(&self) -> SyncReport {
        SyncReport {
            tally: self.sync.tally(),
            wiped: self.sync.wiped(),
            ..self.report
        }
    }

    /// Takes in one item of the answer; whether what was gathered is to be stored now.
    pub fn gather(&mut self, item: ResponseItem) -> bool {
        if self.purpose != Purpose::Synchronise {
            return false;
        }
        let complete = matches!(
            item,
            ResponseItem::Checkpoint { .. } | ResponseItem::End { .. } | ResponseItem::Wipe
        );
        let is_block = matches!(item, ResponseItem::Block { .. });
        self.batch_items += if is_block { BLOCK_ITEMS } else { 1 };
        self.batch.push(item);
        complete || self.batch_items >= BATCH_ITEMS_MAX
    }

    /// What follows from an event. An error ends the session.
    pub fn handle<S: RecordStore>(
        &mut self,
        event: Event,
        store: &mut S,
        around: &mut Surroundings<'_>,
    ) -> Result<Command, SessionError<S::Error>> {
        match (std::mem::replace(&mut self.step, Step::Idle), event) {
            (Step::Idle, Event::Begin) => self.begin(store, around),
            (Step::Renewing(asking), Event::SignedIn(signed)) => {
                self.renewed(store, &signed, around.now)?;
                Ok(self.ask(asking, signed.access_token, true))
            }
            (Step::Asked { .. }, Event::Answering) => {
                self.report.requests += u32::from(self.purpose == Purpose::Synchronise);
                self.step = Step::Reading;
                Ok(Command::Read)
            }
            (
                Step::Asked {
                    asking,
                    fresh: false,
                },
                Event::Failed(error),
            ) if error.unauthenticated() && self.purpose == Purpose::Synchronise => {
                let credentials = look(store, |tx| tx.credentials())?;
                Ok(self.renew(asking, credentials.refresh_token))
            }
            (Step::Reading, Event::Gathered) => {
                self.store_batch(store, around)?;
                if self.sync.wiped() {
                    store.scrub()?;
                    self.purpose = Purpose::TellOfWipe { insists: false };
                    self.begin(store, around)
                } else if self.sync.ended() {
                    self.failures = 0;
                    self.begin(store, around)
                } else {
                    self.step = Step::Reading;
                    Ok(Command::Read)
                }
            }
            (Step::Reading, Event::Over) => match self.purpose {
                Purpose::Synchronise => self.failed(store, LinkError::Incomplete, around),
                Purpose::TellOfWipe { .. } => forget_wipe(store),
            },
            (Step::Renewing(_) | Step::Asked { .. } | Step::Reading, Event::Failed(error)) => {
                self.failed(store, error, around)
            }
            _ => Err(SessionError::OutOfTurn),
        }
    }

    fn begin<S: RecordStore>(
        &mut self,
        store: &mut S,
        around: &mut Surroundings<'_>,
    ) -> Result<Command, SessionError<S::Error>> {
        let now = around.now;
        let (request, street, credentials) = match self.purpose {
            Purpose::Synchronise => {
                let holdings = look(store, |tx| tx.holdings())?;
                let Some(request) = self.sync.next_request(Holdings {
                    device_time: Some(now),
                    ..holdings
                }) else {
                    return self.done(store);
                };
                self.advanced = false;
                let of = look(store, |tx| Ok((tx.identity()?.street, tx.credentials()?)))?;
                (request, of.0, of.1)
            }
            Purpose::TellOfWipe { .. } => {
                let Some(report) = look(store, |tx| tx.wipe_report())? else {
                    return Ok(Command::Done);
                };
                (self.cleared(now), report.street, report.credentials)
            }
        };
        let asking = Asking {
            street,
            request: Arc::new(request),
        };
        if credentials.access_expires_ms - EXPIRY_MARGIN_MS <= now.unix_ms() {
            return Ok(self.renew(asking, credentials.refresh_token));
        }
        Ok(self.ask(asking, credentials.access_token, false))
    }

    /// The request that says nothing is left.
    fn cleared(&self, now: DeviceTime) -> Request {
        let report = Report {
            unsent: Some(0),
            held: Some(0),
            device_time: Some(now),
            wiped: true,
        };
        Request {
            items: vec![RequestItem::Hello(Hello {
                blocks: 0,
                kinds: Vec::new(),
                cursor: None,
                client: self.client.into(),
                pull: false,
                report,
            })],
            pull: false,
        }
    }

    fn renew(&mut self, asking: Asking, refresh_token: String) -> Command {
        self.step = Step::Renewing(asking);
        Command::Send(Call::Renew { refresh_token })
    }

    fn ask(&mut self, asking: Asking, access_token: String, fresh: bool) -> Command {
        let Asking { street, request } = asking.clone();
        self.step = Step::Asked { asking, fresh };
        Command::Send(Call::Synchronise {
            street,
            access_token,
            request,
        })
    }

    /// Stores new tokens before they are used; where the answer is lost, the old refresh token is good for another try.
    fn renewed<S: RecordStore>(
        &self,
        store: &mut S,
        signed: &SignedIn,
        now: DeviceTime,
    ) -> Result<(), SessionError<S::Error>> {
        change(store, |tx| {
            if self.purpose != Purpose::Synchronise {
                if let Some(report) = tx.wipe_report()? {
                    tx.set_wipe_report(&WipeReport {
                        credentials: credentials_of(&report.credentials.server, signed, now),
                        ..report
                    })?;
                }
                return Ok(());
            }
            let before = tx.identity()?;
            tx.set_credentials(&credentials_of(&tx.credentials()?.server, signed, now))?;
            // A device that is to be wiped is told no streets.
            if let Some(identity) = identity_of(signed, Some(&before.street)) {
                tx.set_identity(&Identity {
                    device: before.device,
                    former_devices: before.former_devices,
                    ..identity
                })?;
            }
            Ok(())
        })
    }

    /// One transaction: the items gathered, and where they complete the answer all that follows from it.
    fn store_batch<S: RecordStore>(
        &mut self,
        store: &mut S,
        around: &mut Surroundings<'_>,
    ) -> Result<(), SessionError<S::Error>> {
        let items = std::mem::take(&mut self.batch);
        self.batch_items = 0;
        if items.is_empty() {
            return Ok(());
        }
        let sync = &mut self.sync;
        self.advanced |= store.write(|tx| receive(tx, sync, items, || around.moment()))?;
        Ok(())
    }

    /// What comes of a failure. What came before a break is good: items repeat harmlessly.
    fn failed<S: RecordStore>(
        &mut self,
        store: &mut S,
        error: LinkError,
        around: &mut Surroundings<'_>,
    ) -> Result<Command, SessionError<S::Error>> {
        if let Purpose::TellOfWipe { insists } = self.purpose {
            return match error {
                // An office that does not take the tokens any more knows already.
                error if error.unauthenticated() => forget_wipe(store),
                error if insists => Err(SessionError::Link(error)),
                _ => Ok(Command::Done),
            };
        }
        self.store_batch(store, around)?;
        match error {
            error if error.transient() => {
                self.failures = if self.advanced { 1 } else { self.failures + 1 };
                if self.failures >= self.backoff.tries_max {
                    return Err(SessionError::Link(error));
                }
                self.report.retries += 1;
                let wait =
                    self.backoff
                        .wait(self.failures, error.retry_after(), (around.entropy)());
                Ok(Command::Wait {
                    wait,
                    failures: self.failures,
                })
            }
            LinkError::Refused(problem) if problem.status == 401 => {
                Err(SessionError::SignedOut(problem))
            }
            error => Err(SessionError::Link(error)),
        }
    }

    fn done<S: RecordStore>(&mut self, store: &mut S) -> Result<Command, SessionError<S::Error>> {
        // What was erased, redacted, sealed or taken away, now or by a synchronisation that was cut, is not to stay in the store or beside it.
        // Another reader, or a full disk, only puts it off.
        if look(store, |tx| tx.unscrubbed())? && store.scrub().is_ok() {
            change(store, |tx| tx.set_unscrubbed(false))?;
        }
        let _ = store.truncate_log();
        let report = &mut self.report;
        look(store, |tx| {
            let [unsent, held, refused] = tx.outbox_count()?;
            (report.unsent, report.held) = (unsent + refused, held);
            report.drafts = tx.drafts()?.len() as u64;
            report.notices = tx.unread_notices()?;
            Ok(Command::Done)
        })
    }
}

/// Carries out what an answer brought about. What it takes away is still in the store's free space, as `RecordStore::scrub` would not leave it.
fn apply<R: Records>(
    tx: &R,
    sync: &mut Synchronisation,
    effects: &[Effect],
) -> Result<(), R::Error> {
    if sync.must_scrub(effects) {
        tx.set_unscrubbed(true)?;
    }
    tx.apply(effects)
}

/// Stores items of an answer; whether anything was.
pub fn receive<R: Records>(
    tx: &R,
    sync: &mut Synchronisation,
    items: Vec<ResponseItem>,
    mut moment: impl FnMut() -> Moment,
) -> Result<bool, SessionError<R::Error>> {
    let identity = tx.identity()?;
    let mut epoch = tx.epoch()?;
    let mut advanced = false;
    // What is not asked about yet is stored in one go.
    let mut effects = Vec::new();
    for item in items {
        let needs = sync.needs(&item);
        let looks = matches!(item, ResponseItem::Wipe | ResponseItem::Block { .. });
        if needs.is_some() || looks {
            apply(tx, sync, &std::mem::take(&mut effects))?;
        }
        // What was saved since the request was made is handed over first.
        if item == ResponseItem::Wipe && sync.is_new_to(&tx.outbox()?) {
            sync.put_off_wipe();
            continue;
        }
        let state = needs.map(|record| tx.record_state(record)).transpose()?;
        let author = Author {
            identity: &identity,
            epoch,
        };
        let new = match &item {
            ResponseItem::Block { bytes } => {
                let changes = unpacked(tx, sync, bytes)?;
                sync.receive_block(changes, &author)
            }
            _ => sync.receive(item, state.as_ref(), &author),
        };
        let new = new.map_err(SessionError::Protocol)?;
        advanced |= !new.is_empty();
        epoch = epoch_after(&new, epoch);
        effects.extend(new);
        if sync.wiped() {
            apply(tx, sync, &effects)?;
            tx.set_wiped(moment().now)?;
            return Ok(true);
        }
    }
    apply(tx, sync, &effects)?;
    if sync.ended() {
        for record in tx.due()? {
            let author = Author {
                identity: &identity,
                epoch,
            };
            let state = tx.record_state(record)?;
            let effects = sync
                .settle(&state, &author, &moment())
                .map_err(SessionError::Protocol)?;
            epoch = epoch_after(&effects, epoch);
            apply(tx, sync, &effects)?;
        }
        tx.apply(&sync.finish())?;
        if let Some(server_time) = sync.server_time() {
            let now = moment().now;
            tx.set_last_sync(&LastSync {
                at: now,
                server_time,
            })?;
            tx.set_lease(
                sync.lease_seconds()
                    .map(|seconds| Lease::granted(seconds, now)),
            )?;
        }
        advanced = true;
    }
    Ok(advanced)
}

/// What a block holds, by what the phone holds; `None` where it does not come out whole.
fn unpacked<R: Records>(
    tx: &R,
    sync: &Synchronisation,
    bytes: &[u8],
) -> Result<Option<Vec<block::Unpacked>>, R::Error> {
    match Block::read(bytes) {
        Ok(block) => block.unpack(&mut Held {
            tx,
            records: sync.records_by_ending(),
        }),
        Err(_) => Ok(None),
    }
}

/// What a block builds on, as the store has it.
struct Held<'h, R> {
    tx: &'h R,
    records: HashMap<block::ShortRecord, Vec<RecordId>>,
}

impl<R: Records> block::Holdings for Held<'_, R> {
    type Error = R::Error;

    fn records(&mut self, short: block::ShortRecord) -> Result<Vec<RecordId>, R::Error> {
        Ok(self.records.get(&short).cloned().unwrap_or_default())
    }

    fn changes(
        &mut self,
        record: RecordId,
        begins: &dyn Fn(&ChangeHash) -> bool,
        all: bool,
    ) -> Result<Vec<ChangeHash>, R::Error> {
        let mut hashes = self.tx.hashes(record, all)?;
        hashes.retain(begins);
        Ok(hashes)
    }
}

/// The epoch of what is written after these effects.
fn epoch_after(effects: &[Effect], epoch: u32) -> u32 {
    let set = |effect: &Effect| match effect {
        Effect::SetEpoch(epoch) => Some(*epoch),
        _ => None,
    };
    effects.iter().filter_map(set).next_back().unwrap_or(epoch)
}

fn look<S: RecordStore, T>(
    store: &mut S,
    work: impl FnOnce(&S::Tx<'_>) -> Result<T, S::Error>,
) -> Result<T, SessionError<S::Error>> {
    store.read(work).map_err(SessionError::Store)
}

fn change<S: RecordStore, T>(
    store: &mut S,
    work: impl FnOnce(&S::Tx<'_>) -> Result<T, S::Error>,
) -> Result<T, SessionError<S::Error>> {
    store.write(work).map_err(SessionError::Store)
}

fn forget_wipe<S: RecordStore>(store: &mut S) -> Result<Command, SessionError<S::Error>> {
    change(store, |tx| tx.drop_wipe_report())?;
    store.scrub()?;
    Ok(Command::Done)
}

/// Who is enrolled here already. Asked before a code is spent: a store that cannot be used must not cost one.
pub fn enrolled_before<S: RecordStore>(
    store: &mut S,
) -> Result<Option<Identity>, SessionError<S::Error>> {
    look(store, |tx| tx.enrolled())
}

/// Stores what an enrolment brought. `before`: who was enrolled here already, which must be the same user in the same street; what is unsent is kept.
pub fn enrol<S: RecordStore>(
    store: &mut S,
    before: Option<Identity>,
    signed: &SignedIn,
    street: Option<&StreetCode>,
    server: &str,
    now: DeviceTime,
) -> Result<(), SessionError<S::Error>> {
    let wanted = street.or_else(|| before.as_ref().map(|before| &before.street));
    let mut identity = identity_of(signed, wanted).ok_or_else(|| {
        let streets = signed.streets.iter().map(|street| street.street.clone());
        SessionError::NoStreet(streets.collect())
    })?;
    if let Some(before) = before {
        if (&before.username, &before.street) != (&identity.username, &identity.street) {
            return Err(SessionError::OtherUser(before.username));
        }
        identity.former_devices = before.former_devices;
        identity.former_devices.push(before.device);
    }
    change(store, |tx| {
        if !tx.records()?.is_empty() {
            // From now on it is another device, which may have missed what was written in the name of the old one.
            tx.set_start_over(true)?;
        }
        tx.set_identity(&identity)?;
        tx.set_credentials(&credentials_of(server, signed, now))
    })
}

fn identity_of(signed: &SignedIn, wanted: Option<&StreetCode>) -> Option<Identity> {
    let street = signed
        .streets
        .iter()
        .find(|street| wanted.is_none_or(|wanted| street.street == *wanted))?;
    Some(Identity {
        device: signed.device_id,
        username: signed.user.username.clone(),
        display_name: signed.user.display_name.clone(),
        role: signed.user.role,
        street: street.street.clone(),
        street_name: street.name.clone(),
        grids: street.grids.clone(),
        former_devices: Vec::new(),
    })
}

fn credentials_of(server: &str, signed: &SignedIn, now: DeviceTime) -> Credentials {
    Credentials {
        server: server.to_owned(),
        access_token: signed.access_token.clone(),
        access_expires_ms: now
            .unix_ms()
            .saturating_add(signed.expires_in.saturating_mul(1_000)),
        refresh_token: signed.refresh_token.clone(),
    }
}
