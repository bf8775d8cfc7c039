//! `lianka calendar`: the yearly notice of public holidays, for one street or all.

use std::{fs, path::PathBuf};

use anyhow::Context;
use clap::Args;
use lianka_server::{
    admin::notices,
    audit::{Action, Event},
    clock::Clock,
    street::store::{calendars, streets::all_streets},
};
use lianka_sync_core::{id::StreetCode, kinds::transfer::calendar::day_of};

use crate::commands::database::{OnDatabase, must_exist};

#[derive(Args)]
pub struct Calendar {
    /// A line for each day: 2027-10-01,holiday or 2027-10-09,workday (a weekend day that is worked instead); absent: only say what is known.
    #[arg(value_name = "FILE")]
    notice: Option<PathBuf>,
    /// Only this street; absent: every street.
    #[arg(long, value_name = "CODE")]
    street: Option<StreetCode>,
    #[command(flatten)]
    database: OnDatabase,
}

impl Calendar {
    pub async fn run(self) -> anyhow::Result<()> {
        let text = match &self.notice {
            Some(file) => Some(
                fs::read_to_string(file)
                    .with_context(|| format!("cannot read {}", file.display()))?,
            ),
            None => None,
        };
        let now = Clock::System.now();
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
                    let known = match &text {
                        Some(text) => {
                            let event = Event::by_server(Action::Calendar);
                            notices::put(pool, &street, text, event, now).await?
                        }
                        None => calendars::calendar(&mut *pool.acquire().await?, &street).await?,
                    };
                    let years: Vec<_> = known.years().iter().map(i32::to_string).collect();
                    println!("{street}: {}", years.join(" "));
                    if let Some(year) = known.lacks(day_of(now)) {
                        println!(
                            "{street}: 缺 {year} 年放假安排 / the notice of {year} is missing"
                        );
                    }
                }
                Ok(())
            })
            .await
    }
}
