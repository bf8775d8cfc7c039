//! What people are told of an import and of its rows.

use std::collections::BTreeMap;

use lianka_sync_core::{id::RecordId, time::ServerTime};
use serde::Serialize;
use utoipa::ToSchema;
use uuid::Uuid;

use super::{
    diff::Differs,
    plan::{ColumnReport, Content, CustomFieldReport, ProblemReport},
    store::{ImportRow, StoredRow},
};

/// What an import did, or would do.
#[derive(Debug, Serialize, ToSchema)]
pub struct ImportReport {
    /// Whether this is a preview of which nothing is kept.
    pub dry_run: bool,
    /// Absent in a preview.
    pub import: Option<Uuid>,
    /// `proposed` (nothing of it, or not all, is written: somebody decides), `applying`, `applied`, `undoing`, `undone`, `dropped`.
    pub status: String,
    pub file_name: String,
    /// Who brought it; absent for imports of before 0.4.
    pub username: String,
    /// When.
    #[schema(value_type = String)]
    pub at: ServerTime,
    sheet: Option<String>,
    header_row: u32,
    columns: Vec<ColumnReport>,
    custom_fields: Vec<CustomFieldReport>,
    /// Whether the sheet came from an export here.
    export: Option<Uuid>,
    /// Rows that name a shop.
    rows: i64,
    /// Cards made, or to be made.
    created: i64,
    /// Rows that say nothing new.
    unchanged: i64,
    /// How many rows there are of each outcome: `unchanged`, `update`, `new`, `likely_same`, `ambiguous`, `skipped`.
    outcomes: BTreeMap<String, i64>,
    /// How many rows stand where: `open`, `chosen` (to be written), `written`, `unchanged`, `refused`, `undoing`, `undone`, `kept`.
    states: BTreeMap<String, i64>,
    /// Cards of the export that are not in the sheet. Nothing happens to them. Some of them, and how many there are.
    #[schema(value_type = Vec<Uuid>)]
    missing: Vec<RecordId>,
    missing_count: i64,
    blank_rows: usize,
    total_rows: usize,
    problem_counts: BTreeMap<String, usize>,
    problems: Vec<ProblemReport>,
}

/// Problems in one report; the rows have all of them.
pub const PROBLEMS_MAX: usize = 5_000;

impl ImportReport {
    /// Of an import as it stands. `problems`: those of its rows.
    pub fn of(row: ImportRow, dry_run: bool, problems: Vec<ProblemReport>) -> Self {
        let (mut outcomes, mut states) = (BTreeMap::new(), BTreeMap::new());
        let mut created = 0;
        for (outcome, state, count) in &row.counts.0 {
            *outcomes.entry(outcome.clone()).or_insert(0) += count;
            *states.entry(state.clone()).or_insert(0) += count;
            if outcome == "new" && ["open", "chosen", "written"].contains(&state.as_str()) {
                created += count;
            }
        }
        let of = |outcome: &str| outcomes.get(outcome).copied().unwrap_or(0);
        let rows = outcomes.values().sum::<i64>() - of("skipped");
        let unchanged = of("unchanged")
            + row
                .counts
                .iter()
                .filter(|(outcome, state, _)| {
                    !["unchanged", "skipped"].contains(&outcome.as_str()) && state == "unchanged"
                })
                .map(|(.., count)| count)
                .sum::<i64>();
        let plan = row.plan.0;
        let mut all = plan.problems;
        all.extend(problems);
        all.sort_by_key(|problem| problem.row);
        all.truncate(PROBLEMS_MAX);
        Self {
            dry_run,
            import: (!dry_run).then_some(row.import),
            status: row.status,
            file_name: row.file_name,
            username: row.username,
            at: row.at.into(),
            sheet: plan.sheet,
            header_row: plan.header_row,
            columns: plan.columns,
            custom_fields: plan.custom_fields,
            export: plan.export,
            rows,
            created,
            unchanged,
            outcomes,
            states,
            missing: plan.missing,
            missing_count: plan.missing_count,
            blank_rows: plan.blank_rows,
            total_rows: plan.total_rows,
            problem_counts: plan.problem_counts,
            problems: all,
        }
    }
}

impl ImportReport {
    /// Rows that wait to be written, or to be decided.
    pub fn waiting(&self) -> u64 {
        self.count(&["open", "chosen"])
    }

    /// Rows that were written.
    pub fn written(&self) -> u64 {
        self.count(&["written", "undoing"])
    }

    /// Rows that wait to be taken back.
    pub fn undoing(&self) -> u64 {
        self.count(&["undoing"])
    }

    fn count(&self, states: &[&str]) -> u64 {
        let count = |state: &&str| self.states.get(*state).copied().unwrap_or(0);
        states.iter().map(count).sum::<i64>().unsigned_abs()
    }

    /// How many rows there are of each outcome.
    pub fn outcomes(&self) -> &BTreeMap<String, i64> {
        &self.outcomes
    }

    /// How many rows stand where.
    pub fn states(&self) -> &BTreeMap<String, i64> {
        &self.states
    }

    /// How many problems there are of each code.
    pub fn problem_counts(&self) -> &BTreeMap<String, usize> {
        &self.problem_counts
    }

    /// Whether every row is new, or says nothing new.
    pub fn leaves_nothing_to_decide(&self) -> bool {
        self.status == "proposed"
            && self
                .outcomes
                .keys()
                .all(|outcome| ["new", "unchanged", "skipped"].contains(&outcome.as_str()))
    }
}

/// A card that a row may be.
#[derive(Debug, Serialize, ToSchema)]
pub struct CandidateView {
    #[schema(value_type = Uuid)]
    pub record: RecordId,
    /// What both have in common: stable words.
    pub reasons: Vec<String>,
    /// What it is called, and where it is.
    pub sign_name: Option<String>,
    pub address: Option<String>,
}

/// A field of which sheet and card say different things.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Differs)]
pub struct DiffersView {
    /// The key on the card.
    key: String,
    /// The field's name, by which a column is taken.
    field: String,
    /// What the card says: every value that stands side by side.
    is: Vec<String>,
    /// What the sheet says; absent: the field is emptied.
    shall: Option<String>,
}

impl From<Differs> for DiffersView {
    fn from(differs: Differs) -> Self {
        let Differs {
            key,
            field,
            is,
            shall,
        } = differs;
        Self {
            key,
            field,
            is,
            shall,
        }
    }
}

/// How a column of a sheet from elsewhere is taken: the words of [`super::diff::Take`], for the document of the routes.
#[derive(Debug, ToSchema)]
#[schema(as = Take, rename_all = "snake_case")]
pub enum TakeWord {
    /// Only where the card says nothing.
    Empty,
    /// Instead of what the card says.
    Take,
    /// Beside it, as a conflict that somebody decides.
    Conflict,
}

/// A row of an import.
#[derive(Debug, Serialize, ToSchema)]
pub struct RowView {
    /// As the spreadsheet counts.
    row: u32,
    outcome: String,
    state: String,
    /// The card that it is, or will be.
    #[schema(value_type = Option<Uuid>)]
    record: Option<RecordId>,
    /// Why it is that card: `card_id`, `earlier_row`, `same_door`, …
    reasons: Vec<String>,
    /// Field by field: what the card said when this was proposed, and what the row says.
    fields: Vec<DiffersView>,
    candidates: Vec<CandidateView>,
    problems: Vec<ProblemReport>,
    /// After an undo: the fields that stay, because somebody wrote them since.
    kept: Vec<String>,
    /// The change that wrote it.
    change: Option<String>,
}

impl RowView {
    /// Of a row, with what its candidates are called.
    pub fn of(row: StoredRow, candidates: Vec<CandidateView>) -> Self {
        let content: Content = row.content.0;
        Self {
            row: row.row.unsigned_abs(),
            outcome: row.outcome,
            state: row.state,
            record: row.record.map(RecordId),
            reasons: content.reasons,
            fields: content.fields.into_iter().map(Into::into).collect(),
            candidates,
            problems: content.problems,
            kept: content.kept,
            change: row.hash.map(hex::encode),
        }
    }
}
