//! What somebody with bad intent tries, over every route: bodies, paths, headers, stolen tokens, other people's ids, files, and what the log
//! gives away. Roles and streets by route stand in auth.rs, forged tokens in `hostile_tokens.rs`, mutated changes and packed bombs in simulation/fuzz/,
//! connections in edge.rs.

mod bodies;
mod elsewhere;
mod files;
mod headers;
mod login;
mod logs;
mod paths;
mod random;
mod tokens;

use std::collections::BTreeMap;

use axum::{
    body::{Body, to_bytes},
    http::Request,
};
use lianka_server::auth::access::Who;
use lianka_sync_core::access::Role;
use lianka_tests::Answer;
use serde_json::Value;

use crate::sync::phone::{HOME, Office};

/// Nobody's id.
pub const NOBODY: &str = "0198c0de-0000-7000-8000-00000000dead";

/// A row of the access table.
pub struct Route {
    pub method: &'static str,
    pub path: &'static str,
    /// Empty: anyone.
    pub roles: &'static [Role],
}

pub fn routes() -> impl Iterator<Item = Route> {
    lianka_server::rules().iter().map(|row| {
        let roles = match row.who {
            Who::Anyone => &[][..],
            Who::Roles(roles) => roles,
        };
        Route {
            method: row.method.as_str(),
            path: &row.path,
            roles,
        }
    })
}

/// A path of the table in `street`, with `other` for whatever else it names.
pub fn filled(path: &str, street: &str, other: &str) -> String {
    let part = |part: &str| match part {
        "{street}" => street.to_owned(),
        part if part.starts_with('{') => other.to_owned(),
        part => part.to_owned(),
    };
    path.split('/').map(part).collect::<Vec<_>>().join("/")
}

/// A device of every role in [`HOME`], by role; the admin is one of the street.
pub async fn everybody(office: &Office) -> BTreeMap<&'static str, String> {
    let mut tokens = BTreeMap::new();
    for role in Role::ALL {
        office.user(role.as_str(), role.as_str(), Some(HOME)).await;
        if role == Role::Secretary {
            office.assign(HOME, role.as_str(), &["A1"]).await;
        }
        tokens.insert(role.as_str(), office.phone(role.as_str()).await.token);
    }
    tokens
}

/// Any request, and the whole answer.
pub async fn send(office: &Office, request: Request<Body>) -> Answer {
    let (head, body) = office.test.send(request).await.into_parts();
    let body = to_bytes(body, 64 << 20).await.expect("the whole body");
    Answer {
        status: head.status,
        headers: head.headers,
        json: serde_json::from_slice(&body).unwrap_or_default(),
        body,
    }
}

/// Words of the inside, which no refusal has.
const INSIDE: &[&str] = &[
    "panicked",
    ".rs",
    "src/",
    "sqlx",
    "postgres",
    "pg_",
    "select ",
    "insert ",
    "constraint",
    "relation ",
    "column \"",
    "struct ",
    "enum ",
    "visitor",
    "serde",
    "tokio",
    "argon2",
    "lianka_",
    "backtrace",
    "unwrap",
    "Error(",
    "/tmp",
    "/home",
];

/// A refusal is a problem document, and says nothing about how the server is made.
#[track_caller]
pub fn refused_without_a_word_of_the_inside(answer: &Answer, what: &str) {
    let shown = String::from_utf8_lossy(&answer.body);
    assert!(
        answer.status.is_client_error(),
        "{what}: {} {shown}",
        answer.status
    );
    assert_eq!(
        answer.headers["content-type"], "application/problem+json",
        "{what}"
    );
    for word in INSIDE {
        assert!(!shown.contains(word), "{what}: “{word}” in {shown}");
    }
}

/// Every row of every table but those that tell of attempts and of reading.
pub async fn everything(office: &Office) -> Vec<String> {
    let tables: Vec<String> = sqlx::query_scalar(
        "select table_name::text from information_schema.tables where table_schema = 'public' and table_type = 'BASE TABLE' order by 1",
    )
    .fetch_all(&office.test.app.pool)
    .await
    .expect("the tables");
    let tables: Vec<&str> = tables
        .iter()
        .map(String::as_str)
        .filter(|table| !["audit_event", "audit_head", "sign_in_try"].contains(table))
        .collect();
    office.rows(&tables).await
}

/// The answer without what differs between any two.
pub fn told(answer: &Answer) -> (u16, Value) {
    let mut json = answer.json.clone();
    json["request_id"] = Value::Null;
    (answer.status.as_u16(), json)
}
