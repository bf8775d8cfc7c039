//! One transaction on the street: changes become part of records, and what follows from them follows before it ends.
//!
//! In: changes that passed the gate, or writes in somebody's name. Out: the ledger, moved on. The order of numbers: first what was sent, in its order;
//! then what late edits of merged cards bring to the cards that go on; then the rulings on transfers; then what sealing rewrites.

use std::collections::{BTreeMap, BTreeSet};

use lianka_sync_core::{
    access::{Role, Writer},
    codec::change::{Action, Change},
    crdt::{
        conflict::{self, Settlement},
        merge::{self, Context, Merged, NoteDocument, Refusal, RegisterState, Target, Write},
        record::{Edit, RecordError},
    },
    id::{Actor, ChangeHash, DeviceId, RecordId},
    kinds::Kind,
    time::{DeviceTime, ServerTime},
};

use super::ledger::{Entry, Kept, Place, Store, What};

/// Documents that were needed, kept in step with their records.
pub type Documents = BTreeMap<RecordId, NoteDocument>;

/// In whose name the office writes.
#[derive(Clone, Copy, Debug)]
pub struct Signer {
    pub actor: Actor,
    pub writer: Writer,
}

impl Signer {
    pub fn desk(store: &Store, device: DeviceId, role: Role) -> Self {
        Self {
            actor: store.desk_actor(device),
            writer: role.into(),
        }
    }

    pub fn office(store: &Store) -> Self {
        Self {
            actor: store.own_actor(0),
            writer: Writer::Server,
        }
    }
}

/// A conflict that a change of this transaction settled.
pub struct Choice {
    pub record: RecordId,
    pub generation: u32,
    pub seq: u64,
    pub hash: ChangeHash,
    pub by: DeviceId,
    pub remark: String,
    pub settlement: Settlement,
}

/// The transaction.
pub struct Writing<'s> {
    pub store: &'s mut Store,
    pub documents: &'s mut Documents,
    pub now: ServerTime,
    /// The log's end when it began.
    pub before: u64,
    pub touched: BTreeSet<RecordId>,
    pub choices: Vec<Choice>,
}

impl<'s> Writing<'s> {
    pub fn begin(store: &'s mut Store, documents: &'s mut Documents, now: ServerTime) -> Self {
        let before = store.head;
        Self {
            store,
            documents,
            now,
            before,
            touched: BTreeSet::new(),
            choices: Vec::new(),
        }
    }

    pub fn state(&self, record: RecordId) -> Option<&RegisterState> {
        self.store.records.get(&record).map(|kept| &kept.state)
    }

    /// Merges a change into its record: its number, or nothing where it was there before.
    pub fn accept(
        &mut self,
        record: RecordId,
        kind: Kind,
        generation: u32,
        change: &Change,
        writer: Writer,
    ) -> Result<Option<u64>, Refusal> {
        if self.store.erased.contains(&record) {
            return Err(Refusal::Erased);
        }
        if written_grids(change).any(|grid| !self.store.grids.contains(grid)) {
            return Err(Refusal::UnknownGrid);
        }
        let settlements = self
            .state(record)
            .map(|state| conflict::settled(state, change))
            .unwrap_or_default();
        let document = self.document_for(record, change);
        let kept = self.store.records.remove(&record);
        let (state, place) = match kept {
            Some(Kept { state, place }) => (Some(state), place),
            None => (None, Place::default()),
        };
        let mut target = Target { state, document };
        let street = self.store.street.clone();
        let context = Context {
            street: &street,
            kind,
            generation,
            device: change.actor.device(),
            writer,
            received_at: self.now,
        };
        let merged = merge::merge(&mut target, change, &context);
        if let Some(document) = target.document {
            self.documents.insert(record, document);
        }
        let Some(state) = target.state else {
            return merged.map(|_| None);
        };
        self.store.records.insert(record, Kept { state, place });
        match merged? {
            Merged::Duplicate => Ok(None),
            Merged::Accepted => Ok(Some(self.log_accepted(
                record,
                generation,
                change,
                settlements,
            ))),
        }
    }

    /// The document where the note is edited, or where it is at hand and has to move along.
    fn document_for(&mut self, record: RecordId, change: &Change) -> Option<NoteDocument> {
        let at_hand = self.documents.remove(&record);
        if at_hand.is_some() || !change.edits_text() || !self.store.records.contains_key(&record) {
            return at_hand;
        }
        NoteDocument::load(&self.store.document(record)).ok()
    }

    fn log_accepted(
        &mut self,
        record: RecordId,
        generation: u32,
        change: &Change,
        settlements: Vec<Settlement>,
    ) -> u64 {
        let device = change.actor.device();
        let grid = self
            .state(record)
            .and_then(|state| state.text("grid"))
            .unwrap_or_default()
            .to_owned();
        let what = What::Change {
            hash: change.hash,
            device,
            bytes: change.bytes.clone(),
        };
        let seq = self.store.log(Entry {
            record,
            generation,
            grid: grid.clone(),
            at: self.now,
            what,
        });
        self.touched.insert(record);
        let of_choice = |settlement| Choice {
            record,
            generation,
            seq,
            hash: change.hash,
            by: device,
            remark: change.message.clone(),
            settlement,
        };
        self.choices.extend(settlements.into_iter().map(of_choice));
        let Some(kept) = self.store.records.get_mut(&record) else {
            return seq;
        };
        kept.seq = seq;
        kept.changes.push(seq);
        if kept.grid != grid {
            let left = std::mem::replace(&mut kept.grid, grid);
            kept.arrived = seq;
            if !left.is_empty() {
                // It left: phones of the grid before are told.
                let at = self.now;
                kept.seq = self.store.head + 1;
                self.store.log(Entry {
                    record,
                    generation,
                    grid: left,
                    at,
                    what: What::Leave,
                });
            }
        }
        seq
    }

    /// Writes in somebody's name, having seen all of the record; nothing where it says so already.
    pub fn compose(
        &mut self,
        record: RecordId,
        signer: Signer,
        writes: &[Write],
        remark: &str,
    ) -> Result<Option<(ChangeHash, u64)>, Refusal> {
        let Some(state) = self.state(record) else {
            return Err(Refusal::DependencyMissing);
        };
        let change = state.compose(signer.actor, self.device_time(), writes, remark)?;
        self.sign(record, change, signer)
    }

    /// The same where the note is among the edits.
    pub fn compose_note(
        &mut self,
        record: RecordId,
        signer: Signer,
        edits: &[Edit],
    ) -> Result<Option<(ChangeHash, u64)>, Refusal> {
        let document = match self.documents.remove(&record) {
            Some(document) => document,
            None => NoteDocument::load(&self.store.document(record))
                .map_err(|_| Refusal::DocumentUnavailable)?,
        };
        let change = document.compose(signer.actor, self.device_time(), edits, "");
        self.documents.insert(record, document);
        let change = change.map_err(|error| match error {
            RecordError::Edit(error) => Refusal::Gate(error),
            _ => Refusal::DocumentUnavailable,
        })?;
        self.sign(record, change, signer)
    }

    fn sign(
        &mut self,
        record: RecordId,
        change: Option<Change>,
        signer: Signer,
    ) -> Result<Option<(ChangeHash, u64)>, Refusal> {
        let (Some(change), Some(state)) = (change, self.state(record)) else {
            return Ok(None);
        };
        let (kind, generation) = (state.kind(), state.generation());
        let seq = self.accept(record, kind, generation, &change, signer.writer)?;
        seq.map(|seq| Some((change.hash, seq)))
            .ok_or(Refusal::ActorForked)
    }

    fn device_time(&self) -> DeviceTime {
        DeviceTime::from_unix_seconds(self.now.unix_seconds())
    }

    /// Records of a kind that this transaction changed.
    pub fn touched_of(&self, kind: Kind) -> Vec<RecordId> {
        self.touched
            .iter()
            .copied()
            .filter(|record| {
                self.state(*record)
                    .is_some_and(|state| state.kind() == kind)
            })
            .collect()
    }

    /// What follows from what was accepted. Nothing of the transaction comes after it.
    pub fn finish(mut self) {
        self.carry_late_edits();
        self.rule_on_events();
        self.tell_of_choices();
    }
}

/// The grids that a change writes, in order.
pub fn written_grids(change: &Change) -> impl Iterator<Item = &str> {
    change.ops.iter().filter_map(|op| match &op.action {
        Action::Put { key, value } if key == "grid" => value.as_str(),
        _ => None,
    })
}
