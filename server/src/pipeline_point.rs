//! Named points of the pipeline, at which a test has a server killed.
//!
//! In: the environment variable `LIANKA_ABORT_AT`, such as `write.logged` or `respond.item:20` (there for the twentieth time). Out: the
//! process ends there as by `kill -9`: nothing is flushed, closed or rolled back by its own hand.
//!
//! Only with the feature `pipeline-points`, with which the tests build a program of their own; without it a call is nothing. Invariant: the enum is the
//! list, and `tests/faults/points.rs` matches it without a wildcard, so that no point is without a test.

macro_rules! points {
    ($($(#[$doc:meta])* $variant:ident $name:literal;)*) => {
        /// A moment between two effects.
        #[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
        pub enum PipelinePoint { $($(#[$doc])* $variant),* }

        impl PipelinePoint {
            /// All of them, in the order in which a request meets them.
            pub const ALL: &'static [Self] = &[$(Self::$variant),*];

            /// As it is spelled in the environment.
            pub const fn name(self) -> &'static str {
                match self { $(Self::$variant => $name),* }
            }
        }
    };
}

points! {
    // Tokens
    /// The old refresh token is spent in the transaction.
    TokenSpent "token.spent";
    /// New tokens are committed and not yet answered.
    TokenRenewed "token.renewed";

    // A push
    /// The request is read and through the gate.
    Ingested "ingest.read";
    /// The street's worker has taken the batch.
    PushTaken "push.taken";
    /// The street's row is locked.
    StreetLocked "write.locked";
    /// Every change has its ruling; nothing is written.
    Ruled "merge.ruled";
    /// What follows from the changes is ruled too.
    Followed "write.followed";
    /// Records are written, their log is not.
    RecordsWritten "write.records";
    /// The log is written, the read models are not.
    LogWritten "write.log";
    /// The read models are written, the head is not.
    Projected "write.projected";
    /// The head is raised, the audit trail knows nothing.
    HeadRaised "write.head";
    /// Everything is written, nothing is committed.
    Audited "write.audited";
    /// Committed, and nobody was told.
    Committed "write.committed";
    /// The worker has told the requests of its batch.
    PushAnswered "push.answered";
    /// The device's row says that it was here.
    SyncNoted "sync.noted";

    // A pull
    /// What will be sent is known.
    PullPlanned "respond.planned";
    /// The verdicts are written.
    VerdictsSent "respond.verdicts";
    /// A record or a change is written: counted.
    ItemSent "respond.item";
    /// A checkpoint is written.
    CheckpointSent "respond.checkpoint";
    /// The audit trail was told what was read.
    ReadingAnswered "respond.told";
    /// `end` is written, the connection not closed.
    EndSent "respond.end";

    // Acts of the office
    /// A desk's change is composed and merged, in memory.
    DeskComposed "desk.composed";
    /// It is committed and not answered.
    DeskCommitted "desk.committed";
    /// Rows of an import are marked, to be written or to be taken back.
    ImportMarked "import.marked";
    /// A part of them is written, what became of the rows is not.
    ImportWritten "import.written";
    /// What became of them is written too, nothing is committed.
    ImportEnded "import.ended";
    /// The part is committed.
    ImportCommitted "import.committed";
    /// A record's log is rewritten as its next generation.
    HistoryRewritten "forget.rewritten";
    /// A record's rows are deleted.
    RecordErased "forget.erased";
    /// The receipt is written, nothing is committed.
    ReceiptWritten "erasure.receipt";
    /// The erasure is committed and not answered.
    ErasureCommitted "erasure.committed";

    // Behind the scenes
    /// `lianka rebuild`: the read models of the street are gone.
    ModelsCleared "rebuild.cleared";
    /// A page of them is there again.
    ModelsWritten "rebuild.page";
    /// Old changes are deleted from the log, and the street is still locked.
    LogTrimmed "trim.deleted";
    /// The trimming of a stretch is committed.
    LogTrimCommitted "trim.committed";
    /// A record's compacted history is written, and not committed.
    HistoryCompacted "compact.rewritten";
    /// It is committed.
    CompactionCommitted "compact.committed";
    /// A refreshed snapshot was compared and is not stored.
    SnapshotJudged "refresh.judged";
    /// It is stored.
    SnapshotStored "refresh.stored";
    /// The transfers' clock has ruled.
    ClockRuled "clock.ruled";
    /// Its ruling is committed.
    ClockCommitted "clock.committed";
    /// A seal's event is in the chain, its signature is not.
    SealAppended "seal.appended";
    /// The seal is committed.
    SealCommitted "seal.committed";
    /// Old events are deleted, the chain does not say so yet.
    EventsPruned "seal.pruned";
}

/// The pipeline is here; a test may want it to end.
#[inline]
pub fn reached(point: PipelinePoint) {
    #[cfg(feature = "pipeline-points")]
    wanted::reached(point);
    #[cfg(not(feature = "pipeline-points"))]
    let _ = point;
}

#[cfg(feature = "pipeline-points")]
mod wanted {
    use std::sync::{LazyLock, atomic::AtomicU32, atomic::Ordering};

    use super::PipelinePoint;

    struct Wanted {
        name: String,
        /// How often it may still be passed.
        left: AtomicU32,
    }

    static WANTED: LazyLock<Option<Wanted>> = LazyLock::new(|| {
        let wanted = std::env::var("LIANKA_ABORT_AT").ok()?;
        let (name, count) = wanted
            .split_once(':')
            .map_or((&*wanted, 1), |(name, count)| {
                (name, count.parse().unwrap_or(1))
            });
        Some(Wanted {
            name: name.to_owned(),
            left: AtomicU32::new(count),
        })
    });

    pub fn reached(point: PipelinePoint) {
        if let Some(wanted) = &*WANTED
            && wanted.name == point.name()
            && wanted.left.fetch_sub(1, Ordering::Relaxed) == 1
        {
            std::process::abort();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_point_has_a_name_of_its_own() {
        let names: std::collections::BTreeSet<_> = PipelinePoint::ALL
            .iter()
            .map(|point| point.name())
            .collect();
        assert_eq!(names.len(), PipelinePoint::ALL.len());
    }
}
