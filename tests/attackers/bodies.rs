//! JSON bodies that no honest client writes, against every route that reads one; generated from the route table and the documented schemas.
//!
//! Mass assignment is the point of half of them: a key that the route does not name is refused before anything else is looked at.

use axum::{
    body::Body,
    http::{Request, StatusCode, header},
};
use lianka_tests::Answer;
use serde_json::{Map, Value, json};

use super::{
    NOBODY, Route, everybody, everything, filled, refused_without_a_word_of_the_inside, routes,
    send,
};
use crate::sync::phone::{HOME, Office};

/// Keys that are columns, rights or traps of other languages.
const PRIVILEGED: &[&str] = &[
    "is_admin",
    "admin",
    "permissions",
    "role_override",
    "wipe",
    "revoked_at",
    "disabled_at",
    "created_at",
    "password_hash",
    "must_change",
    "device",
    "seq",
    "generation",
    "state",
    "hash",
    "received_at",
    "home_street",
    "_method",
    "__proto__",
    "constructor",
    "$where",
    "id",
];

/// A route with a JSON body: its path filled, and the documented properties of the body.
struct Target {
    method: &'static str,
    path: String,
    token: Option<String>,
    properties: Map<String, Value>,
}

impl Target {
    async fn send(&self, office: &Office, body: impl Into<Body>) -> Answer {
        let mut request = Request::builder().method(self.method).uri(&self.path);
        request = request
            .header(header::CONTENT_TYPE, "application/json")
            .header(header::ACCEPT_LANGUAGE, "en");
        if let Some(token) = &self.token {
            request = request.header(header::AUTHORIZATION, format!("Bearer {token}"));
        }
        send(office, request.body(body.into()).expect("a request")).await
    }

    /// The body is not taken; the store is not even asked.
    async fn refuses(&self, office: &Office, body: &str) -> Answer {
        let answer = self.send(office, body.to_owned()).await;
        let what = format!("{} {} {body}", self.method, self.path);
        refused_without_a_word_of_the_inside(&answer, &what);
        let expected = [
            StatusCode::BAD_REQUEST,
            StatusCode::UNPROCESSABLE_ENTITY,
            StatusCode::UNAUTHORIZED,
        ];
        assert!(
            expected.contains(&answer.status),
            "{what}: {} {}",
            answer.status,
            answer.json
        );
        answer
    }
}

fn resolved<'a>(schema: &'a Value, api: &'a Value) -> &'a Value {
    schema["$ref"].as_str().map_or(schema, |path| {
        api.pointer(path.trim_start_matches('#'))
            .expect("the schema is there")
    })
}

/// Something that the schema admits, as far as it says.
fn admitted(schema: &Value, api: &Value) -> Value {
    let schema = resolved(schema, api);
    let kind = schema["type"].as_str().or_else(|| {
        schema["type"]
            .as_array()
            .and_then(|kinds| kinds[0].as_str())
    });
    match kind {
        Some("boolean") => json!(false),
        Some("integer" | "number") => json!(1),
        Some("array") => json!([]),
        Some("object") => json!({}),
        _ if schema["format"] == "uuid" => json!(NOBODY),
        _ => json!("x"),
    }
}

async fn targets(office: &Office, api: &Value) -> Vec<Target> {
    let tokens = everybody(office).await;
    let mut targets = Vec::new();
    for Route {
        method,
        path,
        roles,
    } in routes()
    {
        let schema = &api["paths"][path][method.to_ascii_lowercase()]["requestBody"]["content"]["application/json"]
            ["schema"];
        if schema.is_null() {
            continue;
        }
        let properties = resolved(schema, api)["properties"]
            .as_object()
            .cloned()
            .unwrap_or_default();
        // The body of an event has parts, the first of which names its fixed keys.
        let properties = if properties.is_empty() {
            resolved(schema, api)["allOf"]
                .as_array()
                .into_iter()
                .flatten()
                .filter_map(|part| part["properties"].as_object().cloned())
                .flatten()
                .collect()
        } else {
            properties
        };
        assert!(
            !properties.is_empty(),
            "{method} {path} documents no property: {schema}"
        );
        let token = roles.last().map(|role| tokens[role.as_str()].clone());
        let other = if path.contains("{username}") {
            "reviewer"
        } else {
            NOBODY
        };
        targets.push(Target {
            method,
            path: filled(path, HOME, other),
            token,
            properties,
        });
    }
    assert!(targets.len() >= 25, "the bodies were not found");
    targets
}

#[tokio::test]
async fn a_body_is_one_object_with_keys_that_the_route_names_once_each() {
    let office = Office::open().await;
    let api = office
        .call("GET", "/v1/openapi.json", None, Value::Null)
        .await
        .json;
    let targets = targets(&office, &api).await;
    let before = everything(&office).await;
    for target in &targets {
        // The values alone, in the order of the declaration: what a lenient reader takes for the object.
        let values: Vec<Value> = target
            .properties
            .values()
            .map(|schema| admitted(schema, &api))
            .collect();
        for body in [
            json!(values),
            json!([values]),
            json!([]),
            json!([{}]),
            json!(null),
            json!("x"),
            json!(7),
            json!(true),
        ] {
            let answer = target.refuses(&office, &body.to_string()).await;
            assert_eq!(
                answer.json["rule"], "shape",
                "{} {} {body}: {}",
                target.method, target.path, answer.json
            );
        }
        // An event of a transfer has the keys of its step, which transfers.rs tries.
        let named = |key: &&&str| {
            !target.properties.contains_key(**key) && !target.path.ends_with("/events")
        };
        for key in PRIVILEGED.iter().filter(named) {
            let answer = target
                .refuses(&office, &format!(r#"{{"{key}":"x"}}"#))
                .await;
            assert_eq!(
                answer.json["rule"], "shape",
                "{} {} {key}: {}",
                target.method, target.path, answer.json
            );
        }
        for key in target.properties.keys() {
            // What a proxy reads first and the server last, or the other way round.
            let answer = target
                .refuses(&office, &format!(r#"{{"{key}":null,"{key}":null}}"#))
                .await;
            assert_eq!(
                answer.json["rule"], "shape",
                "{} {} {key} twice: {}",
                target.method, target.path, answer.json
            );
        }
    }
    assert_eq!(everything(&office).await, before);
}

#[tokio::test]
async fn a_key_stands_once_at_every_depth_and_an_object_is_no_list() {
    let office = Office::open().await;
    let reviewer = office.desk("reviewer", "reviewer").await.token;
    let send = async |path: &str, body: &str| {
        let request = Request::post(format!("/v1/streets/{HOME}/{path}"))
            .header(header::CONTENT_TYPE, "application/json");
        let request = request
            .header(header::AUTHORIZATION, format!("Bearer {reviewer}"))
            .body(Body::from(body.to_owned()));
        send(&office, request.expect("a request")).await
    };
    for body in [
        r#"{"set":{"grid":"A1","sign_name":"甲","sign_name":"乙"}}"#,
        r#"{"set":[["grid","A1"],["sign_name","甲"]]}"#,
        r#"{"set":{"grid":["A1"]}}"#,
        r#"{"set":{"grid":{"":"A1"}}}"#,
    ] {
        let answer = send("records", body).await;
        assert_eq!(
            (answer.code(), &answer.json["rule"]),
            ("invalid_field", &json!("shape")),
            "{body}: {}",
            answer.json
        );
        assert!(
            answer.json["field"]
                .as_str()
                .is_some_and(|field| field.starts_with("set")),
            "{body}: {}",
            answer.json
        );
    }
    let answer = send("records", r#"{"set":{"grid":"A1","sign_name":"甲"}}"#).await;
    assert_eq!(answer.status, StatusCode::CREATED, "{}", answer.json);
}

#[tokio::test]
async fn values_of_other_types_and_sizes_are_refused_and_break_nothing() {
    let office = Office::open().await;
    let api = office
        .call("GET", "/v1/openapi.json", None, Value::Null)
        .await
        .json;
    let targets = targets(&office, &api).await;
    let before = everything(&office).await;
    let deep = format!("{}{}", "[".repeat(20_000), "]".repeat(20_000));
    let objects = format!("{}1{}", r#"{"a":"#.repeat(5_000), "}".repeat(5_000));
    let long = format!("\"{}\"", "王".repeat(15_000));
    let odd = [
        "[[]]",
        "{}",
        r#"{"$gt":""}"#,
        "1e400",
        "-1",
        "18446744073709551616",
        "0.1",
        "\"\\u0000\"",
        "\"\\ud800\"",
        "\"\\r\\nSet-Cookie: a=b\"",
        "\"' or 1=1 --\"",
        "\"../../../etc/passwd\"",
        "\"${jndi:ldap://127.0.0.1/a}\"",
        "\"{{7*7}}\"",
        "\"%00%0a%s%n\"",
        &long,
        &deep,
        &objects,
    ];
    for target in &targets {
        for key in target.properties.keys() {
            // Beside it a key of nobody: whatever is thought of the value, nothing is done.
            for value in odd {
                let answer = target
                    .send(&office, format!(r#"{{"{key}":{value},"nobody's":1}}"#))
                    .await;
                let shown: String = value.chars().take(40).collect();
                refused_without_a_word_of_the_inside(
                    &answer,
                    &format!("{} {} {key} {shown}", target.method, target.path),
                );
            }
        }
        let bytes: [&[u8]; 8] = [
            b"",
            b"{",
            b"{}x",
            b"\xff\xfe{\0}\0",
            b"\xef\xbb\xbf{}",
            b"{\"a\":\"\xff\"}",
            b"{'a':1}",
            b"{\"a\":NaN}",
        ];
        for body in bytes {
            refused_without_a_word_of_the_inside(
                &target.send(&office, body).await,
                &format!("{} {} {body:?}", target.method, target.path),
            );
        }
    }
    assert_eq!(everything(&office).await, before);
}

/// One by one into routes that would take the rest of the body.
#[tokio::test]
async fn nobody_gives_themselves_more_than_the_route_gives() {
    let office = Office::open().await;
    let tokens = everybody(&office).await;
    let before = everything(&office).await;
    let admin = Some(tokens["admin"].as_str());
    let secretary = Some(tokens["secretary"].as_str());
    let reviewer = Some(tokens["reviewer"].as_str());
    let street = |path: &str| format!("/v1/streets/{HOME}/{path}");
    let user =
        json!({ "username": "new", "display_name": "新", "role": "secretary", "street": HOME });
    let with = |key: &str, value: Value| {
        let mut user = user.clone();
        user[key] = value;
        user
    };
    for (what, token, method, path, body) in [
        (
            "an admin of a street makes one of the deployment",
            admin,
            "POST",
            "/v1/users".to_owned(),
            with("street", Value::Null),
        ),
        (
            "and one of another street",
            admin,
            "POST",
            "/v1/users".into(),
            with("street", json!("310105009")),
        ),
        (
            "and a role that is none",
            admin,
            "POST",
            "/v1/users".into(),
            with("role", json!("root")),
        ),
        (
            "and a hash",
            admin,
            "POST",
            "/v1/users".into(),
            with("password_hash", json!("$argon2id$")),
        ),
        (
            "moves an account to another street",
            admin,
            "PATCH",
            "/v1/users/reviewer".into(),
            json!({ "street": "310105009" }),
        ),
        (
            "renames one",
            admin,
            "PATCH",
            "/v1/users/reviewer".into(),
            json!({ "username": "root" }),
        ),
        (
            "takes another role",
            admin,
            "PATCH",
            "/v1/users/admin".into(),
            json!({ "role": "officer" }),
        ),
        (
            "a secretary sets another's password",
            secretary,
            "PUT",
            "/v1/users/admin/password".into(),
            json!({ "new_password": "Another pass 2026" }),
        ),
        (
            "a desk enrols as a desk",
            None,
            "POST",
            "/v1/devices".into(),
            json!({ "code": "0000000000", "name": "x", "platform": "desk" }),
        ),
        (
            "a desk creates in another street",
            reviewer,
            "POST",
            street("records"),
            json!({ "set": { "grid": "A1", "street": "310105009" } }),
        ),
        (
            "and another's kind",
            reviewer,
            "POST",
            street("records"),
            json!({ "kind": "transfer_request", "set": { "grid": "A1" } }),
        ),
        (
            "and a field that only the server writes",
            reviewer,
            "POST",
            street("records"),
            json!({ "set": { "grid": "A1", "merged_into": NOBODY } }),
        ),
        (
            "and one that nobody has",
            reviewer,
            "POST",
            street("records"),
            json!({ "set": { "grid": "A1", "score": "5" } }),
        ),
    ] {
        let answer = office.call(method, &path, token, body.clone()).await;
        assert!(
            answer.status.is_client_error(),
            "{what}: {body} {} {}",
            answer.status,
            answer.json
        );
        let after = everything(&office).await;
        let new: Vec<_> = after.iter().filter(|row| !before.contains(row)).collect();
        assert!(after == before, "{what}: {new:?}");
    }
}

/// A line of the stream is an object too.
#[tokio::test]
async fn an_item_of_the_stream_is_an_object() {
    let office = Office::open().await;
    let phone = office.secretary("wang.fang", &["A1"]).await;
    let none = |n: usize| vec![Value::Null; n];
    // `type`, thirteen keys that a hello lacks, `client`, `pull`.
    let hello = json!(
        [
            vec![json!("hello")],
            none(13),
            vec![json!("t/1"), json!(true)]
        ]
        .concat()
    );
    let mut cbor = Vec::new();
    // The same as a CBOR array of sixteen.
    cbor.push(0x90);
    cbor.extend_from_slice(b"\x65hello");
    cbor.extend(std::iter::repeat_n(0xf6, 13));
    cbor.extend_from_slice(b"\x63t/1\xf5");
    for (media_type, body) in [
        ("application/x-ndjson", format!("{hello}\n").into_bytes()),
        ("application/cbor-seq", cbor),
    ] {
        let reply = phone.post(&[("content-type", media_type)], body).await;
        assert_eq!(
            (reply.status, reply.json["code"].as_str()),
            (StatusCode::BAD_REQUEST, Some("malformed")),
            "{media_type}: {}",
            reply.json
        );
    }
}
