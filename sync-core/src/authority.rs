//! Who may touch which field, and what a value must look like: one table ([`crate::kinds`]) read the same way on the phone, to
//! prevent, and on the server, to refuse.

use unicode_normalization::is_nfc;

use crate::{
    access::{FieldError, Writer},
    codec::change::Scalar,
    key::Key,
    kinds::{Field, Kind, MergeRule, Rule, Shape},
    limits, values as field,
};

/// Whether `writer` may write `value` (`None`: delete) to `key` of a record of `kind`.
///
/// `creating`: in the change that creates the record. What only the record can tell (already written, consent, whether a required field
/// keeps a value) is checked by [`crate::crdt::merge`].
pub fn check_write(
    kind: Kind,
    writer: impl Into<Writer>,
    creating: bool,
    key: &str,
    value: Option<&Scalar>,
) -> Result<&'static Field, FieldError> {
    if key.len() > limits::KEY_BYTES_MAX {
        return Err(FieldError::Unknown);
    }
    let (field, parsed) = kind.field(key).ok_or(FieldError::Unknown)?;
    check_member(field, &parsed)?;
    check_writer(field, writer.into(), creating)?;
    match value {
        Some(value) => check_value(field, value)?,
        None if matches!(field.merge, MergeRule::WriteOnce | MergeRule::Log) => {
            return Err(FieldError::WriteOnce);
        }
        None => {}
    }
    Ok(field)
}

/// Whether `writer` may write to the note of a record of `kind`.
pub fn check_note(
    kind: Kind,
    writer: impl Into<Writer>,
    creating: bool,
) -> Result<&'static Field, FieldError> {
    let field = kind
        .fields()
        .iter()
        .find(|field| field.merge == MergeRule::Text)
        .ok_or(FieldError::Unknown)?;
    check_writer(field, writer.into(), creating).map(|()| field)
}

fn check_writer(field: &Field, writer: Writer, creating: bool) -> Result<(), FieldError> {
    let Writer::Person(role) = writer else {
        return Ok(());
    };
    let allowed = if creating {
        field.creators
    } else {
        field.editors
    };
    if allowed.contains(&role) {
        Ok(())
    } else if field.merge == MergeRule::WriteOnce && !creating {
        Err(FieldError::WriteOnce)
    } else {
        Err(FieldError::NotEditable(role))
    }
}

fn check_member(field: &Field, key: &Key<'_>) -> Result<(), FieldError> {
    let Key::Member { member, .. } = key else {
        return Ok(());
    };
    match field.shape {
        Shape::SetOfDays if !is_iso_day(member) => Err(FieldError::NotADate),
        Shape::SetMember | Shape::Custom => check_text(member, limits::MEMBER_CHARS_MAX),
        _ => Ok(()),
    }
}

/// Whether `value` obeys the field's rule.
pub fn check_value(field: &Field, value: &Scalar) -> Result<(), FieldError> {
    if field.rule == Rule::Flag {
        return if *value == Scalar::Bool(true) {
            Ok(())
        } else {
            Err(FieldError::WrongType)
        };
    }
    let Scalar::Str(text) = value else {
        return Err(FieldError::WrongType);
    };
    match field.rule {
        Rule::Text(max) => check_text(text, max),
        Rule::Whole(min, max) => match text.parse::<u32>() {
            Ok(number) if (min..=max).contains(&number) && number.to_string() == *text => Ok(()),
            _ => Err(FieldError::OutOfRange(min, max)),
        },
        Rule::OneOf(list) if list.contains(&text.as_str()) => Ok(()),
        Rule::OneOf(list) => Err(FieldError::NotInList(list)),
        Rule::Kind if text.parse::<Kind>().is_ok() => Ok(()),
        Rule::Kind => Err(FieldError::NotInList(Kind::NAMES)),
        Rule::Date if is_iso_day(text) => Ok(()),
        Rule::Date => Err(FieldError::NotADate),
        Rule::Minute if field::date::minute(text).is_some() => Ok(()),
        Rule::Minute => Err(FieldError::NotATime),
        Rule::Point => text
            .parse::<field::geo::GeoPoint>()
            .map(|_| ())
            .map_err(|_| FieldError::NotAPoint),
        Rule::Entry => match text.parse::<crate::id::EntryId>() {
            Ok(entry) if entry.to_string() == *text => Ok(()),
            _ => Err(FieldError::NotAnEntry),
        },
        // A scalar can never stand where the Text object belongs.
        Rule::Flag | Rule::Note => Err(FieldError::WrongType),
    }
}

/// Stored days have one spelling.
fn is_iso_day(text: &str) -> bool {
    field::date::parse(text).is_some_and(|date| field::date::to_iso(date) == text)
}

fn check_text(text: &str, chars_max: usize) -> Result<(), FieldError> {
    if text.is_empty() {
        Err(FieldError::Empty)
    } else if text.chars().count() > chars_max {
        Err(FieldError::TooLong(chars_max))
    } else if text.chars().any(char::is_control) {
        Err(FieldError::ControlCharacter)
    } else if !is_nfc(text) {
        Err(FieldError::NotNfc)
    } else {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::access::Role;

    fn check(
        role: Role,
        creating: bool,
        key: &str,
        value: Option<&str>,
        expected: Result<(), &str>,
    ) {
        let value = value.map(Scalar::from);
        let got = check_write(Kind::ShopCard, role, creating, key, value.as_ref())
            .map(|_| ())
            .map_err(|error| error.code());
        assert_eq!(got, expected, "{role} {key}");
    }

    #[test]
    fn roles_and_rules() {
        use Role::{Admin, Auditor, Officer, Reviewer, Secretary};
        check(Secretary, false, "sign_name", Some("王记包子"), Ok(()));
        check(Secretary, false, "sign_name", None, Ok(()));
        check(Secretary, true, "grid", Some("康平01"), Ok(()));
        check(
            Secretary,
            false,
            "grid",
            Some("康平01"),
            Err("field_not_editable"),
        );
        check(Reviewer, false, "grid", Some("康平01"), Ok(()));
        check(Admin, false, "kind", Some("shop_card"), Err("write_once"));
        check(
            Auditor,
            false,
            "sign_name",
            Some("x"),
            Err("field_not_editable"),
        );
        check(
            Officer,
            false,
            "sign_name",
            Some("x"),
            Err("field_not_editable"),
        );
        check(Secretary, false, "sign_name", Some(""), Err("value_empty"));
        check(
            Secretary,
            false,
            "sign_name",
            Some(&"长".repeat(100)),
            Ok(()),
        );
        check(
            Secretary,
            false,
            "sign_name",
            Some(&"长".repeat(101)),
            Err("value_too_long"),
        );
        check(
            Secretary,
            false,
            "sign_name",
            Some("e\u{301}"),
            Err("value_not_nfc"),
        );
        check(
            Secretary,
            false,
            "sign_name",
            Some("a\nb"),
            Err("value_control_character"),
        );
        check(Secretary, false, "sign_name", Some("𠮷野家"), Ok(()));
        check(
            Secretary,
            false,
            "occupancy",
            Some("倒闭"),
            Err("value_not_in_list"),
        );
        check(
            Secretary,
            false,
            "occupancy_observed_on",
            Some("2026-02-30"),
            Err("value_not_a_date"),
        );
        check(
            Secretary,
            false,
            "point",
            Some("geo:31.2,121.4"),
            Err("value_not_a_point"),
        );
        check(
            Secretary,
            false,
            "point",
            Some("geo:31.2,121.4;crs=gcj02;u=12"),
            Ok(()),
        );
        check(
            Secretary,
            false,
            "tags/late_night",
            Some("yes"),
            Err("wrong_type"),
        );
        check(
            Secretary,
            false,
            "confirmations/2026-13-01",
            None,
            Err("value_not_a_date"),
        );
        check(Secretary, false, "nope", Some("x"), Err("unknown_field"));
        check(Secretary, false, "note", Some("x"), Err("wrong_type"));
    }

    #[test]
    fn what_is_written_once_is_not_taken_back() {
        let consent = "consent/0198c0de-0000-7000-8000-00000000000a/contact";
        check(
            Role::Secretary,
            false,
            consent,
            Some("0198c0de-0000-7000-8000-00000000000b"),
            Ok(()),
        );
        check(Role::Secretary, false, consent, None, Err("write_once"));
        for role in Role::ALL {
            check(role, false, "street", None, Err("write_once"));
        }
        // Whatever the server may write, it takes back no line of a log either.
        let by_the_server = |key: &str| {
            check_write(Kind::ShopCard, Writer::Server, false, key, None)
                .map(|_| ())
                .map_err(|error| error.code())
        };
        assert_eq!(
            (
                by_the_server(consent),
                by_the_server("street"),
                by_the_server("unit")
            ),
            (Err("write_once"), Err("write_once"), Ok(()))
        );
    }

    /// One spelling each: else two phones that mean the same stand as a conflict.
    #[test]
    fn a_value_has_one_spelling() {
        let consent = "consent/0198c0de-0000-7000-8000-00000000000a/contact";
        check(
            Role::Secretary,
            false,
            consent,
            Some("0198C0DE-0000-7000-8000-00000000000B"),
            Err("value_not_an_entry"),
        );
        let days = |text: &str| {
            let key = "events/0198c0de-0000-7000-8000-00000000000a/validity_days";
            check_write(
                Kind::TransferRequest,
                Role::Officer,
                false,
                key,
                Some(&text.into()),
            )
            .map(|_| ())
            .map_err(|error| error.code())
        };
        for (text, expected) in [
            ("1", Ok(())),
            ("90", Ok(())),
            ("0", Err("value_out_of_range")),
            ("9999999", Err("value_out_of_range")),
        ] {
            assert_eq!(days(text), expected, "{text}");
        }
        for spelling in ["090", "+90", " 90", "90.0", "九十", ""] {
            assert_eq!(days(spelling), Err("value_out_of_range"), "{spelling:?}");
        }
    }

    #[test]
    fn no_key_is_longer_than_its_maximum() {
        let key = |bytes: usize| format!("custom/{}", "x".repeat(bytes - "custom/".len()));
        check(
            Role::Secretary,
            false,
            &key(limits::MEMBER_CHARS_MAX + "custom/".len()),
            Some("x"),
            Ok(()),
        );
        check(
            Role::Secretary,
            false,
            &key(limits::MEMBER_CHARS_MAX + "custom/".len() + 1),
            Some("x"),
            Err("value_too_long"),
        );
        check(
            Role::Secretary,
            false,
            &key(limits::KEY_BYTES_MAX + 1),
            Some("x"),
            Err("unknown_field"),
        );
    }
}
