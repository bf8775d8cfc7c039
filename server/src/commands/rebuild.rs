//! `lianka rebuild`: the read models, made anew from the records.

use clap::Args;
use lianka_server::street::{projection, store::streets::all_streets};
use lianka_sync_core::id::StreetCode;

use crate::commands::database::{OnDatabase, must_exist};

#[derive(Args)]
pub struct Rebuild {
    /// Only this street; absent: every street.
    #[arg(long, value_name = "CODE")]
    street: Option<StreetCode>,
    #[command(flatten)]
    database: OnDatabase,
}

impl Rebuild {
    pub async fn run(self) -> anyhow::Result<()> {
        self.database
            .run(async |pool| {
                let streets = match &self.street {
                    Some(street) => {
                        must_exist(pool, street.as_str()).await?;
                        vec![street.clone()]
                    }
                    None => all_streets(&mut *pool.acquire().await?).await?,
                };
                for street in streets {
                    let progress = |done| eprint!("\r{street}: {done} records");
                    let done = projection::rebuild(pool, &street, progress).await?;
                    println!("\r{street}: {done} records rebuilt");
                }
                Ok(())
            })
            .await
    }
}
