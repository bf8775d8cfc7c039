//! A table for a terminal: one title, rows of a label and what belongs to it. Chinese characters take two columns.

use std::fmt::{self, Write};

/// The table.
#[derive(Default)]
pub struct Table {
    title: String,
    rows: Vec<(String, String)>,
}

impl Table {
    pub fn new(title: impl Into<String>) -> Self {
        Self {
            title: title.into(),
            rows: Vec::new(),
        }
    }

    /// Adds a row; a text of several lines takes several.
    pub fn row(&mut self, label: &str, text: impl fmt::Display) {
        let text = text.to_string();
        let mut labels = [label].into_iter().chain(std::iter::repeat(""));
        self.rows.extend(text.lines().map(|line| {
            (
                labels.next().unwrap_or_default().to_owned(),
                line.to_owned(),
            )
        }));
    }
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let left = self
            .rows
            .iter()
            .map(|(label, _)| columns(label))
            .max()
            .unwrap_or(0);
        let right = self
            .rows
            .iter()
            .map(|(_, text)| columns(text))
            .max()
            .unwrap_or(0)
            .max(columns(&self.title).saturating_sub(left + 3));
        let rule = |from: char, middle: char, to: char| {
            format!(
                "{from}{}{middle}{}{to}\n",
                "─".repeat(left + 2),
                "─".repeat(right + 2)
            )
        };
        let mut out = format!(
            "┌{}┐\n│ {} │\n",
            "─".repeat(left + right + 5),
            padded(&self.title, left + right + 3)
        );
        out += &rule('├', '┬', '┤');
        for (label, text) in &self.rows {
            writeln!(out, "│ {} │ {} │", padded(label, left), padded(text, right))?;
        }
        f.write_str(&(out + rule('└', '┴', '┘').trim_end()))
    }
}

fn padded(text: &str, width: usize) -> String {
    format!("{text}{}", " ".repeat(width.saturating_sub(columns(text))))
}

/// Columns that a terminal gives a text of the kinds used here: Chinese characters and full-width punctuation take two.
fn columns(text: &str) -> usize {
    text.chars()
        .map(|c| {
            if matches!(c, '\u{1100}'..='\u{115f}' | '\u{2e80}'..='\u{a4cf}' | '\u{f900}'..='\u{faff}' | '\u{ff00}'..='\u{ff60}') {
                2
            } else {
                1
            }
        })
        .sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_line_is_equally_wide() {
        let mut table = Table::new("天平路街道");
        table.row("卡片", 1400);
        table.row("digests", "a = b\n甲 = 乙");
        let text = table.to_string();
        let widths: Vec<_> = text.lines().map(columns).collect();
        assert_eq!(widths.len(), 7);
        assert!(widths.windows(2).all(|pair| pair[0] == pair[1]), "{text}");
    }
}
