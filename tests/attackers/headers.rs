//! Headers that lie about where a request comes from or where it goes, browsers of other origins, and two requests in one.

use std::{
    io::{Read, Write},
    net::TcpStream,
    time::Duration,
};

use axum::{
    body::Body,
    http::{HeaderValue, Request, StatusCode, header},
};
use serde_json::{Value, json};

use super::{NOBODY, everybody, filled, refused_without_a_word_of_the_inside, routes, send};
use crate::sync::phone::{HOME, Office};

const ELSEWHERE: &str = "attacker.example";

#[tokio::test]
async fn what_a_request_says_about_itself_changes_nothing() {
    let office = Office::open().await;
    let token = everybody(&office).await["secretary"].clone();
    for route in routes().filter(|route| route.method == "GET") {
        let path = filled(route.path, HOME, NOBODY);
        let plain = Request::get(&path)
            .header(header::AUTHORIZATION, format!("Bearer {token}"))
            .body(Body::empty());
        let plain = send(&office, plain.expect("a request")).await;
        let mut request =
            Request::get(&path).header(header::AUTHORIZATION, format!("Bearer {token}"));
        for (name, value) in [
            ("host", ELSEWHERE),
            ("x-forwarded-host", ELSEWHERE),
            ("x-forwarded-for", "127.0.0.1"),
            ("x-forwarded-prefix", "/attacker.example"),
            ("x-real-ip", "127.0.0.1"),
            (
                "forwarded",
                "for=127.0.0.1;host=attacker.example;proto=http",
            ),
            ("true-client-ip", "127.0.0.1"),
            ("x-original-url", "/v1/users"),
            ("x-rewrite-url", "/v1/users"),
            ("x-user", "root"),
            ("x-remote-user", "root"),
            ("x-role", "admin"),
            ("x-username", "root"),
            ("x-street", "310105009"),
            ("remote-user", "root"),
            ("referer", "https://attacker.example/"),
            ("origin", "https://attacker.example"),
            ("range", "bytes=0-1"),
            ("cookie", "role=admin; session=root"),
        ] {
            request = request.header(name, value);
        }
        let answer = send(&office, request.body(Body::empty()).expect("a request")).await;
        assert_eq!(answer.status, plain.status, "{path}");
        assert!(
            !String::from_utf8_lossy(&answer.body).contains(ELSEWHERE),
            "{path}"
        );
        for (name, value) in &answer.headers {
            assert!(
                !value.to_str().unwrap_or_default().contains("attacker"),
                "{path} {name}"
            );
        }
        assert!(
            !answer.headers.contains_key(header::LOCATION)
                && !answer.headers.contains_key(header::SET_COOKIE),
            "{path}"
        );
    }
}

/// No page of another origin reads an answer, and none can make a browser send a token: there are no cookies.
#[tokio::test]
async fn browsers_of_other_origins_get_nothing() {
    let office = Office::open().await;
    let tokens = everybody(&office).await;
    for route in routes() {
        let path = filled(route.path, HOME, NOBODY);
        for method in [route.method, "OPTIONS"] {
            let request = Request::builder()
                .method(method)
                .uri(&path)
                .header("origin", "https://attacker.example");
            let request = request
                .header("access-control-request-method", route.method)
                .header("access-control-request-headers", "authorization");
            let request = request
                .header(header::AUTHORIZATION, format!("Bearer {}", tokens["admin"]))
                .body(Body::empty());
            let answer = send(&office, request.expect("a request")).await;
            let crossing = answer
                .headers
                .keys()
                .find(|name| name.as_str().starts_with("access-control-"));
            assert!(crossing.is_none(), "{method} {path}: {crossing:?}");
            assert!(
                !answer.headers.contains_key(header::SET_COOKIE),
                "{method} {path}"
            );
            let policy = answer.headers[header::CONTENT_SECURITY_POLICY]
                .to_str()
                .expect("plain");
            for directive in [
                "default-src 'none'",
                "base-uri 'none'",
                "form-action 'none'",
                "frame-ancestors 'none'",
            ] {
                assert!(
                    policy.contains(directive),
                    "{method} {path}: {directive} is missing in {policy}"
                );
            }
            // An answer with a body says what it is, so that no browser guesses.
            assert!(
                answer.body.is_empty() || answer.headers.contains_key(header::CONTENT_TYPE),
                "{method} {path}"
            );
        }
    }
    // What a form or a simple request can send is no JSON. The token above has signed out on the way.
    let token = office.phone("admin").await.token;
    for content_type in [
        "text/plain",
        "application/x-www-form-urlencoded",
        "multipart/form-data; boundary=x",
        "application/jsonp",
        "",
    ] {
        let request = Request::post("/v1/users").header(header::CONTENT_TYPE, content_type);
        let request = request.header(header::AUTHORIZATION, format!("Bearer {token}"));
        let body =
            json!({ "username": "new", "display_name": "x", "role": "secretary", "street": HOME })
                .to_string();
        let answer = send(&office, request.body(Body::from(body)).expect("a request")).await;
        assert_eq!(
            answer.status,
            StatusCode::UNSUPPORTED_MEDIA_TYPE,
            "{content_type}"
        );
    }
}

/// A browser that came by TLS is told to stay with it; one that did not is told nothing, because it would not believe it (RFC 6797, 7.2).
#[tokio::test]
async fn a_browser_behind_tls_is_told_to_stay_there() {
    let office = Office::open().await;
    for (proto, told) in [
        (Some("https"), true),
        (Some("http"), false),
        (Some("https, http"), false),
        (None, false),
    ] {
        for path in ["/v1/docs", "/v1/users", "/v1/nothing", "/healthz"] {
            let mut request = Request::get(path);
            if let Some(proto) = proto {
                request = request.header("x-forwarded-proto", proto);
            }
            let answer = send(&office, request.body(Body::empty()).expect("a request")).await;
            let expected =
                told.then(|| HeaderValue::from_static("max-age=31536000; includeSubDomains"));
            assert_eq!(
                answer.headers.get(header::STRICT_TRANSPORT_SECURITY),
                expected.as_ref(),
                "{proto:?} {path}"
            );
        }
    }
}

#[tokio::test]
async fn headers_that_break_lines_lists_or_bounds_are_harmless() {
    let office = Office::open().await;
    let token = everybody(&office).await["reviewer"].clone();
    let long = "a".repeat(100_000);
    let many = "zh,".repeat(30_000);
    for (name, value) in [
        ("x-request-id", long.as_bytes()),
        ("x-request-id", b"a\tb"),
        ("x-request-id", b"\xff\xfe"),
        ("x-request-id", b"a%0d%0aset-cookie: a=b"),
        ("accept-language", many.as_bytes()),
        ("accept-language", b"zh;q=9999999999999999999999"),
        ("accept-language", b"\xe4\xb8\xad"),
        ("accept", b"\xff"),
        ("accept-encoding", many.as_bytes()),
        ("content-encoding", b"gzip, gzip, zstd"),
        ("if-none-match", long.as_bytes()),
        ("if-modified-since", b"not a date"),
        ("expect", b"100-continue"),
        ("range", b"bytes=0-18446744073709551615"),
    ] {
        let value = HeaderValue::from_bytes(value).expect("a value that HTTP allows");
        let request = Request::get(format!("/v1/streets/{HOME}/cards")).header(name, value);
        let request = request
            .header(header::AUTHORIZATION, format!("Bearer {token}"))
            .body(Body::empty());
        let answer = send(&office, request.expect("a request")).await;
        assert_eq!(answer.status, StatusCode::OK, "{name}: {}", answer.json);
        let id = answer.headers["x-request-id"].to_str().expect("plain");
        assert!(
            id.len() <= 64 && !id.contains(['%', ' ', '\t']),
            "{name}: {id}"
        );
        assert!(!answer.headers.contains_key(header::SET_COOKIE));
    }
    // A packed body is not unpacked where none is expected.
    let packed =
        zstd::encode_all(&br#"{"set":{"grid":"A1","sign_name":"x"}}"#[..], 3).expect("zstd");
    let request = Request::post(format!("/v1/streets/{HOME}/records"))
        .header(header::CONTENT_ENCODING, "zstd");
    let request = request
        .header(header::CONTENT_TYPE, "application/json")
        .header(header::AUTHORIZATION, format!("Bearer {token}"));
    refused_without_a_word_of_the_inside(
        &send(
            &office,
            request.body(Body::from(packed)).expect("a request"),
        )
        .await,
        "a packed body",
    );
}

/// Where one request ends, and the next begins, is not for its body to say.
#[tokio::test(flavor = "multi_thread")]
async fn no_second_request_hides_in_the_first() {
    let office = Office::open().await;
    let served = office.test.serve().await;
    let hidden = "GET /v1/openapi.json HTTP/1.1\r\nhost: x\r\n\r\n";
    let length = hidden.len();
    let json = "content-type: application/json\r\n";
    for (what, head, body) in [
        (
            "two lengths",
            format!(
                "POST /v1/sessions HTTP/1.1\r\nhost: x\r\n{json}content-length: 2\r\ncontent-length: {length}\r\n\r\n"
            ),
            hidden.to_owned(),
        ),
        (
            "a list of lengths",
            format!(
                "POST /v1/sessions HTTP/1.1\r\nhost: x\r\n{json}content-length: 2, {length}\r\n\r\n"
            ),
            hidden.into(),
        ),
        (
            "a length with a sign",
            format!("POST /v1/sessions HTTP/1.1\r\nhost: x\r\n{json}content-length: +2\r\n\r\n"),
            hidden.into(),
        ),
        (
            "another coding",
            format!(
                "POST /v1/sessions HTTP/1.1\r\nhost: x\r\n{json}transfer-encoding: xchunked\r\n\r\n"
            ),
            hidden.into(),
        ),
        (
            "a coding by a blank",
            format!(
                "POST /v1/sessions HTTP/1.1\r\nhost: x\r\n{json}transfer-encoding : chunked\r\n\r\n"
            ),
            hidden.into(),
        ),
        (
            "chunks that lie",
            format!(
                "POST /v1/sessions HTTP/1.1\r\nhost: x\r\n{json}transfer-encoding: chunked\r\n\r\n"
            ),
            format!("-1\r\n{hidden}"),
        ),
        (
            "a huge chunk",
            format!(
                "POST /v1/sessions HTTP/1.1\r\nhost: x\r\n{json}transfer-encoding: chunked\r\n\r\n"
            ),
            format!("fffffffffffffffff\r\n{hidden}"),
        ),
        (
            "a folded line",
            format!(
                "POST /v1/sessions HTTP/1.1\r\nhost: x\r\n{json} x-folded: 1\r\ncontent-length: 0\r\n\r\n"
            ),
            hidden.into(),
        ),
        (
            "a NUL in a header",
            "GET /healthz HTTP/1.1\r\nhost: x\0y\r\n\r\n".into(),
            hidden.into(),
        ),
        (
            "a bare return",
            "GET /healthz HTTP/1.1\r\nhost: x\ry: z\r\n\r\n".into(),
            hidden.into(),
        ),
    ] {
        let answers = talk(served.address.to_string(), format!("{head}{body}")).await;
        assert!(
            !answers.contains("HTTP/1.1 200") && !answers.contains("\"openapi\""),
            "{what}: {answers}"
        );
    }
    // Length and chunks: the chunks count, and the line is closed behind them or the length was never believed.
    let both = format!(
        "POST /v1/sessions HTTP/1.1\r\nhost: x\r\n{json}content-length: 4\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n"
    );
    let answers = talk(served.address.to_string(), both).await;
    assert_eq!(answers.matches("HTTP/1.1 ").count(), 1, "{answers}");
    assert!(answers.starts_with("HTTP/1.1 400"), "{answers}");
}

/// Sends this and the end, and reads all that comes.
async fn talk(address: String, sent: String) -> String {
    let talk = tokio::task::spawn_blocking(move || {
        let mut stream = TcpStream::connect(address).expect("it listens");
        stream
            .set_read_timeout(Some(Duration::from_secs(20)))
            .expect("a bound");
        stream.write_all(sent.as_bytes()).expect("it reads");
        // It may have hung up already.
        let _ = stream.shutdown(std::net::Shutdown::Write);
        let mut answers = Vec::new();
        let _ = stream.read_to_end(&mut answers);
        String::from_utf8_lossy(&answers).into_owned()
    });
    talk.await.expect("it ends")
}

#[tokio::test]
async fn the_description_is_public_and_holds_no_secret() {
    let office = Office::open().await;
    let answer = office
        .call("GET", "/v1/openapi.json", None, Value::Null)
        .await;
    let shown = String::from_utf8_lossy(&answer.body);
    for word in ["127.0.0.1", "argon2id$", "-----BEGIN", "postgres://"] {
        assert!(!shown.contains(word), "{word}");
    }
    let answer = office
        .call("GET", "/.well-known/jwks.json", None, Value::Null)
        .await;
    let keys = answer.json["keys"].as_array().expect("keys");
    for key in keys {
        let mut names: Vec<_> = key
            .as_object()
            .expect("a key")
            .keys()
            .map(String::as_str)
            .collect();
        names.sort_unstable();
        assert_eq!(
            names,
            ["alg", "crv", "kid", "kty", "use", "x"],
            "no private part"
        );
    }
}
