//! What single operations allocate stays within `budget.json`. Unlike times, allocations are the same on every machine.
//!
//! `LIANKA_WRITE_BUDGET=1` writes the file anew: say in the commit why it grew.

use std::{collections::BTreeMap, path::PathBuf};

/// A little more or less is another compiler.
const TOLERANCE_PERCENT: u64 = 3;

/// Allocations and bytes of one run.
type Costs = BTreeMap<String, [u64; 2]>;

fn measured() -> Costs {
    let cost = |operation: &lianka_bench::Operation| {
        let run = operation.prepare();
        let mut came_out = 0;
        let counted = allocation_counter::measure(|| came_out = run());
        assert!(came_out > 0, "{} did nothing", operation.name);
        let cost = [counted.count_total, counted.bytes_total];
        (operation.name.to_owned(), cost)
    };
    lianka_bench::operations().iter().map(cost).collect()
}

#[test]
fn operations_allocate_no_more_than_they_may() {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("budget.json");
    let measured = measured();
    if std::env::var_os("LIANKA_WRITE_BUDGET").is_some() {
        let text = serde_json::to_string_pretty(&measured).expect("it is JSON");
        std::fs::write(&path, text + "\n").expect("the budget is written");
    }
    let text = std::fs::read_to_string(&path).expect("budget.json");
    let budget: Costs = serde_json::from_str(&text).expect("a budget");
    let names = |costs: &Costs| costs.keys().cloned().collect::<Vec<_>>();
    assert_eq!(names(&measured), names(&budget));
    let over: Vec<String> = measured
        .iter()
        .flat_map(|(name, cost)| {
            let may = budget[name];
            let pairs = ["allocations", "bytes"]
                .into_iter()
                .zip(cost.iter().zip(may));
            pairs.filter_map(move |(what, (is, may))| {
                let differs = is.abs_diff(may) * 100 > may * TOLERANCE_PERCENT;
                differs.then(|| format!("{name}: {is} {what}, and the budget says {may}"))
            })
        })
        .collect();
    assert!(
        over.is_empty(),
        "{over:#?}\nwrite the budget anew with LIANKA_WRITE_BUDGET=1, where it should be so"
    );
}
