//! The checkers, checked: every planted bug breaks a promise in some world. A process of its own, because a planted bug is in all of it.

use std::{fs, path::Path};

use lianka_simulation::runner;
use lianka_sync_core::planted::{self, Bug};

/// Worlds that a bug may need, from the seed that is known to find it.
const SEEDS_MAX: u64 = 300;

/// Where to begin: seeds that found them when this was written (`lianka-simulation bugs`). A changed script only makes the search longer.
const KNOWN: &[(Bug, u64)] = &[
    (Bug::MergeDropsSiblings, 2),
    (Bug::MergeKeepsReplaced, 9),
    (Bug::MergeDeletesUnseen, 4),
    (Bug::MergeTakesForks, 11),
    (Bug::MergeTakesOldGenerations, 4),
    (Bug::WinnerIsLowest, 3),
    (Bug::MergeForgetsHeads, 3),
    (Bug::MergeForgetsOverwritten, 3),
    (Bug::MergeSeesAll, 2),
    (Bug::MergeSkipsConsent, 15),
    (Bug::GateLosesPredecessors, 9),
    (Bug::AuthorityLetsGridsMove, 4),
    (Bug::CursorIgnoresEpoch, 31),
    (Bug::CursorIgnoresScope, 5),
    (Bug::CursorForgetsDownload, 32),
    (Bug::CursorKeepsPlace, 125),
    (Bug::CursorTrustsScope, 12),
    (Bug::CheckpointTooEarly, 109),
    (Bug::OutboxRemovesRecord, 4),
    (Bug::OutboxTakesHeldForDone, 8),
    (Bug::OutboxAcknowledgesByPlace, 314),
    (Bug::OutboxKeepsEight, 32),
    (Bug::RebaseDropsRefused, 8),
    (Bug::RebaseReplacesUnseen, 23),
    (Bug::RebaseKeepsSeen, 5),
    (Bug::RebaseOverwritesNote, 6),
    (Bug::RebaseForgetsDeletion, 13),
    (Bug::DraftKeepsFirst, 8),
    (Bug::LeaveDropsEdits, 8),
    (Bug::StartOverKeepsAll, 12),
    (Bug::SnapshotKeepsTail, 1),
    (Bug::EraseStaysInLog, 2),
    (Bug::EraseLeavesPages, 2),
    (Bug::EraseKeepsDrafts, 13),
    (Bug::RedactKeepsDrafts, 46),
    (Bug::RedactDropsRest, 23),
    (Bug::RebuildKeepsGeneration, 29),
    (Bug::RulingWithdrawsAccepted, 7),
    (Bug::RulingCountsAnew, 2),
    (Bug::RulingIgnoresSeen, 15),
    (Bug::ConflictOfEquals, 2),
    (Bug::ConflictHidden, 15),
    (Bug::HeldForgetsRefusal, 8),
    (Bug::HeldTakesLost, 3),
];

#[test]
fn every_planted_bug_is_found() {
    std::panic::set_hook(Box::new(|_| ()));
    let missed: Vec<_> = Bug::ALL
        .iter()
        .copied()
        .filter(|bug| !bug.needs_the_real_office())
        .filter(|bug| !is_found(*bug))
        .collect();
    let _ = std::panic::take_hook();
    assert!(missed.is_empty(), "not found: {missed:?}");
}

fn is_found(bug: Bug) -> bool {
    let from = KNOWN
        .iter()
        .find(|(known, _)| *known == bug)
        .map_or(1, |(_, seed)| *seed);
    if let Some(script) = runner::script_for(bug) {
        assert_eq!(runner::one(&script).found, [], "without the bug");
        let _planted = planted::plant(bug);
        return !runner::one(&script).found.is_empty();
    }
    let _planted = planted::plant(bug);
    !runner::many(from, SEEDS_MAX, true, &|_| ())
        .failures
        .is_empty()
}

/// The feature is on in this crate alone, and what is shipped is built without this crate.
#[test]
fn nothing_that_is_shipped_has_bugs_on_purpose() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let read = |path: &str| fs::read_to_string(root.join(path)).unwrap();
    for crate_of_a_program in ["server", "client", "simulation/load", "sync-core"] {
        let manifest = read(&format!("{crate_of_a_program}/Cargo.toml"));
        let turned_on = manifest
            .lines()
            .filter(|line| line.contains("planted-bugs") && !line.starts_with("planted-bugs = "));
        assert_eq!(
            turned_on.collect::<Vec<_>>(),
            Vec::<&str>::new(),
            "{crate_of_a_program}"
        );
        assert!(
            !manifest.contains("lianka-simulation"),
            "{crate_of_a_program}"
        );
    }
    let makefile = read("Makefile");
    let build = makefile
        .lines()
        .find(|line| line.contains("cargo build --release"))
        .unwrap();
    assert!(
        build.contains("-p lianka-server -p lianka-client -p lianka-simulator")
            && !build.contains("--workspace"),
        "{build}"
    );
}
