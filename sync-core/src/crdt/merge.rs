//! MERGE, pure: what is stored of a record + one change that passed the gate → accepted, duplicate, or refused with a reason.
//!
//! With causal delivery, which this module enforces, the visible values of a key are exactly the puts that no later operation named as a
//! predecessor, and the highest operation id wins. So merging registers is a fold over the touched keys of the [`RegisterState`] and needs
//! no document; only an edit of the note does. Property tests hold the fold to Automerge's own result.
//!
//! Invariants:
//! - a change is atomic: one refused operation refuses it whole, and nothing of the state moves;
//! - an actor's sequence has no gap and no fork, and each of its changes has seen the one before;
//! - operation counters are exactly one above everything the change has seen, so nobody can use the counters up;
//! - a predecessor is an earlier put on the same key that the change has seen. Anything else makes Automerge save a document that it
//!   then refuses to load.

mod compose;
mod fullness;
mod refold;

use std::collections::{BTreeMap, BTreeSet, HashMap};

use serde::{Deserialize, Serialize};

use crate::{
    access::{FieldError, Writer},
    authority,
    codec::change::{Action, Change, GateError, OpId, Scalar},
    crdt::{
        note::Note,
        record::{Edit, Record, RecordError},
        view::{Value, View},
    },
    id::{Actor, ChangeHash, DeviceId, EntryId, RecordId, StreetCode},
    key::{self, Key, NOTE},
    kinds::{Broken, Kind, MergeRule, Writing},
    lang::Lang,
    limits,
    time::{DeviceTime, ServerTime},
};

pub use compose::{Replaces, Write, created};
pub(crate) use refold::Refold;

/// Version of the stored encoding: the first byte of [`RegisterState::to_bytes`].
const ENCODING: u8 = 2;
/// The encoding before, which is this one without its last field, `redacted`.
const ENCODING_WITHOUT_REDACTED: u8 = 1;

/// An operation, its actor as index into [`RegisterState::actors`].
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize)]
struct OpRef {
    counter: u32,
    actor: u32,
}

/// One accepted change, without its content.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
struct Entry {
    hash: ChangeHash,
    actor: u32,
    seq: u32,
    start_op: u32,
    ops: u32,
    /// Indices into the history.
    deps: Vec<u32>,
    time_seconds: i64,
    received_ms: i64,
}

/// A value that nothing has replaced.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
struct Visible {
    op: OpRef,
    value: StoredScalar,
}

/// [`Scalar`] with a tag: postcard cannot read untagged values.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
enum StoredScalar {
    Bool(bool),
    Int(i64),
    Str(String),
}

impl From<&Scalar> for StoredScalar {
    fn from(value: &Scalar) -> Self {
        match value {
            Scalar::Bool(value) => Self::Bool(*value),
            Scalar::Int(value) => Self::Int(*value),
            Scalar::Str(value) => Self::Str(value.clone()),
        }
    }
}

impl From<&StoredScalar> for Scalar {
    fn from(value: &StoredScalar) -> Self {
        match value {
            StoredScalar::Bool(value) => Self::Bool(*value),
            StoredScalar::Int(value) => Self::Int(*value),
            StoredScalar::Str(value) => Self::Str(value.clone()),
        }
    }
}

#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
struct Register {
    visible: Vec<Visible>,
    /// Ascending.
    overwritten: Vec<OpRef>,
}

/// Where things stand in the lists: whatever a change names is found without a walk through the history, so that no change is slow.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
struct Index {
    changes: HashMap<ChangeHash, u32>,
    actors: HashMap<Actor, u32>,
    /// For each actor its changes, ascending.
    changes_of: Vec<Vec<u32>>,
}

/// What MERGE keeps of a record: every visible value by key, and enough of the history to know what a change has seen.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct RegisterState {
    kind: Kind,
    generation: u32,
    actors: Vec<Actor>,
    history: Vec<Entry>,
    heads: Vec<u32>,
    registers: BTreeMap<String, Register>,
    note_object: OpRef,
    note: String,
    /// Bytes of all changes together.
    bytes: u64,
    /// Entries of persons who were redacted, for good. The last field, see [`ENCODING_WITHOUT_REDACTED`].
    redacted: BTreeSet<EntryId>,
    #[serde(skip)]
    index: Index,
}

/// Where a value came from.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Provenance {
    /// The change that wrote it.
    pub hash: ChangeHash,
    /// The author's device.
    pub device: DeviceId,
    /// When the device says so.
    pub device_time: Option<DeviceTime>,
    /// When the server accepted it.
    pub received_at: ServerTime,
}

/// Stored bytes that are no register state: the store is damaged, or newer than this program.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("stored register state does not parse")]
pub struct BadState;

impl RegisterState {
    /// The stored form.
    pub fn to_bytes(&self) -> Vec<u8> {
        // Serialising plain data into a growing buffer has no way to fail.
        postcard::to_extend(self, vec![ENCODING]).unwrap_or_default()
    }

    /// From the stored form.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, BadState> {
        let parsed: Result<Self, _> = match bytes.split_first() {
            Some((&ENCODING, rest)) => postcard::from_bytes(rest),
            // The empty set is one zero byte.
            Some((&ENCODING_WITHOUT_REDACTED, rest)) => {
                postcard::from_bytes(&[rest, &[0]].concat())
            }
            _ => return Err(BadState),
        };
        let mut state = parsed.map_err(|_| BadState)?;
        state.index = Index::of(&state.actors, &state.history).ok_or(BadState)?;
        Ok(state)
    }

    /// The record's kind.
    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// The record's generation, from 1.
    pub fn generation(&self) -> u32 {
        self.generation
    }

    /// Number of changes accepted in this generation.
    pub fn len(&self) -> usize {
        self.history.len()
    }

    /// Never: a state begins with the creating change.
    pub fn is_empty(&self) -> bool {
        self.history.is_empty()
    }

    /// The changes nothing depends on yet, ascending.
    pub fn heads(&self) -> Vec<ChangeHash> {
        let mut heads: Vec<_> = self
            .heads
            .iter()
            .filter_map(|at| self.history.get(*at as usize))
            .map(|entry| entry.hash)
            .collect();
        heads.sort_unstable();
        heads
    }

    /// Whether the change was accepted before.
    pub fn contains(&self, hash: ChangeHash) -> bool {
        self.index_of(hash).is_some()
    }

    /// The winning text of a key, without building a view.
    pub fn text(&self, key: &str) -> Option<&str> {
        let register = self.registers.get(key)?;
        match &register
            .visible
            .iter()
            .max_by_key(|visible| self.op_id(visible.op))?
            .value
        {
            StoredScalar::Str(text) => Some(text),
            StoredScalar::Bool(_) | StoredScalar::Int(_) => None,
        }
    }

    /// The record as which this one goes on.
    pub fn successor(&self) -> Option<RecordId> {
        self.text(self.kind.succession()?)?.parse().ok()
    }

    /// What the record says.
    pub fn view(&self) -> View {
        let values = self
            .registers
            .iter()
            .filter(|(_, register)| !register.visible.is_empty())
            .map(|(key, register)| {
                let mut values: Vec<_> = register
                    .visible
                    .iter()
                    .map(|visible| {
                        let op = self.op_id(visible.op);
                        let time = self.provenance(op).and_then(|from| from.device_time);
                        Value {
                            op,
                            value: Scalar::from(&visible.value),
                            time,
                        }
                    })
                    .collect();
                values.sort_by_key(|value| value.op);
                (key.clone(), values)
            })
            .collect();
        View {
            values,
            note: self.kind.has_note().then(|| self.note.clone()),
        }
    }

    /// Where the operation came from.
    pub fn provenance(&self, op: OpId) -> Option<Provenance> {
        let entry = &self.history[self.change_of(self.find(op)?)?];
        Some(Provenance {
            hash: entry.hash,
            device: op.actor.device(),
            device_time: (entry.time_seconds != 0)
                .then(|| DeviceTime::from_unix_seconds(entry.time_seconds)),
            received_at: ServerTime::from_unix_ms(entry.received_ms),
        })
    }

    /// The change that the operation came with. Where a rebuild cut that one in two, all that stands for it: the parts have its author and its times.
    pub fn came_with(&self, op: OpId) -> impl Iterator<Item = ChangeHash> {
        let own = self.find(op).and_then(|op| self.change_of(op));
        let own = own.map(|at| &self.history[at]);
        let of = own.map_or(&[][..], |own| {
            self.index.changes_of[own.actor as usize].as_slice()
        });
        let is_part = move |entry: &&Entry| {
            own.is_some_and(|own| {
                entry.hash == own.hash
                    || self.generation > 1
                        && entry.time_seconds == own.time_seconds
                        && entry.received_ms == own.received_ms
            })
        };
        let entries = of.iter().map(|at| &self.history[*at as usize]);
        entries.filter(is_part).map(|entry| entry.hash)
    }

    /// When the server accepted the creating change.
    pub fn created_at(&self) -> Option<ServerTime> {
        self.history
            .first()
            .map(|entry| ServerTime::from_unix_ms(entry.received_ms))
    }

    /// Whether any field that keeps conflicts holds differing values.
    pub fn has_conflicts(&self) -> bool {
        let differ = |register: &Register| {
            register
                .visible
                .iter()
                .any(|visible| visible.value != register.visible[0].value)
        };
        self.registers.iter().any(|(key, register)| {
            register.visible.len() > 1
                && differ(register)
                && self
                    .kind
                    .field(key)
                    .is_some_and(|(field, _)| field.keeps_conflicts())
        })
    }

    /// When the server accepted the operation, named as [`crate::kinds::projection::ConflictRow::op`] names it.
    pub fn received_at(&self, op: &str) -> Option<ServerTime> {
        let (counter, actor) = op.split_once('@')?;
        let actor = Actor::from_slice(&hex::decode(actor).ok()?)?;
        self.provenance(OpId {
            counter: counter.parse().ok()?,
            actor,
        })
        .map(|from| from.received_at)
    }

    /// Whether the author of `change`, which is not part of the record yet, had seen the operation.
    pub(crate) fn has_seen(&self, change: &Change, op: OpId) -> bool {
        let deps: Vec<_> = change
            .deps
            .iter()
            .filter_map(|hash| self.index_of(*hash))
            .collect();
        self.find(op)
            .and_then(|op| self.change_of(op))
            .is_some_and(|at| Seen::of(self, &deps).contains(at))
    }

    fn index_of(&self, hash: ChangeHash) -> Option<u32> {
        self.index.changes.get(&hash).copied()
    }

    fn op_id(&self, op: OpRef) -> OpId {
        OpId {
            counter: op.counter,
            actor: self.actors[op.actor as usize],
        }
    }

    fn find(&self, op: OpId) -> Option<OpRef> {
        Some(OpRef {
            counter: op.counter,
            actor: *self.index.actors.get(&op.actor)?,
        })
    }

    /// The change that made the operation.
    fn change_of(&self, op: OpRef) -> Option<usize> {
        let changes = self.index.changes_of.get(op.actor as usize)?;
        let at = changes
            .partition_point(|at| self.history[*at as usize].start_op <= op.counter)
            .checked_sub(1)?;
        let entry = &self.history[changes[at] as usize];
        (op.counter < entry.start_op + entry.ops).then_some(changes[at] as usize)
    }

    /// The changes of an actor, in their order.
    pub fn changes_of(&self, actor: Actor) -> impl Iterator<Item = ChangeHash> {
        let of = self.index.actors.get(&actor);
        let changes = of.and_then(|of| self.index.changes_of.get(*of as usize));
        let changes = changes.into_iter().flatten();
        changes.map(|at| self.history[*at as usize].hash)
    }

    fn last_of(&self, actor: u32) -> Option<usize> {
        self.index
            .changes_of
            .get(actor as usize)?
            .last()
            .map(|at| *at as usize)
    }
}

impl Index {
    /// `None` where the history names an actor that is not there.
    fn of(actors: &[Actor], history: &[Entry]) -> Option<Self> {
        let mut index = Self {
            changes: HashMap::with_capacity(history.len()),
            actors: actors
                .iter()
                .enumerate()
                .map(|(at, actor)| (*actor, at as u32))
                .collect(),
            changes_of: vec![Vec::new(); actors.len()],
        };
        for (at, entry) in history.iter().enumerate() {
            index.changes.insert(entry.hash, at as u32);
            index
                .changes_of
                .get_mut(entry.actor as usize)?
                .push(at as u32);
        }
        Some(index)
    }
}

/// Everything about the arrival of a change that its bytes do not say.
#[derive(Clone, Copy, Debug)]
pub struct Context<'c> {
    /// The street it was sent to.
    pub street: &'c StreetCode,
    /// The kind its item names.
    pub kind: Kind,
    /// The generation its item names.
    pub generation: u32,
    /// The device that sent it.
    pub device: DeviceId,
    /// Who writes: usually that device's user, in their role.
    pub writer: Writer,
    /// When the server received it.
    pub received_at: ServerTime,
}

/// A record as MERGE needs it.
#[derive(Default)]
pub struct Target {
    /// `None`: the record does not exist yet.
    pub state: Option<RegisterState>,
    /// The document, loaded by the caller where [`Change::edits_text`]; kept in step with the state once present.
    pub document: Option<NoteDocument>,
}

/// A record's document, with every element its note ever had.
pub struct NoteDocument {
    record: Record,
    elements: BTreeSet<OpId>,
}

impl NoteDocument {
    /// From stored bytes: see [`Record::load`].
    pub fn load(bytes: &[u8]) -> Result<Self, RecordError> {
        let mut record = Record::load(bytes)?;
        let elements = record.note_elements()?;
        Ok(Self { record, elements })
    }

    /// A change by `actor` that makes `edits`, of which one is of the note; `None` where the record says so already. The document stays as it is
    /// until the change is merged.
    pub fn compose(
        &self,
        actor: Actor,
        at: DeviceTime,
        edits: &[Edit],
        message: &str,
    ) -> Result<Option<Change>, RecordError> {
        self.record.clone().edit(actor, at, edits, message)
    }

    /// The note made to read so by an author who had seen only these of the record's changes; `None` where it read so to them.
    pub fn compose_when(
        &self,
        was_there: &dyn Fn(ChangeHash) -> bool,
        actor: Actor,
        at: DeviceTime,
        text: &str,
    ) -> Result<Option<Change>, RecordError> {
        let Some(mut then) = self.record.clone().when(was_there)? else {
            return Ok(None);
        };
        let edit = Edit::Note { text: text.into() };
        then.edit(actor, at, &[edit], "")
    }

    /// What the note said to whoever had seen only these of the record's changes.
    pub fn note_when(
        &self,
        was_there: &dyn Fn(ChangeHash) -> bool,
    ) -> Result<Option<String>, RecordError> {
        match self.record.clone().when(was_there)? {
            Some(then) => then.note(),
            None => Ok(None),
        }
    }

    /// What the note says with a change on top that cannot be merged as it is. `unmerged`: changes that it builds on and the record does not have.
    pub fn note_with(&self, change: &Change, unmerged: &[Change]) -> Result<String, RecordError> {
        let note = Note::of(&mut self.record.clone())?;
        let note = unmerged.iter().fold(note, |note, other| note.before(other));
        Ok(note.with(change).text())
    }

    fn apply(&mut self, change: &Change) -> Result<(), RecordError> {
        self.record.apply([change.bytes.as_slice()])?;
        let inserts = change
            .ops
            .iter()
            .enumerate()
            .filter(|(_, op)| matches!(op.action, Action::Insert { .. }));
        self.elements
            .extend(inserts.map(|(index, _)| change.op_id(index)));
        Ok(())
    }
}

/// What became of a change that was not refused.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Merged {
    /// It is part of the record now.
    Accepted,
    /// It had been before.
    Duplicate,
}

/// Why a change was refused. Nothing is lost: the author's phone keeps the edit and rebases or shows it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Refusal {
    /// The bytes did not pass the gate.
    Gate(GateError),
    /// A field rule.
    Field {
        /// The key.
        key: String,
        /// The rule.
        error: FieldError,
    },
    /// The actor names another device.
    ForeignActor,
    /// The record was rebuilt since; the phone rebases.
    StaleGeneration,
    /// The record id is in use.
    RecordExists,
    /// The item names another kind than the record has.
    KindMismatch,
    /// The creating change names another street.
    WrongStreet,
    /// Something the change depends on has not arrived; sending again later may help.
    DependencyMissing,
    /// It depends on a change refused in the same request.
    DependsOnRejected,
    /// The actor used this sequence number for another change, here or on a copy of the phone.
    ActorForked,
    /// Changes of the same actor before this one have not arrived.
    SequenceGap,
    /// The operation counter is not one above everything seen.
    BadStartOp,
    /// A predecessor is no earlier value of the same key that the change has seen.
    BadPredecessor {
        /// The key, or `note`.
        key: String,
    },
    /// So many changes stand side by side unseen by each other that one more would keep everybody from naming them all; the phone rebases.
    TooManyHeads,
    /// The record is full; the office compacts it.
    RecordFull,
    /// The record's document could not be loaded just now.
    DocumentUnavailable,
    /// The user does not work the record's grid, and never did.
    NotYourGrid,
    /// The record names a grid that the street does not have.
    UnknownGrid,
    /// The office erased the record; nothing brings it back.
    Erased,
    /// The office redacted the person whom the key is about; nothing brings them back.
    Redacted {
        /// The key.
        key: String,
    },
    /// The record came from an imported roll, and the office took that import back.
    ImportUndone,
    /// It was held, and a reviewer refused it; the final answer.
    HeldRefused {
        /// The reviewer's reason, for the author.
        reason: String,
    },
    /// The device has so many changes waiting for a reviewer that no more are held.
    TooManyHeld,
}

impl Refusal {
    /// A refusal by a field rule.
    pub fn field(key: impl Into<String>, error: FieldError) -> Self {
        Self::Field {
            key: key.into(),
            error,
        }
    }

    /// The stable code of a `verdict` (docs/protocol.md).
    pub fn code(&self) -> &'static str {
        match self {
            Self::Gate(error) => error.code(),
            Self::Field { error, .. } => error.code(),
            Self::ForeignActor => "actor_not_yours",
            Self::StaleGeneration => "stale_generation",
            Self::RecordExists => "record_exists",
            Self::KindMismatch => "kind_mismatch",
            Self::WrongStreet => "wrong_street",
            Self::DependencyMissing => "dependency_missing",
            Self::DependsOnRejected => "depends_on_rejected",
            Self::ActorForked => "actor_forked",
            Self::SequenceGap => "sequence_gap",
            Self::BadStartOp => "bad_start_op",
            Self::BadPredecessor { .. } => "bad_predecessor",
            Self::TooManyHeads => "too_many_heads",
            Self::RecordFull => "record_full",
            Self::DocumentUnavailable => "document_unavailable",
            Self::NotYourGrid => "not_your_grid",
            Self::UnknownGrid => "unknown_grid",
            Self::Erased => "erased",
            Self::Redacted { .. } => "redacted",
            Self::ImportUndone => "import_undone",
            Self::HeldRefused { .. } => "held_refused",
            Self::TooManyHeld => "too_many_held",
        }
    }

    /// Every code there is, for the documentation's table.
    pub const CODES: &'static [&'static str] = &[
        "malformed_change",
        "not_a_change",
        "checksum_mismatch",
        "change_too_large",
        "out_of_range",
        "nested_object",
        "operation_not_allowed",
        "wrong_type",
        "bad_actor",
        "not_canonical",
        "unknown_field",
        "field_not_editable",
        "write_once",
        "value_empty",
        "value_too_long",
        "value_not_nfc",
        "value_control_character",
        "value_forbidden_character",
        "personal_number",
        "value_not_in_list",
        "value_not_a_date",
        "value_not_a_time",
        "value_in_future",
        "value_too_long_ago",
        "value_not_a_point",
        "value_not_an_entry",
        "consent_missing",
        "creation_incomplete",
        "value_out_of_range",
        "event_incomplete",
        "not_in_form",
        "actor_not_yours",
        "stale_generation",
        "record_exists",
        "kind_mismatch",
        "wrong_street",
        "dependency_missing",
        "depends_on_rejected",
        "actor_forked",
        "sequence_gap",
        "bad_start_op",
        "bad_predecessor",
        "too_many_heads",
        "record_full",
        "document_unavailable",
        "not_your_grid",
        "unknown_grid",
        "erased",
        "redacted",
        "import_undone",
        "held_refused",
        "too_many_held",
    ];

    /// Whether sending the very same bytes again later may succeed.
    pub fn retryable(&self) -> bool {
        matches!(
            self,
            Self::DependencyMissing
                | Self::SequenceGap
                | Self::DocumentUnavailable
                | Self::TooManyHeld
        )
    }

    /// The key the refusal is about, where there is one.
    pub fn key(&self) -> Option<&str> {
        match self {
            Self::Gate(error) => error.field(),
            Self::Field { key, .. } | Self::BadPredecessor { key } | Self::Redacted { key } => {
                Some(key)
            }
            _ => None,
        }
    }

    /// For a person, in their language.
    pub fn message(&self, lang: Lang) -> String {
        let (zh, en) = match self {
            Self::Gate(error) => return error.message(lang),
            Self::Field { error, .. } => return error.message(lang),
            Self::HeldRefused { reason } => return reason.clone(),
            Self::ForeignActor => (
                "这条修改署名于另一台设备",
                "the change is signed by another device",
            ),
            Self::StaleGeneration => (
                "记录已重建，请取回最新内容后重做",
                "the record was rebuilt; rebase on the new generation",
            ),
            Self::RecordExists => ("该记录编号已被使用", "the record id is in use"),
            Self::KindMismatch => ("记录种类不符", "the record is of another kind"),
            Self::WrongStreet => ("记录属于另一个街道", "the record names another street"),
            Self::DependencyMissing => (
                "所依据的修改尚未到达，请稍后重发",
                "a change it depends on has not arrived; send again later",
            ),
            Self::DependsOnRejected => ("所依据的修改已被拒绝", "it depends on a refused change"),
            Self::ActorForked => (
                "同一序号已有另一条修改（设备可能被复制），请重做",
                "the sequence number is taken by another change; rebase",
            ),
            Self::SequenceGap => (
                "此前的修改尚未到达，请按顺序重发",
                "earlier changes of this device have not arrived; send them first",
            ),
            Self::BadStartOp => (
                "操作计数不正确，请重做",
                "the operation counter is wrong; rebase",
            ),
            Self::BadPredecessor { .. } => (
                "所替换的旧值不存在，请重做",
                "it replaces a value that it has not seen; rebase",
            ),
            Self::TooManyHeads => (
                "同时并行的修改过多，请重做",
                "too many changes stand side by side; rebase",
            ),
            Self::RecordFull => (
                "记录历史已满，请联系街道办公室",
                "the record's history is full; ask the office to compact it",
            ),
            Self::DocumentUnavailable => (
                "记录暂不可用，请稍后重发",
                "the record is not available just now; send again later",
            ),
            Self::NotYourGrid => (
                "该记录不在您的网格内",
                "the record is not in one of your grids",
            ),
            Self::UnknownGrid => ("没有这个网格", "the street has no such grid"),
            Self::Erased => ("该记录已由街道办公室删除", "the office erased the record"),
            Self::Redacted { .. } => (
                "该联系人的信息已由街道办公室删除",
                "the office erased this person's data",
            ),
            Self::ImportUndone => (
                "该记录由导入名册建立，街道已撤销那次导入；您的修改留作草稿",
                "the record came from an imported roll, and the office took that import back; your edit stays as a draft",
            ),
            Self::TooManyHeld => (
                "待审核的修改过多，请等街道审核后再发",
                "too many of your changes wait for the office; send again later",
            ),
        };
        match lang {
            Lang::Zh => zh,
            Lang::En => en,
        }
        .to_owned()
    }
}

impl From<GateError> for Refusal {
    fn from(error: GateError) -> Self {
        Self::Gate(error)
    }
}

/// Merges one change into the record, or says why not; a refusal leaves the record as it was.
pub fn merge(
    target: &mut Target,
    change: &Change,
    context: &Context<'_>,
) -> Result<Merged, Refusal> {
    if let Some(state) = &target.state {
        if state.contains(change.hash) {
            return Ok(Merged::Duplicate);
        }
        if context.generation != state.generation {
            return Err(Refusal::StaleGeneration);
        }
        if context.kind != state.kind {
            return Err(Refusal::KindMismatch);
        }
    }
    if change.actor.device() != context.device {
        return Err(Refusal::ForeignActor);
    }
    let accepted = match &target.state {
        Some(state) => extend(state, target.document.as_ref(), change, context)?,
        None => begin(change, context)?,
    };
    if let Some(document) = &mut target.document {
        document
            .apply(change)
            .map_err(|_| Refusal::DocumentUnavailable)?;
    } else if change.edits_text() {
        // Only the creating change comes here: `extend` refuses an edit of the note without the document.
        target.document =
            Some(NoteDocument::load(&change.bytes).map_err(|_| Refusal::DocumentUnavailable)?);
    }
    let note = target
        .document
        .as_ref()
        .and_then(|document| document.record.note().ok().flatten());
    let state = target.state.get_or_insert_with(|| RegisterState {
        kind: context.kind,
        generation: context.generation,
        actors: Vec::new(),
        history: Vec::new(),
        heads: Vec::new(),
        registers: BTreeMap::new(),
        note_object: OpRef {
            counter: 0,
            actor: 0,
        },
        note: String::new(),
        bytes: 0,
        redacted: BTreeSet::new(),
        index: Index::default(),
    });
    state.accept(accepted, change, context.received_at);
    if let Some(note) = note {
        state.note = note;
    }
    Ok(Merged::Accepted)
}

/// What a checked change does to the state.
struct Accepted {
    deps: Vec<u32>,
    registers: BTreeMap<String, Register>,
    note_object: Option<u32>,
}

impl RegisterState {
    fn accept(&mut self, accepted: Accepted, change: &Change, received_at: ServerTime) {
        let actor = self.intern(change.actor);
        let at = self.history.len() as u32;
        self.heads.retain(|head| !accepted.deps.contains(head));
        self.heads.push(at);
        self.bytes += change.bytes.len() as u64;
        self.index.changes.insert(change.hash, at);
        self.index.changes_of[actor as usize].push(at);
        self.history.push(Entry {
            hash: change.hash,
            actor,
            seq: change.seq,
            start_op: change.start_op,
            ops: change.ops.len() as u32,
            deps: accepted.deps,
            time_seconds: change.time.map_or(0, DeviceTime::unix_seconds),
            received_ms: received_at.unix_ms(),
        });
        self.registers.extend(accepted.registers);
        if let Some(counter) = accepted.note_object {
            self.note_object = OpRef { counter, actor };
        }
    }

    fn intern(&mut self, actor: Actor) -> u32 {
        let next = self.actors.len() as u32;
        let at = *self.index.actors.entry(actor).or_insert(next);
        if at == next {
            self.actors.push(actor);
            self.index.changes_of.push(Vec::new());
        }
        at
    }
}

/// What a change has seen: `None` is everything.
struct Seen(Option<Vec<bool>>);

impl Seen {
    fn of(state: &RegisterState, deps: &[u32]) -> Self {
        if state.heads.iter().all(|head| deps.contains(head)) {
            return Self(None);
        }
        let mut seen = vec![false; state.history.len()];
        let mut open = deps.to_vec();
        while let Some(at) = open.pop() {
            if !std::mem::replace(&mut seen[at as usize], true) {
                open.extend(&state.history[at as usize].deps);
            }
        }
        Self(Some(seen))
    }

    fn contains(&self, at: usize) -> bool {
        self.0.as_ref().is_none_or(|seen| seen[at])
    }
}

/// Checks the change that creates a record.
fn begin(change: &Change, context: &Context<'_>) -> Result<Accepted, Refusal> {
    if !change.deps.is_empty() {
        return Err(Refusal::DependencyMissing);
    }
    if context.generation != 1 {
        return Err(Refusal::StaleGeneration);
    }
    if change.seq != 1 {
        return Err(Refusal::SequenceGap);
    }
    if change.start_op != 1 {
        return Err(Refusal::BadStartOp);
    }
    let fold = Fold::new(None, Seen(None), change, context).run(None)?;
    let written = |key: &str| {
        fold.registers
            .get(key)
            .and_then(|register| register.visible.last())
            .map(|visible| &visible.value)
    };
    for field in context.kind.fields().iter().filter(|field| field.required) {
        let missing = if field.merge == MergeRule::Text {
            fold.note_object.is_none()
        } else {
            written(field.name).is_none()
        };
        if missing {
            return Err(Refusal::field(field.name, FieldError::Missing));
        }
    }
    if written(key::KIND) != Some(&StoredScalar::Str(context.kind.as_str().to_owned())) {
        return Err(Refusal::KindMismatch);
    }
    if written(key::STREET) != Some(&StoredScalar::Str(context.street.as_str().to_owned())) {
        return Err(Refusal::WrongStreet);
    }
    Ok(Accepted {
        deps: Vec::new(),
        registers: fold.registers,
        note_object: fold.note_object,
    })
}

/// Checks a change of a record that exists.
fn extend(
    state: &RegisterState,
    document: Option<&NoteDocument>,
    change: &Change,
    context: &Context<'_>,
) -> Result<Accepted, Refusal> {
    if change.deps.is_empty() {
        return Err(Refusal::RecordExists);
    }
    let known_actor = state.index.actors.get(&change.actor).copied();
    if state.history.len() >= limits::RECORD_CHANGES_MAX
        || state.bytes + change.bytes.len() as u64 > limits::RECORD_BYTES_MAX
        || (known_actor.is_none() && state.actors.len() >= limits::RECORD_ACTORS_MAX)
    {
        return Err(Refusal::RecordFull);
    }
    let last = known_actor.and_then(|actor| state.last_of(actor));
    let last_seq = last.map_or(0, |at| state.history[at].seq);
    if change.seq <= last_seq {
        return Err(Refusal::ActorForked);
    }
    if change.seq > last_seq + 1 {
        return Err(Refusal::SequenceGap);
    }
    let deps = change
        .deps
        .iter()
        .map(|hash| state.index_of(*hash).ok_or(Refusal::DependencyMissing))
        .collect::<Result<Vec<_>, _>>()?;
    let left_standing = state
        .heads
        .iter()
        .filter(|head| !deps.contains(head))
        .count();
    if left_standing >= limits::RECORD_HEADS_MAX {
        return Err(Refusal::TooManyHeads);
    }
    let seen = Seen::of(state, &deps);
    if last.is_some_and(|at| !seen.contains(at)) {
        return Err(Refusal::ActorForked);
    }
    let max_op = state
        .history
        .iter()
        .enumerate()
        .filter(|(at, _)| seen.contains(*at))
        .map(|(_, entry)| entry.start_op + entry.ops - 1);
    if change.start_op != max_op.max().unwrap_or(0) + 1 {
        return Err(Refusal::BadStartOp);
    }
    if change.edits_text() && document.is_none() {
        return Err(Refusal::DocumentUnavailable);
    }
    let fold = Fold::new(Some(state), seen, change, context)
        .run(document.map(|document| &document.elements))?;
    Ok(Accepted {
        deps,
        registers: fold.registers,
        note_object: None,
    })
}

/// The operations of one change, applied one after another to copies of the registers they touch.
struct Fold<'f> {
    state: Option<&'f RegisterState>,
    seen: Seen,
    change: &'f Change,
    context: &'f Context<'f>,
    /// Index that the author has, or will have, in the actor table.
    author: u32,
    registers: BTreeMap<String, Register>,
    note_object: Option<u32>,
    new_elements: BTreeSet<u32>,
}

impl<'f> Fold<'f> {
    fn new(
        state: Option<&'f RegisterState>,
        seen: Seen,
        change: &'f Change,
        context: &'f Context<'f>,
    ) -> Self {
        let author = state.map_or(0, |state| {
            state
                .index
                .actors
                .get(&change.actor)
                .copied()
                .unwrap_or(state.actors.len() as u32)
        });
        Self {
            state,
            seen,
            change,
            context,
            author,
            registers: BTreeMap::new(),
            note_object: None,
            new_elements: BTreeSet::new(),
        }
    }

    /// `elements`: every element of the note so far, where the change edits it.
    fn run(mut self, elements: Option<&BTreeSet<OpId>>) -> Result<Self, Refusal> {
        let creating = self.state.is_none();
        for (index, op) in self.change.ops.iter().enumerate() {
            let id = OpRef {
                counter: self.change.start_op + index as u32,
                actor: self.author,
            };
            match &op.action {
                Action::Put { key, value } => self.write(key, Some(value), &op.pred, id)?,
                Action::Delete { key } => self.write(key, None, &op.pred, id)?,
                Action::MakeText { key } => {
                    if !creating || key != NOTE || !op.pred.is_empty() {
                        return Err(Refusal::Gate(GateError::NestedObject { key: key.clone() }));
                    }
                    authority::check_note(self.context.kind, self.context.writer, creating)
                        .map_err(|error| Refusal::field(NOTE, error))?;
                    self.note_object = Some(id.counter);
                }
                Action::Insert {
                    object,
                    after,
                    text,
                } => {
                    self.check_note_edit(*object, *after, id.counter, elements)?;
                    // A line break is the one control character that a note may hold; others harm exports, terminals and SQL text.
                    if text.chars().any(|c| c.is_control() && c != '\n') {
                        return Err(Refusal::field(NOTE, FieldError::ControlCharacter));
                    }
                    self.new_elements.insert(id.counter);
                }
                Action::Remove { object, element } => {
                    self.check_note_edit(*object, Some(*element), id.counter, elements)?;
                }
            }
        }
        self.check_note_length()?;
        self.check_record()?;
        let stored = self.state.map(|state| &state.registers);
        let new = self
            .registers
            .keys()
            .filter(|key| stored.is_none_or(|stored| !stored.contains_key(*key)))
            .count();
        if stored.map_or(0, BTreeMap::len) + new > limits::RECORD_KEYS_MAX {
            return Err(Refusal::RecordFull);
        }
        Ok(self)
    }

    fn register(&mut self, key: &str) -> &mut Register {
        let state = self.state;
        self.registers.entry(key.to_owned()).or_insert_with(|| {
            state
                .and_then(|state| state.registers.get(key))
                .cloned()
                .unwrap_or_default()
        })
    }

    fn write(
        &mut self,
        key: &str,
        value: Option<&Scalar>,
        pred: &[OpId],
        id: OpRef,
    ) -> Result<(), Refusal> {
        let creating = self.state.is_none();
        let field =
            authority::check_write(self.context.kind, self.context.writer, creating, key, value)
                .map_err(|error| Refusal::field(key, error))?;
        if self
            .state
            .is_some_and(|state| state.is_redacted(key, value))
        {
            return Err(Refusal::Redacted {
                key: key.to_owned(),
            });
        }
        let bad_predecessor = || Refusal::BadPredecessor {
            key: key.to_owned(),
        };
        let replaced = pred
            .iter()
            .map(|op| self.find(*op).ok_or_else(bad_predecessor))
            .collect::<Result<Vec<_>, _>>()?;
        let register = self.register(key);
        let once = matches!(field.merge, MergeRule::WriteOnce | MergeRule::Log);
        if once
            && !(pred.is_empty() && register.visible.is_empty() && register.overwritten.is_empty())
        {
            return Err(Refusal::field(key, FieldError::WriteOnce));
        }
        for op in replaced {
            if let Some(at) = register.visible.iter().position(|visible| visible.op == op) {
                register.visible.swap_remove(at);
                if let Err(at) = register.overwritten.binary_search(&op) {
                    register.overwritten.insert(at, op);
                }
            } else if register.overwritten.binary_search(&op).is_err() {
                return Err(bad_predecessor());
            }
        }
        match value {
            Some(value) => register.visible.push(Visible {
                op: id,
                value: value.into(),
            }),
            // Automerge settles equal concurrent values by deleting all but one: that a required field may suffer.
            None if field.required && register.visible.is_empty() => {
                return Err(Refusal::field(key, FieldError::WriteOnce));
            }
            None => {}
        }
        if register.visible.len() > limits::REGISTER_VALUES_MAX
            || register.overwritten.len() > limits::REGISTER_OVERWRITTEN_MAX
        {
            return Err(Refusal::RecordFull);
        }
        Ok(())
    }

    /// An operation that this change has seen, or made itself; which key it is on is the register's to say.
    fn find(&self, op: OpId) -> Option<OpRef> {
        if op.actor == self.change.actor && op.counter >= self.change.start_op {
            return Some(OpRef {
                counter: op.counter,
                actor: self.author,
            });
        }
        let state = self.state?;
        let found = state.find(op)?;
        state
            .change_of(found)
            .filter(|at| self.seen.contains(*at))
            .map(|_| found)
    }

    fn check_note_edit(
        &self,
        object: OpId,
        element: Option<OpId>,
        counter: u32,
        elements: Option<&BTreeSet<OpId>>,
    ) -> Result<(), Refusal> {
        let creating = self.state.is_none();
        authority::check_note(self.context.kind, self.context.writer, creating)
            .map_err(|error| Refusal::field(NOTE, error))?;
        let own = |op: OpId| {
            op.actor == self.change.actor
                && op.counter >= self.change.start_op
                && op.counter < counter
        };
        let bad_predecessor = || Refusal::BadPredecessor {
            key: NOTE.to_owned(),
        };
        let is_note = match self.state {
            None => own(object) && self.note_object == Some(object.counter),
            Some(state) => state.op_id(state.note_object) == object,
        };
        if !is_note {
            return Err(Refusal::Gate(GateError::NestedObject {
                key: NOTE.to_owned(),
            }));
        }
        match (element, elements) {
            (None, _) => Ok(()),
            (Some(element), _) if own(element) => self
                .new_elements
                .contains(&element.counter)
                .then_some(())
                .ok_or_else(bad_predecessor),
            (Some(_), None) => Err(if creating {
                bad_predecessor()
            } else {
                Refusal::DocumentUnavailable
            }),
            (Some(element), Some(elements)) => {
                let known = elements.contains(&element) && self.find(element).is_some();
                known.then_some(()).ok_or_else(bad_predecessor)
            }
        }
    }

    /// One edit may not leave the note longer than allowed; concurrent edits together may, and then only shorter ones are accepted.
    fn check_note_length(&self) -> Result<(), Refusal> {
        let (mut inserted, mut removed) = (0, 0);
        for op in &self.change.ops {
            match &op.action {
                Action::Insert { text, .. } => inserted += text.chars().count(),
                Action::Remove { .. } => removed += 1,
                Action::Put { .. } | Action::Delete { .. } | Action::MakeText { .. } => {}
            }
        }
        let before = self.state.map_or(0, |state| state.note.chars().count());
        if inserted > removed
            && (before + inserted).saturating_sub(removed) > limits::NOTE_CHARS_MAX
        {
            return Err(Refusal::field(
                NOTE,
                FieldError::TooLong(limits::NOTE_CHARS_MAX),
            ));
        }
        Ok(())
    }

    /// What the kind asks of a change as a whole.
    fn check_record(&self) -> Result<(), Refusal> {
        let stored = self.state.map(|state| &state.registers);
        let puts: Vec<_> = self
            .change
            .ops
            .iter()
            .filter_map(|op| match &op.action {
                Action::Put { key, value } => Some((key.as_str(), value)),
                _ => None,
            })
            .collect();
        let text = |key: &str| {
            let register = self.registers.get(key).or_else(|| stored?.get(key))?;
            register
                .visible
                .iter()
                .find_map(|visible| match &visible.value {
                    StoredScalar::Str(text) => Some(text.clone()),
                    StoredScalar::Bool(_) | StoredScalar::Int(_) => None,
                })
        };
        let entries = |list: &str| {
            let keys = self
                .registers
                .keys()
                .chain(stored.into_iter().flat_map(BTreeMap::keys));
            let entries: BTreeSet<EntryId> = keys
                .filter_map(|key| match Key::parse(key)? {
                    Key::Entry {
                        list: of, entry, ..
                    } if of == list => Some(entry),
                    _ => None,
                })
                .collect();
            entries.into_iter().collect()
        };
        let creator = self.state.and_then(|state| {
            let first = state.history.first()?;
            Some(state.actors.get(first.actor as usize)?.device())
        });
        let writing = Writing {
            writer: self.context.writer,
            device: self.change.actor.device(),
            creator,
            received_at: Some(self.context.received_at),
            puts: &puts,
            text: &text,
            entries: &entries,
        };
        let checked = (self.context.kind.description().check)(&writing);
        checked.map_err(|Broken { key, error }| Refusal::field(key, error))
    }
}

#[cfg(test)]
mod tests;
