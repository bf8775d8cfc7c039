//! A phone's store as one file of its owner's, and the lock that lets one process synchronise at a time.
//!
//! Several processes may open one file. It is readable by its owner only.

use std::{
    fs::{File, OpenOptions},
    path::Path,
    time::Duration,
};

use rusqlite::Connection;

use crate::local_store::{LocalStore, StoreError};

/// How long a transaction waits for another process.
const BUSY_MS_MAX: u64 = 10_000;

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
        let connection = Connection::open(path)?;
        connection.busy_timeout(Duration::from_millis(BUSY_MS_MAX))?;
        Self::over(connection, path)
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
