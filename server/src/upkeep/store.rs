//! Records that may have grown large.

use lianka_sync_core::id::{RecordId, StreetCode};
use sqlx::PgConnection;
use uuid::Uuid;

/// A page of the records with a state or a document of at least so many bytes, by street and id. Their lengths are known without reading them.
pub async fn large(
    conn: &mut PgConnection,
    state_bytes: i32,
    document_bytes: i32,
    after: Option<(&StreetCode, RecordId)>,
    limit: i64,
) -> sqlx::Result<Vec<(StreetCode, RecordId)>> {
    let (street, record): (&str, Uuid) = after.map_or(("", Uuid::nil()), |(street, record)| {
        (street.as_str(), record.0)
    });
    let rows = sqlx::query!(
        "select street, record from record
         where (octet_length(state) >= $1 or octet_length(snapshot) >= $2) and (street, record) > ($3, $4) and disputed_at is null
         order by street, record limit $5",
        state_bytes,
        document_bytes,
        street,
        record,
        limit,
    )
    .fetch_all(conn)
    .await?;
    rows.into_iter()
        .map(|row| Ok((crate::store::decoded(&row.street)?, RecordId(row.record))))
        .collect()
}
