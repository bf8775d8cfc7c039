//! The server's clock jumps, forward and back: tokens, locks, leases, seals and sequences stay sane, and nothing is destroyed because of it.

use axum::http::StatusCode;
use lianka_server::upkeep::{sealing as seal, transfer_clock as clock};
use lianka_sync_core::{codec::wire::ResponseItem, kinds::Kind};
use serde_json::json;

use super::{assert_whole, assert_without_gap};
use crate::sync::phone::{HOME, Office, put, text};

const DAY_MS: i64 = 86_400_000;
const YEAR_MS: i64 = 365 * DAY_MS;

async fn renewed(office: &Office, refresh_token: &str) -> lianka_tests::Answer {
    office
        .call(
            "POST",
            "/v1/tokens",
            None,
            json!({ "refresh_token": refresh_token }),
        )
        .await
}

#[tokio::test]
async fn tokens_come_through_a_clock_that_was_wrong_for_a_while() {
    let office = Office::open().await;
    office.user("wang.fang", "secretary", Some(HOME)).await;
    let code = office.code("wang.fang").await;
    let session = office
        .call(
            "POST",
            "/v1/devices",
            None,
            json!({ "code": code, "name": "手机", "platform": "android" }),
        )
        .await
        .json;
    let mut refresh = text(&session["refresh_token"]);
    // Ahead by a year: everything has run out, and nobody is punished for asking.
    office.test.clock.step_ms(YEAR_MS);
    assert_eq!(renewed(&office, &refresh).await.code(), "refresh_invalid");
    office.test.clock.step_ms(-YEAR_MS);
    for step in [
        0,
        20 * DAY_MS,
        -20 * DAY_MS,
        -3 * DAY_MS,
        40 * DAY_MS,
        -37 * DAY_MS,
    ] {
        office.test.clock.step_ms(step);
        let answer = renewed(&office, &refresh).await;
        assert_eq!(
            answer.status,
            StatusCode::OK,
            "a step of {step} ms: {}",
            answer.json
        );
        refresh = text(&answer.json["refresh_token"]);
        let token = text(&answer.json["access_token"]);
        let hello = json!({ "type": "hello", "cursor": null, "client": "clock/1", "pull": false })
            .to_string();
        let request = axum::http::Request::post(format!("/v1/streets/{HOME}/sync"))
            .header("authorization", format!("Bearer {token}"))
            .header("content-type", "application/x-ndjson")
            .body(axum::body::Body::from(hello))
            .expect("a request");
        assert_eq!(
            office.test.send(request).await.status(),
            StatusCode::OK,
            "the new token is good after a step of {step} ms"
        );
    }
}

#[tokio::test]
async fn a_lock_made_in_a_wrong_future_does_not_last_until_then() {
    let office = Office::open().await;
    let user = json!({ "username": "chen.min", "display_name": "陈敏", "role": "reviewer", "street": HOME, "password": "Correct horse 7" });
    assert_eq!(
        office
            .call("POST", "/v1/users", Some(&office.admin), user)
            .await
            .status,
        StatusCode::CREATED
    );
    let sign_in = async |password: &str| {
        let body = json!({ "username": "chen.min", "password": password, "new_password": "Another horse 8" });
        office.call("POST", "/v1/sessions", None, body).await
    };
    office.test.clock.step_ms(YEAR_MS);
    for _ in 0..5 {
        assert_eq!(sign_in("wrong").await.code(), "bad_credentials");
    }
    let locked = sign_in("Correct horse 7").await;
    assert_eq!(locked.code(), "rate_limited");
    office.test.clock.step_ms(-YEAR_MS);
    assert_eq!(
        sign_in("Correct horse 7").await.status,
        StatusCode::CREATED,
        "the lock of five minutes is not one of a year"
    );
}

#[tokio::test]
async fn sequences_leases_and_the_audit_trail_do_not_follow_the_clock() {
    let office = Office::open().await;
    let mut desk = office.desk_phone("chen.min", "reviewer").await;
    let mut leases = Vec::new();
    for (n, step) in [0, 5 * 60_000, -9 * 60_000, 8 * 60_000, -60_000]
        .into_iter()
        .enumerate()
    {
        office.test.clock.step_ms(step);
        desk.create("A1", &[put("sign_name", &format!("店{n}"))]);
        let reply = desk.sync().await;
        assert_eq!(
            reply
                .verdicts()
                .iter()
                .map(|verdict| verdict.seq)
                .collect::<Vec<_>>(),
            [Some(n as u64 + 1)],
            "in commit order"
        );
        leases.extend(reply.items.iter().filter_map(|item| match item {
            ResponseItem::End { lease_seconds, .. } => Some(*lease_seconds),
            _ => None,
        }));
        seal::pass(&office.test.app.auth).await.expect("a pass");
    }
    assert_eq!(
        leases,
        [Some(7 * 86_400); 5],
        "a lease is a length of time, not a moment"
    );
    assert_without_gap(&office, "steps").await;
    assert_whole(&office, "steps").await;
    let mut other = office.secretary("wang.fang", &["A1"]).await;
    other.sync().await;
    assert_eq!(other.records.len(), 5);
}

/// An event of the audit trail, by somebody whose tokens have not run out.
async fn something_happens(office: &Office) {
    office.token("wang.fang").await;
}

#[tokio::test]
async fn a_clock_that_jumped_ahead_destroys_nothing() {
    let office = Office::open().await;
    let mut phone = office.secretary("wang.fang", &["A1"]).await;
    let fields = [
        ("kind", "transfer_request"),
        ("street", HOME),
        ("grid", "A1"),
        ("transfer_kind", "temporary"),
        ("member_alias", "老周"),
    ];
    phone.create_with(
        Kind::TransferRequest,
        "A1",
        &fields.map(|(key, value)| put(key, value)),
    );
    assert_eq!(phone.sync().await.codes(), ["accepted"]);
    seal::pass(&office.test.app.auth).await.expect("sealed");
    let app = &office.test.app;
    let pass = async || {
        clock::pass(&app.pool, &app.clock, &app.entropy)
            .await
            .expect("a pass")
            .events
    };
    // Set ahead by two years while the server ran: the draft is not months old, nor is the audit trail.
    app.clock.step_ms(2 * YEAR_MS);
    something_happens(&office).await;
    assert_eq!(
        (
            pass().await,
            seal::pass(&app.auth).await.expect("a pass").pruned
        ),
        (0, 0)
    );
    assert_eq!(office.count("select count(*) from record").await, 1);
    app.clock.step_ms(-2 * YEAR_MS);
    // Seals made in the wrong future do not stand in for those of the days between.
    something_happens(&office).await;
    app.clock.advance_ms(2 * DAY_MS);
    assert!(
        seal::pass(&app.auth).await.expect("a pass").sealed > 0,
        "sealed again when a day has passed"
    );
    assert_whole(&office, "a jump ahead").await;
    // Time that really passes is another matter.
    app.clock.advance_ms(31 * DAY_MS);
    assert_eq!(pass().await, 1, "the draft's thirty days are over");
}
