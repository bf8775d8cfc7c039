//! The supervisor of background passes: runs each again and again, outlives what goes wrong with it, and knows when it last succeeded.
//!
//! In: rows of [`Pass`]. Out: their runs, each bounded, with a growing pause after a failure; and for whoever asks, what became of them
//! ([`Reports`]). A pass of the whole deployment is run by one of its servers at a time, whoever holds its lease ([`Leases`]); a server that
//! died is followed by another when the lease has run out and that one looks again: 21 seconds later at most.

use std::{
    collections::BTreeMap,
    error::Error,
    panic::AssertUnwindSafe,
    pin::pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use futures::{FutureExt, future::BoxFuture};
use tokio::time::{Instant, sleep, timeout};
use tokio_util::sync::CancellationToken;

use crate::upkeep::leases::{Claim, LEASE, Leases};

/// What a lease is renewed after, while a pass runs.
const RENEWED_AFTER: Duration = Duration::from_secs(2);
/// A server whose turn it is not looks again after this, or sooner where the pass runs more often.
const LOOKS_AGAIN: Duration = Duration::from_secs(15);
/// Pause after a first failure; twice as long after each further one.
const PAUSE_FAILED: Duration = Duration::from_secs(1);
const PAUSE_FAILED_MAX: Duration = Duration::from_mins(1);

/// Why a run failed.
pub type Cause = Box<dyn Error + Send + Sync>;

/// What a run leaves.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Left {
    /// Nothing that was due.
    Nothing,
    /// More of the same: the next run follows after a short pause, so that phones come first.
    More,
}

/// A row of the list of passes.
pub struct Pass {
    pub name: &'static str,
    /// Between two runs while there is nothing to do.
    pub interval: Duration,
    /// Between two runs while there is more.
    pub busy: Duration,
    /// A run that takes longer is cut off, as if its connection had broken.
    pub limit: Duration,
    /// Whether one server of a deployment runs it for all.
    pub shared: bool,
    pub run: Box<dyn FnMut() -> BoxFuture<'static, Result<Left, Cause>> + Send>,
}

/// What became of a pass so far.
#[derive(Clone, Copy, Debug)]
pub struct Report {
    /// When it last succeeded, here or on another server; at first, when it was begun.
    pub succeeded: Instant,
    pub runs: u64,
    pub failures: u64,
    /// Of the failures, panics.
    pub panics: u64,
    /// Failures since it last succeeded.
    pub failing: u32,
    /// A pass whose last success is older says so in the log and to `/readyz`.
    pub silent_after: Duration,
}

impl Report {
    /// Whether it has been without success for too long.
    pub fn is_silent(&self, now: Instant) -> bool {
        now.saturating_duration_since(self.succeeded) > self.silent_after
    }
}

/// What became of all passes of this server. Cheap to clone.
#[derive(Clone, Default)]
pub struct Reports(Arc<Mutex<BTreeMap<&'static str, Report>>>);

impl Reports {
    fn lock(&self) -> MutexGuard<'_, BTreeMap<&'static str, Report>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// By name.
    pub fn all(&self) -> BTreeMap<&'static str, Report> {
        self.lock().clone()
    }

    fn note(&self, name: &'static str, change: impl FnOnce(&mut Report)) {
        if let Some(report) = self.lock().get_mut(name) {
            change(report);
        }
    }
}

/// A pass under supervision.
pub struct Supervised {
    pass: Pass,
    leases: Leases,
    reports: Reports,
    /// Until when the lease is known to be ours.
    held_until: Option<Instant>,
    /// It ran already in this process: from then on it waits until it is due for the whole deployment.
    begun: bool,
    pause: Duration,
    silence_logged: bool,
}

impl Supervised {
    pub fn new(pass: Pass, leases: Leases, reports: Reports) -> Self {
        let report = Report {
            succeeded: Instant::now(),
            runs: 0,
            failures: 0,
            panics: 0,
            failing: 0,
            silent_after: 3 * pass.interval + pass.limit + LEASE,
        };
        reports.lock().insert(pass.name, report);
        Self {
            leases,
            reports,
            held_until: None,
            begun: false,
            pause: Duration::ZERO,
            silence_logged: false,
            pass,
        }
    }

    /// Runs until the server stops. A run under way is cut off then; what it has committed stays.
    pub async fn run(mut self, stopping: CancellationToken) {
        let work = async {
            loop {
                let pause = self.step().await;
                sleep(pause).await;
            }
        };
        tokio::select! {
            () = stopping.cancelled() => {}
            () = work => {}
        }
        if self.held_until.is_some() {
            let _ = timeout(RENEWED_AFTER, self.leases.release(self.pass.name, false)).await;
        }
    }

    /// One run, where it is this server's turn; how long to pause after it.
    pub async fn step(&mut self) -> Duration {
        self.pause = self.try_step().await;
        self.tell_silence();
        self.pause
    }

    async fn try_step(&mut self) -> Duration {
        match self.claim().await {
            Ok(Claim::Ours) => {}
            Ok(Claim::Others { succeeded_before }) => {
                self.held_until = None;
                if let Some(before) = succeeded_before {
                    let at = Instant::now().checked_sub(before);
                    self.reports.note(self.pass.name, |report| {
                        report.succeeded =
                            at.map_or(report.succeeded, |at| at.max(report.succeeded));
                    });
                }
                return self.pass.interval.min(LOOKS_AGAIN);
            }
            Err(error) => {
                self.held_until = None;
                return self.failed(&error, false);
            }
        }
        self.begun = true;
        self.reports.note(self.pass.name, |report| report.runs += 1);
        let pause = match self.run_once().await {
            Ok(Ok(left)) => {
                let pause = match left {
                    Left::Nothing => self.pass.interval,
                    Left::More => self.pass.busy,
                };
                self.succeeded();
                pause
            }
            Ok(Err(cause)) => self.failed(&*cause, false),
            Err(panic) => self.failed(&panic, true),
        };
        let succeeded = self.failing() == 0;
        if self.pass.shared && (!succeeded || pause >= RENEWED_AFTER) {
            self.held_until = None;
            if let Err(error) = self.leases.release(self.pass.name, succeeded).await {
                tracing::debug!(pass = self.pass.name, %error, "a lease could not be given back; it runs out");
            }
        }
        pause
    }

    async fn claim(&mut self) -> sqlx::Result<Claim> {
        let now = Instant::now();
        if !self.pass.shared || self.held_until.is_some_and(|until| until > now + LEASE / 2) {
            return Ok(Claim::Ours);
        }
        // The first run of a process is due at once, and so is what was interrupted.
        let after = if self.begun && self.failing() == 0 {
            self.pause
        } else {
            Duration::ZERO
        };
        let claim = self.leases.claim(self.pass.name, after).await?;
        if claim == Claim::Ours {
            self.held_until = Some(now + LEASE);
        }
        Ok(claim)
    }

    /// The run, with its lease renewed beside it; `Err` where it panicked.
    async fn run_once(&mut self) -> Result<Result<Left, Cause>, Panic> {
        let run = &mut self.pass.run;
        let run = AssertUnwindSafe(async move { run().await }).catch_unwind();
        let mut run = pin!(timeout(self.pass.limit, run));
        loop {
            tokio::select! {
                ran = &mut run => {
                    return match ran {
                        Ok(Ok(ran)) => Ok(ran),
                        Ok(Err(_)) => Err(Panic),
                        Err(late) => Ok(Err(late.into())),
                    };
                }
                () = sleep(RENEWED_AFTER), if self.pass.shared => {
                    // Where the store does not answer, the run itself will say so.
                    let _ = self.leases.renew(self.pass.name).await;
                    self.held_until = Some(Instant::now() + LEASE);
                }
            }
        }
    }

    fn failing(&self) -> u32 {
        let reports = self.reports.lock();
        reports
            .get(self.pass.name)
            .map_or(0, |report| report.failing)
    }

    fn succeeded(&mut self) {
        self.reports.note(self.pass.name, |report| {
            if report.failing > 0 {
                tracing::info!(
                    pass = self.pass.name,
                    failures = report.failing,
                    "a background pass works again"
                );
            }
            report.failing = 0;
            report.succeeded = Instant::now();
        });
    }

    fn failed(&mut self, cause: &(dyn Error + 'static), panicked: bool) -> Duration {
        let mut failing = 0;
        self.reports.note(self.pass.name, |report| {
            report.failures += 1;
            report.panics += u64::from(panicked);
            report.failing = report.failing.saturating_add(1);
            failing = report.failing;
        });
        let pause =
            (PAUSE_FAILED * 2_u32.saturating_pow((failing - 1).min(16))).min(PAUSE_FAILED_MAX);
        let (pass, again_in_s) = (self.pass.name, pause.as_secs());
        if panicked {
            tracing::error!(
                pass,
                failing,
                again_in_s,
                "a background pass panicked; it is begun again"
            );
        } else {
            tracing::warn!(
                pass,
                failing,
                again_in_s,
                error = cause,
                "a background pass failed; it tries again"
            );
        }
        pause
    }

    fn tell_silence(&mut self) {
        let report = self.reports.lock().get(self.pass.name).copied();
        let silent = report.is_some_and(|report| report.is_silent(Instant::now()));
        if silent && !self.silence_logged {
            tracing::error!(
                pass = self.pass.name,
                "a background pass has not succeeded for a long time"
            );
        }
        self.silence_logged = silent;
    }
}

/// A run panicked; the hook has told where.
#[derive(Debug, thiserror::Error)]
#[error("it panicked")]
struct Panic;

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering};

    use super::*;

    /// A pass that does what `run` says for each of its runs.
    fn pass(run: impl Fn(u32) -> Result<Left, Cause> + Send + Sync + 'static) -> Supervised {
        let (run, runs) = (Arc::new(run), AtomicU32::new(0));
        let pass = Pass {
            name: "example",
            interval: Duration::from_mins(1),
            busy: Duration::from_millis(200),
            limit: Duration::from_secs(10),
            shared: false,
            run: Box::new(move || {
                let (run, no) = (Arc::clone(&run), runs.fetch_add(1, Ordering::Relaxed));
                async move { run(no) }.boxed()
            }),
        };
        Supervised::new(pass, Leases::nobodys(), Reports::default())
    }

    fn report(of: &Supervised) -> Report {
        of.reports.all()["example"]
    }

    #[tokio::test]
    async fn a_pass_that_panics_is_begun_again() {
        let mut pass = pass(|no| {
            assert_ne!(no, 0, "on purpose");
            Ok(Left::Nothing)
        });
        assert_eq!(pass.step().await, Duration::from_secs(1));
        assert_eq!((report(&pass).panics, report(&pass).failing), (1, 1));
        assert_eq!(pass.step().await, Duration::from_mins(1));
        assert_eq!((report(&pass).runs, report(&pass).failing), (2, 0));
    }

    #[tokio::test]
    async fn a_pass_that_goes_on_failing_pauses_longer_and_is_told_when_it_is_silent() {
        let mut pass = pass(|_| Err("the store is away".into()));
        let mut pauses = Vec::new();
        for _ in 0..12 {
            pauses.push(pass.step().await.as_secs());
        }
        assert_eq!(pauses, [1, 2, 4, 8, 16, 32, 60, 60, 60, 60, 60, 60]);
        let report_now = report(&pass);
        assert!(!report_now.is_silent(Instant::now()));
        let limit = Duration::from_secs(3 * 60 + 10) + LEASE;
        assert!(!report_now.is_silent(report_now.succeeded + limit));
        assert!(report_now.is_silent(report_now.succeeded + limit + Duration::from_secs(1)));
        assert_eq!((report(&pass).failures, report(&pass).panics), (12, 0));
    }

    #[tokio::test]
    async fn a_run_that_hangs_is_cut_off() {
        let mut pass = pass(|_| Ok(Left::Nothing));
        pass.pass.limit = Duration::from_millis(1);
        pass.pass.run = Box::new(|| std::future::pending().boxed());
        assert_eq!(pass.step().await, Duration::from_secs(1));
        assert_eq!(report(&pass).failures, 1);
    }

    #[tokio::test]
    async fn a_pass_with_more_to_do_pauses_shortly_and_one_that_stops_ends() {
        let (sender, mut runs) = tokio::sync::watch::channel(0);
        let mut more = pass(move |no| {
            sender.send_replace(no);
            Ok(Left::More)
        });
        assert_eq!(more.step().await, Duration::from_millis(200));
        more.pass.busy = Duration::ZERO;
        let stopping = CancellationToken::new();
        let reports = more.reports.clone();
        let run = tokio::spawn(more.run(stopping.clone()));
        runs.wait_for(|no| *no > 2).await.expect("it goes on");
        stopping.cancel();
        run.await.expect("it ends");
        assert!(reports.all()["example"].runs > 1);
    }
}
