//! What looks doubtful in a value that was just saved. Warns and never blocks.

use lianka_sync_core::{
    crdt::record::Edit,
    kinds::{Kind, Meaning},
    lang::Lang,
    values::{
        credit_code::{self, Verdict},
        personal, phone,
        text::{self, TextWarningKind},
    },
};

use super::say;

/// A hint about an edit of a record, if there is one to give.
pub(super) fn hint(kind: Kind, edit: &Edit, lang: Lang) -> Option<String> {
    match edit {
        Edit::Note { text } => note(text, lang),
        Edit::Delete { .. } => None,
        Edit::Put { key, value } => {
            let text = value.as_str()?;
            let meaning = kind.meaning(key)?;
            // Whatever the field is for.
            if let Some(hint) = persons(text, meaning, lang) {
                return Some(hint);
            }
            match meaning {
                Meaning::CreditCode => code_hint(text, lang),
                Meaning::Telephone => phones(text, lang),
                Meaning::Custom | Meaning::Address | Meaning::Remark => note(text, lang),
                _ => None,
            }
        }
    }
}

fn code_hint(code: &str, lang: Lang) -> Option<String> {
    match credit_code::check(code).verdict {
        Verdict::Valid => None,
        Verdict::WrongShape => Some(
            say(
                lang,
                "统一社会信用代码应为 18 位，请核对执照。",
                "A credit code has 18 characters; check the licence.",
            )
            .into(),
        ),
        Verdict::WrongCheck { expected } => Some(match lang {
            Lang::Zh => format!("统一社会信用代码校验不符（末位应为 {expected}），请核对执照。"),
            Lang::En => format!(
                "The credit code's check character does not fit (expected {expected}); check the licence."
            ),
        }),
    }
}

fn phones(numbers: &str, lang: Lang) -> Option<String> {
    let doubtful: Vec<_> = phone::parse(numbers)
        .into_iter()
        .filter(phone::Phone::is_doubtful)
        .map(|phone| phone.raw)
        .collect();
    (!doubtful.is_empty()).then(|| match lang {
        Lang::Zh => format!("电话号码看起来不完整：{}", doubtful.join("、")),
        Lang::En => format!(
            "This does not look like a telephone number: {}",
            doubtful.join(", ")
        ),
    })
}

/// Numbers of persons that belong into no field.
fn persons(words: &str, meaning: Meaning, lang: Lang) -> Option<String> {
    let heading = match meaning {
        // Fifteen digits may be a registration number there.
        Meaning::CreditCode => "统一社会信用代码",
        _ => "",
    };
    let found = personal::find_under(heading, words);
    let (zh, en) = match found.first()?.kind {
        TextWarningKind::IdentityNumber => ("身份证号", "an identity number"),
        TextWarningKind::BankCard => ("银行卡号", "the number of a bank card"),
        TextWarningKind::Passport => ("护照号", "the number of a passport"),
        TextWarningKind::Permit => ("通行证号", "the number of a permit"),
        TextWarningKind::PhoneNumber => return None,
    };
    Some(match lang {
        Lang::Zh => format!("文字中像有{zh}，请勿记录，建议删去。"),
        Lang::En => format!("The text seems to hold {en}; it should not be recorded here."),
    })
}

fn note(words: &str, lang: Lang) -> Option<String> {
    if let Some(hint) = persons(words, Meaning::Note, lang) {
        return Some(hint);
    }
    let found = text::warnings(words);
    let is_number = |warning: &text::TextWarning| warning.kind == TextWarningKind::PhoneNumber;
    found.iter().any(is_number).then(|| {
        say(
            lang,
            "文字中有电话号码，请改记在联系人里（add-contact）。",
            "The text holds a telephone number; keep it with a contact (`add-contact`).",
        )
        .into()
    })
}

#[cfg(test)]
mod tests {
    use lianka_sync_core::codec::change::Scalar;

    use super::*;

    #[test]
    fn a_number_of_a_person_is_told_in_every_field() {
        let hint = |key: &str, text: &str| {
            let value = Scalar::Str(text.to_owned());
            let key = key.to_owned();
            hint(Kind::ShopCard, &Edit::Put { key, value }, Lang::En).unwrap_or_default()
        };
        let contact = "contacts/0198c0de-0000-7000-8000-000000000001";
        for key in [
            "credit_code",
            "sign_name",
            "legal_name",
            "number",
            "opening_hours",
            "custom/fire",
            &format!("{contact}/name"),
            &format!("{contact}/phones"),
        ] {
            for (text, told) in [
                ("999999199001010729", "an identity number"),
                ("999999900101123", "an identity number"),
                ("6217000000000000004", "the number of a bank card"),
                ("E12345678", "the number of a passport"),
            ] {
                let hint = hint(key, text);
                assert!(hint.contains(told) && !hint.contains(text), "{key}: {hint}");
            }
        }
        assert_eq!(hint("credit_code", "91310000631696382C"), "");
        assert_eq!(hint(&format!("{contact}/phones"), "+852 2123 4567"), "");
        assert!(hint(&format!("{contact}/phones"), "1391234567O").contains("1391234567O"));
    }
}
