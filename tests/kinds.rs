//! What the kinds say of themselves, held against the database: a field without a column, or a column that no field explains, fails here.

use std::collections::{BTreeMap, BTreeSet};

use lianka_sync_core::kinds::{Kind, Meaning, Rows, Shape, Table};
use lianka_tests::fresh_database;
use sqlx::ConnectOptions;

/// Columns that every table of the kind of rows has.
const EVERY: &[&str] = &["street", "record"];
const OWN: &[&str] = &["grid", "generation", "seq", "conflict_count"];
const OF_ENTRY: &[&str] = &["entry"];
/// What a table of whole events has beside the event's own fields, and a table of keys.
const OF_EVENT: &[&str] = &[
    "event",
    "no",
    "type",
    "seen",
    "fields",
    "device",
    "device_time",
    "received_at",
    "outcome",
    "code",
    "state",
    "ruled_at",
    "username",
];
const COMPUTED: &[&str] = &["key"];

fn columns(kind: Kind, table: &Table) -> BTreeSet<&'static str> {
    let fields = kind.fields().iter().filter(|field| field.stored);
    let derived_from = |name: &str| {
        kind.description()
            .tables
            .iter()
            .flat_map(|table| table.derived)
            .any(|derived| derived.of == Some(name))
    };
    let fields: Vec<&str> = fields
        .filter(|field| field.meaning != Meaning::Identity && !derived_from(field.name))
        .filter(|field| match (table.of, field.shape) {
            (Rows::Record, Shape::Register | Shape::Custom) => true,
            // A set without a table of its own is an array.
            (Rows::Record, Shape::SetMember | Shape::SetOfDays) => !kind
                .description()
                .tables
                .iter()
                .any(|of| of.of.list() == Some(field.name)),
            (Rows::Entries(list), Shape::Entry { list: of }) => list == of,
            _ => false,
        })
        .map(|field| field.name)
        .collect();
    let given: &[&str] = match table.of {
        Rows::Record => OWN,
        Rows::Entries(_) => OF_ENTRY,
        Rows::EntriesTogether(_) => OF_EVENT,
        Rows::Members(_) => &["tag"],
        Rows::Computed => COMPUTED,
    };
    let derived = table.derived.iter().map(|derived| derived.column);
    EVERY
        .iter()
        .chain(given)
        .copied()
        .chain(derived)
        .chain(fields)
        .collect()
}

#[tokio::test]
async fn every_field_has_its_column_and_every_column_its_field() {
    let database = fresh_database().await;
    let mut connection = database.options.connect().await.expect("a connection");
    let rows: Vec<(String, String)> = sqlx::query_as(
        "select table_name::text, column_name::text from information_schema.columns where table_schema = 'public'",
    )
    .fetch_all(&mut connection)
    .await
    .expect("the catalogue");
    let mut stored: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for (table, column) in rows {
        stored.entry(table).or_default().insert(column);
    }
    for kind in Kind::ALL {
        for table in kind.description().tables {
            let said: BTreeSet<String> = columns(kind, table)
                .into_iter()
                .map(str::to_owned)
                .collect();
            assert_eq!(
                stored.get(table.name),
                Some(&said),
                "{kind}: table {}",
                table.name
            );
        }
    }
}

#[test]
fn what_a_kind_says_hangs_together() {
    for kind in Kind::ALL {
        let description = kind.description();
        let field = |name: &str| description.fields.iter().any(|field| field.name == name);
        assert_eq!(kind.as_str(), description.name);
        for table in description.tables {
            for derived in table.derived {
                assert!(derived.of.is_none_or(field), "{kind}: {}", derived.column);
            }
        }
        assert!(description.belongs_to.is_none_or(field), "{kind}");
        let mut places: Vec<_> = description
            .fields
            .iter()
            .filter_map(|field| field.export)
            .chain(
                description
                    .tables
                    .iter()
                    .flat_map(|table| table.derived)
                    .filter_map(|derived| derived.export.map(|(place, ..)| place)),
            )
            .collect();
        places.sort_unstable();
        let all = places.len();
        places.dedup();
        assert_eq!(
            places.len(),
            all,
            "{kind}: two columns of the export in one place"
        );
    }
}
