//! One open write transaction on a street: what pushes, desk edits, rulings and merges have in common.
//!
//! It holds the street's row lock from the beginning, so sequence numbers are given in commit order. Records are loaded once, changed in
//! memory by [`StreetWrite::accept`], and written with their log entries and read models by [`StreetWrite::commit`]. Dropped without a commit
//! it leaves nothing behind. Rows are locked in one order: the street, then the rest; nothing inside waits on a network.

mod forget;

use std::collections::{HashMap, HashSet};

use lianka_sync_core::{
    access::{Role, Writer},
    codec::change::{Action, Change},
    crdt::{
        conflict,
        merge::{
            self, BadState, Context, Merged, NoteDocument, Refusal, RegisterState, Target, Write,
        },
        record::{Edit, Record, RecordError},
    },
    id::{Actor, ChangeHash, DeviceId, RecordId, StreetCode},
    kinds::Kind,
    limits,
    time::{DeviceTime, ServerTime},
};
use sqlx::{PgConnection, PgPool, Postgres, Transaction};
use uuid::Uuid;

use crate::{
    audit::{self, Action as Act, Event},
    duplicates::card_merge,
    pipeline_point::{PipelinePoint, reached},
    review::resolutions::{self, Settled},
    street::{
        merge::MergeError,
        projection::{self as project, Projection, Touched},
        store::{
            erasures,
            records::{
                self, DocumentPage, LogWrite, Logged, LoggedChange, RecordWrite, StoredRecord,
            },
            streets,
            trimmed::{self, EndedGeneration},
        },
    },
    transfers,
};

pub use forget::{ForgetError, Forgotten};

/// Changes that a record's former generations are known to have accepted: as many as one generation may have, and what its oldest has more.
const EARLIER_CHANGES_MAX: i64 = limits::RECORD_CHANGES_MAX as i64;

/// In whose name the server writes a change.
#[derive(Clone, Copy, Debug)]
pub enum Signer {
    /// The desk of a signed-in user: bound by the role.
    Desk {
        device: DeviceId,
        role: Role,
        /// Which of the desk's actors: concurrent values need an author each. 0 for everything else.
        nth: u32,
    },
    /// What one merge of cards writes, and nothing else: an undo must find it. `desk`: in the name of whoever merged; else late edits.
    Merge {
        desk: Option<(DeviceId, Role)>,
        epoch: u32,
    },
    /// Rulings, and where a merged card went.
    Server,
}

impl Signer {
    /// The ordinary signature of a desk.
    pub fn desk(device: DeviceId, role: Role) -> Self {
        Self::Desk {
            device,
            role,
            nth: 0,
        }
    }

    fn writer(self) -> Writer {
        match self {
            Self::Desk { role, .. }
            | Self::Merge {
                desk: Some((_, role)),
                ..
            } => Writer::Person(role),
            Self::Merge { desk: None, .. } | Self::Server => Writer::Server,
        }
    }
}

/// What became of a change that was not refused.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Accepted {
    /// It is log entry `.0` now.
    Now(i64),
    /// It had been accepted before.
    Before,
}

/// A change that was accepted for a card after it was merged into another.
#[derive(Clone, Debug)]
pub struct Late {
    pub record: RecordId,
    pub hash: ChangeHash,
    pub device: DeviceId,
    pub bytes: Vec<u8>,
}

/// A record of the write.
struct Entry {
    target: Target,
    grid: String,
    seq: i64,
    grid_seq: i64,
    /// What was changed of it, if anything.
    touched: Option<Touched>,
    /// The whole document up to a sequence, where the write rebuilt it.
    rebuilt: Option<(i64, Vec<u8>)>,
    /// The generations that the write ended.
    ended: Vec<EndedGeneration>,
}

impl Entry {
    fn stored(stored: StoredRecord) -> Result<Self, BadState> {
        let state = RegisterState::from_bytes(&stored.state)?;
        Ok(Self {
            target: Target {
                state: Some(state),
                document: None,
            },
            grid: stored.grid,
            seq: stored.seq,
            grid_seq: stored.grid_seq,
            touched: None,
            rebuilt: None,
            ended: Vec::new(),
        })
    }

    const NEW: Self = Self {
        target: Target {
            state: None,
            document: None,
        },
        grid: String::new(),
        seq: 0,
        grid_seq: 0,
        touched: None,
        rebuilt: None,
        ended: Vec::new(),
    };
}

/// See the module.
pub struct StreetWrite {
    tx: Transaction<'static, Postgres>,
    street: StreetCode,
    now: ServerTime,
    store_epoch: Uuid,
    head: i64,
    grids: HashSet<String>,
    entries: HashMap<RecordId, Entry>,
    /// Looked for, whether or not they exist.
    loaded: HashSet<RecordId>,
    /// Records whose stored state does not parse: the rest of the street goes on without them.
    unreadable: HashSet<RecordId>,
    /// Records whose note is written: only these need their document.
    note_edited: HashSet<RecordId>,
    /// Records that the office erased.
    erased: HashSet<RecordId>,
    log: Vec<LogWrite>,
    /// The conflicts that the accepted changes settled, and whether that is one act over many of them.
    settled: Vec<Settled>,
    bulk: Option<Uuid>,
    /// Fields that leave their record for the office's own table, which needs the record's row.
    seals: Vec<transfers::Seal>,
    events: Vec<Event>,
    /// Whether a sequence was taken that no log entry has.
    reserved: bool,
    /// Entries of `log` that an event tells of.
    told: usize,
    /// Records whose log the write rewrote, and what stands there now: for the next event.
    rebuilt: Vec<RecordId>,
    renamed: Vec<audit::Logged>,
}

impl StreetWrite {
    /// Locks the street.
    pub async fn begin(
        pool: &PgPool,
        street: &StreetCode,
        now: ServerTime,
    ) -> Result<Self, MergeError> {
        let mut tx = pool.begin().await?;
        let head = records::lock_street(&mut tx, street)
            .await?
            .ok_or(MergeError::NoStreet)?;
        let grids = streets::all_grids(&mut tx, street)
            .await?
            .into_iter()
            .collect();
        reached(PipelinePoint::StreetLocked);
        Ok(Self {
            tx,
            street: street.clone(),
            now,
            store_epoch: head.store_epoch,
            head: head.seq,
            grids,
            entries: HashMap::new(),
            loaded: HashSet::new(),
            unreadable: HashSet::new(),
            note_edited: HashSet::new(),
            erased: HashSet::new(),
            log: Vec::new(),
            settled: Vec::new(),
            bulk: None,
            seals: Vec::new(),
            events: Vec::new(),
            reserved: false,
            told: 0,
            rebuilt: Vec::new(),
            renamed: Vec::new(),
        })
    }

    /// The street.
    pub fn street(&self) -> &StreetCode {
        &self.street
    }

    /// The one moment at which all of the write happens.
    pub fn now(&self) -> ServerTime {
        self.now
    }

    /// The connection, inside the transaction.
    pub fn tx(&mut self) -> &mut PgConnection {
        &mut self.tx
    }

    /// Loads the records that exist among these, unless they are loaded.
    pub async fn load(&mut self, wanted: impl IntoIterator<Item = RecordId>) -> sqlx::Result<()> {
        let wanted: Vec<_> = wanted
            .into_iter()
            .filter(|record| self.loaded.insert(*record))
            .map(|record| record.0)
            .collect();
        if wanted.is_empty() {
            return Ok(());
        }
        for (record, stored) in records::load(&mut self.tx, &self.street, &wanted).await? {
            match Entry::stored(stored) {
                Ok(entry) => drop(self.entries.insert(record, entry)),
                Err(error) => {
                    tracing::error!(street = %self.street, %record, %error, "a record cannot be read; its phones keep their changes");
                    self.unreadable.insert(record);
                }
            }
        }
        let missing: Vec<_> = wanted
            .into_iter()
            .filter(|record| self.is_unknown(RecordId(*record)))
            .collect();
        if !missing.is_empty() {
            self.erased
                .extend(erasures::erased(&mut self.tx, &self.street, &missing).await?);
        }
        Ok(())
    }

    fn is_unknown(&self, record: RecordId) -> bool {
        !self.entries.contains_key(&record) && !self.unreadable.contains(&record)
    }

    /// Whether the office erased the record, which must be loaded: nothing brings it back.
    pub fn is_erased(&self, record: RecordId) -> bool {
        self.erased.contains(&record)
    }

    /// Loads the documents of records whose note is about to be edited: the one case in which MERGE needs them. Load the records first.
    pub async fn load_documents(
        &mut self,
        note_edited: impl IntoIterator<Item = RecordId>,
    ) -> sqlx::Result<()> {
        let edited: Vec<_> = note_edited
            .into_iter()
            .filter(|record| self.note_edited.insert(*record))
            .collect();
        let stored: Vec<_> = edited
            .iter()
            .filter(|record| self.entries.contains_key(record))
            .map(|record| record.0)
            .collect();
        if stored.is_empty() {
            return Ok(());
        }
        let page = DocumentPage {
            grids: None,
            records: Some(&stored),
            after: 0,
            limit: stored.len() as i64,
        };
        for document in records::documents(&mut self.tx, &self.street, page).await? {
            if let Some(entry) = self.entries.get_mut(&document.record) {
                // A document that does not load leaves the target without one; MERGE then asks the phone to try again later.
                entry.target.document = NoteDocument::load(&document.bytes)
                    .inspect_err(|error| tracing::error!(record = %document.record, %error, "a stored document does not load"))
                    .ok();
            }
        }
        Ok(())
    }

    /// A loaded record that exists.
    pub fn state(&self, record: RecordId) -> Option<&RegisterState> {
        self.entries.get(&record)?.target.state.as_ref()
    }

    /// The grid of a loaded record that exists.
    pub fn grid(&self, record: RecordId) -> Option<&str> {
        let entry = self.entries.get(&record)?;
        entry.target.state.as_ref().map(|_| entry.grid.as_str())
    }

    /// Whether the record can be written: not where its stored state does not parse.
    pub fn is_readable(&self, record: RecordId) -> bool {
        !self.unreadable.contains(&record)
    }

    /// Whether the street has the grid.
    pub fn has_grid(&self, grid: &str) -> bool {
        self.grids.contains(grid)
    }

    /// The changes accepted so far, in the order of their sequences: record, sequence, hash, author's device.
    pub fn accepted(&self) -> impl Iterator<Item = (RecordId, i64, ChangeHash, DeviceId)> {
        self.log.iter().filter_map(|entry| {
            entry
                .what
                .change()
                .map(|change| (entry.record, entry.seq, change.hash, change.device))
        })
    }

    /// Merges a change that the gate passed into its record, which must be loaded. A refusal leaves everything as it was.
    pub fn accept(
        &mut self,
        record: RecordId,
        kind: Kind,
        generation: u32,
        change: &Change,
        writer: Writer,
    ) -> Result<Accepted, Refusal> {
        self.accept_signed(record, kind, generation, change, writer, false)
    }

    fn accept_signed(
        &mut self,
        record: RecordId,
        kind: Kind,
        generation: u32,
        change: &Change,
        writer: Writer,
        composed: bool,
    ) -> Result<Accepted, Refusal> {
        if !self.is_readable(record) {
            return Err(Refusal::DocumentUnavailable);
        }
        if self.is_erased(record) {
            return Err(Refusal::Erased);
        }
        if written_grids(change).any(|grid| !self.grids.contains(grid)) {
            return Err(Refusal::UnknownGrid);
        }
        let device = change.actor.device();
        let context = Context {
            street: &self.street,
            kind,
            generation,
            device,
            writer,
            received_at: self.now,
        };
        let entry = self.entries.entry(record).or_insert(Entry::NEW);
        let created = entry.target.state.is_none();
        let in_conflict = entry
            .target
            .state
            .as_ref()
            .is_some_and(RegisterState::has_conflicts);
        let settlements = entry
            .target
            .state
            .as_ref()
            .map(|state| conflict::settled(state, change))
            .unwrap_or_default();
        if merge::merge(&mut entry.target, change, &context)? == Merged::Duplicate {
            return Ok(Accepted::Before);
        }
        // A later change of the same write may edit the note of a record that the store does not have yet.
        if created && entry.target.document.is_none() && self.note_edited.contains(&record) {
            entry.target.document = NoteDocument::load(&change.bytes).ok();
        }
        self.head += 1;
        let seq = self.head;
        entry.seq = seq;
        let touched = entry.touched.get_or_insert_default();
        touched.conflicts |= in_conflict;
        for op in &change.ops {
            if let Action::Put { key, .. } | Action::Delete { key } = &op.action {
                touched.note(key);
            }
        }
        self.settled
            .extend(settlements.into_iter().map(|settlement| {
                // Postgres takes every character but one.
                let (hash, message) = (change.hash, change.message.replace('\0', "\u{fffd}"));
                let source = match writer {
                    _ if !composed => "phone",
                    Writer::Person(_) => "desk",
                    Writer::Server => "server",
                };
                Settled {
                    record,
                    kind,
                    generation,
                    seq,
                    hash,
                    device,
                    source,
                    message,
                    settlement,
                }
            }));
        let grid = entry
            .target
            .state
            .as_ref()
            .and_then(|state| state.text("grid"))
            .unwrap_or_default();
        let left = (entry.grid != grid).then(|| {
            entry.grid_seq = seq;
            std::mem::replace(&mut entry.grid, grid.to_owned())
        });
        let received_at = self.now;
        let log = |seq, grid, what| LogWrite {
            seq,
            record,
            generation: generation as i32,
            grid,
            received_at,
            what,
        };
        self.log.push(log(
            seq,
            entry.grid.clone(),
            Logged::Change(LoggedChange {
                hash: change.hash,
                device,
                bytes: change.bytes.clone(),
                composed,
            }),
        ));
        if let Some(left) = left.filter(|left| !left.is_empty()) {
            self.head += 1;
            self.log.push(log(self.head, left, Logged::Leave));
            entry.seq = self.head;
        }
        Ok(Accepted::Now(seq))
    }

    /// Writes a change in somebody's name: what it has seen is all of the record, which must be loaded and exist. `None` where the record says
    /// so already.
    pub fn compose(
        &mut self,
        record: RecordId,
        signer: Signer,
        writes: &[Write],
        message: &str,
    ) -> Result<Option<(ChangeHash, i64)>, Refusal> {
        let actor = self.actor(signer);
        let Some(state) = self.state(record) else {
            return Err(Refusal::DependencyMissing);
        };
        let (kind, generation) = (state.kind(), state.generation());
        let Some(change) = state.compose(actor, self.device_time(), writes, message)? else {
            return Ok(None);
        };
        self.sign(record, kind, generation, &change, signer)
            .map(|seq| Some((change.hash, seq)))
    }

    /// The same where an edit is of the note, which only the document can tell how to write: see [`Self::load_documents`].
    pub fn compose_note(
        &mut self,
        record: RecordId,
        signer: Signer,
        edits: &[Edit],
        message: &str,
    ) -> Result<Option<(ChangeHash, i64)>, Refusal> {
        let (actor, at) = (self.actor(signer), self.device_time());
        let Some(state) = self.state(record) else {
            return Err(Refusal::DependencyMissing);
        };
        let (kind, generation) = (state.kind(), state.generation());
        let document = self
            .entries
            .get(&record)
            .and_then(|entry| entry.target.document.as_ref())
            .ok_or(Refusal::DocumentUnavailable)?;
        let change = document
            .compose(actor, at, edits, message)
            .map_err(not_composed)?;
        let Some(change) = change else {
            return Ok(None);
        };
        self.sign(record, kind, generation, &change, signer)
            .map(|seq| Some((change.hash, seq)))
    }

    /// Creates a record, whose id must be new, in somebody's name.
    pub fn create(
        &mut self,
        record: RecordId,
        kind: Kind,
        signer: Signer,
        edits: &[Edit],
    ) -> Result<(ChangeHash, i64), Refusal> {
        let (_, change) =
            Record::create(self.actor(signer), self.device_time(), edits).map_err(not_composed)?;
        self.sign(record, kind, 1, &change, signer)
            .map(|seq| (change.hash, seq))
    }

    fn sign(
        &mut self,
        record: RecordId,
        kind: Kind,
        generation: u32,
        change: &Change,
        signer: Signer,
    ) -> Result<i64, Refusal> {
        match self.accept_signed(record, kind, generation, change, signer.writer(), true)? {
            Accepted::Now(seq) => Ok(seq),
            // Only a change of the very same bytes would be a duplicate, and the sequence of its actor has moved on.
            Accepted::Before => Err(Refusal::ActorForked),
        }
    }

    /// Who signs. A deployment restored from a backup has another store epoch, so it never uses an actor's sequence a second time.
    pub fn actor(&self, signer: Signer) -> Actor {
        match signer {
            Signer::Desk { device, nth, .. } => {
                let [a, b, c, d, ..] = *self.store_epoch.as_bytes();
                Actor::new(device, u32::from_be_bytes([a, b, c, d]).wrapping_add(nth))
            }
            Signer::Merge { desk, epoch } => Actor::new(
                desk.map_or(DeviceId(self.store_epoch), |(device, _)| device),
                epoch,
            ),
            Signer::Server => Actor::new(DeviceId(self.store_epoch), 0),
        }
    }

    fn device_time(&self) -> DeviceTime {
        DeviceTime::from_unix_seconds(self.now.unix_ms().div_euclid(1000))
    }

    /// What was accepted, from the log's `from`th entry on, for cards that were merged away; and where to go on from.
    pub fn late(&self, from: usize) -> (usize, Vec<Late>) {
        let merged = |record| {
            self.state(record)
                .is_some_and(|state| state.text(card_merge::MERGED_INTO).is_some())
        };
        let late = self.log[from..].iter().filter_map(|entry| {
            let change = entry.what.change().filter(|_| merged(entry.record))?;
            Some(Late {
                record: entry.record,
                hash: change.hash,
                device: change.device,
                bytes: change.bytes.clone(),
            })
        });
        (self.log.len(), late.collect())
    }

    /// Records of a kind that this write changed, by id.
    pub fn changed(&self, kind: Kind) -> Vec<RecordId> {
        let of_kind = |entry: &Entry| {
            entry
                .target
                .state
                .as_ref()
                .is_some_and(|state| state.kind() == kind)
        };
        let mut changed: Vec<_> = self
            .entries
            .iter()
            .filter(|(_, entry)| entry.touched.is_some() && of_kind(entry))
            .map(|(record, _)| *record)
            .collect();
        changed.sort_unstable();
        changed
    }

    /// Keeps sensitive fields for the office alone when this write commits, and remembers nothing of conflicts in them that it settled.
    pub fn seal(&mut self, seal: transfers::Seal) {
        self.settled.retain(|settled| {
            settled.record != seal.record || !seal.fields.contains_key(&settled.settlement.key)
        });
        self.seals.push(seal);
    }

    /// What was settled, but for what the same write forgot: no row may bring a forgotten value back.
    fn still_settled(&mut self) -> Vec<Settled> {
        let mut settled = std::mem::take(&mut self.settled);
        settled.retain(|settled| {
            let there = |state: &RegisterState| !state.visible(&settled.settlement.key).is_empty();
            self.state(settled.record)
                .is_some_and(|state| state.generation() == settled.generation || there(state))
        });
        settled
    }

    /// Whatever conflicts this write settles are settled together, under this id.
    pub fn settle_in_bulk(&mut self, bulk: Uuid) {
        self.bulk = Some(bulk);
    }

    /// The conflicts settled so far.
    pub fn settled(&self) -> &[Settled] {
        &self.settled
    }

    /// Tells the audit trail of an act. The changes accepted since the act before belong to this one, and are named by it.
    pub fn audit(&mut self, event: Event) {
        let changes = self.untold();
        let event = if changes.is_empty() {
            event
        } else {
            event.with_changes(&changes)
        };
        let rebuilt = std::mem::take(&mut self.rebuilt);
        self.events.push(if rebuilt.is_empty() {
            event
        } else {
            event.with_rebuilt(&rebuilt)
        });
    }

    /// Whether changes were accepted that no event tells of yet.
    pub fn has_untold(&self) -> bool {
        !self.rebuilt.is_empty()
            || self.log[self.told..]
                .iter()
                .any(|entry| entry.what.change().is_some())
    }

    fn untold(&mut self) -> Vec<audit::Logged> {
        let mut untold = std::mem::take(&mut self.renamed);
        let new = &self.log[std::mem::replace(&mut self.told, self.log.len())..];
        untold.extend(
            new.iter()
                .filter_map(|entry| Some((entry.seq, entry.record, entry.what.change()?.hash))),
        );
        untold
    }

    /// A sequence number without a log entry: for what phones are told beside the log.
    pub fn reserve(&mut self) -> i64 {
        self.reserved = true;
        self.head += 1;
        self.head
    }

    /// Writes everything and ends the transaction.
    pub async fn commit(mut self) -> sqlx::Result<()> {
        card_merge::follow(&mut self).await?;
        transfers::follow(&mut self).await?;
        if self.has_untold() {
            self.audit(Event::by_server(Act::Content));
        }
        reached(PipelinePoint::Followed);
        self.write().await?;
        for seal in std::mem::take(&mut self.seals) {
            transfers::keep(&mut self.tx, &self.street, self.now, &seal).await?;
        }
        audit::append(&mut self.tx, (&self.street).into(), self.now, &self.events).await?;
        reached(PipelinePoint::Audited);
        self.tx.commit().await?;
        reached(PipelinePoint::Committed);
        Ok(())
    }

    async fn write(&mut self) -> sqlx::Result<()> {
        if self.log.is_empty() {
            return if self.reserved {
                records::raise_head(&mut self.tx, &self.street, self.head).await
            } else {
                Ok(())
            };
        }
        let mut changed: Vec<_> = self
            .entries
            .iter()
            .filter(|(_, entry)| entry.touched.is_some())
            .collect();
        changed.sort_by_key(|(_, entry)| entry.seq);
        let writes: Vec<_> = changed
            .iter()
            .filter_map(|(record, entry)| {
                let state = entry.target.state.as_ref()?;
                Some(RecordWrite {
                    record: **record,
                    kind: state.kind().as_str(),
                    grid: entry.grid.clone(),
                    generation: state.generation() as i32,
                    seq: entry.seq,
                    grid_seq: entry.grid_seq,
                    state: state.to_bytes(),
                })
            })
            .collect();
        records::upsert(&mut self.tx, &self.street, &writes).await?;
        for (record, entry) in &self.entries {
            if let Some((seq, document)) = &entry.rebuilt {
                records::replace_document(&mut self.tx, &self.street, *record, *seq, document)
                    .await?;
                for ended in &entry.ended {
                    trimmed::remember(
                        &mut self.tx,
                        &self.street,
                        *record,
                        ended,
                        self.now.into(),
                        EARLIER_CHANGES_MAX,
                    )
                    .await?;
                }
            }
        }
        reached(PipelinePoint::RecordsWritten);
        records::append_log(&mut self.tx, &self.street, std::mem::take(&mut self.log)).await?;
        reached(PipelinePoint::LogWritten);
        let projections: Vec<_> = changed
            .iter()
            .filter_map(|(record, entry)| {
                Some(Projection {
                    record: **record,
                    seq: entry.seq,
                    state: entry.target.state.as_ref()?,
                    touched: entry.touched?,
                })
            })
            .collect();
        project::write(&mut self.tx, &self.street, &projections).await?;
        reached(PipelinePoint::Projected);
        let settled = self.still_settled();
        resolutions::record(&mut self.tx, &self.street, self.now, self.bulk, settled).await?;
        records::raise_head(&mut self.tx, &self.street, self.head).await?;
        reached(PipelinePoint::HeadRaised);
        Ok(())
    }
}

/// The grids that the change writes, in order.
pub fn written_grids(change: &Change) -> impl Iterator<Item = &str> {
    change.ops.iter().filter_map(|op| match &op.action {
        Action::Put { key, value } if key == "grid" => value.as_str(),
        _ => None,
    })
}

/// The grid that a record is in once `change` has created it: the last one written that the change itself does not take back.
pub fn remaining_grid(change: &Change) -> Option<&str> {
    let taken_back = |index: usize| {
        let id = change.op_id(index);
        change.ops.iter().any(|op| {
            matches!(&op.action, Action::Put { key, .. } | Action::Delete { key } if key == "grid")
                && op.pred.contains(&id)
        })
    };
    change
        .ops
        .iter()
        .enumerate()
        .rev()
        .find_map(|(index, op)| match &op.action {
            Action::Put { key, value } if key == "grid" && !taken_back(index) => value.as_str(),
            _ => None,
        })
}

/// What the gate would refuse is refused for good; anything else says that the document cannot be read just now.
fn not_composed(error: RecordError) -> Refusal {
    match error {
        RecordError::Edit(error) => Refusal::Gate(error),
        _ => Refusal::DocumentUnavailable,
    }
}
