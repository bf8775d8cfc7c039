//! The text of a cell as a sheet means it: without what programs wrap around it, and what is no text.

use std::borrow::Cow;

use super::cells::{ENDS, begins_formula};

/// A text without what programs wrap around it on the way: escapes for signs (`_x000D_`, `&amp;`, `\n`), and an apostrophe that keeps a
/// spreadsheet from reading a number or a formula.
pub fn plain(text: &str) -> Cow<'_, str> {
    unescaped(text, without_apostrophes(text))
}

/// What is left of a text when a sheet that holds it was read, however often: nothing of what no reader takes for text.
pub fn as_read(text: &str) -> Cow<'_, str> {
    if !text.contains(WRAPPED) {
        return Cow::Borrowed(text);
    }
    let mut text = text.to_owned();
    for _ in 0..READ_MAX {
        let trimmed = text.trim();
        let read = if is_picture(trimmed) || is_error(trimmed) || trimmed.contains('\u{fffd}') {
            String::new()
        } else if let Some(value) = spelled_value(trimmed) {
            plain(&value).into_owned()
        } else if is_formula(trimmed) {
            String::new()
        } else if let Some(Scientific::Whole(number)) = scientific(trimmed) {
            number
        } else {
            let rounded = without_extra_digits(trimmed);
            rounded.unwrap_or_else(|| plain(&text).into_owned())
        };
        if read == text {
            break;
        }
        text = read;
    }
    Cow::Owned(text)
}

/// Wrappings around one text that come off.
const READ_MAX: usize = 8;
/// Signs of which one is in whatever a reader does not take for text.
const WRAPPED: [char; 17] = [
    '&', '\\', '_', '<', '%', '\'', '’', '‘', '＇', '=', '＝', '#', '(', 'E', 'e', '.', '\u{fffd}',
];

fn unescaped<'t>(original: &'t str, text: Cow<'t, str>) -> Cow<'t, str> {
    if !original.contains(['&', '\\', '_', '<', '%']) {
        return text;
    }
    let mut text = text;
    for decode in [hex_escapes, entities, code_escapes, breaks] {
        if let Some(decoded) = decode(&text) {
            text = Cow::Owned(decoded);
        }
    }
    text
}

/// `_x000D_` as workbooks write control characters.
fn hex_escapes(text: &str) -> Option<String> {
    text.contains("_x").then(|| {
        let mut out = String::with_capacity(text.len());
        let mut rest = text;
        while let Some(at) = rest.find("_x") {
            out.push_str(&rest[..at]);
            let code = rest
                .get(at + 2..at + 7)
                .and_then(|escape| escape.strip_suffix('_'))
                .and_then(|hex| u32::from_str_radix(hex, 16).ok())
                .and_then(char::from_u32);
            match code {
                Some('\r') if rest[at + 7..].starts_with('\n') => rest = &rest[at + 7..],
                Some('\r') => {
                    out.push('\n');
                    rest = &rest[at + 7..];
                }
                Some(c) => {
                    out.push(c);
                    rest = &rest[at + 7..];
                }
                None => {
                    out.push_str("_x");
                    rest = &rest[at + 2..];
                }
            }
        }
        out + rest
    })
}

/// Longest name of a sign that is looked for between `&` and `;`.
const ENTITY_BYTES_MAX: usize = 10;

/// `&amp;` and its like, also where it was written twice: `&amp;amp;`.
fn entities(text: &str) -> Option<String> {
    let once = |text: &str| -> Option<String> {
        let mut out = String::with_capacity(text.len());
        let (mut rest, mut found) = (text, false);
        while let Some(at) = rest.find('&') {
            out.push_str(&rest[..at]);
            let after = &rest[at + 1..];
            let name = after
                .bytes()
                .take(ENTITY_BYTES_MAX)
                .position(|byte| byte == b';')
                .map(|end| &after[..end]);
            if let Some((name, c)) = name.and_then(|name| Some((name, entity(name)?))) {
                out.push(c);
                rest = &after[name.len() + 1..];
                found = true;
            } else {
                out.push('&');
                rest = after;
            }
        }
        found.then(|| out + rest)
    };
    let first = once(text)?;
    Some(once(&first).unwrap_or(first))
}

fn entity(name: &str) -> Option<char> {
    Some(match name {
        "amp" => '&',
        "lt" => '<',
        "gt" => '>',
        "quot" => '"',
        "apos" => '\'',
        "nbsp" => ' ',
        "middot" => '·',
        "mdash" => '—',
        "ndash" => '–',
        "hellip" => '…',
        _ => {
            let number = name.strip_prefix('#')?;
            let code = match number.strip_prefix(['x', 'X']) {
                Some(hex) => u32::from_str_radix(hex, 16).ok()?,
                None => number.parse().ok()?,
            };
            char::from_u32(code).filter(|c| *c != '\0')?
        }
    })
}

/// `\u738b` as programs write signs that are no ASCII, and `%E7%8E%8B` as addresses of the web have them.
fn code_escapes(text: &str) -> Option<String> {
    let mut out = String::with_capacity(text.len());
    let (mut rest, mut found) = (text, false);
    while let Some(at) = rest.find(['\\', '%']) {
        out.push_str(&rest[..at]);
        let here = &rest[at..];
        let decoded = if here.starts_with('%') {
            percent_run(here)
        } else {
            unicode_run(here)
        };
        if let Some((signs, len)) = decoded {
            out.push_str(&signs);
            rest = &here[len..];
            found = true;
        } else {
            out.push_str(&here[..1]);
            rest = &here[1..];
        }
    }
    found.then(|| out + rest)
}

/// Escapes one behind another, with the pairs that stand for one sign: what they say, and their length.
fn unicode_run(text: &str) -> Option<(String, usize)> {
    let mut units: Vec<u16> = Vec::new();
    let mut rest = text;
    while let Some(after) = rest.strip_prefix("\\u") {
        let Some(unit) = after
            .get(..4)
            .filter(|hex| hex.bytes().all(|b| b.is_ascii_hexdigit()))
            .and_then(|hex| u16::from_str_radix(hex, 16).ok())
        else {
            break;
        };
        units.push(unit);
        rest = &after[4..];
    }
    let signs = String::from_utf16(&units).ok()?;
    let is_text = !signs.is_empty() && !signs.contains('\0');
    is_text.then(|| (signs, text.len() - rest.len()))
}

/// Bytes of signs that are no ASCII: 50%, and %20 in the midst of a text, stay.
fn percent_run(text: &str) -> Option<(String, usize)> {
    let mut bytes: Vec<u8> = Vec::new();
    let mut rest = text;
    while let Some(after) = rest.strip_prefix('%') {
        let Some(byte) = after
            .get(..2)
            .filter(|hex| hex.bytes().all(|b| b.is_ascii_hexdigit()))
            .and_then(|hex| u8::from_str_radix(hex, 16).ok())
        else {
            break;
        };
        bytes.push(byte);
        rest = &after[2..];
    }
    let signs = String::from_utf8(bytes).ok()?;
    let is_text = signs.chars().any(|c| c.is_alphabetic() && !c.is_ascii());
    is_text.then(|| (signs, text.len() - rest.len()))
}

/// `\n` and `<br>` as programs write a line end within a text.
fn breaks(text: &str) -> Option<String> {
    let mut out = String::with_capacity(text.len());
    let (mut rest, mut found) = (text, false);
    while let Some(at) = rest.find(['\\', '<']) {
        out.push_str(&rest[..at]);
        let here = &rest[at..];
        let tag = ["<br>", "<br/>", "<br />", "<BR>", "<BR/>", "<BR />"]
            .iter()
            .find(|tag| here.starts_with(**tag));
        let escape = [
            ("\\r\\n", '\n'),
            ("\\n", '\n'),
            ("\\r", '\n'),
            ("\\t", '\t'),
        ]
        .into_iter()
        .find(|(escape, _)| here.starts_with(escape));
        if let Some(tag) = tag {
            out.push('\n');
            rest = &here[tag.len()..];
            found = true;
        } else if let Some((escape, c)) = escape
            // A path such as C:\new or \\nas\roll is none.
            && !here[escape.len()..].starts_with(|c: char| c.is_ascii_alphabetic())
            && !out.ends_with(['\\', ':'])
        {
            out.push(c);
            rest = &here[escape.len()..];
            found = true;
        } else {
            let sign = here.chars().next().map_or(1, char::len_utf8);
            out.push_str(&here[..sign]);
            rest = &here[sign..];
        }
    }
    found.then(|| out + rest)
}

/// Takes off the apostrophes that our own export puts before what begins like a formula, and those that people put before a number.
fn without_apostrophes(text: &str) -> Cow<'_, str> {
    if !text.contains(['\'', '’', '‘', '＇']) {
        return Cow::Borrowed(text);
    }
    let mut out = String::with_capacity(text.len());
    for (at, piece) in text.split_inclusive(ENDS).enumerate() {
        let bare = piece
            .strip_prefix('\'')
            .filter(|rest| guarded(rest, at == 0))
            .or_else(|| {
                piece
                    .trim_start()
                    .strip_prefix(['\'', '’', '‘', '＇'])
                    .filter(|rest| at == 0 && (numeric(text, rest) || begins_in_han(rest)))
            });
        out.push_str(bare.unwrap_or(piece));
    }
    Cow::Owned(out)
}

fn guarded(rest: &str, first: bool) -> bool {
    first && rest.starts_with(['\t', '\r', '\n']) || begins_formula(rest)
}

/// '王记: no quotation, which has two marks, and no name such as '90s.
fn begins_in_han(rest: &str) -> bool {
    rest.starts_with(|c: char| c.is_alphabetic() && !c.is_ascii())
        && !rest.contains(['\'', '’', '＇'])
}

/// Only digits and what stands between them: a number, a date, a credit code; not a name such as '90s.
fn numeric(text: &str, rest: &str) -> bool {
    let rest = rest.trim();
    let digits = rest.chars().filter(char::is_ascii_digit).count();
    let letters = rest.chars().filter(char::is_ascii_uppercase).count();
    // An apostrophe at both ends is a quotation.
    !text.trim_end().ends_with(['\'', '’', '＇'])
        && digits > 0
        && digits >= letters
        && rest.chars().all(|c| {
            c.is_ascii_digit()
                || c.is_ascii_uppercase()
                || matches!(
                    c,
                    '-' | '—'
                        | '/'
                        | '.'
                        | ' '
                        | '('
                        | ')'
                        | '+'
                        | '、'
                        | ','
                        | '，'
                        | '*'
                        | 'x'
                        | '号'
                        | '（'
                        | '）'
                )
        })
}

/// The text that stands in `="…"`, as programs write it to keep a spreadsheet from reading a number; also `=138…`.
pub fn spelled_value(formula: &str) -> Option<String> {
    let formula = formula.trim();
    let mut rest = formula.strip_prefix(['=', '＝'])?.trim();
    if rest.parse::<f64>().is_ok() && rest.bytes().all(|b| b.is_ascii_digit() || b == b'.') {
        return Some(rest.to_owned());
    }
    if let Some(inner) = rest.strip_prefix("T(").and_then(|r| r.strip_suffix(')')) {
        rest = inner.trim();
    }
    let mut out = String::new();
    loop {
        rest = rest.strip_prefix('"')?;
        loop {
            let end = rest.find('"')?;
            out.push_str(&rest[..end]);
            rest = &rest[end + 1..];
            match rest.strip_prefix('"') {
                Some(after) => {
                    out.push('"');
                    rest = after;
                }
                None => break,
            }
        }
        rest = rest.trim_start();
        if rest.is_empty() {
            return Some(out);
        }
        rest = rest.strip_prefix('&')?.trim_start();
    }
}

/// A text that is a formula, which no spreadsheet has worked out: `=A2&B2`, `=VLOOKUP(A2,Sheet2!A:B,2,0)`.
pub fn is_formula(text: &str) -> bool {
    let text = text.trim();
    // {=A1}, as one over several cells is shown.
    let text = text
        .strip_prefix('{')
        .and_then(|text| text.strip_suffix('}'))
        .unwrap_or(text);
    let Some(rest) = text.strip_prefix('=') else {
        return false;
    };
    let rest = rest.trim_start_matches(['+', '-', '@', '(']);
    let word = rest.trim_start_matches(|c: char| {
        c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '$' | '!' | ':' | '\'')
    });
    let name = &rest[..rest.len() - word.len()];
    let reference = name
        .chars()
        .next()
        .is_some_and(|c| c.is_ascii_alphabetic() || c == '$')
        && name.ends_with(|c: char| c.is_ascii_digit());
    !name.is_empty() && (word.starts_with('(') && rest.contains(')') || reference)
        || rest.contains('!') && reference
}

/// Error values of spreadsheets, in English and as Chinese ones show them.
pub fn is_error(text: &str) -> bool {
    let text = text.trim();
    text.starts_with('#')
        && matches!(
            text.to_ascii_uppercase().as_str(),
            "#N/A"
                | "#REF!"
                | "#VALUE!"
                | "#NAME?"
                | "#DIV/0!"
                | "#NUM!"
                | "#NULL!"
                | "#SPILL!"
                | "#CALC!"
                | "#FIELD!"
                | "#BUSY!"
                | "#BLOCKED!"
                | "#CONNECT!"
                | "#UNKNOWN!"
                | "#GETTING_DATA"
                | "#DATA!"
                | "#EXTERNAL!"
                | "#PYTHON!"
                | "#TIMEOUT!"
                | "#名称?"
                | "#名称？"
                | "#值!"
                | "#引用!"
                | "#ERROR!"
        )
        || text.len() > 4 && text.bytes().all(|byte| byte == b'#')
        || matches!(
            text,
            "Err:502" | "Err:504" | "Err:508" | "Err:509" | "Err:522"
        )
}

/// What WPS and others leave in a cell whose content is a picture.
pub fn is_picture(text: &str) -> bool {
    let text = text.trim_start_matches(['=', ' ']);
    let name = text.strip_prefix("_xlfn.").unwrap_or(text);
    ["DISPIMG(", "IMAGE(", "_xlws.IMAGE("]
        .iter()
        .any(|call| name.starts_with(call))
}

/// A number in scientific notation, as a narrow column leaves it in delimited text: `1.38E+10`.
pub fn scientific(text: &str) -> Option<Scientific> {
    let (mantissa, exponent) = text.trim().split_once(['E', 'e'])?;
    let exponent: usize = exponent.strip_prefix('+')?.parse().ok()?;
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    if whole.len() != 1 || !digits(whole) || !digits(fraction) || exponent > 30 {
        return None;
    }
    let mut number = format!("{whole}{fraction}");
    if fraction.len() < exponent || number.len() > NUMBER_DIGITS_MAX {
        return Some(Scientific::Damaged);
    }
    if fraction.len() > exponent {
        number.insert(exponent + 1, '.');
    }
    Some(Scientific::Whole(number))
}

#[derive(Debug, PartialEq, Eq)]
pub enum Scientific {
    /// Every digit is there.
    Whole(String),
    Damaged,
}

/// Digits of a number that a spreadsheet keeps.
const NUMBER_DIGITS_MAX: usize = 15;

/// A fraction with more digits than a spreadsheet keeps, as programs write 0.1 + 0.2: 0.3. No other text.
pub fn without_extra_digits(text: &str) -> Option<String> {
    let bare = text.strip_prefix('-').unwrap_or(text);
    let (whole, fraction) = bare.split_once('.')?;
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    let is_noisy = digits(whole)
        && digits(fraction)
        && whole.len() <= NUMBER_DIGITS_MAX
        && whole.len() + fraction.len() > NUMBER_DIGITS_MAX
        && (whole == "0" || !whole.starts_with('0'));
    is_noisy.then(|| plain_number(text.parse().ok()?)).flatten()
}

/// A number as people would type it: a telephone number kept as a number must not become 1.6e10, nor 0.1 + 0.2 0.30000000000000004.
/// Nothing where the spreadsheet has lost digits.
pub fn plain_number(number: f64) -> Option<String> {
    if !number.is_finite() || number.abs() >= 1e15 {
        return None;
    }
    // Fifteen digits, as the spreadsheet shows them.
    let rounded: f64 = format!("{number:.14e}").parse().unwrap_or(number);
    if rounded == 0.0 {
        return Some("0".to_owned());
    }
    Some(if rounded.fract() == 0.0 {
        format!("{rounded:.0}")
    } else {
        rounded.to_string()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_programs_wrap_around_a_text_comes_off() {
        for (typed, expected) in [
            ("王记面馆", "王记面馆"),
            ("王记_x000D_\n面馆", "王记\n面馆"),
            ("王记_x000D_面馆", "王记\n面馆"),
            ("王记_x000a_面馆", "王记\n面馆"),
            ("a_x005F_x000D_b", "a_x000D_b"),
            ("x_xyz_x1_", "x_xyz_x1_"),
            ("_x王记_x00", "_x王记_x00"),
            ("王记&amp;李记", "王记&李记"),
            ("王记&amp;amp;李记", "王记&李记"),
            ("A&B", "A&B"),
            ("&#29579;&#x8BB0;&nbsp;&quot;店&quot;", "王记 \"店\""),
            ("&&;&unknown;", "&&;&unknown;"),
            ("一楼\\n二楼\\r\\n三楼", "一楼\n二楼\n三楼"),
            ("一楼<br/>二楼<br>三楼", "一楼\n二楼\n三楼"),
            ("\\u738b\\u8bb0", "王记"),
            ("\\ud842\\udfb7野家", "𠮷野家"),
            ("\\u12 \\u0000", "\\u12 \\u0000"),
            ("%E7%8E%8B%E8%AE%B0", "王记"),
            ("50%E7", "50%E7"),
            ("100%20%", "100%20%"),
            ("'王记", "王记"),
            ("'王记'", "'王记'"),
            ("C:\\new\\name", "C:\\new\\name"),
            ("\\\\nas\\2", "\\\\nas\\2"),
            ("'13800000001", "13800000001"),
            ("’021-64330000", "021-64330000"),
            ("'91310000631696382C", "91310000631696382C"),
            ("'+86 13800000001", "+86 13800000001"),
            ("'=1+1", "=1+1"),
            ("'-店", "-店"),
            ("甲;'=乙", "甲;=乙"),
            ("'\t'=1", "\t=1"),
            ("'90s小店", "'90s小店"),
            ("'1912'", "'1912'"),
            ("老王's店", "老王's店"),
        ] {
            assert_eq!(plain(typed), expected, "{typed}");
        }
    }

    #[test]
    fn values_and_formulas_written_as_text() {
        let values = [
            ("=\"王记面馆\"", Some("王记面馆")),
            ("=\"a\"\"b\"", Some("a\"b")),
            ("=\"138\"&\"0000\"", Some("1380000")),
            ("= \"007\" ", Some("007")),
            ("=T(\"007\")", Some("007")),
            ("=13800000001", Some("13800000001")),
            ("=\"\"", Some("")),
            ("=A1", None),
            ("=\"a\"&B1", None),
            ("=\"a", None),
            ("王记", None),
        ];
        for (typed, expected) in values {
            assert_eq!(spelled_value(typed).as_deref(), expected, "{typed}");
        }
        for formula in [
            "=A2&B2",
            "=VLOOKUP(A2,Sheet2!A:B,2,0)",
            "=$A$2",
            "=Sheet2!B3",
            "=SUM(A1:A9)",
            "=-A1",
            "{=A1}",
            "{=SUM(A1:A9)}",
        ] {
            assert!(is_formula(formula), "{formula}");
        }
        for text in ["=", "==王记==", "=王记=", "=小店", "王=A1", "=1+1"] {
            assert!(!is_formula(text), "{text}");
        }
    }

    #[test]
    fn numbers_as_people_type_them() {
        for (number, expected) in [
            (0.1 + 0.2, Some("0.3")),
            (12.0, Some("12")),
            (-0.0, Some("0")),
            (121.454_645, Some("121.454645")),
            (13_800_000_001.0, Some("13800000001")),
            (999_999_999_999_999.0, Some("999999999999999")),
            (1e15, None),
            (6.222_021e18, None),
            (f64::NAN, None),
            (1e-7, Some("0.0000001")),
        ] {
            assert_eq!(plain_number(number).as_deref(), expected, "{number}");
        }
        for (text, expected) in [
            ("0.30000000000000004", Some("0.3")),
            ("99.99999999999999", Some("100")),
            ("-0.30000000000000004", Some("-0.3")),
            ("121.4390000000000012", Some("121.439")),
            ("12.5", None),
            ("0.3", None),
            ("999999199001010729", None),
            ("2026.03.04", None),
        ] {
            assert_eq!(without_extra_digits(text).as_deref(), expected, "{text}");
        }
        assert_eq!(scientific("1.38E+10"), Some(Scientific::Damaged));
        assert_eq!(
            scientific("1.3800000001E+10"),
            Some(Scientific::Whole("13800000001".into()))
        );
        assert_eq!(scientific("6.22202E+18"), Some(Scientific::Damaged));
        assert_eq!(scientific("1E5"), None);
        assert_eq!(scientific("GE+5"), None);
    }

    #[test]
    fn errors_and_pictures() {
        for text in ["#N/A", "#REF!", "#VALUE!", "#名称?", "######", " #N/A "] {
            assert!(is_error(text), "{text}");
        }
        for text in ["#1楼", "##", "N/A", "#", "王记#"] {
            assert!(!is_error(text), "{text}");
        }
        assert!(is_picture("=DISPIMG(\"ID_1\",1)"));
        assert!(is_picture("_xlfn.DISPIMG(\"ID_1\",1)"));
        assert!(!is_picture("图片"));
    }
}
