//! Who may touch which field, and what a value must look like: one table ([`crate::kinds`]) read the same way on the phone, to
//! prevent, and on the server, to refuse.
//!
//! [`check_write`] holds for every change, also for those that carry on what was accepted by older rules. [`check_new`] is stricter, and holds
//! for what a person says for the first time: an edit on a phone, at a desk, in a sheet. What the office copies (a merge of cards, an undo, a
//! value that a reviewer chooses) is not new, so that nothing stored stands in anybody's way.

use unicode_normalization::is_nfc;

use crate::{
    access::{FieldError, Writer},
    codec::change::{Action, Change, Scalar},
    key::{self, Key},
    kinds::{Broken, Days, Field, Kind, Meaning, MergeRule, Rule, Shape, transfer::calendar},
    limits,
    time::{DeviceTime, ServerTime},
    values::{
        self as field, characters,
        date::{Outside, Span},
        personal,
    },
};

/// How many days before it came to the office something may have been observed, if the author's clock says so as well: a clock that was never
/// set shows a year long ago.
pub const OBSERVED_DAYS_MAX: u32 = 400;
/// How many days before today anything may be dated: nobody used the program, and no letter is older.
pub const PAST_DAYS_MAX: u32 = 20 * 366;
/// How many days ahead dues may be paid.
pub const PAID_AHEAD_DAYS_MAX: u32 = 2 * 366;
/// How many days a phone's calendar may be ahead of the office's: clocks differ, and it is midnight somewhere in between.
pub const AHEAD_DAYS_MAX: u32 = 1;

/// Who says something new, and when by the office's clock.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Said {
    /// A phone, which may be set to the wrong day.
    OnPhone {
        /// The office's time.
        at: ServerTime,
        /// The time by the phone, where it says one.
        clock: Option<DeviceTime>,
    },
    /// A desk, or a sheet that a desk imports.
    AtOffice(ServerTime),
    /// On a phone that does not know the office's time.
    Somewhen,
}

impl Said {
    /// What a phone's change says that came at this time.
    pub fn in_change(change: &Change, at: ServerTime) -> Self {
        Self::OnPhone {
            at,
            clock: change.time,
        }
    }

    /// The days between which a day of this sort may lie.
    fn span(self, days: Days) -> Option<Span> {
        let (today, before, ahead) = match self {
            Self::OnPhone { at, clock } => {
                let today = calendar::day_of(at);
                let usual = Span::around(today, OBSERVED_DAYS_MAX, u32::MAX);
                // A day of years ago that somebody typed on a phone that knows what day it is was meant.
                let is_slow = clock.is_none_or(|clock| {
                    let day = calendar::day_of(ServerTime::from_unix_ms(clock.unix_ms()));
                    usual.check(day).is_err()
                });
                let before = if is_slow {
                    OBSERVED_DAYS_MAX
                } else {
                    PAST_DAYS_MAX
                };
                (today, before, AHEAD_DAYS_MAX)
            }
            Self::AtOffice(at) => (calendar::day_of(at), PAST_DAYS_MAX, 0),
            Self::Somewhen => return None,
        };
        Some(match days {
            Days::Observed => Span::around(today, before, ahead),
            // Whether it is later than today is the ruling's to say; here a wrong year is caught.
            Days::Signed => Span::around(today, PAST_DAYS_MAX, AHEAD_DAYS_MAX),
            Days::Paid => Span::around(today, PAST_DAYS_MAX, PAID_AHEAD_DAYS_MAX),
        })
    }
}

/// Whether the writes of a person's new edit may be taken: what [`check_write`] does not ask.
pub fn check_new<'w>(
    kind: Kind,
    puts: impl IntoIterator<Item = (&'w str, &'w Scalar)>,
    said: Said,
) -> Result<(), Broken> {
    for (key, value) in puts {
        check_new_value(kind, key, value, said).map_err(|error| Broken {
            key: key.to_owned(),
            error,
        })?;
    }
    Ok(())
}

/// Whether [`check_write`] takes every put of a change: what it refuses is told by its own code, whatever else is wrong with it.
pub fn may_write(kind: Kind, writer: Writer, creating: bool, change: &Change) -> bool {
    change.ops.iter().all(|op| match &op.action {
        Action::Put { key, value } => check_write(kind, writer, creating, key, Some(value)).is_ok(),
        _ => true,
    })
}

/// The same as [`check_new`], of a change as it came from a phone.
pub fn check_new_change(kind: Kind, change: &Change, said: Said) -> Result<(), Broken> {
    let puts = change.ops.iter().filter_map(|op| match &op.action {
        Action::Put { key, value } => Some((key.as_str(), value)),
        _ => None,
    });
    check_new(kind, puts, said)?;
    let typed = typed(change);
    // A flag's tags are typed one after another.
    check_characters("", &typed.concat())?;
    // What was typed into different places makes no number.
    typed.iter().try_for_each(|run| check_numbers("", run))
}

/// What a change puts into the note, each run of characters that stand one behind another.
fn typed(change: &Change) -> Vec<String> {
    let mut runs: Vec<String> = Vec::new();
    let mut last = None;
    for (index, op) in change.ops.iter().enumerate() {
        let Action::Insert { after, text, .. } = &op.action else {
            continue;
        };
        match runs.last_mut() {
            Some(run) if after.is_some() && *after == last => run.push_str(text),
            _ => runs.push(text.clone()),
        }
        last = Some(change.op_id(index));
    }
    runs
}

/// Whether a note may be changed so: nothing forbidden comes in, and no number of a person; what stood there may stay.
pub fn check_new_note(before: &str, after: &str) -> Result<(), Broken> {
    check_characters(before, after)?;
    check_numbers(before, after)
}

fn check_characters(before: &str, after: &str) -> Result<(), Broken> {
    if characters::forbidden_count(after) > characters::forbidden_count(before) {
        return Err(of_note(FieldError::ForbiddenCharacter));
    }
    Ok(())
}

fn check_numbers(before: &str, after: &str) -> Result<(), Broken> {
    let found = persons_numbers("", after);
    let stood = if found.is_empty() {
        Vec::new()
    } else {
        persons_numbers("", before)
    };
    if found.iter().all(|number| stood.contains(number)) {
        return Ok(());
    }
    Err(of_note(FieldError::PersonalNumber))
}

fn of_note(error: FieldError) -> Broken {
    Broken {
        key: key::NOTE.to_owned(),
        error,
    }
}

/// Whether a number that is certainly a person's stands in what somebody types into this field.
pub fn holds_persons_number(kind: Kind, key: &str, text: &str) -> bool {
    let heading = match kind.field(key) {
        // Fifteen digits may be a registration number there.
        Some((field, _)) if field.meaning == Meaning::CreditCode => "统一社会信用代码",
        // A column of the street's own is called what its heading was.
        Some((
            _,
            Key::Member {
                name: key::CUSTOM,
                member,
            },
        )) => member,
        _ => "",
    };
    !persons_numbers(heading, text).is_empty()
}

/// The numbers that are certainly a person's, as they stand in a text.
fn persons_numbers(heading: &str, text: &str) -> Vec<String> {
    let certain = personal::find_under(heading, text).into_iter();
    let certain = certain.filter(|number| number.certain);
    let spelled = |number: personal::PersonalNumber| {
        let chars = text.chars().skip(number.chars.start);
        chars.take(number.chars.len()).collect()
    };
    certain.map(spelled).collect()
}

/// The same of one value; a key that is none of the kind's is for [`check_write`] to refuse.
pub fn check_new_value(
    kind: Kind,
    key: &str,
    value: &Scalar,
    said: Said,
) -> Result<(), FieldError> {
    let Some((field, parsed)) = kind.field(key) else {
        return Ok(());
    };
    if let (Key::Member { member, .. }, Shape::SetMember | Shape::Custom) = (&parsed, field.shape) {
        check_new_text(member)?;
        if !persons_numbers("", member).is_empty() {
            return Err(FieldError::PersonalNumber);
        }
    }
    if let (Rule::Text(_), Some(text)) = (field.rule, value.as_str()) {
        check_new_text(text)?;
        if holds_persons_number(kind, key, text) {
            return Err(FieldError::PersonalNumber);
        }
    }
    let day = match (field.shape, &parsed) {
        (Shape::SetOfDays, Key::Member { member, .. }) => field::date::parse(member),
        _ if field.rule == Rule::Date => value.as_str().and_then(field::date::parse),
        _ if field.rule == Rule::Minute => value
            .as_str()
            .and_then(|text| field::date::parse(text.split_once('T')?.0)),
        _ => None,
    };
    let Some((day, span)) = day.zip(said.span(field.days)) else {
        return Ok(());
    };
    span.check(day).map_err(|outside| match outside {
        Outside::Before => FieldError::TooLongAgo,
        Outside::After => FieldError::InFuture,
    })
}

/// Whether people can read what a text says.
fn check_new_text(text: &str) -> Result<(), FieldError> {
    if characters::says_nothing(text) {
        Err(FieldError::Empty)
    } else if characters::forbidden(text).is_some() {
        Err(FieldError::ForbiddenCharacter)
    } else {
        Ok(())
    }
}

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

    fn check_said(
        kind: Kind,
        key: &str,
        value: impl Into<Scalar>,
        said: Said,
        expected: Result<(), &str>,
    ) {
        let value = value.into();
        let got = check_new(kind, [(key, &value)], said).map_err(|broken| broken.error.code());
        assert_eq!(got, expected, "{} {value:?} {said:?}", key.escape_unicode());
    }

    #[test]
    fn a_number_of_a_person_is_no_news_in_any_field() {
        let phone = "contacts/0198c0de-0000-7000-8000-00000000000a/phones";
        for (key, text, expected) in [
            (
                "sign_name",
                "王记 999999199001010729",
                Err("personal_number"),
            ),
            ("opening_hours", "110105491231002", Err("personal_number")),
            (
                "address_raw",
                "９９９９９９１９９００１０１０７２９",
                Err("personal_number"),
            ),
            (phone, "999999199001010729", Err("personal_number")),
            (
                "custom/消防",
                "身份证：310104199001011",
                Err("personal_number"),
            ),
            ("custom/身份证", "310104199001011", Err("personal_number")),
            ("tags/999999199001010729", "", Err("personal_number")),
            ("credit_code", "999999199001010729", Err("personal_number")),
            ("credit_code", "91310000631696382C", Ok(())),
            ("credit_code", "310104600123451", Ok(())),
            (phone, "13800000001,13900000002", Ok(())),
            ("sign_name", "1912", Ok(())),
        ] {
            let value = if key.starts_with("tags/") {
                Scalar::Bool(true)
            } else {
                text.into()
            };
            let at = ServerTime::from_unix_ms(1_795_248_000_000);
            let phone = Said::OnPhone { at, clock: None };
            for said in [phone, Said::AtOffice(at), Said::Somewhen] {
                check_said(Kind::ShopCard, key, value.clone(), said, expected);
            }
        }
    }

    #[test]
    fn a_number_of_a_person_may_stay_in_a_note_and_comes_into_none() {
        for (before, after, expected) in [
            ("", "老板 999999199001010729", Err("personal_number")),
            (
                "老板 999999199001010729",
                "老板 999999199001010729，周一休息",
                Ok(()),
            ),
            ("老板 999999199001010729", "周一休息", Ok(())),
            (
                "999999199001010729",
                "999999199001010702 110105491231002",
                Err("personal_number"),
            ),
            ("", "电话 13800000001", Ok(())),
        ] {
            let got = check_new_note(before, after).map_err(|broken| broken.error.code());
            assert_eq!(got, expected, "{before} → {after}");
        }
    }

    #[test]
    fn what_nobody_can_read_is_no_news() {
        let event = "events/0198c0de-0000-7000-8000-00000000000a/letter_no";
        for (kind, key) in [
            (Kind::ShopCard, "sign_name"),
            (Kind::ShopCard, "custom/消防"),
            (
                Kind::ShopCard,
                "contacts/0198c0de-0000-7000-8000-00000000000a/name",
            ),
            (Kind::TransferRequest, event),
            (Kind::Visit, "remark"),
        ] {
            for (text, expected) in [
                ("\u{200b}", Err("value_empty")),
                ("\u{a0}", Err("value_empty")),
                ("\u{3000}\u{3164}", Err("value_empty")),
                ("\u{202e}店名", Err("value_forbidden_character")),
                ("\u{fffe}店", Err("value_forbidden_character")),
                ("店\u{e0041}", Err("value_forbidden_character")),
                ("\u{e815}明", Ok(())),
                ("𰌂明", Ok(())),
                ("王\u{200b}记", Ok(())),
            ] {
                check_said(kind, key, text, Said::Somewhen, expected);
            }
        }
        let flag = || Scalar::Bool(true);
        for (key, expected) in [
            ("tags/\u{200b}", Err("value_empty")),
            ("tags/\u{2067}夜", Err("value_forbidden_character")),
            ("tags/late_night", Ok(())),
        ] {
            check_said(Kind::ShopCard, key, flag(), Said::Somewhen, expected);
        }
        check_said(
            Kind::ShopCard,
            "custom/\u{3164}",
            "是",
            Said::Somewhen,
            Err("value_empty"),
        );
        // What was accepted before is still merged, copied and kept.
        check(
            Role::Reviewer,
            false,
            "sign_name",
            Some("\u{202e}店名"),
            Ok(()),
        );
    }

    #[test]
    fn a_note_takes_nothing_forbidden_in_and_may_lose_it() {
        for (before, after, expected) in [
            ("", "常开门\n晚上在", Ok(())),
            ("", "\u{202e}店", Err("value_forbidden_character")),
            ("\u{202e}店", "\u{202e}店铺", Ok(())),
            ("\u{202e}店", "店", Ok(())),
            (
                "\u{202e}店",
                "\u{202e}店\u{fffe}",
                Err("value_forbidden_character"),
            ),
        ] {
            let got = check_new_note(before, after).map_err(|broken| broken.error.code());
            assert_eq!(got, expected, "{}", after.escape_unicode());
        }
    }

    #[test]
    fn days_lie_near_the_day_on_which_they_come() {
        let now = ServerTime::from_unix_ms(1_795_248_000_000); // 2026-11-21 in China
        let hours = |hours: i64| Some(DeviceTime::from_unix_ms(now.unix_ms() + hours * 3_600_000));
        let slow = Said::OnPhone {
            at: now,
            clock: hours(-24 * 401),
        };
        let phone = Said::OnPhone {
            at: now,
            clock: hours(-1),
        };
        let silent = Said::OnPhone {
            at: now,
            clock: None,
        };
        let desk = Said::AtOffice(now);
        for (day, on_slow_phone, at_desk) in [
            ("2026-11-21", Ok(()), Ok(())),
            ("2026-11-22", Ok(()), Err("value_in_future")),
            ("2026-11-23", Err("value_in_future"), Err("value_in_future")),
            ("2062-02-03", Err("value_in_future"), Err("value_in_future")),
            ("2025-10-17", Ok(()), Ok(())),
            ("2025-10-16", Err("value_too_long_ago"), Ok(())),
            ("2020-01-01", Err("value_too_long_ago"), Ok(())),
            (
                "1970-01-01",
                Err("value_too_long_ago"),
                Err("value_too_long_ago"),
            ),
        ] {
            let key = format!("confirmations/{day}");
            // A phone that knows what day it is may mean a day of years ago, as a desk may.
            let on_phone = if day < "2026" { at_desk } else { on_slow_phone };
            for (said, expected) in [
                (slow, on_slow_phone),
                (silent, on_slow_phone),
                (phone, on_phone),
                (desk, at_desk),
                (Said::Somewhen, Ok(())),
            ] {
                check_said(Kind::ShopCard, &key, Scalar::Bool(true), said, expected);
                check_said(Kind::ShopCard, "occupancy_observed_on", day, said, expected);
            }
        }
        check_said(
            Kind::Visit,
            "at",
            "2020-01-01T09:00",
            slow,
            Err("value_too_long_ago"),
        );
        check_said(Kind::Visit, "at", "2026-11-20T09:00", slow, Ok(()));
        let event = |name: &str| format!("events/0198c0de-0000-7000-8000-00000000000a/{name}");
        for (name, day, expected) in [
            ("issued_on", "2026-11-21", Ok(())),
            ("issued_on", "2026-12-21", Err("value_in_future")),
            ("issued_on", "1926-11-21", Err("value_too_long_ago")),
            ("issued_on", "2016-11-21", Ok(())),
            ("dues_until", "2027-12-31", Ok(())),
            ("dues_until", "2062-12-31", Err("value_in_future")),
            ("dues_until", "1900-01-01", Err("value_too_long_ago")),
            ("accepted_on", "2062-11-21", Err("value_in_future")),
        ] {
            for said in [phone, slow, desk] {
                check_said(Kind::TransferRequest, &event(name), day, said, expected);
            }
        }
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
