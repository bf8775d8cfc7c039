//! Chaos' short form: for a minute real processes work behind a proxy that misbehaves, and are killed with -9.
//!
//! Only what must hold on any machine is asserted, by the program itself: nothing confirmed is lost, every outbox empties in quiet. The long
//! form is `make chaos`.

use std::process::{Command, Stdio};

use lianka_tests::program;

#[test]
fn what_a_phone_confirmed_survives_kills_and_a_bad_network() {
    let output = Command::new(program("lianka-simulator"))
        .args(["--lang", "en", "chaos", "--minutes", "1"])
        .stdin(Stdio::null())
        .output()
        .expect("the simulator runs");
    let (told, problems) = (
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr),
    );
    assert!(output.status.success(), "{told}\n{problems}");
    let count = |name: &str| -> u64 {
        told.lines()
            .find_map(|line| {
                line.trim_start()
                    .split_once(' ')
                    .filter(|(_, rest)| *rest == name)?
                    .0
                    .parse()
                    .ok()
            })
            .unwrap_or_else(|| panic!("no count of {name}: {told}"))
    };
    for happened in ["edits saved", "synchronisations", "servers killed", "cut"] {
        assert!(count(happened) > 0, "{happened}: {told}");
    }
}
