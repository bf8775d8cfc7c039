//! What is kept of an import: of the sheet as a whole, and of each row until it is decided, and then of what it replaced.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use lianka_office_core::{
    acts::import::Before,
    roll::wrote::{self, Writes},
};
use lianka_sync_core::id::RecordId;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use uuid::Uuid;

use super::{
    diff::{Columns, Differs, Says},
    matching::Candidate,
    workbook::{Changed, OwnProblem, Person},
};
use crate::roll::{
    sheet::{self, Problem, ProblemCode, Roll},
    store::CustomField,
};

/// By card, fingerprints of what earlier imports of its exports wrote.
pub type Wrote = HashMap<RecordId, BTreeSet<String>>;

/// What an import is beside its rows.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Plan {
    pub sheet: Option<String>,
    pub header_row: u32,
    pub columns: Vec<ColumnReport>,
    pub custom_fields: Vec<CustomFieldReport>,
    pub blank_rows: usize,
    pub total_rows: usize,
    /// What is doubtful beside single rows.
    pub problems: Vec<ProblemReport>,
    /// How many problems there are of each code.
    pub problem_counts: BTreeMap<String, usize>,
    /// Grid of rows whose own is unknown.
    pub grid: Option<String>,
    /// The export that the sheet came from.
    pub export: Option<Uuid>,
    /// Cards of the export that are not in the sheet: some of them, and how many there are.
    pub missing: Vec<RecordId>,
    pub missing_count: i64,
    /// How columns are taken.
    pub take: Columns,
    /// Whether rows are still to be marked, as to be written or to be taken back.
    pub marking: bool,
}

impl Plan {
    /// Of a sheet whose headings are found.
    pub fn of(read: &Roll) -> Self {
        Self {
            sheet: read.sheet().map(str::to_owned),
            header_row: read.header_row(),
            columns: read
                .columns()
                .iter()
                .map(|column| ColumnReport {
                    letters: column.letters.clone(),
                    heading: column.heading.clone(),
                    field: column.target.name(),
                })
                .collect(),
            custom_fields: read
                .custom_fields()
                .iter()
                .map(|field| CustomFieldReport {
                    name: field.name.clone(),
                    label: field.label.clone(),
                    r#type: field.kind.as_str().to_owned(),
                    class: format!("{:?}", field.class),
                })
                .collect(),
            ..Self::default()
        }
    }
}

/// What is kept of a row until it is decided, and then of what it replaced. What says nothing takes no room: a roll has a hundred thousand of these.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Content {
    /// What it says; of a sheet from elsewhere, and of a new shop.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub says: Option<Says>,
    /// What somebody changed in a sheet of ours.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub changed: Vec<Changed>,
    /// The export that the row is of.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub export: Option<Uuid>,
    /// The note as the sheet has it, and as the export had it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub note: Option<(String, String)>,
    /// Lines of persons that the export did not have.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub persons: Vec<Person>,
    /// Field by field: is → shall be.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub fields: Vec<Differs>,
    /// Why it is the card that it is: stable words.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub reasons: Vec<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub candidates: Vec<Candidate>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub problems: Vec<ProblemReport>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub grid: Option<String>,
    /// How this row's columns are taken.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub take: Columns,
    /// What stood in the fields that it wrote.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub before: Option<Before>,
    /// Fingerprints of what it wrote, of a row of ours: the same sheet, sent again, says it no second time.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub wrote: Vec<String>,
    /// The fields that an undo left, because somebody wrote them since.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub kept: Vec<String>,
}

impl Content {
    /// Fingerprints of what a row of ours writes.
    pub fn writes(&self) -> Vec<String> {
        let Some(export) = self.export else {
            return Vec::new();
        };
        let note = self.note.as_ref().map(|(text, _)| text.as_str());
        wrote::of(export, &self.changed, &self.persons, note)
    }

    /// Leaves out what an earlier import of the same export wrote, whatever became of it since.
    pub fn leave_out(&mut self, wrote: &Wrote, record: RecordId) {
        let (Some(export), Some(wrote)) = (self.export, wrote.get(&record)) else {
            return;
        };
        let writes = Writes {
            changed: &mut self.changed,
            persons: &mut self.persons,
            note: &mut self.note,
        };
        writes.leave_out(export, wrote);
    }
}

/// A column of the sheet and what it is read as.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct ColumnReport {
    /// As the spreadsheet names it: A, B, …
    letters: String,
    heading: String,
    /// The field, `custom/<name>`, or `serial`, `sensitive` and `exported` for what is kept in the raw cells only.
    pub field: String,
}

/// A column that became a field of the street's own.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct CustomFieldReport {
    name: String,
    label: String,
    /// text, date, number or choice.
    r#type: String,
    /// `P1`, or `P2` where it holds what is a person's.
    class: String,
}

impl CustomFieldReport {
    /// Its name within `custom/`.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// As the street declares it.
    pub fn declared(&self) -> CustomField {
        CustomField {
            name: self.name.clone(),
            label: self.label.clone(),
            r#type: self.r#type.clone(),
            class: self.class.clone(),
        }
    }
}

/// What is doubtful about a row. Nothing of it stops the import.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize, ToSchema)]
pub struct ProblemReport {
    /// Stable word.
    pub code: String,
    /// `warning` or `info`.
    severity: String,
    /// As the spreadsheet counts.
    pub row: u32,
    /// Heading of the column.
    column: Option<String>,
    /// The other row of a pair.
    other_row: Option<u32>,
    message_zh: String,
    message_en: String,
}

impl ProblemReport {
    /// A warning of a row.
    pub fn of_row(code: &str, row: u32, column: Option<String>, zh: String, en: String) -> Self {
        Self {
            code: code.to_owned(),
            severity: "warning".to_owned(),
            row,
            column,
            other_row: None,
            message_zh: zh,
            message_en: en,
        }
    }

    /// Heading of the column that it is about.
    pub fn column(&self) -> Option<&str> {
        self.column.as_deref()
    }

    /// What of a sheet of ours is not taken.
    pub fn of_own(row: u32, problem: OwnProblem) -> Self {
        let OwnProblem {
            code,
            column,
            zh,
            en,
        } = problem;
        let mut report = Self::of_row(code.as_str(), row, Some(column), zh, en);
        report.weighs(code);
        report
    }

    /// As grave as its code is.
    pub fn weighs(&mut self, code: ProblemCode) {
        severity(code).clone_into(&mut self.severity);
    }
}

fn severity(code: ProblemCode) -> &'static str {
    match code.severity() {
        sheet::Severity::Info => "info",
        sheet::Severity::Warning => "warning",
    }
}

impl From<&Problem> for ProblemReport {
    fn from(problem: &Problem) -> Self {
        Self {
            code: problem.code.as_str().to_owned(),
            severity: severity(problem.code).to_owned(),
            row: problem.row,
            column: problem.column.clone(),
            other_row: problem.other_row,
            message_zh: problem.zh.clone(),
            message_en: problem.en.clone(),
        }
    }
}
