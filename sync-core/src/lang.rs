//! The two languages a message is written in.

use std::{fmt, str::FromStr};

/// Language of a message for people. Chinese where nothing else was asked for.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Lang {
    /// 中文
    #[default]
    Zh,
    /// English
    En,
}

/// Why a text names no language.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a language is zh or en")]
pub struct UnknownLang;

impl Lang {
    /// The language that `Accept-Language` (RFC 9110, section 12.5.4) likes best of ours; `default` where it names neither.
    ///
    /// Quality values order the choices; a choice with quality 0, or one that cannot be read, is none.
    pub fn from_accept_language(header: &str, default: Self) -> Self {
        let mut best = (default, 0.0_f32);
        for range in header.split(',') {
            let mut parts = range.split(';');
            let tag = parts.next().unwrap_or_default().trim().to_ascii_lowercase();
            let weight = parts
                .find_map(|part| part.trim().strip_prefix("q="))
                .map_or(1.0, |q| q.parse().unwrap_or(0.0));
            let lang = match tag.split('-').next() {
                Some("zh") => Self::Zh,
                Some("en") => Self::En,
                _ => continue,
            };
            if weight > best.1 {
                best = (lang, weight);
            }
        }
        best.0
    }

    /// `zh` or `en`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Zh => "zh",
            Self::En => "en",
        }
    }
}

impl fmt::Display for Lang {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Lang {
    type Err = UnknownLang;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "zh" => Ok(Self::Zh),
            "en" => Ok(Self::En),
            _ => Err(UnknownLang),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Lang;

    #[test]
    fn prefers_by_quality() {
        for (header, expected) in [
            ("", Lang::Zh),
            ("fr", Lang::Zh),
            ("en", Lang::En),
            ("en-GB,zh;q=0.5", Lang::En),
            ("en;q=0.3, zh-CN;q=0.9", Lang::Zh),
            ("en;q=0", Lang::Zh),
            ("fr;q=1, en;q=0.1", Lang::En),
        ] {
            assert_eq!(
                Lang::from_accept_language(header, Lang::Zh),
                expected,
                "{header}"
            );
        }
    }
}
