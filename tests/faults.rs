//! Faults on the real thing: the server killed at every named point of its pipeline, Postgres killed, stopped, hanging, full, out of
//! connections, read-only or replaced by its standby, and clocks that jump. Each time: nothing acknowledged is lost, nothing is stored
//! twice, nobody waits longer than the limit, `/readyz` tells the truth, and everything goes on without a hand.

mod clocks;
mod cluster;
mod failover;
mod imports;
mod points;
mod postgres;
mod process;

use std::{
    fs,
    path::Path,
    time::{Duration, Instant},
};

use lianka_server::{admin::audit_proof::verify, audit::Chain, street::projection as project};
use lianka_tests::{program, program_with_failpoints};

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

/// The crash tests start what is shipped, which has no failpoints; those that need them start a program of their own.
#[test]
fn only_a_program_of_the_tests_has_failpoints() {
    let holds = |program: &Path, text: &str| {
        let bytes = fs::read(program).expect("the program is there");
        String::from_utf8_lossy(&bytes).contains(text)
    };
    let (shipped, own) = (program("lianka"), program_with_failpoints());
    assert!(!holds(&shipped, "LIANKA_ABORT_AT"), "{}", shipped.display());
    assert!(holds(&own, "LIANKA_ABORT_AT"), "{}", own.display());
    // The looking itself: what both know.
    assert!(holds(&shipped, "DATABASE_URL") && holds(&own, "DATABASE_URL"));

    // Nothing turns them on by itself, and the tests' programs are built from the packages, with the features, of `make build`.
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let read = |path: &str| fs::read_to_string(root.join(path)).expect("a file");
    assert!(read("server/Cargo.toml").contains("pipeline-points = []"));
    for krate in [
        "client",
        "server",
        "simulation/load",
        "simulation/seeded",
        "tests",
    ] {
        let manifest = read(&format!("{krate}/Cargo.toml"));
        assert!(!manifest.contains("\"pipeline-points\""), "{krate}");
        assert!(krate != "server" || !manifest.contains("default ="));
    }
    let (makefile, script) = (read("Makefile"), read("scripts/programs.sh"));
    let line = |text: &str| {
        let line = text
            .lines()
            .find(|line| line.contains("build") && line.contains("-p lianka-server"));
        line.expect("a line that builds").to_owned()
    };
    let packages = |line: &str| {
        let words: Vec<_> = line.split_whitespace().collect();
        let named = words.windows(2).filter(|pair| pair[0] == "-p");
        named.map(|pair| pair[1].to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(packages(&line(&makefile)), packages(&line(&script)));
    assert!(!line(&makefile).contains("--features") && !line(&makefile).contains("--workspace"));
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
    let rows = office.rows(&READ_MODELS).await;
    project::rebuild(pool, &HOME.parse().expect("a street"), |_| ())
        .await
        .expect("rebuilt");
    assert_eq!(
        office.rows(&READ_MODELS).await,
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
