//! Rows: what a record says in typed members, and how they reach the tables of a read model. What a kind's row is, its own file says.

use serde::{Deserialize, Serialize};

use crate::{
    codec::change::Scalar,
    crdt::view::View,
    id::{DeviceId, RecordId},
    kinds::{
        kind::{Description, Meaning, Rows, Table},
        transfer::calendar::Calendar,
    },
    time::{DeviceTime, ServerTime},
};

/// A kind's row: what a record of it says, in typed members.
pub trait Row {
    /// Reads the record.
    fn project(record: RecordId, generation: u32, view: &View) -> Self;
    /// The record.
    fn record(&self) -> RecordId;
    /// The values in conflict.
    fn conflicts(&self) -> &[ConflictRow];
    /// Hands the row, and the rows of its lists, to the tables.
    fn store(self, stored: &Stored<'_>, tables: &mut impl Tables);
}

/// What the store adds to a row.
pub struct Stored<'s> {
    /// Sequence of the record's newest entry.
    pub seq: i64,
    /// Fields in conflict.
    pub conflict_count: i32,
    /// What the row was read from.
    pub view: &'s View,
    /// When the record came to the office.
    pub created_at: Option<ServerTime>,
    /// When an operation, as `counter@actor`, came to the office.
    pub received_at: &'s dyn Fn(&str) -> Option<ServerTime>,
    /// Which lists may differ from what is stored.
    pub touched: &'s Touched,
    /// Which days the street's terms count as working days.
    pub calendar: &'s Calendar,
}

/// Takes rows for tables, in memory; a column for each member of a row that the table has.
pub trait Tables {
    /// A record's own row, new or not.
    fn upsert(&mut self, table: &'static Table, row: &impl Serialize);
    /// The rows of a list, instead of all that the record had.
    fn replace<R: Serialize>(
        &mut self,
        table: &'static Table,
        record: RecordId,
        rows: impl IntoIterator<Item = R>,
    );
}

/// Which rows beside the record's own may differ from what is stored.
#[derive(Clone, Debug, Default)]
pub struct Touched {
    /// The lists and sets that were written.
    lists: Lists,
    /// What records are recognised by.
    pub keys: bool,
    /// Where it stands, or the record as which it goes on.
    pub place: bool,
    /// There were, or are, values in conflict.
    pub conflicts: bool,
}

#[derive(Clone, Debug)]
enum Lists {
    Every,
    These(Vec<&'static str>),
}

impl Default for Lists {
    fn default() -> Self {
        Self::These(Vec::new())
    }
}

impl Touched {
    /// Everything: a new record, or a rebuild.
    pub const ALL: Self = Self {
        lists: Lists::Every,
        keys: true,
        place: true,
        conflicts: true,
    };

    /// Notes that `key` of a record of the kind was written.
    pub fn note(&mut self, kind: &'static Description, key: &str) {
        let Some((field, _)) = kind.field(key) else {
            return;
        };
        if let (Lists::These(lists), Some(list)) = (&mut self.lists, field.list())
            && !lists.contains(&list)
        {
            lists.push(list);
        }
        let goes_on = field.meaning == Meaning::Succession;
        self.keys |= field.alike.is_some() || goes_on;
        self.place |= field.meaning == Meaning::Grid || goes_on;
    }

    /// Whether anything of this list was written.
    pub fn entries(&self, list: &str) -> bool {
        match &self.lists {
            Lists::Every => true,
            Lists::These(lists) => lists.contains(&list),
        }
    }

    /// Whether rows of the table may differ.
    pub fn list(&self, table: &Table) -> bool {
        table.of.list().is_some_and(|list| self.entries(list))
    }
}

impl Rows {
    /// The list or set whose members the rows are.
    pub const fn list(self) -> Option<&'static str> {
        match self {
            Self::Entries(list) | Self::EntriesTogether(list) | Self::Members(list) => Some(list),
            Self::Record | Self::Computed => None,
        }
    }
}

/// A row type: its members in order, those that are the winning text of the field of the same name marked `= text`.
macro_rules! row {
    ($(#[$meta:meta])* pub struct $row:ident { $($(#[$doc:meta])* $name:ident : $type:ty = $how:ident,)* }) => {
        $(#[$meta])*
        pub struct $row { $($(#[$doc])* pub $name: $type,)* }

        impl $row {
            /// Fills in the members that are texts of fields: `read` gives the field of that name.
            fn texts(mut self, read: impl Fn(&str) -> Option<String>) -> Self {
                $($crate::kinds::row::row!(@$how self read $name);)*
                self
            }
        }
    };
    (@text $self:ident $read:ident $name:ident) => {
        $self.$name = $read(stringify!($name));
    };
    (@own $self:ident $read:ident $name:ident) => {};
}
pub(crate) use row;

/// One of several differing values of a field. The last of a field's rows is the one shown in the roll.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct ConflictRow {
    /// The key.
    pub field: String,
    /// Operation id, `counter@actor`.
    pub op: String,
    /// The value.
    pub value: Scalar,
    /// The author's device.
    pub device: DeviceId,
    /// When the device says it was written.
    pub device_time: Option<DeviceTime>,
}

pub(super) fn conflicts(kind: &'static Description, view: &View) -> Vec<ConflictRow> {
    kind.conflicts(view)
        .flat_map(|(field, values)| {
            values.iter().map(|value| ConflictRow {
                field: field.to_owned(),
                op: format!("{}@{}", value.op.counter, value.op.actor),
                value: value.value.clone(),
                device: value.op.actor.device(),
                device_time: value.time,
            })
        })
        .collect()
}
