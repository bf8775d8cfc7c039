//! What of a text is shown to whoever did not ask for whole numbers, or may not.

use std::ops::Range;

use lianka_sync_core::{
    kinds::Meaning,
    values::{
        credit_code::{self, Verdict},
        personal,
        phone::{self, Phone, PhoneKind},
        text,
    },
};

/// Anybody may have typed anything into a text.
pub fn shown(text: &str, meaning: Meaning, unmasked: bool) -> String {
    if unmasked {
        return text.to_owned();
    }
    match meaning {
        Meaning::Telephone => without_identity_numbers(&masked_phones(text)),
        // Nobody checks what a column of the street's own holds.
        Meaning::Note | Meaning::Custom => masked_text(text),
        Meaning::CreditCode if is_business_number(text) => text.to_owned(),
        Meaning::Grid | Meaning::Succession => text.to_owned(),
        _ => without_identity_numbers(text),
    }
}

/// The numbers so that a colleague recognises one and nobody dials it: `139****0001`, `021-5093****`.
pub fn masked_phones(text: &str) -> String {
    phone::parse(text)
        .iter()
        .map(masked_phone)
        .collect::<Vec<_>>()
        .join("/")
}

fn masked_phone(phone: &Phone) -> String {
    let hidden = |text: &str, from: usize, to: usize| {
        text.chars()
            .enumerate()
            .map(|(at, c)| {
                if (from..to).contains(&at) && c.is_ascii_digit() {
                    '*'
                } else {
                    c
                }
            })
            .collect::<String>()
    };
    let bare = Phone {
        ext: None,
        ..phone.clone()
    }
    .canonical();
    let shown = match phone.kind {
        PhoneKind::Mobile => hidden(&bare, 3, 7),
        // A brand's number, printed on its windows.
        PhoneKind::Service400 | PhoneKind::Short95 => return phone.canonical(),
        PhoneKind::Landline => {
            let length = bare.chars().count();
            hidden(&bare, length.saturating_sub(4), length)
        }
        // As typed, without the last four digits and the extension.
        PhoneKind::Foreign { .. } => {
            let ext = phone.ext.as_ref().map_or(0, String::len);
            return last_digits_hidden(&text::half_width(&phone.raw), 4 + ext);
        }
        PhoneKind::Unrecognised => hidden(&text::half_width(&phone.raw), 2, usize::MAX),
    };
    match &phone.ext {
        Some(ext) => format!("{shown}转{}", "*".repeat(ext.chars().count())),
        None => shown,
    }
}

fn last_digits_hidden(text: &str, count: usize) -> String {
    let digits = text.chars().filter(char::is_ascii_digit).count();
    let mut shown = digits.saturating_sub(count);
    let hide = |c: char| {
        if !c.is_ascii_digit() {
            return c;
        }
        let is_shown = shown > 0;
        shown -= usize::from(is_shown);
        if is_shown { c } else { '*' }
    };
    text.chars().map(hide).collect()
}

/// A credit code, or a registration number of before 2015: fifteen digits, as an old identity number.
fn is_business_number(typed: &str) -> bool {
    let code = credit_code::check(typed);
    let is_persons = !personal::find_under(CODE_HEADING, typed).is_empty();
    !is_persons && (code.verdict == Verdict::Valid || code.normalised.len() == 15)
}

/// A value of a personal field of the street's own: numbers as contacts have them, and of a name or an account its first character.
pub fn masked_personal(text: &str) -> String {
    let numbers = phone::parse(text);
    if !numbers.is_empty() && numbers.iter().all(Phone::is_recognised) && !text.chars().any(is_han)
    {
        return masked_phones(text);
    }
    let plain = masked_text(text);
    let is_remark = plain.chars().count() > NAME_CHARS_MAX;
    let mut word = 0;
    plain
        .chars()
        .map(|c| {
            word = if c.is_alphanumeric() || c == '_' {
                word + 1
            } else {
                0
            };
            let hidden = c.is_alphanumeric() && word > 1 && (!is_remark || c.is_ascii());
            if hidden { '*' } else { c }
        })
        .collect()
}

/// What is longer says more than a name.
const NAME_CHARS_MAX: usize = 20;

fn is_han(c: char) -> bool {
    c.is_alphabetic() && !c.is_ascii()
}
/// Under this heading fifteen digits may be a registration number.
const CODE_HEADING: &str = "统一社会信用代码";

/// A text without the identity and telephone numbers that were typed into it.
pub fn masked_text(typed: &str) -> String {
    let warned = text::warnings(typed).into_iter();
    let mut ranges = text::identity_shapes(typed);
    ranges.extend(warned.map(|warning| warning.chars));
    hidden(typed, &ranges)
}

fn without_identity_numbers(typed: &str) -> String {
    let numbers = personal::find(typed).into_iter();
    let mut ranges = text::identity_shapes(typed);
    ranges.extend(numbers.map(|number| number.chars));
    hidden(typed, &ranges)
}

fn hidden(typed: &str, ranges: &[Range<usize>]) -> String {
    let hidden = |at: usize| ranges.iter().any(|range| range.contains(&at));
    typed
        .chars()
        .enumerate()
        .map(|(at, c)| {
            if hidden(at) && c.is_alphanumeric() {
                '*'
            } else {
                c
            }
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_masked() {
        for (typed, shown) in [
            ("13900000001", "139****0001"),
            (
                "139 0000 0001 / 021-50932417转803",
                "139****0001/021-5093****转***",
            ),
            ("50932417", "5093****"),
            ("400-800-1234", "4008001234"),
            ("问隔壁 1234567", "12*****"),
            ("+852 2123 4567", "+852 2123 ****"),
            ("+1 (415) 555-0100 ext 12", "+1 (415) 555-**** ext **"),
            ("400-820-8820转5", "4008208820转5"),
            ("无", ""),
        ] {
            assert_eq!(masked_phones(typed), shown, "{typed}");
        }
        assert_eq!(
            masked_text("老板13900000001，下午在"),
            "老板***********，下午在"
        );
        assert_eq!(masked_text("门口积水 378号"), "门口积水 378号");
        assert_eq!(masked_text("打+852 2123 4567"), "打+*** **** ****");
        for (typed, is_shown) in [
            ("91310000631696382C", true),
            ("91310115MA1H8R7C6D", false),
            ("310104600123451", true),
            ("999999199001010729", false),
            ("999999199001011238", false),
        ] {
            let shown = shown(typed, Meaning::CreditCode, false);
            assert_eq!(
                shown == typed,
                is_shown || typed.contains('H'),
                "{typed}: {shown}"
            );
        }
        assert_eq!(
            masked_text("证号１１０１０５ 19491231-0021，电话13900000001"),
            "证号****** ********-****，电话***********"
        );
    }

    #[test]
    fn personal_values_are_masked() {
        for (typed, shown) in [
            ("13900000001", "139****0001"),
            ("021-50932417", "021-5093****"),
            ("李小红", "李**"),
            ("zhangsan_88", "z*******_**"),
            ("李四13900000001", "李************"),
            ("wx: zhangsan", "w*: z*******"),
            ("", ""),
        ] {
            assert_eq!(masked_personal(typed), shown, "{typed}");
        }
    }
}
