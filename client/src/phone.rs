//! A phone: replica, store and transport together.
//!
//! Everything but [`Phone::enrol`] and [`Phone::sync`] works with no network. A [`Phone`] is a handle: clones are the same phone. Local
//! calls block for one `SQLite` transaction, some milliseconds; synchronising does its transactions off the async threads.

mod transfers;

use std::{
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use lianka_client_core::{
    Author, EditError, Edited, Identity, KeptDraft, KeptNotice, Moment, OutboxEntry, ProtocolError,
    Request, Standing, Synchronisation, Tally,
    card::{self, CardFilter, CardSummary, LikelyDuplicate},
    document, editing,
    lease::Lease,
};
use lianka_sync_core::{
    codec::wire::{Hello, Report, RequestItem, ResponseItem},
    crdt::{record::Edit, view::View},
    id::{ChangeHash, RecordId, StreetCode},
    kinds::{Kind, duplicate::Traits, projection::Projected},
    lang::Lang,
    planted::{self, Bug},
    time::DeviceTime,
};
use serde::Serialize;

use crate::{
    clock::{Clock, Entropy},
    local_store::{Credentials, LastSync, LocalStore, StoreError, SyncLock, Tx, WipeReport},
    notices, outbox,
    transport::{Answer, Session, Transport, TransportError},
};

pub use transfers::TransferSummary;

/// Name and version told to the server.
pub const CLIENT: &str = concat!("lianka-phone/", env!("CARGO_PKG_VERSION"));

/// Items stored in one transaction while a download goes on.
const BATCH_ITEMS_MAX: usize = 1_000;
/// An access token that expires within this is exchanged before it is used.
const EXPIRY_MARGIN_MS: i64 = 30_000;

/// Why a phone could not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum PhoneError {
    /// The phone's file.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The edit.
    #[error(transparent)]
    Edit(#[from] EditError),
    /// The way to the server.
    #[error(transparent)]
    Transport(#[from] TransportError),
    /// The server's answer.
    #[error(transparent)]
    Protocol(#[from] ProtocolError),
    /// The tokens are not accepted any more: enrol again. Unsent edits are kept.
    #[error("signed out: {}", .0.title)]
    SignedOut(Box<crate::transport::Problem>),
    /// The user has no street, or not the one asked for.
    #[error("the account does not work in that street")]
    NoStreet(Vec<StreetCode>),
    /// The file is another user's, or of another street.
    #[error("the file belongs to {0}")]
    OtherUser(String),
    /// The phone was away from the office for longer than its lease: it shows nothing and takes no edits until it has synchronised.
    #[error("locked until the next synchronisation")]
    Locked,
    /// There is no such draft.
    #[error("no draft {0}")]
    NoSuchDraft(i64),
    /// A task of the runtime died.
    #[error("the background task was cut off")]
    Cut,
}

impl PhoneError {
    /// A stable code.
    pub fn code(&self) -> &str {
        match self {
            Self::Store(StoreError::Busy) => "busy",
            Self::Store(StoreError::NotEnrolled | StoreError::Missing(_)) => "not_enrolled",
            Self::Store(StoreError::Wiped(_)) => "wiped",
            Self::Store(_) => "store",
            Self::Edit(error) => error.code(),
            Self::Transport(error) => error.code(),
            Self::Protocol(_) => "protocol",
            Self::SignedOut(_) => "signed_out",
            Self::NoStreet(_) => "no_street",
            Self::OtherUser(_) => "other_user",
            Self::Locked => "locked",
            Self::NoSuchDraft(_) => "no_such_draft",
            Self::Cut => "cut",
        }
    }
}

/// How hard to try, when the network is bad.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Backoff {
    /// Requests in a row that may fail without progress before [`Phone::sync`] gives up; 1: no second try.
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

/// How far a synchronisation is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Progress {
    /// A request was sent, with so many changes.
    Sent {
        /// Changes in it.
        changes: usize,
    },
    /// So much is stored by now.
    Stored {
        /// Since the beginning.
        tally: Tally,
    },
    /// A request failed; the next try comes after the wait.
    Waiting {
        /// How long.
        wait: Duration,
        /// Which failure in a row this is.
        failures: u32,
    },
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

/// What became of an edit: saved on the phone.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
pub struct EditReceipt {
    /// The record.
    pub record: RecordId,
    /// The change that will be sent; `None` where the record said so already.
    pub hash: Option<ChangeHash>,
}

/// How a phone stands.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct Status {
    /// Who.
    pub identity: Identity,
    /// The server's address.
    pub server: String,
    /// The last complete synchronisation.
    pub last_sync: Option<LastSync>,
    /// Milliseconds since then, by the phone's clock.
    pub age_ms: Option<i64>,
    /// Milliseconds until the phone locks its data, 0 where it has; `None`: it never does.
    pub lease_left_ms: Option<i64>,
    /// Whether a download is or was complete.
    pub cursor: bool,
    /// Records held.
    pub records: u64,
    /// Changes to be sent.
    pub unsent: u64,
    /// Changes that wait for a reviewer.
    pub held: u64,
    /// Drafts.
    pub drafts: u64,
    /// Notices that the user has not looked at.
    pub notices: u64,
}

/// How to enrol.
#[derive(Clone, Debug, Default)]
pub struct EnrolOptions {
    /// What the owner calls the phone.
    pub name: Option<String>,
    /// For example `terminal`, which is the default.
    pub platform: Option<String>,
    /// Where the account works in several streets; the first one otherwise.
    pub street: Option<StreetCode>,
    /// Language of messages.
    pub lang: Lang,
    /// Where time comes from.
    pub clock: Clock,
    /// Where randomness comes from.
    pub entropy: Entropy,
}

#[derive(Debug)]
struct Inner {
    path: PathBuf,
    store: Mutex<LocalStore>,
    transport: Mutex<Option<Transport>>,
}

/// A handle on one enrolled phone.
#[derive(Clone, Debug)]
pub struct Phone {
    inner: Arc<Inner>,
    clock: Clock,
    entropy: Entropy,
    lang: Lang,
    backoff: Backoff,
}

impl Phone {
    /// Enrols this phone: spends the code, makes the file at `store_path`. With a file that is there already, the same user enrols again,
    /// for example after the device was revoked by mistake; what is unsent is kept.
    pub async fn enrol(
        store_path: &Path,
        server: &str,
        code: &str,
        options: EnrolOptions,
    ) -> Result<Self, PhoneError> {
        Self::enrol_over(
            Transport::new(server, options.lang)?,
            store_path,
            code,
            options,
        )
        .await
    }

    /// The same going another way to the server.
    pub async fn enrol_over(
        transport: Transport,
        store_path: &Path,
        code: &str,
        options: EnrolOptions,
    ) -> Result<Self, PhoneError> {
        // Before the code is spent: a file that cannot be made must not cost one.
        let mut store = LocalStore::open_or_create(store_path)?;
        let before = match store.identity() {
            Ok(identity) => Some(identity),
            Err(StoreError::NotEnrolled) => None,
            Err(error) => return Err(error.into()),
        };
        let name = options.name.as_deref().unwrap_or("lianka-phone");
        let session = transport
            .enrol(
                code,
                name,
                options.platform.as_deref().unwrap_or("terminal"),
            )
            .await?;
        let wanted = options
            .street
            .clone()
            .or_else(|| before.as_ref().map(|before| before.street.clone()));
        let mut identity = identity_of(&session, wanted.as_ref())?;
        if let Some(before) = &before {
            identity.former_devices.clone_from(&before.former_devices);
            identity.former_devices.push(before.device);
        }
        if let Some(before) = before.filter(|before| {
            (&before.username, &before.street) != (&identity.username, &identity.street)
        }) {
            return Err(PhoneError::OtherUser(before.username));
        }
        let credentials = credentials_of(transport.server(), &session, options.clock.now());
        store.write(|tx| {
            if !tx.records()?.is_empty() {
                // From now on it is another device, which may have missed what was written in the name of the old one.
                tx.set_start_over()?;
            }
            tx.set_identity(&identity)?;
            tx.set_credentials(&credentials)
        })?;
        let inner = Inner {
            path: store_path.to_owned(),
            store: Mutex::new(store),
            transport: Mutex::new(Some(transport)),
        };
        let EnrolOptions {
            clock,
            entropy,
            lang,
            ..
        } = options;
        Ok(Self {
            inner: Arc::new(inner),
            clock,
            entropy,
            lang,
            backoff: Backoff::default(),
        })
    }

    /// Tells the office that the phone at this path has cleared itself, where it could not be told at once, and then forgets how to. Nothing
    /// where that was done, or the phone was not wiped.
    pub async fn report_wipe(store_path: &Path, lang: Lang) -> Result<(), PhoneError> {
        Self::report_wipe_over(None, store_path, lang, Clock::default().now()).await
    }

    /// The same going another way to the server, where one is given.
    pub async fn report_wipe_over(
        transport: Option<Transport>,
        store_path: &Path,
        lang: Lang,
        now: DeviceTime,
    ) -> Result<(), PhoneError> {
        let _lock = SyncLock::take(store_path)?;
        let mut store = LocalStore::open(store_path)?;
        // Whatever kept it from being done at once.
        store.scrub()?;
        let Some(report) = store.read(|tx| Ok::<_, PhoneError>(tx.wipe_report()?))? else {
            return Ok(());
        };
        let transport =
            transport.map_or_else(|| Transport::new(&report.credentials.server, lang), Ok)?;
        wipe_reported(&mut store, &transport, report, now).await
    }

    /// Opens an enrolled phone.
    pub fn open(store_path: &Path) -> Result<Self, PhoneError> {
        let mut store = LocalStore::open(store_path)?;
        store.identity()?;
        let inner = Inner {
            path: store_path.to_owned(),
            store: Mutex::new(store),
            transport: Mutex::new(None),
        };
        Ok(Self {
            inner: Arc::new(inner),
            clock: Clock::default(),
            entropy: Entropy::default(),
            lang: Lang::default(),
            backoff: Backoff::default(),
        })
    }

    /// The same phone with another clock.
    #[must_use]
    pub fn with_clock(self, clock: Clock) -> Self {
        Self { clock, ..self }
    }

    /// The same phone with another source of randomness.
    #[must_use]
    pub fn with_entropy(self, entropy: Entropy) -> Self {
        Self { entropy, ..self }
    }

    /// The same phone speaking another language.
    #[must_use]
    pub fn with_lang(self, lang: Lang) -> Self {
        Self { lang, ..self }
    }

    /// The same phone trying more or less hard.
    #[must_use]
    pub fn with_backoff(self, backoff: Backoff) -> Self {
        Self { backoff, ..self }
    }

    /// The same phone going another way to its server, for example through a proxy that breaks connections.
    #[must_use]
    pub fn with_transport(self, transport: Transport) -> Self {
        *self
            .inner
            .transport
            .lock()
            .unwrap_or_else(PoisonError::into_inner) = Some(transport);
        self
    }

    /// Whether every commit of this phone is on the medium before it counts as done: what a loss of power cannot take back. As the connection
    /// tells it, for those who simulate such losses.
    pub fn flushes_every_commit(&self) -> Result<bool, PhoneError> {
        Ok(self.store().flushes_every_commit()?)
    }

    /// Where the file is.
    pub fn path(&self) -> &Path {
        &self.inner.path
    }

    /// The phone's clock.
    pub fn now(&self) -> DeviceTime {
        self.clock.now()
    }

    /// Sixteen bytes from the phone's source of randomness, for example to name an entry.
    pub fn entropy(&self) -> [u8; 16] {
        self.entropy.bytes()
    }

    /// Who this phone is.
    pub fn identity(&self) -> Result<Identity, PhoneError> {
        Ok(self.store().identity()?)
    }

    /// Every card, in walking order.
    pub fn cards(&self) -> Result<Vec<CardSummary>, PhoneError> {
        self.find_cards(&CardFilter::default())
    }

    /// The cards that pass a filter, in walking order.
    pub fn find_cards(&self, filter: &CardFilter) -> Result<Vec<CardSummary>, PhoneError> {
        self.unlocked()?;
        self.write(|tx| {
            tx.identity()?;
            Ok(tx.cards(filter)?)
        })
    }

    /// Cards on this phone that a card made of `edits` would likely be a duplicate of. To be asked before creating: the office merges, but a
    /// shop entered once is better.
    pub fn likely_duplicates(
        &self,
        grid: &str,
        edits: &[Edit],
    ) -> Result<Vec<LikelyDuplicate>, PhoneError> {
        let new = Traits::of(&card::planned(grid, edits));
        let cards = self.cards()?;
        let compared = cards.into_iter().filter_map(|card| {
            let comparison = new.compare(&Traits::from_keys(card.keys.iter().map(String::as_str)));
            comparison.is_likely().then_some(LikelyDuplicate {
                card,
                reasons: comparison.reasons,
            })
        });
        Ok(compared.collect())
    }

    /// Remembers a list as shown, so that its line numbers name records.
    pub fn remember_listing(&self, records: &[RecordId]) -> Result<(), PhoneError> {
        self.write(|tx| Ok(tx.set_listing(records)?))
    }

    /// The record in a line, from 1, of the list last shown.
    pub fn listed(&self, line: i64) -> Result<Option<RecordId>, PhoneError> {
        self.read(|tx| Ok(tx.listed(line)?))
    }

    /// Every record held, by id.
    pub fn records(&self) -> Result<Vec<RecordId>, PhoneError> {
        self.read(|tx| Ok(tx.records()?))
    }

    /// What a record says, the phone's own edits included.
    pub fn view(&self, record: RecordId) -> Result<View, PhoneError> {
        self.unlocked()?;
        self.read(|tx| {
            let mut opened = document::open(&tx.record_state(record)?)
                .map_err(EditError::from)?
                .ok_or(EditError::NoSuchRecord)?;
            Ok(opened.document.view().map_err(EditError::from)?)
        })
    }

    /// The rows of a record; `None` where its document cannot be read.
    pub fn project(&self, record: RecordId) -> Result<Option<Projected>, PhoneError> {
        self.unlocked()?;
        self.read(|tx| Ok(tx.project(record)?))
    }

    /// The rows of every record held, by id: what a digest is made of. Opens every document.
    pub fn project_all(&self) -> Result<Vec<Projected>, PhoneError> {
        self.unlocked()?;
        self.read(|tx| {
            let mut rows = Vec::new();
            for record in tx.records()? {
                rows.extend(tx.project(record)?);
            }
            Ok(rows)
        })
    }

    /// Edits a record. When this returns, the edit is durable: on the phone, not yet at the office.
    pub fn edit(
        &self,
        record: RecordId,
        edits: &[Edit],
        now: DeviceTime,
    ) -> Result<EditReceipt, PhoneError> {
        self.unlocked()?;
        let moment = self.moment(now);
        self.write(|tx| {
            let identity = tx.identity()?;
            let author = Author {
                identity: &identity,
                epoch: tx.epoch()?,
            };
            saved(
                tx,
                &editing::edit(&author, &tx.record_state(record)?, edits, &moment)?,
            )
        })
    }

    /// Creates a card in one of the user's grids.
    pub fn create_card(
        &self,
        grid: &str,
        edits: &[Edit],
        now: DeviceTime,
    ) -> Result<EditReceipt, PhoneError> {
        self.create(Kind::ShopCard, grid, edits, now)
    }

    /// Creates a record in one of the user's grids.
    pub fn create(
        &self,
        kind: Kind,
        grid: &str,
        edits: &[Edit],
        now: DeviceTime,
    ) -> Result<EditReceipt, PhoneError> {
        self.unlocked()?;
        let moment = self.moment(now);
        self.write(|tx| {
            let identity = tx.identity()?;
            let author = Author {
                identity: &identity,
                epoch: tx.epoch()?,
            };
            saved(tx, &editing::create(&author, kind, grid, edits, &moment)?)
        })
    }

    /// Edits that could not be kept, oldest first.
    pub fn drafts(&self) -> Result<Vec<KeptDraft>, PhoneError> {
        self.unlocked()?;
        self.read(|tx| Ok(outbox::drafts(tx.tx)?))
    }

    /// What the office told this user, the newest first.
    pub fn notices(&self) -> Result<Vec<KeptNotice>, PhoneError> {
        self.unlocked()?;
        self.write(|tx| {
            tx.index_missing()?;
            let mut kept = notices::all(tx.tx)?;
            for notice in &mut kept {
                notice.title = tx.title(notice.notice.record)?;
            }
            Ok(kept)
        })
    }

    /// The user has looked at every notice.
    pub fn mark_notices_read(&self) -> Result<(), PhoneError> {
        self.write(|tx| Ok(notices::mark_read(tx.tx)?))
    }

    /// Drops a draft for good.
    pub fn drop_draft(&self, id: i64) -> Result<(), PhoneError> {
        self.write(|tx| {
            if outbox::remove_draft(tx.tx, id)? {
                Ok(())
            } else {
                Err(PhoneError::NoSuchDraft(id))
            }
        })
    }

    /// Applies a draft again, as an edit made now.
    pub fn retry_draft(&self, id: i64, now: DeviceTime) -> Result<EditReceipt, PhoneError> {
        self.unlocked()?;
        let moment = self.moment(now);
        self.write(|tx| {
            let identity = tx.identity()?;
            let author = Author {
                identity: &identity,
                epoch: tx.epoch()?,
            };
            let kept = outbox::drafts(tx.tx)?
                .into_iter()
                .find(|kept| kept.id == id)
                .ok_or(PhoneError::NoSuchDraft(id))?;
            let state = tx.record_state(kept.draft.record)?;
            saved(
                tx,
                &editing::retry(&author, id, &kept.draft, &state, &moment)?,
            )
        })
    }

    /// The phone's own changes that the server has not accepted, in order.
    pub fn outbox(&self) -> Result<Vec<OutboxEntry>, PhoneError> {
        self.unlocked()?;
        self.read(|tx| Ok(outbox::all(tx.tx)?))
    }

    /// The entries of one record.
    pub fn outbox_of(&self, record: RecordId) -> Result<Vec<OutboxEntry>, PhoneError> {
        self.unlocked()?;
        self.read(|tx| Ok(outbox::of_record(tx.tx, record)?))
    }

    /// How the phone stands.
    pub fn status(&self) -> Result<Status, PhoneError> {
        let now = self.clock.now();
        self.read(|tx| {
            let [unsent, held, refused] = outbox::count(tx.tx)?;
            let last_sync = tx.last_sync()?;
            Ok(Status {
                identity: tx.identity()?,
                server: tx.credentials()?.server,
                age_ms: last_sync.map(|last| now.unix_ms() - last.at.unix_ms()),
                lease_left_ms: tx.lease()?.map(|lease| lease.at(now).left_ms()),
                last_sync,
                cursor: tx.cursor()?.is_some(),
                records: tx.records()?.len() as u64,
                unsent: unsent + refused,
                held,
                drafts: outbox::drafts(tx.tx)?.len() as u64,
                notices: notices::unread(tx.tx)?,
            })
        })
    }

    /// Sends what is unsent and fetches what is new.
    pub async fn sync(&self) -> Result<SyncReport, PhoneError> {
        self.sync_with(|_| ()).await
    }

    /// The same, telling how far it is.
    pub async fn sync_with(
        &self,
        mut progress: impl FnMut(Progress) + Send,
    ) -> Result<SyncReport, PhoneError> {
        let started = Instant::now();
        let _lock = SyncLock::take(&self.inner.path)?;
        let mut run = Run {
            sync: Box::new(Synchronisation::new(CLIENT)),
            report: SyncReport::default(),
            advanced: false,
        };
        let mut failures = 0;
        loop {
            let device_time = Some(self.clock.now());
            let standing = self
                .blocking(move |phone| {
                    phone.read(|tx| {
                        Ok(Standing {
                            device_time,
                            ..tx.standing()?
                        })
                    })
                })
                .await?;
            let Some(request) = run.sync.next_request(standing) else {
                break;
            };
            progress(Progress::Sent {
                changes: request.items.len() - 1,
            });
            run.advanced = false;
            match self.exchange(&mut run, &request, &mut progress).await {
                Ok(()) => failures = 0,
                Err(PhoneError::Transport(error)) if error.transient() => {
                    failures = if run.advanced { 1 } else { failures + 1 };
                    if failures >= self.backoff.tries_max {
                        return Err(error.into());
                    }
                    run.report.retries += 1;
                    let wait = self.wait(failures, error.retry_after());
                    progress(Progress::Waiting { wait, failures });
                    tokio::time::sleep(wait).await;
                }
                Err(error) => return Err(error),
            }
        }
        let mut report = SyncReport {
            tally: run.sync.tally(),
            wiped: run.sync.wiped(),
            duration: started.elapsed(),
            ..run.report
        };
        if report.wiped {
            // A network that fails here is tried again at the next synchronisation: see `report_wipe`.
            let _ = self.report_own_wipe().await;
        } else {
            // What was erased, redacted, sealed or taken away, now or by a synchronisation that was cut, is not to stay beside the file either.
            // Another reader only puts it off.
            if !planted::is(Bug::EraseStaysInLog) {
                let _ = self
                    .blocking(|phone| Ok(phone.store().truncate_log()?))
                    .await;
            }
            let [unsent, held, refused] = self.read(|tx| Ok(outbox::count(tx.tx)?))?;
            (report.unsent, report.held) = (unsent + refused, held);
            report.drafts = self.read(|tx| Ok(outbox::drafts(tx.tx)?))?.len() as u64;
            report.notices = self.read(|tx| Ok(notices::unread(tx.tx)?))?;
        }
        Ok(report)
    }

    /// One request and its answer, stored batch by batch.
    async fn exchange(
        &self,
        run: &mut Run,
        request: &Request,
        progress: &mut (impl FnMut(Progress) + Send),
    ) -> Result<(), PhoneError> {
        let mut answer = self.ask(request).await?;
        run.report.requests += 1;
        run.report.bytes_up += answer.bytes_up;
        let read = self.take_in(run, &mut answer, progress).await;
        run.report.bytes_down += answer.bytes_down;
        read
    }

    async fn take_in(
        &self,
        run: &mut Run,
        answer: &mut Answer,
        progress: &mut (impl FnMut(Progress) + Send),
    ) -> Result<(), PhoneError> {
        let mut batch = Vec::new();
        loop {
            let next = answer.next().await;
            let broken = match next {
                Ok(Some(item)) => {
                    if matches!(item, ResponseItem::Checkpoint { .. })
                        && planted::is(Bug::CheckpointTooEarly)
                    {
                        self.store_batch(run, vec![item]).await?;
                        continue;
                    }
                    let complete = matches!(
                        item,
                        ResponseItem::Checkpoint { .. }
                            | ResponseItem::End { .. }
                            | ResponseItem::Wipe
                    );
                    batch.push(item);
                    if !complete && batch.len() < BATCH_ITEMS_MAX {
                        continue;
                    }
                    None
                }
                // What came before the break is good: items repeat harmlessly.
                Ok(None) => Some(TransportError::Incomplete),
                Err(error) => Some(error),
            };
            self.store_batch(run, std::mem::take(&mut batch)).await?;
            progress(Progress::Stored {
                tally: run.sync.tally(),
            });
            if run.sync.ended() || run.sync.wiped() {
                return Ok(());
            }
            if let Some(error) = broken {
                return Err(error.into());
            }
        }
    }

    /// One transaction: these items, and where they complete the answer all that follows from it.
    async fn store_batch(&self, run: &mut Run, items: Vec<ResponseItem>) -> Result<(), PhoneError> {
        if items.is_empty() {
            return Ok(());
        }
        let mut sync = std::mem::replace(&mut run.sync, Box::new(Synchronisation::new(CLIENT)));
        let now = self.clock.now();
        let (sync, advanced) = self
            .blocking(move |phone| {
                let advanced =
                    phone.write(|tx| receive(tx, &mut sync, items, || phone.moment(now)))?;
                if sync.wiped() {
                    phone.store().scrub()?;
                }
                Ok((sync, advanced))
            })
            .await?;
        run.sync = sync;
        run.advanced |= advanced;
        Ok(())
    }

    /// Sends a request, with fresh tokens where the old ones do not do.
    async fn ask(&self, request: &Request) -> Result<Answer, PhoneError> {
        let transport = self.transport()?;
        let (street, mut credentials) = self
            .blocking(|phone| phone.read(|tx| Ok((tx.identity()?.street, tx.credentials()?))))
            .await?;
        let mut fresh = false;
        if credentials.access_expires_ms - EXPIRY_MARGIN_MS <= self.clock.now().unix_ms() {
            credentials = self.refresh(&transport, credentials).await?;
            fresh = true;
        }
        match transport
            .sync(&street, &credentials.access_token, request)
            .await
        {
            Err(error) if error.unauthenticated() && !fresh => {
                credentials = self.refresh(&transport, credentials).await?;
                transport
                    .sync(&street, &credentials.access_token, request)
                    .await
                    .map_err(signed_out)
            }
            answer => answer.map_err(signed_out),
        }
    }

    /// Exchanges the refresh token. The new one is stored before it is used; where the answer is lost, the old one is good for another try.
    async fn refresh(
        &self,
        transport: &Transport,
        credentials: Credentials,
    ) -> Result<Credentials, PhoneError> {
        let session = transport
            .refresh(&credentials.refresh_token)
            .await
            .map_err(signed_out)?;
        let credentials = credentials_of(&credentials.server, &session, self.clock.now());
        self.blocking(move |phone| {
            phone.write(|tx| {
                let before = tx.identity()?;
                tx.set_credentials(&credentials)?;
                // A device that is to be wiped is told no streets.
                if let Ok(identity) = identity_of(&session, Some(&before.street)) {
                    tx.set_identity(&Identity {
                        device: before.device,
                        former_devices: before.former_devices,
                        ..identity
                    })?;
                }
                Ok(credentials)
            })
        })
        .await
    }

    async fn report_own_wipe(&self) -> Result<(), PhoneError> {
        let Some(report) = self.read(|tx| Ok(tx.wipe_report()?))? else {
            return Ok(());
        };
        let given = self
            .inner
            .transport
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone();
        let transport =
            given.map_or_else(|| Transport::new(&report.credentials.server, self.lang), Ok)?;
        // A connection of its own: the phone's must not be held while a network is waited for.
        let mut store = LocalStore::open(&self.inner.path)?;
        wipe_reported(&mut store, &transport, report, self.clock.now()).await
    }

    /// Refuses while the lease is over, and notes how far the clock went.
    fn unlocked(&self) -> Result<(), PhoneError> {
        let now = self.clock.now();
        let Some(lease) = self.read(|tx| Ok(tx.lease()?))? else {
            return Ok(());
        };
        let then = lease.at(now);
        if lease.is_worth_keeping(then) {
            self.write(|tx| Ok(tx.set_lease(tx.lease()?.map(|lease| lease.at(now)))?))?;
        }
        if then.is_over() {
            Err(PhoneError::Locked)
        } else {
            Ok(())
        }
    }

    fn transport(&self) -> Result<Transport, PhoneError> {
        let mut transport = self
            .inner
            .transport
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        if let Some(transport) = &*transport {
            return Ok(transport.clone());
        }
        let server = self.read(|tx| Ok(tx.credentials()?.server))?;
        Ok(transport
            .insert(Transport::new(&server, self.lang)?)
            .clone())
    }

    fn wait(&self, failures: u32, asked: Option<Duration>) -> Duration {
        let bound = self
            .backoff
            .base
            .saturating_mul(1 << failures.saturating_sub(1).min(16))
            .min(self.backoff.cap);
        let jitter = Duration::from_millis(self.entropy.below(bound.as_millis() as u64 + 1));
        asked.unwrap_or_default() + jitter
    }

    fn moment(&self, now: DeviceTime) -> Moment {
        Moment {
            now,
            entropy: self.entropy.bytes(),
            lang: self.lang,
        }
    }

    fn store(&self) -> MutexGuard<'_, LocalStore> {
        // A panic elsewhere rolled its transaction back; the file is as it was.
        self.inner
            .store
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    fn read<T>(
        &self,
        work: impl FnOnce(&Tx<'_>) -> Result<T, PhoneError>,
    ) -> Result<T, PhoneError> {
        self.store().read(work)
    }

    fn write<T>(
        &self,
        work: impl FnOnce(&Tx<'_>) -> Result<T, PhoneError>,
    ) -> Result<T, PhoneError> {
        self.store().write(work)
    }

    async fn blocking<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Self) -> Result<T, PhoneError> + Send + 'static,
    ) -> Result<T, PhoneError> {
        let phone = self.clone();
        tokio::task::spawn_blocking(move || work(&phone))
            .await
            .map_err(|_| PhoneError::Cut)?
    }
}

/// A synchronisation under way.
struct Run {
    sync: Box<Synchronisation>,
    report: SyncReport,
    /// Something durable came of the request.
    advanced: bool,
}

/// Stores items of an answer; whether anything was.
fn receive(
    tx: &Tx<'_>,
    sync: &mut Synchronisation,
    items: Vec<ResponseItem>,
    moment: impl Fn() -> Moment,
) -> Result<bool, PhoneError> {
    let identity = tx.identity()?;
    let mut advanced = false;
    for item in items {
        let state = sync
            .needs(&item)
            .map(|record| tx.record_state(record))
            .transpose()?;
        let author = Author {
            identity: &identity,
            epoch: tx.epoch()?,
        };
        let effects = sync.receive(item, state.as_ref(), &author)?;
        tx.apply(&effects)?;
        advanced |= !effects.is_empty();
        if sync.wiped() {
            tx.set_wiped(moment().now)?;
            return Ok(true);
        }
    }
    if sync.ended() {
        for record in tx.due()? {
            let author = Author {
                identity: &identity,
                epoch: tx.epoch()?,
            };
            tx.apply(&sync.settle(&tx.record_state(record)?, &author, &moment())?)?;
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

/// One request that says nothing is left; then the tokens go as well. An office that does not take them any more knows already.
async fn wipe_reported(
    store: &mut LocalStore,
    transport: &Transport,
    report: WipeReport,
    now: DeviceTime,
) -> Result<(), PhoneError> {
    let WipeReport {
        street,
        credentials,
    } = report;
    let told = async {
        let mut token = credentials.access_token.clone();
        if credentials.access_expires_ms - EXPIRY_MARGIN_MS <= now.unix_ms() {
            let session = transport.refresh(&credentials.refresh_token).await?;
            let renewed = WipeReport {
                street: street.clone(),
                credentials: credentials_of(&credentials.server, &session, now),
            };
            token.clone_from(&renewed.credentials.access_token);
            store
                .write(|tx| tx.set_wipe_report(&renewed))
                .map_err(PhoneError::from)?;
        }
        let report = Report {
            unsent: Some(0),
            held: Some(0),
            device_time: Some(now),
            wiped: true,
        };
        let hello = RequestItem::Hello(Hello {
            cursor: None,
            client: CLIENT.into(),
            pull: false,
            report,
        });
        let mut answer = transport
            .sync(
                &street,
                &token,
                &Request {
                    items: vec![hello],
                    pull: false,
                },
            )
            .await?;
        while answer.next().await?.is_some() {}
        Ok(())
    };
    match told.await {
        Err(PhoneError::Transport(error)) if !error.unauthenticated() => return Err(error.into()),
        Err(error @ PhoneError::Store(_)) => return Err(error),
        _ => {}
    }
    store.write(|tx| Ok::<_, PhoneError>(tx.drop_wipe_report()?))?;
    Ok(store.scrub()?)
}

fn saved(tx: &Tx<'_>, edited: &Edited) -> Result<EditReceipt, PhoneError> {
    tx.apply(&edited.effects)?;
    Ok(EditReceipt {
        record: edited.record,
        hash: edited.hash,
    })
}

fn signed_out(error: TransportError) -> PhoneError {
    match error {
        TransportError::Refused(problem) if problem.status == 401 => PhoneError::SignedOut(problem),
        error => error.into(),
    }
}

fn identity_of(session: &Session, wanted: Option<&StreetCode>) -> Result<Identity, PhoneError> {
    let street = session
        .streets
        .iter()
        .find(|street| wanted.is_none_or(|wanted| street.street == *wanted));
    let street = street.ok_or_else(|| {
        PhoneError::NoStreet(
            session
                .streets
                .iter()
                .map(|street| street.street.clone())
                .collect(),
        )
    })?;
    Ok(Identity {
        device: session.device_id,
        username: session.user.username.clone(),
        display_name: session.user.display_name.clone(),
        role: session.user.role,
        street: street.street.clone(),
        street_name: street.name.clone(),
        grids: street.grids.clone(),
        former_devices: Vec::new(),
    })
}

fn credentials_of(server: &str, session: &Session, now: DeviceTime) -> Credentials {
    Credentials {
        server: server.to_owned(),
        access_token: session.access_token.clone(),
        access_expires_ms: now
            .unix_ms()
            .saturating_add(session.expires_in.saturating_mul(1_000)),
        refresh_token: session.refresh_token.clone(),
    }
}

#[cfg(test)]
mod tests;
