//! Neighbours of the faults that rolls from elsewhere are known for: the same kinds in other spellings.

use super::*;

/// A roll of one shop whose headings and cells these are, behind its sign, address and grid.
fn shop(headings: &str, cells: &str) -> RollPlan {
    case(format!("店招,地址,网格,{headings}\n甲店,天平路1号,G1,{cells}\n").as_bytes())
}

/// The columns that problems of this code name.
fn columns_with(plan: &RollPlan, code: ProblemCode) -> Vec<&str> {
    plan.problems
        .iter()
        .filter(|problem| problem.code == code)
        .map(|problem| problem.column.as_deref().unwrap_or("-"))
        .collect()
}

fn refusal(bytes: &[u8]) -> RollError {
    let street = StreetTables::default();
    read(bytes, &street, &RollLimits::default()).expect_err("it is no roll")
}

#[test]
fn numbers_of_people_no_list_knows_are_nobody_elses() {
    for (headings, cells, expected) in [
        (
            "联系人,联系电话,户主,户主电话",
            "张三,13800000001,李四,13900000002",
            &["张三 13800000001 -", "李四 13900000002 户主"][..],
        ),
        (
            "负责人,负责人手机,租赁人姓名,租赁人联系方式",
            "张三,13800000001,李四,13900000002",
            &["张三 13800000001 负责人", "李四 13900000002 租赁人"],
        ),
        (
            "联系人,联系电话,员工1,员工1电话,员工2,员工2电话",
            "张三,13800000001,李四,13900000002,王五,13700000003",
            &[
                "张三 13800000001 -",
                "李四 13900000002 员工",
                "王五 13700000003 员工",
            ],
        ),
        (
            "房东（姓名）,房东（电话）,紧急联系人,紧急联系人（关系）",
            "张三,13800000001,李四,父亲",
            &["张三 13800000001 房东", "李四 - 父亲"],
        ),
        (
            "法人/负责人,法人/负责人电话",
            "张三,13800000001",
            &["张三 13800000001 法人"],
        ),
        // A number of which only the heading says whose it is.
        (
            "联系人,联系电话,担保人电话,居委会电话",
            "张三,13800000001,13900000002,64330000",
            &[
                "张三 13800000001 -",
                "- 13900000002 担保人",
                "- 64330000 居委会",
            ],
        ),
        // Words that name nobody: a second number of the same person.
        (
            "联系人,联系电话,店内座机,值班电话",
            "张三,13800000001,64330000,13900000002",
            &["张三 13800000001/13900000002/64330000 -"],
        ),
    ] {
        let plan = shop(headings, cells);
        assert_eq!(people(&plan), [expected], "{headings}");
        assert!(plan.custom_fields.is_empty(), "{headings}");
    }
}

#[test]
fn a_warden_is_no_contact_of_the_shop() {
    let plan = shop(
        "联系人,联系电话,网格员,网格员电话",
        "张三,13800000001,李四,13900000002",
    );
    assert_eq!(people(&plan), [["张三 13800000001 -"]]);
    assert!(
        plan.custom_fields
            .iter()
            .all(|field| field.class == Class::P2)
    );
}

#[test]
fn nothing_is_left_of_a_persons_number() {
    const NUMBER: &str = "999999199001010729";
    let roll = format!(
        "店招,地址,网格,登记名称,统一社会信用代码,联系人,{NUMBER}\n\
         甲店,天平路1号,G1,某公司（{NUMBER}）,身份证{NUMBER}（李四）,张三 身份证:{NUMBER},x\n\
         店招,联系人,地址,网格,证号,民族\n乙店,李四,天平路3号,G1,{NUMBER},汉族\n,,{NUMBER},G1,,\n丙店,,天平路5号,,,\n"
    );
    let plan = case(roll.as_bytes());
    let open = Roll::open(roll.as_bytes(), &RollLimits::default()).expect("it is a roll");
    assert_eq!(plan.rows[0].text("legal_name"), Some("某公司"));
    assert_eq!(plan.rows[0].text("credit_code"), None);
    assert_eq!(people(&plan), [&["张三 - -"][..], &["李四 - -"], &[]]);
    assert!(rows_with(&plan, ProblemCode::BandApplied).is_empty());
    let kept = format!(
        "{:?} {:?} {:?} {:?} {:?}",
        plan.rows,
        plan.columns,
        plan.custom_fields,
        open.heading_cells(),
        plan.problems
    );
    assert!(!kept.contains(NUMBER) && !kept.contains("汉族"), "{kept}");
    assert!(rows_with(&plan, ProblemCode::PersonalNumber).contains(&1));
}

#[test]
fn literal_escapes_and_extra_digits_are_read_as_what_they_say() {
    let plan = shop("备注,面积", r"\u738b\u8bb0,0.30000000000000004");
    assert_eq!(plan.rows[0].note.as_deref(), Some("王记"));
    assert_eq!(plan.rows[0].text("custom/面积"), Some("0.3"));
    for (typed, number) in [
        ("23", Some("23")),
        ("23.0", Some("23")),
        ("3:05", None),
        ("12%", None),
        ("0.5", None),
    ] {
        let roll = format!("店招,路名,门牌号,网格\n甲店,天平路,{typed},G1\n");
        let plan = case(roll.as_bytes());
        assert_eq!(plan.rows[0].text("number"), number, "{typed}");
        let told = columns_with(&plan, ProblemCode::DateInPlaceOfNumber);
        assert_eq!(told.is_empty(), number.is_some(), "{typed}");
    }
}

#[test]
fn lanes_and_houses_in_chinese_numerals_have_columns_of_their_own() {
    let plan = case("店招,路名,弄,门牌号,室号\n甲店,天平路,一百二十三,四,二楼\n".as_bytes());
    let shop = &plan.rows[0];
    assert_eq!(shop.text("lane"), Some("123"));
    assert_eq!(shop.text("number"), Some("4"));
    assert_eq!(shop.text("unit"), Some("二楼"));
}

#[test]
fn what_stands_alone_below_a_table_is_no_shop() {
    for row in [
        "抄送：市场监管所",
        "数据来源：市场局",
        "附：商铺照片",
        "采集时间：2026年3月",
        "核实人：",
        "截至2026年3月",
        "—— 完 ——",
        "END",
        "以上共2户",
        "填表人：张三\n天平街道营商办",
    ] {
        let plan = case(format!("店招,地址,网格\n甲店,天平路1号,G1\n{row}\n").as_bytes());
        assert_eq!(plan.rows.len(), 1, "{row}");
    }
    // Still a shop, and a sum.
    let plan = case("店招,地址\n甲店,天平路1号\n乙店,\n合计：2户,\n".as_bytes());
    assert_eq!((plan.rows.len(), plan.total_rows), (2, 1));
}

#[test]
fn a_number_filled_in_ahead_is_no_grid() {
    let grids = [KnownGrid {
        code: "G2",
        name: "第二网格",
        area: "",
    }];
    let street = StreetTables {
        now: None,
        roads: ROADS,
        grids: &grids,
    };
    let roll = "序号,店招,地址,网格\n1,甲店,天平路1号,第二网格\n2,,,\n3,乙店,天平路3号,\n";
    let plan = read(roll.as_bytes(), &street, &RollLimits::default()).expect("the roll is read");
    assert_eq!(plan.rows[1].grid, None);
    assert!(rows_with(&plan, ProblemCode::BandApplied).is_empty());
}

#[test]
fn a_numbered_title_of_a_part_is_no_shop() {
    let plan = case(
        "序号,店招,地址,网格\n一,餐饮类,,\n1,甲店,天平路1号,G1\n（二）,天平路,,\n1,乙店,3号,G1\n"
            .as_bytes(),
    );
    assert_eq!(plan.rows.len(), 2);
    assert_eq!(plan.rows[1].text("road"), Some("天平路"));
}

#[test]
fn words_for_nothing_and_for_above() {
    for word in [
        "拒绝",
        "不愿透露",
        "不便提供",
        "XXX",
        "╱",
        "\\N",
        "不清",
        "暂未提供",
    ] {
        let plan = shop("联系人,联系电话", &format!("{word},{word}"));
        assert_eq!(people(&plan)[0], [""; 0], "{word}");
    }
    for word in ["同左", "见上", "如上"] {
        let plan = shop("联系人,联系电话", &format!("{word},"));
        assert_eq!(people(&plan)[0], [""; 0], "{word}");
        assert_eq!(
            columns_with(&plan, ProblemCode::DittoNotTaken),
            ["联系人"],
            "{word}"
        );
    }
}

#[test]
fn columns_that_are_headed_twice_are_told_of() {
    let plan = case("店招,地址,网格,店招,地 址\n甲店,天平路1号,G1,乙店,天平路3号\n".as_bytes());
    assert_eq!(
        columns_with(&plan, ProblemCode::HeadingRepeated),
        ["店招", "地 址"]
    );
}

#[test]
fn a_row_with_more_cells_than_headings_is_told_of() {
    let plan = case("店招,地址,网格\n“甲,店”,天平路1号,G1\n乙店,天平路3号,G1\n".as_bytes());
    assert_eq!(columns_with(&plan, ProblemCode::CellNotTaken), ["D"]);
    assert!(plan.custom_fields.is_empty());
    // A stray cell makes no field.
    let plan = case("店招,地址,网格,,\n甲店,天平路1号,G1,,\n,,,,杂记\n".as_bytes());
    assert!(plan.custom_fields.is_empty());
}

#[test]
fn lines_that_came_in_another_encoding_are_read_in_it() {
    use encoding_rs::GB18030;
    let first = "店招,地址,网格\n王记面馆,天平路1号,G1\n";
    let second = "赵记饭店,天平路3号,G1\n";
    let gb = |text: &str| GB18030.encode(text).0.into_owned();
    for bytes in [
        [first.as_bytes(), &gb(second)].concat(),
        [&gb(first)[..], second.as_bytes()].concat(),
    ] {
        let plan = case(&bytes);
        assert_eq!(plan.rows[1].text("sign_name"), Some("赵记饭店"));
        assert_eq!(plan.rows[1].text("number"), Some("3"));
    }
    // Of a damaged row nothing heads the rows below.
    let mut damaged = first.as_bytes().to_vec();
    damaged.extend(b"\xff\xff\xff,\xe7\xff,G1\n");
    damaged.extend("孙记,天平路5号,\n".as_bytes());
    let plan = case(&damaged);
    assert!(rows_with(&plan, ProblemCode::BandApplied).is_empty());
    assert_eq!(
        columns_with(&plan, ProblemCode::TextDamaged),
        ["店招", "地址"]
    );
}

#[test]
fn separators_and_padding_of_other_programs() {
    let roll = "店招,地址,网格,备注\n甲店,天平路1号,G1,甲\n";
    for separator in ["^", "~", "\u{1f}", "\u{1}", "、", ":"] {
        let plan = case(roll.replace(',', separator).as_bytes());
        assert_eq!(plan.rows[0].text("number"), Some("1"), "{separator}");
    }
    for padding in [&[0_u8; 100][..], b"\x1a", b"\x1a\0\0"] {
        let plan = case(&[roll.as_bytes(), padding].concat());
        assert_eq!((plan.rows.len(), plan.problems.len()), (1, 0));
    }
}

#[test]
fn what_is_no_table_is_called_by_its_name() {
    for (text, name) in [
        ("[{\"店招\":\"王记\",\"地址\":\"天平路1号\"}]", "JSON"),
        ("ID;PWXL;N;E\nC;Y1;X1;K\"店招\"\n", "SYLK"),
        ("TABLE\r\n0,1\r\n\"EXCEL\"\r\n", "DIF"),
        ("From: a@example.com\r\nSubject: x\r\n\r\nhello", "e-mail"),
        (
            "version https://git-lfs.github.com/spec/v1\noid sha256:0",
            "Git LFS",
        ),
        ("<?xml version=\"1.0\"?><a><b/></a>", "XML"),
        (
            "<html><body><form>请登录</form></body></html>",
            "web page without a table",
        ),
    ] {
        let refused = refusal(text.as_bytes());
        assert!(
            matches!(refused, RollError::OtherFormat { en, .. } if en.contains(name)),
            "{refused:?}"
        );
    }
    // A zip whose last bytes are missing, and one behind the line ends of a web server.
    assert_eq!(refusal(&XLSX[..XLSX.len() - 10]), RollError::Truncated);
    let plan = plan(&[b"\r\n\r\n", XLSX].concat());
    assert_eq!(plan.rows.len(), super::plan(XLSX).rows.len());
}
