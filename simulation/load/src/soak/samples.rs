//! What is looked at every few seconds: memory, files, connections, tables, latency.
//!
//! Input: the server's process and its private Postgres. Output: rows for the CSV and the plot, and the verdict on each series: flat, or not.

use std::sync::atomic::Ordering;

use anyhow::Context;
use sqlx::{Connection, PgConnection, Row, postgres::PgConnectOptions};

use super::load::Counts;
use crate::server_process::ServerProcess;

/// One row.
#[derive(Clone, Debug, Default)]
pub struct Sample {
    pub seconds: f64,
    pub server_mib: f64,
    pub postgres_mib: f64,
    pub postgres_own_mib: f64,
    pub files: f64,
    pub connections: f64,
    pub log_entries: f64,
    pub log_mib: f64,
    pub records_mib: f64,
    pub models_mib: f64,
    pub audit_mib: f64,
    pub kept_mib: f64,
    pub dead_rows: f64,
    pub edits: f64,
    pub p50_ms: f64,
    pub p99_ms: f64,
}

/// Reads a column.
pub type Reading = fn(&Sample) -> f64;

/// The columns, as the CSV heads them.
pub const COLUMNS: [(&str, Reading); 16] = [
    ("seconds", |s| s.seconds),
    ("server_mib", |s| s.server_mib),
    ("postgres_mib", |s| s.postgres_mib),
    ("postgres_own_mib", |s| s.postgres_own_mib),
    ("files", |s| s.files),
    ("connections", |s| s.connections),
    ("log_entries", |s| s.log_entries),
    ("log_mib", |s| s.log_mib),
    ("records_mib", |s| s.records_mib),
    ("models_mib", |s| s.models_mib),
    ("audit_mib", |s| s.audit_mib),
    ("kept_mib", |s| s.kept_mib),
    ("dead_rows", |s| s.dead_rows),
    ("edits", |s| s.edits),
    ("p50_ms", |s| s.p50_ms),
    ("p99_ms", |s| s.p99_ms),
];

/// What must stay flat: name, reading, and what may come and go in any case.
pub const JUDGED: [(&str, Reading, f64); 9] = [
    ("server memory, MiB", |s| s.server_mib, 8.0),
    ("Postgres' own memory, MiB", |s| s.postgres_own_mib, 16.0),
    ("open files of the server", |s| s.files, 8.0),
    ("connections to Postgres", |s| s.connections, 4.0),
    ("entries of the log", |s| s.log_entries, 500.0),
    ("log, MiB", |s| s.log_mib, 2.0),
    ("records, MiB", |s| s.records_mib, 2.0),
    ("read models, MiB", |s| s.models_mib, 2.0),
    ("dead rows", |s| s.dead_rows, 5_000.0),
];

/// Of the mean, over the last two thirds: what a straight line through them may rise.
pub const RISE_MAX: f64 = 0.10;

/// Looks at one server.
pub struct Sampler {
    connection: PgConnection,
}

impl Sampler {
    pub async fn connect(server: &ServerProcess) -> anyhow::Result<Self> {
        let (folder, port) = server.postgres()?;
        let options = PgConnectOptions::new_without_pgpass()
            .socket(folder)
            .port(port)
            .username("lianka")
            .database("lianka");
        let connection = PgConnection::connect_with(&options)
            .await
            .context("the private Postgres cannot be looked at")?;
        Ok(Self { connection })
    }

    /// Entries of the log that are changes.
    pub async fn log_changes(&mut self) -> anyhow::Result<i64> {
        let row = sqlx::query("select count(*) from change_log where type = 'change'")
            .fetch_one(&mut self.connection)
            .await?;
        Ok(row.get(0))
    }

    /// Entries of the log, and records: without recent changes the one is bounded by the other.
    pub async fn log_and_records(&mut self) -> anyhow::Result<(i64, i64)> {
        let sql = "select (select count(*) from change_log where type in ('change', 'snapshot')), (select count(*) from record)";
        let row = sqlx::query(sql).fetch_one(&mut self.connection).await?;
        Ok((row.get(0), row.get(1)))
    }

    /// Records that were compacted, by their generations.
    pub async fn generations(&mut self) -> anyhow::Result<(i64, i32)> {
        let row = sqlx::query("select coalesce(sum(generation - 1), 0), coalesce(max(generation), 1) from record where kind = 'shop_card'")
            .fetch_one(&mut self.connection)
            .await?;
        Ok((row.get(0), row.get(1)))
    }

    pub async fn look(
        &mut self,
        seconds: f64,
        server: &ServerProcess,
        counts: &Counts,
    ) -> anyhow::Result<Sample> {
        let holding = server.holding();
        let entries: i64 = sqlx::query("select count(*) from change_log")
            .fetch_one(&mut self.connection)
            .await?
            .get(0);
        let connections: i64 =
            sqlx::query("select count(*) from pg_stat_activity where datname = current_database()")
                .fetch_one(&mut self.connection)
                .await?
                .get(0);
        let tables = sqlx::query("select relname::text, pg_total_relation_size(relid), n_dead_tup from pg_stat_user_tables")
            .fetch_all(&mut self.connection)
            .await?;
        let mut sample = Sample {
            seconds,
            server_mib: holding.server_kib as f64 / 1024.0,
            postgres_mib: holding.postgres_kib as f64 / 1024.0,
            postgres_own_mib: holding.postgres_own_kib as f64 / 1024.0,
            files: holding.files as f64,
            connections: connections as f64,
            log_entries: entries as f64,
            edits: counts.edits.load(Ordering::Relaxed) as f64,
            ..Sample::default()
        };
        for table in tables {
            let (name, bytes, dead): (String, i64, i64) =
                (table.get(0), table.get(1), table.get(2));
            let mib = bytes as f64 / 1_048_576.0;
            *match name.as_str() {
                "change_log" | "trimmed_log" | "earlier_change" => &mut sample.log_mib,
                "record" => &mut sample.records_mib,
                // The trail is kept for a year; what was settled, erased or enrolled is remembered.
                _ if name.starts_with("audit_") => &mut sample.audit_mib,
                "resolution" | "notice" | "erasure" | "device" | "refresh_token" | "enrolment"
                | "sign_in_try" => &mut sample.kept_mib,
                _ => &mut sample.models_mib,
            } += mib;
            sample.dead_rows += dead as f64;
        }
        let mut took = counts.take_times();
        took.sort_unstable();
        let quantile = |share: f64| {
            took.get(((took.len().max(1) - 1) as f64 * share) as usize)
                .map_or(0.0, |us| *us as f64 / 1_000.0)
        };
        (sample.p50_ms, sample.p99_ms) = (quantile(0.5), quantile(0.99));
        Ok(sample)
    }
}

/// All samples as CSV.
pub fn csv(samples: &[Sample]) -> String {
    let mut text = COLUMNS.map(|(name, _)| name).join(",");
    text.push('\n');
    for sample in samples {
        text += &COLUMNS.map(|(_, read)| number(read(sample))).join(",");
        text.push('\n');
    }
    text
}

/// With as many digits as it needs.
pub fn number(value: f64) -> String {
    if value.fract() == 0.0 || value.abs() >= 1_000.0 {
        format!("{value:.0}")
    } else {
        format!("{value:.1}")
    }
}

/// One series judged.
#[derive(Clone, Debug)]
pub struct Judgement {
    pub name: &'static str,
    pub mean: f64,
    pub max: f64,
    /// How far a straight line through the last two thirds rises.
    pub rise: f64,
    pub flat: bool,
}

/// Judges every series that must be flat.
pub fn judge(samples: &[Sample]) -> Vec<Judgement> {
    let late = &samples[samples.len() / 3..];
    let of = |(name, read, slack): (&'static str, Reading, f64)| {
        let points: Vec<_> = late
            .iter()
            .map(|sample| (sample.seconds, read(sample)))
            .collect();
        let (mean, rise) = line(&points);
        let max = points.iter().map(|(_, value)| *value).fold(0.0, f64::max);
        Judgement {
            name,
            mean,
            max,
            rise,
            flat: rise <= (mean * RISE_MAX).max(slack),
        }
    };
    JUDGED.into_iter().map(of).collect()
}

/// Mean, and what the line of least squares rises from the first point to the last.
fn line(points: &[(f64, f64)]) -> (f64, f64) {
    let n = points.len().max(1) as f64;
    let mean = |of: fn(&(f64, f64)) -> f64| points.iter().map(of).sum::<f64>() / n;
    let (x, y) = (mean(|point| point.0), mean(|point| point.1));
    let spread: f64 = points.iter().map(|point| (point.0 - x).powi(2)).sum();
    let along: f64 = points
        .iter()
        .map(|point| (point.0 - x) * (point.1 - y))
        .sum();
    let span =
        points.last().map_or(0.0, |last| last.0) - points.first().map_or(0.0, |first| first.0);
    (
        y,
        if spread > 0.0 {
            along / spread * span
        } else {
            0.0
        },
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn judged(server_mib: fn(usize) -> f64) -> bool {
        let samples: Vec<_> = (0..300)
            .map(|n| Sample {
                seconds: n as f64,
                server_mib: server_mib(n),
                ..Sample::default()
            })
            .collect();
        judge(&samples)[0].flat
    }

    #[test]
    fn what_grows_without_end_is_not_flat() {
        assert!(judged(|_| 100.0));
        assert!(judged(|n| 100.0 + (n % 7) as f64), "it comes and goes");
        assert!(
            judged(|n| (n as f64).min(90.0) * 2.0),
            "it grew, and stopped before the first third was over"
        );
        assert!(!judged(|n| 100.0 + n as f64 / 10.0));
    }

    #[test]
    fn every_row_has_every_column() {
        let csv = csv(&[Sample {
            seconds: 10.0,
            server_mib: 31.25,
            ..Sample::default()
        }]);
        let lines: Vec<_> = csv.lines().collect();
        assert!(
            lines[0].starts_with("seconds,server_mib,") && lines[1].starts_with("10,31.2,"),
            "{csv}"
        );
        assert_eq!(lines[0].split(',').count(), lines[1].split(',').count());
    }
}
