//! MERGE, the IO half: the pushes that wait for one street, merged and committed together.
//!
//! One lock, one fsync, many phones. The rows are locked in one order (the street, then nothing else), nothing inside waits on a network,
//! and every verdict is returned after the commit, never before.

use std::collections::{BTreeSet, HashMap, HashSet};

use lianka_sync_core::{
    authority::Role,
    change::{Action, Change},
    id::{ChangeHash, DeviceId, RecordId, StreetCode},
    merge::{self, BadState, Context, Merged, NoteDocument, Refusal, RegisterState, Target},
    time::ServerTime,
    wire::{PushedChange, VerdictStatus},
};
use sqlx::PgPool;
use uuid::Uuid;

use crate::{
    clock::Entropy,
    ingest::Ingested,
    project::{self, Projection, Touched},
    store::{
        held::{self, HeldWrite},
        records::{self, DocumentPage, LogWrite, LoggedChange, RecordWrite, StoredRecord},
        streets,
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
        let code = match self {
            Self::Store(sqlx::Error::Database(error)) => error.code(),
            Self::Store(_) | Self::NoStreet => None,
        };
        code.is_some_and(|code| ["21", "22", "23", "54"].iter().any(|class| code.starts_with(class)))
    }
}

/// The author no longer works the record's grid.
const GRID_LOST: &str = "grid_lost";
/// The author's device was revoked and is to be wiped.
const DEVICE_WIPED: &str = "device_wiped";
/// Why an edit is held: every stable word.
const HELD: [&str; 2] = [GRID_LOST, DEVICE_WIPED];

/// Merges `pushes` in their order and commits them as one; the outcomes of each push in the order of its changes.
pub async fn commit(
    pool: &PgPool,
    street: &StreetCode,
    pushes: &[Push],
    now: ServerTime,
    entropy: &Entropy,
) -> Result<Vec<Vec<Outcome>>, MergeError> {
    let mut tx = pool.begin().await?;
    let head = records::lock_street(&mut tx, street).await?.ok_or(MergeError::NoStreet)?;
    let wanted: Vec<Uuid> = changes(pushes).map(|(record, _)| record.0).collect::<BTreeSet<_>>().into_iter().collect();
    let stored = records::load(&mut tx, street, &wanted).await?;
    let mut batch = Batch {
        street,
        now,
        head,
        entries: HashMap::new(),
        unreadable: HashSet::new(),
        note_edited: changes(pushes).filter(|(_, change)| change.edits_text()).map(|(record, _)| record).collect(),
        seqs: HashMap::new(),
        held_before: HashMap::new(),
        log: Vec::new(),
        held: Vec::new(),
    };
    for (record, stored) in stored {
        match Entry::stored(stored) {
            Ok(entry) => drop(batch.entries.insert(record, entry)),
            Err(error) => {
                tracing::error!(%street, %record, %error, "a record cannot be read; its phones keep their changes");
                batch.unreadable.insert(record);
            }
        }
    }
    batch.load_documents(&mut tx).await?;
    batch.load_known(&mut tx, pushes).await?;
    let grids = Grids::load(&mut tx, street, pushes).await?;
    let outcomes = pushes.iter().map(|push| batch.push(push, &grids, entropy)).collect();
    batch.write(&mut tx).await?;
    tx.commit().await?;
    Ok(outcomes)
}

/// Every change of the pushes that passed the gate, with its record.
fn changes(pushes: &[Push]) -> impl Iterator<Item = (RecordId, &Change)> {
    pushes.iter().flat_map(|push| &push.changes).filter_map(|pushed| Some((pushed.pushed.record, pushed.change.as_ref().ok()?)))
}

/// Which grids there are, and whose.
struct Grids {
    all: HashSet<String>,
    /// For each user: the grids worked now, and those ever worked.
    of: HashMap<String, (HashSet<String>, HashSet<String>)>,
}

impl Grids {
    async fn load(tx: &mut sqlx::PgConnection, street: &StreetCode, pushes: &[Push]) -> sqlx::Result<Self> {
        let users: Vec<String> = pushes.iter().map(|push| push.author.username.clone()).collect::<BTreeSet<_>>().into_iter().collect();
        let all = streets::all_grids(tx, street).await?;
        let mut of: HashMap<String, (HashSet<String>, HashSet<String>)> = HashMap::new();
        for assignment in streets::assignments_of(tx, street, &users).await? {
            let (now, ever) = of.entry(assignment.username).or_default();
            if assignment.current {
                now.insert(assignment.grid.clone());
            }
            ever.insert(assignment.grid);
        }
        Ok(Self { all: all.into_iter().collect(), of })
    }

    /// Whether the author may touch a record of `grid`: yes, only through a reviewer, or no.
    fn check(&self, author: &Author, grid: &str) -> Standing {
        if author.role.sees_whole_street() {
            return Standing::Works;
        }
        match self.of.get(&author.username) {
            Some((now, _)) if now.contains(grid) => Standing::Works,
            Some((_, ever)) if ever.contains(grid) => Standing::Worked,
            _ => Standing::Never,
        }
    }
}

enum Standing {
    Works,
    Worked,
    Never,
}

/// A record of the batch.
struct Entry {
    target: Target,
    grid: String,
    seq: i64,
    grid_seq: i64,
    /// What the batch changed of it, if anything.
    touched: Option<Touched>,
}

impl Entry {
    fn stored(stored: StoredRecord) -> Result<Self, BadState> {
        let state = RegisterState::from_bytes(&stored.state)?;
        Ok(Self {
            target: Target { state: Some(state), document: None },
            grid: stored.grid,
            seq: stored.seq,
            grid_seq: stored.grid_seq,
            touched: None,
        })
    }
}

struct Batch<'b> {
    street: &'b StreetCode,
    now: ServerTime,
    head: i64,
    entries: HashMap<RecordId, Entry>,
    /// Records whose stored state does not parse: the rest of the street goes on without them.
    unreadable: HashSet<RecordId>,
    /// Records whose note the batch writes: only these need their document.
    note_edited: HashSet<RecordId>,
    /// Where the changes that the batch repeats, or makes, stand in the log.
    seqs: HashMap<(RecordId, ChangeHash), i64>,
    /// Why changes were held that the batch builds on.
    held_before: HashMap<(RecordId, ChangeHash), &'static str>,
    log: Vec<LogWrite>,
    held: Vec<HeldWrite>,
}

/// What is to be done with a change that the gate passed.
enum Ruling {
    Accepted(i64),
    Duplicate(Option<i64>),
    Held(&'static str),
    Refused(Refusal),
}

impl Batch<'_> {
    /// Loads the documents of the records whose note the batch edits: the one case in which MERGE needs them.
    async fn load_documents(&mut self, tx: &mut sqlx::PgConnection) -> sqlx::Result<()> {
        let edited: Vec<_> = self.note_edited.iter().filter(|record| self.entries.contains_key(record)).map(|record| record.0).collect();
        if edited.is_empty() {
            return Ok(());
        }
        let page = DocumentPage { grids: None, records: Some(&edited), after: 0, limit: edited.len() as i64 };
        for document in records::documents(tx, self.street, page).await? {
            if let Some(entry) = self.entries.get_mut(&document.record) {
                // A document that does not load leaves the target without one; MERGE then asks the phone to try again later.
                entry.target.document = NoteDocument::load(&document.bytes)
                    .inspect_err(|error| tracing::error!(record = %document.record, %error, "a stored document does not load"))
                    .ok();
            }
        }
        Ok(())
    }

    /// Looks up what the batch repeats, and what it builds on that was held.
    async fn load_known(&mut self, tx: &mut sqlx::PgConnection, pushes: &[Push]) -> sqlx::Result<()> {
        let state = |record: &RecordId| self.entries.get(record).and_then(|entry| entry.target.state.as_ref());
        let contains = |record: &RecordId, hash| state(record).is_some_and(|state| state.contains(hash));
        let repeated: Vec<_> = changes(pushes).filter(|(record, change)| contains(record, change.hash)).collect();
        let in_batch: HashSet<_> = changes(pushes).map(|(_, change)| change.hash).collect();
        let unknown = |record: &RecordId, hash: &ChangeHash| !in_batch.contains(hash) && !contains(record, *hash);
        let waiting: BTreeSet<_> = changes(pushes)
            .filter(|(record, change)| change.deps.iter().any(|dep| unknown(record, dep)))
            .map(|(record, _)| record.0)
            .collect();
        if !repeated.is_empty() {
            let (of, hashes): (Vec<_>, Vec<_>) = repeated.iter().map(|(record, change)| (record.0, change.hash.0.to_vec())).unzip();
            self.seqs.extend(records::seqs(&mut *tx, self.street, &of, &hashes).await?);
        }
        if !waiting.is_empty() {
            for (record, hash, reason) in held::of_records(tx, self.street, &waiting.into_iter().collect::<Vec<_>>()).await? {
                if let Some(reason) = HELD.into_iter().find(|known| *known == reason) {
                    self.held_before.insert((record, hash), reason);
                }
            }
        }
        Ok(())
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
                    Err(error) => return Outcome::refused(record, None, Refusal::Gate(error.clone())),
                };
                let hash = change.hash;
                let ruling = if change.deps.iter().any(|dep| refused.contains(&(record, *dep))) {
                    Ruling::Refused(Refusal::DependsOnRejected)
                } else {
                    self.rule(&push.author, pushed, change, grids, entropy)
                };
                let settled = |status, seq| Outcome { record, hash: Some(hash), status, seq, held: None, refusal: None };
                match ruling {
                    Ruling::Accepted(seq) => settled(VerdictStatus::Accepted, Some(seq)),
                    Ruling::Duplicate(seq) => settled(VerdictStatus::Duplicate, seq),
                    Ruling::Held(reason) => Outcome { held: Some(reason), ..settled(VerdictStatus::Held, None) },
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

    fn rule(&mut self, author: &Author, pushed: &PushedChange, change: &Change, grids: &Grids, entropy: &Entropy) -> Ruling {
        let record = pushed.record;
        if self.unreadable.contains(&record) {
            return Ruling::Refused(Refusal::DocumentUnavailable);
        }
        let known = self.entries.get(&record).filter(|entry| entry.target.state.is_some());
        let contains = |hash| known.and_then(|entry| entry.target.state.as_ref()).is_some_and(|state| state.contains(hash));
        if contains(change.hash) {
            return Ruling::Duplicate(self.seqs.get(&(record, change.hash)).copied());
        }
        if change.actor.device() != author.device {
            return Ruling::Refused(Refusal::ForeignActor);
        }
        if written_grids(change).any(|grid| !grids.all.contains(grid)) {
            return Ruling::Refused(Refusal::UnknownGrid);
        }
        let written_grid = written_grids(change).last();
        let grid = known.map(|entry| entry.grid.as_str()).or(written_grid);
        // What follows a held change can only be held with it.
        let follows = change.deps.iter().filter(|dep| !contains(**dep)).find_map(|dep| self.held_before.get(&(record, *dep)).copied());
        let hold = match grid.map(|grid| grids.check(author, grid)) {
            _ if follows.is_some() => follows,
            Some(Standing::Works) if author.wiped => Some(DEVICE_WIPED),
            Some(Standing::Worked) => Some(GRID_LOST),
            Some(Standing::Never) => return Ruling::Refused(Refusal::NotYourGrid),
            None if !change.deps.is_empty() => return Ruling::Refused(Refusal::DependencyMissing),
            // Theirs; or a creation that names no grid, which MERGE tells what it lacks.
            Some(Standing::Works) | None => None,
        };
        if let Some(reason) = hold {
            self.held_before.insert((record, change.hash), reason);
            self.held.push(HeldWrite {
                held: RecordId::new_v7(self.now.unix_ms().unsigned_abs(), entropy.bytes()).0,
                record,
                kind: pushed.kind.as_str(),
                generation: pushed.generation as i32,
                hash: change.hash,
                bytes: change.bytes.clone(),
                device: author.device,
                username: author.username.clone(),
                reason,
                received_at: self.now,
            });
            return Ruling::Held(reason);
        }
        let (kind, generation) = (pushed.kind, pushed.generation);
        let context = Context { street: self.street, kind, generation, device: author.device, writer: author.role.into(), received_at: self.now };
        self.merge(record, change, &context)
    }

    fn merge(&mut self, record: RecordId, change: &Change, context: &Context<'_>) -> Ruling {
        let entry = self.entries.entry(record).or_insert_with(|| Entry {
            target: Target::default(),
            grid: String::new(),
            seq: 0,
            grid_seq: 0,
            touched: None,
        });
        let created = entry.target.state.is_none();
        let in_conflict = entry.target.state.as_ref().is_some_and(RegisterState::has_conflicts);
        match merge::merge(&mut entry.target, change, context) {
            Err(refusal) => return Ruling::Refused(refusal),
            Ok(Merged::Duplicate) => return Ruling::Duplicate(self.seqs.get(&(record, change.hash)).copied()),
            Ok(Merged::Accepted) => {}
        }
        // A later change of the batch writes the note of a record that the store does not have yet.
        if created && entry.target.document.is_none() && self.note_edited.contains(&record) {
            entry.target.document = NoteDocument::load(&change.bytes).ok();
        }
        self.head += 1;
        let seq = self.head;
        self.seqs.insert((record, change.hash), seq);
        entry.seq = seq;
        let touched = entry.touched.get_or_insert_default();
        touched.conflicts |= in_conflict;
        for op in &change.ops {
            if let Action::Put { key, .. } | Action::Delete { key } = &op.action {
                touched.note(key);
            }
        }
        let grid = entry.target.state.as_ref().and_then(|state| state.text("grid")).unwrap_or_default();
        let left = (entry.grid != grid).then(|| {
            entry.grid_seq = seq;
            std::mem::replace(&mut entry.grid, grid.to_owned())
        });
        let log = |seq, grid: String, change| LogWrite {
            seq,
            record,
            generation: context.generation as i32,
            grid,
            received_at: context.received_at,
            change,
        };
        self.log.push(log(
            seq,
            entry.grid.clone(),
            Some(LoggedChange { hash: change.hash, device: change.actor.device(), bytes: change.bytes.clone() }),
        ));
        if let Some(left) = left.filter(|left| !left.is_empty()) {
            self.head += 1;
            self.log.push(log(self.head, left, None));
            entry.seq = self.head;
        }
        Ruling::Accepted(seq)
    }

    async fn write(self, tx: &mut sqlx::PgConnection) -> sqlx::Result<()> {
        held::insert(tx, self.street, &self.held).await?;
        if self.log.is_empty() {
            return Ok(());
        }
        let mut changed: Vec<_> = self.entries.into_iter().filter(|(_, entry)| entry.touched.is_some()).collect();
        changed.sort_by_key(|(_, entry)| entry.seq);
        let writes: Vec<_> = changed
            .iter()
            .filter_map(|(record, entry)| {
                let state = entry.target.state.as_ref()?;
                Some(RecordWrite {
                    record: *record,
                    kind: state.kind().as_str(),
                    grid: entry.grid.clone(),
                    generation: state.generation() as i32,
                    seq: entry.seq,
                    grid_seq: entry.grid_seq,
                    state: state.to_bytes(),
                })
            })
            .collect();
        records::upsert(tx, self.street, &writes).await?;
        records::append_log(tx, self.street, self.log).await?;
        let projections: Vec<_> = changed
            .iter()
            .filter_map(|(record, entry)| {
                Some(Projection { record: *record, seq: entry.seq, state: entry.target.state.as_ref()?, touched: entry.touched? })
            })
            .collect();
        project::write(tx, self.street, &projections).await?;
        records::raise_head(tx, self.street, self.head).await
    }
}

impl Outcome {
    fn refused(record: RecordId, hash: Option<ChangeHash>, refusal: Refusal) -> Self {
        Self { record, hash, status: VerdictStatus::Rejected, seq: None, held: None, refusal: Some(refusal) }
    }
}

/// The grids that the change writes, in order: the last one stays.
fn written_grids(change: &Change) -> impl Iterator<Item = &str> {
    change.ops.iter().filter_map(|op| match &op.action {
        Action::Put { key, value } if key == "grid" => value.as_str(),
        _ => None,
    })
}
