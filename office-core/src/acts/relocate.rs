//! Moving records to another grid: one, some, or a part of a grid that is split. All at once, or none.

use lianka_sync_core::{codec::change::Scalar, crdt::merge::Write, id::RecordId, kinds::key};

use super::{Act, Desk, Refused, records};
use crate::{audit::Action, store::Wants, street::Street};

/// Which records go where.
#[derive(Debug)]
pub struct Relocate {
    pub by: Desk,
    pub records: Vec<RecordId>,
    /// The grid that they were chosen from, if one was named.
    pub from_grid: Option<String>,
    pub to_grid: String,
    /// Only say which records it would be.
    pub dry_run: bool,
}

/// What was moved.
#[derive(Debug)]
pub struct Relocated {
    pub moved: Vec<RecordId>,
    /// How many stand in the grid already.
    pub unchanged: u64,
}

impl Act for Relocate {
    type Done = Relocated;
    type Refused = Refused;

    fn wants(&self, _: &Street) -> Wants {
        records(self.records.iter().copied())
    }

    fn decide(self, street: &mut Street) -> Result<Relocated, Refused> {
        if !street.has_grid(&self.to_grid) {
            return Err(Refused::NoGrid);
        }
        let (mut moved, mut unchanged) = (Vec::new(), 0);
        for record in &self.records {
            match street.grid(*record) {
                None => return Err(Refused::NoRecord(*record)),
                Some(grid) if grid == self.to_grid => unchanged += 1,
                Some(_) => moved.push(*record),
            }
        }
        if !self.dry_run && !moved.is_empty() {
            let to = Write::new(key::GRID, Some(Scalar::from(self.to_grid.as_str())));
            for record in &moved {
                street.compose(*record, self.by.signer(), std::slice::from_ref(&to), "")?;
            }
            let event = self.by.event(Action::CardMoved);
            street.audit(
                event
                    .with("to_grid", self.to_grid.as_str())
                    .with("from_grid", self.from_grid)
                    .with("records", moved.len()),
            );
        }
        Ok(Relocated { moved, unchanged })
    }
}
