//! MERGE: the pushes that wait for one street, merged together; every change gets its outcome.
//!
//! Each change in order: known already → duplicate; another device's actor → refused; the grid not the author's any more → held, never
//! theirs → refused; else it is merged into its record.

use std::collections::{BTreeMap, BTreeSet};

use lianka_sync_core::{
    access::Role,
    authority::{Said, check_new_change, may_write},
    codec::{
        change::{self, Action as ChangeAction, Change, GateError},
        wire::{PushedChange, VerdictStatus},
    },
    crdt::merge::{Refusal, RegisterState},
    id::{ChangeHash, DeviceId, RecordId},
    kinds::Broken,
};

use uuid::Uuid;

use crate::{
    acts::Act,
    audit::{Action, Event},
    ids::Ids,
    store::{HeldDecision, HeldStatus, HeldWrite, Wants},
    street::{Accepted, Street, remaining_grid, written_grids},
};

/// Who pushes.
#[derive(Clone, Debug)]
pub struct Author {
    pub username: String,
    pub role: Role,
    pub device: DeviceId,
    /// Its device is to be wiped: everything it still sends is kept for a reviewer.
    pub wiped: bool,
}

/// A change as it came, and what the gate says of it.
#[derive(Debug)]
pub struct Ingested {
    pub pushed: PushedChange,
    pub change: Result<Change, GateError>,
}

impl Ingested {
    /// Puts a change through the gate.
    pub fn new(pushed: PushedChange) -> Self {
        let change = change::decode(&pushed.bytes);
        Self { pushed, change }
    }
}

/// The changes of one request.
#[derive(Debug)]
pub struct Push {
    pub author: Author,
    pub changes: Vec<Ingested>,
}

/// What became of one change.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Outcome {
    pub record: RecordId,
    pub hash: Option<ChangeHash>,
    pub status: VerdictStatus,
    pub seq: Option<i64>,
    /// Why it is held, or [`AS_EDIT`]: a stable word.
    pub code: Option<&'static str>,
    pub refusal: Option<Refusal>,
}

impl Outcome {
    fn refused(record: RecordId, hash: Option<ChangeHash>, refusal: Refusal) -> Self {
        Self {
            record,
            hash,
            status: VerdictStatus::Rejected,
            seq: None,
            code: None,
            refusal: Some(refusal),
        }
    }

    /// Of a change that the gate refused: nothing of it concerns the street.
    pub fn of_refused(change: &Ingested) -> Option<Self> {
        let refusal = change.change.as_ref().err()?.clone();
        Some(Self::refused(
            change.pushed.record,
            None,
            Refusal::Gate(refusal),
        ))
    }

    /// Whether the phone needs the record again to write its edit anew.
    pub fn needs_rebase(&self) -> bool {
        self.refusal
            .as_ref()
            .is_some_and(|refusal| !refusal.retryable())
    }
}

/// The author no longer works the record's grid, or has a role now that edits none.
pub const GRID_LOST: &str = "grid_lost";
/// The author's device was revoked and is to be wiped.
const DEVICE_WIPED: &str = "device_wiped";
/// A reviewer applied it as the desk's own edit: the record has what it says, and not the change.
pub const AS_EDIT: &str = "as_edit";
/// Why an edit is held: every stable word.
const HELD: [&str; 2] = [GRID_LOST, DEVICE_WIPED];

/// Changes of one device that may wait for a reviewer: a phone that lost its grid and went on for weeks fits, a machine does not.
pub const HELD_PER_DEVICE_MAX: i64 = 5_000;

/// Some pushes to one street, merged in their order; the outcomes of each in the order of its changes.
pub struct Pushes<'p> {
    pub pushes: &'p [Push],
    pub ids: Ids,
}

impl Pushes<'_> {
    /// Every change that passed the gate, with its push.
    fn changes(&self) -> impl Iterator<Item = (&Push, &PushedChange, &Change)> {
        self.pushes.iter().flat_map(|push| {
            let passed = push.changes.iter();
            passed.filter_map(move |ingested| {
                let change = ingested.change.as_ref().ok()?;
                Some((push, &ingested.pushed, change))
            })
        })
    }
}

impl Act for Pushes<'_> {
    type Done = Vec<Vec<Outcome>>;
    type Refused = std::convert::Infallible;

    fn wants(&self, street: &Street) -> Wants {
        let mut wants = Wants::default();
        if self
            .changes()
            .any(|(_, pushed, _)| !street.is_loaded(pushed.record))
        {
            for (push, pushed, change) in self.changes() {
                let record = pushed.record;
                wants.records.insert(record);
                wants.held.insert((record, change.hash));
                wants.waiting.insert(push.author.device);
                if !wants.assignments.contains(&push.author.username) {
                    wants.assignments.insert(push.author.username.clone());
                    wants.roles.insert(push.author.username.clone());
                }
            }
            return wants;
        }
        let in_batch: BTreeSet<_> = self.changes().map(|(.., change)| change.hash).collect();
        for (push, pushed, change) in self.changes() {
            let record = pushed.record;
            let state = street.state(record);
            let contains = |hash| state.is_some_and(|state| state.contains(hash));
            if state.is_some() && change.edits_text() {
                wants.documents.insert(record);
            }
            ask_whether_known(street, pushed, change.hash, &mut wants);
            if state.is_none() && !street.is_erased(record) && !change.deps.is_empty() {
                wants.unmade.insert(record);
            }
            // What it builds on may have been held; what waits itself is told why again.
            let is_held = street.known().held.contains_key(&(record, change.hash));
            if is_held
                || change
                    .deps
                    .iter()
                    .any(|dep| !in_batch.contains(dep) && !contains(*dep))
            {
                wants.reasons.insert(record);
            }
            // The author never worked the grid where the record stands: the office may have moved it there.
            if let Some(grid) = street.grid(record)
                && works(street, &push.author, grid) == Works::Never
            {
                wants.left_grids.insert(record);
            }
        }
        wants
    }

    fn decide(self, street: &mut Street) -> Result<Self::Done, Self::Refused> {
        let mut batch = Batch {
            street,
            ids: self.ids,
            seqs: BTreeMap::new(),
            held_before: BTreeMap::new(),
            held_now: BTreeSet::new(),
            held_by: BTreeMap::new(),
        };
        Ok(self.pushes.iter().map(|push| batch.push(push)).collect())
    }
}

/// A push of a single change that may be known, looked at without the street's lock: a phone confirms what was acknowledged with every
/// synchronisation, and asks again where an answer was lost.
pub struct Resent<'p> {
    pushed: &'p PushedChange,
    change: &'p Change,
}

impl<'p> Resent<'p> {
    /// `None` where a push is another.
    pub fn of(push: &'p Push) -> Option<Self> {
        let [Ingested { pushed, change }] = &push.changes[..] else {
            return None;
        };
        let change = change.as_ref().ok()?;
        Some(Self { pushed, change })
    }
}

impl Act for Resent<'_> {
    /// `None` where it may be new: it is to be merged under the lock.
    type Done = Option<Outcome>;
    type Refused = std::convert::Infallible;

    fn wants(&self, street: &Street) -> Wants {
        let mut wants = Wants::default();
        // The log tells by itself of what stands in it; the record is looked at for anything else.
        wants
            .sequences
            .insert((self.pushed.record, self.change.hash));
        let is_asked = street.lacks(wants.clone()).is_empty();
        if is_asked && self.stands_at(street).is_none() {
            wants.records.insert(self.pushed.record);
            ask_whether_known(street, self.pushed, self.change.hash, &mut wants);
        }
        wants
    }

    fn decide(self, street: &mut Street) -> Result<Self::Done, Self::Refused> {
        let (record, hash) = (self.pushed.record, self.change.hash);
        let ruling = match self.stands_at(street) {
            Some(seq) => Some(Ruling::Duplicate(Some(seq))),
            None => decided_before(street, record, hash),
        };
        Ok(ruling.map(|ruling| ruling.outcome(record, hash)))
    }
}

impl Resent<'_> {
    fn stands_at(&self, street: &Street) -> Option<i64> {
        let key = (self.pushed.record, self.change.hash);
        street.known().sequences.get(&key).copied()
    }
}

/// Adds what tells whether a loaded record has a change, now or before it was rebuilt.
fn ask_whether_known(street: &Street, pushed: &PushedChange, hash: ChangeHash, wants: &mut Wants) {
    if let Some(state) = street.state(pushed.record) {
        if pushed.generation < state.generation() {
            wants.earlier.insert((pushed.record, hash));
        }
        if state.contains(hash) {
            wants.sequences.insert((pushed.record, hash));
        }
    }
}

/// Whether a record has a change, or had it before it was rebuilt.
fn has_accepted(street: &Street, record: RecordId, hash: ChangeHash) -> bool {
    street
        .state(record)
        .is_some_and(|state| state.contains(hash))
        || street.known().earlier.contains_key(&(record, hash))
}

/// What is said of a change whoever sends it, and writes nothing.
fn decided_before(street: &Street, record: RecordId, hash: ChangeHash) -> Option<Ruling> {
    if !street.is_readable(record) {
        return Some(Ruling::Refused(Refusal::DocumentUnavailable));
    }
    if street.is_erased(record) {
        return Some(Ruling::Refused(Refusal::Erased));
    }
    let seq = street.known().sequences.get(&(record, hash)).copied();
    has_accepted(street, record, hash).then_some(Ruling::Duplicate(seq))
}

/// Whether an author may touch records of a grid: yes, only through a reviewer, or no.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Works {
    Now,
    Once,
    Never,
}

fn works(street: &Street, author: &Author, grid: &str) -> Works {
    let role = author.role;
    let edits = |role: &Role| role.receives_records();
    let oversees = |role: &Role| role.receives_records() && role.sees_whole_street();
    let roles = street.known().roles.get(&author.username);
    let oversaw = roles.is_some_and(|roles| roles.iter().skip(1).any(oversees));
    match street.known().assignments.get(&author.username) {
        _ if oversees(&role) => Works::Now,
        Some(grids) if edits(&role) && grids.now.contains(grid) => Works::Now,
        Some(grids) if grids.ever.contains(grid) => Works::Once,
        _ if oversaw => Works::Once,
        // Who never had records to edit writes what the table lets the role write.
        None if role.sees_whole_street() => Works::Now,
        _ => Works::Never,
    }
}

/// The same of a record: by its grid now, or by one that it left.
fn works_record(street: &Street, author: &Author, record: RecordId, grid: &str) -> Works {
    let left = street.known().left_grids.get(&record);
    let worked_before = || {
        left.into_iter()
            .flatten()
            .any(|grid| works(street, author, grid) != Works::Never)
    };
    match works(street, author, grid) {
        Works::Never if worked_before() => Works::Once,
        works => works,
    }
}

struct Batch<'s> {
    street: &'s mut Street,
    ids: Ids,
    /// Where the changes that the batch makes stand in the log.
    seqs: BTreeMap<(RecordId, ChangeHash), i64>,
    /// Why changes of the batch are held.
    held_before: BTreeMap<(RecordId, ChangeHash), &'static str>,
    /// Those that were not held before.
    held_now: BTreeSet<(RecordId, ChangeHash)>,
    /// How many more changes of a device wait for a reviewer.
    held_by: BTreeMap<DeviceId, i64>,
}

/// What is to be done with a change that the gate passed.
enum Ruling {
    Accepted(i64),
    Duplicate(Option<i64>),
    AsEdit(Option<i64>),
    Held(&'static str),
    Refused(Refusal),
}

impl Ruling {
    fn outcome(self, record: RecordId, hash: ChangeHash) -> Outcome {
        let settled = |status, seq| Outcome {
            record,
            hash: Some(hash),
            status,
            seq,
            code: None,
            refusal: None,
        };
        match self {
            Self::Accepted(seq) => settled(VerdictStatus::Accepted, Some(seq)),
            Self::Duplicate(seq) => settled(VerdictStatus::Duplicate, seq),
            Self::AsEdit(seq) => Outcome {
                code: Some(AS_EDIT),
                ..settled(VerdictStatus::Duplicate, seq)
            },
            Self::Held(reason) => Outcome {
                code: Some(reason),
                ..settled(VerdictStatus::Held, None)
            },
            Self::Refused(refusal) => Outcome::refused(record, Some(hash), refusal),
        }
    }
}

impl Batch<'_> {
    fn is_known_as_held(&self, record: RecordId, hash: ChangeHash) -> bool {
        self.street.known().held.contains_key(&(record, hash))
    }

    fn is_unmade(&self, record: RecordId) -> bool {
        self.street.known().unmade.contains_key(&record)
    }

    fn push(&mut self, push: &Push) -> Vec<Outcome> {
        // Per record, what this request was refused for good: whatever depends on it is refused with it. What only waits for something
        // takes its followers along by itself: they wait for it.
        let mut refused: BTreeSet<(RecordId, ChangeHash)> = BTreeSet::new();
        let mut held = 0;
        let mut outcomes = Vec::with_capacity(push.changes.len());
        for ingested in &push.changes {
            let Ingested {
                pushed,
                change: Ok(change),
            } = ingested
            else {
                outcomes.extend(Outcome::of_refused(ingested));
                continue;
            };
            let (record, hash) = (pushed.record, change.hash);
            // What was decided already keeps its answer, whatever became of what it built on.
            let decided =
                self.is_known_as_held(record, hash) || has_accepted(self.street, record, hash);
            // Where the creation of a record was refused, a phone that clears itself has nothing to write anew on: it is kept for a reviewer.
            let stays = push.author.wiped && self.street.state(record).is_none();
            let follows = change
                .deps
                .iter()
                .any(|dep| refused.contains(&(record, *dep)));
            let ruling = if follows && !decided && !stays {
                Ruling::Refused(Refusal::DependsOnRejected)
            } else {
                match self.rule(&push.author, pushed, change) {
                    Ruling::Refused(Refusal::DependencyMissing) if follows => {
                        Ruling::Refused(Refusal::DependsOnRejected)
                    }
                    // What it builds on went with its import, and never comes.
                    Ruling::Refused(Refusal::DependencyMissing) if self.is_unmade(record) => {
                        Ruling::Refused(Refusal::ImportUndone)
                    }
                    ruling => ruling,
                }
            };
            match &ruling {
                Ruling::Held(_) => held += 1,
                Ruling::Refused(refusal) if !refusal.retryable() => {
                    refused.insert((record, hash));
                }
                _ => {}
            }
            outcomes.push(ruling.outcome(record, hash));
        }
        // One event a push, if anything came of it.
        if held > 0 || self.street.has_unannounced() {
            let event = Event::by(&push.author.username, push.author.device, Action::Content);
            self.street.audit(if held > 0 {
                event.with("held", held)
            } else {
                event
            });
        }
        outcomes
    }

    fn rule(&mut self, author: &Author, pushed: &PushedChange, change: &Change) -> Ruling {
        let (record, hash) = (pushed.record, change.hash);
        let street = &*self.street;
        match decided_before(street, record, hash) {
            Some(Ruling::Duplicate(before)) => {
                let now = self.seqs.get(&(record, hash)).copied();
                return Ruling::Duplicate(now.or(before));
            }
            Some(ruling) => return ruling,
            None => {}
        }
        // What a reviewer decided is final, whoever works the grid by now, and whatever the phone is called by now.
        let known_as_held = match street.known().held.get(&(record, hash)) {
            Some(held) if held.status == HeldStatus::Refused => {
                return Ruling::Refused(Refusal::HeldRefused {
                    reason: held.note.clone().unwrap_or_default(),
                });
            }
            Some(held) if held.status == HeldStatus::Accepted => {
                return Ruling::AsEdit(held.seq);
            }
            held => held.map(|held| held.held),
        };
        let waits = known_as_held.map(|_| self.reason_of(record, hash).unwrap_or(GRID_LOST));
        if change.actor.device() != author.device {
            // A phone that was enrolled anew asks after what waits under its former name. Only a reviewer takes that.
            return waits.map_or(Ruling::Refused(Refusal::ForeignActor), Ruling::Held);
        }
        let known = street.state(record);
        if let Some(key) = known.and_then(|state| redacted_key(state, change)) {
            return Ruling::Refused(Refusal::Redacted { key });
        }
        match (self.take(author, pushed, change, known_as_held), waits) {
            // A rule speaks against it by now: the reviewer who has it decides, and not both.
            (Ruling::Refused(Refusal::Field { .. }), Some(reason)) => Ruling::Held(reason),
            (ruling, _) => ruling,
        }
    }

    /// Merges a change that nothing was decided of, or holds it. `waits`: as what it is held.
    fn take(
        &mut self,
        author: &Author,
        pushed: &PushedChange,
        change: &Change,
        waits: Option<Uuid>,
    ) -> Ruling {
        let (record, hash) = (pushed.record, change.hash);
        if written_grids(change).any(|grid| !self.street.has_grid(grid)) {
            return Ruling::Refused(Refusal::UnknownGrid);
        }
        match self.must_wait(author, record, change) {
            Err(refusal) => return Ruling::Refused(refusal),
            Ok(Some(reason)) => {
                return self.hold(author, pushed, change, reason, waits.is_some());
            }
            Ok(None) => {}
        }
        // What waits for a reviewer waits whatever it says: nobody's words are lost.
        let said = Said::in_change(change, self.street.now());
        let creating = self.street.state(record).is_none();
        if may_write(pushed.kind, author.role.into(), creating, change)
            && let Err(Broken { key, error }) = check_new_change(pushed.kind, change, said)
        {
            return Ruling::Refused(Refusal::field(key, error));
        }
        match self.street.accept(
            record,
            pushed.kind,
            pushed.generation,
            change,
            author.role.into(),
        ) {
            Err(refusal) => Ruling::Refused(refusal),
            Ok(Accepted::Before) => Ruling::Duplicate(None),
            Ok(Accepted::Now(seq)) => {
                self.seqs.insert((record, hash), seq);
                // It was held, and its author works the grid again.
                let came_after_all = waits.map(|held| HeldDecision {
                    held,
                    accepted: Some(seq),
                    by: None,
                    note: None,
                });
                self.street.writes.decided.extend(came_after_all);
                Ruling::Accepted(seq)
            }
        }
    }

    /// Why a change waits for a reviewer, if it does.
    fn must_wait(
        &self,
        author: &Author,
        record: RecordId,
        change: &Change,
    ) -> Result<Option<&'static str>, Refusal> {
        let state = self.street.state(record);
        // What follows a held change can only be held with it.
        let follows = change
            .deps
            .iter()
            .filter(|dep| !state.is_some_and(|state| state.contains(**dep)))
            .find_map(|dep| self.reason_of(record, *dep));
        if follows.is_some() {
            return Ok(follows);
        }
        let grid = self.street.grid(record).or_else(|| remaining_grid(change));
        match grid.map(|grid| works_record(self.street, author, record, grid)) {
            Some(Works::Now) => Ok(author.wiped.then_some(DEVICE_WIPED)),
            Some(Works::Once) => Ok(Some(GRID_LOST)),
            Some(Works::Never) => Err(Refusal::NotYourGrid),
            // The creation of its record was refused, now or since it waits.
            None if !change.deps.is_empty() => {
                let waits = self.reason_of(record, change.hash);
                match waits.or(author.wiped.then_some(DEVICE_WIPED)) {
                    None => Err(Refusal::DependencyMissing),
                    reason => Ok(reason),
                }
            }
            // A creation that names no grid: MERGE tells what it lacks.
            None => Ok(None),
        }
    }

    fn reason_of(&self, record: RecordId, hash: ChangeHash) -> Option<&'static str> {
        let now = self.held_before.get(&(record, hash)).copied();
        now.or_else(|| {
            let before = self.street.known().reasons.get(&record)?;
            let (_, reason) = before.iter().find(|(of, _)| *of == hash)?;
            HELD.into_iter().find(|known| known == reason)
        })
    }

    fn hold(
        &mut self,
        author: &Author,
        pushed: &PushedChange,
        change: &Change,
        reason: &'static str,
        known: bool,
    ) -> Ruling {
        let (record, hash) = (pushed.record, change.hash);
        // Once, whatever generation its item names, and however often one request brings it.
        if !known && !self.held_now.contains(&(record, hash)) {
            let waiting = self.street.known().waiting.get(&author.device);
            let more = self.held_by.entry(author.device).or_default();
            if waiting.copied().unwrap_or_default() + *more >= HELD_PER_DEVICE_MAX {
                return Ruling::Refused(Refusal::TooManyHeld);
            }
            *more += 1;
            self.held_now.insert((record, hash));
            let now = self.street.now();
            self.street.writes.held.push(HeldWrite {
                held: self.ids.next(now),
                record,
                kind: pushed.kind,
                generation: pushed.generation,
                hash,
                bytes: change.bytes.clone(),
                device: author.device,
                username: author.username.clone(),
                reason,
                received_at: now,
            });
        }
        self.held_before.insert((record, hash), reason);
        Ruling::Held(reason)
    }
}

/// A key of the change that is about a person who was redacted.
fn redacted_key(state: &RegisterState, change: &Change) -> Option<String> {
    change.ops.iter().find_map(|op| match &op.action {
        ChangeAction::Put { key, value } => {
            state.is_redacted(key, Some(value)).then(|| key.clone())
        }
        ChangeAction::Delete { key } => state.is_redacted(key, None).then(|| key.clone()),
        ChangeAction::MakeText { .. }
        | ChangeAction::Insert { .. }
        | ChangeAction::Remove { .. } => None,
    })
}
