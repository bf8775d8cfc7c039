//! The sample roll against the list of what a careful reader finds in it, the same kind of roll in other clothes, and files that
//! mean harm.

use std::{collections::BTreeMap, io::Write as _};

use lianka_sync_core::{kinds::Class, limits::MEMBER_CHARS_MAX, values::phone};
use proptest::prelude::*;
use serde_json::Value;

use crate::*;

mod damage;
mod neighbours;

const XLSX: &[u8] = include_bytes!("../../tests/fixtures/rolls/tianping-roll.xlsx");
const CSV: &[u8] = include_bytes!("../../tests/fixtures/rolls/tianping-roll.csv");
const FACTS: &str = include_str!("../../tests/fixtures/rolls/tianping-roll.facts.json");

const ROADS: &[&str] = &[
    "华山路",
    "襄阳南路",
    "永康路",
    "肇嘉浜路",
    "虹桥路",
    "建国西路",
    "安亭路",
    "余庆路",
    "吴兴路",
    "宛平路",
    "淮海中路",
    "嘉善路",
    "淮海西路",
    "衡山路",
    "康平路",
    "广元路",
    "东平路",
    "永嘉路",
    "天平路",
    "桃江路",
    "广元西路",
    "兴国路",
    "汾阳路",
    "太原路",
    "乌鲁木齐南路",
    "高安路",
    "岳阳路",
];

/// Fourteen grids in each of the three areas: 康平01 …
fn with_street<T>(then: impl FnOnce(&StreetTables<'_>) -> T) -> T {
    let codes: Vec<(String, &str)> = ["康平", "梧桐", "嘉澜"]
        .iter()
        .flat_map(|area| (1..=14).map(move |n| (format!("{area}{n:02}"), *area)))
        .collect();
    let grids: Vec<KnownGrid<'_>> = codes
        .iter()
        .map(|(code, area)| KnownGrid {
            code,
            name: code,
            area,
        })
        .collect();
    then(&StreetTables {
        roads: ROADS,
        grids: &grids,
        // 2026-11-21 in China.
        now: Some(ServerTime::from_unix_ms(1_795_248_000_000)),
    })
}

fn plan(bytes: &[u8]) -> RollPlan {
    with_street(|street| read(bytes, street, &RollLimits::default())).expect("the roll is read")
}

fn rows_with(plan: &RollPlan, code: ProblemCode) -> Vec<u32> {
    plan.problems
        .iter()
        .filter(|p| p.code == code)
        .map(|p| p.row)
        .collect()
}

fn cell<'a>(row: &'a RollRow, heading: &str) -> &'a str {
    row.cells
        .iter()
        .find(|(h, _)| h == heading)
        .map_or("", |(_, cell)| cell)
}

/// Every fact is about the 1,400 shops before the twenty rows that repeat a door and the one outside the street were added.
fn check_facts(plan: &RollPlan) {
    let facts: Value = serde_json::from_str(FACTS).expect("facts are JSON");
    let fact = |name: &str| {
        facts[name]
            .as_u64()
            .unwrap_or_else(|| panic!("{name} is a number")) as usize
    };
    let pairs: Vec<(&str, &str)> = facts["duplicates"]
        .as_array()
        .expect("pairs")
        .iter()
        .map(|p| (p[0].as_str().expect("text"), p[1].as_str().expect("text")))
        .collect();

    assert_eq!(plan.rows.len(), fact("rows"));
    let first_of_door = |row: &&RollRow| {
        !pairs.iter().any(|(_, again)| *again == cell(row, "地址"))
            && cell(row, "店招名称") != "界外小店"
    };
    let shops: Vec<&RollRow> = plan.rows.iter().filter(first_of_door).collect();
    assert_eq!(shops.len(), fact("shops"));
    let reported = |code: ProblemCode| -> usize {
        let rows = rows_with(plan, code);
        shops.iter().filter(|shop| rows.contains(&shop.row)).count()
    };

    assert_eq!(
        reported(ProblemCode::CreditCodeCheck) + reported(ProblemCode::CreditCodeShape),
        fact("bad_credit_codes")
    );
    assert_eq!(
        reported(ProblemCode::CreditCodeMissing),
        fact("empty_credit_codes")
    );
    assert_eq!(reported(ProblemCode::PhoneShape), fact("bad_phones"));
    assert_eq!(
        reported(ProblemCode::SignNameMissing),
        fact("missing_sign_name")
    );

    let phones = |shop: &RollRow| {
        shop.contacts
            .iter()
            .flat_map(|c| phone::parse(c.get(Meaning::Telephone).unwrap_or_default()))
            .collect::<Vec<_>>()
    };
    assert_eq!(
        shops.iter().filter(|s| phones(s).len() == 2).count(),
        fact("two_phones")
    );
    let has_extension = |phone: &phone::Phone| phone.ext.is_some();
    assert_eq!(
        shops
            .iter()
            .filter(|s| phones(s).iter().any(has_extension))
            .count(),
        fact("extension_phones")
    );

    // Full-width house numbers: verbatim in the raw address, half width in the register.
    let full_width = |text: &str| text.contains(|c: char| ('０'..='９').contains(&c));
    let widened: Vec<_> = shops
        .iter()
        .filter(|s| full_width(s.text("address_raw").unwrap_or_default()))
        .collect();
    assert_eq!(widened.len(), fact("fullwidth_numbers"));
    assert!(widened.iter().all(|s| {
        s.text("number")
            .is_some_and(|n| n.bytes().all(|b| b.is_ascii_digit()))
    }));

    // Characters are kept as typed.
    let traditional = |shop: &&&RollRow| {
        shop.text("sign_name")
            .is_some_and(|name| name.contains(['鋪', '藥', '館']))
    };
    assert_eq!(
        shops.iter().filter(traditional).count(),
        fact("traditional_names")
    );
    let rare = |c: char| u32::from(c) > 0xffff || ('\u{3400}'..='\u{4dbf}').contains(&c);
    assert_eq!(
        shops
            .iter()
            .filter(|s| s
                .contacts
                .iter()
                .any(|c| c.get(Meaning::PersonName).is_some_and(|n| n.contains(rare))))
            .count(),
        fact("rare_characters")
    );

    // Date cells of the workbook show as ISO text here, other dates as typed; all become confirmations.
    let is_iso = |text: &str| text.len() == 10 && text.as_bytes()[4] == b'-';
    assert_eq!(
        shops.iter().filter(|s| is_iso(cell(s, "最近走访"))).count(),
        fact("excel_dates")
    );
    assert_eq!(
        shops
            .iter()
            .filter(|s| !cell(s, "最近走访").is_empty() && !is_iso(cell(s, "最近走访")))
            .count(),
        fact("text_dates")
    );
    let confirmed = |row: &&&RollRow| {
        row.values
            .iter()
            .any(|(key, value)| key.starts_with("confirmations/20") && *value == RollValue::Flag)
    };
    assert_eq!(
        shops.iter().filter(confirmed).count(),
        fact("excel_dates") + fact("text_dates")
    );
    assert!(rows_with(plan, ProblemCode::DateUnreadable).is_empty());

    assert_eq!(
        shops
            .iter()
            .filter(|s| s.text("occupancy") == Some("关闭"))
            .count(),
        fact("closed")
    );
    assert!(rows_with(plan, ProblemCode::OccupancyUnknown).is_empty());

    assert_eq!(
        rows_with(plan, ProblemCode::RoadUnknown).len(),
        fact("unknown_road")
    );
    let outside = plan
        .rows
        .iter()
        .find(|r| r.row == rows_with(plan, ProblemCode::RoadUnknown)[0])
        .expect("the row is there");
    assert_eq!(outside.text("address_raw"), Some("天平东路88号"));

    // Each pair: both rows are told of the other.
    let twice: BTreeMap<u32, Option<u32>> = plan
        .problems
        .iter()
        .filter(|p| p.code == ProblemCode::SameDoorTwice)
        .map(|p| (p.row, p.other_row))
        .collect();
    assert_eq!(twice.len(), 2 * pairs.len());
    for (once, again) in pairs {
        let row_of = |address: &str| {
            plan.rows
                .iter()
                .find(|r| cell(r, "地址") == address)
                .expect("the address is there")
                .row
        };
        let (once, again) = (row_of(once), row_of(again));
        assert_eq!((twice[&once], twice[&again]), (Some(again), Some(once)));
    }
    assert!(rows_with(plan, ProblemCode::GridUnknown).is_empty());
    assert!(plan.rows.iter().all(|r| r.grid.is_some()));
    assert_eq!(plan.custom_fields.len(), 1);
    let choices = ["缺失", "过期", "合格"].map(str::to_owned).to_vec();
    assert_eq!(
        plan.custom_fields[0],
        CustomField {
            name: "消防检查".into(),
            label: "消防检查".into(),
            kind: CustomKind::Choice(choices),
            class: Class::P1,
        }
    );
}

#[test]
fn the_sample_workbook_holds_the_facts() {
    let plan = plan(XLSX);
    let facts: Value = serde_json::from_str(FACTS).expect("facts are JSON");
    assert_eq!(
        u64::from(plan.header_row),
        facts["header_row"].as_u64().expect("a number")
    );
    assert_eq!(
        plan.blank_rows as u64,
        facts["blank_rows"].as_u64().expect("a number")
    );
    assert_eq!(
        plan.total_rows as u64,
        facts["total_row"].as_u64().expect("a number")
    );
    assert_eq!(plan.sheet.as_deref(), Some("沿街商铺台账"));
    check_facts(&plan);
    assert_eq!(plan.rows[0].row, 5);
    assert_eq!(plan.rows.last().map(|r| r.row), Some(1439));
}

#[test]
fn the_sample_workbook_has_three_sheets() {
    let facts: Value = serde_json::from_str(FACTS).expect("facts are JSON");
    let mut archive = zip::ZipArchive::new(std::io::Cursor::new(XLSX)).expect("a zip");
    let sheets = (0..archive.len())
        .filter(|at| {
            archive
                .by_index(*at)
                .expect("a part")
                .name()
                .expect("a name")
                .starts_with("xl/worksheets/sheet")
        })
        .count();
    assert_eq!(sheets as u64, facts["sheets"].as_u64().expect("a number"));
}

#[test]
fn the_sample_text_file_holds_the_same_facts_and_rows() {
    let (text, workbook) = (plan(CSV), plan(XLSX));
    assert_eq!(
        (text.header_row, text.blank_rows, text.total_rows),
        (1, 0, 0)
    );
    check_facts(&text);
    let identities = |plan: &RollPlan| plan.rows.iter().map(|r| r.identity).collect::<Vec<_>>();
    assert_eq!(identities(&text), identities(&workbook));
    for (from_text, from_workbook) in text.rows.iter().zip(&workbook.rows) {
        assert_eq!(from_text.values, from_workbook.values);
        assert_eq!(from_text.contacts, from_workbook.contacts);
        assert_eq!(from_text.cells, from_workbook.cells);
    }
}

#[test]
fn a_row_of_the_sample_in_full() {
    let plan = plan(XLSX);
    let row = plan
        .rows
        .iter()
        .find(|r| cell(r, "序号") == "13")
        .expect("row 13");
    let text = |value: &str| RollValue::Text(value.into());
    assert_eq!(
        row.values,
        [
            ("sign_name".to_owned(), text("小黄修车铺")),
            ("credit_code".to_owned(), text("92310104MA1ABY5K9L")),
            (
                "legal_name".to_owned(),
                text("上海市徐汇区小黄修车铺（个体工商户）")
            ),
            ("category".to_owned(), text("维修")),
            ("opening_hours".to_owned(), text("24小时")),
            ("address_raw".to_owned(), text("天平路239号临")),
            ("road".to_owned(), text("天平路")),
            ("number".to_owned(), text("239")),
            ("number_suffix".to_owned(), text("临")),
            (
                "point".to_owned(),
                text("geo:31.201081,121.454645;crs=gcj02")
            ),
            ("occupancy".to_owned(), text("营业")),
            ("confirmations/2026-01-21".to_owned(), RollValue::Flag),
        ]
    );
    assert_eq!(row.grid.as_deref(), Some("梧桐02"));
    let contacts: Vec<Vec<_>> = row
        .contacts
        .iter()
        .map(|contact| contact.fields().collect())
        .collect();
    assert_eq!(
        contacts,
        [[
            ("name", "黄磊晓"),
            ("phones", "16634109680/021-50932417"),
            ("role", "店主")
        ]]
    );
    assert_eq!(row.note.as_deref(), Some("门口积水，已报"));
    assert_eq!(cell(row, "最近走访"), "2026年1月21日");
}

#[test]
fn reading_twice_gives_the_same_rows_and_each_is_its_own() {
    let (first, second) = (plan(XLSX), plan(XLSX));
    let mut identities: Vec<[u8; 32]> = first.rows.iter().map(|r| r.identity).collect();
    assert_eq!(
        identities,
        second.rows.iter().map(|r| r.identity).collect::<Vec<_>>()
    );
    identities.sort_unstable();
    identities.dedup();
    assert_eq!(identities.len(), first.rows.len());
}

/// The kind of roll that another street keeps: other headings, other order, split addresses, semicolons.
const OTHER: &str = "\
门牌号;路段;商户名称（以店招为准）;负责人;手机;座机;营业状态;走访日期;所属网格;企业名称;统一代码;行业;百度坐标;燃气报警器;建筑面积(㎡);年检日期;政治面貌;情况说明\r\n\
12-14;天平路;老盛昌;王阿姨;１６６３４１０９６８０;021-50932417转8;正常营业;25.3.1;康平片区1号网格;;91310000631696382c;餐饮;121.46,31.22;有;45.5;2026-01-02;党员;后门常开，找16634109681\r\n\
;;;;;;;;;;;;;;;;;\r\n\
36号乙;天平路;\"阿婆\n葱油饼\";;1663410968;;暂停营业;去年;康平01;;91310115MA1H8R7C6D;餐饮;31.22;无;30;2026-01-03;;\r\n\
天平路36乙号;天平路;阿婆葱油饼;;;;倒闭了;;不知道;;123;餐饮;;有;20;2026-01-04;;\r\n\
;湖南路;;;;;;;;上海某某公司;;;;有;12;2026-01-05;;\r\n\
合计;;4;;;;;;;;;;;;;;;\r\n\
填表人：小王;;;;;;;;;;;;;;;;;\r\n";

#[test]
fn another_roll_of_the_same_kind() {
    let plan = plan(OTHER.as_bytes());
    assert_eq!(
        (
            plan.header_row,
            plan.rows.len(),
            plan.blank_rows,
            plan.total_rows
        ),
        (1, 4, 1, 1)
    );
    let [first, second, third, fourth] = &plan.rows[..] else {
        panic!("four rows")
    };
    assert_eq!([first.row, second.row, third.row, fourth.row], [2, 4, 5, 6]);
    for (key, value) in [
        ("sign_name", "老盛昌"),
        ("address_raw", "天平路12-14号"),
        ("road", "天平路"),
        ("number", "12-14"),
        ("credit_code", "91310000631696382C"),
        ("category", "餐饮"),
        ("occupancy", "营业"),
        ("point", "geo:31.220000,121.460000;crs=bd09"),
        ("custom/燃气报警器", "有"),
        ("custom/建筑面积", "45.5"),
        ("custom/年检日期", "2026-01-02"),
    ] {
        assert_eq!(first.text(key), Some(value), "{key}");
    }
    assert!(
        first
            .values
            .contains(&("confirmations/2025-03-01".into(), RollValue::Flag))
    );
    assert_eq!(first.grid.as_deref(), Some("康平01"));
    assert_eq!(first.contacts[0].get(Meaning::PersonName), Some("王阿姨"));
    assert_eq!(
        first.contacts[0].get(Meaning::Telephone),
        Some("16634109680/021-50932417转8")
    );
    assert_eq!(first.contacts[0].get(Meaning::PersonRole), Some("负责人"));
    assert_eq!(first.contacts.len(), 1);
    assert_eq!(second.text("sign_name"), Some("阿婆 葱油饼"));
    assert_eq!(cell(second, "商户名称（以店招为准）"), "阿婆\n葱油饼");
    assert_eq!(
        (
            second.text("number"),
            second.text("number_suffix"),
            second.text("occupancy")
        ),
        (Some("36"), Some("乙"), Some("关闭"))
    );
    assert_eq!(third.text("occupancy"), None);
    assert_eq!(cell(third, "营业状态"), "倒闭了");
    assert_eq!(third.text("credit_code"), Some("123"));

    let reported: Vec<(u32, &str, Option<u32>)> = plan
        .problems
        .iter()
        .map(|p| (p.row, p.code.as_str(), p.other_row))
        .collect();
    assert_eq!(
        reported,
        [
            (1, "sensitive_column", None),
            (2, "personal_number", None),
            (4, "credit_code_check", None),
            (4, "point_unreadable", None),
            (4, "date_unreadable", None),
            (4, "phone_shape", None),
            (4, "same_door_twice", Some(5)),
            (5, "credit_code_shape", None),
            (5, "same_door_twice", Some(4)),
            (5, "occupancy_unknown", None),
            (5, "grid_unknown", None),
            (6, "sign_name_missing", None),
            (6, "credit_code_missing", None),
            (6, "house_number_unreadable", None),
            (6, "road_unknown", None),
            (6, "grid_unknown", None),
            (8, "row_skipped", None),
        ]
    );
    let kinds: Vec<(&str, &str)> = plan
        .custom_fields
        .iter()
        .map(|f| (f.label.as_str(), f.kind.as_str()))
        .collect();
    assert_eq!(
        kinds,
        [
            ("燃气报警器", "text"),
            ("建筑面积(㎡)", "number"),
            ("年检日期", "date")
        ]
    );
    assert!(
        plan.problems
            .iter()
            .all(|p| !p.zh.is_empty() && !p.en.is_empty())
    );
}

#[test]
fn english_headings_in_any_encoding() {
    let text = "Shop name\tAddress\tPhone\tStatus\tGrid\tRemarks\n小馬舞蹈教室\t天平路1號\t13800138000\topen\t康平01\t\n";
    let utf16 = |big: bool, mark: bool| {
        let units = mark
            .then_some(0xfeff)
            .into_iter()
            .chain(text.encode_utf16());
        units
            .flat_map(|unit| {
                if big {
                    unit.to_be_bytes()
                } else {
                    unit.to_le_bytes()
                }
            })
            .collect::<Vec<u8>>()
    };
    let expected = plan(text.as_bytes()).rows[0].values.clone();
    assert_eq!(
        expected[0],
        (
            "sign_name".to_owned(),
            RollValue::Text("小馬舞蹈教室".into())
        )
    );
    let gb18030 = encoding_rs::GB18030.encode(text).0.into_owned();
    for bytes in [
        [b"\xef\xbb\xbf", text.as_bytes()].concat(),
        gb18030,
        utf16(false, true),
        utf16(true, true),
        utf16(false, false),
        utf16(true, false),
    ] {
        assert_eq!(plan(&bytes).rows[0].values, expected);
    }
}

#[test]
fn rows_that_are_the_same_in_every_cell_keep_their_own_identity() {
    let sheet = |rows: &[&str]| format!("序号,店招,地址\n{}\n", rows.join("\n"));
    let identities = |rows: &[&str]| {
        plan(sheet(rows).as_bytes())
            .rows
            .iter()
            .map(|r| r.identity)
            .collect::<Vec<_>>()
    };
    let twice = identities(&["1,甲店,天平路1号", "2,甲店,天平路1号"]);
    assert_ne!(twice[0], twice[1]);
    // The running number does not count, so a row put in above changes nothing below.
    let shifted = identities(&["1,乙店,天平路3号", "2,甲店,天平路1号", "3,甲店,天平路1号"]);
    assert_eq!(twice, shifted[1..]);
    // Nor does the order of columns.
    let turned = plan("地址,店招,序号\n天平路1号,甲店,7\n".as_bytes());
    assert_eq!(turned.rows[0].identity, twice[0]);
    assert_ne!(identities(&["1,甲店,天平路2号"])[0], twice[0]);
}

#[test]
fn columns_of_one_meaning_and_long_or_equal_headings() {
    let long = "很".repeat(60);
    let text =
        format!("店招,店名,地址,检查,检查,检查!,{long},{long},\n甲,乙,天平路1号,1,2,3,4,5,6\n");
    let plan = plan(text.as_bytes());
    let names: Vec<&str> = plan.custom_fields.iter().map(|f| f.name.as_str()).collect();
    assert_eq!(names[..4], ["店名", "检查", "检查_2", "检查_3"]);
    assert!(names.iter().all(|n| n.chars().count() <= MEMBER_CHARS_MAX) && names.len() == 7);
    assert_eq!(names[6], "i");
    assert_eq!(plan.rows[0].text("sign_name"), Some("甲"));
    assert_eq!(plan.rows[0].text("custom/店名"), Some("乙"));
}

#[test]
fn values_that_do_not_fit_stay_in_the_cells() {
    let name = "长".repeat(101);
    let plan = plan(format!("店招,地址,备注\n{name},天平路1号,{}\n", "注".repeat(2001)).as_bytes());
    assert_eq!(plan.rows[0].text("sign_name"), None);
    assert_eq!(plan.rows[0].note, None);
    assert_eq!(cell(&plan.rows[0], "店招"), name);
    assert_eq!(rows_with(&plan, ProblemCode::ValueTooLong), [2, 2]);
}

#[test]
fn grids_are_matched_forgivingly_but_never_guessed() {
    let grid = |area: &str, grid: &str| {
        plan(format!("店招,地址,片区,网格\n甲,天平路1号,{area},{grid}\n").as_bytes()).rows[0]
            .grid
            .clone()
    };
    for (area, number, expected) in [
        ("康平", "01", Some("康平01")),
        ("康平", "1", Some("康平01")),
        ("康平片区", "第1网格", Some("康平01")),
        ("", "康平01", Some("康平01")),
        ("康平", "康平０１", Some("康平01")),
        ("康平", "10", Some("康平10")),
        ("康平", "100", None),
        ("", "01", None),
        ("康平", "", None),
        ("康平", "梧桐01", None),
        ("", "", None),
    ] {
        assert_eq!(grid(area, number).as_deref(), expected, "{area} {number}");
    }
}

/// A file of tests/fixtures/rolls/cases, read with the grid G1.
fn case(bytes: &[u8]) -> RollPlan {
    let grids = [KnownGrid {
        code: "G1",
        name: "G1",
        area: "",
    }];
    let street = StreetTables {
        now: None,
        roads: ROADS,
        grids: &grids,
    };
    read(bytes, &street, &RollLimits::default()).expect("the roll is read")
}

/// Name, numbers and role of every contact, by shop.
fn people(plan: &RollPlan) -> Vec<Vec<String>> {
    let contact = |contact: &RollContact| {
        [Meaning::PersonName, Meaning::Telephone, Meaning::PersonRole]
            .map(|meaning| contact.get(meaning).unwrap_or("-"))
            .join(" ")
    };
    let rows = plan.rows.iter();
    rows.map(|row| row.contacts.iter().map(contact).collect())
        .collect()
}

fn codes(plan: &RollPlan) -> Vec<(u32, &str)> {
    plan.problems
        .iter()
        .map(|p| (p.row, p.code.as_str()))
        .collect()
}

#[test]
fn a_second_contact_under_the_same_headings() {
    let plan = case(include_bytes!(
        "../../tests/fixtures/rolls/cases/01-second-contact-same-headings.csv"
    ));
    assert_eq!(
        people(&plan),
        [["王小明 13800000001 -", "李小红 13900000002 -"]]
    );
    assert_eq!(plan.rows[0].text("custom/备注"), Some("乙"));
    assert_eq!(plan.custom_fields.len(), 1);
}

#[test]
fn headings_in_two_rows() {
    let workbook = case(include_bytes!(
        "../../tests/fixtures/rolls/cases/02-two-header-rows.xlsx"
    ));
    let text = case(
        "序号,店招,经营地址,,经营者,,房东,,所属网格\n,,路名,门牌号,姓名,手机号,姓名,手机号,\n\
         1,王记面馆,天平路,1,王小明,13800000001,李房东,13900000009,G1\n2,李记,天平路,3,李小红,13800000002,李房东,13900000009,G1\n"
            .as_bytes(),
    );
    for plan in [&workbook, &text] {
        assert_eq!(
            people(plan),
            [
                ["王小明 13800000001 经营者", "李房东 13900000009 房东"],
                ["李小红 13800000002 经营者", "李房东 13900000009 房东"],
            ]
        );
        assert!(plan.custom_fields.is_empty());
        assert_eq!(plan.header_row, 1);
        assert_eq!(plan.rows[0].text("road"), Some("天平路"));
        assert_eq!(plan.rows[0].text("number"), Some("1"));
        assert_eq!(plan.rows[0].grid.as_deref(), Some("G1"));
        assert_eq!(codes(plan), []);
    }
    assert_eq!(workbook.rows[1].identity, text.rows[1].identity);
}

#[test]
fn people_under_all_kinds_of_headings() {
    for (headings, cells, expected) in [
        (
            "联系人,联系电话,紧急联系人,紧急联系电话",
            "张三,13800000001,李四,13900000002",
            &["张三 13800000001 -", "李四 13900000002 紧急联系人"][..],
        ),
        (
            "经营者,电话,房东,电话",
            "张三,13800000001,李四,13900000002",
            &["张三 13800000001 经营者", "李四 13900000002 房东"],
        ),
        (
            "姓名,手机号,姓名,手机号,姓名,手机号",
            "张三,13800000001,李四,13900000002,王五,13700000003",
            &[
                "张三 13800000001 -",
                "李四 13900000002 -",
                "王五 13700000003 -",
            ],
        ),
        (
            "联系电话,联系人,联系电话,联系人",
            "13800000001,张三,13900000002,李四",
            &["张三 13800000001 -", "李四 13900000002 -"],
        ),
        (
            "联系人,手机,电话",
            "张三,13800000001,50000000",
            &["张三 13800000001/50000000 -"],
        ),
        (
            "联系人,联系电话,备用电话",
            "张三,13800000001,13900000002",
            &["张三 13800000001/13900000002 -"],
        ),
        (
            "联系人,电话1,电话2",
            "张三,13800000001,13900000002",
            &["张三 13800000001/13900000002 -"],
        ),
        (
            "联系人1,电话1,联系人2,电话2",
            "张三,13800000001,李四,13900000002",
            &["张三 13800000001 -", "李四 13900000002 -"],
        ),
        (
            "第一联系人,联系电话,第二联系人,联系电话",
            "张三,13800000001,李四,13900000002",
            &["张三 13800000001 -", "李四 13900000002 -"],
        ),
        (
            "联系人,联系电话,身份,联系人,联系电话,身份",
            "张三,13800000001,店主,李四,13900000002,店员",
            &["张三 13800000001 店主", "李四 13900000002 店员"],
        ),
        (
            "法人,法人电话,负责人,负责人电话,房东,房东电话",
            "张三,13800000001,李四,13900000002,王五,13700000003",
            &[
                "张三 13800000001 法人",
                "李四 13900000002 负责人",
                "王五 13700000003 房东",
            ],
        ),
        (
            "联系人（店主）,联系电话,业主姓名,业主联系方式",
            "张三,13800000001,李四,13900000002",
            &["张三 13800000001 -", "李四 13900000002 业主"],
        ),
        (
            "联系人,联系电话",
            "张三 13800000001、李四 13900000002,",
            &["张三 13800000001 -", "李四 13900000002 -"],
        ),
        (
            "联系人,联系电话",
            "张三、李四,13800000001、13900000002",
            &["张三 13800000001 -", "李四 13900000002 -"],
        ),
        (
            "联系人A,电话A,联系人B,电话B",
            "张三,13800000001,李四,13900000002",
            &["张三 13800000001 -", "李四 13900000002 -"],
        ),
        (
            "联系人姓名及电话,房东及联系方式",
            "张三 13800000001,李四：13900000002",
            &["张三 13800000001 -", "李四 13900000002 房东"],
        ),
        (
            "联系人,联系电话,身份",
            "\"张三\n李四\",\"13800000001\n13900000002\",\"店主\n店员\"",
            &["张三 13800000001 店主", "李四 13900000002 店员"],
        ),
        (
            "负责人,座机,手机",
            "张三,50000000,13800000001",
            &["张三 13800000001/50000000 负责人"],
        ),
        (
            "房东,房东手机,房东座机",
            "李四,13900000002,50000000",
            &["李四 13900000002/50000000 房东"],
        ),
        (
            "Contact,Phone,Landlord,Landlord phone",
            "Ann,13800000001,Bob,13900000002",
            &["Ann 13800000001 -", "Bob 13900000002 landlord"],
        ),
    ] {
        let plan =
            case(format!("店招,地址,网格,{headings}\n甲店,天平路1号,G1,{cells}\n").as_bytes());
        assert_eq!(people(&plan), [expected], "{headings}");
        assert!(
            plan.custom_fields.is_empty(),
            "{headings}: {:?}",
            plan.custom_fields
        );
    }
}

#[test]
fn people_of_a_merged_shop_stand_in_rows_of_their_own() {
    let blank = "店招,地址,网格,联系人,联系电话\n甲店,天平路1号,G1,张三,13800000001\n,,,李四,13900000002\n乙店,天平路3号,G1,王五,\n";
    let filled = "店招,地址,网格,联系人,联系电话\n甲店,天平路1号,G1,张三,13800000001\n甲店,天平路1号,G1,李四,13900000002\n乙店,天平路3号,G1,王五,\n";
    for text in [blank, filled] {
        let plan = case(text.as_bytes());
        assert_eq!(
            people(&plan),
            [
                &["张三 13800000001 -", "李四 13900000002 -"][..],
                &["王五 - -"]
            ]
        );
        assert_eq!(codes(&plan), [(3, "row_joined")]);
    }
    // Two running numbers are two shops.
    let numbered = case(
        "序号,店招,地址,网格,联系人\n1,甲店,天平路1号,G1,张三\n2,甲店,天平路1号,G1,李四\n"
            .as_bytes(),
    );
    assert_eq!(numbered.rows.len(), 2);
    assert_eq!(
        codes(&numbered),
        [(2, "same_door_twice"), (3, "same_door_twice")]
    );
}

#[test]
fn columns_of_personal_data_are_declared_as_such() {
    let plan = case(
        "店招,地址,网格,联系人,微信号,对接,值班安排,消防检查,网格员\n\
         甲店,天平路1号,G1,张三,zhangsan88,李小红,找13900000002,合格,王五\n\
         乙店,天平路3号,G1,李四,lisi_66,王小明,,合格,王五\n丙店,天平路5号,G1,李四,,陈大文,,过期,王五\n"
            .as_bytes(),
    );
    let classes: Vec<(&str, Class)> = plan
        .custom_fields
        .iter()
        .map(|field| (field.name.as_str(), field.class))
        .collect();
    assert_eq!(
        classes,
        [
            ("微信号", Class::P2),
            ("对接", Class::P2),
            ("值班安排", Class::P2),
            ("消防检查", Class::P1),
            ("网格员", Class::P2),
        ]
    );
    assert_eq!(rows_with(&plan, ProblemCode::PersonalColumn).len(), 4);
}

#[test]
fn footers_notes_and_seals_are_no_shops() {
    let plan = case(include_bytes!(
        "../../tests/fixtures/rolls/cases/17-footer-rows.xlsx"
    ));
    assert_eq!(plan.rows.len(), 1);
    assert_eq!(people(&plan), [["王 13800000001 -"]]);
    assert_eq!(rows_with(&plan, ProblemCode::RowSkipped), [4, 5, 6]);
}

#[test]
fn placeholders_are_nobody_and_nothing() {
    let plan = case(include_bytes!(
        "../../tests/fixtures/rolls/cases/20-placeholders.xlsx"
    ));
    let said: Vec<_> = plan
        .rows
        .iter()
        .map(|row| {
            (
                row.text("sign_name"),
                row.text("legal_name"),
                row.contacts.len(),
                row.note.as_deref(),
            )
        })
        .collect();
    assert_eq!(
        said,
        [
            (None, None, 0, None),
            (None, None, 0, None),
            (Some("空置"), None, 0, None),
            (Some("甲店"), None, 0, None),
            (Some("甲店"), None, 0, None),
        ]
    );
    assert_eq!(plan.rows[4].text("address_raw"), None);
    assert_eq!(plan.rows[4].grid.as_deref(), Some("G1"));
    assert_eq!(cell(&plan.rows[4], "地址"), "同上");
    assert_eq!(rows_with(&plan, ProblemCode::DittoTaken), [6]);
    assert_eq!(rows_with(&plan, ProblemCode::DittoNotTaken), [6, 6, 6, 6]);
    assert_eq!(rows_with(&plan, ProblemCode::SignNameMissing), [2, 3]);
    // 无 is an answer where it is asked whether there is one.
    let alarm = case(
        "店招,地址,网格,报警器,状态\n甲,天平路1号,G1,无,无\n乙,天平路3号,G1,-,空\n".as_bytes(),
    );
    assert_eq!(alarm.rows[0].text("custom/报警器"), Some("无"));
    assert_eq!(alarm.rows[1].text("custom/报警器"), None);
    assert_eq!(alarm.rows[0].text("occupancy"), None);
    assert_eq!(alarm.rows[1].text("occupancy"), Some("空置"));
}

#[test]
fn house_numbers_in_other_spellings() {
    let plan = case(include_bytes!(
        "../../tests/fixtures/rolls/cases/26-house-numbers-not-understood.csv"
    ));
    let doors: Vec<String> = plan
        .rows
        .iter()
        .map(|row| {
            ["road", "number", "unit"]
                .map(|key| row.text(key).unwrap_or("-"))
                .join(" ")
        })
        .collect();
    assert_eq!(
        doors,
        [
            "天平路 23 -",
            "天平路 A123 -",
            "天平路 123 -",
            "天平路 123 -",
            "天平路 123 -",
            "天平路 123 商铺3",
            "天平路 123 -",
        ]
    );
    assert!(rows_with(&plan, ProblemCode::RoadUnknown).is_empty());
    assert!(rows_with(&plan, ProblemCode::HouseNumberUnreadable).is_empty());
    let unread =
        case("店招,地址,网格\n甲,天平路近广元路,G1\n乙,天平路1号隔壁3间门面后,G1\n".as_bytes());
    assert_eq!(
        codes(&unread),
        [(2, "house_number_unreadable"), (3, "address_part_unread")]
    );
}

#[test]
fn a_band_names_the_road_or_the_grid_of_the_rows_below() {
    let plan = plan(
        "序号,店招,地址,网格\n天平路（共2户）,,,\n1,甲,1号,康平01\n2,乙,天平路3号,康平01\n一、广元路,,,\n1,丙,5号,康平01\n\
         康平片区第二网格,,,\n2,丁,广元路7号,\n某某社区,,,\n【天平路】,,,\n3,戊,9号,\n路段：广元路,,,\n4,己,11号,\n\
         以下空白,,,\n合计,,共6户,\n"
            .as_bytes(),
    );
    let doors: Vec<String> = plan
        .rows
        .iter()
        .map(|row| {
            let at = ["address_raw", "road", "number"].map(|key| row.text(key).unwrap_or("-"));
            format!("{} {}", at.join(" "), row.grid.as_deref().unwrap_or("-"))
        })
        .collect();
    assert_eq!(
        doors,
        [
            "天平路1号 天平路 1 康平01",
            "天平路3号 天平路 3 康平01",
            "广元路5号 广元路 5 康平01",
            "广元路7号 广元路 7 康平02",
            "天平路9号 天平路 9 康平02",
            "广元路11号 广元路 11 康平02",
        ]
    );
    assert_eq!(plan.total_rows, 1);
    assert_eq!(
        codes(&plan),
        [
            (2, "band_applied"),
            (5, "band_applied"),
            (7, "band_applied"),
            (9, "row_skipped"),
            (10, "band_applied"),
            (12, "band_applied"),
            (14, "row_skipped"),
        ]
    );
}

#[test]
fn headings_again_are_no_shop_and_other_ones_are_followed() {
    let plan = case(
        "店招,地址,网格,联系人,联系电话\n甲,天平路1号,G1,张三,13800000001\n店招,地址,网格,联系人,联系电话\n\
         乙,天平路3号,G1,李四,\n店名,地址,所属网格,联系人,手机\n丙,天平路5号,G1,王五,\n\
         店招,联系人,联系电话,地址,网格,法人年龄\n丁,赵六,13900000002,天平路7号,G1,40\n"
            .as_bytes(),
    );
    let shops: Vec<_> = plan
        .rows
        .iter()
        .map(|row| {
            (
                row.row,
                row.text("sign_name"),
                row.text("number"),
                row.grid.as_deref(),
            )
        })
        .collect();
    assert_eq!(
        shops,
        [
            (2, Some("甲"), Some("1"), Some("G1")),
            (4, Some("乙"), Some("3"), Some("G1")),
            (6, Some("丙"), Some("5"), Some("G1")),
            (8, Some("丁"), Some("7"), Some("G1")),
        ]
    );
    assert_eq!(people(&plan)[3], ["赵六 13900000002 -"]);
    assert_eq!(
        codes(&plan),
        [
            (5, "heading_repeated"),
            (7, "heading_repeated"),
            (8, "cell_not_taken"),
        ]
    );
    assert_eq!(cell(&plan.rows[3], "法人年龄"), "40");
}

#[test]
fn grids_are_known_in_either_numerals_and_script() {
    for (area, number, expected) in [
        ("康平", "一", Some("康平01")),
        ("康平片区", "第一网格", Some("康平01")),
        ("康平片", "十号网格", Some("康平10")),
        ("", "康平第十二责任网格", Some("康平12")),
        ("嘉瀾", "３", Some("嘉澜03")),
        ("康平", "1号网格", Some("康平01")),
        ("康平", "二十", None),
    ] {
        let plan = plan(format!("店招,地址,片区,网格\n甲,天平路1号,{area},{number}\n").as_bytes());
        assert_eq!(plan.rows[0].grid.as_deref(), expected, "{area} {number}");
    }
}

fn check_refused(bytes: &[u8], limits: &RollLimits, code: &str) {
    let error = with_street(|street| read(bytes, street, limits))
        .map(|plan| plan.rows.len())
        .expect_err(code);
    assert_eq!(error.code(), code, "{error}");
    assert!(!error.zh().is_empty());
}

fn zipped(parts: &[(&str, &[u8])]) -> Vec<u8> {
    let mut writer = zip::ZipWriter::new(std::io::Cursor::new(Vec::new()));
    for (name, bytes) in parts {
        writer
            .start_file(*name, zip::write::SimpleFileOptions::default())
            .expect("a part");
        writer.write_all(bytes).expect("bytes");
    }
    writer.finish().expect("a zip").into_inner()
}

#[test]
fn files_that_are_no_roll_or_mean_harm() {
    let limits = RollLimits::default();
    check_refused(b"", &limits, "roll_empty");
    check_refused(b"\n\n , \n", &limits, "roll_empty");
    check_refused("店,名\n一,二\n".as_bytes(), &limits, "roll_no_header");
    check_refused(
        &[0xd0, 0xcf, 0x11, 0xe0, 0xa1, 0xb1],
        &limits,
        "roll_old_or_encrypted",
    );
    check_refused(b"PK\x03\x04broken", &limits, "roll_truncated");
    check_refused(&zipped(&[("hello.txt", b"hi")]), &limits, "roll_unreadable");
    let random: Vec<u8> = (0..4000_u32)
        .map(|n| (n.wrapping_mul(2_654_435_761) >> 24) as u8)
        .collect();
    check_refused(&random, &limits, "roll_unreadable");
    check_refused(
        CSV,
        &RollLimits {
            file_bytes_max: 1000,
            ..limits
        },
        "roll_file_too_large",
    );
    check_refused(
        CSV,
        &RollLimits {
            rows_max: 1000,
            ..limits
        },
        "roll_too_many_rows",
    );
    check_refused(
        XLSX,
        &RollLimits {
            rows_max: 1000,
            ..limits
        },
        "roll_too_many_rows",
    );
    check_refused(
        CSV,
        &RollLimits {
            columns_max: 10,
            ..limits
        },
        "roll_too_many_columns",
    );
    check_refused(
        XLSX,
        &RollLimits {
            columns_max: 10,
            ..limits
        },
        "roll_too_many_columns",
    );
    check_refused(
        CSV,
        &RollLimits {
            cell_chars_max: 20,
            ..limits
        },
        "roll_cell_too_long",
    );
    check_refused(
        XLSX,
        &RollLimits {
            cell_chars_max: 20,
            ..limits
        },
        "roll_cell_too_long",
    );
    check_refused(
        XLSX,
        &RollLimits {
            text_bytes_max: 10_000,
            ..limits
        },
        "roll_unpacked_too_large",
    );
    check_refused(
        XLSX,
        &RollLimits {
            unpacked_bytes_max: 1_000_000,
            ..limits
        },
        "roll_unpacked_too_large",
    );
    check_refused(
        XLSX,
        &RollLimits {
            parts_max: 5,
            ..limits
        },
        "roll_unpacked_too_large",
    );
    let bomb = zipped(&[("xl/worksheets/sheet1.xml", &vec![b' '; 200 * 1024 * 1024])]);
    assert!(bomb.len() < 1_000_000);
    check_refused(&bomb, &limits, "roll_unpacked_too_large");
}

#[test]
fn a_declared_size_that_lies_is_found_out() {
    let small = RollLimits {
        unpacked_bytes_max: 10_000,
        ..RollLimits::default()
    };
    let mut bomb = zipped(&[("a", &vec![b' '; 1_000_000])]);
    // The uncompressed size stands in the local header and in the central directory as the same four bytes.
    let size = 1_000_000_u32.to_le_bytes();
    let places: Vec<usize> = bomb
        .windows(4)
        .enumerate()
        .filter(|(_, w)| *w == size)
        .map(|(at, _)| at)
        .collect();
    assert!(!places.is_empty());
    for at in places {
        bomb[at..at + 4].copy_from_slice(&100_u32.to_le_bytes());
    }
    let error = with_street(|street| read(&bomb, street, &small))
        .map(|plan| plan.rows.len())
        .expect_err("a lie");
    assert!(
        matches!(
            error,
            RollError::UnpackedTooLarge { .. } | RollError::Unreadable(_)
        ),
        "{error}"
    );
}

#[test]
fn codes_are_stable_and_unique() {
    let codes: BTreeSet<&str> = ProblemCode::ALL.iter().map(|c| c.as_str()).collect();
    assert_eq!(codes.len(), ProblemCode::ALL.len());
    assert!(
        codes
            .iter()
            .all(|c| c.bytes().all(|b| b.is_ascii_lowercase() || b == b'_'))
    );
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn never_panics_on_text(text in "(店招|地址|电话|状态|走访日期|网格|经度|[a-z0-9天平路号,;\t\"\n]){0,200}") {
        let text = format!("店招,地址,电话,状态,走访日期,经纬度(WGS84)\n{text}\n");
        let _ = with_street(|street| read(text.as_bytes(), street, &RollLimits::default()));
    }

    #[test]
    fn never_panics_on_bytes(bytes in prop::collection::vec(any::<u8>(), 0..500)) {
        let _ = with_street(|street| read(&bytes, street, &RollLimits::default()));
        let _ = with_street(|street| read(&[b"PK\x03\x04", &bytes[..]].concat(), street, &RollLimits::default()));
    }
}

#[test]
fn a_long_roll_is_handed_over_in_parts() {
    use std::fmt::Write as _;
    let mut lines = "店招,地址,联系人,电话\n".to_owned();
    for n in 1..=3_000 {
        let _ = writeln!(lines, "店{n},天平路{n}号,王小明,13800000001");
        // A second person of every tenth shop, and a note between.
        if n % 10 == 0 {
            let _ = writeln!(lines, ",,李小红,13900000002");
        }
        if n % 700 == 0 {
            let _ = writeln!(lines, "制表人：张三,,,");
        }
    }
    let _ = writeln!(lines, "分店,天平路1号,王小明,13800000001");
    let street = StreetTables::default();
    let roll = Roll::open(lines.as_bytes(), &RollLimits::default()).expect("a roll");
    let (mut rows, mut late, mut parts, mut upto) = (Vec::new(), Vec::new(), 0, 0);
    roll.parts(&street, |part| {
        parts += 1;
        assert!(part.rows.len() <= 520, "{}", part.rows.len());
        let said = part.rows.iter().map(|row| row.row);
        for row in said.chain(part.problems.iter().map(|problem| problem.row)) {
            assert!(
                (upto..part.upto).contains(&row),
                "{row} of {upto}..{}",
                part.upto
            );
        }
        assert!(part.late.iter().all(|problem| problem.row < upto));
        upto = part.upto;
        late.extend(part.late);
        rows.extend(part.rows);
        ControlFlow::Continue(())
    });
    assert!(parts >= 6, "{parts}");
    let told: Vec<_> = late
        .iter()
        .map(|problem| (problem.code, problem.row))
        .collect();
    assert_eq!(told, [(ProblemCode::SameDoorTwice, 2)]);
    assert_eq!(rows.len(), 3_001);
    let people = |n: usize| rows[n - 1].contacts.len();
    assert_eq!(
        (people(9), people(10), people(500), people(3_000)),
        (1, 2, 2, 2)
    );
    // Who wants no more is not told more.
    let mut told = 0;
    roll.parts(&street, |_| {
        told += 1;
        ControlFlow::Break(())
    });
    assert_eq!(told, 1);
}

/// A roll of these lines, read by a street without tables.
fn plan_of(lines: &str) -> RollPlan {
    read(
        lines.as_bytes(),
        &StreetTables::default(),
        &RollLimits::default(),
    )
    .expect("the roll is read")
}

fn problems_of(plan: &RollPlan, code: ProblemCode) -> Vec<(u32, &str)> {
    plan.problems
        .iter()
        .filter(|problem| problem.code == code)
        .map(|problem| (problem.row, problem.column.as_deref().unwrap_or_default()))
        .collect()
}

fn telephones(plan: &RollPlan) -> Vec<&str> {
    plan.rows
        .iter()
        .map(|row| {
            row.contacts
                .first()
                .and_then(|contact| contact.get(Meaning::Telephone))
                .unwrap_or_default()
        })
        .collect()
}

#[test]
fn numbers_from_abroad_are_kept_whole_and_as_typed() {
    let plan = plan_of(include_str!(
        "../../tests/fixtures/rolls/05-foreign-numbers.csv"
    ));
    assert_eq!(
        telephones(&plan),
        [
            "+852 2123 4567",
            "+1 (415) 555-0100",
            "+886 2 2345 6789",
            "+44 20 7946 0958",
            "21234567",
            "14155550100"
        ]
    );
    assert_eq!(problems_of(&plan, ProblemCode::PhoneShape), []);
    assert_eq!(problems_of(&plan, ProblemCode::PhoneWords), []);
}

#[test]
fn words_beside_a_number_are_none_and_a_mistyped_one_is_told() {
    let plan = plan_of(include_str!(
        "../../tests/fixtures/rolls/22-words-beside-a-number.csv"
    ));
    assert_eq!(
        telephones(&plan),
        [
            "13800000001",
            "13800000001",
            "4008208820转5",
            "13800000001",
            "1391234567O",
            "1.38E+10",
            "021-64330000转8"
        ]
    );
    assert_eq!(
        problems_of(&plan, ProblemCode::PhoneShape),
        [(6, "联系电话"), (7, "联系电话")]
    );
    assert_eq!(
        problems_of(&plan, ProblemCode::PhoneWords),
        [(2, "联系电话"), (3, "联系电话")]
    );
}

#[test]
fn an_identity_number_is_no_credit_code() {
    let plan = plan_of(include_str!(
        "../../tests/fixtures/rolls/04-identity-number-as-credit-code.csv"
    ));
    let warned = [(2, "统一社会信用代码"), (3, "统一社会信用代码")];
    assert_eq!(problems_of(&plan, ProblemCode::PersonalNumber), warned);
    assert_eq!(problems_of(&plan, ProblemCode::CreditCodeCheck), []);
    assert_eq!(problems_of(&plan, ProblemCode::CreditCodeShape), []);
    for row in &plan.rows {
        assert_eq!(row.text("credit_code"), None);
        assert_eq!(cell(row, "统一社会信用代码"), "*".repeat(18));
    }
}

#[test]
fn a_number_of_a_person_is_kept_in_no_column() {
    for number in [
        "999999199001011238",
        "99999919900101106x",
        "９９９９９９１９９００１０１１０６Ｘ",
        "999999900101123",
        "6217000000000000004",
        "护照E12345678",
    ] {
        let heading = "店招,地址,网格,统一社会信用代码,登记名称,业态,联系人,联系电话,标签,备注,消防情况,营业时间";
        let fields = heading.split(',').count();
        for at in 0..fields {
            let mut cells = ["甲", "天平路1号", "G1", "", "", "", "", "", "", "", "", ""];
            cells[at] = number;
            let plan = plan_of(&format!(
                "{heading}\n{}\n乙,天平路3号,G1,,,,,,,,有,\n",
                cells.join(",")
            ));
            let column = heading.split(',').nth(at).expect("a column");
            assert_eq!(
                problems_of(&plan, ProblemCode::PersonalNumber),
                [(2, column)],
                "{number}"
            );
            let held = format!("{:?} {:?}", plan.rows, plan.problems);
            let digits: String = number.chars().filter(char::is_ascii_digit).collect();
            assert!(
                !held.contains(number) && (digits.is_empty() || !held.contains(&digits)),
                "{column}: {held}"
            );
        }
    }
    // What else stands in the cell is read.
    let plan = plan_of(
        "店招,地址,联系人,联系电话,备注\n\
         甲,天平路1号,张三 999999199001011238,999999199001011238/13800000001,身份证999999199001011238已看\n",
    );
    let row = &plan.rows[0];
    assert_eq!(row.contacts[0].get(Meaning::PersonName), Some("张三"));
    assert_eq!(telephones(&plan), ["13800000001"]);
    assert_eq!(row.note.as_deref(), Some("身份证******************已看"));
    assert_eq!(problems_of(&plan, ProblemCode::PersonalNumber).len(), 3);
    assert_eq!(problems_of(&plan, ProblemCode::PhoneShape), []);
    // One that only has the shape of a passport is told of and kept.
    let plan = plan_of("店招,地址,设备编号\n甲,天平路1号,G12345678\n");
    assert_eq!(
        problems_of(&plan, ProblemCode::PersonalNumber),
        [(2, "设备编号")]
    );
    assert_eq!(plan.rows[0].text("custom/设备编号"), Some("G12345678"));
    // A row that is left out is told of without it.
    let plan = plan_of("店招,地址,备注\n甲,天平路1号,\n,,填表人999999199001011238\n");
    assert!(!format!("{:?}", plan.problems).contains("999999199001011238"));
}

#[test]
fn a_credit_code_and_a_registration_number_are_nobodys() {
    let plan = plan_of(
        "店招,地址,统一社会信用代码\n甲,天平路1号,91310000631696382C\n乙,天平路3号,923101201001068659\n丙,天平路5号,310104600123451\n",
    );
    assert_eq!(problems_of(&plan, ProblemCode::PersonalNumber), []);
    let codes: Vec<_> = plan
        .rows
        .iter()
        .filter_map(|row| row.text("credit_code"))
        .collect();
    assert_eq!(
        codes,
        [
            "91310000631696382C",
            "923101201001068659",
            "310104600123451"
        ]
    );
}
