//! The note of a record, character by character: what was typed and accepted is there until an accepted change removes it.
//!
//! An own small model of a text: characters are the ids of the operations that inserted them, which outlive rebuilds; the order of characters is
//! Automerge's business, and compared elsewhere.

use std::collections::BTreeSet;

use uuid::Uuid;

use super::{
    About, Finding,
    bytes::{Document, OpId, device},
    ledger::{Card, Ledger},
};

pub fn check(
    record: Uuid,
    card: &Card,
    document: &Document,
    ledger: &Ledger,
    found: &mut Vec<Finding>,
) {
    let there: BTreeSet<&OpId> = document
        .changes
        .iter()
        .flat_map(|change| &change.inserted)
        .map(|(op, _)| op)
        .collect();
    let removed: BTreeSet<&OpId> = document
        .changes
        .iter()
        .flat_map(|change| &change.removed)
        .collect();
    for (op, hash) in &card.typed {
        let shown = there.contains(op) && !removed.contains(op);
        match (shown, card.removed.contains(op)) {
            (false, false) if !card.by_review.contains(hash) => {
                let what = format!(
                    "a character of the note of {record} that {hash} typed was accepted, nobody removed it, and the office has it no more"
                );
                found.push(Finding::new(
                    "no acknowledged edit is lost",
                    About::record(record).key("note").hash(hash),
                    what,
                ));
                return;
            }
            (true, true) => {
                let what = format!(
                    "a character of the note of {record} that {hash} typed is shown although an accepted change removed it"
                );
                found.push(Finding::new(
                    "what was replaced is gone",
                    About::record(record).key("note").hash(hash),
                    what,
                ));
                return;
            }
            _ => {}
        }
    }
    if let Some(op) = there
        .iter()
        .find(|op| ledger.users.contains_key(&device(&op.1)) && !card.typed.contains_key(**op))
    {
        let what = format!(
            "character {op:?} of the note of {record} is at the office, and no accepted change typed it"
        );
        found.push(Finding::new(
            "no refused edit is applied",
            About::record(record).key("note"),
            what,
        ));
    }
}
