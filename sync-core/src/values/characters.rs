//! Characters that nobody sees, and characters that no text may hold.
//!
//! A value of invisible characters alone is empty to everybody who reads it. Marks that turn the direction of a line, and code points that
//! are no characters, make a text say something else than it shows, or break whoever reads it next. Unassigned code points are neither: a
//! newer Unicode than this program's assigns them, and names are among the first. Private-use characters stay as well: older systems kept
//! rare names in them.

use std::ops::RangeInclusive;

/// `Default_Ignorable_Code_Point` (Unicode 16, `DerivedCoreProperties.txt`), and what fonts draw as nothing though it is not listed there: the blank
/// of Braille, the fillers of notes and of Khitan, and what stands for a picture.
const INVISIBLE: &[RangeInclusive<char>] = &[
    '\u{ad}'..='\u{ad}',
    '\u{34f}'..='\u{34f}',
    '\u{61c}'..='\u{61c}',
    '\u{115f}'..='\u{1160}',
    '\u{17b4}'..='\u{17b5}',
    '\u{180b}'..='\u{180f}',
    '\u{200b}'..='\u{200f}',
    '\u{202a}'..='\u{202e}',
    '\u{2060}'..='\u{206f}',
    '\u{2800}'..='\u{2800}',
    '\u{3164}'..='\u{3164}',
    '\u{fe00}'..='\u{fe0f}',
    '\u{feff}'..='\u{feff}',
    '\u{ffa0}'..='\u{ffa0}',
    '\u{fff0}'..='\u{fffc}',
    '\u{16fe4}'..='\u{16fe4}',
    '\u{1bca0}'..='\u{1bca3}',
    '\u{1d159}'..='\u{1d159}',
    '\u{1d173}'..='\u{1d17a}',
    '\u{e0000}'..='\u{e0fff}',
];

/// Whether nothing of a text can be seen: it is empty, or all of it is white space, control or invisible characters.
pub fn says_nothing(text: &str) -> bool {
    text.chars().all(|c| {
        c.is_whitespace() || c.is_control() || INVISIBLE.iter().any(|range| range.contains(&c))
    })
}

/// Why a text may not hold a character.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Forbidden {
    /// Embeds, overrides or isolates a direction of writing (UAX #9), or is a deprecated format character.
    Direction,
    /// No character: U+FDD0 to U+FDEF and the last two of each plane.
    Noncharacter,
    /// Annotates, or separates lines or paragraphs, as no field can show.
    Annotation,
    /// A tag that belongs to no flag.
    LoneTag,
}

/// The black flag, after which tags spell a region (UTS #51).
const FLAG: char = '\u{1f3f4}';
const CANCEL_TAG: char = '\u{e007f}';

/// The first character of a text that no new value may hold, and why.
pub fn forbidden(text: &str) -> Option<(char, Forbidden)> {
    let mut in_flag = false;
    for c in text.chars() {
        let is_tag = ('\u{e0000}'..='\u{e007f}').contains(&c);
        if let Some(why) = forbidden_char(c).or((is_tag && !in_flag).then_some(Forbidden::LoneTag))
        {
            return Some((c, why));
        }
        in_flag = c == FLAG || in_flag && is_tag && c != CANCEL_TAG;
    }
    None
}

fn forbidden_char(c: char) -> Option<Forbidden> {
    match c {
        '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{206f}' => Some(Forbidden::Direction),
        '\u{2028}' | '\u{2029}' | '\u{fff9}'..='\u{fffb}' => Some(Forbidden::Annotation),
        '\u{fdd0}'..='\u{fdef}' => Some(Forbidden::Noncharacter),
        _ if u32::from(c) & 0xfffe == 0xfffe => Some(Forbidden::Noncharacter),
        _ => None,
    }
}

/// How many characters of a text [`forbidden`] finds.
pub fn forbidden_count(text: &str) -> usize {
    let (mut count, mut rest) = (0, text);
    while let Some((c, _)) = forbidden(rest) {
        count += 1;
        rest = rest.split_once(c).map_or("", |(_, rest)| rest);
    }
    count
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_nobody_sees_is_empty() {
        for text in [
            "",
            " ",
            "\u{200b}",
            "\u{a0}",
            "\u{3000}",
            "\u{3164}",
            "\u{115f}\u{1160}",
            "\u{ffa0}",
            "\u{2800}",
            "\u{ad}",
            "\u{fe0f}",
            "\u{e0100}",
            "\u{feff}",
            "\u{2060}",
            "\u{200d}\u{200c}",
            "\u{202f}\u{205f}\u{2003}",
            "\u{180e}",
            "\u{34f}",
            "\u{200e}\u{200f}",
            "\u{fffc}",
            "\u{202e}",
            "\u{e0041}",
            "\u{85}\t\n",
            "\u{1d159}",
            "\u{16fe4}",
            " \u{200b}\u{3000}\u{3164}",
        ] {
            assert!(says_nothing(text), "{}", text.escape_unicode());
        }
        for text in [
            "王",
            "王\u{200b}",
            "\u{e000}",
            "\u{f0001}",
            "𠮷",
            "\u{30302}",
            "·",
            "-",
            "〇",
            "☺\u{fe0f}",
            "\u{378}",
            "葛\u{e0101}",
        ] {
            assert!(!says_nothing(text), "{}", text.escape_unicode());
        }
    }

    #[test]
    fn what_no_text_may_hold() {
        use Forbidden::{Annotation, Direction, LoneTag, Noncharacter};
        for (text, why) in [
            ("\u{202e}店名", Direction),
            ("店\u{202d}名\u{202c}", Direction),
            ("\u{2067}店\u{2069}", Direction),
            ("店\u{206b}", Direction),
            ("\u{fffe}店", Noncharacter),
            ("店\u{ffff}", Noncharacter),
            ("\u{fdd0}", Noncharacter),
            ("\u{1fffe}", Noncharacter),
            ("\u{10ffff}", Noncharacter),
            ("店\u{2028}名", Annotation),
            ("\u{fff9}店\u{fffa}dian\u{fffb}", Annotation),
            ("店\u{e0001}", LoneTag),
            ("店\u{e0067}\u{e0062}\u{e007f}", LoneTag),
            ("\u{1f3f4}\u{e0067}\u{e007f}\u{e0067}", LoneTag),
        ] {
            assert_eq!(
                forbidden(text).map(|(_, why)| why),
                Some(why),
                "{}",
                text.escape_unicode()
            );
        }
        for text in [
            "王记包子铺",
            "\u{1f3f4}\u{e0067}\u{e0062}\u{e0065}\u{e006e}\u{e0067}\u{e007f}英式茶室",
            "👨\u{200d}👩\u{200d}👧亲子馆",
            "葛\u{e0101}饰",
            "\u{e000}明",
            "王\u{200b}记",
            "\u{30302}明",
            "\u{fffd}",
            "مطعم\u{200f}",
            "\u{378}",
        ] {
            assert_eq!(forbidden(text), None, "{}", text.escape_unicode());
        }
    }

    #[test]
    fn every_forbidden_character_counts() {
        for (text, count) in [
            ("店", 0),
            ("\u{202e}店\u{202c}\u{fffe}", 3),
            ("\u{e0041}\u{e0042}", 2),
        ] {
            assert_eq!(forbidden_count(text), count, "{}", text.escape_unicode());
        }
    }
}
