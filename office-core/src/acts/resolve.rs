//! Choices between concurrent values, one by one or by class, and their undoing.
//!
//! Invariants:
//! - a choice replaces the values that were looked at and no other: what arrived meanwhile stays in conflict;
//! - an undo takes nothing away: it puts values beside what stands there.

use std::collections::{BTreeMap, BTreeSet};

use lianka_sync_core::{
    codec::change::{OpId, Scalar},
    crdt::{
        conflict::{self, HarmlessClass},
        merge::{RegisterState, Replaces, Write},
    },
    id::{Actor, ChangeHash, RecordId},
    kinds::Kind,
};
use uuid::Uuid;

use super::{Act, Desk, Refused, about, edit::stored, records};
use crate::{
    audit::Action,
    follow::op_text,
    ids::derived,
    store::{NoticeDetail, NoticeWrite, ReplacedValue, Resolution, UndoneResolution, Wants},
    street::Street,
};

/// A notice that a choice was undone: all values stand side by side again.
pub const RESOLUTION_UNDONE: &str = "resolution_undone";

/// A choice to make between the values of a field that were looked at.
#[derive(Debug)]
pub struct Choose {
    pub by: Desk,
    pub record: RecordId,
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

impl Act for Choose {
    type Done = Chosen;
    type Refused = Refused;

    fn wants(&self, _: &Street) -> Wants {
        records([self.record])
    }

    fn decide(self, street: &mut Street) -> Result<Chosen, Refused> {
        let (record, key) = (self.record, self.field);
        let state = about(street, record)?;
        let field = state.kind().field(&key).map(|(field, _)| field);
        let field = field.ok_or(Refused::NoField)?;
        let was_seen = |op: &OpId| self.seen.as_ref().is_none_or(|seen| seen.contains(op));
        let looked_at: Vec<_> = state
            .visible(&key)
            .into_iter()
            .filter(|(op, _)| was_seen(op))
            .collect();
        if !field.keeps_conflicts() || looked_at.iter().all(|(_, value)| *value == looked_at[0].1) {
            return Err(Refused::ConflictChanged);
        }
        let choice = Write {
            key: key.clone(),
            value: self.value.map(stored),
            replaces: Replaces::Only(looked_at.iter().map(|(op, _)| *op).collect()),
        };
        let (change, seq) = street
            .compose(record, self.by.signer(), &[choice], &self.note)?
            .ok_or(Refused::ConflictChanged)?;
        let state = about(street, record)?;
        let heads = state.heads();
        let own = self.by.device;
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
        let event = self.by.event(Action::Resolution).on(record);
        street.audit(event.with("fields", vec![field.pattern()]));
        Ok(Chosen {
            resolution: derived(street.now(), &[&change.0, key.as_bytes()]),
            change,
            seq,
            heads,
            remaining,
        })
    }
}

/// Harmless conflicts of a class to settle, or to be told which ones that would be.
#[derive(Debug)]
pub struct ChooseHarmless {
    pub by: Desk,
    pub class: HarmlessClass,
    /// Record and key, by record: judged again by what stands there.
    pub found: Vec<(RecordId, String)>,
    pub note: String,
    pub dry_run: bool,
    /// What it will be known by.
    pub bulk: Uuid,
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
    /// `None` where nothing was settled.
    pub bulk: Option<Uuid>,
    pub items: Vec<BulkItem>,
}

impl Act for ChooseHarmless {
    type Done = BulkDone;
    type Refused = Refused;

    fn wants(&self, _: &Street) -> Wants {
        records(self.found.iter().map(|(record, _)| *record))
    }

    fn decide(self, street: &mut Street) -> Result<BulkDone, Refused> {
        street.settle_in_bulk(self.bulk);
        let mut items = Vec::new();
        for of_record in self.found.chunk_by(|a, b| a.0 == b.0) {
            items.extend(self.choose(street, of_record));
        }
        let settled = items
            .iter()
            .filter(|item| item.resolution.is_some())
            .count();
        if settled > 0 {
            let event = self
                .by
                .event(Action::Resolution)
                .with("bulk", self.bulk.to_string())
                .with("class", self.class.as_str());
            street.audit(event.with("settled", settled));
        }
        Ok(BulkDone {
            bulk: (settled > 0).then_some(self.bulk),
            items,
        })
    }
}

impl ChooseHarmless {
    /// The harmless conflicts of one record, settled by one change.
    fn choose(&self, street: &mut Street, keys: &[(RecordId, String)]) -> Vec<BulkItem> {
        let Some(record) = keys.first().map(|(record, _)| *record) else {
            return Vec::new();
        };
        let Some(state) = street.state(record) else {
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
            let Some(harmless) = harmless.filter(|harmless| harmless.class == self.class) else {
                continue;
            };
            let chosen = harmless.suggestion;
            writes.push(Write {
                key: key.clone(),
                value: Some(chosen.clone()),
                replaces: Replaces::Visible,
            });
            items.push(BulkItem {
                record,
                kind,
                field: key.clone(),
                values: values.into_iter().cloned().collect(),
                chosen,
                resolution: None,
                refused: None,
            });
        }
        if self.dry_run || writes.is_empty() {
            return items;
        }
        let now = street.now();
        match street.compose(record, self.by.signer(), &writes, &self.note) {
            Ok(Some((hash, _))) => {
                for item in &mut items {
                    item.resolution = Some(derived(now, &[&hash.0, item.field.as_bytes()]));
                }
            }
            Ok(None) => {}
            Err(refusal) => items
                .iter_mut()
                .for_each(|item| item.refused = Some(refusal.code())),
        }
        items
    }
}

/// Resolutions to undo: one, or a bulk as far as nothing was edited since.
#[derive(Debug)]
pub struct Undo {
    pub by: Desk,
    pub resolutions: Vec<Uuid>,
    /// The bulk that they are.
    pub bulk: Option<Uuid>,
    /// Even where it was edited since.
    pub force: bool,
}

/// One resolution of an undo.
#[derive(Debug)]
pub struct UndoItem {
    pub resolution: Uuid,
    pub record: RecordId,
    pub field: String,
    /// Why it was not undone.
    pub refused: Option<Refused>,
}

impl Act for Undo {
    type Done = Vec<UndoItem>;
    type Refused = Refused;

    fn wants(&self, street: &Street) -> Wants {
        let rows = self.rows(street);
        Wants {
            resolutions: self.resolutions.iter().copied().collect(),
            ..records(rows.map(|row| row.record))
        }
    }

    fn decide(self, street: &mut Street) -> Result<Vec<UndoItem>, Refused> {
        let rows: Vec<_> = self.rows(street).cloned().collect();
        if rows.is_empty() {
            return Err(Refused::NotFound);
        }
        let mut items = Vec::with_capacity(rows.len());
        let mut undone = 0;
        for row in rows {
            let refused = match put_back(street, &self.by, &row, self.force) {
                Ok(PutBack { replaced, last }) => {
                    undone += 1;
                    if let Some((hash, seq)) = last {
                        let notices = notices(&self.by, &row, hash, seq, street);
                        street.writes.notices.extend(notices);
                    }
                    street.writes.undone.push(UndoneResolution {
                        resolution: row.resolution,
                        by: self.by.username.clone(),
                        replaced,
                    });
                    None
                }
                Err(refused) if self.bulk.is_none() => return Err(refused),
                Err(refused) => Some(refused),
            };
            items.push(UndoItem {
                resolution: row.resolution,
                record: row.record,
                field: row.field,
                refused,
            });
        }
        if undone > 0 {
            let event = self
                .by
                .event(Action::ResolutionUndone)
                .with("undone", undone);
            street.audit(match (&items[..], self.bulk) {
                (_, Some(bulk)) => event.with("bulk", bulk.to_string()),
                ([item], None) => event
                    .on(item.record)
                    .with("resolution", item.resolution.to_string()),
                _ => event,
            });
        }
        Ok(items)
    }
}

impl Undo {
    fn rows<'s>(&'s self, street: &'s Street) -> impl Iterator<Item = &'s Resolution> {
        let known = &street.known().resolutions;
        self.resolutions.iter().filter_map(|id| known.get(id))
    }
}

struct PutBack {
    /// With the operations that put them back.
    replaced: Vec<ReplacedValue>,
    last: Option<(ChangeHash, i64)>,
}

/// Puts the values that a resolution replaced back, each beside the others.
fn put_back(
    street: &mut Street,
    by: &Desk,
    row: &Resolution,
    force: bool,
) -> Result<PutBack, Refused> {
    if row.is_undone {
        return Err(Refused::AlreadyUndone);
    }
    let state = street.state(row.record).ok_or(Refused::NotFound)?;
    let mut after = after(state, row);
    if after.edited_since && !force {
        return Err(Refused::EditedSince);
    }
    let values: Vec<Scalar> = row
        .replaced
        .iter()
        .map(|value| value.value.clone())
        .collect();
    let mut last = None;
    let mut back: BTreeMap<Scalar, OpId> = BTreeMap::new();
    // The chosen value stays where it is, if it was one of them.
    if let Some((op, value)) = after.choice.take_if(|(_, value)| values.contains(value)) {
        back.insert(value, op);
    }
    for value in values {
        if back.contains_key(&value) {
            continue;
        }
        // A third value, chosen instead of all, makes room for the first of them.
        let replaces = after
            .choice
            .take()
            .map_or(Replaces::Nothing, |(op, _)| Replaces::Only(vec![op]));
        let one = Write {
            key: row.field.clone(),
            value: Some(value.clone()),
            replaces,
        };
        last = street
            .compose(row.record, by.signer(), &[one], "")?
            .or(last);
        let state = street.state(row.record).ok_or(Refused::NotFound)?;
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
    by: &Desk,
    row: &Resolution,
    hash: ChangeHash,
    seq: i64,
    street: &Street,
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
    let is_notice_due =
        |username: &&str| Some(*username) != row.username.as_deref() && *username != by.username;
    of(false)
        .difference(&of(true))
        .copied()
        .filter(is_notice_due)
        .map(|username| NoticeWrite {
            notice: derived(
                street.now(),
                &[b"undo", row.resolution.as_bytes(), username.as_bytes()],
            ),
            seq,
            username: username.to_owned(),
            kind: RESOLUTION_UNDONE,
            record: row.record,
            field: Some(row.field.clone()),
            detail: NoticeDetail {
                hash: Some(hash),
                by: Some(by.role.as_str().to_owned()),
                note: None,
            },
        })
        .collect()
}

/// What stands in a field after it was settled.
struct After {
    /// The chosen value, where it is still there.
    choice: Option<(OpId, Scalar)>,
    edited_since: bool,
}

fn after(state: &RegisterState, row: &Resolution) -> After {
    let visible = state.visible(&row.field);
    // A rebuilt record counts its operations anew; then only value and time tell.
    let settled_by = parse_op(&row.op).filter(|_| row.generation == state.generation());
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
    After {
        choice,
        edited_since,
    }
}

/// An operation as the store and the inbox name it, `counter@actor`.
pub fn parse_op(text: &str) -> Option<OpId> {
    let (counter, actor) = text.split_once('@')?;
    Some(OpId {
        counter: counter.parse().ok()?,
        actor: Actor::from_slice(&hex::decode(actor).ok()?)?,
    })
}
