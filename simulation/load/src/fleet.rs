//! Many phones at once: each enrolled over real HTTP, with tokens and an `SQLite` file of its own.
//!
//! Input: accounts and a folder for the files. Output: what each synchronisation took ([`Round`]) and what each phone holds in the end
//! ([`Held`]). Phones are opened document by document and one after the other where everything is read, so that sixty thousand cards never lie in
//! memory together.

use std::{
    collections::BTreeMap,
    fmt::Write,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use anyhow::{Context, anyhow};
use futures::{StreamExt, TryStreamExt, stream};
use indicatif::ProgressBar;
use lianka_client::{Phone, SyncReport, phone::EnrolOptions, transport::Transport};
use lianka_client_core::Tally;
use lianka_sync_core::{
    crdt::record::Edit,
    id::{RecordId, StreetCode},
    kinds::projection::{self, Projected},
    lang::Lang,
};
use tokio::task::JoinSet;

use crate::{
    findings::{Expected, seen_by_phone},
    office::Office,
};

/// Enrolments under way at once; a password hash or a signature each costs the server a moment.
const ENROLMENTS_AT_ONCE: usize = 8;
/// Phones that read or write documents at once: as many as a small machine has cores.
const READERS_AT_ONCE: usize = 2;

/// An account with a phone to be.
#[derive(Clone, Debug)]
pub struct Secretary {
    pub username: String,
    pub grids: Vec<String>,
}

/// The phones, in the order of their secretaries.
pub struct Fleet {
    phones: Vec<Phone>,
    /// Address that each phone talks to.
    servers: Vec<String>,
    lang: Lang,
}

/// One synchronisation of several phones.
#[derive(Clone, Debug)]
pub struct Round {
    /// From the first phone's beginning to the last one's end.
    pub duration: Duration,
    pub reports: Vec<SyncReport>,
}

impl Round {
    /// Verdicts and items of all phones together.
    pub fn tally(&self) -> Tally {
        self.reports.iter().fold(Tally::default(), |sum, report| {
            let Tally {
                accepted,
                duplicate,
                held,
                rejected,
                ..
            } = report.tally;
            Tally {
                accepted: sum.accepted + accepted,
                duplicate: sum.duplicate + duplicate,
                held: sum.held + held,
                rejected: sum.rejected + rejected,
                snapshots: sum.snapshots + report.tally.snapshots,
                changes: sum.changes + report.tally.changes,
                drafted: sum.drafted + report.tally.drafted,
                rebased: sum.rebased + report.tally.rebased,
                postponed: sum.postponed + report.tally.postponed,
                ..sum
            }
        })
    }

    /// Bytes up of each phone.
    pub fn up(&self) -> Sizes {
        Sizes::of(self.reports.iter().map(|report| report.bytes_up))
    }

    /// Bytes down of each phone.
    pub fn down(&self) -> Sizes {
        Sizes::of(self.reports.iter().map(|report| report.bytes_down))
    }

    /// Changes that are still on a phone.
    pub fn unsent(&self) -> u64 {
        self.reports.iter().map(|report| report.unsent).sum()
    }

    /// Times that a request had to be sent again.
    pub fn retries(&self) -> u32 {
        self.reports.iter().map(|report| report.retries).sum()
    }
}

/// A figure of every phone, summed up.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Sizes {
    pub mean: u64,
    pub median: u64,
    pub max: u64,
}

impl Sizes {
    pub fn of(values: impl IntoIterator<Item = u64>) -> Self {
        let mut values: Vec<_> = values.into_iter().collect();
        values.sort_unstable();
        let Some(max) = values.last().copied() else {
            return Self::default();
        };
        Self {
            mean: values.iter().sum::<u64>() / values.len() as u64,
            median: values[values.len() / 2],
            max,
        }
    }
}

/// What a phone holds, set against the office.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Held {
    pub cards: usize,
    /// Over the phone's own projection of its cards.
    pub digest: [u8; 32],
    /// Over the office's rows of the phone's grids.
    pub office_digest: [u8; 32],
    /// Expected conflicts on its cards, and how many of them it shows.
    pub conflicts: (usize, usize),
    /// Edits that became drafts.
    pub drafts: usize,
}

impl Held {
    pub fn agrees(&self) -> bool {
        self.digest == self.office_digest
    }
}

/// The first of a digest's digits.
pub fn short(digest: [u8; 32]) -> String {
    digest[..4].iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

impl Fleet {
    /// Enrols a phone for every secretary, by turns at each of the servers. `progress` moves by one for each.
    pub async fn enrol(
        office: &Office,
        servers: &[String],
        street: &StreetCode,
        secretaries: &[Secretary],
        folder: &Path,
        progress: &ProgressBar,
    ) -> anyhow::Result<Self> {
        let lang = office.lang();
        let servers: Vec<_> = (0..secretaries.len())
            .map(|phone| servers[phone % servers.len()].clone())
            .collect();
        let enrolments = secretaries.iter().zip(&servers).enumerate().map(
            |(number, (secretary, server))| async move {
                let code = office.enrolment_code(&secretary.username).await?;
                let options = EnrolOptions {
                    name: Some(format!("{} 的手机", secretary.username)),
                    platform: Some("simulator".into()),
                    street: Some(street.clone()),
                    lang,
                    ..EnrolOptions::default()
                };
                let file: PathBuf =
                    folder.join(format!("{}-{number:02}.lianka", secretary.username));
                let phone = Phone::enrol(&file, server, &code, options).await;
                progress.inc(1);
                phone.map_err(|error| in_words(&error, number, "enrol"))
            },
        );
        let phones = stream::iter(enrolments)
            .buffered(ENROLMENTS_AT_ONCE)
            .try_collect()
            .await?;
        Ok(Self {
            phones,
            servers,
            lang,
        })
    }

    pub fn phones(&self) -> &[Phone] {
        &self.phones
    }

    /// Cuts every connection: the next synchronisation opens its own, as after hours without a network.
    pub fn go_offline(&mut self) -> anyhow::Result<()> {
        for (number, phone) in self.phones.iter_mut().enumerate() {
            let transport = Transport::new(&self.servers[number], self.lang)?;
            *phone = phone.clone().with_transport(transport);
        }
        Ok(())
    }

    /// All phones at once.
    pub async fn sync_all(&self) -> anyhow::Result<Round> {
        let mut running = JoinSet::new();
        let begun = Instant::now();
        for (number, phone) in self.phones.iter().enumerate() {
            let phone = phone.clone();
            running.spawn(async move { (number, phone.sync().await) });
        }
        let mut reports = vec![SyncReport::default(); self.phones.len()];
        while let Some(done) = running.join_next().await {
            let (number, report) = done.context("a phone's task was cut off")?;
            reports[number] = report.map_err(|error| in_words(&error, number, "synchronise"))?;
        }
        Ok(Round {
            duration: begun.elapsed(),
            reports,
        })
    }

    /// One phone after the other: each report holds the time it took alone.
    pub async fn sync_in_turn(&self) -> anyhow::Result<Round> {
        let begun = Instant::now();
        let mut reports = Vec::new();
        for (number, phone) in self.phones.iter().enumerate() {
            reports.push(
                phone
                    .sync()
                    .await
                    .map_err(|error| in_words(&error, number, "synchronise"))?,
            );
        }
        Ok(Round {
            duration: begun.elapsed(),
            reports,
        })
    }

    /// Makes edits on every phone, without a network. `progress` moves by one for each edit.
    pub async fn edit(
        &self,
        edits: Vec<Vec<(RecordId, Vec<Edit>)>>,
        progress: &ProgressBar,
    ) -> anyhow::Result<()> {
        let work =
            self.phones
                .iter()
                .cloned()
                .zip(edits)
                .enumerate()
                .map(|(number, (phone, edits))| {
                    let progress = progress.clone();
                    async move {
                        let done = tokio::task::spawn_blocking(move || {
                            for (record, edits) in edits {
                                let receipt = phone
                                    .edit(record, &edits, phone.now())
                                    .map_err(|error| in_words(&error, number, "edit"))?;
                                receipt.hash.with_context(|| {
                                    format!("phone {number}: an edit of {record} changed nothing")
                                })?;
                                progress.inc(1);
                            }
                            anyhow::Ok(())
                        });
                        done.await.context("a phone's task was cut off")?
                    }
                });
        stream::iter(work)
            .buffer_unordered(READERS_AT_ONCE)
            .try_collect::<()>()
            .await
    }

    /// Sets what every phone holds against the roll: `scope` says which of its cards belong on a phone.
    pub async fn compare(
        &self,
        roll: &BTreeMap<RecordId, Projected>,
        scope: impl Fn(usize, &Projected) -> bool,
        expected: &[Expected],
        progress: &ProgressBar,
    ) -> anyhow::Result<(Vec<Held>, BTreeMap<RecordId, Projected>)> {
        let mut readings = stream::iter(self.phones.iter().cloned().enumerate().map(
            |(number, phone)| async move {
                let read = tokio::task::spawn_blocking(move || {
                    (
                        phone.project_all(),
                        phone.drafts().map(|drafts| drafts.len()),
                    )
                });
                let (rows, drafts) = read.await.context("a phone's task was cut off")?;
                let failed = |error| in_words(&error, number, "read its cards");
                anyhow::Ok((number, rows.map_err(failed)?, drafts.map_err(failed)?))
            },
        ))
        .buffered(READERS_AT_ONCE);
        let (mut held, mut all) = (Vec::new(), BTreeMap::new());
        while let Some(reading) = readings.next().await {
            let (number, rows, drafts) = reading?;
            let own: BTreeMap<_, _> = rows.into_iter().map(|row| (row.record(), row)).collect();
            held.push(Held {
                cards: own.len(),
                digest: projection::digest(own.values()),
                office_digest: projection::digest(roll.values().filter(|card| scope(number, card))),
                conflicts: seen_by_phone(expected, &own),
                drafts,
            });
            all.extend(own);
            progress.inc(1);
        }
        Ok((held, all))
    }
}

/// With the phone's number and what it was about, and every cause.
fn in_words(error: &lianka_client::PhoneError, phone: usize, doing: &str) -> anyhow::Error {
    let mut text = format!(
        "phone {phone:02} cannot {doing}: {error} ({})",
        error.code()
    );
    let mut cause = std::error::Error::source(error);
    while let Some(error) = cause {
        let said = error.to_string();
        if !text.contains(&said) {
            let _ = write!(text, ": {said}");
        }
        cause = error.source();
    }
    anyhow!(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_summed_up() {
        assert_eq!(Sizes::of([]), Sizes::default());
        assert_eq!(
            Sizes::of([9, 1, 2]),
            Sizes {
                mean: 4,
                median: 2,
                max: 9
            }
        );
    }
}
