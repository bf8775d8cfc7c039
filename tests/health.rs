//! The harness itself, and what a load balancer asks.

use axum::http::StatusCode;
use lianka_tests::{TestApp, fresh_database};

#[tokio::test]
async fn tests_do_not_see_each_others_databases() {
    let (one, other) = (fresh_database().await, fresh_database().await);
    sqlx::raw_sql("insert into street (street, name, district, created_at) values ('310104003', '天平路街道', '徐汇区', now())")
        .execute(&one.pool)
        .await
        .expect("the schema is there");
    let streets = async |database: &lianka_tests::Database| {
        let count: i64 = sqlx::query_scalar("select count(*) from street")
            .fetch_one(&database.pool)
            .await
            .expect("a count");
        count
    };
    assert_eq!((streets(&one).await, streets(&other).await), (1, 0));
}

#[tokio::test]
async fn a_server_without_its_database_lives_but_is_not_ready() {
    let server = TestApp::start().await;
    assert_eq!(
        server.request("GET", "/readyz", None, None).await.status,
        StatusCode::OK
    );
    server.app.pool.close().await;
    assert_eq!(
        server.request("GET", "/readyz", None, None).await.status,
        StatusCode::SERVICE_UNAVAILABLE
    );
    assert_eq!(
        server.request("GET", "/healthz", None, None).await.status,
        StatusCode::OK
    );
}

#[tokio::test]
async fn a_stopping_server_asks_for_no_more_traffic() {
    let server = TestApp::start().await;
    server.app.stopping.cancel();
    assert_eq!(
        server.request("GET", "/readyz", None, None).await.status,
        StatusCode::SERVICE_UNAVAILABLE
    );
}

#[tokio::test]
async fn every_answer_carries_a_request_id() {
    let server = TestApp::start().await;
    for path in ["/healthz", "/no/such/route"] {
        let answer = server.request("GET", path, None, None).await;
        assert!(
            answer
                .headers
                .get("x-request-id")
                .is_some_and(|id| !id.is_empty()),
            "{path}"
        );
    }
}
