//! Sheets that came back: every changed cell is one edit by somebody who had seen what the sheet showed, every row is written once, and what is taken back is
//! what nobody wrote since.
//!
//! In: what somebody typed in which sheet, by the journal; which change wrote a row, as the office told; and the records' histories as plain Automerge
//! reads them, with the log's numbers to tell what was there when. Of records whose history was rewritten, or that were merged, nothing is asked.

use std::collections::{BTreeMap, BTreeSet};

use uuid::Uuid;

use super::{
    About, Finding,
    bytes::{Document, OpId, Said, Write},
    ledger::Ledger,
    rules,
};
use crate::{
    engine::Story,
    journal::Event,
    office::{Act, Acted, RowDone, Sheet, Taken},
};

const LOST: &str = "no row of a sheet is lost";
const UNTOUCHED: &str = "an untouched cell is no edit";
const UNSEEN: &str = "nobody's unseen value is replaced";
const REPLACED: &str = "what was replaced is gone";
const UNASKED: &str = "a sheet from elsewhere takes nothing unasked";
const ONCE: &str = "each row is written once";
const UNDONE: &str = "an undo takes back what nobody wrote since, and no more";
const TRAIL: &str = "the audit trail tells every act";

/// A proposal.
struct Proposal<'s> {
    sheet: &'s Sheet,
    /// The number of the log that its author had before them.
    seen: u64,
}

impl<'s> Proposal<'s> {
    /// What a row was to say, by key. A cell that was typed in twice says the last.
    fn wanted(&self, done: &RowDone) -> BTreeMap<&'s str, &'s str> {
        match self.sheet {
            Sheet::Ours { cells, .. } => cells
                .iter()
                .filter(|cell| cell.record == done.record)
                .map(|cell| (cell.key.as_str(), cell.text.as_str()))
                .collect(),
            Sheet::Elsewhere { rows, .. } => rows
                .iter()
                .skip(done.row as usize - 2)
                .take(1)
                .flat_map(|row| &row.says)
                .map(|(key, text)| (key.as_str(), text.as_str()))
                .collect(),
        }
    }

    fn is_new(&self, done: &RowDone) -> bool {
        match self.sheet {
            Sheet::Ours { .. } => false,
            Sheet::Elsewhere { rows, .. } => rows
                .get(done.row as usize - 2)
                .is_some_and(|row| row.card.is_none()),
        }
    }

    fn take(&self) -> Taken {
        match self.sheet {
            Sheet::Ours { .. } => Taken::Over,
            Sheet::Elsewhere { take, .. } => *take,
        }
    }
}

/// Registers: what stands under the key is one text.
fn is_register(key: &str) -> bool {
    !key.contains('/') && !["tags", "note"].contains(&key)
}

/// A record's history, with what is known of when.
struct History<'d> {
    document: &'d Document,
    /// The log's numbers, by change.
    numbers: BTreeMap<&'d str, u64>,
}

/// A write of a key.
struct Wrote<'d> {
    number: Option<u64>,
    change: &'d Said,
    write: &'d Write,
}

impl<'d> History<'d> {
    fn of(record: Uuid, document: &'d Document, numbers: &BTreeMap<(Uuid, &str), u64>) -> Self {
        let of = |change: &'d Said| {
            let number = numbers.get(&(record, change.hash.as_str()))?;
            Some((change.hash.as_str(), *number))
        };
        Self {
            document,
            numbers: document.changes.iter().filter_map(of).collect(),
        }
    }

    fn number(&self, change: &Said) -> Option<u64> {
        self.numbers.get(change.hash.as_str()).copied()
    }

    fn writes(&self, key: &str) -> Vec<Wrote<'d>> {
        let of = |change: &'d Said| {
            let writes = change.writes.iter().filter(|write| write.key == key);
            let number = self.number(change);
            writes.map(move |write| Wrote {
                number,
                change,
                write,
            })
        };
        self.document.changes.iter().flat_map(of).collect()
    }

    /// Values of a key that stood there before a number: written before it, and replaced by nothing before it. `None`: not everything is known.
    fn stood(&self, key: &str, before: u64) -> Option<BTreeMap<&'d OpId, (u64, &'d str)>> {
        let mut stood = BTreeMap::new();
        let mut gone = BTreeSet::new();
        for wrote in self.writes(key) {
            let number = wrote.number?;
            if number >= before {
                continue;
            }
            gone.extend(&wrote.write.preds);
            if let Some(value) = &wrote.write.value {
                stood.insert(&wrote.write.op, (number, value.as_str()));
            }
        }
        stood.retain(|op, _| !gone.contains(op));
        Some(stood)
    }
}

pub fn check(
    story: &Story,
    ledger: &Ledger,
    documents: &BTreeMap<Uuid, Document>,
    found: &mut Vec<Finding>,
) {
    // A restored office has lost what it was asked, and phones bring back what was there in any order.
    if !ledger.restores.is_empty() {
        return;
    }
    let mut numbers: BTreeMap<(Uuid, &str), u64> = BTreeMap::new();
    for line in &story.evidence.log {
        if let Some(hash) = line.hash.as_deref().filter(|_| line.what == "change") {
            numbers.insert((line.record, hash), line.seq);
        }
    }
    for (record, card) in &ledger.now.cards {
        let known = card.accepted.iter().filter(|(_, seq)| **seq > 0);
        numbers.extend(known.map(|(hash, seq)| ((*record, hash.as_str()), *seq)));
    }
    let mut sheets = Sheets {
        story,
        ledger,
        histories: documents
            .iter()
            .map(|(record, document)| (*record, History::of(*record, document, &numbers)))
            .collect(),
        found,
    };
    let (mut exports, mut proposals) = (BTreeMap::new(), BTreeMap::new());
    let mut written: BTreeMap<(u32, u32), (usize, RowDone)> = BTreeMap::new();
    for (at, line) in story.journal.lines.iter().enumerate() {
        match &line.event {
            Event::Acted {
                act: Act::Export { sheet },
                acted: Acted::AsOf(head),
            } => drop(exports.insert(*sheet, *head)),
            Event::Acted {
                act: Act::Propose { import, sheet },
                acted: Acted::AsOf(head),
            } => {
                let seen = match sheet {
                    Sheet::Ours { sheet, .. } => exports.get(sheet).copied(),
                    Sheet::Elsewhere { .. } => Some(*head),
                };
                proposals.extend(seen.map(|seen| (*import, Proposal { sheet, seen })));
            }
            Event::Acted {
                act: Act::Apply { import },
                acted: Acted::Rows { rows, from, to },
            } => {
                let Some(proposal) = proposals.get(import) else {
                    continue;
                };
                for done in rows {
                    sheets.row(proposal, done);
                    if done.state == "written"
                        && written
                            .insert((*import, done.row), (at, done.clone()))
                            .is_some()
                    {
                        let what = format!("row {} of import {import} is written again", done.row);
                        sheets.tell(ONCE, done, what);
                    }
                }
                sheets.nothing_else(rows, *from, *to);
            }
            Event::Acted {
                act: Act::UndoImport { import },
                acted: Acted::Rows { rows, from, to },
            } => {
                let Some(proposal) = proposals.get(import) else {
                    continue;
                };
                for done in rows {
                    match written.get(&(*import, done.row)) {
                        Some((since, _)) if proposal.is_new(done) => {
                            sheets.unmade(done, *since, at);
                        }
                        Some(_) => sheets.undone(done, *from, *to),
                        None => {
                            let what = format!("row {} was taken back and never written", done.row);
                            sheets.tell(ONCE, done, what);
                        }
                    }
                }
            }
            _ => {}
        }
    }
}

/// What writes on no card.
fn is_about_nothing(act: &Act) -> bool {
    matches!(
        act,
        Act::Assign { .. } | Act::Revoke { .. } | Act::Backup | Act::Failover | Act::Restart
    )
}

struct Sheets<'s, 'd> {
    story: &'s Story,
    ledger: &'s Ledger,
    histories: BTreeMap<Uuid, History<'d>>,
    found: &'s mut Vec<Finding>,
}

impl<'d> Sheets<'_, 'd> {
    fn tell(&mut self, promise: &'static str, done: &RowDone, what: String) {
        let mut about = About::record(done.record);
        about.hash.clone_from(&done.hash);
        self.found.push(Finding::new(promise, about, what));
    }

    /// Whether the record's history is all that happened to it.
    fn is_plain(&self, record: Uuid) -> bool {
        !self.ledger.rewritten.contains(&record) && !self.ledger.merged.contains(&record)
    }

    fn change(&self, record: Uuid, hash: Option<&String>) -> Option<&'d Said> {
        let history = self.histories.get(&record)?;
        let mut changes = history.document.changes.iter();
        changes.find(|change| Some(&change.hash) == hash)
    }

    /// A row that was written, or needed no writing.
    fn row(&mut self, proposal: &Proposal<'_>, done: &RowDone) {
        let record = done.record;
        if !self.is_plain(record) {
            return;
        }
        let wanted = proposal.wanted(done);
        let registers = wanted
            .iter()
            .filter(|(key, text)| is_register(key) && !text.is_empty());
        let registers: Vec<(&str, &str)> = registers.map(|(key, text)| (*key, *text)).collect();
        match done.state.as_str() {
            "written" => {}
            state => {
                // Values of registers are unique: no card says them already.
                if proposal.take() == Taken::Over && !registers.is_empty() {
                    let what = format!("row {} says {registers:?} and is {state}", done.row);
                    self.tell(LOST, done, what);
                }
                return;
            }
        }
        let Some(change) = self.change(record, done.hash.as_ref()) else {
            let what = format!(
                "{:?} wrote row {} and is not in the history",
                done.hash, done.row
            );
            self.tell(LOST, done, what);
            return;
        };
        self.is_told(done);
        let is_unwanted = |write: &&Write| !self.is_wanted(proposal, done, &wanted, write);
        if !proposal.is_new(done)
            && let Some(write) = change.writes.iter().find(is_unwanted)
        {
            let (key, value) = (&write.key, &write.value);
            let what = format!(
                "row {} wrote {key} = {value:?}, and nobody changed it",
                done.row
            );
            self.tell(UNTOUCHED, done, what);
        }
        for (key, text) in registers {
            let write = change.writes.iter().find(|write| write.key == key);
            match write {
                Some(write) if write.value.as_deref() == Some(text) => {
                    self.over(proposal, done, change, write);
                }
                Some(write) => {
                    let what = format!("{key} says {text:?}, and {:?} was written", write.value);
                    self.tell(LOST, done, what);
                }
                None if self.is_due(proposal, done, change, key) => {
                    let what = format!("{key} = {text:?} of row {} was not written", done.row);
                    self.tell(LOST, done, what);
                }
                None => {}
            }
        }
        for write in change
            .writes
            .iter()
            .filter(|write| !is_register(&write.key))
        {
            self.over(proposal, done, change, write);
        }
    }

    /// Whether somebody typed what was written.
    fn is_wanted(
        &self,
        proposal: &Proposal<'_>,
        done: &RowDone,
        wanted: &BTreeMap<&str, &str>,
        write: &Write,
    ) -> bool {
        let key = write.key.as_str();
        if wanted.contains_key(key) {
            return true;
        }
        if key.starts_with("contacts/") {
            // A line of which nothing says what it said is another person.
            return wanted.iter().any(|(of, text)| {
                of.starts_with("contacts/") && write.value.as_deref() == Some(text)
            });
        }
        let (Some(tag), Some(typed)) = (key.strip_prefix("tags/"), wanted.get("tags")) else {
            return false;
        };
        // A tag that the sheet listed, and lists still, is no edit, whatever became of it since; nor is one that it never listed.
        let history = self.histories.get(&done.record);
        let shown = history.and_then(|history| history.stood(key, proposal.seen + 1));
        let lists = typed.split('、').any(|of| of == tag);
        shown.is_none_or(|stood| stood.is_empty() == lists)
    }

    /// Whether a cell that says something new had to be written.
    fn is_due(&self, proposal: &Proposal<'_>, done: &RowDone, change: &Said, key: &str) -> bool {
        if proposal.is_new(done) {
            return true;
        }
        match proposal.take() {
            Taken::Over => true,
            Taken::Beside if rules::keeps_conflicts(key) => true,
            // Decided when the row was written.
            Taken::Beside | Taken::Empty => {
                let history = self.histories.get(&done.record);
                let stood = history.and_then(|history| history.stood(key, history.number(change)?));
                stood.is_some_and(|stood| stood.is_empty())
            }
        }
    }

    /// What a cell replaced: all that its author had seen of the field, and nothing else.
    fn over(&mut self, proposal: &Proposal<'_>, done: &RowDone, change: &Said, write: &Write) {
        if proposal.is_new(done) {
            return;
        }
        let Some(history) = self.histories.get(&done.record) else {
            return;
        };
        let key = write.key.as_str();
        let stood = history
            .number(change)
            .and_then(|number| history.stood(key, number));
        let Some(stood) = stood else { return };
        let mut wrong = Vec::new();
        for (op, (number, value)) in stood {
            let is_replaced = write.preds.contains(op);
            let (promise, what) = match proposal.take() {
                Taken::Over if number <= proposal.seen && !is_replaced => {
                    (REPLACED, "was seen, and stands beside it")
                }
                Taken::Over if number > proposal.seen && is_replaced => {
                    (UNSEEN, "came after the sheet was made, and was replaced")
                }
                Taken::Beside if is_replaced => {
                    (UNASKED, "was replaced by what is to stand beside it")
                }
                Taken::Empty if is_replaced || write.value.is_some() => (
                    UNASKED,
                    "stood there, and only empty fields were to be filled",
                ),
                _ => continue,
            };
            let what = format!(
                "row {} wrote {key} = {:?}: {value:?} {what}",
                done.row, write.value
            );
            wrong.push((promise, what));
        }
        for (promise, what) in wrong {
            self.tell(promise, done, what);
        }
    }

    /// The audit trail names row, record and number of every row that was written.
    fn is_told(&mut self, done: &RowDone) {
        let record = done.record.to_string();
        let names = |event: &serde_json::Value| {
            let rows = event["detail"]["rows"].as_array();
            rows.into_iter().flatten().any(|row| {
                row[0].as_u64() == Some(u64::from(done.row)) && row[1].as_str() == Some(&record)
            })
        };
        let mut told = self.story.evidence.told.iter();
        if !told.any(|event| event["action"] == "import" && names(event)) {
            let what = format!("row {} wrote on {record}, and no event says so", done.row);
            self.tell(TRAIL, done, what);
        }
    }

    /// One request wrote the rows that it tells of, and nothing else on their records.
    fn nothing_else(&mut self, rows: &[RowDone], from: u64, to: u64) {
        for done in rows {
            if !self.is_plain(done.record) {
                continue;
            }
            let Some(history) = self.histories.get(&done.record) else {
                continue;
            };
            let within = |change: &&Said| {
                let number = history.number(change);
                number.is_some_and(|number| number > from && number <= to)
            };
            let changes = history.document.changes.iter().filter(within);
            let told = |change: &&Said| {
                rows.iter()
                    .any(|row| row.hash.as_ref() == Some(&change.hash))
            };
            // A note is a change of its own.
            let mut others = changes.filter(|change| !told(change) && !change.writes.is_empty());
            if let Some(other) = others.next() {
                let what = format!(
                    "{} was written with row {} and no row tells of it",
                    other.hash, done.row
                );
                self.tell(ONCE, done, what);
            }
        }
    }

    /// What a row changed reads as before where nobody wrote since; the rest is left, and named.
    fn undone(&mut self, done: &RowDone, from: u64, to: u64) {
        if !self.is_plain(done.record) {
            return;
        }
        let Some(change) = self.change(done.record, done.hash.as_ref()) else {
            return;
        };
        let history = &self.histories[&done.record];
        let Some(number) = history.number(change) else {
            return;
        };
        let mut wrong = Vec::new();
        for write in &change.writes {
            let key = write.key.as_str();
            let writes = history.writes(key);
            if writes.iter().any(|wrote| wrote.number.is_none()) {
                continue;
            }
            let within = |wrote: &&Wrote<'_>, after: u64, upto: u64| {
                let at = wrote.number.unwrap_or_default();
                wrote.change.hash != change.hash && at > after && at <= upto
            };
            let by_undo: Vec<_> = writes
                .iter()
                .filter(|wrote| within(wrote, from, to))
                .collect();
            let since = writes.iter().find(|wrote| within(wrote, number, from));
            let is_kept = done.kept.iter().any(|kept| kept == key);
            if let Some(since) = since {
                if !by_undo.is_empty() || !is_kept {
                    let (value, hash) = (&since.write.value, &since.change.hash);
                    wrong.push(format!(
                        "{key} was written since, as {value:?} by {hash}, and the undo of row {} {}",
                        done.row,
                        if by_undo.is_empty() { "does not say so" } else { "writes over it" },
                    ));
                }
                continue;
            }
            let before: BTreeSet<&str> = writes
                .iter()
                .filter(|wrote| write.preds.contains(&wrote.write.op))
                .filter_map(|wrote| wrote.write.value.as_deref())
                .collect();
            let put_back: BTreeSet<&str> = by_undo
                .iter()
                .filter_map(|wrote| wrote.write.value.as_deref())
                .collect();
            let is_gone = write.value.is_none()
                || by_undo
                    .iter()
                    .any(|wrote| wrote.write.preds.contains(&write.op));
            if is_kept || !is_gone || before != put_back {
                wrong.push(format!(
                    "nobody wrote {key} since row {}, which replaced {before:?}: the undo puts back {put_back:?}, and calls {:?} kept",
                    done.row, done.kept
                ));
            }
        }
        for what in wrong {
            self.tell(UNDONE, done, what);
        }
    }

    /// A card that a row made goes where nobody worked with it since.
    fn unmade(&mut self, done: &RowDone, since: usize, at: usize) {
        let record = done.record;
        let accepted = |((of, _), answers): (&(Uuid, String), &Vec<super::ledger::Answer>)| {
            let mut answers = answers.iter().filter(|answer| answer.status == "accepted");
            *of == record && answers.any(|answer| answer.line > since && answer.line < at)
        };
        let pushed = self.ledger.answers.iter().any(accepted);
        let is_there = self.story.evidence.records.contains_key(&record);
        let lines = self.story.journal.lines[since + 1..at].iter();
        let by_desk = lines.into_iter().any(|line| match &line.event {
            Event::Acted {
                acted: Acted::Rows { rows, .. },
                ..
            } => rows.iter().any(|row| row.record == record),
            Event::Acted {
                act,
                acted: Acted::Done,
            } => !is_about_nothing(act) && act.is_about(record),
            _ => false,
        });
        if done.state == "undone" && (pushed || is_there) {
            let what = format!(
                "row {} made {record}, somebody worked with it, and it is taken back",
                done.row
            );
            self.tell(UNDONE, done, what);
        }
        if done.state == "kept" && !pushed && !by_desk && self.is_plain(record) {
            let what = format!(
                "row {} made {record}, nobody worked with it, and it stays",
                done.row
            );
            self.tell(UNDONE, done, what);
        }
    }
}
