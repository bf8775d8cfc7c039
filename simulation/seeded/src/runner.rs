//! Many runs at once, each held to the promises; and what a failing one comes down to.
//!
//! In: seeds. Out: a [`Report`] of what was covered and what failed. One run a thread, as many threads as the machine has cores; what a seed
//! comes to does not depend on which thread runs it.

use std::{
    collections::BTreeSet,
    fmt::Write as _,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
};

use crate::{
    Coverage, Script, Story,
    check::{self, About, Finding},
    engine::run_to_end,
    office::{Identities, MemoryOffice},
};

/// A promise that a panic breaks.
const PANIC: &str = "nothing panics";
/// Runs that making one script small may take.
const TRIES_MAX: usize = 400;

/// What became of one run.
#[derive(Clone, Debug)]
pub struct Outcome {
    pub seed: u64,
    pub found: Vec<Finding>,
    /// `None` where the run fell over.
    pub story: Option<Story>,
}

/// A seed that failed.
#[derive(Clone, Debug)]
pub struct Failure {
    pub seed: u64,
    pub found: Vec<Finding>,
}

/// What became of many.
#[derive(Clone, Debug, Default)]
pub struct Report {
    pub runs: u64,
    pub events: u64,
    pub coverage: Coverage,
    /// By seed.
    pub failures: Vec<Failure>,
}

/// Runs a script against the office in memory.
pub fn one(script: &Script) -> Outcome {
    let seed = script.seed;
    let ran = catch_unwind(AssertUnwindSafe(|| {
        let mut office = MemoryOffice::new(&script.setup, Identities::Seeded(seed));
        let story = run_to_end(script, &mut office);
        let found = check::check(&script.setup, &story);
        (story, found)
    }));
    match ran {
        Ok((story, found)) => Outcome {
            seed,
            found,
            story: Some(story),
        },
        Err(panic) => {
            let text = panic
                .downcast_ref::<String>()
                .cloned()
                .or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned()));
            let found = vec![Finding::new(
                PANIC,
                About::default(),
                text.unwrap_or_else(|| "a panic without words".into()),
            )];
            Outcome {
                seed,
                found,
                story: None,
            }
        }
    }
}

/// Runs the seeds from `from` on; `stop_at_first`: no further than to the first that fails. `done` hears of each.
pub fn many(from: u64, seeds: u64, stop_at_first: bool, done: &(dyn Fn(u64) + Sync)) -> Report {
    let (next, stop) = (AtomicU64::new(from), AtomicBool::new(false));
    let report = Mutex::new(Report::default());
    let threads = std::thread::available_parallelism().map_or(2, usize::from);
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                while !stop.load(Ordering::Relaxed) {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= from + seeds {
                        break;
                    }
                    let outcome = one(&Script::of(seed));
                    let mut report = report.lock().unwrap_or_else(PoisonError::into_inner);
                    report.runs += 1;
                    if let Some(story) = &outcome.story {
                        report.coverage.add(&story.coverage);
                        report.events += story.journal.lines.len() as u64;
                    }
                    if !outcome.found.is_empty() {
                        report.failures.push(Failure {
                            seed,
                            found: outcome.found,
                        });
                        stop.store(stop_at_first, Ordering::Relaxed);
                    }
                    drop(report);
                    done(seed);
                }
            });
        }
    });
    let mut report = report.into_inner().unwrap_or_else(PoisonError::into_inner);
    report.failures.sort_by_key(|failure| failure.seed);
    report
}

/// The fewest steps of the script with which the same promise is still broken: halves, quarters and so on are left out, then single steps.
pub fn minimise(script: &Script, promise: &str) -> Script {
    let breaks = |steps: &BTreeSet<u32>| {
        let smaller = script.only(|no| steps.contains(&no));
        one(&smaller)
            .found
            .iter()
            .any(|finding| finding.promise == promise)
    };
    let mut steps: Vec<u32> = script.steps.iter().map(|step| step.no).collect();
    let (mut tries, mut parts) = (0, 2);
    while steps.len() > 1 && tries < TRIES_MAX {
        let size = steps.len().div_ceil(parts);
        let mut smaller = None;
        for part in 0..steps.len().div_ceil(size) {
            let rest: Vec<u32> = steps
                .iter()
                .enumerate()
                .filter(|(at, _)| at / size != part)
                .map(|(_, no)| *no)
                .collect();
            tries += 1;
            if breaks(&rest.iter().copied().collect()) {
                smaller = Some(rest);
                break;
            }
        }
        match smaller {
            Some(rest) => {
                steps = rest;
                parts = (parts - 1).max(2);
            }
            None if size == 1 => break,
            None => parts = (parts * 2).min(steps.len()),
        }
    }
    let steps: BTreeSet<_> = steps.into_iter().collect();
    script.only(|no| steps.contains(&no))
}

/// Runs one seed again, or only these of its steps, and prints what broke; `story`: the whole journal too. Whether every promise held.
pub fn replay(seed: u64, steps: Option<Vec<u32>>, story: bool, make_small: bool) -> bool {
    let mut script = Script::of(seed);
    if let Some(steps) = steps {
        let steps: BTreeSet<_> = steps.into_iter().collect();
        script = script.only(|no| steps.contains(&no));
    }
    let mut outcome = one(&script);
    if let (true, Some(finding)) = (make_small, outcome.found.first()) {
        script = minimise(&script, finding.promise);
        outcome = one(&script);
    }
    if let (true, Some(told)) = (story, &outcome.story) {
        print!("{}", check::tell::all(&told.journal));
    }
    if outcome.found.is_empty() {
        println!("seed {seed}: every promise held");
    } else {
        print!("{}", told(&script, &outcome));
    }
    outcome.found.is_empty()
}

/// A failing script as it is kept: how to run it again, what is wrong, the steps, the edit's story.
pub fn told(script: &Script, outcome: &Outcome) -> String {
    let steps: Vec<_> = script
        .steps
        .iter()
        .map(|step| step.no.to_string())
        .collect();
    let whole = Script::of(script.seed).steps.len() == script.steps.len();
    let only = if whole {
        String::new()
    } else {
        format!(" --steps {}", steps.join(","))
    };
    let mut text = format!("lianka-simulation replay {}{only}\n\n", script.seed);
    for finding in &outcome.found {
        let _ = writeln!(text, "BROKEN  {finding}");
    }
    text.push_str("\nSteps\n");
    for step in &script.steps {
        let _ = writeln!(
            text,
            "{:>5}  {:>12} ms  {:?}",
            step.no, step.at_ms, step.what
        );
    }
    if let (Some(story), Some(finding)) = (&outcome.story, outcome.found.first()) {
        text.push_str("\nStory of the first\n");
        text.push_str(&check::tell::story(&story.journal, &finding.about));
    }
    text
}
