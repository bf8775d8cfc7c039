//! Runs are the same for the same seed, and go on without any of their steps.

use crate::{
    Script, Story,
    check::check,
    coverage::Coverage,
    journal::Event,
    office::{MemoryOffice, Setup, identities::Identities},
    run_to_end,
    script::{Desk, MadeBy, Set, Step, Weather, What},
};

fn story(script: &Script) -> Story {
    run_to_end(
        script,
        &mut MemoryOffice::new(&script.setup, Identities::Seeded(script.seed)),
    )
}

#[test]
fn the_same_seed_tells_the_same_story() {
    for seed in 0..6 {
        let script = Script::of(seed);
        assert_eq!(script, Script::of(seed));
        let (one, other) = (story(&script), story(&script));
        let differs = one
            .journal
            .lines
            .iter()
            .zip(&other.journal.lines)
            .find(|(one, other)| one != other);
        assert!(differs.is_none(), "seed {seed}: {differs:#?}");
        assert_eq!(one.evidence, other.evidence, "seed {seed}");
        assert_eq!(one.coverage, other.coverage, "seed {seed}");
        for (one, other) in one.phones.iter().zip(&other.phones) {
            assert_eq!(
                (&one.records, &one.outbox, &one.drafts),
                (&other.records, &other.outbox, &other.drafts),
                "seed {seed}"
            );
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
            assert!(
                story.alarms.is_empty(),
                "seed {seed} without part {part}: {:#?}",
                story.alarms
            );
        }
        // The office looks after itself in the end.
        let nothing = story(&script.only(|_| false));
        let mut lines = nothing.journal.lines.iter();
        assert!(lines.all(|line| line.event == Event::Tended));
    }
}

/// Long form, for a hunt by hand: `SEEDS=200 cargo test -p lianka-simulation --lib become_quiet -- --nocapture`.
#[test]
fn every_run_becomes_quiet_without_an_alarm() {
    let seeds = std::env::var("SEEDS")
        .ok()
        .and_then(|seeds| seeds.parse().ok())
        .unwrap_or(20);
    let mut coverage = Coverage::default();
    let mut alarms = Vec::new();
    for seed in 0..seeds {
        let story = story(&Script::of(seed));
        alarms.extend(
            story
                .alarms
                .into_iter()
                .map(|alarm| format!("seed {seed}: {alarm}")),
        );
        coverage.add(&story.coverage);
    }
    println!("{coverage}");
    assert!(alarms.is_empty(), "{alarms:#?}");
}

/// Steps one minute apart over networks that are fine.
fn told(steps: Vec<What>) -> Script {
    let setup = Setup {
        street: "310104003".into(),
        grids: vec!["A1".into(), "A2".into()],
        roads: vec!["康平路".into()],
        secretaries: vec![("xuna".into(), vec!["A1".into()])],
        log_days: 30,
    };
    let step = |(no, what)| Step {
        no,
        at_ms: i64::from(no) * 60_000,
        what,
    };
    Script {
        seed: 1,
        setup,
        steps: (0..).zip(steps).map(step).collect(),
    }
}

fn fine(phone: usize) -> What {
    What::Network {
        phone,
        weather: Weather::Fine,
    }
}

fn enrol(phone: usize) -> What {
    What::Enrol {
        phone,
        username: "xuna".into(),
    }
}

fn create(phone: usize) -> What {
    let set: Set = vec![
        ("road".into(), Some("康平路".into())),
        ("sign_name".into(), Some("v1.0z".into())),
    ];
    What::Create {
        phone,
        grid: "A1".into(),
        set,
        note: "v1.1z".into(),
    }
}

fn holds(script: &Script) {
    let story = story(script);
    let found = check(&script.setup, &story);
    assert!(found.is_empty(), "{found:#?}");
    assert!(!story.evidence.records.is_empty());
}

/// What one of two phones with the same file wrote is no news to the office's eyes; to the other phone it is.
#[test]
fn a_phone_learns_what_its_copy_wrote() {
    let value = vec![("number".into(), Some("v6.0z".into()))];
    holds(&told(vec![
        enrol(0),
        fine(0),
        create(0),
        What::Sync { phone: 0 },
        What::Clone { phone: 0, to: 1 },
        fine(1),
        What::Edit {
            phone: 1,
            record: MadeBy(2),
            set: value,
            note: None,
        },
        What::Sync { phone: 1 },
        enrol(1),
    ]));
}

/// The office never sent the record, so that no departure names it.
#[test]
fn a_phone_drops_what_was_accepted_after_its_grid_was_lost() {
    holds(&told(vec![
        enrol(0),
        fine(0),
        create(0),
        What::Desk(Desk::Assign {
            username: "xuna".into(),
            grids: vec!["A2".into()],
        }),
        What::Sync { phone: 0 },
        What::Desk(Desk::Held {
            nth: 0,
            accept: true,
        }),
    ]));
}
