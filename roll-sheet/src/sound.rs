//! What a row says, without what nobody could read or what cannot have been observed: each left out and told of, the rest stays.

use lianka_sync_core::{
    access::FieldError,
    authority::{self, Said},
    codec::change::Scalar,
    id::EntryId,
    kinds::{Kind, Meaning},
    lang::Lang,
};

use crate::{ColumnTarget, Problem, ProblemCode, RollColumn, RollRow, RollValue};

/// Leaves out of a row what a desk could not type either.
pub(crate) fn sound(
    shop: &mut RollRow,
    columns: &[RollColumn],
    said: Said,
    problems: &mut Vec<Problem>,
) {
    let row = shop.row;
    let mut tell = |heading: Option<&str>, error: &FieldError| {
        let code = match error {
            FieldError::InFuture | FieldError::TooLongAgo => ProblemCode::DateImplausible,
            FieldError::PersonalNumber => ProblemCode::PersonalNumber,
            _ => ProblemCode::ValueRefused,
        };
        let (zh, en) = words(error);
        problems.push(Problem::new(
            code,
            row,
            heading,
            format!("{zh}，未写入字段"),
            format!("{en}; the field stays empty"),
        ));
    };
    shop.values.retain(|(key, value)| {
        let value = match value {
            RollValue::Text(text) => Scalar::Str(text.clone()),
            RollValue::Flag => Scalar::Bool(true),
        };
        let checked = authority::check_new_value(Kind::ShopCard, key, &value, said);
        if let Err(error) = &checked {
            tell(heading(columns, key), error);
        }
        checked.is_ok()
    });
    for contact in &mut shop.contacts {
        contact.0.retain(|(field, text)| {
            let key = field.key_in(EntryId::default());
            let value = Scalar::Str(text.clone());
            let checked = authority::check_new_value(Kind::ShopCard, &key, &value, said);
            if let Err(error) = &checked {
                let column = columns.iter().find(
                    |column| matches!(&column.target, ColumnTarget::Contact { part, .. } if part == field),
                );
                tell(column.map(|column| column.heading.as_str()), error);
            }
            checked.is_ok()
        });
    }
    shop.contacts.retain(|contact| {
        [Meaning::PersonName, Meaning::Telephone]
            .iter()
            .any(|meaning| contact.get(*meaning).is_some())
    });
    let note = shop.note.as_deref().unwrap_or_default();
    if let Err(broken) = authority::check_new_note("", note) {
        tell(heading(columns, &broken.key), &broken.error);
        shop.note = None;
    }
}

/// The heading of the column from which the value of a key came; of a part of an address, the address's.
fn heading<'c>(columns: &'c [RollColumn], key: &str) -> Option<&'c str> {
    let of = |wanted: &dyn Fn(&ColumnTarget) -> bool| {
        let column = columns.iter().find(|column| wanted(&column.target));
        column.map(|column| column.heading.as_str())
    };
    let custom = key.split_once('/').map(|(_, name)| name);
    let field = Kind::ShopCard.field(key).map(|(field, _)| field)?;
    of(&|target| match target {
        ColumnTarget::Field(own) => *own == field,
        ColumnTarget::Custom(name) => {
            field.meaning == Meaning::Custom && Some(name.as_str()) == custom
        }
        _ => false,
    })
    .or_else(|| {
        of(&|target| {
            let is_part = matches!(field.meaning, Meaning::AddressPart(_));
            is_part && matches!(target, ColumnTarget::Field(own) if own.meaning == Meaning::Address)
        })
    })
}

/// In words for whoever looks at a sheet, not at a phone.
fn words(error: &FieldError) -> (String, String) {
    match error {
        FieldError::InFuture => ("这一天还没有到".into(), "the day has not come".into()),
        FieldError::TooLongAgo => (
            "这一天过于久远，请核对年份".into(),
            "the day lies too long ago: look at the year".into(),
        ),
        FieldError::Empty => (
            "只有看不见的字符".into(),
            "nothing but invisible characters".into(),
        ),
        error => (error.message(Lang::Zh), error.message(Lang::En)),
    }
}
