//! PROJECT, pure: a record's view → the typed rows that a street office queries, and the tables that they go into.
//!
//! The phone projects its own copies the same way, so its list, the office's table and a digest over either can be compared.

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

pub use super::{
    row::{ConflictRow, Row, Stored, Tables, Touched},
    shop_card::{CardRow, ConsentRow, ContactRow},
    transfer_request::{TransferEventRow, TransferRow},
    visit::VisitRow,
};
use crate::{
    crdt::view::View,
    id::RecordId,
    kinds::{self, Kind},
};

macro_rules! projected {
    ($($(#[$doc:meta])* $kind:ident = $module:ident :: $row:ident,)*) => {
        /// What a record becomes.
        #[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
        #[serde(tag = "kind", rename_all = "snake_case")]
        pub enum Projected {
            $($(#[$doc])* $kind(Box<kinds::$module::$row>),)*
        }

        impl Projected {
            /// The record it is of.
            pub fn record(&self) -> RecordId {
                match self {
                    $(Self::$kind(row) => row.record(),)*
                }
            }

            /// The values in conflict.
            pub fn conflicts(&self) -> &[ConflictRow] {
                match self {
                    $(Self::$kind(row) => row.conflicts(),)*
                }
            }

            /// Hands its rows to the tables.
            pub fn store(self, stored: &Stored<'_>, tables: &mut impl Tables) {
                match self {
                    $(Self::$kind(row) => row.store(stored, tables),)*
                }
            }

            /// The row of a record of `kind`.
            fn of(kind: Kind, record: RecordId, generation: u32, view: &View) -> Self {
                match kind {
                    $(Kind::$kind => Self::$kind(Box::new(kinds::$module::$row::project(record, generation, view))),)*
                }
            }
        }
    };
}
kinds::with_kinds!(projected);

/// Projects a record; `None` where the view has no kind, which no accepted record lacks.
pub fn project(record: RecordId, generation: u32, view: &View) -> Option<Projected> {
    Some(Projected::of(Kind::of(view)?, record, generation, view))
}

/// SHA-256 over the rows in order of record id: two stores that hold the same records have the same digest.
pub fn digest<'p>(rows: impl IntoIterator<Item = &'p Projected>) -> [u8; 32] {
    let mut rows: Vec<_> = rows.into_iter().collect();
    rows.sort_by_key(|row| row.record());
    let mut hasher = Sha256::new();
    for row in rows {
        // Serialising plain rows has no way to fail; field order is the struct's, map order is the keys'.
        hasher.update(serde_json::to_vec(row).unwrap_or_default());
        hasher.update(b"\n");
    }
    hasher.finalize().into()
}
