//! Sheets that come back, and imports that are taken back: cell by cell, from what the office showed when the sheet was made, before and after.
//!
//! In: the looks and acts of the journal. Cards that were merged are left to other checks: what is written on one is written on the other.

use std::collections::{BTreeMap, BTreeSet};

use lianka_office_core::acts::import::Over;
use uuid::Uuid;

use super::{About, Finding, ledger::Ledger};
use crate::{
    engine::Story,
    journal::Event,
    office::{Act, Acted, Look, SheetCell, SheetRow, Shown},
};

const ROWS: &str = "a row writes its cells over what its author saw";
const BACK: &str = "an import is taken back, and nothing else";
const TOLD: &str = "the trail tells every act";
const NOTE: &str = "note";

type Fields = BTreeMap<String, Vec<Shown>>;

/// Rows that were written.
struct Import<'s> {
    line: usize,
    rows: &'s [SheetRow],
    before: &'s Look,
    after: &'s Look,
}

pub fn check(story: &Story, ledger: &Ledger, found: &mut Vec<Finding>) {
    let lines = &story.journal.lines;
    let look = |at: usize| match &lines.get(at)?.event {
        Event::Looked { look, .. } => Some(look),
        _ => None,
    };
    let mut sheets: BTreeMap<i64, Vec<&Look>> = BTreeMap::new();
    let mut imports: BTreeMap<Uuid, Import<'_>> = BTreeMap::new();
    let mut told: BTreeMap<(&str, Uuid), bool> = BTreeMap::new();
    for (line, event) in lines.iter().map(|line| &line.event).enumerate() {
        let (act, acted) = match event {
            Event::Looked {
                for_sheet: true,
                look,
            } => {
                sheets.entry(look.head).or_default().push(look);
                continue;
            }
            Event::Acted { act, acted } => (act, acted),
            _ => continue,
        };
        let around = || Some((look(line.checked_sub(1)?)?, look(line + 1)?));
        match act {
            // Its heads are of another history.
            Act::Restore if *acted == Acted::Done => {
                sheets.clear();
                imports.clear();
                told.clear();
            }
            Act::WriteRows { import, rows } => {
                let Some((before, after)) = around() else {
                    continue;
                };
                let import_is = Import {
                    line,
                    rows,
                    before,
                    after,
                };
                for row in rows {
                    let problems = written(row, &sheets, &import_is, ledger);
                    found.extend(of(ROWS, row.record(), problems));
                }
                told.insert(("import", *import), before.records != after.records);
                imports.insert(*import, import_is);
            }
            Act::UndoRows { import } => {
                let (Some((before, after)), Some(wrote)) = (around(), imports.remove(import))
                else {
                    continue;
                };
                for row in wrote.rows {
                    let undo = Undo {
                        row,
                        wrote: &wrote,
                        line,
                        ledger,
                        before: fields(before, row.record()),
                        after: fields(after, row.record()),
                    };
                    found.extend(of(BACK, row.record(), undo.problems()));
                }
                told.insert(("import_undo", *import), before.records != after.records);
            }
            _ => {}
        }
    }
    for ((action, import), is_due) in told {
        let names = |event: &&serde_json::Value| {
            event["action"] == action
                && event["detail"]["import"].as_str() == Some(&import.to_string())
        };
        if is_due && !story.evidence.told.iter().any(|event| names(&event)) {
            let what = format!("{action} of {import} is not told");
            found.push(Finding::new(TOLD, About::default(), what));
        }
    }
}

fn of(promise: &'static str, record: Uuid, problems: Vec<String>) -> impl Iterator<Item = Finding> {
    problems
        .into_iter()
        .map(move |what| Finding::new(promise, About::record(record), what))
}

fn fields(look: &Look, record: Uuid) -> Option<&Fields> {
    look.records.get(&record)?.as_ref()
}

fn shown<'f>(fields: &'f Fields, key: &str) -> &'f [Shown] {
    fields.get(key).map(Vec::as_slice).unwrap_or_default()
}

fn values(shown: &[Shown]) -> BTreeSet<&str> {
    shown.iter().map(|one| one.value.as_str()).collect()
}

fn text(fields: &Fields) -> &str {
    shown(fields, NOTE)
        .first()
        .map_or("", |one| one.value.as_str())
}

/// What is wrong with a row that was written.
fn written(
    row: &SheetRow,
    sheets: &BTreeMap<i64, Vec<&Look>>,
    import: &Import<'_>,
    ledger: &Ledger,
) -> Vec<String> {
    let record = row.record();
    let (before, after) = (fields(import.before, record), fields(import.after, record));
    let (before, after) = match (before, after) {
        (None, None) if ledger.ever_erased.contains(&record) => return Vec::new(),
        (None, Some(after)) => return made(row, after),
        (None, None) => return vec!["the row wrote nothing".into()],
        (Some(_), None) => return vec!["the record went with a row".into()],
        (Some(before), Some(after)) => (before, after),
    };
    let SheetRow::Edit {
        cells, note, seen, ..
    } = row
    else {
        let same = before == after;
        return (!same)
            .then(|| "a card that is there was made again".to_owned())
            .into_iter()
            .collect();
    };
    if ledger.merged.contains(&record) {
        return Vec::new();
    }
    let sheet = sheets
        .get(seen)
        .and_then(|looks| looks.iter().find_map(|look| fields(look, record)));
    let Some(sheet) = sheet else {
        return vec![format!("a row of a sheet of {seen}, which nobody made")];
    };
    let mut problems = Vec::new();
    let own: BTreeSet<&str> = cells.iter().map(|cell| cell.key.as_str()).collect();
    problems.extend(others_changed(before, after, &own));
    for cell in cells {
        let there = shown(before, &cell.key);
        let shall = shall(cell, there, shown(sheet, &cell.key));
        let is = values(shown(after, &cell.key));
        // Equal values are no edit.
        let says = |one: &Shown| cell.value.as_ref() == Some(&one.value);
        let is_said = cell.over == Over::Seen && !there.is_empty() && there.iter().all(says);
        if is != shall || is_said && shown(after, &cell.key) != there {
            problems.push(format!(
                "{cell:?} over {there:?} reads {is:?} and not {shall:?}"
            ));
        }
    }
    if let Some((was, shall)) = note {
        problems.extend(note_problems(
            was,
            shall,
            (text(before), text(after)),
            ledger.rewritten.contains(&record),
        ));
    } else if text(before) != text(after) {
        problems.push("a row without a note wrote one".into());
    }
    problems
}

fn made(row: &SheetRow, after: &Fields) -> Vec<String> {
    let SheetRow::Create { grid, set, .. } = row else {
        return vec!["cells made a record".into()];
    };
    let grid = ("grid".to_owned(), Some(grid.clone()));
    let all = set.iter().chain([&grid]);
    all.filter(|(key, value)| {
        values(shown(after, key)) != value.iter().map(String::as_str).collect::<BTreeSet<_>>()
    })
    .map(|(key, value)| format!("the card that the row made does not say {key} = {value:?}"))
    .collect()
}

fn others_changed(before: &Fields, after: &Fields, own: &BTreeSet<&str>) -> Vec<String> {
    let keys: BTreeSet<_> = before.keys().chain(after.keys()).collect();
    keys.into_iter()
        .filter(|key| *key != NOTE && !own.contains(key.as_str()))
        .filter(|key| before.get(*key) != after.get(*key))
        .map(|key| format!("{key} was written, which the row does not have"))
        .collect()
}

/// What a cell leaves: its value, and what its author had not seen.
fn shall<'f>(cell: &'f SheetCell, there: &'f [Shown], sheet: &[Shown]) -> BTreeSet<&'f str> {
    let own = cell.value.as_deref();
    match cell.over {
        Over::Absent if !there.is_empty() => values(there),
        Over::Absent => own.into_iter().collect(),
        Over::Nothing => own.into_iter().chain(values(there)).collect(),
        Over::Seen => {
            let unseen = there.iter().filter(|one| !sheet.contains(one));
            own.into_iter()
                .chain(unseen.map(|one| one.value.as_str()))
                .collect()
        }
    }
}

fn note_problems(
    was: &str,
    shall: &str,
    (before, after): (&str, &str),
    is_rewritten: bool,
) -> Vec<String> {
    if before == was {
        let fits = after == shall;
        let wrong = format!("the note reads {after:?} and not {shall:?}");
        return (!fits).then_some(wrong).into_iter().collect();
    }
    // What it read then, a history that was made shorter does not tell.
    if after == before {
        let wrong = "the note was left out, and the history was never shortened".to_owned();
        return (!is_rewritten).then_some(wrong).into_iter().collect();
    }
    let lost = |from: &str| {
        let added = from.chars().filter(|letter| !was.contains(*letter));
        added
            .filter(|letter| !after.contains(*letter))
            .collect::<String>()
    };
    [lost(before), lost(shall)]
        .into_iter()
        .filter(|lost| !lost.is_empty())
        .map(|lost| format!("the note reads {after:?} and lost {lost:?}"))
        .collect()
}

/// A row that was taken back.
struct Undo<'s> {
    row: &'s SheetRow,
    wrote: &'s Import<'s>,
    line: usize,
    ledger: &'s Ledger,
    before: Option<&'s Fields>,
    after: Option<&'s Fields>,
}

impl Undo<'_> {
    fn problems(&self) -> Vec<String> {
        let record = self.row.record();
        if self.ledger.merged.contains(&record) || self.ledger.ever_erased.contains(&record) {
            return Vec::new();
        }
        let (was, wrote) = (
            fields(self.wrote.before, record),
            fields(self.wrote.after, record),
        );
        match (self.row, was, wrote, self.before) {
            (SheetRow::Create { .. }, None, Some(wrote), Some(before)) => {
                self.unmade(record, wrote, before)
            }
            (SheetRow::Edit { .. }, Some(was), Some(wrote), Some(before)) => {
                self.put_back(was, wrote, before)
            }
            _ if self.before == self.after => Vec::new(),
            _ => vec!["a row that wrote nothing was taken back".into()],
        }
    }

    fn unmade(&self, record: Uuid, wrote: &Fields, before: &Fields) -> Vec<String> {
        match self.after {
            None if wrote != before => {
                vec!["a card went with its import, and somebody had written on it".into()]
            }
            Some(after) if after != before => vec!["a card that stays was changed".into()],
            Some(_) if wrote == before && !self.is_used(record) => {
                vec!["a card that nobody used stays".into()]
            }
            None | Some(_) => Vec::new(),
        }
    }

    /// Whether something waits for a reviewer, or anything else is known of the card.
    fn is_used(&self, record: Uuid) -> bool {
        let of = |(of, _): &(Uuid, String)| *of == record;
        self.ledger.arrived.keys().any(of) || self.ledger.rewritten.contains(&record)
    }

    fn put_back(&self, was: &Fields, wrote: &Fields, before: &Fields) -> Vec<String> {
        let SheetRow::Edit {
            record,
            cells,
            note,
            ..
        } = self.row
        else {
            return Vec::new();
        };
        let Some(after) = self.after else {
            return vec!["the record went with a row that did not make it".into()];
        };
        let own: BTreeSet<&str> = cells.iter().map(|cell| cell.key.as_str()).collect();
        let mut problems = others_changed(before, after, &own);
        for cell in cells {
            let key = cell.key.as_str();
            let [was, wrote, before, after] =
                [was, wrote, before, after].map(|fields| shown(fields, key));
            // Desks write values anew that were there before: by their names they are not told apart.
            if self.is_touched(*record, key) {
                let mut others = before
                    .iter()
                    .filter(|one| cell.value.as_deref() != Some(&one.value));
                if let Some(lost) = others.find(|one| !values(after).contains(one.value.as_str())) {
                    problems.push(format!("{key} lost {lost:?}, which the row did not write"));
                }
                continue;
            }
            let shall = if wrote == before && was != wrote {
                values(was)
            } else {
                values(before)
            };
            if values(after) != shall {
                problems.push(format!(
                    "{key} read {was:?}, then {wrote:?}, then {before:?}, and reads {after:?}"
                ));
            }
        }
        let [was, wrote, before, after] = [was, wrote, before, after].map(text);
        let is_own = note.is_some() && was != wrote && wrote == before;
        let shall = if is_own { was } else { before };
        if after != shall && !self.is_touched(*record, NOTE) {
            problems.push(format!(
                "the note read {was:?}, then {wrote:?}, then {before:?}, and reads {after:?}"
            ));
        }
        problems
    }

    /// Whether a desk wrote the field since.
    fn is_touched(&self, record: Uuid, key: &str) -> bool {
        let card = self.ledger.now.cards.get(&record);
        let touched = card.map(|card| card.touched.as_slice()).unwrap_or_default();
        touched.iter().any(|(of, at)| {
            *at > self.wrote.line && *at < self.line && of.as_deref().is_none_or(|of| of == key)
        })
    }
}
