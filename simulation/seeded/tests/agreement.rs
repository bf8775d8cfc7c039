//! Some of the same worlds on the real router and Postgres: every promise held there too, and the office in memory says the same to every word.
#![cfg(feature = "real")]

use lianka_simulation::{
    Script, check,
    office::{RealOffice, Setup, agreement},
    run_to_end,
    script::{Step, Weather, What},
};
use lianka_sync_core::planted::{self, Bug};

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
    // In the same test, because a planted bug is in the whole process.
    a_chain_without_links_is_found();
}

/// The one bug on purpose that only the real office can have.
fn a_chain_without_links_is_found() {
    let _planted = planted::plant(Bug::AuditSkipsLink);
    let setup = Setup {
        street: "310104003".into(),
        grids: vec!["A1".into(), "A2".into()],
        roads: vec!["康平路".into()],
        secretaries: vec![("xuna".into(), vec!["A1".into()])],
        log_days: 30,
    };
    // A submitted request makes several events at once: only those are linked by the code and not by the store.
    let field = |name: &str, value: &str| (name.to_owned(), value.to_owned());
    let names = [
        "member_name",
        "member_status",
        "origin_organisation",
        "phone",
        "target_branch",
    ];
    let fields = names
        .map(|name| {
            field(
                name,
                if name == "member_status" {
                    "正式"
                } else {
                    "v1.0z"
                },
            )
        })
        .to_vec();
    let (grid, kind, alias) = ("A1".into(), "in_city_e".into(), "v1.1z".into());
    let steps = [
        What::Enrol {
            phone: 0,
            username: "xuna".into(),
        },
        What::Network {
            phone: 0,
            weather: Weather::Fine,
        },
        What::File {
            phone: 0,
            grid,
            kind,
            alias,
            fields,
            submit: true,
        },
        What::Sync { phone: 0 },
    ];
    let step = |(no, what)| Step {
        no,
        at_ms: i64::from(no) * 30_000,
        what,
    };
    let script = Script {
        seed: 1,
        setup,
        steps: (0..).zip(steps).map(step).collect(),
    };
    let story = run_to_end(&script, &mut RealOffice::new(&script.setup, script.seed));
    let found = check::check(&script.setup, &story);
    assert!(
        found
            .iter()
            .any(|finding| finding.promise == "the audit chain is whole"),
        "{found:?}"
    );
}
