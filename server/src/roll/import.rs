//! Import of a roll: the plan of [`crate::roll::sheet`] → ordinary records, whose first change the importer's desk writes.
//!
//! What each row is, and which record it becomes, is remembered first; then the records are pushed through the same pipeline as a phone's.
//! So a second import of the same file finds its rows and changes nothing, and one that was cut off is finished by running it again.

use std::collections::{BTreeMap, HashMap, HashSet};

use lianka_sync_core::{
    codec::wire::{PushedChange, VerdictStatus},
    crdt::{
        merge::Refusal,
        record::{Edit, Record, RecordError},
    },
    id::{Actor, EntryId, RecordId, StreetCode},
    kinds::{Kind, key, shop_card::CONTACTS},
    lang::Lang,
    time::{DeviceTime, ServerTime},
};
use serde::Serialize;
use sha2::{Digest, Sha256};
use sqlx::{PgConnection, Postgres, Transaction};
use time::OffsetDateTime;
use utoipa::ToSchema;
use uuid::Uuid;

use crate::{
    audit::{self, Action},
    auth::Principal,
    clock::Entropy,
    roll::{
        sheet::{
            self as roll_sheet, ColumnTarget, KnownGrid, RollError, RollLimits, RollPlan, RollRow,
            RollValue, StreetTables,
        },
        store::{self as roll, ImportWrite, ImportedRow},
    },
    state::App,
    street::{
        error::PushError,
        merge::{Author, Ingested, Push},
        queue::StreetQueues,
        store::{
            records,
            streets::{self, Grid},
        },
    },
};

/// Changes pushed at once: phones' pushes get their turn between two.
const PUSH_CHANGES: usize = 500;
/// The grid of rows whose grid the street does not know, until the office moves them.
const UNASSIGNED: &str = "未分配";

/// Why nothing, or not all, was imported.
#[derive(Debug, thiserror::Error)]
pub enum ImportError {
    #[error("the store refused")]
    Store(#[from] sqlx::Error),
    #[error("there is no such street")]
    NoStreet,
    #[error("there is no such grid")]
    NoGrid,
    #[error(transparent)]
    File(#[from] RollError),
    #[error("a card could not be made")]
    Record(#[from] RecordError),
    #[error(transparent)]
    Push(#[from] PushError),
    #[error("reading or writing ended early")]
    Task(#[from] tokio::task::JoinError),
}

/// What is asked for.
#[derive(Clone, Debug)]
pub struct Options {
    pub dry_run: bool,
    /// Grid of rows whose own is unknown.
    pub grid: Option<String>,
    pub file_name: String,
}

/// A column of the sheet and what it is read as.
#[derive(Serialize, ToSchema)]
pub struct ColumnReport {
    /// As the spreadsheet names it: A, B, …
    letters: String,
    heading: String,
    /// The field, `custom/<name>`, or `serial`, `sensitive` and `exported` for what is kept in the raw cells only.
    field: String,
}

/// A column that became a field of the street's own.
#[derive(Serialize, ToSchema)]
pub struct CustomFieldReport {
    name: String,
    label: String,
    /// text, date, number or choice.
    r#type: &'static str,
}

/// What is doubtful about a row. Nothing of it stops the import.
#[derive(Serialize, ToSchema)]
pub struct ProblemReport {
    /// Stable word.
    code: String,
    /// `warning` or `info`.
    severity: &'static str,
    /// As the spreadsheet counts.
    row: u32,
    /// Heading of the column.
    column: Option<String>,
    /// The other row of a pair.
    other_row: Option<u32>,
    message_zh: String,
    message_en: String,
}

/// What an import did, or would do.
#[derive(Serialize, ToSchema)]
pub struct ImportReport {
    dry_run: bool,
    /// Absent where nothing was written.
    import: Option<Uuid>,
    sheet: Option<String>,
    header_row: u32,
    columns: Vec<ColumnReport>,
    custom_fields: Vec<CustomFieldReport>,
    /// Rows that name a shop.
    rows: usize,
    /// Cards made, or to be made.
    created: usize,
    /// Rows that are cards already.
    unchanged: usize,
    blank_rows: usize,
    total_rows: usize,
    problem_counts: BTreeMap<String, usize>,
    problems: Vec<ProblemReport>,
}

/// Previews or imports a roll.
pub async fn run(
    app: &App,
    queues: &StreetQueues,
    street: &StreetCode,
    principal: &Principal,
    file: bytes::Bytes,
    options: Options,
) -> Result<ImportReport, ImportError> {
    let mut conn = app.pool.acquire().await?;
    streets::find_street(&mut conn, street)
        .await?
        .ok_or(ImportError::NoStreet)?;
    let roads = streets::all_roads(&mut conn, street).await?;
    let grids = streets::grids_of(&mut conn, street).await?;
    if let Some(grid) = &options.grid
        && !grids.iter().any(|known| known.grid == *grid)
    {
        return Err(ImportError::NoGrid);
    }
    let (plan, file_hash) =
        tokio::task::spawn_blocking(move || read(&file, &roads, &grids)).await??;
    drop(conn);
    let now = app.clock.now();
    let mut tx = app.pool.begin().await?;
    if !options.dry_run {
        // Of two imports of one file at once, the second finds the rows of the first.
        records::lock_street(&mut tx, street).await?;
    }
    let rows = planned(&mut tx, street, &plan, now, &app.entropy).await?;
    let created = rows.iter().filter(|row| !row.exists).count();
    let mut report = ImportReport::new(&plan, options.dry_run, created);
    if options.dry_run || created == 0 {
        return Ok(report);
    }
    let import = remember(
        app, tx, street, principal, &plan, &rows, &options, &file_hash, now,
    )
    .await?;
    push(
        app,
        queues,
        street,
        principal,
        &plan,
        rows,
        options.grid.as_deref().unwrap_or(UNASSIGNED),
        now,
        &mut report,
    )
    .await?;
    if report.created != created {
        let made = report.created as i32;
        roll::note_created(&mut *app.pool.acquire().await?, street, import, made).await?;
    }
    report.import = Some(import);
    Ok(report)
}

fn read(file: &[u8], roads: &[String], grids: &[Grid]) -> Result<(RollPlan, [u8; 32]), RollError> {
    let roads: Vec<&str> = roads.iter().map(String::as_str).collect();
    let grids: Vec<_> = grids
        .iter()
        .map(|grid| KnownGrid {
            code: &grid.grid,
            name: &grid.name,
            area: &grid.area,
        })
        .collect();
    let plan = roll_sheet::read(
        file,
        &StreetTables {
            roads: &roads,
            grids: &grids,
        },
        &RollLimits::default(),
    )?;
    Ok((plan, Sha256::digest(file).into()))
}

/// A row and the record it is, or is to be.
struct Planned {
    record: RecordId,
    /// An import knows the row already.
    remembered: bool,
    exists: bool,
}

impl Planned {
    fn new(
        row: &RollRow,
        imported: &HashMap<Vec<u8>, Uuid>,
        existing: &HashSet<Uuid>,
        now: ServerTime,
        entropy: &Entropy,
    ) -> Self {
        match imported.get(&row.identity[..]) {
            Some(record) => Self {
                record: RecordId(*record),
                remembered: true,
                exists: existing.contains(record),
            },
            None => Self {
                record: RecordId::new_v7(unix_ms(now), entropy.bytes()),
                remembered: false,
                exists: false,
            },
        }
    }
}

/// Which record each row is, or is to be.
async fn planned(
    conn: &mut PgConnection,
    street: &StreetCode,
    plan: &RollPlan,
    now: ServerTime,
    entropy: &Entropy,
) -> sqlx::Result<Vec<Planned>> {
    let identities: Vec<Vec<u8>> = plan.rows.iter().map(|row| row.identity.to_vec()).collect();
    let imported: HashMap<Vec<u8>, Uuid> = roll::imported(conn, street, &identities)
        .await?
        .into_iter()
        .collect();
    let known: Vec<Uuid> = imported.values().copied().collect();
    let existing: HashSet<Uuid> = roll::existing(conn, street, &known)
        .await?
        .into_iter()
        .collect();
    Ok(plan
        .rows
        .iter()
        .map(|row| Planned::new(row, &imported, &existing, now, entropy))
        .collect())
}

fn unix_ms(at: ServerTime) -> u64 {
    at.unix_ms().unsigned_abs()
}

#[expect(
    clippy::too_many_arguments,
    reason = "one call, with everything an import is"
)]
async fn remember(
    app: &App,
    mut tx: Transaction<'static, Postgres>,
    street: &StreetCode,
    principal: &Principal,
    plan: &RollPlan,
    rows: &[Planned],
    options: &Options,
    file_hash: &[u8],
    now: ServerTime,
) -> sqlx::Result<Uuid> {
    let import = RecordId::new_v7(unix_ms(now), app.entropy.bytes()).0;
    // Sensitive personal data needs the person's consent, so a sheet's column of it is not even kept as raw cells.
    let sensitive: HashSet<&str> = plan
        .columns
        .iter()
        .filter(|column| column.target == ColumnTarget::Sensitive)
        .map(|column| column.heading.as_str())
        .collect();
    let kept = |row: &RollRow| -> serde_json::Value {
        row.cells
            .iter()
            .filter(|(heading, _)| !sensitive.contains(heading.as_str()))
            .map(|cell| serde_json::json!(cell))
            .collect()
    };
    let fresh: Vec<_> = plan
        .rows
        .iter()
        .zip(rows)
        .filter(|(_, planned)| !planned.remembered)
        .map(|(row, planned)| ImportedRow {
            identity: row.identity.to_vec(),
            row_number: row.row as i32,
            record: Some(planned.record.0),
            cells: kept(row),
            problems: plan
                .problems
                .iter()
                .filter(|problem| problem.row == row.row)
                .map(|problem| problem.code.as_str())
                .collect(),
        })
        .collect();
    let custom_fields: Vec<_> = plan
        .custom_fields
        .iter()
        .map(|field| roll::CustomField {
            name: field.name.clone(),
            label: field.label.clone(),
            r#type: field.kind.as_str().to_owned(),
            class: "P1".to_owned(),
        })
        .collect();
    let mut events = Vec::new();
    if options.grid.is_none() && plan.rows.iter().any(|row| row.grid.is_none()) {
        let grid = Grid {
            grid: UNASSIGNED.to_owned(),
            name: UNASSIGNED.to_owned(),
            area: String::new(),
        };
        if streets::insert_grid(&mut tx, street, &grid).await? {
            events.push(principal.did(Action::Grid).with("grid", UNASSIGNED));
        }
    }
    roll::declare_custom_fields(&mut tx, street, &custom_fields).await?;
    let write = ImportWrite {
        import,
        file_name: &options.file_name,
        file_hash,
        device: principal.device(),
        at: OffsetDateTime::from(now),
        rows: &fresh,
        created: rows.iter().filter(|row| !row.exists).count() as i32,
    };
    roll::insert_import(&mut tx, street, &write).await?;
    let event = principal
        .did(Action::Import)
        .with("import", import.to_string())
        .with("rows", plan.rows.len());
    let event = event
        .with("file_sha256", hex::encode(file_hash))
        .with("custom_fields", plan.custom_fields.len());
    events.push(event);
    audit::append(&mut tx, street.into(), now, &events).await?;
    tx.commit().await?;
    Ok(import)
}

/// Makes the cards that are not there and pushes them as the desk's own changes.
#[expect(
    clippy::too_many_arguments,
    reason = "one call, with everything an import is"
)]
async fn push(
    app: &App,
    queues: &StreetQueues,
    street: &StreetCode,
    principal: &Principal,
    plan: &RollPlan,
    rows: Vec<Planned>,
    fallback_grid: &str,
    now: ServerTime,
    report: &mut ImportReport,
) -> Result<(), ImportError> {
    let author = Author {
        username: principal.username().to_owned(),
        role: principal.role(),
        device: principal.device(),
        wiped: principal.wipe(),
    };
    let wanted: Vec<_> = plan
        .rows
        .iter()
        .zip(rows)
        .filter(|(_, planned)| !planned.exists)
        .collect();
    for chunk in wanted.chunks(PUSH_CHANGES) {
        let cards: Vec<_> = chunk
            .iter()
            .map(|(row, planned)| {
                (
                    planned.record,
                    edits(
                        row,
                        street,
                        row.grid.as_deref().unwrap_or(fallback_grid),
                        now,
                        &app.entropy,
                    ),
                )
            })
            .collect();
        let actor = Actor::new(author.device, 1);
        let at = DeviceTime::from_unix_ms(now.unix_ms());
        let changes = tokio::task::spawn_blocking(move || {
            cards
                .into_iter()
                .map(|(record, edits)| created(record, actor, at, &edits))
                .collect::<Result<Vec<_>, RecordError>>()
        });
        let changes = changes.await??;
        let outcomes = queues
            .push(
                street,
                Push {
                    author: author.clone(),
                    changes,
                },
                false,
            )
            .await?;
        for ((row, _), outcome) in chunk.iter().zip(outcomes) {
            match (outcome.status, outcome.refusal) {
                // Another import of the same rows, at the same time, was first.
                (VerdictStatus::Duplicate, _) => report.was_there(),
                (_, Some(refusal)) if refusal.code() == "record_exists" => report.was_there(),
                (VerdictStatus::Rejected, Some(refusal)) => report.refused(row.row, &refusal),
                _ => {}
            }
        }
    }
    Ok(())
}

fn created(
    record: RecordId,
    actor: Actor,
    at: DeviceTime,
    edits: &[Edit],
) -> Result<Ingested, RecordError> {
    let change = match Record::create(actor, at, edits) {
        Ok((_, change)) => Ok(change),
        // A row with more in it than a change may hold: it is refused and told of like any other, and the rest goes on.
        Err(RecordError::Edit(error)) => Err(error),
        Err(error) => return Err(error),
    };
    let bytes = change
        .as_ref()
        .map(|change| change.bytes.clone())
        .unwrap_or_default();
    Ok(Ingested {
        pushed: PushedChange {
            record,
            kind: Kind::ShopCard,
            generation: 1,
            bytes,
        },
        change,
    })
}

fn edits(
    row: &RollRow,
    street: &StreetCode,
    grid: &str,
    now: ServerTime,
    entropy: &Entropy,
) -> Vec<Edit> {
    let mut edits = vec![
        Edit::set(key::KIND, Kind::ShopCard.as_str()),
        Edit::set(key::STREET, street.as_str()),
        Edit::set(key::GRID, grid),
    ];
    edits.extend(row.values.iter().filter(|(at, _)| at != key::GRID).map(
        |(key, value)| match value {
            RollValue::Text(text) => Edit::set(key, text),
            RollValue::Flag => Edit::add(key),
        },
    ));
    for contact in &row.contacts {
        let entry = EntryId::new_v7(unix_ms(now), entropy.bytes());
        edits.extend(
            contact
                .fields()
                .map(|(field, value)| Edit::set(format!("{CONTACTS}/{entry}/{field}"), value)),
        );
    }
    // An empty text would be a deletion of what is not there.
    edits.retain(|edit| !matches!(edit, Edit::Delete { .. }));
    edits.extend(
        row.note
            .iter()
            .map(|text| Edit::Note { text: text.clone() }),
    );
    edits
}

impl ImportReport {
    fn new(plan: &RollPlan, dry_run: bool, created: usize) -> Self {
        let problems: Vec<_> = plan
            .problems
            .iter()
            .map(|problem| ProblemReport {
                code: problem.code.as_str().to_owned(),
                severity: match problem.code.severity() {
                    roll_sheet::Severity::Info => "info",
                    roll_sheet::Severity::Warning => "warning",
                },
                row: problem.row,
                column: problem.column.clone(),
                other_row: problem.other_row,
                message_zh: problem.zh.clone(),
                message_en: problem.en.clone(),
            })
            .collect();
        let mut problem_counts = BTreeMap::new();
        for problem in &problems {
            *problem_counts.entry(problem.code.clone()).or_insert(0) += 1;
        }
        Self {
            dry_run,
            import: None,
            sheet: plan.sheet.clone(),
            header_row: plan.header_row,
            columns: plan
                .columns
                .iter()
                .map(|column| ColumnReport {
                    letters: column.letters.clone(),
                    heading: column.heading.clone(),
                    field: column.target.name(),
                })
                .collect(),
            custom_fields: plan
                .custom_fields
                .iter()
                .map(|field| CustomFieldReport {
                    name: field.name.clone(),
                    label: field.label.clone(),
                    r#type: field.kind.as_str(),
                })
                .collect(),
            rows: plan.rows.len(),
            created,
            unchanged: plan.rows.len() - created,
            blank_rows: plan.blank_rows,
            total_rows: plan.total_rows,
            problem_counts,
            problems,
        }
    }

    /// A row was to be made, and was a card by then.
    fn was_there(&mut self) {
        self.created -= 1;
        self.unchanged += 1;
    }

    /// The pipeline refused a row that the plan thought right: told, with the row, never passed over.
    fn refused(&mut self, row: u32, refusal: &Refusal) {
        self.created -= 1;
        *self
            .problem_counts
            .entry(refusal.code().to_owned())
            .or_insert(0) += 1;
        self.problems.push(ProblemReport {
            code: refusal.code().to_owned(),
            severity: "warning",
            row,
            column: refusal.key().map(str::to_owned),
            other_row: None,
            message_zh: refusal.message(Lang::Zh),
            message_en: refusal.message(Lang::En),
        });
    }
}
