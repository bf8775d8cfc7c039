//! `find-mutants`: plants mutants and says which runs find them. `scripts/mutants.sh find` builds it in the tree that it patches.

use std::process::ExitCode;

use clap::{Parser, Subcommand};
use lianka_mutants::{Mutant, plant};
use lianka_simulation::{mutants, runner};

#[derive(Parser)]
#[command(about = "Mistakes on purpose: each must be found by the simulation")]
struct Arguments {
    #[command(subcommand)]
    task: Task,
}

#[derive(Subcommand)]
enum Task {
    /// Names them
    List,
    /// Plants one after another and prints a table of what finds them
    Find {
        /// Only those whose name or place begins so
        #[arg(default_value = "")]
        only: String,
        /// Seeds that a mutant may need
        #[arg(long, default_value_t = 500)]
        seeds: u64,
        /// The first seed
        #[arg(long, default_value_t = 1)]
        from: u64,
        /// Runs all seeds and counts those that find it
        #[arg(long)]
        count: bool,
    },
    /// Runs one seed with a mutant in place
    Replay {
        mutant: Mutant,
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
}

fn main() -> ExitCode {
    let clean = match Arguments::parse().task {
        Task::List => {
            for mutant in Mutant::ALL {
                let (name, place) = (mutant.name(), mutant.place());
                println!("{name:<30} {place:<10} {}", mutant.what());
            }
            true
        }
        Task::Find {
            only,
            seeds,
            from,
            count,
        } => find(&only, from, seeds, count),
        Task::Replay {
            mutant,
            seed,
            steps,
            story,
            minimise,
        } => {
            let _planted = plant(mutant);
            runner::replay(seed, steps, story, minimise)
        }
    };
    if clean {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}

/// A row for each, as far as the office in memory finds them.
fn find(only: &str, from: u64, seeds: u64, count: bool) -> bool {
    // A run that falls over is a finding; its backtrace would only hide the progress.
    std::panic::set_hook(Box::new(|_| ()));
    let mut all_found = true;
    println!(
        "| mutant | in | what is wrong | found by seed | promise that breaks |\n|---|---|---|---|---|"
    );
    for mutant in Mutant::ALL
        .iter()
        .copied()
        .filter(|mutant| mutant.name().starts_with(only) || mutant.place().starts_with(only))
    {
        let report = if mutant.needs_the_real_office() {
            runner::Report::default()
        } else {
            mutants::find(mutant, from, seeds, !count)
        };
        let first = report.failures.first();
        let found = match first {
            _ if mutant.needs_the_real_office() => {
                "the real office: `simulation/seeded/tests/mutants.rs`".to_owned()
            }
            None => {
                all_found = false;
                format!("NOT FOUND in {}", report.runs)
            }
            Some(_) if mutants::has_a_script(mutant) => "its own script".to_owned(),
            Some(first) if count => format!(
                "{} ({} of {})",
                first.seed,
                report.failures.len(),
                report.runs
            ),
            Some(first) => first.seed.to_string(),
        };
        let promise = first
            .and_then(|first| first.found.first())
            .map_or("", |finding| finding.promise);
        println!(
            "| `{}` | {} | {} | {found} | {promise} |",
            mutant.name(),
            mutant.place(),
            mutant.what()
        );
    }
    all_found
}
