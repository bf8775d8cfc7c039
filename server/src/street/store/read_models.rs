//! Read models: the typed rows that a street office queries. Written with the records they are of, in the same transaction.

use lianka_sync_core::{id::StreetCode, kinds::projection::CardRow};
use serde::Serialize;
use sqlx::{PgConnection, types::Json};
use uuid::Uuid;

/// A shop card's own row.
#[derive(Debug, Serialize)]
pub struct CardWrite {
    #[serde(flatten)]
    pub row: CardRow,
    pub seq: i64,
    pub conflict_count: i32,
    pub search: String,
}

/// Writes the cards' own rows, new or not.
pub async fn upsert_cards(
    tx: &mut PgConnection,
    street: &StreetCode,
    cards: &[CardWrite],
) -> sqlx::Result<()> {
    sqlx::query!(
        "insert into shop_card (street, record, grid, generation, seq, sign_name, legal_name, credit_code, category, road, number,
             number_suffix, lane, unit, address_raw, number_order, side, point_lat, point_lon, point_crs, point_accuracy_m, occupancy,
             occupancy_observed_on, opening_hours, note, last_confirmed_on, custom, conflict_count, search,
             merged_into)
         select $1, record, grid, generation, seq, sign_name, legal_name, credit_code, category, road, number, number_suffix, lane, unit,
             address_raw, number_order, side, point_lat, point_lon, point_crs, point_accuracy_m, occupancy, occupancy_observed_on,
             opening_hours, note, last_confirmed_on, custom, conflict_count, search, merged_into
         from jsonb_to_recordset($2) as x (record uuid, grid text, generation int, seq bigint, sign_name text, legal_name text,
             credit_code text, category text, road text, number text, number_suffix text, lane text, unit text, address_raw text,
             number_order int, side text, point_lat float8, point_lon float8, point_crs text, point_accuracy_m float8, occupancy text,
             occupancy_observed_on date, opening_hours text, note text, last_confirmed_on date, custom jsonb, conflict_count int,
             search text, merged_into uuid)
         on conflict (street, record) do update set grid = excluded.grid, generation = excluded.generation, seq = excluded.seq,
             sign_name = excluded.sign_name, legal_name = excluded.legal_name, credit_code = excluded.credit_code,
             category = excluded.category, road = excluded.road, number = excluded.number, number_suffix = excluded.number_suffix,
             lane = excluded.lane, unit = excluded.unit, address_raw = excluded.address_raw, number_order = excluded.number_order,
             side = excluded.side, point_lat = excluded.point_lat, point_lon = excluded.point_lon, point_crs = excluded.point_crs,
             point_accuracy_m = excluded.point_accuracy_m, occupancy = excluded.occupancy,
             occupancy_observed_on = excluded.occupancy_observed_on, opening_hours = excluded.opening_hours, note = excluded.note,
             last_confirmed_on = excluded.last_confirmed_on, custom = excluded.custom, conflict_count = excluded.conflict_count,
             search = excluded.search, merged_into = excluded.merged_into",
        street.as_str(),
        Json(cards) as _,
    )
    .execute(tx)
    .await?;
    Ok(())
}

/// One row of a card's list: the row's fields and the card it belongs to.
#[derive(Debug, Serialize)]
pub struct Of<T> {
    pub record: Uuid,
    #[serde(flatten)]
    pub row: T,
}

/// Replaces the contact persons of the cards.
pub async fn replace_contacts<T: Serialize + Sync>(
    tx: &mut PgConnection,
    street: &StreetCode,
    cards: &[Uuid],
    rows: &[Of<T>],
) -> sqlx::Result<()> {
    sqlx::query!(
        "delete from shop_contact where street = $1 and record = any($2)",
        street.as_str(),
        cards
    )
    .execute(&mut *tx)
    .await?;
    sqlx::query!(
        "insert into shop_contact (street, record, entry, name, phones, role, preferred_time, party_status)
         select $1, * from jsonb_to_recordset($2)
             as x (record uuid, entry uuid, name text, phones text, role text, preferred_time text, party_status text)",
        street.as_str(),
        Json(rows) as _,
    )
    .execute(tx)
    .await?;
    Ok(())
}

/// Replaces the consents of the cards.
pub async fn replace_consents<T: Serialize + Sync>(
    tx: &mut PgConnection,
    street: &StreetCode,
    cards: &[Uuid],
    rows: &[Of<T>],
) -> sqlx::Result<()> {
    sqlx::query!(
        "delete from shop_consent where street = $1 and record = any($2)",
        street.as_str(),
        cards
    )
    .execute(&mut *tx)
    .await?;
    sqlx::query!(
        "insert into shop_consent (street, record, entry, contact, scope, wording, channel, decision, given_on)
         select $1, * from jsonb_to_recordset($2) as x (record uuid, entry uuid, contact uuid, scope text, wording text, channel text,
             decision text, given_on date)",
        street.as_str(),
        Json(rows) as _,
    )
    .execute(tx)
    .await?;
    Ok(())
}

/// Replaces the tags of the cards.
pub async fn replace_tags(
    tx: &mut PgConnection,
    street: &StreetCode,
    cards: &[Uuid],
    rows: &[(Uuid, String)],
) -> sqlx::Result<()> {
    sqlx::query!(
        "delete from shop_tag where street = $1 and record = any($2)",
        street.as_str(),
        cards
    )
    .execute(&mut *tx)
    .await?;
    sqlx::query!(
        "insert into shop_tag (street, record, tag) select $1, * from unnest($2::uuid[], $3::text[])",
        street.as_str(),
        &rows.iter().map(|row| row.0).collect::<Vec<_>>(),
        &rows.iter().map(|row| row.1.clone()).collect::<Vec<_>>(),
    )
    .execute(tx)
    .await?;
    Ok(())
}

/// Replaces the keys under which the cards meet others.
pub async fn replace_keys(
    tx: &mut PgConnection,
    street: &StreetCode,
    cards: &[Uuid],
    rows: &[(Uuid, String)],
) -> sqlx::Result<()> {
    sqlx::query!(
        "delete from shop_key where street = $1 and record = any($2)",
        street.as_str(),
        cards
    )
    .execute(&mut *tx)
    .await?;
    sqlx::query!(
        "insert into shop_key (street, record, key) select $1, * from unnest($2::uuid[], $3::text[])",
        street.as_str(),
        &rows.iter().map(|row| row.0).collect::<Vec<_>>(),
        &rows.iter().map(|row| row.1.clone()).collect::<Vec<_>>(),
    )
    .execute(tx)
    .await?;
    Ok(())
}

/// A transfer request's row.
#[derive(Debug, Serialize)]
pub struct TransferWrite<T> {
    #[serde(flatten)]
    pub row: T,
    pub seq: i64,
    pub conflict_count: i32,
    /// When the term of the state is over.
    pub due_at: Option<String>,
    /// When the server's clock has something to do about it.
    pub clock_at: Option<String>,
}

/// Writes the transfer requests' rows, new or not.
pub async fn upsert_transfers<T: Serialize + Sync>(
    tx: &mut PgConnection,
    street: &StreetCode,
    transfers: &[TransferWrite<T>],
) -> sqlx::Result<()> {
    sqlx::query!(
        "insert into transfer (street, record, grid, generation, seq, transfer_kind, member_alias, member_name, member_status,
             origin_organisation, phone, target_branch, conflict_count, state, state_since, open, due_at, clock_at, submitted_at, revision,
             responsible, acting, letter_no, letter_expires_on, branch, accepted_on, expiry_proposed, open_tasks, pending)
         select $1, * from jsonb_to_recordset($2) as x (record uuid, grid text, generation int, seq bigint, transfer_kind text,
             member_alias text, member_name text, member_status text, origin_organisation text, phone text, target_branch text,
             conflict_count int, state text, state_since timestamptz, open boolean, due_at timestamptz, clock_at timestamptz,
             submitted_at timestamptz, revision int, responsible text, acting text, letter_no text, letter_expires_on date, branch text,
             accepted_on date, expiry_proposed boolean, open_tasks int, pending int)
         on conflict (street, record) do update set grid = excluded.grid, generation = excluded.generation, seq = excluded.seq,
             transfer_kind = excluded.transfer_kind, member_alias = excluded.member_alias, member_name = excluded.member_name,
             member_status = excluded.member_status, origin_organisation = excluded.origin_organisation, phone = excluded.phone,
             target_branch = excluded.target_branch, conflict_count = excluded.conflict_count,
             state = excluded.state, state_since = excluded.state_since, open = excluded.open, due_at = excluded.due_at,
             clock_at = excluded.clock_at, submitted_at = excluded.submitted_at, revision = excluded.revision,
             responsible = excluded.responsible, acting = excluded.acting, letter_no = excluded.letter_no,
             letter_expires_on = excluded.letter_expires_on, branch = excluded.branch, accepted_on = excluded.accepted_on,
             expiry_proposed = excluded.expiry_proposed, open_tasks = excluded.open_tasks, pending = excluded.pending",
        street.as_str(),
        Json(transfers) as _,
    )
    .execute(tx)
    .await?;
    Ok(())
}

/// An event of a transfer, with what only the server knows of it.
#[derive(Debug, Serialize)]
pub struct TransferEventWrite<T> {
    #[serde(flatten)]
    pub row: T,
    pub received_at: String,
}

/// Replaces the events of the transfers.
pub async fn replace_transfer_events<T: Serialize + Sync>(
    tx: &mut PgConnection,
    street: &StreetCode,
    transfers: &[Uuid],
    rows: &[Of<TransferEventWrite<T>>],
) -> sqlx::Result<()> {
    sqlx::query!(
        "delete from transfer_event where street = $1 and record = any($2)",
        street.as_str(),
        transfers
    )
    .execute(&mut *tx)
    .await?;
    sqlx::query!(
        "insert into transfer_event (street, record, event, no, type, seen, fields, device, device_time, received_at, outcome, code, state,
             ruled_at, username)
         select $1, * from jsonb_to_recordset($2) as x (record uuid, event uuid, no int, type text, seen uuid, fields jsonb, device uuid,
             device_time timestamptz, received_at timestamptz, outcome text, code text, state text, ruled_at timestamptz, username text)",
        street.as_str(),
        Json(rows) as _,
    )
    .execute(tx)
    .await?;
    Ok(())
}

/// A value in conflict, with what only the server knows of it.
#[derive(Debug, Serialize)]
pub struct ConflictWrite {
    pub field: String,
    pub op: String,
    pub value: serde_json::Value,
    pub device: Uuid,
    pub device_time: Option<String>,
    pub received_at: String,
    /// Where the field's conflict is harmless: how its values differ, and the one that loses nothing.
    pub class: Option<&'static str>,
    pub suggestion: Option<serde_json::Value>,
}

/// Replaces the conflicts of the records.
pub async fn replace_conflicts(
    tx: &mut PgConnection,
    street: &StreetCode,
    records: &[Uuid],
    rows: &[Of<ConflictWrite>],
) -> sqlx::Result<()> {
    sqlx::query!(
        "delete from field_conflict where street = $1 and record = any($2)",
        street.as_str(),
        records
    )
    .execute(&mut *tx)
    .await?;
    sqlx::query!(
        "insert into field_conflict (street, record, field, op, value, device, device_time, received_at, class, suggestion)
         select $1, * from jsonb_to_recordset($2) as x (record uuid, field text, op text, value jsonb, device uuid,
             device_time timestamptz, received_at timestamptz, class text, suggestion jsonb)",
        street.as_str(),
        Json(rows) as _,
    )
    .execute(tx)
    .await?;
    Ok(())
}

/// Removes every row of the street's read models, for a rebuild inside the same transaction.
pub async fn clear(tx: &mut PgConnection, street: &StreetCode) -> sqlx::Result<()> {
    let street = street.as_str();
    sqlx::query!("delete from field_conflict where street = $1", street)
        .execute(&mut *tx)
        .await?;
    sqlx::query!("delete from shop_key where street = $1", street)
        .execute(&mut *tx)
        .await?;
    sqlx::query!("delete from shop_tag where street = $1", street)
        .execute(&mut *tx)
        .await?;
    sqlx::query!("delete from shop_consent where street = $1", street)
        .execute(&mut *tx)
        .await?;
    sqlx::query!("delete from shop_contact where street = $1", street)
        .execute(&mut *tx)
        .await?;
    sqlx::query!("delete from shop_card where street = $1", street)
        .execute(&mut *tx)
        .await?;
    sqlx::query!("delete from transfer where street = $1", street)
        .execute(&mut *tx)
        .await?;
    sqlx::query!("delete from transfer_event where street = $1", street)
        .execute(&mut *tx)
        .await?;
    Ok(())
}
