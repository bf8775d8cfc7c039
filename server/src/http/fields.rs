//! Rules for what people type into admin requests: names, codes, passwords.
//!
//! In: a field's path and its text. Out: the text trimmed, or which rule it breaks. Control characters are refused everywhere: Postgres cannot
//! store NUL, and nobody means the others.

use std::borrow::Cow;

use lianka_sync_core::{id::StreetCode, values::characters};

use crate::config::PasswordRules;

/// Longest name of a person, street, grid, area, road or device, in characters.
pub const NAME_CHARS_MAX: usize = 100;
/// Longest grid code, in characters.
pub const GRID_CHARS_MAX: usize = 32;
/// Longest list in one admin request.
pub const ITEMS_MAX: usize = 1000;

const USERNAME_CHARS_MAX: usize = 64;
/// Fewest different characters of a password.
const DISTINCT_MIN: usize = 5;
/// Words that a password is not made of, in Chinese offices and elsewhere.
const COMMON: &[&str] = &[
    "password",
    "passwd",
    "passw",
    "pass",
    "admin",
    "administrator",
    "root",
    "user",
    "test",
    "guest",
    "welcome",
    "letmein",
    "changeme",
    "secret",
    "qwerty",
    "qwertyuiop",
    "asdf",
    "asdfgh",
    "zxcv",
    "zxcvbn",
    "qaz",
    "qazwsx",
    "qwe",
    "qweasd",
    "abc",
    "abcd",
    "abcde",
    "abcdef",
    "iloveyou",
    "woaini",
    "woaiwojia",
    "wodemima",
    "mima",
    "nihao",
    "zhongguo",
    "shanghai",
    "beijing",
    "dangyuan",
    "dangjian",
    "jiedao",
    "lianka",
    "huawei",
    "monkey",
    "dragon",
    "sunshine",
    "master",
    "login",
];
/// Passwords of digits and letters that everybody tries.
const COMMON_WHOLE: &[&str] = &[
    "1qaz2wsx",
    "1qaz@wsx",
    "!qaz2wsx",
    "1qaz!qaz",
    "q1w2e3r4",
    "1q2w3e4r",
    "1q2w3e4r5t",
    "a1b2c3d4",
    "aa123456",
    "5201314",
    "123456789012345",
];
/// argon2 takes more, but nobody should make the server hash a book.
const PASSWORD_BYTES_MAX: usize = 256;

/// A field that breaks a rule.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("{field} breaks the rule {rule}: {en} {zh}")]
pub struct Broken {
    pub field: Cow<'static, str>,
    /// Stable word, listed in `docs/protocol.md`.
    pub rule: &'static str,
    pub zh: &'static str,
    pub en: &'static str,
}

type Checked<T> = Result<T, Broken>;

/// A name of one to `chars_max` characters.
pub fn text(field: impl Into<Cow<'static, str>>, value: &str, chars_max: usize) -> Checked<String> {
    let value = value.trim();
    let field = field.into();
    if characters::says_nothing(value) {
        return Err(Broken {
            field,
            rule: "not_empty",
            zh: "不能为空。",
            en: "It must not be empty.",
        });
    }
    if value.chars().count() > chars_max {
        return Err(Broken {
            field,
            rule: "length_max",
            zh: "太长了。",
            en: "It is too long.",
        });
    }
    if value.chars().any(char::is_control) || characters::forbidden(value).is_some() {
        return Err(Broken {
            field,
            rule: "no_control_characters",
            zh: "不能含控制字符，也不能含改变文字方向的字符。",
            en: "It must not hold control characters, nor marks that change the direction of writing.",
        });
    }
    Ok(value.to_owned())
}

/// A username: 1 to 64 of `a-z 0-9 . _ -`, a letter or digit first.
pub fn username(field: impl Into<Cow<'static, str>>, value: &str) -> Checked<String> {
    let fits = value.len() <= USERNAME_CHARS_MAX
        && value.starts_with(|c: char| c.is_ascii_lowercase() || c.is_ascii_digit())
        && value
            .bytes()
            .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b"._-".contains(&b));
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

/// A password to be set for `username`, by the rules of the deployment.
pub fn password(
    field: impl Into<Cow<'static, str>>,
    value: &str,
    username: &str,
    rules: &PasswordRules,
) -> Checked<()> {
    let field = field.into();
    let chars = value.chars().count();
    let is_phrase = rules.phrase_chars.is_some_and(|min| chars >= min);
    let distinct = value
        .chars()
        .collect::<std::collections::HashSet<_>>()
        .len();
    let lower = value.to_lowercase();
    Err(if chars < rules.chars_min {
        let (zh, en) = (
            "密码太短了：至少 8 个字符，或管理员设定的更多。",
            "The password is too short: at least 8 characters, or what the deployment asks for.",
        );
        Broken {
            field,
            rule: "password_length",
            zh,
            en,
        }
    } else if value.len() > PASSWORD_BYTES_MAX {
        Broken {
            field,
            rule: "length_max",
            zh: "密码太长了。",
            en: "The password is too long.",
        }
    } else if (!is_phrase && classes(value) < rules.classes_min) || distinct < DISTINCT_MIN {
        let (zh, en) = (
            "密码太简单：小写字母、大写字母、数字、其他符号至少含三类；或用 15 个字符以上的长句。",
            "The password is too simple: at least three of lower case, upper case, digits and others, or a phrase of 15 characters or more.",
        );
        Broken {
            field,
            rule: "password_classes",
            zh,
            en,
        }
    } else if lower.contains(username) || username.contains(lower.as_str()) {
        Broken {
            field,
            rule: "password_username",
            zh: "密码不能含用户名。",
            en: "The password must not hold the username.",
        }
    } else if is_common(&lower) {
        let (zh, en) = (
            "这个密码太常见，容易被猜到。",
            "The password is a common one and easily guessed.",
        );
        Broken {
            field,
            rule: "password_common",
            zh,
            en,
        }
    } else {
        return Ok(());
    })
}

/// How many of the four classes of characters there are: a-z, A-Z, 0-9, and all others.
fn classes(value: &str) -> usize {
    let class = |of: fn(char) -> bool| usize::from(value.chars().any(of));
    class(|c| c.is_ascii_lowercase())
        + class(|c| c.is_ascii_uppercase())
        + class(|c| c.is_ascii_digit())
        + class(|c| !c.is_ascii_alphanumeric())
}

/// A word that everybody tries, dressed up with digits and signs around it or instead of letters.
fn is_common(lower: &str) -> bool {
    let plain = |c| match c {
        '@' => 'a',
        '0' => 'o',
        '1' | '!' => 'i',
        '3' => 'e',
        '$' | '5' => 's',
        c => c,
    };
    // The year or the marks behind a word are not letters in disguise.
    let undressed: String = lower
        .trim_end_matches(|c: char| !c.is_ascii_lowercase())
        .chars()
        .map(plain)
        .collect();
    let word = |text: &str| COMMON.contains(&text.trim_matches(|c: char| !c.is_ascii_lowercase()));
    word(lower)
        || word(&undressed)
        || COMMON_WHOLE
            .iter()
            .any(|common| lower.trim_end_matches('!') == *common)
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
            field: field.into(),
            rule: "items_max_1000",
            zh: "一次最多 1000 项。",
            en: "At most 1000 items at once.",
        });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn secret(value: &str) -> Option<Broken> {
        password("name", value, "wang.fang", &PasswordRules::default()).err()
    }

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
            (secret("short"), Some("password_length")),
            (secret("alllowercase"), Some("password_classes")),
            (secret("lower123456"), Some("password_classes")),
            (secret("aA1!aA1!"), Some("password_classes")),
            (secret("Lower1234567"), None),
            (secret("一棵 梧桐 2026"), Some("password_classes")),
            (secret("梧桐树下的十个汉字啊"), Some("password_classes")),
            (secret("天平路上的梧桐树下有一家小书店"), None),
            (secret("a long enough password"), None),
            (secret(&"ab".repeat(10)), Some("password_classes")),
            (secret(&"Ab1".repeat(100)), Some("length_max")),
            (secret("Wang.Fang2026"), Some("password_username")),
            (secret("Password1!"), Some("password_common")),
            (secret("P@ssw0rd2026"), Some("password_common")),
            (secret("Admin@123"), Some("password_common")),
            (secret("Woaini1314!"), Some("password_common")),
            (grid("name", "G 1").err(), Some("grid_code")),
            (grid("name", "康平01").err(), None),
            (street("name", "31010400").err(), Some("street_code")),
        ] {
            assert_eq!(checked.as_ref().map(|b| b.rule), rule, "{checked:?}");
            assert!(checked.is_none_or(|b| b.field == "name"));
        }
    }
}
