//! Bugs on purpose: mistakes that a tired programmer would make, to prove that the simulated world finds them (docs/simulation.md).
//!
//! In: at most one bug, chosen for the whole process by [`plant`]. Out: [`is`], which each site asks by one line. Invariants:
//! - without the feature `planted-bugs` nothing can be planted, [`is`] is the constant `false`, and the compiler leaves nothing of a site;
//! - no program that is shipped is built with the feature: `simulation/seeded/tests/planted.rs` looks.

macro_rules! bugs {
    ($($variant:ident $name:literal $place:literal: $what:literal;)*) => {
        /// A mistake.
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
        #[repr(u8)]
        pub enum Bug {
            $(#[doc = $what] $variant),*
        }

        impl Bug {
            /// Every bug.
            pub const ALL: &'static [Self] = &[$(Self::$variant),*];

            /// What it is called on the command line.
            pub const fn name(self) -> &'static str {
                match self { $(Self::$variant => $name),* }
            }

            /// Which part of the pipeline it sits in.
            pub const fn place(self) -> &'static str {
                match self { $(Self::$variant => $place),* }
            }

            /// Whether it sits in the server alone, which the office in memory does without.
            pub const fn needs_the_real_office(self) -> bool {
                matches!(self, Self::AuditSkipsLink)
            }

            /// What is wrong with it in place.
            pub const fn what(self) -> &'static str {
                match self { $(Self::$variant => $what),* }
            }
        }
    };
}

bugs! {
    MergeDropsSiblings "merge-drops-siblings" "merge": "a put clears every visible value, also those that its author had not seen";
    MergeKeepsReplaced "merge-keeps-replaced" "merge": "only the first predecessor of a write is taken as replaced";
    MergeDeletesUnseen "merge-deletes-unseen" "merge": "a deletion takes along what its author had not seen: removing wins over adding";
    MergeForgetsNote "merge-forgets-note" "merge": "an edit of the note reaches the document and not the register state";
    MergeTakesForeignActors "merge-takes-foreign-actors" "merge": "whoever sends a change is taken for its author";
    MergeTakesForks "merge-takes-forks" "merge": "a second change under the same actor and sequence number is taken";
    MergeSkipsDependencies "merge-skips-dependencies" "merge": "a dependency that is not there is passed over";
    MergeTakesOldGenerations "merge-takes-old-generations" "merge": "the generation that a change names is not compared";
    MergeForgetsRedactions "merge-forgets-redactions" "merge": "a late edit of a redacted person is taken";
    WinnerIsLowest "winner-is-lowest" "merge": "the lowest operation id wins a register";
    MergeForgetsHeads "merge-forgets-heads" "merge": "a change takes the place of every head, also of those that it had not seen";
    MergeForgetsOverwritten "merge-forgets-overwritten" "merge": "a value that was replaced cannot be replaced by somebody else as well";
    MergeSeesAll "merge-sees-all" "merge": "who has seen one head counts as having seen all";
    MergeSkipsConsent "merge-skips-consent" "merge": "a party status is taken without its consent";
    GateLosesPredecessors "gate-loses-predecessors" "gate": "of an operation's predecessors only the last is read";
    GateRefusesMerges "gate-refuses-merges" "gate": "a change that builds on more than one other is refused as too large";
    AuthorityLetsGridsMove "authority-lets-grids-move" "authority": "a secretary may write the field that says whose the record is";
    CursorIgnoresEpoch "cursor-ignores-epoch" "cursor": "a phone is not told that the store's history is another one";
    CursorIgnoresScope "cursor-ignores-scope" "cursor": "a phone is not told that its grids are others";
    CursorSkipsOne "cursor-skips-one" "cursor": "the log is read from one entry too late";
    CursorForgetsDownload "cursor-forgets-download" "cursor": "a download that was cut is taken for complete";
    CursorKeepsPlace "cursor-keeps-place" "cursor": "a download goes on from its place although the grids are others";
    CursorTrustsScope "cursor-trusts-scope" "cursor": "a phone counts as having known its present grids";
    CheckpointTooEarly "checkpoint-too-early" "cursor": "the cursor of a checkpoint is stored without the items before it";
    OutboxRemovesRecord "outbox-removes-record" "outbox": "a verdict takes all of a record's unsent changes out of the outbox";
    OutboxTakesHeldForDone "outbox-takes-held-for-done" "outbox": "a held change leaves the outbox";
    OutboxDropsPostponed "outbox-drops-postponed" "outbox": "a change to be sent again later leaves the outbox";
    OutboxAcknowledgesByPlace "outbox-acknowledges-by-place" "outbox": "a verdict is taken to be about the record's first change of the request";
    OutboxKeepsEight "outbox-keeps-eight" "outbox": "of what is written anew only eight changes go back into the outbox";
    OutboxForgetsOwn "outbox-forgets-own" "outbox": "an accepted change leaves the outbox and does not become part of the copy";
    SavedBeforeFlush "saved-before-flush" "outbox": "the user is told “saved” before the edit is flushed";
    RebaseDropsRefused "rebase-drops-refused" "rebase": "an edit that a rule forbids goes without a draft";
    RebaseKeepsFirst "rebase-keeps-first" "rebase": "of a record's unsent edits only the first is written anew";
    RebaseReplacesUnseen "rebase-replaces-unseen" "rebase": "a rebased edit replaces what the user never saw";
    RebaseKeepsSeen "rebase-keeps-seen" "rebase": "a rebased edit leaves beside it what the user had replaced";
    RebaseForgetsNote "rebase-forgets-note" "rebase": "an edit of the note is not written anew";
    RebaseOverwritesNote "rebase-overwrites-note" "rebase": "an edit of the note that is written anew sets the whole text, whatever others wrote meanwhile";
    RebaseForgetsDeletion "rebase-forgets-deletion" "rebase": "a deletion is not written anew";
    DraftKeepsFirst "draft-keeps-first" "rebase": "a draft keeps the first edit of its change";
    LeaveDropsEdits "leave-drops-edits" "rebase": "a record that leaves takes its unsent edits along";
    LeaveDropsRefused "leave-drops-refused" "rebase": "a record goes with its refused edits";
    StayForgotten "stay-forgotten" "rebase": "a record that came back into the grids is on its way out all the same";
    AbandonDropsEdits "abandon-drops-edits" "rebase": "refused edits of a record that left become no draft";
    HealForgetsOwn "heal-forgets-own" "heal": "after a restore the phone sends nothing again";
    HealSendsNewest "heal-sends-newest" "heal": "after a restore only the newest own change is sent again";
    StartOverKeepsAll "start-over-keeps-all" "heal": "a pull from the start leaves what went since the phone last heard";
    SnapshotKeepsTail "snapshot-keeps-tail" "store": "a snapshot of another generation leaves the old tail";
    EraseStaysInLog "erase-stays-in-log" "erasure": "what was erased stays in the log beside the phone's file";
    EraseLeavesPages "erase-leaves-pages" "erasure": "freed pages of the phone's file keep what was erased";
    EraseKeepsDrafts "erase-keeps-drafts" "erasure": "drafts of an erased record stay on the phone";
    RedactKeepsDrafts "redact-keeps-drafts" "erasure": "drafts about a redacted person stay on the phone";
    RedactDropsRest "redact-drops-rest" "erasure": "an unsent change about a redacted person goes with all else that it says";
    RebuildKeepsGeneration "rebuild-keeps-generation" "rebuild": "the next generation has the number of the one before";
    RebuildForgetsRedactions "rebuild-forgets-redactions" "rebuild": "the next generation does not know who was redacted before";
    RulingWithdrawsAccepted "ruling-withdraws-accepted" "rulings": "a withdrawal is applied after the acceptance";
    RulingCountsAnew "ruling-counts-anew" "rulings": "a ruling's number begins again";
    RulingIgnoresSeen "ruling-ignores-seen" "rulings": "an event is judged as if its author had seen everything";
    ConflictOfEquals "conflict-of-equals" "conflicts": "equal values that stand side by side count as a conflict";
    ConflictHidden "conflict-hidden" "conflicts": "a field with more than two values is not listed";
    HeldForgetsRefusal "held-forgets-refusal" "held": "a change that a reviewer refused is held again when it is sent again";
    HeldTakesLost "held-takes-lost" "held": "a change for a grid that was taken away is accepted";
    AuditSkipsLink "audit-skips-link" "audit": "an event of the audit chain does not name the one before";
}

#[cfg(feature = "planted-bugs")]
mod soil {
    use std::sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU8, Ordering},
    };

    use super::Bug;

    const NONE: u8 = u8::MAX;
    static PLANTED: AtomicU8 = AtomicU8::new(NONE);
    static TURN: Mutex<()> = Mutex::new(());

    /// As long as it lives, the bug does.
    #[must_use]
    pub struct Planted(#[expect(dead_code, reason = "one at a time")] MutexGuard<'static, ()>);

    impl Drop for Planted {
        fn drop(&mut self) {
            PLANTED.store(NONE, Ordering::SeqCst);
        }
    }

    /// Plants a bug in this process; waits until no other one is planted.
    pub fn plant(bug: Bug) -> Planted {
        let turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
        PLANTED.store(bug as u8, Ordering::SeqCst);
        Planted(turn)
    }

    /// Whether this bug is planted.
    #[inline]
    pub fn is(bug: Bug) -> bool {
        PLANTED.load(Ordering::Relaxed) == bug as u8
    }
}

#[cfg(feature = "planted-bugs")]
pub use soil::{Planted, is, plant};

/// Whether this bug is planted: never, without the feature `planted-bugs`.
#[cfg(not(feature = "planted-bugs"))]
#[inline]
pub const fn is(_: Bug) -> bool {
    false
}

impl std::str::FromStr for Bug {
    type Err = UnknownBug;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::ALL
            .iter()
            .copied()
            .find(|bug| bug.name() == text)
            .ok_or(UnknownBug)
    }
}

/// Why a text names no bug.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("there is no such bug; `lianka-simulation bugs --list` names them")]
pub struct UnknownBug;
