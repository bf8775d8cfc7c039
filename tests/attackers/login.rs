//! Signing in tells nobody who exists: not by the answer (auth.rs), and not by the work behind it, which is counted here. Time on a clock would
//! be a guess on a busy machine; the hashes made and the statements sent are what time is made of.

use std::{cell::RefCell, sync::Once};

use axum::http::StatusCode;
use lianka_server::auth;
use lianka_tests::Answer;
use serde_json::{Value, json};
use tracing::{
    Event, Level, Subscriber,
    field::{Field, Visit},
};
use tracing_subscriber::{
    filter::Targets,
    layer::{Context, Layer, SubscriberExt},
    registry,
};

use crate::sync::phone::{HOME, OTHER, Office};

const PASSWORD: &str = "a long enough password";
const WRONG: &str = "another wrong password";

thread_local! {
    /// What this thread has sent to Postgres since somebody began to look.
    static SENT: RefCell<Option<Vec<String>>> = const { RefCell::new(None) };
}

/// Notes every statement in the list of its thread, where there is one.
struct Statements;

impl Visit for Statements {
    fn record_debug(&mut self, field: &Field, value: &dyn std::fmt::Debug) {
        // What the pool asks by itself has to do with the age of a connection, and nothing with the request.
        let summary = format!("{value:?}");
        if field.name() == "summary" && !summary.contains("show ") {
            SENT.with_borrow_mut(|sent| {
                if let Some(sent) = sent {
                    sent.push(summary);
                }
            });
        }
    }
}

impl<S: Subscriber> Layer<S> for Statements {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        event.record(&mut Self);
    }
}

/// The answer, the password hashes that it took, and the statements. For tests of one thread.
async fn cost(
    office: &Office,
    method: &str,
    path: &str,
    token: Option<&str>,
    body: Value,
) -> (Answer, u64, Vec<String>) {
    static NOTING: Once = Once::new();
    NOTING.call_once(|| {
        let statements =
            Statements.with_filter(Targets::new().with_target("sqlx::query", Level::DEBUG));
        tracing::subscriber::set_global_default(registry().with(statements))
            .expect("nobody else in these tests listens");
    });
    let before = office.test.app.auth.hashes_made();
    SENT.set(Some(Vec::new()));
    let answer = office.call(method, path, token, body).await;
    (
        answer,
        office.test.app.auth.hashes_made() - before,
        SENT.take().unwrap_or_default(),
    )
}

/// One of every sort of name, and only the first can sign in.
async fn office() -> Office {
    let office = Office::open().await;
    let app = &office.test.app;
    for username in ["known", "disabled"] {
        auth::create_admin(
            &app.pool,
            &app.clock,
            &app.entropy,
            username,
            "周暮云",
            PASSWORD.into(),
        )
        .await
        .expect("an account");
    }
    office
        .execute("update account set street = '310104003' where username in ('known', 'disabled')")
        .await;
    office
        .execute("update account set disabled_at = now() where username = 'disabled'")
        .await;
    office.user("phone.only", "secretary", Some(HOME)).await;
    office
}

/// Those that cannot be names share one count, so one of them stands for all.
const NAMES: &[&str] = &["known", "disabled", "phone.only", "nobody", "Not A Name"];

#[tokio::test]
async fn a_wrong_password_costs_the_same_for_every_name_until_it_is_locked() {
    let office = office().await;
    let sign_in = async |username: &str, password: &str| {
        cost(
            &office,
            "POST",
            "/v1/sessions",
            None,
            json!({ "username": username, "password": password }),
        )
        .await
    };
    // Every name gets as many tries as any other, the lock included.
    for attempt in 1..=6 {
        let (answer, hashes, statements) = sign_in("known", WRONG).await;
        let expected = if attempt <= 5 {
            (StatusCode::UNAUTHORIZED, 1)
        } else {
            (StatusCode::TOO_MANY_REQUESTS, 0)
        };
        assert_eq!((answer.status, hashes), expected, "{}", answer.json);
        assert!(
            statements.len() >= 2,
            "the statements were not noted: {statements:?}"
        );
        for name in NAMES.iter().skip(1) {
            let (other, other_hashes, other_statements) = sign_in(name, WRONG).await;
            assert_eq!(
                (other.status, other_hashes),
                (answer.status, hashes),
                "{name}, attempt {attempt}: {}",
                other.json
            );
            assert_eq!(other_statements, statements, "{name}, attempt {attempt}");
            assert_eq!(
                other.headers.get("retry-after"),
                answer.headers.get("retry-after"),
                "{name}, attempt {attempt}"
            );
        }
    }
}

#[tokio::test]
async fn who_cannot_sign_in_learns_no_more_from_the_right_password() {
    let office = office().await;
    for name in ["disabled", "phone.only", "nobody"] {
        let body =
            json!({ "username": name, "password": PASSWORD, "new_password": "Another pass 2026" });
        let (answer, hashes, _) = cost(&office, "POST", "/v1/sessions", None, body).await;
        assert_eq!((answer.code(), hashes), ("bad_credentials", 1), "{name}");
    }
    let (answer, hashes, _) = cost(
        &office,
        "POST",
        "/v1/sessions",
        None,
        json!({ "username": "known", "password": PASSWORD }),
    )
    .await;
    assert_eq!(
        (answer.status, hashes),
        (StatusCode::CREATED, 1),
        "{}",
        answer.json
    );
}

/// A wrong code costs the same whether it never was, is used or is over; a wrong refresh token likewise.
#[tokio::test]
async fn wrong_codes_and_tokens_cost_the_same() {
    let office = office().await;
    let code = async || {
        office
            .call(
                "POST",
                "/v1/enrolments",
                Some(&office.admin),
                json!({ "username": "phone.only" }),
            )
            .await
            .json["code"]
            .clone()
    };
    let enrol = async |code: &Value| {
        cost(
            &office,
            "POST",
            "/v1/devices",
            None,
            json!({ "code": code, "name": "手机", "platform": "android" }),
        )
        .await
    };
    let over = code().await;
    office.test.clock.advance_ms(601_000);
    let used = code().await;
    let (session, ..) = enrol(&used).await;
    assert_eq!(session.status, StatusCode::CREATED);
    let (unknown, _, statements) = enrol(&json!("0000000000")).await;
    assert_eq!(unknown.code(), "enrolment_refused");
    for code in [over, used, json!(""), json!("号码")] {
        let (answer, _, other) = enrol(&code).await;
        assert_eq!(
            (answer.code(), other),
            ("enrolment_refused", statements.clone()),
            "{code}"
        );
    }
}

/// An admin of one street asks about people of another in every way that takes a name.
#[tokio::test]
async fn a_name_elsewhere_costs_what_no_name_costs() {
    let office = office().await;
    office.user("there", "reviewer", Some(OTHER)).await;
    office.user("admin.here", "admin", Some(HOME)).await;
    let token = office.phone("admin.here").await.token;
    for (method, path, body) in [
        ("PATCH", "/v1/users/{}", json!({ "display_name": "改名" })),
        (
            "PUT",
            "/v1/users/{}/password",
            json!({ "new_password": "Another pass 2026" }),
        ),
        ("GET", "/v1/streets/310104003/assignments/{}", Value::Null),
        (
            "PUT",
            "/v1/streets/310104003/assignments/{}",
            json!({ "grids": ["A1"] }),
        ),
    ] {
        let there = cost(
            &office,
            method,
            &path.replace("{}", "there"),
            Some(&token),
            body.clone(),
        )
        .await;
        let none = cost(
            &office,
            method,
            &path.replace("{}", "nobody"),
            Some(&token),
            body,
        )
        .await;
        assert_eq!(
            there.0.status,
            StatusCode::NOT_FOUND,
            "{method} {path}: {}",
            there.0.json
        );
        assert_eq!((there.1, there.2), (none.1, none.2), "{method} {path}");
    }
}
