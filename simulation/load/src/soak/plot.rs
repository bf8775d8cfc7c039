//! The plot: some small charts above each other, as an SVG that is read in light and in dark.

use std::fmt::Write;

use super::samples::{Reading, Sample, number};

const WIDTH: f64 = 760.0;
const LEFT: f64 = 64.0;
const RIGHT: f64 = 16.0;
const CHART: f64 = 92.0;
const GAP: f64 = 40.0;
const TOP: f64 = 34.0;

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

/// Draws the samples.
pub fn svg(samples: &[Sample], title: &str) -> String {
    let height = TOP + (CHART + GAP) * CHARTS.len() as f64 + 8.0;
    let mut out = String::new();
    let _ = writeln!(
        out,
        r#"<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" width="{WIDTH}" height="{height}" role="img" aria-label="{title}">
<style>
  .page {{ fill: #ffffff; }} text {{ font: 11px ui-sans-serif, system-ui, sans-serif; fill: #6e7781; }} line {{ stroke: #d0d7de; }}
  .title {{ font-size: 12px; font-weight: 600; fill: #1f2328; }}
  polyline {{ fill: none; stroke-width: 1.4; }}
  .l0 {{ stroke: #0969da; }} .l1 {{ stroke: #bc4c00; }} .l2 {{ stroke: #1a7f37; }} .l3 {{ stroke: #8250df; }}
  .n0 {{ fill: #0969da; }} .n1 {{ fill: #bc4c00; }} .n2 {{ fill: #1a7f37; }} .n3 {{ fill: #8250df; }}
  @media (prefers-color-scheme: dark) {{
    .page {{ fill: #0d1117; }} text {{ fill: #8d96a0; }} line {{ stroke: #30363d; }} .title {{ fill: #e6edf3; }}
    .l0 {{ stroke: #58a6ff; }} .l1 {{ stroke: #f0883e; }} .l2 {{ stroke: #3fb950; }} .l3 {{ stroke: #bc8cff; }}
    .n0 {{ fill: #58a6ff; }} .n1 {{ fill: #f0883e; }} .n2 {{ fill: #3fb950; }} .n3 {{ fill: #bc8cff; }}
  }}
</style>
<rect class="page" width="100%" height="100%"/>
<text class="title" x="{LEFT}" y="18">{title}</text>"#
    );
    let end = samples.last().map_or(1.0, |sample| sample.seconds).max(1.0);
    for (nth, chart) in CHARTS.iter().enumerate() {
        draw(
            &mut out,
            chart,
            samples,
            end,
            TOP + (CHART + GAP) * nth as f64,
        );
    }
    out.push_str("</svg>\n");
    out
}

fn draw(out: &mut String, chart: &Chart, samples: &[Sample], end: f64, top: f64) {
    let max = chart
        .lines
        .iter()
        .flat_map(|(_, read)| samples.iter().map(read))
        .fold(0.0, f64::max);
    let scale = rounded_up(max);
    let (base, wide) = (top + 16.0 + CHART, WIDTH - LEFT - RIGHT);
    let x = |seconds: f64| LEFT + seconds / end * wide;
    let y = |value: f64| base - value / scale * CHART;
    let _ = writeln!(
        out,
        r#"<text class="title" x="{LEFT}" y="{:.0}">{}</text>"#,
        top + 8.0,
        chart.title
    );
    for part in [0.0, 0.5, 1.0] {
        let at = y(scale * part);
        let _ = writeln!(
            out,
            r#"<line x1="{LEFT}" x2="{:.0}" y1="{at:.1}" y2="{at:.1}"/>"#,
            WIDTH - RIGHT
        );
        let _ = writeln!(
            out,
            r#"<text x="{:.0}" y="{:.1}" text-anchor="end">{}</text>"#,
            LEFT - 6.0,
            at + 4.0,
            number(scale * part)
        );
    }
    for part in 0..=6 {
        let seconds = end * f64::from(part) / 6.0;
        let label = if end >= 600.0 {
            format!("{:.0} min", seconds / 60.0)
        } else {
            format!("{seconds:.0} s")
        };
        let anchor = if part == 6 { "end" } else { "middle" };
        let _ = writeln!(
            out,
            r#"<text x="{:.1}" y="{:.1}" text-anchor="{anchor}">{label}</text>"#,
            x(seconds),
            base + 14.0
        );
    }
    let mut name_at = WIDTH - RIGHT;
    for (nth, (name, read)) in chart.lines.iter().enumerate().rev() {
        let _ = writeln!(
            out,
            r#"<text class="n{nth}" x="{name_at:.0}" y="{:.0}" text-anchor="end">{name}</text>"#,
            top + 8.0
        );
        name_at -= name.len() as f64 * 6.0 + 18.0;
        let mut points = String::new();
        for sample in samples {
            let _ = write!(points, "{:.1},{:.1} ", x(sample.seconds), y(read(sample)));
        }
        let _ = writeln!(
            out,
            r#"<polyline class="l{nth}" points="{}"/>"#,
            points.trim_end()
        );
    }
}

/// 1, 2 or 5 with noughts, at least as much.
fn rounded_up(value: f64) -> f64 {
    let power = 10_f64.powf(value.max(1.0).log10().floor());
    [1.0, 2.0, 5.0, 10.0]
        .into_iter()
        .map(|step| step * power)
        .find(|step| *step >= value)
        .unwrap_or(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_line_is_drawn_within_its_chart() {
        let samples: Vec<_> = (0..10)
            .map(|n| Sample {
                seconds: f64::from(n) * 10.0,
                server_mib: f64::from(n) * 7.0,
                log_entries: 1234.0,
                ..Sample::default()
            })
            .collect();
        let svg = svg(&samples, "a soak");
        assert_eq!(
            svg.matches("<polyline").count(),
            CHARTS.iter().map(|chart| chart.lines.len()).sum::<usize>()
        );
        assert!(
            svg.contains(">2000<")
                && svg.contains("prefers-color-scheme: dark")
                && !svg.contains("NaN"),
            "{svg}"
        );
        assert_eq!(
            [0.0, 3.0, 5.0, 63.0, 1234.0].map(|value| rounded_up(value) as u32),
            [1, 5, 5, 100, 2000]
        );
    }
}
