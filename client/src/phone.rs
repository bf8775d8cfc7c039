//! A phone: replica, store and transport together.
//!
//! Everything but [`Phone::enrol`] and [`Phone::sync`] works with no network. A [`Phone`] is a handle: clones are the same phone. Local
//! calls block for one `SQLite` transaction, some milliseconds; synchronising does its transactions off the async threads.

mod transfers;
mod visits;

use std::{
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

pub use lianka_client_core::session::{Backoff, SyncReport};
use lianka_client_core::{
    Author, EditError, Edited, Identity, KeptDraft, KeptNotice, Moment, OutboxEntry, ProtocolError,
    Tally,
    card::{self, CardFilter, CardSummary, LikelyDuplicate},
    document, editing,
    link::{Call, LinkError, Problem},
    rescue::{self, NotTaken, TakenIn},
    session::{self, Command, Event, Session, SessionError, Surroundings},
    store::{LastSync, RecordStore, Records},
};
use lianka_sync_core::{
    crdt::{record::Edit, view::View},
    id::{ChangeHash, RecordId, StreetCode},
    kinds::{Kind, duplicate::Traits, projection::Projected},
    lang::Lang,
    time::DeviceTime,
};
use serde::Serialize;

use crate::{
    clock::{Clock, Entropy},
    local_file::SyncLock,
    local_store::{LocalStore, StoreError, Tx},
    rescue_file::{self, RescueError},
    transport::{Answer, Transport},
};

pub use transfers::TransferSummary;
pub use visits::{NewVisit, VisitSummary};

/// Name and version told to the server.
pub const CLIENT: &str = concat!("lianka-phone/", env!("CARGO_PKG_VERSION"));

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
    Transport(#[from] LinkError),
    /// The server's answer.
    #[error(transparent)]
    Protocol(#[from] ProtocolError),
    /// The tokens are not accepted any more: enrol again. Unsent edits are kept.
    #[error("signed out: {}", .0.title)]
    SignedOut(Box<Problem>),
    /// The user has no street, or not the one asked for.
    #[error("the account does not work in that street")]
    NoStreet(Vec<StreetCode>),
    /// The file is another user's, or of another street.
    #[error("the file belongs to {0}")]
    OtherUser(String),
    /// The phone was away from the office for longer than its lease: it shows nothing and takes no edits until it has synchronised.
    #[error("locked until the next synchronisation")]
    Locked,
    /// A file of unsent edits.
    #[error(transparent)]
    Rescue(#[from] RescueError),
    /// The file is another user's, or damaged.
    #[error(transparent)]
    NotTaken(#[from] NotTaken),
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
            Self::OtherUser(_) | Self::NotTaken(NotTaken::OtherUser(_)) => "other_user",
            Self::Locked => "locked",
            Self::Rescue(RescueError::Closed | RescueError::TooShort) => "passphrase",
            Self::Rescue(RescueError::Foreign) | Self::NotTaken(NotTaken::Damaged) => {
                "not_a_rescue_file"
            }
            Self::NoSuchDraft(_) => "no_such_draft",
            Self::Cut => "cut",
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
        let before = session::enrolled_before(&mut store)?;
        let call = Call::Enrol {
            code: code.to_owned(),
            name: options.name.unwrap_or_else(|| "lianka-phone".into()),
            platform: options.platform.unwrap_or_else(|| "terminal".into()),
        };
        let signed = transport.sign_in(&call).await?;
        session::enrol(
            &mut store,
            before,
            &signed,
            options.street.as_ref(),
            transport.server(),
            options.clock.now(),
        )?;
        Ok(Self::over(store_path, store, Some(transport))
            .with_clock(options.clock)
            .with_entropy(options.entropy)
            .with_lang(options.lang))
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
        let phone = Self::over(store_path, store, Some(transport));
        let phone = phone
            .with_lang(lang)
            .with_clock(Clock::Fixed(Arc::new(now.unix_ms().into())));
        phone
            .drive(Session::tell_of_wipe(CLIENT), &mut |_| ())
            .await?;
        Ok(())
    }

    /// Opens an enrolled phone.
    pub fn open(store_path: &Path) -> Result<Self, PhoneError> {
        let mut store = LocalStore::open(store_path)?;
        store.identity()?;
        Ok(Self::over(store_path, store, None))
    }

    fn over(path: &Path, store: LocalStore, transport: Option<Transport>) -> Self {
        let inner = Inner {
            path: path.to_owned(),
            store: Mutex::new(store),
            transport: Mutex::new(transport),
        };
        Self {
            inner: Arc::new(inner),
            clock: Clock::default(),
            entropy: Entropy::default(),
            lang: Lang::default(),
            backoff: Backoff::default(),
        }
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

    /// The time by the office, as far as the phone can tell: a day that people confirm or a time at which they visited is the office's, also on a
    /// phone whose clock is wrong. Before the first synchronisation there is only the phone's.
    pub fn office_now(&self) -> Result<DeviceTime, PhoneError> {
        let now = self.now();
        let office = self.read(|tx| Ok(tx.last_sync()?))?;
        Ok(office.map_or(now, |last| {
            DeviceTime::from_unix_ms(last.office_time(now).unix_ms())
        }))
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
        let new = card::planned(grid, edits).traits();
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
        let moment = self.dated(now)?;
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
        let moment = self.dated(now)?;
        self.write(|tx| {
            let identity = tx.identity()?;
            let author = Author {
                identity: &identity,
                epoch: tx.epoch()?,
            };
            saved(tx, &editing::create(&author, kind, grid, edits, &moment)?)
        })
    }

    /// What is unsent as a sealed file, for another phone of this user to send.
    pub fn export_unsent(&self, passphrase: &str) -> Result<String, PhoneError> {
        self.unlocked()?;
        let unsent = self.read(|tx| Ok(rescue::unsent(tx, self.now())?))?;
        let mut nonce = [0; 12];
        nonce.copy_from_slice(&self.entropy()[..12]);
        Ok(rescue_file::seal(
            &unsent,
            passphrase,
            self.entropy(),
            nonce,
        )?)
    }

    /// Takes in such a file: its edits are sent with the next synchronisation. All of it, or nothing.
    pub fn take_in(&self, file: &str, passphrase: &str) -> Result<TakenIn, PhoneError> {
        self.unlocked()?;
        let unsent = rescue_file::open(file, passphrase)?;
        self.write(|tx| Ok(rescue::take_in(tx, &unsent)??))
    }

    /// Edits that could not be kept, oldest first.
    pub fn drafts(&self) -> Result<Vec<KeptDraft>, PhoneError> {
        self.unlocked()?;
        self.read(|tx| Ok(tx.drafts()?))
    }

    /// What the office told this user, the newest first.
    pub fn notices(&self) -> Result<Vec<KeptNotice>, PhoneError> {
        self.unlocked()?;
        self.write(|tx| {
            tx.index_missing()?;
            let mut kept = tx.notices()?;
            for notice in &mut kept {
                notice.title = tx.title(notice.notice.record)?;
            }
            Ok(kept)
        })
    }

    /// The user has looked at every notice.
    pub fn mark_notices_read(&self) -> Result<(), PhoneError> {
        self.write(|tx| Ok(tx.mark_notices_read()?))
    }

    /// Drops a draft for good.
    pub fn drop_draft(&self, id: i64) -> Result<(), PhoneError> {
        self.write(|tx| {
            if tx.remove_draft(id)? {
                Ok(())
            } else {
                Err(PhoneError::NoSuchDraft(id))
            }
        })
    }

    /// Applies a draft again, as an edit made now.
    pub fn retry_draft(&self, id: i64, now: DeviceTime) -> Result<EditReceipt, PhoneError> {
        self.unlocked()?;
        let moment = self.dated(now)?;
        self.write(|tx| {
            let identity = tx.identity()?;
            let author = Author {
                identity: &identity,
                epoch: tx.epoch()?,
            };
            let kept = tx
                .drafts()?
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
        self.read(|tx| Ok(tx.outbox()?))
    }

    /// The entries of one record.
    pub fn outbox_of(&self, record: RecordId) -> Result<Vec<OutboxEntry>, PhoneError> {
        self.unlocked()?;
        self.read(|tx| Ok(tx.outbox_of(record)?))
    }

    /// How the phone stands.
    pub fn status(&self) -> Result<Status, PhoneError> {
        let now = self.clock.now();
        self.read(|tx| {
            let [unsent, held, refused] = tx.outbox_count()?;
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
                drafts: tx.drafts()?.len() as u64,
                notices: tx.unread_notices()?,
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
        let _lock = SyncLock::take(&self.inner.path)?;
        self.drive(Session::new(CLIENT, self.backoff), &mut progress)
            .await
    }

    /// Carries a session's commands out.
    async fn drive(
        &self,
        session: Session,
        progress: &mut (impl FnMut(Progress) + Send),
    ) -> Result<SyncReport, PhoneError> {
        let started = Instant::now();
        let (mut bytes_up, mut bytes_down) = (0, 0);
        let mut session = Box::new(session);
        let mut event = Event::Begin;
        let mut answer = None;
        loop {
            let stores = answer.is_some() && !matches!(event, Event::Answering);
            let command;
            (session, command) = self.step(session, event).await?;
            if stores {
                progress(Progress::Stored {
                    tally: session.tally(),
                });
            }
            event = match command? {
                Command::Send(call @ Call::Synchronise { .. }) => {
                    answer = None;
                    if let Call::Synchronise { request, .. } = &call
                        && !session.wiped()
                    {
                        progress(Progress::Sent {
                            changes: request.items.len() - 1,
                        });
                    }
                    match self.transport()?.synchronise(&call).await {
                        Ok(answering) => {
                            if !session.wiped() {
                                bytes_up += answering.bytes_up;
                            }
                            answer = Some(answering);
                            Event::Answering
                        }
                        Err(error) => Event::Failed(error),
                    }
                }
                Command::Send(call) => match self.transport()?.sign_in(&call).await {
                    Ok(signed) => Event::SignedIn(Box::new(signed)),
                    Err(error) => Event::Failed(error),
                },
                Command::Read => match &mut answer {
                    Some(answer) => {
                        let before = answer.bytes_down;
                        let event = gathered(&mut session, answer).await;
                        if !session.wiped() {
                            bytes_down += answer.bytes_down - before;
                        }
                        event
                    }
                    None => Event::Over,
                },
                Command::Wait { wait, failures } => {
                    answer = None;
                    progress(Progress::Waiting { wait, failures });
                    self.transport()?.pause(wait).await;
                    Event::Begin
                }
                Command::Done => break,
            };
        }
        Ok(SyncReport {
            bytes_up,
            bytes_down,
            duration: started.elapsed(),
            ..session.report()
        })
    }

    /// One step of a session: its transactions, off the async threads.
    async fn step(
        &self,
        mut session: Box<Session>,
        event: Event,
    ) -> Result<(Box<Session>, Result<Command, PhoneError>), PhoneError> {
        let now = self.clock.now();
        self.blocking(move |phone| {
            let mut around = Surroundings {
                now,
                lang: phone.lang,
                entropy: &mut || phone.entropy.bytes(),
            };
            let command = session.handle(event, &mut *phone.store(), &mut around);
            Ok((session, command.map_err(PhoneError::from)))
        })
        .await
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
        let server = self.read(|tx| {
            // A phone that was wiped knows its office by the report it owes.
            Ok(match tx.wipe_report()? {
                Some(report) => report.credentials.server,
                None => tx.credentials()?.server,
            })
        })?;
        Ok(transport
            .insert(Transport::new(&server, self.lang)?)
            .clone())
    }

    fn moment(&self, now: DeviceTime) -> Moment {
        Moment {
            now,
            office: None,
            entropy: self.entropy.bytes(),
            lang: self.lang,
        }
    }

    /// The same with the office's time, for what the user writes.
    fn dated(&self, now: DeviceTime) -> Result<Moment, PhoneError> {
        let last = self.read(|tx| Ok(tx.last_sync()?))?;
        Ok(Moment {
            office: last.map(|last| last.office_time(now)),
            ..self.moment(now)
        })
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

/// Reads on in an answer until there is something to store.
async fn gathered(session: &mut Session, answer: &mut Answer) -> Event {
    loop {
        match answer.next().await {
            Ok(Some(item)) => {
                if session.gather(item) {
                    return Event::Gathered;
                }
            }
            Ok(None) => return Event::Over,
            Err(error) => return Event::Failed(error),
        }
    }
}

fn saved(tx: &Tx<'_>, edited: &Edited) -> Result<EditReceipt, PhoneError> {
    tx.apply(&edited.effects)?;
    Ok(EditReceipt {
        record: edited.record,
        hash: edited.hash,
    })
}

impl From<SessionError<StoreError>> for PhoneError {
    fn from(error: SessionError<StoreError>) -> Self {
        match error {
            SessionError::Store(error) => error.into(),
            SessionError::Link(error) => error.into(),
            SessionError::Protocol(error) => error.into(),
            SessionError::SignedOut(problem) => Self::SignedOut(problem),
            SessionError::NoStreet(streets) => Self::NoStreet(streets),
            SessionError::OtherUser(user) => Self::OtherUser(user),
            SessionError::OutOfTurn => Self::Cut,
        }
    }
}

#[cfg(test)]
mod tests;
