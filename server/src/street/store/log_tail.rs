//! What [`lianka_office_core::pull::tail`] is filled from: where a street's log stands, and its entries with their records' places.

use std::collections::BTreeMap;

use lianka_office_core::pull::tail::{Entry, Mark, Newest, News, Stand, Stretch, What};
use lianka_sync_core::id::{ChangeHash, DeviceId, RecordId, StreetCode};
use sqlx::PgConnection;

use crate::store::decoded;

/// Where the street stands as last committed, and what the log has at `known`; `None` where there is no such street.
pub async fn newest(
    conn: &mut PgConnection,
    street: &StreetCode,
    known: i64,
) -> sqlx::Result<Option<Newest>> {
    let row = sqlx::query!(
        r#"select d.store_epoch, s.head_seq, l.record as "record?", l.hash, l.received_at as "received_at?"
           from street s cross join deployment d left join change_log l on l.street = s.street and l.seq = $2
           where s.street = $1"#,
        street.as_str(),
        known,
    )
    .fetch_optional(conn)
    .await?;
    let mark = |(record, received_at), hash: Option<Vec<u8>>| Mark {
        record: RecordId(record),
        hash: hash.and_then(|hash| ChangeHash::from_slice(&hash)),
        received_at: time::OffsetDateTime::into(received_at),
    };
    Ok(row.map(|row| Newest {
        store_epoch: row.store_epoch,
        head: row.head_seq,
        mark: row.record.zip(row.received_at).map(|at| mark(at, row.hash)),
    }))
}

/// The entries of a stretch and where their records stand, all as of one moment.
pub async fn news(
    conn: &mut PgConnection,
    street: &StreetCode,
    stretch: Stretch,
) -> sqlx::Result<News> {
    let rows = sqlx::query!(
        r#"with entry as materialized (
               select seq, type, record, generation, grid, device, composed, hash, bytes, received_at from change_log
               where street = $1 and seq > $2 and seq <= $3
           )
           select e.seq as "seq!", e.type as "what!", e.record as "record!", e.generation as "generation!", e.grid as "left!",
                  e.device, e.composed as "composed!", e.hash, e.bytes, e.received_at as "received_at!",
                  r.kind as "kind?", r.grid as "grid?", r.grid_seq as "grid_seq?",
                  (exists (select from shop_contact c where c.street = $1 and c.record = e.record and c.party_status is not null)
                   or exists (select from transfer t where t.street = $1 and t.record = e.record
                       and (t.member_name, t.member_status, t.origin_organisation, t.target_branch) is distinct from (null, null, null, null))
                  ) as "holds_p3!"
           from entry e left join lateral (select * from record r where r.street = $1 and r.record = e.record offset 0) r on true
           order by e.seq"#,
        street.as_str(),
        stretch.after,
        stretch.upto,
    )
    .fetch_all(conn)
    .await?;
    let (mut entries, mut stands) = (Vec::with_capacity(rows.len()), BTreeMap::new());
    for row in rows {
        let record = RecordId(row.record);
        if let (Some(kind), Some(grid), Some(grid_seq)) = (row.kind, row.grid, row.grid_seq) {
            let stand = Stand {
                kind: decoded(&kind)?,
                grid,
                grid_seq,
                holds_p3: row.holds_p3,
            };
            stands.insert(record, stand);
        }
        let what = match (row.what.as_str(), row.device, row.hash, row.bytes) {
            ("change", Some(device), Some(hash), Some(bytes)) => What::Change {
                hash: ChangeHash::from_slice(&hash)
                    .ok_or_else(|| sqlx::Error::Decode("a change's hash".into()))?,
                device: DeviceId(device),
                composed: row.composed,
                bytes: bytes.into(),
            },
            ("leave", ..) => What::Leave { grid: row.left },
            ("erase", ..) => What::Erase,
            _ => What::Snapshot,
        };
        entries.push(Entry {
            seq: row.seq,
            record,
            generation: row.generation as u32,
            received_at: row.received_at.into(),
            what,
        });
    }
    Ok(News { entries, stands })
}
