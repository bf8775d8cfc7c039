//! Paths and methods that two readers might read differently: none of them reaches what the plain request does not.

use axum::{
    body::Body,
    http::{Method, Request, StatusCode, header},
};
use lianka_tests::Answer;
use serde_json::json;

use super::{
    NOBODY, everybody, everything, filled, refused_without_a_word_of_the_inside, routes, send,
};
use crate::sync::phone::{HOME, OTHER, Office, put};

async fn ask(office: &Office, method: &str, path: &str, token: Option<&str>) -> Answer {
    let mut request = Request::builder()
        .method(method)
        .uri(path)
        .header(header::ACCEPT_LANGUAGE, "en");
    if let Some(token) = token {
        request = request.header(header::AUTHORIZATION, format!("Bearer {token}"));
    }
    send(
        office,
        request
            .body(Body::empty())
            .unwrap_or_else(|error| panic!("{path}: {error}")),
    )
    .await
}

/// Other spellings of a path.
fn spellings(path: &str) -> Vec<String> {
    let last = path.rsplit('/').next().unwrap_or_default();
    let parent = &path[..path.len() - last.len()];
    let dots = format!("{}{}", "../".repeat(30), path.trim_start_matches('/'));
    vec![
        format!("{path}/"),
        format!("/{path}"),
        format!("//{}", path.trim_start_matches('/')),
        path.replacen("/v1/", "/v1//", 1),
        path.replacen("/v1/", "/v1/./", 1),
        path.replacen("/v1/", "/v1/%2e/", 1),
        path.replacen("/v1/", "/v1/x/../", 1),
        path.replacen("/v1/", "/v1/x/%2e%2e/", 1),
        path.replacen("/v1/", "/v1/x/%252e%252e/", 1),
        path.replacen("/v1/", "/v1/docs/..%2f", 1),
        path.replacen("/v1/", "/v1%2f", 1),
        path.replacen("/v1/", "/V1/", 1),
        path.replacen("/v1/", "/v1;a=b/", 1),
        path.replacen("/v1/", "/healthz/../v1/", 1),
        path.replacen("/v1/", "/.well-known/jwks.json/../../v1/", 1),
        format!("/v1/docs/{dots}"),
        format!("{parent}{last}%00"),
        format!("{parent}{last}%0a"),
        format!("{parent}{last}.json"),
        format!("{parent}{last};x"),
        format!("{parent}%5c{last}"),
        format!("{path}%2f.."),
        format!("{path}/%2e%2e/%2e%2e"),
        format!("{path}%20"),
        path.to_uppercase(),
    ]
}

#[tokio::test]
async fn no_spelling_of_a_path_gets_around_the_gate() {
    let office = Office::open().await;
    let mut there = {
        office.user("there", "secretary", Some(OTHER)).await;
        office.assign(OTHER, "there", &["B1"]).await;
        office.phone_in(OTHER, "there").await
    };
    let card = there.create("B1", &[put("sign_name", "悦福理发店")]);
    there.sync().await;
    let tokens = everybody(&office).await;
    let before = everything(&office).await;
    for route in routes().filter(|route| !route.roles.is_empty()) {
        for street in [HOME, OTHER] {
            for path in spellings(&filled(route.path, street, &card.to_string())) {
                // As nobody: whatever it matches needs a token.
                let answer = ask(&office, route.method, &path, None).await;
                refused_without_a_word_of_the_inside(&answer, &format!("{} {path}", route.method));
                // As somebody of one street: never the other's.
                let answer = ask(&office, route.method, &path, Some(&tokens["admin"])).await;
                assert!(
                    !answer.status.is_server_error(),
                    "{} {path}: {}",
                    route.method,
                    answer.json
                );
                let shown = String::from_utf8_lossy(&answer.body);
                assert!(
                    !shown.contains("悦福") && !shown.contains("虹桥"),
                    "{} {path}: {shown}",
                    route.method
                );
                assert!(
                    street == HOME || !answer.status.is_success(),
                    "{} {path}: {shown}",
                    route.method
                );
            }
        }
    }
    assert_eq!(everything(&office).await, before);
}

#[tokio::test]
async fn two_streets_in_one_path_are_none() {
    let office = Office::open().await;
    let tokens = everybody(&office).await;
    for path in [
        format!("/v1/streets/{HOME}%2f{OTHER}/cards"),
        format!("/v1/streets/{HOME}%00{OTHER}/cards"),
        format!("/v1/streets/{HOME},{OTHER}/cards"),
        format!("/v1/streets/{HOME}/../{OTHER}/cards"),
        format!("/v1/streets/{HOME}/..%2f{OTHER}/cards"),
        format!("/v1/streets/{HOME}%2f..%2f{OTHER}/cards"),
        format!("/v1/streets/{HOME}/cards/../../{OTHER}/cards"),
        format!("/v1/streets/{HOME};{OTHER}/cards"),
        "/v1/streets/%EF%BC%93%EF%BC%91%EF%BC%90%EF%BC%91%EF%BC%90%EF%BC%95%EF%BC%90%EF%BC%90%EF%BC%99/cards".to_owned(),
        "/v1/streets/%FF/cards".to_owned(),
        "/v1/streets//cards".to_owned(),
        format!("/v1/streets/{}/cards", "3".repeat(60_000)),
        format!("/v1/streets/{HOME}/records/{}", "0".repeat(60_000)),
        format!("/v1/streets/{HOME}/records/%7B{NOBODY}%7D"),
        format!("/v1/streets/{HOME}/records/urn%3Auuid%3A{NOBODY}"),
        format!("/v1/streets/{HOME}/records/..%2f..%2f..%2fusers"),
        format!("/v1/users/{}", "%2e%2e"),
        format!("/v1/users/{}", "a".repeat(60_000)),
        "/v1/users/%00".to_owned(),
        "/v1/users/%F0%9F%98%80".to_owned(),
    ] {
        for (method, token) in [("GET", None), ("GET", Some(tokens["admin"].as_str())), ("PATCH", Some(tokens["admin"].as_str()))] {
            let answer = ask(&office, method, &path, token).await;
            let shown: String = path.chars().take(90).collect();
            refused_without_a_word_of_the_inside(&answer, &format!("{method} {shown}"));
        }
    }
    // Once decoded it is the street's own code; twice decoded it would be.
    let digits = |escape: &str| {
        HOME.bytes()
            .map(|digit| format!("{escape}{digit:x}"))
            .collect::<Vec<_>>()
            .concat()
    };
    let token = Some(tokens["reviewer"].as_str());
    assert_eq!(
        ask(
            &office,
            "GET",
            &format!("/v1/streets/{}/cards", digits("%")),
            token
        )
        .await
        .status,
        StatusCode::OK
    );
    assert_eq!(
        ask(
            &office,
            "GET",
            &format!("/v1/streets/{}/cards", digits("%25")),
            token
        )
        .await
        .status,
        StatusCode::NOT_FOUND
    );
}

#[tokio::test]
async fn a_method_is_what_the_first_line_says() {
    let office = Office::open().await;
    let device = office.secretary("wang.fang", &["A1"]).await.device;
    let before = everything(&office).await;
    let path = format!("/v1/devices/{device}");
    for name in [
        "x-http-method-override",
        "x-http-method",
        "x-method-override",
    ] {
        for (method, uri) in [
            ("POST", path.as_str()),
            ("GET", &path),
            ("GET", "/v1/devices"),
            ("POST", "/v1/enrolments"),
        ] {
            let request = Request::builder()
                .method(method)
                .uri(uri)
                .header(name, "DELETE");
            let request = request
                .header(header::AUTHORIZATION, format!("Bearer {}", office.admin))
                .body(Body::empty());
            let answer = send(&office, request.expect("a request")).await;
            assert!(
                answer.status.is_client_error() || (method, uri) == ("GET", "/v1/devices"),
                "{method} {uri}: {}",
                answer.json
            );
        }
    }
    for query in [
        "_method=DELETE",
        "method=DELETE",
        "X-HTTP-Method-Override=DELETE",
    ] {
        let answer = ask(
            &office,
            "GET",
            &format!("{path}?{query}"),
            Some(&office.admin),
        )
        .await;
        assert_eq!(answer.status, StatusCode::METHOD_NOT_ALLOWED, "{query}");
    }
    assert_eq!(
        everything(&office).await,
        before,
        "the device is not revoked"
    );
    for method in [
        "TRACE", "CONNECT", "OPTIONS", "PROPFIND", "PURGE", "get", "Delete", "GETT", "QUERY",
    ] {
        for route in routes() {
            let answer = ask(
                &office,
                method,
                &filled(route.path, HOME, NOBODY),
                Some(&office.admin),
            )
            .await;
            let what = format!("{method} {}", route.path);
            refused_without_a_word_of_the_inside(&answer, &what);
            assert_eq!(answer.status, StatusCode::METHOD_NOT_ALLOWED, "{what}");
        }
    }
    assert_eq!(everything(&office).await, before);
}

/// `HEAD` is `GET` without the body, and so no way to learn whether a record is there.
#[tokio::test]
async fn head_is_held_to_the_row_of_get() {
    let office = Office::open().await;
    let tokens = everybody(&office).await;
    for route in routes().filter(|route| route.method == "GET") {
        let path = filled(route.path, HOME, NOBODY);
        for token in [None, Some("secretary"), Some("officer"), Some("auditor")]
            .map(|role| role.map(|role| tokens[role].as_str()))
        {
            let (get, head) = (
                ask(&office, "GET", &path, token).await,
                ask(&office, Method::HEAD.as_str(), &path, token).await,
            );
            assert_eq!(head.status, get.status, "{path}");
            assert!(head.body.is_empty(), "{path}");
        }
    }
}

#[tokio::test]
async fn a_parameter_stands_once_and_is_known() {
    let office = Office::open().await;
    let tokens = everybody(&office).await;
    for path in [
        "cards",
        "cards.csv",
        "conflicts",
        "duplicates",
        "held",
        "audit",
        "merges",
        "resolutions",
        "persons",
        "grids",
    ] {
        for query in [
            "page=1&page=2",
            "grid=A1&grid=A2",
            "record=x&record=y",
            "unmasked=false&unmasked=true",
            "street=310105009",
        ] {
            let name = query.split('=').next().unwrap_or_default();
            let token = if ["audit", "persons"].contains(&path) {
                &tokens["admin"]
            } else {
                &tokens["reviewer"]
            };
            let answer = ask(
                &office,
                "GET",
                &format!("/v1/streets/{HOME}/{path}?{query}"),
                Some(token),
            )
            .await;
            // A list that does not know the name passes over it or refuses it; it never takes one of two.
            if answer.status.is_success() {
                let alone = ask(
                    &office,
                    "GET",
                    &format!("/v1/streets/{HOME}/{path}"),
                    Some(token),
                )
                .await;
                assert_eq!(answer.json, alone.json, "{path}?{query}");
                assert_ne!(name, "page", "{path}?{query} takes one of two");
            } else {
                refused_without_a_word_of_the_inside(&answer, &format!("{path}?{query}"));
            }
        }
        for query in [
            "page=-1",
            "page=0",
            "page=99999999999999999999",
            "page_size=201",
            "page_size=1e3",
            "page=1%00",
            "page=%31%20",
            "page[]=1",
        ] {
            let answer = ask(
                &office,
                "GET",
                &format!("/v1/streets/{HOME}/{path}?{query}"),
                Some(&tokens["admin"]),
            )
            .await;
            assert!(
                !answer.status.is_server_error(),
                "{path}?{query}: {}",
                answer.json
            );
        }
    }
}

#[tokio::test]
async fn health_and_metrics_tell_the_public_nothing() {
    let office = Office::open().await;
    for (path, body) in [
        ("/healthz", json!({ "status": "alive" })),
        ("/readyz", json!({ "status": "ready" })),
    ] {
        let answer = ask(&office, "GET", path, None).await;
        assert_eq!(
            (answer.status, &answer.json),
            (StatusCode::OK, &body),
            "{path}"
        );
        for name in ["server", "via", "x-powered-by", "x-version"] {
            assert!(
                !answer.headers.contains_key(name),
                "{path} tells its {name}"
            );
        }
    }
    for path in [
        "/metrics",
        "/v1/metrics",
        "/debug",
        "/debug/pprof",
        "/server-status",
        "/.git/config",
        "/.env",
        "/actuator/health",
        "/v1",
    ] {
        for token in [None, Some(office.admin.as_str())] {
            let answer = ask(&office, "GET", path, token).await;
            assert_eq!(
                (answer.status, answer.code()),
                (StatusCode::NOT_FOUND, "not_found"),
                "{path}"
            );
        }
    }
}
