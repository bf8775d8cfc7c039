//! Reads Postgres' files for given bytes: as they were typed, and as Postgres packs long values (pglz) and parts them into chunks.
//!
//! In: a folder and texts. Out: the files that hold one. What else packs is not seen: lz4, page images in the write-ahead log, a disk's own
//! compression. Numbers are read as on little-endian machines, which are all that Postgres' packages are built for here.

use std::{
    collections::HashMap,
    fs::{self, File},
    io::{self, Read},
    path::{Path, PathBuf},
};

/// Of Postgres' files: no packed value in a row is longer.
const PAGE: usize = 8192;
/// Pages of a file that are looked at together.
const BLOCK: usize = 128 * PAGE;
/// Bytes of a chunk, all but a value's last.
const CHUNK: usize = 1996;
/// Bytes in chunks that are kept together, before what is there is looked at.
const CHUNKS_MAX: usize = 64 << 20;
/// Where the columns of a chunk's row begin in it.
const ROW_HEAD: usize = 24;

/// The files below `folder` that hold one of `texts`.
pub fn files_with(folder: &Path, texts: &[String]) -> io::Result<Vec<PathBuf>> {
    let texts = Texts::new(texts);
    let mut found = Vec::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder)? {
            let path = entry?.path();
            // Postgres removes files while they are read. Links lead to tablespaces and to a log on another disk.
            match gone(fs::metadata(&path))? {
                Some(is) if is.is_dir() => folders.push(path),
                Some(is) if is.is_file() && texts.are_in_file(&path)? => found.push(path),
                _ => {}
            }
        }
    }
    found.sort();
    Ok(found)
}

fn gone<T>(result: io::Result<T>) -> io::Result<Option<T>> {
    match result {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        result => result.map(Some),
    }
}

struct Texts<'t> {
    texts: &'t [String],
    /// Bytes that one of them begins with.
    begins: [bool; 256],
}

impl<'t> Texts<'t> {
    fn new(texts: &'t [String]) -> Self {
        let mut begins = [false; 256];
        for first in texts.iter().filter_map(|text| text.bytes().next()) {
            begins[usize::from(first)] = true;
        }
        Self { texts, begins }
    }

    fn are_in(&self, bytes: &[u8]) -> bool {
        let is_at = |rest: &[u8]| {
            self.texts
                .iter()
                .any(|text| rest.starts_with(text.as_bytes()))
        };
        bytes
            .iter()
            .enumerate()
            .any(|(at, byte)| self.begins[usize::from(*byte)] && is_at(&bytes[at..]))
    }

    fn are_packed_in(&self, bytes: &[u8]) -> bool {
        (0..bytes.len())
            .filter_map(|at| packed_in_row(&bytes[at..]))
            .any(|value| self.are_in(&value))
    }

    fn are_in_chunks(&self, value: &[u8]) -> bool {
        // Of one whose end is missing, as much as there is.
        self.are_in(value) || unpack(value).is_some_and(|(value, _)| self.are_in(&value))
    }

    fn are_in_file(&self, path: &Path) -> io::Result<bool> {
        let Some(mut file) = gone(File::open(path))? else {
            return Ok(false);
        };
        let mut chunked: HashMap<u32, (u32, Vec<u8>)> = HashMap::new();
        let mut kept = 0;
        let mut window = Vec::new();
        loop {
            let before = window.len();
            let read = (&mut file).take(BLOCK as u64).read_to_end(&mut window)?;
            if read == 0 {
                return Ok(chunked.values().any(|(_, value)| self.are_in_chunks(value)));
            }
            if self.are_in(&window) || self.are_packed_in(&window) {
                return Ok(true);
            }
            for (id, number, bytes) in window[before..].chunks(PAGE).flat_map(chunks) {
                let (next, value) = chunked.entry(id).or_default();
                if number == 0 {
                    (*next, *value) = (0, Vec::new());
                }
                if number != *next {
                    continue;
                }
                *next += 1;
                value.extend_from_slice(bytes);
                kept += bytes.len();
                if bytes.len() < CHUNK {
                    let whole = chunked.remove(&id).unwrap_or_default().1;
                    if self.are_in_chunks(&whole) {
                        return Ok(true);
                    }
                    kept -= whole.len();
                }
            }
            if kept > CHUNKS_MAX {
                if chunked.values().any(|(_, value)| self.are_in_chunks(value)) {
                    return Ok(true);
                }
                chunked.clear();
                kept = 0;
            }
            // What may begin at the end of this block and end in the next.
            let longest = self.texts.iter().map(String::len).max().unwrap_or(0);
            window.drain(..window.len().saturating_sub(longest.max(PAGE)));
        }
    }
}

fn number(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_le_bytes(*bytes.get(at..)?.first_chunk()?))
}

/// A value that Postgres packed in its row, where one begins here: its length with the mark of packed ones, then as [`unpack`] has it.
fn packed_in_row(bytes: &[u8]) -> Option<Vec<u8>> {
    let head = number(bytes, 0)?;
    let length = (head >> 2) as usize;
    if head & 3 != 2 || !(9..=PAGE).contains(&length) {
        return None;
    }
    let (value, whole) = unpack(bytes.get(4..length)?)?;
    whole.then_some(value)
}

/// The unpacked value, and whether it is whole: four bytes say how long it is and how it is packed.
fn unpack(packed: &[u8]) -> Option<(Vec<u8>, bool)> {
    let head = number(packed, 0)?;
    let (length, method) = ((head & 0x3fff_ffff) as usize, head >> 30);
    let packed = &packed[4..];
    // pglz makes at most 273 bytes of three.
    if method != 0 || length == 0 || length > packed.len() * 100 {
        return None;
    }
    let mut value = Vec::with_capacity(length);
    let mut rest = packed.iter().copied();
    'packed: while value.len() < length {
        let Some(control) = rest.next() else { break };
        for bit in 0..8 {
            if value.len() >= length {
                break;
            }
            let Some(first) = rest.next() else {
                break 'packed;
            };
            if (control >> bit) & 1 == 0 {
                value.push(first);
                continue;
            }
            let Some(second) = rest.next() else {
                break 'packed;
            };
            let back = (usize::from(first & 0xf0) << 4) | usize::from(second);
            let mut count = usize::from(first & 0x0f) + 3;
            if count == 18 {
                let Some(more) = rest.next() else {
                    break 'packed;
                };
                count += usize::from(more);
            }
            let Some(from) = value.len().checked_sub(back).filter(|_| back > 0) else {
                break 'packed;
            };
            for at in from..from + count.min(length - value.len()) {
                value.push(value[at]);
            }
        }
    }
    let whole = value.len() == length && rest.next().is_none();
    Some((value, whole))
}

/// The chunks in a page, in their order: rows of a value's id, the chunk's number and its bytes.
fn chunks(page: &[u8]) -> Vec<(u32, u32, &[u8])> {
    let chunk = |at: usize| {
        // Three columns, and no bytes for those that are null.
        let columns = u16::from_le_bytes(*page.get(at - 6..)?.first_chunk()?) & 0x7ff;
        let (id, no, head) = (
            number(page, at)?,
            number(page, at + 4)?,
            number(page, at + 8)?,
        );
        let length = (head >> 2) as usize;
        let is_one = columns == 3
            && usize::from(page[at - 2]) == ROW_HEAD
            && head.trailing_zeros() >= 2
            && (5..=CHUNK + 4).contains(&length);
        let bytes = page.get(at + 12..at + 8 + length)?;
        is_one.then_some((id, no, bytes))
    };
    let mut found: Vec<_> = (ROW_HEAD..page.len())
        .step_by(8)
        .filter_map(chunk)
        .collect();
    found.sort_by_key(|(id, no, _)| (*id, *no));
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_packed_value_is_read() {
        // Seven bytes as they are, then thirteen (three more than it says) from seven back; then one as it is.
        let packed = [&21_u32.to_le_bytes()[..], b"\x80Lianka \x0a\x07\x00!"].concat();
        let (value, whole) = unpack(&packed).expect("packed");
        assert_eq!(
            (String::from_utf8_lossy(&value).as_ref(), whole),
            ("Lianka Lianka Lianka!", true)
        );
        let head = (((packed.len() + 4) as u32) << 2) | 2;
        let row = [b"abc", &head.to_le_bytes()[..], &packed].concat();
        let texts = ["anka!".to_owned()];
        assert!(Texts::new(&texts).are_packed_in(&row));
        assert!(!Texts::new(&["ankab".to_owned()]).are_packed_in(&row));
    }
}
