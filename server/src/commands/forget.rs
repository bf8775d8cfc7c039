//! `lianka forget --now`: what was erased is gone from Postgres' files at once, and the proof.

use std::io::BufRead;

use anyhow::bail;
use clap::Args;
use lianka_server::{config::Lang, privacy::forgetting};

use crate::commands::database::OnDatabase;

#[derive(Args)]
pub struct Forget {
    /// Say that it is to be done now: nobody reads or writes a table while it is written.
    #[arg(long, required = true)]
    now: bool,
    /// Then read every file of Postgres for the lines of standard input. The exit status is 1 where one is still found, or the files cannot be read.
    #[arg(long)]
    proof: bool,
    /// Language of what is printed: zh or en.
    #[arg(long, env = "LIANKA_LANG", default_value = "zh", value_name = "LANG", value_parser = clap::value_parser!(Lang))]
    lang: Lang,
    #[command(flatten)]
    database: OnDatabase,
}

impl Forget {
    pub async fn run(self) -> anyhow::Result<()> {
        let mut texts = Vec::new();
        if self.proof {
            for line in std::io::stdin().lock().lines() {
                texts.extend(Some(line?.trim().to_owned()).filter(|text| !text.is_empty()));
            }
            if texts.is_empty() {
                bail!("--proof reads what to look for from standard input, a text a line");
            }
        }
        let folder = self.database.private_folder();
        let left = self
            .database
            .run(async |pool| {
                let mut say = |line| println!("{line}");
                Ok(forgetting::now(pool, folder, texts, self.lang, &mut say).await?)
            })
            .await?;
        match (left, self.lang) {
            (0, _) => Ok(()),
            (left, Lang::Zh) => bail!("还有 {left} 处没有完成"),
            (left, Lang::En) => bail!("{left} things are not done"),
        }
    }
}
