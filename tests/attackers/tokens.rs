//! Stolen tokens: where they are good for nothing, how soon they are found out, and what a replayed request does.

use std::sync::Arc;

use axum::{
    body::Body,
    http::{Request, StatusCode, header},
};
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use lianka_server::{
    Server,
    clock::Entropy,
    config::{KeyLock, ServeConfig},
};
use lianka_tests::{TestApp, fresh_database};
use serde_json::{Value, json};
use tower::ServiceExt;

use super::{NOBODY, everything, filled, routes, send};
use crate::sync::phone::{HOME, Office, STORE, put, text};

/// A secretary's phone, as its session.
async fn session(office: &Office, username: &str) -> Value {
    office.user(username, "secretary", Some(HOME)).await;
    another_session(office, username).await
}

async fn another_session(office: &Office, username: &str) -> Value {
    let code = office
        .call(
            "POST",
            "/v1/enrolments",
            Some(&office.admin),
            json!({ "username": username }),
        )
        .await
        .json["code"]
        .clone();
    let answer = office
        .call(
            "POST",
            "/v1/devices",
            None,
            json!({ "code": code, "name": "手机", "platform": "android" }),
        )
        .await;
    assert_eq!(answer.status, StatusCode::CREATED, "{}", answer.json);
    answer.json
}

async fn exchange(office: &Office, token: &Value) -> (u16, Value) {
    let answer = office
        .call(
            "POST",
            "/v1/tokens",
            None,
            json!({ "refresh_token": token }),
        )
        .await;
    (answer.status.as_u16(), answer.json)
}

#[tokio::test]
async fn a_token_is_taken_from_the_one_header_and_for_its_one_purpose() {
    let office = Office::open().await;
    let session = session(&office, "wang.fang").await;
    let (access, refresh) = (
        text(&session["access_token"]),
        text(&session["refresh_token"]),
    );
    let code = text(
        &office
            .call(
                "POST",
                "/v1/enrolments",
                Some(&office.admin),
                json!({ "username": "wang.fang" }),
            )
            .await
            .json["code"],
    );
    let get = |uri: &str| Request::get(uri);
    let bearer = |token: &str| format!("Bearer {token}");
    for (what, request) in [
        (
            "in the query",
            get(&format!("/v1/streets?access_token={access}&token={access}")),
        ),
        (
            "in a cookie",
            get("/v1/streets").header(
                header::COOKIE,
                format!("access_token={access}; session={access}"),
            ),
        ),
        (
            "in another header",
            get("/v1/streets")
                .header("x-access-token", &access)
                .header("x-authorization", bearer(&access)),
        ),
        (
            "for a proxy",
            get("/v1/streets").header(header::PROXY_AUTHORIZATION, bearer(&access)),
        ),
        (
            "as a password",
            get("/v1/streets").header(header::AUTHORIZATION, format!("Basic {access}")),
        ),
        (
            "beside another",
            get("/v1/streets")
                .header(header::AUTHORIZATION, bearer(&access))
                .header(header::AUTHORIZATION, bearer("x")),
        ),
        (
            "twice in one",
            get("/v1/streets").header(
                header::AUTHORIZATION,
                format!("Bearer {access}, Bearer {access}"),
            ),
        ),
        (
            "a refresh token",
            get("/v1/streets").header(header::AUTHORIZATION, bearer(&refresh)),
        ),
        (
            "an enrolment code",
            get("/v1/streets").header(header::AUTHORIZATION, bearer(&code)),
        ),
        (
            "a device's id",
            get("/v1/streets").header(header::AUTHORIZATION, bearer(&text(&session["device_id"]))),
        ),
    ] {
        let answer = send(&office, request.body(Body::empty()).expect("a request")).await;
        assert_eq!(
            answer.status,
            StatusCode::UNAUTHORIZED,
            "{what}: {}",
            answer.json
        );
    }
    for (what, token) in [
        ("an access token", &access),
        ("an enrolment code", &code),
        ("a hash", &"0".repeat(64)),
    ] {
        assert_eq!(exchange(&office, &json!(token)).await.0, 401, "{what}");
    }
    for (what, code) in [("an access token", &access), ("a refresh token", &refresh)] {
        let answer = office
            .call(
                "POST",
                "/v1/devices",
                None,
                json!({ "code": code, "name": "x", "platform": "android" }),
            )
            .await;
        assert_eq!(answer.code(), "enrolment_refused", "{what}");
    }
    assert_eq!(
        exchange(&office, &json!(refresh)).await.0,
        200,
        "none of it spent the true one"
    );
}

#[tokio::test]
async fn a_thief_of_a_refresh_token_is_out_as_soon_as_the_owner_comes_back() {
    let office = Office::open().await;
    let owner = session(&office, "wang.fang").await;
    // The thief is quicker, and goes on for a while.
    let (_, stolen) = exchange(&office, &owner["refresh_token"]).await;
    let (status, stolen) = exchange(&office, &stolen["refresh_token"]).await;
    assert_eq!(status, 200);
    let let_in = async |session: &Value| {
        office
            .call(
                "GET",
                "/v1/streets",
                session["access_token"].as_str(),
                Value::Null,
            )
            .await
    };
    assert_eq!(let_in(&stolen).await.status, StatusCode::OK);
    // The owner's next exchange gives the alarm: chain and device are gone for both, at once.
    let (status, problem) = exchange(&office, &owner["refresh_token"]).await;
    assert_eq!((status, &problem["code"]), (401, &json!("refresh_reused")));
    assert_eq!(let_in(&stolen).await.code(), "device_revoked");
    assert_eq!(let_in(&owner).await.code(), "device_revoked");
    assert_eq!(exchange(&office, &stolen["refresh_token"]).await.0, 401);
    let told = "select count(*) from audit_event where action = 'token_reused'";
    assert_eq!(office.count(told).await, 1);
    // The thief has learnt nothing that outlives it: a new enrolment is a new device.
    let again = another_session(&office, "wang.fang").await;
    assert_ne!(again["device_id"], owner["device_id"]);
    assert_eq!(let_in(&again).await.status, StatusCode::OK);
}

/// On every route: a stateless token would go on to the end of its quarter of an hour.
#[tokio::test]
async fn a_stolen_access_token_ends_with_its_device_or_account_on_every_route() {
    let office = Office::open().await;
    for (username, role) in [
        ("revoked", "admin"),
        ("disabled", "admin"),
        ("signed.out", "admin"),
    ] {
        office.user(username, role, None).await;
    }
    let [revoked, disabled, signed_out] = [
        another_session(&office, "revoked").await,
        another_session(&office, "disabled").await,
        another_session(&office, "signed.out").await,
    ];
    let device = text(&revoked["device_id"]);
    let answer = office
        .call(
            "DELETE",
            &format!("/v1/devices/{device}"),
            Some(&office.admin),
            Value::Null,
        )
        .await;
    assert_eq!(answer.status, StatusCode::OK);
    let answer = office
        .call(
            "PATCH",
            "/v1/users/disabled",
            Some(&office.admin),
            json!({ "disabled": true }),
        )
        .await;
    assert_eq!(answer.status, StatusCode::OK);
    let answer = office
        .call(
            "DELETE",
            "/v1/sessions",
            signed_out["access_token"].as_str(),
            Value::Null,
        )
        .await;
    assert_eq!(answer.status, StatusCode::NO_CONTENT, "{}", answer.json);
    for (session, code) in [
        (&revoked, "device_revoked"),
        (&disabled, "account_disabled"),
        (&signed_out, "device_revoked"),
    ] {
        for route in routes().filter(|route| !route.roles.is_empty()) {
            let path = filled(route.path, HOME, NOBODY);
            let answer = office
                .call(
                    route.method,
                    &path,
                    session["access_token"].as_str(),
                    Value::Null,
                )
                .await;
            assert_eq!(
                (answer.status.as_u16(), answer.code()),
                (401, code),
                "{} {path}",
                route.method
            );
        }
        assert_eq!(exchange(&office, &session["refresh_token"]).await.0, 401);
    }
    let told: i64 = office.count("select count(*) from audit_event where action = 'device_revoked' and username = 'signed.out'").await;
    assert_eq!(told, 1, "the trail tells who signed out");
}

/// A deployment whose key bears our key's name, and whose users have our users' names.
#[tokio::test]
async fn a_token_of_a_deployment_that_calls_its_key_like_ours_is_refused() {
    let here = Office::open().await;
    let there =
        Office::on(TestApp::start_on(fresh_database().await, ServeConfig::for_tests(), 7).await)
            .await;
    let kid = |office: &Office| {
        let pool = office.test.app.pool.clone();
        async move {
            sqlx::query_scalar::<_, String>("select kid from signing_key")
                .fetch_one(&pool)
                .await
                .expect("a key")
        }
    };
    assert_ne!(
        kid(&here).await,
        kid(&there).await,
        "keys are drawn, not shared"
    );
    sqlx::query("update signing_key set kid = $1")
        .bind(kid(&here).await)
        .execute(&there.test.app.pool)
        .await
        .expect("renamed");
    there.test.clock.advance_ms(120_000);
    let forged = there.token("root").await;
    assert_eq!(
        there
            .call("GET", "/v1/streets", Some(&forged), Value::Null)
            .await
            .status,
        StatusCode::OK
    );
    let answer = here
        .call("GET", "/v1/streets", Some(&forged), Value::Null)
        .await;
    assert_eq!(answer.code(), "token_invalid", "{}", answer.json);
}

/// A stolen backup: with the operator's lock it holds nothing that signs.
#[tokio::test]
async fn a_backup_signs_nothing_where_the_operator_has_a_lock() {
    let lock = |digits: &str| KeyLock::of_text(&digits.repeat(32)).map(Arc::new);
    let locked = || ServeConfig {
        key_lock: lock("a1"),
        ..ServeConfig::for_tests()
    };
    let office = Office::on(TestApp::start_with(locked()).await).await;
    let stored = async || {
        sqlx::query_scalar::<_, Vec<u8>>("select secret from signing_key")
            .fetch_all(&office.test.app.pool)
            .await
            .expect("keys")
    };
    let keys = stored().await;
    assert!(keys.len() == 1 && keys[0].len() == 61, "{keys:?}");
    // Nothing in the row, at any place, is the seed of the public key that tokens are held to.
    let jwks = office
        .call("GET", "/.well-known/jwks.json", None, Value::Null)
        .await
        .json;
    let public = URL_SAFE_NO_PAD
        .decode(text(&jwks["keys"][0]["x"]))
        .expect("base64");
    for part in keys[0].windows(32) {
        let seed: [u8; 32] = part.try_into().expect("32 bytes");
        assert_ne!(
            ed25519_dalek::SigningKey::from_bytes(&seed)
                .verifying_key()
                .as_bytes()
                .as_slice(),
            public
        );
    }
    // Another server with the lock takes the tokens; one with another, or with none, does not work at all.
    let server = async |config: ServeConfig| {
        let app = Server::start(
            office.test.app.pool.clone(),
            Arc::new(config),
            office.test.clock.clone(),
            Entropy::seeded(3),
        );
        let app = app.await.expect("it starts");
        let checked = app.auth.check_keys().await;
        let request = Request::get("/v1/streets")
            .header(header::AUTHORIZATION, format!("Bearer {}", office.admin))
            .body(Body::empty());
        let answer = lianka_server::router(&app)
            .oneshot(request.expect("a request"))
            .await
            .expect("an answer");
        (checked.is_ok(), answer.status().as_u16())
    };
    assert_eq!(server(locked()).await, (true, 200));
    assert_eq!(
        server(ServeConfig {
            key_lock: lock("a2"),
            ..ServeConfig::for_tests()
        })
        .await,
        (false, 500)
    );
    assert_eq!(server(ServeConfig::for_tests()).await, (false, 500));
    assert_eq!(stored().await, keys);
}

#[tokio::test]
async fn keys_from_before_the_lock_are_put_under_it_and_their_tokens_live_on() {
    let office = Office::open().await;
    let length = "select length(secret)::bigint from signing_key";
    assert_eq!(office.count(length).await, 32);
    let config = ServeConfig {
        key_lock: KeyLock::of_text(&"a1".repeat(32)).map(Arc::new),
        ..ServeConfig::for_tests()
    };
    let app = Server::start(
        office.test.app.pool.clone(),
        Arc::new(config),
        office.test.clock.clone(),
        Entropy::seeded(3),
    )
    .await;
    let router = lianka_server::router(&app.expect("it starts"));
    for _ in 0..2 {
        let request = Request::get("/v1/streets")
            .header(header::AUTHORIZATION, format!("Bearer {}", office.admin))
            .body(Body::empty());
        let answer = router
            .clone()
            .oneshot(request.expect("a request"))
            .await
            .expect("an answer");
        assert_eq!(answer.status(), StatusCode::OK);
        assert_eq!(office.count(length).await, 61);
        office.test.clock.advance_ms(61_000);
    }
}

#[tokio::test]
async fn a_captured_request_sent_again_does_nothing_more() {
    let office = Office::open().await;
    let mut phone = office.secretary("wang.fang", &["A1"]).await;
    let card = phone.create("A1", &[put("sign_name", "王记包子")]);
    let captured = phone.outbox.clone();
    assert_eq!(phone.sync().await.codes(), ["accepted"]);
    let reviewer = office.desk_phone("reviewer", "reviewer").await;
    let before = office.rows(&STORE).await;
    assert_eq!(
        phone.push(false, &captured).await.codes(),
        ["duplicate"],
        "by the one who sent it"
    );
    assert_ne!(
        reviewer.push(false, &captured).await.codes(),
        ["accepted"],
        "by another device"
    );
    assert_eq!(office.rows(&STORE).await, before);
    // An erasure answers with its receipt, and a revocation with its time.
    let erase = format!("/v1/streets/{HOME}/records/{card}/erase");
    let post = async || {
        office
            .call(
                "POST",
                &erase,
                Some(&office.admin),
                json!({ "reason": "subject_request" }),
            )
            .await
    };
    let first = post().await;
    assert_eq!(first.status, StatusCode::OK, "{}", first.json);
    let before = everything(&office).await;
    assert_eq!(post().await.json["receipt"], first.json["receipt"]);
    // What was captured before the erasure brings nothing back.
    assert_eq!(phone.push(false, &captured).await.codes(), ["erased"]);
    assert_eq!(everything(&office).await, before);
}
