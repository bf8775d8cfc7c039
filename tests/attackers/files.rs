//! Exports as a weapon: whatever was typed or imported, whatever the columns are called, no spreadsheet takes a cell of an exported file for a
//! formula, however it splits the lines.

use std::io::{Cursor, Read};

use axum::{
    body::Body,
    http::{Request, StatusCode, header},
};
use calamine::{Reader, Xlsx};
use lianka_sync_core::{codec::wire::VerdictStatus, crdt::record::Edit};
use lianka_tests::Answer;
use serde_json::Value;

use super::send;
use crate::sync::phone::{HOME, Office, put};

const PERSON: &str = "0198c0de-0000-7000-8000-00000000000a";
const SECOND: &str = "0198c0de-0000-7000-8000-00000000000b";

/// What begins a formula, at once or after what a reader passes over; and what does so behind a separator of another country's lists.
const PAYLOADS: &[&str] = &[
    "=HYPERLINK(\"http://attacker.example\",\"点\")",
    "=cmd|' /C calc'!A0",
    "+1+1",
    "-2+3",
    "@SUM(A1)",
    " =1+1",
    "\u{a0}=1+1",
    "\u{3000}＝1+1",
    "＋1",
    "－1",
    "＠SUM(A1)",
    "\u{feff}=1",
    "\u{200b}=1",
    "\u{202e}=1",
    "\"=1+1\"",
    "\"\"=1",
    "王记;=1+1",
    "王记; @SUM(A1)",
    "王记|=1+1",
    "王记,=1+1",
    "王记\";=1+1",
];

/// Where some reader might begin a cell, and what stands there. Commas count outside quotes, which every reader of commas knows; semicolons,
/// bars, tabs and line ends count everywhere, because a reader of those knows no quote that stands in the middle of its cell.
fn beginnings(text: &str) -> Vec<String> {
    let (mut quoted, mut begins, mut found) = (false, true, Vec::new());
    for (at, c) in text.char_indices() {
        match c {
            '"' => quoted = !quoted,
            ',' if !quoted => begins = true,
            ';' | '|' | '\t' | '\n' | '\r' => begins = true,
            ' ' | '\u{3000}' | '\u{a0}' | '\u{feff}' | '\u{200b}' | '\u{202e}' => {}
            _ if begins => {
                begins = false;
                found.push(text[at..].chars().take(20).collect());
            }
            _ => {}
        }
    }
    found
}

fn is_formula(text: &str) -> bool {
    text.starts_with(['=', '+', '-', '@', '＝', '＋', '－', '＠'])
}

/// A workbook holds texts and numbers: no formula, no link, nothing from elsewhere.
fn holds_only_values(body: &[u8]) {
    let mut book: Xlsx<_> = Xlsx::new(Cursor::new(body)).expect("a workbook");
    for name in book.sheet_names() {
        let formulas = book.worksheet_formula(&name).expect("a sheet");
        assert!(formulas.is_empty(), "{name}: {formulas:?}");
        assert!(
            !is_formula(&name)
                && name.chars().count() <= 31
                && !name.contains(['[', ']', '*', '?', '/', '\\', ':']),
            "{name}"
        );
    }
    let mut archive = zip::ZipArchive::new(Cursor::new(body)).expect("a zip");
    for at in 0..archive.len() {
        let mut part = archive.by_index(at).expect("a part");
        let (name, mut text) = (part.name().expect("a name").into_owned(), String::new());
        part.read_to_string(&mut text).expect("XML");
        for tag in [
            "<f>",
            "<f ",
            "<hyperlink",
            "<ddeLink",
            "<externalReference",
            "TargetMode=\"External\"",
            "<!DOCTYPE",
            "<!ENTITY",
            "macro",
        ] {
            assert!(!text.contains(tag), "{name}: {tag}");
        }
        assert!(
            !name.contains("externalLink") && !name.contains("vba") && !name.contains(".."),
            "{name}"
        );
    }
}

async fn get(office: &Office, path: &str) -> Answer {
    let answer = office
        .call(
            "GET",
            &format!("/v1/streets/{HOME}/{path}"),
            Some(&office.admin),
            Value::Null,
        )
        .await;
    assert_eq!(answer.status, StatusCode::OK, "{path}: {}", answer.json);
    answer
}

async fn all_exports_are_harmless(office: &Office, holds: &str) {
    for query in [
        "",
        "?unmasked=true",
        "?lang=en",
        "?unmasked=true&sort=changed",
    ] {
        let text = get(office, &format!("cards.csv{query}")).await;
        let text = String::from_utf8(text.body.to_vec()).expect("UTF-8");
        assert!(text.contains(holds), "{holds} is missing in {text}");
        let found: Vec<_> = beginnings(&text)
            .into_iter()
            .filter(|beginning| is_formula(beginning))
            .collect();
        assert!(found.is_empty(), "{query}: {found:?} in {text}");
        holds_only_values(&get(office, &format!("cards.xlsx{query}")).await.body);
    }
}

#[tokio::test]
async fn what_people_typed_is_no_formula_in_any_export() {
    let office = Office::open().await;
    let mut phone = office.secretary("wang.fang", &["A1"]).await;
    let fields = [
        "sign_name",
        "legal_name",
        "credit_code",
        "category",
        "lane",
        "number",
        "number_suffix",
        "unit",
        "address_raw",
        "opening_hours",
        "custom/消防",
    ];
    let entry = |person: &str, field: &str| format!("contacts/{person}/{field}");
    let (mut accepted, mut phones) = (0, Vec::new());
    for (n, payload) in PAYLOADS.iter().enumerate() {
        // One number each, so that each person can be asked for.
        phones.push(format!("1390000{:04}", 1000 + n));
        let number = phones.last().cloned().unwrap_or_default();
        let mut edits: Vec<Edit> = fields.iter().map(|field| put(field, payload)).collect();
        for (person, field) in [
            (PERSON, "name"),
            (SECOND, "name"),
            (PERSON, "role"),
            (SECOND, "role"),
            (SECOND, "preferred_time"),
        ] {
            edits.push(put(&entry(person, field), payload));
        }
        edits.push(put(&entry(SECOND, "phones"), &number));
        edits.push(Edit::Note {
            text: format!("一行\n{payload}\n\t{payload}"),
        });
        let member: String = payload.chars().filter(|c| *c != '/').take(30).collect();
        edits.push(Edit::add(format!("tags/{member}")));
        // A card each: what a rule refuses stands in no file.
        let cards: Vec<_> = edits
            .into_iter()
            .map(|edit| phone.create("A1", &[edit]))
            .collect();
        let reply = phone.sync().await;
        for (card, verdict) in cards.into_iter().zip(reply.verdicts()) {
            if verdict.status == VerdictStatus::Accepted {
                accepted += 1;
            } else {
                phone.records.remove(&card);
            }
        }
    }
    assert!(
        accepted > PAYLOADS.len() * 12,
        "only {accepted} were accepted"
    );
    office
        .execute(
            "insert into custom_field (street, name, label, type, class) values ('310104003', '消防', '=cmd|''/C calc''!A0', 'text', 'P1')",
        )
        .await;
    all_exports_are_harmless(&office, "HYPERLINK").await;
    for number in phones.iter().take(4) {
        holds_only_values(
            &get(&office, &format!("persons.xlsx?phone={number}"))
                .await
                .body,
        );
    }
}

#[tokio::test]
async fn what_a_file_brought_is_no_formula_in_the_next() {
    let office = Office::open().await;
    let quoted = |text: &str| format!("\"{}\"", text.replace('"', "\"\""));
    let headings = [
        "店招",
        "路名",
        "门牌号",
        "联系人",
        "联系电话",
        "=cmd|' /C calc'!A0",
        "@SUM(A1)",
        "王记;=1",
        "\t=2",
        "+栏",
    ];
    let mut file = headings.map(quoted).join(",") + "\r\n";
    for (n, payload) in PAYLOADS.iter().enumerate() {
        let number = format!("{}", n + 1);
        let phone = format!("1390000{:04}", 2000 + n);
        let cells = [
            payload,
            "天平路",
            &number,
            payload,
            &phone,
            payload,
            payload,
            payload,
            payload,
            payload,
        ];
        file += &(cells.map(quoted).join(",") + "\r\n");
    }
    let path = format!("/v1/streets/{HOME}/imports?file_name=%3Dcmd.csv&grid=A1&dry_run=false");
    let request = Request::post(path)
        .header(header::CONTENT_TYPE, "text/csv")
        .header(header::AUTHORIZATION, format!("Bearer {}", office.admin));
    let answer = send(&office, request.body(Body::from(file)).expect("a request")).await;
    assert_eq!(answer.status, StatusCode::OK, "{}", answer.json);
    let own = answer.json["custom_fields"].as_array().map_or(0, Vec::len);
    assert!(own >= 4, "{}", answer.json);
    all_exports_are_harmless(&office, "+1+1").await;
    holds_only_values(&get(&office, "persons.xlsx?phone=13900002000").await.body);
}

/// What no street declared is kept, and stands in no file.
#[tokio::test]
async fn a_field_that_the_street_did_not_declare_is_in_no_export() {
    let office = Office::open().await;
    let mut phone = office.secretary("wang.fang", &["A1"]).await;
    phone.create(
        "A1",
        &[put("sign_name", "王记包子"), put("custom/密码", "悄悄话")],
    );
    assert_eq!(phone.sync().await.codes(), ["accepted"]);
    let text = get(&office, "cards.csv?unmasked=true").await;
    let text = String::from_utf8_lossy(&text.body).into_owned();
    assert!(
        text.contains("王记包子") && !text.contains("悄悄话") && !text.contains("密码"),
        "{text}"
    );
}

/// A name for a download comes from the server alone.
#[tokio::test]
async fn no_caller_names_a_file() {
    let office = Office::open().await;
    for path in ["cards.csv", "cards.xlsx", "persons.xlsx?phone=13900000001"] {
        let answer = get(&office, path).await;
        let disposition = answer.headers[header::CONTENT_DISPOSITION]
            .to_str()
            .expect("plain");
        let kind = path.split('?').next().unwrap_or_default();
        let expected = match kind.split_once('.') {
            Some(("cards", ending)) => format!("attachment; filename=\"cards-{HOME}.{ending}\""),
            _ => format!("attachment; filename=\"person-{HOME}.xlsx\""),
        };
        assert_eq!(disposition, expected);
    }
}
