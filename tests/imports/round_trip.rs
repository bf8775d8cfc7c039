//! Sheets of ours on their way round: programs that rewrite cells, two people with a copy each, phones that write meanwhile, one sheet sent twice.

use lianka_server::upkeep::compaction;
use lianka_sync_core::{crdt::record::Edit, id::RecordId, time::ServerTime};
use serde_json::{Value, json};

use super::{PERSON, Scene, Sheet, outcomes, scene};
use crate::sync::phone::{HOME, OTHER, put, text};

fn note(text: &str) -> Edit {
    Edit::Note { text: text.into() }
}

impl Scene {
    async fn note(&self, card: RecordId) -> String {
        let record = self.admin.get(&format!("records/{card}")).await;
        record["note"].as_str().unwrap_or_default().to_owned()
    }

    /// What a sheet brings, written.
    async fn take(&self, sheet: &Sheet) -> Value {
        let report = self.propose(sheet).await;
        if report["status"] == "applied" {
            return report;
        }
        self.apply(&report, json!({})).await
    }

    async fn tags(&self, shop: &str) -> Vec<String> {
        let cards = self.admin.items(&format!("cards?q={shop}")).await;
        let tags = cards[0]["tags"].as_array().expect("tags");
        tags.iter().map(text).collect()
    }

    async fn compact(&self, card: RecordId) {
        let now = ServerTime::from_unix_ms(self.office.test.clock.now().unix_ms() + 1);
        let street = HOME.parse().expect("a street");
        compaction::compact(&self.office.test.app.pool, &street, card, now, now)
            .await
            .expect("compacted");
    }
}

fn changed(report: &Value, word: &str) -> i64 {
    report["states"][word].as_i64().unwrap_or_default()
}

/// A note is merged letter by letter, as if a phone had been offline since the export.
#[tokio::test]
async fn two_who_write_a_note_both_keep_their_words() {
    let mut scene = scene().await;
    let card = scene.cards[0];
    for query in ["", "?unmasked=true"] {
        let now = scene.note(card).await;
        let mut sheet = Sheet::export(&scene.admin, query).await;
        scene.phone.sync().await;
        scene
            .phone
            .edit(card, &[note(&format!("钥匙在隔壁。{now}"))]);
        scene.phone.sync().await;
        // The desk itself writes since, too: its own later words are as unseen by the sheet as the phone's.
        scene
            .admin
            .post(
                &format!("records/{card}/edits"),
                json!({ "set": { "note": format!("钥匙在隔壁。{now}（已核）") } }),
            )
            .await;
        sheet.set("王记包子", "备注", &format!("{now}，周日休息"));
        sheet.set("王记包子", "业态", &format!("早点{query}"));
        let report = scene.propose(&sheet).await;
        assert_eq!(report["problem_counts"], json!({}), "{report}");
        let rows = scene.rows(&report, "?outcome=update").await;
        let done = scene.apply(&report, json!({})).await;
        assert_eq!(changed(&done, "written"), 1, "{done}");
        let merged = scene.note(card).await;
        assert!(
            ["钥匙在隔壁。", &now, "，周日休息", "（已核）"]
                .iter()
                .all(|words| merged.contains(words)),
            "{merged}"
        );
        let fields = rows[0]["fields"].as_array().expect("fields");
        let told = fields.iter().find(|field| field["field"] == "note");
        assert_eq!(
            told.expect("the note")["shall"].as_str().map(str::len),
            Some(merged.len()),
            "what it will read is told: {rows:?}"
        );
        // Sent again, it says nothing new, although the note reads otherwise by now.
        let again = scene.propose(&sheet).await;
        assert_eq!(outcomes(&again), json!({ "unchanged": 3 }), "{again}");
        scene.phone.sync().await;
        assert_eq!(scene.phone.view(card).note, Some(merged));
    }
    // Both changes of a row name it.
    let history = scene.admin.items(&format!("records/{card}/history")).await;
    let of_sheets = history.iter().filter(|change| change["import"].is_object());
    assert_eq!(of_sheets.count(), 4, "{history:?}");
    scene.office.is_sound().await;
}

#[tokio::test]
async fn a_number_that_is_masked_within_a_note_stays_when_the_words_around_it_change() {
    let mut scene = scene().await;
    let card = scene.cards[0];
    scene.phone.edit(card, &[note("老板13900000001，下午在")]);
    scene.phone.sync().await;
    let mut sheet = Sheet::export(&scene.admin, "").await;
    let masked = sheet.get("王记包子", "备注");
    assert!(masked.contains("***"), "{masked}");
    sheet.set("王记包子", "备注", &format!("{masked}，周日休息"));
    scene.take(&sheet).await;
    assert_eq!(scene.note(card).await, "老板13900000001，下午在，周日休息");
    let mut sheet = Sheet::export(&scene.admin, "").await;
    sheet.set("王记包子", "备注", "换人了***，早上在");
    let report = scene.propose(&sheet).await;
    assert_eq!(report["problem_counts"], json!({ "masked_value": 1 }));
    assert_eq!(outcomes(&report), json!({ "unchanged": 3 }));
}

/// What a history does not tell any more is nothing to build on: it is told of, and the other cells of the row are written.
#[tokio::test]
async fn a_note_whose_history_was_made_shorter_is_left() {
    let mut scene = scene().await;
    let card = scene.cards[0];
    let mut sheet = Sheet::export(&scene.admin, "").await;
    for nth in 0..20 {
        let hours = put("opening_hours", &format!("{nth}:00-20:00"));
        scene
            .phone
            .edit(card, &[note(&format!("第{nth}扇门")), hours]);
    }
    scene.phone.edit(card, &[note("侧门送货")]);
    scene.phone.sync().await;
    scene.compact(card).await;
    sheet.set("王记包子", "备注", "后门送货，请敲门");
    sheet.set("王记包子", "业态", "早点");
    let done = scene.take(&sheet).await;
    assert_eq!(
        done["problem_counts"],
        json!({ "note_changed": 1 }),
        "{done}"
    );
    assert_eq!(scene.note(card).await, "侧门送货");
    assert_eq!(scene.admin.values(card, "category").await, ["早点"]);
    // An import is taken back also where the history was made shorter since, and the card's history still names the row.
    scene.phone.sync().await;
    scene.compact(card).await;
    let history = scene.admin.items(&format!("records/{card}/history")).await;
    assert!(
        history
            .iter()
            .any(|change| change["import"]["import"] == done["import"]),
        "{history:?}"
    );
    let undone = scene.undo(&done).await;
    assert_eq!(changed(&undone, "undone"), 1, "{undone}");
    assert_eq!(scene.admin.values(card, "category").await, ["餐饮"]);
    scene.office.is_sound().await;
}

/// A cell lists several tags: one that nobody touched is no edit.
#[tokio::test]
async fn tags_are_put_in_and_taken_out_one_by_one() {
    let mut scene = scene().await;
    let card = scene.cards[0];
    scene
        .phone
        .edit(card, &[Edit::add("tags/外卖"), Edit::add("tags/堂食")]);
    scene.phone.sync().await;
    let mut sheet = Sheet::export(&scene.admin, "").await;
    // Meanwhile one goes and one comes.
    scene.phone.edit(
        card,
        &[
            Edit::add("tags/宠物友好"),
            Edit::Delete {
                key: "tags/外卖".into(),
            },
        ],
    );
    scene.phone.sync().await;
    let cell: Vec<_> = sheet
        .get("王记包子", "服务标签")
        .split('、')
        .map(str::to_owned)
        .collect();
    let mut cell: Vec<_> = cell.into_iter().filter(|tag| tag != "堂食").collect();
    cell.push("夜宵".to_owned());
    sheet.set("王记包子", "服务标签", &cell.join("、"));
    let report = scene.propose(&sheet).await;
    let rows = scene.rows(&report, "?outcome=update").await;
    assert_eq!(
        rows[0]["fields"].as_array().expect("fields").len(),
        2,
        "{rows:?}"
    );
    scene.apply(&report, json!({})).await;
    let mut tags = scene.tags("王记包子").await;
    tags.sort();
    let mut expected = ["夜宵", "宠物友好", "早餐"];
    expected.sort_unstable();
    assert_eq!(tags, expected);
}

/// A sheet that was sent once changes nothing when it is sent again, whatever phones made of its values since.
#[tokio::test]
async fn a_sheet_that_comes_twice_is_written_once() {
    let mut scene = scene().await;
    let card = scene.cards[0];
    let mut sheet = Sheet::export(&scene.admin, "?unmasked=true").await;
    sheet.set("王记包子", "业态", "早点");
    sheet.set("王记包子", "联系人", "王小明\n李小红");
    sheet.set("王记包子", "联系电话", "13800000001\n13900000002");
    // Two reviewers, each with their own upload, before either is written.
    let (one, two) = (scene.propose(&sheet).await, scene.propose(&sheet).await);
    scene.apply(&one, json!({})).await;
    scene.phone.sync().await;
    scene.phone.edit(card, &[put("category", "小吃")]);
    scene.phone.sync().await;
    scene.apply(&two, json!({})).await;
    scene.take(&sheet).await;
    assert_eq!(scene.admin.values(card, "category").await, ["小吃"]);
    let cards = scene.admin.items("cards?q=王记包子").await;
    assert_eq!(
        cards[0]["contacts"].as_array().map(Vec::len),
        Some(2),
        "{cards:?}"
    );
    // Taken back, it can be sent again.
    scene
        .admin
        .post(&format!("imports/{}/undo", text(&one["import"])), json!({}))
        .await;
    let report = scene.propose(&sheet).await;
    assert_eq!(outcomes(&report)["update"], 1, "{report}");
    scene.office.is_sound().await;
}

/// A colleague's copy of the same export: what both changed stands side by side, what one changed is taken.
#[tokio::test]
async fn a_colleagues_old_sheet_comes_after() {
    let scene = scene().await;
    let card = scene.cards[0];
    let sheet = Sheet::export(&scene.admin, "").await;
    let (mut mine, mut theirs) = (sheet.clone(), sheet);
    mine.set("王记包子", "业态", "早点");
    mine.set("王记包子", "备注", "后门送货，周日休息");
    theirs.set("王记包子", "业态", "小吃");
    theirs.set("王记包子", "备注", "（新）后门送货");
    theirs.set("王记包子", "营业时间", "7:00-21:00");
    scene.take(&mine).await;
    scene.take(&theirs).await;
    let mut both = scene.admin.values(card, "category").await;
    both.sort();
    assert_eq!(both, ["小吃", "早点"]);
    assert_eq!(scene.note(card).await, "（新）后门送货，周日休息");
    assert_eq!(
        scene.admin.values(card, "opening_hours").await,
        ["7:00-21:00"]
    );
}

/// Rows of two exports in one sheet are each compared with their own, and none of them is missing.
#[tokio::test]
async fn rows_of_two_exports_stand_in_one_sheet() {
    let mut scene = scene().await;
    let mut first = Sheet::export(&scene.admin, "").await;
    scene.phone.edit(scene.cards[1], &[put("category", "面食")]);
    scene.phone.sync().await;
    let second = Sheet::export(&scene.admin, "").await;
    let name = first.at("店招");
    first.rows.retain(|row| row[name] != "李家面馆");
    first.rows.extend(
        second
            .rows
            .iter()
            .filter(|row| row[name] == "李家面馆")
            .cloned(),
    );
    first.set("李家面馆", "业态", "拉面");
    let report = scene.propose(&first).await;
    assert_eq!(
        (outcomes(&report), &report["missing_count"]),
        (json!({ "unchanged": 2, "update": 1 }), &json!(0)),
        "{report}"
    );
    scene.apply(&report, json!({})).await;
    assert_eq!(
        scene.admin.values(scene.cards[1], "category").await,
        ["拉面"]
    );
}

/// What programs make of cells when they open and save delimited text is no edit.
#[tokio::test]
async fn what_a_spreadsheet_wrote_in_its_own_way_is_no_edit() {
    let mut scene = scene().await;
    let [bun, noodle, _] = scene.cards[..] else {
        panic!()
    };
    scene.phone.edit(
        bun,
        &[
            put("number", "002"),
            put("unit", "3-5"),
            put("opening_hours", "9:00"),
            put(&format!("contacts/{PERSON}/phones"), "021-50932417"),
            put("custom/fire", "2026-11-01"),
            put("custom/size", "1.50"),
        ],
    );
    scene.phone.edit(
        noodle,
        &[
            put("category", "王记&amp;李记"),
            put("opening_hours", "#N/A"),
            put("unit", "=A1&B1"),
            put("custom/fire", "1.38E+10"),
            put("custom/size", "TRUE"),
            note("一楼<br>二楼\\n三楼_x000D_"),
        ],
    );
    scene.phone.sync().await;
    scene
        .office
        .execute(
            "insert into custom_field (street, name, label, type, class) values ('310104003', 'fire', '消防', 'text', 'P1'), ('310104003', 'size', '面积', 'text', 'P1')",
        )
        .await;
    let sheet = Sheet::export(&scene.admin, "?unmasked=true").await;
    let report = scene.propose(&sheet).await;
    assert_eq!(outcomes(&report), json!({ "unchanged": 3 }), "{report}");
    assert_eq!(report["problem_counts"], json!({}), "{report}");
    let file = scene.admin.ask("cards.xlsx?unmasked=true").await.body;
    let report = scene.admin.import("", file).await;
    assert_eq!(outcomes(&report), json!({ "unchanged": 3 }), "{report}");
    assert_eq!(report["problem_counts"], json!({}), "{report}");
    // As Excel saves it.
    let mut saved = sheet.clone();
    for (heading, cell) in [
        ("门牌号", "2"),
        ("室", "3月5日"),
        ("营业时间", "9:00:00"),
        ("消防", "2026/11/1"),
        ("面积", "1.5"),
    ] {
        saved.set("王记包子", heading, cell);
    }
    let report = scene.propose(&saved).await;
    assert_eq!(outcomes(&report), json!({ "unchanged": 3 }), "{report}");
    assert_eq!(
        report["problem_counts"],
        json!({ "cell_respelled": 2 }),
        "a zero and a day that somebody may also have meant: {report}"
    );
    // In an encoding that has not every sign, a question mark is none.
    scene.phone.edit(noodle, &[put("category", "𠮷野家")]);
    scene.phone.sync().await;
    let mut lacking = Sheet::export(&scene.admin, "?unmasked=true").await;
    lacking.set("李家面馆", "业态", "?野家");
    let narrow = encoding_rs::GBK.encode(&lacking.text()).0.into_owned();
    let report = scene.admin.import("", narrow).await;
    assert_eq!(outcomes(&report), json!({ "unchanged": 3 }), "{report}");
    assert_eq!(report["problem_counts"]["cell_unreadable"], 1, "{report}");
    // What is another value is an edit.
    saved.set("王记包子", "门牌号", "20");
    let report = scene.propose(&saved).await;
    assert_eq!(outcomes(&report)["update"], 1, "{report}");
}

/// A number that lost its digits says nothing, whatever else of a person was changed.
#[tokio::test]
async fn a_number_that_lost_its_digits_is_no_number() {
    let scene = scene().await;
    let mut sheet = Sheet::export(&scene.admin, "?unmasked=true").await;
    sheet.set("王记包子", "联系人", "王小明（老板）");
    sheet.set("王记包子", "联系电话", "1.38E+10");
    let report = scene.propose(&sheet).await;
    assert_eq!(
        report["problem_counts"],
        json!({ "cell_unreadable": 1 }),
        "{report}"
    );
    scene.apply(&report, json!({})).await;
    let of = async |field: &str| {
        let key = format!("contacts/{PERSON}/{field}");
        scene.admin.values(scene.cards[0], &key).await
    };
    assert_eq!(of("phones").await, ["13800000001"]);
    assert_eq!(of("name").await, ["王小明（老板）"]);
}

/// A heading that was renamed where nothing stood under it is known by its neighbours, and of two headings of one name each is its own.
#[tokio::test]
async fn renamed_headings_over_empty_columns() {
    let scene = scene().await;
    let mut sheet = Sheet::export(&scene.admin, "").await;
    let at = sheet.at("登记名称");
    sheet.rows[0][at] = "营业执照上的名字".to_owned();
    let name = sheet.at("店招");
    for row in &mut sheet.rows {
        if row[name] == "李家面馆" {
            row[at] = "李家面馆有限公司".to_owned();
        }
    }
    scene.take(&sheet).await;
    assert_eq!(
        scene.admin.values(scene.cards[1], "legal_name").await,
        ["李家面馆有限公司"]
    );
}

/// Ids of another street mean nothing here, and what was masked there is nobody's number.
#[tokio::test]
async fn an_export_of_another_street_is_a_sheet_from_elsewhere() {
    let scene = scene().await;
    let sheet = Sheet::export(&scene.admin, "").await;
    let other = scene.admin.at(OTHER);
    let report = other.import("?grid=B1", sheet.file()).await;
    assert_eq!(outcomes(&report), json!({ "new": 3 }), "{report}");
    assert_eq!(
        report["problem_counts"]["export_of_other_street"], 1,
        "{report}"
    );
    assert_eq!(report["problem_counts"]["masked_value"], 1, "{report}");
    other
        .post(
            &format!("imports/{}/apply", text(&report["import"])),
            json!({}),
        )
        .await;
    let phones =
        "select count(*) from shop_contact where street = '310105009' and phones is not null";
    assert_eq!(scene.office.count(phones).await, 0);
    // Sent again, each row is the shop that it became.
    let report = other.import("?grid=B1", sheet.file()).await;
    assert_eq!(outcomes(&report), json!({ "unchanged": 3 }), "{report}");
    let mine = scene.propose(&sheet).await;
    assert_eq!(outcomes(&mine), json!({ "unchanged": 3 }), "{mine}");
}

/// When nobody knows any more what an export said, its rows are their cards still, and fill only what is empty.
#[tokio::test]
async fn an_export_of_half_a_year_ago() {
    let mut scene = scene().await;
    let mut sheet = Sheet::export(&scene.admin, "").await;
    scene.phone.edit(scene.cards[0], &[put("category", "早点")]);
    scene.phone.sync().await;
    scene.office.execute("delete from roll_export").await;
    let report = scene.propose(&sheet).await;
    assert_eq!(report["problem_counts"]["export_forgotten"], 1, "{report}");
    let rows = scene.rows(&report, "?outcome=update").await;
    let fields: Vec<_> = rows
        .iter()
        .flat_map(|row| row["fields"].as_array().expect("fields"))
        .map(|field| text(&field["field"]))
        .collect();
    assert_eq!(fields, ["category"], "masked numbers are none: {rows:?}");
    sheet.set("李家面馆", "业态", "面食");
    scene.take(&sheet).await;
    assert_eq!(
        scene.admin.values(scene.cards[0], "category").await,
        ["早点"]
    );
    assert_eq!(
        scene.admin.values(scene.cards[1], "category").await,
        ["面食"]
    );
    assert_eq!(
        scene.office.count("select count(*) from shop_card").await,
        3
    );
}

/// The trail names file, sheet and rows of what was written, and of what was taken back.
#[tokio::test]
async fn the_trail_names_file_and_rows() {
    let scene = scene().await;
    let mut sheet = Sheet::export(&scene.admin, "").await;
    sheet.set("李家面馆", "业态", "面食");
    let report = scene
        .admin
        .import("?file_name=十一月.csv", sheet.file())
        .await;
    scene.apply(&report, json!({})).await;
    scene.undo(&report).await;
    for action in ["import", "import_undo"] {
        let events = scene.office.events(action).await;
        let named = events
            .iter()
            .find(|event| event["rows"].is_array())
            .unwrap_or_else(|| panic!("{action}: {events:?}"));
        assert_eq!(named["file"], "十一月.csv", "{named}");
        assert_eq!(named["rows"][0][1], json!(scene.cards[1]), "{named}");
        assert!(named["changes"].is_array(), "{named}");
    }
    scene.office.is_sound().await;
}

/// A row that was pasted twice, a person who was forgotten meanwhile, and persons in the order of their lines.
#[tokio::test]
async fn rows_and_persons_keep_their_places() {
    let scene = scene().await;
    let mut sheet = Sheet::export(&scene.admin, "?unmasked=true").await;
    let twice = sheet.row("李家面馆").clone();
    sheet.rows.push(twice);
    let report = scene.propose(&sheet).await;
    assert_eq!(outcomes(&report), json!({ "unchanged": 4 }), "{report}");
    assert_eq!(report["problem_counts"], json!({ "card_id_repeated": 1 }));
    sheet.rows.pop();
    let redaction = json!({ "entry": PERSON, "reason": "subject_request" });
    scene
        .admin
        .post(&format!("records/{}/redact", scene.cards[0]), redaction)
        .await;
    sheet.set("王记包子", "联系电话", "13800000002");
    let report = scene.propose(&sheet).await;
    assert_eq!(outcomes(&report), json!({ "unchanged": 3 }), "{report}");
    assert_eq!(report["problem_counts"], json!({ "contact_gone": 1 }));
    assert!(
        !scene
            .rows(&report, "")
            .await
            .iter()
            .any(|row| row.to_string().contains("13800000002")),
        "nothing is kept of whoever was forgotten"
    );
    let mut new = vec![String::new(); sheet.rows[0].len()];
    for (heading, value) in [
        ("店招", "新店"),
        ("原始地址", "天平路88号"),
        ("联系人", "钱一\n钱二\n钱三"),
    ] {
        value.clone_into(&mut new[sheet.at(heading)]);
    }
    sheet.rows.push(new);
    scene.take(&sheet).await;
    let cards = scene.admin.items("cards?q=新店").await;
    let contacts = cards[0]["contacts"].as_array().expect("contacts");
    let names: Vec<_> = contacts
        .iter()
        .map(|contact| text(&contact["name"]))
        .collect();
    assert_eq!(names, ["钱一", "钱二", "钱三"]);
}
