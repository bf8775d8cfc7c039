//! What rows of sheets of ours wrote on cards, as fingerprints: the same sheet, sent again, says it no second time, whatever became of it since.

use std::collections::BTreeSet;

use lianka_sync_core::{codec::change::Scalar, key::NOTE};
use sha2::{Digest, Sha256};
use uuid::Uuid;

use super::{
    said,
    workbook::{Changed, Person},
};

/// What a row of ours writes. The note as the sheet has it, and as the export had it.
pub struct Writes<'w> {
    pub changed: &'w mut Vec<Changed>,
    pub persons: &'w mut Vec<Person>,
    pub note: &'w mut Option<(String, String)>,
}

impl Writes<'_> {
    /// Leaves out what an earlier import of the same export wrote.
    pub fn leave_out(self, export: Uuid, wrote: &BTreeSet<String>) {
        self.changed
            .retain(|changed| !wrote.contains(&of_cell(export, changed)));
        self.persons
            .retain(|person| !wrote.contains(&of_person(export, person)));
        self.note
            .take_if(|(text, _)| wrote.contains(&of_note(export, text)));
    }
}

/// Fingerprints of what a row writes.
pub fn of(
    export: Uuid,
    changed: &[Changed],
    persons: &[Person],
    note: Option<&str>,
) -> Vec<String> {
    let cells = changed.iter().map(|changed| of_cell(export, changed));
    let persons = persons.iter().map(|person| of_person(export, person));
    let note = note.into_iter().map(|text| of_note(export, text));
    cells.chain(persons).chain(note).collect()
}

fn of_cell(export: Uuid, changed: &Changed) -> String {
    let value = match &changed.value {
        None => String::new(),
        Some(Scalar::Str(text)) => format!("={text}"),
        Some(Scalar::Bool(_) | Scalar::Int(_)) => "=true".to_owned(),
    };
    fingerprint(export, &changed.key, &value)
}

fn of_person(export: Uuid, person: &Person) -> String {
    let texts: Vec<_> = person
        .iter()
        .map(|(field, value)| format!("{field}={value}"))
        .collect();
    fingerprint(export, "person", &texts.join("\n"))
}

fn of_note(export: Uuid, text: &str) -> String {
    fingerprint(export, NOTE, text)
}

fn fingerprint(export: Uuid, what: &str, value: &str) -> String {
    let digest = Sha256::new_with_prefix(b"lianka wrote 1")
        .chain_update(export.as_bytes())
        .chain_update([what.len().min(255) as u8])
        .chain_update(what.as_bytes())
        .chain_update(value.as_bytes())
        .finalize();
    hex::encode(&digest[..said::BYTES])
}
