//! One `SQLite` file a phone: records, outbox, drafts, identity and tokens.
//!
//! In: [`Effect`]s and questions. Out: what is stored. Decides nothing; the replica does.
//!
//! Invariants:
//! - everything one event does is one transaction, durable at its commit: WAL with `synchronous=FULL`, so that an edit the user saw saved
//!   survives the loss of power at any instant;
//! - several processes may open one file: a transaction takes the write lock before it reads, and [`SyncLock`] lets one of them
//!   synchronise at a time;
//! - the file is readable by its owner only, and what is erased is overwritten (`secure_delete`).

use std::{
    collections::HashMap,
    fs::{File, OpenOptions},
    path::{Path, PathBuf},
};

use lianka_client_core::{
    Effect, Identity, Known, RecordState, Standing, StoredRecord, TailChange,
    card::{CardFilter, CardSummary, Place},
    document,
    lease::Lease,
};
use lianka_sync_core::{
    id::{ChangeHash, RecordId},
    kinds::{
        Kind,
        projection::{self, Projected},
    },
    planted::{self, Bug},
    time::DeviceTime,
};
use rusqlite::{Connection, OptionalExtension, TransactionBehavior, params};
use serde::{Deserialize, Serialize, de::DeserializeOwned};

use crate::{notices, outbox};

/// `PRAGMA application_id`: `LKph`.
const APPLICATION_ID: i32 = 0x4c4b_7068;
/// How long a transaction waits for another process.
const BUSY_MS_MAX: u64 = 10_000;
/// Of a record: whether it has a history that the server knows.
const AT_OFFICE: &str =
    "(seq > 0 OR EXISTS (SELECT 1 FROM tail WHERE tail.record = record.record))";

/// The schema's versions, each from the one before. Append only.
const MIGRATIONS: &[&str] = &[
    "
    CREATE TABLE meta (name TEXT PRIMARY KEY, value TEXT NOT NULL) STRICT;
    CREATE TABLE record (
        record BLOB PRIMARY KEY CHECK (length(record) = 16),
        kind TEXT NOT NULL,
        grid TEXT NOT NULL,
        generation INTEGER NOT NULL,
        seq INTEGER NOT NULL,
        leaving INTEGER NOT NULL DEFAULT 0,
        before_reset INTEGER NOT NULL DEFAULT 0,
        snapshot BLOB NOT NULL
    ) STRICT;
    CREATE TABLE tail (
        record BLOB NOT NULL,
        hash BLOB NOT NULL CHECK (length(hash) = 32),
        seq INTEGER,
        bytes BLOB NOT NULL,
        PRIMARY KEY (record, hash)
    ) STRICT, WITHOUT ROWID;
    CREATE TABLE outbox (
        position INTEGER PRIMARY KEY AUTOINCREMENT,
        record BLOB NOT NULL,
        kind TEXT NOT NULL,
        generation INTEGER NOT NULL,
        hash BLOB NOT NULL CHECK (length(hash) = 32),
        bytes BLOB NOT NULL,
        edits TEXT NOT NULL,
        made_at INTEGER NOT NULL,
        state TEXT NOT NULL CHECK (state IN ('unsent', 'held', 'refused')),
        reason TEXT,
        tries INTEGER NOT NULL DEFAULT 0,
        rebases INTEGER NOT NULL DEFAULT 0,
        UNIQUE (record, hash)
    ) STRICT;
    CREATE TABLE draft (
        id INTEGER PRIMARY KEY AUTOINCREMENT,
        record BLOB NOT NULL,
        title TEXT,
        content TEXT NOT NULL
    ) STRICT;
    CREATE TABLE card_index (record BLOB PRIMARY KEY, summary TEXT, search_key TEXT NOT NULL) STRICT, WITHOUT ROWID;
    CREATE TABLE listing (line INTEGER PRIMARY KEY, record BLOB NOT NULL) STRICT;
",
    "
    CREATE TABLE notice (
        notice BLOB PRIMARY KEY CHECK (length(notice) = 16),
        record BLOB NOT NULL,
        seq INTEGER NOT NULL,
        content TEXT NOT NULL,
        unread INTEGER NOT NULL DEFAULT 1
    ) STRICT;
",
    "ALTER TABLE record ADD COLUMN beyond_cursor INTEGER NOT NULL DEFAULT 0;",
];

/// Why the store could not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// Another process holds the file.
    #[error("another program is using this phone's file")]
    Busy,
    /// Nothing is there.
    #[error("no phone at {}", .0.display())]
    Missing(PathBuf),
    /// Something is there already.
    #[error("{} is a phone already", .0.display())]
    Exists(PathBuf),
    /// The file belongs to another program, or is damaged.
    #[error("{} is not a phone's file", .0.display())]
    Foreign(PathBuf),
    /// Written by a newer version of this program.
    #[error("the file was written by a newer version of this program")]
    Newer,
    /// No device was enrolled in this file.
    #[error("this phone is not enrolled")]
    NotEnrolled,
    /// The office wiped this phone.
    #[error("this phone was wiped by the office at {0}")]
    Wiped(String),
    /// A stored value does not read back.
    #[error("a stored {0} does not parse")]
    Damaged(&'static str),
    /// The file system.
    #[error("the file: {0}")]
    Io(#[from] std::io::Error),
    /// `SQLite`.
    #[error("the database: {0}")]
    Sqlite(rusqlite::Error),
}

impl From<rusqlite::Error> for StoreError {
    fn from(error: rusqlite::Error) -> Self {
        use rusqlite::ErrorCode::{DatabaseBusy, DatabaseLocked};
        match error.sqlite_error_code() {
            Some(DatabaseBusy | DatabaseLocked) => Self::Busy,
            _ => Self::Sqlite(error),
        }
    }
}

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
    pub street: lianka_sync_core::id::StreetCode,
    /// In whose name.
    pub credentials: Credentials,
}

/// When the last complete synchronisation was.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct LastSync {
    /// By the phone's clock.
    pub at: DeviceTime,
    /// By the server's.
    pub server_time: lianka_sync_core::time::ServerTime,
}

/// A phone's file.
#[derive(Debug)]
pub struct LocalStore {
    path: PathBuf,
    connection: Connection,
}

impl LocalStore {
    /// Makes a new file, or opens the one that is there.
    pub fn open_or_create(path: &Path) -> Result<Self, StoreError> {
        if !path.exists() {
            if let Some(folder) = path
                .parent()
                .filter(|folder| !folder.as_os_str().is_empty())
            {
                std::fs::create_dir_all(folder)?;
            }
            create_private(path)?;
        }
        Self::open(path)
    }

    /// Opens a phone's file.
    pub fn open(path: &Path) -> Result<Self, StoreError> {
        if !path.is_file() {
            return Err(StoreError::Missing(path.to_owned()));
        }
        let foreign = |error: rusqlite::Error| match error.sqlite_error_code() {
            Some(rusqlite::ErrorCode::NotADatabase) => StoreError::Foreign(path.to_owned()),
            _ => error.into(),
        };
        let mut connection = Connection::open(path)?;
        connection.busy_timeout(std::time::Duration::from_millis(BUSY_MS_MAX))?;
        connection
            .pragma_update(
                None,
                "secure_delete",
                if planted::is(Bug::EraseLeavesPages) {
                    "OFF"
                } else {
                    "ON"
                },
            )
            .map_err(foreign)?;
        connection
            .query_row("PRAGMA journal_mode = WAL", [], |_| Ok(()))
            .map_err(foreign)?;
        connection.pragma_update(
            None,
            "synchronous",
            if planted::is(Bug::SavedBeforeFlush) {
                "OFF"
            } else {
                "FULL"
            },
        )?;
        connection.set_prepared_statement_cache_capacity(64);
        migrate(&mut connection, path)?;
        Ok(Self {
            path: path.to_owned(),
            connection,
        })
    }

    /// Where the file is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Runs `work` in one transaction that holds the write lock from its beginning: nothing it read is old when it writes.
    pub fn write<T, E: From<StoreError>>(
        &mut self,
        work: impl FnOnce(&Tx<'_>) -> Result<T, E>,
    ) -> Result<T, E> {
        let tx = self
            .connection
            .transaction_with_behavior(TransactionBehavior::Immediate)
            .map_err(StoreError::from)?;
        let done = work(&Tx { tx: &tx })?;
        tx.commit().map_err(StoreError::from)?;
        Ok(done)
    }

    /// Runs `work` on one state of the file, without a lock that keeps others from writing.
    pub fn read<T, E: From<StoreError>>(
        &mut self,
        work: impl FnOnce(&Tx<'_>) -> Result<T, E>,
    ) -> Result<T, E> {
        let tx = self
            .connection
            .transaction_with_behavior(TransactionBehavior::Deferred)
            .map_err(StoreError::from)?;
        work(&Tx { tx: &tx })
    }

    /// Who this phone is; refuses a phone that is not enrolled, or was wiped.
    #[expect(
        clippy::redundant_closure_for_method_calls,
        reason = "the method's path is not general over the transaction's lifetime"
    )]
    pub fn identity(&mut self) -> Result<Identity, StoreError> {
        self.read(|tx| tx.identity())
    }

    /// Whether `SQLite` flushes its log at every commit, as it is set now: write-ahead log, and `synchronous` FULL (2) or EXTRA (3).
    pub fn flushes_every_commit(&self) -> Result<bool, StoreError> {
        let journal: String = self
            .connection
            .query_row("PRAGMA journal_mode", [], |row| row.get(0))?;
        let synchronous: i64 = self
            .connection
            .query_row("PRAGMA synchronous", [], |row| row.get(0))?;
        Ok(journal == "wal" && synchronous >= 2)
    }

    /// What was deleted is overwritten in the file; this empties the log beside it as well. Does nothing while another process reads.
    pub fn truncate_log(&mut self) -> Result<(), StoreError> {
        Ok(self
            .connection
            .query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(()))?)
    }

    /// After a wipe: nothing of what was deleted stays in the file or beside it.
    pub fn scrub(&mut self) -> Result<(), StoreError> {
        self.connection.execute_batch("VACUUM")?;
        self.connection
            .query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(()))?;
        Ok(())
    }
}

fn create_private(path: &Path) -> Result<(), StoreError> {
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    // SQLite gives its side files the rights of the main file.
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    match options.open(path) {
        Ok(_) => Ok(()),
        Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => Ok(()),
        Err(error) => Err(error.into()),
    }
}

fn migrate(connection: &mut Connection, path: &Path) -> Result<(), StoreError> {
    let tx = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let version: usize = tx
        .query_row("PRAGMA user_version", [], |row| row.get::<_, i64>(0))?
        .try_into()
        .unwrap_or(usize::MAX);
    let application: i32 = tx.query_row("PRAGMA application_id", [], |row| row.get(0))?;
    let tables: i64 = tx.query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get(0))?;
    if application != APPLICATION_ID && (tables > 0 || version > 0) {
        return Err(StoreError::Foreign(path.to_owned()));
    }
    if version > MIGRATIONS.len() {
        return Err(StoreError::Newer);
    }
    if version < MIGRATIONS.len() {
        for migration in &MIGRATIONS[version..] {
            tx.execute_batch(migration)?;
        }
        tx.pragma_update(None, "application_id", APPLICATION_ID)?;
        tx.pragma_update(None, "user_version", MIGRATIONS.len() as i64)?;
    }
    Ok(tx.commit()?)
}

/// Held while this process synchronises; another that tries meanwhile is told so. Released when dropped, or when the process dies.
#[derive(Debug)]
pub struct SyncLock(#[expect(dead_code, reason = "closing the file releases the lock")] File);

impl SyncLock {
    /// Takes the lock of the phone at `path`.
    pub fn take(path: &Path) -> Result<Self, StoreError> {
        let mut name = path.as_os_str().to_owned();
        name.push(".sync-lock");
        let mut options = OpenOptions::new();
        options.write(true).create(true).truncate(false);
        #[cfg(unix)]
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
        let file = options.open(name)?;
        match file.try_lock() {
            Ok(()) => Ok(Self(file)),
            Err(std::fs::TryLockError::WouldBlock) => Err(StoreError::Busy),
            Err(std::fs::TryLockError::Error(error)) => Err(error.into()),
        }
    }
}

/// One transaction.
#[derive(Debug)]
pub struct Tx<'t> {
    pub(crate) tx: &'t rusqlite::Transaction<'t>,
}

impl Tx<'_> {
    // Names and values of the phone as a whole.

    fn get<T: DeserializeOwned>(&self, name: &'static str) -> Result<Option<T>, StoreError> {
        let text: Option<String> = self
            .tx
            .prepare_cached("SELECT value FROM meta WHERE name = ?1")?
            .query_row([name], |row| row.get(0))
            .optional()?;
        text.map(|text| serde_json::from_str(&text).map_err(|_| StoreError::Damaged(name)))
            .transpose()
    }

    fn set<T: Serialize>(&self, name: &'static str, value: &T) -> Result<(), StoreError> {
        let text = serde_json::to_string(value).map_err(|_| StoreError::Damaged(name))?;
        self.tx
            .prepare_cached("INSERT OR REPLACE INTO meta (name, value) VALUES (?1, ?2)")?
            .execute(params![name, text])?;
        Ok(())
    }

    /// Who this phone is; refuses a phone that is not enrolled, or was wiped.
    pub fn identity(&self) -> Result<Identity, StoreError> {
        if let Some(at) = self.get::<String>("wiped_at")? {
            return Err(StoreError::Wiped(at));
        }
        self.get("identity")?.ok_or(StoreError::NotEnrolled)
    }

    /// Stores who this phone is.
    pub fn set_identity(&self, identity: &Identity) -> Result<(), StoreError> {
        self.set("identity", identity)
    }

    /// How this phone signs in.
    pub fn credentials(&self) -> Result<Credentials, StoreError> {
        self.get("credentials")?.ok_or(StoreError::NotEnrolled)
    }

    /// Stores how this phone signs in.
    pub fn set_credentials(&self, credentials: &Credentials) -> Result<(), StoreError> {
        self.set("credentials", credentials)
    }

    /// The phone's epoch.
    pub fn epoch(&self) -> Result<u32, StoreError> {
        Ok(self.get("epoch")?.unwrap_or(1))
    }

    /// Where the next pull goes on from.
    pub fn cursor(&self) -> Result<Option<String>, StoreError> {
        Ok(self.get::<Option<String>>("cursor")?.flatten())
    }

    /// The last complete synchronisation.
    pub fn last_sync(&self) -> Result<Option<LastSync>, StoreError> {
        self.get("last_sync")
    }

    /// Notes a complete synchronisation.
    pub fn set_last_sync(&self, last: &LastSync) -> Result<(), StoreError> {
        self.set("last_sync", last)
    }

    /// The lease, unless the server grants none.
    pub fn lease(&self) -> Result<Option<Lease>, StoreError> {
        Ok(self.get::<Option<Lease>>("lease")?.flatten())
    }

    /// Stores the lease; `None`: the server grants none, so it has no end.
    pub fn set_lease(&self, lease: Option<Lease>) -> Result<(), StoreError> {
        self.set("lease", &lease)
    }

    /// The next pull is followed by one from the start: changes were made in this phone's name that it never saw.
    pub fn set_start_over(&self) -> Result<(), StoreError> {
        self.set("start_over", &true)
    }

    /// How to tell the office that this phone has cleared itself; `None` once it was told.
    pub fn wipe_report(&self) -> Result<Option<WipeReport>, StoreError> {
        self.get("wipe_report")
    }

    /// Stores new tokens for the report.
    pub fn set_wipe_report(&self, report: &WipeReport) -> Result<(), StoreError> {
        self.set("wipe_report", report)
    }

    /// The office knows; nothing of the tokens stays.
    pub fn drop_wipe_report(&self) -> Result<(), StoreError> {
        self.run("DELETE FROM meta WHERE name = 'wipe_report'", [])
    }

    /// Notes when the office wiped this phone.
    pub fn set_wiped(&self, at: DeviceTime) -> Result<(), StoreError> {
        self.set("wiped_at", &at.to_string())
    }

    // Records.

    /// Everything stored of a record.
    pub fn record_state(&self, record: RecordId) -> Result<RecordState, StoreError> {
        let sql = "SELECT kind, grid, generation, seq, leaving, before_reset, snapshot FROM record WHERE record = ?1";
        let mut stored = self
            .tx
            .prepare_cached(sql)?
            .query_row([id(&record)], |row| {
                Ok((
                    row.get::<_, String>(0)?,
                    StoredRecord {
                        kind: Kind::ShopCard,
                        grid: row.get(1)?,
                        generation: row.get(2)?,
                        seq: row.get::<_, i64>(3)? as u64,
                        leaving: row.get(4)?,
                        before_reset: row.get(5)?,
                        snapshot: row.get(6)?,
                        tail: Vec::new(),
                    },
                ))
            })
            .optional()?
            .map(|(name, stored)| {
                Ok::<_, StoreError>(StoredRecord {
                    kind: kind(&name)?,
                    ..stored
                })
            })
            .transpose()?;
        if let Some(stored) = &mut stored {
            let mut rows = self.tx.prepare_cached(
                "SELECT hash, seq, bytes FROM tail WHERE record = ?1 ORDER BY seq IS NULL, seq",
            )?;
            let rows = rows.query_map([id(&record)], |row| {
                Ok((
                    row.get::<_, [u8; 32]>(0)?,
                    row.get::<_, Option<i64>>(1)?,
                    row.get(2)?,
                ))
            })?;
            for row in rows {
                let (hash, seq, bytes) = row?;
                stored.tail.push(TailChange {
                    hash: ChangeHash(hash),
                    seq: seq.map(|seq| seq as u64),
                    bytes,
                });
            }
        }
        Ok(RecordState {
            record,
            stored,
            outbox: outbox::of_record(self.tx, record)?,
        })
    }

    /// Every record held, by id.
    pub fn records(&self) -> Result<Vec<RecordId>, StoreError> {
        let mut rows = self
            .tx
            .prepare_cached("SELECT record FROM record ORDER BY record")?;
        let rows = rows.query_map([], |row| record_id(row, 0))?;
        Ok(rows.collect::<Result<_, _>>()?)
    }

    /// Every record of a kind, with its grid, by id.
    pub fn records_of(&self, kind: Kind) -> Result<Vec<(RecordId, String)>, StoreError> {
        let mut rows = self
            .tx
            .prepare_cached("SELECT record, grid FROM record WHERE kind = ?1 ORDER BY record")?;
        let rows = rows.query_map([kind.as_str()], |row| Ok((record_id(row, 0)?, row.get(1)?)))?;
        Ok(rows.collect::<Result<_, _>>()?)
    }

    /// Where the phone stands before a request.
    pub fn standing(&self) -> Result<Standing, StoreError> {
        let mut rows =
            self.tx.prepare_cached(&format!("SELECT record, generation, before_reset, leaving, {AT_OFFICE}, beyond_cursor FROM record"))?;
        let rows = rows.query_map([], |row| {
            let (generation, before_reset) = (row.get(1)?, row.get(2)?);
            Ok((
                record_id(row, 0)?,
                Known {
                    generation,
                    before_reset,
                    leaving: row.get(3)?,
                    at_office: row.get(4)?,
                    beyond_cursor: row.get(5)?,
                },
            ))
        })?;
        let known = rows.collect::<Result<HashMap<_, _>, _>>()?;
        let start_over = self.get("start_over")?.unwrap_or(false);
        Ok(Standing {
            cursor: self.cursor()?,
            outbox: outbox::all(self.tx)?,
            known,
            start_over,
            device_time: None,
        })
    }

    /// Records that something must become of when an answer is complete.
    pub fn due(&self) -> Result<Vec<RecordId>, StoreError> {
        let sql = "SELECT record FROM record WHERE leaving OR before_reset
            UNION SELECT outbox.record FROM outbox LEFT JOIN record USING (record)
            WHERE state = 'refused' OR tries > 0 OR (state = 'unsent' AND outbox.generation <> record.generation)
            ORDER BY 1";
        let mut rows = self.tx.prepare_cached(sql)?;
        let rows = rows.query_map([], |row| record_id(row, 0))?;
        Ok(rows.collect::<Result<_, _>>()?)
    }

    // Cards.

    /// The cards that pass the filter, in walking order.
    pub fn cards(&self, filter: &CardFilter) -> Result<Vec<CardSummary>, StoreError> {
        self.index_missing()?;
        let sql = "SELECT summary, search_key,
                EXISTS (SELECT 1 FROM outbox WHERE outbox.record = card_index.record AND state <> 'held'),
                EXISTS (SELECT 1 FROM outbox WHERE outbox.record = card_index.record AND state = 'held')
            FROM card_index WHERE summary IS NOT NULL";
        let mut rows = self.tx.prepare_cached(sql)?;
        let rows = rows.query_map([], |row| {
            Ok((
                row.get::<_, String>(0)?,
                row.get::<_, String>(1)?,
                row.get::<_, bool>(2)?,
                row.get::<_, bool>(3)?,
            ))
        })?;
        let mut cards = Vec::new();
        for row in rows {
            let (summary, key, unsent, held) = row?;
            let mut card: CardSummary =
                serde_json::from_str(&summary).map_err(|_| StoreError::Damaged("card summary"))?;
            card.place = match (unsent, held) {
                (true, _) => Place::Phone,
                (false, true) => Place::Held,
                (false, false) => Place::Office,
            };
            if filter.admits(&card, &key) {
                cards.push(card);
            }
        }
        cards.sort_by_cached_key(|card| (card.walk_order(), card.record));
        Ok(cards)
    }

    /// Indexes what changed since the list was last asked for: a download stores documents without opening them.
    pub(crate) fn index_missing(&self) -> Result<(), StoreError> {
        let sql =
            "SELECT record, grid FROM record WHERE record NOT IN (SELECT record FROM card_index)";
        let missing = self
            .tx
            .prepare_cached(sql)?
            .query_map([], |row| Ok((record_id(row, 0)?, row.get::<_, String>(1)?)))?
            .collect::<Result<Vec<_>, _>>()?;
        let mut insert = self.tx.prepare_cached(
            "INSERT INTO card_index (record, summary, search_key) VALUES (?1, ?2, ?3)",
        )?;
        for (record, grid) in missing {
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
                .map_err(|_| StoreError::Damaged("card summary"))?;
            insert.execute(params![id(&record), summary, key])?;
        }
        Ok(())
    }

    /// A record's rows; `None` where its document cannot be read.
    pub fn project(&self, record: RecordId) -> Result<Option<Projected>, StoreError> {
        let state = self.record_state(record)?;
        let generation = state.stored.as_ref().map_or(1, |stored| stored.generation);
        let view = document::open(&state)
            .ok()
            .flatten()
            .and_then(|mut opened| opened.document.view().ok());
        Ok(view.and_then(|view| projection::project(record, generation, &view)))
    }

    /// Remembers a list as it was shown, so that its line numbers name records.
    pub fn set_listing(&self, records: &[RecordId]) -> Result<(), StoreError> {
        self.tx.execute("DELETE FROM listing", [])?;
        let mut insert = self
            .tx
            .prepare_cached("INSERT INTO listing (line, record) VALUES (?1, ?2)")?;
        for (at, record) in records.iter().enumerate() {
            insert.execute(params![at as i64 + 1, id(record)])?;
        }
        Ok(())
    }

    /// The record in a line of the list last shown.
    pub fn listed(&self, line: i64) -> Result<Option<RecordId>, StoreError> {
        let mut row = self
            .tx
            .prepare_cached("SELECT record FROM listing WHERE line = ?1")?;
        Ok(row.query_row([line], |row| record_id(row, 0)).optional()?)
    }

    // Effects.

    /// Carries out the effects of one event.
    pub fn apply(&self, effects: &[Effect]) -> Result<(), StoreError> {
        effects.iter().try_for_each(|effect| self.apply_one(effect))
    }

    fn apply_one(&self, effect: &Effect) -> Result<(), StoreError> {
        match effect {
            Effect::CreateRecord { record, kind, grid } => {
                let sql = "INSERT INTO record (record, kind, grid, generation, seq, snapshot) VALUES (?1, ?2, ?3, 1, 0, x'')";
                self.run(sql, params![id(record), kind.as_str(), grid])
            }
            Effect::PutSnapshot {
                record,
                kind,
                grid,
                generation,
                seq,
                bytes,
            } => {
                let id = id(record);
                let sql = "DELETE FROM tail WHERE record = ?1
                    AND (seq <= ?2 OR ?3 <> (SELECT generation FROM record WHERE record = ?1))";
                if !planted::is(Bug::SnapshotKeepsTail) {
                    self.run(sql, params![id, *seq as i64, generation])?;
                }
                let sql = "INSERT INTO record (record, kind, grid, generation, seq, snapshot, beyond_cursor) VALUES (?1, ?2, ?3, ?4, ?5, ?6, 1)
                    ON CONFLICT (record) DO UPDATE SET kind = excluded.kind, grid = excluded.grid, generation = excluded.generation,
                        seq = excluded.seq, snapshot = excluded.snapshot, beyond_cursor = beyond_cursor OR leaving, leaving = 0, before_reset = 0";
                self.run(
                    sql,
                    params![id, kind.as_str(), grid, generation, *seq as i64, bytes],
                )?;
                self.touch(record)
            }
            Effect::ForgetHistory { record } => {
                self.run(
                    "UPDATE record SET before_reset = 0, seq = 0, snapshot = x'' WHERE record = ?1",
                    [id(record)],
                )?;
                self.run("DELETE FROM tail WHERE record = ?1", [id(record)])?;
                self.touch(record)
            }
            Effect::AppendTail {
                record,
                generation,
                change,
            } => self.append(record, *generation, change),
            Effect::ForgetUnconfirmed { record } => {
                self.run(
                    "DELETE FROM tail WHERE record = ?1 AND seq IS NULL",
                    [id(record)],
                )?;
                self.touch(record)
            }
            Effect::RemoveRecord { record } => {
                self.run("DELETE FROM record WHERE record = ?1", [id(record)])?;
                self.run("DELETE FROM tail WHERE record = ?1", [id(record)])?;
                self.touch(record)
            }
            Effect::MarkLeaving { record } => self.run(
                "UPDATE record SET leaving = 1 WHERE record = ?1",
                [id(record)],
            ),
            Effect::StartOver => self.set_start_over(),
            Effect::Stay { .. } if planted::is(Bug::StayForgotten) => Ok(()),
            Effect::Stay { record } => self.run(
                "UPDATE record SET leaving = 0, beyond_cursor = 1 WHERE record = ?1",
                [id(record)],
            ),
            Effect::Enqueue(entry) => {
                outbox::append(self.tx, entry)?;
                self.touch(&entry.record)
            }
            Effect::Acknowledge {
                record,
                generation,
                change,
            } => {
                outbox::remove(self.tx, *record, change.hash)?;
                self.run(
                    &format!(
                        "UPDATE record SET beyond_cursor = 1 WHERE record = ?1 AND NOT {AT_OFFICE}"
                    ),
                    [id(record)],
                )?;
                if planted::is(Bug::OutboxForgetsOwn) {
                    Ok(())
                } else {
                    self.append(record, *generation, change)
                }
            }
            Effect::Mark {
                record,
                hash,
                state,
                reason,
                again,
            } => outbox::mark(self.tx, *record, *hash, *state, reason, *again),
            Effect::ReplaceOutbox { record, entries } => {
                outbox::replace(self.tx, *record, entries)?;
                self.touch(record)
            }
            Effect::PutDraft(draft) => {
                outbox::put_draft(self.tx, draft, self.title(draft.record)?.as_deref())
            }
            Effect::RemoveDraft { id } => outbox::remove_draft(self.tx, *id).map(|_| ()),
            Effect::PutNotice(notice) => notices::put(self.tx, notice),
            Effect::Erase { record } => {
                notices::forget(self.tx, *record)?;
                self.apply_one(&Effect::RemoveRecord { record: *record })?;
                self.run("DELETE FROM outbox WHERE record = ?1", [id(record)])?;
                if !planted::is(Bug::EraseKeepsDrafts) {
                    self.run("DELETE FROM draft WHERE record = ?1", [id(record)])?;
                }
                self.run("DELETE FROM listing WHERE record = ?1", [id(record)])
            }
            Effect::Redact { record, entries } => {
                notices::forget(self.tx, *record)?;
                outbox::redact(self.tx, *record, &entries.iter().copied().collect())?;
                self.touch(record)
            }
            Effect::SetEpoch(epoch) => self.set("epoch", epoch),
            Effect::SetCursor(cursor) => {
                match cursor {
                    None => self.set("start_over", &false)?,
                    Some(_) => self.run(
                        "UPDATE record SET beyond_cursor = 0 WHERE beyond_cursor",
                        [],
                    )?,
                }
                self.set("cursor", cursor)
            }
            Effect::StayBeyond { record } => self.run(
                "UPDATE record SET beyond_cursor = 1 WHERE record = ?1",
                [id(record)],
            ),
            Effect::BeginReset => {
                self.set("cursor", &None::<String>)?;
                // What the server never had has no history to lose.
                self.run(
                    &format!("UPDATE record SET before_reset = 1 WHERE {AT_OFFICE}"),
                    [],
                )
            }
            Effect::BeginAnew => self.run(
                &format!("UPDATE record SET before_reset = 1 WHERE {AT_OFFICE}"),
                [],
            ),
            Effect::Wipe => {
                // All that is left is the way to tell the office that nothing is.
                let report = match (
                    self.get::<Identity>("identity")?,
                    self.get::<Credentials>("credentials")?,
                ) {
                    (Some(identity), Some(credentials)) => Some(WipeReport {
                        street: identity.street,
                        credentials,
                    }),
                    _ => None,
                };
                let tables = [
                    "meta",
                    "record",
                    "tail",
                    "outbox",
                    "draft",
                    "card_index",
                    "listing",
                    "notice",
                ];
                tables
                    .iter()
                    .try_for_each(|table| self.run(&format!("DELETE FROM {table}"), []))?;
                report
                    .iter()
                    .try_for_each(|report| self.set("wipe_report", report))
            }
        }
    }

    fn append(
        &self,
        record: &RecordId,
        generation: u32,
        change: &TailChange,
    ) -> Result<(), StoreError> {
        let sql = "INSERT INTO tail (record, hash, seq, bytes)
            SELECT ?1, ?2, ?3, ?4 FROM record WHERE record = ?1 AND generation = ?5
            ON CONFLICT (record, hash) DO UPDATE SET seq = coalesce(excluded.seq, seq)";
        self.run(
            sql,
            params![
                id(record),
                change.hash.0,
                change.seq.map(|seq| seq as i64),
                change.bytes,
                generation
            ],
        )?;
        self.touch(record)
    }

    /// The list must look at the record again.
    fn touch(&self, record: &RecordId) -> Result<(), StoreError> {
        self.run("DELETE FROM card_index WHERE record = ?1", [id(record)])
    }

    fn run(&self, sql: &str, values: impl rusqlite::Params) -> Result<(), StoreError> {
        self.tx.prepare_cached(sql)?.execute(values)?;
        Ok(())
    }

    /// What people call the record, as far as the list knew it.
    pub(crate) fn title(&self, record: RecordId) -> Result<Option<String>, StoreError> {
        let mut row = self
            .tx
            .prepare_cached("SELECT summary FROM card_index WHERE record = ?1")?;
        let summary = row
            .query_row([id(&record)], |row| row.get::<_, Option<String>>(0))
            .optional()?
            .flatten();
        let card = summary.and_then(|summary| serde_json::from_str::<CardSummary>(&summary).ok());
        Ok(card
            .map(|card| {
                format!("{} {}", card.door(), card.sign_name.unwrap_or_default())
                    .trim()
                    .to_owned()
            })
            .filter(|title| !title.is_empty()))
    }
}

pub(crate) fn id(record: &RecordId) -> [u8; 16] {
    *record.0.as_bytes()
}

pub(crate) fn record_id(row: &rusqlite::Row<'_>, at: usize) -> rusqlite::Result<RecordId> {
    Ok(RecordId(uuid::Uuid::from_bytes(
        row.get::<_, [u8; 16]>(at)?,
    )))
}

pub(crate) fn kind(name: &str) -> Result<Kind, StoreError> {
    name.parse().map_err(|_| StoreError::Damaged("kind"))
}
