//! Background passes where two servers share a database: one of them runs each, and another follows one that died.

use std::{sync::Arc, time::Duration};

use axum::{
    body::{Body, to_bytes},
    http::{Request, StatusCode},
};
use lianka_server::{
    Server,
    clock::Entropy,
    config::ServeConfig,
    upkeep::{
        health,
        leases::{Claim, Leases},
        passes,
        supervisor::{Reports, Supervised},
    },
};
use lianka_tests::TestApp;
use serde_json::Value;
use tower::ServiceExt;

/// A second server on the same database, with the same clock.
async fn beside(one: &TestApp) -> Server {
    Server::start(
        one.database.pool.clone(),
        Arc::new(ServeConfig::for_tests()),
        one.clock.clone(),
        Entropy::seeded(2),
    )
    .await
    .expect("it starts")
}

#[tokio::test]
async fn one_server_runs_a_pass_and_another_follows_it_when_it_died() {
    let one = TestApp::start().await;
    let (first, second) = (
        Leases::new((*one.app).clone()),
        Leases::new((*beside(&one).await).clone()),
    );
    let (name, minute) = ("example", Duration::from_mins(1));
    let claim = async |leases: &Leases| leases.claim(name, minute).await.expect("an answer");
    let unknown = Claim::Others {
        succeeded_before: None,
    };
    assert_eq!(claim(&first).await, Claim::Ours);
    assert_eq!(claim(&second).await, unknown);
    one.clock.advance_ms(5_000);
    first.renew(name).await.expect("renewed");
    one.clock.advance_ms(5_000);
    assert_eq!(claim(&second).await, unknown, "it is renewed");
    // The first dies: nothing is said any more.
    one.clock.advance_ms(6_000);
    assert_eq!(claim(&second).await, Claim::Ours);
    assert_eq!(claim(&first).await, unknown, "it was only slow");
    second.release(name, true).await.expect("given back");
    one.clock.advance_ms(59_000);
    let not_yet = Claim::Others {
        succeeded_before: Some(Duration::from_secs(59)),
    };
    assert_eq!(
        (claim(&first).await, claim(&second).await),
        (not_yet, not_yet)
    );
    one.clock.advance_ms(1_000);
    assert_eq!(claim(&first).await, Claim::Ours, "whoever comes first");
    assert_eq!(
        claim(&second).await,
        Claim::Others {
            succeeded_before: Some(minute)
        }
    );
    first.release(name, false).await.expect("given back");
    assert_eq!(
        claim(&second).await,
        Claim::Ours,
        "a failure is tried elsewhere"
    );
}

#[tokio::test]
async fn a_lease_from_a_wrong_clock_binds_nobody() {
    let one = TestApp::start().await;
    let (first, second) = (
        Leases::new((*one.app).clone()),
        Leases::new((*beside(&one).await).clone()),
    );
    one.clock.advance_ms(86_400_000);
    assert_eq!(
        first.claim("example", Duration::ZERO).await.unwrap(),
        Claim::Ours
    );
    first.release("example", true).await.unwrap();
    one.clock.advance_ms(-86_400_000);
    let minute = Duration::from_mins(1);
    assert_eq!(second.claim("example", minute).await.unwrap(), Claim::Ours);
}

#[tokio::test]
async fn every_pass_runs_and_operators_are_told_how_it_went() {
    let one = TestApp::start().await;
    let (leases, reports) = (Leases::new((*one.app).clone()), Reports::default());
    let mut names = Vec::new();
    for pass in passes::all(&one.app.auth) {
        names.push(pass.name);
        let mut pass = Supervised::new(pass, leases.clone(), reports.clone());
        pass.step().await;
    }
    let readiness = async || {
        let operators = health::operators((*one.app).clone(), reports.clone());
        let request = Request::get("/readyz").body(Body::empty()).unwrap();
        let answer = operators.oneshot(request).await.unwrap();
        let status = answer.status();
        let body = to_bytes(answer.into_body(), 1 << 16).await.unwrap();
        (status, serde_json::from_slice::<Value>(&body).unwrap())
    };
    let (status, body) = readiness().await;
    assert_eq!(status, StatusCode::OK);
    for name in names {
        let pass = &body["passes"][name];
        assert_eq!(
            (&pass["runs"], &pass["failures"]),
            (&1.into(), &0.into()),
            "{name}"
        );
    }
    assert_eq!(body["silent_passes"], Value::Null);

    // The store goes away: passes fail, and say so.
    one.app.pool.close().await;
    let pass = passes::all(&one.app.auth).remove(0);
    let mut pass = Supervised::new(pass, leases.clone(), reports.clone());
    assert_eq!(pass.step().await, Duration::from_secs(1));
    let (status, body) = readiness().await;
    assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(body["passes"]["refresh"]["failing"], 1, "{body}");
}
