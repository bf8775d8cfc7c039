//! Accepted changes, wherever they are kept by now: in the log, or in the record's document after the log was trimmed.
//!
//! In: records. Out: their changes as the log had them: sequence, author, time of acceptance, bytes. Whoever shows, searches or compares old
//! changes reads them here, so that trimming changes no answer.

use std::collections::{BTreeMap, HashMap};

use lianka_sync_core::{
    codec::change,
    crdt::{merge::RegisterState, record::Record},
    id::{ChangeHash, DeviceId, RecordId, StreetCode},
    time::ServerTime,
};
use sqlx::PgConnection;
use uuid::Uuid;

use crate::street::store::{
    history::{self as log, AuthoredChange, LaterChange},
    records::{self, HistoryRow, Lagging},
    trimmed::{self, Place},
};

/// A change that the log does not hold any more.
#[derive(Clone, Debug)]
pub struct TrimmedChange {
    pub record: RecordId,
    pub seq: i64,
    pub hash: ChangeHash,
    pub device: DeviceId,
    pub bytes: Vec<u8>,
    pub received_at: ServerTime,
}

/// The trimmed changes of some records, in the order of the log. A record whose document does not load is reported and left out: `lianka audit
/// verify` names what it lacks.
pub async fn trimmed(
    conn: &mut PgConnection,
    street: &StreetCode,
    records: &[Uuid],
) -> sqlx::Result<Vec<TrimmedChange>> {
    let mut found = Vec::new();
    for (record, places) in trimmed::places(conn, street, records).await? {
        let Some(stored) = records::documents_and_states(conn, street, &[record.0])
            .await?
            .pop()
        else {
            continue;
        };
        let read = tokio::task::spawn_blocking(move || read_back(record, &stored, &places));
        match read
            .await
            .map_err(|error| sqlx::Error::Io(std::io::Error::other(error)))?
        {
            Ok(changes) => found.extend(changes),
            Err(reason) => {
                tracing::error!(%street, %record, reason, "a record's trimmed changes cannot be read from its document");
            }
        }
    }
    found.sort_by_key(|change| change.seq);
    Ok(found)
}

fn read_back(
    record: RecordId,
    stored: &Lagging,
    places: &[Place],
) -> Result<Vec<TrimmedChange>, String> {
    let state = RegisterState::from_bytes(&stored.state).map_err(|error| error.to_string())?;
    let received: HashMap<_, _> = state.accepted().collect();
    let chunks = Record::load(&stored.document.bytes)
        .map_err(|error| error.to_string())?
        .changes();
    let mut changes = HashMap::with_capacity(chunks.len());
    for chunk in chunks {
        let change = change::decode(&chunk).map_err(|error| error.to_string())?;
        changes.insert(change.hash, change);
    }
    // What is not in the document belongs to a generation that a server without trimming has rebuilt.
    let found = places.iter().filter_map(|place| {
        let (change, received_at) = (changes.remove(&place.hash)?, *received.get(&place.hash)?);
        let device = change.actor.device();
        Some(TrimmedChange {
            record,
            seq: place.seq,
            hash: place.hash,
            device,
            bytes: change.bytes,
            received_at,
        })
    });
    Ok(found.collect())
}

/// Who devices are: username and name.
async fn people(
    conn: &mut PgConnection,
    changes: &[TrimmedChange],
) -> sqlx::Result<HashMap<Uuid, (String, String)>> {
    let mut devices: Vec<_> = changes.iter().map(|change| change.device.0).collect();
    devices.sort_unstable();
    devices.dedup();
    let names = log::device_names(conn, &devices).await?;
    Ok(names
        .into_iter()
        .map(|device| (device.device, (device.username, device.name)))
        .collect())
}

/// A page of a record's history, newest first, and how long it is.
pub async fn history(
    conn: &mut PgConnection,
    street: &StreetCode,
    record: RecordId,
    limit: i64,
    offset: i64,
) -> sqlx::Result<(Vec<HistoryRow>, i64)> {
    let trimmed = trimmed(conn, street, &[record.0]).await?;
    if trimmed.is_empty() {
        return records::history(conn, street, record, limit, offset).await;
    }
    let (mut rows, _) = records::history(conn, street, record, i64::MAX, 0).await?;
    let people = people(conn, &trimmed).await?;
    rows.extend(trimmed.into_iter().map(|change| {
        let (username, device_name) = people.get(&change.device.0).cloned().unzip();
        let hash = change.hash.0.to_vec();
        let (device, received_at) = (change.device.0, change.received_at.into());
        HistoryRow {
            seq: change.seq,
            hash,
            bytes: change.bytes,
            received_at,
            device,
            device_name,
            username,
        }
    }));
    let total = rows.len() as i64;
    rows.sort_by_key(|row| std::cmp::Reverse((row.received_at, row.seq)));
    let page = rows
        .into_iter()
        .skip(usize::try_from(offset).unwrap_or(usize::MAX))
        .take(usize::try_from(limit).unwrap_or(0));
    Ok((page.collect(), total))
}

/// The newest changes of a record after one of its changes, the oldest first.
pub async fn changes_after(
    conn: &mut PgConnection,
    street: &StreetCode,
    record: RecordId,
    hash: ChangeHash,
    limit: i64,
) -> sqlx::Result<Vec<LaterChange>> {
    let trimmed = trimmed(conn, street, &[record.0]).await?;
    // A change that a rebuild split stands at several places: what was cut off it is not later.
    let Some(at) = trimmed.iter().rposition(|change| change.hash == hash) else {
        return log::changes_after(conn, street, record, hash, limit).await;
    };
    let later = &trimmed[at + 1..];
    let people = people(conn, later).await?;
    let mut changes: BTreeMap<i64, LaterChange> = BTreeMap::new();
    changes.extend(later.iter().map(|change| {
        let username = people
            .get(&change.device.0)
            .map(|(username, _)| username.clone());
        (
            change.seq,
            LaterChange {
                bytes: change.bytes.clone(),
                username,
                received_at: change.received_at,
            },
        )
    }));
    let (logged, _) = records::history(conn, street, record, i64::MAX, 0).await?;
    let logged = logged.into_iter().filter(|row| row.seq > trimmed[at].seq);
    changes.extend(logged.map(|row| {
        (
            row.seq,
            LaterChange {
                bytes: row.bytes,
                username: row.username,
                received_at: row.received_at.into(),
            },
        )
    }));
    let skipped = changes
        .len()
        .saturating_sub(usize::try_from(limit).unwrap_or(0));
    Ok(changes.into_values().skip(skipped).collect())
}

/// The bytes of changes: of each of `records` the change of the same position in `hashes`. What the record does not hold any more is missing.
pub async fn bytes(
    conn: &mut PgConnection,
    street: &StreetCode,
    records: &[Uuid],
    hashes: &[Vec<u8>],
) -> sqlx::Result<HashMap<(RecordId, ChangeHash), Vec<u8>>> {
    let mut found = log::changes(conn, street, records, hashes).await?;
    let missing = |(record, hash): &(&Uuid, &Vec<u8>)| {
        ChangeHash::from_slice(hash)
            .is_some_and(|hash| !found.contains_key(&(RecordId(**record), hash)))
    };
    let mut wanted: Vec<_> = records
        .iter()
        .zip(hashes)
        .filter(missing)
        .map(|(record, _)| *record)
        .collect();
    wanted.sort_unstable();
    wanted.dedup();
    if !wanted.is_empty() {
        found.extend(
            trimmed(conn, street, &wanted)
                .await?
                .into_iter()
                .map(|change| ((change.record, change.hash), change.bytes)),
        );
    }
    Ok(found)
}

/// The trimmed changes of some records with their authors, as the log would give them.
pub async fn logged(
    conn: &mut PgConnection,
    street: &StreetCode,
    records: &[Uuid],
) -> sqlx::Result<Vec<AuthoredChange>> {
    let trimmed = trimmed(conn, street, records).await?;
    let people = people(conn, &trimmed).await?;
    let logged = |change: TrimmedChange| AuthoredChange {
        seq: change.seq,
        record: change.record,
        username: people
            .get(&change.device.0)
            .map(|(username, _)| username.clone()),
        bytes: change.bytes,
        received_at: change.received_at.into(),
    };
    Ok(trimmed.into_iter().map(logged).collect())
}
