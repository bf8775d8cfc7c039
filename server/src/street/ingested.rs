//! A change of a phone, and what the gate said.

use lianka_sync_core::codec::{
    change::{self, Change, GateError},
    wire::PushedChange,
};

/// A change as it came, and what the gate said.
#[derive(Debug)]
pub struct Ingested {
    pub pushed: PushedChange,
    pub change: Result<Change, GateError>,
}

impl Ingested {
    /// Puts a change through the gate.
    pub fn new(pushed: PushedChange) -> Self {
        let change = change::decode(&pushed.bytes);
        Self { pushed, change }
    }
}
