//! Faults on the real thing: the server killed at every named point of its pipeline, Postgres killed, stopped, hanging, full, out of
//! connections, read-only or replaced by its standby, and clocks that jump. Each time: nothing acknowledged is lost, nothing is stored
//! twice, nobody waits longer than the limit, `/readyz` tells the truth, and everything goes on without a hand.

mod clocks;
mod cluster;
mod failover;
mod points;
mod postgres;
mod process;

use std::{
    fs,
    path::Path,
    time::{Duration, Instant},
};

use lianka_server::{admin::audit_proof::verify, audit::Chain, street::projection as project};

use crate::sync::phone::{HOME, Office, READ_MODELS};

/// What a busy machine may add to a time limit. Who waits for ever is found all the same.
const BUSY: Duration = Duration::from_secs(20);

/// Others' processes take their own time, and nothing tells a stranger when they are done: looked at until it comes, three minutes at most.
async fn until(what: &str, mut come: impl AsyncFnMut() -> bool) {
    let began = Instant::now();
    let mut tick = tokio::time::interval(Duration::from_millis(10));
    while !come().await {
        assert!(
            began.elapsed() < Duration::from_mins(3),
            "{what} did not come"
        );
        tick.tick().await;
    }
}

/// The points are in no program that is shipped: `make build` names its packages, and the tests' crate is none of them.
#[test]
fn only_the_tests_can_end_a_server_at_a_point() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let manifests = fs::read_dir(&root)
        .expect("the workspace")
        .flatten()
        .map(|entry| entry.path().join("Cargo.toml"));
    let naming = manifests.filter(|manifest| {
        fs::read_to_string(manifest).is_ok_and(|text| text.contains("\"pipeline-points\""))
    });
    let naming: Vec<_> = naming
        .map(|manifest| {
            manifest
                .parent()
                .and_then(Path::file_name)
                .map(ToOwned::to_owned)
        })
        .collect();
    assert_eq!(naming, [Some("tests".into())]);
    let server = fs::read_to_string(root.join("server/Cargo.toml")).expect("a manifest");
    assert!(
        server.contains("pipeline-points = []") && !server.contains("default ="),
        "nothing turns it on by itself"
    );
}

/// What must hold of a store, whatever was done to it: every change once, sequences in order, the audit chains whole, the rows a function of
/// the records.
async fn assert_whole(office: &Office, after: &str) {
    let pool = &office.test.app.pool;
    // What a killed server's Postgres still finishes is not half done.
    let busy = "select count(*) from pg_stat_activity where datname = current_database() and pid <> pg_backend_pid() and state <> 'idle'";
    until("a store at rest", async || office.count(busy).await == 0).await;
    // One statement, as the log may be trimmed meanwhile.
    let twice = "select count(*) - count(distinct (street, record, hash)) from change_log where type = 'change'";
    assert_eq!(
        office.count(twice).await,
        0,
        "{after}: a change is stored twice"
    );
    let beyond =
        "select count(*) from change_log l join street s using (street) where l.seq > s.head_seq";
    assert_eq!(
        office.count(beyond).await,
        0,
        "{after}: an entry beyond the head"
    );
    let behind = "select count(*) from record r where seq <> (select max(l.seq) from change_log l where (l.street, l.record) = (r.street, r.record))";
    assert_eq!(
        office.count(behind).await,
        0,
        "{after}: a record and its log differ"
    );
    for chain in [HOME, "deployment"] {
        let proof = verify(pool, Chain::named(chain), None)
            .await
            .expect("the chain can be read");
        assert!(
            proof.ok,
            "{after}: {chain}: {:?}",
            proof
                .problems
                .iter()
                .map(|problem| (problem.no, problem.code))
                .collect::<Vec<_>>()
        );
    }
    let rows = office.rows(READ_MODELS).await;
    project::rebuild(pool, &HOME.parse().expect("a street"), |_| ())
        .await
        .expect("rebuilt");
    assert_eq!(
        office.rows(READ_MODELS).await,
        rows,
        "{after}: the rows are not what a rebuild makes"
    );
}

/// Every number of the street's log from 1 to the head is taken, once.
async fn assert_without_gap(office: &Office, after: &str) {
    let entries = office
        .count("select count(*) from change_log where street = '310104003'")
        .await;
    assert_eq!(
        office
            .count("select head_seq from street where street = '310104003'")
            .await,
        entries,
        "{after}: a gap in the log"
    );
}
