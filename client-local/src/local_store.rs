//! The record store in `SQLite`: schema and SQL, over a connection that somebody else opened.
//!
//! In: effects and questions. Out: what is stored. Decides nothing, and knows neither files nor locks: `local_file` and `origin_file` do.
//!
//! Invariants:
//! - everything one event does is one transaction, durable at its commit: WAL with `synchronous=FULL`, so that an edit the user saw saved
//!   survives the loss of power at any instant;
//! - a transaction that writes takes the write lock before it reads;
//! - what is erased is overwritten (`secure_delete`), and the file is written anew by the next `scrub`: where `SQLite` moves a row to another page,
//!   it leaves a copy that no deletion overwrites.

use std::{
    collections::{BTreeSet, HashMap},
    path::{Path, PathBuf},
};

use lianka_client_core::{
    Effect, KeptDraft, KeptNotice, Known, OutboxEntry, RecordState, StoredRecord, TailChange,
    document,
    store::{Indexed, RecordStore, Records, Unfit},
};
use lianka_sync_core::{
    id::{ChangeHash, RecordId},
    kinds::Kind,
};
use rusqlite::{Connection, OptionalExtension, TransactionBehavior, params};

mod notices;
mod outbox;

/// `PRAGMA application_id`: `LKph`.
const APPLICATION_ID: i32 = 0x4c4b_7068;
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
    // What every synchronisation looks at of all records stands apart from their documents: it is read in a few pages.
    "
    CREATE TABLE snapshot (record BLOB PRIMARY KEY CHECK (length(record) = 16), bytes BLOB NOT NULL) STRICT;
    INSERT INTO snapshot SELECT record, snapshot FROM record ORDER BY record;
    CREATE TABLE next_record (
        record BLOB PRIMARY KEY CHECK (length(record) = 16),
        kind TEXT NOT NULL,
        grid TEXT NOT NULL,
        generation INTEGER NOT NULL,
        -- What the snapshot reaches; 0: none.
        seq INTEGER NOT NULL,
        -- The highest that is known of its tail's; 0: none.
        tail_seq INTEGER NOT NULL DEFAULT 0,
        leaving INTEGER NOT NULL DEFAULT 0,
        before_reset INTEGER NOT NULL DEFAULT 0,
        beyond_cursor INTEGER NOT NULL DEFAULT 0
    ) STRICT, WITHOUT ROWID;
    INSERT INTO next_record SELECT record, kind, grid, generation, seq,
        coalesce((SELECT max(tail.seq) FROM tail WHERE tail.record = record.record AND tail.seq < 9223372036854775807), 0),
        leaving, before_reset, beyond_cursor FROM record ORDER BY record;
    DROP TABLE record;
    ALTER TABLE next_record RENAME TO record;
",
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

impl StoreError {
    /// Whether the disk takes nothing more. A browser's file system has one word for every write that fails, and it is rarely another cause.
    pub fn is_full(&self) -> bool {
        use rusqlite::ErrorCode::{DiskFull, SystemIoFailure};
        match self {
            Self::Sqlite(error) => {
                matches!(error.sqlite_error_code(), Some(DiskFull | SystemIoFailure))
            }
            Self::Io(error) => error.to_string().contains("Quota"),
            _ => false,
        }
    }
}

impl From<Unfit> for StoreError {
    fn from(unfit: Unfit) -> Self {
        match unfit {
            Unfit::NotEnrolled => Self::NotEnrolled,
            Unfit::Wiped(at) => Self::Wiped(at),
            Unfit::Damaged(what) => Self::Damaged(what),
        }
    }
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

/// A phone's store.
#[derive(Debug)]
pub struct LocalStore {
    path: PathBuf,
    connection: Connection,
}

impl LocalStore {
    /// A phone's store over an open connection. `path` is what messages call it.
    pub fn over(mut connection: Connection, path: &Path) -> Result<Self, StoreError> {
        let foreign = |error: rusqlite::Error| match error.sqlite_error_code() {
            Some(rusqlite::ErrorCode::NotADatabase) => StoreError::Foreign(path.to_owned()),
            _ => error.into(),
        };
        connection
            .pragma_update(None, "secure_delete", "ON")
            .map_err(foreign)?;
        connection
            .query_row("PRAGMA journal_mode = WAL", [], |_| Ok(()))
            .map_err(foreign)?;
        connection.pragma_update(None, "synchronous", "FULL")?;
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
}

impl RecordStore for LocalStore {
    type Error = StoreError;
    type Tx<'t> = Tx<'t>;

    /// The transaction holds the write lock from its beginning: nothing it read is old when it writes.
    fn write<T, E: From<StoreError>>(
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

    /// Without a lock that keeps others from writing.
    fn read<T, E: From<StoreError>>(
        &mut self,
        work: impl FnOnce(&Tx<'_>) -> Result<T, E>,
    ) -> Result<T, E> {
        let tx = self
            .connection
            .transaction_with_behavior(TransactionBehavior::Deferred)
            .map_err(StoreError::from)?;
        work(&Tx { tx: &tx })
    }

    fn scrub(&mut self) -> Result<(), StoreError> {
        self.connection.execute_batch("VACUUM")?;
        self.truncate_log()
    }

    /// What was deleted is overwritten in the file; this empties the log beside it as well. Does nothing while another process reads.
    fn truncate_log(&mut self) -> Result<(), StoreError> {
        Ok(self
            .connection
            .query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(()))?)
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

/// One transaction.
#[derive(Debug)]
pub struct Tx<'t> {
    tx: &'t rusqlite::Transaction<'t>,
}

impl Records for Tx<'_> {
    type Error = StoreError;

    fn value(&self, name: &'static str) -> Result<Option<String>, StoreError> {
        let mut row = self
            .tx
            .prepare_cached("SELECT value FROM meta WHERE name = ?1")?;
        Ok(row.query_row([name], |row| row.get(0)).optional()?)
    }

    fn put_value(&self, name: &'static str, json: &str) -> Result<(), StoreError> {
        let sql = "INSERT OR REPLACE INTO meta (name, value) VALUES (?1, ?2)";
        self.run(sql, params![name, json])
    }

    fn drop_value(&self, name: &'static str) -> Result<(), StoreError> {
        self.run("DELETE FROM meta WHERE name = ?1", [name])
    }

    // Records.

    fn record_state(&self, record: RecordId) -> Result<RecordState, StoreError> {
        let sql = "SELECT kind, grid, generation, seq, leaving, before_reset, bytes FROM record JOIN snapshot USING (record) WHERE record = ?1";
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

    fn records(&self) -> Result<Vec<RecordId>, StoreError> {
        let mut rows = self
            .tx
            .prepare_cached("SELECT record FROM record ORDER BY record")?;
        let rows = rows.query_map([], |row| record_id(row, 0))?;
        Ok(rows.collect::<Result<_, _>>()?)
    }

    fn records_of(&self, kind: Kind) -> Result<Vec<(RecordId, String)>, StoreError> {
        let mut rows = self
            .tx
            .prepare_cached("SELECT record, grid FROM record WHERE kind = ?1 ORDER BY record")?;
        let rows = rows.query_map([kind.as_str()], |row| Ok((record_id(row, 0)?, row.get(1)?)))?;
        Ok(rows.collect::<Result<_, _>>()?)
    }

    fn known(&self) -> Result<HashMap<RecordId, Known>, StoreError> {
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
        Ok(rows.collect::<Result<_, _>>()?)
    }

    fn highest(&self) -> Result<u64, StoreError> {
        let sql = "SELECT coalesce(max(max(seq, tail_seq)), 0) FROM record WHERE NOT before_reset";
        let mut row = self.tx.prepare_cached(sql)?;
        let highest: i64 = row.query_row([], |row| row.get(0))?;
        Ok(highest as u64)
    }

    fn due(&self) -> Result<Vec<RecordId>, StoreError> {
        let sql = "SELECT record FROM record WHERE leaving OR before_reset
            UNION SELECT outbox.record FROM outbox LEFT JOIN record USING (record)
            WHERE state = 'refused' OR tries > 0 OR (state = 'unsent' AND outbox.generation <> record.generation)
            ORDER BY 1";
        let mut rows = self.tx.prepare_cached(sql)?;
        let rows = rows.query_map([], |row| record_id(row, 0))?;
        Ok(rows.collect::<Result<_, _>>()?)
    }

    fn hashes(&self, record: RecordId, all: bool) -> Result<Vec<ChangeHash>, StoreError> {
        let mut tail = self
            .tx
            .prepare_cached("SELECT hash FROM tail WHERE record = ?1")?;
        let hashes = tail.query_map([id(&record)], |row| Ok(ChangeHash(row.get(0)?)))?;
        let mut hashes = hashes.collect::<Result<Vec<_>, _>>()?;
        let mut snapshot = self
            .tx
            .prepare_cached("SELECT bytes FROM snapshot WHERE record = ?1")?;
        let mut rows = snapshot.query([id(&record)])?;
        if let Some(row) = rows.next()? {
            let saved = row.get_ref(0)?.as_blob().unwrap_or_default();
            hashes.extend(document::named(saved, all));
        }
        Ok(hashes)
    }

    // The list's index.

    fn unindexed(&self) -> Result<Vec<(RecordId, String)>, StoreError> {
        let sql =
            "SELECT record, grid FROM record WHERE record NOT IN (SELECT record FROM card_index)";
        let mut rows = self.tx.prepare_cached(sql)?;
        let rows = rows.query_map([], |row| Ok((record_id(row, 0)?, row.get(1)?)))?;
        Ok(rows.collect::<Result<_, _>>()?)
    }

    fn put_index(
        &self,
        record: RecordId,
        summary: Option<&str>,
        key: &str,
    ) -> Result<(), StoreError> {
        let sql =
            "INSERT OR REPLACE INTO card_index (record, summary, search_key) VALUES (?1, ?2, ?3)";
        self.run(sql, params![id(&record), summary, key])
    }

    fn indexed(&self) -> Result<Vec<Indexed>, StoreError> {
        let sql = "SELECT summary, search_key,
                EXISTS (SELECT 1 FROM outbox WHERE outbox.record = card_index.record AND state <> 'held'),
                EXISTS (SELECT 1 FROM outbox WHERE outbox.record = card_index.record AND state = 'held')
            FROM card_index WHERE summary IS NOT NULL";
        let mut rows = self.tx.prepare_cached(sql)?;
        let rows = rows.query_map([], |row| {
            Ok(Indexed {
                summary: row.get(0)?,
                key: row.get(1)?,
                unsent: row.get(2)?,
                held: row.get(3)?,
            })
        })?;
        Ok(rows.collect::<Result<_, _>>()?)
    }

    fn summary(&self, record: RecordId) -> Result<Option<String>, StoreError> {
        let mut row = self
            .tx
            .prepare_cached("SELECT summary FROM card_index WHERE record = ?1")?;
        Ok(row
            .query_row([id(&record)], |row| row.get(0))
            .optional()?
            .flatten())
    }

    fn set_listing(&self, records: &[RecordId]) -> Result<(), StoreError> {
        self.tx.execute("DELETE FROM listing", [])?;
        let mut insert = self
            .tx
            .prepare_cached("INSERT INTO listing (line, record) VALUES (?1, ?2)")?;
        for (at, record) in records.iter().enumerate() {
            insert.execute(params![at as i64 + 1, id(record)])?;
        }
        Ok(())
    }

    fn listed(&self, line: i64) -> Result<Option<RecordId>, StoreError> {
        let mut row = self
            .tx
            .prepare_cached("SELECT record FROM listing WHERE line = ?1")?;
        Ok(row.query_row([line], |row| record_id(row, 0)).optional()?)
    }

    // Outbox, drafts and notices.

    fn outbox(&self) -> Result<Vec<OutboxEntry>, StoreError> {
        outbox::all(self.tx)
    }

    fn outbox_of(&self, record: RecordId) -> Result<Vec<OutboxEntry>, StoreError> {
        outbox::of_record(self.tx, record)
    }

    fn outbox_count(&self) -> Result<[u64; 3], StoreError> {
        outbox::count(self.tx)
    }

    fn drafts(&self) -> Result<Vec<KeptDraft>, StoreError> {
        outbox::drafts(self.tx)
    }

    fn remove_draft(&self, id: i64) -> Result<bool, StoreError> {
        outbox::remove_draft(self.tx, id)
    }

    fn notices(&self) -> Result<Vec<KeptNotice>, StoreError> {
        notices::all(self.tx)
    }

    fn unread_notices(&self) -> Result<u64, StoreError> {
        notices::unread(self.tx)
    }

    fn mark_notices_read(&self) -> Result<(), StoreError> {
        notices::mark_read(self.tx)
    }

    fn apply(&self, effects: &[Effect]) -> Result<(), StoreError> {
        let mut changed = BTreeSet::new();
        for effect in effects {
            // A draft is called what the list calls its record.
            if matches!(effect, Effect::PutDraft(_)) {
                self.unlist(&mut changed)?;
            }
            self.apply_one(effect)?;
            changed.extend(effect.record_listed());
        }
        self.unlist(&mut changed)
    }
}

impl Tx<'_> {
    fn apply_one(&self, effect: &Effect) -> Result<(), StoreError> {
        match effect {
            Effect::CreateRecord { record, kind, grid } => {
                let sql = "INSERT INTO record (record, kind, grid, generation, seq) VALUES (?1, ?2, ?3, 1, 0)";
                self.run(sql, params![id(record), kind.as_str(), grid])?;
                self.put_document(record, &[])
            }
            Effect::PutSnapshot {
                record,
                kind,
                grid,
                generation,
                seq,
                bytes,
            } => {
                let (id, seq) = (id(record), *seq as i64);
                let sql = "DELETE FROM tail WHERE record = ?1
                    AND (seq <= ?2 OR ?3 <> (SELECT generation FROM record WHERE record = ?1))";
                self.run(sql, params![id, seq, generation])?;
                let sql = "INSERT INTO record (record, kind, grid, generation, seq, beyond_cursor) VALUES (?1, ?2, ?3, ?4, ?5, 1)
                    ON CONFLICT (record) DO UPDATE SET kind = excluded.kind, grid = excluded.grid, generation = excluded.generation,
                        seq = excluded.seq, beyond_cursor = beyond_cursor OR leaving, leaving = 0, before_reset = 0,
                        tail_seq = coalesce((SELECT max(seq) FROM tail WHERE tail.record = ?1 AND seq < ?6), 0)";
                self.run(
                    sql,
                    params![id, kind.as_str(), grid, generation, seq, i64::MAX],
                )?;
                self.put_document(record, bytes)
            }
            Effect::ForgetHistory { record } => {
                self.run(
                    "UPDATE record SET before_reset = 0, seq = 0, tail_seq = 0 WHERE record = ?1",
                    [id(record)],
                )?;
                self.run(
                    "UPDATE snapshot SET bytes = x'' WHERE record = ?1",
                    [id(record)],
                )?;
                self.run("DELETE FROM tail WHERE record = ?1", [id(record)])
            }
            Effect::AppendTail {
                record,
                generation,
                change,
            } => self.append(record, *generation, change),
            Effect::ForgetUnconfirmed { record } => self.run(
                "DELETE FROM tail WHERE record = ?1 AND seq IS NULL",
                [id(record)],
            ),
            Effect::RemoveRecord { record } => {
                self.run("DELETE FROM record WHERE record = ?1", [id(record)])?;
                self.run("DELETE FROM snapshot WHERE record = ?1", [id(record)])?;
                self.run("DELETE FROM tail WHERE record = ?1", [id(record)])
            }
            Effect::MarkLeaving { record } => self.run(
                "UPDATE record SET leaving = 1 WHERE record = ?1",
                [id(record)],
            ),
            Effect::StartOver => self.set_start_over(true),
            Effect::Stay { record } => self.run(
                "UPDATE record SET leaving = 0, beyond_cursor = 1 WHERE record = ?1",
                [id(record)],
            ),
            Effect::Enqueue(entry) => outbox::append(self.tx, entry),
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
                self.append(record, *generation, change)
            }
            Effect::Mark {
                record,
                hash,
                state,
                reason,
                again,
            } => outbox::mark(self.tx, *record, *hash, *state, reason, *again),
            Effect::ReplaceOutbox { record, entries } => outbox::replace(self.tx, *record, entries),
            Effect::PutDraft(draft) => {
                outbox::put_draft(self.tx, draft, self.title(draft.record)?.as_deref())
            }
            Effect::RemoveDraft { id } => outbox::remove_draft(self.tx, *id).map(|_| ()),
            Effect::PutNotice(notice) => notices::put(self.tx, notice),
            Effect::Erase { record } => {
                notices::forget(self.tx, *record)?;
                self.apply_one(&Effect::RemoveRecord { record: *record })?;
                self.run("DELETE FROM outbox WHERE record = ?1", [id(record)])?;
                self.run("DELETE FROM draft WHERE record = ?1", [id(record)])?;
                self.run("DELETE FROM listing WHERE record = ?1", [id(record)])
            }
            Effect::Redact { record, entries } => {
                notices::forget(self.tx, *record)?;
                outbox::redact(self.tx, *record, &entries.iter().copied().collect())
            }
            Effect::SetNewestOwn(newest) => self.set_newest_own(newest.as_ref()),
            Effect::SetEpoch(epoch) => self.set_epoch(*epoch),
            Effect::SetCursor(cursor) => {
                match cursor {
                    None => self.set_start_over(false)?,
                    Some(_) => self.run(
                        "UPDATE record SET beyond_cursor = 0 WHERE beyond_cursor",
                        [],
                    )?,
                }
                self.set_cursor(cursor.as_deref())
            }
            Effect::StayBeyond { record } => self.run(
                "UPDATE record SET beyond_cursor = 1 WHERE record = ?1",
                [id(record)],
            ),
            Effect::BeginReset => {
                self.set_cursor(None)?;
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
                let report = self.wipe_report_to_be()?;
                let tables = [
                    "meta",
                    "record",
                    "snapshot",
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
                    .try_for_each(|report| self.set_wipe_report(report))
            }
        }
    }

    fn append(
        &self,
        record: &RecordId,
        generation: u32,
        change: &TailChange,
    ) -> Result<(), StoreError> {
        let sql =
            "UPDATE record SET tail_seq = max(tail_seq, ?3) WHERE record = ?1 AND generation = ?2";
        let seq = change.seq.map(|seq| seq as i64);
        let known = seq.filter(|seq| *seq < i64::MAX).unwrap_or_default();
        let held = self
            .tx
            .prepare_cached(sql)?
            .execute(params![id(record), generation, known])?;
        if held == 0 {
            return Ok(());
        }
        let sql = "INSERT INTO tail (record, hash, seq, bytes) VALUES (?1, ?2, ?3, ?4)
            ON CONFLICT (record, hash) DO UPDATE SET seq = coalesce(excluded.seq, seq)";
        self.run(sql, params![id(record), change.hash.0, seq, change.bytes])
    }

    fn put_document(&self, record: &RecordId, bytes: &[u8]) -> Result<(), StoreError> {
        let sql = "INSERT INTO snapshot (record, bytes) VALUES (?1, ?2) ON CONFLICT (record) DO UPDATE SET bytes = excluded.bytes";
        self.run(sql, params![id(record), bytes])
    }

    /// The list must look at these records again: each once, however many changes came to it.
    fn unlist(&self, records: &mut BTreeSet<RecordId>) -> Result<(), StoreError> {
        std::mem::take(records).iter().try_for_each(|record| {
            self.run("DELETE FROM card_index WHERE record = ?1", [id(record)])
        })
    }

    fn run(&self, sql: &str, values: impl rusqlite::Params) -> Result<(), StoreError> {
        self.tx.prepare_cached(sql)?.execute(values)?;
        Ok(())
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
