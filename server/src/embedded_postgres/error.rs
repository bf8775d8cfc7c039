//! Why the private Postgres does not run.

use std::{io, path::PathBuf, process::ExitStatus, time::Duration};

use crate::embedded_postgres::binaries::BinariesError;

/// Crash recovery of a district's store takes seconds; a start that takes longer is stuck.
pub(super) const START_TIME_MAX: Duration = Duration::from_mins(30);

/// Why there is no private Postgres. Every message is for the operator and says what to do.
#[derive(Debug, thiserror::Error)]
pub enum EmbeddedPostgresError {
    #[error(
        "the data folder {folder} is in use by another Lianka server{}; stop that one, or give this one its own with --data-dir",
        .process.as_ref().map(|process| format!(" (process {process})")).unwrap_or_default()
    )]
    InUse {
        folder: PathBuf,
        process: Option<String>,
    },
    #[error(transparent)]
    Binaries(#[from] BinariesError),
    #[error(
        "the cluster {folder} belongs to user {owner}, and this is user {user}: start the server as that user (or as root)"
    )]
    ForeignCluster {
        folder: PathBuf,
        owner: u32,
        user: u32,
    },
    #[error(
        "this machine has neither a user `postgres` nor `nobody`; Postgres refuses to run as root: start the server as an ordinary user"
    )]
    NoAccount,
    #[error(
        "an earlier Postgres (process {0}) on this data folder does not stop; end it with `kill -QUIT {0}` and start again"
    )]
    WillNotStop(i32),
    #[error("{program} did not work ({status}); {log} ends with:\n{tail}")]
    Failed {
        program: &'static str,
        status: ExitStatus,
        log: PathBuf,
        tail: String,
    },
    #[error("Postgres did not become ready within {} minutes; see {log}", START_TIME_MAX.as_secs() / 60)]
    TooSlow { log: PathBuf },
    #[error("stopped before Postgres was ready")]
    Stopped,
    #[error("{doing} {path}: {cause}")]
    Io {
        doing: &'static str,
        path: PathBuf,
        cause: io::Error,
    },
}
