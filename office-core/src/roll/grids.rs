//! Which of the street's grids an area and a number in a sheet mean.

use lianka_sync_core::{search::fold, values::address::chinese_number};

/// A grid of the street.
#[derive(Debug, Clone, Copy)]
pub struct KnownGrid<'a> {
    /// Code, for example 康平01.
    pub code: &'a str,
    /// Name that people see.
    pub name: &'a str,
    /// Area it lies in, for example 康平.
    pub area: &'a str,
}

/// A grid's code with the plain forms of what people call it.
pub struct GridNames {
    code: String,
    area: String,
    names: [String; 4],
}

impl GridNames {
    /// Of a grid.
    pub fn of(grid: &KnownGrid<'_>) -> Self {
        let (code, name, area) = (
            plain_grid(grid.code),
            plain_grid(grid.name),
            plain_grid(grid.area),
        );
        let names = [format!("{area}{code}"), format!("{area}{name}"), code, name];
        Self {
            code: grid.code.to_owned(),
            area,
            names,
        }
    }
}

/// The grid that area and number name: `康平` + `1`, `康平片区` + `01网格` and `康平01` are all 康平01. Ambiguity is no match.
pub fn matching_grid(area: &str, grid: &str, grids: &[GridNames]) -> Option<String> {
    let (area, grid) = (plain_grid(area), plain_grid(grid));
    let both = format!("{area}{grid}");
    for wanted in [both, grid] {
        let within =
            |known: &&GridNames| area.is_empty() || known.area.is_empty() || known.area == area;
        let mut matches = grids
            .iter()
            .filter(within)
            .filter(|known| !wanted.is_empty() && known.names.contains(&wanted));
        match (matches.next(), matches.next()) {
            (Some(only), None) => return Some(only.code.clone()),
            (Some(_), Some(_)) => return None,
            (None, _) => {}
        }
    }
    None
}

/// Whether a text is the name of an area that has grids.
pub fn is_area(text: &str, grids: &[GridNames]) -> bool {
    let area = plain_grid(text);
    !area.is_empty() && grids.iter().any(|known| known.area == area)
}

/// Folded, without the words around a number, numbers in Arabic digits without leading zeros: 第一网格 and 01 are one.
fn plain_grid(text: &str) -> String {
    let mut plain = fold(text);
    for word in ["责任网格", "微网格", "网格", "责任片区", "片区", "第"] {
        plain = plain.replace(word, "");
    }
    let plain = arabic(plain.trim_end_matches(['号', '片']));
    let mut out = String::with_capacity(plain.len());
    let mut chars = plain.chars().peekable();
    while let Some(c) = chars.next() {
        let starts_number = !out.ends_with(|p: char| p.is_ascii_digit());
        if c == '0' && starts_number && chars.peek().is_some_and(char::is_ascii_digit) {
            continue;
        }
        out.push(c);
    }
    out
}

const NUMERALS: &str = "零〇○一二三四五六七八九十百千两廿卅卌壹贰叁肆伍陆柒捌玖拾佰仟";

/// Chinese numerals in Arabic digits. Where a run of them is no number it stays as it is.
fn arabic(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut run = String::new();
    let end = |run: &mut String, out: &mut String| {
        match chinese_number(run) {
            Some(value) if !run.is_empty() => out.push_str(&value.to_string()),
            _ => out.push_str(run),
        }
        run.clear();
    };
    for c in text.chars() {
        if NUMERALS.contains(c) {
            run.push(c);
        } else {
            end(&mut run, &mut out);
            out.push(c);
        }
    }
    end(&mut run, &mut out);
    out
}
