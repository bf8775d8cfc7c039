//! Conflicts, pure: which of them are harmless, and which ones a change settles.
//!
//! In: the differing values of one key, or a record's state and a change that is about to become part of it. Out: a class with a suggested value,
//! or what was settled and how. Nothing here decides for anybody: a class lets a reviewer choose many values at once, and each choice can be
//! undone.
//!
//! Invariants:
//! - a suggestion is one of the values, never a text that nobody wrote;
//! - values whose difference may mean another door, number, person or company are in no class;
//! - a change settles a conflict only for its author: what it has not seen it does not replace.

use std::{cmp::Reverse, collections::BTreeSet, fmt, str::FromStr};

use crate::{
    codec::change::{Action, Change, OpId, Scalar},
    crdt::merge::RegisterState,
    id::DeviceId,
    kinds::{Class, Field, Meaning, Rule},
    lang::Lang,
    time::{DeviceTime, ServerTime},
    values::{
        phone::{self, PhoneKind},
        text::half_width,
    },
};

/// A kind of difference that a reviewer may settle in bulk.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum HarmlessClass {
    /// The values differ by width, case, spaces and punctuation only.
    Spelling,
    /// The same telephone numbers, written differently.
    PhoneFormat,
    /// One value holds all that the others say, and more.
    MoreComplete,
}

/// Why a text names no class.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a class is one of spelling, phone_format, more_complete")]
pub struct UnknownClass;

impl HarmlessClass {
    /// Every class, the most harmless first: the first that fits is a conflict's class.
    pub const ALL: [Self; 3] = [Self::Spelling, Self::PhoneFormat, Self::MoreComplete];

    /// The name in requests and in the store.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Spelling => "spelling",
            Self::PhoneFormat => "phone_format",
            Self::MoreComplete => "more_complete",
        }
    }

    /// What people see.
    pub const fn label(self, lang: Lang) -> &'static str {
        match (self, lang) {
            (Self::Spelling, Lang::Zh) => "仅全半角、大小写、空格或标点不同",
            (Self::Spelling, Lang::En) => "differ by width, case, spaces or punctuation only",
            (Self::PhoneFormat, Lang::Zh) => "同样的电话，写法不同",
            (Self::PhoneFormat, Lang::En) => "the same telephone numbers, written differently",
            (Self::MoreComplete, Lang::Zh) => "其中一个更完整",
            (Self::MoreComplete, Lang::En) => "one value is more complete than the others",
        }
    }
}

impl fmt::Display for HarmlessClass {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for HarmlessClass {
    type Err = UnknownClass;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::ALL
            .into_iter()
            .find(|class| class.as_str() == text)
            .ok_or(UnknownClass)
    }
}

/// A conflict that may be settled in bulk.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Harmless {
    /// How the values differ.
    pub class: HarmlessClass,
    /// The value that loses nothing: one of those given.
    pub suggestion: Scalar,
}

/// The class of a conflict; `None` where only a person can tell. `values` in ascending order of their operations: of equally good ones the
/// last is suggested. Sensitive fields (P3) are in no class, so that nothing of them is settled unread.
pub fn harmless(field: &Field, values: &[&Scalar]) -> Option<Harmless> {
    if !field.keeps_conflicts() || field.class == Class::P3 || !matches!(field.rule, Rule::Text(_))
    {
        return None;
    }
    let texts = values
        .iter()
        .map(|value| value.as_str())
        .collect::<Option<Vec<_>>>()?;
    if texts.len() < 2 || texts.iter().all(|text| *text == texts[0]) {
        return None;
    }
    let found = |class, text: &str| {
        Some(Harmless {
            class,
            suggestion: text.into(),
        })
    };
    let same = match field.meaning {
        Meaning::Telephone => phone_format(&texts).map(|at| (HarmlessClass::PhoneFormat, at)),
        _ => spelling(&texts).map(|at| (HarmlessClass::Spelling, at)),
    };
    if let Some((class, at)) = same {
        return found(class, texts[at]);
    }
    let at = match field.meaning {
        Meaning::Telephone => more_numbers(&texts),
        // Of a registered name, a person's name or a free remark a longer one may be another one, or say the opposite.
        Meaning::TradeName => longer_name(&texts),
        _ => None,
    };
    found(HarmlessClass::MoreComplete, texts[at?])
}

/// Where the values are one text but for width, case, spaces and punctuation: the tidiest of them.
fn spelling(texts: &[&str]) -> Option<usize> {
    let folded: BTreeSet<_> = texts.iter().map(|text| folded(text)).collect();
    let one = folded.len() == 1 && folded.first().is_some_and(|text| !text.is_empty());
    one.then(|| {
        best(texts, |text| {
            (Reverse(untidiness(text)), text.chars().count())
        })
    })
    .flatten()
}

/// A text as far as it matters. What stands before a digit stays, because `12-1` is not `121`, nor `-5` the same as `5`; of spaces only
/// those between digits.
fn folded(text: &str) -> String {
    let mut out = String::new();
    let mut between: Option<char> = None;
    let mut spaced = false;
    for c in half_width(text).chars().flat_map(char::to_lowercase) {
        if c.is_alphanumeric() {
            if c.is_ascii_digit() {
                let after_digit = out.ends_with(|last: char| last.is_ascii_digit());
                out.extend(between.or((spaced && after_digit).then_some(' ')));
            }
            (between, spaced) = (None, false);
            out.push(c);
        } else if c.is_whitespace() {
            spaced = true;
        } else {
            between = Some(match c {
                '‐' | '‑' | '–' | '—' | '―' | '−' | '~' | '〜' => '-',
                '∶' | '︰' => ':',
                other => other,
            });
        }
    }
    out
}

/// Full-width letters and digits, and spaces that say nothing.
fn untidiness(text: &str) -> usize {
    let wide = text
        .chars()
        .filter(|c| matches!(c, '０'..='９' | 'Ａ'..='Ｚ' | 'ａ'..='ｚ' | '\u{3000}'))
        .count();
    let spaces = text.split(' ').filter(|word| word.is_empty()).count();
    wide + spaces
}

/// Where each value names the same numbers and nothing else: the value that is written most fully.
fn phone_format(texts: &[&str]) -> Option<usize> {
    let numbers = texts
        .iter()
        .map(|text| numbers(text))
        .collect::<Option<Vec<_>>>()?;
    let same = numbers.iter().all(|these| *these == numbers[0]);
    same.then(|| {
        best(texts, |text| {
            (digits(text), phone::canonical(&phone::parse(text)) == text)
        })
    })
    .flatten()
}

/// Where the numbers of one value include those of every other: that one.
fn more_numbers(texts: &[&str]) -> Option<usize> {
    let numbers = texts
        .iter()
        .map(|text| numbers(text))
        .collect::<Option<Vec<_>>>()?;
    (0..texts.len())
        .rev()
        .find(|at| numbers.iter().all(|these| these.is_subset(&numbers[*at])))
}

/// The numbers a value names, in one notation each; `None` where it says anything else.
fn numbers(text: &str) -> Option<BTreeSet<String>> {
    let phones = phone::parse(text);
    let mut rest = text.trim().to_owned();
    let mut numbers = BTreeSet::new();
    for phone in &phones {
        rest = rest.replacen(&phone.raw, " ", 1);
        if phone.kind == PhoneKind::Unrecognised {
            return None;
        }
        let ext = phone.ext.as_deref().unwrap_or_default();
        numbers.insert(format!("{}#{ext}", phone.compared()));
    }
    (!numbers.is_empty() && !rest.chars().any(char::is_alphanumeric)).then_some(numbers)
}

fn digits(text: &str) -> usize {
    phone::parse(text)
        .iter()
        .map(|phone| phone.digits.len())
        .sum()
}

/// Where one name begins with each of the others: that one.
fn longer_name(texts: &[&str]) -> Option<usize> {
    let folded: Vec<_> = texts.iter().map(|text| folded(text)).collect();
    let within = |part: &str, whole: &str| {
        let cut = |rest: &str| {
            part.ends_with(|c: char| c.is_ascii_alphanumeric())
                && rest.starts_with(|c: char| c.is_ascii_alphanumeric())
        };
        part.chars().count() >= 2 && whole.strip_prefix(part).is_some_and(|rest| !cut(rest))
    };
    (0..texts.len())
        .rev()
        .find(|at| folded.iter().all(|part| within(part, &folded[*at])))
}

/// The last of the texts that score highest.
fn best<K: Ord>(texts: &[&str], score: impl Fn(&str) -> K) -> Option<usize> {
    (0..texts.len()).max_by_key(|at| score(texts[*at]))
}

/// A value that a change replaces.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Replaced {
    /// The operation that wrote it.
    pub op: OpId,
    /// The value.
    pub value: Scalar,
    /// The author's device.
    pub device: DeviceId,
    /// When that device says so.
    pub device_time: Option<DeviceTime>,
    /// When the server accepted it.
    pub received_at: ServerTime,
}

/// A conflict that a change settles, for all values that its author had seen.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Settlement {
    /// The key.
    pub key: String,
    /// The operation that settles it: that of the value that stays.
    pub op: OpId,
    /// What was chosen; `None`: the field was cleared.
    pub chosen: Option<Scalar>,
    /// The values it was chosen from, ascending by operation: all that it replaces, and the one that stays where that was among them.
    pub replaced: Vec<Replaced>,
}

/// The conflicts that `change` settles, to be asked before it is merged into `before`: of a field that keeps conflicts it replaces visible
/// values that differ. It also settles where its author chose among several values and lost the race for some of them: whoever wrote the value that
/// it does replace is to know. An edit of one of two branches settles nothing.
pub fn settled(before: &RegisterState, change: &Change) -> Vec<Settlement> {
    let mut settlements: Vec<Settlement> = Vec::new();
    for (index, op) in change.ops.iter().enumerate() {
        let (key, chosen) = match &op.action {
            Action::Put { key, value } => (key, Some(value.clone())),
            Action::Delete { key } => (key, None),
            Action::MakeText { .. } | Action::Insert { .. } | Action::Remove { .. } => continue,
        };
        let id = change.op_id(index);
        if let Some(earlier) = settlements
            .iter_mut()
            .find(|settlement| settlement.key == *key)
        {
            // Written twice in one change: the last writing is what stays.
            (earlier.op, earlier.chosen) = (id, chosen);
            continue;
        }
        if op.pred.is_empty()
            || !before
                .kind()
                .field(key)
                .is_some_and(|(field, _)| field.keeps_conflicts())
        {
            continue;
        }
        let visible = before.visible(key);
        // Whoever chooses the value that wins already only deletes the others: that is what Automerge writes.
        let kept = visible
            .iter()
            .rev()
            .find(|(seen, _)| {
                chosen.is_none() && !op.pred.contains(seen) && before.has_seen(change, *seen)
            })
            .cloned();
        if op.pred.len() < 2 && kept.is_none() {
            continue;
        }
        let stays = |seen: &OpId| kept.as_ref().is_some_and(|(kept, _)| kept == seen);
        let replaced: Vec<_> = visible
            .into_iter()
            .filter(|(seen, _)| op.pred.contains(seen) || stays(seen))
            .collect();
        let (id, chosen) = kept.map_or((id, chosen), |(kept, value)| (kept, Some(value)));
        let differ = replaced.iter().any(|(_, value)| *value != replaced[0].1);
        let lost_race = replaced.len() < op.pred.len()
            && replaced
                .iter()
                .any(|(_, value)| Some(value) != chosen.as_ref());
        if differ || lost_race {
            let replaced = replaced.into_iter().filter_map(|(op, value)| {
                let from = before.provenance(op)?;
                let (device, device_time, received_at) =
                    (from.device, from.device_time, from.received_at);
                Some(Replaced {
                    op,
                    value,
                    device,
                    device_time,
                    received_at,
                })
            });
            settlements.push(Settlement {
                key: key.clone(),
                op: id,
                chosen,
                replaced: replaced.collect(),
            });
        }
    }
    settlements
}

#[cfg(test)]
mod tests;
