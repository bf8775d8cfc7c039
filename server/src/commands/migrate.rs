//! `lianka migrate`: the schema, and the epoch of a store that came back from a backup.

use clap::Args;
use lianka_server::store::deployment;

use crate::commands::database::OnDatabase;

#[derive(Args)]
pub struct Migrate {
    /// Say that the database came back from a backup: phones then start over and send again what it lacks.
    #[arg(long)]
    restored: bool,
    #[command(flatten)]
    database: OnDatabase,
}

impl Migrate {
    pub async fn run(self) -> anyhow::Result<()> {
        self.database
            .run(async |pool| {
                let epoch = if self.restored {
                    deployment::new_epoch(pool).await?
                } else {
                    deployment::note_cluster(pool).await?;
                    deployment::store_epoch(pool).await?
                };
                println!("The schema is up to date; store epoch {epoch}");
                Ok(())
            })
            .await
    }
}
