//! How long what is swept is kept.

use std::time::Duration;

/// How long what is swept is kept.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Keep {
    pub changes: Duration,
    pub notices: Duration,
    /// Which changes a generation that ended had accepted: as long as a phone may come back whose answer was lost.
    pub generations: Duration,
    /// What exports said: a sheet that comes back later is one from elsewhere.
    pub exports: Duration,
    /// Proposed imports that nobody decided.
    pub proposals: Duration,
}

/// Days that a download looks back for notices.
const NOTICE_DAYS: u64 = 30;
/// A phone that was away for a year is the longest absence that is counted with.
const GENERATION_DAYS: u64 = 365;

/// A sheet that goes round a street comes back within a quarter.
const EXPORT_DAYS: u64 = 100;
/// A proposal that nobody decided in a month was forgotten, and so it is.
const PROPOSAL_DAYS: u64 = 30;

impl Keep {
    /// So many days; no download misses a notice, and nobody's lost answer lets an edit in twice.
    pub fn days(days: u64) -> Self {
        let of = |days: u64| Duration::from_secs(days * 86_400);
        Self {
            changes: of(days),
            notices: of(days.max(NOTICE_DAYS)),
            generations: of(days.max(GENERATION_DAYS)),
            exports: of(days.max(EXPORT_DAYS)),
            proposals: of(PROPOSAL_DAYS),
        }
    }

    /// For trials: `age` stands for a month.
    pub fn month_as(age: Duration) -> Self {
        Self {
            changes: age,
            notices: age,
            generations: age * 12,
            exports: age * 3,
            proposals: age,
        }
    }
}
