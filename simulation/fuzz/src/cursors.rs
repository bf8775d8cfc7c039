//! Cursors that no server wrote.
//!
//! Claims: reading one never panics and holds no more than its length; what reads is exactly what `Cursor::encode` writes; and the plan made
//! of it never asks for what lies beyond the head.

use lianka_sync_core::{
    codec::cursor::{Cursor, Position, Pull, plan},
    id::StreetCode,
};
use uuid::Uuid;

use crate::{
    Failure, Found, Tally,
    budget::{Budget, Cost},
    draw::Draw,
    minimise::minimised,
    mutate::scramble,
};

const INPUTS: usize = 500;
const READS: &str = "a cursor reads without panic and within its budget";
const CANONICAL: &str = "only what the server wrote reads as a cursor";
const PLANS: &str = "a plan stays within the log";
const BASE64: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

pub fn budget() -> Budget {
    Budget {
        peak_per_byte: 4,
        peak_bytes: 4_096,
        allocations_per_byte: 0,
        allocations: 16,
        work_ns: 0,
    }
}

pub fn round(seed: u64, budget: &Budget) -> Tally {
    let mut draw = Draw::new(seed ^ 0xC0_50);
    let mut tally = Tally::default();
    for _ in 0..INPUTS {
        let text = cursor(&mut draw);
        tally.inputs += 1;
        match judge(&text, budget) {
            Ok((outcome, cost)) => {
                tally.count(outcome);
                tally.cost(cost);
            }
            Err(failure) => {
                let same = |bytes: &[u8]| {
                    let text = String::from_utf8_lossy(bytes);
                    matches!(judge(&text, budget), Err(other) if other.claim == failure.claim)
                };
                let input = minimised(text.as_bytes(), same);
                tally.found.push(Found {
                    failure,
                    input,
                    context: Vec::new(),
                });
            }
        }
    }
    tally
}

fn position(street: &StreetCode) -> Position<'_> {
    Position {
        store_epoch: Uuid::from_u128(1),
        street,
        head: 10,
        scope_epoch: 2,
    }
}

fn cursor(draw: &mut Draw) -> String {
    let honest = Cursor {
        store_epoch: Uuid::from_u128(1),
        street: "310104003".into(),
        sequence: draw.extreme(7),
        scope_epoch: draw.signed_extreme(2),
        downloading: draw.one_in(2),
    };
    let mut text = honest.encode().into_bytes();
    match draw.below(4) {
        0 => {}
        1 => scramble(&mut text, draw),
        _ => {
            for _ in 0..=draw.below(3) {
                let at = draw.place(text.len());
                let letter = *draw.pick(BASE64);
                if at < text.len() && draw.one_in(2) {
                    text[at] = letter;
                } else {
                    text.insert(at, letter);
                }
            }
        }
    }
    String::from_utf8_lossy(&text).into_owned()
}

/// All claims about one text.
pub fn judge(text: &str, budget: &Budget) -> Result<(&'static str, Cost), Failure> {
    let (cursor, cost) = budget.spend(READS, text.len(), || Cursor::decode(text))?;
    let street: StreetCode = "310104003"
        .parse()
        .map_err(|_| Failure::new(READS, "the street".into()))?;
    let (pull, _) = budget.spend(PLANS, text.len(), || plan(Some(text), &position(&street)))?;
    match pull {
        Pull::Delta { after, .. } | Pull::Download { after, .. } if after > 10 => {
            return Err(Failure::new(PLANS, format!("after {after}")));
        }
        _ => {}
    }
    match cursor {
        None if pull == Pull::Reset => Ok(("refused", cost)),
        None => Err(Failure::new(PLANS, "a plan for what is no cursor".into())),
        Some(cursor) if cursor.encode() == text => Ok(("a cursor", cost)),
        Some(cursor) => Err(Failure::new(
            CANONICAL,
            format!("{text} is {}", cursor.encode()),
        )),
    }
}
