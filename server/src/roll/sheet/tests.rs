//! The sample roll against the list of what a careful reader finds in it, the same kind of roll in other clothes, and files that
//! mean harm.

use std::{collections::BTreeMap, io::Write as _};

use lianka_sync_core::{limits::MEMBER_CHARS_MAX, values::phone};
use proptest::prelude::*;
use serde_json::Value;

use crate::roll::sheet::*;

const XLSX: &[u8] = include_bytes!("../../../../tests/fixtures/rolls/tianping-roll.xlsx");
const CSV: &[u8] = include_bytes!("../../../../tests/fixtures/rolls/tianping-roll.csv");
const FACTS: &str = include_str!("../../../../tests/fixtures/rolls/tianping-roll.facts.json");

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
    let has_extension =
        |phone: &phone::Phone| matches!(&phone.kind, phone::PhoneKind::Landline { ext: Some(_) });
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
            kind: CustomKind::Choice(choices)
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
    check_refused(b"PK\x03\x04broken", &limits, "roll_unreadable");
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
    let bomb = zipped(&[("xl/worksheets/sheet1.xml", &vec![b' '; 130 * 1024 * 1024])]);
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
    let codes: std::collections::BTreeSet<&str> =
        ProblemCode::ALL.iter().map(|c| c.as_str()).collect();
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
