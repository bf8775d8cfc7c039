//! Access and refresh tokens that no server made: each is refused as a stranger's, and none of them spends or spoils the true one.

use axum::http::StatusCode;
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use serde_json::{Value, json};

use crate::sync::phone::{HOME, Office, text};

const LETTERS: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

/// The token with one letter replaced: here and there two ways, and every way in the last letter of each part, where base64 has bits to spare.
fn with_a_letter_changed(token: &str) -> Vec<String> {
    let bytes = token.as_bytes();
    let mut changed = Vec::new();
    for at in (0..bytes.len()).filter(|at| bytes[*at] != b'.') {
        let last = bytes.get(at + 1).is_none_or(|next| *next == b'.');
        let letters: &[u8] = if last {
            LETTERS
        } else if at % 7 == 0 {
            b"Aw"
        } else {
            b""
        };
        for letter in letters.iter().filter(|letter| **letter != bytes[at]) {
            let mut other = bytes.to_vec();
            other[at] = *letter;
            changed.extend(String::from_utf8(other));
        }
    }
    changed
}

fn part(value: &Value) -> String {
    URL_SAFE_NO_PAD.encode(value.to_string())
}

/// Headers, claims and shapes that libraries have fallen for.
fn forged(token: &str) -> Vec<String> {
    let parts: Vec<_> = token.split('.').collect();
    let [head, claims, signature] = parts[..] else {
        panic!("a token has three parts")
    };
    let header: Value =
        serde_json::from_slice(&URL_SAFE_NO_PAD.decode(head).expect("base64")).expect("JSON");
    let mut forged: Vec<String> = [
        json!({ "alg": "none" }),
        json!({ "alg": "none", "kid": header["kid"] }),
        json!({ "alg": "HS256", "kid": header["kid"], "typ": "JWT" }),
        json!({ "alg": "RS256", "kid": header["kid"] }),
        json!({ "alg": "ES256", "kid": header["kid"] }),
        json!({ "alg": ["EdDSA"], "kid": header["kid"] }),
        json!({ "alg": "EdDSA" }),
        json!({ "alg": "EdDSA", "kid": "" }),
        json!({ "alg": "EdDSA", "kid": "../../../dev/null" }),
        json!({ "alg": "EdDSA", "kid": "' or 1=1 --\u{0}" }),
        json!({ "alg": "EdDSA", "kid": "k".repeat(3_000) }),
        json!({ "alg": "EdDSA", "kid": 7 }),
        json!({ "alg": "EdDSA", "kid": header["kid"], "jwk": { "kty": "OKP", "crv": "Ed25519", "x": "AAAA" } }),
        json!({ "alg": "EdDSA", "kid": header["kid"], "crit": ["exp"], "b64": false }),
        json!([]),
        json!(null),
    ]
    .iter()
    .map(|header| format!("{}.{claims}.{signature}", part(header)))
    .collect();
    forged.extend([
        format!("{head}.{claims}."),
        format!("{head}.{claims}"),
        format!("{head}..{signature}"),
        format!(".{claims}.{signature}"),
        format!("{head}.{claims}.{signature}."),
        format!("{token}="),
        format!("{token}A"),
        format!("{head}.{claims}.{}", URL_SAFE_NO_PAD.encode([0; 64])),
        format!(
            "{head}.{}.{signature}",
            part(&json!({ "exp": 1e300, "iss": "lianka", "aud": "lianka", "sub": "root" }))
        ),
        format!("{head}.{}.{signature}", part(&json!({}))),
        "[".repeat(4_000),
        "A".repeat(5_000),
        "...".into(),
        ".".into(),
        token.to_uppercase(),
    ]);
    forged
}

#[tokio::test]
async fn no_access_token_but_the_true_one_is_taken() {
    let office = Office::open().await;
    let token = office.admin.clone();
    let path = format!("/v1/streets/{HOME}/grids");
    for other in with_a_letter_changed(&token)
        .into_iter()
        .chain(forged(&token))
    {
        let answer = office.call("GET", &path, Some(&other), Value::Null).await;
        assert_eq!(
            answer.status,
            StatusCode::UNAUTHORIZED,
            "{other}: {}",
            answer.json
        );
        assert!(
            ["token_invalid", "unauthenticated"].contains(&answer.code()),
            "{other}: {}",
            answer.json
        );
    }
    assert_eq!(
        office
            .call("GET", &path, Some(&token), Value::Null)
            .await
            .status,
        StatusCode::OK
    );
}

#[tokio::test]
async fn no_refresh_token_but_the_true_one_is_taken_or_spent() {
    let office = Office::open().await;
    office.user("li.na", "secretary", Some(HOME)).await;
    let code = office
        .call(
            "POST",
            "/v1/enrolments",
            Some(&office.admin),
            json!({ "username": "li.na" }),
        )
        .await;
    let device = json!({ "code": code.json["code"], "name": "手机", "platform": "android" });
    let session = office.call("POST", "/v1/devices", None, device).await;
    let token = text(&session.json["refresh_token"]);
    let others = with_a_letter_changed(&token).into_iter().chain(
        [
            "",
            ".",
            "\u{0}",
            "京",
            &token.to_uppercase(),
            &format!("{token}A"),
            &format!(" {token}"),
            &"A".repeat(20_000),
            &token[1..],
        ]
        .map(str::to_owned),
    );
    for other in others.filter(|other| *other != token) {
        let answer = office
            .call(
                "POST",
                "/v1/tokens",
                None,
                json!({ "refresh_token": other }),
            )
            .await;
        assert!(
            answer.status.is_client_error(),
            "{other}: {} {}",
            answer.status,
            answer.json
        );
    }
    for shape in [
        json!({ "refresh_token": [token] }),
        json!({ "refresh_token": null }),
        json!({}),
        json!({ "refresh_token": 7 }),
    ] {
        let answer = office.call("POST", "/v1/tokens", None, shape).await;
        assert!(answer.status.is_client_error(), "{}", answer.json);
    }
    let answer = office
        .call(
            "POST",
            "/v1/tokens",
            None,
            json!({ "refresh_token": token }),
        )
        .await;
    assert!(
        answer.status.is_success(),
        "the true one was spent: {}",
        answer.json
    );
}
