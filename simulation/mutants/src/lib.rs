//! The mutants: mistakes that a tired programmer would make, to prove that the simulation finds them (docs/simulation.md).
//!
//! The product knows nothing of them. Their sites are the patches in `simulation/mutants/patches`, which `scripts/mutants.sh` applies to a copy
//! of the tree; there each asks [`on`]. In: at most one mutant for the whole process, chosen by [`plant`].

use std::{
    fmt,
    str::FromStr,
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU8, Ordering},
    },
};

macro_rules! mutants {
    ($($variant:ident $name:literal $place:literal: $what:literal;)*) => {
        /// A mistake.
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
        #[repr(u8)]
        pub enum Mutant {
            $(#[doc = $what] $variant),*
        }

        impl Mutant {
            /// Every mutant.
            pub const ALL: &'static [Self] = &[$(Self::$variant),*];

            /// What it is called on the command line.
            pub const fn name(self) -> &'static str {
                match self { $(Self::$variant => $name),* }
            }

            /// Which part of the pipeline it sits in.
            pub const fn place(self) -> &'static str {
                match self { $(Self::$variant => $place),* }
            }

            /// What is wrong with it in place.
            pub const fn what(self) -> &'static str {
                match self { $(Self::$variant => $what),* }
            }
        }
    };
}

mutants! {
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
    RebaseTrustsOwnDevice "rebase-trusts-own-device" "rebase": "what a copy of the phone wrote in its name counts as seen";
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
    PushForgetsRefused "push-forgets-refused" "push": "what builds on a refused change of the same request is not refused with it";
    PushDuplicateWithoutNumber "push-duplicate-without-number" "push": "a duplicate is answered without its number";
    HeldForgetsAcceptance "held-forgets-acceptance" "held": "a change that a reviewer accepted is judged anew when it is sent again";
    HeldStaysOpen "held-stays-open" "held": "a held change whose author works the grid again is accepted and stays before the reviewer";
    PushTakesWiped "push-takes-wiped" "push": "a change of a device that is to be wiped is accepted";
    PushTakesStrangers "push-takes-strangers" "push": "a change for a grid that its author never worked is accepted";
    PushHoldsStrangers "push-holds-strangers" "push": "a change for a grid that its author never worked is held";
    PushForgetsFormerGrid "push-forgets-former-grid" "push": "who worked the grid that a record left is refused instead of held";
    HeldFollowersGoAhead "held-followers-go-ahead" "held": "what builds on a held change is judged by itself";
    HeldTwice "held-twice" "held": "a held change that is sent again is held a second time";
    PushUnaudited "push-unaudited" "audit": "the audit trail does not say who pushed";
    PushAsksNoSequence "push-asks-no-sequence" "push": "the number of what was accepted before is not looked up";
    PushAsksNoReason "push-asks-no-reason" "push": "whether what a change builds on is held is not looked up";
    PushForgetsEarlier "push-forgets-earlier" "push": "what an earlier generation had accepted is not looked up";
    StreetForgetsDeparture "street-forgets-departure" "street": "a record leaves a grid without an entry that says so";
    StreetForgetsArrival "street-forgets-arrival" "street": "it is not noted when a record came into its grid";
    StreetDepartsFromNewGrid "street-departs-from-new-grid" "street": "a departure names the grid into which the record came";
    SettlementsForgotten "settlements-forgotten" "conflicts": "what a choice replaced is not remembered";
    ReserveTakesNoNumber "reserve-takes-no-number" "street": "a notice gets the number of the newest entry";
    HeadForgetsReserved "head-forgets-reserved" "street": "the head is not raised where only a notice took a number";
    StreetUnaudited "street-unaudited" "audit": "changes that no act tells of are in no event";
    EraseTellsNobody "erase-tells-nobody" "forget": "an erasure has no entry in the log";
    RebuildForgetsAccepted "rebuild-forgets-accepted" "forget": "what a generation that ended had accepted is not kept";
    RebuildTellsNobody "rebuild-tells-nobody" "forget": "a new generation has no entry in the log";
    RebuildDropsRests "rebuild-drops-rests" "forget": "what a rebuild cut off a change is not in the log";
    RebuildKeepsLog "rebuild-keeps-log" "forget": "the log keeps the changes of the generation before";
    RebuildForgetsNames "rebuild-forgets-names" "audit": "the audit trail does not name rewritten changes anew";
    RebuildForgetsPendingNames "rebuild-forgets-pending-names" "audit": "the audit trail does not name anew what the same write had told";
    PullForgetsNotices "pull-forgets-notices" "pull": "notices are not sent";
    PullForgetsRefused "pull-forgets-refused" "pull": "a phone is not sent the copy on which it is to write what was refused anew";
    PullForgetsOutOfSight "pull-forgets-out-of-sight" "pull": "a record out of sight that the phone made is not told to leave";
    PullForgetsDepartures "pull-forgets-departures" "pull": "a record that left is not told";
    PullErasedOnlyLeaves "pull-erased-only-leaves" "pull": "an erased record is told as one that left";
    PullForgetsRedactions "pull-forgets-redactions" "pull": "redactions are not told";
    PullForgetsForgotten "pull-forgets-forgotten" "pull": "a phone that starts over is not told what was erased meanwhile";
    PullForgetsLostGrids "pull-forgets-lost-grids" "pull": "records of a grid that was lost do not leave";
    PullForgetsSeenGrids "pull-forgets-seen-grids" "pull": "what left a grid before the user lost it does not leave";
    PullForgetsGainedGrids "pull-forgets-gained-grids" "pull": "what a gained grid holds is not sent";
    PullForgetsArrivals "pull-forgets-arrivals" "pull": "of a record that came into the grid only the newest changes are sent";
    PullCheckpointAtHead "pull-checkpoint-at-head" "pull": "a checkpoint between changes stands at the head";
    PullCheckpointBeyondHead "pull-checkpoint-beyond-head" "pull": "a checkpoint of a download stands beyond the head";
    PullFirstPageOnly "pull-first-page-only" "pull": "a download ends with its first page";
    PullForgetsReset "pull-forgets-reset" "pull": "a phone is not told to start over";
    PullFirstLogPageOnly "pull-first-log-page-only" "pull": "of the log only the first page is sent";
    PullPassesTrimmed "pull-passes-trimmed" "pull": "a record whose changes were trimmed meanwhile is passed over";
    PullWipesAtOnce "pull-wipes-at-once" "pull": "a device clears itself before it handed over what it has";
    PullForgetsWipe "pull-forgets-wipe" "pull": "a device that is to be wiped is not told";
    PullSendsUnknownKinds "pull-sends-unknown-kinds" "pull": "a phone is sent records of a kind that it does not know";
    PullRepeatsWhole "pull-repeats-whole" "pull": "changes of a record that was sent whole are sent as well";
    PullReadsUnaudited "pull-reads-unaudited" "audit": "the audit trail does not say that sensitive fields were read";
    PullDownloadIsWhole "pull-download-is-whole" "pull": "a checkpoint of a download counts as the end of it";
    PullLeavesOutOwn "pull-leaves-out-own" "pull": "what stands in the device's name is never sent to it";
    PullStopsOneShort "pull-stops-one-short" "pull": "the newest entry of the log is not sent";
    TailTrustsAnyStore "tail-trusts-any-store" "pull": "what is kept of the log in memory is believed after the store was put back";
    TailForgetsItsBeginning "tail-forgets-its-beginning" "pull": "what no longer fits into memory counts as if it had never been";
    TailKeepsOldStands "tail-keeps-old-stands" "pull": "where a record stands is read once and never again";
    EditUnaudited "edit-unaudited" "audit": "the audit trail does not name the desk that edited";
    HeldWrongOrder "held-wrong-order" "held": "what a held change builds on is merged in the wrong order";
    HeldForgetsNeeded "held-forgets-needed" "held": "what a held change builds on is not accepted with it";
    HeldDecidesOne "held-decides-one" "held": "of what is accepted together only the change that was chosen is decided";
    HeldAcceptTellsNobody "held-accept-tells-nobody" "held": "the author is not told that a held change was accepted";
    HeldRefuseTellsNobody "held-refuse-tells-nobody" "held": "the author is not told that a held change was refused";
    HeldRefuseAccepts "held-refuse-accepts" "held": "a refusal is stored as an acceptance";
    HeldForgetsReason "held-forgets-reason" "held": "the reason of a refusal is not kept";
    HeldDecidedTwice "held-decided-twice" "held": "a held change is decided a second time";
    HeldRefusalUnaudited "held-refusal-unaudited" "audit": "the audit trail does not tell of a refusal";
    HeldAsEditReplacesNothing "held-as-edit-replaces-nothing" "held": "a held change that is applied as the desk's edit stands beside what its author had seen";
    HeldAsEditForgetsNote "held-as-edit-forgets-note" "held": "what a held edit put into the note is left out of the desk's own edit";
    MergeCardsSkipsFirst "merge-cards-skips-first" "merge cards": "the first change of a merge is not written: a contact is missing";
    MergeCardsLeavesLoser "merge-cards-leaves-loser" "merge cards": "the losing card does not say where it went";
    MergeCardsForgetsRow "merge-cards-forgets-row" "merge cards": "a merge is not remembered";
    MergeCardsIntoMerged "merge-cards-into-merged" "merge cards": "a card is merged into one that was merged away";
    MergeCardsForgetsSamePersons "merge-cards-forgets-same-persons" "merge cards": "a merge does not remember who is the same person";
    UndoMergeLeavesLoser "undo-merge-leaves-loser" "merge cards": "an undone merge leaves the losing card away";
    JoinWritesNothing "join-writes-nothing" "join contacts": "contacts that are joined stay two on the card";
    JoinForgotten "join-forgotten" "join contacts": "it is not remembered that two contacts were joined";
    JoinForgetsLate "join-forgets-late" "join contacts": "a late edit of the contact that went stays with it";
    PartKeepsCopies "part-keeps-copies" "join contacts": "contacts that are parted keep what the other one said";
    PartReturnsNothing "part-returns-nothing" "join contacts": "the contact that went does not come back when they are parted";
    CompactDropsNew "compact-drops-new" "forget": "a compacted history takes the place of one that went on";
    SealKeepsOneValue "seal-keeps-one-value" "rulings": "of several values of a sealed field one is kept";
    UndoKeepsThird "undo-keeps-third" "conflicts": "a third value that was chosen stands beside those that an undo puts back";
    PullCheckpointNewScope "pull-checkpoint-new-scope" "pull": "a checkpoint says that gained grids have come before they have";
    HeldAsEditOverUnseen "held-as-edit-over-unseen" "held": "a held edit that became the desk's own replaces what its author had not seen";
    LateEditsGoOneStep "late-edits-go-one-step" "followers": "a late edit of a card that was merged away does not go on to the last of several";
    LateContactsFirstJoin "late-contacts-first-join" "join contacts": "of one late edit of two contacts that went only one is brought over";
    UndoForgetsAuthors "undo-forgets-authors" "conflicts": "a value that an undone choice put back counts as the desk's";
    HeldForgetsFormerName "held-forgets-former-name" "held": "what waits under a phone's former name is refused";
    UndoMergeTwice "undo-merge-twice" "merge cards": "a merge is undone a second time";
    UndoMergeKeepsCarried "undo-merge-keeps-carried" "merge cards": "an undone merge leaves on the card what it carried over";
    UndoMergeForgotten "undo-merge-forgotten" "merge cards": "that a merge was undone is not remembered";
    RelocateMovesFirst "relocate-moves-first" "relocate": "of several records only the first is moved";
    RelocateUnaudited "relocate-unaudited" "audit": "the audit trail does not tell who moved records";
    ClockKeepsDrafts "clock-keeps-drafts" "clock": "a draft that nobody submitted stays for ever";
    ClockCountsNot "clock-counts-not" "clock": "a ruling of the clock takes the number of the one before";
    ClockForgetsLimits "clock-forgets-limits" "clock": "no limit of a transfer ever passes";
    StepForgetsSeen "step-forgets-seen" "rulings": "an officer's step does not say what the officer had seen";
    StepTakenTwice "step-taken-twice" "rulings": "another step under the same event counts as taken";
    EraseKeepsNoReceipt "erase-keeps-no-receipt" "forget": "no receipt of an erasure is kept";
    RedactKeepsHeld "redact-keeps-held" "forget": "held changes about a redacted person stay";
    RedactForgetsEntries "redact-forgets-entries" "forget": "a redacted person may be written again";
    RedactKeepsConsents "redact-keeps-consents" "forget": "consents of a redacted person stay";
    RedactKeepsBeside "redact-keeps-beside" "forget": "what stands of a redacted person beside the record stays";
    EraseUnaudited "erase-unaudited" "audit": "the audit trail does not tell of an erasure";
    ChooseReplacesFirst "choose-replaces-first" "conflicts": "a choice replaces only the first of the values in conflict";
    ChooseReplacesUnseen "choose-replaces-unseen" "conflicts": "a choice replaces also what had not been looked at";
    ChooseUnaudited "choose-unaudited" "audit": "the audit trail does not tell of a choice";
    ChooseHarmlessKeeps "choose-harmless-keeps" "conflicts": "harmless conflicts are settled by one more value";
    ChooseHarmlessOfAllClasses "choose-harmless-of-all-classes" "conflicts": "conflicts of other classes than the one asked for are settled as well";
    UndoPutsBackOne "undo-puts-back-one" "conflicts": "an undone choice puts back only the first value";
    UndoTwice "undo-twice" "conflicts": "a choice is undone a second time";
    UndoOverEdits "undo-over-edits" "conflicts": "a choice is undone although the field was edited since";
    UndoTellsNobody "undo-tells-nobody" "conflicts": "nobody is told that a choice was undone";
    UndoForgotten "undo-forgotten" "conflicts": "that a choice was undone is not remembered";
    FollowForgetsLateEdits "follow-forgets-late-edits" "followers": "late edits of a merged card stay on it";
    FollowForgetsBelongings "follow-forgets-belongings" "followers": "visits stay in the grid that their card left";
    FollowKeepsWithdrawn "follow-keeps-withdrawn" "followers": "a party status stays after its consent was withdrawn";
    FollowRulesNothing "follow-rules-nothing" "followers": "events of transfers are not ruled on";
    FollowSealsNothing "follow-seals-nothing" "followers": "sensitive fields of a submitted request stay in its record";
    RulingsBackwards "rulings-backwards" "rulings": "several events are ruled on in the wrong order";
    RulingSharesLetters "ruling-shares-letters" "rulings": "two open requests have one letter";
    RulingOpensTwo "ruling-opens-two" "rulings": "a member's second open request gets a binding step";
    SealWrongRevision "seal-wrong-revision" "rulings": "sensitive fields are kept under the wrong revision";
    SealForgets "seal-forgets" "rulings": "sensitive fields leave the record and are kept nowhere";
    RulingForgetsBy "ruling-forgets-by" "rulings": "a ruling does not say on whose event it is";
    SettledTellsNobody "settled-tells-nobody" "conflicts": "nobody is told that another value was chosen";
    SettledTellsChosen "settled-tells-chosen" "conflicts": "those are told whose value was chosen";
    WithdrawalKeepsBeside "withdrawal-keeps-beside" "followers": "a withdrawn party status stays in what was settled";
    LateEditsAllOrNone "late-edits-all-or-none" "followers": "a late edit of which one key does not fit is dropped whole";
    MergeTrustsFirstDependency "merge-trusts-first-dependency" "merge": "of several dependencies only the first must be there";
    PushRefusesByFirst "push-refuses-by-first" "push": "a change is refused with what it builds on only where that is its first dependency";
    HeldFollowsFirst "held-follows-first" "held": "a change waits with what it builds on only where that is its first dependency";
    PushIgnoresRole "push-ignores-role" "push": "who has a role now that edits nothing still works their grids";
    PullCheckpointOneAhead "pull-checkpoint-one-ahead" "pull": "a checkpoint between changes stands one entry ahead";
    RebaseRenewsHeld "rebase-renews-held" "rebase": "what waits for a reviewer is written anew with the rest";
    ClockWaitsADay "clock-waits-a-day" "clock": "the clock acts on a transfer a day late";
    ClockCountsWeekends "clock-counts-weekends" "clock": "of working days every day counts";
    ImportReplacesUnseen "import-replaces-unseen" "import": "a row replaces what came after its sheet was made";
    ImportSeesLess "import-sees-less" "import": "a row does not replace the newest change that its sheet shows";
    ImportFillsTaken "import-fills-taken" "import": "a cell for empty fields is written where something stands";
    ImportReplacesBeside "import-replaces-beside" "import": "a cell that is to stand beside replaces what is there";
    ImportWritesEqual "import-writes-equal" "import": "a row that says what the card says is written all the same";
    ImportReplacesNote "import-replaces-note" "import": "a note is written over what came after its sheet was made";
    ImportUnaudited "import-unaudited" "audit": "the audit trail does not tell of rows";
    ImportForgetsBefore "import-forgets-before" "import": "what a row replaced is not remembered";
    ImportUndoOverEdits "import-undo-over-edits" "import": "a row is taken back although somebody wrote beside it since";
    ImportUndoForgetsCleared "import-undo-forgets-cleared" "import": "a field that a row emptied stays empty";
    ImportUndoPutsBackOne "import-undo-puts-back-one" "import": "of several values that a row replaced one comes back";
    ImportUndoUnmakesUsed "import-undo-unmakes-used" "import": "a card goes with its import although somebody wrote on it since";
    ImportUndoUnmakesHeld "import-undo-unmakes-held" "import": "a card goes with its import although an edit of it waits";
    ImportUndoKeepsMade "import-undo-keeps-made" "import": "a card that nobody used stays when its import is taken back";
    ImportUndoOverNotes "import-undo-over-notes" "import": "a note is taken back although somebody wrote in it since";
    ImportUndoForgetsNames "import-undo-forgets-names" "import": "a row is not found again once its card's history was made shorter";
    ImportUndoUnaudited "import-undo-unaudited" "audit": "the audit trail does not tell what was taken back";
    ImportTrustsNumbers "import-trusts-numbers" "import": "what a rebuild cut off a change counts as written since";
    UnmadeForgotten "unmade-forgotten" "import": "nobody remembers that a card went with its import";
    PushRefusesWaiting "push-refuses-waiting" "push": "what waits for a reviewer already is refused once what it builds on is refused";
    PushHeldUnaudited "push-held-unaudited" "audit": "the audit trail does not say who pushed where all of a request is held";
    PullForgetsQuietLoss "pull-forgets-quiet-loss" "pull": "records of a grid that was lost do not leave where nothing was written since";
    TailForgetsRebuilds "tail-forgets-rebuilds" "pull": "what is kept of the log in memory does not tell that a record was rebuilt";
    BelongingsIgnoreMerge "belongings-ignore-merge" "followers": "visits of a merged card stand in its own grid, not in that of the card as which it goes on";
    LateEditsForgetSamePersons "late-edits-forget-same-persons" "followers": "a late edit of a merged card does not know who is the same person";
    SettledTellsChooser "settled-tells-chooser" "conflicts": "who chose another value than their own is told of it";
    HeldTellsOfChosen "held-tells-of-chosen" "held": "of what is accepted together only the author of the change that was chosen is told";
    MergeKnowsFirstEpoch "merge-knows-first-epoch" "merge cards": "of what a merge or a joining wrote only its first change is known as its own";
    JoinStandsAfterParting "join-stands-after-parting" "merge cards": "contacts that were parted count as joined: a later edit of the one that came back is moved to the other";
    RedactForgetsJoined "redact-forgets-joined" "forget": "who was joined into a redacted person stays in the history of the card";
    PushRefusesFollowers "push-refuses-followers" "push": "what builds on a change that only waits is refused for good";
    UndoOverCleared "undo-over-cleared" "conflicts": "a choice is undone although the field was cleared since";
    UndoMergeKeepsShared "undo-merge-keeps-shared" "merge cards": "an undone merge leaves what it brought to a person who stood on both cards";
    LateConsentsStay "late-consents-stay" "followers": "a late consent of a contact who was joined into another counts for nobody";
    FollowOneLevel "follow-one-level" "followers": "visits of a card that was merged into the one that moves stay behind";
    HeldAcceptsRefused "held-accepts-refused" "held": "what a reviewer refused comes along with what is accepted";
    RedactKeepsRefused "redact-keeps-refused" "forget": "refused changes about a redacted person stay";
    SealWhenOpen "seal-when-open" "rulings": "sensitive fields that come after a request is over stay in its record";
    SettledTellsOnce "settled-tells-once" "conflicts": "of two fields that one change settles only one is told of";
    AuditSkipsLink "audit-skips-link" "audit": "an event of the audit chain does not name the one before";
}

impl Mutant {
    /// Whether it sits in the server alone, which the office in memory does without.
    pub const fn needs_the_real_office(self) -> bool {
        matches!(self, Self::AuditSkipsLink)
    }
}

const NONE: u8 = u8::MAX;
static PLANTED: AtomicU8 = AtomicU8::new(NONE);
static TURN: Mutex<()> = Mutex::new(());

/// As long as it lives, the mutant does.
#[must_use]
pub struct Planted(#[expect(dead_code, reason = "one at a time")] MutexGuard<'static, ()>);

impl Drop for Planted {
    fn drop(&mut self) {
        PLANTED.store(NONE, Ordering::SeqCst);
    }
}

/// Switches a mutant on in this process; waits until no other one is on.
pub fn plant(mutant: Mutant) -> Planted {
    let turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
    PLANTED.store(mutant as u8, Ordering::SeqCst);
    Planted(turn)
}

/// Whether this mutant is on.
#[inline]
pub fn is(mutant: Mutant) -> bool {
    PLANTED.load(Ordering::Relaxed) == mutant as u8
}

/// Whether the mutant of this name is on: what a site asks, without an import that its patch would have to add.
#[macro_export]
macro_rules! on {
    ($mutant:ident) => {
        $crate::is($crate::Mutant::$mutant)
    };
}

impl FromStr for Mutant {
    type Err = UnknownMutant;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::ALL
            .iter()
            .copied()
            .find(|mutant| mutant.name() == text)
            .ok_or(UnknownMutant)
    }
}

/// Why a text names no mutant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct UnknownMutant;

impl fmt::Display for UnknownMutant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("there is no such mutant; `scripts/mutants.sh run list` names them")
    }
}

impl std::error::Error for UnknownMutant {}
