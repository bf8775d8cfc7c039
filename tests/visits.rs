//! 走访: written once in the field, shown at the office, replaced or declared void and never changed; and phones that know nothing of it.

use axum::http::StatusCode;
use lianka_sync_core::{
    codec::wire::{Hello, ResponseItem},
    crdt::record::Edit,
    id::RecordId,
    kinds::Kind,
};
use serde_json::{Value, json};

use crate::sync::phone::{HOME, OTHER, Office, Phone, READ_MODELS, STORE, put, text};

const VOID: &str = "0198c0de-0000-7000-8000-00000000000d";

/// A secretary's phone that knows visits.
async fn secretary(office: &Office, username: &str, grids: &[&str]) -> Phone {
    let mut phone = office.secretary(username, grids).await;
    phone.kinds = Hello::all_kinds();
    phone
}

fn visit(shop: RecordId, at: &str, outcome: &str, more: &[Edit]) -> Vec<Edit> {
    let mut edits = vec![
        put("shop", &shop.to_string()),
        put("at", at),
        put("channel", "door"),
        put("outcome", outcome),
    ];
    edits.retain(|edit| {
        let key = |edit: &Edit| match edit {
            Edit::Put { key, .. } | Edit::Delete { key } => key.clone(),
            Edit::Note { .. } => String::new(),
        };
        !more.iter().any(|other| key(other) == key(edit))
    });
    edits.extend_from_slice(more);
    edits
}

fn write(phone: &mut Phone, grid: &str, edits: &[Edit]) -> RecordId {
    let street = phone.street.clone();
    let fixed = [
        put("kind", "visit"),
        put("street", &street),
        put("grid", grid),
    ];
    let edits: Vec<_> = fixed.into_iter().chain(edits.iter().cloned()).collect();
    phone.create_with(Kind::Visit, grid, &edits)
}

async fn last_visit(office: &Office) -> Value {
    office.admin().items("cards").await[0]["last_visit"].clone()
}

#[tokio::test]
async fn what_is_no_visit_is_refused() {
    let office = Office::open().await;
    let mut phone = secretary(&office, "wang.fang", &["A1"]).await;
    let shop = phone.create("A1", &[put("sign_name", "王记包子")]);
    phone.sync().await;
    let before = office.rows(&STORE).await;
    let flag = |key: String| Edit::add(key);
    let cases: Vec<(&str, Vec<Edit>, &str)> = vec![
        (
            "A1",
            visit(shop, "2025-11-20 10:30", "met", &[]),
            "value_not_a_time",
        ),
        (
            "A1",
            visit(shop, "2031-01-01T00:00", "met", &[]),
            "value_in_future",
        ),
        (
            "A1",
            visit(shop, "2025-11-20T10:30", "rated", &[]),
            "value_not_in_list",
        ),
        (
            "A1",
            visit(shop, "2025-11-20T10:30", "met", &[put("channel", "camera")]),
            "value_not_in_list",
        ),
        (
            "A1",
            visit(shop, "2025-11-20T10:30", "met", &[put("shop", "王记包子")]),
            "value_not_an_entry",
        ),
        (
            "A1",
            visit(
                shop,
                "2025-11-20T10:30",
                "met",
                &[put("point", "geo:31.2,121.4;crs=wgs84")],
            ),
            "unknown_field",
        ),
        (
            "A1",
            visit(shop, "2025-11-20T10:30", "met", &[put("minutes", "20")]),
            "unknown_field",
        ),
        (
            "A1",
            visit(
                shop,
                "2025-11-20T10:30",
                "met",
                &[put("remark", &"长".repeat(201))],
            ),
            "value_too_long",
        ),
        (
            "A1",
            visit(
                shop,
                "2025-11-20T10:30",
                "met",
                &[flag(format!("companions/{}", "长".repeat(41)))],
            ),
            "value_too_long",
        ),
        (
            "A1",
            vec![
                put("at", "2025-11-20T10:30"),
                put("channel", "door"),
                put("outcome", "met"),
            ],
            "creation_incomplete",
        ),
        (
            "A2",
            visit(shop, "2025-11-20T10:30", "met", &[]),
            "not_your_grid",
        ),
    ];
    for (grid, edits, code) in cases {
        write(&mut phone, grid, &edits);
        let outbox = std::mem::take(&mut phone.outbox);
        let reply = phone.push(false, &outbox).await;
        assert_eq!(reply.codes(), [code], "{edits:?}");
    }
    assert_eq!(office.rows(&STORE).await, before, "nothing was stored");
}

#[tokio::test]
async fn a_visit_is_written_once_and_stays_in_its_street() {
    let office = Office::open().await;
    let mut phone = secretary(&office, "wang.fang", &["A1"]).await;
    let mut other = secretary(&office, "li.na", &["A1"]).await;
    let shop = phone.create("A1", &[put("sign_name", "王记包子")]);
    let first = write(
        &mut phone,
        "A1",
        &visit(shop, "2025-11-20T10:30", "closed", &[]),
    );
    let outbox = phone.outbox.clone();
    assert_eq!(phone.sync().await.codes(), ["accepted", "accepted"]);
    let again = phone.push(false, &outbox).await;
    assert_eq!(again.codes(), ["duplicate", "duplicate"], "resent");
    other.sync().await;
    for edit in [
        put("outcome", "met"),
        put("remark", "补记"),
        Edit::add("companions/张三"),
    ] {
        phone.edit(first, std::slice::from_ref(&edit));
        let outbox = std::mem::take(&mut phone.outbox);
        let reply = phone.push(false, &outbox).await;
        assert!(
            ["write_once", "field_not_editable"].contains(&reply.codes()[0]),
            "{edit:?}: {:?}",
            reply.codes()
        );
        phone.cursor = None;
        phone.records.clear();
        phone.epoch += 1;
        phone.sync().await;
    }
    // Somebody else's visit is not theirs to take back.
    let void = put(&format!("voids/{VOID}/reason"), "填错商铺");
    other.edit(first, std::slice::from_ref(&void));
    let outbox = std::mem::take(&mut other.outbox);
    assert_eq!(
        other.push(false, &outbox).await.codes(),
        ["field_not_editable"]
    );
    // Another street sees nothing of it.
    let stranger = office.desk_in(OTHER, "stranger", "reviewer").await;
    let path = format!("records/{first}");
    assert_eq!(stranger.at(HOME).ask(&path).await.code(), "wrong_street");
    assert_eq!(stranger.ask(&path).await.status, StatusCode::NOT_FOUND);
    // Put right by a later one; that one is void: the first counts again.
    assert_eq!(last_visit(&office).await["outcome"], "closed");
    let second = write(
        &mut phone,
        "A1",
        &visit(
            shop,
            "2025-11-20T10:30",
            "met",
            &[put("replaces", &first.to_string())],
        ),
    );
    phone.sync().await;
    let last = last_visit(&office).await;
    assert_eq!(
        (&last["record"], &last["outcome"]),
        (&json!(second.to_string()), &json!("met"))
    );
    assert_eq!(last["username"], "wang.fang");
    phone.edit(second, &[void]);
    assert_eq!(phone.sync().await.codes(), ["accepted"]);
    assert_eq!(last_visit(&office).await["outcome"], "closed");
    // The office may, for everybody.
    let desk = office.desk_phone("reviewer", "reviewer").await;
    let mut desk_phone = desk;
    desk_phone.kinds = Hello::all_kinds();
    desk_phone.sync().await;
    desk_phone.edit(first, &[put(&format!("voids/{VOID}/reason"), "重复")]);
    assert_eq!(desk_phone.sync().await.codes(), ["accepted"]);
    assert_eq!(last_visit(&office).await, Value::Null);
}

#[tokio::test]
async fn a_phone_that_does_not_know_visits_goes_on() {
    let office = Office::open().await;
    let mut new = secretary(&office, "wang.fang", &["A1"]).await;
    let mut old = office.secretary("li.na", &["A1"]).await;
    let shop = new.create("A1", &[put("sign_name", "王记包子")]);
    new.sync().await;
    old.sync().await;
    let first = write(&mut new, "A1", &visit(shop, "2025-11-20T10:30", "met", &[]));
    new.sync().await;
    let about = |items: &[ResponseItem]| {
        items.iter().any(|item| {
            matches!(item, ResponseItem::Snapshot { record, .. } | ResponseItem::Change { record, .. } if *record == first)
        })
    };
    // The harness's phone fails at a change for what it does not hold.
    assert!(!about(&old.sync().await.items), "a delta");
    new.edit(first, &[put(&format!("voids/{VOID}/reason"), "填错")]);
    new.sync().await;
    old.edit(shop, &[put("opening_hours", "8-20")]);
    let reply = old.sync().await;
    assert_eq!(reply.codes(), ["accepted"]);
    assert!(!about(&reply.items), "a delta of a later change");
    let mut enrolled = office.phone("li.na").await;
    assert!(!about(&enrolled.sync().await.items), "a download");
    // The same phone with a newer program asks from the start and gets it.
    old.kinds = Hello::all_kinds();
    old.cursor = None;
    assert!(about(&old.sync().await.items));
}

#[tokio::test]
async fn late_visits_wait_for_a_reviewer() {
    let office = Office::open().await;
    let mut phone = secretary(&office, "wang.fang", &["A1", "A2"]).await;
    let shop = phone.create("A1", &[put("sign_name", "王记包子")]);
    phone.sync().await;
    write(
        &mut phone,
        "A1",
        &visit(shop, "2025-11-20T10:30", "met", &[]),
    );
    office.assign(HOME, "wang.fang", &["A2"]).await;
    assert_eq!(phone.sync().await.codes(), ["grid_lost"]);
    let admin = office.admin();
    let held = admin.held("").await;
    let answer = admin.decide(&held[0], "accept", json!({})).await;
    assert!(answer.status.is_success(), "{}", answer.json);
    assert_eq!(last_visit(&office).await["outcome"], "met");
}

#[tokio::test]
async fn a_visit_is_found_shown_exported_rebuilt_and_erased() {
    let office = Office::open().await;
    let mut phone = secretary(&office, "wang.fang", &["A1"]).await;
    let shop = phone.create("A1", &[put("sign_name", "王记包子")]);
    let record = write(
        &mut phone,
        "A1",
        &visit(
            shop,
            "2025-11-20T10:30",
            "met",
            &[
                Edit::add("companions/王小明"),
                Edit::add("topics/消防"),
                put("remark", "店主电话改为13900000001"),
                put("card_version", "2025-11"),
            ],
        ),
    );
    phone.sync().await;
    let admin = office.admin();
    let shown = admin.get(&format!("records/{record}")).await;
    assert_eq!(
        (&shown["kind"], &shown["note"]),
        (&json!("visit"), &json!(""))
    );
    assert!(shown["fields"].to_string().contains("companions/王小明"));
    let history = admin.get(&format!("records/{record}/history")).await;
    assert_eq!(history["total"], 1, "{history}");
    let csv = admin.ask("cards.csv").await;
    let csv = String::from_utf8_lossy(&csv.body).into_owned();
    for part in ["末次走访", "2025-11-20T10:30", "见到负责人", "wang.fang"] {
        assert!(csv.contains(part), "{part}: {csv}");
    }
    for (query, field) in [
        ("name=%E7%8E%8B%E5%B0%8F%E6%98%8E", "companions/王小明"),
        ("phone=13900000001", "remark"),
    ] {
        let found = admin.get(&format!("persons?{query}")).await;
        assert_eq!(found["notes"][0]["field"], field, "{found}");
        assert_eq!(found["notes"][0]["kind"], "visit");
        assert_eq!(
            found["changes"].as_array().map(Vec::len),
            Some(1),
            "{found}"
        );
    }
    let before = office.rows(&READ_MODELS).await;
    assert!(before.iter().any(|row| row.starts_with("shop_visit")));
    office.equals_rebuild().await;
    // Whoever erases the shop is told of its visits.
    let erase = async |record: RecordId| {
        let body = json!({ "reason": "subject_request" });
        admin.post(&format!("records/{record}/erase"), body).await
    };
    assert_eq!(erase(shop).await["also_on"], json!([record.to_string()]));
    erase(record).await;
    assert!(
        !office
            .rows(&STORE)
            .await
            .iter()
            .any(|row| row.contains("王小明"))
    );
    let reply = phone.sync().await;
    assert!(
        reply
            .items
            .iter()
            .any(|item| matches!(item, ResponseItem::Erase { record: of } if *of == record))
    );
}

/// S1-3 by a tenth: 95 of 100 shops by 142 visits, one of them with three companions, some sent twice.
#[tokio::test]
async fn visits_and_coverage_are_counted_apart() {
    let office = Office::open().await;
    let mut phone = secretary(&office, "wang.fang", &["A1"]).await;
    let shops: Vec<_> = (0..100)
        .map(|no| phone.create("A1", &[put("sign_name", &format!("第{no}家"))]))
        .collect();
    phone.sync().await;
    for no in 0..142 {
        let more: Vec<_> = match no {
            7 => ["张三", "李四", "王五"]
                .map(|name| Edit::add(format!("companions/{name}")))
                .into(),
            _ => Vec::new(),
        };
        let at = format!("2025-10-{:02}T10:{:02}", 1 + no % 28, no % 60);
        write(&mut phone, "A1", &visit(shops[no % 95], &at, "met", &more));
    }
    let outbox = phone.outbox.clone();
    phone.sync().await;
    phone.push(false, &outbox[..50]).await;
    assert_eq!(office.count("select count(*) from shop_visit").await, 142);
    let items = office.admin().items("cards?page_size=200").await;
    let visited = items
        .iter()
        .filter(|card| !card["last_visit"].is_null())
        .count();
    assert_eq!((items.len(), visited), (100, 95));
}

async fn grid_of(office: &Office, record: RecordId) -> String {
    let shown = office.admin().get(&format!("records/{record}")).await;
    shown["grid"].as_str().unwrap_or_default().to_owned()
}

async fn move_to(office: &Office, record: RecordId, grid: &str) -> Value {
    let body = json!({ "records": [record], "to_grid": grid });
    office.admin().post("moves", body).await
}

fn has(reply: &crate::sync::phone::Reply, record: RecordId, what: &str) -> bool {
    reply.items.iter().any(|item| match item {
        ResponseItem::Snapshot { record: of, .. } => what == "snapshot" && *of == record,
        ResponseItem::Leave { record: of } => what == "leave" && *of == record,
        _ => false,
    })
}

/// Who sees a card sees its visits.
#[tokio::test]
async fn visits_go_where_their_card_goes() {
    let office = Office::open().await;
    let mut here = secretary(&office, "wang.fang", &["A1"]).await;
    let mut there = secretary(&office, "li.na", &["A2"]).await;
    let shop = here.create("A1", &[put("sign_name", "王记包子")]);
    let first = write(
        &mut here,
        "A1",
        &visit(shop, "2025-11-20T10:30", "met", &[]),
    );
    here.sync().await;
    there.sync().await;
    let moved = move_to(&office, shop, "A2").await;
    assert_eq!(moved["moved"], json!([shop]), "{moved}");
    assert_eq!(grid_of(&office, first).await, "A2");
    // One that was written before its author could know follows it, and so does one that an admin put elsewhere.
    let late = write(
        &mut here,
        "A1",
        &visit(shop, "2025-11-21T10:30", "closed", &[]),
    );
    let reply = here.sync().await;
    assert_eq!(reply.codes(), ["accepted"]);
    assert_eq!(grid_of(&office, late).await, "A2");
    assert!(has(&reply, shop, "leave") && has(&reply, first, "leave"));
    let arrived = there.sync().await;
    for record in [shop, first, late] {
        assert!(has(&arrived, record, "snapshot"), "{record}");
    }
    move_to(&office, late, "A1").await;
    assert_eq!(grid_of(&office, late).await, "A2");
    assert_eq!(last_visit(&office).await["outcome"], "closed");
}

#[tokio::test]
async fn visits_to_a_merged_card_are_the_other_ones() {
    let office = Office::open().await;
    let mut here = secretary(&office, "wang.fang", &["A1"]).await;
    let mut there = secretary(&office, "li.na", &["A2"]).await;
    let desk = office.desk("reviewer", "reviewer").await;
    let stays = here.create("A1", &[put("sign_name", "王记包子")]);
    let goes = there.create("A2", &[put("sign_name", "王记包子铺")]);
    here.sync().await;
    let first = write(
        &mut there,
        "A2",
        &visit(goes, "2025-11-20T10:30", "met", &[]),
    );
    there.sync().await;
    let pair = lianka_sync_core::kinds::duplicate::pair_id(stays, goes);
    let body = json!({ "winner": stays, "loser": goes, "note": "同一家" });
    let merged = desk.post(&format!("duplicates/{pair}/merge"), body).await;
    assert_eq!(grid_of(&office, first).await, "A1");
    // The roll lists the card that goes on alone.
    assert_eq!(last_visit(&office).await["record"], first.to_string());
    let csv = office.admin().ask("cards.csv").await;
    assert!(String::from_utf8_lossy(&csv.body).contains("2025-11-20T10:30"));
    let late = write(
        &mut there,
        "A2",
        &visit(goes, "2025-11-22T10:30", "closed", &[]),
    );
    there.sync().await;
    assert_eq!(grid_of(&office, late).await, "A1");
    assert_eq!(last_visit(&office).await["outcome"], "closed");
    move_to(&office, stays, "A2").await;
    assert_eq!(
        grid_of(&office, late).await,
        "A2",
        "along with what it goes on as"
    );
    move_to(&office, stays, "A1").await;
    let path = format!("merges/{}/undo", text(&merged["merge"]));
    desk.post(&path, json!({ "note": "是两家" })).await;
    assert_eq!(grid_of(&office, first).await, "A2");
    let cards = office.admin().items("cards").await;
    let visited: Vec<_> = cards
        .iter()
        .filter(|card| !card["last_visit"].is_null())
        .map(|card| card["record"].clone())
        .collect();
    assert_eq!(visited, [json!(goes.to_string())]);
}

#[tokio::test]
async fn one_companion_is_forgotten() {
    let office = Office::open().await;
    let mut phone = secretary(&office, "wang.fang", &["A1"]).await;
    let shop = phone.create("A1", &[put("sign_name", "王记包子")]);
    let record = write(
        &mut phone,
        "A1",
        &visit(
            shop,
            "2025-11-20T10:30",
            "met",
            &[
                Edit::add("companions/王小明"),
                Edit::add("companions/李四"),
                put("remark", "王小明记录"),
            ],
        ),
    );
    let outbox = phone.outbox.clone();
    phone.sync().await;
    let (admin, path) = (office.admin(), format!("records/{record}/redact"));
    let before = office.rows(&STORE).await;
    for (body, code) in [
        (json!({ "reason": "subject_request" }), "invalid_field"),
        (
            json!({ "reason": "subject_request", "entry": VOID, "member": "companions/李四" }),
            "invalid_field",
        ),
        (
            json!({ "reason": "subject_request", "entry": VOID }),
            "invalid_field",
        ),
        (
            json!({ "reason": "subject_request", "member": "companions/无人" }),
            "invalid_field",
        ),
        (
            json!({ "reason": "subject_request", "member": "outcome" }),
            "invalid_field",
        ),
    ] {
        let refused = admin.call("POST", &path, body.clone()).await;
        assert_eq!(refused.code(), code, "{body}: {}", refused.json);
    }
    assert_eq!(office.rows(&STORE).await, before);
    let body = json!({ "reason": "subject_request", "member": "companions/王小明" });
    let redacted = admin.post(&path, body).await;
    assert_eq!(redacted["mentioned_in"], json!(["remark"]));
    assert!(!redacted["receipt"].to_string().contains("王小明"));
    let shown = admin.get(&format!("records/{record}")).await["fields"].to_string();
    assert!(!shown.contains("companions/王小明") && shown.contains("companions/李四"));
    let rows = office.rows(&READ_MODELS).await;
    let of_visit: Vec<_> = rows
        .iter()
        .filter(|row| row.starts_with("shop_visit"))
        .collect();
    assert!(
        of_visit
            .iter()
            .all(|row| !row.contains("{李四,王小明}") && row.contains("李四"))
    );
    // The phone takes the next generation; its own change, sent once more, brings nobody back.
    assert!(has(&phone.sync().await, record, "snapshot"));
    let again = phone.push(false, &outbox).await;
    assert_eq!(again.codes(), ["duplicate", "duplicate"]);
    let shown = admin.get(&format!("records/{record}")).await;
    assert!(!shown["fields"].to_string().contains("companions/王小明"));
}

#[tokio::test]
async fn exported_visits_read_back_make_no_fields() {
    let office = Office::open().await;
    let mut phone = secretary(&office, "wang.fang", &["A1"]).await;
    let shop = phone.create("A1", &[put("sign_name", "王记包子"), put("road", "天平路")]);
    write(
        &mut phone,
        "A1",
        &visit(shop, "2025-11-20T10:30", "met", &[]),
    );
    phone.sync().await;
    for lang in ["zh", "en"] {
        let admin = office.admin();
        let file = admin.ask(&format!("cards.csv?lang={lang}")).await.body;
        let report = admin.import("?dry_run=true", file).await;
        let columns = report["columns"].as_array().expect("columns");
        let exported: Vec<_> = columns
            .iter()
            .filter(|column| {
                column["field"]
                    .as_str()
                    .is_some_and(|field| field.starts_with("visit/"))
            })
            .collect();
        assert_eq!(exported.len(), 3, "{report}");
        let custom = report["custom_fields"].to_string();
        for word in ["走访", "visit"] {
            assert!(!custom.contains(word), "{custom}");
        }
    }
}
