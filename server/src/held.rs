//! Held changes, decided: edits made before their author could know that a grid was not theirs any more, or that a device was to be wiped.
//!
//! In: a held change, a reviewer's word. Out: the change becomes part of its record as if it had come in time (the author's own bytes, under
//! the author's own actor), or it is refused with a reason, which the phone gets as its final verdict when it sends the change again.
//!
//! Invariants:
//! - what a held change builds on comes first, or with it; a change that a rule refuses stays held and is told;
//! - a change that does not fit any more (its record was rebuilt since, or what it builds on was refused) can still be applied as the desk's own
//!   edit: values that it did not see stay beside its own;
//! - nothing is decided twice.

pub mod routes;

use std::collections::{BTreeMap, BTreeSet, HashMap};

use lianka_office_core::{
    ids::derived,
    push::GRID_LOST,
    store::{HeldStatus, Wants},
    street::{Accepted, Signer},
};
use lianka_sync_core::{
    access::{Role, Writer},
    codec::change::{self, Action as ChangeAction, Change, OpId, Scalar},
    crdt::merge::{Refusal, RegisterState, Replaces, Write},
    id::{ChangeHash, DeviceId, RecordId, StreetCode},
    kinds::Kind,
    time::ServerTime,
};
use sqlx::PgPool;
use uuid::Uuid;

use crate::{
    audit::{Action, Event},
    auth::store::accounts,
    review::store::{self as conflicts, NoticeDetail, NoticeWrite},
    street::{
        merge::MergeError,
        store::held_changes::{self as held, HeldFilter, HeldRow},
        transaction::StreetTransaction,
    },
};

/// A notice that the office accepted a held change.
pub const HELD_ACCEPTED: &str = "held_accepted";
/// A notice that the office refused a held change; the note is the reason.
pub const HELD_REFUSED: &str = "held_refused";

/// Who decides.
#[derive(Clone, Copy, Debug)]
pub struct Reviewer<'r> {
    pub username: &'r str,
    pub device: DeviceId,
    pub role: Role,
}

/// How a held change is accepted.
#[derive(Clone, Copy, Debug, Default)]
pub struct Acceptance<'a> {
    pub note: Option<&'a str>,
    /// What it builds on and is held as well is accepted with it.
    pub with_needed: bool,
    /// As an edit of the desk's own, where it cannot be merged as it is.
    pub as_edit: bool,
}

/// Why a held change was not decided; it stays as it was.
#[derive(Debug, thiserror::Error)]
pub enum HeldError {
    #[error(transparent)]
    Merge(#[from] MergeError),
    #[error("there is no such held change")]
    NotFound,
    #[error("it was decided before")]
    Decided,
    #[error("held changes that it builds on must be accepted first")]
    Needs(Vec<Uuid>),
    #[error("it cannot be merged as it is")]
    Refused(Refusal),
}

impl From<sqlx::Error> for HeldError {
    fn from(error: sqlx::Error) -> Self {
        Self::Merge(error.into())
    }
}

/// A held change and what it says.
pub struct Held {
    pub row: HeldRow,
    /// `None` where the bytes are gone, because it was accepted.
    pub change: Option<Change>,
}

impl Held {
    /// Reads a stored one.
    pub fn read(row: HeldRow) -> Self {
        let change = change::decode(&row.bytes).ok();
        Self { row, change }
    }

    fn is_open(&self) -> bool {
        held::status(&self.row.status) == HeldStatus::Held
    }
}

/// Among `of_record`, the open held changes that `change` builds on, in an order in which they can be merged.
pub fn needed(change: &Change, of_record: &[Held], state: Option<&RegisterState>) -> Vec<Uuid> {
    let open: HashMap<ChangeHash, &Held> = of_record
        .iter()
        .filter(|held| held.is_open())
        .filter_map(|held| Some((held.change.as_ref()?.hash, held)))
        .collect();
    let known = |hash: &ChangeHash| state.is_some_and(|state| state.contains(*hash));
    let mut wanted: BTreeSet<ChangeHash> = BTreeSet::new();
    let mut look_at: Vec<ChangeHash> = change.deps.clone();
    while let Some(hash) = look_at.pop() {
        if let Some(held) = open.get(&hash).filter(|_| !known(&hash))
            && wanted.insert(hash)
        {
            look_at.extend(held.change.iter().flat_map(|change| &change.deps));
        }
    }
    // Whoever builds on another counts on from it.
    let mut needed: Vec<_> = wanted.iter().filter_map(|hash| open.get(hash)).collect();
    needed.sort_by_key(|held| {
        held.change
            .as_ref()
            .map(|change| (change.start_op, change.hash))
    });
    needed.into_iter().map(|held| held.row.held).collect()
}

/// The record's held changes that nobody decided on yet.
async fn of_record(
    write: &mut StreetTransaction,
    street: &StreetCode,
    record: RecordId,
) -> Result<Vec<Held>, HeldError> {
    let rows = held::open_rows(write.tx(), street, &[record.0]).await?;
    Ok(rows.into_iter().map(Held::read).collect())
}

/// The held change, still undecided, with its record loaded.
async fn open(
    write: &mut StreetTransaction,
    street: &StreetCode,
    id: Uuid,
) -> Result<Held, HeldError> {
    let filter = HeldFilter {
        held: Some(id),
        record: None,
        username: None,
        reason: None,
        status: None,
    };
    let (rows, _) = held::page(write.tx(), street, filter, 1, 0).await?;
    let held = rows
        .into_iter()
        .next()
        .map(Held::read)
        .ok_or(HeldError::NotFound)?;
    if !held.is_open() {
        return Err(HeldError::Decided);
    }
    write.load([RecordId(held.row.record)]).await?;
    Ok(held)
}

/// Accepts a held change; everything that was accepted with it, itself last.
pub async fn accept(
    pool: &PgPool,
    street: &StreetCode,
    id: Uuid,
    how: Acceptance<'_>,
    by: Reviewer<'_>,
    now: ServerTime,
) -> Result<Vec<Uuid>, HeldError> {
    let mut write = StreetTransaction::begin(pool, street, now).await?;
    let held = open(&mut write, street, id).await?;
    let record = RecordId(held.row.record);
    let mut accepted: Vec<(Uuid, i64)> = Vec::new();
    let mut told: Vec<(String, ChangeHash)> = Vec::new();
    if how.as_edit {
        let seq = apply_as_edit(&mut write, record, &held, by)?;
        accepted.push((id, seq));
        told.extend(
            held.change
                .as_ref()
                .map(|change| (held.row.username.clone(), change.hash)),
        );
    } else {
        let Some(change) = &held.change else {
            return Err(HeldError::Decided);
        };
        let all = of_record(&mut write, street, record).await?;
        let mut order = needed(change, &all, write.state(record));
        if !order.is_empty() && !how.with_needed {
            return Err(HeldError::Needs(order));
        }
        order.push(id);
        let by_id: HashMap<Uuid, Held> =
            all.into_iter().map(|held| (held.row.held, held)).collect();
        for id in order {
            let Some(held) = by_id.get(&id) else { continue };
            let Some(change) = &held.change else { continue };
            let seq = merge_held(&mut write, record, held, change).await?;
            accepted.push((id, seq));
            told.push((held.row.username.clone(), change.hash));
        }
    }
    held::mark_accepted(
        write.tx(),
        street,
        &accepted,
        Some((by.username, how.note)),
        now,
    )
    .await?;
    let ids: Vec<Uuid> = accepted.iter().map(|(held, _)| *held).collect();
    notify(
        &mut write,
        street,
        record,
        HELD_ACCEPTED,
        &told,
        how.note,
        by,
    )
    .await?;
    let words: Vec<String> = ids.iter().map(Uuid::to_string).collect();
    write.audit(
        Event::by(by.username, by.device, Action::HeldAccepted)
            .on(record)
            .with("held", words)
            .with("as_edit", how.as_edit),
    );
    write.commit().await?;
    Ok(ids)
}

/// Refuses a held change: its author gets the reason, and the edit as a draft.
pub async fn refuse(
    pool: &PgPool,
    street: &StreetCode,
    id: Uuid,
    reason: &str,
    by: Reviewer<'_>,
    now: ServerTime,
) -> Result<(), HeldError> {
    let mut write = StreetTransaction::begin(pool, street, now).await?;
    let held = open(&mut write, street, id).await?;
    let record = RecordId(held.row.record);
    held::mark_refused(write.tx(), street, id, by.username, reason, now).await?;
    let told: Vec<_> = held
        .change
        .iter()
        .map(|change| (held.row.username.clone(), change.hash))
        .collect();
    notify(
        &mut write,
        street,
        record,
        HELD_REFUSED,
        &told,
        Some(reason),
        by,
    )
    .await?;
    write.audit(
        Event::by(by.username, by.device, Action::HeldRefused)
            .on(record)
            .with("held", id.to_string()),
    );
    write.commit().await?;
    Ok(())
}

/// Merges it as if it had come in time: bound by its author's role of then, not by the grid or the role that the author lost.
async fn merge_held(
    write: &mut StreetTransaction,
    record: RecordId,
    held: &Held,
    change: &Change,
) -> Result<i64, HeldError> {
    let kind: Kind = held
        .row
        .kind
        .parse()
        .map_err(|_| HeldError::Refused(Refusal::KindMismatch))?;
    if change.edits_text() {
        let wants = Wants {
            documents: [record].into(),
            ..Wants::default()
        };
        write.know(wants).await?;
    }
    let mut refused = None;
    for role in roles_of(write, &held.row).await? {
        let generation = held.row.generation as u32;
        match write.accept(record, kind, generation, change, Writer::Person(role)) {
            Ok(Accepted::Now(seq)) => return Ok(seq),
            Ok(Accepted::Before) => return Ok(0),
            Err(refusal) => refused = refused.or(Some(refusal)),
        }
    }
    Err(HeldError::Refused(
        refused.unwrap_or(Refusal::DependencyMissing),
    ))
}

/// The roles in which the author may have written it: one that was changed since is as good as a grid that was lost since.
async fn roles_of(write: &mut StreetTransaction, held: &HeldRow) -> Result<Vec<Role>, HeldError> {
    let username = std::slice::from_ref(&held.username);
    let mut known = accounts::roles(write.tx(), username).await?;
    let mut roles = known.remove(&held.username).unwrap_or_default();
    // Only a secretary loses a grid; what changed before the store remembered roles shows in that alone.
    if roles.is_empty() || held.reason == GRID_LOST {
        roles.push(Role::Secretary);
    }
    Ok(roles)
}

/// Writes what it says in the desk's name, beside whatever its author had not seen.
fn apply_as_edit(
    write: &mut StreetTransaction,
    record: RecordId,
    held: &Held,
    by: Reviewer<'_>,
) -> Result<i64, HeldError> {
    let Some(change) = &held.change else {
        return Err(HeldError::Decided);
    };
    let Some(state) = write.state(record) else {
        return Err(HeldError::Refused(Refusal::DependencyMissing));
    };
    let writes = writes_of(change, state);
    let signer = Signer::desk(by.device, by.role);
    match write.compose(record, signer, &writes, "") {
        Ok(Some((_, seq))) => Ok(seq),
        // The record says so already.
        Ok(None) => Ok(0),
        Err(refusal) => Err(HeldError::Refused(refusal)),
    }
}

/// The last write of each key. It replaces what its author had seen, and nothing newer: a rebuild leaves the ids of operations as they are.
fn writes_of(change: &Change, state: &RegisterState) -> Vec<Write> {
    let view = state.view();
    let mut writes: BTreeMap<&str, (Option<Scalar>, BTreeSet<OpId>)> = BTreeMap::new();
    for op in &change.ops {
        let (key, value) = match &op.action {
            ChangeAction::Put { key, value } => (key, Some(value.clone())),
            ChangeAction::Delete { key } => (key, None),
            ChangeAction::MakeText { .. }
            | ChangeAction::Insert { .. }
            | ChangeAction::Remove { .. } => continue,
        };
        let write = writes.entry(key).or_default();
        write.0 = value;
        write.1.extend(&op.pred);
    }
    let visible = |key: &str, op: &OpId| {
        view.values
            .get(key)
            .is_some_and(|values| values.iter().any(|value| value.op == *op))
    };
    writes
        .into_iter()
        .map(|(key, (value, seen))| {
            let seen: Vec<_> = seen.into_iter().filter(|op| visible(key, op)).collect();
            Write {
                key: key.to_owned(),
                value,
                replaces: if seen.is_empty() {
                    Replaces::Nothing
                } else {
                    Replaces::Only(seen)
                },
            }
        })
        .filter(|write| write.value.is_some() || write.replaces != Replaces::Nothing)
        .collect()
}

async fn notify(
    write: &mut StreetTransaction,
    street: &StreetCode,
    record: RecordId,
    kind: &'static str,
    told: &[(String, ChangeHash)],
    note: Option<&str>,
    by: Reviewer<'_>,
) -> Result<(), HeldError> {
    // A number of its own, beyond every phone's cursor, even where the log says nothing new.
    let (seq, now) = (write.reserve(), write.now());
    let notices: Vec<_> = told
        .iter()
        .map(|(username, hash)| NoticeWrite {
            notice: derived(now, &[kind.as_bytes(), &hash.0]),
            seq,
            username: username.clone(),
            kind,
            record,
            field: None,
            detail: NoticeDetail {
                hash: Some(*hash),
                by: Some(by.role.as_str().to_owned()),
                note: note.map(str::to_owned),
            },
        })
        .collect();
    conflicts::insert_notices(write.tx(), street, now, &notices).await?;
    Ok(())
}
