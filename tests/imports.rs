//! Sheets that come in: a workbook that an export made goes back as what its author changed, any other is matched against the roll, and nothing is
//! written before somebody says so.

mod round_trip;

use axum::{body::Body, http::StatusCode};
use lianka_server::upkeep::imports;
use lianka_sync_core::{id::RecordId, kinds::conflicts};
use serde_json::{Value, json};

use crate::{
    scene::{Desk, NOW},
    sync::phone::{Office, Phone, put, text},
};

const PERSON: &str = "0198c0de-0000-7000-8000-00000000000a";

/// A file of delimited text, as somebody edits it.
#[derive(Clone)]
struct Sheet {
    rows: Vec<Vec<String>>,
}

impl Sheet {
    async fn export(desk: &Desk, query: &str) -> Self {
        let answer = desk.ask(&format!("cards.csv{query}")).await;
        assert_eq!(answer.status, StatusCode::OK, "{}", answer.json);
        let mut reader = csv::ReaderBuilder::new()
            .has_headers(false)
            .flexible(true)
            .from_reader(&answer.body[3..]);
        let rows = reader
            .records()
            .map(|row| row.expect("a row").iter().map(str::to_owned).collect());
        Self {
            rows: rows.collect(),
        }
    }

    fn file(&self) -> Body {
        Body::from(self.text())
    }

    fn text(&self) -> String {
        let mut writer = csv::WriterBuilder::new()
            .flexible(true)
            .from_writer(Vec::new());
        for row in &self.rows {
            writer.write_record(row).expect("it is written");
        }
        String::from_utf8(writer.into_inner().expect("it is written")).expect("UTF-8")
    }

    fn at(&self, heading: &str) -> usize {
        let found = self.rows[0].iter().position(|of| of == heading);
        found.unwrap_or_else(|| panic!("{heading} in {:?}", self.rows[0]))
    }

    /// The row of the shop of this name.
    fn row(&mut self, shop: &str) -> &mut Vec<String> {
        let at = self.at("店招");
        let is_it = |name: &str| name.trim_start_matches('\'') == shop;
        let found = self.rows.iter_mut().skip(1).find(|row| is_it(&row[at]));
        found.unwrap_or_else(|| panic!("{shop}"))
    }

    fn set(&mut self, shop: &str, heading: &str, value: &str) {
        let at = self.at(heading);
        value.clone_into(&mut self.row(shop)[at]);
    }

    fn get(&mut self, shop: &str, heading: &str) -> String {
        let at = self.at(heading);
        self.row(shop)[at].clone()
    }
}

struct Scene {
    office: Office,
    admin: Desk,
    phone: Phone,
    cards: Vec<RecordId>,
}

/// Three shops, one with a contact person, a note, tags and a point.
async fn scene() -> Scene {
    let office = Office::open().await;
    let admin = office.admin();
    let mut phone = office.secretary("wang.fang", &["A1"]).await;
    let contact = |field: &str| format!("contacts/{PERSON}/{field}");
    let cards = vec![
        phone.create(
            "A1",
            &[
                put("sign_name", "王记包子"),
                put("road", "天平路"),
                put("number", "2"),
                put("address_raw", "天平路2号"),
                put("category", "餐饮"),
                put("opening_hours", "6:00-20:00"),
                put("point", "geo:31.2,121.4;crs=gcj02"),
                put(&contact("name"), "王小明"),
                put(&contact("phones"), "13800000001"),
                lianka_sync_core::crdt::record::Edit::add("tags/早餐"),
                lianka_sync_core::crdt::record::Edit::Note {
                    text: "后门送货".into(),
                },
            ],
        ),
        phone.create(
            "A1",
            &[
                put("sign_name", "李家面馆"),
                put("road", "天平路"),
                put("number", "4"),
                put("address_raw", "天平路4号"),
            ],
        ),
        phone.create(
            "A1",
            &[
                put("sign_name", "=公式店"),
                put("road", "天平路"),
                put("number", "6"),
                put("address_raw", "天平路6号"),
                put("occupancy_observed_on", "2026-11-01"),
            ],
        ),
    ];
    phone.sync().await;
    Scene {
        office,
        admin,
        phone,
        cards,
    }
}

impl Scene {
    async fn propose(&self, sheet: &Sheet) -> Value {
        self.admin.import("", sheet.file()).await
    }

    async fn apply(&self, proposal: &Value, json: Value) -> Value {
        let import = text(&proposal["import"]);
        self.admin
            .post(&format!("imports/{import}/apply"), json)
            .await
    }

    async fn undo(&self, proposal: &Value) -> Value {
        let import = text(&proposal["import"]);
        self.admin
            .post(&format!("imports/{import}/undo"), json!({}))
            .await
    }

    async fn rows(&self, proposal: &Value, query: &str) -> Vec<Value> {
        let import = text(&proposal["import"]);
        self.admin
            .items(&format!("imports/{import}/rows{query}"))
            .await
    }
}

fn outcomes(report: &Value) -> Value {
    report["outcomes"].clone()
}

#[tokio::test]
async fn an_export_that_nobody_touched_changes_nothing() {
    let scene = scene().await;
    for query in ["", "?lang=en", "?unmasked=true"] {
        let sheet = Sheet::export(&scene.admin, query).await;
        let head = scene
            .office
            .count("select head_seq from street where street = '310104003'")
            .await;
        let report = scene.propose(&sheet).await;
        assert_eq!(
            outcomes(&report),
            json!({ "unchanged": 3 }),
            "{query}: {report}"
        );
        assert_eq!(report["status"], "applied");
        assert_eq!(report["problem_counts"], json!({}), "{query}: {report}");
        let after = scene
            .office
            .count("select head_seq from street where street = '310104003'")
            .await;
        assert_eq!(head, after, "nothing was written");
    }
    // As a workbook, too.
    let file = scene.admin.ask("cards.xlsx").await.body;
    let report = scene.admin.import("", file).await;
    assert_eq!(outcomes(&report), json!({ "unchanged": 3 }), "{report}");
    assert_eq!(report["problem_counts"], json!({}), "{report}");
}

/// What was written since the export stands beside what the sheet changed, and untouched cells are no edits.
#[tokio::test]
async fn a_changed_cell_is_an_edit_by_somebody_who_saw_the_export() {
    let mut scene = scene().await;
    let mut sheet = Sheet::export(&scene.admin, "").await;
    let [bun, noodle, formula] = scene.cards[..] else {
        panic!()
    };
    scene.phone.edit(
        bun,
        &[put("category", "早点"), put("opening_hours", "5:00-19:00")],
    );
    scene.phone.edit(noodle, &[put("category", "面食")]);
    scene.phone.sync().await;
    // In the sheet: one field that the phone wrote as well, one that it did not, and one in which both say the same.
    sheet.set("王记包子", "营业时间", "7:00-21:00");
    sheet.set("李家面馆", "业态", "面食");
    sheet.set("=公式店", "营业时间", "9:00-18:00");
    let report = scene.propose(&sheet).await;
    assert_eq!(
        outcomes(&report),
        json!({ "unchanged": 1, "update": 2 }),
        "{report}"
    );
    assert_eq!(
        scene.admin.values(bun, "opening_hours").await,
        ["5:00-19:00"],
        "nothing is written yet"
    );
    let done = scene.apply(&report, json!({})).await;
    assert_eq!(
        (&done["status"], &done["states"]["written"]),
        (&json!("applied"), &json!(2)),
        "{done}"
    );
    let mut both = scene.admin.values(bun, "opening_hours").await;
    both.sort();
    assert_eq!(
        both,
        ["5:00-19:00", "7:00-21:00"],
        "side by side, as if a phone had been offline since"
    );
    assert_eq!(
        scene.admin.values(bun, "category").await,
        ["早点"],
        "an untouched cell is no edit"
    );
    assert_eq!(scene.admin.values(noodle, "category").await, ["面食"]);
    assert_eq!(
        scene.admin.values(formula, "opening_hours").await,
        ["9:00-18:00"]
    );
    assert_eq!(scene.admin.values(formula, "sign_name").await, ["=公式店"]);
    // The history names file and row.
    let history = scene.admin.items(&format!("records/{bun}/history")).await;
    let imported = history
        .iter()
        .find(|change| change["import"].is_object())
        .expect("from the sheet");
    assert_eq!(imported["import"]["import"], report["import"]);
    assert!(imported["import"]["row"].as_u64().unwrap() >= 2);
    // The phone sees the conflict.
    scene.phone.sync().await;
    assert_eq!(conflicts(&scene.phone.view(bun)).count(), 1);
    scene.office.equals_rebuild().await;
    scene.office.is_sound().await;
}

#[tokio::test]
async fn a_masked_number_is_never_stored_and_a_whole_one_is_an_edit() {
    let scene = scene().await;
    let key = format!("contacts/{PERSON}/phones");
    let mut sheet = Sheet::export(&scene.admin, "").await;
    assert_eq!(sheet.get("王记包子", "联系电话"), "138****0001");
    sheet.set("王记包子", "联系电话", "138****0002");
    let report = scene.propose(&sheet).await;
    assert_eq!(
        report["problem_counts"],
        json!({ "masked_value": 1 }),
        "{report}"
    );
    assert_eq!(outcomes(&report), json!({ "unchanged": 3 }));
    sheet.set("王记包子", "联系电话", "139 0000 0009");
    let report = scene.propose(&sheet).await;
    assert_eq!(
        outcomes(&report),
        json!({ "unchanged": 2, "update": 1 }),
        "{report}"
    );
    scene.apply(&report, json!({})).await;
    assert_eq!(
        scene.admin.values(scene.cards[0], &key).await,
        ["13900000009"]
    );
}

/// Columns that were moved, added, renamed or taken out, rows that were sorted, taken out or copied.
#[tokio::test]
async fn the_shape_of_the_sheet_does_not_matter() {
    let scene = scene().await;
    let mut sheet = Sheet::export(&scene.admin, "").await;
    sheet.set("李家面馆", "业态", "面食");
    let category = sheet.at("业态");
    let mut shaped = sheet.clone();
    // Renamed, moved to the end, and another one put before all.
    for (nth, row) in shaped.rows.iter_mut().enumerate() {
        let cell = row.remove(category);
        row.push(if nth == 0 {
            "经营种类".to_owned()
        } else {
            cell
        });
        row.insert(
            0,
            if nth == 0 {
                "核对人".to_owned()
            } else {
                "张".to_owned()
            },
        );
    }
    shaped.rows[1..].reverse();
    let report = scene.propose(&shaped).await;
    let rows = scene.rows(&report, "?outcome=update").await;
    let fields = |row: &Value| -> Vec<String> {
        row["fields"]
            .as_array()
            .unwrap()
            .iter()
            .map(|field| text(&field["field"]))
            .collect()
    };
    assert!(
        rows.iter()
            .any(|row| fields(row).contains(&"category".to_owned())),
        "{rows:?}"
    );
    assert_eq!(report["created"], 0, "{report}");

    // A row that is missing deletes nothing, and is listed.
    let mut short = sheet.clone();
    let at = short.at("店招");
    short
        .rows
        .retain(|row| row[at] != "=公式店" && row[at] != "'=公式店");
    let report = scene.propose(&short).await;
    assert_eq!(
        (&report["missing_count"], &report["missing"][0]),
        (&json!(1), &json!(scene.cards[2])),
        "{report}"
    );

    // A row that was copied to make a new shop is a new shop.
    let mut copied = sheet.clone();
    let mut new = copied.row("李家面馆").clone();
    for (heading, value) in [
        ("店招", "新开咖啡馆"),
        ("门牌号", "88"),
        ("原始地址", "天平路88号"),
        ("业态", "咖啡"),
    ] {
        let at = copied.at(heading);
        value.clone_into(&mut new[at]);
    }
    copied.rows.push(new);
    let report = scene.propose(&copied).await;
    assert_eq!(
        outcomes(&report),
        json!({ "unchanged": 2, "update": 1, "new": 1 }),
        "{report}"
    );
    let done = scene.apply(&report, json!({})).await;
    assert_eq!(done["created"], 1, "{done}");
    assert_eq!(
        scene.office.count("select count(*) from shop_card").await,
        4
    );
}

#[tokio::test]
async fn persons_have_lines_of_their_own() {
    let scene = scene().await;
    let card = scene.cards[0];
    let mut sheet = Sheet::export(&scene.admin, "?unmasked=true").await;
    sheet.set("王记包子", "联系人", "李小红\n王小明");
    sheet.set("王记包子", "联系电话", "13900000002\n13800000001");
    let report = scene.propose(&sheet).await;
    scene.apply(&report, json!({})).await;
    assert_eq!(
        scene
            .admin
            .values(card, &format!("contacts/{PERSON}/name"))
            .await,
        ["王小明"]
    );
    assert_eq!(
        scene
            .admin
            .values(card, &format!("contacts/{PERSON}/phones"))
            .await,
        ["13800000001"]
    );
    let cards = scene.admin.items("cards?q=王记包子").await;
    let contacts = cards[0]["contacts"].as_array().unwrap();
    let names: Vec<_> = contacts
        .iter()
        .map(|contact| text(&contact["name"]))
        .collect();
    assert_eq!(names.len(), 2, "{contacts:?}");
    assert!(names.contains(&"李小红".to_owned()));
    // A line that is gone deletes nobody.
    let mut sheet = Sheet::export(&scene.admin, "?unmasked=true").await;
    sheet.set("王记包子", "联系人", "王小明");
    sheet.set("王记包子", "联系电话", "13800000001");
    let report = scene.propose(&sheet).await;
    assert_eq!(
        report["problem_counts"],
        json!({ "contact_line_missing": 1 }),
        "{report}"
    );
    assert_eq!(outcomes(&report)["unchanged"], 3);
}

/// A sheet from elsewhere is matched, never made twice, and overwrites nothing by itself.
#[tokio::test]
async fn a_roll_from_elsewhere_is_matched_and_compared() {
    let scene = scene().await;
    let file = "店名,地址,业态,电话,联系人,年度\n王记包子,天平路2号,早餐店,13800000001,王小明,2026\n李家面馆,天平路４号,面馆,,,2026\n新店,天平路10号,花店,,,2026\n";
    let report = scene.admin.import("", file).await;
    assert_eq!(
        outcomes(&report),
        json!({ "update": 2, "new": 1 }),
        "{report}"
    );
    let rows = scene.rows(&report, "?outcome=update").await;
    assert_eq!(rows[0]["record"], json!(scene.cards[0]));
    assert!(
        rows[0]["reasons"]
            .as_array()
            .unwrap()
            .contains(&json!("same_door")),
        "{rows:?}"
    );
    let field = rows[0]["fields"]
        .as_array()
        .unwrap()
        .iter()
        .find(|field| field["field"] == "category")
        .expect("it differs");
    assert_eq!(
        (&field["is"], &field["shall"]),
        (&json!(["餐饮"]), &json!("早餐店"))
    );
    scene.apply(&report, json!({})).await;
    assert_eq!(
        scene.admin.values(scene.cards[0], "category").await,
        ["餐饮"],
        "only where the card says nothing"
    );
    assert_eq!(
        scene.admin.values(scene.cards[1], "category").await,
        ["面馆"]
    );
    assert_eq!(
        scene.office.count("select count(*) from shop_card").await,
        4
    );
    // The same roll with one more column, or other spellings, changes nothing.
    let again = "店名,地址,业态,电话,联系人,年度,备考\n王记包子,天平路2号 ,早餐店,138 0000 0001,王小明,2026,\n李家面馆,天平路4号,面馆,,,2026,\n新店,天平路１０号,花店,,,2026,\n";
    let report = scene.admin.import("", again).await;
    assert_eq!(outcomes(&report), json!({ "unchanged": 3 }), "{report}");
    // What is taken instead, or beside, is chosen by column.
    let other = "店名,地址,业态\n王记包子,天平路2号,包子铺\n李家面馆,天平路4号,拉面\n";
    let report = scene.admin.import("", other).await;
    let choices = json!([{ "row": 3, "columns": { "category": "take" } }]);
    scene
        .apply(
            &report,
            json!({ "columns": { "category": "conflict" }, "choices": choices }),
        )
        .await;
    let mut both = scene.admin.values(scene.cards[0], "category").await;
    both.sort();
    assert!(both == ["包子铺", "餐饮"] || both == ["餐饮"], "{both:?}");
    assert_eq!(
        scene.admin.values(scene.cards[1], "category").await,
        ["拉面"]
    );
}

#[tokio::test]
async fn one_corrected_digit_makes_no_second_card() {
    let office = Office::open().await;
    let admin = office.admin();
    let first = "店招,地址,网格,联系人,联系电话\n王记,天平路1号,A1,王某,13800000001\n";
    let second = "店招,地址,网格,联系人,联系电话\n王记,天平路1号,A1,王某,13800000007\n";
    assert_eq!(admin.import("?dry_run=false", first).await["created"], 1);
    let report = admin.import("?dry_run=false", second).await;
    assert_eq!(
        (&report["status"], &report["created"]),
        (&json!("proposed"), &json!(0)),
        "{report}"
    );
    assert_eq!(outcomes(&report), json!({ "update": 1 }));
    assert_eq!(office.count("select count(*) from shop_card").await, 1);
}

/// Which of several shops a row is, somebody says.
#[tokio::test]
async fn what_may_be_several_cards_waits_for_a_choice() {
    let mut scene = scene().await;
    let twin = scene.phone.create(
        "A1",
        &[
            put("sign_name", "王记包子"),
            put("road", "天平路"),
            put("number", "2"),
            put("address_raw", "天平路2号"),
        ],
    );
    scene.phone.sync().await;
    let report = scene
        .admin
        .import("", "店名,地址,业态\n王记包子,天平路2号,早点\n")
        .await;
    assert_eq!(outcomes(&report), json!({ "ambiguous": 1 }), "{report}");
    let rows = scene.rows(&report, "").await;
    assert_eq!(
        rows[0]["candidates"].as_array().unwrap().len(),
        2,
        "{rows:?}"
    );
    let import = text(&report["import"]);
    let path = format!("imports/{import}/apply");
    let refused = scene
        .admin
        .call("POST", &path, json!({ "rows": [2] }))
        .await;
    assert_eq!(
        (refused.status, refused.code()),
        (StatusCode::CONFLICT, "row_undecided")
    );
    let done = scene
        .apply(&report, json!({ "choices": [{ "row": 2, "card": twin }] }))
        .await;
    assert_eq!(done["status"], "applied", "{done}");
    assert_eq!(scene.admin.values(twin, "category").await, ["早点"]);
}

#[tokio::test]
async fn an_import_is_taken_back_where_nobody_wrote_since() {
    let mut scene = scene().await;
    let mut sheet = Sheet::export(&scene.admin, "").await;
    sheet.set("王记包子", "业态", "小吃");
    sheet.set("李家面馆", "业态", "面食");
    let mut new = sheet.row("李家面馆").clone();
    let id = sheet.at("卡片编号");
    new[id].clear();
    for (heading, value) in [
        ("店招", "咖啡馆"),
        ("门牌号", "88"),
        ("原始地址", "天平路88号"),
    ] {
        let at = sheet.at(heading);
        value.clone_into(&mut new[at]);
    }
    let mut second = new.clone();
    for (heading, value) in [
        ("店招", "花店"),
        ("门牌号", "90"),
        ("原始地址", "天平路90号"),
    ] {
        let at = sheet.at(heading);
        value.clone_into(&mut second[at]);
    }
    sheet.rows.extend([new, second]);
    let report = scene.propose(&sheet).await;
    assert_eq!(
        outcomes(&report),
        json!({ "unchanged": 1, "update": 2, "new": 2 }),
        "{report}"
    );
    scene.apply(&report, json!({})).await;
    assert_eq!(
        scene.office.count("select count(*) from shop_card").await,
        5
    );
    // Somebody works with one of the new cards, and with one of the fields.
    scene.phone.sync().await;
    let flower = scene.admin.items("cards?q=花店").await;
    let flower: RecordId = text(&flower[0]["record"]).parse().unwrap();
    scene.phone.edit(flower, &[put("category", "鲜花")]);
    scene.phone.edit(scene.cards[1], &[put("category", "拉面")]);
    scene.phone.sync().await;
    let undone = scene.undo(&report).await;
    assert_eq!(undone["status"], "undone", "{undone}");
    assert_eq!(undone["states"]["kept"], 2, "{undone}");
    assert_eq!(
        scene.admin.values(scene.cards[0], "category").await,
        ["餐饮"]
    );
    assert_eq!(
        scene.admin.values(scene.cards[1], "category").await,
        ["拉面"]
    );
    assert_eq!(
        scene.office.count("select count(*) from shop_card").await,
        4,
        "the one that nobody touched is gone"
    );
    assert_eq!(
        scene
            .office
            .count("select count(*) from shop_card where sign_name = '花店'")
            .await,
        1
    );
    scene.office.equals_rebuild().await;
    scene.office.is_sound().await;
    // The sheet can be imported again.
    let report = scene.propose(&sheet).await;
    assert_eq!(outcomes(&report)["new"], 1, "{report}");
}

/// Nobody can tell what a phone has not sent yet. The card goes with its import; what its author wrote on it stays with the author, who is told why.
#[tokio::test(flavor = "multi_thread")]
async fn an_edit_of_a_card_whose_import_was_taken_back_stays_with_its_author() {
    let scene = crate::scene::Scene::open().await;
    let phone = scene.phone("wang.fang", &["A1"]).await;
    let other = scene.enrol("tablet", "wang.fang").await;
    let admin = scene.office.admin();
    let sheet = "店招,地址\n咖啡馆,天平路88号\n花店,天平路90号\n书店,天平路92号\n";
    let proposal = admin.import("?grid=A1", sheet).await;
    let path = format!("imports/{}", text(&proposal["import"]));
    admin.post(&format!("{path}/apply"), json!({})).await;
    for phone in [&phone, &other] {
        phone.sync().await.expect("synced");
    }
    let card = async |name: &str| -> RecordId {
        let found = admin.items(&format!("cards?q={name}")).await;
        text(&found[0]["record"]).parse().unwrap()
    };
    let (coffee, flowers) = (card("咖啡馆").await, card("花店").await);
    let edits = [put("category", "饮品"), put("opening_hours", "7:00-21:00")];
    phone.edit(coffee, &edits, NOW).expect("saved");
    let undone = admin.post(&format!("{path}/undo"), json!({})).await;
    assert_eq!(undone["states"], json!({ "undone": 3 }), "{undone}");
    for count in [
        "select count(*) from shop_card",
        "select count(*) from record",
        "select count(*) from change_log where type <> 'leave'",
    ] {
        assert_eq!(scene.office.count(count).await, 0, "{count}");
    }
    for phone in [&phone, &other] {
        phone.sync().await.expect("synced");
        assert!(phone.project_all().expect("readable").is_empty());
    }
    let drafts = phone.drafts().expect("readable");
    assert_eq!(drafts.len(), 1, "{drafts:?}");
    assert_eq!(drafts[0].draft.record, coffee);
    assert_eq!(drafts[0].draft.edits, edits);
    assert_eq!(drafts[0].draft.reason.code, "import_undone");
    assert!(other.drafts().expect("readable").is_empty());
    let later = phone.edit(flowers, &[put("category", "鲜花")], NOW);
    assert!(later.is_err(), "the card is not there any more");
    // A phone that comes later is sent nothing of it, and neither is one that starts over.
    let new = scene.enrol("new", "wang.fang").await;
    new.sync().await.expect("synced");
    assert!(new.project_all().expect("readable").is_empty());
    scene.office.equals_rebuild().await;
    scene.office.is_sound().await;
}

/// An edit that waits for a reviewer is somebody's work as well.
#[tokio::test]
async fn a_card_with_an_edit_that_waits_for_a_reviewer_stays() {
    let mut scene = scene().await;
    let proposal = scene
        .admin
        .import("?grid=A1", "店招,地址\n咖啡馆,天平路88号\n")
        .await;
    scene.apply(&proposal, json!({})).await;
    scene.phone.sync().await;
    let found = scene.admin.items("cards?q=咖啡馆").await;
    let coffee: RecordId = text(&found[0]["record"]).parse().unwrap();
    scene.phone.edit(coffee, &[put("category", "饮品")]);
    scene
        .office
        .assign(crate::sync::phone::HOME, "wang.fang", &[])
        .await;
    assert_eq!(scene.phone.sync().await.codes(), ["grid_lost"]);
    let undone = scene.undo(&proposal).await;
    assert_eq!(undone["states"], json!({ "kept": 1 }), "{undone}");
    assert_eq!(scene.admin.items("held").await.len(), 1);
    scene.office.is_sound().await;
}

#[tokio::test]
async fn a_proposal_is_dropped_and_nothing_of_it_stays() {
    let scene = scene().await;
    let report = scene
        .admin
        .import("", "店名,地址,联系人\n新店,天平路10号,欧阳小明\n")
        .await;
    let import = text(&report["import"]);
    let dropped = scene
        .admin
        .call("DELETE", &format!("imports/{import}"), json!({}))
        .await;
    assert_eq!(dropped.status, StatusCode::OK, "{}", dropped.json);
    assert_eq!(dropped.json["status"], "dropped");
    assert_eq!(
        scene
            .office
            .count("select count(*) from roll_import_row")
            .await,
        0
    );
    let late = scene
        .admin
        .call("POST", &format!("imports/{import}/apply"), json!({}))
        .await;
    assert_eq!(late.code(), "import_closed");
    assert_eq!(
        scene.office.count("select count(*) from shop_card").await,
        3
    );
}

/// However often it is asked, and in whatever parts: a request that was repeated after a crash makes nothing twice.
#[tokio::test]
async fn a_row_is_written_once() {
    let scene = scene().await;
    let rows: Vec<String> = (10..40).map(|n| format!("店{n},天平路{n}号\n")).collect();
    let rows = rows.concat();
    let report = scene.admin.import("", format!("店招,地址\n{rows}")).await;
    assert_eq!(outcomes(&report), json!({ "new": 30 }), "{report}");
    for _ in 0..2 {
        let done = scene.apply(&report, json!({ "rows": [2, 3] })).await;
        assert_eq!(
            (
                &done["status"],
                &done["created"],
                &done["states"]["written"]
            ),
            (&json!("proposed"), &json!(30), &json!(2)),
            "{done}"
        );
    }
    for _ in 0..2 {
        let done = scene.apply(&report, json!({})).await;
        assert_eq!(
            (&done["status"], &done["states"]["written"]),
            (&json!("applied"), &json!(30)),
            "{done}"
        );
    }
    let cards = "select count(*) from shop_card";
    assert_eq!(scene.office.count(cards).await, 33);
    // The same sheet again says nothing new.
    let again = scene
        .admin
        .import("?dry_run=false", format!("店招,地址\n{rows}"))
        .await;
    assert_eq!(outcomes(&again), json!({ "unchanged": 30 }), "{again}");
    let unknown = scene
        .admin
        .call(
            "POST",
            &format!("imports/{}/apply", text(&report["import"])),
            json!({ "rows": [999] }),
        )
        .await;
    assert_eq!(unknown.code(), "row_undecided");
    scene.office.is_sound().await;
}

/// A row that looked like a new shop, and that somebody gave to a card, did not make the card: taking it back takes nothing but the row.
#[tokio::test]
async fn a_card_that_a_row_was_given_to_does_not_go_with_the_import() {
    let scene = scene().await;
    let card = scene.cards[1];
    let proposal = scene
        .admin
        .import("?grid=A1", "店招,营业时间\n别处来的店,9:00-21:00\n")
        .await;
    assert_eq!(outcomes(&proposal), json!({ "new": 1 }), "{proposal}");
    let choices = json!({ "choices": [{ "row": 2, "card": card }], "columns": { "*": "take" } });
    scene.apply(&proposal, choices).await;
    assert_eq!(scene.admin.values(card, "sign_name").await, ["别处来的店"]);
    let undone = scene.undo(&proposal).await;
    assert_eq!(undone["states"], json!({ "undone": 1 }), "{undone}");
    assert_eq!(scene.admin.values(card, "sign_name").await, ["李家面馆"]);
    assert!(scene.admin.values(card, "opening_hours").await.is_empty());
}

/// Parts say together what the whole does, also of rows that were stored before a later one told of them.
#[tokio::test]
async fn a_long_roll_is_proposed_and_written_part_by_part() {
    let scene = scene().await;
    let rows: String = (10..1_110).fold(String::new(), |rows, n| {
        rows + &format!("店{n},天平路{n}号\n")
    });
    let report = scene
        .admin
        .import("", format!("店招,地址\n{rows}分店,天平路10号\n"))
        .await;
    assert_eq!(outcomes(&report), json!({ "new": 1_101 }), "{report}");
    assert_eq!(report["problem_counts"]["same_door_twice"], 2, "{report}");
    let first = &scene.rows(&report, "?page_size=1").await[0];
    assert_eq!(first["row"], 2);
    let told = first["problems"].as_array().expect("problems");
    let twice = told.iter().find(|told| told["code"] == "same_door_twice");
    assert_eq!(twice.expect("it is told of")["other_row"], 1_102, "{first}");
    let done = scene.apply(&report, json!({})).await;
    assert_eq!(
        (&done["status"], &done["states"]["written"]),
        (&json!("applied"), &json!(1_101)),
        "{done}"
    );
    assert_eq!(
        scene
            .office
            .count("select created::bigint from roll_import where status = 'applied'")
            .await,
        1_101
    );
    let cards = "select count(*) from shop_card";
    assert_eq!(scene.office.count(cards).await, 1_104);
    scene.office.equals_rebuild().await;
    let undone = scene.undo(&report).await;
    assert_eq!(
        (&undone["status"], &undone["states"]["undone"]),
        (&json!("undone"), &json!(1_101)),
        "{undone}"
    );
    assert_eq!(scene.office.count(cards).await, 3);
    scene.office.is_sound().await;
}

/// Cut off while rows are marked, an import goes on where it was.
#[tokio::test]
async fn marking_that_was_cut_off_goes_on() {
    let scene = scene().await;
    let report = scene
        .admin
        .import(
            "",
            "店招,地址\n甲,天平路10号\n乙,天平路12号\n丙,天平路14号\n",
        )
        .await;
    scene
        .office
        .execute("update roll_import set status = 'applying', plan = jsonb_set(plan, '{marking}', 'true')")
        .await;
    scene
        .office
        .execute("update roll_import_row set state = 'chosen' where row_number = 2")
        .await;
    let done = scene.apply(&report, json!({})).await;
    assert_eq!(
        (&done["status"], &done["states"]),
        (&json!("applied"), &json!({ "written": 3 })),
        "{done}"
    );
    scene
        .office
        .execute("update roll_import set status = 'undoing', plan = jsonb_set(plan, '{marking}', 'true')")
        .await;
    let undone = scene.undo(&report).await;
    assert_eq!(
        (&undone["status"], &undone["states"]),
        (&json!("undone"), &json!({ "undone": 3 })),
        "{undone}"
    );
    scene.office.is_sound().await;
}

/// A second import of the file points at the cards that the first is about to make: for the first that is no reason not to make them.
#[tokio::test]
async fn rows_that_another_import_waits_for_are_written() {
    let scene = scene().await;
    let sheet = "店招,地址\n甲,天平路10号\n乙,天平路12号\n";
    let first = scene.admin.import("", sheet).await;
    scene
        .office
        .execute("update roll_import set status = 'applying'")
        .await;
    scene
        .office
        .execute("update roll_import_row set state = 'chosen'")
        .await;
    let second = scene.admin.import("", sheet).await;
    assert_eq!(
        outcomes(&second),
        json!({ "new": 2 }),
        "the roll does not have them yet: {second}"
    );
    let done = scene.apply(&first, json!({})).await;
    assert_eq!(done["states"], json!({ "written": 2 }), "{done}");
    let done = scene.apply(&second, json!({})).await;
    assert_eq!(done["states"], json!({ "unchanged": 2 }), "{done}");
    let cards = "select count(*) from shop_card where sign_name in ('甲', '乙')";
    assert_eq!(scene.office.count(cards).await, 2);
    scene.office.is_sound().await;
}

/// What another import was to make is not there before it is made: where that import is dropped, the second makes it.
#[tokio::test]
async fn rows_that_another_import_dropped_are_not_counted_as_done() {
    let scene = scene().await;
    let sheet = "店招,地址\n甲,天平路10号\n乙,天平路12号\n";
    let first = scene.admin.import("", sheet).await;
    scene
        .office
        .execute("update roll_import_row set state = 'chosen'")
        .await;
    let second = scene.admin.import("", sheet).await;
    let path = format!("imports/{}", text(&first["import"]));
    let dropped = scene.admin.call("DELETE", &path, json!({})).await;
    assert_eq!(dropped.status, StatusCode::OK, "{}", dropped.json);
    let done = scene.apply(&second, json!({})).await;
    assert_eq!(done["states"], json!({ "written": 2 }), "{done}");
    scene.office.is_sound().await;
}

/// A row that said nothing new of a card says so no more once the card went with the import that had made it: it is listed, and may come again.
#[tokio::test]
async fn rows_of_a_card_that_went_with_its_import_are_listed() {
    let scene = scene().await;
    let sheet = "店招,地址\n甲,天平路10号\n乙,天平路12号\n";
    let first = scene.admin.import("", sheet).await;
    scene.apply(&first, json!({})).await;
    let more = format!("{sheet}丙,天平路14号\n");
    let second = scene.admin.import("", more.clone()).await;
    assert_eq!(
        outcomes(&second),
        json!({ "unchanged": 2, "new": 1 }),
        "{second}"
    );
    let undone = scene.undo(&first).await;
    assert_eq!(undone["states"], json!({ "undone": 2 }), "{undone}");
    let done = scene.apply(&second, json!({})).await;
    assert_eq!(
        done["states"],
        json!({ "refused": 2, "written": 1 }),
        "{done}"
    );
    let listed = scene.rows(&second, "?state=refused").await;
    for (row, number) in listed.iter().zip([2, 3]) {
        assert_eq!(row["row"], number);
        assert_eq!(row["problems"][0]["code"], "record_gone", "{row}");
        assert_eq!(row["problems"][0]["row"], number, "{row}");
    }
    let again = scene.admin.import("", more).await;
    assert_eq!(
        outcomes(&again),
        json!({ "new": 2, "unchanged": 1 }),
        "{again}"
    );
    scene.office.is_sound().await;
}

/// It counts as dropped until all of its rows are there.
#[tokio::test]
async fn a_proposal_that_was_cut_off_shows_nowhere_and_is_swept_away() {
    let scene = scene().await;
    let report = scene.admin.import("", "店招,地址\n甲,天平路10号\n").await;
    scene
        .office
        .execute("update roll_import set status = 'dropped'")
        .await;
    assert!(scene.admin.items("imports").await.is_empty());
    let import = text(&report["import"]);
    let late = scene
        .admin
        .call("POST", &format!("imports/{import}/apply"), json!({}))
        .await;
    assert_eq!(late.code(), "import_closed");
    let test = &scene.office.test;
    let pass = async || {
        let keep = test.app.config.keep();
        let done = imports::pass(&test.app.pool, &test.clock, keep).await;
        done.expect("it is swept").unfinished
    };
    assert_eq!(pass().await, 0, "it may still be made");
    test.clock.advance_ms(3 * 60 * 60 * 1_000);
    assert_eq!((pass().await, pass().await), (1, 0));
    let rows = "select count(*) from roll_import_row";
    assert_eq!(scene.office.count(rows).await, 0);
}
