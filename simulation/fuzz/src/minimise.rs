//! A failing input made small: whatever can be taken out or flattened while the same claim breaks.

use crate::chunk;

/// Tries of one input; a failure is worth some seconds, not minutes.
const TRIES_MAX: usize = 3_000;

/// The smallest input found that still `fails`. A change keeps a right checksum while it shrinks.
pub fn minimised(input: &[u8], fails: impl Fn(&[u8]) -> bool) -> Vec<u8> {
    if let Some(body) = chunk::body(input)
        && fails(&chunk::plain(body))
    {
        return chunk::plain(&shrunk(body, |body| fails(&chunk::plain(body))));
    }
    shrunk(input, fails)
}

fn shrunk(input: &[u8], fails: impl Fn(&[u8]) -> bool) -> Vec<u8> {
    let mut best = input.to_vec();
    let mut tries = 0;
    let mut width = (best.len() / 2).max(1);
    while tries < TRIES_MAX && !best.is_empty() {
        let mut smaller = false;
        let mut at = 0;
        while at < best.len() && tries < TRIES_MAX {
            let end = (at + width).min(best.len());
            let cut = [&best[..at], &best[end..]].concat();
            tries += 1;
            if fails(&cut) {
                (best, smaller) = (cut, true);
            } else {
                at += width;
            }
        }
        match width {
            1 if !smaller => break,
            1 => {}
            _ => width /= 2,
        }
    }
    for at in 0..best.len() {
        let held = best[at];
        if tries < TRIES_MAX && held != 0 {
            tries += 1;
            best[at] = 0;
            if !fails(&best) {
                best[at] = held;
            }
        }
    }
    best
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_does_not_matter_goes() {
        let input = [b"some words before ".as_slice(), b"BAD", b" and after"].concat();
        assert_eq!(
            minimised(&input, |bytes| bytes
                .windows(3)
                .any(|three| three == b"BAD")),
            b"BAD"
        );
        let chunk = minimised(&chunk::plain(&input), |bytes| {
            chunk::body(bytes).is_some_and(|body| body.contains(&b'B'))
        });
        assert_eq!(chunk, chunk::plain(b"B"));
    }
}
