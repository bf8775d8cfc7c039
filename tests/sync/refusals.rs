//! Requests that are refused as a whole: before anything of them is stored, with a problem document.

use axum::http::{Request, StatusCode, header};
use lianka_server::sync::ingest::Packing;
use lianka_sync_core::{
    codec::wire::{Encoding, RequestItem, ResponseItem},
    limits,
};
use lianka_tests::Answer;

use super::phone::{Form, HOME, OTHER, Office, Phone, Reply, STORE, packed, put};

/// Typed into every value of these tests; no error may repeat it.
const PERSONAL: &str = "张三13800138000";

#[track_caller]
fn refused(reply: &Reply, status: u16, code: &str) {
    assert_eq!(
        (reply.status.as_u16(), reply.json["code"].as_str()),
        (status, Some(code)),
        "{}",
        reply.json
    );
    assert_eq!(
        reply.headers[header::CONTENT_TYPE],
        "application/problem+json"
    );
    for key in [
        "type",
        "title",
        "status",
        "detail",
        "code",
        "retryable",
        "request_id",
    ] {
        assert!(
            !reply.json[key].is_null(),
            "{key} is missing in {}",
            reply.json
        );
    }
    let all = String::from_utf8_lossy(&reply.body);
    assert!(
        !all.contains("张三") && !all.contains("13800138000"),
        "{all}"
    );
}

/// A phone with one change to send.
async fn ready() -> (Office, Phone) {
    let office = Office::open().await;
    let mut phone = office.secretary("wang.fang", &["A1"]).await;
    phone.create("A1", &[put("sign_name", PERSONAL)]);
    (office, phone)
}

fn whole(phone: &Phone) -> Vec<u8> {
    let changes = phone.outbox.iter().cloned().map(RequestItem::Change);
    phone.body(
        &std::iter::once(phone.hello(true))
            .chain(changes)
            .collect::<Vec<_>>(),
    )
}

#[tokio::test]
async fn who_asks() {
    let (office, mut phone) = ready().await;
    let before = office.rows(&STORE).await;
    let request = Request::post(format!("/v1/streets/{HOME}/sync"))
        .header(header::CONTENT_TYPE, "application/x-ndjson");
    let reply = Reply::read(
        office
            .test
            .send(request.body(whole(&phone).into()).unwrap())
            .await,
    )
    .await;
    refused(&reply, 401, "unauthenticated");

    phone.street = OTHER.into();
    refused(&phone.post(&[], whole(&phone)).await, 403, "wrong_street");
    phone.street = HOME.into();

    let revoked = office.secretary("li.na", &["A1"]).await;
    office.revoke(&revoked, "").await;
    refused(
        &revoked.post(&[], whole(&phone)).await,
        401,
        "device_revoked",
    );

    office.test.clock.advance_ms(900_000);
    refused(&phone.post(&[], whole(&phone)).await, 401, "token_expired");
    assert_eq!(office.rows(&STORE).await, before);
}

#[tokio::test]
async fn a_street_that_is_not_there() {
    let (office, mut phone) = ready().await;
    // Only somebody of the whole deployment gets as far as asking.
    phone.token.clone_from(&office.admin);
    phone.street = "999999999".into();
    refused(&phone.post(&[], whole(&phone)).await, 404, "not_found");
    refused(&phone.push(true, &[]).await, 404, "not_found");
}

#[tokio::test]
async fn how_the_body_is_written() {
    let (office, phone) = ready().await;
    let before = office.rows(&STORE).await;
    let body = whole(&phone);
    let with =
        async |headers: &[(&str, &str)], body: &[u8]| phone.post(headers, body.to_vec()).await;
    for content_type in ["application/json", "text/plain", "", "application/cbor"] {
        refused(
            &with(&[("content-type", content_type)], &body).await,
            415,
            "unsupported_media_type",
        );
    }
    for encoding in ["br", "deflate", "zstd, gzip", ""] {
        refused(
            &with(&[("content-encoding", encoding)], &body).await,
            415,
            "unsupported_media_type",
        );
    }
    refused(
        &with(&[("accept", "text/html")], &body).await,
        406,
        "not_acceptable",
    );

    for encoding in ["zstd", "gzip"] {
        refused(
            &with(&[("content-encoding", encoding)], &body).await,
            400,
            "malformed",
        );
        let packing = if encoding == "zstd" {
            Packing::Zstd
        } else {
            Packing::Gzip
        };
        let sent = packed(packing, &body);
        refused(
            &with(&[("content-encoding", encoding)], &sent[..sent.len() - 5]).await,
            400,
            "malformed",
        );
        let mut garbage = sent.clone();
        garbage.extend_from_slice(PERSONAL.as_bytes());
        refused(
            &with(&[("content-encoding", encoding)], &garbage).await,
            400,
            "malformed",
        );
        let bomb = packed(packing, &vec![b' '; limits::SYNC_INFLATED_BYTES_MAX + 1]);
        assert!(bomb.len() < 100_000);
        refused(
            &with(&[("content-encoding", encoding)], &bomb).await,
            413,
            "body_too_large",
        );
    }
    refused(
        &with(&[], &vec![b'\n'; limits::SYNC_BODY_BYTES_MAX + 1]).await,
        413,
        "body_too_large",
    );
    // A frame that asks for a window of 128 MiB.
    let wide = [0x28, 0xb5, 0x2f, 0xfd, 0x00, 17 << 3, 0x01, 0x00, 0x00];
    refused(
        &with(&[("content-encoding", "zstd")], &wide).await,
        400,
        "malformed",
    );
    assert_eq!(office.rows(&STORE).await, before);
}

#[tokio::test]
async fn what_the_items_are() {
    let (office, phone) = ready().await;
    let before = office.rows(&STORE).await;
    let hello = r#"{"type":"hello","cursor":null,"client":"t/1","pull":true}"#;
    let whole = String::from_utf8(whole(&phone)).unwrap();
    let change = whole.lines().nth(1).unwrap().to_owned();
    let record = phone.outbox[0].record.to_string();
    let cases = [
        String::new(),
        "\n\n".to_owned(),
        change.clone(),
        format!("{change}\n{hello}\n"),
        format!("{hello}\n{hello}\n"),
        format!("{hello}\n{change}\n{hello}\n"),
        format!("{hello}\n{{"),
        format!("{hello}\n{change}\nhello {PERSONAL}\n"),
        format!("{hello}\n{change}\n{}\n", &change[..change.len() - 4]),
        format!(
            "{hello}\n{}\n",
            change.replace("\"change\"", &format!("\"{PERSONAL}\""))
        ),
        format!(
            "{hello}\n{}\n",
            change.replace("\"change\"", "\"snapshot\"")
        ),
        format!(
            "{hello}\n{}\n",
            change.replace("\"type\":\"change\"", "\"kind\":\"shop_card\"")
        ),
        format!(
            "{hello}\n{}\n",
            change.replace("\"shop_card\"", &format!("\"{PERSONAL}\""))
        ),
        format!(
            "{hello}\n{}\n",
            change.replace(
                "\"generation\":1",
                &format!("\"generation\":\"{PERSONAL}\"")
            )
        ),
        format!(
            "{hello}\n{}\n",
            change.replace("\"generation\":1", "\"generation\":-1")
        ),
        format!(
            "{hello}\n{}\n",
            change.replace("\"generation\":1", "\"generation\":4294967296")
        ),
        format!("{hello}\n{}\n", change.replace(&record, PERSONAL)),
        format!(
            "{hello}\n{}\n",
            change.replace("\"bytes\":\"", &format!("\"bytes\":\"{PERSONAL}"))
        ),
        format!(
            "{hello}\n{}\n",
            change.replace(&format!("\"record\":\"{record}\","), "")
        ),
        hello.replace("\"pull\":true", "\"pull\":1"),
        hello.replace(",\"pull\":true", ""),
        hello.replace("\"cursor\":null", "\"cursor\":7"),
        hello.replace(",\"client\":\"t/1\"", ""),
        format!("[{hello}]"),
        format!("{hello}\n[[[[[[[[[[[[[[[[[[[[[[[[\n"),
    ];
    for body in cases {
        let short: String = body.chars().take(300).collect();
        // A device that sends nothing but this is kept away; some seconds between make it one that does so now and then.
        office.test.clock.advance_ms(10_000);
        let reply = phone.post(&[], body.into_bytes()).await;
        assert_eq!(reply.json["code"], "malformed", "{short} {}", reply.json);
        refused(&reply, 400, "malformed");
    }
    let long = format!("{hello}\n\"{}\"\n", "x".repeat(limits::ITEM_BYTES_MAX));
    let reply = phone
        .post(
            &[("content-encoding", "zstd")],
            packed(Packing::Zstd, long.as_bytes()),
        )
        .await;
    refused(&reply, 400, "malformed");
    for client in ["", &"x".repeat(81), "a\\u0000b", "a\\nb"] {
        let reply = phone
            .post(&[], hello.replace("t/1", client).into_bytes())
            .await;
        refused(&reply, 422, "invalid_field");
        assert_eq!(reply.json["field"], "client");
    }
    let reply = phone
        .post(
            &[],
            format!(
                "{hello}\n{}",
                format!("{change}\n").repeat(limits::SYNC_CHANGES_MAX + 1)
            )
            .into_bytes(),
        )
        .await;
    refused(&reply, 413, "body_too_large");
    assert_eq!(office.rows(&STORE).await, before);
}

#[tokio::test]
async fn what_the_items_are_in_cbor() {
    let (office, mut phone) = ready().await;
    let before = office.rows(&STORE).await;
    phone.form = Form {
        encoding: Encoding::CborSeq,
        ..Form::PLAIN
    };
    let hello = phone.body(&[phone.hello(true)]);
    let mut cases = vec![
        b"\xff".to_vec(),
        b"\x80".to_vec(),
        b"\xa1\x64type\x65hello".to_vec(),
        // Claims of lengths that never come.
        b"\x5b\xff\xff\xff\xff\xff\xff\xff\xff".to_vec(),
        b"\x9b\x00\x00\x00\x00\xff\xff\xff\xff".to_vec(),
        [hello.as_slice(), b"\xbf\xff"].concat(),
        [hello.as_slice(), &[0x81; 64]].concat(),
        [hello.as_slice(), &hello].concat(),
        [hello.as_slice(), b"\xa1\x64type\x66change"].concat(),
        [hello.as_slice(), format!("\x72{PERSONAL}").as_bytes()].concat(),
    ];
    let full = whole(&phone);
    cases.extend(
        (1..full.len())
            .step_by(7)
            .map(|length| full[..length].to_vec())
            .filter(|cut| cut.len() != hello.len()),
    );
    for body in cases {
        office.test.clock.advance_ms(10_000);
        let reply = phone.post(&[], body.clone()).await;
        assert_eq!(reply.json["code"], "malformed", "{body:x?} {}", reply.json);
        refused(&reply, 400, "malformed");
    }
    assert_eq!(office.rows(&STORE).await, before);
    assert_eq!(phone.post(&[], full).await.codes(), ["accepted"]);
}

#[tokio::test]
async fn a_refusal_is_told_in_the_language_asked_for() {
    let (_office, phone) = ready().await;
    let told = async |language: &str| {
        phone
            .post(&[("accept-language", language)], b"x".to_vec())
            .await
            .json["detail"]
            .clone()
    };
    let (zh, en) = (told("zh-CN").await, told("en").await);
    assert!(
        zh.as_str().unwrap().starts_with("无法读取")
            && en.as_str().unwrap().starts_with("Cannot be read"),
        "{zh} {en}"
    );
}

#[tokio::test]
async fn a_wiped_device_hands_over_its_changes_gets_no_data_and_is_told() {
    let (office, mut phone) = ready().await;
    phone.sync().await;
    let mut colleague = office.phone("wang.fang").await;
    colleague.sync().await;
    let (card, _) = colleague
        .records
        .iter()
        .next()
        .map(|(id, held)| (*id, held.generation))
        .unwrap();
    colleague.edit(card, &[put("unit", "201")]);
    colleague.sync().await;

    // Both a known card and one made offline, with an edit that follows it.
    phone.edit(card, &[put("lane", "5")]);
    let new = phone.create("A1", &[put("sign_name", "新店")]);
    phone.edit(new, &[put("unit", "1")]);
    office.revoke(&phone, "?wipe=true").await;
    let before = office.rows(&STORE).await;
    let changes = std::mem::take(&mut phone.outbox);
    for _ in 0..2 {
        let reply = phone.push(true, &changes).await;
        assert_eq!(reply.codes(), ["device_wiped"; 3]);
        assert!(
            matches!(
                reply.items[3..],
                [ResponseItem::Wipe, ResponseItem::End { cursor: None, .. }]
            ),
            "{:?}",
            reply.items
        );
        assert_eq!(
            office
                .count("select count(*) from held_change where reason = 'device_wiped'")
                .await,
            3,
            "once, though sent again"
        );
    }
    let after = office.rows(&STORE).await;
    assert_eq!(
        after
            .iter()
            .filter(|row| !row.starts_with("held_change"))
            .cloned()
            .collect::<Vec<_>>(),
        before
    );
    let reply = phone.push(false, &[]).await;
    assert!(matches!(
        reply.items[..],
        [ResponseItem::Wipe, ResponseItem::End { .. }]
    ));
    let answer: Answer = office
        .call(
            "GET",
            &format!("/v1/streets/{HOME}/cards"),
            Some(&phone.token),
            serde_json::Value::Null,
        )
        .await;
    assert_eq!(answer.status, StatusCode::UNAUTHORIZED);
}
