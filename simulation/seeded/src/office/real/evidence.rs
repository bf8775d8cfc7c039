//! What the real office can be asked when all is quiet: from its API where that tells, otherwise from its tables.

use std::collections::BTreeMap;

use lianka_office_core::store::PersonalFields;
use lianka_server::street::{
    projection as project,
    store::{
        log_tail,
        records::{self, DocumentPage},
    },
};
use lianka_sync_core::{
    codec::change::Scalar, crdt::merge::RegisterState, id::RecordId, kinds::Kind,
};
use serde_json::Value;
use sqlx::{Row, types::Json};
use uuid::Uuid;

use super::Inner;
use crate::{
    office::{
        ChoiceLine, Evidence, HeldLine, JoinLine, LogLine, MergeLine, NoticeLine, OfficeRecord,
        desk, sealed, shown,
    },
    reading::won,
};

/// Tables of the audit chain, and of the migrations.
const NOT_STORED: [&str; 5] = [
    "audit_event",
    "audit_head",
    "audit_seal",
    "_sqlx_migrations",
    "_lianka_migrations",
];
const AUDIT_PAGE: usize = 200;

impl Inner {
    pub(super) async fn evidence(&mut self) -> Evidence {
        let audit = self.audit().await;
        let rows_differ = self.rows_differ().await;
        let mut conn = self.app.pool.acquire().await.expect("a connection");
        let head = log_tail::newest(&mut conn, &self.street, 0)
            .await
            .expect("the store answers")
            .expect("the street is there");
        drop(conn);
        Evidence {
            epoch: head.store_epoch,
            head: head.head as u64,
            log: self.log().await,
            records: self.records().await,
            held: self.held().await,
            conflicts: self.conflicts().await,
            notices: self.notices().await,
            choices: self.choices().await,
            merges: self.merges().await,
            joins: self.joins().await,
            told: audit.clone(),
            audit,
            rows_differ,
            stored: self.stored().await,
        }
    }

    async fn log(&self) -> Vec<LogLine> {
        let rows = sqlx::query_as::<_, (i64, String, Uuid, Option<Vec<u8>>)>(
            "select seq, type, record, hash from change_log order by seq",
        );
        let rows = rows.fetch_all(&self.app.pool).await.expect("the log");
        rows.into_iter()
            .map(|(seq, what, record, hash)| LogLine {
                seq: seq as u64,
                what,
                record,
                hash: hash.map(hex::encode),
            })
            .collect()
    }

    async fn records(&self) -> BTreeMap<Uuid, OfficeRecord> {
        let mut conn = self.app.pool.acquire().await.expect("a connection");
        let page = DocumentPage {
            grids: None,
            records: None,
            after: 0,
            limit: i64::MAX,
        };
        let documents = records::documents(&mut conn, &self.street, page)
            .await
            .expect("the documents");
        let rows = sqlx::query_as::<_, (Uuid, Vec<u8>)>("select record, state from record")
            .fetch_all(&mut *conn)
            .await
            .expect("the records");
        let mut states: BTreeMap<RecordId, RegisterState> = rows
            .into_iter()
            .map(|(record, state)| {
                (
                    RecordId(record),
                    RegisterState::from_bytes(&state).expect("a state parses"),
                )
            })
            .collect();
        let rows = sqlx::query_as("select record, fields from transfer_personal")
            .fetch_all(&mut *conn)
            .await;
        let rows: Vec<(Uuid, Json<PersonalFields>)> = rows.expect("what is sealed");
        let of_record = |record: RecordId| {
            let of = rows.iter().filter(move |(of, _)| *of == record.0);
            sealed(of.map(|(_, fields)| &fields.0))
        };
        let of = |document: records::Document| {
            let state = states.remove(&document.record)?;
            let (kind, grid, generation) =
                (document.kind, document.grid, document.generation as u32);
            Some((
                document.record.0,
                OfficeRecord {
                    kind,
                    grid,
                    generation,
                    fields: shown(&state.view()),
                    won: won(&state.view()),
                    sealed: of_record(document.record),
                    document: document.bytes,
                },
            ))
        };
        documents.into_iter().filter_map(of).collect()
    }

    /// A row of the inbox for each field, which the table has for each of its values.
    async fn conflicts(&self) -> Vec<(Uuid, String)> {
        let rows = sqlx::query_as("select distinct record, field from field_conflict")
            .fetch_all(&self.app.pool);
        let mut conflicts: Vec<_> = rows.await.expect("the conflicts");
        conflicts.sort();
        conflicts
    }

    async fn notices(&self) -> Vec<NoticeLine> {
        let rows = sqlx::query_as::<_, (String, String, Uuid, Option<String>, Value)>(
            "select username, kind, record, field, detail from notice",
        );
        let text = |value: &Value| value.as_str().map(str::to_owned);
        let rows = rows.fetch_all(&self.app.pool).await.expect("the notices");
        let mut notices: Vec<_> = rows
            .into_iter()
            .map(|(username, kind, record, field, detail)| NoticeLine {
                username,
                kind,
                record,
                field,
                hash: text(&detail["hash"]),
                note: text(&detail["note"]),
            })
            .collect();
        notices.sort();
        notices
    }

    async fn choices(&self) -> Vec<ChoiceLine> {
        type Row = (
            Uuid,
            String,
            Vec<u8>,
            i64,
            String,
            Option<String>,
            Option<Value>,
            Value,
            bool,
            bool,
        );
        let rows = sqlx::query_as::<_, Row>(
            "select record, field, hash, (extract(epoch from at) * 1000)::bigint, source, username, chosen, replaced, undone_at is not null, \
             bulk is not null from resolution",
        );
        let scalar = |value: &Value| {
            serde_json::from_value::<Scalar>(value.clone())
                .map_or_else(|_| value.to_string(), |value| desk::text(&value))
        };
        let rows = rows.fetch_all(&self.app.pool).await.expect("the choices");
        let mut choices: Vec<_> = rows
            .into_iter()
            .map(
                |(
                    record,
                    field,
                    hash,
                    at_unix_ms,
                    source,
                    username,
                    chosen,
                    replaced,
                    is_undone,
                    is_bulk,
                )| ChoiceLine {
                    record,
                    field,
                    hash: hex::encode(hash),
                    at_unix_ms,
                    source,
                    username,
                    chosen: chosen.as_ref().map(scalar),
                    replaced: replaced
                        .as_array()
                        .into_iter()
                        .flatten()
                        .map(|one| {
                            let username = one["username"].as_str().map(str::to_owned);
                            (scalar(&one["value"]), username)
                        })
                        .collect(),
                    is_undone,
                    is_bulk,
                },
            )
            .collect();
        choices.sort();
        choices
    }

    async fn merges(&self) -> Vec<MergeLine> {
        let rows = sqlx::query_as::<_, (Uuid, Uuid, bool)>(
            "select winner, loser, undone_at is not null from card_merge",
        );
        let rows = rows.fetch_all(&self.app.pool).await.expect("the merges");
        let mut merges: Vec<_> = rows
            .into_iter()
            .map(|(winner, loser, is_undone)| MergeLine {
                winner,
                loser,
                is_undone,
            })
            .collect();
        merges.sort();
        merges
    }

    async fn joins(&self) -> Vec<JoinLine> {
        let rows = sqlx::query_as::<_, (Uuid, Uuid, Uuid, bool)>(
            "select record, kept, gone, undone_at is not null from contact_join",
        );
        let rows = rows.fetch_all(&self.app.pool).await.expect("the joinings");
        let line = |(record, kept, gone, is_undone)| JoinLine {
            record,
            kept,
            gone,
            is_undone,
        };
        let mut joins: Vec<_> = rows.into_iter().map(line).collect();
        joins.sort();
        joins
    }

    async fn held(&self) -> Vec<HeldLine> {
        type Row = (Uuid, Vec<u8>, String, Option<String>);
        let rows = sqlx::query_as::<_, Row>("select record, hash, status, note from held_change");
        let line = |(record, hash, status, note): Row| HeldLine {
            record,
            hash: hex::encode(hash),
            status,
            note,
        };
        let mut held: Vec<_> = rows
            .fetch_all(&self.app.pool)
            .await
            .expect("what is held")
            .into_iter()
            .map(line)
            .collect();
        held.sort();
        held
    }

    /// The street's chain, the oldest first; with what its proof complains of, if anything, as a last event.
    async fn audit(&mut self) -> Vec<Value> {
        let mut events = Vec::new();
        for page in 1.. {
            let path = self.path(&format!("audit?page={page}&page_size={AUDIT_PAGE}"));
            let (_, mut answer) = self.ask(0, "GET", &path, &Value::Null).await;
            let Value::Array(items) = answer["items"].take() else {
                break;
            };
            let last = items.len() < AUDIT_PAGE;
            events.extend(items);
            if last {
                break;
            }
        }
        events.reverse();
        events
    }

    /// Where the read models are not what a rebuild makes of the records, or the audit trail's proof complains.
    async fn rows_differ(&mut self) -> Option<String> {
        let path = self.path("audit/verify");
        let (_, proof) = self.ask(0, "GET", &path, &Value::Null).await;
        if proof["ok"] != true {
            return Some(format!("audit: {}", proof["problems"]));
        }
        let before = self.rows().await;
        project::rebuild(&self.app.pool, &self.street, |_| ())
            .await
            .expect("the read models are rebuilt");
        let after = self.rows().await;
        let differs = |table: &&str| before.get(*table) != after.get(*table);
        let disputed = sqlx::query_scalar::<_, Uuid>(
            "select record from record where disputed_at is not null",
        )
        .fetch_optional(&self.app.pool);
        let disputed = disputed.await.expect("the records");
        Kind::read_models()
            .find(differs)
            .map(|table| {
                format!(
                    "{table}: {:?} and rebuilt {:?}",
                    before.get(table),
                    after.get(table)
                )
            })
            .or_else(|| {
                disputed.map(|record| format!("{record}: its document and its state differ"))
            })
    }

    async fn rows(&self) -> BTreeMap<&'static str, Vec<String>> {
        let mut rows = BTreeMap::new();
        for table in Kind::read_models() {
            rows.insert(
                table,
                self.texts(&format!(
                    "select to_jsonb(t)::text from {table} t order by 1"
                ))
                .await,
            );
        }
        rows
    }

    async fn texts(&self, statement: &str) -> Vec<String> {
        // Names of tables cannot be bound; they are our own.
        let rows = sqlx::query(sqlx::AssertSqlSafe(statement))
            .fetch_all(&self.app.pool)
            .await
            .expect("the statement works");
        rows.iter().map(|row| row.get(0)).collect()
    }

    /// Every value of every table, byte strings as they are.
    async fn stored(&self) -> Vec<u8> {
        let mut stored = Vec::new();
        for table in self.texts("select table_name::text from information_schema.tables where table_schema = 'public' order by 1").await {
            if NOT_STORED.contains(&table.as_str()) {
                continue;
            }
            for row in self.texts(&format!("select to_jsonb(t)::text from {table} t")).await {
                unpack(&serde_json::from_str(&row).unwrap_or_default(), &mut stored);
            }
        }
        stored
    }
}

/// Texts and byte strings, which Postgres writes as `\x…`, one after another.
fn unpack(value: &Value, stored: &mut Vec<u8>) {
    match value {
        Value::String(text) => {
            match text
                .strip_prefix("\\x")
                .and_then(|digits| hex::decode(digits).ok())
            {
                Some(bytes) => stored.extend(bytes),
                None => stored.extend(text.as_bytes()),
            }
            stored.push(b'\n');
        }
        Value::Array(values) => values.iter().for_each(|value| unpack(value, stored)),
        Value::Object(values) => {
            for (key, value) in values {
                stored.extend(key.as_bytes());
                unpack(value, stored);
            }
        }
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}
