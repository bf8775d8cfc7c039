//! The checkers, checked: every mutant breaks a promise in some run. `make mutants` runs it in the tree that it patches; a process of its own,
//! because a mutant is in all of it.

use lianka_mutants::{Mutant, plant};
use lianka_simulation::mutants;

/// Runs that a mutant may need, from the seed that is known to find it.
const SEEDS_MAX: u64 = 300;

/// Where to begin: seeds that found them when this was written (`scripts/mutants.sh run find`). A changed script only makes the search longer.
const KNOWN: &[(Mutant, u64)] = &[
    (Mutant::MergeTakesForks, 4),
    (Mutant::MergeSkipsDependencies, 6),
    (Mutant::MergeTakesOldGenerations, 7),
    (Mutant::MergeForgetsRedactions, 3),
    (Mutant::MergeForgetsHeads, 2),
    (Mutant::CursorIgnoresEpoch, 2),
    (Mutant::CursorIgnoresScope, 8),
    (Mutant::CursorForgetsDownload, 10),
    (Mutant::CursorKeepsPlace, 73),
    (Mutant::CursorTrustsScope, 3),
    (Mutant::CheckpointTooEarly, 100),
    (Mutant::OutboxRemovesRecord, 3),
    (Mutant::OutboxDropsPostponed, 6),
    (Mutant::OutboxAcknowledgesByPlace, 3),
    (Mutant::OutboxKeepsEight, 2),
    (Mutant::RebaseReplacesUnseen, 3),
    (Mutant::RebaseTrustsOwnDevice, 4),
    (Mutant::RebaseOverwritesNote, 2),
    (Mutant::DraftKeepsFirst, 28),
    (Mutant::LeaveDropsRefused, 2),
    (Mutant::AbandonDropsEdits, 2),
    (Mutant::StartOverKeepsAll, 79),
    (Mutant::EraseKeepsDrafts, 11),
    (Mutant::RedactKeepsDrafts, 28),
    (Mutant::RedactDropsRest, 12),
    (Mutant::RebuildKeepsGeneration, 3),
    (Mutant::RebuildForgetsRedactions, 14),
    (Mutant::RulingWithdrawsAccepted, 18),
    (Mutant::RulingIgnoresSeen, 124),
    (Mutant::ConflictOfEquals, 10),
    (Mutant::ConflictHidden, 3),
    (Mutant::PushForgetsRefused, 6),
    (Mutant::HeldForgetsAcceptance, 4),
    (Mutant::HeldStaysOpen, 3),
    (Mutant::PushTakesWiped, 3),
    (Mutant::PushTakesStrangers, 61),
    (Mutant::PushHoldsStrangers, 61),
    (Mutant::PushForgetsFormerGrid, 14),
    (Mutant::HeldFollowersGoAhead, 3),
    (Mutant::PushAsksNoReason, 3),
    (Mutant::PushForgetsEarlier, 88),
    (Mutant::StreetForgetsDeparture, 4),
    (Mutant::StreetDepartsFromNewGrid, 4),
    (Mutant::SettlementsForgotten, 16),
    (Mutant::ReserveTakesNoNumber, 4),
    (Mutant::HeadForgetsReserved, 4),
    (Mutant::EraseTellsNobody, 3),
    (Mutant::RebuildForgetsAccepted, 88),
    (Mutant::RebuildTellsNobody, 3),
    (Mutant::RebuildKeepsLog, 3),
    (Mutant::RebuildForgetsNames, 4),
    (Mutant::RebuildForgetsPendingNames, 4),
    (Mutant::PullForgetsNotices, 3),
    (Mutant::PullForgetsOutOfSight, 32),
    (Mutant::PullForgetsDepartures, 3),
    (Mutant::PullErasedOnlyLeaves, 30),
    (Mutant::PullForgetsRedactions, 127),
    (Mutant::PullForgetsForgotten, 44),
    (Mutant::PullForgetsLostGrids, 4),
    (Mutant::PullForgetsSeenGrids, 9),
    (Mutant::PullForgetsGainedGrids, 3),
    (Mutant::PullCheckpointAtHead, 17),
    (Mutant::PullFirstLogPageOnly, 2),
    (Mutant::PullForgetsWipe, 3),
    (Mutant::PullSendsUnknownKinds, 3),
    (Mutant::PullRepeatsWhole, 116),
    (Mutant::PullReadsUnaudited, 5),
    (Mutant::PullDownloadIsWhole, 10),
    (Mutant::PullLeavesOutOwn, 6),
    (Mutant::TailForgetsItsBeginning, 93),
    (Mutant::TailKeepsOldStands, 4),
    (Mutant::EditUnaudited, 2),
    (Mutant::HeldWrongOrder, 104),
    (Mutant::HeldForgetsNeeded, 9),
    (Mutant::HeldDecidesOne, 9),
    (Mutant::HeldAcceptTellsNobody, 3),
    (Mutant::HeldDecidedTwice, 11),
    (Mutant::HeldAsEditReplacesNothing, 29),
    (Mutant::HeldAsEditForgetsNote, 9),
    (Mutant::MergeCardsSkipsFirst, 7),
    (Mutant::MergeCardsLeavesLoser, 7),
    (Mutant::MergeCardsForgetsRow, 3),
    (Mutant::MergeCardsIntoMerged, 15),
    (Mutant::MergeCardsForgetsSamePersons, 17),
    (Mutant::UndoMergeLeavesLoser, 3),
    (Mutant::JoinWritesNothing, 2),
    (Mutant::JoinForgetsLate, 5),
    (Mutant::CompactDropsNew, 62),
    (Mutant::SealKeepsOneValue, 7),
    (Mutant::UndoKeepsThird, 33),
    (Mutant::PullCheckpointNewScope, 55),
    (Mutant::HeldAsEditOverUnseen, 6),
    (Mutant::LateEditsGoOneStep, 116),
    (Mutant::LateContactsFirstJoin, 35),
    (Mutant::UndoForgetsAuthors, 56),
    (Mutant::UndoMergeTwice, 166),
    (Mutant::UndoMergeKeepsCarried, 40),
    (Mutant::UndoMergeForgotten, 3),
    (Mutant::RelocateMovesFirst, 9),
    (Mutant::RelocateUnaudited, 4),
    (Mutant::ClockKeepsDrafts, 285),
    (Mutant::EraseKeepsNoReceipt, 5),
    (Mutant::RedactKeepsHeld, 28),
    (Mutant::RedactForgetsEntries, 3),
    (Mutant::RedactKeepsConsents, 3),
    (Mutant::RedactKeepsBeside, 28),
    (Mutant::EraseUnaudited, 5),
    (Mutant::ChooseReplacesFirst, 16),
    (Mutant::ChooseReplacesUnseen, 19),
    (Mutant::ChooseUnaudited, 16),
    (Mutant::ChooseHarmlessKeeps, 5),
    (Mutant::ChooseHarmlessOfAllClasses, 5),
    (Mutant::UndoPutsBackOne, 18),
    (Mutant::UndoTwice, 108),
    (Mutant::UndoOverEdits, 16),
    (Mutant::UndoTellsNobody, 5),
    (Mutant::UndoForgotten, 5),
    (Mutant::FollowForgetsLateEdits, 22),
    (Mutant::FollowForgetsBelongings, 9),
    (Mutant::RulingsBackwards, 13),
    (Mutant::RulingOpensTwo, 4),
    (Mutant::SealForgets, 4),
    (Mutant::SettledTellsNobody, 3),
    (Mutant::WithdrawalKeepsBeside, 22),
    (Mutant::MergeTrustsFirstDependency, 6),
    (Mutant::PushRefusesByFirst, 6),
    (Mutant::HeldFollowsFirst, 7),
    (Mutant::PushIgnoresRole, 70),
    (Mutant::PullCheckpointOneAhead, 146),
    (Mutant::RebaseRenewsHeld, 3),
    (Mutant::ClockWaitsADay, 5),
    (Mutant::ClockCountsWeekends, 14),
    (Mutant::ImportSeesLess, 67),
    (Mutant::ImportFillsTaken, 2),
    (Mutant::ImportReplacesNote, 9),
    (Mutant::ImportUnaudited, 2),
    (Mutant::ImportUndoOverEdits, 9),
    (Mutant::ImportUndoForgetsCleared, 2),
    (Mutant::ImportUndoPutsBackOne, 24),
    (Mutant::ImportUndoUnmakesUsed, 51),
    (Mutant::ImportUndoUnmakesHeld, 43),
    (Mutant::ImportUndoOverNotes, 29),
    (Mutant::ImportUndoForgetsNames, 11),
    (Mutant::ImportUndoUnaudited, 2),
    (Mutant::ImportTrustsNumbers, 211),
    (Mutant::PushRefusesWaiting, 6),
    (Mutant::PushHeldUnaudited, 3),
    (Mutant::PullForgetsQuietLoss, 8),
    (Mutant::BelongingsIgnoreMerge, 14),
    (Mutant::LateEditsForgetSamePersons, 17),
    (Mutant::HeldTellsOfChosen, 9),
    (Mutant::MergeKnowsFirstEpoch, 69),
    (Mutant::RedactForgetsJoined, 83),
    (Mutant::PushRefusesFollowers, 38),
    (Mutant::UndoOverCleared, 16),
    (Mutant::UndoMergeKeepsShared, 40),
    (Mutant::LateConsentsStay, 6),
    (Mutant::FollowOneLevel, 23),
    (Mutant::HeldAcceptsRefused, 7),
    (Mutant::RedactKeepsRefused, 28),
    (Mutant::SealWhenOpen, 4),
    (Mutant::SettledTellsOnce, 21),
];

/// What no run can show, or what another test holds better.
const UNSEEN: &[(Mutant, &str)] = &[
    (
        Mutant::HeldTwice,
        "the store keeps a held change once by its key, whatever it is told",
    ),
    (
        Mutant::RebuildDropsRests,
        "only the server reads a record's history: `tests/erasure.rs`",
    ),
    (
        Mutant::PullCheckpointBeyondHead,
        "here an answer is read at one moment: `office-core/src/pull/tests.rs`",
    ),
    (
        Mutant::PullPassesTrimmed,
        "here an answer is read at one moment: `office-core/src/pull/tests.rs`",
    ),
    (
        Mutant::PullWipesAtOnce,
        "no phone here has more edits than a request holds: `office-core/src/pull/tests.rs`",
    ),
    (
        Mutant::TailTrustsAnyStore,
        "a street that was put back is asked about before it has grown again: `office-core/src/pull/tail/tests.rs`",
    ),
    (
        Mutant::StepTakenTwice,
        "no desk here asks for the same step twice: `tests/transfers.rs`",
    ),
    (
        Mutant::SealWrongRevision,
        "revisions are the office's own bookkeeping: `tests/transfers.rs`",
    ),
    (
        Mutant::ImportWritesEqual,
        "an equal value of the same desk looks like the one that stood there: `tests/imports.rs`",
    ),
    (
        Mutant::LateEditsAllOrNone,
        "late edits here are of one key: `tests/duplicates.rs`",
    ),
];

#[test]
fn every_mutant_is_found() {
    assert!(
        env!("CARGO_MANIFEST_DIR").contains("/target/mutants/tree/"),
        "here the sources are whole: `make mutants`"
    );
    let Some((part, of)) = part() else {
        return in_processes();
    };
    std::panic::set_hook(Box::new(|_| ()));
    let missed: Vec<_> = Mutant::ALL
        .iter()
        .copied()
        .skip(part)
        .step_by(of)
        .filter(|mutant| !mutant.needs_the_real_office())
        .filter(|mutant| UNSEEN.iter().all(|(unseen, _)| unseen != mutant))
        .filter(|mutant| !is_found(*mutant))
        .collect();
    let _ = std::panic::take_hook();
    assert!(missed.is_empty(), "not found: {missed:?}");
    // In the same test, because a mutant is in the whole process.
    #[cfg(feature = "real")]
    if part == 0 {
        a_chain_without_links_is_found();
    }
}

/// Which part of the mutants, of how many, this process looks for.
const PART: &str = "LIANKA_MUTANTS_PART";

fn part() -> Option<(usize, usize)> {
    let told = std::env::var(PART).ok()?;
    let (part, of) = told.split_once('/')?;
    Some((part.parse().ok()?, of.parse().ok()?))
}

/// A process for each processor: a mutant is in all of its process, so that one looks for them one after another.
fn in_processes() {
    let of = std::thread::available_parallelism().map_or(1, usize::from);
    let program = std::env::current_exe().expect("this program has a path");
    let started: Vec<_> = (0..of)
        .map(|part| {
            let mut process = std::process::Command::new(&program);
            process
                .args(["every_mutant_is_found", "--exact", "--nocapture"])
                .env(PART, format!("{part}/{of}"))
                // The runner's closing lines are those of the whole; what is missed is told beside them.
                .stdout(std::process::Stdio::null());
            process.spawn().expect("this program starts again")
        })
        .collect();
    let ended: Vec<_> = started
        .into_iter()
        .map(|mut process| process.wait().expect("a child ends").success())
        .collect();
    assert!(ended.iter().all(|is_well| *is_well), "see above");
}

fn is_found(mutant: Mutant) -> bool {
    let from = KNOWN
        .iter()
        .find(|(known, _)| *known == mutant)
        .map_or(1, |(_, seed)| *seed);
    !mutants::find(mutant, from, SEEDS_MAX, true)
        .failures
        .is_empty()
}

/// The one mutant that only the real office can have.
#[cfg(feature = "real")]
fn a_chain_without_links_is_found() {
    use lianka_simulation::{
        Script, check,
        office::{RealOffice, Setup},
        run_to_end,
        script::{Step, Weather, What},
    };

    let _planted = plant(Mutant::AuditSkipsLink);
    let setup = Setup {
        street: "310104003".into(),
        grids: vec!["A1".into(), "A2".into()],
        roads: vec!["康平路".into()],
        secretaries: vec![("xuna".into(), vec!["A1".into()])],
        log_days: 30,
    };
    // A submitted request makes several events at once: only those are linked by the code and not by the store.
    let field = |name: &str, value: &str| (name.to_owned(), value.to_owned());
    let names = [
        "member_name",
        "member_status",
        "origin_organisation",
        "phone",
        "target_branch",
    ];
    let fields = names
        .map(|name| {
            field(
                name,
                if name == "member_status" {
                    "正式"
                } else {
                    "v1.0z"
                },
            )
        })
        .to_vec();
    let (grid, kind, alias) = ("A1".into(), "in_city_e".into(), "v1.1z".into());
    let steps = [
        What::Enrol {
            phone: 0,
            username: "xuna".into(),
        },
        What::Network {
            phone: 0,
            weather: Weather::Fine,
        },
        What::File {
            phone: 0,
            grid,
            kind,
            alias,
            fields,
            submit: true,
        },
        What::Sync { phone: 0 },
    ];
    let step = |(no, what)| Step {
        no,
        at_ms: i64::from(no) * 30_000,
        what,
    };
    let script = Script {
        seed: 1,
        setup,
        steps: (0..).zip(steps).map(step).collect(),
    };
    let story = run_to_end(&script, &mut RealOffice::new(&script.setup, script.seed));
    let found = check::check(&script.setup, &story);
    assert!(
        found
            .iter()
            .any(|finding| finding.promise == "the audit chain is whole"),
        "{found:?}"
    );
}
