//! Some of the same runs on the real router and Postgres: every promise held there too, and the office in memory says the same to every word.
#![cfg(feature = "real")]

use lianka_simulation::{Script, check, office::agreement};

const SEEDS: u64 = 6;

#[test]
fn the_real_office_keeps_every_promise_and_the_one_in_memory_answers_alike() {
    for seed in 1..=SEEDS {
        let script = Script::of(seed);
        let (story, difference) = agreement::both(&script);
        let found: Vec<_> = check::check(&script.setup, &story)
            .iter()
            .map(ToString::to_string)
            .collect();
        assert!(found.is_empty(), "seed {seed}: {}", found.join("\n"));
        assert!(
            difference.is_none(),
            "seed {seed}: {}",
            difference
                .map(|difference| difference.to_string())
                .unwrap_or_default()
        );
    }
}
