//! What goes over the wire and how it is read: the gate for untrusted changes, items, cursors.

pub mod block;
pub mod change;
pub mod cursor;
pub mod wire;
