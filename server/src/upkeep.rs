//! What the server does in the background.

pub mod compaction;
pub mod refresh;
pub mod sealing;
pub mod store;
pub mod store_watch;
pub mod transfer_clock;
pub mod trimming;
