//! Search keys: what a card is found by, and what a query looks for.
//!
//! In: texts of a card (names, road, contacts). Out: one string for substring lookup, made once when the card changes. A query
//! becomes terms; a card matches if its key contains every term, or a term is one of the key's pieces with something behind it that the key
//! contains as well: `tplbzp` finds 王记包子铺 in 天平路. The phone asks [`fn@matches`], the server the same in SQL
//! (`server/src/roll/store.rs`). Keys and terms hold letters, digits and Han characters only: no escaping is needed.
//!
//! Folding is character by character, without a look at the neighbours: only then does the key of a text contain the term
//! of each part of it. (Converters that decide by phrase give 乾 and 餅乾 different results.) Keys may lose distinctions;
//! stored values never pass through here.

use std::{collections::BTreeSet, sync::LazyLock};

use pinyin::ToPinyinMulti;
use unicode_normalization::UnicodeNormalization;

/// Characters of one text that go into a key.
const TEXT_CHARS_MAX: usize = 200;
/// Characters of one text that are spelled out in pinyin.
const PINYIN_CHARS_MAX: usize = 64;
/// Leading characters of a text whose other readings are tried.
const HETERONYM_CHARS_MAX: usize = 12;
/// Readings of one character that are tried; dictionaries list rarer ones after these.
const READINGS_MAX: usize = 3;
/// Spellings of one text, counted for full pinyin and initials together.
const SPELLINGS_MAX: usize = 24;
/// Length of a whole key.
const KEY_BYTES_MAX: usize = 8 * 1024;
/// Each part of a term that is found in two parts: characters of the first, bytes of the second. One letter would find everything.
const PART_MIN: usize = 2;
/// Terms of a query that are looked at.
const TERMS_MAX: usize = 8;

/// Makes search keys.
#[derive(Debug, Clone, Copy)]
pub struct SearchKey;

impl SearchKey {
    /// The key of a card from its texts: each folded, in full pinyin and in initials, with the common other readings.
    pub fn of(texts: &[&str]) -> String {
        let mut key = String::new();
        let mut seen = BTreeSet::new();
        for text in texts {
            let folded: String = fold(text).chars().take(TEXT_CHARS_MAX).collect();
            for piece in std::iter::once(folded.clone()).chain(spellings(&folded)) {
                if piece.is_empty()
                    || key.len() + piece.len() >= KEY_BYTES_MAX
                    || !seen.insert(piece.clone())
                {
                    continue;
                }
                if !key.is_empty() {
                    key.push(' ');
                }
                key.push_str(&piece);
            }
        }
        key
    }
}

/// The terms of a query. A card matches if its key contains all of them; no terms match every card. Terms are split at white
/// space and between Han characters and letters, so that `天平lu 378` is understood.
pub fn query(text: &str) -> Vec<String> {
    let mut terms: Vec<String> = Vec::new();
    for word in text.split_whitespace() {
        let mut term = String::new();
        let mut last: Option<char> = None;
        for c in fold(word).chars() {
            if last.is_some_and(|l| {
                l.is_ascii_alphabetic() && !c.is_ascii() || !l.is_ascii() && c.is_ascii_alphabetic()
            }) {
                terms.push(std::mem::take(&mut term));
            }
            last = Some(c);
            term.push(c);
        }
        terms.push(term);
    }
    terms.retain(|t| !t.is_empty());
    terms.truncate(TERMS_MAX);
    terms
}

/// Whether a card with this key is found by this query.
pub fn matches(key: &str, text: &str) -> bool {
    query(text).iter().all(|term| is_found(key, term))
}

fn is_found(key: &str, term: &str) -> bool {
    let behind = |piece: &str| {
        let rest = term.strip_prefix(piece)?;
        Some(piece.chars().count() >= PART_MIN && rest.len() >= PART_MIN && key.contains(rest))
    };
    key.contains(term) || key.split(' ').any(|piece| behind(piece) == Some(true))
}

/// Compatibility forms, case, script and punctuation removed: `ＡB·鋪` and `ab铺` are one.
pub fn fold(text: &str) -> String {
    // Twice, because lower case may leave a composed or compatibility form: a folded text folds to itself.
    let plain = text
        .nfkc()
        .flat_map(char::to_lowercase)
        .filter(|c| c.is_alphanumeric());
    plain
        .nfkc()
        .filter(|c| c.is_alphanumeric())
        .map(simplified)
        .collect()
}

/// The usual reading of a folded character without its tone; `None` where it has none (letters, digits).
pub fn syllable(c: char) -> Option<String> {
    if c.is_ascii() {
        return None;
    }
    readings(c)
        .into_iter()
        .next()
        .filter(|reading| reading.is_ascii())
}

/// The simplified form of a character, or the character itself.
fn simplified(c: char) -> char {
    static TABLE: LazyLock<Vec<(char, char)>> = LazyLock::new(|| {
        let lines = include_str!("search/simplified.txt")
            .lines()
            .filter(|l| !l.starts_with('#'));
        let mut table: Vec<(char, char)> = Vec::new();
        for line in lines {
            let mut chars = line.chars();
            while let (Some(from), Some(to)) = (chars.next(), chars.next()) {
                table.push((from, to));
            }
        }
        table.sort_unstable();
        table
    });
    if c.is_ascii() {
        return c;
    }
    TABLE
        .binary_search_by_key(&c, |(from, _)| *from)
        .map_or(c, |at| TABLE[at].1)
}

/// Full pinyin and initials of a folded text. The usual readings come first; then each other reading of one character with the
/// usual ones of the rest; then pairs of second readings (长乐 as changyue), as far as the bounds go.
fn spellings(folded: &str) -> Vec<String> {
    let syllables: Vec<Vec<String>> = folded
        .chars()
        .take(PINYIN_CHARS_MAX)
        .map(readings)
        .collect();
    if syllables
        .iter()
        .all(|s| s.len() == 1 && s[0].chars().all(|c| c.is_ascii() && c.is_numeric()))
        || folded.is_ascii()
    {
        return Vec::new();
    }
    let mut out = Vec::new();
    let mut push = |changed: &[(usize, usize)]| {
        let (mut full, mut initials) = (String::new(), String::new());
        for (at, readings) in syllables.iter().enumerate() {
            let choice = changed
                .iter()
                .find(|(place, _)| *place == at)
                .map_or(0, |(_, choice)| *choice);
            let reading = &readings[choice];
            full.push_str(reading);
            initials.extend(reading.chars().next());
        }
        for spelling in [full, initials] {
            if out.len() < SPELLINGS_MAX && !out.contains(&spelling) {
                out.push(spelling);
            }
        }
    };
    push(&[]);
    let places = |choice: usize| {
        syllables
            .iter()
            .take(HETERONYM_CHARS_MAX)
            .enumerate()
            .filter(move |(_, r)| r.len() > choice)
            .map(|(at, _)| at)
    };
    for choice in 1..READINGS_MAX {
        places(choice).for_each(|place| push(&[(place, choice)]));
    }
    for first in places(1) {
        places(1)
            .filter(|&second| second > first)
            .for_each(|second| push(&[(first, 1), (second, 1)]));
    }
    out
}

/// Readings of a character without tones, the usual one first, ü as v; a character without one stands for itself.
fn readings(c: char) -> Vec<String> {
    let mut out: Vec<String> = Vec::new();
    // A name may be read as a surname only: those readings are rare elsewhere and missing from, or late in, the dictionary.
    let surname = match c {
        '单' => Some("shan"),
        '解' => Some("xie"),
        '仇' => Some("qiu"),
        '区' => Some("ou"),
        '查' => Some("zha"),
        '朴' => Some("piao"),
        '盖' => Some("ge"),
        '曾' => Some("zeng"),
        _ => None,
    };
    let mut listed = c
        .to_pinyin_multi()
        .into_iter()
        .flatten()
        .map(|reading| reading.plain().replace('ü', "v"));
    let usual = listed.next();
    for reading in usual
        .into_iter()
        .chain(surname.map(str::to_owned))
        .chain(listed)
    {
        if reading.bytes().all(|b| b.is_ascii_lowercase())
            && !reading.is_empty()
            && !out.contains(&reading)
            && out.len() < READINGS_MAX
        {
            out.push(reading);
        }
    }
    if out.is_empty() {
        out.push(c.to_string());
    }
    out
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn check(texts: &[&str], text: &str, found: bool) {
        let key = SearchKey::of(texts);
        assert_eq!(matches(&key, text), found, "{text} in {key}");
    }

    #[test]
    fn what_finds_a_card() {
        let bun_shop = &["天平路包子铺", "天平路378号", "许娜", "021-50932417"][..];
        for text in [
            "tplbzp",
            "TPLBZP",
            "tianpinglu",
            "tianping lu",
            "tian ping lu 378",
            "包子",
            "包子鋪",
            "包子 许",
            "bzp xn",
            "天平lu378",
            "天平路bzp",
            "ｔｐｌ",
            "378号",
            "50932417",
            "021-5093",
            "tpl378",
            "",
            " ·，",
        ] {
            check(bun_shop, text, true);
        }
        for text in ["tplbzq", "包子店", "379", "bzp xm", "天平lux"] {
            check(bun_shop, text, false);
        }
        let behind = &["王记包子铺", "天平路", "天平路378", "许娜"][..];
        for text in [
            "tplbzp",
            "天平路包子",
            "tianpingluwangji",
            "tpl378bzp",
            "tplxn",
            "tpl bzp",
        ] {
            check(behind, text, true);
        }
        for text in ["tplbzq", "tplb", "bzptp", "天平路饺子"] {
            check(behind, text, false);
        }
        check(&["王記鋪子"], "王记铺子", true);
        check(&["王记铺子"], "王記鋪子", true);
        check(&["烏魯木齊南路"], "wlmqnl", true);
        check(&["餅乾屋"], "饼干", true);
        check(&["饼干屋"], "乾", true);
        check(&["Café Ｎｏ.5"], "café no5", true);
        check(&["绿叶"], "lvye", true);
        check(&["高㛃"], "高㛃", true);
        check(&["解𫖯"], "解𫖯", true);
        check(&["解頫"], "解𫖯", true);
    }

    #[test]
    fn other_readings_are_found() {
        for (name, spellings) in [
            (
                "长乐面馆",
                &[
                    "changlemianguan",
                    "zhanglemianguan",
                    "changyuemianguan",
                    "clmg",
                    "cymg",
                ][..],
            ),
            ("重庆小面", &["chongqing", "zhongqing", "cqxm", "zqxm"]),
            ("工商银行", &["gongshangyinhang", "gsyh", "gsyx"]),
            ("单敏", &["shanmin", "danmin", "sm", "dm"]),
            ("仇国", &["qiuguo", "chouguo"]),
            ("解艳敏", &["xieyanmin", "xym", "jieyanmin"]),
            ("区记琴行", &["oujiqin", "ojq", "qujiqin", "qujiqinhang"]),
        ] {
            for spelling in spellings {
                check(&[name], spelling, true);
            }
        }
    }

    #[test]
    fn keys_are_bounded() {
        let long = "行".repeat(100_000);
        let key = SearchKey::of(&[&long, &long, "乐".repeat(5000).as_str(), "末"]);
        assert!(key.len() <= KEY_BYTES_MAX, "{}", key.len());
        assert!(query(&"a ".repeat(1000)).len() <= TERMS_MAX);
    }

    proptest! {
        #[test]
        fn never_panics_and_needs_no_escaping(text in "\\PC*") {
            for term in query(&text) {
                prop_assert!(!term.contains(['%', '_', '\\', ' ']));
            }
            SearchKey::of(&[&text]);
        }

        #[test]
        fn folding_twice_is_folding_once(text in "\\PC*") {
            let once = fold(&text);
            prop_assert_eq!(fold(&once), once);
        }

        #[test]
        fn a_part_of_a_name_finds_it(name in "[\u{4e00}-\u{9fff}a-zA-Z0-9]{1,20}", from in 0_usize..20, len in 1_usize..20) {
            let part: String = name.chars().skip(from).take(len).collect();
            prop_assert!(matches(&SearchKey::of(&[&name]), &part));
        }
    }
}
