//! A text as groups of digits and what stands between them: how one group hangs on the one before it.

use std::ops::Range;

use crate::values::width::half_width_char;

use super::plans;

/// A character as it is compared, with its bytes in the text.
struct Typed {
    c: char,
    bytes: Range<usize>,
}

/// Digits without a gap.
pub(super) struct Group {
    pub(super) digits: String,
    /// A plus sign stands before them.
    pub(super) plus: bool,
    /// Places of its characters in [`Groups::typed`].
    at: Range<usize>,
}

/// How a group of digits hangs on the one before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Joint {
    /// It does not: a separator or words stand between.
    Apart,
    /// By white space, or by nothing that can be seen.
    Space,
    /// By a hyphen, dot or bracket.
    Hyphen,
    /// By 转, 分机, ext, x or #.
    Extension,
    /// By a comma, which separates two numbers and also dials an extension.
    Comma,
    /// By a character that has no place within a number: a letter for a digit, or what hides digits.
    Stray,
}

/// The groups of a text.
pub(super) struct Groups<'t> {
    text: &'t str,
    typed: Vec<Typed>,
    all: Vec<Group>,
    /// What stands before each group, and behind the last one: half width, lower case, dashes as hyphens.
    gaps: Vec<String>,
}

/// Words that introduce an extension.
const EXTENSION: &[&str] = &[
    "转",
    "轉",
    "转接",
    "轉接",
    "转分机",
    "轉分機",
    "转分机号",
    "总机转",
    "總機轉",
    "分机",
    "分機",
    "分机号",
    "分机号码",
    "分機號",
    "内线",
    "內線",
    "内线号",
    "转内线",
    "轉內線",
    "内转",
    "ext",
    "extn",
    "extension",
    "extno",
    "x",
    "×",
    "#",
    "*",
    "转#",
    "拨",
    "撥",
    "再拨",
    "转拨",
    "后拨",
    "接",
    "按",
    "再按",
    "后按",
    "内",
    "总机接",
    "总机转接",
    "分機號碼",
    "pabx",
    "p",
];
/// Letters beside a number that say what it is.
const LABELS: &[&str] = &[
    "tel",
    "telephone",
    "phone",
    "ph",
    "mobile",
    "mob",
    "cell",
    "fax",
    "f",
    "t",
    "m",
    "p",
    "h",
    "w",
    "hp",
    "wx",
    "vx",
    "v",
    "wechat",
    "weixin",
    "qq",
    "no",
    "hk",
    "tw",
    "mo",
    "cn",
    "am",
    "pm",
    "ext",
    "or",
    "and",
    "mr",
    "ms",
    "mrs",
];
/// Words for a region whose numbers people write without its code, and the code.
const REGIONS: &[(&str, &str)] = &[
    ("香港", "852"),
    ("hong kong", "852"),
    ("hongkong", "852"),
    ("h.k", "852"),
    ("hk", "852"),
    ("澳门", "853"),
    ("澳門", "853"),
    ("macau", "853"),
    ("macao", "853"),
    ("台湾", "886"),
    ("台灣", "886"),
    ("臺灣", "886"),
    ("taiwan", "886"),
];
/// Longest run of hidden digits: `138****0001`.
const HIDDEN_CHARS_MAX: usize = 11;

impl<'t> Groups<'t> {
    pub(super) fn of(text: &'t str) -> Self {
        let typed: Vec<Typed> = text
            .char_indices()
            .filter(|(_, c)| !is_invisible(*c))
            .map(|(start, c)| Typed {
                c: plain(c),
                bytes: start..start + c.len_utf8(),
            })
            .collect();
        let mut groups: Vec<Group> = Vec::new();
        let mut gaps = vec![String::new()];
        let mut inside = false;
        for (at, one) in typed.iter().enumerate() {
            if !one.c.is_ascii_digit() {
                inside = false;
                gaps.last_mut().expect("one gap is there").push(one.c);
                continue;
            }
            // What cannot be seen does not end a group.
            if !inside {
                let gap = gaps.last().expect("one gap is there");
                groups.push(Group {
                    digits: String::new(),
                    plus: gap.trim_end_matches([' ', '(', '[']).ends_with('+'),
                    at: at..at,
                });
                gaps.push(String::new());
                inside = true;
            }
            let group = groups.last_mut().expect("a group is open");
            group.digits.push(one.c);
            group.at.end = at + 1;
        }
        Self {
            text,
            typed,
            all: groups,
            gaps,
        }
    }

    pub(super) fn len(&self) -> usize {
        self.all.len()
    }

    pub(super) fn digits(&self, at: usize) -> &str {
        &self.all[at].digits
    }

    pub(super) fn plus(&self, at: usize) -> bool {
        self.all[at].plus
    }

    /// What stands before a group; `at` may be one too many: what stands behind the last.
    pub(super) fn gap(&self, at: usize) -> &str {
        &self.gaps[at]
    }

    /// How a group hangs on the one before it.
    pub(super) fn joint(&self, at: usize) -> Joint {
        if at == 0 || at >= self.len() {
            return Joint::Apart;
        }
        let gap = self.gap(at);
        let bare: String = gap
            .chars()
            .filter(|c| {
                !matches!(
                    c,
                    ' ' | '('
                        | ')'
                        | '['
                        | ']'
                        | '-'
                        | '.'
                        | ':'
                        | ','
                        | ';'
                        | '='
                        | '"'
                        | '“'
                        | '”'
                        | '\''
                )
            })
            .collect();
        if EXTENSION.contains(&bare.as_str()) {
            return Joint::Extension;
        }
        if self.plus(at) {
            return Joint::Apart;
        }
        if gap.chars().all(|c| c == ' ') {
            return Joint::Space;
        }
        let hyphens = |c: char| matches!(c, ' ' | '-' | '.' | '·' | '(' | ')' | '[' | ']' | '_');
        // The Chinese one is often typed for a dash.
        if gap.chars().all(hyphens) || matches!(gap, "一" | "ー") {
            return Joint::Hyphen;
        }
        // 021/64330000: an area code alone is no number.
        if gap.trim() == "/"
            && plans::is_area_code(self.digits(at - 1))
            && (7..=8).contains(&self.digits(at).len())
        {
            return Joint::Hyphen;
        }
        if gap.trim_end().chars().all(|c| c == ',') {
            return Joint::Comma;
        }
        if is_stray(gap) {
            Joint::Stray
        } else {
            Joint::Apart
        }
    }

    /// The code of the region that the words before a group name, and where in the text these begin: 香港 9123 4567.
    pub(super) fn region(&self, at: usize) -> Option<(&'static str, usize)> {
        let gap = self.gap(at);
        let words = gap.trim_end_matches([' ', ':', '-', '(', '.', '区', '號', '号']);
        let (word, code) = REGIONS.iter().find(|(word, _)| words.ends_with(word))?;
        let before = words[..words.len() - word.len()].chars().next_back();
        if before.is_some_and(|c| c.is_ascii_alphabetic() && word.is_ascii()) {
            return None;
        }
        let back = gap[words.len() - word.len()..].chars().count();
        let start = self.all[at].at.start.checked_sub(back)?;
        Some((code, self.typed[start].bytes.start))
    }

    /// Whether only a plus sign stands between a group and the one before it.
    pub(super) fn is_joined_by_plus(&self, at: usize) -> bool {
        at > 0 && self.gap(at).trim() == "+"
    }

    /// Whether these groups are one number with signs that otherwise separate two: `13,800,000,001`, `138,0000,0001`.
    pub(super) fn is_punctuated(&self, groups: Range<usize>) -> bool {
        let lengths: Vec<usize> = groups.clone().map(|at| self.digits(at).len()).collect();
        let by = |signs: &[&str]| {
            let mut gaps = groups.clone().skip(1).map(|at| self.gap(at));
            gaps.clone()
                .next()
                .is_some_and(|first| signs.contains(&first) && gaps.all(|gap| gap == first))
        };
        let in_thousands = matches!(lengths[..], [1 | 2, _, _, ..])
            && lengths[1..].iter().all(|length| *length == 3);
        in_thousands && by(&[","])
            || lengths == [3, 4, 4]
                && plans::is_mobile(&groups.clone().map(|at| self.digits(at)).collect::<String>())
                && by(&[",", "/", "、"])
    }

    /// Whether a character that has no place there stands directly before or behind these groups.
    pub(super) fn is_touched(&self, groups: &Range<usize>) -> bool {
        let before: Vec<char> = self
            .gap(groups.start)
            .chars()
            .rev()
            .take_while(|c| is_letter(*c))
            .collect();
        let behind: String = self
            .gap(groups.end)
            .chars()
            .take_while(|c| is_letter(*c))
            .collect();
        let touched_before = before.len() == 1 && is_like_a_digit(before[0]);
        let touched_behind = !behind.is_empty()
            && self.joint(groups.end) != Joint::Extension
            && !LABELS.contains(&behind.as_str())
            && (behind.chars().count() == 1 || behind.chars().all(is_like_zero));
        touched_before || touched_behind
    }

    /// The bytes of these groups as they were typed: with the plus sign, whole brackets, and what hides digits or stands for one.
    pub(super) fn bytes(&self, groups: &Range<usize>, whole: bool, from: usize) -> Range<usize> {
        let mut start = self.all[groups.start].at.start;
        let mut end = self.all[groups.end - 1].at.end;
        let c = |at: usize| self.typed.get(at).map_or(' ', |typed| typed.c);
        let free = |at: usize| at > 0 && self.typed[at - 1].bytes.start >= from;
        if self.plus(groups.start) {
            while free(start) && c(start - 1) != '+' {
                start -= 1;
            }
            start -= usize::from(free(start));
        }
        if whole {
            let ours = |c: char| c.is_ascii_alphabetic() || is_like_a_digit(c) || is_hidden(c);
            for _ in 0..HIDDEN_CHARS_MAX {
                start -= usize::from(free(start) && ours(c(start - 1)));
                end += usize::from(end < self.typed.len() && ours(c(end)));
            }
        }
        let open = |range: Range<usize>| {
            let count = |sign: char| range.clone().filter(|at| c(*at) == sign).count();
            count('(').cmp(&count(')'))
        };
        if open(start..end).is_lt() && free(start) && c(start - 1) == '(' {
            start -= 1;
        }
        if open(start..end).is_gt() && c(end) == ')' {
            end += 1;
        }
        self.typed[start].bytes.start..self.typed[end - 1].bytes.end
    }

    /// The same with what follows the last group up to and with a word.
    pub(super) fn bytes_with(&self, bytes: Range<usize>, word: &str) -> Range<usize> {
        let rest = &self.text[bytes.end..];
        let end = rest
            .find(word)
            .map_or(bytes.end, |at| bytes.end + at + word.len());
        bytes.start..end
    }
}

/// As characters are compared here.
fn plain(typed: char) -> char {
    match half_width_char(typed) {
        c if c.is_whitespace() || c.is_control() => ' ',
        '–' | '—' | '―' | '‐' | '‑' | '‒' | '−' | '﹣' | '─' | '━' | '⁃' | '˗' => {
            '-'
        }
        '﹢' | '➕' => '+',
        '﹙' | '【' | '〔' => '(',
        '﹚' | '】' | '〕' => ')',
        '∶' | '︰' => ':',
        c => c.to_ascii_lowercase(),
    }
}

/// Marks of direction and joining, which come along when a number is copied from a telephone's list.
fn is_invisible(c: char) -> bool {
    matches!(c, '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{2069}' | '\u{feff}' | '\u{ad}')
}

fn is_letter(c: char) -> bool {
    c.is_ascii_alphabetic() || is_like_a_digit(c)
}

/// Letters and signs that are typed for a zero.
fn is_like_zero(c: char) -> bool {
    matches!(c, 'o' | '〇' | '○' | 'о' | 'О' | 'ο' | 'Ο' | '零')
}

fn is_like_a_digit(c: char) -> bool {
    is_like_zero(c) || matches!(c, 'l' | 'i' | 'і' | 'ⅰ')
}

/// What stands in the place of digits that are not shown.
fn is_hidden(c: char) -> bool {
    matches!(c, '*' | '•' | '●' | '?' | '…' | '�' | '□' | '■' | '×')
}

/// A letter between digits, or what hides some of them; a word or a label is neither.
fn is_stray(gap: &str) -> bool {
    let bare = gap.trim_matches([' ', '-']);
    let chars = bare.chars().count();
    let for_digits = chars <= 4 && bare.chars().all(is_like_a_digit);
    let letter = chars == 1 && gap == bare && bare.chars().all(is_letter);
    let hidden = chars <= HIDDEN_CHARS_MAX && bare.chars().all(|c| is_hidden(c) || c == 'x');
    (for_digits || letter || hidden) && !LABELS.contains(&bare)
        || matches!(gap, "=" | "'" | "`" | "$")
}
