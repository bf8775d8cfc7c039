//! Columns and header, twisted: counts, run lengths, deltas, actor tables, predecessor lists, value metadata; unknown, doubled, reordered,
//! missing and lying columns.

use crate::{
    chunk::{Cell, Cells, Chunk, Column, Run},
    draw::Draw,
};

/// Column ids with type of changes, of documents, and of nothing yet.
const SPECS: &[u64] = &[
    0x01, 0x02, 0x11, 0x13, 0x15, 0x21, 0x23, 0x34, 0x42, 0x56, 0x57, 0x70, 0x71, 0x73, 0x80, 0x81,
    0x83, 0x94, 0xa5, 0x09, 0x5f, 0x00, 0x07, 0xff, 0x1000,
];

/// One twist.
pub fn mutate(chunk: &mut Chunk, draw: &mut Draw) {
    match draw.below(10) {
        0..=2 => header(chunk, draw),
        3 => table(chunk, draw),
        4 => claim(chunk, draw),
        _ => cells(chunk, draw),
    }
}

fn header(chunk: &mut Chunk, draw: &mut Draw) {
    match draw.below(12) {
        0 => chunk.seq = draw.extreme(chunk.seq),
        1 => chunk.start_op = draw.extreme(chunk.start_op),
        2 => chunk.time = draw.signed_extreme(chunk.time),
        3 => {
            let length = draw.extreme(chunk.message.len() as u64).min(70_000) as usize;
            chunk.message = draw.bytes(length);
        }
        4 => {
            let length = draw.extreme(20).min(300) as usize;
            chunk.actor = draw.bytes(length);
        }
        5 => list(&mut chunk.actors, draw, |draw| draw.bytes(20)),
        6 => many(&mut chunk.actors, draw, |draw| draw.bytes(20)),
        7 => {
            let own = chunk.actor.clone();
            let at = draw.place(chunk.actors.len());
            chunk.actors.insert(at, own);
        }
        8 => list(&mut chunk.deps, draw, |draw| draw.bytes(32)),
        9 => many(&mut chunk.deps, draw, |draw| draw.bytes(32)),
        10 => {
            let length = draw.below(40);
            chunk.extra = draw.bytes(length);
        }
        _ => {
            if let Some(actor) = chunk.actors.first_mut() {
                super::scramble(actor, draw);
            }
        }
    }
}

/// One out, one in, one twice, two swapped.
fn list<T: Clone>(list: &mut Vec<T>, draw: &mut Draw, make: impl Fn(&mut Draw) -> T) {
    let at = draw.place(list.len());
    match draw.below(4) {
        0 if at < list.len() => drop(list.remove(at)),
        1 if at < list.len() => {
            let copy = list[at].clone();
            list.insert(at, copy);
        }
        2 if list.len() > 1 => {
            let from = draw.below(list.len());
            let to = draw.below(list.len());
            list.swap(from, to);
        }
        _ => {
            let new = make(draw);
            list.insert(at, new);
        }
    }
}

/// A great many, in order or not.
fn many<T: Clone + Ord>(list: &mut Vec<T>, draw: &mut Draw, make: impl Fn(&mut Draw) -> T) {
    let count = *draw.pick(&[48, 62, 63, 64, 65, 200]);
    list.extend((0..count).map(|_| make(draw)));
    if draw.one_in(2) {
        list.sort();
    }
}

fn claim(chunk: &mut Chunk, draw: &mut Draw) {
    let claims = &mut chunk.claims;
    let (claim, truth) = match draw.below(6) {
        0 => (&mut claims.deps, chunk.deps.len()),
        1 => (&mut claims.actor, chunk.actor.len()),
        2 => (&mut claims.message, chunk.message.len()),
        3 => (&mut claims.actors, chunk.actors.len()),
        4 => (&mut claims.columns, chunk.columns.len()),
        _ => (&mut claims.column_length, 8),
    };
    *claim = Some(draw.extreme(truth as u64));
}

fn table(chunk: &mut Chunk, draw: &mut Draw) {
    let columns = &mut chunk.columns;
    let at = draw.place(columns.len());
    match draw.below(8) {
        0 if at < columns.len() => drop(columns.remove(at)),
        1 if at < columns.len() => {
            let copy = columns[at].clone();
            columns.insert(at, copy);
        }
        2 if at < columns.len() => columns[at].spec ^= 8,
        3 if at < columns.len() => columns[at].spec = *draw.pick(SPECS),
        4 if columns.len() > 1 => {
            let other = draw.below(columns.len());
            columns.swap(at.min(other), other);
        }
        5 => {
            let empty = Column {
                spec: *draw.pick(SPECS),
                cells: Cells::Raw(Vec::new()),
            };
            columns.insert(at, empty);
            columns.sort_by_key(|column| column.spec);
        }
        6 => many_columns(columns, draw),
        _ => {
            let length = draw.below(20);
            let data = Cells::Raw(draw.bytes(length));
            columns.insert(
                at,
                Column {
                    spec: *draw.pick(SPECS),
                    cells: data,
                },
            );
            if draw.one_in(2) {
                columns.sort_by_key(|column| column.spec);
            }
        }
    }
}

fn many_columns(columns: &mut Vec<Column>, draw: &mut Draw) {
    let count = if draw.one_in(8) {
        draw.below(300)
    } else {
        draw.below(16)
    };
    columns.extend((0..count as u64).map(|n| Column {
        spec: n << 4 | 2,
        cells: Cells::Raw(Vec::new()),
    }));
    columns.sort_by_key(|column| column.spec);
}

fn cells(chunk: &mut Chunk, draw: &mut Draw) {
    let Some(at) = chunk
        .columns
        .len()
        .checked_sub(1)
        .map(|last| draw.place(last))
    else {
        return;
    };
    match &mut chunk.columns[at].cells {
        Cells::Numbers(list) => runs(list, draw, |cell, draw| *cell = draw.extreme(*cell)),
        Cells::Deltas(list) => runs(list, draw, |cell, draw| *cell = draw.signed_extreme(*cell)),
        Cells::Texts(list) => runs(list, draw, |cell, draw| match draw.below(3) {
            0 => {
                let length = draw.extreme(256).min(5_000) as usize;
                *cell = vec![b'x'; length];
            }
            1 => *cell = (*draw.pick(crate::scene::KEYS)).as_bytes().to_vec(),
            _ => super::scramble(cell, draw),
        }),
        Cells::Flags(counts) => match draw.below(3) {
            0 if !counts.is_empty() => {
                let at = draw.below(counts.len());
                counts[at] = draw.extreme(counts[at]);
            }
            _ => list(counts, draw, |draw| draw.extreme(1)),
        },
        Cells::Raw(bytes) => super::scramble(bytes, draw),
    }
}

fn runs<T: Cell>(runs: &mut Vec<Run<T>>, draw: &mut Draw, twist: impl Fn(&mut T, &mut Draw)) {
    if runs.is_empty() || draw.one_in(5) {
        let nulls = Run::Nulls(draw.extreme(1));
        return list(runs, draw, |_| nulls.clone());
    }
    let at = draw.below(runs.len());
    match &mut runs[at] {
        Run::Nulls(count) => *count = draw.extreme(*count),
        Run::Repeat(count, cell) => match draw.below(3) {
            0 => *count = draw.signed_extreme(*count),
            1 => twist(cell, draw),
            _ => {
                // The same rows, as a literal: possible, and not canonical.
                let cells = vec![cell.clone(); (*count).clamp(1, 100) as usize];
                runs[at] = Run::Literal(-(cells.len() as i64), cells);
            }
        },
        Run::Literal(count, cells) => match draw.below(6) {
            0 => *count = draw.signed_extreme(*count),
            1 if !cells.is_empty() => {
                let run = Run::Repeat(draw.signed_extreme(1), cells[0].clone());
                runs[at] = run;
            }
            2 => {
                let first = cells.first().cloned();
                list(cells, draw, |_| {
                    first
                        .clone()
                        .unwrap_or_else(|| T::read(&mut &[0_u8; 4][..]).expect("a zero reads"))
                });
                *count = -(cells.len() as i64);
            }
            _ if !cells.is_empty() => {
                let at = draw.below(cells.len());
                twist(&mut cells[at], draw);
            }
            _ => {}
        },
    }
}
