//! What looks doubtful in a value that was just saved. Warns and never blocks.

use lianka_sync_core::{
    crdt::record::Edit,
    kinds::{Kind, Meaning},
    lang::Lang,
    values::{
        credit_code::{self, Verdict},
        phone,
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
            match kind.meaning(key)? {
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
        .filter(|phone| !phone.is_recognised())
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

fn note(words: &str, lang: Lang) -> Option<String> {
    let found = text::warnings(words);
    let has = |kind| found.iter().any(|warning| warning.kind == kind);
    if has(TextWarningKind::IdentityNumber) {
        Some(
            say(
                lang,
                "文字中像有身份证号，请勿记录，建议删去。",
                "The text seems to hold an identity number; it should not be recorded here.",
            )
            .into(),
        )
    } else if has(TextWarningKind::PhoneNumber) {
        Some(
            say(
                lang,
                "文字中有电话号码，请改记在联系人里（add-contact）。",
                "The text holds a telephone number; keep it with a contact (`add-contact`).",
            )
            .into(),
        )
    } else {
        None
    }
}
