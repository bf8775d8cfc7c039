//! Frozen phones: today's client opens an old phone's file, shows what the old one showed, and brings the office everything that waited in it.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::Path,
};

use lianka_client::{
    clock::{Clock, Entropy},
    local_store::StoreError,
    phone::{Backoff, Phone, PhoneError},
    transport::Transport,
};
use lianka_sync_core::{
    codec::cursor::Cursor, crdt::record::Edit, id::RecordId, lang::Lang, time::DeviceTime,
};
use serde_json::{Value, json};

use super::{Frozen, Upgraded, lost, nothing_lost};

/// Opens a copy under the clock that was frozen with it.
fn open(file: &Path, at_ms: i64) -> Result<Phone, PhoneError> {
    let clock = Clock::Fixed(std::sync::Arc::new(at_ms.into()));
    Ok(Phone::open(file)?
        .with_clock(clock)
        .with_entropy(Entropy::seeded(7))
        .with_lang(Lang::En)
        .with_backoff(Backoff {
            tries_max: 1,
            ..Backoff::default()
        }))
}

/// A record as `lianka-phone show --json` prints it.
fn shown(phone: &Phone, record: RecordId) -> Result<Value, PhoneError> {
    let (view, own) = (phone.view(record)?, phone.identity()?.device);
    let values: serde_json::Map<_, _> = view
        .values
        .iter()
        .map(|(key, values)| {
            let value = |value: &lianka_sync_core::crdt::view::Value| {
                let device = value.op.actor.device();
                json!({ "value": value.value, "device": device, "own": device == own, "time": value.time })
            };
            (key.clone(), values.iter().map(value).collect())
        })
        .collect();
    let conflicts: Vec<_> = lianka_sync_core::kinds::conflicts(&view)
        .map(|(key, _)| key)
        .collect();
    Ok(json!({
        "record": record, "values": values, "note": view.note, "conflicts": conflicts, "outbox": phone.outbox_of(record)?, "row": phone.project(record)?,
    }))
}

#[test]
fn todays_client_shows_what_the_old_one_showed() {
    for frozen in Frozen::every() {
        let (_folder, files) = frozen.phones();
        let (mut problems, mut records) = (Vec::new(), 0);
        for (name, file) in &files {
            let old = &frozen.said["phones"][name];
            if old.is_null() {
                let error = open(file, frozen.at_ms).expect_err("a wiped phone stays wiped");
                assert!(
                    matches!(error, PhoneError::Store(StoreError::Wiped(_))),
                    "{error}"
                );
                continue;
            }
            let phone = open(file, frozen.at_ms).expect("the file opens");
            for (record, old) in old["records"].as_object().expect("records") {
                let new = shown(&phone, record.parse().expect("an id"))
                    .expect("today's client shows every record");
                records += 1;
                // The phone whose answer broke off behind a copy's change could not show the record then.
                if !old.is_null() {
                    problems.extend(lost(old, &new, &format!("{name} {record}"), &["place"]));
                }
            }
            let new = json!({
                "cards": phone.cards().expect("cards"),
                "drafts": phone.drafts().expect("drafts"),
                "outbox": phone.outbox().expect("the outbox"),
                "notices": phone.notices().expect("notices"),
                "transfers": phone.transfers(Lang::En).expect("transfers"),
                "status": phone.status().expect("how it stands"),
            });
            // What was derived from the time of looking.
            problems.extend(lost(
                old,
                &new,
                name,
                &["records", "place", "age_ms", "lease_left_ms", "unread"],
            ));
            for (state, count) in [
                ("unsent", &old["status"]["unsent"]),
                ("held", &old["status"]["held"]),
            ] {
                assert_eq!(&json!(phone.status().expect("how it stands"))[state], count);
            }
        }
        assert!(records > 20, "the records were not found");
        nothing_lost(&frozen.version, "the phones", &problems);
    }
}

#[test]
fn a_file_of_every_schema_is_brought_up_to_date_once_and_its_cursor_is_understood() {
    let mut schemas = BTreeSet::new();
    for frozen in Frozen::every() {
        let (_folder, files) = frozen.phones();
        for file in files.values() {
            let schema = |at: &str| {
                let bytes = std::fs::read(file).expect("the file");
                assert!(bytes.starts_with(b"SQLite format 3\0"), "{at}");
                u32::from_be_bytes(bytes[60..64].try_into().expect("the header"))
            };
            schemas.insert(schema("before"));
            for _ in 0..2 {
                drop(open(file, frozen.at_ms));
            }
            assert_eq!(schema("after"), 4, "the newest schema");
        }
        // Every cursor on the line is one of this encoding, or a new phone's.
        for exchange in frozen.line()["conversations"]
            .as_array()
            .expect("conversations")
            .iter()
            .flat_map(|one| one["exchanges"].as_array().expect("exchanges"))
        {
            let Some(cursor) = super::conversations::request(exchange)
                .into_iter()
                .find_map(|item| {
                    item.get("cursor")
                        .and_then(|cursor| cursor.as_text().map(str::to_owned))
                })
            else {
                continue;
            };
            assert!(
                Cursor::decode(&cursor).is_some(),
                "{}: {cursor}",
                frozen.version
            );
        }
    }
    assert_eq!(
        schemas.into_iter().collect::<Vec<_>>(),
        [1, 2],
        "every schema that was ever shipped"
    );
}

/// Every key of a record with its values, whoever wrote them when.
type Values = BTreeMap<String, BTreeSet<String>>;

fn values_of(office: &Value) -> Values {
    let fields = office["fields"].as_array().into_iter().flatten();
    let values = |field: &Value| {
        field["values"]
            .as_array()
            .into_iter()
            .flatten()
            .map(|value| value["value"].to_string())
            .collect()
    };
    fields
        .map(|field| {
            (
                field["key"].as_str().unwrap_or_default().to_owned(),
                values(field),
            )
        })
        .collect()
}

fn values_on(phone: &Phone, record: RecordId) -> Values {
    let view = phone.view(record).expect("the record is readable");
    view.values
        .iter()
        .map(|(key, values)| {
            (
                key.clone(),
                values
                    .iter()
                    .map(|value| json!(value.value).to_string())
                    .collect(),
            )
        })
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn old_phones_bring_everything_they_held_and_agree_with_the_office() {
    for frozen in Frozen::every() {
        // Their access tokens have expired since; the refresh tokens are good.
        let mut upgraded = frozen.upgraded(1).await;
        let served = upgraded.test.serve().await;
        let (_folder, files) = frozen.phones();
        let line = frozen.line();
        let names: Vec<_> = line["conversations"]
            .as_array()
            .expect("conversations")
            .iter()
            .filter_map(|one| one["phone"].as_str())
            .collect();
        let mut phones = BTreeMap::new();
        let mut waiting = Vec::new();
        for name in names {
            let Some(file) = files.get(name) else {
                continue;
            };
            if frozen.said["phones"][name].is_null() {
                continue;
            }
            let phone = open(file, frozen.at_ms + super::DAY_MS).expect("the file opens");
            let phone =
                phone.with_transport(Transport::new(&served.url(), Lang::En).expect("a transport"));
            waiting.extend(
                phone
                    .outbox()
                    .expect("the outbox")
                    .into_iter()
                    .filter(|entry| entry.reason.is_none()),
            );
            let report = phone
                .sync()
                .await
                .unwrap_or_else(|error| panic!("{} {name}: {error}", frozen.version));
            assert_eq!(
                (report.unsent, report.wiped),
                (0, name == "sun.li"),
                "{} {name}: {report:?}",
                frozen.version
            );
            phones.insert(name, phone);
        }
        assert!(
            waiting.len() >= 8,
            "{}: {} edits waited",
            frozen.version,
            waiting.len()
        );
        // To the byte, in the log or among what is held.
        let known = "select encode(hash, 'hex') from (select hash from change_log union select hash from held_change) h where hash is not null";
        let arrived: BTreeSet<String> = upgraded.rows(known.into()).await.into_iter().collect();
        for entry in waiting
            .iter()
            .filter(|entry| !arrived.contains(&hex::encode(entry.hash.0)))
        {
            let values: Vec<_> = entry
                .edits
                .iter()
                .filter_map(|edit| {
                    if let Edit::Put { value, .. } = edit {
                        value.as_str()
                    } else {
                        None
                    }
                })
                .collect();
            // A copied phone wrote its edit anew, and what a member told the office left the record when it was submitted.
            let anew = format!(
                "select state from transfer where member_alias = any('{{{}}}') and state = 'submitted'",
                values.join(",")
            );
            assert!(
                values == ["5室"] || upgraded.rows(anew).await == ["submitted"],
                "{}: {:?}",
                frozen.version,
                entry.edits
            );
        }

        for phone in phones
            .iter()
            .filter(|(name, _)| **name != "sun.li")
            .map(|(_, phone)| phone)
        {
            phone.sync().await.expect("synced");
        }
        agree(&frozen, &mut upgraded, &phones, &line).await;
        // And they go on.
        let wang = &phones["wang.fang"];
        let card = wang.cards().expect("cards")[0].record;
        let put = Edit::Put {
            key: "unit".into(),
            value: "九楼".into(),
        };
        wang.edit(
            card,
            &[put],
            DeviceTime::from_unix_ms(frozen.at_ms + super::DAY_MS),
        )
        .expect("saved");
        assert_eq!(wang.sync().await.expect("synced").tally.accepted, 1);
    }
}

/// Without what the office shows elsewhere, or to nobody who reviews: 0.1.0 still showed the party status.
fn told(mut values: Values) -> Values {
    values.retain(|key, _| {
        !["kind", "street", "grid", "note"].contains(&key.as_str())
            && !key.ends_with("/party_status")
    });
    values
}

/// What a phone and its copies wrote into one field.
const COPIED: [&str; 3] = ["2室", "4室", "5室"];

/// Phones and office say the same, and the office says what the old one said after the same phones had synchronised.
async fn agree(
    frozen: &Frozen,
    upgraded: &mut Upgraded,
    phones: &BTreeMap<&str, Phone>,
    line: &Value,
) {
    let mut compared = 0;
    for (asked, old) in line["office"].as_object().expect("what the office showed") {
        let Some(record) = asked
            .strip_prefix("chen.jie records/")
            .filter(|rest| !rest.contains('/'))
        else {
            continue;
        };
        let office = upgraded
            .read("chen.jie", &format!("records/{record}"))
            .await;
        let (then, now) = (values_of(old), values_of(&office));
        let (then, mut now) = (told(then), told(now));
        // What a copied phone wrote without having seen the other stands side by side since 0.4; before, the last of them won.
        let by_copies: BTreeSet<String> = COPIED.map(|unit| format!("{unit:?}")).into();
        let is_copied = now.get("unit") == Some(&by_copies);
        if is_copied {
            now.insert("unit".to_owned(), then["unit"].clone());
        }
        assert_eq!(now, then, "{} {record}", frozen.version);
        if is_copied {
            compared += 1;
            continue;
        }
        assert_eq!(
            (&office["note"], &office["grid"], &office["conflicts"]),
            (&old["note"], &old["grid"], &old["conflicts"]),
            "{}",
            frozen.version
        );
        let record: RecordId = record.parse().expect("an id");
        // Copies of one phone's file are one device, which is not sent what it wrote: docs/operations.md, `clone_suspected`.
        let copied =
            |name: &str| name.starts_with("li.na") && now["sign_name"].contains("\"小林钟表\"");
        let holds = |phone: &Phone| {
            phone
                .records()
                .is_ok_and(|records| records.contains(&record))
        };
        for phone in phones
            .iter()
            .filter(|(name, phone)| !copied(name) && holds(phone))
            .map(|(_, phone)| phone)
        {
            let on_phone = told(values_on(phone, record));
            assert_eq!(
                on_phone,
                now,
                "{} {record} on {}",
                frozen.version,
                phone.path().display()
            );
            assert_eq!(
                json!(
                    phone
                        .view(record)
                        .expect("readable")
                        .note
                        .unwrap_or_default()
                ),
                office["note"].as_str().unwrap_or_default()
            );
            compared += 1;
        }
    }
    assert!(compared > 20, "{compared} records were compared");
}
