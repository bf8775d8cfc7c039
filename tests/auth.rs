//! Signing in, roles by route, devices, accounts and streets: what is refused first, then what works.

use axum::{
    body::Body,
    http::{Request, StatusCode, header},
};
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use lianka_server::auth::{self, access::Who};
use lianka_sync_core::access::Role;
use lianka_tests::{Answer, TestApp};
use serde_json::{Value, json};

const HOME: &str = "310104003";
const OTHER: &str = "310105009";
const PASSWORD: &str = "a long enough password";

/// A server with two streets, three grids in the first and one in the second, and an admin of the deployment.
struct Office {
    test: TestApp,
    admin: String,
}

impl Office {
    async fn open() -> Self {
        let test = TestApp::start().await;
        let app = &test.app;
        auth::create_admin(
            &app.pool,
            &app.clock,
            &app.entropy,
            "root",
            "总管",
            PASSWORD.into(),
        )
        .await
        .expect("the first admin");
        let mut office = Self {
            test,
            admin: String::new(),
        };
        office.admin = office.token_of("root").await;
        for (street, name) in [(HOME, "天平路街道"), (OTHER, "虹桥街道")] {
            office
                .post(
                    "/v1/streets",
                    json!({ "street": street, "name": name, "district": "上海" }),
                )
                .await;
        }
        for (street, grid) in [(HOME, "A1"), (HOME, "A2"), (HOME, "A3"), (OTHER, "B1")] {
            let grid = json!({ "grid": grid, "name": format!("{grid}网格"), "area": "康平" });
            office
                .post(&format!("/v1/streets/{street}/grids"), grid)
                .await;
        }
        office
    }

    async fn call(&self, method: &str, path: &str, token: Option<&str>, json: Value) -> Answer {
        let json = (!json.is_null()).then_some(json);
        self.test.request(method, path, token, json.as_ref()).await
    }

    /// As the admin, successfully.
    async fn post(&self, path: &str, json: Value) -> Value {
        let answer = self.call("POST", path, Some(&self.admin), json).await;
        assert!(answer.status.is_success(), "{path}: {}", answer.json);
        answer.json
    }

    async fn user(&self, username: &str, role: &str, street: Option<&str>) {
        let user = json!({ "username": username, "display_name": username, "role": role, "street": street, "password": PASSWORD });
        self.post("/v1/users", user).await;
    }

    async fn sign_in(&self, username: &str, password: &str) -> Answer {
        self.call(
            "POST",
            "/v1/sessions",
            None,
            json!({ "username": username, "password": password }),
        )
        .await
    }

    async fn token_of(&self, username: &str) -> String {
        let answer = self.sign_in(username, PASSWORD).await;
        assert_eq!(answer.status, StatusCode::CREATED, "{}", answer.json);
        text(&answer.json["access_token"])
    }

    async fn enrolment(&self, username: &str) -> String {
        text(
            &self
                .post("/v1/enrolments", json!({ "username": username }))
                .await["code"],
        )
    }

    async fn enrol(&self, code: &str) -> Answer {
        self.call(
            "POST",
            "/v1/devices",
            None,
            json!({ "code": code, "name": "小王的手机", "platform": "android" }),
        )
        .await
    }

    /// A secretary with a phone, and the phone's session.
    async fn phone(&self, username: &str) -> Value {
        self.user(username, "secretary", Some(HOME)).await;
        let answer = self.enrol(&self.enrolment(username).await).await;
        assert_eq!(answer.status, StatusCode::CREATED, "{}", answer.json);
        answer.json
    }

    async fn refresh(&self, token: &Value) -> Answer {
        self.call(
            "POST",
            "/v1/tokens",
            None,
            json!({ "refresh_token": token }),
        )
        .await
    }

    /// Whether the access token of a session is let in.
    async fn is_let_in(&self, session: &Value) -> Answer {
        self.call(
            "GET",
            "/v1/streets",
            session["access_token"].as_str(),
            Value::Null,
        )
        .await
    }

    async fn revoke(&self, session: &Value, query: &str) -> Answer {
        self.call(
            "DELETE",
            &format!("/v1/devices/{}{query}", text(&session["device_id"])),
            Some(&self.admin),
            Value::Null,
        )
        .await
    }

    fn pass_seconds(&self, seconds: i64) {
        self.test.clock.advance_ms(seconds * 1000);
    }
}

fn text(value: &Value) -> String {
    value
        .as_str()
        .unwrap_or_else(|| panic!("not a text: {value}"))
        .to_owned()
}

#[track_caller]
fn refused(answer: &Answer, status: u16, code: &str) {
    assert_eq!(
        (answer.status.as_u16(), answer.code()),
        (status, code),
        "{}",
        answer.json
    );
    assert_eq!(
        answer.headers[header::CONTENT_TYPE],
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
            !answer.json[key].is_null(),
            "{key} is missing in {}",
            answer.json
        );
    }
    assert_eq!(answer.json["status"], status);
    assert_eq!(
        answer.json["request_id"],
        answer.headers["x-request-id"].to_str().unwrap()
    );
}

#[track_caller]
fn breaks(answer: &Answer, field: &str, rule: &str) {
    refused(answer, 422, "invalid_field");
    assert_eq!(
        (answer.json["field"].as_str(), answer.json["rule"].as_str()),
        (Some(field), Some(rule)),
        "{}",
        answer.json
    );
}

/// A path of the table with something in place of its parameters.
fn filled(path: &str, street: &str) -> String {
    path.replace("{street}", street)
        .replace("{device}", "01980000-0000-7000-8000-000000000001")
        .replace("{record}", "01980000-0000-7000-8000-000000000002")
        .replace("{username}", "wang.fang")
}

// A route that needs no token is not walked here; which those are is fixed below.
fn guarded() -> impl Iterator<Item = (&'static str, &'static str, &'static [Role])> {
    lianka_server::rules()
        .iter()
        .filter_map(|row| match row.who {
            Who::Anyone => None,
            Who::Roles(roles) => Some((row.method.as_str(), row.path.as_str(), roles)),
        })
}

#[tokio::test]
async fn no_route_answers_without_a_token_except_those_that_make_or_explain_one() {
    let office = Office::open().await;
    for (method, path, _) in guarded() {
        let answer = office
            .call(method, &filled(path, HOME), None, Value::Null)
            .await;
        refused(&answer, 401, "unauthenticated");
        assert_eq!(
            answer.headers[header::WWW_AUTHENTICATE],
            "Bearer",
            "{method} {path}"
        );
    }
    let mut open: Vec<_> = lianka_server::rules()
        .iter()
        .filter(|row| row.who == Who::Anyone)
        .map(|row| format!("{} {}", row.method, row.path))
        .collect();
    open.sort();
    let expected = [
        "GET /.well-known/jwks.json",
        "GET /healthz",
        "GET /readyz",
        "GET /v1/docs",
        "GET /v1/docs/page.js",
        "GET /v1/openapi.json",
        "POST /v1/devices",
        "POST /v1/sessions",
        "POST /v1/tokens",
    ];
    assert_eq!(open, expected);
}

#[tokio::test]
async fn every_route_refuses_every_role_that_the_table_does_not_name() {
    let office = Office::open().await;
    for role in Role::ALL {
        office.user(role.as_str(), role.as_str(), Some(HOME)).await;
        let token = office.token_of(role.as_str()).await;
        for (method, path, _) in guarded().filter(|(_, _, roles)| !roles.contains(&role)) {
            let answer = office
                .call(method, &filled(path, HOME), Some(&token), Value::Null)
                .await;
            refused(&answer, 403, "wrong_role");
        }
    }
}

#[tokio::test]
async fn every_route_of_a_street_refuses_everybody_of_another() {
    let office = Office::open().await;
    for role in Role::ALL {
        office.user(role.as_str(), role.as_str(), Some(HOME)).await;
        let token = office.token_of(role.as_str()).await;
        for (method, path, _) in
            guarded().filter(|(_, path, roles)| path.contains("{street}") && roles.contains(&role))
        {
            let there = office
                .call(method, &filled(path, OTHER), Some(&token), Value::Null)
                .await;
            refused(&there, 403, "wrong_street");
            // A street that does not exist cannot be told from one that does.
            let nowhere = office
                .call(
                    method,
                    &filled(path, "999999999"),
                    Some(&token),
                    Value::Null,
                )
                .await;
            refused(&nowhere, 403, "wrong_street");
            assert_eq!(there.json["detail"], nowhere.json["detail"]);
            refused(
                &office
                    .call(method, &filled(path, "nowhere"), Some(&token), Value::Null)
                    .await,
                404,
                "not_found",
            );
        }
    }
}

/// Everything that another street has: its rows in every table that carries a street, and what belongs to its users.
async fn everything_of(office: &Office, street: &str) -> Vec<String> {
    let pool = &office.test.app.pool;
    let tables: Vec<String> = sqlx::query_scalar(
        "select table_name::text from information_schema.columns where table_schema = 'public' and column_name = 'street' order by 1",
    )
    .fetch_all(pool)
    .await
    .unwrap();
    let mut all = Vec::new();
    let of_street = |table: String| {
        format!("select '{table} ' || t::text from {table} t where street = '{street}'")
    };
    let of_users = |table: &str| {
        format!(
            "select '{table} ' || t::text from {table} t join account a using (username) where a.street = '{street}'"
        )
    };
    for statement in tables
        .into_iter()
        .map(of_street)
        .chain(["device", "enrolment"].map(of_users))
    {
        let rows: Vec<String> = sqlx::query_scalar(sqlx::AssertSqlSafe(statement))
            .fetch_all(pool)
            .await
            .unwrap();
        all.extend(rows);
    }
    all.sort();
    all
}

/// A value for a property of a request's body, chosen by its name so that it points into the other street wherever it can.
fn pointing_elsewhere(name: &str, schema: &Value, api: &Value) -> Value {
    let kind = schema["type"]
        .as_str()
        .or_else(|| {
            schema["type"]
                .as_array()
                .and_then(|kinds| kinds[0].as_str())
        })
        .unwrap_or("string");
    match name {
        "street" => json!(OTHER),
        "username" => json!("there"),
        "grid" => json!("B1"),
        "grids" => json!(["B1"]),
        "role" => json!("secretary"),
        "record" | "winner" | "card" => json!(THEIR_RECORD),
        "records" | "cards" => json!([THEIR_RECORD]),
        "password" | "new_password" => json!("Another pass 2026"),
        _ => match kind {
            "boolean" => json!(true),
            "integer" | "number" => json!(1),
            "array" => json!([]),
            "object" => json!({}),
            _ if schema["$ref"].is_string() => body_for(schema, api),
            _ => json!("x"),
        },
    }
}

fn body_for(schema: &Value, api: &Value) -> Value {
    let schema = match schema["$ref"].as_str() {
        Some(path) => api
            .pointer(path.trim_start_matches('#'))
            .expect("the schema is there"),
        None => schema,
    };
    let properties = schema["properties"]
        .as_object()
        .cloned()
        .unwrap_or_default();
    properties
        .iter()
        .map(|(name, schema)| (name.clone(), pointing_elsewhere(name, schema, api)))
        .collect()
}

const THEIR_RECORD: &str = "01980000-0000-7000-8000-0000000000aa";

/// Generated from the route table and the documented bodies: a new route, or a new key in a body, is tried without a word here.
#[tokio::test]
async fn no_route_reaches_another_street_by_what_stands_in_its_path_or_body() {
    let office = Office::open().await;
    office.user("there", "secretary", Some(OTHER)).await;
    let device = text(&office.enrol(&office.enrolment("there").await).await.json["device_id"]);
    sqlx::query("insert into record (street, record, kind, grid, generation, seq, grid_seq, state) values ($1, $2::uuid, 'shop_card', 'B1', 1, 1, 1, '')")
        .bind(OTHER)
        .bind(THEIR_RECORD)
        .execute(&office.test.app.pool)
        .await
        .unwrap();
    let api = office
        .call("GET", "/v1/openapi.json", None, Value::Null)
        .await
        .json;
    let before = everything_of(&office, OTHER).await;
    assert!(
        before.iter().any(|row| row.starts_with("record "))
            && before.iter().any(|row| row.starts_with("device "))
    );
    for role in Role::ALL {
        office.user(role.as_str(), role.as_str(), Some(HOME)).await;
        for (method, path, _) in guarded().filter(|(_, _, roles)| roles.contains(&role)) {
            let schema = &api["paths"][path][method.to_ascii_lowercase()]["requestBody"]["content"]
                ["application/json"]["schema"];
            let body = if schema.is_null() {
                Value::Null
            } else {
                body_for(schema, &api)
            };
            let path = path
                .replace("{street}", HOME)
                .replace("{device}", &device)
                .replace("{username}", "there");
            // Whatever else a path names is theirs.
            let path = path
                .split('/')
                .map(|part| {
                    if part.starts_with('{') {
                        THEIR_RECORD
                    } else {
                        part
                    }
                })
                .collect::<Vec<_>>()
                .join("/");
            let token = office.token_of(role.as_str()).await;
            let answer = office.call(method, &path, Some(&token), body.clone()).await;
            assert!(
                !answer.status.is_server_error(),
                "{role} {method} {path} {body}: {}",
                answer.json
            );
            let names_them =
                path.contains(THEIR_RECORD) || path.contains(&device) || path.contains("there");
            assert!(
                !names_them || answer.status.is_client_error(),
                "{role} {method} {path} {body}: {} {}",
                answer.status,
                answer.json
            );
            let shown = String::from_utf8_lossy(&answer.body).into_owned();
            assert!(
                !shown.contains("虹桥街道") && !shown.contains("B1网格"),
                "{role} {method} {path} shows {shown}"
            );
            assert_eq!(
                everything_of(&office, OTHER).await,
                before,
                "{role} {method} {path} {body}: {}",
                answer.json
            );
        }
    }
}

#[tokio::test]
async fn a_token_that_is_not_ours_is_refused() {
    let office = Office::open().await;
    let session = office.phone("wang.fang").await;
    let token = text(&session["access_token"]);
    let parts: Vec<&str> = token.split('.').collect();
    let [head, claims, signature] = parts[..] else {
        panic!("not a JWT: {token}")
    };
    let decoded = |part: &str| -> Value {
        serde_json::from_slice(&URL_SAFE_NO_PAD.decode(part).unwrap()).unwrap()
    };
    let encoded = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
    let with = |value: &Value, key: &str, new: Value| {
        let mut value = value.clone();
        value[key] = new;
        encoded(&value)
    };
    let header = decoded(head);
    let mut flipped = URL_SAFE_NO_PAD.decode(signature).unwrap();
    flipped[0] ^= 1;
    let forged = [
        (
            "alg none",
            format!("{}.{claims}.", with(&header, "alg", json!("none"))),
        ),
        (
            "alg none, with the signature",
            format!(
                "{}.{claims}.{signature}",
                with(&header, "alg", json!("none"))
            ),
        ),
        (
            "another algorithm",
            format!(
                "{}.{claims}.{signature}",
                with(&header, "alg", json!("HS256"))
            ),
        ),
        (
            "an unknown key",
            format!(
                "{}.{claims}.{signature}",
                with(&header, "kid", json!("0000000000000000"))
            ),
        ),
        (
            "no key",
            format!(
                "{}.{claims}.{signature}",
                encoded(&json!({ "alg": "EdDSA" }))
            ),
        ),
        (
            "another user",
            format!(
                "{head}.{}.{signature}",
                with(&decoded(claims), "sub", json!("root"))
            ),
        ),
        (
            "a later expiry",
            format!(
                "{head}.{}.{signature}",
                with(&decoded(claims), "exp", json!(4_000_000_000_u32))
            ),
        ),
        (
            "another signature",
            format!("{head}.{claims}.{}", URL_SAFE_NO_PAD.encode(flipped)),
        ),
        ("no signature", format!("{head}.{claims}.")),
        ("two parts", format!("{head}.{claims}")),
        ("not a token", "hello".into()),
        ("too long", format!("{head}.{claims}.{}", "A".repeat(5000))),
    ];
    for (what, forged) in forged {
        let answer = office
            .call("GET", "/v1/streets", Some(&forged), Value::Null)
            .await;
        assert_eq!(
            (answer.status.as_u16(), answer.code()),
            (401, "token_invalid"),
            "{what}: {}",
            answer.json
        );
    }
    assert_eq!(office.is_let_in(&session).await.status, StatusCode::OK);
}

#[tokio::test]
async fn a_token_of_another_deployment_is_refused() {
    let (here, there) = (Office::open().await, Office::open().await);
    // The seeds are the same, so the keys are as well: only a key of one's own tells deployments apart.
    sqlx::query("update signing_key set kid = 'another'")
        .execute(&there.test.app.pool)
        .await
        .unwrap();
    there.pass_seconds(120);
    let token = there.token_of("root").await;
    refused(
        &here
            .call("GET", "/v1/streets", Some(&token), Value::Null)
            .await,
        401,
        "token_invalid",
    );
}

#[tokio::test]
async fn a_token_expires_by_the_servers_clock() {
    let office = Office::open().await;
    let session = office.phone("wang.fang").await;
    assert_eq!(session["expires_in"], 900);
    office.pass_seconds(899);
    assert_eq!(office.is_let_in(&session).await.status, StatusCode::OK);
    office.pass_seconds(1);
    refused(&office.is_let_in(&session).await, 401, "token_expired");
}

#[tokio::test]
async fn keys_rotate_without_anybody_noticing() {
    let office = Office::open().await;
    let mut session = office.phone("wang.fang").await;
    let mut keys = std::collections::HashSet::new();
    // Ninety days, ten minutes short of which no token is ever refused.
    for _ in 0..90 {
        office.pass_seconds(86_400 - 600);
        session = office.refresh(&session["refresh_token"]).await.json;
        office.pass_seconds(600);
        assert_eq!(
            office.is_let_in(&session).await.status,
            StatusCode::OK,
            "{session}"
        );
        let head = text(&session["access_token"])
            .split('.')
            .next()
            .map(|head| URL_SAFE_NO_PAD.decode(head).unwrap())
            .unwrap();
        let kid = text(&serde_json::from_slice::<Value>(&head).unwrap()["kid"]);
        let published = office
            .call("GET", "/.well-known/jwks.json", None, Value::Null)
            .await;
        let published = published.json["keys"].as_array().unwrap().clone();
        assert!(published.iter().any(|key| key["kid"] == *kid));
        assert!(
            published.iter().all(|key| key["kty"] == "OKP"
                && key["crv"] == "Ed25519"
                && key.get("d").is_none())
        );
        assert!(published.len() <= 3, "{published:?}");
        keys.insert(kid);
    }
    assert!((3..=4).contains(&keys.len()), "{keys:?}");
    let kept: i64 = sqlx::query_scalar("select count(*) from signing_key")
        .fetch_one(&office.test.app.pool)
        .await
        .unwrap();
    assert!(kept <= 3, "secrets that verify nothing are erased");
}

#[tokio::test]
async fn a_forgotten_key_verifies_nothing() {
    let office = Office::open().await;
    let session = office.phone("wang.fang").await;
    sqlx::query("update signing_key set forgotten_at = created_at")
        .execute(&office.test.app.pool)
        .await
        .unwrap();
    office.pass_seconds(60);
    refused(&office.is_let_in(&session).await, 401, "token_invalid");
}

#[tokio::test]
async fn a_second_server_takes_the_tokens_of_the_first() {
    let office = Office::open().await;
    let session = office.phone("wang.fang").await;
    let app = lianka_server::Server::start(
        office.test.app.pool.clone(),
        office.test.app.config.clone(),
        office.test.clock.clone(),
        lianka_server::clock::Entropy::seeded(2),
    );
    let second = lianka_server::router(&app.await.unwrap());
    let request = Request::get("/v1/streets").header(
        header::AUTHORIZATION,
        format!("Bearer {}", text(&session["access_token"])),
    );
    let response = tower::ServiceExt::oneshot(second, request.body(Body::empty()).unwrap())
        .await
        .unwrap();
    assert_eq!(response.status(), StatusCode::OK);
}

#[tokio::test]
async fn a_revoked_device_is_refused_at_once_and_gets_no_new_token() {
    let office = Office::open().await;
    let session = office.phone("wang.fang").await;
    let revoked = office.revoke(&session, "").await;
    assert_eq!(
        (revoked.status, &revoked.json["wipe"]),
        (StatusCode::OK, &json!(false))
    );
    refused(&office.is_let_in(&session).await, 401, "device_revoked");
    refused(
        &office.refresh(&session["refresh_token"]).await,
        401,
        "device_revoked",
    );
    let at = revoked.json["revoked_at"].clone();
    office.pass_seconds(5);
    assert_eq!(
        office.revoke(&session, "").await.json["revoked_at"],
        at,
        "repeating it changes nothing"
    );
}

#[tokio::test]
async fn a_device_to_be_wiped_keeps_its_tokens_but_only_the_sync_route_is_open_to_it() {
    let office = Office::open().await;
    let session = office.phone("wang.fang").await;
    assert_eq!(
        office.revoke(&session, "?wipe=true").await.json["wipe"],
        true
    );
    let renewed = office.refresh(&session["refresh_token"]).await;
    assert_eq!(
        (renewed.status, &renewed.json["streets"]),
        (StatusCode::OK, &json!([]))
    );
    for (method, path, _) in guarded() {
        let open = lianka_server::rules()
            .iter()
            .any(|row| row.path == path && row.method == method && row.wiped_devices);
        if !open {
            let answer = office
                .call(
                    method,
                    &filled(path, HOME),
                    renewed.json["access_token"].as_str(),
                    Value::Null,
                )
                .await;
            refused(&answer, 401, "device_revoked");
        }
    }
    sqlx::query("update account set disabled_at = now() where username = 'wang.fang'")
        .execute(&office.test.app.pool)
        .await
        .unwrap();
    let renewed = office.refresh(&renewed.json["refresh_token"]).await;
    assert_eq!(
        renewed.status,
        StatusCode::OK,
        "its user is gone, but it must still be told: {}",
        renewed.json
    );
    let open: Vec<_> = lianka_server::rules()
        .iter()
        .filter(|row| row.wiped_devices)
        .map(|row| row.path.as_str())
        .collect();
    assert!(open.iter().all(|path| path.ends_with("/sync")), "{open:?}");
}

#[tokio::test]
async fn a_disabled_account_is_out() {
    let office = Office::open().await;
    let session = office.phone("wang.fang").await;
    let code = office.enrolment("wang.fang").await;
    sqlx::query("update account set disabled_at = now() where username = 'wang.fang'")
        .execute(&office.test.app.pool)
        .await
        .unwrap();
    refused(&office.is_let_in(&session).await, 401, "account_disabled");
    refused(
        &office.refresh(&session["refresh_token"]).await,
        401,
        "account_disabled",
    );
    refused(&office.enrol(&code).await, 401, "enrolment_refused");
    refused(
        &office.sign_in("wang.fang", PASSWORD).await,
        401,
        "bad_credentials",
    );
    breaks(
        &office
            .call(
                "POST",
                "/v1/enrolments",
                Some(&office.admin),
                json!({ "username": "wang.fang" }),
            )
            .await,
        "username",
        "enabled",
    );
}

#[tokio::test]
async fn role_and_street_are_the_databases_word_and_not_the_tokens() {
    let office = Office::open().await;
    office.user("li.na", "admin", Some(HOME)).await;
    let token = office.token_of("li.na").await;
    let users = format!("/v1/streets/{HOME}/assignments/li.na");
    assert_eq!(
        office
            .call("GET", &users, Some(&token), Value::Null)
            .await
            .status,
        StatusCode::OK
    );
    sqlx::query("update account set street = $1 where username = 'li.na'")
        .bind(OTHER)
        .execute(&office.test.app.pool)
        .await
        .unwrap();
    refused(
        &office.call("GET", &users, Some(&token), Value::Null).await,
        403,
        "wrong_street",
    );
    sqlx::query("update account set role = 'auditor' where username = 'li.na'")
        .execute(&office.test.app.pool)
        .await
        .unwrap();
    refused(
        &office.call("GET", &users, Some(&token), Value::Null).await,
        403,
        "wrong_role",
    );
}

#[tokio::test]
async fn an_enrolment_code_that_is_wrong_used_or_expired_is_refused_in_one_and_the_same_way() {
    let office = Office::open().await;
    office.user("wang.fang", "secretary", Some(HOME)).await;
    let expired = office.enrolment("wang.fang").await;
    office.pass_seconds(600);
    let used = office.enrolment("wang.fang").await;
    assert_eq!(office.enrol(&used).await.status, StatusCode::CREATED);
    let fresh = office.enrolment("wang.fang").await;
    let mut answers = Vec::new();
    for code in [
        used.as_str(),
        expired.as_str(),
        "0000000000",
        "",
        "a\u{0}b",
        "号码",
    ] {
        let mut answer = office.enrol(code).await;
        refused(&answer, 401, "enrolment_refused");
        answer.json["request_id"] = Value::Null;
        answers.push(answer.json);
    }
    assert!(
        answers.iter().all(|answer| *answer == answers[0]),
        "{answers:?}"
    );
    office.pass_seconds(599);
    assert_eq!(office.enrol(&fresh).await.status, StatusCode::CREATED);
}

#[tokio::test]
async fn a_code_is_good_for_one_of_two_devices_that_spend_it_at_once() {
    let office = Office::open().await;
    office.user("wang.fang", "secretary", Some(HOME)).await;
    let code = office.enrolment("wang.fang").await;
    let (one, two) = futures::join!(office.enrol(&code), office.enrol(&code));
    let mut statuses = [one.status.as_u16(), two.status.as_u16()];
    statuses.sort_unstable();
    assert_eq!(statuses, [201, 401]);
}

#[tokio::test]
async fn enrolling_gives_tokens_the_user_and_the_assigned_grids() {
    let office = Office::open().await;
    office.user("wang.fang", "secretary", Some(HOME)).await;
    let assignments = format!("/v1/streets/{HOME}/assignments/wang.fang");
    office
        .call(
            "PUT",
            &assignments,
            Some(&office.admin),
            json!({ "grids": ["A3", "A1"] }),
        )
        .await;
    let code = office.enrolment("wang.fang").await;
    assert!(
        code.len() == 10 && !code.contains(['I', 'L', 'O', 'U']),
        "{code}"
    );
    let typed = format!("{} {}", code[..5].to_lowercase(), &code[5..]);
    let answer = office.enrol(&typed).await;
    assert_eq!(answer.headers[header::CACHE_CONTROL], "no-store");
    let session = answer.json;
    assert_eq!(
        session["user"],
        json!({ "username": "wang.fang", "display_name": "wang.fang", "role": "secretary" })
    );
    let grid = |grid: &str| json!({ "grid": grid, "name": format!("{grid}网格"), "area": "康平" });
    let street = json!({ "street": HOME, "name": "天平路街道", "district": "上海", "grids": [grid("A1"), grid("A3")] });
    assert_eq!(session["streets"], json!([street]));
    assert!(text(&session["refresh_token"]).len() >= 43, "256 bits");

    let stored: Vec<String> = sqlx::query_scalar(
        "select encode(code_hash, 'escape') from enrolment union all select encode(token_hash, 'escape') from refresh_token",
    )
    .fetch_all(&office.test.app.pool)
    .await
    .unwrap();
    assert!(
        stored
            .iter()
            .all(|hash| !hash.contains(&code) && !hash.contains(&text(&session["refresh_token"]))),
        "only hashes are stored"
    );
}

#[tokio::test]
async fn overseers_get_every_grid_of_their_streets() {
    let office = Office::open().await;
    office.user("li.na", "reviewer", Some(HOME)).await;
    let streets = office.sign_in("li.na", PASSWORD).await.json["streets"].clone();
    assert_eq!(streets.as_array().unwrap().len(), 1);
    assert_eq!(streets[0]["grids"].as_array().unwrap().len(), 3);
    let streets = office.sign_in("root", PASSWORD).await.json["streets"].clone();
    assert_eq!(
        streets
            .as_array()
            .unwrap()
            .iter()
            .map(|street| &street["street"])
            .collect::<Vec<_>>(),
        [HOME, OTHER]
    );
}

#[tokio::test]
async fn a_refresh_token_used_twice_revokes_its_device() {
    let office = Office::open().await;
    let (first, other) = (office.phone("wang.fang").await, office.phone("li.na").await);
    let second = office.refresh(&first["refresh_token"]).await.json;
    let third = office.refresh(&second["refresh_token"]).await.json;
    assert_eq!(office.is_let_in(&third).await.status, StatusCode::OK);

    refused(
        &office.refresh(&first["refresh_token"]).await,
        401,
        "refresh_reused",
    );
    refused(&office.is_let_in(&third).await, 401, "device_revoked");
    refused(
        &office.refresh(&third["refresh_token"]).await,
        401,
        "device_revoked",
    );
    assert_eq!(
        office.is_let_in(&other).await.status,
        StatusCode::OK,
        "another device is not touched"
    );
}

const FORTNIGHT: i64 = 14 * 86_400;

#[tokio::test]
async fn a_refresh_token_whose_answer_was_lost_may_be_used_again_for_a_fortnight() {
    let office = Office::open().await;
    let session = office.phone("wang.fang").await;
    let lost = office.refresh(&session["refresh_token"]).await.json;
    office.pass_seconds(FORTNIGHT);
    let again = office.refresh(&session["refresh_token"]).await;
    assert_eq!(again.status, StatusCode::OK, "{}", again.json);
    // The phone goes on with what it received; the lost token is now spent.
    let next = office.refresh(&again.json["refresh_token"]).await;
    assert_eq!(next.status, StatusCode::OK);
    office.pass_seconds(1);
    refused(
        &office.refresh(&lost["refresh_token"]).await,
        401,
        "refresh_reused",
    );
}

#[tokio::test]
async fn after_a_fortnight_a_lost_answer_is_taken_for_theft() {
    let office = Office::open().await;
    let session = office.phone("wang.fang").await;
    office.refresh(&session["refresh_token"]).await;
    office.pass_seconds(FORTNIGHT + 1);
    refused(
        &office.refresh(&session["refresh_token"]).await,
        401,
        "refresh_reused",
    );
}

#[tokio::test]
async fn two_exchanges_at_once_both_succeed_and_one_chain_goes_on() {
    let office = Office::open().await;
    let session = office.phone("wang.fang").await;
    let (one, two) = futures::join!(
        office.refresh(&session["refresh_token"]),
        office.refresh(&session["refresh_token"])
    );
    assert_eq!((one.status, two.status), (StatusCode::OK, StatusCode::OK));
    assert_eq!(
        office.refresh(&two.json["refresh_token"]).await.status,
        StatusCode::OK
    );
}

#[tokio::test]
async fn a_refresh_token_that_is_unknown_or_expired_is_refused() {
    let office = Office::open().await;
    refused(
        &office.refresh(&json!("never issued")).await,
        401,
        "refresh_invalid",
    );
    let session = office.phone("wang.fang").await;
    office.test.clock.advance_ms(
        office
            .test
            .app
            .config
            .refresh_token_lifetime
            .as_millis()
            .try_into()
            .unwrap(),
    );
    refused(
        &office.refresh(&session["refresh_token"]).await,
        401,
        "refresh_invalid",
    );
}

#[tokio::test]
async fn a_failed_login_tells_nothing_about_who_exists() {
    let office = Office::open().await;
    office.user("wang.fang", "reviewer", Some(HOME)).await;
    office.post("/v1/users", json!({ "username": "phone.only", "display_name": "x", "role": "secretary", "street": HOME })).await;
    let mut answers = Vec::new();
    for (username, password) in [
        ("wang.fang", "wrong password"),
        ("nobody", PASSWORD),
        ("phone.only", PASSWORD),
        ("Not A Name", PASSWORD),
        ("nul\u{0}", PASSWORD),
    ] {
        let mut answer = office.sign_in(username, password).await;
        refused(&answer, 401, "bad_credentials");
        answer.json["request_id"] = Value::Null;
        answers.push(answer.json);
    }
    assert!(
        answers.iter().all(|answer| *answer == answers[0]),
        "{answers:?}"
    );
}

#[tokio::test]
async fn guessing_is_slowed_down_for_known_and_unknown_users_alike() {
    let office = Office::open().await;
    office.user("wang.fang", "reviewer", Some(HOME)).await;
    for username in ["wang.fang", "nobody"] {
        for _ in 0..5 {
            refused(
                &office.sign_in(username, "wrong password").await,
                401,
                "bad_credentials",
            );
        }
        let answer = office.sign_in(username, PASSWORD).await;
        refused(&answer, 429, "rate_limited");
        assert_eq!(answer.json["retryable"], true);
        assert!(answer.headers.contains_key(header::RETRY_AFTER));
    }
    office.pass_seconds(300);
    assert_eq!(
        office.sign_in("wang.fang", PASSWORD).await.status,
        StatusCode::CREATED
    );
}

#[tokio::test]
async fn a_lock_is_kept_by_all_servers_grows_and_opens_by_itself() {
    let office = Office::open().await;
    office.user("wang.fang", "reviewer", Some(HOME)).await;
    let app = lianka_server::Server::start(
        office.test.app.pool.clone(),
        office.test.app.config.clone(),
        office.test.clock.clone(),
        lianka_server::clock::Entropy::seeded(2),
    );
    let second = lianka_server::router(&app.await.unwrap());
    let there = async |password: &str| {
        let body = json!({ "username": "wang.fang", "password": password }).to_string();
        let request = Request::post("/v1/sessions")
            .header(header::CONTENT_TYPE, "application/json")
            .body(Body::from(body))
            .unwrap();
        tower::ServiceExt::oneshot(second.clone(), request)
            .await
            .unwrap()
            .status()
            .as_u16()
    };
    for _ in 0..3 {
        refused(
            &office.sign_in("wang.fang", "Wrong password 1").await,
            401,
            "bad_credentials",
        );
    }
    assert_eq!(
        (
            there("Wrong password 1").await,
            there("Wrong password 1").await,
            there(PASSWORD).await
        ),
        (401, 401, 429)
    );
    let wait = async || {
        let answer = office.sign_in("wang.fang", PASSWORD).await;
        refused(&answer, 429, "rate_limited");
        answer.headers[header::RETRY_AFTER]
            .to_str()
            .unwrap()
            .parse::<i64>()
            .unwrap()
    };
    assert_eq!(wait().await, 301);
    // A further try after the lock: twice as long, and so on, an hour at most.
    for seconds in [600, 1200, 2400, 3600, 3600] {
        office.pass_seconds(wait().await);
        refused(
            &office.sign_in("wang.fang", "Wrong password 1").await,
            401,
            "bad_credentials",
        );
        assert_eq!(wait().await, seconds + 1);
    }
    office.pass_seconds(3601);
    assert_eq!(
        office.sign_in("wang.fang", PASSWORD).await.status,
        StatusCode::CREATED
    );
    for _ in 0..4 {
        refused(
            &office.sign_in("wang.fang", "Wrong password 1").await,
            401,
            "bad_credentials",
        );
    }
    assert_eq!(
        office.sign_in("wang.fang", PASSWORD).await.status,
        StatusCode::CREATED,
        "a success begins anew"
    );
    let told: Vec<String> = sqlx::query_scalar(
        "select detail from audit_event where action in ('lock_out', 'sign_in_failed')",
    )
    .fetch_all(&office.test.app.pool)
    .await
    .unwrap();
    assert_eq!(told.len(), 5 + 1 + 5 * 2 + 4, "{told:?}");
}

#[tokio::test]
async fn many_tries_at_once_are_many() {
    let office = Office::open().await;
    office.user("wang.fang", "reviewer", Some(HOME)).await;
    let answers =
        futures::future::join_all((0..12).map(|_| office.sign_in("wang.fang", "Wrong password 1")))
            .await;
    let tried = answers
        .iter()
        .filter(|answer| answer.code() == "bad_credentials")
        .count();
    assert_eq!(tried, 5, "what runs at the same time is counted as well");
}

#[tokio::test]
async fn names_that_do_not_exist_cannot_fill_the_store_and_are_not_repeated() {
    let office = Office::open().await;
    for name in [
        "Secret-typed-in-the-wrong-field",
        "nobody",
        "another",
        "王芳",
    ] {
        refused(
            &office.sign_in(name, PASSWORD).await,
            401,
            "bad_credentials",
        );
    }
    let told: Vec<String> =
        sqlx::query_scalar("select coalesce(username, '') || detail from audit_event union all select key from sign_in_try")
            .fetch_all(&office.test.app.pool)
            .await
            .unwrap();
    assert!(
        told.iter().all(|text| !text.contains("wrong-field")
            && !text.contains("nobody")
            && !text.contains("王芳")),
        "{told:?}"
    );
}

#[tokio::test]
async fn wrong_codes_are_counted_and_a_right_one_still_passes() {
    let office = Office::open().await;
    office.user("wang.fang", "secretary", Some(HOME)).await;
    let code = office.enrolment("wang.fang").await;
    for _ in 0..100 {
        refused(&office.enrol("0000000000").await, 401, "enrolment_refused");
    }
    refused(&office.enrol("0000000000").await, 429, "rate_limited");
    assert_eq!(office.enrol(&code).await.status, StatusCode::CREATED);
}

#[tokio::test]
async fn a_password_is_changed_by_its_owner_and_reset_by_an_admin() {
    let office = Office::open().await;
    office.user("li.na", "reviewer", Some(HOME)).await;
    office.user("wang.fang", "reviewer", Some(HOME)).await;
    let (desk, other) = (
        office.token_of("li.na").await,
        office.token_of("li.na").await,
    );
    let set = async |token: &str, username: &str, body: Value| {
        office
            .call(
                "PUT",
                &format!("/v1/users/{username}/password"),
                Some(token),
                body,
            )
            .await
    };
    let new = "Another pass 2026";
    breaks(
        &set(&desk, "li.na", json!({ "new_password": new })).await,
        "old_password",
        "not_empty",
    );
    breaks(
        &set(
            &desk,
            "li.na",
            json!({ "old_password": "wrong", "new_password": new }),
        )
        .await,
        "old_password",
        "password_matches",
    );
    breaks(
        &set(
            &desk,
            "li.na",
            json!({ "old_password": PASSWORD, "new_password": "short" }),
        )
        .await,
        "new_password",
        "password_length",
    );
    breaks(
        &set(
            &desk,
            "li.na",
            json!({ "old_password": PASSWORD, "new_password": PASSWORD }),
        )
        .await,
        "new_password",
        "password_same",
    );
    refused(
        &set(&desk, "wang.fang", json!({ "new_password": new })).await,
        403,
        "wrong_role",
    );
    refused(
        &set(&desk, "nobody", json!({ "new_password": new })).await,
        403,
        "wrong_role",
    );
    let done = set(
        &desk,
        "li.na",
        json!({ "old_password": PASSWORD, "new_password": new }),
    )
    .await;
    assert_eq!(done.status, StatusCode::NO_CONTENT, "{}", done.json);
    let list = async |token: &str| {
        office
            .call("GET", "/v1/streets", Some(token), Value::Null)
            .await
    };
    assert_eq!(
        list(&desk).await.status,
        StatusCode::OK,
        "this desk goes on"
    );
    refused(&list(&other).await, 401, "device_revoked");
    refused(
        &office.sign_in("li.na", PASSWORD).await,
        401,
        "bad_credentials",
    );
    assert_eq!(
        office.sign_in("li.na", new).await.status,
        StatusCode::CREATED
    );

    // Reset by an admin: locked or not, it can be used once, to choose another.
    for _ in 0..5 {
        office.sign_in("li.na", "Wrong password 1").await;
    }
    refused(&office.sign_in("li.na", new).await, 429, "rate_limited");
    let given = "Given by root 1";
    assert_eq!(
        set(&office.admin, "li.na", json!({ "new_password": given }))
            .await
            .status,
        StatusCode::NO_CONTENT
    );
    refused(&list(&desk).await, 401, "device_revoked");
    refused(
        &office.sign_in("li.na", given).await,
        403,
        "password_expired",
    );
    let sign_in =
        json!({ "username": "li.na", "password": given, "new_password": "Chosen by Li 7" });
    assert_eq!(
        office
            .call("POST", "/v1/sessions", None, sign_in)
            .await
            .status,
        StatusCode::CREATED
    );
    assert_eq!(
        office.sign_in("li.na", "Chosen by Li 7").await.status,
        StatusCode::CREATED
    );

    office.user("street.admin", "admin", Some(OTHER)).await;
    let elsewhere = office.token_of("street.admin").await;
    refused(
        &set(&elsewhere, "li.na", json!({ "new_password": given })).await,
        404,
        "not_found",
    );
    refused(
        &set(&elsewhere, "root", json!({ "new_password": given })).await,
        404,
        "not_found",
    );
}

/// Hashing takes a while: what was tried when it began may be nobody's password any more when it ends.
#[tokio::test]
async fn a_password_that_is_reset_while_it_is_tried_opens_nothing() {
    let office = std::sync::Arc::new(Office::open().await);
    office.user("li.na", "reviewer", Some(HOME)).await;
    let token = office.token_of("li.na").await;
    let desks = "select count(*) from device where username = 'li.na' and revoked_at is null";
    let chosen = json!({ "old_password": PASSWORD, "new_password": "Another pass 2026" });
    let sign_in = json!({ "username": "li.na", "password": PASSWORD });
    let renewed =
        json!({ "username": "li.na", "password": PASSWORD, "new_password": "Another pass 2026" });
    let tries = [
        ("POST", "/v1/sessions", sign_in),
        ("POST", "/v1/sessions", renewed),
        ("PUT", "/v1/users/li.na/password", chosen),
    ];
    for (method, path, body) in tries {
        let pool = &office.test.app.pool;
        let before: String =
            sqlx::query_scalar("select password_hash from account where username = 'li.na'")
                .fetch_one(pool)
                .await
                .unwrap();
        // The reset is under way, and holds the account.
        let mut reset = pool.begin().await.unwrap();
        sqlx::raw_sql("update account set password_hash = 'another', password_must_change = true where username = 'li.na'")
            .execute(&mut *reset)
            .await
            .unwrap();
        let (with, token) = (std::sync::Arc::clone(&office), token.clone());
        let trying = tokio::spawn(async move { with.call(method, path, Some(&token), body).await });
        // Until it is done, or waits for the reset.
        let waits = "select exists (select from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock')";
        while !trying.is_finished()
            && !sqlx::query_scalar::<_, bool>(waits)
                .fetch_one(pool)
                .await
                .unwrap()
        {
            tokio::task::yield_now().await;
        }
        sqlx::raw_sql("update device set revoked_at = now() where username = 'li.na'")
            .execute(&mut *reset)
            .await
            .unwrap();
        reset.commit().await.unwrap();
        let answer = trying.await.unwrap();
        assert!(
            answer.status.is_client_error(),
            "{method} {path}: {} {}",
            answer.status,
            answer.json
        );
        assert_eq!(
            sqlx::query_scalar::<_, i64>(desks)
                .fetch_one(pool)
                .await
                .unwrap(),
            0,
            "{method} {path}"
        );
        let after: String =
            sqlx::query_scalar("select password_hash from account where username = 'li.na'")
                .fetch_one(pool)
                .await
                .unwrap();
        assert_eq!(after, "another", "{method} {path}");
        sqlx::query("update account set password_hash = $1, password_must_change = false")
            .bind(before)
            .execute(pool)
            .await
            .unwrap();
        sqlx::raw_sql("update device set revoked_at = null where username = 'li.na'")
            .execute(pool)
            .await
            .unwrap();
    }
}

#[tokio::test]
async fn a_password_that_is_too_old_must_be_changed() {
    let office = Office::open().await;
    office.user("li.na", "reviewer", Some(HOME)).await;
    office.pass_seconds(90 * 86_400 - 1);
    assert_eq!(
        office.sign_in("li.na", PASSWORD).await.status,
        StatusCode::CREATED
    );
    office.pass_seconds(1);
    let answer = office.sign_in("li.na", PASSWORD).await;
    refused(&answer, 403, "password_expired");
    assert!(answer.json["access_token"].is_null());
    refused(
        &office.sign_in("li.na", "Wrong password 1").await,
        401,
        "bad_credentials",
    );
    let sign_in =
        |new: &str| json!({ "username": "li.na", "password": PASSWORD, "new_password": new });
    breaks(
        &office
            .call("POST", "/v1/sessions", None, sign_in("Li.Na 2026!"))
            .await,
        "new_password",
        "password_username",
    );
    assert_eq!(
        office
            .call("POST", "/v1/sessions", None, sign_in("Fresh every 90"))
            .await
            .status,
        StatusCode::CREATED
    );
    office.pass_seconds(89 * 86_400);
    assert_eq!(
        office.sign_in("li.na", "Fresh every 90").await.status,
        StatusCode::CREATED
    );
}

#[tokio::test]
async fn a_desk_that_is_left_alone_is_signed_out_and_a_phone_is_not() {
    let office = Office::open().await;
    let phone = office.phone("wang.fang").await;
    let mut desk = office.sign_in("root", PASSWORD).await.json;
    // In use: it renews its tokens as they expire.
    for _ in 0..4 {
        office.pass_seconds(20 * 60);
        let renewed = office.refresh(&desk["refresh_token"]).await;
        assert_eq!(renewed.status, StatusCode::OK, "{}", renewed.json);
        desk = renewed.json;
    }
    office.pass_seconds(30 * 60);
    refused(&office.is_let_in(&desk).await, 401, "token_expired");
    refused(
        &office.refresh(&desk["refresh_token"]).await,
        401,
        "refresh_invalid",
    );
    assert_eq!(
        office.refresh(&phone["refresh_token"]).await.status,
        StatusCode::OK
    );
}

#[tokio::test]
async fn an_account_is_disabled_enabled_and_changed_but_not_by_itself() {
    let office = Office::open().await;
    office.user("street.admin", "admin", Some(HOME)).await;
    let session = office.phone("wang.fang").await;
    let admin = office.token_of("street.admin").await;
    let change = async |username: &str, body: Value| {
        office
            .call(
                "PATCH",
                &format!("/v1/users/{username}"),
                Some(&admin),
                body,
            )
            .await
    };
    let disabled = change("wang.fang", json!({ "disabled": true })).await;
    assert!(
        disabled.json["disabled_at"].is_string(),
        "{}",
        disabled.json
    );
    refused(&office.is_let_in(&session).await, 401, "account_disabled");
    assert!(
        change(
            "wang.fang",
            json!({ "disabled": false, "display_name": "王芳" })
        )
        .await
        .json["disabled_at"]
            .is_null()
    );
    assert_eq!(office.is_let_in(&session).await.status, StatusCode::OK);
    let changed = change("wang.fang", json!({ "role": "auditor" })).await.json;
    assert_eq!(
        (&changed["role"], &changed["display_name"]),
        (&json!("auditor"), &json!("王芳"))
    );
    breaks(
        &change("street.admin", json!({ "disabled": true })).await,
        "disabled",
        "not_yourself",
    );
    breaks(
        &change("street.admin", json!({ "role": "auditor" })).await,
        "role",
        "not_yourself",
    );
    breaks(
        &change("wang.fang", json!({ "street": null })).await,
        "street",
        "shape",
    );
    for username in ["root", "nobody", "No Name"] {
        refused(
            &change(
                username.replace(' ', "%20").as_str(),
                json!({ "disabled": true }),
            )
            .await,
            404,
            "not_found",
        );
    }
    let told: Vec<String> = sqlx::query_scalar(
        "select detail from audit_event where action = 'user_changed' order by no",
    )
    .fetch_all(&office.test.app.pool)
    .await
    .unwrap();
    assert_eq!(told.len(), 3, "{told:?}");
    assert!(
        told[2].contains(r#""role":"auditor","role_before":"secretary""#)
            && !told.concat().contains("王芳"),
        "{told:?}"
    );
}

#[tokio::test]
async fn an_admin_of_a_street_administers_that_street_only() {
    let office = Office::open().await;
    office.user("street.admin", "admin", Some(HOME)).await;
    office.user("there", "secretary", Some(OTHER)).await;
    let device = office.enrol(&office.enrolment("there").await).await.json;
    let token = office.token_of("street.admin").await;
    let call = |method: &'static str, path: String, json: Value| {
        let (office, token) = (&office, &token);
        async move { office.call(method, &path, Some(token), json).await }
    };
    let user = |street: Value| json!({ "username": "new.one", "display_name": "新", "role": "secretary", "street": street });

    refused(
        &call("POST", "/v1/users".into(), user(json!(OTHER))).await,
        403,
        "wrong_street",
    );
    refused(
        &call("POST", "/v1/users".into(), user(Value::Null)).await,
        403,
        "wrong_street",
    );
    let street = json!({ "street": "310106001", "name": "新街道", "district": "静安" });
    refused(
        &call("POST", "/v1/streets".into(), street).await,
        403,
        "wrong_street",
    );
    refused(
        &call(
            "DELETE",
            format!("/v1/devices/{}", text(&device["device_id"])),
            Value::Null,
        )
        .await,
        404,
        "not_found",
    );
    for username in ["there", "nobody"] {
        let answer = call(
            "POST",
            "/v1/enrolments".into(),
            json!({ "username": username }),
        )
        .await;
        refused(&answer, 404, "not_found");
        let answer = call(
            "PUT",
            format!("/v1/streets/{HOME}/assignments/{username}"),
            json!({ "grids": ["A1"] }),
        )
        .await;
        refused(&answer, 404, "not_found");
    }
    assert_eq!(office.is_let_in(&device).await.status, StatusCode::OK);

    assert_eq!(
        call("POST", "/v1/users".into(), user(json!(HOME)))
            .await
            .status,
        StatusCode::CREATED
    );
    for (path, key, expected) in [
        ("/v1/users", "username", vec!["new.one", "street.admin"]),
        ("/v1/streets", "street", vec![HOME]),
    ] {
        let page = call("GET", path.into(), Value::Null).await.json;
        let found: Vec<_> = page["items"]
            .as_array()
            .unwrap()
            .iter()
            .map(|item| text(&item[key]))
            .collect();
        assert_eq!(found, expected, "{path}");
        assert_eq!(page["total"], expected.len());
    }
    let devices = call("GET", "/v1/devices".into(), Value::Null).await.json;
    assert!(
        devices["items"]
            .as_array()
            .unwrap()
            .iter()
            .all(|device| device["username"] == "street.admin"),
        "{devices}"
    );
}

#[tokio::test]
async fn a_value_that_breaks_a_rule_is_named() {
    let office = Office::open().await;
    let user = |key: &str, value: Value| {
        let mut user = json!({ "username": "new.one", "display_name": "新", "role": "secretary", "street": HOME });
        user[key] = value;
        user
    };
    let grids = format!("/v1/streets/{HOME}/grids");
    let roads = format!("/v1/streets/{HOME}/roads");
    for (path, json, field, rule) in [
        (
            "/v1/users",
            user("username", json!("New One")),
            "username",
            "username",
        ),
        (
            "/v1/users",
            user("display_name", json!(" ")),
            "display_name",
            "not_empty",
        ),
        (
            "/v1/users",
            user("display_name", json!("a\u{0}")),
            "display_name",
            "no_control_characters",
        ),
        ("/v1/users", user("role", json!("king")), "role", "shape"),
        (
            "/v1/users",
            user("street", json!("310")),
            "street",
            "street_code",
        ),
        (
            "/v1/users",
            user("street", json!("310109001")),
            "street",
            "exists",
        ),
        (
            "/v1/users",
            user("password", json!("short")),
            "password",
            "password_length",
        ),
        ("/v1/users", user("rôle", json!(1)), "rôle", "shape"),
        ("/v1/streets", json!({ "street": HOME }), "", "shape"),
        (
            &grids,
            json!({ "grid": "A 9", "name": "x", "area": "x" }),
            "grid",
            "grid_code",
        ),
        (
            &grids,
            json!({ "grid": "A9", "name": "网".repeat(101), "area": "x" }),
            "name",
            "length_max",
        ),
        (
            &roads,
            json!({ "road": "天平路", "roads": ["余庆路"] }),
            "road",
            "road_or_roads",
        ),
        (
            &roads,
            json!({ "roads": ["余庆路", ""] }),
            "roads[1]",
            "not_empty",
        ),
        (
            &roads,
            json!({ "roads": vec!["余庆路"; 1001] }),
            "roads",
            "items_max_1000",
        ),
    ] {
        let answer = office.call("POST", path, Some(&office.admin), json).await;
        breaks(&answer, field, rule);
    }
    for (query, field, rule) in [
        ("page=0", "page", "range_1_100000"),
        ("page_size=201", "page_size", "range_1_200"),
        ("page=x", "page", "shape"),
    ] {
        breaks(
            &office
                .call(
                    "GET",
                    &format!("/v1/users?{query}"),
                    Some(&office.admin),
                    Value::Null,
                )
                .await,
            field,
            rule,
        );
    }
}

#[tokio::test]
async fn repeating_a_creation_is_harmless_and_changing_it_is_refused() {
    let office = Office::open().await;
    let grids = format!("/v1/streets/{HOME}/grids");
    let user = json!({ "username": "li.na", "display_name": "李娜", "role": "reviewer", "street": HOME, "password": PASSWORD });
    for (path, key, created) in [
        (
            "/v1/streets",
            "name",
            json!({ "street": "310107102", "name": "长征镇", "district": "普陀区" }),
        ),
        (
            &grids,
            "area",
            json!({ "grid": "A9", "name": "九", "area": "梧桐" }),
        ),
        ("/v1/users", "display_name", user.clone()),
        ("/v1/users", "password", user.clone()),
    ] {
        let first = office
            .call("POST", path, Some(&office.admin), created.clone())
            .await;
        assert!(first.status.is_success(), "{}", first.json);
        let again = office
            .call("POST", path, Some(&office.admin), created.clone())
            .await;
        assert_eq!((again.status, &again.json), (StatusCode::OK, &first.json));
        let mut changed = created;
        changed[key] = json!("something else again");
        refused(
            &office
                .call("POST", path, Some(&office.admin), changed)
                .await,
            409,
            "already_exists",
        );
    }
    let roads = format!("/v1/streets/{HOME}/roads");
    for (roads_given, status, added) in [
        (json!({ "road": "天平路" }), 201, 1),
        (json!({ "roads": ["天平路", "余庆路", "余庆路"] }), 201, 1),
        (json!({ "road": "余庆路" }), 200, 0),
    ] {
        let answer = office
            .call("POST", &roads, Some(&office.admin), roads_given)
            .await;
        assert_eq!(
            (answer.status.as_u16(), &answer.json["added"]),
            (status, &json!(added)),
            "{}",
            answer.json
        );
    }
    let page = office
        .call(
            "GET",
            &format!("{roads}?page=2&page_size=1"),
            Some(&office.admin),
            Value::Null,
        )
        .await
        .json;
    assert_eq!(
        (
            &page["total"],
            &page["page"],
            page["items"].as_array().unwrap().len()
        ),
        (&json!(2), &json!(2), 1),
        "{page}"
    );
    refused(
        &office
            .call(
                "POST",
                "/v1/streets/310109001/roads",
                Some(&office.admin),
                json!({ "road": "天平路" }),
            )
            .await,
        404,
        "not_found",
    );
}

#[tokio::test]
async fn assignments_are_a_history_by_epoch() {
    use lianka_server::street::store::streets;
    let office = Office::open().await;
    office.user("wang.fang", "secretary", Some(HOME)).await;
    office.user("there", "secretary", Some(OTHER)).await;
    let path = format!("/v1/streets/{HOME}/assignments/wang.fang");
    let assign = |grids: &'static [&'static str]| {
        let (office, path) = (&office, &path);
        async move {
            office
                .call("PUT", path, Some(&office.admin), json!({ "grids": grids }))
                .await
        }
    };
    breaks(&assign(&["A1", "B1"]).await, "grids[1]", "exists");
    let answer = office
        .call(
            "PUT",
            &format!("/v1/streets/{HOME}/assignments/there"),
            Some(&office.admin),
            json!({ "grids": ["A1"] }),
        )
        .await;
    refused(&answer, 404, "not_found");

    for (grids, epoch, expected) in [
        (&["A1", "A2"][..], 1, json!(["A1", "A2"])),
        (&["A2", "A1", "A1"][..], 1, json!(["A1", "A2"])),
        (&["A2", "A3"][..], 2, json!(["A2", "A3"])),
        (&[][..], 3, json!([])),
        (&["A1"][..], 4, json!(["A1"])),
    ] {
        let answer = assign(grids).await;
        assert_eq!(
            (&answer.json["epoch"], &answer.json["grids"]),
            (&json!(epoch), &expected),
            "{}",
            answer.json
        );
        assert_eq!(
            office
                .call("GET", &path, Some(&office.admin), Value::Null)
                .await
                .json,
            answer.json
        );
    }

    let mut conn = office.test.app.pool.acquire().await.unwrap();
    let home = HOME.parse().unwrap();
    for (epoch, grids) in [
        (0, &[][..]),
        (1, &["A1", "A2"]),
        (2, &["A2", "A3"]),
        (3, &[]),
        (4, &["A1"]),
        (9, &["A1"]),
    ] {
        assert_eq!(
            streets::grids_at(&mut conn, &home, "wang.fang", epoch)
                .await
                .unwrap(),
            grids,
            "epoch {epoch}"
        );
    }
    let now = streets::scope(&mut conn, &home, "wang.fang").await.unwrap();
    assert_eq!((now.epoch, now.grids), (4, vec!["A1".to_owned()]));
    assert_eq!(
        streets::scope(&mut conn, &home, "nobody").await.unwrap(),
        streets::Scope::default()
    );
    let assignments = streets::assignments_of(&mut conn, &home, &["wang.fang".to_owned()])
        .await
        .unwrap();
    for (grid, ever) in [("A1", true), ("A3", true), ("B1", false)] {
        assert_eq!(
            assignments.iter().any(|assignment| assignment.grid == grid),
            ever,
            "{grid}"
        );
    }
}

#[tokio::test]
async fn two_admins_who_assign_at_once_follow_each_other() {
    let office = Office::open().await;
    office.user("wang.fang", "secretary", Some(HOME)).await;
    let path = format!("/v1/streets/{HOME}/assignments/wang.fang");
    let assign = |grid: &'static str| {
        office.call(
            "PUT",
            &path,
            Some(&office.admin),
            json!({ "grids": [grid] }),
        )
    };
    let (one, two) = futures::join!(assign("A1"), assign("A2"));
    assert_eq!((one.status, two.status), (StatusCode::OK, StatusCode::OK));
    let mut epochs = [one.json["epoch"].as_i64(), two.json["epoch"].as_i64()];
    epochs.sort_unstable();
    assert_eq!(epochs, [Some(1), Some(2)]);
    let now = office
        .call("GET", &path, Some(&office.admin), Value::Null)
        .await
        .json;
    assert_eq!(now["grids"].as_array().unwrap().len(), 1);
}

#[tokio::test]
async fn what_the_router_itself_refuses_is_a_problem_document_too() {
    let office = Office::open().await;
    refused(
        &office.call("GET", "/v1/nothing", None, Value::Null).await,
        404,
        "not_found",
    );
    let answer = office.call("PUT", "/v1/sessions", None, Value::Null).await;
    refused(&answer, 405, "method_not_allowed");
    assert_eq!(answer.headers[header::ALLOW], "POST,DELETE");

    let send = |content_type: &'static str, body: String| {
        let office = &office;
        async move {
            let request = Request::post("/v1/sessions")
                .header(header::CONTENT_TYPE, content_type)
                .body(Body::from(body))
                .unwrap();
            let response = office.test.send(request).await;
            let (head, body) = response.into_parts();
            let body = axum::body::to_bytes(body, 1 << 20).await.unwrap();
            Answer {
                status: head.status,
                headers: head.headers,
                json: serde_json::from_slice(&body).unwrap_or_default(),
                body,
            }
        }
    };
    refused(
        &send("text/plain", "{}".into()).await,
        415,
        "unsupported_media_type",
    );
    refused(
        &send("application/json", "{".into()).await,
        400,
        "malformed",
    );
    refused(
        &send("application/json", "{}{}".into()).await,
        422,
        "invalid_field",
    );
    refused(
        &send(
            "application/json; charset=utf-8",
            r#"{"username":"a","password":"b"} x"#.into(),
        )
        .await,
        400,
        "malformed",
    );
    refused(
        &send("application/json", format!("\"{}\"", "x".repeat(64 * 1024))).await,
        413,
        "body_too_large",
    );
    breaks(
        &send(
            "application/json",
            r#"{"username":7,"password":"b"}"#.into(),
        )
        .await,
        "username",
        "shape",
    );
}

#[tokio::test]
async fn people_are_answered_in_their_language_under_the_id_they_sent() {
    let office = Office::open().await;
    for (languages, title) in [("zh-CN,en;q=0.5", "未找到"), ("en", "Not found")] {
        let request = Request::get("/v1/nothing")
            .header(header::ACCEPT_LANGUAGE, languages)
            .header("x-request-id", "proxy-7");
        let response = office.test.send(request.body(Body::empty()).unwrap()).await;
        assert_eq!(response.headers()["x-request-id"], "proxy-7");
        let body = axum::body::to_bytes(response.into_body(), 1 << 16)
            .await
            .unwrap();
        let problem: Value = serde_json::from_slice(&body).unwrap();
        assert_eq!(
            (&problem["title"], &problem["request_id"]),
            (&json!(title), &json!("proxy-7"))
        );
    }
}

#[tokio::test]
async fn a_fault_of_the_store_is_opaque() {
    let office = Office::open().await;
    sqlx::raw_sql("alter table account rename to gone")
        .execute(&office.test.app.pool)
        .await
        .unwrap();
    let answer = office
        .call("GET", "/v1/users", Some(&office.admin), Value::Null)
        .await;
    refused(&answer, 500, "internal");
    assert!(
        !String::from_utf8_lossy(&answer.body).contains("account"),
        "{}",
        answer.json
    );
    office.test.app.pool.close().await;
    let answer = office
        .call("GET", "/v1/users", Some(&office.admin), Value::Null)
        .await;
    refused(&answer, 503, "unavailable");
    assert!(answer.headers.contains_key(header::RETRY_AFTER));
}

#[tokio::test]
async fn every_answer_carries_the_security_headers_and_only_public_things_are_kept() {
    let office = Office::open().await;
    for path in [
        "/v1/docs",
        "/v1/docs/page.js",
        "/v1/openapi.json",
        "/.well-known/jwks.json",
        "/v1/users",
        "/v1/nothing",
    ] {
        let answer = office.call("GET", path, None, Value::Null).await;
        for (name, value) in [
            ("x-content-type-options", "nosniff"),
            ("x-frame-options", "DENY"),
            ("referrer-policy", "no-referrer"),
        ] {
            assert_eq!(answer.headers[name], value, "{path}");
        }
        assert!(
            answer.headers[header::CONTENT_SECURITY_POLICY]
                .to_str()
                .unwrap()
                .starts_with("default-src 'none'"),
            "{path}"
        );
        let kept = answer.headers[header::CACHE_CONTROL] != "no-store";
        assert_eq!(kept, answer.status.is_success(), "{path}");
    }
}

#[tokio::test]
async fn the_api_describes_itself_with_roles() {
    let office = Office::open().await;
    let api = office
        .call("GET", "/v1/openapi.json", None, Value::Null)
        .await
        .json;
    assert_eq!(api["openapi"], "3.1.0");
    assert_eq!(
        api["paths"]["/v1/users"]["post"]["x-roles"],
        json!(["admin"])
    );
    assert_eq!(api["paths"]["/v1/sessions"]["post"]["security"], json!([]));
    let page = office.call("GET", "/v1/docs", None, Value::Null).await;
    let page = String::from_utf8_lossy(&page.body).into_owned();
    assert!(
        !page.contains("http://") && !page.contains("https://"),
        "nothing comes from elsewhere"
    );
}

#[tokio::test]
async fn the_first_admin_needs_a_name_that_is_free_and_a_password_that_is_long() {
    let office = Office::open().await;
    let app = &office.test.app;
    let create = |username: &'static str, password: &'static str| {
        auth::create_admin(
            &app.pool,
            &app.clock,
            &app.entropy,
            username,
            "总管",
            password.into(),
        )
    };
    assert!(matches!(
        create("root", PASSWORD).await,
        Err(auth::CreateAdminError::Taken)
    ));
    assert!(matches!(
        create("second", "short").await,
        Err(auth::CreateAdminError::Invalid { .. })
    ));
    assert!(matches!(
        create("Se cond", PASSWORD).await,
        Err(auth::CreateAdminError::Invalid { .. })
    ));
    assert!(create("second", PASSWORD).await.is_ok());
}
