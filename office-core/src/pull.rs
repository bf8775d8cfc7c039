//! RESPOND: what a scope lacks beyond a cursor, as a stream of items.
//!
//! In: who asks, where it stands, and what its request brought ([`Question`]); then what the store says to each [`Read`]. Out: [`Next`], one
//! step at a time, in the order in which a phone must hear it. Invariants:
//! - the head was read first: everything up to it is committed, and whatever is committed meanwhile has a higher sequence and comes with the
//!   next request, harmlessly twice where a snapshot already held it;
//! - no checkpoint stands before something that it has passed;
//! - a record that was sent whole is not sent again in the same answer, unless it moved.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    ops::Range,
    sync::Arc,
};

use lianka_sync_core::{
    access::Role,
    codec::{
        cursor::{self, Cursor, NO_RECORDS, Position, Pull as Plan, Received, WHOLE_STREET},
        wire::{Notice, ResponseItem, Verdict, VerdictStatus},
    },
    crdt::merge::Refusal,
    id::{DeviceId, EntryId, RecordId, StreetCode},
    kinds::Kind,
    lang::Lang,
    limits,
    time::ServerTime,
};
use uuid::Uuid;

use crate::push::{AS_EDIT, Outcome};

mod run;
pub mod tail;

pub use run::{Run, SentChange};

/// Days of notices that a download brings: a user who enrols again misses nothing recent, and a resumed download nothing at all.
const NOTICE_DAYS: i64 = 30;

/// Who asks, what for, and where street and user stood when it was read.
#[derive(Debug)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "independent facts about who asks"
)]
pub struct Question {
    pub street: StreetCode,
    /// Which history the store holds.
    pub store_epoch: Uuid,
    /// The street's newest entry.
    pub head: i64,
    /// What the user may see.
    pub scope: Scope,
    pub device: DeviceId,
    /// The device is to be wiped.
    pub wiped: bool,
    /// It told of changes that are still to come: one to be wiped is told so once they are here.
    pub more_to_come: bool,
    /// What became of the changes of this very request, in their order.
    pub verdicts: Vec<Verdict>,
    /// Whether records are asked for.
    pub pull: bool,
    /// The kinds of record that the device knows: of others it is sent nothing.
    pub kinds: Vec<Kind>,
    /// It reads blocks of changes.
    pub blocks: bool,
    pub cursor: Option<String>,
    /// How long the device may work without another answer.
    pub lease_seconds: u64,
    pub pages: Pages,
}

/// What a user may see of a street, and since which change of it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Scope {
    /// Its version, as [`cursor::scope_epoch`] has it.
    pub epoch: i64,
    /// `None` is the whole street.
    pub grids: Option<Vec<String>>,
}

impl Scope {
    /// Of a role whose assigned grids are these, of version `epoch`.
    pub fn of(role: Role, epoch: i64, grids: Vec<String>) -> Self {
        let epoch = cursor::scope_epoch(role, epoch);
        let grids = match epoch {
            WHOLE_STREET => None,
            NO_RECORDS => Some(Vec::new()),
            _ => Some(grids),
        };
        Self { epoch, grids }
    }
}

/// Some of a page, as much as is sent at once.
#[derive(Clone, Debug)]
pub struct Part {
    /// The page, the same for all that are sent it.
    pub page: Arc<[Document]>,
    pub range: Range<usize>,
}

impl Part {
    pub fn documents(&self) -> &[Document] {
        &self.page[self.range.clone()]
    }
}

/// Bytes of documents after which a part ends: a broken download does not repeat more.
const PART_BYTES: usize = 512 * 1024;

/// How much is read at once.
#[derive(Clone, Copy, Debug)]
pub struct Pages {
    pub documents: usize,
    /// Most entries of the log are a field or two.
    pub log: usize,
    /// Numbers of the log that go into one block, if need be: all who lack them are sent the same one.
    pub block_numbers: i64,
    /// Changes that are worth a block.
    pub block_changes_min: usize,
    /// Notices in one answer: the newest ones. A phone keeps no more.
    pub notices: usize,
}

/// What a server reads at once.
pub const PAGES: Pages = Pages {
    documents: 400,
    log: 1_000,
    block_numbers: 512,
    block_changes_min: 3,
    notices: 500,
};

/// Of so many changes of a block one may be the device's own, which it has: then it is sent what all others are.
const OWN_IN_BLOCK: usize = 4;

/// What comes next.
#[derive(Debug)]
pub enum Next {
    /// To be sent.
    Item(ResponseItem),
    /// A snapshot of each of these is to be sent: part of a page as it was read, so that whoever is sent the same may be sent the same bytes.
    Page(Part),
    /// These are to be sent together: whoever is sent the same may be sent the same bytes.
    Run(Run),
    /// To be read, and told by [`Pull::answer`].
    Read(Read),
    /// The audit trail is to know that so many records with sensitive fields were read, before the device may count the answer as whole.
    Tell { records: i64 },
    /// Nothing more.
    Done,
}

/// What must be read of the street before the answer goes on.
#[derive(Debug)]
pub enum Read {
    /// The user's newest `limit` notices in `after..=upto` that were made at or after `since`, in order.
    Notices {
        after: i64,
        upto: i64,
        since: Option<ServerTime>,
        limit: usize,
    },
    /// Everything forgotten up to `upto`, in order.
    Forgotten {
        upto: i64,
    },
    /// The grids that the user had under an earlier version of the scope.
    GridsAt {
        epoch: i64,
    },
    /// What left the user's sight, and who was redacted anywhere in the street.
    Gone(Gone),
    /// Which of these records stand in none of these grids.
    Outside {
        grids: Vec<String>,
        records: Vec<RecordId>,
    },
    Documents(Page),
    /// What the log holds of each record.
    Advances(Slice),
    /// The entries themselves, at most `limit`.
    Changes {
        slice: Slice,
        limit: usize,
    },
}

/// Records that left a phone's sight in `after..=upto`: they moved out of one of the grids `seen` into none of `now`, were erased, or stand in a
/// grid that was `lost`. `None` is the whole street.
#[derive(Debug)]
pub struct Gone {
    pub seen: Option<Vec<String>>,
    pub now: Option<Vec<String>>,
    pub lost: Vec<String>,
    pub after: i64,
    pub upto: i64,
}

/// A page of documents, by their records' newest entries.
#[derive(Debug)]
pub struct Page {
    /// Grids to look in; `None` is the whole street.
    pub grids: Option<Vec<String>>,
    /// Records to look for; `None` is all.
    pub records: Option<Vec<RecordId>>,
    /// Only records whose newest entry lies beyond.
    pub after: i64,
    pub limit: usize,
}

/// The changes and snapshots in `after..=upto` of records that stand in `grids` (`None`: the whole street) which the device cannot have: made by
/// another device, composed in its name, or in its own name and not among those `brought` now. Such are a copy's of this phone.
#[derive(Clone, Debug)]
pub struct Slice {
    pub grids: Option<Vec<String>>,
    pub device: DeviceId,
    pub brought: Vec<i64>,
    /// Those too, marked, where they are at hand.
    pub with_brought: bool,
    pub after: i64,
    pub upto: i64,
}

/// What the store says to a [`Read`], each to the one of its kind.
#[derive(Debug)]
pub enum Answer {
    Notices(Vec<Notice>),
    Forgotten(Vec<Forgotten>),
    GridsAt(Vec<String>),
    Gone {
        departures: Vec<Departure>,
        /// In order.
        redactions: Vec<Forgotten>,
    },
    Outside(Vec<RecordId>),
    Documents(Arc<[Document]>),
    Advances(Vec<Advance>),
    Changes(Vec<LogChange>),
}

/// A record that was erased, or persons who were redacted on it.
#[derive(Debug)]
pub struct Forgotten {
    pub record: RecordId,
    /// `None`: the whole record.
    pub entries: Option<Vec<EntryId>>,
}

/// A record that a phone must drop.
#[derive(Debug)]
pub struct Departure {
    pub record: RecordId,
    pub erased: bool,
}

/// A record's document, as a phone needs it.
#[derive(Clone, Debug)]
pub struct Document {
    pub record: RecordId,
    pub kind: Kind,
    pub grid: String,
    pub generation: u32,
    /// Its newest entry.
    pub seq: i64,
    /// Saved document up to some entry, then the changes after it, one chunk after another.
    pub bytes: Vec<u8>,
    /// Somebody filled in a sensitive field.
    pub holds_p3: bool,
}

impl Document {
    /// What is sent of it.
    pub fn item(&self) -> ResponseItem {
        ResponseItem::Snapshot {
            record: self.record,
            kind: self.kind,
            grid: self.grid.clone(),
            generation: self.generation,
            seq: self.seq.unsigned_abs(),
            bytes: self.bytes.clone(),
        }
    }
}

/// What a slice of the log holds of one record.
#[derive(Debug)]
pub struct Advance {
    pub record: RecordId,
    pub kind: Kind,
    pub entries: i64,
    /// The record came into its grid, was rebuilt, or lost entries: the phone cannot have it.
    pub arrived: bool,
    /// Somebody filled in a sensitive field of it.
    pub holds_p3: bool,
}

/// An entry of the log.
#[derive(Clone, Debug)]
pub struct LogChange {
    pub seq: i64,
    pub record: RecordId,
    pub generation: u32,
    /// The change; `None` where older ones were trimmed up to here, or the record was rebuilt: it must be taken whole.
    pub bytes: Option<Arc<[u8]>>,
    /// The device brought it in this very request.
    pub brought: bool,
}

/// What a phone is told of the `index`th change of its request.
pub fn verdict(index: usize, outcome: &Outcome, lang: Lang) -> Verdict {
    let refusal = outcome.refusal.as_ref();
    Verdict {
        index: index as u32,
        hash: outcome.hash,
        record: outcome.record,
        status: outcome.status,
        seq: outcome.seq.map(i64::unsigned_abs),
        code: refusal
            .map(|refusal| refusal.code().to_owned())
            .or(outcome.code.map(str::to_owned)),
        field: refusal.and_then(|refusal| refusal.key()).map(str::to_owned),
        message: match outcome.status {
            VerdictStatus::Held => Some(held_message(lang).to_owned()),
            _ => refusal.map(|refusal| refusal.message(lang)),
        },
        retryable: refusal.is_some_and(Refusal::retryable),
    }
}

fn held_message(lang: Lang) -> &'static str {
    match lang {
        Lang::Zh => "已暂存，等待街道审核",
        Lang::En => "kept for a reviewer to decide",
    }
}

/// One answer under way.
#[derive(Debug)]
pub struct Pull {
    question: Question,
    brought: Vec<i64>,
    /// What is still to be done, in order.
    stages: VecDeque<Stage>,
    /// What is ready to be sent before that.
    ready: VecDeque<Ready>,
    /// What the store was asked.
    asked: Option<Stage>,
    /// Records of which something was sent: up to which entry, where it was the whole record.
    sent: BTreeMap<RecordId, Option<i64>>,
    /// Records with a sensitive field that somebody filled in.
    holding_p3: BTreeSet<RecordId>,
}

#[derive(Debug)]
enum Ready {
    Item(ResponseItem),
    Page(Part),
    Run(Run),
    /// A place from which a broken answer may go on, if enough was sent since the last.
    Checkpoint {
        sequence: i64,
        scope_epoch: i64,
        downloading: bool,
    },
    Tell {
        records: i64,
    },
}

#[derive(Debug)]
enum Stage {
    /// Records by name, as far as they are in scope.
    Whole(Vec<RecordId>),
    /// Records that the phone made and the user may not see: accepted by a reviewer after their grid was taken away, or gone where what they belong
    /// to is, so that no departure names them.
    OutOfSight(Vec<RecordId>),
    /// Before everything else of the log, so that a checkpoint never stands before a notice that it has passed.
    Notices {
        after: i64,
        days: Option<i64>,
    },
    /// A phone that starts over may hold drafts about whatever was erased since it last heard.
    Forgotten,
    /// How the scope moved since the phone last heard of it.
    Moved {
        since: i64,
        then: Then,
    },
    Departures {
        gone: Gone,
    },
    Advances {
        after: i64,
        scope_epoch: i64,
        kept: Option<Vec<String>>,
    },
    /// Changes of these records in log order, so that a checkpoint between them is true.
    Log {
        records: BTreeSet<RecordId>,
        after: i64,
        scope_epoch: i64,
        page: VecDeque<LogChange>,
        /// No page comes after this one.
        last: bool,
    },
    /// Everything in these grids, by sequence.
    Grids {
        grids: Option<Vec<String>>,
        after: i64,
    },
    /// A read of sensitive fields.
    Reading,
    End,
}

/// What a phone whose scope moved is told after the move is known.
#[derive(Clone, Copy, Debug)]
enum Then {
    /// What it had received of a download up to this entry and may not keep.
    Departures { after: i64 },
    /// The log beyond this entry.
    Delta { after: i64, scope_epoch: i64 },
}

impl Pull {
    /// Begins an answer: its verdicts, and what follows from where the device stands.
    pub fn new(mut question: Question) -> Self {
        let verdicts = std::mem::take(&mut question.verdicts);
        let records = |of: fn(&Verdict) -> bool| -> Vec<_> {
            let records: BTreeSet<_> = verdicts
                .iter()
                .filter(|verdict| of(verdict))
                .map(|verdict| verdict.record)
                .collect();
            records.into_iter().collect()
        };
        // What a reviewer applied as the desk's own edit the phone takes for its own until the record comes.
        let lacking = records(|verdict| match verdict.status {
            VerdictStatus::Rejected => !verdict.retryable,
            VerdictStatus::Duplicate => verdict.code.as_deref() == Some(AS_EDIT),
            VerdictStatus::Accepted | VerdictStatus::Held => false,
        });
        let had = records(|verdict| verdict.status == VerdictStatus::Duplicate);
        let made = records(|verdict| verdict.status == VerdictStatus::Accepted);
        let mut pull = Self {
            brought: verdicts
                .iter()
                .filter_map(|verdict| verdict.seq?.try_into().ok())
                .collect(),
            stages: VecDeque::new(),
            ready: VecDeque::new(),
            asked: None,
            sent: BTreeMap::new(),
            holding_p3: BTreeSet::new(),
            question,
        };
        for verdict in verdicts {
            pull.say(ResponseItem::Verdict(verdict));
        }
        pull.set_out(lacking, had, made);
        pull
    }

    /// The order of the answer.
    fn set_out(&mut self, lacking: Vec<RecordId>, had: Vec<RecordId>, made: Vec<RecordId>) {
        let question = &self.question;
        if question.wiped {
            if !question.more_to_come {
                self.say(ResponseItem::Wipe);
            }
            self.question.pull = false;
            return self.stages.push_back(Stage::End);
        }
        if !question.pull {
            return self.stages.push_back(Stage::End);
        }
        let plan = cursor::plan(
            question.cursor.as_deref(),
            &Position {
                store_epoch: question.store_epoch,
                street: &question.street,
                head: question.head.unsigned_abs(),
                scope_epoch: question.scope.epoch,
            },
        );
        if plan == Plan::Reset {
            self.say(ResponseItem::Reset {
                epoch: self.question.store_epoch,
            });
            self.question.pull = false;
            return self.stages.push_back(Stage::End);
        }
        // A phone rebases what was refused on the server's copy, in the same round trip.
        self.stages.push_back(Stage::Whole(lacking));
        self.stages.push_back(Stage::OutOfSight(had));
        match plan {
            Plan::Reset | Plan::Nothing => {}
            Plan::Download { after, received } => {
                // What was just taken and followed its owner out of sight: a download tells of no departure after its beginning.
                self.stages.push_back(Stage::OutOfSight(made));
                self.set_out_download(after as i64, received);
            }
            Plan::Delta { after, scope_epoch } => {
                let after = after as i64;
                self.stages.push_back(Stage::Notices { after, days: None });
                self.stages.push_back(Stage::Moved {
                    since: scope_epoch,
                    then: Then::Delta { after, scope_epoch },
                });
            }
        }
        self.stages.extend([Stage::Reading, Stage::End]);
    }

    fn set_out_download(&mut self, after: i64, received: Option<Received>) {
        self.stages.push_back(Stage::Notices {
            after: 0,
            days: Some(NOTICE_DAYS),
        });
        self.stages
            .push_back(received.map_or(Stage::Forgotten, |received| Stage::Moved {
                since: received.scope_epoch,
                then: Then::Departures {
                    after: received.sequence as i64,
                },
            }));
        let grids = self.question.scope.grids.clone();
        self.stages.push_back(Stage::Grids { grids, after });
    }

    /// The next step. `checkpoint_due`: so much was sent since the last checkpoint that another one is worth its while.
    pub fn next(&mut self, now: ServerTime, checkpoint_due: bool) -> Next {
        loop {
            match self.ready.pop_front() {
                Some(Ready::Item(item)) => return Next::Item(item),
                Some(Ready::Page(part)) => return Next::Page(part),
                Some(Ready::Run(run)) => return Next::Run(run),
                Some(Ready::Tell { records }) => return Next::Tell { records },
                Some(Ready::Checkpoint {
                    sequence,
                    scope_epoch,
                    downloading,
                }) => {
                    if checkpoint_due {
                        let cursor = self.cursor(sequence, scope_epoch, downloading);
                        return Next::Item(ResponseItem::Checkpoint { cursor });
                    }
                    continue;
                }
                None => {}
            }
            let Some(stage) = self.stages.pop_front() else {
                return Next::Done;
            };
            if let Some(read) = self.begin(stage, now) {
                return Next::Read(read);
            }
        }
    }

    fn begin(&mut self, stage: Stage, now: ServerTime) -> Option<Read> {
        let question = &self.question;
        let upto = question.head;
        let read = match &stage {
            Stage::Whole(records) => {
                let records: Vec<_> = records
                    .iter()
                    .copied()
                    .filter(|record| !self.is_whole(*record))
                    .collect();
                let (now, later) = records.split_at(records.len().min(question.pages.documents));
                if now.is_empty() {
                    return None;
                }
                let page = Page {
                    grids: question.scope.grids.clone(),
                    records: Some(now.to_vec()),
                    after: 0,
                    limit: question.pages.documents,
                };
                self.asked = Some(Stage::Whole(later.to_vec()));
                return Some(Read::Documents(page));
            }
            Stage::OutOfSight(records) => {
                let grids = question
                    .scope
                    .grids
                    .clone()
                    .filter(|_| !records.is_empty())?;
                Read::Outside {
                    grids,
                    records: records.clone(),
                }
            }
            // Nothing was written since.
            Stage::Notices { after, days: None } if *after >= upto => return None,
            Stage::Advances { after, .. } if *after >= upto => return None,
            Stage::Departures { gone } if gone.after >= upto && gone.lost.is_empty() => {
                return None;
            }
            Stage::Notices { after, days } => Read::Notices {
                after: *after,
                upto,
                since: days.map(|days| {
                    ServerTime::from_unix_ms(now.unix_ms() - days * 24 * 60 * 60 * 1000)
                }),
                limit: question.pages.notices,
            },
            Stage::Forgotten => Read::Forgotten { upto },
            Stage::Moved { since, then } => {
                if question.scope.grids.is_some() && *since != question.scope.epoch {
                    Read::GridsAt { epoch: *since }
                } else {
                    let then = *then;
                    self.moved(then, None);
                    return None;
                }
            }
            Stage::Departures { gone } => Read::Gone(Gone {
                seen: gone.seen.clone(),
                now: gone.now.clone(),
                lost: gone.lost.clone(),
                ..*gone
            }),
            Stage::Advances { after, kept, .. } => Read::Advances(self.slice(kept.clone(), *after)),
            Stage::Log { .. } => return self.go_through_log(stage),
            Stage::Grids { grids, after } => {
                if grids.as_ref().is_some_and(Vec::is_empty) {
                    return None;
                }
                Read::Documents(Page {
                    grids: grids.clone(),
                    records: None,
                    after: *after,
                    limit: question.pages.documents,
                })
            }
            Stage::Reading => {
                let sent = self.sent.keys();
                let records = sent
                    .filter(|record| self.holding_p3.contains(record))
                    .count() as i64;
                if records > 0 {
                    self.ready.push_back(Ready::Tell { records });
                }
                return None;
            }
            Stage::End => {
                let cursor = question
                    .pull
                    .then(|| self.cursor(upto, question.scope.epoch, false));
                let end = ResponseItem::End {
                    cursor,
                    head: upto.unsigned_abs(),
                    server_time: now,
                    lease_seconds: (!question.wiped).then_some(question.lease_seconds),
                };
                self.say(end);
                return None;
            }
        };
        self.asked = Some(stage);
        Some(read)
    }

    /// Takes what the store says to the last [`Read`]. An answer to another question ends the stream without its `end`, as a broken connection
    /// does.
    pub fn answer(&mut self, answer: Answer) {
        match (self.asked.take(), answer) {
            (Some(Stage::Whole(later)), Answer::Documents(documents)) => {
                for document in &*documents {
                    self.snapshot(document);
                }
                self.stages.push_front(Stage::Whole(later));
            }
            (Some(Stage::OutOfSight(_)), Answer::Outside(records)) => {
                for record in records {
                    self.say(ResponseItem::Leave { record });
                }
            }
            (Some(Stage::Notices { .. }), Answer::Notices(notices)) => {
                for notice in notices {
                    self.say(ResponseItem::Notice(notice));
                }
            }
            (Some(Stage::Forgotten), Answer::Forgotten(forgotten)) => self.forget(forgotten),
            (Some(Stage::Moved { then, .. }), Answer::GridsAt(before)) => {
                self.moved(then, Some(&before));
            }
            (
                Some(Stage::Departures { .. }),
                Answer::Gone {
                    departures,
                    redactions,
                },
            ) => {
                for Departure { record, erased } in departures {
                    self.say(if erased {
                        ResponseItem::Erase { record }
                    } else {
                        ResponseItem::Leave { record }
                    });
                }
                // Whatever grid the record stands in: a phone that lost it may still hold a draft.
                self.forget(redactions);
            }
            (
                Some(Stage::Advances {
                    after, scope_epoch, ..
                }),
                Answer::Advances(advances),
            ) => self.advanced(advances, after, scope_epoch),
            (
                Some(Stage::Log {
                    records,
                    after,
                    scope_epoch,
                    ..
                }),
                Answer::Changes(changes),
            ) => {
                let last = changes.len() < self.question.pages.log;
                let page = if last {
                    changes
                } else {
                    self.whole_blocks(changes)
                };
                self.stages.push_front(Stage::Log {
                    records,
                    after: page.last().map_or(after, |change| change.seq),
                    scope_epoch,
                    last,
                    page: page.into(),
                });
            }
            (Some(Stage::Grids { grids, .. }), Answer::Documents(documents)) => {
                self.page(grids, &documents);
            }
            (_, _) => {
                self.stages.clear();
                self.ready.clear();
            }
        }
    }

    /// Knows what the scope was, `before`; `None`: what it is.
    fn moved(&mut self, then: Then, before: Option<&[String]>) {
        let now = self.question.scope.grids.clone();
        let upto = self.question.head;
        let (mut seen, mut kept) = (now.clone(), now.clone());
        let (mut gained, mut lost) = (Vec::new(), Vec::new());
        if let (Some(now), Some(before)) = (&now, before) {
            let (stayed, came): (Vec<_>, Vec<_>) =
                now.iter().cloned().partition(|grid| before.contains(grid));
            lost.extend(before.iter().filter(|grid| !now.contains(grid)).cloned());
            seen = Some(before.iter().chain(now).cloned().collect());
            (kept, gained) = (Some(stayed), came);
        }
        let gone = |after| Stage::Departures {
            gone: Gone {
                seen,
                now,
                lost,
                after,
                upto,
            },
        };
        match then {
            Then::Departures { after } => self.stages.push_front(gone(after)),
            Then::Delta { after, scope_epoch } => {
                // What a gained grid holds is sent whole, whether or not it moved since; last, so that a broken answer goes on as a download does.
                self.stages.push_front(Stage::Grids {
                    grids: Some(gained),
                    after: 0,
                });
                self.stages.push_front(Stage::Advances {
                    after,
                    scope_epoch,
                    kept,
                });
                self.stages.push_front(gone(after));
            }
        }
    }

    /// Whole records where much was written, the changes of the others.
    fn advanced(&mut self, advances: Vec<Advance>, after: i64, scope_epoch: i64) {
        // A phone may pass over a record of a kind that it does not know, but not over a change of one that it does not hold.
        let mut known: Vec<_> = advances
            .into_iter()
            .filter(|advance| self.question.kinds.contains(&advance.kind))
            .collect();
        // A store says them in whatever order it finds them; what goes together into a page must not hang on that.
        known.sort_unstable_by_key(|advance| advance.record);
        let holding = known.iter().filter(|advance| advance.holds_p3);
        self.holding_p3
            .extend(holding.map(|advance| advance.record));
        // What was sent whole reaches beyond the head.
        let (whole, tail): (Vec<_>, Vec<_>) = known
            .into_iter()
            .filter(|advance| !self.is_whole(advance.record))
            .partition(|advance| {
                advance.arrived || advance.entries > limits::TAIL_CHANGES_MAX as i64
            });
        let records = |advances: Vec<Advance>| advances.into_iter().map(|advance| advance.record);
        self.stages.push_front(Stage::Log {
            records: records(tail).collect(),
            after,
            scope_epoch,
            page: VecDeque::new(),
            last: false,
        });
        self.stages
            .push_front(Stage::Whole(records(whole).collect()));
    }

    fn go_through_log(&mut self, stage: Stage) -> Option<Read> {
        let Stage::Log {
            records,
            after,
            scope_epoch,
            mut page,
            last,
        } = stage
        else {
            return None;
        };
        let (mut missing, mut run) = (None, Vec::new());
        while let Some(change) = page.pop_front() {
            let LogChange {
                seq,
                record,
                generation,
                bytes,
                brought,
            } = change;
            if self.is_whole(record) || !(records.contains(&record) || brought) {
                continue;
            }
            let Some(bytes) = bytes else {
                // Trimmed since it was asked what moved: what is missing before this entry comes whole, ahead of any later checkpoint.
                missing = Some(record);
                break;
            };
            if !self.go_together(&run, seq, &bytes) {
                self.say_changes(std::mem::take(&mut run), scope_epoch);
            }
            run.push(SentChange {
                seq,
                record,
                generation,
                bytes,
                brought,
            });
        }
        self.say_changes(run, scope_epoch);
        let done = missing.is_none() && (last || records.is_empty());
        if done {
            return None;
        }
        let log = |page| Stage::Log {
            records,
            after,
            scope_epoch,
            page,
            last,
        };
        if let Some(record) = missing {
            self.stages.push_front(log(page));
            self.stages.push_front(Stage::Whole(vec![record]));
            return None;
        }
        if !self.ready.is_empty() {
            // The next page is read once this one was sent: a slow phone is told what is true then.
            self.stages.push_front(log(page));
            return None;
        }
        let slice = Slice {
            // Whether they go into a block with the rest is decided then.
            with_brought: self.question.blocks,
            ..self.slice(self.question.scope.grids.clone(), after)
        };
        let limit = self.question.pages.log;
        self.asked = Some(log(page));
        Some(Read::Changes { slice, limit })
    }

    /// A page of the log without what is only the beginning of a block.
    fn whole_blocks(&self, mut page: Vec<LogChange>) -> Vec<LogChange> {
        let numbers = self.question.pages.block_numbers;
        let block = |change: &LogChange| change.seq / numbers;
        let last = page.last().map(block);
        let begun = page.iter().position(|change| Some(block(change)) == last);
        if let Some(begun) = begun.filter(|begun| self.question.blocks && *begun > 0) {
            page.truncate(begun);
        }
        page
    }

    /// Whether a change of the log goes with these before it.
    fn go_together(&self, run: &[SentChange], seq: i64, bytes: &[u8]) -> bool {
        let numbers = self.question.pages.block_numbers;
        let (most, large) = (limits::BLOCK_CHANGES_MAX, limits::BLOCK_CHANGE_BYTES_MAX);
        run.last().is_none_or(|last| {
            self.question.blocks
                && last.seq / numbers == seq / numbers
                && run.len() < most
                && bytes.len() <= large
                && last.bytes.len() <= large
        })
    }

    /// What follows one another in the log: together where the device reads blocks and they are worth one.
    fn say_changes(&mut self, mut run: Vec<SentChange>, scope_epoch: i64) {
        let own = run.iter().filter(|change| change.brought).count();
        let blocks =
            self.question.blocks && run.len() - own >= self.question.pages.block_changes_min;
        // The device has its own; they are in there only for everybody's block to be the same.
        if !blocks || own * OWN_IN_BLOCK > run.len() {
            run.retain(|change| !change.brought);
        }
        let Some(sequence) = run.last().map(|last| last.seq) else {
            return;
        };
        for change in run.iter().filter(|change| !change.brought) {
            self.sent.entry(change.record).or_default();
        }
        // Until the gained grids have come, a checkpoint stands under the scope that the phone knew.
        let checkpoint = |sequence| Ready::Checkpoint {
            sequence,
            scope_epoch,
            downloading: false,
        };
        if blocks {
            self.ready.push_back(Ready::Run(Run(run)));
            self.ready.push_back(checkpoint(sequence));
            return;
        }
        for change in run {
            self.say(change.item());
            self.ready.push_back(checkpoint(change.seq));
        }
    }

    /// A page of what stands in some grids.
    fn page(&mut self, grids: Option<Vec<String>>, page: &Arc<[Document]>) {
        let Some(last) = page.last() else {
            return;
        };
        if page.len() >= self.question.pages.documents {
            let after = last.seq;
            self.stages.push_front(Stage::Grids { grids, after });
        }
        let mut start = 0;
        while start < page.len() {
            let mut bytes = 0;
            let fit = page[start..].iter().take_while(|document| {
                let before = bytes;
                bytes += document.bytes.len();
                before < PART_BYTES
            });
            let range = start..start + fit.count();
            start = range.end;
            self.part(Part {
                page: Arc::clone(page),
                range,
            });
        }
    }

    fn part(&mut self, part: Part) {
        let documents = part.documents();
        let last = documents.last().map_or(0, |document| document.seq);
        let is_new = |document: &Document| {
            !self.sent.contains_key(&document.record)
                && self.question.kinds.contains(&document.kind)
        };
        if documents.iter().all(is_new) {
            for document in documents {
                self.note(document);
            }
            self.ready.push_back(Ready::Page(part));
        } else {
            for document in documents {
                self.snapshot(document);
            }
        }
        self.ready.push_back(Ready::Checkpoint {
            // Never beyond the head: what leaves while this download runs has a sequence above it, and a resumed one must see that.
            sequence: last.min(self.question.head),
            scope_epoch: self.question.scope.epoch,
            downloading: true,
        });
    }

    fn snapshot(&mut self, document: &Document) {
        let before = self.sent.get(&document.record).copied().flatten();
        if self.question.kinds.contains(&document.kind)
            && before.is_none_or(|before| before < document.seq)
        {
            self.note(document);
            self.say(document.item());
        }
    }

    /// A record is sent whole.
    fn note(&mut self, document: &Document) {
        self.sent.insert(document.record, Some(document.seq));
        if document.holds_p3 {
            self.holding_p3.insert(document.record);
        }
    }

    fn forget(&mut self, forgotten: Vec<Forgotten>) {
        for Forgotten { record, entries } in forgotten {
            // Who was no entry stands in no edit of a phone: the next generation says it all.
            if entries.as_ref().is_some_and(Vec::is_empty) {
                continue;
            }
            self.say(entries.map_or(ResponseItem::Erase { record }, |entries| {
                ResponseItem::Redact { record, entries }
            }));
        }
    }

    fn slice(&self, grids: Option<Vec<String>>, after: i64) -> Slice {
        Slice {
            grids,
            device: self.question.device,
            brought: self.brought.clone(),
            with_brought: false,
            after,
            upto: self.question.head,
        }
    }

    fn is_whole(&self, record: RecordId) -> bool {
        matches!(self.sent.get(&record), Some(Some(_)))
    }

    fn say(&mut self, item: ResponseItem) {
        self.ready.push_back(Ready::Item(item));
    }

    fn cursor(&self, sequence: i64, scope_epoch: i64, downloading: bool) -> String {
        Cursor {
            store_epoch: self.question.store_epoch,
            street: self.question.street.as_str().to_owned(),
            sequence: sequence.unsigned_abs(),
            scope_epoch,
            downloading,
        }
        .encode()
    }
}

#[cfg(test)]
mod tests;
