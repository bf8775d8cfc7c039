//! A reader and writer of change chunks that shares no code with the gate, and can write what no library would.
//!
//! In: a chunk as Automerge writes it. Out: header and columns as plain data to be twisted, and the bytes of any twisted form with the
//! checksum put right. It can lie: a claim differs from what stands there where [`Chunk::claims`] or [`Run::Literal`] say so.

use std::io::Write;

use sha2::{Digest, Sha256};

pub const MAGIC: [u8; 4] = [0x85, 0x6f, 0x4a, 0x83];
pub const CHANGE: u8 = 1;
pub const DEFLATED: u8 = 2;

/// A change chunk, taken apart.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Chunk {
    pub deps: Vec<Vec<u8>>,
    pub actor: Vec<u8>,
    pub seq: u64,
    pub start_op: u64,
    pub time: i64,
    pub message: Vec<u8>,
    pub actors: Vec<Vec<u8>>,
    pub columns: Vec<Column>,
    pub extra: Vec<u8>,
    pub claims: Claims,
}

/// Counts and lengths to be written in place of the true ones.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Claims {
    pub deps: Option<u64>,
    pub actor: Option<u64>,
    pub message: Option<u64>,
    pub actors: Option<u64>,
    pub columns: Option<u64>,
    /// Of the last column.
    pub column_length: Option<u64>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Column {
    /// `id << 4 | deflated << 3 | type`
    pub spec: u64,
    pub cells: Cells,
}

/// A column's data by its type.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Cells {
    Numbers(Vec<Run<u64>>),
    Deltas(Vec<Run<i64>>),
    Texts(Vec<Run<Vec<u8>>>),
    Flags(Vec<u64>),
    Raw(Vec<u8>),
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Run<T> {
    Nulls(u64),
    Repeat(i64, T),
    /// The count may be a lie.
    Literal(i64, Vec<T>),
}

pub trait Cell: Sized + Clone {
    fn read(input: &mut &[u8]) -> Option<Self>;
    fn write(&self, out: &mut Vec<u8>);
}

impl Cell for u64 {
    fn read(input: &mut &[u8]) -> Option<Self> {
        uleb(input)
    }
    fn write(&self, out: &mut Vec<u8>) {
        write_uleb(out, *self);
    }
}

impl Cell for i64 {
    fn read(input: &mut &[u8]) -> Option<Self> {
        leb(input)
    }
    fn write(&self, out: &mut Vec<u8>) {
        write_leb(out, *self);
    }
}

impl Cell for Vec<u8> {
    fn read(input: &mut &[u8]) -> Option<Self> {
        let length = uleb(input)? as usize;
        take(input, length).map(<[u8]>::to_vec)
    }
    fn write(&self, out: &mut Vec<u8>) {
        write_uleb(out, self.len() as u64);
        out.extend(self);
    }
}

impl Chunk {
    /// Reads an honest, plain chunk; `None` for anything else.
    pub fn read(bytes: &[u8]) -> Option<Self> {
        let mut input = body(bytes)?;
        let input = &mut input;
        let mut chunk = Self::default();
        for _ in 0..uleb(input)? {
            chunk.deps.push(take(input, 32)?.to_vec());
        }
        chunk.actor = Vec::read(input)?;
        chunk.seq = uleb(input)?;
        chunk.start_op = uleb(input)?;
        chunk.time = leb(input)?;
        chunk.message = Vec::read(input)?;
        for _ in 0..uleb(input)? {
            chunk.actors.push(Vec::read(input)?);
        }
        let table = (0..uleb(input)?)
            .map(|_| Some((uleb(input)?, uleb(input)?)))
            .collect::<Option<Vec<_>>>()?;
        for (spec, length) in table {
            chunk.columns.push(Column {
                spec,
                cells: Cells::read(spec, take(input, length as usize)?)?,
            });
        }
        chunk.extra = input.to_vec();
        Some(chunk)
    }

    /// The body as it stands, lies included.
    pub fn body(&self) -> Vec<u8> {
        let mut out = Vec::new();
        let claim = |out: &mut Vec<u8>, claimed: Option<u64>, length: usize| {
            write_uleb(out, claimed.unwrap_or(length as u64));
        };
        claim(&mut out, self.claims.deps, self.deps.len());
        for dep in &self.deps {
            out.extend(dep);
        }
        claim(&mut out, self.claims.actor, self.actor.len());
        out.extend(&self.actor);
        write_uleb(&mut out, self.seq);
        write_uleb(&mut out, self.start_op);
        write_leb(&mut out, self.time);
        claim(&mut out, self.claims.message, self.message.len());
        out.extend(&self.message);
        claim(&mut out, self.claims.actors, self.actors.len());
        for actor in &self.actors {
            actor.write(&mut out);
        }
        claim(&mut out, self.claims.columns, self.columns.len());
        let data: Vec<_> = self
            .columns
            .iter()
            .map(|column| column.cells.bytes())
            .collect();
        for (at, (column, data)) in self.columns.iter().zip(&data).enumerate() {
            write_uleb(&mut out, column.spec);
            claim(
                &mut out,
                self.claims
                    .column_length
                    .filter(|_| at + 1 == self.columns.len()),
                data.len(),
            );
        }
        for data in &data {
            out.extend(data);
        }
        out.extend(&self.extra);
        out
    }

    /// The plain chunk, its checksum right.
    pub fn bytes(&self) -> Vec<u8> {
        plain(&self.body())
    }
}

impl Cells {
    fn read(spec: u64, data: &[u8]) -> Option<Self> {
        Some(match spec & 7 {
            0 | 1 | 2 | 6 => Self::Numbers(runs(data)?),
            3 => Self::Deltas(runs(data)?),
            4 => Self::Flags(all(data, uleb)?),
            5 => Self::Texts(runs(data)?),
            _ => Self::Raw(data.to_vec()),
        })
    }

    pub fn bytes(&self) -> Vec<u8> {
        let mut out = Vec::new();
        match self {
            Self::Numbers(runs) => write_runs(&mut out, runs),
            Self::Deltas(runs) => write_runs(&mut out, runs),
            Self::Texts(runs) => write_runs(&mut out, runs),
            Self::Flags(counts) => counts.iter().for_each(|count| write_uleb(&mut out, *count)),
            Self::Raw(bytes) => out.extend(bytes),
        }
        out
    }
}

fn all<T>(mut data: &[u8], read: impl Fn(&mut &[u8]) -> Option<T>) -> Option<Vec<T>> {
    let mut cells = Vec::new();
    while !data.is_empty() {
        cells.push(read(&mut data)?);
    }
    Some(cells)
}

fn runs<T: Cell>(data: &[u8]) -> Option<Vec<Run<T>>> {
    all(data, |input| {
        Some(match leb(input)? {
            0 => Run::Nulls(uleb(input)?),
            count @ 1.. => Run::Repeat(count, T::read(input)?),
            count => Run::Literal(
                count,
                (0..count.unsigned_abs())
                    .map(|_| T::read(input))
                    .collect::<Option<_>>()?,
            ),
        })
    })
}

fn write_runs<T: Cell>(out: &mut Vec<u8>, runs: &[Run<T>]) {
    for run in runs {
        match run {
            Run::Nulls(count) => {
                write_leb(out, 0);
                write_uleb(out, *count);
            }
            Run::Repeat(count, cell) => {
                write_leb(out, *count);
                cell.write(out);
            }
            Run::Literal(count, cells) => {
                write_leb(out, *count);
                for cell in cells {
                    cell.write(out);
                }
            }
        }
    }
}

/// What a chunk of any type holds between its header and its end.
pub fn body(bytes: &[u8]) -> Option<&[u8]> {
    let mut rest = bytes.strip_prefix(&MAGIC[..])?.get(5..)?;
    let length = uleb(&mut rest)?;
    (rest.len() as u64 == length).then_some(rest)
}

/// A plain change chunk around any body, its checksum right.
pub fn plain(body: &[u8]) -> Vec<u8> {
    frame(CHANGE, body, body)
}

/// A deflated change chunk around any body, its checksum right.
pub fn deflated(body: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::DeflateEncoder::new(Vec::new(), flate2::Compression::fast());
    // Writing into a buffer has no way to fail.
    let packed = encoder
        .write_all(body)
        .and_then(|()| encoder.finish())
        .unwrap_or_default();
    frame(DEFLATED, &packed, body)
}

/// A chunk of `kind` around `stored`, with the checksum of `inflated`.
pub fn frame(kind: u8, stored: &[u8], inflated: &[u8]) -> Vec<u8> {
    let mut hashed = vec![CHANGE];
    write_uleb(&mut hashed, inflated.len() as u64);
    let hash = Sha256::new()
        .chain_update(&hashed)
        .chain_update(inflated)
        .finalize();
    let mut out = MAGIC.to_vec();
    out.extend(&hash[..4]);
    out.push(kind);
    write_uleb(&mut out, stored.len() as u64);
    out.extend(stored);
    out
}

fn take<'a>(input: &mut &'a [u8], length: usize) -> Option<&'a [u8]> {
    let (head, tail) = input.split_at_checked(length)?;
    *input = tail;
    Some(head)
}

fn uleb(input: &mut &[u8]) -> Option<u64> {
    let (mut value, mut shift) = (0_u64, 0);
    loop {
        let byte = take(input, 1)?[0];
        value |= u64::from(byte & 0x7f).checked_shl(shift)?;
        shift += 7;
        if byte < 0x80 {
            return Some(value);
        }
    }
}

fn leb(input: &mut &[u8]) -> Option<i64> {
    let (mut value, mut shift) = (0_i64, 0);
    loop {
        let byte = take(input, 1)?[0];
        value |= i64::from(byte & 0x7f).checked_shl(shift)?;
        shift += 7;
        if byte < 0x80 {
            let negative = byte & 0x40 != 0 && shift < 64;
            return Some(if negative {
                value | (-1 << shift)
            } else {
                value
            });
        }
    }
}

pub fn write_uleb(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

pub fn write_leb(out: &mut Vec<u8>, mut value: i64) {
    while !(-64..64).contains(&value) {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8 & 0x7f);
}
