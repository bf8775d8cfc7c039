//! A primary with a synchronous standby: the standby is lost and comes back, the primary is lost and the standby takes over.

use std::time::{Duration, Instant};

use axum::http::StatusCode;
use lianka_server::{config::ServeConfig, store::waits::Waits, upkeep::passes};

use super::{
    BUSY,
    cluster::Cluster,
    postgres::{Scene, assert_unavailable},
    until,
};

const REPLICATED: &str = "select count(*) from pg_stat_replication where sync_state = 'sync'";

#[tokio::test(flavor = "multi_thread")]
async fn what_was_acknowledged_outlives_the_primary() {
    let mut primary = Cluster::stopped(&[
        "synchronous_standby_names=*",
        "wal_receiver_status_interval=1",
    ])
    .await;
    let mut standby = primary.standby(&[]);
    primary.run().await;
    standby.run().await;
    let mut looker = primary.connect().await;
    until("a synchronous standby", async || {
        let count: i64 = sqlx::query_scalar(REPLICATED)
            .fetch_one(&mut looker)
            .await
            .expect("a count");
        count == 1
    })
    .await;
    drop(looker);
    let mut config = ServeConfig::for_tests();
    config.store.databases = vec![primary.options(), standby.options()];
    config.store.waits = Waits {
        acquire: Duration::from_secs(5),
        ..Waits::of_statement(Duration::from_secs(4))
    };
    let mut scene = Scene::on(primary, config).await;
    let app = scene.office.test.app.clone();
    let watch = tokio::spawn(passes::alone(app.auth.clone(), "store_watch"));
    scene.work();
    scene.assert_healed("before").await;
    scene.until_ready().await;

    // A commit that its standby does not confirm is not told as done, however long it takes.
    standby.signal_all("STOP");
    scene.work();
    let began = Instant::now();
    assert_unavailable(
        &scene.push().await,
        "unavailable",
        "a standby that stands still",
    );
    assert!(
        began.elapsed() < scene.waits.request + BUSY,
        "{:?}",
        began.elapsed()
    );
    scene.until_told("no_answer").await;
    standby.signal_all("CONT");
    scene.until_ready().await;
    scene.assert_healed("a standby that stood still").await;

    // The primary is gone for good, in the middle of a push.
    scene.work();
    let reply = scene
        .push_and(async |cluster, _| cluster.signal_all("KILL"))
        .await;
    assert_unavailable(&reply, "unavailable", "a lost primary");
    scene.until_told("unreachable").await;
    assert_eq!(
        scene.push().await.status,
        StatusCode::SERVICE_UNAVAILABLE,
        "a standby takes no edits"
    );
    standby.execute("select pg_promote()").await;
    // Nobody tells the server: it finds the new primary by itself.
    scene.until_ready().await;
    scene.cluster = standby;
    scene.assert_healed("a lost primary").await;
    let records = scene.phone.records.len();
    let mut other = scene.office.phone("wang.fang").await;
    other.sync().await;
    assert_eq!(
        other.records.len(),
        records,
        "a phone that downloads everything gets everything"
    );
    app.stopping.cancel();
    watch.await.expect("it ends by itself");
}
