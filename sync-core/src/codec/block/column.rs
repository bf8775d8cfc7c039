//! The columns of a block: written one value after another, read back the same way, none beyond its end.

use super::BlockError;
use crate::{
    codec::change::column::{read_leb, read_uleb, write_leb, write_uleb},
    limits,
};

/// The columns, in the order in which they stand in a block.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(usize)]
pub(super) enum Column {
    // What a block names again and again, each once.
    Actors,
    Keys,
    Records,
    Generations,
    // A change each.
    Record,
    Seq,
    Actor,
    ActorSeq,
    StartOp,
    Time,
    MessageLength,
    Message,
    DepCount,
    OpCount,
    Checksum,
    // A dependency each.
    Dep,
    Outside,
    // An operation each, or what some of them have.
    Action,
    Key,
    ValueLength,
    Value,
    PredCount,
    Object,
    ObjectCounter,
    Element,
    ElementCounter,
    // A predecessor each.
    Pred,
    PredCounter,
}

/// How many there are.
pub(super) const COLUMNS: usize = Column::PredCounter as usize + 1;

/// A block being written.
pub(super) struct Writer([Vec<u8>; COLUMNS]);

impl Writer {
    pub(super) fn new() -> Self {
        Self([const { Vec::new() }; COLUMNS])
    }

    pub(super) fn uint(&mut self, column: Column, value: u64) {
        write_uleb(&mut self.0[column as usize], value);
    }

    pub(super) fn int(&mut self, column: Column, value: i64) {
        write_leb(&mut self.0[column as usize], value);
    }

    pub(super) fn bytes(&mut self, column: Column, bytes: &[u8]) {
        self.0[column as usize].extend(bytes);
    }

    /// The version, how many changes there are, then every column behind its length.
    pub(super) fn finish(self, version: u8, changes: usize) -> Vec<u8> {
        let mut out = vec![version];
        write_uleb(&mut out, changes as u64);
        for column in self.0 {
            write_uleb(&mut out, column.len() as u64);
            out.extend(column);
        }
        out
    }
}

/// A block being read.
pub(super) struct Reader<'b> {
    columns: [&'b [u8]; COLUMNS],
    /// What is left of what keys and values may take once they are written out.
    unpacked_bytes_left: usize,
}

impl<'b> Reader<'b> {
    /// Splits a block into its columns; how many changes it says there are.
    pub(super) fn new(mut bytes: &'b [u8], version: u8) -> Result<(Self, usize), BlockError> {
        if bytes.len() > limits::BLOCK_BYTES_MAX {
            return Err(BlockError::TooLarge("bytes", limits::BLOCK_BYTES_MAX));
        }
        let (&first, rest) = bytes.split_first().ok_or(BlockError::Malformed("empty"))?;
        if first != version {
            return Err(BlockError::Malformed("version"));
        }
        bytes = rest;
        let changes = count(&mut bytes)?;
        if changes > limits::BLOCK_CHANGES_MAX {
            return Err(BlockError::TooLarge("changes", limits::BLOCK_CHANGES_MAX));
        }
        let mut columns = [&bytes[..0]; COLUMNS];
        for column in &mut columns {
            let length = count(&mut bytes)?;
            *column = take(&mut bytes, length)?;
        }
        if !bytes.is_empty() {
            return Err(BlockError::Malformed("bytes after the columns"));
        }
        let reader = Self {
            columns,
            unpacked_bytes_left: limits::BLOCK_UNPACKED_BYTES_MAX,
        };
        Ok((reader, changes))
    }

    pub(super) fn uint(&mut self, column: Column) -> Result<u64, BlockError> {
        uint(&mut self.columns[column as usize])
    }

    /// A place in a list, or a count.
    pub(super) fn place(&mut self, column: Column) -> Result<usize, BlockError> {
        count(&mut self.columns[column as usize])
    }

    /// At most `max`.
    pub(super) fn up_to(
        &mut self,
        column: Column,
        max: usize,
        what: &'static str,
    ) -> Result<usize, BlockError> {
        let value = self.place(column)?;
        if value > max {
            return Err(BlockError::TooLarge(what, max));
        }
        Ok(value)
    }

    /// In `1..=max`.
    pub(super) fn in_range(&mut self, column: Column, max: u64) -> Result<u32, BlockError> {
        sane(self.uint(column)?, max)
    }

    pub(super) fn int(&mut self, column: Column) -> Result<i64, BlockError> {
        read_leb(&mut self.columns[column as usize]).map_err(|_| BlockError::Malformed("number"))
    }

    pub(super) fn bytes(&mut self, column: Column, length: usize) -> Result<&'b [u8], BlockError> {
        take(&mut self.columns[column as usize], length)
    }

    pub(super) fn array<const N: usize>(&mut self, column: Column) -> Result<[u8; N], BlockError> {
        let bytes = self.bytes(column, N)?;
        bytes.try_into().map_err(|_| BlockError::Malformed("end"))
    }

    pub(super) fn is_at_end(&self, column: Column) -> bool {
        self.columns[column as usize].is_empty()
    }

    /// Counts what is about to be written out.
    pub(super) fn unpacks(&mut self, bytes: usize) -> Result<(), BlockError> {
        let max = limits::BLOCK_UNPACKED_BYTES_MAX;
        let left = self.unpacked_bytes_left.checked_sub(bytes);
        self.unpacked_bytes_left = left.ok_or(BlockError::TooLarge("keys and values", max))?;
        Ok(())
    }

    /// Everything was read.
    pub(super) fn finish(self) -> Result<(), BlockError> {
        if self.columns.iter().all(|column| column.is_empty()) {
            Ok(())
        } else {
            Err(BlockError::Malformed("a column is too long"))
        }
    }
}

/// In `1..=max`.
pub(super) fn sane(value: u64, max: u64) -> Result<u32, BlockError> {
    if (1..=max).contains(&value) {
        Ok(value as u32)
    } else {
        Err(BlockError::Malformed("a number out of range"))
    }
}

fn uint(input: &mut &[u8]) -> Result<u64, BlockError> {
    read_uleb(input).map_err(|_| BlockError::Malformed("number"))
}

fn count(input: &mut &[u8]) -> Result<usize, BlockError> {
    usize::try_from(uint(input)?).map_err(|_| BlockError::Malformed("number"))
}

fn take<'b>(input: &mut &'b [u8], length: usize) -> Result<&'b [u8], BlockError> {
    let (head, rest) = input
        .split_at_checked(length)
        .ok_or(BlockError::Malformed("a column is too short"))?;
    *input = rest;
    Ok(head)
}
