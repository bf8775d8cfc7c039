//! Spreadsheets that no office wrote, through the server's reader of rolls.
//!
//! Workbooks are built from XML by hand, so that cells, dimensions, counts, strings, styles, merges and the zip around them can lie; text
//! files come in every encoding, damaged. Claim: reading ends without a panic and holds no more than the limits that the reader was given
//! allow, whatever the file says of itself.

use std::io::{Cursor, Write};

use lianka_server::roll::sheet::{RollError, RollLimits, StreetTables, read};
use lianka_sync_core::time::ServerTime;

use crate::{
    Failure, Found, Tally,
    budget::{Budget, Cost},
    draw::Draw,
    minimise::minimised,
    mutate::scramble,
};

const INPUTS: usize = 40;
const READS: &str = "a roll is read without panic and within its budget";

/// Smaller than a server's, so that what a file costs beyond them shows.
fn limits() -> RollLimits {
    RollLimits {
        file_bytes_max: 1 << 20,
        unpacked_bytes_max: 4 << 20,
        parts_max: 100,
        rows_max: 500,
        columns_max: 60,
        cell_chars_max: 2_000,
        text_bytes_max: 2 << 20,
    }
}

/// A few times what may be unpacked: the shared strings, the cells, their copies in the plan.
pub fn budget() -> Budget {
    Budget {
        peak_per_byte: 32,
        peak_bytes: 24 << 20,
        allocations_per_byte: 64,
        allocations: 8 << 20,
        work_ns: 0,
    }
}

/// One round of files.
pub fn round(seed: u64, budget: &Budget) -> Tally {
    let mut draw = Draw::new(seed ^ 0x5EE7);
    let mut tally = Tally::default();
    for _ in 0..INPUTS {
        let input = match draw.below(12) {
            0..4 => text_file(&mut draw),
            4 => old_workbook(&mut draw),
            5 => markup(&mut draw),
            6 => document(&mut draw),
            _ => workbook(&mut draw),
        };
        tally.inputs += 1;
        match judge(&input, budget) {
            Ok((outcome, cost)) => {
                tally.count(outcome);
                tally.cost(cost);
            }
            Err(failure) => {
                let same = |bytes: &[u8]| matches!(judge(bytes, budget), Err(other) if other.claim == failure.claim);
                let input = minimised(&input, same);
                tally.found.push(Found {
                    failure,
                    input,
                    context: Vec::new(),
                });
            }
        }
    }
    tally
}

/// The claim about one file.
pub fn judge(input: &[u8], budget: &Budget) -> Result<(&'static str, Cost), Failure> {
    let street = StreetTables {
        roads: &["天平路"],
        grids: &[],
        now: Some(ServerTime::from_unix_ms(1_795_248_000_000)),
    };
    let (read, cost) = budget.spend(READS, input.len(), || read(input, &street, &limits()))?;
    let outcome = match read {
        Ok(plan) if plan.rows.is_empty() => "read, no shops",
        Ok(_) => "read",
        Err(RollError::Unreadable(_) | RollError::Truncated | RollError::OtherFormat { .. }) => {
            "unreadable"
        }
        Err(RollError::Empty | RollError::NoHeader) => "no roll in it",
        Err(RollError::OldOrEncrypted | RollError::Encrypted) => "old or encrypted",
        Err(_) => "over a limit",
    };
    Ok((outcome, cost))
}

const HEADINGS: &[&str] = &[
    "序号",
    "店招",
    "路名",
    "门牌号",
    "网格",
    "联系人",
    "联系电话",
    "备注",
    "业态",
    "营业时间",
    "消防检查日期",
    "片区",
];
const CELLS: &[&str] = &[
    "王记包子",
    "天平路",
    "12",
    "张三",
    "021-64370000",
    "",
    "2026-11-20",
    "是",
    "1e308",
    "=1+1",
    "康平01",
    "\u{202e}",
    "合计",
    "9999999999999999",
];

fn text_file(draw: &mut Draw) -> Vec<u8> {
    let delimiter = *draw.pick(&[",", "\t", ";", "|"]);
    let mut text = HEADINGS.join(delimiter) + "\n";
    for _ in 0..draw.below(40) {
        let cells: Vec<_> = (0..draw.below(HEADINGS.len() + 4))
            .map(|_| text_cell(draw))
            .collect();
        text += &cells.join(delimiter);
        text += *draw.pick(&["\n", "\r\n", "\r", "\n\n"]);
    }
    if draw.one_in(10) {
        text += &delimiter.repeat(draw.extreme(60).min(100_000) as usize);
    }
    let mut bytes = match draw.below(6) {
        0 => encoding_rs::GB18030.encode(&text).0.into_owned(),
        1 => text.encode_utf16().flat_map(u16::to_le_bytes).collect(),
        2 => [
            &[0xfe, 0xff][..],
            &text
                .encode_utf16()
                .flat_map(u16::to_be_bytes)
                .collect::<Vec<_>>(),
        ]
        .concat(),
        3 => [&[0xef, 0xbb, 0xbf][..], text.as_bytes()].concat(),
        _ => text.into_bytes(),
    };
    if draw.one_in(2) {
        scramble(&mut bytes, draw);
    }
    bytes
}

/// A workbook of the time before 2007, damaged here and there.
fn old_workbook(draw: &mut Draw) -> Vec<u8> {
    let mut bytes = include_bytes!("../../../tests/fixtures/rolls/cases/binary.xls").to_vec();
    for _ in 0..draw.below(3) {
        scramble(&mut bytes, draw);
    }
    bytes
}

/// A web page, or the XML of 2003, whose cells claim to be merged over many others.
fn markup(draw: &mut Draw) -> Vec<u8> {
    let page = draw.one_in(2);
    let mut text = if page {
        "<html><table>".to_owned()
    } else {
        "<?xml version=\"1.0\"?><Workbook><Worksheet ss:Name=\"商铺\"><Table><Row>".to_owned()
    };
    for row in 0..=draw.below(30) {
        let cells = (0..HEADINGS.len()).map(|at| {
            let cell = if row == 0 {
                HEADINGS[at]
            } else {
                draw.pick::<&str>(CELLS)
            };
            let number = seldom(draw, "1", NUMBERS);
            if page {
                format!("<td colspan=\"{number}\" rowspan={number}>{cell}")
            } else {
                let kind = draw.pick::<&str>(&["String", "Number", "DateTime", "Error", ""]);
                format!(
                    "<Cell ss:MergeDown=\"{number}\"><Data ss:Type=\"{kind}\">{cell}</Data></Cell>"
                )
            }
        });
        let cells = cells.collect::<Vec<_>>().concat();
        let end = if page { "<tr>" } else { "</Row><Row>" };
        text.push_str(&cells);
        text.push_str(end);
    }
    text += if page {
        "</table>"
    } else {
        "</Row></Table></Worksheet></Workbook>"
    };
    let mut bytes = text.into_bytes();
    if draw.one_in(2) {
        scramble(&mut bytes, draw);
    }
    bytes
}

/// A spreadsheet of the open document format, whose rows and cells claim to stand for many.
fn document(draw: &mut Draw) -> Vec<u8> {
    let mut rows = String::new();
    for row in 0..=draw.below(30) {
        let repeated = seldom(draw, "1", NUMBERS);
        let cells = HEADINGS.iter().map(|heading| {
            let cell = if row == 0 { heading } else { draw.pick::<&str>(CELLS) };
            let kind = draw.pick::<&str>(&["string", "string", "float", "date", "percentage"]);
            let (number, times) = (number(draw), seldom(draw, "1", NUMBERS));
            format!(
                "<table:table-cell office:value-type=\"{kind}\" office:value=\"{number}\" table:number-columns-repeated=\"{times}\">\
                 <text:p>{cell}</text:p></table:table-cell>"
            )
        });
        let cells = cells.collect::<Vec<_>>().concat();
        let row = [
            "<table:table-row table:number-rows-repeated=\"",
            repeated,
            "\">",
            &cells,
        ];
        rows.push_str(&row.concat());
        rows += "</table:table-row>";
    }
    let content = format!(
        "<office:document-content><table:table table:name=\"商铺\">{rows}</table:table></office:document-content>"
    );
    let mut packed = zipped(&[("content.xml", content)], draw);
    if draw.one_in(8) {
        scramble(&mut packed, draw);
    }
    packed
}

fn text_cell(draw: &mut Draw) -> String {
    let cell = (*draw.pick(CELLS)).to_owned();
    match draw.below(12) {
        0 => format!("\"{cell}\n{cell}\""),
        1 if draw.one_in(40) => format!("\"{cell}"),
        2 if draw.one_in(40) => cell.repeat(draw.extreme(1).min(3_000) as usize),
        _ => cell,
    }
}

/// One in some tens: what the format does not foresee.
fn strange<'s>(draw: &mut Draw, truth: &'s str, lies: &[&'s str]) -> &'s str {
    if draw.one_in(25) {
        draw.pick::<&str>(lies)
    } else {
        truth
    }
}

/// The same where it is asked for each of hundreds of cells.
fn seldom<'s>(draw: &mut Draw, truth: &'s str, lies: &[&'s str]) -> &'s str {
    if draw.one_in(40) {
        strange(draw, truth, lies)
    } else {
        truth
    }
}

const NUMBERS: &[&str] = &[
    "0",
    "1",
    "60",
    "-1",
    "4294967295",
    "4294967296",
    "18446744073709551615",
    "99999999999999999999",
    "1e9",
    "x",
    "",
];
const REFERENCES: &[&str] = &[
    "XFD1048576",
    "XFE1",
    "A0",
    "A1048577",
    "AAAAAAAAAAAA1",
    "A99999999999999999999",
    "1A",
    "",
    "A1:B2",
    "$A$1",
    "a1",
    "A-1",
    "ZZZZZZZ4294967295",
];

fn workbook(draw: &mut Draw) -> Vec<u8> {
    let mut parts = vec![
        ("[Content_Types].xml", CONTENT_TYPES.to_owned()),
        (
            "_rels/.rels",
            RELATIONS
                .replace("TYPE", "officeDocument")
                .replace("TARGET", "xl/workbook.xml"),
        ),
        (
            "xl/workbook.xml",
            WORKBOOK.replace("DATE1904", strange(draw, "0", &["1", "x"])),
        ),
        ("xl/_rels/workbook.xml.rels", workbook_relations(draw)),
        ("xl/worksheets/sheet1.xml", sheet(draw)),
        ("xl/sharedStrings.xml", shared_strings(draw)),
        ("xl/styles.xml", styles(draw)),
    ];
    match draw.below(30) {
        0 => drop(parts.remove(draw.below(parts.len()))),
        1 => {
            let (name, text) = parts[draw.below(parts.len())].clone();
            parts.push((name, text));
        }
        2 => BILLION_LAUGHS.clone_into(&mut parts[draw.below(7)].1),
        3 => parts[draw.below(7)].1 = "<a>".repeat(draw.extreme(100).min(100_000) as usize),
        4 => parts[4].1.insert_str(0, &" ".repeat(draw.below(8 << 20))),
        5 => (0..draw.below(300)).for_each(|_| parts.push(("xl/x.xml", String::new()))),
        _ => {}
    }
    let mut packed = zipped(&parts, draw);
    if draw.one_in(8) {
        scramble(&mut packed, draw);
    }
    if draw.one_in(12) {
        lie_about_sizes(&mut packed, draw);
    }
    packed
}

/// A small workbook whose shared strings claim to be so many, written as `claim` stands.
pub fn claiming_strings(claim: &str) -> Vec<u8> {
    let mut draw = Draw::new(1);
    let strings = format!("<sst count=\"1\" {claim}><si><t>王记包子</t></si></sst>");
    let parts = [
        ("[Content_Types].xml", CONTENT_TYPES.to_owned()),
        (
            "_rels/.rels",
            RELATIONS
                .replace("TYPE", "officeDocument")
                .replace("TARGET", "xl/workbook.xml"),
        ),
        ("xl/workbook.xml", WORKBOOK.replace("DATE1904", "0")),
        (
            "xl/_rels/workbook.xml.rels",
            RELATIONS
                .replace("TYPE", "worksheet")
                .replace("TARGET", "worksheets/sheet1.xml"),
        ),
        ("xl/sharedStrings.xml", strings),
        ("xl/worksheets/sheet1.xml", sheet(&mut draw)),
    ];
    zipped(&parts, &mut Draw::new(0))
}

fn zipped(parts: &[(&str, String)], draw: &mut Draw) -> Vec<u8> {
    let mut writer = zip::ZipWriter::new(Cursor::new(Vec::new()));
    for (name, text) in parts {
        let method = if draw.one_in(3) {
            zip::CompressionMethod::Stored
        } else {
            zip::CompressionMethod::Deflated
        };
        let options = zip::write::SimpleFileOptions::default().compression_method(method);
        let mut bytes = text.clone().into_bytes();
        if draw.one_in(40) {
            scramble(&mut bytes, draw);
        }
        // A name that stands twice is refused by the writer; the file then lacks the second.
        if writer.start_file(*name, options).is_ok() {
            let _ = writer.write_all(&bytes);
        }
    }
    writer.finish().map(Cursor::into_inner).unwrap_or_default()
}

/// Another size in a header of the zip: four bytes of a local or a central one.
fn lie_about_sizes(packed: &mut [u8], draw: &mut Draw) {
    let heads: Vec<_> = (0..packed.len().saturating_sub(46))
        .filter(|at| packed[*at..].starts_with(b"PK"))
        .collect();
    if heads.is_empty() {
        return;
    }
    let at = *draw.pick(&heads) + *draw.pick(&[18, 20, 22, 24, 42]);
    if let Some(size) = packed.get_mut(at..at + 4) {
        size.copy_from_slice(&(draw.extreme(1_000) as u32).to_le_bytes());
    }
}

fn sheet(draw: &mut Draw) -> String {
    let rows: String = (1..2 + draw.below(30))
        .map(|row| sheet_row(row, draw))
        .collect();
    let dimension = strange(
        draw,
        "A1:L30",
        &[
            "A1:XFD1048576",
            "A1:A99999999999",
            "XFD1048576:A1",
            "",
            "A1:",
            "1:1",
            "A1:ZZZZZZZ1",
        ],
    );
    let merges: Vec<_> = (0..draw.below(4))
        .map(|_| format!("<mergeCell ref=\"{}\"/>", merge(draw)))
        .collect();
    let merges = merges.concat();
    let count = strange(draw, "4", NUMBERS);
    format!(
        "<worksheet xmlns=\"http://schemas.openxmlformats.org/spreadsheetml/2006/main\"><dimension ref=\"{dimension}\"/><sheetData>{rows}\
         </sheetData><mergeCells count=\"{count}\">{merges}</mergeCells></worksheet>"
    )
}

fn merge(draw: &mut Draw) -> &'static str {
    strange(
        draw,
        "A2:A9",
        &[
            "A1:XFD1048576",
            "A1:A1048576",
            "B9:A1",
            "A1",
            "",
            "A1:A4294967295",
            "A0:A0",
            "A2:A2",
            "A1:B99999999999",
        ],
    )
}

fn sheet_row(row: usize, draw: &mut Draw) -> String {
    let number = row.to_string();
    let claimed = seldom(draw, &number, NUMBERS).to_owned();
    let cells: String = (0..HEADINGS.len())
        .map(|column| {
            let place = format!("{}{row}", char::from(b'A' + column as u8));
            let place = seldom(draw, &place, REFERENCES).to_owned();
            if row == 1 {
                return format!(
                    "<c r=\"{place}\" t=\"inlineStr\"><is><t>{}</t></is></c>",
                    HEADINGS[column]
                );
            }
            sheet_cell(&place, draw)
        })
        .collect();
    format!("<row r=\"{claimed}\">{cells}</row>")
}

fn sheet_cell(place: &str, draw: &mut Draw) -> String {
    let text = (*draw.pick(CELLS)).to_owned();
    match draw.below(8) {
        0 => format!(
            "<c r=\"{place}\" t=\"s\"><v>{}</v></c>",
            seldom(draw, "1", NUMBERS)
        ),
        1 => format!(
            "<c r=\"{place}\" s=\"{}\"><v>{}</v></c>",
            seldom(draw, "1", NUMBERS),
            number(draw)
        ),
        2 => format!(
            "<c r=\"{place}\"><f>{}</f><v>{}</v></c>",
            text,
            number(draw)
        ),
        3 => format!(
            "<c r=\"{place}\" t=\"{}\"><v>{text}</v></c>",
            draw.pick::<&str>(&["b", "e", "d", "str", "n", "x", ""])
        ),
        4 if draw.one_in(60) => {
            let long = text.repeat(draw.extreme(1).min(3_000) as usize);
            format!("<c r=\"{place}\" t=\"inlineStr\"><is><t>{long}</t></is></c>")
        }
        5 => format!(
            "<c r=\"{place}\" t=\"inlineStr\"><is><t>&#x{:x};&{};</t></is></c>",
            draw.extreme(65),
            draw.pick::<&str>(&["amp", "lol9", "x"])
        ),
        _ => format!("<c r=\"{place}\" t=\"inlineStr\"><is><t>{text}</t></is></c>"),
    }
}

fn number(draw: &mut Draw) -> String {
    match draw.below(4) {
        0 => draw.signed_extreme(45_000).to_string(),
        1 => (*draw.pick(&[
            "1e308", "-1e308", "NaN", "inf", "1e999", "0.5", "-0", "2958465", "2958466", "60",
            "1e15", "",
        ]))
        .to_owned(),
        _ => "45980".to_owned(),
    }
}

fn shared_strings(draw: &mut Draw) -> String {
    let strings: Vec<_> = (0..4)
        .map(|_| format!("<si><t>{}</t></si>", draw.pick::<&str>(CELLS)))
        .collect();
    let strings = strings.concat();
    let (count, unique) = (strange(draw, "4", NUMBERS), strange(draw, "4", NUMBERS));
    format!(
        "<sst xmlns=\"http://schemas.openxmlformats.org/spreadsheetml/2006/main\" count=\"{count}\" uniqueCount=\"{unique}\">{strings}</sst>"
    )
}

fn styles(draw: &mut Draw) -> String {
    let (formats, count) = (strange(draw, "2", NUMBERS), strange(draw, "14", NUMBERS));
    format!(
        "<styleSheet xmlns=\"http://schemas.openxmlformats.org/spreadsheetml/2006/main\"><numFmts count=\"{formats}\"><numFmt numFmtId=\"200\" \
         formatCode=\"{}\"/></numFmts><cellXfs count=\"{formats}\"><xf numFmtId=\"0\"/><xf numFmtId=\"{count}\"/></cellXfs></styleSheet>",
        draw.pick::<&str>(&["yyyy-mm-dd", "[h]:mm", "[[[[[[", "\\", "0", "yyyy\u{5e74}"])
    )
}

fn workbook_relations(draw: &mut Draw) -> String {
    let target = strange(
        draw,
        "worksheets/sheet1.xml",
        &[
            "../../etc/x",
            "/xl/worksheets/sheet1.xml",
            "",
            "http://x/",
            "worksheets/none.xml",
        ],
    );
    RELATIONS
        .replace("TYPE", "worksheet")
        .replace("TARGET", target)
}

const CONTENT_TYPES: &str = r#"<Types xmlns="http://schemas.openxmlformats.org/package/2006/content-types"><Default Extension="xml" ContentType="application/xml"/></Types>"#;
const RELATIONS: &str = r#"<Relationships xmlns="http://schemas.openxmlformats.org/package/2006/relationships"><Relationship Id="rId1" Type="http://schemas.openxmlformats.org/officeDocument/2006/relationships/TYPE" Target="TARGET"/></Relationships>"#;
const WORKBOOK: &str = r#"<workbook xmlns="http://schemas.openxmlformats.org/spreadsheetml/2006/main" xmlns:r="http://schemas.openxmlformats.org/officeDocument/2006/relationships"><workbookPr date1904="DATE1904"/><sheets><sheet name="商铺" sheetId="1" r:id="rId1"/></sheets></workbook>"#;
const BILLION_LAUGHS: &str = r#"<?xml version="1.0"?><!DOCTYPE lolz [<!ENTITY lol "lol"><!ENTITY lol1 "&lol;&lol;&lol;&lol;&lol;&lol;&lol;&lol;&lol;&lol;"><!ENTITY lol9 "&lol1;&lol1;&lol1;&lol1;&lol1;&lol1;&lol1;&lol1;">]><lolz>&lol9;</lolz>"#;
