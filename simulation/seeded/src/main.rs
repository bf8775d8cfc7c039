//! `lianka-simulation`: runs worlds, replays one, and proves by planted bugs that broken promises are found. `make simulate SEEDS=N` calls it.

use std::{collections::BTreeSet, fs, path::PathBuf, process::ExitCode, time::Instant};

use clap::{Parser, Subcommand};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use lianka_simulation::{
    Script,
    check::tell,
    runner::{self, Failure},
};
use lianka_sync_core::planted::{self, Bug};

/// Failing seeds that are made small and kept; the others are named.
const KEPT_MAX: usize = 5;

#[derive(Parser)]
#[command(
    about = "Simulated worlds: phones, network, clocks and crashes from one seed, held to Lianka's promises"
)]
struct Arguments {
    #[command(subcommand)]
    task: Task,
}

#[derive(Subcommand)]
enum Task {
    /// Runs seeds; a failing one is printed, made small and kept
    Run {
        #[arg(long, default_value_t = 200)]
        seeds: u64,
        /// The first seed
        #[arg(long, default_value_t = 1)]
        from: u64,
        /// Where failing scripts are kept
        #[arg(long, default_value = "simulation/seeded/failures")]
        keep: PathBuf,
    },
    /// Runs one seed again
    Replay {
        seed: u64,
        /// Only these steps, by number
        #[arg(long, value_delimiter = ',')]
        steps: Option<Vec<u32>>,
        /// Prints the whole journal as prose
        #[arg(long)]
        story: bool,
        /// Makes it small first
        #[arg(long)]
        minimise: bool,
        /// With this bug in place
        #[arg(long)]
        bug: Option<Bug>,
    },
    /// Runs seeds on the real router and Postgres, holds them to the promises, and says the same to the office in memory: both must answer alike
    #[cfg(feature = "real")]
    Agree {
        #[arg(long, default_value_t = 8)]
        seeds: u64,
        /// The first seed
        #[arg(long, default_value_t = 1)]
        from: u64,
    },
    /// Plants bugs, one after another: each must be found
    Bugs {
        /// Only this one
        #[arg(long)]
        bug: Option<Bug>,
        /// Seeds that a bug may need
        #[arg(long, default_value_t = 500)]
        seeds: u64,
        /// The first seed
        #[arg(long, default_value_t = 1)]
        from: u64,
        /// Only names them
        #[arg(long)]
        list: bool,
        /// Runs all seeds and counts those that find it
        #[arg(long)]
        count: bool,
    },
}

fn main() -> anyhow::Result<ExitCode> {
    let clean = match Arguments::parse().task {
        Task::Run { seeds, from, keep } => run(from, seeds, &keep)?,
        Task::Replay {
            seed,
            steps,
            story,
            minimise,
            bug,
        } => replay(seed, steps, story, minimise, bug),
        Task::Bugs { list: true, .. } => {
            for bug in Bug::ALL {
                println!("{:<30} {:<10} {}", bug.name(), bug.place(), bug.what());
            }
            true
        }
        Task::Bugs {
            bug,
            seeds,
            from,
            count,
            ..
        } => bugs(bug, from, seeds, count),
        #[cfg(feature = "real")]
        Task::Agree { seeds, from } => agree(from, seeds),
    };
    Ok(if clean {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

fn run(from: u64, seeds: u64, keep: &PathBuf) -> anyhow::Result<bool> {
    let started = Instant::now();
    let bar = ProgressBar::with_draw_target(Some(seeds), ProgressDrawTarget::stderr());
    bar.set_style(ProgressStyle::with_template(
        "{pos}/{len} worlds {wide_bar} {per_sec} {eta}",
    )?);
    silence_panics();
    let report = runner::many(from, seeds, false, &|_| bar.inc(1));
    bar.finish_and_clear();
    let seconds = started.elapsed().as_secs_f64();
    println!("{}", report.coverage);
    println!(
        "{} worlds, {} events in {seconds:.1} s ({:.1} worlds/s): {} failed",
        report.worlds,
        report.events,
        report.worlds as f64 / seconds,
        report.failures.len(),
    );
    for (at, failure) in report.failures.iter().enumerate() {
        println!("\nseed {}", failure.seed);
        failure
            .found
            .iter()
            .for_each(|finding| println!("  {finding}"));
        if at < KEPT_MAX {
            let path = kept(failure, keep)?;
            println!("  kept, made small, in {}", path.display());
        }
    }
    Ok(report.failures.is_empty())
}

/// Every difference is a mistake in one of the offices, and every finding one of the real one.
#[cfg(feature = "real")]
fn agree(from: u64, seeds: u64) -> bool {
    let mut agreed = true;
    for seed in from..from + seeds {
        let started = Instant::now();
        let script = Script::of(seed);
        let (story, difference) = lianka_simulation::office::agreement::both(&script);
        let found = lianka_simulation::check::check(&script.setup, &story);
        let events = story.journal.lines.len();
        println!(
            "seed {seed}: {events} events in {:.1} s",
            started.elapsed().as_secs_f64()
        );
        for finding in &found {
            println!("  {finding}");
        }
        if let Some(difference) = &difference {
            println!("  the offices differ: {difference}");
        }
        agreed &= found.is_empty() && difference.is_none();
    }
    agreed
}

/// Makes a failing seed small and writes it down.
fn kept(failure: &Failure, keep: &PathBuf) -> anyhow::Result<PathBuf> {
    let script = runner::minimise(&Script::of(failure.seed), failure.found[0].promise);
    fs::create_dir_all(keep)?;
    let path = keep.join(format!("seed-{}.txt", failure.seed));
    fs::write(&path, runner::told(&script, &runner::one(&script)))?;
    Ok(path)
}

fn replay(
    seed: u64,
    steps: Option<Vec<u32>>,
    story: bool,
    minimise: bool,
    bug: Option<Bug>,
) -> bool {
    let _planted = bug.map(planted::plant);
    let mut script = Script::of(seed);
    if let Some(steps) = steps {
        let steps: BTreeSet<_> = steps.into_iter().collect();
        script = script.only(|no| steps.contains(&no));
    }
    let mut outcome = runner::one(&script);
    if let (true, Some(finding)) = (minimise, outcome.found.first()) {
        script = runner::minimise(&script, finding.promise);
        outcome = runner::one(&script);
    }
    if let (true, Some(told)) = (story, &outcome.story) {
        print!("{}", tell::all(&told.journal));
    }
    if outcome.found.is_empty() {
        println!("seed {seed}: every promise held");
    } else {
        print!("{}", runner::told(&script, &outcome));
    }
    outcome.found.is_empty()
}

/// The table of docs/simulation.md, as far as the office in memory finds them.
fn bugs(only: Option<Bug>, from: u64, seeds: u64, count: bool) -> bool {
    silence_panics();
    let mut all_found = true;
    println!(
        "| bug | in | what is wrong | found by seed | promise that breaks |\n|---|---|---|---|---|"
    );
    for bug in Bug::ALL
        .iter()
        .copied()
        .filter(|bug| only.is_none_or(|only| only == *bug))
    {
        let planted = planted::plant(bug);
        let report = match runner::script_for(bug) {
            Some(script) => runner::Report {
                worlds: 1,
                failures: vec![Failure {
                    seed: script.seed,
                    found: runner::one(&script).found,
                }],
                ..runner::Report::default()
            },
            None => runner::many(from, seeds, !count, &|_| ()),
        };
        drop(planted);
        let found = match report.failures.first() {
            Some(first) if first.found.is_empty() => {
                all_found = false;
                "NOT FOUND by its script".to_owned()
            }
            Some(_) if runner::script_for(bug).is_some() => "its own script".to_owned(),
            Some(first) if count => format!(
                "{} ({} of {})",
                first.seed,
                report.failures.len(),
                report.worlds
            ),
            Some(first) => first.seed.to_string(),
            None if bug.needs_the_real_office() => "`--office real`".to_owned(),
            None => {
                all_found = false;
                format!("NOT FOUND in {}", report.worlds)
            }
        };
        let promise = report
            .failures
            .first()
            .and_then(|first| first.found.first())
            .map_or("", |finding| finding.promise);
        println!(
            "| `{}` | {} | {} | {found} | {promise} |",
            bug.name(),
            bug.place(),
            bug.what()
        );
    }
    all_found
}

/// A world that falls over is a finding; its backtrace would only hide the progress.
fn silence_panics() {
    std::panic::set_hook(Box::new(|_| ()));
}
