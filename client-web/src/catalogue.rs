//! The fields of every kind as the page needs them: labels, lists and rules come from the kinds, and nothing is typed again.

use lianka_sync_core::{
    access::Role,
    kinds::{Class, Field, Kind, MergeRule, Rule, Shape},
    lang::Lang,
    limits,
};
use serde_json::{Value, json};

/// Every kind's fields, in the order of the catalogue.
pub fn catalogue(role: Role, lang: Lang) -> Value {
    let kinds = Kind::ALL.iter().map(|kind| {
        let fields: Vec<_> = kind
            .fields()
            .iter()
            .map(|field| described(*kind, field, role, lang))
            .collect();
        let description = kind.description();
        let label = match lang {
            Lang::Zh => description.label_zh,
            Lang::En => description.label_en,
        };
        (
            kind.as_str().to_owned(),
            json!({ "label": label, "fields": fields }),
        )
    });
    Value::Object(kinds.collect())
}

/// One field.
pub fn described(kind: Kind, field: &Field, role: Role, lang: Lang) -> Value {
    let list = match field.shape {
        Shape::Entry { list } => Some(list),
        _ => None,
    };
    json!({
        "name": field.name,
        "label": field.label(lang),
        "list": list,
        "rule": rule(kind, field, lang),
        "required": field.required,
        "sensitive": field.class >= Class::P3,
        "editable": field.editors.contains(&role),
        "creatable": field.creators.contains(&role),
    })
}

fn rule(kind: Kind, field: &Field, lang: Lang) -> Value {
    match field.rule {
        Rule::Text(max) => json!({ "is": "text", "max": max }),
        Rule::Whole(min, max) => json!({ "is": "whole", "min": min, "max": max }),
        Rule::OneOf(words) => {
            let words: Vec<_> = words
                .iter()
                .map(|word| json!({ "word": word, "label": kind.words(word, lang) }))
                .collect();
            json!({ "is": "one_of", "words": words })
        }
        Rule::Date => json!({ "is": "date" }),
        Rule::Minute => json!({ "is": "minute" }),
        Rule::Point => json!({ "is": "point" }),
        Rule::Note => json!({ "is": "note", "max": limits::NOTE_CHARS_MAX }),
        Rule::Flag => json!({ "is": "flag" }),
        Rule::Kind | Rule::Entry => json!({ "is": "reference" }),
    }
}

/// A key as people read it.
pub fn label(kind: Kind, key: &str, lang: Lang) -> String {
    let Some((field, _)) = kind.field(key) else {
        return key.to_owned();
    };
    match field.shape {
        Shape::SetMember | Shape::SetOfDays | Shape::Custom => {
            let member = key.split_once('/').map_or("", |(_, member)| member);
            format!("{} {member}", field.label(lang))
        }
        Shape::Register | Shape::Entry { .. } => field.label(lang).to_owned(),
    }
}

/// Whether a field is for people to read and write on a card: neither what the record is, nor what it is made of.
pub fn is_shown(field: &Field) -> bool {
    use lianka_sync_core::kinds::Meaning;
    field.shape == Shape::Register
        && field.merge != MergeRule::Text
        && !matches!(
            field.meaning,
            Meaning::Identity | Meaning::Grid | Meaning::Succession
        )
}
