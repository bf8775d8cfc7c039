//! The plot: small charts in Mermaid, which the page carries as text.

use std::fmt::Write;

use super::samples::{Reading, Sample, number};

/// Points of a line; of a longer run every n-th sample is drawn.
const POINTS_MAX: usize = 60;

/// One chart: its title, and lines by name.
struct Chart {
    title: &'static str,
    lines: &'static [(&'static str, Reading)],
}

const CHARTS: [Chart; 6] = [
    Chart {
        title: "memory, MiB",
        lines: &[
            ("server", |s| s.server_mib),
            ("Postgres", |s| s.postgres_mib),
            ("its own", |s| s.postgres_own_mib),
        ],
    },
    Chart {
        title: "open files of the server, connections to Postgres",
        lines: &[("files", |s| s.files), ("connections", |s| s.connections)],
    },
    Chart {
        title: "entries of the log",
        lines: &[("entries", |s| s.log_entries)],
    },
    Chart {
        title: "tables with their indexes, MiB",
        lines: &[
            ("log", |s| s.log_mib),
            ("records", |s| s.records_mib),
            ("read models", |s| s.models_mib),
            ("audit trail (kept)", |s| s.audit_mib),
        ],
    },
    Chart {
        title: "dead rows",
        lines: &[("rows", |s| s.dead_rows)],
    },
    Chart {
        title: "a synchronisation, ms",
        lines: &[("p50", |s| s.p50_ms), ("p99", |s| s.p99_ms)],
    },
];

/// Draws the samples. Mermaid has no legend for lines, so titles name them in their order.
pub fn charts(samples: &[Sample]) -> String {
    let end = samples.last().map_or(0.0, |sample| sample.seconds);
    let (unit, seconds) = if end >= 600.0 {
        ("min", 60.0)
    } else {
        ("s", 1.0)
    };
    let mut out = String::new();
    for Chart { title, lines } in &CHARTS {
        let names: Vec<_> = lines.iter().map(|(name, _)| *name).collect();
        let _ = write!(
            out,
            "```mermaid\nxychart-beta\n    title \"{title}: {}\"\n    x-axis \"{unit}\" 0 --> {}\n",
            names.join(", "),
            number(end / seconds)
        );
        for (_, read) in *lines {
            let drawn = samples
                .iter()
                .step_by(samples.len().div_ceil(POINTS_MAX).max(1));
            let points: Vec<_> = drawn.map(|sample| number(read(sample))).collect();
            let _ = writeln!(out, "    line [{}]", points.join(", "));
        }
        out.push_str("```\n\n");
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_line_is_drawn_with_as_many_points_as_can_be_read() {
        let samples: Vec<_> = (0..200)
            .map(|n| Sample {
                seconds: f64::from(n) * 10.0,
                server_mib: f64::from(n),
                ..Sample::default()
            })
            .collect();
        let charts = charts(&samples);
        let lines: Vec<_> = charts
            .lines()
            .filter(|line| line.contains("line ["))
            .collect();
        assert_eq!(
            lines.len(),
            CHARTS.iter().map(|chart| chart.lines.len()).sum::<usize>()
        );
        assert!(lines[0].contains("[0, 4, 8,") && lines[0].matches(',').count() < POINTS_MAX);
        assert!(
            charts.contains("memory, MiB: server, Postgres, its own"),
            "{charts}"
        );
        assert_eq!(super::charts(&[]).matches("line []").count(), lines.len());
    }
}
