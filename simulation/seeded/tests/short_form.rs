//! The short form of `make simulate`: 200 runs, every promise held, and everything that can go wrong went wrong.

use lianka_simulation::runner;

const SEEDS: u64 = 200;

/// Without these a run proves little; what the engine counts beside them is for people to read.
const MUST_HAPPEN: &[&str] = &[
    "network: answer cut",
    "network: answer lost",
    "network: request lost",
    "network: request repeated",
    "network: request late",
    "office: died between commit and answer",
    "phone: crashed",
    "phone: crashed while synchronising",
    "phone: cloned",
    "phone: lost",
    "phone: wiped",
    "act: change a role",
    "network: answer cut behind a checkpoint",
    "two heads: one comes late",
    "two heads: one is refused",
    "two heads: one is held",
    "phone: runs an older version",
    "refused: actor_forked",
    "refused: depends_on_rejected",
    "refused: erased",
    "refused: redacted",
    "refused: stale_generation",
    "sync: drafted",
    "sync: healed a change",
    "sync: rebased",
    "sync: reset",
    "visit: noted",
    "verdict: held",
    "verdict: duplicate",
    "verdict: retryable",
];

#[test]
fn two_hundred_runs_keep_every_promise() {
    let report = runner::many(1, SEEDS, false, &|_| ());
    let told: Vec<_> = report
        .failures
        .iter()
        .map(|failure| format!("seed {}: {}", failure.seed, failure.found[0]))
        .collect();
    assert!(
        told.is_empty(),
        "{}\nlianka-simulation replay SEED --minimise tells more",
        told.join("\n")
    );
    assert_eq!(report.runs, SEEDS);
    let missing: Vec<_> = MUST_HAPPEN
        .iter()
        .filter(|name| report.coverage.of(name) == 0)
        .collect();
    assert!(
        missing.is_empty(),
        "never happened: {missing:?}\n{}",
        report.coverage
    );
}
