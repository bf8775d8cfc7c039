//! What a file of the merged roll needs beside its cards: one moment to read them as of, and the street's own columns.

use lianka_sync_core::id::StreetCode;
use sqlx::{PgConnection, PgPool, Postgres, Transaction};

/// A transaction that reads and sees the street as it was when it began.
pub async fn snapshot(pool: &PgPool) -> sqlx::Result<Transaction<'static, Postgres>> {
    pool.begin_with("begin isolation level repeatable read read only")
        .await
}

/// The street's own columns: name and label.
pub async fn custom_fields(
    conn: &mut PgConnection,
    street: &StreetCode,
) -> sqlx::Result<Vec<(String, String)>> {
    let rows = sqlx::query!(
        r#"select name, label from custom_field where street = $1 order by name collate "C""#,
        street.as_str()
    );
    Ok(rows
        .fetch_all(conn)
        .await?
        .into_iter()
        .map(|row| (row.name, row.label))
        .collect())
}
