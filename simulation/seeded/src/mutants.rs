//! What becomes of a mutant: in which run, and by which promise, it is found. Only in the tree that `scripts/mutants.sh` patches.

use lianka_mutants::{Mutant, plant};

use crate::{
    Script,
    office::Setup,
    runner::{self, Failure, Report},
    script::{Desk, MadeBy, Step, Weather, What},
};

/// Runs the mutant's own script, or else the seeds from `from` on; `stop_at_first`: no further than to the first that finds it.
pub fn find(mutant: Mutant, from: u64, seeds: u64, stop_at_first: bool) -> Report {
    let Some(script) = script_for(mutant) else {
        let _planted = plant(mutant);
        return runner::many(from, seeds, stop_at_first, &|_| ());
    };
    assert_eq!(runner::one(&script).found, [], "without the mutant");
    let _planted = plant(mutant);
    let outcome = runner::one(&script);
    let found = !outcome.found.is_empty();
    Report {
        runs: 1,
        failures: Vec::from_iter(found.then_some(Failure {
            seed: script.seed,
            found: outcome.found,
        })),
        ..Report::default()
    }
}

/// Whether it has a script of its own.
pub fn has_a_script(mutant: Mutant) -> bool {
    script_for(mutant).is_some()
}

/// Few restores in drawn runs find phones that keep their tokens, and with them the device whose edits they may send again: mutants in
/// healing have a script of their own, in which the backup is minutes old.
fn script_for(mutant: Mutant) -> Option<Script> {
    // Whether the whole record is lost, or what was written on it.
    let whole = match mutant {
        Mutant::HealForgetsOwn | Mutant::HealSendsNewest => false,
        Mutant::StayForgotten => true,
        _ => return None,
    };
    let setup = Setup {
        street: "310104003".into(),
        grids: vec!["A1".into()],
        roads: vec!["康平路".into()],
        secretaries: vec![("xuna".into(), vec!["A1".into()])],
        log_days: 30,
    };
    let set = |key: &str, value: &str| vec![(key.to_owned(), Some(value.to_owned()))];
    let edit = |key, value| What::Edit {
        phone: 0,
        record: MadeBy(2),
        set: set(key, value),
        note: None,
    };
    let mut steps = [
        What::Enrol {
            phone: 0,
            username: "xuna".into(),
        },
        What::Network {
            phone: 0,
            weather: Weather::Fine,
        },
        What::Create {
            phone: 0,
            grid: "A1".into(),
            set: set("road", "康平路"),
            note: "v2.0z".into(),
        },
        What::Sync { phone: 0 },
        What::Desk(Desk::Backup),
        edit("sign_name", "v5.0z"),
        edit("lane", "v6.0z"),
        What::Sync { phone: 0 },
        What::Desk(Desk::Restore),
        What::Sync { phone: 0 },
    ];
    if whole {
        // The backup comes before the creation.
        steps.swap(2, 4);
        steps.swap(3, 4);
    }
    let made = if whole { 3 } else { 2 };
    for what in &mut steps {
        if let What::Edit { record, .. } = what {
            *record = MadeBy(made);
        }
    }
    let step = |(no, what)| Step {
        no,
        at_ms: i64::from(no) * 30_000,
        what,
    };
    Some(Script {
        seed: 1,
        setup,
        steps: (0..).zip(steps).map(step).collect(),
    })
}
