//! Worlds are the same for the same seed, and go on without any of their steps.

use crate::{
    Script, Story,
    coverage::Coverage,
    office::{identities::Identities, model::ModelOffice},
    run_to_end,
};

fn story(script: &Script) -> Story {
    run_to_end(script, &mut ModelOffice::new(&script.setup, Identities::Seeded(script.seed)))
}

#[test]
fn the_same_seed_tells_the_same_story() {
    for seed in 0..6 {
        let script = Script::of(seed);
        assert_eq!(script, Script::of(seed));
        let (one, other) = (story(&script), story(&script));
        let differs = one.journal.lines.iter().zip(&other.journal.lines).find(|(one, other)| one != other);
        assert!(differs.is_none(), "seed {seed}: {differs:#?}");
        assert_eq!(one.evidence, other.evidence, "seed {seed}");
        assert_eq!(one.coverage, other.coverage, "seed {seed}");
        for (one, other) in one.phones.iter().zip(&other.phones) {
            assert_eq!((&one.records, &one.outbox, &one.drafts), (&other.records, &other.outbox, &other.drafts), "seed {seed}");
        }
    }
}

#[test]
fn a_script_runs_without_any_of_its_steps() {
    for seed in 0..4 {
        let script = Script::of(seed);
        for part in 0..6 {
            let fewer = script.only(|no| no % 6 != part);
            assert!(fewer.steps.len() < script.steps.len());
            let story = story(&fewer);
            assert!(story.alarms.is_empty(), "seed {seed} without part {part}: {:#?}", story.alarms);
        }
        assert!(story(&script.only(|_| false)).journal.lines.is_empty());
    }
}

/// Long form, for a hunt by hand: `SEEDS=200 cargo test -p lianka-world --lib become_quiet -- --nocapture`.
#[test]
fn worlds_become_quiet_without_an_alarm() {
    let seeds = std::env::var("SEEDS").ok().and_then(|seeds| seeds.parse().ok()).unwrap_or(20);
    let mut coverage = Coverage::default();
    let mut alarms = Vec::new();
    for seed in 0..seeds {
        let story = story(&Script::of(seed));
        alarms.extend(story.alarms.into_iter().map(|alarm| format!("seed {seed}: {alarm}")));
        coverage.add(&story.coverage);
    }
    println!("{coverage}");
    assert!(alarms.is_empty(), "{alarms:#?}");
}
