//! The record store: the port that keeps everything a phone holds, one transaction at a time.
//!
//! An adapter keeps and decides nothing: [`Effect`]s say what to write. [`memory`] is one, `SQLite` in a file another; `conformance` holds each
//! to the same.

use std::collections::{BTreeSet, HashMap};

use lianka_sync_core::{
    codec::wire::Hello,
    id::{ChangeHash, RecordId, StreetCode},
    kinds::{
        Kind,
        projection::{self, Projected},
    },
    time::{DeviceTime, ServerTime},
};
use serde::{Deserialize, Serialize, de::DeserializeOwned};

use crate::{
    Acknowledged, Effect, Holdings, Identity, KeptDraft, KeptNotice, Known, NewestOwn, OutboxEntry,
    RecordState, StoredRecord,
    card::{CardFilter, CardSummary, Place},
    document,
    lease::Lease,
};

#[cfg(any(test, feature = "conformance"))]
pub mod conformance;
pub mod memory;

/// How this phone signs in.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Credentials {
    /// Base address of the server, without a slash at its end.
    pub server: String,
    /// For the Authorization header.
    pub access_token: String,
    /// By the phone's clock, milliseconds since 1970.
    pub access_expires_ms: i64,
    /// Good for one exchange.
    pub refresh_token: String,
}

impl std::fmt::Debug for Credentials {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Credentials")
            .field("server", &self.server)
            .finish_non_exhaustive()
    }
}

/// What a wiped phone keeps until it has told the office so.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct WipeReport {
    /// Where to tell it.
    pub street: StreetCode,
    /// In whose name.
    pub credentials: Credentials,
}

/// When the last complete synchronisation was.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct LastSync {
    /// By the phone's clock.
    pub at: DeviceTime,
    /// By the server's.
    pub server_time: ServerTime,
}

/// Differences between the clocks below this are the way of the answer, not a wrong clock.
const CLOCKS_DIFFER_MS: i64 = 5 * 60_000;
/// After so long without a word from the office a clock that ran on was rather put right than left alone.
const CORRECTION_LASTS_MS: i64 = 60 * 86_400_000;

impl LastSync {
    /// The office's time, as far as a phone can tell whose clock says `now`: what went by since the office told its own is added to it. It is
    /// never before that moment, and a clock that was right then is believed.
    pub fn office_time(&self, now: DeviceTime) -> ServerTime {
        let told = self.server_time.unix_ms();
        let passed = now.unix_ms().saturating_sub(self.at.unix_ms());
        let was_wrong = (told - self.at.unix_ms()).abs() > CLOCKS_DIFFER_MS;
        let time = if was_wrong && passed <= CORRECTION_LASTS_MS {
            told.saturating_add(passed)
        } else {
            now.unix_ms()
        };
        ServerTime::from_unix_ms(time.max(told))
    }
}

/// Why what is stored does not answer a question.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum Unfit {
    /// No device was enrolled here.
    #[error("this phone is not enrolled")]
    NotEnrolled,
    /// The office wiped this phone.
    #[error("this phone was wiped by the office at {0}")]
    Wiped(String),
    /// A stored value does not read back.
    #[error("a stored {0} does not parse")]
    Damaged(&'static str),
}

/// Names of values of the phone as a whole.
mod name {
    pub const IDENTITY: &str = "identity";
    pub const CREDENTIALS: &str = "credentials";
    pub const EPOCH: &str = "epoch";
    pub const CURSOR: &str = "cursor";
    /// Kinds of record that the office was told of when the cursor was stored.
    pub const KINDS: &str = "kinds";
    pub const LAST_SYNC: &str = "last_sync";
    pub const LEASE: &str = "lease";
    pub const START_OVER: &str = "start_over";
    pub const UNSCRUBBED: &str = "unscrubbed";
    pub const WIPE_REPORT: &str = "wipe_report";
    pub const NEWEST_OWN: &str = "newest_own";
    pub const WIPED_AT: &str = "wiped_at";
    pub const TAKEN_IN: &str = "taken_in";
}

/// A phone's store.
pub trait RecordStore {
    /// Why it failed.
    type Error: std::error::Error + From<Unfit>;
    /// One transaction.
    type Tx<'t>: Records<Error = Self::Error>
    where
        Self: 't;

    /// Runs `work` in one transaction; all of it is durable when this returns, or nothing happened.
    fn write<T, E: From<Self::Error>>(
        &mut self,
        work: impl FnOnce(&Self::Tx<'_>) -> Result<T, E>,
    ) -> Result<T, E>;

    /// Runs `work` on one state of the store. Nothing is written.
    fn read<T, E: From<Self::Error>>(
        &mut self,
        work: impl FnOnce(&Self::Tx<'_>) -> Result<T, E>,
    ) -> Result<T, E>;

    /// Who this phone is; refuses a phone that is not enrolled, or was wiped.
    fn identity(&mut self) -> Result<Identity, Self::Error> {
        self.read(|tx| tx.identity())
    }

    /// After a wipe, and after a synchronisation that took something away: nothing of what was deleted stays, in the store or beside it.
    fn scrub(&mut self) -> Result<(), Self::Error>;

    /// The cheap part of that, after every synchronisation. May do nothing while somebody else reads.
    fn truncate_log(&mut self) -> Result<(), Self::Error>;
}

/// A card of the list's index: its line, what it is found by, and whether anything of it is on its way.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Indexed {
    /// The line, as [`CardSummary`] serialises.
    pub summary: String,
    /// What it is found by.
    pub key: String,
    /// Something has yet to be sent.
    pub unsent: bool,
    /// Something waits for a reviewer.
    pub held: bool,
}

/// One transaction of a store.
pub trait Records {
    /// Why it failed.
    type Error: std::error::Error + From<Unfit>;

    // Values of the phone as a whole, by name, as JSON.

    /// A value.
    fn value(&self, name: &'static str) -> Result<Option<String>, Self::Error>;
    /// Stores a value.
    fn put_value(&self, name: &'static str, json: &str) -> Result<(), Self::Error>;
    /// Forgets a value.
    fn drop_value(&self, name: &'static str) -> Result<(), Self::Error>;

    // Records.

    /// Everything stored of a record.
    fn record_state(&self, record: RecordId) -> Result<RecordState, Self::Error>;
    /// Every record held, by id.
    fn records(&self) -> Result<Vec<RecordId>, Self::Error>;
    /// Every record of a kind, with its grid, by id.
    fn records_of(&self, kind: Kind) -> Result<Vec<(RecordId, String)>, Self::Error>;
    /// What is known of every record held.
    fn known(&self) -> Result<HashMap<RecordId, Known>, Self::Error>;
    /// The highest number that the office told of a record held, those before a reset and a number that was not told excepted; 0 for none.
    fn highest(&self) -> Result<u64, Self::Error>;
    /// Records that something must become of when an answer is complete, by id: leaving, of the old history, or with an entry that was refused, was
    /// put off, or is of another generation and unsent.
    fn due(&self) -> Result<Vec<RecordId>, Self::Error>;
    /// Carries out the effects of one event, in their order.
    fn apply(&self, effects: &[Effect]) -> Result<(), Self::Error>;

    // Outbox and drafts.

    /// The whole outbox, in order.
    fn outbox(&self) -> Result<Vec<OutboxEntry>, Self::Error>;
    /// The entries of one record, in order.
    fn outbox_of(&self, record: RecordId) -> Result<Vec<OutboxEntry>, Self::Error>;
    /// Entries by state: unsent, held, refused.
    fn outbox_count(&self) -> Result<[u64; 3], Self::Error>;
    /// Every draft, oldest first.
    fn drafts(&self) -> Result<Vec<KeptDraft>, Self::Error>;
    /// Drops a draft; whether there was one.
    fn remove_draft(&self, id: i64) -> Result<bool, Self::Error>;

    // Notices.

    /// Every notice, the newest first, without titles.
    fn notices(&self) -> Result<Vec<KeptNotice>, Self::Error>;
    /// How many the user has not looked at.
    fn unread_notices(&self) -> Result<u64, Self::Error>;
    /// The user has looked at all of them.
    fn mark_notices_read(&self) -> Result<(), Self::Error>;

    // The list's index, made on demand: a download stores documents without opening them.

    /// Records that changed since they were indexed, with their grids.
    fn unindexed(&self) -> Result<Vec<(RecordId, String)>, Self::Error>;
    /// Indexes a record; without a summary it is none of the list's business.
    fn put_index(
        &self,
        record: RecordId,
        summary: Option<&str>,
        key: &str,
    ) -> Result<(), Self::Error>;
    /// Every card of the index.
    fn indexed(&self) -> Result<Vec<Indexed>, Self::Error>;
    /// The indexed summary of a record.
    fn summary(&self, record: RecordId) -> Result<Option<String>, Self::Error>;
    /// Remembers a list as it was shown, so that its line numbers name records.
    fn set_listing(&self, records: &[RecordId]) -> Result<(), Self::Error>;
    /// The record in a line, from 1, of the list last shown.
    fn listed(&self, line: i64) -> Result<Option<RecordId>, Self::Error>;

    /// The changes of the server's copy of a record that are cheap to tell, its heads among them; `all`: every one.
    fn hashes(&self, record: RecordId, all: bool) -> Result<Vec<ChangeHash>, Self::Error> {
        let stored = self.record_state(record)?.stored;
        let hashes = |stored: StoredRecord| {
            let tail = stored.tail.iter().map(|change| change.hash);
            tail.chain(document::named(&stored.snapshot, all)).collect()
        };
        Ok(stored.map(hashes).unwrap_or_default())
    }

    // What follows needs no store of its own.

    /// Reads a value.
    fn get<T: DeserializeOwned>(&self, name: &'static str) -> Result<Option<T>, Self::Error> {
        let read =
            |json: String| serde_json::from_str(&json).map_err(|_| Unfit::Damaged(name).into());
        self.value(name)?.map(read).transpose()
    }

    /// Writes a value.
    fn set<T: Serialize>(&self, name: &'static str, value: &T) -> Result<(), Self::Error> {
        let json = serde_json::to_string(value).map_err(|_| Unfit::Damaged(name))?;
        self.put_value(name, &json)
    }

    /// Who this phone is, where it was enrolled; refuses one that was wiped.
    fn enrolled(&self) -> Result<Option<Identity>, Self::Error> {
        if let Some(at) = self.get::<String>(name::WIPED_AT)? {
            return Err(Unfit::Wiped(at).into());
        }
        self.get(name::IDENTITY)
    }

    /// Who this phone is; refuses a phone that is not enrolled, or was wiped.
    fn identity(&self) -> Result<Identity, Self::Error> {
        Ok(self.enrolled()?.ok_or(Unfit::NotEnrolled)?)
    }

    /// Stores who this phone is.
    fn set_identity(&self, identity: &Identity) -> Result<(), Self::Error> {
        self.set(name::IDENTITY, identity)
    }

    /// How this phone signs in.
    fn credentials(&self) -> Result<Credentials, Self::Error> {
        Ok(self.get(name::CREDENTIALS)?.ok_or(Unfit::NotEnrolled)?)
    }

    /// Stores how this phone signs in.
    fn set_credentials(&self, credentials: &Credentials) -> Result<(), Self::Error> {
        self.set(name::CREDENTIALS, credentials)
    }

    /// The phone's epoch.
    fn epoch(&self) -> Result<u32, Self::Error> {
        Ok(self.get(name::EPOCH)?.unwrap_or(1))
    }

    /// Stores the phone's epoch.
    fn set_epoch(&self, epoch: u32) -> Result<(), Self::Error> {
        self.set(name::EPOCH, &epoch)
    }

    /// Where the next pull goes on from.
    fn cursor(&self) -> Result<Option<String>, Self::Error> {
        Ok(self.get::<Option<String>>(name::CURSOR)?.flatten())
    }

    /// Stores where the next pull goes on from.
    fn set_cursor(&self, cursor: Option<&str>) -> Result<(), Self::Error> {
        if cursor.is_some() {
            self.set(name::KINDS, &Hello::all_kinds())?;
        }
        self.set(name::CURSOR, &cursor)
    }

    /// The last complete synchronisation.
    fn last_sync(&self) -> Result<Option<LastSync>, Self::Error> {
        self.get(name::LAST_SYNC)
    }

    /// Notes a complete synchronisation.
    fn set_last_sync(&self, last: &LastSync) -> Result<(), Self::Error> {
        self.set(name::LAST_SYNC, last)
    }

    /// What was taken in from files of unsent edits, by what it came with.
    fn taken_in(&self) -> Result<BTreeSet<String>, Self::Error> {
        Ok(self.get(name::TAKEN_IN)?.unwrap_or_default())
    }

    /// Stores that.
    fn set_taken_in(&self, taken: &BTreeSet<String>) -> Result<(), Self::Error> {
        self.set(name::TAKEN_IN, taken)
    }

    /// The lease, unless the server grants none.
    fn lease(&self) -> Result<Option<Lease>, Self::Error> {
        Ok(self.get::<Option<Lease>>(name::LEASE)?.flatten())
    }

    /// Stores the lease; `None`: the server grants none, so it has no end.
    fn set_lease(&self, lease: Option<Lease>) -> Result<(), Self::Error> {
        self.set(name::LEASE, &lease)
    }

    /// Whether the next pull is followed by one from the start.
    fn start_over(&self) -> Result<bool, Self::Error> {
        Ok(self.get(name::START_OVER)?.unwrap_or(false))
    }

    /// The next pull is followed by one from the start: changes were made in this phone's name that it never saw.
    fn set_start_over(&self, start_over: bool) -> Result<(), Self::Error> {
        self.set(name::START_OVER, &start_over)
    }

    /// Whether something that may not stay was deleted since the store was scrubbed.
    fn unscrubbed(&self) -> Result<bool, Self::Error> {
        Ok(self.get(name::UNSCRUBBED)?.unwrap_or(false))
    }

    /// Notes that there is something to scrub; or that there is nothing any more.
    fn set_unscrubbed(&self, unscrubbed: bool) -> Result<(), Self::Error> {
        if unscrubbed {
            self.set(name::UNSCRUBBED, &true)
        } else {
            self.drop_value(name::UNSCRUBBED)
        }
    }

    /// How to tell the office that this phone has cleared itself; `None` once it was told.
    fn wipe_report(&self) -> Result<Option<WipeReport>, Self::Error> {
        self.get(name::WIPE_REPORT)
    }

    /// What a wipe is to leave behind, from what stands in the store before it.
    fn wipe_report_to_be(&self) -> Result<Option<WipeReport>, Self::Error> {
        let identity = self.get::<Identity>(name::IDENTITY)?;
        let credentials = self.get::<Credentials>(name::CREDENTIALS)?;
        Ok(identity
            .zip(credentials)
            .map(|(identity, credentials)| WipeReport {
                street: identity.street,
                credentials,
            }))
    }

    /// Stores how to tell it.
    fn set_wipe_report(&self, report: &WipeReport) -> Result<(), Self::Error> {
        self.set(name::WIPE_REPORT, report)
    }

    /// The office knows; nothing of the tokens stays.
    fn drop_wipe_report(&self) -> Result<(), Self::Error> {
        self.drop_value(name::WIPE_REPORT)
    }

    /// Notes when the office wiped this phone.
    fn set_wiped(&self, at: DeviceTime) -> Result<(), Self::Error> {
        self.set(name::WIPED_AT, &at.to_string())
    }

    /// Where the phone stands before a request.
    fn holdings(&self) -> Result<Holdings, Self::Error> {
        // A program that knows more kinds than the one before it was sent nothing of them so far: it asks from the start.
        let kinds = self.get::<Vec<String>>(name::KINDS)?.unwrap_or_default();
        Ok(Holdings {
            cursor: self.cursor()?.filter(|_| kinds == Hello::all_kinds()),
            outbox: self.outbox()?,
            known: self.known()?,
            start_over: self.start_over()?,
            highest: self.highest()?,
            newest_own: self.acknowledged()?,
            device_time: None,
        })
    }

    /// Stores which own change was acknowledged last.
    fn set_newest_own(&self, newest: Option<&NewestOwn>) -> Result<(), Self::Error> {
        match newest {
            Some(newest) => self.set(name::NEWEST_OWN, newest),
            None => self.drop_value(name::NEWEST_OWN),
        }
    }

    /// The own change that was acknowledged last, where the copy of its record has it still.
    fn acknowledged(&self) -> Result<Option<Acknowledged>, Self::Error> {
        let Some(newest) = self.get::<NewestOwn>(name::NEWEST_OWN)? else {
            return Ok(None);
        };
        let stored = self.record_state(newest.record)?.stored;
        Ok(stored
            .filter(|stored| !stored.leaving && !stored.before_reset)
            .and_then(|stored| {
                Some(Acknowledged {
                    record: newest.record,
                    kind: stored.kind,
                    generation: stored.generation,
                    hash: newest.hash,
                    seq: newest.seq,
                    bytes: document::change(&stored, newest.hash)?,
                })
            }))
    }

    /// The cards that pass the filter, in walking order.
    fn cards(&self, filter: &CardFilter) -> Result<Vec<CardSummary>, Self::Error> {
        self.index_missing()?;
        let mut cards = Vec::new();
        for line in self.indexed()? {
            let mut card: CardSummary =
                serde_json::from_str(&line.summary).map_err(|_| Unfit::Damaged("card summary"))?;
            card.place = match (line.unsent, line.held) {
                (true, _) => Place::Phone,
                (false, true) => Place::Held,
                (false, false) => Place::Office,
            };
            if filter.admits(&card, &line.key) {
                cards.push(card);
            }
        }
        cards.sort_by_cached_key(|card| (card.walk_order(), card.record));
        Ok(cards)
    }

    /// Indexes what changed since the list was last asked for.
    fn index_missing(&self) -> Result<(), Self::Error> {
        for (record, grid) in self.unindexed()? {
            let (summary, key) = match self.project(record)? {
                Some(projected) => match CardSummary::of(&projected) {
                    Some((summary, key)) => (Some(summary), key),
                    // Another kind: indexed as none of the list's business.
                    None => (None, String::new()),
                },
                None => (Some(CardSummary::unreadable(record, grid)), String::new()),
            };
            let summary = summary
                .map(|summary| serde_json::to_string(&summary))
                .transpose()
                .map_err(|_| Unfit::Damaged("card summary"))?;
            self.put_index(record, summary.as_deref(), &key)?;
        }
        Ok(())
    }

    /// A record's rows; `None` where its document cannot be read.
    fn project(&self, record: RecordId) -> Result<Option<Projected>, Self::Error> {
        let state = self.record_state(record)?;
        let generation = state.stored.as_ref().map_or(1, |stored| stored.generation);
        let view = document::open(&state)
            .ok()
            .flatten()
            .and_then(|mut opened| opened.document.view().ok());
        Ok(view.and_then(|view| projection::project(record, generation, &view)))
    }

    /// What people call the record, as far as the list knew it.
    fn title(&self, record: RecordId) -> Result<Option<String>, Self::Error> {
        let card = self
            .summary(record)?
            .and_then(|summary| serde_json::from_str::<CardSummary>(&summary).ok());
        Ok(card
            .map(|card| {
                format!("{} {}", card.door(), card.sign_name.unwrap_or_default())
                    .trim()
                    .to_owned()
            })
            .filter(|title| !title.is_empty()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wrong_clock_is_corrected_by_what_the_office_told() {
        const DAY: i64 = 86_400_000;
        // In days, the office's clock at the synchronisation being 0.
        for (clock_then, clock_now, office) in [
            (0, 0, 0),
            (0, 3, 3),
            (0, 100, 100),
            // Ahead, and behind.
            (192, 192, 0),
            (192, 195, 3),
            (-2_500, -2_500, 0),
            (-2_500, -2_493, 7),
            // Set back since, or put right since.
            (192, 3, 0),
            (0, -5, 0),
            (-2_500, 4, 4),
        ] {
            let last = LastSync {
                at: DeviceTime::from_unix_ms(clock_then * DAY),
                server_time: ServerTime::from_unix_ms(0),
            };
            let told = last.office_time(DeviceTime::from_unix_ms(clock_now * DAY));
            assert_eq!(
                told.unix_ms(),
                office * DAY,
                "{clock_then} then, {clock_now} now"
            );
        }
    }
}
