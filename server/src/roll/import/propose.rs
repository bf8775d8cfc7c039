//! A sheet and the roll → what each row would change.
//!
//! Rows go through part by part: read by a thread of its own, matched and compared here, stored, and let go. So memory holds the sheet as it was read and
//! a few hundred rows, however many there are; and nothing is locked in which phones wait. A proposal shows once all of its rows are there: until
//! then it counts as dropped, and one that was cut off is swept away as such.

mod elsewhere;
mod own;

use std::{
    collections::{BTreeMap, BTreeSet, HashMap, HashSet},
    ops::ControlFlow,
    sync::Arc,
};

use lianka_office_core::roll::grids::GridNames;
use lianka_sync_core::{
    authority::Said as NewlySaid,
    crdt::merge::RegisterState,
    id::{RecordId, StreetCode},
    time::ServerTime,
};
use sha2::{Digest, Sha256};
use sqlx::PgConnection;
use tokio::sync::mpsc;
use uuid::Uuid;

use super::{
    ImportError, Office,
    plan::{Plan, ProblemReport},
    report::{ImportReport, PROBLEMS_MAX},
    store::{self, ImportRow, ProposalWrite, RowInsert},
    workbook::Known,
};
use crate::{
    audit::{self, Action},
    roll::sheet::{
        ColumnTarget, KnownGrid, Lines, Part, Roll, RollError, RollLimits, StreetTables, Totals,
    },
    street::store::{
        records,
        streets::{self, Grid},
    },
};

use own::Own;

/// Rows looked up at once.
const ROWS_AT_ONCE: usize = 1_000;
/// Parts that are read ahead of the one that is compared.
const PARTS_AHEAD: usize = 2;
/// Problems of rows of earlier parts that are noted together.
const LATE_AT_ONCE: usize = 1_000;
/// Rows by which an export's columns are told.
const ROWS_SAMPLED: usize = 300;
/// Cards of an export that are named as missing in the sheet.
const MISSING_MAX: i64 = 200;
/// Exports that a sheet without the export's column is held against.
const EXPORTS_TRIED: i64 = 12;
/// Cards that are named as perhaps the row's.
const CANDIDATES_MAX: usize = 5;

/// What is asked for.
#[derive(Clone, Debug)]
pub struct Options {
    /// Only report; nothing is kept.
    pub dry_run: bool,
    /// Grid of rows whose own is unknown.
    pub grid: Option<String>,
    pub file_name: String,
}

/// The ids that rows carry: of a card, and of an export where there is one.
type Ids = BTreeMap<u32, (RecordId, Option<Uuid>)>;

/// A sheet whose headings are found, with what is known of the street.
struct Read {
    roll: Roll,
    lines: Lines,
    ids: Ids,
    hash: [u8; 32],
    roads: Vec<String>,
    grids: Vec<Grid>,
    names: Vec<GridNames>,
    now: ServerTime,
}

impl Read {
    fn open(
        file: &[u8],
        roads: Vec<String>,
        grids: Vec<Grid>,
        now: ServerTime,
    ) -> Result<Self, RollError> {
        let roll = Roll::open(file, &RollLimits::default())?;
        let lines = roll.lines();
        Ok(Self {
            ids: ids(&lines),
            lines,
            roll,
            hash: Sha256::digest(file).into(),
            names: grids
                .iter()
                .map(|grid| GridNames::of(&known(grid)))
                .collect(),
            roads,
            grids,
            now,
        })
    }

    /// The cells of a row below the headings.
    fn line(&self, row: u32) -> Option<Vec<String>> {
        self.lines.get(row)
    }

    /// The street, for whoever reads a sheet from elsewhere.
    fn street<T>(&self, then: impl FnOnce(&StreetTables<'_>) -> T) -> T {
        let roads = self.road_names();
        let grids: Vec<_> = self.grids.iter().map(known).collect();
        then(&StreetTables {
            roads: &roads,
            grids: &grids,
            now: Some(self.now),
        })
    }

    /// The street, for whoever reads a sheet of ours. `roads`: [`Self::road_names`].
    fn known<'r>(&'r self, roads: &'r [&'r str]) -> Known<'r> {
        Known {
            grids: &self.names,
            roads,
            said: NewlySaid::AtOffice(self.now),
        }
    }

    fn road_names(&self) -> Vec<&str> {
        self.roads.iter().map(String::as_str).collect()
    }
}

fn known(grid: &Grid) -> KnownGrid<'_> {
    KnownGrid {
        code: &grid.grid,
        name: &grid.name,
        area: &grid.area,
    }
}

/// Proposes a sheet, and remembers the proposal unless it is only asked what it would be.
pub async fn propose(
    office: &Office<'_>,
    file: bytes::Bytes,
    options: Options,
) -> Result<ImportReport, ImportError> {
    let street = office.street;
    let mut conn = office.pool.acquire().await?;
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
    drop(conn);
    let now = office.clock.now();
    // The file itself is let go once its cells are read.
    let open = move || Read::open(&file, roads, grids, now);
    let read = Arc::new(tokio::task::spawn_blocking(open).await??);
    let import = RecordId::new_v7(now.unix_ms().unsigned_abs(), office.entropy.bytes()).0;
    let mut conn = office.pool.acquire().await?;
    let base_seq = store::head(&mut conn, street).await?;
    let mut plan = Plan::of(&read.roll);
    plan.grid = options.grid;
    for problem in read.street(|street| read.roll.problems(street)) {
        let report = ProblemReport::from(&problem);
        *plan.problem_counts.entry(report.code.clone()).or_insert(0) += 1;
        plan.problems.push(report);
    }
    let mut proposal = Proposal::new(street, import, now, &read);
    proposal.is_kept = !options.dry_run;
    proposal.find_own(&mut conn, &mut plan).await?;
    proposal.taken = proposal.own.cards().collect();
    let mut shown = ImportRow {
        import,
        file_name: options.file_name,
        file_hash: read.hash.to_vec(),
        username: office.by.username.clone(),
        at: now.into(),
        status: "proposed".to_owned(),
        plan: sqlx::types::Json(plan),
        base_seq,
        counts: sqlx::types::Json(Vec::new()),
    };
    if proposal.is_kept {
        begin(&mut conn, office, &shown).await?;
    }
    if let Err(error) = proposal.all_parts(&mut conn, &read).await {
        if proposal.is_kept {
            store::drop_open(&mut conn, street, import).await?;
        }
        return Err(error);
    }
    drop(conn);
    let problems = std::mem::take(&mut proposal.problems);
    let rows = proposal.settle_plan(&mut shown);
    if proposal.is_kept {
        keep(office, &shown, rows).await?;
    }
    Ok(ImportReport::of(shown, options.dry_run, problems))
}

/// Remembers that there is to be a proposal.
async fn begin(
    conn: &mut PgConnection,
    office: &Office<'_>,
    row: &ImportRow,
) -> Result<(), ImportError> {
    let write = ProposalWrite {
        import: row.import,
        file_name: &row.file_name,
        file_hash: &row.file_hash,
        device: office.by.device,
        username: &row.username,
        at: row.at,
        plan: &row.plan.0,
        base_seq: row.base_seq,
    };
    store::insert_proposal(conn, office.street, &write).await?;
    Ok(())
}

/// Shows a proposal whose rows are all there.
async fn keep(office: &Office<'_>, row: &ImportRow, rows: i64) -> Result<(), ImportError> {
    let street = office.street;
    let mut tx = office.pool.begin().await?;
    let count = i32::try_from(rows).unwrap_or(i32::MAX);
    store::show_proposal(&mut tx, street, row.import, &row.status, count, &row.plan.0).await?;
    let event = office
        .by
        .event(Action::ImportProposed)
        .with("import", row.import.to_string())
        .with("rows", rows)
        .with("file_sha256", hex::encode(&row.file_hash));
    audit::append(&mut tx, street.into(), row.at.into(), &[event]).await?;
    tx.commit().await?;
    Ok(())
}

/// What is proposed so far.
struct Proposal<'p> {
    street: &'p StreetCode,
    import: Uuid,
    now: ServerTime,
    read: &'p Read,
    /// Whether it is stored.
    is_kept: bool,
    own: Own,
    /// Headings of columns of which nothing is kept.
    sensitive: BTreeSet<String>,
    /// The rows of the part that is looked at.
    rows: BTreeMap<u32, RowInsert>,
    /// The rows before this one are done.
    looked_at: u32,
    /// Which row of the sheet is which card: a second one is no row of it.
    taken: HashMap<RecordId, u32>,
    /// Rows of which it does not matter what reading them as anybody's sheet doubts.
    quiet: HashSet<u32>,
    /// Problems of rows that are stored already.
    late: Vec<ProblemReport>,
    /// How many rows there are of each outcome and state, and problems of each code.
    counts: BTreeMap<(&'static str, &'static str), i64>,
    problem_counts: BTreeMap<String, usize>,
    /// The first problems.
    problems: Vec<ProblemReport>,
    totals: Totals,
}

impl<'p> Proposal<'p> {
    fn new(street: &'p StreetCode, import: Uuid, now: ServerTime, read: &'p Read) -> Self {
        let columns = read.roll.columns().iter();
        Self {
            street,
            import,
            now,
            read,
            is_kept: false,
            own: Own::default(),
            sensitive: columns
                .filter(|column| column.target == ColumnTarget::Sensitive)
                .map(|column| column.heading.clone())
                .collect(),
            rows: BTreeMap::new(),
            looked_at: 0,
            taken: HashMap::new(),
            quiet: HashSet::new(),
            late: Vec::new(),
            counts: BTreeMap::new(),
            problem_counts: BTreeMap::new(),
            problems: Vec::new(),
            totals: Totals::default(),
        }
    }

    /// Reads all rows, and stores what each would change.
    async fn all_parts(
        &mut self,
        conn: &mut PgConnection,
        read: &Arc<Read>,
    ) -> Result<(), ImportError> {
        let (sender, mut parts) = mpsc::channel(PARTS_AHEAD);
        let reader = Arc::clone(read);
        let reading = tokio::task::spawn_blocking(move || {
            reader.street(|street| {
                reader
                    .roll
                    .parts(street, |part| match sender.blocking_send(part) {
                        Ok(()) => ControlFlow::Continue(()),
                        // Nobody waits for the rest.
                        Err(_) => ControlFlow::Break(()),
                    })
            })
        });
        while let Some(part) = parts.recv().await {
            self.part(conn, part).await?;
        }
        self.totals = reading.await?;
        self.note_late(conn).await
    }

    async fn part(&mut self, conn: &mut PgConnection, part: Part) -> Result<(), ImportError> {
        for problem in &part.problems {
            let report = ProblemReport::from(problem);
            self.entry(problem.row).content.problems.push(report);
        }
        let spoken_of = part
            .late
            .iter()
            .filter(|late| !self.quiet.contains(&late.row));
        let late: Vec<_> = spoken_of.map(ProblemReport::from).collect();
        self.own_rows(conn, part.upto).await?;
        self.elsewhere(conn, part.rows).await?;
        self.looked_at = part.upto;
        let mut rows: Vec<RowInsert> = std::mem::take(&mut self.rows).into_values().collect();
        for row in &mut rows {
            self.place(row);
            *self.counts.entry((row.outcome, row.state())).or_insert(0) += 1;
            for problem in &row.content.problems {
                self.tell(problem);
            }
        }
        for problem in &late {
            self.tell(problem);
        }
        self.late.extend(late);
        if self.is_kept {
            store::insert_rows(conn, self.street, self.import, &rows).await?;
        }
        if self.late.len() >= LATE_AT_ONCE {
            self.note_late(conn).await?;
        }
        Ok(())
    }

    async fn note_late(&mut self, conn: &mut PgConnection) -> Result<(), ImportError> {
        let late = std::mem::take(&mut self.late);
        if self.is_kept && !late.is_empty() {
            store::add_problems(conn, self.street, self.import, &late).await?;
        }
        Ok(())
    }

    fn tell(&mut self, problem: &ProblemReport) {
        *self.problem_counts.entry(problem.code.clone()).or_insert(0) += 1;
        if self.problems.len() < PROBLEMS_MAX {
            self.problems.push(problem.clone());
        }
    }

    fn entry(&mut self, row: u32) -> &mut RowInsert {
        self.rows.entry(row).or_insert_with(|| RowInsert::of(row))
    }

    /// The row as it stands so far, to be put back.
    fn taken_out(&mut self, row: u32) -> RowInsert {
        self.rows.remove(&row).unwrap_or_else(|| RowInsert::of(row))
    }

    /// What reading a row as anybody's sheet doubted does not matter, nor what it will.
    fn hush(&mut self, row: u32) {
        self.entry(row).content.problems.clear();
        self.quiet.insert(row);
    }

    /// Rows that name no shop, and rows of ours, are told apart by where they stand: they are found by nothing else.
    fn place(&self, row: &mut RowInsert) {
        if row.identity.is_empty() {
            row.identity = Sha256::new_with_prefix(self.import.as_bytes())
                .chain_update(row.row.unsigned_abs().to_be_bytes())
                .finalize()
                .to_vec();
        }
    }

    /// Writes into the plan what all rows together are; how many there are.
    fn settle_plan(&self, shown: &mut ImportRow) -> i64 {
        let plan = &mut shown.plan.0;
        (plan.blank_rows, plan.total_rows) = (self.totals.blank_rows, self.totals.total_rows);
        let unsaid = &self.totals.unsaid;
        plan.custom_fields
            .retain(|field| !unsaid.contains(field.name()));
        for (code, count) in &self.problem_counts {
            *plan.problem_counts.entry(code.clone()).or_insert(0) += count;
        }
        let waits = ["new", "update", "likely_same", "ambiguous"];
        if !self
            .counts
            .keys()
            .any(|(outcome, _)| waits.contains(outcome))
            && self.is_kept
        {
            // Nothing is left to decide.
            "applied".clone_into(&mut shown.status);
        }
        shown.counts.0 = self
            .counts
            .iter()
            .map(|((outcome, state), count)| ((*outcome).to_owned(), (*state).to_owned(), *count))
            .collect();
        self.counts.values().sum()
    }
}

/// The ids that rows carry.
fn ids(lines: &Lines) -> Ids {
    let parse = |cell: &String| cell.trim().parse::<Uuid>().ok().map(RecordId);
    // The column in which most cells are ids.
    let mut columns: HashMap<usize, usize> = HashMap::new();
    for (_, cells) in lines.iter() {
        for (at, cell) in cells.iter().enumerate() {
            if cell.trim().len() == 36 && parse(cell).is_some() {
                *columns.entry(at).or_insert(0) += 1;
            }
        }
    }
    let Some((column, _)) = columns.into_iter().max_by_key(|(at, count)| (*count, *at)) else {
        return BTreeMap::new();
    };
    lines
        .iter()
        .filter_map(|(row, cells)| {
            let record = cells.get(column).and_then(parse)?;
            let export = export_of(&cells).map(|(_, export)| export);
            Some((row, (record, export)))
        })
        .collect()
}

/// The street and the export that a row names, in the last cell that says `street/export/head`.
fn export_of(cells: &[String]) -> Option<(StreetCode, Uuid)> {
    let named = |cell: &String| {
        let mut parts = cell.trim().split('/');
        let (street, export) = (parts.next()?.parse().ok()?, parts.next()?.parse().ok()?);
        parts.next()?.parse::<i64>().ok()?;
        parts.next().is_none().then_some((street, export))
    };
    cells.iter().rev().find_map(named)
}

async fn states(
    conn: &mut PgConnection,
    street: &StreetCode,
    records: &[Uuid],
) -> sqlx::Result<HashMap<RecordId, RegisterState>> {
    let stored = records::load(conn, street, records).await?;
    Ok(stored
        .into_iter()
        .filter_map(|(record, stored)| {
            Some((record, RegisterState::from_bytes(&stored.state).ok()?))
        })
        .collect())
}
