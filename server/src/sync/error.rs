//! Why a synchronisation did not come about.

use crate::{street::error::PushError, sync::ingest::IngestError};

/// See the module.
#[derive(Debug, thiserror::Error)]
pub enum SyncError {
    #[error("the device is to stay away for a while")]
    Away { wait_s: u32 },
    #[error("the device has synchronisations under way")]
    TooManySyncs,
    #[error("the device gave way to others for too long")]
    GaveWay,
    #[error("others took all turns")]
    Overloaded,
    #[error("there is no such street")]
    NoStreet,
    #[error(transparent)]
    Ingest(#[from] IngestError),
    #[error(transparent)]
    Push(#[from] PushError),
    #[error("the store refused")]
    Store(#[from] sqlx::Error),
    #[error("reading ended early")]
    Task(#[from] tokio::task::JoinError),
}
