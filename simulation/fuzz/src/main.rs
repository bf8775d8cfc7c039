//! `lianka-fuzz`: campaigns, replays, and the measurement of plain Automerge. `make fuzz` and `make fuzz-automerge` call it.

use std::{fs, path::PathBuf, process::ExitCode};

use clap::{Parser, Subcommand};
use lianka_fuzz::{
    campaign::{self, Target},
    crashers,
};

#[derive(Parser)]
#[command(about = "Hostile bytes for everything that reads bytes from outside")]
struct Arguments {
    #[command(subcommand)]
    command: Task,
}

#[derive(Subcommand)]
enum Task {
    /// Runs a campaign over one target, or over all
    Run {
        #[arg(long)]
        target: Option<Target>,
        /// Mutated changes; the other targets get their share
        #[arg(long, default_value_t = 1_000_000)]
        inputs: u64,
        /// First seed; each round takes the next one
        #[arg(long, default_value_t = 1)]
        seed: u64,
        /// Where failing inputs are kept
        #[arg(long, default_value = "simulation/fuzz/fixtures/regressions")]
        keep: PathBuf,
    },
    /// Replays the round of a seed, or a kept input
    Replay {
        #[arg(long)]
        target: Target,
        #[arg(long, conflicts_with = "file", required_unless_present = "file")]
        seed: Option<u64>,
        #[arg(long)]
        file: Option<PathBuf>,
    },
    /// Measures what plain Automerge does with the inputs that harm it, each in a limited process, and prints the table of docs/security.md
    Automerge {
        /// Writes the table into this document
        #[arg(long)]
        write: Option<PathBuf>,
    },
    /// Attacks a real server with hostile devices while honest phones work; the exit status is 1 where an honest edit is lost or the server errs
    #[cfg(feature = "hostile-load")]
    HostileLoad {
        /// Seconds of the hostile load; the calm before it takes half as long
        #[arg(long, default_value_t = 60, value_parser = clap::value_parser!(u64).range(2..=600))]
        seconds: u64,
        #[arg(long, default_value_t = 8)]
        honest: usize,
        #[arg(long, default_value_t = 8)]
        hostile: usize,
        /// Attacks that each hostile device prepares
        #[arg(long, default_value_t = 300)]
        attacks: usize,
        #[arg(long, default_value_t = 1)]
        seed: u64,
    },
    /// Writes simulation/fuzz/fixtures anew from the recipes
    Fixtures,
    #[command(hide = true)]
    Work {
        #[arg(long)]
        target: Target,
        #[arg(long)]
        seed: u64,
        #[arg(long)]
        inputs: u64,
    },
    #[command(hide = true)]
    Suffer { name: String },
}

fn main() -> anyhow::Result<ExitCode> {
    match Arguments::parse().command {
        Task::Run {
            target,
            inputs,
            seed,
            keep,
        } => {
            let targets = target.map_or(Target::ALL.to_vec(), |target| vec![target]);
            let mut failures = 0;
            for one in targets {
                let share = if target.is_some() {
                    inputs
                } else {
                    (inputs * one.share() / 1_000).max(1)
                };
                let report = campaign::run(one, seed, share, &keep)?;
                println!("{report}");
                failures += report.failures;
            }
            return Ok(if failures == 0 {
                ExitCode::SUCCESS
            } else {
                ExitCode::FAILURE
            });
        }
        Task::Replay {
            target,
            seed: Some(seed),
            ..
        } => {
            let tally = target.round(seed, &target.budget());
            for found in &tally.found {
                println!("FAILED {}", found.failure);
            }
            println!("{} inputs, {} failures", tally.inputs, tally.found.len());
            return Ok(if tally.found.is_empty() {
                ExitCode::SUCCESS
            } else {
                ExitCode::FAILURE
            });
        }
        Task::Replay { target, file, .. } => {
            let file = file.unwrap_or_default();
            let context = fs::read(file.with_extension("context")).unwrap_or_default();
            match target.replay(&fs::read(&file)?, &context) {
                Ok(outcome) => println!("holds: {outcome}"),
                Err(failure) => {
                    println!("FAILED {failure}");
                    return Ok(ExitCode::FAILURE);
                }
            }
        }
        Task::Automerge { write } => crashers::measure(write.as_deref())?,
        #[cfg(feature = "hostile-load")]
        Task::HostileLoad {
            seconds,
            honest,
            hostile,
            attacks,
            seed,
        } => return hostile_load(seconds, honest, hostile, attacks, seed),
        Task::Fixtures => crashers::write_fixtures()?,
        Task::Work {
            target,
            seed,
            inputs,
        } => campaign::work(target, seed, inputs)?,
        Task::Suffer { name } => crashers::suffer(&name)?,
    }
    Ok(ExitCode::SUCCESS)
}

#[cfg(feature = "hostile-load")]
fn hostile_load(
    seconds: u64,
    honest: usize,
    hostile: usize,
    attacks: usize,
    seed: u64,
) -> anyhow::Result<ExitCode> {
    use lianka_fuzz::hostile_load::{Options, run};

    let duration = std::time::Duration::from_secs(seconds);
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()?;
    let report = runtime.block_on(Box::pin(run(Options {
        honest,
        hostile,
        duration,
        attacks,
        seed,
    })))?;
    println!("{report}");
    let failures = report.failures();
    for failure in &failures {
        println!("FAILED {failure}");
    }
    Ok(if failures.is_empty() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}
