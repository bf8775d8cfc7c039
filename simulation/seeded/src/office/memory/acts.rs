//! What people at desks do, act by act: what a script names is looked up as a desk's screen would show it, and decided by `lianka-office-core`.

use std::collections::BTreeMap;

use lianka_office_core::{
    acts::{
        self, Desk, Refused,
        clock::Tick,
        compact::{Compact, is_worth_it},
        edit::{Create, Edit},
        erase::{Erase, Person, Redact, Request, reason},
        held::{Accept, Refuse},
        import::RowUndone,
        join_contacts::{Join, UndoJoin},
        merge_cards::{Merge, UndoMerge},
        relocate::Relocate,
        resolve::{Choose, ChooseHarmless, Undo},
        step::TakeStep,
    },
    ids::Ids,
    memory::{Kept, Settled},
    store::{CardMerge, ContactJoin, HeldStatus, HeldWrite},
};
use lianka_sync_core::{
    access::Role,
    codec::change::Scalar,
    crdt::{conflict::HarmlessClass, merge::Refusal, rebuild},
    id::{DeviceId, EntryId, RecordId},
    kinds::{
        self, Kind,
        duplicate::persons::Same,
        key,
        transfer::{Case, Step},
    },
};

use uuid::Uuid;

use super::{MemoryOffice, State, desk};
use crate::office::{Act, Acted, HeldId, Looked, SheetRow};

/// What a refusal means to whoever acted.
fn refused(refused: &Refused) -> Acted {
    let of_rule = |refusal: &Refusal| {
        if refusal.retryable() && refusal.key().is_none() {
            "unavailable"
        } else {
            refusal.code()
        }
    };
    Acted::Refused(
        match refused {
            Refused::NotFound | Refused::NoRecord(_) | Refused::NoEntry => return Acted::Nothing,
            Refused::Unavailable => "unavailable",
            Refused::StaleHeads(_) => "stale_heads",
            Refused::AlreadyExists => "already_exists",
            Refused::ConflictChanged => "conflict_changed",
            Refused::AlreadyUndone => "already_undone",
            Refused::MergeUndone => "merge_undone",
            Refused::EditedSince => "edited_since",
            Refused::AlreadyMerged => "already_merged",
            Refused::MergeNotLast => "merge_not_last",
            Refused::Decided => "held_decided",
            Refused::Needs(_) => "held_needs_others",
            Refused::NoGrid | Refused::NoFromGrid => "exists",
            Refused::HowMany(_) => "items_1_2000",
            Refused::NoField => "unknown_field",
            Refused::ReservedKey(_) => "reserved",
            Refused::NoteIsText => "wrong_type",
            Refused::SameCard => "one_of_the_pair",
            Refused::CardRefuses(refusal) if refusal.retryable() => "unavailable",
            Refused::CardRefuses(_) => "card_refuses",
            Refused::Rule(refusal) | Refused::HeldRefused(refusal) => of_rule(refusal),
            Refused::Forget(_) => "internal",
        }
        .to_owned(),
    )
}

fn done<T>(done: Result<T, Refused>, is_done: impl FnOnce(T) -> bool) -> Acted {
    match done {
        Ok(done) => {
            if is_done(done) {
                Acted::Done
            } else {
                Acted::Nothing
            }
        }
        Err(why) => refused(&why),
    }
}

fn same(kept: Uuid, gone: Uuid) -> Same {
    Same {
        kept: EntryId(kept),
        gone: EntryId(gone),
    }
}

fn values(set: &[(String, Option<String>)]) -> BTreeMap<String, Option<Scalar>> {
    let value = |(key, value): &(String, Option<String>)| {
        let value = value.as_ref().map(|text| desk::scalar(key, text));
        (key.clone(), value)
    };
    set.iter().map(value).collect()
}

impl MemoryOffice {
    pub(super) fn do_act(&mut self, act: &Act) -> Acted {
        match act {
            Act::Enrol { username } => self.code_for(username).map_or(Acted::Nothing, Acted::Code),
            Act::Assign { username, grids } => self.assign(username, grids),
            Act::Role { username, role } => self.change_role(username, role),
            Act::Revoke { device, wipe } => {
                if self.revoke(DeviceId(*device), *wipe) {
                    Acted::Done
                } else {
                    Acted::Nothing
                }
            }
            Act::Edit {
                record,
                set,
                looked,
            } => self.edit(RecordId(*record), set, *looked),
            Act::Create { record, grid, set } => self.create(RecordId(*record), grid, set),
            Act::ResolveSpelling => self.resolve_spelling(),
            Act::Resolve {
                record,
                field,
                nth,
                instead,
                looked_at,
            } => {
                let record = RecordId(*record);
                self.resolve(record, field, *nth, instead.as_deref(), *looked_at)
            }
            Act::UndoChoice {
                record,
                field,
                force,
            } => self.undo_choice(RecordId(*record), field, *force),
            Act::Held { held, accept } => self.decide_held(held, *accept, false, false),
            Act::HeldAgain { held, accept } => self.decide_held(held, *accept, true, false),
            Act::HeldAsEdit { held } => self.decide_held(held, true, false, true),
            Act::Move { records, grid } => {
                let mut there: Vec<_> = records.iter().copied().map(RecordId).collect();
                there.retain(|record| self.state.store.records.contains_key(record));
                there.sort_unstable();
                self.relocate(there, grid)
            }
            Act::Merge { winner, loser } => self.merge_cards(RecordId(*winner), RecordId(*loser)),
            Act::UndoMerge { winner, loser } => {
                self.undo_merge(RecordId(*winner), RecordId(*loser))
            }
            Act::JoinContacts { record, kept, gone } => {
                self.join_contacts(RecordId(*record), same(*kept, *gone))
            }
            Act::PartContacts { record, kept, gone } => {
                self.part_contacts(RecordId(*record), same(*kept, *gone))
            }
            Act::Erase { record } => {
                let (record, request) = (RecordId(*record), self.request());
                done(self.run(Erase { record, request }), |_| true)
            }
            Act::Redact { record, entry } => {
                self.redact(RecordId(*record), Person::Entry(EntryId(*entry)))
            }
            Act::RedactMember { record, key } => {
                self.redact(RecordId(*record), Person::Member(key.clone()))
            }
            Act::Step {
                record,
                step,
                fields,
            } => self.step(RecordId(*record), step, fields),
            Act::WriteRows { import, rows } => self.write_rows(*import, rows),
            Act::UndoRows { import } => self.undo_rows(*import),
            Act::PrepareCompaction { record } => self.prepare_compaction(RecordId(*record)),
            Act::Compact { record } => self.compact(RecordId(*record)),
            // A backup is made of a store that no server stands before.
            Act::Backup => {
                self.end_process();
                self.backup = Some((self.state.clone(), self.receipts.len()));
                Acted::Done
            }
            Act::Restore => self.restore(),
            // What is committed is in the store, and the store is whole.
            Act::Failover | Act::Restart => {
                self.end_process();
                Acted::Done
            }
        }
    }

    fn run<A: acts::Act>(&mut self, act: A) -> Result<A::Done, A::Refused> {
        self.state.store.run(self.now, act)
    }

    /// For the next write.
    pub(super) fn more_ids(&mut self) -> Ids {
        Ids::new(*self.ids.uuid().as_bytes())
    }

    fn request(&mut self) -> Request {
        Request {
            username: desk::ADMIN.to_owned(),
            device: self.state.desks.admin,
            reason: reason(desk::ERASE_REASON),
            erasure: self.ids.uuid(),
        }
    }

    fn reviewer(&self) -> Desk {
        Desk {
            username: desk::REVIEWER.to_owned(),
            device: self.state.desks.reviewer,
            role: Role::Reviewer,
        }
    }

    fn redact(&mut self, record: RecordId, person: Person) -> Acted {
        let redact = Redact {
            record,
            person,
            personal: [].into(),
            note: false,
            request: self.request(),
        };
        done(self.run(redact), |_| true)
    }

    fn edit(
        &mut self,
        record: RecordId,
        set: &[(String, Option<String>)],
        looked: Looked,
    ) -> Acted {
        if set.is_empty() {
            return Acted::Refused("not_empty".into());
        }
        let kept = self.state.store.records.get(&record);
        let heads = kept.map(|kept| kept.state.heads()).unwrap_or_default();
        let edit = Edit {
            by: self.reviewer(),
            record,
            set: values(set),
            note: String::new(),
            expected_heads: match looked {
                Looked::Unsaid => None,
                Looked::Now => Some(heads),
                Looked::Before => Some(Vec::new()),
            },
        };
        done(self.run(edit), |written| written.change.is_some())
    }

    fn create(&mut self, record: RecordId, grid: &str, set: &[(String, Option<String>)]) -> Acted {
        let mut set = values(set);
        set.insert(key::GRID.to_owned(), Some(grid.into()));
        let create = Create {
            by: self.reviewer(),
            record,
            kind: Kind::ShopCard,
            set,
        };
        done(self.run(create), |written| written.change.is_some())
    }

    fn resolve_spelling(&mut self) -> Acted {
        let of = |(record, kept): (&RecordId, &Kept)| {
            let view = kept.state.view();
            let keys = kinds::conflicts(&view).map(|(key, _)| (*record, key.to_owned()));
            keys.collect::<Vec<_>>()
        };
        let choose = ChooseHarmless {
            by: self.reviewer(),
            class: HarmlessClass::Spelling,
            found: self.state.store.records.iter().flat_map(of).collect(),
            note: String::new(),
            dry_run: false,
            bulk: self.ids.uuid(),
        };
        done(self.run(choose), |done| done.bulk.is_some())
    }

    fn resolve(
        &mut self,
        record: RecordId,
        field: &str,
        nth: usize,
        instead: Option<&str>,
        looked_at: Option<usize>,
    ) -> Acted {
        let Some(kept) = self.state.store.records.get(&record) else {
            return Acted::Nothing;
        };
        let is_listed = kept
            .state
            .kind()
            .field(field)
            .is_some_and(|(field, _)| field.keeps_conflicts());
        let mut visible = kept.state.visible(field);
        visible.truncate(looked_at.unwrap_or(usize::MAX));
        let seen = looked_at.map(|_| visible.iter().map(|(op, _)| *op).collect());
        let values: BTreeMap<String, Scalar> = visible
            .into_iter()
            .map(|(_, value)| (desk::text(&value), value))
            .collect();
        let is_conflict = is_listed && values.len() > 1;
        let Some(value) = values.into_values().nth(nth).filter(|_| is_conflict) else {
            return Acted::Nothing;
        };
        let choose = Choose {
            by: self.reviewer(),
            record,
            field: field.to_owned(),
            value: Some(instead.map_or(value, |text| desk::scalar(field, text))),
            note: String::new(),
            seen,
        };
        done(self.run(choose), |_| true)
    }

    fn undo_choice(&mut self, record: RecordId, field: &str, force: bool) -> Acted {
        let of =
            |settled: &&Settled| settled.write.record == record && settled.write.field == field;
        let newest = self.state.store.resolutions.iter().filter(of);
        let newest = newest.max_by_key(|settled| (settled.write.seq, settled.write.hash));
        let Some(resolution) = newest.map(|settled| settled.write.resolution) else {
            return Acted::Nothing;
        };
        let undo = Undo {
            by: self.reviewer(),
            resolutions: vec![resolution],
            bulk: None,
            force,
        };
        done(self.run(undo), |_| true)
    }

    /// In the order of record, hash and generation.
    pub(super) fn held_writes(&self, decided: bool) -> Vec<&HeldWrite> {
        let held = self.state.store.held.iter();
        let held = held.filter(|held| (held.status != HeldStatus::Held) == decided);
        let mut writes: Vec<_> = held.map(|held| &held.write).collect();
        writes.sort_by_key(|write| (write.record, write.hash, write.generation));
        writes
    }

    fn decide_held(
        &mut self,
        (record, hash): &HeldId,
        accept: bool,
        decided: bool,
        as_edit: bool,
    ) -> Acted {
        let writes = self.held_writes(decided).into_iter();
        let mut is_it =
            writes.filter(|write| write.record.0 == *record && write.hash.to_string() == *hash);
        let Some(held) = is_it.next().map(|write| write.held) else {
            return Acted::Nothing;
        };
        let by = self.reviewer();
        if accept {
            let accept = Accept {
                by,
                held,
                note: None,
                with_needed: true,
                as_edit,
            };
            return done(self.run(accept), |_| true);
        }
        let refuse = Refuse {
            by,
            held,
            reason: desk::HELD_REASON.to_owned(),
        };
        done(self.run(refuse), |()| true)
    }

    fn relocate(&mut self, records: Vec<RecordId>, grid: &str) -> Acted {
        if records.is_empty() {
            return Acted::Nothing;
        }
        let relocate = Relocate {
            by: self.reviewer(),
            records,
            from_grid: None,
            to_grid: grid.to_owned(),
            dry_run: false,
        };
        done(self.run(relocate), |done| !done.moved.is_empty())
    }

    fn merge_cards(&mut self, winner: RecordId, loser: RecordId) -> Acted {
        // What was recorded elsewhere has an epoch for each merge that was done.
        let mut names = self.names.clone();
        let merge = Merge {
            by: self.reviewer(),
            winner,
            loser,
            note: String::new(),
            merge: self.ids.uuid(),
            epoch: names.merge(),
        };
        let acted = done(self.run(merge), |_| true);
        if acted == Acted::Done {
            self.names = names;
        }
        acted
    }

    fn undo_merge(&mut self, winner: RecordId, loser: RecordId) -> Acted {
        let of = |merge: &&CardMerge| merge.winner == winner && merge.loser == loser;
        let merges = self.state.store.merges.values().filter(of);
        let newest = merges.max_by_key(|merge| (merge.undone.is_none(), merge.merged_at));
        let Some(merge) = newest.map(|merge| merge.merge) else {
            return Acted::Nothing;
        };
        let undo = UndoMerge {
            by: self.reviewer(),
            merge,
            note: String::new(),
        };
        done(self.run(undo), |_| true)
    }

    fn join_contacts(&mut self, record: RecordId, same: Same) -> Acted {
        let mut names = self.names.clone();
        let join = Join {
            by: self.reviewer(),
            record,
            same,
            note: String::new(),
            join: names.join(self.ids.uuid()),
            epoch: names.merge(),
        };
        let acted = done(self.run(join), |_| true);
        if acted == Acted::Done {
            self.names = names;
        }
        acted
    }

    fn part_contacts(&mut self, record: RecordId, same: Same) -> Acted {
        let of = |join: &&ContactJoin| join.record == record && join.same == same;
        let joins = self.state.store.joins.values().filter(of);
        let newest = joins.max_by_key(|join| (join.undone.is_none(), join.joined_at));
        let Some(join) = newest.map(|join| join.join) else {
            return Acted::Nothing;
        };
        let undo = UndoJoin {
            by: self.reviewer(),
            join,
            note: String::new(),
        };
        done(self.run(undo), |_| true)
    }

    fn step(&mut self, record: RecordId, step: &str, fields: &[(String, String)]) -> Acted {
        let nth = *self
            .steps
            .entry(record)
            .and_modify(|nth| *nth += 1)
            .or_insert(0);
        let Ok(step) = step.parse::<Step>() else {
            return Acted::Refused("known_step".into());
        };
        let kept = self.state.store.records.get(&record);
        let last = kept.and_then(|kept| Case::of(&kept.state.view()).now.last);
        let mut fields: BTreeMap<_, _> = fields.iter().cloned().collect();
        let seen = fields.remove("seen").and_then(|seen| seen.parse().ok());
        let officer = desk::officer(nth);
        let take = TakeStep {
            by: Desk {
                username: desk::OFFICERS[officer].to_owned(),
                device: self.state.desks.officers[officer],
                role: Role::Officer,
            },
            record,
            event: desk::event_id(record, nth, self.now),
            step,
            seen: seen.or(last),
            fields,
        };
        done(self.run(take), |_| true)
    }

    fn write_rows(&mut self, import: Uuid, rows: &[SheetRow]) -> Acted {
        let street = self.state.store.street.clone();
        let write = desk::write_rows(self.reviewer(), &street, import, rows);
        match self.run(write) {
            Ok(written) => {
                let undo = desk::undo_of(rows, written);
                let is_done = !undo.is_empty();
                self.state.imports.insert(import, undo);
                done(Ok(()), |()| is_done)
            }
            Err(why) => refused(&why),
        }
    }

    fn undo_rows(&mut self, import: Uuid) -> Acted {
        let Some(rows) = self.state.imports.remove(&import) else {
            return Acted::Nothing;
        };
        let undo = desk::undo_rows(self.reviewer(), import, rows);
        done(self.run(undo), |undone| {
            undone.iter().any(|row| *row != RowUndone::Kept)
        })
    }

    fn prepare_compaction(&mut self, record: RecordId) -> Acted {
        let compact = match self.compaction_of(record) {
            Ok(compact) => compact,
            Err(acted) => return acted,
        };
        self.compactions.insert(record, compact);
        Acted::Done
    }

    fn compact(&mut self, record: RecordId) -> Acted {
        let prepared = self.compactions.remove(&record);
        match prepared.map_or_else(|| self.compaction_of(record), Ok) {
            Ok(compact) => done(self.run(compact).map_err(Refused::from), |done| {
                done.is_some()
            }),
            Err(acted) => acted,
        }
    }

    /// A record's compacted history, where it is worth it.
    fn compaction_of(&self, record: RecordId) -> Result<Compact, Acted> {
        let State { store, .. } = &self.state;
        let (Some(kept), Some(document)) = (store.records.get(&record), store.document(record))
        else {
            return Err(Acted::Nothing);
        };
        let Ok(rebuilt) = rebuild::compact(&kept.state, &document, self.now) else {
            return Err(Acted::Refused("internal".into()));
        };
        let of: Vec<_> = kept.state.accepted().map(|(hash, _)| hash).collect();
        if !is_worth_it(&rebuilt, of.len(), document.len()) {
            return Err(Acted::Nothing);
        }
        Ok(Compact {
            record,
            of,
            rebuilt,
        })
    }

    /// Lets the clock act on whatever is due; whether it did anything.
    pub(super) fn tick(&mut self) -> bool {
        let mut acted = false;
        for record in self.state.store.due(self.now) {
            let erasure = self.ids.uuid();
            acted |= self.run(Tick { record, erasure }).unwrap_or(false);
        }
        acted
    }
}
