//! What a desk reads: the merged roll, one record with every concurrent value, and its history.

use lianka_sync_core::{crdt::record::Edit, id::RecordId};
use serde_json::{Value, json};

use crate::{
    scene::Desk,
    sync::phone::{OTHER, Office, Phone, put, text},
};

const CONTACT: &str = "0198c0de-0000-7000-8000-00000000000a";
const CONSENT: &str = "0198c0de-0000-7000-8000-00000000000c";

/// A street, a secretary's phone, and a reviewer with a phone and a desk.
struct Street {
    office: Office,
    phone: Phone,
    reviewer: Phone,
    desk: Desk,
}

impl Street {
    async fn open() -> Self {
        let office = Office::open().await;
        let phone = office.secretary("wang.fang", &["A1", "A2"]).await;
        let reviewer = office.desk_phone("reviewer", "reviewer").await;
        Self {
            desk: office.desk_with(&reviewer.token),
            office,
            phone,
            reviewer,
        }
    }
}

impl Desk {
    /// Sign names of a list, in its order.
    async fn names(&self, query: &str) -> Vec<String> {
        let cards = self.items(&format!("cards{query}")).await;
        cards.iter().map(|card| text(&card["sign_name"])).collect()
    }
}

#[tokio::test]
async fn who_may_read_what() {
    let mut street = Street::open().await;
    let theirs = street.phone.create("A1", &[]);
    street.phone.sync().await;
    let elsewhere = street.reviewer.create("A3", &[]);
    street.reviewer.sync().await;
    let secretary = street.office.desk_with(&street.phone.token);
    for (path, status) in [
        (format!("records/{theirs}"), 200),
        (format!("records/{theirs}/history"), 200),
        (format!("records/{elsewhere}"), 404),
        (format!("records/{elsewhere}/history"), 404),
        (format!("records/{}", RecordId::default()), 404),
        ("records/nonsense".into(), 404),
    ] {
        let answer = secretary.ask(&path).await;
        assert_eq!(answer.status.as_u16(), status, "{path}: {}", answer.json);
    }
    assert_eq!(secretary.get("cards").await["total"], 1, "own grids only");
    assert_eq!(secretary.get("cards?grid=A3").await["total"], 0);
    assert_eq!(street.desk.get("cards").await["total"], 2);
    assert_eq!(
        street.desk.get(&format!("records/{elsewhere}")).await["grid"],
        "A3"
    );
    let officer = street.office.desk("officer", "officer").await;
    assert_eq!(officer.ask("cards").await.code(), "wrong_role");
    // The same record asked for under another street.
    let elsewhere = street.office.admin().at(OTHER);
    let answer = elsewhere.ask(&format!("records/{theirs}")).await;
    assert_eq!(answer.code(), "not_found");
}

#[tokio::test]
async fn queries_that_make_no_sense() {
    let street = Street::open().await;
    let long = format!("cards?q={}", "x".repeat(101));
    for (query, field) in [
        ("cards?sort=price", "sort"),
        ("cards?confirmed_before=yesterday", "confirmed_before"),
        (long.as_str(), "q"),
        ("cards?page=0", "page"),
        ("cards?page_size=201", "page_size"),
        ("cards?conflict=maybe", "conflict"),
        ("cards?colour=red", "colour"),
    ] {
        let answer = street.desk.ask(query).await;
        assert_eq!(
            (answer.status.as_u16(), answer.code()),
            (422, "invalid_field"),
            "{query}: {}",
            answer.json
        );
        assert_eq!(
            answer.json["field"].as_str().unwrap_or_default(),
            field,
            "{query}: {}",
            answer.json
        );
    }
    for query in ["cards?grid=%00", "cards?road=%00", "cards?q=%00%00"] {
        let answer = street.desk.ask(query).await;
        assert!(
            answer.status.is_client_error() || answer.json["total"] == 0,
            "{query}: {}",
            answer.json
        );
    }
}

#[tokio::test]
async fn the_roll_is_filtered_sorted_and_paged() {
    let mut street = Street::open().await;
    for (grid, name, road, number, confirmed) in [
        ("A1", "天平路包子铺", "天平路", "12", Some("2026-10-01")),
        ("A1", "百分百", "天平路", "8", None),
        ("A2", "老王理发", "余庆路", "3", Some("2026-11-01")),
        ("A1", "五号", "天平路", "5", Some("2026-09-01")),
    ] {
        let mut edits = vec![
            put("sign_name", name),
            put("road", road),
            put("number", number),
        ];
        edits.extend(confirmed.map(|day| Edit::add(format!("confirmations/{day}"))));
        street.phone.create(grid, &edits);
    }
    assert_eq!(street.phone.sync().await.codes(), ["accepted"; 4]);
    // One side of the street after the other, as it is walked.
    let walk = street.desk.names("?road=%E5%A4%A9%E5%B9%B3%E8%B7%AF").await;
    assert_eq!(walk, ["五号", "百分百", "天平路包子铺"]);
    assert_eq!(street.desk.names("?grid=A2").await, ["老王理发"]);
    assert_eq!(
        street.desk.names("?sort=confirmed").await,
        ["百分百", "五号", "天平路包子铺", "老王理发"]
    );
    assert_eq!(
        street.desk.names("?sort=changed").await,
        ["五号", "老王理发", "百分百", "天平路包子铺"]
    );
    assert_eq!(
        street
            .desk
            .names("?confirmed_before=2026-10-01&sort=confirmed")
            .await,
        ["百分百", "五号"]
    );
    for q in [
        "tplbzp",
        "tianpinglubaozi",
        "%E5%8C%85%E5%AD%90",
        "%E5%A4%A9%E5%B9%B3%E8%B7%AF12",
    ] {
        assert_eq!(
            street.desk.names(&format!("?q={q}")).await,
            ["天平路包子铺"],
            "{q}"
        );
    }
    let page = street
        .desk
        .get("cards?page=2&page_size=3&sort=changed")
        .await;
    assert_eq!(
        (
            &page["total"],
            &page["page"],
            page["items"].as_array().unwrap().len()
        ),
        (&json!(4), &json!(2), 1)
    );
    assert_eq!(street.desk.get("cards?page=9").await["items"], json!([]));
}

#[tokio::test]
async fn a_name_is_found_behind_its_road_and_a_contact_by_name_and_number() {
    let mut street = Street::open().await;
    let entry = |field: &str| format!("contacts/{CONTACT}/{field}");
    let card = street.phone.create(
        "A1",
        &[
            put("sign_name", "王记包子铺"),
            put("road", "天平路"),
            put("number", "378"),
            put(&entry("name"), "许娜"),
            put(&entry("phones"), "139-0000-0007/021-50932417"),
        ],
    );
    street
        .phone
        .create("A1", &[put("sign_name", "百分百"), put("road", "天平路")]);
    street.phone.sync().await;
    for q in [
        "tpl%20bzp",
        "tplbzp",
        "tianpinglubaozi",
        "%E5%A4%A9%E5%B9%B3%E8%B7%AF%E5%8C%85%E5%AD%90",
        "tpl378bzp",
        "xuna",
        "tplxn",
        "%E8%AE%B8%E5%A8%9C",
        "13900000007",
        "139%200000%200007",
        "0000-0007",
        "50932417",
    ] {
        assert_eq!(
            street.desk.names(&format!("?q={q}")).await,
            ["王记包子铺"],
            "{q}"
        );
    }
    for q in ["tplbzq", "tplq", "13900000008", "000702150"] {
        assert_eq!(street.desk.names(&format!("?q={q}")).await, [""; 0], "{q}");
    }
    // Who is redacted is not found either.
    let body = json!({ "entry": CONTACT, "reason": "本人要求" });
    let admin = street.office.admin();
    admin.post(&format!("records/{card}/redact"), body).await;
    for q in ["xuna", "13900000007"] {
        assert_eq!(street.desk.names(&format!("?q={q}")).await, [""; 0], "{q}");
    }
}

#[tokio::test]
async fn a_conflict_shows_every_value_its_author_and_both_clocks_until_somebody_chooses() {
    let mut street = Street::open().await;
    let card = street.phone.create(
        "A1",
        &[put("sign_name", "王记包子"), put("category", "餐饮")],
    );
    street.phone.sync().await;
    street.reviewer.sync().await;
    street.phone.edit(
        card,
        &[
            put("sign_name", "王家包子铺"),
            put("category", "零售"),
            put("unit", "201"),
        ],
    );
    street.reviewer.edit(
        card,
        &[
            put("sign_name", "老王包子"),
            put("category", "服务"),
            put("unit", "201"),
        ],
    );
    street.phone.sync().await;
    street.office.test.clock.advance_ms(60_000);
    street.reviewer.sync().await;

    let field = street.desk.field(card, "sign_name").await;
    assert_eq!(
        (
            &field["conflict"],
            &field["label_zh"],
            &field["class"],
            &field["merge"]
        ),
        (&json!(true), &json!("店招"), &json!("P0"), &json!("MV"))
    );
    let values = field["values"].as_array().unwrap();
    let by = |username: &str| {
        values
            .iter()
            .find(|value| value["username"] == username)
            .cloned()
            .unwrap()
    };
    let (theirs, ours) = (by("wang.fang"), by("reviewer"));
    assert_eq!(
        (&theirs["value"], &ours["value"]),
        (&json!("王家包子铺"), &json!("老王包子"))
    );
    assert_eq!(theirs["device"], street.phone.device.to_string());
    assert_eq!(
        (&theirs["received_at"], &ours["received_at"]),
        (
            &json!("2026-11-21T08:00:00Z"),
            &json!("2026-11-21T08:01:00Z")
        )
    );
    assert!(
        text(&theirs["device_time"]).starts_with("2026-11-21T08:00:0"),
        "{theirs}"
    );
    assert_eq!(text(&theirs["change"]).len(), 64);
    // A winner is enough for the category; equal values are none at all.
    assert_eq!(
        (
            &street.desk.field(card, "category").await["conflict"],
            &street.desk.field(card, "unit").await["conflict"]
        ),
        (&json!(false), &json!(false))
    );
    assert_eq!(
        street.desk.field(card, "unit").await["values"]
            .as_array()
            .unwrap()
            .len(),
        2
    );

    assert_eq!(street.desk.get("cards?conflict=true").await["total"], 1);
    assert_eq!(street.desk.get("cards?conflict=false").await["total"], 0);
    let listed = street.desk.get("cards").await["items"][0].clone();
    let conflicts = listed["conflicts"].as_array().unwrap();
    assert_eq!(conflicts.len(), 2);
    assert_eq!(
        conflicts[1]["value"], listed["sign_name"],
        "the last is the one that is shown: {listed}"
    );
    assert_eq!(values[1]["value"], listed["sign_name"]);
    assert_eq!(
        street
            .office
            .count("select count(*) from field_conflict where field = 'sign_name'")
            .await,
        2
    );

    street.phone.sync().await;
    street.phone.edit(card, &[put("sign_name", "老王包子")]);
    street.phone.sync().await;
    let field = street.desk.field(card, "sign_name").await;
    assert_eq!(
        (
            &field["conflict"],
            field["values"].as_array().unwrap().len()
        ),
        (&json!(false), 1)
    );
    assert_eq!(street.desk.get("cards?conflict=true").await["total"], 0);
    assert_eq!(
        street
            .office
            .count("select count(*) from field_conflict")
            .await,
        0
    );
}

#[tokio::test]
async fn the_history_says_who_changed_what_newest_first() {
    let mut street = Street::open().await;
    let card = street.phone.create(
        "A1",
        &[
            put("sign_name", "王记包子"),
            Edit::Note {
                text: "门口积水".into(),
            },
        ],
    );
    street.phone.sync().await;
    street.reviewer.sync().await;
    street.office.test.clock.advance_ms(1500);
    street.reviewer.edit(
        card,
        &[
            put("unit", "201"),
            Edit::Delete {
                key: "sign_name".into(),
            },
            Edit::Note {
                text: "门口".into(),
            },
        ],
    );
    street.reviewer.sync().await;
    let history = street.desk.get(&format!("records/{card}/history")).await;
    assert_eq!(history["total"], 2);
    let newest = &history["items"][0];
    assert_eq!(
        (&newest["seq"], &newest["username"], &newest["device_name"]),
        (&json!(2), &json!("reviewer"), &json!("手机"))
    );
    assert_eq!(newest["received_at"], "2026-11-21T08:00:01.5Z");
    let writes = json!([{ "key": "note", "value": "+0 −2" }, { "key": "sign_name", "value": null }, { "key": "unit", "value": "201" }]);
    assert_eq!(newest["writes"], writes);
    let page = street
        .desk
        .get(&format!("records/{card}/history?page=2&page_size=1"))
        .await;
    assert_eq!(page["items"][0]["seq"], 1);
    let heads = street.desk.get(&format!("records/{card}")).await["heads"].clone();
    assert_eq!(heads, json!([newest["change"]]));
}

#[tokio::test]
async fn people_and_their_consent_are_rows_of_their_own_and_p3_is_in_no_list() {
    let mut street = Street::open().await;
    let contact = |field: &str| format!("contacts/{CONTACT}/{field}");
    let consent = |field: &str, value: &str| put(&format!("consent/{CONSENT}/{field}"), value);
    let card = street.phone.create(
        "A1",
        &[
            put(&contact("name"), "王芳"),
            put(&contact("phones"), "13800138000"),
        ],
    );
    street.phone.edit(
        card,
        &[
            consent("contact", CONTACT),
            consent("scope", "party_status"),
            consent("decision", "grant"),
            consent("given_on", "2026-11-20"),
            put(&contact("party_status"), "中共党员"),
            Edit::add("tags/late_night"),
            put("custom/消防检查", "2026-10"),
        ],
    );
    assert_eq!(street.phone.sync().await.codes(), ["accepted"; 2]);
    let listed = street.desk.get("cards").await["items"][0].clone();
    assert_eq!(
        (
            &listed["contacts"][0]["name"],
            &listed["contacts"][0]["party_status"]
        ),
        (&json!("王芳"), &Value::Null)
    );
    assert_eq!(
        (&listed["tags"], &listed["custom"]),
        (&json!(["late_night"]), &json!({ "消防检查": "2026-10" }))
    );
    assert_eq!(
        street.desk.field(card, &contact("party_status")).await["values"][0]["value"],
        "●●●",
        "a desk sees that there is one"
    );
    for statement in [
        "select count(*) from shop_contact where name = '王芳' and phones = '13800138000' and party_status = '中共党员'",
        "select count(*) from shop_consent where scope = 'party_status' and decision = 'grant' and given_on = date '2026-11-20'",
        "select count(*) from shop_tag where tag = 'late_night'",
    ] {
        assert_eq!(street.office.count(statement).await, 1, "{statement}");
    }
    street.phone.edit(
        card,
        &[
            Edit::Delete {
                key: contact("name"),
            },
            Edit::Delete {
                key: contact("phones"),
            },
            Edit::Delete {
                key: contact("party_status"),
            },
            Edit::Delete {
                key: "tags/late_night".into(),
            },
        ],
    );
    assert_eq!(street.phone.sync().await.codes(), ["accepted"]);
    assert_eq!(
        street
            .office
            .count("select count(*) from shop_contact")
            .await
            + street.office.count("select count(*) from shop_tag").await,
        0
    );
}
