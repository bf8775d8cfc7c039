//! The merged roll for a file: every card that a filter admits, a chunk at a time, as of one moment.

use lianka_sync_core::id::StreetCode;
use sqlx::{PgConnection, PgPool, Postgres, Transaction};
use uuid::Uuid;

use crate::roll::store::{CardFilter, CardOrder};

/// A transaction that reads and sees the street as it was when it began.
pub async fn snapshot(pool: &PgPool) -> sqlx::Result<Transaction<'static, Postgres>> {
    pool.begin_with("begin isolation level repeatable read read only")
        .await
}

/// Ids of the cards that `filter` admits, in order.
pub async fn ids(
    conn: &mut PgConnection,
    street: &StreetCode,
    filter: &CardFilter,
    order: CardOrder,
    limit: i64,
) -> sqlx::Result<Vec<Uuid>> {
    sqlx::query_scalar!(
        r#"select record from shop_card c
           where street = $1 and ($2::text[] is null or grid = any($2)) and ($3::text is null or grid = $3)
             and ($4::text is null or road = $4) and ($5::text[] is null or not exists (
                   select 1 from unnest($5) as term
                   where position(term in search) = 0 and not exists (
                       select 1 from unnest(string_to_array(search, ' ')) as piece
                       where starts_with(term, piece) and length(piece) >= 2 and octet_length(term) - octet_length(piece) >= 2
                         and position(substr(term, length(piece) + 1) in search) > 0)))
             and ($6::bool is null or (conflict_count > 0) = $6)
             and ($7::date is null or last_confirmed_on is null or last_confirmed_on < $7)
             and ($8::bool is null or (merged_into is not null) = $8)
           order by
               case when $9 = 'walk' then c.road end nulls last, case when $9 = 'walk' then c.side end desc nulls last,
               case when $9 = 'walk' then c.number_order end nulls last, case when $9 = 'walk' then c.number_suffix end nulls first,
               case when $9 = 'sign_name' then c.sign_name end nulls last,
               case when $9 = 'confirmed' then c.last_confirmed_on end nulls first,
               case when $9 = 'changed' then c.seq end desc nulls last,
               c.record
           limit $10"#,
        street.as_str(),
        filter.scope.as_deref(),
        filter.grid,
        filter.road,
        filter.terms.as_deref(),
        filter.conflict,
        filter.confirmed_before,
        filter.merged,
        order.as_str(),
        limit,
    )
    .fetch_all(conn)
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
