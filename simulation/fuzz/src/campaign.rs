//! Many rounds in a process of their own, which may be killed, starve or overflow its stack without taking the report along.
//!
//! The worker says on its standard output which seed it is at before it begins, and what it found; its memory and its processor time for one
//! round are limited by the system. The campaign counts, prints progress, and writes each failing input to a file.

use std::{
    collections::BTreeMap,
    fs,
    io::{BufRead, BufReader, Write},
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::Instant,
};

use anyhow::Context;
use nix::sys::resource::{Resource, UsageWho, getrusage, setrlimit};

use crate::{Failure, Found, Tally, budget::Budget, cursors, gate, requests};

/// What is put under fire.
#[derive(Clone, Copy, PartialEq, Eq, Debug, clap::ValueEnum)]
pub enum Target {
    Gate,
    Requests,
    Cursors,
    #[cfg(feature = "server")]
    Sheets,
}

/// Address space of a worker.
const WORKER_BYTES_MAX: u64 = 6 << 30;
/// Processor seconds of one round: a hang, whatever the clock on the wall says.
const ROUND_SECONDS_MAX: u64 = 120;
/// Workers lost, or failures found, after which a campaign gives up.
const FAILURES_MAX: usize = 20;

impl Target {
    pub const ALL: &[Self] = &[
        Self::Gate,
        Self::Requests,
        Self::Cursors,
        #[cfg(feature = "server")]
        Self::Sheets,
    ];

    pub fn name(self) -> &'static str {
        match self {
            Self::Gate => "gate",
            Self::Requests => "requests",
            Self::Cursors => "cursors",
            #[cfg(feature = "server")]
            Self::Sheets => "sheets",
        }
    }

    /// The share of a campaign's inputs, in thousandths: changes are what matters, a workbook takes a thousand times as long.
    pub fn share(self) -> u64 {
        match self {
            Self::Gate => 1_000,
            Self::Requests => 20,
            Self::Cursors => 50,
            #[cfg(feature = "server")]
            Self::Sheets => 2,
        }
    }

    pub fn budget(self) -> Budget {
        match self {
            Self::Gate => gate::decode_budget(),
            Self::Requests => requests::budget(),
            Self::Cursors => cursors::budget(),
            #[cfg(feature = "server")]
            Self::Sheets => crate::sheets::budget(),
        }
    }

    pub fn round(self, seed: u64, budget: &Budget) -> Tally {
        match self {
            Self::Gate => gate::round(seed, budget),
            Self::Requests => requests::round(seed, budget),
            Self::Cursors => cursors::round(seed, budget),
            #[cfg(feature = "server")]
            Self::Sheets => crate::sheets::round(seed, budget),
        }
    }

    /// The claims about one stored input.
    pub fn replay(self, input: &[u8], context: &[u8]) -> Result<String, Failure> {
        let budget = self.budget();
        match self {
            Self::Gate => gate::replay(input, context, &budget),
            Self::Requests => {
                requests::judge(input, &budget).map(|(outcome, _)| outcome.to_owned())
            }
            Self::Cursors => cursors::judge(&String::from_utf8_lossy(input), &budget)
                .map(|(outcome, _)| outcome.to_owned()),
            #[cfg(feature = "server")]
            Self::Sheets => {
                crate::sheets::judge(input, &budget).map(|(outcome, _)| outcome.to_owned())
            }
        }
    }
}

/// The worker: rounds from `seed` on until `inputs` are reached.
pub fn work(target: Target, mut seed: u64, inputs: u64) -> anyhow::Result<()> {
    crate::budget::quiet_panics();
    setrlimit(Resource::RLIMIT_AS, WORKER_BYTES_MAX, WORKER_BYTES_MAX)?;
    let budget = target.budget();
    let mut out = std::io::stdout().lock();
    let mut done = 0;
    while done < inputs {
        let used = getrusage(UsageWho::RUSAGE_SELF)?;
        let seconds = used.user_time().tv_sec() + used.system_time().tv_sec();
        setrlimit(
            Resource::RLIMIT_CPU,
            seconds.unsigned_abs() + ROUND_SECONDS_MAX,
            u64::MAX,
        )?;
        writeln!(out, "at\t{seed}")?;
        out.flush()?;
        let tally = target.round(seed, &budget);
        done += tally.inputs.max(1);
        for Found {
            failure,
            input,
            context,
        } in &tally.found
        {
            let detail = failure.detail.replace(['\t', '\n'], " ");
            writeln!(
                out,
                "found\t{seed}\t{}\t{detail}\t{}\t{}",
                failure.claim,
                hex(input),
                hex(context)
            )?;
        }
        for (outcome, count) in &tally.outcomes {
            writeln!(out, "count\t{count}\t{outcome}")?;
        }
        writeln!(
            out,
            "done\t{}\t{}\t{}\t{}",
            tally.inputs, tally.peak_bytes, tally.allocations, tally.work_ns
        )?;
        seed += 1;
    }
    writeln!(out, "end")?;
    Ok(())
}

fn hex(bytes: &[u8]) -> String {
    bytes
        .iter()
        .fold(String::with_capacity(2 * bytes.len()), |mut text, byte| {
            text.push(char::from_digit(u32::from(byte >> 4), 16).unwrap_or('0'));
            text.push(char::from_digit(u32::from(byte & 15), 16).unwrap_or('0'));
            text
        })
}

fn unhex(text: &str) -> Vec<u8> {
    (0..text.len() / 2)
        .filter_map(|at| u8::from_str_radix(text.get(2 * at..2 * at + 2)?, 16).ok())
        .collect()
}

/// What a campaign found, told at its end.
#[derive(Debug, Default)]
pub struct Report {
    pub target: &'static str,
    pub inputs: u64,
    pub rounds: u64,
    pub seconds: f64,
    pub outcomes: BTreeMap<String, u64>,
    pub peak_bytes: u64,
    pub allocations: u64,
    pub work_ns: u64,
    pub failures: usize,
}

/// Runs `inputs` inputs of `target` in workers and reports; failing inputs go to `folder`.
pub fn run(target: Target, seed: u64, inputs: u64, folder: &Path) -> anyhow::Result<Report> {
    let started = Instant::now();
    let mut report = Report {
        target: target.name(),
        ..Report::default()
    };
    let mut next = seed;
    while report.inputs < inputs && report.failures < FAILURES_MAX {
        let left = inputs - report.inputs;
        let mut worker = Command::new(std::env::current_exe()?)
            .args([
                "work",
                "--target",
                target.name(),
                "--seed",
                &next.to_string(),
                "--inputs",
                &left.to_string(),
            ])
            .stdout(Stdio::piped())
            .spawn()
            .context("the worker starts")?;
        let lines = BufReader::new(worker.stdout.take().context("its output")?).lines();
        let mut ended = false;
        for line in lines.map_while(Result::ok) {
            let fields: Vec<_> = line.split('\t').collect();
            match fields[..] {
                ["at", seed] => next = seed.parse::<u64>()? + 1,
                ["done", inputs, peak, allocations, work] => {
                    report.done(inputs, [peak, allocations, work], started)?;
                }
                ["count", count, outcome] => {
                    *report.outcomes.entry(outcome.to_owned()).or_default() +=
                        count.parse::<u64>()?;
                }
                ["found", seed, claim, detail, input, context] => {
                    report.failures += 1;
                    let kept = keep(target, folder, claim, &unhex(input), &unhex(context))?;
                    println!("\nFAILED {} seed {seed}: {claim}: {detail}", target.name());
                    println!(
                        "  the whole round:     lianka-fuzz replay --target {} --seed {seed}",
                        target.name()
                    );
                    println!(
                        "  the minimised input: lianka-fuzz replay --target {} --file {}",
                        target.name(),
                        kept.display()
                    );
                }
                ["end"] => ended = true,
                _ => {}
            }
        }
        let status = worker.wait()?;
        if !ended || report.rounds == 0 {
            report.failures += 1;
            println!(
                "\nFAILED {} seed {}: the worker was lost ({status}): a hang, a crash, or too much memory",
                target.name(),
                next - 1
            );
            println!(
                "  the whole round: lianka-fuzz replay --target {} --seed {}",
                target.name(),
                next - 1
            );
        }
    }
    report.seconds = started.elapsed().as_secs_f64();
    Ok(report)
}

impl Report {
    fn done(&mut self, inputs: &str, costs: [&str; 3], started: Instant) -> anyhow::Result<()> {
        let before = self.inputs;
        self.inputs += inputs.parse::<u64>()?;
        self.rounds += 1;
        self.peak_bytes = self.peak_bytes.max(costs[0].parse()?);
        self.allocations = self.allocations.max(costs[1].parse()?);
        self.work_ns = self.work_ns.max(costs[2].parse()?);
        let step = 100_000;
        if before / step != self.inputs / step {
            let seconds = started.elapsed().as_secs_f64();
            println!(
                "{}: {} inputs, {:.0} a second, {} failures",
                self.target,
                self.inputs,
                self.inputs as f64 / seconds,
                self.failures
            );
        }
        Ok(())
    }
}

impl std::fmt::Display for Report {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self {
            target,
            inputs,
            rounds,
            seconds,
            peak_bytes,
            allocations,
            work_ns,
            failures,
            ..
        } = self;
        writeln!(
            f,
            "{target}: {inputs} inputs in {rounds} rounds, {seconds:.0} s, {:.0} a second",
            *inputs as f64 / seconds
        )?;
        writeln!(
            f,
            "  dearest: {peak_bytes} bytes held at once, {allocations} allocations, {:.1} ms of work",
            *work_ns as f64 / 1e6
        )?;
        for (outcome, count) in &self.outcomes {
            writeln!(f, "  {count:>10}  {outcome}")?;
        }
        write!(f, "  {failures} failures")
    }
}

/// Keeps a failing input, and what the server held, as a candidate for a fixture.
fn keep(
    target: Target,
    folder: &Path,
    claim: &str,
    input: &[u8],
    context: &[u8],
) -> anyhow::Result<PathBuf> {
    let slug: String = claim
        .chars()
        .map(|c| {
            if c.is_ascii_alphanumeric() {
                c.to_ascii_lowercase()
            } else {
                '-'
            }
        })
        .collect();
    let sum = sha2::Digest::finalize(sha2::Digest::chain_update(
        <sha2::Sha256 as sha2::Digest>::new(),
        input,
    ));
    let file = folder.join(format!("{}-{slug}-{}.bin", target.name(), hex(&sum[..4])));
    fs::create_dir_all(folder)?;
    fs::write(&file, input)?;
    if !context.is_empty() {
        fs::write(file.with_extension("context"), context)?;
    }
    Ok(file)
}
