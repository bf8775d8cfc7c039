//! `lianka`: reads the command line and hands over to the command. Everything else is in [`commands`] and the library.

mod commands;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

use commands::{
    admin::Admin, audit::Audit, calendar::Calendar, compact::Compact, forget::Forget,
    import::Import, migrate::Migrate, rebuild::Rebuild, serve,
};
use lianka_server::config::ServeConfig;

/// Lianka (联卡): the server that merges what grid secretaries edit offline into one roll.
///
/// Every flag has an environment variable and a default; `lianka serve` alone works, with a private Postgres in ./data.
#[derive(Parser)]
#[command(name = "lianka", version, next_line_help = true)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Serve phones and desks until SIGTERM or Ctrl-C.
    Serve(Box<ServeConfig>),
    /// Accounts that no other account can make.
    #[command(subcommand)]
    Admin(Admin),
    /// Bring the database's schema up to this version; also works beside a running server.
    Migrate(Migrate),
    /// The audit trail.
    #[command(subcommand)]
    Audit(Audit),
    /// Propose a sheet of shops, and write it with --apply, with a progress bar; also works beside a running server.
    Import(Box<Import>),
    /// Take in the yearly notice of public holidays, by which terms count working days; also works beside a running server.
    Calendar(Calendar),
    /// Make the read models of a street, or of all, anew from its records; also works beside a running server.
    Rebuild(Rebuild),
    /// Trim the logs, and compact the records that have become large, or one record whatever its size; also works beside a running server.
    Compact(Compact),
    /// Forget at once, also in the files of Postgres, what was erased: write every table anew and let go of the write-ahead log; also works
    /// beside a running server.
    Forget(Forget),
}

#[tokio::main]
async fn main() -> ExitCode {
    let done = match Arguments::parse().command {
        Command::Serve(config) => {
            if let Err(error) = config.check() {
                error.exit();
            }
            serve::run(*config).await
        }
        Command::Admin(Admin::Create(create)) => create.run().await,
        Command::Migrate(migrate) => migrate.run().await,
        Command::Import(import) => import.run().await,
        Command::Calendar(calendar) => calendar.run().await,
        Command::Rebuild(rebuild) => rebuild.run().await,
        Command::Compact(compact) => compact.run().await,
        Command::Forget(forget) => forget.run().await,
        Command::Audit(Audit::Verify(verify)) => verify.run().await,
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("lianka: {error:#}");
            ExitCode::FAILURE
        }
    }
}
