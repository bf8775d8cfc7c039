//! Who may write which event: asked on the phone before an event is written and on the server when it arrives.
//!
//! The catalogue says what a value must look like; here stands what only the event as a whole can tell. An event is written whole, by one change:
//! nothing is added to it later.

use std::collections::BTreeMap;

use crate::kinds::transfer::table::Step;
use crate::{
    access::{FieldError, Writer},
    codec::change::Scalar,
    id::EntryId,
    key::Key,
};

/// Checks the events among the puts of one change; the first key that breaks a rule, and which.
pub fn check<'w>(
    writer: Writer,
    puts: impl IntoIterator<Item = (&'w str, &'w Scalar)>,
) -> Result<(), (String, FieldError)> {
    let mut events: BTreeMap<EntryId, BTreeMap<&str, &str>> = BTreeMap::new();
    for (key, value) in puts {
        if let (
            Some(Key::Entry {
                list: "events",
                entry,
                field,
            }),
            Some(value),
        ) = (Key::parse(key), value.as_str())
        {
            events.entry(entry).or_default().insert(field, value);
        }
    }
    for (event, fields) in events {
        let broken = |field: &str, error| Err((format!("events/{event}/{field}"), error));
        let Some(step) = fields
            .get("type")
            .and_then(|step| step.parse::<Step>().ok())
        else {
            return broken("type", FieldError::EventIncomplete);
        };
        let row = step.row();
        if let Writer::Person(role) = writer
            && !row.roles.contains(&role)
        {
            return broken("type", FieldError::NotEditable(role));
        }
        if let Some(missing) = row
            .form
            .iter()
            .find(|input| input.required && !fields.contains_key(input.name))
        {
            return broken(missing.name, FieldError::EventIncomplete);
        }
        if let Some(first) = row.one_of.first()
            && !row.one_of.iter().any(|name| fields.contains_key(name))
        {
            return broken(first, FieldError::EventIncomplete);
        }
        if let Some(stray) = fields
            .keys()
            .find(|name| !matches!(**name, "type" | "seen") && !row.takes(name))
        {
            return broken(stray, FieldError::NotInForm);
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{access::Role, kinds::transfer::table::STEPS};

    const EVENT: &str = "0198c0de-0000-7000-8000-000000000001";

    fn check_puts(
        writer: impl Into<Writer>,
        fields: &[(&str, &str)],
    ) -> Result<(), (String, &'static str)> {
        let puts: Vec<_> = fields
            .iter()
            .map(|(name, value)| (format!("events/{EVENT}/{name}"), Scalar::from(*value)))
            .collect();
        let short = |key: String| key.rsplit('/').next().unwrap_or_default().to_owned();
        check(
            writer.into(),
            puts.iter().map(|(key, value)| (key.as_str(), value)),
        )
        .map_err(|(key, error)| (short(key), error.code()))
    }

    #[test]
    fn an_event_is_for_its_roles() {
        for row in STEPS {
            let mut fields: Vec<_> = row.form.iter().map(|input| (input.name, "x")).collect();
            fields.push(("type", row.code));
            for role in Role::ALL {
                let expected = if row.roles.contains(&role) {
                    Ok(())
                } else {
                    Err(("type".to_owned(), "field_not_editable"))
                };
                assert_eq!(check_puts(role, &fields), expected, "{role} {}", row.code);
            }
            assert_eq!(check_puts(Writer::Server, &fields), Ok(()), "{}", row.code);
        }
    }

    #[test]
    fn an_event_is_whole() {
        let (s, o) = (Role::Secretary, Role::Officer);
        let err = |field: &str, code| Err((field.to_owned(), code));
        assert_eq!(
            check_puts(s, &[("member_present", "yes")]),
            err("type", "event_incomplete"),
            "added later"
        );
        assert_eq!(
            check_puts(s, &[("type", "submit")]),
            err("member_present", "event_incomplete")
        );
        assert_eq!(
            check_puts(s, &[("type", "nonsense")]),
            err("type", "event_incomplete")
        );
        assert_eq!(
            check_puts(
                s,
                &[
                    ("type", "submit"),
                    ("member_present", "yes"),
                    ("branch", "一支部")
                ]
            ),
            err("branch", "not_in_form")
        );
        let letter = [
            ("type", "dispatch"),
            ("issued_on", "2026-11-20"),
            ("validity_days", "30"),
            ("dues_until", "2026-11-01"),
        ];
        assert_eq!(
            check_puts(o, &letter),
            err("letter_no", "event_incomplete"),
            "neither number nor reference"
        );
        assert_eq!(
            check_puts(o, &[&letter[..], &[("reference", "SH-1")]].concat()),
            Ok(())
        );
    }
}
