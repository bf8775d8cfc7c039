//! What spreadsheets and programs do to a roll on its way, and the files it comes in.

use super::*;

macro_rules! case {
    ($name:literal) => {
        include_bytes!(concat!("../../../tests/fixtures/rolls/cases/", $name))
    };
}

/// The problems that are about a row's content, as (code, row, column).
fn told(plan: &RollPlan) -> Vec<(&'static str, u32, Option<&str>)> {
    let others = [
        ProblemCode::RoadTableEmpty,
        ProblemCode::RoadUnknown,
        ProblemCode::GridUnknown,
        ProblemCode::CreditCodeMissing,
        ProblemCode::CreditCodeCheck,
        ProblemCode::CreditCodeShape,
        ProblemCode::PersonalNumber,
        ProblemCode::PersonalColumn,
        ProblemCode::HouseNumberUnreadable,
    ];
    plan.problems
        .iter()
        .filter(|problem| !others.contains(&problem.code))
        .map(|problem| {
            (
                problem.code.as_str(),
                problem.row,
                problem.column.as_deref(),
            )
        })
        .collect()
}

fn text<'a>(plan: &'a RollPlan, row: usize, key: &str) -> Option<&'a str> {
    plan.rows[row].text(key)
}

fn telephone(plan: &RollPlan, row: usize) -> Option<&str> {
    plan.rows[row].contacts.first()?.get(Meaning::Telephone)
}

/// A workbook of one sheet, `sheet` being what stands within `worksheet`; styles 1 to 6 are formats that matter.
fn workbook(sheet: &str) -> Vec<u8> {
    workbook_with("", sheet)
}

fn workbook_with(properties: &str, sheet: &str) -> Vec<u8> {
    let book = format!(
        r#"<workbook xmlns:r="r">{properties}<sheets><sheet name="台账" sheetId="1" r:id="rId1"/></sheets></workbook>"#
    );
    let formats = [
        "yyyy-mm-dd",
        "m&quot;月&quot;d&quot;日&quot;",
        "0%",
        "000",
        "mmm-yy",
        "h:mm",
    ];
    let own = formats
        .iter()
        .enumerate()
        .map(|(at, code)| format!(r#"<numFmt numFmtId="{}" formatCode="{code}"/>"#, 170 + at));
    let own = own.collect::<Vec<_>>().concat();
    let used = (170..176).map(|id| format!(r#"<xf numFmtId="{id}"/>"#));
    let used = used.collect::<Vec<_>>().concat();
    let styles = format!(
        r#"<styleSheet><numFmts>{own}</numFmts><cellStyleXfs><xf numFmtId="14"/></cellStyleXfs><cellXfs><xf numFmtId="0"/>{used}</cellXfs></styleSheet>"#
    );
    package(&[
        ("xl/workbook.xml", &book),
        ("xl/styles.xml", &styles),
        (
            "xl/worksheets/sheet1.xml",
            &format!("<worksheet>{sheet}</worksheet>"),
        ),
    ])
}

fn package(parts: &[(&str, &str)]) -> Vec<u8> {
    let relation = |id: &str, kind: &str, target: &str| {
        format!(r#"<Relationship Id="{id}" Type="http://x/{kind}" Target="{target}"/>"#)
    };
    let root = format!(
        "<Relationships>{}</Relationships>",
        relation("rId1", "officeDocument", "xl/workbook.xml")
    );
    let book = format!(
        "<Relationships>{}{}{}{}</Relationships>",
        relation("rId1", "worksheet", "worksheets/sheet1.xml"),
        relation("rId4", "worksheet", "worksheets/sheet2.xml"),
        relation("rId2", "sharedStrings", "sharedStrings.xml"),
        relation("rId3", "styles", "styles.xml")
    );
    let mut all: Vec<(&str, &[u8])> = vec![
        ("_rels/.rels", root.as_bytes()),
        ("xl/_rels/workbook.xml.rels", book.as_bytes()),
    ];
    all.extend(parts.iter().map(|(name, text)| (*name, text.as_bytes())));
    zipped(&all)
}

/// Rows of cells from A1 on; a cell is what stands within `<c …>`, or a text.
fn data(rows: &[&[&str]]) -> String {
    let row = |(row, cells): (usize, &&[&str])| {
        let cells = cells.iter().enumerate().map(|(at, cell)| {
            let place = format!("{}{}", char::from(b'A' + at as u8), row + 1);
            match cell.strip_prefix("<c") {
                Some(rest) => format!(r#"<c r="{place}"{rest}"#),
                None if cell.is_empty() => String::new(),
                None => format!(r#"<c r="{place}" t="inlineStr"><is><t>{cell}</t></is></c>"#),
            }
        });
        let cells = cells.collect::<Vec<_>>().concat();
        format!(r#"<row r="{}">{cells}</row>"#, row + 1)
    };
    let rows = rows
        .iter()
        .enumerate()
        .map(row)
        .collect::<Vec<_>>()
        .concat();
    format!("<sheetData>{rows}</sheetData>")
}

#[test]
fn a_visible_sheet_comes_before_a_hidden_one() {
    let read = plan(case!("06-hidden-old-sheet.xlsx"));
    assert_eq!(read.sheet.as_deref(), Some("台账"));
    assert_eq!(read.rows.len(), 2);
    assert_eq!(told(&read), [("hidden_sheet", 1, None)]);

    let book = |state: &str| {
        let book = format!(
            r#"<workbook xmlns:r="r"><sheets><sheet name="说明" sheetId="1" r:id="rId1"/><sheet name="旧" sheetId="2" state="{state}" r:id="rId4"/></sheets></workbook>"#
        );
        let first = format!("<worksheet>{}</worksheet>", data(&[&["请填写"]]));
        let second = data(&[&["店招", "地址"], &["甲店", "天平路1号"]]);
        package(&[
            ("xl/workbook.xml", &book),
            ("xl/worksheets/sheet1.xml", &first),
            (
                "xl/worksheets/sheet2.xml",
                &format!("<worksheet>{second}</worksheet>"),
            ),
        ])
    };
    for state in ["hidden", "veryHidden"] {
        let read = plan(&book(state));
        assert_eq!(read.sheet.as_deref(), Some("旧"));
        assert_eq!(told(&read), [("hidden_sheet_read", 1, None)]);
    }
    assert!(told(&plan(&book("visible"))).is_empty());
}

#[test]
fn hidden_rows_are_read_and_told_of() {
    let sheet = data(&[
        &["店招", "地址"],
        &["甲店", "天平路1号"],
        &["乙店", "天平路3号"],
    ]);
    let sheet = sheet
        .replace(r#"<row r="3">"#, r#"<row r="3" hidden="1">"#)
        .replace("</sheetData>", r#"<row r="900" hidden="1"/></sheetData>"#);
    let read = plan(&workbook(&sheet));
    assert_eq!(read.rows.len(), 2);
    assert_eq!(told(&read), [("hidden_row", 3, None)]);
}

#[test]
fn a_house_number_that_became_a_date_is_told_of() {
    let read = plan(case!("10-house-number-turned-date.xlsx"));
    assert_eq!(text(&read, 0, "number"), Some("3-5"));
    assert_eq!(text(&read, 0, "address_raw"), Some("天平路3-5号"));
    assert_eq!(text(&read, 1, "number"), Some("7"));
    assert_eq!(
        told(&read),
        [("date_in_place_of_number", 2, Some("门牌号"))]
    );

    // The format tells what was typed where it shows month and day alone.
    for (cell, number) in [
        (r#"<c s="2"><v>46086</v></c>"#, Some("3-5")),
        (r#"<c s="2"><v>46370</v></c>"#, Some("12-14")),
        (r#"<c s="5"><v>16438</v></c>"#, Some("1-45")),
        (r#"<c s="1"><v>46086</v></c>"#, None),
        (r#"<c t="d"><v>2026-03-05T00:00:00</v></c>"#, None),
        (r"<c><v>46086</v></c>", None),
        ("3月5日", Some("3-5")),
        ("5-Mar", Some("3-5")),
        ("2026/3/5", None),
    ] {
        let sheet = data(&[&["店招", "路名", "门牌号"], &["甲店", "天平路", cell]]);
        let read = plan(&workbook(&sheet));
        assert_eq!(text(&read, 0, "number"), number, "{cell}");
        assert_eq!(
            told(&read),
            [("date_in_place_of_number", 2, Some("门牌号"))],
            "{cell}"
        );
    }
    for cell in [
        "3-5",
        "12",
        "36号乙",
        "1-3月租",
        r"<c><v>12.0</v></c>",
        "12.0",
    ] {
        let sheet = data(&[&["店招", "路名", "门牌号"], &["甲店", "天平路", cell]]);
        assert!(told(&plan(&workbook(&sheet))).is_empty(), "{cell}");
    }
    // A day where a day belongs is no fault.
    let sheet = data(&[
        &["店招", "地址", "走访日期", "合同到期日", "营业时间", "楼栋"],
        &[
            "甲店",
            "天平路1号",
            r#"<c s="2"><v>46086</v></c>"#,
            r#"<c s="1"><v>46086</v></c>"#,
            r#"<c s="2"><v>46286</v></c>"#,
            r#"<c s="2"><v>46086</v></c>"#,
        ],
    ]);
    let read = plan(&workbook(&sheet));
    assert!(
        read.rows[0]
            .values
            .contains(&("confirmations/2026-03-05".into(), RollValue::Flag))
    );
    assert_eq!(text(&read, 0, "custom/合同到期日"), Some("2026-03-05"));
    assert_eq!(text(&read, 0, "opening_hours"), Some("9-21"));
    assert_eq!(text(&read, 0, "custom/楼栋"), Some("3-5"));
    let columns: Vec<_> = told(&read)
        .into_iter()
        .map(|(code, _, column)| (code, column))
        .collect();
    assert_eq!(
        columns,
        [
            ("date_in_place_of_number", Some("营业时间")),
            ("date_in_place_of_number", Some("楼栋"))
        ]
    );
}

#[test]
fn error_cells_are_empty_and_told_of() {
    let read = plan(case!("11-error-cells.xlsx"));
    let columns: Vec<_> = told(&read)
        .into_iter()
        .filter(|(code, ..)| *code == "cell_error")
        .map(|(_, row, column)| (row, column.expect("a column")))
        .collect();
    assert_eq!(
        columns,
        [
            (2, "店招"),
            (2, "联系人"),
            (2, "联系电话"),
            (2, "备注"),
            (2, "登记名称"),
            (3, "地址"),
            (3, "网格"),
            (3, "登记名称"),
        ]
    );
    assert!(read.rows.iter().all(|row| {
        row.values
            .iter()
            .all(|(_, value)| !matches!(value, RollValue::Text(text) if text.contains('#')))
    }));
    assert!(read.rows[0].contacts.is_empty());
    for error in ["#SPILL!", "#名称?", "#BUSY!", "#VALUE!", "#DIV/0!"] {
        let cell = format!(r#"<c t="e"><v>{error}</v></c>"#);
        let sheet = data(&[
            &["店招", "地址"],
            &[&cell, "天平路1号"],
            &["乙店", "天平路3号"],
        ]);
        let read = plan(&workbook(&sheet));
        assert_eq!(read.rows.len(), 2, "{error}");
        assert_eq!(told(&read)[0], ("cell_error", 2, Some("店招")), "{error}");
        let csv = format!("店招,地址\n{error},天平路1号\n");
        assert_eq!(
            told(&plan(csv.as_bytes()))[0],
            ("cell_error", 2, Some("店招")),
            "{error}"
        );
    }
}

#[test]
fn formulas_have_the_value_that_the_file_holds_or_none() {
    let read = plan(case!("24-formula-without-cache.xlsx"));
    assert_eq!(
        told(&read),
        [
            ("formula_without_value", 2, Some("地址")),
            ("formula_without_value", 2, Some("登记名称")),
            ("address_missing", 2, Some("地址")),
        ]
    );
    for (cell, value, problems) in [
        (
            r#"<c t="str"><f>A1</f><v>甲公司</v></c>"#,
            Some("甲公司"),
            0,
        ),
        (r#"<c t="str"><f>IF(A1,"","")</f><v></v></c>"#, None, 0),
        (r#"<c t="str"><f>A1</f></c>"#, None, 1),
        ("<c><f>A1</f></c>", None, 1),
        (r"<c><f>&quot;甲公司&quot;</f><v/></c>", Some("甲公司"), 0),
        (
            r"<c><f>&quot;138&quot;&amp;&quot;000&quot;</f><v/></c>",
            Some("138000"),
            0,
        ),
        (
            r#"<c t="str"><f>_xlfn.DISPIMG("ID_1",1)</f><v>=DISPIMG("ID_1",1)</v></c>"#,
            None,
            1,
        ),
        (r#"<c t="e" vm="1"><v>#VALUE!</v></c>"#, None, 1),
        ("=DISPIMG(&quot;ID_1&quot;,1)", None, 1),
        ("=A2&amp;B2", None, 1),
        ("<c><f>A1</f><v>0</v></c>", Some("0"), 0),
    ] {
        let sheet = data(&[&["店招", "地址", "登记名称"], &["甲店", "天平路1号", cell]]);
        let read = plan(&workbook(&sheet));
        assert_eq!(text(&read, 0, "legal_name"), value, "{cell}");
        assert_eq!(told(&read).len(), problems, "{cell} {:?}", told(&read));
    }
    // Some programs write 0 for every formula, and ask the spreadsheet to work them out.
    let sheet = data(&[
        &["店招", "地址", "登记名称"],
        &["甲店", "天平路1号", "<c><f>A1</f><v>0</v></c>"],
    ]);
    let read = plan(&workbook_with(r#"<calcPr fullCalcOnLoad="1"/>"#, &sheet));
    assert_eq!(
        told(&read),
        [("formula_without_value", 2, Some("登记名称"))]
    );
}

#[test]
fn what_stands_between_equals_sign_and_quotation_marks_is_the_text() {
    let read = plan(case!("23-equals-and-apostrophe.csv"));
    assert_eq!(read.rows.len(), 2);
    assert_eq!(text(&read, 0, "sign_name"), Some("王记面馆"));
    assert_eq!(telephone(&read, 0), Some("021-64330000"));
    assert_eq!(text(&read, 0, "credit_code"), Some("91310000631696382C"));
    assert_eq!(telephone(&read, 1), Some("13800000001"));
    assert_eq!(text(&read, 1, "credit_code"), Some("91310000631696382C"));
    let read = plan("店招,地址,电话,备注\n=\"甲,乙店\",'天平路1号,'13800000001,'=1+1\n".as_bytes());
    assert_eq!(text(&read, 0, "sign_name"), Some("甲,乙店"));
    assert_eq!(telephone(&read, 0), Some("13800000001"));
    assert_eq!(read.rows[0].note.as_deref(), Some("=1+1"));
    let read = plan("店招,地址,登记名称\n甲店,天平路1号,=VLOOKUP(A2;Sheet2!A:B;2;0)\n".as_bytes());
    assert_eq!(
        told(&read),
        [("formula_without_value", 2, Some("登记名称"))]
    );
}

#[test]
fn numbers_come_as_people_type_them_or_not_at_all() {
    for (cell, value, code) in [
        ("<c><v>0.30000000000000004</v></c>", Some("0.3"), None),
        ("<c><v>12.0</v></c>", Some("12"), None),
        ("<c><v>1.3800000001E10</v></c>", Some("13800000001"), None),
        (r#"<c s="3"><v>0.85</v></c>"#, Some("85%"), None),
        (r#"<c s="3"><v>0.57</v></c>"#, Some("57%"), None),
        (r#"<c s="4"><v>7</v></c>"#, Some("007"), None),
        (r#"<c s="6"><v>0.375</v></c>"#, Some("09:00"), None),
        (
            "<c><v>6.2220210010123404E+18</v></c>",
            None,
            Some("number_damaged"),
        ),
        (
            "<c><v>310104199001011000</v></c>",
            None,
            Some("number_damaged"),
        ),
        (
            "<c><v>1234567890123456</v></c>",
            None,
            Some("number_damaged"),
        ),
        (
            "<c><v>123456789012345</v></c>",
            Some("123456789012345"),
            None,
        ),
        ("1.38E+10", None, Some("number_damaged")),
        (r#"<c t="b"><v>1</v></c>"#, Some("TRUE"), None),
    ] {
        let sheet = data(&[&["店招", "地址", "会员卡"], &["甲店", "天平路1号", cell]]);
        let read = plan(&workbook(&sheet));
        assert_eq!(text(&read, 0, "custom/会员卡"), value, "{cell}");
        let codes: Vec<_> = told(&read).iter().map(|(code, ..)| *code).collect();
        assert_eq!(codes, code.into_iter().collect::<Vec<_>>(), "{cell}");
    }
}

#[test]
fn a_day_is_the_day_in_china() {
    let day = |sheet: &[u8]| {
        let read = plan(sheet);
        let day = read.rows[0]
            .values
            .iter()
            .find_map(|(key, _)| key.strip_prefix("confirmations/"));
        day.map(str::to_owned)
    };
    for (cell, expected) in [
        ("2026-03-04T16:00:00Z", "2026-03-05"),
        ("2026-03-04T16:00:00.000Z", "2026-03-05"),
        ("2026-03-04T15:59:59+00:00", "2026-03-04"),
        ("2026-03-05T00:00:00+08:00", "2026-03-05"),
        ("2026-03-05 07:30:00 +0900", "2026-03-05"),
        ("2026-03-05 00:30:00 +0900", "2026-03-04"),
        ("2026-03-04 20:00:00 UTC", "2026-03-05"),
        ("2026-03-05 23:59", "2026-03-05"),
        ("2026-03-05T00:00:00", "2026-03-05"),
        (r#"<c t="d"><v>2026-03-04T16:00:00Z</v></c>"#, "2026-03-05"),
        (r#"<c s="1"><v>46086.75</v></c>"#, "2026-03-05"),
        // 23:59:17, as scripts write a day that begins in Shanghai.
        (r#"<c s="1"><v>46085.999502314815</v></c>"#, "2026-03-05"),
        ("<c><v>46086</v></c>", "2026-03-05"),
    ] {
        let sheet = data(&[&["店招", "地址", "走访日期"], &["甲店", "天平路1号", cell]]);
        assert_eq!(day(&workbook(&sheet)).as_deref(), Some(expected), "{cell}");
        if !cell.starts_with('<') {
            let csv = format!("店招,地址,走访日期\n甲店,天平路1号,{cell}\n");
            assert_eq!(day(csv.as_bytes()).as_deref(), Some(expected), "{cell}");
        }
    }
    for cell in [r#"<c s="1"><v>44624</v></c>"#, "<c><v>44624</v></c>"] {
        let sheet = data(&[&["店招", "地址", "走访日期"], &["甲店", "天平路1号", cell]]);
        let book = workbook_with(r#"<workbookPr date1904="1"/>"#, &sheet);
        assert_eq!(day(&book).as_deref(), Some("2026-03-05"), "{cell}");
    }
}

#[test]
fn escapes_stand_for_their_signs() {
    for cell in [
        "王记_x000D_&#10;面馆",
        "王记\\n面馆",
        "王记&lt;br&gt;面馆",
        "王记_x000A_面馆",
    ] {
        let sheet = data(&[&["店招", "地址"], &[cell, "天平路1号"]]);
        assert_eq!(
            text(&plan(&workbook(&sheet)), 0, "sign_name"),
            Some("王记 面馆"),
            "{cell}"
        );
    }
    let read = plan("店招,地址\n王记&amp;李记,天平路1号\n".as_bytes());
    assert_eq!(text(&read, 0, "sign_name"), Some("王记&李记"));
    let sheet = data(&[&["店招", "地址"], &["王记&amp;amp;李记", "天平路1号"]]);
    assert_eq!(
        text(&plan(&workbook(&sheet)), 0, "sign_name"),
        Some("王记&李记")
    );
}

#[test]
fn a_far_cell_is_told_of_and_the_rest_is_read() {
    let read = plan(case!("34-far-stray-cell.xlsx"));
    assert_eq!(text(&read, 0, "sign_name"), Some("甲店"));
    assert_eq!(told(&read), [("far_cell", 2, None)]);
    assert!(
        read.problems
            .iter()
            .any(|problem| problem.zh.contains("KN2"))
    );

    let far = |row: &str| {
        let sheet = data(&[&["店招", "地址"], &["甲店", "天平路1号"]]);
        plan(&workbook(
            &sheet.replace("</sheetData>", &format!("{row}</sheetData>")),
        ))
    };
    let read = far(r#"<row r="1048576"><c r="A1048576" t="str"><v>x</v></c></row>"#);
    assert_eq!((read.rows.len(), read.blank_rows), (1, 0));
    assert_eq!(told(&read), [("far_cell", 1_048_576, None)]);
    let read = far(r#"<row r="1048576"><c r="XFD1048576" t="str"><v>x</v></c></row>"#);
    assert_eq!(told(&read), [("far_cell", 1_048_576, None)]);
    let mut csv = "店招,地址\n甲店,天平路1号".to_owned();
    csv += &",".repeat(300);
    csv += "x\n";
    assert_eq!(told(&plan(csv.as_bytes())), [("far_cell", 2, None)]);
    // A second part of the table after many blank rows is no slip.
    let read = far(
        r#"<row r="900"><c r="A900" t="str"><v>乙店</v></c><c r="B900" t="str"><v>天平路3号</v></c><c r="C900" t="str"><v>x</v></c></row>"#,
    );
    assert_eq!(read.rows.len(), 2);
}

#[test]
fn blank_rows_and_columns_before_the_table_do_not_matter() {
    let read = plan(",,,\n,,,\n,,店招,地址\n,,甲店,天平路1号\n".as_bytes());
    assert_eq!((read.header_row, read.rows.len()), (3, 1));
    assert!(read.custom_fields.is_empty());
    assert_eq!(text(&read, 0, "address_raw"), Some("天平路1号"));
}

#[test]
fn a_quotation_mark_that_is_never_closed_costs_one_cell() {
    let read = plan(case!("12-unclosed-quote.csv"));
    assert_eq!(read.rows.len(), 20);
    assert_eq!(text(&read, 0, "sign_name"), Some("老王面馆"));
    assert_eq!(told(&read), [("quote_unclosed", 2, Some("店招"))]);
    let heads = "店招,地址,网格,联系人,备注\n";
    let rest = "乙店,天平路3号,康平01,李,\n丙店,天平路5号,康平01,张,\n";
    for (row, name, problems) in [
        ("\"老王面馆,天平路1号,康平01,王,x", "老王面馆", 1),
        ("\"老王\"面馆,天平路1号,康平01,王,x", "\"老王\"面馆", 0),
        (
            "\"老\"\"王\"\"面馆\",天平路1号,康平01,王,x",
            "老\"王\"面馆",
            0,
        ),
        ("\"老王,面馆\",天平路1号,康平01,王,x", "老王,面馆", 0),
        ("老王\"面馆,天平路1号,康平01,王,x", "老王\"面馆", 0),
        ("\"老王\n面馆\",天平路1号,康平01,王,x", "老王 面馆", 0),
        (
            "老王面馆,天平路1号,康平01,王,\"一楼,二楼\n三楼,四楼\"",
            "老王面馆",
            0,
        ),
        ("老王面馆,天平路1号,康平01,王,\"未完", "老王面馆", 1),
        ("老王面馆,天平路1号,康平01,\"王,x", "老王面馆", 1),
    ] {
        let read = plan(format!("{heads}{row}\n{rest}").as_bytes());
        assert_eq!(read.rows.len(), 3, "{row}");
        assert_eq!(text(&read, 0, "sign_name"), Some(name), "{row}");
        let codes: Vec<_> = told(&read).iter().map(|(code, ..)| *code).collect();
        assert_eq!(codes, vec!["quote_unclosed"; problems], "{row}");
    }
    // Closed by the mark of a later row.
    let read = plan(
        format!("{heads}\"甲店,天平路1号,康平01,王,\n{rest}丁店\",天平路7号,康平01,王,\n戊店,天平路9号,康平01,王,\n")
            .as_bytes(),
    );
    assert_eq!(read.rows.len(), 5);
    assert_eq!(text(&read, 0, "sign_name"), Some("甲店"));
}

#[test]
fn a_broken_byte_costs_one_cell_in_any_encoding() {
    let text_of = "店招,地址,备注\n甲店,天平路1号,\n乙记面馆,天平路3号,好\n";
    let gb = encoding_rs::GB18030.encode(text_of).0.into_owned();
    let at = |bytes: &[u8], what: &[u8]| {
        bytes
            .windows(what.len())
            .position(|w| w == what)
            .expect("it is there")
    };
    let mut broken_gb = gb.clone();
    let name = encoding_rs::GB18030.encode("乙记面馆").0.into_owned();
    let place = at(&gb, &name);
    broken_gb[place + 7] = 0xff;
    let mut broken = text_of.as_bytes().to_vec();
    let place = at(&broken, "乙记".as_bytes());
    broken[place + 1] = 0xff;
    let mut zero = text_of.as_bytes().to_vec();
    zero[place] = 0;
    for bytes in [broken_gb, broken, zero] {
        let read = plan(&bytes);
        assert_eq!(read.rows.len(), 2);
        assert_eq!(text(&read, 0, "sign_name"), Some("甲店"));
        assert_eq!(text(&read, 1, "sign_name"), None);
        assert_eq!(text(&read, 1, "address_raw"), Some("天平路3号"));
        assert_eq!(told(&read)[0], ("text_damaged", 3, Some("店招")));
    }
}

#[test]
fn separators_and_encodings_are_found_out() {
    for delimiter in ["\t", ";", "|", "，", "；"] {
        let sheet = "店招,地址,联系电话\n甲店,天平路1号,13800000001\n".replace(',', delimiter);
        let read = plan(sheet.as_bytes());
        assert_eq!(
            text(&read, 0, "address_raw"),
            Some("天平路1号"),
            "{delimiter}"
        );
        assert_eq!(telephone(&read, 0), Some("13800000001"), "{delimiter}");
    }
    let read = plan("sep=;\r\n店招;地址\r\n甲店;天平路1号\r\n".as_bytes());
    assert_eq!((read.header_row, read.rows[0].row), (1, 2));
    let traditional = "店招,地址,聯絡人,備註\n老盛昌湯包館,天平路1號,陳小姐,門口積水\n";
    let big5 = encoding_rs::BIG5.encode(traditional).0.into_owned();
    let read = plan(&big5);
    assert_eq!(text(&read, 0, "sign_name"), Some("老盛昌湯包館"));
    assert_eq!(read.rows[0].note.as_deref(), Some("門口積水"));
    // A mark for UTF-8 before other bytes.
    let gb = encoding_rs::GB18030
        .encode("店招,地址\n甲店,天平路1号\n")
        .0
        .into_owned();
    let marked = [&[0xef, 0xbb, 0xbf][..], &gb].concat();
    assert_eq!(text(&plan(&marked), 0, "sign_name"), Some("甲店"));
    let mac = plan("店招,地址\r甲店,天平路1号\r乙店,天平路3号".as_bytes());
    assert_eq!(mac.rows.len(), 2);
}

#[test]
fn packages_name_their_parts_in_many_ways() {
    let sheet = format!(
        "<worksheet>{}</worksheet>",
        data(&[&["店招", "地址"], &["甲店", "天平路1号"]])
    );
    let book = r#"<x:workbook xmlns:x="x" xmlns:r="r"><x:sheets><x:sheet name="台账" sheetId="1" r:id="rId1"/></x:sheets></x:workbook>"#;
    for (root, target, sheet_name) in [
        (
            "xl/workbook.xml",
            "worksheets/sheet1.xml",
            "xl/worksheets/sheet1.xml",
        ),
        (
            "/xl/workbook.xml",
            "/xl/worksheets/sheet1.xml",
            "xl/worksheets/sheet1.xml",
        ),
        (
            "xl/workbook.xml",
            "./worksheets/sheet1.xml",
            "xl/worksheets/sheet1.xml",
        ),
        (
            "xl/workbook.xml",
            "../xl/worksheets/sheet1.xml",
            "xl/worksheets/sheet1.xml",
        ),
        (
            "xl/workbook.xml",
            "xl/worksheets/sheet1.xml",
            "xl/worksheets/sheet1.xml",
        ),
        (
            "xl\\workbook.xml",
            "worksheets\\sheet1.xml",
            "xl\\worksheets\\sheet1.xml",
        ),
        (
            "xl/workbook.xml",
            "worksheets/Sheet1.xml",
            "xl/worksheets/sheet1.xml",
        ),
    ] {
        let root = format!(
            r#"<Relationships><Relationship Id="a" Type="t/officeDocument" Target="{root}"/></Relationships>"#
        );
        let own = format!(
            r#"<Relationships><Relationship Id="rId1" Type="t/worksheet" Target="{target}"/></Relationships>"#
        );
        let file = zipped(&[
            ("_rels/.rels", root.as_bytes()),
            ("xl/workbook.xml", book.as_bytes()),
            ("xl/_rels/workbook.xml.rels", own.as_bytes()),
            (sheet_name, sheet.as_bytes()),
        ]);
        assert_eq!(text(&plan(&file), 0, "sign_name"), Some("甲店"), "{target}");
    }
}

#[test]
fn a_damaged_sheet_is_told_of_beside_the_others() {
    let book = r#"<workbook xmlns:r="r"><sheets><sheet name="台账" sheetId="1" r:id="rId1"/><sheet name="二" sheetId="2" r:id="rId4"/></sheets></workbook>"#;
    let sheet = format!(
        "<worksheet>{}</worksheet>",
        data(&[&["店招", "地址"], &["甲店", "天平路1号"]])
    );
    let file = package(&[
        ("xl/workbook.xml", book),
        ("xl/worksheets/sheet1.xml", &sheet),
        ("xl/worksheets/sheet2.xml", "<worksheet><sheetData><row <c"),
    ]);
    assert_eq!(told(&plan(&file)), [("sheet_unreadable", 1, None)]);
}

/// What the workbooks of other kinds hold, which were written by other programs.
fn check_other_kind(read: &RollPlan, third_row_hidden: bool) {
    assert_eq!(read.sheet.as_deref(), Some("台账"));
    assert_eq!(read.rows.len(), 3);
    assert_eq!(text(read, 0, "number"), Some("12"));
    assert_eq!(telephone(read, 0), Some("13800000001"));
    assert!(
        read.rows[0]
            .values
            .contains(&("confirmations/2026-03-05".into(), RollValue::Flag))
    );
    let codes: BTreeSet<_> = told(read).into_iter().map(|(code, ..)| code).collect();
    for code in [
        "hidden_sheet",
        "date_in_place_of_number",
        "cell_error",
        "number_damaged",
    ] {
        assert!(codes.contains(code), "{code} {codes:?}");
    }
    assert_eq!(codes.contains("hidden_row"), third_row_hidden);
    assert!(read.rows[2].contacts.is_empty());
}

#[test]
fn an_old_binary_workbook_is_read() {
    let bytes = case!("binary.xls");
    let read = plan(bytes);
    check_other_kind(&read, true);
    assert!(told(&read).contains(&("far_cell", 60_001, None)));
    check_refused(
        &bytes[..bytes.len() / 2],
        &RollLimits::default(),
        "roll_old_or_encrypted",
    );
}

/// A record of an .xlsb.
fn record(kind: u16, data: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    if kind < 0x80 {
        out.push(kind as u8);
    } else {
        out.extend([(kind & 0x7f) as u8 | 0x80, (kind >> 7) as u8]);
    }
    out.extend([(data.len() & 0x7f) as u8 | 0x80, (data.len() >> 7) as u8]);
    out.extend(data);
    out
}

fn wide_text(text: &str) -> Vec<u8> {
    let units: Vec<u8> = text.encode_utf16().flat_map(u16::to_le_bytes).collect();
    [&(units.len() as u32 / 2).to_le_bytes()[..], &units].concat()
}

/// An .xlsb of these rows of texts, with an error, a formula that gives one, and what else stands behind them.
fn binary_workbook(rows: &[&[&str]], last: &[u8]) -> Vec<u8> {
    let cell = |column: u32| [column.to_le_bytes(), [0; 4]].concat();
    let mut sheet = [
        record(0x0081, &[]),
        record(0x0094, &[0; 16]),
        record(0x0091, &[]),
    ]
    .concat();
    for (row, cells) in rows.iter().enumerate() {
        sheet.extend(record(
            0x0000,
            &[&(row as u32).to_le_bytes()[..], &[0; 13]].concat(),
        ));
        for (column, text) in cells.iter().enumerate() {
            let text = [cell(column as u32), wide_text(text)].concat();
            sheet.extend(record(0x0006, &text));
        }
    }
    sheet.extend(record(0x0003, &[cell(2), vec![0x2a]].concat()));
    let formula = [
        cell(3),
        vec![0x17, 0, 0],
        3_u32.to_le_bytes().to_vec(),
        vec![0x1e, 1, 0],
        vec![0; 4],
    ];
    sheet.extend(record(0x000B, &formula.concat()));
    sheet.extend(record(
        0x0005,
        &[cell(4), 6.2e18_f64.to_le_bytes().to_vec()].concat(),
    ));
    sheet.extend(last);
    sheet.extend(record(0x0092, &[]));
    let bundle = [vec![0; 8], wide_text("rId1"), wide_text("台账")].concat();
    let book = [
        record(0x009C, &bundle),
        record(0x0090, &[]),
        record(0x0084, &[]),
    ]
    .concat();
    let relation = |kind: &str, target: &str| {
        format!(
            r#"<Relationships><Relationship Id="rId1" Type="http://x/{kind}" Target="{target}"/></Relationships>"#
        )
    };
    zipped(&[
        (
            "_rels/.rels",
            relation("officeDocument", "xl/workbook.bin").as_bytes(),
        ),
        ("xl/workbook.bin", &book),
        (
            "xl/_rels/workbook.bin.rels",
            relation("worksheet", "worksheets/sheet1.bin").as_bytes(),
        ),
        ("xl/worksheets/sheet1.bin", &sheet),
    ])
}

#[test]
fn a_binary_workbook_is_read() {
    let rows: [&[&str]; 2] = [
        &["店招", "地址", "登记名称", "联系人", "会员卡"],
        &["甲店", "天平路1号"],
    ];
    let read = plan(&binary_workbook(&rows, &[]));
    assert_eq!(text(&read, 0, "sign_name"), Some("甲店"));
    assert_eq!(
        told(&read),
        [
            ("cell_error", 2, Some("登记名称")),
            ("formula_without_value", 2, Some("联系人")),
            ("number_damaged", 2, Some("会员卡")),
        ]
    );
    // A record that claims a quarter of a gigabyte.
    let lie = binary_workbook(&rows, &[0x06, 0xff, 0xff, 0xff, 0x7f]);
    check_refused(&lie, &RollLimits::default(), "roll_unreadable");
}

#[test]
fn a_document_of_libreoffice_is_read() {
    let read = plan(case!("document.ods"));
    check_other_kind(&read, true);
    assert_eq!(text(&read, 1, "number"), Some("3-5"));
    assert!(told(&read).contains(&("formula_without_value", 5, Some("备注"))));
    assert_eq!(read.rows[0].note.as_deref(), Some("一楼\n二楼"));
    assert_eq!((read.header_row, read.blank_rows), (3, 0));
}

#[test]
fn a_web_page_named_xls_is_read() {
    let page = |head: &str| {
        format!(
            "{head}<html><head><style>td{{x}}</style></head><body><table border=1>\
             <tr><th colspan=3>商铺台账</th></tr><tr><td>店招<td>地址<td>片区<td>联系电话</tr>\
             <tr><td>王记&amp;李记</td><td>天平路1号<br>二楼</td><td rowspan=\"2\">康平</td><td style='mso-number-format:\"\\@\"'>13800000001</td></tr>\
             <tr><td>乙店</td><td>天平路<b>3</b>号</td><td>13800000003</td></tr>\
             <tr style='display: none'><td>丙店</td><td>天平路5号</td><td>康平</td><td><img src=x></td></tr></table></body></html>"
        )
    };
    let gb = encoding_rs::GB18030
        .encode(&page("<meta charset=gb2312>"))
        .0
        .into_owned();
    for bytes in [page("").into_bytes(), gb, page("\u{feff}\r\n").into_bytes()] {
        let read = plan(&bytes);
        assert_eq!(read.rows.len(), 3);
        assert_eq!(text(&read, 0, "sign_name"), Some("王记&李记"));
        assert_eq!(text(&read, 1, "address_raw"), Some("天平路3号"));
        assert_eq!(telephone(&read, 1), Some("13800000003"));
        assert_eq!(cell(&read.rows[1], "片区"), "康平");
        assert_eq!(
            told(&read),
            [
                ("hidden_row", 5, None),
                ("picture_in_cell", 5, Some("联系电话"))
            ]
        );
    }
}

#[test]
fn an_xml_spreadsheet_named_xls_is_read() {
    let sheet = |name: &str, options: &str, rows: &str| {
        format!(r#"<Worksheet ss:Name="{name}"><Table>{rows}</Table>{options}</Worksheet>"#)
    };
    let cell =
        |kind: &str, text: &str| format!(r#"<Cell><Data ss:Type="{kind}">{text}</Data></Cell>"#);
    let heads: String = ["店招", "路名", "门牌号", "联系电话", "走访日期"]
        .map(|text| cell("String", text))
        .concat();
    let first = [
        cell("String", "甲&amp;乙店"),
        cell("String", "天平路"),
        cell("DateTime", "2026-03-05T00:00:00.000"),
        cell("Number", "13800000001"),
        cell("DateTime", "2026-03-05T08:30:00.000"),
    ];
    let second = format!(
        r#"{}<Cell ss:Index="3" ss:Formula="=A1"/>{}"#,
        cell("String", "丙店"),
        cell("Error", "#N/A")
    );
    let rows = format!(
        r#"<Row>{heads}</Row><Row ss:Index="4">{}</Row><Row ss:Hidden="1">{second}</Row>"#,
        first.concat()
    );
    let hidden = "<WorksheetOptions><Visible>SheetHidden</Visible></WorksheetOptions>";
    let text_of = format!(
        "<?xml version=\"1.0\"?>\n<?mso-application progid=\"Excel.Sheet\"?>\n<Workbook xmlns=\"urn:schemas-microsoft-com:office:spreadsheet\" xmlns:ss=\"urn:schemas-microsoft-com:office:spreadsheet\">{}{}</Workbook>",
        sheet("旧", hidden, &format!("<Row>{heads}</Row>")),
        sheet("台账", "", &rows)
    );
    let read = plan(text_of.as_bytes());
    assert_eq!(read.sheet.as_deref(), Some("台账"));
    assert_eq!(text(&read, 0, "sign_name"), Some("甲&乙店"));
    assert_eq!(telephone(&read, 0), Some("13800000001"));
    assert_eq!(
        told(&read)[1..],
        [
            ("date_in_place_of_number", 4, Some("门牌号")),
            ("hidden_row", 5, None),
            ("formula_without_value", 5, Some("门牌号")),
            ("cell_error", 5, Some("联系电话")),
            ("address_missing", 5, Some("路名")),
        ]
    );
    let cut: String = text_of.chars().take(text_of.chars().count() - 60).collect();
    check_refused(cut.as_bytes(), &RollLimits::default(), "roll_truncated");
}

#[test]
fn files_of_other_kinds_are_refused_by_name() {
    let limits = RollLimits::default();
    for (bytes, code, word) in [
        (&b"%PDF-1.7\n"[..], "roll_other_format", "PDF"),
        (b"\x89PNG\r\n\x1a\n", "roll_other_format", "图片"),
        (b"\xff\xd8\xff\xe0", "roll_other_format", "图片"),
        (b"{\\rtf1", "roll_other_format", "RTF"),
        (b"Rar!\x1a\x07", "roll_other_format", "RAR"),
        (b"MIME-Version: 1.0\r\n", "roll_other_format", "mht"),
        (
            b"\x09\x08\x08\x00\x00\x05",
            "roll_old_or_encrypted",
            "另存为 .xlsx",
        ),
        (
            &case!("06-hidden-old-sheet.xlsx")[..3_000],
            "roll_truncated",
            "不完整",
        ),
    ] {
        check_refused(bytes, &limits, code);
        let error = with_street(|street| read(bytes, street, &limits))
            .map(|_| ())
            .expect_err(code);
        assert!(error.zh().contains(word), "{}", error.zh());
    }
    let document = zipped(&[
        ("word/document.xml", b"<w/>"),
        ("_rels/.rels", b"<Relationships/>"),
    ]);
    check_refused(&document, &limits, "roll_other_format");
    let mut encrypted = Vec::new();
    {
        let mut file =
            cfb::CompoundFile::create(std::io::Cursor::new(&mut encrypted)).expect("a file");
        let mut stream = file.create_stream("/EncryptedPackage").expect("a stream");
        stream.write_all(&[0; 64]).expect("bytes");
    }
    check_refused(&encrypted, &limits, "roll_encrypted");
    let manifest = b"<manifest:manifest><manifest:encryption-data/></manifest:manifest>";
    let secret = zipped(&[("content.xml", b"xx"), ("META-INF/manifest.xml", manifest)]);
    check_refused(&secret, &limits, "roll_encrypted");
}
