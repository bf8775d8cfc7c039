//! One street, loaded as far as a decision needs it: what pushes, desk edits, rulings and merges have in common.
//!
//! Records are loaded once ([`Street::learn`]), changed in memory by [`Street::accept`], and given back with their log entries by
//! [`crate::follow::finish`]. The street's lock is held meanwhile by whoever carries it out, so sequence numbers are given in commit order.

mod fitting;
mod following;
mod forget;

use std::collections::{BTreeMap, BTreeSet};

use lianka_sync_core::{
    access::{Role, Writer},
    codec::change::{Action, Change},
    crdt::{
        conflict::{self, Settlement},
        merge::{self, Context, Merged, NoteDocument, Refusal, RegisterState, Target, Write},
        record::{Edit, RecordError},
    },
    id::{Actor, ChangeHash, DeviceId, RecordId, StreetCode},
    kinds::{Kind, key},
    time::{DeviceTime, ServerTime},
};
use uuid::Uuid;

pub(crate) use following::Following;
pub use forget::{ForgetError, Forgotten};

use crate::{
    audit::{self, Action as Act, Event},
    store::{
        EndedGeneration, Head, Loaded, LogWrite, Logged, LoggedChange, RecordWrite, Report, Seal,
        Stored, Touched, Wants, Writes,
    },
};

/// Actors of a desk that are looked at for one that has seen all that it wrote.
const ACTORS_TRIED: u32 = 64;

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

/// A conflict that an accepted change settled.
#[derive(Debug)]
pub struct Settled {
    pub record: RecordId,
    pub kind: Kind,
    pub generation: u32,
    pub seq: i64,
    pub hash: ChangeHash,
    pub device: DeviceId,
    /// `phone`, `desk` or `server`.
    pub source: &'static str,
    /// The author's remark.
    pub message: String,
    pub settlement: Settlement,
}

/// A record of the write.
#[derive(Default)]
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

/// See the module.
pub struct Street {
    head: Head,
    now: ServerTime,
    /// Whether a sequence was taken that no log entry has.
    reserved: bool,
    asked: Wants,
    known: Loaded,
    entries: BTreeMap<RecordId, Entry>,
    /// Records whose stored state does not parse: the rest of the street goes on without them.
    unreadable: BTreeSet<RecordId>,
    /// Records that the office erased.
    erased: BTreeSet<RecordId>,
    /// The conflicts that the accepted changes settled, and whether that is one act over many of them.
    settled: Vec<Settled>,
    bulk: Option<Uuid>,
    /// Entries of the log that an event tells of.
    announced: usize,
    /// Records whose log the write rewrote, and what stands there now: for the next event.
    rebuilt: Vec<RecordId>,
    renamed: Vec<audit::Logged>,
    pub(crate) following: Following,
    /// What is written beside records: acts add to it.
    pub writes: Writes,
}

impl Street {
    /// A street of which nothing is loaded, at the one moment at which all of the write happens.
    pub fn new(head: Head, now: ServerTime) -> Self {
        Self {
            head,
            now,
            reserved: false,
            asked: Wants::default(),
            known: Loaded::default(),
            entries: BTreeMap::new(),
            unreadable: BTreeSet::new(),
            erased: BTreeSet::new(),
            settled: Vec::new(),
            bulk: None,
            announced: 0,
            rebuilt: Vec::new(),
            renamed: Vec::new(),
            following: Following::default(),
            writes: Writes::default(),
        }
    }

    /// The street.
    pub fn street(&self) -> &StreetCode {
        &self.head.street
    }

    /// The one moment at which all of the write happens.
    pub fn now(&self) -> ServerTime {
        self.now
    }

    /// What of `wants` was not asked before.
    #[must_use]
    pub fn lacks(&self, wants: Wants) -> Wants {
        wants.without(&self.asked)
    }

    /// Takes the answer to `asked`.
    pub fn learn(&mut self, asked: Wants, mut loaded: Loaded) {
        for (record, stored) in std::mem::take(&mut loaded.records) {
            match stored {
                Stored::Record(stored) => {
                    self.entries.entry(record).or_insert_with(|| Entry {
                        target: Target {
                            state: Some(stored.state),
                            document: None,
                        },
                        grid: stored.grid,
                        seq: stored.seq,
                        grid_seq: stored.grid_seq,
                        ..Entry::default()
                    });
                }
                Stored::Unreadable => {
                    self.report(
                        record,
                        "a record cannot be read; its phones keep their changes",
                        "",
                    );
                    self.unreadable.insert(record);
                }
                Stored::Erased => {
                    self.erased.insert(record);
                }
            }
        }
        self.asked.extend(asked);
        self.known.extend(loaded);
    }

    /// What is known beside the records.
    pub fn known(&self) -> &Loaded {
        &self.known
    }

    /// Whether the record was looked for.
    pub fn is_loaded(&self, record: RecordId) -> bool {
        self.asked.records.contains(&record)
    }

    /// Whether the office erased the record, which must be loaded: nothing brings it back.
    pub fn is_erased(&self, record: RecordId) -> bool {
        self.erased.contains(&record)
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
        self.head.grids.contains(grid)
    }

    /// The changes accepted so far, in the order of their sequences, from the log's `from`th entry on: record, sequence, change.
    pub fn accepted(&self, from: usize) -> impl Iterator<Item = (RecordId, i64, &LoggedChange)> {
        self.writes.log[from.min(self.writes.log.len())..]
            .iter()
            .filter_map(|entry| Some((entry.record, entry.seq, entry.what.change()?)))
    }

    /// Merges a change that the gate passed into its record, which must be loaded; so must its document where the change edits the note. A
    /// refusal leaves everything as it was.
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
        if written_grids(change).any(|grid| !self.has_grid(grid)) {
            return Err(Refusal::UnknownGrid);
        }
        if change.edits_text() {
            self.open_note(record);
        }
        let device = change.actor.device();
        let context = Context {
            street: &self.head.street,
            kind,
            generation,
            device,
            writer,
            received_at: self.now,
        };
        let entry = self.entries.entry(record).or_default();
        let before = entry.target.state.as_ref();
        let in_conflict = before.is_some_and(RegisterState::has_conflicts);
        let settlements = before
            .map(|state| conflict::settled(state, change))
            .unwrap_or_default();
        if merge::merge(&mut entry.target, change, &context)? == Merged::Duplicate {
            return Ok(Accepted::Before);
        }
        let touched = entry.touched.get_or_insert_default();
        touched.conflicts |= in_conflict;
        for op in &change.ops {
            if let Action::Put { key, .. } | Action::Delete { key } = &op.action {
                touched.note(kind.description(), key);
            }
        }
        let grid = entry
            .target
            .state
            .as_ref()
            .and_then(|state| state.text(key::GRID))
            .unwrap_or_default();
        let left =
            (entry.grid != grid).then(|| std::mem::replace(&mut entry.grid, grid.to_owned()));
        let grid = entry.grid.clone();
        let what = Logged::Change(LoggedChange {
            hash: change.hash,
            device,
            bytes: change.bytes.clone(),
            composed,
        });
        let seq = self.append(record, generation, grid, self.now, what);
        if let Some(left) = left {
            if let Some(entry) = self.entries.get_mut(&record) {
                entry.grid_seq = seq;
            }
            if !left.is_empty() {
                self.append(record, generation, left, self.now, Logged::Leave);
            }
        }
        self.settled
            .extend(settlements.into_iter().map(|settlement| Settled {
                record,
                kind,
                generation,
                seq,
                hash: change.hash,
                device,
                source: match writer {
                    _ if !composed => "phone",
                    Writer::Person(_) => "desk",
                    Writer::Server => "server",
                },
                // Postgres takes every character but one.
                message: change.message.replace('\0', "\u{fffd}"),
                settlement,
            }));
        Ok(Accepted::Now(seq))
    }

    /// Appends to the log; the record's newest entry is this one.
    fn append(
        &mut self,
        record: RecordId,
        generation: u32,
        grid: String,
        received_at: ServerTime,
        what: Logged,
    ) -> i64 {
        self.head.seq += 1;
        let seq = self.head.seq;
        if let Some(entry) = self.entries.get_mut(&record) {
            entry.seq = seq;
        }
        self.writes.log.push(LogWrite {
            seq,
            record,
            generation,
            grid,
            received_at,
            what,
        });
        seq
    }

    /// Loads the document of a record whose note is about to be edited: the one case in which MERGE needs it. Where it does not load, MERGE asks
    /// the phone to try again later.
    fn open_note(&mut self, record: RecordId) {
        let is_needed =
            |entry: &Entry| entry.target.state.is_some() && entry.target.document.is_none();
        if !self.entries.get(&record).is_some_and(is_needed) {
            return;
        }
        match NoteDocument::load(&self.whole_document(record)) {
            Ok(document) => {
                if let Some(entry) = self.entries.get_mut(&record) {
                    entry.target.document = Some(document);
                }
            }
            Err(error) => self.report(record, "a stored document does not load", error),
        }
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

    /// The same where an edit is of the note, which only the document can tell how to write.
    pub fn compose_note(
        &mut self,
        record: RecordId,
        signer: Signer,
        edits: &[Edit],
        message: &str,
    ) -> Result<Option<(ChangeHash, i64)>, Refusal> {
        let (actor, at) = (self.actor(signer), self.device_time());
        self.open_note(record);
        let Some(state) = self.state(record) else {
            return Err(Refusal::DependencyMissing);
        };
        let (kind, generation) = (state.kind(), state.generation());
        let change = self
            .note_document(record)?
            .compose(actor, at, edits, message)
            .map_err(not_composed)?;
        let Some(change) = change else {
            return Ok(None);
        };
        self.sign(record, kind, generation, &change, signer)
            .map(|seq| Some((change.hash, seq)))
    }

    /// The note made to read so by somebody who had seen of the record, which must be loaded with its history, what stood in the log up to `seen`.
    /// `None` where it read so to them.
    pub fn compose_note_when(
        &mut self,
        record: RecordId,
        device: DeviceId,
        role: Role,
        text: &str,
        seen: i64,
    ) -> Result<Option<(ChangeHash, i64)>, Refusal> {
        self.open_note(record);
        let Some(state) = self.state(record) else {
            return Err(Refusal::DependencyMissing);
        };
        let (kind, generation) = (state.kind(), state.generation());
        let then = self.changes_up_to(record, seen);
        // What a desk wrote here since was seen by none of its earlier selves: each of the desk's actors has seen all that it wrote.
        let signer = (0..ACTORS_TRIED)
            .map(|nth| Signer::Desk { device, role, nth })
            .find(|signer| {
                state
                    .changes_of(self.actor(*signer))
                    .all(|hash| then.contains(&hash))
            })
            .ok_or(Refusal::TooManyHeads)?;
        let (actor, at) = (self.actor(signer), self.device_time());
        let change = self
            .note_document(record)?
            .compose_when(&|hash| then.contains(&hash), actor, at, text)
            .map_err(not_composed)?;
        let Some(change) = change else {
            return Ok(None);
        };
        self.sign(record, kind, generation, &change, signer)
            .map(|seq| Some((change.hash, seq)))
    }

    /// What the note said when the log had come to `seen`; `None` where the record, which must be loaded with its history, was not yet.
    pub fn note_when(&mut self, record: RecordId, seen: i64) -> Result<Option<String>, Refusal> {
        self.open_note(record);
        let then = self.changes_up_to(record, seen);
        self.note_document(record)?
            .note_when(&|hash| then.contains(&hash))
            .map_err(not_composed)
    }

    fn changes_up_to(&self, record: RecordId, seen: i64) -> BTreeSet<ChangeHash> {
        let places = self.known.histories.get(&record).into_iter().flatten();
        places
            .filter(|place| place.seq <= seen)
            .map(|place| place.hash)
            .collect()
    }

    /// What the note says with a change on top that cannot be merged as it is: see [`lianka_sync_core::crdt::note`]. `unmerged`: what the change builds
    /// on and the record does not have.
    pub fn note_with(
        &mut self,
        record: RecordId,
        change: &Change,
        unmerged: &[Change],
    ) -> Result<String, Refusal> {
        self.open_note(record);
        let document = self.note_document(record)?;
        document.note_with(change, unmerged).map_err(not_composed)
    }

    /// The document that [`Self::open_note`] loaded.
    fn note_document(&self, record: RecordId) -> Result<&NoteDocument, Refusal> {
        let entry = self.entries.get(&record);
        let document = entry.and_then(|entry| entry.target.document.as_ref());
        document.ok_or(Refusal::DocumentUnavailable)
    }

    /// Creates a record, whose id must be new, in somebody's name.
    pub fn create(
        &mut self,
        record: RecordId,
        kind: Kind,
        signer: Signer,
        edits: &[Edit],
    ) -> Result<(ChangeHash, i64), Refusal> {
        let change =
            merge::created(self.actor(signer), self.device_time(), edits).map_err(not_composed)?;
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
        let server = DeviceId(self.head.store_epoch);
        match signer {
            Signer::Desk { device, nth, .. } => {
                let [a, b, c, d, ..] = *self.head.store_epoch.as_bytes();
                Actor::new(device, u32::from_be_bytes([a, b, c, d]).wrapping_add(nth))
            }
            Signer::Merge { desk, epoch } => {
                Actor::new(desk.map_or(server, |(device, _)| device), epoch)
            }
            Signer::Server => Actor::new(server, 0),
        }
    }

    fn device_time(&self) -> DeviceTime {
        DeviceTime::from_unix_seconds(self.now.unix_ms().div_euclid(1000))
    }

    /// Records of a kind that this write changed, by id.
    pub fn changed(&self, kind: Kind) -> impl Iterator<Item = (RecordId, &RegisterState)> {
        self.entries.iter().filter_map(move |(record, entry)| {
            let state = entry.target.state.as_ref()?;
            (entry.touched.is_some() && state.kind() == kind).then_some((*record, state))
        })
    }

    /// Records that this write made, or put somewhere else, by id.
    pub fn placed(&self) -> impl Iterator<Item = (RecordId, &RegisterState)> {
        self.entries.iter().filter_map(|(record, entry)| {
            let is_placed = entry.touched.as_ref().is_some_and(|touched| touched.place);
            Some((*record, entry.target.state.as_ref()?)).filter(|_| is_placed)
        })
    }

    /// What of a record this write changed; `None`: nothing.
    pub fn touched(&self, record: RecordId) -> Option<&Touched> {
        self.entries.get(&record)?.touched.as_ref()
    }

    /// Keeps sensitive fields for the office alone when this write commits, and remembers nothing of conflicts in them that it settled.
    pub fn seal(&mut self, seal: Seal) {
        self.settled.retain(|settled| {
            settled.record != seal.record || !seal.fields.contains_key(&settled.settlement.key)
        });
        self.writes.seals.push(seal);
    }

    /// Remembers nothing, in this write and in the store, of values of a key that stood in conflict.
    pub fn forget_beside(&mut self, record: RecordId, key: String) {
        self.settled
            .retain(|settled| settled.record != record || settled.settlement.key != key);
        self.writes.withdrawn.push((record, key));
    }

    /// Whatever conflicts this write settles are settled together, under this id.
    pub fn settle_in_bulk(&mut self, bulk: Uuid) {
        self.bulk = Some(bulk);
    }

    /// The bulk, if it is one.
    pub fn bulk(&self) -> Option<Uuid> {
        self.bulk
    }

    /// The conflicts settled so far.
    pub fn settled(&self) -> &[Settled] {
        &self.settled
    }

    /// What was settled, but for what the same write forgot: no row may bring a forgotten value back.
    pub fn still_settled(&self) -> impl Iterator<Item = &Settled> {
        self.settled.iter().filter(|settled| {
            let there = |state: &RegisterState| !state.visible(&settled.settlement.key).is_empty();
            self.state(settled.record)
                .is_some_and(|state| state.generation() == settled.generation || there(state))
        })
    }

    /// Tells the audit trail of an act. The changes accepted since the act before belong to this one, and are named by it.
    pub fn audit(&mut self, event: Event) {
        let mut changes = std::mem::take(&mut self.renamed);
        let from = std::mem::replace(&mut self.announced, self.writes.log.len());
        changes.extend(
            self.accepted(from)
                .map(|(record, seq, change)| (seq, record, change.hash)),
        );
        let event = if changes.is_empty() {
            event
        } else {
            event.with_changes(&changes)
        };
        let rebuilt = std::mem::take(&mut self.rebuilt);
        self.writes.events.push(if rebuilt.is_empty() {
            event
        } else {
            event.with_rebuilt(&rebuilt)
        });
    }

    /// Whether changes were accepted that no event tells of yet.
    pub fn has_unannounced(&self) -> bool {
        !self.rebuilt.is_empty() || self.accepted(self.announced).next().is_some()
    }

    /// Tells the operator that something could not be done.
    pub fn report(
        &mut self,
        record: RecordId,
        what: &'static str,
        because: impl std::fmt::Display,
    ) {
        self.writes.reports.push(Report {
            record,
            what,
            because: because.to_string(),
        });
    }

    /// A sequence number without a log entry: for what phones are told beside the log.
    pub fn reserve(&mut self) -> i64 {
        self.reserved = true;
        self.head.seq += 1;
        self.head.seq
    }

    /// Whether the street stands so, before anything is decided.
    pub fn is_at(&self, head: &Head) -> bool {
        self.head == *head
    }

    /// Where the street will stand.
    pub fn as_head(&self) -> Head {
        self.head.clone()
    }

    /// The street's head as it will be.
    pub fn head(&self) -> i64 {
        self.head.seq
    }

    /// Everything that is to be written: see [`crate::follow::finish`].
    pub(crate) fn finish(mut self) -> Writes {
        if self.has_unannounced() {
            self.audit(Event::by_server(Act::Content));
        }
        let mut writes = self.writes;
        writes.records = self
            .entries
            .into_iter()
            .filter_map(|(record, entry)| {
                Some(RecordWrite {
                    record,
                    grid: entry.grid,
                    seq: entry.seq,
                    grid_seq: entry.grid_seq,
                    touched: entry.touched?,
                    state: entry.target.state?,
                    document: entry.rebuilt,
                    ended: entry.ended,
                })
            })
            .collect();
        writes.records.sort_by_key(|record| record.seq);
        writes.head = (self.reserved || !writes.log.is_empty()).then_some(self.head.seq);
        writes
    }
}

/// The grids that the change writes, in order.
pub fn written_grids(change: &Change) -> impl Iterator<Item = &str> {
    change.ops.iter().filter_map(|op| match &op.action {
        Action::Put { key, value } if key == key::GRID => value.as_str(),
        _ => None,
    })
}

/// The grid that a record is in once `change` has created it: the last one written that the change itself does not take back.
pub fn remaining_grid(change: &Change) -> Option<&str> {
    let taken_back = |index: usize| {
        let id = change.op_id(index);
        change.ops.iter().any(|op| {
            matches!(&op.action, Action::Put { key, .. } | Action::Delete { key } if key == key::GRID)
                && op.pred.contains(&id)
        })
    };
    change
        .ops
        .iter()
        .enumerate()
        .rev()
        .find_map(|(index, op)| match &op.action {
            Action::Put { key, value } if key == key::GRID && !taken_back(index) => value.as_str(),
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
