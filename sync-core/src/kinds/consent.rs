//! Consent: a sensitive field of a person is written only with that person's consent on record; a withdrawal wins over every grant.

use std::collections::BTreeSet;

use crate::{
    access::FieldError,
    crdt::view::View,
    id::EntryId,
    key::Key,
    kinds::kind::{Broken, Class, Field, Meaning, MergeRule, Rule, Writing, log},
};

/// The decision that gives consent; every other one withdraws it.
pub const GRANT: &str = "grant";
/// The decision that takes it back.
pub const WITHDRAW: &str = "withdraw";
pub(crate) const DECISION: &[&str] = &[GRANT, WITHDRAW];
/// The field that names the person.
pub const OF: &str = "contact";
/// The field that says what for.
pub const SCOPE: &str = "scope";
/// The field that says whether.
pub const DECIDED: &str = "decision";
/// The field that says how the person was asked.
pub const CHANNEL: &str = "channel";
/// The field that says what the person was shown.
pub const WORDING: &str = "wording";
/// The field that says when.
pub const GIVEN_ON: &str = "given_on";

/// The fields of a consent in `list`, but for the one that names the person.
pub(crate) const fn fields(list: &'static str) -> [Field; 5] {
    [
        log(
            list,
            SCOPE,
            "同意范围",
            "consent scope",
            Class::P2,
            Rule::Text(60),
        )
        .means(Meaning::ConsentScope),
        log(
            list,
            WORDING,
            "告知文本版本",
            "wording version",
            Class::P2,
            Rule::Text(60),
        ),
        log(
            list,
            CHANNEL,
            "同意方式",
            "consent channel",
            Class::P2,
            Rule::Text(40),
        ),
        log(
            list,
            DECIDED,
            "同意或撤回",
            "grant or withdrawal",
            Class::P2,
            Rule::OneOf(DECISION),
        )
        .means(Meaning::ConsentDecision),
        log(
            list,
            GIVEN_ON,
            "同意日期",
            "given on",
            Class::P2,
            Rule::Date,
        )
        .means(Meaning::Date),
    ]
}

/// The keys and values of a consent that is given, of the record's one person.
pub fn granted(
    list: &str,
    entry: EntryId,
    scope: &str,
    channel: &str,
    wording: Option<&str>,
) -> Vec<(String, String)> {
    let given = [
        (SCOPE, Some(scope)),
        (DECIDED, Some(GRANT)),
        (CHANNEL, Some(channel)),
        (WORDING, wording),
    ];
    given
        .into_iter()
        .filter_map(|(field, value)| Some((format!("{list}/{entry}/{field}"), value?.to_owned())))
        .collect()
}

/// Checks every sensitive field of an entry of `persons` that is written against the entries of `consents`: the consent's scope is the
/// field's name.
pub fn check(
    fields: &[Field],
    persons: &str,
    consents: &str,
    writing: &Writing<'_>,
) -> Result<(), Broken> {
    let mut given: Option<Vec<Consent>> = None;
    for (key, _) in writing.puts {
        let Some(Key::Entry { list, entry, field }) = Key::parse(key) else {
            continue;
        };
        let sensitive = list == persons
            && fields.iter().any(|known| {
                known.name == field && known.class == Class::P3 && known.merge != MergeRule::Log
            });
        if !sensitive {
            continue;
        }
        let given = given.get_or_insert_with(|| Consent::all(consents, writing));
        if !stands(given, entry, field) {
            return Err(Broken {
                key: (*key).to_owned(),
                error: FieldError::ConsentMissing,
            });
        }
    }
    Ok(())
}

/// The keys in `persons` that a withdrawal in `consents` stands against, whether they hold a value or not.
pub fn withdrawn(view: &View, persons: &str, consents: &str) -> BTreeSet<String> {
    let of = |entry| {
        let text = |field: &str| view.entry_text(consents, entry, field);
        let ends = text(DECIDED).is_some_and(|decision| decision != GRANT);
        let (person, scope) = (text(OF)?, text(SCOPE)?);
        ends.then(|| format!("{persons}/{person}/{scope}"))
    };
    view.entries(consents).into_iter().filter_map(of).collect()
}

struct Consent {
    of: Option<String>,
    scope: Option<String>,
    grants: bool,
}

impl Consent {
    fn all(list: &str, writing: &Writing<'_>) -> Vec<Self> {
        (writing.entries)(list)
            .into_iter()
            .filter_map(|entry| {
                let text = |field: &str| (writing.text)(&format!("{list}/{entry}/{field}"));
                Some(Self {
                    grants: text(DECIDED)? == GRANT,
                    of: text(OF),
                    scope: text(SCOPE),
                })
            })
            .collect()
    }
}

fn stands(given: &[Consent], person: EntryId, scope: &str) -> bool {
    let person = person.to_string();
    let mut theirs = given
        .iter()
        .filter(|consent| {
            consent.of.as_deref() == Some(&person) && consent.scope.as_deref() == Some(scope)
        })
        .peekable();
    theirs.peek().is_some() && theirs.all(|consent| consent.grants)
}
