//! Read models: the typed rows that a street office queries. Written with the records they are of, in the same transaction.
//!
//! A row's members are the columns: nobody lists them here. `tests/kinds.rs` compares what the kinds say with the database.

use std::fmt::Write as _;

use lianka_sync_core::{
    id::StreetCode,
    kinds::{Kind, Table},
};
use serde::Serialize;
use serde_json::Value;
use sqlx::{AssertSqlSafe, PgConnection};
use uuid::Uuid;

/// Rows for one table.
pub struct Batch {
    table: &'static Table,
    /// Records whose rows these are, where they replace what the table had of them.
    pub of: Vec<Uuid>,
    /// The rows as a JSON array, its bracket still open.
    rows: Vec<u8>,
    columns: Vec<String>,
}

impl Batch {
    /// No rows yet.
    pub fn new(table: &'static Table) -> Self {
        Self {
            table,
            of: Vec::new(),
            rows: Vec::new(),
            columns: Vec::new(),
        }
    }

    /// One more. Every row of a table has the same members.
    pub fn push(&mut self, row: &impl Serialize) {
        self.rows
            .push(if self.rows.is_empty() { b'[' } else { b',' });
        let start = self.rows.len();
        // Plain rows serialise; a row that did not would make the statement fail.
        let _ = serde_json::to_writer(&mut self.rows, row);
        if self.columns.is_empty()
            && let Ok(Value::Object(members)) = serde_json::from_slice(&self.rows[start..])
        {
            let own = |column: &String| !self.table.elsewhere.contains(&column.as_str());
            self.columns = members
                .into_iter()
                .map(|(name, _)| name)
                .filter(own)
                .collect();
        }
    }

    fn json(&self) -> String {
        String::from_utf8_lossy(&self.rows).into_owned() + "]"
    }

    /// The rows as a statement's source, with the street: `$1` the street, `$2` the rows.
    fn insert(&self) -> String {
        let (table, columns) = (self.table.name, self.columns.join(", "));
        let values: Vec<_> = self.columns.iter().map(|c| format!("u.{c}")).collect();
        format!(
            "insert into {table} (street, {columns}) select s.street, {} from street s cross join jsonb_populate_recordset(null::{table}, $2::text::jsonb) u where s.street = $1",
            values.join(", ")
        )
    }
}

/// Writes records' own rows, new or not.
pub async fn upsert(tx: &mut PgConnection, street: &StreetCode, batch: &Batch) -> sqlx::Result<()> {
    if batch.columns.is_empty() {
        return Ok(());
    }
    let mut statement = batch.insert() + " on conflict (street, record) do update set ";
    let others = batch.columns.iter().filter(|column| *column != "record");
    for (at, column) in others.enumerate() {
        let comma = if at == 0 { "" } else { ", " };
        // Writing to a text has no way to fail.
        let _ = write!(statement, "{comma}{column} = excluded.{column}");
    }
    // Names of tables and columns cannot be bound; they are the program's own.
    sqlx::query(AssertSqlSafe(statement))
        .bind(street.as_str())
        .bind(batch.json())
        .execute(tx)
        .await?;
    Ok(())
}

/// Replaces the records' rows of a list.
pub async fn replace(
    tx: &mut PgConnection,
    street: &StreetCode,
    batch: &Batch,
) -> sqlx::Result<()> {
    let table = batch.table.name;
    let delete = format!("delete from {table} where street = $1 and record = any($2)");
    sqlx::query(AssertSqlSafe(delete))
        .bind(street.as_str())
        .bind(&batch.of)
        .execute(&mut *tx)
        .await?;
    if batch.columns.is_empty() {
        return Ok(());
    }
    sqlx::query(AssertSqlSafe(batch.insert()))
        .bind(street.as_str())
        .bind(batch.json())
        .execute(tx)
        .await?;
    Ok(())
}

/// Records that belong to others: whom, and which.
pub async fn belonging_to(
    tx: &mut PgConnection,
    street: &StreetCode,
    owners: &[Uuid],
) -> sqlx::Result<Vec<(Uuid, Uuid)>> {
    let mut found = Vec::new();
    for description in Kind::ALL.map(Kind::description) {
        let (Some(owner), Some(table)) = (description.belongs_to, description.tables.first())
        else {
            continue;
        };
        let statement = format!(
            "select {owner}, record from {} where street = $1 and {owner} = any($2) order by record",
            table.name
        );
        let rows: Vec<(Uuid, Uuid)> = sqlx::query_as(AssertSqlSafe(statement))
            .bind(street.as_str())
            .bind(owners)
            .fetch_all(&mut *tx)
            .await?;
        found.extend(rows);
    }
    Ok(found)
}

/// Removes every row of the street's read models, for a rebuild inside the same transaction.
pub async fn clear(tx: &mut PgConnection, street: &StreetCode) -> sqlx::Result<()> {
    for table in Kind::read_models() {
        let statement = format!("delete from {table} where street = $1");
        sqlx::query(AssertSqlSafe(statement))
            .bind(street.as_str())
            .execute(&mut *tx)
            .await?;
    }
    Ok(())
}
