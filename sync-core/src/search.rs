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
//!
//! The ü of 吕 and 女 is typed as v, u, yu or ü: a key holds all but the last, which a query turns into v.

use std::{
    collections::{BTreeSet, HashMap},
    sync::LazyLock,
};

use pinyin::ToPinyinMulti;
use unicode_normalization::UnicodeNormalization;

use crate::values::phone::{self, PhoneKind};

/// Characters of one text that go into a key.
const TEXT_CHARS_MAX: usize = 200;
/// Characters of one text that are spelled out in pinyin.
const PINYIN_CHARS_MAX: usize = 64;
/// Leading characters of a text whose other readings are tried.
const HETERONYM_CHARS_MAX: usize = 12;
/// Readings of one character that are tried; dictionaries list rarer ones after these.
const READINGS_MAX: usize = 3;
/// Spellings of one text, counted for full pinyin and initials together.
const SPELLINGS_MAX: usize = 32;
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
            let [plain, typed] = ['v', 'u'].map(|u| without_accents(&folded, u));
            let spellings = spellings(&plain);
            for piece in [folded, plain, typed].into_iter().chain(spellings) {
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
    // A telephone number in whatever spelling: as keys have it.
    if let Some(number) = phone::only(text).filter(|number| number.kind != PhoneKind::Short95) {
        return vec![fold(&number.compared())];
    }
    let mut terms: Vec<String> = Vec::new();
    for word in text.split_whitespace() {
        let mut term = String::new();
        let mut last: Option<char> = None;
        for c in without_accents(&fold(word), 'v').chars() {
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
        .filter(|c| is_sought(*c));
    plain
        .nfkc()
        .filter(|c| is_sought(*c))
        .map(simplified)
        .collect()
}

/// Letters, digits and Han characters; also those that this program's Unicode does not know yet, and the private ones under which older systems
/// kept rare names.
fn is_sought(c: char) -> bool {
    c.is_alphanumeric()
        || matches!(c, '\u{e000}'..='\u{f8ff}' | '\u{20000}'..='\u{3fffd}' | '\u{f0000}'..='\u{ffffd}' | '\u{100000}'..='\u{10fffd}')
}

/// A folded text with Latin letters without their accents and tones, and ü as `u_umlaut`.
fn without_accents(folded: &str, u_umlaut: char) -> String {
    const DIAERESIS: char = '\u{308}';
    let plain = |c: char| {
        let mut parts = std::iter::once(c).nfd();
        match parts.next() {
            Some('u') if parts.any(|mark| mark == DIAERESIS) => u_umlaut,
            Some(letter) if letter.is_ascii_alphabetic() => letter,
            _ => c,
        }
    };
    folded.chars().map(plain).collect()
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
pub(crate) fn simplified(c: char) -> char {
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
    let chars = || folded.chars().take(PINYIN_CHARS_MAX);
    let syllables: Vec<Vec<String>> = chars().map(readings).collect();
    // Where a reading has an ü: no other sound of Chinese is spelled with v.
    let umlauts: Vec<bool> = chars()
        .zip(&syllables)
        .map(|(c, readings)| !c.is_ascii() && readings.iter().any(|reading| reading.contains('v')))
        .collect();
    let styles: &[&str] = if umlauts.contains(&true) {
        &["v", "u", "yu"]
    } else {
        &["v"]
    };
    if syllables
        .iter()
        .all(|s| s.len() == 1 && s[0].chars().all(|c| c.is_ascii() && c.is_numeric()))
        || folded.is_ascii()
    {
        return Vec::new();
    }
    let mut out = Vec::new();
    let mut push = |changed: &[(usize, usize)]| {
        let mut full = vec![String::new(); styles.len()];
        let mut initials = String::new();
        for (at, readings) in syllables.iter().enumerate() {
            let choice = changed
                .iter()
                .find(|(place, _)| *place == at)
                .map_or(0, |(_, choice)| *choice);
            let reading = &readings[choice];
            for (full, style) in full.iter_mut().zip(styles) {
                if umlauts[at] {
                    full.push_str(&reading.replace('v', style));
                } else {
                    full.push_str(reading);
                }
            }
            initials.extend(reading.chars().next());
        }
        for spelling in full.into_iter().chain([initials]) {
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

/// Characters that are read otherwise as a surname: those readings are rare elsewhere and missing from, or late in, the dictionary. 媜 is no
/// surname, and the dictionary has only the rarer of its readings.
const SURNAMES: &[(char, &str)] = &[
    ('万', "mo"),
    ('乐', "yue"),
    ('乜', "nie"),
    ('仇', "qiu"),
    ('会', "gui"),
    ('俟', "qi"),
    ('冼', "xian"),
    ('区', "ou"),
    ('单', "shan"),
    ('召', "shao"),
    ('句', "gou"),
    ('员', "yun"),
    ('媜', "zhen"),
    ('宓', "fu"),
    ('宿', "su"),
    ('尉', "yu"),
    ('应', "ying"),
    ('折', "she"),
    ('晟', "cheng"),
    ('曾', "zeng"),
    ('朴', "piao"),
    ('查', "zha"),
    ('洗', "xian"),
    ('澹', "tan"),
    ('燕', "yan"),
    ('盖', "ge"),
    ('盛', "sheng"),
    ('石', "shi"),
    ('祭', "zhai"),
    ('种', "chong"),
    ('秘', "bi"),
    ('繁', "po"),
    ('纪', "ji"),
    ('缪', "miao"),
    ('翟', "zhai"),
    ('能', "nai"),
    ('葛', "ge"),
    ('薄', "bo"),
    ('覃', "qin"),
    ('解', "xie"),
    ('訾', "zi"),
    ('谌', "shen"),
    ('谷', "yu"),
    ('贠', "yun"),
    ('费', "bi"),
    ('车', "ju"),
    ('适', "kuo"),
    ('逄', "pang"),
    ('郇', "huan"),
    ('郗', "chi"),
    ('都', "du"),
    ('重', "chong"),
    ('长', "zhang"),
    ('隗', "wei"),
    ('黑', "he"),
    ('𰌂', "zhen"),
];

/// The reading of a character that the dictionary lacks.
fn rare(c: char) -> Option<&'static str> {
    static TABLE: LazyLock<HashMap<char, &str>> = LazyLock::new(|| {
        include_str!("search/rare.txt")
            .lines()
            .filter(|line| !line.starts_with('#'))
            .filter_map(|line| line.split_once(' '))
            .flat_map(|(reading, chars)| chars.chars().map(move |c| (c, reading)))
            .collect()
    });
    if c < '\u{3400}' {
        return None;
    }
    TABLE.get(&c).copied()
}

/// Readings of a character without tones, the usual one first, ü as v; a character without one stands for itself.
fn readings(c: char) -> Vec<String> {
    let mut out: Vec<String> = Vec::new();
    let surname = SURNAMES
        .iter()
        .find(|(of, _)| *of == c)
        .map(|(_, reading)| *reading);
    let mut listed = c
        .to_pinyin_multi()
        .into_iter()
        .flatten()
        .map(|reading| reading.plain().replace('ü', "v"));
    let usual = listed.next().or_else(|| rare(c).map(str::to_owned));
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
        // A telephone number is found in any spelling, whichever the card has.
        let numbers = &["13800000001", "50932417", "0085221234567", "021234567"][..];
        for text in [
            "138 0000 0001",
            "+86-138-0000-0001",
            "021-5093 2417",
            "+86 21 50932417",
            "+852 2123 4567",
            "00852-21234567",
            "(852)21234567",
            "2123 4567",
        ] {
            check(numbers, text, true);
        }
        check(numbers, "+853 2123 4567", false);
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
            ("尉迟敬", &["yuchijing", "weichijing", "ycj"]),
            ("万俟卨", &["moqi", "wansi", "mq"]),
            ("单于英", &["chanyuying", "shanyuying", "danyuying"]),
            ("长孙琪", &["zhangsunqi", "changsunqi"]),
            ("澹台明", &["tantaiming", "dantaiming"]),
            ("乐正绫", &["yuezhengling", "lezhengling"]),
            ("吐谷浑", &["tuyuhun"]),
            ("曾乐", &["zengyue", "zengle", "cengle"]),
            ("查良", &["zhaliang", "chaliang"]),
            ("盖叫", &["gejiao", "gaijiao"]),
            ("朴敏", &["piaomin", "pumin"]),
            ("缪斌", &["miaobin"]),
            ("種明", &["chongming", "zhongming"]),
            ("繁钦", &["poqin", "fanqin"]),
            ("费明", &["feiming", "biming"]),
        ] {
            for spelling in spellings {
                check(&[name], spelling, true);
            }
        }
    }

    #[test]
    fn an_umlaut_is_typed_in_many_ways() {
        for name in ["吕明", "呂明"] {
            for typed in [
                "lvming", "luming", "lyuming", "lüming", "LÜMING", "lǚmíng", "lü ming", "lu:ming",
                "lm", "lü", "吕ming",
            ] {
                check(&[name], typed, true);
            }
        }
        for (name, typed) in [
            (
                "女人花",
                &[
                    "nvrenhua",
                    "nurenhua",
                    "nyurenhua",
                    "nürenhua",
                    "nǚrénhuā",
                    "nrh",
                ][..],
            ),
            ("略萨", &["lvesa", "luesa", "lyuesa", "lüesa"]),
            ("虐", &["nve", "nue", "nyue"]),
            ("绿叶KTV", &["lvyektv", "luyektv", "lüye ktv", "ktv"]),
            ("王记绿豆", &["wangjilv", "wangjilu", "wangjilyudou"]),
            ("Müller 面包", &["muller", "müller", "mvller", "mianbao"]),
            ("Café 吕", &["cafe", "café", "cafelü"]),
            ("Crème Brûlée", &["creme brulee", "crème"]),
        ] {
            for typed in typed {
                check(&[name], typed, true);
            }
        }
        check(&["鲁明"], "lvming", false);
        check(&["KTV"], "ktu", false);
    }

    #[test]
    fn rare_characters_are_found() {
        for (name, typed) in [
            ("贠明", &["yunming", "ym", "贠"][..]),
            ("𠮷明", &["jiming", "jm", "𠮷", "𠮷明"]),
            ("黑明", &["heming", "heiming", "hm"]),
            ("会明", &["guiming", "huiming"]),
            ("𰌂明", &["zhenming", "zhengming", "𰌂"]),
            // Extensions B to H, one that Unicode has not assigned yet, and names of older systems.
            ("𡈼明", &["𡈼", "ming"]),
            ("𪚥明", &["𪚥", "zhe"]),
            ("𫖯明", &["fuming"]),
            ("𬱖明", &["diming"]),
            ("\u{2ebf0}明", &["\u{2ebf0}"]),
            ("\u{31350}明", &["\u{31350}明"]),
            ("\u{323b0}明", &["\u{323b0}", "ming"]),
            ("\u{e815}明", &["\u{e815}", "\u{e815}明", "ming"]),
            ("\u{f0001}记", &["\u{f0001}"]),
            // A variation selector tells shapes apart, not names.
            ("葛\u{e0101}明", &["葛明", "geming", "葛\u{e0101}"]),
            ("王\u{200b}记", &["王记", "wangji"]),
        ] {
            for typed in typed {
                check(&[name], typed, true);
            }
        }
        check(&["\u{e815}明"], "\u{e816}", false);
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
