//! What a value may say: texts that people can read, days that have come, names that are found however they are typed; at the gate, at the desk, on
//! the phone and in a sheet. And the calendar by which terms count.

use std::sync::{Arc, atomic::AtomicI64};

use axum::{
    body::Body,
    http::{Request, StatusCode, header},
};
use lianka_client::clock::Clock;
use lianka_sync_core::{crdt::record::Edit, kinds::shop_card::CONFIRMATIONS, values::date};
use lianka_tests::{Answer, START_UNIX_MS, send};
use serde_json::{Value, json};

use crate::{
    scene::{NOW, Scene, terminal},
    sync::phone::{HOME, Office, put},
};

const CONFIRMED: &str = include_str!("fixtures/rolls/cases/13-confirmed-in-the-future.csv");
const NAMES: &str = include_str!("fixtures/rolls/cases/28-search-u-umlaut-and-rare.json");
const INVISIBLE: &str = include_str!("fixtures/rolls/cases/30-invisible-names.json");
const DAY_MS: i64 = 86_400_000;

/// Names that nobody can read, and why each is refused.
fn unreadable() -> Vec<(String, &'static str)> {
    let cases: Value = serde_json::from_str(INVISIBLE).expect("a fixture");
    let names = cases["sign_name"].as_array().expect("a list");
    let codes = [
        "value_empty",
        "value_empty",
        "value_forbidden_character",
        "value_forbidden_character",
    ];
    assert_eq!(names.len(), codes.len());
    let more = [
        ("\u{3164}", "value_empty"),
        ("\u{3000}\u{2800}\u{ad}", "value_empty"),
        ("\u{fe0f}", "value_empty"),
        ("店\u{2067}名\u{2069}", "value_forbidden_character"),
        ("店\u{fdd0}", "value_forbidden_character"),
        ("店\u{e0041}", "value_forbidden_character"),
    ];
    names
        .iter()
        .map(|name| name.as_str().unwrap_or_default().to_owned())
        .zip(codes)
        .chain(more.map(|(name, code)| (name.to_owned(), code)))
        .collect()
}

#[tokio::test]
async fn what_nobody_can_read_is_refused_at_the_gate_and_at_the_desk() {
    let office = Office::open().await;
    let mut phone = office.secretary("wang.fang", &["A1"]).await;
    let card = phone.create("A1", &[put("sign_name", "王记包子")]);
    phone.sync().await;
    let desk = office.desk("reviewer", "reviewer").await;
    for (name, code) in unreadable() {
        let path = format!("records/{card}/edits");
        let edit = json!({ "set": { "sign_name": name } });
        let answer = desk.call("POST", &path, edit).await;
        assert_eq!(
            (&answer.json["field"], &answer.json["rule"]),
            (&json!("sign_name"), &json!(code)),
            "{}: {}",
            name.escape_unicode(),
            answer.json
        );
        phone.create("A1", &[put("sign_name", &name)]);
        let reply = phone.sync().await;
        assert_eq!(reply.codes(), [code], "{}", name.escape_unicode());
    }
    phone.create(
        "A1",
        &[Edit::Note {
            text: "\u{202e}门口".into(),
        }],
    );
    assert_eq!(phone.sync().await.codes(), ["value_forbidden_character"]);
    // Private-use and rare characters are names.
    phone.create("A1", &[put("sign_name", "\u{e815}𰌂\u{31350}店")]);
    assert_eq!(phone.sync().await.codes(), ["accepted"]);
    assert_eq!(desk.items("cards?q=%EE%A0%95").await.len(), 1);
    assert_eq!(desk.values(card, "sign_name").await, ["王记包子"]);
}

/// A phone of before sends it all the same: it is refused, and stays with its author, who is told which field it is.
#[tokio::test]
async fn numbers_of_persons_are_refused_from_phones_and_stay_with_their_author() {
    let office = Office::open().await;
    let mut phone = office.secretary("wang.fang", &["A1"]).await;
    let number = "999999199001010729";
    let admin = office.admin();
    for edit in [
        put("opening_hours", number),
        put("custom/消防", &format!("身份证{number}")),
        Edit::Note {
            text: format!("老板 {number}"),
        },
    ] {
        let card = phone.create("A1", &[put("sign_name", "王记包子")]);
        assert_eq!(phone.sync().await.codes(), ["accepted"]);
        phone.edit(card, &[edit]);
        assert_eq!(phone.sync().await.codes(), ["personal_number"]);
        let history = format!("records/{card}/history");
        assert_eq!(admin.items(&history).await.len(), 1);
    }
    phone.create("A1", &[put("sign_name", number)]);
    assert_eq!(phone.sync().await.codes(), ["personal_number"]);
    let stored = office.count(
        "select count(*) from change_log where position(convert_to('999999199001010729', 'UTF8') in bytes) > 0",
    );
    assert_eq!(stored.await, 0);
}

/// Whoever types one at a desk can mend it at once; nothing of it is kept.
#[tokio::test]
async fn numbers_of_persons_are_refused_at_the_desk_in_whatever_field() {
    let office = Office::open().await;
    let mut phone = office.secretary("wang.fang", &["A1"]).await;
    let card = phone.create("A1", &[put("sign_name", "王记包子")]);
    phone.sync().await;
    let desk = office.desk("reviewer", "reviewer").await;
    let path = format!("records/{card}/edits");
    for (key, value) in [
        ("credit_code", "999999199001010729"),
        ("sign_name", "王记 999999 19900101 0729"),
        ("number", "９９９９９９１９９００１０１０７２９"),
        ("opening_hours", "110105491231002"),
        ("category", "6217 0000 0000 0000 004"),
        ("note", "老板护照E12345678"),
        ("custom/消防", "身份证：310104199001011"),
    ] {
        let edit = json!({ "set": { key: value } });
        let answer = desk.call("POST", &path, edit).await;
        assert_eq!(
            (&answer.json["field"], &answer.json["rule"]),
            (&json!(key), &json!("personal_number")),
            "{value}: {}",
            answer.json
        );
        assert!(!answer.json.to_string().contains(value));
    }
    for (key, value) in [
        ("credit_code", "91310000631696382C"),
        ("credit_code", "310104600123451"),
        ("sign_name", "1912"),
    ] {
        let edit = json!({ "set": { key: value } });
        let answer = desk.call("POST", &path, edit).await;
        assert_eq!(answer.status, StatusCode::OK, "{}", answer.json);
    }
}

/// What waits for a reviewer is held whatever it says; it is not taken in unread either.
#[tokio::test]
async fn what_is_held_is_looked_at_when_it_is_decided() {
    let office = Office::open().await;
    let mut phone = office.secretary("wang.fang", &["A1"]).await;
    phone.create("A1", &[put("sign_name", "\u{202e}店名")]);
    phone.create("A1", &[Edit::add(format!("{CONFIRMATIONS}/2062-02-03"))]);
    phone.create("A1", &[Edit::add(format!("{CONFIRMATIONS}/2026-11-20"))]);
    office.assign(HOME, "wang.fang", &["A2"]).await;
    assert_eq!(phone.sync().await.codes(), ["grid_lost"; 3]);
    let desk = office.desk("reviewer", "reviewer").await;
    let mut answers = Vec::new();
    for held in desk.held("").await {
        let answer = desk.decide(&held, "accept", json!({})).await;
        answers.push(
            answer.json["rule"]
                .as_str()
                .unwrap_or("accepted")
                .to_owned(),
        );
    }
    answers.sort_unstable();
    assert_eq!(
        answers,
        ["accepted", "value_forbidden_character", "value_in_future"]
    );
    assert_eq!(desk.held("").await.len(), 2, "nothing is lost");
}

#[tokio::test]
async fn days_that_have_not_come_are_not_taken() {
    let office = Office::open().await;
    let mut phone = office.secretary("wang.fang", &["A1"]).await;
    let confirmed = |day: &str| Edit::add(format!("{CONFIRMATIONS}/{day}"));
    let observed = |day: &str| put("occupancy_observed_on", day);
    for (edit, code) in [
        (confirmed("2062-02-03"), "value_in_future"),
        (confirmed("2026-11-23"), "value_in_future"),
        (observed("2027-06-01"), "value_in_future"),
        (confirmed("2000-01-01"), "value_too_long_ago"),
        (confirmed("2026-11-22"), "accepted"),
        (confirmed("2026-11-21"), "accepted"),
        (observed("2026-01-02"), "accepted"),
    ] {
        phone.create("A1", std::slice::from_ref(&edit));
        assert_eq!(phone.sync().await.codes(), [code], "{edit:?}");
    }
    let card = phone.create("A1", &[]);
    phone.sync().await;
    let desk = office.desk("reviewer", "reviewer").await;
    for (days, due) in [(0, 2), (90, 2)] {
        let page = desk.get(&format!("cards?unconfirmed_days={days}")).await;
        assert_eq!(page["total"], due, "{days}: {page}");
    }
    office.test.clock.advance_ms(92 * DAY_MS);
    let desk = office.desk_with(&office.token("reviewer").await);
    let due = desk.get("cards?unconfirmed_days=90").await;
    assert_eq!(due["total"], 4, "who is due, the office's clock says");
    office.test.clock.advance_ms(-92 * DAY_MS);
    let desk = office.desk_with(&office.token("reviewer").await);
    for (key, value, rule) in [
        ("confirmations/2026-11-22", json!(true), "value_in_future"),
        (
            "occupancy_observed_on",
            json!("2062-02-03"),
            "value_in_future",
        ),
        (
            "occupancy_observed_on",
            json!("1926-02-03"),
            "value_too_long_ago",
        ),
    ] {
        let path = format!("records/{card}/edits");
        let edit = json!({ "set": { key: value } });
        let answer = desk.call("POST", &path, edit).await;
        assert_eq!(answer.json["rule"], rule, "{key}: {}", answer.json);
    }
}

/// A phone that was set to a year long ago, or to come, has the office's day once the office told it.
#[tokio::test(flavor = "multi_thread")]
async fn a_phone_corrects_itself_by_the_office() {
    let scene = Scene::open().await;
    let phone = scene.phone("wang.fang", &["A1"]).await;
    let today = date::to_minute(NOW)[..10].to_owned();
    for days in [192, -2_500, 0] {
        let clock = Arc::new(AtomicI64::new(START_UNIX_MS + days * DAY_MS));
        let phone = phone.clone().with_clock(Clock::Fixed(Arc::clone(&clock)));
        phone.sync().await.expect("synced");
        let office = phone.office_now().expect("told");
        assert_eq!(date::to_minute(office)[..10], today, "{days} days off");
        // What the phone's own clock says is refused before it is written.
        let own = date::to_minute(phone.now())[..10].to_owned();
        let edit = Edit::add(format!("{CONFIRMATIONS}/{own}"));
        let saved = phone.create_card("A1", &[edit], phone.now());
        assert_eq!(saved.is_ok(), days == 0, "{days} days off: {saved:?}");
    }
    // The machine's clock is another than this office's.
    phone.sync().await.expect("synced");
    let created = phone
        .create_card("A1", &[put("sign_name", "王记包子")], NOW)
        .expect("saved");
    let (ok, said) = terminal(
        &scene.file("wang.fang"),
        &["confirm", &created.record.to_string()],
    );
    assert!(ok, "{said}");
    phone.sync().await.expect("synced");
    let desk = scene.office.admin();
    let cards = desk.items("cards?q=wjbz").await;
    assert_eq!(cards[0]["last_confirmed_on"], today, "{cards:?}");
}

#[tokio::test]
async fn a_sheet_leaves_out_what_nobody_can_read_and_days_to_come() {
    let office = Office::open().await;
    let admin = office.admin();
    let said = async |file: String| {
        let report = admin.import("?dry_run=false", file).await;
        let problems = report["problems"].as_array().expect("a list").iter();
        let said = |problem: &Value| {
            format!(
                "{} {} {}",
                problem["row"],
                problem["code"].as_str().unwrap_or_default(),
                problem["column"].as_str().unwrap_or_default()
            )
        };
        let codes = ["date_implausible", "value_refused"];
        problems
            .filter(|problem| codes.contains(&problem["code"].as_str().unwrap_or_default()))
            .map(said)
            .collect::<Vec<_>>()
    };
    assert_eq!(
        said(CONFIRMED.to_owned()).await,
        ["2 date_implausible 最近走访"]
    );
    let cards = admin.items("cards").await;
    assert_eq!(cards[0]["sign_name"], "王记");
    assert_eq!(cards[0]["last_confirmed_on"], Value::Null);
    for (row, problems) in [
        ("\u{202e}店名,天平路2号,,", &["2 value_refused 店招"][..]),
        ("\u{200b},天平路3号,,", &["2 value_refused 店招"]),
        ("李记,天平路4号,许\u{fdd0}娜,", &["2 value_refused 联系人"]),
        ("李记,天平路5号,\u{3164},", &["2 value_refused 联系人"]),
        (
            "李记,天平路6号,,门口\u{2066}积水",
            &["2 value_refused 备注"],
        ),
        (
            "李记,天平路\u{202d}7号\u{202c},,",
            &["2 value_refused 地址"],
        ),
        (
            "\u{e815}记,天平路8号,𰌂明,🏴\u{e0067}\u{e0062}\u{e007f}",
            &[],
        ),
    ] {
        let file = format!("店招,地址,联系人,备注\n{row}\n");
        let said = said(file).await;
        assert_eq!(
            said.first().map(String::as_str),
            problems.first().copied(),
            "{}: {said:?}",
            row.escape_unicode()
        );
    }
    let old = "店招,地址,最近走访\n老店,天平路9号,2021-05-06\n旧店,天平路10号,1921-05-06\n";
    assert_eq!(
        said(old.to_owned()).await,
        ["3 date_implausible 最近走访"],
        "an old roll is history"
    );
}

#[tokio::test]
async fn names_are_found_however_they_are_typed() {
    let office = Office::open().await;
    let mut phone = office.secretary("wang.fang", &["A1"]).await;
    let names: serde_json::Map<String, Value> = serde_json::from_str(NAMES).expect("a fixture");
    for (at, name) in names.keys().enumerate() {
        let contact = "contacts/0198c0de-0000-7000-8000-00000000000a/name";
        phone.create(
            "A1",
            &[put("sign_name", &format!("{at}号店")), put(contact, name)],
        );
    }
    phone.sync().await;
    let desk = office.admin();
    for (at, (name, typed)) in names.iter().enumerate() {
        for typed in typed.as_array().expect("a list") {
            let typed = typed.as_str().unwrap_or_default();
            let query = typed.replace('ü', "%C3%BC");
            let found = desk.items(&format!("cards?q={query}")).await;
            assert!(
                found
                    .iter()
                    .any(|card| card["sign_name"] == format!("{at}号店")),
                "{name} by {typed}: {found:?}"
            );
        }
    }
}

#[tokio::test]
async fn an_admin_keeps_the_calendar() {
    let office = Office::open().await;
    let admin = office.admin();
    let put_notice = async |token: &str, text: &'static str| {
        let request = Request::put(format!("/v1/streets/{HOME}/calendar"))
            .header(header::AUTHORIZATION, format!("Bearer {token}"))
            .header(header::ACCEPT_LANGUAGE, "en")
            .body(Body::from(text))
            .expect("a request");
        Answer::read(send(&office.test.router, request).await).await
    };
    let officer = office.desk("officer.a", "officer").await;
    let refused = put_notice(&officer.token, "2027-10-01,holiday").await;
    assert_eq!(refused.code(), "wrong_role");
    for (text, detail) in [
        ("", "no line names a day."),
        (
            "2027-10-01,holiday\n2027-10-01,workday",
            "line 2: the day stands in an earlier line already.",
        ),
        (
            "2027-10-01,holiday\n十月二日休",
            "line 2: a day as YYYY-MM-DD, a comma, and holiday, workday or ordinary.",
        ),
    ] {
        let answer = put_notice(&admin.token, text).await;
        assert_eq!(
            (answer.status, &answer.json["detail"]),
            (StatusCode::UNPROCESSABLE_ENTITY, &json!(detail)),
            "{}",
            answer.json
        );
    }
    let shipped = officer.get("calendar").await;
    assert_eq!(shipped["lacks"], Value::Null, "November");
    assert!(
        shipped["years"]
            .as_array()
            .is_some_and(|years| years.contains(&json!(2026)))
    );
    office.test.clock.advance_ms(12 * DAY_MS);
    let admin = office.desk_with(&office.token("root").await);
    assert_eq!(admin.get("calendar").await["lacks"], 2027, "December");
    let notice = "日期,安排\n2027-10-01,放假\n2027-10-09,上班\n";
    let taken = put_notice(&admin.token, notice).await;
    assert_eq!(taken.status, StatusCode::OK, "{}", taken.json);
    assert_eq!(taken.json["lacks"], Value::Null);
    let told = office.told("calendar").await;
    put_notice(&admin.token, notice).await;
    assert_eq!((told, office.told("calendar").await), (1, 1), "once");
    assert_eq!(
        admin.at("310105009").get("calendar").await["lacks"],
        2027,
        "each street its own"
    );
}
