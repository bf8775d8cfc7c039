//! What the server does in the background.

pub mod compaction;
pub mod health;
pub mod holidays;
pub mod imports;
pub mod leases;
pub mod passes;
pub mod refresh;
pub mod sealing;
pub mod store;
pub mod store_watch;
pub mod supervisor;
pub mod transfer_clock;
pub mod trimming;
