//! What the kinds say of themselves, held against the database: a field without a column, or a column that no field explains, fails here.

use std::collections::{BTreeMap, BTreeSet};

use lianka_sync_core::{
    codec::change::Scalar,
    crdt::record::{Edit, Record},
    id::{Actor, DeviceId, RecordId},
    kinds::{
        Kind, Meaning, Rows, Rule, Shape, Table,
        projection::{self, Stored, Tables, Touched},
        transfer::calendar::Calendar,
    },
    time::DeviceTime,
};
use lianka_tests::fresh_database;
use serde::Serialize;
use sqlx::ConnectOptions;
use uuid::Uuid;

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

/// What the rows of each table say, by member; those that say nothing are left out.
#[derive(Default)]
struct Said(BTreeMap<&'static str, BTreeSet<String>>);

impl Said {
    fn take(&mut self, table: &'static Table, row: &impl Serialize) {
        let row = serde_json::to_value(row).expect("plain rows");
        let members = row.as_object().expect("a row has members").iter();
        let said = members.filter(|(_, value)| !value.is_null());
        let names = said.map(|(name, _)| name.clone());
        self.0.entry(table.name).or_default().extend(names);
    }
}

impl Tables for Said {
    fn upsert(&mut self, table: &'static Table, row: &impl Serialize) {
        self.take(table, row);
    }

    fn replace<R: Serialize>(
        &mut self,
        table: &'static Table,
        _: RecordId,
        rows: impl IntoIterator<Item = R>,
    ) {
        rows.into_iter().for_each(|row| self.take(table, &row));
    }
}

const ENTRY: &str = "0198c0de-0000-7000-8000-00000000000a";
const DAY: &str = "2026-11-20";

/// A value that keeps a field's rule.
fn value(kind: Kind, rule: &Rule) -> &'static str {
    match rule {
        Rule::Kind => kind.as_str(),
        Rule::Date => DAY,
        Rule::Minute => "2026-11-20T10:00",
        Rule::Point => "geo:31.2,121.4;crs=wgs84",
        Rule::Entry => ENTRY,
        Rule::OneOf(words) => words.first().expect("a list has words"),
        Rule::Text(_) | Rule::Whole(..) | Rule::Flag | Rule::Note => "1",
    }
}

/// A record of which every field says something has a row of which every column of a field does: the member of the row was not forgotten.
#[test]
fn every_field_that_is_stored_reaches_its_row() {
    for kind in Kind::ALL {
        let mut edits: Vec<Edit> = Vec::new();
        for field in kind.fields() {
            let key = field
                .pattern()
                .replace("<entry>", ENTRY)
                .replace("<YYYY-MM-DD>", DAY)
                .replace(['<', '>'], "");
            let value = value(kind, &field.rule).to_owned();
            edits.push(match field.rule {
                Rule::Note => Edit::Note { text: value },
                _ => Edit::Put {
                    key,
                    value: Scalar::Str(value),
                },
            });
        }
        let actor = Actor::new(DeviceId(Uuid::from_u128(1)), 1);
        let at = DeviceTime::from_unix_seconds(1_795_248_000);
        let (mut document, _) = Record::create(actor, at, &edits).expect("a record");
        let view = document.view().expect("readable");
        let record = RecordId(Uuid::from_u128(2));
        let row = projection::project(record, 1, &view).expect("a kind");
        let mut said = Said::default();
        let calendar = Calendar::default();
        row.store(
            &Stored {
                seq: 1,
                conflict_count: 0,
                view: &view,
                created_at: None,
                received_at: &|_| None,
                touched: &Touched::ALL,
                calendar: &calendar,
            },
            &mut said,
        );
        for table in kind.description().tables {
            let (Rows::Record | Rows::Entries(_)) = table.of else {
                continue;
            };
            let columns = columns(kind, table);
            // What follows from more than a field says something only where the record does.
            let follows = |name: &str| table.derived.iter().any(|one| one.column == name);
            let of_fields: BTreeSet<String> = kind
                .fields()
                .iter()
                .map(|field| field.name)
                .filter(|name| columns.contains(name) && !EVERY.contains(name) && !follows(name))
                .map(str::to_owned)
                .collect();
            let said = said.0.get(table.name).cloned().unwrap_or_default();
            let silent: Vec<_> = of_fields.difference(&said).collect();
            assert!(
                silent.is_empty(),
                "{kind}: no member of the row says {silent:?} to {}",
                table.name
            );
        }
    }
}

/// What belongs to a record is looked up by it.
#[tokio::test]
async fn every_kind_that_belongs_to_another_is_found_by_it() {
    let database = fresh_database().await;
    let mut connection = database.options.connect().await.expect("a connection");
    for kind in Kind::ALL {
        let Some(owner) = kind.description().belongs_to else {
            continue;
        };
        let own = kind.description().tables.iter();
        for table in own.filter(|table| table.of == Rows::Record) {
            let found: bool = sqlx::query_scalar(
                "select exists (select from pg_indexes where tablename = $1 and indexdef ~ ('[(]street, ' || $2 || '[,)]'))",
            )
            .bind(table.name)
            .bind(owner)
            .fetch_one(&mut connection)
            .await
            .expect("the catalogue");
            assert!(
                found,
                "{kind}: no index of {} begins with (street, {owner})",
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
