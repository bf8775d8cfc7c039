//! The merged roll as desks read it.

use std::collections::{BTreeSet, HashMap};

use lianka_sync_core::{
    id::{RecordId, StreetCode},
    kinds::{Kind, Meaning, projection::CardRow},
};
use sqlx::{PgConnection, types::Json};
use time::Date;
use uuid::Uuid;

/// Which cards to list. Every condition that is `None` admits all.
#[derive(Clone, Debug, Default)]
pub struct CardFilter {
    /// Grids the reader may see; `None` is the whole street.
    pub scope: Option<Vec<String>>,
    pub grid: Option<String>,
    pub road: Option<String>,
    /// Terms that the card's search key must all be found by, as `sync_core::search::matches` finds them.
    pub terms: Option<Vec<String>>,
    pub conflict: Option<bool>,
    /// Never confirmed, or last confirmed before this day.
    pub confirmed_before: Option<Date>,
    /// Whether the card was merged away.
    pub merged: Option<bool>,
}

/// How to order the cards.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum CardOrder {
    /// Road, side, number: as the street is walked.
    #[default]
    Walk,
    SignName,
    /// Longest not confirmed first.
    Confirmed,
    /// Last changed first.
    Changed,
}

impl CardOrder {
    /// As the queries spell it.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Walk => "walk",
            Self::SignName => {
                let name = Kind::ShopCard.of_meaning(Meaning::TradeName);
                name.map_or("", |field| field.name)
            }
            Self::Confirmed => "confirmed",
            Self::Changed => "changed",
        }
    }
}

/// One page of the cards that `filter` admits, by id, and how many there are.
pub async fn page(
    conn: &mut PgConnection,
    street: &StreetCode,
    filter: &CardFilter,
    order: CardOrder,
    limit: i64,
    offset: i64,
) -> sqlx::Result<(Vec<Uuid>, i64)> {
    let rows = sqlx::query!(
        r#"select record, count(*) over () as "total!" from shop_card c
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
           limit $10 offset $11"#,
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
        offset,
    )
    .fetch_all(&mut *conn)
    .await?;
    let total = match rows.first() {
        Some(row) => row.total,
        // Beyond the last page there is no row to read it from.
        None if offset > 0 => Box::pin(page(conn, street, filter, order, 1, 0)).await?.1,
        None => 0,
    };
    Ok((rows.into_iter().map(|row| row.record).collect(), total))
}

/// A card of the list, with the sequence of its newest entry.
#[derive(Debug)]
pub struct ListedCard {
    pub row: CardRow,
    pub seq: i64,
    pub visit: Option<LastVisit>,
}

/// Cards in this order. A row's columns are the members of [`CardRow`]: nobody lists them here. P3 fields are left out: a list is no occasion
/// to read them.
pub async fn cards(
    conn: &mut PgConnection,
    street: &StreetCode,
    records: &[Uuid],
) -> sqlx::Result<Vec<ListedCard>> {
    let rows = sqlx::query!(
        r#"select c.seq, to_jsonb(c) - 'search' || jsonb_build_object(
                      'tags', coalesce(t.tags, '{}'), 'contacts', coalesce(p.contacts, '[]'), 'conflicts', coalesce(x.conflicts, '[]')
                  ) as "row!: Json<CardRow>"
           from unnest($2::uuid[]) with ordinality as wanted (record, nth)
           join shop_card c on c.street = $1 and c.record = wanted.record
           left join lateral (
               select array_agg(tag order by tag collate "C") as tags from shop_tag t where t.street = c.street and t.record = c.record
           ) t on true
           left join lateral (
               select jsonb_agg(to_jsonb(p) - 'party_status' order by entry) as contacts
               from shop_contact p where p.street = c.street and p.record = c.record
           ) p on true
           left join lateral (
               select jsonb_agg(to_jsonb(x) order by field collate "C", split_part(op, '@', 1)::bigint, split_part(op, '@', 2) collate "C") as conflicts
               from field_conflict x where x.street = c.street and x.record = c.record and c.conflict_count > 0
                 and x.field not like '%/party\_status'
           ) x on true
           order by wanted.nth"#,
        street.as_str(),
        records,
    )
    .fetch_all(&mut *conn)
    .await?;
    let mut visits: HashMap<_, _> = last_visits(conn, street, records)
        .await?
        .into_iter()
        .map(|visit| (visit.shop, visit))
        .collect();
    Ok(rows
        .into_iter()
        .map(|found| ListedCard {
            visit: visits.remove(&found.row.record),
            row: found.row.0,
            seq: found.seq,
        })
        .collect())
}

/// The last visit to a shop that counts: neither void nor replaced.
#[derive(Debug)]
pub struct LastVisit {
    pub shop: RecordId,
    pub record: RecordId,
    /// Day and time in China, `YYYY-MM-DDTHH:MM`.
    pub at: String,
    pub channel: Option<String>,
    pub outcome: Option<String>,
    /// Whose device wrote it.
    pub username: Option<String>,
}

/// The last visits to these cards, and to those that were merged into them.
async fn last_visits(
    conn: &mut PgConnection,
    street: &StreetCode,
    cards: &[Uuid],
) -> sqlx::Result<Vec<LastVisit>> {
    let rows = sqlx::query!(
        r#"with recursive shop (card, record) as (
               select card, card from unnest($2::uuid[]) card
               union select s.card, m.loser from shop s join card_merge m on m.street = $1 and m.winner = s.record and m.undone_at is null)
           select distinct on (s.card) s.card as "shop!", v.record, v.at as "at!", v.channel, v.outcome, d.username as "username?"
           from shop s join shop_visit v on v.street = $1 and v.shop = s.record left join device d on d.device = v.device
           where v.void_reason is null
             and not exists (select from shop_visit r where r.street = v.street and r.replaces = v.record and r.void_reason is null)
           order by s.card, v.at desc, v.record desc"#,
        street.as_str(),
        cards,
    );
    Ok(rows
        .fetch_all(conn)
        .await?
        .into_iter()
        .map(|row| LastVisit {
            shop: RecordId(row.shop),
            record: RecordId(row.record),
            at: row.at,
            channel: row.channel,
            outcome: row.outcome,
            username: row.username,
        })
        .collect())
}

pub use crate::street::store::history::device_names;

/// Which of these records exist, or existed until the office erased them: an import makes neither.
pub async fn existing(
    conn: &mut PgConnection,
    street: &StreetCode,
    records: &[Uuid],
) -> sqlx::Result<Vec<Uuid>> {
    sqlx::query_scalar!(
        r#"select record as "record!" from record where street = $1 and record = any($2)
           union select record from erasure where street = $1 and kind = 'erase' and record = any($2)"#,
        street.as_str(),
        records
    )
    .fetch_all(conn)
    .await
}

/// A column of the street's own.
#[derive(Debug)]
pub struct CustomField {
    pub name: String,
    pub label: String,
    pub r#type: String,
    pub class: String,
}

/// Declares the street's own columns. Those known already stay as they are, but that one may turn out to be personal (P2), and then stays so.
pub async fn declare_custom_fields(
    tx: &mut PgConnection,
    street: &StreetCode,
    fields: &[CustomField],
) -> sqlx::Result<()> {
    let column = |value: fn(&CustomField) -> &String| {
        fields
            .iter()
            .map(|field| value(field).clone())
            .collect::<Vec<_>>()
    };
    sqlx::query!(
        "insert into custom_field (street, name, label, type, class) select $1, * from unnest($2::text[], $3::text[], $4::text[], $5::text[])
         on conflict (street, name) do update set class = 'P2' where excluded.class = 'P2' and custom_field.class <> 'P2'",
        street.as_str(),
        &column(|field| &field.name),
        &column(|field| &field.label),
        &column(|field| &field.r#type),
        &column(|field| &field.class),
    )
    .execute(tx)
    .await?;
    Ok(())
}

/// The street's own fields that hold personal data (class P2), by name.
pub async fn personal_fields(
    conn: &mut PgConnection,
    street: &StreetCode,
) -> sqlx::Result<BTreeSet<String>> {
    let names = sqlx::query_scalar!(
        "select name from custom_field where street = $1 and class = 'P2'",
        street.as_str()
    );
    Ok(names.fetch_all(conn).await?.into_iter().collect())
}

/// Which cards of a grid are to be moved.
#[derive(Clone, Debug)]
pub struct MoveFilter {
    pub grid: String,
    pub road: Option<String>,
    /// `odd` or `even`.
    pub side: Option<String>,
    pub number_from: Option<i32>,
    pub number_to: Option<i32>,
}

/// The cards that are to be moved, by id.
pub async fn cards_to_move(
    conn: &mut PgConnection,
    street: &StreetCode,
    filter: &MoveFilter,
    limit: i64,
) -> sqlx::Result<Vec<RecordId>> {
    let rows = sqlx::query_scalar!(
        "select record from shop_card where street = $1 and grid = $2 and ($3::text is null or road = $3) and ($4::text is null or side = $4)
           and ($5::int is null or number_order >= $5) and ($6::int is null or number_order <= $6)
         order by record limit $7",
        street.as_str(),
        filter.grid,
        filter.road,
        filter.side,
        filter.number_from,
        filter.number_to,
        limit,
    );
    Ok(rows
        .fetch_all(conn)
        .await?
        .into_iter()
        .map(RecordId)
        .collect())
}
