//! PROJECT, the IO half: register states → rows of the read models, in the transaction that changed them.
//!
//! The rows are a function of the register state, and the days on which terms of transfers end of the street's calendar as well; so [`rebuild`]
//! yields what the pipeline wrote; a test compares the two.

use std::collections::BTreeMap;

use lianka_office_core::store::RecordWrite;
use lianka_sync_core::{
    codec::change::Scalar,
    crdt::{conflict, merge::RegisterState},
    id::{RecordId, StreetCode},
    kinds::{
        Kind, Rows, Table,
        projection::{self, ConflictRow, Stored, Tables, Touched},
        transfer::calendar::Calendar,
    },
};
use serde::Serialize;
use sqlx::{PgConnection, PgPool};
use uuid::Uuid;

use crate::{
    pipeline_point::{PipelinePoint, reached},
    street::store::{
        calendars,
        read_models::{self, Batch},
        records,
    },
};

/// A record to project, and which of its lists may have changed.
#[derive(Debug)]
pub struct Projection<'p> {
    pub record: RecordId,
    pub seq: i64,
    pub state: &'p RegisterState,
    pub touched: &'p Touched,
}

impl<'p> Projection<'p> {
    /// Of a record as it is written.
    pub fn of(record: &'p RecordWrite) -> Self {
        Self {
            record: record.record,
            seq: record.seq,
            state: &record.state,
            touched: &record.touched,
        }
    }
}

/// Values in conflict, of records of every kind.
static CONFLICTS: Table = Table {
    name: "field_conflict",
    of: Rows::Computed,
    derived: &[],
    elsewhere: &[],
};

/// What one transaction writes to the read models, gathered by table.
#[derive(Default)]
pub struct Gathered {
    own: BTreeMap<&'static str, Batch>,
    lists: BTreeMap<&'static str, Batch>,
}

impl Tables for Gathered {
    fn upsert(&mut self, table: &'static Table, row: &impl Serialize) {
        self.own
            .entry(table.name)
            .or_insert_with(|| Batch::new(table))
            .push(row);
    }

    fn replace<R: Serialize>(
        &mut self,
        table: &'static Table,
        record: RecordId,
        rows: impl IntoIterator<Item = R>,
    ) {
        let batch = self
            .lists
            .entry(table.name)
            .or_insert_with(|| Batch::new(table));
        batch.of.push(record.0);
        for row in rows {
            batch.push(&Of {
                record: record.0,
                row,
            });
        }
    }
}

/// One row of a record's list: the row's members and the record it belongs to.
#[derive(Serialize)]
struct Of<T> {
    record: Uuid,
    #[serde(flatten)]
    row: T,
}

/// A value in conflict, with what only the server knows of it.
#[derive(Serialize)]
struct ConflictWrite {
    field: String,
    op: String,
    value: serde_json::Value,
    device: Uuid,
    device_time: Option<String>,
    received_at: String,
    /// Where the field's conflict is harmless: how its values differ, and the one that loses nothing.
    class: Option<&'static str>,
    suggestion: Option<serde_json::Value>,
}

impl Gathered {
    fn add(&mut self, projection: &Projection<'_>, calendar: &Calendar) {
        let Projection {
            record,
            seq,
            state,
            touched,
        } = projection;
        // A state without a kind cannot have been accepted; there would be nothing to show.
        let view = state.view();
        let Some(projected) = projection::project(*record, state.generation(), &view) else {
            return;
        };
        let conflict_count = fields_in_conflict(projected.conflicts());
        if touched.conflicts || conflict_count > 0 {
            let fields = projected.conflicts().chunk_by(|a, b| a.field == b.field);
            let rows = fields.flat_map(|rows| conflict_writes(rows, state));
            self.replace(&CONFLICTS, *record, rows);
        }
        let stored = Stored {
            seq: *seq,
            conflict_count,
            view: &view,
            created_at: state.created_at(),
            received_at: &|op| state.received_at(op),
            touched,
            calendar,
        };
        projected.store(&stored, self);
    }

    /// Of records none of which has terms: only transfers do.
    pub fn without_terms(records: &[RecordWrite]) -> Option<Self> {
        let mut rows = Self::default();
        for record in records {
            if has_terms(&record.state) {
                return None;
            }
            rows.add(&Projection::of(record), &Calendar::shipped());
        }
        Some(rows)
    }

    /// Writes them.
    pub async fn write(self, tx: &mut PgConnection, street: &StreetCode) -> sqlx::Result<()> {
        for batch in self.own.values() {
            read_models::upsert(tx, street, batch).await?;
        }
        for batch in self.lists.values() {
            read_models::replace(tx, street, batch).await?;
        }
        Ok(())
    }
}

fn fields_in_conflict(conflicts: &[ConflictRow]) -> i32 {
    conflicts
        .iter()
        .map(|row| &row.field)
        .collect::<std::collections::BTreeSet<_>>()
        .len() as i32
}

/// The rows of one field in conflict.
fn conflict_writes(rows: &[ConflictRow], state: &RegisterState) -> Vec<ConflictWrite> {
    let values: Vec<&Scalar> = rows.iter().map(|row| &row.value).collect();
    let field = rows.first().and_then(|row| state.kind().field(&row.field));
    let harmless = field.and_then(|(field, _)| conflict::harmless(field, &values));
    let json = |value: &Scalar| match value {
        Scalar::Bool(value) => (*value).into(),
        Scalar::Int(value) => (*value).into(),
        Scalar::Str(value) => value.as_str().into(),
    };
    let write = |row: &ConflictRow| {
        Some(ConflictWrite {
            field: row.field.clone(),
            op: row.op.clone(),
            value: json(&row.value),
            device: row.device.0,
            device_time: row.device_time.map(|at| at.to_string()),
            received_at: state.received_at(&row.op)?.to_string(),
            class: harmless.as_ref().map(|harmless| harmless.class.as_str()),
            suggestion: harmless.as_ref().map(|harmless| json(&harmless.suggestion)),
        })
    };
    rows.iter().filter_map(write).collect()
}

/// Only transfers have terms.
fn has_terms(state: &RegisterState) -> bool {
    state.kind() == Kind::TransferRequest
}

/// Projects the records and writes their rows.
pub async fn write(
    tx: &mut PgConnection,
    street: &StreetCode,
    projections: &[Projection<'_>],
) -> sqlx::Result<()> {
    let mut rows = Gathered::default();
    let calendar = if projections
        .iter()
        .any(|projection| has_terms(projection.state))
    {
        calendars::calendar(tx, street).await?
    } else {
        Calendar::shipped()
    };
    for projection in projections {
        rows.add(projection, &calendar);
    }
    rows.write(tx, street).await
}

/// Why a rebuild stopped.
#[derive(Debug, thiserror::Error)]
pub enum RebuildError {
    #[error("the store cannot be read or written")]
    Store(#[from] sqlx::Error),
    #[error("record {0}: its stored register state does not parse; restore it from a backup")]
    State(RecordId),
    #[error("there is no street {0}")]
    NoStreet(StreetCode),
}

/// Records projected before the next are read.
const REBUILD_PAGE: i64 = 500;

/// Makes a street's read models anew from its records, in one transaction; `progress` is told how many are done.
pub async fn rebuild(
    pool: &PgPool,
    street: &StreetCode,
    mut progress: impl FnMut(u64),
) -> Result<u64, RebuildError> {
    let mut tx = pool.begin().await?;
    records::lock_street(&mut tx, street)
        .await?
        .ok_or_else(|| RebuildError::NoStreet(street.clone()))?;
    read_models::clear(&mut tx, street).await?;
    reached(PipelinePoint::ModelsCleared);
    let (mut after, mut done) = (Uuid::nil(), 0);
    loop {
        let page = records::page_of_states(&mut tx, street, after, REBUILD_PAGE).await?;
        let Some((last, ..)) = page.last() else { break };
        after = last.0;
        let states = page
            .into_iter()
            .map(|(record, seq, state)| {
                Ok((
                    record,
                    seq,
                    RegisterState::from_bytes(&state).map_err(|_| RebuildError::State(record))?,
                ))
            })
            .collect::<Result<Vec<_>, RebuildError>>()?;
        let projections: Vec<_> = states
            .iter()
            .map(|(record, seq, state)| Projection {
                record: *record,
                seq: *seq,
                state,
                touched: &Touched::ALL,
            })
            .collect();
        write(&mut tx, street, &projections).await?;
        reached(PipelinePoint::ModelsWritten);
        done += projections.len() as u64;
        progress(done);
    }
    tx.commit().await?;
    Ok(done)
}
