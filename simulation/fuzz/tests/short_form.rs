//! The short form of `make fuzz`, and what was found before: every claim of every target over some thousands of inputs of fixed seeds, every
//! kept input refused as it was, every generator still seeing what it is made to see.

use std::{fs, path::Path};

use lianka_fuzz::{
    Tally,
    budget::quiet_panics,
    campaign::Target,
    crashers::{CRASHERS, honest},
    gate,
};
use lianka_sync_core::codec::change;

/// Some rounds in this process; a failure prints how to replay its seed.
fn rounds(target: Target, seeds: std::ops::Range<u64>) -> Tally {
    quiet_panics();
    let budget = target.budget();
    let mut tally = Tally::default();
    for seed in seeds {
        let round = target.round(seed, &budget);
        let failures: Vec<_> = round
            .found
            .iter()
            .map(|found| found.failure.to_string())
            .collect();
        assert!(
            failures.is_empty(),
            "lianka-fuzz replay --target {} --seed {seed}: {failures:#?}",
            target.name()
        );
        tally.add(round);
    }
    tally
}

#[test]
fn mutated_changes_harm_nothing() {
    let tally = rounds(Target::Gate, 0..12);
    assert!(tally.inputs > 8_000, "{}", tally.inputs);
    assert_eq!(gate::blind(&tally), Vec::<&str>::new());
    assert!(tally.outcomes["honest"] > 40);
    // MERGE was tried, and not only the gate.
    for code in [
        "bad_predecessor",
        "bad_start_op",
        "sequence_gap",
        "dependency_missing",
        "actor_forked",
        "write_once",
    ] {
        assert!(
            tally.outcomes.keys().any(|outcome| outcome.ends_with(code)),
            "{code} was never drawn"
        );
    }
}

#[test]
fn mutated_requests_harm_nothing() {
    let tally = rounds(Target::Requests, 0..8);
    for outcome in [
        "application/x-ndjson read to the end",
        "application/cbor-seq read to the end",
        "application/cbor-seq broken syntax",
    ] {
        assert!(
            tally.outcomes.contains_key(outcome),
            "{outcome} was never drawn"
        );
    }
}

#[test]
fn mutated_cursors_harm_nothing() {
    let tally = rounds(Target::Cursors, 0..20);
    assert!(tally.outcomes["refused"] > 1_000 && tally.outcomes["a cursor"] > 1_000);
}

#[cfg(feature = "server")]
#[test]
fn mutated_spreadsheets_harm_nothing() {
    let tally = rounds(Target::Sheets, 0..6);
    for outcome in ["read", "unreadable", "over a limit"] {
        assert!(
            tally.outcomes.contains_key(outcome),
            "{outcome} was never drawn"
        );
    }
}

/// The reader of workbooks would make room for them, and a server that cannot make room ends.
#[cfg(feature = "server")]
#[test]
fn a_workbook_that_claims_many_strings_is_refused() {
    use lianka_fuzz::sheets;

    let budget = Target::Sheets.budget();
    let judge = |claim: &str| {
        sheets::judge(&sheets::claiming_strings(claim), &budget)
            .expect("no panic, and within the budget")
            .0
    };
    for claim in [
        r#"uniqueCount="4294967295""#,
        "uniqueCount  =  '18446744073709551615'",
        &format!(r#"uniqueCount{}="99999999""#, " ".repeat(10_000)),
        r#"uniqueCount="00000099999999""#,
    ] {
        assert_eq!(judge(claim), "over a limit", "{claim}");
    }
    assert_ne!(judge(r#"uniqueCount="1""#), "over a limit");
}

/// Two thousand changes of one run each would be a gigabyte once read, out of a hundred kilobytes, or of one once packed.
#[cfg(feature = "server")]
#[test]
fn a_request_of_long_runs_is_refused_before_it_is_large() {
    use lianka_fuzz::budget::measured;
    use lianka_server::sync::ingest::{self, Packing};
    use lianka_sync_core::{
        codec::{
            change::{Action, Op, Scalar},
            wire::{Encoding, Hello, PushedChange, Report, RequestItem},
        },
        id::RecordId,
        kinds::Kind,
        limits,
    };

    let mut long = change::decode(&honest()).expect("an honest change");
    long.ops = vec![
        Op {
            action: Action::Put {
                key: "unit".into(),
                value: Scalar::Bool(true)
            },
            pred: vec![]
        };
        limits::CHANGE_OPS_MAX
    ];
    let bytes = change::encode(&long);
    assert!(bytes.len() < 200 && change::decode(&bytes).is_ok());
    let mut body = Vec::new();
    let hello = Hello {
        blocks: 0,
        kinds: Vec::new(),
        cursor: None,
        client: "x".into(),
        pull: false,
        report: Report::default(),
    };
    Encoding::CborSeq.write(&RequestItem::Hello(hello), &mut body);
    for _ in 0..limits::SYNC_CHANGES_MAX {
        let pushed = PushedChange {
            record: RecordId::default(),
            kind: Kind::ShopCard,
            generation: 1,
            bytes: bytes.clone(),
        };
        Encoding::CborSeq.write(&RequestItem::Change(pushed), &mut body);
    }
    let packed = zstd::bulk::compress(&body, 3).expect("packed");
    assert!(packed.len() < 2_000);
    let (read, cost) = measured("ingest", || {
        ingest::read(&packed, Packing::Zstd, Encoding::CborSeq).is_ok()
    })
    .expect("no panic");
    assert!(!read);
    assert!(
        cost.peak_bytes < 128 << 20,
        "{} bytes held at once",
        cost.peak_bytes
    );
}

#[test]
fn the_longest_honest_change_passes() {
    let long = gate::long_change();
    assert!(long.ops.len() >= 2 * lianka_sync_core::limits::NOTE_CHARS_MAX);
    assert_eq!(change::decode(&long.bytes), Ok(long));
}

/// None of them is handed to Automerge here: that takes gigabytes, and is `make fuzz-automerge`'s.
#[test]
fn the_gate_refuses_what_harms_automerge() {
    let budget = Target::Gate.budget();
    for crasher in CRASHERS
        .iter()
        .filter(|crasher| crasher.name != "deflate-bomb")
    {
        let bytes = crasher.bytes();
        let decoded = budget.spend("decode", bytes.len(), || {
            change::decode(&bytes).map_err(|error| error.code())
        });
        let (decoded, _) = decoded.unwrap_or_else(|failure| panic!("{}: {failure}", crasher.name));
        assert_eq!(
            decoded.map(|change| change.hash),
            Err(crasher.code),
            "{}",
            crasher.name
        );
        if let Some(file) = crasher.file(&bytes) {
            assert_eq!(
                fs::read(file).ok(),
                Some(bytes),
                "`lianka-fuzz fixtures` writes {}",
                crasher.name
            );
        }
    }
}

/// Every input that broke a claim once keeps it now.
#[test]
fn regressions_stay_mended() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/regressions");
    let files: Vec<_> = fs::read_dir(folder)
        .expect("the folder")
        .flatten()
        .map(|entry| entry.path())
        .collect();
    let inputs: Vec<_> = files
        .iter()
        .filter(|path| path.extension().is_some_and(|extension| extension == "bin"))
        .collect();
    assert!(!inputs.is_empty());
    for file in inputs {
        let name = file
            .file_name()
            .and_then(|name| name.to_str())
            .unwrap_or_default();
        let target = Target::ALL
            .iter()
            .find(|target| name.starts_with(target.name()))
            .unwrap_or_else(|| panic!("{name}: no target"));
        let context = fs::read(file.with_extension("context")).unwrap_or_default();
        let replayed = target.replay(&fs::read(file).expect("the input"), &context);
        assert!(replayed.is_ok(), "{name}: {replayed:?}");
    }
}
