//! `lianka-upgrades`: freezes what a release leaves behind, and proves with the real old programs that a deployment goes forward and back.
//!
//! In: folders with the programs `lianka` and `lianka-phone` of a version (scripts/upgrade.sh builds them from git history). Out: fixtures for
//! tests/upgrades.rs, or a list of what was tried and seen. docs/upgrades.md says what they are for.

mod check;
mod days;
mod desk;
mod freeze;
mod line;
mod stage;

use std::{path::PathBuf, process::ExitCode};

use clap::{Parser, Subcommand};

#[derive(Parser)]
#[command(name = "lianka-upgrades", version)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Play some days of a street with a version's programs, and keep its database, its phones and what they say next.
    Freeze {
        /// Folder of the version's programs.
        #[arg(long)]
        programs: PathBuf,
        /// The version's folder `.sqlx`.
        #[arg(long)]
        queries: PathBuf,
        /// The version, for example 0.2.0.
        #[arg(long)]
        version: String,
        /// Folder of the fixture; what is there is replaced.
        #[arg(long)]
        out: PathBuf,
    },
    /// Old phones against the new server, the old server on the new schema with old and new phones, then the new server again.
    Check {
        /// Folder of the old programs.
        #[arg(long)]
        old: PathBuf,
        /// The old version.
        #[arg(long)]
        version: String,
        /// Folder of the new programs.
        #[arg(long)]
        new: PathBuf,
    },
}

#[tokio::main]
async fn main() -> ExitCode {
    // The HTTP client asks for one even where it never speaks TLS.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let done = match Arguments::parse().command {
        Command::Freeze {
            programs,
            queries,
            version,
            out,
        } => freeze::freeze(&programs, &queries, &version, &out).await,
        Command::Check { old, version, new } => check::check(&old, &version, &new).await,
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("lianka-upgrades: {error:#}");
            ExitCode::FAILURE
        }
    }
}
