//! One synchronisation: what to send, what an answer's items do, and when it is over.
//!
//! A synchronisation is a few requests: changes that do not fit one are pushed ahead, the last request pulls; what a rebase or a heal
//! writes anew goes in another. The store's driver loops:
//!
//! 1. [`Synchronisation::next_request`] with what stands in the outbox; `None`: done;
//! 2. for every item [`Synchronisation::receive`], with the record's state where [`Synchronisation::needs`] names one;
//! 3. where the answer [ended](Synchronisation::ended): [`Synchronisation::settle`] for every record that is due (a refused entry, one of another
//!    generation, one that was put off, a leaving record, one of the old history), then [`Synchronisation::finish`]; all in one transaction.
//!
//! A broken answer needs nothing: what was received stays, the next request asks again from the last cursor stored.

use std::collections::{BTreeSet, HashMap};

use lianka_sync_core::{
    codec::{
        block::{self, Unpacked},
        change,
        wire::{Hello, PushedChange, Report, RequestItem, ResponseItem, Verdict, VerdictStatus},
    },
    crdt::record::RecordError,
    id::{ChangeHash, DeviceId, RecordId},
    kinds::Kind,
    limits,
    time::{DeviceTime, ServerTime},
};

use crate::{
    Author, Effect, Moment, NewestOwn, OutboxEntry, OutboxState, Reason, RecordState, TailChange,
    document, heal, rebase,
};

/// Bytes of changes in one request, before compression.
const REQUEST_BYTES_MAX: usize = 3 * 1024 * 1024;
/// What an item costs beyond its change.
const ITEM_OVERHEAD_BYTES: usize = 128;
/// Requests that pull, in one synchronisation. A rebase needs one more, a heal two.
const PULLS_MAX: u32 = 6;
/// Answers `reset` that are believed in one synchronisation.
const RESETS_MAX: u32 = 2;
/// How often an entry is sent again before it is rebased instead: what it waits for does not come.
const TRIES_MAX: u32 = 8;
/// The office erased the record: no draft is kept.
const ERASED: &str = "erased";
/// The refusal that tells of a copy of this phone.
const ACTOR_FORKED: &str = "actor_forked";
/// Refusals of an acknowledged change by an office that does not have it, or not what it stands on.
const UNKNOWN_THERE: &[&str] = &[
    ACTOR_FORKED,
    "actor_not_yours",
    "bad_predecessor",
    "bad_start_op",
    "dependency_missing",
    "sequence_gap",
];
/// Of a change that the server has, it did not say where.
pub(crate) const SEQ_UNKNOWN: u64 = i64::MAX as u64;

/// What the phone knows of a record before an answer.
#[derive(Clone, Copy, Debug)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "independent facts, a column each"
)]
pub struct Known {
    /// Its generation.
    pub generation: u32,
    /// Whether it belongs to a history that the server gave up.
    pub before_reset: bool,
    /// Whether it goes when its outbox entries were answered.
    pub leaving: bool,
    /// Whether anything of it came from the server, or was accepted there.
    pub at_office: bool,
    /// Whether it came since the cursor that is stored, of which the server knows nothing where it is asked from there.
    pub beyond_cursor: bool,
}

/// A change of the phone's own that the office acknowledged, to be confirmed.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Acknowledged {
    /// The record.
    pub record: RecordId,
    /// Its kind.
    pub kind: Kind,
    /// Its generation.
    pub generation: u32,
    /// The change.
    pub hash: ChangeHash,
    /// Its number, as the office told it.
    pub seq: u64,
    /// Encoded.
    pub bytes: Vec<u8>,
}

/// What the phone holds before a request.
#[derive(Debug, Default)]
pub struct Holdings {
    /// Of the last complete answer, or checkpoint.
    pub cursor: Option<String>,
    /// The whole outbox, in order.
    pub outbox: Vec<OutboxEntry>,
    /// Every record held.
    pub known: HashMap<RecordId, Known>,
    /// After this pull another from the start is needed, for what was written in this phone's name elsewhere.
    pub start_over: bool,
    /// The highest number that the office told of a record held.
    pub highest: u64,
    /// The newest change of the phone's own that the office acknowledged, where it is here still.
    pub newest_own: Option<Acknowledged>,
    /// The phone's clock, for the office to compare.
    pub device_time: Option<DeviceTime>,
}

/// A request to send.
#[derive(Debug)]
pub struct Request {
    /// Its items: the hello, then changes.
    pub items: Vec<RequestItem>,
    /// Whether the answer is more than verdicts.
    pub pull: bool,
}

/// An answer that the protocol does not allow. The synchronisation ends; what came before stands.
#[derive(Debug, thiserror::Error)]
pub enum ProtocolError {
    /// A verdict about a change that was not sent.
    #[error("verdict {index} names no change of the request")]
    ForeignVerdict {
        /// Its index.
        index: u32,
    },
    /// `reset` after `reset`.
    #[error("the server starts over again and again")]
    EndlessReset,
    /// An item after `end`.
    #[error("an item after the end")]
    AfterEnd,
    /// The driver did not bring the record's state although it was needed.
    #[error("the state of record {0} is missing")]
    StateMissing(RecordId),
    /// A document does not load.
    #[error("record {record}: {source}")]
    Record {
        /// Which.
        record: RecordId,
        /// Why.
        source: Box<RecordError>,
    },
}

/// What happened, counted.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, serde::Serialize)]
pub struct Tally {
    /// Changes that became part of their record.
    pub accepted: u32,
    /// Changes the server had already.
    pub duplicate: u32,
    /// Changes that a reviewer decides on.
    pub held: u32,
    /// Changes refused.
    pub rejected: u32,
    /// Changes to be sent again later.
    pub postponed: u32,
    /// Whole records received.
    pub snapshots: u32,
    /// Changes received.
    pub changes: u32,
    /// Records that left the user's grids.
    pub left: u32,
    /// Records erased by the office.
    pub erased: u32,
    /// Records of which the office erased a person.
    pub redacted: u32,
    /// Edits of this phone that went with what the office erased.
    pub dropped: u32,
    /// Records rebased.
    pub rebased: u32,
    /// Drafts made of edits that could not be kept.
    pub drafted: u32,
    /// Changes sent again to a server that had lost them.
    pub healed: u32,
    /// Times the server started another history.
    pub resets: u32,
    /// Changes received for a record that is not held; the next pull starts over.
    pub unexpected: u32,
}

#[derive(Debug)]
struct Sent {
    record: RecordId,
    generation: u32,
    hash: ChangeHash,
    bytes: Vec<u8>,
    /// It was acknowledged under this number, and is sent for the office to confirm.
    confirms: Option<u64>,
}

#[derive(Clone, Debug)]
struct End {
    cursor: Option<String>,
    server_time: ServerTime,
}

/// The state of one synchronisation. Nothing in it must survive a crash.
#[derive(Debug)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "independent facts about the request under way"
)]
pub struct Synchronisation {
    client: String,
    tally: Tally,
    /// Changes that had their answer.
    asked: BTreeSet<ChangeHash>,
    pulls: u32,
    pulled: bool,
    wiped: bool,
    /// The office wants the phone wiped, and some of its edits can still be handed over first.
    rescues: bool,
    // The request under way.
    sent: Vec<Sent>,
    pull: bool,
    known: HashMap<RecordId, Known>,
    /// The highest number that was told before the request.
    highest: u64,
    /// The number of the newest own change that was acknowledged.
    newest: u64,
    /// The first request was made.
    began: bool,
    /// The newest own change that was acknowledged before this synchronisation, until the office has said whether it has it still.
    to_confirm: Option<Acknowledged>,
    /// The record of the change to confirm, where the office says that it was erased.
    confirmed_erased: Option<RecordId>,
    /// The office knows less than it acknowledged.
    lacking: bool,
    reset: bool,
    /// A block of the answer did not come out whole: what follows it is not believed, and is asked for again without blocks.
    unread: bool,
    /// Changes are asked for one by one.
    one_by_one: bool,
    /// Edits were kept back, or refused in their bytes alone: another request may bring them.
    owes: bool,
    /// A record came in another generation than the one that is stored.
    takes_away: bool,
    suspect: bool,
    started_over: bool,
    /// The request pulls from the start although the phone holds records: its answer tells of none that went.
    begins_anew: bool,
    /// Records that the answer says left, until it says from where to go on.
    left: Vec<RecordId>,
    /// Records that an answer which broke off had brought, and this one not again.
    beyond: BTreeSet<RecordId>,
    end: Option<End>,
    server_time: Option<ServerTime>,
    lease_seconds: Option<u64>,
}

impl Synchronisation {
    /// `client`: name and version of the program, for example `lianka-phone/0.1.0`.
    pub fn new(client: impl Into<String>) -> Self {
        Self {
            client: client.into(),
            tally: Tally::default(),
            asked: BTreeSet::new(),
            pulls: 0,
            pulled: false,
            wiped: false,
            rescues: false,
            sent: Vec::new(),
            pull: false,
            known: HashMap::new(),
            highest: 0,
            newest: 0,
            began: false,
            to_confirm: None,
            confirmed_erased: None,
            lacking: false,
            reset: false,
            unread: false,
            one_by_one: false,
            owes: false,
            takes_away: false,
            suspect: false,
            started_over: false,
            begins_anew: false,
            left: Vec::new(),
            beyond: BTreeSet::new(),
            end: None,
            server_time: None,
            lease_seconds: None,
        }
    }

    /// What was done so far.
    pub fn tally(&self) -> Tally {
        self.tally
    }

    /// The server's clock at the last complete answer.
    pub fn server_time(&self) -> Option<ServerTime> {
        self.server_time
    }

    /// The lease that came with it.
    pub fn lease_seconds(&self) -> Option<u64> {
        self.lease_seconds
    }

    /// Whether the office wiped this phone.
    pub fn wiped(&self) -> bool {
        self.wiped
    }

    /// Whether something unsent is in the outbox that no request of this synchronisation brought.
    pub fn is_new_to(&self, outbox: &[OutboxEntry]) -> bool {
        let mut unsent = outbox
            .iter()
            .filter(|entry| entry.state == OutboxState::Unsent);
        unsent.any(|entry| !self.asked.contains(&entry.hash))
    }

    /// Asks again instead of clearing the phone: the office tells it so again.
    pub fn put_off_wipe(&mut self) {
        self.rescues = true;
    }

    /// Whether the answer is complete.
    pub fn ended(&self) -> bool {
        self.end.is_some()
    }

    /// The next request; `None` where there is nothing more to ask.
    pub fn next_request(&mut self, holdings: Holdings) -> Option<Request> {
        if self.wiped || self.pulls >= PULLS_MAX {
            return None;
        }
        // While the new history is coming, sending would only tell the server of changes whose dependencies it lacks.
        let resetting = !self.rescues && holdings.known.values().any(|known| known.before_reset);
        let due = |entry: &OutboxEntry| {
            !resetting && (entry.state == OutboxState::Refused || !self.asked.contains(&entry.hash))
        };
        let fresh = |entry: &OutboxEntry| due(entry) && !self.asked.contains(&entry.hash);
        if self.pulled && !self.rescues && !holdings.outbox.iter().any(fresh) {
            return None;
        }
        let due: Vec<_> = holdings.outbox.iter().filter(|entry| due(entry)).collect();
        let pull = fitting(&due) == due.len();
        let chosen: Vec<_> = if pull {
            due
        } else {
            // Pushed ahead. What follows a refused change goes with it in the last request, whose answer brings the record to rebase on.
            let refused: BTreeSet<_> = due
                .iter()
                .filter(|entry| self.asked.contains(&entry.hash))
                .map(|entry| entry.record)
                .collect();
            let mut ahead: Vec<_> = due
                .iter()
                .copied()
                .filter(|entry| !refused.contains(&entry.record))
                .collect();
            if ahead.is_empty() {
                ahead = due;
            }
            ahead.truncate(fitting(&ahead).max(1));
            ahead
        };
        // A pull that can only bring refusals again must not wait for what never fits.
        let pull = pull || chosen.iter().all(|entry| self.asked.contains(&entry.hash));
        self.pull = pull;
        let count = |held| {
            holdings
                .outbox
                .iter()
                .filter(|entry| (entry.state == OutboxState::Held) == held)
                .count() as u64
        };
        let report = Report {
            unsent: Some(count(false)),
            held: Some(count(true)),
            device_time: holdings.device_time,
            wiped: false,
        };
        self.highest = holdings.highest;
        self.newest = holdings.newest_own.as_ref().map_or(0, |own| own.seq);
        if !std::mem::replace(&mut self.began, true) {
            // An office whose store was put back under its old epoch tells of no reset. Whatever it lost of this phone's, the newest is among it.
            let own = holdings.newest_own;
            self.to_confirm = own.filter(|_| holdings.cursor.is_some());
        }
        let confirm = self
            .to_confirm
            .as_ref()
            .filter(|own| !resetting && !self.rescues && fits_beside(&chosen, own));
        self.sent = confirm
            .iter()
            .map(|own| Sent {
                record: own.record,
                generation: own.generation,
                hash: own.hash,
                bytes: own.bytes.clone(),
                confirms: Some(own.seq),
            })
            .chain(chosen.iter().map(|entry| Sent {
                record: entry.record,
                generation: entry.generation,
                hash: entry.hash,
                bytes: entry.bytes.clone(),
                confirms: None,
            }))
            .collect();
        self.owes = resetting
            && holdings
                .outbox
                .iter()
                .any(|entry| entry.state == OutboxState::Unsent);
        self.left.clear();
        self.beyond = holdings
            .known
            .iter()
            .filter(|(_, known)| known.beyond_cursor)
            .map(|(record, _)| *record)
            .collect();
        self.begins_anew = pull
            && holdings.cursor.is_none()
            && holdings
                .known
                .values()
                .any(|known| known.at_office && !known.before_reset);
        let hello = Hello {
            blocks: if self.one_by_one {
                0
            } else {
                block::VERSION.into()
            },
            kinds: Hello::all_kinds(),
            cursor: holdings.cursor,
            client: self.client.clone(),
            pull,
            report,
        };
        let change = |entry: &&OutboxEntry| {
            RequestItem::Change(PushedChange {
                record: entry.record,
                kind: entry.kind,
                generation: entry.generation,
                bytes: entry.bytes.clone(),
            })
        };
        let confirm = confirm.map(|own| {
            RequestItem::Change(PushedChange {
                record: own.record,
                kind: own.kind,
                generation: own.generation,
                bytes: own.bytes.clone(),
            })
        });
        let items = std::iter::once(RequestItem::Hello(hello))
            .chain(confirm)
            .chain(chosen.iter().map(change))
            .collect();
        self.known = holdings.known;
        (self.reset, self.unread) = (false, false);
        (self.suspect, self.end) = (holdings.start_over && !self.started_over, None);
        Some(Request { items, pull })
    }

    /// Whether these effects, or what was received since this was asked last, take from the phone what may not stay anywhere in its store:
    /// [`Effect::takes_away`], or a history that the office wrote anew.
    pub fn must_scrub(&mut self, effects: &[Effect]) -> bool {
        std::mem::take(&mut self.takes_away) || effects.iter().any(Effect::takes_away)
    }

    /// The record whose state [`Synchronisation::receive`] needs for this item.
    pub fn needs(&self, item: &ResponseItem) -> Option<RecordId> {
        match item {
            ResponseItem::Snapshot { record, .. }
                if self
                    .known
                    .get(record)
                    .is_some_and(|&known| self.is_before(known)) =>
            {
                Some(*record)
            }
            _ => None,
        }
    }

    fn is_before(&self, known: Known) -> bool {
        known.before_reset || (self.begins_anew && known.at_office)
    }

    /// Takes in one item of the answer.
    pub fn receive(
        &mut self,
        item: ResponseItem,
        state: Option<&RecordState>,
        author: &Author<'_>,
    ) -> Result<Vec<Effect>, ProtocolError> {
        if self.end.is_some() {
            return Err(ProtocolError::AfterEnd);
        }
        let mut effects = self.begin_anew();
        if self.unread && !matches!(item, ResponseItem::End { .. }) {
            return Ok(effects);
        }
        effects.extend(self.take_in(item, state, author)?);
        Ok(effects)
    }

    /// Takes in what a block held; `None` where that could not be told.
    pub fn receive_block(
        &mut self,
        changes: Option<Vec<Unpacked>>,
        author: &Author<'_>,
    ) -> Result<Vec<Effect>, ProtocolError> {
        if self.end.is_some() {
            return Err(ProtocolError::AfterEnd);
        }
        let mut effects = self.begin_anew();
        if self.unread {
            return Ok(effects);
        }
        let Some(changes) = changes else {
            (self.unread, self.one_by_one) = (true, true);
            return Ok(effects);
        };
        for change in changes {
            effects.extend(self.change(change, author.identity.device));
        }
        Ok(effects)
    }

    /// The records that are known, by how they end.
    pub fn records_by_ending(&self) -> HashMap<block::ShortRecord, Vec<RecordId>> {
        let mut records: HashMap<_, Vec<_>> = HashMap::with_capacity(self.known.len());
        for record in self.known.keys() {
            let of = records.entry(block::short_record(*record));
            of.or_default().push(*record);
        }
        records
    }

    /// An answer from the start brings every record that the user may see, and says nothing of those that left or were erased since the phone last
    /// heard, nor of a history that the server lost meanwhile: what it holds is treated as after a reset.
    fn begin_anew(&mut self) -> Vec<Effect> {
        if !std::mem::take(&mut self.begins_anew) {
            return Vec::new();
        }
        self.known
            .values_mut()
            .filter(|known| known.at_office)
            .for_each(|known| known.before_reset = true);
        self.beyond.clear();
        let mut effects = vec![Effect::BeginAnew];
        effects.extend(self.forget_newest());
        effects
    }

    fn take_in(
        &mut self,
        item: ResponseItem,
        state: Option<&RecordState>,
        author: &Author<'_>,
    ) -> Result<Vec<Effect>, ProtocolError> {
        Ok(match item {
            ResponseItem::Verdict(verdict) => self.verdict(verdict)?,
            ResponseItem::Snapshot {
                record,
                kind,
                grid,
                generation,
                seq,
                bytes,
            } => {
                let mut effects = Vec::new();
                if self
                    .known
                    .get(&record)
                    .is_some_and(|known| known.before_reset)
                {
                    let state = state.ok_or(ProtocolError::StateMissing(record))?;
                    let again = heal::resend_lacking(author, state, generation, &bytes).map_err(
                        |source| ProtocolError::Record {
                            record,
                            source: Box::new(source),
                        },
                    )?;
                    self.ask_again(state, &again);
                    effects.push(Effect::ForgetHistory { record });
                    effects.push(Effect::PutSnapshot {
                        record,
                        kind,
                        grid,
                        generation,
                        seq,
                        bytes,
                    });
                    effects.extend(again);
                } else {
                    effects.push(Effect::PutSnapshot {
                        record,
                        kind,
                        grid,
                        generation,
                        seq,
                        bytes,
                    });
                }
                let known = self.known.insert(
                    record,
                    Known {
                        generation,
                        before_reset: false,
                        leaving: false,
                        at_office: true,
                        beyond_cursor: true,
                    },
                );
                self.takes_away |= known.is_some_and(|known| known.generation != generation);
                self.beyond.remove(&record);
                self.left.retain(|left| *left != record);
                self.tally.snapshots += 1;
                effects
            }
            ResponseItem::Change {
                record,
                generation,
                seq,
                bytes,
            } => match change::identify(&bytes) {
                Ok((hash, actor)) => {
                    let change = Unpacked {
                        record,
                        generation,
                        seq,
                        hash,
                        actor,
                        bytes,
                    };
                    self.change(change, author.identity.device)
                }
                Err(_) => self.unexpected(),
            },
            ResponseItem::Block { .. } => self.receive_block(None, author)?,
            ResponseItem::Leave { record } => {
                // A duplicate about a record out of sight says so as well as the log does.
                self.tally.left += u32::from(!self.left.contains(&record));
                // With the cursor that tells of it: where the answer breaks off before, the record may be the user's again at the next.
                self.left.push(record);
                Vec::new()
            }
            ResponseItem::Erase { record } => {
                // A pull from the start tells of every erasure that there ever was.
                self.tally.erased += u32::from(self.known.remove(&record).is_some());
                self.beyond.remove(&record);
                vec![Effect::Erase { record }]
            }
            ResponseItem::Redact { record, entries } => {
                self.tally.redacted += 1;
                vec![Effect::Redact { record, entries }]
            }
            ResponseItem::Notice(notice) => vec![Effect::PutNotice(Box::new(notice))],
            ResponseItem::Wipe if self.owes => {
                self.put_off_wipe();
                Vec::new()
            }
            ResponseItem::Wipe => {
                self.wiped = true;
                vec![Effect::Wipe]
            }
            ResponseItem::Reset { .. } => {
                self.tally.resets += 1;
                if self.tally.resets > RESETS_MAX {
                    return Err(ProtocolError::EndlessReset);
                }
                self.reset = true;
                self.pulled = false;
                // What the old history answered says nothing about the new one.
                self.asked.clear();
                let mut effects = vec![Effect::BeginReset];
                effects.extend(self.forget_newest());
                effects
            }
            // A reset left no cursor; one of the same answer cannot bring it back.
            ResponseItem::Checkpoint { cursor } if !self.reset && !self.suspect => {
                let mut effects = self.leave();
                effects.push(Effect::SetCursor(Some(cursor)));
                effects.extend(
                    self.beyond
                        .iter()
                        .map(|&record| Effect::StayBeyond { record }),
                );
                effects
            }
            ResponseItem::Checkpoint { .. } => Vec::new(),
            ResponseItem::End {
                cursor,
                head,
                server_time,
                lease_seconds,
            } => {
                (self.server_time, self.lease_seconds) = (Some(server_time), lease_seconds);
                self.end = Some(End {
                    cursor,
                    server_time,
                });
                if self.unread {
                    return Ok(Vec::new());
                }
                // What does not come again has left, or an older server passes over what this phone wrote: only a pull from the start tells.
                self.suspect |= self.pull && !self.beyond.is_empty() && !self.started_over;
                self.lacking |= !self.reset && head < self.highest;
                // Its store was put back, and nobody said so: all is pulled from the start, and what it lacks goes up again, as after a reset.
                self.suspect |= self.pull && self.lacking && !self.started_over;
                self.leave()
            }
        })
    }

    fn leave(&mut self) -> Vec<Effect> {
        std::mem::take(&mut self.left)
            .into_iter()
            .map(|record| Effect::MarkLeaving { record })
            .collect()
    }

    fn verdict(&mut self, verdict: Verdict) -> Result<Vec<Effect>, ProtocolError> {
        let index = verdict.index;
        let sent = self.sent.get(index as usize);
        let sent = sent.filter(|sent| sent.record == verdict.record);
        let sent = sent.ok_or(ProtocolError::ForeignVerdict { index })?;
        if let Some(seq) = sent.confirms {
            return Ok(self.confirmed(&verdict, seq));
        }
        self.asked.insert(sent.hash);
        let reason = Reason {
            code: verdict.code.unwrap_or_default(),
            field: verdict.field,
            message: verdict.message,
        };
        let (record, hash) = (sent.record, sent.hash);
        let code = reason.code.clone();
        let mark = |state, again| {
            vec![Effect::Mark {
                record,
                hash,
                state,
                reason,
                again,
            }]
        };
        Ok(match verdict.status {
            VerdictStatus::Accepted | VerdictStatus::Duplicate => {
                match verdict.status {
                    VerdictStatus::Accepted => self.tally.accepted += 1,
                    _ => self.tally.duplicate += 1,
                }
                // A sequence that is not told drops out of no tail before the whole copy is replaced.
                let change = TailChange {
                    hash,
                    seq: verdict.seq.or(Some(SEQ_UNKNOWN)),
                    bytes: sent.bytes.clone(),
                };
                let mut effects = vec![Effect::Acknowledge {
                    record,
                    generation: sent.generation,
                    change,
                }];
                let held = self.known.get(&record);
                let held = held.is_some_and(|known| known.generation == sent.generation);
                if let Some(seq) = verdict.seq.filter(|seq| held && *seq > self.newest) {
                    self.newest = seq;
                    effects.push(Effect::SetNewestOwn(Some(NewestOwn { record, hash, seq })));
                }
                if self.known.get(&record).is_some_and(|known| known.leaving) {
                    if verdict.status == VerdictStatus::Accepted || self.started_over {
                        // Only what is in the user's grids is accepted. What the server merely knows may be out of sight: then `leave` follows.
                        effects.push(Effect::Stay { record });
                    } else {
                        // An older server does not say so, and the answer that it was accepted may have been lost: a pull from the start tells.
                        self.suspect = true;
                        effects.push(Effect::StartOver);
                    }
                }
                effects
            }
            VerdictStatus::Held => {
                self.tally.held += 1;
                mark(OutboxState::Held, false)
            }
            VerdictStatus::Rejected if verdict.retryable => {
                self.tally.postponed += 1;
                mark(OutboxState::Unsent, true)
            }
            // What builds on an erased change is refused with it.
            VerdictStatus::Rejected if code == ERASED || self.confirmed_erased == Some(record) => {
                self.tally.dropped += 1;
                self.known.remove(&record);
                vec![Effect::Erase { record }]
            }
            VerdictStatus::Rejected => {
                self.tally.rejected += 1;
                self.owes |= rebase::is_worth_writing_anew(&code);
                self.tally.dropped += u32::from(code == rebase::REDACTED);
                // Somebody else writes in this phone's name: a copy of it. What that copy had accepted was never sent here, as it counts as ours.
                self.suspect |= code == ACTOR_FORKED && !self.started_over;
                mark(OutboxState::Refused, false)
            }
        })
    }

    /// What the office says of a change that it acknowledged under this number.
    fn confirmed(&mut self, verdict: &Verdict, seq: u64) -> Vec<Effect> {
        self.to_confirm = None;
        let record = verdict.record;
        self.lacking |= match (verdict.status, verdict.code.as_deref()) {
            (VerdictStatus::Duplicate, _) => verdict.seq.is_some_and(|now| now != seq),
            (VerdictStatus::Accepted | VerdictStatus::Held, _) => true,
            (VerdictStatus::Rejected, Some(ERASED)) => {
                self.known.remove(&record);
                self.confirmed_erased = Some(record);
                return vec![Effect::Erase { record }];
            }
            (VerdictStatus::Rejected, code) => {
                // The copy that comes with a refusal may lack more of what the phone wrote.
                if let Some(known) = self.known.get_mut(&record) {
                    known.before_reset = true;
                }
                code.is_some_and(|code| UNKNOWN_THERE.contains(&code))
            }
        };
        Vec::new()
    }

    /// The history that acknowledged it is not the one that comes.
    fn forget_newest(&mut self) -> Option<Effect> {
        (self.to_confirm, self.lacking) = (None, false);
        (std::mem::take(&mut self.newest) > 0).then_some(Effect::SetNewestOwn(None))
    }

    fn unexpected(&mut self) -> Vec<Effect> {
        self.tally.unexpected += 1;
        // Something is missing here; only a pull from the start brings it for certain. Once: then the server's answer stands.
        self.suspect |= !self.started_over;
        Vec::new()
    }

    fn change(&mut self, change: Unpacked, device: DeviceId) -> Vec<Effect> {
        let Unpacked {
            record,
            generation,
            seq,
            hash,
            actor,
            bytes,
        } = change;
        let held = self
            .known
            .get(&record)
            .is_some_and(|known| known.generation == generation && !known.before_reset);
        if !held {
            return self.unexpected();
        }
        let own = actor.device() == device;
        // A block tells a phone what it has just said itself.
        self.tally.changes += u32::from(!own || !self.asked.contains(&hash));
        self.beyond.remove(&record);
        let change = TailChange {
            hash,
            seq: Some(seq),
            bytes,
        };
        // Our own change out of the log is as good as a verdict: that one was lost on the way.
        vec![if own {
            Effect::Acknowledge {
                record,
                generation,
                change,
            }
        } else {
            Effect::AppendTail {
                record,
                generation,
                change,
            }
        }]
    }

    /// What becomes of a record that is due once the answer is complete. Nothing where more of it is to come.
    pub fn settle(
        &mut self,
        state: &RecordState,
        author: &Author<'_>,
        moment: &Moment,
    ) -> Result<Vec<Effect>, ProtocolError> {
        if !self.pull || self.reset || self.unread || self.end.is_none() {
            return Ok(Vec::new());
        }
        let record = state.record;
        let effects =
            self.settled(state, author, moment)
                .map_err(|source| ProtocolError::Record {
                    record,
                    source: Box::new(source),
                })?;
        self.tally.drafted += effects
            .iter()
            .filter(|effect| matches!(effect, Effect::PutDraft(_)))
            .count() as u32;
        Ok(effects)
    }

    fn settled(
        &mut self,
        state: &RecordState,
        author: &Author<'_>,
        moment: &Moment,
    ) -> Result<Vec<Effect>, RecordError> {
        let record = state.record;
        let refused = state
            .outbox
            .iter()
            .any(|entry| entry.state == OutboxState::Refused);
        let unsent = state
            .outbox
            .iter()
            .any(|entry| entry.state == OutboxState::Unsent);
        let Some(stored) = &state.stored else {
            return Ok(if refused {
                rebase::abandon(state, moment)
            } else {
                Vec::new()
            });
        };
        if stored.before_reset && !self.rescues {
            let again = heal::resend_all(author, state)?;
            self.ask_again(state, &again);
            return Ok(again);
        }
        let tried_out =
            |entry: &OutboxEntry| entry.state == OutboxState::Unsent && entry.tries >= TRIES_MAX;
        if stored.leaving {
            // No snapshot comes for what the user may not see: refused is refused.
            return Ok(
                match (refused || state.outbox.iter().any(tried_out), unsent) {
                    (true, _) if Kind::of(&document::confirmed(stored)?.view()?).is_some() => {
                        rebase::abandon(state, moment)
                    }
                    (true, _) => self.rebased(state, author, moment)?,
                    (false, true) => Vec::new(),
                    (false, false) => vec![Effect::RemoveRecord { record }],
                },
            );
        }
        let outdated = |entry: &OutboxEntry| {
            entry.state == OutboxState::Unsent && entry.generation != stored.generation
        };
        let tried = state
            .outbox
            .iter()
            .any(|entry| entry.state == OutboxState::Unsent && entry.tries > 0);
        let in_vain = tried
            && document::open(state)?
                .is_some_and(|opened| opened.forked && !opened.lost.is_empty());
        if !refused
            && !in_vain
            && !state
                .outbox
                .iter()
                .any(|entry| tried_out(entry) || outdated(entry))
        {
            return Ok(Vec::new());
        }
        // The snapshot that comes with a refusal is in place already. Without one the record is unknown to the server, or not the user's
        // to see; where a former answer had brought it, the last known state is still the best to rebase on, and it costs no record.
        self.rebased(state, author, moment)
    }

    fn rebased(
        &mut self,
        state: &RecordState,
        author: &Author<'_>,
        moment: &Moment,
    ) -> Result<Vec<Effect>, RecordError> {
        let rebased = rebase::rebase(author, state, moment)?;
        self.tally.rebased += u32::from(rebased.is_some());
        Ok(rebased.map_or_else(|| rebase::abandon(state, moment), |rebased| rebased.effects))
    }

    /// The last effects of a complete answer.
    pub fn finish(&mut self) -> Vec<Effect> {
        let Some(end) = &self.end else {
            return Vec::new();
        };
        self.server_time = Some(end.server_time);
        if !self.pull || self.reset {
            return Vec::new();
        }
        self.pulls += 1;
        if self.unread {
            self.pulled = false;
            return Vec::new();
        }
        self.pulled = !self.suspect;
        if self.suspect {
            self.started_over = true;
            return vec![Effect::SetCursor(None)];
        }
        end.cursor
            .iter()
            .map(|cursor| Effect::SetCursor(Some(cursor.clone())))
            .collect()
    }

    /// Changes that go into the outbox again, byte for byte, have to be sent although they were answered.
    fn ask_again(&mut self, state: &RecordState, effects: &[Effect]) {
        for effect in effects {
            if let Effect::ReplaceOutbox { entries, .. } = effect {
                self.tally.healed += entries.len().saturating_sub(state.outbox.len()) as u32;
                for entry in entries {
                    self.asked.remove(&entry.hash);
                }
            }
        }
    }
}

/// Whether the change to confirm fits a request beside these entries.
fn fits_beside(entries: &[&OutboxEntry], own: &Acknowledged) -> bool {
    let cost = |bytes: &[u8]| bytes.len() + ITEM_OVERHEAD_BYTES;
    let bytes: usize = entries.iter().map(|entry| cost(&entry.bytes)).sum();
    entries.len() < limits::SYNC_CHANGES_MAX && bytes + cost(&own.bytes) <= REQUEST_BYTES_MAX
}

/// How many entries, from the first, fit one request.
fn fitting(entries: &[&OutboxEntry]) -> usize {
    let mut bytes = 0;
    let fits = |entry: &&&OutboxEntry| {
        bytes += entry.bytes.len() + ITEM_OVERHEAD_BYTES;
        bytes <= REQUEST_BYTES_MAX
    };
    entries
        .iter()
        .take(limits::SYNC_CHANGES_MAX)
        .take_while(fits)
        .count()
}
