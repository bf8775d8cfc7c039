//! What a decision wants to know, answered from memory.

use std::collections::BTreeMap;

use lianka_sync_core::{
    codec::change::Scalar,
    id::{ChangeHash, EntryId, RecordId},
    kinds::{
        self, Kind,
        transfer::{
            self, Case, Outcome, Step, calendar::Calendar, letter_key, member::Member, table::OTHER,
        },
    },
};

use super::{Held, Kept, MemoryStore, Settled};
use crate::store::{
    CardMerge, ContactJoin, Grids, HeldChange, HeldStatus, KnownHeld, Loaded, OpenRequest, Place,
    Resolution, Restored, Stored, StoredRecord, Wants,
};

impl MemoryStore {
    /// Answers what is wanted.
    pub(super) fn answer(&self, wants: &Wants) -> Loaded {
        let is_open = |held: &&Held| held.status == HeldStatus::Held;
        Loaded {
            records: answers(&wants.records, |record| self.stored(*record)),
            documents: answers(&wants.documents, |record| self.document(*record)),
            histories: answers(&wants.histories, |record| Some(self.places(*record))),
            assignments: answers(&wants.assignments, |username| {
                let user = self.users.get(username)?;
                (!user.assignments.is_empty()).then(|| Grids {
                    now: user.grids(),
                    ever: user
                        .assignments
                        .iter()
                        .map(|one| one.grid.clone())
                        .collect(),
                })
            }),
            sequences: answers(&wants.sequences, |(record, hash)| {
                let places = self.places(*record);
                places
                    .iter()
                    .find(|place| place.hash == *hash)
                    .map(|place| place.seq)
            }),
            earlier: answers(&wants.earlier, |(record, hash)| {
                let had = |hashes: &Vec<ChangeHash>| hashes.contains(hash);
                self.earlier.get(record)?.values().any(had).then_some(())
            }),
            held: answers(&wants.held, |(record, hash)| {
                let is = |held: &&Held| held.write.record == *record && held.write.hash == *hash;
                self.held.iter().find(is).map(|held| KnownHeld {
                    held: held.write.held,
                    status: held.status,
                    note: held.note.clone(),
                    seq: held.seq,
                })
            }),
            waiting: answers(&wants.waiting, |device| {
                let of = self.held.iter().filter(is_open);
                Some(of.filter(|held| held.write.device == *device).count() as i64)
            }),
            reasons: answers(&wants.reasons, |record| {
                let of = self.held.iter().filter(is_open);
                let of = of.filter(|held| held.write.record == *record);
                Some(
                    of.map(|held| (held.write.hash, held.write.reason.to_owned()))
                        .collect(),
                )
            }),
            left_grids: answers(&wants.left_grids, |record| {
                let left = self.entries(*record);
                let left = left.filter(|(_, entry)| entry.what.as_str() == "leave");
                Some(left.map(|(_, entry)| entry.grid.clone()).collect())
            }),
            people: answers(&wants.people, |device| self.person(*device)),
            unmade: answers(&wants.unmade, |record| {
                self.unmade.contains(record).then_some(())
            }),
            merged_away: answers(&wants.merged_away, |loser| {
                let by = |merge: &&CardMerge| merge.loser == *loser && merge.undone.is_none();
                self.merges.values().find(by).cloned()
            }),
            letters: answers(&wants.letters, |number| {
                let holds = |case: &Case| {
                    let letter = case.now.letter.as_ref();
                    letter.is_some_and(|letter| letter_key(&letter.number) == *number)
                };
                let open = self.open_cases().filter(|(_, _, case)| holds(case));
                Some(open.map(|(record, ..)| record).collect())
            }),
            requests: answers(&wants.requests, |()| Some(self.open_requests())),
            different: answers(&wants.different, |()| Some(self.different_people())),
            calendars: answers(&wants.calendars, |()| Some(Calendar::shipped())),
            restored: answers(&wants.restored, |record| Some(self.restored(*record))),
            holdings: answers(&wants.holdings, |record| Some(self.holdings(*record))),
            mentions: answers(&wants.mentions, |(record, entries)| {
                Some(self.mentions(*record, entries))
            }),
            receipts: answers(&wants.receipts, |record| {
                let of = self.receipts.iter().rev();
                Some(
                    of.filter(|receipt| receipt.record == *record)
                        .cloned()
                        .collect(),
                )
            }),
            copies: answers(&wants.copies, |(record, entry)| {
                let holds = |kept: &Kept| kept.state.has_person(*entry);
                let others = self.of_kind(Kind::ShopCard);
                let others = others.filter(|(other, kept)| other != record && holds(kept));
                Some(others.map(|(other, _)| other).collect())
            }),
            merged_with: answers(&wants.merged_with, |record| {
                let merges = self.merges.values().filter(|merge| merge.undone.is_none());
                let other = |merge: &CardMerge| match *record {
                    record if record == merge.winner => Some(merge.loser),
                    record if record == merge.loser => Some(merge.winner),
                    _ => None,
                };
                Some(merges.filter_map(other).collect())
            }),
            children: answers(&wants.children, |record| Some(self.children(*record))),
            held_changes: answers(&wants.held_changes, |id| {
                self.held
                    .iter()
                    .find(|held| held.write.held == *id)
                    .map(held_change)
            }),
            held_of: answers(&wants.held_of, |record| {
                let of = self
                    .held
                    .iter()
                    .filter(|held| held.write.record == *record && !held.write.bytes.is_empty());
                Some(of.map(held_change).collect())
            }),
            roles: answers(&wants.roles, |username| {
                let user = self.users.get(username)?;
                let before = user.former_roles.iter().rev().copied();
                Some(std::iter::once(user.role).chain(before).collect())
            }),
            merges: answers(&wants.merges, |merge| self.merges.get(merge).cloned()),
            merges_of: answers(&wants.merges_of, |record| {
                let is_of = |merge: &&CardMerge| [merge.winner, merge.loser].contains(record);
                Some(self.merges.values().filter(is_of).cloned().collect())
            }),
            joins: answers(&wants.joins, |join| self.joins.get(join).cloned()),
            joins_of: answers(&wants.joins_of, |record| {
                let of = self.joins.values().filter(|join| join.record == *record);
                Some(of.cloned().collect())
            }),
            resolutions: answers(&wants.resolutions, |id| {
                let is = |settled: &&Settled| settled.write.resolution == *id;
                self.resolutions.iter().find(is).map(resolution)
            }),
        }
    }

    fn stored(&self, record: RecordId) -> Option<Stored> {
        match self.records.get(&record) {
            Some(kept) => Some(Stored::Record(StoredRecord {
                grid: kept.grid.clone(),
                seq: kept.seq,
                grid_seq: kept.grid_seq,
                state: kept.state.clone(),
            })),
            None => self.is_erased(record).then_some(Stored::Erased),
        }
    }

    /// Where the changes of a record stand, or stood, in the log.
    pub fn places(&self, record: RecordId) -> Vec<Place> {
        let trimmed = self.records.get(&record).map(|kept| kept.trimmed.clone());
        let mut places = trimmed.unwrap_or_default();
        places.extend(self.entries(record).filter_map(|(seq, entry)| {
            let change = entry.what.change()?;
            Some(Place {
                hash: change.hash,
                seq,
                composed: change.composed,
                trimmed: false,
            })
        }));
        places.sort_by_key(|place| place.seq);
        places
    }

    fn children(&self, record: RecordId) -> Vec<RecordId> {
        let belongs = |(child, kept): (&RecordId, &Kept)| {
            let field = kept.state.kind().description().belongs_to?;
            let owner: RecordId = kept.state.text(field)?.parse().ok()?;
            (owner == record).then_some(*child)
        };
        let merged = self.merges.values();
        let merged = merged.filter(|merge| merge.winner == record && merge.undone.is_none());
        self.records
            .iter()
            .filter_map(belongs)
            .chain(merged.map(|merge| merge.loser))
            .collect()
    }

    fn cases(&self) -> impl Iterator<Item = (RecordId, &Kept, Case)> {
        self.of_kind(Kind::TransferRequest)
            .map(|(record, kept)| (record, kept, Case::of(&kept.state.view())))
    }

    fn open_cases(&self) -> impl Iterator<Item = (RecordId, &Kept, Case)> {
        self.cases()
            .filter(|(_, _, case)| transfer::is_open(case.now.state))
    }

    /// What was sealed counts: it is the same member still.
    fn open_requests(&self) -> Vec<OpenRequest> {
        let of = |(record, kept, case): (RecordId, &Kept, Case)| {
            let personal = self.personal.get(&record);
            let sealed = |field: &str| {
                let mut revisions = personal?.values().rev();
                revisions
                    .find_map(|fields| fields.get(field)?.last())
                    .cloned()
            };
            let text = |field: &str| kept.state.text(field).map(str::to_owned);
            Some(OpenRequest {
                record,
                submitted_at: case.now.submitted_at?,
                member: Member::of(text, sealed),
            })
        };
        self.open_cases().filter_map(of).collect()
    }

    fn different_people(&self) -> Vec<(RecordId, RecordId)> {
        let found = |(record, _, case): (RecordId, &Kept, Case)| {
            let ruled = case.ruled().filter(|(event, ruled)| {
                event.step == Step::NotSamePerson && ruled.ruling.outcome == Outcome::Applied
            });
            let others = ruled.filter_map(|(event, _)| event.text(OTHER)?.parse().ok());
            others.map(|other| (record, other)).collect::<Vec<_>>()
        };
        self.cases().flat_map(found).collect()
    }

    fn restored(&self, record: RecordId) -> Vec<Restored> {
        self.resolutions
            .iter()
            .filter(|settled| settled.is_undone && settled.write.record == record)
            .flat_map(|settled| {
                let back = settled.write.replaced.iter();
                back.filter(|value| value.restored_as.is_some())
                    .map(|value| Restored {
                        field: settled.write.field.clone(),
                        value: value.clone(),
                    })
            })
            .collect()
    }

    fn holdings(&self, record: RecordId) -> Vec<(&'static str, u64)> {
        let count = |n: usize| n as u64;
        let notices = self.notices.values().flatten();
        let kept = self.records.get(&record);
        let contacts = kept.map(|kept| kinds::persons(&kept.state.view()).len());
        vec![
            ("change_log", count(self.entries(record).count())),
            (
                "held_change",
                count(
                    self.held
                        .iter()
                        .filter(|held| held.write.record == record)
                        .count(),
                ),
            ),
            (
                "notice",
                count(notices.filter(|notice| notice.record == record).count()),
            ),
            (
                "resolution",
                count(
                    self.resolutions
                        .iter()
                        .filter(|one| one.write.record == record)
                        .count(),
                ),
            ),
            ("roll_import_row", 0),
            ("shop_contact", count(contacts.unwrap_or_default())),
            ("record", 1),
        ]
    }

    fn mentions(&self, record: RecordId, entries: &[EntryId]) -> Vec<(&'static str, u64)> {
        let notices = self.notices.values().flatten();
        let notices = notices.filter(|notice| {
            let field = notice.field.as_deref();
            notice.record == record && field.is_some_and(|field| is_about(field, entries))
        });
        let resolutions = self.resolutions.iter();
        let resolutions = resolutions
            .filter(|one| one.write.record == record && is_about(&one.write.field, entries));
        let joins = self.joins.values();
        let joins = joins.filter(|join| join.record == record && is_of(join, entries));
        vec![
            ("notice", notices.count() as u64),
            ("resolution", resolutions.count() as u64),
            ("contact_join", joins.count() as u64),
            ("roll_import_row", 0),
        ]
    }

    /// The card that a merged one went on in, for whoever looks at the store.
    pub fn merged_into(&self, record: RecordId) -> Option<RecordId> {
        let kept = self.records.get(&record)?;
        kept.state.successor()
    }
}

/// Whether a key is of one of the entries.
pub(super) fn is_about(field: &str, entries: &[EntryId]) -> bool {
    entries
        .iter()
        .any(|entry| field.contains(&format!("/{entry}/")))
}

/// Whether a joining is of one of the entries.
pub(super) fn is_of(join: &ContactJoin, entries: &[EntryId]) -> bool {
    entries.contains(&join.same.kept) || entries.contains(&join.same.gone)
}

fn answers<K: Ord + Clone, V>(
    wanted: &std::collections::BTreeSet<K>,
    answer: impl Fn(&K) -> Option<V>,
) -> BTreeMap<K, V> {
    wanted
        .iter()
        .filter_map(|key| Some((key.clone(), answer(key)?)))
        .collect()
}

fn held_change(held: &Held) -> HeldChange {
    HeldChange {
        held: held.write.held,
        record: held.write.record,
        kind: held.write.kind,
        generation: held.write.generation,
        bytes: held.write.bytes.clone(),
        username: held.write.username.clone(),
        reason: held.write.reason.to_owned(),
        status: held.status,
    }
}

fn resolution(settled: &Settled) -> Resolution {
    let write = settled.write.clone();
    let chosen: Option<Scalar> = write.chosen;
    Resolution {
        resolution: write.resolution,
        record: write.record,
        field: write.field,
        generation: write.generation,
        op: write.op,
        chosen,
        replaced: write.replaced,
        username: write.username,
        at: settled.at,
        is_undone: settled.is_undone,
    }
}
