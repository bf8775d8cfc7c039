//! Putting a compacted history in the place of the one it was made from.

use lianka_sync_core::{
    crdt::rebuild::Rebuilt,
    id::{ChangeHash, RecordId},
};

use super::Act;
use crate::{
    audit::{Action, Event},
    store::Wants,
    street::{ForgetError, Forgotten, Street},
};

/// A compacted history, made while the street was free.
#[derive(Debug)]
pub struct Compact {
    pub record: RecordId,
    /// The changes that it was made from.
    pub of: Vec<ChangeHash>,
    pub rebuilt: Rebuilt,
}

impl Act for Compact {
    /// `None` where changes came meanwhile.
    type Done = Option<Forgotten>;
    type Refused = ForgetError;

    fn wants(&self, _: &Street) -> Wants {
        Wants {
            records: [self.record].into(),
            histories: [self.record].into(),
            ..Wants::default()
        }
    }

    fn decide(self, street: &mut Street) -> Result<Option<Forgotten>, ForgetError> {
        let done = street.compacted(self.record, &self.of, self.rebuilt)?;
        if let Some(done) = &done {
            street.audit(
                Event::by_server(Action::Compaction)
                    .on(self.record)
                    .with("generation", done.generation)
                    .with("operations", done.ops)
                    .with("dropped", done.changes),
            );
        }
        Ok(done)
    }
}

/// Whether a compacted history is worth a new generation, which every phone of the grid takes whole: a tenth at least of the changes or bytes before.
pub fn is_worth_it(rebuilt: &Rebuilt, changes: usize, bytes: usize) -> bool {
    let less = |after: usize, before: usize| after < before - before / 10;
    rebuilt.forgotten_ops > 0
        && (less(rebuilt.changes.len(), changes) || less(rebuilt.document.len(), bytes))
}
