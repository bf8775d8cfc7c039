//! PROJECT, the IO half: register states → rows of the read models, in the transaction that changed them.
//!
//! The rows are a function of the register state alone, so [`rebuild`] yields what the pipeline wrote; a test compares the two.

use lianka_office_core::store::Touched;
use lianka_sync_core::{
    codec::change::Scalar,
    crdt::{conflict, merge::RegisterState},
    id::{RecordId, StreetCode},
    kinds::{
        duplicate::Traits,
        projection::{self, CardRow, ConflictRow, Projected},
        transfer::{Case, Then},
    },
    time::ServerTime,
};
use sqlx::{PgConnection, PgPool};
use uuid::Uuid;

use crate::{
    pipeline_point::{PipelinePoint, reached},
    street::store::{
        read_models::{self, CardWrite, ConflictWrite, Of, TransferEventWrite, TransferWrite},
        records,
    },
};

/// A record to project, and which of its lists may have changed.
#[derive(Debug)]
pub struct Projection<'p> {
    pub record: RecordId,
    pub seq: i64,
    pub state: &'p RegisterState,
    pub touched: Touched,
}

/// What one transaction writes to the read models, gathered by table.
#[derive(Default)]
struct Rows {
    cards: Vec<CardWrite>,
    transfers: Vec<TransferWrite<projection::TransferRow>>,
    transfer_events: List<TransferEventWrite<projection::TransferEventRow>>,
    contacts: List<projection::ContactRow>,
    consents: List<projection::ConsentRow>,
    tags_of: Vec<Uuid>,
    tags: Vec<(Uuid, String)>,
    keys_of: Vec<Uuid>,
    keys: Vec<(Uuid, String)>,
    conflicts: List<ConflictWrite>,
}

/// Rows of a list table, and the records whose old rows they replace.
struct List<T> {
    of: Vec<Uuid>,
    rows: Vec<Of<T>>,
}

impl<T> Default for List<T> {
    fn default() -> Self {
        Self {
            of: Vec::new(),
            rows: Vec::new(),
        }
    }
}

impl<T> List<T> {
    fn replace(&mut self, record: Uuid, rows: impl IntoIterator<Item = T>) {
        self.of.push(record);
        self.rows
            .extend(rows.into_iter().map(|row| Of { record, row }));
    }
}

impl Rows {
    fn add(&mut self, projection: &Projection<'_>) {
        let Projection {
            record,
            seq,
            state,
            touched,
        } = projection;
        // A state without a kind cannot have been accepted; there would be nothing to show.
        let Some(projected) = projection::project(*record, state.generation(), &state.view())
        else {
            return;
        };
        let id = record.0;
        let conflict_count = fields_in_conflict(projected.conflicts());
        if touched.conflicts || conflict_count > 0 {
            let fields = projected.conflicts().chunk_by(|a, b| a.field == b.field);
            self.conflicts
                .replace(id, fields.flat_map(|rows| conflict_writes(rows, state)));
        }
        match projected {
            Projected::ShopCard(card) => self.add_card(*card, *seq, conflict_count, *touched),
            Projected::TransferRequest(row) => self.add_transfer(*row, *seq, conflict_count, state),
        }
    }

    fn add_transfer(
        &mut self,
        mut row: projection::TransferRow,
        seq: i64,
        conflict_count: i32,
        state: &RegisterState,
    ) {
        // A transfer has few events, and each change of it is one or a ruling: they are written whole every time.
        let events = std::mem::take(&mut row.events)
            .into_iter()
            .filter_map(|row| {
                let received_at = state.received_at(&row.op)?.to_string();
                Some(TransferEventWrite { row, received_at })
            });
        self.transfer_events.replace(row.record.0, events);
        row.conflicts.clear();
        let standing = Case::of(&state.view()).now;
        let at = |term: Option<(ServerTime, Then)>| term.map(|(at, _)| at.to_string());
        let (due_at, clock_at) = (
            at(standing.due(state.created_at())),
            at(standing.clock(state.created_at())),
        );
        self.transfers.push(TransferWrite {
            row,
            seq,
            conflict_count,
            due_at,
            clock_at,
        });
    }

    fn add_card(&mut self, mut row: CardRow, seq: i64, conflict_count: i32, touched: Touched) {
        let id = row.record.0;
        if touched.keys {
            self.keys_of.push(id);
            self.keys
                .extend(Traits::of(&row).keys().into_iter().map(|key| (id, key)));
        }
        let search = row.search_key();
        // Lists have tables of their own; the card's row carries none of them.
        let contacts = std::mem::take(&mut row.contacts);
        let consents = std::mem::take(&mut row.consents);
        let tags = std::mem::take(&mut row.tags);
        row.conflicts.clear();
        if touched.contacts {
            self.contacts.replace(id, contacts);
        }
        if touched.consents {
            self.consents.replace(id, consents);
        }
        if touched.tags {
            self.tags_of.push(id);
            self.tags.extend(tags.into_iter().map(|tag| (id, tag)));
        }
        self.cards.push(CardWrite {
            row,
            seq,
            conflict_count,
            search,
        });
    }

    async fn write(self, tx: &mut PgConnection, street: &StreetCode) -> sqlx::Result<()> {
        if !self.cards.is_empty() {
            read_models::upsert_cards(tx, street, &self.cards).await?;
        }
        if !self.transfers.is_empty() {
            read_models::upsert_transfers(tx, street, &self.transfers).await?;
            read_models::replace_transfer_events(
                tx,
                street,
                &self.transfer_events.of,
                &self.transfer_events.rows,
            )
            .await?;
        }
        if !self.contacts.of.is_empty() {
            read_models::replace_contacts(tx, street, &self.contacts.of, &self.contacts.rows)
                .await?;
        }
        if !self.consents.of.is_empty() {
            read_models::replace_consents(tx, street, &self.consents.of, &self.consents.rows)
                .await?;
        }
        if !self.tags_of.is_empty() {
            read_models::replace_tags(tx, street, &self.tags_of, &self.tags).await?;
        }
        if !self.keys_of.is_empty() {
            read_models::replace_keys(tx, street, &self.keys_of, &self.keys).await?;
        }
        if !self.conflicts.of.is_empty() {
            read_models::replace_conflicts(tx, street, &self.conflicts.of, &self.conflicts.rows)
                .await?;
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

/// Projects the records and writes their rows.
pub async fn write(
    tx: &mut PgConnection,
    street: &StreetCode,
    projections: &[Projection<'_>],
) -> sqlx::Result<()> {
    let mut rows = Rows::default();
    for projection in projections {
        rows.add(projection);
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
                touched: Touched::ALL,
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
