//! The zip of parts that a workbook is, within bounds.
//!
//! A workbook is a zip of parts. Its declared sizes are checked first, then every part is unpacked once into nothing and counted,
//! because the declaration may lie; only then does a reader see it. A reader that makes room for as many shared strings as a part claims
//! would end the process with a failed allocation, so that claim is looked for; what readers stumble over is caught.

use std::{
    collections::HashMap,
    io::{self, Cursor, Read},
};

use zip::{ZipArchive, read::ZipFile};

use crate::{RollError, RollLimits};

/// Sheets of one workbook that are looked at.
pub(crate) const SHEETS_MAX: usize = 50;

pub(crate) fn unreadable(error: impl std::fmt::Display) -> RollError {
    RollError::Unreadable(error.to_string())
}

/// A zip whose parts are known to fit.
pub(crate) struct Package<'a> {
    archive: ZipArchive<Cursor<&'a [u8]>>,
    /// Place of each part by its name, in lower case and with plain slashes.
    parts: HashMap<String, usize>,
}

impl<'a> Package<'a> {
    pub(crate) fn open(bytes: &'a [u8], limits: &RollLimits) -> Result<Self, RollError> {
        let archive = match ZipArchive::new(Cursor::new(bytes)) {
            Ok(archive) => archive,
            // The list of parts stands at the end, and behind it 22 bytes that say where it is.
            Err(_)
                if bytes
                    .windows(4)
                    .rposition(|at| at == b"PK\x05\x06")
                    .is_none_or(|at| bytes.len() - at < 22) =>
            {
                return Err(RollError::Truncated);
            }
            Err(error) => return Err(unreadable(error)),
        };
        let mut package = Self {
            archive,
            parts: HashMap::new(),
        };
        package.refuse_bomb(limits)?;
        for at in 0..package.archive.len() {
            if let Some(Ok(name)) = package.archive.name_for_index(at) {
                package.parts.insert(plain_name(&name), at);
            }
        }
        Ok(package)
    }

    pub(crate) fn has(&self, name: &str) -> bool {
        self.parts.contains_key(&plain_name(name))
    }

    /// Names of the parts that end so, in lower case.
    pub(crate) fn names_with(&self, ending: &str) -> Vec<String> {
        let names = self.parts.keys().filter(|name| name.ends_with(ending));
        names.cloned().collect()
    }

    /// A part as it unpacks.
    pub(crate) fn part(&mut self, name: &str) -> Result<ZipFile<'_, Cursor<&'a [u8]>>, RollError> {
        let at = self.parts.get(&plain_name(name));
        let at = *at.ok_or_else(|| unreadable(format!("the part {name} is missing")))?;
        self.archive.by_index(at).map_err(unreadable)
    }

    /// A zip of another program than a spreadsheet.
    pub(crate) fn other_kind(&self) -> Option<RollError> {
        let begins = |folder: &str| self.parts.keys().any(|name| name.starts_with(folder));
        let ends = |ending: &str| self.parts.keys().any(|name| name.ends_with(ending));
        if begins("xl/") || self.has("content.xml") || self.has("workbook.xml") {
            return None;
        }
        let (zh, en) = if begins("word/") {
            ("Word 文档", "a Word document")
        } else if begins("ppt/") {
            ("PowerPoint 演示文稿", "a PowerPoint presentation")
        } else if ends(".iwa") {
            ("苹果 Numbers 表格", "an Apple Numbers spreadsheet")
        } else if [".xlsx", ".xls", ".csv", ".et"]
            .iter()
            .any(|name| ends(name))
        {
            ("压缩包", "a zip archive with files in it")
        } else {
            return None;
        };
        Some(RollError::OtherFormat { zh, en })
    }

    fn refuse_bomb(&mut self, limits: &RollLimits) -> Result<(), RollError> {
        let too_large = RollError::UnpackedTooLarge {
            bytes_max: limits.unpacked_bytes_max,
        };
        let archive = &mut self.archive;
        if archive.len() > limits.parts_max {
            return Err(too_large);
        }
        let mut declared: u64 = 0;
        for at in 0..archive.len() {
            let part = archive.by_index_raw(at).map_err(unreadable)?;
            if part.encrypted() {
                return Err(RollError::Encrypted);
            }
            declared = declared.saturating_add(part.size());
        }
        if declared > limits.unpacked_bytes_max {
            return Err(too_large);
        }
        let mut left = limits.unpacked_bytes_max;
        for at in 0..archive.len() {
            let mut part = archive.by_index(at).map_err(unreadable)?.take(left + 1);
            let mut claims = StringClaims::default();
            let unpacked = io::copy(&mut part, &mut claims).map_err(unreadable)?;
            left = left
                .checked_sub(unpacked)
                .ok_or_else(|| too_large.clone())?;
            // No roll has more texts than cells.
            if claims.largest > (limits.rows_max * limits.columns_max) as u64 {
                return Err(too_large);
            }
        }
        Ok(())
    }
}

fn plain_name(name: &str) -> String {
    name.trim_start_matches(['/', '\\'])
        .replace('\\', "/")
        .to_ascii_lowercase()
}

/// Looks for `uniqueCount="…"` in whatever part and encoding it stands, as it flows by.
#[derive(Default)]
struct StringClaims {
    state: Claim,
    largest: u64,
}

enum Claim {
    /// So many letters of the name were met.
    Name(usize),
    Equals,
    Quote,
    Digits(u64),
}

impl Default for Claim {
    fn default() -> Self {
        Self::Name(0)
    }
}

impl StringClaims {
    const NAME: &[u8] = b"uniqueCount";

    fn next(&mut self, byte: u8) {
        let begin = Claim::Name(usize::from(byte == Self::NAME[0]));
        self.state = match (&self.state, byte) {
            (Claim::Name(at), byte) if byte == Self::NAME[*at] && at + 1 == Self::NAME.len() => {
                Claim::Equals
            }
            (Claim::Name(at), byte) if byte == Self::NAME[*at] => Claim::Name(at + 1),
            (Claim::Equals, b'=') => Claim::Quote,
            (Claim::Equals, byte) if byte.is_ascii_whitespace() => Claim::Equals,
            (Claim::Quote, b'"' | b'\'') => Claim::Digits(0),
            (Claim::Quote, byte) if byte.is_ascii_whitespace() => Claim::Quote,
            (Claim::Digits(claimed), b'0'..=b'9') => Claim::Digits(
                claimed
                    .saturating_mul(10)
                    .saturating_add(u64::from(byte - b'0')),
            ),
            (Claim::Digits(claimed), b'"' | b'\'' | b'<') => {
                self.largest = self.largest.max(*claimed);
                Claim::Name(0)
            }
            (Claim::Digits(claimed), _) => Claim::Digits(*claimed),
            _ => begin,
        };
    }
}

impl io::Write for StringClaims {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        // Of two-byte letters only the one byte that is not zero.
        bytes
            .iter()
            .filter(|byte| **byte != 0)
            .for_each(|byte| self.next(*byte));
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
