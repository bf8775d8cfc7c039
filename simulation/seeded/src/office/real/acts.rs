//! Acts at desks, as HTTP requests. What an act names is looked up in the store, as a desk's screen would show it.

use lianka_office_core::{
    acts::{Desk, import::RowUndone},
    follow::op_text,
};
use lianka_server::street::transaction;
use lianka_sync_core::{
    access::Role,
    crdt::{conflict::HarmlessClass, merge::RegisterState},
    id::{DeviceId, EntryId, RecordId},
    kinds::{
        duplicate::{pair_id, persons},
        key,
        transfer::Case,
    },
};
use serde_json::{Value, json};
use sqlx::Row;
use uuid::Uuid;

use super::{Inner, desk};
use crate::office::{Act, Acted, HeldId, Look, Looked, SheetRow};

const ADMIN: usize = 0;
const REVIEWER: usize = 1;
const FIRST_OFFICER: usize = 2;

/// What an answer means to whoever acted.
fn acted(status: u16, answer: &Value) -> Acted {
    let text = |key: &str| answer[key].as_str().map(str::to_owned);
    match status {
        200..300 => Acted::Done,
        404 => Acted::Nothing,
        _ => Acted::Refused(
            text("rule")
                .or_else(|| text("code"))
                .unwrap_or_else(|| status.to_string()),
        ),
    }
}

fn values(set: &[(String, Option<String>)]) -> serde_json::Map<String, Value> {
    let value = |(key, text): &(String, Option<String>)| {
        let value = text.as_ref().map(|text| desk::scalar(key, text));
        (key.clone(), json!(value))
    };
    set.iter().map(value).collect()
}

impl Inner {
    pub(super) async fn act(&mut self, act: &Act) -> Acted {
        match act {
            Act::Enrol { username } => {
                let (status, made) = self
                    .ask(
                        ADMIN,
                        "POST",
                        "/v1/enrolments",
                        &json!({ "username": username }),
                    )
                    .await;
                made["code"].as_str().map_or_else(
                    || unknown(acted(status, &made)),
                    |code| Acted::Code(code.to_owned()),
                )
            }
            Act::Assign { username, grids } => {
                let path = self.path(&format!("assignments/{username}"));
                self.do_it(ADMIN, "PUT", &path, json!({ "grids": grids }))
                    .await
            }
            Act::Role { username, role } => {
                let path = format!("/v1/users/{username}");
                let body = json!({ "role": role });
                self.do_it(ADMIN, "PATCH", &path, body).await
            }
            Act::Revoke { device, wipe } => {
                self.do_it(
                    ADMIN,
                    "DELETE",
                    &format!("/v1/devices/{device}?wipe={wipe}"),
                    Value::Null,
                )
                .await
            }
            Act::Edit {
                record,
                set,
                looked,
            } => self.edit(*record, set, *looked).await,
            Act::Create { record, grid, set } => self.create(*record, grid, set).await,
            Act::ResolveSpelling => {
                let path = self.path("conflicts/resolutions");
                let body = json!({ "class": HarmlessClass::Spelling.as_str() });
                let (status, answer) = self.ask(REVIEWER, "POST", &path, &body).await;
                if status == 200 && answer["bulk"].is_null() {
                    Acted::Nothing
                } else {
                    acted(status, &answer)
                }
            }
            Act::Resolve {
                record,
                field,
                nth,
                instead,
                looked_at,
            } => {
                self.resolve(*record, field, *nth, instead.as_deref(), *looked_at)
                    .await
            }
            Act::UndoChoice {
                record,
                field,
                force,
            } => self.undo_choice(*record, field, *force).await,
            Act::Held { held, accept } => self.decide_held(held, *accept, false, false).await,
            Act::HeldAgain { held, accept } => self.decide_held(held, *accept, true, false).await,
            Act::HeldAsEdit { held } => self.decide_held(held, true, false, true).await,
            Act::Move { records, grid } => self.move_to(records, grid).await,
            Act::Merge { winner, loser } => self.merge_cards(*winner, *loser).await,
            Act::UndoMerge { winner, loser } => self.undo_merge(*winner, *loser).await,
            Act::JoinContacts { record, kept, gone } => {
                self.join_contacts(*record, *kept, *gone).await
            }
            Act::PartContacts { record, kept, gone } => {
                self.part_contacts(*record, *kept, *gone).await
            }
            Act::Erase { record } => {
                let path = self.path(&format!("records/{record}/erase"));
                self.do_it(
                    ADMIN,
                    "POST",
                    &path,
                    json!({ "reason": desk::ERASE_REASON }),
                )
                .await
            }
            Act::Redact { record, entry } => {
                let body = json!({ "entry": entry, "reason": desk::ERASE_REASON });
                self.redact(*record, body).await
            }
            Act::RedactMember { record, key } => {
                let body = json!({ "member": key, "reason": desk::ERASE_REASON });
                self.redact(*record, body).await
            }
            Act::Step {
                record,
                step,
                fields,
            } => self.step(RecordId(*record), step, fields).await,
            Act::WriteRows { import, rows } => self.write_rows(*import, rows).await,
            Act::UndoRows { import } => self.undo_rows(*import).await,
            Act::PrepareCompaction { record } => self.prepare_compaction(RecordId(*record)).await,
            Act::Compact { record } => self.compact(RecordId(*record)).await,
            Act::Backup => {
                self.back_up().await;
                Acted::Done
            }
            Act::Restore => self.restore().await,
            Act::Failover | Act::Restart => {
                self.restart().await;
                Acted::Done
            }
        }
    }

    async fn do_it(&mut self, nth: usize, method: &str, path: &str, body: Value) -> Acted {
        let (status, answer) = self.ask(nth, method, path, &body).await;
        acted(status, &answer)
    }

    async fn redact(&mut self, record: Uuid, body: Value) -> Acted {
        let path = self.path(&format!("records/{record}/redact"));
        unknown(self.do_it(ADMIN, "POST", &path, body).await)
    }

    async fn create(
        &mut self,
        record: Uuid,
        grid: &str,
        set: &[(String, Option<String>)],
    ) -> Acted {
        let mut set = values(set);
        set.insert(key::GRID.to_owned(), json!(grid));
        let path = self.path("records");
        self.do_it(
            REVIEWER,
            "POST",
            &path,
            json!({ "record": record, "set": set }),
        )
        .await
    }

    async fn edit(
        &mut self,
        record: Uuid,
        set: &[(String, Option<String>)],
        looked: Looked,
    ) -> Acted {
        let heads = match looked {
            Looked::Unsaid => None,
            Looked::Now => {
                let state = self.state(RecordId(record)).await;
                Some(state.map(|state| state.heads()).unwrap_or_default())
            }
            Looked::Before => Some(Vec::new()),
        };
        let path = self.path(&format!("records/{record}/edits"));
        let body = json!({ "set": values(set), "expected_heads": heads });
        let (status, answer) = self.ask(REVIEWER, "POST", &path, &body).await;
        // The record may say so already.
        if status == 200 && answer["change"].is_null() {
            Acted::Nothing
        } else {
            acted(status, &answer)
        }
    }

    pub(super) async fn state(&self, record: RecordId) -> Option<RegisterState> {
        let row = sqlx::query("select state from record where record = $1")
            .bind(record.0)
            .fetch_optional(&self.app.pool);
        let bytes: Vec<u8> = row.await.expect("the store answers")?.get(0);
        Some(RegisterState::from_bytes(&bytes).expect("the state parses"))
    }

    pub(super) async fn look(&self, records: &[Uuid]) -> Look {
        let head = sqlx::query_scalar("select head_seq from street where street = $1")
            .bind(self.street.as_str())
            .fetch_one(&self.app.pool);
        let mut look = Look {
            head: head.await.expect("the street has a head"),
            records: std::collections::BTreeMap::new(),
        };
        for record in records {
            let state = self.state(RecordId(*record)).await;
            let fields = state.map(|state| desk::shown(&state.view()));
            look.records.insert(*record, fields);
        }
        look
    }

    fn reviewer(&self) -> Desk {
        Desk {
            username: desk::REVIEWER.to_owned(),
            device: DeviceId(self.desks[REVIEWER].device),
            role: Role::Reviewer,
        }
    }

    /// Not through the API, which takes whole files: how a file becomes rows is not decided by the office's core.
    async fn write_rows(&mut self, import: Uuid, rows: &[SheetRow]) -> Acted {
        let write = desk::write_rows(self.reviewer(), &self.street, import, rows);
        let (pool, now) = (&self.app.pool, self.clock.now());
        match transaction::act(pool, &self.street, now, write).await {
            Ok(written) => {
                let undo = desk::undo_of(rows, written);
                let is_done = !undo.is_empty();
                self.imports.insert(import, undo);
                if is_done { Acted::Done } else { Acted::Nothing }
            }
            Err(_) => Acted::Refused("internal".into()),
        }
    }

    async fn undo_rows(&mut self, import: Uuid) -> Acted {
        let Some(rows) = self.imports.remove(&import) else {
            return Acted::Nothing;
        };
        let undo = desk::undo_rows(self.reviewer(), import, rows);
        let (pool, now) = (&self.app.pool, self.clock.now());
        match transaction::act(pool, &self.street, now, undo).await {
            Ok(undone) if undone.iter().any(|row| *row != RowUndone::Kept) => Acted::Done,
            Ok(_) => Acted::Nothing,
            Err(_) => Acted::Refused("internal".into()),
        }
    }

    async fn resolve(
        &mut self,
        record: Uuid,
        field: &str,
        nth: usize,
        instead: Option<&str>,
        looked_at: Option<usize>,
    ) -> Acted {
        let Some(state) = self.state(RecordId(record)).await else {
            return Acted::Nothing;
        };
        let mut visible = state.visible(field);
        visible.truncate(looked_at.unwrap_or(usize::MAX));
        let seen: Option<Vec<_>> =
            looked_at.map(|_| visible.iter().map(|(op, _)| op_text(*op)).collect());
        let shown: std::collections::BTreeMap<_, _> = visible
            .into_iter()
            .map(|(_, value)| (desk::text(&value), value))
            .collect();
        let conflict = shown.len() > 1
            && state
                .kind()
                .field(field)
                .is_some_and(|(field, _)| field.keeps_conflicts());
        let Some(value) = shown.values().nth(nth).filter(|_| conflict) else {
            return Acted::Nothing;
        };
        let value = instead.map_or_else(|| value.clone(), |text| desk::scalar(field, text));
        let path = self.path(&format!("records/{record}/resolutions"));
        self.do_it(
            REVIEWER,
            "POST",
            &path,
            json!({ "field": field, "value": value, "seen": seen }),
        )
        .await
    }

    async fn undo_choice(&mut self, record: Uuid, field: &str, force: bool) -> Acted {
        let newest = sqlx::query_scalar::<_, Uuid>(
            "select resolution from resolution where record = $1 and field = $2 order by seq desc, hash desc limit 1",
        );
        let newest = newest.bind(record).bind(field);
        let newest = newest.fetch_optional(&self.app.pool).await;
        let Some(resolution) = newest.expect("the store answers") else {
            return Acted::Nothing;
        };
        let path = self.path(&format!("resolutions/{resolution}/undo"));
        self.do_it(REVIEWER, "POST", &path, json!({ "force": force }))
            .await
    }

    /// The rows of what waits for a reviewer, or is decided, in the order of record, hash and generation.
    pub(super) async fn held_rows(&self, decided: bool) -> Vec<(Uuid, HeldId)> {
        let rows = sqlx::query_as(
            "select held, record, encode(hash, 'hex') from held_change where (status <> 'held') = $1 order by record, hash, generation",
        );
        let rows: Vec<(Uuid, Uuid, String)> = rows
            .bind(decided)
            .fetch_all(&self.app.pool)
            .await
            .expect("the store answers");
        rows.into_iter()
            .map(|(held, record, hash)| (held, (record, hash)))
            .collect()
    }

    async fn decide_held(
        &mut self,
        id: &HeldId,
        accept: bool,
        decided: bool,
        as_edit: bool,
    ) -> Acted {
        let rows = self.held_rows(decided).await;
        let Some((held, _)) = rows.into_iter().find(|(_, of)| of == id) else {
            return Acted::Nothing;
        };
        let (path, body) = if accept {
            (
                format!("held/{held}/accept"),
                json!({ "with_needed": true, "as_edit": as_edit }),
            )
        } else {
            (
                format!("held/{held}/refuse"),
                json!({ "reason": desk::HELD_REASON }),
            )
        };
        let path = self.path(&path);
        self.do_it(REVIEWER, "POST", &path, body).await
    }

    async fn move_to(&mut self, records: &[Uuid], grid: &str) -> Acted {
        let rows = sqlx::query_scalar::<_, Uuid>(
            "select record from record where record = any($1) order by record",
        )
        .bind(records);
        let there = rows
            .fetch_all(&self.app.pool)
            .await
            .expect("the store answers");
        if there.is_empty() {
            return Acted::Nothing;
        }
        let path = self.path("moves");
        let (status, answer) = self
            .ask(
                REVIEWER,
                "POST",
                &path,
                &json!({ "records": there, "to_grid": grid }),
            )
            .await;
        let moved = answer["moved"]
            .as_array()
            .is_some_and(|moved| !moved.is_empty());
        if status == 200 && !moved {
            Acted::Nothing
        } else {
            acted(status, &answer)
        }
    }

    async fn merge_cards(&mut self, winner: Uuid, loser: Uuid) -> Acted {
        let path = self.path(&format!(
            "duplicates/{}/merge",
            pair_id(RecordId(winner), RecordId(loser))
        ));
        let (status, answer) = self
            .ask(
                REVIEWER,
                "POST",
                &path,
                &json!({ "winner": winner, "loser": loser }),
            )
            .await;
        if status == 200 {
            let epoch = sqlx::query_scalar::<_, i64>(
                "select epoch from card_merge order by merge desc limit 1",
            )
            .fetch_one(&self.app.pool);
            self.recorded
                .merges
                .push(epoch.await.expect("the merge was noted") as u32);
        }
        acted(status, &answer)
    }

    async fn undo_merge(&mut self, winner: Uuid, loser: Uuid) -> Acted {
        let newest = sqlx::query_scalar::<_, Uuid>(
            "select merge from card_merge where winner = $1 and loser = $2 order by undone_at is not null, merged_at desc limit 1",
        );
        let newest = newest.bind(winner).bind(loser);
        let newest = newest.fetch_optional(&self.app.pool).await;
        let Some(merge) = newest.expect("the store answers") else {
            return Acted::Nothing;
        };
        let path = self.path(&format!("merges/{merge}/undo"));
        self.do_it(REVIEWER, "POST", &path, json!({})).await
    }

    async fn join_contacts(&mut self, record: Uuid, kept: Uuid, gone: Uuid) -> Acted {
        let pair = persons::pair_id(RecordId(record), EntryId(kept), EntryId(gone));
        let path = self.path(&format!("duplicates/contacts/{pair}/join"));
        let body = json!({ "record": record, "kept": kept, "gone": gone });
        let (status, answer) = self.ask(REVIEWER, "POST", &path, &body).await;
        if status == 200 {
            let join: Option<Uuid> = answer["join"].as_str().and_then(|join| join.parse().ok());
            self.recorded.joins.extend(join);
            let epoch =
                sqlx::query_scalar::<_, i64>("select epoch from contact_join where join_id = $1")
                    .bind(join.unwrap_or(Uuid::nil()))
                    .fetch_one(&self.app.pool);
            let epoch = epoch.await.expect("the joining was noted");
            self.recorded.merges.push(epoch as u32);
        }
        unknown(acted(status, &answer))
    }

    async fn part_contacts(&mut self, record: Uuid, kept: Uuid, gone: Uuid) -> Acted {
        let newest = sqlx::query_scalar::<_, Uuid>(
            "select join_id from contact_join where record = $1 and kept = $2 and gone = $3 order by undone_at is not null, joined_at desc limit 1",
        );
        let newest = newest.bind(record).bind(kept).bind(gone);
        let newest = newest.fetch_optional(&self.app.pool).await;
        let Some(join) = newest.expect("the store answers") else {
            return Acted::Nothing;
        };
        let path = self.path(&format!("contact-joins/{join}/undo"));
        self.do_it(REVIEWER, "POST", &path, json!({})).await
    }

    async fn step(&mut self, record: RecordId, step: &str, fields: &[(String, String)]) -> Acted {
        let nth = *self
            .steps
            .entry(record)
            .and_modify(|nth| *nth += 1)
            .or_insert(0);
        let seen = self
            .state(record)
            .await
            .and_then(|state| Case::of(&state.view()).now.last);
        let event = desk::event_id(record, nth, self.clock.now());
        let mut body = serde_json::Map::from_iter([
            ("type".to_owned(), json!(step)),
            ("event".to_owned(), json!(event)),
            ("seen".to_owned(), json!(seen)),
        ]);
        body.extend(
            fields
                .iter()
                .map(|(name, value)| (name.clone(), json!(value))),
        );
        let path = self.path(&format!("transfers/{record}/events"));
        self.do_it(
            FIRST_OFFICER + desk::officer(nth),
            "POST",
            &path,
            Value::Object(body),
        )
        .await
    }
}

/// A user or a person who is not there is a field that names nothing.
fn unknown(acted: Acted) -> Acted {
    if acted == Acted::Refused("exists".into()) {
        Acted::Nothing
    } else {
        acted
    }
}
