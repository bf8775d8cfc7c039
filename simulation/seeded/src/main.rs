//! `lianka-simulation`: runs seeds, and replays one. `make simulate SEEDS=N` calls it.

use std::{
    fs,
    path::PathBuf,
    process::ExitCode,
    sync::atomic::{AtomicU64, Ordering},
    time::Instant,
};

use clap::{Parser, Subcommand};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use lianka_simulation::{
    Script,
    runner::{self, Failure},
};

/// Failing seeds that are made small and kept; the others are named.
const KEPT_MAX: usize = 5;

#[derive(Parser)]
#[command(
    about = "Simulation from seeds: phones, network, clocks and crashes from one seed, held to Lianka's promises"
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
}

fn main() -> anyhow::Result<ExitCode> {
    let clean = match Arguments::parse().task {
        Task::Run { seeds, from, keep } => run(from, seeds, &keep)?,
        Task::Replay {
            seed,
            steps,
            story,
            minimise,
        } => runner::replay(seed, steps, story, minimise),
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
        "{pos}/{len} runs {wide_bar} {per_sec} {eta}",
    )?);
    silence_panics();
    // Where nobody sees a bar, a line for every tenth.
    let (ran, tenth) = (AtomicU64::new(0), seeds.div_ceil(10).max(1));
    let in_lines = bar.is_hidden();
    let report = runner::many(from, seeds, false, &|_| {
        bar.inc(1);
        let ran = ran.fetch_add(1, Ordering::Relaxed) + 1;
        if in_lines && ran % tenth == 0 {
            eprintln!("{ran}/{seeds} runs");
        }
    });
    bar.finish_and_clear();
    let seconds = started.elapsed().as_secs_f64();
    println!("{}", report.coverage);
    println!(
        "{} runs, {} events in {seconds:.1} s ({:.1} seeds/s): {} failed",
        report.runs,
        report.events,
        report.runs as f64 / seconds,
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

/// A run that falls over is a finding; its backtrace would only hide the progress.
fn silence_panics() {
    std::panic::set_hook(Box::new(|_| ()));
}
