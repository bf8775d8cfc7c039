//! What runs found once, as scripts of a few steps.

use lianka_simulation::{
    Script, check,
    office::{Identities, MemoryOffice, Setup},
    run_to_end,
    script::{Desk, MadeBy, Set, Step, Weather, What},
};

fn holds(steps: Vec<What>) {
    let setup = Setup {
        street: "310104003".into(),
        grids: vec!["A1".into(), "A2".into()],
        roads: vec!["康平路".into()],
        secretaries: vec![
            ("xuna".into(), vec!["A1".into()]),
            ("lihua".into(), vec!["A1".into()]),
        ],
        log_days: 30,
    };
    let step = |(no, what)| Step {
        no,
        at_ms: i64::from(no) * 60_000,
        what,
    };
    let script = Script {
        seed: 1,
        setup,
        steps: (0..).zip(steps).map(step).collect(),
    };
    let mut office = MemoryOffice::new(&script.setup, Identities::Seeded(script.seed));
    let story = run_to_end(&script, &mut office);
    assert_eq!(check::check(&script.setup, &story), []);
}

fn ready(phone: usize, username: &str) -> [What; 2] {
    [
        What::Enrol {
            phone,
            username: username.into(),
        },
        What::Network {
            phone,
            weather: Weather::Fine,
        },
    ]
}

fn create() -> What {
    let set: Set = vec![
        ("road".into(), Some("康平路".into())),
        ("sign_name".into(), Some("v1.0z".into())),
    ];
    What::Create {
        phone: 0,
        grid: "A1".into(),
        set,
        note: "v1.1z".into(),
    }
}

fn edit(phone: usize, key: &str, value: &str) -> What {
    What::Edit {
        phone,
        record: MadeBy(4),
        set: vec![(key.into(), Some(value.into()))],
        note: None,
    }
}

/// Neither a verdict nor a record that does not come back after a restore may leave the erased values in the log beside the file.
#[test]
fn what_was_erased_after_a_restore_is_not_in_the_phones_log() {
    let [enrolled, fine] = ready(0, "xuna");
    let [enrolled_too, fine_too] = ready(1, "lihua");
    let steps = [
        create(),
        What::Sync { phone: 0 },
        What::Sync { phone: 1 },
        What::Desk(Desk::Backup),
        What::Desk(Desk::Restore),
    ];
    let erase = What::Desk(Desk::Erase { record: MadeBy(4) });
    holds(
        [enrolled, fine, enrolled_too, fine_too]
            .into_iter()
            .chain(steps)
            .chain([erase])
            .collect(),
    );
}

/// A copy's change was lost with the office's history, and its number went to another one: what was built on it must not block its phone.
#[test]
fn a_number_that_went_to_another_copy_blocks_nobody() {
    let [enrolled, fine] = ready(0, "xuna");
    let [enrolled_too, fine_too] = ready(1, "lihua");
    let fine_copy = What::Network {
        phone: 2,
        weather: Weather::Fine,
    };
    let steps = [
        create(),
        What::Sync { phone: 0 },
        What::Clone { phone: 0, to: 2 },
        fine_copy,
        What::Desk(Desk::Backup),
    ];
    let late = [
        edit(2, "category", "v2.0z"),
        What::Sync { phone: 2 },
        What::Sync { phone: 1 },
        edit(1, "lane", "v3.0z"),
        What::Sync { phone: 1 },
        What::Desk(Desk::Restore),
        edit(0, "number", "v4.0z"),
        What::Sync { phone: 0 },
        What::Sync { phone: 1 },
        // From the start once more: what waits for the lost change is looked through again.
        What::Enrol {
            phone: 1,
            username: "lihua".into(),
        },
    ];
    holds(
        [enrolled, fine, enrolled_too, fine_too]
            .into_iter()
            .chain(steps)
            .chain(late)
            .collect(),
    );
}

/// What was written before a new enrolment is refused in those bytes: the phone writes it anew before it clears itself.
#[test]
fn a_phone_enrolled_anew_is_not_wiped_before_its_edits_are_handed_over() {
    let [enrolled, fine] = ready(0, "xuna");
    let [enrolled_too, fine_too] = ready(1, "lihua");
    let steps = [
        create(),
        What::Sync { phone: 0 },
        edit(0, "number", "v4.0z"),
        create(),
        What::Enrol {
            phone: 0,
            username: "xuna".into(),
        },
        What::Desk(Desk::Revoke {
            phone: 0,
            wipe: true,
        }),
    ];
    holds(
        [enrolled, fine, enrolled_too, fine_too]
            .into_iter()
            .chain(steps)
            .collect(),
    );
}

/// The answer that brings a gained grid breaks off, and the grid is gone again: no cursor tells the office what the phone holds.
#[test]
fn a_grid_that_was_given_for_minutes_leaves_nothing_behind() {
    let [enrolled, fine] = ready(0, "xuna");
    let [enrolled_too, fine_too] = ready(1, "lihua");
    let assign = |grid: &str| {
        What::Desk(Desk::Assign {
            username: "lihua".into(),
            grids: vec![grid.into()],
        })
    };
    let steps = [
        create(),
        create(),
        create(),
        create(),
        What::Sync { phone: 0 },
        assign("A2"),
        What::Sync { phone: 1 },
        assign("A1"),
    ];
    let tunnel = [
        What::Network {
            phone: 1,
            weather: Weather::Tunnel,
        },
        What::Sync { phone: 1 },
        assign("A2"),
    ];
    let out_again = What::Network {
        phone: 1,
        weather: Weather::Fine,
    };
    holds(
        [enrolled, fine, enrolled_too, fine_too]
            .into_iter()
            .chain(steps)
            .chain(tunnel)
            .chain([out_again])
            .collect(),
    );
}
