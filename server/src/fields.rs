//! Rules for what people type into admin requests: names, codes, passwords.
//!
//! In: a field's path and its text. Out: the text trimmed, or which rule it breaks. Control characters are refused everywhere: Postgres cannot
//! store NUL, and nobody means the others.

use std::borrow::Cow;

use lianka_sync_core::id::StreetCode;

use crate::error::ApiError;

/// Longest name of a person, street, grid, area, road or device, in characters.
pub const NAME_CHARS_MAX: usize = 100;
/// Longest grid code, in characters.
pub const GRID_CHARS_MAX: usize = 32;
/// Longest list in one admin request.
pub const ITEMS_MAX: usize = 1000;

const USERNAME_CHARS_MAX: usize = 64;
const PASSWORD_CHARS_MIN: usize = 10;
/// argon2 takes more, but nobody should make the server hash a book.
const PASSWORD_BYTES_MAX: usize = 256;

/// A field that breaks a rule.
#[derive(Debug, PartialEq, Eq)]
pub struct Broken {
    pub field: Cow<'static, str>,
    /// Stable word, listed in `docs/protocol.md`.
    pub rule: &'static str,
    pub zh: &'static str,
    pub en: &'static str,
}

impl From<Broken> for ApiError {
    fn from(broken: Broken) -> Self {
        ApiError::invalid_field(broken.field, broken.rule).detail(broken.zh, broken.en)
    }
}

type Checked<T> = Result<T, Broken>;

/// A name of one to `chars_max` characters.
pub fn text(field: impl Into<Cow<'static, str>>, value: &str, chars_max: usize) -> Checked<String> {
    let value = value.trim();
    let field = field.into();
    if value.is_empty() {
        return Err(Broken { field, rule: "not_empty", zh: "不能为空。", en: "It must not be empty." });
    }
    if value.chars().count() > chars_max {
        return Err(Broken { field, rule: "length_max", zh: "太长了。", en: "It is too long." });
    }
    if value.chars().any(char::is_control) {
        return Err(Broken {
            field, rule: "no_control_characters", zh: "不能含控制字符。", en: "It must not hold control characters."
        });
    }
    Ok(value.to_owned())
}

/// A username: 1 to 64 of `a-z 0-9 . _ -`, a letter or digit first.
pub fn username(field: impl Into<Cow<'static, str>>, value: &str) -> Checked<String> {
    let fits = value.len() <= USERNAME_CHARS_MAX
        && value.starts_with(|c: char| c.is_ascii_lowercase() || c.is_ascii_digit())
        && value.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b"._-".contains(&b));
    if fits {
        return Ok(value.to_owned());
    }
    Err(Broken {
        field: field.into(),
        rule: "username",
        zh: "用户名为 1 到 64 个小写字母、数字、点、下划线或连字符，以字母或数字开头。",
        en: "A username has 1 to 64 of a-z, 0-9, dot, underscore and hyphen, and starts with a letter or digit.",
    })
}

/// A password to be set. Long is what counts (NIST SP 800-63B), so no rule about kinds of characters.
pub fn password(field: impl Into<Cow<'static, str>>, value: &str) -> Checked<()> {
    if value.chars().count() < PASSWORD_CHARS_MIN {
        return Err(Broken {
            field: field.into(),
            rule: "length_min_10",
            zh: "密码至少 10 个字符。",
            en: "A password has at least 10 characters.",
        });
    }
    if value.len() > PASSWORD_BYTES_MAX {
        return Err(Broken { field: field.into(), rule: "length_max", zh: "密码太长了。", en: "The password is too long." });
    }
    Ok(())
}

/// A street code of nine digits.
pub fn street(field: impl Into<Cow<'static, str>>, value: &str) -> Checked<StreetCode> {
    value.parse().map_err(|_| Broken {
        field: field.into(),
        rule: "street_code",
        zh: "街道代码为九位数字，例如 310104003。",
        en: "A street code is nine digits, for example 310104003.",
    })
}

/// A grid code: short, without white space or slash, as it stands in addresses.
pub fn grid(field: impl Into<Cow<'static, str>>, value: &str) -> Checked<String> {
    let field = field.into();
    let value = text(field.clone(), value, GRID_CHARS_MAX)?;
    if value.chars().any(|c| c.is_whitespace() || c == '/') {
        return Err(Broken {
            field,
            rule: "grid_code",
            zh: "网格代码不能含空格或斜杠。",
            en: "A grid code has no white space and no slash.",
        });
    }
    Ok(value)
}

/// A list that is not longer than a request may bring.
pub fn list<T>(field: &'static str, items: &[T]) -> Checked<()> {
    if items.len() > ITEMS_MAX {
        return Err(Broken {
            field: field.into(), rule: "items_max_1000", zh: "一次最多 1000 项。", en: "At most 1000 items at once."
        });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_broken_rule_names_field_and_rule() {
        for (checked, rule) in [
            (text("name", "  ", 5).err(), Some("not_empty")),
            (text("name", "天平路街道办", 5).err(), Some("length_max")),
            (text("name", "a\0b", 5).err(), Some("no_control_characters")),
            (text("name", " 天平路 ", 5).err(), None),
            (username("name", "wang.fang").err(), None),
            (username("name", "Wang").err(), Some("username")),
            (username("name", "").err(), Some("username")),
            (username("name", "-a").err(), Some("username")),
            (password("name", "short").err(), Some("length_min_10")),
            (password("name", "梧桐树下的十个汉字啊").err(), None),
            (grid("name", "G 1").err(), Some("grid_code")),
            (grid("name", "康平01").err(), None),
            (street("name", "31010400").err(), Some("street_code")),
        ] {
            assert_eq!(checked.as_ref().map(|b| b.rule), rule, "{checked:?}");
            assert!(checked.is_none_or(|b| b.field == "name"));
        }
    }
}
