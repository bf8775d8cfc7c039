//! The conflicts that a write settles: remembered with every value that was not chosen, and told to the workers who wrote those.
//!
//! In: what [`conflict::settled`] found while changes were accepted, whoever made them. Out: rows of `resolution` and `notice`, in the same
//! transaction. Invariant: a value that differs from the chosen one goes only with a row that holds it; its author is told, unless they chose
//! themselves or the value of another device of theirs was chosen.

use std::collections::{BTreeMap, HashMap};

use lianka_sync_core::{
    codec::change::{OpId, Scalar},
    crdt::conflict::{self, HarmlessClass, Settlement},
    id::{ChangeHash, DeviceId, RecordId, StreetCode},
    kinds::Kind,
    time::ServerTime,
};
use sha2::{Digest, Sha256};
use sqlx::PgConnection;
use uuid::Uuid;

use crate::review::store::{
    self as conflicts, NoticeDetail, NoticeWrite, ReplacedValue, ResolutionWrite, Writer,
};

/// A notice that another value than the user's was chosen.
pub const VALUE_NOT_CHOSEN: &str = "value_not_chosen";
/// A notice that a choice was undone: all values stand side by side again.
pub const RESOLUTION_UNDONE: &str = "resolution_undone";

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

/// As the store names an operation.
pub fn op_text(op: OpId) -> String {
    format!("{}@{}", op.counter, op.actor)
}

/// Remembers what was settled, and what is to be told of it. The changes' records must be in the store. `bulk`: settled together.
pub async fn record(
    tx: &mut PgConnection,
    street: &StreetCode,
    now: ServerTime,
    bulk: Option<Uuid>,
    settled: Vec<Settled>,
) -> sqlx::Result<()> {
    if settled.is_empty() {
        return Ok(());
    }
    let records: Vec<_> = settled.iter().map(|settled| settled.record.0).collect();
    // A value that an undo put back is still its first author's.
    let restored = conflicts::restored(tx, street, &records).await?;
    let authors = |settled: &Settled| {
        settled
            .settlement
            .replaced
            .iter()
            .map(|value| value.device.0)
            .collect::<Vec<_>>()
    };
    let devices: Vec<_> = settled
        .iter()
        .flat_map(|settled| authors(settled).into_iter().chain([settled.device.0]))
        .collect();
    let writers = conflicts::writers(tx, &devices).await?;
    let mut rows = Vec::with_capacity(settled.len());
    let mut notices = Vec::new();
    for settled in settled {
        let replaced = replaced(&settled, &restored, &writers);
        notices.extend(untold(
            &settled,
            &replaced,
            writers.get(&settled.device.0),
            now,
        ));
        rows.push(row(settled, replaced, &writers, bulk, now));
    }
    conflicts::insert_resolutions(tx, street, now, &rows).await?;
    conflicts::insert_notices(tx, street, now, &notices).await
}

/// The values with their authors.
fn replaced(
    settled: &Settled,
    restored: &HashMap<(RecordId, String, String), Vec<ReplacedValue>>,
    writers: &HashMap<Uuid, Writer>,
) -> Vec<ReplacedValue> {
    let Settlement { key, replaced, .. } = &settled.settlement;
    let of = |value: &conflict::Replaced| {
        let op = op_text(value.op);
        if let Some(originals) = restored.get(&(settled.record, key.clone(), op.clone())) {
            let again = |original: &ReplacedValue| ReplacedValue {
                op: op.clone(),
                restored_as: None,
                ..original.clone()
            };
            return originals.iter().map(again).collect();
        }
        let writer = writers.get(&value.device.0);
        vec![ReplacedValue {
            op,
            value: value.value.clone(),
            username: writer.map(|writer| writer.username.clone()),
            display_name: writer.map(|writer| writer.display_name.clone()),
            device: value.device.0,
            device_name: writer.map(|writer| writer.device_name.clone()),
            device_time: value.device_time,
            received_at: value.received_at,
            restored_as: None,
        }]
    };
    replaced.iter().flat_map(of).collect()
}

fn row(
    settled: Settled,
    replaced: Vec<ReplacedValue>,
    writers: &HashMap<Uuid, Writer>,
    bulk: Option<Uuid>,
    now: ServerTime,
) -> ResolutionWrite {
    let Settled {
        record,
        kind,
        generation,
        seq,
        hash,
        device,
        source,
        message,
        settlement,
    } = settled;
    let writer = writers.get(&device.0);
    let values: Vec<&Scalar> = replaced.iter().map(|value| &value.value).collect();
    let class = kind
        .field(&settlement.key)
        .and_then(|(field, _)| conflict::harmless(field, &values));
    ResolutionWrite {
        resolution: derived(now, &[&hash.0, settlement.key.as_bytes()]),
        record,
        field: settlement.key,
        seq,
        generation: generation as i32,
        hash,
        op: op_text(settlement.op),
        chosen: settlement.chosen,
        replaced,
        note: message,
        source,
        username: writer.map(|writer| writer.username.clone()),
        device: device.0,
        bulk,
        class: class.map(|harmless| HarmlessClass::as_str(harmless.class)),
    }
}

/// For every worker none of whose values was chosen, and who did not choose: a notice.
fn untold(
    settled: &Settled,
    replaced: &[ReplacedValue],
    by: Option<&Writer>,
    now: ServerTime,
) -> Vec<NoticeWrite> {
    let mut chosen_of: BTreeMap<&str, bool> = BTreeMap::new();
    for value in replaced {
        if let Some(username) = &value.username {
            *chosen_of.entry(username).or_default() |=
                Some(&value.value) == settled.settlement.chosen.as_ref();
        }
    }
    let told = chosen_of
        .into_iter()
        .filter(|(username, chosen)| !chosen && by.is_none_or(|by| by.username != *username));
    let detail = NoticeDetail {
        hash: Some(settled.hash),
        by: by.map(|by| by.role.clone()),
        note: Some(settled.message.clone()).filter(|note| !note.is_empty()),
    };
    told.map(|(username, _)| NoticeWrite {
        notice: derived(
            now,
            &[
                &settled.hash.0,
                settled.settlement.key.as_bytes(),
                username.as_bytes(),
            ],
        ),
        seq: settled.seq,
        username: username.to_owned(),
        kind: VALUE_NOT_CHOSEN,
        record: settled.record,
        field: Some(settled.settlement.key.clone()),
        detail: detail.clone(),
    })
    .collect()
}

/// An id that follows from what it names: a change settles a key once.
pub fn derived(now: ServerTime, parts: &[&[u8]]) -> Uuid {
    let mut sha = Sha256::new();
    for part in parts {
        sha.update((part.len() as u64).to_be_bytes());
        sha.update(part);
    }
    let digest = sha.finalize();
    let mut entropy = [0; 10];
    entropy.copy_from_slice(&digest[..10]);
    RecordId::new_v7(now.unix_ms().unsigned_abs(), entropy).0
}
