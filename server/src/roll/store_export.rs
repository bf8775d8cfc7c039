//! What a file of the merged roll needs beside its cards: one moment to read them as of, and the street's own columns.

use lianka_sync_core::id::StreetCode;
use sqlx::{PgConnection, PgPool, Postgres, Transaction};

/// A transaction that reads and sees the street as it was when it began.
pub async fn snapshot(pool: &PgPool) -> sqlx::Result<Transaction<'static, Postgres>> {
    pool.begin_with("begin isolation level repeatable read read only")
        .await
}

/// A column of the street's own.
#[derive(Clone, Debug)]
pub struct OwnColumn {
    pub name: String,
    pub label: String,
    /// Its values are a person's (class P2).
    pub personal: bool,
}

/// The street's own columns.
pub async fn custom_fields(
    conn: &mut PgConnection,
    street: &StreetCode,
) -> sqlx::Result<Vec<OwnColumn>> {
    let rows = sqlx::query!(
        r#"select name, label, class = 'P2' as "personal!" from custom_field where street = $1 order by name collate "C""#,
        street.as_str()
    );
    Ok(rows
        .fetch_all(conn)
        .await?
        .into_iter()
        .map(|row| OwnColumn {
            name: row.name,
            label: row.label,
            personal: row.personal,
        })
        .collect())
}
