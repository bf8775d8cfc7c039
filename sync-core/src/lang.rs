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
    /// The first of our languages that an `Accept-Language` header prefers; Chinese where it names neither.
    ///
    /// Quality values order the choices; a choice with quality 0 is none.
    pub fn from_accept_language(header: &str) -> Self {
        let quality = |parts: &mut std::str::Split<'_, char>| -> f32 {
            parts.find_map(|part| part.trim().strip_prefix("q=")?.parse().ok()).unwrap_or(1.0)
        };
        header
            .split(',')
            .filter_map(|choice| {
                let mut parts = choice.split(';');
                let tag = parts.next()?.trim().to_ascii_lowercase();
                let lang = match tag.split('-').next()? {
                    "zh" => Self::Zh,
                    "en" => Self::En,
                    _ => return None,
                };
                Some((quality(&mut parts), lang)).filter(|(quality, _)| *quality > 0.0)
            })
            .fold((0.0, Self::Zh), |best, next| if next.0 > best.0 { next } else { best })
            .1
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
            assert_eq!(Lang::from_accept_language(header), expected, "{header}");
        }
    }
}
