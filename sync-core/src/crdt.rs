//! Records as merged content: documents, registers, conflicts, rebuilding, reading.

pub mod conflict;
pub mod merge;
pub mod note;
pub mod rebuild;
pub mod record;
pub mod view;
