//! Writing what a record allows of several values.

use lianka_sync_core::{
    crdt::merge::{Refusal, Write},
    id::RecordId,
};

use super::{Signer, Street};

impl Street {
    /// Composes, and leaves out what a rule of the record forbids: a party status whose consent was withdrawn there, a person who was redacted.
    pub(crate) fn compose_what_fits(
        &mut self,
        record: RecordId,
        signer: Signer,
        mut writes: Vec<Write>,
        message: &str,
    ) -> Result<(), Refusal> {
        while !writes.is_empty() {
            match self.compose(record, signer, &writes, message) {
                Ok(_) => break,
                Err(refusal) => match refusal.key() {
                    Some(key) if writes.iter().any(|write| write.key == key) => {
                        let key = key.to_owned();
                        writes.retain(|write| write.key != key);
                    }
                    _ => return Err(refusal),
                },
            }
        }
        Ok(())
    }
}
