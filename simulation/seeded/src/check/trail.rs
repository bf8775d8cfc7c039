//! The audit chain, hashed anew as docs/operations.md says it is made.

use serde_json::Value;
use sha2::{Digest, Sha256};
use uuid::Uuid;

use super::{About, Finding};
use crate::office::Evidence;

const FORM: &[u8] = b"lianka audit 1";

/// `chain` is the street.
pub fn check(chain: &str, evidence: &Evidence, found: &mut Vec<Finding>) {
    let mut wrong = |what: String| {
        found.push(Finding::new(
            "the audit chain is whole",
            About::default(),
            what,
        ));
    };
    let mut previous: Option<Vec<u8>> = None;
    let mut last = 0;
    for event in &evidence.audit {
        let no = event["no"].as_i64().unwrap_or_default();
        if no != last + 1 {
            wrong(format!("event {no} follows {last}"));
        }
        let before = previous.take().unwrap_or_else(|| genesis(chain));
        match hash(&before, chain, no, event) {
            Some(made) if event["hash"].as_str() == Some(&hex(&made)) => {}
            Some(_) => wrong(format!(
                "event {no} ({}) is not what its hash says",
                event["action"]
            )),
            None => wrong(format!("event {no} cannot be read")),
        }
        previous = event["hash"].as_str().map(unhex);
        last = no;
    }
}

/// What the first event names as the one before.
pub fn genesis(chain: &str) -> Vec<u8> {
    Sha256::new()
        .chain_update(FORM)
        .chain_update(chain)
        .finalize()
        .to_vec()
}

/// The hash of an event as the API tells it.
pub fn hash(previous: &[u8], chain: &str, no: i64, event: &Value) -> Option<Vec<u8>> {
    let id = |name: &str| match &event[name] {
        Value::Null => Some(None),
        value => value
            .as_str()?
            .parse::<Uuid>()
            .ok()
            .map(|id| Some(id.as_bytes().to_vec())),
    };
    let mut sha = Sha256::new_with_prefix(FORM);
    let mut column = |bytes: Option<&[u8]>| match bytes {
        Some(bytes) => {
            sha.update((bytes.len() as u32).to_be_bytes());
            sha.update(bytes);
        }
        None => sha.update([0xff; 4]),
    };
    column(Some(previous));
    column(Some(chain.as_bytes()));
    column(Some(&no.to_be_bytes()));
    column(Some(&micros(event["at"].as_str()?)?.to_be_bytes()));
    column(event["username"].as_str().map(str::as_bytes));
    column(id("device")?.as_deref());
    column(Some(event["action"].as_str()?.as_bytes()));
    column(id("record")?.as_deref());
    column(Some(event["detail"].to_string().as_bytes()));
    Some(sha.finalize().to_vec())
}

/// Microseconds since 1970 of an RFC 3339 time in UTC.
pub(super) fn micros(at: &str) -> Option<i64> {
    let (date, rest) = at.strip_suffix('Z')?.split_once('T')?;
    let mut day = date.splitn(3, '-').map(|part| part.parse::<i64>().ok());
    let (year, month, day) = (day.next()??, day.next()??, day.next()??);
    let (clock, fraction) = rest.split_once('.').unwrap_or((rest, ""));
    let mut clock = clock.splitn(3, ':').map(|part| part.parse::<i64>().ok());
    let (hours, minutes, seconds) = (clock.next()??, clock.next()??, clock.next()??);
    let fraction: i64 = format!("{fraction:0<6}").get(..6)?.parse().ok()?;
    // Days from the civil calendar, counted from March so that a leap day comes last.
    let (y, m) = if month > 2 {
        (year, month - 3)
    } else {
        (year - 1, month + 9)
    };
    let era = y.div_euclid(400);
    let of_era = y - era * 400;
    let days = era * 146_097 + of_era * 365 + of_era / 4 - of_era / 100 + (153 * m + 2) / 5 + day
        - 1
        - 719_468;
    Some((((days * 24 + hours) * 60 + minutes) * 60 + seconds) * 1_000_000 + fraction)
}

/// In hex, lower case.
pub fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    bytes.iter().fold(String::new(), |mut text, byte| {
        // Writing into a string cannot fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}

fn unhex(text: &str) -> Vec<u8> {
    (0..text.len() / 2)
        .filter_map(|at| u8::from_str_radix(text.get(at * 2..at * 2 + 2)?, 16).ok())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_counted() {
        assert_eq!(micros("1970-01-01T00:00:00Z"), Some(0));
        assert_eq!(
            micros("2026-11-21T08:00:00.25Z"),
            Some(1_795_248_000_250_000)
        );
        assert_eq!(
            micros("2024-02-29T00:00:01.000001Z"),
            Some(1_709_164_801_000_001)
        );
    }
}
