//! A phone's store in a browser: one file in the private file system of the page's origin, by `SQLite` as wasm. Runs in a worker only.
//!
//! In: a folder's name. Out: an open [`LocalStore`], or why there is none. A browser gives the file to one worker at a time: whoever opens it
//! holds it until [`OriginFolder::close`], or until its page ends.

use std::path::Path;

use rusqlite::Connection;
use sqlite_wasm_vfs::sahpool::{OpfsSAHError, OpfsSAHPoolCfgBuilder, OpfsSAHPoolUtil, install};

use crate::local_store::{LocalStore, StoreError};

/// The file's name in its folder, as `SQLite` sees it.
const FILE: &str = "phone.db";
/// Files that the pool holds open: database, write-ahead log, the journal of a `VACUUM`, and one to spare.
const FILES_MAX: u32 = 4;

/// A folder of the origin's file system, held by this worker.
pub struct OriginFolder {
    pool: OpfsSAHPoolUtil,
}

impl OriginFolder {
    /// Takes the folder. [`StoreError::Busy`] where another worker holds it, or one that ended has not let go of it yet.
    pub async fn take(folder: &str) -> Result<Self, StoreError> {
        let options = OpfsSAHPoolCfgBuilder::new()
            .vfs_name(folder)
            .directory(folder)
            .initial_capacity(FILES_MAX)
            .build();
        let pool = install::<sqlite_wasm_rs::WasmOsCallback>(&options, true)
            .await
            .map_err(refused)?;
        if pool.is_paused() {
            pool.unpause_vfs().await.map_err(refused)?;
        }
        Ok(Self { pool })
    }

    /// Whether a phone was ever made here.
    pub fn has_phone(&self) -> Result<bool, StoreError> {
        self.pool.exists(FILE).map_err(refused)
    }

    /// Opens the phone's file, or makes a new one.
    pub fn open_or_create(&self) -> Result<LocalStore, StoreError> {
        let connection = Connection::open(FILE)?;
        // There is no memory to share an index of the log in: without this SQLite quietly keeps no log at all.
        connection.query_row("PRAGMA locking_mode = EXCLUSIVE", [], |_| Ok(()))?;
        let store = LocalStore::over(connection, Path::new(FILE))?;
        if !store.flushes_every_commit()? {
            return Err(unusable("no write-ahead log"));
        }
        Ok(store)
    }

    /// Deletes the file, which nobody may have open.
    pub fn delete(&self) -> Result<(), StoreError> {
        for file in self.pool.list() {
            self.pool.delete_db(&file).map_err(refused)?;
        }
        Ok(())
    }

    /// Lets go of the folder, so that another worker can take it. The store must have been dropped.
    pub fn close(&self) -> Result<(), StoreError> {
        self.pool.pause_vfs().map_err(refused)
    }
}

impl std::fmt::Debug for OriginFolder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("OriginFolder").finish_non_exhaustive()
    }
}

/// What the browser said, in its own words: the library's leave them out.
fn refused(error: OpfsSAHError) -> StoreError {
    let words = format!("{error:?}");
    if words.contains("NoModificationAllowedError") {
        StoreError::Busy
    } else {
        unusable(&words)
    }
}

fn unusable(words: &str) -> StoreError {
    StoreError::Io(std::io::Error::other(words.to_owned()))
}
