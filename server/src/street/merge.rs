//! MERGE, the IO half: the pushes that wait for one street, merged and committed together.
//!
//! One lock, one fsync, many phones. The rows are locked in one order (the street, then nothing else), nothing inside waits on a network,
//! and every verdict is returned after the commit, never before.

use std::collections::{BTreeSet, HashMap, HashSet};

use lianka_sync_core::{
    access::Role,
    codec::{
        change::{Action as ChangeAction, Change},
        wire::{PushedChange, VerdictStatus},
    },
    crdt::merge::{Refusal, RegisterState},
    id::{ChangeHash, DeviceId, RecordId, StreetCode},
    planted::{self, Bug},
    time::ServerTime,
};
use sqlx::PgPool;
use uuid::Uuid;

use crate::{
    audit::{Action, Event},
    auth::store::accounts,
    clock::Entropy,
    pipeline_point::{PipelinePoint, reached},
    street::{
        ingested::Ingested,
        store::{
            held_changes::{self as held, HeldStatus, HeldWrite, KnownHeld},
            records, streets, trimmed,
        },
        write::{Accepted, StreetWrite, remaining_grid, written_grids},
    },
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

/// The changes of one request.
#[derive(Debug)]
pub struct Push {
    pub author: Author,
    pub changes: Vec<Ingested>,
    /// It is merged behind those of devices that took less of the server.
    pub gives_way: bool,
}

/// What became of one change.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Outcome {
    pub record: RecordId,
    pub hash: Option<ChangeHash>,
    pub status: VerdictStatus,
    pub seq: Option<i64>,
    /// Why it is held: a stable word.
    pub held: Option<&'static str>,
    pub refusal: Option<Refusal>,
}

/// Why a batch was not committed.
#[derive(Debug, thiserror::Error)]
pub enum MergeError {
    #[error("the store refused")]
    Store(#[from] sqlx::Error),
    #[error("there is no such street")]
    NoStreet,
}

impl MergeError {
    /// Whether the store took exception to what was written, so that the same batch would fail again: a constraint, a value out of range.
    pub fn is_about_content(&self) -> bool {
        self.code().is_some_and(|code| {
            ["21", "22", "23", "54"]
                .iter()
                .any(|class| code.starts_with(class))
        })
    }

    /// Whether it says nothing against writing to another street or record: what was written, or a row that somebody holds for too long. A pass
    /// over many of them goes on.
    pub fn is_about_one_record(&self) -> bool {
        self.is_about_content()
            || matches!(self, Self::NoStreet)
            || self.code().is_some_and(|code| code == LOCK_NOT_AVAILABLE)
    }

    fn code(&self) -> Option<std::borrow::Cow<'_, str>> {
        match self {
            Self::Store(sqlx::Error::Database(error)) => error.code(),
            Self::Store(_) | Self::NoStreet => None,
        }
    }
}

/// Postgres' word for a row that was waited for in vain.
pub const LOCK_NOT_AVAILABLE: &str = "55P03";

/// The author no longer works the record's grid, or has a role now that edits none.
pub const GRID_LOST: &str = "grid_lost";
/// The author's device was revoked and is to be wiped.
const DEVICE_WIPED: &str = "device_wiped";
/// Why an edit is held: every stable word.
const HELD: [&str; 2] = [GRID_LOST, DEVICE_WIPED];

/// Changes of one device that may wait for a reviewer: a phone that lost its grid and went on for weeks fits, a machine does not.
pub const HELD_PER_DEVICE_MAX: i64 = 5_000;

/// Merges `pushes` in their order and commits them as one; the outcomes of each push in the order of its changes.
pub async fn commit(
    pool: &PgPool,
    street: &StreetCode,
    pushes: &[Push],
    now: ServerTime,
    entropy: &Entropy,
) -> Result<Vec<Vec<Outcome>>, MergeError> {
    let mut write = StreetWrite::begin(pool, street, now).await?;
    write
        .load(changes(pushes).map(|(record, _)| record))
        .await?;
    write
        .load_documents(
            changes(pushes)
                .filter(|(_, change)| change.edits_text())
                .map(|(record, _)| record),
        )
        .await?;
    let grids = Grids::load(write.tx(), street, pushes).await?;
    let mut batch = Batch {
        write,
        seqs: HashMap::new(),
        earlier: HashSet::new(),
        held_before: HashMap::new(),
        held: Vec::new(),
        held_now: HashSet::new(),
        left_grids: HashMap::new(),
        known_held: HashMap::new(),
        held_by: HashMap::new(),
        came_after_all: Vec::new(),
    };
    batch.load_known(pushes).await?;
    batch.load_left_grids(pushes, &grids).await?;
    let outcomes = pushes
        .iter()
        .map(|push| {
            let outcomes = batch.push(push, &grids, entropy);
            batch.audit(&push.author, &outcomes);
            outcomes
        })
        .collect();
    reached(PipelinePoint::Ruled);
    let Batch {
        mut write,
        held,
        came_after_all,
        ..
    } = batch;
    held::insert(write.tx(), street, &held).await?;
    held::mark_accepted(write.tx(), street, &came_after_all, None, now).await?;
    write.commit().await?;
    Ok(outcomes)
}

/// Every change of the pushes that passed the gate, with its record.
fn changes(pushes: &[Push]) -> impl Iterator<Item = (RecordId, &Change)> {
    pushes
        .iter()
        .flat_map(|push| &push.changes)
        .filter_map(|pushed| Some((pushed.pushed.record, pushed.change.as_ref().ok()?)))
}

/// Whose grids they are.
struct Grids {
    /// For each user: the grids worked now, and those ever worked.
    of: HashMap<String, (HashSet<String>, HashSet<String>)>,
    /// Users who had the whole street in another role.
    oversaw: HashSet<String>,
}

impl Grids {
    async fn load(
        tx: &mut sqlx::PgConnection,
        street: &StreetCode,
        pushes: &[Push],
    ) -> sqlx::Result<Self> {
        let users: Vec<String> = pushes
            .iter()
            .map(|push| push.author.username.clone())
            .collect::<BTreeSet<_>>()
            .into_iter()
            .collect();
        let mut of: HashMap<String, (HashSet<String>, HashSet<String>)> = HashMap::new();
        for assignment in streets::assignments_of(tx, street, &users).await? {
            let (now, ever) = of.entry(assignment.username).or_default();
            if assignment.current {
                now.insert(assignment.grid.clone());
            }
            ever.insert(assignment.grid);
        }
        let roles = accounts::roles(tx, &users).await?;
        let oversaw = roles
            .into_iter()
            .filter(|(_, roles)| {
                roles
                    .iter()
                    .skip(1)
                    .any(|role| role.receives_records() && role.sees_whole_street())
            })
            .map(|(username, _)| username)
            .collect();
        Ok(Self { of, oversaw })
    }

    /// Whether the author may touch a record of `grid`: yes, only through a reviewer, or no.
    fn check(&self, author: &Author, grid: &str) -> Standing {
        let role = author.role;
        let of = self.of.get(&author.username);
        let oversaw = self.oversaw.contains(&author.username);
        match of {
            _ if role.receives_records() && role.sees_whole_street() => Standing::Works,
            Some((now, _)) if role.receives_records() && now.contains(grid) => Standing::Works,
            Some((_, ever)) if ever.contains(grid) => Standing::Worked,
            _ if oversaw => Standing::Worked,
            // Who never had records to edit writes what the table lets the role write.
            None if role.sees_whole_street() => Standing::Works,
            _ => Standing::Never,
        }
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Standing {
    Works,
    Worked,
    Never,
}

struct Batch {
    write: StreetWrite,
    /// Where the changes that the batch repeats, or makes, stand in the log.
    seqs: HashMap<(RecordId, ChangeHash), i64>,
    /// Changes of the batch that a former generation of their record had.
    earlier: HashSet<(RecordId, ChangeHash)>,
    /// Why changes were held that the batch builds on.
    held_before: HashMap<(RecordId, ChangeHash), &'static str>,
    held: Vec<HeldWrite>,
    /// The changes of `held`.
    held_now: HashSet<(RecordId, ChangeHash)>,
    /// The grids that records were moved out of, of the records that authors send from elsewhere.
    left_grids: HashMap<RecordId, Vec<String>>,
    /// What the store knows of changes of the batch that were held before.
    known_held: HashMap<(RecordId, ChangeHash), KnownHeld>,
    /// How many changes of a device wait for a reviewer.
    held_by: HashMap<DeviceId, i64>,
    /// Changes that were held, and are accepted now because their author works the grid again: held row, sequence.
    came_after_all: Vec<(Uuid, i64)>,
}

/// What is to be done with a change that the gate passed.
enum Ruling {
    Accepted(i64),
    Duplicate(Option<i64>),
    Held(&'static str),
    Refused(Refusal),
}

impl Batch {
    /// Looks up what the batch repeats, and what it builds on that was held.
    async fn load_known(&mut self, pushes: &[Push]) -> sqlx::Result<()> {
        let contains = |record, hash| {
            self.write
                .state(record)
                .is_some_and(|state| state.contains(hash))
        };
        let repeated: Vec<_> = changes(pushes)
            .filter(|(record, change)| contains(*record, change.hash))
            .collect();
        let in_batch: HashSet<_> = changes(pushes).map(|(_, change)| change.hash).collect();
        let unknown =
            |record, hash: &ChangeHash| !in_batch.contains(hash) && !contains(record, *hash);
        let waiting: BTreeSet<_> = changes(pushes)
            .filter(|(record, change)| change.deps.iter().any(|dep| unknown(*record, dep)))
            .map(|(record, _)| record.0)
            .collect();
        let street = self.write.street().clone();
        if !repeated.is_empty() {
            let (of, hashes): (Vec<_>, Vec<_>) = repeated
                .iter()
                .map(|(record, change)| (record.0, change.hash.0.to_vec()))
                .unzip();
            self.seqs
                .extend(records::seqs(self.write.tx(), &street, &of, &hashes).await?);
        }
        self.load_earlier(pushes).await?;
        let (of, hashes): (Vec<_>, Vec<_>) = changes(pushes)
            .map(|(record, change)| (record.0, change.hash.0.to_vec()))
            .unzip();
        for held in held::known(self.write.tx(), &street, &of, &hashes).await? {
            self.known_held.insert((held.record, held.hash), held);
        }
        let devices: Vec<_> = pushes.iter().map(|push| push.author.device.0).collect();
        self.held_by = held::count_by_device(self.write.tx(), &street, &devices).await?;
        if !waiting.is_empty() {
            let waiting: Vec<_> = waiting.into_iter().collect();
            for (record, hash, reason) in
                held::open_of_records(self.write.tx(), &street, &waiting).await?
            {
                if let Some(reason) = HELD.into_iter().find(|known| *known == reason) {
                    self.held_before.insert((record, hash), reason);
                }
            }
        }
        Ok(())
    }

    /// Looks up which changes of a former generation had been accepted there.
    async fn load_earlier(&mut self, pushes: &[Push]) -> sqlx::Result<()> {
        let outdated = |pushed: &PushedChange| {
            self.write
                .state(pushed.record)
                .is_some_and(|state| pushed.generation < state.generation())
        };
        let (of, hashes): (Vec<_>, Vec<_>) = pushes
            .iter()
            .flat_map(|push| &push.changes)
            .filter(|change| outdated(&change.pushed))
            .filter_map(|Ingested { pushed, change }| {
                Some((pushed.record.0, change.as_ref().ok()?.hash.0.to_vec()))
            })
            .unzip();
        if !of.is_empty() {
            let street = self.write.street().clone();
            self.earlier = trimmed::earlier(self.write.tx(), &street, &of, &hashes).await?;
        }
        Ok(())
    }

    /// Whether the record has the change, or had it before it was rebuilt.
    fn has_accepted(&self, record: RecordId, hash: ChangeHash) -> bool {
        self.write
            .state(record)
            .is_some_and(|state| state.contains(hash))
            || self.earlier.contains(&(record, hash))
    }

    /// Looks up where records stood before, if their author never worked the grid they stand in now: the office may have moved them.
    async fn load_left_grids(&mut self, pushes: &[Push], grids: &Grids) -> sqlx::Result<()> {
        let elsewhere = |push: &Push, record| {
            self.write
                .grid(record)
                .is_some_and(|grid| grids.check(&push.author, grid) == Standing::Never)
        };
        let records: BTreeSet<Uuid> = pushes
            .iter()
            .flat_map(|push| {
                push.changes
                    .iter()
                    .map(move |change| (push, change.pushed.record))
            })
            .filter(|(push, record)| elsewhere(push, *record))
            .map(|(_, record)| record.0)
            .collect();
        if !records.is_empty() {
            let street = self.write.street().clone();
            self.left_grids = records::left_grids(
                self.write.tx(),
                &street,
                &records.into_iter().collect::<Vec<_>>(),
            )
            .await?;
        }
        Ok(())
    }

    /// Whether the author may touch the record: by its grid now, or by one that it left.
    fn standing(&self, author: &Author, record: RecordId, grid: &str, grids: &Grids) -> Standing {
        match grids.check(author, grid) {
            Standing::Never => {
                let before = self.left_grids.get(&record).into_iter().flatten();
                if before
                    .into_iter()
                    .any(|grid| grids.check(author, grid) != Standing::Never)
                {
                    Standing::Worked
                } else {
                    Standing::Never
                }
            }
            standing => standing,
        }
    }

    /// One event a push, if anything came of it.
    fn audit(&mut self, author: &Author, outcomes: &[Outcome]) {
        let held = outcomes
            .iter()
            .filter(|outcome| outcome.held.is_some())
            .count();
        if held > 0 || self.write.has_untold() {
            let event = Event::by(&author.username, author.device, Action::Content);
            self.write.audit(if held > 0 {
                event.with("held", held)
            } else {
                event
            });
        }
    }

    fn push(&mut self, push: &Push, grids: &Grids, entropy: &Entropy) -> Vec<Outcome> {
        // Per record, what this request was refused for good: whatever depends on it is refused with it. What only waits for something
        // takes its followers along by itself: they wait for it.
        let mut refused: HashSet<(RecordId, ChangeHash)> = HashSet::new();
        push.changes
            .iter()
            .map(|Ingested { pushed, change }| {
                let record = pushed.record;
                let change = match change {
                    Ok(change) => change,
                    Err(error) => {
                        return Outcome::refused(record, None, Refusal::Gate(error.clone()));
                    }
                };
                let hash = change.hash;
                // What was decided already keeps its answer, whatever became of what it built on.
                let decided = self.known_held.contains_key(&(record, hash))
                    || self.has_accepted(record, hash);
                let ruling = if !decided
                    && change
                        .deps
                        .iter()
                        .any(|dep| refused.contains(&(record, *dep)))
                {
                    Ruling::Refused(Refusal::DependsOnRejected)
                } else {
                    self.rule(&push.author, pushed, change, grids, entropy)
                };
                let settled = |status, seq| Outcome {
                    record,
                    hash: Some(hash),
                    status,
                    seq,
                    held: None,
                    refusal: None,
                };
                match ruling {
                    Ruling::Accepted(seq) => settled(VerdictStatus::Accepted, Some(seq)),
                    Ruling::Duplicate(seq) => settled(VerdictStatus::Duplicate, seq),
                    Ruling::Held(reason) => Outcome {
                        held: Some(reason),
                        ..settled(VerdictStatus::Held, None)
                    },
                    Ruling::Refused(refusal) => {
                        if !refusal.retryable() {
                            refused.insert((record, hash));
                        }
                        Outcome::refused(record, Some(hash), refusal)
                    }
                }
            })
            .collect()
    }

    fn rule(
        &mut self,
        author: &Author,
        pushed: &PushedChange,
        change: &Change,
        grids: &Grids,
        entropy: &Entropy,
    ) -> Ruling {
        let record = pushed.record;
        if !self.write.is_readable(record) {
            return Ruling::Refused(Refusal::DocumentUnavailable);
        }
        if self.write.is_erased(record) {
            return Ruling::Refused(Refusal::Erased);
        }
        let known = self.write.state(record);
        let contains = |hash| known.is_some_and(|state| state.contains(hash));
        if self.has_accepted(record, change.hash) {
            return Ruling::Duplicate(self.seqs.get(&(record, change.hash)).copied());
        }
        if change.actor.device() != author.device && !planted::is(Bug::MergeTakesForeignActors) {
            return Ruling::Refused(Refusal::ForeignActor);
        }
        // What a reviewer decided is final, whoever works the grid by now.
        let known_as_held = match self
            .known_held
            .get(&(record, change.hash))
            .map(|held| (held, held.status))
        {
            Some((held, HeldStatus::Refused)) if !planted::is(Bug::HeldForgetsRefusal) => {
                return Ruling::Refused(Refusal::HeldRefused {
                    reason: held.note.clone().unwrap_or_default(),
                });
            }
            Some((held, HeldStatus::Accepted)) => return Ruling::Duplicate(held.seq),
            Some((_, HeldStatus::Held | HeldStatus::Refused)) => true,
            None => false,
        };
        if let Some(key) = known.and_then(|state| redacted_key(state, change)) {
            return Ruling::Refused(Refusal::Redacted { key });
        }
        if written_grids(change).any(|grid| !self.write.has_grid(grid)) {
            return Ruling::Refused(Refusal::UnknownGrid);
        }
        let grid = self.write.grid(record).or_else(|| remaining_grid(change));
        // What follows a held change can only be held with it.
        let follows = change
            .deps
            .iter()
            .filter(|dep| !contains(**dep))
            .find_map(|dep| self.held_before.get(&(record, *dep)).copied());
        let hold = match grid.map(|grid| self.standing(author, record, grid, grids)) {
            _ if follows.is_some() => follows,
            Some(Standing::Works) if author.wiped => Some(DEVICE_WIPED),
            Some(Standing::Worked) if !planted::is(Bug::HeldTakesLost) => Some(GRID_LOST),
            Some(Standing::Never) => return Ruling::Refused(Refusal::NotYourGrid),
            None if !change.deps.is_empty() => return Ruling::Refused(Refusal::DependencyMissing),
            // Theirs; or a creation that names no grid, which MERGE tells what it lacks.
            Some(Standing::Works | Standing::Worked) | None => None,
        };
        if let Some(reason) = hold {
            // Once, whatever generation its item names, and however often one request brings it.
            if known_as_held || !self.held_now.insert((record, change.hash)) {
                self.held_before.insert((record, change.hash), reason);
                return Ruling::Held(reason);
            }
            let waiting = self.held_by.entry(author.device).or_default();
            if *waiting >= HELD_PER_DEVICE_MAX {
                self.held_now.remove(&(record, change.hash));
                return Ruling::Refused(Refusal::TooManyHeld);
            }
            *waiting += 1;
            self.held_before.insert((record, change.hash), reason);
            self.held.push(HeldWrite {
                held: RecordId::new_v7(self.write.now().unix_ms().unsigned_abs(), entropy.bytes())
                    .0,
                record,
                kind: pushed.kind.as_str(),
                generation: pushed.generation as i32,
                hash: change.hash,
                bytes: change.bytes.clone(),
                device: author.device,
                username: author.username.clone(),
                reason,
                received_at: self.write.now(),
            });
            return Ruling::Held(reason);
        }
        match self.write.accept(
            record,
            pushed.kind,
            pushed.generation,
            change,
            author.role.into(),
        ) {
            Err(refusal) => Ruling::Refused(refusal),
            Ok(Accepted::Before) => Ruling::Duplicate(None),
            Ok(Accepted::Now(seq)) => {
                self.seqs.insert((record, change.hash), seq);
                if let Some(held) = self.known_held.get(&(record, change.hash)) {
                    self.came_after_all.push((held.held, seq));
                }
                Ruling::Accepted(seq)
            }
        }
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

impl Outcome {
    fn refused(record: RecordId, hash: Option<ChangeHash>, refusal: Refusal) -> Self {
        Self {
            record,
            hash,
            status: VerdictStatus::Rejected,
            seq: None,
            held: None,
            refusal: Some(refusal),
        }
    }
}
