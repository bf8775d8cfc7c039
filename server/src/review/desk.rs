//! What a reviewer does at a desk: edits, choices between concurrent values one by one or by class, and their undoing.
//!
//! In: a request of a [`Principal`] that the access table let in. Out: changes by the desk's actor, written through [`StreetTransaction`] under the
//! rules that hold for everybody. Invariants:
//! - a choice replaces the values that were looked at and no other: what arrived meanwhile stays in conflict;
//! - an undo takes nothing away: it puts values beside what stands there;
//! - each act is one transaction with one event of the audit trail.

use std::collections::{BTreeMap, BTreeSet};

use lianka_sync_core::{
    access::FieldError,
    codec::change::{OpId, Scalar},
    crdt::{
        conflict::{self, HarmlessClass},
        merge::{Refusal, RegisterState, Replaces, Write},
        record::{Edit, NOTE},
    },
    id::{Actor, ChangeHash, RecordId, StreetCode},
    kinds::Kind,
    values::text::nfc,
};
use uuid::Uuid;

use lianka_office_core::{follow::op_text, ids::derived, store::Wants, street::Signer};

use crate::{
    audit::{Action, Event},
    auth::Principal,
    http::error::{ApiError, ErrorCode},
    pipeline_point::{PipelinePoint, reached},
    review::store::{
        self as conflicts, ConflictFilter, NoticeDetail, NoticeWrite, ReplacedValue, Resolution,
        ResolutionFilter,
    },
    state::App,
    street::transaction::StreetTransaction,
};

/// A notice that a choice was undone: all values stand side by side again.
const RESOLUTION_UNDONE: &str = "resolution_undone";

/// Most conflicts settled, or undone, by one request: so many are written within a second.
pub const BULK_MAX: usize = 500;

/// Who sits at the desk.
#[derive(Clone, Copy)]
pub struct Desk<'d> {
    pub app: &'d App,
    pub street: &'d StreetCode,
    pub principal: &'d Principal,
}

/// An edit to make.
#[derive(Debug)]
pub struct EditWanted {
    /// By key: a value, or `None` to clear.
    pub set: BTreeMap<String, Option<Scalar>>,
    /// A remark for the history.
    pub note: String,
    /// The heads that the record must still have.
    pub expected_heads: Option<Vec<ChangeHash>>,
}

/// What an edit came to.
#[derive(Debug)]
pub struct Written {
    pub record: RecordId,
    /// `None` where the record said so already.
    pub change: Option<(ChangeHash, i64)>,
    pub heads: Vec<ChangeHash>,
    /// The keys whose conflict it settled.
    pub settled: Vec<String>,
}

/// A choice to make.
#[derive(Debug)]
pub struct ChoiceWanted {
    pub field: String,
    /// `None` clears the field.
    pub value: Option<Scalar>,
    pub note: String,
    /// The values looked at, by operation; `None`: whatever stands there.
    pub seen: Option<Vec<OpId>>,
}

/// What a choice came to.
#[derive(Debug)]
pub struct Chosen {
    pub resolution: Uuid,
    pub change: ChangeHash,
    pub seq: i64,
    pub heads: Vec<ChangeHash>,
    /// Values that stand beside the chosen one: they had not been looked at.
    pub remaining: Vec<(OpId, Scalar)>,
}

/// Settle every harmless conflict of a class.
#[derive(Debug)]
pub struct BulkWanted {
    pub class: HarmlessClass,
    pub field: Option<String>,
    pub grid: Option<String>,
    pub note: String,
    pub dry_run: bool,
}

/// One conflict of a bulk.
#[derive(Debug)]
pub struct BulkItem {
    pub record: RecordId,
    pub kind: Kind,
    pub field: String,
    pub values: Vec<Scalar>,
    pub chosen: Scalar,
    /// `None` in a dry run, and where it was refused.
    pub resolution: Option<Uuid>,
    pub refused: Option<&'static str>,
}

/// What a bulk came to.
#[derive(Debug)]
pub struct BulkDone {
    pub bulk: Option<Uuid>,
    pub items: Vec<BulkItem>,
    /// There are more of them: ask again.
    pub more: bool,
}

/// One resolution of an undo.
#[derive(Debug)]
pub struct UndoItem {
    pub resolution: Uuid,
    pub record: RecordId,
    pub field: String,
    /// Why it was not undone.
    pub refused: Option<&'static str>,
}

impl Desk<'_> {
    fn signer(&self) -> Signer {
        Signer::desk(self.principal.device(), self.principal.role())
    }

    fn event(&self, action: Action) -> Event {
        Event::by(self.principal.username(), self.principal.device(), action)
    }

    async fn begin(&self) -> Result<StreetTransaction, ApiError> {
        Ok(StreetTransaction::begin(&self.app.pool, self.street, self.app.clock.now()).await?)
    }

    /// Begins a write that concerns one record, which must exist.
    async fn begin_on(&self, record: RecordId) -> Result<StreetTransaction, ApiError> {
        let mut write = self.begin().await?;
        write.load([record]).await?;
        if !write.is_readable(record) {
            return Err(ApiError::new(ErrorCode::Unavailable));
        }
        state_of(&write, record)?;
        Ok(write)
    }

    /// Edits a record.
    pub async fn edit(&self, record: RecordId, wanted: EditWanted) -> Result<Written, ApiError> {
        let mut write = self.begin_on(record).await?;
        let heads = state_of(&write, record)?.heads();
        if let Some(mut expected) = wanted.expected_heads {
            expected.sort_unstable();
            expected.dedup();
            if expected != heads {
                return Err(ApiError::stale_heads(heads));
            }
        }
        let kind = state_of(&write, record)?.kind();
        known(kind, wanted.set.keys())?;
        let fields = patterns(kind, wanted.set.keys());
        let change = if wanted.set.contains_key(NOTE) {
            let wants = Wants {
                documents: [record].into(),
                ..Wants::default()
            };
            write.know(wants).await?;
            write.compose_note(record, self.signer(), &edits(wanted.set)?, &wanted.note)?
        } else {
            let writes: Vec<_> = wanted
                .set
                .into_iter()
                .map(|(key, value)| Write::new(key, value.map(stored)))
                .collect();
            write.compose(record, self.signer(), &writes, &wanted.note)?
        };
        self.written(write, record, change, &fields).await
    }

    /// Creates a record of the street. Under an id of the caller's making it is created once, however often it is asked for.
    pub async fn create(
        &self,
        kind: Kind,
        set: BTreeMap<String, Option<Scalar>>,
        wanted: Option<RecordId>,
    ) -> Result<Written, ApiError> {
        // The path says where, and `kind` what: nothing is to be read two ways.
        if let Some(key) = ["kind", "street"]
            .into_iter()
            .find(|key| set.contains_key(*key))
        {
            return Err(
                ApiError::invalid_field(format!("set.{key}"), "reserved").detail(
                    "街道和类型不由字段指定。",
                    "Street and kind are not given as fields.",
                ),
            );
        }
        known(kind, set.keys())?;
        let now = self.app.clock.now();
        let record = wanted.unwrap_or_else(|| {
            RecordId::new_v7(now.unix_ms().unsigned_abs(), self.app.entropy.bytes())
        });
        let mut write = self.begin().await?;
        write.load([record]).await?;
        if !write.is_readable(record) {
            return Err(ApiError::new(ErrorCode::Unavailable));
        }
        if let Some(state) = write.state(record) {
            if !self.created_so(state, kind, &set) {
                return Err(ApiError::new(ErrorCode::AlreadyExists));
            }
            return Ok(Written {
                record,
                change: None,
                heads: state.heads(),
                settled: Vec::new(),
            });
        }
        let fields = patterns(kind, set.keys());
        let fixed = [("kind", kind.as_str()), ("street", self.street.as_str())]
            .map(|(key, value)| (key.to_owned(), Some(value.into())));
        // What nothing says has nothing to clear.
        let set = set
            .into_iter()
            .filter(|(_, value)| value.is_some())
            .chain(fixed)
            .collect();
        let change = write.create(record, kind, self.signer(), &edits(set)?)?;
        self.written(write, record, Some(change), &fields).await
    }

    /// Whether this desk created the record with these values. What was written since tells nothing of what was asked for then.
    fn created_so(
        &self,
        state: &RegisterState,
        kind: Kind,
        set: &BTreeMap<String, Option<Scalar>>,
    ) -> bool {
        let view = state.view();
        let provenance = |op: OpId| state.provenance(op);
        let Some(first) = view
            .values
            .get("kind")
            .and_then(|values| provenance(values.last()?.op))
        else {
            return false;
        };
        let from_then = |key: &String, value: &&lianka_sync_core::crdt::view::Value| {
            !["kind", "street"].contains(&key.as_str())
                && provenance(value.op).is_some_and(|from| from.hash == first.hash)
        };
        let stands = |key: &String, value: &Scalar| {
            set.get(key)
                .cloned()
                .flatten()
                .is_some_and(|asked| stored(asked) == *value)
        };
        // Where nothing else was written, all that was asked for stands there.
        let all_there = state.heads() != [first.hash]
            || set.iter().all(|(key, value)| {
                value.is_none() || key == NOTE || view.values.contains_key(key)
            });
        state.kind() == kind
            && all_there
            && first.device == self.principal.device()
            && view.values.iter().all(|(key, values)| {
                values
                    .iter()
                    .filter(|value| from_then(key, value))
                    .all(|value| stands(key, &value.value))
            })
    }

    async fn written(
        &self,
        mut write: StreetTransaction,
        record: RecordId,
        change: Option<(ChangeHash, i64)>,
        fields: &[String],
    ) -> Result<Written, ApiError> {
        let heads = state_of(&write, record)?.heads();
        let settled = write
            .settled()
            .iter()
            .map(|settled| settled.settlement.key.clone())
            .collect();
        if change.is_some() {
            write.audit(
                self.event(Action::DeskEdit)
                    .on(record)
                    .with("fields", fields.to_vec()),
            );
            reached(PipelinePoint::DeskComposed);
            write.commit().await?;
            reached(PipelinePoint::DeskCommitted);
        }
        Ok(Written {
            record,
            change,
            heads,
            settled,
        })
    }

    /// Chooses between the values of a field that were looked at.
    pub async fn choose(&self, record: RecordId, wanted: ChoiceWanted) -> Result<Chosen, ApiError> {
        let mut write = self.begin_on(record).await?;
        let key = wanted.field;
        let state = state_of(&write, record)?;
        let field = state.kind().field(&key).map(|(field, _)| field);
        let field = field.ok_or_else(|| ApiError::invalid_field("field", "unknown_field"))?;
        let was_seen = |op: &OpId| wanted.seen.as_ref().is_none_or(|seen| seen.contains(op));
        let looked_at: Vec<_> = state
            .visible(&key)
            .into_iter()
            .filter(|(op, _)| was_seen(op))
            .collect();
        if !field.keeps_conflicts() || looked_at.iter().all(|(_, value)| *value == looked_at[0].1) {
            return Err(ApiError::new(ErrorCode::ConflictChanged));
        }
        let replaces = Replaces::Only(looked_at.iter().map(|(op, _)| *op).collect());
        let choice = Write {
            key: key.clone(),
            value: wanted.value.map(stored),
            replaces,
        };
        let (change, seq) = write
            .compose(record, self.signer(), &[choice], &wanted.note)?
            .ok_or_else(|| ApiError::new(ErrorCode::ConflictChanged))?;
        let state = state_of(&write, record)?;
        let heads = state.heads();
        let own = self.principal.device();
        let written_by = |op: &OpId| {
            state
                .provenance(*op)
                .is_some_and(|from| from.device == own && from.hash == change)
        };
        let remaining = state
            .visible(&key)
            .into_iter()
            .filter(|(op, _)| !written_by(op))
            .collect();
        write.audit(
            self.event(Action::Resolution)
                .on(record)
                .with("fields", vec![field.pattern()]),
        );
        let resolution = derived(write.now(), &[&change.0, key.as_bytes()]);
        write.commit().await?;
        Ok(Chosen {
            resolution,
            change,
            seq,
            heads,
            remaining,
        })
    }

    /// Settles every harmless conflict of a class, or tells which ones that would be.
    pub async fn choose_in_bulk(&self, wanted: BulkWanted) -> Result<BulkDone, ApiError> {
        let mut write = self.begin().await?;
        let filter = ConflictFilter {
            grid: wanted.grid,
            field: wanted.field,
            class: Some(wanted.class.as_str()),
            record: None,
        };
        let mut found =
            conflicts::harmless(write.tx(), self.street, &filter, BULK_MAX as i64 + 1).await?;
        let more = found.len() > BULK_MAX;
        found.truncate(BULK_MAX);
        write.load(found.iter().map(|(record, _)| *record)).await?;
        let bulk = RecordId::new_v7(
            write.now().unix_ms().unsigned_abs(),
            self.app.entropy.bytes(),
        )
        .0;
        write.settle_in_bulk(bulk);
        let mut items = Vec::new();
        for of_record in found.chunk_by(|a, b| a.0 == b.0) {
            items.extend(self.choose_harmless(
                &mut write,
                of_record,
                &wanted.note,
                wanted.class,
                wanted.dry_run,
            ));
        }
        let settled = items
            .iter()
            .filter(|item| item.resolution.is_some())
            .count();
        if settled == 0 {
            return Ok(BulkDone {
                bulk: None,
                items,
                more,
            });
        }
        let event = self
            .event(Action::Resolution)
            .with("bulk", bulk.to_string())
            .with("class", wanted.class.as_str());
        write.audit(event.with("settled", settled));
        write.commit().await?;
        Ok(BulkDone {
            bulk: Some(bulk),
            items,
            more,
        })
    }

    /// The harmless conflicts of one record, settled by one change.
    fn choose_harmless(
        &self,
        write: &mut StreetTransaction,
        keys: &[(RecordId, String)],
        note: &str,
        class: HarmlessClass,
        dry_run: bool,
    ) -> Vec<BulkItem> {
        let Some(record) = keys.first().map(|(record, _)| *record) else {
            return Vec::new();
        };
        let Some(state) = write.state(record) else {
            return Vec::new();
        };
        let kind = state.kind();
        let mut writes = Vec::new();
        let mut items = Vec::new();
        for (_, key) in keys {
            let visible = state.visible(key);
            let values: Vec<_> = visible.iter().map(|(_, value)| value).collect();
            // Judged by what stands there under the lock, not by what the read model said.
            let harmless = kind
                .field(key)
                .and_then(|(field, _)| conflict::harmless(field, &values));
            let Some(harmless) = harmless.filter(|harmless| harmless.class == class) else {
                continue;
            };
            let chosen = harmless.suggestion;
            writes.push(Write {
                key: key.clone(),
                value: Some(chosen.clone()),
                replaces: Replaces::Visible,
            });
            let values = values.into_iter().cloned().collect();
            items.push(BulkItem {
                record,
                kind,
                field: key.clone(),
                values,
                chosen,
                resolution: None,
                refused: None,
            });
        }
        if dry_run || writes.is_empty() {
            return items;
        }
        match write.compose(record, self.signer(), &writes, note) {
            Ok(Some((hash, _))) => {
                for item in &mut items {
                    item.resolution = Some(derived(write.now(), &[&hash.0, item.field.as_bytes()]));
                }
            }
            Ok(None) => {}
            Err(refusal) => items
                .iter_mut()
                .for_each(|item| item.refused = Some(refusal.code())),
        }
        items
    }

    /// Undoes one resolution.
    pub async fn undo(&self, resolution: Uuid, force: bool) -> Result<UndoItem, ApiError> {
        let filter = ResolutionFilter {
            resolution: Some(resolution),
            ..ResolutionFilter::default()
        };
        match &self.undo_all(&filter, force).await?[..] {
            [] => Err(ApiError::new(ErrorCode::NotFound)),
            [(_, Some(refused)), ..] => Err(refused.to_error()),
            [(row, None), ..] => Ok(UndoItem {
                resolution: row.resolution,
                record: row.record,
                field: row.field.clone(),
                refused: None,
            }),
        }
    }

    /// Undoes a bulk, as far as nothing was edited since.
    pub async fn undo_bulk(&self, bulk: Uuid, force: bool) -> Result<Vec<UndoItem>, ApiError> {
        let filter = ResolutionFilter {
            bulk: Some(bulk),
            ..ResolutionFilter::default()
        };
        let undone = self.undo_all(&filter, force).await?;
        if undone.is_empty() {
            return Err(ApiError::new(ErrorCode::NotFound));
        }
        let item = |(row, refused): (Resolution, Option<NotUndone>)| UndoItem {
            resolution: row.resolution,
            record: row.record,
            field: row.field,
            refused: refused.map(|refused| refused.code()),
        };
        Ok(undone.into_iter().map(item).collect())
    }

    async fn undo_all(
        &self,
        filter: &ResolutionFilter<'_>,
        force: bool,
    ) -> Result<Vec<(Resolution, Option<NotUndone>)>, ApiError> {
        let mut write = self.begin().await?;
        // A bulk settles no more than that at once.
        let (rows, _) =
            conflicts::resolutions(write.tx(), self.street, filter, BULK_MAX as i64, 0).await?;
        write.load(rows.iter().map(|row| row.record)).await?;
        let mut done = Vec::new();
        let mut undone = 0;
        for row in rows {
            let refused = match self.put_back(&mut write, &row, force) {
                Ok(PutBack { replaced, last }) => {
                    undone += 1;
                    let now = write.now();
                    conflicts::mark_undone(
                        write.tx(),
                        self.street,
                        row.resolution,
                        now,
                        self.principal.username(),
                        &replaced,
                    )
                    .await?;
                    if let Some((hash, seq)) = last {
                        let notices = self.notices(&row, hash, seq, now);
                        conflicts::insert_notices(write.tx(), self.street, now, &notices).await?;
                    }
                    None
                }
                Err(refused) => Some(refused),
            };
            done.push((row, refused));
        }
        if undone > 0 {
            let event = self.event(Action::ResolutionUndone).with("undone", undone);
            let event = match (&done[..], filter.bulk) {
                (_, Some(bulk)) => event.with("bulk", bulk.to_string()),
                ([(row, _)], None) => event
                    .on(row.record)
                    .with("resolution", row.resolution.to_string()),
                _ => event,
            };
            write.audit(event);
            write.commit().await?;
        }
        Ok(done)
    }

    /// Puts the values that a resolution replaced back, each beside the others.
    fn put_back(
        &self,
        write: &mut StreetTransaction,
        row: &Resolution,
        force: bool,
    ) -> Result<PutBack, NotUndone> {
        if row.undone_at.is_some() {
            return Err(NotUndone::Before);
        }
        let Some(state) = write.state(row.record) else {
            return Err(NotUndone::Gone);
        };
        let mut standing = standing(state, row);
        if standing.edited_since && !force {
            return Err(NotUndone::EditedSince);
        }
        let values: Vec<Scalar> = row
            .replaced
            .iter()
            .map(|value| value.value.clone())
            .collect();
        let mut last = None;
        let mut back: BTreeMap<Scalar, OpId> = BTreeMap::new();
        // The chosen value stays where it is, if it was one of them.
        if let Some((op, value)) = standing.choice.take_if(|(_, value)| values.contains(value)) {
            back.insert(value, op);
        }
        for value in values {
            if back.contains_key(&value) {
                continue;
            }
            // A third value, chosen instead of all, makes room for the first of them.
            let replaces = standing
                .choice
                .take()
                .map_or(Replaces::Nothing, |(op, _)| Replaces::Only(vec![op]));
            let one = Write {
                key: row.field.clone(),
                value: Some(value.clone()),
                replaces,
            };
            last = write
                .compose(row.record, self.signer(), &[one], "")
                .map_err(NotUndone::Refused)?
                .or(last);
            let Some(state) = write.state(row.record) else {
                return Err(NotUndone::Gone);
            };
            let Some((op, _)) = state
                .visible(&row.field)
                .into_iter()
                .rev()
                .find(|(_, held)| *held == value)
            else {
                continue;
            };
            back.insert(value, op);
        }
        let restored = |value: &ReplacedValue| ReplacedValue {
            restored_as: back.get(&value.value).copied().map(op_text),
            ..value.clone()
        };
        Ok(PutBack {
            replaced: row.replaced.iter().map(restored).collect(),
            last,
        })
    }

    /// Who was told of the choice is told that it holds no more.
    fn notices(
        &self,
        row: &Resolution,
        hash: ChangeHash,
        seq: i64,
        now: lianka_sync_core::time::ServerTime,
    ) -> Vec<NoticeWrite> {
        let of = |chosen: bool| {
            let values = row
                .replaced
                .iter()
                .filter(move |value| (Some(&value.value) == row.chosen.as_ref()) == chosen);
            values
                .filter_map(|value| value.username.as_deref())
                .collect::<BTreeSet<_>>()
        };
        let told = |username: &&str| {
            Some(*username) != row.username.as_deref() && *username != self.principal.username()
        };
        let by = Some(self.principal.role().as_str().to_owned());
        of(false)
            .difference(&of(true))
            .copied()
            .filter(told)
            .map(|username| NoticeWrite {
                notice: derived(
                    now,
                    &[b"undo", row.resolution.as_bytes(), username.as_bytes()],
                ),
                seq,
                username: username.to_owned(),
                kind: RESOLUTION_UNDONE,
                record: row.record,
                field: Some(row.field.clone()),
                detail: NoticeDetail {
                    hash: Some(hash),
                    by: by.clone(),
                    note: None,
                },
            })
            .collect()
    }
}

struct PutBack {
    /// With the operations that put them back.
    replaced: Vec<ReplacedValue>,
    last: Option<(ChangeHash, i64)>,
}

/// Why a resolution was not undone.
#[derive(Debug)]
enum NotUndone {
    Before,
    EditedSince,
    /// The record is not there any more.
    Gone,
    Refused(Refusal),
}

impl NotUndone {
    fn code(&self) -> &'static str {
        match self {
            Self::Before => ErrorCode::AlreadyUndone.as_str(),
            Self::EditedSince => ErrorCode::EditedSince.as_str(),
            Self::Gone => ErrorCode::NotFound.as_str(),
            Self::Refused(refusal) => refusal.code(),
        }
    }

    fn to_error(&self) -> ApiError {
        match self {
            Self::Before => ApiError::new(ErrorCode::AlreadyUndone),
            Self::EditedSince => ApiError::new(ErrorCode::EditedSince),
            Self::Gone => ApiError::new(ErrorCode::NotFound),
            Self::Refused(refusal) => ApiError::refused(refusal),
        }
    }
}

/// What stands in a field after it was settled.
struct Standing {
    /// The chosen value, where it is still there.
    choice: Option<(OpId, Scalar)>,
    edited_since: bool,
}

fn standing(state: &RegisterState, row: &Resolution) -> Standing {
    let visible = state.visible(&row.field);
    // A rebuilt record counts its operations anew; then only value and time tell.
    let settled_by = parse_op(&row.op).filter(|_| row.generation as u32 == state.generation());
    let same = |op: OpId, value: &Scalar| {
        settled_by.map_or(Some(value) == row.chosen.as_ref(), |settled_by| {
            settled_by == op
        })
    };
    let choice = visible.iter().find(|(op, value)| same(*op, value)).cloned();
    // A value that had not been looked at stands there from before, and is no edit since.
    let later = |op: OpId| {
        settled_by.is_some_and(|settled_by| op.counter > settled_by.counter)
            || state
                .provenance(op)
                .is_none_or(|from| from.received_at > row.at)
    };
    let chosen = choice.as_ref().map(|(op, _)| *op);
    let edited_since = row.chosen.is_some() != choice.is_some()
        || visible
            .iter()
            .any(|(op, _)| Some(*op) != chosen && later(*op));
    Standing {
        choice,
        edited_since,
    }
}

fn state_of(write: &StreetTransaction, record: RecordId) -> Result<&RegisterState, ApiError> {
    write
        .state(record)
        .ok_or_else(|| ApiError::new(ErrorCode::NotFound))
}

/// A value as it is stored.
fn stored(value: Scalar) -> Scalar {
    match value {
        Scalar::Str(text) => Scalar::Str(nfc(&text).into_owned()),
        other => other,
    }
}

/// What is to be written, the note among it.
fn edits(set: BTreeMap<String, Option<Scalar>>) -> Result<Vec<Edit>, ApiError> {
    let edit = |(key, value): (String, Option<Scalar>)| match value.map(stored) {
        Some(Scalar::Str(text)) if key == NOTE => Ok(Edit::Note { text }),
        None if key == NOTE => Ok(Edit::Note {
            text: String::new(),
        }),
        Some(_) if key == NOTE => Err(ApiError::invalid_field(NOTE, "wrong_type")),
        Some(value) => Ok(Edit::Put { key, value }),
        None => Ok(Edit::Delete { key }),
    };
    set.into_iter().map(edit).collect()
}

/// Every key must be one of the kind's: the store of documents has words of its own for what no record has.
fn known<'k>(kind: Kind, mut keys: impl Iterator<Item = &'k String>) -> Result<(), ApiError> {
    match keys.find(|key| kind.field(key).is_none()) {
        Some(key) => Err(ApiError::refused(&Refusal::Field {
            key: key.clone(),
            error: FieldError::Unknown,
        })),
        None => Ok(()),
    }
}

/// The fields of keys, as the documentation writes them: a key may hold what people typed, its pattern does not.
fn patterns<'k>(kind: Kind, keys: impl Iterator<Item = &'k String>) -> Vec<String> {
    let patterns: BTreeSet<_> = keys
        .filter_map(|key| kind.field(key))
        .map(|(field, _)| field.pattern())
        .collect();
    patterns.into_iter().collect()
}

/// An operation as the store and the inbox name it, `counter@actor`.
pub fn parse_op(text: &str) -> Option<OpId> {
    let (counter, actor) = text.split_once('@')?;
    Some(OpId {
        counter: counter.parse().ok()?,
        actor: Actor::from_slice(&hex::decode(actor).ok()?)?,
    })
}
