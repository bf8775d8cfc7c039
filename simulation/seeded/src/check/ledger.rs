//! What the office must hold by now: the journal played through a small model of registers, grids and held edits.
//!
//! In: the journal. Out: the [`Ledger`] at its end, and findings about answers that could not be right when they were given: a change taken from
//! another device or for another's grid, a key written twice, numbers that go back, a decision that did not last.
//!
//! What the office writes itself (edits at the desk, rulings, merges) is not in the journal as bytes; the model only notes which key of which
//! record was touched when. A restore puts the whole model back to the backup, as it does the office.

use std::collections::{BTreeMap, BTreeSet};

use uuid::Uuid;

use super::{
    About, Finding,
    bytes::{self, OpId, Said},
    rules,
};
use crate::{
    journal::{Event, Item, Journal, PhoneNo},
    office::{Act, Acted, Evidence, HeldId, Setup, SheetRow},
};

/// A value that was accepted.
#[derive(Clone, Debug)]
pub struct Put {
    pub key: String,
    pub value: String,
    pub device: Uuid,
    pub hash: String,
    /// The journal's line of the verdict.
    pub line: usize,
}

/// A record as the office must have it, as far as phones wrote it.
#[derive(Clone, Debug, Default)]
pub struct Card {
    pub kind: String,
    pub grid: String,
    /// The grids that it left.
    pub left: BTreeSet<String>,
    pub puts: BTreeMap<OpId, Put>,
    /// What accepted changes replaced.
    pub replaced: BTreeSet<OpId>,
    /// Characters of the note that were accepted, each with the change that brought it.
    pub typed: BTreeMap<OpId, String>,
    /// Those that accepted changes removed.
    pub removed: BTreeSet<OpId>,
    /// Accepted changes with their place in the log.
    pub accepted: BTreeMap<String, u64>,
    /// Accepted by a reviewer: whether as it was or as the desk's own edit is not known.
    pub by_review: BTreeSet<String>,
    /// Of those, what became the desk's own edit: nothing can build on it.
    pub as_edit: BTreeSet<String>,
    /// Keys that the office wrote, `None` for any, and when.
    pub touched: Vec<(Option<String>, usize)>,
    /// Events of a transfer, in the order in which they were accepted.
    pub events: Vec<String>,
    /// Its history was rewritten at least once.
    pub rewritten: bool,
    /// Created by a desk, or by a change that was accepted.
    pub is_kept: bool,
}

impl Card {
    /// Whether the office wrote the key after a line of the journal.
    pub fn touched_after(&self, key: &str, line: usize) -> bool {
        self.touched
            .iter()
            .any(|(of, at)| *at > line && of.as_deref().is_none_or(|of| of == key))
    }

    /// Whether a key is the party status of somebody who withdrew a consent: what was said and chosen of it is forgotten.
    pub fn may_be_withdrawn(&self, key: &str) -> bool {
        let withdraws = |put: &Put| put.key.ends_with("/decision") && put.value == "withdraw";
        key.ends_with("/party_status") && self.puts.values().any(withdraws)
    }
}

/// What became of a held change.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Held {
    Waits,
    Accepted,
    Refused,
}

impl Held {
    /// As evidence says it.
    pub fn word(self) -> &'static str {
        match self {
            Self::Waits => "held",
            Self::Accepted => "accepted",
            Self::Refused => "refused",
        }
    }
}

/// The office at one moment.
#[derive(Clone, Debug, Default)]
pub struct Office {
    /// For each user the grids now, and all there ever were.
    pub works: BTreeMap<String, (BTreeSet<String>, BTreeSet<String>)>,
    /// What is assigned to users whose role edits nothing now: they work it again when they are secretaries again.
    pub idle: BTreeMap<String, BTreeSet<String>>,
    pub cards: BTreeMap<Uuid, Card>,
    pub held: BTreeMap<(Uuid, String), Held>,
    pub erased: BTreeMap<Uuid, usize>,
    /// For each record the entries of persons who were redacted, and when.
    pub redacted: BTreeMap<Uuid, BTreeMap<String, usize>>,
    /// Cards that were merged away, and as which ones they go on.
    pub goes_on: BTreeMap<Uuid, Uuid>,
    /// For each record the contacts that were joined into another one, and into which.
    pub joined: BTreeMap<Uuid, BTreeMap<String, String>>,
    /// What imports wrote: for each record its keys, or that the import made it.
    pub imports: BTreeMap<Uuid, Vec<(Uuid, Vec<String>)>>,
    /// Held changes that a reviewer decided on.
    pub decided: BTreeMap<(Uuid, String), Decision>,
    /// Devices that are to be wiped.
    pub to_wipe: BTreeSet<Uuid>,
    /// The newest number that a verdict told.
    pub seq: u64,
}

impl Office {
    /// A record, and the cards as which it goes on, the last one last. Where one goes on as itself, something is wrong that is found elsewhere.
    fn goes_on_as(&self, record: Uuid) -> Vec<Uuid> {
        let mut cards = vec![record];
        while let Some(next) = self.goes_on.get(&cards[cards.len() - 1])
            && !cards.contains(next)
        {
            cards.push(*next);
        }
        cards
    }
}

/// What a reviewer decided.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Decision {
    /// Whose edit it is.
    pub user: String,
    pub accepted: bool,
    /// The journal's line.
    pub line: usize,
}

/// A change that came to the office's door.
#[derive(Clone, Debug)]
pub struct Arrived {
    pub said: Said,
    pub record: Uuid,
    pub generation: u32,
    pub line: usize,
}

/// An answer about a change.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Answer {
    pub line: usize,
    pub device: Uuid,
    pub status: String,
    pub code: Option<String>,
    pub seq: Option<u64>,
}

/// The journal, understood.
#[derive(Debug, Default)]
pub struct Ledger {
    pub now: Office,
    /// Every change that ever arrived, by record and hash; the first time.
    pub arrived: BTreeMap<(Uuid, String), Arrived>,
    /// Every answer about it.
    pub answers: BTreeMap<(Uuid, String), Vec<Answer>>,
    /// What was accepted once and given up with a restored store's history.
    pub given_up: BTreeMap<(Uuid, String), usize>,
    /// Lines of the journal at which the store was restored.
    pub restores: Vec<usize>,
    /// Users whose sight a record left at some time: their phones dropped it.
    pub departed: BTreeSet<(String, Uuid)>,
    /// Records that were rewritten or erased at some time, whatever a restore made of that.
    pub rewritten: BTreeSet<Uuid>,
    pub ever_erased: BTreeSet<Uuid>,
    /// Cards that an import made.
    imported: BTreeSet<Uuid>,
    pub ever_redacted: BTreeMap<Uuid, BTreeSet<String>>,
    pub users: BTreeMap<Uuid, String>,
    /// The users of phones by number, and every device that a phone was.
    pub phones: BTreeMap<PhoneNo, (String, BTreeSet<Uuid>)>,
    /// Cards that were merged: each may hold what was written on the other.
    pub merged: BTreeSet<Uuid>,
    /// Decisions on held edits: each tells its author under a number of the log.
    pub decisions: usize,
    /// Devices whose phone was copied: both copies may write one edit anew.
    copied: BTreeSet<Uuid>,
    /// What the answer that is being told refused for good.
    refused_now: Vec<(Uuid, String)>,
    /// What any answer did.
    ever_refused: BTreeSet<(Uuid, String)>,
    backup: Option<Box<Office>>,
    receipts: Vec<Act>,
}

impl Ledger {
    /// Plays the journal.
    pub fn of(setup: &Setup, journal: &Journal, found: &mut Vec<Finding>) -> Self {
        let mut ledger = Self::default();
        for (username, grids) in &setup.secretaries {
            let grids: BTreeSet<_> = grids.iter().cloned().collect();
            ledger
                .now
                .works
                .insert(username.clone(), (grids.clone(), grids));
        }
        for (line, event) in journal.lines.iter().enumerate() {
            // What one request brought is decided at once; what follows from it comes after all of it.
            if !matches!(event.event, Event::Verdict { .. }) {
                ledger.gather_visits(line);
            }
            ledger.play(line, &event.event, found);
        }
        ledger.gather_visits(journal.lines.len());
        ledger
    }

    /// Visits stand where their card stands, or the one as which it goes on.
    fn gather_visits(&mut self, line: usize) {
        let visits = self
            .now
            .cards
            .iter()
            .filter(|(_, card)| card.kind == "visit");
        let moved: Vec<(Uuid, String)> = visits
            .filter_map(|(record, visit)| {
                let shop = visit.puts.values().find(|put| put.key == "shop")?;
                let cards = self.now.goes_on_as(shop.value.parse().ok()?);
                let grid = &self.now.cards.get(cards.last()?)?.grid;
                (*grid != visit.grid).then(|| (*record, grid.clone()))
            })
            .collect();
        for (record, grid) in moved {
            self.touch(record, Some("grid"), line);
            self.put_into(record, &grid);
        }
    }

    /// Transfers that nobody submitted within 30 days are erased by the office's clock, which no line of the journal tells.
    pub fn lapse(&mut self, evidence: &Evidence) {
        for line in evidence.log.iter().filter(|line| line.what == "erase") {
            if self.may_have_lapsed(line.record) {
                self.now.cards.remove(&line.record);
                self.now.held.retain(|(of, _), _| *of != line.record);
                self.now.erased.insert(line.record, usize::MAX);
                self.rewritten.insert(line.record);
                self.ever_erased.insert(line.record);
            }
        }
    }

    fn may_have_lapsed(&self, record: Uuid) -> bool {
        self.now
            .cards
            .get(&record)
            .is_some_and(|card| card.kind == "transfer_request" && card.events.is_empty())
    }

    fn play(&mut self, line: usize, event: &Event, found: &mut Vec<Finding>) {
        match event {
            Event::Enrolled {
                phone,
                username,
                device,
            } => {
                self.users.insert(*device, username.clone());
                let known = self
                    .phones
                    .entry(*phone)
                    .or_insert_with(|| (username.clone(), BTreeSet::new()));
                known.0.clone_from(username);
                known.1.insert(*device);
            }
            Event::Cloned { phone, from } => {
                if let Some(known) = self.phones.get(from).cloned() {
                    self.copied.extend(&known.1);
                    self.phones.insert(*phone, known);
                }
            }
            Event::Arrived {
                record,
                generation,
                bytes,
                ..
            } => {
                if let Some(said) = bytes::change(bytes) {
                    let arrived = Arrived {
                        record: *record,
                        generation: *generation,
                        line,
                        said,
                    };
                    self.arrived
                        .entry((*record, arrived.said.hash.clone()))
                        .or_insert(arrived);
                }
            }
            Event::Verdict {
                device,
                record,
                hash,
                status,
                code,
                seq,
            } => {
                let answer = Answer {
                    line,
                    device: *device,
                    status: status.clone(),
                    code: code.clone(),
                    seq: *seq,
                };
                self.judge(*record, hash, &answer, *seq, found);
                self.answers
                    .entry((*record, hash.clone()))
                    .or_default()
                    .push(answer);
            }
            Event::Answered {
                device,
                kinds,
                items,
            } => self.answered(*device, kinds, items, found),
            // Cards that were there go in no other way between two looks.
            Event::Looked { look, .. } => {
                let gone = look.records.iter().filter(|(_, shows)| shows.is_none());
                for record in gone.map(|(record, _)| *record) {
                    if self.imported.contains(&record) {
                        self.unmade(record);
                    }
                }
            }
            Event::Acted {
                act,
                acted: Acted::Done,
            } => {
                if let Act::Held { held, .. } | Act::HeldAsEdit { held } = act {
                    self.still_waits(held, found);
                }
                self.act(line, act);
            }
            Event::Acted {
                act: Act::Held { held, accept: true },
                acted: Acted::Refused(code),
            } if code == "unavailable" => self.cannot_accept(held, found),
            _ => {}
        }
    }

    fn judge(
        &mut self,
        record: Uuid,
        hash: &str,
        answer: &Answer,
        seq: Option<u64>,
        found: &mut Vec<Finding>,
    ) {
        let about = || About::record(record).hash(hash);
        let mut wrong = |promise, what: String| found.push(Finding::new(promise, about(), what));
        let id = (record, hash.to_owned());
        let Some(arrived) = self.arrived.get(&id).cloned() else {
            if answer.status != "rejected" {
                wrong(
                    "verdicts are about what arrived",
                    format!("{hash} was {} and never came", answer.status),
                );
            }
            return;
        };
        let user = self.users.get(&answer.device).cloned().unwrap_or_default();
        let known =
            self.now.cards.get(&record).is_some_and(|card| {
                card.accepted.contains_key(hash) || card.by_review.contains(hash)
            });
        let decided = self.now.held.get(&id).copied();
        match answer.status.as_str() {
            "accepted" => {
                if decided == Some(Held::Refused) {
                    wrong(
                        "what was decided is final",
                        format!("{hash} was refused by a reviewer and accepted later"),
                    );
                }
                if known {
                    wrong(
                        "nothing is accepted twice",
                        format!("{hash} was accepted before"),
                    );
                }
                if let Some(seq) = seq {
                    if seq <= self.now.seq {
                        wrong(
                            "numbers rise without repetition",
                            format!("{hash} got {seq} after {}", self.now.seq),
                        );
                    }
                    self.now.seq = self.now.seq.max(seq);
                } else {
                    wrong(
                        "numbers rise without repetition",
                        format!("{hash} was accepted without a number"),
                    );
                }
                self.authority(record, &arrived, &user, answer, found);
                self.builds_on_accepted(record, &arrived, found);
                self.stands_once(record, &arrived, true, found);
                if decided.is_some() {
                    self.now.held.insert(id, Held::Accepted);
                }
                self.take(record, &arrived, answer.line, seq.unwrap_or_default());
            }
            // A rewritten record's changes have other names, by which a phone may send them again.
            "duplicate"
                if !known
                    && decided != Some(Held::Accepted)
                    && !self.rewritten.contains(&record) =>
            {
                wrong(
                    "duplicates were accepted before",
                    format!("{hash} was called a duplicate, and the office never took it"),
                );
            }
            "held" => {
                if matches!(decided, Some(Held::Refused | Held::Accepted)) {
                    wrong(
                        "what was decided is final",
                        format!("{hash} was decided by a reviewer and held again"),
                    );
                } else {
                    let waits = |dep: &String| {
                        self.now
                            .held
                            .get(&(record, dep.clone()))
                            .is_some_and(|held| *held != Held::Accepted)
                    };
                    let follows = arrived.said.deps.iter().any(waits);
                    let grid = self.grid_of(record, &arrived.said);
                    let works = grid.as_ref().is_some_and(|grid| self.works(&user, grid));
                    let left = self.now.cards.get(&record).map(|card| &card.left);
                    let once = left
                        .into_iter()
                        .flatten()
                        .chain(&grid)
                        .any(|grid| self.ever_worked(&user, grid))
                        || self.departed.contains(&(user.clone(), record));
                    if !once && !follows && !self.now.to_wipe.contains(&answer.device) {
                        wrong(
                            "authority is never crossed",
                            format!(
                                "{hash} is held although {user} never worked the record's grid"
                            ),
                        );
                    }
                    // Under the name of a device that its phone is no longer, what waits can come through a reviewer alone.
                    let own_name = arrived.said.device == answer.device;
                    if !own_name && decided.is_none() {
                        wrong(
                            "authority is never crossed",
                            format!("{hash} of another device is held and did not wait before"),
                        );
                    }
                    // What waits goes on waiting where a rule of its fields speaks against it by the time that it could come.
                    let is_ruled = decided.is_some()
                        && arrived.said.writes.iter().any(|write| {
                            write.key.starts_with("consent/")
                                || write.key.ends_with("/party_status")
                        });
                    if works
                        && own_name
                        && !is_ruled
                        && !follows
                        && !self.now.to_wipe.contains(&answer.device)
                    {
                        wrong(
                            "honest edits are taken",
                            format!("{hash} is held although {user} works the record's grid"),
                        );
                    }
                    if decided.is_none() {
                        self.stands_once(record, &arrived, false, found);
                    }
                    self.now.held.insert(id, Held::Waits);
                }
            }
            "rejected" => {
                self.refused(record, &arrived, &user, answer, known, found);
                let code = answer.code.as_deref().unwrap_or_default();
                if !rules::is_retryable(code) {
                    self.ever_refused.insert((record, hash.to_owned()));
                    // Of what is erased nothing comes.
                    if code != "erased" {
                        self.refused_now.push((record, hash.to_owned()));
                    }
                }
            }
            _ => {}
        }
    }

    fn refused(
        &mut self,
        record: Uuid,
        arrived: &Arrived,
        user: &str,
        answer: &Answer,
        known: bool,
        found: &mut Vec<Finding>,
    ) {
        let hash = &arrived.said.hash;
        let mut wrong = |promise, what: String| {
            found.push(Finding::new(
                promise,
                About::record(record).hash(hash),
                what,
            ));
        };
        let code = answer.code.as_deref().unwrap_or_default();
        let next_generation = matches!(code, "stale_generation" | "depends_on_rejected")
            && self.rewritten.contains(&record);
        if known && !matches!(code, "erased" | "redacted") && !next_generation {
            wrong(
                "what was accepted stays accepted",
                format!("{hash} was accepted and later refused as {code}"),
            );
        }
        let creating = arrived.said.deps.is_empty();
        let is_allowed = arrived
            .said
            .writes
            .iter()
            .all(|write| rules::secretary_may(creating, &write.key, write.value.as_deref()));
        // Whoever edits nothing any more goes on with a program of their own.
        let is_allowed = is_allowed && !self.now.idle.contains_key(user);
        if rules::NEVER_HONEST.contains(&code) && (code != "field_not_editable" || is_allowed) {
            wrong(
                "honest edits are taken",
                format!("{hash} was refused as {code}"),
            );
        }
        let waits = |dep: &&String| {
            let held = self.now.held.get(&(record, (*dep).clone()));
            held == Some(&Held::Waits)
        };
        let refused_now = |dep: &&String| self.refused_now.contains(&(record, (*dep).clone()));
        let ever_refused = |dep: &String| {
            let id = (record, dep.clone());
            self.ever_refused.contains(&id) || self.now.held.get(&id) == Some(&Held::Refused)
        };
        match code {
            "depends_on_rejected" if !arrived.said.deps.iter().any(ever_refused) => {
                wrong(
                    "honest edits are taken",
                    format!(
                        "{hash} was refused for what it builds on, of which nothing was refused for good"
                    ),
                );
            }
            "dependency_missing" if arrived.said.deps.iter().any(|dep| waits(&dep)) => {
                wrong(
                    "no held edit is lost",
                    format!("{hash} builds on what is held and is not held with it"),
                );
            }
            "dependency_missing" if arrived.said.deps.iter().any(|dep| refused_now(&dep)) => {
                wrong(
                    "a refusal is told at once",
                    format!("{hash} builds on what the same answer refuses"),
                );
            }
            "not_your_grid"
                if self.restores.is_empty()
                    && self.departed.contains(&(user.to_owned(), record)) =>
            {
                wrong(
                    "no held edit is lost",
                    format!(
                        "{hash} was refused although {user} worked a grid that the record left"
                    ),
                );
            }
            "erased" if !self.now.erased.contains_key(&record) && !self.may_have_lapsed(record) => {
                wrong(
                    "honest edits are taken",
                    format!("{hash} was refused as erased, and nobody erased {record}"),
                );
            }
            "redacted" if !self.now.redacted.contains_key(&record) => {
                wrong(
                    "honest edits are taken",
                    format!("{hash} was refused as redacted, and nobody redacted {record}"),
                );
            }
            "held_refused"
                if self.now.held.get(&(record, hash.clone())) != Some(&Held::Refused) =>
            {
                wrong(
                    "what was decided is final",
                    format!("{hash} was refused in a reviewer's name, and none had refused it"),
                );
            }
            "not_your_grid"
                if self
                    .grid_of(record, &arrived.said)
                    .is_some_and(|grid| self.works(user, &grid)) =>
            {
                wrong(
                    "honest edits are taken",
                    format!("{hash} was refused although {user} works the record's grid"),
                );
            }
            "actor_not_yours" if arrived.said.device == answer.device => {
                wrong(
                    "honest edits are taken",
                    format!("{hash} was refused as another device's"),
                );
            }
            _ => {}
        }
    }

    fn grid_of(&self, record: Uuid, said: &Said) -> Option<String> {
        let written = said
            .writes
            .iter()
            .find(|write| write.key == "grid")
            .and_then(|write| write.value.clone());
        self.now
            .cards
            .get(&record)
            .map(|card| card.grid.clone())
            .or(written)
    }

    fn works(&self, user: &str, grid: &str) -> bool {
        self.now
            .works
            .get(user)
            .is_some_and(|(now, _)| now.contains(grid))
    }

    fn ever_worked(&self, user: &str, grid: &str) -> bool {
        self.now
            .works
            .get(user)
            .is_some_and(|(_, ever)| ever.contains(grid))
    }

    /// An answer says everything once, and brings what a refused edit is written anew on.
    fn answered(
        &mut self,
        device: Uuid,
        kinds: &[String],
        items: &[Item],
        found: &mut Vec<Finding>,
    ) {
        const PROMISE: &str = "an answer says what is needed, once";
        let refused = std::mem::take(&mut self.refused_now);
        let mut whole: BTreeSet<Uuid> = BTreeSet::new();
        let mut changes: BTreeSet<(Uuid, &str)> = BTreeSet::new();
        let mut packed: BTreeSet<([u8; 4], [u8; 4])> = BTreeSet::new();
        for item in items {
            let again = match item {
                Item::Snapshot { record, kind, .. } if !kinds.contains(kind) => Some((
                    *record,
                    format!("{record} is a {kind}, which was not asked for"),
                )),
                Item::Snapshot {
                    record, generation, ..
                } => (!whole.insert(*record)).then(|| {
                    let what = format!("{record} comes whole again, in generation {generation}");
                    (*record, what)
                }),
                Item::Change { record, hash } => {
                    let again = whole.contains(record) || !changes.insert((*record, hash));
                    let what = || format!("{hash} of {record} comes again, or after the whole");
                    again.then(|| (*record, what()))
                }
                Item::Packed { record, hash } => {
                    let ends = |whole: &&Uuid| whole.as_bytes().ends_with(record);
                    let again = whole.iter().find(ends).copied();
                    let again = again.or((!packed.insert((*record, *hash))).then(Uuid::nil));
                    again.map(|whole| {
                        let what = format!(
                            "{hash:02x?} of a record {record:02x?} comes again, or after the whole"
                        );
                        (whole, what)
                    })
                }
                _ => None,
            };
            found.extend(
                again.map(|(record, what)| Finding::new(PROMISE, About::record(record), what)),
            );
        }
        let pulls = items.contains(&Item::End { pulled: true })
            && !items.contains(&Item::Reset)
            && !items.contains(&Item::Wipe);
        let user = self.users.get(&device).cloned().unwrap_or_default();
        for (record, hash) in refused.iter().filter(|_| pulls) {
            let in_sight = self
                .now
                .cards
                .get(record)
                .is_some_and(|card| card.is_kept && self.works(&user, &card.grid));
            if in_sight && !whole.contains(record) {
                let what = format!(
                    "{hash} of {record} was refused, and the record does not come with that"
                );
                found.push(Finding::new(
                    PROMISE,
                    About::record(*record).hash(hash),
                    what,
                ));
            }
        }
    }

    /// What a reviewer decides on was not decided before.
    fn still_waits(&self, id: &HeldId, found: &mut Vec<Finding>) {
        if let Some(decided) = self.now.held.get(id).filter(|held| **held != Held::Waits) {
            let what = format!(
                "{} of {} was {} and is decided again",
                id.1,
                id.0,
                decided.word()
            );
            let about = About::record(id.0).hash(&id.1);
            found.push(Finding::new("what was decided is final", about, what));
        }
    }

    /// What is held is refused a reviewer only where it can be taken no more.
    fn cannot_accept(&self, (record, hash): &HeldId, found: &mut Vec<Finding>) {
        let record = *record;
        let card = self.now.cards.get(&record);
        let taken = |hash: &String| {
            card.is_some_and(|card| {
                card.accepted.contains_key(hash)
                    || (card.by_review.contains(hash) && !card.as_edit.contains(hash))
            })
        };
        let mut open = vec![hash.clone()];
        while let Some(hash) = open.pop() {
            let Some(arrived) = self.arrived.get(&(record, hash)) else {
                return;
            };
            for dep in arrived.said.deps.iter().filter(|dep| !taken(dep)) {
                if self.now.held.get(&(record, dep.clone())) != Some(&Held::Waits) {
                    return;
                }
                open.push(dep.clone());
            }
        }
        if !self.rewritten.contains(&record) && self.restores.is_empty() {
            let what = format!(
                "{hash} of {record} waits with all that it builds on, and cannot be accepted"
            );
            found.push(Finding::new(
                "no held edit is lost",
                About::record(record).hash(hash),
                what,
            ));
        }
    }

    /// Lines in which a phone's write of a key was accepted, a deletion too.
    pub fn written(&self, record: Uuid, key: &str) -> Vec<usize> {
        let of = self.arrived.range((record, String::new())..);
        of.take_while(|((of, _), _)| *of == record)
            .filter(|(_, arrived)| arrived.said.writes.iter().any(|write| write.key == key))
            .filter_map(|(id, _)| self.answers.get(id))
            .flatten()
            .filter(|answer| answer.status == "accepted")
            .map(|answer| answer.line)
            .collect()
    }

    /// Whether what waits builds on what a reviewer refused, or wrote anew: it cannot come by itself any more.
    fn cannot_come(&self, record: Uuid, said: &Said) -> bool {
        let card = self.now.cards.get(&record);
        let mut open: Vec<&String> = said.deps.iter().collect();
        let mut seen = BTreeSet::new();
        while let Some(dep) = open.pop() {
            let id = (record, dep.clone());
            if self.now.held.get(&id) == Some(&Held::Refused)
                || card.is_some_and(|card| card.as_edit.contains(dep))
            {
                return true;
            }
            if self.now.held.get(&id) == Some(&Held::Waits) && seen.insert(dep) {
                let of = self.arrived.get(&id).into_iter();
                open.extend(of.flat_map(|arrived| &arrived.said.deps));
            }
        }
        false
    }

    /// An edit that its author's phone wrote anew does not wait beside what waits already, and does not come beside what waits under the phone's
    /// former name. (Under its present name it may: what waits behind an edit that a reviewer wrote anew cannot come by itself.)
    fn stands_once(&self, record: Uuid, arrived: &Arrived, came: bool, found: &mut Vec<Finding>) {
        let said = &arrived.said;
        // What a restored store holds again may have been decided before, and its author may have tried it again.
        if !self.restores.is_empty() || self.copied.contains(&said.device) {
            return;
        }
        let mut phones = self.phones.values();
        let own = phones.find(|(_, devices)| devices.contains(&said.device));
        let waits = |(of, hash): &&(Uuid, String)| {
            *of == record && self.now.held[&(*of, hash.clone())] == Held::Waits
        };
        let waiting = self.now.held.keys().filter(waits);
        let others = waiting.filter_map(|id| self.arrived.get(id));
        for other in others.filter(|other| other.said.hash != said.hash) {
            if own.is_none_or(|(_, devices)| !devices.contains(&other.said.device))
                || came && other.said.device == said.device
                || self.cannot_come(record, &other.said)
            {
                continue;
            }
            let again = said.writes.iter().find(|write| {
                let is_unique = |value: &String| value.starts_with('v') && value.ends_with('z');
                write.value.as_ref().is_some_and(is_unique)
                    && other
                        .said
                        .writes
                        .iter()
                        .any(|known| (&known.key, &known.value) == (&write.key, &write.value))
            });
            if let Some(write) = again {
                let what = format!(
                    "{} says {} of {record} beside {}, which waits and says it as well",
                    said.hash, write.key, other.said.hash
                );
                let about = About::record(record).hash(&said.hash);
                found.push(Finding::new(
                    "a held edit stands once before the reviewer",
                    about,
                    what,
                ));
            }
        }
    }

    /// Of what came to the door, nothing is accepted before all that it builds on.
    fn builds_on_accepted(&self, record: Uuid, arrived: &Arrived, found: &mut Vec<Finding>) {
        let hash = &arrived.said.hash;
        // What was rewritten has other names, and a restored store gave up what it had accepted.
        if self.rewritten.contains(&record) || !self.restores.is_empty() {
            return;
        }
        let card = self.now.cards.get(&record);
        let taken = |dep: &String| {
            card.is_some_and(|card| card.accepted.contains_key(dep) || card.by_review.contains(dep))
        };
        let mut deps = arrived.said.deps.iter();
        if let Some(dep) =
            deps.find(|dep| self.arrived.contains_key(&(record, (*dep).clone())) && !taken(dep))
        {
            found.push(Finding::new(
                "all that a change builds on is accepted before it",
                About::record(record).hash(hash),
                format!("{hash} was accepted, and builds on {dep}, which is not"),
            ));
        }
    }

    /// Nobody goes beyond what is theirs.
    fn authority(
        &self,
        record: Uuid,
        arrived: &Arrived,
        user: &str,
        answer: &Answer,
        found: &mut Vec<Finding>,
    ) {
        let said = &arrived.said;
        let mut wrong = |what: String| {
            found.push(Finding::new(
                "authority is never crossed",
                About::record(record).hash(&said.hash),
                what,
            ));
        };
        if said.device != answer.device {
            wrong(format!(
                "{} is signed by {} and was taken from {}",
                said.hash, said.device, answer.device
            ));
        }
        if self.now.to_wipe.contains(&answer.device) {
            wrong(format!(
                "{} was taken from a device that is to be wiped",
                said.hash
            ));
        }
        if self.now.erased.contains_key(&record) {
            wrong(format!(
                "{} was taken for the erased record {record}",
                said.hash
            ));
        }
        let creating = said.deps.is_empty();
        if let Some(grid) = self.grid_of(record, said)
            && !self.works(user, &grid)
        {
            wrong(format!(
                "{} is about grid {grid}, which {user} does not work",
                said.hash
            ));
        }
        let card = self.now.cards.get(&record);
        let redacted = self.now.redacted.get(&record);
        for write in &said.writes {
            if !rules::secretary_may(creating, &write.key, write.value.as_deref()) {
                wrong(format!(
                    "{} writes {}, which is not a secretary's to write",
                    said.hash, write.key
                ));
            }
            let gone = |part: &str| redacted.is_some_and(|redacted| redacted.contains_key(part));
            if rules::entry(&write.key).is_some_and(gone)
                || write.value.as_deref().is_some_and(gone)
            {
                wrong(format!(
                    "{} writes {} about a person who was redacted",
                    said.hash, write.key
                ));
            }
            if write.value.is_some()
                && write.key.ends_with("/party_status")
                && !self.merged.contains(&record)
                && !consent(card, said, &write.key)
            {
                wrong(format!(
                    "{} writes {} without the person's consent",
                    said.hash, write.key
                ));
            }
            if rules::once(&write.key)
                && card.is_some_and(|card| card.puts.values().any(|put| put.key == write.key))
            {
                wrong(format!("{} writes {} a second time", said.hash, write.key));
            }
        }
    }

    /// Folds an accepted change.
    fn take(&mut self, record: Uuid, arrived: &Arrived, line: usize, seq: u64) {
        self.given_up.remove(&(record, arrived.said.hash.clone()));
        let card = self.now.cards.entry(record).or_default();
        card.accepted.insert(arrived.said.hash.clone(), seq);
        card.is_kept = true;
        fold(card, &arrived.said, line);
        if let Some(winner) = self.now.goes_on.get(&record).copied() {
            for write in &arrived.said.writes {
                self.touch(winner, Some(&write.key), line);
            }
        }
        let joined = self.now.joined.get(&record);
        let is_joined = |entry| joined.is_some_and(|joined| joined.contains_key(entry));
        let mut entries = arrived.said.writes.iter();
        if entries.any(|write| rules::entry(&write.key).is_some_and(is_joined)) {
            // The office brings it over to the contact that goes on, in the same breath.
            self.touch(record, None, line + 1);
        }
        let card = self.now.cards.entry(record).or_default();
        let submitted = arrived
            .said
            .writes
            .iter()
            .any(|write| matches!(write.value.as_deref(), Some("submit" | "resubmit")));
        if submitted
            || (card.rewritten
                && arrived
                    .said
                    .writes
                    .iter()
                    .any(|write| rules::SEALED.contains(&write.key.as_str())))
        {
            card.rewritten = true;
            self.rewritten.insert(record);
        }
    }

    fn act(&mut self, line: usize, act: &Act) {
        match act {
            Act::Assign { username, grids } => {
                let works = self.now.works.entry(username.clone()).or_default();
                works.1.extend(grids.iter().cloned());
                let grids = grids.iter().cloned().collect();
                match self.now.idle.get_mut(username) {
                    Some(idle) => *idle = grids,
                    None => self.work(username, grids),
                }
            }
            Act::Role { username, role } => {
                let idle = self.now.idle.remove(username);
                if role == "secretary" {
                    if let Some(grids) = idle {
                        self.work(username, grids);
                    }
                } else {
                    let works = self.now.works.get(username);
                    let grids = idle.or_else(|| Some(works?.0.clone()));
                    self.work(username, BTreeSet::new());
                    let grids = grids.unwrap_or_default();
                    self.now.idle.insert(username.clone(), grids);
                }
            }
            Act::Revoke { device, wipe: true } => drop(self.now.to_wipe.insert(*device)),
            Act::Create { record, grid, .. } => self.create(*record, grid, line),
            // Which ones is not told; they are trade names in the scripts.
            Act::ResolveSpelling => {
                let cards: Vec<_> = self.now.cards.keys().copied().collect();
                for card in cards {
                    self.touch(card, Some("sign_name"), line);
                }
            }
            Act::HeldAsEdit { held } => self.accept_as_edit(held, line),
            Act::RedactMember { record, key } => {
                self.receipts.push(act.clone());
                let redacted = self.now.redacted.entry(*record).or_default();
                redacted.insert(key.clone(), line);
                let ever = self.ever_redacted.entry(*record).or_default();
                ever.insert(key.clone());
                self.forget_held(*record);
                self.rewrite(*record);
            }
            Act::Edit { record, set, .. } => {
                for (key, value) in set {
                    self.touch(*record, Some(key), line);
                    if let (true, Some(grid)) = (key == "grid", value) {
                        self.put_into(*record, grid);
                    }
                }
            }
            Act::Resolve { record, field, .. } | Act::UndoChoice { record, field, .. } => {
                self.touch(*record, Some(field), line);
            }
            Act::Held { held, accept } => self.decide(held, *accept, line),
            Act::Move { records, grid } => {
                for record in records {
                    self.touch(*record, Some("grid"), line);
                    self.put_into(*record, grid);
                }
            }
            Act::Merge { winner, loser } => {
                self.merged.extend([*winner, *loser]);
                self.now.goes_on.insert(*loser, *winner);
                self.touch(*winner, None, line);
                self.touch(*loser, None, line);
            }
            Act::UndoMerge { winner, loser } => {
                self.now.goes_on.remove(loser);
                self.touch(*winner, None, line);
                self.touch(*loser, None, line);
            }
            Act::Erase { record } => {
                self.receipts.push(act.clone());
                self.now.cards.remove(record);
                self.now.held.retain(|(of, _), _| of != record);
                self.now.decided.retain(|(of, _), _| of != record);
                self.now.erased.insert(*record, line);
                self.ever_erased.insert(*record);
                self.rewritten.insert(*record);
            }
            Act::Redact { record, entry } => {
                self.receipts.push(act.clone());
                let entries: Vec<_> = self.named_by(*record, &entry.to_string());
                self.now
                    .redacted
                    .entry(*record)
                    .or_default()
                    .extend(entries.iter().map(|entry| (entry.clone(), line)));
                self.ever_redacted
                    .entry(*record)
                    .or_default()
                    .extend(entries);
                self.forget_held(*record);
                self.rewrite(*record);
            }
            Act::JoinContacts { record, kept, gone } => {
                let joined = self.now.joined.entry(*record).or_default();
                joined.insert(gone.to_string(), kept.to_string());
                self.touch(*record, None, line);
            }
            Act::PartContacts { record, gone, .. } => {
                let joined = self.now.joined.entry(*record).or_default();
                joined.remove(&gone.to_string());
                self.touch(*record, None, line);
            }
            Act::WriteRows { import, rows } => {
                let mut wrote = Vec::new();
                for row in rows {
                    let keys = self.write_row(row, line);
                    wrote.push((row.record(), keys));
                }
                self.now.imports.insert(*import, wrote);
            }
            Act::UndoRows { import } => {
                for (record, keys) in self.now.imports.remove(import).unwrap_or_default() {
                    for key in keys {
                        self.touch(record, Some(&key), line);
                    }
                }
            }
            Act::Step { record, .. } => {
                self.touch(*record, None, line);
            }
            Act::Compact { record } => self.rewrite(*record),
            Act::Backup => self.backup = Some(Box::new(self.now.clone())),
            Act::Restore => {
                if let Some(backup) = self.backup.clone() {
                    self.restore(*backup, line);
                }
            }
            Act::Enrol { .. }
            | Act::Revoke { .. }
            | Act::HeldAgain { .. }
            | Act::PrepareCompaction { .. }
            | Act::Failover
            | Act::Restart => {}
        }
    }

    /// A card that a desk creates.
    fn create(&mut self, record: Uuid, grid: &str, line: usize) {
        let card = self.now.cards.entry(record).or_default();
        card.kind = "shop_card".into();
        grid.clone_into(&mut card.grid);
        card.is_kept = true;
        card.touched.push((None, line));
    }

    /// The keys that the row may have written.
    fn write_row(&mut self, row: &SheetRow, line: usize) -> Vec<String> {
        match row {
            SheetRow::Create { record, grid, .. } => {
                self.imported.insert(*record);
                self.create(*record, grid, line);
                Vec::new()
            }
            SheetRow::Edit {
                record,
                cells,
                note,
                ..
            } => {
                let keys = cells.iter().map(|cell| cell.key.clone());
                let note = note.iter().map(|_| "note".to_owned());
                let keys: Vec<_> = keys.chain(note).collect();
                for key in &keys {
                    self.touch(*record, Some(key), line);
                }
                keys
            }
        }
    }

    /// A card that went with the import that made it.
    fn unmade(&mut self, record: Uuid) {
        let Some(card) = self.now.cards.remove(&record) else {
            return;
        };
        let grids = card.left.iter().chain([&card.grid]);
        let grids: BTreeSet<_> = grids.collect();
        let works = |(_, ever): &(BTreeSet<String>, BTreeSet<String>)| {
            ever.iter().any(|grid| grids.contains(grid))
        };
        let users = self.now.works.iter().filter(|(_, of)| works(of));
        self.departed
            .extend(users.map(|(user, _)| (user.clone(), record)));
        self.rewritten.insert(record);
    }

    /// The office wrote the key: on the record, and on the card as which it goes on.
    fn touch(&mut self, record: Uuid, key: Option<&str>, line: usize) {
        for record in self.now.goes_on_as(record) {
            if let Some(card) = self.now.cards.get_mut(&record) {
                card.touched.push((key.map(str::to_owned), line));
            }
        }
    }

    /// The user works these grids from now on.
    fn work(&mut self, username: &str, grids: BTreeSet<String>) {
        let works = self.now.works.entry(username.to_owned()).or_default();
        let before = std::mem::replace(&mut works.0, grids);
        let lost = |card: &Card| before.contains(&card.grid) && !works.0.contains(&card.grid);
        let gone = self.now.cards.iter().filter(|(_, card)| lost(card));
        self.departed
            .extend(gone.map(|(record, _)| (username.to_owned(), *record)));
    }

    fn put_into(&mut self, record: Uuid, grid: &str) {
        let Some(card) = self.now.cards.get_mut(&record) else {
            return;
        };
        let before = std::mem::replace(&mut card.grid, grid.to_owned());
        card.left.insert(before.clone());
        let lost = self
            .now
            .works
            .iter()
            .filter(|(_, (now, _))| now.contains(&before) && !now.contains(grid));
        self.departed
            .extend(lost.map(|(user, _)| (user.clone(), record)));
    }

    fn rewrite(&mut self, record: Uuid) {
        self.rewritten.insert(record);
        if let Some(card) = self.now.cards.get_mut(&record) {
            card.rewritten = true;
        }
    }

    /// What waits and is about somebody who was redacted is forgotten, with all that the person's entries in it say.
    fn forget_held(&mut self, record: Uuid) {
        let Some(redacted) = self.now.redacted.get(&record) else {
            return;
        };
        let gone = |part: &str| redacted.contains_key(part);
        let ever = self.ever_redacted.entry(record).or_default();
        let arrived = &self.arrived;
        self.now.held.retain(|id, held| {
            if id.0 != record || *held != Held::Waits {
                return true;
            }
            let mut stays = true;
            for write in arrived.get(id).into_iter().flat_map(|one| &one.said.writes) {
                let entry = rules::entry(&write.key);
                let names = write.value.as_deref().is_some_and(gone);
                ever.extend(entry.filter(|_| names).map(str::to_owned));
                stays &= !(names || gone(&write.key) || entry.is_some_and(gone));
            }
            stays
        });
    }

    /// A person's entry, those that were joined into it, and those that name one of them.
    fn named_by(&self, record: Uuid, person: &str) -> Vec<String> {
        let joined = self.now.joined.get(&record);
        let mut persons = vec![person.to_owned()];
        let mut at = 0;
        while let Some(kept) = persons.get(at).cloned() {
            let into = joined.into_iter().flatten();
            let into = into.filter(|(gone, into)| **into == kept && !persons.contains(gone));
            let into: Vec<_> = into.map(|(gone, _)| gone.clone()).collect();
            persons.extend(into);
            at += 1;
        }
        let puts = self
            .now
            .cards
            .get(&record)
            .into_iter()
            .flat_map(|card| card.puts.values());
        let naming = puts
            .filter(|put| persons.contains(&put.value))
            .filter_map(|put| rules::entry(&put.key).map(str::to_owned));
        naming.chain(persons.iter().cloned()).collect()
    }

    /// Whoever wrote it is to hear of it.
    fn decided(&mut self, id: &(Uuid, String), accepted: bool, line: usize) {
        let arrived = self.arrived.get(id);
        let user = arrived.and_then(|arrived| self.users.get(&arrived.said.device).cloned());
        self.now.decided.extend(user.map(|user| {
            let decision = Decision {
                user,
                accepted,
                line,
            };
            (id.clone(), decision)
        }));
    }

    /// The desk writes what the change says, over what its author had seen.
    fn accept_as_edit(&mut self, id: &HeldId, line: usize) {
        self.decisions += 1;
        self.decided(id, true, line);
        let mut moved = None;
        if let (Some(arrived), Some(card)) = (self.arrived.get(id), self.now.cards.get_mut(&id.0)) {
            card.by_review.insert(id.1.clone());
            card.as_edit.insert(id.1.clone());
            card.removed.extend(arrived.said.removed.iter().cloned());
            for write in &arrived.said.writes {
                card.touched.push((Some(write.key.clone()), line));
                if let ("grid", Some(grid)) = (write.key.as_str(), &write.value) {
                    moved = Some(grid.clone());
                }
                // What waits as well was not there to be replaced.
                let there = write.preds.iter().filter(|op| card.puts.contains_key(*op));
                card.replaced.extend(there.cloned());
            }
        }
        if let Some(grid) = moved {
            self.put_into(id.0, &grid);
        }
        self.now.held.insert(id.clone(), Held::Accepted);
    }

    fn decide(&mut self, id: &HeldId, accept: bool, line: usize) {
        self.decisions += 1;
        if !accept {
            self.decided(id, false, line);
            self.now.held.insert(id.clone(), Held::Refused);
            return;
        }
        // What it builds on and waits as well is accepted with it, and before it.
        let (mut open, mut accepted) = (vec![id.1.clone()], Vec::new());
        while let Some(hash) = open.pop() {
            let Some(arrived) = self.arrived.get(&(id.0, hash)).cloned() else {
                continue;
            };
            open.extend(
                arrived
                    .said
                    .deps
                    .iter()
                    .filter(|dep| self.now.held.get(&(id.0, (*dep).clone())) == Some(&Held::Waits))
                    .cloned(),
            );
            accepted.push(arrived);
        }
        accepted.sort_by_key(|arrived| arrived.line);
        for arrived in accepted {
            self.decided(&(id.0, arrived.said.hash.clone()), true, line);
            let card = self.now.cards.entry(id.0).or_default();
            card.is_kept = true;
            if card.by_review.insert(arrived.said.hash.clone()) {
                card.touched.extend(
                    arrived
                        .said
                        .writes
                        .iter()
                        .map(|write| (Some(write.key.clone()), line)),
                );
                fold(card, &arrived.said, line);
                self.now
                    .held
                    .insert((id.0, arrived.said.hash), Held::Accepted);
            }
        }
    }

    fn restore(&mut self, backup: Office, line: usize) {
        let lost = std::mem::replace(&mut self.now, backup);
        self.restores.push(line);
        // Receipts of erasures outlive the store, and are applied again.
        for receipt in std::mem::take(&mut self.receipts) {
            self.act(line, &receipt);
        }
        for (record, card) in lost.cards {
            let kept = self.now.cards.get(&record);
            for hash in card.accepted.into_keys().chain(card.by_review) {
                if !kept.is_some_and(|kept| {
                    kept.accepted.contains_key(&hash) || kept.by_review.contains(&hash)
                }) {
                    self.given_up.insert((record, hash), line);
                }
            }
        }
    }
}

/// Whether a contact gave, and did not withdraw, the consent to the party status: on the record, or in the same change. What a desk wrote is not known.
fn consent(card: Option<&Card>, said: &Said, key: &str) -> bool {
    if card.is_some_and(|card| {
        card.rewritten
            || card
                .touched
                .iter()
                .any(|(key, _)| key.as_deref().is_none_or(|key| key.starts_with("consent/")))
    }) {
        return true;
    }
    let there = card
        .into_iter()
        .flat_map(|card| card.puts.values())
        .map(|put| (put.key.as_str(), put.value.as_str()));
    let written = said
        .writes
        .iter()
        .filter_map(|write| Some((write.key.as_str(), write.value.as_deref()?)));
    let all: BTreeMap<&str, &str> = there
        .chain(written)
        .filter(|(key, _)| key.starts_with("consent/"))
        .collect();
    let contact = rules::entry(key);
    let about = all
        .iter()
        .filter(|(key, value)| key.ends_with("/contact") && Some(**value) == contact)
        .filter_map(|(key, _)| rules::entry(key));
    let says =
        |entry: &str, name: &str| all.get(format!("consent/{entry}/{name}").as_str()).copied();
    let decisions: Vec<_> = about
        .filter(|entry| says(entry, "scope") == Some("party_status"))
        .filter_map(|entry| says(entry, "decision"))
        .collect();
    decisions.contains(&"grant") && !decisions.contains(&"withdraw")
}

fn fold(card: &mut Card, said: &Said, line: usize) {
    card.typed.extend(
        said.inserted
            .iter()
            .map(|(op, _)| (op.clone(), said.hash.clone())),
    );
    card.removed.extend(said.removed.iter().cloned());
    for write in &said.writes {
        card.replaced.extend(write.preds.iter().cloned());
        match (write.key.as_str(), &write.value) {
            ("grid", Some(grid)) if card.grid.is_empty() => card.grid.clone_from(grid),
            ("kind", Some(kind)) => card.kind.clone_from(kind),
            (key, Some(_)) if key.starts_with("events/") && key.ends_with("/type") => {
                card.events.extend(rules::entry(key).map(str::to_owned));
            }
            _ => {}
        }
        if card.rewritten {
            // What a rebuild forgot had ids of operations that its author may now give again.
            card.replaced.remove(&write.op);
        }
        if let Some(value) = &write.value {
            let put = Put {
                key: write.key.clone(),
                value: value.clone(),
                device: said.device,
                hash: said.hash.clone(),
                line,
            };
            card.puts.insert(write.op.clone(), put);
        }
    }
}
