//! Sheets at the real office: files over HTTP, edited as somebody edits them at home. What a step names is looked up in the store.

use std::collections::BTreeMap;

use lianka_sync_core::{kinds::Kind, lang::Lang};
use serde_json::{Value, json};
use uuid::Uuid;

use super::{ADMIN, Inner, acts::acted};
use crate::office::{Acted, CellEdit, ForeignRow, RowDone, Sheet, Taken};

/// Column of a card's id, and of the export's.
const RECORD: &str = "record";
const EXPORT: &str = "export";
const NAMES: &str = "contacts/name";
/// Columns of a sheet from elsewhere, from the left, as the scripts name them: in this order a row says what it says.
const ORDER: [&str; 4] = ["sign_name", "legal_name", "opening_hours", "category"];

/// What is on the desk at home, whatever becomes of the office.
#[derive(Default)]
pub(super) struct Sheets {
    home: BTreeMap<u32, Home>,
    imports: BTreeMap<u32, Import>,
}

/// A sheet that somebody took home.
struct Home {
    export: Uuid,
    headings: Vec<String>,
    rows: Vec<Vec<String>>,
}

struct Import {
    id: Uuid,
    /// What is decided for rows of a sheet from elsewhere.
    wanted: Value,
}

fn table(bytes: &[u8]) -> Vec<Vec<String>> {
    let mut reader = csv::ReaderBuilder::new()
        .has_headers(false)
        .flexible(true)
        .from_reader(bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes));
    let rows = reader.records();
    rows.map(|row| row.expect("a row").iter().map(str::to_owned).collect())
        .collect()
}

fn file<'r>(rows: impl IntoIterator<Item = &'r Vec<String>>) -> Vec<u8> {
    let mut writer = csv::Writer::from_writer(Vec::new());
    for row in rows {
        writer.write_record(row).expect("it is written");
    }
    writer.into_inner().expect("it is written")
}

/// A row as it stands.
struct Stands {
    record: Option<Uuid>,
    state: String,
    hash: Option<String>,
    kept: Vec<String>,
}

impl Inner {
    async fn head(&self) -> u64 {
        let head = sqlx::query_scalar::<_, i64>("select head_seq from street where street = $1")
            .bind(self.street.as_str());
        let head = head.fetch_one(&self.app.pool).await;
        head.expect("the street is there").unsigned_abs()
    }

    pub(super) async fn export(&mut self, sheet: u32) -> Acted {
        let path = self.path("cards.csv");
        let answer = self
            .send_as(ADMIN, "GET", &path, "text/csv", Vec::new())
            .await;
        if answer.status != 200 {
            return acted(answer.status, &answer.json());
        }
        let mut rows = table(&answer.body);
        let headings = rows.remove(0);
        let newest = sqlx::query_as::<_, (Uuid, i64)>(
            "select export, head from roll_export order by exported_at desc, export desc limit 1",
        );
        let newest = newest.fetch_one(&self.app.pool).await;
        let (export, head) = newest.expect("an export is remembered");
        let home = Home {
            export,
            headings,
            rows,
        };
        self.sheets.home.insert(sheet, home);
        Acted::AsOf(head.unsigned_abs())
    }

    pub(super) async fn propose(&mut self, import: u32, sheet: &Sheet) -> Acted {
        let (bytes, query, wanted) = match sheet {
            Sheet::Ours { sheet, cells } => {
                let Some(bytes) = self.ours(*sheet, cells).await else {
                    return Acted::Nothing;
                };
                (bytes, String::new(), json!({}))
            }
            Sheet::Elsewhere { rows, take, grid } => {
                let (bytes, wanted) = elsewhere(rows, *take);
                (bytes, format!("?grid={grid}"), wanted)
            }
        };
        let path = self.path(&format!("imports{query}"));
        let answer = self.send_as(ADMIN, "POST", &path, "text/csv", bytes).await;
        let report = answer.json();
        let id = report["import"].as_str().and_then(|id| id.parse().ok());
        let Some(id) = id.filter(|_| answer.status == 200) else {
            return acted(answer.status, &report);
        };
        self.recorded.acts.push(id);
        self.sheets.imports.insert(import, Import { id, wanted });
        let base =
            sqlx::query_scalar::<_, i64>("select base_seq from roll_import where import = $1");
        let base = base.bind(id).fetch_one(&self.app.pool).await;
        Acted::AsOf(base.expect("the import is there").unsigned_abs())
    }

    /// The sheet with what somebody typed in it, sorted by cards. `None`: the office does not know the export any more.
    async fn ours(&self, sheet: u32, edits: &[CellEdit]) -> Option<Vec<u8>> {
        let home = self.sheets.home.get(&sheet)?;
        let columns =
            sqlx::query_scalar::<_, Value>("select columns from roll_export where export = $1");
        let columns = columns
            .bind(home.export)
            .fetch_optional(&self.app.pool)
            .await;
        let columns = columns.expect("the store answers")?;
        let keys: Vec<&str> = columns
            .as_array()
            .into_iter()
            .flatten()
            .filter_map(|column| column[0].as_str())
            .collect();
        let at = |key: &str| keys.iter().position(|of| *of == key).expect("a column");
        let (record, export) = (at(RECORD), at(EXPORT));
        assert!(export < home.headings.len(), "the file has every column");
        let mut rows = home.rows.clone();
        rows.sort_by_key(|row| row[record].parse::<Uuid>().expect("an id"));
        for edit in edits {
            let id = edit.record.to_string();
            let Some(row) = rows.iter_mut().find(|row| row[record] == id) else {
                continue;
            };
            let person = edit
                .key
                .strip_prefix("contacts/")
                .and_then(|rest| rest.strip_suffix("/name"));
            let Some(person) = person else {
                let cell = &mut row[at(&edit.key)];
                *cell = edit.typed(cell);
                continue;
            };
            let entries = sqlx::query_scalar::<_, Vec<u8>>(
                "select entries from roll_export_row where export = $1 and record = $2",
            );
            let entries = entries.bind(home.export).bind(edit.record);
            let entries = entries.fetch_optional(&self.app.pool).await;
            let entries = entries.expect("the store answers").unwrap_or_default();
            let mut persons = entries.chunks_exact(16).map(|id| {
                let id = Uuid::from_slice(id);
                id.expect("an id").to_string()
            });
            if let Some(nth) = persons.position(|of| of == person) {
                let cell = &mut row[at(NAMES)];
                let mut lines: Vec<_> = cell.split('\n').map(str::to_owned).collect();
                if let Some(line) = lines.get_mut(nth) {
                    line.clone_from(&edit.text);
                }
                *cell = lines.join("\n");
            }
        }
        Some(file(std::iter::once(&home.headings).chain(&rows)))
    }

    pub(super) async fn apply(&mut self, import: u32) -> Acted {
        let Some((id, before)) = self.stands(import).await else {
            return Acted::Nothing;
        };
        let open = before.values().any(|row| row.state == "open");
        let wanted = self.sheets.imports.get(&import);
        let wanted = wanted.filter(|_| open).map(|import| import.wanted.clone());
        let path = self.path(&format!("imports/{id}/apply"));
        let body = wanted.unwrap_or_else(|| json!({}));
        let waited: fn(&str) -> bool = |state| ["open", "chosen"].contains(&state);
        self.part(import, &path, &body, &before, waited).await
    }

    pub(super) async fn undo_import(&mut self, import: u32) -> Acted {
        let Some((id, before)) = self.stands(import).await else {
            return Acted::Nothing;
        };
        let path = self.path(&format!("imports/{id}/undo"));
        let waited: fn(&str) -> bool = |state| ["written", "undoing"].contains(&state);
        self.part(import, &path, &Value::Null, &before, waited)
            .await
    }

    /// What one request did to rows that waited.
    async fn part(
        &mut self,
        import: u32,
        path: &str,
        body: &Value,
        before: &BTreeMap<i32, Stands>,
        waited: fn(&str) -> bool,
    ) -> Acted {
        let from = self.head().await;
        let (status, answer) = self.ask(ADMIN, "POST", path, body).await;
        if status != 200 {
            return acted(status, &answer);
        }
        let ended =
            |state: &str| ["written", "unchanged", "refused", "undone", "kept"].contains(&state);
        let (_, after) = self.stands(import).await.expect("the import is there");
        let rows = after.into_iter().filter(|(row, stands)| {
            let was = before.get(row).map_or("", |before| before.state.as_str());
            waited(was) && stands.state != was && ended(&stands.state)
        });
        let rows: Vec<_> = rows
            .map(|(row, stands)| RowDone {
                row: row.unsigned_abs(),
                record: stands.record.unwrap_or_default(),
                state: stands.state,
                hash: stands.hash,
                kept: stands.kept,
            })
            .collect();
        if rows.is_empty() {
            return Acted::Nothing;
        }
        let to = self.head().await;
        Acted::Rows { rows, from, to }
    }

    /// Where the rows of an import stand that the office knows.
    async fn stands(&self, import: u32) -> Option<(Uuid, BTreeMap<i32, Stands>)> {
        let id = self.sheets.imports.get(&import)?.id;
        let known =
            sqlx::query_scalar::<_, Uuid>("select import from roll_import where import = $1");
        let known = known.bind(id).fetch_optional(&self.app.pool).await;
        known.expect("the store answers")?;
        type Row = (i32, Option<Uuid>, String, Option<String>, Value);
        let rows = sqlx::query_as::<_, Row>(
            "select row_number, record, state, encode(hash, 'hex'), coalesce(content->'kept', '[]') from roll_import_row where import = $1",
        );
        let rows = rows.bind(id).fetch_all(&self.app.pool).await;
        let of = |(row, record, state, hash, kept): Row| {
            let kept = kept.as_array().into_iter().flatten();
            let kept = kept.filter_map(|key| key.as_str().map(str::to_owned));
            let stands = Stands {
                record,
                state,
                hash,
                kept: kept.collect(),
            };
            (row, stands)
        };
        let rows = rows.expect("the store answers").into_iter().map(of);
        Some((id, rows.collect()))
    }
}

/// A file of rows from elsewhere, and what is decided for them.
fn elsewhere(rows: &[ForeignRow], take: Taken) -> (Vec<u8>, Value) {
    let used = |key: &&&str| {
        let mut says = rows.iter().flat_map(|row| &row.says);
        says.any(|(of, _)| of == **key)
    };
    let keys: Vec<&str> = ORDER.iter().filter(used).copied().collect();
    let heading = |key: &&str| {
        let (field, _) = Kind::ShopCard.field(key).expect("a field");
        field.label(Lang::Zh).to_owned()
    };
    let mut table = vec![keys.iter().map(heading).collect::<Vec<_>>()];
    let mut choices = Vec::new();
    for (number, row) in (2..).zip(rows) {
        let says = |key: &&str| {
            let said = row.says.iter().find(|(of, _)| of == key);
            said.map(|(_, text)| text.clone()).unwrap_or_default()
        };
        table.push(keys.iter().map(says).collect());
        choices.push(match row.card {
            Some(card) => json!({ "row": number, "card": card }),
            None => json!({ "row": number, "new": true }),
        });
    }
    let take = match take {
        Taken::Empty => "empty",
        Taken::Over => "take",
        Taken::Beside => "conflict",
    };
    let wanted = json!({ "choices": choices, "columns": { "*": take } });
    (file(&table), wanted)
}
