//! `lianka compact`: what the passes that keep logs and records small do, at once.

use std::time::Duration;

use clap::Args;
use lianka_server::{
    clock::Clock,
    config::Keep,
    upkeep::{compaction, trimming},
};
use lianka_sync_core::id::{RecordId, StreetCode};

use crate::commands::database::{OnDatabase, must_exist};

#[derive(Args)]
pub struct Compact {
    /// Only records of this street; absent: of every street.
    #[arg(long, value_name = "CODE")]
    street: Option<StreetCode>,
    /// Only this record, however full it is. Needs --street.
    #[arg(long, value_name = "ID", requires = "street")]
    record: Option<RecordId>,
    /// Days of changes that stay whole (0 to 3650).
    #[arg(long, default_value_t = 30, value_name = "N", value_parser = clap::value_parser!(u64).range(0..=3_650))]
    log_days: u64,
    /// How full a record is that is compacted, in percent of what it may hold (1 to 90).
    #[arg(long, default_value_t = 50, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=90))]
    percent: u32,
    #[command(flatten)]
    database: OnDatabase,
}

impl Compact {
    pub async fn run(self) -> anyhow::Result<()> {
        let (keep, now) = (Keep::days(self.log_days), Clock::System.now());
        self.database
            .run(async |pool| {
                if let Some(street) = &self.street {
                    must_exist(pool, street.as_str()).await?;
                }
                if let (Some(street), Some(record)) = (&self.street, self.record) {
                    let cut = trimming::before(now, keep.changes);
                    match compaction::compact(pool, street, record, cut, now).await? {
                        Some(done) => println!(
                            "{record}: {} changes are left, {} operations are gone; generation {}",
                            done.left, done.ops, done.generation
                        ),
                        None => println!("{record}: there is nothing to gain"),
                    }
                    return Ok(());
                }
                let swept = trimming::sweep(pool, keep, now, Duration::ZERO).await?;
                println!(
                    "{} changes trimmed from the logs, {} notices removed",
                    swept.changes, swept.notices
                );
                let rules = compaction::Rules {
                    percent: self.percent,
                    keep: keep.changes,
                };
                let mut tried = compaction::Tried::new();
                let compacted =
                    compaction::pass(pool, rules, self.street.as_ref(), now, &mut tried).await?;
                println!("{compacted} records compacted");
                Ok(())
            })
            .await
    }
}
