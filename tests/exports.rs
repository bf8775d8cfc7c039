//! What leaves the office as a file: the roll, and everything held about one person. Who may take it, what is masked, and what the trail tells.

use std::{collections::BTreeMap, io::Cursor};

use axum::http::{StatusCode, header};
use calamine::{Data, Reader, Xlsx};
use lianka_office_core::street::Signer;
use lianka_server::street::transaction::StreetTransaction;
use lianka_sync_core::{crdt::record::Edit, id::RecordId, kinds::Kind};
use serde_json::json;
use uuid::Uuid;

use crate::{
    scene::Desk,
    sync::phone::{HOME, OTHER, Office, put, text},
};

const CONSENT: &str = "0198c0de-0000-7000-8000-00000000000c";
const NEIGHBOUR: &str = "0198c0de-0000-7000-8000-00000000000b";
const PERSON: &str = "0198c0de-0000-7000-8000-00000000000a";

/// An office, and a reviewer at a desk.
async fn open() -> (Office, Desk) {
    let office = Office::open().await;
    let reviewer = office.desk("reviewer", "reviewer").await;
    (office, reviewer)
}

/// A card as it was stored before phones and desks refused what they refuse now.
async fn store_unasked(office: &Office, edits: &[Edit]) {
    let (pool, now) = (&office.test.app.pool, office.test.clock.now());
    let home = HOME.parse().expect("a street");
    let begun = StreetTransaction::begin(pool, &home, now).await;
    let mut street = begun.expect("the street is there");
    let card = RecordId(Uuid::from_u128(0x0198_c0de_0000_7000_8000_0000_0000_0001));
    street.load([card]).await.expect("readable");
    street
        .create(card, Kind::ShopCard, Signer::Server, edits)
        .expect("created");
    street.commit().await.expect("committed");
}

impl Desk {
    async fn csv(&self, query: &str) -> Vec<Vec<String>> {
        let answer = self.ask(&format!("cards.csv{query}")).await;
        assert_eq!(answer.status, StatusCode::OK, "{}", answer.json);
        let text = String::from_utf8(answer.body.to_vec()).unwrap();
        let text = text
            .strip_prefix('\u{feff}')
            .expect("a byte order mark, for Excel");
        // No cell here holds a quote.
        let rows = text.split("\r\n").filter(|row| !row.is_empty());
        rows.map(|row| {
            row.split(',')
                .map(|cell| cell.trim_matches('"').to_owned())
                .collect()
        })
        .collect()
    }
}

fn column(rows: &[Vec<String>], heading: &str) -> Vec<String> {
    let at = rows[0]
        .iter()
        .position(|h| h == heading)
        .unwrap_or_else(|| panic!("{heading} in {:?}", rows[0]));
    rows[1..].iter().map(|row| row[at].clone()).collect()
}

fn sheet(body: &[u8], at: usize) -> Vec<Vec<Data>> {
    let mut book: Xlsx<_> = Xlsx::new(Cursor::new(body)).expect("a workbook");
    let range = book
        .worksheet_range_at(at)
        .expect("a sheet")
        .expect("its cells");
    range.rows().map(<[Data]>::to_vec).collect()
}

#[tokio::test]
async fn who_may_take_the_roll() {
    let (office, reviewer) = open().await;
    let mut mine = office.secretary("wang.fang", &["A1"]).await;
    mine.create("A1", &[put("sign_name", "我的店")]);
    mine.sync().await;
    let mut other = office.secretary("li.na", &["A2"]).await;
    other.create("A2", &[put("sign_name", "别人的店")]);
    other.sync().await;
    let officer = office.desk("officer", "officer").await;
    let auditor = office.desk("auditor", "auditor").await;
    let stranger = office.desk_in(OTHER, "stranger", "reviewer").await.at(HOME);
    let mine = office.desk_with(&mine.token);
    for file in ["cards.csv", "cards.xlsx"] {
        assert_eq!(officer.ask(file).await.code(), "wrong_role");
        assert_eq!(stranger.ask(file).await.code(), "wrong_street");
        // Whole numbers are for those who decide with them.
        for who in [&mine, &auditor] {
            let answer = who.ask(&format!("{file}?unmasked=true")).await;
            assert_eq!(answer.code(), "wrong_role");
        }
        for (query, field) in [
            ("sort=rank", "sort"),
            ("lang=fr", "lang"),
            ("confirmed_before=x", "confirmed_before"),
            ("score=1", "score"),
        ] {
            let answer = reviewer.ask(&format!("{file}?{query}")).await;
            assert_eq!(
                (answer.code(), answer.json["field"].as_str()),
                ("invalid_field", Some(field)),
                "{}",
                answer.json
            );
        }
    }
    assert!(
        office.events("export").await.is_empty(),
        "what was refused is no export"
    );
    assert_eq!(column(&mine.csv("").await, "店招"), ["我的店"]);
    assert_eq!(column(&auditor.csv("").await, "店招").len(), 2);
}

#[tokio::test]
async fn a_file_holds_what_the_list_holds() {
    let (office, reviewer) = open().await;
    let mut phone = office.secretary("wang.fang", &["A1", "A2"]).await;
    let contact = |field: &str| format!("contacts/{PERSON}/{field}");
    phone.create(
        "A1",
        &[
            put("sign_name", "=HYPERLINK(1)"),
            put("road", "天平路"),
            put("number", "2"),
            put("opening_hours", "@SUM(A1)"),
            put("legal_name", "\u{ff0b}1"),
            put(&contact("name"), "王某"),
            put(&contact("phones"), "13900000001/021-50932417"),
            Edit::Note {
                text: "老板13900000001".into(),
            },
        ],
    );
    phone.create(
        "A2",
        &[
            put("sign_name", "悦福理发店"),
            put("road", "天平路"),
            put("number", "4"),
            put("custom/消防", "合格"),
        ],
    );
    phone.sync().await;
    office
        .execute("insert into custom_field (street, name, label, type, class) values ('310104003', '消防', '消防检查', 'text', 'P1')")
        .await;

    let rows = reviewer.csv("").await;
    assert_eq!(
        column(&rows, "店招"),
        ["'=HYPERLINK(1)", "悦福理发店"],
        "in walking order, and no formula"
    );
    assert_eq!(column(&rows, "营业时间"), ["'@SUM(A1)", ""]);
    assert_eq!(column(&rows, "登记名称"), ["'\u{ff0b}1", ""]);
    assert_eq!(column(&rows, "联系电话"), ["139****0001/021-5093****", ""]);
    assert_eq!(column(&rows, "备注"), ["老板***********", ""]);
    assert_eq!(column(&rows, "消防检查"), ["", "合格"]);
    assert_eq!(
        column(&reviewer.csv("?unmasked=true").await, "联系电话"),
        ["13900000001/021-50932417", ""]
    );
    assert_eq!(
        column(&reviewer.csv("?grid=A2").await, "店招"),
        ["悦福理发店"]
    );
    assert_eq!(
        column(&reviewer.csv("?q=yflfd&lang=en").await, "sign name"),
        ["悦福理发店"]
    );
    assert_eq!(
        reviewer.csv("?merged=true").await.len(),
        1,
        "headings alone"
    );

    let answer = reviewer.ask("cards.xlsx?sort=sign_name").await;
    assert_eq!(answer.headers[header::CACHE_CONTROL], "no-store");
    assert!(
        answer.headers[header::CONTENT_DISPOSITION]
            .to_str()
            .unwrap()
            .contains("cards-310104003.xlsx")
    );
    let rows = sheet(&answer.body, 0);
    assert_eq!(rows.len(), 3);
    assert_eq!(rows[0][1], Data::String("店招".into()));
    assert!(
        rows[1..]
            .iter()
            .any(|row| row[1] == Data::String("=HYPERLINK(1)".into())),
        "a text, as it was typed: {rows:?}"
    );
    let whole = String::from_utf8_lossy(&answer.body);
    assert!(!whole.contains("13900000001"));

    let events = office.events("export").await;
    assert_eq!(events.len(), 6);
    assert_eq!(
        events[0],
        json!({ "format": "csv", "cards": 2, "unmasked": false })
    );
    assert_eq!(events[1]["unmasked"], true);
    assert!(
        !events
            .iter()
            .any(|event| event.to_string().contains("yflfd")),
        "no search words in the trail"
    );
}

#[tokio::test]
async fn what_a_file_says_an_import_understands() {
    let office = Office::open().await;
    let mut phone = office.secretary("wang.fang", &["A1"]).await;
    phone.create(
        "A1",
        &[
            put("sign_name", "悦福理发店"),
            put("road", "天平路"),
            put("number", "4"),
            put("category", "服务"),
        ],
    );
    phone.sync().await;
    let admin = office.admin();
    let file = admin.ask("cards.xlsx").await.body;
    let report = admin.import("?dry_run=true", file).await;
    let columns = report["columns"].to_string();
    for field in ["sign_name", "road", "number", "category", "grid"] {
        assert!(columns.contains(field), "{field}: {report}");
    }
}

/// A column that no field takes and that is about a person is as personal as a contact: in files, in lists, and to who looks for the person.
#[tokio::test]
async fn a_personal_column_is_masked_and_found() {
    let (office, reviewer) = open().await;
    let file = "店招,地址,网格,联系人,联系电话,微信号,网格员电话,消防检查\n\
                王记面馆,天平路1号,A1,王小明,13800000001,wang_xm88,13900000002,合格\n";
    // An import of before declared the column as internal.
    office
        .execute("insert into custom_field (street, name, label, type, class) values ('310104003', '微信号', '微信号', 'text', 'P1')")
        .await;
    office.admin().import("?dry_run=false", file).await;
    let classes: Vec<(String, String)> =
        sqlx::query_as("select name, class from custom_field order by name collate \"C\"")
            .fetch_all(&office.test.app.pool)
            .await
            .unwrap();
    let class = |name: &str| {
        let found = classes.iter().find(|(known, _)| known == name);
        found.map(|(_, class)| class.as_str())
    };
    assert_eq!(class("微信号"), Some("P2"));
    assert_eq!(class("网格员电话"), Some("P2"));
    assert_eq!(class("消防检查"), Some("P1"));

    let rows = reviewer.csv("").await;
    assert_eq!(column(&rows, "微信号"), ["w***_****"]);
    assert_eq!(column(&rows, "网格员电话"), ["139****0002"]);
    assert_eq!(column(&rows, "消防检查"), ["合格"]);
    assert_eq!(
        column(&reviewer.csv("?unmasked=true").await, "网格员电话"),
        ["13900000002"]
    );
    let auditor = office.desk("auditor", "auditor").await;
    let listed = auditor.get("cards").await;
    assert_eq!(listed["items"][0]["custom"]["网格员电话"], "139****0002");
    assert_eq!(listed["items"][0]["custom"]["消防检查"], "合格");
    let record = listed["items"][0]["record"].as_str().unwrap();
    let shown = reviewer.get(&format!("records/{record}")).await;
    let fields = shown["fields"].as_array().unwrap();
    let field = |key: &str| fields.iter().find(|field| field["key"] == key).unwrap();
    assert_eq!(field("custom/微信号")["class"], "P2");
    assert_eq!(field("custom/消防检查")["class"], "P1");

    let found = office.admin().get("persons?phone=13900000002").await;
    assert_eq!(found["notes"][0]["field"], "custom/网格员电话", "{found}");

    // Whose it is nobody said: the office is told where to look, and can forget it.
    let entry = fields
        .iter()
        .find_map(|field| {
            let rest = field["key"].as_str()?.strip_prefix("contacts/")?;
            rest.split('/').next()
        })
        .unwrap()
        .to_owned();
    let redact = async |body| {
        let path = format!("records/{record}/redact");
        office.admin().call("POST", &path, body).await
    };
    let answer = redact(json!({ "entry": entry, "reason": "subject_request" })).await;
    assert_eq!(answer.status, StatusCode::OK, "{}", answer.json);
    assert_eq!(
        answer.json["mentioned_in"],
        json!(["custom/微信号", "custom/网格员电话"])
    );
    let answer = redact(json!({ "member": "custom/微信号", "reason": "subject_request" })).await;
    assert_eq!(answer.status, StatusCode::OK, "{}", answer.json);
    let left = office
        .admin()
        .get(&format!("records/{record}"))
        .await
        .to_string();
    assert!(
        !left.contains("wang_xm88") && left.contains("13900000002"),
        "{left}"
    );
    office.is_sound().await;
}

/// A name or number of the person in such a column goes with the person.
#[tokio::test]
async fn a_personal_column_goes_with_the_person_it_speaks_of() {
    let office = Office::open().await;
    let file = "店招,地址,网格,联系人,联系电话,夜间找谁,微信\n\
                王记面馆,天平路1号,A1,王小明,13800000001,王小明138-0000-0001,abc_12345\n";
    office.admin().import("?dry_run=false", file).await;
    let listed = office.admin().get("cards").await;
    let record = listed["items"][0]["record"].as_str().unwrap();
    let entry = listed["items"][0]["contacts"][0]["entry"].clone();
    let path = format!("records/{record}/redact");
    let body = json!({ "entry": entry, "reason": "subject_request" });
    let answer = office.admin().call("POST", &path, body).await;
    assert_eq!(answer.status, StatusCode::OK, "{}", answer.json);
    assert_eq!(answer.json["mentioned_in"], json!(["custom/微信"]));
    for place in ["records", "persons"] {
        let said = match place {
            "persons" => office.admin().get("persons?phone=13800000001").await,
            _ => office.admin().get(&format!("records/{record}")).await,
        };
        let said = said.to_string();
        assert!(
            !said.contains("王小明") && !said.contains("0000-0001"),
            "{said}"
        );
    }
    office.is_sound().await;
}

/// Right or mistyped, in whatever text somebody put it.
#[tokio::test]
async fn no_identity_number_is_exported_unasked() {
    let (office, reviewer) = open().await;
    let number = "110105194912310021";
    let spaced = "110105 1949-1231 0021";
    store_unasked(
        &office,
        &[
            put("kind", "shop_card"),
            put("street", HOME),
            put("grid", "A1"),
            put("sign_name", &format!("王记{number}")),
            put("opening_hours", number),
            put("credit_code", number),
            put("custom/备注", &format!("证号{spaced}")),
            put(&format!("contacts/{PERSON}/role"), number),
            Edit::Note {
                text: format!("老板身份证{number}，{spaced}"),
            },
        ],
    )
    .await;
    let masked = format!("{:?}", reviewer.csv("").await);
    for typed in [number, spaced] {
        assert!(!masked.contains(typed), "{masked}");
    }
    assert!(masked.contains("王记***"), "{masked}");
    let whole = format!("{:?}", reviewer.csv("?unmasked=true").await);
    assert!(whole.contains(spaced), "{whole}");
}

#[tokio::test]
async fn two_imports_of_one_file_at_once_make_every_card_once() {
    let office = Office::open().await;
    let rows = (1..=20)
        .map(|n| format!("店{n},天平路{n}号,A1"))
        .collect::<Vec<_>>()
        .join("\n");
    let admin = office.admin();
    let import = async || {
        let report = admin
            .import("?dry_run=false", format!("店招,地址,网格\n{rows}"))
            .await;
        let counts = ["created", "unchanged"].map(|count| report[count].as_u64().unwrap());
        (text(&report["import"]), counts)
    };
    // Somebody pressed twice, or a proxy sent it again: one import made the cards, and the others say so. Who asks while it is being written waits for
    // that same import.
    let reports = futures::future::join_all((0..4).map(|_| import())).await;
    let by_import: BTreeMap<_, _> = reports.into_iter().collect();
    let made = |counts: &&[u64; 2]| **counts == [20, 0];
    assert_eq!(by_import.values().filter(made).count(), 1, "{by_import:?}");
    let others = by_import.values().filter(|counts| !made(counts));
    assert!(
        others.copied().all(|counts| counts == [0, 20]),
        "{by_import:?}"
    );
    let mut remembered: Vec<i32> = sqlx::query_scalar("select created from roll_import")
        .fetch_all(&office.test.app.pool)
        .await
        .unwrap();
    remembered.sort_unstable();
    assert_eq!(remembered.iter().sum::<i32>(), 20, "{remembered:?}");
    assert_eq!(office.count("select count(*) from shop_card").await, 20);
    assert_eq!(
        office
            .count("select count(distinct sign_name) from shop_card")
            .await,
        20
    );
}

#[tokio::test]
async fn a_grid_that_an_import_makes_is_told_of() {
    let office = Office::open().await;
    for (file, told) in [
        ("店招,地址\n王记,天平路1号\n", 1),
        ("店招,地址\n李记,天平路3号\n", 1),
    ] {
        office.admin().import("?dry_run=false", file).await;
        let made = office
            .events("grid")
            .await
            .into_iter()
            .filter(|event| event["grid"] == "未分配")
            .count();
        assert_eq!(made, told, "{file}");
    }
}

/// More than one change may hold: that row is told of, and the file is imported all the same.
#[tokio::test]
async fn a_row_that_is_too_much_stops_no_import() {
    let office = Office::open().await;
    let own = |column: usize| -> String {
        (0..390_u32)
            .filter_map(|n| char::from_u32(0x4e00 + (n * 37 + column as u32 * 101) % 0x5000))
            .collect()
    };
    let headings: Vec<String> = (0..120).map(|column| format!("自定{column}")).collect();
    let full: Vec<String> = (0..120).map(own).collect();
    let file = format!(
        "店招,地址,网格,{}\n大店,天平路1号,A1,{}\n小店,天平路3号,A1{}\n",
        headings.join(","),
        full.join(","),
        ",".repeat(120)
    );
    for created in [1, 0] {
        let report = office.admin().import("?dry_run=false", file.clone()).await;
        assert_eq!(report["created"], created, "{report}");
        let told = report["problems"]
            .as_array()
            .unwrap()
            .iter()
            .find(|problem| problem["code"] == "change_too_large");
        assert_eq!(told.expect("the row is told of")["row"], 2, "{report}");
    }
    assert_eq!(
        office
            .count("select count(*) from shop_card where sign_name = '小店'")
            .await,
        1
    );
}

/// A number of elsewhere is one number, whichever way it is asked for, and nobody's else who has the same digits.
#[tokio::test]
async fn a_number_of_elsewhere_is_found_in_every_spelling() {
    let office = Office::open().await;
    let admin = office.admin();
    admin
        .import(
            "?dry_run=false",
            include_str!("fixtures/rolls/05-foreign-numbers.csv").replace("G1", "A1"),
        )
        .await;
    for (asked, who) in [
        ("%2B852%202123%204567", "陈先生"),
        ("+852+2123+4567", "陈先生"),
        ("00852-21234567", "陈先生"),
        ("85221234567", "陈先生"),
        ("%2B1%20(415)%20555-0100", "史密斯"),
        ("0014155550100", "史密斯"),
        ("886-2-2345-6789", "林"),
        ("%2B44%20(0)20%207946%200958", "张"),
        ("21234567", "本地人"),
        ("021-2123%204567", "本地人"),
        ("14155550100", "另一人"),
    ] {
        let found = admin.get(&format!("persons?phone={asked}")).await;
        let contacts = found["contacts"].as_array().unwrap();
        let names: Vec<String> = contacts
            .iter()
            .map(|contact| contact["fields"]["name"][0].to_string())
            .collect();
        assert_eq!(names, [format!("\"{who}\"")], "{asked}: {found}");
    }
    let answer = admin.ask("persons?phone=%2B852%202123%20456").await;
    assert_eq!(answer.code(), "invalid_field", "{}", answer.json);
    let cards = admin.get("cards?q=00852-21234567").await;
    assert_eq!(cards["total"], 1, "{cards}");
}

/// Not in a field, not in what is kept of the sheet, not in a file that somebody takes in full.
#[tokio::test]
async fn an_identity_number_typed_for_a_credit_code_is_kept_nowhere() {
    let office = Office::open().await;
    let admin = office.admin();
    let file = include_str!("fixtures/rolls/04-identity-number-as-credit-code.csv");
    let report = admin
        .import("?dry_run=false", file.replace("G1", "A1"))
        .await;
    let problems = report["problems"].as_array().unwrap();
    let warned = |row: i64| {
        problems.iter().any(|problem| {
            problem["code"] == "personal_number"
                && problem["row"] == row
                && problem["column"] == "统一社会信用代码"
        })
    };
    assert!(warned(2) && warned(3), "{report}");
    let reviewer = office.desk("reviewer", "reviewer").await;
    let whole = format!("{:?}", reviewer.csv("?unmasked=true").await);
    let kept: Vec<serde_json::Value> = sqlx::query_scalar("select cells from roll_import_row")
        .fetch_all(&office.test.app.pool)
        .await
        .unwrap();
    for text in [report.to_string(), whole, format!("{kept:?}")] {
        assert!(!text.contains("99999919900101"), "{text}");
    }
}

#[tokio::test]
async fn who_may_ask_for_a_person() {
    let (office, reviewer) = open().await;
    let secretary = office.secretary("wang.fang", &["A1"]).await;
    let secretary = office.desk_with(&secretary.token);
    let officer = office.desk("officer", "officer").await;
    let auditor = office.desk("auditor", "auditor").await;
    for route in ["persons", "persons.xlsx"] {
        for who in [&secretary, &officer, &auditor, &reviewer] {
            let answer = who.ask(&format!("{route}?phone=13900000001")).await;
            assert_eq!(answer.code(), "wrong_role");
        }
        for (query, field) in [
            ("", "phone"),
            ("?phone=13900000001&name=%E7%8E%8B%E6%9F%90", "phone"),
            ("?phone=139", "phone"),
            ("?phone=13900000001/13900000002", "phone"),
            ("?phone=", "phone"),
            ("?name=%E7%8E%8B", "name"),
            ("?name=", "name"),
            ("?id=1", "id"),
        ] {
            let answer = office.admin().ask(&format!("{route}{query}")).await;
            assert_eq!(
                (answer.code(), answer.json["field"].as_str()),
                ("invalid_field", Some(field)),
                "{query}: {}",
                answer.json
            );
        }
    }
    assert!(office.events("person_export").await.is_empty());
}

#[tokio::test]
async fn everything_held_about_one_person_and_nothing_about_another() {
    let office = Office::open().await;
    let mut phone = office.secretary("wang.fang", &["A1", "A2"]).await;
    let of = |entry: &str, field: &str| format!("contacts/{entry}/{field}");
    let card = phone.create(
        "A1",
        &[
            put("sign_name", "王记包子"),
            put(&of(PERSON, "name"), "王小明"),
            put(&of(PERSON, "phones"), "139-0000-0001"),
            put(&format!("consent/{CONSENT}/contact"), PERSON),
            put(&format!("consent/{CONSENT}/scope"), "party_status"),
            put(&format!("consent/{CONSENT}/decision"), "grant"),
            put(&of(PERSON, "party_status"), "群众"),
            put(&of(NEIGHBOUR, "name"), "李邻居"),
            put(&of(NEIGHBOUR, "phones"), "13900000002"),
        ],
    );
    let noted = phone.create(
        "A1",
        &[
            put("sign_name", "悦福"),
            Edit::Note {
                text: "钥匙在王小明处 13900000001".into(),
            },
        ],
    );
    phone.sync().await;
    // The number changes; the old one is still in the history.
    phone.edit(card, &[put(&of(PERSON, "phones"), "13900000009")]);
    let transfer = [
        put("kind", "transfer_request"),
        put("street", HOME),
        put("grid", "A1"),
        put("transfer_kind", "in_city_e"),
        put("member_alias", "小王"),
        put("member_name", "王小明"),
        put("phone", "13900000001"),
    ];
    let transfer = phone.create_with(Kind::TransferRequest, "A1", &transfer);
    // Another member's, in whose note the person is mentioned.
    let mentioning = phone.create_with(
        Kind::TransferRequest,
        "A1",
        &[
            put("kind", "transfer_request"),
            put("street", HOME),
            put("grid", "A1"),
            put("transfer_kind", "in_city_e"),
            put("member_alias", "小李"),
            Edit::Note {
                text: "王小明 13900000001 介绍".into(),
            },
        ],
    );
    phone.sync().await;
    // Made before the phone could know that its grid is another's by now.
    office.assign(HOME, "wang.fang", &["A2"]).await;
    phone.edit(card, &[put(&of(PERSON, "preferred_time"), "下午")]);
    phone.edit(noted, &[put("opening_hours", "问13900000001")]);
    phone.edit(noted, &[put("unit", "101室")]);
    phone.sync().await;

    for query in [
        "?phone=%2B86%20139%200000%200001",
        "?name=%E7%8E%8B%20%E5%B0%8F%E6%98%8E",
    ] {
        let answer = office.admin().ask(&format!("persons{query}")).await;
        assert_eq!(answer.status, StatusCode::OK, "{}", answer.json);
        let found = &answer.json;
        assert_eq!(found["complete"], true);
        let contacts = found["contacts"].as_array().unwrap();
        assert_eq!(contacts.len(), 1, "{found}");
        assert_eq!(contacts[0]["fields"]["phones"], json!(["13900000009"]));
        assert_eq!(contacts[0]["fields"]["party_status"], json!(["群众"]));
        assert_eq!(contacts[0]["consents"][0]["decision"], "grant");
        assert_eq!(found["transfers"][0]["record"], transfer.to_string());
        assert_eq!(found["notes"][0]["record"], noted.to_string());
        assert_eq!(
            (&found["notes"][1]["record"], &found["notes"][1]["kind"]),
            (&json!(mentioning.to_string()), &json!("transfer_request")),
            "the notes of every kind are looked through: {found}"
        );
        let changes = found["changes"].to_string();
        for part in ["139-0000-0001", "13900000009", "群众", "grant", "小王"] {
            assert!(changes.contains(part), "{part}: {changes}");
        }
        assert!(found["held"].to_string().contains("下午"), "{found}");
        let all = found.to_string();
        for other in ["李邻居", "13900000002", "101室"] {
            assert!(!all.contains(other), "{other} is not about them: {all}");
        }
    }
    let by_number = office.admin().ask("persons?phone=13900000001").await;
    assert!(by_number.json["held"].to_string().contains("问13900000001"));
    let nobody = office.admin().ask("persons?phone=13900000077").await;
    assert!(
        nobody
            .json
            .as_object()
            .unwrap()
            .values()
            .all(|list| list.as_array().is_none_or(Vec::is_empty)),
        "{}",
        nobody.json
    );

    let file = office.admin().ask("persons.xlsx?phone=13900000001").await;
    let cells = format!("{:?}", sheet(&file.body, 0));
    assert!(
        cells.contains("王小明") && cells.contains("群众") && !cells.contains("李邻居"),
        "{cells}"
    );

    let events = office.events("person_export").await;
    assert_eq!(events.len(), 5);
    assert_eq!(events[0]["by"], "phone");
    let trail = office.count("select count(*) from audit_event where detail like '%13900000001%' or detail like '%王%'").await;
    assert_eq!(trail, 0, "the trail names no person");
    let shown = office
        .count("select count(*) from audit_event where action = 'read_p3' and username = 'root'")
        .await;
    assert_eq!(
        shown,
        4 * 2,
        "one for each record whose sensitive fields were shown"
    );
}

/// What is not in force any more is read all the same.
#[tokio::test]
async fn a_sensitive_value_of_the_past_is_told_of_when_it_is_read() {
    let office = Office::open().await;
    let mut phone = office.secretary("wang.fang", &["A1", "A2"]).await;
    let of = |field: &str| format!("contacts/{PERSON}/{field}");
    let consent = |field: &str| format!("consent/{CONSENT}/{field}");
    let person = [
        put("sign_name", "王记包子"),
        put(&of("name"), "王小明"),
        put(&of("phones"), "13900000001"),
    ];
    let granted = [
        put(&consent("contact"), PERSON),
        put(&consent("scope"), "party_status"),
        put(&consent("decision"), "grant"),
    ];
    let card = phone.create("A1", &[&person[..], &granted].concat());
    phone.edit(card, &[put(&of("party_status"), "群众")]);
    phone.edit(
        card,
        &[Edit::Delete {
            key: of("party_status"),
        }],
    );
    assert!(
        phone
            .sync()
            .await
            .codes()
            .iter()
            .all(|code| *code == "accepted")
    );
    let found = office.admin().ask("persons?phone=13900000001").await;
    assert_eq!(
        found.json["contacts"][0]["fields"].get("party_status"),
        None,
        "{}",
        found.json
    );
    assert!(
        found.json["changes"].to_string().contains("群众"),
        "{}",
        found.json
    );
    let told = "select count(*) from audit_event where action = 'read_p3' and username = 'root' and record is not null";
    assert_eq!(office.count(told).await, 1);

    // One that is held, of a card where nobody has accepted any.
    let second = phone.create(
        "A2",
        &[
            put("sign_name", "李记"),
            put(&of("name"), "李小红"),
            put(&of("phones"), "13900000002"),
        ],
    );
    assert_eq!(phone.sync().await.codes(), ["accepted"]);
    office.assign(HOME, "wang.fang", &["A1"]).await;
    phone.edit(
        second,
        &[&granted[..], &[put(&of("party_status"), "党员")]].concat(),
    );
    assert_eq!(phone.sync().await.codes(), ["grid_lost"]);
    let found = office.admin().ask("persons?phone=13900000002").await;
    assert!(
        found.json["held"].to_string().contains("党员"),
        "{}",
        found.json
    );
    assert_eq!(office.count(told).await, 2);
}

/// The history, both exports, the search for a person, the trail, held edits and notices: none tells what a withdrawn consent had allowed.
#[tokio::test]
async fn a_withdrawn_value_is_shown_nowhere() {
    let (office, reviewer) = open().await;
    let mut phone = office.secretary("wang.fang", &["A1", "A2"]).await;
    let mut other = office.secretary("li.na", &["A1"]).await;
    let of = |field: &str| format!("contacts/{PERSON}/{field}");
    let consent = |entry: &str, decision: &str| {
        let key = |field: &str| format!("consent/{entry}/{field}");
        [
            put(&key("contact"), PERSON),
            put(&key("scope"), "party_status"),
            put(&key("decision"), decision),
        ]
    };
    let (first, second, third) = ("预备党员", "共青团员", "民主党派成员");
    let person = [
        put("sign_name", "王记包子"),
        put(&of("name"), "王小明"),
        put(&of("phones"), "13900000001"),
        put(&of("party_status"), first),
    ];
    let card = phone.create("A1", &[&person[..], &consent(CONSENT, "grant")].concat());
    phone.sync().await;
    other.sync().await;
    // Two at once, and one of them chosen: a resolution, and a notice to the other author.
    phone.edit(card, &[put(&of("party_status"), second)]);
    other.edit(card, &[put(&of("party_status"), third)]);
    phone.sync().await;
    other.sync().await;
    let inbox = format!("conflicts?record={card}&field={}", of("party_status"));
    let inbox = reviewer.get(&inbox).await;
    let values = inbox["items"][0]["fields"][0]["values"].as_array();
    let seen: Vec<_> = values
        .expect("two values")
        .iter()
        .map(|value| &value["op"])
        .collect();
    let choice = json!({ "field": of("party_status"), "value": second, "seen": seen });
    let path = format!("records/{card}/resolutions");
    reviewer.post(&path, choice).await;
    // One that waits for a reviewer.
    office.assign(HOME, "li.na", &["A2"]).await;
    other.edit(card, &[put(&of("party_status"), third)]);
    assert_eq!(
        other.push(false, &other.outbox).await.codes(),
        ["grid_lost"]
    );

    let told = async || {
        let (admin, reviewer) = (&office.admin(), &reviewer);
        let mut all = Vec::new();
        for (who, path) in [
            (reviewer, format!("records/{card}")),
            (reviewer, format!("records/{card}/history")),
            (admin, format!("records/{card}/history")),
            (reviewer, "cards".to_owned()),
            (reviewer, "conflicts".to_owned()),
            (reviewer, "resolutions".to_owned()),
            (reviewer, "held".to_owned()),
            (admin, "persons?phone=13900000001".to_owned()),
            (admin, "audit".to_owned()),
            (reviewer, "cards.csv".to_owned()),
        ] {
            let answer = who.ask(&path).await;
            assert_eq!(answer.status, StatusCode::OK, "{path}: {}", answer.json);
            all.push((path, String::from_utf8_lossy(&answer.body).into_owned()));
        }
        for path in ["cards.xlsx", "persons.xlsx?phone=13900000001"] {
            let file = admin.ask(path).await;
            assert_eq!(file.status, StatusCode::OK, "{path}");
            let sheets = if path.starts_with("persons") { 5 } else { 1 };
            let cells: Vec<_> = (0..sheets).map(|no| sheet(&file.body, no)).collect();
            all.push((path.to_owned(), format!("{cells:?}")));
        }
        all
    };
    let values = [first, second, third];
    let before = told().await;
    let search = |all: &[(String, String)]| all[7].1.clone();
    for value in values {
        assert!(search(&before).contains(value), "{value} is shown before");
    }

    phone.sync().await;
    phone.edit(
        card,
        &consent("0198c0de-0000-7000-8000-0000000000c9", "withdraw"),
    );
    assert_eq!(phone.sync().await.codes(), ["accepted"]);
    let after = told().await;
    for value in values {
        for (path, shown) in &after {
            assert!(!shown.contains(value), "{path} tells {value}: {shown}");
        }
    }
    // That something was written is told.
    assert!(search(&after).contains("party_status") && search(&after).contains("●●●"));
    let said = "select count(*) from notice where detail::text like any (array['%预备%', '%共青%', '%民主%'])";
    assert_eq!(office.count(said).await, 0);
}
